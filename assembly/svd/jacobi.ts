// driver: "jacobi". One-sided Jacobi, preconditioned by QR with column pivoting: Drmač and Veselić, "New fast and
// accurate Jacobi SVD algorithm I, II" (SIAM J. Matrix Anal. Appl. 29, 2008); LAPACK's xGEJSV and xGESVJ.
//
// M (long×p) is A or Aᵀ. W·M·P = Q1·R with permutations W and P, R = L·Q2ᵀ with a lower triangular L, and plane
// rotations from the right make the columns of L orthogonal: L·J = U·S. So M = (Wᵀ·Q1·U)·S·(P·Q2·J)ᵀ. Where M = B·D
// with a diagonal D of any size, the relative error of each value depends on the condition of B only: every step acts
// on columns that are scaled, as they are, to length one. Row pivoting does the same, in practice, for M scaled from
// the left as well.
//
// No range is lost on the way: column j of M, of L and of the rotated matrix is kept as 2^exponents[j] times a column
// of about length one, so that neither a norm nor a product over- or underflows. (xGESVJ keeps such factors for its
// fast rotations and has branches for norms out of range.) Columns of M, L and J are rows of memory throughout.

import { gemmSlice } from "../blas/gemm";
import { amax, axpy, copy, dot, nrm2, scal, scalPower } from "../blas/level1";
import { fill, lacpy } from "../blas/matrix";
import { TRTRI_WORK, trtriSlice } from "../blas/triangular";
import { epsilon, exponent, powerOfTwo, scaleByPowerOfTwo } from "../machine";
import { at, lanes, muladd } from "../simd";
import { HEAD_BYTES, cursor, interrupted, openSlice, setCursor, spend } from "../slice";
import { applyReflectorsSlice, applyReflectorsWork, paddedLength } from "./householder";
import { geqrfSlice, geqrfWork } from "./qr_factor";
import { exceeds, geqp3Slice } from "./qr_pivoted";

const NONE = 0;
const FULL = 2;

/** Sweeps before the iteration gives up: xGESVJ's. */
const SWEEPS: i32 = 30;

/** Columns that are rotated together, each with another one. */
const TILE: i32 = 8;

// Working memory of a step: arrays of one element for each of TILE pairs. The columns p and q, the longer first (i32 in
// places of T); their lengths, the power of two between their scales, their product; then the rotation: one less its
// cosine, the coefficients of one column in the other, in memory's scale and (SINE) in truth; |z| and |h| of
// computeRotations
const P: i32 = 0;
const Q: i32 = TILE;
const NORM_P: i32 = 2 * TILE;
const NORM_Q: i32 = 3 * TILE;
const RATIO: i32 = 4 * TILE;
const PRODUCT: i32 = 5 * TILE;
const VERSINE: i32 = 6 * TILE;
const INTO_P: i32 = 7 * TILE;
const INTO_Q: i32 = 8 * TILE;
const SINE: i32 = 9 * TILE;
const COSINE: i32 = 10 * TILE;
const SHEAR: i32 = 11 * TILE;
// ... and of a sweep: the sums of the squares of the last two, and how many rotations
const COSINES: i32 = 12 * TILE;
const SHEARS: i32 = COSINES + 1;
const ROTATIONS: i32 = COSINES + 2;
const SLOTS: i32 = COSINES + 4;

/**
 * J is had from L·J = U·S, which spares its rotations, if the inverse of L, its rows scaled to length one, has a
 * Frobenius norm of at most five times that of the identity: this is the square. The error of J grows with it.
 */
const CONDITION_LIMIT: i32 = 25;

/** Bytes of working memory of gejsv; exact in f64 for every size. */
export function gejsvScratch<T>(m: i32, n: i32, vectors: i32): f64 {
  const long = max<i32>(m, n), p = min<i32>(m, n);
  const k = vectors == FULL ? long : p;
  const ldt = paddedLength<T>(long), ldp = paddedLength<T>(p);
  const square = <f64>p * <f64>ldp;
  let elements = <f64>p * <f64>ldt + 2 * square + 4 * <f64>ldp + <f64>SLOTS;
  let steps = geqrfWork(p, p);
  if (vectors != NONE) {
    elements += 2 * square + <f64>k * <f64>ldt;
    steps = max<i32>(steps, max<i32>(TRTRI_WORK, applyReflectorsWork(k, long)));
  }
  return (elements + <f64>steps) * <f64>sizeof<T>() + 4 * (4 * <f64>p + <f64>long) + <f64>HEAD_BYTES + 1024;
}

// cursors of the head
const PHASE = 0, I = 1, J = 2, RANK = 3, SOLVES = 4, FAILED = 5, SWEEP = 6, STAGE = 7, TILE_AT = 8, SUM = 9;
const WIDE = 10, LEAST = 11, MOST = 12;

