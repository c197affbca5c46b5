// The guide's chapter on errors has every code and every class of bindings/errors.ts, and none that is not there.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../packed.mjs";

const CHAPTER = "guide/errors.md";

export function errorCodes() {
  const source = readFileSync(join(ROOT, "bindings/errors.ts"), "utf8");
  const union = /export type ErrorCode =([^;]*);/.exec(source)?.[1] ?? "";
  const codes = [...union.matchAll(/"(\w+)"/g), ...source.matchAll(/readonly code = "(\w+)"/g)].map(([, code]) => code);
  const classes = [...source.matchAll(/^export class (\w+)/gm)].map(([, name]) => name);
  if (codes.length <= classes.length) throw new Error("bindings/errors.ts is not understood any more");
  // the first cell of a row of a table
  const chapter = readFileSync(join(ROOT, CHAPTER), "utf8");
  const told = [...chapter.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
  const missing = [...codes, ...classes].filter((name) => !told.includes(name));
  const unknown = told.filter((name) => ![...codes, ...classes, "TypeError", "RangeError"].includes(name));
  if (missing.length > 0) throw new Error(`${CHAPTER} lacks ${missing.join(", ")}`);
  if (unknown.length > 0) throw new Error(`${CHAPTER} has what bindings/errors.ts has not: ${unknown.join(", ")}`);
  return `${codes.length} codes, ${classes.length} classes`;
}
