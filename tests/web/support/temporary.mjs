// Files that a visitor would choose, for as long as the tests run.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folder = mkdtempSync(join(tmpdir(), "lowrank-web-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

/** A file of this name; its path. */
export function fileOf(name, bytes) {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}
