// Several adapters on one layer: weighted sets, mixed batches, merges in any order, DoRA.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { capabilities, type DType, scope, type Tensor } from "../../bindings/index.js";
import { LoraAdapter, LoraLinear } from "../../bindings/lora.js";
import { Random } from "../support/random.js";
import { multiply, transpose } from "../support/reference.js";
import { largestRowError, place, round, sameBits, TOLERANCE } from "./reference.js";

const DTYPES = ["f32", "f64"] as const;

interface One {
  a: Float64Array;
  b: Float64Array;
  r: number;
  alpha: number;
  bias?: Float64Array;
  magnitude?: Float64Array;
}

interface Numbers {
  dtype: DType;
  n: number;
  m: number;
  w: Float64Array;
  bias: Float64Array;
  adapters: { [name: string]: One };
}

const RANKS = { one: 1, three: 3, eight: 8, plain: 2 };

function numbersOf(dtype: DType, n = 20, m = 30, seed = 1): Numbers {
  const random = new Random(seed);
  const draw = (length: number) => round(dtype, random.array(length, "normal"));
  const adapters: Numbers["adapters"] = {};
  for (const [name, r] of Object.entries(RANKS)) {
    adapters[name] = { a: draw(r * n), b: draw(m * r), r, alpha: r + 1 };
    if (name !== "plain") (adapters[name] as One).bias = draw(m);
  }
  return { dtype, n, m, w: draw(m * n), bias: draw(m), adapters };
}

function adapterOf({ dtype, n, m }: Numbers, { a, b, r, alpha, bias, magnitude }: One): LoraAdapter {
  return new LoraAdapter({
    a: place(dtype, a, [r, n]),
    b: place(dtype, b, [m, r]),
    alpha,
    ...(bias && { bias: place(dtype, bias, [m]) }),
    ...(magnitude && { magnitude: place(dtype, magnitude, [m]) }),
  });
}

function build(numbers: Numbers, fanInFanOut = false): LoraLinear {
  const { dtype, n, m, w, bias, adapters } = numbers;
  const weight = fanInFanOut ? place(dtype, transpose(m, n, w), [n, m]) : place(dtype, w, [m, n]);
  const layer = new LoraLinear({ weight, bias: place(dtype, bias, [m]), fanInFanOut });
  for (const [name, one] of Object.entries(adapters)) layer.addAdapter(name, adapterOf(numbers, one));
  return layer;
}

/** W + Σ weight·s·B·A, and the bias with it. */
function weightOf(numbers: Numbers, weights: { [name: string]: number }): { w: Float64Array; bias: Float64Array } {
  const { n, m } = numbers;
  const w = numbers.w.slice();
  const bias = numbers.bias.slice();
  for (const [name, weight] of Object.entries(weights)) {
    const { a, b, r, alpha, bias: more } = numbers.adapters[name] as One;
    const delta = multiply(m, n, r, b, a);
    const scale = (weight * alpha) / r;
    for (let i = 0; i < w.length; i++) w[i] = (w[i] as number) + scale * (delta[i] as number);
    if (more !== undefined) for (let o = 0; o < m; o++) bias[o] = (bias[o] as number) + scale * (more[o] as number);
  }
  return { w, bias };
}

function product(x: Float64Array, rows: number, { w, bias }: { w: Float64Array; bias: Float64Array }): Float64Array {
  const m = bias.length;
  const n = w.length / m;
  return multiply(rows, m, n, x, transpose(m, n, w)).map((value, i) => value + (bias[i % m] as number));
}

const inputs = (dtype: DType, rows: number, n: number) => round(dtype, new Random(99).array(rows * n, "normal"));

