// Adapters merged into a model file, tensor by tensor, as a stream.

import { checkBoolean, checkFinite, checkOptions, describe, expected, shapeText, sizeOf } from "../../check.js";
import { inDtype } from "../../dtype.js";
import { FileFormatError, failure } from "../../errors.js";
import type { Runtime } from "../../load.js";
import type { PlatformStream } from "../../platform.js";
import { checkProgress, type ProgressOptions } from "../../progress.js";
import { convert, convertBack, isConvertible, WRITABLE, type WritableDType } from "../../safetensors/convert.js";
import type { SafetensorsFile } from "../../safetensors/file.js";
import { DTYPE_BITS, quote } from "../../safetensors/header.js";
import { type StoredTensor, streamSafetensors } from "../../safetensors/writer.js";
import { run } from "../../scope.js";
import { type DType, Tensor } from "../../tensor.js";
import { LoraAdapter } from "../adapter.js";
import { type MergePart, mergeWeight } from "../merge.js";
import type { AdapterFile } from "./adapter_file.js";
import { alignNames } from "./align_names.js";
import { checkModel, listed, modelModules } from "./model_modules.js";

/** An adapter file and its weight in the sum. */
export interface WeightedAdapterFile {
  readonly file: AdapterFile;
  /** Any finite number. */
  readonly weight: number;
}

export interface MergeModelOptions extends ProgressOptions {
  /** Fail where a merged tensor would hold NaN or Infinity in the type it is stored in. Default true. */
  safe?: boolean;
  /** Of a model in several files: the file that is wanted, one of `model.shards`. Default: everything as one file. */
  shard?: string;
}

/** What becomes of one tensor of the model. */
interface Change {
  /** Added to a weight. */
  parts: MergePart[];
  /** Added to a bias, with a factor. */
  biases: { name: string; bias: Tensor; factor: number }[];
  /** Takes the tensor's place. */
  replacement: { tensor: StoredTensor; owner: string } | undefined;
  /** The weight is (in, out). */
  fanInFanOut: boolean;
}

/**
 * A model with adapters merged into its weights, as the stream of a safetensors file: W + Σ weight·scaling·B·A in f32 (f64 for F64),
 * rounded once to the type that the model stores. Linear layers, Conv1D, embeddings and convolutions; rsLoRA, DoRA and LoRA biases;
 * modules saved as a whole and trained biases take the place of their originals. What no adapter touches is copied byte by byte.
 * No more than a few rows of a weight are in memory (a DoRA's on (in, out) as a whole).
 *
 * @param model of openSafetensors() or openModel()
 * @param adapters one of loadAdapter(), several, or several with weights; they must stay alive until the stream has ended
 * @returns the file's bytes; the stream fails with an Error (code "non_finite_merge") that names adapter, tensor and entry, with the
 *   signal's reason, or with what reading the model throws
 * @throws FileFormatError for modules that the model lacks (all are listed), shapes that do not fit, grouped convolutions, a LoRA
 *   bias where the model has none, stored types that cannot be written; TypeError for a DoRA adapter with another one on
 *   the same weight; RangeError if a part that is replaced has a weight other than 1 or two adapters replace it
 * @example
 * ```ts
 * import { init, tensor } from "lowrank";
 * import { LoraAdapter, loadAdapter, mergeModel, saveAdapter } from "lowrank/lora";
 * import { openSafetensors, writeSafetensors } from "lowrank/safetensors";
 * await init();
 * const model = await openSafetensors(writeSafetensors({ "h.q.weight": tensor([[1, 0], [0, 1]]) }, { dtype: "BF16" }));
 * const modules = new Map([["h.q", new LoraAdapter({ a: [[1, 1]], b: [[2], [0]] })]]);
 * const adapter = await loadAdapter(saveAdapter({ modules }));
 * const merged = await openSafetensors(new Response(mergeModel(model, adapter)));
 * console.log(merged.info("h.q.weight").dtype, (await merged.tensor("h.q.weight")).toArray()); // BF16 [ [ 3, 2 ], [ 0, 1 ] ]
 * ```
 */
