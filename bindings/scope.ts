// Who frees what. A tracker collects the tensors that are made while it is open; `scope` closes one for the user,
// `run` one for each call into the kernel. Handles that an object of ours owns are never tracked.

import { describe, expected } from "./check.js";
import { failure } from "./errors.js";
import { kernel, type Runtime } from "./load.js";
import { checkProgress, type ProgressOptions } from "./progress.js";
import type { Steps } from "./slices.js";
import type { Tensor } from "./tensor.js";

let tracker: Set<Tensor> | undefined;
/** Inside run(): the tracker that was open where the caller stands. */
let callers: { readonly tracker: Set<Tensor> | undefined } | undefined;

/** @internal Called by Tensor for every handle that is made for the user. */
export function track(tensor: Tensor): void {
  tracker?.add(tensor);
}

/** @internal Takes a handle out of the open scopes: its owner disposes of it. */
export function untrack(tensor: Tensor): void {
  tracker?.delete(tensor);
}

/**
 * Runs `f` and frees every tensor made inside, except those that it returns (also inside arrays, plain objects, maps
 * and sets) and those that an object of this library owns. If `f` throws, all of them are freed.
 *
 * @param f synchronous; asynchronous code uses `using` or dispose()
 * @returns what `f` returns
 * @throws TypeError if `f` is not a function or returns a promise
 * @example
 * ```ts
 * import { init, matmul, scope, svd, tensor } from "lowrank";
 * await init();
 * const largest = scope(() => {
 *   const a = tensor([[3, 0], [0, 4]]);
 *   return svd(matmul(a, a)).s.data[0];
 * });
 * console.log(largest); // 16
 * ```
 */
export function scope<R>(f: () => R): R {
  if (typeof f !== "function") throw new TypeError(expected("f", "a function", describe(f)));
  kernel();
  return close(() => {
    const result = f();
    if (typeof (result as { then?: unknown } | undefined)?.then === "function") {
      throw new TypeError(expected("f", "a synchronous function", "one that returns a promise"));
    }
    return result;
  });
}

/** Opens a tracker for f; hands what f returns to the tracker outside and frees the rest. */
function close<R>(f: () => R): R {
  const opened = open();
  try {
    const result = f();
    opened.keep(result);
    return result;
  } finally {
    opened.close();
  }
}

/** A tracker: closed, it frees what was made since and is not kept. */
function open(): { keep(result: unknown): void; close(): void } {
  const outer = tracker;
  const made = new Set<Tensor>();
  const kept = new Set<Tensor>();
  tracker = made;
  return {
    keep: (result) => collect(result, made, kept, new Set()),
    close() {
      tracker = outer;
      for (const tensor of made) {
        if (kept.has(tensor)) outer?.add(tensor);
        else tensor.dispose();
      }
    },
  };
}

/** Finds the tensors of `made` inside a result. */
function collect(value: unknown, made: Set<Tensor>, kept: Set<Tensor>, seen: Set<object>): void {
  if (typeof value !== "object" || value === null || seen.has(value)) return;
  seen.add(value);
  if (made.has(value as Tensor)) {
    kept.add(value as Tensor);
  } else if (value instanceof Map) {
    for (const [key, item] of value) {
      collect(key, made, kept, seen);
      collect(item, made, kept, seen);
    }
  } else if (Array.isArray(value) || value instanceof Set) {
    for (const item of value) collect(item, made, kept, seen);
  } else if (!ArrayBuffer.isView(value)) {
    for (const item of Object.values(value)) collect(item, made, kept, seen);
  }
}

/**
 * @internal One call into the kernel: of what `f` makes only what it returns survives; scratch is rewound either way. A
 * trap drops the instance, makes a new one on the same memory and becomes an Error with its cause.
 */
export function run<R>(f: (runtime: Runtime) => R): R {
  const runtime = kernel();
  const mark = runtime.scratch.mark();
  const before = callers;
  callers ??= { tracker };
  try {
    return close(() => f(runtime));
  } catch (error) {
    throw afterTrap(runtime, error);
  } finally {
    callers = before;
    runtime.scratch.rewind(mark);
  }
}

/**
 * @internal A long call into the kernel, as run(): between the steps of `f` onProgress is called and the signal looked at. Must be the
 * last thing that a function does, so that a worker can take its steps over (takeSteps). `f` calls a generator function of its module: one
 * that is made for the call costs engines a microsecond.
 */
export function runSteps<R>(f: (runtime: Runtime) => Steps<R>, options?: ProgressOptions): R {
  if (taking) {
    taking = false;
    taken = guarded(f);
    return undefined as R;
  }
  const report = checkProgress(options ?? {});
  return run((runtime) => {
    const steps = f(runtime);
    for (;;) {
      const { done, value } = steps.next();
      if (done) return value;
      try {
        const progress = value?.();
        if (progress !== undefined) report(progress.done, progress.total);
        else if (options?.signal?.aborted) throw options.signal.reason;
      } catch (error) {
        steps.return(undefined as R);
        throw error;
      }
    }
  });
}

