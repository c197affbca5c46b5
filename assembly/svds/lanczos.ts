// The k largest singular triplets of an operator A (m×n) by thick-restart Golub–Kahan–Lanczos bidiagonalisation (Baglama
// and Reichel 2005; Hernández, Román and Tomás 2008), with full reorthogonalisation of V, and of U where it is needed: m >= n,
// so that the longer rows are read less often. The kernel never calls an operator: it returns a request, the caller answers
// it in the bases and calls again.
//
// V (rows + 1 rows of n) and U (rows of m) hold the bases by rows: first `locked` triplets, then the active ones. In the
// active part A·Vᵀ = Uᵀ·B exactly, with B upper triangular and taken from the products themselves, and Aᵀ·Uᵀ = Vᵀ·Bᵀ but for the
// last row, which leaves a multiple of the next row of V. A cycle fills the rows, decomposes B, and keeps the leading half.
//
// The bindings iterate in f64 for both precisions: what rounding adds up over many cycles then stays below that of f32.
//
// A start vector sees one copy of a multiple value only. So when k values have converged they are locked, and a run from a
// new random vector looks for larger ones in their complement; the end is a run that finds none.

import { axpy, copy, nrm2, scal } from "../blas/level1";
import { gemv } from "../blas/level2";
import { gemm } from "../blas/gemm";
import { fill } from "../blas/matrix";
import { epsilon, safeMinimum } from "../machine";
import { gaussian } from "../random/distributions";
import { at, get, set } from "../simd";
import { HEAD_BYTES, begin, cursor, setCursor } from "../slice";
import { gesvd, gesvdBegin, gesvdScratch } from "../svd/gesvd";
import { paddedLength } from "../svd/householder";

/** Requests: the kind, and the row times 4. */
const DONE = 0;
/** Row j of U <- A·(row j of V). */
const APPLY = 1;
/** Row j + 1 of V <- Aᵀ·(row j of U). */
const APPLY_TRANSPOSED = 2;
/** A cycle has ended; the row tells how many values have converged. */
const CYCLE = 3;
/** Products overflow, or B has no decomposition. */
const FAILED = -3;

// cursors of the head
const PHASE = 0, LOCKED = 1, ACTIVE = 2, FOUND = 3;
// phases
const START = 0, LEFT = 1, RIGHT = 2, SOLVE = 3, END = 4, MULTIPLY = 5;
// numbers behind the head
const DRAWN = 0, NORM = 1, ALPHA = 2, BETA = 3, DRIFT = 4, NUMBERS = 8;

/** Columns that a rotation of a basis treats at a time. */
const STRIP: i32 = 256;

const VECTORS = 1, DRIVER = 0;

/** Elements from a row of a basis to the next. */
export function lanczosStride<T>(n: i32): i32 {
  return paddedLength<T>(n);
}

/** Bytes of working memory of lanczos. */
export function lanczosScratch<T>(rows: i32): f64 {
  const r = <f64>rows;
  return <f64>HEAD_BYTES + 8 * <f64>NUMBERS + gesvdScratch<T>(rows, rows, VECTORS, DRIVER) + 64
    + <f64>sizeof<T>() * (3 * r * r + 3 * r + r * <f64>STRIP + 64);
}

/** Readies lanczos. */
export function lanczosBegin<T>(work: usize): void {
  begin(work);
  memory.fill(work + HEAD_BYTES, 0, 8 * NUMBERS);
}

// @ts-ignore: decorator
@inline function number(work: usize, slot: i32): f64 {
  return load<f64>(work + HEAD_BYTES + ((<usize>slot) << 3));
}

// @ts-ignore: decorator
@inline function setNumber(work: usize, slot: i32, value: f64): void {
  store<f64>(work + HEAD_BYTES + ((<usize>slot) << 3), value);
}

/**
 * Goes on to the next request (above), or MORE. k < rows <= min(m, n); v: rows + 1 rows of n, ldv apart; u: rows rows of m,
 * ldu apart. At the end the first k rows of v and u are the vectors, s (rows) their values, in no order. A value has converged
 * when its residual is below tolerance times the largest. seed, stream: where random vectors come from.
 */
