// lowrank extract: an adapter from two models.

import { type ExtractModelOptions, extractModel, saveAdapter } from "../../bindings/lora.js";
import {
  addFormat,
  addOutput,
  addRule,
  addTargets,
  type FormatOptions,
  neededRule,
  positiveInteger,
  type RuleOptions,
  type TargetOptions,
  targetsOf,
  type WritingOptions,
  wholeNumber,
} from "../options.js";
import { adapterFiles, checkAdapterFree, writeFiles } from "../output.js";
import type { AddCommand, Run } from "../run.js";
import { bytesText, reportProgress } from "../terminal.js";
import { percent, shapeText, short, table } from "../text.js";

interface Options extends RuleOptions, WritingOptions, FormatOptions, TargetOptions {
  maxRank?: number;
  seed: number;
  fanInFanOut?: boolean;
}

export const addExtract: AddCommand = (program, start) => {
  const command = program
    .command("extract")
    .description("a LoRA adapter of what training changed: the SVD of tuned − base, layer by layer")
    .argument("<base>", "the model before: a file, a folder, an index or an address")
    .argument("<tuned>", "the model after");
  addOutput(command, "PEFT's folder, or the file of another --format; - for standard output");
  addRule(command).option("--max-rank <n>", "upper limit of what --energy and --tolerance ask for", positiveInteger);
  addTargets(command, "default: all linear layers");
  addFormat(command)
    .option("--fan-in-fan-out", "weights are (in, out); default: told by the biases")
    .option("--no-fan-in-fan-out", "weights are (out, in)")
    .option("--seed <n>", "of the random vectors for large layers", wholeNumber, 0)
    .option("--json", "print one JSON object", false)
    .addHelpText(
      "after",
      "\nExample: rank 16, as PEFT's folder\n  lowrank extract base.safetensors tuned.safetensors --rank 16 -o adapter/",
    )
    .action(start(extract));
};

async function extract({ inputs, terminal, print }: Run, basePath: string, tunedPath: string, options: Options) {
  const { output, format = "peft", dtype, maxRank, seed, target, exclude, fanInFanOut, ...writing } = options;
  const rule = neededRule(options);
  await checkAdapterFree(output, format, writing);
  const [base, tuned] = [await inputs.weights(basePath), await inputs.weights(tunedPath)];
  const progress = reportProgress(terminal, "extract");
  const chosen: ExtractModelOptions = {
    ...rule,
    seed,
    ...(maxRank !== undefined && { maxRank }),
    ...(target !== undefined && { targetModules: targetsOf(target) }),
    ...(exclude !== undefined && { excludeModules: targetsOf(exclude) }),
    ...(fanInFanOut !== undefined && { fanInFanOut }),
    signal: terminal.signal,
    onProgress: progress.update,
  };
  const { file, report } = await extractModel(base, tuned, chosen).finally(progress.stop);
  const saved = saveAdapter(file, { format, ...(dtype !== undefined && { dtype }) });
  for (const adapter of file.modules.values()) adapter.dispose();
  const bytes = await writeFiles(terminal, adapterFiles(output, saved), writing);
  const rows = report.layers.map(({ module, shape, rank, norm, error, energy, bound }) => {
    return [module, shapeText(shape), rank, short(norm), short(error), short(bound), percent(energy)];
  });
  const words = [
    table(["layer", "shape", "rank", "‖Δ‖", "error", "best possible", "energy"], rows),
    `all layers: error ${short(report.error)}, energy ${percent(report.energy)}`,
    ...report.skipped.map(({ name, reason }) => `not in the adapter: ${name} (${reason})`),
    `${writing.dryRun ? "would write" : "wrote"} ${bytesText(bytes)} to ${output}`,
  ];
  print(words, { ...report, output, bytes });
}
