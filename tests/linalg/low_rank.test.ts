// lowRank(), the rule that chooses a rank, orth(), nullSpace().

import { describe, expect, test } from "vitest";
import { lowRank, nullSpace, orth, scope, svd, type Tensor, tensor, zeros } from "../../bindings/index.js";
import { chooseRank, truncation } from "../../bindings/linalg/rank_rule.js";
import { distance, flip, formula, notOrthonormal, place, read, times } from "../support/dense.js";
import { diagonal, type Matrix, matrix, scaledMatrix, withValues } from "../support/matrices.js";
import { Random } from "../support/random.js";
import { DTYPES, rounded, ulpOf } from "../support/raw.js";
import { norm2 } from "../support/reference.js";

describe("the rule of ranks", () => {
  test.each([
    [[3, 1], 0.9, 1],
    [[3, 1], 0.91, 2],
    [[3, 1], 1, 2],
    [[3, 1], 1e-300, 1],
    [[2, 2, 2, 2], 0.5, 2],
    [[2, 2, 2, 2], 0.5000001, 3],
    [[1, 1e-9], 1, 2],
    [[1, 0], 1, 1],
    [[0, 0], 1, 0],
    [[], 0.5, 0],
    [[3e307, 1e307], 0.9, 1],
    [[3e-320, 1e-320], 0.91, 2],
  ])("chooseRank(%j, energy %d) = %i", (s, energy, rank) => {
    expect(chooseRank(s, { energy })).toBe(rank);
  });

  test.each([
    [[4, 3], 0.6, 1],
    [[4, 3], 0.59, 2],
    [[4, 3], 1, 0],
    [[4, 3], 0, 2],
    [[4, 0], 0, 1],
    [[1, 1e-9], 0, 2],
    [[1, 1e-9], 1e-8, 1],
    [[0, 0], 0, 0],
    [[], 0, 0],
    [[4e307, 3e307], 0.6, 1],
  ])("chooseRank(%j, tolerance %d) = %i", (s, tolerance, rank) => {
    expect(chooseRank(s, { tolerance })).toBe(rank);
  });

  test("truncation() sums from the smallest value", () => {
    const s = [1, ...new Array(1e4).fill(1e-9)];
    expect(truncation(s, 1).frobenius).toBeCloseTo(1e-7, 18);
    expect(truncation(s, 0).frobenius).toBe(Math.sqrt(1 + 1e-14));
    expect(truncation(s, 1).spectral).toBe(1e-9);
    expect(truncation([4, 3], 1)).toEqual({ frobenius: 3, spectral: 3, energy: 0.64 });
    expect(truncation([4, 3], 2)).toEqual({ frobenius: 0, spectral: 0, energy: 1 });
    expect(truncation([0, 0], 1)).toEqual({ frobenius: 0, spectral: 0, energy: 1 });
  });
});

