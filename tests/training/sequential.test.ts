// Multilayer perceptrons: gradients by central differences through all layers, names, what is frozen.

import { describe, expect, test } from "vitest";
import { capabilities, type DType, scope, type Tensor, tensor, zeros } from "../../bindings/index.js";
import { type Layer, type LoraConfigOptions, LoraLinear, loss, Sequential, SvdLinear } from "../../bindings/lora.js";
import { mix } from "../../bindings/training/sequential.js";
import { refuses } from "../support/bad_input.js";
import { Random } from "../support/random.js";
import { DTYPES, typed } from "../support/raw.js";

const random = new Random(5);

function numbers(dtype: DType, ...shape: number[]): Tensor {
  const size = shape.reduce((product, length) => product * length, 1);
  return tensor(typed(dtype, random.array(size, "normal")), { shape }) as Tensor;
}

function linear(
  dtype: DType,
  [out, inFeatures]: [number, number],
  adapters: { [name: string]: LoraConfigOptions } = {},
  options: { trainable?: boolean; fanInFanOut?: boolean } = {},
): LoraLinear {
  const shape = options.fanInFanOut ? [inFeatures, out] : [out, inFeatures];
  const layer = new LoraLinear({ weight: numbers(dtype, ...shape), bias: numbers(dtype, out), ...options });
  for (const [name, config] of Object.entries(adapters)) {
    layer.addAdapter(name, { initLoraWeights: false, ...config }, { seed: 3 });
    const { bias } = layer.adapter(name);
    if (bias !== undefined) bias.data.set(random.array(bias.size));
  }
  if (Object.keys(adapters).length > 1)
    layer.setAdapters(Object.fromEntries(Object.keys(adapters).map((name, i) => [name, 1 - i / 4])));
  return layer;
}

const MODELS: [string, (dtype: DType) => Layer[], string[]][] = [
  [
    "a base that is trained",
    (d) => [linear(d, [5, 4], {}, { trainable: true }), "relu", linear(d, [3, 5], {}, { trainable: true })],
    ["0.weight", "0.bias", "2.weight", "2.bias"],
  ],
  [
    "LoRA in all layers",
    (d) => [
      linear(d, [5, 4], { t: { r: 2 } }),
      "gelu",
      linear(d, [6, 5], { t: { r: 1 } }),
      "tanh",
      linear(d, [3, 6], { t: { r: 2 } }),
    ],
    [0, 2, 4].flatMap((i) => [`${i}.lora_A.t.weight`, `${i}.lora_B.t.weight`]),
  ],
  [
    "dropout, LoRA bias, rsLoRA, biases",
    (d) => [
      linear(d, [5, 4], { t: { r: 2, loraDropout: 0.4, loraBias: true, useRslora: true } }),
      "gelu",
      linear(d, [3, 5], { t: { r: 2, loraDropout: 0.2, bias: "all" } }, { fanInFanOut: true }),
    ],
    ["0.lora_A.t.weight", "0.lora_B.t.weight", "0.lora_B.t.bias", "2.bias", "2.lora_A.t.weight", "2.lora_B.t.weight"],
  ],
  [
    "several adapters on a layer",
    (d) => [linear(d, [5, 4], { s: { r: 2 }, t: { r: 1, loraDropout: 0.5 } }), "tanh", linear(d, [3, 5])],
    ["0.lora_A.s.weight", "0.lora_B.s.weight", "0.lora_A.t.weight", "0.lora_B.t.weight"],
  ],
  [
    "a core above a frozen layer",
    (d) => [
      linear(d, [5, 4]),
      "relu",
      new SvdLinear({ weight: numbers(d, 6, 5), rank: 3, core: { lowRank: 2, y: numbers(d, 2, 3) } }),
      "gelu",
      new SvdLinear({ weight: numbers(d, 3, 6), bias: numbers(d, 3), rank: 2, residual: "drop", core: "dense" }),
      "tanh",
    ],
    ["2.core.sigma", "2.core.x", "2.core.y", "4.core.r"],
  ],
];

