// npm run web, npm run web:build. The page is static files that work from any folder, without headers, and under the policy below.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { makeData } from "./data.mjs";

const root = fileURLToPath(new URL(".", import.meta.url));
const repository = fileURLToPath(new URL("../", import.meta.url));
const { exports } = JSON.parse(readFileSync(`${repository}package.json`, "utf8"));

/** The package as it is built, by the names that it has for everybody. */
const alias = Object.entries(exports).flatMap(([name, target]) =>
  typeof target === "object"
    ? [{ find: new RegExp(`^lowrank${name.slice(1)}$`), replacement: `${repository}${target.default.slice(2)}` }]
    : [],
);

/** Everything from the page's own place; the kernel is compiled; nothing else is allowed. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' blob:",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

/** With them, memory is shared and several threads compute; without them, one does. */
const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

const policy = {
  name: "policy of the built page",
  apply: "build",
  transformIndexHtml: () => [
    { tag: "meta", attrs: { "http-equiv": "Content-Security-Policy", content: POLICY }, injectTo: "head-prepend" },
  ],
};

export default defineConfig(async () => ({
  root,
  base: "./",
  cacheDir: `${repository}node_modules/.vite-web`,
  resolve: { alias },
  define: { DATA: JSON.stringify(await makeData()) },
  plugins: [policy],
  worker: { format: "es" },
  build: { outDir: "dist", emptyOutDir: true, target: "es2022", modulePreload: { polyfill: false } },
  server: { headers: ISOLATION, fs: { allow: [repository] } },
  preview: { headers: ISOLATION },
}));
