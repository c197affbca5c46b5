// norm() and cond(): numbers of NumPy, definitions, ends of the format, NaN, empty matrices, batches.

import { describe, expect, test } from "vitest";
import { cond, NonFiniteError, norm, scope, type Tensor, tensor, zeros } from "../../bindings/index.js";
import type { ConditionOrder, NormOrder } from "../../bindings/linalg/norm.js";
import { formula, place } from "../support/dense.js";
import { diagonal, matrix, randomMatrix, scaledMatrix, withValues } from "../support/matrices.js";
import { Random } from "../support/random.js";
import { DTYPES, rounded, ulpOf } from "../support/raw.js";
import { norm2 } from "../support/reference.js";

const ORDERS: readonly NormOrder[] = ["fro", "nuc", 2, -2, 1, -1, Infinity, -Infinity];

describe("norm(), cond() and NumPy", () => {
  test.each<[NormOrder, number]>([
    ["fro", 11.46189338634765],
    ["nuc", 19.44069186955031],
    [2, 8.198277725959715],
    [-2, 4.925755980765235],
    [1, 14],
    [-1, 10],
    [Infinity, 9.75],
    [-Infinity, 8],
  ])("norm() of order %s", (ord, expected) => {
    expect(norm(formula(4, 3), ord)).toBeCloseTo(expected, 13);
    expect(norm(tensor(formula(4, 3), { dtype: "f32" }), ord)).toBeCloseTo(expected, 4);
    // columns of the transposed matrix are rows
    const turned: Partial<Record<string, NormOrder>> = { 1: Infinity, "-1": -Infinity, Infinity: 1, "-Infinity": -1 };
    expect(norm(tensor(formula(4, 3)).transpose(), turned[String(ord)] ?? ord)).toBeCloseTo(expected, 13);
  });

  test.each<[ConditionOrder, number]>([
    [2, 2.0405570398409467],
    [-2, 0.49006226264468744],
    ["fro", 4.712382142244563],
    [1, 3.8690909090909082],
    [Infinity, 4.123636363636364],
  ])("cond() of order %s", (p, expected) => {
    expect(cond(formula(4, 4), p)).toBeCloseTo(expected, 13);
    expect(cond(tensor(formula(4, 4), { dtype: "f32" }), p)).toBeCloseTo(expected, 4);
    if (p === 2) expect(cond(formula(4, 3))).toBeCloseTo(1.6643694405434353, 13);
    if (p === -2) expect(cond(formula(4, 3), p)).toBeCloseTo(0.6008281428632147, 13);
  });
});