describe.each(DTYPES)("Sequential, %s", (dtype) => {
  test.each(MODELS)("Sequential of %s: gradients by central differences", (_, make, names) => {
    const model = new Sequential(make(dtype));
    const x = numbers(dtype, 7, 4);
    const labels = Array.from({ length: 7 }, () => random.below(3));
    const target = numbers(dtype, 7, 3);
    expect(Object.keys(model.parameters())).toEqual(names);
    for (const name of ["softmaxCrossEntropy", "meanSquaredError"] as const) {
      const value = () => {
        const output = model.forward(x, { train: true, seed: 4 });
        return loss(name, output, name === "meanSquaredError" ? target : labels);
      };
      const gradients = model.backward(value().grad);
      expect(Object.keys(gradients).sort()).toEqual([...names].sort());
      const h = dtype === "f32" ? 1e-2 : 1e-5;
      for (const [parameter, tensor] of Object.entries(model.parameters())) {
        const got = gradients[parameter]?.toTyped() as Float64Array;
        expect(gradients[parameter]?.shape).toEqual(tensor.shape);
        const wanted = Float64Array.from(tensor.toTyped(), (kept, i) => {
          return scope(() => {
            tensor.data[i] = kept + h;
            const above = value().value;
            tensor.data[i] = kept - h;
            const below = value().value;
            tensor.data[i] = kept;
            return (above - below) / (2 * h);
          });
        });
        const most = wanted.reduce((largest, slope) => Math.max(largest, Math.abs(slope)), 0);
        const error = wanted.reduce((largest, slope, i) => Math.max(largest, Math.abs(slope - (got[i] as number))), 0);
        expect(most, parameter).toBeGreaterThan(0);
        // a relu that changes its side between two f32 points is no error
        expect(error / most, parameter).toBeLessThan(dtype === "f32" ? 0.05 : 1e-6);
      }
    }
    model.dispose();
  });
});

