// Singular values and vectors of an upper bidiagonal matrix by divide and conquer: Gu and Eisenstat (1995), in the
// arrangement of LAPACK's xBDSDC and xLASD0…8. The matrix is torn at a row; the halves are solved; the whole is then an
// "arrow", whose values solve a secular equation and whose vectors, once its first row has been recomputed from them, are
// orthogonal to working precision. The old vectors times the arrow's are products of the one GEMM.
//
// A node is the n×(n + sqre) block at row and column `low`. Left vectors are rows of ut, right vectors rows of vt; those of
// a node lie in its rows and columns only. A node's values stand in d[low…], its vectors in the same rows, in the order
// that `order` (positions relative to low, ascending values) tells; with sqre = 1 row low + n of vt is its null vector.

import { copy, nrm2, rot, scal } from "../blas/level1";
import { ger } from "../blas/level2";
import { gemm } from "../blas/gemm";
import { fill, setIdentity } from "../blas/matrix";
import { epsilon, exponent, powerOfTwo } from "../machine";
import { at, lanes } from "../simd";
import { bdsqr, bdsqrWork } from "./bidiagonal_qr";
import { hypotenuse } from "./householder";
import { lartg, rotationC, rotationR, rotationS } from "./rotation";
import { origin, solveSecular } from "./secular";
import { lasr } from "./sweep";

/** Nodes up to this size are solved by QR iteration. */
const LEAF: i32 = 24;

/** Working memory of bdsdc in elements of T, then in 32-bit integers behind them. */
export function bdsdcWork(n: i32): f64 {
  return 2 * <f64>n * <f64>n + 12 * <f64>n + <f64>bdsqrWork(LEAF + 1) + 64;
}

/** Bytes of working memory of bdsdc. */
export function bdsdcScratch<T>(n: i32): f64 {
  return bdsdcWork(n) * <f64>sizeof<T>() + 8 * 4 * <f64>n;
}

// @ts-ignore: decorator
@inline function get<T>(x: usize, i: i32): T {
  return load<T>(at<T>(x, i));
}

// @ts-ignore: decorator
@inline function set<T>(x: usize, i: i32, value: T): void {
  store<T>(at<T>(x, i), value);
}

// @ts-ignore: decorator
@inline function index(x: usize, i: i32): i32 {
  return load<i32>(x + (<usize>i << 2));
}

// @ts-ignore: decorator
@inline function setIndex(x: usize, i: i32, value: i32): void {
  store<i32>(x + (<usize>i << 2), value);
}

/** What a call of bdsdc works on: one set an instance. Addresses; leading dimensions in elements. */
let D: usize = 0, E: usize = 0, UT: usize = 0, VT: usize = 0, ORDER: usize = 0, WORK: usize = 0, INTS: usize = 0;
let LDU: i32 = 0, LDV: i32 = 0, SIZE: i32 = 0;

/**
 * B = U·S·Vᵀ for upper bidiagonal B with diagonal d (n) and superdiagonal e (n − 1). d <- values; ut, vt (n×n) <- vectors
 * by rows; order (n integers) <- where the values stand, ascending. Returns 0, or how many values failed.
 * work: bdsdcScratch(n) bytes.
 */
export function bdsdc<T>(
  n: i32, d: usize, e: usize, ut: usize, ldu: i32, vt: usize, ldv: i32, order: usize, work: usize,
): i32 {
  D = d;
  E = e;
  UT = ut;
  LDU = ldu;
  VT = vt;
  LDV = ldv;
  ORDER = order;
  WORK = work;
  SIZE = n;
  INTS = work + <usize>(bdsdcWork(n) * <f64>sizeof<T>());
  setIdentity<T>(n, n, ut, ldu);
  setIdentity<T>(n, n, vt, ldv);
  return solveNode<T>(0, n, 0);
}

function solveNode<T>(low: i32, n: i32, sqre: i32): i32 {
  if (n <= LEAF) return solveLeaf<T>(low, n, sqre);
  const nl = n / 2, nr = n - nl - 1;
  const failed = solveNode<T>(low, nl, 1) + solveNode<T>(low + nl + 1, nr, sqre);
  return failed > 0 ? failed : merge<T>(low, nl, nr, sqre);
}

// @ts-ignore: decorator
@inline function uRow<T>(row: i32, column: i32): usize {
  return at<T>(UT, row * LDU + column);
}

// @ts-ignore: decorator
@inline function vRow<T>(row: i32, column: i32): usize {
  return at<T>(VT, row * LDV + column);
}

