// SVD of a batch of small matrices, one a SIMD lane (4 at a time in f32, 2 in f64): X·P = Q·R with column pivoting, then
// one-sided Jacobi on L = Rᵀ. From L·W = V·Σ with W a product of rotations follows X = (Q·W)·Σ·(P·V)ᵀ. Drmač and
// Veselić, "New fast and accurate Jacobi SVD algorithm" (2008), LAPACK's xGEJSV, without its second factorisation.
//
// X (long×p) is A or, for a wide A, Aᵀ. Q·W is orthogonal by construction; only V can lack columns, where L has none.

import { fill } from "../blas/matrix";
import { powerOfTwo } from "../machine";
import { at, lanes, muladd } from "../simd";
import { HEAD_BYTES, MORE, STOPPED, begin as beginSlices, cursor, setCursor, sliceLength } from "../slice";
import { jacobiVectors, orthogonalize, orthogonalizeWork, unconverged } from "./batch_jacobi";
import { laneAt, loadLanes, negligible, rankLanes, signBits, storeLane, vector } from "./batch_lanes";
import { applyLanes, factorLanes } from "./batch_qr";
import { gesvd, gesvdBegin, gesvdScratch } from "./gesvd";

const NONE = 0;
const FULL = 2;
const AUTO = 0;

/**
 * Whether a group of lanes beats one matrix after the other, by measurement, as long as the group stays in the second-level
 * cache. Depends on the shape and on whether vectors are wanted only, as the digits do.
 */
function usesLanes<T>(long: i32, p: i32, job: i32): bool {
  const most = sizeof<T>() == 8 && job == NONE ? 20 : 32;
  return p > 0 && p <= most && <f64>long * <f64>p <= 16384;
}

// The shape at work and where things stand in the memory of a group, in bytes: set by layOut, one set an instance.
/** Long and short side of the matrices; columns of the long side's factor. */
let long: i32 = 0, p: i32 = 0, columns: i32 = 0;
/** Whether vectors are wanted, and whether the matrices are factored as Q·R first. */
let vectors: bool = false, factored: bool = false;
/** Columns of X: their distance in vectors. */
let ld: i32 = 0;
/** Columns of L over W: rows of L (W starts below), and both. */
let rows: i32 = 0, length: i32 = 0;
/** Offsets: L over W, the iteration's state, squared norms, reflectors' factors, pivots, places, powers of two. */
let toLw: usize = 0, toState: usize = 0, toNorms: usize = 0, toTau: usize = 0, toOrder: usize = 0, toRank: usize = 0;
let toUnscale: usize = 0;
/** Bytes of a group, how many are worked on together, and bytes behind them. */
let groupBytes: usize = 0, together: i32 = 0, sharedBytes: usize = 0;

/** The lowest 1…32 bits set. */
// @ts-ignore: decorator
@inline function lowBits(count: i32): i32 {
  return <i32>(<u32>0xffffffff >>> (32 - count));
}

// @ts-ignore: decorator
@inline function even(n: i32): i32 {
  return (n + 1) & ~1;
}

function layOut<T>(m: i32, n: i32, job: i32): void {
  long = max<i32>(m, n);
  p = min<i32>(m, n);
  vectors = job != NONE;
  columns = job == FULL ? long : p;
  // the smallest are orthogonalised as they are: a factorisation costs as much as it saves
  factored = long > p || p == 1 || p > 3;
  ld = even(long);
  rows = p == 3 ? 3 : even(p);
  length = vectors ? 2 * rows : rows;
  toLw = factored ? 16 * <usize>(p * ld) : 0;
  toState = toLw + 16 * <usize>(p * length);
  toNorms = toState + 16 * <usize>jacobiVectors(p);
  toTau = toNorms + 16 * <usize>p;
  toOrder = toTau + 16 * <usize>p;
  toRank = toOrder + 16 * <usize>p;
  toUnscale = toRank + 16 * <usize>p;
  groupBytes = toUnscale + 64;
  together = p <= 4 ? 8 : p <= 8 ? 4 : p <= 16 ? 2 : 1;
  sharedBytes = 16 * <usize>(orthogonalizeWork(together, p) + ld);
}

