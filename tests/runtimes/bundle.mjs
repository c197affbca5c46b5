// The page of bundled.mjs by each bundler that the README names, in folders below `folder`, as its section on bundlers says.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { build as esbuild, version as esbuildVersion } from "esbuild";
import { build as vite, version as viteVersion } from "vite";
import webpack from "webpack";

/** Name and version of each bundler, and its page's address below the folder. */
export async function bundle(folder) {
  return [
    { name: `Vite ${viteVersion}`, page: await byVite(folder) },
    { name: `webpack ${webpack.version}`, page: await byWebpack(folder) },
    { name: `esbuild ${esbuildVersion}`, page: await byEsbuild(folder) },
  ];
}

async function byVite(root) {
  const build = { outDir: "vite", target: "es2022", rollupOptions: { input: join(root, "bundled.html") } };
  await vite({ root, base: "./", configFile: false, logLevel: "error", build, worker: { format: "es" } });
  return "vite/bundled.html";
}

async function byWebpack(folder) {
  const output = { path: join(folder, "webpack"), filename: "bundled.mjs" };
  const compiler = webpack({ mode: "production", context: folder, entry: "./bundled.mjs", output });
  const stats = await promisify(compiler.run.bind(compiler))();
  if (stats.hasErrors()) throw new Error(stats.toString({ all: false, errors: true }));
  return page(folder, "webpack");
}

async function byEsbuild(folder) {
  await esbuild({
    absWorkingDir: folder,
    entryPoints: {
      bundled: "bundled.mjs",
      remote_worker: "lowrank/remote_worker.js",
      team_worker: "lowrank/team_worker.js",
    },
    bundle: true,
    splitting: true,
    format: "esm",
    outdir: "esbuild",
    logLevel: "silent",
  });
  return page(folder, "esbuild", "bundled.js");
}

/** The page beside a bundle. */
function page(folder, name, script = "bundled.mjs") {
  mkdirSync(join(folder, name), { recursive: true });
  const text = readFileSync(join(folder, "bundled.html"), "utf8");
  writeFileSync(join(folder, name, "bundled.html"), text.replace("bundled.mjs", script));
  return `${name}/bundled.html`;
}