/** xLASDQ: an n×(n + 1) block is first turned into a square one by a sweep from the right and one from the left. */
function solveLeaf<T>(low: i32, n: i32, sqre: i32): i32 {
  const d = at<T>(D, low), e = at<T>(E, low);
  if (sqre == 1) {
    turnBidiagonal<T>(n, true, d, e, vRow<T>(low, low), LDV, n + 1);
    turnBidiagonal<T>(n, false, d, e, uRow<T>(low, low), LDU, n);
  }
  const failed = bdsqr<T>(n, n + sqre, n, d, e, vRow<T>(low, low), LDV, uRow<T>(low, low), LDU, WORK);
  for (let i = 0; i < n; i++) setIndex(ORDER, low + i, n - 1 - i);
  return failed;
}

/**
 * Rotates upper bidiagonal to lower by columns, or lower to upper by rows, and the vectors with it. With `wide` the last
 * column, which is in e[n − 1], goes too.
 */
function turnBidiagonal<T>(n: i32, wide: bool, d: usize, e: usize, x: usize, ldx: i32, columns: i32): void {
  const c = WORK, s = at<T>(WORK, n);
  const count = wide ? n : n - 1;
  for (let i = 0; i < count; i++) {
    lartg<T>(get<T>(d, i), get<T>(e, i));
    set<T>(d, i, <T>rotationR);
    set<T>(c, i, <T>rotationC);
    set<T>(s, i, <T>rotationS);
    if (i + 1 < n) {
      set<T>(e, i, <T>(<T>rotationS * get<T>(d, i + 1)));
      set<T>(d, i + 1, <T>(<T>rotationC * get<T>(d, i + 1)));
    } else {
      set<T>(e, i, <T>0);
    }
  }
  lasr<T>(true, count, columns, c, s, x, ldx);
}

/** Kinds of rows: nonzero in the left half only, in both, in the right only. */
const LEFT = 0, BOTH = 1, RIGHT = 2;

