// y = x·Wᵀ + bias + scaling·(x·Aᵀ)·Bᵀ: the forward pass of a square layer with one adapter, and with many.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { loadReference } from "./reference/index.mjs";
import { runCases } from "./support/cases.mjs";
import { norm, productError } from "./support/check.mjs";
import { AdapterPool, batchedLora, LoraAdapter, LoraLinear, tensor } from "./support/lowrank.mjs";
import { arrayOf, random } from "./support/random.mjs";

const RANK = 16;
const ALPHA = 32;
const WIDTHS = [768, 1024, 4096];
const TOKENS = [1, 16, 256];

export async function bench(options) {
  const dtype = "f32";
  const [checking, reference] = [await loadReference("check"), await loadReference(dtype)];
  const cases = WIDTHS.flatMap((width) => {
    const layer = makeLayer(width, dtype);
    return TOKENS.map((tokens) => makeCase(tokens, width, layer, dtype, reference, checking));
  });
  const native = nativeTimes(options);
  const rows = runCases("lora", cases, options);
  const again = nativeTimes(options);
  for (const [key, ms] of again) native.set(key, Math.min(ms, native.get(key)));
  const served = runCases("lora", serving(dtype), { ...options, reference: false });
  return { rows: [...rows, ...served], figures: figures(rows, served, native) };
}

/** Times of NumPy's BLAS by "t d", where there is a Python that has it. */
function nativeTimes({ only }) {
  const pairs = Object.keys(NATIVE).map((key) => key.replace(" ", ","));
  if (only !== undefined) return new Map();
  const script = fileURLToPath(new URL("./reference/lora_native.py", import.meta.url));
  const { status, stdout } = spawnSync("python3", [script, ...pairs], { encoding: "utf8" });
  if (status !== 0) return new Map();
  const lines = stdout.trim().split("\n");
  return new Map(lines.map((line) => line.split(" ")).map(([t, d, ms]) => [`${t} ${d}`, Number(ms)]));
}

/** Times native at most, by "t d". */
const NATIVE = { "1 768": 2.5, "1 4096": 1.25, "16 4096": 1.3, "256 1024": 2.8, "256 4096": 2.7 };

const ROWS = 64;

/** What surrounds the layer: the base alone, other adapters in each row, merges. d 4096, rank 16. */
function serving(dtype) {
  const width = 4096;
  const numbers = (rows, columns, seed) => tensor(random(dtype, rows * columns, seed), { shape: [rows, columns] });
  const weight = numbers(width, width, 1);
  const base = new LoraLinear({ weight });
  const one = new LoraLinear({ weight });
  const packed = new LoraLinear({ weight, packed: true });
  const capacityBytes = (ROWS + 1) * RANK * 2 * width * 4;
  const pool = new AdapterPool({ inFeatures: width, outFeatures: width, capacityBytes, dtype });
  const adapters = Array.from({ length: ROWS }, (_, i) => {
    const adapter = new LoraAdapter({ a: numbers(RANK, width, 3 + i), b: numbers(width, RANK, 4 + i), alpha: ALPHA });
    pool.register(`${i}`, adapter);
    return adapter;
  });
  one.addAdapter("default", adapters[0]);
  const inputs = new Map([1, ROWS, 256].map((tokens) => [tokens, numbers(tokens, width, 5)]));
  const forward = (layer, tokens) => () => layer.forward(inputs.get(tokens)).dispose();
  const serve = (ids) => () => {
    const y = base.forward(inputs.get(ROWS));
    batchedLora(y, inputs.get(ROWS), pool, ids);
    y.dispose();
  };
  const mergeEach = () => {
    // a quarter of the rows: four times as long for all
    for (let i = 0; i < ROWS / 16; i++) {
      one.removeAdapter(one.adapters[0]);
      one.addAdapter("default", adapters[i]);
      one.merge();
      one.forward(inputs.get(1)).dispose();
      one.unmerge();
    }
  };
  const copied = tensor(weight);
  return [
    ...[1, 256].flatMap((tokens) => [
      { name: `${dtype} t ${tokens}, d ${width}, base alone`, run: forward(base, tokens) },
      { name: `${dtype} t ${tokens}, d ${width}, one adapter`, run: forward(one, tokens) },
    ]),
    { name: `${dtype} t 1, d ${width}, packed`, run: forward(packed, 1) },
    { name: `${dtype} t 256, d ${width}, packed`, run: forward(packed, 256) },
    { name: `${dtype} ${ROWS} rows, one adapter`, run: serve(new Array(ROWS).fill("0")) },
    { name: `${dtype} ${ROWS} rows, ${ROWS} adapters`, run: serve(adapters.map((_, i) => `${i}`)) },
    { name: `${dtype} ${ROWS / 16} rows, merge each`, run: mergeEach },
    { name: `${dtype} copy of W, d ${width}`, run: () => copied.data.set(weight.data) },
    {
      name: `${dtype} merge, d ${width}`,
      run: () => {
        one.merge();
        one.unmerge();
      },
    },
  ].map((task) => ({ dtype, ...task }));
}

