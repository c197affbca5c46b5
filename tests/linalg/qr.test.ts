// qr(): products, orthogonality, form, modes, scales, batches, numbers of NumPy.

import { describe, expect, test } from "vitest";
import { qr, scope, type Tensor, tensor } from "../../bindings/index.js";
import { distance, flat, formula, notOrthonormal, place, read, times } from "../support/dense.js";
import { diagonal, type Matrix, matrix, randomMatrix, scaledMatrix } from "../support/matrices.js";
import { Random } from "../support/random.js";
import { DTYPES, rounded, ulpOf } from "../support/raw.js";

const SHAPES = [
  [1, 1],
  [1, 4],
  [4, 1],
  [3, 3],
  [5, 3],
  [3, 5],
  [33, 32],
  [32, 33],
  [70, 41],
  [41, 70],
  [97, 97],
] as const;

/** LAPACK's ratios of xQRT01: both below 30 there. */
function ratios(a: Matrix, q: Matrix, r: Matrix, ulp: number): number[] {
  const size = Math.max(a.m, a.n);
  return [distance(times(q, r), a) / (size * ulp), notOrthonormal(q) / (a.m * ulp)];
}

function isUpper({ m, n, data }: Matrix): boolean {
  for (let i = 0; i < m; i++) for (let j = 0; j < Math.min(i, n); j++) if (data[i * n + j] !== 0) return false;
  return true;
}

describe.each(DTYPES)("qr(), %s", (dtype) => {
  const ulp = ulpOf(dtype);
  const held = (a: Matrix) => ({ ...a, data: rounded(dtype, a.data) });

  test.each(SHAPES)("qr() of %i×%i: A = Q·R, Q orthonormal, R upper; r alone has the same bits", (m, n) => {
    scope(() => {
      const a = held(randomMatrix(m, n, new Random(3)));
      const placed = place(a, dtype);
      for (const mode of ["thin", "full"] as const) {
        const k = mode === "full" ? m : Math.min(m, n);
        const { q, r } = qr(placed, { mode });
        expect([q.shape, r.shape, q.dtype]).toEqual([[m, k], [k, n], dtype]);
        for (const ratio of ratios(a, read(q), read(r), ulp)) expect(ratio).toBeLessThan(5);
        expect(isUpper(read(r))).toBe(true);
      }
      expect(qr(placed, { mode: "r" })).toEqual({ r: expect.anything() });
      expect(qr(placed, { mode: "r" }).r.toArray()).toEqual(qr(placed).r.toArray());
      // a view: the transposed matrix where it lies
      const view = place({ m: n, n: m, data: transposedData(a) }, dtype).transpose();
      expect(qr(view).r.toArray()).toEqual(qr(placed).r.toArray());
    });
  });

  test("qr() does not take a wrong factor for a right one", () => {
    scope(() => {
      const a = held(randomMatrix(9, 6, new Random(4)));
      const { q, r } = qr(place(a, dtype));
      const broken = read(r);
      (broken.data[3] as number) += 0.01;
      expect(ratios(a, read(q), broken, ulp)[0]).toBeGreaterThan(50);
      const tilted = read(q);
      (tilted.data[3] as number) += 0.01;
      expect(ratios(a, tilted, read(r), ulp)[1]).toBeGreaterThan(50);
    });
  });

  const edge = dtype === "f32" ? 126 : 1022;
  test.each([edge - 6, -edge + 6, -edge - 10])("qr() of 2^%i·A has the same Q, and R times the power", (k) => {
    scope(() => {
      const a = held(scaledMatrix(randomMatrix(20, 7, new Random(5)), k));
      const { q, r } = qr(place(a, dtype));
      expect(notOrthonormal(read(q)) / (20 * ulp)).toBeLessThan(5);
      // brought to the middle exactly, and computed there
      const middle = qr(place(held(scaledMatrix(a, -k)), dtype));
      expect(distance(read(q), read(middle.q))).toBeLessThan(100 * ulp);
      if (k > -edge) expect(distance(scaledMatrix(read(r), -k), read(middle.r))).toBeLessThan(100 * ulp);
    });
  });

  test("qr() keeps the digits of columns of very different size", () => {
    scope(() => {
      const exponents = dtype === "f32" ? [90, -90, 0] : [800, -800, 0];
      const a = randomMatrix(8, 3, new Random(6));
      const graded = held(matrix(8, 3, (i, j) => (a.data[i * 3 + j] as number) * 2 ** (exponents[j] as number)));
      const { q, r } = qr(place(graded, dtype));
      const even = (x: Matrix) =>
        matrix(x.m, 3, (i, j) => (x.data[i * 3 + j] as number) * 2 ** -(exponents[j] as number));
      expect(distance(times(read(q), even(read(r))), even(graded))).toBeLessThan(20 * ulp);
    });
  });

  test.each([
    ["zeros", matrix(5, 3, () => 0)],
    ["the identity", diagonal(4, 4, [1, 1, 1, 1])],
    ["ones", matrix(6, 4, () => 1)],
    ["a zero column", matrix(5, 3, (i, j) => (j === 1 ? 0 : i + j))],
  ])("qr() of %s", (_, a) => {
    scope(() => {
      for (const mode of ["thin", "full"] as const) {
        const { q, r } = qr(place(a, dtype), { mode });
        expect(notOrthonormal(read(q))).toBeLessThan(10 * ulp);
        expect(distance(times(read(q), read(r)), a)).toBeLessThan(10 * ulp);
      }
    });
  });
});

