// The same update with fewer ranks: the SVD of scaling·B·A by QR of its factors, cut where a rule says.

import { checkFinite, checkInteger, checkOneOf, checkOptions, describe, expected } from "../check.js";
import { checkRank, chooseRank, type Rank, truncation } from "../linalg/rank_rule.js";
import type { Runtime } from "../load.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { runSteps } from "../scope.js";
import type { Steps } from "../slices.js";
import { checkAllFinite } from "../svd/decompose.js";
import { type DType, Tensor } from "../tensor.js";
import { LoraAdapter } from "./adapter.js";
import { type ProductSvd, scaledVectors, svdOfProduct, zeroFactors } from "./product_svd.js";

const KOHYA_RULES = ["kohya-sv_ratio", "kohya-sv_fro", "kohya-sv_cumulative"] as const;

/** The rules of kohya's resize_lora, with its own choice of rank: one more than the rule needs, at least 2. */
export interface KohyaRule {
  rule: (typeof KOHYA_RULES)[number];
  /** sv_ratio: values above σ₁/value count; sv_fro, sv_cumulative: share of ‖ΔW‖_F, of Σσ. */
  value: number;
  /** Upper limit of the rank. */
  maxRank?: number;
}

/** An adapter of lower rank, and what it leaves out. */
export interface TruncatedAdapter<D extends DType = DType> {
  adapter: LoraAdapter<D>;
  rank: number;
  /** ‖Δ − Δ_k‖_F / ‖Δ‖_F; 0 for a zero Δ. */
  error: number;
  /** Share of Σσ² that is kept; 1 for a zero Δ. */
  energy: number;
  /** What the error of no adapter of this rank can go below (Eckart–Young); the error itself where the SVD was exact. */
  bound: number;
}

/**
 * The adapter of a lower rank that is nearest to the given one (Eckart–Young): exact, by QR of B and Aᵀ and the SVD of
 * the r×r core, so that out×in is never formed. The scale is kept: alpha changes with the rank.
 *
 * @param adapter stays as it is
 * @param rule `{ rank }`, `{ energy }` or `{ tolerance }` as lowRank(), or one of kohya's
 * @returns a new adapter that the caller owns, its rank, relative error and retained energy
 * @throws TypeError for a DoRA adapter; RangeError for a value outside its range; NonFiniteError for factors with NaN
 * @example
 * ```ts
 * import { init } from "lowrank";
 * import { LoraAdapter, resizeAdapter } from "lowrank/lora";
 * await init();
 * const adapter = new LoraAdapter({ a: [[1, 0], [0, 1]], b: [[3, 0], [0, 4]], alpha: 2 });
 * const { adapter: smaller, rank, energy } = resizeAdapter(adapter, { rank: 1 });
 * console.log(rank, energy.toFixed(2), smaller.scaling, smaller.delta().toArray()); // 1 0.64 1 [ [ 0, 0 ], [ 0, 4 ] ]
 * ```
 */
export function resizeAdapter<D extends DType>(
  adapter: LoraAdapter<D>,
  rule: Rank | KohyaRule,
  options?: ProgressOptions,
): TruncatedAdapter<D> {
  return runSteps((runtime) => resizeSteps(runtime, adapter, rule, options), options);
}

