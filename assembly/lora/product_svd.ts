// The SVD of a product C·D without forming it: C = Q_C·R_C and Dᵀ = Q_D·R_D by QR, then the SVD of the small core
// R_C·R_Dᵀ = U·diag(S)·Vᵀ, and C·D = (Q_C·U)·diag(S)·(Q_D·V)ᵀ. A factor that is wider than long takes part as it is.
// Both factors are first scaled by powers of two, so that no product over- or underflows: 2^k·C·D gives exactly 2^k·S.
// C is m×r, held by columns (r rows of m), D is r×n, row-major; k = min(m, n, r) values.

import { gemmSlice } from "../blas/gemm";
import { amax, scalPower } from "../blas/level1";
import { fill, lacpy } from "../blas/matrix";
import { exponent, scaleByPowerOfTwo } from "../machine";
import { at } from "../simd";
import { HEAD_BYTES, begin, cursor, interrupted, openSlice, setCursor } from "../slice";
import { gesvd, gesvdBegin, gesvdScratch } from "../svd/gesvd";
import { applyReflectorsSlice, applyReflectorsWork } from "../svd/householder";
import { copyR, geqrfSlice, geqrfWork } from "../svd/qr_factor";

const THIN = 1;

/** Elements in whole cache lines. */
function block<T>(elements: f64): f64 {
  const line = <f64>(64 / sizeof<T>());
  return ceil<f64>(elements / line) * line;
}

/** Bytes of working memory of productSvd. */
export function productSvdScratch<T>(m: i32, n: i32, r: i32): f64 {
  const p = min<i32>(m, r), q = min<i32>(n, r), k = min<i32>(p, q);
  let elements = block<T>(<f64>r * <f64>m) + block<T>(<f64>r * <f64>n);
  elements += 2 * block<T>(<f64>r) + block<T>(<f64>r * <f64>p) + block<T>(<f64>r * <f64>q);
  elements += block<T>(<f64>p * <f64>q) + block<T>(<f64>p * <f64>k) + block<T>(<f64>k * <f64>q);
  elements += block<T>(<f64>max<i32>(stepWork(m, r, k), stepWork(n, r, k)));
  return <f64>HEAD_BYTES + elements * <f64>sizeof<T>() + gesvdScratch<T>(p, q, THIN, 0);
}

/** Elements that a factorisation and the use of its reflectors need. */
function stepWork(length: i32, r: i32, k: i32): i32 {
  return max<i32>(geqrfWork(length, r), applyReflectorsWork(k, length));
}

// cursors of the head
const PHASE = 0, I = 1, J = 2, EXPONENT = 3;

// phases
const COPY = 0, FACTOR_C = 1, FACTOR_D = 2, CORE = 3, SOLVE = 4, EMBED = 5, LEFT = 6, RIGHT = 7, DONE = 8;

/** Readies productSvd. */
export function productSvdBegin<T>(work: usize): void {
  begin(work);
}

/**
 * A slice of the decomposition: MORE or STOPPED (slice.ts) until it is done, then 0 or how many values did not converge.
 * ut (k×m) <- left vectors by rows, s (k), vt (k×n) <- right vectors by rows. C and D are finite and stay as they are.
 */
export function productSvd<T>(
  m: i32, n: i32, r: i32, c: usize, d: usize, ut: usize, s: usize, vt: usize, work: usize,
): i32 {
  const p = min<i32>(m, r), q = min<i32>(n, r), k = min<i32>(p, q);
  if (k == 0) return 0;
  const qc = work + HEAD_BYTES, qd = next<T>(qc, r, m), tauC = next<T>(qd, r, n), tauD = next<T>(tauC, r, 1);
  const rc = next<T>(tauD, r, 1), rd = next<T>(rc, r, p), core = next<T>(rd, r, q), u = next<T>(core, p, q);
  const v = next<T>(u, p, k), rest = next<T>(v, k, q);
  const solver = next<T>(rest, max<i32>(stepWork(m, r, k), stepWork(n, r, k)), 1);

  openSlice(work);
  while (cursor(work, PHASE) < DONE) {
    let done = true;
    switch (cursor(work, PHASE)) {
      case COPY:
        setCursor(work, EXPONENT, copyScaled<T>(r * m, c, qc) + copyScaled<T>(r * n, d, qd));
        break;
      case FACTOR_C:
        done = factor<T>(work, m, r, qc, tauC, rc, rest);
        break;
      case FACTOR_D:
        done = factor<T>(work, n, r, qd, tauD, rd, rest);
        break;
      case CORE:
        // R_C and R_D by columns: element (i, l) of R_C at l·p + i
        done = gemmSlice<T>(work, I, p, q, r, <T>1, rc, 1, p, rd, q, 1, <T>0, core, q);
        if (done) gesvdBegin<T>(solver);
        break;
      case SOLVE: {
        const result = gesvd<T>(p, q, THIN, 0, core, q, 1, u, s, v, solver);
        if (result != 0) return result;
        openSlice(work);
        break;
      }
      case EMBED:
        for (let i = 0; i < k; i++) {
          const value = at<T>(s, i);
          store<T>(value, scaleByPowerOfTwo<T>(load<T>(value), cursor(work, EXPONENT)));
        }
        lacpy<T>(k, p, u, 1, k, ut, m);
        lacpy<T>(k, q, v, q, 1, vt, n);
        for (let i = 0; i < k; i++) {
          fill<T>(m - p, <T>0, at<T>(ut, i * m + p));
          fill<T>(n - q, <T>0, at<T>(vt, i * n + q));
        }
        break;
      case LEFT:
        if (m > r) done = applyReflectorsSlice<T>(work, I, J, k, m, r, 0, qc, m, tauC, ut, m, rest);
        break;
      default:
        if (n > r) done = applyReflectorsSlice<T>(work, I, J, k, n, r, 0, qd, n, tauD, vt, n, rest);
        break;
    }
    if (!done) return interrupted();
    setCursor(work, PHASE, cursor(work, PHASE) + 1);
  }
  return 0;
}

/** y <- x·2^-k, whose largest entry is in [1, 2); returns k. */
function copyScaled<T>(n: i32, x: usize, y: usize): i32 {
  memory.copy(y, x, at<T>(0, n));
  const most = amax<T>(n, y, 1);
  if (most == <T>0) return 0;
  const k = exponent<T>(most);
  scalPower<T>(n, -k, y);
  return k;
}

/** What stands behind rows×columns elements. */
function next<T>(x: usize, rows: i32, columns: i32): usize {
  return x + ((at<T>(0, rows * columns) + 63) & ~63);
}

/** triangle (r rows of min(length, r)) <- R of t (r rows of length, by columns), or t itself where it is not longer. */
function factor<T>(head: usize, length: i32, r: i32, t: usize, tau: usize, triangle: usize, work: usize): bool {
  if (length <= r) {
    memory.copy(triangle, t, at<T>(0, r * length));
    return true;
  }
  if (!geqrfSlice<T>(head, I, J, length, r, r, t, length, tau, work)) return false;
  copyR<T>(r, t, length, triangle, r);
  return true;
}
