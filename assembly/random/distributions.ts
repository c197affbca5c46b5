// Vectors of random numbers by position (philox.ts): x[i] <- element first + i of (seed, stream), contiguous. A stream's
// Gaussian, uniform and Bernoulli numbers come from the same blocks: do not mix them in one stream.

import { cospi, log, sinpi } from "../elementary";
import { at } from "../simd";
import { blockOfFour, integer53, philox, philoxFour, word } from "./philox";

const UNIT_53: f64 = 1.1102230246251565e-16; // 2^-53
/** Integers of 53 bits to angles in multiples of π. */
const TURN: f64 = 2.220446049250313e-16; // 2^-52

/** n numbers of [0, 1): multiples of 2^-53, or of 2^-24, rounded down, in f32. Two a block. */
export function uniform<T>(seed: u32, stream: u32, first: f64, n: i32, x: usize): void {
  const start = <u64>first;
  let half = <i32>(start & 1);
  let block = start >> 1;
  for (let i = 0; i < n; block++) {
    philox(seed, stream, block);
    for (; half < 2 && i < n; half++, i++) {
      let u = integer53(half) * UNIT_53;
      if (sizeof<T>() == 4) u = floor<f64>(u * 16777216) * 5.9604644775390625e-8; // 2^24
      store<T>(at<T>(x, i), <T>u);
    }
    half = 0;
  }
}

/** n numbers of mean 0 and variance 1, by Box and Muller's transform (1958): two a block. |x| < 8.6. */
export function gaussian<T>(seed: u32, stream: u32, first: f64, n: i32, x: usize): void {
  const start = <u64>first;
  let block = start >> 1;
  let i = 0;
  if ((start & 1) != 0 && n > 0) {
    philox(seed, stream, block++);
    store<T>(x, <T>(radius(integer53(0)) * sinpi<f64>(integer53(1) * TURN)));
    i = 1;
  }
  while (i + 2 <= n) {
    if ((block & 3) == 0 && i + 8 <= n) {
      philoxFour(seed, stream, block);
      storePairs<T>(blockOfFour(0), at<T>(x, i));
      storePairs<T>(blockOfFour(1), at<T>(x, i + 2));
      storePairs<T>(blockOfFour(2), at<T>(x, i + 4));
      storePairs<T>(blockOfFour(3), at<T>(x, i + 6));
      block += 4;
      i += 8;
    } else {
      philox(seed, stream, block++);
      storePair<T>(integer53(0), integer53(1), at<T>(x, i));
      i += 2;
    }
  }
  if (i < n) {
    philox(seed, stream, block);
    store<T>(at<T>(x, i), <T>(radius(integer53(0)) * cospi<f64>(integer53(1) * TURN)));
  }
}

/** The two numbers of a block from its words. */
// @ts-ignore: decorator
@inline function storePairs<T>(words: v128, x: usize): void {
  const integers = v128.shr<u64>(words, 11);
  storePair<T>(<f64>v128.extract_lane<u64>(integers, 0), <f64>v128.extract_lane<u64>(integers, 1), x);
}

/** A function of its own, so that the engine compiles it early. */
function storePair<T>(a: f64, b: f64, x: usize): void {
  const r = radius(a), angle = b * TURN;
  store<T>(x, <T>(r * cospi<f64>(angle)));
  store<T>(at<T>(x, 1), <T>(r * sinpi<f64>(angle)));
}

/** √(−2·log u) for u = (a + 1)·2^-53 in (0, 1]. */
// @ts-ignore: decorator
@inline function radius(a: f64): f64 {
  return sqrt<f64>(-2 * log<f64>((a + 1) * UNIT_53));
}

/**
 * n numbers that are `value` with the given probability, else 0: four a block. The probability counts in steps of 2^-32; 0 gives
 * zeros only, 1 values only. Dropout at rate p: probability 1 − p, value 1/(1 − p).
 */
export function bernoulli<T>(
  seed: u32, stream: u32, first: f64, n: i32, probability: f64, value: T, x: usize,
): void {
  const limit = ceil<f64>(probability * 4294967296); // 2^32
  const start = <u64>first;
  let q = <i32>(start & 3);
  let block = start >> 2;
  let i = 0;
  while (i < n) {
    if (q == 0 && (block & 3) == 0 && i + 16 <= n && limit < 4294967296) {
      philoxFour(seed, stream, block);
      const bound = i32x4.splat(<i32>(<u32>limit)), values = v128.splat<T>(value);
      storeChosen<T>(v128.lt<u32>(blockOfFour(0), bound), values, at<T>(x, i));
      storeChosen<T>(v128.lt<u32>(blockOfFour(1), bound), values, at<T>(x, i + 4));
      storeChosen<T>(v128.lt<u32>(blockOfFour(2), bound), values, at<T>(x, i + 8));
      storeChosen<T>(v128.lt<u32>(blockOfFour(3), bound), values, at<T>(x, i + 12));
      block += 4;
      i += 16;
    } else {
      philox(seed, stream, block++);
      for (; q < 4 && i < n; q++, i++) store<T>(at<T>(x, i), <f64>word(q) < limit ? value : <T>0);
      q = 0;
    }
  }
}

/** Four numbers: the values where the mask, of 32 bits a number, is set, else 0. */
// @ts-ignore: decorator
@inline function storeChosen<T>(mask: v128, values: v128, x: usize): void {
  if (sizeof<T>() == 4) {
    v128.store(x, v128.and(mask, values));
  } else {
    v128.store(x, v128.and(v128.extend_low<i32>(mask), values));
    v128.store(x, v128.and(v128.extend_high<i32>(mask), values), 16);
  }
}

/** p (n integers of 32 bits) <- a permutation of 0 … n − 1, each as likely (Durstenfeld 1964). */
export function permutation(seed: u32, stream: u32, n: i32, p: usize): void {
  for (let i = 0; i < n; i++) store<i32>(p + ((<usize>i) << 2), i);
  for (let i = n - 1; i > 0; i--) {
    philox(seed, stream, <u64>i);
    const j = <i32>(integer53(0) * UNIT_53 * <f64>(i + 1));
    const here = p + ((<usize>i) << 2), there = p + ((<usize>j) << 2);
    const moved = load<i32>(here);
    store<i32>(here, load<i32>(there));
    store<i32>(there, moved);
  }
}
