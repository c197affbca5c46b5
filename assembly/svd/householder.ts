// Householder reflectors H = I − tau·v·vᵀ with v[0] = 1 (LAPACK's xLARFG), and products of many of them in compact WY
// form (Schreiber and Van Loan 1989; xLARFT, xLARFB, xORMQR). Reflectors and the vectors they act on are held by rows:
// the vectors of a factor stand one after the other in memory.

import { copy, dot, nrm2, scal } from "../blas/level1";
import { gemm } from "../blas/gemm";
import { fill } from "../blas/matrix";
import { epsilon, safeMinimum } from "../machine";
import { at } from "../simd";
import { cursor, setCursor, spend } from "../slice";

/**
 * H·(alpha, x)ᵀ = (beta, 0)ᵀ for the vector of n elements whose first stands at `alpha` and whose other n − 1 at x,
 * contiguous. Leaves beta at `alpha`, v[1…] in x, and returns tau; tau = 0 means H = I. After xLARFG.
 */
export function larfg<T>(n: i32, alpha: usize, x: usize): T {
  if (n <= 1) return <T>0;
  let xnorm = nrm2<T>(n - 1, x, 1);
  if (xnorm == <T>0) return <T>0;
  let a = load<T>(alpha);
  let beta = <T>-copysign<T>(hypotenuse<T>(a, xnorm), a);
  const least = <T>(safeMinimum<T>() / epsilon<T>());
  let lifts = 0;
  if (abs<T>(beta) < least) {
    // beta would be inaccurate: lift the vector until it is not
    const lift = <T>(<T>1 / least);
    while (abs<T>(beta) < least && lifts < 20) {
      lifts++;
      scal<T>(n - 1, lift, x, 1);
      beta = <T>(beta * lift);
      a = <T>(a * lift);
    }
    xnorm = nrm2<T>(n - 1, x, 1);
    beta = <T>-copysign<T>(hypotenuse<T>(a, xnorm), a);
  }
  const tau = <T>((beta - a) / beta);
  scal<T>(n - 1, <T>(<T>1 / (a - beta)), x, 1);
  for (; lifts > 0; lifts--) beta = <T>(beta * least);
  store<T>(alpha, beta);
  return tau;
}

/** √(x² + y²) without overflow; xLAPY2. */
export function hypotenuse<T>(x: T, y: T): T {
  const a = abs<T>(x), b = abs<T>(y);
  const w = max<T>(a, b), z = min<T>(a, b);
  if (z == <T>0) return w;
  const q = <T>(z / w);
  return <T>(w * sqrt<T>(<T>(<T>1 + q * q)));
}

/** Reflectors that are applied together. */
export const BLOCK: i32 = 32;

/** Working memory, in elements, of applyReflectors on vectors of length n, `rows` of them. */
export function applyReflectorsWork(rows: i32, n: i32): i32 {
  return BLOCK * n + 2 * BLOCK * BLOCK + 2 * BLOCK * rows;
}

/** v (count×n) <- `count` reflectors with their zeros and ones written out; reflector i is row i of r from column i on. */
function expand<T>(count: i32, n: i32, r: usize, ldr: i32, v: usize): void {
  for (let i = 0; i < count; i++) {
    const row = at<T>(v, i * n);
    fill<T>(i, <T>0, row);
    store<T>(at<T>(row, i), <T>1);
    copy<T>(n - i - 1, at<T>(r, i * ldr + i + 1), 1, at<T>(row, i + 1), 1);
  }
}

