// npm run bench [-- operation…] [options]: checks and times the operations, prints tables and the promised figures.
// Runs in Node and in Deno (deno run --allow-all bench/run.mjs).

import { writeFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { initWithMemory } from "./support/kernel_memory.mjs";
import { commit, engine, machine, packageVersion } from "./support/machine.mjs";
import { casesTable, figuresTable, meets } from "./support/report.mjs";

const OPERATIONS = [
  "gemm",
  "gemv",
  "svd",
  "drivers",
  "linalg",
  "randomized",
  "factors",
  "lora",
  "training",
  "quantized",
  "pca",
  "sparse",
  "files",
  "startup",
  "threads",
  "page",
];

const HELP = `npm run bench -- [${OPERATIONS.join("|")}]… [options]

  --build simd|relaxed|auto  which kernel; default simd, plain SIMD128
  --quick                    a short run: fewer and shorter rounds
  --only <text>              only cases whose name contains the text, such as "f32 1024"
  --no-reference             without the plain JavaScript beside each case
  --json <file>              also write everything as JSON; - writes it to standard output instead of the tables
  --gate                     exit with 1 if a figure is missed
  --help                     this text`;

class UsageError extends Error {}

async function main() {
  const { values, positionals } = parseArgs({
    args: process.argv.slice(2),
    allowPositionals: true,
    options: {
      build: { type: "string", default: "simd" },
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      "no-reference": { type: "boolean", default: false },
      json: { type: "string" },
      gate: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const unknown = positionals.find((name) => !OPERATIONS.includes(name));
  if (unknown !== undefined) throw new UsageError(`no operation "${unknown}"\n\n${HELP}`);

  const { capabilities, memory } = await initWithMemory({ build: values.build });
  const { build, sharedMemory } = capabilities;
  const options = {
    build,
    only: values.only,
    reference: !values["no-reference"],
    ...(values.quick ? { rounds: 2, seconds: 0.05, processes: 3 } : { rounds: 5, seconds: 0.25, processes: 9 }),
  };
  const report = {
    version: packageVersion(),
    commit: commit(),
    date: new Date().toISOString(),
    machine: machine(),
    engine: engine(),
    build,
    sharedMemory,
    options,
    cases: [],
    figures: [],
  };
  const silent = values.json === "-";
  if (!silent) console.log(`${heading(report)}\n`);
  for (const operation of positionals.length > 0 ? positionals : OPERATIONS) {
    const { bench } = await import(`./${operation}.bench.mjs`);
    const { rows, figures } = await bench({ ...options, memory });
    report.cases.push(...rows);
    // with --only, the base of a figure may not have been measured
    report.figures.push(...figures.filter(({ measured }) => measured !== undefined));
    if (!silent && rows.length > 0) console.log(`${operation}\n${casesTable(rows)}\n`);
  }
  if (!silent && report.figures.length > 0) console.log(figuresTable(report.figures));
  const text = `${JSON.stringify(report, null, 2)}\n`;
  if (silent) process.stdout.write(text);
  else if (values.json !== undefined) writeFileSync(values.json, text);
  if (values.gate && !report.figures.every(meets)) process.exitCode = 1;
}

function heading({ version, commit, machine, engine, build }) {
  const checkout = commit === undefined ? "" : ` (${commit.hash}${commit.modified ? ", modified" : ""})`;
  return [
    `lowrank ${version}${checkout}, ${build} build`,
    `${engine.name} ${engine.version}, V8 ${engine.v8}`,
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.platform}`,
  ].join("\n");
}

try {
  await main();
} catch (error) {
  const usage = error instanceof UsageError || error.code?.startsWith("ERR_PARSE_ARGS");
  // what the engine lacks is said in a sentence, as a wrong option is
  console.error(usage || error.code === "unsupported" ? error.message : error);
  process.exitCode = usage ? 2 : 1;
}
