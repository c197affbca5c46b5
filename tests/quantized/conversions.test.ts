// 16-bit floats and f32, both ways: every pattern, rounding, and what stands around the arrays.

import { describe, expect, test } from "vitest";
import { kernel } from "../../bindings/load.js";
import { Random } from "../support/random.js";
import { SmallKernel } from "../support/raw.js";
import { halfValue, roundBfloat, roundHalf } from "./reference.js";

/** Runs f with n f32, n u16 and n f64 in kernel memory, each with four elements of room on both sides. */
function withArrays<R>(
  n: number,
  f: (arrays: { single: Float32Array; half: Uint16Array; double: Float64Array }) => R,
): R {
  const { allocator, memory } = kernel();
  const base = allocator.allocate((n + 8) * 14 + 64);
  try {
    const { buffer } = memory;
    const double = new Float64Array(buffer, base, n + 8).fill(-3);
    const single = new Float32Array(buffer, base + 8 * (n + 8), n + 8).fill(-3);
    const half = new Uint16Array(buffer, base + 12 * (n + 8), n + 8).fill(0xabcd);
    const inner = {
      single: single.subarray(4, 4 + n),
      half: half.subarray(4, 4 + n),
      double: double.subarray(4, 4 + n),
    };
    const result = f(inner);
    for (const at of [0, 1, 2, 3, n + 4, n + 5, n + 6, n + 7]) {
      if (single[at] !== -3 || half[at] !== 0xabcd || double[at] !== -3)
        throw new Error(`a write at ${at - 4} of ${n}`);
    }
    return result;
  } finally {
    allocator.free(base);
  }
}

const bitsOf = (x: Float32Array) => new Uint32Array(x.buffer, x.byteOffset, x.length);
const same = (got: number, wanted: number) => Object.is(got, wanted);

const FORMATS = [
  {
    name: "half precision",
    from: "fromFloat16",
    to: "toFloat16",
    value: halfValue,
    round: roundHalf,
    isNan: (bits: number) => (bits & 0x7fff) > 0x7c00,
  },
  {
    name: "bfloat16",
    from: "fromBfloat16",
    to: "toBfloat16",
    value: (bits: number) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0] as number,
    round: roundBfloat,
    isNan: (bits: number) => (bits & 0x7fff) > 0x7f80,
  },
] as const;

