// NF4 (Dettmers et al., "QLoRA", 2023): sixteen values, the quantiles of a normal distribution, times the largest
// magnitude of a block of 64. Two codes a byte, the first in the upper half, as bitsandbytes stores them. A row has blocks of
// its own, the last one may be short; rows start at whole bytes.
//
// Double quantisation: the magnitudes less their mean, in 8 bits ("dynamic map" of bitsandbytes), 256 of them to a scale.
//   scales: f32 mean, f32 scale[⌈blocks/256⌉], u8 code[blocks]

import { amax } from "../blas/level1";
import { at, sum } from "../simd";

/** Values of a block. */
export const BLOCK: i32 = 64;

/** Bytes of a full block. */
const BLOCK_BYTES: i32 = 32;

/** The code of 0, which also fills the second half of a row's last byte. */
const ZERO_CODE: i32 = 7;

/** Magnitudes to a scale in double quantisation. */
const GROUP: i32 = 256;

/** Four values in [-1, 1] to the nearest codes, ties to the lower: how many midpoints (rounded down) lie below. */
// @ts-ignore: decorator
@inline function encode4(x: v128): v128 {
  let code = f32x4.gt(x, f32x4.splat(-0.8480964303));
  code = i32x4.add(code, f32x4.gt(x, f32x4.splat(-0.610632956)));
  code = i32x4.add(code, f32x4.gt(x, f32x4.splat(-0.4599952698)));
  code = i32x4.add(code, f32x4.gt(x, f32x4.splat(-0.3396794498)));
  code = i32x4.add(code, f32x4.gt(x, f32x4.splat(-0.2346074134)));
  code = i32x4.add(code, f32x4.gt(x, f32x4.splat(-0.137911737)));
  code = i32x4.add(code, f32x4.gt(x, f32x4.splat(-0.04552501813)));
  code = i32x4.add(code, f32x4.gt(x, f32x4.splat(0.03979014978)));
  code = i32x4.add(code, f32x4.gt(x, f32x4.splat(0.1202552468)));
  code = i32x4.add(code, f32x4.gt(x, f32x4.splat(0.2035212517)));
  code = i32x4.add(code, f32x4.gt(x, f32x4.splat(0.2920137644)));
  code = i32x4.add(code, f32x4.gt(x, f32x4.splat(0.3893125355)));
  code = i32x4.add(code, f32x4.gt(x, f32x4.splat(0.5016633868)));
  code = i32x4.add(code, f32x4.gt(x, f32x4.splat(0.6427869201)));
  code = i32x4.add(code, f32x4.gt(x, f32x4.splat(0.8614783883)));
  return i32x4.neg(code);
}

/** codes (⌈n/2⌉ bytes) <- a block of n <= 64 finite f32; returns its largest magnitude. */
function encodeBlock(n: i32, x: usize, codes: usize): f32 {
  const most = amax<f32>(n, x, 1);
  if (most == 0) {
    memory.fill(codes, <u8>(ZERO_CODE * 17), (n + 1) >> 1);
    return most;
  }
  const m = f32x4.splat(most);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const code = encode4(f32x4.div(v128.load(x), m));
    store<u8>(codes, (i32x4.extract_lane(code, 0) << 4) | i32x4.extract_lane(code, 1));
    store<u8>(codes, (i32x4.extract_lane(code, 2) << 4) | i32x4.extract_lane(code, 3), 1);
    x += 16;
    codes += 2;
  }
  for (; i < n; i += 2) {
    const first = i32x4.extract_lane(encode4(f32x4.splat(load<f32>(x) / most)), 0);
    const second = i + 1 < n ? i32x4.extract_lane(encode4(f32x4.splat(load<f32>(x, 4) / most)), 0) : ZERO_CODE;
    store<u8>(codes, (first << 4) | second);
    x += 8;
    codes += 1;
  }
  return most;
}

/** A row of n finite f32: codes (⌈n/2⌉ bytes) and magnitudes (⌈n/64⌉ f32). */
export function toNf4(n: i32, x: usize, codes: usize, magnitudes: usize): void {
  for (let i = 0; i < n; i += BLOCK) {
    store<f32>(magnitudes, encodeBlock(min<i32>(BLOCK, n - i), x, codes));
    x += at<f32>(0, BLOCK);
    codes += BLOCK_BYTES;
    magnitudes += 4;
  }
}

