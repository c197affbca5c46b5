import { describe, expect, test } from "vitest";
import { MORE } from "../../bindings/exports.js";
import type { DType } from "../../bindings/tensor.js";
import { bidiagonal, type Matrix, randomMatrix } from "../support/matrices.js";
import { Random } from "../support/random.js";
import { bytesOf, DTYPES, SmallKernel, type Typed } from "../support/raw.js";

const STOPPED = -2;
const DRIVERS = { qr: 1, dc: 2, jacobi: 3 } as const;

/** gesvd on an instance of its own; `between` runs after every slice and may look at the head of the working memory. */
function decompose(
  dtype: DType,
  { m, n, data }: Matrix,
  vectors: number,
  driver: number,
  slice: number,
  between: (head: { done: number; stop: Int32Array; result: number }) => void = () => {},
): { slices: number; result: Typed } {
  const kernel = new SmallKernel(200);
  const { gesvd, gesvdBegin, gesvdScratch } = kernel.routines(dtype);
  const bytes = bytesOf(dtype);
  let top = kernel.base;
  const take = (size: number) => {
    const pointer = Math.ceil(top / 64) * 64;
    top = pointer + size;
    return pointer;
  };
  const k = Math.min(m, n);
  const [ku, kv] = vectors === 2 ? [m, n] : [k, k];
  const a = take(m * n * bytes);
  kernel.view(dtype, a, m * n).set(data);
  const [u, s, vt] = [take(m * ku * bytes), take(k * bytes), take(kv * n * bytes)];
  const work = take(gesvdScratch(m, n, vectors, driver));
  kernel.common.setSlice(slice);
  gesvdBegin(work);
  const stop = new Int32Array(kernel.memory.buffer, work + 8, 1);
  let slices = 0;
  let result: number;
  do {
    result = gesvd(m, n, vectors, driver, a, n, 1, u, s, vt, work);
    slices++;
    between({ done: new Float64Array(kernel.memory.buffer, work, 1)[0] as number, stop, result });
  } while (result === MORE || result === STOPPED);
  expect(result).toBe(0);
  const all: [pointer: number, length: number][] = [[s, k]];
  if (vectors !== 0) all.push([u, m * ku], [vt, kv * n]);
  const size = all.reduce((sum, [, length]) => sum + length, 0);
  const copy = dtype === "f32" ? new Float32Array(size) : new Float64Array(size);
  let at = 0;
  for (const [pointer, length] of all) {
    copy.set(kernel.view(dtype, pointer, length), at);
    at += length;
  }
  return { slices, result: copy };
}

const random = new Random(17);
const MATRICES: [string, Matrix][] = [
  ["70×70", randomMatrix(70, 70, random)],
  ["130×40", randomMatrix(130, 40, random)],
  ["40×60", randomMatrix(40, 60, random)],
  ["7×3", randomMatrix(7, 3, random)],
  ["a bidiagonal that deflates", bidiagonal(new Float64Array(80).fill(1), 1e-9)],
];

describe.each(DTYPES)("gesvd(), %s", (dtype) => {
  test.each(MATRICES)("gesvd() in the smallest slices gives the bits of one call: %s", (_, a) => {
    for (const vectors of [0, 1, 2]) {
      for (const driver of Object.values(DRIVERS)) {
        const whole = decompose(dtype, a, vectors, driver, Number.POSITIVE_INFINITY);
        const cut = decompose(dtype, a, vectors, driver, 0);
        expect(whole.slices).toBe(1);
        expect(cut.slices).toBeGreaterThan(10);
        expect(cut.result).toEqual(whole.result);
      }
    }
  });

  // from 256 on divide and conquer opens slices of its own for its subtrees
  test.each([
    ["300×300", randomMatrix(300, 300, random)],
    ["the identity", bidiagonal(new Float64Array(300).fill(1), 0)],
    ["a bidiagonal that deflates", bidiagonal(new Float64Array(300).fill(0.7), 1e-9)],
  ])("gesvd() with subtrees gives the bits of one call, however it is cut: %s", (_, a) => {
    const whole = decompose(dtype, a, 1, DRIVERS.dc, Number.POSITIVE_INFINITY);
    expect(whole.slices).toBe(1);
    for (const slice of [1e5, 3e6]) expect(decompose(dtype, a, 1, DRIVERS.dc, slice).result).toEqual(whole.result);
  });

  test.each([90, 300])("gesvd() counts its operations and ends a slice at the stop word, %i", (n) => {
    const a = randomMatrix(n, n, random);
    const whole = decompose(dtype, a, 1, DRIVERS.dc, Number.POSITIVE_INFINITY);
    let calls = 0;
    let before = 0;
    const resumed = decompose(dtype, a, 1, DRIVERS.dc, 1e5, ({ done, stop, result }) => {
      calls++;
      expect(done).toBeGreaterThanOrEqual(before);
      before = done;
      // the word is set before every third call
      if (calls % 3 === 0) expect(result).not.toBe(MORE);
      stop[0] = calls % 3 === 2 ? 1 : 0;
    });
    expect(calls).toBeGreaterThan(6);
    expect(before).toBeGreaterThan(n ** 3);
    expect(resumed.result).toEqual(whole.result);
  });
});
