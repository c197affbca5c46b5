// The handwritten digits, as they come with the page, and what is made of them.

import { empty, type Tensor } from "lowrank";
import { turn } from "../ui/dom.js";
import { fetchData } from "../ui/files.js";

export const SIDE = 28;
export const PIXELS = SIDE * SIDE;
const TRAINED = 8000;
/** Images between two turns of the event loop. */
const PIECE = 500;

export interface Digits {
  /** (n, 784): gray values from 0 to 1, white on black. */
  x: Tensor<"f32">;
  /** Labels. */
  y: Uint8Array;
}

/** 8,000 digits to train with and 2,000 that are held out. */
export async function loadDigits(): Promise<{ trained: Digits; heldOut: Digits }> {
  const file = await fetchData("digits.bin");
  const unpacked = file.stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = new Uint8Array(await new Response(unpacked).arrayBuffer());
  const count = bytes.length / (1 + PIXELS);
  const all = { y: bytes.subarray(0, count), images: bytes.subarray(count) };
  const part = async (first: number, end: number): Promise<Digits> => {
    const x = empty([end - first, PIXELS], "f32");
    for (let row = first; row < end; row += PIECE) {
      await turn();
      const from = all.images.subarray(row * PIXELS, Math.min(end, row + PIECE) * PIXELS);
      const to = x.data.subarray((row - first) * PIXELS);
      for (let i = 0; i < from.length; i++) to[i] = (from[i] as number) / 255;
    }
    return { x, y: all.y.slice(first, end) };
  };
  return { trained: await part(0, TRAINED), heldOut: await part(TRAINED, count) };
}

/** Some of the digits, each as it is or turned by a quarter. */
export async function choose({ x, y }: Digits, rows: readonly { row: number; turned: boolean }[]): Promise<Digits> {
  const made = empty([rows.length, PIXELS], "f32");
  for (const [i, { row, turned }] of rows.entries()) {
    if (i % PIECE === 0) await turn();
    const image = x.data.subarray(row * PIXELS, (row + 1) * PIXELS);
    made.data.set(turned ? quarterTurn(image) : image, i * PIXELS);
  }
  return { x: made, y: Uint8Array.from(rows, ({ row }) => y[row] as number) };
}

/** As if it lay on its right side. */
export function quarterTurn(image: ArrayLike<number>): Float32Array {
  const turned = new Float32Array(PIXELS);
  for (let i = 0; i < PIXELS; i++) turned[(i % SIDE) * SIDE + SIDE - 1 - Math.floor(i / SIDE)] = image[i] as number;
  return turned;
}

/**
 * A drawing as MNIST's digits are: its box scaled to 20 pixels, each the average of what it covers, and the centre of mass on pixel
 * (14, 14) of 28 × 28, counted from 0.
 *
 * @param ink 0 to 255, `side` × `side`
 * @returns undefined if there is nothing
 */
export function normalize(ink: Uint8Array, side: number): Float32Array<ArrayBuffer> | undefined {
  let [left, right, top, bottom] = [side, -1, side, -1];
  for (let i = 0; i < ink.length; i++) {
    if (ink[i] === 0) continue;
    const [x, y] = [i % side, Math.floor(i / side)];
    [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
  }
  if (right < 0) return undefined;
  const scale = 20 / (Math.max(right - left, bottom - top) + 1);
  const small = new Float32Array(PIXELS);
  let [mass, atX, atY] = [0, 0, 0];
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const value = ((ink[y * side + x] as number) / 255) * scale * scale;
      const [toX, toY] = [Math.floor((x - left) * scale), Math.floor((y - top) * scale)];
      small[toY * SIDE + toX] = (small[toY * SIDE + toX] as number) + value;
      mass += value;
      atX += value * toX;
      atY += value * toY;
    }
  }
  const [shiftX, shiftY] = [Math.round(SIDE / 2 - atX / mass), Math.round(SIDE / 2 - atY / mass)];
  const out = new Float32Array(PIXELS);
  for (let i = 0; i < PIXELS; i++) {
    const [x, y] = [(i % SIDE) + shiftX, Math.floor(i / SIDE) + shiftY];
    if (x >= 0 && x < SIDE && y >= 0 && y < SIDE) out[y * SIDE + x] = Math.min(1, small[i] as number);
  }
  return out;
}
