// Rows of data shifted by a vector that is kept in f64, whatever the rows' precision: so a mean that is large beside the
// spread costs no digits. Rows are contiguous.

import { lacpy } from "../blas/matrix";
import { at, loadPair, muladd, storePair } from "../simd";

/** y (n, of U) <- factor·x − c for x (n, of T) and c (n, f64); a power of two as factor is exact. */
export function shiftRow<T, U>(n: i32, factor: f64, x: usize, c: usize, y: usize): void {
  const f = v128.splat<f64>(factor);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const a = v128.sub<f64>(v128.mul<f64>(f, loadPair<T>(x)), v128.load(c));
    const b = v128.sub<f64>(v128.mul<f64>(f, loadPair<T>(at<T>(x, 2))), v128.load(c, 16));
    storePair<U>(y, a);
    storePair<U>(at<U>(y, 2), b);
    x += 4 * sizeof<T>();
    y += 4 * sizeof<U>();
    c += 32;
  }
  for (; i < n; i++) {
    store<U>(y, <U>(factor * <f64>load<T>(x) - load<f64>(c)));
    x += sizeof<T>();
    y += sizeof<U>();
    c += 8;
  }
}

/** y (n, of T) <- y + c for c (n, f64). */
export function unshiftRow<T>(n: i32, c: usize, y: usize): void {
  let i = 0;
  for (; i + 2 <= n; i += 2) {
    storePair<T>(y, v128.add<f64>(loadPair<T>(y), v128.load(c)));
    y += 2 * sizeof<T>();
    c += 16;
  }
  for (; i < n; i++) {
    store<T>(y, <T>(<f64>load<T>(y) + load<f64>(c)));
    y += sizeof<T>();
    c += 8;
  }
}

/** sum (n, f64) <- sum + Σ (factor·x − c) over four rows of x, `row` bytes apart. */
export function sumShifted4<T>(n: i32, factor: f64, x: usize, row: usize, c: usize, sum: usize): void {
  const f = v128.splat<f64>(factor);
  const row2 = 2 * row, row3 = 3 * row;
  let i = 0;
  for (; i + 2 <= n; i += 2) {
    const shift = v128.load(c);
    const s = v128.add<f64>(
      v128.sub<f64>(v128.mul<f64>(f, loadPair<T>(x)), shift),
      v128.sub<f64>(v128.mul<f64>(f, loadPair<T>(x + row)), shift),
    );
    const t = v128.add<f64>(
      v128.sub<f64>(v128.mul<f64>(f, loadPair<T>(x + row2)), shift),
      v128.sub<f64>(v128.mul<f64>(f, loadPair<T>(x + row3)), shift),
    );
    v128.store(sum, v128.add<f64>(v128.load(sum), v128.add<f64>(s, t)));
    x += 2 * sizeof<T>();
    c += 16;
    sum += 16;
  }
  for (; i < n; i++) {
    const shift = load<f64>(c);
    const s = factor * <f64>load<T>(x) - shift + (factor * <f64>load<T>(x + row) - shift);
    const t = factor * <f64>load<T>(x + row2) - shift + (factor * <f64>load<T>(x + row3) - shift);
    store<f64>(sum, load<f64>(sum) + (s + t));
    x += sizeof<T>();
    c += 8;
    sum += 8;
  }
}

/** sum (n, f64) <- sum + Σ (factor·x − c) over m rows of x, ldx apart. */
export function sumShifted<T>(m: i32, n: i32, factor: f64, x: usize, ldx: i32, c: usize, sum: usize): void {
  const row = at<T>(0, ldx);
  let i = 0;
  for (; i + 4 <= m; i += 4) {
    sumShifted4<T>(n, factor, x, row, c, sum);
    x += 4 * row;
  }
  for (; i < m; i++) {
    addShifted<T>(n, factor, x, c, sum);
    x += row;
  }
}

/** sum (n, f64) <- sum + factor·x − c. */
function addShifted<T>(n: i32, factor: f64, x: usize, c: usize, sum: usize): void {
  for (let i = 0; i < n; i++) {
    store<f64>(sum, load<f64>(sum) + (factor * <f64>load<T>(x) - load<f64>(c)));
    x += sizeof<T>();
    c += 8;
    sum += 8;
  }
}

/** y <- y + alpha·x, n elements of f64: an update of means. */
export function moveMean(n: i32, alpha: f64, x: usize, y: usize): void {
  const a = v128.splat<f64>(alpha);
  let i = 0;
  for (; i + 2 <= n; i += 2) {
    v128.store(y, muladd<f64>(a, v128.load(x), v128.load(y)));
    x += 16;
    y += 16;
  }
  if (i < n) store<f64>(y, load<f64>(y) + alpha * load<f64>(x));
}

/** A contiguous form of m rows of x (strides rs, cs): x itself, or a copy in `buffer` (m×n). */
// @ts-ignore: decorator
@inline export function contiguousRows<T>(m: i32, n: i32, x: usize, rs: i32, cs: i32, buffer: usize): usize {
  if (cs == 1) return x;
  lacpy<T>(m, n, x, rs, cs, buffer, n);
  return buffer;
}
