// Alternating least squares for a model of ratings, r ≈ b_u + c_i + p_u·q_i over the ratings that are there:
//
//   min Σ (r − b_u − c_i − p_u·q_i)² + λ·(Σ_u n_u·‖p_u‖² + Σ_i n_i·‖q_i‖²) + δ·(Σ_u b_u² + Σ_i c_i²)
//
// with n the number of ratings of a user or an item (Zhou et al. 2008, "ALS-WR"). With the other side fixed, each row of this
// one is a ridge regression by itself: k factors and the bias are solved for together, so that no step raises the sum.
//
// Users are the rows of a CSR structure, items those of its transpose: the same routine serves both. Factors are held in
// rows of kp elements, whole tiles of the product (paddedFactors); columns from k on are zero and stay so.

import { MR, NR } from "../blas/blocking";
import { potrf } from "../blas/cholesky";
import { tileRow } from "../blas/gemm";
import { scal } from "../blas/level1";
import { fill } from "../blas/matrix";
import { trsv } from "../blas/triangular";
import { epsilon, powerOfTwo } from "../machine";
import { gaussian } from "../random/distributions";
import { at, get, lanes, muladd, set } from "../simd";
import { HEAD_BYTES, begin, cursor, interrupted, openSlice, setCursor, spend } from "../slice";

/** Ratings whose factors are gathered at a time: both packed copies stay in the first-level cache. */
// @ts-ignore: decorator
@inline function blockLength(kp: i32): i32 {
  return max<i32>(16, min<i32>(128, 4096 / max<i32>(kp, 1)));
}

/** Length of a row of factors in working memory: k in whole tiles. */
export function paddedFactors<T>(k: i32): i32 {
  return (k + NR<T>() - 1) & -NR<T>();
}

/** Columns of a system: factors, bias, right-hand side, whole vectors. */
// @ts-ignore: decorator
@inline function systemWidth<T>(kp: i32): i32 {
  return kp + max<i32>(2, lanes<T>());
}

/**
 * Start values of rows first…last of q (rows×kp): Gaussian numbers of variance 1/k, so that rows have lengths around 1. A row has
 * the same numbers whatever else is drawn.
 */
export function alsStart<T>(first: i32, last: i32, k: i32, kp: i32, seed: u32, stream: u32, q: usize): void {
  const deviation = <T>(<T>1 / sqrt<T>(<T>k));
  for (let i = first; i < last; i++) {
    const row = at<T>(q, i * kp);
    gaussian<T>(seed, stream, <f64>i * <f64>k, k, row);
    scal<T>(k, deviation, row, 1);
    fill<T>(kp - k, <T>0, at<T>(row, k));
  }
}

/** Bytes of working memory of alsRows. */
export function alsScratch<T>(kp: i32): f64 {
  const width = <f64>systemWidth<T>(kp), block = <f64>blockLength(kp);
  const elements = <f64>(kp + 1) * width + 3 * width + block + 2 * block * <f64>kp;
  return <f64>HEAD_BYTES + elements * <f64>sizeof<T>() + 4 * block + 64;
}

/** Readies alsRows for a range of rows. */
export function alsBegin(work: usize): void {
  begin(work);
}

// cursors of the head: the row, and how many of its ratings are summed up already
const ROW = 0, AT = 1;

/**
 * A slice of one half step: for each of the rows first…last the factors and the bias that minimise the sum while the other
 * side stands; MORE or STOPPED (slice.ts) until all are done, then how many systems were not positive definite.
 * indptr (rows + 1), indices (nnz): i32; values (nnz): ratings without their mean; other (columns×kp), otherBias (columns);
 * own (rows×kp) and ownBias (rows) are written. lambda > 0, damping >= 0; without `biased` biases are 0. Rows without
 * ratings get zeros. work: alsScratch(kp) bytes, readied by alsBegin.
 */
