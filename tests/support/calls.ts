// A call of every function that a worker offers, as small as it can be: `l` is the library, here or in a worker.

import type { Tensor } from "../../bindings/index.js";
import { Random } from "./random.js";

// biome-ignore lint/suspicious/noExplicitAny: the same calls on values here and on promises of handles there
export type Anything = any;
export type Call = (library: Anything) => unknown;

const random = new Random(3);
const matrix = (m: number, n: number) => Array.from({ length: m }, () => [...random.array(n)]);
export const [a, b, square, points] = [matrix(7, 5), matrix(5, 4), matrix(5, 5), matrix(6, 3)];
const counts = { data: [1, 2, 3, 4], indices: [0, 2, 1, 2], indptr: [0, 2, 3, 4], shape: [3, 3] };

/** A call of each: `l` is the library, here or there. */
export const CALLS: { readonly [name: string]: Call } = {
  tensor: (l: Anything) => l.tensor(a),
  zeros: (l: Anything) => l.zeros([2, 3], "f32"),
  empty: async (l: Anything) => (await l.empty([2, 0])).shape,
  eye: (l: Anything) => l.eye(3),
  matmul: (l: Anything) => l.matmul(a, b, { alpha: 2 }),
  svd: (l: Anything) => l.svd(a),
  svdvals: (l: Anything) => l.svdvals(a),
  svds: (l: Anything) => l.svds(a, 2),
  randomizedSvd: (l: Anything) => l.randomizedSvd(a, 2, { seed: 5 }),
  lowRank: (l: Anything) => l.lowRank(a, { rank: 2 }),
  truncationRank: (l: Anything) => l.truncationRank([3, 2, 1], { energy: 0.8 }),
  qr: (l: Anything) => l.qr(a, { mode: "full" }),
  lstsq: (l: Anything) => l.lstsq(a, matrix(7, 1).flat().fill(1)),
  pinv: (l: Anything) => l.pinv(a),
  matrixRank: (l: Anything) => l.matrixRank([a, a]),
  norm: (l: Anything) => l.norm(a, "nuc"),
  cond: (l: Anything) => l.cond(square, 1),
  orth: (l: Anything) => l.orth(a),
  nullSpace: (l: Anything) => l.nullSpace(b.slice(0, 2)),
  polar: (l: Anything) => l.polar(a),
  procrustes: (l: Anything) =>
    l.procrustes(
      points,
      points.map((p) => [...p].reverse()),
    ),
  kabsch: (l: Anything) =>
    l.kabsch(
      points,
      points.map(([x, y, z]) => [y, z, x]),
    ),
  factorize: async (l: Anything) => {
    const model = await l.factorize(await l.csr(counts), { factors: 2, iterations: 2 });
    return [await model.users, await model.predict(0, 1), await model.recommend(1, 2)];
  },
  tfidf: async (l: Anything) => (await l.tfidf(await l.csr(counts))).toDense(),
  csr: async (l: Anything) => (await l.csr(counts)).multiply(square.slice(0, 3)),
  "csr.fromCoo": async (l: Anything) => (await l.csr.fromCoo([0, 1], [1, 0], [2, 3], [2, 2])).toDense(),
  applyLora: async (l: Anything) => {
    const layer = await new l.LoraLinear({ weight: square });
    const { targeted } = await l.applyLora(
      { "block.q": layer },
      { r: 2, targetModules: ["q"], initLoraWeights: false },
    );
    return [targeted, await layer.forward(square)];
  },
  batchedLora: async (l: Anything) => {
    const pool = await new l.AdapterPool({ inFeatures: 5, outFeatures: 4, capacityBytes: 4096, dtype: "f64" });
    await pool.register(
      "x",
      await new l.LoraAdapter({
        a: matrix(0, 5).concat(square.slice(0, 2)),
        b: points.slice(0, 4).map((p) => p.slice(0, 2)),
      }),
    );
    const y = await l.zeros([5, 4]);
    await l.batchedLora(y, square, pool, ["x", null, "x", "x", null]);
    return [y, (await pool.stats()).hits];
  },
  combineAdapters: async (l: Anything) => {
    const adapter = await new l.LoraAdapter({ a: square.slice(0, 2), b: points.map((p) => p.slice(0, 2)) });
    return (await l.combineAdapters([{ adapter, weight: 3 }], { method: "svd" })).delta();
  },
  extractAdapter: async (l: Anything) =>
    (await l.extractAdapter(square, matrix(0, 5).concat(a.slice(0, 5)), { rank: 2 })).adapter,
  matchTargets: (l: Anything) => l.matchTargets(["a.q", "a.v"], ["q"]),
  quantize: async (l: Anything) => (await l.quantize(a, "int8")).dequantize(),
  resizeAdapter: async (l: Anything) => {
    const adapter = await new l.LoraAdapter({ a: square.slice(0, 2), b: points.map((p) => p.slice(0, 2)) });
    const { rank, error, energy } = await l.resizeAdapter(adapter, { rank: 1 });
    return [rank, error, energy];
  },
  trainableParameters: async (l: Anything) => `${await l.trainableParameters({ w: [2, 3] }, { r: 1 })}`,
  clipGradients: async (l: Anything) => {
    const w = await l.tensor([3, 4]);
    return [await l.clipGradients({ w }, 1), w];
  },
  loss: (l: Anything) => l.loss("softmaxCrossEntropy", a, [0, 4, 2, 1, 3, 0, 1]),
  fit: async (l: Anything) => {
    const { model, optimizer } = await training(l);
    const seen: unknown[] = [];
    const options = { ...samples, optimizer, schedule: (step: number) => 1 / (1 + step), clipNorm: 1 };
    const history = await l.fit(model, { ...options, onProgress: (progress: unknown) => seen.push(progress) });
    return [history, seen, await model.forward(square), await optimizer.state()];
  },
  saveCheckpoint: async (l: Anything) => {
    const { model, optimizer } = await training(l);
    return l.saveCheckpoint(model, { optimizer, step: 3 });
  },
  loadCheckpoint: async (l: Anything) => {
    const [one, two] = [await training(l), await training(l)];
    await l.fit(one.model, { ...samples, optimizer: one.optimizer });
    const bytes = await l.saveCheckpoint(one.model, { optimizer: one.optimizer, step: 6, seed: 3 });
    const position = await l.loadCheckpoint(bytes, two);
    return [position, await two.model.parameters(), await two.optimizer.state()];
  },
  adapterFormat: async (l: Anything) =>
    l.adapterFormat(await l.openSafetensors(await l.writeSafetensors({ w: [[1]] }))),
  combineAdapterFiles: async (l: Anything) => {
    const file = await adapterFile(l);
    return (await l.combineAdapterFiles([{ file, weight: 2 }])).modules.get("layer").delta();
  },
  extractModel: async (l: Anything) => {
    const open = async (w: number[][]) => l.openSafetensors(await l.writeSafetensors({ "layer.weight": w }));
    const { report } = await l.extractModel(await open(square), await open(a.slice(0, 5)), { rank: 2 });
    return [report.error, report.layers[0].rank];
  },
  loadAdapter: async (l: Anything) => (await adapterFile(l)).modules.get("layer").delta(),
  mergeModel: async (l: Anything) => {
    const model = await l.openSafetensors(await l.writeSafetensors({ "layer.weight": square }));
    const stream = await l.mergeModel(model, [{ file: await adapterFile(l), weight: 1 }]);
    let bytes = 0;
    for await (const piece of stream) bytes += piece.length;
    return bytes;
  },
  modelModules: async (l: Anything) =>
    l.modelModules(await l.openSafetensors(await l.writeSafetensors({ "x.weight": square }))),
  resizeAdapterFile: async (l: Anything) => (await l.resizeAdapterFile(await adapterFile(l), { rank: 1 })).report,
  saveAdapter: async (l: Anything) => Object.keys(await l.saveAdapter(await adapterFile(l))),
  openModel: async (l: Anything) =>
    (await l.openModel({ "model.safetensors": await l.writeSafetensors({ w: [[1]] }) })).names,
  openSafetensors: async (l: Anything) => (await l.openSafetensors(await l.writeSafetensors({ w: a }))).tensor("w"),
  streamSafetensors: async (l: Anything) => {
    let bytes = 0;
    for await (const piece of await l.streamSafetensors({ w: a })) bytes += piece.length;
    return bytes;
  },
  writeSafetensors: (l: Anything) => l.writeSafetensors({ w: a }),
};

