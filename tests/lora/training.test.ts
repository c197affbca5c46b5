// Gradients against central differences of the layer written down as its formula, and dropout.

import { describe, expect, test } from "vitest";
import { capabilities, type DType, scope, type Tensor, zeros } from "../../bindings/index.js";
import { LoraAdapter, LoraLinear } from "../../bindings/lora.js";
import { Random } from "../support/random.js";
import { transpose } from "../support/reference.js";
import { largestRowError, place, round, sameBits } from "./reference.js";

/** Everything that the output of a layer depends on; arrays are row-major. */
interface Model {
  dtype: DType;
  tokens: number;
  n: number;
  m: number;
  x: Float64Array;
  w: Float64Array;
  bias: Float64Array;
  adapters: One[];
}

interface One {
  name: string;
  r: number;
  alpha: number;
  useRslora: boolean;
  /** In the active set. */
  weight: number;
  a: Float64Array;
  b: Float64Array;
  bias?: Float64Array;
  magnitude?: Float64Array;
  /** Row lengths of the adapted weight: a constant. */
  norms?: Float64Array;
  dropout: number;
  /** Of x, as the layer drew it. */
  mask?: Float64Array;
  /** Of a mixed batch. */
  rows?: number[];
}

const SEED = 7;
const at = (x: ArrayLike<number>, i: number) => x[i] as number;

function scaleOf({ alpha, r, useRslora, weight }: One): number {
  return (weight * alpha) / (useRslora ? Math.sqrt(r) : r);
}

/** One row through A and B: s·B·(A·x) + s·bias. */
function update(one: One, x: ArrayLike<number>, n: number, m: number): number[] {
  const h = Array.from({ length: one.r }, (_, q) => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += at(one.a, q * n + i) * at(x, i);
    return sum;
  });
  return Array.from({ length: m }, (_, o) => {
    let sum = one.bias === undefined ? 0 : at(one.bias, o);
    for (let q = 0; q < one.r; q++) sum += at(one.b, o * one.r + q) * (h[q] as number);
    return scaleOf(one) * sum;
  });
}

function formula({ tokens, n, m, x, w, bias, adapters }: Model): Float64Array {
  const y = new Float64Array(tokens * m);
  const product = (row: ArrayLike<number>, o: number) => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += at(w, o * n + i) * at(row, i);
    return sum;
  };
  for (let t = 0; t < tokens; t++) {
    const row = x.subarray(t * n, (t + 1) * n);
    const out = Array.from({ length: m }, (_, o) => product(row, o) + at(bias, o));
    for (const one of adapters) {
      if (one.rows !== undefined && !one.rows.includes(t)) continue;
      const place = one.rows === undefined ? t : one.rows.indexOf(t);
      const dropped =
        one.mask === undefined ? row : row.map((value, i) => value * at(one.mask as Float64Array, place * n + i));
      const more = update(one, dropped, n, m);
      for (let o = 0; o < m; o++) {
        if (one.magnitude === undefined || one.norms === undefined) {
          out[o] = (out[o] as number) + (more[o] as number);
        } else {
          const base = product(dropped, o);
          const factor = at(one.magnitude, o) / at(one.norms, o);
          out[o] = (out[o] as number) - base + factor * (base + (more[o] as number));
        }
      }
    }
    y.set(out, t * m);
  }
  return y;
}

/** Row lengths of W + s·B·A. */
function normsOf(one: One, w: Float64Array, n: number, m: number): Float64Array {
  return Float64Array.from({ length: m }, (_, o) => {
    const row = Array.from({ length: n }, (_, i) => {
      let sum = 0;
      for (let q = 0; q < one.r; q++) sum += at(one.b, o * one.r + q) * at(one.a, q * n + i);
      return at(w, o * n + i) + scaleOf(one) * sum;
    });
    return Math.hypot(...row);
  });
}

type Kind = Partial<Pick<One, "r" | "alpha" | "useRslora" | "weight" | "dropout" | "rows">> & {
  loraBias?: boolean;
  dora?: boolean;
};

const SHAPE = { tokens: 4, n: 5, m: 6 };

