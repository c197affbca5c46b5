// pinv() and matrixRank(): published cases, Penrose's conditions, tolerances, scales, shapes, batches.

import { describe, expect, test } from "vitest";
import { matrixRank, pinv, scope, type Tensor, type TensorLike, tensor, zeros } from "../../bindings/index.js";
import { publishedCases } from "../support/cases.js";
import { distance, flat, flip, formula, place, read, times } from "../support/dense.js";
import { diagonal, type Matrix, matrix, scaledMatrix, withValues } from "../support/matrices.js";
import { Random } from "../support/random.js";
import { DTYPES, rounded, ulpOf } from "../support/raw.js";

interface Case {
  kind: string;
  name: string;
  input: { A?: number[][]; shape?: number[]; n?: number; tol_absolute?: number };
  expected: { pinv?: number[][]; inverse?: number[][]; rank?: number };
  computed?: { cond2: number };
}

const published = publishedCases<{ cases: Case[] }>("pinv-lstsq-rank.json")?.cases ?? [];

function argument({ input: { A, shape, n } }: Case): TensorLike {
  if (A !== undefined) return A;
  if (n !== undefined) return Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => 1 / (i + j + 1)));
  return { data: new Float64Array(0), shape: shape as number[] };
}

describe.skipIf(published.length === 0)("pinv() and matrixRank() on published cases", () => {
  test.each(published.filter(({ kind }) => kind === "pinv").map((one) => [one.name, one] as const))(
    "pinv() of %s",
    (_, one) => {
      scope(() => {
        const inverse = pinv(argument(one));
        const { pinv: wanted, inverse: exact } = one.expected;
        if (wanted !== undefined) expect(distance(inverse, { data: flat(wanted) })).toBeLessThan(1e-7);
        else if (exact !== undefined) {
          const { n = 1 } = one.input;
          const bound = 10 * n * 2 ** -52 * (one.computed?.cond2 ?? 1);
          expect(distance(inverse, { data: flat(exact) })).toBeLessThan(bound);
        } else if (one.input.A !== undefined) {
          const a = place(matrix(3, 3, (i, j) => (one.input.A as number[][])[i]?.[j] as number));
          expect(distance(times(read(a), read(inverse)), diagonal(3, 3, [1, 1, 1]))).toBeLessThan(1e-13);
        } else expect(inverse.shape).toEqual([...(one.input.shape as number[])].reverse());
      });
    },
  );

  test.each(published.filter(({ kind }) => kind === "rank").map((one) => [one.name, one] as const))(
    "matrixRank() of %s",
    (_, one) => {
      const { tol_absolute: atol } = one.input;
      const { rank } = one.expected;
      expect(typeof rank).toBe("number");
      expect(matrixRank(argument(one), atol === undefined ? {} : { atol })).toBe(rank);
    },
  );
});

/** Penrose's four conditions, each relative to what rounding allows. */
function penrose(a: Matrix, x: Matrix, ulp: number, condition: number): number[] {
  const [ax, xa] = [times(a, x), times(x, a)];
  const unit = Math.max(a.m, a.n) * ulp * condition;
  return [distance(times(ax, a), a), distance(times(xa, x), x), distance(flip(ax), ax), distance(flip(xa), xa)].map(
    (error) => error / unit,
  );
}

const SHAPES = [
  [1, 1],
  [5, 5],
  [9, 4],
  [4, 9],
  [1, 6],
  [6, 1],
  [40, 33],
  [33, 40],
] as const;

