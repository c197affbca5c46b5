// The examples of README.md, of the guide and of the docstrings: type-checked, and each run in its own process against the
// installed package. What a comment behind a console.log states must be what is printed; "…" in it stands for anything.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, delimiter, dirname, join, relative } from "node:path";
import { transformSync } from "esbuild";
import { execute, ROOT } from "../packed.mjs";
import { files } from "./guide_files.mjs";
import { collect, isModule } from "./markdown.mjs";

/** Type-checks all examples and runs them, two at a time. */
export async function examples({ folder }) {
  const place = join(folder, "examples");
  mkdirSync(place);
  writeFileSync(join(place, "printed.mjs"), RECORDER);
  const chains = collect().map((chain) => ({ ...chain, cwd: join(place, chain.folder) }));
  const modules = chains.flatMap(({ cwd, steps }) => steps.filter(isModule).map((step) => ({ ...step, cwd })));
  for (const { cwd, file, code } of modules) {
    mkdirSync(cwd, { recursive: true });
    writeFileSync(join(cwd, file), code);
  }
  for (const { cwd } of chains) {
    for (const [name, bytes] of Object.entries(files[basename(cwd)] ?? {})) writeFileSync(join(cwd, name), bytes);
  }
  linkPackages(folder, modules);
  const problems = typeProblems(place, modules);
  const queue = [...chains];
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      for (const step of next.steps) {
        const found = isModule(step) ? await runModule(place, next.cwd, step) : await runShell(next.cwd, step);
        problems.push(...found);
      }
    }
  };
  await Promise.all([worker(), worker()]);
  if (problems.length > 0) throw new Error(problems.join("\n"));
  const stated = modules.reduce((sum, { code }) => sum + statements(code).length, 0);
  const shell = chains.reduce((sum, { steps }) => sum + steps.filter((step) => !isModule(step)).length, 0);
  return `${modules.length} examples, ${stated} stated outputs, ${shell} shell blocks`;
}

/** Lines that print something and say what. */
function statements(code) {
  return code.split("\n").flatMap((line, i) => {
    const match = /^\s*console\.log\(.*\);\s*\/\/ (.*)$/.exec(line);
    return match === null ? [] : [{ line: i + 1, expected: match[1] }];
  });
}

/** Puts the development dependencies that examples import beside the installed package. */
function linkPackages(folder, modules) {
  const { devDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const wanted = new Set();
  for (const { code } of modules) {
    for (const [, name] of code.matchAll(
      /(?:from|import|import\(|require\(|url\)\()\s*"((?:@[\w.-]+\/)?[\w.-]+)[/\w.-]*"/g,
    )) {
      if (name in devDependencies) wanted.add(name);
    }
  }
  for (const name of wanted) {
    const link = join(folder, "node_modules", name);
    mkdirSync(dirname(link), { recursive: true });
    if (!existsSync(link)) symlinkSync(join(ROOT, "node_modules", name), link, "junction");
  }
}

/** Errors of the compiler, under the names and lines of the sources. */
function typeProblems(place, modules) {
  const options = {
    target: "ES2022",
    module: "NodeNext",
    lib: ["ES2022", "ESNext.Disposable", "DOM", "DOM.Iterable", "DOM.AsyncIterable"],
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
      return `${modules.find((example) => example.file === file).source}:${line}`;
    });
    return [named];
  }
}

/** Runs one module; what went wrong. */
async function runModule(place, cwd, { source, line, file, code, runs }) {
  if (!runs) return [];
  const expected = new Map(statements(code).map((statement) => [statement.line, statement.expected]));
  const lines = code.split("\n");
  for (const at of expected.keys()) lines[at - 1] = lines[at - 1].replace("console.log(", `__printed(${at}, `);
  const recorder = relative(cwd, join(place, "printed.mjs"));
  const { code: script } = transformSync(`import "./${recorder}"; ${lines.join("\n")}`, {
    loader: "ts",
    target: "node20",
    format: "esm",
  });
  const module = join(cwd, file.replace(".ts", ".mjs"));
  writeFileSync(module, script);
  const { status, stdout, stderr } = await start(process.execPath, [relative(cwd, module)], cwd);
  const [text, records] = stdout.split(MARK);
  if (status !== 0 || records === undefined) return [`${source}:${line}: the example fails\n${text}${stderr}`];
  const printed = new Map();
  for (const [at, words] of JSON.parse(records)) printed.set(at, [...(printed.get(at) ?? []), words]);
  return [...expected].flatMap(([at, wanted]) => {
    if (!printed.has(at)) return [`${source}:${at}: nothing is printed, the comment says ${wanted}`];
    const got = printed.get(at).join(" ");
    return matches(wanted, got) ? [] : [`${source}:${at}: prints ${got}, the comment says ${wanted}`];
  });
}

/** Runs a block of commands; what went wrong. */
async function runShell(cwd, { source, line, script, stated }) {
  const { status, stdout, stderr } = await start("bash", ["-euo", "pipefail", "-c", script], cwd);
  if (status !== 0) return [`${source}:${line}: exit ${status}\n${stdout}${stderr}`];
  if (stated === undefined || matches(stated, stdout)) return [];
  return [`${source}:${line}: prints\n${stdout}\nand not\n${stated}`];
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

function start(program, args, cwd) {
  const bin = join(dirname(process.execPath));
  const env = {
    ...process.env,
    PATH: `${bin}${delimiter}${process.env.PATH}`,
    npm_config_offline: "true",
    NO_COLOR: "1",
  };
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env, timeout: 60_000, stdio: ["ignore", "pipe", "pipe"] });
    const output = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"]) {
      child[name].setEncoding("utf8").on("data", (text) => {
        output[name] += text;
      });
    }
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, ...output }));
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
