// Half steps of alternating least squares, on the kernel: against dense normal equations, in slices, over ranges of rows.

import { describe, expect, test } from "vitest";
import { MORE } from "../../bindings/exports.js";
import type { DType } from "../../bindings/tensor.js";
import { Random } from "../support/random.js";
import { bytesOf, DTYPES, rounded, SmallKernel, type Typed } from "../support/raw.js";
import { compress, type Penalty, type Ratings, type Side, solveRows, someRatings } from "./reference.js";

const PENALTY: Penalty = { lambda: 0.1, damping: 5, biased: true };

interface Call {
  slice?: number;
  /** Ends of ranges that are solved one after the other. */
  ranges?: number[];
}

/** alsRows for all rows of the ratings, on an instance of its own. */
function halfStep(dtype: DType, ratings: Ratings, k: number, other: Side, penalty: Penalty, call: Call = {}) {
  const { rows, columns, indptr, indices, data } = ratings;
  const kernel = new SmallKernel(80);
  const { alsBegin, alsRows, alsScratch, paddedFactors } = kernel.routines(dtype);
  const kp = paddedFactors(k);
  let top = kernel.base;
  const take = (bytes: number) => {
    const pointer = Math.ceil(top / 64) * 64;
    top = pointer + bytes;
    return pointer;
  };
  const integers = (values: Int32Array) => {
    const pointer = take(values.byteLength);
    new Int32Array(kernel.memory.buffer, pointer, values.length).set(values);
    return pointer;
  };
  const floats = (length: number, values: ArrayLike<number> = []) => {
    const pointer = take(length * bytesOf(dtype));
    kernel.view(dtype, pointer, length).set(values);
    return pointer;
  };
  const padded = new Float64Array(columns * kp);
  for (let i = 0; i < columns; i++) padded.set(other.factors.subarray(i * k, (i + 1) * k), i * kp);
  const structure = [integers(indptr), integers(indices), floats(data.length, data)] as const;
  const [q, c] = [floats(columns * kp, padded), floats(columns, other.bias)];
  const [p, b] = [floats(rows * kp, new Float64Array(rows * kp).fill(9)), floats(rows, new Float64Array(rows).fill(9))];
  const bytes = alsScratch(kp);
  const work = take(bytes);
  // a write behind the working memory would be seen
  const canary = take(64);
  const behind = new Uint8Array(kernel.memory.buffer, work + bytes, canary + 64 - work - bytes).fill(77);
  kernel.common.setSlice(call.slice ?? Number.POSITIVE_INFINITY);
  let calls = 0;
  let first = 0;
  for (const last of call.ranges ?? [rows]) {
    alsBegin(work);
    let result: number;
    do {
      result = alsRows(
        ...([first, last, kp, ...structure, q, c, p, b] as const),
        ...([penalty.lambda, penalty.damping, penalty.biased ? 1 : 0, work] as const),
      );
      calls++;
    } while (result === MORE);
    expect(result).toBe(0);
    first = last;
  }
  expect(behind.every((byte) => byte === 77)).toBe(true);
  const wide = kernel.view(dtype, p, rows * kp);
  const factors = new Float64Array(rows * k);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < kp; j++) {
      if (j < k) factors[i * k + j] = wide[i * kp + j] as number;
      else expect(wide[i * kp + j]).toBe(0);
    }
  }
  return { factors, bias: Float64Array.from(kernel.view(dtype, b, rows) as Typed), calls };
}

function randomSide(dtype: DType, count: number, k: number, random: Random, biased = true): Side {
  const bias = biased ? random.array(count, "normal") : new Float64Array(count);
  return { factors: rounded(dtype, random.array(count * k, "normal")), bias: rounded(dtype, bias) };
}

function asHeld(dtype: DType, ratings: Ratings): Ratings {
  return { ...ratings, data: rounded(dtype, ratings.data) };
}

/** The largest difference of two sides relative to the largest entry. */
function difference(x: Side, y: Side): number {
  let [worst, size] = [0, 0];
  for (const key of ["factors", "bias"] as const) {
    for (let i = 0; i < y[key].length; i++) {
      const error = Math.abs((x[key][i] as number) - (y[key][i] as number));
      worst = error > worst || Number.isNaN(error) ? error : worst;
      size = Math.max(size, Math.abs(y[key][i] as number));
    }
  }
  return size === 0 ? worst : worst / size;
}

