// Stored numbers to tensors and back, by the kernel.

import type { Runtime } from "../load.js";
import { routineOf, share } from "../share.js";
import { bytesOf, type Tensor } from "../tensor.js";
import type { SafetensorsDType } from "./header.js";

/** Types that are numbers; their positions are those of assembly/safetensors/convert.ts. */
const NUMBERS: readonly SafetensorsDType[] = [
  "F32",
  "F64",
  "F16",
  "BF16",
  "F8_E4M3",
  "F8_E5M2",
  "F8_E8M0",
  "F8_E4M3FNUZ",
  "F8_E5M2FNUZ",
  "U8",
  "I8",
  "U16",
  "I16",
  "U32",
  "I32",
  "U64",
  "I64",
];

/** Types that tensors can be written as. */
export type WritableDType = "F32" | "F64" | "F16" | "BF16";
/** @internal */
export const WRITABLE: readonly WritableDType[] = ["F32", "F64", "F16", "BF16"];

/** @internal */
export function isConvertible(dtype: SafetensorsDType): boolean {
  return dtype === "BOOL" || NUMBERS.includes(dtype);
}

/** Operations of the register tile in the time of a number. */
const COST = 20;

/** @internal Elements first… of `out` <- `count` stored numbers. */
export function convert(
  runtime: Runtime,
  bytes: Uint8Array,
  dtype: SafetensorsDType,
  out: Tensor,
  first: number,
  count: number,
): void {
  const to = out.pointer + first * bytesOf(out.dtype);
  if (dtype === (out.dtype === "f32" ? "F32" : "F64")) {
    new Uint8Array(runtime.memory.buffer, to, bytes.length).set(bytes);
    return;
  }
  const stored = runtime.scratch.push(bytes.length);
  new Uint8Array(runtime.memory.buffer, stored, bytes.length).set(bytes);
  const type = NUMBERS.indexOf(dtype === "BOOL" ? "U8" : dtype);
  const steps = [
    [2, bytes.length / count],
    [3, bytesOf(out.dtype)],
  ] as const;
  const range = {
    routine: routineOf(out.dtype, "decode"),
    length: count,
    values: [type, 0, stored, to],
    steps,
    count: 1,
  };
  if (share(runtime, COST * count, range, { unit: 64 }) === undefined)
    runtime[out.dtype].decode(type, count, stored, to);
}

/** @internal `count` elements of a contiguous tensor from `first` on, as stored bytes: a copy. */
export function convertBack(
  runtime: Runtime,
  from: Tensor,
  first: number,
  count: number,
  dtype: WritableDType,
): Uint8Array<ArrayBuffer> {
  const source = from.pointer + first * bytesOf(from.dtype);
  const length = count * (dtype === "F64" ? 8 : dtype === "F32" ? 4 : 2);
  let stored = source;
  if (dtype !== (from.dtype === "f32" ? "F32" : "F64")) {
    stored = runtime.scratch.push(length);
    const work = runtime.scratch.push(from.dtype === "f64" ? 4 * count : 0);
    const type = NUMBERS.indexOf(dtype);
    const steps = [
      [2, bytesOf(from.dtype)],
      [3, length / count],
      [4, 4],
    ] as const;
    const values = [type, 0, source, stored, work];
    const range = { routine: routineOf(from.dtype, "encode"), length: count, values, steps, count: 1 };
    if (share(runtime, COST * count, range, { unit: 64 }) === undefined) {
      runtime[from.dtype].encode(type, count, source, stored, work);
    }
  }
  // a copy that is never shared
  return new Uint8Array(new Uint8Array(runtime.memory.buffer, stored, length));
}
