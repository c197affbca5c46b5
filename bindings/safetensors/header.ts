// The header of a safetensors file: eight bytes of length, little-endian, then JSON that names every tensor and where its
// bytes lie. As strict as the reference reader (huggingface/safetensors, tensor.rs): tensors cover the data without hole
// or overlap, sizes agree with shapes. Stricter in one point: a key that occurs twice is refused.

import { FileFormatError } from "../errors.js";

/** The reference's limit. */
export const MAX_HEADER_BYTES = 100_000_000;

/** Bytes of the length field. */
export const LENGTH_BYTES = 8;

/** Bits of an element. */
export const DTYPE_BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

/**
 * Types that a file may hold.
 *
 * @useDeclaredType
 */
export type SafetensorsDType = keyof typeof DTYPE_BITS;

/** @internal A tensor of a file; its bytes are [begin, end) of the data. */
export interface Entry {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** @internal */
export interface Header {
  readonly metadata: Readonly<Record<string, string>>;
  /** In the order of their bytes. */
  readonly entries: readonly Entry[];
}

/** @internal Length of the header's JSON from the first eight bytes of a file of `fileBytes` bytes. */
export function headerLength(start: Uint8Array, fileBytes: number): number {
  if (start.length < LENGTH_BYTES) {
    throw new FileFormatError(`a safetensors file has at least 8 bytes, this one ${start.length}`, 0);
  }
  const length = new DataView(start.buffer, start.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw new FileFormatError(`the header's length, ${length} bytes, is above ${MAX_HEADER_BYTES}`, 0);
  }
  if (LENGTH_BYTES + Number(length) > fileBytes) {
    throw new FileFormatError(`the header's length, ${length} bytes, goes past the end of the file`, 0);
  }
  return Number(length);
}

/** @internal Reads and checks a header's JSON; `dataBytes` follow it in the file. */
export function parseHeader(json: Uint8Array, dataBytes: number): Header {
  const parsed = parseObject(json);
  const entries: Entry[] = [];
  let metadata: Record<string, string> = {};
  let keys = 0;
  for (const [name, value] of Object.entries(parsed)) {
    keys++;
    if (name === "__metadata__") {
      metadata = checkMetadata(value);
      keys += Object.keys(metadata).length;
    } else {
      entries.push(checkEntry(name, value));
      // dtype, shape and data_offsets have no keys inside; other fields are passed over, but for their keys
      const own = Object.keys(value as object).length;
      keys += own === 3 ? 3 : countKeys(value);
    }
  }
  // JSON.parse keeps the last of two equal keys
  if (keys !== scan(json)) throw new FileFormatError("the header has a key twice", LENGTH_BYTES);
  if (!isOrdered(entries)) entries.sort((x, y) => x.begin - y.begin || x.end - y.end);
  checkCoverage(entries, dataBytes);
  return { metadata, entries };
}

function parseObject(json: Uint8Array): object {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
  } catch (error) {
    throw new FileFormatError("the header is not UTF-8", LENGTH_BYTES, error);
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new FileFormatError("the header is not JSON", LENGTH_BYTES, error);
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new FileFormatError("the header is not a JSON object", LENGTH_BYTES);
  }
  return parsed;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const DOT = 0x2e;
const MINUS = 0x2d;
const SMALL_E = 0x65;
const BIG_E = 0x45;
const isDigit = (byte: number | undefined) => byte !== undefined && byte >= 0x30 && byte <= 0x39;

/** How many keys the text of valid JSON has. Refuses numbers that are not written as unsigned integers. */
function scan(json: Uint8Array): number {
  let keys = 0;
  for (let i = 0; i < json.length; i++) {
    const byte = json[i];
    if (byte === QUOTE) {
      for (i++; json[i] !== QUOTE; i++) if (json[i] === BACKSLASH) i++;
    } else if (byte === COLON) {
      keys++;
    } else if (byte === MINUS || byte === DOT || ((byte === SMALL_E || byte === BIG_E) && isDigit(json[i - 1]))) {
      throw new FileFormatError("the header has a number that is not an unsigned integer", LENGTH_BYTES + i);
    }
  }
  return keys;
}

/** Keys of a parsed value, however deep. */
function countKeys(value: unknown): number {
  let keys = 0;
  const left = [value];
  while (left.length > 0) {
    const one = left.pop();
    if (typeof one !== "object" || one === null) continue;
    const inside = Object.values(one);
    if (!Array.isArray(one)) keys += inside.length;
    for (const item of inside) if (typeof item === "object") left.push(item);
  }
  return keys;
}

function checkMetadata(value: unknown): Record<string, string> {
  if (value === null) return {};
  if (typeof value !== "object" || Array.isArray(value)) {
    throw new FileFormatError('"__metadata__" is not an object', LENGTH_BYTES);
  }
  const metadata: Record<string, string> = Object.create(null);
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") {
      throw new FileFormatError(`"__metadata__" has a value that is not a string: ${quote(key)}`, LENGTH_BYTES);
    }
    if (hasLoneSurrogate(key) || hasLoneSurrogate(text)) {
      throw new FileFormatError('"__metadata__" has half a surrogate pair', LENGTH_BYTES);
    }
    metadata[key] = text;
  }
  return metadata;
}