/** Joins the halves low…low + nl − 1 and low + nl + 1…; row low + nl is the one that tore them. */
function merge<T>(low: i32, nl: i32, nr: i32, sqre: i32): i32 {
  const n = nl + nr + 1, columns = n + sqre, middle = low + nl;
  const d = at<T>(D, low);
  let alpha = get<T>(D, middle), beta = get<T>(E, middle);

  // working memory: vectors of n elements, then two matrices
  const z = WORK, ds = at<T>(z, n + 1), z2 = at<T>(ds, n), mu = at<T>(z2, n), sigma = at<T>(mu, n);
  const zs = at<T>(sigma, n), poles = at<T>(zs, n), dg = at<T>(poles, n), zg = at<T>(dg, n), dNew = at<T>(zg, n);
  const matrices = at<T>(WORK, 12 * SIZE + bdsqrWork(LEAF + 1) + 64);
  const old = matrices, q = at<T>(matrices, SIZE * SIZE);
  const sorted = INTS, rows = sorted + 4 * <usize>SIZE, deflated = rows + 4 * <usize>SIZE;
  const kind = deflated + 4 * <usize>SIZE, place = kind + 4 * <usize>SIZE, from = place + 4 * <usize>SIZE;
  const gathered = from + 4 * <usize>SIZE;

  set<T>(d, nl, <T>0);
  let largest = max<T>(abs<T>(alpha), abs<T>(beta));
  for (let i = 0; i < n; i++) largest = max<T>(largest, get<T>(d, i));
  if (largest == <T>0) {
    for (let i = 0; i < n; i++) setIndex(ORDER, low + i, i);
    return 0;
  }
  // by a power of two, so that nothing that matters underflows when it is squared
  const scale = exponent<T>(largest);
  const down = powerOfTwo<T>(-scale);
  alpha = <T>(alpha * down);
  beta = <T>(beta * down);
  scal<T>(n, down, d, 1);
  largest = <T>(largest * down);
  const tol = <T>(<T>64 * epsilon<T>() * largest);

  // the torn row in the basis of the halves' right vectors
  for (let i = 0; i < columns; i++) {
    const inLeft = i <= nl;
    const entry = load<T>(vRow<T>(low + i, inLeft ? middle : middle + 1));
    set<T>(z, i, <T>((inLeft ? alpha : beta) * entry));
    setIndex(kind, i, inLeft ? LEFT : RIGHT);
  }
  let z1 = get<T>(z, nl);
  if (sqre == 1) {
    // of the two null vectors one keeps all of z
    const zm = get<T>(z, n), r = hypotenuse<T>(z1, zm);
    if (r > tol) {
      rot<T>(columns, vRow<T>(middle, low), 1, vRow<T>(low + n, low), 1, <T>(z1 / r), <T>(zm / r));
      setIndex(kind, nl, BOTH);
      z1 = r;
    }
  }
  if (abs<T>(z1) <= tol) z1 = tol;

  mergeOrders<T>(low, nl, nr, d, sorted);
  const k = deflate<T>(low, n, nl, columns, d, z, z1, tol, sorted, kind, rows, deflated, ds, zs);

  // new values
  for (let i = 0; i < k; i++) {
    const value = get<T>(zs, i);
    set<T>(z2, i, <T>(value * value));
  }
  for (let i = 0; i < k; i++) {
    const m = solveSecular<T>(i, k, ds, z2, poles);
    if (m != m) return 1;
    set<T>(mu, i, m);
    setIndex(from, i, origin);
    set<T>(sigma, i, <T>(get<T>(ds, origin) + m));
  }
  recomputeZ<T>(k, ds, mu, from, sigma, zs, z2);

  // rows by kind: the pole at zero, then left, both, right
  let count = 1;
  setIndex(gathered, 0, 0);
  let lefts = 0, boths = 0;
  for (let type = LEFT; type <= RIGHT; type++) {
    for (let i = 1; i < k; i++) {
      if (index(kind, index(rows, i)) != type) continue;
      setIndex(gathered, count++, i);
      if (type == LEFT) lefts++;
      else if (type == BOTH) boths++;
    }
  }
  for (let i = 0; i < k; i++) {
    set<T>(dg, i, get<T>(ds, index(gathered, i)));
    set<T>(zg, i, get<T>(zs, index(gathered, i)));
  }

  // left vectors
  gatherRows<T>(n, k, low, n, UT, LDU, rows, gathered, deflated, old);
  for (let i = 0; i < k; i++) {
    const dk = get<T>(ds, index(from, i));
    leftVector<T>(k, dg, zg, dk, get<T>(mu, i), get<T>(sigma, i), at<T>(q, i * k));
  }
  const firstBoth = 1 + lefts, firstRight = firstBoth + boths;
  gemm<T>(k, nl, firstRight - 1, <T>1, at<T>(q, 1), k, 1, at<T>(old, n), n, 1, <T>0, uRow<T>(low, low), LDU);
  copy<T>(k, q, k, uRow<T>(low, middle), LDU);
  gemm<T>(
    k, nr, k - firstBoth, <T>1, at<T>(q, firstBoth), k, 1, at<T>(old, firstBoth * n + nl + 1), n, 1,
    <T>0, uRow<T>(low, middle + 1), LDU,
  );
  for (let i = k; i < n; i++) copy<T>(n, at<T>(old, i * n), 1, uRow<T>(low + i, low), 1);

  // right vectors
  gatherRows<T>(n, k, low, columns, VT, LDV, rows, gathered, deflated, old);
  for (let i = 0; i < k; i++) {
    const dk = get<T>(ds, index(from, i));
    rightVector<T>(k, dg, zg, dk, get<T>(mu, i), get<T>(sigma, i), at<T>(q, i * k));
  }
  gemm<T>(k, nl + 1, firstRight, <T>1, q, k, 1, old, columns, 1, <T>0, vRow<T>(low, low), LDV);
  gemm<T>(
    k, nr + sqre, k - firstBoth, <T>1, at<T>(q, firstBoth), k, 1, at<T>(old, firstBoth * columns + nl + 1), columns, 1,
    <T>0, vRow<T>(low, middle + 1), LDV,
  );
  if (index(kind, nl) == BOTH) {
    // the pole at zero has a part in the right half, too
    ger<T>(k, nr + sqre, <T>1, q, k, at<T>(old, nl + 1), vRow<T>(low, middle + 1), LDV);
  }
  for (let i = k; i < n; i++) copy<T>(columns, at<T>(old, i * columns), 1, vRow<T>(low + i, low), 1);

  // values: the new ones, then the deflated ones, which are sorted too
  for (let i = 0; i < n; i++) set<T>(dNew, i, i < k ? get<T>(sigma, i) : get<T>(d, index(deflated, i - k)));
  copy<T>(n, dNew, 1, d, 1);
  scal<T>(n, powerOfTwo<T>(scale), d, 1);
  let a = 0, b = k;
  for (let i = 0; i < n; i++) {
    const first = b >= n || (a < k && get<T>(d, a) <= get<T>(d, b));
    setIndex(ORDER, low + i, first ? a++ : b++);
  }
  return 0;
}

