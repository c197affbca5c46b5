// Many adapters over one base: y <- y + scaling·(x·Aᵀ)·Bᵀ with an adapter of its own for every row of x (tokens×in) and y
// (tokens×out). Rows are sorted by adapter (counting sort) and taken by index, so that the factors of an adapter are read while
// they are in the cache and neither x nor y is copied; the ranks may differ and nothing is padded to the largest. After Punica's SGMV (Chen
// et al. 2023) and S-LoRA's pool of rank-rows (Sheng et al. 2023).
//
// An adapter is a record of RECORD_BYTES:
//   i32 r, u32 hasBias | f64 scaling | u32 a (r×in), u32 b (out×r), u32 bias (out) | u32 page
// Its factors stand in matrices, or, if page is not 0, in a chain of pages, one a rank-row and one more for the bias:
//   u32 next, padded to 16 bytes | the record, in the first page | row of A (in), padded to 16 bytes | column of B (out)
// The scale is folded into the r numbers between A and B; the bias is one more rank-row, whose number is the scale.

import { lacpy } from "../blas/matrix";
import { at } from "../simd";
import { expandRow, expandTwoRows } from "./expand";
import { LINE_BYTES, shrinkRow, shrinkTwoRows } from "./shrink";

export const RECORD_BYTES: usize = 32;

const NEXT_BYTES: usize = 16;
const PAGE_HEAD: usize = NEXT_BYTES + RECORD_BYTES;

// @ts-ignore: decorator
@inline function padded(bytes: usize, unit: usize): usize {
  return (bytes + unit - 1) & ~(unit - 1);
}

/** Where a page's column of B begins. */
// @ts-ignore: decorator
@inline function columnOffset<T>(inFeatures: i32): usize {
  return PAGE_HEAD + padded(at<T>(0, inFeatures), 16);
}

/** Bytes from page to page: whole cache lines and never a multiple of 512 apart, for the cache's sake. */
export function loraPageBytes<T>(inFeatures: i32, outFeatures: i32): f64 {
  const bytes = padded(columnOffset<T>(inFeatures) + at<T>(0, outFeatures), 64);
  return <f64>((bytes & 511) == 0 ? bytes + 64 : bytes);
}

/** Chains `count` pages from `first` on, in front of the chain `next`. */
export function loraLinkPages(count: i32, first: usize, pageBytes: usize, next: usize): void {
  for (let i = 1; i <= count; i++) {
    store<u32>(first, <u32>(i == count ? next : first + pageBytes));
    first += pageBytes;
  }
}

/** The record of an adapter that stands in a chain of pages. */
export function loraPagesRecord(page: usize): usize {
  return page + NEXT_BYTES;
}

/** Writes an adapter into the first pages of a chain (r, and one for the bias if that is not 0); returns the page after them. */
export function loraWritePages<T>(
  inFeatures: i32, outFeatures: i32, r: i32, a: usize, b: usize, bias: usize, scaling: f64, page: usize,
): usize {
  const offset = columnOffset<T>(inFeatures), record = loraPagesRecord(page);
  loraRecord(r, 0, 0, bias, scaling, record);
  store<u32>(record, <u32>page, 28);
  for (let j = 0; j < r; j++) {
    memory.copy(page + PAGE_HEAD, at<T>(a, j * inFeatures), at<T>(0, inFeatures));
    lacpy<T>(1, outFeatures, at<T>(b, j), outFeatures, r, page + offset, outFeatures);
    page = <usize>load<u32>(page);
  }
  if (bias == 0) return page;
  memory.copy(page + offset, bias, at<T>(0, outFeatures));
  return <usize>load<u32>(page);
}

/** Puts the first `count` pages of a chain in front of the chain `next`. */
export function loraFreePages(count: i32, page: usize, next: usize): void {
  for (let i = 1; i < count; i++) page = <usize>load<u32>(page);
  store<u32>(page, <u32>next);
}

/** Where the parts of the working memory stand; see loraBatchScratch. */
// @ts-ignore: decorator
@inline function startsOf(work: usize, tokens: i32): usize {
  return work + padded(<usize>tokens << 2, 64);
}

