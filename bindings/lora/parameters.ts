// How many parameters an adapter trains.

import { checkShape, describe, expected, sizeOf } from "../check.js";
import { configOf, type LoraConfig, type LoraConfigOptions } from "./config.js";
import { LoraLinear } from "./linear.js";
import { SvdLinear } from "./svd_linear.js";
import { patternValue, targetsOf } from "./targets.js";

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

/** What trainableParameters() takes of a config: rank, targets and patterns, DoRA, biases. */
export type TrainableOptions = LoraConfig | LoraConfigOptions;

/**
 * Counts the parameters that LoRA trains, of layers with their adapters or of shapes alone (nothing is allocated).
 *
 * @param layers named or listed layers, of an SvdLinear its weight as base and its core; or a shape a parameter: (out, in) for a weight that may get an
 *   adapter, anything else (biases, norms) counts as base
 * @param config for shapes: which matrices get an adapter, by PEFT's rules on names without ".weight" (default: all), and
 *   of which size; with `bias` also which biases are trained
 * @example
 * ```ts
 * import { trainableParameters } from "lowrank/lora";
 * const report = trainableParameters({ "attn.weight": [768, 768], "attn.bias": [768] }, { r: 4 });
 * console.log(`${report}`); // trainable params: 6,144 || all params: 596,736 || trainable%: 1.0296
 * ```
 */
export function trainableParameters(
  layers: readonly (LoraLinear | SvdLinear)[] | Readonly<Record<string, LoraLinear | SvdLinear | readonly number[]>>,
  config?: TrainableOptions,
): ParameterReport {
  const chosen = configOf(config === undefined ? {} : config);
  if (typeof layers !== "object" || layers === null) {
    throw new TypeError(expected("layers", "layers or shapes", describe(layers)));
  }
  let base = 0;
  // trained parameters of the base, and those of the adapters
  let own = 0;
  let added = 0;
  const shapes = new Map<string, readonly number[]>();
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
    } else if (layer instanceof SvdLinear) {
      base += layer.inFeatures * layer.outFeatures + (layer.bias?.size ?? 0);
      for (const tensor of Object.values(layer.core)) added += tensor.size;
    } else {
      const shape = checkShape(layer, `layers[${JSON.stringify(name)}]`);
      base += sizeOf(shape);
      shapes.set(name, shape);
    }
  }
  const targets = targetsAmong(shapes, chosen);
  for (const [name, shape] of shapes) {
    const module = moduleOf(name);
    if (shape.length === 2) {
      if (targets.has(module)) added += adapterSize(module, shape, chosen);
    } else if (
      name.endsWith(".bias") &&
      (chosen.bias === "all" || (chosen.bias === "lora_only" && targets.has(module)))
    ) {
      own += sizeOf(shape);
    }
  }
  return report(own + added, base + added, base);
}

/** The modules that get an adapter: of the matrices those that the config chooses, or all. */
function targetsAmong(shapes: ReadonlyMap<string, readonly number[]>, config: LoraConfig): Set<string> {
  const matrices = [...shapes].filter(([, shape]) => shape.length === 2).map(([name]) => moduleOf(name));
  return new Set(config.targetModules === undefined ? matrices : targetsOf(matrices, config));
}

/** A parameter's module: its name without the last ".weight" or ".bias". */
function moduleOf(name: string): string {
  return name.replace(/\.(weight|bias)$/, "");
}

function adapterSize(module: string, shape: readonly number[], config: LoraConfig): number {
  const [out, inFeatures] = shape as [number, number];
  const r = patternValue(config.rankPattern, module, config.r, "rankPattern");
  return r * (out + inFeatures) + (config.useDora ? out : 0) + (config.loraBias ? out : 0);
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
