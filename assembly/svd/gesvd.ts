// A = U·diag(S)·Vᵀ: scaling, QR first where A is long, reduction to bidiagonal form, bidiagonal SVD by QR iteration or
// divide and conquer, and the vectors by applying the reflectors. LAPACK's xGESVD and xGESDD.
//
// All work is done on M (long×p, long >= p), held by columns: M = A, or M = Aᵀ for a wide A, whose rows then are the
// columns. Vectors are computed by rows: ut holds the p (or all) left vectors of M, vt the right ones.

import { amax, scal } from "../blas/level1";
import { fill, lacpy, setIdentity } from "../blas/matrix";
import { exponent, powerOfTwo, scaleByPowerOfTwo } from "../machine";
import { at } from "../simd";
import { bdsdc, bdsdcScratch } from "./bidiagonal_dc";
import { bdsqr, bdsqrWork } from "./bidiagonal_qr";
import { gebrd, gebrdWork } from "./bidiagonalize";
import { applyReflectors, applyReflectorsWork, paddedLength } from "./householder";
import { copyR, geqrf, geqrfWork } from "./qr_factor";

/** What is computed beside the values: nothing; 1: p vectors a side; or all of them. LAPACK's jobs 'N', 'S', 'A'. */
const NONE = 0;
const FULL = 2;

/** Bidiagonal drivers. */
const AUTO = 0;
const QR = 1;

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
  }
  steps = max<f64>(steps, <f64>bdsqrWork(p));
  return (elements + steps) * <f64>sizeof<T>() + 1024;
}

/**
 * A is m×n with strides (rs, cs), finite; p = min(m, n). u (m×k), s (p), vt (k'×n), row-major; k = k' = p with `vectors`
 * THIN, m and n with FULL; NONE writes s only. Returns 0, or how many values did not converge.
 */
export function gesvd<T>(
  m: i32, n: i32, vectors: i32, driver: i32, a: usize, rs: i32, cs: i32, u: usize, s: usize, vt: usize, work: usize,
): i32 {
  const wide = m < n;
  const long = wide ? n : m, p = wide ? m : n;
  if (p == 0) return emptySvd<T>(m, n, vectors, u, vt);
  const k = vectors == FULL ? long : p;
  const ldt = paddedLength<T>(long), ldp = paddedLength<T>(p);

  const t = work, e = at<T>(t, p * ldt), tauq = at<T>(e, ldp), taup = at<T>(tauq, ldp), tau = at<T>(taup, ldp);
  let rest = at<T>(tau, ldp);
  if (wide) lacpy<T>(p, long, a, rs, cs, t, ldt);
  else lacpy<T>(p, long, a, cs, rs, t, ldt);
  const scale = scaleToOne<T>(p, long, t, ldt);

  // the matrix to be reduced, by columns: M itself or its R
  const factored = factorsFirst(long, p);
  let reduced = t, ldr = ldt, order = long;
  if (factored) {
    reduced = rest;
    ldr = ldp;
    order = p;
    rest = at<T>(rest, p * ldp);
    geqrf<T>(long, p, t, ldt, tau, rest);
    copyR<T>(p, t, ldt, reduced, ldr);
  }

  let failed: i32;
  if (vectors == NONE) {
    gebrd<T>(order, p, reduced, ldr, s, e, tauq, 0, 0, taup, rest);
    failed = bdsqr<T>(p, 0, 0, s, e, 0, 0, 0, 0, rest);
  } else {
    const reflectors = rest, bu = at<T>(reflectors, p * ldp), bv = at<T>(bu, p * ldp), x = at<T>(bv, p * ldp);
    const positions = at<T>(x, k * ldt);
    rest = at<T>(positions, ldp);
    gebrd<T>(order, p, reduced, ldr, s, e, tauq, reflectors, ldp, taup, rest);
    failed = bidiagonalSvd<T>(driver, p, s, e, bu, bv, ldp, positions, rest);
    if (failed > 0) return failed;
    permuteValues<T>(p, s, positions, rest);

    // left vectors of M: Q·[U_B 0; 0 I], by rows, in place where they need no transposition
    const left = wide ? vt : x, ldl = wide ? long : ldt;
    embed<T>(p, k, long, bu, ldp, positions, left, ldl);
    if (factored) applyReflectors<T>(p, p, p, 0, reduced, ldr, tauq, left, ldl, rest);
    applyReflectors<T>(k, long, p, 0, t, ldt, factored ? tau : tauq, left, ldl, rest);
    if (!wide) lacpy<T>(long, k, x, 1, ldt, u, k);
    // right vectors of M: P·V_B
    const right = wide ? x : vt, ldv = wide ? ldp : p;
    embed<T>(p, p, p, bv, ldp, positions, right, ldv);
    applyReflectors<T>(p, p, p - 1, 1, reflectors, ldp, taup, right, ldv, rest);
    if (wide) lacpy<T>(p, p, x, 1, ldp, u, p);
  }
  for (let i = 0; i < p; i++) store<T>(at<T>(s, i), scaleByPowerOfTwo<T>(load<T>(at<T>(s, i)), scale));
  return failed;
}

