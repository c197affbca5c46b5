// Values without vectors: dqds against the QR iteration, formulas, invariants, and bit patterns without any sense. The
// QR iteration runs on the same matrix times the power of two that leaves it the most room below.

import { describe, expect, test } from "vitest";
import { MORE } from "../../bindings/exports.js";
import { type DType, scope, svd, svdvals, tensor } from "../../bindings/index.js";
import { BIDIAGONALS, type Bidiagonal, makeBidiagonal } from "../support/bidiagonals.js";
import { BUILD } from "../support/build.js";
import { bidiagonal, randomMatrix, transposed } from "../support/matrices.js";
import { Random } from "../support/random.js";
import { bytesOf, DTYPES, raw, rounded, roundoff, SmallKernel, ulpOf, withBlocks } from "../support/raw.js";
import { scaled } from "../support/reference.js";

const SIZES = BUILD === "debug" ? [1, 2, 3, 4, 5, 16, 64] : [1, 2, 3, 4, 5, 7, 10, 16, 33, 64, 129, 330, 1000];

/** Smallest normal number; where the largest entry is put for the QR iteration, which then loses nothing below. */
const LIMITS = { f32: { least: 2 ** -126, top: 100 }, f64: { least: 2 ** -1022, top: 900 } };

/** Largest |entry|. */
function largestOf({ d, e }: Bidiagonal): number {
  return [...d, ...e].reduce((x, y) => Math.max(x, Math.abs(y)), 0);
}

function scaledBidiagonal({ d, e }: Bidiagonal, k: number): Bidiagonal {
  return { d: d.map((x) => scaled(x, k)), e: e.map((x) => scaled(x, k)) };
}

function roundedBidiagonal({ d, e }: Bidiagonal, dtype: DType): Bidiagonal {
  return { d: rounded(dtype, d), e: rounded(dtype, e) };
}

/** What lasq1 returns and leaves in d, and the operations that it counts; e must stay. */
function dqds(b: Bidiagonal, dtype: DType): { failed: number; s: Float64Array } {
  const { failed, s } = count(b, dtype);
  return { failed, s };
}

function count(b: Bidiagonal, dtype: DType): { failed: number; s: Float64Array; operations: number } {
  return withBlocks(dtype, (place) => {
    const { lasq1, lasq1Work } = raw(dtype);
    const n = b.d.length;
    const [d, e] = [place(b.d), place(b.e)];
    const work = place(new Float64Array(lasq1Work(n)));
    const failed = lasq1(n, d.pointer, e.pointer, work.pointer);
    expect(rounded(dtype, e.data)).toEqual(rounded(dtype, b.e));
    const operations = new DataView(work.data.buffer, work.data.byteOffset).getFloat64(0, true);
    return { failed, s: Float64Array.from(d.data), operations };
  });
}

function qr(b: Bidiagonal, dtype: DType): Float64Array {
  return withBlocks(dtype, (place) => {
    const { bdsqr, bdsqrWork } = raw(dtype);
    const n = b.d.length;
    const [d, e, work] = [place(b.d), place(b.e), place(new Float64Array(bdsqrWork(n)))];
    expect(bdsqr(n, 0, 0, d.pointer, e.pointer, 0, 0, 0, 0, work.pointer)).toBe(0);
    return Float64Array.from(d.data);
  });
}

function isDescending(s: Float64Array): boolean {
  return s.every((x, i) => x >= 0 && !Object.is(x, -0) && (i === 0 || (s[i - 1] as number) >= x));
}

