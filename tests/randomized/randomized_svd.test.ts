// randomizedSvd(): scikit-learn's properties, NumPy's numbers, the error bounds against errors that are computed in twice the
// precision, memory, progress, wrong arguments.

import { describe, expect, test } from "vitest";
import {
  capabilities,
  csr,
  empty,
  type LinearOperator,
  matmul,
  NonFiniteError,
  type RandomizedSvdOptions,
  randomizedSvd,
  scope,
  svd,
  svdvals,
  type Tensor,
  tensor,
  zeros,
} from "../../bindings/index.js";
import { kernel } from "../../bindings/load.js";
import { notOptions, notTensors, refuses } from "../support/bad_input.js";
import { BUILD } from "../support/build.js";
import { type Matrix, matrix, randomMatrix, scaledMatrix, withValues } from "../support/matrices.js";
import { Random } from "../support/random.js";
import { DTYPES, roundoff, typed } from "../support/raw.js";
import { residualNorms, wrongBounds } from "./bounds.js";

const random = new Random(29);

function place({ m, n, data }: Matrix, dtype: "f32" | "f64" = "f64"): Tensor {
  return tensor(typed(dtype, data), { shape: [m, n] });
}

/** sklearn.datasets.make_low_rank_matrix: a bell of effective rank 5 and a tail. */
function lowRankMatrix(m: number, n: number, tail: number): Matrix {
  const d = Float64Array.from(
    { length: Math.min(m, n) },
    (_, i) => (1 - tail) * Math.exp(-((i / 5) ** 2)) + tail * Math.exp((-0.1 * i) / 5),
  );
  return withValues(m, n, d, random);
}

const lowRank = lowRankMatrix(100, 200, 0);
const noisy = lowRankMatrix(100, 200, 0.1);
const flat = lowRankMatrix(100, 200, 1);

function worstDistance(x: Tensor, y: Tensor, count: number): number {
  const [a, b] = [x.toTyped(), y.toTyped()];
  let most = 0;
  for (let i = 0; i < count; i++) most = Math.max(most, Math.abs((a[i] as number) - (b[i] as number)));
  return most;
}