describe.each(FORMATS)("$name", ({ from, to, value, round, isNan }) => {
  test("all 65,536 patterns have their value in f32 and come back bit for bit, NaN with its payload", () => {
    const n = 65536;
    withArrays(n, ({ single, half }) => {
      const { common } = kernel();
      half.forEach((_, i) => {
        half[i] = i;
      });
      common[from](n, half.byteOffset, single.byteOffset);
      const wrong = [...single].findIndex((got, bits) => !same(got, value(bits)));
      expect(wrong).toBe(-1);
      half.fill(0);
      common[to](n, single.byteOffset, half.byteOffset);
      expect(half.findIndex((got, i) => got !== i)).toBe(-1);
    });
  });

  test("f32 round to nearest, ties to even: around every number and every midpoint", () => {
    const candidates: number[] = [];
    for (let bits = 0; bits < 0x8000; bits++) {
      if (isNan(bits + 1) || bits + 1 > 0x7fff) break;
      const x = value(bits);
      const next = Number.isFinite(value(bits + 1)) ? value(bits + 1) : 2 * x - value(bits - 1);
      const middle = x / 2 + next / 2;
      for (const y of [x, middle, middle * (1 - 2 ** -22), middle * (1 + 2 ** -22)]) {
        candidates.push(Math.fround(y), -Math.fround(y));
      }
    }
    withArrays(candidates.length, ({ single, half }) => {
      single.set(candidates);
      kernel().common[to](candidates.length, single.byteOffset, half.byteOffset);
      const wrong = candidates.findIndex((x, i) => !same(value(half[i] as number), round(x)));
      expect(wrong === -1 ? undefined : candidates[wrong]).toBe(undefined);
      // the twin: rounding away from zero would be seen
      const cut = candidates.some(
        (x, i) => value(half[i] as number) !== Math.sign(x) * Math.abs(round(x * (1 + 2 ** -9))),
      );
      expect(cut).toBe(true);
    });
  });

  test("a NaN whose payload would be cut off stays a NaN; Infinity, zeros and overflow keep their signs", () => {
    withArrays(8, ({ single, half }) => {
      bitsOf(single).set([0x7f800001, 0xff800001, 0x7f800000, 0xff800000, 0, 0x80000000, 0x7f7fffff, 0xff7fffff]);
      kernel().common[to](8, single.byteOffset, half.byteOffset);
      expect(isNan(half[0] as number)).toBe(true);
      expect(isNan(half[1] as number)).toBe(true);
      expect((half[1] as number) >> 15).toBe(1);
      const rest = [...half].slice(2).map(value);
      expect(rest).toEqual([Infinity, -Infinity, 0, -0, Infinity, -Infinity]);
    });
  });

  test("any length, nothing around the arrays is touched", () => {
    const random = new Random(3);
    for (let n = 0; n < 40; n++) {
      withArrays(n, ({ single, half }) => {
        const x = Float32Array.from(random.array(n, "normal"));
        single.set(x);
        kernel().common[to](n, single.byteOffset, half.byteOffset);
        single.fill(0);
        kernel().common[from](n, half.byteOffset, single.byteOffset);
        expect([...single]).toEqual([...x].map(round));
      });
    }
  });

  test("nothing is read or written behind the end of memory", () => {
    const small = new SmallKernel(64);
    const end = small.memory.buffer.byteLength;
    for (let n = 1; n < 20; n++) {
      small.common[from](n, end - 2 * n, small.base);
      small.common[to](n, small.base, end - 2 * n);
      small.common[to](n, end - 4 * n, small.base);
      small.common[from](n, small.base, end - 4 * n);
    }
    expect(() => small.common[from](8, end - 14, small.base)).toThrow(WebAssembly.RuntimeError);
    expect(() => small.common[to](8, end - 28, small.base)).toThrow(WebAssembly.RuntimeError);
  });

  test("f64 rounded to odd and then to 16 bits are rounded once", () => {
    const random = new Random(4);
    const values: number[] = [0, -0, Infinity, -Infinity, 1e300, -1e300, 1e-300, 5e-324];
    for (let bits = 1; bits < 0x7bff; bits += 7) {
      const middle = value(bits) / 2 + value(bits + 1) / 2;
      // next to a midpoint, nearer than f32 can tell
      if (Number.isFinite(middle)) values.push(middle * (1 + 2 ** -40), -middle * (1 - 2 ** -40), middle);
      values.push(random.normal() * 2 ** (30 * random.symmetric()));
    }
    const n = values.length;
    withArrays(n, ({ single, half, double }) => {
      double.set(values);
      const { common } = kernel();
      common.roundToOdd(n, double.byteOffset, single.byteOffset);
      common[to](n, single.byteOffset, half.byteOffset);
      const wrong = values.findIndex((x, i) => !same(value(half[i] as number), round(x)));
      expect(wrong === -1 ? undefined : values[wrong]).toBe(undefined);
      // the twin: two roundings to nearest differ
      single.set(values);
      common[to](n, single.byteOffset, half.byteOffset);
      expect(values.some((x, i) => !same(value(half[i] as number), round(x)))).toBe(true);
    });
  });
});

test("half precision: NumPy's results", () => {
  // np.float64(x).astype(np.float16), NumPy 1.24
  const samples: [number, number][] = [
    ...([
      [0.1, 11878],
      [1 / 3, 13653],
      [-Math.PI, 49736],
      [65504, 31743],
      [65519.99, 31743],
      [65520, 31744],
    ] as const),
    ...([
      [1e5, 31744],
      [2 ** -24, 1],
      [2 ** -25, 0],
      [2.980232536792755e-8, 1],
      [6.1e-5, 1023],
    ] as const),
    ...([
      [-8.94e-8, 32769],
      [1 + 2 ** -11, 15360],
      [1 + 2 ** -11 + 2 ** -40, 15361],
      [1.00146484375, 15362],
    ] as const),
    ...([
      [2049, 26624],
      [2051, 26626],
      [1e-9, 0],
      [-2.5e-5, 33187],
      [0.3333740234375, 13654],
    ] as const),
  ].map(([x, bits]) => [x, bits]);
  withArrays(samples.length, ({ single, half, double }) => {
    double.set(samples.map(([x]) => x));
    kernel().common.roundToOdd(samples.length, double.byteOffset, single.byteOffset);
    kernel().common.toFloat16(samples.length, single.byteOffset, half.byteOffset);
    expect([...half]).toEqual(samples.map(([, bits]) => bits));
  });
});
