// The kernel's memory, which the library keeps to itself: a sum over the very bytes of a tensor needs it.

import { init } from "./lowrank.mjs";

/** init(), and the memory that it made. */
export async function initWithMemory(options) {
  const { Memory } = WebAssembly;
  let memory;
  WebAssembly.Memory = class extends Memory {
    constructor(descriptor) {
      super(descriptor);
      memory = this;
    }
  };
  try {
    return { capabilities: await init(options), memory };
  } finally {
    WebAssembly.Memory = Memory;
  }
}
