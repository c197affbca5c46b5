// Merging adapters into model files, each kind of module against the formula in f64.

import { describe, expect, test } from "vitest";
import { capabilities, type Tensor } from "../../bindings/index.js";
import {
  type AdapterFile,
  LoraAdapter,
  LoraConfig,
  loadAdapter,
  type ModuleKind,
  mergeModel,
  saveAdapter,
} from "../../bindings/lora.js";
import {
  FileFormatError,
  openModel,
  openSafetensors,
  type SafetensorsFile,
  type StoredTensor,
  type WritableDType,
  type WriteOptions,
  writeSafetensors,
} from "../../bindings/safetensors.js";
import { Random } from "../support/random.js";

const random = new Random(2024);
const EPS = { F64: 2 ** -52, F32: 2 ** -23, F16: 2 ** -10, BF16: 2 ** -7 } as const;

interface Numbers {
  data: Float64Array;
  shape: number[];
}

const sizeOf = (shape: readonly number[]) => shape.reduce((x, y) => x * y, 1);
/** Numbers that every stored type holds exactly. */
const numbers = (...shape: number[]): Numbers => ({
  data: Float64Array.from({ length: sizeOf(shape) }, () => Math.round(random.symmetric() * 64) / 64),
  shape,
});

function adapter(
  r: number,
  out: number,
  inside: number,
  more: Partial<ConstructorParameters<typeof LoraAdapter>[0]> = {},
) {
  const [a, b] = [numbers(r, inside), numbers(out, r)];
  const f32 = ({ data, shape }: Numbers) => ({ data: Float32Array.from(data), shape });
  return new LoraAdapter({ a: f32(a), b: f32(b), alpha: 3, ...more });
}

/** scaling·B·A in f64, (out, in). */
function deltaOf({ a, b, scaling, inFeatures, outFeatures, r }: LoraAdapter): Float64Array {
  const [x, y] = [a.toTyped(), b.toTyped()];
  return Float64Array.from({ length: outFeatures * inFeatures }, (_, at) => {
    const [i, j] = [Math.floor(at / inFeatures), at % inFeatures];
    let sum = 0;
    for (let k = 0; k < r; k++) sum += (y[i * r + k] as number) * (x[k * inFeatures + j] as number);
    return scaling * sum;
  });
}

/** W + ΔW of matrices (out, in), rows of the magnitude's lengths where there is one. */
function adapted(weight: ArrayLike<number>, one: LoraAdapter): Float64Array {
  const { inFeatures: n, outFeatures: m } = one;
  const sum = deltaOf(one).map((value, i) => value + (weight[i] as number));
  const magnitude = one.magnitude?.toTyped();
  if (magnitude === undefined) return sum;
  for (let i = 0; i < m; i++) {
    const row = sum.subarray(i * n, (i + 1) * n);
    const length = Math.sqrt(row.reduce((total, x) => total + x * x, 0));
    for (let j = 0; j < n; j++) row[j] = ((row[j] as number) * (magnitude[i] as number)) / length;
  }
  return sum;
}

/** x (rows, columns) as (columns, rows). */
const transposed = (rows: number, columns: number, x: ArrayLike<number>) =>
  Float64Array.from({ length: rows * columns }, (_, at) => x[(at % rows) * columns + Math.floor(at / rows)] as number);

function open(tensors: Record<string, Numbers>, dtype: WritableDType, options: WriteOptions = {}) {
  const float = Object.entries(tensors).map(([name, { data, shape }]) => [name, { data, shape }]);
  return openSafetensors(writeSafetensors(Object.fromEntries(float), { dtype, ...options }));
}

function fileOf(modules: Record<string, LoraAdapter>, more: Partial<AdapterFile> = {}): AdapterFile {
  return {
    format: "peft",
    config: new LoraConfig(),
    modules: new Map(Object.entries(modules)),
    kinds: new Map(),
    extras: new Map(),
    metadata: {},
    dtype: "F32",
    ...more,
  };
}

async function merged(
  model: SafetensorsFile,
  adapters: Parameters<typeof mergeModel>[1],
  options?: Parameters<typeof mergeModel>[2],
): Promise<SafetensorsFile> {
  return openSafetensors(new Response(mergeModel(model, adapters, options)));
}

