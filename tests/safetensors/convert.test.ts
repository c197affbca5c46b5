// Stored numbers against slow arithmetic on their bits.

import { describe, expect, test } from "vitest";
import { tensor } from "../../bindings/index.js";
import {
  openSafetensors,
  type SafetensorsDType,
  type StoredTensor,
  writeSafetensors,
} from "../../bindings/safetensors.js";
import { Random } from "../support/random.js";

/** A binary number of one sign bit, `exponent` and `fraction` bits; `special` tells how its largest exponent is used. */
function small(x: number, exponent: number, fraction: number, bias: number, special: "ieee" | "fn" | "fnuz"): number {
  const total = exponent + fraction;
  const sign = x >> total === 1 ? -1 : 1;
  const e = (x >> fraction) & (2 ** exponent - 1);
  const f = x & (2 ** fraction - 1);
  if (special === "fnuz" && x === 2 ** total) return Number.NaN;
  if (special === "fn" && (x & (2 ** total - 1)) === 2 ** total - 1) return Number.NaN;
  if (special === "ieee" && e === 2 ** exponent - 1) return f === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (e === 0 ? f * 2 ** (1 - bias - fraction) : (1 + f * 2 ** -fraction) * 2 ** (e - bias));
}

const SMALL: [SafetensorsDType, number, (x: number) => number][] = [
  ["F16", 16, (x) => small(x, 5, 10, 15, "ieee")],
  ["BF16", 16, (x) => small(x, 8, 7, 127, "ieee")],
  ["F8_E4M3", 8, (x) => small(x, 4, 3, 7, "fn")],
  ["F8_E5M2", 8, (x) => small(x, 5, 2, 15, "ieee")],
  ["F8_E4M3FNUZ", 8, (x) => small(x, 4, 3, 8, "fnuz")],
  ["F8_E5M2FNUZ", 8, (x) => small(x, 5, 2, 16, "fnuz")],
  ["F8_E8M0", 8, (x) => (x === 255 ? Number.NaN : 2 ** (x - 127))],
];

async function read(stored: StoredTensor, dtype: "f32" | "f64"): Promise<number[]> {
  const found = await (await openSafetensors(writeSafetensors({ t: stored }))).tensor("t", { dtype });
  expect(found.dtype).toBe(dtype);
  const values = Array.from(found.data);
  found.dispose();
  return values;
}

describe.each(["f32", "f64"] as const)("reading to %s", (dtype) => {
  test.each(SMALL)("every pattern of %s", async (type, bits, value) => {
    const count = 2 ** bits;
    const Typed = bits === 8 ? Uint8Array : Uint16Array;
    // a count that is no multiple of the vector's length, and bytes that stand at odd places
    for (const some of [count, 7, 1, 0]) {
      const patterns = new Typed(some).map((_: number, i: number) => i);
      const bytes = new Uint8Array(patterns.buffer);
      expect(await read({ dtype: type, shape: [some], bytes }, dtype)).toEqual(Array.from(patterns, (x) => value(x)));
    }
  });

  const INTEGERS = [
    ["U8", Uint8Array, [0, 1, 200, 255, 7]],
    ["I8", Int8Array, [0, -1, -128, 127, 7]],
    ["U16", Uint16Array, [0, 1, 65535, 40000, 7]],
    ["I16", Int16Array, [0, -1, -32768, 32767, 7]],
    ["U32", Uint32Array, [0, 1, 4294967295, 16777217, 7]],
    ["I32", Int32Array, [0, -1, -2147483648, 16777217, 7]],
    ["F32", Float32Array, [0, -0, 1e-45, Number.POSITIVE_INFINITY, Number.NaN]],
    ["F64", Float64Array, [0, -0, 1e-310, 1e300, Number.NaN, 1 + 2 ** -24 + 2 ** -53]],
  ] as const;
  test.each(INTEGERS)("numbers of %s", async (type, Typed, values) => {
    const stored = new Typed(values as unknown as ArrayLike<number>);
    const expected = Array.from(stored, (x) => (dtype === "f32" ? Math.fround(x) : x));
    expect(await read({ dtype: type, shape: [stored.length], bytes: new Uint8Array(stored.buffer) }, dtype)).toEqual(
      expected,
    );
  });

  test("64-bit integers are rounded once", async () => {
    const signed = BigInt64Array.of(0n, -1n, -(2n ** 63n), 2n ** 53n + 1n, 2n ** 24n + 1n, 2n ** 60n + 2n ** 36n + 1n);
    const unsigned = BigUint64Array.of(0n, 2n ** 64n - 1n, 2n ** 63n, 5n);
    // Number() rounds to f64; 2^60 + 2^36 + 1 lies above half way between two f32, its f64 on it
    const expected =
      dtype === "f64" ? Array.from(signed, Number) : [0, -1, -(2 ** 63), 2 ** 53, 2 ** 24, 2 ** 60 + 2 ** 37];
    expect(await read({ dtype: "I64", shape: [6], bytes: new Uint8Array(signed.buffer) }, dtype)).toEqual(expected);
    const found = await read({ dtype: "U64", shape: [4], bytes: new Uint8Array(unsigned.buffer) }, dtype);
    expect(found).toEqual([0, 2 ** 64, 2 ** 63, 5]);
  });

  test("truth values are 0 and 1; complex and smaller types are left to bytes()", async () => {
    expect(await read({ dtype: "BOOL", shape: [3], bytes: Uint8Array.of(1, 0, 1) }, dtype)).toEqual([1, 0, 1]);
    for (const [type, shape] of [
      ["C64", [1]],
      ["F4", [16]],
    ] as const) {
      await expect(read({ dtype: type, shape, bytes: new Uint8Array(8) }, dtype)).rejects.toThrow(TypeError);
    }
  });
});

