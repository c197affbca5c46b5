// Orthonormal bases of what a matrix reaches and of what it sends to zero.

import { checkOptions, expected, shapeText } from "../check.js";
import { decode, type TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { runSteps } from "../scope.js";
import type { Steps } from "../slices.js";
import { silently } from "../slices.js";
import { decompose, placeMatrix } from "../svd/decompose.js";
import { type DType, Tensor } from "../tensor.js";
import { checkTolerance, decomposeScaled, EPSILON, matrixBytes, rankOf, valuesOf } from "./values.js";

export interface SubspaceOptions extends ProgressOptions {
  /** Singular values of at most rcond·σ₁ count as zero. Default max(m, n)·eps of the dtype. */
  rcond?: number;
}

const KEYS = ["rcond", ...PROGRESS] as const;

function placeOne(runtime: Runtime, a: TensorLike): Tensor {
  const { shape } = decode(a, "a");
  if (shape.length !== 2) throw new RangeError(expected("a", "shape (m, n)", shapeText(shape)));
  return placeMatrix(runtime, a, "a");
}

function checkRcond(options: SubspaceOptions | undefined, a: Tensor): number {
  const { rcond } = checkOptions(options, KEYS);
  return rcond === undefined ? Math.max(...a.shape) * EPSILON[a.dtype] : checkTolerance(rcond, "rcond");
}

/**
 * An orthonormal basis of the range of A: its left singular vectors with σ > rcond·σ₁.
 *
 * @param a (m, n)
 * @returns (m, rank), in the dtype of `a`; the caller owns it
 * @throws RangeError for another number of axes or rcond below 0; otherwise as svd()
 * @example
 * ```ts
 * import { init, orth } from "lowrank";
 * await init();
 * console.log(orth([[1, 1], [1, 1], [0, 0]]).shape); // [ 3, 1 ]
 * ```
 */
export function orth<D extends DType>(a: Tensor<D>, options?: SubspaceOptions): Tensor<D>;
export function orth(a: TensorLike, options?: SubspaceOptions): Tensor;
export function orth(a: TensorLike, options?: SubspaceOptions): Tensor {
  return runSteps((runtime) => orthSteps(runtime, a, options), options);
}

function* orthSteps(runtime: Runtime, a: TensorLike, options: SubspaceOptions | undefined): Steps<Tensor> {
  checkOptions(options, KEYS);
  const placed = placeOne(runtime, a);
  const rcond = checkRcond(options, placed);
  const [m, n] = placed.shape as [number, number];
  const { u, s } = yield* decomposeScaled(runtime, placed, "thin");
  const rank = rankOf(valuesOf(s, 0), 0, { atol: 0, rtol: rcond });
  const out = Tensor.allocate(runtime, [m, rank], placed.dtype);
  if (rank > 0) runtime[placed.dtype].lacpy(m, rank, u.pointer, Math.min(m, n), 1, out.pointer, rank);
  return out;
}

/**
 * An orthonormal basis of the null space of A: the right singular vectors with σ <= rcond·σ₁, and those without a σ.
 *
 * @param a (m, n)
 * @returns (n, n − rank), in the dtype of `a`; the caller owns it
 * @throws RangeError for another number of axes or rcond below 0; otherwise as svd()
 * @example
 * ```ts
 * import { init, nullSpace } from "lowrank";
 * await init();
 * console.log(nullSpace([[1, 0, 0], [0, 1, 0]]).shape); // [ 3, 1 ]
 * ```
 */
export function nullSpace<D extends DType>(a: Tensor<D>, options?: SubspaceOptions): Tensor<D>;
export function nullSpace(a: TensorLike, options?: SubspaceOptions): Tensor;
export function nullSpace(a: TensorLike, options?: SubspaceOptions): Tensor {
  return runSteps((runtime) => nullSpaceSteps(runtime, a, options), options);
}

function* nullSpaceSteps(runtime: Runtime, a: TensorLike, options: SubspaceOptions | undefined): Steps<Tensor> {
  checkOptions(options, KEYS);
  const placed = placeOne(runtime, a);
  const rcond = checkRcond(options, placed);
  const [m, n] = placed.shape as [number, number];
  // a tall matrix has all n right vectors in its thin decomposition
  const { s, vt } = yield* decompose(runtime, placed, m < n ? "full" : "thin");
  const extreme = s.size > 0 && s.data[0] === Infinity;
  const values = valuesOf(extreme ? (yield* silently(decomposeScaled(runtime, placed, "none"))).s : s, 0);
  const rank = rankOf(values, 0, { atol: 0, rtol: rcond });
  const out = Tensor.allocate(runtime, [n, n - rank], placed.dtype);
  if (n > rank) {
    const from = vt.pointer + rank * matrixBytes(placed, 1, n);
    runtime[placed.dtype].lacpy(n, n - rank, from, 1, n, out.pointer, n - rank);
  }
  return out;
}
