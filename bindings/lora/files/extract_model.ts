// An adapter from two model files: every layer that training changed, one after the other.

import { checkBoolean, checkInteger, checkOptions, describe, expected, shapeText, sizeOf } from "../../check.js";
import { FileFormatError } from "../../errors.js";
import { checkRank, type Rank } from "../../linalg/rank_rule.js";
import { type Abortable, checkProgress, type ProgressOptions } from "../../progress.js";
import { checkSeed } from "../../random.js";
import type { SafetensorsFile } from "../../safetensors/file.js";
import { quote, type SafetensorsDType } from "../../safetensors/header.js";
import { run, runInTurns } from "../../scope.js";
import { silently } from "../../slices.js";
import { checkAllFinite } from "../../svd/decompose.js";
import { bytesOf, type DType, type Tensor } from "../../tensor.js";
import type { LoraAdapter } from "../adapter.js";
import { truncateDelta } from "../extract.js";
import type { TruncatedAdapter } from "../resize.js";
import { matchTargets } from "../targets.js";
import type { AdapterFile, ModuleKind } from "./adapter_file.js";
import { describeAdapters } from "./load.js";
import { checkModel, listed, type ModelModule, modelModules, outputHeads } from "./model_modules.js";

export interface ExtractModelSettings extends ProgressOptions {
  /** Upper limit of the ranks that `energy` and `tolerance` ask for. */
  maxRank?: number;
  /** Which modules, by PEFT's rules. Default "all-linear": weights with two axes, without embeddings and output head. */
  targetModules?: string | readonly string[];
  /** Left out, by the same rules; wins. */
  excludeModules?: string | readonly string[];
  /** Whether weights are stored (in, out). Default: told by the shapes of the biases, see modelModules(). */
  fanInFanOut?: boolean;
  /** Of the random vectors for large layers. Default 0. */
  seed?: number;
}

/** One of `rank`, `energy` and `tolerance`, for every layer (a rank above a layer's sides is cut to them), and settings. */
export type ExtractModelOptions = Rank & ExtractModelSettings;

/** What an extraction did with one layer. */
export interface LayerReport {
  readonly module: string;
  /** Of the weight as it is stored. */
  readonly shape: readonly number[];
  readonly rank: number;
  /** ‖Δ‖_F of the change. */
  readonly norm: number;
  /** ‖Δ − Δ_k‖_F / ‖Δ‖_F: not below the real one. */
  readonly error: number;
  /** Share of ‖Δ‖_F² that is kept. */
  readonly energy: number;
  /** What the error of no adapter of this rank can go below (Eckart–Young). */
  readonly bound: number;
}

export interface ExtractionReport {
  readonly layers: readonly LayerReport[];
  /** Modules and biases that differ or may differ and are not in the adapter, each with the reason. */
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
  /** Of all layers together. */
  readonly error: number;
  readonly energy: number;
}

/**
 * The LoRA adapter that turns one model into another, layer by layer: extractAdapter() of every targeted weight. No more is in
 * memory than the change of one layer and what its SVD needs.
 *
 * @param base the model before, of openSafetensors() or openModel()
 * @param tuned the model after, with the same names and shapes
 * @param options a rule of ranks, targets, progress (in bytes) and abort
 * @returns the adapter, in f32 ("f64" for F64 weights), to be saved with saveAdapter() in the type of the tuned weights or another;
 *   its `modules` are the caller's to dispose of; and a report of the factors as they are here. Layers without a change get
 *   no adapter.
 * @throws FileFormatError if a targeted weight is missing in `tuned` or has another shape there; NonFiniteError; TypeError or
 *   RangeError for wrong options; the signal's reason
 * @example
 * ```ts
 * import { init, tensor } from "lowrank";
 * import { extractModel } from "lowrank/lora";
 * import { openSafetensors, writeSafetensors } from "lowrank/safetensors";
 * await init();
 * const open = (w: number[][]) => openSafetensors(writeSafetensors({ "layer.weight": tensor(w) }));
 * const { file, report } = await extractModel(await open([[1, 0], [0, 1]]), await open([[1, 2], [0, 1]]), { rank: 1 });
 * console.log(report.layers[0]?.module, report.error); // layer 0
 * console.log(file.modules.get("layer")?.delta().toArray()); // [ [ 0, 2 ], [ 0, 0 ] ]
 * ```
 */
