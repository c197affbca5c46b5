// Vectors of random numbers by position (philox.ts): x[i] <- element first + i of (seed, stream), contiguous. A stream's
// Gaussian, uniform and Bernoulli numbers come from the same blocks: do not mix them in one stream.

import { cospi, log, sinpi } from "../elementary";
import { at } from "../simd";
import { integer53, philox, word } from "./philox";

const UNIT_53: f64 = 1.1102230246251565e-16; // 2^-53

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
    const radius = gaussianPair(seed, stream, block++);
    store<T>(x, <T>(radius * sinpi<f64>(turn())));
    i = 1;
  }
  for (; i < n; i += 2) {
    const radius = gaussianPair(seed, stream, block++), angle = turn();
    store<T>(at<T>(x, i), <T>(radius * cospi<f64>(angle)));
    if (i + 1 < n) store<T>(at<T>(x, i + 1), <T>(radius * sinpi<f64>(angle)));
  }
}

/** Draws a block; the radius √(−2·log u) with u in (0, 1]. A function of its own, so that the engine compiles it early. */
function gaussianPair(seed: u32, stream: u32, block: u64): f64 {
  philox(seed, stream, block);
  return sqrt<f64>(-2 * log<f64>((integer53(0) + 1) * UNIT_53));
}

/** The angle of the block, in multiples of π. */
// @ts-ignore: decorator
@inline function turn(): f64 {
  return integer53(1) * (2 * UNIT_53);
}

/**
 * n numbers that are `value` with the given probability, else 0: four a block. The probability counts in steps of 2^-32; 0 gives
 * zeros only, 1 values only. Dropout at rate p: probability 1 − p, value 1/(1 − p).
 */
export function bernoulli<T>(
  seed: u32, stream: u32, first: f64, n: i32, probability: f64, value: T, x: usize,
): void {
  const limit = probability * 4294967296; // 2^32
  const start = <u64>first;
  let q = <i32>(start & 3);
  let block = start >> 2;
  for (let i = 0; i < n; block++) {
    philox(seed, stream, block);
    for (; q < 4 && i < n; q++, i++) store<T>(at<T>(x, i), <f64>word(q) < limit ? value : <T>0);
    q = 0;
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