// phases
const ORIENT = 0, COPY = 1, PIVOT = 2, ROWS_OF_R = 3, LQ = 4, COLUMNS_OF_L = 5, INVERT = 6, CONDITION = 7, ROTATE = 8;
const SCALE_X = 9, SOLVE = 10, RIGHT = 11, RIGHT_Q = 12, RIGHT_ROWS = 13, RIGHT_OUT = 14, LEFT = 15, LEFT_Q = 16;
const LEFT_ROWS = 17, LEFT_OUT = 18, END = 19;

/**
 * A slice of the decomposition: MORE or STOPPED (slice.ts) until it is done, then 0, or how many pairs were still
 * rotated in the last sweep. A is m×n with strides (rs, cs), finite; p = min(m, n) > 0. u (m×k), s (p), vt (k'×n),
 * row-major; k = k' = p with `vectors` THIN, m and n with FULL; NONE writes s only. work: gejsvScratch(…) bytes behind
 * a readied head.
 */
export function gejsv<T>(
  m: i32, n: i32, vectors: i32, a: usize, rs: i32, cs: i32, u: usize, s: usize, vt: usize, work: usize,
): i32 {
  const long = max<i32>(m, n), p = min<i32>(m, n), square = m == n;
  const k = vectors == FULL ? long : p;
  const ldt = paddedLength<T>(long), ldp = paddedLength<T>(p);

  const t = work + HEAD_BYTES, l = at<T>(t, p * ldt), x = at<T>(l, p * ldp), tau = at<T>(x, p * ldp);
  const tau2 = at<T>(tau, ldp), norms = at<T>(tau2, ldp), slots = at<T>(norms, 2 * ldp);
  const exponents = at<T>(slots, SLOTS), columns = exponents + 4 * p, grades = columns + 4 * p;
  const order = grades + 4 * p, rows = order + 4 * p;
  // behind the i32 arrays, whole vectors again
  const w = (rows + 4 * long + 15) & -16, v = at<T>(w, p * ldp), left = at<T>(v, p * ldp);
  const rest = vectors == NONE ? w : at<T>(left, k * ldt);

  openSlice(work);
  while (cursor(work, PHASE) < END) {
    // M is Aᵀ
    const wide = m < n || cursor(work, WIDE) != 0;
    const i = cursor(work, I), rank = cursor(work, RANK), solves = cursor(work, SOLVES) != 0;
    // a phase either goes row by row, i the row, or does a slice of something
    let done = true, end = 0, operations: f64 = 0;
    switch (cursor(work, PHASE)) {
      case ORIENT:
        end = square ? n : 0;
        operations = 4 * <f64>n;
        if (square) compareSides<T>(work, i, n, a, rs, cs, tau);
        break;
      case COPY:
        end = (p + 3) / 4;
        operations = 64 * <f64>long;
        copyColumns<T>(4 * i, min<i32>(4, p - 4 * i), long, a, wide ? rs : cs, wide ? cs : rs, t, ldt, exponents);
        break;
      case PIVOT:
        done = geqp3Slice<T>(work, I, J, RANK, long, p, t, ldt, exponents, columns, rows, tau, norms);
        break;
      case ROWS_OF_R:
        end = rank;
        operations = 30 * <f64>p;
        if (i < end) rowOfR<T>(i, p, t, ldt, exponents, at<T>(l, i * ldp), grades);
        break;
      case LQ:
        done = geqrfSlice<T>(work, I, J, p, rank, rank, l, ldp, tau2, rest);
        break;
      case COLUMNS_OF_L:
        end = rank;
        operations = 60 * <f64>rank;
        if (i < end) columnOfL<T>(i, rank, l, ldp, grades, at<T>(x, i * ldp), exponents);
        break;
      case INVERT:
        if (vectors == NONE || !holdsGrades<T>(rank, grades)) break;
        done = trtriSlice<T>(work, I, J, rank, l, ldp, w, ldp, rest);
        setCursor(work, SOLVES, 1);
        break;
      case CONDITION:
        if (vectors == NONE) break;
        end = rank;
        operations = 8 * <f64>rank;
        if (i >= end) break;
        if (solves) addCondition<T>(i, at<T>(l, i * ldp), at<T>(w, i * ldp), norms, at<T>(slots, COSINES));
        // should it turn out too large: J = I to begin with
        fill<T>(rank, <T>0, at<T>(v, i * ldp));
        store<T>(at<T>(v, i * ldp + i), <T>1);
        if (i + 1 == end && !(load<T>(at<T>(slots, COSINES)) <= <T>(CONDITION_LIMIT * rank))) {
          setCursor(work, SOLVES, 0);
        }
        break;
      case ROTATE: {
        // xGESVJ's: looser where no vectors are wanted
        const tolerance = <T>(epsilon<T>() * (vectors == NONE ? <T>rank : sqrt<T>(<T>rank)));
        const rotated: usize = vectors == NONE || solves ? 0 : v;
        done = gesvjSlice<T>(work, rank, x, ldp, norms, exponents, order, rotated, tolerance, slots);
        if (!done) break;
        writeValues<T>(p, rank, norms, exponents, order, s);
        if (cursor(work, FAILED) > 0) return cursor(work, FAILED);
        if (vectors == NONE) setCursor(work, PHASE, END - 1);
        break;
      }
      case SCALE_X:
        // the right side of L·J = U·S, with L as CONDITION saw it
        end = solves ? rank : 0;
        operations = 30 * <f64>rank;
        if (i < end) scaleColumn<T>(i, rank, at<T>(x, i * ldp), exponents, grades, at<T>(left, i * ldt));
        break;
      case SOLVE:
        if (solves) done = gemmSlice<T>(work, I, rank, rank, rank, <T>1, left, ldt, 1, w, 1, ldp, <T>0, v, ldp);
        break;
      case RIGHT:
        // right vectors of M: P·Q2·J
        end = p;
        operations = 4 * <f64>p;
        placeVector<T>(i, rank, p, v, ldp, order, left, ldt);
        break;
      case RIGHT_Q:
        done = applyReflectorsSlice<T>(work, I, J, p, p, rank, 0, l, ldp, tau2, left, ldt, rest);
        break;
      case RIGHT_ROWS:
        end = p;
        operations = 4 * <f64>p;
        scatter<T>(p, at<T>(left, i * ldt), columns, wide ? at<T>(w, i * ldp) : at<T>(vt, i * p));
        break;
      case RIGHT_OUT:
        end = wide ? (p + 15) / 16 : 0;
        operations = 64 * <f64>p;
        if (wide) lacpy<T>(min<i32>(16, p - 16 * i), p, at<T>(w, 16 * i), 1, ldp, at<T>(u, 16 * i * p), p);
        break;
      case LEFT:
        // left vectors of M: Wᵀ·Q1·[U 0; 0 I]
        end = k;
        operations = 4 * <f64>long;
        placeVector<T>(i, rank, long, x, ldp, order, left, ldt);
        break;
      case LEFT_Q:
        done = applyReflectorsSlice<T>(work, I, J, k, long, rank, 0, t, ldt, tau, left, ldt, rest);
        break;
      case LEFT_ROWS:
        end = k;
        operations = 4 * <f64>long;
        copy<T>(long, at<T>(left, i * ldt), 1, rest, 1);
        scatter<T>(long, rest, rows, wide ? at<T>(vt, i * long) : at<T>(left, i * ldt));
        break;
      case LEFT_OUT:
        end = wide ? 0 : (long + 15) / 16;
        operations = 64 * <f64>k;
        if (!wide) lacpy<T>(min<i32>(16, long - 16 * i), k, at<T>(left, 16 * i), 1, ldt, at<T>(u, 16 * i * k), k);
        break;
      default:
        break;
    }
    if (!done) return interrupted();
    if (i + 1 < end) {
      setCursor(work, I, i + 1);
    } else {
      setCursor(work, I, 0);
      setCursor(work, PHASE, cursor(work, PHASE) + 1);
    }
    if (spend(operations)) return interrupted();
  }
  return 0;
}

