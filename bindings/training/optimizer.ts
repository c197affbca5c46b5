// What the optimisers have in common: parameters and gradients by name, and a state by name that is kept from step to step.

import { checkInteger, checkNumberIn, describe, expected, shapeText } from "../check.js";
import { commonDtype, decode, place, type TensorLike } from "../interop.js";
import { kernel, type Runtime } from "../load.js";
import { run } from "../scope.js";
import { bytesOf, type DType, numbersAt, Tensor } from "../tensor.js";

/** Tensors by name. */
export type NamedTensors<D extends DType = DType> = { readonly [name: string]: Tensor<D> };

/** What an optimiser knows of one parameter. */
export interface ParameterState {
  /** Steps that it has taken. */
  step: number;
  /** Its moments by their names, each as the parameter. */
  moments: { [name: string]: Tensor };
}

/** All that an optimiser keeps between two steps; the same again gives the same bits. */
export interface OptimizerState {
  kind: "adamw" | "sgd";
  parameters: { [name: string]: ParameterState };
}

/** What fit() needs of an optimiser: AdamW, Sgd, or one of the caller's. */
export interface Optimizer {
  step(params: NamedTensors, grads: { readonly [name: string]: TensorLike }, factor?: number): void;
  state(): OptimizerState;
  load(state: OptimizerState): void;
}

/** @internal A parameter, its gradient and its moments in memory. */
export interface Update {
  name: string;
  parameter: Tensor;
  gradient: Tensor;
  moments: Tensor[];
  /** Steps of this parameter, this one included. */
  step: number;
}

/** What AdamW and Sgd have in common. */
export abstract class StatefulOptimizer implements Optimizer, Disposable {
  readonly #kind: OptimizerState["kind"];
  readonly #names: readonly string[];
  readonly #known = new Map<string, { step: number; moments: Tensor[] }>();

  /** @internal */
  constructor(kind: OptimizerState["kind"], moments: readonly string[]) {
    this.#kind = kind;
    this.#names = moments;
  }

  /** @internal One parameter's new value and moments, in place. */
  abstract update(runtime: Runtime, update: Update, factor: number): void;

  /**
   * One step, in place. Parameters without a gradient are left as they are; moments begin as zeros.
   *
   * @param params contiguous tensors by name
   * @param grads their gradients by the same names; they are not changed
   * @param factor of the learning rate: see schedule(). Default 1
   * @throws RangeError for a gradient without a parameter or of another shape, or a shape other than before; TypeError for
   *   another dtype. Nothing has changed then
   */
  step(params: NamedTensors, grads: { readonly [name: string]: TensorLike }, factor = 1): void {
    run((runtime) => {
      checkNumberIn(factor, "factor", 0, Number.MAX_VALUE);
      checkRecord(params, "params");
      checkRecord(grads, "grads");
      for (const name of Object.keys(params)) checkParameter(name, params[name]);
      const updates = Object.keys(grads).map((name) => this.#prepare(runtime, name, params[name], grads[name]));
      // nothing throws from here on
      for (const { name, moments, step } of updates) {
        const kept = this.#known.get(name);
        if (kept === undefined) this.#known.set(name, { step, moments: moments.map((moment) => moment.hold()) });
        else kept.step = step;
      }
      for (const update of updates) this.update(runtime, update, factor);
    });
  }

  #prepare(runtime: Runtime, name: string, parameter: Tensor | undefined, given: TensorLike | undefined): Update {
    const argument = `grads[${JSON.stringify(name)}]`;
    if (parameter === undefined)
      throw new RangeError(expected("grads", "the names of parameters", JSON.stringify(name)));
    const source = decode(given, argument);
    checkShape(source.shape, parameter.shape, argument);
    commonDtype([
      [`params[${JSON.stringify(name)}]`, parameter],
      [argument, source],
    ]);
    const placed = place(runtime, source, parameter.dtype);
    const gradient = placed.contiguous ? placed : placed.copy();
    const known = this.#known.get(name);
    if (known === undefined) {
      const moments = this.#names.map(() => Tensor.allocate(runtime, parameter.shape, parameter.dtype));
      for (const { size, pointer } of moments) runtime[parameter.dtype].fill(size, 0, pointer);
      return { name, parameter, gradient, moments, step: 1 };
    }
    const [first] = known.moments;
    if (first !== undefined) {
      checkShape(parameter.shape, first.shape, `params[${JSON.stringify(name)}]`);
      checkDtype(parameter, first.dtype, `params[${JSON.stringify(name)}]`);
    }
    return { name, parameter, gradient, moments: known.moments, step: known.step + 1 };
  }

