// One-sided Jacobi (Hestenes 1958) on groups of matrices, one a SIMD lane: rotations make the columns orthogonal, and
// all lanes step through the same pairs of columns. A pair that is orthogonal in a lane is left alone there, and a lane
// that has converged is left alone altogether. Convergence as in LAPACK's xGESVJ (Drmač and Veselić 2008).

import { epsilon } from "../machine";
import { muladd } from "../simd";
import { negligible, signBits, signs, vector } from "./batch_lanes";

/** Sweeps over all pairs before a lane is given up: xGESVJ's NSWEEP. */
let maxSweeps: i32 = 30;

/** Another limit for this instance: with 0 every lane is given up. */
export function setSweeps(limit: i32): void {
  maxSweeps = limit;
}

/** Bytes of an entry in the list of rotations: cosines, sines, the two columns. */
const ROTATION: usize = 48;

/** Vectors of memory beside each group: squared norms now and a sweep ago; lanes at work, lanes to be gone over again. */
export function jacobiVectors(p: i32): i32 {
  return 2 * p + 2;
}

/** Vectors of working memory of orthogonalize for so many groups: constants, the groups at work, rotations. */
export function orthogonalizeWork(groups: i32, p: i32): i32 {
  return 2 + groups + 3 * groups * (p / 2 + 1);
}

/**
 * Columns of X (p of them, ld vectors apart) <- X·V for X of each of `groups` groups, `stride` bytes apart from x on, so
 * that their first `rows` numbers are orthogonal; the numbers behind them, `length` altogether, are rotated with them.
 * rows and length are even, or 3 and 3 or 6. state: jacobiVectors of memory a group, `stride` bytes apart. The state's
 * first vector has its sign bit where a lane has not converged, if the result is true.
 *
 * Pairs are taken row by row, (0,1) (0,2) … (1,2) …: after a pivoted QR this order needs half the sweeps of a
 * tournament. Pairs of one sum i + j touch different columns and depend only on smaller sums, so they are worked on
 * together, and those of several groups too: their square roots and quotients overlap.
 */
export function orthogonalize<T>(
  groups: i32, p: i32, rows: i32, length: i32, x: usize, ld: i32, state: usize, stride: usize, work: usize,
): bool {
  // a pair rotates if the cosine between its columns is above tol, and calls for another sweep if that or the sine of the
  // rotation was above √(tol/4p): else the next sweep would find nothing, as convergence is quadratic
  const tol = <T>(sqrt<T>(<T>p) * epsilon<T>()), enough = <T>(tol / (<T>4 * <T>p));
  v128.store(work, v128.splat<T>(<T>(sizeof<T>() == 4 ? <T>2 * tol : tol * tol)));
  v128.store(work, v128.splat<T>(enough), 16);
  const alive = vector(work, 2), list = vector(alive, groups), toState = state - x;
  let count = groups;
  for (let g = 0; g < groups; g++) {
    const group = x + <usize>g * stride, own = group + toState;
    store<usize>(vector(alive, g), group);
    v128.store(own, v128.splat<i32>(-1));
    for (let j = 0; j < p; j++) v128.store(vector(own, 2 + p + j), v128.splat<T>(<T>0));
  }
  for (let sweep = 0; sweep < maxSweeps; sweep++) {
    for (let g = 0; g < count; g++) {
      const group = load<usize>(vector(alive, g));
      refresh<T>(p, rows, group, ld, group + toState);
    }
    for (let sum = 1; sum <= 2 * p - 3; sum++) {
      front<T>(sum, count, alive, p, rows, length, ld, toState, work, list);
    }
    let left = 0;
    for (let g = 0; g < count; g++) {
      const group = load<usize>(vector(alive, g)), own = group + toState;
      const again = v128.and(v128.load(own), v128.load(own, 16));
      v128.store(own, again);
      if (!v128.any_true(again)) continue;
      store<usize>(vector(alive, left), group);
      left++;
    }
    count = left;
    if (count == 0) return false;
  }
  return true;
}

/**
 * norms <- the squared norms of a group's columns; Infinity, which no test of a pair passes, where they are negligible. A
 * column that lost all but the roundoff of what it was a sweep ago is roundoff: 0 in place of it spares the sweeps in
 * which it would shrink by one eps each.
 */
