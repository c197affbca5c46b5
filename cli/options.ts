// Options that several commands have, and their values.

import { type Command, InvalidArgumentError, Option } from "commander";
import type { Rank } from "../bindings/index.js";
import type { AdapterFile, AdapterFormat, KohyaRule } from "../bindings/lora.js";
import { matchTargets } from "../bindings/lora.js";
import type { WritableDType } from "../bindings/safetensors.js";

/** The command line is wrong: exit status 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || !Number.isSafeInteger(value))
    throw new InvalidArgumentError("Expected an integer above 0.");
  return value;
}

export function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value >= 2 ** 32)
    throw new InvalidArgumentError("Expected an integer from 0 on, below 2^32.");
  return value;
}

function share(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 1)) throw new InvalidArgumentError("Expected a number above 0, at most 1.");
  return value;
}

function tolerance(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value <= 1))
    throw new InvalidArgumentError("Expected a number from 0 to 1.");
  return value;
}

export { share as fraction };

/** --rank, --energy, --tolerance: one of them. */
export interface RuleOptions {
  rank?: number;
  energy?: number;
  tolerance?: number;
}

export function addRule(command: Command): Command {
  return command
    .addOption(new Option("--rank <n>", "keep n singular values").argParser(positiveInteger))
    .addOption(new Option("--energy <share>", "keep the fewest that have this share of Σσ²").argParser(share))
    .addOption(new Option("--tolerance <error>", "keep the fewest with this relative error").argParser(tolerance));
}

/** The one rule that was given; undefined if none was. */
export function ruleOf({ rank, energy, tolerance }: RuleOptions): Rank | undefined {
  const given = Object.entries({ rank, energy, tolerance }).filter(([, value]) => value !== undefined);
  if (given.length > 1) throw new UsageError(`${given.map(([name]) => `--${name}`).join(" and ")} exclude each other`);
  return given.length === 0 ? undefined : (Object.fromEntries(given) as Rank);
}

export function neededRule(options: RuleOptions, more = ""): Rank {
  const rule = ruleOf(options);
  if (rule === undefined) throw new UsageError(`how much is kept? Give --rank, --energy${more} or --tolerance`);
  return rule;
}

const KOHYA = ["sv_ratio", "sv_fro", "sv_cumulative"];

/** --rule sv_fro=0.9, as kohya's resize_lora.py names it, with its prefix or without. */
export function kohyaRule(text: string): Omit<KohyaRule, "maxRank"> {
  const [name = "", value = ""] = text.split("=");
  const plain = name.replace(/^kohya-/, "");
  const number = Number(value);
  if (!KOHYA.includes(plain) || !(number > 0 && Number.isFinite(number))) {
    throw new InvalidArgumentError(`Expected one of ${KOHYA.map((one) => `${one}=<value>`).join(", ")}.`);
  }
  return { rule: `kohya-${plain}` as KohyaRule["rule"], value: number };
}

/** What every command that writes has. */
export interface WritingOptions {
  output: string;
  force: boolean;
  dryRun: boolean;
}

export function addOutput(command: Command, what: string): Command {
  return command
    .requiredOption("-o, --output <path>", what)
    .option("--force", "overwrite what is there", false)
    .option("--dry-run", "compute and report, write nothing", false);
}

export interface FormatOptions {
  format?: AdapterFormat;
  dtype?: WritableDType;
}

export function addFormat(command: Command): Command {
  const dtypes = new Option("--dtype <type>", "stored type of the factors").argParser((text): WritableDType => {
    const found = (["F32", "F64", "F16", "BF16"] as const).find((one) => one === text.toUpperCase());
    if (found === undefined) throw new InvalidArgumentError("Expected f16, bf16, f32 or f64.");
    return found;
  });
  return command
    .addOption(new Option("--format <name>", "of the output").choices(["peft", "kohya", "diffusers"]))
    .addOption(dtypes);
}

export interface TargetOptions {
  target?: string[];
  exclude?: string[];
}

const several = (text: string, before: string[] = []) => [...before, ...text.split(",").filter((one) => one !== "")];

export function addTargets(command: Command, otherwise: string): Command {
  return command
    .option("--target <names>", `modules by name or last part, or one regular expression; ${otherwise}`, several)
    .option("--exclude <names>", "modules that are left out, in the same way", several);
}

/** PEFT's target_modules: a single text that is no plain name is an expression for the whole name. */
export function targetsOf(names: readonly string[]): string | readonly string[] {
  const [first] = names;
  return names.length === 1 && first !== undefined && !/^[\w.-]+$/.test(first)
    ? first
    : names[0] === "all-linear"
      ? "all-linear"
      : names;
}

/** Drops the modules of an adapter that --target and --exclude leave out. */
export function chooseModules(file: AdapterFile, { target, exclude }: TargetOptions): void {
  if (target === undefined && exclude === undefined) return;
  const names = [...file.modules.keys()];
  const chosen = new Set(
    matchTargets(names, target === undefined ? ".*" : targetsOf(target), {
      ...(exclude !== undefined && { exclude: targetsOf(exclude) }),
    }),
  );
  if (chosen.size === 0) throw new UsageError(`--target and --exclude leave no module of ${names.length}`);
  for (const name of names) {
    if (chosen.has(name)) continue;
    file.modules.get(name)?.dispose();
    file.modules.delete(name);
    file.kinds.delete(name);
  }
}

/** --weights 1,0.5: a number for each input; without them 1 for all. */
export function weightsOf(weights: readonly number[] | undefined, count: number): number[] {
  if (weights === undefined) return new Array<number>(count).fill(1);
  if (weights.length !== count) throw new UsageError(`--weights has ${weights.length} numbers for ${count} adapters`);
  return [...weights];
}

export function numberList(text: string): number[] {
  const numbers = text.split(",").map((one) => (one.trim() === "" ? Number.NaN : Number(one)));
  if (!numbers.every(Number.isFinite)) throw new InvalidArgumentError("Expected numbers with commas between them.");
  return numbers;
}
