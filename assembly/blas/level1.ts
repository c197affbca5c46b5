// Level 1: vectors. x is n elements, incx apart (incx >= 1, in elements); contiguous vectors take the SIMD path.
// Multiply and add round separately in every build, so that strict and relaxed results agree closely.

import { safeMinimum, exponent, powerOfTwo } from "../machine";
import { at, lanes, largest, muladd, sum } from "../simd";

/** xᵀ·y. Eight partial sums (f32: of four lanes), added pairwise at the end. */
export function dot<T>(n: i32, x: usize, incx: i32, y: usize, incy: i32): T {
  if (incx == 1 && incy == 1) return dotContiguous<T>(n, x, y);
  let s = <T>0;
  const dx = at<T>(0, incx), dy = at<T>(0, incy);
  for (let i = 0; i < n; i++) {
    s = <T>(s + load<T>(x) * load<T>(y));
    x += dx;
    y += dy;
  }
  return s;
}

// @ts-ignore: decorator
@inline function dotContiguous<T>(n: i32, x: usize, y: usize): T {
  const zero = v128.splat<T>(<T>0);
  let s0 = zero, s1 = zero, s2 = zero, s3 = zero;
  const width = 4 * lanes<T>();
  let i = 0;
  for (; i + width <= n; i += width) {
    s0 = muladd<T>(v128.load(x), v128.load(y), s0);
    s1 = muladd<T>(v128.load(x, 16), v128.load(y, 16), s1);
    s2 = muladd<T>(v128.load(x, 32), v128.load(y, 32), s2);
    s3 = muladd<T>(v128.load(x, 48), v128.load(y, 48), s3);
    x += 64;
    y += 64;
  }
  for (; i + lanes<T>() <= n; i += lanes<T>()) {
    s0 = muladd<T>(v128.load(x), v128.load(y), s0);
    x += 16;
    y += 16;
  }
  let s = sum<T>(v128.add<T>(v128.add<T>(s0, s1), v128.add<T>(s2, s3)));
  for (; i < n; i++) {
    s = <T>(s + load<T>(x) * load<T>(y));
    x += sizeof<T>();
    y += sizeof<T>();
  }
  return s;
}

/** y <- alpha·x + y. */
export function axpy<T>(n: i32, alpha: T, x: usize, incx: i32, y: usize, incy: i32): void {
  if (n <= 0 || alpha == <T>0) return;
  let i = 0;
  if (incx == 1 && incy == 1) {
    const a = v128.splat<T>(alpha);
    for (; i + 2 * lanes<T>() <= n; i += 2 * lanes<T>()) {
      const y0 = muladd<T>(a, v128.load(x), v128.load(y));
      const y1 = muladd<T>(a, v128.load(x, 16), v128.load(y, 16));
      v128.store(y, y0);
      v128.store(y, y1, 16);
      x += 32;
      y += 32;
    }
  }
  const dx = at<T>(0, incx), dy = at<T>(0, incy);
  for (; i < n; i++) {
    store<T>(y, <T>(alpha * load<T>(x) + load<T>(y)));
    x += dx;
    y += dy;
  }
}

/** x <- alpha·x; alpha = 0 writes zeros without reading x. */
export function scal<T>(n: i32, alpha: T, x: usize, incx: i32): void {
  let i = 0;
  if (incx == 1) {
    const a = v128.splat<T>(alpha);
    if (alpha == <T>0) {
      for (; i + lanes<T>() <= n; i += lanes<T>()) {
        v128.store(x, a);
        x += 16;
      }
    } else {
      for (; i + lanes<T>() <= n; i += lanes<T>()) {
        v128.store(x, v128.mul<T>(a, v128.load(x)));
        x += 16;
      }
    }
  }
  const dx = at<T>(0, incx);
  for (; i < n; i++) {
    store<T>(x, alpha == <T>0 ? <T>0 : <T>(alpha * load<T>(x)));
    x += dx;
  }
}

