// Arguments that a worker cannot be sent as they are.

import { decode, type TensorLike } from "../interop.js";

/** What is done to the arguments of a function before they are sent. */
export const PREPARED: { readonly [name: string]: (values: unknown[]) => unknown[] } = { fit: listFactors };

/** fit()'s schedule, a function of the step, as the list of its numbers. */
function listFactors([model, options, ...rest]: unknown[]): unknown[] {
  const { schedule, epochs, batchSize, x } = (options ?? {}) as { [name: string]: unknown };
  if (typeof schedule !== "function") return [model, options, ...rest];
  const [samples = 0] = decode(x as TensorLike, "x").shape;
  const steps = (epochs as number) * Math.ceil(samples / Math.min(batchSize as number, samples));
  // what is out of range is the worker's to refuse
  const length = steps > 0 && steps <= 2 ** 28 ? steps : 0;
  const factors = Float64Array.from({ length }, (_, step) => (schedule as (step: number) => number)(step));
  return [model, { ...(options as object), schedule: factors }, ...rest];
}
