// Moore–Penrose inverse.

import { checkOptions } from "../check.js";
import type { TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { runSteps } from "../scope.js";
import type { Steps } from "../slices.js";
import { placeMatrix } from "../svd/decompose.js";
import { type DType, Tensor } from "../tensor.js";
import { columnsAt, scaledProduct } from "./product.js";
import { checkTolerances, decomposeScaled, matrixBytes, rankOf, type Tolerances, valuesOf } from "./values.js";

/**
 * Moore–Penrose inverse A⁺ = V·diag(1/σ)·Uᵀ over the singular values above max(atol, rtol·σ₁). The default, max(m, n)·eps
 * of the dtype, is that of PyTorch and SciPy; NumPy's, 1e-15 whatever the size and the dtype, keeps noise in f32.
 *
 * @param a (…, m, n); leading axes are a batch; any length may be 0
 * @param options.atol absolute; default 0
 * @param options.rtol relative to σ₁; 1 and more gives zeros
 * @returns (…, n, m), in the dtype of `a`; the caller owns it
 * @throws RangeError for a tolerance below 0; otherwise as svd()
 * @example
 * ```ts
 * import { init, pinv } from "lowrank";
 * await init();
 * console.log(pinv([[2, 0], [0, 4], [0, 0]]).toArray()); // [ [ 0.5, 0, 0 ], [ 0, 0.25, 0 ] ]
 * ```
 */
export function pinv<D extends DType>(a: Tensor<D>, options?: Tolerances & ProgressOptions): Tensor<D>;
export function pinv(a: TensorLike, options?: Tolerances & ProgressOptions): Tensor;
export function pinv(a: TensorLike, options?: Tolerances & ProgressOptions): Tensor {
  return runSteps((runtime) => pinvSteps(runtime, a, options), options);
}

function* pinvSteps(
  runtime: Runtime,
  a: TensorLike,
  options: (Tolerances & ProgressOptions) | undefined,
): Steps<Tensor> {
  const given = checkOptions(options, ["atol", "rtol", ...PROGRESS]);
  const placed = placeMatrix(runtime, a, "a");
  const tolerances = checkTolerances(given, placed);
  const { dtype } = placed;
  const [m, n] = placed.shape.slice(-2) as [number, number];
  const p = Math.min(m, n);
  const { u, s, vt, exponents } = yield* decomposeScaled(runtime, placed, "thin");
  const out = Tensor.allocate(runtime, [...placed.shape.slice(0, -2), n, m], dtype);
  for (let i = 0; i < exponents.length && p > 0; i++) {
    const e = exponents[i] as number;
    const to = out.pointer + i * matrixBytes(placed, n, m);
    const values = valuesOf(s, i);
    const kept = values.subarray(0, rankOf(values, e, tolerances));
    yield* scaledProduct(
      runtime,
      dtype,
      [n, m],
      columnsAt(vt.pointer + i * matrixBytes(placed, p, n), n),
      kept.map((value) => 1 / value),
      columnsAt(u.pointer + i * matrixBytes(placed, m, p), p),
      to,
    );
    // last, so that what is beyond the format is Infinity and not NaN
    runtime[dtype].scalPower(n * m, -e, to);
  }
  return out;
}
