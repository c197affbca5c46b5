// Node, Deno and Bun: threads and workers.
import * as lowrank from "lowrank";
import * as lora from "lowrank/lora";
import { connect } from "lowrank/worker";
import { parallelEntry } from "./parallel_suite.mjs";

const expected = JSON.parse(process.argv[2]);
console.log(`report ${JSON.stringify(await parallelEntry({ lowrank, lora, connect, expected }))}`);