function refresh<T>(p: i32, rows: i32, x: usize, ld: i32, state: usize): void {
  const active = v128.load(state);
  v128.store(state, v128.splat<i32>(0), 16);
  const roundoff = <T>(<T>p * epsilon<T>());
  const share = v128.splat<T>(<T>(roundoff * roundoff));
  const least = v128.splat<T>(<T>(negligible<T>() * negligible<T>())), infinity = v128.splat<T>(<T>Infinity);
  for (let j = 0; j < p; j++) {
    const column = vector(x, j * ld), norm = vector(state, 2 + j), before = vector(norm, p);
    let s = product<T>(rows, column, column);
    const noise = v128.and(v128.lt<T>(s, v128.mul<T>(share, v128.load(before))), active);
    if (v128.any_true(noise)) {
      for (let i = 0; i < rows; i++) {
        v128.store(vector(column, i), v128.andnot(v128.load(vector(column, i)), noise));
      }
      s = v128.andnot(s, noise);
    }
    v128.store(before, s);
    v128.store(norm, v128.bitselect(s, infinity, v128.ge<T>(s, least)));
  }
}

/** The pairs (i, sum − i): finds the rotations of all of them, then applies those that some lane needs. */
export function front<T>(
  sum: i32, count: i32, alive: usize, p: i32, rows: i32, length: i32, ld: i32, toState: usize, constants: usize, list: usize,
): void {
  let top = list;
  const last = (sum - 1) >> 1;
  for (let i = max<i32>(0, sum - p + 1); i <= last; i++) {
    const j = sum - i;
    for (let g = 0; g < count; g++) {
      const group = load<usize>(vector(alive, g)), state = group + toState;
      const a = vector(group, i * ld), b = vector(group, j * ld);
      v128.store(top, product<T>(rows, a, b));
      if (!angle<T>(vector(state, 2 + i), vector(state, 2 + j), state, constants, top)) continue;
      store<usize>(top, a, 32);
      store<usize>(top, b, 40);
      top += ROTATION;
    }
  }
  for (; list < top; list += ROTATION) rotate<T>(length, load<usize>(list, 32), load<usize>(list, 40), list);
}

/** xᵀy, lane by lane. */
// @ts-ignore: decorator
@inline function product<T>(rows: i32, x: usize, y: usize): v128 {
  if (rows == 3) {
    return muladd<T>(
      v128.load(x, 32), v128.load(y, 32),
      muladd<T>(v128.load(x, 16), v128.load(y, 16), v128.mul<T>(v128.load(x), v128.load(y))),
    );
  }
  let s = v128.splat<T>(<T>0), s1 = s;
  for (const end = vector(x, rows); x < end; x += 32) {
    s = muladd<T>(v128.load(x), v128.load(y), s);
    s1 = muladd<T>(v128.load(x, 16), v128.load(y, 16), s1);
    y += 32;
  }
  return v128.add<T>(s, s1);
}

/**
 * rotation <- cosines and sines that make a pair orthogonal whose product stands there; 1 and 0 where the lane needs
 * none. Updates the two squared norms, and the state's note of lanes that need another sweep. Returns whether some lane
 * rotates.
 */
