// What the alignment of point sets needs beside products and an SVD: centred points, and the sign of a determinant. Points
// are the rows of X (m×n). Kabsch 1976; Umeyama 1991.

import { amax, axpy, scal, scalPower } from "../blas/level1";
import { fill, lacpy } from "../blas/matrix";
import { exponent } from "../machine";
import { at } from "../simd";
import { HEAD_BYTES, begin, interrupted, openSlice } from "../slice";
import { paddedLength } from "../svd/householder";
import { geqrfSlice, geqrfWork } from "../svd/qr_factor";

/**
 * y (m×n, row-major) <- X·2^-k, which brings max |x| into [1, 2), and with `mean` ≠ 0 less the mean of its rows, which goes to
 * mean (n). X has strides (rs, cs). Returns k.
 */
export function normalizePoints<T>(m: i32, n: i32, x: usize, rs: i32, cs: i32, y: usize, mean: usize): i32 {
  lacpy<T>(m, n, x, rs, cs, y, n);
  const most = amax<T>(m * n, y, 1), k = most == <T>0 ? 0 : exponent<T>(most);
  scalPower<T>(m * n, -k, y);
  if (mean == 0) return k;
  fill<T>(n, <T>0, mean);
  if (m == 0) return k;
  for (let i = 0; i < m; i++) axpy<T>(n, <T>1, at<T>(y, i * n), 1, mean, 1);
  scal<T>(n, <T>(<T>1 / <T>m), mean, 1);
  for (let i = 0; i < m; i++) axpy<T>(n, <T>-1, mean, 1, at<T>(y, i * n), 1);
  return k;
}

/** Bytes of working memory of determinantSign. */
export function determinantSignScratch<T>(n: i32): f64 {
  const ldt = <f64>paddedLength<T>(n);
  return ((<f64>n + 1) * ldt + <f64>geqrfWork(n, n)) * <f64>sizeof<T>() + <f64>HEAD_BYTES;
}

/** Readies determinantSign: copies W (n×n, row-major). */
export function determinantSignBegin<T>(n: i32, w: usize, work: usize): void {
  begin(work);
  lacpy<T>(n, n, w, n, 1, work + HEAD_BYTES, paddedLength<T>(n));
}

/**
 * A slice of the sign of det W, W as determinantSignBegin copied it: MORE or STOPPED (slice.ts) until it is known, then 1 if
 * it is negative, else 0. A reflector turns the sign, and so does a negative entry on R's diagonal.
 */
export function determinantSign<T>(n: i32, work: usize): i32 {
  const ldt = paddedLength<T>(n), t = work + HEAD_BYTES, tau = at<T>(t, n * ldt);
  openSlice(work);
  if (!geqrfSlice<T>(work, 0, 1, n, n, n, t, ldt, tau, at<T>(tau, ldt))) return interrupted();
  let turns = 0;
  for (let i = 0; i < n; i++) {
    if (load<T>(at<T>(tau, i)) != <T>0) turns++;
    if (load<T>(at<T>(t, i * ldt + i)) < <T>0) turns++;
  }
  return turns & 1;
}
