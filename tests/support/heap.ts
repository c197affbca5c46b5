// How many bytes of the JavaScript heap a call allocates.

import v8 from "node:v8";
import vm from "node:vm";

v8.setFlagsFromString("--expose-gc");
const collect = vm.runInNewContext("gc") as () => void;

/** Bytes that f allocates a call, garbage included; f is called often enough to be compiled first. */
export function bytesPerCall(f: () => void, calls = 4000): number {
  for (let i = 0; i < 3 * calls; i++) f();
  // the smallest of a few rounds: compilers and timers allocate, too
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round++) {
    collect();
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < calls; i++) f();
    least = Math.min(least, (process.memoryUsage().heapUsed - before) / calls);
  }
  return least;
}
