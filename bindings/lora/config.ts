// What PEFT's adapter_config.json says about a set of adapters.

import {
  checkBoolean,
  checkFinite,
  checkInteger,
  checkNumberIn,
  checkOneOf,
  checkOptions,
  describe,
  expected,
} from "../check.js";

/** How A and B start: PEFT's init_lora_weights. */
export type InitLoraWeights = boolean | "gaussian" | "unit" | "pissa" | "milora" | "olora";

/** PEFT's fields in camelCase; what is left out takes PEFT's default. */
export interface LoraConfigOptions {
  /** Rank. Default 8. */
  r?: number;
  /** Numerator of the scale. Default 8. */
  loraAlpha?: number;
  /** Probability that an input of A is dropped in training. Default 0. */
  loraDropout?: number;
  /** Whose biases are trained: "all" layers', or those with an adapter ("lora_only"). Default "none". */
  bias?: "none" | "all" | "lora_only";
  /** One regular expression for the whole name, "all-linear", or names and last parts of names. */
  targetModules?: string | readonly string[];
  /** What is left out, by the same rules; wins over targetModules. */
  excludeModules?: string | readonly string[];
  /** "CAUSAL_LM", "SEQ_CLS", …: kept; it decides what "all-linear" takes for the output head. */
  taskType?: string;
  /** Scale alpha/√r instead of alpha/r. Default false. */
  useRslora?: boolean;
  /** Weight decomposition (DoRA). Default false. */
  useDora?: boolean;
  /** A bias behind B. Default false. */
  loraBias?: boolean;
  /** The weights are stored (in, out). A LoraLinear knows that of its own weight. Default false. */
  fanInFanOut?: boolean;
  /**
   * true: A uniform, B zero; "gaussian", "unit": A normal, B zero; false: both random; "pissa", "milora", "olora": a part of
   * the weight, which is taken out of it. Default true.
   */
  initLoraWeights?: InitLoraWeights;
  /** Ranks of single modules: a regular expression for the end of the name, or the name, to a rank. */
  rankPattern?: Readonly<Record<string, number>>;
  /** As rankPattern, for loraAlpha. */
  alphaPattern?: Readonly<Record<string, number>>;
  /** Numbers of the layers that get adapters; not with a text as targetModules. */
  layersToTransform?: number | readonly number[];
  /** What stands before a layer's number in a name; default: anything. */
  layersPattern?: string | readonly string[];
  /** Modules that are trained as a whole: no adapters on them. */
  modulesToSave?: readonly string[];
}

const BIASES = ["none", "all", "lora_only"] as const;
const INITS = ["gaussian", "unit", "pissa", "milora", "olora"] as const;

/** adapter_config.json's key of each field. */
const KEYS = {
  r: "r",
  loraAlpha: "lora_alpha",
  loraDropout: "lora_dropout",
  bias: "bias",
  targetModules: "target_modules",
  excludeModules: "exclude_modules",
  taskType: "task_type",
  useRslora: "use_rslora",
  useDora: "use_dora",
  loraBias: "lora_bias",
  fanInFanOut: "fan_in_fan_out",
  initLoraWeights: "init_lora_weights",
  rankPattern: "rank_pattern",
  alphaPattern: "alpha_pattern",
  layersToTransform: "layers_to_transform",
  layersPattern: "layers_pattern",
  modulesToSave: "modules_to_save",
} as const satisfies Record<keyof LoraConfigOptions, string>;

const FIELDS = Object.keys(KEYS) as (keyof LoraConfigOptions)[];

/**
 * PEFT's LoraConfig: its fields and defaults in camelCase. Functions that take one take a plain object with the same
 * fields, too.
 *
 * @example
 * ```ts
 * import { LoraConfig } from "lowrank/lora";
 * const config = new LoraConfig({ r: 4, targetModules: ["q_proj", "v_proj"] });
 * console.log(config.loraAlpha, JSON.parse(JSON.stringify(config)).lora_dropout); // 8 0
 * ```
 */
export class LoraConfig {
  readonly r: number;
  readonly loraAlpha: number;
  readonly loraDropout: number;
  readonly bias: "none" | "all" | "lora_only";
  readonly targetModules: string | readonly string[] | undefined;
  readonly excludeModules: string | readonly string[] | undefined;
  readonly taskType: string | undefined;
  readonly useRslora: boolean;
  readonly useDora: boolean;
  readonly loraBias: boolean;
  readonly fanInFanOut: boolean;
  readonly initLoraWeights: InitLoraWeights;
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  readonly layersToTransform: number | readonly number[] | undefined;
  readonly layersPattern: string | readonly string[] | undefined;
  readonly modulesToSave: readonly string[] | undefined;
  /** Keys of an adapter_config.json that this class does not know: toJSON() writes them as they came. */
  readonly extra: Readonly<Record<string, unknown>>;

