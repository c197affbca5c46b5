// QR factorisation.

import { checkOneOf, checkOptions, sizeOf } from "../check.js";
import type { TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { runSteps } from "../scope.js";
import type { Steps } from "../slices.js";
import { inSlices, operationsDone } from "../slices.js";
import { placeMatrix } from "../svd/decompose.js";
import { type DType, matrices, Tensor } from "../tensor.js";
import { matrixBytes } from "./values.js";

const MODES = ["r", "thin", "full"] as const;

export interface QrOptions extends ProgressOptions {
  /** "thin": k = min(m, n) columns of Q; "full": all m; "r": R alone, as thin. Default "thin". */
  mode?: (typeof MODES)[number];
}

export interface Qr<D extends DType = DType> {
  /** (…, m, k), or (…, m, m) with `mode: "full"`: orthonormal columns. */
  q: Tensor<D>;
  /** (…, k, n), or (…, m, n): upper triangular or trapezoidal. */
  r: Tensor<D>;
}

/**
 * QR factorisation A = Q·R by Householder reflectors (LAPACK's xGEQRF and xORGQR). Signs are not normalised: the diagonal of
 * R may be negative.
 *
 * @param a (…, m, n); leading axes are a batch; any length may be 0
 * @returns q (…, m, k) and r (…, k, n) with k = min(m, n), in the dtype of `a`; the caller owns them. `mode: "r"` returns r
 *   alone.
 * @throws NonFiniteError if an entry is NaN or Infinity
 * @example
 * ```ts
 * import { init, matmul, qr } from "lowrank";
 * await init();
 * const { q, r } = qr([[3, 5], [4, 10], [0, 0]]);
 * console.log(q.shape, r.shape, Math.abs(r.data[0]).toFixed(3)); // [ 3, 2 ] [ 2, 2 ] 5.000
 * console.log(matmul(q, r).data.map(Math.round)); // Float64Array(6) [ 3, 5, 4, 10, 0, 0 ]
 * ```
 */
export function qr<D extends DType>(a: Tensor<D>, options: QrOptions & { mode: "r" }): { r: Tensor<D> };
export function qr(a: TensorLike, options: QrOptions & { mode: "r" }): { r: Tensor };
export function qr<D extends DType>(a: Tensor<D>, options?: QrOptions & { mode?: "thin" | "full" }): Qr<D>;
export function qr(a: TensorLike, options?: QrOptions & { mode?: "thin" | "full" }): Qr;
export function qr(a: TensorLike, options?: QrOptions): Qr | { r: Tensor } {
  return runSteps((runtime) => qrSteps(runtime, a, options), options);
}

function* qrSteps(runtime: Runtime, a: TensorLike, options: QrOptions | undefined): Steps<Qr | { r: Tensor }> {
  const given = checkOptions(options, ["mode", ...PROGRESS]);
  const mode = given.mode === undefined ? "thin" : checkOneOf(given.mode, "mode", MODES);
  const placed = placeMatrix(runtime, a, "a");
  const batch = placed.shape.slice(0, -2);
  const [m, n] = placed.shape.slice(-2) as [number, number];
  const k = mode === "full" ? m : Math.min(m, n);
  const code = MODES.indexOf(mode);
  const q = mode === "r" ? undefined : Tensor.allocate(runtime, [...batch, m, k], placed.dtype);
  const r = Tensor.allocate(runtime, [...batch, k, n], placed.dtype);
  const routines = runtime[placed.dtype];
  const work = runtime.scratch.push(routines.qrScratch(m, n, code));
  let [toQ, toR] = [q?.pointer ?? 0, r.pointer];
  // R by blocks of reflectors, and as much again for k columns of Q
  const each = 4 * m * n * Math.min(m, n) + (code === 0 ? 0 : 4 * m * k * Math.min(m, n)) + 1;
  const total = sizeOf(batch) * each;
  let before = 0;
  const progress = () => ({ done: before + Math.min(each, operationsDone(runtime, work)), total });
  for (const { pointer, rowStride, columnStride } of matrices(placed)) {
    routines.qrBegin(work);
    yield* inSlices(() => routines.qr(m, n, code, pointer, rowStride, columnStride, toQ, toR, work), progress);
    before += each;
    toQ += matrixBytes(placed, m, k);
    toR += matrixBytes(placed, k, n);
  }
  return q === undefined ? { r } : { q, r };
}
