// Writing safetensors files, byte for byte as the reference writer does: tensors sorted by the size of their elements,
// largest first, then by name; the header padded with spaces to eight bytes.

import { checkInteger, checkOneOf, checkOptions, checkShape, describe, expected, sizeOf } from "../check.js";
import { decode, place, type TensorLike } from "../interop.js";
import { kernel } from "../load.js";
import type { Bytes, PlatformStream } from "../platform.js";
import { run } from "../scope.js";
import type { Tensor } from "../tensor.js";
import { convertBack, WRITABLE, type WritableDType } from "./convert.js";
import {
  DTYPE_BITS,
  hasLoneSurrogate,
  LENGTH_BYTES,
  MAX_HEADER_BYTES,
  quote,
  type SafetensorsDType,
} from "./header.js";

/** A tensor that is written as it is: bytes of any stored type, at once or in pieces when their turn comes. */
export interface StoredTensor {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  /** Little-endian, row-major; as a function, which is called when their turn comes, for a stream. */
  readonly bytes: Uint8Array | (() => AsyncIterable<Uint8Array> | Iterable<Uint8Array>);
}

export type Writable = TensorLike | StoredTensor;

/** What is written: tensors by name. */
export type NamedTensors = Readonly<Record<string, Writable>> | ReadonlyMap<string, Writable>;

export interface WriteOptions {
  /** `__metadata__` of the header: texts by name. */
  metadata?: Readonly<Record<string, string>>;
  /** Stored type of all tensors that are not StoredTensors. Default: "F32" for f32, "F64" for f64. */
  dtype?: WritableDType;
}

/** One tensor in the order of the file. */
interface Item {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly byteLength: number;
  readonly pieces: () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
  /** Numbers that stay in memory until they are written. */
  readonly held: Tensor | undefined;
}

/** Elements that are converted at a time. */
const PIECE = 2 ** 20;

/**
 * A safetensors file in memory. The bytes are those of the reference writer.
 *
 * @param tensors by name; values are tensors, arrays, or bytes of any stored type: { dtype: "I64", shape, bytes }
 * @param options.dtype stored type of numbers: "F32", "F64", "F16" or "BF16" (rounded to nearest, ties to even)
 * @throws TypeError or RangeError if a name, a shape or the metadata cannot be written; StoredTensors must have their bytes
 *   at hand: use streamSafetensors for those that come in pieces
 * @example
 * ```ts
 * import { init, tensor } from "lowrank";
 * import { writeSafetensors } from "lowrank/safetensors";
 * await init();
 * const bytes = writeSafetensors({ w: tensor(Float32Array.of(1, 2)) }, { metadata: { format: "pt" } });
 * console.log(bytes.length); // 104
 * ```
 */
export function writeSafetensors(tensors: NamedTensors, options?: WriteOptions): Bytes {
  const { header, items, total } = layOut(tensors, options);
  try {
    const file = new Uint8Array(header.length + total);
    file.set(header);
    let at = header.length;
    for (const item of items) {
      const pieces = item.pieces();
      if (!(Symbol.iterator in pieces)) {
        throw new TypeError(
          expected(quote(item.name), "bytes at hand, or streamSafetensors", "bytes that come in pieces"),
        );
      }
      const start = at;
      for (const piece of pieces) {
        checkPiece(item, piece, at - start);
        file.set(piece, at);
        at += piece.length;
      }
      checkComplete(item, at - start);
    }
    return file;
  } finally {
    for (const { held } of items) held?.dispose();
  }
}

/**
 * A safetensors file as a stream, for files that should not be in memory as a whole.
 *
 * @param tensors as for writeSafetensors; a StoredTensor's bytes may be a function, which is called when its turn comes and
 *   yields them in pieces. Tensors must not be disposed of or changed before the stream has ended.
 * @throws TypeError or RangeError at once, as writeSafetensors; the stream fails if pieces are not as long as the shape says
 */
