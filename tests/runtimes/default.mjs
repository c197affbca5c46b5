// Node, Deno and Bun: the default entry, which needs no permission.
import * as lowrank from "lowrank";
import * as lora from "lowrank/lora";
import { defaultEntry } from "./suite.mjs";

const expected = JSON.parse(process.argv[2]);
console.log(`report ${JSON.stringify(await defaultEntry({ lowrank, lora, expected }))}`);
