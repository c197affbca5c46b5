// Where the examples stand: in README.md and in the docstrings each for itself. A chapter of the guide has a folder of its
// own, where its blocks run in their order, so that one may read what another has written:
//   ```ts              a module
//   ```ts continued    goes on in the module of the block before
//   ```ts fragment     is a part of a page: type-checked, not run
//   ```sh              is run by bash; a ```text block right behind it states what it prints
//   ```sh fragment     is not run
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { ROOT } from "../packed.mjs";

/**
 * All examples, as chains of steps that run in one folder one after the other. A module's lines have the numbers that they
 * have in their source.
 */
export function collect() {
  const sources = readdirSync(join(ROOT, "bindings"), { recursive: true })
    .filter((path) => path.endsWith(".ts") && !path.startsWith("generated"))
    .map((path) => join("bindings", path))
    .sort();
  const alone = [...modulesOf("README.md", linesOf("README.md")), ...sources.flatMap(docstrings)];
  const chapters = readdirSync(join(ROOT, "guide"))
    .sort()
    .map((name) => ({ folder: basename(name, ".md"), steps: blocks(join("guide", name)) }));
  let count = 0;
  const chains = [...alone.map((step) => ({ folder: ".", steps: [step] })), ...chapters];
  for (const step of chains.flatMap(({ steps }) => steps)) {
    if ("code" in step) step.file = `example-${++count}.ts`;
  }
  return chains;
}

const linesOf = (source) => readFileSync(join(ROOT, source), "utf8").split("\n");

/** The fenced blocks of a Markdown text: { words: of the info string, first, lines }; `first` counts lines from 0. */
function fences(source, lines) {
  const found = [];
  for (let i = 0; i < lines.length; i++) {
    const opened = /^```(\S.*)$/.exec(lines[i]);
    if (opened === null) continue;
    const end = lines.indexOf("```", i + 1);
    if (end < 0) throw new Error(`${source}:${i + 1}: a block without an end`);
    found.push({ words: opened[1].trim().split(/\s+/), first: i + 1, lines: lines.slice(i + 1, end) });
    i = end;
  }
  return found;
}

const isScript = (language) => ["ts", "typescript", "js", "javascript"].includes(language);

/** The ts blocks of a Markdown text, each for itself. */
function modulesOf(source, lines) {
  return fences(source, lines)
    .filter(({ words }) => words.length === 1 && isScript(words[0]))
    .map(({ first, lines: code }) => ({
      source,
      line: first + 1,
      runs: true,
      code: "\n".repeat(first) + code.join("\n"),
    }));
}

/** The blocks of a chapter: modules, and what the shell runs. */
function blocks(source) {
  const lines = linesOf(source);
  const found = [];
  let shellEnds = -1;
  for (const { words, first, lines: body } of fences(source, lines)) {
    const [language, mark] = words;
    const where = `${source}:${first}`;
    const last = found.at(-1);
    if (mark !== undefined && mark !== "fragment" && mark !== "continued")
      throw new Error(`${where}: what is ${mark}?`);
    if (isScript(language) && mark === "continued") {
      if (!last?.runs) throw new Error(`${where}: nothing to continue`);
      last.code += "\n".repeat(first - last.code.split("\n").length + 1) + body.join("\n");
    } else if (isScript(language)) {
      const code = "\n".repeat(first) + body.join("\n");
      found.push({ source, line: first + 1, runs: mark === undefined, code });
    } else if (language === "sh" && mark === undefined) {
      found.push({ source, line: first + 1, script: body.join("\n") });
      shellEnds = first + body.length + 1;
    } else if (language === "text" && lines.slice(shellEnds, first - 1).every((line) => line === "") && shellEnds > 0) {
      last.stated = body.join("\n");
    }
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
    const examples = modulesOf(source, [...new Array(first - 1).fill(""), ...lines]);
    if (examples.length === 0) throw new Error(`${source}:${first}: an @example without a ts block`);
    found.push(...examples);
  }
  return found;
}

/** Whether a step is a module, not what the shell runs. */
export const isModule = ({ file }) => file !== undefined;