/**
 * Step i of n: how far the largest entries of the rows of A (n×n, strides rs and cs) lie apart in powers of two, and
 * those of its columns, zero ones left out; then WIDE <- whether rows are graded more than columns. largest: n
 * elements.
 */
function compareSides<T>(head: usize, i: i32, n: i32, a: usize, rs: i32, cs: i32, largest: usize): void {
  // along the memory
  const turned = rs == 1, along = turned ? rs : cs, row = at<T>(a, i * (turned ? cs : rs));
  if (i == 0) {
    fill<T>(n, <T>0, largest);
    setCursor(head, LEAST, i32.MAX_VALUE);
    setCursor(head, MOST, i32.MIN_VALUE);
  }
  for (let j = 0; j < n; j++) {
    const place = at<T>(largest, j);
    store<T>(place, max<T>(load<T>(place), abs<T>(load<T>(at<T>(row, j * along)))));
  }
  addExponent<T>(head, amax<T>(n, row, along));
  if (i + 1 < n) return;
  const rows = cursor(head, MOST) - cursor(head, LEAST);
  setCursor(head, LEAST, i32.MAX_VALUE);
  setCursor(head, MOST, i32.MIN_VALUE);
  for (let j = 0; j < n; j++) addExponent<T>(head, load<T>(at<T>(largest, j)));
  const columns = cursor(head, MOST) - cursor(head, LEAST);
  setCursor(head, WIDE, (turned ? rows < columns : rows > columns) ? 1 : 0);
}