  /** @throws TypeError for an unknown field or a wrong type; RangeError for a value or a combination PEFT refuses */
  constructor(options?: LoraConfigOptions) {
    const {
      r = 8,
      loraAlpha = 8,
      loraDropout = 0,
      bias = "none",
      targetModules,
      excludeModules,
      taskType,
      useRslora = false,
      useDora = false,
      loraBias = false,
      fanInFanOut = false,
      initLoraWeights = true,
      rankPattern = {},
      alphaPattern = {},
      layersToTransform,
      layersPattern,
      modulesToSave,
    } = checkOptions(options, FIELDS, "config");
    const checkRank = (value: unknown, argument: string) => checkInteger(value, argument, 1, 2 ** 30);
    this.r = checkRank(r, "r");
    this.loraAlpha = checkFinite(loraAlpha, "loraAlpha");
    this.loraDropout = checkNumberIn(loraDropout, "loraDropout", 0, 1);
    this.bias = checkOneOf(bias, "bias", BIASES);
    this.targetModules = checkNames(targetModules, "targetModules");
    this.excludeModules = checkNames(excludeModules, "excludeModules");
    this.taskType = taskType === undefined ? undefined : checkText(taskType, "taskType");
    this.useRslora = checkBoolean(useRslora, "useRslora");
    this.useDora = checkBoolean(useDora, "useDora");
    this.loraBias = checkBoolean(loraBias, "loraBias");
    this.fanInFanOut = checkBoolean(fanInFanOut, "fanInFanOut");
    this.initLoraWeights =
      typeof initLoraWeights === "boolean" ? initLoraWeights : checkOneOf(initLoraWeights, "initLoraWeights", INITS);
    this.rankPattern = checkPattern(rankPattern, "rankPattern", checkRank);
    this.alphaPattern = checkPattern(alphaPattern, "alphaPattern", checkFinite);
    this.layersToTransform = checkLayers(layersToTransform);
    this.layersPattern = checkNames(layersPattern, "layersPattern");
    this.modulesToSave = modulesToSave === undefined ? undefined : checkList(modulesToSave, "modulesToSave");
    this.extra = {};
    if (this.useDora && this.loraBias) throw new TypeError(expected("loraBias", "false with useDora", "true"));
    if (this.layersToTransform !== undefined && typeof this.targetModules === "string") {
      const what = "names in an array with layersToTransform";
      throw new RangeError(expected("targetModules", what, describe(this.targetModules)));
    }
    if (this.layersPattern !== undefined && this.layersToTransform === undefined) {
      throw new RangeError(expected("layersPattern", "layersToTransform beside it", describe(this.layersPattern)));
    }
  }

  /**
   * The config of an adapter_config.json's content. Keys that are not LoRA's fields are kept in `extra`.
   *
   * @throws TypeError if it is not an object or a field has a wrong type; RangeError for a wrong value, also a
   *   `peft_type` other than "LORA"
   */
  static fromJSON(json: Readonly<Record<string, unknown>>): LoraConfig {
    if (typeof json !== "object" || json === null || Array.isArray(json)) {
      throw new TypeError(expected("json", "an object", describe(json)));
    }
    const type = json.peft_type;
    if (type !== undefined && type !== null && type !== "LORA") {
      throw new RangeError(expected("peft_type", '"LORA"', describe(type)));
    }
    const options: Record<string, unknown> = {};
    for (const field of FIELDS) {
      const value = json[KEYS[field]];
      if (value !== undefined && value !== null) options[field] = value;
    }
    // PEFT writes an empty pattern where none was given
    if (options.layersPattern === "" || (options.layersPattern as string[] | undefined)?.length === 0) {
      delete options.layersPattern;
    }
    const known = new Set<string>(Object.values(KEYS));
    const extra = Object.fromEntries(Object.entries(json).filter(([key]) => !known.has(key) && key !== "peft_type"));
    return Object.assign(new LoraConfig(options as LoraConfigOptions), { extra });
  }

  /** The content of adapter_config.json. */
  toJSON(): Record<string, unknown> {
    const json: Record<string, unknown> = { peft_type: "LORA" };
    for (const field of FIELDS) json[KEYS[field]] = this[field] ?? null;
    return Object.assign(json, this.extra);
  }
}

/** @internal A config from one or from its fields. */
export function configOf(value: LoraConfig | LoraConfigOptions): LoraConfig {
  return value instanceof LoraConfig ? value : new LoraConfig(value);
}

function checkText(value: unknown, argument: string): string {
  if (typeof value !== "string") throw new TypeError(expected(argument, "a string", describe(value)));
  return value;
}

function checkList(value: unknown, argument: string): readonly string[] {
  if (!Array.isArray(value) || value.some((item) => typeof item !== "string")) {
    throw new TypeError(expected(argument, "an array of names", describe(value)));
  }
  return [...value];
}

function checkNames(value: unknown, argument: string): string | readonly string[] | undefined {
  if (value === undefined || typeof value === "string") return value;
  if (!Array.isArray(value)) throw new TypeError(expected(argument, "a string or an array of names", describe(value)));
  return checkList(value, argument);
}

function checkPattern(
  value: unknown,
  argument: string,
  check: (value: unknown, argument: string) => number,
): Readonly<Record<string, number>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError(expected(argument, "an object of numbers", describe(value)));
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, number]) => [key, check(number, `${argument}[${JSON.stringify(key)}]`)]),
  );
}

function checkLayers(value: unknown): number | readonly number[] | undefined {
  if (value === undefined) return undefined;
  const check = (layer: unknown, argument: string) => checkInteger(layer, argument, 0, 2 ** 30);
  if (!Array.isArray(value)) return check(value, "layersToTransform");
  return value.map((layer, i) => check(layer, `layersToTransform[${i}]`));
}
