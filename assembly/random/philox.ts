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

/** The words of the last four blocks, a block a lane. */
let words0: v128 = i32x4(0, 0, 0, 0);
let words1: v128 = i32x4(0, 0, 0, 0);
let words2: v128 = i32x4(0, 0, 0, 0);
let words3: v128 = i32x4(0, 0, 0, 0);

/** The blocks counter … counter + 3 side by side; counter is a multiple of 4, so that none carries. */
export function philoxFour(seed: u32, stream: u32, counter: u64): void {
  let c0 = v128.add<i32>(i32x4.splat(<i32>counter), i32x4(0, 1, 2, 3)), c1 = i32x4.splat(<i32>(counter >> 32));
  let c2 = i32x4.splat(0), c3 = c2;
  let k0 = seed, k1 = stream;
  const m0 = i32x4.splat(<i32>MULTIPLIER_0), m1 = i32x4.splat(<i32>MULTIPLIER_1);
  for (let round = 0; round < 10; round++) {
    const a = v128.extmul_low<u32>(c0, m0), b = v128.extmul_high<u32>(c0, m0);
    const c = v128.extmul_low<u32>(c2, m1), d = v128.extmul_high<u32>(c2, m1);
    c0 = v128.xor(v128.xor(v128.shuffle<i32>(c, d, 1, 3, 5, 7), c1), i32x4.splat(<i32>k0));
    c1 = v128.shuffle<i32>(c, d, 0, 2, 4, 6);
    c2 = v128.xor(v128.xor(v128.shuffle<i32>(a, b, 1, 3, 5, 7), c3), i32x4.splat(<i32>k1));
    c3 = v128.shuffle<i32>(a, b, 0, 2, 4, 6);
    k0 += WEYL_0;
    k1 += WEYL_1;
  }
  words0 = c0;
  words1 = c1;
  words2 = c2;
  words3 = c3;
}

/** The four words of block q of the last four. */
// @ts-ignore: decorator
@inline export function blockOfFour(q: i32): v128 {
  const even = q < 2
    ? v128.shuffle<i32>(words0, words1, 0, 4, 1, 5) : v128.shuffle<i32>(words0, words1, 2, 6, 3, 7);
  const odd = q < 2
    ? v128.shuffle<i32>(words2, words3, 0, 4, 1, 5) : v128.shuffle<i32>(words2, words3, 2, 6, 3, 7);
  return (q & 1) == 0 ? v128.shuffle<i64>(even, odd, 0, 2) : v128.shuffle<i64>(even, odd, 1, 3);
}
