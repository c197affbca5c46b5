// Reading tensors of a safetensors file: the header at once, the bytes of a tensor when it is asked for.

import { checkOneOf, checkOptions, describe, expected, sizeOf } from "../check.js";
import { FileFormatError } from "../errors.js";
import type { Bytes } from "../platform.js";
import { QuantizedTensor } from "../quantized/quantize.js";
import { run } from "../scope.js";
import { type DType, Tensor } from "../tensor.js";
import { convert, isConvertible } from "./convert.js";
import { foreignFormat } from "./foreign.js";
import {
  DTYPE_BITS,
  type Entry,
  headerLength,
  LENGTH_BYTES,
  parseHeader,
  quote,
  type SafetensorsDType,
} from "./header.js";
import { type ByteSource, type FileSource, type OpenOptions, openSource } from "./source.js";

export interface TensorInfo {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly byteLength: number;
}

export interface ReadOptions<D extends DType = DType> {
  /** Default: "f64" for F64 and 64-bit integers, else "f32". */
  dtype?: D;
}

/** @internal A tensor, and the source and offset of its bytes: a model has several sources. */
export interface Located extends Entry {
  readonly source: ByteSource;
  readonly offset: number;
}

/** Bytes that are read and converted at a time. */
const CHUNK_BYTES = 2 ** 22;

/** Bytes that the first reading takes: the header of most files. */
const FIRST_BYTES = 2 ** 16;

/**
 * An open safetensors file, or a model in several of them. Only the header is held in memory.
 *
 * @example
 * ```ts
 * import { init, tensor } from "lowrank";
 * import { openSafetensors, writeSafetensors } from "lowrank/safetensors";
 * await init();
 * const file = await openSafetensors(writeSafetensors({ w: tensor([[1, 2]]) }, { dtype: "F16" }));
 * console.log(file.names, file.info("w")); // [ 'w' ] { dtype: 'F16', shape: [ 1, 2 ], byteLength: 4 }
 * const w = await file.tensor("w");
 * console.log(w.dtype, w.toArray()); // f32 [ [ 1, 2 ] ]
 * file.close();
 * ```
 */
export class SafetensorsFile {
  /** `__metadata__` of the header: texts by name. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Names of the tensors, in the order of their bytes. */
  readonly names: readonly string[];
  /** Of a model in several files: the names of the tensors by file. Empty for one file. */
  readonly shards: ReadonlyMap<string, readonly string[]>;
  #entries: Map<string, Located> | undefined;

  /** @internal */
  constructor(
    metadata: Readonly<Record<string, string>>,
    entries: readonly Located[],
    shards: ReadonlyMap<string, readonly string[]> = new Map(),
  ) {
    this.metadata = metadata;
    this.shards = shards;
    this.names = entries.map(({ name }) => name);
    this.#entries = new Map(entries.map((entry) => [entry.name, entry]));
  }

  /** Whether there is a tensor of this name. */
  has(name: string): boolean {
    return this.#open.has(name);
  }

  /**
   * What the header says of a tensor; nothing is read.
   *
   * @throws RangeError if there is none of this name
   */
  info(name: string): TensorInfo {
    const { dtype, shape, begin, end } = this.#entry(name);
    return { dtype, shape: [...shape], byteLength: end - begin };
  }

  /**
   * Reads a tensor into kernel memory and converts it on the way.
   *
   * @param options.dtype "f32" or "f64"; default by the stored type, see ReadOptions. Integers beyond 2^24 lose digits in "f32".
   * @returns the tensor in the shape of the file, owned by the caller
   * @throws RangeError if there is none of this name; TypeError for types that are no numbers of one kind (C64, sub-byte):
   *   use bytes(); FileFormatError if the file ends before the tensor does
   */
  async tensor<D extends DType = DType>(name: string, options?: ReadOptions<D>): Promise<Tensor<D>> {
    const given = checkOptions(options, ["dtype"]);
    const { shape } = this.#entry(name);
    return this.elements(name, this.dtypeOf(name, given.dtype), 0, shape) as Promise<Tensor<D>>;
  }

  /** @internal What tensor() makes of a stored tensor; TypeError for types that are not numbers of one kind. */
  dtypeOf(name: string, wanted?: DType): DType {
    const { dtype } = this.#entry(name);
    if (!isConvertible(dtype)) {
      throw new TypeError(expected(`tensor ${quote(name)}`, "a type of numbers, or use bytes()", dtype));
    }
    if (wanted !== undefined) return checkOneOf(wanted, "dtype", ["f32", "f64"]);
    return dtype === "F64" || dtype === "I64" || dtype === "U64" ? "f64" : "f32";
  }

