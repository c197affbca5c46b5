// A model of real size, GPT-2 small's twelve blocks in 16-bit floats and twelve files: planted updates of rank 8 and noise, extracted,
// resized, combined and merged back, every number checked.

import { afterAll, beforeAll, expect, test } from "vitest";
import { capabilities, lowRank, norm, scope, type Tensor, tensor } from "../../bindings/index.js";
import {
  type AdapterFile,
  combineAdapterFiles,
  type ExtractionReport,
  extractModel,
  LoraAdapter,
  loadAdapter,
  mergeModel,
  resizeAdapterFile,
  saveAdapter,
} from "../../bindings/lora.js";
import { openModel, openSafetensors, type SafetensorsFile, writeSafetensors } from "../../bindings/safetensors.js";
import { Random } from "../support/random.js";

const HIDDEN = 768;
const BLOCKS = 12;
const RANK = 8;
/** Conv1D: (in, out). */
const SHAPES: Record<string, [number, number]> = {
  "attn.c_attn": [HIDDEN, 3 * HIDDEN],
  "attn.c_proj": [HIDDEN, HIDDEN],
  "mlp.c_fc": [HIDDEN, 4 * HIDDEN],
  "mlp.c_proj": [4 * HIDDEN, HIDDEN],
};
const random = new Random(12);

let [base, tuned]: SafetensorsFile[] = [];
let file: AdapterFile;
let report: ExtractionReport;
/** ‖noise‖_F / ‖Δ‖_F of each module, noise with what rounding to f16 adds. */
const noiseShare = new Map<string, number>();

/** Numbers in ±size, quickly. */
function uniform(size: number, count: number): Float32Array {
  let state = random.below(2 ** 31) | 1;
  return Float32Array.from({ length: count }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (size * state) / 2 ** 31;
  });
}

/** Scaled factors B·A of rank 8 whose values fall by 0.7 each. */
function planted(rows: number, columns: number): Float32Array {
  return scope(() => {
    const left = uniform(0.05, rows * RANK).map((x, i) => x * 0.7 ** (i % RANK));
    const update = new LoraAdapter({
      a: { data: uniform(1, RANK * columns), shape: [RANK, columns] },
      b: { data: left, shape: [rows, RANK] },
    });
    const delta = (update.delta() as Tensor<"f32">).toTyped();
    update.dispose();
    return delta;
  });
}

beforeAll(async () => {
  const files: [Record<string, Uint8Array>, Record<string, Uint8Array>] = [{}, {}];
  for (let block = 0; block < BLOCKS; block++) {
    const before: Record<string, { data: Float32Array; shape: number[] }> = {};
    const after: typeof before = {};
    const updates = new Map<string, Float32Array>();
    for (const [name, [rows, columns]] of Object.entries(SHAPES)) {
      const module = `transformer.h.${block}.${name}`;
      const weight = uniform(0.1, rows * columns);
      const update = planted(rows, columns);
      const noise = uniform(0.002, rows * columns);
      before[`${module}.weight`] = { data: weight, shape: [rows, columns] };
      after[`${module}.weight`] = {
        data: weight.map((x, i) => x + (update[i] as number) + (noise[i] as number)),
        shape: [rows, columns],
      };
      for (const one of [before, after]) one[`${module}.bias`] = { data: new Float32Array(columns), shape: [columns] };
      updates.set(`${module}.weight`, update);
    }
    const written = [before, after].map((one) => writeSafetensors(one, { dtype: "F16" }));
    const opened = await Promise.all(written.map((bytes) => openSafetensors(bytes)));
    for (const [name, update] of updates) {
      const [x, y] = await Promise.all(opened.map(async (one) => (await one.tensor(name)).toTyped()));
      let [all, rest] = [0, 0];
      update.forEach((value, i) => {
        const delta = ((y as Float32Array)[i] as number) - ((x as Float32Array)[i] as number);
        all += delta ** 2;
        rest += (delta - value) ** 2;
      });
      noiseShare.set(name.replace(".weight", ""), Math.sqrt(rest / all));
    }
    files.forEach((one, i) => {
      one[`model-${block}.safetensors`] = written[i] as Uint8Array;
    });
  }
  [base, tuned] = await Promise.all(files.map((one) => openModel(one)));
  ({ file, report } = await extractModel(base as SafetensorsFile, tuned as SafetensorsFile, { rank: RANK }));
}, 300_000);

afterAll(() => dispose(file));

function dispose(...files: AdapterFile[]): void {
  for (const one of files) for (const adapter of one.modules.values()) adapter.dispose();
}

async function change(module: string): Promise<Float32Array> {
  const [x, y] = await Promise.all(
    [base, tuned].map(async (one) => (await (one as SafetensorsFile).tensor(`${module}.weight`)).toTyped()),
  );
  return (y as Float32Array).map((value, i) => value - ((x as Float32Array)[i] as number));
}

