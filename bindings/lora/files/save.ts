// Writing adapter files. What a format cannot hold is an error, never left out.

import { checkOneOf, checkOptions, describe, expected } from "../../check.js";
import { FileFormatError } from "../../errors.js";
import type { Bytes } from "../../platform.js";
import { WRITABLE, type WritableDType } from "../../safetensors/convert.js";
import type { SafetensorsFile } from "../../safetensors/file.js";
import { quote } from "../../safetensors/header.js";
import { type Writable, writeSafetensors } from "../../safetensors/writer.js";
import { scope } from "../../scope.js";
import { LoraAdapter } from "../adapter.js";
import type { LoraConfig } from "../config.js";
import { patternValue } from "../targets.js";
import type { AdapterFile, AdapterFormat, ModuleKind } from "./adapter_file.js";
import { isKohyaName } from "./align_names.js";
import { componentOf, keyName, kohyaNames } from "./keys.js";
import { kohyaModules } from "./kohya_names.js";
import { describeAdapters, namesOf } from "./load.js";

export interface SaveAdapterOptions {
  /** Default: the format that the file was read from. */
  format?: AdapterFormat;
  /** Stored type of the factors. Default: that of the file that was read. */
  dtype?: WritableDType;
  /** Full names of the model's modules, or the model's file: needed to write a kohya file in another format. */
  moduleNames?: readonly string[] | SafetensorsFile;
}

const FORMATS = ["peft", "kohya", "diffusers"] as const;

/**
 * Writes an adapter: PEFT's two files, or the one of kohya or diffusers. Adapters made by extraction, resizing or combination
 * are put into a file's `modules` before.
 *
 * @param file what loadAdapter gave, or an object with the same fields; `modules` alone is enough
 * @returns the bytes of each file by its name
 * @throws FileFormatError if the format cannot hold what the file has: LoRA biases, modules saved as a whole or embeddings in
 *   kohya's, modules of no known component in diffusers', kohya's names without `moduleNames` in the others
 */
export function saveAdapter(
  file: Pick<AdapterFile, "modules"> & Partial<AdapterFile>,
  options?: SaveAdapterOptions,
): Record<string, Bytes> {
  const given = checkOptions(options, ["format", "dtype", "moduleNames"]);
  if (!(file?.modules instanceof Map)) throw new TypeError(expected("file.modules", "a Map", describe(file?.modules)));
  for (const [name, one] of file.modules) {
    if (!(one instanceof LoraAdapter)) throw new TypeError(expected(quote(name), "a LoraAdapter", describe(one)));
  }
  const format = given.format === undefined ? (file.format ?? "peft") : checkOneOf(given.format, "format", FORMATS);
  const stored = WRITABLE.find((one) => one === file.dtype) ?? "F32";
  const dtype = given.dtype === undefined ? stored : checkOneOf(given.dtype, "dtype", WRITABLE);
  return scope(() => write(file, format, dtype, given.moduleNames && namesOf(given.moduleNames)));
}

function write(
  file: Pick<AdapterFile, "modules"> & Partial<AdapterFile>,
  format: AdapterFormat,
  dtype: WritableDType,
  moduleNames: readonly string[] | undefined,
): Record<string, Bytes> {
  const modules = rename(file, format, moduleNames);
  const tensors = new Map<string, Writable>();
  for (const { name, adapter, kind } of modules) {
    for (const [key, value] of moduleTensors(format, name, adapter, kind)) {
      if (tensors.has(key)) throw new FileFormatError(`two modules would be called ${quote(name)}`, 0);
      tensors.set(key, value);
    }
  }
  if (format !== (file.format ?? format) && (file.extras?.size ?? 0) > 0) {
    const some = [...(file.extras?.keys() ?? [])].slice(0, 3).map(quote).join(", ");
    throw new FileFormatError(`${format} files hold nothing but adapters; this one has ${some}`, 0);
  }
  for (const [name, extra] of file.extras ?? []) tensors.set(name, extra);
  const named = new Map(modules.map(({ name, adapter }) => [name, adapter]));
  if (format === "peft") {
    const config = peftConfig(file, named);
    return {
      "adapter_config.json": new TextEncoder().encode(`${JSON.stringify(config, null, 2)}\n`),
      "adapter_model.safetensors": writeSafetensors(tensors, { dtype, metadata: { format: "pt", ...file.metadata } }),
    };
  }
  const { lora_adapter_metadata: _, ...metadata } = file.metadata ?? {};
  if (format === "diffusers") Object.assign(metadata, { lora_adapter_metadata: diffusersMetadata(named) });
  const name = format === "diffusers" ? "pytorch_lora_weights.safetensors" : "lora.safetensors";
  return { [name]: writeSafetensors(tensors, { dtype, metadata: { format: "pt", ...metadata } }) };
}