const TOLERANCE = { f32: 3e-5, f64: 1e-13 };

describe.each(DTYPES)("alsRows(), %s", (dtype) => {
  test("alsRows() gives the dense normal equations' solution for all numbers of factors", () => {
    const random = new Random(11);
    for (const k of [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 32, 33, 50, 100]) {
      for (const biased of [true, false]) {
        const ratings = asHeld(dtype, someRatings(13, 40, 0.5, random));
        const items = randomSide(dtype, 40, k, random, biased);
        const penalty = { ...PENALTY, biased };
        const found = halfStep(dtype, ratings, k, items, penalty);
        const wanted = solveRows(ratings, k, items, penalty);
        expect(difference(found, wanted), `k ${k}, ${biased ? "biased" : "unbiased"}`).toBeLessThan(TOLERANCE[dtype]);
      }
    }
  });

  test("alsRows() takes rows of any length: none, one, blocks and their remainders", () => {
    const random = new Random(12);
    const counts = [0, 1, 2, 127, 128, 129, 0, 255, 256, 257, 700];
    const triples = counts.flatMap((count, row) =>
      Array.from({ length: count }, (_, i): [number, number, number] => [row, (i * 7) % 701, random.normal()]),
    );
    const ratings = asHeld(dtype, compress(counts.length, 701, triples));
    for (const k of [6, 20]) {
      const items = randomSide(dtype, 701, k, random);
      const found = halfStep(dtype, ratings, k, items, PENALTY);
      expect(difference(found, solveRows(ratings, k, items, PENALTY))).toBeLessThan(TOLERANCE[dtype]);
      for (const row of [0, 6]) {
        expect(found.factors.subarray(row * k, (row + 1) * k).every((x) => x === 0)).toBe(true);
        expect(found.bias[row]).toBe(0);
      }
    }
  });

  test("alsRows() in the smallest slices and in ranges of rows gives the bits of one call", () => {
    const random = new Random(13);
    const ratings = asHeld(dtype, someRatings(30, 300, 0.7, random));
    const items = randomSide(dtype, 300, 10, random);
    const whole = halfStep(dtype, ratings, 10, items, PENALTY);
    const cut = halfStep(dtype, ratings, 10, items, PENALTY, { slice: 0 });
    const ranges = halfStep(dtype, ratings, 10, items, PENALTY, { ranges: [1, 1, 17, 30] });
    expect(whole.calls).toBe(1);
    // more than one call for a row: between its blocks, too
    expect(cut.calls).toBeGreaterThan(45);
    for (const other of [cut, ranges]) {
      expect(other.factors).toEqual(whole.factors);
      expect(other.bias).toEqual(whole.bias);
    }
  });

  test("alsRows() without any ridge: identical and lacking factors are no obstacle", () => {
    const random = new Random(14);
    const ratings = asHeld(dtype, someRatings(6, 30, 0.6, random));
    for (const value of [0, 1, 1e-3, 1e6]) {
      const items = { factors: new Float64Array(30 * 5).fill(value), bias: new Float64Array(30) };
      for (const [lambda, damping] of [
        [0, 0],
        [1e-30, 0],
      ] as const) {
        const { factors, bias } = halfStep(dtype, ratings, 5, items, { lambda, damping, biased: true });
        for (const x of [...factors, ...bias]) expect(Number.isFinite(x)).toBe(true);
      }
    }
  });

  test("another ridge would be seen", () => {
    const random = new Random(15);
    const ratings = asHeld(dtype, someRatings(9, 30, 0.5, random));
    const items = randomSide(dtype, 30, 4, random);
    const found = halfStep(dtype, ratings, 4, items, PENALTY);
    for (const change of [{ lambda: 0.101 }, { damping: 5.1 }, { biased: false }]) {
      const wanted = solveRows(ratings, 4, items, { ...PENALTY, ...change });
      expect(difference(found, wanted)).toBeGreaterThan(10 * TOLERANCE[dtype]);
    }
  });
});
