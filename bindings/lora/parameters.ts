// How many parameters an adapter trains.

import { checkInteger, checkOptions, checkShape, describe, expected, sizeOf } from "../check.js";
import { LoraLinear } from "./linear.js";

/** What trainableParameters() counts. */
export interface ParameterReport {
  /** Parameters of the adapters, and of the base where it is trained. */
  trainable: number;
  /** Base and adapters together, as PEFT counts "all params". */
  total: number;
  /** 100·trainable/total. */
  percent: number;
  /** trainable/base: the fraction of the base model. */
  ofBase: number;
  /** PEFT's line. */
  toString(): string;
}

export interface TrainableOptions {
  /** Rank of the adapters; default 8. */
  r?: number;
  /** Which matrices get one: the last part of their names; default: all. */
  targetModules?: readonly string[];
}

/**
 * Counts the parameters that LoRA trains, of layers with their adapters or of shapes alone (nothing is allocated).
 *
 * @param layers named or listed LoraLinear layers; or a shape a parameter: (out, in) for a weight that may get an
 *   adapter, anything else (biases, norms) counts as base
 * @param config for shapes: rank and targets
 * @example
 * ```ts
 * import { trainableParameters } from "lowrank/lora";
 * const report = trainableParameters({ "attn.weight": [768, 768], "attn.bias": [768] }, { r: 4 });
 * console.log(`${report}`); // trainable params: 6,144 || all params: 596,736 || trainable%: 1.0296
 * ```
 */
export function trainableParameters(
  layers: readonly LoraLinear[] | Readonly<Record<string, LoraLinear | readonly number[]>>,
  config?: TrainableOptions,
): ParameterReport {
  const { r = 8, targetModules } = checkOptions(config, ["r", "targetModules"], "config");
  checkInteger(r, "r", 1, 2 ** 30);
  if (targetModules !== undefined && !isListOfText(targetModules)) {
    throw new TypeError(expected("targetModules", "an array of names", describe(targetModules)));
  }
  if (typeof layers !== "object" || layers === null) {
    throw new TypeError(expected("layers", "LoraLinear layers or shapes", describe(layers)));
  }
  let base = 0;
  // trained parameters of the base, and those of the adapters
  let own = 0;
  let added = 0;
  for (const [name, layer] of Object.entries(layers)) {
    if (layer instanceof LoraLinear) {
      const weights = layer.inFeatures * layer.outFeatures;
      const biases = layer.bias?.size ?? 0;
      base += weights + biases;
      own += (layer.trainable ? weights : 0) + (layer.biasTrainable ? biases : 0);
      for (const adapter of layer.adapters) {
        const { a, b, bias, magnitude } = layer.adapter(adapter);
        added += a.size + b.size + (bias?.size ?? 0) + (magnitude?.size ?? 0);
      }
    } else {
      const shape = checkShape(layer, `layers[${JSON.stringify(name)}]`);
      base += sizeOf(shape);
      if (shape.length === 2 && isTarget(name, targetModules))
        added += r * ((shape[0] as number) + (shape[1] as number));
    }
  }
  return report(own + added, base + added, base);
}

function isListOfText(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

/** PEFT's rule for a list: the name itself, or its last parts; ".weight" at the end does not count. */
function isTarget(name: string, targets: readonly string[] | undefined): boolean {
  if (targets === undefined) return true;
  const module = name.endsWith(".weight") ? name.slice(0, -".weight".length) : name;
  return targets.some((target) => module === target || module.endsWith(`.${target}`));
}

function report(trainable: number, total: number, base: number): ParameterReport {
  const percent = total === 0 ? 0 : (100 * trainable) / total;
  const line = `trainable params: ${grouped(trainable)} || all params: ${grouped(total)} || trainable%: ${percent.toFixed(4)}`;
  return { trainable, total, percent, ofBase: base === 0 ? 0 : trainable / base, toString: () => line };
}

/** 1234567 as 1,234,567 in every locale. */
function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}
