// Randomized singular value decomposition after Halko, Martinsson and Tropp (2011), with scikit-learn's defaults.

import { checkInteger, checkOneOf, checkOptions, expected } from "../check.js";
import type { TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { decodeMultiplier, type LinearOperator } from "../operator.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { checkSeed, STREAM } from "../random.js";
import { runSteps } from "../scope.js";
import { inSlices, type Step, type Steps, silently } from "../slices.js";
import type { Csr } from "../sparse/csr.js";
import { decompose } from "../svd/decompose.js";
import type { Svd } from "../svd/svd.js";
import { bytesOf, type DType, Tensor } from "../tensor.js";
import { type ErrorBound, errorBound, PROBES, probeSteps } from "./error_bound.js";
import { makeOperand, type Operand } from "./operand.js";

const NORMALIZERS = ["auto", "lu", "qr", "none"] as const;

export interface RandomizedSvdOptions extends ProgressOptions {
  /** Vectors drawn beside the k that are wanted: more make a slowly decaying tail harmless. Default 10. */
  oversamples?: number;
  /**
   * Rounds of multiplication by A and Aᵀ, which make large values stand out. "auto" (the default): 7 if k < 0.1·min(m, n),
   * else 4.
   */
  powerIterations?: number | "auto";
  /** What keeps the vectors apart between products. "auto" (the default): nothing for up to 2 rounds, else "lu". */
  normalizer?: (typeof NORMALIZERS)[number];
  /** An integer of 32 bits: the same seed gives the same result. Default 0. */
  seed?: number;
}

export interface RandomizedSvd<D extends DType = DType> extends Svd<D> {
  /** Upper bounds on the norms of A − U·diag(S)·Vᵀ. */
  errorBound: ErrorBound;
}

/**
 * The k largest singular values and their vectors by random projection, in a few passes over A: for matrices whose values
 * decay, and where a bound on what is lost is wanted with them. Each column of U has its largest entry positive.
 *
 * @param a (m, n): a matrix, a sparse matrix, or an operator that multiplies blocks of vectors
 * @param k how many values, 1 to min(m, n)
 * @returns u (m, k), s (k), vt (k, n) in the dtype of `a`, which the caller owns, and errorBound { spectral, frobenius }:
 *   bounds on ‖A − U·diag(S)·Vᵀ‖, rounding included, measured after the fact. The spectral one fails for one seed
 *   in 10^10 at most, whatever A is, and so does the Frobenius one where A's entries are not at hand.
 * @throws NonFiniteError if an entry is NaN or Infinity; the signal's reason if it is aborted
 * @example
 * ```ts
 * import { init, matmul, randomizedSvd } from "lowrank";
 * await init();
 * const a = matmul([[1], [2], [2]], [[3, 0, 4]]); // of rank 1
 * const { s, errorBound } = randomizedSvd(a, 1);
 * console.log(s.toArray()); // [ 15 ]
 * console.log(errorBound.spectral < 1e-12); // true
 * ```
 */
export function randomizedSvd<D extends DType>(
  a: Tensor<D> | Csr<D>,
  k: number,
  options?: RandomizedSvdOptions,
): RandomizedSvd<D>;
export function randomizedSvd(
  a: TensorLike | Csr | LinearOperator,
  k: number,
  options?: RandomizedSvdOptions,
): RandomizedSvd;
export function randomizedSvd(
  a: TensorLike | Csr | LinearOperator,
  k: number,
  options?: RandomizedSvdOptions,
): RandomizedSvd {
  return runSteps((runtime) => randomizedSteps(runtime, a, k, options), options);
}

/** @internal randomizedSvd() as a part of other computations. */
export function* randomizedSteps(
  runtime: Runtime,
  a: TensorLike | Csr | LinearOperator,
  k: number,
  options?: RandomizedSvdOptions,
): Steps<RandomizedSvd> {
  const given = checkOptions(options, ["oversamples", "powerIterations", "normalizer", "seed", ...PROGRESS]);
  const matrix = decodeMultiplier(runtime, a, "a");
  const least = Math.min(...matrix.shape);
  checkInteger(k, "k", Math.min(1, least), least);
  const oversamples = checkInteger(given.oversamples ?? 10, "oversamples", 0, 2 ** 30);
  const rounds = checkRounds(given.powerIterations, k, least);
  const normalizer = given.normalizer === undefined ? "auto" : checkOneOf(given.normalizer, "normalizer", NORMALIZERS);
  const seed = checkSeed(given.seed);
  // a callback may dispose of what it was given
  const held = matrix.dense?.hold();
  try {
    const width = Math.min(k + oversamples, least);
    const operand = makeOperand(runtime, held === undefined ? matrix : { ...matrix, dense: held }, blockOf(width));
    const chosen = normalizer === "auto" ? (rounds <= 2 ? "none" : "lu") : normalizer;
    return yield* project(runtime, operand, k, width, rounds, chosen, seed);
  } finally {
    held?.dispose();
  }
}

/** Products take vectors by fours: those that fill up are zeros. */
function paddedWidth(width: number): number {
  return (width + 3) & -4;
}

/** Vectors of a block: those that are decomposed, and behind them those that probe the error. */
function blockOf(width: number): number {
  return paddedWidth(width) + PROBES;
}

function checkRounds(value: number | "auto" | undefined, k: number, least: number): number {
  if (value === undefined || value === "auto") return k < 0.1 * least ? 7 : 4;
  if (typeof value === "string") {
    throw new RangeError(expected("powerIterations", 'an integer or "auto"', JSON.stringify(value)));
  }
  return checkInteger(value, "powerIterations", 0, 1000);
}

/**
 * The decomposition by `width` random vectors. It is done on M (long×least), which is A or, where A is wide, Aᵀ; x holds
 * vectors of the shorter side, y of the longer one, by rows, those that probe the error behind those that are decomposed.
 */
function* project(
  runtime: Runtime,
  a: Operand,
  k: number,
  width: number,
  rounds: number,
  normalizer: "lu" | "qr" | "none",
  seed: number,
): Steps<RandomizedSvd> {
  const { dtype, rows, columns } = a;
  const routines = runtime[dtype];
  const bytes = bytesOf(dtype);
  const wide = rows < columns;
  const [long, least] = wide ? [columns, rows] : [rows, columns];
  const u = Tensor.allocate(runtime, [rows, k], dtype);
  const s = Tensor.allocate(runtime, [k], dtype);
  const vt = Tensor.allocate(runtime, [k, columns], dtype);
  if (k === 0) return { u, s, vt, errorBound: { spectral: 0, frobenius: 0 } };

  const padded = paddedWidth(width);
  const block = blockOf(width);
  const x = Tensor.allocate(runtime, [block, least], dtype);
  const y = Tensor.allocate(runtime, [block, long], dtype);
  const forth = (count: number) => (wide ? a.multiplyTransposed : a.multiply)(count, x.pointer, y.pointer);
  const back = (count: number) => (wide ? a.multiply : a.multiplyTransposed)(count, y.pointer, x.pointer);
  const total = 2 * rounds + 1 + probeSteps(least);
  let done = 0;
  const step = (): Step => {
    const at = ++done;
    return () => ({ done: at, total });
  };

  routines.gaussian(seed, STREAM.sketch, 0, width * least, x.pointer);
  routines.fill((padded - width) * least, 0, x.pointer + width * least * bytes);
  routines.gaussian(seed, STREAM.probe, 0, PROBES * least, x.pointer + padded * least * bytes);
  for (let round = 0; round < rounds; round++) {
    forth(padded);
    yield* normalize(runtime, dtype, normalizer, width, long, y.pointer);
    yield step();
    back(padded);
    yield* normalize(runtime, dtype, normalizer, width, least, x.pointer);
    yield step();
  }
  forth(block);
  yield* orthonormalize(runtime, dtype, width, long, y.pointer, 0);
  yield step();
  // M ≈ Q·B with Bᵀ = Mᵀ·Q = P·R and R = X·S·Wᵀ: left vectors Q·W, right ones P·X
  back(padded);
  const r = Tensor.allocate(runtime, [width, width], dtype);
  yield* orthonormalize(runtime, dtype, width, least, x.pointer, r.pointer);
  const small = yield* silently(decompose(runtime, r.transpose(), "thin"));
  routines.lacpy(1, k, small.s.pointer, k, 1, s.pointer, k);
  const [px, pw, size] = [small.u.pointer, small.vt.pointer, width];
  const { gemmBatch } = routines;
  const [py, pp] = [y.pointer, x.pointer];
  if (wide) {
    gemmBatch(0, 1, rows, k, size, 1, pp, 0, 1, rows, px, 0, size, 1, 0, u.pointer, 0, k);
    gemmBatch(0, 1, k, columns, size, 1, pw, 0, size, 1, py, 0, columns, 1, 0, vt.pointer, 0, columns);
  } else {
    gemmBatch(0, 1, rows, k, size, 1, py, 0, 1, rows, pw, 0, 1, size, 0, u.pointer, 0, k);
    gemmBatch(0, 1, k, columns, size, 1, px, 0, 1, size, pp, 0, columns, 1, 0, vt.pointer, 0, columns);
  }
  routines.flipByColumns(rows, columns, k, u.pointer, vt.pointer, small.s.pointer);
  yield step();
  const bound = yield* errorBound(runtime, a, u, s, vt, x.subtensor(padded, block), y.subtensor(padded, block), step);
  routines.scalPower(k, a.exponent, s.pointer);
  return { u, s, vt, errorBound: bound };
}

/** Rows of x (count×n) made well conditioned; their span stays, whatever is done. */
function* normalize(
  runtime: Runtime,
  dtype: DType,
  normalizer: "lu" | "qr" | "none",
  count: number,
  n: number,
  x: number,
): Steps<void> {
  const routines = runtime[dtype];
  if (normalizer === "none") {
    routines.normalizeRows(count, n, x);
  } else if (normalizer === "qr") {
    yield* orthonormalize(runtime, dtype, count, n, x, 0);
  } else {
    const mark = runtime.scratch.mark();
    const work = runtime.scratch.push(routines.luBasisScratch(count));
    routines.luBasisBegin(work);
    yield* inSlices(() => routines.luBasis(count, n, x, n, work));
    runtime.scratch.rewind(mark);
  }
}

/** Rows of x (count×n) made orthonormal; r (count×count), if not 0, <- R by columns. */
function* orthonormalize(runtime: Runtime, dtype: DType, count: number, n: number, x: number, r: number): Steps<void> {
  const routines = runtime[dtype];
  const mark = runtime.scratch.mark();
  const work = runtime.scratch.push(routines.orthonormalizeScratch(count, n));
  routines.orthonormalizeBegin(work);
  yield* inSlices(() => routines.orthonormalize(count, n, x, r, work));
  runtime.scratch.rewind(mark);
}
