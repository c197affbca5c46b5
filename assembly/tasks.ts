// The tasks that a team shares (team.ts), by number: what a tile of each computes.

import { multiplyTile, packTile } from "./blas/gemm";
import { gemvTile } from "./blas/level2";
import { mergeTile, subtreeTile } from "./svd/bidiagonal_dc";
import { sweepsTile } from "./svd/bidiagonal_qr";
import { readPart } from "./svd/bidiagonalize";

// An even number for f32, and the next one for f64; others are nothing, for measuring a fork and a join.
export const PACK: i32 = 2;
export const MULTIPLY: i32 = 4;
export const TRAILING: i32 = 6;
export const SUBTREES: i32 = 8;
export const MERGE: i32 = 10;
export const GEMV: i32 = 12;
export const SWEEPS: i32 = 14;

/** The number of a task in a precision. */
// @ts-ignore: decorator
@inline export function taskOf<T>(task: i32): i32 {
  return task + <i32>(sizeof<T>() == 8);
}

export function runTile(task: i32, base: usize, tile: i32): void {
  switch (task) {
    case PACK:
      packTile<f32>(base, tile);
      break;
    case PACK + 1:
      packTile<f64>(base, tile);
      break;
    case MULTIPLY:
      multiplyTile<f32>(base, tile);
      break;
    case MULTIPLY + 1:
      multiplyTile<f64>(base, tile);
      break;
    case TRAILING:
      readPart<f32>(base, tile);
      break;
    case TRAILING + 1:
      readPart<f64>(base, tile);
      break;
    case SUBTREES:
      subtreeTile<f32>(base, tile);
      break;
    case SUBTREES + 1:
      subtreeTile<f64>(base, tile);
      break;
    case MERGE:
      mergeTile<f32>(base, tile);
      break;
    case MERGE + 1:
      mergeTile<f64>(base, tile);
      break;
    // the other way is taken where there is no team
    case GEMV:
      if (ASC_FEATURE_THREADS) gemvTile<f32>(base, tile);
      break;
    case GEMV + 1:
      if (ASC_FEATURE_THREADS) gemvTile<f64>(base, tile);
      break;
    case SWEEPS:
      sweepsTile<f32>(base, tile);
      break;
    case SWEEPS + 1:
      sweepsTile<f64>(base, tile);
      break;
    default:
      break;
  }
}
