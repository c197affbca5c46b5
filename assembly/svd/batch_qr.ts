// QR with column pivoting of a group of matrices, one a SIMD lane, each lane with pivots of its own. Businger and Golub,
// "Linear least squares solutions by Householder transformations" (1965); LAPACK's xGEQP3. Its R makes the Jacobi
// iteration short: R's rows are far closer to orthogonal than A's columns (Drmač and Veselić 2008).

import { muladd } from "../simd";
import { integers, laneAt, negligible, signBits, vector } from "./batch_lanes";

/**
 * X·P = Q·R for x (long×p, long >= p). Leaves R on and above the diagonal, the reflectors below it (v = 1 on it), tau
 * (p) beside; order (p × lanes i32): column j of X·P is column order[j] of X. norms: squared norms of the columns,
 * destroyed. Where nothing but negligible entries is left, the lane's tau is 0 and its entries stay as they are.
 */
export function factorLanes<T>(
  long: i32, p: i32, x: usize, ld: i32, norms: usize, tau: usize, order: usize,
): void {
  for (let j = 0; j < p; j++) v128.store(vector(order, j), integers<T>(j));
  for (let k = 0; k < p; k++) {
    pivot<T>(k, long, p, x, ld, norms, order);
    const head = vector(x, k * ld + k);
    const rest = long - k - 1;
    makeReflector<T>(rest, head, vector(norms, k), vector(tau, k));
    for (let j = k + 1; j < p; j++) {
      reduceColumn<T>(rest, head, vector(tau, k), vector(x, j * ld + k), vector(norms, j));
    }
  }
}

/** Brings the longest of columns k…p to place k, lane by lane. */
// @ts-ignore: decorator
@inline function pivot<T>(k: i32, long: i32, p: i32, x: usize, ld: i32, norms: usize, order: usize): void {
  const current = v128.splat<T>(<T>k);
  let best = v128.load(vector(norms, k)), place = current;
  for (let j = k + 1; j < p; j++) {
    const norm = v128.load(vector(norms, j));
    const longer = v128.gt<T>(norm, best);
    best = v128.bitselect(norm, best, longer);
    place = v128.bitselect(v128.splat<T>(<T>j), place, longer);
  }
  if (!v128.any_true(v128.ne<T>(place, current))) return;
  exchange<T>(0, k, <i32>v128.extract_lane<T>(place, 0), long, x, ld, norms, order);
  exchange<T>(1, k, <i32>v128.extract_lane<T>(place, 1), long, x, ld, norms, order);
  if (sizeof<T>() == 4) {
    exchange<T>(2, k, <i32>v128.extract_lane<f32>(place, 2), long, x, ld, norms, order);
    exchange<T>(3, k, <i32>v128.extract_lane<f32>(place, 3), long, x, ld, norms, order);
  }
  v128.store(vector(norms, k), best);
}

/** Columns k and j of one lane change places. */
function exchange<T>(lane: i32, k: i32, j: i32, long: i32, x: usize, ld: i32, norms: usize, order: usize): void {
  if (j == k) return;
  const from = laneAt<T>(order, k, lane), to = laneAt<T>(order, j, lane);
  const index = load<i32>(from);
  store<i32>(from, load<i32>(to));
  store<i32>(to, index);
  store<T>(laneAt<T>(norms, j, lane), load<T>(laneAt<T>(norms, k, lane)));
  let a = laneAt<T>(x, k * ld, lane), b = laneAt<T>(x, j * ld, lane);
  for (let i = long; i > 0; i--) {
    const value = load<T>(a);
    store<T>(a, load<T>(b));
    store<T>(b, value);
    a += 16;
    b += 16;
  }
}

