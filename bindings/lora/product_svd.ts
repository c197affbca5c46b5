// The SVD of a product C·D of two factors, and factors of LoRA's from singular vectors.

import { ConvergenceError } from "../errors.js";
import { MORE } from "../exports.js";
import type { Runtime } from "../load.js";
import { type DType, Tensor } from "../tensor.js";

/** @internal Left vectors by rows (k, m), values (k), right vectors by rows (k, n). */
export interface ProductSvd<D extends DType> {
  ut: Tensor<D>;
  s: Tensor<D>;
  vt: Tensor<D>;
}

/** @internal The SVD of Cᵀ·D for c (r, m) and d (r, n), both contiguous and finite; k = min(m, n, r). */
export function svdOfProduct<D extends DType>(
  runtime: Runtime,
  caller: string,
  c: Tensor<D>,
  d: Tensor<D>,
): ProductSvd<D> {
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
  let failed: number;
  do {
    failed = routines.productSvd(m, n, r, c.pointer, d.pointer, ut.pointer, s.pointer, vt.pointer, work);
  } while (failed === MORE);
  if (failed > 0) throw new ConvergenceError(caller, failed);
  return { ut, s, vt };
}

/**
 * @internal PEFT's split of the first k triplets: B = U_k·diag(S_k) (out, k), A = V_kᵀ (k, in). Elements of U are `row` and
 * `column` apart. k = 0 gives factors of rank 1 that are zero.
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
  const m = s.size === 0 ? Math.max(...u.shape) : u.size / s.size;
  const routines = runtime[u.dtype];
  const a = Tensor.allocate(runtime, [Math.max(k, 1), n], u.dtype);
  const b = Tensor.allocate(runtime, [m, Math.max(k, 1)], u.dtype);
  if (k === 0) {
    for (const factor of [a, b]) routines.fill(factor.size, 0, factor.pointer);
    return { a, b };
  }
  routines.lacpy(k, n, vt.pointer, n, 1, a.pointer, n);
  routines.lacpy(m, k, u.pointer, row, column, b.pointer, k);
  routines.scaleColumns(m, k, s.pointer, b.pointer);
  return { a, b };
}
