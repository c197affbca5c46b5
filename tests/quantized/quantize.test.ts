// quantize(): codes and scales against slow references, round trips, errors.

import { describe, expect, test } from "vitest";
import { capabilities, NonFiniteError, scope, type Tensor, tensor } from "../../bindings/index.js";
import { kernel } from "../../bindings/load.js";
import { type QuantizedKind, QuantizedTensor, quantize } from "../../bindings/lora.js";
import { notOptions, notTensors, type Row, refuses } from "../support/bad_input.js";
import { Random } from "../support/random.js";
import {
  doubleQuantized,
  dynamicMap,
  NF4,
  nearest,
  quantizeInt8,
  quantizeNf4,
  roundBfloat,
  roundHalf,
} from "./reference.js";

const KINDS = ["f16", "bf16", "int8", "nf4"] as const;
/** Short last blocks, odd widths, and the widths of vectors and blocks. */
const SHAPES = [
  [0, 5],
  [5, 0],
  [1, 1],
  [1, 2],
  [3, 7],
  [2, 8],
  [4, 63],
  [3, 64],
  [5, 65],
  [2, 127],
  [7, 130],
  [3, 300],
] as const;

function weightOf(random: Random, rows: number, columns: number): Float32Array {
  const w = Float32Array.from(random.array(rows * columns, "normal"));
  // rows of other sizes, a row of zeros, a zero block
  for (let i = 0; i < w.length; i++) {
    const row = Math.floor(i / columns);
    w[i] = (w[i] as number) * (row === 1 ? 0 : 10 ** ((row % 4) - 2));
    if (row === 2 && i % columns < 64) w[i] = 0;
  }
  return w;
}

/** What a weight must be after a round trip. */
function expected(kind: QuantizedKind, doubleQuant: boolean, rows: number, columns: number, w: Float32Array): number[] {
  if (kind === "f16") return [...w].map(roundHalf);
  if (kind === "bf16") return [...w].map(roundBfloat);
  if (kind === "int8") {
    const { q, scales } = quantizeInt8(rows, columns, w);
    return q.map((code, i) => Math.fround(code * (scales[Math.floor(i / columns)] as number)) + 0);
  }
  const { codes, magnitudes } = quantizeNf4(rows, columns, w);
  const read = doubleQuant ? doubleQuantized(magnitudes) : magnitudes;
  const blocks = Math.ceil(columns / 64);
  return codes.map((code, i) => {
    const block = Math.floor(i / columns) * blocks + Math.floor((i % columns) / 64);
    return Math.fround(Math.fround(NF4[code] as number) * (read[block] as number)) + 0;
  });
}