/** @internal resizeAdapter() as a part of other computations. */
export function* resizeSteps<D extends DType>(
  runtime: Runtime,
  adapter: LoraAdapter<D>,
  rule: Rank | KohyaRule,
  options?: ProgressOptions,
): Steps<TruncatedAdapter<D>> {
  checkOptions(options, PROGRESS);
  if (!(adapter instanceof LoraAdapter)) throw new TypeError(expected("adapter", "a LoraAdapter", describe(adapter)));
  if (adapter.magnitude !== undefined) {
    throw new TypeError(expected("adapter", "one without a magnitude (DoRA)", "one with it"));
  }
  const { a, b, r, inFeatures, outFeatures, dtype, scaling, useRslora } = adapter;
  const most = Math.min(inFeatures, outFeatures);
  const choose = checkRule(rule, most);
  checkAllFinite(runtime, a, "adapter.a");
  checkAllFinite(runtime, b, "adapter.b");
  const c = Tensor.allocate(runtime, [r, outFeatures], dtype);
  runtime[dtype].lacpy(r, outFeatures, b.pointer, 1, r, c.pointer, outFeatures);
  const { ut, s, vt } = yield* svdOfProduct(runtime, "resizeAdapter", c, a);
  const values = s.toTyped();
  const rank = choose(values);
  const factors = factorsOfRank(runtime, { ut, s, vt }, rank);
  const kept = truncation(values, Math.min(rank, values.length));
  const resized = new LoraAdapter<D>({
    ...factors,
    alpha: scaling * (useRslora ? Math.sqrt(Math.max(rank, 1)) : Math.max(rank, 1)),
    useRslora,
    dropout: adapter.dropout,
    ...(adapter.bias && { bias: adapter.bias }),
  });
  const error = Math.sqrt(Math.max(0, 1 - kept.energy));
  return { adapter: resized, rank, error, energy: kept.energy, bound: error };
}

/** B and A of the first triplets; kohya's rules may ask for one rank more than there are, which is zero. */
function factorsOfRank<D extends DType>(runtime: Runtime, { ut, s, vt }: ProductSvd<D>, rank: number) {
  const [out, inside] = [ut.shape[1] as number, vt.shape[1] as number];
  if (rank === 0) return zeroFactors(runtime, s.dtype, out, inside);
  const kept = Math.min(rank, s.size);
  const factors = scaledVectors(runtime, ut, 1, out, s, vt, kept);
  if (kept === rank) return factors;
  const { fill, lacpy } = runtime[s.dtype];
  const [a, b] = [Tensor.allocate(runtime, [rank, inside], s.dtype), Tensor.allocate(runtime, [out, rank], s.dtype)];
  for (const factor of [a, b]) fill(factor.size, 0, factor.pointer);
  lacpy(kept, inside, factors.a.pointer, inside, 1, a.pointer, inside);
  lacpy(out, kept, factors.b.pointer, kept, 1, b.pointer, rank);
  return { a, b };
}

type Choice = (values: ArrayLike<number>) => number;

function checkRule(rule: Rank | KohyaRule, most: number): Choice {
  if (!("rule" in Object(rule))) {
    const chosen = checkRank(rule, "rule", most);
    return (values) => Math.min(chooseRank(values, chosen), values.length);
  }
  const given = checkOptions(rule as KohyaRule, ["rule", "value", "maxRank"], "rule");
  const name = checkOneOf(given.rule, "rule", KOHYA_RULES);
  const value = checkFinite(given.value, "value");
  if (value <= 0) throw new RangeError(expected("value", "a number above 0", String(value)));
  const limit = given.maxRank === undefined ? most : checkInteger(given.maxRank, "maxRank", 1, Number.MAX_SAFE_INTEGER);
  return (values) => Math.min(kohyaRank(name, value, values, most), limit);
}

/**
 * resize_lora.py's choice: an index from the spectrum padded with zeros to min(out, in) values, clamped to [1, that − 1],
 * plus one.
 */
function kohyaRank(rule: KohyaRule["rule"], value: number, values: ArrayLike<number>, most: number): number {
  const largest = values[0] ?? 0;
  if (largest <= 1e-6) return 1;
  const powers = rule === "kohya-sv_fro" ? 2 : 1;
  let index = 0;
  if (rule === "kohya-sv_ratio") {
    while (index < values.length && (values[index] as number) > largest / value) index++;
  } else {
    const sums = Array.from(values, (x) => (x / largest) ** powers);
    const total = sums.reduce((sum, x) => sum + x, 0);
    // searchsorted: the first running sum that is not below the target
    let running = 0;
    for (; index < most; index++) {
      running += sums[index] ?? 0;
      if (running / total >= value ** powers) break;
    }
    index++;
  }
  return Math.max(1, Math.min(index, most - 1)) + 1;
}
