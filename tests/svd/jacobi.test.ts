// svd() with driver "jacobi": LAPACK's ratios as for every driver, and what no other driver has: every singular value to
// full relative accuracy, however small, where a well-conditioned matrix was scaled. The accuracy is proved by counting
// singular values above exact bounds.

import { describe, expect, test } from "vitest";
import { MORE } from "../../bindings/exports.js";
import { svd, svdvals } from "../../bindings/index.js";
import { scope } from "../../bindings/scope.js";
import { type DType, tensor } from "../../bindings/tensor.js";
import { countAbove, wrongValues } from "../support/inertia.js";
import { BIDIAGONAL_TYPES, DRIVER_TYPES, gridMatrices, type MatrixType } from "../support/lapack_grid.js";
import {
  bidiagonal,
  diagonal,
  fromRows,
  hilbert,
  kahan,
  lauchli,
  type Matrix,
  matrix,
  randomMatrix,
  scaledMatrix,
  transposed,
  withValues,
} from "../support/matrices.js";
import { Random } from "../support/random.js";
import { type Driver, decompose, failures, failuresOf, ratios } from "../support/ratios.js";
import { DTYPES, rounded, SmallKernel, ulpOf } from "../support/raw.js";
import { scaled } from "../support/reference.js";

const range = (n: number) => Array.from({ length: n }, (_, i) => i);

/** Exponents of two: `spread` of them, evenly over n places, in a random order. */
function grades(n: number, spread: number, random: Random): number[] {
  const exponents = range(n).map((i) => -Math.round((spread * i) / Math.max(1, n - 1)));
  for (let i = n - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [exponents[i], exponents[j]] = [exponents[j] as number, exponents[i] as number];
  }
  return exponents;
}

/** 2^rows_i·B·2^columns_j: scaled without a rounding, as long as no entry is subnormal. */
function graded({ m, n, data }: Matrix, rows: number[] | undefined, columns: number[] | undefined): Matrix {
  return matrix(m, n, (i, j) => scaled(data[i * n + j] as number, (rows?.[i] ?? 0) + (columns?.[j] ?? 0)));
}

/** The condition of the matrices that are scaled below. */
const CONDITION = 10;

/** A random matrix with singular values from 1 to 1/CONDITION, in the dtype. */
function wellConditioned(m: number, n: number, dtype: DType, random: Random): Matrix {
  const p = Math.min(m, n);
  const b = withValues(
    m,
    n,
    range(p).map((i) => 1 - (1 - 1 / CONDITION) * (i / Math.max(1, p - 1))),
    random,
  );
  return { ...b, data: rounded(dtype, b.data) };
}

