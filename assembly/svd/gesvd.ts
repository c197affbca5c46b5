// A = U·diag(S)·Vᵀ: scaling, QR first where A is long, reduction to bidiagonal form, bidiagonal SVD by QR iteration or
// divide and conquer, and the vectors by applying the reflectors; values alone by dqds. LAPACK's xGESVD and xGESDD.
// One-sided Jacobi goes its own way from here, in f64 alone: jacobi.ts.
//
// All work is done on M (long×p, long >= p), held by columns: M = A, or M = Aᵀ for a wide A, whose rows then are the
// columns. Vectors are computed by rows: ut holds the p (or all) left vectors of M, vt the right ones.

import { fill, setIdentity } from "../blas/matrix";
import { copyInSlice, scalePowerSlice, transposeOutSlice } from "../blas/transfer";
import { exponent, scaleByPowerOfTwo } from "../machine";
import { at } from "../simd";
import { HEAD_BYTES, begin, cursor, interrupted, openSlice, setCursor, spend } from "../slice";
import { bdsdcBegin, bdsdcScratch, bdsdcSlice } from "./bidiagonal_dc";
import { bdsqrBegin, bdsqrSlice, bdsqrWork } from "./bidiagonal_qr";
import { gebrdSlice, gebrdWork } from "./bidiagonalize";
import { lasq1Begin, lasq1Slice, lasq1Work } from "./dqds";
import { applyReflectorsSlice, applyReflectorsWork, paddedLength } from "./householder";
import { gejsv, gejsvScratch } from "./jacobi";
import { copyR, geqrfSlice, geqrfWork } from "./qr_factor";

/** What is computed beside the values: nothing; 1: p vectors a side; or all of them. LAPACK's jobs 'N', 'S', 'A'. */
const NONE = 0;
const FULL = 2;

/** Drivers. */
const AUTO = 0;
const QR = 1;
const JACOBI = 3;

/** A is factored as Q·R first when it has this many times more rows than columns: xGESDD's 11/6. */
// @ts-ignore: decorator
@inline function factorsFirst(long: i32, p: i32): bool {
  return <f64>long >= (<f64>p * 11) / 6;
}

// @ts-ignore: decorator
@inline function usesQr(driver: i32, p: i32): bool {
  return driver == QR || (driver == AUTO && p <= 24);
}

/** Elements of T that a matrix of the working memory takes: whole cache lines. */
function block<T>(rows: i32, length: i32): f64 {
  return <f64>rows * <f64>length + <f64>(64 / sizeof<T>());
}

/** Bytes of working memory of gesvd; exact in f64 for every size. */
export function gesvdScratch<T>(m: i32, n: i32, vectors: i32, driver: i32): f64 {
  if (sizeof<T>() == 8 && driver == JACOBI) return gejsvScratch<T>(m, n, vectors);
  const long = max<i32>(m, n), p = min<i32>(m, n);
  const k = vectors == FULL ? long : p;
  const ldt = paddedLength<T>(long), ldp = paddedLength<T>(p);
  let elements = block<T>(p, ldt) + 5 * <f64>ldp;
  if (factorsFirst(long, p)) elements += block<T>(p, ldp);
  let steps = <f64>max<i32>(gebrdWork(long, p), geqrfWork(long, p));
  if (vectors != NONE) {
    elements += 3 * block<T>(p, ldp) + block<T>(k, ldt) + <f64>ldp;
    steps = max<f64>(steps, <f64>applyReflectorsWork(k, long));
    if (!usesQr(driver, p)) steps = max<f64>(steps, bdsdcScratch<T>(p) / sizeof<T>());
  } else {
    steps = max<f64>(steps, <f64>lasq1Work<T>(p));
  }
  steps = max<f64>(steps, <f64>bdsqrWork(p));
  return (elements + steps) * <f64>sizeof<T>() + <f64>HEAD_BYTES + 1024;
}

// cursors of the head
const PHASE = 0, I = 1, J = 2, K = 3, EXPONENT = 4;

// phases
const COPY = 0, SCALE = 1, FACTOR = 2, REDUCE = 3, SOLVE = 4, LEFT = 5, LEFT_R = 6, LEFT_Q = 7, LEFT_OUT = 8;
const RIGHT = 9, RIGHT_P = 10, RIGHT_OUT = 11, UNSCALE = 12;

/** Readies gesvd. */
export function gesvdBegin<T>(work: usize): void {
  begin(work);
}

