// lowrank resize: an adapter of lower rank.

import { type AdapterFile, type KohyaRule, resizeAdapterFile, saveAdapter } from "../../bindings/lora.js";
import {
  addFormat,
  addOutput,
  addRule,
  addTargets,
  chooseModules,
  type FormatOptions,
  kohyaRule,
  neededRule,
  positiveInteger,
  type RuleOptions,
  ruleOf,
  type TargetOptions,
  UsageError,
  type WritingOptions,
} from "../options.js";
import { adapterFiles, checkAdapterFree, writeFiles } from "../output.js";
import type { AddCommand, Run } from "../run.js";
import { bytesText } from "../terminal.js";
import { percent, shapeText, short, table } from "../text.js";

interface Options extends RuleOptions, WritingOptions, FormatOptions, TargetOptions {
  rule?: Omit<KohyaRule, "maxRank">;
  maxRank?: number;
  model?: string;
}

export const addResize: AddCommand = (program, start) => {
  const command = program
    .command("resize")
    .description("the nearest adapter of lower rank, exactly, from the factors")
    .argument("<adapter>", "PEFT's folder or file, kohya's or diffusers' file, or an address");
  addOutput(command, "PEFT's folder, or the file of another format; - for standard output");
  addRule(command)
    .option("--rule <name=value>", "kohya's: sv_ratio, sv_fro or sv_cumulative", kohyaRule)
    .option("--max-rank <n>", "upper limit of what --rule asks for", positiveInteger);
  addTargets(command, "default: all; the others are left out of the output");
  addFormat(command)
    .option("--model <path>", "the model, whose names kohya's files need to become another format")
    .option("--json", "print one JSON object", false)
    .addHelpText("after", "\nExample: half of the rank\n  lowrank resize adapter/ --rank 8 -o smaller/")
    .action(start(resize));
};

async function resize({ inputs, terminal, print }: Run, path: string, options: Options): Promise<void> {
  const { output, dtype, ...writing } = options;
  const rule = chooseRule(options);
  const model = options.model === undefined ? undefined : await inputs.weights(options.model);
  const file = await inputs.adapter(path, model);
  const format = options.format ?? file.format;
  await checkAdapterFree(output, format, writing);
  chooseModules(file, options);
  const before = parametersOf(file);
  const { file: resized, report } = resizeAdapterFile(file, rule, { signal: terminal.signal });
  const saved = saveAdapter(resized, { format, ...(dtype !== undefined && { dtype }) });
  const bytes = await writeFiles(terminal, adapterFiles(output, saved), writing);
  const rows = report.map((one) => {
    return [one.module, shapeText(one.shape), one.before, one.rank, short(one.error), percent(one.energy)];
  });
  const share = parametersOf(resized) / before;
  const words = [
    table(["module", "out×in", "rank before", "rank", "error", "energy"], rows),
    `${percent(share)} of the parameters; ${writing.dryRun ? "would write" : "wrote"} ${bytesText(bytes)} to ${output}`,
  ];
  print(words, { modules: report, parameters: parametersOf(resized), parametersBefore: before, output, bytes });
}

function chooseRule(options: Options) {
  const { rule, maxRank } = options;
  if (rule === undefined) {
    if (maxRank !== undefined) throw new UsageError("--max-rank goes with --rule");
    return neededRule(options, ", --rule");
  }
  if (ruleOf(options) !== undefined) throw new UsageError("--rule excludes --rank, --energy and --tolerance");
  return { ...rule, ...(maxRank !== undefined && { maxRank }) };
}

function parametersOf({ modules }: AdapterFile): number {
  return [...modules.values()].reduce((sum, { a, b }) => sum + a.size + b.size, 0);
}
