// Node, Deno and Bun: a team and a worker that nobody uses take no time, and do not keep the process from ending: nothing ends
// them here.
import process from "node:process";
import * as lowrank from "lowrank";
import { connect } from "lowrank/worker";
import { equal, reporter } from "./suite.mjs";

/** Of a second; the engines' own housekeeping comes and goes, so that the best of several counts. */
const MOST = 0.01;
const SECONDS = 8;

const { check, done } = reporter();
await check("an idle team and an idle worker take no time", async () => {
  await lowrank.init({ threads: 2 });
  const remote = await connect();
  await remote.svd([[1, 2]]);
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < SECONDS && least > MOST; i++) {
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / 1e6);
  }
  equal(least <= MOST, true, `${(100 * least).toFixed(2)} % of a second`);
});
console.log(`report ${JSON.stringify(done({ bits: {} }))}`);