export function streamSafetensors(tensors: NamedTensors, options?: WriteOptions): PlatformStream {
  const { header, items } = layOut(tensors, options);
  const dispose = () => {
    for (const { held } of items) held?.dispose();
  };
  const pieces = produce(header, items);
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await pieces.next();
        if (!done) return controller.enqueue(value);
        dispose();
        controller.close();
      } catch (error) {
        dispose();
        controller.error(error);
      }
    },
    async cancel() {
      await pieces.return(undefined);
      dispose();
    },
  });
}

async function* produce(header: Uint8Array, items: readonly Item[]): AsyncGenerator<Uint8Array, void> {
  yield header;
  for (const item of items) {
    let written = 0;
    for await (const piece of item.pieces()) {
      checkPiece(item, piece, written);
      written += piece.length;
      if (piece.length > 0) yield piece;
    }
    checkComplete(item, written);
  }
}

function checkPiece(item: Item, piece: unknown, written: number): asserts piece is Uint8Array {
  if (!(piece instanceof Uint8Array))
    throw new TypeError(expected(quote(item.name), "pieces of bytes", describe(piece)));
  if (written + piece.length > item.byteLength) {
    throw new RangeError(expected(quote(item.name), `${item.byteLength} bytes`, `${written + piece.length} or more`));
  }
}

function checkComplete(item: Item, written: number): void {
  if (written !== item.byteLength) {
    throw new RangeError(expected(quote(item.name), `${item.byteLength} bytes`, String(written)));
  }
}

/** The header and the tensors in their order. */
function layOut(tensors: NamedTensors, options: WriteOptions | undefined) {
  const given = checkOptions(options, ["metadata", "dtype"]);
  const dtype = given.dtype === undefined ? undefined : checkOneOf(given.dtype, "dtype", WRITABLE);
  if (typeof tensors !== "object" || tensors === null || Array.isArray(tensors)) {
    throw new TypeError(expected("tensors", "an object or a Map of tensors by name", describe(tensors)));
  }
  kernel();
  const items: Item[] = [];
  try {
    for (const [name, value] of tensors instanceof Map ? tensors : Object.entries(tensors)) {
      items.push(makeItem(name, value, dtype));
    }
    items.sort((x, y) => DTYPE_BITS[y.dtype] - DTYPE_BITS[x.dtype] || compareCodePoints(x.name, y.name));
    return { items, ...makeHeader(items, given.metadata) };
  } catch (error) {
    for (const { held } of items) held?.dispose();
    throw error;
  }
}

function isStored(value: unknown): value is StoredTensor {
  return typeof value === "object" && value !== null && "bytes" in value && "dtype" in value;
}

function makeItem(name: unknown, value: Writable, dtype: WritableDType | undefined): Item {
  if (typeof name !== "string") throw new TypeError(expected("tensors", "names that are strings", describe(name)));
  if (name === "__metadata__")
    throw new RangeError(expected("tensors", 'names other than "__metadata__"', quote(name)));
  if (hasLoneSurrogate(name))
    throw new RangeError(expected("tensors", "names without half surrogate pairs", quote(name)));
  return isStored(value) ? storedItem(name, value) : numbersItem(name, value, dtype);
}

