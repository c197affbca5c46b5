// Compiling the kernels; shared by the build and by the check that two builds give the same bytes.
import asc from "assemblyscript/asc";

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
  }
}
