// Symmetric 8-bit integers with one f32 scale a row: w = scale·q, q in ±127.

import { amax } from "../blas/level1";
import { sums4 } from "../simd";

/** The smallest subnormal f32. */
const TINY: f32 = 1.401298464324817e-45;

/** max |x|/127; 0 for a row of zeros alone: where the quotient would vanish the smallest number stands for it. */
// @ts-ignore: decorator
@inline function scaleOf(n: i32, x: usize): f32 {
  const most = amax<f32>(n, x, 1);
  return most > 0 ? max<f32>(most / 127, TINY) : 0;
}

/** Four quotients to integers, ties to even, within ±127: a subnormal scale may be too small by a rounding. */
// @ts-ignore: decorator
@inline function quantize4(x: v128, scale: v128): v128 {
  const most = f32x4.splat(127);
  const q = f32x4.pmax(f32x4.pmin(f32x4.nearest(f32x4.div(x, scale)), most), f32x4.neg(most));
  return i32x4.trunc_sat_f32x4_s(q);
}

/** q (n bytes) <- a row of n finite f32; returns its scale. */
export function toInt8(n: i32, x: usize, q: usize): f32 {
  const scale = scaleOf(n, x);
  if (scale == 0) {
    memory.fill(q, 0, n);
    return scale;
  }
  const s = f32x4.splat(scale);
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const words = i16x8.narrow_i32x4_s(quantize4(v128.load(x), s), quantize4(v128.load(x, 16), s));
    v128.store64_lane(q, i8x16.narrow_i16x8_s(words, words), 0);
    x += 32;
    q += 8;
  }
  for (; i < n; i++) {
    store<i8>(q, <i8>i32x4.extract_lane(quantize4(f32x4.splat(load<f32>(x)), s), 0));
    x += 4;
    q += 1;
  }
  return scale;
}

/** dst (n f32) <- scale·q (n bytes). */
export function fromInt8(n: i32, q: usize, scale: f32, dst: usize): void {
  const s = f32x4.splat(scale);
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const words = v128.load8x8_s(q);
    v128.store(dst, f32x4.mul(s, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(words))));
    v128.store(dst, f32x4.mul(s, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(words))), 16);
    q += 8;
    dst += 32;
  }
  for (; i < n; i++) {
    store<f32>(dst, scale * <f32>load<i8>(q));
    q += 1;
    dst += 4;
  }
}

/** Columns that int8Rows4 adds up in 32 bits: 127·2^14 a product, 1024 products a lane. */
const CHUNK: i32 = 4096;

/** x is split as 2^15·high + low, both in ±2^14, where max |x| < 2^29. */
export const LIMB_BITS: i32 = 29;

/**
 * limbs (n times i16 high, then n times i16 low) <- n f32 times `factor`, rounded to integers below 2^LIMB_BITS; n is a multiple of 8.
 */
export function splitLimbs(n: i32, x: usize, factor: f32, limbs: usize): void {
  const f = f32x4.splat(factor), half = i32x4.splat(1 << 14);
  const low = limbs + 2 * <usize>n;
  for (let i: usize = 0; i < 2 * <usize>n; i += 16) {
    const a = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(f, v128.load(x))));
    const b = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(f, v128.load(x, 16))));
    const c = i32x4.shr_s(i32x4.add(a, half), 15), d = i32x4.shr_s(i32x4.add(b, half), 15);
    v128.store(limbs + i, i16x8.narrow_i32x4_s(c, d));
    v128.store(low + i, i16x8.narrow_i32x4_s(i32x4.sub(a, i32x4.shl(c, 15)), i32x4.sub(b, i32x4.shl(d, 15))));
    x += 32;
  }
}

/** 2^15·high + low for lanes of integer sums. */
// @ts-ignore: decorator
@inline function join(high: v128, low: v128): v128 {
  return f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(high), f32x4.splat(32768)), f32x4.convert_i32x4_s(low));
}

/**
 * Four rows of bytes, `row` bytes apart, against n columns of limbs (n a multiple of 8, at most CHUNK; the lower ones `apart` bytes
 * behind): out[0…3] <- out + the sums.
 */
function addRows4(n: i32, q: usize, row: usize, limbs: usize, apart: usize, out: usize): void {
  const zero = i32x4.splat(0);
  let s0 = zero, s1 = zero, s2 = zero, s3 = zero, t0 = zero, t1 = zero, t2 = zero, t3 = zero;
  const row2: usize = 2 * row, row3: usize = 3 * row;
  for (let i = n; i > 0; i -= 8) {
    const high = v128.load(limbs), low = v128.load(limbs + apart);
    let h = v128.load8x8_s(q);
    s0 = i32x4.add(s0, i32x4.dot_i16x8_s(h, high));
    t0 = i32x4.add(t0, i32x4.dot_i16x8_s(h, low));
    h = v128.load8x8_s(q + row);
    s1 = i32x4.add(s1, i32x4.dot_i16x8_s(h, high));
    t1 = i32x4.add(t1, i32x4.dot_i16x8_s(h, low));
    h = v128.load8x8_s(q + row2);
    s2 = i32x4.add(s2, i32x4.dot_i16x8_s(h, high));
    t2 = i32x4.add(t2, i32x4.dot_i16x8_s(h, low));
    h = v128.load8x8_s(q + row3);
    s3 = i32x4.add(s3, i32x4.dot_i16x8_s(h, high));
    t3 = i32x4.add(t3, i32x4.dot_i16x8_s(h, low));
    q += 8;
    limbs += 16;
  }
  v128.store(out, f32x4.add(v128.load(out), sums4(join(s0, t0), join(s1, t1), join(s2, t2), join(s3, t3))));
}

/** Four rows of n bytes, `row` bytes apart, against splitLimbs' x, without any scale: out[0…3] <- the sums. */
export function int8Rows4(n: i32, q: usize, row: usize, limbs: usize, out: usize): void {
  v128.store(out, i32x4.splat(0));
  for (let i = 0; i < n; i += CHUNK) {
    addRows4(min<i32>(CHUNK, n - i), q + <usize>i, row, limbs + 2 * <usize>i, 2 * <usize>n, out);
  }
}