function addExponent<T>(head: usize, x: T): void {
  if (x == <T>0) return;
  const e = exponent<T>(x);
  setCursor(head, LEAST, min<i32>(cursor(head, LEAST), e));
  setCursor(head, MOST, max<i32>(cursor(head, MOST), e));
}

/**
 * Columns first… of M (`some` of them, `long` elements) <- A, each over 2^exponents[j], which brings its largest entry
 * into [1, 2).
 */
function copyColumns<T>(
  first: i32, some: i32, long: i32, a: usize, rs: i32, cs: i32, t: usize, ldt: i32, exponents: usize,
): void {
  const to = at<T>(t, first * ldt);
  lacpy<T>(some, long, at<T>(a, first * rs), rs, cs, to, ldt);
  for (let j = 0; j < some; j++) {
    const column = at<T>(to, j * ldt), largest = amax<T>(long, column, 1);
    const e = largest == <T>0 ? 0 : exponent<T>(largest);
    scalPower<T>(long, -e, column);
    store<i32>(exponents + 4 * (first + j), e);
  }
}

/**
 * order (n i32) <- the indices of values_i·2^exponents_i >= 0 from the largest to the smallest, equal ones in their
 * order: a heapsort.
 */
function sortDescending<T>(n: i32, values: usize, exponents: usize, order: usize): void {
  for (let i = 0; i < n; i++) store<i32>(order + 4 * i, i);
  for (let i = (n >> 1) - 1; i >= 0; i--) siftDown<T>(i, n, values, exponents, order);
  for (let end = n - 1; end > 0; end--) {
    const last = load<i32>(order);
    store<i32>(order, load<i32>(order + 4 * end));
    store<i32>(order + 4 * end, last);
    siftDown<T>(0, end, values, exponents, order);
  }
}

function siftDown<T>(i: i32, n: i32, values: usize, exponents: usize, order: usize): void {
  const moved = load<i32>(order + 4 * i);
  for (let child = 2 * i + 1; child < n; child = 2 * i + 1) {
    let below = load<i32>(order + 4 * child);
    if (child + 1 < n && precedes<T>(below, load<i32>(order + 4 * child + 4), values, exponents)) {
      child++;
      below = load<i32>(order + 4 * child);
    }
    if (!precedes<T>(moved, below, values, exponents)) break;
    store<i32>(order + 4 * i, below);
    i = child;
  }
  store<i32>(order + 4 * i, moved);
}

function precedes<T>(i: i32, j: i32, values: usize, exponents: usize): bool {
  const x = load<T>(at<T>(values, i)), y = load<T>(at<T>(values, j));
  const k = load<i32>(exponents + 4 * i), l = load<i32>(exponents + 4 * j);
  return exceeds<T>(x, k, y, l) || (i < j && !exceeds<T>(y, l, x, k));
}

/**
 * row (p elements) <- row i of R over 2^grades[i], the size of its diagonal entry, which with pivoting is nearly the
 * largest of the row; R by columns in t (ldt), column j to be multiplied by 2^exponents[j].
 */
function rowOfR<T>(i: i32, p: i32, t: usize, ldt: i32, exponents: usize, row: usize, grades: usize): void {
  const grade = exponent<T>(load<T>(at<T>(t, i * ldt + i))) + load<i32>(exponents + 4 * i);
  store<i32>(grades + 4 * i, grade);
  fill<T>(i, <T>0, row);
  for (let j = i; j < p; j++) {
    const r = load<T>(at<T>(t, j * ldt + i));
    store<T>(at<T>(row, j), scaleByPowerOfTwo<T>(r, load<i32>(exponents + 4 * j) - grade));
  }
}

/**
 * column (n elements) <- column j of L over 2^exponents[j], near 1; row i of L is row i of l (ldl) times 2^grades[i].
 */
function columnOfL<T>(j: i32, n: i32, l: usize, ldl: i32, grades: usize, column: usize, exponents: usize): void {
  let most = i32.MIN_VALUE;
  for (let i = j; i < n; i++) {
    const entry = load<T>(at<T>(l, i * ldl + j));
    if (entry != <T>0) most = max<i32>(most, exponent<T>(entry) + load<i32>(grades + 4 * i));
  }
  fill<T>(n, <T>0, column);
  if (most == i32.MIN_VALUE) most = 0;
  store<i32>(exponents + 4 * j, most);
  for (let i = j; i < n; i++) {
    const entry = load<T>(at<T>(l, i * ldl + j));
    store<T>(at<T>(column, i), scaleByPowerOfTwo<T>(entry, load<i32>(grades + 4 * i) - most));
  }
}

