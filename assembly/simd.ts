// The one file that spells the 128-bit instructions: everything above it is written once for f32 and f64.
// A vector holds lanes<T>() elements: 4 of f32, 2 of f64.

/** Elements of T in a 128-bit vector. */
// @ts-ignore: decorator
@inline export function lanes<T>(): i32 {
  return 16 / <i32>sizeof<T>();
}

/** a·b + c: one rounding in the relaxed build where the processor has fused multiply-add, two in the strict build. */
// @ts-ignore: decorator
@inline export function madd<T>(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return v128.relaxed_madd<T>(a, b, c);
  return v128.add<T>(v128.mul<T>(a, b), c);
}

/** a·b + c with two roundings in every build: for what must give the same digits in both. */
// @ts-ignore: decorator
@inline export function muladd<T>(a: v128, b: v128, c: v128): v128 {
  return v128.add<T>(v128.mul<T>(a, b), c);
}

/** The sum of a vector's lanes, pairwise. */
// @ts-ignore: decorator
@inline export function sum<T>(v: v128): T {
  if (sizeof<T>() == 4) {
    const h = v128.add<f32>(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
    return <T>(v128.extract_lane<f32>(h, 0) + v128.extract_lane<f32>(h, 1));
  }
  return <T>(v128.extract_lane<f64>(v, 0) + v128.extract_lane<f64>(v, 1));
}

/** The sums of four vectors of f32, one a lane. */
// @ts-ignore: decorator
@inline export function sums4(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 1, 4, 5), v128.shuffle<f32>(a, b, 2, 3, 6, 7));
  const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 1, 4, 5), v128.shuffle<f32>(c, d, 2, 3, 6, 7));
  return f32x4.add(v128.shuffle<f32>(ab, cd, 0, 2, 4, 6), v128.shuffle<f32>(ab, cd, 1, 3, 5, 7));
}

/** The largest lane; a NaN lane gives NaN. */
// @ts-ignore: decorator
@inline export function largest<T>(v: v128): T {
  if (sizeof<T>() == 4) {
    const h = v128.max<f32>(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
    return <T>max<f32>(v128.extract_lane<f32>(h, 0), v128.extract_lane<f32>(h, 1));
  }
  return <T>max<f64>(v128.extract_lane<f64>(v, 0), v128.extract_lane<f64>(v, 1));
}

/** Two neighbouring elements as f64. */
// @ts-ignore: decorator
@inline export function loadPair<T>(x: usize): v128 {
  if (sizeof<T>() == 4) return v128.promote_low<f32>(v128.load64_zero(x));
  return v128.load(x);
}

/** Two neighbouring elements <- two f64, rounded. */
// @ts-ignore: decorator
@inline export function storePair<T>(x: usize, pair: v128): void {
  if (sizeof<T>() == 4) v128.store64_lane(x, v128.demote_zero<f64>(pair), 0);
  else v128.store(x, pair);
}

/** Address of element i behind x. */
// @ts-ignore: decorator
@inline export function at<T>(x: usize, i: usize): usize {
  return x + (i << alignof<T>());
}

/** Element i behind x. */
// @ts-ignore: decorator
@inline export function get<T>(x: usize, i: i32): T {
  return load<T>(at<T>(x, i));
}

/** Element i behind x <- value. */
// @ts-ignore: decorator
@inline export function set<T>(x: usize, i: i32, value: T): void {
  store<T>(at<T>(x, i), value);
}
