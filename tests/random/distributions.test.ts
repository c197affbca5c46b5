// Random numbers by position: known answers, independence of how a stream is cut, moments and distribution.

import { describe, expect, test } from "vitest";
import { kernel } from "../../bindings/load.js";
import { DTYPES, raw, type Typed, typed, withBlocks } from "../support/raw.js";

const DRAWS = ["uniform", "gaussian", "bernoulli"] as const;
type Draw = (typeof DRAWS)[number];

function draw(
  dtype: "f32" | "f64",
  what: Draw,
  seed: number,
  stream: number,
  first: number,
  n: number,
  probability = 0.3,
  value = 1,
): Typed {
  return withBlocks(dtype, (place) => {
    const { pointer, data } = place(new Float64Array(n));
    const routines = raw(dtype);
    if (what === "bernoulli") routines.bernoulli(seed, stream, first, n, probability, value, pointer);
    else routines[what](seed, stream, first, n, pointer);
    return data.slice();
  });
}

function permutation(seed: number, stream: number, n: number): number[] {
  const { allocator, memory, common } = kernel();
  const pointer = allocator.allocate(4 * n);
  common.permutation(seed, stream, n, pointer);
  const found = Array.from(new Int32Array(memory.buffer, pointer, n));
  allocator.free(pointer);
  return found;
}

/**
 * (seed, stream, position, uniform, Gaussian) of Philox4x32-10 written out with Python's integers and math. The first row's words are
 * 6627e8d5 e169c58d bc57ac4c 9b00dbd8, the known answer that Random123 publishes for counter and key 0.
 */
const PINNED = [
  [0, 0, 0, 0.8805201978886142, -0.39766753844418223],
  [0, 0, 1, 0.6054818538799213, -0.310395478801738],
  [1, 2, 3, 0.6812313432240618, -0.772130037904857],
  [4294967295, 4294967295, 9007199254740990, 0.7588262460909573, 0.49334550667652566],
  [12345, 7, 1000001, 0.8619592825814014, -0.18987885227167806],
] as const;