describe.each([...KINDS, "nf4, double"] as const)("quantize(), %s", (name) => {
  const kind = name === "nf4, double" ? "nf4" : name;
  const doubleQuant = name === "nf4, double";
  const options = doubleQuant ? { doubleQuant } : {};

  test("quantize() and dequantize() give what the definition gives, for every shape", () => {
    const random = new Random(5);
    for (const [rows, columns] of SHAPES) {
      const w = weightOf(random, rows, columns);
      const quantized = quantize({ data: w, shape: [rows, columns] }, kind, options);
      expect(quantized).toMatchObject({ kind, shape: [rows, columns], doubleQuant });
      const back = quantized.dequantize();
      expect(back).toMatchObject({ dtype: "f32", shape: [rows, columns] });
      // zeros of either sign are the same number here
      expect([...back.toTyped()].map((x) => x + 0)).toEqual(
        expected(kind, doubleQuant, rows, columns, w).map((x) => x + 0),
      );
      quantized.dispose();
      back.dispose();
    }
  });

  test("a second round trip changes nothing", () => {
    if (doubleQuant) return; // the magnitudes are quantised anew
    const w = weightOf(new Random(6), 5, 200);
    const once = quantize({ data: w, shape: [5, 200] }, kind).dequantize();
    const twice = quantize(once, kind).dequantize();
    const differ = [...once.data].filter((x, i) => Math.abs(x - (twice.data[i] as number)) > 2 ** -23 * Math.abs(x));
    expect(differ).toEqual([]);
    // the twin: the first one did change something
    expect([...once.data]).not.toEqual([...w]);
  });

  test("any number of axes, strides, dtypes; byteLength counts codes and scales", () => {
    const w = weightOf(new Random(7), 6, 70);
    const flat = quantize({ data: w, shape: [6, 70] }, kind, options);
    const bytes = { f16: 840, bf16: 840, int8: 420 + 24, nf4: 6 * 35 + (doubleQuant ? 4 + 4 + 12 : 48) }[kind];
    expect(flat.byteLength).toBe(bytes);
    const wanted = [...flat.dequantize().data];
    const deep = quantize({ data: w, shape: [2, 3, 70] }, kind, options);
    expect(deep.shape).toEqual([2, 3, 70]);
    expect([...deep.dequantize().data]).toEqual(wanted);
    const transposed = tensor(
      Float32Array.from({ length: 420 }, (_, i) => w[(i % 6) * 70 + Math.floor(i / 6)] as number),
      {
        shape: [70, 6],
      },
    );
    expect([...quantize(transposed.transpose(), kind, options).dequantize().data]).toEqual(wanted);
    expect([...quantize({ data: Float64Array.from(w), shape: [6, 70] }, kind, options).dequantize().data]).toEqual(
      wanted,
    );
    expect(quantize([3, -1, 0], kind, options).dequantize().shape).toEqual([3]);
    const scalar = quantize(tensor(2, { dtype: "f32" }), kind, options);
    expect(scalar.dequantize().toArray()).toBe(2);
  });

  test("what the scope made is not freed with it where it is returned; dispose() gives all memory back", () => {
    const before = capabilities().usedBytes;
    const made = scope(() => quantize([[1, 2, 3]], kind, options));
    expect(made.dequantize().shape).toEqual([1, 3]);
    made.dispose();
    made.dispose();
    expect(() => made.dequantize()).toThrow(expect.objectContaining({ code: "disposed" }));
    scope(() => {
      const weight = quantize([[1, 2, 3]], kind, options);
      weight.dequantize();
      weight.dispose();
    });
    expect(capabilities().usedBytes - before).toBeLessThan(1024);
  });
});