async function values(file: SafetensorsFile, name: string): Promise<Float64Array> {
  const tensor = await file.tensor(name, { dtype: "f64" });
  const found = tensor.toTyped();
  tensor.dispose();
  return found;
}

/** The largest difference relative to the largest value. */
function distance(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  expect(got.length).toBe(wanted.length);
  let [error, largest] = [0, 0];
  for (let i = 0; i < wanted.length; i++) {
    largest = Math.max(largest, Math.abs(wanted[i] as number));
    error = Math.max(error, Math.abs((got[i] as number) - (wanted[i] as number)));
  }
  return error / largest;
}

const dispose = (...adapters: LoraAdapter[]) => {
  for (const one of adapters) one.dispose();
};

describe.each(["F32", "F64", "F16", "BF16"] as const)("%s", (dtype) => {
  const [out, inside, r] = [6, 10, 3];
  const kinds: [string, number[], ModuleKind, Partial<AdapterFile>][] = [
    ["linear", [out, inside], { kind: "linear" }, {}],
    ["Conv1D", [inside, out], { kind: "linear" }, { config: new LoraConfig({ fanInFanOut: true }) }],
    ["embedding", [inside, out], { kind: "embedding" }, {}],
    ["1×1 convolution", [out, inside, 1, 1], { kind: "convolution", kernel: [1, 1] }, {}],
    ["3×3 convolution", [out, inside, 3, 3], { kind: "convolution", kernel: [3, 3] }, {}],
    ["convolution along one axis", [out, inside, 5], { kind: "convolution", kernel: [5] }, {}],
  ];
  const forms: [string, Partial<ConstructorParameters<typeof LoraAdapter>[0]>][] = [
    ["plain", {}],
    ["rsLoRA", { useRslora: true }],
    ["DoRA", { magnitude: Float32Array.from({ length: out }, (_, i) => 0.5 + i) }],
  ];

  test.each(kinds.flatMap((kind) => forms.map((form) => [`${kind[0]}, ${form[0]}`, kind, form] as const)))(
    "%s: equals the formula in f64, rounded once; what is not adapted stays bit for bit",
    async (_, [, shape, kind, more], [, form]) => {
      const { usedBytes } = capabilities();
      const before = { "m.weight": numbers(...shape), "m.bias": numbers(out), other: numbers(4, 4) };
      const model = await open(before, dtype, { metadata: { format: "pt", note: "kept" } });
      const kernel = kind.kind === "convolution" ? sizeOf(kind.kernel) : 1;
      const one = adapter(r, out, inside * kernel, form);
      const result = await merged(model, fileOf({ m: one }, { kinds: new Map([["m", kind]]), ...more }));
      const turned = shape[0] === inside;
      const weight = before["m.weight"].data;
      const wanted = turned
        ? transposed(out, inside, adapted(transposed(inside, out, weight), one))
        : adapted(weight, one);
      expect(result.info("m.weight")).toEqual(model.info("m.weight"));
      const found = await values(result, "m.weight");
      // one rounding to the stored type, a few of f32 before it
      expect(distance(found, wanted)).toBeLessThan(EPS[dtype] / 2 + 8 * (dtype === "F64" ? EPS.F64 : EPS.F32));
      expect(distance(found, weight)).toBeGreaterThan(0.1);
      for (const name of ["m.bias", "other"]) {
        expect(Buffer.compare(await result.bytes(name), await model.bytes(name))).toBe(0);
      }
      expect(result.metadata).toEqual(model.metadata);
      one.dispose();
      expect(capabilities().usedBytes).toBe(usedBytes);
    },
  );

  test("LoRA biases go into the bias", async () => {
    const bias = numbers(out);
    const before = { "m.weight": numbers(out, inside), "m.bias": numbers(out) };
    const model = await open(before, dtype);
    const one = adapter(r, out, inside, { bias: Float32Array.from(bias.data) });
    const result = await merged(model, [{ file: fileOf({ m: one }), weight: 2 }]);
    const wanted = before["m.bias"].data.map((x, i) => x + 2 * one.scaling * (bias.data[i] as number));
    expect(distance(await values(result, "m.bias"), wanted)).toBeLessThan(EPS[dtype]);
    const without = await open({ "m.weight": before["m.weight"] }, dtype);
    expect(() => mergeModel(without, fileOf({ m: one }))).toThrow(/a LoRA bias for "m\.bias", which the model lacks/);
    one.dispose();
  });

  test("modules saved as a whole and trained biases take the place of their originals, also with another shape or type", async () => {
    const before = { "m.weight": numbers(4, 5), "m.bias": numbers(4), "score.weight": numbers(2, 4) };
    const model = await open(before, dtype);
    const replacements = { "score.weight": numbers(3, 4), "m.bias": numbers(4) };
    const extras = new Map<string, StoredTensor>();
    const saved = await open(
      {
        "base_model.model.score.weight": replacements["score.weight"],
        "base_model.model.m.base_layer.bias": replacements["m.bias"],
      },
      dtype === "F16" ? "F32" : "F16",
    );
    for (const name of saved.names) extras.set(name, { ...saved.info(name), bytes: await saved.bytes(name) });
    const one = adapter(2, 4, 5);
    const file = fileOf({ m: one }, { extras });
    const result = await merged(model, file);
    for (const [name, wanted] of Object.entries(replacements)) {
      expect(result.info(name)).toMatchObject({ dtype, shape: wanted.shape });
      expect([...(await values(result, name))]).toEqual([...wanted.data]);
    }
    expect(() => mergeModel(model, [{ file, weight: 0.5 }])).toThrow(
      /"the adapter\.weight" expected 1, as it replaces/,
    );
    expect(() => mergeModel(model, [file, file])).toThrow(RangeError);
    const absent = fileOf(
      { m: one },
      { extras: new Map([["base_model.model.head.weight", extras.values().next().value as StoredTensor]]) },
    );
    expect(() => mergeModel(model, absent)).toThrow(/lacks what the adapter replaces as a whole: "head\.weight"/);
    one.dispose();
  });
});

