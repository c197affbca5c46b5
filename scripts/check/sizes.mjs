// Sizes against scripts/limits.json.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { VARIANTS } from "../kernels.mjs";
import { ROOT } from "../packed.mjs";
import { entries, unusedBytes } from "./package.mjs";

const gzip = (file) => gzipSync(readFileSync(file), { level: 9 }).length;

/** A table of sizes; an Error with it if one is above its limit. */
export async function sizes({ installed }) {
  const limits = JSON.parse(readFileSync(join(ROOT, "scripts/limits.json"), "utf8"));
  const rows = [];
  for (const variant of VARIANTS) {
    rows.push([
      `kernel.${variant}.wasm, gzip`,
      gzip(join(installed, `dist/kernel.${variant}.wasm`)),
      limits.kernelGzip,
    ]);
  }
  rows.push(["page load of the default entry, gzip", await pageLoad(installed), limits.pageLoadGzip]);
  for (const [name, path] of entries(installed)) {
    rows.push([
      `what an unused import of "${name}" leaves`,
      await unusedBytes(installed, path),
      limits.unusedImportBytes,
    ]);
  }
  const table = rows
    .map(([what, bytes, limit]) => {
      const mark = bytes > limit ? "  too large" : "";
      return `${what.padEnd(44)} ${String(bytes).padStart(7)} of ${String(limit).padStart(7)} bytes${mark}`;
    })
    .join("\n");
  if (rows.some(([, bytes, limit]) => bytes > limit)) throw new Error(table);
  return table;
}

/** What a page fetches for `lowrank`: the entry and its static imports, the largest kernel module and its imports. */
async function pageLoad(installed) {
  const entry = join(installed, "dist/index.js");
  const { metafile } = await build({ entryPoints: [entry], bundle: true, write: false, metafile: true, format: "esm" });
  const inputs = new Map(Object.entries(metafile.inputs).map(([path, input]) => [join(process.cwd(), path), input]));
  const importsOf = (file, kind) =>
    inputs
      .get(file)
      .imports.filter((imported) => imported.kind === kind)
      .map(({ path }) => join(process.cwd(), path));
  const closure = (file, found = new Set()) => {
    if (!found.has(file)) for (const path of importsOf(file, "import-statement")) closure(path, found.add(file));
    return found.add(file);
  };
  const statics = closure(entry);
  const sum = (files) => [...files].reduce((bytes, file) => bytes + gzip(file), 0);
  const kernels = [...statics].flatMap((file) =>
    importsOf(file, "dynamic-import").map((kernel) => sum([...closure(kernel)].filter((f) => !statics.has(f)))),
  );
  if (kernels.length !== VARIANTS.length)
    throw new Error(`${dirname(entry)}: expected ${VARIANTS.length} kernel modules`);
  return sum(statics) + Math.max(...kernels);
}
