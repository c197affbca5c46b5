// lowrank merge: adapters into a model's weights.

import { join } from "node:path";
import { type AdapterFile, mergeModel } from "../../bindings/lora.js";
import type { SafetensorsFile } from "../../bindings/safetensors.js";
import {
  addOutput,
  addTargets,
  chooseModules,
  numberList,
  type TargetOptions,
  type WritingOptions,
  weightsOf,
} from "../options.js";
import { type Content, checkFree, pathIn, writeFiles } from "../output.js";
import type { AddCommand, Run } from "../run.js";
import { bytesText, type ProgressReport, reportProgress } from "../terminal.js";

interface Options extends WritingOptions, TargetOptions {
  weights?: number[];
  unsafe: boolean;
}

export const addMerge: AddCommand = (program, start) => {
  const command = program
    .command("merge")
    .description("a model with adapters merged into its weights, in the types that it stores")
    .argument("<model>", "a file, a folder, an index or an address")
    .argument("<adapters...>", "PEFT's folders or files, kohya's or diffusers' files, or addresses");
  addOutput(
    command,
    "a .safetensors file, or a folder/, where a model in several files stays in several; - for standard output",
  )
    .option("--weights <numbers>", "one for each adapter, with commas between; default 1", numberList)
    .option("--unsafe", "keep NaN and Infinity instead of failing", false);
  addTargets(command, "names as in the adapters; default: all")
    .option("--json", "print one JSON object", false)
    .addHelpText(
      "after",
      "\nExample: one adapter into a model\n  lowrank merge model.safetensors adapter/ -o merged.safetensors",
    )
    .action(start(merge));
};

async function merge({ inputs, terminal, print }: Run, path: string, paths: string[], options: Options): Promise<void> {
  const { output, unsafe, ...writing } = options;
  const weights = weightsOf(options.weights, paths.length);
  const model = await inputs.weights(path);
  const adapters: { file: AdapterFile; weight: number }[] = [];
  for (const [i, one] of paths.entries()) {
    const file = await inputs.adapter(one);
    chooseModules(file, options);
    adapters.push({ file, weight: weights[i] as number });
  }
  const files = outputs(output, model);
  await checkFree([...files.keys()], writing);
  const progress = reportProgress(terminal, "merge");
  const settings = { safe: !unsafe, signal: terminal.signal };
  // wrong names and shapes are found here, before anything is written
  await mergeModel(model, adapters, settings).cancel();
  const contents = new Map<string, () => Content>();
  const step = wholeProgress(model, progress);
  for (const [name, shard] of files) {
    const of = shard === undefined ? {} : { shard };
    contents.set(name, () => mergeModel(model, adapters, { ...settings, ...of, onProgress: step(shard) }));
  }
  if (model.shards.size > 0 && output !== "-" && files.size > 1) {
    contents.set(join(output, "model.safetensors.index.json"), () => indexOf(model));
  }
  const bytes = await writeFiles(terminal, contents, writing).finally(progress.stop);
  const merged = adapters.map(({ file }) => file.modules.size);
  const words = [
    `${merged.map((count, i) => `${paths[i]}: ${count} modules`).join(", ")}`,
    `${writing.dryRun ? "would write" : "wrote"} ${bytesText(bytes)} to ${output}`,
  ];
  print(words, {
    adapters: paths.map((one, i) => ({ path: one, weight: weights[i], modules: merged[i] })),
    output,
    bytes,
  });
}

/** The files to be written, each with the shard that it holds; a model in several files stays in several where a folder is named. */
function outputs(output: string, model: SafetensorsFile): Map<string, string | undefined> {
  if (output === "-" || output.endsWith(".safetensors")) return new Map([[output, undefined]]);
  if (model.shards.size === 0) return new Map([[pathIn(output, "model.safetensors"), undefined]]);
  return new Map([...model.shards.keys()].map((shard) => [join(output, shard), shard]));
}

/** Progress over all shards. */
function wholeProgress(model: SafetensorsFile, report: ProgressReport) {
  const sizeOf = (names: readonly string[]) => names.reduce((sum, name) => sum + model.info(name).byteLength, 0);
  const total = sizeOf(model.names);
  let before = 0;
  return (shard: string | undefined) => {
    const names = shard === undefined ? model.names : (model.shards.get(shard) as readonly string[]);
    const own = sizeOf(names);
    return ({ done }: { done: number; total: number }) => {
      report.update({ done: before + done, total });
      if (done === own) before += own;
    };
  };
}

/** The index of a model in several files, whose tensors stay in the files they were in. */
function indexOf(model: SafetensorsFile): Uint8Array {
  const weights = [...model.shards].flatMap(([shard, names]) => names.map((name) => [name, shard] as const));
  const size = model.names.reduce((sum, name) => sum + model.info(name).byteLength, 0);
  const index = { metadata: { total_size: size }, weight_map: Object.fromEntries(weights.sort()) };
  return new TextEncoder().encode(`${JSON.stringify(index, null, 2)}\n`);
}
