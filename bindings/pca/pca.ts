// Principal component analysis.

import { checkOneOf, checkOptions, describe, expected, shapeText } from "../check.js";
import type { TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { checkSeed } from "../random.js";
import { randomizedSteps } from "../randomized/randomized_svd.js";
import { run, runSteps } from "../scope.js";
import type { Steps } from "../slices.js";
import { checkAllFinite, decompose } from "../svd/decompose.js";
import { Tensor } from "../tensor.js";
import { type PcaJson, Projection, placeRows, read, slices, vector } from "./projection.js";

const SOLVERS = ["auto", "full", "covariance", "randomized"] as const;

export interface PcaOptions {
  /**
   * How many components: a number of them, at least 1; a fraction in (0, 1): as many as explain more than this share of the
   * variance; "mle": as many as Minka's evidence favours. Default min(samples, features).
   */
  components?: number | "mle" | undefined;
  /** Divide scores by their standard deviations, so that each has variance 1. Default false. */
  whiten?: boolean | undefined;
  /**
   * "covariance": eigenvectors of the covariance matrix, one pass over the rows; "full": SVD of the centred data;
   * "randomized": a few components of large data. Default "auto", scikit-learn's choice: "covariance" for at most 1000 features
   * and ten times as many samples; "full" for at most 500 of both, and for "mle"; "randomized" for a number of components
   * below 0.8·min(samples, features); else "full".
   */
  solver?: (typeof SOLVERS)[number] | undefined;
  /** Of the randomized solver. Default 0. */
  seed?: number | undefined;
}

/** What a solver finds of X·factor, the factor a power of two: min(m, n) values, or fewer. */
interface Spectrum {
  factor: number;
  mean: Tensor<"f64">;
  /** Singular values of the centred data times the factor, and their squares over samples − 1. */
  singularValues: Float64Array;
  variances: Float64Array;
  /** The variance of all features. */
  total: number;
  vt: Tensor;
}

/**
 * Principal component analysis with scikit-learn's meanings, defaults and signs: components are the right singular vectors of
 * the centred rows, and the entry of largest magnitude in each is positive. Means, and the covariance matrix of either dtype,
 * are computed in f64 and block by block about the mean, so that a large mean costs no digits; the "covariance" solver needs memory
 * for no copy of the rows. The object owns its attributes; a new fit() replaces them.
 *
 * @example
 * ```ts
 * import { init, PCA } from "lowrank";
 * await init();
 * const x = [[-1, -1], [-2, -1], [-3, -2], [1, 1], [2, 1], [3, 2]];
 * const pca = new PCA({ components: 1 });
 * console.log(pca.fitTransform(x).shape); // [ 6, 1 ]
 * console.log(pca.explainedVarianceRatio.toArray()); // [ 0.992… ]
 * pca.dispose();
 * ```
 */
export class PCA extends Projection {
  protected readonly type = "PCA";
  readonly #components: number | "mle" | undefined;
  readonly #solver: (typeof SOLVERS)[number];
  readonly #seed: number;

  /** @throws TypeError for an unknown option or a wrong type; RangeError for a number of components that cannot be */
  constructor(options?: PcaOptions) {
    const given = checkOptions(options, ["components", "whiten", "solver", "seed"]);
    super(given.whiten);
    this.#components = given.components === undefined ? undefined : checkComponents(given.components);
    this.#solver = given.solver === undefined ? "auto" : checkOneOf(given.solver, "solver", SOLVERS);
    this.#seed = checkSeed(given.seed);
    if (this.#solver === "randomized" && !isCount(this.#components ?? 1)) {
      throw new RangeError(expected("components", 'a number of them with solver "randomized"', `${this.#components}`));
    }
  }

  /**
   * Fits to the rows of x, in place of what was fitted before.
   *
   * @param x (m, n): m >= 2 samples of n >= 1 features
   * @param options onProgress and signal
   * @returns the object itself
   * @throws RangeError for fewer rows than two or than "mle" needs (n), or more components than min(m, n);
   *   NonFiniteError; after an error the object is as it was
   */
  fit(x: TensorLike, options?: ProgressOptions): this {
    return runSteps((runtime) => this.fitSteps(runtime, x, options), options);
  }

  /** @internal */
  *fitSteps(runtime: Runtime, x: TensorLike, options: ProgressOptions | undefined): Steps<this> {
    checkOptions(options, PROGRESS);
    this.state();
    const rows = placeRows(runtime, x, "x");
    const [m, n] = rows.shape as [number, number];
    const solver = this.#choose(m, n);
    const { factor, mean, singularValues, variances, total, vt } =
      solver === "covariance"
        ? yield* byCovariance(runtime, rows)
        : solver === "full"
          ? yield* byFullSvd(runtime, rows)
          : yield* byRandomizedSvd(runtime, rows, this.#components as number | undefined, this.#seed);
    const ratios = variances.map((variance) => (total > 0 ? variance / total : 0));
    const unscaled = (variance: number) => variance / factor / factor;
    const k = this.#count(runtime, m, n, ratios, variances, factor);
    const rest = Math.min(m, n) - k;
    // a solver that finds k components only leaves the rest to the total
    const left =
      variances.length > k
        ? variances.subarray(k).reduce((sum, variance) => sum + variance, 0)
        : Math.max(0, total - variances.reduce((sum, variance) => sum + variance, 0));
    runtime[vt.dtype].flipSigns(k, n, vt.pointer);
    this.keep(runtime, {
      dtype: rows.dtype,
      samples: m,
      mean,
      components: widened(runtime, vt.subtensor(0, k)),
      explainedVariance: vector(runtime, variances.subarray(0, k).map(unscaled)),
      explainedVarianceRatio: vector(runtime, ratios.subarray(0, k)),
      singularValues: vector(
        runtime,
        singularValues.subarray(0, k).map((s) => s / factor),
      ),
      noiseVariance: rest === 0 ? 0 : unscaled(left / rest),
    });
    return this;
  }

  /** Checks the shape and applies scikit-learn's rule. */
  #choose(m: number, n: number): "full" | "covariance" | "randomized" {
    const k = this.#components;
    if (m < 2 || n < 1) throw new RangeError(expected("x", "shape (m >= 2, n >= 1)", shapeText([m, n])));
    if (k === "mle" && m < n) {
      throw new RangeError(
        expected("x", 'at least as many rows as columns with components "mle"', `shape ${shapeText([m, n])}`),
      );
    }
    if (k !== undefined && isCount(k) && (k as number) > Math.min(m, n)) {
      throw new RangeError(expected("components", `at most min(m, n) = ${Math.min(m, n)}`, `${k}`));
    }
    if (this.#solver !== "auto") return this.#solver;
    if (n <= 1000 && m >= 10 * n) return "covariance";
    if (Math.max(m, n) <= 500 || k === "mle") return "full";
    return k !== undefined && isCount(k) && (k as number) < 0.8 * Math.min(m, n) ? "randomized" : "full";
  }

  /** How many components to keep. */
  #count(
    runtime: Runtime,
    m: number,
    n: number,
    ratios: Float64Array,
    variances: Float64Array,
    factor: number,
  ): number {
    const k = this.#components;
    if (k === undefined) return Math.min(m, n);
    if (k === "mle") {
      const spectrum = vector(
        runtime,
        variances.map((v) => v / factor / factor),
      );
      const work = runtime.scratch.push(8 * n);
      return Math.max(1, runtime.common.minkaRank(n, spectrum.pointer, m, work));
    }
    if (isCount(k)) return k;
    let sum = 0;
    for (let i = 0; i < ratios.length; i++) {
      sum += ratios[i] as number;
      if (sum > k) return i + 1;
    }
    // nothing varies, or rounding keeps the sum of all below the fraction
    return sum === 0 ? 1 : ratios.length;
  }

  protected options(): PcaOptions {
    return {
      ...(this.#components === undefined ? {} : { components: this.#components }),
      whiten: this.whiten,
      solver: this.#solver,
      seed: this.#seed,
    };
  }

  /**
   * A PCA from what toJSON() gave, with the same bits.
   *
   * @param json the object, after JSON.parse() where it was text
   * @throws TypeError, RangeError naming the entry that cannot be
   */
  static fromJSON(json: PcaJson | object): PCA {
    return run((runtime) => {
      const { options, found } = read(runtime, json, "PCA", false);
      const made = new PCA(options as PcaOptions);
      if (found !== undefined) made.keep(runtime, found);
      return made;
    });
  }
}

function isCount(components: number | "mle"): components is number {
  return components !== "mle" && components >= 1;
}

function checkComponents(value: unknown): number | "mle" {
  const what = 'an integer >= 1, a fraction in (0, 1) or "mle"';
  if (value === "mle") return value;
  if (typeof value !== "number") {
    throw new (typeof value === "string" ? RangeError : TypeError)(expected("components", what, describe(value)));
  }
  if (!(value > 0) || (value >= 1 && !Number.isInteger(value))) {
    throw new RangeError(expected("components", what, `${value}`));
  }
  return value;
}

/** A contiguous copy in f64. */
function widened(runtime: Runtime, t: Tensor): Tensor<"f64"> {
  const out = Tensor.allocate(runtime, t.shape, "f64");
  out.data.set(t.data);
  return out;
}

/** A power of two that brings the largest entry near 1 where squares of the entries may leave the range; else 1. */
function safeFactor(runtime: Runtime, x: Tensor): number {
  const [m, n] = x.shape as [number, number];
  const [rs, cs] = x.strides as [number, number];
  const exponent = runtime[x.dtype].largestExponent(m, n, x.pointer, rs, cs);
  const safe = x.dtype === "f32" ? 40 : 400;
  return Math.abs(exponent) <= safe ? 1 : 2 ** -Math.max(exponent, -1000);
}

/** The covariance matrix's eigenvectors; as it is positive semidefinite, they are its singular vectors. */
function* byCovariance(runtime: Runtime, x: Tensor): Steps<Spectrum> {
  const [m, n] = x.shape as [number, number];
  const [rs, cs] = x.strides as [number, number];
  const mean = Tensor.allocate(runtime, [n], "f64");
  const c = Tensor.allocate(runtime, [n, n], "f64");
  const { scatter, scatterScratch } = runtime[x.dtype];
  function* compute(factor: number): Steps<number> {
    yield* slices(runtime, scatterScratch(n), (work) =>
      scatter(m, n, x.pointer, rs, cs, factor, mean.pointer, c.pointer, work),
    );
    const { data } = c;
    let trace = 0;
    for (let i = 0; i < n; i++) trace += data[i * (n + 1)] as number;
    return trace;
  }
  let factor = 1;
  let trace = yield* compute(factor);
  // the trace tells of NaN, Infinity, overflow and underflow: the entries are looked at only then
  if (!(trace > 2 ** -700 && trace < 2 ** 1020)) {
    checkAllFinite(runtime, x, "x");
    factor = safeFactor(runtime, x);
    if (factor !== 1) trace = yield* compute(factor);
  }
  const { s, vt } = yield* decompose(runtime, c, "thin");
  const values = (s as Tensor<"f64">).data.subarray(0, Math.min(m, n));
  return {
    factor,
    mean,
    singularValues: values.map(Math.sqrt),
    variances: values.map((value) => value / (m - 1)),
    total: trace / (m - 1),
    vt,
  };
}

/** A centred copy, times the factor, and the means of the features. */
function* centred(runtime: Runtime, x: Tensor): Steps<{ factor: number; mean: Tensor<"f64">; y: Tensor }> {
  const [m, n] = x.shape as [number, number];
  const [rs, cs] = x.strides as [number, number];
  checkAllFinite(runtime, x, "x");
  const factor = safeFactor(runtime, x);
  const mean = Tensor.allocate(runtime, [n], "f64");
  const y = Tensor.allocate(runtime, [m, n], x.dtype);
  const { centre, means, meansScratch, projectScratch } = runtime[x.dtype];
  yield* slices(runtime, meansScratch(n), (work) => means(m, n, x.pointer, rs, cs, factor, mean.pointer, work));
  yield* slices(runtime, projectScratch(n), (work) =>
    centre(m, n, x.pointer, rs, cs, factor, mean.pointer, y.pointer, work),
  );
  if (factor !== 1) for (let j = 0, { data } = mean; j < n; j++) data[j] = (data[j] as number) / factor;
  return { factor, mean, y };
}

/** SVD of the centred rows. */
function* byFullSvd(runtime: Runtime, x: Tensor): Steps<Spectrum> {
  const { factor, mean, y } = yield* centred(runtime, x);
  const { s, vt } = yield* decompose(runtime, y, "thin");
  const singularValues = Float64Array.from(s.data);
  const variances = singularValues.map((value) => value ** 2 / ((x.shape[0] as number) - 1));
  return {
    factor,
    mean,
    singularValues,
    variances,
    total: variances.reduceRight((sum, variance) => sum + variance, 0),
    vt,
  };
}

/** A few components of the centred rows, by random projection. */
function* byRandomizedSvd(runtime: Runtime, x: Tensor, components: number | undefined, seed: number): Steps<Spectrum> {
  const { factor, mean, y } = yield* centred(runtime, x);
  const [m, n] = x.shape as [number, number];
  const { s, vt } = yield* randomizedSteps(runtime, y, components ?? Math.min(m, n), { seed });
  const singularValues = Float64Array.from(s.data);
  return {
    factor,
    mean,
    singularValues,
    variances: singularValues.map((value) => value ** 2 / (m - 1)),
    total: runtime[x.dtype].sumSquares(m, n, y.pointer) / (m - 1),
    vt,
  };
}
