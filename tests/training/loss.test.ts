// Losses and activations against their formulas and central differences.

import { describe, expect, test } from "vitest";
import { type DType, empty, NonFiniteError, type Tensor, tensor, zeros } from "../../bindings/index.js";
import { kernel } from "../../bindings/load.js";
import { type LossName, loss } from "../../bindings/lora.js";
import { refuses } from "../support/bad_input.js";
import { Random } from "../support/random.js";
import { DTYPES, raw, rounded, typed } from "../support/raw.js";

/** The loss by its formula, in f64. */
function value(name: LossName, z: ArrayLike<number>, target: ArrayLike<number>, classes: number): number {
  const at = (x: ArrayLike<number>, i: number) => x[i] as number;
  let total = 0;
  if (name === "meanSquaredError") {
    for (let i = 0; i < z.length; i++) total += (at(z, i) - at(target, i)) ** 2;
    return total / z.length;
  }
  for (let i = 0; i < target.length; i++) {
    const row = Array.from({ length: classes }, (_, j) => at(z, i * classes + j));
    const top = Math.max(...row);
    total += Math.log(row.reduce((sum, x) => sum + Math.exp(x - top), 0)) + top - (row[at(target, i)] as number);
  }
  return total / target.length;
}

/** Central differences of f in each entry of x. */
function slopes(x: Float64Array, f: () => number, h = 1e-5): Float64Array {
  return x.map((kept, i) => {
    x[i] = kept + h;
    const above = f();
    x[i] = kept - h;
    const below = f();
    x[i] = kept;
    return (above - below) / (2 * h);
  });
}

/** The largest distance, relative to the largest entry. */
function distance(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (got.length !== wanted.length) return Infinity;
  let [most, error] = [0, 0];
  for (let i = 0; i < got.length; i++) {
    most = Math.max(most, Math.abs(wanted[i] as number));
    error = Math.max(error, Math.abs((got[i] as number) - (wanted[i] as number)));
  }
  return error === 0 ? 0 : error / most;
}

const put = (dtype: DType, values: ArrayLike<number>, shape: number[]) =>
  tensor(typed(dtype, values), { shape }) as Tensor;