function storedItem(name: string, { dtype, shape, bytes }: StoredTensor): Item {
  checkOneOf(dtype, `${quote(name)}.dtype`, Object.keys(DTYPE_BITS) as SafetensorsDType[]);
  if (!Array.isArray(shape))
    throw new TypeError(expected(`${quote(name)}.shape`, "an array of lengths", describe(shape)));
  const lengths = Array.from(shape, (length, axis) =>
    checkInteger(length, `${quote(name)}.shape[${axis}]`, 0, Number.MAX_SAFE_INTEGER),
  );
  const bits = sizeOf(lengths) * DTYPE_BITS[dtype];
  if (!Number.isSafeInteger(bits) || bits % 8 !== 0) {
    throw new RangeError(expected(`${quote(name)}.shape`, `whole bytes of ${dtype}`, `[${lengths.join(", ")}]`));
  }
  const byteLength = bits / 8;
  if (bytes instanceof Uint8Array) {
    if (bytes.length !== byteLength) {
      throw new RangeError(expected(`${quote(name)}.bytes`, `${byteLength} bytes`, String(bytes.length)));
    }
    return { name, dtype, shape: lengths, byteLength, pieces: () => [bytes], held: undefined };
  }
  if (typeof bytes !== "function") {
    throw new TypeError(expected(`${quote(name)}.bytes`, "a Uint8Array or a function", describe(bytes)));
  }
  return { name, dtype, shape: lengths, byteLength, pieces: bytes, held: undefined };
}

function numbersItem(name: string, value: TensorLike, wanted: WritableDType | undefined): Item {
  const source = decode(value, quote(name));
  const held = run((runtime) => {
    const placed = place(runtime, source, source.dtype ?? "f64");
    if (placed === source.tensor) return placed.contiguous ? placed.reshape(placed.shape) : placed.copy();
    return placed;
  });
  const dtype = wanted ?? (held.dtype === "f32" ? "F32" : "F64");
  const elementBytes = DTYPE_BITS[dtype] / 8;
  function* pieces() {
    for (let first = 0; first < held.size; first += PIECE) {
      const count = Math.min(PIECE, held.size - first);
      yield run((runtime) => convertBack(runtime, held, first, count, dtype));
    }
  }
  return {
    name,
    dtype,
    shape: checkShape([...held.shape], "shape"),
    byteLength: held.size * elementBytes,
    pieces,
    held,
  };
}

function makeHeader(items: readonly Item[], metadata: Readonly<Record<string, string>> | undefined) {
  const parts: string[] = [];
  if (metadata !== undefined) parts.push(`"__metadata__":${metadataText(metadata)}`);
  let total = 0;
  let previous: string | undefined;
  for (const { name, dtype, shape, byteLength } of items) {
    if (name === previous) throw new RangeError(expected("tensors", "each name once", quote(name)));
    previous = name;
    const offsets = `${total},${total + byteLength}`;
    parts.push(`${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(",")}],"data_offsets":[${offsets}]}`);
    total += byteLength;
  }
  if (!Number.isSafeInteger(total)) throw new RangeError(expected("tensors", "less than 2^53 bytes", String(total)));
  const json = new TextEncoder().encode(`{${parts.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    throw new RangeError(expected("tensors", `a header of at most ${MAX_HEADER_BYTES} bytes`, String(length)));
  }
  const header = new Uint8Array(LENGTH_BYTES + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, LENGTH_BYTES);
  return { header, total };
}

function metadataText(metadata: Readonly<Record<string, string>>): string {
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) {
    throw new TypeError(expected("metadata", "an object of texts", describe(metadata)));
  }
  for (const [key, text] of Object.entries(metadata)) {
    if (typeof text !== "string") throw new TypeError(expected(`metadata[${quote(key)}]`, "a string", describe(text)));
    if (hasLoneSurrogate(key) || hasLoneSurrogate(text)) {
      throw new RangeError(expected("metadata", "texts without half surrogate pairs", quote(key)));
    }
  }
  return JSON.stringify(metadata);
}

/** The order of UTF-8 bytes, which is that of code points; < compares UTF-16 units. */
function compareCodePoints(x: string, y: string): number {
  const length = Math.min(x.length, y.length);
  for (let i = 0; i < length; i++) {
    const [a, b] = [x.charCodeAt(i), y.charCodeAt(i)];
    if (a === b) continue;
    // surrogates stand for code points above all others
    const rank = (unit: number) => (unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit);
    return rank(a) - rank(b);
  }
  return x.length - y.length;
}