describe.each(DTYPES)("lowRank(), orth(), nullSpace(), %s", (dtype) => {
  const ulp = ulpOf(dtype);
  const held = (a: Matrix) => ({ ...a, data: rounded(dtype, a.data) });

  test.each([
    [7, 7],
    [12, 5],
    [5, 12],
    [1, 4],
    [4, 1],
    [40, 30],
  ])("lowRank() of %i×%i leaves just the error that it says", (m, n) => {
    scope(() => {
      const a = held(
        withValues(
          m,
          n,
          Float64Array.from({ length: Math.min(m, n) }, (_, i) => 2 ** -i),
          new Random(31),
        ),
      );
      const whole = svd(place(a, dtype));
      for (let k = 1; k <= Math.min(m, n, 8); k++) {
        const { u, s, vt, rank, error, energy } = lowRank(place(a, dtype), { rank: k });
        expect([u.shape, s.shape, vt.shape, rank, u.dtype]).toEqual([[m, k], [k], [k, n], k, dtype]);
        expect([...s.data]).toEqual([...whole.s.data.slice(0, k)]);
        const rest = times(read(u), diagonal(k, k, s.data), read(vt));
        rest.data.forEach((x, i) => {
          rest.data[i] = x - (a.data[i] as number);
        });
        expect(Math.abs(norm2(rest.data) - error.frobenius)).toBeLessThan(50 * ulp);
        expect(error.spectral).toBe(whole.s.data[k] ?? 0);
        const total = norm2(a.data) ** 2;
        expect(Math.abs(energy - (1 - norm2(rest.data) ** 2 / total))).toBeLessThan(50 * ulp);
      }
    });
  });

  test("lowRank() takes the least rank that keeps an energy or a tolerance", () => {
    scope(() => {
      const a = place(held(diagonal(4, 5, [4, 2, 1, 0.5])), dtype);
      // σ²: 16, 4, 1, 1/4 of 21.25
      const ranks = (rules: object[]) => rules.map((rule) => lowRank(a, rule as { rank: number }).rank);
      expect(ranks([{ energy: 0.75 }, { energy: 0.76 }, { energy: 0.95 }, { energy: 0.99 }, { energy: 1 }])).toEqual([
        1, 2, 3, 4, 4,
      ]);
      expect(
        ranks([
          { tolerance: 1 },
          { tolerance: 0.5 },
          { tolerance: 0.25 },
          { tolerance: 0.11 },
          { tolerance: 0.1 },
          { tolerance: 0 },
        ]),
      ).toEqual([0, 1, 2, 3, 4, 4]);
      const none = lowRank(a, { tolerance: 1 });
      expect([none.u.shape, none.s.shape, none.vt.shape, none.energy]).toEqual([[4, 0], [0], [0, 5], 0]);
    });
  });

  const far = dtype === "f32" ? 116 : 996;
  test.each([far, -far])("lowRank() of 2^%i·A has the same rank and energy, and errors times the power", (k) => {
    scope(() => {
      const a = held(withValues(6, 5, [4, 2, 1, 0.5, 0.25], new Random(32)));
      const [base, lifted] = [a, scaledMatrix(a, k)].map((one) => lowRank(place(one, dtype), { energy: 0.98 }));
      expect(lifted?.rank).toBe(base?.rank);
      expect(lifted?.energy).toBe(base?.energy);
      expect(lifted?.error.frobenius).toBe((base?.error.frobenius as number) * 2 ** k);
      expect(lifted?.s.data[0]).toBe((base?.s.data[0] as number) * 2 ** k);
    });
  });

  test("lowRank() where a value is beyond the format", () => {
    scope(() => {
      const top = dtype === "f32" ? 2 ** 127 : 2 ** 1023;
      const { s, rank, energy, error } = lowRank(
        place(
          matrix(4, 4, (i, j) => (i < 2 && j < 2 ? top : i === 3 && j === 3 ? top / 8 : 0)),
          dtype,
        ),
        { energy: 0.99 },
      );
      expect([rank, s.data[0]]).toEqual([1, Infinity]);
      expect(energy).toBeCloseTo(256 / 257, 6);
      expect(error.spectral).toBe(top / 8);
    });
  });

  test.each([
    [8, 5, 3],
    [5, 8, 3],
    [6, 6, 0],
    [6, 6, 6],
    [9, 2, 2],
    [2, 9, 2],
  ])("orth() and nullSpace() of %i×%i with rank %i", (m, n, rank) => {
    scope(() => {
      const p = Math.min(m, n);
      const a = held(
        withValues(
          m,
          n,
          Float64Array.from({ length: p }, (_, i) => (i < rank ? 2 - i / p : 0)),
          new Random(33),
        ),
      );
      const options = { rcond: 100 * ulp };
      const [range, kernel] = [read(orth(place(a, dtype), options)), read(nullSpace(place(a, dtype), options))];
      expect([range.m, range.n, kernel.m, kernel.n]).toEqual([m, rank, n, n - rank]);
      expect(notOrthonormal(range)).toBeLessThan(20 * ulp);
      expect(notOrthonormal(kernel)).toBeLessThan(20 * ulp);
      if (n > rank) expect(norm2(times(a, kernel).data)).toBeLessThan(50 * ulp);
      if (rank > 0) expect(distance(times(range, flip(range), a), a)).toBeLessThan(50 * ulp);
      // a looser tolerance moves a direction from one to the other
      if (rank > 1) {
        expect(orth(place(a, dtype), { rcond: 0.999 }).shape).toEqual([m, 1]);
        expect(nullSpace(place(a, dtype), { rcond: 0.999 }).shape).toEqual([n, n - 1]);
      }
    });
  });
});

