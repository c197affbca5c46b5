// LoraLinear over a quantised weight: what a layer over the dequantised weight does.

import { describe, expect, test } from "vitest";
import { capabilities, tensor } from "../../bindings/index.js";
import { LoraAdapter, LoraLinear, quantize } from "../../bindings/lora.js";
import { type Row, refuses } from "../support/bad_input.js";
import { Random } from "../support/random.js";

const IN = 130;
const OUT = 9;
const KINDS = ["f16", "bf16", "int8", "nf4"] as const;

const normal = (random: Random, shape: number[]) =>
  tensor(
    Float32Array.from(
      random.array(
        shape.reduce((n, m) => n * m, 1),
        "normal",
      ),
    ),
    { shape },
  );

/** Two layers with the same adapters: one quantised, one over what dequantize() gives. */
function makeLayers(kind: (typeof KINDS)[number], useDora = false) {
  const random = new Random(21);
  const weight = quantize(normal(random, [OUT, IN]), kind, { doubleQuant: kind === "nf4" });
  const bias = normal(random, [OUT]);
  const layers = [weight, weight.dequantize()].map((w) => new LoraLinear({ weight: w, bias }));
  for (const name of ["one", "two"]) {
    const factors = {
      a: normal(random, [3, IN]),
      b: normal(random, [OUT, 3]),
      bias: normal(random, [OUT]),
      alpha: 2,
      ...(useDora && { magnitude: Float32Array.from({ length: OUT }, (_, i) => 1 + i) }),
    };
    const { bias: _, ...plain } = factors;
    for (const layer of layers) layer.addAdapter(name, new LoraAdapter(useDora ? plain : factors));
  }
  return { weight, random, quantized: layers[0] as LoraLinear, dense: layers[1] as LoraLinear };
}

/** The largest difference relative to the largest value of the row. */
function difference(got: ArrayLike<number>, wanted: ArrayLike<number>, columns: number): number {
  let worst = 0;
  for (let first = 0; first < wanted.length; first += columns) {
    let most = 0;
    let error = 0;
    for (let i = first; i < first + columns; i++) {
      most = Math.max(most, Math.abs(wanted[i] as number));
      error = Math.max(error, Math.abs((got[i] as number) - (wanted[i] as number)));
    }
    worst = Math.max(worst, error / most);
  }
  return worst;
}

describe.each(KINDS)("LoraLinear over %s", (kind) => {
  test("forward(): base, one adapter, several with factors, one a row, few rows and many", () => {
    const { random, quantized, dense } = makeLayers(kind);
    expect(quantized).toMatchObject({ dtype: "f32", inFeatures: IN, outFeatures: OUT });
    expect(quantized.quantized?.kind).toBe(kind);
    expect(dense.quantized).toBe(undefined);
    for (const tokens of [0, 1, 3, 20]) {
      const x = normal(random, [tokens, IN]);
      const compare = (options?: { adapters: (string | null)[] }) =>
        difference(quantized.forward(x, options).data, dense.forward(x, options).data, OUT);
      for (const active of [null, "one", { one: 0.5, two: -2 }]) {
        quantized.setAdapters(active);
        dense.setAdapters(active);
        expect(compare()).toBeLessThan(1e-5);
      }
      const adapters = Array.from({ length: tokens }, (_, i) => [null, "one", "two"][i % 3] as string | null);
      expect(compare({ adapters })).toBeLessThan(1e-5);
      if (tokens === 0) continue;
      // the twin: without its adapter the layer differs
      quantized.enabled = false;
      expect(compare()).toBeGreaterThan(1e-3);
      quantized.enabled = true;
    }
  });

  test("merge() makes an f32 weight beside the quantised one, unmerge() gives that back", () => {
    const { random, quantized, dense } = makeLayers(kind);
    const x = normal(random, [2, IN]);
    const before = quantized.forward(x).toTyped();
    quantized.merge("one");
    dense.merge("one");
    expect(quantized.merged).toEqual(["one"]);
    expect([...quantized.weight.data]).toEqual([...dense.weight.data]);
    expect([...quantized.forward(x).data]).toEqual([...dense.forward(x).data]);
    quantized.unmerge();
    expect([...quantized.forward(x).data]).toEqual([...before]);
  });

  test.each([false, true])("backward() gives the dense layer's gradients (DoRA: %s)", (useDora) => {
    const { random, quantized, dense } = makeLayers(kind, useDora);
    const x = normal(random, [4, IN]);
    const g = normal(random, [4, OUT]);
    const [y, z] = [quantized.forward(x, { train: true }), dense.forward(x, { train: true })];
    expect(difference(y.data, z.data, OUT)).toBeLessThan(1e-5);
    const [got, wanted] = [quantized.backward(g), dense.backward(g)];
    expect(difference(got.x?.data ?? [], wanted.x?.data ?? [], IN)).toBeLessThan(1e-5);
    for (const name of ["a", "b"] as const) {
      expect([...(got.adapters.one?.[name].data ?? [])]).toEqual([...(wanted.adapters.one?.[name].data ?? [1])]);
    }
    expect(quantized.backward(g, { x: false }).x).toBe(undefined);
    expect(got.weight).toBe(undefined);
  });

  test("a DoRA adapter from a config starts as the base layer", () => {
    const { random, quantized } = makeLayers(kind);
    const x = normal(random, [2, IN]);
    quantized.addAdapter("dora", { r: 2, useDora: true });
    const wanted = quantized.forward(x, { adapters: [null, null] });
    quantized.setAdapters("dora");
    expect(difference(quantized.forward(x).data, wanted.data, OUT)).toBeLessThan(1e-5);
  });
});

