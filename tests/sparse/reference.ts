// Sparse matrices for tests, and what dense arithmetic makes of them.

import type { DType } from "../../bindings/index.js";
import { Random } from "../support/random.js";
import { typed } from "../support/raw.js";

export interface Coordinates {
  m: number;
  n: number;
  rows: number[];
  cols: number[];
  values: number[];
}

/** `count` elements at random places, some of them at the same one. */
export function randomCoordinates(m: number, n: number, count: number, seed: number): Coordinates {
  const random = new Random(seed);
  const rows: number[] = [];
  const cols: number[] = [];
  const values: number[] = [];
  for (let e = 0; e < count && m * n > 0; e++) {
    rows.push(random.below(m));
    cols.push(random.below(n));
    // eighths: sums are exact in any order
    values.push((random.below(33) - 16) / 8);
  }
  return { m, n, rows, cols, values };
}

/** The matrix as an array, m×n, row-major. */
export function toDense({ m, n, rows, cols, values }: Coordinates): Float64Array {
  const dense = new Float64Array(m * n);
  rows.forEach((row, e) => {
    const at = row * n + (cols[e] as number);
    dense[at] = (dense[at] as number) + (values[e] as number);
  });
  return dense;
}

/** Compressed rows in the order of the coordinates: unsorted, with elements of one place apart. */
export function toParts(dtype: DType, { m, n, rows, cols, values }: Coordinates) {
  const indptr = [0];
  const order: number[] = [];
  for (let i = 0; i < m; i++) {
    rows.forEach((row, e) => {
      if (row === i) order.push(e);
    });
    indptr.push(order.length);
  }
  return {
    data: typed(
      dtype,
      order.map((e) => values[e] as number),
    ),
    indices: order.map((e) => cols[e] as number),
    indptr,
    shape: [m, n],
  };
}

/** A·X or Aᵀ·X for A (m×n) and X of b columns, every product taken. */
export function product(
  a: ArrayLike<number>,
  m: number,
  n: number,
  x: ArrayLike<number>,
  b: number,
  transposed: boolean,
): Float64Array {
  const [rows, inner] = transposed ? [n, m] : [m, n];
  const y = new Float64Array(rows * b);
  for (let i = 0; i < rows; i++) {
    for (let p = 0; p < inner; p++) {
      const f = a[transposed ? p * n + i : i * n + p] as number;
      for (let j = 0; j < b; j++) y[i * b + j] = (y[i * b + j] as number) + f * (x[p * b + j] as number);
    }
  }
  return y;
}
