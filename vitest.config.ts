// One suite, run over every build: strict and relaxed on shared memory, debug (assertions, guard words) on plain memory.
// vitest.threads.config.ts runs it with teams, vitest.large.config.ts has what takes minutes.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const hasRelaxed = Number(process.versions.node.split(".")[0]) >= 21;

/** What npm test does not run. */
const OTHERS = ["tests/**/*.large.test.ts", "tests/runtimes/**", "tests/types/**", "tests/web/**"];
/** What the arithmetic of a build does not touch: the strict build is enough for it, and the debug build with its guard words. */
const ALIKE = [
  "tests/cli/**",
  "tests/memory/**",
  "tests/safetensors/{format,source}.test.ts",
  "tests/threads/team.test.ts",
];

export function project(name: "simd" | "relaxed" | "debug", pattern = "tests/**/*.test.ts", threads = 1) {
  return {
    // the examples import the package by its name
    resolve: {
      alias: [
        { find: /^lowrank$/, replacement: fileURLToPath(new URL("bindings/index.ts", import.meta.url)) },
        { find: /^lowrank\/(\w+)$/, replacement: fileURLToPath(new URL("bindings/$1.ts", import.meta.url)) },
      ],
    },
    test: {
      name: threads === 1 ? name : `${name}, ${threads} threads`,
      include: [pattern],
      exclude: pattern.includes("large") ? [] : [...OTHERS, ...(name === "relaxed" ? ALIKE : [])],
      setupFiles: ["tests/support/setup.ts"],
      env: { LOWRANK_BUILD: name, LOWRANK_THREADS: `${threads}` },
      testTimeout: 120_000,
      pool: "forks" as const,
      execArgv: ["--expose-gc", ...(name === "relaxed" && !hasRelaxed ? ["--experimental-wasm-relaxed-simd"] : [])],
    },
  };
}

// vitest would leave a core of two idle
export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [project("simd"), project("relaxed"), project("debug")],
  },
});
