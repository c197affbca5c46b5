// Loads the kernel of the project that runs: every test file starts with an initialised library.
import { readFile } from "node:fs/promises";
import { afterEach, beforeAll } from "vitest";
import { init } from "../../bindings/index.js";
import { kernel } from "../../bindings/load.js";
import { init as initSlim } from "../../bindings/slim.js";
import { BUILD, THREADS } from "./build.js";

beforeAll(async () => {
  if (BUILD === "debug") {
    await initSlim({ kernel: readFile("build/kernel.debug.wasm"), memory: { shared: false } });
  } else {
    await init({ build: BUILD, threads: THREADS });
    // a team shares whatever it can, however small
    kernel().common.setReluctance(0);
  }
});

// in the debug build: no call of the test wrote outside its blocks
afterEach(() => kernel().allocator.checkGuards());