/** x <- x·2^k, contiguous; k may lie outside the exponent range. Exact unless a result is subnormal. */
export function scalPower<T>(n: i32, k: i32, x: usize): void {
  const step = sizeof<T>() == 4 ? 126 : 1022;
  for (; k > step; k -= step) scal<T>(n, powerOfTwo<T>(step), x, 1);
  for (; k < -step; k += step) scal<T>(n, powerOfTwo<T>(-step), x, 1);
  if (k != 0) scal<T>(n, powerOfTwo<T>(k), x, 1);
}

/** y <- x. */
export function copy<T>(n: i32, x: usize, incx: i32, y: usize, incy: i32): void {
  if (incx == 1 && incy == 1) {
    memory.copy(y, x, at<T>(0, n));
    return;
  }
  const dx = at<T>(0, incx), dy = at<T>(0, incy);
  for (let i = 0; i < n; i++) {
    store<T>(y, load<T>(x));
    x += dx;
    y += dy;
  }
}

/** Exchanges x and y, both contiguous. */
export function swap<T>(n: i32, x: usize, y: usize): void {
  let i = 0;
  for (; i + lanes<T>() <= n; i += lanes<T>()) {
    const t = v128.load(x);
    v128.store(x, v128.load(y));
    v128.store(y, t);
    x += 16;
    y += 16;
  }
  for (; i < n; i++) {
    const t = load<T>(x);
    store<T>(x, load<T>(y));
    store<T>(y, t);
    x += sizeof<T>();
    y += sizeof<T>();
  }
}

/** (x, y) <- (c·x + s·y, c·y − s·x): a plane rotation of two vectors. */
export function rot<T>(n: i32, x: usize, incx: i32, y: usize, incy: i32, c: T, s: T): void {
  let i = 0;
  if (incx == 1 && incy == 1) {
    const cv = v128.splat<T>(c), sv = v128.splat<T>(s);
    for (; i + lanes<T>() <= n; i += lanes<T>()) {
      const a = v128.load(x), b = v128.load(y);
      v128.store(x, muladd<T>(sv, b, v128.mul<T>(cv, a)));
      v128.store(y, v128.sub<T>(v128.mul<T>(cv, b), v128.mul<T>(sv, a)));
      x += 16;
      y += 16;
    }
  }
  const dx = at<T>(0, incx), dy = at<T>(0, incy);
  for (; i < n; i++) {
    const a = load<T>(x), b = load<T>(y);
    store<T>(x, <T>(c * a + s * b));
    store<T>(y, <T>(c * b - s * a));
    x += dx;
    y += dy;
  }
}

/** max |x_i|; 0 for an empty vector, NaN if an element is NaN. */
export function amax<T>(n: i32, x: usize, incx: i32): T {
  let m = <T>0;
  let i = 0;
  if (incx == 1) {
    let v = v128.splat<T>(<T>0), w = v;
    for (; i + 2 * lanes<T>() <= n; i += 2 * lanes<T>()) {
      v = v128.max<T>(v, v128.abs<T>(v128.load(x)));
      w = v128.max<T>(w, v128.abs<T>(v128.load(x, 16)));
      x += 32;
    }
    m = largest<T>(v128.max<T>(v, w));
  }
  const dx = at<T>(0, incx);
  for (; i < n; i++) {
    m = max<T>(m, abs<T>(load<T>(x)));
    x += dx;
  }
  return m;
}

/** Elements whose squares are summed in T: of more, the sums are added in f64, so that long vectors of f32 lose no digits. */
const RUN: i32 = 2048;

/** Σ (x_i·scale)². */
function sumOfSquares<T>(n: i32, x: usize, incx: i32, scale: T): f64 {
  let s: f64 = 0;
  for (let i = 0; i < n; i += RUN) s += <f64>runOfSquares<T>(min<i32>(RUN, n - i), at<T>(x, i * incx), incx, scale);
  return s;
}

