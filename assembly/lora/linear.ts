// The base product of a layer: y = x·Wᵀ + bias, x (tokens×in), W (out×in), y (tokens×out).
//
// The bits of a row of y do not depend on the other rows nor on how many there are: every path adds as the register tile
// does. Each element is bias, plus one sum for every block of KC inputs, each of them started at zero and sequential in the
// inputs; multiply and add are fused where the tile fuses them. Three paths: one row reads W once where it stands (memory
// bounds it); more rows pack eight rows of W at a time into the first-level cache and pass all of x by them, so that W is read once
// for everybody and never written; a W that is stored (in×out) takes one row in strips of outputs.

import { KC, MC, MR, NC, NR, balanced, packedA, packedB, spilledTile } from "../blas/blocking";
import { tileEdge } from "../blas/gemm";
import { axpy, copy } from "../blas/level1";
import { fill } from "../blas/matrix";
import { packPanel } from "../blas/pack";
import { tile } from "../blas/tile";
import { at, lanes, madd } from "../simd";

/** Elements of W packed by packWeight: panels of NR outputs, each in×NR. */
export function packedWeightSize<T>(inFeatures: i32, outFeatures: i32): f64 {
  return <f64>((outFeatures + NR<T>() - 1) / NR<T>()) * <f64>NR<T>() * <f64>inFeatures;
}

/** packed <- W (out×in, strides rsw, csw) in the panels that the tile reads, the last one filled up with zeros. */
export function packWeight<T>(inFeatures: i32, outFeatures: i32, w: usize, rsw: i32, csw: i32, packed: usize): void {
  for (let j = 0; j < outFeatures; j += NR<T>()) {
    packPanel<T>(NR<T>(), min<i32>(NR<T>(), outFeatures - j), inFeatures, at<T>(w, j * rsw), rsw, csw, packed);
    packed += at<T>(0, NR<T>()) * <usize>inFeatures;
  }
}

/**
 * Outputs [begin, end) of every row; begin is a multiple of NR. Rows of x are ldx elements apart, those of y ldy.
 * W has the strides (rsw, csw), one of them 1; with rsw = 0 it is what packWeight made. bias (out) may be 0: none.
 */
export function linear<T>(
  begin: i32, end: i32, tokens: i32, inFeatures: i32, x: usize, ldx: i32, w: usize, rsw: i32, csw: i32, bias: usize,
  y: usize, ldy: i32,
): void {
  if (end <= begin || tokens <= 0) return;
  for (let t = 0; t < tokens; t++) {
    const row = at<T>(y, t * ldy + begin);
    if (bias != 0) copy<T>(end - begin, at<T>(bias, begin), 1, row, 1);
    else if (inFeatures == 0) fill<T>(end - begin, <T>0, row);
  }
  if (inFeatures == 0) return;
  const add = bias != 0;
  if (tokens == 1) {
    if (rsw == 0) oneRowOfPanels<T>(begin, end, inFeatures, x, w, add, y);
    else if (csw == 1) oneRow<T>(begin, end, inFeatures, x, w, rsw, add, y);
    else oneRowOfColumns<T>(begin, end, inFeatures, x, w, csw, add, y);
    return;
  }
  // what the packing memory holds: all rows, or as many as do with whole blocks of inputs
  const kc = balanced(inFeatures, KC, 4), part = packedPart(tokens), span = packedSpan<T>(min<i32>(part, tokens), kc);
  for (let t = 0; t < tokens; t += part) {
    const rows = min<i32>(part, tokens - t);
    for (let p = 0; p < inFeatures; p += span) {
      const depth = min<i32>(span, inFeatures - p);
      packRows<T>(rows, depth, at<T>(x, t * ldx + p), ldx);
      for (let j = begin; j < end; j += NR<T>()) {
        const width = min<i32>(NR<T>(), end - j);
        const panel = rsw == 0 ? at<T>(w, j * inFeatures + p * NR<T>()) : at<T>(w, j * rsw + p * csw);
        weightPanel<T>(rows, width, depth, kc, panel, rsw, csw, add || p > 0, at<T>(y, t * ldy + j), ldy);
      }
    }
  }
}

