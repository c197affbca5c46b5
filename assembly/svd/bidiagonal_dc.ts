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
import { gemmSlice } from "../blas/gemm";
import { fill, setIdentity } from "../blas/matrix";
import { epsilon, exponent, scaleByPowerOfTwo } from "../machine";
import { at, get, lanes, set } from "../simd";
import { begin, cursor, interrupted, openSlice, remaining, reopenSlice, setCursor, spend } from "../slice";
import { MERGE, SUBTREES, taskOf } from "../tasks";
import { isShared, perform, taskArguments } from "../team";
import { bdsqr, bdsqrWork } from "./bidiagonal_qr";
import { hypotenuse } from "./householder";
import { lartg, rotationC, rotationR, rotationS } from "./rotation";
import { origin, solveSecular } from "./secular";
import { lasr } from "./sweep";

/** Nodes up to this size are solved by QR iteration. */
const LEAF: i32 = 24;

/** Bytes before the vectors of the working memory: a head (see slice.ts). */
const STATE_BYTES: usize = 64;

// cursors of the head
const NODE = 0, PHASE = 1, INDEX = 2, COUNT = 3, OUT = 4, PENDING = 5, LEFTS = 6, BOTHS = 7, SCALE = 8, NODES = 9, LEAVES = 10;

/** Working memory of bdsdc in elements of T; integers follow. */
function elements(n: i32): f64 {
  return 2 * <f64>n * <f64>n + 12 * <f64>n + <f64>bdsqrWork(LEAF + 1) + 64;
}

/** Bytes of working memory of bdsdc. */
export function bdsdcScratch<T>(n: i32): f64 {
  return <f64>STATE_BYTES + elements(n) * <f64>sizeof<T>() + 10 * 4 * <f64>(n + 8);
}

// @ts-ignore: decorator
@inline function index(x: usize, i: i32): i32 {
  return load<i32>(x + (<usize>i << 2));
}

// @ts-ignore: decorator
@inline function setIndex(x: usize, i: i32, value: i32): void {
  store<i32>(x + (<usize>i << 2), value);
}

/** What a call works on: one set an instance. Addresses; leading dimensions in elements. */
let D: usize = 0, E: usize = 0, UT: usize = 0, VT: usize = 0, ORDER: usize = 0, HEAD: usize = 0, WORK: usize = 0;
let INTS: usize = 0, TREE: usize = 0;
let LDU: i32 = 0, LDV: i32 = 0, SIZE: i32 = 0;

/** Readies bdsdcSlice. */
export function bdsdcBegin<T>(n: i32, ut: usize, ldu: i32, vt: usize, ldv: i32, work: usize): void {
  begin(work);
  place<T>(n, 0, 0, ut, ldu, vt, ldv, 0, work);
  setIdentity<T>(n, n, ut, ldu);
  setIdentity<T>(n, n, vt, ldv);
  listNodes(0, n, 0, hasSubtrees(n) ? SUBTREE : LEAF);
}

/**
 * B = U·S·Vᵀ for upper bidiagonal B with diagonal d (n) and superdiagonal e (n − 1), a slice of it: MORE or STOPPED until it
 * is done. d <- values; ut, vt (n×n) <- vectors by rows; order (n integers) <- where the values stand, ascending. Returns 0,
 * or how many values failed. work: bdsdcScratch(n) bytes, readied by bdsdcBegin.
 */
export function bdsdcSlice<T>(
  n: i32, d: usize, e: usize, ut: usize, ldu: i32, vt: usize, ldv: i32, order: usize, work: usize,
): i32 {
  place<T>(n, d, e, ut, ldu, vt, ldv, order, work);
  for (let node = cursor(HEAD, NODE); node < cursor(HEAD, NODES);) {
    const size = index(TREE, 3 * node + 1);
    let some = 1, operations = <f64>size * <f64>size;
    let result = 0;
    if (hasSubtrees(n) && size <= SUBTREE) {
      some = min<i32>(TOGETHER, cursor(HEAD, LEAVES) - node);
      operations = solveSubtrees<T>(node, some);
      result = cursor(HEAD, OUT);
    } else {
      result = solveNode<T>(node);
    }
    if (result != 0) return result;
    node += some;
    setCursor(HEAD, NODE, node);
    if (spend(operations)) return interrupted();
  }
  return 0;
}

