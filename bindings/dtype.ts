// Tensors in the other precision, converted where they stand.

import type { Runtime } from "./load.js";
import { type DType, Tensor } from "./tensor.js";

/** The stored type of both precisions in `decode` and `encode`: "F32". */
const F32 = 0;

/** @internal A contiguous copy of a tensor in a dtype; from f64 to f32 rounded to nearest. */
export function inDtype<D extends DType>(runtime: Runtime, a: Tensor, dtype: D): Tensor<D> {
  if (a.dtype === dtype) return a.copy() as Tensor as Tensor<D>;
  const source = a.contiguous ? a : a.copy();
  const out = Tensor.allocate(runtime, a.shape, dtype);
  if (dtype === "f64") runtime.f64.decode(F32, a.size, source.pointer, out.pointer);
  else runtime.f64.encode(F32, a.size, source.pointer, out.pointer, 0);
  return out;
}
