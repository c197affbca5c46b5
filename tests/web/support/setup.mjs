// What the tests of the page need: the programs that drive it, and a server of the built page.

import { existsSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { npm } from "../../../scripts/packed.mjs";

const HERE = dirname(dirname(fileURLToPath(import.meta.url)));
const BUILT = join(HERE, "../../web/dist");

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".jpg": "image/jpeg",
};

const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export default async function setup(project) {
  const [lock, installed] = ["package-lock.json", "node_modules/.package-lock.json"].map((name) => join(HERE, name));
  if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(lock).mtimeMs) {
    npm(["ci", "--prefix", HERE, "--no-audit", "--no-fund"], { cwd: HERE });
  }
  const server = createServer(({ url }, response) => serve(new URL(url, "http://localhost").pathname, response));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  project.provide("origin", `http://127.0.0.1:${server.address().port}`);
  return () => server.close();
}

/** /plain/a/page/ and /isolated/a/page/ are the page in a folder, without headers and with those that isolate it. */
async function serve(pathname, response) {
  const [, kind, path] = /^\/(plain|isolated)\/a\/page\/(.*)$/.exec(pathname) ?? [];
  try {
    const body = await readFile(join(BUILT, normalize(`/${path || "index.html"}`)));
    const type = TYPES[extname(path || "index.html")] ?? "application/octet-stream";
    response.writeHead(200, { "Content-Type": type, ...(kind === "isolated" && ISOLATION) });
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
}
