// The SVD of C·D against the SVD of the product, on an instance of its own.

import { describe, expect, test } from "vitest";
import { MORE } from "../../bindings/exports.js";
import { type DType, svdvals, tensor } from "../../bindings/index.js";
import { Random } from "../support/random.js";
import { bytesOf, DTYPES, rounded, SmallKernel, type Typed, ulpOf } from "../support/raw.js";
import { multiply, transpose } from "../support/reference.js";

interface Result {
  ut: Typed;
  s: Typed;
  vt: Typed;
  slices: number;
  /** Whether C and D and what stands around the results are as they were. */
  intact: boolean;
}

/** C (m×r) and D (r×n), row-major. */
function decompose(
  dtype: DType,
  m: number,
  n: number,
  r: number,
  c: Float64Array,
  d: Float64Array,
  slice = 3e7,
): Result {
  const kernel = new SmallKernel(400);
  const { productSvd, productSvdBegin, productSvdScratch } = kernel.routines(dtype);
  const k = Math.min(m, n, r);
  const bytes = bytesOf(dtype);
  let top = kernel.base;
  const margin = 64;
  const take = (length: number) => {
    const pointer = Math.ceil(top / 64) * 64 + margin;
    top = pointer + length * bytes + margin;
    return pointer;
  };
  const places = [take(r * m), take(r * n), take(k * m), take(k), take(k * n)] as const;
  const [pc, pd, put, ps, pvt] = places;
  const work = take(productSvdScratch(m, n, r) / bytes);
  const end = top;
  const memory = new Uint8Array(kernel.memory.buffer, kernel.base, end + 64 - kernel.base);
  memory.fill(0x5a);
  kernel.view(dtype, pc, r * m).set(transpose(m, r, c));
  kernel.view(dtype, pd, r * n).set(d);
  const inputs = [kernel.view(dtype, pc, r * m).slice(), kernel.view(dtype, pd, r * n).slice()];
  kernel.common.setSlice(slice);
  productSvdBegin(work);
  let slices = 0;
  let result: number;
  do {
    result = productSvd(m, n, r, pc, pd, put, ps, pvt, work);
    slices++;
  } while (result === MORE);
  expect(result).toBe(0);
  const after = [kernel.view(dtype, pc, r * m), kernel.view(dtype, pd, r * n)];
  let intact = after.every((values, i) => values.every((value, j) => Object.is(value, inputs[i]?.[j])));
  const bounds = [r * m, r * n, k * m, k, k * n, productSvdScratch(m, n, r) / bytes];
  [...places, work].forEach((pointer, i) => {
    const last = pointer + (bounds[i] as number) * bytes;
    for (const [from, to] of [
      [pointer - margin, pointer],
      [last, last + margin],
    ] as const) {
      intact &&= new Uint8Array(kernel.memory.buffer, from, to - from).every((byte) => byte === 0x5a);
    }
  });
  return {
    ut: kernel.view(dtype, put, k * m).slice(),
    s: kernel.view(dtype, ps, k).slice(),
    vt: kernel.view(dtype, pvt, k * n).slice(),
    slices,
    intact,
  };
}

/** Departure of the rows of x (k×n) from orthonormal ones, in units of n·ulp. */
function orthogonality(k: number, n: number, x: ArrayLike<number>, ulp: number): number {
  let most = 0;
  for (let i = 0; i < k; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = i === j ? -1 : 0;
      for (let q = 0; q < n; q++) sum += (x[i * n + q] as number) * (x[j * n + q] as number);
      most = Math.max(most, Math.abs(sum));
    }
  }
  return most / (Math.max(n, 1) * ulp);
}

const SHAPES = [
  [1, 1, 1],
  [5, 7, 1],
  [30, 20, 4],
  [20, 30, 4],
  [6, 50, 9],
  [50, 6, 9],
  [5, 4, 12],
  [7, 7, 7],
  [130, 90, 40],
  [64, 300, 33],
] as const;

