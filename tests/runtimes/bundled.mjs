// A page as a bundler makes it.
import * as lowrank from "lowrank";
import * as lora from "lowrank/lora";
import { connect } from "lowrank/worker";
import { runParts } from "./parts.mjs";

runParts({ lowrank, lora, connect }).catch((error) => console.log(`failed ${error.stack}`));
