// Level 2: one matrix, one or two vectors. A is m×n, row-major: element (i, j) at a + i·lda + j, strides in elements.
// Both products stream A once, row by row; the inner functions are entered once for every few rows (hot code is
// compiled between calls, never inside one). Multiply and add round separately in every build.

import { at, lanes, muladd, sum } from "../simd";
import { axpy, dot } from "./level1";

/** Four rows of A against x: y[0..3] <- alpha·(A·x) + beta·y, y incy apart; n columns, x contiguous. */
export function gemvRows4<T>(n: i32, alpha: T, a: usize, lda: usize, x: usize, beta: T, y: usize, incy: usize): void {
  const zero = v128.splat<T>(<T>0);
  let s0 = zero, s1 = zero, s2 = zero, s3 = zero, t0 = zero, t1 = zero, t2 = zero, t3 = zero;
  let a0 = a, a1 = a + lda, a2 = a1 + lda, a3 = a2 + lda;
  let j = 0;
  for (; j + 2 * lanes<T>() <= n; j += 2 * lanes<T>()) {
    const x0 = v128.load(x), x1 = v128.load(x, 16);
    s0 = muladd<T>(v128.load(a0), x0, s0);
    s1 = muladd<T>(v128.load(a1), x0, s1);
    s2 = muladd<T>(v128.load(a2), x0, s2);
    s3 = muladd<T>(v128.load(a3), x0, s3);
    t0 = muladd<T>(v128.load(a0, 16), x1, t0);
    t1 = muladd<T>(v128.load(a1, 16), x1, t1);
    t2 = muladd<T>(v128.load(a2, 16), x1, t2);
    t3 = muladd<T>(v128.load(a3, 16), x1, t3);
    a0 += 32;
    a1 += 32;
    a2 += 32;
    a3 += 32;
    x += 32;
  }
  let r0 = sum<T>(v128.add<T>(s0, t0)), r1 = sum<T>(v128.add<T>(s1, t1));
  let r2 = sum<T>(v128.add<T>(s2, t2)), r3 = sum<T>(v128.add<T>(s3, t3));
  for (; j < n; j++) {
    const xj = load<T>(x);
    r0 = <T>(r0 + load<T>(a0) * xj);
    r1 = <T>(r1 + load<T>(a1) * xj);
    r2 = <T>(r2 + load<T>(a2) * xj);
    r3 = <T>(r3 + load<T>(a3) * xj);
    a0 += sizeof<T>();
    a1 += sizeof<T>();
    a2 += sizeof<T>();
    a3 += sizeof<T>();
    x += sizeof<T>();
  }
  update<T>(y, alpha, r0, beta);
  update<T>(y + incy, alpha, r1, beta);
  update<T>(y + 2 * incy, alpha, r2, beta);
  update<T>(y + 3 * incy, alpha, r3, beta);
}

/** y <- alpha·r + beta·y for one element; beta = 0 does not read y. */
// @ts-ignore: decorator
@inline function update<T>(y: usize, alpha: T, r: T, beta: T): void {
  store<T>(y, beta == <T>0 ? <T>(alpha * r) : <T>(alpha * r + beta * load<T>(y)));
}

/** y <- alpha·A·x + beta·y; x is n elements and contiguous, y m elements incy apart. */
function gemvN<T>(m: i32, n: i32, alpha: T, a: usize, lda: i32, x: usize, beta: T, y: usize, incy: i32): void {
  const row = at<T>(0, lda), dy = at<T>(0, incy);
  let i = 0;
  for (; i + 4 <= m; i += 4) {
    gemvRows4<T>(n, alpha, a, row, x, beta, y, dy);
    a += 4 * row;
    y += 4 * dy;
  }
  for (; i < m; i++) {
    update<T>(y, alpha, dot<T>(n, a, 1, x, 1), beta);
    a += row;
    y += dy;
  }
}

