// The secular equation of divide and conquer. The matrix with first row z and diagonal (0, d_1, …, d_{k−1}) below has the
// singular values σ_i that solve
//   f(σ²) = 1 + Σ_j z_j² / (d_j² − σ²) = 0,   d_i < σ_i < d_{i+1}.
// Each root is sought relative to its nearest pole, so that every difference d_j − σ_i can be had to full precision: Gu and
// Eisenstat, "A divide-and-conquer algorithm for the bidiagonal SVD" (1995); iteration after Li, "Solving secular
// equations stably and efficiently" (LAPACK Working Note 89, 1993).

import { epsilon } from "../machine";
import { at, lanes, sum } from "../simd";

/** Evaluations of f for one root, of which a handful are needed. */
const MAX_EVALUATIONS = 150;

/** After this many, every second step halves the bracket, so that every root is found. */
const PATIENCE = 20;

// sums over one side of the poles: Σ z_j²/(D_j − x) and its derivative Σ z_j²/(D_j − x)²
let sideSum: f64 = 0;
let sideSlope: f64 = 0;

/** Σ over j < count of z2[j]/(poles[j] − x), and the derivative, into sideSum and sideSlope. */
function sumSide<T>(count: i32, poles: usize, z2: usize, x: T): void {
  const xv = v128.splat<T>(x);
  let s = v128.splat<T>(<T>0), t = s;
  let j = 0;
  for (; j + lanes<T>() <= count; j += lanes<T>()) {
    const gap = v128.sub<T>(v128.load(poles), xv);
    const term = v128.div<T>(v128.load(z2), gap);
    s = v128.add<T>(s, term);
    t = v128.add<T>(t, v128.div<T>(term, gap));
    poles += 16;
    z2 += 16;
  }
  let total = sum<T>(s), slope = sum<T>(t);
  for (; j < count; j++) {
    const gap = <T>(load<T>(poles) - x);
    const term = <T>(load<T>(z2) / gap);
    total = <T>(total + term);
    slope = <T>(slope + term / gap);
    poles += sizeof<T>();
    z2 += sizeof<T>();
  }
  sideSum = <f64>total;
  sideSlope = <f64>slope;
}

/** poles[j] <- d_j² − d_origin², each with a small relative error. */
function shiftPoles<T>(k: i32, d: usize, origin: i32, poles: usize): void {
  const dk = load<T>(at<T>(d, origin)), v = v128.splat<T>(dk);
  let j = 0;
  for (; j + lanes<T>() <= k; j += lanes<T>()) {
    const dj = v128.load(d);
    v128.store(poles, v128.mul<T>(v128.sub<T>(dj, v), v128.add<T>(dj, v)));
    d += 16;
    poles += 16;
  }
  for (; j < k; j++) {
    const dj = load<T>(d);
    store<T>(poles, <T>((dj - dk) * (dj + dk)));
    d += sizeof<T>();
    poles += sizeof<T>();
  }
}

/** solveSecular: the pole that the root was found from. */
export let origin: i32 = 0;

/**
 * Root i of k: leaves the index of its nearest pole in `origin` and returns σ_i − d_origin. d: k poles, ascending, d_0 = 0;
 * z2: squares of z, all > 0. poles: k elements of working memory. NaN if the iteration does not converge.
 */
export function solveSecular<T>(i: i32, k: i32, d: usize, z2: usize, poles: usize): T {
  if (k == 1) {
    origin = 0;
    return sqrt<T>(load<T>(z2));
  }
  const last = i == k - 1;
  // below the root: poles 0…i (psi), above it: the rest (phi); the last root keeps one pole for phi
  const split = last ? k - 1 : i + 1;
  const left = split - 1, right = split;
  const zl = load<T>(at<T>(z2, left)), zr = load<T>(at<T>(z2, right));
  origin = last ? k - 1 : i;
  shiftPoles<T>(k, d, origin, poles);
  let low: T, high: T, x: T;
  if (last) {
    low = <T>0;
    high = <T>0;
    for (let j = 0; j < k; j++) high = <T>(high + load<T>(at<T>(z2, j)));
    high = <T>(high * (<T>1 + <T>4 * epsilon<T>()));
    x = <T>(<T>0.5 * high);
  } else {
    // which half of the gap holds the root decides the origin
    const gap = load<T>(at<T>(poles, right)), middle = <T>(<T>0.5 * gap);
    sumSide<T>(split, poles, z2, middle);
    const psi = <T>sideSum;
    sumSide<T>(k - split, at<T>(poles, right), at<T>(z2, right), middle);
    const f = <T>(<T>1 + psi + <T>sideSum);
    // the first guess solves the equation with the two nearest poles exact and the others frozen
    const c = <T>(f - zl / (<T>-middle) - zr / (<T>(gap - middle)));
    if (f > <T>0) {
      const a = <T>(c * gap + zl + zr), b = <T>(zl * gap);
      const root = sqrt<T>(abs<T>(<T>(a * a - <T>4 * b * c)));
      x = a > <T>0 ? <T>(<T>2 * b / (a + root)) : <T>((a - root) / (<T>2 * c));
      low = <T>0;
      high = middle;
    } else {
      origin = right;
      shiftPoles<T>(k, d, origin, poles);
      const a = <T>(zl + zr - c * gap), b = <T>(zr * gap);
      const root = sqrt<T>(abs<T>(<T>(a * a + <T>4 * b * c)));
      x = a < <T>0 ? <T>(<T>2 * b / (a - root)) : <T>(-(a + root) / (<T>2 * c));
      low = <T>-middle;
      high = <T>0;
    }
    if (!(x > low && x < high)) x = <T>(<T>0.5 * (low + high));
  }
  const shifted = findRoot<T>(k, split, last, poles, z2, low, high, x);
  const dk = load<T>(at<T>(d, origin));
  return <T>(shifted / (dk + sqrt<T>(<T>(dk * dk + shifted))));
}