function makeModel(kinds: readonly Kind[], dtype: DType = "f64", seed = 1, shape = SHAPE): Model {
  const random = new Random(seed);
  const { tokens, n, m } = shape;
  const numbers = (length: number) => round(dtype, random.array(length, "normal"));
  const model: Model = { dtype, ...shape, x: numbers(tokens * n), w: numbers(m * n), bias: numbers(m), adapters: [] };
  kinds.forEach((kind, i) => {
    const { r = 2, alpha = 3, useRslora = false, weight = 1, dropout = 0 } = kind;
    const one: One = { name: `a${i}`, r, alpha, useRslora, weight, dropout, a: numbers(r * n), b: numbers(m * r) };
    if (kind.rows !== undefined) one.rows = kind.rows;
    if (kind.loraBias) one.bias = numbers(m);
    if (kind.dora) {
      one.magnitude = numbers(m).map((value) => Math.abs(value) + 1);
      one.norms = normsOf(one, model.w, n, m);
    }
    model.adapters.push(one);
  });
  return model;
}

function build(model: Model, { fanInFanOut = false, trainable = true } = {}): LoraLinear {
  const { dtype, n, m, w, bias, adapters } = model;
  const weight = fanInFanOut ? place(dtype, transpose(m, n, w), [n, m]) : place(dtype, w, [m, n]);
  const layer = new LoraLinear({ weight, bias: place(dtype, bias, [m]), fanInFanOut, trainable });
  for (const { name, r, alpha, useRslora, dropout, a, b, bias: loraBias, magnitude } of adapters) {
    layer.addAdapter(
      name,
      new LoraAdapter({
        a: place(dtype, a, [r, n]),
        b: place(dtype, b, [m, r]),
        alpha,
        useRslora,
        dropout,
        ...(loraBias && { bias: place(dtype, loraBias, [m]) }),
        ...(magnitude && { magnitude: place(dtype, magnitude, [m]) }),
      }),
    );
  }
  layer.setAdapters(Object.fromEntries(adapters.map(({ name, weight: factor }) => [name, factor])));
  return layer;
}

function mixedOf({ tokens, adapters }: Model): (string | null)[] | undefined {
  if (adapters.every(({ rows }) => rows === undefined)) return undefined;
  return Array.from({ length: tokens }, (_, t) => adapters.find(({ rows }) => rows?.includes(t))?.name ?? null);
}

function train(layer: LoraLinear, model: Model): Float32Array | Float64Array {
  const adapters = mixedOf(model);
  const x = place(model.dtype, model.x, [model.tokens, model.n]);
  return layer.forward(x, { train: true, seed: SEED, ...(adapters && { adapters }) }).toTyped();
}

/** Finds what dropout does to each row: through A = I and B = I nothing else is seen. */
function findMasks(model: Model): void {
  const { n, tokens, dtype } = model;
  const eye = Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0));
  const probe: Model = {
    ...model,
    m: n,
    x: new Float64Array(tokens * n).fill(1),
    w: new Float64Array(n * n),
    bias: new Float64Array(n),
    adapters: model.adapters.map(({ name, dropout, rows }) => ({
      ...{ name, dropout, alpha: 1, r: n, useRslora: true, weight: Math.sqrt(n), a: eye, b: eye },
      ...(rows && { rows }),
    })),
  };
  for (const [i, one] of model.adapters.entries()) {
    if (one.dropout === 0) continue;
    const layer = build(probe);
    const adapters = mixedOf(probe);
    const x = place(dtype, probe.x, [tokens, n]);
    if (adapters === undefined) {
      // the others stay in their places, without effect
      layer.setAdapters(Object.fromEntries(probe.adapters.map(({ name, weight }, j) => [name, i === j ? weight : 0])));
    }
    const y = layer.forward(x, { train: true, seed: SEED, ...(adapters && { adapters }) }).toTyped();
    const mask = Float64Array.from(
      one.rows === undefined ? y : one.rows.flatMap((t) => [...y.subarray(t * n, (t + 1) * n)]),
    );
    if (one.rows !== undefined) for (let k = 0; k < mask.length; k++) mask[k] = at(mask, k) * Math.sqrt(n);
    one.mask = mask;
    layer.dispose();
  }
}

