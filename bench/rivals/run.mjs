// npm run bench:rivals [-- operation…] [options]: ours and other libraries in one process, on the same inputs, in turn.
// External programs (external.mjs) take their turn in every pass over the tasks; the best time of all passes counts.

import { writeFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { commit, engine, machine } from "../support/machine.mjs";
import { measure } from "../support/measure.mjs";
import { progress } from "../support/progress.mjs";
import { digits, figuresTable, meets, table } from "../support/report.mjs";
import { agrees, difference } from "./agreement.mjs";
import { externals } from "./external.mjs";
import { TASKS } from "./tasks.mjs";

const MODULES = ["lowrank", "tfjs", "numpy_ts", "ml_matrix"];
const OURS = "lowrank";

/** A contender whose run takes longer than this is timed in the first pass only, or once, with the check of its result. */
const SLOW_MS = 1000;
const VERY_SLOW_MS = 15000;

/** Their time over ours, at least. */
const FIGURES = ["512", "1024"]
  .flatMap((n) => [
    { task: `gemm f32 ${n}`, rival: "tfjs-wasm", atLeast: 1.2 },
    { task: `gemm f32 ${n}`, rival: "Eigen-wasm", atLeast: 1.4 },
    { task: `gemm f32 ${n}`, rival: "numpy-ts", atLeast: 1.3 },
    { task: `gemm f64 ${n}`, rival: "Eigen-wasm", atLeast: 1.5 },
    { task: `gemm f64 ${n}`, rival: "numpy-ts", atLeast: 1.3 },
    { task: `gemm f64 ${n}`, rival: "ml-matrix", atLeast: 17 },
  ])
  .concat({ task: "training f32 784-1000-2000-10 r8 epoch", rival: "tfjs-wasm", atLeast: 4 });

const { values, positionals } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    build: { type: "string", default: "simd" },
    quick: { type: "boolean", default: false },
    json: { type: "string" },
    gate: { type: "boolean", default: false },
  },
});
const { passes, rounds, seconds } = values.quick
  ? { passes: 1, rounds: 2, seconds: 0.1 }
  : { passes: 3, rounds: 3, seconds: 0.2 };
const tasks = TASKS.filter(({ operation }) => positionals.length === 0 || positionals.includes(operation));
const contenders = [];
for (const name of MODULES) {
  const { open } = await import(`./${name}.mjs`);
  contenders.push(...[await open(values)].flat());
}

/** For each task, milliseconds of each contender. */
const times = Object.fromEntries(tasks.map(({ name }) => [name, {}]));
const programs = externals();
const bar = progress(passes * (tasks.length + programs.length));
for (let pass = 0; pass < passes; pass++) {
  for (const program of programs) {
    bar.step(program.name);
    for (const [task, ms] of Object.entries(program.run())) if (task in times) note(task, program.name, ms);
  }
  for (const task of tasks) {
    bar.step(task.name);
    runTask(task, pass === 0);
  }
}
bar.stop();

const figures = FIGURES.map(({ task, rival, atLeast }) => ({
  what: `${task}: times faster than ${rival}`,
  measured: times[task]?.[rival] / times[task]?.[OURS],
  atLeast,
})).filter(({ measured }) => !Number.isNaN(measured));
print();
if (values.gate && !figures.every(meets)) process.exitCode = 1;

function note(task, name, ms) {
  times[task][name] = Math.min(ms, times[task][name] ?? Number.POSITIVE_INFINITY);
}

/** Times every contender in turn; the first time, each result is checked against ours before. */
function runTask(task, first) {
  const input = task.input();
  const prepared = contenders
    .filter(({ name }) => first || times[task.name][name] < SLOW_MS)
    .map(({ name, [task.operation]: prepare }) => ({ name, work: prepare?.(input) }))
    .filter(({ work }) => work !== undefined);
  if (first) checkAll(task, input, prepared);
  const entries = prepared.filter(({ name }) => times[task.name][name] === undefined || !first);
  const found = measure(
    entries.map(({ work }) => work.run),
    { rounds, seconds },
  );
  for (const [index, { name }] of entries.entries()) note(task.name, name, found[index].best);
  for (const { work } of prepared) work.dispose();
}

/** Compares every result with ours; the time of a very slow one is taken here. */
function checkAll(task, input, entries) {
  const ours = entries.find(({ name }) => name === OURS).work.result();
  for (const { name, work } of entries) {
    const start = performance.now();
    const theirs = work.result();
    const ms = performance.now() - start;
    const distance = difference(task, input, ours, theirs);
    if (!agrees(task, distance)) throw new Error(`${task.name}: ${name} differs from ${OURS} by ${distance}`);
    if (ms > VERY_SLOW_MS) note(task.name, name, ms);
  }
}

function print() {
  const names = [...contenders, ...programs]
    .map(({ name }) => name)
    .filter((name) => Object.values(times).some((known) => name in known));
  const where = { machine: machine(), engine: engine(), commit: commit() };
  const versions = Object.fromEntries(
    contenders.filter(({ name }) => names.includes(name)).map(({ name, version }) => [name, version]),
  );
  if (values.json !== undefined) {
    writeFileSync(values.json, `${JSON.stringify({ ...where, versions, times, figures }, null, 2)}\n`);
  }
  const rows = Object.entries(times).map(([task, known]) => [
    task,
    digits(known[OURS]),
    ...names.slice(1).flatMap((name) => [digits(known[name]), digits(known[name] && known[name] / known[OURS])]),
  ]);
  const versionText = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  console.log(`${versionText.join(", ")}\n${where.engine.name} ${where.engine.version}, ${where.machine.cpu}\n`);
  console.log(table(["best ms", OURS, ...names.slice(1).flatMap((name) => [name, "ratio"])], rows));
  if (figures.length > 0) console.log(`\n${figuresTable(figures)}`);
}
