// A page, or a worker of one: the package's files as they are, without a bundler.
import * as lowrank from "./node_modules/lowrank/dist/index.js";
import * as lora from "./node_modules/lowrank/dist/lora.js";
import * as slim from "./node_modules/lowrank/dist/slim.js";
import { blockedEntry, defaultEntry, slimEntry } from "./suite.mjs";

const wanted = new URLSearchParams(location.search);
const expected = JSON.parse(wanted.get("expected"));
const isPage = typeof document === "object";

if (isPage && wanted.has("worker")) {
  const worker = new Worker(`browser.mjs${location.search}`, { type: "module" });
  worker.onmessage = ({ data }) => console.log(data);
  worker.onerror = ({ message }) => console.log(`failed ${message}`);
} else {
  const kernel = (variant) => fetch(`node_modules/lowrank/dist/kernel.${variant}.wasm`);
  const parts = { default: defaultEntry, slim: slimEntry, blocked: blockedEntry };
  for (const name of wanted.get("parts").split(",")) {
    const text = `report ${JSON.stringify(await parts[name]({ lowrank, lora, slim, kernel, expected }))}`;
    if (isPage) console.log(text);
    else postMessage(text);
  }
}
