// One call for a batch whose rows have adapters of their own.

import { checkNumber, checkOptions, describe, expected, shapeText } from "../check.js";
import { commonDtype, decode, place, type TensorLike } from "../interop.js";
import { kernel, type Runtime } from "../load.js";
import { afterTrap, run } from "../scope.js";
import { routineOf, share } from "../share.js";
import { bytesOf, type DType, Tensor } from "../tensor.js";
import { AdapterPool, type Entry } from "./pool.js";

export interface BatchedLoraOptions {
  /** A factor for each row's adapter, on top of the adapter's scale. */
  scales?: ArrayLike<number>;
}

/**
 * y += LoRA of each row's adapter, in place: row t of y gets scale·scaling·((x_t·Aᵀ)·Bᵀ + loraBias) of the adapter ids[t].
 * A row's result has the same bits whatever else is in the batch; a row without an adapter is not touched. NaN and
 * Infinity pass through. A call on tensors allocates nothing in the JavaScript heap.
 *
 * @param y (…, out): a contiguous Tensor of the pool's dtype
 * @param x (…, in) with the leading axes of y
 * @param ids one a row, leading axes flattened; null: none
 * @returns y
 * @throws RangeError (code "adapter_not_found") for an id that is not in the pool; RangeError for shapes, lengths, a y that is
 *   not contiguous or overlaps x; TypeError for dtypes and other types. y is as before then, and the pool
 * @example
 * ```ts
 * import { init, tensor } from "lowrank";
 * import { AdapterPool, batchedLora, LoraAdapter } from "lowrank/lora";
 * await init();
 * const pool = new AdapterPool({ inFeatures: 2, outFeatures: 1, capacityBytes: 4096, dtype: "f64" });
 * pool.register("sum", new LoraAdapter({ a: [[1, 1]], b: [[1]] }));
 * const y = tensor([[10], [20]]);
 * batchedLora(y, [[1, 2], [3, 4]], pool, ["sum", null], { scales: [2, 1] });
 * console.log(y.toArray()); // [ [ 16 ], [ 20 ] ]
 * pool.dispose();
 * ```
 */
export function batchedLora<D extends DType>(
  y: Tensor<D>,
  x: TensorLike,
  pool: AdapterPool<D>,
  ids: readonly (string | null)[],
  options?: BatchedLoraOptions,
): Tensor<D> {
  const runtime = kernel();
  if (!(pool instanceof AdapterPool)) throw new TypeError(expected("pool", "an AdapterPool", describe(pool)));
  if (!(y instanceof Tensor)) throw new TypeError(expected("y", "a Tensor", describe(y)));
  if (y.dtype !== pool.dtype) throw new TypeError(expected("y", `${pool.dtype} as the pool`, y.dtype));
  if (y.shape.length < 1 || y.shape[y.shape.length - 1] !== pool.outFeatures) {
    throw new RangeError(expected("y", `shape (…, ${pool.outFeatures})`, shapeText(y.shape)));
  }
  if (!y.contiguous) throw new RangeError(expected("y", "a contiguous tensor", `strides ${shapeText(y.strides)}`));
  const scales = scalesOf(options);
  if (x instanceof Tensor && x.dtype === pool.dtype && x.contiguous) {
    checkInput(x, y, pool);
    serve(runtime, y, x, pool, ids, scales);
  } else {
    placeAndServe(y, x, pool, ids, scales);
  }
  return y;
}

function scalesOf(options: BatchedLoraOptions | undefined): ArrayLike<number> | undefined {
  if (options === undefined) return undefined;
  // checkOptions() makes a list of the keys: only where it will find something wrong
  let strange = typeof options !== "object" || options === null;
  for (const key in options) if (key !== "scales") strange = true;
  return (strange || Array.isArray(options) ? checkOptions(options, ["scales"]) : options).scales;
}

/** x has the shape (…, in) with the leading axes of y. */
function checkInput(x: { readonly shape: readonly number[] }, y: Tensor, { inFeatures }: AdapterPool<DType>): void {
  const { shape } = x;
  let fits = shape.length === y.shape.length && shape[shape.length - 1] === inFeatures;
  for (let axis = 0; fits && axis < shape.length - 1; axis++) fits = shape[axis] === y.shape[axis];
  if (fits) return;
  const lead = y.shape.slice(0, -1);
  throw new RangeError(expected("x", `shape ${shapeText([...lead, inFeatures])}`, shapeText(shape)));
}

/** batchedLora where x is not in kernel memory yet, or not contiguous. */
function placeAndServe(
  y: Tensor,
  x: TensorLike,
  pool: AdapterPool<DType>,
  ids: readonly (string | null)[],
  scales: ArrayLike<number> | undefined,
): void {
  run((runtime) => {
    const source = decode(x, "x");
    commonDtype([
      ["y", y],
      ["x", source],
    ]);
    checkInput(source, y, pool);
    const placed = place(runtime, source, pool.dtype);
    serve(runtime, y, placed.contiguous ? placed : placed.copy(), pool, ids, scales, placed);
  });
}

