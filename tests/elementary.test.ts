// The kernel's elementary functions against JavaScript's, on dense grids and where IEEE 754 says what they give.

import { describe, expect, test } from "vitest";
import { Random } from "./support/random.js";
import { DTYPES, raw } from "./support/raw.js";

type Name = "log" | "exp" | "sinpi" | "cospi" | "tanh" | "erf";

/** Distance of the dtype's neighbours at x. */
function spacing(x: number, dtype: string): number {
  const [digits, least] = dtype === "f32" ? [23, -149] : [52, -1074];
  if (x === 0) return 2 ** least;
  return 2 ** Math.max(Math.floor(Math.log2(Math.abs(x))) - digits, least);
}

/** The largest distance from the reference in units in the last place. */
function worst(dtype: "f32" | "f64", name: Name, reference: (x: number) => number, xs: Iterable<number>): number {
  const f = raw(dtype)[name];
  let most = 0;
  for (const given of xs) {
    const x = dtype === "f32" ? Math.fround(given) : given;
    const wanted = reference(x);
    const got = f(x);
    if (Object.is(got, dtype === "f32" ? Math.fround(wanted) : wanted)) continue;
    const distance = Math.abs(got - wanted) / spacing(wanted, dtype);
    if (!(distance <= most)) most = distance;
  }
  return most;
}

function* grid(from: number, to: number, count: number): Generator<number> {
  const random = new Random(7);
  for (let i = 0; i < count; i++) yield from + ((to - from) * (i + random.uniform())) / count;
}

function* powers(from: number, to: number, count: number): Generator<number> {
  for (const x of grid(from, to, count)) yield 2 ** x;
}

/** Bits behind the binary point of erf's reference. */
const BITS = 256n;
const ONE = 1n << BITS;

/** 2/√π, rounded down, by Newton's iteration from π. */
const TWO_OVER_ROOT_PI = (() => {
  const pi = 3141592653589793238462643383279502884197169399375105820974944592307816406286208998628034825342117068n;
  const wanted = ((4n * 10n ** 99n) << (2n * BITS)) / pi;
  let root = 1n << (BITS + 1n);
  for (let next = root; ; root = next) {
    next = (root + wanted / root) >> 1n;
    if (next >= root) return root;
  }
})();

/** erf by Taylor's series in whole numbers of 2^-256. */
function exactErf(x: number): number {
  const fixed = (BigInt(Math.abs(x) * 2 ** 52 * 2 ** 60) * ONE) >> 112n;
  const square = (fixed * fixed) >> BITS;
  let [sum, term] = [0n, fixed];
  for (let n = 0n; term !== 0n; n++) {
    sum += term / (2n * n + 1n);
    term = -((term * square) >> BITS) / (n + 1n);
  }
  const value = Number((((sum * TWO_OVER_ROOT_PI) >> BITS) * 2n ** 40n) >> (BITS - 80n)) / 2 ** 60 / 2 ** 60;
  return x < 0 ? -value : value;
}

