// Singular values of an upper bidiagonal matrix without vectors, by dqds: differential quotient differences with shifts.
// Fernando and Parlett, "Accurate singular values and differential qd algorithms" (1994); Parlett and Marques, "An
// implementation of the dqds algorithm (positive case)" (2000). Tests for deflation and splitting, shifts and limits as
// LAPACK's xLASQ1 to xLASQ6. Nothing is ever subtracted but the shift: small values come out to full relative accuracy.

import { exponent, scaleByPowerOfTwo } from "../machine";
import { at } from "../simd";
import { begin, cursor, interrupted, openSlice, setCursor, spend } from "../slice";
import {
  D0, D1, LARGEST_Q, LEAST, LEAST0, LEAST1, PASSES_LEFT, SIGMA, SIGMA_REST, STATE_BYTES, firstPass, getE, getQ, number,
  pass, reverse, rowsBytes, setE, setNumber, setQ,
} from "./qd_array";
import { chooseShift, reduceShift } from "./qd_shift";
import { lasv2, sigmaLarge, sigmaSmall } from "./rotation";

/** Why lasq1 gives up; LAPACK's numbers. A split is marked by a positive e, or the input is not finite. */
const BAD_SPLIT = 1;
/** A block is not finished after PASSES_PER_VALUE passes a value. */
const TOO_MANY_PASSES = 2;
const TOO_MANY_BLOCKS = 3;

const PASSES_PER_VALUE = 100;

/** A block is reversed if its last q is that many times the first: it should be graded downward. */
const REVERSAL = 1.5;

/** The largest entry is brought near 2^484: its square, ulp/safe minimum, leaves all room to smaller ones. */
const TOP_EXPONENT = 484;

/** Operations that a row of a pass counts for: it waits for a division. */
const ROW_OPERATIONS = 24;

// cursors of the head; a block is rows LOW…HIGH, and REVERSED until its first pass if it was turned around
const STAGE = 0, SCALE = 1, BLOCKS = 2, LOW = 3, HIGH = 4, REVERSED = 5, PONG = 6;

// stages
const START = 0, OPEN = 1, PASSES = 2;

/** LAPACK's 'Precision' of T, a hundred times that, and its square: a negligible ratio of squares. Set by every slice. */
let ulp: f64 = 0;
let tolerance: f64 = 0;
let negligible: f64 = 0;

/** Working memory of lasq1 in elements of T: state, and 4n numbers of f64. */
export function lasq1Work<T>(n: i32): i32 {
  return (4 * n * 8 + <i32>STATE_BYTES) / <i32>sizeof<T>();
}

/**
 * d <- singular values, non-increasing, >= 0, of the upper bidiagonal matrix with diagonal d (n) and superdiagonal e
 * (n − 1), which stays as it is. Returns 0, or why there are none (1, 2, 3 as above); d then is as it was, so that bdsqr
 * may take over. A value keeps its full relative accuracy down to 2^-940 times the largest: the range of squares in f64.
 * work: lasq1Work<T>(n) elements. xLASQ1.
 */
export function lasq1<T>(n: i32, d: usize, e: usize, work: usize): i32 {
  lasq1Begin(work);
  let result: i32;
  do {
    openSlice(work);
    result = lasq1Slice<T>(n, d, e, work);
  } while (result < 0);
  return result;
}

/** Readies lasq1Slice. */
export function lasq1Begin(work: usize): void {
  begin(work);
}