/** sorted (n − 1 positions) <- the halves' values in ascending order. */
function mergeOrders<T>(low: i32, nl: i32, nr: i32, d: usize, sorted: usize): void {
  let a = 0, b = 0;
  for (let i = 0; i < nl + nr; i++) {
    const pa = a < nl ? index(ORDER, low + a) : 0;
    const pb = b < nr ? nl + 1 + index(ORDER, low + nl + 1 + b) : 0;
    const first = b >= nr || (a < nl && get<T>(d, pa) <= get<T>(d, pb));
    setIndex(sorted, i, first ? pa : pb);
    if (first) a++;
    else b++;
  }
}

/**
 * Sets aside what the arrow need not know: values whose z is negligible, and one of each pair of values that agree, after a
 * rotation that moves all of z to the other. rows, ds, zs (k) <- positions, values and z of what is left, ascending, the
 * pole at zero first; deflated (n − k) <- positions of the rest, ascending. Returns k.
 */
function deflate<T>(
  low: i32, n: i32, nl: i32, columns: i32, d: usize, z: usize, z1: T, tol: T, sorted: usize, kind: usize, rows: usize,
  deflated: usize, ds: usize, zs: usize,
): i32 {
  setIndex(rows, 0, nl);
  set<T>(ds, 0, <T>0);
  set<T>(zs, 0, z1);
  let k = 1, out = 0, pending = -1;
  for (let i = 0; i < n - 1; i++) {
    const j = index(sorted, i);
    if (abs<T>(get<T>(z, j)) <= tol) {
      setIndex(deflated, out++, j);
      continue;
    }
    if (pending >= 0) {
      if (<T>(get<T>(d, j) - get<T>(d, pending)) <= tol) {
        const zj = get<T>(z, j), zp = get<T>(z, pending);
        const r = hypotenuse<T>(zj, zp);
        const c = <T>(zj / r), s = <T>(-zp / r);
        rot<T>(n, uRow<T>(low + pending, low), 1, uRow<T>(low + j, low), 1, c, s);
        rot<T>(columns, vRow<T>(low + pending, low), 1, vRow<T>(low + j, low), 1, c, s);
        set<T>(z, j, r);
        set<T>(z, pending, <T>0);
        if (index(kind, j) != index(kind, pending)) setIndex(kind, j, BOTH);
        setIndex(deflated, out++, pending);
      } else {
        setIndex(rows, k, pending);
        set<T>(ds, k, get<T>(d, pending));
        set<T>(zs, k, get<T>(z, pending));
        k++;
      }
    }
    pending = j;
  }
  if (pending >= 0) {
    setIndex(rows, k, pending);
    set<T>(ds, k, get<T>(d, pending));
    set<T>(zs, k, get<T>(z, pending));
    k++;
  }
  // poles must differ: xLASD2 moves one too near to zero away from it
  if (k > 1 && get<T>(ds, 1) <= <T>(<T>0.5 * tol)) set<T>(ds, 1, <T>(<T>0.5 * tol));
  sortDeflated<T>(out, deflated, d);
  return k;
}

/** Deflated values come out nearly sorted: insertion. */
function sortDeflated<T>(count: i32, deflated: usize, d: usize): void {
  for (let i = 1; i < count; i++) {
    const p = index(deflated, i);
    let j = i - 1;
    while (j >= 0 && get<T>(d, index(deflated, j)) > get<T>(d, p)) {
      setIndex(deflated, j + 1, index(deflated, j));
      j--;
    }
    setIndex(deflated, j + 1, p);
  }
}

/** old (n×columns) <- the rows of x that stay in play, in gathered order, then the deflated ones. */
function gatherRows<T>(
  n: i32, k: i32, low: i32, columns: i32, x: usize, ldx: i32, rows: usize, gathered: usize, deflated: usize, old: usize,
): void {
  for (let i = 0; i < n; i++) {
    const row = i < k ? index(rows, index(gathered, i)) : index(deflated, i - k);
    copy<T>(columns, at<T>(x, (low + row) * ldx + low), 1, at<T>(old, i * columns), 1);
  }
}

/**
 * z for which the computed σ are exact (Gu and Eisenstat): z_i² = Π_j (σ_j² − d_i²) / Π_{j≠i} (d_j² − d_i²), signs as before.
 * product: k elements of working memory.
 */
