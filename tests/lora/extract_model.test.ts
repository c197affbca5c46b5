// Adapters from two model files, and adapter files resized and combined: against the functions for one layer and planted updates.

import { describe, expect, test } from "vitest";
import { capabilities, lowRank, NonFiniteError, norm, scope, tensor } from "../../bindings/index.js";
import {
  type AdapterFile,
  combineAdapterFiles,
  combineAdapters,
  extractAdapter,
  extractModel,
  LoraAdapter,
  loadAdapter,
  matchTargets,
  mergeModel,
  modelModules,
  resizeAdapter,
  resizeAdapterFile,
  saveAdapter,
} from "../../bindings/lora.js";
import { FileFormatError, openSafetensors, type Writable, writeSafetensors } from "../../bindings/safetensors.js";
import { Random } from "../support/random.js";

const random = new Random(31);
const sizeOf = (shape: readonly number[]) => shape.reduce((x, y) => x * y, 1);
type Floats = { data: Float32Array; shape: number[] };
const normal = (shape: number[], scale = 1): Floats => ({
  data: Float32Array.from({ length: sizeOf(shape) }, () => scale * random.normal()),
  shape,
});
const open = (tensors: Record<string, Writable>) => openSafetensors(writeSafetensors(tensors));

/** The weight with a change of the given rank; (rows, columns) as matrices. */
function planted(base: Floats, rank: number): Floats {
  const [rows = 1, ...rest] = base.shape;
  const columns = sizeOf(rest);
  const [b, a] = [normal([rows, rank]).data, normal([rank, columns]).data];
  const data = base.data.map((x, at) => {
    let sum = x;
    for (let k = 0; k < rank; k++) {
      sum += (b[Math.floor(at / columns) * rank + k] as number) * (a[k * columns + (at % columns)] as number);
    }
    return sum;
  });
  return { data, shape: base.shape };
}

function dispose(...files: AdapterFile[]): void {
  for (const file of files) for (const adapter of file.modules.values()) adapter.dispose();
}

describe("modelModules", () => {
  test("kinds by shapes, names and biases; all-linear takes linear layers alone", async () => {
    const z = (...shape: number[]) => normal(shape);
    const model = await open({
      "h.0.attn.c_attn.weight": z(4, 12),
      "h.0.attn.c_attn.bias": z(12),
      "h.0.attn.c_proj.weight": z(4, 4),
      "h.0.attn.c_proj.bias": z(4),
      "h.0.gate.weight": z(8, 4),
      "h.0.ln_1.weight": z(4),
      "wte.weight": z(20, 4),
      "bert.embeddings.word_embeddings.weight": z(20, 4),
      "shared.weight": z(20, 4),
      "conv_in.weight": z(4, 3, 3, 3),
      "lm_head.weight": z(20, 4),
      scale: z(2, 2),
    });
    const kinds = Object.fromEntries(modelModules(model).map(({ name, kind }) => [name, kind]));
    expect(kinds).toEqual({
      "h.0.attn.c_attn": "conv1d",
      "h.0.attn.c_proj": "conv1d",
      "h.0.gate": "linear",
      wte: "embedding",
      "bert.embeddings.word_embeddings": "embedding",
      shared: "embedding",
      conv_in: "convolution",
      lm_head: "linear",
    });
    const chosen = matchTargets(modelModules(model), "all-linear");
    expect(chosen.sort()).toEqual(["h.0.attn.c_attn", "h.0.attn.c_proj", "h.0.gate"]);
    // a square weight alone says nothing of its orientation
    const square = await open({ "q.weight": z(4, 4), "q.bias": z(4), "k.weight": z(8, 4), "k.bias": z(8) });
    expect(modelModules(square).map(({ kind }) => kind)).toEqual(["linear", "linear"]);
    expect(() => modelModules({} as never)).toThrow(TypeError);
  });
});

