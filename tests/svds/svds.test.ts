import { describe, expect, test } from "vitest";
import {
  ConvergenceError,
  type Csr,
  capabilities,
  csr,
  type DType,
  type LinearOperator,
  matmul,
  NonFiniteError,
  type Svds,
  svds,
  svdvals,
  type Tensor,
  tensor,
} from "../../bindings/index.js";
import { product } from "../sparse/reference.js";
import { refuses } from "../support/bad_input.js";
import { Random } from "../support/random.js";
import { DTYPES, typed } from "../support/raw.js";

/** A sparse matrix from its entries; zeros are not stored. */
function sparse(dtype: DType, m: number, n: number, entry: (i: number, j: number) => number): Csr {
  const [rows, cols, values]: [number[], number[], number[]] = [[], [], []];
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      const value = entry(i, j);
      if (value === 0) continue;
      rows.push(i);
      cols.push(j);
      values.push(value);
    }
  }
  return csr.fromCoo(rows, cols, typed(dtype, values), [m, n]);
}

const diagonal = (dtype: DType, m: number, n: number, values: readonly number[]) =>
  sparse(dtype, m, n, (i, j) => (i === j ? (values[i] ?? 0) : 0));

const operatorOf = (a: Csr): LinearOperator => ({
  shape: a.shape,
  dtype: a.dtype,
  apply: (x) => a.multiply(x),
  applyTransposed: (y) => a.multiplyTransposed(y),
});

/** Residuals and orthogonality by plain arithmetic in f64; `tolerance` over the largest value. */
function verify(a: ArrayLike<number>, { u, s, vt, residuals }: Svds, tolerance: number): void {
  const [m, k] = u.shape as [number, number];
  const n = vt.shape[1] as number;
  expect(s.shape).toEqual([k]);
  expect(vt.shape).toEqual([k, n]);
  expect(residuals.shape).toEqual([k]);
  const [su, sv, values] = [u.toTyped(), vt.transpose().toTyped(), s.toTyped()];
  const largest = values[0] ?? 0;
  const av = product(a, m, n, sv, k, false);
  const atu = product(a, m, n, su, k, true);
  const norm = (of: Float64Array, by: ArrayLike<number>, rows: number, j: number) => {
    let sum = 0;
    for (let i = 0; i < rows; i++) {
      sum += ((of[i * k + j] as number) - (values[j] as number) * (by[i * k + j] as number)) ** 2;
    }
    return Math.sqrt(sum);
  };
  for (let j = 0; j < k; j++) {
    if (j > 0) expect(values[j]).toBeLessThanOrEqual(values[j - 1] as number);
    expect(values[j]).toBeGreaterThanOrEqual(0);
    const worst = Math.max(norm(av, su, m, j), norm(atu, sv, n, j));
    expect(worst).toBeLessThanOrEqual(tolerance * largest);
    expect(Math.abs(worst - (residuals.data[j] as number))).toBeLessThanOrEqual(tolerance * largest);
  }
  for (const [rows, x] of [
    [m, su],
    [n, sv],
  ] as const) {
    for (let p = 0; p < k; p++) {
      for (let q = 0; q <= p; q++) {
        let sum = 0;
        for (let i = 0; i < rows; i++) sum += (x[i * k + p] as number) * (x[i * k + q] as number);
        expect(Math.abs(sum - (p === q ? 1 : 0))).toBeLessThan(Math.min(1e-4, 10 * tolerance));
      }
    }
  }
}

const TOLERANCE = { f32: 1e-5, f64: 1e-10 };

function expectValues(found: Svds, expected: readonly number[], tolerance: number): void {
  expect(found.s.size).toBe(expected.length);
  expected.forEach((value, i) => {
    expect(Math.abs((found.s.data[i] as number) - value)).toBeLessThanOrEqual(tolerance * (expected[0] as number));
  });
}

/** 1935 entries among 300×200; its largest values by SciPy's svds and NumPy's svd, which agree to all digits given. */
const formula = (i: number, j: number) =>
  (i * 7 + j * 13) % 31 === 0 ? (((i * i * 17 + j * 29 + i * j) % 23) - 11) / 8 : 0;