export function mergeModel(
  model: SafetensorsFile,
  adapters: AdapterFile | readonly (AdapterFile | WeightedAdapterFile)[],
  options?: MergeModelOptions,
): PlatformStream {
  const given = checkOptions(options, ["safe", "shard", "onProgress", "signal"]);
  const safe = given.safe === undefined ? true : checkBoolean(given.safe, "safe");
  const step = checkProgress(given);
  checkModel(model, "model");
  const names = namesOf(model, given.shard);
  const changes = collectChanges(model, checkAdapters(adapters));
  const stored = new Map<string, StoredTensor>();
  let total = 0;
  for (const name of names) {
    const { dtype, shape, byteLength } = model.info(name);
    const change = changes.get(name);
    const replaced = change?.replacement?.tensor.shape ?? shape;
    total += (byteLength / Math.max(1, sizeOf(shape))) * sizeOf(replaced);
    stored.set(name, { dtype, shape: replaced, bytes: () => counted(produce(model, name, change, safe)) });
  }
  let done = 0;
  async function* counted(pieces: AsyncIterable<Uint8Array>) {
    for await (const piece of pieces) {
      yield piece;
      done += piece.length;
      step(done, total);
    }
  }
  const { metadata } = model;
  return streamSafetensors(stored, Object.keys(metadata).length > 0 ? { metadata } : {});
}

function namesOf(model: SafetensorsFile, shard: string | undefined): readonly string[] {
  if (shard === undefined) return model.names;
  const names = model.shards.get(shard);
  if (names === undefined)
    throw new RangeError(expected("shard", `one of ${listed([...model.shards.keys()])}`, describe(shard)));
  return names;
}

function checkAdapters(adapters: unknown): { file: AdapterFile; weight: number; label: string }[] {
  const list: unknown[] = Array.isArray(adapters) ? adapters : [adapters];
  if (list.length === 0) throw new RangeError(expected("adapters", "at least one", "an empty array"));
  return list.map((one, i) => {
    const argument = Array.isArray(adapters) ? `adapters[${i}]` : "adapters";
    const isFile = (one as AdapterFile | null)?.modules instanceof Map;
    const { file, weight } = isFile ? { file: one as AdapterFile, weight: 1 } : ((one ?? {}) as WeightedAdapterFile);
    if (!(file?.modules instanceof Map))
      throw new TypeError(expected(argument, "what loadAdapter() gave", describe(one)));
    return {
      file,
      weight: checkFinite(weight, `${argument}.weight`),
      label: list.length > 1 ? `adapter ${i + 1}` : "the adapter",
    };
  });
}

/** What changes, by the names of the model's tensors; everything is checked against the model's header. */
function collectChanges(
  model: SafetensorsFile,
  adapters: readonly { file: AdapterFile; weight: number; label: string }[],
): Map<string, Change> {
  const changes = new Map<string, Change>();
  const changeOf = (name: string, fanInFanOut = false): Change => {
    const change = changes.get(name) ?? { parts: [], biases: [], replacement: undefined, fanInFanOut };
    changes.set(name, change);
    return change;
  };
  const turned = new Set(modelModules(model).flatMap(({ name, kind }) => (kind === "conv1d" ? [name] : [])));
  for (const { file, weight, label } of adapters) {
    const modules = alignNames(model, [...file.modules.keys()]);
    for (const [given, adapter] of file.modules) {
      const name = modules.get(given) as string;
      const isTurned =
        file.kinds?.get(given)?.kind === "embedding" || (file.config?.fanInFanOut ?? false) || turned.has(name);
      const fanInFanOut = checkFit(model, `${name}.weight`, adapter, isTurned);
      const { parts } = changeOf(`${name}.weight`, fanInFanOut);
      parts.push({ name: label, adapter, scaling: weight * adapter.scaling });
      if (parts.length > 1 && parts.some((part) => part.adapter.magnitude !== undefined)) {
        throw new TypeError(expected(quote(name), "a DoRA adapter alone", `${parts.length} adapters`));
      }
      if (adapter.bias !== undefined) {
        checkStored(model, `${name}.bias`, "a LoRA bias");
        changeOf(`${name}.bias`).biases.push({ name: label, bias: adapter.bias, factor: weight * adapter.scaling });
      }
    }
    replaceWhole(model, file, weight, label, modules, changeOf);
  }
  return changes;
}

/** Checks an adapter against the weight it is for; whether the weight is (in, out). */
function checkFit(model: SafetensorsFile, name: string, adapter: LoraAdapter, isTurned: boolean): boolean {
  const { dtype, shape } = model.info(name);
  checkStored(model, name, "an adapter");
  const [rows, ...rest] = shape as [number, ...number[]];
  const columns = sizeOf(rest);
  const { inFeatures, outFeatures } = adapter;
  const fits = (turned: boolean) =>
    turned ? outFeatures === columns && inFeatures === rows : outFeatures === rows && inFeatures === columns;
  if (shape.length > 2 && outFeatures === rows && inFeatures > columns && inFeatures % columns === 0) {
    throw new FileFormatError(
      `${quote(name)} is a convolution of ${inFeatures / columns} groups: it cannot be merged`,
      0,
    );
  }
  const orientations = shape.length > 2 ? [false] : [isTurned, !isTurned];
  const found = orientations.find(fits);
  if (found !== undefined) return found;
  const what = `the adapter of ${quote(name)} is for (${outFeatures}, ${inFeatures})`;
  throw new FileFormatError(`${what}, the model has ${shapeText(shape)} of ${dtype}`, 0);
}

