// What init() runs once so that the engine compiles the hot functions before the first real call: engines count how much
// a function has run and compile it in the background between two of its calls.

import { gemm } from "./blas/gemm";
import { at } from "./simd";
import { gesvd, gesvdBegin, gesvdScratch } from "./svd/gesvd";

/** Order of the products. */
const SIDE: i32 = 64;

/** Order of the decompositions: large enough for every stage to run, small enough to be done at once. */
const ORDER: i32 = 40;

/** xGESVD with p vectors a side, by the driver that large matrices take. */
const THIN: i32 = 1, AUTO: i32 = 0;

/** Bytes of working memory of warmUp. */
export function warmUpBytes(): f64 {
  return 5 * <f64>(SIDE * SIDE) * 8 + gesvdScratch<f64>(ORDER, ORDER, THIN, AUTO);
}

/** Small products and decompositions in both precisions. */
export function warmUp(work: usize): void {
  for (let i = 0; i < 6; i++) {
    multiply<f32>(work, (i & 1) != 0);
    multiply<f64>(work, (i & 1) != 0);
  }
  for (let i = 0; i < 2; i++) {
    decompose<f32>(work);
    decompose<f64>(work);
  }
}

/** A matrix without structure: xLARAN's kind of generator, modulo 2^32. */
function scatter<T>(count: i32, x: usize): void {
  let state: u32 = 1;
  for (let i = 0; i < count; i++) {
    state = state * 1664525 + 1013904223;
    store<T>(at<T>(x, i), <T>(<f64>(<i32>state) / 2147483648.0));
  }
}

function multiply<T>(work: usize, transposed: bool): void {
  const a = work, b = at<T>(a, SIDE * SIDE), c = at<T>(b, SIDE * SIDE);
  scatter<T>(2 * SIDE * SIDE, a);
  const row = transposed ? 1 : SIDE, column = transposed ? SIDE : 1;
  gemm<T>(SIDE, SIDE, SIDE, <T>1, a, row, column, b, row, column, <T>0, c, SIDE);
}

function decompose<T>(work: usize): void {
  const square = ORDER * ORDER;
  const a = work, u = at<T>(a, square), s = at<T>(u, square), vt = at<T>(s, square), rest = at<T>(vt, 2 * square);
  scatter<T>(square, a);
  gesvdBegin<T>(rest);
  let more: i32;
  do more = gesvd<T>(ORDER, ORDER, THIN, AUTO, a, ORDER, 1, u, s, vt, rest);
  while (more < 0);
}
