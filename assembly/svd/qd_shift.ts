// The shift of a dqds pass: an estimate, mostly from below, of the least value left, from d at the last rows of the pass
// before. Parlett and Marques, "An implementation of the dqds algorithm (positive case)" (2000), whose case numbers are
// kept; constants as xLASQ4's.

import { D0, D1, D2, FRACTION, LEAST1, LEAST2, REDUCTIONS, getE, getQ, number, setNumber } from "./qd_array";

/** A squared norm above this gives no bound; the factors make up for what the estimates leave out. */
const NORM_LIMIT = 0.563;
const GAP_FACTOR = 1.01;
const NORM_FACTOR = 1.05;
const THIRD = 0.333;

/**
 * The shift for the next pass over rows low…high of z; `before` is the array that z was made from. `least` is the last pass's
 * least d, or minus the shift to be taken; `deflated`: how many values have been found since. FRACTION is what case 6 took
 * of the least d, 0 if it did not choose the last shift; REDUCTIONS, how often that shift was reduced.
 */
export function chooseShift(
  state: usize, low: i32, high: i32, z: usize, before: usize, least: f64, deflated: i32,
): f64 {
  const fraction = number(state, FRACTION), reduced = number(state, REDUCTIONS) > 0;
  setNumber(state, FRACTION, 0);
  setNumber(state, REDUCTIONS, 0);
  if (least <= 0) return -least;
  const d0 = number(state, D0), d1 = number(state, D1), d2 = number(state, D2);
  const least1 = number(state, LEAST1), least2 = number(state, LEAST2);
  if (deflated == 1) return shiftAfterOne(low, high, z, d1, d2, least1, least2);
  if (deflated == 2) return shiftAfterTwo(low, high, z, d2, least2);
  if (deflated > 2) return 0;
  if (least == d0 && least1 == d1) return shiftByGap(high, z, d0, least2);
  if (least == d0) return shiftByResidual(low, high, z, d0);
  if (least == d1) return shiftByInnerResidual(low, high - 1, z, before, d1, 0);
  if (least == d2) {
    const q = getQ(before, high), e = getE(before, high - 1);
    return e >= q ? 0.25 * d2 : shiftByInnerResidual(low, high - 2, z, before, d2, e / q);
  }
  // case 6: nothing known: a fraction of the least d that grows while it does
  let next: f64 = 0.25;
  if (fraction > 0) next = reduced ? 0.25 * THIRD : fraction + THIRD * (1 - fraction);
  setNumber(state, FRACTION, next);
  return next * least;
}

/** A shift in place of one that was too large; `ulp`: relative rounding error. */
export function reduceShift(state: usize, shift: f64, ulp: f64): f64 {
  const reductions = number(state, REDUCTIONS) + 1;
  setNumber(state, REDUCTIONS, reductions);
  if (reductions > 2) return 0;
  // only the last row is negative: an excellent bound
  if (number(state, LEAST1) > 0) return (shift + number(state, D0)) * (1 - 2 * ulp);
  return 0.25 * shift;
}

/** Cases 2 and 3: the least d is the last, the second least the one before: the 2×2 block at the end and its gap. */
function shiftByGap(high: i32, z: usize, d0: f64, least2: f64): f64 {
  const b1 = sqrt<f64>(getQ(z, high)) * sqrt<f64>(getE(z, high - 1));
  const b2 = sqrt<f64>(getQ(z, high - 1)) * sqrt<f64>(getE(z, high - 2));
  const a = getQ(z, high - 1) + getE(z, high - 1);
  const outer = least2 - a - least2 * 0.25;
  const gap = outer > 0 && outer > b2 ? a - d0 - (b2 / outer) * b2 : a - d0 - (b1 + b2);
  if (gap > 0 && gap > b1) return max<f64>(d0 - (b1 / gap) * b1, 0.5 * d0);
  let shift = d0 > b1 ? d0 - b1 : 0;
  if (a > b1 + b2) shift = min<f64>(shift, a - (b1 + b2));
  return max<f64>(shift, THIRD * d0);
}

/** Case 4: the least d is the last. */
function shiftByResidual(low: i32, high: i32, z: usize, d0: f64): f64 {
  return residualBound(d0, normAbove(low, high - 1, z, 0, NORM_LIMIT));
}

/**
 * Cases 4 and 5: the least d is that of row i, the second or third from the end. What the rows below it add to the norm is
 * found in the array before the pass: e_i/q_(i + 1), times 1 + `ratio` for the row after that.
 */
function shiftByInnerResidual(low: i32, i: i32, z: usize, before: usize, d: f64, ratio: f64): f64 {
  const q = getQ(before, i + 1), e = getE(before, i);
  if (e >= q) return 0.25 * d;
  return residualBound(d, normAbove(low, i - 1, z, (e / q) * (1 + ratio), NORM_LIMIT));
}

/** Cases 7 to 9: one value has been found. */
function shiftAfterOne(
  low: i32, high: i32, z: usize, d1: f64, d2: f64, least1: f64, least2: f64,
): f64 {
  if (least1 != d1 || least2 != d2) return least1 == d1 ? 0.5 * least1 : 0.25 * least1;
  const cautious = THIRD * least1;
  const norm = normAbove(low, high - 1, z, 0, Infinity);
  if (norm < 0) return cautious;
  const b = sqrt<f64>(NORM_FACTOR * norm);
  const a = least1 / (1 + b * b);
  return gapBound(a, b, 0.5 * least2 - a, cautious);
}

/** Cases 10 and 11: two values have been found. */
function shiftAfterTwo(low: i32, high: i32, z: usize, d2: f64, least2: f64): f64 {
  if (least2 != d2 || 2 * getE(z, high - 1) >= getQ(z, high - 1)) return 0.25 * least2;
  const cautious = THIRD * least2;
  const norm = normAbove(low, high - 1, z, 0, Infinity);
  if (norm < 0) return cautious;
  const b = sqrt<f64>(NORM_FACTOR * norm);
  const a = least2 / (1 + b * b);
  const q = getQ(z, high - 1), e = getE(z, high - 2);
  return gapBound(a, b, q + e - sqrt<f64>(getQ(z, high - 2)) * sqrt<f64>(e) - a, cautious);
}

/**
 * `norm` and what rows i, i − 1, …, low add to the squared norm of the vector that belongs to the last value, whose
 * component there is 1. Stops where the rest does not matter or `limit` is passed; −1 if a component grows upward.
 */
function normAbove(low: i32, i: i32, z: usize, norm: f64, limit: f64): f64 {
  let term: f64 = 1, before: f64 = 1;
  for (; i >= low; i--) {
    const q = getQ(z, i), e = getE(z, i);
    if (e > q) return -1;
    if (e == 0) break;
    term *= e / q;
    norm += term;
    if (100 * max<f64>(term, before) < norm || norm > limit) break;
    before = term;
  }
  return norm;
}

/** The Rayleigh quotient less its residual, if the residual is small. */
function residualBound(d: f64, norm: f64): f64 {
  const squared = NORM_FACTOR * norm;
  return norm >= 0 && squared < NORM_LIMIT ? (d * (1 - sqrt<f64>(squared))) / (1 + squared) : 0.25 * d;
}

/** The Rayleigh quotient a less its residual a·b, or less its square over the gap. */
function gapBound(a: f64, b: f64, gap: f64, cautious: f64): f64 {
  if (gap > 0 && gap > b * a) return max<f64>(cautious, a * (1 - GAP_FACTOR * a * (b / gap) * b));
  return max<f64>(cautious, a * (1 - GAP_FACTOR * b));
}
