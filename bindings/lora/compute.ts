// The calls of a layer's forward and backward pass: which rows go through which adapter, and where dropout stands. The
// formulas are the kernel's (assembly/lora/).

import type { Runtime } from "../load.js";
import type { QuantizedTensor } from "../quantized/quantize.js";
import { STREAM } from "../random.js";
import { share } from "../share.js";
import { bytesOf, type DType, Tensor } from "../tensor.js";
import { type LoraAdapter, writeNorms } from "./adapter.js";
import { addAdapter, multiplyBase } from "./products.js";

/** @internal The base weight in memory. */
export interface Base {
  readonly dtype: DType;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** 0 where a quantised weight stands for it. */
  readonly weight: number;
  readonly quantized?: QuantizedTensor | undefined;
  /** Strides of W (out, in). */
  readonly row: number;
  readonly column: number;
  /** The same weight as packWeight writes it, for the forward pass; 0: none. */
  readonly packed: number;
  /** 0: none. */
  readonly bias: number;
}

/** @internal The rows of a batch that go through one adapter. */
export interface Segment<D extends DType = DType> {
  readonly name: string;
  readonly adapter: LoraAdapter<D>;
  /** The adapter's scale times its weight in the active set. */
  readonly scaling: number;
  /** Their indices; undefined: all. */
  readonly rows: Int32Array | undefined;
  readonly count: number;
}

/** Gradients of one adapter. */
export interface AdapterGradients<D extends DType = DType> {
  /** (r, in) */
  a: Tensor<D>;
  /** (out, r) */
  b: Tensor<D>;
  /** (out,) */
  bias?: Tensor<D>;
  /** (out,) */
  magnitude?: Tensor<D>;
}

/** Rows of a segment in scratch memory, and what they were made from. */
interface Rows {
  pointer: number;
  list: number;
  /** Dropout's factors, 0 or 1/(1 − p), one an element; 0: no dropout. */
  mask: number;
}

/** The input of a segment's adapter: its rows of x, after dropout if there is a seed. `first`: rows of earlier segments. */
function inputRows(
  runtime: Runtime,
  base: Base,
  { adapter, rows, count }: Segment,
  x: number,
  seed: number | undefined,
  first: number,
): Rows {
  const { dtype, inFeatures } = base;
  const routines = runtime[dtype];
  const list = rows === undefined ? 0 : placeList(runtime, rows);
  const dropped = seed !== undefined && adapter.dropout > 0;
  if (list === 0 && !dropped) return { pointer: x, list, mask: 0 };
  const size = count * inFeatures;
  const pointer = runtime.scratch.push(size * bytesOf(dtype));
  if (list === 0) routines.lacpy(1, size, x, size, 1, pointer, size);
  else routines.gatherRows(count, inFeatures, list, x, pointer);
  if (!dropped) return { pointer, list, mask: 0 };
  const mask = runtime.scratch.push(size * bytesOf(dtype));
  const keep = 1 - adapter.dropout;
  routines.bernoulli(seed, STREAM.drop, first * inFeatures, size, keep, keep === 0 ? 0 : 1 / keep, mask);
  routines.scaleColumns(1, size, mask, pointer);
  return { pointer, list, mask };
}

function placeList(runtime: Runtime, rows: Int32Array): number {
  const list = runtime.scratch.push(rows.byteLength);
  new Int32Array(runtime.memory.buffer, list, rows.length).set(rows);
  return list;
}

/** Lengths of the adapted weight's rows, and magnitude over length. */
function placeFactors(runtime: Runtime, base: Base, { adapter, scaling }: Segment): { norms: number; factors: number } {
  const { dtype, outFeatures, inFeatures, weight, row, column } = base;
  const norms = runtime.scratch.push(outFeatures * bytesOf(dtype));
  const factors = runtime.scratch.push(outFeatures * bytesOf(dtype));
  const { a, b, r } = adapter;
  writeNorms(runtime, weight, row, column, { a, b, r, inFeatures, outFeatures, scaling }, norms);
  runtime[dtype].doraFactors(outFeatures, (adapter.magnitude as Tensor).pointer, norms, factors);
  return { norms, factors };
}