describe.each(DTYPES)("randomizedSvd(), scikit-learn's properties, %s", (dtype) => {
  const normalizers = ["auto", "lu", "qr", "none"] as const;

  test.each(normalizers)("randomizedSvd() agrees with svd() on a matrix of low rank, normalizer %s", (normalizer) => {
    const a = place(lowRank, dtype);
    const exact = svd(a);
    // without a normaliser, each round squares the condition of the vectors
    const found = randomizedSvd(a, 10, { normalizer, powerIterations: normalizer === "none" ? 1 : "auto" });
    const digits = dtype === "f64" ? 5e-8 : 5e-6;
    expect(found.u.shape).toEqual([100, 10]);
    expect(found.vt.shape).toEqual([10, 200]);
    expect([found.u.dtype, found.s.dtype, found.vt.dtype]).toEqual([dtype, dtype, dtype]);
    expect(worstDistance(found.s, exact.s, 10)).toBeLessThan(digits);
    // the products of pairs of vectors, whose signs may differ
    const product = (u: Tensor, vt: Tensor) => matmul(tensor(u.subtensor(0, 100)), vt);
    const first = tensor(
      typed(
        dtype,
        Array.from({ length: 1000 }, (_, i) => exact.u.data[Math.floor(i / 10) * 100 + (i % 10)] as number),
      ),
      { shape: [100, 10] },
    );
    const worst = worstDistance(product(found.u, found.vt), product(first, exact.vt.subtensor(0, 10)), 100 * 200);
    expect(worst).toBeLessThan(dtype === "f64" ? 5e-8 : 2e-4);
  });

  test("randomizedSvd() needs power iterations where there is noise, and is right with them", () => {
    for (const [a, worse] of [
      [noisy, 0.01],
      [flat, 0.1],
    ] as const) {
      const placed = place(a, dtype);
      const exact = svdvals(placed);
      const raw = randomizedSvd(placed, 10, { powerIterations: 0, normalizer: "none", oversamples: 0 });
      expect(worstDistance(raw.s, exact, 10)).toBeGreaterThan(worse);
      for (const normalizer of normalizers) {
        if (normalizer === "none" && dtype === "f32") continue;
        const found = randomizedSvd(placed, 10, { powerIterations: a === noisy ? 7 : 20, normalizer });
        expect(worstDistance(found.s, exact, 10)).toBeLessThan(5e-4);
      }
    }
  });

  test("randomizedSvd() of a transposed matrix gives the same values and the vectors exchanged", () => {
    for (const a of [lowRank, noisy, randomMatrix(30, 30, random)]) {
      const placed = place(a, dtype);
      const [one, other] = [randomizedSvd(placed, 4), randomizedSvd(placed.transpose(), 4)];
      if (a.m !== a.n) expect(other.s.toTyped()).toEqual(one.s.toTyped());
      else expect(worstDistance(other.s, one.s, 4)).toBeLessThan(dtype === "f32" ? 1e-3 : 1e-3);
      const [m, n] = [a.m, a.n];
      if (a.m === a.n) continue;
      const [u, v] = [one.u.data, other.vt.data];
      for (let j = 0; j < 4; j++) {
        const sign = Math.sign((u[j] as number) * (v[j * m] as number));
        for (let i = 0; i < m; i++)
          expect(Math.abs((u[i * 4 + j] as number) - sign * (v[j * m + i] as number))).toBeLessThan(
            100 * roundoff(dtype),
          );
      }
      expect(n).toBe(other.u.shape[0]);
    }
  });

  test("randomizedSvd() makes the largest entry of each column of U positive", () => {
    const { u } = randomizedSvd(place(noisy, dtype), 10, { seed: 3 });
    for (let j = 0; j < 10; j++) {
      const column = Array.from({ length: 100 }, (_, i) => u.data[i * 10 + j] as number);
      const most = column.reduce((best, x) => (Math.abs(x) > Math.abs(best) ? x : best), 0);
      expect(most).toBeGreaterThan(0);
    }
  });

  test("randomizedSvd() gives the same bits for the same seed, others for another", () => {
    const a = place(flat, dtype);
    const bits = (options: RandomizedSvdOptions) => {
      const { u, s, vt, errorBound } = randomizedSvd(a, 6, options);
      return [u.toTyped(), s.toTyped(), vt.toTyped(), errorBound];
    };
    const one = bits({ seed: 4 });
    expect(bits({ seed: 4 })).toEqual(one);
    expect(bits({ seed: 5 })).not.toEqual(one);
    expect(bits({})).toEqual(bits({ seed: 0, oversamples: 10, powerIterations: 7, normalizer: "lu" }));
    expect(bits({})).not.toEqual(bits({ powerIterations: 4 }));
    // k = 10 is not below a tenth of 100
    const k10 = (options: RandomizedSvdOptions) => randomizedSvd(a, 10, options).s.toTyped();
    expect(k10({})).toEqual(k10({ powerIterations: 4 }));
    expect(k10({ powerIterations: 2 })).toEqual(k10({ powerIterations: 2, normalizer: "none" }));
  });

  test("randomizedSvd() gives NumPy's numbers", () => {
    const tolerance = dtype === "f64" ? 1e-13 : 2e-6;
    const near = (got: ArrayLike<number>, wanted: readonly number[], scale = 1) => {
      for (const [i, value] of wanted.entries())
        expect(Math.abs((got[i] as number) - value)).toBeLessThan(scale * tolerance);
    };
    const cauchy = randomizedSvd(
      place(
        matrix(60, 45, (i, j) => 1 / (1 + i + 2 * j)),
        dtype,
      ),
      6,
    );
    near(
      cauchy.s.data,
      [
        1.6747072086397, 0.6068518450168324, 0.13574795627473565, 0.02447713073176289, 0.0038480205904338877,
        0.0005414865625232591,
      ],
    );
    const column = (j: number) => [0, 1, 2].map((i) => cauchy.u.data[i * 6 + j] as number);
    near(column(0), [0.6236803065345425, 0.37638907742150085, 0.2840784286116743]);
    near(cauchy.vt.data, [0.7295417448004331, 0.3648431494512536, 0.2637376034343878]);
    near(column(1), [0.6035534131105758, 0.13994071841255484, 6.803911527633599e-5], 3);
    near(cauchy.vt.data.subarray(45), [0.6033277874515945, -0.044896106814439785, -0.1470887575497553], 3);
    const band = randomizedSvd(
      place(
        matrix(60, 45, (i, j) => Math.exp(-(((i - 1.5 * j) / 9) ** 2))),
        dtype,
      ),
      4,
      { powerIterations: 12 },
    );
    near(band.s.data, [12.490572517601715, 11.019854357181318, 8.954441059251186, 6.713889439822538], 20);
  });
});

