// Singular value decomposition.

import { checkOneOf, checkOptions } from "../check.js";
import type { TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { runSteps } from "../scope.js";
import type { Steps } from "../slices.js";
import type { DType, Tensor } from "../tensor.js";
import { DRIVERS, decompose, placeMatrix, VECTORS } from "./decompose.js";

/** @inline */
export type Vectors = "none" | "thin" | "full";
/** @inline */
export type Driver = "auto" | "qr" | "dc" | "jacobi";

export interface SvdOptions extends ProgressOptions {
  /** "thin": k = min(m, n) vectors a side; "full": square factors; "none": values only. Default "thin". */
  vectors?: Vectors;
  /**
   * Bidiagonal stage: "qr" iteration or divide and conquer, "dc"; "auto" takes the faster one, and decomposes the small
   * matrices of a batch side by side. Values alone come from dqds, except with "qr". "jacobi": one-sided Jacobi (Drmač and
   * Veselić 2008), slower, in f64 for both precisions, which gives even the smallest values of a matrix with badly scaled rows or
   * columns to full relative accuracy.
   */
  driver?: Driver;
}

export interface Svd<D extends DType = DType> {
  /** (…, m, k), or (…, m, m) with `vectors: "full"`: left singular vectors in columns. */
  u: Tensor<D>;
  /** (…, k): singular values, non-increasing, >= 0. */
  s: Tensor<D>;
  /** (…, k, n), or (…, n, n): right singular vectors in rows. */
  vt: Tensor<D>;
}

/**
 * Singular value decomposition A = U·diag(S)·Vᵀ, as accurate as LAPACK's (xGESDD, xGESVD, xGEJSV by `driver`).
 * Signs of the vectors are not normalised. A value beyond the format's range is Infinity, the vectors still right.
 *
 * @param a (…, m, n); leading axes are a batch, in which a matrix has the same digits wherever it stands; any of m, n and
 *   the batch may be 0
 * @returns u (…, m, k), s (…, k), vt (…, k, n) with k = min(m, n), in the dtype of `a`; the caller owns them.
 *   `vectors: "none"` returns s alone.
 * @throws NonFiniteError if an entry is NaN or Infinity; ConvergenceError if the iteration reaches LAPACK's limit
 * @example
 * ```ts
 * import { init, svd } from "lowrank";
 * await init();
 * const { u, s, vt } = svd([[3, 0], [4, 5]]);
 * console.log(s.toArray()); // [ 6.708…, 2.236… ]
 * ```
 */
export function svd<D extends DType>(a: Tensor<D>, options: SvdOptions & { vectors: "none" }): { s: Tensor<D> };
export function svd(a: TensorLike, options: SvdOptions & { vectors: "none" }): { s: Tensor };
export function svd<D extends DType>(a: Tensor<D>, options?: SvdOptions & { vectors?: "thin" | "full" }): Svd<D>;
export function svd(a: TensorLike, options?: SvdOptions & { vectors?: "thin" | "full" }): Svd;
export function svd(a: TensorLike, options?: SvdOptions): Svd | { s: Tensor } {
  return runSteps((runtime) => svdSteps(runtime, a, options), options);
}

function* svdSteps(runtime: Runtime, a: TensorLike, options: SvdOptions | undefined): Steps<Svd | { s: Tensor }> {
  const given = checkOptions(options, ["vectors", "driver", ...PROGRESS]);
  const vectors = given.vectors === undefined ? "thin" : checkOneOf(given.vectors, "vectors", VECTORS);
  const driver = given.driver === undefined ? "auto" : checkOneOf(given.driver, "driver", DRIVERS);
  return yield* decompose(runtime, placeMatrix(runtime, a, "a"), vectors, driver);
}

/**
 * Singular values alone.
 *
 * @param a (…, m, n)
 * @returns (…, min(m, n)), non-increasing, >= 0; the caller owns it
 * @throws as svd()
 * @example
 * ```ts
 * import { init, svdvals } from "lowrank";
 * await init();
 * console.log(svdvals([[2, 0, 0], [0, 5, 0]]).toArray()); // [ 5, 2 ]
 * ```
 */
export function svdvals<D extends DType>(a: Tensor<D>, options?: ProgressOptions): Tensor<D>;
export function svdvals(a: TensorLike, options?: ProgressOptions): Tensor;
export function svdvals(a: TensorLike, options?: ProgressOptions): Tensor {
  return runSteps((runtime) => svdvalsSteps(runtime, a, options), options);
}

function* svdvalsSteps(runtime: Runtime, a: TensorLike, options: ProgressOptions | undefined): Steps<Tensor> {
  checkOptions(options, PROGRESS);
  return (yield* decompose(runtime, placeMatrix(runtime, a, "a"), "none")).s;
}