export function alsRows<T>(
  first: i32, last: i32, kp: i32, indptr: usize, indices: usize, values: usize, other: usize, otherBias: usize, own: usize, ownBias: usize, lambda: f64, damping: f64, biased: bool, work: usize,
): i32 {
  const width = systemWidth<T>(kp), block = blockLength(kp);
  const system = work + HEAD_BYTES, h = at<T>(system, (kp + 1) * width), s = at<T>(h, width), x = at<T>(s, width);
  const residuals = at<T>(x, width), left = at<T>(residuals, block), right = at<T>(left, block * kp);
  const rows = at<T>(right, block * kp);
  // operations of a system, and of a rating beside what the tiles count
  const solving = <f64>(kp + 1) * <f64>(kp + 1) * (<f64>(kp + 1) / 3 + 2), rating = <f64>(kp + 4) * <f64>(kp + 4);
  openSlice(work);
  let row = first + cursor(work, ROW);
  while (row < last) {
    const start = load<i32>(at<i32>(indptr, row)), end = load<i32>(at<i32>(indptr, row), 4);
    let place = start + cursor(work, AT);
    let over = false;
    while (place < end) {
      const count = min<i32>(block, end - place);
      if (place == start) fill<T>(2 * width, <T>0, h);
      set<T>(h, kp, <T>(get<T>(h, kp) + locate<T>(
        count, kp, at<i32>(indices, place), at<T>(values, place), other, otherBias, rows, residuals,
      )));
      gather<T>(count, kp, rows, residuals, left, right, h, s);
      accumulate<T>(count, kp, left, right, place == start ? <T>0 : <T>1, system, width);
      place += count;
      setCursor(work, AT, place - start);
      over = spend(<f64>count * rating);
      if (over && place < end) return interrupted();
    }
    const target = at<T>(own, row * kp), bias = at<T>(ownBias, row);
    if (start == end) {
      fill<T>(kp, <T>0, target);
      store<T>(bias, <T>0);
    } else if (!solve<T>(end - start, kp, system, width, h, s, x, lambda, damping, biased)) {
      return row + 1;
    } else {
      memory.copy(target, x, at<T>(0, kp));
      store<T>(bias, biased ? get<T>(x, kp) : <T>0);
    }
    row++;
    setCursor(work, ROW, row - first);
    setCursor(work, AT, 0);
    if ((spend(solving) || over) && row < last) return interrupted();
  }
  return 0;
}

/** Addresses of the factors of `count` ratings, and the ratings without the other side's bias; returns the latters' sum. */
function locate<T>(
  count: i32, kp: i32, indices: usize, values: usize, other: usize, otherBias: usize, rows: usize, residuals: usize,
): T {
  const length = at<T>(0, kp);
  let sum = <T>0;
  for (let p = 0; p < count; p++) {
    const index = <usize>load<u32>(at<i32>(indices, p));
    const residual = <T>(get<T>(values, p) - load<T>(at<T>(otherBias, index)));
    store<u32>(at<i32>(rows, p), <u32>(other + index * length));
    set<T>(residuals, p, residual);
    sum = <T>(sum + residual);
  }
  return sum;
}

/**
 * Packs the factors of `count` ratings into panels for the product's tile, left (kp/MR panels of count×MR) and right
 * (kp/NR of count×NR; where both are as wide only left), and adds up h += Σ residual·q and s += Σ q on the way.
 */
function gather<T>(count: i32, kp: i32, rows: usize, residuals: usize, left: usize, right: usize, h: usize, s: usize): void {
  for (let j = 0; j < kp; j += NR<T>()) {
    gatherPanel<T>(count, at<T>(0, j), rows, residuals, at<T>(left, j * count), at<T>(right, j * count), at<T>(h, j), at<T>(s, j));
  }
}

