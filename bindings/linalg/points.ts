// Two point sets beside each other in kernel memory, for what aligns them.

import { expected, shapeText, sizeOf } from "../check.js";
import { commonDtype, decode, place, type TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import type { Steps } from "../slices.js";
import { checkAllFinite, decompose } from "../svd/decompose.js";
import type { Svd } from "../svd/svd.js";
import { type DType, type Matrix, matrices, Tensor } from "../tensor.js";
import { matrixBytes } from "./values.js";

/** @internal Two (…, m, n) arguments of one shape, checked. */
export interface Pair {
  dtype: DType;
  batch: readonly number[];
  m: number;
  n: number;
  /** Any of the two: for scalars(). */
  a: Tensor;
  b: Tensor;
}

/** @internal Places both; they must have the same shape and dtype. */
export function placePair(runtime: Runtime, a: TensorLike, b: TensorLike, names: readonly [string, string]): Pair {
  const [left, right] = [decode(a, names[0]), decode(b, names[1])];
  const { shape } = left;
  if (shape.length < 2) throw new RangeError(expected(names[0], "shape (…, m, n)", shapeText(shape)));
  if (right.shape.length !== shape.length || right.shape.some((length, axis) => length !== shape[axis])) {
    throw new RangeError(expected(names[1], `shape ${shapeText(shape)}`, shapeText(right.shape)));
  }
  const dtype = commonDtype([
    [names[0], left],
    [names[1], right],
  ]);
  const [x, y] = [place(runtime, left, dtype), place(runtime, right, dtype)];
  checkAllFinite(runtime, x, names[0]);
  checkAllFinite(runtime, y, names[1]);
  const [m, n] = shape.slice(-2) as [number, number];
  return { dtype, batch: shape.slice(0, -2), m, n, a: x, b: y };
}

/** @internal The matrices of a batch divided by powers of two, row-major, and their rows' means taken out. */
export interface Points {
  /** (count, m, n) */
  pointer: number;
  /** (count, n), divided likewise; 0 without means */
  means: number;
  /** Matrix i was divided by 2^exponents[i]. */
  exponents: Int32Array;
}

/** @internal A copy of every matrix, brought to max |x| in [1, 2) and, if asked for, centred. */
export function centrePoints(runtime: Runtime, x: Tensor, centred: boolean): Points {
  const { normalizePoints } = runtime[x.dtype];
  const [m, n] = x.shape.slice(-2) as [number, number];
  const count = sizeOf(x.shape.slice(0, -2));
  const pointer = runtime.scratch.push(count * matrixBytes(x, m, n));
  const means = centred ? runtime.scratch.push(count * matrixBytes(x, 1, n)) : 0;
  const exponents = Int32Array.from(matrices(x), (matrix: Matrix, i) => {
    const { rowStride, columnStride } = matrix;
    const to = pointer + i * matrixBytes(x, m, n);
    return normalizePoints(
      m,
      n,
      matrix.pointer,
      rowStride,
      columnStride,
      to,
      centred ? means + i * matrixBytes(x, 1, n) : 0,
    );
  });
  return { pointer, means, exponents };
}

/** @internal The SVD of each Aᵀ·B, n×n, of a pair's scaled points. */
export function* decomposeCross(runtime: Runtime, { dtype, batch, m, n }: Pair, a: Points, b: Points): Steps<Svd> {
  const cross = Tensor.allocate(runtime, [...batch, n, n], dtype);
  const count = sizeOf(batch);
  runtime[dtype].gemmBatch(
    0,
    count,
    n,
    n,
    m,
    1,
    a.pointer,
    m * n,
    1,
    n,
    b.pointer,
    m * n,
    n,
    1,
    0,
    cross.pointer,
    n * n,
    n,
  );
  return yield* decompose(runtime, cross, "thin");
}
