// What iterative methods multiply with: dense tensors, sparse matrices and the caller's own operators behind one face,
// products with blocks of columns in kernel memory.

import { checkMatrixShape, describe, expected, shapeText } from "./check.js";
import { NonFiniteError } from "./errors.js";
import type { TensorLike } from "./interop.js";
import type { Runtime } from "./load.js";
import { callBack, scope } from "./scope.js";
import { Csr, multiplyCsr } from "./sparse/csr.js";
import { placeMatrix, unravel } from "./svd/decompose.js";
import { type DType, Tensor } from "./tensor.js";

/**
 * A matrix (m, n) that is known by its products only. Both functions are synchronous. Their argument is valid during the
 * call and must not be written to; their result is copied and stays the operator's. As in a scope(), tensors that a call
 * makes are freed when it returns: what is to last is made before.
 *
 * @example
 * ```ts
 * import { init, type LinearOperator, matmul, svds, tensor } from "lowrank";
 * await init();
 * const [b, c] = [tensor([[1], [2]]), tensor([[3, 4]])];
 * const product: LinearOperator = {
 *   shape: [2, 2],
 *   dtype: "f64",
 *   apply: (x) => matmul(b, matmul(c, x)),
 *   applyTransposed: (y) => matmul(c.transpose(), matmul(b.transpose(), y)),
 * };
 * console.log(svds(product, 1).s.toArray()); // [ 11.180… ]
 * ```
 */
export interface LinearOperator {
  /** (m, n) */
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** A·x: (n, b) to (m, b). */
  apply(x: Tensor): Tensor;
  /** Aᵀ·y: (m, b) to (n, b). */
  applyTransposed(y: Tensor): Tensor;
}

/** @internal A matrix that multiplies blocks of columns: tensors of two axes, row-major and contiguous. */
export interface Multiplier {
  readonly shape: readonly [m: number, n: number];
  readonly dtype: DType;
  /** y (m, b) <- A·x (n, b). */
  apply(x: Tensor, y: Tensor): void;
  /** x (n, b) <- Aᵀ·y (m, b). */
  applyTransposed(y: Tensor, x: Tensor): void;
  /** A as a tensor or a sparse matrix, where it is one; finite. */
  readonly dense?: Tensor;
  readonly sparse?: Csr;
}

/**
 * @internal Recognises a matrix, a sparse matrix or an operator. Entries must be finite: those of matrices are looked
 * at now, results of an operator when they come (NonFiniteError naming its function).
 */
export function decodeMultiplier(
  runtime: Runtime,
  value: TensorLike | Csr | LinearOperator,
  argument: string,
): Multiplier {
  if (value instanceof Csr) return sparse(runtime, value, argument);
  if (isOperator(value)) return operator(runtime, value, argument);
  const a = placeMatrix(runtime, value, argument);
  if (a.ndim !== 2) throw new RangeError(expected(argument, "shape (m, n)", shapeText(a.shape)));
  return dense(runtime, a);
}

function isOperator(value: unknown): value is LinearOperator {
  return typeof value === "object" && value !== null && ("apply" in value || "applyTransposed" in value);
}

function dense(runtime: Runtime, a: Tensor): Multiplier {
  const [m, n] = a.shape as [number, number];
  const [rs, cs] = a.strides as [number, number];
  const product = (rows: number, inner: number, rsa: number, csa: number, x: Tensor, y: Tensor) => {
    const b = x.shape[1] as number;
    const { gemmBatch } = runtime[a.dtype];
    gemmBatch(0, 1, rows, b, inner, 1, a.pointer, 0, rsa, csa, x.pointer, 0, b, 1, 0, y.pointer, 0, b);
  };
  return {
    shape: [m, n],
    dtype: a.dtype,
    dense: a,
    apply: (x, y) => product(m, n, rs, cs, x, y),
    applyTransposed: (y, x) => product(n, m, cs, rs, y, x),
  };
}

function sparse(runtime: Runtime, a: Csr, argument: string): Multiplier {
  const { data } = a.lists;
  const at = runtime[a.dtype].firstNonFinite(1, a.nnz, data.pointer, a.nnz, 1);
  if (at >= 0) {
    const { indices, indptr } = a;
    const row = indptr.findIndex((start) => start > at) - 1;
    throw new NonFiniteError(argument, [row, indices[at] as number], a.data[at] as number);
  }
  return {
    shape: a.shape,
    dtype: a.dtype,
    sparse: a,
    apply: (x, y) => multiplyCsr(runtime, a, false, x.shape[1] as number, x.pointer, y.pointer),
    applyTransposed: (y, x) => multiplyCsr(runtime, a, true, y.shape[1] as number, y.pointer, x.pointer),
  };
}

function operator(runtime: Runtime, a: LinearOperator, argument: string): Multiplier {
  for (const name of ["apply", "applyTransposed"] as const) {
    if (typeof a[name] !== "function") {
      throw new TypeError(expected(`${argument}.${name}`, "a function", describe(a[name])));
    }
  }
  const { dtype } = a;
  if (dtype !== "f32" && dtype !== "f64") {
    const Kind = typeof dtype === "string" ? RangeError : TypeError;
    throw new Kind(expected(`${argument}.dtype`, '"f32" | "f64"', describe(dtype)));
  }
  const shape = checkMatrixShape(a.shape, `${argument}.shape`);
  const call = (name: "apply" | "applyTransposed", x: Tensor, out: Tensor) => {
    callBack(() =>
      scope(() => {
        // a handle of its own, so that it ends with the call
        const got = a[name](x.subtensor(0, x.shape[0] as number));
        copyResult(runtime, got, `${argument}.${name}`, out);
      }),
    );
  };
  return {
    shape,
    dtype,
    apply: (x, y) => call("apply", x, y),
    applyTransposed: (y, x) => call("applyTransposed", y, x),
  };
}

/** out <- what an operator returned, checked. */
function copyResult(runtime: Runtime, got: unknown, name: string, out: Tensor): void {
  if (!(got instanceof Tensor)) throw new TypeError(expected(name, "a result that is a Tensor", describe(got)));
  const { pointer } = got;
  if (got.dtype !== out.dtype) throw new TypeError(expected(name, `a result in ${out.dtype}`, got.dtype));
  const [rows, columns] = out.shape as [number, number];
  if (got.ndim !== 2 || got.shape[0] !== rows || got.shape[1] !== columns) {
    throw new RangeError(expected(name, `a result of shape ${shapeText(out.shape)}`, shapeText(got.shape)));
  }
  const { firstNonFinite, lacpy } = runtime[out.dtype];
  const [rs, cs] = got.strides as [number, number];
  lacpy(rows, columns, pointer, rs, cs, out.pointer, columns);
  const at = firstNonFinite(rows, columns, out.pointer, columns, 1);
  if (at >= 0) throw new NonFiniteError(name, unravel(at, out.shape), out.data[at] as number);
}
