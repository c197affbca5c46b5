// Run by startup.bench.mjs, one process a sample: times the import, init(), the first call of an operation and warm ones;
// prints JSON. Arguments: build, "gemm" or "svd", dtype, order of the matrices.

import process from "node:process";
import { random } from "./random.mjs";

const WARM_CALLS = 30;

const [build, operation, dtype, order] = process.argv.slice(2);
const n = Number(order);
// inputs exist before init(), so that nothing but the copies runs between it and the first call
const [x, y] = [random(dtype, n * n, 1), random(dtype, n * n, 2)];

let start = performance.now();
const { empty, init, matmul, svd, tensor } = await import("./lowrank.mjs");
const importMs = performance.now() - start;

start = performance.now();
await init({ build });
const initMs = performance.now() - start;

const [a, b] = [tensor(x, { shape: [n, n] }), tensor(y, { shape: [n, n] })];
const out = empty([n, n], dtype);
const run = {
  gemm: () => void matmul(a, b, { out }),
  svd: () => svd(a),
}[operation];
const calls = Array.from({ length: 1 + WARM_CALLS }, () => {
  start = performance.now();
  const made = run();
  const took = performance.now() - start;
  for (const one of Object.values(made ?? {})) one.dispose();
  return took;
});
const warm = calls.slice(1 + WARM_CALLS / 2).sort((p, q) => p - q);
console.log(JSON.stringify({ importMs, initMs, firstMs: calls[0], warmMs: warm[warm.length >> 1] }));
