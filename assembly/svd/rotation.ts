// Plane rotations and 2×2 triangular SVDs: the scalar steps of the bidiagonal QR iteration.
// There are no multiple returns: each routine leaves its results in the globals named beside it, one set an instance.

import { epsilon, powerOfTwo, safeMinimum } from "../machine";

/** lartg: cosine, sine and length of the rotation that turns (f, g) into (r, 0). */
export let rotationC: f64 = 0;
export let rotationS: f64 = 0;
export let rotationR: f64 = 0;

/**
 * c·f + s·g = r, c·g − s·f = 0, c² + s² = 1, without overflow; r has the sign of f. After xLARTG of LAPACK 3.10
 * (Anderson, "Algorithm 978", 2017).
 */
export function lartg<T>(f: T, g: T): void {
  const f1 = abs<T>(f), g1 = abs<T>(g);
  const rtmin = sizeof<T>() == 4 ? powerOfTwo<T>(-63) : powerOfTwo<T>(-511);
  const rtmax = sizeof<T>() == 4 ? powerOfTwo<T>(62) : powerOfTwo<T>(510);
  let c: T, s: T, r: T;
  if (g == <T>0) {
    c = <T>1;
    s = <T>0;
    r = f;
  } else if (f == <T>0) {
    c = <T>0;
    s = copysign<T>(<T>1, g);
    r = g1;
  } else if (f1 > rtmin && f1 < rtmax && g1 > rtmin && g1 < rtmax) {
    const d = sqrt<T>(<T>(f * f + g * g));
    c = <T>(f1 / d);
    r = copysign<T>(d, f);
    s = <T>(g / r);
  } else {
    const safmin = safeMinimum<T>();
    const u = min<T>(<T>(<T>1 / safmin), max<T>(safmin, max<T>(f1, g1)));
    const fs = <T>(f / u), gs = <T>(g / u);
    const d = sqrt<T>(<T>(fs * fs + gs * gs));
    c = <T>(abs<T>(fs) / d);
    r = copysign<T>(d, f);
    s = <T>(gs / r);
    r = <T>(r * u);
  }
  rotationC = <f64>c;
  rotationS = <f64>s;
  rotationR = <f64>r;
}

/** The smaller singular value of [[f, g], [0, h]]. xLAS2. */
export function las2<T>(f: T, g: T, h: T): T {
  const fa = abs<T>(f), ga = abs<T>(g), ha = abs<T>(h);
  const small = min<T>(fa, ha), large = max<T>(fa, ha);
  if (small == <T>0) return <T>0;
  const sum = <T>(<T>1 + small / large), difference = <T>((large - small) / large);
  if (ga < large) {
    const q = <T>(ga / large), au = <T>(q * q);
    return <T>(small * (<T>2 / (sqrt<T>(<T>(sum * sum + au)) + sqrt<T>(<T>(difference * difference + au)))));
  }
  const au = <T>(large / ga);
  // au = 0: g is so large that its square would swallow the rest
  if (au == <T>0) return <T>((small * large) / ga);
  const x = <T>(sum * au), y = <T>(difference * au);
  const c = <T>(<T>1 / (sqrt<T>(<T>(<T>1 + x * x)) + sqrt<T>(<T>(<T>1 + y * y))));
  return <T>(<T>2 * ((small * c) * au));
}

/** lasv2: singular values and the cosines and sines of both sides. */
export let sigmaSmall: f64 = 0;
export let sigmaLarge: f64 = 0;
export let leftC: f64 = 0;
export let leftS: f64 = 0;
export let rightC: f64 = 0;
export let rightS: f64 = 0;

/**
 * [[cl, sl], [−sl, cl]]·[[f, g], [0, h]]·[[cr, −sr], [sr, cr]] = diag(sigmaLarge, sigmaSmall), every output to nearly
 * full precision. xLASV2 (Demmel and Kahan 1990).
 */
export function lasv2<T>(f: T, g: T, h: T): void {
  const swapped = abs<T>(h) > abs<T>(f);
  const ft = swapped ? h : f, ht = swapped ? f : h, gt = g;
  const fa = abs<T>(ft), ha = abs<T>(ht), ga = abs<T>(gt);
  let small: T, large: T, cl: T, sl: T, cr: T, sr: T;
  let gLargest = false;
  if (ga == <T>0) {
    small = ha;
    large = fa;
    cl = <T>1;
    cr = <T>1;
    sl = <T>0;
    sr = <T>0;
  } else if (ga > fa && <T>(fa / ga) < epsilon<T>()) {
    gLargest = true;
    large = ga;
    small = ha > <T>1 ? <T>(fa / (ga / ha)) : <T>((fa / ga) * ha);
    cl = <T>1;
    sl = <T>(ht / gt);
    sr = <T>1;
    cr = <T>(ft / gt);
  } else {
    gLargest = ga > fa;
    const d = <T>(fa - ha);
    const l = d == fa ? <T>1 : <T>(d / fa);
    const m = <T>(gt / ft);
    const t = <T>(<T>2 - l);
    const mm = <T>(m * m), tt = <T>(t * t);
    const s = sqrt<T>(<T>(tt + mm));
    const r = l == <T>0 ? abs<T>(m) : sqrt<T>(<T>(l * l + mm));
    const a = <T>(<T>0.5 * (s + r));
    small = <T>(ha / a);
    large = <T>(fa * a);
    let u: T;
    if (mm != <T>0) u = <T>((m / (s + t) + m / (r + l)) * (<T>1 + a));
    else if (l == <T>0) u = <T>(copysign<T>(<T>2, ft) * copysign<T>(<T>1, gt));
    else u = <T>(gt / copysign<T>(d, ft) + m / t);
    const w = sqrt<T>(<T>(u * u + <T>4));
    cr = <T>(<T>2 / w);
    sr = <T>(u / w);
    cl = <T>((cr + sr * m) / a);
    sl = <T>((ht / ft) * sr / a);
  }
  const csl = swapped ? sr : cl, snl = swapped ? cr : sl, csr = swapped ? sl : cr, snr = swapped ? cl : sr;
  // the sign that each value takes over from the largest entry
  let sign: T;
  if (gLargest) sign = <T>(copysign<T>(<T>1, snr) * copysign<T>(<T>1, csl) * copysign<T>(<T>1, g));
  else if (swapped) sign = <T>(copysign<T>(<T>1, snr) * copysign<T>(<T>1, snl) * copysign<T>(<T>1, h));
  else sign = <T>(copysign<T>(<T>1, csr) * copysign<T>(<T>1, csl) * copysign<T>(<T>1, f));
  sigmaLarge = <f64>copysign<T>(large, sign);
  sigmaSmall = <f64>copysign<T>(small, <T>(sign * copysign<T>(<T>1, f) * copysign<T>(<T>1, h)));
  leftC = <f64>csl;
  leftS = <f64>snl;
  rightC = <f64>csr;
  rightS = <f64>snr;
}
