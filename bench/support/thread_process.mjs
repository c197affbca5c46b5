// Run by threads.bench.mjs: every operation with a team of two against one thread, in one process and by turns; prints JSON.
// Arguments: build, rounds, part of the names of the cases to run.

import process from "node:process";
import {
  AdamW,
  capabilities,
  csr,
  empty,
  factorize,
  init,
  LoraAdapter,
  LoraLinear,
  matmul,
  quantize,
  svd,
  tensor,
  terminate,
} from "./lowrank.mjs";
import { median } from "./measure.mjs";
import { fill, random } from "./random.mjs";

/** Milliseconds of a sample at least, and how long a case waits for two free cores in all. */
const SAMPLE = 20;
const PATIENCE = 10_000;
/** Two cores are free where a product of matrices that fit the cache takes so many times as long on one. */
const FREE = 1.75;

const [build, rounds, only = ""] = process.argv.slice(2);
const kernel = await initWithKernel({ build, threads: 2 });
if (capabilities().threads < 2) throw new Error(capabilities().reasons.join("; "));

const isFree = probe();
const nap = new Int32Array(new SharedArrayBuffer(4));
const results = [];
for (const [name, make] of cases()) {
  if (!name.includes(only)) continue;
  process.stderr.write(`  ${name} …\n`);
  const { run, end } = make();
  results.push({ name, ...compare(run) });
  end?.();
}
const forks = only === "" ? await measureForks() : undefined;
const idle = only === "" ? await measureIdle() : undefined;
console.log(JSON.stringify({ results, forks, idle }));
await terminate();

/** init(), and the instance of the kernel that it made. */
async function initWithKernel(options) {
  const { Instance } = WebAssembly;
  let found;
  WebAssembly.Instance = class extends Instance {
    constructor(module, imports) {
      super(module, imports);
      if (this.exports.setReluctance !== undefined) found = this.exports;
    }
  };
  try {
    await init(options);
    return found;
  } finally {
    WebAssembly.Instance = Instance;
  }
}

/** Seconds of some runs with the team as it is (1) or without it (Infinity). */
function time(run, repeats, reluctance) {
  kernel.setReluctance(reluctance);
  const start = performance.now();
  for (let i = 0; i < repeats; i++) run();
  return (performance.now() - start) / repeats;
}

/** Whether two cores are free now. */
function probe() {
  const [a, out] = [matrix("f32", 256, 256), empty([256, 256], "f32")];
  const run = () => void matmul(a, a, { out });
  run();
  return () => time(run, 4, Infinity) / time(run, 4, 1) >= FREE;
}

/**
 * Best and median times of both, by turns. Rounds before and after which two cores were free count, if there are any: `free` is how
 * many of them.
 */
function compare(run) {
  run();
  run();
  const repeats = Math.max(1, Math.ceil(SAMPLE / time(run, 1, Infinity)));
  const made = [];
  for (let [round, waited] = [0, 0]; round < Number(rounds); round++) {
    for (; !isFree() && waited < PATIENCE; waited += 100) Atomics.wait(nap, 0, 0, 100);
    const before = isFree();
    const samples = [Infinity, 1, Infinity, 1].map((reluctance) => {
      // the first run after a change is not counted
      if (repeats > 1) time(run, 1, reluctance);
      return time(run, repeats, reluctance);
    });
    made.push({ samples, free: before && isFree() });
  }
  kernel.setReluctance(1);
  const clean = made.filter(({ free }) => free);
  const [one, two] = [0, 1].map((which) => {
    const each = (clean.length > 0 ? clean : made).flatMap(({ samples }) => [samples[which], samples[which + 2]]);
    return { best: Math.min(...each), median: median(each), samples: each.length };
  });
  return { one, two, free: clean.length, rounds: made.length };
}

/** Microseconds of a fork and a join of tiles that do nothing: members awake, and after twenty idle milliseconds. */
async function measureForks() {
  const fork = () => {
    kernel.teamFork(2, 0, 0);
    while (kernel.teamTake() >= 0) {}
    kernel.teamJoin();
  };
  const timed = (count) => {
    const start = performance.now();
    for (let i = 0; i < count; i++) fork();
    return (1e3 * (performance.now() - start)) / count;
  };
  timed(20000);
  const awake = Array.from({ length: 200 }, () => timed(200));
  const asleep = [];
  for (let i = 0; i < 50; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    asleep.push(timed(1));
  }
  return { awake: median(awake), asleep: median(asleep) };
}

/** The part of a second that an idle team computes: the least of some. */
async function measureIdle() {
  const parts = [];
  for (let i = 0; i < 5; i++) {
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const { user, system } = process.cpuUsage(before);
    parts.push((user + system) / 1e6);
  }
  return Math.min(...parts);
}

function matrix(dtype, ...shape) {
  const size = shape.reduce((product, length) => product * length, 1);
  return tensor(random(dtype, size, size % 1000), { shape });
}

function disposeAll(made) {
  for (const one of Object.values(made)) one.dispose();
}

