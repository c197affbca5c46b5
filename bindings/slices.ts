// Long computations in steps. Between two of them the kernel has returned, and whoever drives the computation may report
// progress, end it, or let a worker read its messages: synchronous calls go through all steps at once (scope.ts, runSteps), a
// worker returns to its message loop in between (remote_worker.ts).

import { MORE } from "./exports.js";
import type { Runtime } from "./load.js";
import type { Progress } from "./progress.js";

/** @internal What a step says: how far the computation is, worked out when somebody asks. */
export type Step = (() => Progress) | undefined;

/** @internal A computation that yields between its steps. */
export type Steps<R> = Generator<Step, R, undefined>;

/** @internal Calls a sliced routine until it is done; what it returns then. */
export function* inSlices(slice: () => number, progress?: Step): Steps<number> {
  for (;;) {
    const result = slice();
    if (result !== MORE) return result;
    yield progress;
  }
}

/** @internal Goes through all steps. */
export function finish<R>(steps: Steps<R>): R {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** @internal The steps of a part, with its progress as a part of the whole. */
export function* mapped<R>(steps: Steps<R>, f: ((progress: Progress) => Progress) | undefined): Steps<R> {
  let ended = false;
  try {
    for (;;) {
      const { done, value } = steps.next();
      ended = done === true;
      if (done) return value;
      yield value === undefined || f === undefined ? undefined : () => f(value());
    }
  } finally {
    // who ends the whole ends the part
    if (!ended) steps.return(undefined as R);
  }
}

/** @internal The steps of a part whose own progress says nothing about the whole. */
export function silently<R>(steps: Steps<R>): Steps<R> {
  return mapped(steps, undefined);
}

/** @internal The operations that a sliced routine has done: its working memory begins with them. */
export function operationsDone({ memory }: Runtime, work: number): number {
  return new Float64Array(memory.buffer, work, 1)[0] as number;
}