/** @internal y (tokens, out) <- the layer of x (tokens, in); with a seed dropout is on. A DoRA segment stands alone. */
export function forwardInto(
  runtime: Runtime,
  base: Base,
  segments: readonly Segment[],
  tokens: number,
  x: number,
  y: number,
  seed: number | undefined,
): void {
  const { dtype, inFeatures, outFeatures, weight, row, column, bias } = base;
  const routines = runtime[dtype];
  const [only] = segments;
  if (only?.adapter.magnitude !== undefined) {
    const { a, b, r } = only.adapter;
    const input = inputRows(runtime, base, only, x, seed, 0);
    const { factors } = placeFactors(runtime, base, only);
    const work = runtime.scratch.push(routines.doraScratch(tokens, outFeatures, r));
    routines.doraForward(
      tokens,
      inFeatures,
      outFeatures,
      x,
      input.pointer,
      weight,
      row,
      column,
      bias,
      r,
      a.pointer,
      b.pointer,
      only.scaling,
      factors,
      y,
      work,
    );
    return;
  }
  const [matrix, rsw, csw] = base.packed === 0 ? [weight, row, column] : [base.packed, 0, 1];
  if (base.quantized !== undefined) multiplyQuantized(runtime, base, base.quantized, tokens, x, y);
  else multiplyBase(runtime, dtype, tokens, inFeatures, outFeatures, x, matrix, rsw, csw, bias, y);
  let first = 0;
  for (const segment of segments) {
    const { adapter, rows, count } = segment;
    const mark = runtime.scratch.mark();
    if (seed !== undefined && adapter.dropout > 0) {
      const input = inputRows(runtime, base, segment, x, seed, first);
      const some = input.list === 0 ? y : runtime.scratch.push(count * outFeatures * bytesOf(dtype));
      if (input.list !== 0) routines.gatherRows(count, outFeatures, input.list, y, some);
      addAdapter(runtime, segment, count, 0, input.pointer, some);
      if (input.list !== 0) routines.scatterRows(count, outFeatures, input.list, some, y);
    } else {
      addAdapter(runtime, segment, count, rows === undefined ? 0 : placeList(runtime, rows), x, y);
    }
    runtime.scratch.rewind(mark);
    first += count;
  }
}

/** y (tokens, out) <- x·Wᵀ + bias. */
function multiplyQuantized(
  runtime: Runtime,
  { inFeatures, outFeatures, bias }: Base,
  { code, codes, scales }: QuantizedTensor,
  tokens: number,
  x: number,
  y: number,
): void {
  const { common, scratch, team } = runtime;
  const mark = scratch.mark();
  const workBytes = common.quantizedForwardScratch(code, tokens, inFeatures);
  const work = scratch.push(workBytes * (team?.asked ?? 1));
  const values = [0, outFeatures, code, tokens, inFeatures, outFeatures, x, codes, scales, bias, y, work] as const;
  const range = { routine: "quantizedForward", length: outFeatures, values, begin: 0, end: 1, work: 11, workBytes };
  // as the product of a weight that is not quantised, a tile packs all rows of x
  if (share(runtime, 2 * tokens * inFeatures * outFeatures, range, { unit: 8, least: 512 }) === undefined) {
    common.quantizedForward(...values);
  }
  scratch.rewind(mark);
}

/** @internal What backwardInto writes beside the adapters' gradients; 0: not wanted. */
export interface Wanted {
  /** (tokens, in) */
  x: number;
  /** As the weight is stored. */
  weight: number;
  /** (out,) */
  bias: number;
}

/** @internal Gradients of forwardInto for ∂L/∂y = g (tokens, out). */
export function backwardInto<D extends DType>(
  runtime: Runtime,
  base: Base,
  segments: readonly Segment<D>[],
  tokens: number,
  x: number,
  g: number,
  seed: number | undefined,
  wanted: Wanted,
): { [name: string]: AdapterGradients<D> } {
  const { dtype, inFeatures, outFeatures } = base;
  const routines = runtime[dtype];
  if (wanted.bias !== 0) routines.sumRows(tokens, outFeatures, 1, g, wanted.bias);
  const gradients: [name: string, made: AdapterGradients<D>][] = [];
  const [only] = segments;
  if (only?.adapter.magnitude !== undefined) {
    return Object.fromEntries([[only.name, backwardDora(runtime, base, only, tokens, x, g, seed, wanted)]]);
  }
  if (wanted.x !== 0) multiplyWeight(runtime, base, tokens, g, wanted.x);
  if (wanted.weight !== 0) addOuter(runtime, base, tokens, g, x, 0, wanted.weight);
  let first = 0;
  for (const segment of segments) {
    const { adapter, scaling, count } = segment;
    const made = allocateGradients(runtime, adapter);
    gradients.push([segment.name, made]);
    const mark = runtime.scratch.mark();
    const input = inputRows(runtime, base, segment, x, seed, first);
    let rows = g;
    if (input.list !== 0) {
      rows = runtime.scratch.push(count * outFeatures * bytesOf(dtype));
      routines.gatherRows(count, outFeatures, input.list, g, rows);
    }
    const size = count * inFeatures;
    // what reaches x through the adapter alone, before dropout's mask
    const direct = input.list === 0 && input.mask === 0;
    const dx = wanted.x === 0 || direct ? wanted.x : runtime.scratch.push(size * bytesOf(dtype));
    if (dx !== wanted.x) routines.fill(size, 0, dx);
    backwardAdapter(runtime, base, segment, count, input.pointer, rows, scaling, made, dx);
    if (dx !== wanted.x) {
      if (input.mask !== 0) routines.scaleColumns(1, size, input.mask, dx);
      if (input.list === 0) routines.axpy(size, 1, dx, 1, wanted.x, 1);
      else routines.addRows(count, inFeatures, input.list, dx, wanted.x);
    }
    runtime.scratch.rewind(mark);
    first += count;
  }
  return Object.fromEntries(gradients);
}

