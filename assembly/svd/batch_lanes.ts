// Groups of lanes<T>() matrices side by side, one a SIMD lane: element (i, j) of all of them is the vector at row i of
// column j, columns `ld` vectors apart. Every instruction does the same to every lane, and what a lane gets depends on
// that lane alone: so a matrix's bits depend neither on its neighbours nor on its place.

import { exponent, powerOfTwo, safeMinimum } from "../machine";
import { at, lanes } from "../simd";

/** Address of vector i behind x. */
// @ts-ignore: decorator
@inline export function vector(x: usize, i: i32): usize {
  return x + (<usize>i << 4);
}

/** Address of one lane of vector i behind x. */
// @ts-ignore: decorator
@inline export function laneAt<T>(x: usize, i: i32, lane: i32): usize {
  return x + (<usize>i << 4) + at<T>(0, lane);
}

/** An integer as wide as T in every lane. */
// @ts-ignore: decorator
@inline export function integers<T>(i: i32): v128 {
  return sizeof<T>() == 4 ? v128.splat<i32>(i) : v128.splat<i64>(i);
}

// @ts-ignore: decorator
@inline export function addIntegers<T>(a: v128, b: v128): v128 {
  return sizeof<T>() == 4 ? v128.add<i32>(a, b) : v128.add<i64>(a, b);
}

// @ts-ignore: decorator
@inline export function subIntegers<T>(a: v128, b: v128): v128 {
  return sizeof<T>() == 4 ? v128.sub<i32>(a, b) : v128.sub<i64>(a, b);
}

/** Bit l is the sign bit of lane l. */
// @ts-ignore: decorator
@inline export function signs<T>(v: v128): i32 {
  return sizeof<T>() == 4 ? v128.bitmask<i32>(v) : v128.bitmask<i64>(v);
}

/** The sign bit of every lane. */
// @ts-ignore: decorator
@inline export function signBits<T>(): v128 {
  if (sizeof<T>() == 4) return v128.splat<i32>(0x80000000);
  return v128.splat<i64>(0x8000000000000000);
}

/**
 * Below this norm, beside entries near 1, a column counts as nothing: its square would leave the range in which squares
 * and their products are computed to full precision.
 */
// @ts-ignore: decorator
@inline export function negligible<T>(): T {
  return sizeof<T>() == 4 ? powerOfTwo<T>(-56) : powerOfTwo<T>(-240);
}

/** What an entry may be smaller than its column's largest without being taken for zero. */
// @ts-ignore: decorator
@inline function entryRange<T>(): T {
  return sizeof<T>() == 4 ? powerOfTwo<T>(-60) : powerOfTwo<T>(-250);
}

/** A vector of lanes<T>() numbers that stand in different matrices. */
// @ts-ignore: decorator
@inline function gather<T>(a0: usize, a1: usize, a2: usize, a3: usize): v128 {
  if (sizeof<T>() == 4) {
    let v = v128.load32_zero(a0);
    v = v128.load_lane<f32>(a1, v, 1);
    v = v128.load_lane<f32>(a2, v, 2);
    return v128.load_lane<f32>(a3, v, 3);
  }
  return v128.load_lane<f64>(a1, v128.load64_zero(a0), 1);
}

/**
 * x (long×p, columns ld vectors apart) <- the matrices at a + lane·next bytes, element (i, j) at strides (ri, rj),
 * `present` of them (the first takes the place of those that are not there), each scaled by its own power of two to
 * max |x| in [1, 2). An entry that is far below roundoff beside its column becomes 0, so that no subnormal number is
 * computed with. unscale <- two vectors whose product takes the scaling back; norms <- the squared norms of the columns.
 */
export function loadLanes<T>(
  present: i32, long: i32, p: i32, a: usize, next: usize, ri: i32, rj: i32, x: usize, ld: i32, unscale: usize, norms: usize,
): void {
  const step = at<T>(0, ri), across = at<T>(0, rj);
  const d1 = <usize>(present > 1 ? next : 0), d2 = <usize>(present > 2 ? 2 * next : 0);
  const d3 = <usize>(present > 3 ? 3 * next : 0);
  let largest = v128.splat<T>(<T>0);
  for (let j = 0; j < p; j++) {
    let from = a + <usize>j * across;
    let columnLargest = v128.splat<T>(<T>0);
    let to = vector(x, j * ld);
    for (let i = long; i > 0; i--) {
      const v = gather<T>(from, from + d1, from + d2, from + d3);
      columnLargest = v128.pmax<T>(columnLargest, v128.abs<T>(v));
      v128.store(to, v);
      from += step;
      to += 16;
    }
    v128.store(vector(norms, j), columnLargest);
    largest = v128.pmax<T>(largest, columnLargest);
  }
  const scale = unscale + 32;
  findScale<T>(largest, unscale, scale);
  for (let j = 0; j < p; j++) scaleColumn<T>(long, vector(x, j * ld), scale, vector(norms, j));
}

