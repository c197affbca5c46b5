// Ratings and the slow way to a factor model of them: dense normal equations, row by row, solved with pivoting in f64.

import type { Random } from "../support/random.js";

/** Ratings in compressed rows. */
export interface Ratings {
  rows: number;
  columns: number;
  indptr: Int32Array;
  indices: Int32Array;
  data: Float64Array;
}

/** Factors and biases of one side: factors (count×k). */
export interface Side {
  factors: Float64Array;
  bias: Float64Array;
}

export interface Penalty {
  /** Times the number of ratings. */
  lambda: number;
  damping: number;
  biased: boolean;
}

/** Compressed rows of triples (row, column, value), in any order. */
export function compress(
  rows: number,
  columns: number,
  triples: readonly (readonly [number, number, number])[],
): Ratings {
  const indptr = new Int32Array(rows + 1);
  const sorted = [...triples].sort((x, y) => x[0] - y[0] || x[1] - y[1]);
  for (const [row] of sorted) indptr[row + 1] = (indptr[row + 1] as number) + 1;
  for (let i = 0; i < rows; i++) indptr[i + 1] = (indptr[i + 1] as number) + (indptr[i] as number);
  return {
    ...{ rows, columns, indptr },
    indices: Int32Array.from(sorted, ([, column]) => column),
    data: Float64Array.from(sorted, ([, , value]) => value),
  };
}

/** All ratings as [row, column, value]. */
export function triplesOf({ rows, indptr, indices, data }: Ratings): [number, number, number][] {
  const found: [number, number, number][] = [];
  for (let row = 0; row < rows; row++) {
    for (let p = indptr[row] as number; p < (indptr[row + 1] as number); p++) {
      found.push([row, indices[p] as number, data[p] as number]);
    }
  }
  return found;
}

export function transposed(ratings: Ratings): Ratings {
  return compress(
    ratings.columns,
    ratings.rows,
    triplesOf(ratings).map(([row, column, value]) => [column, row, value]),
  );
}

/** Ratings at a share of the places, of any function of row and column. */
export function someRatings(
  rows: number,
  columns: number,
  share: number,
  random: Random,
  value: (row: number, column: number) => number = () => random.normal(),
): Ratings {
  const triples: [number, number, number][] = [];
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) if (random.uniform() < share) triples.push([i, j, value(i, j)]);
  }
  return compress(rows, columns, triples);
}

/** x with M·x = y, by elimination with row pivoting; m (n×n) and y are overwritten. */
export function solveDense(n: number, m: Float64Array, y: Float64Array): Float64Array {
  const get = (i: number, j: number) => m[i * n + j] as number;
  for (let c = 0; c < n; c++) {
    let pivot = c;
    for (let i = c + 1; i < n; i++) if (Math.abs(get(i, c)) > Math.abs(get(pivot, c))) pivot = i;
    for (let j = 0; j < n; j++) [m[c * n + j], m[pivot * n + j]] = [get(pivot, j), get(c, j)];
    [y[c], y[pivot]] = [y[pivot] as number, y[c] as number];
    for (let i = c + 1; i < n; i++) {
      const factor = get(i, c) / get(c, c);
      for (let j = c; j < n; j++) m[i * n + j] = get(i, j) - factor * get(c, j);
      y[i] = (y[i] as number) - factor * (y[c] as number);
    }
  }
  for (let i = n - 1; i >= 0; i--) {
    let sum = y[i] as number;
    for (let j = i + 1; j < n; j++) sum -= get(i, j) * (y[j] as number);
    y[i] = sum / get(i, i);
  }
  return y;
}

/** Half a step: the rows' factors and biases for fixed columns, and the condition of no system left out. */
export function solveRows(ratings: Ratings, k: number, other: Side, { lambda, damping, biased }: Penalty): Side {
  const { rows, indptr, indices, data } = ratings;
  const own = { factors: new Float64Array(rows * k), bias: new Float64Array(rows) };
  const n = biased ? k + 1 : k;
  for (let row = 0; row < rows; row++) {
    const [start, end] = [indptr[row] as number, indptr[row + 1] as number];
    if (start === end) continue;
    const m = new Float64Array(n * n);
    const y = new Float64Array(n);
    for (let p = start; p < end; p++) {
      const item = indices[p] as number;
      const z = Float64Array.from({ length: n }, (_, i) => (i < k ? (other.factors[item * k + i] as number) : 1));
      const residual = (data[p] as number) - (other.bias[item] as number);
      for (let i = 0; i < n; i++) {
        y[i] = (y[i] as number) + residual * (z[i] as number);
        for (let j = 0; j < n; j++) m[i * n + j] = (m[i * n + j] as number) + (z[i] as number) * (z[j] as number);
      }
    }
    for (let i = 0; i < n; i++)
      m[i * (n + 1)] = (m[i * (n + 1)] as number) + (i < k ? lambda * (end - start) : damping);
    const x = solveDense(n, m, y);
    own.factors.set(x.subarray(0, k), row * k);
    if (biased) own.bias[row] = x[k] as number;
  }
  return own;
}

/** What alternating least squares make smaller with every half step; ratings without their mean. */
export function objective(ratings: Ratings, k: number, users: Side, items: Side, { lambda, damping }: Penalty): number {
  let sum = 0;
  const squares = (side: Side, i: number) => {
    let norm = 0;
    for (let j = 0; j < k; j++) norm += (side.factors[i * k + j] as number) ** 2;
    return norm;
  };
  for (const [u, i, value] of triplesOf(ratings)) {
    let error = value - (users.bias[u] as number) - (items.bias[i] as number);
    for (let j = 0; j < k; j++) error -= (users.factors[u * k + j] as number) * (items.factors[i * k + j] as number);
    sum += error * error + lambda * (squares(users, u) + squares(items, i));
  }
  for (const { bias } of [users, items]) for (const b of bias) sum += damping * b * b;
  return sum;
}