/** y <- y + x0·A[0] + x1·A[1] + x2·A[2] + x3·A[3] over n columns, y contiguous. */
export function gemvColumns4<T>(n: i32, a: usize, lda: usize, x0: T, x1: T, x2: T, x3: T, y: usize): void {
  const v0 = v128.splat<T>(x0), v1 = v128.splat<T>(x1), v2 = v128.splat<T>(x2), v3 = v128.splat<T>(x3);
  let a0 = a, a1 = a + lda, a2 = a1 + lda, a3 = a2 + lda;
  let j = 0;
  for (; j + 2 * lanes<T>() <= n; j += 2 * lanes<T>()) {
    let y0 = muladd<T>(v128.load(a0), v0, v128.load(y));
    let y1 = muladd<T>(v128.load(a0, 16), v0, v128.load(y, 16));
    y0 = muladd<T>(v128.load(a1), v1, y0);
    y1 = muladd<T>(v128.load(a1, 16), v1, y1);
    y0 = muladd<T>(v128.load(a2), v2, y0);
    y1 = muladd<T>(v128.load(a2, 16), v2, y1);
    y0 = muladd<T>(v128.load(a3), v3, y0);
    y1 = muladd<T>(v128.load(a3, 16), v3, y1);
    v128.store(y, y0);
    v128.store(y, y1, 16);
    a0 += 32;
    a1 += 32;
    a2 += 32;
    a3 += 32;
    y += 32;
  }
  for (; j < n; j++) {
    let r = load<T>(y);
    r = <T>(r + load<T>(a0) * x0);
    r = <T>(r + load<T>(a1) * x1);
    r = <T>(r + load<T>(a2) * x2);
    r = <T>(r + load<T>(a3) * x3);
    store<T>(y, r);
    a0 += sizeof<T>();
    a1 += sizeof<T>();
    a2 += sizeof<T>();
    a3 += sizeof<T>();
    y += sizeof<T>();
  }
}

/** y <- alpha·Aᵀ·x + y; x is m elements incx apart, y n elements and contiguous. */
function gemvT<T>(m: i32, n: i32, alpha: T, a: usize, lda: i32, x: usize, incx: i32, y: usize): void {
  const row = at<T>(0, lda), dx = at<T>(0, incx);
  let i = 0;
  for (; i + 4 <= m; i += 4) {
    gemvColumns4<T>(
      n, a, row,
      <T>(alpha * load<T>(x)), <T>(alpha * load<T>(x + dx)),
      <T>(alpha * load<T>(x + 2 * dx)), <T>(alpha * load<T>(x + 3 * dx)), y,
    );
    a += 4 * row;
    x += 4 * dx;
  }
  for (; i < m; i++) {
    const f = <T>(alpha * load<T>(x));
    if (f == <T>0) addZeroTimes<T>(n, a, f, y);
    else axpy<T>(n, f, a, 1, y, 1);
    a += row;
    x += dx;
  }
}

/** y <- y + f·x element by element for f = ±0: a product must show the NaN of 0·Inf, which axpy skips. */
function addZeroTimes<T>(n: i32, x: usize, f: T, y: usize): void {
  for (let j = 0; j < n; j++) {
    store<T>(y, <T>(load<T>(y) + f * load<T>(x)));
    x += sizeof<T>();
    y += sizeof<T>();
  }
}

/** y <- beta·y, n elements incy apart; beta = 0 writes zeros without reading. */
export function scaleOrClear<T>(n: i32, beta: T, y: usize, incy: i32): void {
  const dy = at<T>(0, incy);
  if (beta == <T>1) return;
  for (let i = 0; i < n; i++) {
    store<T>(y, beta == <T>0 ? <T>0 : <T>(beta * load<T>(y)));
    y += dy;
  }
}

/**
 * y <- alpha·op(A)·x + beta·y, op(A) = A (m×n) or, with `transposed`, Aᵀ; x and y are incx and incy apart.
 * A contiguous x (A·x) or y (Aᵀ·x) is needed for the fast paths; the other cases go element by element.
 * beta = 0 does not read y; alpha = 0 does not read A or x.
 */
export function gemv<T>(
  transposed: bool, m: i32, n: i32, alpha: T, a: usize, lda: i32, x: usize, incx: i32, beta: T, y: usize, incy: i32,
): void {
  if (alpha == <T>0 || m == 0 || n == 0) {
    scaleOrClear<T>(transposed ? n : m, beta, y, incy);
  } else if (transposed) {
    if (incy == 1) {
      scaleOrClear<T>(n, beta, y, 1);
      gemvT<T>(m, n, alpha, a, lda, x, incx, y);
    } else {
      for (let j = 0; j < n; j++) update<T>(at<T>(y, j * incy), alpha, dot<T>(m, at<T>(a, j), lda, x, incx), beta);
    }
  } else if (incx == 1) {
    gemvN<T>(m, n, alpha, a, lda, x, beta, y, incy);
  } else {
    for (let i = 0; i < m; i++) update<T>(at<T>(y, i * incy), alpha, dot<T>(n, at<T>(a, i * lda), 1, x, incx), beta);
  }
}

/** A <- A + alpha·x·yᵀ; x is m elements incx apart, y n elements and contiguous. */
export function ger<T>(m: i32, n: i32, alpha: T, x: usize, incx: i32, y: usize, a: usize, lda: i32): void {
  const row = at<T>(0, lda), dx = at<T>(0, incx);
  for (let i = 0; i < m; i++) {
    axpy<T>(n, <T>(alpha * load<T>(x)), y, 1, a, 1);
    a += row;
    x += dx;
  }
}