/**
 * A slice of the decomposition: MORE or STOPPED (slice.ts) until it is done, then 0, or how many values did not converge.
 * A is m×n with strides (rs, cs), finite; p = min(m, n). u (m×k), s (p), vt (k'×n), row-major; k = k' = p with `vectors`
 * THIN, m and n with FULL; NONE writes s only. work: gesvdScratch(…) bytes, readied by gesvdBegin.
 */
export function gesvd<T>(
  m: i32, n: i32, vectors: i32, driver: i32, a: usize, rs: i32, cs: i32, u: usize, s: usize, vt: usize, work: usize,
): i32 {
  const wide = m < n;
  const long = wide ? n : m, p = wide ? m : n;
  if (p == 0) return emptySvd<T>(m, n, vectors, u, vt);
  if (sizeof<T>() == 8 && driver == JACOBI) return gejsv<T>(m, n, vectors, a, rs, cs, u, s, vt, work);
  const k = vectors == FULL ? long : p;
  const ldt = paddedLength<T>(long), ldp = paddedLength<T>(p);
  const factored = factorsFirst(long, p);

  const t = work + HEAD_BYTES, e = at<T>(t, p * ldt), tauq = at<T>(e, ldp), taup = at<T>(tauq, ldp);
  const tau = at<T>(taup, ldp), r = at<T>(tau, ldp), reflectors = factored ? at<T>(r, p * ldp) : r;
  const bu = at<T>(reflectors, p * ldp), bv = at<T>(bu, p * ldp), x = at<T>(bv, p * ldp);
  const positions = at<T>(x, k * ldt), rest = vectors == NONE ? reflectors : at<T>(positions, ldp);
  // the matrix to be reduced, by columns: M itself or its R
  const reduced = factored ? r : t, ldr = factored ? ldp : ldt, order = factored ? p : long;
  // vectors are computed in place where they need no transposition
  const left = wide ? vt : x, ldl = wide ? long : ldt, right = wide ? x : vt, ldv = wide ? ldp : p;

  openSlice(work);
  while (cursor(work, PHASE) < UNSCALE) {
    let done = true;
    switch (cursor(work, PHASE)) {
      case COPY:
        done = copyInSlice<T>(work, I, p, long, a, wide ? rs : cs, wide ? cs : rs, t, ldt, s);
        if (done) setCursor(work, EXPONENT, load<T>(s) == <T>0 ? 0 : exponent<T>(load<T>(s)));
        break;
      case SCALE:
        // brings max |a| into [1, 2)
        done = scalePowerSlice<T>(work, I, p, long, -cursor(work, EXPONENT), t, ldt);
        break;
      case FACTOR:
        if (!factored) break;
        done = geqrfSlice<T>(work, I, J, long, p, p, t, ldt, tau, rest);
        if (done) copyR<T>(p, t, ldt, r, ldp);
        break;
      case REDUCE:
        done = gebrdSlice<T>(
          work, I, J, order, p, reduced, ldr, s, e, tauq, vectors == NONE ? 0 : reflectors, ldp, taup, rest,
        );
        if (!done) break;
        if (vectors == NONE) beginValues<T>(work, driver, p, s, e, rest);
        else beginBidiagonal<T>(driver, p, s, e, bu, bv, ldp, positions, rest);
        break;
      case SOLVE: {
        const result = vectors == NONE
          ? solveValues<T>(work, p, s, e, rest)
          : solveBidiagonal<T>(driver, p, s, e, bu, bv, ldp, positions, rest);
        if (result != 0) return result;
        if (vectors == NONE) setCursor(work, PHASE, UNSCALE - 1);
        setCursor(work, I, 0);
        setCursor(work, J, 0);
        break;
      }
      case LEFT:
        // left vectors of M: Q·[U_B 0; 0 I], by rows
        done = embed<T>(work, p, k, long, bu, ldp, positions, left, ldl);
        break;
      case LEFT_R:
        if (factored) done = applyReflectorsSlice<T>(work, I, J, p, p, p, 0, r, ldp, tauq, left, ldl, rest);
        break;
      case LEFT_Q:
        done = applyReflectorsSlice<T>(work, I, J, k, long, p, 0, t, ldt, factored ? tau : tauq, left, ldl, rest);
        break;
      case LEFT_OUT:
        if (!wide) done = transposeOutSlice<T>(work, I, long, k, x, ldt, u);
        break;
      case RIGHT:
        // right vectors of M: P·V_B
        done = embed<T>(work, p, p, p, bv, ldp, positions, right, ldv);
        break;
      case RIGHT_P:
        done = applyReflectorsSlice<T>(work, I, J, p, p, p - 1, 1, reflectors, ldp, taup, right, ldv, rest);
        break;
      case RIGHT_OUT:
        if (wide) done = transposeOutSlice<T>(work, I, p, p, x, ldp, u);
        break;
      default:
        break;
    }
    if (!done) return interrupted();
    setCursor(work, PHASE, cursor(work, PHASE) + 1);
  }
  const exponent = cursor(work, EXPONENT);
  for (let i = 0; i < p; i++) store<T>(at<T>(s, i), scaleByPowerOfTwo<T>(load<T>(at<T>(s, i)), exponent));
  return 0;
}

