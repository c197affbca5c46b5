// Triangular matrices.

import { at, get, set } from "../simd";
import { cursor, setCursor, spend } from "../slice";
import { gemm } from "./gemm";
import { axpy, dot, scal } from "./level1";
import { fill } from "./matrix";

const ROWS: i32 = 32;
const COLUMNS: i32 = 256;

/** Working memory of trtri in elements. */
export const TRTRI_WORK: i32 = ROWS * COLUMNS;

/**
 * A slice of the inversion; true when it is complete. w (n×n, ldw, zeros above the diagonal) <- L⁻¹ for the lower
 * triangle of l (ldl), by block rows: [L₁ 0; K L₂] has the inverse [W₁ 0; −W₂·K·W₁ W₂]. A zero on the diagonal gives
 * Infinity and NaN. The head's cursors `row` and `column` start at 0. work: TRTRI_WORK elements. xTRTRI.
 */
export function trtriSlice<T>(
  head: usize, row: i32, column: i32, n: i32, l: usize, ldl: i32, w: usize, ldw: i32, work: usize,
): bool {
  for (let i = cursor(head, row); i < n; i += ROWS) {
    const rows = min<i32>(ROWS, n - i), corner = at<T>(w, i * ldw + i);
    let j = cursor(head, column);
    for (let r = 0; r < rows && j == 0; r++) invertRow<T>(r, n - i, at<T>(l, (i + r) * ldl + i), corner, ldw);
    while (j < i) {
      const some = min<i32>(COLUMNS, i - j), k = i - j;
      gemm<T>(rows, some, k, <T>1, at<T>(l, i * ldl + j), ldl, 1, at<T>(w, j * ldw + j), ldw, 1, <T>0, work, some);
      gemm<T>(rows, some, rows, <T>-1, corner, ldw, 1, work, some, 1, <T>0, at<T>(w, i * ldw + j), ldw);
      j += some;
      setCursor(head, column, j);
      if (spend(2 * <f64>rows * <f64>some * <f64>(k + rows))) return false;
    }
    setCursor(head, column, 0);
    setCursor(head, row, i + ROWS);
  }
  setCursor(head, row, 0);
  return true;
}

/** Row r of w (ldw), n elements, from row r of a lower triangle and the rows of w above: (e_r − Σ l_j·w_j) / l_r. */
function invertRow<T>(r: i32, n: i32, l: usize, w: usize, ldw: i32): void {
  const row = at<T>(w, r * ldw);
  fill<T>(n, <T>0, row);
  for (let j = 0; j < r; j++) axpy<T>(j + 1, <T>-load<T>(at<T>(l, j)), at<T>(w, j * ldw), 1, row, 1);
  store<T>(at<T>(row, r), <T>1);
  scal<T>(r + 1, <T>(<T>1 / load<T>(at<T>(l, r))), row, 1);
}

/** x (n, contiguous) <- U⁻¹·x for the upper triangle U (n×n, row-major, rows lda apart). */
export function trsv<T>(n: i32, u: usize, lda: i32, x: usize): void {
  for (let i = n - 1; i >= 0; i--) {
    const row = at<T>(u, i * lda + i);
    const s = dot<T>(n - 1 - i, at<T>(row, 1), 1, at<T>(x, i + 1), 1);
    set<T>(x, i, <T>((get<T>(x, i) - s) / get<T>(row, 0)));
  }
}

/**
 * A slice of the solution of R·y = x, or with `transposed` Rᵀ·y = x, for every row x of X (rows×n, ldx), in place; true when
 * it is complete. R (n×n, upper triangular, no zero on its diagonal) is held by columns: column j is row j of r (ldr). The
 * head's cursor `slot` starts at 0. xTRSM.
 */
export function trsmSlice<T>(
  head: usize, slot: i32, transposed: bool, rows: i32, n: i32, r: usize, ldr: i32, x: usize, ldx: i32,
): bool {
  const blocks = (n + ROWS - 1) / ROWS;
  for (let done = cursor(head, slot); done < blocks; done++) {
    const i = (transposed ? done : blocks - 1 - done) * ROWS, some = min<i32>(ROWS, n - i);
    const corner = at<T>(r, i * ldr + i), part = at<T>(x, i);
    if (transposed) {
      gemm<T>(rows, some, i, <T>-1, x, ldx, 1, at<T>(r, i * ldr), 1, ldr, <T>1, part, ldx);
      for (let j = 0; j < rows; j++) forward<T>(some, corner, ldr, at<T>(part, j * ldx));
    } else {
      for (let j = 0; j < rows; j++) backward<T>(some, corner, ldr, at<T>(part, j * ldx));
      gemm<T>(rows, i, some, <T>-1, part, ldx, 1, at<T>(r, i * ldr), ldr, 1, <T>1, x, ldx);
    }
    setCursor(head, slot, done + 1);
    if (spend(2 * <f64>rows * <f64>some * <f64>(i + some))) return false;
  }
  setCursor(head, slot, 0);
  return true;
}

/** x <- R⁻¹·x, n elements. */
function backward<T>(n: i32, r: usize, ldr: i32, x: usize): void {
  for (let j = n - 1; j >= 0; j--) {
    const column = at<T>(r, j * ldr), y = <T>(load<T>(at<T>(x, j)) / load<T>(at<T>(column, j)));
    store<T>(at<T>(x, j), y);
    axpy<T>(j, <T>-y, column, 1, x, 1);
  }
}

/** x <- R⁻ᵀ·x, n elements. */
function forward<T>(n: i32, r: usize, ldr: i32, x: usize): void {
  for (let j = 0; j < n; j++) {
    const column = at<T>(r, j * ldr);
    store<T>(at<T>(x, j), <T>((load<T>(at<T>(x, j)) - dot<T>(j, column, 1, x, 1)) / load<T>(at<T>(column, j))));
  }
}