describe.each(DTYPES)("randomizedSvd(), shapes and scales, %s", (dtype) => {
  const u = roundoff(dtype);

  test.each([
    [1, 1],
    [1, 9],
    [9, 1],
    [2, 2],
    [3, 50],
    [50, 3],
    [17, 17],
    [31, 20],
    [20, 33],
  ])("randomizedSvd() with all values is the SVD, %i×%i", (m, n) => {
    const a = place(randomMatrix(m, n, random), dtype);
    for (const k of new Set([1, Math.ceil(Math.min(m, n) / 2), Math.min(m, n)])) {
      for (const oversamples of [0, 1, 1000]) {
        const found = randomizedSvd(a, k, { oversamples });
        expect([found.u.shape, found.s.shape, found.vt.shape]).toEqual([[m, k], [k], [k, n]]);
        const { spectral, frobenius } = residualNorms(a, found);
        expect(found.errorBound.spectral).toBeGreaterThanOrEqual(spectral);
        expect(found.errorBound.frobenius).toBeGreaterThanOrEqual(frobenius);
        if (oversamples === 1000 || k === Math.min(m, n)) {
          expect(worstDistance(found.s, svdvals(a), k)).toBeLessThan(50 * u * (svdvals(a).data[0] as number));
        }
      }
    }
  });

  test("randomizedSvd() of zeros, of one value over and over, of less rank than k", () => {
    const none = randomizedSvd(zeros([8, 6], dtype), 3);
    expect(none.s.toArray()).toEqual([0, 0, 0]);
    expect(none.errorBound).toEqual({ spectral: 0, frobenius: 0 });
    const gram = matmul(none.vt, none.vt.transpose());
    for (let i = 0; i < 9; i++) expect(Math.abs((gram.data[i] as number) - (i % 4 === 0 ? 1 : 0))).toBeLessThan(20 * u);
    const ones = randomizedSvd(
      place(
        matrix(12, 12, (i, j) => (i === j ? 1 : 0)),
        dtype,
      ),
      5,
    );
    for (const value of ones.s.toTyped()) expect(Math.abs(value - 1)).toBeLessThan(20 * u);
    const rankTwo = place(withValues(30, 20, [3, 1, ...new Array(18).fill(0)], random), dtype);
    const found = randomizedSvd(rankTwo, 6);
    expect(Math.abs((found.s.data[0] as number) - 3)).toBeLessThan(50 * u);
    expect(found.s.data[2]).toBeLessThan(50 * u);
    expect(found.errorBound.spectral).toBeLessThan(300 * u);
    for (const t of [matmul(found.u.transpose(), found.u), matmul(found.vt, found.vt.transpose())]) {
      for (let i = 0; i < 36; i++) expect(Math.abs((t.data[i] as number) - (i % 7 === 0 ? 1 : 0))).toBeLessThan(50 * u);
    }
  });

  test("randomizedSvd() takes empty matrices, views and nested arrays", () => {
    for (const [m, n] of [
      [0, 5],
      [5, 0],
      [0, 0],
    ] as const) {
      const found = randomizedSvd(empty([m, n], dtype), 0);
      expect([found.u.shape, found.s.shape, found.vt.shape]).toEqual([[m, 0], [0], [0, n]]);
      expect(found.errorBound).toEqual({ spectral: 0, frobenius: 0 });
    }
    expect(
      randomizedSvd(
        [
          [3, 0],
          [4, 5],
        ],
        1,
      ).s.dtype,
    ).toBe("f64");
    const whole = place(randomMatrix(20, 9, random), dtype);
    const part = whole.subtensor(4, 16);
    expect(randomizedSvd(part, 3).s.toTyped()).toEqual(randomizedSvd(tensor(part), 3).s.toTyped());
  });

  test("randomizedSvd() is right at the ends of the format", () => {
    const a = withValues(
      40,
      25,
      Float64Array.from({ length: 25 }, (_, i) => 2 ** (-i / 2)),
      random,
    );
    const base = randomizedSvd(place(a, dtype), 4);
    const powers = dtype === "f32" ? [-118, -90, 90, 125] : [-1010, -600, 600, 1020];
    for (const power of powers) {
      const found = randomizedSvd(place(scaledMatrix(a, power), dtype), 4);
      for (let i = 0; i < 4; i++) {
        const lifted = (found.s.data[i] as number) * 2 ** (-power / 2) * 2 ** (-power / 2);
        expect(Math.abs(lifted - (base.s.data[i] as number))).toBeLessThan(100 * u);
      }
      const bound = found.errorBound.spectral * 2 ** (-power / 2) * 2 ** (-power / 2);
      expect(bound).toBeGreaterThan(0.2499);
      expect(bound).toBeLessThan(2.5);
    }
    const tiny = zeros([6, 4], dtype);
    tiny.data[9] = dtype === "f32" ? 2 ** -149 : 2 ** -1074;
    expect(randomizedSvd(tiny, 1).s.data[0]).toBe(tiny.data[9]);
  });
});

