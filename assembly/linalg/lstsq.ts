// Least squares: the shortest x that minimises ‖A·x − b‖, for every column b of B.
//
// M, which is A, or Aᵀ where A is wide, is factored first, M = Q·R; what is left is a square system with R or Rᵀ. Its
// singular values are A's: they alone decide the rank. Where R is safely of full rank the triangle is solved (xGELS), else
// its SVD, cut off at the rank (xGELSS). A and every column of B are scaled by powers of two of their own.
// Everything is held by columns: a right-hand side is a row of the memory.

import { amax, nrm2, scal, scalPower } from "../blas/level1";
import { gemmSlice } from "../blas/gemm";
import { fill, lacpy } from "../blas/matrix";
import { copyInSlice, scalePowerSlice, transposeOutSlice } from "../blas/transfer";
import { trsmSlice } from "../blas/triangular";
import { epsilon, exponent, scaleByPowerOfTwo } from "../machine";
import { at } from "../simd";
import { HEAD_BYTES, begin, cursor, interrupted, openSlice, setCursor, spend } from "../slice";
import { gesvd, gesvdBegin, gesvdScratch } from "../svd/gesvd";
import { applyReflectorsSlice, applyReflectorsWork, paddedLength } from "../svd/householder";
import { copyR, geqrfSlice, geqrfWork } from "../svd/qr_factor";

/** gesvd's jobs and driver. */
const NONE = 0, THIN = 1, AUTO = 0;

/** Bytes of working memory of lstsq; exact in f64 for every size. */
export function lstsqScratch<T>(m: i32, n: i32, k: i32): f64 {
  const long = max<i32>(m, n), p = min<i32>(m, n), ldt = <f64>paddedLength<T>(long), ldp = <f64>paddedLength<T>(p);
  const square = <f64>p * ldp, sides = <f64>k;
  const elements = (<f64>p + sides) * ldt + sides * ldp + 3 * ldp + 3 * square + sides * ldp + 64;
  const steps = max<f64>(<f64>geqrfWork(long, p + k), <f64>applyReflectorsWork(k, long)) * <f64>sizeof<T>();
  const inner = max<f64>(gesvdScratch<T>(p, p, NONE, AUTO), gesvdScratch<T>(p, p, THIN, AUTO));
  return elements * <f64>sizeof<T>() + 4 * sides + max<f64>(steps, inner) + <f64>HEAD_BYTES + 256;
}

// cursors of the head
const PHASE = 0, I = 1, J = 2, EXPONENT = 3, RANK = 4;

// phases; a triangle that is safely of full rank goes from TRIANGLE to APPLY, the others by way of the SVD
const COPY = 0, SCALE = 1, SIDES = 2, FACTOR = 3, VALUES = 4, TRIANGLE = 5, DECOMPOSE = 6, PROJECT = 7, EXPAND = 8;
const APPLY = 9, UNSCALE = 10, OUT = 11, END = 12;

/** Readies lstsq. */
export function lstsqBegin<T>(work: usize): void {
  begin(work);
}

/** The rank that lstsq found, when it is done. */
export function lstsqRank(work: usize): i32 {
  return cursor(work, RANK);
}

/**
 * A slice of the solution: MORE or STOPPED (slice.ts) until it is done, then 0, or how many singular values did not converge.
 * A (m×n, strides rs, cs) and B (m×k, strides rsb, csb) are finite. x (n×k, row-major); s (min(m, n)): A's singular
 * values; the rank counts those above rcond·s_0. residuals (k) <- ‖A·x − b‖² for m >= n and full rank, else any numbers.
 * work: lstsqScratch(…) bytes, readied by lstsqBegin.
 */
