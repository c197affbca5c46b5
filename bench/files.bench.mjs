// Adapters from large weights, adapters made smaller, and reading files.

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { runCases } from "./support/cases.mjs";
import {
  extractAdapter,
  LoraAdapter,
  lowRank,
  matmul,
  norm,
  openSafetensors,
  resizeAdapter,
  scope,
  svd,
  tensor,
  writeSafetensors,
} from "./support/lowrank.mjs";
import { summary } from "./support/measure.mjs";
import { random } from "./support/random.mjs";

const N = 4096;
const RANK = 32;
const NAMES = 100_000;

export async function bench(options) {
  const native = nativeTimes(options);
  const rows = runCases("files", decompositions(), { ...options, reference: false });
  for (const [key, ms] of nativeTimes(options)) native.set(key, Math.min(ms, native.get(key)));
  rows.push(...(await readings(options)));
  const figures = figuresOf(rows, native);
  if (options.only === undefined)
    figures.push(productFigure(rows), ...errorFigures(), ...(await memoryFigures(options)));
  return { rows, figures };
}

/** Milliseconds of SciPy by name, where there is a Python that has it. */
function nativeTimes({ only }) {
  if (only !== undefined) return new Map();
  const script = fileURLToPath(new URL("./reference/files_native.py", import.meta.url));
  const { status, stdout } = spawnSync("python3", [script], { encoding: "utf8" });
  if (status !== 0) return new Map();
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => line.split(" "));
  return new Map(lines.map(([name, ms]) => [name, Number(ms)]));
}

function figuresOf(rows, native) {
  const ms = (name) => rows.find((row) => row.name === name)?.bestMs;
  const ratio = (x, y) => (x === undefined || y === undefined ? undefined : x / y);
  return [
    { what: "resizeAdapter against SciPy", measured: ratio(ms(RESIZE), native.get("resize")), atMost: 2.4 },
    { what: "extractAdapter against SciPy", measured: ratio(ms(EXTRACT), native.get("extract")), atMost: 2.5 },
    { what: "opening a file against JSON.parse of its header", measured: ratio(ms(OPEN), ms(PARSE)), atMost: 5 },
    { what: "f16 to f32 against a copy of the result", measured: ratio(ms(CONVERT), ms(COPY)), atMost: 2 },
  ];
}

const RESIZE = `f32 resizeAdapter ${N}², r 64 to 16`;
const EXTRACT = `f32 extractAdapter ${N}², rank ${RANK}`;
const OPEN = `open a file of ${NAMES} tensors`;
const PARSE = "JSON.parse of its header";
const CONVERT = "f16 to f32, 2^24 numbers";
const COPY = "copy of the f32 result";

const numbers = (rows, columns, seed) => tensor(random("f32", rows * columns, seed), { shape: [rows, columns] });
const resizing = () => new LoraAdapter({ a: numbers(64, N, 5), b: numbers(N, 64, 6) });

/** b <- a + b, element by element. */
function add(a, b) {
  matmul(a.reshape([a.size, 1]), [[1]], { out: b.reshape([b.size, 1]), beta: 1 });
}

/** A base, and a tuned weight: an update of rank 32 and noise. */
function planted() {
  return scope(() => {
    const base = numbers(N, N, 1);
    const tuned = matmul(numbers(N, RANK, 2), numbers(RANK, N, 3), { out: numbers(N, N, 4), beta: 0.1 });
    add(base, tuned);
    return { base, tuned };
  });
}

function decompositions() {
  const adapter = resizing();
  const { base, tuned } = planted();
  return [
    { name: RESIZE, dtype: "f32", run: () => resizeAdapter(adapter, { rank: 16 }).adapter.dispose() },
    { name: EXTRACT, dtype: "f32", run: () => extractAdapter(base, tuned, { rank: RANK }).adapter.dispose() },
  ];
}

