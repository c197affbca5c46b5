// Test matrices, row-major in f64: LAPACK's generator xLATMS, and matrices with a name.

import type { Random } from "./random.js";
import { scaled } from "./reference.js";

export interface Matrix {
  m: number;
  n: number;
  data: Float64Array;
}

/** The matrix with entries f(i, j), counted from 0. */
export function matrix(m: number, n: number, f: (i: number, j: number) => number): Matrix {
  const data = new Float64Array(m * n);
  for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) data[i * n + j] = f(i, j);
  return { m, n, data };
}

export function fromRows(rows: readonly (readonly number[])[]): Matrix {
  return matrix(rows.length, rows[0]?.length ?? 0, (i, j) => rows[i]?.[j] as number);
}

export function transposed({ m, n, data }: Matrix): Matrix {
  return matrix(n, m, (i, j) => data[j * n + i] as number);
}

/** 2^k·A, rounded once an entry. */
export function scaledMatrix({ m, n, data }: Matrix, k: number): Matrix {
  return { m, n, data: data.map((x) => scaled(x, k)) };
}

export function randomMatrix(m: number, n: number, random: Random, kind: "symmetric" | "normal" = "symmetric"): Matrix {
  return { m, n, data: random.array(m * n, kind) };
}

/** Upper bidiagonal with diagonal d and superdiagonal e (a number: the same everywhere). */
export function bidiagonal(d: ArrayLike<number>, e: ArrayLike<number> | number): Matrix {
  const above = (i: number) => (typeof e === "number" ? e : (e[i] as number));
  return matrix(d.length, d.length, (i, j) => (i === j ? (d[i] as number) : j === i + 1 ? above(i) : 0));
}

export function diagonal(m: number, n: number, d: ArrayLike<number>): Matrix {
  return matrix(m, n, (i, j) => (i === j ? (d[i] as number) : 0));
}

/** A <- H·A or A·H for random Householder reflectors H of orders 1…order: a random orthogonal factor. xLARGE. */
function reflect({ m, n, data }: Matrix, side: "left" | "right", random: Random): void {
  const order = side === "left" ? m : n;
  const other = side === "left" ? n : m;
  const step = side === "left" ? n : 1;
  const across = side === "left" ? 1 : n;
  for (let first = order - 1; first >= 0; first--) {
    const v = random.array(order - first, "normal");
    const squared = v.reduce((sum, x) => sum + x * x, 0);
    for (let j = 0; j < other; j++) {
      let dot = 0;
      for (let i = 0; i < v.length; i++) dot += (v[i] as number) * (data[(first + i) * step + j * across] as number);
      const factor = (2 * dot) / squared;
      for (let i = 0; i < v.length; i++) (data[(first + i) * step + j * across] as number) -= factor * (v[i] as number);
    }
  }
}

/** xLATMS's spectra: 1: one value 1, the others 1/condition; 3: geometric, 4: arithmetic from 1 to 1/condition. */
export function spectrum(mode: 1 | 3 | 4, p: number, condition: number): Float64Array {
  return Float64Array.from({ length: p }, (_, i) => {
    if (i === 0) return 1;
    if (mode === 1) return 1 / condition;
    const t = i / (p - 1);
    return mode === 3 ? condition ** -t : 1 - t * (1 - 1 / condition);
  });
}

/** U·diag(d)·V, m×n, with random orthogonal U and V. */
export function withValues(m: number, n: number, d: ArrayLike<number>, random: Random): Matrix {
  const a = diagonal(m, n, d);
  reflect(a, "left", random);
  reflect(a, "right", random);
  return a;
}

/** Kahan's matrix: upper triangular, nearly singular without small diagonal entries. */
export function kahan(n: number, theta: number): Matrix {
  const s = Math.sin(theta);
  const c = Math.cos(theta);
  return matrix(n, n, (i, j) => (j < i ? 0 : j === i ? s ** i : -c * s ** i));
}

export function hilbert(m: number, n = m): Matrix {
  return matrix(m, n, (i, j) => 1 / (i + j + 1));
}

/** [1 … 1; epsilon·I], (n + 1)×n: singular values √(n + ε²), ε, …, ε. */
export function lauchli(n: number, epsilon: number): Matrix {
  return matrix(n + 1, n, (i, j) => (i === 0 ? 1 : i === j + 1 ? epsilon : 0));
}

/** Frank's matrix: upper Hessenberg, determinant 1. */
export function frank(n: number): Matrix {
  return matrix(n, n, (i, j) => (j < i - 1 ? 0 : n - Math.max(i, j)));
}

export function vandermonde(points: readonly number[], n: number): Matrix {
  return matrix(points.length, n, (i, j) => (points[i] as number) ** j);
}

/** The companion matrix of x^n + a[n−1]·x^(n−1) + … + a[0]: first row −a[n−1] … −a[0]. */
export function companion(a: readonly number[]): Matrix {
  const n = a.length;
  return matrix(n, n, (i, j) => (i === 0 ? -(a[n - 1 - j] as number) : i === j + 1 ? 1 : 0));
}

/** Coefficients a[0] … a[n−1] of (x − 1)(x − 2)…(x − n). */
export function wilkinsonPolynomial(n: number): number[] {
  let a = [1];
  for (let root = 1; root <= n; root++) {
    const next = new Array<number>(a.length + 1).fill(0);
    a.forEach((value, i) => {
      next[i] = (next[i] as number) - root * value;
      next[i + 1] = (next[i + 1] as number) + value;
    });
    a = next;
  }
  return a.slice(0, n);
}