describe("quantize()", () => {
  test("16-bit floats carry NaN and Infinity; int8 and nf4 refuse them and name the place", () => {
    const w = Float32Array.of(1, Number.NaN, Number.NEGATIVE_INFINITY, 1e30, 2, 3);
    expect(
      quantize({ data: w, shape: [2, 3] }, "f16")
        .dequantize()
        .toArray(),
    ).toEqual([
      [1, Number.NaN, -Infinity],
      [Infinity, 2, 3],
    ]);
    expect(quantize({ data: w, shape: [2, 3] }, "bf16").dequantize().data[2]).toBe(-Infinity);
    const { usedBytes } = capabilities();
    for (const kind of ["int8", "nf4"] as const) {
      for (const [data, index] of [
        [Float32Array.of(1, 2, 3, 4, Number.NaN, 6), [1, 1]],
        [Float32Array.of(1, 2, Infinity, 4, 5, 6), [0, 2]],
        [Float64Array.of(1, 2, 3, 4, 5, 1e300), [1, 2]],
      ] as const) {
        const call = () => quantize({ data, shape: [2, 3] }, kind);
        expect(call).toThrow(NonFiniteError);
        expect(call).toThrow(expect.objectContaining({ argument: "weight", index, code: "non_finite" }));
      }
      expect(() => quantize([1, Number.NaN], kind)).toThrow(expect.objectContaining({ index: [1] }));
    }
    expect(capabilities().usedBytes).toBe(usedBytes);
  });

  test("int8: ±127, ties to even, subnormal rows keep a scale", () => {
    const codes = (row: number[]) => {
      const weight = quantize([row], "int8");
      const view = new Int8Array(kernel().memory.buffer, weight.codes, row.length);
      return [...view];
    };
    expect(codes([127, -127, 0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 63.49])).toEqual([127, -127, 0, 2, 2, 0, -2, 126, 63]);
    expect(codes([-3, 3])).toEqual([-127, 127]);
    const tiny = quantize([[2 ** -149, -(2 ** -149), 0]], "int8").dequantize();
    expect([...tiny.data]).toEqual([2 ** -149, -(2 ** -149), 0]);
    const small = quantize([[2 ** -126, 2 ** -127]], "int8").dequantize();
    expect(Math.abs((small.data[0] as number) / 2 ** -126 - 1)).toBeLessThan(0.01);
    expect([...quantize([[3e38, -3.4e38]], "int8").dequantize().data].every(Number.isFinite)).toBe(true);
  });

  test("nf4: the code book is bitsandbytes', each value is its own code, midpoints go down, as the nearest in f64 does", () => {
    const book = quantize([[...NF4]], "nf4");
    expect([...book.dequantize().data]).toEqual(NF4.map(Math.fround));
    const bytes = [...new Uint8Array(kernel().memory.buffer, book.codes, 8)];
    expect(bytes).toEqual([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
    // next to every midpoint, on both sides
    const x: number[] = [1];
    for (let i = 0; i < 15; i++) {
      const middle = ((NF4[i] as number) + (NF4[i + 1] as number)) / 2;
      for (let step = -2; step <= 2; step++)
        x.push(Math.fround(middle + step * 2 ** -24 * 2 ** Math.floor(Math.log2(Math.abs(middle)))));
    }
    const got = x.map((value) => quantize([[1, value]], "nf4").dequantize().data[1]);
    expect(got).toEqual(x.map((value) => Math.fround(NF4[nearest(NF4, value)] as number)));
  });

  test("the dynamic map is bitsandbytes' create_dynamic_map", () => {
    // computed with NumPy from its definition
    const map = dynamicMap();
    expect(map.length).toBe(256);
    const some = [0, 1, 64, 126, 127, 128, 129, 130, 200, 254, 255].map((i) => map[i]);
    expect(some).toEqual(
      [
        -0.992968738079071, -0.9789062738418579, -0.09859374910593033, -5.499999815583578e-7, 0, 5.499999815583578e-7,
        3.2499999633728294e-6, 7.749999895168003e-6, 0.23359374701976776, 0.992968738079071, 1,
      ].map(Math.fround),
    );
  });

  test("nf4, double: 4.127 bits a value, magnitudes right to half a step of the map", () => {
    const w = Float32Array.from(new Random(8).array(64 * 4096, "normal"));
    const weight = { data: w, shape: [64, 4096] };
    const [one, two] = [quantize(weight, "nf4"), quantize(weight, "nf4", { doubleQuant: true })];
    expect((one.byteLength * 8) / w.length).toBe(4.5);
    expect((two.byteLength * 8) / w.length).toBeCloseTo(4 + 8 / 64 + 32 / 64 / 256, 3);
    const error = (a: Float32Array) =>
      Math.sqrt(a.reduce((sum, x, i) => sum + (x - (w[i] as number)) ** 2, 0) / w.length);
    const [e1, e2] = [error(one.dequantize().toTyped()), error(two.dequantize().toTyped())];
    // the error of NF4 for normal numbers is about 0.09; the second quantisation adds next to nothing
    expect(e1).toBeGreaterThan(0.08);
    expect(e1).toBeLessThan(0.1);
    expect(e2 / e1).toBeLessThan(1.01);
    expect(e2).not.toBe(e1);
  });

  test("fromHalves() takes 16-bit floats as they are", () => {
    const halves = Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000, 0x3555);
    const weight = QuantizedTensor.fromHalves(kernel(), "f16", [2, 3], new Uint8Array(halves.buffer));
    expect(weight.dequantize().toArray()).toEqual([
      [1, -2, 2 ** -24],
      [65504, -0, 0.333251953125],
    ]);
    expect(() => QuantizedTensor.fromHalves(kernel(), "f16", [2, 2], new Uint8Array(halves.buffer))).toThrow("8 bytes");
  });

  test("wrong arguments", () => {
    const call = (value: unknown) => quantize(value as Tensor, "int8");
    const rows: Row[] = [
      ...notTensors("weight", call),
      ...notOptions('"doubleQuant"', (options) => quantize([1], "nf4", options)),
      [
        "no kind",
        () => quantize([1], undefined as never),
        TypeError,
        /^"kind" expected "f16" \| "bf16" \| "int8" \| "nf4", got undefined$/,
      ],
      ["an unknown kind", () => quantize([1], "int4" as never), RangeError, /got "int4"$/],
      [
        "doubleQuant as text",
        () => quantize([1], "nf4", { doubleQuant: "yes" as never }),
        TypeError,
        /a boolean, got "yes"$/,
      ],
      [
        "doubleQuant of int8",
        () => quantize([1], "int8", { doubleQuant: true }),
        RangeError,
        /^"doubleQuant" expected false/,
      ],
    ];
    refuses(rows);
  });
});