describe("sets of adapters", () => {
  test.each(DTYPES)("setAdapters: the sum of several with their factors (%s)", (dtype) => {
    for (const fanInFanOut of [false, true]) {
      const numbers = numbersOf(dtype);
      const layer = build(numbers, fanInFanOut);
      const x = inputs(dtype, 7, 20);
      const y = () => layer.forward(place(dtype, x, [7, 20])).toTyped();
      for (const weights of [
        { one: 1 },
        { three: -0.5, one: 2 },
        { one: 1, three: 1, eight: 0.25, plain: -1 },
        { eight: 0 },
        {},
      ]) {
        layer.setAdapters(weights);
        expect(layer.active).toEqual(weights);
        const expected = product(x, 7, weightOf(numbers, weights));
        expect(largestRowError(y(), expected, 30)).toBeLessThan(2 * TOLERANCE[dtype]);
        // and merged
        if (Object.keys(weights).length === 0) continue;
        layer.merge();
        expect(layer.merged.sort()).toEqual(Object.keys(weights).sort());
        expect(largestRowError(y(), expected, 30)).toBeLessThan(2 * TOLERANCE[dtype]);
        layer.setAdapters(weights);
        layer.unmerge();
      }
      layer.setAdapters("three");
      expect(layer.active).toEqual({ three: 1 });
      const missing = product(x, 7, weightOf(numbers, {}));
      expect(largestRowError(y(), missing, 30)).toBeGreaterThan(0.01);
      layer.removeAdapter("three");
      expect(layer.active).toEqual({});
      expect(largestRowError(y(), missing, 30)).toBeLessThan(TOLERANCE[dtype]);
      layer.dispose();
    }
  });

  test("setAdapters: any names", () => {
    const layer = new LoraLinear({ weight: [[1]] });
    const adapter = new LoraAdapter({ a: [[1]], b: [[1]] });
    for (const name of ["__proto__", "constructor", ""]) layer.addAdapter(name, adapter);
    layer.setAdapters(
      Object.fromEntries([
        ["__proto__", 2],
        ["constructor", 3],
        ["", 4],
      ]),
    );
    expect(Object.entries(layer.active)).toEqual([
      ["__proto__", 2],
      ["constructor", 3],
      ["", 4],
    ]);
    expect(layer.forward([[1]], { train: true }).toArray()).toEqual([[10]]);
    expect(Object.keys(layer.backward([[1]]).adapters)).toEqual(["__proto__", "constructor", ""]);
    expect(layer.forward([[1], [1]], { adapters: ["__proto__", null] }).toArray()).toEqual([[2], [1]]);
    layer.dispose();
  });
});

describe("mixed batches", () => {
  test.each(DTYPES)("forward: each row with its adapter, as that row alone (%s)", (dtype) => {
    for (const fanInFanOut of [false, true]) {
      const numbers = numbersOf(dtype);
      const layer = build(numbers, fanInFanOut);
      const names = ["three", null, "one", "three", "eight", null, "plain", "three", "one"];
      const x = inputs(dtype, names.length, 20);
      const tokens = place(dtype, x, [3, 3, 20]);
      const y = layer.forward(tokens, { adapters: names });
      expect(y.shape).toEqual([3, 3, 30]);
      const rows = y.reshape([9, 30]);
      const base = layer.forward(tokens, { adapters: names.map(() => null) }).reshape([9, 30]);
      names.forEach((name, i) => {
        const row = x.slice(i * 20, (i + 1) * 20);
        const expected = product(row, 1, weightOf(numbers, name === null ? {} : { [name]: 1 }));
        const got = rows.subtensor(i, i + 1).toTyped();
        expect(largestRowError(got, expected, 30), `${name}`).toBeLessThan(2 * TOLERANCE[dtype]);
        layer.setAdapters(name);
        const alone = layer.forward(place(dtype, row, [1, 20])).toTyped();
        expect(sameBits(got, alone), `${name}`).toBe(true);
        // the base alone is the same to the bit; with an adapter it is another row
        expect(sameBits(got, base.subtensor(i, i + 1).toTyped()), `${name}`).toBe(name === null);
      });
      // a wrong order of the names is seen
      const turned = layer.forward(tokens, { adapters: [...names].reverse() }).reshape([9, 30]);
      expect(largestRowError(turned.subtensor(0, 1).toTyped(), rows.subtensor(0, 1).toTyped(), 30)).toBeGreaterThan(
        0.01,
      );
      layer.enabled = false;
      expect(sameBits(layer.forward(tokens, { adapters: names }).toTyped(), base.toTyped())).toBe(true);
      layer.dispose();
    }
  });

  test("forward: no rows, and nothing left behind", () => {
    const layer = build(numbersOf("f64"));
    expect(layer.forward(place("f64", [], [0, 20]), { adapters: [] }).shape).toEqual([0, 30]);
    const x = place("f64", inputs("f64", 3, 20), [3, 20]);
    const { usedBytes } = capabilities();
    scope(() => {
      layer.forward(x, { adapters: ["one", "three", null] });
    });
    expect(capabilities().usedBytes).toBe(usedBytes);
    layer.merge("one");
    expect(() => layer.forward(x, { adapters: ["one", "three", null] })).toThrow(
      expect.objectContaining({ code: "merged", message: 'adapter "one" is merged: unmerge() first' }),
    );
    layer.dispose();
  });
});