describe.each(DTYPES)("svd() with driver 'jacobi', %s", (dtype) => {
  const ulp = ulpOf(dtype);
  const random = new Random(dtype === "f32" ? 5 : 6);
  const wrong = (a: Matrix) => failuresOf(a, dtype, "jacobi").map((text) => `${a.m}×${a.n}: ${text}`);
  const values = (a: Matrix, driver: Driver, vectors: "thin" | "none" = "thin") =>
    scope(() => {
      const { s } = svd(tensor(a.data, { shape: [a.m, a.n], dtype }), { driver, vectors: vectors as "thin" });
      return Float64Array.from(s.data);
    });

  describe("LAPACK's grid", () => {
    const run = (type: MatrixType) => gridMatrices(type, dtype).flatMap(wrong);
    test.each(DRIVER_TYPES)("svd() keeps every ratio below 50 on driver type $name", (type) => {
      expect(run(type)).toEqual([]);
    });
    test.each(BIDIAGONAL_TYPES)("svd() keeps every ratio below 50 on bidiagonal type $name", (type) => {
      expect(run(type)).toEqual([]);
    });
  });

  test("svd() keeps every ratio below 50 on random matrices of every shape, and gives the values of driver 'qr'", () => {
    const shapes = [
      ...range(18).map((i) => [i + 1, i + 1] as const),
      ...[1, 2, 7, 8, 9, 33].flatMap((m) => [1, 2, 3, 16, 31].map((n) => [m, n] as const)),
      // around the tiles of 8 columns, the blocks of 32 reflectors and rows
      [63, 65],
      [64, 64],
      [97, 33],
      [120, 40],
      [40, 120],
      [300, 2],
      [2, 300],
    ] as const;
    for (const [m, n] of shapes) {
      const a = randomMatrix(m, n, random, "normal");
      const held = { ...a, data: rounded(dtype, a.data) };
      const found = decompose(held, dtype, "jacobi");
      const other = decompose(held, dtype, "qr");
      expect([m, n, failures(ratios(held, found, ulp))]).toEqual([m, n, []]);
      expect([m, n, failures(ratios(held, { ...found, none: other.none }, ulp))]).toEqual([m, n, []]);
    }
  });

  // exponents of two; of f64 1e-15, 1e-100 and nearly the whole range below 1
  const spreads = dtype === "f32" ? [24, 60, 110] : [50, 332, 990];
  const shapes = [
    [6, 6],
    [9, 5],
    [5, 9],
  ] as const;

  test.each(spreads)("svd() of B·D, D spread over 2^%i, has every value relative to the condition of B", (spread) => {
    for (const [m, n] of shapes) {
      const b = wellConditioned(m, n, dtype, random);
      const a = graded(b, undefined, grades(n, spread, random));
      const delta = Math.max(m, n) * CONDITION * ulp;
      for (const given of [a, transposed(a)]) {
        for (const vectors of ["thin", "none"] as const) {
          expect([m, n, vectors, wrongValues(given, values(given, "jacobi", vectors), delta)]).toEqual([
            m,
            n,
            vectors,
            [],
          ]);
        }
        expect(wrong(given)).toEqual([]);
      }
      // which is more than the other drivers can do: they lose what is small beside the largest
      if (m >= n) {
        const lost = wrongValues(a, values(a, "dc"), delta);
        expect(lost).toContain(n - 1);
        if (spread > 100) expect(wrongValues(a, values(a, "dc"), 0.5)).toContain(n - 1);
      }
    }
  });

  test.each(spreads)("svd() of D·B·E, D and E spread over 2^%i together, has every value", (spread) => {
    for (const [m, n] of shapes) {
      const b = wellConditioned(m, n, dtype, random);
      const a = graded(b, grades(m, Math.floor(spread / 2), random), grades(n, Math.floor(spread / 2), random));
      // no theorem here: the growth of the entries in the factorisation counts, too
      const delta = 100 * Math.max(m, n) * CONDITION * ulp;
      expect([m, n, wrongValues(a, values(a, "jacobi"), delta)]).toEqual([m, n, []]);
      expect(wrong(a)).toEqual([]);
    }
  });

  test("svd() of columns over more than the range of the format: no column is lost by scaling", () => {
    const [high, low] = dtype === "f32" ? [120, -120] : [1015, -1010];
    for (const [m, n] of [
      [5, 5],
      [8, 5],
    ] as const) {
      const b = wellConditioned(m, n, dtype, random);
      const columns = grades(n, high - low, random).map((k) => k + high);
      for (const a of [graded(b, undefined, columns), transposed(graded(b, undefined, columns))]) {
        const s = values(a, "jacobi");
        expect(wrongValues(a, s, m * CONDITION * ulp)).toEqual([]);
        expect(values(a, "jacobi", "none")).toEqual(s);
        // the vectors, too, though J cannot be had from L·J = U·S here
        expect(wrong(a)).toEqual([]);
      }
    }
  });

  test("svd() has the values of a graded triangle to full relative accuracy, in whatever order its rows and columns are", () => {
    const step = dtype === "f32" ? 9 : 80;
    const n = 8;
    const [row, column] = [grades(n, n - 1, random), grades(n, n - 1, random)].map((places) => places.map((x) => -x));
    const entry = (i: number, j: number) => (j < i ? 0 : scaled(1 + 0.25 * i - 0.125 * j, -step * i));
    const a = matrix(n, n, (i, j) => entry((row as number[])[i] as number, (column as number[])[j] as number));
    for (const given of [a, transposed(a)]) {
      expect(wrongValues(given, values(given, "jacobi"), 10 * n * ulp)).toEqual([]);
      expect(wrongValues(given, values(given, "dc"), 0.5)).toContain(n - 1);
    }
  });

  test("svd() has Läuchli's values, √(n + ε²) and ε, for any ε", () => {
    for (const exponent of dtype === "f32" ? [-10, -60, -120] : [-20, -500, -1000]) {
      const epsilon = 2 ** exponent;
      const s = values(lauchli(6, epsilon), "jacobi");
      expect(Math.abs((s[0] as number) / Math.sqrt(6 + epsilon ** 2) - 1)).toBeLessThan(10 * ulp);
      for (const small of s.slice(1)) expect(Math.abs(small / epsilon - 1)).toBeLessThan(10 * ulp);
    }
  });

  test("svd() of 2×2 matrices by their closed form: the smaller value is |det| over the larger one", () => {
    for (let i = 0; i < 200; i++) {
      // [f g; 0 h] with a determinant that is exact
      const span = dtype === "f32" ? 30 : 250;
      const draw = () => random.sign() * scaled(1 + random.below(256) / 256, Math.round(span * random.symmetric()));
      const [f, g, h] = [draw(), draw(), draw()];
      const a = fromRows([
        [f, g],
        [0, h],
      ]);
      const [large, small] = values(a, "jacobi") as unknown as [number, number];
      const expected = Math.abs((f / large) * h);
      expect([f, g, h, Math.abs(expected - small) < 20 * ulp * small]).toEqual([f, g, h, true]);
    }
  });

  test("svd() of 2^k times a matrix gives exactly 2^k times the values, and the same vectors", () => {
    const spread = dtype === "f32" ? 40 : 400;
    for (const [m, n] of [
      [7, 7],
      [9, 4],
      [4, 9],
    ] as const) {
      const b = wellConditioned(m, n, dtype, random);
      for (const a of [b, graded(b, undefined, grades(n, spread, random)), graded(b, grades(m, spread, random), [])]) {
        const { full, thin, none } = decompose(a, dtype, "jacobi");
        for (const k of dtype === "f32" ? [-60, -1, 7, 120] : [-500, -1, 7, 1015]) {
          const moved = decompose(scaledMatrix(a, k), dtype, "jacobi");
          const expected = rounded(
            dtype,
            none.map((x) => scaled(x, k)),
          );
          expect(moved.none).toEqual(expected);
          expect(moved.thin.s).toEqual(thin.s.map((x) => scaled(x, k)));
          expect(moved.full.u).toEqual(full.u);
          expect(moved.full.vt).toEqual(full.vt);
          expect(moved.thin.u).toEqual(thin.u);
        }
      }
    }
  });

  test("svd() at the ends of the range keeps every ratio below 50; a value beyond it is Infinity", () => {
    const ends = dtype === "f32" ? [-37, -30, 30, 37] : [-307, -300, 300, 306];
    for (const exponent of ends) {
      for (const [m, n] of [
        [1, 1],
        [6, 6],
        [20, 11],
        [11, 20],
      ] as const) {
        const a = randomMatrix(m, n, random);
        expect(wrong({ ...a, data: a.data.map((x) => x * 10 ** exponent) })).toEqual([]);
      }
    }
    const a = matrix(3, 3, (i, j) => scaled(i === j ? 1.9 : 1.5, dtype === "f32" ? 127 : 1023));
    const { s, u, vt } = decompose(a, dtype, "jacobi").thin;
    const unscaled = decompose(scaledMatrix(a, dtype === "f32" ? -127 : -1023), dtype, "jacobi").thin;
    expect(s[0]).toBe(Number.POSITIVE_INFINITY);
    expect(s[1]).toBeLessThan(Number.POSITIVE_INFINITY);
    expect([u, vt]).toEqual([unscaled.u, unscaled.vt]);
  });

  const ones = matrix(6, 6, () => 1);
  const angle = Math.acos(0.1);
  test.each<[string, Matrix]>([
    ["zero", matrix(5, 4, () => 0)],
    ["one entry", matrix(5, 7, (i, j) => (i === 3 && j === 2 ? -3 : 0))],
    ["zero columns and rows", matrix(7, 6, (i, j) => (i % 3 === 1 || j % 2 === 0 ? 0 : 1 + i - j))],
    ["ones", ones],
    ["ones, wide", matrix(4, 9, () => 1)],
    ["ones and an ulp", matrix(6, 6, (i, j) => 1 + (i === j ? 2 * ulp : 0))],
    ["equal columns", matrix(6, 5, (i) => i + 1)],
    ["rank 2", matrix(9, 8, (i, j) => (i + 1) * (j - 3) + 0.5 * (i % 2))],
    ["identity", matrix(20, 20, (i, j) => (i === j ? 1 : 0))],
    ["antidiagonal, graded", matrix(9, 9, (i, j) => (i + j === 8 ? scaled(-1, -3 * i) : 0))],
    ["diagonal, ascending", diagonal(9, 12, Float64Array.from(range(9).map((i) => scaled(1, i))))],
    ["Hilbert's, of order 12", hilbert(12)],
    ["Kahan's, of order 30", kahan(30, 1.2)],
    ["Kahan's with a small sine, of order 20", kahan(20, angle / 4)],
    ["Kahan's, transposed", transposed(kahan(25, 1.1))],
    ["Golub and Kahan's bidiagonal of ones", bidiagonal(new Float64Array(33).fill(1), 1)],
    ["Wilkinson-like W", bidiagonal([...range(21).map((i) => Math.abs(i - 10)), 1e-3], 1)],
    ["one value, multiply", withValues(40, 40, new Float64Array(40).fill(1), random)],
    ["two clusters", withValues(40, 33, Float64Array.from(range(33).map((i) => (i < 16 ? 1 : 100 * ulp))), random)],
    ["Gaussian bell of width 1", matrix(60, 60, (i, j) => Math.exp(-((i - j) ** 2) / 2))],
    ["Gaussian bell of width 2", matrix(60, 60, (i, j) => Math.exp(-((i - j) ** 2) / 8))],
    // R = D·random, whose rows are graded, with columns that are not: the condition of its rows is that of the random triangle
    ["graded triangle", matrix(24, 24, (i, j) => (j < i ? 0 : scaled(random.symmetric(), -i)))],
  ])("svd() keeps every ratio below 50 on a hard case: %s", (_, given) => {
    const a = { ...given, data: rounded(dtype, given.data) };
    expect(wrong(a)).toEqual([]);
    expect(wrong(transposed(a))).toEqual([]);
  });

  test("svd() has orthogonal vectors where L, its rows scaled, is ill conditioned: Kahan's matrix that pivoting keeps", () => {
    for (const [n, theta] of [
      [24, 1.3],
      [36, 1.3],
      [44, 1.4],
    ] as const) {
      const { data } = kahan(n, theta);
      // columns ever so little shorter than those before: else a rounding decides on pivots, and spoils it
      const a = matrix(n, n, (i, j) => (data[i * n + j] as number) * (1 - 100 * ulp * j));
      const held = { ...a, data: rounded(dtype, a.data) };
      const { vOrthogonality, reconstruction } = ratios(held, decompose(held, dtype, "jacobi"), ulp);
      expect(vOrthogonality).toBeLessThan(2);
      expect(reconstruction).toBeLessThan(2);
    }
  });

  test("svd() of constant matrices: what is left after the first column is rounding, or nothing", () => {
    for (let m = 8; m <= 11; m++) {
      for (let n = 8; n <= 11; n++) {
        for (const value of [1, 3, 5, 7]) expect(wrong(matrix(m, n, () => value))).toEqual([]);
      }
    }
  });

  test("svd() of exact rank deficiency has exact zeros where whole columns vanish, and completes the bases", () => {
    for (const [m, n] of [
      [6, 6],
      [9, 5],
      [5, 9],
    ] as const) {
      const a = matrix(m, n, (i, j) => (j % 2 === 1 || i === 0 ? 0 : random.symmetric()));
      const { s } = decompose(a, dtype, "jacobi").thin;
      const rank = Math.min(m - 1, Math.ceil(n / 2));
      expect(Array.from(s, (x) => x > 0)).toEqual(range(Math.min(m, n)).map((i) => i < rank));
      expect(Array.from(s).every((x) => !Object.is(x, -0))).toBe(true);
      expect(wrong(a)).toEqual([]);
    }
  });

  test("svd() gives the same bits on every call, in batches, of views", () => {
    scope(() => {
      const data = random.array(3 * 12 * 9);
      const stack = tensor(data, { shape: [3, 12, 9], dtype });
      const whole = svd(stack, { driver: "jacobi", vectors: "full" });
      for (const i of range(3)) {
        const one = svd(stack.subtensor(i, i + 1).reshape([12, 9]), { driver: "jacobi", vectors: "full" });
        expect(whole.u.data.slice(i * 144, (i + 1) * 144)).toEqual(one.u.data);
        expect(whole.s.data.slice(i * 9, (i + 1) * 9)).toEqual(one.s.data);
        expect(whole.vt.data.slice(i * 81, (i + 1) * 81)).toEqual(one.vt.data);
      }
      const turned = svd(stack.transpose(), { driver: "jacobi" });
      expect(turned.s.data).toEqual(svd(tensor(stack.transpose()), { driver: "jacobi" }).s.data);
      // svdvals() has no driver: it is "auto"
      expect(svdvals(stack).data).toEqual(svd(stack, { vectors: "none" }).s.data);
    });
  });
});