const FORMULA_VALUES: readonly number[] = [
  4.176420405461211, 4.145003718038199, 4.071880693281115, 4.05590450860867, 4.051715941785727, 4.03662648891341,
];

describe.each(DTYPES)("svds() %s", (dtype) => {
  const tolerance = TOLERANCE[dtype];

  test("SciPy's values of a sparse matrix: dense, sparse, as an operator, tall and wide, whatever the seed", () => {
    using a = sparse(dtype, 300, 200, formula);
    const dense = a.toDense();
    const entries = dense.toTyped();
    using t = a.transpose();
    for (const one of [a, dense, operatorOf(a), dense.transpose(), t, operatorOf(t)]) {
      const found = svds(one as Csr, 6, { seed: 4 });
      expect(found.u.dtype).toBe(dtype);
      expectValues(found, FORMULA_VALUES, tolerance);
      verify(one.shape[0] === 300 ? entries : t.toDense().toTyped(), found, tolerance);
    }
    const [x, y, z] = [svds(a, 6), svds(a, 6), svds(a, 6, { seed: 1 })];
    expect(y.u.toTyped()).toEqual(x.u.toTyped());
    expect(z.u.toTyped()).not.toEqual(x.u.toTyped());
    expectValues(z, FORMULA_VALUES, tolerance);
  });

  test("a bidiagonal matrix of differences: 2·cos(jπ/(2(n + 1)))", () => {
    const n = 300;
    using a = sparse(dtype, n, n + 1, (i, j) => (j === i ? 1 : j === i + 1 ? -1 : 0));
    const found = svds(a, 4);
    expectValues(
      found,
      [1, 2, 3, 4].map((j) => 2 * Math.cos((j * Math.PI) / (2 * (n + 1)))),
      tolerance,
    );
    verify(a.toDense().toTyped(), found, tolerance);
  });

  test("Poisson's equation on a square, where values come in pairs", () => {
    const side = 14;
    const line = (i: number, j: number) => (i === j ? 2 : Math.abs(i - j) === 1 ? -1 : 0);
    using a = sparse(dtype, side * side, side * side, (i, j) => {
      const [r, c, p, q] = [Math.floor(i / side), i % side, Math.floor(j / side), j % side];
      return (r === p ? line(c, q) : 0) + (c === q ? line(r, p) : 0);
    });
    const roots = Array.from({ length: side }, (_, j) => 4 * Math.sin(((j + 1) * Math.PI) / (2 * (side + 1))) ** 2);
    const all = roots.flatMap((x) => roots.map((y) => x + y)).sort((x, y) => y - x);
    for (const k of [1, 2, 3, 8, 11]) {
      const found = svds(a, k);
      expectValues(found, all.slice(0, k), tolerance);
      verify(a.toDense().toTyped(), found, tolerance);
    }
  });

  test("multiple values with their multiplicity: copies of one matrix, a multiple of the identity, blocks of it", () => {
    const one = svdvals(sparse(dtype, 60, 40, formula).toDense()).toTyped();
    for (const copies of [2, 3, 5]) {
      using a = sparse(dtype, 60 * copies, 40 * copies, (i, j) =>
        Math.floor(i / 60) === Math.floor(j / 40) ? formula(i % 60, j % 40) : 0,
      );
      const expected = [...one].flatMap((value) => new Array<number>(copies).fill(value)).slice(0, 7);
      const found = svds(a, 7);
      expectValues(found, expected, 4 * tolerance);
      verify(a.toDense().toTyped(), found, tolerance);
    }
    const identity = svds(diagonal(dtype, 90, 120, new Array(90).fill(3)), 6);
    expectValues(identity, new Array(6).fill(3), tolerance);
    const values = Array.from({ length: 150 }, (_, i) => (i < 9 ? 5 : i < 12 ? 2 : 1 / i));
    using blocks = diagonal(dtype, 150, 150, values);
    const found = svds(blocks, 13);
    expectValues(found, values.slice(0, 13), tolerance);
    verify(blocks.toDense().toTyped(), found, tolerance);
  });

  test("clusters: values that differ in the sixth digit", () => {
    const gap = dtype === "f32" ? 1e-3 : 1e-6;
    const values = Array.from({ length: 200 }, (_, i) => (i < 8 ? 1 + (7 - i) * gap : 0.9 - i / 400));
    using a = diagonal(dtype, 230, 200, values);
    const found = svds(a, 8);
    expectValues(found, values.slice(0, 8), tolerance);
    verify(a.toDense().toTyped(), found, tolerance);
  });

  test("matrices without rank, with less rank than k, and of extreme scale", () => {
    const zero = svds(csr.fromCoo([], [], typed(dtype, []), [100, 130]), 5);
    expect([...zero.s.data, ...zero.residuals.data]).toEqual(new Array(10).fill(0));
    verify(new Float64Array(13000), zero, tolerance);
    for (const scale of dtype === "f32" ? [1, 2 ** 100, 2 ** -100] : [1, 2 ** 900, 2 ** -900]) {
      const values = [3 * scale, 2 * scale, scale];
      using a = diagonal(dtype, 120, 100, values);
      const found = svds(a, 6);
      expectValues(found, [...values, 0, 0, 0], tolerance);
      const scaled = found.s.toTyped().map((value) => value / scale);
      const residuals = found.residuals.toTyped().map((value) => value / scale);
      verify(
        a
          .toDense()
          .toTyped()
          .map((value) => value / scale),
        { ...found, s: tensor(scaled as Float64Array), residuals: tensor(residuals as Float64Array) } as Svds,
        tolerance,
      );
    }
    const random = new Random(3);
    const [b, c] = [
      tensor(typed(dtype, random.array(400)), { shape: [200, 2] }),
      tensor(typed(dtype, random.array(300)), { shape: [2, 150] }),
    ];
    const a = matmul(b, c);
    const found = svds(a, 4);
    expect(found.s.data[2] as number).toBeLessThan(tolerance * (found.s.data[0] as number));
    verify(a.toTyped(), found, tolerance);
  });

  test("every k of small matrices, which are decomposed in full: equal to svdvals()", () => {
    for (const [m, n] of [
      [1, 1],
      [1, 7],
      [7, 1],
      [5, 8],
      [30, 12],
    ] as const) {
      using a = sparse(dtype, m, n, (i, j) => formula(i, 3 * j) + Math.cos(i + 2 * j));
      const all = [...svdvals(a.toDense()).data];
      for (let k = 1; k <= Math.min(m, n); k++) {
        for (const one of [a, a.toDense(), operatorOf(a)]) {
          const found = svds(one as Csr, k);
          expectValues(found, all.slice(0, k), tolerance);
          verify(a.toDense().toTyped(), found, tolerance);
        }
      }
    }
  });

  test("empty matrices have no values", () => {
    for (const [m, n] of [
      [0, 0],
      [0, 4],
      [4, 0],
    ] as const) {
      const a = csr.fromCoo([], [], typed(dtype, []), [m, n]);
      for (const one of [a, a.toDense(), operatorOf(a)]) {
        const { u, s, vt, residuals } = svds(one as Csr, 0);
        expect([u.shape, s.shape, vt.shape, residuals.shape]).toEqual([[m, 0], [0], [0, n], [0]]);
      }
    }
  });
});

