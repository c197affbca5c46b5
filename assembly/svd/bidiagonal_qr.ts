// Singular values and vectors of an upper bidiagonal matrix by the implicit zero-shift QR iteration: small values come
// out to full relative accuracy. Demmel and Kahan, "Accurate singular values of bidiagonal matrices" (1990); tolerance,
// direction, shift and limit as LAPACK's xBDSQR.

import { scal, swap } from "../blas/level1";
import { epsilon, safeMinimum } from "../machine";
import { at, get, set } from "../simd";
import { HEAD_BYTES, begin, cursor, interrupted, setCursor, spend } from "../slice";
import {
  lartg, las2, lasv2, leftC, leftS, rightC, rightS, rotationC, rotationR, rotationS, sigmaLarge, sigmaSmall,
} from "./rotation";
import { SWEEPS, taskOf } from "../tasks";
import { isShared, perform, taskArguments } from "../team";
import { HEADS, QUEUE, applySweeps, setSweep } from "./sweep";

/** Passes over the whole matrix: LAPACK's MAXITR. */
const MAX_PASSES = 6;

/** Bytes before the queue: a head (see slice.ts), the threshold and how many rotations have been made. */
const STATE_BYTES: usize = 128;
const STEPS: usize = HEAD_BYTES + 8;

// cursors of the head
const HIGH = 0, OLD_LOW = 1, OLD_HIGH = 2, DOWNWARD = 3, QUEUED = 4, FLUSHING = 5, STRIP = 6;

/** Working memory of bdsqr in elements: state, and a queue of sweeps with four rows of rotations each. */
export function bdsqrWork(n: i32): i32 {
  return 4 * QUEUE * n + <i32>(STATE_BYTES + HEADS) / 4;
}

/**
 * B = Q·S·Pᵀ for B upper bidiagonal with diagonal d (n) and superdiagonal e (n − 1).
 * d <- singular values, non-increasing, >= 0; e is destroyed. vt (n rows, ncvt columns) <- Pᵀ·vt;
 * ut (n rows, nru columns) <- Qᵀ·ut: both factors are held by rows, so that a rotation works on contiguous memory.
 * Returns 0, or how many entries of e did not converge. work: bdsqrWork(n) elements.
 */
export function bdsqr<T>(
  n: i32, ncvt: i32, nru: i32, d: usize, e: usize, vt: usize, ldvt: i32, ut: usize, ldut: i32, work: usize,
): i32 {
  bdsqrBegin<T>(n, d, e, work);
  let result: i32;
  do result = bdsqrSlice<T>(n, ncvt, nru, d, e, vt, ldvt, ut, ldut, work);
  while (result < 0);
  return result;
}

/** Readies bdsqrSlice. */
export function bdsqrBegin<T>(n: i32, d: usize, e: usize, work: usize): void {
  begin(work);
  setCursor(work, HIGH, n - 1);
  setCursor(work, OLD_LOW, -1);
  setCursor(work, OLD_HIGH, -1);
  store<T>(work + HEAD_BYTES, threshold<T>(n, d, e));
  store<f64>(work + STEPS, 0);
}

