// Adam with decoupled weight decay.

import { checkNumberIn, checkOptions, describe, expected } from "../check.js";
import type { Runtime } from "../load.js";
import { routineOf, share } from "../share.js";
import { bytesOf } from "../tensor.js";
import { checkNotNegative, power, StatefulOptimizer, type Update } from "./optimizer.js";

export interface AdamWOptions {
  /** Learning rate. Default 1e-3. */
  lr?: number;
  /** Decay of the first and second moments, each in [0, 1). Default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Added to the root of the second moment. Default 1e-8. */
  eps?: number;
  /** Parameters lose lr·weightDecay of themselves a step. Default 0.01. */
  weightDecay?: number;
  /**
   * LoRA+ (Hayou et al. 2024): the learning rate of B factors, biases and magnitudes is this many times that of the others. By
   * name as PEFT does it ("lora_B" in it, or "b" alone or behind a dot) and of all tensors of one axis. Default 1.
   */
  loraPlusRatio?: number;
}

/** A byte of a parameter takes about as long as so many operations of a product. */
const OPERATIONS = 6;

/**
 * AdamW (Loshchilov and Hutter 2019), step for step as PyTorch has it: decoupled weight decay, moments with bias correction. The
 * state of a parameter begins with its first gradient.
 *
 * @throws RangeError for a value out of range; TypeError for another type or an unknown option
 * @example
 * ```ts
 * import { init, tensor } from "lowrank";
 * import { AdamW } from "lowrank/lora";
 * await init();
 * const w = tensor([1, -2]);
 * const optimizer = new AdamW({ lr: 0.1, weightDecay: 0 });
 * optimizer.step({ w }, { w: [3, -0.5] }); // the first step goes by lr whatever the gradient's size
 * console.log(w.toTyped().map((x) => Math.round(1e6 * x) / 1e6)); // Float64Array(2) [ 0.9, -1.9 ]
 * ```
 */
export class AdamW extends StatefulOptimizer {
  readonly lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  readonly loraPlusRatio: number;

  constructor(options?: AdamWOptions) {
    super("adamw", ["m", "v"]);
    const given = checkOptions(options, ["lr", "betas", "eps", "weightDecay", "loraPlusRatio"]);
    const { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0.01, loraPlusRatio = 1 } = given;
    this.lr = checkNotNegative(lr, "lr");
    if (!Array.isArray(betas)) throw new TypeError(expected("betas", "two numbers", describe(betas)));
    if (betas.length !== 2) throw new RangeError(expected("betas", "two numbers", `${betas.length}`));
    this.betas = [checkBeta(betas[0], "betas[0]"), checkBeta(betas[1], "betas[1]")];
    this.eps = checkNotNegative(eps, "eps");
    this.weightDecay = checkNotNegative(weightDecay, "weightDecay");
    this.loraPlusRatio = checkNotNegative(loraPlusRatio, "loraPlusRatio");
  }

  /** @internal */
  override update(runtime: Runtime, { name, parameter, gradient, moments, step }: Update, factor: number): void {
    const [beta1, beta2] = this.betas;
    const [m, v] = moments as [Update["gradient"], Update["gradient"]];
    const fast = /(^|\.)b$|lora_B/.test(name) || parameter.ndim === 1;
    const lr = this.lr * factor * (fast ? this.loraPlusRatio : 1);
    const { size, dtype } = parameter;
    const tensors = [gradient.pointer, parameter.pointer, m.pointer, v.pointer] as const;
    const decay = 1 - lr * this.weightDecay;
    const [rate, root] = [lr / (1 - power(beta1, step)), 1 / Math.sqrt(1 - power(beta2, step))];
    const values = [size, ...tensors, 1 - beta1, beta2, 1 - beta2, decay, rate, root, this.eps] as const;
    const steps = [1, 2, 3, 4].map((position) => [position, bytesOf(dtype)] as const);
    const range = { routine: routineOf(dtype, "adamw"), length: size, values, steps, count: 0 };
    const shared = share(runtime, OPERATIONS * size * bytesOf(dtype), range, { unit: 4096 });
    if (shared === undefined) runtime[dtype].adamw(...values);
  }
}

function checkBeta(value: unknown, argument: string): number {
  const beta = checkNumberIn(value, argument, 0, 1);
  if (beta === 1) throw new RangeError(expected(argument, "a number in [0, 1)", "1"));
  return beta;
}
