import { describe, expect, test } from "vitest";
import { capabilities, type DType, scope, type Tensor, tensor, zeros } from "../../bindings/index.js";
import { LoraAdapter, LoraLinear } from "../../bindings/lora.js";
import { Random } from "../support/random.js";
import { multiply, transpose } from "../support/reference.js";
import {
  build,
  buildAdapter,
  deltaOf,
  forward,
  type Layer,
  type LayerShape,
  largestRowError,
  place,
  randomLayer,
  round,
  TOLERANCE,
} from "./reference.js";

const DTYPES = ["f32", "f64"] as const;
const rowsOf = (lead: readonly number[]) => lead.reduce((product, length) => product * length, 1);

/** An input with leading axes, in kernel memory and as numbers. */
function input(random: Random, dtype: DType, lead: readonly number[], width: number) {
  const numbers = round(dtype, random.array(rowsOf(lead) * width, "normal"));
  return { numbers, x: place(dtype, numbers, [...lead, width]) };
}

describe("forward", () => {
  const layers: Omit<LayerShape, "dtype">[] = [
    { outFeatures: 1, inFeatures: 1, r: 1 },
    { outFeatures: 5, inFeatures: 3, r: 2, bias: true },
    { outFeatures: 17, inFeatures: 33, r: 3, alpha: 6, loraBias: true },
    { outFeatures: 33, inFeatures: 17, r: 40, alpha: 10, useRslora: true },
    { outFeatures: 64, inFeatures: 64, r: 8, alpha: 16, bias: true, loraBias: true },
    { outFeatures: 130, inFeatures: 300, r: 8, alpha: -4, bias: true },
    { outFeatures: 6, inFeatures: 0, r: 2, bias: true },
    { outFeatures: 0, inFeatures: 6, r: 2 },
  ];
  const leads = [[], [1], [7], [2, 3], [2, 0, 3], [1, 2, 1, 2]];

  test.each(DTYPES)("forward: agrees with the formula, any shape and any leading axes (%s)", (dtype) => {
    const random = new Random(10);
    for (const shape of layers) {
      for (const fanInFanOut of [false, true]) {
        const layer = randomLayer(random, { ...shape, dtype });
        const module = build(layer, { fanInFanOut });
        for (const lead of leads) {
          const what = JSON.stringify({ ...shape, fanInFanOut, lead });
          const { x, numbers } = input(random, dtype, lead, layer.inFeatures);
          const y = module.forward(x);
          expect(y, what).toMatchObject({ dtype, shape: [...lead, layer.outFeatures] });
          const expected = forward(layer, numbers, rowsOf(lead));
          const error = largestRowError(y.toTyped(), expected, layer.outFeatures || 1);
          expect(error, what).toBeLessThan(TOLERANCE[dtype]);
          expect(x.toTyped(), what).toEqual(dtype === "f32" ? Float32Array.from(numbers) : numbers);
          y.dispose();
          x.dispose();
        }
        module.dispose();
      }
    }
  });

  test.each(DTYPES)("forward: a layer of real size (%s)", (dtype) => {
    const random = new Random(11);
    const layer = randomLayer(random, { dtype, inFeatures: 768, outFeatures: 768, r: 8, alpha: 16, bias: true });
    const module = build(layer);
    const { x, numbers } = input(random, dtype, [2, 9], 768);
    const y = scope(() => module.forward(x).toTyped());
    expect(largestRowError(y, forward(layer, numbers, 18), 768)).toBeLessThan(TOLERANCE[dtype]);
    module.merge();
    const merged = scope(() => module.forward(x).toTyped());
    expect(largestRowError(merged, forward(layer, numbers, 18), 768)).toBeLessThan(TOLERANCE[dtype]);
    module.dispose();
  });

  test("forward: a wrong layer would be seen", () => {
    const random = new Random(12);
    const layer = randomLayer(random, {
      dtype: "f32",
      inFeatures: 8,
      outFeatures: 8,
      r: 8,
      alpha: 16,
      bias: true,
      loraBias: true,
    });
    const { x, numbers } = input(random, "f32", [3], 8);
    const far = (module: LoraLinear, y = forward(layer, numbers, 3)) =>
      largestRowError(module.forward(x).toTyped(), y, 8) > 100 * TOLERANCE.f32;
    const wrong = (change: Partial<Layer>, options = {}) => far(build({ ...layer, ...change }, options));
    expect(wrong({})).toBe(false);
    expect(wrong({ w: transpose(8, 8, layer.w) })).toBe(true);
    expect(wrong({ w: transpose(8, 8, layer.w) }, { fanInFanOut: true })).toBe(true);
    expect(wrong({ a: transpose(8, 8, layer.a) })).toBe(true);
    expect(wrong({ b: transpose(8, 8, layer.b) })).toBe(true);
    expect(wrong({ a: layer.b, b: layer.a })).toBe(true);
    expect(wrong({ alpha: 8 })).toBe(true);
    expect(wrong({ useRslora: true })).toBe(true);
    expect(wrong({ bias: undefined })).toBe(true);
    expect(wrong({ loraBias: undefined })).toBe(true);
    expect(far(build(layer), forward(layer, numbers, 3, false))).toBe(true);
  });

  test("forward: inputs of any form", () => {
    const module = new LoraLinear({
      weight: [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      bias: [1, 1, 1],
    });
    module.addAdapter("a", new LoraAdapter({ a: [[1, -1]], b: [[1], [0], [2]] }));
    const expected = [
      [5, 12, 16],
      [4, 8, 12],
    ];
    const x = tensor([
      [1, 1],
      [2, 1],
    ]).transpose();
    for (const form of [
      [
        [1, 2],
        [1, 1],
      ],
      x,
      { data: Float64Array.of(1, 1, 2, 1), shape: [2, 2], strides: [1, 2] },
    ]) {
      expect(module.forward(form).toArray()).toEqual(expected);
    }
    expect(module.forward(Float64Array.of(1, 2)).toArray()).toEqual(expected[0]);
    expect(module.forward([1, 2]).shape).toEqual([3]);
  });

  test("forward: without an adapter, the base layer", () => {
    const module = new LoraLinear({ weight: zeros([2, 3], "f32") });
    expect(module).toMatchObject({
      dtype: "f32",
      inFeatures: 3,
      outFeatures: 2,
      active: {},
      merged: [],
      enabled: true,
    });
    expect(module.adapters).toEqual([]);
    expect(module.forward([[1, 2, 3]])).toMatchObject({ dtype: "f32", shape: [1, 2] });
  });
});

describe("adapters of a layer", () => {
  const weight = () =>
    tensor([
      [1, 0],
      [0, 1],
    ]);
  const adapter = (scale: number) => new LoraAdapter({ a: [[scale, 0]], b: [[1], [0]] });

  test("setAdapters, enabled: choose what forward adds", () => {
    const module = new LoraLinear({ weight: weight() });
    const y = () => scope(() => module.forward([1, 1]).toArray());
    module.addAdapter("two", adapter(2));
    module.addAdapter("three", adapter(3));
    expect([module.adapters, module.active]).toEqual([["two", "three"], { two: 1 }]);
    expect(y()).toEqual([3, 1]);
    module.setAdapters("three");
    expect(y()).toEqual([4, 1]);
    module.setAdapters(null);
    expect(y()).toEqual([1, 1]);
    module.setAdapters("two");
    module.enabled = false;
    expect(y()).toEqual([1, 1]);
    module.enabled = true;
    expect(y()).toEqual([3, 1]);
    module.removeAdapter("two");
    expect([module.adapters, module.active]).toEqual([["three"], {}]);
    expect(y()).toEqual([1, 1]);
    expect(module.adapter("three").scaling).toBe(1);
  });

  test.each(DTYPES)("enabled: a disabled adapter gives the bits of the base layer (%s)", (dtype) => {
    const random = new Random(20);
    const layer = randomLayer(random, { dtype, inFeatures: 50, outFeatures: 40, r: 4, bias: true, loraBias: true });
    const module = build(layer);
    const { x } = input(random, dtype, [6], 50);
    const base = new LoraLinear({ weight: module.weight, bias: module.bias as Tensor });
    const expected = base.forward(x).toTyped();
    expect(module.forward(x).toTyped()).not.toEqual(expected);
    module.enabled = false;
    expect(module.forward(x).toTyped()).toEqual(expected);
  });

  test("addAdapter: the layer keeps the factors, the adapter may go", () => {
    const module = new LoraLinear({ weight: weight() });
    const two = adapter(2);
    module.addAdapter("two", two);
    two.dispose();
    expect(module.forward([1, 1]).toArray()).toEqual([3, 1]);
    // one adapter may serve several layers
    const shared = adapter(5);
    const others = [new LoraLinear({ weight: weight() }), new LoraLinear({ weight: weight() })];
    for (const other of others) other.addAdapter("a", shared);
    others[0]?.dispose();
    shared.dispose();
    expect(others[1]?.forward([1, 1]).toArray()).toEqual([6, 1]);
  });

  test("LoraLinear: a contiguous weight is held by reference, all else is copied", () => {
    const w = weight();
    const module = new LoraLinear({ weight: w });
    w.data[0] = 7;
    expect(module.forward([1, 1]).toArray()).toEqual([7, 1]);
    w.dispose();
    expect(module.forward([1, 1]).toArray()).toEqual([7, 1]);
    const rows = [
      [1, 2],
      [3, 4],
    ];
    const copied = new LoraLinear({ weight: rows });
    (rows[0] as number[])[0] = 100;
    expect(copied.forward([1, 0]).toArray()).toEqual([1, 3]);
    const view = new LoraLinear({
      weight: tensor([
        [1, 2],
        [3, 4],
      ]).transpose(),
    });
    expect(view.forward([1, 0]).toArray()).toEqual([1, 2]);
  });

  test("dispose: gives everything back, twice is a no-op", () => {
    const w = weight();
    const { usedBytes } = capabilities();
    const module = new LoraLinear({ weight: w, bias: [1, 2] });
    const two = adapter(2);
    module.addAdapter("two", two);
    two.dispose();
    module.merge();
    module.dispose();
    module.dispose();
    module[Symbol.dispose]();
    expect(capabilities().usedBytes).toBe(usedBytes);
    expect(w.toArray()).toEqual([
      [1, 0],
      [0, 1],
    ]);
    for (const use of [
      () => module.forward([1, 1]),
      () => module.merge("two"),
      () => module.addAdapter("x", adapter(1)),
    ]) {
      expect(use).toThrow(expect.objectContaining({ code: "disposed" }));
    }
  });
});

describe("merge and unmerge", () => {
  const shapes: Omit<LayerShape, "dtype">[] = [
    { outFeatures: 5, inFeatures: 3, r: 2 },
    { outFeatures: 33, inFeatures: 65, r: 4, alpha: 8, bias: true, loraBias: true },
    { outFeatures: 65, inFeatures: 33, r: 4, alpha: 8, useRslora: true, bias: true },
    { outFeatures: 7, inFeatures: 0, r: 1 },
  ];

  test.each(DTYPES.flatMap((dtype) => [false, true].map((fanInFanOut) => ({ dtype, fanInFanOut }))))(
    "merge: W + ΔW, the same output, and W again bit for bit ($dtype, fanInFanOut $fanInFanOut)",
    ({ dtype, fanInFanOut }) => {
      const random = new Random(30);
      for (const shape of shapes) {
        const layer = randomLayer(random, { ...shape, dtype });
        const { inFeatures: n, outFeatures: m } = layer;
        const module = build(layer, { fanInFanOut });
        const { x, numbers } = input(random, dtype, [5], n);
        const weight = module.weight.toTyped();
        const bias = module.bias?.toTyped();
        const before = module.forward(x).toTyped();

        module.merge();
        expect(module.merged).toEqual(["a"]);
        const delta = deltaOf(layer);
        const sum = layer.w.map((value, i) => value + (delta[i] as number));
        const merged = module.weight.toTyped();
        const expected = fanInFanOut ? transpose(m, n, sum) : sum;
        expect(largestRowError(merged, expected, fanInFanOut ? m : n)).toBeLessThan(TOLERANCE[dtype]);
        const y = module.forward(x).toTyped();
        expect(largestRowError(y, forward(layer, numbers, 5), m)).toBeLessThan(TOLERANCE[dtype]);
        expect(largestRowError(y, before, m)).toBeLessThan(TOLERANCE[dtype]);

        // merging what is merged does nothing
        module.merge("a");
        expect(module.weight.toTyped()).toEqual(merged);

        module.unmerge();
        expect(module.merged).toEqual([]);
        expect(module.weight.toTyped()).toEqual(weight);
        expect(module.bias?.toTyped()).toEqual(bias);
        expect(module.forward(x).toTyped()).toEqual(before);
        module.unmerge();
        module.dispose();
      }
    },
  );

  test("merge: an adapter without a bias leaves the layer's bias alone", () => {
    const module = new LoraLinear({
      weight: [
        [1, 0],
        [0, 1],
      ],
      bias: [10, 20],
    });
    module.addAdapter("a", new LoraAdapter({ a: [[1, 1]], b: [[1], [0]] }));
    expect(module.forward([1, 2]).toArray()).toEqual([14, 22]);
    module.merge();
    expect(module.forward([1, 2]).toArray()).toEqual([14, 22]);
    expect(module.bias?.toArray()).toEqual([10, 20]);
  });

  test("merge: any adapter by its name; then none is chosen or removed until unmerge", () => {
    const module = new LoraLinear({ weight: [[1]] });
    for (const [name, b] of [
      ["one", 1],
      ["ten", 10],
    ] as const) {
      module.addAdapter(name, new LoraAdapter({ a: [[1]], b: [[b]] }));
    }
    const y = () => scope(() => module.forward([1]).toArray());
    module.merge("ten");
    expect([module.merged, y()]).toEqual([["ten"], [11]]);
    const refused = expect.objectContaining({ code: "merged", message: 'adapter "ten" is merged: unmerge() first' });
    expect(() => module.setAdapters("one")).toThrow(refused);
    expect(() => module.setAdapters({ ten: 2 })).toThrow(refused);
    expect(() => module.merge("one", { keepBase: false })).toThrow(refused);
    expect(() => module.removeAdapter("ten")).toThrow(refused);
    module.setAdapters("ten");
    module.removeAdapter("one");
    expect(y()).toEqual([11]);
    module.unmerge();
    expect(y()).toEqual([11]);
    module.removeAdapter("ten");
    expect(y()).toEqual([1]);
  });

  test("enabled: switching off while merged unmerges", () => {
    const module = new LoraLinear({ weight: [[1]] });
    module.addAdapter("a", new LoraAdapter({ a: [[1]], b: [[1]] }));
    module.merge();
    module.enabled = false;
    expect([module.merged, module.forward([1]).toArray()]).toEqual([[], [1]]);
    module.enabled = true;
    expect(module.forward([1]).toArray()).toEqual([2]);
  });

  test("merge: of a disabled layer counts when it is enabled again", () => {
    const module = new LoraLinear({ weight: [[1]], bias: [5] });
    module.addAdapter("a", new LoraAdapter({ a: [[1]], b: [[1]], bias: [2] }));
    module.enabled = false;
    module.merge();
    expect(module.forward([1]).toArray()).toEqual([6]);
    module.enabled = true;
    expect([module.merged, module.forward([1]).toArray()]).toEqual([["a"], [9]]);
  });

  const single = (values: number[][]) => tensor(values, { dtype: "f32" });

  test.each<[string, Float32Array, { a: number[][]; b: number[][]; bias?: number[]; alpha?: number }]>([
    ["NaN in A", Float32Array.of(1, 2), { a: [[Number.NaN, 0]], b: [[1], [1]] }],
    ["Infinity in B", Float32Array.of(1, 2), { a: [[1, 1]], b: [[Infinity], [1]] }],
    ["a sum that overflows", Float32Array.of(3e38, 3e38), { a: [[3e38, 0]], b: [[1], [0]] }],
    ["a product that overflows", Float32Array.of(1, 2), { a: [[1e30, 1]], b: [[1], [1e30]] }],
    ["NaN in the bias", Float32Array.of(1, 2), { a: [[1, 1]], b: [[1], [1]], bias: [0, Number.NaN] }],
    ["a bias that overflows", Float32Array.of(1, 2), { a: [[1, 1]], b: [[1], [1]], bias: [3e38, 0], alpha: 2 }],
  ])("merge: safe refuses %s and leaves everything as it was", (_, row, factors) => {
    const weight = tensor(Float32Array.of(...row, ...row), { shape: [2, 2] });
    const bias = tensor(Float32Array.of(3e38, 1));
    const module = new LoraLinear({ weight, bias });
    module.addAdapter("bad", new LoraAdapter({ ...factors, a: single(factors.a) }));
    module.addAdapter("good", new LoraAdapter({ a: zeros([1, 2], "f32"), b: zeros([2, 1], "f32") }));
    const { usedBytes } = capabilities();
    const bits = [weight.toTyped(), bias.toTyped()];
    for (const options of [{}, { safe: true }, { keepBase: false }]) {
      expect(() => module.merge("bad", options)).toThrow(
        expect.objectContaining({
          code: "non_finite_merge",
          message: expect.stringMatching(/^merging "bad" .* entry \d+$/),
        }),
      );
      expect([weight.toTyped(), bias.toTyped()]).toEqual(bits);
      expect([module.merged, module.adapters]).toEqual([[], ["bad", "good"]]);
      expect(capabilities().usedBytes).toBe(usedBytes);
    }
    module.merge("good");
    module.unmerge();
    module.merge("bad", { safe: false });
    expect(module.merged).toEqual(["bad"]);
    module.unmerge();
    expect([weight.toTyped(), bias.toTyped()]).toEqual(bits);
  });

  test("merge: keepBase false writes the weight in place, and there is no way back", () => {
    const random = new Random(31);
    const layer = randomLayer(random, {
      dtype: "f64",
      inFeatures: 9,
      outFeatures: 6,
      r: 2,
      bias: true,
      loraBias: true,
    });
    const weight = place("f64", layer.w, [6, 9]);
    const bias = place("f64", layer.bias as Float64Array, [6]);
    const module = new LoraLinear({ weight, bias });
    const adapter = scope(() => buildAdapter(layer));
    module.addAdapter("a", adapter);
    adapter.dispose();
    const { x, numbers } = input(random, "f64", [4], 9);
    const { usedBytes } = capabilities();
    module.merge("a", { keepBase: false });
    expect(capabilities().usedBytes).toBeLessThan(usedBytes);
    expect(largestRowError(module.forward(x).toTyped(), forward(layer, numbers, 4), 6)).toBeLessThan(TOLERANCE.f64);
    const delta = multiply(6, 9, 2, layer.b, layer.a);
    expect(
      largestRowError(
        weight.toTyped(),
        layer.w.map((w, i) => w + (delta[i] as number)),
        9,
      ),
    ).toBeLessThan(1e-14);
    expect(module.adapters).toEqual([]);
    expect(() => module.unmerge()).toThrow(
      expect.objectContaining({ code: "merged", message: expect.stringContaining("keepBase: false") }),
    );
  });

  test("unmerge, removeAdapter: give back what they no longer need", () => {
    const module = new LoraLinear({ weight: zeros([50, 40]), bias: zeros([50]) });
    const { usedBytes } = capabilities();
    const adapter = scope(() => new LoraAdapter({ a: zeros([2, 40]), b: zeros([50, 2]), bias: zeros([50]) }));
    module.addAdapter("a", adapter);
    adapter.dispose();
    const { usedBytes: withAdapter } = capabilities();
    for (let i = 0; i < 3; i++) {
      module.merge();
      expect(capabilities().usedBytes).toBeGreaterThanOrEqual(withAdapter + 8 * 50 * 41);
      module.unmerge();
      expect(capabilities().usedBytes).toBe(withAdapter);
    }
    module.merge();
    module.enabled = false;
    expect(capabilities().usedBytes).toBe(withAdapter);
    module.removeAdapter("a");
    expect(capabilities().usedBytes).toBe(usedBytes);
  });

  test("unmerge: a layer that was never merged stays as it is", () => {
    const module = new LoraLinear({ weight: [[1]] });
    module.unmerge();
    expect(module.forward([1]).toArray()).toEqual([1]);
  });
});
