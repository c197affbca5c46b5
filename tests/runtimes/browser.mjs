// A page, or a worker of one: the package's files as they are, without a bundler.
import * as lowrank from "./node_modules/lowrank/dist/index.js";
import * as lora from "./node_modules/lowrank/dist/lora.js";
import * as slim from "./node_modules/lowrank/dist/slim.js";
import { connect } from "./node_modules/lowrank/dist/worker.js";
import { runParts } from "./parts.mjs";

const kernel = (variant) => fetch(`node_modules/lowrank/dist/kernel.${variant}.wasm`);
await runParts(
  { lowrank, lora, slim, connect, kernel },
  (search) => new Worker(`browser.mjs${search}`, { type: "module" }),
);