describe("productSvd", () => {
  test.each(DTYPES)("productSvd: values of the product, orthonormal vectors, C·D = U·S·Vᵀ (%s)", (dtype) => {
    const ulp = ulpOf(dtype);
    const random = new Random(31);
    for (const [m, n, r] of SHAPES) {
      for (const kind of ["random", "rank one less", "scaled up", "scaled down", "zero"]) {
        const factor = kind === "scaled up" ? 2 ** 60 : kind === "scaled down" ? 2 ** -55 : kind === "zero" ? 0 : 1;
        const c = rounded(
          dtype,
          random.array(m * r, "normal").map((value) => value * factor),
        );
        const d = rounded(
          dtype,
          random.array(r * n, "normal").map((value) => value * factor),
        );
        if (kind === "rank one less") for (let i = 0; i < m; i++) c[i * r + r - 1] = c[i * r] as number;
        const what = `${m}×${r}·${r}×${n}, ${kind}`;
        const { ut, s, vt, intact } = decompose(dtype, m, n, r, c, d);
        const k = Math.min(m, n, r);
        expect(intact, what).toBe(true);
        const product = multiply(m, n, r, c, d);
        const exact = svdvals(tensor(product, { shape: [m, n] })).toTyped();
        // the product's own error is that of ‖C‖·‖D‖
        const size = Math.hypot(...c) * Math.hypot(...d);
        const bound = 10 * ulp * size;
        for (let i = 0; i < k; i++) {
          expect(Math.abs((s[i] as number) - (exact[i] as number)), what).toBeLessThanOrEqual(bound);
          if (i > 0) expect(s[i], what).toBeLessThanOrEqual(s[i - 1] as number);
          expect(s[i]).toBeGreaterThanOrEqual(0);
        }
        expect(orthogonality(k, m, ut, ulp), what).toBeLessThan(50);
        expect(orthogonality(k, n, vt, ulp), what).toBeLessThan(50);
        const scaled = Float64Array.from(ut, (value, i) => value * (s[Math.floor(i / m)] as number));
        const back = multiply(m, n, k, transpose(k, m, scaled), vt);
        const error = Math.hypot(...back.map((value, i) => value - (product[i] as number)));
        expect(error, what).toBeLessThanOrEqual(bound);
        if (kind === "random" && m * n > 1) {
          // the twin: exchanged vectors do not give the product
          const wrong = multiply(m, n, k, transpose(k, m, scaled.reverse()), vt);
          expect(Math.hypot(...wrong.map((value, i) => value - (product[i] as number)))).toBeGreaterThan(1e3 * bound);
        }
      }
    }
  });

  test.each(DTYPES)(
    "productSvd: 2^k·C·D has 2^k·S to the bit; far out of range Infinity or 0, the vectors right (%s)",
    (dtype) => {
      const random = new Random(32);
      const [m, n, r] = [12, 9, 5];
      const c = rounded(dtype, random.array(m * r, "normal"));
      const d = rounded(dtype, random.array(r * n, "normal"));
      const plain = decompose(dtype, m, n, r, c, d);
      const far = dtype === "f32" ? 100 : 900;
      for (const [kc, kd] of [
        [far, -far],
        [-far, far],
        [20, 20],
        [far, far],
        [-far, -far],
      ] as const) {
        const scaled = decompose(
          dtype,
          m,
          n,
          r,
          c.map((value) => value * 2 ** kc),
          d.map((value) => value * 2 ** kd),
        );
        expect(scaled.ut).toEqual(plain.ut);
        expect(scaled.vt).toEqual(plain.vt);
        const expected = plain.s.map((value) => value * 2 ** kc * 2 ** kd);
        expect(scaled.s).toEqual(expected);
      }
    },
  );

  test.each(DTYPES)("productSvd: the same bits however it is cut (%s)", (dtype) => {
    const random = new Random(33);
    const [m, n, r] = [150, 120, 70];
    const c = rounded(dtype, random.array(m * r, "normal"));
    const d = rounded(dtype, random.array(r * n, "normal"));
    const whole = decompose(dtype, m, n, r, c, d, 1e15);
    const cut = decompose(dtype, m, n, r, c, d, 0);
    expect(whole.slices).toBe(1);
    expect(cut.slices).toBeGreaterThan(100);
    expect([cut.ut, cut.s, cut.vt]).toEqual([whole.ut, whole.s, whole.vt]);
  });
});