export async function extractModel(
  base: SafetensorsFile,
  tuned: SafetensorsFile,
  options: ExtractModelOptions,
): Promise<{ file: AdapterFile; report: ExtractionReport }> {
  const { rule, maxRank, seed, step, ...choice } = checkExtraction(options);
  checkModel(base, "base");
  checkModel(tuned, "tuned");
  const modules = modelModules(base);
  const targets = chooseTargets(modules, choice);
  checkSame(base, tuned, targets);
  const total = targets.reduce((sum, { name }) => sum + tuned.info(`${name}.weight`).byteLength, 0);
  const adapters = new Map<string, LoraAdapter>();
  const kinds = new Map<string, ModuleKind>();
  const layers: LayerReport[] = [];
  const skipped = await leftOut(base, tuned, modules, targets);
  try {
    let done = 0;
    for (const module of targets) {
      const { found, norm } = await extractLayer(base, tuned, module, rule, maxRank, seed, options.signal);
      const { adapter, rank, error, energy, bound } = found;
      if (norm === 0) {
        adapter.dispose();
        skipped.push({ name: module.name, reason: "unchanged" });
      } else {
        adapters.set(module.name, adapter);
        const kind = kindOf(module);
        if (kind.kind !== "linear") kinds.set(module.name, kind);
        layers.push({ module: module.name, shape: module.shape, rank, norm, error, energy, bound });
      }
      done += tuned.info(`${module.name}.weight`).byteLength;
      step(done, total);
    }
  } catch (error) {
    for (const adapter of adapters.values()) adapter.dispose();
    throw error;
  }
  const fanInFanOut = targets.some(({ kind }) => kind === "conv1d");
  const config = describeAdapters(adapters, fanInFanOut ? { fanInFanOut } : {});
  const types = [...new Set(layers.map(({ module }) => tuned.info(`${module}.weight`).dtype))];
  const dtype = types.length === 1 ? (types[0] as SafetensorsDType) : "F32";
  const file: AdapterFile = {
    format: "peft",
    config,
    modules: adapters,
    kinds,
    extras: new Map(),
    metadata: {},
    dtype,
  };
  return { file, report: { layers, skipped, ...overall(layers) } };
}

function checkExtraction(options: ExtractModelOptions) {
  const given = checkOptions(options, [
    "rank",
    "energy",
    "tolerance",
    "maxRank",
    "targetModules",
    "excludeModules",
    "fanInFanOut",
    "seed",
    "onProgress",
    "signal",
  ]);
  const { rank, energy, tolerance } = given;
  const stated = Object.entries({ rank, energy, tolerance }).filter(([, value]) => value !== undefined);
  const rule = checkRank(Object.fromEntries(stated), "options", 2 ** 30);
  const maxRank =
    given.maxRank === undefined ? Number.POSITIVE_INFINITY : checkInteger(given.maxRank, "maxRank", 1, 2 ** 30);
  const fanInFanOut = given.fanInFanOut === undefined ? undefined : checkBoolean(given.fanInFanOut, "fanInFanOut");
  const { targetModules = "all-linear", excludeModules } = given;
  return {
    rule,
    maxRank,
    targetModules,
    excludeModules,
    fanInFanOut,
    seed: checkSeed(given.seed),
    step: checkProgress(given),
  };
}

interface Choice {
  targetModules: string | readonly string[];
  excludeModules: string | readonly string[] | undefined;
  fanInFanOut: boolean | undefined;
}

function chooseTargets(
  modules: readonly ModelModule[],
  { targetModules, excludeModules, fanInFanOut }: Choice,
): ModelModule[] {
  const names = new Set(
    matchTargets(modules, targetModules, {
      outputHead: outputHeads(modules),
      ...(excludeModules !== undefined && { exclude: excludeModules }),
    }),
  );
  if (names.size === 0) {
    const have = `one of ${listed(modules.map(({ name }) => name))}`;
    throw new RangeError(expected("targetModules", have, describe(targetModules)));
  }
  return modules
    .filter(({ name }) => names.has(name))
    .map((module) => {
      if (fanInFanOut === undefined || (module.kind !== "linear" && module.kind !== "conv1d")) return module;
      return { ...module, kind: fanInFanOut ? "conv1d" : "linear" };
    });
}

function checkSame(base: SafetensorsFile, tuned: SafetensorsFile, targets: readonly ModelModule[]): void {
  const missing = targets.filter(({ name }) => !tuned.has(`${name}.weight`)).map(({ name }) => `${name}.weight`);
  if (missing.length > 0) throw new FileFormatError(`the tuned model lacks ${listed(missing)}`, 0);
  for (const { name, shape } of targets) {
    const other = tuned.info(`${name}.weight`).shape;
    if (shapeText(shape) !== shapeText(other)) {
      const what = `the tuned model has ${quote(`${name}.weight`)} in shape ${shapeText(other)}`;
      throw new FileFormatError(`${what}, the base in ${shapeText(shape)}`, 0);
    }
    for (const model of [base, tuned]) model.dtypeOf(`${name}.weight`);
  }
}

