// lstsq(): published data, minimum norm, rank on every route, scales, shapes, batches, numbers of NumPy.

import { describe, expect, test } from "vitest";
import { lstsq, pinv, scope, svdvals, type Tensor, tensor } from "../../bindings/index.js";
import { publishedCases } from "../support/cases.js";
import { distance, flat, flip, formula, place, read, times } from "../support/dense.js";
import { hilbert, type Matrix, matrix, randomMatrix, scaledMatrix, spectrum, withValues } from "../support/matrices.js";
import { Random } from "../support/random.js";
import { DTYPES, rounded, SmallKernel, ulpOf } from "../support/raw.js";
import { norm2 } from "../support/reference.js";

interface NistCase {
  name: string;
  design_columns: string[];
  x: number[] | number[][];
  y: number[];
  expected: { beta: number[]; residual_ss: number };
  computed: { numpy_rcond1e16_min_lre: number };
}

/** Columns of the design: powers of x, or the columns of x with a one before them. */
function design({ design_columns: names, x }: NistCase): number[][] {
  return x.map((row) =>
    names.map((name) => {
      if (name === "1") return 1;
      if (name.startsWith("x^")) return (row as number) ** Number(name.slice(2));
      return (row as number[])[Number(name.slice(1)) - 1] as number;
    }),
  );
}

/** Correct digits of the worst coefficient. */
function digits(x: ArrayLike<number>, beta: readonly number[]): number {
  return Math.min(...beta.map((b, i) => -Math.log10(Math.abs(((x[i] as number) - b) / b) || 1e-16)));
}

const nist = publishedCases<{ cases: NistCase[] }>("nist-strd-lls.json")?.cases ?? [];

describe.skipIf(nist.length === 0)("lstsq() on NIST's reference data", () => {
  test.each(nist.map((one) => [one.name, one] as const))("lstsq() of %s", (name, one) => {
    scope(() => {
      const { x, rank, residuals } = lstsq(design(one), one.y, { rcond: 1e-16 });
      expect(rank).toBe(one.design_columns.length);
      expect(digits(x.data, one.expected.beta)).toBeGreaterThan(one.computed.numpy_rcond1e16_min_lre - 1);
      const { residual_ss: squares } = one.expected;
      if (squares > 0) expect(Math.abs((residuals.data[0] as number) / squares - 1)).toBeLessThan(1e-5);
      if (name === "Filip") {
        // the usual tolerance drops a direction: the shortest solution of rank 10 is another one
        const cut = lstsq(design(one), one.y);
        expect([cut.rank, cut.residuals.shape]).toEqual([10, [0]]);
        expect(digits(cut.x.data, one.expected.beta)).toBeLessThan(1);
      }
    });
  });
});

const published =
  publishedCases<{ cases: { kind: string; name: string; input: Record<string, unknown>; expected: never }[] }>(
    "pinv-lstsq-rank.json",
  )?.cases.filter(({ kind }) => kind === "lstsq") ?? [];

describe.skipIf(published.length === 0)("lstsq() on published cases", () => {
  const find = (name: string) => {
    const found = published.find((one) => one.name === name);
    if (found === undefined) throw new Error(`no case ${name}`);
    return found as unknown as { input: Record<string, unknown>; expected: Record<string, unknown> };
  };

  test("lstsq() of scipy's overdetermined, of rank-deficient wide, of rank-one systems", () => {
    scope(() => {
      const simple = find("scipy_lstsq_simple_overdet");
      const found = lstsq(simple.input.A as never, simple.input.b as never);
      expect(distance(found.x, { data: [-3 / 7, 6 / 7] })).toBeLessThan(25 * 2 ** -52);
      const wide = find("scipy_lstsq_m_less_than_n");
      const expected = { data: flat(wide.expected.X) };
      const solved = lstsq(wide.input.A as never, wide.input.B as never);
      expect(solved.rank).toBe(2);
      expect(distance(solved.x, expected)).toBeLessThan(1e-14);
      const twice = (wide.input.A as number[][]).map((row) => row.map((x) => 2 * x));
      const both = lstsq([wide.input.A, twice] as never, wide.input.B as never);
      expect(both.x.shape).toEqual([2, 4, 2]);
      expect([...(both.rank as unknown as Int32Array)]).toEqual([2, 2]);
      expect(distance(both.x, { data: [...expected.data, ...flat(wide.expected.X_for_2A)] })).toBeLessThan(1e-14);
      const one = find("commonsmath_lstsq_rank1");
      expect(lstsq(one.input.A as never, one.input.B as never).x.toArray()).toEqual(one.expected.X);
    });
  });

  test("lstsq() of R's Longley without intercept", () => {
    scope(() => {
      const longley = nist.find(({ name }) => name === "Longley") as NistCase;
      const { x } = lstsq(longley.x as unknown as number[][], longley.y);
      const expected = find("commonsmath_longley_no_intercept").expected.x as number[];
      expect(digits(x.data, expected)).toBeGreaterThan(10);
    });
  });

  test.each(
    published.filter(({ name }) => name.startsWith("numpy_lstsq_empty")).map((one) => [one.name, one] as const),
  )("lstsq() has NumPy's shapes: %s", (_, { input, expected }) => {
    const { m, n, k } = input as unknown as { m: number; n: number; k: number };
    const wanted = expected as {
      x_shape: number[];
      residuals_shape: number[];
      rank: number;
      s_shape: number[];
      x_zero: boolean;
    };
    scope(() => {
      const a = tensor(
        Float64Array.from({ length: m * n }, (_, i) => i),
        { shape: [m, n] },
      );
      const b = tensor(new Float64Array(m * k).fill(1), { shape: [m, k] });
      const { x, residuals, rank, s } = lstsq(a, b);
      expect([x.shape, residuals.shape, rank, s.shape]).toEqual([
        wanted.x_shape,
        wanted.residuals_shape,
        wanted.rank,
        wanted.s_shape,
      ]);
      if (wanted.x_zero) expect(x.data.every((value) => value === 0)).toBe(true);
      if (n === 0 && m > 0) expect([...residuals.data]).toEqual(new Array(k).fill(m));
    });
  });
});

