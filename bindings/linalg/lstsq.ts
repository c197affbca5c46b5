// Linear least squares.

import { checkOptions, expected, shapeText, sizeOf } from "../check.js";
import { ConvergenceError } from "../errors.js";
import { commonDtype, decode, place, type TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { runSteps } from "../scope.js";
import type { Steps } from "../slices.js";
import { inSlices, operationsDone } from "../slices.js";
import { checkAllFinite } from "../svd/decompose.js";
import { type DType, type Matrix, matrices, Tensor } from "../tensor.js";
import { checkTolerance, EPSILON, matrixBytes } from "./values.js";

export interface LstsqOptions extends ProgressOptions {
  /** Singular values of at most rcond·σ₁ count as zero. Default max(m, n)·eps of the dtype. */
  rcond?: number;
}

export interface Lstsq<D extends DType = DType, R extends number | Int32Array = number> {
  /** (…, n, k), or (…, n) for a 1-D b: the shortest of the solutions. */
  x: Tensor<D>;
  /** (…, k), or (…, 1) for a 1-D b: ‖A·x − b‖² where rank = n < m, in a batch everywhere; else (0,). */
  residuals: Tensor<D>;
  /** Rank of A; for a batch a flat Int32Array in batch order. */
  rank: R;
  /** (…, min(m, n)): singular values of A. */
  s: Tensor<D>;
}

/**
 * The shortest x that minimises ‖A·x − b‖₂ for each column of b: by a QR factorisation and, where A is not safely of full
 * rank, the SVD of its triangle, so that rank and singular values are decided in one way on every route.
 *
 * @param a (…, m, n); any length may be 0
 * @param b (m,) or (…, m, k), of the same dtype; leading axes as those of `a`, or none on either side
 * @returns x, residuals, rank, s as numpy.linalg.lstsq; the caller owns the tensors
 * @throws RangeError if b's rows are not a's or rcond is below 0; NonFiniteError; ConvergenceError
 * @example
 * ```ts
 * import { init, lstsq } from "lowrank";
 * await init();
 * const { x, rank } = lstsq([[1, 0], [1, 1], [1, 2]], [1, 3, 5]); // a line through three points
 * console.log(x.toTyped().map((value) => Math.round(value * 1e6) / 1e6), rank); // Float64Array(2) [ 1, 2 ] 2
 * ```
 */
export function lstsq<D extends DType>(a: Tensor<D>, b: TensorLike, options?: LstsqOptions): Lstsq<D>;
export function lstsq<R extends number | Int32Array = number>(
  a: TensorLike,
  b: TensorLike,
  options?: LstsqOptions,
): Lstsq<DType, R>;
export function lstsq(a: TensorLike, b: TensorLike, options?: LstsqOptions): Lstsq<DType, number | Int32Array> {
  return runSteps((runtime) => lstsqSteps(runtime, a, b, options), options);
}

function* lstsqSteps(
  runtime: Runtime,
  a: TensorLike,
  b: TensorLike,
  options: LstsqOptions | undefined,
): Steps<Lstsq<DType, number | Int32Array>> {
  const given = checkOptions(options, ["rcond", ...PROGRESS]);
  const [left, right] = [decode(a, "a"), decode(b, "b")];
  if (left.shape.length < 2) throw new RangeError(expected("a", "shape (…, m, n)", shapeText(left.shape)));
  const [m, n] = left.shape.slice(-2) as [number, number];
  const single = right.shape.length === 1;
  const batches = [left.shape.slice(0, -2), single ? [] : right.shape.slice(0, -2)] as const;
  const rows = right.shape[single ? 0 : right.shape.length - 2];
  if (rows !== m) throw new RangeError(expected("b", `shape (${m},) or (…, ${m}, k)`, shapeText(right.shape)));
  const batch = batches[0].length > 0 ? batches[0] : batches[1];
  if (batches[1].length > 0 && (batches[1].length !== batch.length || batches[1].some((l, i) => l !== batch[i]))) {
    throw new RangeError(expected("b", `leading axes ${shapeText(batch)} or none`, shapeText(right.shape)));
  }
  const dtype = commonDtype([
    ["a", left],
    ["b", right],
  ]);
  const rcond = given.rcond === undefined ? Math.max(m, n) * EPSILON[dtype] : checkTolerance(given.rcond, "rcond");
  const matrix = place(runtime, left, dtype);
  const placed = place(runtime, right, dtype);
  checkAllFinite(runtime, matrix, "a");
  checkAllFinite(runtime, placed, "b");
  const k = single ? 1 : (placed.shape[placed.ndim - 1] as number);
  const p = Math.min(m, n);
  const x = Tensor.allocate(runtime, [...batch, n, ...(single ? [] : [k])], dtype);
  const residuals = Tensor.allocate(runtime, [...batch, k], dtype);
  // the values belong to a, which b's batch may share
  const s = Tensor.allocate(runtime, [...batches[0], p], dtype);
  const routines = runtime[dtype];
  const work = runtime.scratch.push(routines.lstsqScratch(m, n, k));
  const count = sizeOf(batch);
  const ranks = new Int32Array(sizeOf(batches[0]));
  const systems = [...matrices(matrix)];
  const sides: Matrix[] = single
    ? [{ pointer: placed.pointer, rows: m, columns: 1, rowStride: placed.strides[0] as number, columnStride: 1 }]
    : [...matrices(placed)];
  // a QR factorisation, the values of the triangle, two triangular solves
  const each = (4 * Math.max(m, n) * p + 3 * p * p + 4 * (m + n) * k) * p + 1;
  let before = 0;
  const progress = () => ({
    done: before + Math.min(each, operationsDone(runtime, work)),
    total: count * each,
  });
  for (let i = 0; i < count; i++) {
    const of = batches[0].length > 0 ? i : 0;
    const system = systems[of] as Matrix;
    const side = sides[batches[1].length > 0 ? i : 0] as Matrix;
    routines.lstsqBegin(work);
    const failed = yield* inSlices(
      () =>
        routines.lstsq(
          m,
          n,
          k,
          system.pointer,
          system.rowStride,
          system.columnStride,
          side.pointer,
          side.rowStride,
          side.columnStride,
          rcond,
          x.pointer + i * matrixBytes(x, n, k),
          s.pointer + of * matrixBytes(x, p, 1),
          residuals.pointer + i * matrixBytes(x, k, 1),
          work,
        ),
      progress,
    );
    before += each;
    if (failed > 0) throw new ConvergenceError("lstsq", failed);
    ranks[of] = runtime.common.lstsqRank(work);
  }
  const exact = m > n && ranks.every((rank) => rank === n);
  return {
    x,
    residuals: exact ? residuals : Tensor.allocate(runtime, [0], dtype),
    rank: batches[0].length > 0 ? ranks : (ranks[0] as number),
    s,
  };
}