function checkStored(model: SafetensorsFile, name: string, what: string): void {
  if (!model.has(name)) throw new FileFormatError(`${what} for ${quote(name)}, which the model lacks`, 0);
  const { dtype } = model.info(name);
  if (!isWritable(dtype))
    throw new FileFormatError(`${quote(name)} is stored as ${dtype}: ${what} cannot be merged into it`, 0);
}

function isWritable(dtype: string): dtype is WritableDType {
  return (WRITABLE as readonly string[]).includes(dtype);
}

/** Modules saved as a whole and trained biases. */
function replaceWhole(
  model: SafetensorsFile,
  { extras }: AdapterFile,
  weight: number,
  label: string,
  modules: ReadonlyMap<string, string>,
  changeOf: (name: string) => Change,
): void {
  if (extras === undefined || extras.size === 0) return;
  const bridge = bridgeOf(modules);
  const missing: string[] = [];
  for (const [key, replacement] of extras) {
    const name = bridge(plainName(key));
    if (!model.has(name)) {
      missing.push(plainName(key));
      continue;
    }
    if (weight !== 1) {
      throw new RangeError(expected(`${label}.weight`, `1, as it replaces ${quote(name)} as a whole`, String(weight)));
    }
    const { dtype } = model.info(name);
    if (dtype !== replacement.dtype && !(isWritable(dtype) && isConvertible(replacement.dtype))) {
      throw new FileFormatError(`${quote(name)} is stored as ${dtype}, the adapter has it as ${replacement.dtype}`, 0);
    }
    const change = changeOf(name);
    if (change.replacement !== undefined) {
      throw new RangeError(
        expected("adapters", `one that replaces ${quote(name)}`, `${change.replacement.owner} and ${label}`),
      );
    }
    change.replacement = { tensor: replacement, owner: label };
  }
  if (missing.length > 0) {
    throw new FileFormatError(`the model lacks what the adapter replaces as a whole: ${listed(missing)}`, 0);
  }
}

/** The path of a saved tensor in the model: PEFT's root and wrappers are not part of it. */
function plainName(key: string): string {
  return key
    .replace(/^base_model\.model\./, "")
    .replace(".base_layer.", ".")
    .replace(/\.modules_to_save\.(?:[^.]+\.(?=[^.]+$))?/, ".");
}

/** The difference between the names of adapter and model, which is the same for all. */
function bridgeOf(modules: ReadonlyMap<string, string>): (name: string) => string {
  const [first] = modules;
  if (first === undefined) return (name) => name;
  const [from, to] = first;
  if (from.endsWith(to)) {
    const prefix = from.slice(0, from.length - to.length);
    return (name) => (name.startsWith(prefix) ? name.slice(prefix.length) : name);
  }
  const prefix = to.endsWith(from) ? to.slice(0, to.length - from.length) : "";
  return (name) => prefix + name;
}

/** Elements of a weight that are merged at a time. */
const BLOCK = 2 ** 21;

async function* produce(
  model: SafetensorsFile,
  name: string,
  change: Change | undefined,
  safe: boolean,
): AsyncGenerator<Uint8Array, void> {
  const replacement = change?.replacement?.tensor;
  if (change === undefined) return yield* model.pieces(name);
  const { dtype, shape } = model.info(name);
  if (replacement?.dtype === dtype && change.parts.length === 0 && change.biases.length === 0) {
    return yield (replacement.bytes as Uint8Array).slice();
  }
  const stored = dtype as WritableDType;
  const computed: DType = stored === "F64" ? "f64" : "f32";
  const [rows, ...rest] = (shape.length === 0 ? [1] : (replacement?.shape ?? shape)) as [number, ...number[]];
  const columns = sizeOf(rest);
  const parts = partsIn(change.parts, computed);
  try {
    const isWhole = change.fanInFanOut && parts.some(({ adapter }) => adapter.magnitude !== undefined);
    const step = isWhole ? rows : Math.max(1, Math.floor(BLOCK / Math.max(1, columns)));
    for (let row = 0; row < rows; row += step) {
      const count = Math.min(step, rows - row);
      const block = await blockOf(model, name, replacement, computed, row * columns, [count, columns]);
      try {
        yield run((runtime) => {
          mergeBlock(runtime, name, change, parts, block, row, safe);
          return encode(runtime, name, block, stored, row * columns, safe);
        });
      } finally {
        block.dispose();
      }
    }
  } finally {
    for (const { adapter } of parts) adapter.dispose();
  }
}