function recomputeZ<T>(k: i32, d: usize, mu: usize, from: usize, sigma: usize, z: usize, product: usize): void {
  fill<T>(k, <T>1, product);
  for (let j = 0; j < k; j++) {
    const dk = get<T>(d, index(from, j)), m = get<T>(mu, j), s = get<T>(sigma, j);
    // factors for i <= j pair with d_{j+1}, those for i > j with d_j; the last root stands alone
    if (j < k - 1) ratios<T>(j + 1, d, dk, m, s, get<T>(d, j + 1), product);
    else lastFactor<T>(k, d, dk, m, s, product);
    if (j < k - 1) ratios<T>(k - j - 1, at<T>(d, j + 1), dk, m, s, get<T>(d, j), at<T>(product, j + 1));
  }
  for (let i = 0; i < k; i++) set<T>(z, i, copysign<T>(sqrt<T>(abs<T>(get<T>(product, i))), get<T>(z, i)));
}

/** product_i <- product_i·(σ² − d_i²)/(other² − d_i²), σ = dk + mu, over count elements. */
export function ratios<T>(count: i32, d: usize, dk: T, mu: T, sigma: T, other: T, product: usize): void {
  const k = v128.splat<T>(dk), m = v128.splat<T>(mu), s = v128.splat<T>(sigma), o = v128.splat<T>(other);
  let i = 0;
  for (; i + lanes<T>() <= count; i += lanes<T>()) {
    const di = v128.load(d);
    const above = v128.mul<T>(v128.add<T>(v128.sub<T>(k, di), m), v128.add<T>(s, di));
    const below = v128.mul<T>(v128.sub<T>(o, di), v128.add<T>(o, di));
    v128.store(product, v128.mul<T>(v128.load(product), v128.div<T>(above, below)));
    d += 16;
    product += 16;
  }
  for (; i < count; i++) {
    const di = load<T>(d);
    const ratio = <T>((((dk - di) + mu) * (sigma + di)) / ((other - di) * (other + di)));
    store<T>(product, <T>(load<T>(product) * ratio));
    d += sizeof<T>();
    product += sizeof<T>();
  }
}

function lastFactor<T>(count: i32, d: usize, dk: T, mu: T, sigma: T, product: usize): void {
  for (let i = 0; i < count; i++) {
    const di = get<T>(d, i);
    set<T>(product, i, <T>(get<T>(product, i) * (((dk - di) + mu) * (sigma + di))));
  }
}

/** q (k) <- the unit right vector of σ = dk + mu: z_j/(d_j² − σ²). */
export function rightVector<T>(k: i32, d: usize, z: usize, dk: T, mu: T, sigma: T, q: usize): void {
  const base = v128.splat<T>(dk), m = v128.splat<T>(mu), s = v128.splat<T>(sigma);
  let j = 0, x = d, y = z, out = q;
  for (; j + lanes<T>() <= k; j += lanes<T>()) {
    const dj = v128.load(x);
    const gap = v128.mul<T>(v128.sub<T>(v128.sub<T>(dj, base), m), v128.add<T>(dj, s));
    v128.store(out, v128.div<T>(v128.load(y), gap));
    x += 16;
    y += 16;
    out += 16;
  }
  for (; j < k; j++) {
    const dj = load<T>(x);
    store<T>(out, <T>(load<T>(y) / (((dj - dk) - mu) * (dj + sigma))));
    x += sizeof<T>();
    y += sizeof<T>();
    out += sizeof<T>();
  }
  scal<T>(k, <T>(<T>1 / nrm2<T>(k, q, 1)), q, 1);
}

/** q (k) <- the unit left vector: d_j·z_j/(d_j² − σ²), and −1 at the pole at zero, which comes first. */
export function leftVector<T>(k: i32, d: usize, z: usize, dk: T, mu: T, sigma: T, q: usize): void {
  const base = v128.splat<T>(dk), m = v128.splat<T>(mu), s = v128.splat<T>(sigma);
  let j = 0, x = d, y = z, out = q;
  for (; j + lanes<T>() <= k; j += lanes<T>()) {
    const dj = v128.load(x);
    const gap = v128.mul<T>(v128.sub<T>(v128.sub<T>(dj, base), m), v128.add<T>(dj, s));
    v128.store(out, v128.div<T>(v128.mul<T>(dj, v128.load(y)), gap));
    x += 16;
    y += 16;
    out += 16;
  }
  for (; j < k; j++) {
    const dj = load<T>(x);
    store<T>(out, <T>(dj * load<T>(y) / (((dj - dk) - mu) * (dj + sigma))));
    x += sizeof<T>();
    y += sizeof<T>();
    out += sizeof<T>();
  }
  store<T>(q, <T>-1);
  scal<T>(k, <T>(<T>1 / nrm2<T>(k, q, 1)), q, 1);
}