describe("lowRank(), orth(), nullSpace()", () => {
  test("lowRank() gives a batch the rank that all its matrices need", () => {
    scope(() => {
      const a = tensor([
        [
          [4, 0],
          [0, 3],
        ],
        [
          [5, 0],
          [0, 0],
        ],
        [
          [0, 0],
          [0, 0],
        ],
      ]);
      const { u, s, vt, rank, error, energy } = lowRank<Tensor>(a, { tolerance: 0 });
      expect([rank, u.shape, s.shape, vt.shape]).toEqual([2, [3, 2, 2], [3, 2], [3, 2, 2]]);
      expect([error.frobenius.toArray(), energy.toArray()]).toEqual([
        [0, 0, 0],
        [1, 1, 1],
      ]);
      const one = lowRank<Tensor>(a, { rank: 1 });
      expect([one.u.shape, one.s.toArray(), one.vt.shape]).toEqual([
        [3, 2, 1],
        [[4], [5], [0]],
        [3, 1, 2],
      ]);
      expect([one.error.spectral.toArray(), one.energy.toArray()]).toEqual([
        [3, 0, 0],
        [0.64, 1, 1],
      ]);
      const random = tensor(new Random(34).array(4 * 6 * 5), { shape: [4, 6, 5] });
      const some = lowRank<Tensor>(random, { rank: 3 });
      for (let i = 0; i < 4; i++) {
        const alone = lowRank([...(random.toArray() as number[][][])][i] as number[][], { rank: 3 });
        const product = (one: { u: Matrix; s: ArrayLike<number>; vt: Matrix }) =>
          times(one.u, diagonal(3, 3, one.s), one.vt);
        const batch = { u: read(some.u, i), s: some.s.data.slice(3 * i, 3 * i + 3), vt: read(some.vt, i) };
        expect(
          distance(product(batch), product({ u: read(alone.u), s: alone.s.data, vt: read(alone.vt) })),
        ).toBeLessThan(1e-13);
      }
    });
  });

  test.each([
    [0, 0],
    [0, 3],
    [3, 0],
  ])("lowRank(), orth(), nullSpace() of %i×%i", (m, n) => {
    scope(() => {
      for (const rule of [{ energy: 0.5 }, { tolerance: 0 }, { rank: 0 }]) {
        const { u, s, vt, rank, error, energy } = lowRank(zeros([m, n]), rule as { rank: number });
        expect([u.shape, s.shape, vt.shape, rank, error, energy]).toEqual([
          [m, 0],
          [0],
          [0, n],
          0,
          { frobenius: 0, spectral: 0 },
          1,
        ]);
      }
      expect(orth(zeros([m, n])).shape).toEqual([m, 0]);
      expect(distance(nullSpace(zeros([m, n])), diagonal(n, n, new Array(n).fill(1)))).toBe(0);
    });
  });

  test("orth() and nullSpace() of a matrix whose largest value is beyond the format", () => {
    scope(() => {
      const a = tensor([
        [1e308, 1e308, 0],
        [1e308, 1e308, 0],
        [0, 0, 1e307],
      ]);
      expect([orth(a).shape, nullSpace(a).shape]).toEqual([
        [3, 2],
        [3, 1],
      ]);
      expect(orth(formula(5, 3)).shape).toEqual([5, 3]);
    });
  });
});