/** Bytes of working memory of gesvdBatch; exact in f64 for every size. */
export function gesvdBatchScratch<T>(m: i32, n: i32, job: i32): f64 {
  const one = gesvdScratch<T>(m, n, job, AUTO);
  if (!usesLanes<T>(max<i32>(m, n), min<i32>(m, n), job)) return <f64>HEAD_BYTES + one;
  layOut<T>(m, n, job);
  // a lane that does not converge goes to gesvd after its group's memory is done with
  return <f64>HEAD_BYTES + max<f64>(one, <f64>(<usize>together * groupBytes + sharedBytes));
}

/** Groups of a batch of `count`: what begin and end of gesvdBatch count. */
export function gesvdBatchGroups<T>(count: i32): i32 {
  return (count + lanes<T>() - 1) / lanes<T>();
}

// cursors of the head: groups done; how many have been worked on beyond them; the bits of their lanes left for gesvd
const DONE = 0, AHEAD = 1, LEFT = 2;

/** Readies gesvdBatch. */
export function gesvdBatchBegin<T>(work: usize): void {
  beginSlices(work);
}

/**
 * A slice of the SVDs of groups begin…end of a batch: MORE or STOPPED (slice.ts) until they are done, then 0, or how many
 * values of some matrix did not converge. Matrix i is A_i = U_i·diag(S_i)·V_iᵀ, m×n at a + i·sa with strides (rs, cs),
 * finite; `count` matrices in the whole batch. u (count×m×k), s (count×p), vt (count×k'×n), row-major, as gesvd. The
 * digits of a matrix depend on nothing but the matrix and whether vectors are wanted. work: gesvdBatchScratch bytes,
 * readied by gesvdBatchBegin.
 */
export function gesvdBatch<T>(
  begin: i32, end: i32, count: i32, m: i32, n: i32, job: i32, a: usize, sa: i32, rs: i32, cs: i32, u: usize, s: usize, vt: usize, work: usize,
): i32 {
  layOut<T>(m, n, job);
  const byLanes = usesLanes<T>(long, p, job);
  const most = byLanes ? together : 1;
  // bytes from a matrix to the next
  const nextA = at<T>(0, sa), nextU = at<T>(0, m * (job == FULL ? m : p)), nextS = at<T>(0, p);
  const nextVt = at<T>(0, n * (job == FULL ? n : p));
  const inner = work + HEAD_BYTES;
  let budget = sliceLength();
  while (begin + cursor(work, DONE) < end) {
    const group = begin + cursor(work, DONE);
    const first = <usize>(group * lanes<T>());
    const ga = a + first * nextA, gu = u + first * nextU, gs = s + first * nextS, gvt = vt + first * nextVt;
    if (cursor(work, AHEAD) == 0) {
      const groups = min<i32>(most, end - group);
      const present = min<i32>(groups * lanes<T>(), count - group * lanes<T>());
      let left = lowBits(present);
      if (byLanes) {
        left = groupsSvd<T>(groups, present, m < n, ga, nextA, m < n ? cs : rs, m < n ? rs : cs, gu, nextU, gs, gvt, nextVt, inner);
        budget -= spent(work, <f64>groups * groupOperations<T>());
      }
      setCursor(work, AHEAD, groups);
      setCursor(work, LEFT, left);
      gesvdBegin<T>(inner);
    }
    let left = cursor(work, LEFT);
    while (left != 0) {
      const i = <usize>ctz<i32>(left);
      const before = load<f64>(inner);
      const failed = gesvd<T>(
        m, n, job, AUTO, ga + i * nextA, rs, cs, gu + i * nextU, gs + i * nextS, gvt + i * nextVt, inner,
      );
      budget -= spent(work, load<f64>(inner) - before);
      if (failed > 0) return failed;
      if (failed == 0) {
        left &= left - 1;
        setCursor(work, LEFT, left);
        gesvdBegin<T>(inner);
      }
      if (left != 0 && (failed != 0 || isOver(work, budget))) return isStopped(work) ? STOPPED : MORE;
    }
    setCursor(work, DONE, group - begin + cursor(work, AHEAD));
    setCursor(work, AHEAD, 0);
    if (begin + cursor(work, DONE) < end && isOver(work, budget)) return isStopped(work) ? STOPPED : MORE;
  }
  return 0;
}

/** Adds to the head's count of operations. */
// @ts-ignore: decorator
@inline function spent(head: usize, operations: f64): f64 {
  store<f64>(head, load<f64>(head) + operations);
  return operations;
}

// @ts-ignore: decorator
@inline function isStopped(head: usize): bool {
  return load<i32>(head, 8) != 0;
}

