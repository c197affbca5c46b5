// The rules that other LoRA systems test, on trained factors and on random ones.

import { describe, expect, test } from "vitest";
import { svdvals } from "../../bindings/index.js";
import { LoraAdapter, LoraLinear } from "../../bindings/lora.js";
import { publishedCases } from "../support/cases.js";
import { Random } from "../support/random.js";
import {
  build,
  buildAdapter,
  deltaOf,
  forward,
  type Layer,
  largestRowError,
  place,
  randomLayer,
  sameBits,
} from "./reference.js";

interface Rules {
  cases: { name: string; rule: string }[];
}

interface Trained {
  cases: {
    name: string;
    r: number;
    lora_alpha: number;
    in_features: number;
    out_features: number;
    lora_A_f32le_base64: string;
    lora_B_f32le_base64: string;
    computed: {
      singular_values_of_B_at_A: number[];
      frobenius_of_B_at_A: number;
      delta_forward_y_first8: number[];
      delta_forward_y_norm: number;
    };
  }[];
}

const rules = publishedCases<Rules>("lora-rules.json");
const trained = publishedCases<Trained>("lora-roberta-mnli.json");

function norm(values: Float32Array | Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum);
}

/** Layers with the trained factors and with random ones. */
function* layers(): Generator<Layer> {
  const random = new Random(40);
  for (const [inFeatures, outFeatures, r] of [
    [20, 30, 4],
    [64, 16, 8],
  ] as const) {
    yield randomLayer(random, { dtype: "f32", inFeatures, outFeatures, r, alpha: 2 * r, bias: true });
  }
  for (const one of trained?.cases ?? []) {
    const { r, lora_alpha: alpha, in_features: inFeatures, out_features: outFeatures } = one;
    const base = randomLayer(random, { dtype: "f32", inFeatures, outFeatures, r, alpha });
    yield { ...base, a: floats(one.lora_A_f32le_base64), b: floats(one.lora_B_f32le_base64) };
  }
}

function floats(base64: string): Float64Array {
  const bytes = Buffer.from(base64, "base64");
  return Float64Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}

const CHECKS: Record<string, () => void> = {
  merge_equals_forward() {
    for (const layer of layers()) {
      const module = build(layer);
      const x = new Random(41).array(4 * layer.inFeatures);
      const placed = place("f32", x, [4, layer.inFeatures]);
      const y = module.forward(placed).toTyped();
      const weight = module.weight.toTyped();
      module.merge();
      expect(largestRowError(module.forward(placed).toTyped(), y, layer.outFeatures)).toBeLessThan(1e-5);
      module.unmerge();
      expect(sameBits(module.weight.toTyped(), weight)).toBe(true);
      module.merge("a", { keepBase: false });
      expect(largestRowError(module.forward(placed).toTyped(), y, layer.outFeatures)).toBeLessThan(1e-5);
      expect(largestRowError(y, forward(layer, Float32Array.from(x), 4), layer.outFeatures)).toBeLessThan(1e-5);
      module.dispose();
    }
  },
  disable_adapter_is_base() {
    for (const layer of layers()) {
      const module = build(layer);
      const x = place("f32", new Random(42).array(layer.inFeatures), [1, layer.inFeatures]);
      const { weight, bias } = module;
      const base = new LoraLinear({ weight, ...(bias && { bias }) }).forward(x).toTyped();
      expect(sameBits(module.forward(x).toTyped(), base)).toBe(false);
      module.merge();
      module.enabled = false;
      expect(sameBits(module.forward(x).toTyped(), base)).toBe(true);
      module.dispose();
    }
  },
  scaling_formula() {
    for (const layer of layers()) {
      expect(buildAdapter(layer).scaling).toBe(layer.alpha / layer.r);
      expect(buildAdapter({ ...layer, useRslora: true }).scaling).toBe(layer.alpha / Math.sqrt(layer.r));
    }
  },
  merge_rejects_nan() {
    for (const layer of layers()) {
      for (const value of [Number.NaN, Infinity]) {
        const a = layer.a.slice();
        a[a.length - 1] = value;
        const module = build({ ...layer, a });
        const weight = module.weight.toTyped();
        expect(() => module.merge()).toThrow(expect.objectContaining({ code: "non_finite_merge" }));
        expect(sameBits(module.weight.toTyped(), weight)).toBe(true);
        module.dispose();
      }
    }
  },
  r_must_be_positive() {
    const a = place("f32", [], [0, 4]);
    expect(() => new LoraAdapter({ a, b: place("f32", [], [4, 0]) })).toThrow(RangeError);
  },
  llamacpp_reject_mismatch() {
    for (const layer of layers()) {
      const { inFeatures, outFeatures, r } = layer;
      const module = build(layer);
      const zero = (m: number, n: number) => place("f32", new Float32Array(m * n), [m, n]);
      expect(() => new LoraAdapter({ a: zero(r, inFeatures), b: zero(outFeatures, r + 1) })).toThrow(RangeError);
      for (const [m, n] of [
        [outFeatures + 1, inFeatures],
        [outFeatures, inFeatures - 1],
      ] as const) {
        const adapter = new LoraAdapter({ a: zero(r, n), b: zero(m, r) });
        expect(() => module.addAdapter("new", adapter)).toThrow(RangeError);
        adapter.dispose();
      }
      module.dispose();
    }
  },
};

