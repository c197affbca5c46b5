// What may stand where a tensor is expected: plain arrays, typed arrays, and the tensors of other libraries as they
// are, recognised by their form. Lengths are read through the intrinsic getters, never from a property that a subclass
// could redefine.

import { checkInteger, checkShape, describe, expected, MAX_SIZE, shapeText, sizeOf } from "./check.js";
import { kernel, type Runtime } from "./load.js";
import { type DType, type Nested, numbersAt, Tensor } from "./tensor.js";

/** Anything that a function of this library takes as a tensor. */
export type TensorLike =
  | Tensor
  | readonly Nested[]
  | Float32Array
  | Float64Array
  | StridedArray
  | OnnxTensor
  | TfjsTensor
  | MlMatrix;

/** numpy-ts arrays, and any typed array with a shape; strides and offset in elements. */
export interface StridedArray {
  /** A Float32Array or Float64Array. */
  readonly data: ArrayBufferView;
  readonly shape: readonly number[];
  readonly strides?: readonly number[];
  readonly offset?: number;
  /** Where numpy-ts keeps the offset of a view. */
  readonly storage?: { readonly offset?: number };
}

/** Tensors of ONNX Runtime and transformers.js on the CPU: float32, float64, float16. */
export interface OnnxTensor {
  readonly data: unknown;
  readonly dims: readonly number[];
  readonly type?: string;
  readonly location?: string;
}

/** Tensors of TensorFlow.js. */
export interface TfjsTensor {
  /** The numbers, row-major: a Float32Array. */
  dataSync(): unknown;
  readonly shape: readonly number[];
}

/** Matrices of ml-matrix. */
export interface MlMatrix {
  readonly rows: number;
  readonly columns: number;
  /** The numbers, row by row. */
  to2DArray(): number[][];
}

/** @internal Numbers found in a TensorLike. No dtype: plain numbers, which take the dtype of what stands beside them. */
export interface Source {
  readonly tensor?: Tensor;
  readonly dtype: DType | undefined;
  readonly shape: readonly number[];
  /** Row-major values, or with `strides` in any order from `offset` on. */
  readonly values: Float32Array | Float64Array | readonly number[];
  readonly strides?: readonly number[];
  readonly offset?: number;
  /** Address of the values where they are a view on plain kernel memory, which growth detaches. */
  readonly resident?: { readonly pointer: number; readonly length: number } | undefined;
}

const NONE: readonly number[] = [];
const TypedArray = Object.getPrototypeOf(Float32Array.prototype) as Float32Array;
const tagOf = /* @__PURE__ */ intrinsic<string | undefined>(Symbol.toStringTag);
const lengthOf = /* @__PURE__ */ intrinsic<number>("length");
const bufferOf = /* @__PURE__ */ intrinsic<ArrayBufferLike>("buffer");
const offsetOf = /* @__PURE__ */ intrinsic<number>("byteOffset");

function intrinsic<R>(key: PropertyKey): (this: unknown) => R {
  return (Object.getOwnPropertyDescriptor(TypedArray, key) as PropertyDescriptor).get as (this: unknown) => R;
}

/** The most axes of nested arrays: NumPy's limit. */
const MAX_AXES = 64;

/** @internal Recognises a TensorLike; TypeError names what it is instead. */
export function decode(value: unknown, argument: string): Source {
  if (value instanceof Tensor) return { tensor: value.alive(), dtype: value.dtype, shape: value.shape, values: NONE };
  if (Array.isArray(value)) return decodeNested(value, argument);
  if (ArrayBuffer.isView(value)) {
    const values = floats(value, argument);
    return { shape: [lengthOf.call(values)], ...typed(values) };
  }
  if (typeof value === "object" && value !== null) {
    if ("to2DArray" in value && typeof value.to2DArray === "function") {
      const { rows, columns } = value as MlMatrix;
      const nested = decodeNested((value as MlMatrix).to2DArray(), argument);
      return { ...nested, shape: checked([rows, columns], nested.values.length, argument, "shape") };
    }
    if ("dataSync" in value && typeof value.dataSync === "function" && "shape" in value) {
      return decodeFlat((value as TfjsTensor).dataSync(), (value as TfjsTensor).shape, argument, "shape");
    }
    if ("dims" in value) return decodeOnnx(value as OnnxTensor, argument);
    if ("data" in value && "shape" in value) return decodeStrided(value as StridedArray, argument);
  }
  throw new TypeError(expected(argument, "a Tensor, Float32Array, Float64Array, array or matrix", describe(value)));
}

