// The format: published files, the six classes of bugs that other readers had, mutated headers, the writer's bytes.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { capabilities, tensor, zeros } from "../../bindings/index.js";
import {
  FileFormatError,
  openSafetensors,
  type SafetensorsFile,
  type StoredTensor,
  streamSafetensors,
  writeSafetensors,
} from "../../bindings/safetensors.js";
import { publishedCases } from "../support/cases.js";

interface Vector {
  kind: "valid" | "invalid";
  name: string;
  bytes_base64: string;
  expected: {
    tensors?: Record<string, { dtype: string; shape: number[]; values: number[] }>;
    metadata?: Record<string, string> | null;
  };
}

const published = publishedCases<{ cases: Vector[]; dtype_bits: Record<string, number> }>("safetensors-vectors.json");
const vectors = published?.cases ?? [];

/** A file with this header and so many bytes behind it. */
function fileOf(header: string | Uint8Array, dataBytes: number, length?: bigint): Uint8Array {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const file = new Uint8Array(8 + json.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  file.set(json, 8);
  return file;
}

/** Every tensor as stored bytes: what a file holds. */
async function contents(file: SafetensorsFile): Promise<Map<string, StoredTensor>> {
  const found = new Map<string, StoredTensor>();
  for (const name of file.names) {
    const { dtype, shape } = file.info(name);
    found.set(name, { dtype, shape, bytes: await file.bytes(name) });
  }
  return found;
}

describe.skipIf(vectors.length === 0)("published files", () => {
  test.each(vectors)("safetensors: $name is $kind", async ({ kind, bytes_base64, expected }) => {
    const bytes = new Uint8Array(Buffer.from(bytes_base64, "base64"));
    if (kind === "invalid") {
      await expect(openSafetensors(bytes)).rejects.toThrow(FileFormatError);
      return;
    }
    const file = await openSafetensors(bytes);
    expect({ ...file.metadata }).toEqual(expected.metadata ?? {});
    expect([...file.names].sort()).toEqual(Object.keys(expected.tensors ?? {}).sort());
    for (const [name, { dtype, shape, values }] of Object.entries(expected.tensors ?? {})) {
      expect(file.info(name)).toMatchObject({ dtype, shape });
      const found = await file.tensor(name);
      expect(found.shape).toEqual(shape);
      expect(Array.from(found.data)).toEqual(values);
      found.dispose();
    }
  });

  test("the writer makes the reference's bytes", () => {
    const vector = vectors.find(({ name }) => name === "rust_serialization_f32") as Vector;
    const written = writeSafetensors({ "attn.0": { data: Float32Array.of(0, 1, 2, 3, 4, 5), shape: [1, 2, 3] } });
    expect(Buffer.from(written).toString("base64")).toBe(vector.bytes_base64);
  });
});

describe("what a reader must refuse", () => {
  const entry = (more: string) => `{"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2]${more}}}`;
  const rows: [string, Uint8Array, RegExp][] = [
    ["nothing", new Uint8Array(0), /at least 8 bytes/],
    ["a header that is longer than the file", fileOf("{}", 0, 3n), /past the end/],
    ["a header above the limit", fileOf("{}", 0, 100_000_001n), /above 100000000/],
    ["a length above 2^53", fileOf("{}", 0, 2n ** 63n + 2n), /above/],
    ["text that is not UTF-8", fileOf(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d), 0), /UTF-8/],
    ["a byte order mark", fileOf("\ufeff{}", 0), /not JSON/],
    ["an array", fileOf("[]", 0), /not a JSON object/],
    [
      "two equal keys, equal entries",
      fileOf(entry("").replace("}}", '},"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}'), 2),
      /twice/,
    ],
    ["two equal keys inside a tensor", fileOf(entry(',"dtype":"U8"'), 2), /twice/],
    ["two equal keys inside the metadata", fileOf('{"__metadata__":{"a":"1","a":"1"}}', 0), /twice/],
    ["two spellings of one key", fileOf(entry(',"\\u0064type":"U8"'), 2), /twice/],
    ["a fraction", fileOf('{"t":{"dtype":"U8","shape":[2.0],"data_offsets":[0,2]}}', 2), /unsigned integer/],
    ["an exponent", fileOf('{"t":{"dtype":"U8","shape":[2e0],"data_offsets":[0,2]}}', 2), /unsigned integer/],
    ["minus zero", fileOf('{"t":{"dtype":"U8","shape":[2],"data_offsets":[-0,2]}}', 2), /unsigned integer/],
    [
      "a product of lengths that is zero in 64 bits",
      fileOf('{"t":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}', 0),
      /too large/,
    ],
    ["a shape beyond 2^53", fileOf('{"t":{"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,2]}}', 2), /2\^53/],
    [
      "tensors on one place",
      fileOf(
        '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
        2,
      ),
      /starts at byte 0/,
    ],
    [
      "tensors that overlap",
      fileOf(
        '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}',
        3,
      ),
      /starts at byte 1/,
    ],
    [
      "a first tensor that does not start at 0",
      fileOf('{"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}', 3),
      /starts at byte 1/,
    ],
    ["bytes behind the last tensor", fileOf(entry(""), 3), /take 2 bytes, the file has 3/],
    ["a file cut short", fileOf(entry(""), 1), /cut short/],
    ["an end before its begin", fileOf('{"t":{"dtype":"U8","shape":[],"data_offsets":[1,0]}}', 0), /span -1/],
    ["half bytes", fileOf('{"t":{"dtype":"F4","shape":[1,3],"data_offsets":[0,2]}}', 2), /whole bytes/],
    ["F4 with too many bytes", fileOf('{"t":{"dtype":"F4","shape":[1,2],"data_offsets":[0,2]}}', 2), /span 2 bytes/],
    [
      "half a surrogate pair in a name",
      fileOf('{"\\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}', 0),
      /surrogate/,
    ],
    ["metadata that are a list", fileOf('{"__metadata__":["a"]}', 0), /not an object/],
    ["a depth bomb in an unknown field", fileOf(`{"t":{"x":${"[".repeat(2e5)}`, 2), /not JSON/],
  ];

  test.each(rows)("safetensors: %s", async (_, bytes, message) => {
    await expect(openSafetensors(bytes)).rejects.toThrow(FileFormatError);
    await expect(openSafetensors(bytes)).rejects.toThrow(message);
  });

  test("an unknown field of a tensor is passed over, deep ones too, and zero-size tensors share a place", async () => {
    const deep = `{"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"x":${"[".repeat(2000)}${"]".repeat(2000)}},`;
    const file = await openSafetensors(
      fileOf(
        `${deep}"a":{"dtype":"F32","shape":[0,3],"data_offsets":[2,2]},"b":{"dtype":"F32","shape":[0],"data_offsets":[2,2]}}`,
        2,
      ),
    );
    expect(file.names).toEqual(["t", "a", "b"]);
    expect((await file.tensor("a")).shape).toEqual([0, 3]);
  });

  test("names that objects have are names like others", async () => {
    const names = ["__proto__", "constructor", "toString", "hasOwnProperty"];
    const file = await openSafetensors(writeSafetensors(new Map(names.map((name, i) => [name, [i]]))));
    for (const [i, name] of names.entries()) expect((await file.tensor(name)).toArray()).toEqual([i]);
    expect(() => file.info("valueOf")).toThrow(RangeError);
    const metadata = JSON.parse('{"__proto__":"x"}');
    const second = await openSafetensors(writeSafetensors({}, { metadata }));
    expect(Object.keys(second.metadata)).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf({})).toBe(Object.prototype);
  });

  test("100,000 names for one place are refused as fast as the header is parsed", async () => {
    const one = (i: number) => `"t${i}":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}`;
    const header = `{${Array.from({ length: 100_000 }, (_, i) => one(i)).join(",")}}`;
    await expect(openSafetensors(fileOf(header, 8))).rejects.toThrow(/starts at byte 0/);
  });

  const foreign: [string, Uint8Array, RegExp][] = [
    ["a zip archive", Buffer.from("PK\x03\x04\x14\x00\x00\x00\x08\x00archive", "latin1"), /PyTorch/],
    ["a pickle", Buffer.from("\x80\x02}q\x00X\x05\x00\x00\x00hello", "latin1"), /pickled/],
    ["GGUF", Buffer.from("GGUF\x03\x00\x00\x00\x00\x00", "latin1"), /GGUF/],
    ["an ONNX adapter", Buffer.from("\x14\x00\x00\x00TORT\x00\x00", "latin1"), /onnx_adapter/],
    ["a Git LFS pointer", Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:00"), /git lfs pull/],
    ["an HTML page", Buffer.from("\n<!DOCTYPE html><html><head>"), /HTML page/],
  ];

  test.each(foreign)("safetensors: %s is named", async (_, bytes, message) => {
    await expect(openSafetensors(new Uint8Array(bytes))).rejects.toThrow(message);
  });
});