/** A slice of bdsqr: MORE or STOPPED until it is done; the arguments are those of bdsqr. */
export function bdsqrSlice<T>(
  n: i32, ncvt: i32, nru: i32, d: usize, e: usize, vt: usize, ldvt: i32, ut: usize, ldut: i32, work: usize,
): i32 {
  const width = 64 / <i32>sizeof<T>();
  for (;;) {
    if (cursor(work, FLUSHING) == 0) {
      const failed = gatherSweeps<T>(n, d, e, work);
      if (failed > 0) return failed;
      setCursor(work, FLUSHING, 1);
      setCursor(work, STRIP, 0);
      if (spend(60 * <f64>n * <f64>cursor(work, QUEUED))) return interrupted();
    }
    // strips of vt, then strips of ut
    const queued = cursor(work, QUEUED), strips = (ncvt + width - 1) / width + (nru + width - 1) / width;
    const cost = 6 * <f64>queued * <f64>n * <f64>width;
    while (cursor(work, STRIP) < strips) {
      const first = cursor(work, STRIP), some = min<i32>(strips - first, 1 + <i32>min<f64>(STEP / max<f64>(cost, 1), 64));
      const task = changetype<Sweeps>(taskArguments());
      task.queued = queued;
      task.first = first;
      task.n = n;
      task.ncvt = ncvt;
      task.nru = nru;
      task.ldvt = ldvt;
      task.ldut = ldut;
      task.vt = vt;
      task.ut = ut;
      task.work = work;
      perform(taskOf<T>(SWEEPS), some, isShared(<f64>some * cost, STEP / 8));
      setCursor(work, STRIP, first + some);
      if (spend(<f64>some * cost)) return interrupted();
    }
    setCursor(work, FLUSHING, 0);
    setCursor(work, QUEUED, 0);
    if (cursor(work, HIGH) <= 0) break;
  }
  for (let i = 0; i < n; i++) {
    const value = get<T>(d, i);
    if (value < <T>0) {
      set<T>(d, i, <T>-value);
      scal<T>(ncvt, <T>-1, at<T>(vt, i * ldvt), 1);
    } else if (value == <T>0) {
      set<T>(d, i, <T>0);
    }
  }
  sortValues<T>(n, ncvt, nru, d, vt, ldvt, ut, ldut);
  return 0;
}

/** Operations of a step. */
const STEP: f64 = 3e6;

/** What tiles read: the queue stands in bdsqr's working memory. */
@unmanaged
class Sweeps {
  queued: i32;
  first: i32;
  n: i32;
  ncvt: i32;
  nru: i32;
  ldvt: i32;
  ldut: i32;
  vt: usize;
  ut: usize;
  work: usize;
}

/** The queued sweeps on a strip of columns. */
export function sweepsTile<T>(base: usize, tile: i32): void {
  const task = changetype<Sweeps>(base);
  const width = 64 / <i32>sizeof<T>(), n = task.n, ofVt = (task.ncvt + width - 1) / width;
  const heads = task.work + STATE_BYTES, c = heads + HEADS, half = at<T>(0, 2 * QUEUE * n);
  let strip = task.first + tile;
  const right = strip < ofVt;
  if (!right) strip -= ofVt;
  const columns = right ? task.ncvt : task.nru, first = strip * width;
  const rotations = right ? c : c + half;
  applySweeps<T>(
    heads, task.queued, rotations, at<T>(rotations, QUEUE * n), n, first, min<i32>(columns, first + width),
    right ? task.vt : task.ut, right ? task.ldvt : task.ldut,
  );
}

/** Insertion sort into non-increasing order that moves each pair of vectors at most once. */
function sortValues<T>(n: i32, ncvt: i32, nru: i32, d: usize, vt: usize, ldvt: i32, ut: usize, ldut: i32): void {
  for (let last = n - 1; last > 0; last--) {
    let smallest = 0;
    for (let j = 1; j <= last; j++) if (get<T>(d, j) <= get<T>(d, smallest)) smallest = j;
    if (smallest == last) continue;
    swap<T>(1, at<T>(d, smallest), at<T>(d, last));
    if (ncvt > 0) swap<T>(ncvt, at<T>(vt, smallest * ldvt), at<T>(vt, last * ldvt));
    if (nru > 0) swap<T>(nru, at<T>(ut, smallest * ldut), at<T>(ut, last * ldut));
  }
}

/** Relative convergence: 10 to 100 roundings. */
function tolerance<T>(): T {
  // eps^(-1/8) is 2^(53/8) or 2^3
  return sizeof<T>() == 4 ? <T>(<T>10 * epsilon<T>()) : <T>(<T>98.70149282610239 * epsilon<T>());
}

