// Teams of two and of four: every operation that they share gives what it gives on one thread.
import { defineConfig } from "vitest/config";
import { project } from "./vitest.config.js";

const shared =
  "tests/{blas,factors,linalg,lora,pca,quantized,randomized,safetensors,sparse,svd,svds,training}/**/*.test.ts";

export default defineConfig({
  test: { maxWorkers: 2, projects: [project("simd", shared, 2), project("relaxed", shared, 4)] },
});
