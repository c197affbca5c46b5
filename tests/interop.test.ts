// The tensors of other libraries, each from its real package.

import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import { Matrix } from "ml-matrix";
import * as np from "numpy-ts";
import * as ort from "onnxruntime-common";
import { describe, expect, test } from "vitest";
import { matmul, type Nested, svd, tensor } from "../bindings/index.js";
import { LoraAdapter, LoraLinear } from "../bindings/lora.js";

// it advertises its native backend otherwise
tf.env().set("PROD", true);

describe("TensorFlow.js", () => {
  test("tensor: takes tensors of tfjs-core", () => {
    const a = tf.tensor2d([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const copy = tensor(a);
    expect(copy).toMatchObject({ dtype: "f32", shape: [2, 3] });
    expect(copy.toArray()).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(tensor(tf.transpose(a)).toArray()).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
    ]);
    expect(tensor(tf.scalar(2.5)).toArray()).toBe(2.5);
    expect(tensor(tf.zeros([2, 0])).shape).toEqual([2, 0]);
    expect(matmul(a, tf.transpose(a)).toArray()).toEqual([
      [14, 32],
      [32, 77],
    ]);
    expect(a.arraySync()).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
  });

  test("tensor: int32 and bool tensors of tfjs-core are refused by type", () => {
    expect(() => tensor(tf.tensor1d([1, 2], "int32"))).toThrow(
      new TypeError('"data" expected Float32Array or Float64Array, got Int32Array'),
    );
    expect(() => svd(tf.tensor2d([[1], [0]], [2, 1], "bool"))).toThrow(
      new TypeError('"a" expected Float32Array or Float64Array, got Uint8Array'),
    );
  });
});

describe("ONNX Runtime", () => {
  test.each([
    ["float32", Float32Array, "f32"],
    ["float64", Float64Array, "f64"],
  ] as const)("tensor: takes %s tensors of onnxruntime-common", (type, Typed, dtype) => {
    const a = new ort.Tensor(type, Typed.of(1, 2, 3, 4, 5, 6.5) as never, [2, 3]);
    const copy = tensor(a);
    expect(copy).toMatchObject({ dtype, shape: [2, 3] });
    expect(copy.toArray()).toEqual([
      [1, 2, 3],
      [4, 5, 6.5],
    ]);
    expect(svd(a).s.dtype).toBe(dtype);
  });

  test("tensor: decodes float16 of onnxruntime-common", () => {
    const halves: [bits: number, value: number][] = [
      [0x3c00, 1],
      [0xc000, -2],
      [0x3555, 0.333251953125],
      [0x7bff, 65504],
      [0x0400, 2 ** -14],
      [0x0001, 2 ** -24],
      [0x83ff, -1023 * 2 ** -24],
      [0x0000, 0],
      [0x8000, -0],
      [0x7c00, Infinity],
      [0xfc00, -Infinity],
      [0x7e00, Number.NaN],
    ];
    const bits = Uint16Array.from(halves, ([half]) => half);
    const copy = tensor(new ort.Tensor("float16", bits, [3, 4]));
    expect(copy).toMatchObject({ dtype: "f32", shape: [3, 4] });
    expect([...copy.toTyped()]).toEqual(halves.map(([, value]) => value));
  });

  test("tensor: every half precision number is decoded as the definition has it", () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const { data } = tensor(new ort.Tensor("float16", all, [65536]));
    const wrong = all.filter((bits) => {
      const [sign, exponent, fraction] = [bits >> 15, (bits >> 10) & 31, bits & 1023];
      // the same number in the bits of a single
      const single = new Uint32Array(1);
      if (exponent === 31) single[0] = (sign << 31) | 0x7f800000 | (fraction << 13);
      else if (exponent > 0) single[0] = (sign << 31) | ((exponent + 112) << 23) | (fraction << 13);
      const value = exponent === 0 ? (sign === 1 ? -1 : 1) * (fraction / 2 ** 24) : new Float32Array(single.buffer)[0];
      return !Object.is(data[bits], value);
    });
    expect([...wrong]).toEqual([]);
  });

  test("tensor: other types and places of onnxruntime-common are refused by name", () => {
    expect(() => tensor(new ort.Tensor("int64", BigInt64Array.of(1n), [1]))).toThrow(
      new TypeError('"data" expected a tensor of float32, float64 or float16, got type "int64"'),
    );
    expect(() => tensor(new ort.Tensor("string", ["a"], [1]))).toThrow(TypeError);
    const onGpu = ort.Tensor.fromGpuBuffer({} as never, { dataType: "float32", dims: [2, 2] });
    expect(() => tensor(onGpu)).toThrow(
      new TypeError('"data" expected a tensor on the CPU, got location "gpu-buffer"'),
    );
    const disposed = new ort.Tensor("float32", Float32Array.of(1), [1]);
    disposed.dispose();
    expect(() => tensor(disposed)).toThrow(new TypeError('"data" expected a tensor on the CPU, got location "none"'));
  });
});