/** s (count×count, upper triangular, zeros below) with H(0)···H(count−1) = I − Vᵀ·s·V, V (count×n) by rows. xLARFT. */
export function larft<T>(count: i32, n: i32, v: usize, tau: usize, s: usize): void {
  fill<T>(count * count, <T>0, s);
  for (let i = 0; i < count; i++) {
    const t = load<T>(at<T>(tau, i));
    // column i above the diagonal: −tau·s·(V·v_i), the products with v_i first, in place
    for (let j = 0; j < i; j++) {
      store<T>(at<T>(s, j * count + i), <T>(-t * dot<T>(n - i, at<T>(v, j * n + i), 1, at<T>(v, i * n + i), 1)));
    }
    for (let j = 0; j < i; j++) {
      store<T>(at<T>(s, j * count + i), dot<T>(i - j, at<T>(s, j * count + j), 1, at<T>(s, j * count + i), count));
    }
    store<T>(at<T>(s, i * count + i), t);
  }
}

/**
 * X (rows×n) <- X·(I − Vᵀ·s·V), or with `transposed` X·(I − Vᵀ·sᵀ·V). work: 2·count·rows elements. xLARFB.
 */
export function larfb<T>(
  transposed: bool, rows: i32, n: i32, count: i32, v: usize, ldv: i32, s: usize, x: usize, ldx: i32, work: usize,
): void {
  const w = work, ws = at<T>(work, count * rows);
  gemm<T>(rows, count, n, <T>1, x, ldx, 1, v, 1, ldv, <T>0, w, count);
  gemm<T>(rows, count, count, <T>1, w, count, 1, s, transposed ? 1 : count, transposed ? count : 1, <T>0, ws, count);
  gemm<T>(rows, n, count, <T>-1, ws, count, 1, v, ldv, 1, <T>1, x, ldx);
}

/** Rows of X that one step treats: they share a packed block of reflectors. */
function rowsOfStep(n: i32): i32 {
  return max<i32>(16, <i32>(3e7 / (4 * <f64>BLOCK * <f64>n)) & -16);
}

/**
 * A slice of X (rows×n) <- X·Qᵀ with Q = H(0)·H(1)···H(count−1); true when it is complete. Reflector i is row i of r (ldr)
 * from column i + shift on, its first element taken as 1. The head's cursors `step` and `row` start at 0.
 * work: applyReflectorsWork(rows, n) elements, which keep their content between slices. xORMQR. With `fromIdentity` X
 * holds rows of the identity, which a reflector changes from its own row on: a third less work for Q itself. xORGQR.
 */
export function applyReflectorsSlice<T>(
  head: usize, step: i32, row: i32, rows: i32, n: i32, count: i32, shift: i32, r: usize, ldr: i32, tau: usize, x: usize,
  ldx: i32, work: usize, fromIdentity: bool = false,
): bool {
  const v = work, s = at<T>(v, BLOCK * n), rest = at<T>(s, 2 * BLOCK * BLOCK);
  const blocks = (count + BLOCK - 1) / BLOCK, most = rowsOfStep(n);
  for (let done = cursor(head, step); done < blocks; done++) {
    const i = (blocks - 1 - done) * BLOCK, block = min<i32>(BLOCK, count - i), column = i + shift, length = n - column;
    let j = cursor(head, row);
    if (j == 0) {
      expand<T>(block, length, at<T>(r, i * ldr + column), ldr, v);
      larft<T>(block, length, v, at<T>(tau, i), s);
      if (fromIdentity) j = column;
    }
    while (j < rows) {
      const some = min<i32>(most, rows - j);
      larfb<T>(true, some, length, block, v, length, s, at<T>(x, j * ldx + column), ldx, rest);
      j += some;
      setCursor(head, row, j);
      if (spend(4 * <f64>some * <f64>length * <f64>block)) return false;
    }
    setCursor(head, row, 0);
    setCursor(head, step, done + 1);
  }
  setCursor(head, step, 0);
  return true;
}

/** Row length for a working copy of rows of n elements: whole cache lines, and never a multiple of 512 bytes. */
export function paddedLength<T>(n: i32): i32 {
  const line = 64 / <i32>sizeof<T>();
  const length = (n + line - 1) & -line;
  return (length * <i32>sizeof<T>()) % 512 == 0 ? length + line : length;
}
