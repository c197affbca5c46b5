// Singular value decomposition.

import { checkOneOf, checkOptions, expected, shapeText, sizeOf } from "../check.js";
import { ConvergenceError, NonFiniteError } from "../errors.js";
import { MORE } from "../exports.js";
import { commonDtype, decode, place, type TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { run } from "../scope.js";
import { bytesOf, type DType, matrices, Tensor } from "../tensor.js";
import { decomposeBatch } from "./batch.js";

const VECTORS = ["none", "thin", "full"] as const;
type Vectors = (typeof VECTORS)[number];
const DRIVERS = ["auto", "qr", "dc", "jacobi"] as const;

export interface SvdOptions {
  /** "thin": k = min(m, n) vectors a side; "full": square factors; "none": values only. Default "thin". */
  vectors?: Vectors;
  /**
   * Bidiagonal stage: "qr" iteration or divide and conquer, "dc"; "auto" takes the faster one, and decomposes the small
   * matrices of a batch side by side. Values alone come from dqds, except with "qr". "jacobi": one-sided Jacobi (Drmač and Veselić 2008), slower, which gives even the smallest
   * values of a matrix with badly scaled rows or columns to full relative accuracy.
   */
  driver?: (typeof DRIVERS)[number];
}

export interface Svd<D extends DType = DType> {
  /** (…, m, k), or (…, m, m) with `vectors: "full"`: left singular vectors in columns. */
  u: Tensor<D>;
  /** (…, k): singular values, non-increasing, >= 0. */
  s: Tensor<D>;
  /** (…, k, n), or (…, n, n): right singular vectors in rows. */
  vt: Tensor<D>;
}

/**
 * Singular value decomposition A = U·diag(S)·Vᵀ, as accurate as LAPACK's (xGESDD, xGESVD, xGEJSV by `driver`).
 * Signs of the vectors are not normalised. A value beyond the format's range is Infinity, the vectors still right.
 *
 * @param a (…, m, n); leading axes are a batch, in which a matrix has the same digits wherever it stands; any of m, n and
 *   the batch may be 0
 * @returns u (…, m, k), s (…, k), vt (…, k, n) with k = min(m, n), in the dtype of `a`; the caller owns them.
 *   `vectors: "none"` returns s alone.
 * @throws NonFiniteError if an entry is NaN or Infinity; ConvergenceError if the iteration reaches LAPACK's limit
 * @example
 * ```ts
 * import { init, svd } from "lowrank";
 * await init();
 * const { u, s, vt } = svd([[3, 0], [4, 5]]);
 * console.log(s.toArray()); // [ 6.708…, 2.236… ]
 * ```
 */
export function svd<D extends DType>(a: Tensor<D>, options: SvdOptions & { vectors: "none" }): { s: Tensor<D> };
export function svd(a: TensorLike, options: SvdOptions & { vectors: "none" }): { s: Tensor };
export function svd<D extends DType>(a: Tensor<D>, options?: SvdOptions & { vectors?: "thin" | "full" }): Svd<D>;
export function svd(a: TensorLike, options?: SvdOptions & { vectors?: "thin" | "full" }): Svd;
export function svd(a: TensorLike, options?: SvdOptions): Svd | { s: Tensor } {
  return run((runtime) => {
    const given = checkOptions(options, ["vectors", "driver"]);
    const vectors = given.vectors === undefined ? "thin" : checkOneOf(given.vectors, "vectors", VECTORS);
    const driver = given.driver === undefined ? "auto" : checkOneOf(given.driver, "driver", DRIVERS);
    return decompose(runtime, placeMatrix(runtime, a, "a"), vectors, driver);
  });
}

/**
 * Singular values alone.
 *
 * @param a (…, m, n)
 * @returns (…, min(m, n)), non-increasing, >= 0; the caller owns it
 * @throws as svd()
 * @example
 * ```ts
 * import { init, svdvals } from "lowrank";
 * await init();
 * console.log(svdvals([[2, 0, 0], [0, 5, 0]]).toArray()); // [ 5, 2 ]
 * ```
 */
export function svdvals<D extends DType>(a: Tensor<D>): Tensor<D>;
export function svdvals(a: TensorLike): Tensor;
export function svdvals(a: TensorLike): Tensor {
  return run((runtime) => decompose(runtime, placeMatrix(runtime, a, "a"), "none", "auto").s);
}

/** An argument of a decomposition in kernel memory: at least two axes, finite entries. */
function placeMatrix(runtime: Runtime, value: TensorLike, argument: string): Tensor {
  const source = decode(value, argument);
  if (source.shape.length < 2) {
    throw new RangeError(expected(argument, "shape (…, m, n)", shapeText(source.shape)));
  }
  const placed = place(runtime, source, commonDtype([[argument, source]]));
  checkAllFinite(runtime, placed, argument);
  return placed;
}

/** NonFiniteError with the position of the first NaN or Infinity. */
function checkAllFinite(runtime: Runtime, a: Tensor, argument: string): void {
  const { firstNonFinite } = runtime[a.dtype];
  // the range between the first and the last element holds nothing else: one call instead of one a matrix
  const last = a.shape.reduce((sum, length, axis) => sum + (length - 1) * (a.strides[axis] as number), 0);
  if (a.ndim > 2 && last + 1 === a.size && firstNonFinite(1, a.size, a.pointer, a.size, 1) < 0) return;
  let index = 0;
  for (const { pointer, rows, columns, rowStride, columnStride } of matrices(a)) {
    const at = firstNonFinite(rows, columns, pointer, rowStride, columnStride);
    if (at >= 0) {
      const element =
        pointer + (Math.floor(at / columns) * rowStride + (at % columns) * columnStride) * bytesOf(a.dtype);
      const Typed = a.dtype === "f32" ? Float32Array : Float64Array;
      const value = new Typed(runtime.memory.buffer, element, 1)[0] as number;
      throw new NonFiniteError(argument, unravel(index * rows * columns + at, a.shape), value);
    }
    index++;
  }
}

/** Position along each axis of a row-major index. */
function unravel(index: number, shape: readonly number[]): number[] {
  const position = new Array<number>(shape.length);
  let rest = index;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const length = shape[axis] as number;
    position[axis] = rest % length;
    rest = Math.floor(rest / length);
  }
  return position;
}

