import { describe, expect, test } from "vitest";
import { zeros } from "../../bindings/index.js";
import { LoraAdapter, type LoraConfigOptions, LoraLinear, trainableParameters } from "../../bindings/lora.js";

/** A layer with bias and one adapter of rank r. */
function layer(inFeatures: number, outFeatures: number, r: number): LoraLinear {
  const made = new LoraLinear({ weight: zeros([outFeatures, inFeatures], "f32"), bias: zeros([outFeatures], "f32") });
  made.addAdapter("default", new LoraAdapter({ a: zeros([r, inFeatures], "f32"), b: zeros([outFeatures, r], "f32") }));
  return made;
}

describe("trainableParameters", () => {
  test("trainableParameters: 768×768 at rank 4 is 589,824 against 6,144", () => {
    const { trainable, total, percent, ofBase } = trainableParameters({ w: [768, 768] }, { r: 4 });
    expect(total - trainable).toBe(589_824);
    expect(trainable).toBe(6_144);
    expect(percent).toBe((100 * 6_144) / 595_968);
    expect(ofBase).toBe(6_144 / 589_824);
  });

  const peftLine = "trainable params: 6,794 || all params: 2,813,804 || trainable%: 0.2415";

  test("trainableParameters: 784-1000-2000-10 at rank 1, of layers", () => {
    const layers = { linear1: layer(784, 1000, 1), linear2: layer(1000, 2000, 1), linear3: layer(2000, 10, 1) };
    const report = trainableParameters(layers);
    expect(report).toMatchObject({ trainable: 6_794, total: 2_813_804 });
    expect(report.total - report.trainable).toBe(2_807_010);
    expect(`${report}`).toBe(peftLine);
    expect((100 * report.ofBase).toFixed(3)).toBe("0.242");
    expect(`${trainableParameters(Object.values(layers))}`).toBe(peftLine);
    for (const one of Object.values(layers)) one.dispose();
  });

  test("trainableParameters: 784-1000-2000-10 at rank 1, of shapes", () => {
    const shapes = {
      "linear1.weight": [1000, 784],
      "linear1.bias": [1000],
      "linear2.weight": [2000, 1000],
      "linear2.bias": [2000],
      "linear3.weight": [10, 2000],
      "linear3.bias": [10],
    };
    const report = trainableParameters(shapes, { r: 1 });
    expect(`${report}`).toBe(peftLine);
    expect((100 * report.ofBase).toFixed(3)).toBe("0.242");
    expect(trainableParameters(shapes).trainable).toBe(8 * 6_794);
  });

  test("trainableParameters: only targets get adapters", () => {
    const shapes = {
      "layers.0.attn.q_proj.weight": [64, 64],
      "layers.0.attn.v_proj.weight": [16, 64],
      "layers.0.mlp.up_proj.weight": [256, 64],
      "layers.0.norm.weight": [64],
      my_q_proj: [64, 64],
    };
    const count = (targetModules: string[]) => trainableParameters(shapes, { r: 2, targetModules }).trainable;
    expect(count(["q_proj"])).toBe(2 * 128);
    expect(count(["q_proj", "v_proj"])).toBe(2 * (128 + 80));
    expect(count(["attn.q_proj"])).toBe(2 * 128);
    expect(count(["layers.0.mlp.up_proj"])).toBe(2 * 320);
    expect(count(["norm"])).toBe(0);
    expect(count(["proj"])).toBe(0);
    expect(count([])).toBe(0);
    expect(trainableParameters(shapes, { r: 2, targetModules: [] }).total).toBe(64 * 64 * 2 + 16 * 64 + 256 * 64 + 64);
  });

  test("trainableParameters: PEFT's numbers for GPT-2's shapes", () => {
    const shapes: Record<string, number[]> = { "transformer.wte.weight": [50257, 768], "lm_head.weight": [50257, 768] };
    for (let i = 0; i < 12; i++) {
      for (const [name, out, n] of [
        ["attn.c_attn", 2304, 768],
        ["attn.c_proj", 768, 768],
        ["mlp.c_fc", 3072, 768],
        ["mlp.c_proj", 768, 3072],
      ] as const) {
        shapes[`transformer.h.${i}.${name}.weight`] = [out, n];
        shapes[`transformer.h.${i}.${name}.bias`] = [out];
      }
    }
    const count = (config: LoraConfigOptions) => trainableParameters(shapes, config).trainable;
    expect(count({ r: 4, targetModules: ["c_attn", "c_proj"] })).toBe(405_504);
    expect(count({ r: 6, targetModules: "all-linear", excludeModules: ["wte"] })).toBe(884_736);
    expect(count({ r: 4, targetModules: ["c_attn", "c_proj"], layersToTransform: [0, 5, 11] })).toBe(405_504 / 4);
    expect(count({ r: 4, targetModules: ".*h\\.3\\.attn.*", rankPattern: { c_proj: 1 } })).toBe(4 * 3072 + 1536);
    const attention = { r: 4, targetModules: ["c_attn"] };
    expect(count({ ...attention, useDora: true })).toBe(12 * (4 * 3072 + 2304));
    expect(count({ ...attention, loraBias: true, bias: "lora_only" })).toBe(12 * (4 * 3072 + 2 * 2304));
    expect(count({ ...attention, bias: "all" })).toBe(12 * (4 * 3072 + 2304 + 768 + 3072 + 768));
  });

  test("trainableParameters: a trained base, its bias, magnitudes", () => {
    const trained = new LoraLinear({ weight: zeros([3, 5]), bias: zeros([3]), trainable: true });
    trained.addAdapter("a", { r: 2, useDora: true });
    expect(trainableParameters([trained])).toMatchObject({ trainable: 18 + 16 + 3, total: 18 + 19 });
    const biased = new LoraLinear({ weight: zeros([3, 5]), bias: zeros([3]) });
    biased.addAdapter("a", { r: 2, bias: "lora_only" });
    expect(trainableParameters({ biased })).toMatchObject({ trainable: 16 + 3, total: 18 + 16 });
  });

  test("trainableParameters: all adapters of a layer and their biases count", () => {
    const module = new LoraLinear({ weight: zeros([3, 5]) });
    expect(trainableParameters([module])).toMatchObject({ trainable: 0, total: 15, percent: 0, ofBase: 0 });
    module.addAdapter("a", new LoraAdapter({ a: zeros([2, 5]), b: zeros([3, 2]) }));
    module.addAdapter("b", new LoraAdapter({ a: zeros([1, 5]), b: zeros([3, 1]), bias: zeros([3]) }));
    expect(trainableParameters([module])).toMatchObject({ trainable: 16 + 11, total: 15 + 27 });
    const before = `${trainableParameters([module])}`;
    module.merge("a");
    expect(`${trainableParameters([module])}`).toBe(before);
    const conv1d = new LoraLinear({ weight: zeros([5, 3]), fanInFanOut: true });
    conv1d.addAdapter("a", new LoraAdapter({ a: zeros([2, 5]), b: zeros([3, 2]) }));
    expect(trainableParameters({ conv1d })).toMatchObject({ trainable: 16, total: 31 });
    expect(trainableParameters({ conv1d, extra: [4, 4] }, { r: 1 })).toMatchObject({ trainable: 24, total: 55 });
  });

  test("trainableParameters: nothing", () => {
    expect(trainableParameters({})).toMatchObject({ trainable: 0, total: 0, percent: 0, ofBase: 0 });
    expect(`${trainableParameters([])}`).toBe("trainable params: 0 || all params: 0 || trainable%: 0.0000");
  });

  test("trainableParameters: a model of billions is counted exactly", () => {
    const shapes = Object.fromEntries(Array.from({ length: 80 }, (_, i) => [`${i}.w`, [32768, 28672]]));
    const { total, trainable } = trainableParameters(shapes, { r: 16 });
    expect(total - trainable).toBe(80 * 32768 * 28672);
    expect(`${trainableParameters(shapes, { r: 16 })}`).toMatch(
      /^trainable params: 78,643,200 \|\| all params: 75,240,570,880 /,
    );
  });
});