/** Packed rows take the second part of the packing memory, a panel of W the first. */
const PACKED_ROWS_BYTES: usize = 512 * 1024;

/** Rows of x that are packed at a time. */
export function packedPart(tokens: i32): i32 {
  return balanced(tokens, 256, MR);
}

/** Inputs of that many rows that are packed at a time: whole blocks of kc. */
export function packedSpan<T>(rows: i32, kc: i32): i32 {
  const panels = (rows + MR - 1) / MR;
  return max<i32>(<i32>(PACKED_ROWS_BYTES / at<T>(0, panels * MR * kc)), 1) * kc;
}

/** Rows of x into panels of MR rows, each in×MR, in packedB(). */
export function packRows<T>(rows: i32, inFeatures: i32, x: usize, ldx: i32): void {
  for (let t = 0; t < rows; t += MR) {
    packPanel<T>(MR, min<i32>(MR, rows - t), inFeatures, at<T>(x, t * ldx), ldx, 1, at<T>(packedB(), t * inFeatures));
  }
}

/** All packed rows against `width` <= NR rows of W, block after block of kc inputs. */
function weightPanel<T>(
  rows: i32, width: i32, inFeatures: i32, kc: i32, w: usize, rsw: i32, csw: i32, add: bool, y: usize, ldy: i32,
): void {
  for (let p = 0; p < inFeatures; p += kc) {
    const depth = min<i32>(kc, inFeatures - p);
    let panel = packedA();
    if (rsw == 0) panel = at<T>(w, p * NR<T>());
    else packPanel<T>(NR<T>(), width, depth, at<T>(w, p * csw), rsw, csw, panel);
    rowsOfTiles<T>(rows, width, depth, at<T>(packedB(), p * MR), at<T>(0, MR) * <usize>inFeatures, panel, add || p > 0, y, ldy);
  }
}

/** One panel of W against panels of x, `step` bytes apart: a column of tiles. */
// @ts-ignore: decorator
@inline export function rowsOfTiles<T>(
  rows: i32, width: i32, depth: i32, x: usize, step: usize, panel: usize, add: bool, y: usize, ldy: i32,
): void {
  const beta = add ? <T>1 : <T>0;
  for (let t = 0; t < rows; t += MR) {
    const height = min<i32>(MR, rows - t);
    if (height == MR && width == NR<T>()) tile<T>(depth, <T>1, x, panel, beta, y, ldy);
    else tileEdge<T>(height, width, depth, <T>1, x, panel, beta, y, ldy);
    x += step;
    y += at<T>(0, MR * ldy);
  }
}

/** One row of x against rows [begin, end) of W, contiguous in the inputs. */
function oneRow<T>(begin: i32, end: i32, inFeatures: i32, x: usize, w: usize, rsw: i32, add: bool, y: usize): void {
  const kc = balanced(inFeatures, KC, 4);
  for (let j = begin; j < end; j += NR<T>()) {
    const width = min<i32>(NR<T>(), end - j);
    for (let p = 0; p < inFeatures; p += kc) {
      const depth = min<i32>(kc, inFeatures - p);
      dotsOfBlock<T>(depth, width, at<T>(x, p), at<T>(w, j * rsw + p), at<T>(0, rsw), add || p > 0, at<T>(y, j));
    }
  }
}

/** y[0…width] <- s0, s1 (+ y with `add`). */
// @ts-ignore: decorator
@inline function addSums<T>(width: i32, add: bool, s0: v128, s1: v128, y: usize): void {
  if (width == NR<T>()) {
    v128.store(y, add ? v128.add<T>(s0, v128.load(y)) : s0);
    v128.store(y, add ? v128.add<T>(s1, v128.load(y, 16)) : s1, 16);
    return;
  }
  const sums = spilledTile();
  v128.store(sums, s0);
  v128.store(sums, s1, 16);
  for (let i = 0; i < width; i++) {
    const s = load<T>(at<T>(sums, i));
    store<T>(at<T>(y, i), add ? <T>(s + load<T>(at<T>(y, i))) : s);
  }
}