/** Whether a column of L can hold the entries of its smallest row beside those of its largest to full precision. */
function holdsGrades<T>(n: i32, grades: usize): bool {
  let least = i32.MAX_VALUE, most = i32.MIN_VALUE;
  for (let i = 0; i < n; i++) {
    least = min<i32>(least, load<i32>(grades + 4 * i));
    most = max<i32>(most, load<i32>(grades + 4 * i));
  }
  return n > 0 && <i64>most - <i64>least <= (sizeof<T>() == 4 ? 80 : 900);
}

/**
 * Row i of L (i + 1 elements) and of its inverse: squares[i] <- the length of the first, squared, and *sum <- the sum
 * over rows 0…i of ‖w·D‖², D the lengths of the rows of L.
 */
function addCondition<T>(i: i32, l: usize, w: usize, squares: usize, sum: usize): void {
  store<T>(at<T>(squares, i), dot<T>(i + 1, l, 1, l, 1));
  let total = i == 0 ? <T>0 : load<T>(sum);
  for (let j = 0; j <= i; j++) {
    const entry = load<T>(at<T>(w, j));
    total = <T>(total + entry * entry * load<T>(at<T>(squares, j)));
  }
  store<T>(sum, total);
}

/** y_i <- x_i·2^(exponents_j − grades_i), n elements: column j over the scales of the rows of L. */
function scaleColumn<T>(j: i32, n: i32, x: usize, exponents: usize, grades: usize, y: usize): void {
  const e = load<i32>(exponents + 4 * j);
  for (let i = 0; i < n; i++) {
    store<T>(at<T>(y, i), scaleByPowerOfTwo<T>(load<T>(at<T>(x, i)), e - load<i32>(grades + 4 * i)));
  }
}

/** s (p) <- the lengths of the columns in order, and zeros. */
function writeValues<T>(p: i32, rank: i32, norms: usize, exponents: usize, order: usize, s: usize): void {
  for (let i = 0; i < p; i++) {
    let value = <T>0;
    if (i < rank) {
      const j = load<i32>(order + 4 * i);
      value = scaleByPowerOfTwo<T>(load<T>(at<T>(norms, j)), load<i32>(exponents + 4 * j));
    }
    store<T>(at<T>(s, i), value);
  }
}

/**
 * Row i of y (n elements, ldy) <- row order[i] of x (rank elements, ldx) over its length and zeros, or for i >= rank
 * row i of the identity. A zero row is replaced by a vector that completes the rows above to an orthonormal set.
 */
function placeVector<T>(i: i32, rank: i32, n: i32, x: usize, ldx: i32, order: usize, y: usize, ldy: i32): void {
  const row = at<T>(y, i * ldy);
  if (i >= rank) {
    fill<T>(n, <T>0, row);
    store<T>(at<T>(row, i), <T>1);
    return;
  }
  copy<T>(rank, at<T>(x, load<i32>(order + 4 * i) * ldx), 1, row, 1);
  fill<T>(n - rank, <T>0, at<T>(row, rank));
  const norm = nrm2<T>(rank, row, 1);
  if (norm == <T>0) complete<T>(i, rank, y, ldy);
  else scal<T>(rank, <T>(<T>1 / norm), row, 1);
}

/**
 * Row i of x (n elements, ldx), zero, <- the unit vector that is the furthest from all rows above, less its parts along
 * them.
 */
function complete<T>(i: i32, n: i32, x: usize, ldx: i32): void {
  const row = at<T>(x, i * ldx);
  for (let j = 0; j < i; j++) {
    for (let c = 0; c < n; c++) addSquare<T>(at<T>(row, c), load<T>(at<T>(x, j * ldx + c)));
  }
  let furthest = 0;
  for (let c = 1; c < n; c++) if (load<T>(at<T>(row, c)) < load<T>(at<T>(row, furthest))) furthest = c;
  fill<T>(n, <T>0, row);
  store<T>(at<T>(row, furthest), <T>1);
  for (let pass = 0; pass < 3; pass++) {
    for (let j = 0; j < i; j++) {
      const other = at<T>(x, j * ldx);
      axpy<T>(n, <T>-dot<T>(n, row, 1, other, 1), other, 1, row, 1);
    }
    scal<T>(n, <T>(<T>1 / nrm2<T>(n, row, 1)), row, 1);
  }
}

/** y_places[i] <- x_i, n elements; places in i32. */
function scatter<T>(n: i32, x: usize, places: usize, y: usize): void {
  for (let i = 0; i < n; i++) store<T>(at<T>(y, load<i32>(places + 4 * i)), load<T>(at<T>(x, i)));
}

// stages of a sweep
const MEASURE = 0, NEIGHBOURS = 1;