describe.each(DTYPES)("loss, %s", (dtype) => {
  const bound = dtype === "f32" ? 1e-6 : 1e-14;

  test.each([
    [1, 1],
    [1, 10],
    [7, 3],
    [64, 10],
    [5, 33],
  ])("loss: softmax cross-entropy of %i rows of %i classes: value, gradient, differences", (rows, classes) => {
    const random = new Random(rows);
    const z = rounded(
      dtype,
      random.array(rows * classes, "normal").map((x) => 3 * x),
    );
    const labels = Array.from({ length: rows }, () => Math.floor(random.uniform() * classes));
    const got = loss("softmaxCrossEntropy", put(dtype, z, [rows, classes]), labels);
    const f = () => value("softmaxCrossEntropy", z, labels, classes);
    expect(Math.abs(got.value - f())).toBeLessThan(1e-14 * (1 + f()));
    expect(got.grad.dtype).toBe(dtype);
    expect(got.grad.shape).toEqual([rows, classes]);
    if (classes > 1) {
      expect(distance(got.grad.toTyped(), slopes(z, f))).toBeLessThan(dtype === "f32" ? 1e-6 : 1e-8);
      // the twin: other labels have another gradient
      const other = loss(
        "softmaxCrossEntropy",
        put(dtype, z, [rows, classes]),
        labels.map((l) => (l + 1) % classes),
      );
      expect(distance(other.grad.toTyped(), slopes(z, f))).toBeGreaterThan(0.1);
    } else {
      expect(got.grad.toTyped().every((g) => g === 0)).toBe(true);
    }
    // a row's gradients add up to nothing
    for (let i = 0; i < rows; i++) {
      const row = Float64Array.from(got.grad.toTyped()).subarray(i * classes, (i + 1) * classes);
      expect(Math.abs(row.reduce((sum, g) => sum + g, 0))).toBeLessThan(bound);
    }
  });

  test("loss: softmax cross-entropy keeps its digits for numbers far from zero and certain ones", () => {
    const far = loss("softmaxCrossEntropy", put(dtype, [1e4, 1e4 - 1, -1e4, 0, 0, 0], [2, 3]), [0, 2]);
    expect(Math.abs(far.value - (Math.log1p(Math.exp(-1)) + Math.log(3)) / 2)).toBeLessThan(1e-12);
    const certain = loss("softmaxCrossEntropy", put(dtype, [800, 0], [1, 2]), [1]);
    expect([certain.value, ...certain.grad.toTyped()]).toEqual([800, 1, -1]);
    const right = loss("softmaxCrossEntropy", put(dtype, [800, 0], [1, 2]), [0]);
    expect([right.value, ...right.grad.toTyped()]).toEqual([0, 0, 0]);
  });

  test("loss: labels stand in any array", () => {
    const z = put(dtype, [1, 2, 3, 4, 5, 7], [3, 2]);
    const { value: wanted } = loss("softmaxCrossEntropy", z, [0, 1, 1]);
    for (const labels of [
      Uint8Array.of(0, 1, 1),
      Int32Array.of(0, 1, 1),
      Float32Array.of(0, 1, 1),
      Float64Array.of(0, 1, 1),
      tensor([0, 1, 1]),
      { data: Float64Array.of(1, 9, 1, 9, 0, 9), shape: [3], strides: [-2], offset: 4 },
    ]) {
      expect(loss("softmaxCrossEntropy", z, labels).value).toBe(wanted);
    }
    // leading axes are rows, and labels have their shape or are a list
    const deep = put(dtype, [1, 2, 3, 5], [2, 1, 2]);
    expect(loss("softmaxCrossEntropy", deep, [[0], [1]]).value).toBe(loss("softmaxCrossEntropy", deep, [0, 1]).value);
    expect(loss("softmaxCrossEntropy", deep, [0, 1]).value).not.toBe(loss("softmaxCrossEntropy", deep, [1, 0]).value);
  });

  test.each([1, 2, 7, 1000])("loss: mean squared error of %i numbers: value, gradient, differences", (n) => {
    const random = new Random(n);
    const x = rounded(dtype, random.array(n, "normal"));
    const target = rounded(dtype, random.array(n, "normal"));
    const got = loss("meanSquaredError", put(dtype, x, [n]), put(dtype, target, [n]));
    const f = () => value("meanSquaredError", x, target, 1);
    expect(Math.abs(got.value / f() - 1)).toBeLessThan(1e-14);
    expect(distance(got.grad.toTyped(), slopes(x, f))).toBeLessThan(dtype === "f32" ? 1e-6 : 1e-7);
    expect(distance(got.grad.toTyped(), slopes(target, f))).toBeGreaterThan(1);
  });

  test("loss: transposed views, and NaN passes through", () => {
    const z = put(dtype, [1, 4, 2, 5, 3, 6], [3, 2]);
    const apart = put(dtype, [1, 2, 3, 4, 5, 6], [2, 3]).transpose();
    expect(loss("softmaxCrossEntropy", apart, [0, 1, 0])).toMatchObject({
      value: loss("softmaxCrossEntropy", z, [0, 1, 0]).value,
    });
    expect(loss("meanSquaredError", apart, z).value).toBe(0);
    for (const bad of [Number.NaN, Infinity]) {
      expect(Number.isFinite(loss("softmaxCrossEntropy", put(dtype, [1, bad], [1, 2]), [0]).value)).toBe(false);
    }
    expect(loss("meanSquaredError", put(dtype, [1, Number.NaN], [2]), zeros([2], dtype)).value).toBeNaN();
    expect(() => loss("meanSquaredError", put(dtype, [Infinity], [1]), zeros([1], dtype))).not.toThrow(NonFiniteError);
  });

  test.each(["relu", "gelu", "tanh"] as const)("activation %s: values and slopes, every length", (name) => {
    const formulas = {
      relu: (x: number) => Math.max(0, x),
      gelu: (x: number) => x * (0.5 + 0.5 * raw("f64").erf(x * Math.SQRT1_2)),
      tanh: Math.tanh,
    };
    const kind = ["relu", "gelu", "tanh"].indexOf(name);
    for (const n of [0, 1, 2, 3, 4, 5, 8, 13, 100]) {
      const random = new Random(n);
      const x = rounded(
        dtype,
        random.array(n, "normal").map((v) => 2 * v),
      );
      const g = rounded(dtype, random.array(n, "normal"));
      const [input, weights, y] = [put(dtype, x, [n]), put(dtype, g, [n]), empty([n], dtype)];
      const { activate } = kernel()[dtype];
      activate(kind, n, input.pointer, 0, y.pointer);
      const wanted = x.map(formulas[name]);
      if (n > 0) expect(distance(y.toTyped(), wanted)).toBeLessThan(dtype === "f32" ? 1e-7 : 1e-15);
      activate(kind, n, input.pointer, weights.pointer, y.pointer);
      const h = 1e-5;
      const slope = x.map((v, i) => ((formulas[name](v + h) - formulas[name](v - h)) / (2 * h)) * (g[i] as number));
      if (n > 0) expect(distance(y.toTyped(), slope)).toBeLessThan(dtype === "f32" ? 1e-6 : 1e-8);
      // in place
      activate(kind, n, input.pointer, weights.pointer, weights.pointer);
      expect(weights.toArray()).toEqual(y.toArray());
    }
    const [nan, out] = [put(dtype, new Float64Array(5).fill(Number.NaN), [5]), empty([5], dtype)];
    kernel()[dtype].activate(kind, 5, nan.pointer, 0, out.pointer);
    expect(out.toArray()).toEqual(Array(5).fill(Number.NaN));
  });
});