/** The adapters in the dtype that is computed in, with handles of their own. */
function partsIn(parts: readonly MergePart[], dtype: DType): MergePart[] {
  return parts.map(({ name, adapter, scaling }) => ({
    name,
    scaling,
    adapter: run((runtime) => converted(runtime, adapter, dtype)),
  }));
}

function converted(runtime: Runtime, adapter: LoraAdapter, dtype: DType): LoraAdapter {
  if (adapter.dtype === dtype) return adapter.share();
  const { a, b, magnitude, alpha, useRslora } = adapter;
  return new LoraAdapter({
    a: inDtype(runtime, a, dtype),
    b: inDtype(runtime, b, dtype),
    ...(magnitude && { magnitude: inDtype(runtime, magnitude, dtype) }),
    alpha,
    useRslora,
  });
}

/** Elements of the tensor, or of what takes its place. */
async function blockOf(
  model: SafetensorsFile,
  name: string,
  replacement: StoredTensor | undefined,
  dtype: DType,
  start: number,
  shape: readonly [number, number],
): Promise<Tensor> {
  if (replacement === undefined) return model.elements(name, dtype, start, shape);
  const bytes = DTYPE_BITS[replacement.dtype] / 8;
  const size = sizeOf(shape);
  const part = (replacement.bytes as Uint8Array).subarray(start * bytes, (start + size) * bytes);
  return run((runtime) => {
    const block = Tensor.allocate(runtime, shape, dtype);
    convert(runtime, part, replacement.dtype, block, 0, size);
    return block;
  });
}

/** Rows row… of a weight or a bias <- themselves + what the adapters add. */
function mergeBlock(
  runtime: Runtime,
  name: string,
  { biases, fanInFanOut }: Change,
  parts: readonly MergePart[],
  block: Tensor,
  row: number,
  safe: boolean,
): void {
  const [count, columns] = block.shape as [number, number];
  const slices = parts.map((part) => ({ ...part, adapter: rowsOf(part.adapter, fanInFanOut, row, count) }));
  const broken = mergeWeight(runtime, block, slices, fanInFanOut, block, !safe);
  for (const { adapter } of slices) adapter.dispose();
  if (broken !== undefined) throw notFinite(broken.name, name, row * columns + broken.at);
  for (const { bias, factor } of biases) {
    const source = bias.dtype === block.dtype ? bias : inDtype(runtime, bias, block.dtype);
    const part = source.subtensor(row, row + count);
    runtime[block.dtype].axpy(count, factor, part.pointer, 1, block.pointer, 1);
  }
}

/** The adapter of some rows of the stored weight. */
function rowsOf(adapter: LoraAdapter, fanInFanOut: boolean, row: number, count: number): LoraAdapter {
  const { a, b, magnitude, alpha, useRslora } = adapter;
  const end = row + count;
  if (count === (fanInFanOut ? adapter.inFeatures : adapter.outFeatures)) return adapter.share();
  if (fanInFanOut) return new LoraAdapter({ a: a.transpose().subtensor(row, end).transpose(), b, alpha, useRslora });
  return new LoraAdapter({
    a,
    b: b.subtensor(row, end),
    ...(magnitude && { magnitude: magnitude.subtensor(row, end) }),
    alpha,
    useRslora,
  });
}

/** The block as it is stored; rounding to 16 bits can make Infinity of a large number. */
function encode(
  runtime: Runtime,
  name: string,
  block: Tensor,
  dtype: WritableDType,
  start: number,
  safe: boolean,
): Uint8Array {
  const bytes = convertBack(runtime, block, 0, block.size, dtype);
  if (!safe) return bytes;
  if (dtype === "F16" || dtype === "BF16") convert(runtime, bytes, dtype, block, 0, block.size);
  const at = runtime[block.dtype].firstNonFinite(1, block.size, block.pointer, block.size, 1);
  if (at >= 0) throw notFinite("the adapter", name, start + at);
  return bytes;
}

function notFinite(adapter: string, name: string, at: number): Error {
  const what = `merging ${adapter} would give ${quote(name)} a value that is not finite at entry ${at}`;
  return failure("non_finite_merge", what);
}