export function lstsq<T>(
  m: i32, n: i32, k: i32, a: usize, rs: i32, cs: i32, b: usize, rsb: i32, csb: i32, rcond: f64, x: usize, s: usize,
  residuals: usize, work: usize,
): i32 {
  const wide = m < n, long = wide ? n : m, p = wide ? m : n;
  const ldt = paddedLength<T>(long), ldp = paddedLength<T>(p);
  // t: p columns of M, then k of length `long`, in which the result comes to stand: Qᵀ·B where A is tall
  const t = work + HEAD_BYTES, sides = at<T>(t, p * ldt), y = at<T>(sides, k * ldt), tau = at<T>(y, k * ldp);
  const values = at<T>(tau, ldp), again = at<T>(values, ldp), r = at<T>(again, ldp), u = at<T>(r, p * ldp), vt = at<T>(u, p * ldp);
  const z = at<T>(vt, p * ldp), exponents = at<T>(z, k * ldp);
  const rest = (exponents + 4 * <usize>k + 63) & ~<usize>63;
  // the square system, of which `system` holds k right-hand sides of length p
  const system = wide ? y : sides, ldy = wide ? ldp : ldt;

  openSlice(work);
  while (cursor(work, PHASE) < END) {
    let done = true;
    switch (cursor(work, PHASE)) {
      case COPY:
        done = copyInSlice<T>(work, I, p, long, a, wide ? rs : cs, wide ? cs : rs, t, ldt, tau);
        if (done) setCursor(work, EXPONENT, p == 0 || load<T>(tau) == <T>0 ? 0 : exponent<T>(load<T>(tau)));
        break;
      case SCALE:
        done = scalePowerSlice<T>(work, I, p, long, -cursor(work, EXPONENT), t, ldt);
        break;
      case SIDES:
        done = copySides<T>(work, m, k, b, rsb, csb, system, ldy, exponents);
        break;
      case FACTOR:
        done = geqrfSlice<T>(work, I, J, long, wide ? p : p + k, p, t, ldt, tau, rest);
        if (!done) break;
        copyR<T>(p, t, ldt, r, ldp);
        if (!wide) sumResiduals<T>(m, n, k, sides, ldt, exponents, residuals);
        gesvdBegin<T>(rest);
        break;
      case VALUES: {
        const result = decompose<T>(work, p, NONE, r, wide, ldp, u, values, vt, rest);
        if (result != 0) return result;
        const rank = rankOf<T>(p, values, rcond);
        setCursor(work, RANK, rank);
        if (rank == 0) setCursor(work, PHASE, DECOMPOSE);
        break;
      }
      case TRIANGLE:
        if (!isSafe<T>(p, values, rcond, r, ldp)) {
          gesvdBegin<T>(rest);
          break;
        }
        done = trsmSlice<T>(work, I, wide, k, p, r, ldp, system, ldy);
        if (done) setCursor(work, PHASE, EXPAND);
        break;
      case DECOMPOSE: {
        // the values that decided the rank stay the ones that are divided by
        const result = decompose<T>(work, p, THIN, r, wide, ldp, u, again, vt, rest);
        if (result != 0) return result;
        break;
      }
      case PROJECT: {
        const rank = cursor(work, RANK);
        done = gemmSlice<T>(work, I, k, rank, p, <T>1, system, ldy, 1, u, p, 1, <T>0, z, ldp);
        if (!done) break;
        for (let j = 0; j < rank; j++) scal<T>(k, <T>(<T>1 / load<T>(at<T>(values, j))), at<T>(z, j), ldp);
        break;
      }
      case EXPAND:
        done = gemmSlice<T>(work, I, k, p, cursor(work, RANK), <T>1, z, ldp, 1, vt, p, 1, <T>0, system, ldy);
        break;
      case APPLY:
        if (!wide) break;
        if (cursor(work, I) == 0 && cursor(work, J) == 0) embed<T>(k, p, long, y, ldp, sides, ldt);
        done = applyReflectorsSlice<T>(work, I, J, k, long, p, 0, t, ldt, tau, sides, ldt, rest);
        break;
      case UNSCALE:
        for (let j = 0; j < k; j++) {
          scalPower<T>(n, load<i32>(exponents + 4 * j) - cursor(work, EXPONENT), at<T>(sides, j * ldt));
        }
        break;
      default:
        done = transposeOutSlice<T>(work, I, n, k, sides, ldt, x);
        break;
    }
    if (!done) return interrupted();
    setCursor(work, PHASE, cursor(work, PHASE) + 1);
  }
  const scale = cursor(work, EXPONENT);
  for (let i = 0; i < p; i++) store<T>(at<T>(s, i), scaleByPowerOfTwo<T>(load<T>(at<T>(values, i)), scale));
  return 0;
}

