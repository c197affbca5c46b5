// Reduction to bidiagonal form, M = Q·B·Pᵀ with B upper bidiagonal: Golub and Kahan (1965), in panels as LAPACK's
// xLABRD and xGEBRD. M (m×n, m >= n) is held by columns: row j of t is column j of M.
//
// Within a panel the trailing matrix is not touched; each step needs y = Mᵀ·v and then x = M·u, where u comes from row c of
// M, which y changes. Howell, Demmel et al. ("Cache efficient bidiagonalization using BLAS 2.5 operators", 2008) read M
// once for both: M·r for the row r before it is made a reflector needs no more of y than the columns that were just read,
// and M·u follows from it. Eight columns at a time are read for y, and again, now from the cache, for M·r.

import { axpy, copy, dot, scal } from "../blas/level1";
import { gemmSlice } from "../blas/gemm";
import { gemv, gemvColumns8, gemvRows8 } from "../blas/level2";
import { fill } from "../blas/matrix";
import { epsilon, safeMinimum } from "../machine";
import { at } from "../simd";
import { cursor, setCursor, spend } from "../slice";
import { TRAILING, taskOf } from "../tasks";
import { isShared, perform, taskArguments } from "../team";
import { larfg } from "./householder";

/** Columns of a panel. */
const PANEL: i32 = 12;

/** Working memory of gebrd in elements. */
export function gebrdWork(m: i32, n: i32): i32 {
  // stacks V above X (length m) and Y above U (length n), then vectors
  return 2 * PANEL * (m + n) + 4 * PANEL + (1 + PARTS) * m + 3 * n + 64;
}

/** Parts into which the trailing columns are cut at most, and how many elements one of them has at least: what a tile reads. */
const PARTS: i32 = 8;
const PART_SIZE: f64 = 16384;

/**
 * A slice of the reduction: true when it is complete. t (n rows of m, ldt apart) <- reflectors of Q: row j from its diagonal
 * on, the first element to be taken as 1. p (n rows of n, ldp apart; 0: not wanted) <- reflectors of P: row j from column
 * j + 1 on, likewise. d (n), e (n − 1): B. tauq, taup: n each, factors of the reflectors. The head's cursors `column` and
 * `step` start at 0. work: gebrdWork(m, n) elements.
 */
export function gebrdSlice<T>(
  head: usize, column: i32, step: i32, m: i32, n: i32, t: usize, ldt: i32, d: usize, e: usize, tauq: usize, p: usize,
  ldp: i32, taup: usize, work: usize,
): bool {
  const vx = work, yu = at<T>(vx, 2 * PANEL * m), rest = at<T>(yu, 2 * PANEL * n);
  while (cursor(head, column) < n) {
    const c = cursor(head, column);
    const first = c - (c % PANEL), block = min<i32>(PANEL, n - first), next = first + block;
    if (cursor(head, step) == 0) {
      labrdColumn<T>(m, n, c, c - first, block, t, ldt, d, e, tauq, p, ldp, taup, vx, yu, rest);
      if (c + 1 < next) {
        setCursor(head, column, c + 1);
        if (spend(4 * <f64>(m - c) * <f64>(n - c))) return false;
        continue;
      }
      setCursor(head, step, 1);
    }
    // M <- M − V·Yᵀ − X·Uᵀ, one product with the stacks as factors
    const trailing = gemmSlice<T>(
      head, step + 1, n - next, m - next, 2 * block, <T>-1, at<T>(yu, next), 1, n, at<T>(vx, next), m, 1,
      <T>1, at<T>(t, next * ldt + next), ldt,
    );
    if (!trailing) return false;
    setCursor(head, step, 0);
    setCursor(head, column, next);
  }
  return true;
}

/**
 * Column c of the reduction, column i of its panel of `block`. vx: rows 0…block − 1 are the v of this panel, rows block… the
 * x, m elements each; yu: the y, then the u, n elements each.
 */