describe.each(DTYPES)("norm(), cond(), %s", (dtype) => {
  const ulp = ulpOf(dtype);
  const far = dtype === "f32" ? 116 : 996;

  test.each([
    [1, 1],
    [1, 37],
    [37, 1],
    [33, 17],
    [16, 70],
  ])("norm() of %i×%i by its definition, also of views", (m, n) => {
    scope(() => {
      const data = rounded(dtype, randomMatrix(m, n, new Random(41)).data);
      const sums = (length: number, entry: (i: number, j: number) => number, other: number) =>
        Array.from({ length }, (_, i) =>
          Array.from({ length: other }, (_, j) => Math.abs(entry(i, j))).reduce((x, y) => x + y),
        );
      const rows = sums(m, (i, j) => data[i * n + j] as number, n);
      const columns = sums(n, (j, i) => data[i * n + j] as number, m);
      const wanted: [NormOrder, number][] = [
        ["fro", norm2(data)],
        [1, Math.max(...columns)],
        [-1, Math.min(...columns)],
        [Infinity, Math.max(...rows)],
        [-Infinity, Math.min(...rows)],
      ];
      const a = place({ m, n, data }, dtype);
      // every other entry of a larger matrix: both strides other than one
      const apart = new Float64Array(4 * m * n);
      data.forEach((x, at) => {
        apart[Math.floor(at / n) * 4 * n + 2 * (at % n)] = x;
      });
      const spread = tensor({
        data: dtype === "f32" ? Float32Array.from(apart) : apart,
        shape: [m, n],
        strides: [4 * n, 2],
      });
      for (const [ord, value] of wanted) {
        for (const t of [a, spread])
          expect(Math.abs(norm(t, ord) - value) / value).toBeLessThan(4 * Math.sqrt(m * n) * ulp);
        const turned = tensor(place({ m, n, data }, dtype)).transpose();
        const other =
          ord === "fro"
            ? ord
            : ((Math.abs(ord as number) === 1 ? (ord as number) * Infinity : Math.sign(ord as number)) as NormOrder);
        expect(Math.abs(norm(turned, other) - value) / value).toBeLessThan(4 * Math.sqrt(m * n) * ulp);
      }
    });
  });

  test.each([far, -far])("norm() of 2^%i·A is the norm of A times the power, cond() the same", (k) => {
    scope(() => {
      const a = { m: 5, n: 5, data: rounded(dtype, randomMatrix(5, 5, new Random(42)).data) };
      const [base, lifted] = [place(a, dtype), place(scaledMatrix(a, k), dtype)];
      for (const ord of ORDERS)
        expect(norm(lifted, ord) / 2 ** k / norm(base, ord)).toBeCloseTo(1, dtype === "f32" ? 5 : 14);
      for (const p of [2, -2, "fro", 1, Infinity] as const) {
        expect(cond(lifted, p) / cond(base, p)).toBeCloseTo(1, dtype === "f32" ? 5 : 14);
      }
    });
  });

  test("norm() is finite just below the end of the format, and Infinity beyond it", () => {
    const top = dtype === "f32" ? 2 ** 127 : 2 ** 1023;
    const one = place(
      matrix(1, 2, (_, j) => (j === 0 ? top : top / 4)),
      dtype,
    );
    for (const ord of ORDERS) expect(norm(one, ord)).toBeLessThan(Infinity);
    expect(norm(one, "fro") / top).toBeCloseTo(Math.sqrt(1 + 1 / 16), 6);
    const all = place(
      matrix(4, 4, () => top),
      dtype,
    );
    for (const ord of ["fro", "nuc", 2, 1, Infinity] as const) expect(norm(all, ord)).toBe(Infinity);
    expect(cond(place(diagonal(3, 3, [top, top, top / 2]), dtype))).toBe(2);
    expect(
      cond(
        place(
          matrix(2, 2, (i, j) => (i === j ? top : -top * 0.5)),
          dtype,
        ),
        1,
      ),
    ).toBeCloseTo(3, 5);
    const tiny = dtype === "f32" ? 2 ** -140 : 2 ** -1060;
    expect(
      norm(
        place(
          matrix(2, 2, () => tiny),
          dtype,
        ),
      ),
    ).toBe(2 * tiny);
    expect(cond(place(diagonal(2, 2, [tiny, tiny / 4]), dtype), "fro")).toBeCloseTo(4.25, 5);
  });

  test("norm() of millions of elements has all digits of the format", () => {
    const random = new Random(14);
    const values = rounded(
      dtype,
      Float64Array.from({ length: 2 ** 22 }, () => random.uniform()),
    );
    scope(() => {
      const wanted = norm2(values);
      for (const shape of [
        [1, values.length],
        [2048, 2048],
      ]) {
        const found = norm(tensor(values, { shape, dtype }));
        expect(Math.abs(found / wanted - 1)).toBeLessThan(dtype === "f32" ? 3 * ulpOf(dtype) : 30 * ulpOf(dtype));
      }
    });
  });

  test("norm() passes NaN and Infinity through where it looks at entries only, and refuses them elsewhere", () => {
    const nan = place(
      matrix(3, 3, (i, j) => (i === 1 && j === 2 ? Number.NaN : 1)),
      dtype,
    );
    const inf = place(
      matrix(3, 3, (i, j) => (i === 1 && j === 2 ? -Infinity : 1)),
      dtype,
    );
    for (const ord of ["fro", 1, Infinity, -1, -Infinity] as const) expect(norm(nan, ord)).toBeNaN();
    for (const ord of ["fro", 1, Infinity] as const) expect(norm(inf, ord)).toBe(Infinity);
    expect([norm(inf, -1), norm(inf, -Infinity)]).toEqual([3, 3]);
    for (const ord of ["nuc", 2, -2] as const) expect(() => norm(nan, ord)).toThrow(NonFiniteError);
    for (const p of [2, -2, "fro", 1, Infinity] as const) expect(() => cond(inf, p)).toThrow(NonFiniteError);
  });

  test("cond() of singular and of zero matrices is Infinity, of known values their quotient", () => {
    scope(() => {
      for (const p of [2, "fro", 1, Infinity] as const) {
        expect(cond(place(diagonal(3, 3, [2, 1, 0]), dtype), p)).toBe(Infinity);
        expect(
          cond(
            place(
              matrix(3, 3, () => 0),
              dtype,
            ),
            p,
          ),
        ).toBe(Infinity);
      }
      expect(cond(place(diagonal(3, 3, [2, 1, 0]), dtype), -2)).toBe(0);
      const a = { m: 8, n: 5, data: rounded(dtype, withValues(8, 5, [8, 4, 3, 2, 1], new Random(43)).data) };
      expect(Math.abs(cond(place(a, dtype)) - 8)).toBeLessThan(200 * ulp);
    });
  });
});

describe("norm(), cond()", () => {
  test("norm(), cond() of a batch are tensors of its shape", () => {
    scope(() => {
      const a = tensor(new Random(44).array(2 * 3 * 4 * 4), { shape: [2, 3, 4, 4] });
      for (const ord of ORDERS) {
        const found = norm<Tensor>(a, ord);
        expect(found.shape).toEqual([2, 3]);
        for (let i = 0; i < 6; i++) {
          const one = ((a.toArray() as number[][][][])[Math.floor(i / 3)] as number[][][])[i % 3] as number[][];
          expect(Math.abs((found.data[i] as number) / norm(one, ord) - 1)).toBeLessThan(1e-13);
        }
      }
      expect(cond<Tensor>(a, 1).shape).toEqual([2, 3]);
      expect(norm<Tensor>(zeros([0, 2, 2]), 2).shape).toEqual([0]);
      expect(cond<Tensor>(zeros([0, 2, 2]), "fro").shape).toEqual([0]);
    });
  });

  test.each([
    [0, 0],
    [0, 3],
    [3, 0],
  ])("norm() of %i×%i is zero; a smallest of nothing and cond() are refused", (m, n) => {
    scope(() => {
      for (const ord of ["fro", "nuc", 2, 1, Infinity] as const) expect(norm(zeros([m, n]), ord)).toBe(0);
      expect(() => norm(zeros([m, n]), -2)).toThrow(RangeError);
      for (const [ord, count] of [
        [-1, n],
        [-Infinity, m],
      ] as const) {
        if (count === 0) expect(() => norm(zeros([m, n]), ord)).toThrow(RangeError);
        else expect(norm(zeros([m, n]), ord)).toBe(0);
      }
      for (const p of [2, "fro"] as const) expect(() => cond(zeros([m, n]), p)).toThrow(RangeError);
    });
  });
});