describe("loss", () => {
  test("loss: GELU's published values", () => {
    // PyTorch's documentation has none; these are x·Φ(x) with Φ from tables of the normal distribution
    const x = tensor([-2, -1, 0, 1, 2]);
    const y = empty([5]);
    kernel().f64.activate(1, 5, x.pointer, 0, y.pointer);
    const phi = [0.022750131948179, 0.158655253931457, 0.5, 0.841344746068543, 0.977249868051821];
    for (let i = 0; i < 5; i++)
      expect(Math.abs((y.data[i] as number) - (i - 2) * (phi[i] as number))).toBeLessThan(2e-15);
  });

  test("loss: bad input", () => {
    const z = zeros([2, 3]);
    const bad = <T>(value: T) => value as never;
    const ce = "softmaxCrossEntropy" as const;
    refuses([
      ["another name", () => loss(bad("hinge"), z, [0, 1]), RangeError, /^"name" expected "softmaxCrossEntropy" \|/],
      ["no output", () => loss(ce, bad(undefined), [0]), TypeError, /^"output" expected a Tensor/],
      ["a number", () => loss(ce, bad(3), [0]), TypeError, /^"output" expected a Tensor/],
      ["an empty batch", () => loss(ce, zeros([0, 3]), []), RangeError, /^"output" expected at least one row/],
      ["no classes", () => loss(ce, zeros([2, 0]), [0, 0]), RangeError, /^"output" expected at least one row/],
      [
        "no elements",
        () => loss("meanSquaredError", zeros([0]), []),
        RangeError,
        /^"output" expected at least one element/,
      ],
      ["a label too large", () => loss(ce, z, [0, 3]), RangeError, '"target[1]" expected an integer in [0, 2], got 3'],
      ["a negative label", () => loss(ce, z, [-1, 0]), RangeError, '"target[0]" expected an integer in [0, 2], got -1'],
      ["half a label", () => loss(ce, z, [0.5, 0]), RangeError, '"target[0]" expected an integer in [0, 2], got 0.5'],
      [
        "a NaN label",
        () => loss(ce, z, Float64Array.of(0, Number.NaN)),
        RangeError,
        /^"target\[1\]" expected an integer/,
      ],
      [
        "bigint labels",
        () => loss(ce, z, bad(BigInt64Array.of(0n, 1n))),
        TypeError,
        /^"target\[0\]" expected an integer/,
      ],
      ["too few labels", () => loss(ce, z, [0]), RangeError, '"target" expected shape (2,), got (1,)'],
      ["too few in a list", () => loss(ce, z, Uint8Array.of(0)), RangeError, '"target" expected 2 labels, got 1'],
      ["no target", () => loss("meanSquaredError", z, bad(undefined)), TypeError, /^"target" expected a Tensor/],
      [
        "another shape",
        () => loss("meanSquaredError", z, zeros([3, 2])),
        RangeError,
        '"target" expected shape (2, 3), got (3, 2)',
      ],
      [
        "another dtype",
        () => loss("meanSquaredError", z, zeros([2, 3], "f32")),
        TypeError,
        '"target" expected f64 as "output", got f32',
      ],
    ]);
    z.dispose();
  });
});
