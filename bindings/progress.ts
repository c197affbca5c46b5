// Progress and abort of long synchronous calls: `const step = checkProgress(options)` checks both options, and
// `step(done, total)` between two steps tells the caller and throws the signal's reason where it was aborted. The callback
// runs outside the call's own scope, so what it makes is the caller's.

import { describe, expected } from "./check.js";
import { callBack } from "./scope.js";

/** What onProgress gets: `done` of `total` steps. */
export interface Progress {
  readonly done: number;
  readonly total: number;
}

/** An AbortSignal, by the part that is used: some environments have no such type. */
export interface Abortable {
  readonly aborted: boolean;
  readonly reason?: unknown;
}

export interface ProgressOptions {
  /** Called between two steps; may abort `signal`. What it throws ends the call. */
  onProgress?: ((progress: Progress) => void) | undefined;
  /** An AbortSignal: once it is aborted, the call throws its reason at the next step. */
  signal?: Abortable | undefined;
}

/** @internal The names of both options. */
export const PROGRESS = ["onProgress", "signal"] as const;

/** @internal The types of both options. */
export function checkProgressTypes({ onProgress, signal }: ProgressOptions): void {
  if (onProgress !== undefined && typeof onProgress !== "function") {
    throw new TypeError(expected("onProgress", "a function", describe(onProgress)));
  }
  if (signal !== undefined && typeof (signal as Abortable | null)?.aborted !== "boolean") {
    throw new TypeError(expected("signal", "an AbortSignal", describe(signal)));
  }
}

/** @internal The two options, checked, as a function to be called between steps; throws at once if the signal is aborted. */
export function checkProgress(options: ProgressOptions): (done: number, total: number) => void {
  checkProgressTypes(options);
  const { onProgress, signal } = options;
  if (signal?.aborted) throw signal.reason;
  if (onProgress === undefined && signal === undefined) return () => {};
  return (done, total) => {
    if (onProgress !== undefined) callBack(() => onProgress({ done, total }));
    if (signal?.aborted) throw signal.reason;
  };
}
