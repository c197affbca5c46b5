// Adapters that start as a part of the weight, which is then taken out of the weight: PiSSA (Meng et al. 2024), MiLoRA (Wang et
// al. 2024), OLoRA (Büyükakyüz 2024). W = (W − s·B·A) + s·B·A, so that the layer starts as it was.

import type { Runtime } from "../load.js";
import { finish, inSlices } from "../slices.js";
import { checkAllFinite } from "../svd/decompose.js";
import { bytesOf, type DType, Tensor } from "../tensor.js";
import { triplets } from "./triplets.js";

const KINDS = ["pissa", "milora", "olora"] as const;

/** Initialisations that change the base weight. */
export type BaseInit = (typeof KINDS)[number];

/** @internal */
export function changesBase(init: unknown): init is BaseInit {
  return (KINDS as readonly unknown[]).includes(init);
}

/**
 * @internal A (r, in) and B (out, r) for a weight (out, in). "pissa", "milora": the r largest or smallest triplets, half of each value
 * on both sides, B = U·√(S/s) and A = √(S/s)·Vᵀ; "olora": B = Q[:, :r], A = R[:r] of W = Q·R.
 */
export function factorsOfBase<D extends DType>(
  runtime: Runtime,
  init: BaseInit,
  weight: Tensor<D>,
  r: number,
  scaling: number,
  seed: number,
): { a: Tensor<D>; b: Tensor<D> } {
  const { dtype } = weight;
  const routines = runtime[dtype];
  const [m, n] = weight.shape as [number, number];
  const least = Math.min(m, n);
  const a = Tensor.allocate(runtime, [r, n], dtype);
  const b = Tensor.allocate(runtime, [m, r], dtype);
  if (init === "olora") {
    checkAllFinite(runtime, weight, "base");
    const q = runtime.scratch.push(m * least * bytesOf(dtype));
    const upper = runtime.scratch.push(least * n * bytesOf(dtype));
    const work = runtime.scratch.push(routines.qrScratch(m, n, 1));
    const [row, column] = weight.strides as [number, number];
    routines.qrBegin(work);
    finish(inSlices(() => routines.qr(m, n, 1, weight.pointer, row, column, q, upper, work)));
    routines.lacpy(m, r, q, least, 1, b.pointer, r);
    routines.lacpy(r, n, upper, n, 1, a.pointer, n);
    return { a, b };
  }
  const { u, s, vt, first } = triplets(runtime, weight, r, init === "pissa" ? "largest" : "smallest", seed);
  const from = first * bytesOf(dtype);
  const values = runtime.scratch.push(r * bytesOf(dtype));
  routines.lacpy(1, r, s.pointer + from, r, 1, values, r);
  routines.scal(r, 1 / scaling, values, 1);
  routines.rootScaled(m, r, u.pointer + from, u.shape[1] as number, 1, values, b.pointer);
  const columns = runtime.scratch.push(n * r * bytesOf(dtype));
  routines.rootScaled(n, r, vt.pointer + from * n, 1, n, values, columns);
  routines.lacpy(r, n, columns, 1, r, a.pointer, n);
  return { a, b };
}

/** @internal A new tensor stored as the weight is (transposed with fanInFanOut) <- W − s·B·A. */
export function subtractFactors<D extends DType>(
  runtime: Runtime,
  weight: Tensor<D>,
  { a, b }: { a: Tensor; b: Tensor },
  scaling: number,
  fanInFanOut: boolean,
): Tensor<D> {
  const [rows, columns] = weight.shape as [number, number];
  const [row, column] = weight.strides as [number, number];
  const left = Tensor.allocate(runtime, weight.shape, weight.dtype);
  runtime[weight.dtype].loraMerge(
    rows,
    columns,
    weight.pointer,
    row,
    column,
    a.shape[0] as number,
    a.pointer,
    b.pointer,
    -scaling,
    fanInFanOut ? 1 : 0,
    left.pointer,
  );
  return left;
}
