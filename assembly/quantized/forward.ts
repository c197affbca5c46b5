// y = x·Wᵀ + bias with a quantised W (out×in, kinds of weight.ts); x (tokens×in), bias (out) and y (tokens×out) are f32.
// Many rows of x: lora/linear.ts's product, where panels of eight rows of W are decoded as they are packed. Few rows: the time goes into
// reading W, so it is multiplied as it is decoded, in registers.

import { KC, MR, balanced, packedA, packedB } from "../blas/blocking";
import { amax, dot, scal } from "../blas/level1";
import { packPanel } from "../blas/pack";
import { packRows, packedPart, packedSpan, rowsOfTiles } from "../lora/linear";
import { exponent, powerOfTwo } from "../machine";
import { at } from "../simd";
import { bfloat16Rows4 } from "./bfloat16";
import { FLOAT16_SHIFT, float16Rows4 } from "./float16";
import { LIMB_BITS, int8Rows4, splitLimbs } from "./int8";
import { BLOCK, nf4Row } from "./nf4";
import {
  BFLOAT16, FLOAT16, INT8, NF4, NF4_TWICE, TABLE_BYTES, blocksOf, decodeRange, pairsOf, prepareTable, rowBytes, rowMagnitudes,
} from "./weight";

/** Up to so many rows of x packing is not worth its time: the few-row product decodes for each row anew. */
// @ts-ignore: decorator
@inline function isFew(kind: i32, tokens: i32): bool {
  return tokens <= (kind >= NF4 ? 3 : kind == FLOAT16 ? 4 : 8);
}

/** Rows of W to a panel: NR of f32. */
const PANEL: i32 = 8;

/** Bytes of decoded values: a panel, KC deep. */
const DECODED_BYTES: usize = <usize>(PANEL * KC) * 4;

/** Bytes of a row of x as the few-row product wants it: the factor that was taken out, then columns·4 bytes. */
// @ts-ignore: decorator
@inline function preparedBytes(columns: i32): usize {
  return 16 + 4 * <usize>((columns + 3) & -4);
}

/** Bytes of working memory of quantizedForward: the table, decoded values, magnitudes of a panel, rows of x. */
export function quantizedForwardScratch(kind: i32, tokens: i32, columns: i32): f64 {
  const magnitudes = kind < NF4 ? 0 : 4 * <f64>PANEL * <f64>blocksOf(columns);
  const prepared = isFew(kind, tokens) ? <f64>tokens * <f64>preparedBytes(columns) : 0;
  return <f64>(TABLE_BYTES + DECODED_BYTES) + prepared + magnitudes;
}

/** See the head of this file: outputs [begin, end) of every row, begin a multiple of PANEL. bias may be 0: none. */
export function quantizedForward(
  begin: i32, end: i32, kind: i32, tokens: i32, inFeatures: i32, outFeatures: i32, x: usize, codes: usize, scales: usize, bias: usize,
  y: usize, work: usize,
): void {
  prepareTable(kind, work);
  if (!isFew(kind, tokens) || (kind == FLOAT16 && load<i32>(scales) == 0)) {
    packedForward(begin, end, kind, tokens, inFeatures, outFeatures, x, codes, scales, bias, y, work);
    return;
  }
  const prepared = work + TABLE_BYTES + DECODED_BYTES;
  const step = preparedBytes(inFeatures);
  for (let t = 0; t < tokens; t++) prepare(kind, inFeatures, at<f32>(x, t * inFeatures), prepared + <usize>t * step);
  for (let o = begin; o < end; o += 4) {
    fewRows(kind, tokens, inFeatures, outFeatures, o, x, codes, scales, bias, y, prepared, work);
  }
  for (let t = 0; t < tokens; t++) {
    if (load<f32>(prepared + <usize>t * step) != 0) continue;
    const row = at<f32>(x, t * inFeatures), out = at<f32>(y, t * outFeatures);
    packedForward(begin, end, kind, 1, inFeatures, outFeatures, row, codes, scales, bias, out, work);
  }
}