/** What is wrong with the values of b, as texts: LAPACK's ratio 50, and 100·n·eps relative where nothing underflows. */
function wrongValues(given: Bidiagonal, dtype: DType): string[] {
  const { least, top } = LIMITS[dtype];
  const b = roundedBidiagonal(given, dtype);
  const n = b.d.length;
  const { failed, s } = dqds(b, dtype);
  if (failed !== 0) return [`${n}: failed, ${failed}`];
  if (!isDescending(s)) return [`${n}: order`];
  const largest = largestOf(b);
  if (largest === 0) return s.every((x) => x === 0) ? [] : [`${n}: ${s}`];
  const k = top - Math.floor(Math.log2(largest));
  const t = qr(scaledBidiagonal(b, k), dtype);
  // what is subnormal in s or in t, or whose squares leave the range of f64, is held to the first test only
  const floor = Math.max(
    (60 * n * n * least) / ulpOf(dtype),
    scaled(least / ulpOf(dtype), k),
    (t[0] as number) * 2 ** -940,
  );
  const absolute = Math.max(50 * n * ulpOf(dtype) * (t[0] as number), scaled(least * ulpOf(dtype), k));
  const wrong: string[] = [];
  s.forEach((value, i) => {
    const expected = t[i] as number;
    const difference = Math.abs(scaled(value, k) - expected);
    if (!(difference < absolute)) wrong.push(`${n}: value ${i}, ${value}, differs by ${scaled(difference, -k)}`);
    else if (expected > floor && !(difference <= 100 * n * roundoff(dtype) * expected)) {
      wrong.push(`${n}: value ${i}, ${value}, differs by ${difference / expected} of it`);
    }
  });
  return wrong;
}

