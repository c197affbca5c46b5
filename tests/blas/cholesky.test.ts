// The Cholesky factorisation and back substitution: exact factors, LAPACK's ratios, pivots that are not positive.

import { describe, expect, test } from "vitest";
import type { DType } from "../../bindings/tensor.js";
import { Random } from "../support/random.js";
import { DTYPES, raw, rounded, typed, ulpOf, withBlocks } from "../support/raw.js";

/** Around panels of four rows, pairs of rows and whole vectors. */
const SIZES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 16, 17, 33, 34, 64, 70];

interface Factored {
  info: number;
  /** n×n, zeros below the diagonal. */
  u: Float64Array;
  /** n×(w − n): U⁻ᵀ·B. */
  b: Float64Array;
}

/** potrf of a (n×n) beside b (n×count), rows lda apart; what lies below the diagonal is NaN on entry. */
function factor(
  dtype: DType,
  n: number,
  a: ArrayLike<number>,
  count = 0,
  b: ArrayLike<number> = [],
  gap = 0,
): Factored {
  const w = n + count;
  const lda = w + gap;
  const values = new Float64Array(n * lda).fill(Number.NaN);
  for (let i = 0; i < n; i++) {
    for (let j = i; j < n; j++) values[i * lda + j] = a[i * n + j] as number;
    for (let j = 0; j < count; j++) values[i * lda + n + j] = b[i * count + j] as number;
  }
  return withBlocks(dtype, (place) => {
    const block = place(values);
    const info = raw(dtype).potrf(n, w, block.pointer, lda);
    const at = (i: number, j: number) => block.data[i * lda + j] as number;
    for (let i = 0; i < n; i++) for (let j = w; j < lda; j++) expect(at(i, j)).toBe(Number.NaN);
    return {
      info,
      u: Float64Array.from({ length: n * n }, (_, p) => (p % n < Math.floor(p / n) ? 0 : at(Math.floor(p / n), p % n))),
      b: Float64Array.from({ length: n * count }, (_, p) => at(Math.floor(p / count), n + (p % count))),
    };
  });
}

/** ‖A − Uᵀ·U‖ / (n·‖A‖·ulp), Frobenius: LAPACK's xPOT01. */
function ratio(dtype: DType, n: number, a: ArrayLike<number>, u: Float64Array): number {
  let [error, norm] = [0, 0];
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let x = a[i * n + j] as number;
      norm += x * x;
      for (let p = 0; p <= Math.min(i, j); p++) x -= (u[p * n + i] as number) * (u[p * n + j] as number);
      error += x * x;
    }
  }
  return Math.sqrt(error) / (n * Math.sqrt(norm) * ulpOf(dtype));
}

/** X·Xᵀ + shift·I for a Gaussian X (n×n), as the dtype holds it. */
function definite(dtype: DType, n: number, random: Random, scale = 1): Float64Array {
  const x = random.array(n * n, "normal");
  const a = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let sum = i === j ? 0.1 : 0;
      for (let p = 0; p < n; p++) sum += (x[i * n + p] as number) * (x[j * n + p] as number);
      a[i * n + j] = sum * scale;
    }
  }
  return rounded(dtype, a);
}

