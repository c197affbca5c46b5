// Rigid alignment of point sets.

import { checkOptions, sizeOf } from "../check.js";
import type { TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { runSteps } from "../scope.js";
import { inSlices, type Steps } from "../slices.js";
import { type DType, Tensor } from "../tensor.js";
import { centrePoints, decomposeCross, type Pair, placePair } from "./points.js";
import { matrixBytes, scalars, timesPowerOfTwo } from "./values.js";

export interface Kabsch<S extends number | Tensor = number, D extends DType = DType> {
  /** (…, d, d): a rotation, det r = +1. */
  r: Tensor<D>;
  /** (…, d) */
  t: Tensor<D>;
  /** √(Σ‖q − p·rᵀ − t‖²/N), from the residuals themselves; (…) for a batch. */
  rmsd: S;
}

/**
 * The rotation and the shift that bring p nearest to q, q ≈ p·rᵀ + t (Kabsch 1976), reflections excluded (Umeyama 1991).
 * Where the points lie on a line, or fewer directions than d − 1 are given, one of the many best rotations is returned.
 *
 * @param p (…, N, d), rows are points; leading axes are a batch
 * @param q of the same shape and dtype: the point of q that each point of p belongs to
 * @returns r (…, d, d) and t (…, d), which the caller owns, and rmsd: a number, or for a batch a tensor of its shape
 *   (`kabsch<Tensor>(…)` says so to the compiler). Without points: r the identity, t and rmsd zero.
 * @throws RangeError if the shapes differ; otherwise as svd()
 * @example
 * ```ts
 * import { init, kabsch } from "lowrank";
 * await init();
 * const p = [[0, 0], [2, 0], [0, 1]];
 * const q = [[5, 5], [5, 7], [4, 5]]; // turned by 90° and shifted
 * const { r, t, rmsd } = kabsch(p, q);
 * const digits = (x: number) => Math.round(x * 1e6) / 1e6 + 0;
 * console.log(r.toTyped().map(digits), t.toTyped().map(digits), rmsd < 1e-12); // Float64Array(4) [ 0, -1, 1, 0 ] Float64Array(2) [ 5, 5 ] true
 * ```
 */
export function kabsch<S extends number | Tensor = number>(
  p: TensorLike,
  q: TensorLike,
  options?: ProgressOptions,
): Kabsch<S>;
export function kabsch(p: TensorLike, q: TensorLike, options?: ProgressOptions): Kabsch<number | Tensor> {
  return runSteps((runtime) => kabschSteps(runtime, p, q, options), options);
}

function* kabschSteps(
  runtime: Runtime,
  p: TensorLike,
  q: TensorLike,
  options: ProgressOptions | undefined,
): Steps<Kabsch<number | Tensor>> {
  checkOptions(options, PROGRESS);
  const pair = placePair(runtime, p, q, ["p", "q"]);
  const { dtype, batch, m, n } = pair;
  const from = centrePoints(runtime, pair.a, true);
  const to = centrePoints(runtime, pair.b, true);
  const { u, vt } = yield* decomposeCross(runtime, pair, from, to);
  const r = Tensor.allocate(runtime, [...batch, n, n], dtype);
  const t = Tensor.allocate(runtime, [...batch, n], dtype);
  const { gemmBatch, lange, scal, scalPower } = runtime[dtype];
  const work = runtime.scratch.push(matrixBytes(pair.a, Math.max(m, n), 1));
  const square = matrixBytes(pair.a, n, n);
  const found: number[] = [];
  for (let i = 0; i < sizeOf(batch); i++) {
    const rotation = r.pointer + i * square;
    const [left, right] = [u.pointer + i * square, vt.pointer + i * square];
    // R = V·Uᵀ; a reflection becomes a rotation by turning the direction that matters least
    const multiply = () => gemmBatch(0, 1, n, n, n, 1, right, 0, 1, n, left, 0, 1, n, 0, rotation, 0, n);
    multiply();
    if (yield* reflects(runtime, pair, rotation)) {
      scal(n, -1, right + matrixBytes(pair.a, n - 1, n), 1);
      multiply();
    }
    // both sets are divided by powers of two of their own: from here on by the larger one
    const [e, f] = [from.exponents[i] as number, to.exponents[i] as number];
    const common = Math.max(e, f);
    const [mine, its] = [2 ** (e - common), 2 ** (f - common)];
    const points = matrixBytes(pair.a, m, n);
    const [p0, q0] = [from.pointer + i * points, to.pointer + i * points];
    gemmBatch(0, 1, m, n, n, -mine, p0, 0, n, 1, rotation, 0, 1, n, its, q0, 0, n);
    const rows = matrixBytes(pair.a, 1, n);
    const [mean, shift] = [from.means + i * rows, t.pointer + i * rows];
    runtime[dtype].lacpy(1, n, to.means + i * rows, n, 1, shift, n);
    gemmBatch(0, 1, 1, n, n, -mine, mean, 0, n, 1, rotation, 0, 1, n, its, shift, 0, n);
    scalPower(n, common, shift);
    found.push(m === 0 ? 0 : timesPowerOfTwo(lange(0, m, n, q0, n, 1, work) / Math.sqrt(m), common));
  }
  return { r, t, rmsd: scalars(runtime, pair.a, found) };
}

/** Whether det W < 0, W (n×n) orthogonal. */
function* reflects(runtime: Runtime, { dtype, n }: Pair, w: number): Steps<boolean> {
  const { determinantSign, determinantSignBegin, determinantSignScratch } = runtime[dtype];
  const mark = runtime.scratch.mark();
  const work = runtime.scratch.push(determinantSignScratch(n));
  determinantSignBegin(n, w, work);
  const negative = (yield* inSlices(() => determinantSign(n, work))) === 1;
  runtime.scratch.rewind(mark);
  return negative;
}