// @ts-ignore: decorator
@inline function isOver(head: usize, budget: f64): bool {
  return budget <= 0 || isStopped(head);
}

/** About how many operations a group takes: five sweeps, and the reflectors. */
function groupOperations<T>(): f64 {
  const squared = <f64>p * <f64>p;
  let operations = 24 * squared * <f64>p + 6 * <f64>long * squared + 100 * <f64>p;
  if (vectors) operations += 16 * squared * <f64>p + 4 * <f64>long * <f64>p * <f64>columns;
  return <f64>lanes<T>() * operations;
}

/** As many groups as are worked on together; returns a bit a matrix that has not converged, of which nothing is written. */
function groupsSvd<T>(
  groups: i32, present: i32, wide: bool, a: usize, nextA: usize, ri: i32, rj: i32, u: usize, nextU: usize, s: usize, vt: usize, nextVt: usize, work: usize,
): i32 {
  const shared = work + <usize>groups * groupBytes;
  for (let g = 0; g < groups; g++) {
    const group = work + <usize>g * groupBytes, first = g * lanes<T>();
    prepare<T>(group, min<i32>(lanes<T>(), present - first), a + <usize>first * nextA, nextA, ri, rj);
  }
  const failed = orthogonalize<T>(groups, p, rows, length, work + toLw, length, work + toState, groupBytes, vector(shared, ld));
  let left = 0;
  for (let g = 0; g < groups; g++) {
    const group = work + <usize>g * groupBytes, first = g * lanes<T>();
    const here = min<i32>(lanes<T>(), present - first), i = <usize>first;
    let skipped = 0;
    if (failed) {
      skipped = unconverged<T>(group + toState) & lowBits(here);
      left |= skipped << first;
    }
    finish<T>(group, here, skipped, wide, u + i * nextU, nextU, s + i * at<T>(0, p), vt + i * nextVt, nextVt, shared);
  }
  return left;
}

/** Loads a group, and readies L over W, or X over V. */
function prepare<T>(group: usize, present: i32, a: usize, nextA: usize, ri: i32, rj: i32): void {
  const lw = group + toLw, unscale = group + toUnscale, norms = group + toNorms;
  if (!factored) {
    loadLanes<T>(present, p, p, a, nextA, ri, rj, lw, length, unscale, norms);
    if (vectors) {
      for (let j = 0; j < p; j++) setUnit(vector(lw, j * length + p), length - p, rows - p + j, v128.splat<T>(<T>1));
    }
    return;
  }
  loadLanes<T>(present, long, p, a, nextA, ri, rj, group, ld, unscale, norms);
  factorLanes<T>(long, p, group, ld, norms, group + toTau, group + toOrder);
  copyLanes<T>(group, group + toTau, lw);
}

/** x <- 0, but x[at] <- value. */
// @ts-ignore: decorator
@inline function setUnit(x: usize, n: i32, at: i32, value: v128): void {
  const zero = v128.splat<i32>(0);
  for (let i = 0; i < n; i++) v128.store(vector(x, i), zero);
  v128.store(vector(x, at), value);
}

/** Values and vectors of a group to their places, but for the lanes whose bits are set in `skipped`. */
function finish<T>(
  group: usize, present: i32, skipped: i32, wide: bool, u: usize, nextU: usize, s: usize, vt: usize, nextVt: usize, y: usize,
): void {
  const lw = group + toLw, norms = group + toNorms, rank = group + toRank;
  valuesAndVectors<T>(lw, norms, group + toState);
  rankLanes<T>(p, norms, rank);
  unscaleLanes<T>(norms, group + toUnscale);
  for (let lane = 0; lane < present; lane++) {
    if ((skipped >> lane) & 1) continue;
    const values = s + <usize>lane * at<T>(0, p);
    for (let j = 0; j < p; j++) {
      store<T>(at<T>(values, load<i32>(laneAt<T>(rank, j, lane))), load<T>(laneAt<T>(norms, j, lane)));
    }
    if (!vectors) continue;
    const ul = u + <usize>lane * nextU, vtl = vt + <usize>lane * nextVt;
    if (factored) storeShort<T>(lane, lw, group + toOrder, rank, wide, wide ? ul : vtl);
    else storeSquare<T>(lane, lw, rank, ul, vtl);
  }
  if (vectors && factored) storeLong<T>(present, skipped, group, wide, wide ? vt : u, wide ? nextVt : nextU, y);
}

