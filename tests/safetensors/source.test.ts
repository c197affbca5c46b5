// Where bytes come from: memory, blobs, readers, responses, servers of every kind; models in several files.

import { mkdtempSync, openAsBlob, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FileFormatError, openModel, openSafetensors, writeSafetensors } from "../../bindings/safetensors.js";

const large = Float32Array.from({ length: 100_000 }, (_, i) => i);
let file: Uint8Array<ArrayBuffer>;

type Handler = (request: IncomingMessage, response: ServerResponse, url: URL) => void;
const routes: Record<string, Handler> = {};
const requests: string[] = [];
const server = createServer((request, response) => {
  const url = new URL(request.url ?? "/", "http://localhost");
  requests.push(request.headers.range ?? "whole");
  const handler = routes[url.pathname];
  if (handler === undefined) response.writeHead(404).end("not here");
  else handler(request, response, url);
});
const at = (path: string) => new URL(path, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);

/** Serves ranges of `bytes`. */
function ranges(bytes: Uint8Array, headers: Record<string, string> = {}): Handler {
  return ({ headers: asked }, response) => {
    const found = /^bytes=(\d+)-(\d+)$/.exec(asked.range ?? "");
    if (found === null) return void response.writeHead(200, headers).end(bytes);
    const [from, to] = [Number(found[1]), Math.min(Number(found[2]), bytes.length - 1)];
    if (from >= bytes.length) return void response.writeHead(416).end();
    const range = `bytes ${from}-${to}/${bytes.length}`;
    response.writeHead(206, { ...headers, "content-range": range }).end(bytes.subarray(from, to + 1));
  };
}

const sumOf = (values: Iterable<number>) => Array.from(values).reduce((sum, x) => sum + x, 0);

