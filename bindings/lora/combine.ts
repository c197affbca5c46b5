// Weighted combinations of adapters: PEFT's add_weighted_adapter.

import {
  checkFinite,
  checkInteger,
  checkNumberIn,
  checkOneOf,
  checkOptions,
  describe,
  expected,
  shapeText,
} from "../check.js";
import { commonDtype } from "../interop.js";
import type { Runtime } from "../load.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { checkSeed, STREAM } from "../random.js";
import { runSteps } from "../scope.js";
import type { Steps } from "../slices.js";
import { checkAllFinite, decompose } from "../svd/decompose.js";
import { bytesOf, type DType, numbersAt, Tensor } from "../tensor.js";
import { LoraAdapter } from "./adapter.js";
import { scaledVectors, svdOfProduct, zeroFactors } from "./product_svd.js";

/** PEFT's combination types. */
export type CombineMethod =
  | "cat"
  | "svd"
  | "linear"
  | "ties"
  | "ties_svd"
  | "dare_linear"
  | "dare_linear_svd"
  | "dare_ties"
  | "dare_ties_svd"
  | "magnitude_prune"
  | "magnitude_prune_svd";

const METHODS: readonly CombineMethod[] = [
  "cat",
  "svd",
  "linear",
  "ties",
  "ties_svd",
  "dare_linear",
  "dare_linear_svd",
  "dare_ties",
  "dare_ties_svd",
  "magnitude_prune",
  "magnitude_prune_svd",
];

export interface WeightedAdapter<D extends DType = DType> {
  readonly adapter: LoraAdapter<D>;
  /** Any finite number; a negative one takes the adapter's effect away. */
  readonly weight: number;
}

export interface CombineOptions extends ProgressOptions {
  /** Default "cat", which is exact. */
  method?: CombineMethod;
  /** Rank of the result with "svd" and "…_svd", at most that of the sum; default: the largest of the adapters'. */
  rank?: number;
  /** Fraction of the entries that ties, DARE and magnitude_prune keep: they need it. */
  density?: number;
  /** How ties and dare_ties elect a sign: by the sum of the entries or by their count. Default "total". */
  majoritySignMethod?: "total" | "frequency";
  /** Of DARE's random choice. Default 0. */
  seed?: number;
}

/** A rule on vectors of one length. */
type Rule = "linear" | "ties" | "dare_linear" | "dare_ties" | "magnitude_prune";

interface Part<D extends DType> {
  adapter: LoraAdapter<D>;
  weight: number;
}

/**
 * One adapter from several with weights, with PEFT's methods. The scaling of each (alpha/r, or alpha/√r) enters once,
 * the result's is 1, and biases are summed with weight·scaling whatever the method.
 *
 * - "cat" (default): the factors stacked, rank Σr: exactly Σ weight·ΔW.
 * - "svd": the best approximation of rank `rank` of Σ weight·ΔW, found from the factors; exact if `rank` reaches Σr.
 * - "linear": A = Σ ±√|weight·scaling|·A_i and B = Σ √|weight·scaling|·B_i, of equal ranks. As in PEFT its ΔW has cross
 *   terms B_i·A_j of different adapters: it is not the sum of the ΔW.
 * - "ties", "dare_linear", "dare_ties", "magnitude_prune": pruning to `density` (the largest entries, or random ones that
 *   are scaled up), then a sum or an election of signs, on the A and on the B, of equal ranks.
 * - "…_svd": the same on the ΔW, then an SVD; forms matrices of the full size (out, in).
 *
 * Of a single adapter nothing is pruned, as in PEFT.
 *
 * @param adapters of the same shape (in, out) and dtype, without magnitudes
 * @returns an adapter that the caller owns
 * @throws TypeError for DoRA adapters or mixed dtypes; RangeError for an empty list, a weight that is not finite, other
 *   shapes, or ranks that differ where they must not; NonFiniteError for NaN or Infinity in a factor with any method but
 *   "cat" and "linear"
 * @example
 * ```ts
 * import { init } from "lowrank";
 * import { combineAdapters, LoraAdapter } from "lowrank/lora";
 * await init();
 * const one = new LoraAdapter({ a: [[1, 0]], b: [[1], [0]] });
 * const two = new LoraAdapter({ a: [[0, 1]], b: [[0], [1]], alpha: 3 });
 * const both = combineAdapters([{ adapter: one, weight: 2 }, { adapter: two, weight: -1 }]);
 * console.log(both.r, both.delta().toArray()); // 2 [ [ 2, 0 ], [ 0, -3 ] ]
 * ```
 */