describe("LoraLinear over a quantised weight", () => {
  test("the layer keeps the memory; the last one to dispose frees it", () => {
    const before = capabilities().usedBytes;
    const weight = quantize(new Float32Array(64 * 64).fill(1), "int8");
    const layer = new LoraLinear({
      weight: quantize(
        [
          [1, 2],
          [3, 4],
        ],
        "int8",
      ),
    });
    layer.dispose();
    const held = quantize({ data: new Float32Array(64 * 64).fill(1), shape: [64, 64] }, "nf4");
    const other = new LoraLinear({ weight: held });
    held.dispose();
    const y = other.forward(new Float32Array(64).fill(1));
    expect([...y.data]).toEqual(new Array(64).fill(64));
    other.dispose();
    other.dispose();
    y.dispose();
    weight.dispose();
    expect(capabilities().usedBytes - before).toBeLessThan(1024);
  });

  test("wrong arguments", () => {
    const weight = quantize(
      [
        [1, 2],
        [3, 4],
      ],
      "int8",
    );
    const gone = quantize([[1]], "nf4");
    gone.dispose();
    const layer = new LoraLinear({ weight });
    const factors = {
      a: tensor(Float32Array.of(1, 2), { shape: [1, 2] }),
      b: tensor(Float32Array.of(1, 2), { shape: [2, 1] }),
    };
    layer.addAdapter("task", new LoraAdapter(factors));
    const rows: Row[] = [
      [
        "stored (in, out)",
        () => new LoraLinear({ weight, fanInFanOut: true }),
        RangeError,
        /^"fanInFanOut" expected false/,
      ],
      ["trainable", () => new LoraLinear({ weight, trainable: true }), RangeError, /^"trainable" expected false/],
      [
        "bias of f64",
        () => new LoraLinear({ weight, bias: new Float64Array(2) }),
        TypeError,
        /^"bias" expected f32 as "weight"/,
      ],
      ["x of f64", () => layer.forward(new Float64Array(2)), TypeError, /^"x" expected f32 as "weight"/],
      ["a merge in place", () => layer.merge("task", { keepBase: false }), RangeError, /^"keepBase" expected true/],
      ["the weight as a tensor", () => layer.weight, TypeError, /not quantised, got one of int8$/],
    ];
    refuses(rows);
    expect(() => new LoraLinear({ weight: quantize([1, 2], "int8") })).toThrow('"weight" expected two axes');
    expect(() => new LoraLinear({ weight: gone })).toThrow(expect.objectContaining({ code: "disposed" }));
  });
});