/**
 * A row of x for the few-row product. dst: the power of two that its sums are to be multiplied with, or 0 where the row
 * must take the packed product (zeros, numbers not finite or near the ends of the range); then the row times its inverse in
 * f32 (16-bit floats; NF4: in pairs) or in limbs (integers).
 */
function prepare(kind: i32, columns: i32, x: usize, dst: usize): void {
  const to = dst + 16;
  store<f32>(dst, 1);
  if (kind >= NF4) {
    memory.copy(to, x, at<f32>(0, columns));
  } else if (kind == BFLOAT16) {
    memory.copy(to, x, at<f32>(0, columns));
  } else {
    const most = amax<f32>(columns, x, 1);
    const usable = most > powerOfTwo<f32>(-60) && most < powerOfTwo<f32>(60);
    const shift = kind == INT8 ? LIMB_BITS - 1 : FLOAT16_SHIFT;
    // two factors: 2^(112 + 60) is out of range
    const e = usable ? exponent<f32>(most) : 0;
    store<f32>(dst, usable ? powerOfTwo<f32>(kind == INT8 ? e - shift : e) : 0);
    if (!usable) return;
    if (kind == INT8) {
      splitLimbs(columns & -8, x, powerOfTwo<f32>(shift - e), to);
    } else {
      memory.copy(to, x, at<f32>(0, columns));
      scal<f32>(columns, powerOfTwo<f32>(-e), to, 1);
      scal<f32>(columns, powerOfTwo<f32>(shift), to, 1);
    }
  }
}

/** Any number of rows of x. */
function packedForward(
  begin: i32, end: i32, kind: i32, tokens: i32, inFeatures: i32, outFeatures: i32, x: usize, codes: usize, scales: usize, bias: usize,
  y: usize, work: usize,
): void {
  const decoded = work + TABLE_BYTES;
  const magnitudes = decoded + DECODED_BYTES;
  for (let t = 0; t < tokens; t++) {
    const row = at<f32>(y, t * outFeatures + begin);
    if (bias != 0) memory.copy(row, at<f32>(bias, begin), at<f32>(0, end - begin));
    else if (inFeatures == 0) memory.fill(row, 0, at<f32>(0, end - begin));
  }
  if (inFeatures == 0) return;
  const kc = balanced(inFeatures, KC, BLOCK), part = packedPart(tokens), span = packedSpan<f32>(min<i32>(part, tokens), kc);
  for (let t = 0; t < tokens; t += part) {
    const rows = min<i32>(part, tokens - t);
    for (let p = 0; p < inFeatures; p += span) {
      const depth = min<i32>(span, inFeatures - p);
      packRows<f32>(rows, depth, at<f32>(x, t * inFeatures + p), inFeatures);
      for (let o = begin; o < end; o += PANEL) {
        const width = min<i32>(PANEL, end - o);
        for (let q = 0; q < depth; q += kc) {
          const kb = min<i32>(kc, depth - q);
          multiplyPanel(
            kind, outFeatures, inFeatures, o, width, p + q, kb, codes, scales, magnitudes, work, decoded, rows,
            at<f32>(packedB(), q * MR), at<f32>(0, MR * depth), bias != 0 || p + q > 0, at<f32>(y, t * outFeatures + o),
          );
        }
      }
    }
  }
}

/**
 * Rows o … o + width - 1 of W, columns first … first + depth - 1, decoded and turned into a panel, against `tokens` packed rows of x:
 * y <- the sums (+ y with `add`).
 */
