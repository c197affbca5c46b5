// Matrix times vector both ways, and the rank-one update.

import { describe, expect, test } from "vitest";
import type { DType } from "../../bindings/tensor.js";
import { Random } from "../support/random.js";
import { CANARY, DTYPES, raw, rounded, roundoff, SmallKernel, withBlocks } from "../support/raw.js";
import { type Product, wrongEntry } from "../support/reference.js";

/** Around the four rows and two vectors that the inner loops take at once. */
const SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 70];
const FACTORS = [0, 1, -1, 2, 0.5];

interface Gemv {
  transposed: boolean;
  m: number;
  n: number;
  alpha: number;
  beta: number;
  lda: number;
  incx: number;
  incy: number;
}

/** One call with random operands: what is wrong, or undefined. `spoil` changes the result before it is judged. */
function checkGemv(dtype: DType, random: Random, call: Gemv, spoil?: (y: { [i: number]: number }) => void) {
  const { transposed, m, n, alpha, beta, lda, incx, incy } = call;
  const [rows, inner] = transposed ? [n, m] : [m, n];
  const span = (count: number, step: number) => (count === 0 ? 0 : (count - 1) * step + 1);
  const fill = (length: number, isElement: (i: number) => boolean, gap: number) =>
    rounded(
      dtype,
      Float64Array.from({ length }, (_, i) => (isElement(i) ? random.symmetric() : gap)),
    );
  const a = fill(n === 0 ? 0 : span(m, lda) + n - 1, (i) => i % lda < n && alpha !== 0, Number.NaN);
  const x = fill(span(inner, incx), (i) => i % incx === 0 && alpha !== 0, Number.NaN);
  const y = fill(span(rows, incy), (i) => i % incy === 0, CANARY);
  const start = beta === 0 ? y.map((value, i) => (i % incy === 0 ? Number.NaN : value)) : y;
  return withBlocks(dtype, (place) => {
    const target = place(start);
    const [pa, px] = [place(a), place(x)];
    raw(dtype).gemv(transposed ? 1 : 0, m, n, alpha, pa.pointer, lda, px.pointer, incx, beta, target.pointer, incy);
    spoil?.(target.data);
    for (let i = 0; i < y.length; i++) {
      if (i % incy !== 0 && target.data[i] !== CANARY) return `a write between elements, at ${i}`;
    }
    const product: Product = {
      ...{ m: rows, n: 1, k: inner, alpha, beta },
      a: transposed ? { data: a, rowStride: 1, columnStride: lda } : { data: a, rowStride: lda, columnStride: 1 },
      b: { data: x, rowStride: incx, columnStride: 0 },
      c: { data: y, rowStride: incy, columnStride: 0 },
    };
    return wrongEntry(product, { data: target.data, rowStride: incy, columnStride: 0 }, roundoff(dtype));
  });
}

