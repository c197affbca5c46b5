// Adapters that begin as a part of the weight: PiSSA, MiLoRA, OLoRA, and their conversion back to plain ones.

import { describe, expect, test } from "vitest";
import { capabilities, lowRank, matmul, qr, svd, type Tensor, tensor } from "../../bindings/index.js";
import {
  AdamW,
  combineAdapters,
  LoraAdapter,
  type LoraConfigOptions,
  LoraLinear,
  quantize,
} from "../../bindings/lora.js";
import { Random } from "../support/random.js";
import { DTYPES } from "../support/raw.js";
import { transpose } from "../support/reference.js";
import { largestRowError, place, round, sameBits } from "./reference.js";

const KINDS = ["pissa", "milora", "olora"] as const;
const [OUT, IN, R] = [9, 7, 3];

const wide = (x: Tensor) => Float64Array.from(x.toTyped());

function far(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let [most, error] = [0, 0];
  for (let i = 0; i < wanted.length; i++) {
    most = Math.max(most, Math.abs(wanted[i] as number));
    error = Math.max(error, Math.abs((got[i] as number) - (wanted[i] as number)));
  }
  return got.length === wanted.length ? error / (most || 1) : Infinity;
}

describe.each(DTYPES)("adapters that begin as a part of the weight, %s", (dtype) => {
  const bound = dtype === "f32" ? 1e-6 : 1e-14;
  const random = new Random(2);
  const w = round(dtype, random.array(OUT * IN, "normal"));
  const x = round(dtype, random.array(4 * IN, "normal"));
  const g = round(dtype, random.array(4 * OUT, "normal"));
  const input = () => place(dtype, x, [4, IN]);

  function makeLayer(options: { fanInFanOut?: boolean; packed?: boolean } = {}): LoraLinear {
    const weight = options.fanInFanOut ? place(dtype, transpose(OUT, IN, w), [IN, OUT]) : place(dtype, w, [OUT, IN]);
    return new LoraLinear({ weight, ...options });
  }

  /** Some steps of training. */
  function train(layer: LoraLinear, name: string, steps: number): void {
    const adapter = layer.adapter(name);
    const params = { a: adapter.a, b: adapter.b };
    const optimizer = new AdamW({ lr: 0.02 });
    for (let step = 0; step < steps; step++) {
      layer.forward(input(), { train: true });
      const { a, b } = layer.backward(place(dtype, g, [4, OUT]), { x: false }).adapters[name] as {
        a: Tensor;
        b: Tensor;
      };
      optimizer.step(params, { a, b });
    }
    optimizer.dispose();
  }

  test.each(KINDS)("%s: the layer starts as it was, trains, and removal gives W back to the bit", (initLoraWeights) => {
    for (const config of [
      { r: R, loraAlpha: R },
      { r: 1, loraAlpha: 5 },
      { r: IN, loraAlpha: 2, useRslora: true },
      { r: R, loraAlpha: 6, useDora: true },
    ] as LoraConfigOptions[]) {
      for (const options of [{}, { fanInFanOut: true }, { packed: true }]) {
        const layer = makeLayer(options);
        const before = layer.forward(input());
        const weight = layer.weight.toTyped();
        layer.addAdapter("part", { ...config, initLoraWeights });
        expect(far(wide(layer.forward(input())), wide(before))).toBeLessThan(20 * bound);
        // the base is what the start leaves of W, whether the adapter counts or not
        const start = layer.adapter("part").delta();
        const left = w.map((value, i) => value - (wide(start)[i] as number));
        const stored = options.fanInFanOut ? transpose(IN, OUT, wide(layer.weight)) : wide(layer.weight);
        expect(far(stored, left)).toBeLessThan(10 * bound);
        layer.enabled = false;
        const disabled = wide(layer.forward(input()));
        const expected = wide(matmul(place("f64", x, [4, IN]), place("f64", left, [OUT, IN]).transpose()));
        expect(largestRowError(disabled, expected, OUT)).toBeLessThan(100 * bound);
        layer.enabled = true;
        train(layer, "part", 3);
        expect(far(wide(layer.forward(input())), wide(before))).toBeGreaterThan(1e-3);
        // merged and unmerged, from the base that is there
        const trained = layer.forward(input());
        layer.merge();
        expect(far(wide(layer.forward(input())), wide(trained))).toBeLessThan(50 * bound);
        layer.unmerge();
        expect(sameBits(layer.forward(input()).toTyped(), trained.toTyped())).toBe(true);
        layer.removeAdapter("part");
        expect(sameBits(layer.weight.toTyped(), weight)).toBe(true);
        expect(sameBits(layer.forward(input()).toTyped(), before.toTyped())).toBe(true);
        layer.dispose();
      }
    }
  });

  test.each(KINDS)(
    "%s: a trained adapter as a plain one on the original weight, of twice the rank",
    (initLoraWeights) => {
      for (const config of [
        { r: R, loraAlpha: 4 },
        { r: R, loraAlpha: 4, useRslora: true },
        { r: 2, loraAlpha: 4, useDora: true },
      ] as (LoraConfigOptions & { r: number })[]) {
        const layer = makeLayer();
        layer.addAdapter("part", { ...config, initLoraWeights });
        const still = layer.toLora("part");
        expect(
          far(
            wide(still.delta()),
            w.map(() => 0),
          ),
        ).toBeLessThan(10 * bound);
        train(layer, "part", 5);
        const plain = layer.toLora("part");
        expect(plain.r).toBe(2 * config.r);
        expect(Math.abs(plain.scaling / layer.adapter("part").scaling - 1)).toBeLessThan(1e-15);
        const original = makeLayer();
        original.addAdapter("plain", plain);
        if (!config.useDora) {
          // the same by hand, from an adapter and a copy of its start
          const { adapter: start } = LoraAdapter.create({
            ...{
              inFeatures: IN,
              outFeatures: OUT,
              r: config.r,
              alpha: config.loraAlpha as number,
              init: initLoraWeights,
            },
            ...{ base: place(dtype, w, [OUT, IN]), useRslora: config.useRslora ?? false },
          });
          const both = [
            { adapter: layer.adapter("part"), weight: 1 },
            { adapter: start, weight: -1 },
          ];
          expect(far(wide(combineAdapters(both, { method: "cat" }).delta()), wide(plain.delta()))).toBeLessThan(
            20 * bound,
          );
        }
        expect(far(wide(original.forward(input())), wide(layer.forward(input())))).toBeLessThan(40 * bound);
        // the twin: the trained adapter itself does not fit the original weight
        original.addAdapter("trained", layer.adapter("part"));
        original.setAdapters("trained");
        expect(far(wide(original.forward(input())), wide(layer.forward(input())))).toBeGreaterThan(0.01);
        for (const one of [layer, original, still, plain]) one.dispose();
      }
      // an adapter that took nothing is itself
      const layer = makeLayer();
      layer.addAdapter("plain", { r: 2, initLoraWeights: false, loraBias: true, loraDropout: 0.5 });
      const same = layer.toLora("plain");
      expect(sameBits(same.delta().toTyped(), layer.adapter("plain").delta().toTyped())).toBe(true);
      expect(same).toMatchObject({ dropout: 0.5, alpha: 8, r: 2 });
      expect(same.bias?.shape).toEqual([OUT]);
      for (const one of [same, layer]) one.dispose();
    },
  );

  test("two of them on one layer: the second is a part of what the first left; each gives back its own", () => {
    const layer = makeLayer({ packed: true });
    const weight = layer.weight.toTyped();
    layer.addAdapter("first", { r: 2, loraAlpha: 2, initLoraWeights: "pissa" });
    const left = layer.weight.toTyped();
    layer.addAdapter("second", { r: 1, loraAlpha: 3, initLoraWeights: "olora" });
    layer.addAdapter("plain", { r: 1 });
    const second = layer.adapter("second").delta();
    train(layer, "first", 2);
    layer.removeAdapter("plain");
    layer.removeAdapter("first");
    expect(
      far(
        wide(layer.weight),
        w.map((value, i) => value - (wide(second)[i] as number)),
      ),
    ).toBeLessThan(10 * bound);
    layer.removeAdapter("second");
    expect(sameBits(layer.weight.toTyped(), weight)).toBe(true);
    // in the other order
    layer.addAdapter("first", { r: 2, loraAlpha: 2, initLoraWeights: "pissa" });
    layer.addAdapter("second", { r: 1, loraAlpha: 3, initLoraWeights: "olora" });
    layer.removeAdapter("second");
    expect(sameBits(layer.weight.toTyped(), left)).toBe(true);
    layer.dispose();
  });

  test("the parts are what their papers say", () => {
    const base = place(dtype, w, [OUT, IN]);
    const sizes = { inFeatures: IN, outFeatures: OUT, r: R, alpha: 2 * R };
    const [pissa, milora, olora] = KINDS.map((init) => LoraAdapter.create({ ...sizes, init, base })) as [
      ReturnType<typeof made>,
      ReturnType<typeof made>,
      ReturnType<typeof made>,
    ];
    function made() {
      return LoraAdapter.create({ ...sizes, init: "pissa", base });
    }
    for (const { adapter, residual } of [pissa, milora, olora]) {
      const sum = wide(adapter.delta()).map((value, i) => value + (wide(residual)[i] as number));
      expect(far(sum, w)).toBeLessThan(10 * bound);
      expect(residual.shape).toEqual([OUT, IN]);
      expect(adapter.scaling).toBe(2);
    }
    const whole = tensor(w, { shape: [OUT, IN] });
    const s = svd(whole).s.toTyped();
    const spectrum = (t: Tensor) => svd(tensor(wide(t), { shape: [...t.shape] })).s.toTyped();
    // PiSSA has the largest values, half of each on both sides; its residual the others
    const { u, s: kept, vt } = lowRank(whole, { rank: R });
    const scaled = matmul(
      u,
      tensor(
        Array.from({ length: R }, (_, i) =>
          Array.from({ length: R }, (_, j) => (i === j ? (kept.data[i] as number) : 0)),
        ),
      ),
    );
    expect(far(wide(pissa.adapter.delta()), wide(matmul(scaled, vt)))).toBeLessThan(20 * bound);
    expect(far(spectrum(pissa.residual), [...s.slice(R), 0, 0, 0])).toBeLessThan(30 * bound);
    for (const factor of [pissa.adapter.a, pissa.adapter.b]) {
      expect(
        far(
          spectrum(factor),
          Array.from(s.slice(0, R), (value) => Math.sqrt(value / 2)),
        ),
      ).toBeLessThan(20 * bound);
    }
    // MiLoRA the smallest
    expect(far(spectrum(milora.adapter.delta()), [...s.slice(IN - R), 0, 0, 0, 0])).toBeLessThan(200 * bound);
    expect(far(spectrum(milora.residual), [...s.slice(0, IN - R), 0, 0, 0])).toBeLessThan(30 * bound);
    // OLoRA: orthonormal columns, an upper triangle
    const { q, r } = qr(whole);
    const first = (t: Tensor, rows: number, columns: number) =>
      (t.toArray() as number[][]).slice(0, rows).flatMap((row) => row.slice(0, columns));
    expect(far(wide(olora.adapter.b), first(q, OUT, R))).toBeLessThan(20 * bound);
    expect(far(wide(olora.adapter.a), first(r, R, IN))).toBeLessThan(20 * bound);
    for (const { adapter, residual } of [pissa, milora, olora]) for (const one of [adapter, residual]) one.dispose();
  });
});

