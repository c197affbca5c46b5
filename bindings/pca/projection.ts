// What PCA and IncrementalPCA have in common: the state that a fit leaves, its attributes, projection and back, JSON.

import {
  checkBoolean,
  checkFinite,
  checkInteger,
  checkOneOf,
  checkOptions,
  describe,
  expected,
  MAX_SIZE,
  shapeText,
} from "../check.js";
import { failure } from "../errors.js";
import { commonDtype, copyIn, decode, place, type TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import type { ProgressOptions } from "../progress.js";
import { runSteps } from "../scope.js";
import { inSlices, type Steps, silently } from "../slices.js";
import { checkAllFinite } from "../svd/decompose.js";
import { type DType, Tensor } from "../tensor.js";

/** @internal What a fit finds, in f64 for both dtypes: k components of n features from `samples` rows. */
export interface Found {
  readonly dtype: DType;
  readonly samples: number;
  /** (n,) */
  readonly mean: Tensor<"f64">;
  /** (k, n) */
  readonly components: Tensor<"f64">;
  /** (k,) each */
  readonly explainedVariance: Tensor<"f64">;
  readonly explainedVarianceRatio: Tensor<"f64">;
  readonly singularValues: Tensor<"f64">;
  readonly noiseVariance: number;
  /** (n,): ‖column − mean‖, where rows can still be added. */
  readonly norms?: Tensor<"f64"> | undefined;
}

const TENSORS = ["mean", "components", "explainedVariance", "explainedVarianceRatio", "singularValues"] as const;

/** A number as JSON can hold it. */
type JsonNumber = number | "-0" | "Infinity";

/** The state of a PCA or an IncrementalPCA as plain data: JSON.stringify() and JSON.parse() keep every bit of it. */
export interface PcaJson<O extends object = object> {
  type: string;
  version: 1;
  options: O;
  /** null before fit(). */
  state: {
    dtype: DType;
    samples: number;
    mean: JsonNumber[];
    components: JsonNumber[][];
    explainedVariance: JsonNumber[];
    explainedVarianceRatio: JsonNumber[];
    singularValues: JsonNumber[];
    noiseVariance: JsonNumber;
    norms?: JsonNumber[];
  } | null;
}

/** A linear map from features to components, fitted to data: the part that PCA and IncrementalPCA share. */
export abstract class Projection implements Disposable {
  readonly whiten: boolean;
  #found: Found | undefined;
  /** The same in the dtype of the data: what the attributes give. */
  #shown: Record<(typeof TENSORS)[number], Tensor> | undefined;
  /** (k,): the standard deviations by which whitening divides. */
  #scale: Tensor<"f64"> | undefined;
  #disposed = false;

  protected constructor(whiten: boolean | undefined) {
    this.whiten = whiten === undefined ? false : checkBoolean(whiten, "whiten");
  }

  /** (k, n): the directions, orthonormal, of largest variance first; the entry of largest magnitude of each is positive. */
  get components(): Tensor {
    return this.#attributes.components;
  }

  /** (k,): variances of the data along the components, divided by samples − 1. */
  get explainedVariance(): Tensor {
    return this.#attributes.explainedVariance;
  }

  /** (k,): the same as shares of the variance of all features; zeros if nothing varies. */
  get explainedVarianceRatio(): Tensor {
    return this.#attributes.explainedVarianceRatio;
  }

  /** (k,): singular values of the centred data. */
  get singularValues(): Tensor {
    return this.#attributes.singularValues;
  }

  /** (n,): means of the features. */
  get mean(): Tensor {
    return this.#attributes.mean;
  }

  /** The mean of the variances that are left out; 0 if none is. */
  get noiseVariance(): number {
    return this.fitted().noiseVariance;
  }

  get #attributes(): Record<(typeof TENSORS)[number], Tensor> {
    this.fitted();
    return this.#shown as Record<(typeof TENSORS)[number], Tensor>;
  }

  /** @internal The state; Error before fit(). */
  fitted(): Found {
    const found = this.state();
    if (found === undefined) throw failure("not_fitted", `call fit() of this ${this.type} first`);
    return found;
  }

  /** @internal The state, if there is one. */
  state(): Found | undefined {
    if (this.#disposed) throw failure("disposed", `this ${this.type} was disposed of`);
    return this.#found;
  }

  /** @internal Takes a new state over and lets go of the one before. */
  protected keep(runtime: Runtime, found: Found): void {
    this.state();
    const held: Tensor[] = [];
    const hold = <D extends DType>(t: Tensor<D>): Tensor<D> => {
      const handle = t.hold();
      held.push(handle);
      return handle;
    };
    try {
      const scale = Tensor.allocate(runtime, [found.singularValues.size], "f64");
      scale.data.set(deviations(found));
      const shown = Object.fromEntries(
        TENSORS.map((key) => {
          const t = found[key];
          return [key, hold(found.dtype === "f64" ? t : copyIn(runtime, decode(t, key), found.dtype))];
        }),
      ) as Record<(typeof TENSORS)[number], Tensor>;
      const own = Object.fromEntries(TENSORS.map((key) => [key, hold(found[key])])) as typeof shown;
      const next = {
        ...found,
        ...own,
        norms: found.norms === undefined ? undefined : hold(found.norms),
      } as Found;
      const heldScale = hold(scale);
      this.#release();
      [this.#found, this.#shown, this.#scale] = [next, shown, heldScale];
    } catch (error) {
      for (const handle of held) handle.dispose();
      throw error;
    }
  }

  #release(): void {
    if (this.#found !== undefined) for (const t of tensorsOf(this.#found)) t.dispose();
    if (this.#shown !== undefined) for (const t of Object.values(this.#shown)) t.dispose();
    this.#scale?.dispose();
    [this.#found, this.#shown, this.#scale] = [undefined, undefined, undefined];
  }

  /**
   * Coordinates of rows along the components: (x − mean)·Vᵀ, divided by the standard deviations with `whiten`. The mean is
   * subtracted before the product, so that a large one costs no digits.
   *
   * @param x (m, n), of the dtype that was fitted; m may be 0
   * @returns (m, k); the caller owns it
   * @throws Error with code "not_fitted" before fit(); RangeError if n differs; NonFiniteError
   */
  transform(x: TensorLike): Tensor {
    return this.#map(x, "x", "project");
  }

  /**
   * Rows from their coordinates: z·V + mean, multiplied by the standard deviations first with `whiten`.
   *
   * @param z (m, k), of the dtype that was fitted; m may be 0
   * @returns (m, n); the caller owns it
   * @throws Error with code "not_fitted" before fit(); RangeError if k differs; NonFiniteError
   */
  inverseTransform(z: TensorLike): Tensor {
    return this.#map(z, "z", "reconstruct");
  }

  /** Rows to coordinates ("project"), or back. */
  #map(value: TensorLike, argument: string, routine: "project" | "reconstruct"): Tensor {
    return runSteps((runtime) => this.mapSteps(runtime, value, argument, routine));
  }

  /** @internal */
  *mapSteps(runtime: Runtime, value: TensorLike, argument: string, routine: "project" | "reconstruct"): Steps<Tensor> {
    const { mean, dtype } = this.fitted();
    const { components } = this.#attributes;
    const [k, n] = components.shape as [number, number];
    const [width, outWidth] = routine === "project" ? [n, k] : [k, n];
    const rows = placeRows(runtime, value, argument, width, dtype);
    checkAllFinite(runtime, rows, argument);
    const m = rows.shape[0] as number;
    const out = Tensor.allocate(runtime, [m, outWidth], dtype);
    const routines = runtime[dtype];
    const scale = this.whiten ? (this.#scale as Tensor).pointer : 0;
    const [rs, cs] = rows.strides as [number, number];
    yield* slices(runtime, routines.projectScratch(width), (work) =>
      routines[routine](m, n, k, rows.pointer, rs, cs, mean.pointer, components.pointer, scale, out.pointer, work),
    );
    return out;
  }

  /** Fits to the rows of x (m, n) and returns their coordinates, (m, k): fit() and transform(). */
  fitTransform(x: TensorLike, options?: ProgressOptions): Tensor {
    return runSteps((runtime) => this.#fitTransform(runtime, x, options), options);
  }

  *#fitTransform(runtime: Runtime, x: TensorLike, options: ProgressOptions | undefined): Steps<Tensor> {
    // what a one-shot source gives is read once
    const rows = placeRows(runtime, x, "x");
    yield* this.fitSteps(runtime, rows, options);
    return yield* silently(this.mapSteps(runtime, rows, "x", "project"));
  }

  abstract fit(x: TensorLike, options?: ProgressOptions): this;

  /** @internal */
  abstract fitSteps(runtime: Runtime, x: TensorLike, options: ProgressOptions | undefined): Steps<this>;

  /** The class's name, which a minifier leaves alone. */
  protected abstract readonly type: string;

  /** Options as the constructor takes them: part of toJSON(). */
  protected abstract options(): object;

  /** The options and the state as plain data for JSON.stringify(); fromJSON() gives back the same bits. */
  toJSON(): PcaJson {
    const found = this.state();
    return {
      type: this.type,
      version: 1,
      options: this.options(),
      state: found === undefined ? null : write(found),
    };
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

/** Standard deviations along the components; where they vanish beside the first, what may still be divided by. */
function deviations({ singularValues, samples, dtype }: Found): number[] {
  const root = Math.sqrt(Math.max(samples - 1, 1));
  const least = (singularValues.data[0] ?? 0) * (dtype === "f32" ? 2 ** -23 : 2 ** -52);
  return Array.from(singularValues.data, (s) => (Math.max(s, least) || 1) / root);
}

/** @internal Every tensor of a state. */
export function tensorsOf(found: Found): Tensor[] {
  const all: Tensor[] = TENSORS.map((key) => found[key]);
  if (found.norms !== undefined) all.push(found.norms);
  return all;
}

/**
 * @internal An argument of two axes in kernel memory, not checked for NaN; `columns` and `dtype`: those that were fitted.
 */
export function placeRows(
  runtime: Runtime,
  value: TensorLike,
  argument: string,
  columns?: number,
  dtype?: DType,
): Tensor {
  const source = decode(value, argument);
  if (source.shape.length !== 2 || (columns !== undefined && source.shape[1] !== columns)) {
    throw new RangeError(expected(argument, `shape (m, ${columns ?? "n"})`, shapeText(source.shape)));
  }
  const named: [string, { dtype: DType | undefined }][] = [[argument, source]];
  if (dtype !== undefined) named.unshift(["the fitted data", { dtype }]);
  return place(runtime, source, commonDtype(named));
}

/** @internal Calls a sliced routine until it is done. */
export function* slices(runtime: Runtime, bytes: number, step: (work: number) => number): Steps<void> {
  const mark = runtime.scratch.mark();
  const work = runtime.scratch.push(bytes);
  runtime.common.begin(work);
  yield* inSlices(() => step(work));
  runtime.scratch.rewind(mark);
}

/** @internal A new (n,) tensor of f64 with these numbers. */
export function vector(runtime: Runtime, values: ArrayLike<number>): Tensor<"f64"> {
  const t = Tensor.allocate(runtime, [values.length], "f64");
  t.data.set(values);
  return t;
}

function toJson(x: number): JsonNumber {
  if (Object.is(x, -0)) return "-0";
  return x === Number.POSITIVE_INFINITY ? "Infinity" : x;
}

function write(found: Found): PcaJson["state"] {
  const list = (t: Tensor<"f64">) => Array.from(t.data, toJson);
  const [k, n] = found.components.shape as [number, number];
  const flat = list(found.components);
  const { dtype, samples } = found;
  return {
    dtype,
    samples,
    mean: list(found.mean),
    components: Array.from({ length: k }, (_, i) => flat.slice(i * n, (i + 1) * n)),
    explainedVariance: list(found.explainedVariance),
    explainedVarianceRatio: list(found.explainedVarianceRatio),
    singularValues: list(found.singularValues),
    noiseVariance: toJson(found.noiseVariance),
    ...(found.norms === undefined ? {} : { norms: list(found.norms) }),
  };
}

/** @internal What a toJSON() of `type` wrote, checked: its options as they came, and its state in kernel memory. */
export function read(
  runtime: Runtime,
  json: unknown,
  type: string,
  withNorms: boolean,
): { options: unknown; found: Found | undefined } {
  if (typeof json !== "object" || json === null) {
    throw new TypeError(expected("json", `what toJSON() of a ${type} gives`, describe(json)));
  }
  const given = checkOptions(json as PcaJson, ["type", "version", "options", "state"], "json");
  if (given.type !== type) throw new RangeError(expected("json.type", `"${type}"`, describe(given.type)));
  if (given.version !== 1) throw new RangeError(expected("json.version", "1", describe(given.version)));
  const { options, state } = given;
  if (state === null) return { options, found: undefined };
  if (typeof state !== "object") throw new TypeError(expected("json.state", "an object or null", describe(state)));
  const keys = ["dtype", "samples", "noiseVariance", ...TENSORS, ...(withNorms ? ["norms"] : [])];
  checkOptions(state, keys as never, "json.state");
  const dtype = checkOneOf(state.dtype, "json.state.dtype", ["f32", "f64"] as const);
  const samples = checkInteger(state.samples, "json.state.samples", 1, Number.MAX_SAFE_INTEGER);
  const list = (key: string, value: unknown, length?: number, least = Number.NEGATIVE_INFINITY) =>
    numbers(value, `json.state.${key}`, length, least);
  const mean = list("mean", state.mean);
  if (mean.length < 1) throw new RangeError(expected("json.state.mean", "at least one number", "none"));
  const rows: unknown = state.components;
  if (!Array.isArray(rows)) throw new TypeError(expected("json.state.components", "an array", describe(rows)));
  checkInteger(rows.length, "json.state.components.length", 1, Math.min(mean.length, MAX_SIZE));
  const components = rows.map((row, i) => list(`components[${i}]`, row, mean.length));
  const along = (key: "explainedVariance" | "explainedVarianceRatio" | "singularValues") =>
    vector(runtime, list(key, state[key], rows.length, 0));
  const singularValues = along("singularValues");
  const out = Tensor.allocate(runtime, [rows.length, mean.length], "f64");
  out.data.set(components.flat());
  return {
    options,
    found: {
      dtype,
      samples,
      mean: vector(runtime, mean),
      components: out,
      explainedVariance: along("explainedVariance"),
      explainedVarianceRatio: along("explainedVarianceRatio"),
      singularValues,
      noiseVariance: number(state.noiseVariance, "json.state.noiseVariance", 0),
      norms: withNorms ? vector(runtime, list("norms", state.norms, mean.length, 0)) : undefined,
    },
  };
}

/** Numbers from JSON, as many as `length` says. */
function numbers(value: unknown, argument: string, length: number | undefined, least: number): number[] {
  if (!Array.isArray(value)) throw new TypeError(expected(argument, "an array of numbers", describe(value)));
  if (length !== undefined && value.length !== length) {
    throw new RangeError(expected(argument, `${length} numbers`, `${value.length}`));
  }
  return Array.from(value, (x, i) => number(x, `${argument}[${i}]`, least));
}

/** A number from JSON; Infinity only where negative numbers are not allowed: variances may overflow. */
function number(value: unknown, argument: string, least: number): number {
  if (value === "-0") return -0;
  if (value === "Infinity" && least === 0) return Number.POSITIVE_INFINITY;
  const x = checkFinite(value, argument);
  if (x < least) throw new RangeError(expected(argument, `a number >= ${least}`, String(x)));
  return x;
}
