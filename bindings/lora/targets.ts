// Which modules get an adapter: PEFT's rules on names (check_target_module_exists and its relatives).

import { checkOptions, describe, expected } from "../check.js";
import type { LoraConfig } from "./config.js";
import { pythonExpression } from "./python_expression.js";

/** A module by its name, or with what is known of it. */
export type TargetModule =
  | string
  | {
      readonly name: string;
      /** "linear" and "conv1d" count for "all-linear", anything else does not; default "linear". */
      readonly kind?: string;
      readonly shape?: readonly number[];
    };

export interface MatchOptions {
  /** Left out, by the same rules; wins. */
  exclude?: string | readonly string[];
  /** Names, or last parts of names, that "all-linear" leaves out. Default "lm_head". */
  outputHead?: string | readonly string[];
}

/** What "all-linear" leaves out by default, and for classifiers. */
const HEADS = ["lm_head"];
const CLASSIFIER_HEADS = ["score", "classifier"];

/**
 * The names that PEFT's target_modules chooses.
 *
 * @param modules their full names, such as "model.layers.0.self_attn.q_proj"
 * @param targetModules a string is a regular expression for the whole name, or "all-linear" (in any case): every linear
 *   layer but the output head; an array has names or their last parts ("q_proj", "self_attn.q_proj")
 * @throws TypeError for a wrong type; RangeError for a broken regular expression
 * @example
 * ```ts
 * import { matchTargets } from "lowrank/lora";
 * const names = ["h.0.attn.q_proj", "h.0.attn.v_proj", "lm_head"];
 * console.log(matchTargets(names, ["q_proj"])); // [ 'h.0.attn.q_proj' ]
 * console.log(matchTargets(names, ".*attn.*")); // [ 'h.0.attn.q_proj', 'h.0.attn.v_proj' ]
 * console.log(matchTargets(names, "all-linear", { exclude: ["v_proj"] })); // [ 'h.0.attn.q_proj' ]
 * ```
 */
export function matchTargets(
  modules: readonly TargetModule[],
  targetModules: string | readonly string[],
  options?: MatchOptions,
): string[] {
  if (!Array.isArray(modules)) throw new TypeError(expected("modules", "an array of names", describe(modules)));
  const { exclude, outputHead = HEADS } = checkOptions(options, ["exclude", "outputHead"]);
  const matches = chooser(targetModules, "targetModules");
  const excluded = exclude === undefined ? () => false : chooser(exclude, "exclude");
  const isHead = chooser(typeof outputHead === "string" ? [outputHead] : outputHead, "outputHead");
  return modules
    .map((module, i) => checkModule(module, i))
    .filter(({ name, kind }) => {
      if (excluded(name)) return false;
      return isAllLinear(targetModules) ? isLinear(kind) && !isHead(name) : matches(name);
    })
    .map(({ name }) => name);
}

/** @internal The names that a config chooses. */
export function targetsOf(names: readonly string[], config: LoraConfig): string[] {
  const { targetModules, excludeModules, modulesToSave = [], taskType } = config;
  if (targetModules === undefined) {
    throw new TypeError(expected("targetModules", "a string or an array of names", "undefined"));
  }
  const whole = modulesToSave.map((name) => new RegExp(`(^|\\.)${escaped(name)}($|\\.)`));
  const outputHead = taskType === "SEQ_CLS" ? [...HEADS, ...CLASSIFIER_HEADS] : HEADS;
  const chosen = matchTargets(names, targetModules, {
    outputHead,
    ...(excludeModules !== undefined && { exclude: excludeModules }),
  });
  const list = Array.isArray(targetModules) ? (targetModules as readonly string[]) : [];
  return chosen.filter(
    // a name that is given in full counts in any layer, as in PEFT
    (name) => !whole.some((one) => one.test(name)) && (list.includes(name) || isInLayers(name, config)),
  );
}

/** @internal A module's own value in rankPattern or alphaPattern: the first key that fits the name or its last parts. */
export function patternValue(
  pattern: Readonly<Record<string, number>>,
  name: string,
  otherwise: number,
  argument: string,
): number {
  for (const [key, value] of Object.entries(pattern)) {
    if (pythonExpression(`(?:.*\\.)?(?:${key})`, argument).test(name)) return value;
  }
  return otherwise;
}

/** Whether the number behind the layers' name is one of layersToTransform. */
function isInLayers(name: string, { layersToTransform, layersPattern }: LoraConfig): boolean {
  if (layersToTransform === undefined) return true;
  const layers: readonly number[] = typeof layersToTransform === "number" ? [layersToTransform] : layersToTransform;
  if (layers.length === 0) return true;
  const patterns = layersPattern === undefined || layersPattern.length === 0 ? ["[^.]+"] : [layersPattern].flat();
  for (const pattern of patterns) {
    const found = pythonExpression(`(?:.*?\\.)??(?:${pattern})\\.(\\d+)\\..*`, "layersPattern").exec(name);
    // the pattern may have groups of its own
    if (found !== null) return layers.includes(Number(found[found.length - 1]));
  }
  return false;
}

/** A text is a regular expression for the whole name, an array has names or their last parts. */
function chooser(targets: unknown, argument: string): (name: string) => boolean {
  if (typeof targets === "string") {
    const whole = pythonExpression(targets, argument);
    return (name) => whole.test(name);
  }
  if (!Array.isArray(targets) || targets.some((one) => typeof one !== "string")) {
    throw new TypeError(expected(argument, "a string or an array of names", describe(targets)));
  }
  return (name) => targets.some((one: string) => name === one || name.endsWith(`.${one}`));
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

function isAllLinear(targets: string | readonly string[]): boolean {
  return typeof targets === "string" && targets.toLowerCase() === "all-linear";
}

function isLinear(kind: string): boolean {
  return ["linear", "conv1d"].includes(kind.toLowerCase());
}

function checkModule(module: unknown, i: number): { name: string; kind: string } {
  if (typeof module === "string") return { name: module, kind: "linear" };
  const { name, kind = "linear" } = (module ?? {}) as { name?: unknown; kind?: unknown };
  if (typeof name !== "string" || typeof kind !== "string") {
    throw new TypeError(expected(`modules[${i}]`, "a name, or an object with a name", describe(module)));
  }
  return { name, kind };
}
