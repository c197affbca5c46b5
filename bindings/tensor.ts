/// <reference lib="esnext.disposable" preserve="true" />
// Tensors: handles on kernel memory. A Storage is one block; any number of handles (views) share it, and the block is
// freed with the last handle that is disposed of, or by the garbage collector when neither a handle nor a view that
// was handed out is left.

import { checkInteger, checkOneOf, checkOptions, checkShape, expected, shapeText, sizeOf } from "./check.js";
import { failure } from "./errors.js";
import { copyIn, decode, gather, type Source, type TensorLike } from "./interop.js";
import { isRunning, kernel, type Runtime } from "./load.js";
import { run, track, untrack } from "./scope.js";

export type DType = "f32" | "f64";

/** Nested plain arrays; a number for a tensor without axes. */
export type Nested = number | Nested[];

/** @inline */
type ArrayOf<D extends DType> = D extends "f32" ? Float32Array : Float64Array;

/** @internal Bytes of an element. */
export function bytesOf(dtype: DType): number {
  return dtype === "f32" ? 4 : 8;
}

/** @internal An array of zeros in the JavaScript heap. */
export function arrayOf(dtype: DType, length: number): Float32Array | Float64Array {
  return dtype === "f32" ? new Float32Array(length) : new Float64Array(length);
}

/** @internal A view on numbers in kernel memory. */
export function numbersAt(
  memory: WebAssembly.Memory,
  dtype: DType,
  pointer: number,
  length: number,
): Float32Array | Float64Array {
  const Typed = dtype === "f32" ? Float32Array : Float64Array;
  return new Typed(memory.buffer, pointer, length);
}

/** Frees what a storage has, or tells the other thread whose it is. */
interface Owner {
  free(pointer: number): void;
  /** The thread whose memory it is has ended. */
  readonly ended?: boolean;
}

const backstop = /* @__PURE__ */ new FinalizationRegistry<{ owner: Owner; pointer: number }>(({ owner, pointer }) => {
  owner.free(pointer);
});

/** A view in the JavaScript heap keeps its block alive. */
const storageOfView = /* @__PURE__ */ new WeakMap<object, Storage>();

/** A block of kernel memory; or an array that came from a worker, until this thread's kernel wants its numbers. */
class Storage {
  #runtime: Runtime | undefined;
  #pointer = 0;
  #array: Float32Array | Float64Array | undefined;
  #owner: Owner | undefined;
  #handles = 0;

  /** @internal New memory. */
  static allocate(runtime: Runtime, bytes: number): Storage {
    return new Storage().#place(runtime, runtime.allocator.allocate(bytes), runtime.allocator);
  }

  /** @internal Memory at an address, to be given back to its owner. */
  static at(runtime: Runtime, pointer: number, owner: Owner): Storage {
    return new Storage().#place(runtime, pointer, owner);
  }

  static of(array: Float32Array | Float64Array): Storage {
    const made = new Storage();
    made.#array = array;
    return made;
  }

