// One low-rank update: ΔW = scaling·B·A.

import {
  checkBoolean,
  checkFinite,
  checkInteger,
  checkNumberIn,
  checkOneOf,
  checkOptions,
  expected,
  MAX_SIZE,
  shapeText,
} from "../check.js";
import { commonDtype, copyIn, decode, place, type Source, type TensorLike } from "../interop.js";
import { kernel, type Runtime } from "../load.js";
import { checkSeed, STREAM } from "../random.js";
import { run, runSteps } from "../scope.js";
import type { Steps } from "../slices.js";
import { checkAllFinite } from "../svd/decompose.js";
import { type DType, Tensor } from "../tensor.js";
import { svdOfProduct } from "./product_svd.js";
import { type BaseInit, changesBase, factorsOfBase, subtractFactors } from "./start_from_base.js";

export interface LoraAdapterOptions<D extends DType = DType> {
  /** (r, in): the factor next to the input. */
  a: Tensor<D> | TensorLike;
  /** (out, r): the factor next to the output. */
  b: Tensor<D> | TensorLike;
  /** (out,): bias of B, scaled as the rest (PEFT's lora_bias). */
  bias?: TensorLike;
  /** Numerator of the scale; default r, which makes the scale 1. */
  alpha?: number;
  /** Scale alpha/√r instead of alpha/r (rsLoRA, Kalajdzievski 2023). */
  useRslora?: boolean;
  /** Probability that an input of A is dropped in training. Default 0. */
  dropout?: number;
  /** (out,): lengths of the rows of the adapted weight (DoRA, Liu et al. 2024); not with a bias. */
  magnitude?: TensorLike;
}

/** How A and B start. The later ones also change the base weight. */
export type LoraInit = "kaiming" | "gaussian" | "unit" | "pissa" | "milora" | "olora";

export interface LoraCreateOptions<D extends DType = DType> {
  inFeatures: number;
  outFeatures: number;
  /** Rank. Default 8. */
  r?: number;
  /** Numerator of the scale; default r. */
  alpha?: number;
  useRslora?: boolean;
  dropout?: number;
  /**
   * "kaiming": A uniform in ±1/√in (PEFT's default); "gaussian": A normal with standard deviation 1/r; "unit": A normal
   * with standard deviation 1; B is zero with all of them, so that the layer starts as its base. false: A uniform in
   * ±1/√in and B in ±1/√r. Parts of `base`, which is then to be replaced by what they leave of it: "pissa", its r largest
   * singular triplets; "milora", its r smallest; "olora", the first columns and rows of Q·R.
   */
  init?: LoraInit | false;
  /** A bias behind B, zero at the start. Default false. */
  loraBias?: boolean;
  /** A magnitude (DoRA) of the base weight's row lengths; needs `base`. Default false. */
  useDora?: boolean;
  /** (out, in): the weight that will be adapted; "pissa", "milora", "olora" and useDora need it. */
  base?: Tensor<D> | TensorLike;
  /** Default: that of `base`, else "f64". */
  dtype?: D;
  /** An integer in [0, 2^32). Default 0. */
  seed?: number;
}

/** More than there are purposes in STREAM. */
const STREAMS = 256;

const INITS = ["kaiming", "gaussian", "unit", "pissa", "milora", "olora"] as const;

/**
 * A LoRA adapter in PEFT's orientation: A is (r, in), B is (out, r), ΔW = scaling·B·A with scaling = alpha/r, or
 * alpha/√r with `useRslora` (Hu et al. 2021). Contiguous tensors are held by reference and kept alive, anything else is
 * copied.
 *
 * @example
 * ```ts
 * import { init } from "lowrank";
 * import { LoraAdapter } from "lowrank/lora";
 * await init();
 * const adapter = new LoraAdapter({ a: [[1, 2, 3]], b: [[1], [0]], alpha: 2 });
 * console.log(adapter.scaling, adapter.delta().toArray()); // 2 [ [ 2, 4, 6 ], [ 0, 0, 0 ] ]
 * adapter.dispose();
 * ```
 */
export class LoraAdapter<D extends DType = DType> implements Disposable {
  /** (r, in) */
  readonly a: Tensor<D>;
  /** (out, r) */
  readonly b: Tensor<D>;
  /** (out,) or undefined */
  readonly bias: Tensor<D> | undefined;
  /** (out,) or undefined: with it the adapter is weight-decomposed (DoRA) */
  readonly magnitude: Tensor<D> | undefined;
  readonly alpha: number;
  readonly useRslora: boolean;
  readonly dropout: number;

