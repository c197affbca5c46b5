// lowrank combine: several adapters in one.

import { Option } from "commander";
import {
  type CombineMethod,
  type CombineOptions,
  combineAdapterFiles,
  saveAdapter,
  type WeightedAdapterFile,
} from "../../bindings/lora.js";
import {
  addFormat,
  addOutput,
  addTargets,
  chooseModules,
  type FormatOptions,
  fraction,
  numberList,
  positiveInteger,
  type TargetOptions,
  type WritingOptions,
  weightsOf,
  wholeNumber,
} from "../options.js";
import { adapterFiles, checkAdapterFree, writeFiles } from "../output.js";
import type { AddCommand, Run } from "../run.js";
import { bytesText } from "../terminal.js";
import { shapeText, table } from "../text.js";

const RULES = ["linear", "ties", "dare_linear", "dare_ties", "magnitude_prune"];
const METHODS = ["cat", "svd", ...RULES, ...RULES.slice(1).map((rule) => `${rule}_svd`)];

interface Options extends WritingOptions, FormatOptions, TargetOptions {
  weights?: number[];
  method: CombineMethod;
  rank?: number;
  density?: number;
  seed: number;
  model?: string;
}

export const addCombine: AddCommand = (program, start) => {
  const command = program
    .command("combine")
    .description("one adapter from several with weights, by PEFT's methods; cat is exact")
    .argument("<adapters...>", "PEFT's folders or files, kohya's or diffusers' files, or addresses");
  addOutput(command, "PEFT's folder, or the file of another format; - for standard output")
    .option("--weights <numbers>", "one for each adapter, with commas between; default 1", numberList)
    .addOption(new Option("--method <name>", "how").choices(METHODS).default("cat"))
    .option("--rank <n>", "of the result, with svd and …_svd", positiveInteger)
    .option("--density <share>", "what ties, dare and magnitude_prune keep", fraction)
    .option("--seed <n>", "of dare's choice", wholeNumber, 0);
  addTargets(command, "default: all");
  addFormat(command)
    .option("--model <path>", "the model, whose names kohya's files need to become another format")
    .option("--json", "print one JSON object", false)
    .addHelpText(
      "after",
      "\nExample: two thirds of one, one third of another\n  lowrank combine style/ subject/ --weights 0.67,0.33 -o both/",
    )
    .action(start(combine));
};

async function combine({ inputs, terminal, print }: Run, paths: string[], options: Options): Promise<void> {
  const { output, dtype, method, rank, density, seed, ...writing } = options;
  const weights = weightsOf(options.weights, paths.length);
  const model = options.model === undefined ? undefined : await inputs.weights(options.model);
  const files: WeightedAdapterFile[] = [];
  for (const [i, path] of paths.entries()) {
    const file = await inputs.adapter(path, model);
    chooseModules(file, options);
    files.push({ file, weight: weights[i] as number });
  }
  const format = options.format ?? (files[0] as WeightedAdapterFile).file.format;
  await checkAdapterFree(output, format, writing);
  const how: CombineOptions = { method, seed, ...(rank && { rank }), ...(density && { density }) };
  const combined = combineAdapterFiles(files, { ...how, signal: terminal.signal });
  const saved = saveAdapter(combined, { format, ...(dtype !== undefined && { dtype }) });
  const bytes = await writeFiles(terminal, adapterFiles(output, saved), writing);
  const modules = [...combined.modules].map(([module, adapter]) => {
    const from = files.filter(({ file }) => file.modules.has(module)).length;
    return { module, shape: [adapter.outFeatures, adapter.inFeatures], rank: adapter.r, from };
  });
  const words = [
    table(
      ["module", "out×in", "rank", "adapters"],
      modules.map(({ module, shape, rank: r, from }) => [module, shapeText(shape), r, from]),
    ),
    `${writing.dryRun ? "would write" : "wrote"} ${bytesText(bytes)} to ${output}`,
  ];
  print(words, { method, weights, modules, output, bytes });
}
