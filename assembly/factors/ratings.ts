// What surrounds a model of ratings: their mean, their errors, predictions and the best of them.

import { dot } from "../blas/level1";
import { scaleByPowerOfTwo } from "../machine";
import { at, get, set } from "../simd";
import { HEAD_BYTES, begin, cursor, interrupted, openSlice, setCursor, spend } from "../slice";

/** The sum of x·2^-e over n values, in f64. Called for a few thousand values at a time. */
export function ratingsSum<T>(n: i32, x: usize, e: i32): f64 {
  let sum = <f64>0;
  for (let i = 0; i < n; i++) sum += scaleByPowerOfTwo<f64>(<f64>get<T>(x, i), -e);
  return sum;
}

/** y <- x·2^-e − mean over n values; returns max |y|. Called for a few thousand values at a time. */
export function ratingsCenter<T>(n: i32, x: usize, e: i32, mean: f64, y: usize): T {
  let largest = <T>0;
  for (let i = 0; i < n; i++) {
    const value = <T>(scaleByPowerOfTwo<f64>(<f64>get<T>(x, i), -e) - mean);
    set<T>(y, i, value);
    largest = max<T>(largest, abs<T>(value));
  }
  return largest;
}

/** residuals (nnz) <- r − b_u − c_i for the ratings of rows first…last: b (rows), c (columns). */
export function ratingsResiduals<T>(
  first: i32, last: i32, indptr: usize, indices: usize, values: usize, b: usize, c: usize, residuals: usize,
): void {
  for (let row = first; row < last; row++) {
    const end = load<i32>(at<i32>(indptr, row), 4);
    const bias = get<T>(b, row);
    for (let p = load<i32>(at<i32>(indptr, row)); p < end; p++) {
      set<T>(residuals, p, <T>(get<T>(values, p) - bias - get<T>(c, load<i32>(at<i32>(indices, p)))));
    }
  }
}

/** y (m×k) <- x·diag(√s): x (m×k, strides rs and cs) singular vectors in columns, s (k) their values. */
export function rootScaled<T>(m: i32, k: i32, x: usize, rs: i32, cs: i32, s: usize, y: usize): void {
  for (let j = 0; j < k; j++) {
    const root = sqrt<T>(get<T>(s, j));
    for (let i = 0; i < m; i++) set<T>(y, i * k + j, <T>(root * get<T>(x, i * rs + j * cs)));
  }
}

/** Bytes of working memory of ratingsError: a head and the sum. */
export function ratingsErrorScratch(): f64 {
  return <f64>HEAD_BYTES + 8;
}

/** Readies ratingsError; the sum behind the head starts at 0. */
export function ratingsErrorBegin(work: usize): void {
  begin(work);
  store<f64>(work + HEAD_BYTES, 0);
}

/**
 * A slice of Σ ((r − mean − b_u − c_i − p_u·q_i)·2^-e)² over the ratings of the rows first…last: MORE or STOPPED until it is
 * done, then 0; the sum stands in f64 behind the head of `work`.
 * indptr (rows + 1), indices (nnz): i32; values (nnz); p (rows×k), q (columns×k), b (rows), c (columns).
 */
export function ratingsError<T>(
  first: i32, last: i32, k: i32, indptr: usize, indices: usize, values: usize, p: usize, q: usize, b: usize, c: usize, mean: f64, e: i32, work: usize,
): i32 {
  openSlice(work);
  let row = first + cursor(work, 0);
  while (row < last) {
    const start = load<i32>(at<i32>(indptr, row)), end = load<i32>(at<i32>(indptr, row), 4);
    const sum = load<f64>(work + HEAD_BYTES);
    store<f64>(work + HEAD_BYTES, sum + rowError<T>(
      end - start, k, at<i32>(indices, start), at<T>(values, start), at<T>(p, row * k), q, mean + <f64>get<T>(b, row), c, e,
    ));
    row++;
    setCursor(work, 0, row - first);
    if (spend(<f64>(end - start + 1) * <f64>(2 * k + 8)) && row < last) return interrupted();
  }
  return 0;
}

function rowError<T>(
  n: i32, k: i32, indices: usize, values: usize, p: usize, q: usize, base: f64, c: usize, e: i32,
): f64 {
  let sum = <f64>0;
  for (let i = 0; i < n; i++) {
    const item = load<i32>(at<i32>(indices, i));
    const rating = base + <f64>get<T>(c, item) + <f64>dot<T>(k, p, 1, at<T>(q, item * k), 1);
    const error = scaleByPowerOfTwo<f64>(<f64>get<T>(values, i) - rating, -e);
    sum += error * error;
  }
  return sum;
}

/** scores[i − first] <- base + c_i + p·q_i for items first…last: p (k), q (items×k), c (items). */
export function ratingsPredict<T>(first: i32, last: i32, k: i32, p: usize, q: usize, base: f64, c: usize, scores: usize): void {
  for (let i = first; i < last; i++) {
    set<T>(scores, i - first, <T>(base + <f64>get<T>(c, i) + <f64>dot<T>(k, p, 1, at<T>(q, i * k), 1)));
  }
}

/**
 * The n largest of `count` scores, best first, of equal ones the earlier first; -Infinity is left out. Their positions go to
 * `best` (i32, n); returns how many there are. A heap of the best so far has the worst of them on top.
 */
export function largestScores<T>(count: i32, scores: usize, n: i32, best: usize): i32 {
  let held = 0;
  for (let i = 0; i < count; i++) {
    const score = get<T>(scores, i);
    if (!(score > <T>-Infinity)) continue;
    if (held < n) {
      siftUp<T>(held, i, scores, best);
      held++;
    } else if (n > 0 && worse<T>(load<i32>(best), i, scores)) {
      siftDown<T>(n, i, scores, best);
    }
  }
  // the worst of what is left goes to the end
  for (let left = held - 1; left > 0; left--) {
    const worst = load<i32>(best);
    siftDown<T>(left, load<i32>(at<i32>(best, left)), scores, best);
    store<i32>(at<i32>(best, left), worst);
  }
  return held;
}

/** Whether position a ranks behind position b. */
// @ts-ignore: decorator
@inline function worse<T>(a: i32, b: i32, scores: usize): bool {
  const x = get<T>(scores, a), y = get<T>(scores, b);
  return x < y || (x == y && a > b);
}

/** Puts `value` into the heap's place n, the first behind it, and up to where it belongs. */
function siftUp<T>(n: i32, value: i32, scores: usize, heap: usize): void {
  let i = n;
  while (i > 0) {
    const parent = (i - 1) >> 1, above = load<i32>(at<i32>(heap, parent));
    if (!worse<T>(value, above, scores)) break;
    store<i32>(at<i32>(heap, i), above);
    i = parent;
  }
  store<i32>(at<i32>(heap, i), value);
}

/** Replaces the top of a heap of n by `value` and lets it sink to where it belongs. */
function siftDown<T>(n: i32, value: i32, scores: usize, heap: usize): void {
  let i = 0;
  for (;;) {
    let child = 2 * i + 1;
    if (child >= n) break;
    const next = child + 1;
    if (next < n && worse<T>(load<i32>(at<i32>(heap, next)), load<i32>(at<i32>(heap, child)), scores)) child = next;
    const below = load<i32>(at<i32>(heap, child));
    if (!worse<T>(below, value, scores)) break;
    store<i32>(at<i32>(heap, i), below);
    i = child;
  }
  store<i32>(at<i32>(heap, i), value);
}