/** Rules on what the library does not do yet: batches of several adapters, combinations, extraction, files. */
const LATER =
  /^(mixed_batch_equals_single|combine_.*|cat_rank|linear_needs_equal_rank|extract_.*|half_precision_keeps_dtype|peft_key_names|llamacpp_unknown_tensor)$/;

describe.skipIf(rules === undefined)("rules of other systems", () => {
  test("LoraLinear: every rule has a check or waits for its function", () => {
    const names = rules?.cases.map(({ name }) => name) ?? [];
    expect(names.filter((name) => !(name in CHECKS) && !LATER.test(name))).toEqual([]);
    expect(Object.keys(CHECKS).filter((name) => !names.includes(name))).toEqual([]);
  });

  test.each(Object.entries(CHECKS))("LoraLinear: %s", (_, check) => check());
});

describe.skipIf(trained === undefined)("trained factors", () => {
  test.each(trained?.cases ?? [])("delta, svdvals: $name", (one) => {
    const { r, in_features: n, out_features: m, computed } = one;
    const a = floats(one.lora_A_f32le_base64);
    const b = floats(one.lora_B_f32le_base64);
    for (const dtype of ["f64", "f32"] as const) {
      const tolerance = dtype === "f64" ? 1e-12 : 1e-5;
      const adapter = new LoraAdapter({ a: place(dtype, a, [r, n]), b: place(dtype, b, [m, r]) });
      const delta = adapter.delta();
      expect(norm(delta.data) / computed.frobenius_of_B_at_A - 1).toBeCloseTo(0, dtype === "f64" ? 12 : 5);
      const module = new LoraLinear({ weight: place(dtype, new Float64Array(m * n), [m, n]) });
      module.addAdapter("a", adapter);
      const x = Float64Array.from({ length: n }, (_, i) => Math.sin(i + 1));
      const y = module.forward(place(dtype, x, [n])).toTyped();
      expect(largestRowError(y.slice(0, 8), computed.delta_forward_y_first8, 8)).toBeLessThan(tolerance);
      expect(norm(y) / computed.delta_forward_y_norm - 1).toBeCloseTo(0, dtype === "f64" ? 12 : 5);
      if (dtype === "f32") {
        const values = svdvals(delta).data;
        const [largest] = computed.singular_values_of_B_at_A as [number];
        const bound = 20 * 768 * 2 ** -23 * largest;
        computed.singular_values_of_B_at_A.forEach((sigma, i) => {
          expect(Math.abs((values[i] as number) - sigma)).toBeLessThan(bound);
        });
        expect(values.slice(r).every((sigma) => sigma < bound)).toBe(true);
      }
      const scaled = new LoraAdapter({ a: adapter.a, b: adapter.b, alpha: one.lora_alpha });
      expect(scaled.scaling).toBe(2);
      const layer = randomLayer(new Random(1), { dtype, inFeatures: n, outFeatures: m, r, alpha: one.lora_alpha });
      const expected = deltaOf({ ...layer, a, b });
      expect(largestRowError(scaled.delta().toTyped(), expected, n)).toBeLessThan(tolerance);
    }
  });
});