function solveNode<T>(node: i32): i32 {
  const low = index(TREE, 3 * node), size = index(TREE, 3 * node + 1), sqre = index(TREE, 3 * node + 2);
  return size <= LEAF ? solveLeaf<T>(low, size, sqre) : merge<T>(low, size, sqre);
}

/** Nodes up to this size are solved from their leaves on by one thread, several at a time, if the whole is much larger. */
const SUBTREE: i32 = 64;
const TOGETHER: i32 = 8;

// @ts-ignore: decorator
@inline function hasSubtrees(n: i32): bool {
  return n >= 4 * SUBTREE;
}

/** What solveSubtrees's tiles read. */
@unmanaged
class Subtrees {
  n: i32;
  ldu: i32;
  ldv: i32;
  node: i32;
  d: usize;
  e: usize;
  ut: usize;
  vt: usize;
  order: usize;
  work: usize;
}

/** Working memory of a subtree, in the two matrices that merges of larger nodes will need. */
// @ts-ignore: decorator
@inline function subtreeWork<T>(tile: i32): usize {
  return oldRows<T>() + <usize>tile * <usize>bdsdcScratch<T>(SUBTREE + 8);
}

/** Solves `some` subtrees from a node of the list on; returns how many operations that took, and their failures in OUT. */
function solveSubtrees<T>(node: i32, some: i32): f64 {
  const task = changetype<Subtrees>(taskArguments());
  task.n = SIZE;
  task.ldu = LDU;
  task.ldv = LDV;
  task.node = node;
  task.d = D;
  task.e = E;
  task.ut = UT;
  task.vt = VT;
  task.order = ORDER;
  task.work = HEAD;
  const head = HEAD, first = subtreeWork<T>(0), left = remaining();
  perform(taskOf<T>(SUBTREES), some, isShared(<f64>some, 1));
  // this thread has worked on subtrees, too
  place<T>(task.n, task.d, task.e, task.ut, task.ldu, task.vt, task.ldv, task.order, head);
  reopenSlice(head, left);
  let operations: f64 = 0;
  for (let tile = 0; tile < some; tile++) operations += load<f64>(first + (subtreeWork<T>(tile) - subtreeWork<T>(0)));
  return operations;
}

/** One subtree of solveSubtrees, to its end. */
export function subtreeTile<T>(base: usize, tile: i32): void {
  const task = changetype<Subtrees>(base);
  place<T>(task.n, task.d, task.e, task.ut, task.ldu, task.vt, task.ldv, task.order, task.work);
  const node = task.node + tile;
  const low = index(TREE, 3 * node), size = index(TREE, 3 * node + 1), sqre = index(TREE, 3 * node + 2);
  const work = subtreeWork<T>(tile);
  begin(work);
  openSlice(work);
  // as long as the subtree's right vectors are
  place<T>(size + 1, task.d, task.e, task.ut, task.ldu, task.vt, task.ldv, task.order, work);
  listNodes(low, size, sqre, LEAF);
  for (let i = 0; i < cursor(HEAD, NODES); i++) {
    let result = 0;
    do result = solveNode<T>(i);
    while (result < 0);
    if (result > 0) setCursor(task.work, OUT, result);
    spend(<f64>size * <f64>size);
  }
}

function place<T>(
  n: i32, d: usize, e: usize, ut: usize, ldu: i32, vt: usize, ldv: i32, order: usize, work: usize,
): void {
  D = d;
  E = e;
  UT = ut;
  LDU = ldu;
  VT = vt;
  LDV = ldv;
  ORDER = order;
  HEAD = work;
  WORK = work + STATE_BYTES;
  SIZE = n;
  INTS = WORK + <usize>(elements(n) * <f64>sizeof<T>());
  TREE = INTS + 6 * 4 * <usize>n;
}

