// Norms that need no decomposition: Frobenius's, and sums along rows; sums along columns are those of the transposed
// matrix. LAPACK's xLANGE, and with smallest sums what NumPy adds to it. NaN and Infinity pass through.

import { addAbsolute, asum, nrm2 } from "../blas/level1";
import { fill } from "../blas/matrix";
import { at } from "../simd";

/** Kinds: Frobenius, the largest or the smallest sum of a row's absolute values. */
const FROBENIUS = 0;
const LARGEST = 1;

/** A norm of A (m×n, strides rs, cs); 0 for no rows. work: max(m, n) elements. No entry overflows that the result does not. */
export function lange<T>(kind: i32, m: i32, n: i32, a: usize, rs: i32, cs: i32, work: usize): T {
  if (kind == FROBENIUS) {
    if (rs == 1 && cs != 1) return frobenius<T>(n, m, a, cs, rs, work);
    return frobenius<T>(m, n, a, rs, cs, work);
  }
  if (rs == 1 && cs != 1) {
    fill<T>(m, <T>0, work);
    for (let j = 0; j < n; j++) addAbsolute<T>(m, at<T>(a, j * cs), work);
  } else {
    for (let i = 0; i < m; i++) store<T>(at<T>(work, i), asum<T>(n, at<T>(a, i * rs), cs));
  }
  if (m == 0) return <T>0;
  let found = load<T>(work);
  for (let i = 1; i < m; i++) {
    const x = load<T>(at<T>(work, i));
    found = kind == LARGEST ? max<T>(found, x) : min<T>(found, x);
  }
  return found;
}

/** ‖A‖_F: the norm of the rows' norms, which stand in work (m elements). */
function frobenius<T>(m: i32, n: i32, a: usize, rs: i32, cs: i32, work: usize): T {
  if (cs == 1 && rs == n) return nrm2<T>(m * n, a, 1);
  for (let i = 0; i < m; i++) store<T>(at<T>(work, i), nrm2<T>(n, at<T>(a, i * rs), cs));
  return nrm2<T>(m, work, 1);
}