function decompose(
  runtime: Runtime,
  a: Tensor,
  vectors: Vectors,
  driver: (typeof DRIVERS)[number],
): Svd | { s: Tensor } {
  const routines = runtime[a.dtype];
  const batch = a.shape.slice(0, -2);
  const [m, n] = a.shape.slice(-2) as [number, number];
  const p = Math.min(m, n);
  const job = VECTORS.indexOf(vectors);
  const s = Tensor.allocate(runtime, [...batch, p], a.dtype);
  const k = vectors === "full" ? m : p;
  const l = vectors === "full" ? n : p;
  const u = job === 0 ? undefined : Tensor.allocate(runtime, [...batch, m, k], a.dtype);
  const vt = job === 0 ? undefined : Tensor.allocate(runtime, [...batch, l, n], a.dtype);
  if (batch.length > 0 && driver === "auto") {
    decomposeBatch(runtime, a, job, u, s, vt);
  } else if (sizeOf(batch) > 0) {
    const bytes = bytesOf(a.dtype);
    const code = DRIVERS.indexOf(driver);
    const work = runtime.scratch.push(routines.gesvdScratch(m, n, job, code));
    let [pu, ps, pvt] = [u?.pointer ?? 0, s.pointer, vt?.pointer ?? 0];
    for (const { pointer, rowStride, columnStride } of matrices(a)) {
      routines.gesvdBegin(work);
      let failed: number;
      do {
        failed = routines.gesvd(m, n, job, code, pointer, rowStride, columnStride, pu, ps, pvt, work);
      } while (failed === MORE);
      if (failed > 0) throw new ConvergenceError("svd", failed);
      pu += m * k * bytes;
      ps += p * bytes;
      pvt += l * n * bytes;
    }
  }
  return u === undefined || vt === undefined ? { s } : { u, s, vt };
}