/** unscale and scale <- pairs of vectors with the products 2^k and 2^-k, k the exponent of `largest` in each lane. */
function findScale<T>(largest: v128, unscale: usize, scale: usize): void {
  // the exponent's bits: of one factor half the exponent, of the other the rest
  const field = sizeof<T>() == 4 ? v128.shr<u32>(largest, 23) : v128.shr<u64>(largest, 52);
  const bias = integers<T>(sizeof<T>() == 4 ? 127 : 1023);
  const k = subIntegers<T>(field, bias);
  const half = sizeof<T>() == 4 ? v128.shr<i32>(k, 1) : v128.shr<i64>(k, 1);
  const rest = subIntegers<T>(k, half);
  v128.store(unscale, powers<T>(addIntegers<T>(bias, half)));
  v128.store(unscale, powers<T>(addIntegers<T>(bias, rest)), 16);
  v128.store(scale, powers<T>(subIntegers<T>(bias, half)));
  v128.store(scale, powers<T>(subIntegers<T>(bias, rest)), 16);
  const subnormal = v128.and(
    v128.lt<T>(largest, v128.splat<T>(safeMinimum<T>())), v128.gt<T>(largest, v128.splat<T>(<T>0)),
  );
  if (v128.any_true(subnormal)) scaleSubnormals<T>(largest, unscale, scale);
}

/** Numbers with these exponent fields. */
// @ts-ignore: decorator
@inline function powers<T>(field: v128): v128 {
  return sizeof<T>() == 4 ? v128.shl<i32>(field, 23) : v128.shl<i64>(field, 52);
}

/** The same for the lanes in which the largest number is subnormal: its exponent is not in its exponent field. */
function scaleSubnormals<T>(largest: v128, unscale: usize, scale: usize): void {
  for (let lane = 0; lane < lanes<T>(); lane++) {
    let top: T;
    if (sizeof<T>() == 4) {
      const l = lane == 0 ? v128.extract_lane<f32>(largest, 0) : lane == 1 ? v128.extract_lane<f32>(largest, 1)
        : lane == 2 ? v128.extract_lane<f32>(largest, 2) : v128.extract_lane<f32>(largest, 3);
      top = <T>l;
    } else {
      top = <T>(lane == 0 ? v128.extract_lane<f64>(largest, 0) : v128.extract_lane<f64>(largest, 1));
    }
    if (top == <T>0 || top >= safeMinimum<T>()) continue;
    const k = exponent<T>(top), half = k >> 1;
    store<T>(laneAt<T>(unscale, 0, lane), powerOfTwo<T>(half));
    store<T>(laneAt<T>(unscale, 1, lane), powerOfTwo<T>(k - half));
    store<T>(laneAt<T>(scale, 0, lane), powerOfTwo<T>(-half));
    store<T>(laneAt<T>(scale, 1, lane), powerOfTwo<T>(half - k));
  }
}

/** x <- x·scale, small entries 0. norm holds the largest |x| before, and the squared norm afterwards. */
function scaleColumn<T>(long: i32, x: usize, scale: usize, norm: usize): void {
  const f = v128.load(scale), g = v128.load(scale, 16);
  const top = v128.mul<T>(v128.mul<T>(v128.load(norm), f), g);
  const least = v128.pmax<T>(v128.mul<T>(top, v128.splat<T>(entryRange<T>())), v128.splat<T>(safeMinimum<T>()));
  let s = v128.splat<T>(<T>0);
  for (const end = vector(x, long); x < end; x += 16) {
    const v = v128.mul<T>(v128.mul<T>(v128.load(x), f), g);
    const kept = v128.and(v, v128.ge<T>(v128.abs<T>(v), least));
    v128.store(x, kept);
    s = v128.add<T>(s, v128.mul<T>(kept, kept));
  }
  v128.store(norm, s);
}

/** rank <- the place of each of p values in non-increasing order, an integer as wide as T; equal ones in their order. */
export function rankLanes<T>(p: i32, values: usize, rank: usize): void {
  for (let j = 0; j < p; j++) {
    const value = v128.load(vector(values, j));
    let place = integers<T>(j);
    for (let i = 0; i < j; i++) {
      // a true comparison is −1
      const before = v128.lt<T>(v128.load(vector(values, i)), value);
      place = addIntegers<T>(place, before);
      v128.store(vector(rank, i), subIntegers<T>(v128.load(vector(rank, i)), before));
    }
    v128.store(vector(rank, j), place);
  }
}

/** The n numbers of one lane to dst, `step` bytes apart; −0 becomes 0. */
export function storeLane<T>(n: i32, x: usize, lane: i32, dst: usize, step: usize): void {
  x += at<T>(0, lane);
  let i = n;
  for (; i >= 3; i -= 3) {
    store<T>(dst, <T>(load<T>(x) + <T>0));
    store<T>(dst + step, <T>(load<T>(x, 16) + <T>0));
    store<T>(dst + 2 * step, <T>(load<T>(x, 32) + <T>0));
    x += 48;
    dst += 3 * step;
  }
  for (; i > 0; i--) {
    store<T>(dst, <T>(load<T>(x) + <T>0));
    x += 16;
    dst += step;
  }
}