function transposedData({ m, n, data }: Matrix): Float64Array {
  return Float64Array.from({ length: m * n }, (_, at) => data[(at % m) * n + Math.floor(at / m)] as number);
}

describe("qr()", () => {
  test("qr() agrees with numpy.linalg.qr but for signs", () => {
    scope(() => {
      const { r } = qr(formula(5, 3));
      const expected = [
        [7.681145747868608, 1.4646252485342686, -1.8877392092219463],
        [0, 7.856836060486176, -2.3209303784807553],
        [0, 0, 5.435965678351113],
      ];
      read(r).data.forEach((x, at) => {
        const row = Math.floor(at / 3);
        const sign = Math.sign(read(r).data[row * 4] as number);
        expect(sign * x).toBeCloseTo((expected[row] as number[])[at % 3] as number, 13);
      });
    });
  });

  test("qr() of a batch is qr() of its matrices, also where it is a view", () => {
    scope(() => {
      const data = new Random(7).array(2 * 3 * 5 * 4);
      const a = tensor(data, { shape: [2, 3, 5, 4] });
      for (const given of [a, a.transpose()]) {
        const { q, r } = qr(given);
        const [m, n] = given.shape.slice(-2) as [number, number];
        expect([q.shape, r.shape]).toEqual([
          [2, 3, m, 4],
          [2, 3, 4, n],
        ]);
        for (let i = 0; i < 6; i++) {
          const one = given.subtensor(Math.floor(i / 3), Math.floor(i / 3) + 1);
          const alone = qr(tensor((one.toArray() as number[][][][])[0]?.[i % 3] as number[][]));
          expect(read(q, i)).toEqual(read(alone.q));
          expect(read(r, i)).toEqual(read(alone.r));
        }
      }
    });
  });

  test.each([
    [0, 0],
    [0, 3],
    [3, 0],
  ])("qr() of %i×%i is empty, full Q the identity", (m, n) => {
    scope(() => {
      const a = tensor(new Float64Array(0), { shape: [m, n] }) as Tensor;
      const thin = qr(a);
      expect([thin.q.shape, thin.r.shape]).toEqual([
        [m, 0],
        [0, n],
      ]);
      const full = qr(a, { mode: "full" });
      expect(full.r.shape).toEqual([m, n]);
      expect(flat(full.q.toArray())).toEqual(Array.from({ length: m * m }, (_, i) => (i % (m + 1) === 0 ? 1 : 0)));
      expect(qr(tensor(new Float64Array(0), { shape: [0, 2, 2] })).q.shape).toEqual([0, 2, 2]);
    });
  });
});
