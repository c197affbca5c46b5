// Reduction to bidiagonal form, A = Q·B·Pᵀ with B upper bidiagonal, and the orthogonal factors from their reflectors.
// Golub and Kahan (1965); LAPACK's xGEBD2 and xORGBR. A is m×n, m >= n, row-major.

import { setIdentity } from "../blas/matrix";
import { copy } from "../blas/level1";
import { at } from "../simd";
import { entry, larfLeft, larfRight, larfg } from "./householder";

/**
 * A (m×n, m >= n) <- its reflectors: column i holds v of H(i) below the diagonal, row i holds u of G(i) right of the
 * superdiagonal. d (n) and e (n − 1) get B, tauq and taup (n each) the factors of H and G. work: m + n elements.
 */
export function gebd2<T>(
  m: i32, n: i32, a: usize, lda: i32, d: usize, e: usize, tauq: usize, taup: usize, work: usize,
): void {
  const v = work, w = at<T>(work, m);
  for (let i = 0; i < n; i++) {
    const diagonal = entry<T>(a, lda, i, i);
    const tau = larfg<T>(m - i, diagonal, entry<T>(a, lda, min<i32>(i + 1, m - 1), i), lda);
    store<T>(at<T>(d, i), load<T>(diagonal));
    store<T>(at<T>(tauq, i), tau);
    if (i + 1 < n) {
      copy<T>(m - i, diagonal, lda, v, 1);
      store<T>(v, <T>1);
      larfLeft<T>(m - i, n - i - 1, v, 1, tau, entry<T>(a, lda, i, i + 1), lda, w);
      const next = entry<T>(a, lda, i, i + 1);
      const taur = larfg<T>(n - i - 1, next, entry<T>(a, lda, i, min<i32>(i + 2, n - 1)), 1);
      store<T>(at<T>(e, i), load<T>(next));
      store<T>(at<T>(taup, i), taur);
      store<T>(next, <T>1);
      larfRight<T>(m - i - 1, n - i - 1, next, taur, entry<T>(a, lda, i + 1, i + 1), lda, v);
      store<T>(next, load<T>(at<T>(e, i)));
    } else {
      store<T>(at<T>(taup, i), <T>0);
    }
  }
}

/** Q (m×k, k >= n) <- the first k columns of H(0)·H(1)···H(n−1) from gebd2's A. work: m + k elements. xORGBR, 'Q'. */
export function formQ<T>(
  m: i32, k: i32, n: i32, a: usize, lda: i32, tauq: usize, q: usize, ldq: i32, work: usize,
): void {
  setIdentity<T>(m, k, q, ldq);
  const v = work, w = at<T>(work, m);
  for (let i = n - 1; i >= 0; i--) {
    copy<T>(m - i, entry<T>(a, lda, i, i), lda, v, 1);
    store<T>(v, <T>1);
    larfLeft<T>(m - i, k - i, v, 1, load<T>(at<T>(tauq, i)), entry<T>(q, ldq, i, i), ldq, w);
  }
}

/** Pᵀ (n×n) <- (G(0)·G(1)···G(n−2))ᵀ from gebd2's A. work: n elements. xORGBR, 'P'. */
export function formPt<T>(n: i32, a: usize, lda: i32, taup: usize, pt: usize, ldp: i32, work: usize): void {
  setIdentity<T>(n, n, pt, ldp);
  for (let i = n - 2; i >= 0; i--) {
    const u = entry<T>(a, lda, i, i + 1);
    const saved = load<T>(u);
    store<T>(u, <T>1);
    larfRight<T>(n - i - 1, n - i - 1, u, load<T>(at<T>(taup, i)), entry<T>(pt, ldp, i + 1, i + 1), ldp, work);
    store<T>(u, saved);
  }
}