/** A slice of lasq1: MORE or STOPPED until it is done; the arguments are those of lasq1. */
export function lasq1Slice<T>(n: i32, d: usize, e: usize, work: usize): i32 {
  const ping = work + STATE_BYTES, pong = ping + rowsBytes(n);
  ulp = sizeof<T>() == 4 ? 1.1920928955078125e-7 : 2.220446049250313e-16;
  tolerance = 100 * ulp;
  negligible = tolerance * tolerance;
  if (cursor(work, STAGE) == START) {
    if (n == 2) {
      lasv2<T>(load<T>(d), load<T>(e), load<T>(d, sizeof<T>()));
      store<T>(d, <T>abs<f64>(sigmaLarge));
      store<T>(d, <T>abs<f64>(sigmaSmall), sizeof<T>());
      return 0;
    }
    const largest = largestEntry<T>(n, d, e);
    if (!(largest < Infinity)) return BAD_SPLIT;
    if (largest == 0) {
      // diagonal, or of one row
      for (let i = 0; i < n; i++) store<T>(at<T>(d, i), abs<T>(load<T>(at<T>(d, i))));
      sortDescending<T>(n, d);
      return 0;
    }
    const scale = TOP_EXPONENT - exponent<f64>(largest);
    setCursor(work, SCALE, scale);
    for (let i = 0; i < n; i++) {
      const q = scaleByPowerOfTwo<f64>(<f64>load<T>(at<T>(d, i)), scale);
      const s = i < n - 1 ? scaleByPowerOfTwo<f64>(<f64>load<T>(at<T>(e, i)), scale) : 0;
      setQ(ping, i, q * q);
      setE(ping, i, s * s);
    }
    start(n, work, ping, pong);
  }
  const result = solve(n, work, ping, pong);
  if (result != 0) return result;
  const scale = -cursor(work, SCALE);
  for (let i = 0; i < n; i++) store<T>(at<T>(d, i), <T>scaleByPowerOfTwo<f64>(sqrt<f64>(getQ(ping, i)), scale));
  sortDescending<T>(n, d);
  return 0;
}

/** The largest |d_i| or |e_i|; 0 if all e are 0. */
function largestEntry<T>(n: i32, d: usize, e: usize): f64 {
  let largestE: f64 = 0, largest: f64 = 0;
  for (let i = 0; i < n - 1; i++) largestE = max<f64>(largestE, abs<f64>(<f64>load<T>(at<T>(e, i))));
  for (let i = 0; i < n; i++) largest = max<f64>(largest, abs<f64>(<f64>load<T>(at<T>(d, i))));
  return largestE == 0 && largest < Infinity ? 0 : max<f64>(largest, largestE);
}

/** Shell's sort: the values come nearly sorted from dqds, but not those of split matrices. */
function sortDescending<T>(n: i32, x: usize): void {
  let gap = 1;
  while (gap < n) gap = 3 * gap + 1;
  for (; gap > 0; gap /= 3) {
    for (let i = gap; i < n; i++) {
      const value = load<T>(at<T>(x, i));
      let j = i;
      for (; j >= gap && load<T>(at<T>(x, j - gap)) < value; j -= gap) {
        store<T>(at<T>(x, j), load<T>(at<T>(x, j - gap)));
      }
      store<T>(at<T>(x, j), value);
    }
  }
}

/** The qd array in ping, of n >= 3 rows, after two passes without shift that split it where it all but is. */
function start(n: i32, state: usize, ping: usize, pong: usize): void {
  if (REVERSAL * getQ(ping, 0) < getQ(ping, n - 1)) reverse(ping, 0, n - 1);
  firstPass(n, ping, pong, negligible);
  firstPass(n, pong, ping, negligible);
  setCursor(state, HIGH, n - 1);
  setCursor(state, STAGE, OPEN);
}

/**
 * q of ping <- eigenvalues of LU for the qd array there, in no order, block after block from the end. Where the matrix
 * splits, e of ping <- minus the sum of the shifts made until then, from which the upper part goes on. xLASQ2.
 */
function solve(n: i32, state: usize, ping: usize, pong: usize): i32 {
  while (true) {
    if (cursor(state, STAGE) == OPEN) {
      const high = cursor(state, HIGH), blocks = cursor(state, BLOCKS);
      if (high < 0) return 0;
      if (blocks > n) return TOO_MANY_BLOCKS;
      const sigma = high == n - 1 ? 0 : -getE(ping, high);
      if (sigma < 0) return BAD_SPLIT;
      setNumber(state, SIGMA, sigma);
      setNumber(state, SIGMA_REST, 0);
      openBlock(state, ping, pong);
      setCursor(state, BLOCKS, blocks + 1);
      setCursor(state, STAGE, PASSES);
    }
    const left = number(state, PASSES_LEFT);
    if (left == 0) return TOO_MANY_PASSES;
    setNumber(state, PASSES_LEFT, left - 1);
    const operations = ROW_OPERATIONS * <f64>(cursor(state, HIGH) - cursor(state, LOW) + 3);
    const onPong = cursor(state, PONG) != 0;
    improve(state, onPong ? pong : ping, onPong ? ping : pong, ping, pong);
    if (cursor(state, HIGH) < cursor(state, LOW)) setCursor(state, STAGE, OPEN);
    if (spend(operations)) return interrupted();
  }
}