test("every layer is found, its error the noise's, not below what Eckart and Young allow", () => {
  expect(report.layers).toHaveLength(4 * BLOCKS);
  expect(report.skipped).toEqual([]);
  for (const { module, rank, error, bound, energy, shape } of report.layers) {
    expect(rank).toBe(RANK);
    expect(shape).toEqual(SHAPES[module.replace(/^transformer\.h\.\d+\./, "")]);
    const noise = noiseShare.get(module) as number;
    // eight vectors of the noise's many hundred may be fitted
    expect(error).toBeLessThan(1.02 * noise);
    expect(error).toBeGreaterThan(0.9 * noise);
    expect(bound).toBeLessThanOrEqual(error);
    expect(energy).toBeCloseTo(1 - error ** 2, 12);
  }
  expect(file.config.fanInFanOut).toBe(true);
});

test.each(Object.keys(SHAPES))("%s: against the exact SVD", async (name) => {
  const module = `transformer.h.5.${name}`;
  const delta = await change(module);
  scope(() => {
    const matrix = tensor(delta, { shape: SHAPES[name] as number[] });
    const size = norm(matrix) as number;
    const layer = report.layers.find((one) => one.module === module);
    const { s, error } = lowRank(matrix, { rank: RANK });
    const best = error.frobenius / size;
    expect(layer?.norm).toBeCloseTo(size, 3);
    expect(layer?.error).toBeLessThan(1.02 * best);
    expect(layer?.bound).toBeLessThanOrEqual(best);
    const adapter = file.modules.get(module) as LoraAdapter;
    const found = adapter.singularValues().toTyped();
    s.toTyped().forEach((value, i) => {
      expect(Math.abs((found[i] as number) / value - 1)).toBeLessThan(1e-3);
    });
    // the real error of the factors, entry by entry
    const rebuilt = (adapter.delta() as Tensor).transpose();
    const got = rebuilt.toTyped();
    const real = Math.sqrt(delta.reduce((sum, x, i) => sum + (x - (got[i] as number)) ** 2, 0)) / size;
    expect(real).toBeLessThanOrEqual((layer?.error as number) * (1 + 1e-5));
    expect(real).toBeGreaterThanOrEqual(best * (1 - 1e-5));
  });
});

test("resized, saved in f16, combined with itself, merged into the base: the tuned model but for what was left out", async () => {
  const { usedBytes } = capabilities();
  const { file: four, report: resized } = resizeAdapterFile(file, { rank: 4 });
  for (const { module, rank, error } of resized) {
    expect(rank).toBe(4);
    const s = (file.modules.get(module) as LoraAdapter).singularValues();
    const values = Array.from(s.toTyped());
    s.dispose();
    const squares = values.map((x) => x * x);
    const tail = squares.slice(4).reduce((x, y) => x + y, 0) / squares.reduce((x, y) => x + y, 0);
    expect(Math.abs(error / Math.sqrt(tail) - 1)).toBeLessThan(1e-3);
  }
  const half = await loadAdapter(saveAdapter(file, { dtype: "F16" }));
  const doubled = combineAdapterFiles([
    { file, weight: 1.5 },
    { file, weight: -0.5 },
  ]);
  for (const [one, slack] of [
    [file, 1e-5],
    [half, 2e-3],
    [doubled, 1e-5],
  ] as const) {
    for (const [shard, names] of (base as SafetensorsFile).shards) {
      if (shard !== "model-3.safetensors" && one !== file) continue;
      const merged = await openSafetensors(new Response(mergeModel(base as SafetensorsFile, one, { shard })));
      expect([...merged.names].sort()).toEqual([...names].sort());
      for (const name of names) {
        expect(merged.info(name)).toEqual((base as SafetensorsFile).info(name));
        if (!name.endsWith(".weight")) continue;
        const module = name.replace(".weight", "");
        const [got, wanted] = [await merged.tensor(name), await (tuned as SafetensorsFile).tensor(name)];
        const [x, y] = [got.toTyped(), wanted.toTyped()];
        for (const t of [got, wanted]) t.dispose();
        const { error, norm: size } = report.layers.find((layer) => layer.module === module) as {
          error: number;
          norm: number;
        };
        let missed = 0;
        x.forEach((value, i) => {
          missed += (value - (y[i] as number)) ** 2;
        });
        // the merged weight is rounded to f16 again
        const rounding = (2 ** -12 * lengthOf(y)) / size;
        expect(Math.sqrt(missed) / size).toBeLessThan(Math.hypot(error, rounding) * 1.01 + slack);
        expect(Math.sqrt(missed) / size).toBeGreaterThan(0.9 * error);
      }
    }
  }
  dispose(four, half, doubled);
  expect(capabilities().usedBytes).toBeLessThanOrEqual(usedBytes);
});

function lengthOf(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i] as number) ** 2;
  return Math.sqrt(sum);
}
