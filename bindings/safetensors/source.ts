// Where the bytes of a file come from: one face for memory, Blob, URL, Response and whatever else can read a range.

import { checkInteger, checkOptions, describe, expected } from "../check.js";
import { FileFormatError } from "../errors.js";
import type { PlatformBlob, PlatformResponse, PlatformUrl } from "../platform.js";
import { type Abortable, checkProgress } from "../progress.js";

/** Anything that reads ranges of bytes: a file handle, a database, an archive. */
export interface RangeReader {
  /** Length of the file in bytes. */
  readonly size: number;
  /** Exactly `length` bytes from `offset` on. */
  read(offset: number, length: number): Promise<Uint8Array> | Uint8Array;
}

export type FileSource = ArrayBuffer | Uint8Array | PlatformBlob | PlatformUrl | PlatformResponse | RangeReader;

export interface OpenOptions {
  /** Headers of the requests for a URL. */
  headers?: Record<string, string>;
  /** Ends requests and readings; they then reject with its reason. */
  signal?: Abortable;
  /**
   * Bytes that may be held at once where a server cannot serve ranges and the file has to be read whole. Default 0: such a
   * server is an error.
   */
  maximumBytes?: number;
}

/** @internal The same for every kind of source. */
export interface ByteSource {
  readonly size: number;
  /** Exactly `length` bytes; they may be a view on the source's own memory. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** @internal */
export async function openSource(source: unknown, options: OpenOptions | undefined): Promise<ByteSource> {
  const given = checkOptions(options, ["headers", "signal", "maximumBytes"]);
  const maximum = given.maximumBytes ?? 0;
  checkInteger(maximum, "maximumBytes", 0, Number.MAX_SAFE_INTEGER);
  const step = checkProgress({ signal: given.signal });
  const opened = await open(source, given, maximum);
  return {
    size: opened.size,
    async read(offset, length) {
      step(offset, opened.size);
      if (offset + length > opened.size) {
        throw new FileFormatError(`the file ends at byte ${opened.size}: it is cut short`, opened.size);
      }
      const bytes = await opened.read(offset, length);
      if (!(bytes instanceof Uint8Array) || bytes.length !== length) {
        const got = bytes instanceof Uint8Array ? `${bytes.length} bytes` : describe(bytes);
        throw new FileFormatError(`the source gave ${got} where ${length} bytes were asked for`, offset);
      }
      return bytes;
    },
  };
}

/** @internal A whole file as text. */
export async function readText(source: unknown, options: OpenOptions | undefined): Promise<string> {
  const opened = await openSource(source, options);
  return new TextDecoder().decode(await opened.read(0, opened.size));
}

async function open(source: unknown, options: OpenOptions, maximum: number): Promise<RangeReader> {
  if (source instanceof ArrayBuffer) return memory(new Uint8Array(source));
  if (source instanceof Uint8Array) return memory(source);
  if (typeof Blob === "function" && source instanceof Blob) return blob(source);
  if (source instanceof URL) return overHttp(source, options, maximum);
  if (isResponse(source)) return memory(await wholeBody(source, maximum === 0 ? Number.MAX_SAFE_INTEGER : maximum));
  if (isReader(source)) {
    checkInteger(source.size, "source.size", 0, Number.MAX_SAFE_INTEGER);
    return source;
  }
  const what = "bytes, a Blob, a URL, a Response or { size, read(offset, length) }";
  throw new TypeError(expected("source", what, describe(source)));
}

function isReader(value: unknown): value is RangeReader {
  return (
    typeof value === "object" &&
    value !== null &&
    typeof (value as RangeReader).read === "function" &&
    typeof (value as RangeReader).size === "number"
  );
}

/** By its form: naming the global would make Node load its whole fetch implementation. */
function isResponse(value: unknown): value is Response {
  const response = value as Response | null;
  return typeof response === "object" && response !== null && "body" in response && typeof response.text === "function";
}

function memory(bytes: Uint8Array): RangeReader {
  return { size: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length) };
}

function blob(source: Blob): RangeReader {
  return {
    size: source.size,
    read: async (offset, length) => new Uint8Array(await source.slice(offset, offset + length).arrayBuffer()),
  };
}

