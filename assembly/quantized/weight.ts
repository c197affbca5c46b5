// Weights (rows×columns, row-major) in four formats that are read by rows: 16-bit floats, 8-bit integers, NF4.
//   kind      codes, a row          scales
//   FLOAT16   columns u16           i32: 1 if all are finite, else 0
//   BFLOAT16  columns u16           none
//   INT8      columns i8            f32[rows]
//   NF4       ⌈columns/2⌉ bytes     f32[rows·⌈columns/64⌉]
//   NF4_TWICE the same              double-quantised, see nf4.ts

import { at } from "../simd";
import { fromBfloat16, toBfloat16 } from "./bfloat16";
import { fromFiniteFloat16, fromFloat16, isFiniteFloat16, toFloat16 } from "./float16";
import { fromInt8, toInt8 } from "./int8";
import { BLOCK, PAIRS_BYTES, fillDynamicTable, fillPairs, fromNf4, quantizeMagnitudes, readMagnitudes, toNf4 } from "./nf4";

export const FLOAT16: i32 = 0;
export const BFLOAT16: i32 = 1;
export const INT8: i32 = 2;
export const NF4: i32 = 3;
export const NF4_TWICE: i32 = 4;

/** Bytes of a row of codes. */
export function rowBytes(kind: i32, columns: i32): usize {
  if (kind <= BFLOAT16) return 2 * <usize>columns;
  return kind == INT8 ? <usize>columns : <usize>((columns + 1) >> 1);
}

/** Bytes of a head of working memory: the tables of NF4 and of double quantisation. */
export const TABLE_BYTES: usize = 1024 + PAIRS_BYTES;

/** Blocks of a row. */
// @ts-ignore: decorator
@inline export function blocksOf(columns: i32): i32 {
  return (columns + BLOCK - 1) / BLOCK;
}

/** Readies `table` (TABLE_BYTES) for reading a weight. */
export function prepareTable(kind: i32, table: usize): void {
  if (kind == NF4_TWICE) fillDynamicTable(table);
  if (kind >= NF4) fillPairs(pairsOf(table));
}

/** The table of NF4's pairs. */
// @ts-ignore: decorator
@inline export function pairsOf(table: usize): usize {
  return table + 1024;
}

/** The magnitudes of `count` blocks of a row from `first` on: where they stand, or in `dst` (f32[count]) after being read. */
export function rowMagnitudes(
  kind: i32, rows: i32, columns: i32, row: i32, first: i32, count: i32, scales: usize, table: usize, dst: usize,
): usize {
  const blocks = blocksOf(columns);
  if (kind == NF4) return at<f32>(scales, row * blocks + first);
  readMagnitudes(row * blocks + first, count, rows * blocks, scales, table, dst);
  return dst;
}

/** dst (count f32) <- columns first … of a row; first is a multiple of 64. magnitudes: for NF4, of the blocks from there on. */
export function decodeRange(
  kind: i32, columns: i32, row: i32, first: i32, count: i32, codes: usize, scales: usize, magnitudes: usize, table: usize,
  dst: usize,
): void {
  const line = codes + <usize>row * rowBytes(kind, columns);
  if (kind == FLOAT16) {
    if (load<i32>(scales) != 0) fromFiniteFloat16(count, line + 2 * <usize>first, dst);
    else fromFloat16(count, line + 2 * <usize>first, dst);
  } else if (kind == BFLOAT16) fromBfloat16(count, line + 2 * <usize>first, dst);
  else if (kind == INT8) fromInt8(count, line + <usize>first, load<f32>(at<f32>(scales, row)), dst);
  else fromNf4(count, line + <usize>(first >> 1), magnitudes, pairsOf(table), dst);
}

/** Bytes of working memory of quantizeWeight and expandWeight. */
export function quantizeScratch(kind: i32, rows: i32, columns: i32): f64 {
  // quantizing needs all magnitudes, reading those of a row
  const magnitudes = kind == NF4_TWICE ? 4 * <f64>max<i32>(rows, 1) * <f64>blocksOf(columns) : 0;
  return <f64>TABLE_BYTES + magnitudes;
}

/** codes and scales <- w (rows×columns f32, contiguous). Integers and NF4 want finite numbers. */
export function quantizeWeight(kind: i32, rows: i32, columns: i32, w: usize, codes: usize, scales: usize, work: usize): void {
  const step = rowBytes(kind, columns), blocks = blocksOf(columns);
  const magnitudes = kind == NF4_TWICE ? work + TABLE_BYTES : scales;
  for (let i = 0; i < rows; i++) {
    if (kind == FLOAT16) toFloat16(columns, w, codes);
    else if (kind == BFLOAT16) toBfloat16(columns, w, codes);
    else if (kind == INT8) store<f32>(at<f32>(scales, i), toInt8(columns, w, codes));
    else toNf4(columns, w, codes, at<f32>(magnitudes, i * blocks));
    w += at<f32>(0, columns);
    codes += step;
  }
  if (kind == NF4_TWICE) quantizeMagnitudes(rows * blocks, magnitudes, scales, work);
  if (kind == FLOAT16) markFinite(rows * columns, codes - <usize>rows * step, scales);
}

/** The scale of 16-bit floats: whether all n codes are finite. For codes that come from elsewhere. */
export function markFinite(n: i32, codes: usize, scales: usize): void {
  store<i32>(scales, isFiniteFloat16(n, codes));
}

/** Rows [begin, end) of w (rows×columns f32, contiguous) <- codes and scales. */
export function expandWeight(
  begin: i32, end: i32, kind: i32, rows: i32, columns: i32, codes: usize, scales: usize, w: usize, work: usize,
): void {
  prepareTable(kind, work);
  w = at<f32>(w, begin * columns);
  for (let i = begin; i < end; i++) {
    const magnitudes = kind < NF4 ? <usize>0 : rowMagnitudes(kind, rows, columns, i, 0, blocksOf(columns), scales, work, work + TABLE_BYTES);
    decodeRange(kind, columns, i, 0, columns, codes, scales, magnitudes, work, w);
    w += at<f32>(0, columns);
  }
}

/**
 * dst (n f32) <- src (n f64), to odd: cut off, and the last bit set where that lost something. Rounded again to 16 bits, the
 * result is the number nearest to the f64, without a second rounding.
 */
export function roundToOdd(n: i32, src: usize, dst: usize): void {
  for (let i = 0; i < n; i++) {
    const x = load<f64>(at<f64>(src, i));
    const near = <f32>x;
    let bits = reinterpret<u32>(near);
    if (x == x && <f64>near != x) {
      if (abs<f64>(<f64>near) > abs<f64>(x)) bits--;
      bits |= 1;
    }
    store<u32>(at<f32>(dst, i), bits);
  }
}