  /** A copy of what is kept between steps; the caller owns its tensors. */
  state(): OptimizerState {
    return run(() => {
      const parameters: OptimizerState["parameters"] = {};
      for (const [name, { step, moments }] of this.#known) {
        const copies = this.#names.map((moment, i) => [moment, (moments[i] as Tensor).copy()]);
        parameters[name] = { step, moments: Object.fromEntries(copies) };
      }
      return { kind: this.#kind, parameters };
    });
  }

  /**
   * Goes on from a state: copies of its tensors take the place of what is kept.
   *
   * @throws RangeError for the state of another kind of optimiser; TypeError for what is no state. Nothing has changed then
   */
  load(state: OptimizerState): void {
    checkRecord(state, "state");
    if (state.kind !== this.#kind)
      throw new RangeError(expected("state.kind", `"${this.#kind}"`, describe(state.kind)));
    checkRecord(state.parameters, "state.parameters");
    const copies = run(() =>
      Object.entries(state.parameters).map(([name, one]) => {
        const where = `state.parameters[${JSON.stringify(name)}]`;
        checkRecord(one, where);
        checkRecord(one.moments, `${where}.moments`);
        const step = checkInteger(one.step, `${where}.step`, 0, Number.MAX_SAFE_INTEGER);
        const moments = this.#names.map((moment) => {
          const found = one.moments[moment];
          if (!(found instanceof Tensor))
            throw new TypeError(expected(`${where}.moments.${moment}`, "a Tensor", describe(found)));
          return found.copy();
        });
        return { name, step, moments };
      }),
    );
    this.dispose();
    for (const { name, step, moments } of copies) {
      this.#known.set(name, { step, moments: moments.map((moment) => moment.hold()) });
      for (const moment of moments) moment.dispose();
    }
  }

  /** Frees the state; the next step begins anew. */
  dispose(): void {
    for (const { moments } of this.#known.values()) for (const moment of moments) moment.dispose();
    this.#known.clear();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function checkRecord(value: unknown, argument: string): void {
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Tensor) {
    throw new TypeError(expected(argument, "an object", describe(value)));
  }
}

function checkParameter(name: string, value: unknown): void {
  const argument = `params[${JSON.stringify(name)}]`;
  if (!(value instanceof Tensor)) throw new TypeError(expected(argument, "a Tensor", describe(value)));
  value.alive();
  if (!value.contiguous)
    throw new RangeError(expected(argument, "a contiguous tensor", `strides ${shapeText(value.strides)}`));
}

function checkShape(shape: readonly number[], wanted: readonly number[], argument: string): void {
  if (shapeText(shape) !== shapeText(wanted)) {
    throw new RangeError(expected(argument, `shape ${shapeText(wanted)}`, shapeText(shape)));
  }
}

function checkDtype({ dtype }: Tensor, wanted: DType, argument: string): void {
  if (dtype !== wanted) throw new TypeError(expected(argument, `${wanted} as before`, dtype));
}

/** @internal A learning rate or another number that may not be negative. */
export function checkNotNegative(value: unknown, argument: string): number {
  return checkNumberIn(value, argument, 0, Number.MAX_VALUE);
}

/** @internal b^n for n >= 0 by squaring: products alone, so that every engine gives the same bits. */
export function power(base: number, n: number): number {
  let result = 1;
  for (let factor = base, rest = n; rest > 0; rest = Math.floor(rest / 2), factor *= factor) {
    if (rest % 2 === 1) result *= factor;
  }
  return result;
}

/**
 * Scales gradients in place so that the norm of all of them together is at most `most`; smaller ones are left as they are.
 *
 * @param grads contiguous tensors by name, such as Sequential.backward() gives
 * @param most > 0; Infinity only measures
 * @returns the norm before; NaN or Infinity leaves the gradients as they are
 * @example
 * ```ts
 * import { init, tensor } from "lowrank";
 * import { clipGradients } from "lowrank/lora";
 * await init();
 * const grads = { w: tensor([3]), b: tensor([4]) };
 * console.log(clipGradients(grads, 1), grads.w.data[0]?.toFixed(1)); // 5 0.6
 * ```
 */
export function clipGradients(grads: NamedTensors, most: number): number {
  checkRecord(grads, "grads");
  if (typeof most !== "number") throw new TypeError(expected("most", "a number", describe(most)));
  if (!(most > 0)) throw new RangeError(expected("most", "a number > 0", String(most)));
  const tensors = Object.entries(grads).map(([name, tensor]) => {
    checkParameter(name, tensor);
    return tensor;
  });
  const runtime = kernel();
  const mark = runtime.scratch.mark();
  const list = runtime.scratch.push(tensors.length * bytesOf("f64"));
  const norms = tensors.map(({ dtype, size, pointer }) => runtime[dtype].nrm2(size, pointer, 1));
  numbersAt(runtime.memory, "f64", list, norms.length).set(norms);
  const norm = runtime.f64.nrm2(norms.length, list, 1);
  runtime.scratch.rewind(mark);
  if (norm > most && norm < Infinity) {
    for (const { dtype, size, pointer } of tensors) runtime[dtype].scal(size, most / norm, pointer, 1);
  }
  return norm;
}
