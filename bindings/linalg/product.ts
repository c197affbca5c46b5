// C = X·diag(d)·Y for factors in kernel memory.

import type { Runtime } from "../load.js";
import { inSlices, type Steps } from "../slices.js";
import { bytesOf, type DType, numbersAt } from "../tensor.js";

/** @internal A factor: address and strides in elements. */
export interface Factor {
  pointer: number;
  rowStride: number;
  columnStride: number;
}

/** @internal C (m×n, at `out`) <- X (m×k)·diag(d)·Y (k×n), k = d.length. */
export function* scaledProduct(
  runtime: Runtime,
  dtype: DType,
  [m, n]: readonly [m: number, n: number],
  x: Factor,
  d: ArrayLike<number>,
  y: Factor,
  out: number,
): Steps<void> {
  const routines = runtime[dtype];
  const mark = runtime.scratch.mark();
  const factors = runtime.scratch.push(d.length * bytesOf(dtype));
  const work = runtime.scratch.push(routines.scaledProductScratch(n, d.length));
  numbersAt(runtime.memory, dtype, factors, d.length).set(d);
  routines.scaledProductBegin(work);
  yield* inSlices(() =>
    routines.scaledProduct(
      m,
      n,
      d.length,
      x.pointer,
      x.rowStride,
      x.columnStride,
      factors,
      y.pointer,
      y.rowStride,
      y.columnStride,
      out,
      work,
    ),
  );
  runtime.scratch.rewind(mark);
}

/** @internal A factor of contiguous rows of `length`, and the same transposed. */
export function rowsAt(pointer: number, length: number): Factor {
  return { pointer, rowStride: length, columnStride: 1 };
}

/** @internal */
export function columnsAt(pointer: number, length: number): Factor {
  return { pointer, rowStride: 1, columnStride: length };
}