  /**
   * @throws TypeError if dtypes differ, an option is unknown, or a magnitude comes with a bias; RangeError if the shapes
   *   do not fit each other or dropout lies outside [0, 1]
   */
  constructor(options: LoraAdapterOptions<D>) {
    const given = checkOptions(options, ["a", "b", "bias", "alpha", "useRslora", "dropout", "magnitude"]);
    const runtime = kernel();
    const a = matrix(given.a, "a");
    const b = matrix(given.b, "b");
    const r = a.shape[0] as number;
    const [outFeatures, rb] = b.shape as [number, number];
    if (r < 1) throw new RangeError(expected("a", "shape (r, in) with r >= 1", shapeText(a.shape)));
    if (rb !== r) throw new RangeError(expected("b", `shape (out, ${r})`, shapeText(b.shape)));
    const bias = vector(given.bias, "bias", outFeatures);
    const magnitude = vector(given.magnitude, "magnitude", outFeatures);
    if (magnitude !== undefined && bias !== undefined) {
      throw new TypeError(expected("bias", "none beside a magnitude (DoRA)", `shape ${shapeText(bias.shape)}`));
    }
    const named: [string, Source][] = [
      ["a", a],
      ["b", b],
    ];
    if (bias !== undefined) named.push(["bias", bias]);
    if (magnitude !== undefined) named.push(["magnitude", magnitude]);
    const dtype = commonDtype(named) as D;
    this.alpha = given.alpha === undefined ? r : checkFinite(given.alpha, "alpha");
    this.useRslora = given.useRslora === undefined ? false : checkBoolean(given.useRslora, "useRslora");
    this.dropout = given.dropout === undefined ? 0 : checkNumberIn(given.dropout, "dropout", 0, 1);
    const held = run(() => hold(runtime, [a, b, bias, magnitude], dtype));
    this.a = held[0] as Tensor<D>;
    this.b = held[1] as Tensor<D>;
    this.bias = held[2];
    this.magnitude = held[3];
  }

  /**
   * An adapter to be trained: A random, B zero; or a part of the base weight, and with it `residual`, the weight that takes the
   * base's place: (out, in), base − scaling·B·A. The caller owns both. A trained one becomes a plain adapter for the base by
   * LoraLinear.toLora(), or by combineAdapters() with "cat" of itself and of its start with the weight −1.
   *
   * @throws RangeError for a size or value out of range; TypeError for a wrong type, or without a `base` that is needed;
   *   NonFiniteError for a base with NaN or Infinity that is to be decomposed
   * @example
   * ```ts
   * import { init } from "lowrank";
   * import { LoraAdapter } from "lowrank/lora";
   * await init();
   * const adapter = LoraAdapter.create({ inFeatures: 64, outFeatures: 32, r: 4, alpha: 8, seed: 1 });
   * console.log(adapter.a.shape, adapter.b.shape, adapter.scaling); // [ 4, 64 ] [ 32, 4 ] 2
   * adapter.dispose();
   * const base = [[4, 0], [0, 1]];
   * const { adapter: pissa, residual } = LoraAdapter.create({ inFeatures: 2, outFeatures: 2, r: 1, init: "pissa", base });
   * console.log(pissa.delta().toArray(), residual.toArray()); // [ [ 4, 0 ], [ 0, 0 ] ] [ [ 0, 0 ], [ 0, 1 ] ]
   * ```
   */
  static create<D extends DType = DType>(
    options: LoraCreateOptions<D> & { init: BaseInit },
  ): { adapter: LoraAdapter<D>; residual: Tensor<D> };
  static create<D extends DType = DType>(
    options: LoraCreateOptions<D> & { init?: Exclude<LoraInit, BaseInit> | false },
  ): LoraAdapter<D>;
  static create<D extends DType = DType>(
    options: LoraCreateOptions<D>,
  ): LoraAdapter<D> | { adapter: LoraAdapter<D>; residual: Tensor<D> } {
    return run((runtime) => {
      const adapter = createAdapter(options, 0);
      if (!changesBase(options.init)) return adapter;
      const base = place(runtime, decode(options.base, "base"), adapter.dtype) as Tensor<D>;
      return { adapter, residual: subtractFactors(runtime, base, adapter, adapter.scaling, false) };
    });
  }

  get dtype(): D {
    return this.a.dtype;
  }

  /** The inner width. */
  get r(): number {
    return this.a.shape[0] as number;
  }

  get inFeatures(): number {
    return this.a.shape[1] as number;
  }

  get outFeatures(): number {
    return this.b.shape[0] as number;
  }

  /** alpha/r, or alpha/√r with useRslora. */
  get scaling(): number {
    return scalingOf(this.alpha, this.r, this.useRslora);
  }

