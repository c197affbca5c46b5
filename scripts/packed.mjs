// The package as users get it: packed, and installed into an empty folder.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** Runs a program to its end; an Error with its output if it fails. */
export function execute(command, args, options = {}) {
  const { error, status, signal, stdout, stderr } = spawnSync(command, args, { encoding: "utf8", ...options });
  if (error !== undefined) throw error;
  if (status !== 0) {
    const [line] = args.join(" ").trim().split("\n", 1);
    throw new Error(`${command} ${line}: exit ${status ?? signal}\n${stdout}${stderr}`);
  }
  return stdout;
}

/** npm, also where it is a shell script. */
export function npm(args, options) {
  return execute("npm", args, { ...options, shell: process.platform === "win32" });
}

/**
 * Packs dist/ and installs the tarball into a temporary folder that is deleted when the process ends.
 * `files` are the paths in the tarball, `installed` is node_modules/lowrank.
 */
export function installPacked() {
  const folder = mkdtempSync(join(tmpdir(), "lowrank-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const packed = JSON.parse(npm(["pack", "--json", "--ignore-scripts", "--pack-destination", folder], { cwd: ROOT }));
  // newer versions of npm give an object by name
  const [{ filename, files }] = Object.values(packed);
  const tarball = join(folder, filename);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  npm(["install", tarball, "--prefix", folder, "--offline", "--no-audit", "--no-fund"], { cwd: folder });
  return { folder, tarball, files: files.map(({ path }) => path), installed: join(folder, "node_modules/lowrank") };
}