// @ts-ignore: decorator
@inline function angle<T>(normX: usize, normY: usize, state: usize, constants: usize, rotation: usize): bool {
  const alpha = v128.load(normX), beta = v128.load(normY), gamma = v128.load(rotation);
  const tol = v128.load(constants), enough = v128.load(constants, 16);
  const two = v128.splat<T>(<T>2), zero = v128.splat<T>(<T>0);
  let rotates: v128, far: v128, d: v128, g: v128, unit: v128;
  if (sizeof<T>() == 4) {
    // f32 has no room for fourth powers: relative to the larger norm
    unit = v128.pmax<T>(alpha, beta);
    const inverse = v128.div<T>(v128.splat<T>(<T>1), unit);
    g = v128.mul<T>(v128.mul<T>(two, gamma), inverse);
    d = v128.mul<T>(v128.sub<T>(alpha, beta), inverse);
    const squared = v128.mul<T>(v128.pmin<T>(alpha, beta), inverse);
    rotates = v128.gt<T>(v128.abs<T>(g), v128.mul<T>(tol, v128.sqrt<T>(squared)));
    far = v128.gt<T>(v128.mul<T>(g, g), v128.mul<T>(v128.mul<T>(v128.splat<T>(<T>4), enough), squared));
  } else {
    unit = two;
    const bound = v128.mul<T>(alpha, beta), squared = v128.mul<T>(gamma, gamma);
    rotates = v128.gt<T>(squared, v128.mul<T>(tol, bound));
    far = v128.gt<T>(squared, v128.mul<T>(enough, bound));
    g = v128.mul<T>(two, gamma);
    d = v128.sub<T>(alpha, beta);
  }
  rotates = v128.and(rotates, v128.load(state));
  if (!v128.any_true(rotates)) return false;
  // tan(2θ) = g/d, θ in [−π/4, π/4]: h = √(d² + g²), w = h + |d|, cos θ = w/√(2hw), |sin θ| = |g|/√(2hw)
  const sign = v128.and(d, signBits<T>());
  const h = v128.sqrt<T>(v128.add<T>(v128.mul<T>(d, d), v128.mul<T>(g, g)));
  const w = v128.add<T>(h, v128.abs<T>(d));
  const r = v128.div<T>(v128.splat<T>(<T>1), v128.sqrt<T>(v128.mul<T>(v128.add<T>(h, h), w)));
  const s = v128.mul<T>(g, r), squared = v128.mul<T>(s, s);
  v128.store(rotation, v128.bitselect(v128.mul<T>(w, r), v128.splat<T>(<T>1), rotates));
  v128.store(rotation, v128.and(v128.xor(s, sign), rotates), 16);
  // the larger norm grows by γ·tan θ = g²·h·r², and the smaller one loses it
  let change = v128.mul<T>(squared, h);
  if (sizeof<T>() == 4) change = v128.mul<T>(change, unit);
  change = v128.and(v128.xor(change, sign), rotates);
  v128.store(normX, v128.pmax<T>(v128.add<T>(alpha, change), zero));
  v128.store(normY, v128.pmax<T>(v128.sub<T>(beta, change), zero));
  far = v128.or(far, v128.gt<T>(squared, enough));
  v128.store(state, v128.or(v128.load(state, 16), v128.and(far, rotates)), 16);
  return true;
}

/** (x, y) <- (c·x + s·y, c·y − s·x), `length` vectors each. */
// @ts-ignore: decorator
@inline function rotate<T>(length: i32, x: usize, y: usize, rotation: usize): void {
  const c = v128.load(rotation), s = v128.load(rotation, 16);
  for (const end = vector(x, length & ~3); x < end; x += 64) {
    const a = v128.load(x), b = v128.load(y);
    v128.store(x, v128.add<T>(v128.mul<T>(c, a), v128.mul<T>(s, b)));
    v128.store(y, v128.sub<T>(v128.mul<T>(c, b), v128.mul<T>(s, a)));
    const a1 = v128.load(x, 16), b1 = v128.load(y, 16);
    v128.store(x, v128.add<T>(v128.mul<T>(c, a1), v128.mul<T>(s, b1)), 16);
    v128.store(y, v128.sub<T>(v128.mul<T>(c, b1), v128.mul<T>(s, a1)), 16);
    const a2 = v128.load(x, 32), b2 = v128.load(y, 32);
    v128.store(x, v128.add<T>(v128.mul<T>(c, a2), v128.mul<T>(s, b2)), 32);
    v128.store(y, v128.sub<T>(v128.mul<T>(c, b2), v128.mul<T>(s, a2)), 32);
    const a3 = v128.load(x, 48), b3 = v128.load(y, 48);
    v128.store(x, v128.add<T>(v128.mul<T>(c, a3), v128.mul<T>(s, b3)), 48);
    v128.store(y, v128.sub<T>(v128.mul<T>(c, b3), v128.mul<T>(s, a3)), 48);
    y += 64;
  }
  for (let rest = length & 3; rest > 0; rest--) {
    const a = v128.load(x), b = v128.load(y);
    v128.store(x, v128.add<T>(v128.mul<T>(c, a), v128.mul<T>(s, b)));
    v128.store(y, v128.sub<T>(v128.mul<T>(c, b), v128.mul<T>(s, a)));
    x += 16;
    y += 16;
  }
}

/** A bit a lane that orthogonalize left without convergence. */
export function unconverged<T>(state: usize): i32 {
  return signs<T>(v128.load(state));
}