export function lanczos<T>(
  m: i32, n: i32, k: i32, rows: i32, tolerance: f64, seed: u32, stream: u32, v: usize, ldv: i32, u: usize, ldu: i32, s: usize, work: usize,
): i32 {
  const b = work + HEAD_BYTES + 8 * NUMBERS, p = at<T>(b, rows * rows), q = at<T>(p, rows * rows);
  const theta = at<T>(q, rows * rows), c = at<T>(theta, rows), sums = at<T>(c, rows), strip = at<T>(sums, rows);
  const inner = (at<T>(strip, rows * STRIP) + 63) & ~63;
  while (true) {
    const locked = cursor(work, LOCKED), active = cursor(work, ACTIVE), row = locked + active;
    const vrow = at<T>(v, row * ldv), urow = at<T>(u, row * ldu);
    switch (cursor(work, PHASE)) {
      case START: {
        fill<T>(rows * rows, <T>0, b);
        randomRow<T>(row, n, v, ldv, seed, stream, c, sums, work);
        setNumber(work, BETA, 0);
        setCursor(work, PHASE, MULTIPLY);
        break;
      }
      case MULTIPLY: {
        setCursor(work, PHASE, LEFT);
        return APPLY + 4 * row;
      }
      case LEFT: {
        const beta = <T>number(work, BETA);
        raiseNorm<T>(m, urow, work);
        fill<T>(row, <T>0, sums);
        if (beta != <T>0) {
          axpy<T>(m, <T>-beta, at<T>(urow, -ldu), 1, urow, 1);
          set<T>(sums, row - 1, beta);
        }
        const alpha = driftsApart<T>(m, beta, urow, tolerance, work)
          ? orthogonalize<T>(row, m, u, ldu, urow, c, sums, negligible<T>(work))
          : nrm2<T>(m, urow, 1);
        for (let i = 0; i < active; i++) set<T>(b, i * rows + active, get<T>(sums, locked + i));
        set<T>(b, active * rows + active, alpha);
        if (alpha == <T>0) randomRow<T>(row, m, u, ldu, seed, stream, c, sums, work);
        else normalize<T>(m, alpha, urow);
        setNumber(work, ALPHA, <f64>alpha);
        setCursor(work, PHASE, RIGHT);
        return APPLY_TRANSPOSED + 4 * row;
      }
      case RIGHT: {
        const next = at<T>(vrow, ldv), alpha = <T>number(work, ALPHA);
        raiseNorm<T>(n, next, work);
        axpy<T>(n, <T>-alpha, vrow, 1, next, 1);
        const beta = orthogonalize<T>(row + 1, n, v, ldv, next, c, sums, negligible<T>(work));
        if (beta == <T>0) randomRow<T>(row + 1, n, v, ldv, seed, stream, c, sums, work);
        else normalize<T>(n, beta, next);
        setNumber(work, BETA, <f64>beta);
        setCursor(work, ACTIVE, active + 1);
        if (row + 1 < rows) {
          setCursor(work, PHASE, MULTIPLY);
          break;
        }
        // NaN where a product overflowed
        if (!(number(work, NORM) < Infinity)) return FAILED;
        gesvdBegin<T>(inner);
        setCursor(work, PHASE, SOLVE);
        break;
      }
      case SOLVE: {
        const result = gesvd<T>(active, active, VECTORS, DRIVER, b, rows, 1, p, theta, q, inner);
        if (result < 0) return result;
        if (result > 0) return FAILED;
        setCursor(work, PHASE, END);
        break;
      }
      default: {
        const converged = endCycle<T>(m, n, k, rows, tolerance, v, ldv, u, ldu, s, work, b, p, q, theta, strip);
        if (converged < 0) return DONE;
        return CYCLE + 4 * converged;
      }
    }
  }
}

/**
 * Whether x, a new row of U without its part along the row before, must be orthogonalised against all rows. Where V is
 * orthogonal, the products ω of the new row with the others follow from those of the row before (Simon and Zha 2000):
 * α·ω' = β·ω and rounding errors. A row after a restart or a breakdown (β = 0) has parts along all of them.
 */
function driftsApart<T>(m: i32, beta: T, x: usize, tolerance: f64, work: usize): bool {
  const eps = <f64>epsilon<T>(), norm = number(work, NORM), alpha = <f64>nrm2<T>(m, x, 1);
  const drift = (<f64>beta * number(work, DRIFT) + 4 * eps * norm) / alpha;
  // below, the products that B lacks do not show in the residuals
  const apart = beta == <T>0 || !(drift <= max<f64>(8 * eps, min<f64>(0.001 * tolerance, 1e-8)));
  setNumber(work, DRIFT, apart ? 2 * eps : drift);
  return apart;
}