describe("merges of several adapters", () => {
  test.each(DTYPES)("merge, unmerge: in any order the same bits, and the base again (%s)", (dtype) => {
    const numbers = numbersOf(dtype);
    const layer = build(numbers);
    const base = [layer.weight.toTyped(), layer.bias?.toTyped()] as const;
    const bits = () => [layer.weight.toTyped(), layer.bias?.toTyped()] as const;
    const same = (x: ReturnType<typeof bits>, y: ReturnType<typeof bits>) =>
      sameBits(x[0], y[0]) && sameBits(x[1] as Float64Array, y[1] as Float64Array);
    layer.merge(["one", "three", "eight"]);
    expect(layer.merged).toEqual(["one", "three", "eight"]);
    const all = bits();
    const { w, bias } = weightOf(numbers, { one: 1, three: 1, eight: 1 });
    expect(largestRowError(all[0], w, 20)).toBeLessThan(TOLERANCE[dtype]);
    expect(largestRowError(all[1] as Float64Array, bias, 30)).toBeLessThan(TOLERANCE[dtype]);
    layer.unmerge("three");
    const two = bits();
    layer.unmerge();
    expect(same(bits(), base)).toBe(true);
    layer.merge("eight");
    const eight = bits();
    expect(same(eight, all)).toBe(false);
    layer.merge("one");
    expect(layer.merged).toEqual(["one", "eight"]);
    expect(same(bits(), two)).toBe(true);
    layer.merge(["three", "one"]);
    expect(same(bits(), all)).toBe(true);
    layer.unmerge(["one", "three", "plain"]);
    expect(same(bits(), eight)).toBe(true);
    layer.unmerge("eight");
    expect(layer.merged).toEqual([]);
    expect(same(bits(), base)).toBe(true);
    layer.dispose();
  });

  test("merge: a broken one names itself, and what was merged stays", () => {
    const numbers = numbersOf("f64");
    const layer = build(numbers);
    const broken = adapterOf(numbers, { ...(numbers.adapters.plain as One), b: new Float64Array(60).fill(Number.NaN) });
    layer.addAdapter("broken", broken);
    layer.merge(["one", "eight"]);
    const before = layer.weight.toTyped();
    const { usedBytes } = capabilities();
    expect(() => layer.merge(["three", "broken"])).toThrow(/^merging "broken" /);
    expect(sameBits(layer.weight.toTyped(), before)).toBe(true);
    expect([layer.merged, capabilities().usedBytes]).toEqual([["one", "eight"], usedBytes]);
    layer.unmerge();
    layer.merge(["three", "plain"], { keepBase: false });
    expect(largestRowError(layer.weight.toTyped(), weightOf(numbers, { three: 1, plain: 1 }).w, 20)).toBeLessThan(
      1e-13,
    );
    expect(layer.adapters).toEqual(["one", "eight", "broken"]);
    layer.dispose();
  });
});

