// Sparse matrices in compressed rows.

import { checkInteger, checkMatrixShape, checkOptions, checkShape, describe, expected, shapeText } from "../check.js";
import { commonDtype, copyIn, decode, place, type Source, type TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { run } from "../scope.js";
import { routineOf, share } from "../share.js";
import { type DType, Tensor } from "../tensor.js";

/** Integers of an index list: plain, or in an integer array of at most 32 bits. */
export type IndexList =
  | readonly number[]
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array;

export interface CsrParts<D extends DType = DType> {
  /** (nnz,): the stored elements, row after row. */
  data: Tensor<D> | TensorLike;
  /** (nnz,): the column of each. */
  indices: IndexList;
  /** (m + 1,): row i is data[indptr[i]] up to data[indptr[i + 1]]. */
  indptr: IndexList;
  /** (m, n) */
  shape: readonly number[];
}

/** Lists of a sparse matrix in kernel memory; the integers stand in storage of f32. */
interface Lists<D extends DType = DType> {
  /** (nnz,) */
  data: Tensor<D>;
  /** (nnz,) */
  indices: Tensor<"f32">;
  /** (m + 1,) */
  indptr: Tensor<"f32">;
}

/**
 * A sparse matrix (m, n) of f32 or f64 in compressed rows, made by csr() and csr.fromCoo(). Its rows are sorted and hold no
 * column twice. It owns kernel memory: dispose() gives it back.
 *
 * @example
 * ```ts
 * import { csr, init } from "lowrank";
 * await init();
 * const a = csr({ data: [1, 2, 3], indices: [0, 2, 1], indptr: [0, 2, 3], shape: [2, 3] });
 * console.log(a.shape, a.nnz, a.toDense().toArray()); // [ 2, 3 ] 3 [ [ 1, 0, 2 ], [ 0, 3, 0 ] ]
 * console.log(a.multiply([1, 1, 1]).toArray()); // [ 3, 3 ]
 * a.dispose();
 * ```
 */
export class Csr<D extends DType = DType> implements Disposable {
  readonly dtype: D;
  /** Rows and columns. */
  readonly shape: readonly [number, number];
  readonly #lists: Lists<D>;
  #indices: Int32Array | undefined;
  #indptr: Int32Array | undefined;

  private constructor(shape: readonly [number, number], lists: Lists<D>) {
    this.shape = Object.freeze(shape);
    this.dtype = lists.data.dtype;
    this.#lists = lists;
  }

  /** @internal The matrix of lists in canonical form; no scope frees it. */
  static make<D extends DType>(shape: readonly [number, number], { data, indices, indptr }: Lists<D>): Csr<D> {
    const held: Tensor[] = [];
    try {
      for (const list of [data, indices, indptr]) held.push(list.hold());
    } catch (error) {
      for (const list of held) list.dispose();
      throw error;
    }
    const [d, i, p] = held as [Tensor<D>, Tensor<"f32">, Tensor<"f32">];
    return new Csr([...shape], { data: d, indices: i, indptr: p });
  }

  /** @internal The lists in kernel memory; an Error after dispose(). */
  get lists(): Lists<D> {
    this.#lists.data.alive();
    return this.#lists;
  }

  /** Number of stored elements, zeros among them included. */
  get nnz(): number {
    return this.#lists.data.size;
  }

  /** (nnz,): the stored elements, a zero-copy view on kernel memory: see Tensor.data. */
  get data(): Tensor<D>["data"] {
    return this.lists.data.data;
  }

  /** (nnz,): the column of each stored element, ascending in a row; a copy, made once. */
  get indices(): Int32Array {
    this.#indices ??= this.lists.indices.integers.slice();
    return this.#indices;
  }

  /** (m + 1,): where each row starts in `data` and `indices`; a copy, made once. */
  get indptr(): Int32Array {
    this.#indptr ??= this.lists.indptr.integers.slice();
    return this.#indptr;
  }

  /**
   * A·x. NaN and Infinity pass through as IEEE arithmetic has it.
   *
   * @param x (n,) or (n, b)
   * @returns (m,) or (m, b); the caller owns it
   * @throws RangeError if the lengths differ; TypeError if the dtypes do
   */
  multiply(x: TensorLike): Tensor<D> {
    return this.#product(x, "x", false);
  }

  /**
   * Aᵀ·y.
   *
   * @param y (m,) or (m, b)
   * @returns (n,) or (n, b); the caller owns it
   * @throws as multiply()
   */
  multiplyTransposed(y: TensorLike): Tensor<D> {
    return this.#product(y, "y", true);
  }

  #product(value: TensorLike, argument: string, transposed: boolean): Tensor<D> {
    return run((runtime) => {
      const { lists } = this;
      const [rows, columns] = this.shape;
      const length = transposed ? rows : columns;
      const source = decode(value, argument);
      const { shape } = source;
      if (shape.length < 1 || shape.length > 2 || shape[0] !== length) {
        throw new RangeError(expected(argument, `shape (${length},) or (${length}, b)`, shapeText(shape)));
      }
      const dtype = commonDtype([
        ["this", lists.data],
        [argument, source],
      ]);
      const placed = place(runtime, source, dtype);
      const x = placed.contiguous ? placed : placed.copy();
      const out = Tensor.allocate(runtime, [transposed ? columns : rows, ...shape.slice(1)], this.dtype);
      multiplyCsr(runtime, this, transposed, shape[1] ?? 1, x.pointer, out.pointer);
      return out;
    });
  }

  /** Aᵀ (n, m), with memory of its own. */
  transpose(): Csr<D> {
    return run((runtime) => {
      const [m, n] = this.shape;
      return Csr.make([n, m], transposed(runtime, m, n, this.lists));
    });
  }

  /**
   * diag(factors)·A: every row times its factor.
   *
   * @param factors (m,)
   * @returns a matrix with memory of its own
   * @throws RangeError if the length differs; TypeError if the dtype does
   */
  scaleRows(factors: TensorLike): Csr<D> {
    return this.#scaled(factors, this.shape[0], (runtime, { data, indptr }, list) => {
      const rows = Tensor.allocate(runtime, [this.nnz], "f32");
      const [numbers, starts] = [rows.integers, indptr.integers];
      for (let i = 0; i < this.shape[0]; i++) numbers.fill(i, starts[i], starts[i + 1]);
      runtime[this.dtype].csrScaleColumns(this.nnz, data.pointer, rows.pointer, list.pointer);
    });
  }

  /**
   * A·diag(factors): every column times its factor.
   *
   * @param factors (n,)
   * @returns a matrix with memory of its own
   * @throws as scaleRows()
   */
  scaleColumns(factors: TensorLike): Csr<D> {
    return this.#scaled(factors, this.shape[1], (runtime, { data, indices }, list) => {
      runtime[this.dtype].csrScaleColumns(this.nnz, data.pointer, indices.pointer, list.pointer);
    });
  }

  #scaled(
    factors: TensorLike,
    length: number,
    scale: (runtime: Runtime, lists: Lists<D>, factors: Tensor) => void,
  ): Csr<D> {
    return run((runtime) => {
      const { data, indices, indptr } = this.lists;
      const source = decode(factors, "factors");
      if (source.shape.length !== 1 || source.shape[0] !== length) {
        throw new RangeError(expected("factors", `shape (${length},)`, shapeText(source.shape)));
      }
      const dtype = commonDtype([
        ["this", data],
        ["factors", source],
      ]);
      const placed = place(runtime, source, dtype);
      const list = placed.contiguous ? placed : placed.copy();
      const lists = { data: data.copy(), indices: indices.copy(), indptr: indptr.copy() };
      scale(runtime, lists, list);
      return Csr.make(this.shape, lists);
    });
  }

  /** (n,): the sum of every column; the caller owns it. */
  columnSums(): Tensor<D> {
    return run((runtime) => {
      const [m, n] = this.shape;
      const ones = Tensor.allocate(runtime, [m], this.dtype);
      runtime[this.dtype].fill(m, 1, ones.pointer);
      const sums = Tensor.allocate(runtime, [n], this.dtype);
      multiplyCsr(runtime, this, true, 1, ones.pointer, sums.pointer);
      return sums;
    });
  }

  /** (m,): the Euclidean norm of every row; the caller owns it. */
  rowNorms(): Tensor<D> {
    return run((runtime) => {
      const { data, indptr } = this.lists;
      const m = this.shape[0];
      const norms = Tensor.allocate(runtime, [m], this.dtype);
      runtime[this.dtype].csrRowNorms(m, data.pointer, indptr.pointer, norms.pointer);
      return norms;
    });
  }

  /** (m, n): the matrix with its zeros; the caller owns it. */
  toDense(): Tensor<D> {
    return run((runtime) => {
      const [m, n] = this.shape;
      const { data, indices, indptr } = this.lists;
      const dense = Tensor.allocate(runtime, checkShape([m, n], "shape"), this.dtype);
      runtime[this.dtype].csrToDense(m, n, data.pointer, indices.pointer, indptr.pointer, dense.pointer);
      return dense;
    });
  }

  /** Gives the memory back. A second call does nothing. */
  dispose(): void {
    const { data, indices, indptr } = this.#lists;
    for (const list of [data, indices, indptr]) list.dispose();
    this.#indices = undefined;
    this.#indptr = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** @internal out <- A·x (n×b to m×b) or Aᵀ·x (m×b to n×b), both row-major and contiguous in kernel memory. */
export function multiplyCsr(runtime: Runtime, a: Csr, transposed: boolean, b: number, x: number, out: number): void {
  const { data, indices, indptr } = a.lists;
  const [m, n] = a.shape;
  const { csrmm, csrmmTransposed } = runtime[a.dtype];
  if (runtime.team !== undefined) {
    const routine = routineOf(a.dtype, transposed ? "csrmmTransposed" : "csrmm");
    const lists = [data.pointer, indices.pointer, indptr.pointer, x, b, out, b];
    const values = transposed ? [0, 0, m, n, ...lists] : [0, 0, b, ...lists];
    const range = { routine, length: transposed ? b : m, values, begin: 0, end: 1 };
    // a column for itself costs as much as a strip; memory bounds the speed
    const cut = transposed ? { unit: 16, least: 16 } : {};
    if (share(runtime, 4 * a.nnz * Math.max(b, 4), range, cut) !== undefined) return;
  }
  if (transposed) csrmmTransposed(0, b, m, n, data.pointer, indices.pointer, indptr.pointer, x, b, out, b);
  else csrmm(0, m, b, data.pointer, indices.pointer, indptr.pointer, x, b, out, b);
}

/** The lists of Aᵀ, sorted. */
function transposed<D extends DType>(runtime: Runtime, m: number, n: number, a: Lists<D>): Lists<D> {
  const { data, indices, indptr } = a;
  const out = allocate(runtime, data.size, n, data.dtype);
  runtime[data.dtype].csrTranspose(
    m,
    n,
    data.pointer,
    indices.pointer,
    indptr.pointer,
    out.data.pointer,
    out.indices.pointer,
    out.indptr.pointer,
  );
  return out;
}

function allocate<D extends DType>(runtime: Runtime, nnz: number, rows: number, dtype: D): Lists<D> {
  return {
    data: Tensor.allocate(runtime, [nnz], dtype),
    indices: Tensor.allocate(runtime, [nnz], "f32"),
    indptr: Tensor.allocate(runtime, [rows + 1], "f32"),
  };
}

/** Sorted lists without neighbours of one column. */
function merged<D extends DType>(runtime: Runtime, m: number, lists: Lists<D>): Lists<D> {
  const { data, indices, indptr } = lists;
  const nnz = runtime[data.dtype].csrSumDuplicates(m, data.pointer, indices.pointer, indptr.pointer);
  if (nnz === data.size) return lists;
  // copies, so that the room of what was merged is not kept
  return { data: data.subtensor(0, nnz).copy(), indices: indices.subtensor(0, nnz).copy(), indptr };
}

/** A copy of a list as 32-bit integers of [0, most]. */
function integers(value: unknown, argument: string, most: number): Int32Array {
  let list: Int32Array;
  if (Array.isArray(value)) {
    list = new Int32Array(value.length);
    for (let i = 0; i < list.length; i++) {
      const one: unknown = value[i];
      if (typeof one !== "number" || !Number.isInteger(one) || one < 0 || one > most) {
        checkInteger(one, `${argument}[${i}]`, 0, most);
      }
      list[i] = one as number;
    }
    return list;
  }
  const tag = ArrayBuffer.isView(value) ? Object.prototype.toString.call(value).slice(8, -1) : "";
  if (!/^U?[Ii]nt(8|16|32)Array$/.test(tag)) {
    throw new TypeError(expected(argument, "an array of integers or an Int32Array", tag || describe(value)));
  }
  // numbers beyond 32 bits become negative ones
  list = new Int32Array(value as Int32Array);
  for (let i = 0; i < list.length; i++) {
    const one = list[i] as number;
    if (one < 0 || one > most) checkInteger((value as Int32Array)[i], `${argument}[${i}]`, 0, most);
  }
  return list;
}

function checkLength(source: Source, argument: string, length: number): void {
  if (source.shape.length !== 1 || source.shape[0] !== length) {
    throw new RangeError(expected(argument, `shape (${length},) as "indices"`, shapeText(source.shape)));
  }
}

/** Whether every row ascends without a column twice. */
function isCanonical(indices: Int32Array, indptr: Int32Array): boolean {
  for (let row = 0; row + 1 < indptr.length; row++) {
    const stop = indptr[row + 1] as number;
    for (let e = (indptr[row] as number) + 1; e < stop; e++) {
      if ((indices[e] as number) <= (indices[e - 1] as number)) return false;
    }
  }
  return true;
}

function fromParts<D extends DType = DType>(parts: CsrParts<D>): Csr<D> {
  return run((runtime) => {
    if (typeof parts !== "object" || parts === null) {
      throw new TypeError(expected("parts", "an object with data, indices, indptr, shape", describe(parts)));
    }
    const given = checkOptions(parts, ["data", "indices", "indptr", "shape"], "parts");
    const [m, n] = checkMatrixShape(given.shape, "shape");
    const source = decode(given.data, "data");
    const columns = integers(given.indices, "indices", n - 1);
    const nnz = columns.length;
    checkLength(source, "data", nnz);
    const starts = integers(given.indptr, "indptr", nnz);
    if (starts.length !== m + 1) {
      throw new RangeError(expected("indptr", `${m + 1} integers for ${m} rows`, `${starts.length}`));
    }
    if (starts[0] !== 0) throw new RangeError(expected("indptr[0]", "0", String(starts[0])));
    for (let i = 0; i < m; i++) {
      if ((starts[i + 1] as number) < (starts[i] as number)) {
        throw new RangeError(expected(`indptr[${i + 1}]`, `an integer >= ${starts[i]}`, String(starts[i + 1])));
      }
    }
    if (starts[m] !== nnz) {
      throw new RangeError(expected(`indptr[${m}]`, `${nnz}, the length of "indices"`, String(starts[m])));
    }
    const dtype = (source.dtype ?? "f64") as D;
    const indices = Tensor.allocate(runtime, [nnz], "f32");
    const indptr = Tensor.allocate(runtime, [m + 1], "f32");
    indices.integers.set(columns);
    indptr.integers.set(starts);
    let lists: Lists<D> = { data: copyIn(runtime, source, dtype), indices, indptr };
    if (!isCanonical(columns, starts)) {
      const back = transposed(runtime, m, n, lists);
      lists = merged(runtime, m, transposed(runtime, n, m, back));
    }
    return Csr.make([m, n], lists);
  });
}

function fromCoo<D extends DType = DType>(
  rows: IndexList,
  cols: IndexList,
  values: Tensor<D> | TensorLike,
  shape: readonly number[],
): Csr<D> {
  return run((runtime) => {
    const [m, n] = checkMatrixShape(shape, "shape");
    const i = integers(rows, "rows", m - 1);
    const j = integers(cols, "cols", n - 1);
    const nnz = i.length;
    if (j.length !== nnz) throw new RangeError(expected("cols", `${nnz} integers as "rows"`, `${j.length}`));
    const source = decode(values, "values");
    if (source.shape.length !== 1 || source.shape[0] !== nnz) {
      throw new RangeError(expected("values", `shape (${nnz},) as "rows"`, shapeText(source.shape)));
    }
    const dtype = (source.dtype ?? "f64") as D;
    const placed = place(runtime, source, dtype) as Tensor<D>;
    const data = placed.contiguous ? placed : placed.copy();
    // one element a row: transposed, it has the elements by column, each with its place in the lists
    const indices = Tensor.allocate(runtime, [nnz], "f32");
    const indptr = Tensor.allocate(runtime, [nnz + 1], "f32");
    indices.integers.set(j);
    indptr.integers.forEach((_, e, starts) => {
      starts[e] = e;
    });
    const columns = transposed(runtime, nnz, n, { data, indices, indptr });
    const places = columns.indices.integers;
    for (let e = 0; e < nnz; e++) places[e] = i[places[e] as number] as number;
    return Csr.make([m, n], merged(runtime, m, transposed(runtime, n, m, columns)));
  });
}

/**
 * Makes a sparse matrix from its compressed rows, which are copied. Columns of a row may come in any order; elements of
 * one place are added. `csr.fromCoo(rows, cols, values, shape)` makes one from coordinates in any order in the same way.
 *
 * @param parts.data (nnz,), f32 or f64 (plain numbers: f64)
 * @param parts.indices (nnz,): columns
 * @param parts.indptr (m + 1,): not decreasing, from 0 to nnz
 * @param parts.shape (m, n)
 * @returns a matrix that the caller owns
 * @throws RangeError if an index is outside the shape, indptr decreases or lengths differ; TypeError for another type
 * @example
 * ```ts
 * import { csr, init } from "lowrank";
 * await init();
 * const a = csr({ data: [1, 2], indices: [1, 0], indptr: [0, 1, 2], shape: [2, 2] });
 * const b = csr.fromCoo([1, 0, 0], [0, 1, 1], [2, 0.5, 0.5], [2, 2]);
 * console.log(a.toDense().toArray(), b.toDense().toArray()); // [ [ 0, 1 ], [ 2, 0 ] ] [ [ 0, 1 ], [ 2, 0 ] ]
 * ```
 */
export const csr: {
  <D extends DType>(parts: CsrParts<D> & { data: Tensor<D> }): Csr<D>;
  (parts: CsrParts): Csr;
  fromCoo<D extends DType>(rows: IndexList, cols: IndexList, values: Tensor<D>, shape: readonly number[]): Csr<D>;
  fromCoo(rows: IndexList, cols: IndexList, values: TensorLike, shape: readonly number[]): Csr;
} = /* @__PURE__ */ Object.assign((parts: CsrParts) => fromParts(parts), { fromCoo });
