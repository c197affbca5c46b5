// Moments of the columns of X (m×n, strides rs and cs) in f64, and those of two sets of rows joined.

import { amax, copy, nrm2, scal } from "../blas/level1";
import { fill } from "../blas/matrix";
import { exponent } from "../machine";
import { at, get, loadPair, muladd, set, sum } from "../simd";
import { HEAD_BYTES, cursor, interrupted, openSlice, setCursor, spend } from "../slice";
import { index } from "../sparse/structure";
import { hypotenuse } from "../svd/householder";
import { contiguousRows, moveMean, shiftRow, sumShifted } from "./rows";

const ROWS: i32 = 255;

const ROW = 0;

/** Bytes of working memory of means. */
export function meansScratch<T>(n: i32): f64 {
  return <f64>n * <f64>(8 + ROWS * <i32>sizeof<T>()) + <f64>HEAD_BYTES;
}

/**
 * A slice of mean (n, f64) <- the means of the columns of factor·X, m >= 1: MORE or STOPPED until it is done, then 0.
 * Sums are of distances from the mean so far. work: meansScratch(n) bytes, readied by begin.
 */
export function means<T>(m: i32, n: i32, x: usize, rs: i32, cs: i32, factor: f64, mean: usize, work: usize): i32 {
  const delta = work + HEAD_BYTES, buffer = at<f64>(delta, n);
  openSlice(work);
  for (let i = cursor(work, ROW); i < m; i += ROWS) {
    const some = min<i32>(ROWS, m - i);
    const rows = contiguousRows<T>(some, n, at<T>(x, i * rs), rs, cs, buffer);
    fill<f64>(n, 0, delta);
    if (i == 0) shiftRow<T, f64>(n, factor, rows, delta, mean);
    sumShifted<T>(some, n, factor, rows, cs == 1 ? rs : n, mean, delta);
    moveMean(n, 1 / <f64>(i + some), delta, mean);
    setCursor(work, ROW, i + ROWS);
    if (spend(8 * <f64>some * <f64>n) && i + ROWS < m) return interrupted();
  }
  return 0;
}

/** floor(log2 max |x|) of X; 0 if all are 0. */
export function largestExponent<T>(m: i32, n: i32, x: usize, rs: i32, cs: i32): i32 {
  let most = <T>0;
  const byColumns = rs == 1 && cs != 1;
  const count = byColumns ? n : m;
  for (let i = 0; i < count; i++) {
    most = max<T>(most, byColumns ? amax<T>(m, at<T>(x, i * cs), 1) : amax<T>(n, at<T>(x, i * rs), cs));
  }
  return most == <T>0 ? 0 : exponent<T>(most);
}

/** Σ y² over m rows of n contiguous elements, in f64. */
export function sumSquares<T>(m: i32, n: i32, y: usize): f64 {
  let s: f64 = 0;
  for (let i = 0; i < m; i++) s += rowSquares<T>(n, at<T>(y, i * n));
  return s;
}

function rowSquares<T>(n: i32, y: usize): f64 {
  let v = v128.splat<f64>(0);
  let i = 0;
  for (; i + 2 <= n; i += 2) {
    const pair = loadPair<T>(y);
    v = muladd<f64>(pair, pair, v);
    y += 2 * sizeof<T>();
  }
  const last = i < n ? <f64>load<T>(y) : 0;
  return sum<f64>(v) + last * last;
}

/**
 * Joins two sets of rows, of `a` and of `b` rows: correction (n) <- √(ab/(a + b))·(meanB − meanA), the row whose scatter makes up
 * for the distance of the means; meanA <- the mean of all. All f64.
 */
export function joinMeans(n: i32, a: f64, b: f64, meanA: usize, meanB: usize, correction: usize): void {
  copy<f64>(n, meanB, 1, correction, 1);
  moveMean(n, -1, meanA, correction);
  moveMean(n, b / (a + b), correction, meanA);
  scal<f64>(n, sqrt<f64>(a * (b / (a + b))), correction, 1);
}

/** norms_j <- √(norms_j² + ‖column j of Y‖²), Y (m×n) and norms (n) of f64, without overflow. */
export function joinNorms(m: i32, n: i32, y: usize, norms: usize): void {
  for (let j = 0; j < n; j++) {
    const to = at<f64>(norms, j);
    store<f64>(to, hypotenuse<f64>(load<f64>(to), nrm2<f64>(m, at<f64>(y, j), n)));
  }
}

/** Bytes of working memory of columnSquares. */
export function columnSquaresScratch<T>(n: i32): f64 {
  return <f64>n * <f64>(8 + ROWS * <i32>sizeof<T>()) + <f64>HEAD_BYTES;
}

/** A slice of squares (n, f64) <- Σ (factor·x − mean)² of every column: MORE or STOPPED until it is done, then 0. */
export function columnSquares<T>(
  m: i32, n: i32, x: usize, rs: i32, cs: i32, factor: f64, mean: usize, squares: usize, work: usize,
): i32 {
  const distance = work + HEAD_BYTES, buffer = at<f64>(distance, n);
  openSlice(work);
  if (cursor(work, ROW) == 0) fill<f64>(n, 0, squares);
  for (let i = cursor(work, ROW); i < m; i += ROWS) {
    const some = min<i32>(ROWS, m - i);
    const rows = contiguousRows<T>(some, n, at<T>(x, i * rs), rs, cs, buffer), ldx = cs == 1 ? rs : n;
    for (let r = 0; r < some; r++) {
      shiftRow<T, f64>(n, factor, at<T>(rows, r * ldx), mean, distance);
      addSquares(n, distance, squares);
    }
    setCursor(work, ROW, i + ROWS);
    if (spend(8 * <f64>some * <f64>n) && i + ROWS < m) return interrupted();
  }
  return 0;
}

/** squares <- squares + y², n elements of f64. */
function addSquares(n: i32, y: usize, squares: usize): void {
  let i = 0;
  for (; i + 2 <= n; i += 2) {
    const v = v128.load(y);
    v128.store(squares, muladd<f64>(v, v, v128.load(squares)));
    y += 16;
    squares += 16;
  }
  if (i < n) store<f64>(squares, load<f64>(squares) + load<f64>(y) * load<f64>(y));
}

/**
 * The sum of the columns' variances (divided by m) of factor·A, a sparse matrix (m×n) of nnz stored elements: what is not
 * stored is 0. work: 2n elements of f64.
 */
export function csrVariance<T>(m: i32, nnz: i32, n: i32, data: usize, indices: usize, factor: f64, work: usize): f64 {
  const mean = work, stored = at<f64>(work, n);
  fill<f64>(2 * n, 0, work);
  for (let e = 0; e < nnz; e++) {
    const j = index(indices, e);
    set<f64>(mean, j, get<f64>(mean, j) + factor * <f64>get<T>(data, e));
    set<f64>(stored, j, get<f64>(stored, j) + 1);
  }
  let s: f64 = 0;
  for (let j = 0; j < n; j++) {
    const mu = get<f64>(mean, j) / <f64>m;
    set<f64>(mean, j, mu);
    s += (<f64>m - get<f64>(stored, j)) * mu * mu;
  }
  for (let e = 0; e < nnz; e++) {
    const distance = factor * <f64>get<T>(data, e) - get<f64>(mean, index(indices, e));
    s += distance * distance;
  }
  return s / <f64>m;
}