/** Bytes of the table of pairs, and of the code book behind it. */
export const PAIRS_BYTES: i32 = 2048 + 64;

/**
 * pairs (2 f32 for each byte of codes) <- the code book's values: bitsandbytes' sixteen. One load gives two weights, where looking
 * up the bytes of an f32 by shuffles would take twice the instructions.
 */
export function fillPairs(pairs: usize): void {
  const book = pairs + PAIRS_BYTES - 64;
  store<f32>(book, -1);
  store<f32>(book, -0.6961928009986877, 4);
  store<f32>(book, -0.5250730514526367, 8);
  store<f32>(book, -0.39491748809814453, 12);
  store<f32>(book, -0.28444138169288635, 16);
  store<f32>(book, -0.18477343022823334, 20);
  store<f32>(book, -0.09105003625154495, 24);
  store<f32>(book, 0, 28);
  store<f32>(book, 0.07958029955625534, 32);
  store<f32>(book, 0.16093020141124725, 36);
  store<f32>(book, 0.24611230194568634, 40);
  store<f32>(book, 0.33791524171829224, 44);
  store<f32>(book, 0.44070982933044434, 48);
  store<f32>(book, 0.5626170039176941, 52);
  store<f32>(book, 0.7229568362236023, 56);
  store<f32>(book, 1, 60);
  for (let i = 0; i < 256; i++) {
    store<f32>(at<f32>(pairs, 2 * i), load<f32>(at<f32>(book, i >> 4)));
    store<f32>(at<f32>(pairs, 2 * i + 1), load<f32>(at<f32>(book, i & 15)));
  }
}

/** Bytes a and b of codes: four values. */
// @ts-ignore: decorator
@inline function values4(pairs: usize, a: i32, b: i32): v128 {
  return v128.load64_lane(pairs + (b << 3), v128.load64_zero(pairs + (a << 3)), 1);
}

/** dst (n f32) <- magnitude·value for the first n <= 64 codes of a block. */
function decodeBlock(n: i32, codes: usize, magnitude: f32, pairs: usize, dst: usize): void {
  const m = f32x4.splat(magnitude);
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    v128.store(dst, f32x4.mul(m, values4(pairs, load<u8>(codes), load<u8>(codes, 1))));
    v128.store(dst, f32x4.mul(m, values4(pairs, load<u8>(codes, 2), load<u8>(codes, 3))), 16);
    codes += 4;
    dst += 32;
  }
  for (; i < n; i += 2) {
    const pair = pairs + ((<usize>load<u8>(codes)) << 3);
    store<f32>(dst, magnitude * load<f32>(pair));
    if (i + 1 < n) store<f32>(dst, magnitude * load<f32>(pair, 4), 4);
    codes += 1;
    dst += 8;
  }
}

/** dst (n f32) <- n codes, the first of them at the head of a block; magnitudes from that block's on; pairs: fillPairs'. */
export function fromNf4(n: i32, codes: usize, magnitudes: usize, pairs: usize, dst: usize): void {
  for (let i = 0; i < n; i += BLOCK) {
    decodeBlock(min<i32>(BLOCK, n - i), codes, load<f32>(magnitudes), pairs, dst);
    codes += BLOCK_BYTES;
    magnitudes += 4;
    dst += at<f32>(0, BLOCK);
  }
}

/** A row of `blocks` full blocks against x (f32): Σ magnitude·Σ value·x. */
export function nf4Row(blocks: i32, codes: usize, magnitudes: usize, x: usize, pairs: usize): f32 {
  const zero = i32x4.splat(0);
  let total = zero;
  for (let i = blocks; i > 0; i--) {
    let p = zero, q = zero;
    for (const end = codes + BLOCK_BYTES; codes < end; codes += 8) {
      p = f32x4.add(p, f32x4.mul(values4(pairs, load<u8>(codes), load<u8>(codes, 1)), v128.load(x)));
      q = f32x4.add(q, f32x4.mul(values4(pairs, load<u8>(codes, 2), load<u8>(codes, 3)), v128.load(x, 16)));
      p = f32x4.add(p, f32x4.mul(values4(pairs, load<u8>(codes, 4), load<u8>(codes, 5)), v128.load(x, 32)));
      q = f32x4.add(q, f32x4.mul(values4(pairs, load<u8>(codes, 6), load<u8>(codes, 7)), v128.load(x, 48)));
      x += 64;
    }
    total = f32x4.add(total, f32x4.mul(v128.load32_splat(magnitudes), f32x4.add(p, q)));
    magnitudes += 4;
  }
  return sum<f32>(total);
}

