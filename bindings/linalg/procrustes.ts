// Orthogonal Procrustes problem.

import { checkOptions, sizeOf } from "../check.js";
import type { TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { runSteps } from "../scope.js";
import type { Steps } from "../slices.js";
import { type DType, Tensor } from "../tensor.js";
import { centrePoints, decomposeCross, placePair } from "./points.js";
import { scalars, timesPowerOfTwo, valuesOf } from "./values.js";

export interface Procrustes<S extends number | Tensor = number, D extends DType = DType> {
  /** (…, n, n): orthogonal. */
  r: Tensor<D>;
  /** Σσ(AᵀB); (…) for a batch. */
  scale: S;
}

/**
 * The orthogonal R that minimises ‖A·R − B‖_F (Schönemann 1966): U·Vᵀ of AᵀB, which may be a reflection. As
 * scipy.linalg.orthogonal_procrustes; `scale`/‖A‖_F² is the factor of A·R that comes nearest to B.
 *
 * @param a (…, m, n), rows are points; leading axes are a batch
 * @param b of the same shape and dtype
 * @returns r (…, n, n), which the caller owns, and scale: a number, or for a batch a tensor of its shape
 *   (`procrustes<Tensor>(…)` says so to the compiler)
 * @throws RangeError if the shapes differ; otherwise as svd()
 * @example
 * ```ts
 * import { init, procrustes } from "lowrank";
 * await init();
 * const { r, scale } = procrustes([[2, 0], [0, 1]], [[0, 2], [-1, 0]]);
 * console.log(r.toArray(), scale); // [ [ 0, 1 ], [ -1, 0 ] ] 5
 * ```
 */
export function procrustes<S extends number | Tensor = number>(
  a: TensorLike,
  b: TensorLike,
  options?: ProgressOptions,
): Procrustes<S>;
export function procrustes(a: TensorLike, b: TensorLike, options?: ProgressOptions): Procrustes<number | Tensor> {
  return runSteps((runtime) => procrustesSteps(runtime, a, b, options), options);
}

function* procrustesSteps(
  runtime: Runtime,
  a: TensorLike,
  b: TensorLike,
  options: ProgressOptions | undefined,
): Steps<Procrustes<number | Tensor>> {
  checkOptions(options, PROGRESS);
  const pair = placePair(runtime, a, b, ["a", "b"]);
  const { dtype, batch, n } = pair;
  const left = centrePoints(runtime, pair.a, false);
  const right = centrePoints(runtime, pair.b, false);
  const { u, s, vt } = yield* decomposeCross(runtime, pair, left, right);
  const r = Tensor.allocate(runtime, [...batch, n, n], dtype);
  const square = n * n;
  runtime[dtype].gemmBatch(
    0,
    sizeOf(batch),
    n,
    n,
    n,
    1,
    u.pointer,
    square,
    n,
    1,
    vt.pointer,
    square,
    n,
    1,
    0,
    r.pointer,
    square,
    n,
  );
  const sums = Array.from(left.exponents, (e, i) => {
    const sum = valuesOf(s, i).reduceRight((total, value) => total + value, 0);
    return timesPowerOfTwo(sum, e + (right.exponents[i] as number));
  });
  return { r, scale: scalars(runtime, pair.a, sums) };
}
