// QR factorisation M = Q·R by blocked Householder reflectors; xGEQRF. M (m×n, m >= n) is held by columns: row j of the
// memory is column j of M.

import { copy } from "../blas/level1";
import { gemv, ger } from "../blas/level2";
import { fill } from "../blas/matrix";
import { at } from "../simd";
import { BLOCK, larfb, larfg, larft } from "./householder";

/** Working memory of geqrf in elements. */
export function geqrfWork(m: i32, n: i32): i32 {
  return BLOCK * m + BLOCK * BLOCK + 2 * BLOCK * n;
}

/**
 * t (n rows of m, ldt apart): column j of M below its diagonal <- reflector j, on and above it <- column j of R.
 * tau: n elements; work: geqrfWork(m, n) elements.
 */
export function geqrf<T>(m: i32, n: i32, t: usize, ldt: i32, tau: usize, work: usize): void {
  const v = work, s = at<T>(v, BLOCK * m), rest = at<T>(s, BLOCK * BLOCK);
  for (let j = 0; j < n; j += BLOCK) {
    const block = min<i32>(BLOCK, n - j), length = m - j;
    for (let i = 0; i < block; i++) {
      const c = j + i, diagonal = at<T>(t, c * ldt + c);
      const factor = larfg<T>(m - c, diagonal, at<T>(diagonal, 1));
      store<T>(at<T>(tau, c), factor);
      const row = at<T>(v, i * length);
      fill<T>(i, <T>0, row);
      copy<T>(m - c, diagonal, 1, at<T>(row, i), 1);
      store<T>(at<T>(row, i), <T>1);
      // the rest of the panel: its columns are the next rows
      const others = block - i - 1, next = at<T>(t, (c + 1) * ldt + c);
      if (others > 0 && factor != <T>0) {
        gemv<T>(false, others, m - c, <T>1, next, ldt, at<T>(row, i), 1, <T>0, rest, 1);
        ger<T>(others, m - c, <T>-factor, rest, 1, at<T>(row, i), next, ldt);
      }
    }
    const trailing = n - j - block;
    if (trailing > 0) {
      larft<T>(block, length, v, at<T>(tau, j), s);
      larfb<T>(false, trailing, length, block, v, length, s, at<T>(t, (j + block) * ldt + j), ldt, rest);
    }
  }
}

/** r (n rows, ldr apart, held by columns) <- the upper triangle of geqrf's t, zeros below. */
export function copyR<T>(n: i32, t: usize, ldt: i32, r: usize, ldr: i32): void {
  for (let j = 0; j < n; j++) {
    copy<T>(j + 1, at<T>(t, j * ldt), 1, at<T>(r, j * ldr), 1);
    fill<T>(n - j - 1, <T>0, at<T>(r, j * ldr + j + 1));
  }
}
