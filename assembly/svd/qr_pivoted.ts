// QR factorisation with column pivoting (Businger and Golub 1965; xGEQP3) and row pivoting (Powell and Reid 1969),
// which makes it accurate row by row: Cox and Higham, "Stability of Householder QR factorization for weighted least
// squares problems" (1998). The columns carry exponents of their own: column j of M is 2^exponents[j] times what memory
// holds. Reflectors act on each column by itself, so that M may be graded over more than the range of the format. M
// (m×n, m >= n) is held by columns.

import { amax, axpy, dot, nrm2, swap } from "../blas/level1";
import { epsilon, exponent, scaleByPowerOfTwo } from "../machine";
import { at } from "../simd";
import { cursor, setCursor, spend } from "../slice";
import { larfg } from "./householder";

/** x·2^j > y·2^k for x, y >= 0, whatever the exponents. */
export function exceeds<T>(x: T, j: i32, y: T, k: i32): bool {
  if (j == k || x == <T>0 || y == <T>0) return x > y;
  const d = exponent<T>(x) + j - exponent<T>(y) - k;
  if (d != 0) return d > 0;
  return scaleByPowerOfTwo<T>(x, j - k) > y;
}

/**
 * A slice of W·M·P = Q·R with permutations W and P; true when it is complete. t (n rows of m, ldt apart): column j
 * below its diagonal <- reflector j, on and above it <- column j of R over 2^exponents[j]; exponents (n i32) are
 * permuted along. columns[j] (n i32) <- the column of M that came to place j, rows[i] (m i32) <- the row that came to
 * place i. tau: n elements, norms: 2n. The head's cursors `step` and `other` start at 0; `rank` <- the number of
 * reflectors, fewer than n where nothing but zeros is left.
 */
export function geqp3Slice<T>(
  head: usize, step: i32, other: i32, rank: i32, m: i32, n: i32, t: usize, ldt: i32, exponents: usize, columns: usize,
  rows: usize, tau: usize, norms: usize,
): bool {
  const reference = at<T>(norms, n);
  // n norms, then n reflectors
  for (let c = cursor(head, step); c < 2 * n; c++) {
    if (c < n) {
      const norm = nrm2<T>(m, at<T>(t, c * ldt), 1);
      store<T>(at<T>(norms, c), norm);
      store<T>(at<T>(reference, c), norm);
      store<i32>(columns + 4 * c, c);
      if (c == 0) for (let i = 0; i < m; i++) store<i32>(rows + 4 * i, i);
      setCursor(head, step, c + 1);
      if (spend(2 * <f64>m)) return false;
      continue;
    }
    const i = c - n, diagonal = at<T>(t, i * ldt + i);
    let j = cursor(head, other);
    if (j == 0) {
      if (!pivot<T>(i, m, n, t, ldt, exponents, columns, rows, norms)) {
        n = i;
        break;
      }
      store<T>(at<T>(tau, i), larfg<T>(m - i, diagonal, at<T>(diagonal, 1)));
      j = i + 1;
    }
    const beta = load<T>(diagonal);
    let over = false;
    store<T>(diagonal, <T>1);
    for (; j < n && !over; j++) {
      const norm = at<T>(norms, j);
      reflectColumn<T>(m - i, diagonal, load<T>(at<T>(tau, i)), at<T>(t, j * ldt + i), norm, at<T>(reference, j));
      over = spend(6 * <f64>(m - i));
    }
    store<T>(diagonal, beta);
    setCursor(head, other, j);
    if (over) return false;
    setCursor(head, other, 0);
    setCursor(head, step, c + 1);
  }
  setCursor(head, step, 0);
  setCursor(head, rank, n);
  return true;
}

/**
 * Brings the longest of columns i…n − 1 to place i, then the row with its largest entry. Returns false if all are zero.
 * norms: 2n elements, of the columns as they are and as they were last computed.
 */
function pivot<T>(
  i: i32, m: i32, n: i32, t: usize, ldt: i32, exponents: usize, columns: usize, rows: usize, norms: usize,
): bool {
  let longest = i;
  for (let j = i + 1; j < n; j++) {
    const k = load<i32>(exponents + 4 * j), l = load<i32>(exponents + 4 * longest);
    if (exceeds<T>(load<T>(at<T>(norms, j)), k, load<T>(at<T>(norms, longest)), l)) longest = j;
  }
  if (load<T>(at<T>(norms, longest)) == <T>0) return false;
  if (longest != i) {
    swap<T>(m, at<T>(t, i * ldt), at<T>(t, longest * ldt));
    exchange<i32>(exponents + 4 * i, exponents + 4 * longest);
    exchange<i32>(columns + 4 * i, columns + 4 * longest);
    store<T>(at<T>(norms, longest), load<T>(at<T>(norms, i)));
    store<T>(at<T>(norms, n + longest), load<T>(at<T>(norms, n + i)));
  }
  const column = at<T>(t, i * ldt), largest = amax<T>(m - i, at<T>(column, i), 1);
  let top = i;
  while (top < m - 1 && abs<T>(load<T>(at<T>(column, top))) != largest) top++;
  if (top != i) {
    exchange<i32>(rows + 4 * i, rows + 4 * top);
    // whole rows, reflectors included
    for (let j = 0; j < n; j++) exchange<T>(at<T>(t, j * ldt + i), at<T>(t, j * ldt + top));
  }
  return true;
}

/**
 * x <- (I − tau·v·vᵀ)·x, n elements; `norm` and `reference` point to ‖x‖ as it was updated and as it was last computed,
 * and become the norm of x without its first element. That is updated as long as cancellation allows it (Drmač and
 * Bujanović, "On the failure of rank-revealing QR factorization software", 2008).
 */
export function reflectColumn<T>(n: i32, v: usize, tau: T, x: usize, norm: usize, reference: usize): void {
  axpy<T>(n, <T>-(tau * dot<T>(n, v, 1, x, 1)), v, 1, x, 1);
  const before = load<T>(norm);
  if (before == <T>0) return;
  const q = <T>(abs<T>(load<T>(x)) / before);
  const kept = max<T>(<T>0, <T>((<T>1 + q) * (<T>1 - q)));
  const since = <T>(before / load<T>(reference));
  if (kept * since * since > sqrt<T>(epsilon<T>())) {
    store<T>(norm, <T>(before * sqrt<T>(kept)));
  } else {
    const after = nrm2<T>(n - 1, at<T>(x, 1), 1);
    store<T>(norm, after);
    store<T>(reference, after);
  }
}

// @ts-ignore: decorator
@inline function exchange<S>(a: usize, b: usize): void {
  const first = load<S>(a);
  store<S>(a, load<S>(b));
  store<S>(b, first);
}
