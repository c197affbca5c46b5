// What decompositions have in common: an argument placed in kernel memory and checked, and the call of the SVD itself.

import { expected, shapeText, sizeOf } from "../check.js";
import { inDtype } from "../dtype.js";
import { ConvergenceError, NonFiniteError } from "../errors.js";
import { commonDtype, decode, place, type TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { inSlices, operationsDone, type Steps } from "../slices.js";
import { bytesOf, matrices, numbersAt, Tensor } from "../tensor.js";
import { decomposeBatch } from "./batch.js";
import type { Driver, Svd, Vectors } from "./svd.js";

/** @internal */
export const VECTORS: readonly Vectors[] = ["none", "thin", "full"];
/** @internal */
export const DRIVERS: readonly Driver[] = ["auto", "qr", "dc", "jacobi"];

/** @internal An argument of a decomposition in kernel memory: at least two axes, finite entries. */
export function placeMatrix(runtime: Runtime, value: TensorLike, argument: string): Tensor {
  const source = decode(value, argument);
  if (source.shape.length < 2) {
    throw new RangeError(expected(argument, "shape (…, m, n)", shapeText(source.shape)));
  }
  const placed = place(runtime, source, commonDtype([[argument, source]]));
  checkAllFinite(runtime, placed, argument);
  return placed;
}

/** @internal NonFiniteError with the position of the first NaN or Infinity, one number an axis. */
export function checkAllFinite(runtime: Runtime, a: Tensor, argument: string): void {
  const { firstNonFinite } = runtime[a.dtype];
  // the range between the first and the last element holds nothing else: one call instead of one a matrix
  const last = a.shape.reduce((sum, length, axis) => sum + (length - 1) * (a.strides[axis] as number), 0);
  if (a.ndim > 2 && last + 1 === a.size && firstNonFinite(1, a.size, a.pointer, a.size, 1) < 0) return;
  let index = 0;
  const vector =
    a.ndim === 1 ? { rows: 1, columns: a.size, rowStride: a.size, columnStride: a.strides[0] ?? 1 } : undefined;
  for (const { pointer, rows, columns, rowStride, columnStride } of vector === undefined
    ? matrices(a)
    : [{ pointer: a.pointer, ...vector }]) {
    const at = firstNonFinite(rows, columns, pointer, rowStride, columnStride);
    if (at >= 0) {
      const element =
        pointer + (Math.floor(at / columns) * rowStride + (at % columns) * columnStride) * bytesOf(a.dtype);
      const value = numbersAt(runtime.memory, a.dtype, element, 1)[0] as number;
      throw new NonFiniteError(argument, unravel(index * rows * columns + at, a.shape), value);
    }
    index++;
  }
}

/** @internal Position along each axis of a row-major index. */
export function unravel(index: number, shape: readonly number[]): number[] {
  const position = new Array<number>(shape.length);
  let rest = index;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const length = shape[axis] as number;
    position[axis] = rest % length;
    rest = Math.floor(rest / length);
  }
  return position;
}

/** @internal About how many operations the SVD of m×n takes, by measurement; vectors: 0 (none), 1 (thin) or 2 (full). */
export function svdOperations(m: number, n: number, vectors: number, driver: Driver = "auto"): number {
  const [long, p] = [Math.max(m, n), Math.min(m, n)];
  const square = p * p;
  if (vectors === 0 && driver !== "jacobi") return 3 * long * square + 1;
  const [panels, sweeps] = { auto: [6.5, 3], dc: [6.5, 3], qr: [8, 20], jacobi: [9, 44] }[driver] as [number, number];
  return panels * long * square + sweeps * square * p + (vectors === 2 ? 3.5 * long * (long - p) * p : 0) + 1;
}

/** @internal svd of each matrix of a tensor that placeMatrix has checked. */
export function decompose(runtime: Runtime, a: Tensor, vectors: "none"): Steps<{ s: Tensor }>;
export function decompose(runtime: Runtime, a: Tensor, vectors: "thin" | "full", driver?: Driver): Steps<Svd>;
export function decompose(runtime: Runtime, a: Tensor, vectors: Vectors, driver?: Driver): Steps<Svd | { s: Tensor }>;
export function* decompose(
  runtime: Runtime,
  a: Tensor,
  vectors: Vectors,
  driver: Driver = "auto",
): Steps<Svd | { s: Tensor }> {
  // the kernel has Jacobi in f64 alone: who asks for it wants digits
  if (driver === "jacobi" && a.dtype === "f32") {
    const parts = Object.entries(yield* decompose(runtime, inDtype(runtime, a, "f64"), vectors, driver));
    return Object.fromEntries(parts.map(([name, part]) => [name, inDtype(runtime, part, "f32")])) as unknown as Svd;
  }
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
    yield* decomposeBatch(runtime, a, job, u, s, vt);
  } else if (sizeOf(batch) > 0) {
    const bytes = bytesOf(a.dtype);
    const code = DRIVERS.indexOf(driver);
    const work = runtime.scratch.push(routines.gesvdScratch(m, n, job, code));
    let [pu, ps, pvt] = [u?.pointer ?? 0, s.pointer, vt?.pointer ?? 0];
    const each = svdOperations(m, n, job, driver);
    const total = sizeOf(batch) * each;
    let before = 0;
    const progress = () => ({ done: before + Math.min(each, operationsDone(runtime, work)), total });
    for (const { pointer, rowStride, columnStride } of matrices(a)) {
      routines.gesvdBegin(work);
      const failed = yield* inSlices(
        () => routines.gesvd(m, n, job, code, pointer, rowStride, columnStride, pu, ps, pvt, work),
        progress,
      );
      before += each;
      if (failed > 0) throw new ConvergenceError("svd", failed);
      pu += m * k * bytes;
      ps += p * bytes;
      pvt += l * n * bytes;
    }
  }
  return u === undefined || vt === undefined ? { s } : { u, s, vt };
}
