// C <- alpha·A·B + beta·C.  A is m×k with strides (rsa, csa), B is k×n with strides (rsb, csb), C is m×n, row-major,
// rows ldc apart; strides in elements. A transposed operand is the same memory with its strides exchanged.
// The five loops of Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", 2008), in the form that
// BLIS gives them: every loop runs over a half-open range, so that a team can share it.

import { at } from "../simd";
import { cursor, setCursor, spend } from "../slice";
import { KC, MC, MR, NC, NR, balanced, packedA, packedB, spilledTile } from "./blocking";
import { gemv, scaleOrClear } from "./level2";
import { packPanel } from "./pack";
import { tile } from "./tile";
import { isShared, perform, taskArguments } from "../team";
import { MULTIPLY, PACK, taskOf } from "../tasks";

/** See the head of this file. beta = 0 does not read C; alpha = 0 does not read A or B. C overlaps neither A nor B. */
export function gemm<T>(
  m: i32, n: i32, k: i32, alpha: T,
  a: usize, rsa: i32, csa: i32, b: usize, rsb: i32, csb: i32,
  beta: T, c: usize, ldc: i32,
): void {
  if (m <= 0 || n <= 0) return;
  if (k <= 0 || alpha == <T>0) {
    for (let i = 0; i < m; i++) scaleOrClear<T>(n, beta, at<T>(c, i * ldc), 1);
    return;
  }
  if (n == 1 && (csa == 1 || rsa == 1)) {
    if (csa == 1) gemv<T>(false, m, k, alpha, a, rsa, b, rsb, beta, c, ldc);
    else gemv<T>(true, k, m, alpha, a, csa, b, rsb, beta, c, ldc);
    return;
  }
  if (m == 1 && (csb == 1 || rsb == 1)) {
    if (csb == 1) gemv<T>(true, k, n, alpha, b, rsb, a, csa, beta, c, 1);
    else gemv<T>(false, n, k, alpha, b, csb, a, csa, beta, c, 1);
    return;
  }
  if (<f64>m * <f64>n * <f64>k <= SMALL) {
    gemmSmall<T>(m, n, k, alpha, a, rsa, csa, b, rsb, csb, beta, c, ldc);
    return;
  }
  const kc = balanced(k, KC, 4), nc = balanced(n, NC, NR<T>());
  const shared = isShared(2 * <f64>m * <f64>n * <f64>k, LEAST / sizeof<T>());
  const task = changetype<Product>(taskArguments());
  task.alpha = <f64>alpha;
  task.m = m;
  task.rsa = rsa;
  task.csa = csa;
  task.across = csb;
  task.along = rsb;
  task.packed = packedB();
  task.ldc = ldc;
  for (let jc = 0; jc < n; jc += nc) {
    const nb = min<i32>(nc, n - jc);
    task.n = nb;
    task.c = at<T>(c, jc);
    // a team's tiles are smaller, and narrower where there are few rows: some for everybody
    const rows = balanced(m, shared ? 64 : MC, MR), down = (m + rows - 1) / rows;
    const columns = shared && down < 16 ? balanced(nb, max<i32>(nb / (16 / down), 64), NR<T>()) : nb;
    task.rows = rows;
    task.columns = columns;
    for (let pc = 0; pc < k; pc += kc) {
      task.k = min<i32>(kc, k - pc);
      task.beta = pc == 0 ? <f64>beta : 1;
      task.a = at<T>(a, pc * csa);
      task.b = at<T>(b, pc * rsb + jc * csb);
      perform(taskOf<T>(PACK), (nb + PACKED_LINES - 1) / PACKED_LINES, shared);
      perform(taskOf<T>(MULTIPLY), down * ((nb + columns - 1) / columns), shared);
    }
  }
}

/** Operations, times the bytes of a number, from which on a team shares a product. */
const LEAST: f64 = 6e6;

/** One block of the product: what its tiles need. */
@unmanaged
class Product {
  alpha: f64;
  beta: f64;
  /** C's rows and the block's columns and depth; what a tile has of them. */
  m: i32;
  n: i32;
  k: i32;
  rows: i32;
  columns: i32;
  a: usize;
  rsa: i32;
  csa: i32;
  b: usize;
  across: i32;
  along: i32;
  /** The block of B in panels. */
  packed: usize;
  c: usize;
  ldc: i32;
}

/** Columns of B that a tile packs. */
const PACKED_LINES: i32 = 64;

/** Packs some columns of the block of B. */
export function packTile<T>(base: usize, tile: i32): void {
  const task = changetype<Product>(base);
  const begin = tile * PACKED_LINES;
  packRange<T>(NR<T>(), begin, min<i32>(begin + PACKED_LINES, task.n), task.k, task.b, task.across, task.along, task.packed);
}

/** Some rows of C, and of them some columns: packs the rows of A and multiplies. */
export function multiplyTile<T>(base: usize, tile: i32): void {
  const task = changetype<Product>(base);
  const down = (task.m + task.rows - 1) / task.rows;
  const i = (tile % down) * task.rows, j = (tile / down) * task.columns, k = task.k;
  const m = min<i32>(task.rows, task.m - i), n = min<i32>(task.columns, task.n - j);
  packRange<T>(MR, 0, m, k, at<T>(task.a, i * task.rsa), task.rsa, task.csa, packedA());
  multiplyBlock<T>(m, n, k, <T>task.alpha, at<T>(task.packed, j * k), <T>task.beta, at<T>(task.c, i * task.ldc + j), task.ldc);
}

/** Products of fewer multiplications than this are not worth packing. */
const SMALL: f64 = 1000;

