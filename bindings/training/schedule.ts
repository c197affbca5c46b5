// Learning rates over the steps of a training, as factors.

import { checkInteger, checkOneOf, checkOptions } from "../check.js";
import { kernel } from "../load.js";

const KINDS = ["constant", "linear", "cosine"] as const;

export interface ScheduleOptions {
  /** Steps in which the factor rises from 0 to 1. Default 0. */
  warmup?: number;
  /** Steps of the whole training, `warmup` included; from there on "linear" and "cosine" are 0. "constant" needs none. */
  total?: number;
}

/**
 * A learning rate's factor by the number of steps made before: a linear rise over `warmup` steps, then "constant" 1, "linear" to
 * 0, or "cosine", half a wave from 1 to 0 (Loshchilov and Hutter 2017). The same numbers as the schedules of Hugging Face
 * transformers, with the same bits on every engine.
 *
 * @returns a function of the step, 0 for the first
 * @throws RangeError if a length is negative, or `total` is missing, is 0 or less than `warmup`; TypeError for another type
 * @example
 * ```ts
 * import { init } from "lowrank";
 * import { schedule } from "lowrank/lora";
 * await init();
 * const factor = schedule("cosine", { warmup: 2, total: 6 });
 * console.log([0, 1, 2, 4, 6].map(factor)); // [ 0, 0.5, 1, 0.5, 0 ]
 * ```
 */
export function schedule(kind: (typeof KINDS)[number], options?: ScheduleOptions): (step: number) => number {
  const most = Number.MAX_SAFE_INTEGER;
  checkOneOf(kind, "kind", KINDS);
  const given = checkOptions(options, ["warmup", "total"]);
  const warmup = given.warmup === undefined ? 0 : checkInteger(given.warmup, "warmup", 0, most);
  const needed = kind !== "constant";
  const total =
    given.total === undefined && !needed
      ? most
      : checkInteger(given.total, "total", needed ? Math.max(1, warmup) : 0, most);
  return (step) => {
    checkInteger(step, "step", 0, most);
    if (step < warmup) return step / warmup;
    if (!needed) return 1;
    if (step >= total) return 0;
    const past = (step - warmup) / (total - warmup);
    return kind === "linear" ? 1 - past : 0.5 * (1 + kernel().f64.cospi(past));
  };
}
