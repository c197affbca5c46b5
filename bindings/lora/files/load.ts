// Reading adapter files: PEFT's folder, kohya's and diffusers' single files.

import { checkOptions, describe, sizeOf } from "../../check.js";
import { FileFormatError } from "../../errors.js";
import { openSafetensors, SafetensorsFile } from "../../safetensors/file.js";
import { quote, type SafetensorsDType } from "../../safetensors/header.js";
import { type FileSource, readText } from "../../safetensors/source.js";
import type { StoredTensor } from "../../safetensors/writer.js";
import type { Tensor } from "../../tensor.js";
import { LoraAdapter } from "../adapter.js";
import { LoraConfig, type LoraConfigOptions } from "../config.js";
import { patternValue } from "../targets.js";
import type { AdapterFile, AdapterFormat, ModuleKind } from "./adapter_file.js";
import { detectFormat, diffusersKey, type Key, kohyaKey, type Part, peftKey } from "./keys.js";
import { kohyaModules } from "./kohya_names.js";
import { checkModel, modelModules } from "./model_modules.js";

/** The safetensors file alone, or the files of a folder by name: PEFT's has adapter_config.json beside it. */
export type AdapterSource = FileSource | Readonly<Record<string, FileSource>>;

export interface LoadAdapterOptions {
  /**
   * Full names of the model's modules, or the model's file: gives kohya's names their dots back. Without them a kohya file
   * keeps its own names, and cannot be written in another format.
   */
  moduleNames?: readonly string[] | SafetensorsFile;
}

const CONFIG = "adapter_config.json";

/**
 * Reads a LoRA adapter: PEFT's folder (adapter_config.json and adapter_model.safetensors), kohya's and diffusers' files. Ranks,
 * alphas, rsLoRA, DoRA, LoRA biases, convolutions and embeddings are understood; modules saved as a whole and trained biases
 * are kept in `extras`, unknown keys of the config in `config.extra`.
 *
 * @returns adapters in "f32" ("f64" for F64) that the caller owns: dispose of each in `modules`
 * @throws FileFormatError for a file that is broken, or holds what none of the formats has: half an adapter, ranks that
 *   contradict the config, names that fit several modules
 */
export async function loadAdapter(source: AdapterSource, options?: LoadAdapterOptions): Promise<AdapterFile> {
  const { moduleNames } = checkOptions(options, ["moduleNames"]);
  const { weights, config } = await openFiles(source);
  const format = detectFormat(weights.names);
  if (format === undefined) {
    const some = weights.names.slice(0, 3).map(quote).join(", ");
    throw new FileFormatError(`not an adapter: no tensor has a name of one (${some || "there are none"})`, 0);
  }
  if (format === "peft" && config === undefined) {
    throw new FileFormatError(
      `PEFT's ${CONFIG} is missing: give { "${CONFIG}": …, "adapter_model.safetensors": … }`,
      0,
    );
  }
  const { parts, extras } = await sort(weights, format);
  const dtype = commonType(weights, parts);
  const peft = config === undefined ? undefined : readConfig(config);
  const adapters = new Map<string, LoraAdapter>();
  const kinds = new Map<string, ModuleKind>();
  try {
    const names =
      format === "kohya" && moduleNames !== undefined
        ? kohyaModules([...parts.keys()], namesOf(moduleNames))
        : undefined;
    const diffusers = format === "diffusers" ? diffusersConfigs(weights.metadata) : undefined;
    for (const [key, found] of parts) {
      const module = names?.get(key) ?? key;
      const scale = peft === undefined ? diffusers?.(module) : scaleOf(peft, module);
      const { adapter, kind } = await readModule(weights, module, found, scale);
      adapters.set(module, adapter);
      if (kind.kind !== "linear") kinds.set(module, kind);
      checkAgainst(peft, module, adapter);
    }
  } catch (error) {
    for (const adapter of adapters.values()) adapter.dispose();
    throw error;
  } finally {
    weights.close();
  }
  return {
    format,
    config: peft ?? describeAdapters(adapters),
    modules: adapters,
    kinds,
    extras,
    metadata: weights.metadata,
    dtype,
  };
}

/** The format of an adapter file, by the names of its tensors; undefined for a file that is none, such as a model. */
export function adapterFormat(file: SafetensorsFile): AdapterFormat | undefined {
  return detectFormat(checkModel(file, "file").names);
}

/** @internal The option moduleNames as a list. */
export function namesOf(moduleNames: readonly string[] | SafetensorsFile): readonly string[] {
  return moduleNames instanceof SafetensorsFile ? modelModules(moduleNames).map(({ name }) => name) : moduleNames;
}