/** Packs lines [begin, end) of a block of lines `depth` long into panels of `width`; begin is a multiple of width. */
export function packRange<T>(
  width: i32, begin: i32, end: i32, depth: i32, src: usize, across: i32, along: i32, dst: usize,
): void {
  for (let i = begin; i < end; i += width) {
    packPanel<T>(width, min<i32>(width, end - i), depth, at<T>(src, i * across), across, along, at<T>(dst, i * depth));
  }
}

/** A block of C from the packed rows of A and panels of B: one tile after the other along each row of tiles. */
function multiplyBlock<T>(m: i32, n: i32, k: i32, alpha: T, b: usize, beta: T, c: usize, ldc: i32): void {
  for (let i = 0; i < m; i += MR) {
    tileRow<T>(min<i32>(MR, m - i), n, k, alpha, at<T>(packedA(), i * k), b, beta, at<T>(c, i * ldc), ldc);
  }
}

/** One panel of A against packed panels of B, from b on: m <= MR rows of C, n columns. */
export function tileRow<T>(m: i32, n: i32, k: i32, alpha: T, a: usize, b: usize, beta: T, c: usize, ldc: i32): void {
  const panel = at<T>(0, k * NR<T>());
  let j = 0;
  if (m == MR) {
    for (; j + NR<T>() <= n; j += NR<T>()) {
      tile<T>(k, alpha, a, b, beta, at<T>(c, j), ldc);
      b += panel;
    }
  }
  for (; j < n; j += NR<T>()) {
    tileEdge<T>(m, min<i32>(NR<T>(), n - j), k, alpha, a, b, beta, at<T>(c, j), ldc);
    b += panel;
  }
}

/** A tile at the border of C: computed whole beside C, then its m×n corner is added in. */
export function tileEdge<T>(m: i32, n: i32, k: i32, alpha: T, a: usize, b: usize, beta: T, c: usize, ldc: i32): void {
  const t = spilledTile();
  for (let i = 0; i < MR; i++) {
    for (let j = 0; j < NR<T>(); j++) {
      const inside = beta != <T>0 && i < m && j < n;
      store<T>(at<T>(t, i * NR<T>() + j), inside ? load<T>(at<T>(c, i * ldc + j)) : <T>0);
    }
  }
  tile<T>(k, alpha, a, b, beta, t, NR<T>());
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) store<T>(at<T>(c, i * ldc + j), load<T>(at<T>(t, i * NR<T>() + j)));
  }
}

/** The product by its definition, for what is too small to pack; the order of the sum is the tile's. */
function gemmSmall<T>(
  m: i32, n: i32, k: i32, alpha: T,
  a: usize, rsa: i32, csa: i32, b: usize, rsb: i32, csb: i32,
  beta: T, c: usize, ldc: i32,
): void {
  const da = at<T>(0, csa), db = at<T>(0, rsb);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let s = <T>0;
      let x = at<T>(a, i * rsa), y = at<T>(b, j * csb);
      for (let p = 0; p < k; p++) {
        s = <T>(s + load<T>(x) * load<T>(y));
        x += da;
        y += db;
      }
      const z = at<T>(c, i * ldc + j);
      store<T>(z, beta == <T>0 ? <T>(alpha * s) : <T>(alpha * s + beta * load<T>(z)));
    }
  }
}

/** Operations that one step of gemmSlice may take. */
const STEP: f64 = 1e8;

/**
 * gemm for sliced drivers (slice.ts): true when C is complete, false when the slice is over. Blocks of C are computed one after the
 * other, `slot` of the head counts them; a product that fits a step is computed at once.
 */
export function gemmSlice<T>(
  head: usize, slot: i32, m: i32, n: i32, k: i32, alpha: T,
  a: usize, rsa: i32, csa: i32, b: usize, rsb: i32, csb: i32,
  beta: T, c: usize, ldc: i32,
): bool {
  const operations = 2 * <f64>m * <f64>n * <f64>k;
  if (m == 0 || n == 0) return true;
  let rows = m, columns = n;
  if (operations > STEP) {
    rows = min<i32>(m, MC);
    columns = max<i32>(<i32>(STEP / (2 * <f64>rows * <f64>k)) & -16, 16);
  }
  const down = (m + rows - 1) / rows;
  for (;;) {
    const block = cursor(head, slot);
    const i = (block % down) * rows, j = (block / down) * columns;
    if (j >= n) break;
    const mb = min<i32>(rows, m - i), nb = min<i32>(columns, n - j);
    gemm<T>(
      mb, nb, k, alpha, at<T>(a, i * rsa), rsa, csa, at<T>(b, j * csb), rsb, csb, beta, at<T>(c, i * ldc + j), ldc,
    );
    setCursor(head, slot, block + 1);
    if (spend(2 * <f64>mb * <f64>nb * <f64>k)) return false;
  }
  setCursor(head, slot, 0);
  return true;
}

/** `batch` products, operands sa, sb, sc elements apart (0 repeats an operand; sc > 0). Other arguments as gemm's. */
export function gemmBatch<T>(
  begin: i32, end: i32, m: i32, n: i32, k: i32, alpha: T,
  a: usize, sa: i32, rsa: i32, csa: i32, b: usize, sb: i32, rsb: i32, csb: i32,
  beta: T, c: usize, sc: i32, ldc: i32,
): void {
  for (let i = begin; i < end; i++) {
    gemm<T>(m, n, k, alpha, at<T>(a, i * sa), rsa, csa, at<T>(b, i * sb), rsb, csb, beta, at<T>(c, i * sc), ldc);
  }
}
