// A = Q·R with Q's columns orthonormal and R upper triangular or trapezoidal: Householder reflectors in blocks, then Q from
// the identity. LAPACK's xGEQRF and xORGQR.

import { copyInSlice, scalePowerSlice, transposeOutSlice } from "../blas/transfer";
import { fill, lacpy, setIdentity } from "../blas/matrix";
import { scalPower } from "../blas/level1";
import { exponent } from "../machine";
import { at } from "../simd";
import { HEAD_BYTES, begin, cursor, interrupted, openSlice, setCursor, spend } from "../slice";
import { applyReflectorsSlice, applyReflectorsWork, paddedLength } from "../svd/householder";
import { geqrfSlice, geqrfWork } from "../svd/qr_factor";

/** What is computed: R alone, p = min(m, n) columns of Q, or all m. */
const R = 0;
const FULL = 2;

/** Bytes of working memory of qr; exact in f64 for every size. */
export function qrScratch<T>(m: i32, n: i32, mode: i32): f64 {
  const p = min<i32>(m, n), k = mode == FULL ? m : p, ldt = paddedLength<T>(m);
  let elements = <f64>n * <f64>ldt + <f64>paddedLength<T>(p), steps = <f64>geqrfWork(m, n);
  if (mode != R) {
    elements += <f64>k * <f64>ldt;
    steps = max<f64>(steps, <f64>applyReflectorsWork(k, m));
  }
  return (elements + steps) * <f64>sizeof<T>() + <f64>HEAD_BYTES + 64;
}

// cursors of the head
const PHASE = 0, I = 1, J = 2, EXPONENT = 3;

// phases
const COPY = 0, SCALE = 1, FACTOR = 2, R_OUT = 3, Q = 4, Q_OUT = 5, END = 6;

/** Readies qr. */
export function qrBegin<T>(work: usize): void {
  begin(work);
}

/**
 * Matrices within these powers of two are left as they are, so that each column keeps digits of its own: the factorisation
 * is as accurate by columns as it is as a whole.
 */
// @ts-ignore: decorator
@inline function mostExponent<T>(): i32 {
  return sizeof<T>() == 4 ? 100 : 900;
}

/**
 * A slice of the factorisation: MORE or STOPPED (slice.ts) until it is done, then 0. A is m×n with strides (rs, cs), finite;
 * q (m×k), r (k×n), row-major, k = min(m, n), or m with `mode` FULL; mode R writes r only, as thin. An entry of R beyond
 * the format's range is Infinity. work: qrScratch(…) bytes, readied by qrBegin.
 */
export function qr<T>(m: i32, n: i32, mode: i32, a: usize, rs: i32, cs: i32, q: usize, r: usize, work: usize): i32 {
  const p = min<i32>(m, n), k = mode == FULL ? m : p, ldt = paddedLength<T>(m);
  if (p == 0) {
    if (mode == FULL) setIdentity<T>(m, m, q, m);
    return 0;
  }
  // t: n columns of A; tau: p; x: k columns of Q
  const t = work + HEAD_BYTES, tau = at<T>(t, n * ldt), x = at<T>(tau, paddedLength<T>(p));
  const rest = mode == R ? x : at<T>(x, k * ldt);
  openSlice(work);
  while (cursor(work, PHASE) < END) {
    let done = true;
    switch (cursor(work, PHASE)) {
      case COPY:
        done = copyInSlice<T>(work, I, n, m, a, cs, rs, t, ldt, tau);
        if (done) setCursor(work, EXPONENT, beyond<T>(load<T>(tau)));
        break;
      case SCALE:
        done = scalePowerSlice<T>(work, I, n, m, -cursor(work, EXPONENT), t, ldt);
        break;
      case FACTOR:
        done = geqrfSlice<T>(work, I, J, m, n, p, t, ldt, tau, rest);
        break;
      case R_OUT:
        done = upperOut<T>(work, k, n, t, ldt, r);
        if (done && mode == R) setCursor(work, PHASE, END - 1);
        else if (done) setIdentity<T>(k, m, x, ldt);
        break;
      case Q:
        done = applyReflectorsSlice<T>(work, I, J, k, m, p, 0, t, ldt, tau, x, ldt, rest, true);
        break;
      default:
        done = transposeOutSlice<T>(work, I, m, k, x, ldt, q);
        break;
    }
    if (!done) return interrupted();
    setCursor(work, PHASE, cursor(work, PHASE) + 1);
  }
  return 0;
}

/** The power of two by which a matrix with largest entry `most` is divided: 0 unless it lies beyond the limits. */
function beyond<T>(most: T): i32 {
  if (most == <T>0) return 0;
  const k = exponent<T>(most);
  return abs<i32>(k) > mostExponent<T>() ? k : 0;
}

/** r (k×n, row-major) <- the upper triangle of t, held by columns, times 2^EXPONENT; zeros below. */
function upperOut<T>(head: usize, k: i32, n: i32, t: usize, ldt: i32, r: usize): bool {
  for (let i = cursor(head, I); i < k; i += 16) {
    const some = min<i32>(16, k - i);
    lacpy<T>(some, n, at<T>(t, i), 1, ldt, at<T>(r, i * n), n);
    for (let j = i; j < i + some; j++) {
      fill<T>(min<i32>(j, n), <T>0, at<T>(r, j * n));
      scalPower<T>(n, cursor(head, EXPONENT), at<T>(r, j * n));
    }
    setCursor(head, I, i + 16);
    if (spend(10 * <f64>some * <f64>n)) return false;
  }
  setCursor(head, I, 0);
  return true;
}