/** gesvd of R (p×p, held by columns), or with `transposed` of Rᵀ, on the slices of `head`: 0 when done, as gesvd. */
function decompose<T>(
  head: usize, p: i32, job: i32, r: usize, transposed: bool, ldr: i32, u: usize, s: usize, vt: usize, inner: usize,
): i32 {
  const before = load<f64>(inner);
  const result = gesvd<T>(p, p, job, AUTO, r, transposed ? ldr : 1, transposed ? 1 : ldr, u, s, vt, inner);
  openSlice(head);
  spend(load<f64>(inner) - before);
  return result < 0 ? interrupted() : result;
}

/** How many of the n descending values count. */
function rankOf<T>(n: i32, s: usize, rcond: f64): i32 {
  let rank = 0;
  while (rank < n && <f64>load<T>(at<T>(s, rank)) > rcond * <f64>load<T>(s)) rank++;
  return rank;
}

/**
 * Whether the triangle R (n×n, ldr) may be solved: its rank is full, and the smallest of its values more than rounding, which
 * it is not if the diagonal has something smaller: that bounds it from above.
 */
function isSafe<T>(n: i32, s: usize, rcond: f64, r: usize, ldr: i32): bool {
  const least = load<T>(at<T>(s, n - 1));
  if (!(<f64>least > max<f64>(rcond, 2 * <f64>epsilon<T>()) * <f64>load<T>(s))) return false;
  for (let j = 0; j < n; j++) {
    if (<T>(<T>2 * abs<T>(load<T>(at<T>(r, j * ldr + j)))) < least) return false;
  }
  return true;
}

/** Rows of y (ldy) <- the columns of B (m×k), each divided by the power of two that goes to `exponents`. */
function copySides<T>(
  head: usize, m: i32, k: i32, b: usize, rsb: i32, csb: i32, y: usize, ldy: i32, exponents: usize,
): bool {
  for (let j = cursor(head, I); j < k; j++) {
    const row = at<T>(y, j * ldy);
    lacpy<T>(1, m, at<T>(b, j * csb), 1, rsb, row, m);
    const most = amax<T>(m, row, 1), e = most == <T>0 ? 0 : exponent<T>(most);
    scalPower<T>(m, -e, row);
    store<i32>(exponents + 4 * j, e);
    setCursor(head, I, j + 1);
    if (spend(8 * <f64>m)) return false;
  }
  setCursor(head, I, 0);
  return true;
}

/** residuals (k) <- squared norms of what Qᵀ·B has below its first n rows. */
function sumResiduals<T>(m: i32, n: i32, k: i32, y: usize, ldy: i32, exponents: usize, residuals: usize): void {
  for (let j = 0; j < k; j++) {
    const norm = nrm2<T>(m - n, at<T>(y, j * ldy + n), 1);
    store<T>(at<T>(residuals, j), scaleByPowerOfTwo<T>(<T>(norm * norm), 2 * load<i32>(exponents + 4 * j)));
  }
}

/** x (k×n, ldx) <- the rows of y (k×p) with zeros behind them. */
function embed<T>(k: i32, p: i32, n: i32, y: usize, ldy: i32, x: usize, ldx: i32): void {
  for (let j = 0; j < k; j++) {
    const row = at<T>(x, j * ldx);
    memory.copy(row, at<T>(y, j * ldy), at<T>(0, p));
    fill<T>(n - p, <T>0, at<T>(row, p));
  }
}
