// Losses and their gradients.

import { checkInteger, checkOneOf, describe, expected, shapeText, sizeOf } from "../check.js";
import { commonDtype, decode, place, type Source, type TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { run } from "../scope.js";
import { type DType, Tensor } from "../tensor.js";

export type LossName = "softmaxCrossEntropy" | "meanSquaredError";

/** @internal */
export const LOSSES: readonly LossName[] = ["softmaxCrossEntropy", "meanSquaredError"];

/** Class numbers, one a row: integers in any array, or in a tensor. */
export type Labels =
  | TensorLike
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array;

export interface Loss<D extends DType = DType> {
  /** The mean over rows, or over elements. */
  value: number;
  /** ∂value/∂output, in its shape; the caller owns it. */
  grad: Tensor<D>;
}

/**
 * The loss of a batch and its gradient. "softmaxCrossEntropy": the mean over rows of −log softmax(output)[label], rows shifted
 * by their largest number first. "meanSquaredError": the mean over all elements of (output − target)². Values are summed in
 * f64; a NaN in the output gives NaN.
 *
 * @param output (…, classes), or of any shape
 * @param target labels in [0, classes), one a row; or numbers in the shape of the output
 * @throws RangeError for an empty batch, another shape or a label out of range; TypeError for another type
 * @example
 * ```ts
 * import { init } from "lowrank";
 * import { loss } from "lowrank/lora";
 * await init();
 * const { value, grad } = loss("softmaxCrossEntropy", [[0, 0], [0, 0]], [1, 0]);
 * console.log(value.toFixed(4), grad.toArray()); // 0.6931 [ [ 0.25, -0.25 ], [ -0.25, 0.25 ] ]
 * console.log(loss("meanSquaredError", [1, 2], [1, 4]).value); // 2
 * ```
 */
export function loss<D extends DType>(name: LossName, output: Tensor<D>, target: Labels): Loss<D>;
export function loss(name: LossName, output: TensorLike, target: Labels): Loss;
export function loss(name: LossName, output: TensorLike, target: Labels): Loss {
  return run((runtime) => {
    checkOneOf(name, "name", LOSSES);
    const source = decode(output, "output");
    checkOutput(name, source.shape);
    if (name === "softmaxCrossEntropy") {
      const rows = source.shape.slice(0, -1);
      const labels = checkLabels(target, "target", rows, source.shape[source.shape.length - 1] as number);
      const z = contiguous(runtime, source, source.dtype ?? "f64");
      return crossEntropy(runtime, z, labels);
    }
    const wanted = decode(target as TensorLike, "target");
    checkTarget(wanted, "target", source.shape);
    const dtype = commonDtype([
      ["output", source],
      ["target", wanted],
    ]);
    return squaredError(runtime, contiguous(runtime, source, dtype), contiguous(runtime, wanted, dtype));
  });
}

function contiguous(runtime: Runtime, source: Source, dtype: DType): Tensor {
  const placed = place(runtime, source, dtype);
  return placed.contiguous ? placed : placed.copy();
}

function checkOutput(name: LossName, shape: readonly number[]): void {
  const what = name === "softmaxCrossEntropy" ? "at least one row of at least one class" : "at least one element";
  const flat = name === "softmaxCrossEntropy" && shape.length < 1;
  if (flat || sizeOf(shape) === 0) throw new RangeError(expected("output", what, `shape ${shapeText(shape)}`));
}

/** @internal */
export function checkTarget(target: Source, argument: string, shape: readonly number[]): void {
  const same = target.shape.length === shape.length && shape.every((length, axis) => length === target.shape[axis]);
  if (!same) throw new RangeError(expected(argument, `shape ${shapeText(shape)}`, shapeText(target.shape)));
}

/** @internal Labels as integers; `rows`: the shape that they must have, or one axis of the same length. */
export function checkLabels(labels: unknown, argument: string, rows: readonly number[], classes: number): Int32Array {
  const size = sizeOf(rows);
  const flat = ArrayBuffer.isView(labels) && !(labels instanceof DataView);
  let values: ArrayLike<unknown>;
  if (flat) {
    values = labels as unknown as ArrayLike<unknown>;
    if (values.length !== size) throw new RangeError(expected(argument, `${size} labels`, `${values.length}`));
  } else {
    const source = decode(labels as TensorLike, argument);
    if (source.shape.length !== 1 || source.shape[0] !== size) checkTarget(source, argument, rows);
    values = source.tensor === undefined ? plainValues(source) : source.tensor.toTyped();
  }
  const integers = new Int32Array(size);
  for (let i = 0; i < size; i++) {
    if (typeof values[i] !== "number")
      throw new TypeError(expected(`${argument}[${i}]`, "an integer", describe(values[i])));
    integers[i] = checkInteger(values[i], `${argument}[${i}]`, 0, classes - 1);
  }
  return integers;
}

/** The values of a source that is no tensor, row-major. */
function plainValues(source: Source): ArrayLike<number> {
  if (source.strides === undefined) return source.values;
  return run((runtime) => place(runtime, source, source.dtype ?? "f64").toTyped());
}

/** @internal Loss and gradient of z (…, classes) for labels that were checked. */
export function crossEntropy<D extends DType>(runtime: Runtime, z: Tensor<D>, labels: Int32Array): Loss<D> {
  const grad = Tensor.allocate(runtime, z.shape, z.dtype);
  const list = runtime.scratch.push(labels.byteLength);
  new Int32Array(runtime.memory.buffer, list, labels.length).set(labels);
  const classes = z.shape[z.ndim - 1] as number;
  const value = runtime[z.dtype].softmaxCrossEntropy(labels.length, classes, z.pointer, list, grad.pointer);
  return { value, grad };
}

/** @internal */
export function squaredError<D extends DType>(runtime: Runtime, output: Tensor<D>, target: Tensor): Loss<D> {
  const grad = Tensor.allocate(runtime, output.shape, output.dtype);
  const value = runtime[output.dtype].meanSquaredError(output.size, output.pointer, target.pointer, grad.pointer);
  return { value, grad };
}
