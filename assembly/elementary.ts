// Elementary functions without tables: the kernel has no data segment, and Math's would bring one. Each is computed in
// f64 and rounded to T, so f32 results are correct but for rare ties; f64 results are within two units in the last place, those
// of tanh and erf within four.
// Nothing is fused, so every engine and every build gives the same bits.
//
// Polynomials are Taylor's, cut where the remainder is below 2^-55 of the result on the reduced range.

import { powerOfTwo, scaleByPowerOfTwo } from "./machine";

/** log 2 to 33 bits, so that its product with an exponent is exact, and the rest of it. */
const LN2_HIGH: f64 = 0.6931471804855391;
const LN2_LOW: f64 = 7.440617110012397e-11;
const LOG2_E: f64 = 1.4426950408889634;
const PI: f64 = 3.141592653589793;
const TWO_OVER_ROOT_PI: f64 = 1.1283791670955126;
const ROOT_E_INVERSE: f64 = 0.6065306597126334; // e^-1/2
const ROOT_E_INVERSE_EIGHTH: f64 = 0.9394130628134758; // e^-1/16

/** log x; −Infinity at ±0, NaN below 0. */
export function log<T>(x: T): T {
  return <T>logDouble(<f64>x);
}

/** e^x; 0 and Infinity beyond the format's range. */
export function exp<T>(x: T): T {
  return <T>expDouble(<f64>x);
}

/** Hyperbolic tangent. */
export function tanh<T>(x: T): T {
  return <T>tanhDouble(<f64>x);
}

/** The error function, 2/√π·∫ e^(−t²) dt from 0 to x. */
export function erf<T>(x: T): T {
  return <T>erfDouble(<f64>x);
}

/** sin(π·x), exact at multiples of 1/2; NaN for an infinite x. */
export function sinpi<T>(x: T): T {
  return <T>sinpiDouble(<f64>x);
}

/** cos(π·x), exact at multiples of 1/2; NaN for an infinite x. */
export function cospi<T>(x: T): T {
  return <T>cospiDouble(<f64>x);
}

/**
 * x = 2^k·(1 + f) with 1 + f in [√½, √2); log(1 + f) = 2·artanh(s) with s = f/(2 + f), written as f − (h − s·(h + R)), h = f²/2,
 * where the largest term is exact.
 */
function logDouble(x: f64): f64 {
  if (!(x > 0)) return x == 0 ? -Infinity : NaN;
  if (x == Infinity) return x;
  let bits = reinterpret<i64>(x), k = 0;
  if (bits < 0x0010000000000000) {
    bits = reinterpret<i64>(x * 18014398509481984); // 2^54
    k = -54;
  }
  // the exponent of x/√½, so that the fraction's range has 1 in its middle
  const steps = (bits - 0x3fe6a09e667f3bcd) >> 52;
  k += <i32>steps;
  const f = reinterpret<f64>(bits - (steps << 52)) - 1;
  const s = f / (2 + f), z = s * s, h = 0.5 * f * f;
  let r: f64 = 2.0 / 23;
  r = r * z + 2.0 / 21;
  r = r * z + 2.0 / 19;
  r = r * z + 2.0 / 17;
  r = r * z + 2.0 / 15;
  r = r * z + 2.0 / 13;
  r = r * z + 2.0 / 11;
  r = r * z + 2.0 / 9;
  r = r * z + 2.0 / 7;
  r = r * z + 2.0 / 5;
  r = r * z + 2.0 / 3;
  return k * LN2_HIGH - (h - (s * (h + r * z) + k * LN2_LOW) - f);
}

function expDouble(x: f64): f64 {
  if (!(x < 709.79)) return x == x ? Infinity : x;
  if (x < -745.2) return 0;
  return exponential(x, false);
}