/** What is wrong with a tensor of the header. */
function wrong(name: string, reason: string): FileFormatError {
  return new FileFormatError(`tensor ${quote(name)}: ${reason}`, LENGTH_BYTES);
}

/** A name for a message: quoted and short. */
export function quote(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}…` : name);
}

export function hasLoneSurrogate(text: string): boolean {
  return /\p{Surrogate}/u.test(text);
}

function checkEntry(name: string, value: unknown): Entry {
  if (hasLoneSurrogate(name)) throw wrong(name, "its name has half a surrogate pair");
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(name, "not an object");
  const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>;
  if (typeof dtype !== "string" || !Object.keys(DTYPE_BITS).includes(dtype)) {
    throw wrong(name, dtype === undefined ? "no dtype" : `unknown dtype ${quote(String(dtype))}`);
  }
  if (!isSizes(shape)) throw wrong(name, "its shape is not an array of lengths below 2^53");
  if (!isSizes(offsets) || offsets.length !== 2) throw wrong(name, "its data_offsets are not two offsets below 2^53");
  const [begin, end] = offsets as [number, number];
  const bits = DTYPE_BITS[dtype as SafetensorsDType];
  let total = bits;
  for (const length of shape) {
    total *= length;
    if (!Number.isSafeInteger(total)) throw wrong(name, `its shape [${shape.slice(0, 16).join(", ")}] is too large`);
  }
  if (total % 8 !== 0) throw wrong(name, "its elements do not fill whole bytes");
  if (end - begin !== total / 8) {
    throw wrong(name, `its data_offsets [${begin}, ${end}] span ${end - begin} bytes, its shape ${total / 8}`);
  }
  return { name, dtype: dtype as SafetensorsDType, shape, begin, end };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((one) => Number.isSafeInteger(one) && one >= 0);
}

function isOrdered(entries: readonly Entry[]): boolean {
  for (let i = 1; i < entries.length; i++) {
    if ((entries[i] as Entry).begin < (entries[i - 1] as Entry).end) return false;
  }
  return true;
}

/** Each tensor starts where the one before it ended, the last ends with the data. */
function checkCoverage(entries: readonly Entry[], dataBytes: number): void {
  let at = 0;
  for (const { name, begin, end } of entries) {
    if (begin !== at) throw wrong(name, `starts at byte ${begin} of the data instead of ${at}`);
    at = end;
  }
  if (at !== dataBytes) {
    const cut = at > dataBytes ? ": the file is cut short" : "";
    throw new FileFormatError(
      `the tensors take ${at} bytes, the file has ${dataBytes} behind its header${cut}`,
      LENGTH_BYTES,
    );
  }
}