// @ts-ignore: decorator
@inline function linesOf(work: usize, tokens: i32, count: i32): usize {
  return startsOf(work, tokens) + padded(<usize>(count + 2) << 2, 64);
}

/** Bytes of working memory of loraBatch: `count` adapters of at most r, `transpose` = 1 if some stand in matrices. */
export function loraBatchScratch<T>(tokens: i32, count: i32, r: i32, outFeatures: i32, transpose: i32): f64 {
  const lists = linesOf(0, tokens, count);
  return <f64>lists + segmentScratch<T>(r) + (transpose ? <f64>r * <f64>outFeatures * <f64>sizeof<T>() : 0);
}

/** Bytes of the lines and of two rows of coefficients. */
// @ts-ignore: decorator
@inline function segmentScratch<T>(r: i32): f64 {
  return <f64>(padded(<usize>(r + 1) * LINE_BYTES, 64) + 2 * padded(at<T>(0, r + 1), 64));
}

/**
 * See the head of this file. ids: i32 a row, the place of its adapter in `records` (u32 addresses, count of them) or -1: none, the
 * row is not touched. scales: one factor a row, or 0: none. Rows of x and y are ldx and ldy elements apart; they do not overlap.
 */
export function loraBatch<T>(
  tokens: i32, inFeatures: i32, outFeatures: i32, x: usize, ldx: i32, y: usize, ldy: i32, ids: usize, count: i32,
  records: usize, scales: usize, work: usize,
): void {
  const starts = startsOf(work, tokens), lines = linesOf(work, tokens, count);
  sortRows(tokens, ids, count, work, starts);
  for (let i = 0; i < count; i++) {
    const first = load<i32>(starts + (<usize>i << 2)), end = load<i32>(starts + (<usize>i << 2), 4);
    if (end == first) continue;
    const record = <usize>load<u32>(records + (<usize>i << 2));
    segment<T>(end - first, work + (<usize>first << 2), inFeatures, outFeatures, x, ldx, y, ldy, record, scales, lines);
  }
}

/** order <- row numbers sorted by id, within an id as they came; rows of id i are starts[i] … starts[i + 1]. */
function sortRows(tokens: i32, ids: usize, count: i32, order: usize, starts: usize): void {
  memory.fill(starts, 0, <usize>(count + 2) << 2);
  // counts stand two places up, so that the second pass leaves starts where they belong
  for (let t = 0; t < tokens; t++) {
    const id = load<i32>(ids + (<usize>t << 2));
    if (id >= 0) countRow(starts + (<usize>id << 2) + 8);
  }
  for (let i = 1; i <= count; i++) {
    const place = starts + (<usize>i << 2);
    store<i32>(place, load<i32>(place, 4) + load<i32>(place), 4);
  }
  for (let t = 0; t < tokens; t++) {
    const id = load<i32>(ids + (<usize>t << 2));
    if (id >= 0) store<i32>(order + (<usize>countRow(starts + (<usize>id << 2) + 4) << 2), t);
  }
}

/** The counter's value before it is raised by one. */
// @ts-ignore: decorator
@inline function countRow(counter: usize): i32 {
  const value = load<i32>(counter);
  store<i32>(counter, value + 1);
  return value;
}

/** Rows of one adapter, two at a time. rows: their numbers, or 0: all from 0 on. */
function segment<T>(
  n: i32, rows: usize, inFeatures: i32, outFeatures: i32, x: usize, ldx: i32, y: usize, ldy: i32, record: usize,
  scales: usize, work: usize,
): void {
  const r = load<i32>(record), hasBias = load<u32>(record, 4) != 0, all = hasBias ? r + 1 : r;
  const scaling = <T>load<f64>(record, 8);
  const h = work + padded(<usize>(r + 1) * LINE_BYTES, 64), g = h + padded(at<T>(0, r + 1), 64);
  listLines<T>(inFeatures, outFeatures, record, work, g + padded(at<T>(0, r + 1), 64));
  let i = 0;
  for (; i + 2 <= n; i += 2) {
    const t = rowNumber(rows, i), u = rowNumber(rows, i + 1);
    const s = scaleOf<T>(scaling, scales, t), v = scaleOf<T>(scaling, scales, u);
    shrinkTwoRows<T>(inFeatures, r, work, at<T>(x, t * ldx), at<T>(x, u * ldx), s, v, h, g);
    if (hasBias) {
      store<T>(at<T>(h, r), s);
      store<T>(at<T>(g, r), v);
    }
    expandTwoRows<T>(outFeatures, all, work, h, g, at<T>(y, t * ldy), at<T>(y, u * ldy));
  }
  if (i < n) {
    const t = rowNumber(rows, i);
    const s = scaleOf<T>(scaling, scales, t);
    shrinkRow<T>(inFeatures, r, work, at<T>(x, t * ldx), s, h);
    if (hasBias) store<T>(at<T>(h, r), s);
    expandRow<T>(outFeatures, all, work, h, at<T>(y, t * ldy));
  }
}

