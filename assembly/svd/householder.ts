// Householder reflectors H = I − tau·v·vᵀ with v[0] = 1, as LAPACK's xLARFG and xLARF define them.

import { epsilon, safeMinimum } from "../machine";
import { nrm2, scal } from "../blas/level1";
import { gemv, ger } from "../blas/level2";
import { at } from "../simd";

/**
 * H·(alpha, x)ᵀ = (beta, 0)ᵀ for the vector of n elements whose first stands at `alpha` and whose other n − 1 at x,
 * incx apart. Leaves beta at `alpha`, v[1…] in x, and returns tau; tau = 0 means H = I. After xLARFG.
 */
export function larfg<T>(n: i32, alpha: usize, x: usize, incx: i32): T {
  if (n <= 1) return <T>0;
  let xnorm = nrm2<T>(n - 1, x, incx);
  if (xnorm == <T>0) return <T>0;
  let a = load<T>(alpha);
  let beta = <T>-copysign<T>(hypotenuse<T>(a, xnorm), a);
  const least = <T>(safeMinimum<T>() / epsilon<T>());
  let lifts = 0;
  if (abs<T>(beta) < least) {
    // beta would be inaccurate: lift the vector until it is not
    const lift = <T>(<T>1 / least);
    while (abs<T>(beta) < least && lifts < 20) {
      lifts++;
      scal<T>(n - 1, lift, x, incx);
      beta = <T>(beta * lift);
      a = <T>(a * lift);
    }
    xnorm = nrm2<T>(n - 1, x, incx);
    beta = <T>-copysign<T>(hypotenuse<T>(a, xnorm), a);
  }
  const tau = <T>((beta - a) / beta);
  scal<T>(n - 1, <T>(<T>1 / (a - beta)), x, incx);
  for (; lifts > 0; lifts--) beta = <T>(beta * least);
  store<T>(alpha, beta);
  return tau;
}

/** √(x² + y²) without overflow; xLAPY2. */
export function hypotenuse<T>(x: T, y: T): T {
  const a = abs<T>(x), b = abs<T>(y);
  const w = max<T>(a, b), z = min<T>(a, b);
  if (z == <T>0) return w;
  const q = <T>(z / w);
  return <T>(w * sqrt<T>(<T>(<T>1 + q * q)));
}

/** C (m×n) <- H·C, H of order m with v at incv; work: n elements. xLARF, side left. */
export function larfLeft<T>(m: i32, n: i32, v: usize, incv: i32, tau: T, c: usize, ldc: i32, work: usize): void {
  if (tau == <T>0 || m == 0 || n == 0) return;
  gemv<T>(true, m, n, <T>1, c, ldc, v, incv, <T>0, work, 1);
  ger<T>(m, n, <T>-tau, v, incv, work, c, ldc);
}

/** C (m×n) <- C·H, H of order n with v contiguous; work: m elements. xLARF, side right. */
export function larfRight<T>(m: i32, n: i32, v: usize, tau: T, c: usize, ldc: i32, work: usize): void {
  if (tau == <T>0 || m == 0 || n == 0) return;
  gemv<T>(false, m, n, <T>1, c, ldc, v, 1, <T>0, work, 1);
  ger<T>(m, n, <T>-tau, work, 1, v, c, ldc);
}

/** The address of element (i, j) of a row-major matrix. */
// @ts-ignore: decorator
@inline export function entry<T>(a: usize, lda: i32, i: i32, j: i32): usize {
  return at<T>(a, i * lda + j);
}