/** Takes the values that have come out off the block in z, and makes a pass over the rest into `next`: the array before z. */
function improve(state: usize, z: usize, next: usize, ping: usize, pong: usize): void {
  const previous = cursor(state, HIGH);
  // a block that has just been reversed is not looked at: the e's before it are not its own
  if (cursor(state, REVERSED) == 0) deflate(state, z, next, ping);
  setCursor(state, REVERSED, 0);
  const low = cursor(state, LOW), high = cursor(state, HIGH);
  if (high < low) return;
  if (number(state, LEAST) <= 0 || high < previous) reverseIfGraded(state, z, next);
  const shift = chooseShift(state, low, high, z, next, number(state, LEAST), previous - high);
  takeStep(state, z, next, shift);
  setCursor(state, PONG, z == ping ? 1 : 0);
  if (next == ping) split(state, ping, pong);
}

/**
 * The unreduced block that ends at HIGH; a first shift from Gershgorin's circles at its end, as far as the q's there are
 * large beside the e's.
 */
function openBlock(state: usize, ping: usize, pong: usize): void {
  const high = cursor(state, HIGH);
  let smallestQ = getQ(ping, high), largestQ = smallestQ, largestE: f64 = 0;
  let low = high;
  for (; low > 0; low--) {
    const e = getE(ping, low - 1);
    if (e <= 0) break;
    if (smallestQ >= 4 * largestE) {
      smallestQ = min<f64>(smallestQ, getQ(ping, low));
      largestE = max<f64>(largestE, e);
    }
    largestQ = max<f64>(largestQ, getQ(ping, low - 1) + e);
  }
  const bound = smallestQ - 2 * sqrt<f64>(smallestQ) * sqrt<f64>(largestE);
  setCursor(state, LOW, low);
  setCursor(state, PONG, 0);
  setNumber(state, LARGEST_Q, largestQ);
  setNumber(state, LEAST, -max<f64>(0, bound));
  setNumber(state, PASSES_LEFT, <f64>PASSES_PER_VALUE * <f64>(high - low + 1));
  if (high - low > 1 && smallestNearTop(low, high, ping)) {
    reverse(ping, low, high);
    reverse(pong, low, high);
    setCursor(state, REVERSED, 1);
  }
}

/** Whether the least d of a pass without shift is in the upper third and well below the last q: small values belong below. */
function smallestNearTop(low: i32, high: i32, ping: usize): bool {
  let d = getQ(ping, low), smallest = d;
  let position = low;
  for (let i = low; i < high; i++) {
    d = getQ(ping, i + 1) * (d / (d + getE(ping, i)));
    if (d <= smallest) {
      smallest = d;
      position = i + 1;
    }
  }
  return 2 * (position - low) < high - position && smallest <= 0.5 * getQ(ping, high);
}

/** Takes off the rows at the end that have become values, to which HIGH moves up; values go to q of ping. */
function deflate(state: usize, z: usize, before: usize, ping: usize): void {
  const low = cursor(state, LOW), sigma = number(state, SIGMA);
  let high = cursor(state, HIGH);
  while (high >= low) {
    const single = high == low || (high > low + 1 && (
      getE(z, high - 1) <= negligible * (sigma + getQ(z, high)) ||
      getE(before, high - 1) <= negligible * getQ(z, high - 1)
    ));
    if (single) {
      setQ(ping, high, getQ(z, high) + sigma);
      high--;
      continue;
    }
    const pair = high == low + 1 || getE(z, high - 2) <= negligible * sigma ||
      getE(before, high - 2) <= negligible * getQ(z, high - 2);
    if (!pair) break;
    solvePair(high, z, ping, sigma);
    high -= 2;
  }
  setCursor(state, HIGH, high);
}

