// Random numbers by position: Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011), a bijection of 128-bit counters under a 64-bit key.
// The key is (seed, stream), the counter is the position: element i of a stream is the same number whatever was drawn
// before it, so filling in parts, in any order or by a team gives the same bits as one fill. f32 and f64 see the same draw.
//
// Use: gaussian<T>(seed, stream, first, n, x) writes elements first … first + n − 1. Give every purpose within one call a stream
// of its own (a layer, a test matrix, a probe), and every step of a loop other positions.

const MULTIPLIER_0: u64 = 0xd2511f53;
const MULTIPLIER_1: u64 = 0xcd9e8d57;
const WEYL_0: u32 = 0x9e3779b9;
const WEYL_1: u32 = 0xbb67ae85;

/** The words of the last block. */
let word0: u32 = 0;
let word1: u32 = 0;
let word2: u32 = 0;
let word3: u32 = 0;

/** Ten rounds on the counter (counter, 0) under the key (seed, stream). */
export function philox(seed: u32, stream: u32, counter: u64): void {
  let c0 = <u32>counter, c1 = <u32>(counter >> 32), c2: u32 = 0, c3: u32 = 0;
  let k0 = seed, k1 = stream;
  for (let round = 0; round < 10; round++) {
    const p0 = MULTIPLIER_0 * <u64>c0, p1 = MULTIPLIER_1 * <u64>c2;
    c0 = <u32>(p1 >> 32) ^ c1 ^ k0;
    c1 = <u32>p1;
    c2 = <u32>(p0 >> 32) ^ c3 ^ k1;
    c3 = <u32>p0;
    k0 += WEYL_0;
    k1 += WEYL_1;
  }
  word0 = c0;
  word1 = c1;
  word2 = c2;
  word3 = c3;
}

/** Word q of the last block, q < 4. */
export function word(q: i32): u32 {
  return q < 2 ? (q == 0 ? word0 : word1) : q == 2 ? word2 : word3;
}

/** Half of the last block as an integer of 53 bits: the words 0 and 1, or 2 and 3. */
export function integer53(half: i32): f64 {
  return half == 0
    ? <f64>(((<u64>word1 << 32) | <u64>word0) >> 11)
    : <f64>(((<u64>word3 << 32) | <u64>word2) >> 11);
}