/**
 * The 8-bit dynamic map: code 127 + p, p = 2^i + j < 128, means 10^(i-6)·(0.1 + 0.9·(j + ½)/2^i), code 255 means 1, 127 - p
 * is the negative of 127 + p.
 */
function dynamicValue(code: i32): f32 {
  const p = abs<i32>(code - 127);
  if (p == 0) return 0;
  let value: f64 = 1;
  if (p < 128) {
    const i = 31 - clz<i32>(p);
    value = 0.1 + (0.9 * (<f64>(p - (1 << i)) + 0.5)) / <f64>(1 << i);
    let power: f64 = 1;
    for (let step = i; step < 6; step++) power *= 10;
    value /= power;
  }
  return <f32>(code < 127 ? -value : value);
}

/** Entries of the table that double-quantised magnitudes are read with. */
export const DYNAMIC_ENTRIES: i32 = 256;

export function fillDynamicTable(table: usize): void {
  for (let code = 0; code < DYNAMIC_ENTRIES; code++) store<f32>(at<f32>(table, code), dynamicValue(code));
}

/** The code whose value is nearest to v, ties to the lower. */
function nearestCode(table: usize, v: f32): i32 {
  let lowest = 0, highest = DYNAMIC_ENTRIES - 1;
  while (lowest < highest) {
    const middle = (lowest + highest) >> 1;
    const between = 0.5 * (<f64>load<f32>(at<f32>(table, middle)) + <f64>load<f32>(at<f32>(table, middle + 1)));
    if (<f64>v > between) lowest = middle + 1;
    else highest = middle;
  }
  return lowest;
}

/** Where the 8-bit codes of `blocks` magnitudes stand. */
// @ts-ignore: decorator
@inline function codesOf(blocks: i32, scales: usize): usize {
  return scales + 4 + 4 * <usize>((blocks + GROUP - 1) / GROUP);
}

/** scales (see the head of this file) <- n magnitudes; table: 256 f32 of working memory. The magnitudes are overwritten. */
export function quantizeMagnitudes(n: i32, magnitudes: usize, scales: usize, table: usize): void {
  fillDynamicTable(table);
  let total: f64 = 0;
  for (let i = 0; i < n; i++) total += <f64>load<f32>(at<f32>(magnitudes, i));
  const mean = n == 0 ? <f32>0 : <f32>(total / <f64>n);
  store<f32>(scales, mean);
  const codes = codesOf(n, scales);
  for (let begin = 0; begin < n; begin += GROUP) {
    const count = min<i32>(GROUP, n - begin);
    const group = at<f32>(magnitudes, begin);
    for (let i = 0; i < count; i++) store<f32>(at<f32>(group, i), load<f32>(at<f32>(group, i)) - mean);
    const scale = amax<f32>(count, group, 1);
    store<f32>(at<f32>(scales, 1 + begin / GROUP), scale);
    for (let i = 0; i < count; i++) {
      const v: f32 = scale == 0 ? 0 : load<f32>(at<f32>(group, i)) / scale;
      store<u8>(codes + <usize>(begin + i), nearestCode(table, v));
    }
  }
}

/** dst (count f32) <- magnitudes first … first + count - 1 of `blocks` double-quantised ones. */
export function readMagnitudes(first: i32, count: i32, blocks: i32, scales: usize, table: usize, dst: usize): void {
  const mean = load<f32>(scales), codes = codesOf(blocks, scales);
  for (let i = first; i < first + count; i++) {
    const scale = load<f32>(at<f32>(scales, 1 + i / GROUP));
    store<f32>(dst, load<f32>(at<f32>(table, load<u8>(codes + <usize>i))) * scale + mean);
    dst += 4;
  }
}
