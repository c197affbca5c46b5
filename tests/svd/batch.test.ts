// Batches of small matrices: LAPACK's grid in batches that mix types and scales, digits that depend on nothing but the
// matrix, strides, scaling, and what a lane must not do to its neighbours.

import { describe, expect, test } from "vitest";
import { scope, svd, svdvals, tensor } from "../../bindings/index.js";
import type { DType, Tensor } from "../../bindings/tensor.js";
import { BUILD } from "../support/build.js";
import { BIDIAGONAL_TYPES, DRIVER_TYPES, gridMatrices, SIZES } from "../support/lapack_grid.js";
import { type Matrix, scaledMatrix } from "../support/matrices.js";
import { type Factors, failures, type Jobs, ratios } from "../support/ratios.js";
import { DTYPES, rounded, typed, ulpOf } from "../support/raw.js";

const LEAST = 32;

/** Exponents of two for the format's ends: 1e±300 in f64, 1e±35 in f32. */
const EXTREME = { f32: 116, f64: 996 } as const;

function place(batch: readonly Matrix[], dtype: DType): Tensor {
  const { m, n } = batch[0] as Matrix;
  const data = typed(dtype, batch.length * m * n);
  batch.forEach((a, i) => {
    data.set(a.data, i * m * n);
  });
  return tensor(data as Float64Array, { shape: [batch.length, m, n] }) as Tensor;
}

/** The three jobs of every matrix of a batch, each from one call. */
function decomposeBatch(batch: readonly Matrix[], dtype: DType): Jobs[] {
  const { m, n } = batch[0] as Matrix;
  const p = Math.min(m, n);
  return scope(() => {
    const a = place(batch, dtype);
    const full = svd(a, { vectors: "full" });
    const thin = svd(a);
    const none = svdvals(a);
    const part = (t: Tensor, size: number, i: number) => Float64Array.from(t.data.subarray(i * size, (i + 1) * size));
    const factors = ({ u, s, vt }: typeof thin, ku: number, kv: number, i: number): Factors => ({
      u: part(u, m * ku, i),
      s: part(s, p, i),
      vt: part(vt, kv * n, i),
    });
    return batch.map((_, i) => ({
      full: factors(full, m, n, i),
      thin: factors(thin, p, p, i),
      none: part(none, p, i),
    }));
  });
}

function failuresIn(batch: readonly Matrix[], dtype: DType): string[] {
  const held = batch.map((a) => ({ ...a, data: rounded(dtype, a.data) }));
  return decomposeBatch(held, dtype).flatMap((jobs, i) => {
    const a = held[i] as Matrix;
    return failures(ratios(a, jobs, ulpOf(dtype))).map((text) => `${i}, ${a.m}×${a.n}: ${text}`);
  });
}

/** Scaled by a power of two to max |a| near 2^k; a zero matrix stays. */
function scaledTo(a: Matrix, k: number): Matrix {
  const largest = a.data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return largest === 0 ? a : scaledMatrix(a, k - Math.floor(Math.log2(largest)));
}

/** Every type of the grid at one size, in turn as it is and at both ends of the format. */
function mixed(index: number, dtype: DType): Matrix[] {
  return [...DRIVER_TYPES, ...BIDIAGONAL_TYPES].map((type, i) => {
    const a = gridMatrix(type, dtype, index);
    return i % 3 === 0 ? a : scaledTo(a, i % 3 === 1 ? EXTREME[dtype] : -EXTREME[dtype]);
  });
}

const cache = new Map<string, Matrix[]>();

function gridMatrix(type: (typeof DRIVER_TYPES)[number], dtype: DType, index: number): Matrix {
  const list = BIDIAGONAL_TYPES.includes(type) ? "bidiagonal" : "driver";
  const key = `${list} ${type.name} ${dtype}`;
  const made = cache.get(key) ?? gridMatrices(type, dtype);
  cache.set(key, made);
  return made[index] as Matrix;
}

/** Thin factors of every matrix of a batch as one row of bytes each. */
function bits(batch: readonly Matrix[], dtype: DType, vectors: "thin" | "full" | "none" = "thin"): string[] {
  return scope(() => {
    const a = place(batch, dtype);
    const results = vectors === "none" ? [svdvals(a)] : Object.values(svd(a, { vectors }) as object as Tensor[]);
    return batch.map((_, i) =>
      results
        .map(({ data, shape }) => {
          const size = shape.slice(1).reduce((product, length) => product * length, 1);
          const part = data.slice(i * size, (i + 1) * size);
          return Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString("base64");
        })
        .join(),
    );
  });
}

const small = SIZES.map(([m, n], index) => ({ m, n, index })).filter(({ m, n }) => Math.min(m, n) <= LEAST);

describe.each(DTYPES)("LAPACK's grid in batches, %s", (dtype) => {
  test.each(small)("svd() keeps every ratio below 50 in batches of mixed types and scales, $m×$n", ({ index }) => {
    const all = mixed(index, dtype);
    expect(failuresIn(all, dtype)).toEqual([]);
  });

  test.each(small)(
    "svd() gives a matrix the same bits in batches of 1, 2, 3, 5 and 1,000, $m×$n",
    ({ m, n, index }) => {
      const all = mixed(index, dtype);
      for (const vectors of ["thin", "full", "none"] as const) {
        const alone = all.map((a) => bits([a], dtype, vectors)[0]);
        for (const length of [2, 3, 5]) {
          for (let first = 0; first < all.length; first += length) {
            const batch = all.slice(first, first + length).reverse();
            expect(bits(batch, dtype, vectors).reverse()).toEqual(alone.slice(first, first + length));
          }
        }
        // the debug build takes its time for 1,000 large ones
        const count = BUILD === "debug" && m * n > 300 ? 100 : 1000;
        const order = Array.from({ length: count }, (_, i) => (i * 7 + Math.floor(i / 22)) % all.length);
        const many = bits(
          order.map((i) => all[i] as Matrix),
          dtype,
          vectors,
        );
        expect(many).toEqual(order.map((i) => alone[i]));
      }
    },
  );
});