function multiplyPanel(
  kind: i32, outFeatures: i32, inFeatures: i32, o: i32, width: i32, first: i32, depth: i32, codes: usize, scales: usize,
  magnitudes: usize, table: usize, decoded: usize, tokens: i32, x: usize, step: usize, add: bool, y: usize,
): void {
  const blocks = blocksOf(depth);
  for (let q = 0; q < width; q++) {
    const m = kind < NF4
      ? <usize>0
      : rowMagnitudes(kind, outFeatures, inFeatures, o + q, first / BLOCK, blocks, scales, table, magnitudes);
    decodeRange(kind, inFeatures, o + q, first, depth, codes, scales, m, table, at<f32>(decoded, q * depth));
  }
  packPanel<f32>(PANEL, width, depth, decoded, depth, 1, packedA());
  rowsOfTiles<f32>(tokens, width, depth, x, step, packedA(), add, y, outFeatures);
}

/** Outputs o … o + 3 of every row of x that is prepared. */
function fewRows(
  kind: i32, tokens: i32, inFeatures: i32, outFeatures: i32, o: i32, x: usize, codes: usize, scales: usize, bias: usize, y: usize,
  prepared: usize, table: usize,
): void {
  const valid = min<i32>(4, outFeatures - o);
  const decoded = table + TABLE_BYTES;
  const step = rowBytes(kind, inFeatures), size = preparedBytes(inFeatures);
  const w = codes + <usize>o * step;
  const blocks = blocksOf(inFeatures);
  const apart = at<f32>(0, blocks);
  let magnitudes: usize = 0;
  if (kind == NF4) {
    magnitudes = at<f32>(scales, o * blocks);
  } else if (kind == NF4_TWICE) {
    magnitudes = prepared + <usize>tokens * size;
    for (let q = 0; q < valid; q++) {
      rowMagnitudes(kind, outFeatures, inFeatures, o + q, 0, blocks, scales, table, magnitudes + <usize>q * apart);
    }
  }
  // the four sums stand where the decoded values end
  const sums = decoded + DECODED_BYTES - 16;
  const done = valid < 4 ? 0 : inFeatures & (kind >= NF4 ? -BLOCK : -8);
  for (let t = 0; t < tokens; t++) {
    const from = prepared + <usize>t * size;
    const factor = load<f32>(from);
    if (factor == 0) continue;
    if (done > 0) {
      if (kind == INT8) int8Rows4(done, w, step, from + 16, sums);
      else if (kind == BFLOAT16) bfloat16Rows4(done, w, step, from + 16, sums);
      else if (kind == FLOAT16) float16Rows4(done, w, step, from + 16, sums);
      else {
        for (let q = 0; q < valid; q++) {
          const row = w + <usize>q * step;
          store<f32>(at<f32>(sums, q), nf4Row(done / BLOCK, row, magnitudes + <usize>q * apart, from + 16, pairsOf(table)));
        }
      }
    }
    for (let q = 0; q < valid; q++) {
      let s: f32 = done > 0 ? factor * load<f32>(at<f32>(sums, q)) : 0;
      if (kind == INT8) s *= load<f32>(at<f32>(scales, o + q));
      if (done < inFeatures) {
        const row = at<f32>(x, t * inFeatures);
        s += restOfRow(kind, inFeatures, o + q, done, codes, scales, magnitudes + <usize>q * apart, row, decoded, table);
      }
      store<f32>(at<f32>(y, t * outFeatures + o + q), bias == 0 ? s : s + load<f32>(at<f32>(bias, o + q)));
    }
  }
}

/** The products of columns from `done` on (a multiple of 8): decoded, then multiplied. */
function restOfRow(
  kind: i32, columns: i32, row: i32, done: i32, codes: usize, scales: usize, magnitudes: usize, x: usize, decoded: usize,
  table: usize,
): f32 {
  let s: f32 = 0;
  for (let first = done & -BLOCK; first < columns; first += KC) {
    const count = min<i32>(KC, columns - first);
    decodeRange(kind, columns, row, first, count, codes, scales, at<f32>(magnitudes, first / BLOCK), table, decoded);
    const skipped = max<i32>(done - first, 0);
    s += dot<f32>(count - skipped, at<f32>(decoded, skipped), 1, at<f32>(x, first + skipped), 1);
  }
  return s;
}
