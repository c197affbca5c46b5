// Adapter files: every format read, written, converted; what a format cannot hold is refused.

import { describe, expect, test } from "vitest";
import { capabilities, scope, type Tensor, tensor } from "../../bindings/index.js";
import { type AdapterFile, LoraAdapter, loadAdapter, saveAdapter } from "../../bindings/lora.js";
import { FileFormatError, openSafetensors, type Writable, writeSafetensors } from "../../bindings/safetensors.js";
import { Random } from "../support/random.js";

const random = new Random(11);
const half = (x: number) => Math.round(x * 256) / 256;
/** Numbers that f16 holds exactly. */
function matrix(...shape: number[]): Writable {
  const size = shape.reduce((x, y) => x * y, 1);
  return { data: Float32Array.from({ length: size }, () => half(random.symmetric())), shape };
}

const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

function peftFiles(
  tensors: Record<string, Writable>,
  config: Record<string, unknown> = {},
  dtype: "F16" | "F32" = "F32",
) {
  return {
    "adapter_config.json": json({ peft_type: "LORA", r: 2, lora_alpha: 4, target_modules: ["q"], ...config }),
    "adapter_model.safetensors": writeSafetensors(tensors, { dtype, metadata: { format: "pt" } }),
    "README.md": json("nothing"),
  };
}

const ROOT = "base_model.model.";
const pair = (module: string, r = 2, out = 4, inside = 3) => ({
  [`${ROOT}${module}.lora_A.weight`]: matrix(r, inside),
  [`${ROOT}${module}.lora_B.weight`]: matrix(out, r),
});

function dispose(file: AdapterFile): void {
  for (const adapter of file.modules.values()) adapter.dispose();
}

/** Everything that an adapter says, as plain values. */
function plain(file: AdapterFile) {
  return scope(() =>
    [...file.modules]
      .map(([name, one]) => ({
        name,
        a: one.a.toArray(),
        b: one.b.toArray(),
        scaling: one.scaling,
        bias: one.bias?.toArray(),
        magnitude: one.magnitude?.toArray(),
      }))
      .sort((x, y) => (x.name < y.name ? -1 : 1)),
  );
}

