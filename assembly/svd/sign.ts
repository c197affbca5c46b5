// The sign of a pair of singular vectors is free: a rule makes results comparable.

import { scal } from "../blas/level1";
import { scaleColumns } from "../blas/matrix";
import { at } from "../simd";

/**
 * Makes the entry of largest magnitude in each column of u (m×k, row-major) positive, the first of equals, and turns the row of vt
 * (k×n, row-major) with it; scikit-learn's svd_flip, u-based. signs: k elements, left with ±1.
 */
export function flipByColumns<T>(m: i32, n: i32, k: i32, u: usize, vt: usize, signs: usize): void {
  for (let j = 0; j < k; j++) store<T>(at<T>(signs, j), <T>0);
  for (let i = 0; i < m; i++) keepLargest<T>(k, at<T>(u, i * k), signs);
  for (let j = 0; j < k; j++) {
    const negative = load<T>(at<T>(signs, j)) < <T>0;
    store<T>(at<T>(signs, j), negative ? <T>-1 : <T>1);
    if (negative) scal<T>(n, <T>-1, at<T>(vt, j * n), 1);
  }
  scaleColumns<T>(m, k, signs, u);
}

/** most_j <- x_j where it is larger in magnitude. */
function keepLargest<T>(k: i32, x: usize, most: usize): void {
  for (let j = 0; j < k; j++) {
    const value = load<T>(at<T>(x, j));
    if (abs<T>(value) > abs<T>(load<T>(at<T>(most, j)))) store<T>(at<T>(most, j), value);
  }
}
