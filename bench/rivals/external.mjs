// Programs built elsewhere that print {task: best milliseconds}, with inputs of their own:
//   EIGEN_JS    a program that Emscripten made of Eigen, run by this engine
//   NATIVE_REF  any command, such as "python3 numpy_ref.py"

import { spawnSync } from "node:child_process";
import process from "node:process";

// Emscripten takes an engine with fetch() for a browser and then looks for its module on the network
const WITHOUT_FETCH = "delete globalThis.fetch; require(process.argv[1])";

/** The programs that are named: { name, run() → {task: ms} } each. */
export function externals() {
  const found = [];
  const { EIGEN_JS: eigen, NATIVE_REF: native } = process.env;
  if (eigen) found.push({ name: "Eigen-wasm", run: () => print(process.execPath, ["--eval", WITHOUT_FETCH, eigen]) });
  if (native) found.push({ name: "native", run: () => print(...split(native)) });
  return found;
}

function split(command) {
  const [program, ...args] = command.trim().split(/\s+/);
  return [program, args];
}

function print(program, args) {
  const { status, stdout, error } = spawnSync(program, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status !== 0) throw new Error(`${[program, ...args].join(" ")} ended with ${status ?? error}`, { cause: error });
  return JSON.parse(stdout);
}