/** Row q of `width` rows lda bytes apart; those that are not there are the last one. */
// @ts-ignore: decorator
@inline function rowOf(w: usize, lda: usize, q: i32, width: i32): usize {
  return w + lda * <usize>min<i32>(q, width - 1);
}

/**
 * s + Σ x[q]·(element q of rows a…d) for q = 0…3 in this order; a lane is a row. Without fused instructions the rows are multiplied
 * before they are turned, which spares spreading x; with them each product must meet its sum.
 */
// @ts-ignore: decorator
@inline function step4(x: v128, a: v128, b: v128, c: v128, d: v128, s: v128): v128 {
  if (!ASC_FEATURE_RELAXED_SIMD) {
    a = v128.mul<f32>(a, x);
    b = v128.mul<f32>(b, x);
    c = v128.mul<f32>(c, x);
    d = v128.mul<f32>(d, x);
  }
  const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5), cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
  const AB = v128.shuffle<f32>(a, b, 2, 6, 3, 7), CD = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
  const w0 = v128.shuffle<f64>(ab, cd, 0, 2), w1 = v128.shuffle<f64>(ab, cd, 1, 3);
  const w2 = v128.shuffle<f64>(AB, CD, 0, 2), w3 = v128.shuffle<f64>(AB, CD, 1, 3);
  if (!ASC_FEATURE_RELAXED_SIMD) {
    s = v128.add<f32>(v128.add<f32>(s, w0), w1);
    return v128.add<f32>(v128.add<f32>(s, w2), w3);
  }
  s = madd<f32>(v128.shuffle<f32>(x, x, 0, 0, 0, 0), w0, s);
  s = madd<f32>(v128.shuffle<f32>(x, x, 1, 1, 1, 1), w1, s);
  s = madd<f32>(v128.shuffle<f32>(x, x, 2, 2, 2, 2), w2, s);
  return madd<f32>(v128.shuffle<f32>(x, x, 3, 3, 3, 3), w3, s);
}

/** s + Σ x[q]·(element q of rows a and b) for q = 0, 1 in this order. */
// @ts-ignore: decorator
@inline function step2(x: v128, a: v128, b: v128, s: v128): v128 {
  s = madd<f64>(v128.shuffle<f64>(x, x, 0, 0), v128.shuffle<f64>(a, b, 0, 2), s);
  return madd<f64>(v128.shuffle<f64>(x, x, 1, 1), v128.shuffle<f64>(a, b, 1, 3), s);
}

/**
 * NR sums of x against `width` rows of W (lda bytes apart), each sequential: rows are turned in registers, so that a lane is
 * an output. y <- the sums (+ y with `add`).
 */