// @ts-ignore: decorator
@inline function rowNumber(rows: usize, i: i32): i32 {
  return rows == 0 ? i : load<i32>(rows + (<usize>i << 2));
}

// @ts-ignore: decorator
@inline function scaleOf<T>(scaling: T, scales: usize, row: i32): T {
  return scales == 0 ? scaling : <T>(scaling * load<T>(at<T>(scales, row)));
}

/** lines <- the addresses of an adapter's rank-rows; a B that stands in a matrix is transposed into `columns` (r×out) first. */
function listLines<T>(inFeatures: i32, outFeatures: i32, record: usize, lines: usize, columns: usize): void {
  const r = load<i32>(record), bias = load<u32>(record, 4) != 0;
  let page = <usize>load<u32>(record, 28);
  if (page != 0) {
    const offset = columnOffset<T>(inFeatures), all = bias ? r + 1 : r;
    for (let j = 0; j < all; j++) {
      addLine(lines, j, page + PAGE_HEAD, page + offset);
      page = <usize>load<u32>(page);
    }
    return;
  }
  const a = <usize>load<u32>(record, 16), b = <usize>load<u32>(record, 20);
  lacpy<T>(r, outFeatures, b, 1, r, columns, outFeatures);
  for (let j = 0; j < r; j++) addLine(lines, j, at<T>(a, j * inFeatures), at<T>(columns, j * outFeatures));
  if (bias) addLine(lines, r, 0, <usize>load<u32>(record, 24));
}

// @ts-ignore: decorator
@inline function addLine(lines: usize, j: i32, a: usize, b: usize): void {
  const line = lines + <usize>j * LINE_BYTES;
  store<u32>(line, <u32>a);
  store<u32>(line, <u32>b, 4);
}

/** Writes the record of an adapter in matrices A (r×in), B (out×r) and bias (out; 0: none). */
export function loraRecord(r: i32, a: usize, b: usize, bias: usize, scaling: f64, record: usize): void {
  store<i32>(record, r);
  store<u32>(record, bias != 0 ? 1 : 0, 4);
  store<f64>(record, scaling, 8);
  store<u32>(record, <u32>a, 16);
  store<u32>(record, <u32>b, 20);
  store<u32>(record, <u32>bias, 24);
  store<u32>(record, 0, 28);
}

/** Bytes of working memory of loraAdd. */
export function loraAddScratch<T>(r: i32, outFeatures: i32): f64 {
  return <f64>RECORD_BYTES + segmentScratch<T>(r) + <f64>r * <f64>outFeatures * <f64>sizeof<T>();
}

/**
 * One adapter: y <- y + scaling·((x·Aᵀ)·Bᵀ + loraBias), with the bits of loraBatch, for `count` rows: those that a list of i32
 * names, or with rows = 0 all. loraBias may be 0: none.
 */
export function loraAdd<T>(
  count: i32, rows: usize, inFeatures: i32, outFeatures: i32, x: usize, ldx: i32, y: usize, ldy: i32, r: i32, a: usize, b: usize,
  loraBias: usize, scaling: f64, work: usize,
): void {
  if (count <= 0) return;
  loraRecord(r, a, b, loraBias, scaling, work);
  segment<T>(count, rows, inFeatures, outFeatures, x, ldx, y, ldy, work, 0, work + RECORD_BYTES);
}