/** What differs, or may differ, beside the targets: vectors are compared, tables and the like are not read. */
async function leftOut(
  base: SafetensorsFile,
  tuned: SafetensorsFile,
  modules: readonly ModelModule[],
  targets: readonly ModelModule[],
): Promise<{ name: string; reason: string }[]> {
  const chosen = new Set(targets.map(({ name }) => `${name}.weight`));
  const kinds = new Map(modules.map(({ name, kind }) => [`${name}.weight`, kind]));
  const skipped: { name: string; reason: string }[] = [];
  for (const name of tuned.names) {
    if (chosen.has(name)) continue;
    const kind = kinds.get(name);
    if (!base.has(name)) skipped.push({ name, reason: "not in the base" });
    else if (kind !== undefined) {
      skipped.push({ name, reason: kind === "linear" || kind === "conv1d" ? "not a target" : `${kind}, not a target` });
    } else if (await differs(base, tuned, name)) {
      skipped.push({ name, reason: "changed, and no weight of a layer: an adapter cannot hold it" });
    }
  }
  return skipped;
}

async function differs(base: SafetensorsFile, tuned: SafetensorsFile, name: string): Promise<boolean> {
  if (JSON.stringify(base.info(name)) !== JSON.stringify(tuned.info(name))) return true;
  const other = tuned.pieces(name);
  for await (const piece of base.pieces(name)) {
    const { value } = await other.next();
    if (piece.some((byte, i) => byte !== (value as Uint8Array)[i])) return true;
  }
  return false;
}

/** Elements of the base that are read at a time. */
const BLOCK = 2 ** 20;

async function extractLayer(
  base: SafetensorsFile,
  tuned: SafetensorsFile,
  { name, kind, shape }: ModelModule,
  rule: Rank,
  maxRank: number,
  seed: number,
  signal: Abortable | undefined,
): Promise<{ found: TruncatedAdapter; norm: number }> {
  const weight = `${name}.weight`;
  const [rows, ...rest] = shape as [number, ...number[]];
  const columns = sizeOf(rest);
  const dtype: DType = [base, tuned].some((model) => model.dtypeOf(weight) === "f64") ? "f64" : "f32";
  const delta = await tuned.elements(weight, dtype, 0, [rows, columns]);
  try {
    checkWeight(delta, `tuned ${weight}`);
    const step = Math.max(1, Math.floor(BLOCK / Math.max(columns, 1)));
    for (let row = 0; row < rows; row += step) {
      const count = Math.min(step, rows - row);
      const before = await base.elements(weight, dtype, row * columns, [count, columns]);
      try {
        checkWeight(before, `base ${weight}`);
        run((runtime) => {
          const to = delta.pointer + row * columns * bytesOf(dtype);
          runtime[dtype].axpy(before.size, -1, before.pointer, 1, to, 1);
        });
      } finally {
        before.dispose();
      }
    }
    checkWeight(delta, `tuned − base ${weight}`);
    return await runInTurns(
      function* (runtime) {
        // ΔW is (out, in): tables and Conv1D hold their weights the other way round
        const oriented = kind === "embedding" || kind === "conv1d" ? delta.transpose().copy() : delta;
        const least = Math.min(rows, columns);
        const fitting = rule.rank === undefined ? rule : { rank: Math.min(rule.rank, least) };
        const norm = runtime[dtype].nrm2(delta.size, delta.pointer, 1);
        const found = yield* silently(truncateDelta(runtime, oriented, fitting, seed, Math.min(maxRank, least)));
        return { found, norm };
      },
      { signal },
    );
  } finally {
    delta.dispose();
  }
}

function checkWeight(weight: Tensor, what: string): void {
  run((runtime) => checkAllFinite(runtime, weight, what));
}

function kindOf({ kind, shape }: ModelModule): ModuleKind {
  if (kind === "embedding") return { kind };
  return kind === "convolution" ? { kind, kernel: shape.slice(2) } : { kind: "linear" };
}

/** Errors of the layers, each weighted with the size of its change. */
function overall(layers: readonly LayerReport[]): { error: number; energy: number } {
  const largest = layers.reduce((most, { norm }) => Math.max(most, norm), 0);
  const sum = (share: (layer: LayerReport) => number) =>
    layers.reduce((total, layer) => total + (share(layer) * (layer.norm / largest)) ** 2, 0);
  const lost = layers.length === 0 ? 0 : sum(({ error }) => error) / sum(() => 1);
  return { error: Math.sqrt(lost), energy: 1 - lost };
}
