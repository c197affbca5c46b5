// The library loaded once more, with a kernel and a memory of its own, beside the one that setup.ts started.

import { readFile } from "node:fs/promises";
import { vi } from "vitest";
import type { InitOptions } from "../../bindings/index.js";
import { BUILD } from "./build.js";

/** New instances of all entries, not initialised. */
export async function freshModules() {
  vi.resetModules();
  return {
    library: await import("../../bindings/index.js"),
    slim: await import("../../bindings/slim.js"),
    lora: await import("../../bindings/lora.js"),
    load: await import("../../bindings/load.js"),
  };
}

/** The same, initialised with the build of the project that runs; the debug kernel exists for plain memory only. */
export async function fresh(memory: NonNullable<InitOptions["memory"]> & { shared: boolean }) {
  const modules = await freshModules();
  const limited = { maximumMiB: 256, ...memory };
  if (BUILD === "debug" && !memory.shared) {
    await modules.slim.init({ kernel: readFile("build/kernel.debug.wasm"), memory: limited });
  } else {
    await modules.library.init({ build: BUILD === "debug" ? "simd" : BUILD, memory: limited });
  }
  return modules;
}

/** Runs the garbage collector and the callbacks that wait for it, until `done` is true or so many rounds have passed. */
export async function collectGarbage(done: () => boolean, rounds = 500): Promise<void> {
  const turn = () => new Promise((resolve) => setTimeout(resolve, 1));
  for (let round = 0; round < rounds && !done(); round++) {
    // what `done` looked at through a WeakRef stays alive until the turn ends
    await turn();
    (globalThis as unknown as { gc(): void }).gc();
    await turn();
  }
}
