// Between pictures of the browser and matrices, in strips of a few milliseconds.

import { empty, type Tensor } from "lowrank";
import { turn } from "../ui/dom.js";
import type { Strip } from "./sums.js";

/** Longest side of a picture that is decomposed. */
export const LONGEST = 2048;
/** Pixels between two turns of the event loop. */
const STRIP = 2 ** 18;

export interface Picture {
  width: number;
  height: number;
  /** Red, green and blue, (height, width) each, 0 to 255. */
  channels: Tensor[];
  /** What it was before it was made to fit. */
  original: { width: number; height: number };
}

/** Decodes an image as the browser does, and makes it fit. */
export async function decodePicture(file: Blob): Promise<Picture> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    const what = file.type === "" ? "this file" : `this file (${file.type})`;
    throw new Error(`the browser cannot decode ${what} as an image: take a PNG, JPEG, WebP or AVIF`);
  }
  const original = { width: bitmap.width, height: bitmap.height };
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  if (scale < 1) {
    const [resizeWidth, resizeHeight] = [bitmap.width, bitmap.height].map((side) =>
      Math.max(1, Math.round(side * scale)),
    );
    const smaller = await createImageBitmap(bitmap, {
      resizeWidth: resizeWidth as number,
      resizeHeight: resizeHeight as number,
      resizeQuality: "high",
    });
    bitmap.close();
    bitmap = smaller;
  }
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true }) as OffscreenCanvasRenderingContext2D;
  // what is transparent is white
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  await turn();
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const channels = [0, 1, 2].map(() => empty([height, width], "f32"));
  for (const [y, rows] of strips(width, height)) {
    await turn();
    const { data } = context.getImageData(0, y, width, rows);
    for (const [c, channel] of channels.entries()) {
      const to = channel.data.subarray(y * width, (y + rows) * width);
      for (let i = 0; i < to.length; i++) to[i] = data[4 * i + c] as number;
    }
  }
  return { width, height, channels, original };
}

export type View = "picture" | "difference" | "original";

/** How often a difference is magnified. */
export const GAIN = 4;

/** Draws some rows of channels, or of what they lack of the original ones. */
export function draw(
  canvas: HTMLCanvasElement,
  { row, channels }: Strip,
  original: readonly Tensor[],
  view: View,
): void {
  const [rows, width] = (channels[0] as Tensor).shape as [number, number];
  const context = canvas.getContext("2d", { willReadFrequently: true }) as CanvasRenderingContext2D;
  const image = context.createImageData(width, rows);
  const whole = () => original.map((one) => one.data.subarray(row * width, (row + rows) * width)) as Channels;
  const shown = () => channels.map(({ data }) => data) as Channels;
  if (view === "picture") fill(image.data, shown());
  else if (view === "original") fill(image.data, whole());
  else fillDifference(image.data, shown(), whole());
  context.putImageData(image, 0, row);
}

function strips(width: number, height: number): [number, number][] {
  const rows = Math.max(1, Math.floor(STRIP / width));
  return Array.from({ length: Math.ceil(height / rows) }, (_, i) => [i * rows, Math.min(rows, height - i * rows)]);
}

type Numbers = Float32Array | Float64Array;
type Channels = [red: Numbers, green: Numbers, blue: Numbers];

function fill(data: Uint8ClampedArray, [red, green, blue]: Channels): void {
  for (let i = 0, at = 0; i < red.length; i++) {
    data[at++] = red[i] as number;
    data[at++] = green[i] as number;
    data[at++] = blue[i] as number;
    data[at++] = 255;
  }
}

/** Around the middle gray. */
function fillDifference(data: Uint8ClampedArray, shown: Channels, whole: Channels): void {
  for (const [c, channel] of shown.entries()) {
    const from = whole[c] as Numbers;
    for (let i = 0; i < channel.length; i++) {
      data[4 * i + c] = 128 + GAIN * ((from[i] as number) - (channel[i] as number));
    }
  }
  for (let i = 3; i < data.length; i += 4) data[i] = 255;
}