describe.each(DTYPES)("random numbers, %s", (dtype) => {
  test("uniform() and gaussian() give the pinned numbers", () => {
    for (const [seed, stream, position, u, g] of PINNED) {
      const uniform = draw(dtype, "uniform", seed, stream, position, 1)[0] as number;
      expect(uniform).toBe(dtype === "f64" ? u : Math.floor(u * 2 ** 24) / 2 ** 24);
      const gaussian = draw(dtype, "gaussian", seed, stream, position, 1)[0] as number;
      expect(Math.abs(gaussian - g)).toBeLessThan(dtype === "f64" ? 1e-15 : 3e-8);
    }
  });

  test("bernoulli() compares the words of a block with the probability", () => {
    const words = [2821369144, 4102974459, 2878784468, 3384613134, 1118762633, 4200843853, 4051736160, 2503144851];
    for (const p of [0, 0.3, 0.5, 0.6568, 0.99, 1]) {
      const wanted = words.map((word) => (word < p * 2 ** 32 ? 1.25 : 0));
      expect(Array.from(draw(dtype, "bernoulli", 5, 6, 0, 8, p, 1.25))).toEqual(wanted);
    }
  });

  test.each(DRAWS)("%s() gives the same bits however the stream is cut", (what) => {
    const whole = draw(dtype, what, 3, 1, 10, 61);
    for (const at of [0, 1, 2, 3, 4, 5, 30, 59, 60, 61]) {
      const parts = [draw(dtype, what, 3, 1, 10, at), draw(dtype, what, 3, 1, 10 + at, 61 - at)];
      expect(typed(dtype, [...(parts[0] as Typed), ...(parts[1] as Typed)])).toEqual(whole);
    }
    const single = Array.from(whole, (_, i) => draw(dtype, what, 3, 1, 10 + i, 1)[0]);
    expect(single).toEqual(Array.from(whole));
    // the twins: another seed, stream or position gives others
    for (const [seed, stream, first] of [
      [4, 1, 10],
      [3, 2, 10],
      [3, 1, 11],
      [3, 1, 10 + 2 ** 33],
    ] as const) {
      expect(draw(dtype, what, seed, stream, first, 61)).not.toEqual(whole);
    }
  });

  test("f32 and f64 are the same draw", () => {
    const other = draw("f64", "gaussian", 9, 0, 0, 1000);
    const own = draw(dtype, "gaussian", 9, 0, 0, 1000);
    expect(own).toEqual(typed(dtype, other));
    expect(draw(dtype, "bernoulli", 9, 0, 0, 1000)).toEqual(typed(dtype, draw("f64", "bernoulli", 9, 0, 0, 1000)));
  });

  test("uniform() fills [0, 1) evenly", () => {
    const n = 200_000;
    const x = draw(dtype, "uniform", 1, 0, 0, n);
    const bins = new Array<number>(20).fill(0);
    for (const u of x) (bins[Math.floor(u * 20)] as number)++;
    expect(Math.min(...x.slice(0, 1000))).toBeGreaterThanOrEqual(0);
    const chi = bins.reduce((sum, count) => sum + (count - n / 20) ** 2 / (n / 20), 0);
    // 19 degrees of freedom: above 43.8 once in a thousand
    expect(chi).toBeLessThan(43.8);
  });

  test("gaussian() has the moments, the tails and no correlation between neighbours", () => {
    const n = 200_000;
    const x = Float64Array.from(draw(dtype, "gaussian", 2, 0, 0, n));
    const mean = (f: (v: number, i: number) => number) => x.reduce((sum, v, i) => sum + f(v, i), 0) / n;
    // five standard deviations of each mean
    const near = (value: number, wanted: number, variance: number) =>
      expect(Math.abs(value - wanted)).toBeLessThan(5 * Math.sqrt(variance / n));
    near(
      mean((v) => v),
      0,
      1,
    );
    near(
      mean((v) => v ** 2),
      1,
      2,
    );
    near(
      mean((v) => v ** 3),
      0,
      15,
    );
    near(
      mean((v) => v ** 4),
      3,
      96,
    );
    for (const lag of [1, 2, 3])
      near(
        mean((v, i) => v * (x[(i + lag) % n] as number)),
        0,
        1,
      );
    near(
      mean((v) => (Math.abs(v) < 1 ? 1 : 0)),
      0.6826894921,
      0.22,
    );
    near(
      mean((v) => (v > 3 ? 1 : 0)),
      0.0013498980316,
      0.00135,
    );
  });

  test("bernoulli() keeps its share; of length 0 nothing is written", () => {
    const n = 100_000;
    for (const p of [0.1, 0.5, 0.9]) {
      const kept = Float64Array.from(draw(dtype, "bernoulli", 1, 3, 5, n, p, 2)).reduce((sum, v) => sum + v / 2, 0);
      expect(Math.abs(kept - n * p)).toBeLessThan(5 * Math.sqrt(n * p * (1 - p)));
    }
    for (const what of DRAWS) expect(draw(dtype, what, 1, 3, 5, 0).length).toBe(0);
  });
});

describe("permutation()", () => {
  test("permutation() gives the pinned order and every order as often", () => {
    // the same steps in Python
    expect(permutation(3, 4, 12)).toEqual([9, 4, 10, 8, 6, 1, 5, 0, 11, 3, 2, 7]);
    expect(permutation(3, 4, 0)).toEqual([]);
    expect(permutation(3, 4, 1)).toEqual([0]);
    expect(permutation(3, 5, 12)).not.toEqual(permutation(3, 4, 12));
    expect(permutation(1, 0, 1000).sort((i, j) => i - j)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    const counts = new Map<string, number>();
    for (let seed = 0; seed < 6000; seed++) {
      const key = permutation(seed, 0, 3).join();
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(150);
  });
});
