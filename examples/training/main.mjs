// The command line of a training run: progress on standard error, a report or, with --json, one JSON object on standard output.

import { readFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { init } from "lowrank";
import { progress } from "../../bench/support/progress.mjs";

/**
 * Runs a training run if its module is the one that was started.
 *
 * @param meta import.meta of the module
 * @param run takes { seed, step }, where step(label) says what begins, and gives the result
 * @param steps how many times `run` calls step
 * @param print writes the result for people
 * @param seed the default one; none: the run has its own
 */
export async function main(meta, run, steps, print, seed) {
  if (process.argv[1] !== fileURLToPath(meta.url)) return;
  const [title] = readFileSync(process.argv[1], "utf8").split("\n");
  const help = `${title.slice(3)}

${seed === undefined ? "" : `  --seed <n>  of the data and of the start; default ${seed}\n`}  --json      one JSON object on standard output and nothing else
  --help      this text`;
  let options;
  try {
    const own = seed === undefined ? {} : { seed: { type: "string", default: `${seed}` } };
    options = parseArgs({ options: { ...own, json: { type: "boolean" }, help: { type: "boolean" } } }).values;
    if (seed !== undefined && !/^\d{1,6}$/.test(options.seed))
      throw new Error(`--seed expects an integer, got "${options.seed}"`);
  } catch (error) {
    console.error(`${error.message}\n\n${help}`);
    process.exitCode = 2;
    return;
  }
  if (options.help) {
    console.log(help);
    return;
  }
  // plain SIMD: the same numbers on every engine
  await init({ build: "simd" });
  const start = performance.now();
  const bar = progress(steps);
  const result = await run({ seed: Number(options.seed), step: (label) => bar.step(label) });
  bar.stop();
  const seconds = (performance.now() - start) / 1e3;
  if (options.json) console.log(JSON.stringify({ ...result, seconds }));
  else {
    print(result);
    console.log(`\n${seconds.toFixed(1)} s`);
  }
}
