// npm run test:web: the built page in Debian's Chromium (CHROMIUM names another one), its numbers beside Node's.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { exports } = JSON.parse(readFileSync(`${root}package.json`, "utf8"));

export default defineConfig({
  root,
  // the page's modules import the package by its name, here as there
  resolve: {
    alias: Object.entries(exports).flatMap(([name, target]) =>
      typeof target === "object"
        ? [{ find: new RegExp(`^lowrank${name.slice(1)}$`), replacement: `${root}${target.default.slice(2)}` }]
        : [],
    ),
  },
  test: {
    include: ["tests/web/*.test.mjs"],
    globalSetup: ["tests/web/support/setup.mjs"],
    testTimeout: 300_000,
    hookTimeout: 60_000,
    // one browser at a time
    fileParallelism: false,
    pool: "forks",
    server: { deps: { external: [/\/dist\//] } },
  },
});