export function dotsOfBlock<T>(depth: i32, width: i32, x: usize, w: usize, lda: usize, add: bool, y: usize): void {
  let s0 = v128.splat<T>(<T>0), s1 = s0;
  let a = w, b = rowOf(w, lda, 1, width), c = rowOf(w, lda, 2, width), d = rowOf(w, lda, 3, width);
  let p = 0;
  if (sizeof<T>() == 4) {
    let e = rowOf(w, lda, 4, width), f = rowOf(w, lda, 5, width), g = rowOf(w, lda, 6, width);
    let h = rowOf(w, lda, 7, width);
    for (; p + 4 <= depth; p += 4) {
      const v = v128.load(x);
      s0 = step4(v, v128.load(a), v128.load(b), v128.load(c), v128.load(d), s0);
      s1 = step4(v, v128.load(e), v128.load(f), v128.load(g), v128.load(h), s1);
      x += 16;
      a += 16;
      b += 16;
      c += 16;
      d += 16;
      e += 16;
      f += 16;
      g += 16;
      h += 16;
    }
    for (; p < depth; p++) {
      const v = v128.load32_splat(x);
      s0 = madd<T>(v, gather(a, b, c, d), s0);
      s1 = madd<T>(v, gather(e, f, g, h), s1);
      x += 4;
      a += 4;
      b += 4;
      c += 4;
      d += 4;
      e += 4;
      f += 4;
      g += 4;
      h += 4;
    }
  } else {
    for (; p + 2 <= depth; p += 2) {
      const v = v128.load(x);
      s0 = step2(v, v128.load(a), v128.load(b), s0);
      s1 = step2(v, v128.load(c), v128.load(d), s1);
      x += 16;
      a += 16;
      b += 16;
      c += 16;
      d += 16;
    }
    if (p < depth) {
      const v = v128.load64_splat(x);
      s0 = madd<T>(v, v128.load64_lane(b, v128.load64_zero(a), 1), s0);
      s1 = madd<T>(v, v128.load64_lane(d, v128.load64_zero(c), 1), s1);
    }
  }
  addSums<T>(width, add, s0, s1, y);
}

/** One row of x against a packed W. */
function oneRowOfPanels<T>(begin: i32, end: i32, inFeatures: i32, x: usize, w: usize, add: bool, y: usize): void {
  const kc = balanced(inFeatures, KC, 4);
  for (let j = begin; j < end; j += NR<T>()) {
    const width = min<i32>(NR<T>(), end - j);
    for (let p = 0; p < inFeatures; p += kc) {
      const depth = min<i32>(kc, inFeatures - p);
      dotsOfPanel<T>(depth, width, at<T>(x, p), at<T>(w, j * inFeatures + p * NR<T>()), add || p > 0, at<T>(y, j));
    }
  }
}

/** dotsOfBlock for a packed panel of W (depth×NR). */
export function dotsOfPanel<T>(depth: i32, width: i32, x: usize, w: usize, add: bool, y: usize): void {
  let s0 = v128.splat<T>(<T>0), s1 = s0;
  let p = 0;
  if (sizeof<T>() == 4) {
    for (; p + 4 <= depth; p += 4) {
      const v = v128.load(x);
      const x0 = v128.shuffle<f32>(v, v, 0, 0, 0, 0), x1 = v128.shuffle<f32>(v, v, 1, 1, 1, 1);
      const x2 = v128.shuffle<f32>(v, v, 2, 2, 2, 2), x3 = v128.shuffle<f32>(v, v, 3, 3, 3, 3);
      s0 = madd<T>(x0, v128.load(w), s0);
      s1 = madd<T>(x0, v128.load(w, 16), s1);
      s0 = madd<T>(x1, v128.load(w, 32), s0);
      s1 = madd<T>(x1, v128.load(w, 48), s1);
      s0 = madd<T>(x2, v128.load(w, 64), s0);
      s1 = madd<T>(x2, v128.load(w, 80), s1);
      s0 = madd<T>(x3, v128.load(w, 96), s0);
      s1 = madd<T>(x3, v128.load(w, 112), s1);
      x += 16;
      w += 128;
    }
  } else {
    for (; p + 2 <= depth; p += 2) {
      const v = v128.load(x);
      const x0 = v128.shuffle<f64>(v, v, 0, 0), x1 = v128.shuffle<f64>(v, v, 1, 1);
      s0 = madd<T>(x0, v128.load(w), s0);
      s1 = madd<T>(x0, v128.load(w, 16), s1);
      s0 = madd<T>(x1, v128.load(w, 32), s0);
      s1 = madd<T>(x1, v128.load(w, 48), s1);
      x += 16;
      w += 64;
    }
  }
  for (; p < depth; p++) {
    const v = v128.splat<T>(load<T>(x));
    s0 = madd<T>(v, v128.load(w), s0);
    s1 = madd<T>(v, v128.load(w, 16), s1);
    x += sizeof<T>();
    w += 32;
  }
  addSums<T>(width, add, s0, s1, y);
}