describe.each(DTYPES)("elementary functions, %s", (dtype) => {
  const few = dtype === "f32" ? 0.51 : 2.5;
  const some = dtype === "f32" ? 0.51 : 4;
  const range = dtype === "f32" ? [-149, 128, 87, 104] : [-1074, 1024, 708, 745];
  const [lowest, highest, largest, smallest] = range as [number, number, number, number];

  test("log() is right to a few units over all exponents, near 1 and for subnormal numbers", () => {
    expect(worst(dtype, "log", Math.log, powers(lowest, highest - 0.01, 50_000))).toBeLessThan(few);
    expect(worst(dtype, "log", Math.log, grid(0.5, 2, 50_000))).toBeLessThan(few);
    expect(worst(dtype, "log", Math.log, grid(1 - 1e-6, 1 + 1e-6, 2000))).toBeLessThan(few);
    // the twin: a reference that is off by four units is seen
    expect(worst(dtype, "log", (x) => Math.log(x) * (1 + 8 * spacing(1, dtype)), grid(1.5, 2, 100))).toBeGreaterThan(3);
  });

  test("exp() is right to a few units over its range, subnormal results too", () => {
    expect(worst(dtype, "exp", Math.exp, grid(-smallest, largest, 50_000))).toBeLessThan(few);
    expect(worst(dtype, "exp", Math.exp, grid(-1, 1, 50_000))).toBeLessThan(few);
    expect(worst(dtype, "exp", Math.exp, grid(-1e-9, 1e-9, 1000))).toBeLessThan(few);
    expect(worst(dtype, "exp", (x) => Math.exp(x) * (1 + 8 * spacing(1, dtype)), grid(0, 1, 100))).toBeGreaterThan(3);
  });

  test("sinpi() and cospi() are right to a few units within a quarter turn, and periodic", () => {
    expect(worst(dtype, "sinpi", (x) => Math.sin(Math.PI * x), grid(-0.25, 0.25, 50_000))).toBeLessThan(few);
    expect(worst(dtype, "cospi", (x) => Math.cos(Math.PI * x), grid(-0.25, 0.25, 50_000))).toBeLessThan(few);
    expect(worst(dtype, "sinpi", (x) => Math.sin(Math.PI * x), powers(lowest + 5, -3, 5000))).toBeLessThan(few);
    const { sinpi, cospi } = raw(dtype);
    for (const x of grid(-0.25, 0.25, 1000)) {
      // exact in both formats: the turns added and taken away
      const r = Math.round(x * 2 ** 20) / 2 ** 20;
      const [s, c] = [sinpi(r), cospi(r)];
      for (const n of [-2, 2, 6]) expect([sinpi(r + n), cospi(r + n)]).toEqual([s, c]);
      for (const n of [-3, -1, 1, 5]) expect([sinpi(r + n), cospi(r + n)]).toEqual([-s, -c]);
      expect([sinpi(r + 0.5), cospi(r + 0.5)]).toEqual([c, -s]);
      expect([sinpi(r + 1.5), cospi(r + 1.5)]).toEqual([-c, s]);
    }
  });

  test("tanh() is right to a few units over its range, subnormal numbers too", () => {
    expect(worst(dtype, "tanh", Math.tanh, grid(-25, 25, 50_000))).toBeLessThan(some);
    expect(worst(dtype, "tanh", Math.tanh, grid(-1, 1, 50_000))).toBeLessThan(some);
    expect(worst(dtype, "tanh", Math.tanh, powers(lowest, 0, 5000))).toBeLessThan(some);
    expect(worst(dtype, "tanh", (x) => Math.tanh(x) * (1 + 16 * spacing(1, dtype)), grid(0, 1, 100))).toBeGreaterThan(
      6,
    );
    const { tanh } = raw(dtype);
    expect([0, -0, 1e3, -1e3, Infinity, -Infinity, Number.NaN].map(tanh)).toEqual([0, -0, 1, -1, 1, -1, Number.NaN]);
  });

  test("erf() is right to a few units over its range", () => {
    // ten digits of Abramowitz and Stegun's table 7.1
    for (const [x, y] of [
      [0.02, 0.0225645747],
      [0.5, 0.5204998778],
      [1, 0.8427007929],
      [2, 0.995322265],
    ] as const) {
      expect(Math.abs(exactErf(x) - y)).toBeLessThan(6e-11);
    }
    expect(worst(dtype, "erf", exactErf, grid(-6.5, 6.5, 6000))).toBeLessThan(some);
    expect(worst(dtype, "erf", exactErf, grid(0, 1.2, 6000))).toBeLessThan(some);
    expect(worst(dtype, "erf", exactErf, powers(-40, -2, 500))).toBeLessThan(some);
    expect(worst(dtype, "erf", (x) => exactErf(x) * (1 + 16 * spacing(1, dtype)), grid(0.1, 1, 100))).toBeGreaterThan(
      6,
    );
    const { erf } = raw(dtype);
    expect([0, -0, 9, -9, Infinity, -Infinity, Number.NaN].map(erf)).toEqual([0, -0, 1, -1, 1, -1, Number.NaN]);
    const least = 2 ** lowest;
    expect([erf(least), erf(-least)]).toEqual([least, -least]);
  });

  test("elementary functions give IEEE's values at zeros, infinities and beyond the range", () => {
    const { log, exp, sinpi, cospi } = raw(dtype);
    const least = 2 ** lowest;
    expect([log(0), log(-0), log(1), log(Infinity)]).toEqual([-Infinity, -Infinity, 0, Infinity]);
    expect([log(-1), log(-least), log(-Infinity), log(Number.NaN)]).toEqual(Array(4).fill(Number.NaN));
    expect(log(least)).toBeCloseTo(lowest * Math.LN2, 3);
    expect([exp(0), exp(-0), exp(-Infinity), exp(Infinity)]).toEqual([1, 1, 0, Infinity]);
    expect([exp(least), exp(-least), exp(Number.NaN)]).toEqual([1, 1, Number.NaN]);
    expect([exp(largest + 2), exp(-smallest - 2)]).toEqual([Infinity, 0]);
    expect(exp(-smallest + 2)).toBeGreaterThan(0);
    expect(exp(largest)).toBeLessThan(Infinity);
    expect([0, -0, 1, -1, 2, -2, 2 ** 60].map(sinpi)).toEqual([0, -0, 0, -0, 0, -0, 0]);
    expect([0.5, -0.5, 1.5, 2.5, -1.5].map(sinpi)).toEqual([1, -1, -1, 1, 1]);
    expect([0, -0, 1, -1, 2, 3, 2 ** 60].map(cospi)).toEqual([1, 1, -1, -1, 1, -1, 1]);
    expect([0.5, -0.5, 1.5, 2.5].map(cospi)).toEqual([0, 0, 0, 0]);
    for (const f of [sinpi, cospi]) {
      expect([Infinity, -Infinity, Number.NaN].map(f)).toEqual(Array(3).fill(Number.NaN));
    }
  });
});