/** Bytes of the first request: enough for the headers of most files. */
const FIRST_BYTES = 2 ** 16;

async function overHttp(url: URL, { headers, signal }: OpenOptions, maximum: number): Promise<RangeReader> {
  const ask = (at: string | URL, more: Record<string, string>) =>
    fetch(at, { headers: { ...headers, ...more }, ...(signal === undefined ? {} : { signal: signal as AbortSignal }) });
  if (url.protocol === "file:") return fromFile(url, ask, maximum);
  const first = await ask(url, { Range: `bytes=0-${FIRST_BYTES - 1}` });
  if (first.status === 416) {
    await first.body?.cancel();
    return memory(new Uint8Array(0));
  }
  if (!first.ok) {
    await first.body?.cancel();
    throw new FileFormatError(`the server answered ${first.status} for ${url.href}`, 0);
  }
  const total = rangeTotal(first);
  if (total === undefined || first.headers.has("content-encoding")) {
    // a whole file, ranges of a compressed one, or of one without a length
    const answer = first.status === 206 ? await ask(url, {}) : first;
    if (answer !== first) await first.body?.cancel();
    if (maximum === 0) {
      await answer.body?.cancel();
      const why = "the server does not serve ranges of this file";
      throw new FileFormatError(`${why}: give maximumBytes to read it whole, or its bytes`, 0);
    }
    return memory(await wholeBody(answer, maximum));
  }
  const start = new Uint8Array(await first.arrayBuffer());
  // later requests go where the first was sent on to, and must find the same file
  const at = first.url === "" ? url.href : first.url;
  const etag = first.headers.get("etag");
  const condition: Record<string, string> = etag === null || etag.startsWith("W/") ? {} : { "If-Range": etag };
  return {
    size: total,
    async read(offset, length) {
      if (offset + length <= start.length) return start.subarray(offset, offset + length);
      if (length === 0) return new Uint8Array(0);
      const answer = await ask(at, { ...condition, Range: `bytes=${offset}-${offset + length - 1}` });
      if (answer.status !== 206 || rangeTotal(answer) !== total) {
        await answer.body?.cancel();
        const what = answer.status === 200 ? "the file changed on the server" : `the server answered ${answer.status}`;
        throw new FileFormatError(`${what} while it was read`, offset);
      }
      return new Uint8Array(await answer.arrayBuffer());
    },
  };
}

/** Deno and Bun fetch file: URLs, as a whole; Node does not. */
async function fromFile(url: URL, ask: (at: URL, more: Record<string, string>) => Promise<Response>, maximum: number) {
  const runtime = globalThis as { Bun?: { file(url: URL): Blob } };
  if (runtime.Bun !== undefined) return blob(runtime.Bun.file(url));
  let answer: Response;
  try {
    answer = await ask(url, {});
  } catch (error) {
    const what = "this platform does not fetch file: URLs; in Node pass await fs.openAsBlob(path)";
    throw new FileFormatError(what, 0, error);
  }
  return memory(await wholeBody(answer, maximum === 0 ? Number.MAX_SAFE_INTEGER : maximum));
}

/** Length of the whole file from "bytes 0-99/1000" of a 206. */
function rangeTotal(response: Response): number | undefined {
  if (response.status !== 206) return undefined;
  const found = /^bytes \d+-\d+\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  const total = Number(found?.[1] ?? Number.NaN);
  return Number.isSafeInteger(total) ? total : undefined;
}

/** The bytes of a body, which must not be more than `maximum`; what is beyond is not fetched. */
async function wholeBody(response: Response, maximum: number): Promise<Uint8Array> {
  if (!response.ok) throw new FileFormatError(`the server answered ${response.status} for ${response.url}`, 0);
  if (response.bodyUsed)
    throw new TypeError(expected("source", "a Response with its body", "one that was read before"));
  if (response.body === null) return new Uint8Array(0);
  const parts: Uint8Array[] = [];
  let total = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    total += value.length;
    if (total > maximum) {
      await reader.cancel();
      throw new FileFormatError(`the file is larger than maximumBytes, ${maximum}`, maximum);
    }
    parts.push(value);
  }
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
