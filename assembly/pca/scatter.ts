// Means and scatter matrix Σ (x − mean)·(x − mean)ᵀ of the rows of X in one pass, block after block of rows: a block is
// centred about its own mean, and one more row, √(seen·b/(seen + b))·(mean of the block − mean so far), makes up for the
// difference (Chan, Golub and LeVeque 1983). Nothing large cancels, and memory does not depend on the number of rows.
// All of it in f64 for both precisions.

import { axpy, copy, scal } from "../blas/level1";
import { fill } from "../blas/matrix";
import { syrk } from "../blas/syrk";
import { at } from "../simd";
import { HEAD_BYTES, cursor, interrupted, openSlice, setCursor, spend } from "../slice";
import { contiguousRows, moveMean, shiftRow, sumShifted } from "./rows";

/** Rows of a block: with the correction as deep as a block of the product. */
const ROWS: i32 = 255;

const ROW = 0;

/** Bytes of working memory of scatter. */
export function scatterScratch<T>(n: i32): f64 {
  // the centred block, the block's rows where they need a copy, their mean's distance and their centre
  return <f64>n * (<f64>(8 * (ROWS + 1)) + <f64>(<i32>sizeof<T>() * ROWS) + 16) + <f64>HEAD_BYTES + 64;
}

/**
 * A slice: MORE or STOPPED until it is done, then 0. X is m×n with strides (rs, cs); mean (n) and c (n×n), of f64,
 * take the means of X and the scatter matrix of factor·X, a power of two that keeps squares in range. NaN or Infinity in X,
 * and overflow, make an entry of c's diagonal non-finite. work: scatterScratch(n) bytes, readied by begin.
 */
export function scatter<T>(
  m: i32, n: i32, x: usize, rs: i32, cs: i32, factor: f64, mean: usize, c: usize, work: usize,
): i32 {
  const y = work + HEAD_BYTES, delta = at<f64>(y, (ROWS + 1) * n), centre = at<f64>(delta, n), buffer = at<f64>(centre, n);
  openSlice(work);
  if (cursor(work, ROW) == 0) {
    fill<f64>(n, 0, mean);
    fill<f64>(n * n, 0, c);
  }
  for (let i = cursor(work, ROW); i < m; i += ROWS) {
    const some = min<i32>(ROWS, m - i);
    const rows = contiguousRows<T>(some, n, at<T>(x, i * rs), rs, cs, buffer);
    const depth = centreBlock<T>(i, some, n, rows, cs == 1 ? rs : n, factor, mean, delta, centre, y);
    syrk<f64>(n, depth, 1, y, 1, n, 1, c, n);
    setCursor(work, ROW, i + ROWS);
    if (spend(<f64>some * <f64>n * (<f64>n + 8)) && i + ROWS < m) return interrupted();
  }
  mirror(n, c);
  scal<f64>(n, 1 / factor, mean, 1);
  return 0;
}

/**
 * y <- the rows of a block (some×n of T, ldx apart) about their mean, and the correction below them; mean <- the mean of
 * `seen` rows before and these. Returns the rows of y.
 */
function centreBlock<T>(
  seen: i32, some: i32, n: i32, x: usize, ldx: i32, factor: f64, mean: usize, delta: usize, centre: usize, y: usize,
): i32 {
  if (seen == 0) {
    // any value near the data serves as the first centre
    fill<f64>(n, 0, centre);
    shiftRow<T, f64>(n, factor, x, centre, mean);
  }
  fill<f64>(n, 0, delta);
  sumShifted<T>(some, n, factor, x, ldx, mean, delta);
  copy<f64>(n, mean, 1, centre, 1);
  moveMean(n, 1 / <f64>some, delta, centre);
  for (let r = 0; r < some; r++) shiftRow<T, f64>(n, factor, at<T>(x, r * ldx), centre, at<f64>(y, r * n));
  if (seen == 0) {
    copy<f64>(n, centre, 1, mean, 1);
    return some;
  }
  const a = <f64>seen, b = <f64>some;
  const correction = at<f64>(y, some * n);
  fill<f64>(n, 0, correction);
  axpy<f64>(n, sqrt<f64>(a * (b / (a + b))) / b, delta, 1, correction, 1);
  moveMean(n, 1 / (a + b), delta, mean);
  return some + 1;
}

/** The lower triangle of C <- its upper one. */
function mirror(n: i32, c: usize): void {
  for (let i = 1; i < n; i++) copy<f64>(i, at<f64>(c, i), n, at<f64>(c, i * n), 1);
}