describe.each(DTYPES)("potrf(), %s", (dtype) => {
  test("potrf() gives the textbook's factor", () => {
    const { info, u } = factor(dtype, 3, [4, 12, -16, 12, 37, -43, -16, -43, 98]);
    expect(info).toBe(0);
    expect([...u]).toEqual([2, 6, -8, 0, 1, 5, 0, 0, 3]);
  });

  test("potrf() of Pascal's matrix is Pascal's triangle, exactly", () => {
    const n = 12;
    const binomial = (m: number, k: number): number => (k === 0 ? 1 : (binomial(m, k - 1) * (m - k + 1)) / k);
    const a = Float64Array.from({ length: n * n }, (_, p) => binomial(Math.floor(p / n) + (p % n), p % n));
    const { info, u } = factor(dtype, n, a);
    expect(info).toBe(0);
    for (let i = 0; i < n; i++) {
      for (let j = i; j < n; j++) expect(u[i * n + j]).toBe(binomial(j, i));
    }
  });

  test("potrf() of random matrices: LAPACK's ratio, any leading dimension, right-hand sides", () => {
    const random = new Random(3);
    for (const n of SIZES) {
      for (const [count, gap] of [
        [0, 0],
        [1, 2],
        [3, 1],
        [8, 5],
      ] as const) {
        const a = definite(dtype, n, random);
        const b = rounded(dtype, random.array(n * count));
        const found = factor(dtype, n, a, count, b, gap);
        expect(found.info).toBe(0);
        if (n > 0) expect(ratio(dtype, n, a, found.u)).toBeLessThan(10);
        // Uᵀ·(U⁻ᵀ·B) = B
        for (let i = 0; i < n; i++) {
          for (let j = 0; j < count; j++) {
            let [sum, size] = [0, 0];
            for (let p = 0; p <= i; p++) {
              const term = (found.u[p * n + i] as number) * (found.b[p * count + j] as number);
              sum += term;
              size += Math.abs(term);
            }
            const error = Math.abs(sum - (b[i * count + j] as number));
            expect(error).toBeLessThanOrEqual(4 * (n + 2) * ulpOf(dtype) * size);
          }
        }
      }
    }
  });

  test("potrf() keeps its ratio at both ends of the range", () => {
    const random = new Random(4);
    for (const exponent of dtype === "f32" ? [-100, 110] : [-980, 1000]) {
      const a = definite(dtype, 21, random, 2 ** exponent);
      const { info, u } = factor(dtype, 21, a);
      expect(info).toBe(0);
      const [whole, half] = [2 ** -exponent, 2 ** (-exponent / 2)];
      const lifted = u.map((x) => x * half);
      expect(
        ratio(
          dtype,
          21,
          a.map((x) => x * whole),
          lifted,
        ),
      ).toBeLessThan(10);
    }
  });

  test("potrf() names the first pivot that is not positive", () => {
    const random = new Random(5);
    for (const n of [1, 4, 6, 13]) {
      for (let i = 0; i < n; i++) {
        for (const wrong of [-1e6, Number.NaN]) {
          const a = definite(dtype, n, random);
          a[i * n + i] = wrong;
          expect(factor(dtype, n, a).info).toBe(i + 1);
        }
      }
    }
    expect(factor(dtype, 2, [1, 1, 1, 1]).info).toBe(2);
    expect(factor(dtype, 1, [0]).info).toBe(1);
  });

  test("a wrong factor would be seen", () => {
    const a = definite(dtype, 9, new Random(6));
    const { u } = factor(dtype, 9, a);
    u[10] = (u[10] as number) * (1 + 2e3 * ulpOf(dtype));
    expect(ratio(dtype, 9, a, u)).toBeGreaterThan(10);
  });
});

describe.each(DTYPES)("trsv(), %s", (dtype) => {
  test("trsv() solves U·x = y and reads nothing below the diagonal", () => {
    const random = new Random(7);
    for (const n of SIZES) {
      const u = rounded(
        dtype,
        Float64Array.from({ length: n * (n + 1) }, (_, p) => {
          const [i, j] = [Math.floor(p / (n + 1)), p % (n + 1)];
          if (j < i || j === n) return Number.NaN;
          return i === j ? 1 + random.uniform() : random.symmetric() / n;
        }),
      );
      const x = typed(dtype, random.array(n));
      withBlocks(dtype, (place) => {
        const [pu, px] = [place(u), place(x)];
        raw(dtype).trsv(n, pu.pointer, n + 1, px.pointer);
        for (let i = 0; i < n; i++) {
          let sum = 0;
          for (let j = i; j < n; j++) sum += (u[i * (n + 1) + j] as number) * (px.data[j] as number);
          expect(Math.abs(sum - (x[i] as number))).toBeLessThanOrEqual(4 * (n + 2) * ulpOf(dtype));
        }
      });
    }
  });
});
