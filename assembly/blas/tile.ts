// The register tile: C[MR×NR] <- alpha·A·B + beta·C for one packed panel of A and one of B.
// f32 4×8, f64 4×4: eight accumulators either way. A is broadcast by vector loads and shuffles, not by load-splat:
// engines that check the bounds of every load pay for one load instead of four.

import { at, madd } from "../simd";

/**
 * C <- alpha·A·B + beta·C. a: k×MR packed, b: k×NR packed, c: MR rows of NR elements, ldc elements apart.
 * beta = 0 does not read C.
 */
export function tile<T>(k: i32, alpha: T, a: usize, b: usize, beta: T, c: usize, ldc: i32): void {
  const zero = v128.splat<T>(<T>0);
  let c00 = zero, c01 = zero, c10 = zero, c11 = zero, c20 = zero, c21 = zero, c30 = zero, c31 = zero;
  if (sizeof<T>() == 4) {
    for (let p = k; p > 0; p--) {
      const b0 = v128.load(b), b1 = v128.load(b, 16), v = v128.load(a);
      const a0 = v128.shuffle<f32>(v, v, 0, 0, 0, 0);
      c00 = madd<T>(a0, b0, c00);
      c01 = madd<T>(a0, b1, c01);
      const a1 = v128.shuffle<f32>(v, v, 1, 1, 1, 1);
      c10 = madd<T>(a1, b0, c10);
      c11 = madd<T>(a1, b1, c11);
      const a2 = v128.shuffle<f32>(v, v, 2, 2, 2, 2);
      c20 = madd<T>(a2, b0, c20);
      c21 = madd<T>(a2, b1, c21);
      const a3 = v128.shuffle<f32>(v, v, 3, 3, 3, 3);
      c30 = madd<T>(a3, b0, c30);
      c31 = madd<T>(a3, b1, c31);
      a += 16;
      b += 32;
    }
  } else {
    for (let p = k; p > 0; p--) {
      const b0 = v128.load(b), b1 = v128.load(b, 16), v = v128.load(a), w = v128.load(a, 16);
      const a0 = v128.shuffle<f64>(v, v, 0, 0);
      c00 = madd<T>(a0, b0, c00);
      c01 = madd<T>(a0, b1, c01);
      const a1 = v128.shuffle<f64>(v, v, 1, 1);
      c10 = madd<T>(a1, b0, c10);
      c11 = madd<T>(a1, b1, c11);
      const a2 = v128.shuffle<f64>(w, w, 0, 0);
      c20 = madd<T>(a2, b0, c20);
      c21 = madd<T>(a2, b1, c21);
      const a3 = v128.shuffle<f64>(w, w, 1, 1);
      c30 = madd<T>(a3, b0, c30);
      c31 = madd<T>(a3, b1, c31);
      a += 32;
      b += 32;
    }
  }
  const row = at<T>(0, ldc);
  const av = v128.splat<T>(alpha), bv = v128.splat<T>(beta);
  const r1 = c + row, r2 = r1 + row, r3 = r2 + row;
  if (beta == <T>0) {
    v128.store(c, v128.mul<T>(av, c00));
    v128.store(c, v128.mul<T>(av, c01), 16);
    v128.store(r1, v128.mul<T>(av, c10));
    v128.store(r1, v128.mul<T>(av, c11), 16);
    v128.store(r2, v128.mul<T>(av, c20));
    v128.store(r2, v128.mul<T>(av, c21), 16);
    v128.store(r3, v128.mul<T>(av, c30));
    v128.store(r3, v128.mul<T>(av, c31), 16);
  } else {
    accumulate<T>(c, av, bv, c00, c01);
    accumulate<T>(r1, av, bv, c10, c11);
    accumulate<T>(r2, av, bv, c20, c21);
    accumulate<T>(r3, av, bv, c30, c31);
  }
}

/** One row of the tile: c <- alpha·v + beta·c. */
// @ts-ignore: decorator
@inline function accumulate<T>(c: usize, alpha: v128, beta: v128, v0: v128, v1: v128): void {
  v128.store(c, madd<T>(alpha, v0, v128.mul<T>(beta, v128.load(c))));
  v128.store(c, madd<T>(alpha, v1, v128.mul<T>(beta, v128.load(c, 16))), 16);
}
