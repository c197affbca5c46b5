// Long routines run in slices: between two of them the kernel has returned.

import { MORE } from "./exports.js";

/** Calls a sliced routine until it is done; what it returns then. */
export function complete(slice: () => number): number {
  let result: number;
  do {
    result = slice();
  } while (result === MORE);
  return result;
}
