// Directions: their signs, and their length restored.

import { copy, scal } from "../blas/level1";
import { at } from "../simd";

/**
 * Rows of V (k×n, row-major) <- ± rows so that the entry of largest magnitude, the first of equals, is positive:
 * scikit-learn's svd_flip(u_based_decision=False).
 */
export function flipSigns<T>(k: i32, n: i32, v: usize): void {
  for (let i = 0; i < k; i++) flipRow<T>(n, at<T>(v, i * n));
}

function flipRow<T>(n: i32, v: usize): void {
  let most = <T>0, top = <T>0;
  for (let j = 0; j < n; j++) {
    const x = load<T>(at<T>(v, j));
    if (abs<T>(x) > most) {
      most = abs<T>(x);
      top = x;
    }
  }
  if (top < <T>0) scal<T>(n, <T>-1, v, 1);
}

/** out (k×n) <- diag(s)·V, s (k), V (k×n, row-major). */
export function weightedRows<T>(k: i32, n: i32, s: usize, v: usize, out: usize): void {
  for (let i = 0; i < k; i++) {
    const row = at<T>(out, i * n);
    copy<T>(n, at<T>(v, i * n), 1, row, 1);
    scal<T>(n, load<T>(at<T>(s, i)), row, 1);
  }
}