  #place(runtime: Runtime, pointer: number, owner: Owner): this {
    this.#runtime = runtime;
    this.#pointer = pointer;
    this.#owner = owner;
    backstop.register(this, { owner, pointer }, this);
    return this;
  }

  /** The array, as long as the numbers are not in kernel memory. */
  get array(): Float32Array | Float64Array | undefined {
    return this.#array;
  }

  /** The kernel that has the numbers: from now on, if they were in an array. */
  get runtime(): Runtime {
    if (this.#runtime !== undefined) return this.#runtime;
    const array = this.#array as Float32Array;
    const runtime = kernel();
    this.#place(runtime, runtime.allocator.allocate(array.byteLength), runtime.allocator);
    numbersAt(runtime.memory, array instanceof Float32Array ? "f32" : "f64", this.#pointer, array.length).set(array);
    this.#array = undefined;
    return runtime;
  }

  get pointer(): number {
    void this.runtime;
    return this.#pointer;
  }

  get isRunning(): boolean {
    return this.#runtime === undefined || (isRunning(this.#runtime) && this.#owner?.ended !== true);
  }

  retain(): void {
    this.#handles++;
  }

  release(): void {
    if (--this.#handles > 0) return;
    this.#array = undefined;
    backstop.unregister(this);
    this.#owner?.free(this.#pointer);
  }

  /** Takes the block out of this thread's hands: what an allocator in another one adopts; undefined if others use it. */
  giveAway(): number | undefined {
    if (this.#handles !== 1 || this.#runtime === undefined) return undefined;
    const { allocator } = this.#runtime;
    const record = allocator.release(this.#pointer);
    backstop.unregister(this);
    this.#owner = undefined;
    return record;
  }
}

/**
 * An n-dimensional array of f32 or f64 in kernel memory. Made by tensor(), zeros(), empty(), eye() and by every
 * function that computes one; whoever gets it owns it and calls dispose(), declares it with `using`, or works in a
 * scope().
 *
 * @example
 * ```ts
 * import { init, tensor } from "lowrank";
 * await init();
 * const a = tensor([[1, 2, 3], [4, 5, 6]]);
 * console.log(a.shape, a.transpose().toArray()); // [ 2, 3 ] [ [ 1, 4 ], [ 2, 5 ], [ 3, 6 ] ]
 * a.data[0] = 7; // writes kernel memory
 * console.log(a.subtensor(0, 1).toArray()); // [ [ 7, 2, 3 ] ]
 * a.dispose();
 * ```
 */
export class Tensor<D extends DType = DType> implements Disposable {
  readonly dtype: D;
  /** Axis lengths. */
  readonly shape: readonly number[];
  /** Distance between neighbours along each axis, in elements. */
  readonly strides: readonly number[];
  #storage: Storage | undefined;
  readonly #offset: number;
  #view: ArrayOf<D> | undefined;
  #held = false;

  private constructor(storage: Storage, dtype: D, shape: number[], strides: number[], offset: number) {
    storage.retain();
    this.#storage = storage;
    this.dtype = dtype;
    this.shape = Object.freeze(shape);
    this.strides = Object.freeze(strides);
    this.#offset = offset;
  }

  /** @internal New contiguous memory with any content; `last` takes the place of the last axis length. */
  static allocate<D extends DType>(runtime: Runtime, shape: readonly number[], dtype: D, last?: number): Tensor<D> {
    const lengths = shape.slice();
    if (last !== undefined) lengths[lengths.length - 1] = last;
    return Tensor.#of(Storage.allocate(runtime, sizeOf(lengths) * bytesOf(dtype)), dtype, lengths);
  }

  /** @internal Contiguous numbers that are not in kernel memory, and move there when the kernel wants them. */
  static fromArray(array: Float32Array | Float64Array, shape: readonly number[]): Tensor {
    return Tensor.#of<DType>(Storage.of(array), array instanceof Float32Array ? "f32" : "f64", shape.slice());
  }

  /** @internal Memory that another thread's allocator gave away. */
  static adopt(runtime: Runtime, record: number, shape: readonly number[], dtype: DType): Tensor {
    const { allocator } = runtime;
    const pointer = allocator.adopt(record);
    return Tensor.#of(Storage.at(runtime, pointer, allocator), dtype, shape.slice());
  }

  /** @internal Memory that belongs to another thread, which is told when no handle is left. */
  static borrow(
    runtime: Runtime,
    lent: { dtype: DType; shape: readonly number[]; strides: readonly number[]; pointer: number },
    owner: Owner,
  ): Tensor {
    return Tensor.#of(Storage.at(runtime, lent.pointer, owner), lent.dtype, lent.shape.slice(), lent.strides.slice());
  }

  /** Keeps both lists. */
  static #of<D extends DType>(
    storage: Storage,
    dtype: D,
    shape: number[],
    strides: number[] = contiguousStrides(shape),
  ): Tensor<D> {
    const made = new Tensor<D>(storage, dtype, shape, strides, 0);
    track(made);
    return made;
  }

  /** @internal The block's record, for Tensor.adopt() in another thread, and the end of this handle; undefined if others use the block. */
  giveAway(): number | undefined {
    const whole = this.#offset === 0 && this.contiguous;
    const record = whole ? this.#live.giveAway() : undefined;
    if (record !== undefined) this.dispose();
    return record;
  }

  /** @internal Another handle on the same elements, kept by an object of this library: no scope frees it. */
  hold(): Tensor<D> {
    const held = this.#derive([...this.shape], [...this.strides], 0);
    untrack(held);
    held.#held = true;
    return held;
  }

  /** @internal Whether this handle is an object's of this library, and not the caller's. */
  get isHeld(): boolean {
    return this.#held;
  }

  /** @internal */
  get isAlive(): boolean {
    return this.#storage !== undefined;
  }

  /** @internal Address of the first element; the handle must stay alive while it is used. */
  get pointer(): number {
    return this.#live.pointer + this.#offset * bytesOf(this.dtype);
  }

  /** @internal Whether the elements of both lie in overlapping ranges of one block. */
  overlaps(other: Tensor): boolean {
    if (this.#live !== other.#live || this.size === 0 || other.size === 0) return false;
    return this.#offset <= other.#last && other.#offset <= this.#last;
  }

  get #last(): number {
    return this.#offset + this.shape.reduce((sum, n, axis) => sum + (n - 1) * (this.strides[axis] as number), 0);
  }

  get #live(): Storage {
    const storage = this.#storage;
    if (storage === undefined) throw failure("disposed", "this tensor was disposed of");
    if (!storage.isRunning) throw failure("terminated", "terminate() ended the kernel of this tensor");
    return storage;
  }

  /** @internal The tensor itself; throws if it was disposed of or its kernel has ended. */
  alive(): this {
    void this.#live;
    return this;
  }

  #derive(shape: number[], strides: number[], offset: number): Tensor<D> {
    const made = new Tensor<D>(this.#live, this.dtype, shape, strides, this.#offset + offset);
    track(made);
    return made;
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** Number of axes. */
  get ndim(): number {
    return this.shape.length;
  }

  /** Whether the elements stand one after the other in row-major order. */
  get contiguous(): boolean {
    let step = 1;
    for (let axis = this.ndim - 1; axis >= 0; axis--) {
      const length = this.shape[axis] as number;
      if (length !== 1 && this.strides[axis] !== step && this.size > 0) return false;
      step *= length;
    }
    return true;
  }

  /**
   * The elements as a zero-copy view on kernel memory: the same object until memory grows, so read it anew after a
   * call rather than keep it. It keeps the storage alive until dispose() or the end of a scope; its subarrays do not.
   * It may stand on a SharedArrayBuffer.
   *
   * @throws RangeError if the tensor is not contiguous: use toTyped()
   */
  get data(): ArrayOf<D> {
    const storage = this.#live;
    let view = this.#view;
    const buffer = storage.array?.buffer ?? storage.runtime.memory.buffer;
    // growing detaches a plain buffer; a shared one stays valid, if it is longer now
    if (view === undefined || (view.buffer !== buffer && !isSharedWith(storage, view))) {
      if (!this.contiguous) {
        throw new RangeError(
          `data needs a contiguous tensor, got strides ${shapeText(this.strides)} for shape ${shapeText(this.shape)}: use toTyped()`,
        );
      }
      view = this.#numbers;
      this.#view = view;
      storageOfView.set(view, storage);
    }
    return view;
  }

  /** The elements of a contiguous tensor. */
  get #numbers(): ArrayOf<D> {
    const { array } = this.#live;
    if (array !== undefined) return array.subarray(this.#offset, this.#offset + this.size) as ArrayOf<D>;
    return numbersAt(this.#live.runtime.memory, this.dtype, this.pointer, this.size) as ArrayOf<D>;
  }

  /** @internal The storage of a contiguous f32 tensor as 32-bit integers: lists of indices stand in such storage. */
  get integers(): Int32Array {
    const view = new Int32Array(this.#live.runtime.memory.buffer, this.pointer, this.size);
    storageOfView.set(view, this.#live);
    return view;
  }

  /** The tensor with its last two axes exchanged: a view on the same storage, nothing is copied. */
  transpose(): Tensor<D> {
    if (this.ndim < 2) throw new RangeError(expected("this", "at least two axes", `shape ${shapeText(this.shape)}`));
    const shape = [...this.shape];
    const strides = [...this.strides];
    shape.push(...shape.splice(-2).reverse());
    strides.push(...strides.splice(-2).reverse());
    return this.#derive(shape, strides, 0);
  }

  /** Entries start (inclusive) to end (exclusive) of the first axis: a view on the same storage. */
  subtensor(start: number, end: number): Tensor<D> {
    if (this.ndim < 1) throw new RangeError(expected("this", "at least one axis", "shape ()"));
    const length = this.shape[0] as number;
    checkInteger(end, "end", 0, length);
    checkInteger(start, "start", 0, end);
    const shape = [end - start, ...this.shape.slice(1)];
    // the strides of an empty tensor may lead out of its block
    const offset = sizeOf(shape) === 0 ? 0 : start * (this.strides[0] as number);
    return this.#derive(shape, [...this.strides], offset);
  }

  /** The same elements in another shape of the same size: a view on the same storage; contiguous tensors only. */
  reshape(shape: readonly number[]): Tensor<D> {
    const lengths = checkShape(shape, "shape");
    if (sizeOf(lengths) !== this.size) {
      throw new RangeError(expected("shape", `${this.size} elements`, shapeText(lengths)));
    }
    if (!this.contiguous) throw new RangeError("reshape needs a contiguous tensor: copy it with tensor(t) first");
    return this.#derive(lengths, contiguousStrides(lengths), 0);
  }

  /** A copy in the JavaScript heap, row-major, never shared. */
  toTyped(): ArrayOf<D> {
    // slice() of a view on shared memory gives an unshared copy
    if (this.contiguous) return this.#numbers.slice() as ArrayOf<D>;
    const { array } = this.#live;
    if (array !== undefined) {
      const out = arrayOf(this.dtype, this.size) as ArrayOf<D>;
      gather(out, { shape: this.shape, strides: this.strides, offset: this.#offset }, array);
      return out;
    }
    const packed = run(() => this.copy());
    try {
      return packed.data.slice() as ArrayOf<D>;
    } finally {
      packed.dispose();
    }
  }

  /** @internal A contiguous copy in kernel memory. */
  copy(): Tensor<D> {
    const { runtime } = this.#live;
    const out = Tensor.allocate(runtime, this.shape, this.dtype);
    const { lacpy } = runtime[this.dtype];
    if (this.contiguous) {
      lacpy(1, this.size, this.pointer, this.size, 1, out.pointer, this.size);
      return out;
    }
    let to = out.pointer;
    for (const { pointer, rows, columns, rowStride, columnStride } of matrices(this)) {
      lacpy(rows, columns, pointer, rowStride, columnStride, to, columns);
      to += rows * columns * bytesOf(this.dtype);
    }
    return out;
  }

  /** A copy as nested plain arrays. */
  toArray(): Nested {
    const flat = this.toTyped();
    let at = 0;
    const build = (axis: number): Nested => {
      if (axis === this.ndim) return flat[at++] as number;
      return Array.from({ length: this.shape[axis] as number }, () => build(axis + 1));
    };
    return build(0);
  }

  /** Gives the handle back; the memory is free when no other view needs it. A second call does nothing. */
  dispose(): void {
    const storage = this.#storage;
    if (storage === undefined) return;
    this.#storage = undefined;
    this.#view = undefined;
    untrack(this);
    storage.release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Whether a view stands on the shared memory of a storage: growing gives that a longer buffer, and leaves the view as it is. */
function isSharedWith(storage: Storage, view: ArrayBufferView): boolean {
  return storage.array === undefined && storage.runtime.shared && !(view.buffer instanceof ArrayBuffer);
}

function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= shape[axis] as number;
  }
  return strides;
}

/** @internal A matrix of a batch: address, lengths and strides of its last two axes. */
export interface Matrix {
  pointer: number;
  rows: number;
  columns: number;
  rowStride: number;
  columnStride: number;
}

/** @internal The matrices of a (…, m, n) tensor in row-major order of its leading axes. */
export function* matrices(a: Tensor): Generator<Matrix> {
  const axes = a.ndim - 2;
  const index = new Array<number>(axes).fill(0);
  const count = sizeOf(a.shape.slice(0, axes));
  const matrix = {
    rows: a.shape[axes] as number,
    columns: a.shape[axes + 1] as number,
    rowStride: a.strides[axes] as number,
    columnStride: a.strides[axes + 1] as number,
  };
  for (let i = 0; i < count; i++) {
    const offset = index.reduce((sum, at, axis) => sum + at * (a.strides[axis] as number), 0);
    yield { pointer: a.pointer + offset * bytesOf(a.dtype), ...matrix };
    for (let axis = axes - 1; axis >= 0; axis--) {
      const next = (index[axis] as number) + 1;
      index[axis] = next === a.shape[axis] ? 0 : next;
      if (index[axis] !== 0) break;
    }
  }
}

/**
 * Copies data into a new tensor.
 *
 * @param data anything that holds numbers in the shape of an array: nested plain arrays, Float32Array, Float64Array,
 *   a Tensor, numpy-ts and ONNX Runtime tensors, tfjs tensors, ml-matrix matrices
 * @param options.shape the shape, if not that of `data`; the sizes must agree
 * @param options.dtype default: that of `data`; "f64" for plain numbers
 * @returns a contiguous tensor that the caller owns
 * @throws TypeError for data of another type; RangeError if a row is ragged or the sizes differ
 * @example
 * ```ts
 * import { init, tensor } from "lowrank";
 * await init();
 * const a = tensor(new Float32Array([1, 2, 3, 4, 5, 6]), { shape: [2, 3] });
 * console.log(a.dtype, a.toArray()); // f32 [ [ 1, 2, 3 ], [ 4, 5, 6 ] ]
 * ```
 */
export function tensor<D extends DType = "f64">(
  data: readonly Nested[] | number,
  options?: { shape?: readonly number[]; dtype?: D },
): Tensor<D>;
export function tensor<D extends DType = "f32">(
  data: Float32Array,
  options?: { shape?: readonly number[]; dtype?: D },
): Tensor<D>;
export function tensor<D extends DType = "f64">(
  data: Float64Array,
  options?: { shape?: readonly number[]; dtype?: D },
): Tensor<D>;
export function tensor<D extends DType>(
  data: Tensor<D>,
  options?: { shape?: readonly number[]; dtype?: undefined },
): Tensor<D>;
export function tensor<D extends DType = DType>(
  data: TensorLike,
  options?: { shape?: readonly number[]; dtype?: D },
): Tensor<D>;
export function tensor(
  data: TensorLike | number,
  options?: { shape?: readonly number[]; dtype?: DType | undefined },
): Tensor {
  return run((runtime) => {
    const { shape, dtype } = checkOptions(options, ["shape", "dtype"]);
    if (dtype !== undefined) checkOneOf(dtype, "dtype", ["f32", "f64"]);
    const lengths = shape === undefined ? undefined : checkShape(shape, "shape");
    const source = typeof data === "number" ? scalar(data) : decode(data, "data");
    if (lengths !== undefined && sizeOf(lengths) !== sizeOf(source.shape)) {
      throw new RangeError(
        expected(
          "data",
          `${sizeOf(lengths)} elements for shape ${shapeText(lengths)}`,
          `shape ${shapeText(source.shape)}`,
        ),
      );
    }
    const out = copyIn(runtime, source, dtype ?? source.dtype ?? "f64");
    return lengths === undefined ? out : out.reshape(lengths);
  });
}

function scalar(value: number): Source {
  return { dtype: undefined, shape: [], values: [value] };
}

/** A tensor of zeros that the caller owns. */
export function zeros<D extends DType = "f64">(shape: readonly number[], dtype?: D): Tensor<D> {
  return run((runtime) => {
    const out = empty(shape, dtype);
    runtime[out.dtype].fill(out.size, 0, out.pointer);
    return out;
  });
}

/** A tensor with any content that the caller owns: for `out` arguments and data that is written at once. */
export function empty<D extends DType = "f64">(shape: readonly number[], dtype: D = "f64" as D): Tensor<D> {
  const lengths = checkShape(shape, "shape");
  checkOneOf(dtype, "dtype", ["f32", "f64"]);
  return Tensor.allocate(kernel(), lengths, dtype);
}

/** The n×n identity matrix; the caller owns it. */
export function eye<D extends DType = "f64">(n: number, dtype?: D): Tensor<D> {
  checkInteger(n, "n", 0, 2 ** 15);
  const out = zeros([n, n], dtype);
  const { data } = out;
  for (let i = 0; i < n; i++) data[i * (n + 1)] = 1;
  return out;
}
