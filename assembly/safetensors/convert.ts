// Numbers as files store them to f32 or f64 and back. Everything is exact or rounded once, to nearest, ties to even.

import { fromBfloat16, toBfloat16 } from "../quantized/bfloat16";
import { fromFloat16, toFloat16 } from "../quantized/float16";

/** Stored types by number; the bindings' list has the same order. */
const F32 = 0, F64 = 1, F16 = 2, BF16 = 3, F8_E4M3 = 4, F8_E5M2 = 5, F8_E8M0 = 6, F8_E4M3FNUZ = 7, F8_E5M2FNUZ = 8;
const U8 = 9, I8 = 10, U16 = 11, I16 = 12, U32 = 13, I32 = 14, U64 = 15, I64 = 16;

/** dst (n elements of T) <- src (n stored numbers); neither needs alignment. */
export function decode<T>(type: i32, n: i32, src: usize, dst: usize): void {
  if (type == F64) return convert<f64, T>(n, src, dst);
  if (type == F32) return convert<f32, T>(n, src, dst);
  if (type == U8) return convert<u8, T>(n, src, dst);
  if (type == I8) return convert<i8, T>(n, src, dst);
  if (type == U16) return convert<u16, T>(n, src, dst);
  if (type == I16) return convert<i16, T>(n, src, dst);
  if (type == U32) return convert<u32, T>(n, src, dst);
  if (type == I32) return convert<i32, T>(n, src, dst);
  if (type == U64) return convert<u64, T>(n, src, dst);
  if (type == I64) return convert<i64, T>(n, src, dst);
  // small floats to f32; for f64 into the upper half of dst, whose numbers are then widened from the front on
  const single = dst + (sizeof<T>() - 4) * <usize>n;
  if (type == F16) fromFloat16(n, src, single);
  else if (type == BF16) fromBfloat16(n, src, single);
  else fromFloat8(type, n, src, single);
  if (sizeof<T>() == 8) convert<f32, T>(n, single, dst);
}

/** dst (n stored numbers of F32, F64, F16 or BF16) <- src (n elements of T). work: n f32, for f64 to F16 and BF16. */
export function encode<T>(type: i32, n: i32, src: usize, dst: usize, work: usize): void {
  if (type == F64) return convert<T, f64>(n, src, dst);
  if (type == F32) return convert<T, f32>(n, src, dst);
  let single = src;
  if (sizeof<T>() == 8) {
    roundToOdd(n, src, work);
    single = work;
  }
  if (type == F16) toFloat16(n, single, dst);
  else toBfloat16(n, single, dst);
}

function convert<S, T>(n: i32, src: usize, dst: usize): void {
  if (isFloat<S>() && sizeof<S>() == sizeof<T>()) {
    memory.copy(dst, src, <usize>n * sizeof<T>());
    return;
  }
  for (const end = src + <usize>n * sizeof<S>(); src < end; src += sizeof<S>()) {
    store<T>(dst, <T>load<S>(src));
    dst += sizeof<T>();
  }
}

/**
 * dst (n f32) <- src (n f64), towards zero and with the last bit set where digits were lost: a second rounding to fewer
 * digits then gives what one rounding would (Boldo and Melquiond 2008).
 */
function roundToOdd(n: i32, src: usize, dst: usize): void {
  for (let i = 0; i < n; i++) {
    const x = load<f64>(src), y = <f32>x, back = <f64>y;
    let bits = reinterpret<u32>(y);
    if (back != x && x == x) {
      if (abs<f64>(back) > abs<f64>(x)) bits--;
      bits |= 1;
    }
    store<u32>(dst, bits);
    src += 8;
    dst += 4;
  }
}

/** Four bytes of E4M3 (bias 7, no infinity, NaN only with all bits set) in 32-bit lanes to f32. */
// @ts-ignore: decorator
@inline function widenE4M3(x: v128): v128 {
  const magnitude = v128.and(x, i32x4.splat(0x7f));
  // one multiplication does for normal and subnormal numbers
  const value = f32x4.mul(i32x4.shl(magnitude, 20), f32x4.splat(reinterpret<f32>((120 + 127) << 23)));
  const nan = v128.and(i32x4.eq(magnitude, i32x4.splat(0x7f)), i32x4.splat(0x7fc00000));
  return v128.or(v128.or(value, nan), i32x4.shl(v128.and(x, i32x4.splat(0x80)), 24));
}

/** Four bytes of E5M2, the upper halves of binary16, in 32-bit lanes to f32. */
// @ts-ignore: decorator
@inline function widenE5M2(x: v128): v128 {
  const magnitude = v128.and(x, i32x4.splat(0x7f));
  const value = f32x4.mul(i32x4.shl(magnitude, 21), f32x4.splat(reinterpret<f32>((112 + 127) << 23)));
  const special = v128.or(i32x4.splat(0x7f800000), i32x4.shl(v128.and(magnitude, i32x4.splat(3)), 21));
  const finite = i32x4.lt_s(magnitude, i32x4.splat(0x7c));
  return v128.or(v128.bitselect(value, special, finite), i32x4.shl(v128.and(x, i32x4.splat(0x80)), 24));
}

function fromFloat8(type: i32, n: i32, src: usize, dst: usize): void {
  let i = 0;
  if (type == F8_E4M3 || type == F8_E5M2) {
    for (; i + 4 <= n; i += 4) {
      const x = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(src)));
      v128.store(dst, type == F8_E4M3 ? widenE4M3(x) : widenE5M2(x));
      src += 4;
      dst += 16;
    }
  }
  for (; i < n; i++) {
    store<f32>(dst, float8(type, load<u8>(src)));
    src += 1;
    dst += 4;
  }
}

/** One number of eight bits. The FNUZ types have a bias one larger, and NaN where negative zero would be. */
function float8(type: i32, x: i32): f32 {
  if (type == F8_E4M3) return reinterpret<f32>(i32x4.extract_lane(widenE4M3(i32x4.splat(x)), 0));
  if (type == F8_E5M2) return reinterpret<f32>(i32x4.extract_lane(widenE5M2(i32x4.splat(x)), 0));
  // 2^(x − 127): a number without sign and fraction
  if (type == F8_E8M0) return x == 255 ? NaN : x == 0 ? reinterpret<f32>(1 << 22) : reinterpret<f32>(x << 23);
  if (x == 0x80) return NaN;
  const magnitude = type == F8_E4M3FNUZ
    ? reinterpret<f32>((x & 0x7f) << 20) * reinterpret<f32>((119 + 127) << 23)
    : reinterpret<f32>((x & 0x7f) << 21) * reinterpret<f32>((111 + 127) << 23);
  return x > 127 ? -magnitude : magnitude;
}
