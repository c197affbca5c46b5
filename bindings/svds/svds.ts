// The largest singular values of dense and sparse matrices and of operators.

import { checkFinite, checkInteger, checkOptions, expected } from "../check.js";
import { ConvergenceError } from "../errors.js";
import { MORE } from "../exports.js";
import type { TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { decodeMultiplier, type LinearOperator, type Multiplier } from "../operator.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { checkSeed, STREAM } from "../random.js";
import { runSteps } from "../scope.js";
import { type Steps, silently } from "../slices.js";
import type { Csr } from "../sparse/csr.js";
import { decompose } from "../svd/decompose.js";
import { type DType, Tensor } from "../tensor.js";

export interface SvdsOptions extends ProgressOptions {
  /** What ‖A·v − σ·u‖ and ‖Aᵀ·u − σ·v‖ may be, over the largest value. Default 1e-10, for f32 1e-5. */
  tolerance?: number;
  /** Cycles of the iteration before it gives up. Default 1000. */
  maxRestarts?: number;
  /** Of the random start vectors: one seed, one result. Default 0. */
  seed?: number;
}

export interface Svds<D extends DType = DType> {
  /** (m, k): left singular vectors in columns. */
  u: Tensor<D>;
  /** (k,): the k largest singular values, non-increasing. */
  s: Tensor<D>;
  /** (k, n): right singular vectors in rows. */
  vt: Tensor<D>;
  /** (k,): the larger of ‖A·v − σ·u‖ and ‖Aᵀ·u − σ·v‖ of each, computed from products at the end. */
  residuals: Tensor<D>;
}

const DEFAULT_TOLERANCE = { f32: 1e-5, f64: 1e-10 };
/** What svds returns in its low bits: row j is to be multiplied, forth or back; a cycle has ended. */
const APPLY = 1;
const APPLY_TRANSPOSED = 2;
const DONE = 0;

/**
 * The k largest singular values and their vectors of a matrix that is only multiplied: thick-restart Lanczos
 * bidiagonalisation with full reorthogonalisation (Baglama and Reichel 2005). Multiple values are found with their
 * multiplicity. Where k is close to min(m, n), the matrix is decomposed in full.
 *
 * @param a (m, n): a matrix, a Csr, or a LinearOperator, whose products are copied and stay the operator's
 * @param k how many, 1 to min(m, n)
 * @param options.tolerance bound of the residuals, over the largest value
 * @param options.maxRestarts cycles before it gives up
 * @param options.seed of the start vectors
 * @param options.onProgress called after every cycle with the number of values that have converged, of k
 * @param options.signal an AbortSignal, looked at after every cycle
 * @returns u (m, k), s (k,), vt (k, n), residuals (k,) in the dtype of `a`; the caller owns them
 * @throws ConvergenceError if a residual stays above the tolerance; NonFiniteError if an entry or a product is NaN or
 *   Infinity; RangeError if k is out of range or an operator's result has another shape; the signal's reason
 * @example
 * ```ts
 * import { csr, init, svds } from "lowrank";
 * await init();
 * const a = csr.fromCoo([0, 1, 2], [2, 0, 1], [1, 5, 3], [3, 4]);
 * console.log(svds(a, 2).s.toArray()); // [ 5, 3 ]
 * ```
 */
export function svds<D extends DType>(a: Tensor<D> | Csr<D>, k: number, options?: SvdsOptions): Svds<D>;
export function svds(a: TensorLike | Csr | LinearOperator, k: number, options?: SvdsOptions): Svds;
export function svds(a: TensorLike | Csr | LinearOperator, k: number, options?: SvdsOptions): Svds {
  return runSteps((runtime) => svdsSteps(runtime, a, k, options), options);
}

function* svdsSteps(
  runtime: Runtime,
  a: TensorLike | Csr | LinearOperator,
  k: number,
  options: SvdsOptions | undefined,
): Steps<Svds> {
  const given = checkOptions(options, ["tolerance", "maxRestarts", "seed", ...PROGRESS]);
  const tolerance = given.tolerance === undefined ? undefined : checkFinite(given.tolerance, "tolerance");
  if (tolerance !== undefined && !(tolerance > 0)) {
    throw new RangeError(expected("tolerance", "a number > 0", String(tolerance)));
  }
  const { maxRestarts = 1000 } = given;
  checkInteger(maxRestarts, "maxRestarts", 0, Number.MAX_SAFE_INTEGER);
  const seed = checkSeed(given.seed);
  const multiplier = decodeMultiplier(runtime, a, "a");
  const least = Math.min(...multiplier.shape);
  checkInteger(k, "k", Math.min(1, least), least);
  const settings = { tolerance: tolerance ?? DEFAULT_TOLERANCE[multiplier.dtype], maxRestarts, seed };
  return yield* largest(runtime, multiplier, k, settings);
}

interface Settings {
  tolerance: number;
  maxRestarts: number;
  seed: number;
}

function* largest(runtime: Runtime, a: Multiplier, k: number, settings: Settings): Steps<Svds> {
  const least = Math.min(...a.shape);
  // the bases hold as many vectors again as are wanted, or 20
  const rows = k + Math.max(k, 20);
  const found =
    2 * rows >= least
      ? yield* fromDense(runtime, a, k)
      : narrow(runtime, a, yield* longer(runtime, widen(runtime, a), k, rows, settings));
  const residuals = copyAs(runtime, residualsOf(runtime, widen(runtime, a), found), a.dtype);
  const s = found.s.data;
  const bound = settings.tolerance * (s[0] ?? 0);
  let failed = 0;
  for (const residual of residuals.data) if (!(residual <= bound)) failed++;
  if (failed > 0) throw new ConvergenceError("svds", failed);
  return { ...found, residuals };
}

type Found = Omit<Svds, "residuals">;

/** The first k triplets of the whole decomposition. */
function* fromDense(runtime: Runtime, a: Multiplier, k: number): Steps<Found> {
  const { u, s, vt } = yield* decompose(runtime, a.dense ?? a.sparse?.toDense() ?? materialize(runtime, a), "thin");
  const [m] = a.shape;
  const left = Tensor.allocate(runtime, [m, k], a.dtype);
  runtime[a.dtype].lacpy(m, k, u.pointer, u.shape[1] as number, 1, left.pointer, k);
  return { u: left, s: s.subtensor(0, k).copy(), vt: vt.subtensor(0, k).copy() };
}

/** An operator as a tensor: its products with the unit vectors of the shorter side. */
function materialize(runtime: Runtime, a: Multiplier): Tensor {
  const [m, n] = a.shape;
  const least = Math.min(m, n);
  const unit = Tensor.allocate(runtime, [least, least], a.dtype);
  unit.data.fill(0);
  for (let i = 0; i < least; i++) unit.data[i * (least + 1)] = 1;
  const product = Tensor.allocate(runtime, [Math.max(m, n), least], a.dtype);
  if (least === 0) return product.reshape([m, n]);
  if (n <= m) a.apply(unit, product);
  else a.applyTransposed(unit, product);
  unit.dispose();
  return n <= m ? product : product.transpose();
}

/** An operator on f64 whose products are those of one on f32. */
function widen(runtime: Runtime, a: Multiplier): Multiplier {
  if (a.dtype === "f64") return a;
  const through = (multiply: Multiplier["apply"]) => (x: Tensor, y: Tensor) => {
    const from = copyAs(runtime, x, "f32");
    const to = Tensor.allocate(runtime, y.shape, "f32");
    multiply(from, to);
    y.data.set(to.data);
    from.dispose();
    to.dispose();
  };
  return { shape: a.shape, dtype: "f64", apply: through(a.apply), applyTransposed: through(a.applyTransposed) };
}

/** Results in the dtype of the operator. */
function narrow(runtime: Runtime, { dtype }: Multiplier, found: Found): Found {
  if (dtype === "f64") return found;
  const [u, s, vt] = [found.u, found.s, found.vt].map((one) => copyAs(runtime, one, dtype)) as [Tensor, Tensor, Tensor];
  return { u, s, vt };
}

function copyAs(runtime: Runtime, from: Tensor, dtype: DType): Tensor {
  const to = Tensor.allocate(runtime, from.shape, dtype);
  to.data.set(from.data);
  return to;
}

/** The iteration wants at least as many rows as columns. */
function* longer(runtime: Runtime, a: Multiplier, k: number, rows: number, settings: Settings): Steps<Found> {
  const [m, n] = a.shape;
  if (m >= n) return yield* iterate(runtime, a, k, rows, settings);
  const across: Multiplier = {
    shape: [n, m],
    dtype: a.dtype,
    apply: (x, y) => a.applyTransposed(x, y),
    applyTransposed: (y, x) => a.apply(y, x),
  };
  const { u, s, vt } = yield* iterate(runtime, across, k, rows, settings);
  return { u: vt.transpose().copy(), s, vt: u.transpose().copy() };
}

/** Drives the kernel: answers its requests for products until it is done. */
function* iterate(runtime: Runtime, a: Multiplier, k: number, rows: number, settings: Settings): Steps<Found> {
  const [m, n] = a.shape;
  const { tolerance, maxRestarts, seed } = settings;
  const ldv = runtime.common.lanczosStride(n);
  const ldu = runtime.common.lanczosStride(m);
  const v = Tensor.allocate(runtime, [rows + 1, ldv], "f64");
  const u = Tensor.allocate(runtime, [rows, ldu], "f64");
  const values = Tensor.allocate(runtime, [rows], "f64");
  const work = runtime.scratch.push(runtime.common.lanczosScratch(rows));
  runtime.common.lanczosBegin(work);
  let cycles = 0;
  for (;;) {
    const request = runtime.common.lanczos(
      m,
      n,
      k,
      rows,
      tolerance,
      seed,
      STREAM.start,
      v.pointer,
      ldv,
      u.pointer,
      ldu,
      values.pointer,
      work,
    );
    if (request === MORE) {
      yield undefined;
      continue;
    }
    if (request < 0) throw new ConvergenceError("svds", k);
    if (request === DONE) break;
    const row = Math.floor(request / 4);
    const kind = request % 4;
    if (kind === APPLY) {
      withColumns(v, row, n, u, row, m, (x, y) => a.apply(x, y));
    } else if (kind === APPLY_TRANSPOSED) {
      withColumns(u, row, m, v, row + 1, n, (y, x) => a.applyTransposed(y, x));
    } else {
      yield () => ({ done: row, total: k });
      if (++cycles > maxRestarts) throw new ConvergenceError("svds", Math.max(1, k - row));
    }
  }
  const found = Tensor.allocate(runtime, [k, n], "f64");
  runtime.f64.lacpy(k, n, v.pointer, ldv, 1, found.pointer, n);
  for (const basis of [v, u]) basis.dispose();
  return yield* project(runtime, a, found);
}

/**
 * The triplets of A within the space of the rows of vt (k, n), which are orthonormal: A·V is decomposed. That takes away
 * what rounding errors added up in many cycles, and makes the left vectors orthogonal to rounding.
 */
function* project(runtime: Runtime, a: Multiplier, vt: Tensor): Steps<Found> {
  const [k, n] = vt.shape as [number, number];
  const { dtype } = a;
  const product = Tensor.allocate(runtime, [a.shape[0], k], dtype);
  a.apply(vt.transpose().copy(), product);
  const { u, s, vt: turn } = yield* silently(decompose(runtime, product, "thin"));
  product.dispose();
  const turned = Tensor.allocate(runtime, [k, n], dtype);
  const { gemmBatch } = runtime[dtype];
  gemmBatch(0, 1, k, n, k, 1, turn.pointer, 0, k, 1, vt.pointer, 0, n, 1, 0, turned.pointer, 0, n);
  return { u, s, vt: turned };
}

/** Rows of two bases as columns, for the time of a call. */
function withColumns(
  from: Tensor,
  fromRow: number,
  fromLength: number,
  to: Tensor,
  toRow: number,
  toLength: number,
  f: (x: Tensor, y: Tensor) => void,
): void {
  const handles: Tensor[] = [];
  const column = (basis: Tensor, row: number, length: number): Tensor => {
    const whole = basis.subtensor(row, row + 1);
    const flat = whole.reshape([basis.shape[1] as number]);
    const part = flat.subtensor(0, length);
    const made = part.reshape([length, 1]);
    handles.push(whole, flat, part, made);
    return made;
  };
  f(column(from, fromRow, fromLength), column(to, toRow, toLength));
  for (const handle of handles) handle.dispose();
}

/** (k,): the larger of ‖A·v − σ·u‖ and ‖Aᵀ·u − σ·v‖ of each triplet. */
function residualsOf(runtime: Runtime, a: Multiplier, found: Found): Tensor {
  const [u, s, vt] = [found.u, found.s, found.vt].map((one) => copyAs(runtime, one, "f64")) as [Tensor, Tensor, Tensor];
  const [m, n] = a.shape;
  const k = s.size;
  const residuals = Tensor.allocate(runtime, [k], "f64");
  runtime.f64.fill(k, 0, residuals.pointer);
  if (k === 0) return residuals;
  const v = vt.transpose().copy();
  const av = Tensor.allocate(runtime, [m, k], "f64");
  a.apply(v, av);
  runtime.common.lanczosResiduals(m, k, av.pointer, u.pointer, s.pointer, residuals.pointer);
  av.dispose();
  const atu = Tensor.allocate(runtime, [n, k], "f64");
  a.applyTransposed(u, atu);
  runtime.common.lanczosResiduals(n, k, atu.pointer, v.pointer, s.pointer, residuals.pointer);
  return residuals;
}
