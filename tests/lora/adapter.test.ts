import { describe, expect, test } from "vitest";
import { capabilities, matmul, scope, tensor, zeros } from "../../bindings/index.js";
import { LoraAdapter } from "../../bindings/lora.js";
import { Random } from "../support/random.js";
import { buildAdapter, deltaOf, largestRowError, randomLayer, scalingOf, TOLERANCE } from "./reference.js";

const DTYPES = ["f32", "f64"] as const;

describe("LoraAdapter", () => {
  test("LoraAdapter: sizes and scale from the factors", () => {
    const adapter = new LoraAdapter({ a: zeros([4, 768]), b: zeros([512, 4]), alpha: 16 });
    expect(adapter).toMatchObject({ r: 4, inFeatures: 768, outFeatures: 512, alpha: 16, scaling: 4, dtype: "f64" });
    expect(adapter.useRslora).toBe(false);
    expect(adapter.bias).toBe(undefined);
    expect(adapter.a.shape).toEqual([4, 768]);
    expect(adapter.b.shape).toEqual([512, 4]);
  });

  test.each([
    { r: 1, alpha: undefined, useRslora: false, scaling: 1 },
    { r: 8, alpha: undefined, useRslora: false, scaling: 1 },
    { r: 8, alpha: 16, useRslora: false, scaling: 2 },
    { r: 8, alpha: 1, useRslora: false, scaling: 0.125 },
    { r: 3, alpha: 1, useRslora: false, scaling: 1 / 3 },
    { r: 16, alpha: 16, useRslora: true, scaling: 4 },
    { r: 16, alpha: undefined, useRslora: true, scaling: 4 },
    { r: 2, alpha: 3, useRslora: true, scaling: 3 / Math.sqrt(2) },
    { r: 4, alpha: 0, useRslora: false, scaling: 0 },
    { r: 4, alpha: -2.5, useRslora: false, scaling: -0.625 },
  ])(
    "LoraAdapter: scaling of r $r, alpha $alpha, rsLoRA $useRslora is $scaling",
    ({ r, alpha, useRslora, scaling }) => {
      const factors = { a: zeros([r, 3]), b: zeros([2, r]), useRslora };
      const adapter = new LoraAdapter(alpha === undefined ? factors : { ...factors, alpha });
      expect(adapter.scaling).toBe(scaling);
      expect(adapter.alpha).toBe(alpha ?? r);
    },
  );

  test.each(DTYPES)("delta: scaling·B·A (%s)", (dtype) => {
    const random = new Random(1);
    for (const [outFeatures, inFeatures, r] of [
      [1, 1, 1],
      [5, 3, 2],
      [3, 5, 7],
      [33, 65, 4],
      [200, 100, 16],
      [4, 0, 2],
      [0, 4, 2],
    ] as const) {
      for (const useRslora of [false, true]) {
        const layer = randomLayer(random, { dtype, inFeatures, outFeatures, r, alpha: 3, useRslora });
        const delta = buildAdapter(layer).delta();
        expect(delta).toMatchObject({ dtype, shape: [outFeatures, inFeatures] });
        expect(largestRowError(delta.toTyped(), deltaOf(layer), inFeatures)).toBeLessThan(TOLERANCE[dtype]);
      }
    }
  });

  test("delta: a transposed factor or a missing scale would be seen", () => {
    const layer = randomLayer(new Random(2), { dtype: "f64", inFeatures: 6, outFeatures: 6, r: 6, alpha: 12 });
    const right = deltaOf(layer);
    const far = (wrong: LoraAdapter) => largestRowError(wrong.delta().toTyped(), right, 6) > 0.1;
    const a = tensor(layer.a, { shape: [6, 6] });
    const b = tensor(layer.b, { shape: [6, 6] });
    expect(far(new LoraAdapter({ a, b, alpha: 12 }))).toBe(false);
    expect(far(new LoraAdapter({ a: a.transpose(), b, alpha: 12 }))).toBe(true);
    expect(far(new LoraAdapter({ a, b: b.transpose(), alpha: 12 }))).toBe(true);
    expect(far(new LoraAdapter({ a: b, b: a, alpha: 12 }))).toBe(true);
    expect(far(new LoraAdapter({ a, b }))).toBe(true);
    expect(far(new LoraAdapter({ a, b, alpha: 12, useRslora: true }))).toBe(true);
  });

  test("LoraAdapter: contiguous tensors are held by reference, all else is copied", () => {
    const a = tensor([[1, 2]]);
    const plain = [[3], [4]];
    const adapter = new LoraAdapter({ a, b: plain });
    a.data[0] = 5;
    (plain[0] as number[])[0] = 100;
    expect(adapter.delta().toArray()).toEqual([
      [15, 6],
      [20, 8],
    ]);
    a.dispose();
    expect(adapter.delta().toArray()).toEqual([
      [15, 6],
      [20, 8],
    ]);
    const view = tensor([
      [1, 2],
      [3, 4],
    ]).transpose();
    const transposed = new LoraAdapter({ a: view, b: [[1, 0]] });
    expect(transposed.delta().toArray()).toEqual([[1, 3]]);
  });

  test("LoraAdapter: plain factors take the dtype of the typed one", () => {
    const adapter = new LoraAdapter({
      a: [[1, 2]],
      b: Float32Array.of(1).length === 1 ? zeros([3, 1], "f32") : [],
      bias: [1, 2, 3],
    });
    expect([adapter.a.dtype, adapter.b.dtype, adapter.bias?.dtype, adapter.dtype]).toEqual([
      "f32",
      "f32",
      "f32",
      "f32",
    ]);
    expect(new LoraAdapter({ a: [[1]], b: [[1]] }).dtype).toBe("f64");
  });

  test("dispose: gives the factors back, not those of the caller", () => {
    const a = tensor([[1, 2]]);
    const { usedBytes } = capabilities();
    const adapter = new LoraAdapter({ a, b: [[1], [2]], bias: [1, 2] });
    expect(capabilities().usedBytes).toBeGreaterThan(usedBytes);
    adapter.dispose();
    adapter.dispose();
    adapter[Symbol.dispose]();
    expect(capabilities().usedBytes).toBe(usedBytes);
    expect(a.toArray()).toEqual([[1, 2]]);
    expect(() => adapter.delta()).toThrow("this tensor was disposed of");
  });

  test("LoraAdapter: factors from an SVD give the truncated matrix", () => {
    const layer = randomLayer(new Random(3), { dtype: "f64", inFeatures: 9, outFeatures: 7, r: 2, alpha: 2 });
    scope(() => {
      const delta = buildAdapter(layer).delta();
      const again = matmul(tensor(layer.b, { shape: [7, 2] }), tensor(layer.a, { shape: [2, 9] }), {
        alpha: scalingOf(layer),
      });
      expect(delta.toArray()).toEqual(again.toArray());
    });
  });
});