describe("any sequence of calls", () => {
  type Call = ["merge" | "unmerge", number] | ["all"] | ["set", number, number] | ["toggle"] | ["batch"];
  const calls: fc.Arbitrary<Call[]> = fc.array(
    fc.oneof(
      fc.tuple(fc.constantFrom("merge" as const, "unmerge" as const), fc.integer({ min: 1, max: 15 })),
      fc.constant<Call>(["all"]),
      fc.tuple(fc.constant("set" as const), fc.integer({ min: 0, max: 15 }), fc.constantFrom(1, -0.5)),
      fc.constant<Call>(["toggle"]),
      fc.constant<Call>(["batch"]),
    ),
    { maxLength: 12 },
  );

  test("LoraLinear: the output is that of the sets, whatever came before, and the base is never touched", () => {
    const numbers = numbersOf("f64", 5, 4);
    const names = Object.keys(RANKS);
    const x = inputs("f64", 3, 5);
    const placed = place("f64", x, [3, 5]);
    fc.assert(
      fc.property(calls, (sequence) => {
        const layer = build(numbers);
        const base = layer.weight.toTyped();
        let active: { [name: string]: number } = { one: 1 };
        let merged: { [name: string]: number } = {};
        let enabled = true;
        const { usedBytes } = capabilities();
        for (const [what, bits = 0, factor = 1] of sequence) {
          const chosen = names.filter((_, i) => (bits >> i) & 1);
          const refused = (f: () => void) => expect(f).toThrow(expect.objectContaining({ code: "merged" }));
          if (what === "merge") {
            layer.merge(chosen);
            for (const name of chosen) merged[name] ??= active[name] ?? 1;
          } else if (what === "unmerge") {
            layer.unmerge(chosen);
            for (const name of chosen) delete merged[name];
          } else if (what === "all") {
            layer.unmerge();
            merged = {};
          } else if (what === "set") {
            const wanted = Object.fromEntries(chosen.map((name) => [name, factor as number]));
            const same =
              JSON.stringify(Object.entries(wanted).sort()) === JSON.stringify(Object.entries(merged).sort());
            if (Object.keys(merged).length === 0 || same) {
              layer.setAdapters(wanted);
              active = wanted;
            } else refused(() => layer.setAdapters(wanted));
          } else if (what === "toggle") {
            enabled = !enabled;
            layer.enabled = enabled;
            if (!enabled) merged = {};
          } else if (enabled && Object.keys(merged).length > 0) {
            refused(() => layer.forward(placed, { adapters: ["one", null, "eight"] }));
          }
          expect(layer.merged).toEqual(names.filter((name) => name in merged));
          expect(layer.active).toEqual(active);
          const counting = !enabled ? {} : Object.keys(merged).length > 0 ? merged : active;
          const y = scope(() => layer.forward(placed).toTyped());
          expect(largestRowError(y, product(x, 3, weightOf(numbers, counting)), 4)).toBeLessThan(1e-12);
        }
        layer.unmerge();
        expect(sameBits(layer.weight.toTyped(), base)).toBe(true);
        expect(capabilities().usedBytes).toBe(usedBytes);
        layer.dispose();
      }),
      { numRuns: 60, seed: 4 },
    );
  });
});

