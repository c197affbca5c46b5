// npm start: a photograph by its singular values, a LoRA adapter on a layer of real size, adapters that are trained on digits,
// and times against plain JavaScript. Every number printed here is computed in this run.

import { capabilities, init } from "lowrank";
import { engine } from "../bench/support/machine.mjs";
import { showAdapter } from "./tour/adapter.mjs";
import { showDigits } from "./tour/digits.mjs";
import { showPhotograph } from "./tour/photograph.mjs";
import { showTimes } from "./tour/times.mjs";

const start = performance.now();
await init();
const { version, build, sharedMemory } = capabilities();
const kind = build === "relaxed" ? "relaxed SIMD kernel (fused multiply-add)" : "SIMD kernel";
const memory = sharedMemory ? "shared memory" : "plain memory";
const { name, version: engineVersion } = engine();
console.log(`lowrank ${version}, ${kind}, ${memory}, ${name} ${engineVersion}`);

await showPhotograph();
showAdapter();
await showDigits();
await showTimes();

console.log(`\nDone in ${((performance.now() - start) / 1e3).toFixed(1)} s.`);
