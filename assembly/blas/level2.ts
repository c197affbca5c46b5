// Level 2: one matrix, one or two vectors. A is m×n, row-major: element (i, j) at a + i·lda + j, strides in elements.
// Both products stream A once, row by row; the inner functions are entered once for every few rows (hot code is
// compiled between calls, never inside one). Multiply and add round separately in every build.

import { at, lanes, muladd, sum } from "../simd";
import { GEMV, taskOf } from "../tasks";
import { isShared, perform, taskArguments } from "../team";
import { axpy, dot } from "./level1";

/**
 * Eight rows of A against x: y[0…7] <- alpha·(A·x) + beta·y, y incy bytes apart; n columns, rows lda bytes apart, x
 * contiguous. Eight, because x falls out of the first-level cache between two passes: it is read once for every eight rows.
 */
export function gemvRows8<T>(n: i32, alpha: T, a: usize, lda: usize, x: usize, beta: T, y: usize, incy: usize): void {
  const zero = v128.splat<T>(<T>0);
  let s0 = zero, s1 = zero, s2 = zero, s3 = zero, s4 = zero, s5 = zero, s6 = zero, s7 = zero;
  const lda2: usize = 2 * lda, lda3: usize = 3 * lda;
  let b = a + 4 * lda;
  let j = 0;
  for (; j + lanes<T>() <= n; j += lanes<T>()) {
    const v = v128.load(x);
    s0 = muladd<T>(v128.load(a), v, s0);
    s1 = muladd<T>(v128.load(a + lda), v, s1);
    s2 = muladd<T>(v128.load(a + lda2), v, s2);
    s3 = muladd<T>(v128.load(a + lda3), v, s3);
    s4 = muladd<T>(v128.load(b), v, s4);
    s5 = muladd<T>(v128.load(b + lda), v, s5);
    s6 = muladd<T>(v128.load(b + lda2), v, s6);
    s7 = muladd<T>(v128.load(b + lda3), v, s7);
    a += 16;
    b += 16;
    x += 16;
  }
  const rest = n - j;
  update<T>(y, alpha, sumWithRest<T>(s0, rest, a, x), beta);
  update<T>(y + incy, alpha, sumWithRest<T>(s1, rest, a + lda, x), beta);
  update<T>(y + 2 * incy, alpha, sumWithRest<T>(s2, rest, a + lda2, x), beta);
  update<T>(y + 3 * incy, alpha, sumWithRest<T>(s3, rest, a + lda3, x), beta);
  y += 4 * incy;
  update<T>(y, alpha, sumWithRest<T>(s4, rest, b, x), beta);
  update<T>(y + incy, alpha, sumWithRest<T>(s5, rest, b + lda, x), beta);
  update<T>(y + 2 * incy, alpha, sumWithRest<T>(s6, rest, b + lda2, x), beta);
  update<T>(y + 3 * incy, alpha, sumWithRest<T>(s7, rest, b + lda3, x), beta);
}

/** The lanes of v and the last few products a[j]·x[j]. */
// @ts-ignore: decorator
@inline function sumWithRest<T>(v: v128, rest: i32, a: usize, x: usize): T {
  let r = sum<T>(v);
  for (let j = 0; j < rest; j++) r = <T>(r + load<T>(at<T>(a, j)) * load<T>(at<T>(x, j)));
  return r;
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
  for (; i + 8 <= m; i += 8) {
    gemvRows8<T>(n, alpha, a, row, x, beta, y, dy);
    a += 8 * row;
    y += 8 * dy;
  }
  for (; i < m; i++) {
    update<T>(y, alpha, dot<T>(n, a, 1, x, 1), beta);
    a += row;
    y += dy;
  }
}

/**
 * y <- y + Σ x_i·A[i] over eight rows of n columns, lda bytes apart, y contiguous; x: eight elements incx bytes apart.
 * Each element is added in the order of the rows.
 */