/** Central differences of Σ G∘y in each entry of an array of the model. */
function differences(model: Model, g: Float64Array, values: Float64Array): Float64Array {
  const loss = () => formula(model).reduce((sum, value, i) => sum + value * at(g, i), 0);
  const h = 1e-4;
  return values.map((value, i) => {
    values[i] = value + h;
    const above = loss();
    values[i] = value - h;
    const below = loss();
    values[i] = value;
    return (above - below) / (2 * h);
  });
}

/** The largest error of a gradient, relative to its largest entry. */
function far(got: Tensor | undefined, expected: Float64Array): number {
  if (got === undefined || got.size !== expected.length) return Infinity;
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return (
    Float64Array.from(got.toTyped()).reduce((most, value, i) => Math.max(most, Math.abs(value - at(expected, i))), 0) /
    largest
  );
}

/** The largest error of all gradients of a model's layer. */
function worst(model: Model, layer: LoraLinear, { fanInFanOut = false } = {}): { [what: string]: number } {
  const { tokens, m, n } = model;
  const g = round(model.dtype, new Random(2).array(tokens * m, "normal"));
  train(layer, model);
  const gradients = layer.backward(place(model.dtype, g, [tokens, m]));
  const dw = differences(model, g, model.w);
  const errors: { [what: string]: number } = {
    x: far(gradients.x, differences(model, g, model.x)),
    weight: far(gradients.weight, fanInFanOut ? transpose(m, n, dw) : dw),
    bias: far(gradients.bias, differences(model, g, model.bias)),
  };
  for (const one of model.adapters) {
    const got = gradients.adapters[one.name];
    errors[`${one.name}.a`] = far(got?.a, differences(model, g, one.a));
    errors[`${one.name}.b`] = far(got?.b, differences(model, g, one.b));
    if (one.bias !== undefined) errors[`${one.name}.bias`] = far(got?.bias, differences(model, g, one.bias));
    else expect(got).not.toHaveProperty("bias");
    if (one.magnitude !== undefined)
      errors[`${one.name}.magnitude`] = far(got?.magnitude, differences(model, g, one.magnitude));
    else expect(got).not.toHaveProperty("magnitude");
  }
  return errors;
}

const KINDS: [string, Kind[]][] = [
  ["no adapter", []],
  ["LoRA", [{}]],
  ["rsLoRA", [{ useRslora: true, r: 3 }]],
  ["LoRA bias", [{ loraBias: true }]],
  ["dropout", [{ dropout: 0.4 }]],
  ["dropout and LoRA bias", [{ dropout: 0.4, loraBias: true }]],
  ["DoRA", [{ dora: true }]],
  ["DoRA with rsLoRA and a factor", [{ dora: true, useRslora: true, weight: -0.7, r: 3 }]],
  ["DoRA with dropout", [{ dora: true, dropout: 0.4 }]],
  ["two adapters at once", [{ r: 1 }, { r: 3, alpha: 5, weight: 0.5, loraBias: true }]],
  [
    "two adapters, each with its own dropout",
    [
      { r: 1, dropout: 0.3 },
      { r: 3, alpha: 5, weight: -2, dropout: 0.5 },
    ],
  ],
  [
    "a mixed batch",
    [{ rows: [2, 0] }, { r: 3, alpha: 5, loraBias: true, rows: [3] }].map((k) => ({ ...k, rows: [...k.rows].sort() })),
  ],
  [
    "a mixed batch with dropout",
    [
      { rows: [0, 3], dropout: 0.5 },
      { r: 3, rows: [1], dropout: 0.3 },
    ],
  ],
];

