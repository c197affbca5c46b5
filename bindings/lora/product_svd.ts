// The SVD of a product C·D of two factors, and factors of LoRA's from singular vectors.

import { ConvergenceError } from "../errors.js";
import type { Runtime } from "../load.js";
import { inSlices, operationsDone, type Steps } from "../slices.js";
import { type DType, Tensor } from "../tensor.js";

/** @internal Left vectors by rows (k, m), values (k), right vectors by rows (k, n). */
export interface ProductSvd<D extends DType> {
  ut: Tensor<D>;
  s: Tensor<D>;
  vt: Tensor<D>;
}

/** @internal The SVD of Cᵀ·D for c (r, m) and d (r, n), both contiguous and finite; k = min(m, n, r). */
export function* svdOfProduct<D extends DType>(
  runtime: Runtime,
  caller: string,
  c: Tensor<D>,
  d: Tensor<D>,
): Steps<ProductSvd<D>> {
  const { dtype } = c;
  const routines = runtime[dtype];
  const [r, m] = c.shape as [number, number];
  const n = d.shape[1] as number;
  const k = Math.min(m, n, r);
  const ut = Tensor.allocate(runtime, [k, m], dtype);
  const s = Tensor.allocate(runtime, [k], dtype);
  const vt = Tensor.allocate(runtime, [k, n], dtype);
  const work = runtime.scratch.push(routines.productSvdScratch(m, n, r));
  routines.productSvdBegin(work);
  // two QR factorisations, the core's SVD, and the reflectors on its vectors
  const total = 12 * (m + n) * r * r + 20 * r ** 3 + 1;
  const failed = yield* inSlices(
    () => routines.productSvd(m, n, r, c.pointer, d.pointer, ut.pointer, s.pointer, vt.pointer, work),
    () => ({ done: Math.min(total, operationsDone(runtime, work)), total }),
  );
  if (failed > 0) throw new ConvergenceError(caller, failed);
  return { ut, s, vt };
}

/**
 * @internal PEFT's split of the first k triplets, k >= 1: B = U_k·diag(S_k) (out, k), A = V_kᵀ (k, in). Elements of U are `row`
 * and `column` apart.
 */
export function scaledVectors<D extends DType>(
  runtime: Runtime,
  u: Tensor<D>,
  row: number,
  column: number,
  s: Tensor<D>,
  vt: Tensor<D>,
  k: number,
): { a: Tensor<D>; b: Tensor<D> } {
  const n = vt.shape[1] as number;
  const m = u.size / s.size;
  const routines = runtime[u.dtype];
  const a = Tensor.allocate(runtime, [k, n], u.dtype);
  const b = Tensor.allocate(runtime, [m, k], u.dtype);
  routines.lacpy(k, n, vt.pointer, n, 1, a.pointer, n);
  routines.lacpy(m, k, u.pointer, row, column, b.pointer, k);
  routines.scaleColumns(m, k, s.pointer, b.pointer);
  return { a, b };
}

/** @internal Factors of rank 1 that are zero, B (m, 1) and A (1, n). */
export function zeroFactors<D extends DType>(
  runtime: Runtime,
  dtype: D,
  m: number,
  n: number,
): { a: Tensor<D>; b: Tensor<D> } {
  const a = Tensor.allocate(runtime, [1, n], dtype);
  const b = Tensor.allocate(runtime, [m, 1], dtype);
  for (const factor of [a, b]) runtime[dtype].fill(factor.size, 0, factor.pointer);
  return { a, b };
}