describe.each(DTYPES)("pinv(), matrixRank(), %s", (dtype) => {
  const ulp = ulpOf(dtype);
  const held = (a: Matrix) => ({ ...a, data: rounded(dtype, a.data) });

  test.each(SHAPES)("pinv() of %i×%i keeps Penrose's conditions, of full and of half rank", (m, n) => {
    scope(() => {
      const p = Math.min(m, n);
      for (const rank of new Set([p, Math.ceil(p / 2)])) {
        const values = Float64Array.from({ length: p }, (_, i) => (i < rank ? 3 / (1 + i) : 0));
        const a = held(withValues(m, n, values, new Random(21)));
        const rtol = 100 * ulp;
        const x = pinv(place(a, dtype), { rtol });
        expect([x.shape, x.dtype, matrixRank(place(a, dtype), { rtol })]).toEqual([[n, m], dtype, rank]);
        // what was cut off counts as part of A's error
        for (const error of penrose(a, read(x), ulp, rank)) expect(error).toBeLessThan(40);
        const wrong = read(x);
        (wrong.data[0] as number) += 0.01;
        expect(Math.max(...penrose(a, wrong, ulp, rank))).toBeGreaterThan(40);
        expect(distance(flip(read(pinv(place(flip(a), dtype), { rtol }))), read(x))).toBeLessThan(100 * p * ulp);
      }
    });
  });

  const far = dtype === "f32" ? 116 : 996;
  test.each([far, -far])("pinv() of 2^%i·A is pinv of A over the power, bit for bit, and the rank the same", (k) => {
    scope(() => {
      const a = held(withValues(6, 4, [4, 2, 1, 0], new Random(22)));
      const options = { rtol: 1e3 * ulp };
      const [base, lifted] = [a, scaledMatrix(a, k)].map((one) => read(pinv(place(one, dtype), options)));
      expect(lifted?.data).toEqual(rounded(dtype, scaledMatrix(base as Matrix, -k).data));
      expect(matrixRank(place(scaledMatrix(a, k), dtype), options)).toBe(3);
    });
  });

  test("pinv(), matrixRank() where the largest value is beyond the format, and where all are subnormal", () => {
    scope(() => {
      const top = dtype === "f32" ? 2 ** 127 : 2 ** 1023;
      const ones = matrix(3, 3, () => top);
      expect(matrixRank(place(ones, dtype))).toBe(1);
      expect(
        distance(
          pinv(place(ones, dtype)),
          matrix(3, 3, () => 1 / 9 / top),
        ),
      ).toBeLessThan(dtype === "f32" ? 1e-4 : 1e-13);
      const tiny = diagonal(2, 2, dtype === "f32" ? [2 ** -130, 2 ** -132] : [2 ** -1030, 2 ** -1032]);
      expect(matrixRank(place(tiny, dtype))).toBe(2);
      expect(matrixRank(place(tiny, dtype), { rtol: 0.3 })).toBe(1);
      expect(matrixRank(place(tiny, dtype), { atol: dtype === "f32" ? 2 ** -131 : 2 ** -1031 })).toBe(1);
      expect([...pinv(place(tiny, dtype)).data]).toEqual([Infinity, 0, 0, Infinity]);
    });
  });

  test("matrixRank() counts values above max(atol, rtol·σ₁)", () => {
    const a = tensor(
      [
        [8, 0, 0],
        [0, 2, 0],
        [0, 0, 0.5],
      ],
      { dtype },
    );
    const rank = (options?: object) => matrixRank(a, options);
    expect([rank(), rank({ atol: 1 }), rank({ rtol: 0.2 }), rank({ rtol: 0.3 })]).toEqual([3, 2, 2, 1]);
    expect([rank({ atol: 2 }), rank({ atol: 1.99 }), rank({ atol: 1, rtol: 0.3 }), rank({ atol: 8 })]).toEqual([
      1, 2, 1, 0,
    ]);
    // atol given: no relative tolerance beside it
    const small = tensor(
      [
        [1, 0],
        [0, ulp / 4],
      ],
      { dtype },
    );
    expect([matrixRank(small), matrixRank(small, { atol: 0 }), matrixRank(small, { rtol: 0 })]).toEqual([1, 2, 2]);
    expect([...pinv(small, { atol: 0 }).data]).toEqual([1, 0, 0, 4 / ulp]);
    expect([...pinv(small).data]).toEqual([1, 0, 0, 0]);
    expect([...pinv(a, { rtol: 1 }).data]).toEqual(new Array(9).fill(0));
  });

  test("matrixRank() with hermitian reads the lower triangle", () => {
    // eigenvalues of the lower triangle mirrored: 3, −1; of the whole: 1 ± √0
    const a = tensor(
      [
        [1, 0],
        [2, 1],
      ],
      { dtype },
    );
    expect(matrixRank(a, { rtol: 0.4 })).toBe(1);
    expect(matrixRank(a, { rtol: 0.3, hermitian: true })).toBe(2);
    expect(matrixRank(a, { rtol: 0.35, hermitian: true })).toBe(1);
    const singular = tensor(
      [
        [1, 7],
        [1, 1],
      ],
      { dtype },
    );
    expect([matrixRank(singular), matrixRank(singular, { hermitian: true })]).toEqual([2, 1]);
    expect(singular.toArray()).toEqual([
      [1, 7],
      [1, 1],
    ]);
    const upper = tensor(
      [
        [1, Number.NaN],
        [1, 1],
      ],
      { dtype },
    );
    expect(matrixRank(upper, { hermitian: true })).toBe(1);
  });
});

