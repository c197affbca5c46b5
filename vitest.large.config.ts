// npm run test:large: the sizes that take minutes, over both release builds.
import { defineConfig } from "vitest/config";
import { project } from "./vitest.config.js";

const pattern = "tests/**/*.large.test.ts";

export default defineConfig({
  test: { maxWorkers: 2, projects: [project("simd", pattern), project("relaxed", pattern)] },
});