/**
 * A slice of the rotations; true when the columns of X (n×n by columns, ldx; column j times 2^exponents[j]) are
 * orthogonal, no two with a cosine above `tolerance`, or after SWEEPS sweeps: then the head's FAILED <- how many pairs
 * the last one rotated, else 0. v (n×n, ldx, or 0): the same rotations on its rows. norms (n) and exponents (n i32) <-
 * the lengths of the columns, order (n i32) <- the columns by length, descending (de Rijk 1989). slots: SLOTS elements.
 * xGESVJ.
 */
function gesvjSlice<T>(
  head: usize, n: i32, x: usize, ldx: i32, norms: usize, exponents: usize, order: usize, v: usize, tolerance: T,
  slots: usize,
): bool {
  for (;;) {
    const stage = cursor(head, STAGE);
    if (stage == MEASURE) {
      for (let j = cursor(head, I); j < n; j++) {
        measureColumn<T>(n, at<T>(x, j * ldx), at<T>(norms, j), exponents + 4 * j);
        setCursor(head, I, j + 1);
        if (spend(2 * <f64>n)) return false;
      }
      setCursor(head, I, 0);
      sortDescending<T>(n, norms, exponents, order);
      if (cursor(head, SWEEP) == SWEEPS) return true;
      fill<T>(SLOTS - COSINES, <T>0, at<T>(slots, COSINES));
    } else {
      // First the pairs within tiles of neighbours in the order, whose lengths are alike: this saves a tenth of all
      // rotations (xGESVJ looks ahead by one tile for the same reason). Then all pairs.
      const neighbours = stage == NEIGHBOURS;
      if (!rotateTiles<T>(head, neighbours, n, x, ldx, norms, exponents, order, v, tolerance, slots)) return false;
      if (!neighbours) endSweep<T>(head, tolerance, slots);
    }
    setCursor(head, STAGE, (stage + 1) % 3);
  }
  return true;
}

/** Counts a sweep, the last one if it rotated nothing or if the next one would not. */
function endSweep<T>(head: usize, tolerance: T, slots: usize): void {
  // A pair that was made orthogonal is spoiled by later rotations, of its columns with a third one, by the sum of
  // cosine times shear over all third ones: at most by the product of these.
  const cosines = sqrt<T>(load<T>(at<T>(slots, COSINES))), shears = sqrt<T>(load<T>(at<T>(slots, SHEARS)));
  const rotations = <i32>load<T>(at<T>(slots, ROTATIONS));
  const converged = rotations == 0 || <T>(cosines * shears) <= tolerance;
  setCursor(head, FAILED, converged ? 0 : rotations);
  setCursor(head, SWEEP, converged ? SWEEPS : cursor(head, SWEEP) + 1);
}

/** Norm anew, and an exponent such that it stays near 1. */
function measureColumn<T>(n: i32, x: usize, norm: usize, exponents: usize): void {
  let length = nrm2<T>(n, x, 1);
  const e = exponent<T>(length);
  if (length != <T>0 && (e > 12 || e < -12)) {
    scalPower<T>(n, -e, x);
    length = scaleByPowerOfTwo<T>(length, -e);
    store<i32>(exponents, load<i32>(exponents) + e);
  }
  store<T>(norm, length);
}

/**
 * A slice of a pass over all tiles of columns; true when it is complete: the pairs within each tile (`neighbours`), or
 * those of each column of a tile with every later one, tile after tile. Then a tile first gets the longest of the
 * columns that are left, as each single column would by de Rijk's pivoting.
 *
 * The pairs (i, j), i < j, of a tile's columns i go row by row. Pairs with the same i + j have no column in common, and
 * nothing that precedes one of them in that order follows another: they are rotated together, up to TILE at a time,
 * with the same result. Their columns stay in the first-level cache from one such step to the next.
 */
function rotateTiles<T>(
  head: usize, neighbours: bool, n: i32, x: usize, ldx: i32, norms: usize, exponents: usize, order: usize, v: usize,
  tolerance: T, slots: usize,
): bool {
  for (let first = cursor(head, TILE_AT); first < n; first += TILE) {
    const last = min<i32>(first + TILE, n) - 1, end = neighbours ? last + 1 : n;
    let sum = cursor(head, SUM);
    if (sum == 0) {
      sum = 2 * first + 1;
      if (!neighbours) selectLongest<T>(first, last + 1, n, norms, exponents, order);
    }
    while (sum < last + end) {
      const from = max<i32>(first, sum - end + 1), to = min<i32>(last, (sum - 1) >> 1);
      rotatePairs<T>(from, to, sum, n, x, ldx, norms, exponents, order, v, tolerance, slots);
      sum++;
      setCursor(head, SUM, sum);
      if (spend((v == 0 ? 10 : 18) * <f64>(to - from + 1) * <f64>n)) return false;
    }
    setCursor(head, SUM, 0);
    setCursor(head, TILE_AT, first + TILE);
  }
  setCursor(head, TILE_AT, 0);
  return true;
}

