// QR factorisation M = Q·R by blocked Householder reflectors; xGEQRF. M (m×n) is held by columns: row j of the memory is
// column j of M.

import { copy } from "../blas/level1";
import { gemv, ger } from "../blas/level2";
import { fill } from "../blas/matrix";
import { at } from "../simd";
import { cursor, setCursor, spend } from "../slice";
import { BLOCK, larfb, larfg, larft } from "./householder";

/** Working memory of geqrf in elements; n counts all columns. */
export function geqrfWork(m: i32, n: i32): i32 {
  return BLOCK * m + BLOCK * BLOCK + 2 * BLOCK * n;
}

/**
 * A slice of the factorisation of M's first p columns, p <= min(m, n); true when it is complete. t (n rows of m, ldt
 * apart): column j < p of M below its diagonal <- reflector j, on and above it <- column j of R; the columns behind them
 * <- Qᵀ times them: the rest of R, or right-hand sides. tau: p elements; work: geqrfWork(m, n) elements, which keep their
 * content between slices. The head's cursors `column` and `row` start at 0.
 */
export function geqrfSlice<T>(
  head: usize, column: i32, row: i32, m: i32, n: i32, p: i32, t: usize, ldt: i32, tau: usize, work: usize,
): bool {
  const v = work, s = at<T>(v, BLOCK * m), rest = at<T>(s, BLOCK * BLOCK);
  for (let c = cursor(head, column); c < p; c++) {
    const i = c % BLOCK, first = c - i, block = min<i32>(BLOCK, p - first), length = m - first, next = first + block;
    let j = cursor(head, row);
    if (j == 0) {
      factorColumn<T>(m, c, i, block, t, ldt, tau, at<T>(v, i * length), rest);
      j = next;
      if (c + 1 == next && next < n) larft<T>(block, length, v, at<T>(tau, first), s);
      setCursor(head, row, j);
      if (spend(4 * <f64>(m - c) * <f64>(block - i))) return false;
    }
    // the last column of a panel is followed by the update of the columns behind it
    const most = max<i32>(8, <i32>(3e7 / (4 * <f64>BLOCK * <f64>length)));
    while (c + 1 == next && j < n) {
      const some = min<i32>(most, n - j);
      larfb<T>(false, some, length, block, v, length, s, at<T>(t, j * ldt + first), ldt, rest);
      j += some;
      setCursor(head, row, j);
      if (spend(4 * <f64>some * <f64>length * <f64>block)) return false;
    }
    setCursor(head, row, 0);
    setCursor(head, column, c + 1);
  }
  setCursor(head, column, 0);
  return true;
}

/** Column c, the i-th of its panel of `block`: its reflector, also into v, and the columns behind it in the panel. */
function factorColumn<T>(
  m: i32, c: i32, i: i32, block: i32, t: usize, ldt: i32, tau: usize, v: usize, work: usize,
): void {
  const diagonal = at<T>(t, c * ldt + c);
  const factor = larfg<T>(m - c, diagonal, at<T>(diagonal, 1));
  store<T>(at<T>(tau, c), factor);
  fill<T>(i, <T>0, v);
  const reflector = at<T>(v, i);
  copy<T>(m - c, diagonal, 1, reflector, 1);
  store<T>(reflector, <T>1);
  // columns are rows of the memory
  const others = block - i - 1, next = at<T>(t, (c + 1) * ldt + c);
  if (others > 0 && factor != <T>0) {
    gemv<T>(false, others, m - c, <T>1, next, ldt, reflector, 1, <T>0, work, 1);
    ger<T>(others, m - c, <T>-factor, work, 1, reflector, next, ldt);
  }
}

/** r (n rows, ldr apart, held by columns) <- the upper triangle of geqrf's t, zeros below. */
export function copyR<T>(n: i32, t: usize, ldt: i32, r: usize, ldr: i32): void {
  for (let j = 0; j < n; j++) {
    copy<T>(j + 1, at<T>(t, j * ldt), 1, at<T>(r, j * ldr), 1);
    fill<T>(n - j - 1, <T>0, at<T>(r, j * ldr + j + 1));
  }
}
