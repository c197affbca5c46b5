// y = x·Wᵀ + bias with a quantised W, in the kernel: both paths against f64, all kinds and edges.

import { describe, expect, test } from "vitest";
import { kernel } from "../../bindings/load.js";
import { type QuantizedTensor, quantize } from "../../bindings/lora.js";
import { Random } from "../support/random.js";
import { SmallKernel, withBlocks } from "../support/raw.js";

const KINDS = ["f16", "bf16", "int8", "nf4", "nf4, double"] as const;

/** Rows of x on both sides of where packing begins. */
const TOKENS = [1, 2, 3, 4, 5, 8, 9, 17];

const make = (name: (typeof KINDS)[number], rows: number, columns: number, w: Float32Array): QuantizedTensor =>
  name === "nf4, double"
    ? quantize({ data: w, shape: [rows, columns] }, "nf4", { doubleQuant: true })
    : quantize({ data: w, shape: [rows, columns] }, name);

/** The kernel's y (tokens×out), canaries around x, bias and y looked at. */
function forward(
  weight: QuantizedTensor,
  tokens: number,
  x: ArrayLike<number>,
  bias?: ArrayLike<number>,
): Float32Array {
  const [outFeatures, inFeatures] = weight.shape as [number, number];
  const { common, scratch } = kernel();
  const mark = scratch.mark();
  try {
    return withBlocks("f32", (place) => {
      const y = place(new Float32Array(tokens * outFeatures).fill(Number.NaN));
      const [px, pb] = [place(x), bias === undefined ? undefined : place(bias)];
      const work = scratch.push(common.quantizedForwardScratch(weight.code, tokens, inFeatures));
      common.quantizedForward(
        0,
        outFeatures,
        weight.code,
        tokens,
        inFeatures,
        outFeatures,
        px.pointer,
        weight.codes,
        weight.scales,
        pb?.pointer ?? 0,
        y.pointer,
        work,
      );
      return Float32Array.from(y.data);
    });
  } finally {
    scratch.rewind(mark);
    kernel().allocator.checkGuards();
  }
}

/** The largest error of y relative to the largest output of its row, against f64 on the dequantised weight. */
function largestError(
  weight: QuantizedTensor,
  tokens: number,
  x: ArrayLike<number>,
  y: Float32Array,
  bias?: ArrayLike<number>,
): number {
  const [outFeatures, inFeatures] = weight.shape as [number, number];
  const dense = weight.dequantize();
  const w = dense.toTyped();
  dense.dispose();
  let worst = 0;
  for (let t = 0; t < tokens; t++) {
    let most = 0;
    let error = 0;
    for (let o = 0; o < outFeatures; o++) {
      let sum = bias?.[o] ?? 0;
      for (let i = 0; i < inFeatures; i++) sum += (w[o * inFeatures + i] as number) * (x[t * inFeatures + i] as number);
      most = Math.max(most, Math.abs(sum));
      error = Math.max(error, Math.abs((y[t * outFeatures + o] as number) - sum));
      if (Number.isNaN(y[t * outFeatures + o])) return Number.NaN;
    }
    if (error > 0) worst = Math.max(worst, error / most);
  }
  return worst;
}

const normal = (random: Random, n: number, scale = 1) => Float32Array.from(random.array(n, "normal"), (x) => scale * x);