  /** ΔW = scaling·B·A, (out, in), also of a DoRA adapter, whose magnitude does not count; the caller owns it. */
  delta(): Tensor<D> {
    return run((runtime) => {
      const { outFeatures: out, inFeatures, r, scaling, a, b } = this;
      const delta = Tensor.allocate(runtime, [out, inFeatures], this.dtype);
      const { gemm } = runtime[this.dtype];
      gemm(out, inFeatures, r, scaling, b.pointer, r, 1, a.pointer, inFeatures, 1, 0, delta.pointer, inFeatures);
      return delta;
    });
  }

  /**
   * The singular values of ΔW = scaling·B·A from the factors, largest first, by QR of both and the SVD of the r×r core.
   *
   * @returns (min(out, in, r),), owned by the caller; of a DoRA adapter those of delta()
   * @throws NonFiniteError if a factor holds NaN or Infinity
   */
  singularValues(): Tensor<D> {
    return runSteps((runtime) => this.#singularValues(runtime));
  }

  *#singularValues(runtime: Runtime): Steps<Tensor<D>> {
    const { a, b, r, outFeatures, dtype, scaling } = this;
    checkAllFinite(runtime, a, "a");
    checkAllFinite(runtime, b, "b");
    const c = Tensor.allocate(runtime, [r, outFeatures], dtype);
    runtime[dtype].lacpy(r, outFeatures, b.pointer, 1, r, c.pointer, outFeatures);
    const { s } = yield* svdOfProduct(runtime, "singularValues", c, a);
    runtime[dtype].scal(s.size, Math.abs(scaling), s.pointer, 1);
    return s;
  }

  /** @internal Another adapter on the same tensors, whose handles are its own. */
  share(): LoraAdapter<D> {
    const { a, b, bias, magnitude, alpha, useRslora, dropout } = this;
    return new LoraAdapter<D>({
      a,
      b,
      alpha,
      useRslora,
      dropout,
      ...(bias && { bias }),
      ...(magnitude && { magnitude }),
    });
  }

