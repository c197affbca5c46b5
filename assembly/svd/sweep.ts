// A sweep of plane rotations over the rows of a matrix: rotation j acts on rows j and j + 1. xLASR, side left, pivot
// variable. The matrix is walked in strips of columns; within a strip one row stays in registers from rotation to
// rotation, so that every element is read and written once a sweep.

import { at, muladd } from "../simd";

/**
 * Rows 0…count of x (n columns, ldx apart) <- P(count−1)···P(0)·x (`forward`) or P(0)···P(count−1)·x, where P(j) has
 * c[j], s[j]: (x_j, x_{j+1}) <- (c·x_j + s·x_{j+1}, c·x_{j+1} − s·x_j).
 */
export function lasr<T>(forward: bool, count: i32, n: i32, c: usize, s: usize, x: usize, ldx: i32): void {
  if (count <= 0) return;
  const width = 64 / <i32>sizeof<T>();
  let step = at<T>(0, ldx), element = <usize>sizeof<T>();
  if (!forward) {
    // the same walk from the last row upwards: the roles of the rows exchange, so the sine changes sign
    x = at<T>(x, count * ldx);
    c = at<T>(c, count - 1);
    s = at<T>(s, count - 1);
    step = 0 - step;
    element = 0 - element;
  }
  let j = 0;
  for (; j + width <= n; j += width) strip<T>(forward, count, c, s, element, at<T>(x, j), step);
  for (; j < n; j++) column<T>(forward, count, c, s, element, at<T>(x, j), step);
}

/** Four vectors of columns; `step` bytes from a row to the next of the walk, `element` from a rotation to the next. */
function strip<T>(forward: bool, count: i32, c: usize, s: usize, element: usize, x: usize, step: usize): void {
  let t0 = v128.load(x), t1 = v128.load(x, 16), t2 = v128.load(x, 32), t3 = v128.load(x, 48);
  for (let j = count; j > 0; j--) {
    const next = x + step;
    const cj = load<T>(c), sj = forward ? load<T>(s) : <T>-load<T>(s);
    const cv = v128.splat<T>(cj), sv = v128.splat<T>(sj);
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

function column<T>(forward: bool, count: i32, c: usize, s: usize, element: usize, x: usize, step: usize): void {
  let t = load<T>(x);
  for (let j = count; j > 0; j--) {
    const next = x + step;
    const cj = load<T>(c), sj = forward ? load<T>(s) : <T>-load<T>(s);
    const a = load<T>(next);
    store<T>(x, <T>(sj * a + cj * t));
    t = <T>(cj * a - sj * t);
    x = next;
    c += element;
    s += element;
  }
  store<T>(x, t);
}
