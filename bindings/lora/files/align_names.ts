// Names of an adapter's modules to the names that the model's file has for them.

import { FileFormatError } from "../../errors.js";
import type { SafetensorsFile } from "../../safetensors/file.js";
import { kohyaModules } from "./kohya_names.js";
import { listed, modelModules } from "./model_modules.js";

/** Whether a name is kohya's: a prefix, and underscores where paths have dots. */
export function isKohyaName(name: string): boolean {
  return /^lora_[^.]+$/.test(name);
}

/**
 * The name in the model's file of every module. Files of bare models lack the first parts of the names that models with a
 * head have ("transformer.h.0…" is "h.0…" in GPT-2's), or the other way round: one such difference for all is bridged.
 *
 * @throws FileFormatError that lists what the model lacks
 */
export function alignNames(model: SafetensorsFile, names: readonly string[]): Map<string, string> {
  const kohya = names.filter(isKohyaName);
  if (kohya.length > 0) {
    const dotted = kohyaModules(
      kohya,
      modelModules(model).map(({ name }) => name),
    );
    return new Map(names.map((name) => [name, dotted.get(name) ?? name]));
  }
  const lacking = (map: (name: string) => string) => names.filter((name) => !model.has(`${map(name)}.weight`));
  const missing = lacking((name) => name);
  if (missing.length === 0) return new Map(names.map((name) => [name, name]));
  const bridges = shortenings(names)
    .concat(extensions(model))
    .filter((map) => lacking(map).length === 0);
  const [bridge] = bridges;
  if (bridge === undefined || bridges.length > 1) {
    const why = bridges.length > 1 ? "; with a prefix, several of its parts would fit" : "";
    throw new FileFormatError(
      `the model lacks ${missing.length} of ${names.length} modules: ${listed(missing)}${why}`,
      0,
    );
  }
  return new Map(names.map((name) => [name, bridge(name)]));
}

type Bridge = (name: string) => string;

/** Without the first part of the names, or the first two, where it is the same for all. */
function shortenings(names: readonly string[]): Bridge[] {
  return [1, 2].flatMap((parts) => {
    const prefix = `${(names[0] as string).split(".").slice(0, parts).join(".")}.`;
    return names.every((name) => name.startsWith(prefix)) ? [(name: string) => name.slice(prefix.length)] : [];
  });
}

/** Behind one of the first parts, or first two parts, that the model's names have. */
function extensions(model: SafetensorsFile): Bridge[] {
  const prefixes = new Set<string>();
  for (const name of model.names) {
    const parts = name.split(".");
    for (const count of [1, 2]) if (parts.length > count) prefixes.add(`${parts.slice(0, count).join(".")}.`);
  }
  return [...prefixes].map((prefix) => (name: string) => prefix + name);
}
