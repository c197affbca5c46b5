// Node, Deno and Bun: a file of the disk opened in each runtime's own way, and the command in that runtime.
import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { init, tensor } from "lowrank";
import { openSafetensors, writeSafetensors } from "lowrank/safetensors";

/** What openSafetensors() takes for a path: Node reads ranges of a Blob, Bun too; Deno fetches the whole file. */
const sourceOf = {
  Node: (path) => fs.openAsBlob(path),
  Deno: (path) => pathToFileURL(path),
  Bun: (path) => globalThis.Bun.file(path),
};

const { name, command } = JSON.parse(process.argv[2]);
const results = [];
const check = async (what, f) => {
  try {
    await f();
    results.push({ name: what });
  } catch (error) {
    results.push({ name: what, error: error.stack ?? String(error) });
  }
};
const equal = (got, wanted, what) => {
  const [x, y] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (x !== y) throw new Error(`${what}: expected ${y}, got ${x}`);
};

await init();
const folder = mkdtempSync(join(tmpdir(), "lowrank-files-"));
const at = (file) => join(folder, file);
const identity = [
  [1, 0],
  [0, 1],
];
const changed = [
  [1, 3],
  [0, 1],
];
writeFileSync(at("base.safetensors"), writeSafetensors({ "h.q.weight": tensor(identity) }, { dtype: "F32" }));
writeFileSync(at("tuned.safetensors"), writeSafetensors({ "h.q.weight": tensor(changed) }, { dtype: "F32" }));

await check(`a path in ${name}`, async () => {
  const file = await openSafetensors(await sourceOf[name](at("tuned.safetensors")));
  equal((await file.tensor("h.q.weight")).toArray(), changed, "weight");
});

/** The command's exit status and what it prints. */
function lowrank(...args) {
  const { status, stdout, stderr } = spawnSync(command[0], [...command.slice(1), ...args], { encoding: "utf8" });
  return { status, stdout, stderr };
}

await check("the command extracts, tells and merges", () => {
  const made = lowrank(
    "extract",
    at("base.safetensors"),
    at("tuned.safetensors"),
    "--rank",
    "1",
    "-o",
    at("adapter"),
    "--json",
  );
  equal(made.status, 0, made.stderr);
  equal(JSON.parse(made.stdout).layers[0].rank, 1, "rank");
  const told = lowrank("info", at("adapter"), "--json");
  equal(JSON.parse(told.stdout).modules[0].module, "h.q", told.stderr);
  equal(lowrank("merge", at("base.safetensors"), at("adapter"), "-o", at("merged.safetensors")).status, 0, "status");
  equal(readFileSync(at("merged.safetensors")).equals(readFileSync(at("tuned.safetensors"))), true, "the tuned model");
  equal(
    lowrank("merge", at("base.safetensors"), at("adapter"), "-o", at("merged.safetensors")).status,
    1,
    "no overwriting",
  );
  equal(lowrank("merge", "--wait").status, 2, "wrong usage");
  equal(
    readdirSync(folder).sort(),
    ["adapter", "base.safetensors", "merged.safetensors", "tuned.safetensors"],
    "files",
  );
});

await check("Ctrl-C in the middle of writing: exit status 130, nothing left", async () => {
  const large = { dtype: "F32", shape: [2 ** 25], bytes: new Uint8Array(2 ** 27) };
  writeFileSync(at("large.safetensors"), writeSafetensors({ "h.q.weight": tensor(identity), large }, { dtype: "F32" }));
  const before = readdirSync(folder).sort();
  const args = ["merge", at("large.safetensors"), at("adapter"), "-o", at("out/merged.safetensors")];
  const child = spawn(command[0], [...command.slice(1), ...args], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    said += text;
    if (!child.killed && /merge: \d+ %/.test(said)) child.kill("SIGINT");
  });
  // Deno gives the status 130 of a child that it sent the signal to as that signal
  const status = await new Promise((resolve) => {
    child.on("close", (code, signal) => resolve(signal === "SIGINT" && name === "Deno" ? 130 : code));
  });
  equal(status, 130, said);
  equal(readdirSync(folder).sort(), before, "files");
});

rmSync(folder, { recursive: true });
console.log(`report ${JSON.stringify({ results, bits: {} })}`);
