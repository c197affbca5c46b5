// The r×r core C of W = U·C·Vᵀ (svd_linear.ts): the singular values Σ, which stay as they are, plus trained parts. All
// parts start so that C = Σ. With P = x·V and Q = G·U, both (tokens, r), a layer needs P·Cᵀ, Q·C and the sums over
// tokens that are the parameters' gradients; C itself is never formed.

import { checkInteger, checkOptions, describe, expected, shapeText } from "../check.js";
import { decode, type Source, type TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { bytesOf, type DType, Tensor } from "../tensor.js";

/** What is trained of an SvdLinear; see there. */
export type SvdCore =
  | "diagonal"
  | "dense"
  | {
      /** Inner width r2 of X and Y. */
      lowRank: number;
      /** Whether the singular values are trained, too. Default true. */
      trainSigma?: boolean;
      /** (r, r2). Default: uniform in ±1/√r2. */
      x?: TensorLike;
      /** (r2, r). Default: zeros, so that the start changes nothing. */
      y?: TensorLike;
    }
  | {
      /** How many of the largest singular values get a factor and a summand. */
      scaleShift: number;
      /** Inner width r2 of X and Y, which change the others. */
      lowRank: number;
    }
  | {
      /** Width of the band on each side of the diagonal. */
      banded: number;
    };

/** @internal A core's parts over an r×r matrix. */
export interface CorePlan {
  readonly kind: "diagonal" | "dense" | "lowRank" | "scaleShift" | "banded";
  readonly rank: number;
  /** Rows and columns of the low-rank part: those from here on. */
  readonly from: number;
  readonly width: number;
  /** Shapes of the parameters. */
  readonly shapes: { readonly [name: string]: readonly number[] };
  /** Start values that were given. */
  readonly given: { readonly [name: string]: Source };
}

/** @internal The parts of a core, checked. */
export function planCore(core: SvdCore, rank: number): CorePlan {
  const plan = (rest: Partial<CorePlan> & Pick<CorePlan, "kind" | "shapes">): CorePlan => {
    return { rank, from: 0, width: 0, given: {}, ...rest };
  };
  if (core === "diagonal") return plan({ kind: core, shapes: { sigma: [rank] } });
  if (core === "dense") return plan({ kind: core, shapes: { r: [rank, rank] } });
  const known = '"diagonal", "dense", { lowRank }, { scaleShift, lowRank } or { banded }';
  if (typeof core === "string") throw new RangeError(expected("core", known, describe(core)));
  if (typeof core !== "object" || core === null) throw new TypeError(expected("core", known, describe(core)));
  if ("banded" in core) {
    checkOptions(core, ["banded"], "core");
    const width = checkInteger(core.banded, "core.banded", 0, rank - 1);
    return plan({ kind: "banded", width, shapes: { band: [rank * (2 * width + 1) - width * (width + 1)] } });
  }
  if ("scaleShift" in core) {
    checkOptions(core, ["scaleShift", "lowRank"], "core");
    const from = checkInteger(core.scaleShift, "core.scaleShift", 0, rank - 1);
    const width = checkInteger(core.lowRank, "core.lowRank", 1, rank - from);
    const shapes = { scale: [from], shift: [from], x: [rank - from, width], y: [width, rank - from] };
    return plan({ kind: "scaleShift", from, width, shapes });
  }
  if (!("lowRank" in core)) throw new TypeError(expected("core", known, describe(core)));
  const { trainSigma = true, x, y } = checkOptions(core, ["lowRank", "trainSigma", "x", "y"], "core");
  if (typeof trainSigma !== "boolean") {
    throw new TypeError(expected("core.trainSigma", "a boolean", describe(trainSigma)));
  }
  const width = checkInteger(core.lowRank, "core.lowRank", 1, rank);
  const given: { [name: string]: Source } = {};
  const shapes = { ...(trainSigma && { sigma: [rank] }), x: [rank, width], y: [width, rank] };
  for (const [name, value] of [["x", x] as const, ["y", y] as const]) {
    if (value === undefined) continue;
    const source = decode(value, `core.${name}`);
    if (shapeText(source.shape) !== shapeText(shapes[name])) {
      throw new RangeError(expected(`core.${name}`, `shape ${shapeText(shapes[name])}`, shapeText(source.shape)));
    }
    given[name] = source;
  }
  return plan({ kind: "lowRank", width, shapes, given });
}

/** @internal What the products of a core are computed with. */
export interface CoreContext {
  readonly runtime: Runtime;
  readonly dtype: DType;
  readonly plan: CorePlan;
  readonly parameters: { readonly [name: string]: Tensor };
  /** Σ (r) */
  readonly sigma: number;
  /** Factor of all parts but trained singular values, factors and summands of their own. */
  readonly scaling: number;
}

/** @internal y (tokens, r) <- x·Cᵀ, or x·C if transposed; with `change` C − Σ takes the place of C. */
export function multiplyCore(
  context: CoreContext,
  tokens: number,
  x: number,
  y: number,
  { transposed = false, change = false } = {},
): void {
  const { runtime, dtype, plan, parameters, sigma, scaling } = context;
  const { rank: r, kind, from, width } = plan;
  const { addProducts, fill, gemm } = runtime[dtype];
  const bytes = bytesOf(dtype);
  fill(tokens * r, 0, y);
  if (!change) addProducts(tokens, r, x, r, sigma, 0, y, r);
  const diagonal = diagonalChange(context);
  if (diagonal !== undefined) addProducts(tokens, diagonal.length, x, r, diagonal.pointer, 0, y, r);
  if (kind === "dense") {
    const matrix = parameters.r as Tensor;
    const [row, column] = transposed ? [r, 1] : [1, r];
    gemm(tokens, r, r, scaling, x, r, 1, matrix.pointer, row, column, 1, y, r);
  }
  if (width > 0 && kind !== "banded") {
    const { h, n, to } = narrow(context, tokens, x, transposed);
    const [row, column] = transposed ? [n, 1] : [1, width];
    gemm(tokens, n, width, scaling, h, width, 1, to, row, column, 1, y + from * bytes, r);
  }
  if (kind === "banded") {
    const band = scaled(runtime, parameters.band as Tensor, scaling);
    for (const { at, length, row, column } of diagonals(plan)) {
      const [source, target] = transposed ? [row, column] : [column, row];
      addProducts(tokens, length, x + source * bytes, r, band + at * bytes, 0, y + target * bytes, r);
    }
  }
}

/** @internal The gradients of a core's parameters from P and Q (tokens, r). */
export function coreGradients<D extends DType>(
  context: CoreContext,
  tokens: number,
  p: number,
  q: number,
): { [name: string]: Tensor<D> } {
  const { runtime, dtype, plan, parameters, sigma, scaling } = context;
  const { rank: r, kind, from, width, shapes } = plan;
  const { addProducts, fill, gemm, scal } = runtime[dtype];
  const bytes = bytesOf(dtype);
  const made: { [name: string]: Tensor<D> } = {};
  for (const [name, shape] of Object.entries(shapes)) made[name] = Tensor.allocate(runtime, shape, dtype as D);
  const of = (name: string) => (made[name] as Tensor).pointer;
  const sumProducts = (length: number, to: number) => {
    fill(length, 0, to);
    addProducts(tokens, length, q, r, p, r, to, 0);
  };
  if (made.sigma !== undefined) {
    sumProducts(r, of("sigma"));
    if (kind === "diagonal") scal(r, scaling, of("sigma"), 1);
  }
  if (kind === "scaleShift") {
    sumProducts(from, of("shift"));
    fill(from, 0, of("scale"));
    addProducts(1, from, of("shift"), 0, sigma, 0, of("scale"), 0);
  }
  if (kind === "dense") gemm(r, r, tokens, scaling, q, 1, r, p, r, 1, 0, of("r"), r);
  if (width > 0 && kind !== "banded") {
    const n = r - from;
    const [left, right] = [q + from * bytes, p + from * bytes];
    const { h } = narrow(context, tokens, p, false);
    gemm(n, width, tokens, scaling, left, 1, r, h, width, 1, 0, of("x"), width);
    const { h: z } = narrow(context, tokens, q, true);
    gemm(width, n, tokens, scaling, z, 1, width, right, r, 1, 0, of("y"), n);
  }
  if (kind === "banded") {
    fill((parameters.band as Tensor).size, 0, of("band"));
    for (const { at, length, row, column } of diagonals(plan)) {
      addProducts(tokens, length, q + row * bytes, r, p + column * bytes, r, of("band") + at * bytes, 0);
    }
    scal((parameters.band as Tensor).size, scaling, of("band"), 1);
  }
  return made;
}

/** @internal What is added to the first singular values: address and how many. */
export function diagonalChange(context: CoreContext): { pointer: number; length: number } | undefined {
  const { runtime, dtype, plan, parameters, sigma, scaling } = context;
  const { kind, from } = plan;
  if (kind === "diagonal") return { pointer: scaled(runtime, parameters.sigma as Tensor, scaling), length: plan.rank };
  if (parameters.sigma !== undefined) return { pointer: parameters.sigma.pointer, length: plan.rank };
  if (kind !== "scaleShift") return undefined;
  // scale·σ − σ + shift
  const { addProducts, axpy, lacpy } = runtime[dtype];
  const pointer = runtime.scratch.push(from * bytesOf(dtype));
  lacpy(1, from, (parameters.shift as Tensor).pointer, from, 1, pointer, from);
  axpy(from, -1, sigma, 1, pointer, 1);
  addProducts(1, from, (parameters.scale as Tensor).pointer, 0, sigma, 0, pointer, 0);
  return { pointer, length: from };
}

/** The low-rank part's first product, h (tokens, width) = x·Yᵀ, or x·X if transposed, and the other factor's address. */
function narrow({ runtime, dtype, plan, parameters }: CoreContext, tokens: number, x: number, transposed: boolean) {
  const { rank: r, from, width } = plan;
  const n = r - from;
  const [left, right] = [(parameters.x as Tensor).pointer, (parameters.y as Tensor).pointer];
  const h = runtime.scratch.push(tokens * width * bytesOf(dtype));
  const [factor, row, column] = transposed ? [left, width, 1] : [right, 1, n];
  runtime[dtype].gemm(tokens, width, n, 1, x + from * bytesOf(dtype), r, 1, factor, row, column, 0, h, width);
  return { h, n, to: transposed ? right : left };
}

/** A copy of a vector times a factor. */
function scaled(runtime: Runtime, { dtype, size, pointer }: Tensor, factor: number): number {
  const copy = runtime.scratch.push(size * bytesOf(dtype));
  runtime[dtype].lacpy(1, size, pointer, size, 1, copy, size);
  runtime[dtype].scal(size, factor, copy, 1);
  return copy;
}

/** The diagonals of a band, from the lowest to the highest: where each stands, and its first row and column. */
function* diagonals({ rank, width }: CorePlan) {
  let at = 0;
  for (let d = -width; d <= width; d++) {
    const length = rank - Math.abs(d);
    yield { at, length, row: Math.max(0, -d), column: Math.max(0, d) };
    at += length;
  }
}