describe("pinv(), matrixRank()", () => {
  test("pinv() agrees with numpy.linalg.pinv on a matrix of rank 2", () => {
    const rows = formula(5, 3).map(([x = 0, y = 0]) => [x, y, x + y]);
    const expected = [
      -0.04869035974350615, -0.013717044486011222, -0.03663217384838032, 0.08039171943553045, -0.02457398795325449,
      0.015867840452124762, 0.04629359508977856, 0.033554705152185976, -0.06614269616002837, 0.05124156985224718,
      -0.0328225192913814, 0.03257655060376733, -0.003077468696194354, 0.014249023275502103, 0.026667581898992678,
    ];
    scope(() => expect(distance(pinv(rows), { data: expected })).toBeLessThan(1e-14));
  });

  test("pinv(), matrixRank() of batches and of views are those of their matrices", () => {
    scope(() => {
      const a = tensor(new Random(23).array(2 * 3 * 5 * 4), { shape: [2, 3, 5, 4] });
      const whole = pinv(a);
      const turned = pinv(a.transpose());
      expect([whole.shape, turned.shape]).toEqual([
        [2, 3, 4, 5],
        [2, 3, 5, 4],
      ]);
      const flatA = a.reshape([6, 5, 4]);
      for (let i = 0; i < 6; i++) {
        const one = read(flatA, i);
        expect(distance(read(whole, i), read(pinv(place(one))))).toBeLessThan(1e-13);
        expect(distance(flip(read(turned, i)), read(whole, i))).toBeLessThan(1e-13);
      }
      const ranks = matrixRank<Int32Array>(
        tensor([
          [
            [1, 1],
            [1, 1],
          ],
          [
            [1, 0],
            [0, 1],
          ],
          [
            [0, 0],
            [0, 0],
          ],
        ]),
      );
      expect(ranks).toEqual(Int32Array.of(1, 2, 0));
    });
  });

  test.each([
    [
      [0, 0],
      [0, 0],
    ],
    [
      [0, 3],
      [3, 0],
    ],
    [
      [3, 0],
      [0, 3],
    ],
    [
      [2, 0, 3],
      [2, 3, 0],
    ],
    [
      [0, 2, 3],
      [0, 3, 2],
    ],
  ])("pinv() of the empty shape %j has shape %j", (shape, wanted) => {
    scope(() => {
      expect(pinv(zeros(shape)).shape).toEqual(wanted);
      const rank = matrixRank<number | Int32Array>(zeros(shape) as Tensor);
      expect(rank).toEqual(shape.length === 2 ? 0 : new Int32Array(shape[0] as number));
    });
  });

  test("pinv() of a zero matrix is zero", () => {
    scope(() => {
      expect(pinv(zeros([2, 3])).toArray()).toEqual([
        [0, 0],
        [0, 0],
        [0, 0],
      ]);
      expect(matrixRank(zeros([2, 3]))).toBe(0);
    });
  });
});