/** order[first…last] <- the longest of the columns order[first…n], descending. */
function selectLongest<T>(first: i32, last: i32, n: i32, norms: usize, exponents: usize, order: usize): void {
  for (let i = first; i < last; i++) {
    const place = order + 4 * i;
    let longest = place;
    for (let other = place + 4; other < order + 4 * n; other += 4) {
      const j = load<i32>(other), k = load<i32>(longest), x = load<T>(at<T>(norms, j)), y = load<T>(at<T>(norms, k));
      if (exceeds<T>(x, load<i32>(exponents + 4 * j), y, load<i32>(exponents + 4 * k))) longest = other;
    }
    const column = load<i32>(place);
    store<i32>(place, load<i32>(longest));
    store<i32>(longest, column);
  }
}

/** The pairs (i, sum − i) for i = from…to. */
function rotatePairs<T>(
  from: i32, to: i32, sum: i32, n: i32, x: usize, ldx: i32, norms: usize, exponents: usize, order: usize, v: usize,
  tolerance: T, slots: usize,
): void {
  let count = 0;
  for (let i = from; i <= to; i++) {
    const p = load<i32>(order + 4 * i), q = load<i32>(order + 4 * (sum - i));
    count += selectPair<T>(p, q, n, x, ldx, norms, exponents, tolerance, count, slots);
  }
  if (count == 0) return;
  computeRotations<T>(count, slots);
  for (let i = 0; i < count; i++) applyRotation<T>(i, n, x, ldx, norms, exponents, v, slots);
}

/** Writes the pair (p, q) into slot `slot` and returns 1 if its cosine is above the tolerance, else 0. */
// @ts-ignore: decorator
@inline function selectPair<T>(
  p: i32, q: i32, n: i32, x: usize, ldx: i32, norms: usize, exponents: usize, tolerance: T, slot: i32, slots: usize,
): i32 {
  const np = load<T>(at<T>(norms, p)), nq = load<T>(at<T>(norms, q));
  const product = dot<T>(n, at<T>(x, p * ldx), 1, at<T>(x, q * ldx), 1);
  if (!(abs<T>(product) > <T>(tolerance * np * nq))) return 0;
  const limit = sizeof<T>() == 4 ? 90 : 990;
  let between = load<i32>(exponents + 4 * q) - load<i32>(exponents + 4 * p);
  between = max<i32>(-limit, min<i32>(limit, between));
  const swapped = <T>(nq * powerOfTwo<T>(between)) > np;
  if (swapped) between = -between;
  const place = at<T>(slots, slot);
  store<i32>(at<T>(place, P), swapped ? q : p);
  store<i32>(at<T>(place, Q), swapped ? p : q);
  store<T>(at<T>(place, NORM_P), swapped ? nq : np);
  store<T>(at<T>(place, NORM_Q), swapped ? np : nq);
  store<T>(at<T>(place, RATIO), powerOfTwo<T>(between));
  store<T>(at<T>(place, PRODUCT), product);
  return 1;
}

/**
 * The rotations of the first `count` slots. For columns p, q of lengths 1 >= r with the cosine z between them, the
 * smaller root t of t² + t·(1 − r²)/(r·z) = 1 is the tangent: p + t·q and q − t·p are orthogonal, of lengths √(1 +
 * t·r·z) and √(r² − t·r·z). t is r·h with the shear h = 2z / (a + √(a² + 4r²z²)), a = 1 − r², which no size of r
 * spoils.
 */
function computeRotations<T>(count: i32, slots: usize): void {
  const one = v128.splat<T>(<T>1), zero = v128.splat<T>(<T>0);
  for (let i = 0; i < count; i += lanes<T>()) {
    const place = at<T>(slots, i);
    const np = v128.load(at<T>(place, NORM_P)), nq = v128.load(at<T>(place, NORM_Q));
    const w = v128.load(at<T>(place, RATIO));
    const z = v128.div<T>(v128.load(at<T>(place, PRODUCT)), v128.mul<T>(np, nq));
    const stored = v128.div<T>(nq, np), r = v128.mul<T>(stored, w);
    const a = v128.max<T>(zero, v128.mul<T>(v128.sub<T>(one, r), v128.add<T>(one, r)));
    const twice = v128.add<T>(z, z), b = v128.mul<T>(twice, r);
    const root = v128.sqrt<T>(muladd<T>(a, a, v128.mul<T>(b, b)));
    const h = v128.div<T>(twice, v128.add<T>(a, root)), t = v128.mul<T>(r, h);
    // 1 − c is t²/(y + y²), s = t/y, y = √(1 + t²): unlike c itself to full relative accuracy
    const tt = v128.mul<T>(t, t), yy = v128.add<T>(one, tt), y = v128.sqrt<T>(yy);
    const sine = v128.div<T>(t, y);
    v128.store(at<T>(place, VERSINE), v128.div<T>(tt, v128.add<T>(yy, y)));
    v128.store(at<T>(place, INTO_P), v128.mul<T>(sine, w));
    v128.store(at<T>(place, INTO_Q), v128.mul<T>(v128.div<T>(h, y), stored));
    v128.store(at<T>(place, SINE), sine);
    v128.store(at<T>(place, COSINE), v128.abs<T>(z));
    v128.store(at<T>(place, SHEAR), v128.abs<T>(h));
    const longer = muladd<T>(v128.mul<T>(t, r), z, one), shorter = v128.sub<T>(one, v128.mul<T>(h, z));
    v128.store(at<T>(place, NORM_P), v128.mul<T>(np, v128.sqrt<T>(longer)));
    v128.store(at<T>(place, NORM_Q), v128.mul<T>(nq, v128.sqrt<T>(v128.max<T>(zero, shorter))));
  }
}

