// Run by files.bench.mjs, which watches the memory of this process: says "ready" after init(), extracts, prints JSON.
// Arguments: build, the model before, the model after, rank.

import { open } from "node:fs/promises";
import process from "node:process";
import { extractModel, init, openSafetensors } from "./lowrank.mjs";

const [build, before, after, rank] = process.argv.slice(2);

/** A file read by ranges. */
async function reader(path) {
  const handle = await open(path);
  const { size } = await handle.stat();
  return {
    size,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      await handle.read(bytes, 0, length, offset);
      return bytes;
    },
  };
}

await init({ build });
console.log("ready");
// the first sample is of the moment after init()
await new Promise((resolve) => setTimeout(resolve, 100));
const [base, tuned] = [await openSafetensors(await reader(before)), await openSafetensors(await reader(after))];
const start = performance.now();
const { report } = await extractModel(base, tuned, { rank: Number(rank) });
console.log(
  JSON.stringify({ layers: report.layers.length, error: report.error, milliseconds: performance.now() - start }),
);
process.exit(0);
