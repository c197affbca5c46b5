// Seeds and streams of the kernel's random numbers (assembly/random/philox.ts): element i of (seed, stream) is a fixed
// number, whatever else was drawn.

import { checkInteger } from "./check.js";

/** @internal The stream of each purpose, so that one seed never gives two of them the same numbers. */
export const STREAM = {
  /** The test matrix of a randomized decomposition. */
  sketch: 0,
  /** The vectors that estimate its error. */
  probe: 1,
  /** Start vectors of iterations. */
  start: 2,
  /** Initial factors and weights. */
  init: 3,
  /** Entries that are dropped. */
  drop: 4,
  /** The order of rows. */
  order: 5,
} as const;

/** @internal A seed: an integer of 32 bits, 0 by default. */
export function checkSeed(value: number | undefined, argument = "seed"): number {
  return value === undefined ? 0 : checkInteger(value, argument, 0, 2 ** 32 - 1);
}