/** What a source says of its typed array. */
function typed(values: Float32Array | Float64Array): Pick<Source, "dtype" | "values" | "resident"> {
  const { memory, shared } = kernel();
  const own = !shared && bufferOf.call(values) === memory.buffer;
  return {
    dtype: tagOf.call(values) === "Float32Array" ? "f32" : "f64",
    values,
    resident: own ? { pointer: offsetOf.call(values), length: lengthOf.call(values) } : undefined,
  };
}

/** A Float32Array or Float64Array that is not detached. */
function floats(value: unknown, argument: string): Float32Array | Float64Array {
  const tag = ArrayBuffer.isView(value) ? tagOf.call(value) : undefined;
  if (tag !== "Float32Array" && tag !== "Float64Array") {
    throw new TypeError(expected(argument, "Float32Array or Float64Array", tag ?? describe(value)));
  }
  const values = value as Float32Array | Float64Array;
  if (lengthOf.call(values) === 0 && isDetached(values)) {
    throw new TypeError(expected(argument, `a ${tag}`, "one whose buffer is detached or too short"));
  }
  return values;
}

function isDetached(values: Float32Array | Float64Array): boolean {
  try {
    TypedArray.keys.call(values);
    return false;
  } catch {
    return true;
  }
}

/** Axis lengths that `count` values fill exactly. */
function checked(shape: unknown, count: number, argument: string, key: "shape" | "dims"): number[] {
  const lengths = checkShape(shape, `${argument}.${key}`);
  if (sizeOf(lengths) !== count) {
    throw new RangeError(expected(argument, `${sizeOf(lengths)} values for shape ${shapeText(lengths)}`, `${count}`));
  }
  return lengths;
}

function decodeNested(value: readonly unknown[], argument: string): Source {
  const shape: number[] = [];
  for (let level: unknown = value; Array.isArray(level); level = level[0]) {
    shape.push(level.length);
    if (shape.length > MAX_AXES) throw new RangeError(expected(argument, `at most ${MAX_AXES} axes`, "more"));
  }
  if (sizeOf(shape) > MAX_SIZE) {
    throw new RangeError(expected(argument, `at most ${MAX_SIZE} elements`, shapeText(shape)));
  }
  const values = new Array<number>(sizeOf(shape));
  const path: number[] = [];
  let count = 0;
  const walk = (level: unknown, axis: number): void => {
    if (axis === shape.length) {
      if (typeof level !== "number") {
        const ragged = Array.isArray(level);
        const where = path.length === 0 ? argument : `${argument}[${path.join("][")}]`;
        throw new (ragged ? RangeError : TypeError)(expected(where, "a number", describe(level)));
      }
      values[count++] = level;
      return;
    }
    if (!Array.isArray(level) || level.length !== shape[axis]) {
      const where = `${argument}[${path.join("][")}]`;
      const got = Array.isArray(level) ? `length ${level.length}` : describe(level);
      const ragged = Array.isArray(level) || typeof level === "number";
      const what = `an array of length ${shape[axis]}, as its neighbours`;
      throw new (ragged ? RangeError : TypeError)(expected(where, what, got));
    }
    for (let i = 0; i < level.length; i++) {
      path.push(i);
      walk(level[i], axis + 1);
      path.pop();
    }
  };
  walk(value, 0);
  return { dtype: undefined, shape, values };
}

function decodeFlat(data: unknown, shape: unknown, argument: string, key: "shape" | "dims"): Source {
  const values = floats(data, argument);
  return { shape: checked(shape, lengthOf.call(values), argument, key), ...typed(values) };
}

function decodeOnnx(value: OnnxTensor, argument: string): Source {
  const { location, type } = value;
  if (location !== undefined && location !== "cpu" && location !== "cpu-pinned") {
    throw new TypeError(expected(argument, "a tensor on the CPU", `location "${location}"`));
  }
  if (type === "float16") {
    const halves = value.data;
    const tag = ArrayBuffer.isView(halves) ? tagOf.call(halves) : undefined;
    if (tag !== "Uint16Array" && tag !== "Float16Array") {
      throw new TypeError(expected(argument, "float16 data in a Uint16Array or Float16Array", tag ?? describe(halves)));
    }
    const stored = halves as Uint16Array;
    const count = lengthOf.call(stored);
    const values =
      tag === "Float16Array" ? Float32Array.from(stored) : Float32Array.from(stored, (bits) => halfToNumber(bits));
    return { dtype: "f32", shape: checked(value.dims, count, argument, "dims"), values };
  }
  if (type !== undefined && type !== "float32" && type !== "float64") {
    throw new TypeError(expected(argument, "a tensor of float32, float64 or float16", `type "${type}"`));
  }
  return decodeFlat(value.data, value.dims, argument, "dims");
}

/** IEEE half precision: 1 sign, 5 exponent, 10 fraction bits. */
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

