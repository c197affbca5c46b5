// Where a measurement was made.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";

export function machine() {
  const cpus = os.cpus();
  return {
    cpu: cpus[0]?.model.trim() ?? "unknown",
    cores: cpus.length,
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    platform: `${os.platform()} ${os.arch()}`,
  };
}

export function engine() {
  const deno = globalThis.Deno?.version;
  if (deno !== undefined) return { name: "Deno", version: deno.deno, v8: deno.v8 };
  return { name: "Node", version: process.versions.node, v8: process.versions.v8 };
}

/** The commit that is checked out and whether files differ from it; undefined outside a checkout. */
export function commit() {
  const git = (...args) =>
    spawnSync("git", args, {
      cwd: new URL("..", import.meta.url),
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
  const head = git("rev-parse", "--short=12", "HEAD");
  if (head.status !== 0) return undefined;
  return { hash: head.stdout.trim(), modified: git("status", "--porcelain", "--untracked-files=no").stdout !== "" };
}

export function packageVersion(url = new URL("../../package.json", import.meta.url)) {
  return JSON.parse(readFileSync(url, "utf8")).version;
}

/** Runs a script of ours in another process of the same engine, or of `command`, and parses what it prints. */
export function runScript(url, args = [], command = ownCommand()) {
  const [program, ...first] = command;
  const file = fileURLToPath(url);
  const { status, stdout, error } = spawnSync(program, [...first, file, ...args], {
    encoding: "utf8",
    maxBuffer: 2 ** 26,
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status !== 0) throw new Error(`${program} ${file} ended with ${status ?? error}`, { cause: error });
  return JSON.parse(stdout);
}

function ownCommand() {
  return globalThis.Deno === undefined ? [process.execPath] : [process.execPath, "run", "--allow-all"];
}
