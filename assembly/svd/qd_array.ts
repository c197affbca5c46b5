// The qd array of dqds and the passes over it. Row i holds q_i and e_i, squares of the diagonal and the superdiagonal of a
// bidiagonal matrix less a shift; two arrays take turns, a pass reads one and writes the other (LAPACK's ping and pong).
//
// The array is f64 for f32 matrices too: the squares are exact there, and nothing over- or underflows, where f32 squares
// would as soon as two entries are 1e19 apart. A pass in f32 would be 15 % faster only: it waits for divisions, not for memory.

import { safeMinimum } from "../machine";
import { HEAD_BYTES } from "../slice";

/** Bytes of the state of a computation: a head (slice.ts), then 16 numbers. */
export const STATE_BYTES: usize = HEAD_BYTES + 128;

/** Numbers of the state. Of the last pass: d at its last three rows, D0 the last, and the least d up to each of them. */
export const D0 = 0, D1 = 1, D2 = 2, LEAST0 = 3, LEAST1 = 4, LEAST2 = 5;
/** Of the shifts (qd_shift.ts). */
export const FRACTION = 6, REDUCTIONS = 7;
/** Of the block (dqds.ts). */
export const SIGMA = 8, SIGMA_REST = 9, LARGEST_Q = 10, LEAST = 11, PASSES_LEFT = 12;

// @ts-ignore: decorator
@inline export function number(state: usize, slot: i32): f64 {
  return load<f64>(state + HEAD_BYTES + ((<usize>slot) << 3));
}

// @ts-ignore: decorator
@inline export function setNumber(state: usize, slot: i32, value: f64): void {
  store<f64>(state + HEAD_BYTES + ((<usize>slot) << 3), value);
}

/** Bytes of n rows. */
// @ts-ignore: decorator
@inline export function rowsBytes(n: i32): usize {
  return (<usize>n) << 4;
}

// @ts-ignore: decorator
@inline export function getQ(z: usize, i: i32): f64 {
  return load<f64>(z + rowsBytes(i));
}

// @ts-ignore: decorator
@inline export function getE(z: usize, i: i32): f64 {
  return load<f64>(z + rowsBytes(i), 8);
}

// @ts-ignore: decorator
@inline export function setQ(z: usize, i: i32, value: f64): void {
  store<f64>(z + rowsBytes(i), value);
}

// @ts-ignore: decorator
@inline export function setE(z: usize, i: i32, value: f64): void {
  store<f64>(z + rowsBytes(i), value, 8);
}

/** The matrix of rows low…high turned about its other diagonal: the same values. e_high stays. */
export function reverse(z: usize, low: i32, high: i32): void {
  for (let i = low, j = high; i < j; i++, j--) {
    const q = getQ(z, i);
    setQ(z, i, getQ(z, j));
    setQ(z, j, q);
  }
  for (let i = low, j = high - 1; i < j; i++, j--) {
    const e = getE(z, i);
    setE(z, i, getE(z, j));
    setE(z, j, e);
  }
}

/** What `steps` carries from one stretch of a pass to the next. */
let d: f64 = 0, least: f64 = 0, leastE: f64 = 0;

/**
 * One dqds pass over rows low…high (at least three) of `from` into `to`: the q, e of L'U' = UL − shift·I. d below `floor`
 * becomes 0: only without a shift, where it is noise beside the shifts already made. Returns false, and leaves `to`
 * unfinished, as soon as a d is negative: the shift exceeds the least value; LEAST1 > 0 if only the last row is negative.
 * e_high of `to` <- the least new e but for the last two. xLASQ5, xLASQ6.
 */
export function pass(state: usize, low: i32, high: i32, from: usize, to: usize, shift: f64, floor: f64): bool {
  d = getQ(from, low) - shift;
  least = d;
  leastE = Infinity;
  setNumber(state, LEAST1, -1);
  if (d < 0) return false;
  const x = from + rowsBytes(low), y = to + rowsBytes(low), main = rowsBytes(high - low - 2);
  if (!steps(x, x + main, y, shift, floor)) return false;
  setNumber(state, D2, d);
  setNumber(state, LEAST2, least);
  setE(to, high, leastE);
  if (!steps(x + main, x + main + 16, y + main, shift, 0)) return false;
  setNumber(state, D1, d);
  setNumber(state, LEAST1, least);
  const positive = steps(x + main + 16, x + main + 32, y + main + 16, shift, 0);
  setNumber(state, D0, d);
  setNumber(state, LEAST0, least);
  setQ(to, high, d);
  return positive;
}

/**
 * Rows x…end of a pass. The one division is the recurrence's; where its quotient leaves the range, two that do not
 * (xLASQ6's rule, which costs 3 % and so is used in every pass: no infinity, no NaN can come up).
 */
export function steps(x: usize, end: usize, y: usize, shift: f64, floor: f64): bool {
  let di = d, smallest = least, smallestE = leastE;
  while (x < end) {
    const e = load<f64>(x, 8), next = load<f64>(x, 16);
    const q = di + e;
    let newE: f64;
    if (safeMinimum<f64>() * next < q && safeMinimum<f64>() * q < next) {
      const t = next / q;
      newE = e * t;
      di = di * t - shift;
    } else if (q == 0) {
      // the matrix comes apart here: the rest starts anew
      newE = 0;
      di = next - shift;
      if (di >= 0) smallest = di;
    } else {
      newE = next * (e / q);
      di = next * (di / q) - shift;
    }
    store<f64>(y, q);
    store<f64>(y, newE, 8);
    if (di < floor) {
      if (di < 0) {
        d = di;
        least = di;
        return false;
      }
      di = 0;
    }
    if (di < smallest) smallest = di;
    if (newE < smallestE) smallestE = newE;
    x += 16;
    y += 16;
  }
  d = di;
  least = smallest;
  leastE = smallestE;
  return true;
}

/**
 * A pass without shift over all n rows that takes an e which is `negligible` times d for 0: Li's test from below, then
 * from above. Such an e is marked by −0 in `from`.
 */
export function firstPass(n: i32, from: usize, to: usize, negligible: f64): void {
  let di = getQ(from, n - 1);
  for (let i = n - 2; i >= 0; i--) {
    const e = getE(from, i);
    if (e <= negligible * di) {
      setE(from, i, -0.0);
      di = getQ(from, i);
    } else {
      di = getQ(from, i) * (di / (di + e));
    }
  }
  di = getQ(from, 0);
  for (let i = 0; i < n - 1; i++) {
    const e = getE(from, i), next = getQ(from, i + 1);
    const q = di + e;
    if (e <= negligible * di) {
      setQ(to, i, di);
      setE(to, i, 0);
      di = next;
      continue;
    }
    setQ(to, i, q);
    if (safeMinimum<f64>() * next < q && safeMinimum<f64>() * q < next) {
      const t = next / q;
      setE(to, i, e * t);
      di *= t;
    } else {
      setE(to, i, next * (e / q));
      di = next * (di / q);
    }
  }
  setQ(to, n - 1, di);
}