/** The largest norm of a product so far: about that of A. NaN stays. */
function raiseNorm<T>(n: i32, x: usize, work: usize): void {
  setNumber(work, NORM, max<f64>(number(work, NORM), <f64>nrm2<T>(n, x, 1)));
}

/** Below this a vector that is left by orthogonalisation is rounding errors. */
function negligible<T>(work: usize): T {
  return <T>(8 * <f64>epsilon<T>() * number(work, NORM));
}

/**
 * w (n) <- w − basisᵀ·basis·w, `rows` rows; the products are added to sums (rows). Returns its norm; 0 where it is at most
 * `least`. A second pass where the first took much away (Daniel, Gragg, Kaufman and Stewart 1976).
 */
function orthogonalize<T>(rows: i32, n: i32, basis: usize, ld: i32, w: usize, c: usize, sums: usize, least: T): T {
  let norm = nrm2<T>(n, w, 1);
  for (let pass = 0; pass < 3; pass++) {
    if (norm <= least) return <T>0;
    gemv<T>(false, rows, n, <T>1, basis, ld, w, 1, <T>0, c, 1);
    gemv<T>(true, rows, n, <T>-1, basis, ld, c, 1, <T>1, w, 1);
    axpy<T>(rows, <T>1, c, 1, sums, 1);
    const left = nrm2<T>(n, w, 1);
    const enough = left > <T>(<T>0.7 * norm);
    norm = left;
    if (enough) break;
  }
  return norm <= least ? <T>0 : norm;
}

/** x (n) <- x/norm, also where 1/norm overflows. */
function normalize<T>(n: i32, norm: T, x: usize): void {
  const small = <T>(<T>4 * safeMinimum<T>());
  if (norm < small) {
    const lift = <T>(<T>1 / small);
    scal<T>(n, lift, x, 1);
    norm = <T>(norm * lift);
  }
  scal<T>(n, <T>(<T>1 / norm), x, 1);
}

/** Row `row` of a basis <- a random direction orthogonal to the rows before it. */
function randomRow<T>(
  row: i32, n: i32, basis: usize, ld: i32, seed: u32, stream: u32, c: usize, sums: usize, work: usize,
): void {
  const x = at<T>(basis, row * ld);
  for (let trial = 0; trial < 4; trial++) {
    const drawn = number(work, DRAWN);
    gaussian<T>(seed, stream, drawn, n, x);
    setNumber(work, DRAWN, drawn + <f64>n);
    normalize<T>(n, nrm2<T>(n, x, 1), x);
    const norm = orthogonalize<T>(row, n, basis, ld, x, c, sums, <T>(<T>100 * epsilon<T>()));
    if (norm == <T>0) continue;
    normalize<T>(n, norm, x);
    return;
  }
}

/** The least of k values, and where it stands. */
function smallest<T>(k: i32, s: usize): i32 {
  let least = 0;
  for (let i = 1; i < k; i++) if (get<T>(s, i) < get<T>(s, least)) least = i;
  return least;
}