describe.each(DTYPES)("randomizedSvd(), bounds, %s", (dtype) => {
  test("errorBound holds and is at most ten times the error on seeded matrices of every decay", () => {
    expect(wrongBounds(dtype, BUILD === "debug" ? 60 : 500, 60)).toEqual([]);
    // the twin: an error that is a hundredth larger than the bound, or eleven times smaller, is seen
    expect(wrongBounds(dtype, 20, 40, 1 / 11).length).toBeGreaterThan(10);
    expect(wrongBounds(dtype, 20, 40, 11).length).toBeGreaterThan(10);
  });
});

describe.each(DTYPES)("randomizedSvd() of sparse matrices and operators, %s", (dtype) => {
  const u = roundoff(dtype);
  // one entry in seven, values that decay along the rows
  const thinned = (m: number, n: number) =>
    matrix(m, n, (i, j) => ((i * 5 + j * 3) % 7 === 0 ? Math.sin(1 + i * n + j) / (1 + i / 4) : 0));
  const sparse = ({ m, n, data }: Matrix) => {
    const [rows, cols, values]: number[][] = [[], [], []];
    for (const [at, value] of data.entries()) {
      if (value === 0) continue;
      rows?.push(Math.floor(at / n));
      cols?.push(at % n);
      values?.push(value);
    }
    return csr.fromCoo(rows as number[], cols as number[], typed(dtype, values as number[]), [m, n]);
  };
  const operatorOf = (a: Tensor): LinearOperator => ({
    shape: a.shape,
    dtype: a.dtype,
    apply: (x) => matmul(a, x),
    applyTransposed: (y) => matmul(a.transpose(), y),
  });

  test.each([
    [60, 40],
    [40, 60],
    [33, 33],
    [50, 3],
    [1, 9],
  ])("randomizedSvd() gives what it gives for the dense matrix, %i×%i", (m, n) => {
    const a = thinned(m, n);
    const placed = place(a, dtype);
    const k = Math.min(4, m, n);
    const wanted = randomizedSvd(placed, k, { seed: 2 });
    for (const given of [sparse(a), operatorOf(placed)]) {
      const found = randomizedSvd(given, k, { seed: 2 });
      expect([found.u.dtype, found.s.dtype, found.vt.dtype]).toEqual([dtype, dtype, dtype]);
      const largest = wanted.s.data[0] as number;
      expect(worstDistance(found.s, wanted.s, k)).toBeLessThan(100 * u * largest);
      const error = residualNorms(placed, found);
      expect(found.errorBound.spectral).toBeGreaterThanOrEqual(error.spectral);
      expect(found.errorBound.frobenius).toBeGreaterThanOrEqual(error.frobenius);
      const floor = 100 * u * largest;
      expect(found.errorBound.spectral).toBeLessThan(10 * Math.max(error.spectral, floor));
      expect(found.errorBound.frobenius).toBeLessThan(12 * Math.max(error.frobenius, floor));
    }
  });

  test("randomizedSvd() of an empty sparse matrix, and of one at the ends of the format", () => {
    const none = csr({ data: typed(dtype, 0), indices: [], indptr: [0, 0, 0, 0], shape: [3, 5] });
    const found = randomizedSvd(none, 2);
    expect(found.s.toArray()).toEqual([0, 0]);
    expect(found.errorBound).toEqual({ spectral: 0, frobenius: 0 });
    const a = thinned(30, 20);
    const base = randomizedSvd(sparse(a), 3);
    for (const power of dtype === "f32" ? [-100, 120] : [-1000, 1000]) {
      const scaledOne = randomizedSvd(sparse(scaledMatrix(a, power)), 3);
      for (let i = 0; i < 3; i++) {
        const lifted = (scaledOne.s.data[i] as number) * 2 ** (-power / 2) * 2 ** (-power / 2);
        expect(Math.abs(lifted - (base.s.data[i] as number))).toBeLessThan(100 * u);
      }
    }
  });

  test("randomizedSvd() passes on what an operator throws and refuses what it should not return", () => {
    const a = place(thinned(9, 6), dtype);
    const good = operatorOf(a);
    const call = (changed: Partial<LinearOperator>) => () => randomizedSvd({ ...good, ...changed }, 2);
    const throwing = () => {
      throw new EvalError("mine");
    };
    const other = dtype === "f32" ? "f64" : "f32";
    refuses(
      [
        ["it throws", call({ apply: throwing }), EvalError, "mine"],
        ["it throws later", call({ applyTransposed: throwing }), EvalError, "mine"],
        ["another dtype", call({ apply: () => zeros([9, 20], other) }), TypeError, /^"a.apply" expected a result in/],
        [
          "another shape",
          call({ apply: () => zeros([6, 9], dtype) }),
          RangeError,
          /^"a.apply" expected a result of shape/,
        ],
      ],
      [a],
    );
    const broken = (x: Tensor) => {
      const y = matmul(a, x);
      y.data[3] = Number.NaN;
      return y;
    };
    expect(call({ apply: broken })).toThrow(NonFiniteError);
    const data = typed(dtype, [1, Number.NaN]);
    expect(() => randomizedSvd(csr({ data, indices: [0, 2], indptr: [0, 1, 2], shape: [2, 3] }), 1)).toThrow(
      '"a" expected finite numbers, got NaN at [1, 2]',
    );
  });
});

