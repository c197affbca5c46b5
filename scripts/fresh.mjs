// Builds, unless dist/ is newer than everything that it is made from. What the build says goes to standard error.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const built = join(root, "dist/safetensors.js");

/** When the newest file below a path was written; what the build itself writes does not count. */
function newest(path) {
  const found = statSync(path);
  if (!found.isDirectory()) return found.mtimeMs;
  return Math.max(
    0,
    ...readdirSync(path)
      .filter((name) => name !== "generated")
      .map((name) => newest(join(path, name))),
  );
}

const sources = [
  "assembly",
  "bindings",
  "scripts",
  "asconfig.json",
  "package.json",
  "tsconfig.json",
  "tsconfig.build.json",
];
const isFresh =
  existsSync(built) && statSync(built).mtimeMs > Math.max(...sources.map((name) => newest(join(root, name))));
if (!isFresh) {
  const { status } = spawnSync(process.execPath, [join(root, "scripts/build.mjs")], { stdio: ["ignore", 2, 2] });
  process.exitCode = status ?? 1;
}