describe("mutated headers", () => {
  const makeSeeds = () => [
    writeSafetensors(
      { a: [[1, 2]], b: tensor(Float32Array.of(1, 2, 3)), ["ключ"]: [] },
      { metadata: { format: "pt" } },
    ),
    writeSafetensors({
      q: { dtype: "I64", shape: [2], bytes: new Uint8Array(16) },
      r: { dtype: "F4", shape: [2, 2], bytes: new Uint8Array(2) },
    }),
    ...vectors.map(({ bytes_base64 }) => new Uint8Array(Buffer.from(bytes_base64, "base64"))),
  ];
  const change = fc.record({
    seed: fc.nat(),
    edits: fc.array(fc.tuple(fc.nat(4096), fc.nat(255)), { minLength: 1, maxLength: 4 }),
    drop: fc.tuple(fc.nat(4096), fc.nat(3)),
    digit: fc.boolean(),
  });

  test("20,000 mutations give a typed error, or tensors that are written and read again unchanged", async () => {
    const seeds = makeSeeds().filter((bytes) => bytes.length < 4096);
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(change, async ({ seed, edits, drop, digit }) => {
        const bytes = (seeds[seed % seeds.length] as Uint8Array).slice();
        for (const [at, value] of edits) bytes[at % bytes.length] = digit ? 0x30 + (value % 10) : value;
        const cut = drop[0] % bytes.length;
        bytes.copyWithin(cut, cut + drop[1]);
        let file: SafetensorsFile;
        try {
          file = await openSafetensors(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(FileFormatError);
          return;
        }
        accepted++;
        const found = await contents(file);
        const again = await openSafetensors(writeSafetensors(found, { metadata: file.metadata }));
        expect(new Map([...(await contents(again))].sort())).toEqual(new Map([...found].sort()));
        expect({ ...again.metadata }).toEqual({ ...file.metadata });
      }),
      { numRuns: 20_000, seed: 20261122 },
    );
    expect(accepted).toBeGreaterThan(100);
  });
});