describe("Sequential", () => {
  test("Sequential: forward is its layers in turn, backward goes no lower than it must", () => {
    const frozen = linear("f64", [5, 4]);
    const trained = linear("f64", [3, 5], { t: { r: 1 } });
    const model = new Sequential([frozen, "relu", trained]);
    expect([model.inFeatures, model.outFeatures, model.dtype]).toEqual([4, 3, "f64"]);
    const x = numbers("f64", 2, 4);
    const middle = frozen.forward(x);
    for (let i = 0; i < middle.size; i++) middle.data[i] = Math.max(0, middle.data[i] as number);
    expect(model.forward(x).toArray()).toEqual(trained.forward(middle).toArray());
    expect(model.forward(x.reshape([2, 1, 4])).shape).toEqual([2, 1, 3]);
    expect(model.forward(zeros([0, 4])).shape).toEqual([0, 3]);
    expect(model.forward(numbers("f64", 4, 2).transpose()).shape).toEqual([2, 3]);
    // rows with adapters of their own
    trained.addAdapter("u", { r: 1, initLoraWeights: false });
    const rows = model.forward(x, { adapters: ["t", null] }).toArray() as number[][];
    expect(rows[0]).toEqual((model.forward(x).toArray() as number[][])[0]);
    expect(rows[1]).not.toEqual((model.forward(x).toArray() as number[][])[1]);
    // a layer below the lowest one that is trained is not asked for gradients
    let asked = 0;
    frozen.backward = () => {
      asked++;
      throw new Error("not needed");
    };
    model.forward(x, { train: true });
    expect(Object.keys(model.backward(zeros([2, 3])))).toEqual(["2.lora_A.t.weight", "2.lora_B.t.weight"]);
    expect(asked).toBe(0);
    // what is disabled, or not active, is not trained
    trained.enabled = false;
    expect(Object.keys(model.parameters())).toEqual([]);
    model.forward(x, { train: true });
    expect(model.backward(zeros([2, 3]))).toEqual({});
    trained.enabled = true;
    trained.setAdapters("u");
    expect(Object.keys(model.parameters())).toEqual(["2.lora_A.u.weight", "2.lora_B.u.weight"]);
    model.dispose();
  });

  test("Sequential: dropout follows the seed, another in each layer", () => {
    const square = () => linear("f64", [6, 6], { t: { r: 6, loraDropout: 0.5 } });
    const model = new Sequential([square(), square()]);
    const x = numbers("f64", 3, 6);
    const once = (seed?: number) => model.forward(x, { train: true, ...(seed !== undefined && { seed }) }).toArray();
    expect(once(1)).toEqual(once(1));
    expect(once(1)).not.toEqual(once(2));
    expect(once()).not.toEqual(once());
    expect(model.forward(x).toArray()).toEqual(model.forward(x).toArray());
    expect(new Set(Array.from({ length: 1000 }, (_, i) => mix(7, i))).size).toBe(1000);
    expect(mix(0, 0)).not.toBe(mix(1, 0));
    model.dispose();
  });

  test("Sequential: memory comes back", () => {
    const { usedBytes } = capabilities();
    scope(() => {
      const model = new Sequential([
        linear("f32", [5, 4], { t: { r: 2 } }),
        "gelu",
        linear("f32", [3, 5], {}, { trainable: true }),
      ]);
      for (let i = 0; i < 3; i++) model.backward(model.forward(numbers("f32", 2, 4), { train: true }));
      model.dispose();
      model.dispose();
    });
    expect(capabilities().usedBytes).toBe(usedBytes);
  });

  test("Sequential: bad input", () => {
    const layer = linear("f64", [3, 4], { t: { r: 1 } });
    const bad = <T>(value: T) => value as never;
    const model = new Sequential([layer]);
    const known = '"relu", "gelu", "tanh"';
    refuses([
      ["no list", () => new Sequential(bad(layer)), TypeError, '"layers" expected an array of layers, got LoraLinear'],
      ["nothing", () => new Sequential([]), RangeError, '"layers" expected at least one linear layer, got none'],
      [
        "activations alone",
        () => new Sequential(["relu"]),
        RangeError,
        '"layers" expected at least one linear layer, got none',
      ],
      [
        "another word",
        () => new Sequential([layer, bad("elu")]),
        RangeError,
        `"layers[1]" expected a layer, or one of ${known}, got "elu"`,
      ],
      [
        "a number",
        () => new Sequential([bad(3)]),
        TypeError,
        `"layers[0]" expected a LoraLinear, an SvdLinear, or one of ${known}, got 3`,
      ],
      ["sizes", () => new Sequential([layer, "relu", layer]), RangeError, '"layers[2]" expected inFeatures 3, got 4'],
      [
        "dtypes",
        () => {
          const other = new LoraLinear({ weight: zeros([1, 3], "f32") });
          try {
            new Sequential<DType>([layer, other]);
          } finally {
            other.dispose();
          }
        },
        TypeError,
        '"layers[1]" expected f64 as "layers", got f32',
      ],
      ["another width", () => model.forward([[1, 2, 3]]), RangeError, '"x" expected shape (…, 4), got (1, 3)'],
      ["another dtype", () => model.forward(zeros([1, 4], "f32")), TypeError, '"x" expected f64 as "layers", got f32'],
      [
        "an option",
        () => model.forward([[1, 2, 3, 4]], bad({ training: true })),
        TypeError,
        /^"options" expected only/,
      ],
    ]);
    expect(() => model.backward([[1, 2, 3]])).toThrow(expect.objectContaining({ code: "no_forward" }));
    const twice = new Sequential([layer, "relu"]);
    twice.forward([[1, 2, 3, 4]], { train: true });
    expect(() => twice.backward([[1, 2]])).toThrow(new RangeError('"gradOutput" expected shape (1, 3), got (1, 2)'));
    // a pass that fails leaves none to go back through
    layer.merge();
    expect(() => twice.forward([[1, 2, 3, 4]], { train: true })).toThrow(expect.objectContaining({ code: "merged" }));
    layer.unmerge();
    expect(() => twice.backward([[1, 2, 3]])).toThrow(expect.objectContaining({ code: "no_forward" }));
    model.dispose();
  });
});