/** e^x, or with `less` e^x − 1: x = k·log 2 + r with |r| <= log(2)/2; e^x = 2^k·e^r. */
function exponential(x: f64, less: bool): f64 {
  const k = nearest<f64>(x * LOG2_E);
  const high = x - k * LN2_HIGH, low = k * LN2_LOW, r = high - low;
  let p: f64 = 1.0 / 6227020800;
  p = p * r + 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  // what the rounding of r lost is added to the small terms
  const q = r + (p * r * r + (high - r - low));
  if (!less) return scaleByPowerOfTwo<f64>(1 + q, <i32>k);
  return scaleByPowerOfTwo<f64>(q, <i32>k) + (powerOfTwo<f64>(<i32>k) - 1);
}

/** (e^2x − 1)/(e^2x + 1); from 22 on that is 1. */
function tanhDouble(x: f64): f64 {
  const t = exponential(2 * min<f64>(abs<f64>(x), 22), true);
  return copysign<f64>(t / (t + 2), x);
}

/**
 * Up to 1/2 Taylor's series. Above, erfc(x) = x·e^(−x²)/π·∫ e^(−t²)/(t² + x²) dt by the midpoint rule with step 1/2, whose error beside
 * the pole's share, 2/(1 + e^4πx), is below 1e-16 (Matta and Reichel 1971); from 6 on erf is 1.
 */
function erfDouble(x: f64): f64 {
  const a = min<f64>(abs<f64>(x), 6), z = a * a;
  let s: f64 = 0, t: f64 = 1;
  if (z < 0.25) {
    for (let n: f64 = 0; n < 13; n++) {
      s += t / (2 * n + 1);
      t *= -z / (n + 1);
    }
    return TWO_OVER_ROOT_PI * x * s;
  }
  let c = ROOT_E_INVERSE_EIGHTH, ratio: f64 = 1;
  for (let d: f64 = 0.25; d < 6.5; d += 0.5) {
    s += c / (z + d * d);
    ratio *= ROOT_E_INVERSE;
    c *= ratio; // e^(−d²)
  }
  return copysign<f64>(tanhDouble(2 * PI * a) - a / PI * expDouble(-z) * s, x);
}

/** Both take x = n/2 + r with |r| <= 1/4, an exact remainder; n mod 4 tells the function and the sign. */
function sinpiDouble(x: f64): f64 {
  const n = nearest<f64>(2 * x), r = x - 0.5 * n, quarter = quarterTurns(n);
  const y = (quarter & 1) == 0 ? sineOf(r) : cosineOf(r);
  // sin(−0) = −0 and multiples of 1 keep the sign of x, as IEEE 754 has it
  if (y == 0) return copysign<f64>(0, x);
  return (quarter & 2) == 0 ? y : -y;
}

function cospiDouble(x: f64): f64 {
  const n = nearest<f64>(2 * x), r = x - 0.5 * n, quarter = quarterTurns(n);
  const y = (quarter & 1) == 0 ? cosineOf(r) : sineOf(r);
  if (y == 0) return 0;
  return (((quarter + 1) >> 1) & 1) == 0 ? y : -y;
}

/** n mod 4 for an integer n of any size; what is not finite gives 0, and its NaN comes from the remainder. */
function quarterTurns(n: f64): i32 {
  const rest = n - 4 * floor<f64>(n / 4);
  return rest >= 0 && rest < 4 ? <i32>rest : 0;
}

/** sin(π·r), |r| <= 1/4. */
function sineOf(r: f64): f64 {
  const t = PI * r, z = t * t;
  let p: f64 = 1.0 / 355687428096000;
  p = p * z - 1.0 / 1307674368000;
  p = p * z + 1.0 / 6227020800;
  p = p * z - 1.0 / 39916800;
  p = p * z + 1.0 / 362880;
  p = p * z - 1.0 / 5040;
  p = p * z + 1.0 / 120;
  p = p * z - 1.0 / 6;
  return t + t * z * p;
}

/** cos(π·r), |r| <= 1/4. */
function cosineOf(r: f64): f64 {
  const t = PI * r, z = t * t;
  let p: f64 = 1.0 / 20922789888000;
  p = p * z - 1.0 / 87178291200;
  p = p * z + 1.0 / 479001600;
  p = p * z - 1.0 / 3628800;
  p = p * z + 1.0 / 40320;
  p = p * z - 1.0 / 720;
  p = p * z + 1.0 / 24;
  return 1 - (0.5 * z - z * z * p);
}
