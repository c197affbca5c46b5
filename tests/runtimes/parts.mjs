// The parts of the suite that a page asks for, in the page or in a worker that it starts; each one's report is logged.
import { parallelEntry } from "./parallel_suite.mjs";
import { blockedEntry, defaultEntry, slimEntry } from "./suite.mjs";

export async function runParts(modules, startWorker) {
  const wanted = new URLSearchParams(location.search);
  const expected = JSON.parse(wanted.get("expected"));
  const isPage = typeof document === "object";
  if (isPage && wanted.has("worker")) {
    const worker = startWorker(location.search);
    worker.onmessage = ({ data }) => console.log(data);
    worker.onerror = ({ message }) => console.log(`failed ${message}`);
    return;
  }
  const parts = { default: defaultEntry, slim: slimEntry, blocked: blockedEntry, parallel: parallelEntry };
  for (const name of wanted.get("parts").split(",")) {
    const text = `report ${JSON.stringify(await parts[name]({ ...modules, expected }))}`;
    if (isPage) console.log(text);
    else postMessage(text);
  }
}
