// A linear layer by its truncated SVD, with a small trained core between the singular vectors.

import {
  checkBoolean,
  checkFinite,
  checkInteger,
  checkOneOf,
  checkOptions,
  expected,
  shapeText,
  sizeOf,
} from "../check.js";
import { failure } from "../errors.js";
import { commonDtype, copyIn, decode, place, type Source, type TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { checkSeed, STREAM } from "../random.js";
import { run } from "../scope.js";
import { bytesOf, type DType, Tensor } from "../tensor.js";
import { fillSymmetric, LoraAdapter, vector } from "./adapter.js";
import { multiplyWeight } from "./compute.js";
import { multiplyBase } from "./products.js";
import {
  type CoreContext,
  type CorePlan,
  coreGradients,
  diagonalChange,
  multiplyCore,
  planCore,
  type SvdCore,
} from "./svd_core.js";
import { triplets } from "./triplets.js";

export interface SvdLinearOptions<D extends DType = DType> {
  /** (out, in), finite. It is decomposed and copied, not held. */
  weight: Tensor<D> | TensorLike;
  /** (out,) */
  bias?: TensorLike;
  /** How many singular triplets stand beside the core: 1 to min(out, in). */
  rank: number;
  /** "keep": W − U·Σ·Vᵀ stays, frozen, as a weight of its own; "drop": the layer is its truncation. Default "keep". */
  residual?: "keep" | "drop";
  /** Factor of the trained part. Default 1. */
  scaling?: number;
  /** What is trained. */
  core: SvdCore;
  /** Of random start values, and of the vectors that decompose large weights. Default 0. */
  seed?: number;
}

/** What SvdLinear.backward() returns. */
export interface SvdGradients<D extends DType = DType> {
  /** As x. */
  x?: Tensor<D>;
  /** Of the trained parts, by their names in `core`. */
  core: { [name: string]: Tensor<D> };
}

const RESIDUALS = ["keep", "drop"] as const;

/**
 * y = x·(W_res + U·C·Vᵀ)ᵀ + bias from the `rank` largest singular triplets U·Σ·Vᵀ of a weight: U, Σ, V and the residual
 * W_res = W − U·Σ·Vᵀ (or nothing) are frozen, the parts of C beside Σ are trained. They begin so that C = Σ: the start
 * changes nothing. Neither pass forms a matrix of the size (out, in).
 *
 * `core`, with `s` for `scaling`, and its trained tensors:
 *
 * - "diagonal": C = Σ + s·diag(sigma), sigma (r,). SVDiff (Han et al. 2023), SVFT's plain form (Lingam et al. 2024).
 * - "dense": C = Σ + s·R, r (r, r). With the residual kept LoRA-XS (Bałazy et al. 2024).
 * - { lowRank, trainSigma = true }: C = Σ + diag(sigma) + s·X·Y, sigma (r,), x (r, r2), y (r2, r): truncated SVD with LoRA.
 * - { scaleShift: k, lowRank }: the k largest values become scale·σ + shift, the block of the others gets s·X·Y;
 *   scale, shift (k,), x (r − k, r2), y (r2, r − k). SALT (Elsayed et al. 2025), without its ReLU.
 * - { banded: w }: C = Σ + s·M, M[i, j] with |i − j| <= w; `band` has its diagonals from the lowest on. SVFT.
 *
 * @example
 * ```ts
 * import { init } from "lowrank";
 * import { Sgd, SvdLinear } from "lowrank/lora";
 * await init();
 * const layer = new SvdLinear({ weight: [[3, 0], [0, 2], [0, 0]], rank: 2, core: "diagonal" });
 * console.log(layer.forward([[1, 1]], { train: true }).toArray()); // [ [ 3, 2, 0 ] ]
 * const { core } = layer.backward([[1, 0, 0]]);
 * new Sgd({ lr: 1 }).step(layer.core, core);
 * console.log(layer.forward([[1, 1]]).toArray(), layer.merge().toArray()); // [ [ 2, 2, 0 ] ] [ [ 2, 0 ], [ 0, 2 ], [ 0, 0 ] ]
 * layer.dispose();
 * ```
 */
export class SvdLinear<D extends DType = DType> implements Disposable {
  /** (out, r): left singular vectors. */
  readonly u: Tensor<D>;
  /** (r,): singular values, as the weight had them. */
  readonly s: Tensor<D>;
  /** (r, in): right singular vectors. */
  readonly vt: Tensor<D>;
  /** (out, in): what the triplets leave of the weight; undefined with `residual: "drop"`. */
  readonly residual: Tensor<D> | undefined;
  readonly bias: Tensor<D> | undefined;
  /** The trained tensors by name. */
  readonly core: { readonly [name: string]: Tensor<D> };
  readonly scaling: number;
  readonly #plan: CorePlan;
  #saved: { lead: readonly number[]; p: Tensor<D> } | undefined;

  /**
   * @throws RangeError for a shape or value out of range, also for factors X and Y of the weight's size; TypeError for dtypes
   *   that differ and other types; NonFiniteError for a weight with NaN or Infinity
   */
  constructor(options: SvdLinearOptions<D>) {
    const given = checkOptions(options, ["weight", "bias", "rank", "residual", "scaling", "core", "seed"]);
    const weight = decode(given.weight, "weight");
    if (weight.shape.length !== 2) {
      throw new RangeError(expected("weight", "two axes", `shape ${shapeText(weight.shape)}`));
    }
    const [out, inFeatures] = weight.shape as [number, number];
    const rank = checkInteger(given.rank, "rank", 1, Math.min(out, inFeatures));
    const residual = given.residual === undefined ? "keep" : checkOneOf(given.residual, "residual", RESIDUALS);
    this.scaling = given.scaling === undefined ? 1 : checkFinite(given.scaling, "scaling");
    const seed = checkSeed(given.seed);
    const plan = planCore(given.core, rank);
    const bias = vector(given.bias, "bias", out);
    const named: [string, Source][] = [["weight", weight]];
    if (bias !== undefined) named.push(["bias", bias]);
    for (const [name, source] of Object.entries(plan.given)) named.push([`core.${name}`, source]);
    const dtype = commonDtype(named) as D;
    const parts = run((runtime) => {
      const base = place(runtime, weight, dtype) as Tensor<D>;
      const { u, s, vt } = leading(runtime, base, rank, seed);
      const left = residual === "keep" ? subtract(runtime, base, u, s, vt) : undefined;
      const core = Object.fromEntries(
        Object.entries(plan.shapes).map(([name, shape]) => [name, start(runtime, plan, name, shape, dtype, seed)]),
      );
      const copied = bias === undefined ? undefined : copyIn(runtime, bias, dtype);
      const hold = (tensor: Tensor<D> | undefined) => tensor?.hold();
      return {
        named: [u, s, vt, left, copied].map(hold),
        core: Object.entries(core).map(([name, tensor]) => [name, tensor.hold()] as const),
      };
    });
    const [u, s, vt, left, copied] = parts.named;
    this.u = u as Tensor<D>;
    this.s = s as Tensor<D>;
    this.vt = vt as Tensor<D>;
    this.residual = left;
    this.bias = copied;
    this.core = Object.freeze(Object.fromEntries(parts.core));
    // start values that were given are copied, and stay the caller's
    this.#plan = { ...plan, given: {} };
  }

  get dtype(): D {
    return this.u.dtype;
  }

  get inFeatures(): number {
    return this.vt.shape[1] as number;
  }

  get outFeatures(): number {
    return this.u.shape[0] as number;
  }

  /** How many singular triplets stand beside the core. */
  get rank(): number {
    return this.s.size;
  }

  #context(runtime: Runtime): CoreContext {
    const { dtype, core, scaling, s } = this;
    return { runtime, dtype, plan: this.#plan, parameters: core, sigma: s.pointer, scaling };
  }

  /**
   * y = x·(W_res + U·C·Vᵀ)ᵀ + bias. NaN and Infinity pass through.
   *
   * @param x (…, in), any number of leading axes
   * @param options.train backward() may follow: x·V is kept. Default false
   * @returns (…, out); the caller owns it
   * @throws RangeError for another shape; TypeError if the dtypes differ
   */
  forward(x: TensorLike, options?: { train?: boolean }): Tensor<D> {
    return run((runtime) => {
      const given = checkOptions(options, ["train"]);
      const train = given.train === undefined ? false : checkBoolean(given.train, "train");
      const { inFeatures: n, outFeatures: m, rank: r, dtype, u, vt, residual } = this;
      const source = decode(x, "x");
      if (source.shape.length < 1 || source.shape[source.shape.length - 1] !== n) {
        throw new RangeError(expected("x", `shape (…, ${n})`, shapeText(source.shape)));
      }
      commonDtype([
        ["weight", this.u],
        ["x", source],
      ]);
      const placed = place(runtime, source, dtype);
      const input = placed.contiguous ? placed : placed.copy();
      const lead = source.shape.slice(0, -1);
      const tokens = sizeOf(lead);
      const { gemm } = runtime[dtype];
      const p = Tensor.allocate(runtime, [tokens, r], dtype);
      const y = Tensor.allocate(runtime, [...lead, m], dtype);
      multiplyBase(runtime, dtype, tokens, n, r, input.pointer, vt.pointer, n, 1, 0, p.pointer);
      const q = runtime.scratch.push(tokens * r * bytesOf(dtype));
      multiplyCore(this.#context(runtime), tokens, p.pointer, q);
      const bias = this.bias?.pointer ?? 0;
      if (residual === undefined) {
        multiplyBase(runtime, dtype, tokens, r, m, q, u.pointer, r, 1, bias, y.pointer);
      } else {
        multiplyBase(runtime, dtype, tokens, n, m, input.pointer, residual.pointer, n, 1, bias, y.pointer);
        gemm(tokens, m, r, 1, q, r, 1, u.pointer, 1, r, 1, y.pointer, m);
      }
      if (train) {
        this.forget();
        this.#saved = { lead, p: p.hold() };
      }
      return y;
    });
  }

  /**
   * Gradients of the last forward(x, { train: true }) from G = ∂L/∂y: with P = x·V and Q = G·U, those of the core come from Qᵀ·P
   * (never formed where the core is small), and ∂x = G·W_res + Q·C·Vᵀ.
   *
   * @param gradOutput (…, out) as y
   * @param options.x whether the gradient of x is wanted. Default true
   * @returns tensors that the caller owns
   * @throws Error (code "no_forward") without such a pass; RangeError for another shape; TypeError if the dtypes differ
   */
  backward(gradOutput: TensorLike, options?: { x?: boolean }): SvdGradients<D> {
    return run((runtime) => {
      const given = checkOptions(options, ["x"]);
      const wantsX = given.x === undefined ? true : checkBoolean(given.x, "x");
      const { inFeatures: n, outFeatures: m, rank: r, dtype, u, vt, residual } = this;
      u.alive();
      if (this.#saved === undefined) {
        throw failure("no_forward", "call forward(x, { train: true }) before backward()");
      }
      const { lead, p } = this.#saved;
      const shape = [...lead, m];
      const source = decode(gradOutput, "gradOutput");
      if (shapeText(source.shape) !== shapeText(shape)) {
        throw new RangeError(expected("gradOutput", `shape ${shapeText(shape)}`, shapeText(source.shape)));
      }
      commonDtype([
        ["weight", this.u],
        ["gradOutput", source],
      ]);
      const placed = place(runtime, source, dtype);
      const g = placed.contiguous ? placed : placed.copy();
      const tokens = sizeOf(lead);
      const context = this.#context(runtime);
      const { gemm } = runtime[dtype];
      const q = runtime.scratch.push(tokens * r * bytesOf(dtype));
      gemm(tokens, r, m, 1, g.pointer, m, 1, u.pointer, r, 1, 0, q, r);
      const core = coreGradients<D>(context, tokens, p.pointer, q);
      if (!wantsX) return { core };
      const dx = Tensor.allocate(runtime, [...lead, n], dtype);
      const back = runtime.scratch.push(tokens * r * bytesOf(dtype));
      multiplyCore(context, tokens, q, back, { transposed: true });
      if (residual !== undefined) {
        const base = { dtype, inFeatures: n, outFeatures: m, weight: residual.pointer, row: n, column: 1 };
        multiplyWeight(runtime, base, tokens, g.pointer, dx.pointer);
      }
      const beta = residual === undefined ? 0 : 1;
      gemm(tokens, n, r, 1, back, r, 1, vt.pointer, n, 1, beta, dx.pointer, n);
      return { x: dx, core };
    });
  }

  /** The layer's weight, W_res + U·C·Vᵀ, as one matrix (out, in); the caller owns it. */
  merge(): Tensor<D> {
    return run((runtime) => {
      const { inFeatures: n, outFeatures: m, rank: r, dtype, vt, residual } = this;
      const out = residual === undefined ? Tensor.allocate(runtime, [m, n], dtype) : residual.copy();
      const left = this.#timesCore(runtime, false);
      const beta = residual === undefined ? 0 : 1;
      runtime[dtype].gemm(m, n, r, 1, left.pointer, r, 1, vt.pointer, n, 1, beta, out.pointer, n);
      return out;
    });
  }

  /** U·C (out, r), or U·(C − Σ) with `change`. */
  #timesCore(runtime: Runtime, change: boolean): Tensor<D> {
    const { outFeatures: m, rank: r, dtype, u } = this;
    const made = Tensor.allocate(runtime, [m, r], dtype);
    // the rows of U as tokens: U·C
    multiplyCore(this.#context(runtime), m, u.pointer, made.pointer, { transposed: true, change });
    return made;
  }

  /**
   * What the core has learnt as a plain adapter, B·A = U·(C − Σ)·Vᵀ, for the weight that the layer was made from; with `residual:
   * "drop"` for that weight's truncation. Its rank is r2 for X·Y alone, k + r2 for { scaleShift: k } where that is less,
   * else the layer's; its scale is 1.
   */
  toLora(): LoraAdapter<D> {
    return run((runtime) => {
      const { inFeatures: n, outFeatures: m, rank: r, dtype, u, vt, scaling, core } = this;
      const { kind, from, width } = this.#plan;
      const factored = (kind === "lowRank" && core.sigma === undefined) || kind === "scaleShift";
      if (!factored || from + width >= r) {
        return new LoraAdapter<D>({ a: vt.copy(), b: this.#timesCore(runtime, true) });
      }
      const inner = from + width;
      const { gemm, lacpy, scaleColumns } = runtime[dtype];
      const bytes = bytesOf(dtype);
      const a = Tensor.allocate(runtime, [inner, n], dtype);
      const b = Tensor.allocate(runtime, [m, inner], dtype);
      const change = diagonalChange(this.#context(runtime));
      if (change !== undefined) {
        const columns = runtime.scratch.push(m * from * bytes);
        lacpy(m, from, u.pointer, r, 1, columns, from);
        scaleColumns(m, from, change.pointer, columns);
        lacpy(m, from, columns, from, 1, b.pointer, inner);
        lacpy(from, n, vt.pointer, n, 1, a.pointer, n);
      }
      const [x, y] = [core.x as Tensor<D>, core.y as Tensor<D>];
      const [leftU, leftB] = [u.pointer + from * bytes, b.pointer + from * bytes];
      gemm(m, width, r - from, scaling, leftU, r, 1, x.pointer, width, 1, 0, leftB, inner);
      const [lowerV, lowerA] = [vt.pointer + from * n * bytes, a.pointer + from * n * bytes];
      gemm(width, n, r - from, 1, y.pointer, r - from, 1, lowerV, n, 1, 0, lowerA, n);
      return new LoraAdapter<D>({ a, b });
    });
  }

  /** @internal Lets go of what forward() kept. */
  forget(): void {
    this.#saved?.p.dispose();
    this.#saved = undefined;
  }

  /** Gives all tensors back, also those in `core`. */
  dispose(): void {
    this.forget();
    for (const tensor of [this.u, this.s, this.vt, this.residual, this.bias, ...Object.values(this.core)]) {
      tensor?.dispose();
    }
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The r largest triplets, contiguous. */
function leading<D extends DType>(runtime: Runtime, weight: Tensor<D>, r: number, seed: number) {
  const { u, s, vt } = triplets(runtime, weight, r, "largest", seed);
  const { lacpy } = runtime[weight.dtype];
  const [m, n] = weight.shape as [number, number];
  const left = Tensor.allocate(runtime, [m, r], weight.dtype);
  lacpy(m, r, u.pointer, u.shape[1] as number, 1, left.pointer, r);
  const values = s.subtensor(0, r).copy();
  const right = Tensor.allocate(runtime, [r, n], weight.dtype);
  lacpy(r, n, vt.pointer, n, 1, right.pointer, n);
  return { u: left, s: values as Tensor<D>, vt: right };
}

/** W − U·Σ·Vᵀ. */
function subtract<D extends DType>(runtime: Runtime, weight: Tensor<D>, u: Tensor<D>, s: Tensor<D>, vt: Tensor<D>) {
  const [m, n] = weight.shape as [number, number];
  const r = s.size;
  const { gemm, scaleColumns } = runtime[weight.dtype];
  const rest = weight.copy();
  const scaled = u.copy();
  scaleColumns(m, r, s.pointer, scaled.pointer);
  gemm(m, n, r, -1, scaled.pointer, r, 1, vt.pointer, n, 1, 1, rest.pointer, n);
  return rest;
}

/** A parameter's start: the core is Σ whatever the random numbers. */
function start<D extends DType>(
  runtime: Runtime,
  plan: CorePlan,
  name: string,
  shape: readonly number[],
  dtype: D,
  seed: number,
): Tensor<D> {
  const given = plan.given[name];
  if (given !== undefined) return copyIn(runtime, given, dtype);
  const made = Tensor.allocate(runtime, shape, dtype);
  if (name === "x") fillSymmetric(runtime, [seed, STREAM.init, 0], 1 / Math.sqrt(plan.width), made);
  else runtime[dtype].fill(made.size, name === "scale" ? 1 : 0, made.pointer);
  return made;
}
