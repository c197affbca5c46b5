// A matrix as the randomized decomposition sees it: two products with blocks of vectors, and what is known of its size.
// Vectors are held by rows, so that each is contiguous.

import type { Runtime } from "../load.js";
import type { Multiplier } from "../operator.js";
import { bytesOf, type DType, Tensor } from "../tensor.js";

/** @internal 2^-e·A for a matrix A; pointers lead to contiguous blocks of vectors. */
export interface Operand {
  readonly rows: number;
  readonly columns: number;
  readonly dtype: DType;
  /** e: not 0 only where A's entries are so large or small that their products would leave the format. */
  readonly exponent: number;
  /** ‖2^-e·A‖_F²; undefined where the entries are not at hand. */
  readonly squares: number | undefined;
  /** y (count×rows) <- x·(2^-e·A)ᵀ, x (count×columns). */
  multiply(count: number, x: number, y: number): void;
  /** x (count×columns) <- y·(2^-e·A), y (count×rows). */
  multiplyTransposed(count: number, y: number, x: number): void;
  /** ‖2^-e·A − U·diag(s)·Vᵀ‖_F² entry by entry; undefined where that would cost more than products. */
  residualSquares(u: Tensor, s: Tensor, vt: Tensor): number | undefined;
}

/** Multiplications of one call of the kernel: some milliseconds. */
const CALL = 1e8;
/** Vectors of the result that the product works on together: cutting between them costs nothing. */
const BLOCK = 1024;
/** Rows of a residual that are computed together. */
const RESIDUAL_ROWS = 64;

/** @internal A finite matrix, for products with up to `most` vectors. */
export function makeOperand(runtime: Runtime, a: Multiplier, most: number): Operand {
  if (a.dense !== undefined) return dense(runtime, a.dense);
  if (a.sparse === undefined) return columnwise(runtime, a, most, { exponent: 0, squares: undefined });
  const { nnz } = a.sparse;
  return columnwise(runtime, a, most, measure(runtime, a.dtype, 1, nnz, a.sparse.lists.data.pointer, nnz, 1));
}

/** e and ‖2^-e·A‖_F² of A (rows×columns, strides rs, cs). */
function measure(
  runtime: Runtime,
  dtype: DType,
  rows: number,
  columns: number,
  pointer: number,
  rs: number,
  cs: number,
): Pick<Operand, "exponent" | "squares"> {
  const { squares, largestExponent } = runtime[dtype];
  const work = runtime.scratch.push(512 * bytesOf(dtype));
  const sum = squares(rows, columns, pointer, rs, cs, 0, work);
  const range = 2 ** (dtype === "f32" ? 40 : 400);
  // then the largest magnitude is as far from the ends of the format as the root of the range
  if (sum <= range && sum * range >= rows * columns) return { exponent: 0, squares: sum };
  const exponent = largestExponent(rows, columns, pointer, rs, cs);
  return { exponent, squares: squares(rows, columns, pointer, rs, cs, exponent, work) };
}

/** Half of 2^-e goes to the vectors before a product, half to the product: either alone could leave the format. */
function halves(exponent: number): [before: number, after: number] {
  const before = Math.trunc(exponent / 2);
  return [-before, before - exponent];
}

function dense(runtime: Runtime, a: Tensor): Operand {
  const { dtype, pointer } = a;
  const routines = runtime[dtype];
  const bytes = bytesOf(dtype);
  const [rows, columns] = a.shape as [number, number];
  const [rowStride, columnStride] = a.strides as [number, number];
  const size = measure(runtime, dtype, rows, columns, pointer, rowStride, columnStride);
  const { exponent } = size;
  const [before, after] = halves(exponent);
  const alpha = 2 ** after;

  /** to (count×m) <- from (count×n)·Bᵀ, B (m×n, strides rs, cs). */
  function product(count: number, m: number, n: number, rs: number, cs: number, from: number, to: number): void {
    if (before !== 0) routines.scalPower(count * n, before, from);
    const step = Math.max(1, Math.floor(CALL / (count * n + 1) / BLOCK)) * BLOCK;
    for (let j = 0; j < m; j += step) {
      const b = pointer + j * rs * bytes;
      const c = to + j * bytes;
      routines.gemmBatch(0, 1, count, Math.min(step, m - j), n, alpha, from, 0, n, 1, b, 0, cs, rs, 0, c, 0, m);
    }
    if (before !== 0) routines.scalPower(count * n, -before, from);
  }

  return {
    rows,
    columns,
    dtype,
    ...size,
    multiply: (count, x, y) => product(count, rows, columns, rowStride, columnStride, x, y),
    multiplyTransposed: (count, y, x) => product(count, columns, rows, columnStride, rowStride, y, x),
    residualSquares(u, s, vt) {
      const k = s.size;
      const work = runtime.scratch.push(routines.residualSquaresWork(RESIDUAL_ROWS, columns, k) * bytes);
      let sum = 0;
      for (let i = 0; i < rows; i += RESIDUAL_ROWS) {
        sum += routines.residualSquares(
          Math.min(RESIDUAL_ROWS, rows - i),
          columns,
          k,
          pointer + i * rowStride * bytes,
          rowStride,
          columnStride,
          exponent,
          u.pointer + i * k * bytes,
          s.pointer,
          vt.pointer,
          work,
        );
      }
      return sum;
    },
  };
}

/** What multiplies blocks of columns: vectors are turned on the way there and back. */
function columnwise(
  runtime: Runtime,
  a: Multiplier,
  most: number,
  size: Pick<Operand, "exponent" | "squares">,
): Operand {
  const { dtype } = a;
  const [rows, columns] = a.shape;
  const routines = runtime[dtype];
  const [before, after] = halves(size.exponent);
  const ofColumns = Tensor.allocate(runtime, [columns * most], dtype);
  const ofRows = Tensor.allocate(runtime, [rows * most], dtype);

  function product(count: number, from: number, source: Tensor, to: number, target: Tensor, transposed: boolean): void {
    const [n, m] = [source.size / most, target.size / most];
    const [x, y] = [block(source, n, count), block(target, m, count)];
    routines.lacpy(n, count, from, 1, n, x.pointer, count);
    if (before !== 0) routines.scalPower(n * count, before, x.pointer);
    if (transposed) a.applyTransposed(x, y);
    else a.apply(x, y);
    if (after !== 0) routines.scalPower(m * count, after, y.pointer);
    routines.lacpy(count, m, y.pointer, 1, count, to, m);
  }

  return {
    rows,
    columns,
    dtype,
    ...size,
    multiply: (count, x, y) => product(count, x, ofColumns, y, ofRows, false),
    multiplyTransposed: (count, y, x) => product(count, y, ofRows, x, ofColumns, true),
    residualSquares: () => undefined,
  };
}

/** The first n·count elements as n rows of `count`. */
function block(t: Tensor, n: number, count: number): Tensor {
  return t.subtensor(0, n * count).reshape([n, count]);
}