/** One f32 from each of four addresses. */
// @ts-ignore: decorator
@inline function gather(a: usize, b: usize, c: usize, d: usize): v128 {
  return v128.load32_lane(d, v128.load32_lane(c, v128.load32_lane(b, v128.load32_zero(a), 1), 2), 3);
}

/** Outputs of a strip of oneRowOfColumns: its sums stay in the first-level cache. */
const STRIP: i32 = 1024;

/** One row of x against W stored (in×out), rows ldw elements apart, in strips of outputs. */
function oneRowOfColumns<T>(
  begin: i32, end: i32, inFeatures: i32, x: usize, w: usize, ldw: i32, add: bool, y: usize,
): void {
  const sums = packedA(), kc = balanced(inFeatures, KC, 4);
  for (let j = begin; j < end; j += STRIP) {
    const width = min<i32>(STRIP, end - j);
    for (let p = 0; p < inFeatures; p += kc) {
      const depth = min<i32>(kc, inFeatures - p);
      fill<T>(width, <T>0, sums);
      let q = 0;
      for (; q + 4 <= depth; q += 4) {
        addRows4<T>(width, at<T>(x, p + q), at<T>(w, (p + q) * ldw + j), at<T>(0, ldw), sums);
      }
      for (; q < depth; q++) addRow<T>(width, at<T>(x, p + q), at<T>(w, (p + q) * ldw + j), sums);
      if (add || p > 0) axpy<T>(width, <T>1, sums, 1, at<T>(y, j), 1);
      else copy<T>(width, sums, 1, at<T>(y, j), 1);
    }
  }
}

/** sums <- sums + x[q]·W[q] for q = 0…3 in this order, n elements. */
function addRows4<T>(n: i32, x: usize, w: usize, ldw: usize, sums: usize): void {
  const x0 = v128.splat<T>(load<T>(x)), x1 = v128.splat<T>(load<T>(at<T>(x, 1)));
  const x2 = v128.splat<T>(load<T>(at<T>(x, 2))), x3 = v128.splat<T>(load<T>(at<T>(x, 3)));
  let a = w, b = a + ldw, c = b + ldw, d = c + ldw;
  let j = 0;
  for (; j + lanes<T>() <= n; j += lanes<T>()) {
    let s = madd<T>(x0, v128.load(a), v128.load(sums));
    s = madd<T>(x1, v128.load(b), s);
    s = madd<T>(x2, v128.load(c), s);
    v128.store(sums, madd<T>(x3, v128.load(d), s));
    a += 16;
    b += 16;
    c += 16;
    d += 16;
    sums += 16;
  }
  for (; j < n; j++) {
    let s = maddOne<T>(x0, a, v128.splat<T>(load<T>(sums)));
    s = maddOne<T>(x1, b, s);
    s = maddOne<T>(x2, c, s);
    store<T>(sums, v128.extract_lane<T>(maddOne<T>(x3, d, s), 0));
    a += sizeof<T>();
    b += sizeof<T>();
    c += sizeof<T>();
    d += sizeof<T>();
    sums += sizeof<T>();
  }
}

/** sums <- sums + x[0]·w, n elements. */
function addRow<T>(n: i32, x: usize, w: usize, sums: usize): void {
  const v = v128.splat<T>(load<T>(x));
  for (let j = 0; j < n; j++) {
    store<T>(sums, v128.extract_lane<T>(maddOne<T>(v, w, v128.splat<T>(load<T>(sums))), 0));
    w += sizeof<T>();
    sums += sizeof<T>();
  }
}

/** The tile's multiply and add for one element: scalars round twice in every build. */
// @ts-ignore: decorator
@inline function maddOne<T>(x: v128, w: usize, s: v128): v128 {
  return madd<T>(x, v128.splat<T>(load<T>(w)), s);
}
