// Kohya's names of modules have underscores where paths have dots: only the model's own names tell which are which.

import { FileFormatError } from "../../errors.js";
import { quote } from "../../safetensors/header.js";
import { kohyaNames } from "./keys.js";
import { listed } from "./model_modules.js";

/** The module of each kohya name. */
export function kohyaModules(names: readonly string[], moduleNames: readonly string[]): Map<string, string> {
  const candidates = new Map<string, string[]>();
  for (const module of moduleNames) {
    for (const name of kohyaNames(module)) candidates.set(name, [...(candidates.get(name) ?? []), module]);
  }
  const found = new Map<string, string>();
  const unknown = names.filter((name) => !candidates.has(name));
  if (unknown.length > 0) throw new FileFormatError(`no module name fits ${listed(unknown)}`, 0);
  for (const name of names) {
    const modules = [...new Set(candidates.get(name) ?? [])];
    if (modules.length > 1) {
      throw new FileFormatError(`${quote(name)} may be any of ${modules.map(quote).join(", ")}`, 0);
    }
    found.set(name, modules[0] as string);
  }
  return found;
}