async function openFiles(source: AdapterSource): Promise<{ weights: SafetensorsFile; config: string | undefined }> {
  if (!isFolder(source)) return { weights: await openSafetensors(source), config: undefined };
  const files = Object.entries(source);
  const weights = files.filter(([name]) => name.endsWith(".safetensors"));
  if (weights.length !== 1) {
    const pickled = files.find(([name]) => /\.(bin|pt|ckpt)$/.test(name));
    const what = pickled === undefined ? "" : `; ${pickled[0]} is pickled: save it as safetensors in Python`;
    throw new FileFormatError(`one .safetensors file is wanted, there are ${weights.length}${what}`, 0);
  }
  const config = files.find(([name]) => name === CONFIG || name.endsWith(`/${CONFIG}`));
  return {
    weights: await openSafetensors((weights[0] as [string, FileSource])[1]),
    config: config && (await readText(config[1], { maximumBytes: 1e8 })),
  };
}

/** A plain object that is not a reader. */
function isFolder(source: AdapterSource): source is Readonly<Record<string, FileSource>> {
  const prototype = Object.getPrototypeOf(source ?? 0);
  const isPlain = prototype === Object.prototype || prototype === null;
  return isPlain && typeof (source as { read?: unknown }).read !== "function";
}

function readConfig(text: string): LoraConfig {
  let json: Record<string, unknown>;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new FileFormatError(`${CONFIG} is not JSON`, 0, error);
  }
  if (typeof json !== "object" || json === null || json.r === undefined) {
    throw new FileFormatError(`${CONFIG} has no rank "r"`, 0);
  }
  try {
    return LoraConfig.fromJSON(json);
  } catch (error) {
    throw new FileFormatError(`${CONFIG}: ${(error as Error).message}`, 0, error);
  }
}

type Parts = Map<Part, string>;

/** Names of the tensors by module and part; what belongs to no adapter, as bytes. */
async function sort(file: SafetensorsFile, format: AdapterFormat) {
  const keyOf: (name: string) => Key | undefined = { peft: peftKey, kohya: kohyaKey, diffusers: diffusersKey }[format];
  const parts = new Map<string, Parts>();
  const extras = new Map<string, StoredTensor>();
  for (const name of file.names) {
    const key = keyOf(name);
    if (key === undefined) {
      if (/lora_mid|lokr_|hada_|oft_/.test(name)) {
        throw new FileFormatError(`tensor ${quote(name)} belongs to LyCORIS, not to LoRA: it cannot be read`, 0);
      }
      const { dtype, shape } = file.info(name);
      extras.set(name, { dtype, shape, bytes: await file.bytes(name) });
      continue;
    }
    const found = parts.get(key.module) ?? new Map<Part, string>();
    if (found.has(key.part)) throw new FileFormatError(`module ${quote(key.module)} has its ${key.part} twice`, 0);
    parts.set(key.module, found.set(key.part, name));
  }
  return { parts, extras };
}

interface Scale {
  alpha?: number;
  useRslora?: boolean;
  dropout?: number;
}

function scaleOf(config: LoraConfig, module: string): Scale {
  return {
    alpha: patternValue(config.alphaPattern, module, config.loraAlpha, "alpha_pattern"),
    useRslora: config.useRslora,
    dropout: config.loraDropout,
  };
}

async function readModule(file: SafetensorsFile, module: string, parts: Parts, scale: Scale | undefined) {
  const isEmbedding = parts.has("embeddingA") || parts.has("embeddingB");
  const [nameA, nameB] = isEmbedding
    ? [parts.get("embeddingA"), parts.get("embeddingB")]
    : [parts.get("a"), parts.get("b")];
  if (nameA === undefined || nameB === undefined) {
    const [there, missing] = nameA === undefined ? ["B", "A"] : ["A", "B"];
    throw new FileFormatError(`module ${quote(module)} has ${there} without ${missing}`, 0);
  }
  const made: Tensor[] = [];
  const read = async (part: Part | undefined, name = part && parts.get(part)) => {
    if (name === undefined) return undefined;
    const tensor = await file.tensor(name);
    made.push(tensor);
    return tensor;
  };
  try {
    const [a, b] = [(await read(undefined, nameA)) as Tensor, (await read(undefined, nameB)) as Tensor];
    const kernel = a.ndim > 2 ? a.shape.slice(2) : undefined;
    const matrices = [flatten(a, module, nameA), flatten(b, module, nameB)] as const;
    made.push(...matrices);
    if (kernel !== undefined && sizeOf(b.shape.slice(2)) !== 1) {
      throw new FileFormatError(
        `tensor ${quote(nameB)}: a convolution by B is of size 1, not ${b.shape.slice(2).join("×")}`,
        0,
      );
    }
    const magnitude = await read("magnitude");
    // kohya's are columns
    const lengths = magnitude?.reshape([magnitude.size]);
    if (lengths !== undefined) made.push(lengths);
    const bias = await read("bias");
    const alpha = (await read("alpha"))?.data[0] ?? scale?.alpha;
    const adapter = new LoraAdapter({
      a: matrices[0],
      b: matrices[1],
      ...(bias && { bias }),
      ...(lengths && { magnitude: lengths }),
      ...(alpha !== undefined && { alpha }),
      ...(scale?.useRslora && { useRslora: true }),
      ...(scale?.dropout && { dropout: scale.dropout }),
    });
    const kind: ModuleKind = isEmbedding
      ? { kind: "embedding" }
      : kernel === undefined
        ? { kind: "linear" }
        : { kind: "convolution", kernel };
    return { adapter, kind };
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) {
      throw new FileFormatError(`module ${quote(module)}: ${error.message}`, 0, error);
    }
    throw error;
  } finally {
    for (const tensor of made) tensor.dispose();
  }
}

