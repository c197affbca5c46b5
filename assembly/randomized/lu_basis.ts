// The cheap normaliser of power iterations: the columns of a tall matrix M (n×l) are replaced by those of P·L from its LU
// factorisation with partial pivoting, which span the same space and are well conditioned in practice; xGETRF. M is held by columns:
// row j of x is column j of M.
//
// Rows are not exchanged. The multipliers of step j are 1 in the pivot's row and 0 in the rows of earlier pivots, so
// an update of whole columns leaves zeros in the rows that are done: every loop runs over contiguous memory.

import { gemmSlice } from "../blas/gemm";
import { amax, axpy } from "../blas/level1";
import { at, lanes } from "../simd";
import { begin, cursor, HEAD_BYTES, interrupted, openSlice, setCursor, spend } from "../slice";

/** Columns that are factored before the others are brought up to date by one product. */
const PANEL: i32 = 16;

// cursors of the head
const COLUMN = 0, BLOCK = 1, UPDATING = 2;

/** Bytes of working memory of luBasis. */
export function luBasisScratch<T>(l: i32): f64 {
  return <f64>HEAD_BYTES + <f64>(PANEL * 4 + 64) + <f64>PANEL * <f64>l * <f64>sizeof<T>();
}

export function luBasisBegin(work: usize): void {
  begin(work);
}

/** A slice of x (l rows of n, ldx apart) <- P·L by columns: MORE until it is done, then 0. A zero column stays zero. */
export function luBasis<T>(l: i32, n: i32, x: usize, ldx: i32, work: usize): i32 {
  openSlice(work);
  const pivots = work + HEAD_BYTES, factors = pivots + 128;
  for (let j = cursor(work, COLUMN); j < l; j = cursor(work, COLUMN)) {
    const first = j - (j % PANEL), next = min<i32>(first + PANEL, l);
    if (cursor(work, UPDATING) == 0) {
      eliminate<T>(j, first, next, n, x, ldx, pivots);
      if (j + 1 == next && next < l) {
        solveFactors<T>(first, next, l, x, ldx, pivots, factors);
        setCursor(work, UPDATING, 1);
      } else {
        setCursor(work, COLUMN, j + 1);
      }
      if (spend(2 * <f64>(next - j) * <f64>n)) return interrupted();
      continue;
    }
    const rest = l - next, some = next - first;
    const done = gemmSlice<T>(
      work, BLOCK, rest, n, some, <T>-1, factors, some, 1, at<T>(x, first * ldx), ldx, 1, <T>1, at<T>(x, next * ldx), ldx,
    );
    if (!done) return interrupted();
    clearPivotRows<T>(first, next, l, x, ldx, pivots);
    setCursor(work, UPDATING, 0);
    setCursor(work, COLUMN, next);
  }
  return 0;
}

/** Column j becomes its multipliers; the columns behind it in the panel are brought up to date. */
function eliminate<T>(j: i32, first: i32, next: i32, n: i32, x: usize, ldx: i32, pivots: usize): void {
  const column = at<T>(x, j * ldx);
  const pivot = indexOfLargest<T>(n, column);
  store<i32>(pivots + 4 * (j - first), pivot);
  const value = load<T>(at<T>(column, pivot));
  if (value == <T>0) return;
  divide<T>(n, column, value);
  for (let c = j + 1; c < next; c++) {
    const other = at<T>(x, c * ldx);
    axpy<T>(n, <T>-load<T>(at<T>(other, pivot)), column, 1, other, 1);
    // 1·x − x is 0, but 0 times an overflow would not be
    store<T>(at<T>(other, pivot), <T>0);
  }
}

/** The first i with |x_i| = max |x|. */
function indexOfLargest<T>(n: i32, x: usize): i32 {
  const most = amax<T>(n, x, 1);
  let i = 0;
  const splat = v128.splat<T>(most);
  for (; i + lanes<T>() <= n; i += lanes<T>()) {
    if (v128.any_true(v128.eq<T>(v128.abs<T>(v128.load(at<T>(x, i))), splat))) break;
  }
  for (; i < n; i++) if (abs<T>(load<T>(at<T>(x, i))) == most) return i;
  return 0;
}

/** x <- x/value: not by the reciprocal, which may overflow and would not give a pivot of exactly 1. */
function divide<T>(n: i32, x: usize, value: T): void {
  const v = v128.splat<T>(value);
  let i = 0;
  for (; i + lanes<T>() <= n; i += lanes<T>()) {
    v128.store(x, v128.div<T>(v128.load(x), v));
    x += 16;
  }
  for (; i < n; i++) {
    store<T>(x, <T>(load<T>(x) / value));
    x += sizeof<T>();
  }
}

/** factors (rest × panel): how much of each column of the panel the columns behind it lose. */
function solveFactors<T>(first: i32, next: i32, l: i32, x: usize, ldx: i32, pivots: usize, factors: usize): void {
  const some = next - first;
  for (let c = next; c < l; c++) {
    const row = at<T>(factors, (c - next) * some);
    for (let t = 0; t < some; t++) {
      const pivot = load<i32>(pivots + 4 * t);
      let value = load<T>(at<T>(x, c * ldx + pivot));
      for (let i = 0; i < t; i++) {
        value = <T>(value - load<T>(at<T>(row, i)) * load<T>(at<T>(x, (first + i) * ldx + pivot)));
      }
      // a zero column has no pivot
      const own = load<T>(at<T>(x, (first + t) * ldx + pivot));
      store<T>(at<T>(row, t), own == <T>0 ? <T>0 : value);
    }
  }
}

/** The rows of a panel's pivots are done: what the product left there is rounding. */
function clearPivotRows<T>(first: i32, next: i32, l: i32, x: usize, ldx: i32, pivots: usize): void {
  for (let t = first; t < next; t++) {
    const pivot = load<i32>(pivots + 4 * (t - first));
    if (load<T>(at<T>(x, t * ldx + pivot)) == <T>0) continue;
    for (let c = next; c < l; c++) store<T>(at<T>(x, c * ldx + pivot), <T>0);
  }
}