export function combineAdapters<D extends DType = DType>(
  adapters: readonly WeightedAdapter<D>[],
  options?: CombineOptions,
): LoraAdapter<D> {
  return runSteps((runtime) => combineSteps(runtime, adapters, options), options);
}

/** @internal combineAdapters() as a part of other computations. */
export function* combineSteps<D extends DType = DType>(
  runtime: Runtime,
  adapters: readonly WeightedAdapter<D>[],
  options?: CombineOptions,
): Steps<LoraAdapter<D>> {
  const given = checkOptions(options, ["method", "rank", "density", "majoritySignMethod", "seed", ...PROGRESS]);
  const method = given.method === undefined ? "cat" : checkOneOf(given.method, "method", METHODS);
  const rank = given.rank === undefined ? undefined : checkInteger(given.rank, "rank", 1, 2 ** 30);
  const seed = checkSeed(given.seed);
  const parts = checkParts(adapters);
  const bySvd = method === "svd" || method.endsWith("_svd");
  const rule = method === "cat" || method === "svd" ? undefined : (method.replace("_svd", "") as Rule);
  const prunes = rule !== undefined && rule !== "linear";
  const density = prunes || given.density !== undefined ? checkNumberIn(given.density, "density", 0, 1) : 1;
  const frequency =
    given.majoritySignMethod !== undefined &&
    checkOneOf(given.majoritySignMethod, "majoritySignMethod", ["total", "frequency"]) === "frequency";
  if (rule !== undefined && !bySvd) checkRanks(parts, method);
  if (prunes || bySvd) checkFactors(runtime, parts);
  const settings = { density, frequency, seed };
  const single = parts.length === 1;
  let factors: Factors<D>;
  if (method === "cat") factors = concatenate(runtime, parts);
  else if (bySvd && (rule === undefined || single)) factors = yield* truncateSum(runtime, parts, rank);
  else if (bySvd)
    factors = yield* truncate(
      runtime,
      combineDeltas(runtime, parts, rule as Rule, settings),
      rank ?? largestRank(parts),
    );
  else factors = combineFactors(runtime, parts, single ? "linear" : (rule as Rule), settings);
  const bias = sumBiases(runtime, parts);
  return new LoraAdapter<D>({ ...factors, ...(bias && { bias }) });
}

interface Factors<D extends DType> {
  /** (r, in) */
  a: Tensor<D>;
  /** (out, r) */
  b: Tensor<D>;
}

interface Settings {
  density: number;
  frequency: boolean;
  seed: number;
}

function checkParts<D extends DType>(adapters: readonly WeightedAdapter<D>[]): Part<D>[] {
  if (!Array.isArray(adapters)) throw new TypeError(expected("adapters", "an array", describe(adapters)));
  if (adapters.length === 0) throw new RangeError(expected("adapters", "at least one adapter", "an empty array"));
  const parts = adapters.map((part: WeightedAdapter<D>, i) => {
    const { adapter, weight } = checkOptions(part ?? bad(part, i), ["adapter", "weight"], `adapters[${i}]`);
    if (!(adapter instanceof LoraAdapter)) {
      throw new TypeError(expected(`adapters[${i}].adapter`, "a LoraAdapter", describe(adapter)));
    }
    if (adapter.magnitude !== undefined) {
      throw new TypeError(expected(`adapters[${i}].adapter`, "an adapter without a magnitude (DoRA)", "one with it"));
    }
    return { adapter, weight: checkFinite(weight, `adapters[${i}].weight`) };
  });
  const [{ adapter: first }] = parts as [Part<D>];
  parts.forEach(({ adapter }, i) => {
    if (adapter.inFeatures === first.inFeatures && adapter.outFeatures === first.outFeatures) return;
    const fits = `a: (r, ${first.inFeatures}) and b: (${first.outFeatures}, r)`;
    const got = `${shapeText(adapter.a.shape)} and ${shapeText(adapter.b.shape)}`;
    throw new RangeError(expected(`adapters[${i}].adapter`, fits, got));
  });
  commonDtype(parts.map(({ adapter }, i) => [`adapters[${i}].adapter`, adapter]));
  return parts;
}

function bad(value: unknown, i: number): never {
  throw new TypeError(expected(`adapters[${i}]`, "an object", describe(value)));
}

