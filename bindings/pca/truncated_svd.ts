// Truncated SVD of data that are not centred: latent semantic analysis.

import { checkInteger, checkOptions, expected, MAX_SIZE, shapeText } from "../check.js";
import { failure } from "../errors.js";
import type { TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { decodeMultiplier } from "../operator.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { checkSeed } from "../random.js";
import { randomizedSteps } from "../randomized/randomized_svd.js";
import { run, runSteps } from "../scope.js";
import type { Steps } from "../slices.js";
import { Csr } from "../sparse/csr.js";
import { checkAllFinite } from "../svd/decompose.js";
import { type DType, Tensor } from "../tensor.js";
import { placeRows, slices } from "./projection.js";

export interface TruncatedSvdOptions {
  /** How many components, at most min(m, n) of the data. Default 2. */
  components?: number | undefined;
  /** Rounds of multiplication by X and Xᵀ. Default 5. */
  powerIterations?: number | undefined;
  /** Vectors drawn beside those that are wanted. Default 10. */
  oversamples?: number | undefined;
  /** Default 0. */
  seed?: number | undefined;
}

interface Fitted {
  dtype: DType;
  components: Tensor;
  explainedVariance: Tensor;
  explainedVarianceRatio: Tensor;
  singularValues: Tensor;
}

/**
 * The right singular vectors of X of largest values, by randomizedSvd(), with scikit-learn's meanings, defaults and signs: a PCA
 * without centring, so that sparse data stay sparse. Of term weights (tfidf()) this is latent semantic analysis. The object
 * owns its attributes; a new fit() replaces them.
 *
 * @example
 * ```ts
 * import { csr, init, TruncatedSVD } from "lowrank";
 * await init();
 * const x = csr({ data: [3, 4], indices: [0, 2], indptr: [0, 1, 2, 2], shape: [3, 3] });
 * const lsa = new TruncatedSVD({ components: 1 });
 * console.log(lsa.fitTransform(x).shape, lsa.singularValues.toArray()); // [ 3, 1 ] [ 4 ]
 * lsa.dispose();
 * ```
 */
export class TruncatedSVD implements Disposable {
  readonly #components: number;
  readonly #powerIterations: number;
  readonly #oversamples: number;
  readonly #seed: number;
  #fitted: Fitted | undefined;
  #disposed = false;

  /** @throws TypeError for an unknown option or a wrong type; RangeError for a number that cannot be */
  constructor(options?: TruncatedSvdOptions) {
    const given = checkOptions(options, ["components", "powerIterations", "oversamples", "seed"]);
    this.#components = checkInteger(given.components ?? 2, "components", 1, MAX_SIZE);
    this.#powerIterations = checkInteger(given.powerIterations ?? 5, "powerIterations", 0, 1000);
    this.#oversamples = checkInteger(given.oversamples ?? 10, "oversamples", 0, 2 ** 30);
    this.#seed = checkSeed(given.seed);
  }

  /** (k, n): right singular vectors; the entry of largest magnitude of each is positive. */
  get components(): Tensor {
    return this.#state.components;
  }

  /** (k,): variances of the coordinates X·Vᵀ, divided by m. */
  get explainedVariance(): Tensor {
    return this.#state.explainedVariance;
  }

  /** (k,): the same as shares of the variance of all features; zeros if nothing varies. */
  get explainedVarianceRatio(): Tensor {
    return this.#state.explainedVarianceRatio;
  }

  /** (k,): singular values of X. */
  get singularValues(): Tensor {
    return this.#state.singularValues;
  }

  get #state(): Fitted {
    this.#alive();
    if (this.#fitted === undefined) throw failure("not_fitted", "call fit() of this TruncatedSVD first");
    return this.#fitted;
  }

  #alive(): void {
    if (this.#disposed) throw failure("disposed", "this TruncatedSVD was disposed of");
  }

  /**
   * Fits to the rows of x, in place of what was fitted before.
   *
   * @param x (m, n), dense or sparse
   * @returns the object itself
   * @throws RangeError if components are more than min(m, n); NonFiniteError; after an error the object is as it was
   */
  fit(x: TensorLike | Csr, options?: ProgressOptions): this {
    return runSteps((runtime) => this.#fitSelf(runtime, x, options), options);
  }

  /** Fits to the rows of x (m, n) and returns their coordinates X·Vᵀ, (m, k); the caller owns them. */
  fitTransform(x: TensorLike | Csr, options?: ProgressOptions): Tensor {
    return runSteps((runtime) => this.#fit(runtime, x, options), options);
  }

  *#fitSelf(runtime: Runtime, x: TensorLike | Csr, options: ProgressOptions | undefined): Steps<this> {
    yield* this.#fit(runtime, x, options);
    return this;
  }

  *#fit(runtime: Runtime, data: TensorLike | Csr, options: ProgressOptions | undefined): Steps<Tensor> {
    checkOptions(options, PROGRESS);
    const x = data instanceof Csr ? data : placeRows(runtime, data, "x");
    this.#alive();
    const [m, n] = x.shape as [number, number];
    const k = this.#components;
    if (k > Math.min(m, n)) {
      throw new RangeError(expected("components", `at most min(m, n) = ${Math.min(m, n)}`, `${k}`));
    }
    checkEntries(runtime, x);
    const { s, vt } = yield* randomizedSteps(runtime, x, k, {
      oversamples: this.#oversamples,
      powerIterations: this.#powerIterations,
      seed: this.#seed,
    });
    const { dtype } = x;
    runtime[dtype].flipSigns(k, n, vt.pointer);
    const z = coordinates(runtime, x, vt);
    const [along, factor] = yield* variancesOf(runtime, z);
    const total = x instanceof Csr ? sparseVariance(runtime, x) : sumOf(yield* variancesOf(runtime, x));
    const explained = Tensor.allocate(runtime, [k], dtype);
    const ratio = Tensor.allocate(runtime, [k], dtype);
    explained.data.set(along.map((v) => v / factor / factor));
    // the two factors differ where the data lie at the ends of the format
    const share = (v: number) => v * (total.factor / factor) ** 2;
    ratio.data.set(along.map((v) => (total.sum > 0 ? share(v) / total.sum : 0)));
    this.#release();
    this.#fitted = {
      dtype,
      components: vt.hold(),
      explainedVariance: explained.hold(),
      explainedVarianceRatio: ratio.hold(),
      singularValues: s.hold(),
    };
    return z;
  }

  /**
   * Coordinates of rows along the components: X·Vᵀ.
   *
   * @param x (m, n), dense or sparse, of the dtype that was fitted; m may be 0
   * @returns (m, k); the caller owns it
   * @throws Error with code "not_fitted" before fit(); RangeError if n differs; NonFiniteError
   */
  transform(x: TensorLike | Csr): Tensor {
    return run((runtime) => {
      const { components, dtype } = this.#state;
      const n = components.shape[1] as number;
      if (!(x instanceof Csr)) {
        const rows = placeRows(runtime, x, "x", n, dtype);
        checkAllFinite(runtime, rows, "x");
        return coordinates(runtime, rows, components);
      }
      if (x.shape[1] !== n) throw new RangeError(expected("x", `shape (m, ${n})`, shapeText(x.shape)));
      if (x.dtype !== dtype) throw new TypeError(expected("x", `${dtype} as "the fitted data"`, x.dtype));
      checkEntries(runtime, x);
      return coordinates(runtime, x, components);
    });
  }

  /**
   * Rows from their coordinates: z·V, dense.
   *
   * @param z (m, k), of the dtype that was fitted; m may be 0
   * @returns (m, n); the caller owns it
   * @throws Error with code "not_fitted" before fit(); RangeError if k differs; NonFiniteError
   */
  inverseTransform(z: TensorLike): Tensor {
    return run((runtime) => {
      const { components, dtype } = this.#state;
      const [k, n] = components.shape as [number, number];
      const scores = placeRows(runtime, z, "z", k, dtype);
      checkAllFinite(runtime, scores, "z");
      const x = Tensor.allocate(runtime, [scores.shape[0] as number, n], dtype);
      multiply(runtime, scores, components, x);
      return x;
    });
  }

  #release(): void {
    if (this.#fitted === undefined) return;
    const { components, explainedVariance, explainedVarianceRatio, singularValues } = this.#fitted;
    for (const t of [components, explainedVariance, explainedVarianceRatio, singularValues]) t.dispose();
    this.#fitted = undefined;
  }

  /** Frees the attributes; a second call does nothing. */
  dispose(): void {
    this.#release();
    this.#disposed = true;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function checkEntries(runtime: Runtime, x: Tensor | Csr): void {
  if (x instanceof Csr) decodeMultiplier(runtime, x, "x");
  else checkAllFinite(runtime, x, "x");
}

/** X·Vᵀ for X (m, n) and V (k, n). */
function coordinates(runtime: Runtime, x: Tensor | Csr, v: Tensor): Tensor {
  if (x instanceof Csr) return x.multiply(v.transpose());
  const z = Tensor.allocate(runtime, [x.shape[0] as number, v.shape[0] as number], x.dtype);
  multiply(runtime, x, v.transpose(), z);
  return z;
}

/** out <- a·b, in one product. */
function multiply(runtime: Runtime, a: Tensor, b: Tensor, out: Tensor): void {
  const [m, k] = a.shape as [number, number];
  const n = b.shape[1] as number;
  const [rsa, csa] = a.strides as [number, number];
  const [rsb, csb] = b.strides as [number, number];
  runtime[a.dtype].gemmBatch(0, 1, m, n, k, 1, a.pointer, 0, rsa, csa, b.pointer, 0, rsb, csb, 0, out.pointer, 0, n);
}

/** A power of two that keeps squares of numbers with this exponent in range. */
function factorFor(exponent: number): number {
  return Math.abs(exponent) <= 400 ? 1 : 2 ** -Math.max(exponent, -1000);
}

/** Variances of the columns of factor·X, and the factor. */
function* variancesOf(runtime: Runtime, x: Tensor): Steps<[Float64Array, number]> {
  const [m, n] = x.shape as [number, number];
  const [rs, cs] = x.strides as [number, number];
  const { columnSquares, columnSquaresScratch, largestExponent, means, meansScratch } = runtime[x.dtype];
  const factor = factorFor(largestExponent(m, n, x.pointer, rs, cs));
  const mean = Tensor.allocate(runtime, [n], "f64");
  const squares = Tensor.allocate(runtime, [n], "f64");
  yield* slices(runtime, meansScratch(n), (work) => means(m, n, x.pointer, rs, cs, factor, mean.pointer, work));
  yield* slices(runtime, columnSquaresScratch(n), (work) =>
    columnSquares(m, n, x.pointer, rs, cs, factor, mean.pointer, squares.pointer, work),
  );
  return [squares.data.map((s) => s / m), factor];
}

function sumOf([variances, factor]: [Float64Array, number]): { sum: number; factor: number } {
  return { sum: variances.reduce((sum, v) => sum + v, 0), factor };
}

/** The variance of all columns of factor·X. */
function sparseVariance(runtime: Runtime, x: Csr): { sum: number; factor: number } {
  const { data, indices } = x.lists;
  const [m, n] = x.shape;
  const { csrVariance, largestExponent } = runtime[x.dtype];
  const factor = factorFor(largestExponent(1, x.nnz, data.pointer, x.nnz, 1));
  const work = runtime.scratch.push(16 * n);
  return { sum: csrVariance(m, x.nnz, n, data.pointer, indices.pointer, factor, work), factor };
}
