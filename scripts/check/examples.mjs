// The examples of README.md and of the docstrings: type-checked, and each run in its own process against the installed
// package. What a comment behind a console.log states must be what is printed; "…" in it stands for anything.
import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { transformSync } from "esbuild";
import { execute, ROOT } from "../packed.mjs";

/** Type-checks all examples and runs them, two at a time. */
export async function examples({ folder }) {
  const found = collect();
  const place = join(folder, "examples");
  mkdirSync(place);
  writeFileSync(join(place, "printed.mjs"), RECORDER);
  for (const example of found) writeFileSync(join(place, example.file), example.code);
  const problems = typeProblems(place, found);
  const queue = [...found];
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) problems.push(...(await run(place, next)));
  };
  await Promise.all([worker(), worker()]);
  if (problems.length > 0) throw new Error(problems.join("\n"));
  const stated = found.reduce((sum, { code }) => sum + statements(code).length, 0);
  return `${found.length} examples, ${stated} stated outputs`;
}

/** All examples, each as the text of a module whose lines have the numbers that they have in their source. */
function collect() {
  const sources = readdirSync(join(ROOT, "bindings"), { recursive: true })
    .filter((path) => path.endsWith(".ts") && !path.startsWith("generated"))
    .map((path) => join("bindings", path))
    .sort();
  const blocks = [...fences("README.md", readFileSync(join(ROOT, "README.md"), "utf8").split("\n"))];
  for (const source of sources) blocks.push(...docstrings(source));
  return blocks.map((block, i) => ({ ...block, file: `example-${i + 1}.ts` }));
}

/** The ts blocks of a Markdown text. */
function fences(source, lines) {
  const found = [];
  for (let i = 0; i < lines.length; i++) {
    if (!/^```(ts|typescript|js|javascript)\s*$/.test(lines[i])) continue;
    const end = lines.indexOf("```", i + 1);
    if (end < 0) throw new Error(`${source}:${i + 1}: a block without an end`);
    found.push({ source, line: i + 2, code: "\n".repeat(i + 1) + lines.slice(i + 1, end).join("\n") });
    i = end;
  }
  return found;
}

/** The ts blocks behind @example in the docstrings of a module. */
function docstrings(source) {
  const found = [];
  const text = readFileSync(join(ROOT, source), "utf8");
  for (const { 0: comment, index } of text.matchAll(/\/\*\*[\s\S]*?\*\//g)) {
    const at = comment.indexOf("@example");
    if (at < 0) continue;
    const first = text.slice(0, index).split("\n").length;
    const lines = comment.split("\n").map((line) => line.replace(/^\s*\* ?/, ""));
    const blocks = fences(source, [...new Array(first - 1).fill(""), ...lines]);
    if (blocks.length === 0) throw new Error(`${source}:${first}: an @example without a ts block`);
    found.push(...blocks);
  }
  return found;
}

/** Lines that print something and say what. */
function statements(code) {
  return code.split("\n").flatMap((line, i) => {
    const match = /^\s*console\.log\(.*\);\s*\/\/ (.*)$/.exec(line);
    return match === null ? [] : [{ line: i + 1, expected: match[1] }];
  });
}

/** Errors of the compiler, under the names and lines of the sources. */
function typeProblems(place, found) {
  const options = {
    target: "ES2022",
    module: "NodeNext",
    lib: ["ES2022", "ESNext.Disposable", "DOM"],
    types: ["node"],
    typeRoots: [join(ROOT, "node_modules/@types")],
    strict: true,
    skipLibCheck: true,
    moduleDetection: "force",
    noEmit: true,
  };
  writeFileSync(join(place, "tsconfig.json"), JSON.stringify({ compilerOptions: options }));
  try {
    execute(process.execPath, [join(ROOT, "node_modules/typescript/bin/tsc"), "-p", place, "--pretty", "false"]);
    return [];
  } catch (error) {
    const named = error.message.replace(/\S*(example-\d+\.ts)\((\d+),\d+\)/g, (_, file, line) => {
      return `${found.find((example) => example.file === file).source}:${line}`;
    });
    return [named];
  }
}

/** Runs one example; what went wrong. */
async function run(place, { source, line, file, code }) {
  const expected = new Map(statements(code).map((statement) => [statement.line, statement.expected]));
  const lines = code.split("\n");
  for (const at of expected.keys()) lines[at - 1] = lines[at - 1].replace("console.log(", `__printed(${at}, `);
  const { code: script } = transformSync(`import "./printed.mjs"; ${lines.join("\n")}`, {
    loader: "ts",
    target: "node20",
    format: "esm",
  });
  const module = join(place, file.replace(".ts", ".mjs"));
  writeFileSync(module, script);
  const { status, output } = await start(module, place);
  const [text, records] = output.split(MARK);
  if (status !== 0 || records === undefined) return [`${source}:${line}: the example fails\n${text}`];
  const printed = new Map();
  for (const [at, words] of JSON.parse(records)) printed.set(at, [...(printed.get(at) ?? []), words]);
  return [...expected].flatMap(([at, wanted]) => {
    if (!printed.has(at)) return [`${source}:${at}: nothing is printed, the comment says ${wanted}`];
    const got = printed.get(at).join(" ");
    return matches(wanted, got) ? [] : [`${source}:${at}: prints ${got}, the comment says ${wanted}`];
  });
}

/** Whether printed text is the stated one: white space counts once, and not beside brackets. */
function matches(stated, printed) {
  const plain = (text) =>
    text
      .replace(/\s+/g, " ")
      .replace(/ ?([[\]{}(),]) ?/g, "$1")
      .trim();
  const pattern = plain(stated)
    .split("…")
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
    .join(".*");
  return new RegExp(`^${pattern}$`).test(plain(printed));
}

function start(module, cwd) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [relative(cwd, module)], { cwd, timeout: 60_000 });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
      });
    }
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, output }));
  });
}

const MARK = "\u0000printed\u0000";

/** Stands for console.log on lines that state their output. */
const RECORDER = `
import { writeSync } from "node:fs";
import { format } from "node:util";
const records = [];
globalThis.__printed = (line, ...values) => records.push([line, format(...values)]);
process.on("exit", () => writeSync(1, ${JSON.stringify(MARK)} + JSON.stringify(records)));
`;