/** A lower bound of the smallest singular value, up to a factor √n, decides what may be neglected (Demmel–Kahan). */
function threshold<T>(n: i32, d: usize, e: usize): T {
  let least = abs<T>(get<T>(d, 0));
  let mu = least;
  for (let i = 1; i < n && least != <T>0; i++) {
    mu = <T>(abs<T>(get<T>(d, i)) * (mu / (mu + abs<T>(get<T>(e, i - 1)))));
    least = min<T>(least, mu);
  }
  const bound = <T>(tolerance<T>() * (least / sqrt<T>(<T>n)));
  return max<T>(bound, <T>(<T>MAX_PASSES * (<T>n * (<T>n * safeMinimum<T>()))));
}

/** Sweeps until the queue is full or all values have converged; returns how many entries of e did not, at the limit. */
function gatherSweeps<T>(n: i32, d: usize, e: usize, work: usize): i32 {
  const tol = tolerance<T>();
  const small = load<T>(work + HEAD_BYTES);
  const heads = work + STATE_BYTES;
  const c = heads + HEADS, s = at<T>(c, QUEUE * n), C = at<T>(s, QUEUE * n), S = at<T>(C, QUEUE * n);
  const limit = <f64>MAX_PASSES * <f64>n * <f64>n;
  let steps = load<f64>(work + STEPS);
  let high = cursor(work, HIGH), oldLow = cursor(work, OLD_LOW), oldHigh = cursor(work, OLD_HIGH);
  let downward = cursor(work, DOWNWARD) != 0;
  let queued = 0;
  while (high > 0 && queued < QUEUE) {
    if (steps > limit) {
      let failed = 0;
      for (let i = 0; i < n - 1; i++) if (get<T>(e, i) != <T>0) failed++;
      return failed;
    }
    // the unreduced block low…high at the bottom
    let largest = abs<T>(get<T>(d, high));
    let low = high;
    while (low > 0) {
      const ei = abs<T>(get<T>(e, low - 1));
      if (ei <= small) {
        set<T>(e, low - 1, <T>0);
        break;
      }
      low--;
      largest = max<T>(largest, max<T>(abs<T>(get<T>(d, low)), ei));
    }
    if (low == high) {
      high--;
      continue;
    }
    if (low == high - 1) {
      lasv2<T>(get<T>(d, low), get<T>(e, low), get<T>(d, high));
      set<T>(d, low, <T>sigmaLarge);
      set<T>(e, low, <T>0);
      set<T>(d, high, <T>sigmaSmall);
      set<T>(c, queued * n, <T>rightC);
      set<T>(s, queued * n, <T>rightS);
      set<T>(C, queued * n, <T>leftC);
      set<T>(S, queued * n, <T>leftS);
      setSweep(heads, queued++, low, 1, true);
      high -= 2;
      continue;
    }
    // a new block: chase the bulge from its larger to its smaller end
    if (low > oldHigh || high < oldLow) downward = abs<T>(get<T>(d, low)) >= abs<T>(get<T>(d, high));
    const least = deflate<T>(downward, low, high, d, e, tol);
    if (least < <T>0) continue;
    oldLow = low;
    oldHigh = high;
    const shift = chooseShift<T>(n, downward, low, high, d, e, tol, least, largest);
    steps += <f64>(high - low);
    const row = queued * n;
    const cr = at<T>(c, row), sr = at<T>(s, row), cl = at<T>(C, row), sl = at<T>(S, row);
    if (downward) {
      if (shift == <T>0) zeroShiftDown<T>(low, high, d, e, cr, sr, cl, sl);
      else shiftDown<T>(low, high, shift, d, e, cr, sr, cl, sl);
      if (abs<T>(get<T>(e, high - 1)) <= small) set<T>(e, high - 1, <T>0);
    } else {
      if (shift == <T>0) zeroShiftUp<T>(low, high, d, e, cr, sr, cl, sl);
      else shiftUp<T>(low, high, shift, d, e, cr, sr, cl, sl);
      if (abs<T>(get<T>(e, low)) <= small) set<T>(e, low, <T>0);
    }
    setSweep(heads, queued++, low, high - low, downward);
  }
  store<f64>(work + STEPS, steps);
  setCursor(work, HIGH, high);
  setCursor(work, OLD_LOW, oldLow);
  setCursor(work, OLD_HIGH, oldHigh);
  setCursor(work, DOWNWARD, <i32>downward);
  setCursor(work, QUEUED, queued);
  return 0;
}