/** Lists nodes: low, n, sqre each: first all those of at most `leaf`, then the others, children before parents. */
function listNodes(low: i32, n: i32, sqre: i32, leaf: i32): void {
  listHalf(low, n, sqre, leaf, true);
  setCursor(HEAD, LEAVES, cursor(HEAD, NODES));
  listHalf(low, n, sqre, leaf, false);
}

function listHalf(low: i32, n: i32, sqre: i32, leaf: i32, leaves: bool): void {
  if (n > leaf) {
    const nl = n / 2;
    listHalf(low, nl, 1, leaf, leaves);
    listHalf(low + nl + 1, n - nl - 1, sqre, leaf, leaves);
  }
  if (n <= leaf != leaves) return;
  const node = cursor(HEAD, NODES);
  setIndex(TREE, 3 * node, low);
  setIndex(TREE, 3 * node + 1, n);
  setIndex(TREE, 3 * node + 2, sqre);
  setCursor(HEAD, NODES, node + 1);
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

// Phases of a merge.
const TEAR = 0, DEFLATE = 1, ROOTS = 2, RECOMPUTE = 3, LEFT_ROWS = 4, LEFT_Q = 5, LEFT_FIRST = 6, LEFT_SECOND = 7;
const RIGHT_ROWS = 8, RIGHT_Q = 9, RIGHT_FIRST = 10, RIGHT_SECOND = 11, VALUES = 12;

// Working memory of a merge: vectors of SIZE elements, two matrices, vectors of SIZE integers.
// @ts-ignore: decorator
@inline function vector<T>(slot: i32): usize {
  return at<T>(WORK, slot * SIZE + (slot > 0 ? 1 : 0));
}
const Z = 0, DS = 1, ZS = 2, Z2 = 3, MU = 4, SIGMA = 5, POLES = 6, DG = 7, ZG = 8, NEW = 9;

// @ts-ignore: decorator
@inline function integers(slot: i32): usize {
  return INTS + 4 * <usize>slot * <usize>SIZE;
}
/** The two matrices: rows of old vectors, and behind them (SIZE²) the arrow's. */
// @ts-ignore: decorator
@inline function oldRows<T>(): usize {
  return at<T>(WORK, 12 * SIZE + bdsqrWork(LEAF + 1) + 64);
}

const SORTED = 0, ROWS = 1, DEFLATED = 2, KIND = 3, FROM = 4, GATHERED = 5;

/**
 * Joins the halves of the node low…low + n − 1, whose row low + n/2 tore them: 0, or MORE or STOPPED, or the number of
 * values that failed.
 */
function merge<T>(low: i32, n: i32, sqre: i32): i32 {
  const nl = n / 2, nr = n - nl - 1, columns = n + sqre, middle = low + nl;
  const old = oldRows<T>(), q = at<T>(old, SIZE * SIZE);
  while (cursor(HEAD, PHASE) <= VALUES) {
    const k = cursor(HEAD, COUNT), firstBoth = 1 + cursor(HEAD, LEFTS), firstRight = firstBoth + cursor(HEAD, BOTHS);
    let done = true;
    switch (cursor(HEAD, PHASE)) {
      case TEAR:
        if (!tear<T>(low, nl, nr, sqre)) return 0;
        break;
      case DEFLATE:
        done = deflate<T>(low, n, columns);
        break;
      case ROOTS:
        if (cursor(HEAD, INDEX) == 0) squareZ<T>(k);
        done = mergeSteps<T>(FIND, k, 40 * <f64>k, k, 0, 0, q);
        if (cursor(HEAD, OUT) < 0) return 1;
        break;
      case RECOMPUTE:
        if (cursor(HEAD, INDEX) == 0) fill<T>(k, <T>1, vector<T>(Z2));
        done = mergeSteps<T>(MULTIPLY_UP, k, 10 * <f64>k, k, 0, 0, 0);
        if (done) arrange<T>(k);
        break;
      case LEFT_ROWS:
        done = mergeSteps<T>(GATHER, n, 2 * <f64>n, k, n, uRow<T>(low, low), old, LDU);
        break;
      case LEFT_Q:
        done = mergeSteps<T>(LEFT_VECTORS, k, 10 * <f64>k, k, 0, 0, q);
        break;
      case LEFT_FIRST:
        // the pole at zero belongs to the torn row, which is a column of its own
        done = gemmSlice<T>(
          HEAD, INDEX, k, nl, firstRight - 1, <T>1, at<T>(q, 1), k, 1, at<T>(old, n), n, 1, <T>0, uRow<T>(low, low), LDU,
        );
        if (done) copy<T>(k, q, k, uRow<T>(low, middle), LDU);
        break;
      case LEFT_SECOND:
        done = gemmSlice<T>(
          HEAD, INDEX, k, nr, k - firstBoth, <T>1, at<T>(q, firstBoth), k, 1, at<T>(old, firstBoth * n + nl + 1), n, 1,
          <T>0, uRow<T>(low, middle + 1), LDU,
        );
        if (done) for (let i = k; i < n; i++) copy<T>(n, at<T>(old, i * n), 1, uRow<T>(low + i, low), 1);
        break;
      case RIGHT_ROWS:
        done = mergeSteps<T>(GATHER, n, 2 * <f64>columns, k, columns, vRow<T>(low, low), old, LDV);
        break;
      case RIGHT_Q:
        done = mergeSteps<T>(RIGHT_VECTORS, k, 10 * <f64>k, k, 0, 0, q);
        break;
      case RIGHT_FIRST:
        done = gemmSlice<T>(
          HEAD, INDEX, k, nl + 1, firstRight, <T>1, q, k, 1, old, columns, 1, <T>0, vRow<T>(low, low), LDV,
        );
        break;
      case RIGHT_SECOND:
        done = gemmSlice<T>(
          HEAD, INDEX, k, nr + sqre, k - firstBoth, <T>1, at<T>(q, firstBoth), k, 1,
          at<T>(old, firstBoth * columns + nl + 1), columns, 1, <T>0, vRow<T>(low, middle + 1), LDV,
        );
        if (done && index(integers(KIND), nl) == BOTH) {
          // the pole at zero has a part in the right half, too
          ger<T>(k, nr + sqre, <T>1, q, k, at<T>(old, nl + 1), vRow<T>(low, middle + 1), LDV);
        }
        if (done) for (let i = k; i < n; i++) copy<T>(columns, at<T>(old, i * columns), 1, vRow<T>(low + i, low), 1);
        break;
      default:
        finish<T>(low, n, k);
    }
    if (!done) return interrupted();
    setCursor(HEAD, PHASE, cursor(HEAD, PHASE) + 1);
  }
  setCursor(HEAD, PHASE, TEAR);
  return 0;
}

/** Scales the node, writes the torn row in the basis of the halves' right vectors; false if the node is zero. */
function tear<T>(low: i32, nl: i32, nr: i32, sqre: i32): bool {
  const n = nl + nr + 1, columns = n + sqre, middle = low + nl;
  const d = at<T>(D, low), z = vector<T>(Z), kind = integers(KIND);
  let alpha = get<T>(D, middle), beta = get<T>(E, middle);
  set<T>(d, nl, <T>0);
  let largest = max<T>(abs<T>(alpha), abs<T>(beta));
  for (let i = 0; i < n; i++) largest = max<T>(largest, get<T>(d, i));
  if (largest == <T>0) {
    for (let i = 0; i < n; i++) setIndex(ORDER, low + i, i);
    return false;
  }
  // by a power of two, so that nothing that matters underflows when it is squared
  const scale = exponent<T>(largest);
  setCursor(HEAD, SCALE, scale);
  alpha = scaleByPowerOfTwo<T>(alpha, -scale);
  beta = scaleByPowerOfTwo<T>(beta, -scale);
  for (let i = 0; i < n; i++) set<T>(d, i, scaleByPowerOfTwo<T>(get<T>(d, i), -scale));
  const tol = <T>(<T>64 * epsilon<T>() * scaleByPowerOfTwo<T>(largest, -scale));
  set<T>(vector<T>(NEW), 0, tol);

  for (let i = 0; i < columns; i++) {
    const inLeft = i <= nl;
    const entry = load<T>(vRow<T>(low + i, inLeft ? middle : middle + 1));
    set<T>(z, i, <T>((inLeft ? alpha : beta) * entry));
    if (i < n) setIndex(kind, i, inLeft ? LEFT : RIGHT);
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
  mergeOrders<T>(low, nl, nr, d, integers(SORTED));
  setIndex(integers(ROWS), 0, nl);
  set<T>(vector<T>(DS), 0, <T>0);
  set<T>(vector<T>(ZS), 0, z1);
  setCursor(HEAD, INDEX, 0);
  setCursor(HEAD, COUNT, 1);
  setCursor(HEAD, OUT, 0);
  setCursor(HEAD, PENDING, -1);
  return true;
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
 * rotation that moves all of z to the other. ROWS, DS, ZS (k) <- positions, values and z of what is left, ascending, the
 * pole at zero first; DEFLATED (n − k) <- positions of the rest, ascending; k into COUNT.
 */
function deflate<T>(low: i32, n: i32, columns: i32): bool {
  const d = at<T>(D, low), z = vector<T>(Z), tol = get<T>(vector<T>(NEW), 0);
  const kind = integers(KIND), deflated = integers(DEFLATED);
  let out = cursor(HEAD, OUT), pending = cursor(HEAD, PENDING);
  for (let i = cursor(HEAD, INDEX); i < n - 1; i++) {
    const j = index(integers(SORTED), i);
    let cost: f64 = 1;
    if (abs<T>(get<T>(z, j)) <= tol) {
      setIndex(deflated, out++, j);
    } else {
      if (pending >= 0 && <T>(get<T>(d, j) - get<T>(d, pending)) <= tol) {
        const zj = get<T>(z, j), zp = get<T>(z, pending);
        const r = hypotenuse<T>(zj, zp);
        const c = <T>(zj / r), s = <T>(-zp / r);
        rot<T>(n, uRow<T>(low + pending, low), 1, uRow<T>(low + j, low), 1, c, s);
        rot<T>(columns, vRow<T>(low + pending, low), 1, vRow<T>(low + j, low), 1, c, s);
        cost = 12 * <f64>n;
        set<T>(z, j, r);
        set<T>(z, pending, <T>0);
        if (index(kind, j) != index(kind, pending)) setIndex(kind, j, BOTH);
        setIndex(deflated, out++, pending);
      } else if (pending >= 0) {
        keep<T>(d, z, pending);
      }
      pending = j;
    }
    setCursor(HEAD, INDEX, i + 1);
    setCursor(HEAD, OUT, out);
    setCursor(HEAD, PENDING, pending);
    if (spend(cost)) return false;
  }
  if (pending >= 0) keep<T>(d, z, pending);
  // poles must differ: xLASD2 moves one too near to zero away from it
  const ds = vector<T>(DS), half = <T>(<T>0.5 * tol);
  if (cursor(HEAD, COUNT) > 1 && get<T>(ds, 1) <= half) set<T>(ds, 1, half);
  sortDeflated<T>(out, deflated, d);
  setCursor(HEAD, INDEX, 0);
  return true;
}

/** Adds position j to those that stay. */
function keep<T>(d: usize, z: usize, j: i32): void {
  const k = cursor(HEAD, COUNT);
  setIndex(integers(ROWS), k, j);
  set<T>(vector<T>(DS), k, get<T>(d, j));
  set<T>(vector<T>(ZS), k, get<T>(z, j));
  setCursor(HEAD, COUNT, k + 1);
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

/** What the team shares of a merge. */
const FIND = 0, MULTIPLY_UP = 1, GATHER = 2, LEFT_VECTORS = 3, RIGHT_VECTORS = 4;

/** What mergeSteps's tiles read. */
@unmanaged
class MergeStep {
  what: i32;
  /** The items of this step; of each, or of MULTIPLY_UP's products, a tile has `part`. */
  begin: i32;
  end: i32;
  part: i32;
  k: i32;
  columns: i32;
  ldx: i32;
  size: i32;
  x: usize;
  target: usize;
  head: usize;
  ints: usize;
}

/** Operations of a step and of a tile. */
const STEP: f64 = 3e6;
const TILE: f64 = 5e4;

/** Goes through `items` of a kind of work, of about `cost` operations each; true when all are done. */
function mergeSteps<T>(
  what: i32, items: i32, cost: f64, k: i32, columns: i32, x: usize, target: usize, ldx: i32 = 0,
): bool {
  while (cursor(HEAD, INDEX) < items) {
    const begin = cursor(HEAD, INDEX), some = min<i32>(items - begin, max<i32>(1, <i32>(STEP / cost)));
    // every item adds to all products, so it is those that are parted
    const parted = what == MULTIPLY_UP ? k : some, total = <f64>some * cost;
    const task = changetype<MergeStep>(taskArguments());
    task.what = what;
    task.begin = begin;
    task.end = begin + some;
    task.part = max<i32>(8, <i32>(<f64>parted * TILE / total));
    task.k = k;
    task.columns = columns;
    task.ldx = ldx;
    task.size = SIZE;
    task.x = x;
    task.target = target;
    task.head = HEAD;
    task.ints = INTS;
    perform(taskOf<T>(MERGE), (parted + task.part - 1) / task.part, isShared(total, 4 * TILE));
    setCursor(HEAD, INDEX, begin + some);
    if (spend(total)) return false;
  }
  setCursor(HEAD, INDEX, 0);
  if (what == MULTIPLY_UP) {
    const z = vector<T>(ZS);
    for (let i = 0; i < k; i++) set<T>(z, i, copysign<T>(sqrt<T>(abs<T>(get<T>(vector<T>(Z2), i))), get<T>(z, i)));
  }
  return true;
}

/** A part of a step. */
export function mergeTile<T>(base: usize, tile: i32): void {
  const task = changetype<MergeStep>(base);
  SIZE = task.size;
  HEAD = task.head;
  WORK = HEAD + STATE_BYTES;
  INTS = task.ints;
  const k = task.k, begin = task.begin + tile * task.part, end = min<i32>(task.end, begin + task.part);
  switch (task.what) {
    case FIND:
      findRoots<T>(begin, end, k, tile == 0 ? vector<T>(POLES) : at<T>(task.target, tile * k));
      break;
    case MULTIPLY_UP:
      multiplyUp<T>(tile * task.part, min<i32>(k, (tile + 1) * task.part), task.begin, task.end, k);
      break;
    case GATHER:
      gatherRows<T>(begin, end, k, task.columns, task.x, task.ldx, task.target);
      break;
    default:
      buildVectors<T>(task.what == LEFT_VECTORS, begin, end, k, task.target);
  }
}

/** Z2 (k) <- squares of z. */
function squareZ<T>(k: i32): void {
  for (let j = 0; j < k; j++) {
    const value = get<T>(vector<T>(ZS), j);
    set<T>(vector<T>(Z2), j, <T>(value * value));
  }
}

/** SIGMA, MU, FROM (k) <- roots begin…end, as values and relative to a pole; OUT < 0 if one was not found. poles: k elements. */
function findRoots<T>(begin: i32, end: i32, k: i32, poles: usize): void {
  const ds = vector<T>(DS);
  for (let i = begin; i < end; i++) {
    const m = solveSecular<T>(i, k, ds, vector<T>(Z2), poles);
    if (m != m) setCursor(HEAD, OUT, -1);
    set<T>(vector<T>(MU), i, m);
    setIndex(integers(FROM), i, origin);
    set<T>(vector<T>(SIGMA), i, <T>(get<T>(ds, origin) + m));
  }
}

/** Rows begin…end of old (n×columns) <- the rows of x that stay in play, in gathered order, then the deflated ones. */
function gatherRows<T>(begin: i32, end: i32, k: i32, columns: i32, x: usize, ldx: i32, old: usize): void {
  for (let i = begin; i < end; i++) {
    const row = i < k ? index(integers(ROWS), index(integers(GATHERED), i)) : index(integers(DEFLATED), i - k);
    copy<T>(columns, at<T>(x, row * ldx), 1, at<T>(old, i * columns), 1);
  }
}

/** GATHERED (k) <- the order of the poles in which rows of a kind are neighbours: the one at zero, left, both, right. */
function arrange<T>(k: i32): void {
  const gathered = integers(GATHERED), kind = integers(KIND), rows = integers(ROWS);
  setIndex(gathered, 0, 0);
  let count = 1;
  for (let type = LEFT; type <= RIGHT; type++) {
    const before = count;
    for (let i = 1; i < k; i++) if (index(kind, index(rows, i)) == type) setIndex(gathered, count++, i);
    if (type == LEFT) setCursor(HEAD, LEFTS, count - before);
    else if (type == BOTH) setCursor(HEAD, BOTHS, count - before);
  }
  for (let i = 0; i < k; i++) {
    set<T>(vector<T>(DG), i, get<T>(vector<T>(DS), index(gathered, i)));
    set<T>(vector<T>(ZG), i, get<T>(vector<T>(ZS), index(gathered, i)));
  }
}

/** Rows begin…end of q (k×k) <- left or right vectors of the arrow, entries in gathered order. */
function buildVectors<T>(left: bool, begin: i32, end: i32, k: i32, q: usize): void {
  const dg = vector<T>(DG), zg = vector<T>(ZG);
  for (let i = begin; i < end; i++) {
    const dk = get<T>(vector<T>(DS), index(integers(FROM), i));
    const mu = get<T>(vector<T>(MU), i), sigma = get<T>(vector<T>(SIGMA), i), row = at<T>(q, i * k);
    if (left) leftVector<T>(k, dg, zg, dk, mu, sigma, row);
    else rightVector<T>(k, dg, zg, dk, mu, sigma, row);
  }
}

/** The node's values: the new ones, then the deflated ones, both ascending; ORDER merges them. */
function finish<T>(low: i32, n: i32, k: i32): void {
  const d = at<T>(D, low), values = vector<T>(NEW), scale = cursor(HEAD, SCALE);
  for (let i = 0; i < n; i++) {
    set<T>(values, i, i < k ? get<T>(vector<T>(SIGMA), i) : get<T>(d, index(integers(DEFLATED), i - k)));
  }
  let a = 0, b = k;
  for (let i = 0; i < n; i++) {
    set<T>(d, i, scaleByPowerOfTwo<T>(get<T>(values, i), scale));
    const first = b >= n || (a < k && get<T>(values, a) <= get<T>(values, b));
    setIndex(ORDER, low + i, first ? a++ : b++);
  }
}

/**
 * z for which the computed σ are exact (Gu and Eisenstat): z_i² = Π_j (σ_j² − d_i²) / Π_{j≠i} (d_j² − d_i²). Z2 holds the
 * products; those of first…last take the factors j of begin…end.
 */
function multiplyUp<T>(first: i32, last: i32, begin: i32, end: i32, k: i32): void {
  const d = at<T>(vector<T>(DS), first), product = at<T>(vector<T>(Z2), first);
  for (let j = begin; j < end; j++) {
    const dk = get<T>(vector<T>(DS), index(integers(FROM), j)), m = get<T>(vector<T>(MU), j), s = get<T>(vector<T>(SIGMA), j);
    if (j < k - 1) {
      // factors for i <= j pair with d_{j+1}, those for i > j with d_j
      const up = max<i32>(0, min<i32>(j + 1, last) - first);
      ratios<T>(up, d, dk, m, s, get<T>(vector<T>(DS), j + 1), product);
      ratios<T>(last - first - up, at<T>(d, up), dk, m, s, get<T>(vector<T>(DS), j), at<T>(product, up));
    } else {
      lastFactor<T>(last - first, d, dk, m, s, product);
    }
  }
}

/** product_i <- product_i·(σ² − d_i²)/(other² − d_i²), σ = dk + mu, over count elements. */
function ratios<T>(count: i32, d: usize, dk: T, mu: T, sigma: T, other: T, product: usize): void {
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
function rightVector<T>(k: i32, d: usize, z: usize, dk: T, mu: T, sigma: T, q: usize): void {
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
function leftVector<T>(k: i32, d: usize, z: usize, dk: T, mu: T, sigma: T, q: usize): void {
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
