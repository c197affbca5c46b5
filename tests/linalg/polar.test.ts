// polar(): numbers of SciPy, both sides, form of the factors, ends of the format, batches.

import { describe, expect, test } from "vitest";
import { polar, scope, svdvals, tensor, zeros } from "../../bindings/index.js";
import { distance, flip, formula, notOrthonormal, place, read, times } from "../support/dense.js";
import { type Matrix, matrix, randomMatrix, scaledMatrix, withValues } from "../support/matrices.js";
import { Random } from "../support/random.js";
import { DTYPES, rounded, ulpOf } from "../support/raw.js";

describe("polar() and SciPy", () => {
  test("polar() agrees with scipy.linalg.polar on both sides", () => {
    scope(() => {
      const right = polar(formula(4, 3));
      expect(
        distance(right.u, {
          data: [
            -0.6441651985318698, -0.27925743650440926, 0.02811281789092086, 0.1888731863816518, 0.7995797853088348,
            -0.28118848091326054, -0.1756309532314216, 0.38630688443216643, 0.904467334468954, 0.7200915807961248,
            -0.36531416906927683, 0.3195020321540227,
          ],
        }),
      ).toBeLessThan(1e-14);
      const p = [
        7.550292175866115, 0.39626213892899814, -0.9143655594489204, 0.39626213892899825, 6.157725952934318,
        -0.8946437312195792, -0.9143655594489201, -0.8946437312195784, 5.732673740749875,
      ];
      expect(distance(right.p, { data: p })).toBeLessThan(1e-14);
      const left = polar(tensor(formula(4, 3)).transpose(), { side: "left" });
      expect(distance(left.p, { data: p })).toBeLessThan(1e-14);
      expect(distance(flip(read(left.u)), read(right.u))).toBeLessThan(1e-14);
      // a square factor of lower rank
      const long = polar(formula(4, 3), { side: "left" });
      expect(
        distance(long.p, {
          data: [
            3.8074536835590895, -2.8247139834391897, 1.0100083317617303, -2.5503275336880478, -2.82471398343919,
            5.278511447917835, -0.584319099366355, -1.276471306406509, 1.01000833176173, -0.5843190993663548,
            5.453058905455862, -0.390644254426051, -2.5503275336880478, -1.2764713064065087, -0.39064425442605133,
            4.901667832617529,
          ],
        }),
      ).toBeLessThan(1e-14);
    });
  });
});

describe.each(DTYPES)("polar(), %s", (dtype) => {
  const ulp = ulpOf(dtype);
  const held = (a: Matrix) => ({ ...a, data: rounded(dtype, a.data) });

  test.each([
    [1, 1],
    [6, 6],
    [9, 4],
    [4, 9],
    [40, 35],
    [35, 40],
  ])("polar() of %i×%i: U orthonormal, P symmetric with A's values", (m, n) => {
    scope(() => {
      const p = Math.min(m, n);
      for (const a of [
        randomMatrix(m, n, new Random(51)),
        withValues(
          m,
          n,
          Float64Array.from({ length: p }, (_, i) => (i < p / 2 ? 1 : 0)),
          new Random(52),
        ),
      ].map(held)) {
        for (const side of ["right", "left"] as const) {
          const found = polar(place(a, dtype), { side });
          const [u, square] = [read(found.u), read(found.p)];
          const order = side === "right" ? n : m;
          expect([found.u.shape, found.p.shape, found.p.dtype]).toEqual([[m, n], [order, order], dtype]);
          const product = side === "right" ? times(u, square) : times(square, u);
          expect(distance(product, a) / (Math.max(m, n) * ulp)).toBeLessThan(20);
          expect(notOrthonormal(m < n ? flip(u) : u) / (Math.max(m, n) * ulp)).toBeLessThan(20);
          expect(square.data).toEqual(flip(square).data);
          const [of, its] = [svdvals(found.p), svdvals(place(a, dtype))];
          expect(distance({ data: of.data.slice(0, p) }, its) / (Math.max(m, n) * ulp)).toBeLessThan(20);
          for (let i = 0; i < order; i++) expect(square.data[i * (order + 1)]).toBeGreaterThan(-1e3 * ulp);
        }
      }
    });
  });

  const far = dtype === "f32" ? 120 : 1016;
  test.each([far, -far])("polar() of 2^%i·A has the same U", (k) => {
    scope(() => {
      const a = held(randomMatrix(5, 5, new Random(53)));
      const [base, lifted] = [polar(place(a, dtype)), polar(place(scaledMatrix(a, k), dtype))];
      expect(read(lifted.u)).toEqual(read(base.u));
      expect(distance(lifted.p, scaledMatrix(read(base.p), k))).toBeLessThan(10 * ulp);
    });
  });

  test("polar() where the largest value is beyond the format", () => {
    scope(() => {
      const top = dtype === "f32" ? 2 ** 127 : 2 ** 1023;
      // [[1, 1], [-1, 1]] is √2 times a rotation
      const { u, p } = polar(
        place(
          matrix(2, 2, (i, j) => (i > j ? -top : top)),
          dtype,
        ),
      );
      expect(notOrthonormal(read(u))).toBeLessThan(20 * ulp);
      expect(p.data[0] as number).toBeGreaterThan(top);
      expect([...p.data].some(Number.isNaN)).toBe(false);
    });
  });
});

describe("polar()", () => {
  test("polar() of a batch, of empty matrices", () => {
    scope(() => {
      const a = tensor(new Random(54).array(3 * 4 * 2), { shape: [3, 4, 2] });
      const { u, p } = polar(a);
      expect([u.shape, p.shape]).toEqual([
        [3, 4, 2],
        [3, 2, 2],
      ]);
      for (let i = 0; i < 3; i++) expect(distance(times(read(u, i), read(p, i)), read(a, i))).toBeLessThan(1e-14);
      expect(polar(zeros([0, 3])).p.toArray()).toEqual([
        [0, 0, 0],
        [0, 0, 0],
        [0, 0, 0],
      ]);
      expect(polar(zeros([3, 0]), { side: "left" }).p.toArray()).toEqual([
        [0, 0, 0],
        [0, 0, 0],
        [0, 0, 0],
      ]);
      expect(polar(zeros([2, 0, 0])).u.shape).toEqual([2, 0, 0]);
    });
  });
});
