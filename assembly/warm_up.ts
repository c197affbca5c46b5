// What init() runs once so that the engine compiles the hot functions before the first real call: engines count how much
// a function has run and compile it in the background between two of its calls.

import { gemm } from "./blas/gemm";
import { fill } from "./blas/matrix";
import { at } from "./simd";

const SIDE: i32 = 64;

/** Working memory of warmUp. */
export const WARM_UP_BYTES: usize = 3 * <usize>(SIDE * SIDE) * 8;

/** A few small products in both precisions, with and without transposition. */
export function warmUp(work: usize): void {
  for (let i = 0; i < 6; i++) {
    multiply<f32>(work, (i & 1) != 0);
    multiply<f64>(work, (i & 1) != 0);
  }
}

function multiply<T>(work: usize, transposed: bool): void {
  const a = work, b = at<T>(a, SIDE * SIDE), c = at<T>(b, SIDE * SIDE);
  fill<T>(2 * SIDE * SIDE, <T>1, a);
  const row = transposed ? 1 : SIDE, column = transposed ? SIDE : 1;
  gemm<T>(SIDE, SIDE, SIDE, <T>1, a, row, column, b, row, column, <T>0, c, SIDE);
}