/** Readies the bidiagonal stage without vectors. Cursor K of the head tells which way it goes: 0 is dqds, 1 QR iteration. */
function beginValues<T>(head: usize, driver: i32, p: i32, d: usize, e: usize, work: usize): void {
  setCursor(head, K, <i32>(driver == QR));
  if (driver == QR) bdsqrBegin<T>(p, d, e, work);
  else lasq1Begin(work);
}

/** d <- values, descending; e is destroyed. What dqds gives up, QR iteration takes over. */
function solveValues<T>(head: usize, p: i32, d: usize, e: usize, work: usize): i32 {
  if (cursor(head, K) == 0) {
    const result = lasq1Slice<T>(p, d, e, work);
    if (result <= 0) return result;
    beginValues<T>(head, QR, p, d, e, work);
  }
  return bdsqrSlice<T>(p, 0, 0, d, e, 0, 0, 0, 0, work);
}

/** Readies the bidiagonal stage with vectors: bu, bv (p×p) for the bidiagonal's vectors by rows. */
function beginBidiagonal<T>(
  driver: i32, p: i32, d: usize, e: usize, bu: usize, bv: usize, ld: i32, positions: usize, work: usize,
): void {
  if (!usesQr(driver, p)) {
    bdsdcBegin<T>(p, bu, ld, bv, ld, work);
    return;
  }
  setIdentity<T>(p, p, bu, ld);
  setIdentity<T>(p, p, bv, ld);
  for (let i = 0; i < p; i++) store<i32>(positions + 4 * i, i);
  bdsqrBegin<T>(p, d, e, work);
}

/** d <- values, descending; positions <- where their vectors stand in bu and bv. */
function solveBidiagonal<T>(
  driver: i32, p: i32, d: usize, e: usize, bu: usize, bv: usize, ld: i32, positions: usize, work: usize,
): i32 {
  if (usesQr(driver, p)) return bdsqrSlice<T>(p, p, p, d, e, bv, ld, bu, ld, work);
  const result = bdsdcSlice<T>(p, d, e, bu, ld, bv, ld, positions, work);
  if (result != 0) return result;
  for (let i = 0, j = p - 1; i < j; i++, j--) {
    const first = load<i32>(positions + 4 * i);
    store<i32>(positions + 4 * i, load<i32>(positions + 4 * j));
    store<i32>(positions + 4 * j, first);
  }
  memory.copy(work, d, at<T>(0, p));
  for (let i = 0; i < p; i++) store<T>(at<T>(d, i), load<T>(at<T>(work, load<i32>(positions + 4 * i))));
  return 0;
}

/** x (k×n) <- rows positions_i of b (p×p) and zeros behind them; below, rows of the identity. */
function embed<T>(
  head: usize, p: i32, k: i32, n: i32, b: usize, ldb: i32, positions: usize, x: usize, ldx: i32,
): bool {
  for (let i = cursor(head, I); i < k; i++) {
    const row = at<T>(x, i * ldx);
    if (i < p) {
      memory.copy(row, at<T>(b, load<i32>(positions + 4 * i) * ldb), at<T>(0, p));
      fill<T>(n - p, <T>0, at<T>(row, p));
    } else {
      fill<T>(n, <T>0, row);
      store<T>(at<T>(row, i), <T>1);
    }
    setCursor(head, I, i + 1);
    if (spend(2 * <f64>n)) return false;
  }
  setCursor(head, I, 0);
  return true;
}

/** No singular values: the full factors are identities. */
function emptySvd<T>(m: i32, n: i32, vectors: i32, u: usize, vt: usize): i32 {
  if (vectors == FULL) {
    setIdentity<T>(m, m, u, m);
    setIdentity<T>(n, n, vt, n);
  }
  return 0;
}