/** Columns of lw (`length` vectors each) <- those of L = Rᵀ, and below them, from `rows` on, of the identity. */
function copyLanes<T>(x: usize, tau: usize, lw: usize): void {
  const zero = v128.splat<T>(<T>0);
  for (let k = 0; k < p; k++) {
    const column = vector(lw, k * length);
    for (let i = 0; i < p; i++) {
      const v = v128.load(vector(x, i * ld + k));
      // below the diagonal stand reflectors, or entries of A in a lane where nothing was left to reflect
      const kept = i < k ? v128.and(v, v128.eq<T>(v128.load(vector(tau, i)), zero)) : v;
      v128.store(vector(column, i), kept);
    }
    for (let i = p; i < length; i++) v128.store(vector(column, i), zero);
    if (vectors) v128.store(vector(column, rows + k), v128.splat<T>(<T>1));
  }
}

/**
 * norms <- the singular values, the lengths of the columns of L; L <- its columns divided by them, completed. W's columns
 * have length 1 but for the roundoff of a hundred rotations: dividing by it takes that out of W and of the values.
 * lacks (p vectors): the lanes in which a column is too short to be a vector, the iteration may have passed it over.
 */
function valuesAndVectors<T>(lw: usize, norms: usize, lacks: usize): void {
  const least = v128.splat<T>(<T>(<T>2 * negligible<T>())), one = v128.splat<T>(<T>1);
  let lacking = v128.splat<i32>(0);
  for (let j = 0; j < p; j++) {
    const column = vector(lw, j * length);
    let norm = columnNorm<T>(column, <T>1);
    const small = v128.lt<T>(norm, least);
    v128.store(vector(lacks, j), small);
    if (v128.any_true(small)) {
      const lift = sizeof<T>() == 4 ? powerOfTwo<T>(64) : powerOfTwo<T>(600);
      norm = v128.bitselect(columnNorm<T>(column, lift), norm, small);
      lacking = v128.or(lacking, small);
    }
    if (!vectors) {
      v128.store(vector(norms, j), norm);
      continue;
    }
    divideVectors<T>(column, v128.bitselect(one, norm, small));
    const w = vector(column, rows), drift = columnNorm<T>(w, <T>1);
    divideVectors<T>(w, drift);
    v128.store(vector(norms, j), v128.div<T>(norm, drift));
  }
  if (vectors && v128.any_true(lacking)) completeLanes<T>(lw, lacks);
}

/** x <- x/divisor: exact where all of x is one entry and the divisor its length. */
// @ts-ignore: decorator
@inline function divideVectors<T>(x: usize, divisor: v128): void {
  for (const end = vector(x, p); x < end; x += 16) v128.store(x, v128.div<T>(v128.load(x), divisor));
}

/** ‖x‖, with x multiplied by `lift` on the way. */
// @ts-ignore: decorator
@inline function columnNorm<T>(x: usize, lift: T): v128 {
  const factor = v128.splat<T>(lift);
  let s = v128.splat<T>(<T>0);
  for (const end = vector(x, p); x < end; x += 16) {
    const v = v128.mul<T>(factor, v128.load(x));
    s = muladd<T>(v, v, s);
  }
  return v128.mul<T>(v128.sqrt<T>(s), v128.splat<T>(<T>(<T>1 / lift)));
}

/**
 * Replaces the columns that are lacking, so that all p are orthonormal: each by the unit vector that is furthest from the
 * span of the others (at distance 1/√p or more), made orthogonal to them twice (Kahan's "twice is enough"), with the sign
 * of what it replaces in that place.
 */
