// Singular values proved without another SVD: by Sylvester's law of inertia in exact integer arithmetic. What LAPACK's
// dsvdch does for a bidiagonal by Sturm counts, for any small matrix and any range.

import type { Matrix } from "./matrices.js";

/** x = mantissa·2^exponent exactly, x finite. */
function exact(x: number): { mantissa: bigint; exponent: number } {
  if (x === 0) return { mantissa: 0n, exponent: 0 };
  let exponent = 0;
  let scaled = x;
  // numbers of 2^52 and more are integers
  for (; Math.abs(scaled) < 2 ** 52; exponent -= 52) scaled *= 2 ** 52;
  for (; Math.abs(scaled) >= 2 ** 104; exponent += 52) scaled *= 2 ** -52;
  return { mantissa: BigInt(scaled), exponent };
}

/** How many singular values of A are larger than `bound` > 0: the positive eigenvalues of AᵀA − bound²·I. */
export function countAbove({ m, n, data }: Matrix, bound: number): number {
  const [rows, p] = [Math.max(m, n), Math.min(m, n)];
  const all = [...data, bound].map(exact);
  const least = Math.min(...all.map(({ exponent }) => exponent));
  const integers = all.map(({ mantissa, exponent }) => mantissa << BigInt(exponent - least));
  const entry = (i: number, j: number) => integers[m >= n ? i * n + j : j * n + i] as bigint;
  const squared = (integers[m * n] as bigint) ** 2n;
  const g: bigint[][] = [];
  for (let i = 0; i < p; i++) {
    const row: bigint[] = [];
    for (let j = 0; j < p; j++) {
      let sum = i === j ? -squared : 0n;
      for (let r = 0; r < rows; r++) sum += entry(r, i) * entry(r, j);
      row.push(sum);
    }
    g.push(row);
  }
  // Bareiss' elimination without fractions: the pivots are the leading minors, equal signs of neighbours positive eigenvalues
  let before = 1n;
  let count = 0;
  for (let k = 0; k < p; k++) {
    const top = g[k] as bigint[];
    const pivot = top[k] as bigint;
    if (pivot === 0n) throw new Error("a leading minor is zero: take another bound");
    if (pivot > 0n === before > 0n) count++;
    for (let i = k + 1; i < p; i++) {
      const row = g[i] as bigint[];
      const factor = row[k] as bigint;
      for (let j = k + 1; j < p; j++) row[j] = ((row[j] as bigint) * pivot - factor * (top[j] as bigint)) / before;
    }
    before = pivot;
  }
  return count;
}

/** Which of s (descending, > 0) are not within a relative error `delta` of the singular values of A. */
export function wrongValues(a: Matrix, s: ArrayLike<number>, delta: number): number[] {
  return Array.from(s, (_, i) => i).filter((i) => {
    const value = s[i] as number;
    if (!(value > 0) || value === Number.POSITIVE_INFINITY) return true;
    return countAbove(a, value * (1 - delta)) <= i || countAbove(a, value * (1 + delta)) > i;
  });
}