/** Locks, decides whether the run or everything is over, restarts. Returns how many values have converged; -1: all is done. */
function endCycle<T>(
  m: i32, n: i32, k: i32, rows: i32, tolerance: f64, v: usize, ldv: i32, u: usize, ldu: i32, s: usize, work: usize, b: usize, p: usize,
  q: usize, theta: usize, strip: usize,
): i32 {
  let locked = cursor(work, LOCKED);
  const active = cursor(work, ACTIVE), first = locked;
  const beta = number(work, BETA), last = at<T>(p, (active - 1) * active);
  let largest = <f64>get<T>(theta, 0);
  for (let i = 0; i < locked; i++) largest = max<f64>(largest, <f64>get<T>(s, i));
  // residuals are kept well below the tolerance: couplings of locked triplets are dropped
  const enough = 0.25 * tolerance * largest;
  let converged = 0;
  const wanted = locked == 0 ? k : active;
  while (converged < wanted && beta * abs<f64>(<f64>get<T>(last, converged)) <= enough) converged++;

  let keep: i32;
  let over = false;
  if (locked == 0) {
    over = converged == k;
    keep = over ? k : min<i32>(active - 1, max<i32>(k + 2, converged + (active - converged) / 2));
  } else {
    const bound = <f64>get<T>(s, smallest<T>(k, s)) + tolerance * largest, top = <f64>get<T>(theta, 0);
    let above = 0;
    while (above < converged && <f64>get<T>(theta, above) > bound) above++;
    converged = above;
    if (above == 0 && top <= bound) {
      // how far the largest may still rise: its residual, or its square over the gap
      const residual = beta * abs<f64>(<f64>get<T>(last, 0));
      const gap = top - (active > 1 ? <f64>get<T>(theta, 1) : 0);
      over = top + (residual < gap ? residual * (residual / gap) : residual) <= bound;
    }
    keep = over ? 0 : min<i32>(active - 1, above + max<i32>(1, (active - above) / 2));
  }

  rotate<T>(keep, active, n, q, active, 1, at<T>(v, first * ldv), ldv, strip);
  rotate<T>(keep, active, m, p, 1, active, at<T>(u, first * ldu), ldu, strip);
  let left = keep;
  if (first == 0) {
    if (over) {
      for (let i = 0; i < k; i++) set<T>(s, i, get<T>(theta, i));
      locked = k;
    }
  } else if (converged > 0) {
    for (let i = 0; i < converged; i++) {
      const least = smallest<T>(k, s);
      set<T>(s, least, get<T>(theta, i));
      copy<T>(n, at<T>(v, (first + i) * ldv), 1, at<T>(v, least * ldv), 1);
      copy<T>(m, at<T>(u, (first + i) * ldu), 1, at<T>(u, least * ldu), 1);
    }
    left = keep - converged;
    for (let i = 0; i < left; i++) {
      copy<T>(n, at<T>(v, (first + converged + i) * ldv), 1, at<T>(v, (first + i) * ldv), 1);
      copy<T>(m, at<T>(u, (first + converged + i) * ldu), 1, at<T>(u, (first + i) * ldu), 1);
    }
    setCursor(work, FOUND, 1);
  }
  if (over) {
    // the first run is always followed by another
    if (first != 0 && cursor(work, FOUND) == 0) return -1;
    setCursor(work, FOUND, 0);
    setCursor(work, LOCKED, locked);
    setCursor(work, ACTIVE, 0);
    setCursor(work, PHASE, START);
    return k;
  }
  // B is the diagonal of the kept values; what couples them to the next row comes out of its product
  copy<T>(n, at<T>(v, rows * ldv), 1, at<T>(v, (first + left) * ldv), 1);
  fill<T>(rows * rows, <T>0, b);
  for (let i = 0; i < left; i++) set<T>(b, i * rows + i, get<T>(theta, keep - left + i));
  setNumber(work, BETA, 0);
  setCursor(work, ACTIVE, left);
  setCursor(work, PHASE, MULTIPLY);
  return first == 0 ? converged : k;
}

/** Rows x (active×n) <- W·x, its first `keep` rows; W (keep×active, strides rs and cs). strip: keep·STRIP elements. */
function rotate<T>(keep: i32, active: i32, n: i32, w: usize, rs: i32, cs: i32, x: usize, ldx: i32, strip: usize): void {
  for (let j = 0; j < n && keep > 0; j += STRIP) {
    const some = min<i32>(STRIP, n - j);
    gemm<T>(keep, some, active, <T>1, w, rs, cs, at<T>(x, j), ldx, 1, <T>0, strip, some);
    for (let i = 0; i < keep; i++) copy<T>(some, at<T>(strip, i * some), 1, at<T>(x, i * ldx + j), 1);
  }
}

/** residuals (k) <- the larger of itself and the norm of column i of y − x·diag(s); y and x are rows×k, row-major. y is overwritten. */
export function lanczosResiduals<T>(rows: i32, k: i32, y: usize, x: usize, s: usize, residuals: usize): void {
  for (let i = 0; i < rows; i++) {
    const yi = at<T>(y, i * k), xi = at<T>(x, i * k);
    for (let j = 0; j < k; j++) set<T>(yi, j, <T>(get<T>(yi, j) - get<T>(s, j) * get<T>(xi, j)));
  }
  for (let j = 0; j < k; j++) set<T>(residuals, j, max<T>(get<T>(residuals, j), nrm2<T>(rows, at<T>(y, j), k)));
}
