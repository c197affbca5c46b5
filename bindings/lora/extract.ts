// An adapter from what training changed: the SVD of tuned − base, cut where a rule says.

import { checkOptions, expected, shapeText } from "../check.js";
import { commonDtype, decode, place, type TensorLike } from "../interop.js";
import { checkRank, chooseRank, type Rank, truncation } from "../linalg/rank_rule.js";
import type { Runtime } from "../load.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { type RandomizedSvd, randomizedSteps } from "../randomized/randomized_svd.js";
import { runSteps } from "../scope.js";
import type { Steps } from "../slices.js";
import { checkAllFinite, decompose } from "../svd/decompose.js";
import type { Svd } from "../svd/svd.js";
import { bytesOf, type DType, type Tensor } from "../tensor.js";
import { LoraAdapter } from "./adapter.js";
import { scaledVectors, zeroFactors } from "./product_svd.js";
import type { TruncatedAdapter } from "./resize.js";
import { EXACT_UP_TO, PAYS_BELOW } from "./triplets.js";

export interface ExtractOptions extends ProgressOptions {
  /** Of the random vectors for large layers. Default 0. */
  seed?: number;
}

/**
 * The LoRA adapter that turns the base weight into the tuned one, as nearly as its rank allows: B = U_k·Σ_k, A = V_kᵀ of
 * tuned − base, alpha = rank. Small layers by the exact SVD; large ones by a randomized one, whose error is certified: the
 * real error is not above the one returned.
 *
 * @param base (out, in)
 * @param tuned (out, in), of the same dtype
 * @param rule `{ rank }`, `{ energy }` or `{ tolerance }` as lowRank()
 * @returns a new adapter that the caller owns, its rank, relative error and retained energy, and the bound that no adapter of that
 *   rank goes below; equal weights give zero factors of rank 1, and the rank 0
 * @throws RangeError if the shapes differ or the rank is above min(out, in); NonFiniteError
 * @example
 * ```ts
 * import { init } from "lowrank";
 * import { extractAdapter } from "lowrank/lora";
 * await init();
 * const { adapter, error } = extractAdapter([[1, 0], [0, 1]], [[1, 2], [0, 1]], { rank: 1 });
 * console.log(error, adapter.delta().toArray()); // 0 [ [ 0, 2 ], [ 0, 0 ] ]
 * ```
 */
export function extractAdapter<D extends DType = DType>(
  base: Tensor<D> | TensorLike,
  tuned: Tensor<D> | TensorLike,
  rule: Rank,
  options?: ExtractOptions,
): TruncatedAdapter<D> {
  return runSteps((runtime) => extractSteps(runtime, base, tuned, rule, options), options);
}

function* extractSteps<D extends DType>(
  runtime: Runtime,
  base: TensorLike,
  tuned: TensorLike,
  rule: Rank,
  options: ExtractOptions | undefined,
): Steps<TruncatedAdapter<D>> {
  const { seed = 0 } = checkOptions(options, ["seed", ...PROGRESS]);
  const [before, after] = [decode(base, "base"), decode(tuned, "tuned")];
  if (before.shape.length !== 2) throw new RangeError(expected("base", "two axes", shapeText(before.shape)));
  if (shapeText(before.shape) !== shapeText(after.shape)) {
    throw new RangeError(expected("tuned", `shape ${shapeText(before.shape)}`, shapeText(after.shape)));
  }
  const dtype = commonDtype([
    ["base", before],
    ["tuned", after],
  ]) as D;
  const [m, n] = before.shape as [number, number];
  const chosen = checkRank(rule, "rule", Math.min(m, n));
  const [x, y] = [place(runtime, before, dtype), place(runtime, after, dtype)];
  checkAllFinite(runtime, x, "base");
  checkAllFinite(runtime, y, "tuned");
  const delta = y.copy() as Tensor<D>;
  const [row, column] = x.strides as [number, number];
  const routines = runtime[dtype];
  // row by row: the base may be a transposed view
  const bytes = bytesOf(dtype);
  for (let i = 0; i < m; i++) {
    routines.axpy(n, -1, x.pointer + i * row * bytes, column, delta.pointer + i * n * bytes, 1);
  }
  checkAllFinite(runtime, delta, "tuned");
  return yield* truncateDelta(runtime, delta, chosen, seed);
}

