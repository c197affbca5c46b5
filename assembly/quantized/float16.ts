// IEEE half precision (binary16: 1 sign, 5 exponent, 10 fraction bits) and single precision, contiguous arrays.
// Every pattern goes to f32 and back unchanged, the payload of a NaN included: what may be a NaN meets integer
// instructions only, since arithmetic would make a signalling one quiet.

import { powerOfTwo } from "../machine";
import { sums4 } from "../simd";

/** f32 exponent of a half, less the half's own: the biases are 127 and 15. */
const REBIAS: i32 = 112 << 23;

/** The bits of 0.5: between 0.5 and 1 neighbours in f32 are 2^-24 apart, as the subnormal halves are. */
const HALF: i32 = 0x3f000000;

/** Four halves in 32-bit lanes (the upper 16 bits zero) to f32. */
// @ts-ignore: decorator
@inline function widen(h: v128): v128 {
  const magnitude = v128.and(h, i32x4.splat(0x7fff));
  const rebias = i32x4.splat(REBIAS);
  const isSpecial = i32x4.gt_s(magnitude, i32x4.splat(0x7bff));
  const normal = i32x4.add(i32x4.add(i32x4.shl(magnitude, 13), rebias), v128.and(isSpecial, rebias));
  const half = i32x4.splat(HALF);
  const subnormal = f32x4.sub(v128.or(magnitude, half), half);
  const isSubnormal = i32x4.lt_s(magnitude, i32x4.splat(0x400));
  const sign = i32x4.shl(v128.and(h, i32x4.splat(0x8000)), 16);
  return v128.or(v128.bitselect(subnormal, normal, isSubnormal), sign);
}

/** Four f32 to the nearest halves, ties to even, in 32-bit lanes. From 65520 on a number becomes Infinity. */
// @ts-ignore: decorator
@inline function narrow(x: v128): v128 {
  const magnitude = v128.and(x, i32x4.splat(0x7fffffff));
  const kept = i32x4.shr_u(magnitude, 13);
  const half = i32x4.splat(HALF);
  // half a unit less one, and one more where the last kept bit is odd
  const rounding = i32x4.add(i32x4.splat(0xfff - REBIAS), v128.and(kept, i32x4.splat(1)));
  const rounded = i32x4.min_u(i32x4.shr_u(i32x4.add(magnitude, rounding), 13), i32x4.splat(0x7c00));
  const subnormal = i32x4.sub(f32x4.add(magnitude, half), half);
  const finite = v128.bitselect(subnormal, rounded, i32x4.lt_s(magnitude, i32x4.splat(0x38800000)));
  // a NaN whose payload stood in the lower bits alone gets the quiet bit: without a payload it would be Infinity
  const payload = v128.and(kept, i32x4.splat(0x3ff));
  const quiet = v128.and(i32x4.eq(payload, i32x4.splat(0)), i32x4.splat(0x200));
  const nan = v128.or(v128.or(payload, quiet), i32x4.splat(0x7c00));
  const result = v128.bitselect(nan, finite, i32x4.gt_s(magnitude, i32x4.splat(0x7f800000)));
  return v128.or(result, v128.and(i32x4.shr_u(x, 16), i32x4.splat(0x8000)));
}

/** dst (n f32) <- src (n halves), exactly. */
export function fromFloat16(n: i32, src: usize, dst: usize): void {
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    v128.store(dst, widen(v128.load16x4_u(src)));
    src += 8;
    dst += 16;
  }
  for (; i < n; i++) {
    store<i32>(dst, i32x4.extract_lane(widen(i32x4.splat(load<u16>(src))), 0));
    src += 2;
    dst += 4;
  }
}

/** dst (n halves) <- src (n f32), to nearest, ties to even. */
export function toFloat16(n: i32, src: usize, dst: usize): void {
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    v128.store(dst, i16x8.narrow_i32x4_u(narrow(v128.load(src)), narrow(v128.load(src, 16))));
    src += 32;
    dst += 16;
  }
  for (; i < n; i++) {
    store<u16>(dst, i32x4.extract_lane(narrow(i32x4.splat(load<i32>(src))), 0));
    src += 4;
    dst += 2;
  }
}