/**
 * Convergence criteria of Demmel and Kahan within a block: sets a negligible entry of e to zero and returns −1, or
 * returns a lower bound of the block's smallest value.
 */
function deflate<T>(downward: bool, low: i32, high: i32, d: usize, e: usize, tol: T): T {
  const end = downward ? high - 1 : low;
  if (abs<T>(get<T>(e, end)) <= tol * abs<T>(get<T>(d, downward ? high : low))) {
    set<T>(e, end, <T>0);
    return <T>-1;
  }
  let mu = abs<T>(get<T>(d, downward ? low : high));
  let least = mu;
  for (let q = 0; q < high - low; q++) {
    const i = downward ? low + q : high - 1 - q;
    const ei = abs<T>(get<T>(e, i));
    if (ei <= tol * mu) {
      set<T>(e, i, <T>0);
      return <T>-1;
    }
    mu = <T>(abs<T>(get<T>(d, downward ? i + 1 : i)) * (mu / (mu + ei)));
    least = min<T>(least, mu);
  }
  return least;
}

/** The shift, or 0 where a shift would spoil the relative accuracy of small values. */
function chooseShift<T>(
  n: i32, downward: bool, low: i32, high: i32, d: usize, e: usize, tol: T, least: T, largest: T,
): T {
  const eps = epsilon<T>();
  if (<T>(<T>n * tol * (least / largest)) <= max<T>(eps, <T>(<T>0.01 * tol))) return <T>0;
  let first: T, shift: T;
  if (downward) {
    first = abs<T>(get<T>(d, low));
    shift = las2<T>(get<T>(d, high - 1), get<T>(e, high - 1), get<T>(d, high));
  } else {
    first = abs<T>(get<T>(d, high));
    shift = las2<T>(get<T>(d, low), get<T>(e, low), get<T>(d, low + 1));
  }
  const q = <T>(shift / first);
  return first > <T>0 && <T>(q * q) < eps ? <T>0 : shift;
}

function zeroShiftDown<T>(low: i32, high: i32, d: usize, e: usize, c: usize, s: usize, C: usize, S: usize): void {
  let cs = <T>1, oldC = <T>1, oldS = <T>0;
  for (let i = low; i < high; i++) {
    lartg<T>(<T>(get<T>(d, i) * cs), get<T>(e, i));
    cs = <T>rotationC;
    const sn = <T>rotationS, r = <T>rotationR;
    if (i > low) set<T>(e, i - 1, <T>(oldS * r));
    set<T>(c, i - low, cs);
    set<T>(s, i - low, sn);
    lartg<T>(<T>(oldC * r), <T>(get<T>(d, i + 1) * sn));
    oldC = <T>rotationC;
    oldS = <T>rotationS;
    set<T>(d, i, <T>rotationR);
    set<T>(C, i - low, oldC);
    set<T>(S, i - low, oldS);
  }
  const h = <T>(get<T>(d, high) * cs);
  set<T>(d, high, <T>(h * oldC));
  set<T>(e, high - 1, <T>(h * oldS));
}