/** A file of many tensors, and numbers of 16 bits. These calls are promises, which Benchmark.js would not time to their end. */
async function readings({ rounds, only }) {
  const small = { dtype: "F16", shape: [2, 3], bytes: new Uint8Array(12) };
  const many = writeSafetensors(new Map(Array.from({ length: NAMES }, (_, i) => [`model.layers.${i}.weight`, small])));
  const headerBytes = Number(new DataView(many.buffer).getBigUint64(0, true));
  const header = new TextDecoder().decode(many.subarray(8, 8 + headerBytes));
  const size = 2 ** 24;
  const values = { data: random("f32", size, 7), shape: [size] };
  const halves = await openSafetensors(writeSafetensors({ values }, { dtype: "F16" }));
  const [floats, copied] = [tensor(values.data), tensor(values.data)];
  const tasks = {
    [OPEN]: async () => (await openSafetensors(many)).names.length === NAMES,
    [PARSE]: async () => Object.keys(JSON.parse(header)).length === NAMES,
    [CONVERT]: async () => {
      const read = await halves.tensor("values");
      const right = Math.abs(read.data[size - 1] - values.data[size - 1]) < 1e-3;
      read.dispose();
      return right;
    },
    [COPY]: async () => {
      copied.data.set(floats.data);
      return true;
    },
  };
  const chosen = Object.entries(tasks).filter(([name]) => only === undefined || name.includes(only));
  const samples = new Map(chosen.map(([name]) => [name, []]));
  for (let round = 0; round < 2 * rounds; round++) {
    for (const [name, task] of chosen) {
      const start = performance.now();
      if (!(await task())) throw new Error(`${name}: wrong result`);
      samples.get(name).push((performance.now() - start) / 1e3);
    }
  }
  for (const one of [floats, copied]) one.dispose();
  return chosen.map(([name]) => {
    const { best, median, samples: count } = summary(samples.get(name));
    return { operation: "files", name, bestMs: best, medianMs: median, samples: count };
  });
}

/** The same rank by the SVD of the product, as others do it: once, it takes long. */
function productFigure(rows) {
  const adapter = resizing();
  const start = performance.now();
  scope(() => lowRank(adapter.delta(), { rank: 16 }));
  const product = performance.now() - start;
  adapter.dispose();
  const resize = rows.find(({ name }) => name === RESIZE).bestMs;
  return {
    what: "resizeAdapter against our svd of the product, times faster",
    measured: product / resize,
    atLeast: 1000,
  };
}

/** The real error of the factors over the best possible one, on two spectra. */
function errorFigures() {
  const { base, tuned } = planted();
  const figures = [];
  scope(() => {
    const minus = tensor(base);
    minus.data.forEach((value, i) => {
      minus.data[i] = -value;
    });
    add(tuned, minus);
    const best = lowRankError(minus);
    figures.push(figure("planted rank 32 and noise", base, tuned, minus, best));
  });
  for (const one of [base, tuned]) one.dispose();
  scope(() => {
    const zero = matmul(numbers(N, 1, 1), numbers(1, N, 1), { alpha: 0 });
    const harmonic = decaying();
    let [tail, total] = [0, 0];
    for (let i = N; i >= 1; i--) {
      total += i ** -2;
      if (i > RANK) tail += i ** -2;
    }
    figures.push(figure("σ_i = 1/i", zero, harmonic, harmonic, Math.sqrt(tail / total) * norm(harmonic)));
  });
  return figures;
}

/** ‖A − A_32‖_F from all singular values. */
function lowRankError(a) {
  const { s } = svd(a, { vectors: "none" });
  return Math.sqrt(s.data.slice(RANK).reduceRight((sum, value) => sum + value ** 2, 0));
}

function figure(what, base, tuned, delta, best) {
  const { adapter, error } = extractAdapter(base, tuned, { rank: RANK });
  const rest = tensor(delta);
  const real = norm(matmul(adapter.b, adapter.a, { alpha: -1, beta: 1, out: rest }));
  adapter.dispose();
  if (real > error * norm(delta) * (1 + 1e-4)) throw new Error(`${what}: the certified error is too small`);
  return { what: `error of rank 32 over the best, ${what}`, measured: real / best, atMost: 1.02 };
}