test("several adapters with weights; the sum does not depend on how it is cut into blocks", async () => {
  const [out, inside] = [1500, 1700];
  const weight = Float32Array.from({ length: out * inside }, () => random.symmetric());
  const model = await openSafetensors(writeSafetensors({ "m.weight": { data: weight, shape: [out, inside] } }));
  const [one, two] = [adapter(4, out, inside), adapter(2, out, inside, { useRslora: true })];
  const adapters = [
    { file: fileOf({ m: one }), weight: 0.5 },
    { file: fileOf({ m: two }), weight: -2 },
  ];
  const found = await values(await merged(model, adapters), "m.weight");
  const [x, y] = [deltaOf(one), deltaOf(two)];
  const wanted = Float64Array.from(weight, (w, i) => w + 0.5 * (x[i] as number) - 2 * (y[i] as number));
  expect(distance(found, wanted)).toBeLessThan(1e-6);
  const turned = await openSafetensors(
    writeSafetensors({
      "m.weight": { data: Float32Array.from(transposed(out, inside, weight)), shape: [inside, out] },
    }),
  );
  const again = await values(await merged(turned, adapters), "m.weight");
  expect(distance(transposed(inside, out, again), wanted)).toBeLessThan(1e-6);
  dispose(one, two);
});

describe("names", () => {
  const one = () => adapter(1, 4, 4);
  const weights = (...names: string[]) =>
    open(Object.fromEntries(names.map((name) => [`${name}.weight`, numbers(4, 4)])), "F32");
  const changed = async (model: SafetensorsFile, file: AdapterFile) => {
    const result = await merged(model, file);
    const names: string[] = [];
    for (const name of model.names) {
      if (Buffer.compare(await result.bytes(name), await model.bytes(name)) !== 0) names.push(name);
    }
    return names;
  };

  test.each([
    ["the same names", ["h.0.q", "h.1.q"], ["h.0.q"], ["h.0.q.weight"]],
    ["a bare model's file", ["h.0.q", "h.1.q"], ["transformer.h.1.q"], ["h.1.q.weight"]],
    ["an adapter of the bare model", ["bert.layer.0.q", "cls.q"], ["layer.0.q"], ["bert.layer.0.q.weight"]],
    ["two parts more", ["a.b.layer.0.q", "cls.q"], ["layer.0.q"], ["a.b.layer.0.q.weight"]],
    ["kohya's", ["down_blocks.0.to_q", "mid.to_q"], ["lora_unet_down_blocks_0_to_q"], ["down_blocks.0.to_q.weight"]],
  ])("%s", async (_, modelNames, adapterNames, expectedNames) => {
    const model = await weights(...modelNames);
    const modules = Object.fromEntries(adapterNames.map((name) => [name, one()]));
    expect(await changed(model, fileOf(modules))).toEqual(expectedNames);
    dispose(...Object.values(modules));
  });

  test("what the model lacks is listed, ambiguous names are not guessed", async () => {
    const model = await weights("encoder.block.q", "decoder.block.q", "encoder.block.k");
    const lacking = fileOf({ "x.one": one(), "x.two": one(), "encoder.block.q": one() });
    expect(() => mergeModel(model, lacking)).toThrow(FileFormatError);
    expect(() => mergeModel(model, lacking)).toThrow(/lacks 2 of 3 modules: "x\.one", "x\.two"/);
    const ambiguous = fileOf({ "block.q": one() });
    expect(() => mergeModel(model, ambiguous)).toThrow(/"block\.q".*several/);
    const unknown = fileOf({ lora_unet_a: one(), lora_unet_b: one() });
    expect(() => mergeModel(model, unknown)).toThrow(/no module name fits "lora_unet_a", "lora_unet_b"/);
    for (const file of [lacking, ambiguous, unknown]) dispose(...file.modules.values());
  });
});