function completeLanes<T>(x: usize, lacks: usize): void {
  const zero = v128.splat<T>(<T>0), one = v128.splat<T>(<T>1);
  for (let j = 0; j < p; j++) {
    const lacking = v128.load(vector(lacks, j));
    if (!v128.any_true(lacking)) continue;
    const column = vector(x, j * length);
    // the row with the smallest sum of squares over the columns that there are; of equal ones, where this column is largest
    let smallest = v128.splat<T>(<T>Infinity), largest = zero, place = zero;
    for (let i = 0; i < p; i++) {
      let squares = zero;
      for (let q = 0; q < p; q++) {
        const v = v128.andnot(v128.load(vector(x, q * length + i)), v128.load(vector(lacks, q)));
        squares = muladd<T>(v, v, squares);
      }
      const entry = v128.abs<T>(v128.load(vector(column, i)));
      const better = v128.or(
        v128.lt<T>(squares, smallest), v128.and(v128.eq<T>(squares, smallest), v128.gt<T>(entry, largest)),
      );
      smallest = v128.bitselect(squares, smallest, better);
      largest = v128.bitselect(entry, largest, better);
      place = v128.bitselect(v128.splat<T>(<T>i), place, better);
    }
    // the sign: that of the column's entry in this row
    let sign = zero;
    for (let i = 0; i < p; i++) {
      const here = v128.and(v128.eq<T>(place, v128.splat<T>(<T>i)), lacking);
      const v = v128.load(vector(column, i));
      sign = v128.or(sign, v128.and(v128.and(v, signBits<T>()), here));
      v128.store(vector(column, i), v128.bitselect(v128.and(one, here), v, lacking));
    }
    for (let pass = 0; pass < 2; pass++) {
      for (let q = 0; q < p; q++) {
        if (q == j) continue;
        const other = vector(x, q * length);
        let d = zero;
        for (let i = 0; i < p; i++) d = muladd<T>(v128.load(vector(other, i)), v128.load(vector(column, i)), d);
        d = v128.and(v128.andnot(d, v128.load(vector(lacks, q))), lacking);
        for (let i = 0; i < p; i++) {
          const v = v128.load(vector(column, i));
          v128.store(vector(column, i), v128.sub<T>(v, v128.mul<T>(d, v128.load(vector(other, i)))));
        }
      }
    }
    divideVectors<T>(column, v128.bitselect(v128.xor(columnNorm<T>(column, <T>1), sign), one, lacking));
    v128.store(vector(lacks, j), v128.splat<i32>(0));
  }
}

/** Takes the scaling of the values back. */
function unscaleLanes<T>(norms: usize, unscale: usize): void {
  const f = v128.load(unscale), g = v128.load(unscale, 16);
  for (let j = 0; j < p; j++) {
    const norm = vector(norms, j);
    v128.store(norm, v128.mul<T>(v128.mul<T>(v128.load(norm), f), g));
  }
}

/** X over V of one lane: columns of u, rows of vt. */
function storeSquare<T>(lane: i32, xv: usize, rank: usize, u: usize, vt: usize): void {
  for (let j = 0; j < p; j++) {
    const place = load<i32>(laneAt<T>(rank, j, lane));
    const column = vector(xv, j * length);
    storeLane<T>(p, column, lane, at<T>(u, place), at<T>(0, p));
    storeLane<T>(p, vector(column, rows), lane, at<T>(vt, place * p), sizeof<T>());
  }
}

/** The short side P·V of one lane: rows of vt (p×p), or columns of u for a wide A. */
function storeShort<T>(lane: i32, lw: usize, order: usize, rank: usize, wide: bool, to: usize): void {
  const step = wide ? p : 1;
  for (let j = 0; j < p; j++) {
    const place = load<i32>(laneAt<T>(rank, j, lane));
    let from = laneAt<T>(lw, j * length, lane), row = laneAt<T>(order, 0, lane);
    const first = at<T>(to, wide ? place : place * p);
    for (let i = p; i > 0; i--) {
      store<T>(at<T>(first, load<i32>(row) * step), <T>(load<T>(from) + <T>0));
      from += 16;
      row += 16;
    }
  }
}

/** The long side Q·[W 0; 0 I] of a group, `columns` of it: columns of u, or rows of vt for a wide A. */
function storeLong<T>(present: i32, skipped: i32, group: usize, wide: bool, to: usize, next: usize, y: usize): void {
  const rank = group + toRank, w = vector(group + toLw, rows);
  for (let j = 0; j < columns; j++) {
    const inside = j < p;
    if (inside) {
      memory.copy(y, vector(w, j * length), 16 * <usize>p);
      fill<T>((long - p) * lanes<T>(), <T>0, vector(y, p));
    } else {
      setUnit(y, long, j, v128.splat<T>(<T>1));
    }
    applyLanes<T>(long, p, group, ld, group + toTau, y);
    for (let lane = 0; lane < present; lane++) {
      if ((skipped >> lane) & 1) continue;
      const place = inside ? load<i32>(laneAt<T>(rank, j, lane)) : j;
      const first = at<T>(to + <usize>lane * next, wide ? place * long : place);
      storeLane<T>(long, y, lane, first, at<T>(0, wide ? 1 : columns));
    }
  }
}
