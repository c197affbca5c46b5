// npm run example -- name: runs one of the examples beside this file; without a name, lists them.
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";

const folder = new URL("./", import.meta.url);
const names = readdirSync(folder)
  .filter((file) => file.endsWith(".mjs") && file !== "run.mjs")
  .map((file) => file.slice(0, -4));
const [name] = process.argv.slice(2);
if (names.includes(name)) {
  await import(new URL(`${name}.mjs`, folder));
} else {
  if (name !== undefined) console.error(`no example "${name}"; there are:`);
  for (const one of names) {
    const [title] = readFileSync(new URL(`${one}.mjs`, folder), "utf8").split("\n");
    console.log(`${one.padEnd(10)} ${title.slice(3)}`);
  }
  if (name !== undefined) process.exitCode = 2;
}