/** The middle of a bracket; with `logarithmic` that of the exponents, since a root may lie beside a pole, where x is tiny. */
function halfway<T>(low: T, high: T, logarithmic: bool): T {
  if (!logarithmic) return <T>(<T>0.5 * (low + high));
  // brackets do not cross zero
  const outer = max<T>(abs<T>(low), abs<T>(high)), inner = min<T>(abs<T>(low), abs<T>(high));
  const magnitude = inner == <T>0 ? <T>(outer * <T>0.001) : <T>(sqrt<T>(inner) * sqrt<T>(outer));
  return low < <T>0 ? <T>-magnitude : magnitude;
}

/** x with f(x) = 0 in (low, high), x relative to the origin's d². */
function findRoot<T>(k: i32, split: i32, last: bool, poles: usize, z2: usize, low: T, high: T, x: T): T {
  const eps = epsilon<T>();
  const dl = load<T>(at<T>(poles, split - 1)), dr = load<T>(at<T>(poles, split));
  const nearLeft = origin == split - 1;
  const weight = load<T>(at<T>(z2, nearLeft ? split - 1 : split));
  let before = <T>0;
  let fixed = true;
  for (let evaluation = 0; evaluation < MAX_EVALUATIONS; evaluation++) {
    sumSide<T>(split, poles, z2, x);
    const psi = <T>sideSum, dpsi = <T>sideSlope;
    sumSide<T>(k - split, at<T>(poles, split), at<T>(z2, split), x);
    const phi = <T>sideSum, dphi = <T>sideSlope;
    const f = <T>(<T>1 + psi + phi), slope = <T>(dpsi + dphi);
    // as accurate as f can be evaluated
    const noise = <T>(<T>8 * (abs<T>(phi) + abs<T>(psi)) + <T>2 + abs<T>(x) * slope);
    if (abs<T>(f) <= <T>(eps * noise)) return x;
    if (f < <T>0) low = max<T>(low, x);
    else high = min<T>(high, x);

    const l = <T>(dl - x), r = <T>(dr - x);
    if (<T>(f * before) > <T>0 && abs<T>(f) > <T>(abs<T>(before) * <T>0.1)) fixed = !fixed;
    before = f;
    let c: T;
    if (last || !fixed) {
      c = <T>(f - l * dpsi - r * dphi);
      if (last) c = abs<T>(c);
    } else if (nearLeft) {
      c = <T>(f - r * slope - (dl - dr) * (weight / l / l));
    } else {
      c = <T>(f - l * slope - (dr - dl) * (weight / r / r));
    }
    const a = <T>((l + r) * f - l * r * slope), b = <T>(l * r * f);
    const root = sqrt<T>(abs<T>(<T>(a * a - <T>4 * b * c)));
    let step: T;
    if (c == <T>0) step = <T>(b / a);
    else if (last) step = a >= <T>0 ? <T>((a + root) / (<T>2 * c)) : <T>(<T>2 * b / (a - root));
    else step = a <= <T>0 ? <T>((a - root) / (<T>2 * c)) : <T>(<T>2 * b / (a + root));
    // f grows, so the step must go against its sign
    if (!(<T>(f * step) < <T>0)) step = <T>(-f / slope);
    let next = <T>(x + step);
    const slow = evaluation >= PATIENCE;
    if (!(next > low && next < high) || (slow && (evaluation & 1) != 0)) next = halfway<T>(low, high, slow);
    if (next == x || next == low || next == high) return next;
    x = next;
  }
  return <T>NaN;
}
