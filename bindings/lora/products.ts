// The two products of a layer's forward pass, by the team where there is one. Without a team nothing is allocated in the
// JavaScript heap.

import type { Runtime } from "../load.js";
import { routineOf, share } from "../share.js";
import { bytesOf, type DType } from "../tensor.js";
import type { LoraAdapter } from "./adapter.js";

/** Outputs that a tile has at least where it packs several rows of x: that takes as long as twenty of them. */
const LEAST_OUTPUTS = 512;

/** @internal y (tokens, out) <- x·Wᵀ + bias; W with strides, or packed (row = 0); bias may be 0: none. */
export function multiplyBase(
  runtime: Runtime,
  dtype: DType,
  tokens: number,
  inFeatures: number,
  outFeatures: number,
  x: number,
  weight: number,
  row: number,
  column: number,
  bias: number,
  y: number,
): void {
  if (runtime.team !== undefined) {
    const routine = routineOf(dtype, "linear");
    const values = [0, 0, tokens, inFeatures, x, inFeatures, weight, row, column, bias, y, outFeatures];
    const cut = { unit: 8, least: tokens > 1 ? LEAST_OUTPUTS : 1 };
    const range = { routine, length: outFeatures, values, begin: 0, end: 1 };
    if (share(runtime, (2 * tokens * inFeatures * outFeatures * bytesOf(dtype)) / 4, range, cut) !== undefined) return;
  }
  const { linear } = runtime[dtype];
  linear(0, outFeatures, tokens, inFeatures, x, inFeatures, weight, row, column, bias, y, outFeatures);
}

/**
 * @internal Rows of y (those that a list of 32-bit integers names, or with 0 the first `count`) <- themselves + the adapter of the same
 * rows of x: scaling·((x·Aᵀ)·Bᵀ + bias).
 */
export function addAdapter(
  runtime: Runtime,
  { adapter, scaling }: { readonly adapter: LoraAdapter; readonly scaling: number },
  count: number,
  list: number,
  x: number,
  y: number,
): void {
  // an object is passed, as numbers that are no small integers would be boxed
  const { dtype, shape } = adapter.a;
  const r = shape[0] as number;
  const inFeatures = shape[1] as number;
  const outFeatures = adapter.b.shape[0] as number;
  const a = adapter.a.pointer;
  const b = adapter.b.pointer;
  const bias = adapter.bias === undefined ? 0 : adapter.bias.pointer;
  const { loraAdd, loraAddScratch } = runtime[dtype];
  const { scratch, team } = runtime;
  const bytes = loraAddScratch(r, outFeatures);
  const work = scratch.push(team === undefined ? bytes : bytes * team.asked);
  if (team !== undefined) {
    const size = bytesOf(dtype);
    const values = [0, list, inFeatures, outFeatures, x, inFeatures, y, outFeatures, r, a, b, bias, scaling, work];
    const rows = [
      [4, inFeatures * size],
      [6, outFeatures * size],
    ] as const;
    const steps = list === 0 ? rows : ([[1, 4]] as const);
    const range = {
      routine: routineOf(dtype, "loraAdd"),
      length: count,
      values,
      steps,
      count: 0,
      work: 13,
      workBytes: bytes,
    };
    // B is turned once a tile, which takes as long as a few rows; rows go by twos
    const operations = 2 * count * r * (inFeatures + outFeatures) * size;
    if (share(runtime, operations, range, { unit: 2, least: 8 }) !== undefined) return;
  }
  loraAdd(count, list, inFeatures, outFeatures, x, inFeatures, y, outFeatures, r, a, b, bias, scaling, work);
}