describe.each(KINDS)("quantizedForward, %s", (name) => {
  test.each([true, false])("every shape and number of rows is within 1e-5 of f64 (bias: %s)", (withBias) => {
    const random = new Random(11);
    for (const outFeatures of [0, 1, 3, 4, 5, 8, 11]) {
      for (const inFeatures of [0, 1, 2, 7, 8, 9, 31, 63, 64, 65, 130, 257, 300]) {
        const weight = make(name, outFeatures, inFeatures, normal(random, outFeatures * inFeatures));
        const bias = withBias ? normal(random, outFeatures) : undefined;
        for (const tokens of TOKENS) {
          const x = normal(random, tokens * inFeatures);
          const y = forward(weight, tokens, x, bias);
          const error = largestError(weight, tokens, x, y, bias);
          // a row may have one output alone, which may cancel: then relative to what is added
          const limit = outFeatures > 3 ? 1e-5 : 1e-3;
          if (!(error <= limit)) throw new Error(`${outFeatures}×${inFeatures}, ${tokens} rows: ${error}`);
        }
        weight.dispose();
      }
    }
  });

  test("long rows and many of them: more than one block of the packed product, more than a chunk of integers", () => {
    const random = new Random(12);
    for (const [outFeatures, inFeatures] of [
      [5, 9000],
      [1030, 70],
      [1100, 330],
    ] as const) {
      const weight = make(name, outFeatures, inFeatures, normal(random, outFeatures * inFeatures, 0.02));
      for (const tokens of outFeatures === 1030 ? [1, 130] : [1, 9]) {
        const x = normal(random, tokens * inFeatures);
        expect(largestError(weight, tokens, x, forward(weight, tokens, x))).toBeLessThan(1e-5);
      }
      weight.dispose();
    }
  });

  test("sums of one sign, the largest integers, and x that is uneven stay exact enough", () => {
    const random = new Random(13);
    const columns = 4200;
    const weight = make(name, 4, columns, new Float32Array(4 * columns).fill(1));
    for (const x of [
      new Float32Array(columns).fill(1),
      new Float32Array(columns).fill(-0.999999),
      Float32Array.from({ length: columns }, (_, i) => (i === 7 ? 1000 : random.symmetric())),
    ]) {
      for (const tokens of [1, 9]) {
        const rows = Float32Array.from({ length: tokens * columns }, (_, i) => x[i % columns] as number);
        expect(largestError(weight, tokens, rows, forward(weight, tokens, rows))).toBeLessThan(1e-5);
      }
    }
  });

  test("x at all scales: rows of 1e-42 to 1e37, zeros among them", () => {
    const random = new Random(14);
    const columns = 72;
    const weight = make(name, 8, columns, normal(random, 8 * columns, 0.1));
    const scales = [1e-30, 1, 0, 1e20, 1e37, 1e-20, 1e18, 1e-18];
    for (const tokens of [3, 8]) {
      const x = normal(random, tokens * columns);
      for (let i = 0; i < x.length; i++) x[i] = (x[i] as number) * (scales[Math.floor(i / columns)] as number);
      expect(largestError(weight, tokens, x, forward(weight, tokens, x))).toBeLessThan(1e-5);
    }
    // 1e-42 has ten bits
    const tiny = normal(random, columns, 1e-42);
    const y = forward(weight, 1, tiny);
    expect(y.every((value) => Math.abs(value) < 1e-40)).toBe(true);
    expect(y.some((value) => value !== 0)).toBe(true);
  });

  test("a row's digits do not depend on its neighbours and their order, on either path", () => {
    const random = new Random(15);
    const columns = 200;
    const weight = make(name, 9, columns, normal(random, 9 * columns));
    for (const tokens of [3, 12]) {
      const x = normal(random, tokens * columns);
      const reversed = Float32Array.from(
        x,
        (_, i) => x[(tokens - 1 - Math.floor(i / columns)) * columns + (i % columns)] as number,
      );
      // a row that the few-row product leaves to the packed one
      const strange = x.slice();
      strange.set(new Float32Array(columns).fill(Number.NaN), columns);
      const [y, z, s] = [
        forward(weight, tokens, x),
        forward(weight, tokens, reversed),
        forward(weight, tokens, strange),
      ];
      for (let t = 0; t < tokens; t++) {
        const row = [...y.subarray(9 * t, 9 * t + 9)];
        expect([...z.subarray(9 * (tokens - 1 - t), 9 * (tokens - t))]).toEqual(row);
        expect([...s.subarray(9 * t, 9 * t + 9)]).toEqual(t === 1 ? new Array(9).fill(Number.NaN) : row);
      }
    }
  });

  test("NaN and Infinity in x and bias pass through", () => {
    const columns = 70;
    const w = new Float32Array(6 * columns).fill(1);
    const weight = make(name, 6, columns, w);
    for (const tokens of [1, 9]) {
      for (const at of [0, 33, 69]) {
        for (const value of [Number.NaN, Infinity, -Infinity]) {
          const x = new Float32Array(tokens * columns).fill(1);
          x[at] = value;
          const y = forward(weight, tokens, x);
          expect([...y.subarray(0, 6)]).toEqual(new Array(6).fill(value));
          if (tokens > 1) expect(y.subarray(6).every(Number.isFinite)).toBe(true);
        }
      }
      const bias = Float32Array.of(0, Infinity, 0, Number.NaN, 0, 0);
      const y = forward(weight, tokens, new Float32Array(tokens * columns), bias);
      expect([...y.subarray(0, 6)]).toEqual([0, Infinity, 0, Number.NaN, 0, 0]);
    }
  });

  test("the check would see a missing scale, a wrong code and exchanged rows", () => {
    const random = new Random(16);
    const columns = 130;
    const w = normal(random, 6 * columns);
    const weight = make(name, 6, columns, w);
    for (const tokens of [1, 9]) {
      const x = normal(random, tokens * columns);
      const y = forward(weight, tokens, x);
      expect(largestError(weight, tokens, x, y)).toBeLessThan(1e-5);
      expect(
        largestError(
          weight,
          tokens,
          x,
          y.map((value) => value * 1.0001),
        ),
      ).toBeGreaterThan(1e-5);
      expect(largestError(weight, tokens, x, y.slice().reverse())).toBeGreaterThan(1e-5);
      const codes = new Uint8Array(kernel().memory.buffer, weight.codes, 8);
      const before = codes.slice();
      codes.fill(0x11);
      const spoiled = forward(weight, tokens, x);
      codes.set(before);
      expect(largestError(weight, tokens, x, spoiled)).toBeGreaterThan(1e-5);
    }
  });
});

