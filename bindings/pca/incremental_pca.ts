// Principal component analysis of data that come in batches.

import { checkInteger, checkOptions, describe, expected, MAX_SIZE, shapeText } from "../check.js";
import type { TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { inScope, run, runSteps } from "../scope.js";
import { type Steps, silently } from "../slices.js";
import { checkAllFinite, decompose } from "../svd/decompose.js";
import { type DType, Tensor } from "../tensor.js";
import { type Found, type PcaJson, Projection, placeRows, read, slices, tensorsOf, vector } from "./projection.js";

export interface IncrementalPcaOptions {
  /** How many components, at most those of the first batch's rows. Default: all, min(samples so far, features). */
  components?: number | undefined;
  /** Divide scores by their standard deviations. Default false. */
  whiten?: boolean | undefined;
  /** Rows that fit() takes at a time. Default 5 times the number of features. */
  batchSize?: number | undefined;
}

/** Rows whose scatter matrix is that of everything seen: what an update decomposes. */
interface Stack {
  dtype: DType;
  samples: number;
  mean: Tensor<"f64">;
  norms: Tensor<"f64">;
  /** (rows, n) */
  rows: Tensor<"f64">;
}

/**
 * PCA of data that come in batches or are spread over machines. An update decomposes [S·V; batch − its mean;
 * √(ab/(a + b))·(difference of the means)] (Ross, Lim, Lin and Yang 2008), as scikit-learn's IncrementalPCA, in f64 for both dtypes; merge()
 * does the same with the S·V of another object. While no component with variance is left out, the result is the PCA of all
 * rows, whatever the batches. Without `components` none ever is (scikit-learn fixes their number at the first batch).
 *
 * @example
 * ```ts
 * import { IncrementalPCA, init } from "lowrank";
 * await init();
 * const here = new IncrementalPCA().partialFit([[-1, -1], [-2, -1], [-3, -2]]);
 * const there = new IncrementalPCA().partialFit([[1, 1], [2, 1], [3, 2]]);
 * const sent = JSON.stringify(there);
 * here.merge(IncrementalPCA.fromJSON(JSON.parse(sent)));
 * console.log(here.samplesSeen, here.singularValues.toArray()); // 6 [ 6.300…, 0.549… ]
 * ```
 */
export class IncrementalPCA extends Projection {
  protected readonly type = "IncrementalPCA";
  readonly #components: number | undefined;
  readonly #batchSize: number | undefined;

  /** @throws TypeError for an unknown option or a wrong type; RangeError for a number below 1 */
  constructor(options?: IncrementalPcaOptions) {
    const given = checkOptions(options, ["components", "whiten", "batchSize"]);
    super(given.whiten);
    const { components, batchSize } = given;
    this.#components = components === undefined ? undefined : checkInteger(components, "components", 1, MAX_SIZE);
    this.#batchSize = batchSize === undefined ? undefined : checkInteger(batchSize, "batchSize", 1, MAX_SIZE);
  }

  /** Rows seen so far; 0 before the first batch. */
  get samplesSeen(): number {
    return this.state()?.samples ?? 0;
  }

  /** (n,): variances of the features, divided by the number of samples; the caller owns it. */
  variances(): Tensor {
    return run((runtime) => {
      const { norms, samples, dtype } = this.fitted();
      const out = Tensor.allocate(runtime, (norms as Tensor).shape, dtype);
      out.data.set((norms as Tensor<"f64">).data.map((norm) => (norm / samples) * norm));
      return out;
    });
  }

  /**
   * Fits to the rows of x in batches, in place of what was fitted before.
   *
   * @param x (m, n): m >= 1 rows, and at least as many as `components`
   * @returns the object itself
   * @throws as partialFit(); after an error the object is as it was
   */
  fit(x: TensorLike, options?: ProgressOptions): this {
    return runSteps((runtime) => this.fitSteps(runtime, x, options), options);
  }

  /** @internal */
  *fitSteps(runtime: Runtime, x: TensorLike, options: ProgressOptions | undefined): Steps<this> {
    checkOptions(options, PROGRESS);
    this.state();
    const rows = placeRows(runtime, x, "x");
    const [m, n] = this.#check(rows, undefined);
    checkAllFinite(runtime, rows, "x");
    const size = this.#batchSize ?? 5 * n;
    let found: Found | undefined;
    for (let start = 0; start < m; ) {
      // a last batch of fewer rows than components joins the one before it
      let end = Math.min(start + size, m);
      if (end + (this.#components ?? 0) > m) end = m;
      if (found === undefined) end = Math.max(end, Math.min(m, this.#components ?? 0));
      const before: Found | undefined = found;
      found = yield* inScope(() => this.#solveBatch(runtime, before, rows.subtensor(start, end)));
      if (before !== undefined) for (const t of tensorsOf(before)) t.dispose();
      start = end;
      const done = end;
      yield () => ({ done, total: m });
    }
    this.keep(runtime, found as Found);
    return this;
  }

  *#solveBatch(runtime: Runtime, before: Found | undefined, rows: Tensor): Steps<Found> {
    return yield* silently(this.#solve(runtime, yield* silently(stackBatch(runtime, before, rows))));
  }

  /**
   * Adds rows to what was fitted.
   *
   * @param x (m, n): m >= 1 rows of the features and the dtype seen before; the first batch has at least `components` rows
   * @returns the object itself
   * @throws RangeError for another number of features, no rows, or too few in the first batch; TypeError for another dtype;
   *   NonFiniteError; after an error the object is as it was
   */
  partialFit(x: TensorLike, options?: ProgressOptions): this {
    return runSteps((runtime) => this.#partialFit(runtime, x, options), options);
  }

  *#partialFit(runtime: Runtime, x: TensorLike, options: ProgressOptions | undefined): Steps<this> {
    checkOptions(options, PROGRESS);
    const before = this.state();
    const rows = placeRows(runtime, x, "x", before?.mean.size, before?.dtype);
    this.#check(rows, before);
    checkAllFinite(runtime, rows, "x");
    this.keep(runtime, yield* this.#solve(runtime, yield* stackBatch(runtime, before, rows)));
    return this;
  }

  /**
   * Adds what another object has seen; that one stays as it is. What has seen nothing adds nothing.
   *
   * @returns the object itself
   * @throws TypeError if `other` is no IncrementalPCA or has another dtype; RangeError if its features differ in number
   */
  merge(other: IncrementalPCA): this {
    return runSteps((runtime) => this.#merge(runtime, other));
  }

  *#merge(runtime: Runtime, other: IncrementalPCA): Steps<this> {
    if (!(other instanceof IncrementalPCA)) {
      throw new TypeError(expected("other", "an IncrementalPCA", describe(other)));
    }
    const [before, more] = [this.state(), other.state()];
    if (more === undefined) return this;
    if (before !== undefined) {
      if (more.dtype !== before.dtype) throw new TypeError(expected("other", before.dtype, more.dtype));
      if (more.mean.size !== before.mean.size) {
        throw new RangeError(expected("other", `${before.mean.size} features`, `${more.mean.size}`));
      }
    }
    this.keep(runtime, yield* this.#solve(runtime, stackStates(runtime, before, more)));
    return this;
  }

  #check(rows: Tensor, before: Found | undefined): [m: number, n: number] {
    const [m, n] = rows.shape as [number, number];
    if (m < 1 || n < 1) throw new RangeError(expected("x", "shape (m >= 1, n >= 1)", shapeText(rows.shape)));
    const k = this.#components;
    if (k !== undefined && k > n) throw new RangeError(expected("components", `at most ${n} features`, `${k}`));
    if (k !== undefined && before === undefined && k > m) {
      throw new RangeError(expected("x", `at least ${k} rows at first, one a component`, `${m}`));
    }
    return [m, n];
  }

  /** The state that a stack of rows stands for. */
  *#solve(runtime: Runtime, { dtype, samples, mean, norms, rows }: Stack): Steps<Found> {
    const { s, vt } = yield* decompose(runtime, rows, "thin");
    const n = mean.size;
    const most = Math.min(this.#components ?? samples, samples, n);
    const k = Math.min(most, s.size);
    runtime.f64.flipSigns(k, n, vt.pointer);
    const values = s.data as Float64Array;
    const largest = values[0] as number;
    // relative to the largest value nothing overflows
    const whole = norms.data.reduce((sum, norm) => sum + (norm / largest) ** 2, 0);
    const share = (value: number) => (largest > 0 ? (value / largest) ** 2 / whole : 0);
    const variance = (value: number) => (value / Math.max(samples - 1, 1)) * value;
    const left = this.#components === undefined ? [] : Array.from(values.subarray(k), variance);
    return {
      dtype,
      samples,
      mean,
      norms,
      components: vt.subtensor(0, k).copy() as Tensor<"f64">,
      singularValues: vector(runtime, values.subarray(0, k)),
      explainedVariance: vector(runtime, values.subarray(0, k).map(variance)),
      explainedVarianceRatio: vector(runtime, values.subarray(0, k).map(share)),
      noiseVariance: left.length === 0 ? 0 : left.reduce((sum, one) => sum + one, 0) / left.length,
    };
  }

  protected options(): IncrementalPcaOptions {
    return {
      ...(this.#components === undefined ? {} : { components: this.#components }),
      whiten: this.whiten,
      ...(this.#batchSize === undefined ? {} : { batchSize: this.#batchSize }),
    };
  }

  /**
   * An IncrementalPCA from what toJSON() gave, with the same bits: it can be merged and fitted further.
   *
   * @param json the object, after JSON.parse() where it was text
   * @throws TypeError, RangeError naming the entry that cannot be
   */
  static fromJSON(json: PcaJson | object): IncrementalPCA {
    return run((runtime) => {
      const { options, found } = read(runtime, json, "IncrementalPCA", true);
      const made = new IncrementalPCA(options as IncrementalPcaOptions);
      if (found !== undefined) made.keep(runtime, found);
      return made;
    });
  }
}

/** What was seen and the rows of a batch (m, n). */
function* stackBatch(runtime: Runtime, before: Found | undefined, x: Tensor): Steps<Stack> {
  const [m, n] = x.shape as [number, number];
  const [rs, cs] = x.strides as [number, number];
  const mean = Tensor.allocate(runtime, [n], "f64");
  const { centreWide, means, meansScratch, projectScratch } = runtime[x.dtype];
  yield* slices(runtime, meansScratch(n), (work) => means(m, n, x.pointer, rs, cs, 1, mean.pointer, work));
  const stack = makeStack(runtime, before, m, mean, m, x.dtype);
  const first = stack.rows.pointer + 8 * n * (before?.singularValues.size ?? 0);
  yield* slices(runtime, projectScratch(n), (work) =>
    centreWide(m, n, x.pointer, rs, cs, 1, mean.pointer, first, work),
  );
  runtime.common.joinNorms(m, n, first, stack.norms.pointer);
  return stack;
}

/** What was seen here and there. */
function stackStates(runtime: Runtime, before: Found | undefined, more: Found): Stack {
  const k = more.singularValues.size;
  const n = more.mean.size;
  const stack = makeStack(runtime, before, k, more.mean, more.samples, more.dtype);
  const first = stack.rows.pointer + 8 * n * (before?.singularValues.size ?? 0);
  runtime.f64.weightedRows(k, n, more.singularValues.pointer, more.components.pointer, first);
  runtime.common.joinNorms(1, n, (more.norms as Tensor).pointer, stack.norms.pointer);
  return stack;
}

/**
 * S·V of what was seen, room for `count` rows about their mean, which stand for `samples`, and the correction for the
 * distance of the means; the joint mean, and norms without those of the new rows.
 */
function makeStack(
  runtime: Runtime,
  before: Found | undefined,
  count: number,
  mean: Tensor<"f64">,
  samples: number,
  dtype: DType,
): Stack {
  const n = mean.size;
  if (before === undefined) {
    const norms = Tensor.allocate(runtime, [n], "f64");
    runtime.f64.fill(n, 0, norms.pointer);
    return {
      dtype,
      samples,
      mean: mean.copy(),
      norms,
      rows: Tensor.allocate(runtime, [count, n], "f64"),
    };
  }
  const k = before.singularValues.size;
  const rows = Tensor.allocate(runtime, [k + count + 1, n], "f64");
  const joint = before.mean.copy();
  const norms = (before.norms as Tensor<"f64">).copy();
  const correction = rows.pointer + 8 * n * (k + count);
  runtime.f64.weightedRows(k, n, before.singularValues.pointer, before.components.pointer, rows.pointer);
  runtime.common.joinMeans(n, before.samples, samples, joint.pointer, mean.pointer, correction);
  runtime.common.joinNorms(1, n, correction, norms.pointer);
  return { dtype, samples: before.samples + samples, mean: joint, norms, rows };
}