describe("lstsq() and NumPy", () => {
  test("lstsq() of a tall, a wide and a rank-deficient matrix", () => {
    scope(() => {
      const squares = Array.from({ length: 5 }, (_, i) => [4 * i * i, (2 * i + 1) ** 2]);
      const tall = lstsq(formula(5, 3), squares);
      expect(
        distance(tall.x, {
          data: [
            3.7604972499217473, 5.064481509636454, 5.136443487648606, 7.034693786292409, 4.114091515960676,
            6.134118218230369,
          ],
        }),
      ).toBeLessThan(1e-14);
      expect(distance(tall.residuals, { data: [3394.3970205888545, 5457.7561661162235] })).toBeLessThan(1e-14);
      expect(distance(tall.s, { data: [9.299237913479628, 7.0722688050738665, 4.988204905302321] })).toBeLessThan(
        1e-14,
      );
      const wide = lstsq(formula(3, 5), [1, 2, 3]);
      expect(
        distance(wide.x, {
          data: [-0.38416451420623876, 0.5171865686469299, 0.3217762765746076, 0.13669779455593065, 0.1887542221339161],
        }),
      ).toBeLessThan(1e-14);
      expect([wide.rank, wide.residuals.shape, wide.x.shape]).toEqual([3, [0], [5]]);
      const rows = formula(5, 3).map(([x = 0, y = 0]) => [x, y, x + y]);
      const deficient = lstsq(rows, [1, 2, 3, 4, 5]);
      expect(deficient.rank).toBe(2);
      expect(deficient.residuals.shape).toEqual([0]);
      expect(
        distance(deficient.x, { data: [0.012675967715179728, 0.20075621070936214, 0.21343217842454193] }),
      ).toBeLessThan(1e-14);
    });
  });
});

const SHAPES = [
  [1, 1],
  [7, 7],
  [20, 6],
  [6, 20],
  [65, 33],
  [33, 65],
  [3, 1],
  [1, 3],
] as const;