export function gemvColumns8<T>(n: i32, alpha: T, a: usize, lda: usize, x: usize, incx: usize, y: usize): void {
  const x0 = <T>(alpha * load<T>(x)), x1 = <T>(alpha * load<T>(x + incx));
  const x2 = <T>(alpha * load<T>(x + 2 * incx)), x3 = <T>(alpha * load<T>(x + 3 * incx));
  x += 4 * incx;
  const x4 = <T>(alpha * load<T>(x)), x5 = <T>(alpha * load<T>(x + incx));
  const x6 = <T>(alpha * load<T>(x + 2 * incx)), x7 = <T>(alpha * load<T>(x + 3 * incx));
  const v0 = v128.splat<T>(x0), v1 = v128.splat<T>(x1), v2 = v128.splat<T>(x2), v3 = v128.splat<T>(x3);
  const v4 = v128.splat<T>(x4), v5 = v128.splat<T>(x5), v6 = v128.splat<T>(x6), v7 = v128.splat<T>(x7);
  const lda2: usize = 2 * lda, lda3: usize = 3 * lda;
  let b = a + 4 * lda;
  let j = 0;
  for (; j + lanes<T>() <= n; j += lanes<T>()) {
    let s = muladd<T>(v128.load(a), v0, v128.load(y));
    s = muladd<T>(v128.load(a + lda), v1, s);
    s = muladd<T>(v128.load(a + lda2), v2, s);
    s = muladd<T>(v128.load(a + lda3), v3, s);
    s = muladd<T>(v128.load(b), v4, s);
    s = muladd<T>(v128.load(b + lda), v5, s);
    s = muladd<T>(v128.load(b + lda2), v6, s);
    s = muladd<T>(v128.load(b + lda3), v7, s);
    v128.store(y, s);
    a += 16;
    b += 16;
    y += 16;
  }
  for (; j < n; j++) {
    let s = load<T>(y);
    s = <T>(s + load<T>(a) * x0);
    s = <T>(s + load<T>(a + lda) * x1);
    s = <T>(s + load<T>(a + lda2) * x2);
    s = <T>(s + load<T>(a + lda3) * x3);
    s = <T>(s + load<T>(b) * x4);
    s = <T>(s + load<T>(b + lda) * x5);
    s = <T>(s + load<T>(b + lda2) * x6);
    s = <T>(s + load<T>(b + lda3) * x7);
    store<T>(y, s);
    a += sizeof<T>();
    b += sizeof<T>();
    y += sizeof<T>();
  }
}

/** y <- alpha·Aᵀ·x + y; x is m elements incx apart, y n elements and contiguous. */
function gemvT<T>(m: i32, n: i32, alpha: T, a: usize, lda: i32, x: usize, incx: i32, y: usize): void {
  const row = at<T>(0, lda), dx = at<T>(0, incx);
  let i = 0;
  for (; i + 8 <= m; i += 8) {
    gemvColumns8<T>(n, alpha, a, row, x, dx, y);
    a += 8 * row;
    x += 8 * dx;
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
  } else if ((transposed ? incy : incx) == 1 && isShared(<f64>m * <f64>n, LEAST / sizeof<T>())) {
    const task = changetype<Gemv>(taskArguments());
    task.alpha = <f64>alpha;
    task.beta = <f64>beta;
    task.transposed = transposed;
    task.m = m;
    task.n = n;
    task.part = ((transposed ? n : m) / 16 + 8) & -8;
    task.a = a;
    task.lda = lda;
    task.x = x;
    task.incx = incx;
    task.y = y;
    task.incy = incy;
    perform(taskOf<T>(GEMV), ((transposed ? n : m) + task.part - 1) / task.part, true);
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

/** Elements, times the bytes of one, from which on a team shares a product: memory bounds the speed. */
const LEAST: f64 = 1e6;

/** What gemv's tiles read. */
@unmanaged
class Gemv {
  alpha: f64;
  beta: f64;
  transposed: bool;
  m: i32;
  n: i32;
  /** Elements of y that a tile has. */
  part: i32;
  a: usize;
  lda: i32;
  x: usize;
  incx: i32;
  y: usize;
  incy: i32;
}

/** Some elements of y: the product with some rows, or some columns, of A. */
export function gemvTile<T>(base: usize, tile: i32): void {
  const task = changetype<Gemv>(base);
  const i = tile * task.part;
  const m = task.transposed ? task.m : min<i32>(task.part, task.m - i);
  const n = task.transposed ? min<i32>(task.part, task.n - i) : task.n;
  const a = at<T>(task.a, task.transposed ? i : i * task.lda), y = at<T>(task.y, i * task.incy);
  gemv<T>(task.transposed, m, n, <T>task.alpha, a, task.lda, task.x, task.incx, <T>task.beta, y, task.incy);
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