describe("svds()", () => {
  const random = new Random(11);
  const entries = random.array(150 * 130);

  test("residuals keep to the tolerance, which saves work; beyond rounding it cannot be reached", () => {
    const a = tensor(entries, { shape: [150, 130] });
    const cycles = [1e-3, 1e-6, 1e-12].map((tolerance) => {
      let count = 0;
      const found = svds(a, 3, { tolerance, onProgress: () => count++ });
      verify(entries, found, tolerance);
      expect(Math.max(...found.residuals.data)).toBeLessThanOrEqual(tolerance * (found.s.data[0] as number));
      return count;
    });
    expect(cycles[0]).toBeLessThan(cycles[2] as number);
    const { usedBytes } = capabilities();
    expect(() => svds(a, 3, { tolerance: 1e-18, maxRestarts: 40 })).toThrow(ConvergenceError);
    expect(() =>
      svds(tensor(Float32Array.from(entries), { shape: [150, 130] }), 3, { tolerance: 1e-10, maxRestarts: 40 }),
    ).toThrow(ConvergenceError);
    expect(capabilities().usedBytes - usedBytes).toBeLessThan(150 * 130 * 4 + 4096);
  });

  test("too few restarts: ConvergenceError with how many values are missing", () => {
    const a = tensor(entries, { shape: [150, 130] });
    let error: unknown;
    try {
      svds(a, 5, { maxRestarts: 0 });
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(ConvergenceError);
    expect((error as ConvergenceError).failed).toBeGreaterThanOrEqual(1);
    expect((error as ConvergenceError).failed).toBeLessThanOrEqual(5);
    expect(svds(a, 5, { maxRestarts: 60 }).s.size).toBe(5);
  });

  test("progress ends at k; an abort ends the call with the signal's reason and leaves nothing", () => {
    const a = tensor(entries, { shape: [150, 130] });
    const steps: { done: number; total: number }[] = [];
    svds(a, 3, { onProgress: (step) => steps.push(step) });
    expect(steps.length).toBeGreaterThan(1);
    expect(steps.every(({ done, total }) => done >= 0 && done <= total && total === 3)).toBe(true);
    expect(steps.at(-1)).toEqual({ done: 3, total: 3 });
    const { usedBytes } = capabilities();
    const controller = new AbortController();
    const reason = new Error("enough");
    expect(() => svds(a, 3, { onProgress: () => controller.abort(reason), signal: controller.signal })).toThrow(reason);
    expect(() => svds(a, 3, { signal: controller.signal })).toThrow(reason);
    expect(capabilities().usedBytes).toBe(usedBytes);
  });

  test("an operator gets columns that end with the call; its results stay its own and are copied", () => {
    using a = sparse("f64", 130, 120, formula);
    const kept: Tensor[] = [];
    const [out, back] = [
      tensor(new Float64Array(130), { shape: [130, 1] }),
      tensor(new Float64Array(120), { shape: [120, 1] }),
    ];
    const copy = (to: Tensor, from: Tensor) => {
      if (to.size !== from.size) return from;
      (to.data as Float64Array).set(from.data as Float64Array);
      return to;
    };
    const operator: LinearOperator = {
      shape: [130, 120],
      dtype: "f64",
      apply(x) {
        expect(x.shape[0]).toBe(120);
        expect(x.ndim).toBe(2);
        kept.push(x);
        return copy(out, a.multiply(x));
      },
      applyTransposed: (y) => copy(back, a.multiplyTransposed(y)),
    };
    const found = svds(operator, 4);
    expect([...found.s.data]).toEqual([...svds(a, 4).s.data]);
    expect(kept.length).toBeGreaterThan(5);
    for (const x of kept) expect(() => x.data).toThrow("disposed");
    expect(out.data.length + back.data.length).toBe(250);
    // a result with strides is taken as it is
    const strided = svds({ ...operator, apply: (x) => matmul(x.transpose(), a.toDense().transpose()).transpose() }, 4);
    expectValues(strided, [...found.s.data], 1e-10);
  });

  test("what an operator throws goes through, what it returns is checked, memory comes back", () => {
    using a = sparse("f64", 130, 120, formula);
    const good = operatorOf(a);
    const bad = (change: object) => () => svds({ ...good, ...change } as never, 3);
    const { usedBytes } = capabilities();
    const thrown = new Error("mine");
    let calls = 0;
    const later = (f: () => unknown) => (x: Tensor) => (++calls % 7 === 0 ? f() : a.multiply(x));
    expect(
      bad({
        apply: later(() => {
          throw thrown;
        }),
      }),
    ).toThrow(thrown);
    const nan = new Float64Array(120);
    nan[7] = NaN;
    let error: unknown;
    try {
      bad({ applyTransposed: () => tensor(nan, { shape: [120, 1] }) })();
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(NonFiniteError);
    expect(error).toMatchObject({ argument: "a.applyTransposed", index: [7, 0] });
    expect(capabilities().usedBytes).toBe(usedBytes);
    refuses([
      ["no apply", bad({ apply: undefined }), TypeError, /"a.apply" expected a function/],
      ["no applyTransposed", bad({ applyTransposed: 3 }), TypeError, /"a.applyTransposed" expected a function, got 3/],
      ["no shape", bad({ shape: undefined }), TypeError, /"a.shape"/],
      ["three axes", bad({ shape: [1, 2, 3] }), RangeError, /"a.shape"/],
      ["no dtype", bad({ dtype: undefined }), TypeError, /"a.dtype"/],
      ["wrong dtype", bad({ dtype: "f16" }), RangeError, /"a.dtype"/],
      [
        "wrong shape",
        bad({ apply: later(() => tensor([[1], [2]])) }),
        RangeError,
        '"a.apply" expected a result of shape (130, 1), got (2, 1)',
      ],
      [
        "a vector",
        bad({ apply: later(() => tensor(new Float64Array(130))) }),
        RangeError,
        /"a.apply" expected a result of shape \(130, 1\), got \(130,\)/,
      ],
      [
        "f32",
        bad({ apply: later(() => tensor(new Float32Array(130), { shape: [130, 1] })) }),
        TypeError,
        /"a.apply" expected a result in f64, got f32/,
      ],
      [
        "no tensor",
        bad({ apply: later(() => new Float64Array(130)) }),
        TypeError,
        /"a.apply" expected a result that is a Tensor, got Float64Array/,
      ],
      ["a promise", bad({ apply: async () => {} }), TypeError, /"a.apply"/],
    ]);
  });

  test("wrong arguments are refused", () => {
    const a = tensor(entries, { shape: [150, 130] });
    using withNaN = csr({ data: [1, NaN], indices: [2, 0], indptr: [0, 1, 1, 2], shape: [3, 3] });
    const call = (k: unknown, options?: object) => () => svds(a, k as never, options as never);
    expect(() => svds(withNaN, 1)).toThrow(NonFiniteError);
    expect(() => svds(withNaN, 1)).toThrow('"a" expected finite numbers, got NaN at [2, 0]');
    expect(() => svds([[1, Infinity]], 1)).toThrow(NonFiniteError);
    refuses(
      [
        ["k 0", call(0), RangeError, '"k" expected an integer in [1, 130], got 0'],
        ["k too large", call(131), RangeError, '"k" expected an integer in [1, 130], got 131'],
        ["k fractional", call(1.5), RangeError, /"k"/],
        ["k text", call("3"), TypeError, /"k"/],
        ["k missing", call(undefined), TypeError, /"k"/],
        ["tolerance 0", call(3, { tolerance: 0 }), RangeError, /"tolerance"/],
        ["tolerance NaN", call(3, { tolerance: NaN }), RangeError, /"tolerance"/],
        ["tolerance text", call(3, { tolerance: "1" }), TypeError, /"tolerance"/],
        ["maxRestarts", call(3, { maxRestarts: -1 }), RangeError, /"maxRestarts"/],
        ["seed", call(3, { seed: -1 }), RangeError, /"seed"/],
        ["onProgress", call(3, { onProgress: 1 }), TypeError, /"onProgress"/],
        ["signal", call(3, { signal: {} }), TypeError, /"signal"/],
        ["typo", call(3, { tol: 1 }), TypeError, /"tol"/],
        ["options null", call(3, null as never), TypeError, /"options"/],
        ["a vector", () => svds([1, 2, 3], 1), RangeError, /"a"/],
        ["a batch", () => svds([[[1, 2]]], 1), RangeError, /"a"/],
        ["nothing", () => svds(null as never, 1), TypeError, /"a"/],
        ["k of nothing", () => svds(tensor([], { shape: [0, 3] }), 1), RangeError, /"k"/],
      ],
      [a],
    );
  });
});