/** The adapters of a call, each once; kept between calls, so that none allocates. */
const named: Entry[] = [];

function serve(
  runtime: Runtime,
  y: Tensor,
  x: Tensor,
  pool: AdapterPool<DType>,
  ids: readonly (string | null)[],
  scales: ArrayLike<number> | undefined,
  given = x,
): void {
  const { inFeatures, outFeatures, dtype } = pool;
  if (given.overlaps(y)) throw new RangeError(expected("y", "a tensor that does not overlap x", "one that does"));
  let rows = 1;
  for (let axis = 0; axis < y.shape.length - 1; axis++) rows *= y.shape[axis] as number;
  if (!Array.isArray(ids)) throw new TypeError(expected("ids", "an array of names", describe(ids)));
  if (ids.length !== rows) throw new RangeError(expected("ids", `${rows} names, one a row of "x"`, `${ids.length}`));
  if (scales !== undefined) checkScales(scales, rows);
  const mark = runtime.scratch.mark();
  try {
    const routines = runtime[dtype];
    const call = pool.beginCall();
    const places = runtime.scratch.push(4 * rows);
    const records = runtime.scratch.push(4 * rows);
    const factors = scales === undefined ? 0 : runtime.scratch.push(bytesOf(dtype) * rows);
    let count = 0;
    let r = 0;
    for (let i = 0; i < rows; i++) {
      const id = ids[i];
      if (id === null) continue;
      const entry = pool.lookUp(id, i);
      if (entry.call === call) continue;
      entry.call = call;
      entry.place = count;
      named[count++] = entry;
      if (entry.r > r) r = entry.r;
    }
    const bytes = routines.loraBatchScratch(rows, count, r, outFeatures, 0);
    const work = runtime.scratch.push(bytes * (runtime.team?.asked ?? 1));
    // nothing grows memory from here on
    const words = wordsOf(runtime);
    for (let i = 0; i < rows; i++) {
      const id = ids[i];
      let place = -1;
      if (id !== null) {
        const entry = pool.lookUp(id, i);
        place = entry.place;
        pool.touch(entry);
      }
      words[places / 4 + i] = place;
    }
    for (let i = 0; i < count; i++) words[records / 4 + i] = (named[i] as Entry).record;
    if (scales !== undefined) writeScales(runtime, dtype, factors, scales, rows);
    const { team } = runtime;
    if (team !== undefined) {
      const size = bytesOf(dtype);
      const [from, to] = [x.pointer, y.pointer];
      const range = {
        routine: routineOf(dtype, "loraBatch"),
        length: rows,
        values: [0, inFeatures, outFeatures, from, inFeatures, to, outFeatures, places, count, records, factors, work],
        steps: [
          [3, inFeatures * size],
          [5, outFeatures * size],
          [7, 4],
          ...(factors === 0 ? [] : [[10, size] as const]),
        ] as const,
        count: 0,
        work: 11,
        workBytes: bytes,
      };
      const operations = 2 * rows * r * (inFeatures + outFeatures) * size;
      if (share(runtime, operations, range, { unit: 2, least: 8 }) !== undefined) return;
    }
    routines.loraBatch(
      rows,
      inFeatures,
      outFeatures,
      x.pointer,
      inFeatures,
      y.pointer,
      outFeatures,
      places,
      count,
      records,
      factors,
      work,
    );
  } catch (error) {
    throw afterTrap(runtime, error);
  } finally {
    runtime.scratch.rewind(mark);
  }
}

function checkScales(scales: ArrayLike<number>, rows: number): void {
  if (!Array.isArray(scales) && !ArrayBuffer.isView(scales)) {
    throw new TypeError(expected("scales", "an array of numbers", describe(scales)));
  }
  if (scales.length !== rows) {
    throw new RangeError(expected("scales", `${rows} numbers, one a row of "x"`, `${scales.length}`));
  }
  for (let i = 0; i < rows; i++) if (typeof scales[i] !== "number") checkNumber(scales[i], `scales[${i}]`);
}

function writeScales(runtime: Runtime, dtype: DType, pointer: number, scales: ArrayLike<number>, rows: number): void {
  const all = dtype === "f32" ? floatsOf(runtime) : doublesOf(runtime);
  const first = pointer / bytesOf(dtype);
  for (let i = 0; i < rows; i++) all[first + i] = scales[i] as number;
}

// Views on the whole memory, kept between calls; growing makes another buffer.
let words = new Int32Array(0);
let floats = new Float32Array(0);
let doubles = new Float64Array(0);

function wordsOf({ memory }: Runtime): Int32Array {
  if (words.buffer !== memory.buffer) words = new Int32Array(memory.buffer);
  return words;
}

function floatsOf({ memory }: Runtime): Float32Array {
  if (floats.buffer !== memory.buffer) floats = new Float32Array(memory.buffer);
  return floats;
}

function doublesOf({ memory }: Runtime): Float64Array {
  if (doubles.buffer !== memory.buffer) doubles = new Float64Array(memory.buffer);
  return doubles;
}
