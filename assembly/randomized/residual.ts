// What is left of a matrix A (m×n) beside a low-rank U·diag(S)·Vᵀ: its Frobenius norm block by block, its products with
// vectors. Everything is of 2^-e·A, so that squares neither overflow nor vanish.

import { gemm } from "../blas/gemm";
import { amax, dot, scalPower } from "../blas/level1";
import { lacpy, scaleColumns } from "../blas/matrix";
import { exponent } from "../machine";
import { at } from "../simd";

/** Elements whose squares are summed in T; the sums are added in f64. */
const RUN: i32 = 512;

/** Σ (a·2^-e)²; work: RUN elements, for e != 0. */
export function squares<T>(m: i32, n: i32, a: usize, rs: i32, cs: i32, e: i32, work: usize): f64 {
  if (cs != 1 && rs == 1) return squares<T>(n, m, a, cs, rs, e, work);
  let sum: f64 = 0;
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j += RUN) {
      const some = min<i32>(RUN, n - j);
      let x = at<T>(a, i * rs + j * cs), step = cs;
      if (e != 0) {
        lacpy<T>(1, some, x, 0, cs, work, some);
        scalPower<T>(some, -e, work);
        x = work;
        step = 1;
      }
      sum += <f64>dot<T>(some, x, step, x, step);
    }
  }
  return sum;
}

/** Elements of working memory of residualSquares for `rows` rows. */
export function residualSquaresWork(rows: i32, n: i32, k: i32): f64 {
  return <f64>rows * (<f64>n + <f64>k) + <f64>RUN;
}

/**
 * ‖2^-e·A − U·diag(s)·Vᵀ‖_F² over `rows` rows of A (strides rs, cs) and u (rows×k); s (k) is scaled as A is; vt (k×n).
 * work: residualSquaresWork(rows, n, k) elements.
 */
export function residualSquares<T>(
  rows: i32, n: i32, k: i32, a: usize, rs: i32, cs: i32, e: i32, u: usize, s: usize, vt: usize, work: usize,
): f64 {
  const us = at<T>(work, rows * n), rest = at<T>(us, rows * k);
  lacpy<T>(rows, n, a, rs, cs, work, n);
  if (e != 0) for (let i = 0; i < rows; i++) scalPower<T>(n, -e, at<T>(work, i * n));
  lacpy<T>(rows, k, u, k, 1, us, k);
  scaleColumns<T>(rows, k, s, us);
  gemm<T>(rows, n, k, <T>-1, us, k, 1, vt, n, 1, <T>1, work, n);
  return squares<T>(rows, n, work, n, 1, 0, rest);
}

/**
 * y (q×m) <- y − x·V·diag(s)·Uᵀ: with y = x·Aᵀ, the products of A − U·diag(s)·Vᵀ with the q rows of x (q×n).
 * V is n×k with strides (rsv, csv), Uᵀ k×m with strides (rsu, csu). work: q·k elements.
 */
export function subtractLowRank<T>(
  q: i32, m: i32, n: i32, k: i32, x: usize, v: usize, rsv: i32, csv: i32, s: usize, ut: usize, rsu: i32, csu: i32,
  y: usize, work: usize,
): void {
  gemm<T>(q, k, n, <T>1, x, n, 1, v, rsv, csv, <T>0, work, k);
  scaleColumns<T>(q, k, s, work);
  gemm<T>(q, m, k, <T>-1, work, k, 1, ut, rsu, csu, <T>1, y, m);
}

/** Rows of x (rows×n) <- row·2^-e_i with max |x| in [1, 2), each by a power of its own; rows of zeros stay. */
export function normalizeRows<T>(rows: i32, n: i32, x: usize): void {
  for (let i = 0; i < rows; i++) {
    const row = at<T>(x, i * n), most = amax<T>(n, row, 1);
    if (most > <T>0) scalPower<T>(n, -exponent<T>(most), row);
  }
}
