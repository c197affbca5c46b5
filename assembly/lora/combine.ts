// Rules that combine task vectors element by element: magnitude pruning, and the sign election of TIES (Yadav et al. 2023,
// "TIES-Merging"). PEFT's utils/merge_utils.py has the same rules. Vectors are contiguous.

import { fill } from "../blas/matrix";
import { at } from "../simd";

/** Bits that one pass of the selection looks at. */
const DIGIT: i32 = 11;

/** Bytes of working memory of pruneMagnitude: a histogram. */
export function pruneScratch(): f64 {
  return 4 * <f64>(1 << DIGIT);
}

/** |x| as an integer in the same order. */
// @ts-ignore: decorator
@inline function rank<T>(x: usize): u64 {
  if (sizeof<T>() == 4) return <u64>(load<u32>(x) & 0x7fffffff);
  return load<u64>(x) & 0x7fffffffffffffff;
}

/**
 * y (n) <- the k entries of x that are largest in magnitude, zeros elsewhere; of equal ones those that come first. x is
 * finite; y may be x. The k-th magnitude is found digit by digit (radix selection): three passes in f32, six in f64.
 */
export function pruneMagnitude<T>(n: i32, k: i32, x: usize, y: usize, work: usize): void {
  if (k <= 0) {
    fill<T>(n, <T>0, y);
    return;
  }
  if (k >= n) {
    memory.copy(y, x, at<T>(0, n));
    return;
  }
  // of the entries whose higher digits are `prefix`, `wanted` are kept
  let prefix: u64 = 0, wanted = k;
  for (let shift = sizeof<T>() == 4 ? 2 * DIGIT : 5 * DIGIT; shift >= 0; shift -= DIGIT) {
    memory.fill(work, 0, <usize>(4 << DIGIT));
    count<T>(n, x, prefix, shift, work);
    let digit = (1 << DIGIT) - 1;
    for (; digit > 0; digit--) {
      const found = load<i32>(work + 4 * <usize>digit);
      if (found >= wanted) break;
      wanted -= found;
    }
    prefix = (prefix << <u64>DIGIT) | <u64>digit;
  }
  keep<T>(n, x, prefix, wanted, y);
}

/** histogram <- how often each digit at `shift` occurs among the entries whose higher digits are `prefix`. */
function count<T>(n: i32, x: usize, prefix: u64, shift: i32, histogram: usize): void {
  for (let i = 0; i < n; i++) {
    const key = rank<T>(x) >> <u64>shift;
    if (key >> <u64>DIGIT == prefix) {
      const slot = histogram + 4 * <usize>(key & ((1 << DIGIT) - 1));
      store<i32>(slot, load<i32>(slot) + 1);
    }
    x += sizeof<T>();
  }
}

/** y <- entries of x above the threshold and the first `equal` ones at it. */
function keep<T>(n: i32, x: usize, threshold: u64, equal: i32, y: usize): void {
  for (let i = 0; i < n; i++) {
    const key = rank<T>(x);
    let kept = key > threshold;
    if (key == threshold && equal > 0) {
      kept = true;
      equal--;
    }
    store<T>(y, kept ? load<T>(x) : <T>0);
    x += sizeof<T>();
    y += sizeof<T>();
  }
}

/**
 * y (n) <- Σ w_i·x_i over the tasks that agree with the elected sign, over their number. x: `tasks` vectors, one after
 * the other; w (tasks). The sign is that of Σ x_i, or with `frequency` that of Σ sign(x_i); 0 counts as positive.
 */
export function electAndMerge<T>(n: i32, tasks: i32, x: usize, w: usize, frequency: bool, y: usize): void {
  const step = at<T>(0, n);
  for (let j = 0; j < n; j++) {
    let total = <T>0;
    let p = x;
    for (let i = 0; i < tasks; i++) {
      const value = load<T>(p);
      total = <T>(total + (frequency ? sign<T>(value) : value));
      p += step;
    }
    const elected = total >= <T>0 ? <T>1 : <T>-1;
    let merged = <T>0, agreeing = <T>0;
    p = x;
    for (let i = 0; i < tasks; i++) {
      const value = load<T>(p);
      if (sign<T>(value) == elected) {
        merged = <T>(merged + load<T>(at<T>(w, i)) * value);
        agreeing = <T>(agreeing + <T>1);
      }
      p += step;
    }
    store<T>(y, <T>(merged / max<T>(agreeing, <T>1)));
    x += sizeof<T>();
    y += sizeof<T>();
  }
}

// @ts-ignore: decorator
@inline function sign<T>(x: T): T {
  return x > <T>0 ? <T>1 : x < <T>0 ? <T>-1 : <T>0;
}
