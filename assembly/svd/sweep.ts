// Sweeps of plane rotations over the rows of a matrix: rotation j acts on rows j and j + 1. xLASR, side left, pivot variable.
//
// The matrix is walked in strips of columns, one cache line wide. Within a strip one row stays in registers from rotation
// to rotation, so that a sweep reads and writes every element once; and many sweeps are gathered and applied to a strip
// one after the other while it is in the cache: Van Zee, van de Geijn and Quintana-Ortí, "Restructuring the tridiagonal and
// bidiagonal QR algorithms for performance" (2014).

import { at, muladd } from "../simd";

/** Sweeps that a queue holds. */
export const QUEUE: i32 = 32;

/** Bytes of one sweep's head: first row, count, direction, unused. */
const HEAD: usize = 16;

/** Bytes of a queue's heads; its rotations follow in rows of n. */
export const HEADS: usize = <usize>QUEUE * HEAD;

/** Notes that sweep i acts on rows first…first + count, upwards unless `forward`. */
export function setSweep(heads: usize, i: i32, first: i32, count: i32, forward: bool): void {
  const head = heads + <usize>i * HEAD;
  store<i32>(head, first);
  store<i32>(head, count, 4);
  store<i32>(head, <i32>forward, 8);
}

/**
 * x (n columns, ldx apart) <- all queued sweeps applied to its rows, in their order; sweep i has its cosines in row i of c
 * and its sines in row i of s (ld elements a row). The columns begin…end of x are treated, begin a multiple of the strip.
 */
export function applySweeps<T>(
  heads: usize, sweeps: i32, c: usize, s: usize, ld: i32, begin: i32, end: i32, x: usize, ldx: i32,
): void {
  const width = 64 / <i32>sizeof<T>();
  let j = begin;
  for (; j + width <= end; j += width) {
    for (let i = 0; i < sweeps; i++) {
      const head = heads + <usize>i * HEAD, first = load<i32>(head), count = load<i32>(head, 4);
      const rotations = i * ld;
      strip<T>(load<i32>(head, 8) != 0, count, at<T>(c, rotations), at<T>(s, rotations), at<T>(x, first * ldx + j), ldx);
    }
  }
  for (; j < end; j++) {
    for (let i = 0; i < sweeps; i++) {
      const head = heads + <usize>i * HEAD, first = load<i32>(head), count = load<i32>(head, 4);
      const rotations = i * ld;
      column<T>(load<i32>(head, 8) != 0, count, at<T>(c, rotations), at<T>(s, rotations), at<T>(x, first * ldx + j), ldx);
    }
  }
}

/**
 * Rows 0…count of x (n columns, ldx apart) <- P(count−1)···P(0)·x (`forward`) or P(0)···P(count−1)·x, where P(j) has
 * c[j], s[j]: (x_j, x_{j+1}) <- (c·x_j + s·x_{j+1}, c·x_{j+1} − s·x_j).
 */
export function lasr<T>(forward: bool, count: i32, n: i32, c: usize, s: usize, x: usize, ldx: i32): void {
  if (count <= 0) return;
  const width = 64 / <i32>sizeof<T>();
  let j = 0;
  for (; j + width <= n; j += width) strip<T>(forward, count, c, s, at<T>(x, j), ldx);
  for (; j < n; j++) column<T>(forward, count, c, s, at<T>(x, j), ldx);
}

/** One cache line of columns. Upwards it is the same walk from the last row: the rows change roles, the sine its sign. */
function strip<T>(forward: bool, count: i32, c: usize, s: usize, x: usize, ldx: i32): void {
  let step = at<T>(0, ldx), element = <usize>sizeof<T>();
  let sign = <T>1;
  if (!forward) {
    x = at<T>(x, count * ldx);
    c = at<T>(c, count - 1);
    s = at<T>(s, count - 1);
    step = 0 - step;
    element = 0 - element;
    sign = <T>-1;
  }
  let t0 = v128.load(x), t1 = v128.load(x, 16), t2 = v128.load(x, 32), t3 = v128.load(x, 48);
  for (let j = count; j > 0; j--) {
    const next = x + step;
    const cv = v128.splat<T>(load<T>(c)), sv = v128.splat<T>(<T>(sign * load<T>(s)));
    const a0 = v128.load(next), a1 = v128.load(next, 16), a2 = v128.load(next, 32), a3 = v128.load(next, 48);
    v128.store(x, muladd<T>(sv, a0, v128.mul<T>(cv, t0)));
    v128.store(x, muladd<T>(sv, a1, v128.mul<T>(cv, t1)), 16);
    v128.store(x, muladd<T>(sv, a2, v128.mul<T>(cv, t2)), 32);
    v128.store(x, muladd<T>(sv, a3, v128.mul<T>(cv, t3)), 48);
    t0 = v128.sub<T>(v128.mul<T>(cv, a0), v128.mul<T>(sv, t0));
    t1 = v128.sub<T>(v128.mul<T>(cv, a1), v128.mul<T>(sv, t1));
    t2 = v128.sub<T>(v128.mul<T>(cv, a2), v128.mul<T>(sv, t2));
    t3 = v128.sub<T>(v128.mul<T>(cv, a3), v128.mul<T>(sv, t3));
    x = next;
    c += element;
    s += element;
  }
  v128.store(x, t0);
  v128.store(x, t1, 16);
  v128.store(x, t2, 32);
  v128.store(x, t3, 48);
}

function column<T>(forward: bool, count: i32, c: usize, s: usize, x: usize, ldx: i32): void {
  for (let i = 0; i < count; i++) {
    const j = forward ? i : count - 1 - i;
    const upper = at<T>(x, j * ldx), lower = at<T>(upper, ldx);
    const cj = load<T>(at<T>(c, j)), sj = load<T>(at<T>(s, j));
    const a = load<T>(upper), b = load<T>(lower);
    store<T>(upper, <T>(cj * a + sj * b));
    store<T>(lower, <T>(cj * b - sj * a));
  }
}
