// What a low-rank approximation misses, measured after the fact: upper bounds on the norms of E = A − U·diag(S)·Vᵀ.
//
// Spectral: for Gaussian vectors Ω (q of them) that the approximation does not know, Y = (… Eᵀ·E)·Ω with h factors has
// ‖Y‖₂ >= ‖E‖₂^h·‖Ωᵀ·v‖, v the first singular vector of E, and ‖Ωᵀ·v‖² is chi-squared with q degrees of freedom, whatever E is.
// Below χ² it is once in 10^10, so ‖E‖₂ <= (‖Y‖₂/χ)^(1/h) but for that. Of the other side, ‖Y‖₂ is at most about
// ‖E‖₂^h·(√rank E + √q): h is so large that the bound cannot be far off.
//
// Frobenius: ‖A‖² − ‖S‖² where that does not cancel, else entry by entry; by the same Ω where entries are not at hand: of all E
// with one norm, those of rank 1 have the least ‖E·Ω‖ at that probability.

import type { Runtime } from "../load.js";
import { type Step, type Steps, silently } from "../slices.js";
import { decompose } from "../svd/decompose.js";
import { bytesOf, type Tensor } from "../tensor.js";
import type { Operand } from "./operand.js";

export interface ErrorBound {
  /** ‖A − U·diag(S)·Vᵀ‖₂ is at most this. */
  spectral: number;
  /** ‖A − U·diag(S)·Vᵀ‖_F is at most this. */
  frobenius: number;
}

/** @internal q: the vectors that probe the error. */
export const PROBES = 16;
/** χ: the root of the 1e-10 quantile of chi-squared with 16 degrees of freedom, rounded down. */
const CHI = 0.6585;
/** What the bound may be too large by, at worst. */
const SLACK = 9;

/** Rounding of the measurement itself, in units of roundoff·‖A‖₂. */
const FLOOR = 4;

/** @internal h for a matrix whose shorter side is `least`: steps that probe the error, the first among the products of the sketch. */
export function probeSteps(least: number): number {
  let steps = 2;
  while (((Math.sqrt(least) + Math.sqrt(PROBES)) / CHI) ** (1 / steps) > SLACK) steps++;
  return steps;
}

/**
 * @internal x (q×shorter side of A) holds Ω by rows, y (q×longer side) its products with A (or Aᵀ, where A is wide): both are used up.
 * s is that of 2^-e·A.
 */
export function* errorBound(
  runtime: Runtime,
  a: Operand,
  u: Tensor,
  s: Tensor,
  vt: Tensor,
  x: Tensor,
  y: Tensor,
  step: () => Step,
): Steps<ErrorBound> {
  const { dtype, rows, columns } = a;
  const routines = runtime[dtype];
  const k = s.size;
  const wide = rows < columns;
  const work = runtime.scratch.push(PROBES * k * bytesOf(dtype));
  const roundoff = dtype === "f32" ? 2 ** -24 : 2 ** -53;

  /** to <- to − from·(low-rank approximation): by Aᵀ where `transposed`. */
  const subtract = (transposed: boolean, from: Tensor, to: Tensor) => {
    const [m, n] = transposed ? [columns, rows] : [rows, columns];
    const [v, rsv, csv, ut, rsu, csu] = transposed
      ? [u.pointer, k, 1, vt.pointer, columns, 1]
      : [vt.pointer, 1, columns, u.pointer, 1, k];
    routines.subtractLowRank(PROBES, m, n, k, from.pointer, v, rsv, csv, s.pointer, ut, rsu, csu, to.pointer, work);
  };

  const steps = probeSteps(Math.min(rows, columns));
  let [from, to] = [x, y];
  let transposed = wide;
  let exponent = 0;
  let first = 0;
  for (let i = 1; i <= steps; i++) {
    if (i > 1) {
      (transposed ? a.multiplyTransposed : a.multiply)(PROBES, from.pointer, to.pointer);
      yield step();
    }
    subtract(transposed, from, to);
    const length = to.shape[1] as number;
    if (i === 1) first = routines.squares(PROBES, length, to.pointer, length, 1, 0, 0);
    const power = routines.largestExponent(PROBES, length, to.pointer, length, 1);
    routines.scalPower(PROBES * length, -power, to.pointer);
    exponent += power;
    [from, to] = [to, from];
    transposed = !transposed;
  }
  const norm = (yield* silently(decompose(runtime, from, "none"))).s.data[0] as number;
  const values = Float64Array.from(s.data);
  const rounding = FLOOR * roundoff * (values[0] as number);
  const estimate = (norm / CHI) ** (1 / steps) * 2 ** (exponent / steps) + rounding;

  const kept = values.reduceRight((sum, value) => sum + value * value, 0);
  const all = a.squares;
  // the difference is right to a thousandth of this part of the whole
  const part = dtype === "f32" ? 1e-2 : 1e-9;
  let frobenius: number;
  if (all !== undefined && all - kept >= part * all) {
    frobenius = Math.sqrt(all - kept + 1e-3 * part * all);
  } else {
    const missed = a.residualSquares(u, s, vt);
    frobenius = missed === undefined ? Math.sqrt(first) / CHI : Math.sqrt(missed) * 1.001;
    frobenius += rounding;
  }
  const scale = 2 ** a.exponent;
  return { spectral: Math.min(estimate, frobenius) * scale, frobenius: frobenius * scale };
}
