// Adapter files added up, module by module.

import { describe, expected } from "../../check.js";
import { FileFormatError } from "../../errors.js";
import type { Runtime } from "../../load.js";
import type { ProgressOptions } from "../../progress.js";
import { quote } from "../../safetensors/header.js";
import { runSteps } from "../../scope.js";
import { type Steps, silently } from "../../slices.js";
import type { LoraAdapter } from "../adapter.js";
import { type CombineOptions, combineSteps } from "../combine.js";
import type { AdapterFile, ModuleKind } from "./adapter_file.js";
import { isKohyaName } from "./align_names.js";
import { describeAdapters } from "./load.js";
import { makeModules } from "./make_modules.js";
import type { WeightedAdapterFile } from "./merge_model.js";
import { listed } from "./model_modules.js";

/**
 * combineAdapters() of every module of several adapter files. A module that some of them lack is combined from the others.
 *
 * @param files with weights; they stay as they are
 * @param options as combineAdapters(), and progress (in modules) and abort
 * @returns a file of new adapters that the caller owns, in the format of the first
 * @throws FileFormatError where the files name their modules in different ways, a module is not of the same kind in all, or a file
 *   holds modules saved as a whole or trained biases, which have no sum; otherwise as combineAdapters()
 * @example
 * ```ts
 * import { init } from "lowrank";
 * import { combineAdapterFiles, LoraAdapter, loadAdapter, saveAdapter } from "lowrank/lora";
 * await init();
 * const load = (b: number) => loadAdapter(saveAdapter({ modules: new Map([["q", new LoraAdapter({ a: [[1, 2]], b: [[b]] })]]) }));
 * const files = [{ file: await load(1), weight: 0.5 }, { file: await load(3), weight: 0.5 }];
 * console.log(combineAdapterFiles(files).modules.get("q")?.delta().toArray()); // [ [ 2, 4 ] ]
 * ```
 */
export function combineAdapterFiles(
  files: readonly WeightedAdapterFile[],
  options: CombineOptions & ProgressOptions = {},
): AdapterFile {
  return runSteps((runtime) => combineModules(runtime, files, options), options);
}

function* combineModules(
  runtime: Runtime,
  files: readonly WeightedAdapterFile[],
  combination: CombineOptions,
): Steps<AdapterFile> {
  if (!Array.isArray(files)) throw new TypeError(expected("files", "an array", describe(files)));
  if (files.length === 0) throw new RangeError(expected("files", "at least one file", "an empty array"));
  const list = files as readonly WeightedAdapterFile[];
  for (const [i, one] of list.entries()) {
    if (!(one?.file?.modules instanceof Map)) {
      throw new TypeError(expected(`files[${i}].file`, "what loadAdapter() gave", describe(one?.file)));
    }
    if (one.file.extras.size > 0) {
      const what = listed([...one.file.extras.keys()]);
      throw new FileFormatError(`file ${i + 1} holds ${what}: only low-rank adapters can be combined`, 0);
    }
  }
  const names = [...new Set(list.flatMap(({ file }) => [...file.modules.keys()]))];
  const kohya = names.filter(isKohyaName).length;
  if (kohya > 0 && kohya < names.length) {
    throw new FileFormatError("some files have kohya's names of modules, others paths: load all with moduleNames", 0);
  }
  const kinds = new Map<string, ModuleKind>();
  const modules = yield* makeModules(names, names.length, (name) => {
    const own = list.filter(({ file }) => file.modules.has(name));
    const kind = sameKind(name, own);
    if (kind !== undefined) kinds.set(name, kind);
    const adapters = own.map(({ file, weight }) => ({ adapter: file.modules.get(name) as LoraAdapter, weight }));
    return silently(combineSteps(runtime, adapters, combination));
  });
  const [{ file: first }] = list as [WeightedAdapterFile];
  const { taskType, fanInFanOut, extra } = first.config;
  const more = { ...(taskType !== undefined && { taskType }), ...(fanInFanOut && { fanInFanOut }) };
  const config = Object.assign(describeAdapters(modules, more), { extra });
  return { format: first.format, config, modules, kinds, extras: new Map(), metadata: {}, dtype: first.dtype };
}

/** The kind of a module, which all files must agree on. */
function sameKind(name: string, files: readonly WeightedAdapterFile[]): ModuleKind | undefined {
  const kinds = new Set(files.map(({ file }) => JSON.stringify(file.kinds.get(name))));
  if (kinds.size > 1) throw new FileFormatError(`module ${quote(name)} is of different kinds in the files`, 0);
  return files[0]?.file.kinds.get(name);
}
