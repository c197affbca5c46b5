// What init() runs once so that the engine compiles the hot functions before the first real call: engines count how much
// a function has run and compile it in the background between two of its calls. Products only: decompositions, too, would
// leave a queue of functions to compile, and the first product would wait in it.

import { gemm } from "./blas/gemm";
import { at } from "./simd";

/** Order of the products. */
const SIDE: i32 = 64;

/** Bytes of working memory of warmUp. */
export function warmUpBytes(): usize {
  return 3 * <usize>(SIDE * SIDE) * 8;
}

/** A few small products in both precisions, with and without transposition. */
export function warmUp(work: usize): void {
  for (let i = 0; i < 6; i++) {
    multiply<f32>(work, (i & 1) != 0);
    multiply<f64>(work, (i & 1) != 0);
  }
}

function multiply<T>(work: usize, transposed: bool): void {
  const a = work, b = at<T>(a, SIDE * SIDE), c = at<T>(b, SIDE * SIDE);
  for (let i = 0; i < 2 * SIDE * SIDE; i++) store<T>(at<T>(a, i), <T>(i & 7));
  const row = transposed ? 1 : SIDE, column = transposed ? SIDE : 1;
  gemm<T>(SIDE, SIDE, SIDE, <T>1, a, row, column, b, row, column, <T>0, c, SIDE);
}
