// Machine parameters in LAPACK's sense (xLAMCH): one definition for both precisions.

/** Relative machine epsilon for rounding to nearest: 2^-53 (f64), 2^-24 (f32). LAPACK's 'Epsilon', half of its 'Precision'. */
// @ts-ignore: decorator
@inline export function epsilon<T>(): T {
  if (sizeof<T>() == 4) return <T>(<f32>5.9604644775390625e-8);
  return <T>1.1102230246251565e-16;
}

/** Smallest normal number: its reciprocal does not overflow. LAPACK's 'Safe minimum'. */
// @ts-ignore: decorator
@inline export function safeMinimum<T>(): T {
  if (sizeof<T>() == 4) return <T>(<f32>1.1754943508222875e-38);
  return <T>2.2250738585072014e-308;
}

/** 2^k for k in the exponent range of normal numbers. */
// @ts-ignore: decorator
@inline export function powerOfTwo<T>(k: i32): T {
  if (sizeof<T>() == 4) return <T>reinterpret<f32>((k + 127) << 23);
  return <T>reinterpret<f64>((<i64>(k + 1023)) << 52);
}

/** floor(log2 |x|) for finite x ≠ 0, subnormal numbers included. */
export function exponent<T>(x: T): i32 {
  if (sizeof<T>() == 4) {
    const bits = reinterpret<u32>(<f32>x) & 0x7fffffff;
    if (bits < 0x00800000) return -118 - <i32>clz<u32>(bits);
    return <i32>(bits >> 23) - 127;
  }
  const bits = reinterpret<u64>(<f64>x) & 0x7fffffffffffffff;
  if (bits < 0x0010000000000000) return -1011 - <i32>clz<u64>(bits);
  return <i32>(bits >> 52) - 1023;
}

/** x·2^k, rounded once unless the result is subnormal; k may lie outside the exponent range. */
export function scaleByPowerOfTwo<T>(x: T, k: i32): T {
  const step = sizeof<T>() == 4 ? 126 : 1022;
  while (k > step) {
    x = <T>(x * powerOfTwo<T>(step));
    k -= step;
  }
  while (k < -step) {
    x = <T>(x * powerOfTwo<T>(-step));
    k += step;
  }
  return <T>(x * powerOfTwo<T>(k));
}