describe("DoRA", () => {
  /** diag(m/‖W + s·B·A‖)·(W + s·B·A) */
  function doraWeight(numbers: Numbers, name: string, weight = 1): { w: Float64Array; bias: Float64Array } {
    const { w } = weightOf(numbers, { [name]: weight });
    const { n, m } = numbers;
    const { magnitude } = numbers.adapters[name] as One;
    for (let o = 0; o < m; o++) {
      const row = w.subarray(o * n, (o + 1) * n);
      const length = Math.hypot(...row);
      for (let i = 0; i < n; i++) row[i] = ((row[i] as number) * ((magnitude as Float64Array)[o] as number)) / length;
    }
    return { w, bias: numbers.bias };
  }

  function withDora(dtype: DType, n: number, m: number): Numbers {
    const numbers = numbersOf(dtype, n, m);
    const random = new Random(5);
    const { a, b, r } = numbers.adapters.three as One;
    const magnitude = round(
      dtype,
      random.array(m, "uniform").map((value) => value + 0.5),
    );
    numbers.adapters = { dora: { a, b, r, alpha: 5, magnitude }, plain: numbers.adapters.plain as One };
    return numbers;
  }

  test.each(DTYPES)("forward, merge: agree with the formula, and unmerge gives the base back (%s)", (dtype) => {
    for (const [n, m] of [
      [1, 1],
      [5, 33],
      [70, 64],
      [33, 100],
    ] as const) {
      for (const fanInFanOut of [false, true]) {
        const numbers = withDora(dtype, n, m);
        const layer = build(numbers, fanInFanOut);
        const base = layer.weight.toTyped();
        const x = inputs(dtype, 6, n);
        const placed = place(dtype, x, [6, n]);
        for (const weight of [1, -0.5]) {
          layer.setAdapters({ dora: weight });
          const expected = product(x, 6, doraWeight(numbers, "dora", weight));
          expect(largestRowError(layer.forward(placed).toTyped(), expected, m)).toBeLessThan(5 * TOLERANCE[dtype]);
          layer.merge();
          expect(largestRowError(layer.forward(placed).toTyped(), expected, m)).toBeLessThan(5 * TOLERANCE[dtype]);
          const { w } = doraWeight(numbers, "dora", weight);
          const stored = fanInFanOut ? transpose(m, n, w) : w;
          expect(largestRowError(layer.weight.toTyped(), stored, fanInFanOut ? m : n)).toBeLessThan(TOLERANCE[dtype]);
          layer.unmerge();
          expect(sameBits(layer.weight.toTyped(), base)).toBe(true);
          // without the magnitude it is another layer
          if (n > 1)
            expect(largestRowError(expected, product(x, 6, weightOf(numbers, { dora: weight })), m)).toBeGreaterThan(
              0.01,
            );
        }
        layer.dispose();
      }
    }
  });

  test("create: starts as the base layer", () => {
    for (const fanInFanOut of [false, true]) {
      const numbers = numbersOf("f64");
      const layer = build(numbers, fanInFanOut);
      const x = place("f64", inputs("f64", 3, 20), [3, 20]);
      layer.setAdapters(null);
      const base = layer.forward(x).toTyped();
      layer.addAdapter("new", { r: 4, useDora: true }, { seed: 3 });
      layer.setAdapters("new");
      expect(largestRowError(layer.forward(x).toTyped(), base, 30)).toBeLessThan(1e-14);
      const { magnitude } = layer.adapter("new");
      const first = Math.hypot(...numbers.w.subarray(0, 20));
      expect((magnitude as Tensor).toTyped()[0]).toBeCloseTo(first, 12);
      layer.dispose();
    }
  });

  test("forward: a row of length 0 stays 0", () => {
    const layer = new LoraLinear({
      weight: [
        [0, 0],
        [3, 4],
      ],
    });
    layer.addAdapter("a", { r: 1, useDora: true });
    expect(layer.forward([[1, 1]], { train: true }).toArray()).toEqual([[0, 7]]);
    layer.merge();
    expect(layer.forward([[1, 1]]).toArray()).toEqual([[0, 7]]);
    layer.unmerge();
    const { a, magnitude } = layer.backward([[1, 1]]).adapters;
    expect([a?.magnitude?.toArray(), magnitude]).toEqual([[0, 7 / 5], undefined]);
    layer.dispose();
  });

  test("DoRA stands alone: no others active or merged, no mixed batch, no bias", () => {
    const numbers = withDora("f64", 20, 30);
    const layer = build(numbers);
    layer.addAdapter("second", adapterOf(numbers, numbers.adapters.dora as One));
    const x = place("f64", inputs("f64", 2, 20), [2, 20]);
    for (const weights of [
      { dora: 1, second: 1 },
      { plain: 1, dora: 0.5 },
    ]) {
      expect(() => layer.setAdapters(weights)).toThrow(TypeError);
    }
    expect(() => layer.merge(["dora", "plain"])).toThrow(TypeError);
    layer.merge("plain");
    expect(() => layer.merge("dora")).toThrow(
      /^"name" expected no others merged beside the DoRA adapter "dora", got "dora", "plain"$/,
    );
    expect(layer.merged).toEqual(["plain"]);
    layer.unmerge();
    expect(() => layer.forward(x, { adapters: ["plain", "dora"] })).toThrow(TypeError);
    expect(layer.active).toEqual({ dora: 1 });
    expect(() => layer.addAdapter("biased", { useDora: true, loraBias: true })).toThrow(TypeError);
    expect(() => LoraAdapter.create({ inFeatures: 2, outFeatures: 2, useDora: true })).toThrow(TypeError);
    layer.dispose();
  });
});
