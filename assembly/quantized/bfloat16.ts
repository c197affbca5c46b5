// bfloat16, the upper half of an f32 (1 sign, 8 exponent, 7 fraction bits), and f32, contiguous arrays. Every pattern
// goes to f32 and back unchanged.

import { sums4 } from "../simd";

/** Four f32 to the nearest bfloat16, ties to even, in 32-bit lanes. */
// @ts-ignore: decorator
@inline function narrow(x: v128): v128 {
  const kept = i32x4.shr_u(x, 16);
  const rounded = i32x4.shr_u(i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), v128.and(kept, i32x4.splat(1))), 16);
  // a NaN is cut off; one whose payload stood in the lower bits alone gets the quiet bit
  const payload = v128.and(kept, i32x4.splat(0x7f));
  const nan = v128.or(kept, v128.and(i32x4.eq(payload, i32x4.splat(0)), i32x4.splat(0x40)));
  const isNan = i32x4.gt_s(v128.and(x, i32x4.splat(0x7fffffff)), i32x4.splat(0x7f800000));
  return v128.bitselect(nan, rounded, isNan);
}

/** The lower and the upper four of eight bfloat16 as f32. */
// @ts-ignore: decorator
@inline function low(h: v128): v128 {
  return v128.shuffle<i16>(i32x4.splat(0), h, 0, 8, 1, 9, 2, 10, 3, 11);
}

// @ts-ignore: decorator
@inline function high(h: v128): v128 {
  return v128.shuffle<i16>(i32x4.splat(0), h, 4, 12, 5, 13, 6, 14, 7, 15);
}

/** dst (n f32) <- src (n bfloat16), exactly. */
export function fromBfloat16(n: i32, src: usize, dst: usize): void {
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const h = v128.load(src);
    v128.store(dst, low(h));
    v128.store(dst, high(h), 16);
    src += 16;
    dst += 32;
  }
  for (; i < n; i++) {
    store<u32>(dst, (<u32>load<u16>(src)) << 16);
    src += 2;
    dst += 4;
  }
}

/** dst (n bfloat16) <- src (n f32), to nearest, ties to even. */
export function toBfloat16(n: i32, src: usize, dst: usize): void {
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

/** Four rows of bfloat16, `row` bytes apart, against x (n f32, n a multiple of 8): out[0…3] <- the sums. */
export function bfloat16Rows4(n: i32, w: usize, row: usize, x: usize, out: usize): void {
  const zero = i32x4.splat(0);
  let s0 = zero, s1 = zero, s2 = zero, s3 = zero, t0 = zero, t1 = zero, t2 = zero, t3 = zero;
  const row2: usize = 2 * row, row3: usize = 3 * row;
  for (let i = n; i > 0; i -= 8) {
    const x0 = v128.load(x), x1 = v128.load(x, 16);
    let h = v128.load(w);
    s0 = f32x4.add(s0, f32x4.mul(low(h), x0));
    t0 = f32x4.add(t0, f32x4.mul(high(h), x1));
    h = v128.load(w + row);
    s1 = f32x4.add(s1, f32x4.mul(low(h), x0));
    t1 = f32x4.add(t1, f32x4.mul(high(h), x1));
    h = v128.load(w + row2);
    s2 = f32x4.add(s2, f32x4.mul(low(h), x0));
    t2 = f32x4.add(t2, f32x4.mul(high(h), x1));
    h = v128.load(w + row3);
    s3 = f32x4.add(s3, f32x4.mul(low(h), x0));
    t3 = f32x4.add(t3, f32x4.mul(high(h), x1));
    w += 16;
    x += 32;
  }
  v128.store(out, sums4(f32x4.add(s0, t0), f32x4.add(s1, t1), f32x4.add(s2, t2), f32x4.add(s3, t3)));
}
