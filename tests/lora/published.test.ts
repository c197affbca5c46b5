// The rules that other LoRA systems test, on trained factors and on random ones.

import { describe, expect, test } from "vitest";
import { scope, svdvals } from "../../bindings/index.js";
import {
  combineAdapters,
  extractAdapter,
  extractModel,
  LoraAdapter,
  LoraLinear,
  loadAdapter,
  mergeModel,
  resizeAdapter,
  saveAdapter,
} from "../../bindings/lora.js";
import { openSafetensors, type SafetensorsFile, writeSafetensors } from "../../bindings/safetensors.js";
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
  scalingOf,
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
function* makeLayers(): Generator<Layer> {
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

let made: Layer[] | undefined;

function layers(): Layer[] {
  made ??= [...makeLayers()];
  return made;
}

function floats(base64: string): Float64Array {
  const bytes = Buffer.from(base64, "base64");
  return Float64Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}

/** Another adapter for a layer, of the same size and of the layer's own numbers in another order. */
function partnerOf({ inFeatures, outFeatures, a, b, r: own }: Layer, r = own + 2): LoraAdapter {
  const mixed = (values: Float64Array, n: number) =>
    Float32Array.from(
      { length: n },
      (_, i) => (values[(i * 31 + 17) % values.length] as number) * (i % 3 === 0 ? -1 : 1),
    );
  return new LoraAdapter({
    a: place("f32", mixed(a, r * inFeatures), [r, inFeatures]),
    b: place("f32", mixed(b, outFeatures * r), [outFeatures, r]),
  });
}

/** ‖ΔW − expected‖ / ‖expected‖. */
function matrixError(adapter: LoraAdapter, expected: Float64Array): number {
  const delta = adapter.delta().toTyped();
  return norm(expected.map((value, i) => value - (delta[i] as number))) / norm(expected);
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
  mixed_batch_equals_single() {
    for (const layer of layers()) {
      const { inFeatures: n, outFeatures: m } = layer;
      const module = build(layer);
      module.addAdapter("b", partnerOf(layer));
      const names = [null, "a", "b", "b", null, "a"];
      const x = Float32Array.from(new Random(43).array(names.length * n));
      const mixed = module.forward(place("f32", x, [names.length, n]), { adapters: names }).toTyped();
      names.forEach((name, i) => {
        module.setAdapters(name);
        const alone = module.forward(place("f32", x.subarray(i * n, (i + 1) * n), [1, n])).toTyped();
        expect(largestRowError(mixed.subarray(i * m, (i + 1) * m), alone, m)).toBeLessThan(1e-5);
        module.setAdapters(name === "a" ? "b" : "a");
        const other = module.forward(place("f32", x.subarray(i * n, (i + 1) * n), [1, n])).toTyped();
        expect(largestRowError(mixed.subarray(i * m, (i + 1) * m), other, m)).toBeGreaterThan(1e-4);
      });
      module.dispose();
    }
  },
  combine_single_weight_1() {
    for (const layer of layers()) {
      for (const useRslora of [false, true]) {
        const one = { ...layer, useRslora };
        for (const method of ["linear", "cat", "svd"] as const) {
          const made = combineAdapters([{ adapter: buildAdapter(one), weight: 1 }], { method });
          expect(matrixError(made, deltaOf(one))).toBeLessThan(1e-6);
        }
      }
    }
  },
  combine_weight_minus_1() {
    for (const layer of layers()) {
      for (const method of ["linear", "cat", "svd"] as const) {
        const made = combineAdapters([{ adapter: buildAdapter(layer), weight: -1 }], { method });
        const expected = deltaOf(layer).map((value) => -value);
        expect(matrixError(made, expected)).toBeLessThan(1e-6);
      }
    }
  },
  combine_cancel() {
    for (const layer of layers()) {
      const adapter = buildAdapter(layer);
      const scale = deltaOf(layer).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      for (const method of ["linear", "cat", "svd"] as const) {
        const made = combineAdapters(
          [1, -1].map((weight) => ({ adapter, weight })),
          { method },
        );
        expect(
          made
            .delta()
            .toTyped()
            .every((value: number) => Math.abs(value) < 1e-6 * scale),
        ).toBe(true);
        expect(matrixError(combineAdapters([{ adapter, weight: 1 }]), deltaOf(layer))).toBeLessThan(1e-6);
      }
    }
  },
  combine_scale_once() {
    for (const layer of layers()) {
      for (const useRslora of [false, true]) {
        const one = { ...layer, useRslora, alpha: 3 * layer.r };
        const partner = partnerOf(layer);
        const other = partner.delta().toTyped();
        const expected = deltaOf(one).map((value, i) => 0.7 * value - 0.4 * (other[i] as number));
        for (const [method, twice] of [
          ["cat", false],
          ["svd", false],
          ["cat", true],
        ] as const) {
          const scale = twice ? scalingOf(one) : 1;
          const parts = [
            { adapter: buildAdapter(one), weight: 0.7 * scale },
            { adapter: partner, weight: -0.4 * scale },
          ];
          const error = matrixError(combineAdapters(parts, { method, rank: layer.r + partner.r }), expected);
          if (twice) expect(error).toBeGreaterThan(0.1);
          else expect(error).toBeLessThan(1e-5);
        }
      }
    }
  },
  combine_no_cross_terms() {
    for (const layer of layers()) {
      const one = buildAdapter(layer);
      const two = partnerOf(layer, layer.r);
      const other = two.delta().toTyped();
      const expected = deltaOf(layer).map((value, i) => value - (other[i] as number));
      const parts = [
        { adapter: one, weight: 1 },
        { adapter: two, weight: -1 },
      ];
      for (const method of ["cat", "svd"] as const) {
        expect(matrixError(combineAdapters(parts, { method, rank: 2 * layer.r }), expected)).toBeLessThan(1e-5);
      }
      // the linear method has them, and says so
      expect(matrixError(combineAdapters(parts, { method: "linear" }), expected)).toBeGreaterThan(0.1);
    }
  },
  cat_rank() {
    for (const layer of layers()) {
      const partner = partnerOf(layer, 20);
      const made = combineAdapters([
        { adapter: buildAdapter(layer), weight: 1 },
        { adapter: partner, weight: 1 },
      ]);
      expect(made.r).toBe(layer.r + 20);
    }
  },
  linear_needs_equal_rank() {
    for (const layer of layers()) {
      const parts = [buildAdapter(layer), partnerOf(layer, layer.r + 1)].map((adapter) => ({ adapter, weight: 1 }));
      for (const method of ["linear", "ties", "dare_linear", "dare_ties", "magnitude_prune"] as const) {
        expect(() => combineAdapters(parts, { method, density: 0.5 })).toThrow(RangeError);
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

/** Rules on extraction and files. */
const FILE_CHECKS: Record<string, () => Promise<void>> = {
  async extract_threshold_rule() {
    for (const layer of layers()) {
      const { inFeatures: n, outFeatures: m } = layer;
      const zero = place("f32", new Float32Array(m * n), [m, n]);
      const tuned = place("f32", deltaOf(layer), [m, n]);
      const s = svdvals(tuned).toTyped();
      const total = norm(s) ** 2;
      for (const threshold of [0.3, 0.5, 0.9, 0.99]) {
        let [k, sum] = [0, 0];
        while (sum < threshold * total) sum += (s[k++] as number) ** 2;
        const { adapter, rank } = extractAdapter(zero, tuned, { energy: threshold });
        expect(rank).toBe(k);
        expect([adapter.a.shape, adapter.b.shape]).toEqual([
          [k, n],
          [m, k],
        ]);
        // rows of A have length one, columns of B the singular values
        const [a, b] = [adapter.a.toTyped(), adapter.b.toTyped()];
        for (let i = 0; i < k; i++) {
          expect(norm(a.slice(i * n, (i + 1) * n))).toBeCloseTo(1, 4);
          const column = Float64Array.from({ length: m }, (_, row) => b[row * k + i] as number);
          expect(norm(column) / (s[i] as number)).toBeCloseTo(1, 4);
        }
        adapter.dispose();
      }
    }
  },
  async extract_bad_rank() {
    const [base, tuned] = [
      place("f32", new Float32Array(16 * 20), [16, 20]),
      place("f32", new Float32Array(16 * 20).fill(1), [16, 20]),
    ];
    for (const [rule, got] of [
      [{ rank: 123 }, /"rank" expected an integer in \[1, 16\], got 123/],
      [{ rank: 0 }, /got 0/],
      [{ rank: 1.5 }, /got 1\.5/],
      [{ energy: 123 }, /"energy" expected a number in \(0, 1\], got 123/],
      [{ energy: 0 }, /got 0/],
      [{ energy: -0.5 }, /got -0\.5/],
    ] as const) {
      expect(() => extractAdapter(base, tuned, rule)).toThrow(RangeError);
      expect(() => extractAdapter(base, tuned, rule)).toThrow(got);
    }
  },
  async extract_full_rank_roundtrip() {
    for (const layer of layers()) {
      const { inFeatures: n, outFeatures: m, r } = layer;
      const tuned = place(
        "f32",
        deltaOf(layer).map((x, i) => x + (layer.w[i] as number)),
        [m, n],
      );
      // the change itself is rounded where it is added to the weight
      const exact = extractAdapter(
        place("f32", new Float32Array(m * n), [m, n]),
        place("f32", deltaOf(layer), [m, n]),
        { rank: r },
      );
      expect(matrixError(exact.adapter, deltaOf(layer))).toBeLessThan(1e-5);
      const { adapter, error } = extractAdapter(place("f32", layer.w, [m, n]), tuned, { rank: r });
      const rounding = (2 ** -23 * norm(layer.w)) / norm(deltaOf(layer));
      expect(matrixError(adapter, deltaOf(layer))).toBeLessThan(1e-5 + rounding);
      expect(error).toBeLessThan(1e-4 + rounding);
      for (const one of [adapter, exact.adapter]) one.dispose();
    }
  },
  async half_precision_keeps_dtype() {
    for (const dtype of ["F16", "BF16", "F32"] as const) {
      const weights = [new Random(7), new Random(8)].map((random) => random.array(12 * 8));
      const [base, tuned] = await Promise.all(
        weights.map((data) => openSafetensors(writeSafetensors({ "q.weight": { data, shape: [12, 8] } }, { dtype }))),
      );
      const { file } = await extractModel(base as SafetensorsFile, tuned as SafetensorsFile, { rank: 2 });
      expect(file.modules.get("q")?.dtype).toBe("f32");
      const saved = await openSafetensors(saveAdapter(file)["adapter_model.safetensors"] as Uint8Array);
      for (const name of saved.names) expect(saved.info(name).dtype).toBe(dtype);
      for (const adapter of file.modules.values()) adapter.dispose();
    }
  },
  async peft_key_names() {
    const [linear, table] = [
      new LoraAdapter({ a: [[1, 2, 3]], b: [[1], [2]] }),
      new LoraAdapter({ a: [[1, 2, 3, 4]], b: [[1], [2]] }),
    ];
    const score = { dtype: "F32", shape: [2], bytes: new Uint8Array(8) } as const;
    const files = saveAdapter({
      modules: new Map([
        ["h.0.q", linear],
        ["wte", table],
      ]),
      kinds: new Map([["wte", { kind: "embedding" }]]),
      extras: new Map([["base_model.model.score.weight", score]]),
    });
    const saved = await openSafetensors(files["adapter_model.safetensors"] as Uint8Array);
    expect(Object.fromEntries(saved.names.map((name) => [name, saved.info(name).shape]))).toEqual({
      "base_model.model.h.0.q.lora_A.weight": [1, 3],
      "base_model.model.h.0.q.lora_B.weight": [2, 1],
      "base_model.model.wte.lora_embedding_A": [1, 4],
      "base_model.model.wte.lora_embedding_B": [2, 1],
      "base_model.model.score.weight": [2],
    });
    const again = await loadAdapter(files);
    expect([...again.extras.keys()]).toEqual(["base_model.model.score.weight"]);
    for (const one of [linear, table, ...again.modules.values()]) one.dispose();
  },
  async llamacpp_unknown_tensor() {
    const one = new LoraAdapter({ a: [[1, 2, 3]], b: [[1], [2]] });
    const unknown = { dtype: "F32", shape: [1], bytes: new Uint8Array(4) } as const;
    const extras = new Map([["base_model.model.h.0.q.lora_C.weight", unknown]]);
    const file = await loadAdapter(saveAdapter({ modules: new Map([["h.0.q", one]]), extras }));
    // it is listed, and no merge passes it over
    expect([...file.extras.keys()]).toEqual([...extras.keys()]);
    const model = await openSafetensors(
      writeSafetensors({
        "h.0.q.weight": [
          [0, 0, 0],
          [0, 0, 0],
        ],
      }),
    );
    expect(() => mergeModel(model, file)).toThrow(/h\.0\.q\.lora_C\.weight/);
    for (const adapter of [one, ...file.modules.values()]) adapter.dispose();
  },
};

describe.skipIf(rules === undefined)("rules of other systems", () => {
  test("every rule has a check", () => {
    const names = rules?.cases.map(({ name }) => name) ?? [];
    expect(Object.keys({ ...CHECKS, ...FILE_CHECKS }).sort()).toEqual([...names].sort());
  });

  test.each(Object.entries(CHECKS))("%s", (_, check) => scope(check));
  test.each(Object.entries(FILE_CHECKS))("%s", (_, check) => check());
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
      const base = place(dtype, new Float64Array(m * n), [m, n]);
      const extracted = extractAdapter(base, delta, { rank: r });
      expect(matrixError(extracted.adapter, Float64Array.from(delta.toTyped()))).toBeLessThan(tolerance);
      for (let rank = 1; rank < r; rank++) {
        const left = computed.singular_values_of_B_at_A.slice(rank).reduce((sum, x) => sum + x * x, 0);
        const tail = Math.sqrt(left) / computed.frobenius_of_B_at_A;
        const smaller = resizeAdapter(adapter, { rank });
        expect(Math.abs(smaller.error / tail - 1)).toBeLessThan(dtype === "f64" ? 1e-10 : 1e-4);
        const wanted = extractAdapter(base, delta, { rank });
        expect(Math.abs(wanted.error / tail - 1)).toBeLessThan(0.02);
        expect(smaller.adapter.singularValues().toTyped()).toHaveLength(rank);
        for (const { adapter: made } of [smaller, wanted]) made.dispose();
      }
      const values = adapter.singularValues().toTyped();
      computed.singular_values_of_B_at_A.slice(0, r).forEach((sigma, i) => {
        expect(Math.abs((values[i] as number) / sigma - 1)).toBeLessThan(dtype === "f64" ? 1e-10 : 1e-4);
      });
      extracted.adapter.dispose();
      const layer = randomLayer(new Random(1), { dtype, inFeatures: n, outFeatures: m, r, alpha: one.lora_alpha });
      const expected = deltaOf({ ...layer, a, b });
      expect(largestRowError(scaled.delta().toTyped(), expected, n)).toBeLessThan(tolerance);
    }
  });
});