describe("randomizedSvd(), memory and steps", () => {
  test("randomizedSvd() takes at most 8·(m + n)·(k + 10) elements beside A and the results", () => {
    const n = BUILD === "debug" ? 512 : 4096;
    const k = 64;
    scope(() => {
      const a = empty([n, n], "f32");
      const { pointer } = a;
      kernel().f32.uniform(1, 0, 0, n * n, pointer);
      const { allocator } = kernel();
      const before = allocator.usedBytes;
      let peak = 0;
      const found = randomizedSvd(a, k, {
        powerIterations: 1,
        normalizer: "qr",
        onProgress: () => {},
      });
      const allocate = allocator.allocate;
      allocator.allocate = function (bytes: number) {
        const made = allocate.call(this, bytes);
        peak = Math.max(peak, this.usedBytes);
        return made;
      };
      try {
        randomizedSvd(a, k, { powerIterations: 1, normalizer: "qr" });
      } finally {
        allocator.allocate = allocate;
      }
      const results = 4 * (2 * n * k + k);
      expect(peak - before - 2 * results).toBeGreaterThan(4 * 2 * n * k);
      expect(peak - before - 2 * results).toBeLessThanOrEqual(4 * 8 * (n + n) * (k + 10));
      expect(found.s.size).toBe(k);
    });
  });

  test("randomizedSvd() tells its steps, stops where it is aborted and leaves nothing behind", () => {
    const a = place(noisy);
    const { usedBytes } = capabilities();
    const steps: string[] = [];
    const found = randomizedSvd(a, 5, {
      powerIterations: 3,
      onProgress: ({ done, total }) => steps.push(`${done}/${total}`),
    });
    expect(steps).toEqual(Array.from({ length: 9 }, (_, i) => `${i + 1}/9`));
    for (const t of [found.u, found.s, found.vt]) t.dispose();
    expect(capabilities().usedBytes).toBe(usedBytes);
    for (const at of [1, 4, 9]) {
      const controller = new AbortController();
      const reason = new EvalError("enough");
      const onProgress = ({ done }: { done: number }) => {
        if (done === at) controller.abort(reason);
      };
      expect(() => randomizedSvd(a, 5, { powerIterations: 3, onProgress, signal: controller.signal })).toThrow(reason);
      expect(capabilities().usedBytes).toBe(usedBytes);
    }
    expect(() => randomizedSvd(a, 5, { signal: AbortSignal.abort(new EvalError("before")) })).toThrow("before");
    const throwing = () => {
      throw new EvalError("mine");
    };
    expect(() => randomizedSvd(a, 5, { onProgress: throwing })).toThrow("mine");
    expect(capabilities().usedBytes).toBe(usedBytes);
  });

  test("randomizedSvd(): a callback may compute and may dispose of the matrix", () => {
    const wanted = randomizedSvd(place(noisy), 5).s.toTyped();
    const a = place(noisy);
    let made: Tensor | undefined;
    const found = randomizedSvd(a, 5, {
      onProgress({ done }) {
        randomizedSvd(place(flat), 3);
        if (done !== 2) return;
        a.dispose();
        made = zeros([1000]);
        place(flat).data.fill(7);
      },
    });
    expect(found.s.toTyped()).toEqual(wanted);
    expect(made?.data[0]).toBe(0);
  });
});