const samples = {
  ...{ x: a.slice(0, 5), y: [0, 1, 2, 1, 0], loss: "softmaxCrossEntropy" },
  ...{ epochs: 2, batchSize: 2 },
};

export async function training(l: Anything) {
  const layer = await new l.LoraLinear({ weight: square });
  await layer.addAdapter("task", { r: 2 }, { seed: 4 });
  const core = await new l.SvdLinear({ weight: square.slice(0, 3), rank: 2, core: "diagonal" });
  const model = await new l.Sequential([layer, "gelu", core]);
  return { model, optimizer: await new l.AdamW({ lr: 0.01 }) };
}

async function adapterFile(l: Anything) {
  const adapter = await new l.LoraAdapter({ a: square.slice(0, 2), b: square.map((p) => p.slice(0, 2)), alpha: 2 });
  const file = {
    ...{
      format: "peft",
      config: await new l.LoraConfig({ r: 2, loraAlpha: 2 }),
      modules: new Map([["layer", adapter]]),
    },
    ...{ kinds: new Map(), extras: new Map(), metadata: {}, dtype: "F64" },
  };
  return l.loadAdapter(await l.saveAdapter(file));
}

/** Numbers of tensors and arrays; what objects here and in a worker have in common. */
export async function plain(tensorClass: typeof Tensor, value: unknown): Promise<unknown> {
  const it = await value;
  if (it instanceof tensorClass) return { shape: it.shape, numbers: Array.from(it.toTyped()) };
  if (ArrayBuffer.isView(it)) return Array.from(it as Float64Array);
  if (typeof it !== "object" || it === null) return it;
  if ("scaling" in it && "delta" in it) return plain(tensorClass, (it as { delta(): unknown }).delta());
  const items = await Promise.all(
    Object.entries(it).map(async ([key, item]) => [key, await plain(tensorClass, item)] as const),
  );
  return Object.fromEntries(items.filter(([, item]) => typeof item !== "function"));
}
