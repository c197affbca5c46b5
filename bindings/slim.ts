// The entry `lowrank/slim`: the same functions, the kernel supplied by the caller.

import { type Init, makeInit } from "./load.js";

export * from "./api.js";

/**
 * As `init` of `lowrank`, with the kernel from `options.kernel`: for runtimes that refuse to compile bytes, and for
 * pages that serve the .wasm file themselves (`lowrank/kernel.simd.wasm` and its siblings).
 *
 * @example
 * ```ts
 * import { readFile } from "node:fs/promises";
 * import { createRequire } from "node:module";
 * import { init } from "lowrank/slim";
 * const path = createRequire(import.meta.url).resolve("lowrank/kernel.simd.wasm");
 * await init({ kernel: readFile(path), memory: { shared: false } });
 * ```
 */
export const init: Init = /* @__PURE__ */ makeInit();
