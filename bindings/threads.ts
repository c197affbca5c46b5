// Workers and their other ends, in browsers and in Node: the few things that both can do, under one name.

import type { PlatformUrl } from "./platform.js";

/** @internal A module of Node's own, in Node, Deno and Bun: by a call, so that no bundler follows an import into a page. */
export function builtin<M>(name: string): M | undefined {
  type Process = { getBuiltinModule?: (name: string) => M | undefined };
  // Node has it from 20.16 on
  return (globalThis as { process?: Process }).process?.getBuiltinModule?.(name);
}

/** One end of a channel. */
export interface Port {
  postMessage(message: unknown, transfer: Transferable[]): void;
  /** Calls back with every message. */
  listen(f: (data: unknown) => void): void;
  close(): void;
}

/** A worker as the thread that made it has it. */
export interface Channel extends Port {
  /** Calls back when the worker has failed or ended. */
  onEnd(f: (error: unknown) => void): void;
  terminate(): unknown;
  /** Whether the worker holds up the end of the process. */
  hold(on: boolean): void;
}

/** What browsers' workers, MessagePorts and Deno's workers have. */
interface WebEnd {
  postMessage(message: unknown, transfer: Transferable[]): void;
  addEventListener(
    type: string,
    f: (event: { data?: unknown; message?: string; preventDefault?(): void }) => void,
  ): void;
  terminate?(): void;
  close?(): void;
}

/** What Node's worker_threads have. */
interface NodeEnd {
  postMessage(message: unknown, transfer: Transferable[]): void;
  on(type: string, f: (data: unknown) => void): void;
  terminate?(): unknown;
  close?(): void;
  ref?(): void;
  unref?(): void;
}

/** Whether this is a worker that channelOf() knows. */
export function isWorker(value: unknown): value is WebEnd | NodeEnd {
  const worker = value as Partial<WebEnd & NodeEnd> | null;
  return typeof worker?.postMessage === "function" && typeof worker.terminate === "function";
}

/** The part of node:worker_threads that is used. */
interface NodeThreads {
  Worker: new (url: string | PlatformUrl, options: object) => NodeEnd;
}

/**
 * Starts a worker: from `url`, if it is given, or from `file` beside this module. In browsers the latter is `make`'s business,
 * for bundlers look for new Worker(new URL("…", import.meta.url)) word for word.
 */
export function startWorker(url: string | PlatformUrl | undefined, file: string, make: () => Worker): Channel {
  const threads = builtin<NodeThreads>("node:worker_threads");
  if (threads === undefined) return channelOf(url === undefined ? make() : new Worker(url, { type: "module" }));
  const here = import.meta.url;
  const place = url ?? new URL(file, here);
  // Node takes a file: URL as an object only
  const absolute = typeof place === "string" && /^[a-z]+:/.test(place) ? new URL(place) : place;
  // a process without getBuiltinModule runs on one thread; flags of the process are no flags of workers
  return channelOf(new threads.Worker(absolute, { execArgv: [] }));
}

export function channelOf(worker: WebEnd | NodeEnd): Channel {
  if ("on" in worker) {
    return {
      postMessage: (message, transfer) => worker.postMessage(message, transfer),
      listen: (f) => worker.on("message", f),
      onEnd(f) {
        worker.on("error", f);
        worker.on("exit", () => f(new Error("the worker ended")));
      },
      close: () => {},
      terminate: () => worker.terminate?.(),
      hold: (on) => (on ? worker.ref?.() : worker.unref?.()),
    };
  }
  return {
    postMessage: (message, transfer) => worker.postMessage(message, transfer),
    listen: (f) => worker.addEventListener("message", ({ data }) => f(data)),
    onEnd(f) {
      worker.addEventListener("error", (event) => {
        event.preventDefault?.();
        f(new Error(event.message || "the worker's file does not load: connect's option worker says where it is"));
      });
      worker.addEventListener("messageerror", () => f(new Error("the worker cannot read what it is sent")));
    },
    close: () => {},
    terminate: () => worker.terminate?.(),
    hold: () => {},
  };
}

/** A worker's own end. */
export function fromMessages(): Port {
  const threads = builtin<{ parentPort?: NodeEnd | null }>("node:worker_threads");
  const parent = threads?.parentPort;
  if (parent !== undefined && parent !== null) {
    return {
      postMessage: (message, transfer) => parent.postMessage(message, transfer),
      listen: (f) => parent.on("message", f),
      close: () => parent.close?.(),
    };
  }
  const self = globalThis as unknown as WebEnd;
  return {
    postMessage: (message, transfer) => self.postMessage(message, transfer),
    listen: (f) => self.addEventListener("message", ({ data }) => f(data)),
    close: () => self.close?.(),
  };
}
