// C = X·diag(d)·Y: what the factors of an SVD are put together by: pseudo-inverse, polar factors.

import { scal } from "../blas/level1";
import { gemmSlice } from "../blas/gemm";
import { lacpy } from "../blas/matrix";
import { at } from "../simd";
import { HEAD_BYTES, begin, cursor, interrupted, openSlice, setCursor, spend } from "../slice";

/** Bytes of working memory of scaledProduct. */
export function scaledProductScratch<T>(n: i32, k: i32): f64 {
  return <f64>n * <f64>k * <f64>sizeof<T>() + <f64>HEAD_BYTES;
}

// cursors of the head
const PHASE = 0, I = 1;

/** Readies scaledProduct. */
export function scaledProductBegin<T>(work: usize): void {
  begin(work);
}

/**
 * A slice of C (m×n, row-major) <- X·diag(d)·Y: MORE or STOPPED (slice.ts) until it is done, then 0. X is m×k with strides
 * (rsx, csx), d has k elements, Y is k×n with strides (rsy, csy). work: scaledProductScratch(n, k) bytes, readied by
 * scaledProductBegin.
 */
export function scaledProduct<T>(
  m: i32, n: i32, k: i32, x: usize, rsx: i32, csx: i32, d: usize, y: usize, rsy: i32, csy: i32, c: usize, work: usize,
): i32 {
  const scaled = work + HEAD_BYTES;
  openSlice(work);
  if (cursor(work, PHASE) == 0) {
    if (!scaleRows<T>(work, k, n, d, y, rsy, csy, scaled)) return interrupted();
    setCursor(work, PHASE, 1);
  }
  return gemmSlice<T>(work, I, m, n, k, <T>1, x, rsx, csx, scaled, n, 1, <T>0, c, n) ? 0 : interrupted();
}

/** out (k×n, row-major) <- diag(d)·Y. */
function scaleRows<T>(head: usize, k: i32, n: i32, d: usize, y: usize, rsy: i32, csy: i32, out: usize): bool {
  for (let i = cursor(head, I); i < k; i += 4) {
    const some = min<i32>(4, k - i);
    lacpy<T>(some, n, at<T>(y, i * rsy), rsy, csy, at<T>(out, i * n), n);
    for (let j = i; j < i + some; j++) scal<T>(n, load<T>(at<T>(d, j)), at<T>(out, j * n), 1);
    setCursor(head, I, i + 4);
    if (spend(8 * <f64>some * <f64>n)) return false;
  }
  setCursor(head, I, 0);
  return true;
}
