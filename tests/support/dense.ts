// Small dense helpers for tests: matrices in and out of tensors, products and norms in f64.

import { type DType, type Tensor, tensor } from "../../bindings/index.js";
import type { Matrix } from "./matrices.js";
import { typed } from "./raw.js";
import { multiply, norm2, transpose } from "./reference.js";

export function place(a: Matrix, dtype: DType = "f64"): Tensor {
  return tensor(typed(dtype, a.data) as Float64Array, { shape: [a.m, a.n] }) as Tensor;
}

/** Matrix i of a tensor's batch, or its only one, in f64. */
export function read(t: Tensor, i = 0): Matrix {
  const [m, n] = t.shape.slice(-2) as [number, number];
  return { m, n, data: Float64Array.from(t.toTyped().subarray(i * m * n, (i + 1) * m * n)) };
}

export function times(...factors: Matrix[]): Matrix {
  return factors.reduce((a, b) => ({ m: a.m, n: b.n, data: multiply(a.m, b.n, a.n, a.data, b.data) }));
}

export function flip({ m, n, data }: Matrix): Matrix {
  return { m: n, n: m, data: transpose(m, n, data) };
}

/** ‖A − B‖_F / ‖B‖_F; ‖A‖_F if B is zero. */
export function distance(a: { data: ArrayLike<number> }, b: { data: ArrayLike<number> }): number {
  if (a.data.length !== b.data.length) return Number.POSITIVE_INFINITY;
  const most = Math.max(...Array.from(a.data, Math.abs), ...Array.from(b.data, Math.abs), 0);
  if (most === 0) return 0;
  const size = norm2(Array.from(b.data, (x) => x / most));
  const gap = norm2(Array.from(a.data, (x, i) => x / most - (b.data[i] as number) / most));
  return size === 0 ? gap : gap / size;
}

/** ‖I − QᵀQ‖_F for the columns of Q. */
export function notOrthonormal(q: Matrix): number {
  const gram = times(flip(q), q);
  for (let i = 0; i < q.n; i++) (gram.data[i * q.n + i] as number) -= 1;
  return norm2(gram.data);
}

/** The matrix ((7i + 3j) mod 11) − 5 + ij/4: for results that NumPy and SciPy computed once. */
export function formula(m: number, n: number, from = 0): number[][] {
  return Array.from({ length: m }, (_, row) =>
    Array.from({ length: n }, (_, j) => ((7 * (row + from) + 3 * j) % 11) - 5 + ((row + from) * j) / 4),
  );
}

/** Flattens nested arrays. */
export function flat(value: unknown): number[] {
  return (value as unknown[]).flat(Infinity) as number[];
}
