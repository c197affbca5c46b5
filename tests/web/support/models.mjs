// Model files that are made for the tests.

import { closeSync, openSync, truncateSync, writeSync } from "node:fs";
import { tensor } from "lowrank";
import { writeSafetensors } from "lowrank/safetensors";
import { random } from "../../../bench/support/random.mjs";
import { fileOf } from "./temporary.mjs";

/** Two models of some square layers that differ in a matrix of falling singular values: their paths. */
export function makeModels(layers, width) {
  const numbers = (seed) => random("f32", width * width, seed);
  const [before, after] = [{}, {}];
  for (let i = 0; i < layers; i++) {
    const [weight, change] = [numbers(2 * i + 1), numbers(2 * i + 2)];
    before[`h.${i}.q_proj.weight`] = tensor(weight, { shape: [width, width] });
    after[`h.${i}.q_proj.weight`] = tensor(
      weight.map((value, j) => value + 0.01 * change[j]),
      { shape: [width, width] },
    );
  }
  return [before, after].map((tensors, i) =>
    fileOf(
      `${i === 0 ? "before" : "after"}-${layers}x${width}.safetensors`,
      writeSafetensors(tensors, { dtype: "F16" }),
    ),
  );
}

/**
 * A model of some gigabytes that takes no place on the disk: a table of zeros, and behind it a small layer.
 *
 * @param weight the layer's (width, width), as f32
 */
export function makeLargeModel(name, bytes, width, weight) {
  const rows = Math.floor(bytes / (2 * 1024));
  const table = 2 * 1024 * rows;
  const header = JSON.stringify({
    "embed_tokens.weight": { dtype: "BF16", shape: [rows, 1024], data_offsets: [0, table] },
    "q_proj.weight": { dtype: "F32", shape: [width, width], data_offsets: [table, table + weight.byteLength] },
  });
  const padded = Buffer.from(header.padEnd(8 * Math.ceil(header.length / 8)));
  const start = Buffer.alloc(8);
  start.writeBigUInt64LE(BigInt(padded.length));
  const path = fileOf(name, Buffer.concat([start, padded]));
  const end = 8 + padded.length + table;
  truncateSync(path, end + weight.byteLength);
  const handle = openSync(path, "r+");
  writeSync(handle, new Uint8Array(weight.buffer, weight.byteOffset, weight.byteLength), 0, weight.byteLength, end);
  closeSync(handle);
  return path;
}

/** The files of an archive whose entries are stored as they are. */
export function unzip(bytes) {
  const files = {};
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = bytes.lastIndexOf(Buffer.from([0x50, 0x4b, 0x05, 0x06]));
  const count = view.getUint16(at + 10, true);
  at = view.getUint32(at + 16, true);
  for (let i = 0; i < count; i++) {
    const [size, name, extra, comment] = [
      view.getUint32(at + 20, true),
      ...[28, 30, 32].map((offset) => view.getUint16(at + offset, true)),
    ];
    const local = view.getUint32(at + 42, true);
    const begin = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    files[bytes.subarray(at + 46, at + 46 + name).toString()] = bytes.subarray(begin, begin + size);
    at += 46 + name + extra + comment;
  }
  return files;
}
