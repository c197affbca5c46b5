// A worker of the page's own: the kernel and plain JavaScript take turns in it.

import { init } from "lowrank";
import { type DType, makeCases } from "./cases.js";

export interface Order {
  dtype: DType;
  threads: number | "auto";
  /** Whether plain JavaScript is measured, too. */
  plain: boolean;
}

/** Milliseconds that each is given, and the least number of runs. */
const SPENT = 400;
const RUNS = 3;

addEventListener("message", async ({ data }: MessageEvent<Order>) => {
  try {
    postMessage({ type: "ready", capabilities: await init({ threads: data.threads }) });
    for (const [i, { name, work, kernel, javascript, difference }] of makeCases(data.dtype).entries()) {
      // once without a clock: the engine compiles what it meets
      kernel();
      if (data.plain) javascript();
      const apart = data.plain ? difference() : undefined;
      const [ours, theirs] = [fastest(kernel), data.plain ? fastest(javascript) : undefined];
      postMessage({ type: "measured", i, name, work, ours, theirs, apart });
    }
    postMessage({ type: "done" });
  } catch (error) {
    postMessage({ type: "failed", message: (error as Error).message });
  }
});

/** Milliseconds of the fastest run. */
function fastest(f: () => void): number {
  let best = Number.POSITIVE_INFINITY;
  const end = performance.now() + SPENT;
  for (let runs = 0; runs < RUNS || performance.now() < end; runs++) {
    const start = performance.now();
    f();
    best = Math.min(best, performance.now() - start);
  }
  return best;
}
