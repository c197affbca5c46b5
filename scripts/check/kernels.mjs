// The kernels depend on their source alone: compiled again elsewhere they are the same bytes.
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileKernels, VARIANTS } from "../kernels.mjs";
import { ROOT } from "../packed.mjs";

/** Compiles all variants in a copy of the source and compares them with the package's. */
export async function reproducible({ installed }) {
  const folder = mkdtempSync(join(tmpdir(), "lowrank-kernels-"));
  try {
    cpSync(join(ROOT, "asconfig.json"), join(folder, "asconfig.json"));
    cpSync(join(ROOT, "assembly"), join(folder, "assembly"), { recursive: true });
    await compileKernels(folder, VARIANTS);
    const differ = VARIANTS.filter((variant) => {
      const again = readFileSync(join(folder, `build/kernel.${variant}.wasm`));
      return !again.equals(readFileSync(join(installed, `dist/kernel.${variant}.wasm`)));
    });
    if (differ.length > 0) throw new Error(`a second build gives other bytes: ${differ.join(", ")}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return `${VARIANTS.length} kernels, the same bytes`;
}