describe("backward", () => {
  test.each(KINDS)("backward: central differences, f64: %s", (_, kinds) => {
    for (const fanInFanOut of [false, true]) {
      const model = makeModel(kinds);
      findMasks(model);
      const layer = build(model, { fanInFanOut });
      expect(largestRowError(train(layer, model), formula(model), model.m)).toBeLessThan(1e-13);
      for (const [what, error] of Object.entries(worst(model, layer, { fanInFanOut }))) {
        expect(error, what).toBeLessThan(1e-6);
      }
      layer.dispose();
    }
  });

  test("backward: f32 agrees with the differences in f64", () => {
    for (const [what, kinds] of KINDS) {
      const model = makeModel(kinds, "f32", 3);
      findMasks(model);
      const layer = build(model);
      for (const [which, error] of Object.entries(worst(model, layer)))
        expect(error, `${what}: ${which}`).toBeLessThan(1e-5);
      layer.dispose();
    }
  });

  test("backward: a wrong layer would be seen", () => {
    const square = { tokens: 4, n: 5, m: 5 };
    const errors = (kinds: Kind[], change: (one: One) => void) => {
      const model = makeModel(kinds, "f64", 5, square);
      const wrong = makeModel(kinds, "f64", 5, square);
      for (const one of wrong.adapters) change(one);
      return Math.max(...Object.values(worst(model, build(wrong))));
    };
    const seen = 1e-3;
    expect(errors([{ r: 5 }], () => {})).toBeLessThan(1e-6);
    expect(errors([{ r: 5 }], (one) => Object.assign(one, { a: transpose(5, 5, one.a) }))).toBeGreaterThan(seen);
    expect(errors([{ r: 5 }], (one) => Object.assign(one, { b: transpose(5, 5, one.b) }))).toBeGreaterThan(seen);
    expect(errors([{ r: 5 }], (one) => Object.assign(one, { alpha: one.r }))).toBeGreaterThan(seen);
    expect(errors([{ useRslora: true }], (one) => Object.assign(one, { useRslora: false }))).toBeGreaterThan(seen);
    expect(errors([{}, {}], (one) => Object.assign(one, { weight: 2 }))).toBeGreaterThan(seen);
    expect(errors([{ dora: true }], (one) => Object.assign(one, { magnitude: one.norms }))).toBeGreaterThan(seen);
    // dropout that the reference does not know of
    expect(errors([{}], (one) => Object.assign(one, { dropout: 0.5 }))).toBeGreaterThan(seen);
    // a norm that were not a constant would give another gradient
    const model = makeModel([{ dora: true }]);
    const g = new Random(2).array(model.tokens * model.m, "normal");
    const [one] = model.adapters as [One];
    const detached = differences(model, g, one.b);
    const h = 1e-4;
    const through = one.b.map((value, i) => {
      const loss = (changed: number) => {
        one.b[i] = changed;
        one.norms = normsOf(one, model.w, model.n, model.m);
        return formula(model).reduce((sum, y, j) => sum + y * at(g, j), 0);
      };
      const slope = (loss(value + h) - loss(value - h)) / (2 * h);
      one.b[i] = value;
      return slope;
    });
    expect(through.some((value, i) => Math.abs(value - at(detached, i)) > seen)).toBe(true);
  });

  test("backward: gives what is asked for and nothing else", () => {
    const model = makeModel([{}]);
    const layer = build(model, { trainable: false });
    const g = place("f64", new Float64Array(24).fill(1), [4, 6]);
    train(layer, model);
    expect(Object.keys(layer.backward(g)).sort()).toEqual(["adapters", "x"]);
    const without = layer.backward(g, { x: false });
    expect(Object.keys(without)).toEqual(["adapters"]);
    expect(Object.keys(without.adapters)).toEqual(["a0"]);
    expect(Object.keys(without.adapters.a0 as object).sort()).toEqual(["a", "b"]);
    expect(layer.biasTrainable).toBe(false);
    layer.addAdapter("config", { r: 1, bias: "lora_only" });
    expect(layer.biasTrainable).toBe(true);
    expect(layer.backward(g, { x: false }).bias?.toArray()).toEqual([4, 4, 4, 4, 4, 4]);
    // the first step of training: B is zero, so that only B moves
    layer.setAdapters("config");
    train(layer, model);
    const { config } = layer.backward(g).adapters;
    expect(config?.a.toTyped().every((value) => value === 0)).toBe(true);
    expect(config?.b.toTyped().some((value) => value !== 0)).toBe(true);
    layer.enabled = false;
    train(layer, model);
    expect(layer.backward(g).adapters).toEqual({});
    layer.dispose();
  });

  test("backward: empty batches, vectors and leading axes", () => {
    const model = makeModel([{ loraBias: true }]);
    const layer = build(model);
    for (const lead of [[], [1], [0], [2, 3], [2, 0, 3]]) {
      const size = lead.reduce((product, length) => product * length, 1);
      const x = place("f64", new Float64Array(size * 5).fill(1), [...lead, 5]);
      layer.forward(x, { train: true });
      const made = layer.backward(place("f64", new Float64Array(size * 6).fill(1), [...lead, 6]));
      expect(made.x?.shape).toEqual([...lead, 5]);
      expect(made.weight?.shape).toEqual([6, 5]);
      expect(made.bias?.toTyped()).toEqual(new Float64Array(6).fill(size));
      const { a, b, bias } = made.adapters.a0 as { a: Tensor; b: Tensor; bias?: Tensor };
      expect([a.shape, b.shape, bias?.shape]).toEqual([[2, 5], [6, 2], [6]]);
      if (size === 0) expect(a.toTyped().every((value) => value === 0)).toBe(true);
      expect(() => layer.backward(place("f64", new Float64Array(7), [7]))).toThrow(RangeError);
    }
    layer.dispose();
  });

  test("backward: a batch that spans blocks of the product", () => {
    const shape = { tokens: 70, n: 300, m: 40 };
    const model = makeModel(
      [
        { r: 8, loraBias: true },
        { r: 20, weight: 0.5 },
      ],
      "f64",
      9,
      shape,
    );
    const layer = build(model);
    const g = new Random(2).array(70 * 40, "normal");
    train(layer, model);
    const { adapters, x } = layer.backward(place("f64", g, [70, 40]));
    const [one] = model.adapters as [One];
    const exact = (values: Float64Array, index: number) => {
      const h = 1e-3;
      const value = at(values, index);
      const loss = (changed: number) => {
        values[index] = changed;
        return formula(model).reduce((sum, y, j) => sum + y * at(g, j), 0);
      };
      const slope = (loss(value + h) - loss(value - h)) / (2 * h);
      values[index] = value;
      return slope;
    };
    for (const [got, values, index] of [
      [adapters.a0?.a, one.a, 1234],
      [adapters.a0?.b, one.b, 317],
      [x, model.x, 20999],
    ] as const) {
      const slope = exact(values, index);
      expect(Math.abs(at(got?.toTyped() as Float64Array, index) - slope) / Math.abs(slope)).toBeLessThan(1e-6);
    }
    layer.dispose();
  });

  test("backward: x and gradOutput of any form", () => {
    const model = makeModel([{ loraBias: true }]);
    const layer = build(model);
    const g = new Random(2).array(24, "normal");
    train(layer, model);
    const expected = layer.backward(place("f64", g, [4, 6]));
    const turned = place("f64", transpose(4, 5, model.x), [5, 4]).transpose();
    layer.forward(turned, { train: true });
    const rows = Array.from({ length: 4 }, (_, t) => Array.from(g.subarray(6 * t, 6 * t + 6)));
    for (const form of [rows, place("f64", transpose(4, 6, g), [6, 4]).transpose(), { data: g, shape: [4, 6] }]) {
      const got = layer.backward(form);
      expect(got.x?.toTyped()).toEqual(expected.x?.toTyped());
      expect(got.adapters.a0?.a.toTyped()).toEqual(expected.adapters.a0?.a.toTyped());
      expect(got.weight?.toTyped()).toEqual(expected.weight?.toTyped());
    }
    for (const wrong of [zeros([4, 5]), zeros([6, 4]), zeros([24]), zeros([1, 4, 6])]) {
      expect(() => layer.backward(wrong)).toThrow(/^"gradOutput" expected shape \(4, 6\), got \(/);
    }
    expect(() => layer.backward(zeros([4, 6], "f32"))).toThrow('"gradOutput" expected f64 as "weight", got f32');
    expect(() => layer.backward("g" as never)).toThrow(TypeError);
    expect(() => layer.backward(zeros([4, 6]), { x: 1 as never })).toThrow('"x" expected a boolean, got 1');
    expect(() => layer.backward(zeros([4, 6]), { y: true } as never)).toThrow('"options" expected only "x", got "y"');
    layer.dispose();
  });

  test("backward: NaN and Infinity pass through", () => {
    const model = makeModel([{}]);
    const layer = build(model);
    train(layer, model);
    const g = new Float64Array(24);
    g[7] = Number.NaN;
    const { x, adapters } = layer.backward(place("f64", g, [4, 6]));
    expect(Array.from(x?.toTyped() as Float64Array, Number.isNaN)).toEqual(
      Array.from({ length: 20 }, (_, i) => i >= 5 && i < 10),
    );
    expect(adapters.a0?.a.toTyped().every(Number.isNaN)).toBe(true);
    layer.dispose();
  });

  test("backward: what it needs is kept once and given back", () => {
    const model = makeModel([{ dropout: 0.5 }]);
    const { usedBytes } = capabilities();
    const layer = build(model, { trainable: false });
    const g = new Float64Array(24).fill(1);
    const before = capabilities().usedBytes;
    scope(() => {
      train(layer, model);
    });
    const kept = capabilities().usedBytes;
    expect(kept).toBeGreaterThan(before);
    scope(() => {
      train(layer, model);
      layer.backward(place("f64", g, [4, 6]));
    });
    expect(capabilities().usedBytes).toBe(kept);
    layer.removeAdapter("a0");
    expect(() => layer.backward(place("f64", g, [4, 6]))).toThrow(expect.objectContaining({ code: "no_forward" }));
    layer.dispose();
    expect(capabilities().usedBytes).toBeLessThanOrEqual(usedBytes + 4096);
  });
});

describe("dropout", () => {
  const wide = { tokens: 100, n: 50, m: 3 };

  test("forward: drops as many as it should, keeps the mean, and only in training", () => {
    const model = makeModel([{ dropout: 0.3 }], "f64", 11, wide);
    findMasks(model);
    const mask = (model.adapters[0] as One).mask as Float64Array;
    const zeros = mask.filter((value) => Math.abs(value) < 1e-12).length / mask.length;
    expect(Math.abs(zeros - 0.3)).toBeLessThan(4 * Math.sqrt((0.3 * 0.7) / 5000));
    for (const value of mask) if (Math.abs(value) > 1e-12) expect(value).toBeCloseTo(1 / 0.7, 12);
    const layer = build(model);
    const x = place("f64", model.x, [100, 50]);
    const plain = layer.forward(x).toTyped();
    (model.adapters[0] as One).mask = new Float64Array(5000).fill(1);
    expect(largestRowError(plain, formula(model), 3)).toBeLessThan(1e-13);
    expect(sameBits(layer.forward(x, { train: true }).toTyped(), plain)).toBe(false);
    layer.dispose();
  });

  test("forward: one seed drops the same, another one and another adapter drop others", () => {
    const model = makeModel([{ dropout: 0.5 }, { dropout: 0.5 }], "f64", 12, wide);
    const layer = build(model);
    const x = place("f64", model.x, [100, 50]);
    const y = (seed?: number) => layer.forward(x, { train: true, ...(seed !== undefined && { seed }) }).toTyped();
    expect(sameBits(y(5), y(5))).toBe(true);
    expect(sameBits(y(5), y(6))).toBe(false);
    expect(sameBits(y(), y())).toBe(false);
    findMasks(model);
    const [first, second] = model.adapters as [One, One];
    expect(sameBits(first.mask as Float64Array, second.mask as Float64Array)).toBe(false);
    layer.dispose();
  });

  test("forward: at rate 1 nothing is left, at rate 0 training is inference", () => {
    const model = makeModel([{ dropout: 1 }]);
    const layer = build(model);
    const x = place("f64", model.x, [4, 5]);
    const trained = layer.forward(x, { train: true }).toTyped();
    layer.setAdapters(null);
    expect(largestRowError(trained, layer.forward(x).toTyped() as Float64Array, 6)).toBeLessThan(1e-15);
    layer.dispose();
    const other = build(makeModel([{}]));
    expect(sameBits(other.forward(x, { train: true }).toTyped(), other.forward(x).toTyped())).toBe(true);
    other.dispose();
  });
});