function runOfSquares<T>(n: i32, x: usize, incx: i32, scale: T): T {
  let s = <T>0;
  let i = 0;
  if (incx == 1) {
    const f = v128.splat<T>(scale);
    let s0 = v128.splat<T>(<T>0), s1 = s0;
    for (; i + 2 * lanes<T>() <= n; i += 2 * lanes<T>()) {
      const a = v128.mul<T>(f, v128.load(x)), b = v128.mul<T>(f, v128.load(x, 16));
      s0 = muladd<T>(a, a, s0);
      s1 = muladd<T>(b, b, s1);
      x += 32;
    }
    s = sum<T>(v128.add<T>(s0, s1));
  }
  const dx = at<T>(0, incx);
  for (; i < n; i++) {
    const a = <T>(scale * load<T>(x));
    s = <T>(s + a * a);
    x += dx;
  }
  return s;
}

/** Σ |x_i|; four partial sums of vectors. */
export function asum<T>(n: i32, x: usize, incx: i32): T {
  const zero = v128.splat<T>(<T>0), step = lanes<T>();
  let s0 = zero, s1 = zero, s2 = zero, s3 = zero;
  let i = 0;
  if (incx == 1) {
    for (; i + 4 * step <= n; i += 4 * step) {
      s0 = v128.add<T>(s0, v128.abs<T>(v128.load(x)));
      s1 = v128.add<T>(s1, v128.abs<T>(v128.load(x, 16)));
      s2 = v128.add<T>(s2, v128.abs<T>(v128.load(x, 32)));
      s3 = v128.add<T>(s3, v128.abs<T>(v128.load(x, 48)));
      x += 64;
    }
  }
  let s = sum<T>(v128.add<T>(v128.add<T>(s0, s1), v128.add<T>(s2, s3)));
  const dx = at<T>(0, incx);
  for (; i < n; i++) {
    s = <T>(s + abs<T>(load<T>(x)));
    x += dx;
  }
  return s;
}

/** y <- y + |x|, both contiguous. */
export function addAbsolute<T>(n: i32, x: usize, y: usize): void {
  let i = 0;
  for (; i + lanes<T>() <= n; i += lanes<T>()) {
    v128.store(y, v128.add<T>(v128.load(y), v128.abs<T>(v128.load(x))));
    x += 16;
    y += 16;
  }
  for (; i < n; i++) {
    store<T>(y, <T>(load<T>(y) + abs<T>(load<T>(x))));
    x += sizeof<T>();
    y += sizeof<T>();
  }
}

/**
 * ‖x‖₂ without overflow or harmful underflow: the plain sum of squares where it is safe, else a second pass over
 * x scaled by a power of two (after Blue 1978, whose thresholds these are). NaN and Inf pass through.
 */
export function nrm2<T>(n: i32, x: usize, incx: i32): T {
  const s = sumOfSquares<T>(n, x, incx, <T>1);
  // below `small` a square may have lost digits to underflow
  const small = powerOfTwo<f64>(sizeof<T>() == 4 ? -78 : -918), large = powerOfTwo<f64>(sizeof<T>() == 4 ? 126 : 1022);
  if (s >= small && s <= large) return <T>sqrt<f64>(s);
  const m = amax<T>(n, x, incx);
  if (!(m > <T>0) || m - m != <T>0) return m;
  if (m < safeMinimum<T>()) {
    // 2^-k would overflow for subnormal m: go by way of the largest safe factor
    const lift = powerOfTwo<T>(sizeof<T>() == 4 ? 100 : 1000);
    return <T>(sqrt<f64>(sumOfSquares<T>(n, x, incx, lift)) / <f64>lift);
  }
  const k = min<i32>(exponent<T>(m), sizeof<T>() == 4 ? 126 : 1022);
  return <T>(sqrt<f64>(sumOfSquares<T>(n, x, incx, powerOfTwo<T>(-k))) * <f64>powerOfTwo<T>(k));
}