function decodeStrided(value: StridedArray, argument: string): Source {
  const values = floats(value.data, argument);
  const { strides } = value;
  const offset = checkInteger(
    value.offset ?? value.storage?.offset ?? 0,
    `${argument}.offset`,
    0,
    Number.MAX_SAFE_INTEGER,
  );
  const count = lengthOf.call(values);
  if (strides === undefined && offset === 0) {
    return { shape: checked(value.shape, count, argument, "shape"), ...typed(values) };
  }
  const shape = checkShape(value.shape, `${argument}.shape`);
  const steps = strides === undefined ? undefined : checkStrides(strides, `${argument}.strides`, shape.length);
  const used = steps ?? rowMajor(shape);
  let first = offset;
  let last = offset;
  for (let axis = 0; axis < shape.length; axis++) {
    const reach = ((shape[axis] as number) - 1) * (used[axis] as number);
    if (reach < 0) first += reach;
    else last += reach;
  }
  if (sizeOf(shape) > 0 && (first < 0 || last >= count)) {
    const what = `strides and offset inside ${count} values`;
    throw new RangeError(expected(argument, what, `elements ${first} to ${last}`));
  }
  return { shape, strides: used, offset, ...typed(values) };
}

function checkStrides(strides: unknown, argument: string, axes: number): number[] {
  if (!Array.isArray(strides)) throw new TypeError(expected(argument, "an array of integers", describe(strides)));
  if (strides.length !== axes) {
    throw new RangeError(expected(argument, `${axes} integers, one an axis`, shapeText(strides)));
  }
  return Array.from(strides, (step, axis) => checkInteger(step, `${argument}[${axis}]`, -MAX_SIZE, MAX_SIZE));
}

function rowMajor(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  for (let axis = shape.length - 1, step = 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= shape[axis] as number;
  }
  return strides;
}

/** @internal A new contiguous tensor with the numbers of a source. */
export function copyIn<D extends DType>(runtime: Runtime, source: Source, dtype: D): Tensor<D> {
  // a tensor is copied by the kernel; only a change of dtype goes through the two views
  const packed = source.tensor?.copy();
  if (packed?.dtype === dtype) return packed as Tensor<D>;
  const out = Tensor.allocate(runtime, source.shape, dtype);
  if (packed !== undefined) {
    out.data.set(packed.data);
    packed.dispose();
  } else if (source.strides === undefined) {
    out.data.set(valuesOf(runtime, source) as ArrayLike<number>);
  } else {
    gather(out.data, source, valuesOf(runtime, source));
  }
  return out;
}

/** The values of a source; those in plain kernel memory are viewed anew, since an allocation may have grown it. */
function valuesOf(runtime: Runtime, { values, resident, dtype }: Source): Source["values"] {
  if (resident === undefined) return values;
  return numbersAt(runtime.memory, dtype as DType, resident.pointer, resident.length);
}

/** @internal Row-major order from any strides. */
export function gather(
  to: Float32Array | Float64Array,
  source: Pick<Source, "shape" | "strides" | "offset">,
  values: Source["values"],
): void {
  const { shape, strides = NONE, offset = 0 } = source;
  const index = new Array<number>(shape.length).fill(0);
  const last = shape.length - 1;
  const [columns, step] = last < 0 ? [1, 0] : [shape[last] as number, strides[last] as number];
  let at = offset;
  for (let i = 0; i < to.length; ) {
    for (const end = i + columns; i < end; i++) {
      to[i] = values[at] as number;
      at += step;
    }
    at -= step * columns;
    for (let axis = last - 1; axis >= 0; axis--) {
      at += strides[axis] as number;
      index[axis] = (index[axis] as number) + 1;
      if (index[axis] !== shape[axis]) break;
      at -= (strides[axis] as number) * (shape[axis] as number);
      index[axis] = 0;
    }
  }
}

/** @internal The dtype that several arguments share: that of the typed ones, "f64" if all are plain numbers. */
export function commonDtype(
  arguments_: readonly (readonly [name: string, source: { dtype: DType | undefined }])[],
): DType {
  let found: readonly [name: string, dtype: DType] | undefined;
  for (const [name, { dtype }] of arguments_) {
    if (dtype === undefined) continue;
    if (found !== undefined && found[1] !== dtype) {
      throw new TypeError(expected(name, `${found[1]} as "${found[0]}"`, dtype));
    }
    found ??= [name, dtype];
  }
  return found?.[1] ?? "f64";
}

/** @internal A tensor to compute with: the caller's own where it is one, else a copy that the enclosing run() frees. */
export function place(runtime: Runtime, source: Source, dtype: DType): Tensor {
  return source.tensor ?? copyIn(runtime, source, dtype);
}
