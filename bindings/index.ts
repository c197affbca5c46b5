// The entry `lowrank`: kernel embedded, loaded by init().

import { embedded } from "./embedded_kernels.js";
import { type Init, makeInit } from "./load.js";

export * from "./api.js";

/**
 * Loads the kernel: picks the build with fused multiply-add where the engine has it, shared memory where the platform
 * allows it. Idempotent: concurrent and later calls share one promise; a failed call can be retried.
 *
 * @returns what capabilities() returns
 * @throws Error (code "unsupported", "blocked_by_csp") that says what the platform lacks; Error (code
 *   "already_initialized") if other options were given before; TypeError or RangeError for wrong options
 * @example
 * ```ts
 * import { init } from "lowrank";
 * const { build, sharedMemory } = await init();
 * console.log(build, sharedMemory);
 * ```
 */
export const init: Init = /* @__PURE__ */ makeInit(embedded);
