// From data to scores and back: Z = (X − mean)·Vᵀ·diag(scale)⁻¹ and X = Z·diag(scale)·V + mean, block after block of rows.
// X (m×n), Z (m×k), V (k×n, row-major), mean (n) and scale (k) of f64; 0 for scale: all ones.

import { gemm } from "../blas/gemm";
import { at } from "../simd";
import { HEAD_BYTES, cursor, interrupted, openSlice, setCursor, spend } from "../slice";
import { contiguousRows, shiftRow, unshiftRow } from "./rows";

const ROWS: i32 = 128;

const ROW = 0;

/** Bytes of working memory of project, reconstruct and centre. */
export function projectScratch<T>(n: i32): f64 {
  return 2 * <f64>n * <f64>(ROWS * <i32>sizeof<T>()) + <f64>HEAD_BYTES;
}

/** A slice of Z, row-major: MORE or STOPPED until it is done, then 0. X has strides (rs, cs). */
export function project<T>(
  m: i32, n: i32, k: i32, x: usize, rs: i32, cs: i32, mean: usize, v: usize, scale: usize, z: usize, work: usize,
): i32 {
  const y = work + HEAD_BYTES, buffer = at<T>(y, ROWS * n);
  openSlice(work);
  for (let i = cursor(work, ROW); i < m; i += ROWS) {
    const some = min<i32>(ROWS, m - i), to = at<T>(z, i * k);
    const rows = contiguousRows<T>(some, n, at<T>(x, i * rs), rs, cs, buffer), ldx = cs == 1 ? rs : n;
    for (let r = 0; r < some; r++) shiftRow<T, T>(n, 1, at<T>(rows, r * ldx), mean, at<T>(y, r * n));
    gemm<T>(some, k, n, <T>1, y, n, 1, v, 1, n, <T>0, to, k);
    if (scale != 0) for (let r = 0; r < some; r++) divideRow<T>(k, at<T>(to, r * k), scale);
    setCursor(work, ROW, i + ROWS);
    if (spend(2 * <f64>some * <f64>n * <f64>(k + 4)) && i + ROWS < m) return interrupted();
  }
  return 0;
}

/** A slice of X, row-major: MORE or STOPPED until it is done, then 0. Z has strides (rs, cs). work: projectScratch(k). */
export function reconstruct<T>(
  m: i32, n: i32, k: i32, z: usize, rs: i32, cs: i32, mean: usize, v: usize, scale: usize, x: usize, work: usize,
): i32 {
  const y = work + HEAD_BYTES, buffer = at<T>(y, ROWS * k);
  openSlice(work);
  for (let i = cursor(work, ROW); i < m; i += ROWS) {
    const some = min<i32>(ROWS, m - i), to = at<T>(x, i * n);
    let rows = contiguousRows<T>(some, k, at<T>(z, i * rs), rs, cs, buffer), ldz = cs == 1 ? rs : k;
    if (scale != 0) {
      for (let r = 0; r < some; r++) multiplyRow<T>(k, at<T>(rows, r * ldz), scale, at<T>(y, r * k));
      rows = y;
      ldz = k;
    }
    gemm<T>(some, n, k, <T>1, rows, ldz, 1, v, n, 1, <T>0, to, n);
    for (let r = 0; r < some; r++) unshiftRow<T>(n, mean, at<T>(to, r * n));
    setCursor(work, ROW, i + ROWS);
    if (spend(2 * <f64>some * <f64>n * <f64>(k + 4)) && i + ROWS < m) return interrupted();
  }
  return 0;
}

/** A slice of y (m×n of U, row-major) <- factor·X − c, c of f64: MORE or STOPPED until it is done, then 0. */
export function centre<T, U>(
  m: i32, n: i32, x: usize, rs: i32, cs: i32, factor: f64, c: usize, y: usize, work: usize,
): i32 {
  const buffer = work + HEAD_BYTES;
  openSlice(work);
  for (let i = cursor(work, ROW); i < m; i += ROWS) {
    const some = min<i32>(ROWS, m - i);
    const rows = contiguousRows<T>(some, n, at<T>(x, i * rs), rs, cs, buffer), ldx = cs == 1 ? rs : n;
    for (let r = 0; r < some; r++) shiftRow<T, U>(n, factor, at<T>(rows, r * ldx), c, at<U>(y, (i + r) * n));
    setCursor(work, ROW, i + ROWS);
    if (spend(8 * <f64>some * <f64>n) && i + ROWS < m) return interrupted();
  }
  return 0;
}

/** z (n) <- z / scale, scale of f64. */
function divideRow<T>(n: i32, z: usize, scale: usize): void {
  for (let j = 0; j < n; j++) {
    store<T>(z, <T>(<f64>load<T>(z) / load<f64>(scale)));
    z += sizeof<T>();
    scale += 8;
  }
}

/** y (n) <- z·scale, scale of f64. */
function multiplyRow<T>(n: i32, z: usize, scale: usize, y: usize): void {
  for (let j = 0; j < n; j++) {
    store<T>(y, <T>(<f64>load<T>(z) * load<f64>(scale)));
    z += sizeof<T>();
    y += sizeof<T>();
    scale += 8;
  }
}
