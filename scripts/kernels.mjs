// Compiling the kernels; shared by the build and by the check that two builds give the same bytes.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import asc from "assemblyscript/asc";
import { orderFunctions } from "./order_functions.mjs";

/** What is released: strict or fused multiply-add, on plain or shared memory. Targets of asconfig.json, as is "debug". */
export const VARIANTS = ["simd", "relaxed", "simd-shared", "relaxed-shared"];

/** Compiles targets of the asconfig.json in `folder` into its build/. */
export async function compileKernels(folder, targets) {
  for (const target of targets) {
    const { error, stderr } = await asc.main(
      ["--config", "asconfig.json", "--baseDir", folder, "--target", target],
      {},
    );
    if (error) throw new Error(`asc --target ${target}\n${stderr}`, { cause: error });
    if (target === "debug") continue;
    const file = join(folder, `build/kernel.${target}.wasm`);
    await writeFile(file, orderFunctions(await readFile(file)));
  }
}