test("gesvd() reports how many pairs were still rotated if the last sweep was not enough", () => {
  const kernel = new SmallKernel(60);
  const dtype = "f64";
  const { gesvd, gesvdBegin, gesvdScratch } = kernel.routines(dtype);
  const n = 20;
  const [a, u, s, vt] = range(4).map((i) => kernel.base + i * n * n * 8) as [number, number, number, number];
  const work = kernel.base + 4 * n * n * 8;
  kernel.view(dtype, a, n * n).set(randomMatrix(n, n, new Random(2)).data);
  expect(work + gesvdScratch(n, n, 1, 3)).toBeLessThan(60 * 65536);
  kernel.common.setSlice(0);
  gesvdBegin(work);
  // the cursor that counts sweeps; it is set to the last one as soon as the first one has ended
  const sweeps = new Int32Array(kernel.memory.buffer, work + 12 + 4 * 6, 1);
  let result: number;
  do {
    if (sweeps[0] === 1) sweeps[0] = 29;
    result = gesvd(n, n, 1, 3, a, n, 1, u, s, vt, work);
  } while (result === MORE);
  expect(sweeps[0]).toBe(30);
  expect(result).toBeGreaterThan(0);
  expect(result).toBeLessThanOrEqual((n * (n + 7)) / 2);
});

test("countAbove() counts the singular values of diagonal matrices and of products, exactly", () => {
  const d = [3, 2, 2, 2 ** -700, 5e-324];
  const a = diagonal(6, 5, d);
  for (const [bound, count] of [
    [3.0000000000000004, 0],
    [2.9999999999999996, 1],
    [2.0000000000000004, 1],
    [1.9999999999999998, 3],
    [2 ** -699, 3],
    [2 ** -700 * (1 - 2 ** -53), 4],
  ] as const) {
    expect(countAbove(a, bound)).toBe(count);
    expect(countAbove(transposed(a), bound)).toBe(count);
  }
  expect(() => countAbove(a, 3)).toThrow("leading minor");
  // (√5 ± 1)/2
  const golden = fromRows([
    [1, 1],
    [0, 1],
  ]);
  expect(wrongValues(golden, [1.618033988749895, 0.6180339887498949], 2 ** -50)).toEqual([]);
  expect(wrongValues(golden, [1.618033988749895, 0.6180339888], 1e-12)).toEqual([1]);
  expect(wrongValues(golden, [Number.NaN, 0], 0.5)).toEqual([0, 1]);
});
