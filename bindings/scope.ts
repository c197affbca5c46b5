// Who frees what. A tracker collects the tensors that are made while it is open; `scope` closes one for the user,
// `run` one for each call into the kernel. Handles that an object of ours owns are never tracked.

import { describe, expected } from "./check.js";
import { failure } from "./errors.js";
import { kernel, type Runtime } from "./load.js";
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
  const outer = tracker;
  const made = new Set<Tensor>();
  const kept = new Set<Tensor>();
  tracker = made;
  try {
    const result = f();
    collect(result, made, kept, new Set());
    return result;
  } finally {
    tracker = outer;
    for (const tensor of made) {
      if (kept.has(tensor)) outer?.add(tensor);
      else tensor.dispose();
    }
  }
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
