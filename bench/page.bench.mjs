// A page while a worker computes: its frames, the longest of the library's own tasks on its thread, and how soon an abort ends a
// computation; with shared memory and without. Needs the engines of tests/runtimes and a Chromium.

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import process from "node:process";

const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};
const KINDS = [
  { name: "isolated page", headers: ISOLATION },
  { name: "page", headers: {} },
];
const PAGE = new URL("support/page/", import.meta.url);
const DIST = new URL("../dist/", import.meta.url);
const TYPES = { html: "text/html", mjs: "text/javascript", js: "text/javascript" };
const SECONDS = 120;

export async function bench() {
  const rows = [];
  const figures = [];
  for (const { name, headers } of KINDS) {
    process.stderr.write(`  ${name} …\n`);
    const found = await measure(headers);
    const figure = (what, measured, bar) => figures.push({ what: `${name}: ${what}`, measured, ...bar });
    figure("frames while a 1024² SVD runs", found.fps, { atLeast: 50, unit: " /s" });
    figure("longest own task on the page's thread", found.task, { atMost: 8, unit: " ms" });
    for (const [what, delay] of Object.entries(found.aborts)) {
      figure(`abort of ${what}, the longest of 10`, delay, { atMost: 50, unit: " ms" });
    }
    const ms = 1e3 * found.seconds;
    rows.push({ operation: "page", name: `${name}: svd f64 1024²`, bestMs: ms, medianMs: ms, samples: 1 });
    rows.push({
      operation: "page",
      name: `${name}: longest frame`,
      bestMs: found.gap,
      medianMs: found.gap,
      samples: 1,
    });
  }
  return { rows, figures };
}

/** What the page found under these headers. */
async function measure(headers) {
  const server = createServer((request, response) => serve(request.url, headers, response));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { chromium } = await import("../tests/runtimes/node_modules/playwright-core/index.mjs").catch((error) => {
    throw new Error("no engines: npm run test:runtimes installs them", { cause: error });
  });
  const executablePath = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/google-chrome"].find(
    (path) => path !== undefined && existsSync(path),
  );
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
  try {
    const page = await browser.newPage();
    return await new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error("the page does not end")), 1e3 * SECONDS).unref();
      page.on("console", (message) => {
        const text = message.text();
        if (text.startsWith("found ")) resolve(JSON.parse(text.slice("found ".length)));
      });
      page.on("pageerror", reject);
      page.goto(`http://127.0.0.1:${server.address().port}/page.html`).catch(reject);
    });
  } finally {
    await browser.close();
    server.close();
  }
}

async function serve(path, headers, response) {
  const file = path.startsWith("/dist/") ? new URL(`.${path.slice("/dist".length)}`, DIST) : new URL(`.${path}`, PAGE);
  try {
    const body = await readFile(file);
    response.writeHead(200, {
      "Content-Type": TYPES[path.split(".").at(-1)] ?? "application/octet-stream",
      ...headers,
    });
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
}