test("a model in several files: each shard alone, or all in one", async () => {
  const write = (tensors: Record<string, Numbers>) => writeSafetensors(tensors, { dtype: "F16" });
  const [first, second] = [
    { "a.weight": numbers(4, 4), "b.weight": numbers(3, 4) },
    { "c.weight": numbers(4, 4), "c.bias": numbers(4) },
  ];
  const index = {
    metadata: {},
    weight_map: {
      "a.weight": "m-1.safetensors",
      "b.weight": "m-1.safetensors",
      "c.weight": "m-2.safetensors",
      "c.bias": "m-2.safetensors",
    },
  };
  const model = await openModel({
    "m-1.safetensors": write(first),
    "m-2.safetensors": write(second),
    "model.safetensors.index.json": new TextEncoder().encode(JSON.stringify(index)),
  });
  expect([...model.shards.keys()]).toEqual(["m-1.safetensors", "m-2.safetensors"]);
  const file = fileOf({ a: adapter(2, 4, 4), c: adapter(2, 4, 4) });
  const whole = await merged(model, file);
  expect([...whole.names].sort()).toEqual([...model.names].sort());
  const seen: string[] = [];
  for (const [shard, names] of model.shards) {
    const part = await merged(model, file, { shard });
    expect([...part.names].sort()).toEqual([...names].sort());
    for (const name of part.names) expect(Buffer.compare(await part.bytes(name), await whole.bytes(name))).toBe(0);
    seen.push(...names);
  }
  expect(seen.sort()).toEqual([...model.names].sort());
  expect(() => mergeModel(model, file, { shard: "m-3.safetensors" })).toThrow(/"shard" expected one of "m-1/);
  dispose(...file.modules.values());
});

describe("what is refused", () => {
  test("shapes, groups, types, DoRA with another, wrong arguments", async () => {
    const model = await open(
      { "m.weight": numbers(4, 6), "conv.weight": numbers(8, 2, 3, 3), "sq.weight": numbers(4, 4) },
      "F32",
    );
    const refused = (
      file: Parameters<typeof mergeModel>[1],
      kind: new (...args: never[]) => Error,
      message: RegExp,
    ) => {
      expect(() => mergeModel(model, file)).toThrow(kind);
      expect(() => mergeModel(model, file)).toThrow(message);
    };
    const small = adapter(2, 4, 5);
    refused(fileOf({ m: small }), FileFormatError, /"m\.weight" is for \(4, 5\), the model has \(4, 6\) of F32/);
    const grouped = adapter(2, 8, 4 * 2 * 9);
    refused(fileOf({ conv: grouped }), FileFormatError, /convolution of 4 groups/);
    const dora = adapter(2, 4, 4, { magnitude: Float32Array.of(1, 1, 1, 1) });
    refused([fileOf({ sq: dora }), fileOf({ sq: dora })], TypeError, /DoRA adapter alone/);
    refused([], RangeError, /at least one/);
    refused({} as never, TypeError, /"adapters" expected what loadAdapter\(\) gave/);
    refused([{ file: fileOf({ sq: small }), weight: Number.NaN }], RangeError, /"adapters\[0\]\.weight"/);
    expect(() => mergeModel({} as never, fileOf({}))).toThrow(/"model" expected a SafetensorsFile/);
    expect(() => mergeModel(model, fileOf({}), { sage: true } as never)).toThrow(/"sage"/);
    const integers = await openSafetensors(
      writeSafetensors({ "sq.weight": { dtype: "I8", shape: [4, 4], bytes: new Uint8Array(16) } }),
    );
    expect(() => mergeModel(integers, fileOf({ sq: dora }))).toThrow(/stored as I8/);
    dispose(small, grouped, dora);
  });

  test.each(["F32", "F16"] as const)(
    "NaN, and what %s rounds to Infinity: the stream fails and names the place",
    async (dtype) => {
      const model = await open({ "m.weight": numbers(2, 2), "m.bias": numbers(2) }, dtype);
      const large = new LoraAdapter({
        a: [[0, 1]],
        b: [[0], [dtype === "F16" ? 70000 : 3.4e38]],
        alpha: dtype === "F16" ? 1 : 4,
      });
      const { usedBytes } = capabilities();
      await expect(merged(model, fileOf({ m: large }))).rejects.toMatchObject({
        code: "non_finite_merge",
        message: 'merging the adapter would give "m.weight" a value that is not finite at entry 3',
      });
      expect(capabilities().usedBytes).toBe(usedBytes);
      const unsafe = await values(await merged(model, fileOf({ m: large }), { safe: false }), "m.weight");
      expect(unsafe[3]).toBe(Number.POSITIVE_INFINITY);
      expect(Number.isFinite(unsafe[0])).toBe(true);
      large.dispose();
    },
  );

  test("an abort in the middle, progress to the end", async () => {
    const model = await open({ "a.weight": numbers(4, 4), "b.weight": numbers(4, 4) }, "F32");
    const file = fileOf({ a: adapter(1, 4, 4) });
    const { usedBytes } = capabilities();
    const seen: number[] = [];
    await merged(model, file, { onProgress: ({ done, total }) => seen.push(done / total) });
    expect(seen.at(-1)).toBe(1);
    expect(seen).toEqual([...seen].sort((x, y) => x - y));
    const control = new AbortController();
    const aborting = merged(model, file, {
      signal: control.signal,
      onProgress: () => control.abort(new Error("enough")),
    });
    await expect(aborting).rejects.toThrow("enough");
    expect(capabilities().usedBytes).toBe(usedBytes);
    dispose(...file.modules.values());
  });
});

test("a saved adapter, read again, merges as the one it was saved from", async () => {
  const model = await open({ "unet.a.weight": numbers(4, 6), "unet.conv.weight": numbers(4, 3, 3, 3) }, "F32");
  const file = fileOf(
    { "unet.a": adapter(2, 4, 6, { alpha: 5 }), "unet.conv": adapter(2, 4, 27) },
    { kinds: new Map([["unet.conv", { kind: "convolution", kernel: [3, 3] }]]) },
  );
  const wanted = await merged(model, file);
  for (const format of ["peft", "kohya", "diffusers"] as const) {
    const saved = saveAdapter(file, { format });
    const again = await loadAdapter(format === "peft" ? saved : (Object.values(saved)[0] as Uint8Array));
    const found = await merged(model, again);
    for (const name of model.names) expect(Buffer.compare(await found.bytes(name), await wanted.bytes(name))).toBe(0);
    dispose(...again.modules.values());
  }
  dispose(...file.modules.values());
});

test("without a change the file is the same, byte by byte", async () => {
  for (const options of [{}, { metadata: { format: "pt" } }]) {
    const bytes = writeSafetensors({ "m.weight": numbers(3, 4), other: numbers(2) }, { dtype: "F16", ...options });
    const stream = mergeModel(await openSafetensors(bytes), fileOf({}));
    expect(Buffer.compare(new Uint8Array(await new Response(stream).arrayBuffer()), bytes)).toBe(0);
  }
});

test("delta() and the merged file tell the same", async () => {
  const weight = numbers(5, 4);
  const model = await open({ "m.weight": weight }, "F64");
  const one = adapter(2, 5, 4);
  const delta = (one.delta() as Tensor).toTyped();
  const found = await values(await merged(model, fileOf({ m: one })), "m.weight");
  expect(
    distance(
      found,
      weight.data.map((x, i) => x + (delta[i] as number)),
    ),
  ).toBeLessThan(1e-6);
  one.dispose();
});
