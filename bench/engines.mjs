// npm run bench:engines [-- operation…] [options]: the same benchmark in several engines, one process after the other in
// turn, and the ratios of their times. Engines come from the environment, as a program and its arguments:
//   DENO="deno"  NODE24="/path/to/node"   (this Node is always the base)

import process from "node:process";
import { parseArgs } from "node:util";
import { machine, runScript } from "./support/machine.mjs";
import { digits, figuresTable, meets, table } from "./support/report.mjs";

const script = new URL("./run.mjs", import.meta.url);
const OPERATIONS = ["gemm", "gemv", "svd", "lora"];

/** What Deno must reach of this Node's rate, and the relaxed build of the strict one's. */
const DENO_AT_LEAST = 0.85;
const RELAXED_AT_LEAST = 1.15;

const { values, positionals } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "3" },
    only: { type: "string" },
    json: { type: "boolean", default: false },
    gate: { type: "boolean", default: false },
  },
});
const operations = positionals.length > 0 ? positionals : OPERATIONS;
const contenders = findContenders();

/** For each contender, the best time of each case over all rounds. */
const best = new Map(contenders.map(({ name }) => [name, new Map()]));
const engines = new Map();
for (let round = 0; round < Number(values.rounds); round++) {
  for (const { name, command, build } of contenders) {
    if (!values.json) process.stderr.write(`  round ${round + 1}: ${name}\n`);
    const only = values.only === undefined ? [] : ["--only", values.only];
    const options = ["--quick", "--no-reference", "--json", "-", "--build", build, ...only];
    const report = runScript(script, [...operations, ...options], command);
    engines.set(name, { ...report.engine, build });
    const times = best.get(name);
    for (const row of report.cases) {
      const key = `${row.operation} ${row.name}`;
      times.set(key, Math.min(row.bestMs, times.get(key) ?? Number.POSITIVE_INFINITY));
    }
  }
}
const figures = makeFigures();
if (values.json) {
  const times = Object.fromEntries([...best].map(([name, cases]) => [name, Object.fromEntries(cases)]));
  console.log(JSON.stringify({ machine: machine(), engines: Object.fromEntries(engines), times, figures }, null, 2));
} else print();
if (values.gate && !figures.every(meets)) process.exitCode = 1;

function findContenders() {
  const found = [{ name: "Node", command: [process.execPath], build: "simd" }];
  const deno = commandOf("DENO");
  const node24 = commandOf("NODE24");
  if (deno !== undefined) found.push({ name: "Deno", command: [...deno, "run", "--allow-all"], build: "simd" });
  if (node24 !== undefined) {
    found.push({ name: "Node 24", command: node24, build: "simd" });
    found.push({ name: "Node 24 relaxed", command: node24, build: "relaxed" });
  }
  if (found.length === 1) throw new Error("nothing to compare with: name engines in DENO or NODE24");
  return found;
}

function commandOf(variable) {
  const text = process.env[variable]?.trim();
  return text ? text.split(/\s+/) : undefined;
}

/** How many times faster `name` is than `base` in a case. */
function speed(name, base, key) {
  return best.get(base)?.get(key) / best.get(name)?.get(key);
}

function makeFigures() {
  const figures = [];
  for (const operation of best.has("Deno") ? operations : []) {
    // the sum of the gemv benchmark is a yardstick, not a routine of ours
    const keys = [...best.get("Node").keys()].filter((key) => key.startsWith(operation) && !key.includes("plain sum"));
    const [slowest] = keys.sort((x, y) => speed("Deno", "Node", x) - speed("Deno", "Node", y));
    if (slowest === undefined) continue;
    const what = `${slowest}: Deno against Node, the least of ${keys.length}`;
    figures.push({ what, measured: speed("Deno", "Node", slowest), atLeast: DENO_AT_LEAST });
  }
  const product = "gemm f32 1024³";
  if (best.get("Node 24 relaxed")?.has(product)) {
    const measured = speed("Node 24 relaxed", "Node 24", product);
    figures.push({ what: `${product}: relaxed build against strict, Node 24`, measured, atLeast: RELAXED_AT_LEAST });
  }
  return figures;
}

function print() {
  const names = contenders.map(({ name }) => name);
  for (const name of names) {
    const { name: engine, version, v8, build } = engines.get(name);
    console.log(`${name}: ${engine} ${version}, V8 ${v8}, ${build} build`);
  }
  const head = ["best ms", ...names, ...names.slice(1).map((name) => `${name}/Node`)];
  const rows = [...best.get("Node").keys()].map((key) => [
    key,
    ...names.map((name) => digits(best.get(name).get(key))),
    ...names.slice(1).map((name) => digits(speed(name, "Node", key))),
  ]);
  console.log(`\nRatios are rates: above 1 is faster than Node.\n${table(head, rows)}\n`);
  console.log(figuresTable(figures));
}