function checkRanks<D extends DType>(parts: readonly Part<D>[], method: string): void {
  const ranks = parts.map(({ adapter }) => adapter.r);
  if (ranks.some((r) => r !== ranks[0])) {
    throw new RangeError(expected("adapters", `equal ranks for "${method}"`, `ranks ${ranks.join(", ")}`));
  }
}

function checkFactors<D extends DType>(runtime: Runtime, parts: readonly Part<D>[]): void {
  parts.forEach(({ adapter }, i) => {
    checkAllFinite(runtime, adapter.a, `adapters[${i}].a`);
    checkAllFinite(runtime, adapter.b, `adapters[${i}].b`);
  });
}

function largestRank<D extends DType>(parts: readonly Part<D>[]): number {
  return Math.max(...parts.map(({ adapter }) => adapter.r));
}

function totalRank<D extends DType>(parts: readonly Part<D>[]): number {
  return parts.reduce((sum, { adapter }) => sum + adapter.r, 0);
}

/** What the parts have in common. */
function common<D extends DType>(runtime: Runtime, parts: readonly Part<D>[]) {
  const [{ adapter }] = parts as [Part<D>];
  const { dtype, inFeatures, outFeatures } = adapter;
  return { dtype, inFeatures, outFeatures, routines: runtime[dtype], bytes: bytesOf(dtype) };
}

/** A (Σr, in): weight·scaling·A_i one below the other; B (out, Σr): B_i side by side. */
function concatenate<D extends DType>(runtime: Runtime, parts: readonly Part<D>[]): Factors<D> {
  const { dtype, inFeatures, outFeatures, routines, bytes } = common(runtime, parts);
  const total = totalRank(parts);
  const a = Tensor.allocate(runtime, [total, inFeatures], dtype);
  const b = Tensor.allocate(runtime, [outFeatures, total], dtype);
  let rank = 0;
  for (const { adapter, weight } of parts) {
    const { r } = adapter;
    const to = a.pointer + rank * inFeatures * bytes;
    routines.lacpy(r, inFeatures, adapter.a.pointer, inFeatures, 1, to, inFeatures);
    routines.scal(r * inFeatures, weight * adapter.scaling, to, 1);
    routines.lacpy(outFeatures, r, adapter.b.pointer, r, 1, b.pointer + rank * bytes, total);
    rank += r;
  }
  return { a, b };
}

/** Σ weight·ΔW as C·D, C (out, Σr) by columns and D (Σr, in), and the first singular triplets of it. */
function* truncateSum<D extends DType>(
  runtime: Runtime,
  parts: readonly Part<D>[],
  rank: number | undefined,
): Steps<Factors<D>> {
  const { dtype, inFeatures: n, outFeatures: m, routines, bytes } = common(runtime, parts);
  const total = totalRank(parts);
  const most = Math.min(m, n, total);
  if (most === 0) return zeroFactors(runtime, dtype, m, n);
  const c = Tensor.allocate(runtime, [total, m], dtype);
  const d = Tensor.allocate(runtime, [total, n], dtype);
  let at = 0;
  for (const { adapter, weight } of parts) {
    const { r } = adapter;
    const to = c.pointer + at * m * bytes;
    routines.lacpy(r, m, adapter.b.pointer, 1, r, to, m);
    routines.scal(r * m, weight * adapter.scaling, to, 1);
    routines.lacpy(r, n, adapter.a.pointer, n, 1, d.pointer + at * n * bytes, n);
    at += r;
  }
  checkAllFinite(runtime, c, "adapters");
  const { ut, s, vt } = yield* svdOfProduct(runtime, "combineAdapters", c, d);
  return scaledVectors(runtime, ut, 1, m, s, vt, Math.min(rank ?? largestRank(parts), most));
}

/** The first singular triplets of a matrix (out, in). */
function* truncate<D extends DType>(runtime: Runtime, delta: Tensor<D>, rank: number): Steps<Factors<D>> {
  const [m, n] = delta.shape as [number, number];
  const most = Math.min(m, n);
  if (most === 0) return zeroFactors(runtime, delta.dtype, m, n);
  checkAllFinite(runtime, delta, "adapters");
  const { u, s, vt } = yield* decompose(runtime, delta, "thin");
  return scaledVectors(runtime, u as Tensor<D>, most, 1, s as Tensor<D>, vt as Tensor<D>, Math.min(rank, most));
}

