// The command line: its grammar, and what becomes of errors. Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

import { Command, CommanderError } from "commander";
import { VERSION } from "../bindings/generated/version.js";
import { init } from "../bindings/index.js";
import { addBench } from "./commands/bench.js";
import { addCombine } from "./commands/combine.js";
import { addExtract } from "./commands/extract.js";
import { addInfo } from "./commands/info.js";
import { addMerge } from "./commands/merge.js";
import { addRank } from "./commands/rank.js";
import { addResize } from "./commands/resize.js";
import { addSvd } from "./commands/svd.js";
import { Inputs } from "./input.js";
import { UsageError } from "./options.js";
import type { Run, Start } from "./run.js";
import { Interrupted, type Terminal } from "./terminal.js";

/** Runs the command line without the program's name; the exit status. */
export async function main(argv: readonly string[], terminal: Terminal): Promise<number> {
  const program = new Command("lowrank")
    .description(
      "Singular values and LoRA adapters of .safetensors and .npy files. Nothing is uploaded, nothing needs Python.",
    )
    .version(VERSION, "--version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void terminal.stdout.write(text),
      writeErr: (text) => void terminal.stderr.write(text),
    })
    .addHelpText("after", "\nlowrank <command> --help has an example of each.");
  const start = starter(terminal);
  for (const add of [addInfo, addSvd, addRank, addExtract, addResize, addCombine, addMerge, addBench])
    add(program, start);

  try {
    await program.parseAsync([...argv], { from: "user" });
    return 0;
  } catch (error) {
    return statusOf(error, terminal);
  }
}

function starter(terminal: Terminal): Start {
  return (action) =>
    async (...given) => {
      // commander calls with the arguments, the options and the command itself
      const { json = false, output } = given.at(-2) as { json?: boolean; output?: string };
      if (json && output === "-") throw new UsageError("--json and -o - both want standard output");
      const stream = output === "-" ? terminal.stderr : terminal.stdout;
      const inputs = new Inputs(terminal);
      await init();
      try {
        const print: Run["print"] = (words, value) =>
          void stream.write(`${json ? JSON.stringify(value) : words.join("\n")}\n`);
        await action({ terminal, inputs, print }, ...given);
      } finally {
        await inputs.close();
      }
    };
}

function statusOf(error: unknown, { stderr, signal }: Terminal): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof UsageError) {
    stderr.write(`error: ${error.message}\n`);
    return 2;
  }
  if (signal.aborted && signal.reason instanceof Interrupted) {
    stderr.write("interrupted; nothing was written\n");
    return 130;
  }
  stderr.write(`error: ${(error as Error)?.message ?? String(error)}\n`);
  return 1;
}
