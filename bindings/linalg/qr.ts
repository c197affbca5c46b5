// QR factorisation.

import { checkOneOf, checkOptions } from "../check.js";
import type { TensorLike } from "../interop.js";
import { run } from "../scope.js";
import { complete } from "../slices.js";
import { placeMatrix } from "../svd/decompose.js";
import { type DType, matrices, Tensor } from "../tensor.js";
import { matrixBytes } from "./values.js";

const MODES = ["r", "thin", "full"] as const;

export interface QrOptions {
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
  return run((runtime) => {
    const given = checkOptions(options, ["mode"]);
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
    for (const { pointer, rowStride, columnStride } of matrices(placed)) {
      routines.qrBegin(work);
      complete(() => routines.qr(m, n, code, pointer, rowStride, columnStride, toQ, toR, work));
      toQ += matrixBytes(placed, m, k);
      toR += matrixBytes(placed, k, n);
    }
    return q === undefined ? { r } : { q, r };
  });
}