describe("extractModel", () => {
  const shapes = { "a.q": [12, 9], "a.v": [9, 12], "b.q": [12, 12] };
  const make = () => {
    const [base, tuned]: Record<string, Floats>[] = [{}, {}];
    for (const [name, shape] of Object.entries(shapes)) {
      const weight = normal(shape);
      (base as Record<string, Floats>)[`${name}.weight`] = weight;
      (tuned as Record<string, Floats>)[`${name}.weight`] = planted(weight, 3);
    }
    return { base: base as Record<string, Floats>, tuned: tuned as Record<string, Floats> };
  };

  test.each([{ rank: 2 }, { rank: 20 }, { energy: 0.9 }, { tolerance: 0.2 }, { energy: 1, maxRank: 2 }])(
    "%o: each layer as extractAdapter() has it; the error is the tail, the bound is the error",
    async (options) => {
      const { usedBytes } = capabilities();
      const { base, tuned } = make();
      const { file, report } = await extractModel(await open(base), await open(tuned), options);
      expect([...file.modules.keys()].sort()).toEqual(Object.keys(shapes).sort());
      expect(report.skipped).toEqual([]);
      let [lost, all] = [0, 0];
      for (const layer of report.layers) {
        const [x, y] = [base[`${layer.module}.weight`] as Floats, tuned[`${layer.module}.weight`] as Floats];
        scope(() => {
          const delta = tensor(y.data, { shape: y.shape, dtype: "f64" });
          x.data.forEach((value, i) => {
            delta.data[i] = (y.data[i] as number) - value;
          });
          const rank = Math.min(layer.rank, ...x.shape);
          const { error } = lowRank(delta, { rank });
          const size = norm(delta);
          expect(layer.norm).toBeCloseTo(size, 4);
          expect(Math.abs(layer.error - error.frobenius / size)).toBeLessThan(1e-3);
          expect(layer.bound).toBe(layer.error);
          expect(layer.energy).toBeCloseTo(1 - layer.error ** 2, 12);
          if (options.rank !== undefined) expect(layer.rank).toBe(Math.min(options.rank, ...x.shape));
          if (options.maxRank !== undefined) expect(layer.rank).toBe(options.maxRank);
          lost += error.frobenius ** 2;
          all += size ** 2;
          const alone = extractAdapter(x, y, { rank });
          const found = file.modules.get(layer.module) as LoraAdapter;
          expect(found.delta().toArray()).toEqual(alone.adapter.delta().toArray());
          expect(found.scaling).toBe(1);
          alone.adapter.dispose();
        });
      }
      expect(report.error).toBeCloseTo(Math.sqrt(lost / all), 3);
      expect(report.energy).toBeCloseTo(1 - lost / all, 3);
      dispose(file);
      expect(capabilities().usedBytes).toBe(usedBytes);
    },
  );

  test("merged into the base it gives the tuned model: linear, Conv1D, embedding, convolution, also saved and read again", async () => {
    const base: Record<string, Floats> = {
      "unet.lin.weight": normal([10, 8]),
      "unet.c_attn.weight": normal([8, 14]),
      "unet.c_attn.bias": normal([14]),
      "unet.wte.weight": normal([30, 7]),
      "unet.conv.weight": normal([6, 5, 3, 3]),
    };
    const targets = ["lin", "c_attn", "wte", "conv"];
    const tuned = { ...base };
    for (const name of targets) tuned[`unet.${name}.weight`] = planted(base[`unet.${name}.weight`] as Floats, 2);
    const model = await open(base);
    const { file, report } = await extractModel(model, await open(tuned), { rank: 2, targetModules: targets });
    expect(report.layers.map(({ rank }) => rank)).toEqual([2, 2, 2, 2]);
    expect(report.error).toBeLessThan(1e-5);
    expect(file.config.fanInFanOut).toBe(true);
    expect(Object.fromEntries(file.kinds)).toEqual({
      "unet.wte": { kind: "embedding" },
      "unet.conv": { kind: "convolution", kernel: [3, 3] },
    });
    const again = await loadAdapter(saveAdapter(file));
    for (const one of [file, again]) {
      const merged = await openSafetensors(new Response(mergeModel(model, one)));
      for (const [name, wanted] of Object.entries(tuned)) {
        const got = (await merged.tensor(name)).toTyped();
        const error = Math.hypot(...got.map((x, i) => x - (wanted.data[i] as number))) / Math.hypot(...wanted.data);
        expect(error).toBeLessThan(1e-5);
      }
    }
    dispose(file, again);
  });

  test("fanInFanOut says it where biases do not", async () => {
    const weight = normal([8, 14]);
    const [base, tuned] = [await open({ "q.weight": weight }), await open({ "q.weight": planted(weight, 1) })];
    for (const fanInFanOut of [false, true]) {
      const { file } = await extractModel(base, tuned, { rank: 1, fanInFanOut });
      const { inFeatures, outFeatures } = file.modules.get("q") as LoraAdapter;
      expect([outFeatures, inFeatures]).toEqual(fanInFanOut ? [14, 8] : [8, 14]);
      expect(file.config.fanInFanOut).toBe(fanInFanOut);
      dispose(file);
    }
  });

  test("large layers: certified error above the bound, planted rank recovered, energy with and without a limit", async () => {
    const base = normal([600, 560]);
    const tuned = planted(base, 5);
    const noisy = { data: tuned.data.map((x) => x + 0.01 * random.normal()), shape: tuned.shape };
    const [before, exact, noise] = [
      await open({ "q.weight": base }),
      await open({ "q.weight": tuned }),
      await open({ "q.weight": noisy }),
    ];
    const clean = await extractModel(before, exact, { rank: 5 });
    expect(clean.report.layers[0]?.error).toBeLessThan(1e-5);
    const { file, report } = await extractModel(before, noise, { rank: 5 });
    const [layer] = report.layers;
    scope(() => {
      const delta = tensor(
        noisy.data.map((x, i) => x - (base.data[i] as number)),
        { shape: base.shape },
      );
      const best = lowRank(delta, { rank: 5 }).error.frobenius / norm(delta);
      expect(layer?.error).toBeGreaterThanOrEqual(best * (1 - 1e-5));
      expect(layer?.error).toBeLessThan(best * 1.02);
      expect(layer?.bound).toBeLessThanOrEqual(best);
      expect(layer?.bound).toBeGreaterThan(best * 0.5);
    });
    const energy = await extractModel(before, exact, { energy: 0.999999 });
    expect(energy.report.layers[0]?.rank).toBe(5);
    const limited = await extractModel(before, noise, { tolerance: 1e-9, maxRank: 4 });
    expect(limited.report.layers[0]?.rank).toBe(4);
    expect(limited.report.layers[0]?.error).toBeGreaterThan(0.1);
    dispose(clean.file, file, energy.file, limited.file);
  });

  test("what is left out is listed with the reason", async () => {
    const base: Record<string, Writable> = {
      "q.weight": normal([6, 5]),
      "k.weight": normal([6, 5]),
      "same.weight": normal([6, 5]),
      "wte.weight": normal([9, 5]),
      "norm.weight": normal([6]),
      "norm.bias": normal([6]),
      steps: { dtype: "I64", shape: [1], bytes: new Uint8Array(8) },
    };
    const tuned = {
      ...base,
      "q.weight": planted(base["q.weight"] as Floats, 1),
      "norm.bias": normal([6]),
      "new.weight": normal([2, 2]),
    };
    const { file, report } = await extractModel(await open(base), await open(tuned), {
      rank: 1,
      targetModules: ["q", "same"],
    });
    expect([...file.modules.keys()]).toEqual(["q"]);
    const skipped = Object.fromEntries(report.skipped.map(({ name, reason }) => [name, reason]));
    expect(skipped).toEqual({
      same: "unchanged",
      "k.weight": "not a target",
      "wte.weight": "embedding, not a target",
      "norm.bias": "changed, and no weight of a layer: an adapter cannot hold it",
      "new.weight": "not in the base",
    });
    dispose(file);
  });

  test("what is refused leaves nothing behind", async () => {
    const { usedBytes } = capabilities();
    const weight = normal([4, 3]);
    const base = await open({ "q.weight": weight, "k.weight": weight });
    const broken = { data: weight.data.map((x, i) => (i === 7 ? Number.NaN : x)), shape: weight.shape };
    const nan = await open({ "q.weight": planted(weight, 1), "k.weight": broken });
    await expect(extractModel(base, nan, { rank: 1 })).rejects.toThrow(NonFiniteError);
    await expect(extractModel(base, nan, { rank: 1 })).rejects.toThrow(/"tuned (?:q|k)\.weight".*\[2, 1\]/);
    await expect(extractModel(nan, base, { rank: 1, targetModules: ["k"] })).rejects.toThrow(/"base k\.weight"/);
    const other = await open({ "q.weight": normal([3, 4]), "k.weight": weight });
    await expect(extractModel(base, other, { rank: 1 })).rejects.toThrow(FileFormatError);
    await expect(extractModel(base, other, { rank: 1 })).rejects.toThrow(
      /"q\.weight" in shape \(3, 4\), the base in \(4, 3\)/,
    );
    const fewer = await open({ "q.weight": weight });
    await expect(extractModel(base, fewer, { rank: 1 })).rejects.toThrow(/lacks "k\.weight"/);
    const integers = await open({ "q.weight": { dtype: "C64", shape: [1, 1], bytes: new Uint8Array(8) } });
    await expect(extractModel(integers, integers, { rank: 1 })).rejects.toThrow(TypeError);
    for (const [options, message] of [
      [{}, /\{ rank \}/],
      [{ rank: 1, energy: 0.5 }, /rank, energy/],
      [{ rank: 0 }, /"rank"/],
      [{ rank: 1, maxRank: 0 }, /"maxRank"/],
      [{ rank: 1, targetModules: ["x"] }, /"targetModules" expected one of "/],
      [{ rank: 1, targetModules: "(" }, /targetModules/],
      [{ rank: 1, seed: -1 }, /"seed"/],
      [{ rank: 1, ranc: 1 }, /"ranc"/],
    ] as const) {
      await expect(extractModel(base, base, options as never)).rejects.toThrow(message);
    }
    await expect(extractModel({} as never, base, { rank: 1 })).rejects.toThrow(/"base" expected a SafetensorsFile/);
    const control = new AbortController();
    const seen: number[] = [];
    const aborted = extractModel(base, await open({ "q.weight": planted(weight, 1), "k.weight": weight }), {
      rank: 1,
      signal: control.signal,
      onProgress: ({ done }) => {
        seen.push(done);
        control.abort(new Error("enough"));
      },
    });
    await expect(aborted).rejects.toThrow("enough");
    expect(seen).toEqual([48]);
    expect(capabilities().usedBytes).toBe(usedBytes);
  });
});

describe("adapter files as a whole", () => {
  const adapter = (r: number, out: number, inside: number, alpha = r) =>
    new LoraAdapter({ a: normal([r, inside]), b: normal([out, r]), alpha });
  const load = (modules: Record<string, LoraAdapter>, more: Partial<AdapterFile> = {}) =>
    loadAdapter(saveAdapter({ modules: new Map(Object.entries(modules)), ...more }));

  test("resizeAdapterFile: every module as resizeAdapter() has it; config, patterns and extras follow", async () => {
    const { usedBytes } = capabilities();
    const parts = { "x.q": adapter(4, 9, 8), "x.v": adapter(6, 7, 9, 3) };
    const file = await load(parts);
    for (const rule of [{ rank: 3 }, { rank: 100 }, { energy: 0.8 }, { rule: "kohya-sv_fro", value: 0.9 }] as const) {
      const { file: resized, report } = resizeAdapterFile(file, rule);
      expect(report.map(({ module, before }) => [module, before]).sort()).toEqual([
        ["x.q", 4],
        ["x.v", 6],
      ]);
      for (const { module, rank, error, energy, shape } of report) {
        const before = file.modules.get(module) as LoraAdapter;
        const alone = resizeAdapter(before, "rank" in rule ? { rank: Math.min(rule.rank, before.r) } : rule);
        expect([rank, error, energy]).toEqual([alone.rank, alone.error, alone.energy]);
        expect(shape).toEqual([before.outFeatures, before.inFeatures]);
        scope(() => {
          expect(resized.modules.get(module)?.delta().toArray()).toEqual(alone.adapter.delta().toArray());
        });
        alone.adapter.dispose();
      }
      const again = await loadAdapter(saveAdapter(resized));
      for (const [name, one] of again.modules) {
        expect(one.r).toBe(resized.modules.get(name)?.r);
        expect(one.scaling).toBeCloseTo(resized.modules.get(name)?.scaling as number, 12);
      }
      expect(again.config.r).toBe(resized.config.r);
      dispose(resized, again);
    }
    dispose(file);
    for (const one of Object.values(parts)) one.dispose();
    expect(capabilities().usedBytes).toBe(usedBytes);
  });

  test("kohya's two entries of the metadata say the new rank, or that it differs", async () => {
    const metadata = { ss_network_dim: "4", ss_network_alpha: "4", ss_note: "kept" };
    const parts = { lora_unet_q: adapter(4, 9, 8), lora_unet_v: adapter(4, 7, 9) };
    const saved = saveAdapter({ modules: new Map(Object.entries(parts)), format: "kohya", metadata });
    const file = await loadAdapter(Object.values(saved)[0] as Uint8Array);
    const { file: two } = resizeAdapterFile(file, { rank: 2 });
    expect(two.metadata).toMatchObject({ ss_network_dim: "2", ss_network_alpha: "2", ss_note: "kept" });
    file.modules.get("lora_unet_q")?.dispose();
    file.modules.set("lora_unet_q", adapter(1, 9, 8));
    const { file: mixed } = resizeAdapterFile(file, { rank: 2 });
    expect(mixed.metadata.ss_network_dim).toBe("Dynamic");
    dispose(file, two, mixed);
    for (const one of Object.values(parts)) one.dispose();
  });

  test("combineAdapterFiles: every module as combineAdapters() has it, also where some files lack it", async () => {
    const { usedBytes } = capabilities();
    const parts = [{ q: adapter(2, 5, 4), v: adapter(2, 3, 4) }, { q: adapter(2, 5, 4, 7) }];
    const files = [
      await load(parts[0] as Record<string, LoraAdapter>),
      await load(parts[1] as Record<string, LoraAdapter>),
    ];
    const weighted = files.map((file, i) => ({ file, weight: i === 0 ? 0.25 : -1 }));
    for (const options of [{}, { method: "svd", rank: 2 }, { method: "linear" }] as const) {
      const combined = combineAdapterFiles(weighted, options);
      scope(() => {
        for (const [name, found] of combined.modules) {
          const own = weighted.filter(({ file }) => file.modules.has(name));
          const adapters = own.map(({ file, weight }) => ({ adapter: file.modules.get(name) as LoraAdapter, weight }));
          const alone = combineAdapters(adapters, options);
          expect(found.delta().toArray()).toEqual(alone.delta().toArray());
          alone.dispose();
        }
      });
      expect([...combined.modules.keys()].sort()).toEqual(["q", "v"]);
      const again = await loadAdapter(saveAdapter(combined));
      expect(again.modules.size).toBe(2);
      dispose(combined, again);
    }
    dispose(...files);
    for (const one of parts.flatMap((part) => Object.values(part))) one.dispose();
    expect(capabilities().usedBytes).toBe(usedBytes);
  });

  test("what is refused", async () => {
    const { usedBytes } = capabilities();
    const [q, kohya, dora] = [
      adapter(2, 5, 4),
      adapter(2, 5, 4),
      new LoraAdapter({ a: [[1, 2]], b: [[1], [2]], magnitude: [1, 1] }),
    ];
    const plain = await load({ q });
    const unet = { ...plain, modules: new Map([["lora_unet_q", kohya]]) };
    expect(() =>
      combineAdapterFiles([
        { file: plain, weight: 1 },
        { file: unet, weight: 1 },
      ]),
    ).toThrow(/kohya's names/);
    expect(() => combineAdapterFiles([])).toThrow(RangeError);
    expect(() => combineAdapterFiles([{ weight: 1 } as never])).toThrow(/"files\[0\]\.file"/);
    expect(() => combineAdapterFiles([{ file: plain, weight: 1 }], { metod: "cat" } as never)).toThrow(TypeError);
    const whole = { ...plain, extras: new Map([["score.weight", {} as never]]) };
    expect(() => combineAdapterFiles([{ file: whole, weight: 1 }])).toThrow(/holds "score\.weight"/);
    const table = { ...plain, kinds: new Map([["q", { kind: "embedding" } as const]]) };
    expect(() =>
      combineAdapterFiles([
        { file: plain, weight: 1 },
        { file: table, weight: 1 },
      ]),
    ).toThrow(/different kinds/);
    const decomposed = {
      ...plain,
      modules: new Map([
        ["q", q],
        ["d", dora],
      ]),
    };
    expect(() => resizeAdapterFile(decomposed, { rank: 1 })).toThrow(/"d" has a magnitude/);
    expect(() => resizeAdapterFile({} as never, { rank: 1 })).toThrow(TypeError);
    expect(() => resizeAdapterFile(plain, { rank: 0 })).toThrow(RangeError);
    const stop = AbortSignal.abort(new Error("enough"));
    expect(() => resizeAdapterFile(plain, { rank: 1 }, { signal: stop })).toThrow("enough");
    dispose(plain);
    for (const one of [q, kohya, dora]) one.dispose();
    expect(capabilities().usedBytes).toBe(usedBytes);
  });

  test("singularValues() are those of delta()", () => {
    for (const [r, out, inside, alpha] of [
      [3, 7, 5, 6],
      [8, 4, 9, 2],
      [1, 1, 1, -3],
    ] as const) {
      scope(() => {
        const one = adapter(r, out, inside, alpha);
        const found = one.singularValues().toTyped();
        const wanted = lowRank(one.delta(), { rank: Math.min(out, inside) }).s.toTyped();
        expect(found.length).toBe(Math.min(r, out, inside));
        found.forEach((value, i) => {
          expect(Math.abs(value - (wanted[i] as number))).toBeLessThan(1e-5 * (wanted[0] as number));
        });
        one.dispose();
      });
    }
  });
});