/** The nearest number with so many bits, ties to even, by exact arithmetic. */
function nearest(x: number, fraction: number, least: number, most: number): number {
  if (!Number.isFinite(x) || x === 0) return x;
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(x))), least);
  const e = Math.abs(x) < 2 ** exponent && exponent > least ? exponent - 1 : exponent;
  const unit = 2 ** (e - fraction);
  const scaled = x / unit;
  let rounded = Math.round(scaled);
  if (Math.abs(scaled - Math.trunc(scaled)) === 0.5) rounded = 2 * Math.round(scaled / 2);
  const value = rounded * unit;
  return Math.abs(value) > most ? Math.sign(x) * Number.POSITIVE_INFINITY : value;
}

test("16-bit weights are read as they are; other types are refused", async () => {
  const given = Float32Array.from({ length: 6 }, (_, i) => i / 4 - 0.5);
  for (const [type, kind] of [
    ["F16", "f16"],
    ["BF16", "bf16"],
  ] as const) {
    const file = await openSafetensors(writeSafetensors({ w: { data: given, shape: [2, 3] } }, { dtype: type }));
    const weight = await file.quantized("w");
    expect([weight.kind, weight.shape, weight.byteLength]).toEqual([kind, [2, 3], 12]);
    expect(Array.from(weight.dequantize().data)).toEqual(Array.from(given));
    weight.dispose();
  }
  const file = await openSafetensors(writeSafetensors({ w: given }));
  await expect(file.quantized("w")).rejects.toThrow(TypeError);
  await expect(file.quantized("v")).rejects.toThrow(RangeError);
});

describe.each(["f32", "f64"] as const)("writing from %s", (dtype) => {
  test.each([
    ["F16", 10, -14, 65504],
    ["BF16", 7, -126, (2 - 2 ** -7) * 2 ** 127],
  ] as const)("to %s: to nearest, ties to even, rounded once", async (type, fraction, least, most) => {
    const random = new Random(5);
    const values = [
      0,
      -0,
      1,
      65504,
      65519.99,
      65520,
      1e-8,
      -6e-8,
      2.98e-8,
      3e-8,
      1e5,
      -1e39,
      3.5e38,
      Number.POSITIVE_INFINITY,
      Number.NaN,
    ];
    for (let i = 0; i < 5000; i++) {
      const base = nearest(random.normal() * 2 ** (40 * (random.uniform() - 0.5)), fraction, least, most);
      const unit = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(base) || 1)), least) - fraction);
      // on a number, half way, and a hair beside half way
      values.push(
        base,
        base + unit / 2,
        base + (unit / 2) * (1 + 2 ** -30),
        base + (unit / 2) * (1 - 2 ** -30),
        random.normal(),
      );
    }
    const given = dtype === "f32" ? Float32Array.from(values) : Float64Array.from(values);
    const file = await openSafetensors(writeSafetensors({ t: given }, { dtype: type }));
    expect(file.info("t").dtype).toBe(type);
    const found = await file.tensor("t", { dtype: "f64" });
    expect(Array.from(found.data)).toEqual(Array.from(given, (x) => nearest(x, fraction, least, most)));
  });

  test("f32 and f64 are stored as they are, or as the other", async () => {
    const given = tensor(Float64Array.of(1 / 3, 1e300, -0, Number.NaN), { dtype });
    for (const type of ["F32", "F64"] as const) {
      const file = await openSafetensors(writeSafetensors({ t: given }, { dtype: type }));
      const found = await file.tensor("t", { dtype: "f64" });
      expect(Array.from(found.data)).toEqual(Array.from(given.data, (x) => (type === "F32" ? Math.fround(x) : x)));
    }
    const usual = await openSafetensors(writeSafetensors({ t: given }));
    expect(usual.info("t").dtype).toBe(dtype === "f32" ? "F32" : "F64");
  });

  test("tensors of several chunks", async () => {
    const count = 5_000_003;
    const given = dtype === "f32" ? new Float32Array(count) : new Float64Array(count);
    for (let i = 0; i < count; i++) given[i] = (i % 2048) - 1000;
    const file = await openSafetensors(writeSafetensors({ t: given }, { dtype: "F16" }));
    const found = await file.tensor("t", { dtype });
    expect(Buffer.compare(new Uint8Array(found.toTyped().buffer), new Uint8Array(given.buffer))).toBe(0);
    found.dispose();
  });
});
