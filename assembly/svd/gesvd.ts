// A = U·diag(S)·Vᵀ: scaling, reduction to bidiagonal form, bidiagonal QR iteration. LAPACK's xGESVD.
// A is m×n with strides (rs, cs), finite; p = min(m, n).

import { amax, scal } from "../blas/level1";
import { lacpy, setIdentity } from "../blas/matrix";
import { exponent, powerOfTwo, scaleByPowerOfTwo } from "../machine";
import { at } from "../simd";
import { bdsqr, bdsqrWork } from "./bidiagonal_qr";
import { formPt, formQ, gebd2 } from "./bidiagonalize";

/** What is computed beside the values: LAPACK's jobs 'N', 'S' and 'A' for both sides. */
const NONE = 0;
// 1 is THIN
const FULL = 2;

/** Bytes of working memory of gesvd; exact in f64 for every size. */
export function gesvdScratch<T>(m: i32, n: i32, vectors: i32): f64 {
  const long = <f64>max<i32>(m, n), p = <f64>min<i32>(m, n);
  const k = vectors == FULL ? long : p;
  let elements = long * p + 4 * p + 2 * long + <f64>bdsqrWork(<i32>p);
  // the factor of the long side, by columns and by rows
  if (vectors != NONE) elements += 2 * long * k + p * p;
  return elements * <f64>sizeof<T>();
}

/**
 * u (m×k), s (p), vt (k'×n), row-major; k = k' = p with `vectors` THIN, m and n with FULL; NONE writes s only.
 * Returns 0, or how many values did not converge.
 */
export function gesvd<T>(
  m: i32, n: i32, vectors: i32, a: usize, rs: i32, cs: i32, u: usize, s: usize, vt: usize, work: usize,
): i32 {
  // a wide matrix is treated as its transpose: A = U·S·Vᵀ, Aᵀ = V·S·Uᵀ
  const wide = m < n;
  const long = wide ? n : m, p = wide ? m : n;
  if (p == 0) return emptySvd<T>(m, n, vectors, u, vt);
  const k = vectors == FULL ? long : p;

  const b = work;
  const e = at<T>(b, long * p);
  const tauq = at<T>(e, p), taup = at<T>(tauq, p);
  const rest = at<T>(taup, 2 * p), rotations = at<T>(rest, 2 * long);
  const q = at<T>(rotations, bdsqrWork(p)), qt = at<T>(q, long * k), pt = at<T>(qt, long * k);

  if (wide) lacpy<T>(long, p, a, cs, rs, b, p);
  else lacpy<T>(long, p, a, rs, cs, b, p);
  const scale = scaleToOne<T>(long * p, b);
  gebd2<T>(long, p, b, p, s, e, tauq, taup, rest);

  let failed: i32;
  if (vectors == NONE) {
    failed = bdsqr<T>(p, 0, 0, s, e, 0, 0, 0, 0, rotations);
  } else {
    formQ<T>(long, k, p, b, p, tauq, q, k, rest);
    lacpy<T>(k, long, q, 1, k, qt, long);
    formPt<T>(p, b, p, taup, pt, p, rest);
    failed = bdsqr<T>(p, p, long, s, e, pt, p, qt, long, rotations);
    if (wide) {
      lacpy<T>(k, long, qt, long, 1, vt, long);
      lacpy<T>(p, p, pt, 1, p, u, p);
    } else {
      lacpy<T>(long, k, qt, 1, long, u, k);
      lacpy<T>(p, p, pt, p, 1, vt, p);
    }
  }
  if (scale != 0) for (let i = 0; i < p; i++) store<T>(at<T>(s, i), scaleByPowerOfTwo<T>(load<T>(at<T>(s, i)), scale));
  return failed;
}

/** x <- x·2^-k with max |x| in [1, 2); returns k. A zero vector stays as it is. */
function scaleToOne<T>(n: i32, x: usize): i32 {
  const largest = amax<T>(n, x, 1);
  if (largest == <T>0) return 0;
  const k = exponent<T>(largest);
  // 2^-k itself may be out of range: in two steps
  const half = k / 2;
  if (k != 0) {
    const most = sizeof<T>() == 4 ? 126 : 1022;
    if (-k > most || k > most) {
      scal<T>(n, powerOfTwo<T>(-half), x, 1);
      scal<T>(n, powerOfTwo<T>(half - k), x, 1);
    } else {
      scal<T>(n, powerOfTwo<T>(-k), x, 1);
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