describe("adapters that begin as a part of the weight", () => {
  test("a large weight: PiSSA takes its part from a randomized decomposition, and the layer starts as it was", () => {
    const [m, n] = [560, 530];
    const weight = tensor(Float32Array.from(new Random(1).array(m * n)), { shape: [m, n] });
    const layer = new LoraLinear({ weight });
    const x = tensor(Float32Array.from(new Random(2).array(2 * n)), { shape: [2, n] });
    const before = wide(layer.forward(x));
    layer.addAdapter("part", { r: 8, loraAlpha: 8, initLoraWeights: "pissa" });
    expect(far(wide(layer.forward(x)), before)).toBeLessThan(1e-5);
    layer.dispose();
  });

  test("what is refused leaves the layer as it was, and memory comes back", () => {
    const { usedBytes } = capabilities();
    const weight = tensor(new Random(1).array(12), { shape: [4, 3] });
    const pissa = { r: 2, initLoraWeights: "pissa" } as const;
    const trainable = new LoraLinear({ weight, trainable: true });
    expect(() => trainable.addAdapter("part", pissa)).toThrow(
      new RangeError('"initLoraWeights" expected one that leaves a trainable weight as it is, got "pissa"'),
    );
    const half = quantize([[1, 2, 3]], "f16");
    const quantized = new LoraLinear({ weight: half });
    expect(() => quantized.addAdapter("part", { ...pissa, r: 1 })).toThrow(/leaves a quantised weight as it is/);
    const layer = new LoraLinear({ weight });
    expect(() => layer.addAdapter("part", { ...pissa, r: 4 })).toThrow(
      new RangeError('"r" expected an integer in [1, 3] with init "pissa", got 4'),
    );
    layer.addAdapter("plain", { r: 1, initLoraWeights: false });
    layer.merge("plain");
    const merged = expect.objectContaining({ code: "merged" });
    expect(() => layer.addAdapter("part", pissa)).toThrow(merged);
    layer.unmerge();
    layer.addAdapter("part", pissa);
    layer.merge("plain");
    expect(() => layer.removeAdapter("part")).toThrow(merged);
    layer.unmerge();
    expect(() => layer.merge("plain", { keepBase: false })).toThrow(/^"keepBase" expected true beside "part"/);
    expect(() => layer.toLora("other")).toThrow(RangeError);
    // a pass before the base changed is not one to go back through
    layer.forward([[1, 2, 3]], { train: true }).dispose();
    layer.removeAdapter("part");
    expect(() => layer.backward([[1, 2, 3, 4]])).toThrow(expect.objectContaining({ code: "no_forward" }));
    for (const one of [trainable, quantized, half, layer, weight]) one.dispose();
    expect(capabilities().usedBytes).toBe(usedBytes);
  });
});