/** Names and what they run: those of the figures, others that are shared, and some below their thresholds ("small"). */
function cases() {
  const gemm = (dtype, n) => () => {
    const [a, b, out] = [matrix(dtype, n, n), matrix(dtype, n, n), empty([n, n], dtype)];
    return { run: () => void matmul(a, b, { out }), end: () => disposeAll({ a, b, out }) };
  };
  const lora = (tokens, width) => () => {
    const layer = new LoraLinear({ weight: matrix("f32", width, width) });
    layer.addAdapter("a", new LoraAdapter({ a: matrix("f32", 16, width), b: matrix("f32", width, 16) }));
    const x = matrix("f32", tokens, width);
    return { run: () => layer.forward(x).dispose(), end: () => disposeAll({ layer, x }) };
  };
  const decompose = (dtype, ...shape) => {
    return () => {
      const a = matrix(dtype, ...shape);
      return { run: () => disposeAll(svd(a)), end: () => a.dispose() };
    };
  };
  const gemv = (dtype, n, transposed) => () => {
    const [a, x] = [matrix(dtype, n, n), matrix(dtype, n)];
    return {
      run: () => matmul(transposed ? a.transpose() : a, x).dispose(),
      end: () => disposeAll({ a, x }),
    };
  };
  const quantized = (kind, tokens, width) => () => {
    const layer = new LoraLinear({ weight: quantize(matrix("f32", width, width), kind) });
    const x = matrix("f32", tokens, width);
    return { run: () => layer.forward(x).dispose(), end: () => disposeAll({ layer, x }) };
  };
  const dequantize = (width) => () => {
    const stored = quantize(matrix("f32", width, width), "nf4");
    return { run: () => stored.dequantize().dispose(), end: () => stored.dispose() };
  };
  const sparse = (rows, columns, count) => {
    const places = fill(new Float64Array(2 * count), 3);
    const at = (i, length) => Math.min(length - 1, Math.floor(((places[i] + 1) / 2) * length));
    const rowOf = Int32Array.from({ length: count }, (_, i) => at(i, rows));
    const columnOf = Int32Array.from({ length: count }, (_, i) => at(count + i, columns));
    return csr.fromCoo(rowOf, columnOf, random("f32", count, 4), [rows, columns]);
  };
  const product = (rows, columns, count, width, transposed) => () => {
    const a = sparse(rows, columns, count);
    const x = matrix("f32", transposed ? rows : columns, width);
    const run = () => (transposed ? a.multiplyTransposed(x) : a.multiply(x)).dispose();
    return { run, end: () => disposeAll({ a, x }) };
  };
  const als = (rows, columns, count, factors) => () => {
    const a = sparse(rows, columns, count);
    const options = { factors, iterations: 1 };
    return { run: () => factorize(a, options).dispose(), end: () => a.dispose() };
  };
  const adamw = (count) => () => {
    const [p, g, optimizer] = [matrix("f32", count), matrix("f32", count), new AdamW()];
    return { run: () => optimizer.step({ p }, { p: g }), end: () => disposeAll({ p, g, optimizer }) };
  };
  return [
    ["gemm f32 1024³", gemm("f32", 1024)],
    ["gemm f64 1024³", gemm("f64", 1024)],
    ["LoRA t 256, d 4096", lora(256, 4096)],
    ["LoRA t 16, d 4096", lora(16, 4096)],
    ["svd f64 512²", decompose("f64", 512, 512)],
    ["svd f64 1024²", decompose("f64", 1024, 1024)],
    ["10,000 svds f64 8²", decompose("f64", 10000, 8, 8)],
    ["10,000 svds f32 8²", decompose("f32", 10000, 8, 8)],
    ["LoRA t 1, d 4096", lora(1, 4096)],
    ["svd f32 1024²", decompose("f32", 1024, 1024)],
    ["svd f64 2000×200", decompose("f64", 2000, 200)],
    ["gemv f32 4096²", gemv("f32", 4096, false)],
    ["gemv f64 2048², transposed", gemv("f64", 2048, true)],
    ["int8 layer t 1, d 4096", quantized("int8", 1, 4096)],
    ["nf4 layer t 32, d 2048", quantized("nf4", 32, 2048)],
    ["dequantize nf4 2048²", dequantize(2048)],
    ["sparse 100,000×10,000, 1,000,000, times 32 columns", product(100000, 10000, 1e6, 32, false)],
    ["sparse transposed, times 64 columns", product(100000, 10000, 1e6, 64, true)],
    ["ALS, 400,000 ratings, 32 factors", als(6000, 4000, 4e5, 32)],
    ["AdamW, 1,000,000", adamw(1e6)],
    // below the thresholds
    ["small: gemm f32 88³", gemm("f32", 88)],
    ["small: gemm f64 70³", gemm("f64", 70)],
    ["small: gemv f32 480²", gemv("f32", 480, false)],
    ["small: LoRA t 1, d 768", lora(1, 768)],
    ["small: LoRA t 4, d 256", lora(4, 256)],
    ["small: svd f64 100²", decompose("f64", 100, 100)],
    ["small: svd f32 200²", decompose("f32", 200, 200)],
    ["small: 30 svds f64 8²", decompose("f64", 30, 8, 8)],
    ["small: int8 layer t 1, d 512", quantized("int8", 1, 512)],
    ["small: dequantize nf4 128²", dequantize(128)],
    ["small: sparse 2,000×1,000, 8,000, times 8 columns", product(2000, 1000, 8000, 8, false)],
    ["small: sparse transposed, times 32 columns", product(100000, 10000, 1e6, 32, true)],
    ["small: ALS, 2,000 ratings, 8 factors", als(200, 100, 2000, 8)],
    ["small: AdamW, 20,000", adamw(20000)],
  ];
}