/** d <- values, bu, bv (p×p) <- vectors of the bidiagonal by rows, positions <- where the values stand, descending. */
function bidiagonalSvd<T>(
  driver: i32, p: i32, d: usize, e: usize, bu: usize, bv: usize, ld: i32, positions: usize, work: usize,
): i32 {
  if (!usesQr(driver, p)) {
    const failed = bdsdc<T>(p, d, e, bu, ld, bv, ld, positions, work);
    for (let i = 0, j = p - 1; i < j; i++, j--) {
      const first = load<i32>(positions + 4 * i);
      store<i32>(positions + 4 * i, load<i32>(positions + 4 * j));
      store<i32>(positions + 4 * j, first);
    }
    return failed;
  }
  setIdentity<T>(p, p, bu, ld);
  setIdentity<T>(p, p, bv, ld);
  for (let i = 0; i < p; i++) store<i32>(positions + 4 * i, i);
  return bdsqr<T>(p, p, p, d, e, bv, ld, bu, ld, work);
}

/** s_i <- s[positions_i]. */
function permuteValues<T>(p: i32, s: usize, positions: usize, work: usize): void {
  memory.copy(work, s, at<T>(0, p));
  for (let i = 0; i < p; i++) store<T>(at<T>(s, i), load<T>(at<T>(work, load<i32>(positions + 4 * i))));
}

/** x (k×n) <- rows positions_i of b (p×p) and zeros behind them; below, rows of the identity. */
function embed<T>(p: i32, k: i32, n: i32, b: usize, ldb: i32, positions: usize, x: usize, ldx: i32): void {
  for (let i = 0; i < k; i++) {
    const row = at<T>(x, i * ldx);
    if (i < p) {
      memory.copy(row, at<T>(b, load<i32>(positions + 4 * i) * ldb), at<T>(0, p));
      fill<T>(n - p, <T>0, at<T>(row, p));
    } else {
      fill<T>(n, <T>0, row);
      store<T>(at<T>(row, i), <T>1);
    }
  }
}

/** X (rows×n) <- X·2^-k with max |x| in [1, 2); returns k. A zero matrix stays as it is. */
function scaleToOne<T>(rows: i32, n: i32, x: usize, ldx: i32): i32 {
  let largest = <T>0;
  for (let i = 0; i < rows; i++) largest = max<T>(largest, amax<T>(n, at<T>(x, i * ldx), 1));
  if (largest == <T>0) return 0;
  const k = exponent<T>(largest);
  if (k == 0) return 0;
  const most = sizeof<T>() == 4 ? 126 : 1022;
  for (let i = 0; i < rows; i++) {
    const row = at<T>(x, i * ldx);
    if (-k > most || k > most) {
      // 2^-k itself is out of range: in two steps
      scal<T>(n, powerOfTwo<T>(-(k / 2)), row, 1);
      scal<T>(n, powerOfTwo<T>(k / 2 - k), row, 1);
    } else {
      scal<T>(n, powerOfTwo<T>(-k), row, 1);
    }
  }
  return k;
}

/** No singular values: the full factors are identities. */
function emptySvd<T>(m: i32, n: i32, vectors: i32, u: usize, vt: usize): i32 {
  if (vectors == FULL) {
    setIdentity<T>(m, m, u, m);
    setIdentity<T>(n, n, vt, n);
  }
  return 0;
}
