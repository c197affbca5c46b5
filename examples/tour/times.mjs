// A few operations beside the same algorithms in plain JavaScript (bench/reference/). `npm run bench` has the whole table.

import process from "node:process";
import { empty, matmul, svd, tensor } from "lowrank";
import { LoraAdapter, LoraLinear } from "lowrank/lora";
import { loadReference } from "../../bench/reference/index.mjs";
import { measure } from "../../bench/support/measure.mjs";
import { progress } from "../../bench/support/progress.mjs";
import { arrayOf, random } from "../../bench/support/random.mjs";
import { digits, table } from "../../bench/support/report.mjs";
import { milliseconds, title } from "./text.mjs";

const ROUNDS = 2;
const SECONDS = 0.1;

export async function showTimes() {
  title("4. Against plain JavaScript");
  const references = { f32: await loadReference("f32"), f64: await loadReference("f64") };
  const cases = [
    product("f32", 512, references.f32),
    product("f64", 512, references.f64),
    decomposition("f32", 256, references.f32),
    decomposition("f64", 256, references.f64),
    layer("f32", 16, 1024, references.f32),
  ];
  const bar = progress(cases.length, process.stdout);
  const rows = cases.map(({ name, run, reference }) => {
    bar.step(name);
    const [ours, theirs] = measure([run, reference], { rounds: ROUNDS, seconds: SECONDS });
    return [name, milliseconds(ours.best), milliseconds(theirs.best), `${digits(theirs.best / ours.best)} ×`];
  });
  bar.stop();
  console.log(`\n${table(["the same algorithm", "lowrank", "JavaScript", "faster"], rows)}`);
}

function product(dtype, n, reference) {
  const [x, y] = [random(dtype, n * n, 1), random(dtype, n * n, 2)];
  const [a, b] = [tensor(x, { shape: [n, n] }), tensor(y, { shape: [n, n] })];
  const out = empty([n, n], dtype);
  const plain = arrayOf(dtype, n * n);
  return {
    name: `matmul ${dtype}, ${n} × ${n}`,
    run: () => matmul(a, b, { out }),
    reference: () => reference.gemm(n, n, n, 1, x, y, 0, plain),
  };
}

function decomposition(dtype, n, reference) {
  const x = random(dtype, n * n, 1);
  const a = tensor(x, { shape: [n, n] });
  return {
    name: `svd ${dtype}, ${n} × ${n}`,
    run() {
      for (const part of Object.values(svd(a))) part.dispose();
    },
    reference: () => reference.svd(n, n, x),
  };
}

function layer(dtype, tokens, width, reference) {
  const r = 16;
  const [x, weight] = [random(dtype, tokens * width, 1), random(dtype, width * width, 2)];
  const [a, b] = [random(dtype, r * width, 3), random(dtype, width * r, 4)];
  const bias = arrayOf(dtype, width);
  const linear = new LoraLinear({ weight: { data: weight, shape: [width, width] }, bias });
  const factors = { a: { data: a, shape: [r, width] }, b: { data: b, shape: [width, r] } };
  linear.addAdapter("tour", new LoraAdapter(factors));
  const input = tensor(x, { shape: [tokens, width] });
  const plain = arrayOf(dtype, tokens * width);
  const sizes = { tokens, inFeatures: width, outFeatures: width, r, scaling: 1 };
  return {
    name: `LoRA forward ${dtype}, ${tokens} tokens, ${width} × ${width}, rank ${r}`,
    run: () => linear.forward(input).dispose(),
    reference: () => reference.loraForward({ ...sizes, x, weight, bias, a, b }, plain),
  };
}
