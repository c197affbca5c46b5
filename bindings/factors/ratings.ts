// Ratings in working memory: without their mean, scaled by a power of four, by users and by items.

import { describe, expected } from "../check.js";
import type { Runtime } from "../load.js";
import { Csr } from "../sparse/csr.js";
import { bytesOf, type DType } from "../tensor.js";

/** @internal Compressed rows in kernel memory: addresses of indptr (rows + 1) and indices (nnz), i32, and values (nnz). */
export interface Rows {
  readonly rows: number;
  readonly columns: number;
  readonly count: number;
  readonly indptr: number;
  readonly indices: number;
  readonly values: number;
}

/** @internal The lists of a Csr; TypeError for anything else. */
export function rowsOf(value: unknown, argument: string): Rows {
  if (!(value instanceof Csr)) throw new TypeError(expected(argument, "a Csr", describe(value)));
  const [rows, columns] = value.shape;
  const { data, indices, indptr } = value.lists;
  return {
    ...{ rows, columns, count: value.nnz },
    ...{ indptr: indptr.pointer, indices: indices.pointer, values: data.pointer },
  };
}

/** @internal The same by columns: rows of the transpose, in working memory. */
export function transposed(runtime: Runtime, dtype: DType, ratings: Rows): Rows {
  const { rows, columns, count, indptr, indices, values } = ratings;
  const [starts, places] = [runtime.scratch.push(4 * (columns + 1)), runtime.scratch.push(4 * count)];
  const moved = runtime.scratch.push(bytesOf(dtype) * count);
  runtime[dtype].csrTranspose(rows, columns, values, indices, indptr, moved, places, starts);
  return { rows: columns, columns: rows, count, indptr: starts, indices: places, values: moved };
}

/** Values of one call: the engine compiles functions between their calls. */
const CHUNK = 2 ** 13;

/** floor(log2 x), or one beside it; 0 for 0. */
function exponentOf(x: number): number {
  return x === 0 ? 0 : Math.floor(Math.log2(x));
}

/** y <- x·2^-e − mean; returns max |y|. */
function center(runtime: Runtime, dtype: DType, count: number, x: number, e: number, mean: number, y: number): number {
  let largest = 0;
  for (let i = 0; i < count; i += CHUNK) {
    const at = i * bytesOf(dtype);
    const found = runtime[dtype].ratingsCenter(Math.min(CHUNK, count - i), x + at, e, mean, y + at);
    largest = Math.max(largest, found);
  }
  return largest;
}

/** @internal x <- x·2^e, rounded once. */
export function scaleBy(runtime: Runtime, dtype: DType, count: number, x: number, e: number): void {
  center(runtime, dtype, count, x, -e, 0, x);
}

/**
 * @internal Ratings without their mean (or 0) and scaled by 2^-exponent to a largest magnitude near 1, as the squares of
 * numbers of any size do not overflow there. The exponent is even: factors are scaled by its half.
 */
export function normalize(
  runtime: Runtime,
  dtype: DType,
  ratings: Rows,
  biased: boolean,
): { rows: Rows; mean: number; exponent: number } {
  const { count, values: source } = ratings;
  const values = runtime.scratch.push(count * bytesOf(dtype));
  const first = exponentOf(center(runtime, dtype, count, source, 0, 0, values));
  let sum = 0;
  for (let i = 0; biased && i < count; i += CHUNK) {
    sum += runtime[dtype].ratingsSum(Math.min(CHUNK, count - i), source + i * bytesOf(dtype), first);
  }
  const mean = count === 0 ? 0 : sum / count;
  const second = exponentOf(center(runtime, dtype, count, source, first, mean, values));
  const exponent = 2 * Math.ceil((first + second) / 2);
  scaleBy(runtime, dtype, count, values, first - exponent);
  return { rows: { ...ratings, values }, mean: mean * 2 ** first, exponent };
}
