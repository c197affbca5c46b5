// Run by startup.bench.mjs, one process a sample: times the import, init(), the first product and warm ones; prints JSON.

import process from "node:process";
import { random } from "./random.mjs";

const SIDE = 512;
const WARM_CALLS = 30;

// inputs exist before init(), so that nothing but the copies runs between it and the first product
const [x, y] = [random("f32", SIDE * SIDE, 1), random("f32", SIDE * SIDE, 2)];

let start = performance.now();
const { empty, init, matmul, tensor } = await import("./lowrank.mjs");
const importMs = performance.now() - start;

start = performance.now();
await init({ build: process.argv[2] });
const initMs = performance.now() - start;

const [a, b] = [tensor(x, { shape: [SIDE, SIDE] }), tensor(y, { shape: [SIDE, SIDE] })];
const out = empty([SIDE, SIDE], "f32");
const calls = Array.from({ length: 1 + WARM_CALLS }, () => {
  start = performance.now();
  matmul(a, b, { out });
  return performance.now() - start;
});
const warm = calls.slice(1 + WARM_CALLS / 2).sort((p, q) => p - q);
console.log(JSON.stringify({ importMs, initMs, firstMs: calls[0], warmMs: warm[warm.length >> 1] }));