/** The two values of the last two rows. */
function solvePair(high: i32, z: usize, ping: usize, sigma: f64): void {
  const last = getQ(z, high), above = getQ(z, high - 1), e = getE(z, high - 1);
  let small = min<f64>(last, above), large = max<f64>(last, above);
  const t = 0.5 * (large - small + e);
  if (e > small * negligible && t != 0) {
    let s = small * (e / t);
    if (s <= t) s = small * (e / (t * (1 + sqrt<f64>(1 + s / t))));
    else s = small * (e / (t + sqrt<f64>(t) * sqrt<f64>(t + s)));
    const sum = large + (s + e);
    small *= large / sum;
    large = sum;
  }
  setQ(ping, high - 1, large + sigma);
  setQ(ping, high, small + sigma);
}

/** Reverses a block whose values grow downward; a pass without shift follows. */
function reverseIfGraded(state: usize, z: usize, before: usize): void {
  const low = cursor(state, LOW), high = cursor(state, HIGH);
  if (REVERSAL * getQ(z, low) >= getQ(z, high)) return;
  reverse(z, low, high);
  reverse(before, low, high);
  // the least e's as split wants them
  setE(z, high, min<f64>(getE(z, high), min<f64>(getE(z, low), getE(z, low + 1))));
  setE(before, high, min<f64>(getE(before, high), min<f64>(getE(before, low), getE(before, low + 1))));
  const largestQ = max<f64>(getQ(z, low), getQ(z, low + 1));
  setNumber(state, LARGEST_Q, max<f64>(number(state, LARGEST_Q), largestQ));
  setNumber(state, LEAST, 0);
}

/** One pass from z to `next`, with smaller shifts as long as one is too large, at last with none. */
function takeStep(state: usize, z: usize, next: usize, shift: f64): void {
  const low = cursor(state, LOW), high = cursor(state, HIGH), sigma = number(state, SIGMA);
  let least: f64 = 0;
  while (true) {
    const threshold = ulp * (sigma + shift);
    if (shift < 0.5 * threshold) shift = 0;
    if (pass(state, low, high, z, next, shift, shift == 0 ? threshold : 0)) {
      least = number(state, LEAST0);
      break;
    }
    const d0 = number(state, D0), d1 = number(state, D1);
    if (
      number(state, LEAST1) > 0 && getE(next, high - 1) < tolerance * (sigma + d1) && abs<f64>(d0) < tolerance * sigma
    ) {
      // converged, which a tiny negative d hides
      setQ(next, high, 0);
      break;
    }
    shift = reduceShift(state, shift, ulp);
  }
  setNumber(state, LEAST, least);
  // sigma in two numbers: the small one holds what the sum would round away
  let rest = number(state, SIGMA_REST);
  let sum: f64 = 0;
  if (shift < sigma) {
    rest += shift;
    sum = sigma + rest;
    rest -= sum - sigma;
  } else {
    sum = sigma + shift;
    rest += sigma - (sum - shift);
  }
  setNumber(state, SIGMA, sum);
  setNumber(state, SIGMA_REST, rest);
}

/** If the least e of the last passes is negligible: LOW moves behind the last such e, which is marked by −sigma. */
function split(state: usize, ping: usize, pong: usize): void {
  const low = cursor(state, LOW), high = cursor(state, HIGH), sigma = number(state, SIGMA);
  if (high - low < 3) return;
  if (getE(pong, high) > negligible * number(state, LARGEST_Q) && getE(ping, high) > negligible * sigma) return;
  let first = low;
  let largestQ = getQ(ping, low), leastE = getE(ping, low), leastBefore = getE(pong, low);
  for (let i = low; i <= high - 3; i++) {
    const e = getE(ping, i), eBefore = getE(pong, i);
    if (eBefore <= negligible * getQ(ping, i) || e <= negligible * sigma) {
      setE(ping, i, -sigma);
      first = i + 1;
      largestQ = 0;
      leastE = getE(ping, i + 1);
      leastBefore = getE(pong, i + 1);
    } else {
      largestQ = max<f64>(largestQ, getQ(ping, i + 1));
      leastE = min<f64>(leastE, e);
      leastBefore = min<f64>(leastBefore, eBefore);
    }
  }
  setNumber(state, LARGEST_Q, largestQ);
  setE(ping, high, leastE);
  setE(pong, high, leastBefore);
  setCursor(state, LOW, first);
}
