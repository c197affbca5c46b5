// Singular values to decide by: where a format ends, they are brought to its middle, so that neither a quotient nor a
// tolerance over- or underflows.

import { checkFinite, expected, sizeOf } from "../check.js";
import type { Runtime } from "../load.js";
import { type Steps, silently } from "../slices.js";
import { decompose } from "../svd/decompose.js";
import type { Svd } from "../svd/svd.js";
import { bytesOf, type DType, type Matrix, matrices, Tensor } from "../tensor.js";

/** @internal The values of matrix i are s_i·2^exponents[i]. */
export interface ScaledValues {
  s: Tensor;
  exponents: Int32Array;
}

/** Values of a matrix are scaled if the largest lies below; above, only where it is Infinity. */
const SMALL = { f32: 2 ** -60, f64: 2 ** -900 };
const LARGEST_EXPONENT = { f32: 127, f64: 1023 };

/** @internal decompose() for what divides by the values, sums their squares or compares them. */
export function decomposeScaled(runtime: Runtime, a: Tensor, vectors: "none"): Steps<ScaledValues>;
/** @internal */
export function decomposeScaled(runtime: Runtime, a: Tensor, vectors: "thin"): Steps<Svd & ScaledValues>;
/** @internal */
export function* decomposeScaled(runtime: Runtime, a: Tensor, vectors: "none" | "thin"): Steps<ScaledValues> {
  const found = yield* decompose(runtime, a, vectors);
  const exponents = new Int32Array(sizeOf(a.shape.slice(0, -2)));
  const p = found.s.shape[found.s.ndim - 1] as number;
  if (p > 0) {
    let i = 0;
    for (const matrix of matrices(a)) {
      const largest = found.s.data[i * p] as number;
      if (largest === Infinity || (largest > 0 && largest < SMALL[a.dtype])) {
        const k = largest === Infinity ? LARGEST_EXPONENT[a.dtype] : Math.floor(Math.log2(largest));
        const copy = scaledCopy(runtime, matrix, a.dtype, -k);
        // by the same driver, so that the digits are the same
        const again = yield* silently(
          decompose(runtime, a.ndim > 2 ? copy.reshape([1, ...copy.shape]) : copy, vectors),
        );
        found.s.data.set(again.s.data, i * p);
        for (const one of [copy, ...Object.values(again)]) one.dispose();
        exponents[i] = k;
      }
      i++;
    }
  }
  return { ...found, exponents };
}

/** @internal A·2^k, contiguous. */
export function scaledCopy(
  runtime: Runtime,
  { pointer, rows, columns, rowStride, columnStride }: Matrix,
  dtype: DType,
  k: number,
): Tensor {
  const out = Tensor.allocate(runtime, [rows, columns], dtype);
  runtime[dtype].lacpy(rows, columns, pointer, rowStride, columnStride, out.pointer, columns);
  runtime[dtype].scalPower(out.size, k, out.pointer);
  return out;
}

/** @internal x·2^k; the factor itself may be out of range. */
export function timesPowerOfTwo(x: number, k: number): number {
  const half = Math.trunc(k / 2);
  return x * 2 ** half * 2 ** (k - half);
}

/** @internal The values of matrix i of a batch: a copy. */
export function valuesOf(s: Tensor, i: number): Float64Array {
  const p = s.shape[s.ndim - 1] as number;
  return Float64Array.from(s.data.subarray(i * p, (i + 1) * p));
}

/** @internal Machine epsilon as NumPy has it. */
export const EPSILON = { f32: 2 ** -23, f64: 2 ** -52 };

/** @internal A finite number >= 0. */
export function checkTolerance(value: unknown, argument: string): number {
  const tolerance = checkFinite(value, argument);
  if (tolerance < 0) throw new RangeError(expected(argument, "a number >= 0", String(tolerance)));
  return tolerance;
}

export interface Tolerances {
  /** Absolute. Default 0. */
  atol?: number;
  /** Relative to the largest value. Default max(m, n)·eps of the dtype; 0 if `atol` is given. */
  rtol?: number;
}

/** @internal Checked tolerances for a (…, m, n): values above max(atol, rtol·σ₁) count. */
export function checkTolerances(given: Tolerances, a: Tensor): { atol: number; rtol: number } {
  const [m, n] = a.shape.slice(-2) as [number, number];
  const usual = given.atol === undefined ? Math.max(m, n) * EPSILON[a.dtype] : 0;
  return {
    atol: given.atol === undefined ? 0 : checkTolerance(given.atol, "atol"),
    rtol: given.rtol === undefined ? usual : checkTolerance(given.rtol, "rtol"),
  };
}

/** @internal How many of the descending values s·2^exponent count. */
export function rankOf(s: Float64Array, exponent: number, { atol, rtol }: { atol: number; rtol: number }): number {
  const least = Math.max(timesPowerOfTwo(atol, -exponent), rtol * (s[0] ?? 0));
  let rank = 0;
  while (rank < s.length && (s[rank] as number) > least) rank++;
  return rank;
}

/** @internal One number for one matrix, a tensor of the batch's shape for a batch. */
export function scalars(runtime: Runtime, a: Tensor, values: ArrayLike<number>): number | Tensor {
  const batch = a.shape.slice(0, -2);
  if (batch.length === 0) return a.dtype === "f32" ? Math.fround(values[0] as number) : (values[0] as number);
  const out = Tensor.allocate(runtime, batch, a.dtype);
  out.data.set(values);
  return out;
}

/** @internal Bytes from a contiguous matrix of m×n elements to the next. */
export function matrixBytes(a: Tensor, m: number, n: number): number {
  return m * n * bytesOf(a.dtype);
}