/** @internal A part of a long call, of which only the result survives. */
export function* inScope<R>(f: () => Steps<R>): Steps<R> {
  const opened = open();
  try {
    const result = yield* f();
    opened.keep(result);
    return result;
  } finally {
    opened.close();
  }
}

/** Milliseconds after which others get their turn. */
const TURN = 8;

/** Computations that take turns are one after the other: they share working memory. */
let queue: Promise<unknown> = /* @__PURE__ */ Promise.resolve();

/**
 * @internal A long call of an asynchronous function: between steps, after a few milliseconds at a time, events and messages
 * get their turn, and with them an abort.
 */
export function runInTurns<R>(f: (runtime: Runtime) => Steps<R>, options: ProgressOptions): Promise<R> {
  return inTurns(guarded(f), options);
}

/** @internal The same for steps that were taken from a call. */
export function inTurns<R>(steps: Steps<R>, options: ProgressOptions): Promise<R> {
  const ended = queue.then(() => goThrough(steps, options));
  queue = ended.catch(() => {});
  return ended;
}

async function goThrough<R>(steps: Steps<R>, options: ProgressOptions): Promise<R> {
  const report = checkProgress(options);
  let ended = false;
  // whose the tensors are that are made: what this computation found there, and left
  let own = { tracker, callers };
  const inside = <V>(f: () => V): V => {
    const outside = { tracker, callers };
    ({ tracker, callers } = own);
    try {
      return f();
    } finally {
      own = { tracker, callers };
      ({ tracker, callers } = outside);
    }
  };
  try {
    for (let start = performance.now(); ; ) {
      const { done, value } = inside(() => steps.next());
      ended = done === true;
      if (done) return value;
      const progress = value?.();
      if (progress !== undefined) inside(() => report(progress.done, progress.total));
      if (performance.now() - start >= TURN) {
        await turn();
        start = performance.now();
      }
      if (options.signal?.aborted) throw options.signal.reason;
    }
  } finally {
    if (!ended) inside(() => steps.return(undefined as R));
  }
}

/** @internal Lets everything that waits go first. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    const { setImmediate } = globalThis as { setImmediate?: (f: () => void) => void };
    // Deno reads no messages before an immediate, but its timers take a millisecond
    if ("Deno" in globalThis && performance.now() - timed >= TURN) {
      setTimeout(() => {
        timed = performance.now();
        resolve();
      });
    } else if (setImmediate !== undefined) {
      setImmediate(resolve);
    } else {
      // timers are held back by browsers, messages are not
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(0);
    }
  });
}

/** When there was a timer's turn. */
let timed = 0;

let taking = false;
let taken: Steps<unknown> | undefined;

/**
 * @internal Calls f. If that is a long call, its steps are given back instead of its result, and whoever goes through them may do other
 * things in between, but call nothing of this library.
 */
export function takeSteps<R>(f: () => R): { steps: Steps<R> } | { value: R } {
  taking = true;
  taken = undefined;
  try {
    const value = f();
    return taken === undefined ? { value } : { steps: taken as Steps<R> };
  } finally {
    taking = false;
    taken = undefined;
  }
}

/** The steps of f in run()'s care. */
function* guarded<R>(f: (runtime: Runtime) => Steps<R>): Steps<R> {
  const runtime = kernel();
  const mark = runtime.scratch.mark();
  const before = callers;
  callers ??= { tracker };
  const opened = open();
  try {
    const result = yield* f(runtime);
    opened.keep(result);
    return result;
  } catch (error) {
    throw afterTrap(runtime, error);
  } finally {
    opened.close();
    callers = before;
    runtime.scratch.rewind(mark);
  }
}

/**
 * @internal Runs a function of the caller's in the middle of a call into the kernel, as if it stood outside: tensors that it
 * makes belong to the caller.
 */
export function callBack<R>(f: () => R): R {
  const [inner, before] = [tracker, callers];
  tracker = before === undefined ? tracker : before.tracker;
  callers = undefined;
  try {
    return f();
  } finally {
    tracker = inner;
    callers = before;
  }
}

/** @internal What a call throws on an error inside the kernel: a trap drops the instance and becomes an Error. */
export function afterTrap(runtime: Runtime, error: unknown): unknown {
  if (!isTrap(error)) return error;
  runtime.restart();
  return failure("kernel_trap", "the kernel trapped; it was made again and all tensors are intact", error);
}

function isTrap(error: unknown): boolean {
  return (
    error instanceof WebAssembly.RuntimeError ||
    (error instanceof RangeError && /call stack/i.test(error.message)) ||
    (error as { name?: string } | null)?.name === "InternalError"
  );
}
