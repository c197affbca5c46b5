// The LoRA layer in f64, written down as its formula: y = x·Wᵀ + bias + scaling·((x·Aᵀ)·Bᵀ + loraBias).

import { type DType, type Tensor, tensor } from "../../bindings/index.js";
import { LoraAdapter, LoraLinear } from "../../bindings/lora.js";
import type { Random } from "../support/random.js";
import { multiply, transpose } from "../support/reference.js";

/** The numbers of a layer, rounded to its dtype; all row-major. */
export interface Layer {
  dtype: DType;
  inFeatures: number;
  outFeatures: number;
  r: number;
  alpha: number;
  useRslora: boolean;
  /** (out, in), also where the layer stores it (in, out) */
  w: Float64Array;
  a: Float64Array;
  b: Float64Array;
  bias: Float64Array | undefined;
  loraBias: Float64Array | undefined;
}

export interface LayerShape {
  dtype: DType;
  inFeatures: number;
  outFeatures: number;
  r: number;
  alpha?: number;
  useRslora?: boolean;
  bias?: boolean;
  loraBias?: boolean;
}

export function randomLayer(random: Random, shape: LayerShape): Layer {
  const { dtype, inFeatures, outFeatures, r, alpha = r, useRslora = false } = shape;
  const numbers = (n: number, scale: number) =>
    round(
      dtype,
      random.array(n, "normal").map((x) => x * scale),
    );
  return {
    dtype,
    inFeatures,
    outFeatures,
    r,
    alpha,
    useRslora,
    w: numbers(outFeatures * inFeatures, 1 / Math.sqrt(inFeatures || 1)),
    a: numbers(r * inFeatures, 1 / Math.sqrt(inFeatures || 1)),
    b: numbers(outFeatures * r, 1),
    bias: shape.bias ? numbers(outFeatures, 1) : undefined,
    loraBias: shape.loraBias ? numbers(outFeatures, 1) : undefined,
  };
}

export function round(dtype: DType, values: ArrayLike<number>): Float64Array {
  return Float64Array.from(dtype === "f32" ? Float32Array.from(values) : values);
}

export function place(dtype: DType, values: ArrayLike<number>, shape: readonly number[]): Tensor {
  return tensor(dtype === "f32" ? Float32Array.from(values) : Float64Array.from(values), { shape }) as Tensor;
}

export function scalingOf({ alpha, r, useRslora }: Pick<Layer, "alpha" | "r" | "useRslora">): number {
  return useRslora ? alpha / Math.sqrt(r) : alpha / r;
}

/** ΔW = scaling·B·A, (out, in). */
export function deltaOf(layer: Layer): Float64Array {
  const product = multiply(layer.outFeatures, layer.inFeatures, layer.r, layer.b, layer.a);
  return product.map((value) => scalingOf(layer) * value);
}

/** y of `rows` rows; without the adapter: the base layer. */
export function forward(layer: Layer, x: ArrayLike<number>, rows: number, withAdapter = true): Float64Array {
  const { inFeatures, outFeatures, r, w, a, b, bias, loraBias } = layer;
  const y = multiply(rows, outFeatures, inFeatures, x, transpose(outFeatures, inFeatures, w));
  const h = multiply(rows, r, inFeatures, x, transpose(r, inFeatures, a));
  const update = multiply(rows, outFeatures, r, h, transpose(outFeatures, r, b));
  const scaling = scalingOf(layer);
  return y.map((value, i) => {
    const o = i % outFeatures;
    const low = (update[i] as number) + (loraBias?.[o] ?? 0);
    return value + (bias?.[o] ?? 0) + (withAdapter ? scaling * low : 0);
  });
}

/** The layer in kernel memory, its adapter under the name "a". */
export function build(layer: Layer, { fanInFanOut = false } = {}): LoraLinear {
  const { dtype, inFeatures: n, outFeatures: m, w, bias } = layer;
  const weight = fanInFanOut ? place(dtype, transpose(m, n, w), [n, m]) : place(dtype, w, [m, n]);
  const made = new LoraLinear({ weight, fanInFanOut, ...(bias && { bias: place(dtype, bias, [m]) }) });
  made.addAdapter("a", buildAdapter(layer));
  return made;
}

export function buildAdapter({
  dtype,
  inFeatures,
  outFeatures,
  r,
  a,
  b,
  loraBias,
  alpha,
  useRslora,
}: Layer): LoraAdapter {
  return new LoraAdapter({
    a: place(dtype, a, [r, inFeatures]),
    b: place(dtype, b, [outFeatures, r]),
    ...(loraBias && { bias: place(dtype, loraBias, [outFeatures]) }),
    alpha,
    useRslora,
  });
}

/** What forward() is held to: the largest error of a row, relative to the row's largest output. */
export const TOLERANCE = { f32: 1e-5, f64: 1e-14 } as const;

export function largestRowError(got: ArrayLike<number>, expected: ArrayLike<number>, width: number): number {
  if (got.length !== expected.length) return Infinity;
  let worst = 0;
  for (let row = 0; row < got.length; row += width) {
    let largest = 0;
    let error = 0;
    for (let i = row; i < row + width; i++) {
      largest = Math.max(largest, Math.abs(expected[i] as number));
      error = Math.max(error, Math.abs((got[i] as number) - (expected[i] as number)));
    }
    worst = Math.max(worst, error === 0 ? 0 : error / largest);
  }
  return worst;
}

/** Whether two arrays hold the same bits. */
export function sameBits(x: Float32Array | Float64Array, y: Float32Array | Float64Array): boolean {
  const bytes = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
    Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
  return x.constructor === y.constructor && bytes(x).equals(bytes(y));
}