  /** Gives the factors back; tensors that the caller handed in stay the caller's. */
  dispose(): void {
    this.a.dispose();
    this.b.dispose();
    this.bias?.dispose();
    this.magnitude?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** @internal The adapter of LoraAdapter.create for one of several modules that share a seed. */
export function createAdapter<D extends DType>(options: LoraCreateOptions<D>, module: number): LoraAdapter<D> {
  const given = checkOptions(options, [
    "inFeatures",
    "outFeatures",
    "r",
    "alpha",
    "useRslora",
    "dropout",
    "init",
    "loraBias",
    "useDora",
    "base",
    "dtype",
    "seed",
  ]);
  const { r = 8, alpha = r, init = "kaiming", loraBias = false, useDora = false } = given;
  const inFeatures = checkInteger(given.inFeatures, "inFeatures", 0, MAX_SIZE);
  const outFeatures = checkInteger(given.outFeatures, "outFeatures", 0, MAX_SIZE);
  checkInteger(r, "r", 1, MAX_SIZE);
  if (r * Math.max(inFeatures, outFeatures) > MAX_SIZE) {
    throw new RangeError(expected("r", `at most ${MAX_SIZE} elements a factor`, String(r)));
  }
  if (init !== false) checkOneOf(init, "init", INITS);
  checkFinite(alpha, "alpha");
  checkBoolean(loraBias, "loraBias");
  checkBoolean(useDora, "useDora");
  const seed = checkSeed(given.seed);
  const stream = STREAM.init + STREAMS * module;
  const base = given.base === undefined ? undefined : matrix(given.base, "base");
  if (base !== undefined && (base.shape[0] !== outFeatures || base.shape[1] !== inFeatures)) {
    throw new RangeError(expected("base", `shape (${outFeatures}, ${inFeatures})`, shapeText(base.shape)));
  }
  if (base === undefined && (useDora || changesBase(init))) {
    throw new TypeError(expected("base", `the weight, with ${useDora ? "useDora" : `init "${init}"`}`, "undefined"));
  }
  if (changesBase(init)) {
    const least = Math.min(inFeatures, outFeatures);
    if (r > least) throw new RangeError(expected("r", `an integer in [1, ${least}] with init "${init}"`, String(r)));
    if (alpha <= 0) throw new RangeError(expected("alpha", `a number > 0 with init "${init}"`, String(alpha)));
  }
  if (given.dtype !== undefined) checkOneOf(given.dtype, "dtype", ["f32", "f64"]);
  const named: [string, { dtype: DType | undefined }][] = [];
  if (given.dtype !== undefined) named.push(["dtype", { dtype: given.dtype }]);
  if (base !== undefined) named.push(["base", base]);
  const dtype = commonDtype(named) as D;
  return run((runtime) => {
    const routines = runtime[dtype];
    const scaling = scalingOf(alpha, r, given.useRslora);
    const weight = base === undefined ? undefined : (place(runtime, base, dtype) as Tensor<D>);
    const { a, b } =
      changesBase(init) && weight !== undefined
        ? factorsOfBase(runtime, init, weight, r, scaling, seed)
        : randomFactors(runtime, init, r, inFeatures, outFeatures, dtype, [seed, stream]);
    const bias = loraBias ? Tensor.allocate(runtime, [outFeatures], dtype) : undefined;
    if (bias !== undefined) routines.fill(bias.size, 0, bias.pointer);
    const magnitude = useDora ? Tensor.allocate(runtime, [outFeatures], dtype) : undefined;
    if (magnitude !== undefined && weight !== undefined) {
      // at the start the adapted weight is the base
      const still = { a, b, r, inFeatures, outFeatures, scaling: init === false ? scaling : 0 };
      const [row, column] = weight.strides as [number, number];
      writeNorms(runtime, weight.pointer, row, column, still, magnitude.pointer);
    }
    return new LoraAdapter<D>({
      a,
      b,
      ...(bias && { bias }),
      ...(magnitude && { magnitude }),
      alpha,
      ...(given.useRslora !== undefined && { useRslora: given.useRslora }),
      ...(given.dropout !== undefined && { dropout: given.dropout }),
    });
  });
}

/** A and B of the initialisations that do not look at the weight. */
function randomFactors<D extends DType>(
  runtime: Runtime,
  init: LoraInit | false,
  r: number,
  inFeatures: number,
  outFeatures: number,
  dtype: D,
  [seed, stream]: readonly [seed: number, stream: number],
): { a: Tensor<D>; b: Tensor<D> } {
  const routines = runtime[dtype];
  const a = Tensor.allocate(runtime, [r, inFeatures], dtype);
  const b = Tensor.allocate(runtime, [outFeatures, r], dtype);
  if (init === "gaussian" || init === "unit") {
    routines.gaussian(seed, stream, 0, a.size, a.pointer);
    if (init === "gaussian") routines.scal(a.size, 1 / r, a.pointer, 1);
  } else {
    fillSymmetric(runtime, [seed, stream, 0], 1 / Math.sqrt(inFeatures), a);
  }
  if (init === false) fillSymmetric(runtime, [seed, stream, a.size], 1 / Math.sqrt(r), b);
  else routines.fill(b.size, 0, b.pointer);
  return { a, b };
}

function scalingOf(alpha: number, r: number, useRslora = false): number {
  return alpha / (useRslora ? Math.sqrt(r) : r);
}

function matrix(value: TensorLike, argument: string): Source {
  const source = decode(value, argument);
  if (source.shape.length !== 2)
    throw new RangeError(expected(argument, "two axes", `shape ${shapeText(source.shape)}`));
  return source;
}

/** @internal An optional vector of n numbers. */
export function vector(value: TensorLike | undefined, argument: string, n: number): Source | undefined {
  if (value === undefined) return undefined;
  const source = decode(value, argument);
  if (source.shape.length !== 1 || source.shape[0] !== n) {
    throw new RangeError(expected(argument, `shape (${n},)`, shapeText(source.shape)));
  }
  return source;
}

/** @internal x <- uniform in ±bound, from a seed, a stream and a position. */
export function fillSymmetric(runtime: Runtime, from: [number, number, number], bound: number, x: Tensor): void {
  const routines = runtime[x.dtype];
  routines.uniform(...from, x.size, x.pointer);
  routines.scal(x.size, 2 * bound, x.pointer, 1);
  const shift = runtime.scratch.push(8);
  routines.fill(1, -bound, shift);
  routines.axpy(x.size, 1, shift, 0, x.pointer, 1);
}

/** @internal norms (out) <- row lengths of W + scaling·B·A, W with strides (row, column). */
export function writeNorms(
  runtime: Runtime,
  weight: number,
  row: number,
  column: number,
  adapter: { a: Tensor; b: Tensor; r: number; inFeatures: number; outFeatures: number; scaling: number },
  norms: number,
): void {
  const { a, b, r, inFeatures, outFeatures, scaling } = adapter;
  const routines = runtime[a.dtype];
  const work = runtime.scratch.push(routines.doraNormsScratch(inFeatures));
  routines.doraNorms(inFeatures, outFeatures, weight, row, column, r, a.pointer, b.pointer, scaling, norms, work);
}

/**
 * @internal Contiguous tensors that an object owns: the caller's own storage where it can be, else copies. All copies
 * are made before anything is held, so that nothing is when memory ends in between.
 */
export function hold<D extends DType>(
  runtime: Runtime,
  sources: readonly (Source | undefined)[],
  dtype: D,
): (Tensor<D> | undefined)[] {
  const tensors = sources.map((source) => {
    if (source === undefined) return undefined;
    return source.tensor?.contiguous ? (source.tensor as Tensor<D>) : copyIn(runtime, source, dtype);
  });
  return tensors.map((tensor) => tensor?.hold());
}