describe.each(DTYPES)("lstsq(), %s", (dtype) => {
  const ulp = ulpOf(dtype);
  const held = (a: Matrix) => ({ ...a, data: rounded(dtype, a.data) });

  test.each(SHAPES)(
    "lstsq() of %i×%i: residual orthogonal to the range, x in the range of Aᵀ, on both routes",
    (m, n) => {
      scope(() => {
        const random = new Random(8);
        const p = Math.min(m, n);
        for (const rank of new Set([p, Math.ceil(p / 2)])) {
          const values = Float64Array.from({ length: p }, (_, i) => (i < rank ? 1 + i / p : 0))
            .sort()
            .reverse();
          const a = held(withValues(m, n, values, random));
          const b = held(randomMatrix(m, 3, random));
          // in f32 the rounded matrix has full rank: the tolerance tells
          const found = lstsq(place(a, dtype), place(b, dtype), { rcond: 1e3 * ulp });
          expect(found.rank).toBe(rank);
          const x = read(found.x);
          const residual = times(a, x);
          residual.data.forEach((y, i) => {
            residual.data[i] = y - (b.data[i] as number);
          });
          expect(norm2(times(flip(a), residual).data) / (norm2(b.data) * Math.max(m, n) * ulp)).toBeLessThan(
            rank < p ? 200 : 20,
          );
          // minimum norm: nothing of x lies in the null space, A⁺·A·x = x
          const inverse = read(pinv(place(a, dtype), { rtol: 1e3 * ulp }));
          expect(distance(times(inverse, a, x), x) / (Math.max(m, n) * ulp)).toBeLessThan(100);
          expect(distance(found.s, svdvals(place(a, dtype))) / (Math.max(m, n) * ulp)).toBeLessThan(5);
          if (rank === n && m > n) {
            const squares = [0, 1, 2].map((j) => norm2(residual.data.filter((_, at) => at % 3 === j)) ** 2);
            expect(distance(found.residuals, { data: squares })).toBeLessThan(100 * Math.max(m, n) * ulp);
          } else {
            expect(found.residuals.shape).toEqual([0]);
          }
        }
      });
    },
  );

  test("lstsq() solves through the triangle and through its SVD alike", () => {
    scope(() => {
      // just above and just below what the tolerance and rounding allow, so that the routes meet
      for (const [m, n] of [
        [30, 10],
        [10, 30],
      ] as const) {
        for (const condition of [0.001, 0.05, 0.4].map((share) => share / ulp)) {
          const a = held(withValues(m, n, spectrum(3, 10, condition), new Random(9)));
          const x = held(randomMatrix(n, 1, new Random(10)));
          const b = held(times(a, x));
          const found = lstsq(place(a, dtype), place(b, dtype), { rcond: 0 });
          expect(found.rank).toBe(10);
          const back = times(a, read(found.x));
          expect(distance(back, b)).toBeLessThan(100 * ulp * (1 + norm2(read(found.x).data) / norm2(b.data)));
        }
      }
    });
  });

  const far = dtype === "f32" ? 116 : 996;
  test.each([
    [far, 0],
    [-far, 0],
    [0, far],
    [0, -far],
    [far, far],
    [-far, -far],
    [far, -3],
  ])("lstsq() of 2^%i·A and 2^%i·b: x times the quotient, bit for bit", (i, j) => {
    scope(() => {
      for (const [m, n] of [
        [9, 4],
        [4, 9],
      ] as const) {
        for (const rank of [4, 2]) {
          const values = [2, 1.5, 1, 0.5].map((value, at) => (at < rank ? value : 0));
          const a = held(withValues(m, n, values, new Random(11)));
          const b = held(randomMatrix(m, 2, new Random(12)));
          const options = { rcond: 100 * ulp };
          const base = lstsq(place(a, dtype), place(b, dtype), options);
          const lifted = lstsq(place(scaledMatrix(a, i), dtype), place(scaledMatrix(b, j), dtype), options);
          expect(lifted.rank).toBe(rank);
          expect(read(lifted.x)).toEqual({
            ...read(base.x),
            data: rounded(dtype, scaledMatrix(read(base.x), j - i).data),
          });
          expect([...lifted.s.data.slice(0, rank)]).toEqual([
            ...scaledMatrix({ m: 1, n: rank, data: Float64Array.from(base.s.data.slice(0, rank)) }, i).data,
          ]);
        }
      }
    });
  });

  test("lstsq() scales each right-hand side by itself", () => {
    scope(() => {
      const a = held(randomMatrix(8, 3, new Random(13)));
      const c = held(randomMatrix(8, 1, new Random(14)));
      const sizes = [2 ** far, 1, 2 ** -far];
      const b = matrix(8, 3, (row, j) => (c.data[row] as number) * (sizes[j] as number));
      const { x } = lstsq(place(a, dtype), place(b, dtype));
      for (let j = 0; j < 3; j++) {
        const column = [0, 1, 2].map((row) => (x.data[row * 3 + j] as number) / (sizes[j] as number));
        expect(column).toEqual([0, 1, 2].map((row) => x.data[row * 3 + 1]));
      }
    });
  });

  test("lstsq() of a zero matrix is zero, of a singular triangle finite with rcond 0", () => {
    scope(() => {
      const zero = lstsq(
        place(
          matrix(4, 3, () => 0),
          dtype,
        ),
        place(
          matrix(4, 2, () => 1),
          dtype,
        ),
      );
      expect([zero.rank, [...zero.x.data], [...zero.s.data]]).toEqual([0, [0, 0, 0, 0, 0, 0], [0, 0, 0]]);
      const a = matrix(3, 3, (i, j) => (j === 2 ? 0 : i + 2 * j + i * j));
      const found = lstsq(
        place(a, dtype),
        place(
          matrix(3, 1, (i) => i),
          dtype,
        ),
        { rcond: 0 },
      );
      expect([...found.x.data].every(Number.isFinite)).toBe(true);
      expect(
        lstsq(
          place(a, dtype),
          place(
            matrix(3, 1, (i) => i),
            dtype,
          ),
          { rcond: 1 },
        ).rank,
      ).toBe(0);
    });
  });
});