describe("PEFT", () => {
  test("ranks, patterns, extras, unknown keys; saved again the files say the same", async () => {
    const config = {
      init_lora_weights: "loftq",
      rank_pattern: { "layers.1.q": 3 },
      alpha_pattern: { "layers.1.q": 9 },
      modules_to_save: ["score"],
      future_key: { deep: [1, "x"] },
      base_model_name_or_path: "a/b",
    };
    const extra = {
      "base_model.model.score.weight": matrix(2, 4),
      "base_model.model.layers.0.q.base_layer.bias": matrix(4),
    };
    const files = peftFiles({ ...pair("layers.0.q"), ...pair("layers.1.q", 3), ...extra }, config, "F16");
    const { usedBytes } = capabilities();
    const file = await loadAdapter(files);
    expect(file.format).toBe("peft");
    expect(file.dtype).toBe("F16");
    expect([...file.modules.keys()]).toEqual(expect.arrayContaining(["layers.0.q", "layers.1.q"]));
    expect(file.modules.get("layers.0.q")?.scaling).toBe(2);
    expect(file.modules.get("layers.1.q")?.scaling).toBe(3);
    expect([...file.extras.keys()].sort()).toEqual(Object.keys(extra).sort());
    const saved = saveAdapter(file);
    expect(Object.keys(saved).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    expect(Buffer.compare(saved["adapter_model.safetensors"] as Uint8Array, files["adapter_model.safetensors"])).toBe(
      0,
    );
    const said = JSON.parse(new TextDecoder().decode(saved["adapter_config.json"]));
    expect(said).toMatchObject({ r: 2, lora_alpha: 4, target_modules: ["q"], ...config });
    dispose(file);
    expect(capabilities().usedBytes).toBe(usedBytes);
  });

  test("rsLoRA, DoRA, LoRA bias, dropout, embeddings, convolutions, names of older files", async () => {
    const tensors = {
      ...pair("dora"),
      [`${ROOT}dora.lora_magnitude_vector`]: matrix(4),
      [`${ROOT}old.lora_A.default.weight`]: matrix(2, 3),
      [`${ROOT}old.lora_B.default.weight`]: matrix(4, 2),
      [`${ROOT}embed.lora_embedding_A`]: matrix(2, 10),
      [`${ROOT}embed.lora_embedding_B`]: matrix(5, 2),
      [`${ROOT}conv.lora_A.weight`]: matrix(2, 3, 3, 3),
      [`${ROOT}conv.lora_B.weight`]: matrix(4, 2, 1, 1),
    };
    const file = await loadAdapter(peftFiles(tensors, { use_rslora: true, use_dora: true, lora_dropout: 0.25 }));
    expect(file.modules.get("dora")?.magnitude?.shape).toEqual([4]);
    expect(file.modules.get("dora")?.scaling).toBeCloseTo(4 / Math.SQRT2, 15);
    expect(file.modules.get("old")?.dropout).toBe(0.25);
    expect(file.modules.get("conv")?.a.shape).toEqual([2, 27]);
    expect(Object.fromEntries(file.kinds)).toEqual({
      embed: { kind: "embedding" },
      conv: { kind: "convolution", kernel: [3, 3] },
    });
    const again = await loadAdapter(saveAdapter(file));
    expect(plain(again)).toEqual(plain(file));
    expect([...again.kinds]).toEqual([...file.kinds]);
    // without the config of a file, the adapters say what there is to say
    const bare = saveAdapter({ modules: file.modules, kinds: file.kinds });
    expect((await loadAdapter(bare)).modules.get("old")?.dropout).toBe(0.25);
    const biased = await loadAdapter(
      peftFiles({ ...pair("q"), [`${ROOT}q.lora_B.bias`]: matrix(4) }, { lora_bias: true }),
    );
    expect(biased.modules.get("q")?.bias?.shape).toEqual([4]);
    expect(plain(await loadAdapter(saveAdapter(biased)))).toEqual(plain(biased));
  });

  test("a resized adapter is saved with its own rank and alpha in the patterns", async () => {
    const file = await loadAdapter(peftFiles({ ...pair("x.q"), ...pair("y.q") }, { future_key: 1 }));
    file.modules.get("x.q")?.dispose();
    file.modules.set("x.q", new LoraAdapter({ a: tensor([[1, 0, 0]]), b: tensor([[1], [0], [0], [0]]), alpha: 3 }));
    const saved = saveAdapter(file);
    const said = JSON.parse(new TextDecoder().decode(saved["adapter_config.json"]));
    expect(said.future_key).toBe(1);
    const again = await loadAdapter(saved);
    expect(again.modules.get("x.q")?.scaling).toBe(3);
    expect(again.modules.get("y.q")?.scaling).toBe(2);
  });

  const wrong: [string, () => unknown, RegExp][] = [
    ["A without B", () => peftFiles({ [`${ROOT}q.lora_A.weight`]: matrix(2, 3) }), /has A without B/],
    ["B without A", () => peftFiles({ [`${ROOT}q.lora_B.weight`]: matrix(4, 2) }), /has B without A/],
    [
      "ranks that differ",
      () => peftFiles({ ...pair("q"), [`${ROOT}q.lora_B.weight`]: matrix(4, 3) }),
      /"b" expected shape/,
    ],
    ["another rank than the config's", () => peftFiles(pair("q", 3)), /has rank 3, adapter_config.json says 2/],
    [
      "a rank that is missing",
      () => ({ ...peftFiles(pair("q")), "adapter_config.json": json({ lora_alpha: 1 }) }),
      /no rank/,
    ],
    ["a rank of zero", () => peftFiles(pair("q"), { r: 0 }), /adapter_config.json: "r" expected/],
    ["another method", () => peftFiles(pair("q"), { peft_type: "IA3" }), /"LORA"/],
    [
      "a config that is not JSON",
      () => ({ ...peftFiles(pair("q")), "adapter_config.json": new Uint8Array(3) }),
      /not JSON/,
    ],
    ["no config", () => writeSafetensors(pair("q")), /adapter_config.json is missing/],
    [
      "a pickled file",
      () => ({ "adapter_config.json": json({ r: 2 }), "adapter_model.bin": new Uint8Array(9) }),
      /adapter_model.bin is pickled/,
    ],
    ["no adapter", () => writeSafetensors({ "model.weight": matrix(2, 2) }), /not an adapter/],
    [
      "LyCORIS",
      () =>
        writeSafetensors({ "lora_unet_x.lora_mid.weight": matrix(2, 2), "lora_unet_x.lora_up.weight": matrix(2, 2) }),
      /LyCORIS/,
    ],
  ];
  test.each(wrong)("loadAdapter refuses %s", async (_, source, message) => {
    const { usedBytes } = capabilities();
    const loading = loadAdapter(source() as never);
    await expect(loading).rejects.toThrow(FileFormatError);
    await expect(loading).rejects.toThrow(message);
    expect(capabilities().usedBytes).toBe(usedBytes);
  });
});

describe("kohya and diffusers", () => {
  const kohya = (more: Record<string, Writable> = {}) =>
    writeSafetensors({
      "lora_unet_down_blocks_0_to_q.lora_down.weight": matrix(2, 3),
      "lora_unet_down_blocks_0_to_q.lora_up.weight": matrix(4, 2),
      "lora_unet_down_blocks_0_to_q.alpha": { data: Float32Array.of(1), shape: [] },
      "lora_unet_conv_in.lora_down.weight": matrix(2, 3, 3, 3),
      "lora_unet_conv_in.lora_up.weight": matrix(4, 2, 1, 1),
      ...more,
    });
  const names = ["unet.down_blocks.0.to_q", "unet.conv_in"];

  test("kohya's alphas, absent ones, convolutions; the file is written again as it was", async () => {
    const bytes = kohya();
    const file = await loadAdapter(bytes);
    expect(file.format).toBe("kohya");
    expect(file.modules.get("lora_unet_down_blocks_0_to_q")?.scaling).toBe(0.5);
    expect(file.modules.get("lora_unet_conv_in")?.scaling).toBe(1);
    const saved = await openSafetensors(saveAdapter(file)["lora.safetensors"] as Uint8Array);
    const before = await openSafetensors(bytes);
    for (const name of before.names) expect(saved.info(name)).toEqual(before.info(name));
    expect(plain(await loadAdapter(saveAdapter(file)["lora.safetensors"] as Uint8Array))).toEqual(plain(file));
  });

  test("every format goes to every other and back, with module names where kohya's come in", async () => {
    const file = await loadAdapter(kohya(), { moduleNames: names });
    expect([...file.modules.keys()].sort()).toEqual([...names].sort());
    const deltas = (one: AdapterFile) =>
      scope(() =>
        Object.fromEntries([...one.modules].map(([name, adapter]) => [name, (adapter.delta() as Tensor).toArray()])),
      );
    const start = deltas(file);
    let current = file;
    for (const format of ["peft", "diffusers", "kohya", "diffusers", "peft", "kohya", "peft"] as const) {
      current = await loadAdapter(saveAdapter(current, { format }), { moduleNames: names });
      expect(current.format).toBe(format);
      expect(deltas(current)).toEqual(start);
      expect(current.kinds.get("unet.conv_in")).toEqual({ kind: "convolution", kernel: [3, 3] });
    }
  });

  test("rsLoRA and alpha patterns become an alpha for each kohya module; DoRA goes along", async () => {
    const files = peftFiles(
      {
        ...pair("unet.a"),
        ...pair("unet.b"),
        [`${ROOT}unet.a.lora_magnitude_vector`]: matrix(4),
        [`${ROOT}unet.b.lora_magnitude_vector`]: matrix(4),
      },
      { use_rslora: true, use_dora: true, alpha_pattern: { "unet.b": 8 } },
    );
    const file = await loadAdapter(files);
    const written = await openSafetensors(saveAdapter(file, { format: "kohya" })["lora.safetensors"] as Uint8Array);
    expect((await written.tensor("lora_unet_a.alpha")).toArray()).toBe(Math.fround((4 / Math.SQRT2) * 2));
    expect((await written.tensor("lora_unet_b.alpha")).toArray()).toBe(Math.fround((8 / Math.SQRT2) * 2));
    expect(written.info("lora_unet_a.dora_scale").shape).toEqual([4, 1]);
  });

  test("diffusers: old processors, alphas in the metadata, no metadata", async () => {
    const tensors = {
      "unet.mid.attn1.processor.to_q_lora.down.weight": matrix(2, 3),
      "unet.mid.attn1.processor.to_q_lora.up.weight": matrix(4, 2),
      "unet.mid.attn1.processor.to_out_lora.down.weight": matrix(2, 3),
      "unet.mid.attn1.processor.to_out_lora.up.weight": matrix(4, 2),
      "text_encoder.k.lora_A.weight": matrix(2, 3),
      "text_encoder.k.lora_B.weight": matrix(4, 2),
    };
    const metadata = { lora_adapter_metadata: JSON.stringify({ "text_encoder.r": 2, "text_encoder.lora_alpha": 8 }) };
    const file = await loadAdapter(writeSafetensors(tensors, { metadata }));
    expect([...file.modules.keys()].sort()).toEqual([
      "text_encoder.k",
      "unet.mid.attn1.to_out.0",
      "unet.mid.attn1.to_q",
    ]);
    expect(file.modules.get("text_encoder.k")?.scaling).toBe(4);
    expect(file.modules.get("unet.mid.attn1.to_q")?.scaling).toBe(1);
    expect(plain(await loadAdapter(saveAdapter(file)))).toEqual(plain(file));
  });

  test("what a format cannot hold, and names that are not clear", async () => {
    const load = (tensors: Record<string, Writable>, config = {}) => loadAdapter(peftFiles(tensors, config));
    const biased = await load({ ...pair("q"), [`${ROOT}q.lora_B.bias`]: matrix(4) }, { lora_bias: true });
    expect(() => saveAdapter(biased, { format: "kohya" })).toThrow(/no LoRA bias/);
    const embedding = await load({
      [`${ROOT}e.lora_embedding_A`]: matrix(2, 9),
      [`${ROOT}e.lora_embedding_B`]: matrix(3, 2),
    });
    expect(() => saveAdapter(embedding, { format: "kohya" })).toThrow(/no embedding/);
    const whole = await load({ ...pair("unet.q"), [`${ROOT}score.weight`]: matrix(2, 2) });
    for (const format of ["kohya", "diffusers"] as const) {
      expect(() => saveAdapter(whole, { format })).toThrow(/score\.weight/);
    }
    const llm = await load(pair("model.layers.0.q"));
    expect(() => saveAdapter(llm, { format: "diffusers" })).toThrow(/no component/);
    const plainKohya = await loadAdapter(kohya());
    expect(() => saveAdapter(plainKohya, { format: "peft" })).toThrow(/moduleNames/);
    const twice = ["unet.down_blocks.0.to_q", "unet.down.blocks.0.to_q", "unet.conv_in"];
    await expect(loadAdapter(kohya(), { moduleNames: twice })).rejects.toThrow(/down_blocks.0.to_q.*down\.blocks/);
    await expect(loadAdapter(kohya(), { moduleNames: ["unet.conv_in"] })).rejects.toThrow(/no module name fits/);
    const clash = await load({ ...pair("unet.a_b"), ...pair("unet.a.b") });
    expect(() => saveAdapter(clash, { format: "kohya" })).toThrow(/two modules/);
    expect(() => saveAdapter({ modules: {} } as never)).toThrow(TypeError);
    expect(() => saveAdapter(llm, { format: "gguf" as never })).toThrow(RangeError);
    expect(() => saveAdapter(llm, { form: "peft" } as never)).toThrow(TypeError);
  });
});