describe("writeSafetensors", () => {
  test("tensors stand by size of their elements, then by name in the order of code points", async () => {
    const half: StoredTensor = { dtype: "F16", shape: [1], bytes: new Uint8Array(2) };
    const file = await openSafetensors(
      writeSafetensors({
        z: [1],
        a: half,
        "\u{1f600}": tensor(Float32Array.of(1)),
        "\uffee": tensor(Float32Array.of(2)),
        b: half,
      }),
    );
    expect(file.names).toEqual(["z", "\uffee", "\u{1f600}", "a", "b"]);
  });

  test("a file of nothing, of empty tensors, of a scalar, of a transposed view", async () => {
    expect(Buffer.from(writeSafetensors({})).toString("base64")).toBe("CAAAAAAAAAB7fSAgICAgIA==");
    const a = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const file = await openSafetensors(
      writeSafetensors({ empty: zeros([0, 3]), scalar: zeros([]), turned: a.transpose() }),
    );
    expect((await file.tensor("empty")).shape).toEqual([0, 3]);
    expect((await file.tensor("scalar")).shape).toEqual([]);
    expect((await file.tensor("turned")).toArray()).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
    ]);
    expect(a.toArray()).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
  });

  const wrong: [string, () => unknown, new (...args: never[]) => Error][] = [
    ["a reserved name", () => writeSafetensors({ __metadata__: [1] }), RangeError],
    ["half a surrogate pair", () => writeSafetensors({ "\ud800": [1] }), RangeError],
    ["metadata that are no texts", () => writeSafetensors({}, { metadata: { a: 1 as never } }), TypeError],
    ["an unknown type", () => writeSafetensors({ a: [1] }, { dtype: "F8" as never }), RangeError],
    ["an unknown option", () => writeSafetensors({ a: [1] }, { type: "F32" } as never), TypeError],
    [
      "bytes that are too few",
      () => writeSafetensors({ a: { dtype: "I32", shape: [2], bytes: new Uint8Array(7) } }),
      RangeError,
    ],
    ["half bytes", () => writeSafetensors({ a: { dtype: "F4", shape: [3], bytes: new Uint8Array(2) } }), RangeError],
    ["no tensor", () => writeSafetensors({ a: "x" as never }), TypeError],
    ["no object", () => writeSafetensors([[1]] as never), TypeError],
  ];
  test.each(wrong)("writeSafetensors refuses %s and leaves memory as it was", (_, call, kind) => {
    const { usedBytes } = capabilities();
    expect(call).toThrow(kind);
    expect(capabilities().usedBytes).toBe(usedBytes);
  });

  test("a header above 100,000,000 bytes is refused", () => {
    const long = "x".repeat(50_000_001);
    expect(() => writeSafetensors({}, { metadata: { [long]: long } })).toThrow(/header of at most/);
  });

  test("a stream has the same bytes, and checks the pieces it is given", async () => {
    const a = tensor(Float32Array.from({ length: 100_000 }, (_, i) => i));
    const stored = { dtype: "I64", shape: [2], bytes: new Uint8Array(16).fill(7) } as const;
    const read = async (stream: ReadableStream<Uint8Array>) => new Uint8Array(await new Response(stream).arrayBuffer());
    const { usedBytes } = capabilities();
    const pieces: StoredTensor = {
      ...stored,
      bytes: async function* () {
        for (let i = 0; i < 16; i += 5) yield stored.bytes.subarray(i, i + 5);
      },
    };
    const streamed = await read(streamSafetensors({ a, s: pieces }, { dtype: "BF16" }));
    expect(Buffer.compare(streamed, writeSafetensors({ a, s: stored }, { dtype: "BF16" }))).toBe(0);
    for (const bytes of [8, 24]) {
      const short: StoredTensor = { ...stored, bytes: () => [new Uint8Array(bytes)] };
      await expect(read(streamSafetensors({ s: short }))).rejects.toThrow(/16 bytes/);
    }
    const stream = streamSafetensors({ a });
    await stream.cancel();
    expect(capabilities().usedBytes).toBe(usedBytes);
  });
});