function labrdColumn<T>(
  m: i32, n: i32, c: i32, i: i32, block: i32, t: usize, ldt: i32, d: usize, e: usize, tauq: usize, p: usize, ldp: i32,
  taup: usize, vx: usize, yu: usize, work: usize,
): void {
  const V = vx, X = at<T>(vx, block * m), Y = yu, U = at<T>(yu, block * n);
  const a = work, b = at<T>(a, 2 * PANEL), correction = at<T>(b, 2 * PANEL), r = at<T>(correction, n), w = at<T>(r, n);
  const column = at<T>(t, c * ldt + c);
  const v = at<T>(V, i * m), y = at<T>(Y, i * n), x = at<T>(X, i * m), u = at<T>(U, i * n);
  // column c of M with the updates of this panel
  gemv<T>(true, i, m - c, <T>-1, at<T>(V, c), m, at<T>(Y, c), n, <T>1, column, 1);
  gemv<T>(true, i, m - c, <T>-1, at<T>(X, c), m, at<T>(U, c), n, <T>1, column, 1);
  const tq = larfg<T>(m - c, column, at<T>(column, 1));
  store<T>(at<T>(tauq, c), tq);
  store<T>(at<T>(d, c), load<T>(column));
  fill<T>(i, <T>0, at<T>(v, c - i));
  store<T>(at<T>(v, c), <T>1);
  copy<T>(m - c - 1, at<T>(column, 1), 1, at<T>(v, c + 1), 1);
  const others = n - c - 1, first = c + 1;
  if (others == 0) {
    store<T>(at<T>(taup, c), <T>0);
    return;
  }

  // y = tauq·(Mᵀ·v − Y·(Vᵀ·v) − U·(Xᵀ·v)); the part in parentheses that does not need M:
  gemv<T>(false, i, m - c, <T>1, at<T>(V, c), m, at<T>(v, c), 1, <T>0, a, 1);
  gemv<T>(false, i, m - c, <T>1, at<T>(X, c), m, at<T>(v, c), 1, <T>0, b, 1);
  gemv<T>(true, i, others, <T>1, at<T>(Y, first), n, a, 1, <T>0, correction, 1);
  gemv<T>(true, i, others, <T>1, at<T>(U, first), n, b, 1, <T>1, correction, 1);
  // row c of M with the updates of this panel but y's
  copy<T>(others, at<T>(t, first * ldt + c), ldt, r, 1);
  gemv<T>(true, i, others, <T>-1, at<T>(Y, first), n, at<T>(V, c), m, <T>1, r, 1);
  gemv<T>(true, i, others, <T>-1, at<T>(U, first), n, at<T>(X, c), m, <T>1, r, 1);
  // y, r <- r − y, and w = M·r below row c
  readTrailing<T>(others, m - c, at<T>(t, first * ldt + c), ldt, at<T>(v, c), tq, correction, at<T>(y, first), r, w);

  copy<T>(others, r, 1, at<T>(u, first), 1);
  const tp = larfg<T>(others, at<T>(u, first), at<T>(u, first + 1));
  const beta = load<T>(at<T>(u, first));
  store<T>(at<T>(e, c), beta);
  store<T>(at<T>(taup, c), tp);
  store<T>(at<T>(u, first), <T>1);
  if (p != 0) copy<T>(others, at<T>(u, first), 1, at<T>(p, c * ldp + first), 1);
  const below = m - first, xb = at<T>(x, first);
  if (tp == <T>0) {
    fill<T>(below, <T>0, xb);
    return;
  }
  const s = <T>(load<T>(r) - beta);
  if (abs<T>(s) > <T>(safeMinimum<T>() / epsilon<T>())) {
    // M·u = (M·r − beta·M·e₁)/(r₀ − beta): no cancellation, since beta has the other sign than r₀
    copy<T>(below, at<T>(w, 1), 1, xb, 1);
    axpy<T>(below, <T>-beta, at<T>(t, first * ldt + first), 1, xb, 1);
    scal<T>(below, <T>(<T>1 / s), xb, 1);
  } else {
    gemv<T>(true, others, below, <T>1, at<T>(t, first * ldt + first), ldt, at<T>(u, first), 1, <T>0, xb, 1);
  }
  // x = taup·(M·u − V·(Yᵀ·u) − X·(Uᵀ·u))
  gemv<T>(false, i + 1, others, <T>1, at<T>(Y, first), n, at<T>(u, first), 1, <T>0, a, 1);
  gemv<T>(false, i, others, <T>1, at<T>(U, first), n, at<T>(u, first), 1, <T>0, b, 1);
  gemv<T>(true, i + 1, below, <T>-1, at<T>(V, first), m, a, 1, <T>1, xb, 1);
  gemv<T>(true, i, below, <T>-1, at<T>(X, first), m, b, 1, <T>1, xb, 1);
  scal<T>(below, tp, xb, 1);
}