function backwardAdapter(
  runtime: Runtime,
  { dtype, inFeatures, outFeatures }: Base,
  { adapter: { a, b, r } }: Segment,
  count: number,
  x: number,
  g: number,
  scaling: number,
  made: AdapterGradients,
  dx: number,
): void {
  const routines = runtime[dtype];
  routines.loraBackward(
    count,
    inFeatures,
    outFeatures,
    x,
    g,
    r,
    a.pointer,
    b.pointer,
    scaling,
    made.a.pointer,
    made.b.pointer,
    made.bias?.pointer ?? 0,
    dx,
    runtime.scratch.push(routines.loraBackwardScratch(count, r)),
  );
}

/**
 * y = (x − xd)·Wᵀ + xd·W'ᵀ: with G' = G·diag(m/n), ∂xd = G'·(W + s·B·A) − G·W, ∂W = Gᵀ·(x − xd) + G'ᵀ·xd, where
 * n is a constant.
 */
function backwardDora<D extends DType>(
  runtime: Runtime,
  base: Base,
  segment: Segment<D>,
  tokens: number,
  x: number,
  g: number,
  seed: number | undefined,
  wanted: Wanted,
): AdapterGradients<D> {
  const { dtype, inFeatures, outFeatures, weight, row, column } = base;
  const { adapter, scaling } = segment;
  const { a, b, r } = adapter;
  const routines = runtime[dtype];
  const made = allocateGradients(runtime, adapter);
  const { pointer: xd, mask } = inputRows(runtime, base, segment, x, seed, 0);
  const { norms, factors } = placeFactors(runtime, base, segment);
  const size = tokens * outFeatures;
  const scaled = runtime.scratch.push(size * bytesOf(dtype));
  routines.doraBackward(
    tokens,
    inFeatures,
    outFeatures,
    xd,
    g,
    weight,
    row,
    column,
    r,
    a.pointer,
    b.pointer,
    scaling,
    norms,
    factors,
    (made.magnitude as Tensor).pointer,
    scaled,
    runtime.scratch.push(routines.doraScratch(tokens, outFeatures, r)),
  );
  if (mask === 0) {
    if (wanted.x !== 0) multiplyWeight(runtime, base, tokens, scaled, wanted.x);
    if (wanted.weight !== 0) addOuter(runtime, base, tokens, scaled, x, 0, wanted.weight);
    backwardAdapter(runtime, base, segment, tokens, x, scaled, scaling, made, wanted.x);
    return made;
  }
  const dx = wanted.x === 0 ? 0 : runtime.scratch.push(tokens * inFeatures * bytesOf(dtype));
  const change = runtime.scratch.push(size * bytesOf(dtype)); // G' − G
  routines.lacpy(1, size, scaled, size, 1, change, size);
  routines.axpy(size, -1, g, 1, change, 1);
  if (dx !== 0) multiplyWeight(runtime, base, tokens, change, dx);
  backwardAdapter(runtime, base, segment, tokens, xd, scaled, scaling, made, dx);
  if (dx !== 0) {
    routines.scaleColumns(1, tokens * inFeatures, mask, dx);
    multiplyWeight(runtime, base, tokens, g, wanted.x);
    routines.axpy(tokens * inFeatures, 1, dx, 1, wanted.x, 1);
  }
  if (wanted.weight !== 0) {
    addOuter(runtime, base, tokens, g, x, 0, wanted.weight);
    addOuter(runtime, base, tokens, change, xd, 1, wanted.weight);
  }
  return made;
}

function allocateGradients<D extends DType>(runtime: Runtime, adapter: LoraAdapter<D>): AdapterGradients<D> {
  const like = (tensor: Tensor<D>) => Tensor.allocate(runtime, tensor.shape, tensor.dtype);
  const { a, b, bias, magnitude } = adapter;
  return {
    a: like(a),
    b: like(b),
    ...(bias && { bias: like(bias) }),
    ...(magnitude && { magnitude: like(magnitude) }),
  };
}

/** Up to this many rows a product with W is faster where W is packed a panel at a time and never written. */
const FEW_ROWS = 128;

/** @internal dx (tokens, in) <- g·W, W (out, in) with strides row and column. */
export function multiplyWeight(
  runtime: Runtime,
  { dtype, inFeatures: n, outFeatures: m, weight, row, column }: Omit<Base, "packed" | "bias">,
  tokens: number,
  g: number,
  dx: number,
): void {
  if (tokens <= FEW_ROWS) multiplyBase(runtime, dtype, tokens, m, n, g, weight, column, row, 0, dx);
  else runtime[dtype].gemm(tokens, n, m, 1, g, m, 1, weight, row, column, 0, dx, n);
}

/** dw, as W is stored, <- gᵀ·x + beta·dw. */
function addOuter(runtime: Runtime, base: Base, tokens: number, g: number, x: number, beta: number, dw: number): void {
  const { dtype, inFeatures: n, outFeatures: m, row } = base;
  const { gemm } = runtime[dtype];
  if (row === n) gemm(m, n, tokens, 1, g, 1, m, x, n, 1, beta, dw, n);
  else gemm(n, m, tokens, 1, x, 1, n, g, m, 1, beta, dw, m);
}
