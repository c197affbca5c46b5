// factorize(): planted factors, the objective, both methods, every kind of empty, options, determinism, abort.

import { describe, expect, test } from "vitest";
import {
  type Csr,
  capabilities,
  csr,
  factorize,
  NonFiniteError,
  scope,
  svd,
  svdvals,
  tensor,
} from "../../bindings/index.js";
import type { DType } from "../../bindings/tensor.js";
import { notOptions, refuses } from "../support/bad_input.js";
import { Random } from "../support/random.js";
import { DTYPES, rounded, typed } from "../support/raw.js";
import { compress, objective, type Ratings, solveRows, someRatings, transposed, triplesOf } from "./reference.js";

const bad = <T>(value: T) => value as never;

function toCsr(dtype: DType, { rows, columns, indptr, indices, data }: Ratings): Csr {
  return csr({ data: typed(dtype, data), indices, indptr, shape: [rows, columns] });
}

/** Ratings of a mean, biases and k factors a side, with noise. */
function planted(rows: number, columns: number, k: number, noise: number, share: number, random: Random) {
  const [p, q] = [random.array(rows * k, "normal"), random.array(columns * k, "normal")];
  const [b, c] = [random.array(rows, "normal"), random.array(columns, "normal")];
  const truth = (u: number, i: number) => {
    let sum = 3.5 + 0.5 * (b[u] as number) + 0.5 * (c[i] as number);
    for (let j = 0; j < k; j++) sum += (p[u * k + j] as number) * (q[i * k + j] as number);
    return sum;
  };
  const ratings = someRatings(rows, columns, share, random, (u, i) => truth(u, i) + noise * random.normal());
  return { ratings, truth };
}