describe.each(DTYPES)("level 2, %s", (dtype) => {
  test.each([
    ["A·x", false],
    ["Aᵀ·x", true],
  ])("gemv() %s is right to as many roundings as terms for all sizes, alpha and beta", (_, transposed) => {
    const random = new Random(2);
    for (const m of SIZES) {
      for (const n of SIZES) {
        for (const alpha of FACTORS) {
          for (const beta of FACTORS) {
            const wrong = checkGemv(dtype, random, {
              ...{ transposed, m, n, alpha, beta },
              ...{ lda: Math.max(1, n + (m % 3)), incx: 1, incy: 1 },
            });
            if (wrong !== undefined) expect(`${m} ${n} ${alpha} ${beta}: ${wrong}`).toBe("");
          }
        }
      }
    }
  });

  test.each([
    ["A·x", false],
    ["Aᵀ·x", true],
  ])("gemv() %s takes strided vectors", (_, transposed) => {
    const random = new Random(3);
    for (const m of SIZES) {
      for (const n of SIZES) {
        for (const [incx, incy] of [
          [2, 1],
          [1, 2],
          [3, 5],
        ] as const) {
          const wrong = checkGemv(dtype, random, {
            ...{ transposed, m, n, alpha: 2, beta: (m + n) % 2, lda: n + 1, incx, incy },
          });
          if (wrong !== undefined) expect(`${m} ${n} ${incx} ${incy}: ${wrong}`).toBe("");
        }
      }
    }
  });

  test("gemv()'s check refuses a wrong entry, a NaN and a write between elements", () => {
    const call = { transposed: false, m: 5, n: 6, alpha: 1, beta: 1, lda: 6, incx: 1, incy: 2 };
    const random = new Random(4);
    expect(checkGemv(dtype, random, call)).toBeUndefined();
    expect(
      checkGemv(dtype, random, call, (y) => {
        y[4] = (y[4] as number) + 100 * roundoff(dtype);
      }),
    ).toContain("entry (2, 0)");
    expect(
      checkGemv(dtype, random, call, (y) => {
        y[8] = Number.NaN;
      }),
    ).toContain("entry (4, 0)");
    expect(
      checkGemv(dtype, random, call, (y) => {
        y[3] = 0;
      }),
    ).toBe("a write between elements, at 3");
  });

  test("gemv() lets NaN and Infinity pass, also where the other factor is zero", () => {
    for (const [m, n] of [
      [3, 3],
      [6, 9],
      [9, 6],
      [33, 33],
    ] as const) {
      for (const transposed of [false, true]) {
        for (const row of [0, m - 1]) {
          for (const column of [0, n - 1]) {
            withBlocks(dtype, (place) => {
              const [rows, inner] = transposed ? [n, m] : [m, n];
              const at = transposed ? column : row;
              const a = place(new Float64Array(m * n).fill(1));
              const [x, y] = [place(new Float64Array(inner).fill(1)), place(new Float64Array(rows))];
              const run = () =>
                raw(dtype).gemv(transposed ? 1 : 0, m, n, 1, a.pointer, n, x.pointer, 1, 0, y.pointer, 1);
              const others = (value: number) => expect(y.data.every((got, i) => i === at || got === value)).toBe(true);
              a.data[row * n + column] = Number.POSITIVE_INFINITY;
              run();
              expect(y.data[at]).toBe(Number.POSITIVE_INFINITY);
              others(inner);
              x.data.fill(0);
              run();
              expect(y.data[at]).toBeNaN();
              others(0);
              a.data[row * n + column] = Number.NaN;
              run();
              expect(y.data[at]).toBeNaN();
              others(0);
            });
          }
        }
      }
    }
  });

  test("ger() adds alpha·x·yᵀ, right to three roundings, and writes nothing else", () => {
    const random = new Random(5);
    const u = roundoff(dtype);
    const wrong: string[] = [];
    for (const m of SIZES) {
      for (const n of SIZES) {
        for (const factor of [0, 1, -1, 2, 0.3]) {
          const incx = 1 + ((m + n) % 3);
          const alpha = rounded(dtype, [factor])[0] as number;
          const lda = n + 3;
          const draw = (length: number) => rounded(dtype, random.array(length, "normal"));
          const [x, y, before] = [draw(m * incx), draw(n), draw(m * lda)];
          withBlocks(dtype, (place) => {
            const a = place(before);
            raw(dtype).ger(m, n, alpha, place(x).pointer, incx, place(y).pointer, a.pointer, lda);
            for (let at = 0; at < m * lda; at++) {
              const [i, j] = [Math.floor(at / lda), at % lda];
              const got = a.data[at] as number;
              const old = before[at] as number;
              if (j >= n) {
                if (got !== old) wrong.push(`${m} ${n}: a write at ${i}, ${j}`);
                continue;
              }
              const term = alpha * (x[i * incx] as number) * (y[j] as number);
              if (!(Math.abs(got - (old + term)) <= 3.0000001 * u * (Math.abs(term) + Math.abs(old)))) {
                wrong.push(`${m} ${n} ${alpha}: entry ${i}, ${j}`);
              }
            }
          });
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  test("gemv() and ger() read and write nothing behind the end of memory", () => {
    const small = new SmallKernel(64);
    const { gemv, ger } = small.routines(dtype);
    const bytes = dtype === "f32" ? 4 : 8;
    const near = (slot: number) => small.base + slot * 8 * 8192;
    for (const m of SIZES.filter((size) => size > 0)) {
      for (const n of SIZES.filter((size) => size > 0)) {
        const lda = n + 1;
        const length = (m - 1) * lda + n;
        for (const transposed of [0, 1]) {
          const [rows, inner] = transposed === 1 ? [n, m] : [m, n];
          for (const last of [0, 1, 2]) {
            const [a, x, y] = [length, inner, rows].map((count, operand) => {
              const pointer = operand === last ? small.memory.buffer.byteLength - count * bytes : near(operand);
              small.view(dtype, pointer, count).fill(1);
              return pointer;
            }) as [number, number, number];
            gemv(transposed, m, n, 1, a, lda, x, 1, 1, y, 1);
            if (small.view(dtype, y, rows).some((value) => value !== inner + 1)) throw new Error(`${m} ${n} ${last}`);
          }
        }
        for (const last of [0, 1, 2]) {
          const [a, x, y] = [length, m, n].map((count, operand) => {
            const pointer = operand === last ? small.memory.buffer.byteLength - count * bytes : near(operand);
            small.view(dtype, pointer, count).fill(1);
            return pointer;
          }) as [number, number, number];
          ger(m, n, 1, x, 1, y, a, lda);
          if (small.view(dtype, a, length)[length - 1] !== 2) throw new Error(`ger ${m} ${n} ${last}`);
        }
      }
    }
    const end = small.memory.buffer.byteLength;
    expect(() => gemv(0, 4, 4, 1, end - 15 * bytes, 4, near(1), 1, 0, near(2), 1)).toThrow(WebAssembly.RuntimeError);
    expect(() => gemv(1, 4, 4, 1, near(0), 4, near(1), 1, 0, end - 3 * bytes, 1)).toThrow(WebAssembly.RuntimeError);
    expect(() => ger(4, 4, 1, near(0), 1, near(1), end - 15 * bytes, 4)).toThrow(WebAssembly.RuntimeError);
  });
});
