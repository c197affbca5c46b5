// Slow references for the quantised formats, by their definitions and in f64.

/** Rounds to a binary format of `digits` significant bits, smallest exponent `least`; ties to even, `most` the largest number. */
function round(x: number, digits: number, least: number, most: number): number {
  if (!Number.isFinite(x) || x === 0) return x;
  let exponent = Math.max(Math.floor(Math.log2(Math.abs(x))), least);
  // log2 may be wrong by one next to a power of two
  if (Math.abs(x) >= 2 ** (exponent + 1)) exponent++;
  else if (exponent > least && Math.abs(x) < 2 ** exponent) exponent--;
  const scaled = (Math.abs(x) / 2 ** exponent) * 2 ** (digits - 1);
  const rounded = roundEven(scaled) * 2 ** (1 - digits) * 2 ** exponent;
  return Math.sign(x) * (rounded > most ? Number.POSITIVE_INFINITY : rounded);
}

/** To an integer, ties to even. */
export function roundEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** To the nearest number of half precision. */
export function roundHalf(x: number): number {
  return round(x, 11, -14, 65504);
}

/** To the nearest bfloat16. */
export function roundBfloat(x: number): number {
  return round(x, 8, -126, (2 - 2 ** -7) * 2 ** 127);
}

/** The number that a pattern of half precision stands for. */
export function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

/** bitsandbytes' code book. */
export const NF4 = [
  -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
] as const;

/** bitsandbytes' create_dynamic_map(signed), in f32. */
export function dynamicMap(): number[] {
  const values = [0, 1];
  for (let i = 0; i < 7; i++) {
    for (let j = 0; j < 2 ** i; j++) {
      const lower = 0.1 + (0.9 * j) / 2 ** i;
      const upper = 0.1 + (0.9 * (j + 1)) / 2 ** i;
      const value = 10 ** (i - 6) * 0.5 * (lower + upper);
      values.push(value, -value);
    }
  }
  return values.map(Math.fround).sort((x, y) => x - y);
}

/** Index of the nearest entry of an ascending list; ties to the lower. */
export function nearest(list: readonly number[], x: number): number {
  let best = 0;
  for (let i = 1; i < list.length; i++) {
    if (Math.abs((list[i] as number) - x) < Math.abs((list[best] as number) - x)) best = i;
  }
  return best;
}

/** Rows of an f32 weight in int8: integers and scales. */
export function quantizeInt8(rows: number, columns: number, w: Float32Array): { q: number[]; scales: number[] } {
  const q: number[] = [];
  const scales: number[] = [];
  for (let i = 0; i < rows; i++) {
    const row = w.subarray(i * columns, (i + 1) * columns);
    const scale = Math.fround(row.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / 127);
    scales.push(scale);
    for (const x of row) q.push(scale === 0 ? 0 : Math.max(-127, Math.min(127, roundEven(Math.fround(x / scale)))));
  }
  return { q, scales };
}

/** Rows of an f32 weight in NF4: codes and the blocks' magnitudes. */
export function quantizeNf4(rows: number, columns: number, w: Float32Array): { codes: number[]; magnitudes: number[] } {
  const codes: number[] = [];
  const magnitudes: number[] = [];
  for (let i = 0; i < rows; i++) {
    for (let first = 0; first < columns; first += 64) {
      const block = w.subarray(i * columns + first, i * columns + Math.min(first + 64, columns));
      const most = block.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
      magnitudes.push(most);
      for (const x of block) codes.push(most === 0 ? 7 : nearest(NF4, Math.fround(x / most)));
    }
  }
  return { codes, magnitudes };
}

/** Magnitudes after double quantisation. */
export function doubleQuantized(magnitudes: readonly number[]): number[] {
  const map = dynamicMap();
  const mean = Math.fround(magnitudes.reduce((sum, x) => sum + x, 0) / magnitudes.length);
  const centred = magnitudes.map((x) => Math.fround(x - mean));
  return centred.map((x, i) => {
    const group = centred.slice(i - (i % 256), i - (i % 256) + 256);
    const scale = group.reduce((most, y) => Math.max(most, Math.abs(y)), 0);
    const value = map[scale === 0 ? 127 : nearest(map, Math.fround(x / scale))] as number;
    return Math.fround(Math.fround(value * scale) + mean);
  });
}