/** A factor as a matrix: what follows the second axis is a convolution's. */
function flatten(tensor: Tensor, module: string, name: string): Tensor {
  if (tensor.ndim < 2) throw new FileFormatError(`module ${quote(module)}: tensor ${quote(name)} is not a matrix`, 0);
  const [rows, ...rest] = tensor.shape as [number, ...number[]];
  return tensor.reshape([rows, sizeOf(rest)]);
}

/** The rank that the config states, where there is one, must be the file's. */
function checkAgainst(config: LoraConfig | undefined, module: string, adapter: LoraAdapter): void {
  if (config === undefined) return;
  const r = patternValue(config.rankPattern, module, config.r, "rank_pattern");
  if (r !== adapter.r) {
    throw new FileFormatError(`module ${quote(module)} has rank ${adapter.r}, ${CONFIG} says ${r}`, 0);
  }
}

/** What a file without a config says of itself. */
export function describeAdapters(modules: ReadonlyMap<string, LoraAdapter>, extra: LoraConfigOptions = {}): LoraConfig {
  const adapters = [...modules.values()];
  const r = mostFrequent(adapters.map((one) => one.r)) ?? 8;
  const loraAlpha = mostFrequent(adapters.map((one) => one.alpha)) ?? r;
  const rankPattern: Record<string, number> = {};
  const alphaPattern: Record<string, number> = {};
  // a key fits every name that ends with it, and the first that fits counts: longer ones first
  for (const [name, one] of [...modules].sort(([x], [y]) => y.length - x.length)) {
    const key = name.replace(/[*+?^${}()|[\]\\]/g, "\\$&");
    if (one.r !== r) rankPattern[key] = one.r;
    if (one.alpha !== loraAlpha) alphaPattern[key] = one.alpha;
  }
  return new LoraConfig({
    r,
    loraAlpha,
    loraDropout: mostFrequent(adapters.map((one) => one.dropout)) ?? 0,
    rankPattern,
    alphaPattern,
    targetModules: [...modules.keys()],
    useRslora: adapters.length > 0 && adapters.every((one) => one.useRslora),
    useDora: adapters.some((one) => one.magnitude !== undefined),
    loraBias: adapters.some((one) => one.bias !== undefined),
    ...extra,
  });
}

function mostFrequent<T>(values: readonly T[]): T | undefined {
  const counts = new Map<T, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((x, y) => y[1] - x[1])[0]?.[0];
}

function commonType(file: SafetensorsFile, parts: ReadonlyMap<string, Parts>): SafetensorsDType {
  const names = [...parts.values()].flatMap((found) => [found.get("a"), found.get("embeddingA")]);
  return mostFrequent(names.filter((name) => name !== undefined).map((name) => file.info(name).dtype)) ?? "F32";
}

/** diffusers keeps the configs of its components in the metadata, each field behind the component's name. */
function diffusersConfigs(metadata: Readonly<Record<string, string>>): ((module: string) => Scale) | undefined {
  const text = metadata.lora_adapter_metadata;
  if (text === undefined) return undefined;
  let json: Record<string, unknown>;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new FileFormatError("lora_adapter_metadata is not JSON", 0, error);
  }
  if (typeof json !== "object" || json === null) {
    throw new FileFormatError(`lora_adapter_metadata expected an object, got ${describe(json)}`, 0);
  }
  const configs = new Map<string, LoraConfig>();
  return (module) => {
    const component = module.slice(0, module.indexOf("."));
    let config = configs.get(component);
    if (config === undefined) {
      const own = Object.entries(json).filter(([key]) => key.startsWith(`${component}.`));
      if (own.length === 0) return {};
      config = LoraConfig.fromJSON(
        Object.fromEntries(own.map(([key, value]) => [key.slice(component.length + 1), value])),
      );
      configs.set(component, config);
    }
    return scaleOf(config, module.slice(component.length + 1));
  };
}