/** One panel of gather: NR columns, `offset` bytes behind the start of the rows. */
function gatherPanel<T>(
  count: i32, offset: usize, rows: usize, residuals: usize, left: usize, right: usize, h: usize, s: usize,
): void {
  let h0 = v128.load(h), h1 = v128.load(h, 16), s0 = v128.load(s), s1 = v128.load(s, 16);
  const second = left + (<usize>count << 4);
  for (let p = 0; p < count; p++) {
    const row = <usize>load<u32>(at<i32>(rows, p)) + offset;
    const r = v128.splat<T>(get<T>(residuals, p));
    const q0 = v128.load(row), q1 = v128.load(row, 16);
    h0 = muladd<T>(r, q0, h0);
    h1 = muladd<T>(r, q1, h1);
    s0 = v128.add<T>(s0, q0);
    s1 = v128.add<T>(s1, q1);
    const wide = <usize>p << 5, narrow = <usize>p << 4;
    if (sizeof<T>() == 4) {
      v128.store(left + narrow, q0);
      v128.store(second + narrow, q1);
      v128.store(right + wide, q0);
      v128.store(right + wide, q1, 16);
    } else {
      v128.store(left + wide, q0);
      v128.store(left + wide, q1, 16);
    }
  }
  v128.store(h, h0);
  v128.store(h, h1, 16);
  v128.store(s, s0);
  v128.store(s, s1, 16);
}

/** C <- Σ q·qᵀ + beta·C over a block of ratings: the tiles on and above the diagonal. c: kp×kp, rows ldc apart. */
function accumulate<T>(count: i32, kp: i32, left: usize, right: usize, beta: T, c: usize, ldc: i32): void {
  const panels = sizeof<T>() == 4 ? right : left;
  for (let i = 0; i < kp; i += MR) {
    // columns from the panel on that holds the diagonal
    const j = i & -NR<T>();
    tileRow<T>(MR, kp - j, count, <T>1, at<T>(left, i * count), at<T>(panels, j * count), beta, at<T>(c, i * ldc + j), ldc);
  }
}

/**
 * Solves for the factors and the bias of a row of n ratings, x (kp + 1); false if the system is not positive definite, which
 * rounding cannot make it: the diagonal has at least a few units of the trace's last place added.
 * system: the sums of q·qᵀ; h: of residual·q, and behind it the sum of the residuals; s: of q.
 */
function solve<T>(
  n: i32, kp: i32, system: usize, width: i32, h: usize, s: usize, x: usize, lambda: f64, damping: f64, biased: bool,
): bool {
  let trace = <f64>n;
  for (let i = 0; i < kp; i++) trace += <f64>get<T>(system, i * (width + 1));
  const least = 4 * <f64>(kp + 2) * <f64>epsilon<T>() * trace;
  // far from these bounds the factors are zero, or as without a ridge
  const weighted = min<f64>(max<f64>(lambda, <f64>powerOfTwo<T>(-100)), <f64>powerOfTwo<T>(100)) * <f64>n;
  const ridge = <T>max<f64>(weighted, least);
  for (let i = 0; i < kp; i++) {
    const row = at<T>(system, i * width);
    set<T>(row, i, <T>(get<T>(row, i) + ridge));
    set<T>(row, kp, biased ? get<T>(s, i) : <T>0);
    set<T>(row, kp + 1, get<T>(h, i));
    for (let j = kp + 2; j < width; j++) set<T>(row, j, <T>0);
  }
  const row = at<T>(system, kp * width);
  set<T>(row, kp, <T>(<f64>n + max<f64>(min<f64>(damping, <f64>powerOfTwo<T>(100)), least)));
  set<T>(row, kp + 1, biased ? get<T>(h, kp) : <T>0);
  for (let j = kp + 2; j < width; j++) set<T>(row, j, <T>0);
  if (potrf<T>(kp + 1, width, system, width) != 0) return false;
  for (let i = 0; i <= kp; i++) set<T>(x, i, get<T>(system, i * width + kp + 1));
  trsv<T>(kp + 1, system, width, x);
  return true;
}