/** A rule on the A and on the B, each weighted with the root of |weight·scaling|. */
function combineFactors<D extends DType>(
  runtime: Runtime,
  parts: readonly Part<D>[],
  rule: Rule,
  settings: Settings,
): Factors<D> {
  const { dtype, inFeatures, outFeatures, routines } = common(runtime, parts);
  const r = largestRank(parts);
  const a = Tensor.allocate(runtime, [r, inFeatures], dtype);
  const b = Tensor.allocate(runtime, [outFeatures, r], dtype);
  const factors = parts.map(({ adapter, weight }) => weight * adapter.scaling);
  const roots = factors.map((factor) => Math.sqrt(Math.abs(factor)));
  const signed = factors.map((factor, i) => Math.sign(factor) * (roots[i] as number));
  let first = 0;
  for (const [which, to, weights] of [
    ["a", a, signed],
    ["b", b, roots],
  ] as const) {
    const mark = runtime.scratch.mark();
    const stack = runtime.scratch.push(parts.length * to.size * bytesOf(dtype));
    parts.forEach(({ adapter }, i) => {
      const from = adapter[which];
      const place = stack + i * to.size * bytesOf(dtype);
      routines.lacpy(1, to.size, from.pointer, to.size, 1, place, to.size);
    });
    applyRule(runtime, rule, settings, first, stack, weights, to);
    runtime.scratch.rewind(mark);
    first += parts.length * to.size;
  }
  return { a, b };
}

/** A rule on the ΔW = scaling·B·A. */
function combineDeltas<D extends DType>(
  runtime: Runtime,
  parts: readonly Part<D>[],
  rule: Rule,
  settings: Settings,
): Tensor<D> {
  const { dtype, inFeatures: n, outFeatures: m, routines, bytes } = common(runtime, parts);
  const delta = Tensor.allocate(runtime, [m, n], dtype);
  const stack = runtime.scratch.push(parts.length * delta.size * bytes);
  parts.forEach(({ adapter }, i) => {
    const { a, b, r, scaling } = adapter;
    const to = stack + i * delta.size * bytes;
    routines.gemm(m, n, r, scaling, b.pointer, r, 1, a.pointer, n, 1, 0, to, n);
  });
  const weights = parts.map(({ weight }) => weight);
  applyRule(runtime, rule, settings, 0, stack, weights, delta);
  return delta;
}

/** to <- what a rule makes of the vectors in `stack`, which it overwrites; `first`: position of the random numbers. */
function applyRule<D extends DType>(
  runtime: Runtime,
  rule: Rule,
  { density, frequency, seed }: Settings,
  first: number,
  stack: number,
  weights: readonly number[],
  to: Tensor<D>,
): void {
  const { dtype, size } = to;
  const routines = runtime[dtype];
  const bytes = bytesOf(dtype);
  const place = (i: number) => stack + i * size * bytes;
  if (rule === "ties" || rule === "magnitude_prune") {
    const work = runtime.scratch.push(routines.pruneScratch());
    const kept = Math.floor(density * size);
    weights.forEach((_, i) => {
      routines.pruneMagnitude(size, kept, place(i), place(i), work);
    });
  } else if (rule !== "linear") {
    const mask = runtime.scratch.push(size * bytes);
    weights.forEach((_, i) => {
      const value = density === 0 ? 0 : 1 / density;
      routines.bernoulli(seed, STREAM.drop, first + i * size, size, density, value, mask);
      routines.scaleColumns(1, size, mask, place(i));
    });
  }
  if (rule === "ties" || rule === "dare_ties") {
    const list = runtime.scratch.push(weights.length * bytes);
    numbersAt(runtime.memory, dtype, list, weights.length).set(weights);
    routines.electAndMerge(size, weights.length, stack, list, frequency ? 1 : 0, to.pointer);
    return;
  }
  routines.fill(size, 0, to.pointer);
  weights.forEach((weight, i) => {
    routines.axpy(size, weight, place(i), 1, to.pointer, 1);
  });
}

/** Σ weight·scaling·bias, or undefined if no adapter has one. */
function sumBiases<D extends DType>(runtime: Runtime, parts: readonly Part<D>[]): Tensor<D> | undefined {
  const { dtype, outFeatures, routines } = common(runtime, parts);
  if (parts.every(({ adapter }) => adapter.bias === undefined)) return undefined;
  const sum = Tensor.allocate(runtime, [outFeatures], dtype);
  routines.fill(outFeatures, 0, sum.pointer);
  for (const { adapter, weight } of parts) {
    if (adapter.bias === undefined) continue;
    routines.axpy(outFeatures, weight * adapter.scaling, adapter.bias.pointer, 1, sum.pointer, 1);
  }
  return sum;
}
