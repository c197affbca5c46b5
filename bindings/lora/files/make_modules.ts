// Adapters of a file's modules, made one after the other.

import type { Steps } from "../../slices.js";
import type { LoraAdapter } from "../adapter.js";

/** @internal An adapter for each module, progress in modules. Where one fails, or an abort ends it, none is left. */
export function* makeModules(
  names: Iterable<string>,
  total: number,
  make: (name: string) => Steps<LoraAdapter>,
): Steps<Map<string, LoraAdapter>> {
  const modules = new Map<string, LoraAdapter>();
  let complete = false;
  try {
    for (const name of names) {
      modules.set(name, yield* make(name));
      yield () => ({ done: modules.size, total });
    }
    complete = true;
    return modules;
  } finally {
    if (!complete) for (const adapter of modules.values()) adapter.dispose();
  }
}
