// The form of the package: what the tarball holds, and what its modules import and do when they are loaded.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { build } from "esbuild";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { execute, ROOT } from "../packed.mjs";

const ALLOWED = /^(README\.md|CHANGELOG\.md|LICENSE|package\.json|dist\/.+\.(js|d\.ts|wasm)|dist\/LICENSE\..+\.txt)$/;
const REQUIRED = ["README.md", "CHANGELOG.md", "LICENSE", "package.json", "dist/LICENSE.assemblyscript-loader.txt"];

/** Entries that are modules: name → path of the built file below the package. */
export function entries(installed) {
  const { exports } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
  return Object.entries(exports).flatMap(([name, target]) =>
    typeof target === "object" ? [[name, target.default]] : [],
  );
}

/** The tarball holds what its exports name and nothing that a user does not need. */
export function contents({ files, installed }) {
  const problems = files.filter((file) => !ALLOWED.test(file)).map((file) => `${file} does not belong in the tarball`);
  for (const file of REQUIRED) if (!files.includes(file)) problems.push(`${file} is missing in the tarball`);
  const { exports, version } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
  const jsr = JSON.parse(readFileSync(join(ROOT, "jsr.json"), "utf8"));
  if (jsr.version !== version) problems.push(`jsr.json has version ${jsr.version}, package.json ${version}`);
  for (const [name, path] of entries(installed)) {
    if (jsr.exports[name] !== path) problems.push(`jsr.json has not "${name}": "${path}"`);
  }
  for (const [name, target] of Object.entries(exports)) {
    if (typeof target === "object" && Object.keys(target)[0] !== "types") problems.push(`"${name}": types come first`);
    for (const path of typeof target === "string" ? [target] : Object.values(target)) {
      if (!existsSync(join(installed, path))) problems.push(`"${name}" names ${path}, which is missing`);
    }
  }
  if (problems.length > 0) throw new Error(problems.join("\n"));
  return `${files.length} files`;
}

/** Bundles one module of the package as a page would load it; every import in it must be a file of the package. */
async function load(file, stdin) {
  const outside = [];
  const own = {
    name: "own files only",
    setup(bundle) {
      bundle.onResolve({ filter: /.*/ }, ({ path, resolveDir, kind }) => {
        if (kind === "entry-point") return undefined;
        if (kind === "dynamic-import" && stdin !== undefined) return { path, external: true };
        // the flag of package.json is put aside: what an import does shall show
        if (path.startsWith("./") || path.startsWith("../")) return { path: join(resolveDir, path), sideEffects: true };
        outside.push(path);
        return { path, external: true };
      });
    },
  };
  const { metafile, outputFiles } = await build({
    ...(stdin === undefined ? { entryPoints: [file] } : { stdin: { contents: stdin, resolveDir: dirname(file) } }),
    bundle: true,
    splitting: stdin === undefined,
    write: false,
    outdir: "out",
    format: "esm",
    platform: "neutral",
    metafile: true,
    logLevel: "silent",
    minify: true,
    supported: { "top-level-await": false },
    plugins: [own],
  });
  return { metafile, outputFiles, outside };
}

/** Workers' files are named word for word, as bundlers want it; elsewhere a module's own address says nothing in a bundle. */
const WORKER = /\bnew URL\("(\.\/[\w.]+\.js)", import\.meta\.url\)/g;

/**
 * No bare import, no node: import, no top-level await, no name of a module that is computed; import.meta only to name files of
 * workers that are there.
 */
export async function imports({ installed }) {
  const problems = [];
  for (const [name, path] of entries(installed)) {
    const { metafile, outside } = await load(join(installed, path));
    for (const specifier of outside)
      problems.push(`"${name}" imports "${specifier}", which is not a file of the package`);
    for (const input of Object.keys(metafile.inputs)) {
      const text = readFileSync(input, "utf8");
      for (const [, file] of text.matchAll(WORKER)) {
        if (!existsSync(join(dirname(input), file)))
          problems.push(`"${name}": ${relative(installed, input)} names ${file}`);
      }
      const rest = text.replace(WORKER, "").replace(/const here = import\.meta\.url;/, "");
      if (/\bimport\((?!\s*["'])|\bimport\.meta\b/.test(rest)) {
        problems.push(`"${name}": ${relative(installed, input)} computes the name of a module or uses import.meta`);
      }
    }
  }
  if (problems.length > 0) throw new Error(problems.join("\n"));
  return `${entries(installed).length} entries import their own files only`;
}

/** Bytes that stay of an entry that is imported and not used: what it does at import. */
export async function unusedBytes(installed, path) {
  const file = join(installed, path);
  const { outputFiles } = await load(file, `import "./${relative(dirname(file), file)}";`);
  return outputFiles[0].contents.length;
}

/** Importing an entry touches neither WebAssembly nor the globals, starts nothing, and works through require(). */
export function importEffects({ folder, installed }) {
  const globals = ["WebAssembly", "fetch", "Worker", "SharedArrayBuffer", "setTimeout"];
  for (const [name] of entries(installed)) {
    const specifier = join("lowrank", name);
    const script = `
      const load = async () => {
        await import("data:text/javascript,"); // what Node itself does at a first import
        const before = new Set(Reflect.ownKeys(globalThis));
        const real = ${JSON.stringify(globals)}.map((key) => [key, Object.getOwnPropertyDescriptor(globalThis, key)]);
        const used = [];
        for (const [key] of real) {
          Object.defineProperty(globalThis, key, { configurable: true, get: () => void used.push(key) });
        }
        await import(${JSON.stringify(specifier)});
        for (const [key, descriptor] of real) {
          if (descriptor === undefined) delete globalThis[key];
          else Object.defineProperty(globalThis, key, descriptor);
        }
        const added = Reflect.ownKeys(globalThis).filter((key) => !before.has(key)).map(String);
        if (added.length > 0) throw new Error("new globals: " + added);
        if (used.length > 0) throw new Error("uses " + used);
      };
      load();`;
    execute(process.execPath, ["--input-type=commonjs", "-e", script], { cwd: folder });
    execute(process.execPath, ["--input-type=commonjs", "-e", `require(${JSON.stringify(specifier)})`], {
      cwd: folder,
    });
  }
  return "nothing runs at import; require() of the modules works too";
}

/** publint's rules, every level. */
export async function publintRules({ tarball }) {
  const { messages, pkg } = await publint({ pack: { tarball: readFileSync(tarball) }, strict: true });
  if (messages.length > 0) throw new Error(messages.map((message) => formatMessage(message, pkg)).join("\n"));
  return "no message";
}

/** Are the types wrong? As a package of ES modules; the .wasm files have no types. */
export function typesResolve({ tarball, installed }) {
  const { exports } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
  const untyped = Object.keys(exports).filter((name) => /\.(wasm|js)$/.test(name));
  const cli = join(ROOT, "node_modules/@arethetypeswrong/cli/dist/index.js");
  const form = ["--profile", "esm-only", "--format", "ascii", "--no-color", "--no-emoji"];
  const args = [cli, tarball, ...form, "--exclude-entrypoints", ...untyped];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(stdout + stderr);
  return "no problem";
}
