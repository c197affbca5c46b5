// How many singular values are kept: the one rule of everything that truncates.

import { checkFinite, checkInteger, checkOptions, describe, expected } from "../check.js";

/**
 * How many singular values are kept: a number of them; the least that have this share of the energy Σσ²; or the least
 * that leave ‖A − A_k‖_F <= tolerance·‖A‖_F.
 */
export type Rank =
  | { rank: number; energy?: undefined; tolerance?: undefined }
  | { energy: number; rank?: undefined; tolerance?: undefined }
  | { tolerance: number; rank?: undefined; energy?: undefined };

/** What a truncation to k values leaves out and keeps. */
export interface Truncation {
  /** ‖A − A_k‖_F, summed from the smallest value. */
  frobenius: number;
  /** ‖A − A_k‖₂: the first value that is left out. */
  spectral: number;
  /** Share of Σσ² that is kept; 1 for a zero matrix. */
  energy: number;
}

const RULES = ["rank", "energy", "tolerance"] as const;

/** @internal The one rule that a value holds, checked; `most` is min(m, n). */
export function checkRank(value: unknown, argument: string, most: number): Rank {
  const what = "{ rank }, { energy } or { tolerance }";
  if (typeof value !== "object" || value === null) throw new TypeError(expected(argument, what, describe(value)));
  const rule = checkOptions(value as Record<(typeof RULES)[number], unknown>, RULES, argument);
  const given = RULES.filter((key) => rule[key] !== undefined);
  if (given.length !== 1) throw new TypeError(expected(argument, what, given.length === 0 ? "none" : given.join(", ")));
  if (rule.rank !== undefined) return { rank: checkInteger(rule.rank, "rank", Math.min(1, most), most) };
  if (rule.energy !== undefined) return { energy: checkShare(rule.energy, "energy", false) };
  return { tolerance: checkShare(rule.tolerance, "tolerance", true) };
}

function checkShare(value: unknown, argument: string, orZero: boolean): number {
  const share = checkFinite(value, argument);
  if (share > 1 || share < 0 || (share === 0 && !orZero)) {
    throw new RangeError(expected(argument, `a number in ${orZero ? "[" : "("}0, 1]`, String(share)));
  }
  return share;
}

/** A power of two near the largest value: divided by it, squares neither overflow nor lose digits. */
function unitOf(s: ArrayLike<number>): number {
  return s[0] ? 2 ** Math.floor(Math.log2(s[0])) : 1;
}

/** Σ_{i>=k} σ_i² for k = 0…p, each summed from the smallest value, of values divided by unitOf(s). */
function tails(s: ArrayLike<number>): Float64Array {
  const sums = new Float64Array(s.length + 1);
  const unit = unitOf(s);
  for (let k = s.length - 1; k >= 0; k--) sums[k] = (sums[k + 1] as number) + ((s[k] as number) / unit) ** 2;
  return sums;
}

/** @internal The rank that a rule asks for; s: descending, finite. */
export function chooseRank(s: ArrayLike<number>, rule: Rank): number {
  if (rule.rank !== undefined) return rule.rank;
  const left = tails(s);
  const total = left[0] as number;
  const wanted = rule.energy === undefined ? 0 : rule.energy * total;
  const allowed = rule.energy === undefined ? rule.tolerance ** 2 * total : total - wanted;
  // what is left out decides near 1, where the sum of what is kept no longer changes; that decides near 0
  return left.findIndex((tail) => tail <= allowed && total - tail >= wanted);
}

/** @internal What a truncation to k of the values s leaves out and keeps. */
export function truncation(s: ArrayLike<number>, k: number): Truncation {
  const left = tails(s);
  const total = left[0] as number;
  const tail = left[k] as number;
  return {
    frobenius: unitOf(s) * Math.sqrt(tail),
    spectral: s[k] ?? 0,
    energy: total === 0 ? 1 : (total - tail) / total,
  };
}