/** H·x = (beta, 0)ᵀ for x of 1 + rest numbers at `head`: beta and v there, tau beside. norm: the squared norm of x. */
function makeReflector<T>(rest: i32, head: usize, norm: usize, tau: usize): void {
  const squared = v128.load(norm), alpha = v128.load(head);
  const least = v128.splat<T>(<T>(negligible<T>() * negligible<T>()));
  const reflects = v128.gt<T>(squared, least);
  // beta has the other sign than alpha, so that nothing cancels
  const sign = v128.andnot(signBits<T>(), alpha);
  const beta = v128.or(v128.sqrt<T>(squared), sign);
  const difference = v128.sub<T>(beta, alpha);
  const one = v128.splat<T>(<T>1);
  v128.store(tau, v128.and(v128.div<T>(difference, beta), reflects));
  v128.store(head, v128.bitselect(beta, alpha, reflects));
  const divisor = v128.bitselect(v128.neg<T>(difference), one, reflects);
  for (let i = rest; i > 0; i--) {
    head += 16;
    v128.store(head, v128.div<T>(v128.load(head), divisor));
  }
}

/** x <- H·x for v and x of 1 + rest numbers, v[0] = 1; norm <- the squared norm of x without its first number. */
function reduceColumn<T>(rest: i32, v: usize, tau: usize, x: usize, norm: usize): void {
  const first = v128.load(x);
  let w = first, w1 = v128.splat<T>(<T>0);
  let s = v + 16, t = x + 16;
  let i = rest;
  for (; i >= 2; i -= 2) {
    w = muladd<T>(v128.load(s), v128.load(t), w);
    w1 = muladd<T>(v128.load(s, 16), v128.load(t, 16), w1);
    s += 32;
    t += 32;
  }
  if (i > 0) w = muladd<T>(v128.load(s), v128.load(t), w);
  w = v128.mul<T>(v128.load(tau), v128.add<T>(w, w1));
  v128.store(x, v128.sub<T>(first, w));
  let sum = v128.splat<T>(<T>0), sum1 = sum;
  s = v + 16;
  t = x + 16;
  i = rest;
  for (; i >= 2; i -= 2) {
    const a = v128.sub<T>(v128.load(t), v128.mul<T>(v128.load(s), w));
    const b = v128.sub<T>(v128.load(t, 16), v128.mul<T>(v128.load(s, 16), w));
    v128.store(t, a);
    v128.store(t, b, 16);
    sum = muladd<T>(a, a, sum);
    sum1 = muladd<T>(b, b, sum1);
    s += 32;
    t += 32;
  }
  if (i > 0) {
    const a = v128.sub<T>(v128.load(t), v128.mul<T>(v128.load(s), w));
    v128.store(t, a);
    sum = muladd<T>(a, a, sum);
  }
  v128.store(norm, v128.add<T>(sum, sum1));
}

/** y (long) <- Q·y with the reflectors that factorLanes left in x. */
export function applyLanes<T>(long: i32, p: i32, x: usize, ld: i32, tau: usize, y: usize): void {
  for (let k = p - 1; k >= 0; k--) applyReflector<T>(long - k - 1, vector(x, k * ld + k), vector(tau, k), vector(y, k));
}

/** x <- H·x for v and x of 1 + rest numbers, v[0] = 1. */
function applyReflector<T>(rest: i32, v: usize, tau: usize, x: usize): void {
  const first = v128.load(x);
  let w = first, w1 = v128.splat<T>(<T>0);
  let s = v + 16, t = x + 16;
  let i = rest;
  for (; i >= 2; i -= 2) {
    w = muladd<T>(v128.load(s), v128.load(t), w);
    w1 = muladd<T>(v128.load(s, 16), v128.load(t, 16), w1);
    s += 32;
    t += 32;
  }
  if (i > 0) w = muladd<T>(v128.load(s), v128.load(t), w);
  w = v128.mul<T>(v128.load(tau), v128.add<T>(w, w1));
  v128.store(x, v128.sub<T>(first, w));
  s = v + 16;
  t = x + 16;
  i = rest;
  for (; i >= 2; i -= 2) {
    v128.store(t, v128.sub<T>(v128.load(t), v128.mul<T>(v128.load(s), w)));
    v128.store(t, v128.sub<T>(v128.load(t, 16), v128.mul<T>(v128.load(s, 16), w)), 16);
    s += 32;
    t += 32;
  }
  if (i > 0) v128.store(t, v128.sub<T>(v128.load(t), v128.mul<T>(v128.load(s), w)));
}