test.each(["f16", "bf16"] as const)("a weight of %s with NaN and Infinity gives them to its outputs alone", (kind) => {
  const columns = 75;
  for (const at of [0, 40, 74]) {
    for (const value of [Number.NaN, Infinity]) {
      const w = new Float32Array(5 * columns).fill(0.5);
      w[2 * columns + at] = value;
      const weight = quantize({ data: w, shape: [5, columns] }, kind);
      for (const tokens of [1, 9]) {
        const y = forward(weight, tokens, new Float32Array(tokens * columns).fill(2));
        expect([...y.subarray(0, 5)]).toEqual([75, 75, value, 75, 75]);
      }
    }
  }
});

test.each([0, 1, 2, 3, 4])("quantizedForward, kind %i, reads and writes nothing behind the end of memory", (kind) => {
  const small = new SmallKernel(80);
  const { common, memory } = small;
  const end = memory.buffer.byteLength;
  for (const [rows, columns] of [
    [1, 1],
    [3, 9],
    [4, 8],
    [5, 65],
    [8, 64],
    [9, 131],
  ] as const) {
    const blocks = rows * Math.ceil(columns / 64);
    const codes = [2 * rows * columns, 2 * rows * columns, rows * columns, rows * Math.ceil(columns / 2)][
      Math.min(kind, 3)
    ] as number;
    const scales = [4, 0, 4 * rows, 4 * blocks, 8 + blocks][kind] as number;
    for (const tokens of [1, 9]) {
      const sizes = [codes, scales, 4 * tokens * columns, 4 * tokens * rows];
      for (let last = 0; last < sizes.length; last++) {
        const where = sizes.map((size, i) => (i === last ? end - size : small.base + i * 2 ** 16));
        const [c, s, x, y] = where as [number, number, number, number];
        const w = small.base + 5 * 2 ** 16;
        const work = small.base + 6 * 2 ** 16;
        small.view("f32", w, rows * columns).fill(1);
        small.view("f32", x, tokens * columns).fill(1);
        common.quantizeWeight(kind, rows, columns, w, c, s, work);
        common.quantizedForward(0, rows, kind, tokens, columns, rows, x, c, s, 0, y, work);
        const got = small.view("f32", y, tokens * rows);
        if (got.some((value) => Math.abs(value - columns) > 0.01))
          throw new Error(`${rows} ${columns} ${tokens} ${last}`);
        const dense = small.view("f32", w, rows * columns).fill(0);
        common.expandWeight(0, rows, kind, rows, columns, c, s, w, work);
        if (dense.some((value) => Math.abs(value - 1) > 1e-6)) throw new Error(`dequantize ${rows} ${columns} ${last}`);
      }
    }
  }
});