/** What readTrailing's tiles read. */
@unmanaged
class Trailing {
  tau: f64;
  count: i32;
  n: i32;
  /** Rows of a part. */
  part: i32;
  ldt: i32;
  t: usize;
  v: usize;
  correction: usize;
  y: usize;
  r: usize;
  w: usize;
}

/**
 * readColumns for all trailing columns, w started at zero: in parts, whose sums w are added up in their order. How many parts
 * depends on the size alone, so that the bits do not depend on the team. w: PARTS vectors of n.
 */
function readTrailing<T>(
  count: i32, n: i32, t: usize, ldt: i32, v: usize, tau: T, correction: usize, y: usize, r: usize, w: usize,
): void {
  const size = <f64>count * <f64>n;
  const wanted = max<i32>(1, <i32>min<f64>(size / PART_SIZE, <f64>PARTS));
  const task = changetype<Trailing>(taskArguments());
  task.tau = <f64>tau;
  task.count = count;
  task.n = n;
  task.part = ((count + wanted - 1) / wanted + 7) & -8;
  task.ldt = ldt;
  task.t = t;
  task.v = v;
  task.correction = correction;
  task.y = y;
  task.r = r;
  task.w = w;
  const parts = (count + task.part - 1) / task.part;
  perform(taskOf<T>(TRAILING), parts, isShared(size, 2 * PART_SIZE));
  for (let i = 1; i < parts; i++) axpy<T>(n, <T>1, at<T>(w, i * n), 1, w, 1);
}

/** A part of readTrailing. */
export function readPart<T>(base: usize, tile: i32): void {
  const task = changetype<Trailing>(base);
  const k = tile * task.part, w = at<T>(task.w, tile * task.n);
  fill<T>(task.n, <T>0, w);
  readColumns<T>(
    min<i32>(task.part, task.count - k), task.n, at<T>(task.t, k * task.ldt), task.ldt, task.v, <T>task.tau, at<T>(task.correction, k),
    at<T>(task.y, k), at<T>(task.r, k), w,
  );
}

/**
 * For `count` rows t_k (length n, ldt apart): y_k = tau·(t_k·v − correction_k), r_k <- r_k − y_k, w <- w + r_k·t_k.
 * Each group of eight rows is read twice while it is in the cache.
 */
function readColumns<T>(
  count: i32, n: i32, t: usize, ldt: i32, v: usize, tau: T, correction: usize, y: usize, r: usize, w: usize,
): void {
  const row = at<T>(0, ldt), element = at<T>(0, 1);
  let k = 0;
  for (; k + 8 <= count; k += 8) {
    gemvRows8<T>(n, <T>1, t, row, v, <T>0, y, element);
    finish<T>(8, tau, correction, y, r);
    gemvColumns8<T>(n, <T>1, t, row, r, element, w);
    t += 8 * row;
    y += 8 * element;
    r += 8 * element;
    correction += 8 * element;
  }
  for (; k < count; k++) {
    store<T>(y, dot<T>(n, t, 1, v, 1));
    finish<T>(1, tau, correction, y, r);
    axpy<T>(n, load<T>(r), t, 1, w, 1);
    t += row;
    y += element;
    r += element;
    correction += element;
  }
}

function finish<T>(count: i32, tau: T, correction: usize, y: usize, r: usize): void {
  for (let k = 0; k < count; k++) {
    const value = <T>(tau * (load<T>(at<T>(y, k)) - load<T>(at<T>(correction, k))));
    store<T>(at<T>(y, k), value);
    store<T>(at<T>(r, k), <T>(load<T>(at<T>(r, k)) - value));
  }
}