/** Rotates the pair of a slot, and its rows of v. */
// @ts-ignore: decorator
@inline function applyRotation<T>(
  slot: i32, n: i32, x: usize, ldx: i32, norms: usize, exponents: usize, v: usize, slots: usize,
): void {
  const place = at<T>(slots, slot);
  const p = load<i32>(at<T>(place, P)), q = load<i32>(at<T>(place, Q));
  const e = load<T>(at<T>(place, VERSINE)), sine = load<T>(at<T>(place, SINE));
  const xp = at<T>(x, p * ldx), xq = at<T>(x, q * ldx);
  const intoQ = load<T>(at<T>(place, INTO_Q));
  if (abs<T>(sine) < <T>(epsilon<T>() / 4)) {
    // p would not change by a bit
    axpy<T>(n, <T>-intoQ, xp, 1, xq, 1);
  } else {
    rotate<T>(n, xp, xq, e, load<T>(at<T>(place, INTO_P)), intoQ);
    if (v != 0) rotate<T>(n, at<T>(v, p * ldx), at<T>(v, q * ldx), e, sine, sine);
  }
  const before = load<T>(at<T>(norms, q)), after = load<T>(at<T>(place, NORM_Q));
  store<T>(at<T>(norms, p), load<T>(at<T>(place, NORM_P)));
  store<T>(at<T>(norms, q), after);
  // cancellation: the length is not known any more (xGESVJ's limit)
  if (after * after <= <T>(sqrt<T>(epsilon<T>()) * before * before)) {
    measureColumn<T>(n, xq, at<T>(norms, q), exponents + 4 * q);
  }
  addSquare<T>(at<T>(slots, COSINES), load<T>(at<T>(place, COSINE)));
  addSquare<T>(at<T>(slots, SHEARS), load<T>(at<T>(place, SHEAR)));
  store<T>(at<T>(slots, ROTATIONS), <T>(load<T>(at<T>(slots, ROTATIONS)) + <T>1));
}

// @ts-ignore: decorator
@inline function addSquare<T>(sum: usize, x: T): void {
  store<T>(sum, <T>(load<T>(sum) + x * x));
}

/**
 * (x, y) <- (x + (s·y − e·x), y − (d·x + e·y)) with e = 1 − c: a rotation whose error is relative to what it changes,
 * so that many small ones do not add up (Rutishauser 1966).
 */
function rotate<T>(n: i32, x: usize, y: usize, e: T, s: T, d: T): void {
  const ev = v128.splat<T>(e), sv = v128.splat<T>(s), dv = v128.splat<T>(d);
  let i = 0;
  for (; i + 2 * lanes<T>() <= n; i += 2 * lanes<T>()) {
    const a0 = v128.load(x), a1 = v128.load(x, 16), b0 = v128.load(y), b1 = v128.load(y, 16);
    v128.store(x, v128.add<T>(a0, v128.sub<T>(v128.mul<T>(sv, b0), v128.mul<T>(ev, a0))));
    v128.store(x, v128.add<T>(a1, v128.sub<T>(v128.mul<T>(sv, b1), v128.mul<T>(ev, a1))), 16);
    v128.store(y, v128.sub<T>(b0, muladd<T>(dv, a0, v128.mul<T>(ev, b0))));
    v128.store(y, v128.sub<T>(b1, muladd<T>(dv, a1, v128.mul<T>(ev, b1))), 16);
    x += 32;
    y += 32;
  }
  for (; i < n; i++) {
    const a = load<T>(x), b = load<T>(y);
    store<T>(x, <T>(a + (s * b - e * a)));
    store<T>(y, <T>(b - (d * a + e * b)));
    x += sizeof<T>();
    y += sizeof<T>();
  }
}