/** C·diag(1/i)·Cᵀ with C the orthogonal matrix of the cosine transform. */
function decaying() {
  const cosines = new Float32Array(N * N);
  const scaled = new Float32Array(N * N);
  for (let i = 0; i < N; i++) {
    for (let j = 0; j < N; j++) {
      const value = Math.sqrt((j === 0 ? 1 : 2) / N) * Math.cos((Math.PI * (2 * i + 1) * j) / (2 * N));
      cosines[i * N + j] = value;
      scaled[i * N + j] = value / (j + 1);
    }
  }
  const [left, right] = [tensor(scaled, { shape: [N, N] }), tensor(cosines, { shape: [N, N] })];
  return matmul(left, right.transpose());
}

const HIDDEN = 768;
/** The weights of a block of GPT-2 small. */
const SHAPES = [
  ["attn.c_attn", HIDDEN, 3 * HIDDEN],
  ["attn.c_proj", HIDDEN, HIDDEN],
  ["mlp.c_fc", HIDDEN, 4 * HIDDEN],
  ["mlp.c_proj", 4 * HIDDEN, HIDDEN],
];

/** Growth of the memory of a process that extracts from a model of real size in files of f16. */
async function memoryFigures({ build }) {
  if (process.platform !== "linux") return [];
  const folder = mkdtempSync(join(tmpdir(), "lowrank-bench-"));
  try {
    const figures = [];
    for (const withEmbedding of [false, true]) {
      const paths = ["before", "after"].map((name, i) => {
        const path = join(folder, `${name}.safetensors`);
        writeFileSync(path, writeSafetensors(model(withEmbedding, i), { dtype: "F16" }));
        return path;
      });
      const { grownBytes, layers } = await watch(build, paths);
      if (layers !== 4 * 12) throw new Error(`${layers} layers were extracted`);
      const largest = 4 * HIDDEN * HIDDEN * 4;
      figures.push({
        what: `extractModel, 12 blocks${withEmbedding ? ", an embedding beside them" : ""}: growth of memory`,
        measured: grownBytes / 2 ** 20,
        atMost: (3 * largest) / 2 ** 20 + 64,
        unit: " MiB",
      });
    }
    return figures;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function* weights(withEmbedding) {
  for (let block = 0; block < 12; block++) {
    for (const [name, rows, columns] of SHAPES) yield [`h.${block}.${name}.weight`, rows, columns];
  }
  if (withEmbedding) yield ["wte.weight", 50_257, HIDDEN];
}

/** Other numbers before and after, so that every layer has changed in every rank. */
function model(withEmbedding, which) {
  const tensors = new Map();
  let seed = 100 * which;
  for (const [name, rows, columns] of weights(withEmbedding)) {
    tensors.set(name, { data: random("f32", rows * columns, seed++), shape: [rows, columns] });
  }
  return tensors;
}

/** Runs the extraction in a process of its own and looks at its resident memory every 10 ms. */
function watch(build, paths) {
  const script = fileURLToPath(new URL("./support/extraction_process.mjs", import.meta.url));
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, build, ...paths, "16"], { stdio: ["ignore", "pipe", "inherit"] });
    const resident = () => 4096 * Number(readFileSync(`/proc/${child.pid}/statm`, "utf8").split(" ")[1]);
    let [first, most, timer] = [0, 0, undefined];
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (line === "ready") {
        first = resident();
        timer = setInterval(() => {
          most = Math.max(most, resident());
        }, 10);
        return;
      }
      clearInterval(timer);
      resolve({ ...JSON.parse(line), grownBytes: most - first });
    });
    child.on("error", reject);
    child.on("close", (status) => {
      clearInterval(timer);
      if (status !== 0) reject(new Error(`${script} ended with ${status}`));
    });
  });
}
