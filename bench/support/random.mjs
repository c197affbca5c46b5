// Seeded numbers, so that every run, engine and rival gets the same inputs.

/** Fills an array with uniform numbers in [-1, 1): mulberry32. */
export function fill(array, seed) {
  let state = seed | 0;
  for (let i = 0; i < array.length; i++) {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    array[i] = (t ^ (t >>> 14)) / 2 ** 31;
  }
  return array;
}

/** A new array of a dtype. */
export function arrayOf(dtype, length) {
  return dtype === "f32" ? new Float32Array(length) : new Float64Array(length);
}

/** A new array of a dtype, filled. */
export function random(dtype, length, seed) {
  return fill(arrayOf(dtype, length), seed);
}
