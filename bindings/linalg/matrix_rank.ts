// Numerical rank.

import { checkBoolean, checkOptions, expected, shapeText } from "../check.js";
import { commonDtype, copyIn, decode, type TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { runSteps } from "../scope.js";
import type { Steps } from "../slices.js";
import { checkAllFinite, placeMatrix } from "../svd/decompose.js";
import { matrices, type Tensor } from "../tensor.js";
import { checkTolerances, decomposeScaled, rankOf, type Tolerances, valuesOf } from "./values.js";

export interface MatrixRankOptions extends Tolerances, ProgressOptions {
  /** The matrix is symmetric: only its lower triangle is read. Default false. */
  hermitian?: boolean;
}

/**
 * Number of singular values above max(atol, rtol·σ₁), as NumPy and PyTorch count.
 *
 * @param a (…, m, n), or (…, n, n) with `hermitian`; rank 0 where a length is 0
 * @returns the rank; for a batch a flat Int32Array in batch order (`matrixRank<Int32Array>(…)` says so to the compiler)
 * @throws RangeError for a tolerance below 0; otherwise as svd()
 * @example
 * ```ts
 * import { init, matrixRank } from "lowrank";
 * await init();
 * console.log(matrixRank([[1, 2], [2, 4]]), matrixRank([[1, 0], [0, 1e-8]], { atol: 1e-7 })); // 1 1
 * ```
 */
export function matrixRank<R extends number | Int32Array = number>(a: TensorLike, options?: MatrixRankOptions): R;
export function matrixRank(a: TensorLike, options?: MatrixRankOptions): number | Int32Array {
  return runSteps((runtime) => matrixRankSteps(runtime, a, options), options);
}

function* matrixRankSteps(
  runtime: Runtime,
  a: TensorLike,
  options: MatrixRankOptions | undefined,
): Steps<number | Int32Array> {
  const given = checkOptions(options, ["atol", "rtol", "hermitian", ...PROGRESS]);
  const hermitian = given.hermitian === undefined ? false : checkBoolean(given.hermitian, "hermitian");
  const placed = hermitian ? placeSymmetric(runtime, a) : placeMatrix(runtime, a, "a");
  const tolerances = checkTolerances(given, placed);
  const { s, exponents } = yield* decomposeScaled(runtime, placed, "none");
  const ranks = Int32Array.from(exponents, (e, i) => rankOf(valuesOf(s, i), e, tolerances));
  return placed.ndim === 2 ? (ranks[0] as number) : ranks;
}

/** A copy of (…, n, n) with the lower triangles mirrored. */
function placeSymmetric(runtime: Runtime, a: TensorLike): Tensor {
  const source = decode(a, "a");
  const [m, n] = source.shape.slice(-2);
  if (n === undefined || m !== n) throw new RangeError(expected("a", "shape (…, n, n)", shapeText(source.shape)));
  const placed = copyIn(runtime, source, commonDtype([["a", source]]));
  for (const { pointer } of matrices(placed)) runtime[placed.dtype].mirrorLower(n, pointer, n);
  checkAllFinite(runtime, placed, "a");
  return placed;
}