/** 1 if none of n halves is Infinity or NaN, else 0. */
export function isFiniteFloat16(n: i32, src: usize): i32 {
  const mask = i16x8.splat(0x7fff);
  let most = i16x8.splat(0);
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    most = i16x8.max_s(most, v128.and(v128.load(src), mask));
    src += 16;
  }
  for (; i < n; i++) {
    most = i16x8.max_s(most, v128.and(i16x8.splat(load<i16>(src)), mask));
    src += 2;
  }
  return v128.any_true(i16x8.gt_s(most, i16x8.splat(0x7bff))) ? 0 : 1;
}

/** What x is multiplied by for float16Rows4: it takes halves as f32 with the half's own exponent, 112 too low. */
export const FLOAT16_SHIFT: i32 = 112;

/** The bits of eight halves as f32: the upper 16 bits of each, and the lower ones. */
// @ts-ignore: decorator
@inline function upper(h: v128): v128 {
  return v128.and(i16x8.shr_s(h, 3), i16x8.splat(<i16>0x8fff));
}

// @ts-ignore: decorator
@inline function lower(h: v128): v128 {
  return i16x8.shl(h, 13);
}

// @ts-ignore: decorator
@inline function first4(lower: v128, upper: v128): v128 {
  return v128.shuffle<i16>(lower, upper, 0, 8, 1, 9, 2, 10, 3, 11);
}

// @ts-ignore: decorator
@inline function last4(lower: v128, upper: v128): v128 {
  return v128.shuffle<i16>(lower, upper, 4, 12, 5, 13, 6, 14, 7, 15);
}

/** dst (n f32) <- src (n finite halves), exactly: as fromFloat16 in half the time. */
export function fromFiniteFloat16(n: i32, src: usize, dst: usize): void {
  const f = f32x4.splat(powerOfTwo<f32>(FLOAT16_SHIFT));
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const h = v128.load(src), l = lower(h), u = upper(h);
    v128.store(dst, f32x4.mul(f, first4(l, u)));
    v128.store(dst, f32x4.mul(f, last4(l, u)), 16);
    src += 16;
    dst += 32;
  }
  if (i < n) fromFloat16(n - i, src, dst);
}

/**
 * Four rows of finite halves, `row` bytes apart, against x (n f32, n a multiple of 8, 2^FLOAT16_SHIFT times what is meant):
 * out[0…3] <- the sums. A half's bits, moved into place, are an f32 2^112 times too small, also where it is subnormal.
 */
export function float16Rows4(n: i32, w: usize, row: usize, x: usize, out: usize): void {
  const zero = i32x4.splat(0);
  let s0 = zero, s1 = zero, s2 = zero, s3 = zero, t0 = zero, t1 = zero, t2 = zero, t3 = zero;
  const row2: usize = 2 * row, row3: usize = 3 * row;
  for (let i = n; i > 0; i -= 8) {
    const x0 = v128.load(x), x1 = v128.load(x, 16);
    let h = v128.load(w), l = lower(h), u = upper(h);
    s0 = f32x4.add(s0, f32x4.mul(first4(l, u), x0));
    t0 = f32x4.add(t0, f32x4.mul(last4(l, u), x1));
    h = v128.load(w + row), l = lower(h), u = upper(h);
    s1 = f32x4.add(s1, f32x4.mul(first4(l, u), x0));
    t1 = f32x4.add(t1, f32x4.mul(last4(l, u), x1));
    h = v128.load(w + row2), l = lower(h), u = upper(h);
    s2 = f32x4.add(s2, f32x4.mul(first4(l, u), x0));
    t2 = f32x4.add(t2, f32x4.mul(last4(l, u), x1));
    h = v128.load(w + row3), l = lower(h), u = upper(h);
    s3 = f32x4.add(s3, f32x4.mul(first4(l, u), x0));
    t3 = f32x4.add(t3, f32x4.mul(last4(l, u), x1));
    w += 16;
    x += 32;
  }
  v128.store(out, sums4(f32x4.add(s0, t0), f32x4.add(s1, t1), f32x4.add(s2, t2), f32x4.add(s3, t3)));
}