describe("lstsq()", () => {
  test("lstsq() of Hilbert's matrix has a small residual whatever the tolerance", () => {
    scope(() => {
      const a = hilbert(12, 8);
      const b = matrix(12, 1, (i) => 1 / (i + 1));
      for (const rcond of [1e-16, 1e-12, 1e-6]) {
        const { x, rank } = lstsq(place(a), place(b), { rcond });
        expect(rank).toBeLessThan(9);
        expect(distance(times(a, read(x)), b)).toBeLessThan(Math.max(1e-14, 10 * rcond));
      }
    });
  });

  test("lstsq() of batches: of both, of a alone, of b alone; views", () => {
    scope(() => {
      const random = new Random(15);
      const a = tensor(random.array(3 * 6 * 4), { shape: [3, 6, 4] });
      const b = tensor(random.array(3 * 6 * 2), { shape: [3, 6, 2] });
      const one = (t: Tensor, i: number) => tensor((t.subtensor(i, i + 1).toArray() as number[][][])[0] as number[][]);
      const both = lstsq<Int32Array>(a, b);
      const shared = lstsq<Int32Array>(a, one(b, 0));
      const many = lstsq(one(a, 0), b);
      const column = lstsq(a, tensor([1, 2, 3, 4, 5, 6]));
      expect([both.x.shape, shared.x.shape, many.x.shape, column.x.shape]).toEqual([
        [3, 4, 2],
        [3, 4, 2],
        [3, 4, 2],
        [3, 4],
      ]);
      expect([both.residuals.shape, column.residuals.shape, both.s.shape, many.s.shape]).toEqual([
        [3, 2],
        [3, 1],
        [3, 4],
        [4],
      ]);
      expect([...both.rank]).toEqual([4, 4, 4]);
      expect(many.rank).toBe(4);
      for (let i = 0; i < 3; i++) {
        expect(read(both.x, i)).toEqual(read(lstsq(one(a, i), one(b, i)).x));
        expect(read(shared.x, i)).toEqual(read(lstsq(one(a, i), one(b, 0)).x));
        expect(read(many.x, i)).toEqual(read(lstsq(one(a, 0), one(b, i)).x));
      }
      // a column of a matrix is a vector with a stride
      const strided = { data: b.toTyped(), shape: [6], strides: [2], offset: 1 };
      const second = read(b, 0).data.filter((_, at) => at % 2 === 1);
      expect(lstsq(one(a, 0), strided).x.toArray()).toEqual(lstsq(one(a, 0), second).x.toArray());
      const transposed = tensor(flip(read(a, 0)).data, { shape: [4, 6] }).transpose();
      expect(lstsq(transposed, second).x.toArray()).toEqual(lstsq(one(a, 0), second).x.toArray());
    });
  });

  test("lstsq() cut into single steps gives the same bits", () => {
    const answers = [0, 3e7].map((slice) => {
      const small = new SmallKernel(120);
      const { lstsq: solve, lstsqBegin, lstsqScratch } = small.routines("f64");
      const found: number[] = [];
      for (const [m, n, rcond] of [
        [70, 40, 1e-14],
        [40, 70, 1e-14],
        [50, 40, 0.3],
        [40, 50, 0.3],
      ] as const) {
        const k = 3;
        const random = new Random(16);
        let at = small.base;
        const take = (count: number) => {
          const pointer = at;
          at += Math.ceil((8 * count) / 64) * 64;
          return pointer;
        };
        const [a, b, x, s, residuals] = [m * n, m * k, n * k, Math.min(m, n), k].map(take) as [
          number,
          number,
          number,
          number,
          number,
        ];
        small.view("f64", a, m * n).set(random.array(m * n));
        small.view("f64", b, m * k).set(random.array(m * k));
        const work = take(lstsqScratch(m, n, k) / 8);
        small.common.setSlice(slice);
        lstsqBegin(work);
        let slices = 1;
        while (solve(m, n, k, a, n, 1, b, k, 1, rcond, x, s, residuals, work) === -1) slices++;
        expect(slices > 50).toBe(slice === 0);
        found.push(...small.view("f64", x, n * k), ...small.view("f64", s, Math.min(m, n)));
      }
      return found;
    });
    expect(answers[0]).toEqual(answers[1]);
  });
});