describe.each(DTYPES)("factorize(), %s", (dtype) => {
  test("factorize() reaches the error of the planted factors", () => {
    const random = new Random(21);
    const { ratings, truth } = planted(300, 200, 3, 0.1, 0.4, random);
    const matrix = toCsr(dtype, ratings);
    const model = factorize(matrix, { factors: 3, regularization: { factors: 1e-4, biases: 0 }, iterations: 30 });
    let squares = 0;
    const triples = triplesOf(ratings);
    for (const [u, i, value] of triples) squares += (value - truth(u, i)) ** 2;
    const error = Math.sqrt(squares / triples.length);
    expect(error).toBeGreaterThan(0.09);
    // the fit follows the noise by its degrees of freedom; against the truth it is far closer than the noise
    const free = 500 * 4 - 9;
    const wanted = error * Math.sqrt(1 - free / triples.length);
    expect(Math.abs(model.rmse(matrix) / wanted - 1)).toBeLessThan(0.01);
    let away = 0;
    for (let u = 0; u < 300; u++) {
      for (let i = 0; i < 200; i++) away += (model.predict(u, i) - truth(u, i)) ** 2;
    }
    expect(Math.sqrt(away / 60000)).toBeLessThan(0.35 * error);
    // fewer factors cannot
    const less = factorize(matrix, { factors: 2, regularization: 1e-4, iterations: 30 });
    expect(less.rmse(matrix)).toBeGreaterThan(3 * error);
    for (const one of [model, less, matrix]) one.dispose();
  });

  test("factorize() takes the steps of dense normal equations", () => {
    const random = new Random(22);
    const given = someRatings(20, 15, 0.4, random, () => 3 + random.normal());
    const ratings = { ...given, data: rounded(dtype, given.data) };
    const matrix = toCsr(dtype, ratings);
    for (const biased of [true, false]) {
      const penalty = { lambda: 0.07, damping: 2, biased };
      const options = { factors: 4, biased, regularization: { factors: 0.07, biases: 2 }, seed: 5 };
      const model = factorize(matrix, { ...options, iterations: 1 });
      const next = factorize(matrix, { ...options, iterations: 2 });
      const mean = biased ? given.data.reduce((sum, x) => sum + x, 0) / given.data.length : 0;
      expect(model.mean).toBeCloseTo(mean, dtype === "f32" ? 6 : 14);
      const centered = { ...ratings, data: ratings.data.map((x) => x - mean) };
      const side = (factors: Float64Array | Float32Array, bias: Float64Array | Float32Array) => ({
        factors: Float64Array.from(factors),
        bias: Float64Array.from(bias),
      });
      // from the items of the first pass, the users and items of the second
      const items = side(model.items.toTyped(), model.itemBias.toTyped());
      const users = solveRows(centered, 4, items, penalty);
      const wanted = solveRows(transposed(centered), 4, users, penalty);
      const tolerance = dtype === "f32" ? 1e-4 : 1e-12;
      for (const [got, want] of [
        [next.users, users.factors],
        [next.items, wanted.factors],
        [next.userBias, users.bias],
        [next.itemBias, wanted.bias],
      ] as const) {
        const values = got.toTyped();
        expect(values.length).toBe(want.length);
        for (let i = 0; i < want.length; i++) {
          expect(Math.abs((values[i] as number) - (want[i] as number))).toBeLessThan(tolerance);
        }
      }
      for (const one of [model, next]) one.dispose();
    }
    matrix.dispose();
  });

  test("factorize(): no pass makes the objective larger", () => {
    const random = new Random(23);
    const ratings = someRatings(40, 30, 0.3, random);
    const matrix = toCsr(dtype, ratings);
    for (const biased of [true, false]) {
      let before = Infinity;
      for (let iterations = 1; iterations <= 8; iterations++) {
        const options = { factors: 5, biased, iterations, regularization: { factors: 0.05, biases: 1 } };
        const model = factorize(matrix, options);
        const centered = { ...ratings, data: ratings.data.map((x) => x - model.mean) };
        const [users, items] = [
          { factors: Float64Array.from(model.users.toTyped()), bias: Float64Array.from(model.userBias.toTyped()) },
          { factors: Float64Array.from(model.items.toTyped()), bias: Float64Array.from(model.itemBias.toTyped()) },
        ];
        const now = objective(centered, 5, users, items, { lambda: 0.05, damping: 1, biased });
        expect(now).toBeLessThan(before * (1 + (dtype === "f32" ? 1e-6 : 1e-14)));
        if (iterations === 2) expect(now).toBeLessThan(0.9 * before);
        before = now;
        model.dispose();
      }
    }
    matrix.dispose();
  });

  test("factorize() of 2^2e times the ratings, and λ times it: factors 2^e times as large, bit for bit", () => {
    const random = new Random(24);
    const ratings = someRatings(12, 10, 0.5, random);
    const matrix = toCsr(dtype, ratings);
    const base = factorize(matrix, { factors: 3, iterations: 3, regularization: 0.125 });
    for (const e of dtype === "f32" ? [-15, 5, 60] : [-15, 5, 500]) {
      const large = toCsr(dtype, { ...ratings, data: rounded(dtype, ratings.data).map((x) => x * 4 ** e) });
      const model = factorize(large, { factors: 3, iterations: 3, regularization: 0.125 * 4 ** e });
      expect(model.users.toTyped()).toEqual(base.users.toTyped().map((x) => x * 2 ** e));
      expect(model.itemBias.toTyped()).toEqual(base.itemBias.toTyped().map((x) => x * 4 ** e));
      expect(model.rmse(large) / 4 ** e).toBeCloseTo(base.rmse(matrix), 6);
      for (const one of [model, large]) one.dispose();
    }
    for (const one of [base, matrix]) one.dispose();
  });

  test('factorize() with "svd": the truncated SVD of the matrix filled with mean and biases', () => {
    const random = new Random(25);
    const ratings = someRatings(25, 18, 0.6, random, () => 3 + random.normal());
    const matrix = toCsr(dtype, ratings);
    for (const biased of [true, false]) {
      const options = { biased, iterations: 20, regularization: { biases: 3 }, method: "svd" } as const;
      const model = factorize(matrix, { ...options, factors: 6 });
      const filled = new Float64Array(25 * 18);
      const [b, c] = [model.userBias.toTyped(), model.itemBias.toTyped()];
      for (const [u, i, value] of triplesOf(ratings)) {
        filled[u * 18 + i] = value - model.mean - (b[u] as number) - (c[i] as number);
      }
      const { u, s, vt } = svd(tensor(filled, { shape: [25, 18] }));
      for (const [row, column] of [
        [0, 0],
        [3, 17],
        [24, 5],
      ] as const) {
        let sum = model.mean + (b[row] as number) + (c[column] as number);
        for (let j = 0; j < 6; j++) {
          sum += (u.data[row * 18 + j] as number) * (s.data[j] as number) * (vt.data[j * 18 + column] as number);
        }
        expect(Math.abs(model.predict(row, column) - sum)).toBeLessThan(dtype === "f32" ? 1e-5 : 1e-12);
      }
      // both sides carry the roots of the values
      const norms = Array.from({ length: 6 }, (_, j) =>
        Float64Array.from(model.items.toTyped()).reduce((sum, x, at) => sum + (at % 6 === j ? x * x : 0), 0),
      );
      for (let j = 0; j < 6; j++) expect(norms[j]).toBeCloseTo(s.data[j] as number, dtype === "f32" ? 4 : 11);
      for (const one of [model, u, s, vt]) one.dispose();
    }
    matrix.dispose();
  });

  test('factorize() with "svd" of a large matrix leaves what Eckart and Young say', () => {
    const [m, n, k] = [600, 500, 3];
    const random = new Random(31);
    const { ratings } = planted(m, n, k, 0.2, 1, random);
    const matrix = toCsr(dtype, ratings);
    const seen: number[] = [];
    const onProgress = ({ done, total }: { done: number; total: number }) => seen.push(done / total);
    const model = factorize(matrix, { factors: 5, method: "svd", biased: false, onProgress });
    expect(seen).toEqual([...seen].sort((x, y) => x - y));
    expect(seen.at(-1)).toBe(1);
    const s = svdvals(tensor(ratings.data, { shape: [m, n] }));
    const left = s.data.subarray(5).reduce((sum, x) => sum + x * x, 0);
    const wanted = Math.sqrt(left / (m * n));
    expect(wanted).toBeGreaterThan(0.15);
    // the mean and two biases make the rank of the truth five
    expect(Math.abs(model.rmse(matrix) / wanted - 1)).toBeLessThan(1e-3);
    for (const one of [model, matrix, s]) one.dispose();
  });

  test("factorize(): users and items without ratings are predicted by mean and biases", () => {
    const ratings = compress(5, 4, [
      [0, 0, 5],
      [0, 1, 3],
      [2, 0, 4],
      [4, 1, 1],
      [4, 0, 2],
    ]);
    for (const method of ["als", "svd"] as const) {
      const matrix = toCsr(dtype, ratings);
      const model = factorize(matrix, { factors: 2, method, regularization: 0.01 });
      expect(model.mean).toBe(3);
      for (const user of [1, 3]) {
        expect(model.users.toArray()[user as never]).toEqual([0, 0]);
        expect(model.userBias.data[user]).toBe(0);
        expect(model.predict(user, 0)).toBeCloseTo(3 + (model.itemBias.data[0] as number), 6);
        expect(model.predict(user, 3)).toBe(3);
      }
      for (const item of [2, 3]) {
        expect(model.itemBias.data[item]).toBe(0);
        expect(model.predict(0, item)).toBeCloseTo(3 + (model.userBias.data[0] as number), 6);
      }
      for (const one of [model, matrix]) one.dispose();
    }
  });

  test("factorize() of no ratings, one rating and empty shapes", () => {
    for (const [rows, columns] of [
      [0, 0],
      [0, 3],
      [3, 0],
      [3, 2],
    ] as const) {
      const matrix = toCsr(dtype, compress(rows, columns, []));
      const model = factorize(matrix, { factors: 2 });
      expect(model.users.shape).toEqual([rows, 2]);
      expect(model.items.shape).toEqual([columns, 2]);
      expect([...model.users.toTyped(), ...model.items.toTyped()].every((x) => x === 0)).toBe(true);
      expect(model.mean).toBe(0);
      expect(model.rmse(matrix)).toBe(Number.NaN);
      for (const one of [model, matrix]) one.dispose();
    }
    const matrix = toCsr(dtype, compress(1, 1, [[0, 0, 4]]));
    for (const method of ["als", "svd"] as const) {
      const model = factorize(matrix, { factors: 1, method });
      expect(model.mean).toBe(4);
      expect(model.predict(0, 0)).toBe(4);
      expect(model.rmse(matrix)).toBe(0);
      model.dispose();
      // without a mean, and next to no ridge, the factors carry it
      const plain = factorize(matrix, { factors: 1, method, biased: false, regularization: 1e-9 });
      expect(plain.mean).toBe(0);
      expect(plain.predict(0, 0)).toBeCloseTo(4, dtype === "f32" ? 3 : 8);
      plain.dispose();
    }
    matrix.dispose();
  });

  test("factorize() gives the same bits for the same seed, others for another; slices change nothing", () => {
    const ratings = someRatings(30, 20, 0.4, new Random(26));
    const matrix = toCsr(dtype, ratings);
    const of = (options: object) => {
      const model = factorize(matrix, { factors: 4, ...options });
      const values = [...model.users.toTyped(), ...model.items.toTyped()];
      model.dispose();
      return values;
    };
    expect(of({ seed: 7 })).toEqual(of({ seed: 7 }));
    expect(of({ seed: 7 })).toEqual(of({ seed: 7, onProgress: () => {} }));
    expect(of({ seed: 0 })).toEqual(of({}));
    expect(of({ seed: 7 })).not.toEqual(of({ seed: 8 }));
    matrix.dispose();
  });

  test("recommend(): the largest predictions, without what is excluded", () => {
    const random = new Random(27);
    const { ratings } = planted(20, 50, 2, 0.1, 0.5, random);
    const matrix = toCsr(dtype, ratings);
    const model = factorize(matrix, { factors: 2 });
    for (const user of [0, 7, 19]) {
      const scores = Array.from({ length: 50 }, (_, item) => ({ item, score: model.predict(user, item) }));
      const sorted = [...scores].sort((x, y) => y.score - x.score || x.item - y.item);
      for (const n of [0, 1, 2, 10, 49, 50, 51]) expect(model.recommend(user, n)).toEqual(sorted.slice(0, n));
      const rated = new Set(triplesOf(ratings).flatMap(([u, i]) => (u === user ? [i] : [])));
      const unrated = sorted.filter(({ item }) => !rated.has(item));
      expect(unrated.length).toBeLessThan(50);
      for (const n of [3, 50]) {
        expect(model.recommend(user, n, { exclude: matrix })).toEqual(unrated.slice(0, n));
        expect(model.recommend(user, n, { exclude: [...rated] })).toEqual(unrated.slice(0, n));
        expect(model.recommend(user, n, { exclude: Int32Array.from(rated) })).toEqual(unrated.slice(0, n));
      }
    }
    for (const one of [model, matrix]) one.dispose();
  });

  test("recommend(): equal predictions keep the items' order", () => {
    const matrix = toCsr(dtype, compress(2, 30, [[0, 0, 1]]));
    const model = factorize(matrix, { factors: 1 });
    expect(model.recommend(1, 7).map(({ item }) => item)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    for (const one of [model, matrix]) one.dispose();
  });

  test("rmse() of other ratings of the same shape", () => {
    const random = new Random(28);
    const matrix = toCsr(dtype, someRatings(9, 8, 0.5, random));
    const other = someRatings(9, 8, 0.3, random);
    const held = toCsr(dtype, other);
    const model = factorize(matrix, { factors: 2 });
    const squares = triplesOf(other).map(([u, i, value]) => (value - model.predict(u, i)) ** 2);
    const wanted = Math.sqrt(squares.reduce((sum, x) => sum + x, 0) / squares.length);
    expect(model.rmse(held)).toBeCloseTo(wanted, dtype === "f32" ? 5 : 13);
    for (const one of [model, matrix, held]) one.dispose();
  });

  test("factorize() reports its passes, and stops where it is aborted", () => {
    const matrix = toCsr(dtype, someRatings(9, 8, 0.5, new Random(29)));
    const seen: number[] = [];
    factorize(matrix, {
      factors: 2,
      iterations: 3,
      onProgress: ({ done, total }) => {
        expect(total).toBe(6);
        seen.push(done);
      },
    }).dispose();
    expect(seen.at(-1)).toBe(6);
    expect(seen).toEqual([...seen].sort((x, y) => x - y));
    expect(new Set(seen).size).toBe(7);
    const { usedBytes } = capabilities();
    for (const method of ["als", "svd"] as const) {
      const controller = new AbortController();
      const reason = new Error("enough");
      const onProgress = ({ done }: { done: number }) => {
        if (done >= 2) controller.abort(reason);
      };
      expect(() => factorize(matrix, { factors: 2, method, signal: controller.signal, onProgress })).toThrow(reason);
      expect(capabilities().usedBytes).toBe(usedBytes);
    }
    matrix.dispose();
  });

  test("factorize() frees what it takes; the model survives a scope and is disposed of twice", () => {
    const matrix = toCsr(dtype, someRatings(30, 20, 0.5, new Random(30)));
    const { usedBytes } = capabilities();
    const model = scope(() => factorize(matrix, { factors: 3 }));
    expect(model.predict(0, 0)).toBeTypeOf("number");
    model.dispose();
    model.dispose();
    expect(() => model.predict(0, 0)).toThrow("disposed");
    expect(capabilities().usedBytes).toBe(usedBytes);
    matrix.dispose();
  });
});

describe("factorize(), wrong arguments", () => {
  test("factorize: bad input", () => {
    const ratings = csr.fromCoo([0, 1], [0, 1], [1, 2], [2, 3]);
    const keys = '"factors", "method", "regularization", "iterations", "biased", "seed", "onProgress", "signal"';
    const k = "an integer in [1, 32768]";
    refuses([
      ["no ratings", () => factorize(bad(undefined)), TypeError, '"ratings" expected a Csr, got undefined'],
      ["an array", () => factorize(bad([[1, 2]])), TypeError, '"ratings" expected a Csr, got an array'],
      ...notOptions(keys, (options) => factorize(ratings, options)),
      ["factors 0", () => factorize(ratings, { factors: 0 }), RangeError, `"factors" expected ${k}, got 0`],
      ["factors 1.5", () => factorize(ratings, { factors: 1.5 }), RangeError, `"factors" expected ${k}, got 1.5`],
      ["factors NaN", () => factorize(ratings, { factors: NaN }), RangeError, `"factors" expected ${k}, got NaN`],
      [
        "factors text",
        () => factorize(ratings, { factors: bad("3") }),
        TypeError,
        '"factors" expected an integer, got "3"',
      ],
      [
        "more factors than the SVD has",
        () => factorize(ratings, { factors: 3, method: "svd" }),
        RangeError,
        '"factors" expected at most min(users, items) = 2, got 3',
      ],
      [
        "a method",
        () => factorize(ratings, { method: bad("sgd") }),
        RangeError,
        '"method" expected "als" | "svd", got "sgd"',
      ],
      [
        "a negative ridge",
        () => factorize(ratings, { regularization: -1 }),
        RangeError,
        '"regularization" expected a number >= 0, got -1',
      ],
      [
        "a ridge as text",
        () => factorize(ratings, { regularization: bad("1") }),
        TypeError,
        '"regularization" expected a number or an object, got "1"',
      ],
      [
        "no ridge",
        () => factorize(ratings, { regularization: bad(null) }),
        TypeError,
        '"regularization" expected a number or an object, got null',
      ],
      [
        "an infinite damping",
        () => factorize(ratings, { regularization: { biases: Infinity } }),
        RangeError,
        '"regularization.biases" expected a finite number, got Infinity',
      ],
      [
        "an unknown part",
        () => factorize(ratings, { regularization: { users: 1 } as never }),
        TypeError,
        '"regularization" expected only "factors", "biases", got "users"',
      ],
      [
        "no iterations",
        () => factorize(ratings, { iterations: 0 }),
        RangeError,
        /^"iterations" expected an integer in/,
      ],
      [
        "biased as a number",
        () => factorize(ratings, { biased: bad(1) }),
        TypeError,
        '"biased" expected a boolean, got 1',
      ],
      ["a seed", () => factorize(ratings, { seed: -1 }), RangeError, /^"seed" expected an integer in/],
      [
        "a callback",
        () => factorize(ratings, { onProgress: bad(1) }),
        TypeError,
        '"onProgress" expected a function, got 1',
      ],
    ]);
    ratings.dispose();
    expect(() => factorize(ratings)).toThrow("disposed");
  });

  test("factorize: ratings that are NaN or Infinity", () => {
    for (const value of [Number.NaN, Infinity, -Infinity]) {
      const ratings = csr.fromCoo([0, 1, 3], [2, 0, 1], [1, 2, value], [4, 3]);
      const good = csr.fromCoo([0], [0], [1], [4, 3]);
      const model = factorize(good, { factors: 1 });
      for (const call of [() => factorize(ratings), () => model.rmse(ratings)]) {
        let error: unknown;
        try {
          call();
        } catch (thrown) {
          error = thrown;
        }
        expect(error).toBeInstanceOf(NonFiniteError);
        expect(error).toMatchObject({ argument: "ratings", index: [3, 1] });
      }
      for (const one of [ratings, good, model]) one.dispose();
    }
  });

  test("Factorization: bad input to its methods", () => {
    const ratings = csr.fromCoo([0, 1], [0, 1], [1, 2], [2, 3]);
    const other = csr.fromCoo([0], [0], [1], [3, 2]);
    const single = csr({ data: Float32Array.of(1), indices: [0], indptr: [0, 1, 1], shape: [2, 3] });
    const model = factorize(ratings, { factors: 1 });
    refuses([
      ["user 2", () => model.predict(2, 0), RangeError, '"user" expected an integer in [0, 1], got 2'],
      ["item -1", () => model.predict(0, -1), RangeError, '"item" expected an integer in [0, 2], got -1'],
      ["item NaN", () => model.predict(0, NaN), RangeError, '"item" expected an integer in [0, 2], got NaN'],
      ["user as text", () => model.recommend(bad("0"), 1), TypeError, '"user" expected an integer, got "0"'],
      ["n 1.5", () => model.recommend(0, 1.5), RangeError, /^"n" expected an integer in/],
      ...notOptions('"exclude"', (options) => model.recommend(0, 1, options)),
      [
        "excluding a number",
        () => model.recommend(0, 1, { exclude: bad(1) }),
        TypeError,
        '"exclude" expected a Csr or an array of items, got 1',
      ],
      [
        "excluding an item that is not there",
        () => model.recommend(0, 1, { exclude: [0, 3] }),
        RangeError,
        '"exclude[1]" expected an integer in [0, 2], got 3',
      ],
      [
        "excluding ratings of another shape",
        () => model.recommend(0, 1, { exclude: other }),
        RangeError,
        '"exclude" expected shape (2, 3), got (3, 2)',
      ],
      ["rmse of another shape", () => model.rmse(other), RangeError, '"ratings" expected shape (2, 3), got (3, 2)'],
      ["rmse of f32", () => model.rmse(bad(single)), TypeError, '"ratings" expected f64 as the model, got f32'],
      ["rmse of an array", () => model.rmse(bad([1])), TypeError, '"ratings" expected a Csr, got an array'],
    ]);
    for (const one of [ratings, other, single, model]) one.dispose();
  });
});