describe.each(DTYPES)("lasq1(), %s", (dtype) => {
  const eps = roundoff(dtype);

  test.each(BIDIAGONALS)("lasq1() gives the QR iteration's values, small ones included: %s", (name) => {
    expect(SIZES.flatMap((n) => wrongValues(makeBidiagonal(name, n, dtype), dtype))).toEqual([]);
  });

  const exponents = dtype === "f32" ? [-44, -35, -19, 19, 35] : [-322, -300, -160, 160, 300];

  test.each(exponents)("lasq1() gives the QR iteration's values at the size of 1e%i", (exponent) => {
    const wrong = SIZES.flatMap((n) => {
      const { d, e } = makeBidiagonal("normal", n, dtype);
      const power = Math.round(exponent * Math.log2(10));
      return wrongValues(scaledBidiagonal({ d, e }, power), dtype);
    });
    expect(wrong).toEqual([]);
  });

  test("lasq1() of ones on the diagonal and above gives 2·cos(kπ/(2n + 1))", () => {
    for (const n of SIZES) {
      const { s } = dqds(makeBidiagonal("all ones", n, dtype), dtype);
      s.forEach((value, i) => {
        const expected = 2 * Math.cos((Math.PI * (i + 1)) / (2 * n + 1));
        // cos(π/2 − x) for the small ones, whose argument would be rounded
        const exact = i > n / 2 ? 2 * Math.sin((Math.PI * (2 * (n - i) - 1)) / (4 * n + 2)) : expected;
        expect(Math.abs(value - exact)).toBeLessThanOrEqual(100 * n * eps * exact);
      });
    }
  });

  test("lasq1() of graded matrices gives values whose product is the diagonal's", () => {
    for (const name of BIDIAGONALS.filter((text) => text.startsWith("graded"))) {
      for (const n of [3, 10, 40]) {
        const b = roundedBidiagonal(makeBidiagonal(name, n, dtype), dtype);
        const log = (x: Float64Array) => x.reduce((sum, value) => sum + Math.log2(Math.abs(value)), 0);
        const { s } = dqds(b, dtype);
        expect(Math.abs(log(s) - log(b.d))).toBeLessThanOrEqual(100 * n * n * eps + 1e-12);
      }
    }
  });

  test("lasq1() of a diagonal matrix sorts absolute values and rounds nothing", () => {
    const { least } = LIMITS[dtype];
    const d = [1, -3, 0, -0, 0.3, -least, least / 4, 1 / least, -7, 7, 1e-20];
    for (const n of [1, 2, 5, d.length]) {
      const held = rounded(dtype, d.slice(0, n));
      const expected = held.map(Math.abs).sort((x, y) => y - x);
      expect(dqds({ d: held, e: new Float64Array(n - 1) }, dtype)).toEqual({ failed: 0, s: expected });
    }
  });

  test("lasq1() does not see signs, and 2^k times the matrix has exactly 2^k times the values", () => {
    const random = new Random(3);
    for (const name of [
      "normal",
      "graded downward",
      "zeros on the diagonal",
      "Kimura: blocks of ones, glued by 1e-4",
    ]) {
      for (const n of [3, 20, 70]) {
        const b = roundedBidiagonal(makeBidiagonal(name, n, dtype), dtype);
        const { s } = dqds(b, dtype);
        const signed = { d: b.d.map((x) => x * random.sign()), e: b.e.map((x) => x * random.sign()) };
        expect(dqds(signed, dtype).s).toEqual(s);
        for (const k of [-40, -1, 3, 60]) {
          const moved = dqds(roundedBidiagonal(scaledBidiagonal(b, k), dtype), dtype);
          // nothing becomes subnormal: graded f32 goes down to 1e-20
          expect(moved.s).toEqual(s.map((x) => scaled(x, k)));
        }
      }
    }
  });

  test.each([[Number.NaN], [Number.POSITIVE_INFINITY], [Number.NEGATIVE_INFINITY]])(
    "lasq1() refuses %d wherever it stands and leaves the matrix as it is",
    (value) => {
      for (const part of ["d", "e"] as const) {
        for (const at of [0, 4, 8]) {
          const b = roundedBidiagonal(makeBidiagonal("normal", 10, dtype), dtype);
          b[part][at] = value;
          expect(dqds(b, dtype)).toEqual({ failed: 1, s: b.d });
        }
      }
    },
  );

  test("lasq1() makes as many passes as LAPACK's shifts need: a few a value, over half of the rows", () => {
    const n = 300;
    // rows of all passes over n², and some room; xLASQ2 reports the same in f64. A row counts for 24 operations
    const limits = dtype === "f64" ? [2.6, 2.2, 2.3, 0.3, 1.8] : [1, 1.8, 1.8, 0.2, 1.3];
    ["normal", "as a Gaussian matrix reduces", "all ones", "splits", "1, …, n beside 1"].forEach((name, i) => {
      const { operations } = count(makeBidiagonal(name, n, dtype), dtype);
      expect(operations / 24 / n ** 2).toBeLessThan(limits[i] as number);
    });
  });

  test("lasq1() of no rows does nothing", () => {
    expect(dqds({ d: new Float64Array(0), e: new Float64Array(0) }, dtype)).toEqual({
      failed: 0,
      s: new Float64Array(0),
    });
  });

  test("lasq1() ends on any bit patterns, in order, with a largest value that fits the entries", () => {
    const random = new Random(dtype === "f32" ? 5 : 6);
    const [words, shift] = dtype === "f32" ? [1, 0xff] : [2, 0x7ff];
    const pick = [0, 1, 1, 1, 2 ** -30, 1e-16, 1e-8, 1 + 2 ** -23, 4.94e-324, 5.60844e-313, 1e-45, 1e30];
    for (let count = 0; count < (BUILD === "debug" ? 300 : 3000); count++) {
      const n = 1 + random.below(count % 10 === 0 ? 60 : 12);
      // whole ranges, narrow ranges of exponents, a few values that repeat
      const centre = random.below(shift);
      const width = random.below(shift) * random.uniform() ** 2;
      const entry = (): number => {
        if (count % 3 === 0) return pick[random.below(pick.length)] as number;
        const bits = new Uint32Array(2);
        bits[0] = random.below(2 ** 32);
        bits[1] = random.below(2 ** 32);
        if (count % 3 === 1) {
          const exponent = Math.max(0, Math.min(shift - 1, Math.round(centre + width * random.symmetric())));
          const fraction = words === 1 ? 23 : 20;
          bits[words - 1] = (exponent * 2 ** fraction + random.below(2 ** fraction)) >>> 0;
        }
        const value = words === 1 ? new Float32Array(bits.buffer)[0] : new Float64Array(bits.buffer)[0];
        return Number.isFinite(value) ? (value as number) : entry();
      };
      const b = roundedBidiagonal(
        { d: Float64Array.from({ length: n }, entry), e: Float64Array.from({ length: n - 1 }, entry) },
        dtype,
      );
      const { failed, s } = dqds(b, dtype);
      expect(failed).toBe(0);
      expect(isDescending(s)).toBe(true);
      const largest = largestOf(b);
      const top = s[0] as number;
      expect(top).toBeGreaterThanOrEqual(largest * (1 - 100 * eps * n));
      expect(top).toBeLessThanOrEqual(rounded(dtype, [2 * largest * (1 + 100 * eps * n)])[0] as number);
    }
  });
});

