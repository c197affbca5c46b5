// Polar decomposition.

import { checkOneOf, checkOptions } from "../check.js";
import type { TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { runSteps } from "../scope.js";
import type { Steps } from "../slices.js";
import { placeMatrix } from "../svd/decompose.js";
import { type DType, Tensor } from "../tensor.js";
import { columnsAt, rowsAt, scaledProduct } from "./product.js";
import { decomposeScaled, matrixBytes, valuesOf } from "./values.js";

const SIDES = ["right", "left"] as const;

export interface PolarOptions extends ProgressOptions {
  /** "right": A = U·P; "left": A = P·U. Default "right". */
  side?: (typeof SIDES)[number];
}

/**
 * Polar decomposition by the SVD A = W·Σ·Vᵀ: U = W·Vᵀ, which is as near to A as a matrix with orthonormal columns (rows,
 * where A is wide) can be, and P = V·Σ·Vᵀ, or W·Σ·Wᵀ on the left: symmetric, with no negative eigenvalue.
 *
 * @param a (…, m, n); leading axes are a batch; any length may be 0
 * @returns u (…, m, n), and p (…, n, n) or with `side: "left"` (…, m, m); the caller owns them
 * @throws as svd()
 * @example
 * ```ts
 * import { init, polar } from "lowrank";
 * await init();
 * const { u, p } = polar([[0, -2], [3, 0]]);
 * console.log(u.toArray(), p.toArray()); // [ [ 0, -1 ], [ 1, 0 ] ] [ [ 3, 0 ], [ 0, 2 ] ]
 * ```
 */
export function polar<D extends DType>(a: Tensor<D>, options?: PolarOptions): { u: Tensor<D>; p: Tensor<D> };
export function polar(a: TensorLike, options?: PolarOptions): { u: Tensor; p: Tensor };
export function polar(a: TensorLike, options?: PolarOptions): { u: Tensor; p: Tensor } {
  return runSteps((runtime) => polarSteps(runtime, a, options), options);
}

function* polarSteps(
  runtime: Runtime,
  a: TensorLike,
  options: PolarOptions | undefined,
): Steps<{ u: Tensor; p: Tensor }> {
  const given = checkOptions(options, ["side", ...PROGRESS]);
  const side = given.side === undefined ? "right" : checkOneOf(given.side, "side", SIDES);
  const placed = placeMatrix(runtime, a, "a");
  const { dtype } = placed;
  const batch = placed.shape.slice(0, -2);
  const [m, n] = placed.shape.slice(-2) as [number, number];
  const k = Math.min(m, n);
  const order = side === "right" ? n : m;
  const { u: w, s, vt, exponents } = yield* decomposeScaled(runtime, placed, "thin");
  const u = Tensor.allocate(runtime, [...batch, m, n], dtype);
  const p = Tensor.allocate(runtime, [...batch, order, order], dtype);
  const ones = new Float64Array(k).fill(1);
  for (let i = 0; i < exponents.length; i++) {
    const left = w.pointer + i * matrixBytes(placed, m, k);
    const right = vt.pointer + i * matrixBytes(placed, k, n);
    const to = p.pointer + i * matrixBytes(placed, order, order);
    const [rows, columns] =
      side === "right" ? [columnsAt(right, n), rowsAt(right, n)] : [rowsAt(left, k), columnsAt(left, k)];
    yield* scaledProduct(
      runtime,
      dtype,
      [m, n],
      rowsAt(left, k),
      ones,
      rowsAt(right, n),
      u.pointer + i * matrixBytes(placed, m, n),
    );
    yield* scaledProduct(runtime, dtype, [order, order], rows, valuesOf(s, i), columns, to);
    // rounding may have told the two triangles apart
    runtime[dtype].mirrorLower(order, to, order);
    runtime[dtype].scalPower(order * order, exponents[i] as number, to);
  }
  return { u, p };
}
