// The entry `lowrank/worker`: the library beside the thread that uses it.

import { checkOptions, describe, expected } from "./check.js";
import { embedded } from "./embedded_kernels.js";
import { type InitOptions, prepare } from "./load.js";
import type { PlatformUrl, PlatformWorker } from "./platform.js";
import { PREPARED } from "./remote/arguments.js";
import { Connection } from "./remote/connection.js";
import { CLASSES, FUNCTIONS, namesIn } from "./remote/table.js";
import type { Remote } from "./remote/types.js";
import { type Channel, channelOf, isWorker, startWorker } from "./threads.js";

export type { CallOptions } from "./remote/connection.js";
export type {
  Remote,
  RemoteArgument,
  RemoteClass,
  RemoteFunction,
  RemoteObject,
  RemoteResult,
} from "./remote/types.js";

export interface ConnectOptions extends InitOptions {
  /**
   * The worker, where its file `remote_worker.js` cannot be found beside this module: one that runs this file, a function that
   * makes one, or the file's place.
   */
  worker?: PlatformWorker | PlatformUrl | string | (() => PlatformWorker);
}

/**
 * Starts a worker that computes, so that this thread goes on: a page's does not freeze, long calls can be aborted and tell how far
 * they are. The worker has every function of `lowrank`, `lowrank/lora` and `lowrank/safetensors` under its name, and
 * each gives a promise; objects live there, and here are handles whose methods and properties give promises. Calls run in order.
 *
 * Where memory is shared (Node, Deno, Bun, isolated pages), arguments and results are the same storage on both sides, and
 * `threads` compute. Elsewhere arguments are copied, or moved with the option `transfer`, and results are moved.
 *
 * @param options init()'s, for the worker; and where the worker's file is
 * @returns the library in the worker; terminate() ends it
 * @throws Error (code "already_initialized") if init() was called before with another build or memory; the worker's error if it does
 *   not start
 * @example
 * ```ts
 * import { connect } from "lowrank/worker";
 * const remote = await connect();
 * const { s } = await remote.svd([[3, 0], [4, 5]], { onProgress: ({ done, total }) => console.log(done / total) });
 * console.log(s.toArray()); // [ 6.708…, 2.236… ]
 * using pca = await new remote.PCA({ components: 1 });
 * await pca.fit([[1, 1], [2, 2], [3, 3]]);
 * console.log((await pca.explainedVarianceRatio).toArray()); // [ 1 ]
 * await remote.terminate();
 * ```
 */
export async function connect(options: ConnectOptions = {}): Promise<Remote> {
  const { worker, ...own } = checkOptions(options, [
    ...(["build", "threads", "memory", "workerUrl", "kernel"] as const),
    "worker",
  ]);
  await prepare(own, embedded);
  const { kernel: _, ...portable } = own;
  const workerUrl = portable.workerUrl === undefined ? {} : { workerUrl: String(portable.workerUrl) };
  const connection = await Connection.open(channelTo(worker), { ...portable, ...workerUrl });
  return facade(connection);
}

function channelTo(worker: ConnectOptions["worker"]): Channel {
  const made = typeof worker === "function" ? (worker as () => unknown)() : worker;
  if (isWorker(made)) return channelOf(made);
  if (made !== undefined && typeof made !== "string" && typeof (made as PlatformUrl).href !== "string") {
    throw new TypeError(expected("worker", "a Worker, a function that makes one, or its file's URL", describe(made)));
  }
  return startWorker(
    made as PlatformUrl | string | undefined,
    "./remote_worker.js",
    () => new Worker(new URL("./remote_worker.js", import.meta.url), { type: "module" }),
  );
}

/** The names of the table as functions and classes. */
function facade(connection: Connection): Remote {
  const remote: Record<string, unknown> = {
    capabilities: () => connection.capabilities,
    terminate: () => connection.terminate(),
  };
  for (const name of FUNCTIONS) {
    const [first, second] = name.split(".") as [string, string?];
    const prepare = PREPARED[name] ?? ((values: unknown[]) => values);
    const call = (...values: unknown[]) => ask(() => connection.call({ function: name }, prepare(values)));
    if (second === undefined) remote[first] = call;
    else Object.assign(remote[first] as object, { [second]: call });
  }
  for (const [name, { statics }] of Object.entries(CLASSES)) {
    // a constructor may give any object: here, the promise of a handle
    const construct = (_: object, values: unknown[]) => ask(() => connection.call({ new: name }, values));
    const made = new Proxy(class {}, { construct });
    for (const method of namesIn(statics)) {
      const call = (...values: unknown[]) => ask(() => connection.call({ static: method, of: name }, values));
      Object.assign(made, { [method]: call });
    }
    remote[name] = made;
  }
  return remote as unknown as Remote;
}

/** What f gives or throws, as a promise. */
async function ask(f: () => Promise<unknown>): Promise<unknown> {
  return f();
}