describe.each(DTYPES)("svd() without vectors, %s", (dtype) => {
  const values = (data: Float64Array, m: number, n: number, driver: "auto" | "qr" | "dc") =>
    scope(() => {
      const a = tensor(data, { shape: [m, n], dtype });
      return Float64Array.from(svd(a, { vectors: "none", driver }).s.data);
    });

  test('svd() takes dqds for "auto" and "dc", the QR iteration for "qr", and passes a bidiagonal on as it is', () => {
    for (const n of [5, 30, 70]) {
      // the largest entry in [1, 2), where svd() puts it
      const raw = makeBidiagonal("normal", n, dtype);
      const k = -Math.floor(Math.log2(largestOf(roundedBidiagonal(raw, dtype))));
      const b = roundedBidiagonal(scaledBidiagonal(raw, k), dtype);
      const { data } = bidiagonal(b.d, b.e);
      const { s } = dqds(b, dtype);
      expect(values(data, n, n, "auto")).toEqual(s);
      expect(values(data, n, n, "dc")).toEqual(s);
      const t = qr(b, dtype);
      expect(values(data, n, n, "qr")).toEqual(t);
      // two ways, rounded apart
      expect(t).not.toEqual(s);
    }
  });

  test("svdvals() gives the values of svd() with vectors, to LAPACK's ratio, whichever way the matrix lies", () => {
    const random = new Random(8);
    for (const [m, n] of [
      [1, 1],
      [2, 2],
      [3, 3],
      [17, 17],
      [40, 9],
      [9, 40],
      [60, 55],
      [130, 128],
    ] as const) {
      const a = randomMatrix(m, n, random, "normal");
      scope(() => {
        const t = tensor(a.data, { shape: [m, n], dtype });
        const s = Float64Array.from(svdvals(t).data);
        const other = tensor(transposed(a).data, { shape: [n, m], dtype });
        for (const expected of [svd(t).s.data, svd(t, { driver: "qr" }).s.data, svdvals(other).data]) {
          const bound = 50 * Math.min(m, n) * ulpOf(dtype) * (expected[0] as number);
          expect(s.every((x, i) => Math.abs(x - (expected[i] as number)) < bound)).toBe(true);
        }
      });
    }
  });

  test("gesvd() in slices that alternate with those of another matrix gives the bits of one call", () => {
    const random = new Random(9);
    const kernel = new SmallKernel(100);
    const { gesvd, gesvdBegin, gesvdScratch } = kernel.routines(dtype);
    let top = kernel.base;
    const take = (bytes: number) => {
      const pointer = top;
      top += Math.ceil(bytes / 64) * 64;
      return pointer;
    };
    const jobs = [30, 45].map((n) => {
      const a = take(n * n * bytesOf(dtype));
      kernel.view(dtype, a, n * n).set(randomMatrix(n, n, random).data);
      return { n, a, s: take(n * bytesOf(dtype)), work: take(gesvdScratch(n, n, 0, 0)), result: MORE };
    });
    const slice = (job: (typeof jobs)[number]) => {
      job.result = gesvd(job.n, job.n, 0, 0, job.a, job.n, 1, 0, job.s, 0, job.work);
    };
    const found = [Number.POSITIVE_INFINITY, 0].map((operations) => {
      kernel.common.setSlice(operations);
      for (const { work } of jobs) gesvdBegin(work);
      for (const job of jobs) job.result = MORE;
      while (jobs.some(({ result }) => result === MORE)) for (const job of jobs) if (job.result === MORE) slice(job);
      expect(jobs.map(({ result }) => result)).toEqual([0, 0]);
      return jobs.map(({ n, s }) => kernel.view(dtype, s, n).slice());
    });
    expect(found[1]).toEqual(found[0]);
  });
});
