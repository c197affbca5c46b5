// Node, Deno and Bun: lowrank/slim with the .wasm files of the package.
import { readFile } from "node:fs/promises";
import * as lowrank from "lowrank";
import * as lora from "lowrank/lora";
import * as slim from "lowrank/slim";
import { slimEntry } from "./suite.mjs";

const expected = JSON.parse(process.argv[2]);
const kernel = (variant) => readFile(new URL(import.meta.resolve(`lowrank/kernel.${variant}.wasm`)));
console.log(`report ${JSON.stringify(await slimEntry({ lowrank, lora, slim, kernel, expected }))}`);