  /** @internal The elements from `start` on that fill a tensor of `shape`, converted: for work on parts of a large one. */
  async elements<D extends DType>(name: string, dtype: D, start: number, shape: readonly number[]): Promise<Tensor<D>> {
    const entry = this.#entry(name);
    const out = run((runtime) => Tensor.allocate(runtime, shape, dtype));
    try {
      const elementBytes = DTYPE_BITS[entry.dtype] / 8;
      const step = CHUNK_BYTES / elementBytes;
      const size = sizeOf(shape);
      for (let first = 0; first < size; first += step) {
        const count = Math.min(step, size - first);
        const offset = entry.offset + (start + first) * elementBytes;
        const bytes = await entry.source.read(offset, count * elementBytes);
        run((runtime) => convert(runtime, bytes, entry.dtype, out, first, count));
      }
    } catch (error) {
      out.dispose();
      throw error;
    }
    return out;
  }

  /**
   * Reads a weight of 16-bit floats as it is, for a LoraLinear: half of the memory that tensor() takes.
   *
   * @returns a QuantizedTensor of kind "f16" or "bf16", owned by the caller
   * @throws RangeError if there is no tensor of this name; TypeError for other stored types
   */
  async quantized(name: string): Promise<QuantizedTensor> {
    const { dtype, shape } = this.#entry(name);
    if (dtype !== "F16" && dtype !== "BF16") throw new TypeError(expected("name", "a tensor of F16 or BF16", dtype));
    const bytes = await this.bytes(name);
    return run((runtime) => QuantizedTensor.fromHalves(runtime, dtype === "F16" ? "f16" : "bf16", shape, bytes));
  }

  /** The stored bytes of a tensor: a copy. */
  async bytes(name: string): Promise<Bytes> {
    const { source, offset, begin, end } = this.#entry(name);
    const bytes = new Uint8Array(end - begin);
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      bytes.set(await source.read(offset + at, Math.min(CHUNK_BYTES, bytes.length - at)), at);
    }
    return bytes;
  }

  /** Lets go of the source; every call after it throws. */
  close(): void {
    this.#entries = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** @internal The stored bytes of a tensor in pieces: copies. */
  async *pieces(name: string): AsyncGenerator<Uint8Array, void> {
    const { source, offset, begin, end } = this.#entry(name);
    for (let at = 0; at < end - begin; at += CHUNK_BYTES) {
      yield (await source.read(offset + at, Math.min(CHUNK_BYTES, end - begin - at))).slice();
    }
  }

  get #open(): Map<string, Located> {
    if (this.#entries === undefined) throw new TypeError("the file was closed");
    return this.#entries;
  }

  #entry(name: string): Located {
    if (typeof name !== "string") throw new TypeError(expected("name", "a string", describe(name)));
    const entry = this.#open.get(name);
    if (entry === undefined) {
      throw new RangeError(expected("name", "the name of a tensor of the file", quote(name)));
    }
    return entry;
  }
}

/**
 * Opens a safetensors file: reads and checks its header, as strict as the reference reader. Tensors are read when asked for.
 *
 * @param source the file's bytes, a Blob or File, a URL (ranges of it are requested), a Response (read whole), or anything
 *   with `size` and `read(offset, length)`. A path: in Node `await fs.openAsBlob(path)`, in Deno and Bun a file: URL.
 * @throws FileFormatError if it is not such a file (it names pickled checkpoints, GGUF and what else is met instead), if it is
 *   cut short, or if a server serves no ranges and `maximumBytes` allows no whole reading
 */
export async function openSafetensors(source: FileSource, options?: OpenOptions): Promise<SafetensorsFile> {
  const opened = await openSource(source, options);
  const { metadata, located } = await readHeader(opened);
  return new SafetensorsFile(metadata, located);
}

/** @internal */
export async function readHeader(source: ByteSource) {
  const start = await source.read(0, Math.min(FIRST_BYTES, source.size));
  const foreign = foreignFormat(start);
  if (foreign !== undefined) throw new FileFormatError(foreign, 0);
  const length = headerLength(start, source.size);
  const dataStart = LENGTH_BYTES + length;
  let json = start.subarray(LENGTH_BYTES, dataStart);
  if (json.length < length) {
    const whole = new Uint8Array(length);
    whole.set(json);
    whole.set(await source.read(LENGTH_BYTES + json.length, length - json.length), json.length);
    json = whole;
  }
  const { metadata, entries } = parseHeader(json, source.size - dataStart);
  const located = entries.map(({ name, dtype, shape, begin, end }) => {
    return { name, dtype, shape, begin, end, source, offset: dataStart + begin };
  });
  return { metadata, located };
}
