// Block sizes of the packed product, in BLIS's names, and the memory that packing needs.
// `npm run bench -- gemm` prints what they give.

import { ARGUMENT_SPACE, setArgumentSpace } from "../team";

/** Rows of the register tile: with NR, eight accumulators, as many as V8's fifteen vector registers hold beside the operands. */
export const MR: i32 = 4;

/** Columns of the register tile: two vectors. */
// @ts-ignore: decorator
@inline export function NR<T>(): i32 {
  return 32 / <i32>sizeof<T>();
}

/** Depth of a block: an A panel (MR×KC) and a B panel (KC×NR) stay in the first-level cache together. */
export const KC: i32 = 256;

/** Rows of a packed block of A, KC deep: at most 128 KiB (f32) or 256 KiB (f64), for the second-level cache. */
export const MC: i32 = 128;

/** Columns of a packed block of B, KC deep. */
export const NC: i32 = 1024;

/** Bytes of packing memory of one instance: a block of A, a block of B, one spilled tile, sized for f64; arguments of tasks. */
export const PACK_BYTES: usize = <usize>(MC * KC + KC * NC + 16) * 8 + ARGUMENT_SPACE;

// Set once by the bindings; each instance of a team has its own.
let packBase: usize = 0;

/** Hands this instance its PACK_BYTES of packing memory, 64-byte aligned. */
export function setPackMemory(base: usize): void {
  packBase = base;
  setArgumentSpace(base + PACK_BYTES - ARGUMENT_SPACE);
}

// @ts-ignore: decorator
@inline export function packedA(): usize {
  return packBase;
}

// @ts-ignore: decorator
@inline export function packedB(): usize {
  return packBase + <usize>(MC * KC) * 8;
}

// @ts-ignore: decorator
@inline export function spilledTile(): usize {
  return packBase + <usize>(MC * KC + KC * NC) * 8;
}

/** The block length that cuts `extent` into equal parts of at most `most`, rounded up to a multiple of `unit`. */
export function balanced(extent: i32, most: i32, unit: i32): i32 {
  const parts = (extent + most - 1) / most;
  if (parts <= 1) return extent;
  const part = (extent + parts - 1) / parts;
  return ((part + unit - 1) / unit) * unit;
}
