// Adapters added to a weight.

import type { Runtime } from "../load.js";
import { bytesOf, type DType, type Tensor } from "../tensor.js";
import { type LoraAdapter, writeNorms } from "./adapter.js";

/** @internal An adapter with the name that errors give it, and its scale times its weight in the sum. */
export interface MergePart<D extends DType = DType> {
  readonly name: string;
  readonly adapter: LoraAdapter<D>;
  readonly scaling: number;
}

/**
 * @internal merged <- W + Σ scaling·B·A, both (out, in), or (in, out) with fanInFanOut, contiguous; they may be the same memory. A
 * magnitude gives the rows of the sum their lengths; its adapter stands alone.
 * @returns where the first value that is not finite came up, and by which adapter, and nothing is added any more; undefined:
 *   nowhere, or `anyValue`
 */
export function mergeWeight<D extends DType>(
  runtime: Runtime,
  weight: Tensor<D>,
  parts: readonly MergePart<D>[],
  fanInFanOut: boolean,
  merged: Tensor<D>,
  anyValue = false,
): { name: string; at: number } | undefined {
  const routines = runtime[weight.dtype];
  const [rows, columns] = weight.shape as [number, number];
  const turned = fanInFanOut ? 1 : 0;
  let from = weight.pointer;
  for (const { name, adapter, scaling } of parts) {
    const { a, b, r, magnitude } = adapter;
    const factors = magnitude && placeRowFactors(runtime, weight, adapter, scaling, fanInFanOut);
    let at = routines.loraMerge(
      rows,
      columns,
      from,
      columns,
      1,
      r,
      a.pointer,
      b.pointer,
      scaling,
      turned,
      merged.pointer,
    );
    if (factors !== undefined) {
      routines.doraMerge(rows, columns, turned, factors, merged.pointer);
      at = routines.firstNonFinite(rows, columns, merged.pointer, columns, 1);
    }
    if (at >= 0 && !anyValue) return { name, at };
    from = merged.pointer;
  }
  return undefined;
}

/** Magnitude over length of the rows of W + scaling·B·A, in scratch memory. */
function placeRowFactors<D extends DType>(
  runtime: Runtime,
  weight: Tensor<D>,
  { a, b, r, inFeatures, outFeatures, magnitude }: LoraAdapter<D>,
  scaling: number,
  fanInFanOut: boolean,
): number {
  const [row, column] = fanInFanOut ? [1, outFeatures] : [inFeatures, 1];
  const norms = runtime.scratch.push(outFeatures * bytesOf(weight.dtype));
  const factors = runtime.scratch.push(outFeatures * bytesOf(weight.dtype));
  writeNorms(runtime, weight.pointer, row, column, { a, b, r, inFeatures, outFeatures, scaling }, norms);
  runtime[weight.dtype].doraFactors(outFeatures, (magnitude as Tensor<D>).pointer, norms, factors);
  return factors;
}
