// NumPy's .npy files by numpy-ts.

import type * as NumpyTs from "numpy-ts";
import * as core from "numpy-ts/core";
import { type Tensor, tensor } from "../bindings/index.js";
import { FileFormatError } from "../bindings/safetensors.js";

// the declarations of this entry do not resolve under Node's rules
type Functions = Pick<typeof NumpyTs, "parseNpy" | "serializeNpy" | "zeros">;
const parse = (core as unknown as Functions).parseNpy;
const serialize = (core as unknown as Functions).serializeNpy;
const zeros = (core as unknown as Functions).zeros;

/**
 * The array of a .npy file: f32 and f64 as they are, other real numbers in f64.
 *
 * @throws FileFormatError if it is none, or holds complex numbers, texts or records
 */
export function fromNpy(bytes: Uint8Array, path: string): Tensor {
  let array: ReturnType<typeof parse>;
  try {
    array = parse(bytes);
  } catch (error) {
    throw new FileFormatError(`${path}: ${(error as Error).message}`, 0, error);
  }
  const { dtype, shape, strides } = array;
  if (dtype === "float32" || dtype === "float64") return tensor(array as never) as Tensor;
  if (!/^(u?int\d+|bool|float16)$/.test(dtype)) {
    throw new FileFormatError(`${path}: arrays of ${dtype} are not numbers of one kind`, 0);
  }
  const data = Float64Array.from(array.data as ArrayLike<number | bigint>, Number);
  return tensor({ data, shape: [...shape], strides: [...strides] }) as Tensor;
}

/** A tensor as a .npy file. */
export function toNpy(t: Tensor): Uint8Array {
  const array = zeros([...t.shape], t.dtype === "f32" ? "float32" : "float64");
  (array.data as Float64Array).set(t.toTyped());
  return serialize(array);
}
