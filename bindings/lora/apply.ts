// Adapters for the layers of a model that a config names.

import { checkOptions, describe, expected } from "../check.js";
import { checkSeed } from "../random.js";
import { configOf, LoraConfig, type LoraConfigOptions } from "./config.js";
import { LoraLinear } from "./linear.js";
import { patternValue, targetsOf } from "./targets.js";

export interface ApplyOptions {
  /** Of the adapters. Default "default". */
  name?: string;
  /** Of their random numbers; each layer has its own. Default 0. */
  seed?: number;
}

/** Which layers got an adapter, and which did not. */
export interface Applied {
  targeted: string[];
  skipped: string[];
}

/**
 * Adds an adapter to each layer that the config chooses, by PEFT's rules: `targetModules` as a string is a regular
 * expression for the whole name, or "all-linear" (all but the output head); as an array, names or their last parts;
 * `excludeModules` wins; `layersToTransform` and `layersPattern` choose by number; `rankPattern` and `alphaPattern` give
 * single layers another rank or alpha; `bias: "all"` has the biases of the other layers trained, too. If it throws, no layer
 * has changed.
 *
 * @param modules layers by their full names
 * @throws RangeError if nothing is chosen, with the names there are, or a layer has an adapter of that name; TypeError
 *   for a wrong type or a config without `targetModules`; otherwise as LoraAdapter.create
 * @example
 * ```ts
 * import { init, zeros } from "lowrank";
 * import { applyLora, LoraLinear } from "lowrank/lora";
 * await init();
 * const modules = {
 *   "h.0.q_proj": new LoraLinear({ weight: zeros([8, 8]) }),
 *   "h.0.k_proj": new LoraLinear({ weight: zeros([8, 8]) }),
 * };
 * console.log(applyLora(modules, { r: 2, targetModules: ["q_proj"] })); // { targeted: [ 'h.0.q_proj' ], skipped: [ 'h.0.k_proj' ] }
 * ```
 */
export function applyLora(
  modules: { readonly [name: string]: LoraLinear },
  config: LoraConfig | LoraConfigOptions,
  options?: ApplyOptions,
): Applied {
  const { name = "default", seed: givenSeed } = checkOptions(options, ["name", "seed"]);
  if (typeof name !== "string") throw new TypeError(expected("name", "a string", describe(name)));
  const seed = checkSeed(givenSeed);
  if (typeof modules !== "object" || modules === null || Array.isArray(modules)) {
    throw new TypeError(expected("modules", "layers by their names", describe(modules)));
  }
  const names = Object.keys(modules);
  for (const module of names) {
    if (!(modules[module] instanceof LoraLinear)) {
      throw new TypeError(expected(`modules[${JSON.stringify(module)}]`, "a LoraLinear", describe(modules[module])));
    }
  }
  const chosen = configOf(config);
  const targeted = targetsOf(names, chosen);
  if (targeted.length === 0) {
    const known = names.length === 0 ? "no modules" : names.map((module) => `"${module}"`).join(", ");
    throw new RangeError(expected("targetModules", `a choice among ${known}`, targetText(chosen)));
  }
  const done: LoraLinear[] = [];
  try {
    targeted.forEach((module, i) => {
      const layer = modules[module] as LoraLinear;
      layer.addConfigured(name, ofModule(chosen, module), seed, i);
      done.push(layer);
    });
  } catch (error) {
    for (const layer of done) layer.removeAdapter(name);
    throw error;
  }
  const hit = new Set(targeted);
  const skipped = names.filter((module) => !hit.has(module));
  if (chosen.bias === "all") for (const module of skipped) (modules[module] as LoraLinear).trainBias(name);
  return { targeted, skipped };
}

/** The config with a module's own rank and alpha. */
function ofModule(config: LoraConfig, module: string): LoraConfig {
  const { rankPattern, alphaPattern } = config;
  const r = patternValue(rankPattern, module, config.r, "rankPattern");
  const loraAlpha = patternValue(alphaPattern, module, config.loraAlpha, "alphaPattern");
  return Object.assign(Object.create(LoraConfig.prototype) as LoraConfig, config, { r, loraAlpha });
}

function targetText({ targetModules }: LoraConfig): string {
  return typeof targetModules === "string" ? describe(targetModules) : JSON.stringify(targetModules);
}
