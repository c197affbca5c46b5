// Norms of matrices, and the condition that follows from them.

import { checkOptions, describe, expected, shapeText } from "../check.js";
import { commonDtype, decode, place, type TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { runSteps } from "../scope.js";
import type { Steps } from "../slices.js";
import { placeMatrix } from "../svd/decompose.js";
import { type DType, type Matrix, matrices, Tensor } from "../tensor.js";
import { columnsAt, scaledProduct } from "./product.js";
import { decomposeScaled, matrixBytes, scalars, scaledCopy, timesPowerOfTwo, valuesOf } from "./values.js";

const ORDERS = ["fro", "nuc", 2, -2, 1, -1, Infinity, -Infinity] as const;
/**
 * What norm() computes: the numbers are 2, -2, 1, -1, Infinity and -Infinity.
 *
 * @useDeclaredType
 */
export type NormOrder = (typeof ORDERS)[number];

const CONDITIONS = [2, -2, "fro", 1, Infinity] as const;
/**
 * The norm of a condition number: the numbers are 2, -2, 1 and Infinity.
 *
 * @useDeclaredType
 */
export type ConditionOrder = (typeof CONDITIONS)[number];

function checkOrder<O extends string | number>(value: unknown, argument: string, orders: readonly O[]): O {
  if (orders.includes(value as O)) return value as O;
  const what = orders.map((order) => (typeof order === "string" ? `"${order}"` : String(order))).join(" | ");
  const known = typeof value === "string" || typeof value === "number";
  throw new (known ? RangeError : TypeError)(expected(argument, what, describe(value)));
}

/**
 * A norm of a matrix, without overflow where the result does not: "fro" √Σa², "nuc" Σσ, 2 and -2 the largest and the
 * smallest singular value, 1 and -1 the largest and the smallest sum of a column's absolute values, Infinity and
 * -Infinity those of a row's.
 *
 * @param a (…, m, n); of a matrix without entries "fro", "nuc", 2, 1 and Infinity are 0
 * @param ord default "fro"
 * @returns the norm; for a batch a tensor of its shape (`norm<Tensor>(…)` says so to the compiler)
 * @throws RangeError for another order, or a smallest value or sum among none; with "nuc", 2 and -2 as svd(), while NaN
 *   and Infinity pass through the others
 * @example
 * ```ts
 * import { init, norm } from "lowrank";
 * await init();
 * const a = [[3, 0], [-4, 0]];
 * console.log(norm(a), norm(a, 1), norm(a, Infinity), norm(a, -2)); // 5 7 4 0
 * ```
 */
export function norm<S extends number | Tensor = number>(a: TensorLike, ord?: NormOrder, options?: ProgressOptions): S;
export function norm(a: TensorLike, ord: NormOrder = "fro", options?: ProgressOptions): number | Tensor {
  return runSteps((runtime) => normSteps(runtime, a, ord, options), options);
}

function* normSteps(
  runtime: Runtime,
  a: TensorLike,
  ord: NormOrder,
  options: ProgressOptions | undefined,
): Steps<number | Tensor> {
  checkOptions(options, PROGRESS);
  const order = checkOrder(ord, "ord", ORDERS);
  const bySvd = order === "nuc" || order === 2 || order === -2;
  const placed = bySvd ? placeMatrix(runtime, a, "a") : placeAny(runtime, a);
  const [m, n] = placed.shape.slice(-2) as [number, number];
  if ((order === -2 && m * n === 0) || (order === -1 && n === 0) || (order === -Infinity && m === 0)) {
    throw new RangeError(expected("a", `entries for a norm of order ${order}`, `shape ${shapeText(placed.shape)}`));
  }
  if (!bySvd) return scalars(runtime, placed, entryNorms(runtime, placed, order));
  const { s, exponents } = yield* decomposeScaled(runtime, placed, "none");
  const found = Array.from(exponents, (e, i) => {
    const values = valuesOf(s, i);
    if (order === "nuc") return timesPowerOfTwo(sum(values), e);
    return timesPowerOfTwo(values[order === 2 ? 0 : values.length - 1] ?? 0, e);
  });
  return scalars(runtime, placed, found);
}

/** From the smallest value. */
function sum(values: Float64Array): number {
  return values.reduceRight((total, value) => total + value, 0);
}

/** As placeMatrix, without a look at the entries. */
function placeAny(runtime: Runtime, a: TensorLike): Tensor {
  const source = decode(a, "a");
  if (source.shape.length < 2) throw new RangeError(expected("a", "shape (…, m, n)", shapeText(source.shape)));
  return place(runtime, source, commonDtype([["a", source]]));
}

type EntryOrder = Exclude<NormOrder, "nuc" | 2 | -2>;

/** Norms of the matrices of a batch that are had from the entries. */
function entryNorms(runtime: Runtime, a: Tensor, order: EntryOrder): number[] {
  const [m, n] = a.shape.slice(-2) as [number, number];
  const work = runtime.scratch.push(matrixBytes(a, Math.max(m, n), 1));
  return Array.from(matrices(a), (matrix) => entryNorm(runtime, a.dtype, matrix, order, work));
}

function entryNorm(
  runtime: Runtime,
  dtype: DType,
  { pointer, rows, columns, rowStride, columnStride }: Matrix,
  order: EntryOrder,
  work: number,
): number {
  const { lange } = runtime[dtype];
  if (order === "fro") return lange(0, rows, columns, pointer, rowStride, columnStride, work);
  const kind = order > 0 ? 1 : 2;
  return Math.abs(order) === 1
    ? lange(kind, columns, rows, pointer, columnStride, rowStride, work)
    : lange(kind, rows, columns, pointer, rowStride, columnStride, work);
}

/**
 * Condition number: σ₁/σ_p for p = 2, its inverse for -2, and ‖A‖·‖A⁻¹‖ in the other norms. Infinity for a singular matrix.
 *
 * @param a (…, m, n), square unless p is 2 or -2; not empty
 * @param p default 2
 * @returns the condition; for a batch a tensor of its shape (`cond<Tensor>(…)` says so to the compiler)
 * @throws RangeError for another p, a matrix without entries, or one that is not square; otherwise as svd()
 * @example
 * ```ts
 * import { cond, init } from "lowrank";
 * await init();
 * console.log(cond([[4, 0], [0, 2]]), cond([[1, 1], [1, 1]], 1)); // 2 Infinity
 * ```
 */
export function cond<S extends number | Tensor = number>(
  a: TensorLike,
  p?: ConditionOrder,
  options?: ProgressOptions,
): S;
export function cond(a: TensorLike, p: ConditionOrder = 2, options?: ProgressOptions): number | Tensor {
  return runSteps((runtime) => condSteps(runtime, a, p, options), options);
}

function* condSteps(
  runtime: Runtime,
  a: TensorLike,
  p: ConditionOrder,
  options: ProgressOptions | undefined,
): Steps<number | Tensor> {
  checkOptions(options, PROGRESS);
  const order = checkOrder(p, "p", CONDITIONS);
  const placed = placeMatrix(runtime, a, "a");
  const [m, n] = placed.shape.slice(-2) as [number, number];
  if (m === 0 || n === 0) throw new RangeError(expected("a", "matrices with entries", shapeText(placed.shape)));
  if (order === 2 || order === -2) {
    const { s, exponents } = yield* decomposeScaled(runtime, placed, "none");
    return scalars(
      runtime,
      placed,
      Array.from(exponents, (_, i) => {
        const values = valuesOf(s, i);
        const [most, least] = [values[0] as number, values[values.length - 1] as number];
        if (most === 0) return Infinity;
        return order === 2 ? most / least : least / most;
      }),
    );
  }
  if (m !== n) throw new RangeError(expected("a", `shape (…, n, n) for p = ${p}`, shapeText(placed.shape)));
  return scalars(runtime, placed, yield* inverseConditions(runtime, placed, order));
}

/** ‖A‖·‖A⁻¹‖ for the square matrices of a batch. */
function* inverseConditions(runtime: Runtime, a: Tensor, order: EntryOrder): Steps<number[]> {
  const n = a.shape[a.ndim - 1] as number;
  const { u, s, vt, exponents } = yield* decomposeScaled(runtime, a, "thin");
  const inverse = Tensor.allocate(runtime, [n, n], a.dtype);
  const work = runtime.scratch.push(matrixBytes(a, n, 1));
  const found: number[] = [];
  for (const matrix of matrices(a)) {
    const i = found.length;
    const e = exponents[i] as number;
    const values = valuesOf(s, i);
    if (values[n - 1] === 0) {
      found.push(Infinity);
      continue;
    }
    const offset = i * matrixBytes(a, n, n);
    const reciprocals = values.map((value) => 1 / value);
    const [left, right] = [columnsAt(vt.pointer + offset, n), columnsAt(u.pointer + offset, n)];
    yield* scaledProduct(runtime, a.dtype, [n, n], left, reciprocals, right, inverse.pointer);
    const scaled = scaledCopy(runtime, matrix, a.dtype, -e);
    const [mine, its] = [scaled, inverse].map((one) => {
      const [whole] = matrices(one);
      return entryNorm(runtime, a.dtype, whole as Matrix, order, work);
    }) as [number, number];
    scaled.dispose();
    found.push(mine * its);
  }
  return found;
}