function figures(rows, served, native) {
  const ms = (list, end) => list.find(({ name }) => name.endsWith(end))?.bestMs;
  const ratio = (x, y) => (x === undefined || y === undefined ? undefined : x / y);
  const within = (x, y) => ratio(ms(served, x), ms(served, y));
  const merging = within("merge each", `${ROWS} adapters`);
  return [
    ...Object.entries(NATIVE).map(([key, atMost]) => {
      const [t, d] = key.split(" ");
      const measured = ratio(ms(rows, `t ${t}, d ${d}, r ${RANK}`), native.get(key));
      return { what: `lora t ${t}, d ${d}: time against native BLAS`, measured, atMost };
    }),
    {
      what: "lora t 16, d 1024: against plain JavaScript",
      measured: rows.find(({ name }) => name.includes("t 16, d 1024"))?.speedup,
      atLeast: 10,
    },
    {
      what: "one adapter against the base alone, t 1",
      measured: within("t 1, d 4096, one adapter", "t 1, d 4096, base alone"),
      atMost: 1.1,
    },
    {
      what: "one adapter against the base alone, t 256",
      measured: within("t 256, d 4096, one adapter", "t 256, d 4096, base alone"),
      atMost: 1.06,
    },
    {
      what: `${ROWS} adapters against one, ${ROWS} rows`,
      measured: within(`${ROWS} adapters`, "rows, one adapter"),
      atMost: 1.08,
    },
    { what: `merging each of ${ROWS} against ${ROWS} in a batch`, measured: merging && 16 * merging, atLeast: 15 },
    { what: "merge against a copy of W", measured: within("merge, d 4096", "copy of W, d 4096"), atMost: 4.5 },
  ];
}

function makeLayer(width, dtype) {
  const arrays = {
    weight: random(dtype, width * width, 1),
    bias: random(dtype, width, 2),
    a: random(dtype, RANK * width, 3),
    b: random(dtype, width * RANK, 4),
  };
  const layer = new LoraLinear({ weight: tensor(arrays.weight, { shape: [width, width] }), bias: arrays.bias });
  const a = tensor(arrays.a, { shape: [RANK, width] });
  const b = tensor(arrays.b, { shape: [width, RANK] });
  layer.addAdapter("default", new LoraAdapter({ a, b, alpha: ALPHA }));
  return { layer, arrays };
}

function makeCase(tokens, width, { layer, arrays }, dtype, reference, checking) {
  const input = random(dtype, tokens * width, 5);
  const x = tensor(input, { shape: [tokens, width] });
  const shapes = { inFeatures: width, outFeatures: width, ...arrays, r: RANK, scaling: ALPHA / RANK };
  const y = arrayOf(dtype, tokens * width);
  return {
    name: `${dtype} t ${tokens}, d ${width}, r ${RANK}`,
    dtype,
    work: 2 * tokens * width * (width + 2 * RANK),
    unit: "GFLOP/s",
    run: () => layer.forward(x).dispose(),
    reference: () => reference.loraForward({ tokens, x: input, ...shapes }, y),
    check() {
      const out = layer.forward(x);
      const got = out.toTyped();
      out.dispose();
      let worst = 0;
      for (const token of new Set([0, tokens >> 1, tokens - 1])) {
        const range = [token * width, (token + 1) * width];
        worst = Math.max(worst, rowError(got.subarray(...range), input.subarray(...range), shapes, dtype, checking));
      }
      return worst;
    },
  };
}

/** The error of one token's output as a fraction of its bound. */
function rowError(got, x, shapes, dtype, checking) {
  const { inFeatures, outFeatures, weight, r, a, b, scaling, bias } = shapes;
  const expected = new Float64Array(outFeatures);
  checking.loraForward({ tokens: 1, ...shapes, x: Float64Array.from(x) }, expected);
  // bias and update join the bound with their absolute values: |x·Aᵀ| is at most the product of the norms
  const absolute = Float64Array.from(bias, Math.abs);
  for (let p = 0; p < r; p++) {
    const inner = scaling * norm(x) * norm(a.subarray(p * inFeatures, (p + 1) * inFeatures));
    for (let o = 0; o < outFeatures; o++) absolute[o] += inner * Math.abs(b[o * r + p]);
  }
  return productError({
    m: 1,
    n: outFeatures,
    k: inFeatures,
    a: x,
    b: checking.transpose(outFeatures, inFeatures, weight),
    c: got,
    c0: absolute,
    expected,
    dtype,
  });
}