function zeroShiftUp<T>(low: i32, high: i32, d: usize, e: usize, c: usize, s: usize, C: usize, S: usize): void {
  let cs = <T>1, oldC = <T>1, oldS = <T>0;
  for (let i = high; i > low; i--) {
    lartg<T>(<T>(get<T>(d, i) * cs), get<T>(e, i - 1));
    cs = <T>rotationC;
    const sn = <T>rotationS, r = <T>rotationR;
    if (i < high) set<T>(e, i, <T>(oldS * r));
    set<T>(C, i - low - 1, cs);
    set<T>(S, i - low - 1, <T>-sn);
    lartg<T>(<T>(oldC * r), <T>(get<T>(d, i - 1) * sn));
    oldC = <T>rotationC;
    oldS = <T>rotationS;
    set<T>(d, i, <T>rotationR);
    set<T>(c, i - low - 1, oldC);
    set<T>(s, i - low - 1, <T>-oldS);
  }
  const h = <T>(get<T>(d, low) * cs);
  set<T>(d, low, <T>(h * oldC));
  set<T>(e, low, <T>(h * oldS));
}

function shiftDown<T>(
  low: i32, high: i32, shift: T, d: usize, e: usize, c: usize, s: usize, C: usize, S: usize,
): void {
  const first = get<T>(d, low);
  let f = <T>((abs<T>(first) - shift) * (copysign<T>(<T>1, first) + shift / first));
  let g = get<T>(e, low);
  for (let i = low; i < high; i++) {
    lartg<T>(f, g);
    const cr = <T>rotationC, sr = <T>rotationS;
    if (i > low) set<T>(e, i - 1, <T>rotationR);
    const di = get<T>(d, i), ei = get<T>(e, i), dn = get<T>(d, i + 1);
    f = <T>(cr * di + sr * ei);
    const en = <T>(cr * ei - sr * di);
    g = <T>(sr * dn);
    const dm = <T>(cr * dn);
    lartg<T>(f, g);
    const cl = <T>rotationC, sl = <T>rotationS;
    set<T>(d, i, <T>rotationR);
    f = <T>(cl * en + sl * dm);
    set<T>(d, i + 1, <T>(cl * dm - sl * en));
    if (i < high - 1) {
      const after = get<T>(e, i + 1);
      g = <T>(sl * after);
      set<T>(e, i + 1, <T>(cl * after));
    }
    set<T>(c, i - low, cr);
    set<T>(s, i - low, sr);
    set<T>(C, i - low, cl);
    set<T>(S, i - low, sl);
  }
  set<T>(e, high - 1, f);
}

function shiftUp<T>(
  low: i32, high: i32, shift: T, d: usize, e: usize, c: usize, s: usize, C: usize, S: usize,
): void {
  const first = get<T>(d, high);
  let f = <T>((abs<T>(first) - shift) * (copysign<T>(<T>1, first) + shift / first));
  let g = get<T>(e, high - 1);
  for (let i = high; i > low; i--) {
    lartg<T>(f, g);
    const cr = <T>rotationC, sr = <T>rotationS;
    if (i < high) set<T>(e, i, <T>rotationR);
    const di = get<T>(d, i), ei = get<T>(e, i - 1), dn = get<T>(d, i - 1);
    f = <T>(cr * di + sr * ei);
    const en = <T>(cr * ei - sr * di);
    g = <T>(sr * dn);
    const dm = <T>(cr * dn);
    lartg<T>(f, g);
    const cl = <T>rotationC, sl = <T>rotationS;
    set<T>(d, i, <T>rotationR);
    f = <T>(cl * en + sl * dm);
    set<T>(d, i - 1, <T>(cl * dm - sl * en));
    if (i > low + 1) {
      const after = get<T>(e, i - 2);
      g = <T>(sl * after);
      set<T>(e, i - 2, <T>(cl * after));
    }
    set<T>(C, i - low - 1, cr);
    set<T>(S, i - low - 1, <T>-sr);
    set<T>(c, i - low - 1, cl);
    set<T>(s, i - low - 1, <T>-sl);
  }
  set<T>(e, low, f);
}
