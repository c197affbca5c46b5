// The matrix product.

import { checkNumber, checkOptions, describe, expected, shapeText } from "../check.js";
import { commonDtype, decode, place, type TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { run } from "../scope.js";
import { bytesOf, type DType, Tensor } from "../tensor.js";

export interface MatmulOptions<D extends DType = DType> {
  /** Factor of the product. Default 1; with 0, neither a nor b is read. */
  alpha?: number;
  /** Factor of `out`. Default 0, with which `out` is not read. */
  beta?: number;
  /** Where the result goes; it must have the result's shape and overlap neither a nor b. */
  out?: Tensor<D>;
}

/** The last two axes of an operand, and its leading ones. */
interface Operand {
  pointer: number;
  rows: number;
  columns: number;
  rowStride: number;
  columnStride: number;
  batch: readonly number[];
  batchStrides: readonly number[];
}

/**
 * alpha·a·b + beta·out, as NumPy's matmul: leading axes are a batch and are broadcast, 1-D operands are a row on the
 * left and a column on the right, and their axis is dropped from the result. Transposed views cost nothing. NaN and
 * Infinity pass through.
 *
 * @param a (…, m, k) or (k,)
 * @param b (…, k, n) or (k,), of the same dtype
 * @returns (…, m, n), owned by the caller; `out` itself if it was given
 * @throws RangeError if the inner lengths differ, the batch axes cannot be broadcast, or out has another shape or
 *   overlaps an operand; TypeError if dtypes differ
 * @example
 * ```ts
 * import { init, matmul, tensor } from "lowrank";
 * await init();
 * const a = tensor([[1, 2], [3, 4]]);
 * console.log(matmul(a, a.transpose()).toArray()); // [ [ 5, 11 ], [ 11, 25 ] ]
 * ```
 */
export function matmul<D extends DType = "f64">(a: Tensor<D>, b: TensorLike, options?: MatmulOptions<D>): Tensor<D>;
export function matmul<D extends DType = "f64">(a: TensorLike, b: Tensor<D>, options?: MatmulOptions<D>): Tensor<D>;
export function matmul(a: TensorLike, b: TensorLike, options?: MatmulOptions): Tensor;
export function matmul(a: TensorLike, b: TensorLike, options?: MatmulOptions): Tensor {
  return run((runtime) => {
    const given = checkOptions(options, ["alpha", "beta", "out"]);
    const alpha = given.alpha === undefined ? 1 : checkNumber(given.alpha, "alpha");
    const beta = given.beta === undefined ? 0 : checkNumber(given.beta, "beta");
    if (given.out === undefined ? beta !== 0 : !(given.out instanceof Tensor)) {
      throw new TypeError(expected("out", beta === 0 ? "a Tensor" : "a Tensor to scale by beta", describe(given.out)));
    }
    const left = decode(a, "a");
    const right = decode(b, "b");
    const named: [string, { dtype: DType | undefined }][] = [
      ["a", left],
      ["b", right],
    ];
    if (given.out !== undefined) named.push(["out", given.out]);
    const dtype = commonDtype(named);
    const shape = resultShape(left.shape, right.shape);
    if (given.out !== undefined) checkOut(given.out, shape, left.tensor, right.tensor);
    const out = given.out ?? Tensor.allocate(runtime, shape, dtype);
    if (out.size > 0) {
      const x = place(runtime, left, dtype);
      const y = place(runtime, right, dtype);
      multiply(runtime, operand(x, true), operand(y, false), alpha, beta, out, left.shape.length, right.shape.length);
    }
    return out;
  });
}

function resultShape(a: readonly number[], b: readonly number[]): number[] {
  for (const [name, shape] of [
    ["a", a],
    ["b", b],
  ] as const) {
    if (shape.length === 0) throw new RangeError(expected(name, "at least one axis", "shape ()"));
  }
  const inner = a[a.length - 1] as number;
  if ((b.length === 1 ? b[0] : b[b.length - 2]) !== inner) {
    const wanted = b.length === 1 ? `(${inner},)` : `(…, ${inner}, n)`;
    throw new RangeError(`${expected("b", `shape ${wanted}`, shapeText(b))} for "a" of shape ${shapeText(a)}`);
  }
  const shape: number[] = [];
  const leadA = a.slice(0, -2);
  const leadB = b.slice(0, -2);
  for (let i = Math.max(leadA.length, leadB.length); i > 0; i--) {
    const p = leadA[leadA.length - i] ?? 1;
    const q = leadB[leadB.length - i] ?? 1;
    if (p !== q && p !== 1 && q !== 1) {
      throw new RangeError(
        `${expected("b", `leading axes that match ${shapeText(leadA)}`, shapeText(leadB))}: they cannot be broadcast`,
      );
    }
    shape.push(p === 1 ? q : p);
  }
  if (a.length > 1) shape.push(a[a.length - 2] as number);
  if (b.length > 1) shape.push(b[b.length - 1] as number);
  return shape;
}

function checkOut(out: Tensor, shape: readonly number[], a: Tensor | undefined, b: Tensor | undefined): void {
  if (out.ndim !== shape.length || out.shape.some((length, axis) => length !== shape[axis])) {
    throw new RangeError(expected("out", `shape ${shapeText(shape)}`, shapeText(out.shape)));
  }
  if (a?.overlaps(out)) throw new RangeError('"out" overlaps "a"');
  if (b?.overlaps(out)) throw new RangeError('"out" overlaps "b"');
}

function operand(t: Tensor, isLeft: boolean): Operand {
  const { pointer, shape, strides, ndim } = t;
  const last = shape[ndim - 1] as number;
  const step = strides[ndim - 1] as number;
  if (ndim === 1) {
    return isLeft
      ? { pointer, rows: 1, columns: last, rowStride: last, columnStride: step, batch: [], batchStrides: [] }
      : { pointer, rows: last, columns: 1, rowStride: step, columnStride: 1, batch: [], batchStrides: [] };
  }
  return {
    pointer,
    rows: shape[ndim - 2] as number,
    columns: last,
    rowStride: strides[ndim - 2] as number,
    columnStride: step,
    batch: shape.slice(0, -2),
    batchStrides: strides.slice(0, -2),
  };
}

/** Calls the kernel once for each run of products along the last batch axis. */
function multiply(
  runtime: Runtime,
  a: Operand,
  b: Operand,
  alpha: number,
  beta: number,
  out: Tensor,
  axesA: number,
  axesB: number,
): void {
  const matrixAxes = (axesA > 1 ? 1 : 0) + (axesB > 1 ? 1 : 0);
  const batch = out.shape.slice(0, out.ndim - matrixAxes);
  let { rows: m, columns: k } = a;
  let n = b.columns;
  let rowStride = axesA > 1 ? (out.strides[batch.length] as number) : n;
  const columnStride = axesB > 1 ? (out.strides[out.ndim - 1] as number) : 1;
  let [left, right] = [a, b];
  if (columnStride !== 1 && n > 1) {
    // a transposed out: Cᵀ = Bᵀ·Aᵀ
    [left, right] = [transposed(b), transposed(a)];
    [m, n] = [n, m];
    rowStride = columnStride;
  }
  const { gemmBatch } = runtime[out.dtype];
  const bytes = bytesOf(out.dtype);
  const inner = batch.length - 1;
  const count = inner < 0 ? 1 : (batch[inner] as number);
  const stepA = broadcastStride(left, batch.length, inner);
  const stepB = broadcastStride(right, batch.length, inner);
  const stepC = inner < 0 ? 0 : (out.strides[inner] as number);
  const visit = (axis: number, pa: number, pb: number, pc: number): void => {
    if (axis >= inner) {
      gemmBatch(
        0,
        count,
        m,
        n,
        k,
        alpha,
        pa,
        stepA,
        left.rowStride,
        left.columnStride,
        pb,
        stepB,
        right.rowStride,
        right.columnStride,
        beta,
        pc,
        stepC,
        rowStride,
      );
      return;
    }
    const da = broadcastStride(left, batch.length, axis) * bytes;
    const db = broadcastStride(right, batch.length, axis) * bytes;
    const dc = (out.strides[axis] as number) * bytes;
    for (let i = 0; i < (batch[axis] as number); i++) visit(axis + 1, pa + i * da, pb + i * db, pc + i * dc);
  };
  visit(0, left.pointer, right.pointer, out.pointer);
}

function transposed(a: Operand): Operand {
  return { ...a, rows: a.columns, columns: a.rows, rowStride: a.columnStride, columnStride: a.rowStride };
}

/** An operand's stride along one axis of the result's batch: 0 where it is repeated. */
function broadcastStride(a: Operand, axes: number, axis: number): number {
  const own = axis - (axes - a.batch.length);
  return own < 0 || a.batch[own] === 1 ? 0 : (a.batchStrides[own] as number);
}