/**
 * @internal The adapter that is nearest to Δ (out, in), which is finite, of a rank that a rule chooses, but at most `most`. The caller
 * has opened a run().
 */
export function* truncateDelta<D extends DType>(
  runtime: Runtime,
  delta: Tensor<D>,
  rule: Rank,
  seed: number,
  most = Number.POSITIVE_INFINITY,
): Steps<TruncatedAdapter<D>> {
  const [m, n] = delta.shape as [number, number];
  const least = Math.min(m, n);
  const total = runtime[delta.dtype].nrm2(delta.size, delta.pointer, 1);
  if (total === 0) return made(zeroFactors(runtime, delta.dtype, m, n), 0, 0, 0);
  if (least > EXACT_UP_TO) {
    const last = Math.floor(least / PAYS_BELOW);
    // the rank that energy or tolerance need is not known: more vectors until they are enough
    for (let k = Math.min(rule.rank ?? 32, most); k <= last; k = k < most ? Math.min(2 * k, most) : last + 1) {
      const { u, s, vt, errorBound } = (yield* randomizedSteps(runtime, delta, k, {
        seed,
      })) as RandomizedSvd<D>;
      const values = s.toTyped();
      const lost = errorBound.frobenius / total;
      const kept = leastRank(values, total, lost, rule) ?? (k === most ? k : undefined);
      if (kept !== undefined) {
        const error = errorOf(values, total, lost, kept);
        const bound = leastError(delta.dtype, error, errorBound.spectral / total, kept);
        return made(factorsOf(runtime, u, s, vt, kept), kept, error, bound);
      }
      for (const tensor of [u, s, vt]) tensor.dispose();
    }
  }
  const { u, s, vt } = (yield* decompose(runtime, delta, "thin")) as Svd<D>;
  const values = s.toTyped();
  const k = Math.min(chooseRank(values, rule), most);
  const error = Math.sqrt(Math.max(0, 1 - truncation(values, k).energy));
  return made(factorsOf(runtime, u, s, vt, k), k, error, error);
}

/** Relative error with the first `kept` values, where all of them leave `lost`. */
function errorOf(values: ArrayLike<number>, total: number, lost: number, kept: number): number {
  let squared = lost ** 2;
  for (let i = values.length - 1; i >= kept; i--) squared += ((values[i] as number) / total) ** 2;
  return Math.min(1, Math.sqrt(squared));
}

/**
 * What no adapter of rank `kept` can go below (Eckart–Young), relative: U spans the kept vectors, E = Δ − U·Uᵀ·Δ, so
 * ΔᵀΔ = (UᵀΔ)ᵀ(UᵀΔ) + EᵀE and, by Weyl, σ_i² <= s_i² + ‖E‖₂²: of ‖E‖_F² at most kept·‖E‖₂² is due to the vectors.
 */
function leastError(dtype: DType, error: number, missed: number, kept: number): number {
  // `error` is at most this much above ‖E‖_F
  const norm = error / 1.002 - (dtype === "f32" ? 2 ** -20 : 2 ** -49);
  return Math.sqrt(Math.max(0, Math.max(0, norm) ** 2 - kept * missed ** 2));
}

/** The fewest values with which the rule is certain to hold; undefined if all of them do not do. */
function leastRank(values: ArrayLike<number>, total: number, lost: number, rule: Rank): number | undefined {
  if (rule.rank !== undefined) return Math.min(rule.rank, values.length);
  const allowed = rule.energy === undefined ? rule.tolerance : Math.sqrt(1 - rule.energy);
  for (let k = 0; k <= values.length; k++) if (errorOf(values, total, lost, k) <= allowed) return k;
  return undefined;
}

/** B and A of the first `rank` triplets. */
function factorsOf<D extends DType>(runtime: Runtime, u: Tensor<D>, s: Tensor<D>, vt: Tensor<D>, rank: number) {
  if (rank === 0) return zeroFactors(runtime, u.dtype, u.shape[0] as number, vt.shape[1] as number);
  return scaledVectors(runtime, u, s.size, 1, s, vt, rank);
}

function made<D extends DType>(
  factors: { a: Tensor<D>; b: Tensor<D> },
  rank: number,
  error: number,
  bound: number,
): TruncatedAdapter<D> {
  return { adapter: new LoraAdapter<D>(factors), rank, error, energy: 1 - error ** 2, bound };
}