describe("randomizedSvd(), wrong arguments", () => {
  test("randomizedSvd() refuses them", () => {
    const a = place(randomMatrix(6, 5, random));
    const call = (k: unknown, options?: unknown) => () =>
      randomizedSvd(a, k as number, options as RandomizedSvdOptions);
    refuses(
      [
        ...notTensors("a", (value) => randomizedSvd(value, 1)),
        ...notOptions(
          'only "oversamples", "powerIterations", "normalizer", "seed", "onProgress", "signal"'.slice(5),
          (options) => randomizedSvd(a, 1, options),
        ),
        ["a vector", () => randomizedSvd([1, 2], 1), RangeError, '"a" expected shape (…, m, n), got (2,)'],
        ["a batch", () => randomizedSvd(zeros([2, 2, 2]), 1), RangeError, '"a" expected shape (m, n), got (2, 2, 2)'],
        ["k 0", call(0), RangeError, '"k" expected an integer in [1, 5], got 0'],
        ["k 6", call(6), RangeError, '"k" expected an integer in [1, 5], got 6'],
        ["k -1", call(-1), RangeError, '"k" expected an integer in [1, 5], got -1'],
        ["k 1.5", call(1.5), RangeError, '"k" expected an integer in [1, 5], got 1.5'],
        ["k NaN", call(Number.NaN), RangeError, '"k" expected an integer in [1, 5], got NaN'],
        ["k text", call("1"), TypeError, '"k" expected an integer, got "1"'],
        ["k undefined", call(undefined), TypeError, '"k" expected an integer, got undefined'],
        ["k of nothing", () => randomizedSvd(zeros([0, 3]), 1), RangeError, '"k" expected an integer in [0, 0], got 1'],
        [
          "oversamples -1",
          call(1, { oversamples: -1 }),
          RangeError,
          /^"oversamples" expected an integer in .*, got -1$/,
        ],
        ["oversamples text", call(1, { oversamples: "2" }), TypeError, '"oversamples" expected an integer, got "2"'],
        [
          "iterations -1",
          call(1, { powerIterations: -1 }),
          RangeError,
          '"powerIterations" expected an integer in [0, 1000], got -1',
        ],
        [
          "iterations 0.5",
          call(1, { powerIterations: 0.5 }),
          RangeError,
          '"powerIterations" expected an integer in [0, 1000], got 0.5',
        ],
        [
          "iterations 1e9",
          call(1, { powerIterations: 1e9 }),
          RangeError,
          '"powerIterations" expected an integer in [0, 1000], got 1000000000',
        ],
        [
          "iterations of a word",
          call(1, { powerIterations: "many" }),
          RangeError,
          '"powerIterations" expected an integer or "auto", got "many"',
        ],
        [
          "iterations null",
          call(1, { powerIterations: null }),
          TypeError,
          '"powerIterations" expected an integer, got null',
        ],
        [
          "a normalizer",
          call(1, { normalizer: "LU" }),
          RangeError,
          '"normalizer" expected "auto" | "lu" | "qr" | "none", got "LU"',
        ],
        ["seed -1", call(1, { seed: -1 }), RangeError, /^"seed" expected an integer in .*, got -1$/],
        ["seed NaN", call(1, { seed: Number.NaN }), RangeError, /^"seed" expected an integer in .*, got NaN$/],
        ["seed 2^32", call(1, { seed: 2 ** 32 }), RangeError, /^"seed" expected an integer in .*, got 4294967296$/],
        ["onProgress", call(1, { onProgress: 1 }), TypeError, '"onProgress" expected a function, got 1'],
        ["signal", call(1, { signal: {} }), TypeError, '"signal" expected an AbortSignal, got Object'],
      ],
      [a],
    );
  });

  test.each([Number.NaN, Infinity, -Infinity])("randomizedSvd() refuses %d wherever it stands", (value) => {
    for (const at of [0, 7, 29]) {
      const data = new Float64Array(30).fill(1);
      data[at] = value;
      const call = () => randomizedSvd({ data, shape: [6, 5] }, 2);
      expect(call).toThrow(NonFiniteError);
      expect(call).toThrow(`"a" expected finite numbers, got ${value} at [${Math.floor(at / 5)}, ${at % 5}]`);
    }
  });
});