describe("numpy-ts", () => {
  const nested = (a: { tolist(): unknown }) => a.tolist() as Nested;
  const a = np.arange(0, 24).reshape(2, 3, 4);

  test("tensor: takes arrays of numpy-ts", () => {
    const copy = tensor(a);
    expect(copy).toMatchObject({ dtype: "f64", shape: [2, 3, 4] });
    expect(copy.toArray()).toEqual(nested(a));
    expect(tensor(np.array([1, 2.5], "float32"))).toMatchObject({ dtype: "f32", shape: [2] });
    expect(tensor(np.zeros([0, 3])).shape).toEqual([0, 3]);
  });

  test.each([
    ["transposed", () => a.T],
    ["two axes swapped", () => a.swapaxes(0, 1)],
    ["from an offset", () => a.slice("1:2")],
    ["with a step", () => a.slice(":", ":", "1::2")],
    ["backwards", () => a.slice(":", "::-1", "::-2")],
    ["one row", () => a.slice("1", "2")],
    ["sliced and transposed", () => a.slice("1:2", "0:2").T],
    ["repeated", () => np.broadcast_to(np.arange(0, 4), [3, 4])],
    ["without an entry", () => a.slice("1:1")],
  ])("tensor: strides and offset of numpy-ts are honoured: %s", (_, view) => {
    const array = view();
    const copy = tensor(array);
    expect(copy.shape).toEqual([...array.shape]);
    expect(copy.toArray()).toEqual(nested(array));
  });

  test("matmul, svd: operands of numpy-ts", () => {
    const left = np.arange(0, 6).reshape(2, 3);
    expect(matmul(left, left.T).toArray()).toEqual(nested(np.matmul(left, left.T)));
    const { s } = svd(a.slice("1"));
    const frobenius = Math.hypot(...(a.slice("1").flatten().tolist() as number[]));
    expect(Math.hypot(...s.data)).toBeCloseTo(frobenius, 10);
  });

  test("tensor: integer arrays of numpy-ts are refused by type", () => {
    expect(() => tensor(np.array([1, 2], "int32"))).toThrow(
      new TypeError('"data" expected Float32Array or Float64Array, got Int32Array'),
    );
  });
});

describe("ml-matrix", () => {
  test("tensor: takes matrices of ml-matrix", () => {
    const a = new Matrix([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const copy = tensor(a);
    expect(copy).toMatchObject({ dtype: "f64", shape: [2, 3] });
    expect(copy.toArray()).toEqual(a.to2DArray());
    expect(tensor(a.transpose()).toArray()).toEqual(a.transpose().to2DArray());
    expect(tensor(a.subMatrix(0, 1, 1, 2)).toArray()).toEqual([
      [2, 3],
      [5, 6],
    ]);
    for (const [rows, columns] of [
      [0, 3],
      [3, 0],
      [0, 0],
    ] as const) {
      expect(tensor(new Matrix(rows, columns)).shape).toEqual([rows, columns]);
    }
    expect(matmul(a, a.transpose()).toArray()).toEqual(a.mmul(a.transpose()).to2DArray());
  });

  test("matmul: a matrix of ml-matrix takes the dtype of the typed argument beside it", () => {
    const product = matmul(new Matrix([[1, 2]]), tensor(Float32Array.of(3, 4), { shape: [2, 1] }));
    expect(product).toMatchObject({ dtype: "f32", shape: [1, 1] });
    expect(product.toArray()).toEqual([[11]]);
  });
});

test("LoraAdapter, LoraLinear: factors, weights and inputs from anywhere", () => {
  const layer = new LoraLinear({
    weight: new Matrix([
      [1, 0],
      [0, 1],
    ]),
    bias: np.array([1, 1]),
  });
  const b = new ort.Tensor("float64", Float64Array.of(1, 0), [2, 1]);
  layer.addAdapter("a", new LoraAdapter({ a: { data: Float64Array.of(1, 1), shape: [1, 2] }, b }));
  expect(layer.forward(np.arange(1, 5).reshape(2, 2).T).toArray()).toEqual([
    [6, 4],
    [9, 5],
  ]);
});