interface Named {
  name: string;
  adapter: LoraAdapter;
  kind: ModuleKind;
}

/** Modules by the names that they have in the format. */
function rename(
  file: Pick<AdapterFile, "modules"> & Partial<AdapterFile>,
  format: AdapterFormat,
  moduleNames: readonly string[] | undefined,
): Named[] {
  const names = [...file.modules.keys()];
  let dotted = new Map<string, string>();
  if (format !== "kohya" && names.some(isKohyaName)) {
    if (moduleNames === undefined) {
      throw new FileFormatError("kohya's names of modules have no dots: give moduleNames to write another format", 0);
    }
    dotted = kohyaModules(names.filter(isKohyaName), moduleNames);
  }
  return [...file.modules].map(([given, adapter]) => {
    let name = dotted.get(given) ?? given;
    if (format === "kohya" && !isKohyaName(name)) name = kohyaNames(name)[0] as string;
    if (format === "diffusers" && componentOf(name) === undefined) {
      throw new FileFormatError(
        `module ${quote(name)} is of no component that diffusers knows (unet., transformer., …)`,
        0,
      );
    }
    return { name, adapter, kind: file.kinds?.get(given) ?? { kind: "linear" } };
  });
}

/** The tensors of a module in a format. */
function* moduleTensors(
  format: AdapterFormat,
  name: string,
  adapter: LoraAdapter,
  kind: ModuleKind,
): Generator<[string, Writable]> {
  const { a, b, bias, magnitude, r } = adapter;
  const lacks = (what: string) =>
    new FileFormatError(`${format} files have no ${what}; module ${quote(name)} has one`, 0);
  if (kind.kind === "embedding") {
    if (format !== "peft") throw lacks("embedding");
    yield [keyName(format, name, "embeddingA"), a];
    yield [keyName(format, name, "embeddingB"), b];
  } else {
    const isConvolution = kind.kind === "convolution";
    const channels = isConvolution ? adapter.inFeatures / kind.kernel.reduce((x, y) => x * y, 1) : 0;
    yield [keyName(format, name, "a"), isConvolution ? a.reshape([r, channels, ...kind.kernel]) : a];
    const one = isConvolution ? kind.kernel.map(() => 1) : [];
    yield [keyName(format, name, "b"), isConvolution ? b.reshape([adapter.outFeatures, r, ...one]) : b];
  }
  if (bias !== undefined) {
    if (format === "kohya") throw lacks("LoRA bias");
    yield [keyName(format, name, "bias"), bias];
  }
  if (magnitude !== undefined) {
    yield [keyName(format, name, "magnitude"), format === "kohya" ? magnitude.reshape([magnitude.size, 1]) : magnitude];
  }
  if (format === "kohya") {
    // kohya's scale is alpha/r always
    yield [keyName(format, name, "alpha"), { data: Float32Array.of(adapter.scaling * r), shape: [] }];
  }
}

/** PEFT's config of the adapters as they are now; what else the file's own config said is kept. */
function peftConfig(file: Partial<AdapterFile>, modules: ReadonlyMap<string, LoraAdapter>): Record<string, unknown> {
  const mixed = new Set([...modules.values()].map((one) => one.useRslora)).size > 1;
  if (mixed) throw new FileFormatError("PEFT has rsLoRA for all modules or for none; this file has both", 0);
  const own = describeAdapters(modules).toJSON();
  if (file.config === undefined || file.format !== "peft") return own;
  const before = file.config.toJSON();
  const same = isDescribedBy(file.config, modules);
  const changing = ["r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "lora_bias"];
  return same ? before : { ...before, ...Object.fromEntries(changing.map((key) => [key, own[key]])) };
}

/** Whether a config still says what the adapters are. */
function isDescribedBy(config: LoraConfig, modules: ReadonlyMap<string, LoraAdapter>): boolean {
  for (const [name, one] of modules) {
    const r = patternValue(config.rankPattern, name, config.r, "rank_pattern");
    const alpha = patternValue(config.alphaPattern, name, config.loraAlpha, "alpha_pattern");
    if (r !== one.r || alpha !== one.alpha || config.useRslora !== one.useRslora) return false;
  }
  return true;
}

/** A config for each component, its fields behind the component's name. */
function diffusersMetadata(modules: ReadonlyMap<string, LoraAdapter>): string {
  const json: Record<string, unknown> = {};
  const components = new Map<string, Map<string, LoraAdapter>>();
  for (const [name, adapter] of modules) {
    const component = componentOf(name) as string;
    const own = components.get(component) ?? new Map<string, LoraAdapter>();
    components.set(component, own.set(name.slice(component.length + 1), adapter));
  }
  for (const [component, own] of components) {
    for (const [key, value] of Object.entries(describeAdapters(own).toJSON())) json[`${component}.${key}`] = value;
  }
  return JSON.stringify(json);
}