beforeAll(async () => {
  file = writeSafetensors({ a: [[1, 2]], large });
  routes["/ranges"] = ranges(file, { etag: '"one"' });
  routes["/moved"] = (_, response) => void response.writeHead(302, { location: "/ranges" }).end();
  routes["/whole"] = (_, response) => void response.writeHead(200).end(file);
  routes["/compressed"] = (_, response) =>
    void response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(file));
  routes["/no-length"] = (_, response) => {
    response.writeHead(200, { "transfer-encoding": "chunked" });
    response.write(file.subarray(0, 1000));
    response.end(file.subarray(1000));
  };
  routes["/ranges-without-total"] = (_, response) =>
    void response.writeHead(206, { "content-range": "bytes 0-99/*" }).end(file.subarray(0, 100));
  routes["/empty"] = ranges(new Uint8Array(0));
  let version = 0;
  routes["/changes"] = (request, response, url) => {
    if (version++ === 0) ranges(file, { etag: '"one"' })(request, response, url);
    else response.writeHead(200, { etag: '"two"' }).end(file);
  };
  routes["/asks"] = (request, response, url) => {
    if (request.headers.authorization === "Bearer x") ranges(file)(request, response, url);
    else response.writeHead(401).end();
  };
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

describe("openSafetensors", () => {
  test("takes bytes at any offset, buffers, blobs and readers", async () => {
    const shifted = new Uint8Array(file.length + 3);
    shifted.set(file, 3);
    const sources = [
      file,
      file.buffer,
      shifted.subarray(3),
      new Blob([file]),
      { size: file.length, read: (offset: number, length: number) => file.slice(offset, offset + length) },
      new Response(file),
    ];
    for (const source of sources) {
      const opened = await openSafetensors(source);
      expect(opened.names).toEqual(["a", "large"]);
      const [a, found] = [await opened.tensor("a"), await opened.tensor("large")];
      expect(a.toArray()).toEqual([[1, 2]]);
      expect(sumOf(found.data)).toBe(4999950000);
      a.dispose();
      found.dispose();
    }
  });

  test("reads a file of Node's by fs.openAsBlob; a file: URL is refused with that advice", async () => {
    const folder = mkdtempSync(join(tmpdir(), "lowrank-"));
    try {
      const path = join(folder, "model.safetensors");
      writeFileSync(path, file);
      const opened = await openSafetensors(await openAsBlob(path));
      expect((await opened.tensor("a")).toArray()).toEqual([[1, 2]]);
      await expect(openSafetensors(pathToFileURL(path))).rejects.toThrow(/openAsBlob/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("a reader that gives too little, or something else", async () => {
    const size = file.length;
    await expect(openSafetensors({ size, read: () => new Uint8Array(3) })).rejects.toThrow(/gave 3 bytes/);
    await expect(openSafetensors({ size, read: () => "x" as never })).rejects.toThrow(/gave "x"/);
    await expect(openSafetensors({ size: -1, read: () => new Uint8Array(0) })).rejects.toThrow(RangeError);
  });

  test.each([
    ["a string", "x"],
    ["null", null],
    ["a number", 3],
    ["an object", {}],
  ])("%s is a TypeError", async (_, value) => {
    await expect(openSafetensors(value as never)).rejects.toThrow(/"source" expected bytes, a Blob/);
  });

  test("an unknown option, a signal that was aborted", async () => {
    await expect(openSafetensors(file, { header: {} } as never)).rejects.toThrow(TypeError);
    const reason = new Error("enough");
    await expect(openSafetensors(file, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const opened = await openSafetensors(at("/ranges"), { signal: controller.signal });
    controller.abort(reason);
    await expect(opened.tensor("large")).rejects.toBe(reason);
  });

  test("after close() every call is refused; an unknown name is a RangeError", async () => {
    const opened = await openSafetensors(file);
    expect(() => opened.info("b")).toThrow(RangeError);
    await expect(opened.tensor("b")).rejects.toThrow(RangeError);
    await expect(opened.tensor("a", { dtype: "f16" as never })).rejects.toThrow(RangeError);
    opened.close();
    expect(() => opened.info("a")).toThrow(/closed/);
    await expect(opened.bytes("a")).rejects.toThrow(/closed/);
  });
});

describe("URLs", () => {
  test("only the ranges that are asked for are fetched, also after a redirect", async () => {
    for (const path of ["/ranges", "/moved"]) {
      requests.length = 0;
      const opened = await openSafetensors(at(path));
      const before = requests.length;
      expect((await opened.tensor("a")).toArray()).toEqual([[1, 2]]);
      expect(requests.length).toBe(before);
      expect(sumOf((await opened.tensor("large")).data)).toBe(4999950000);
      expect(requests.length).toBe(before + 1);
      expect(requests).not.toContain("whole");
    }
  });

  test("headers go along", async () => {
    await expect(openSafetensors(at("/asks"))).rejects.toThrow(/401/);
    const opened = await openSafetensors(at("/asks"), { headers: { Authorization: "Bearer x" } });
    expect((await opened.tensor("large")).size).toBe(100_000);
  });

  test.each(["/whole", "/compressed", "/no-length", "/ranges-without-total"])(
    "%s: an error, or read whole within maximumBytes",
    async (path) => {
      await expect(openSafetensors(at(path))).rejects.toThrow(/maximumBytes/);
      await expect(openSafetensors(at(path), { maximumBytes: 1000 })).rejects.toThrow(FileFormatError);
      if (path === "/ranges-without-total") return;
      const opened = await openSafetensors(at(path), { maximumBytes: 2 ** 20 });
      expect(sumOf((await opened.tensor("large")).data)).toBe(4999950000);
    },
  );

  test("what is missing, empty, or changed while it is read", async () => {
    await expect(openSafetensors(at("/nothing"))).rejects.toThrow(/404/);
    await expect(openSafetensors(at("/empty"))).rejects.toThrow(/at least 8 bytes/);
    const opened = await openSafetensors(at("/changes"));
    await expect(opened.tensor("large")).rejects.toThrow(/changed/);
  });
});

describe("openModel", () => {
  const one = () => writeSafetensors({ "a.weight": [[1, 2]] }, { metadata: { format: "pt" } });
  const two = () => writeSafetensors({ "b.weight": [[3]] });
  const index = (map: Record<string, string>, more = {}) =>
    new TextEncoder().encode(JSON.stringify({ metadata: { total_size: 24 }, weight_map: map, ...more }));
  const map = { "a.weight": "model-1.safetensors", "b.weight": "model-2.safetensors" };
  const named = () => ({ "model-1.safetensors": one(), "model-2.safetensors": two() });

  test("shards by name, as a list, with an index, from a server", async () => {
    routes["/m/model.safetensors.index.json"] = (_, response) => void response.end(index(map));
    routes["/m/model-1.safetensors"] = ranges(one());
    routes["/m/model-2.safetensors"] = ranges(two());
    const models = [
      named(),
      [one(), two()],
      { ...named(), "model.safetensors.index.json": index(map) },
      at("/m/model.safetensors.index.json"),
    ];
    for (const files of models) {
      const model = await openModel(files);
      expect(model.names).toEqual(["a.weight", "b.weight"]);
      expect((await model.tensor("a.weight")).toArray()).toEqual([[1, 2]]);
      expect((await model.tensor("b.weight")).toArray()).toEqual([[3]]);
      expect(model.metadata.format).toBe("pt");
    }
  });

  test("a missing shard, a tensor twice, an index that is wrong or leads elsewhere", async () => {
    const wrong: [Record<string, Uint8Array> | Uint8Array[], RegExp][] = [
      [{ "model-1.safetensors": one(), "model.safetensors.index.json": index(map) }, /model-2.*not given/],
      [[one(), one()], /stands in/],
      [{ ...named(), "x.index.json": index({ "b.weight": "model-1.safetensors" }) }, /where it is not/],
      [{ ...named(), "x.index.json": index({ "c.weight": "model-1.safetensors" }) }, /where it is not/],
      [{ ...named(), "x.index.json": index({ "a.weight": "../model-1.safetensors" }) }, /places tensor/],
      [{ ...named(), "x.index.json": new TextEncoder().encode("{") }, /not JSON/],
      [{ ...named(), "x.index.json": new TextEncoder().encode("{}") }, /weight_map/],
    ];
    for (const [files, message] of wrong) await expect(openModel(files)).rejects.toThrow(message);
    await expect(openModel("x" as never)).rejects.toThrow(TypeError);
  });
});
