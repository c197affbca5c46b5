// Stochastic gradient descent.

import { checkNumberIn, checkOptions } from "../check.js";
import type { Runtime } from "../load.js";
import { checkNotNegative, StatefulOptimizer, type Update } from "./optimizer.js";

export interface SgdOptions {
  /** Learning rate. */
  lr: number;
  /** The share of the last step that is kept, in [0, 1]. Default 0. */
  momentum?: number;
  /** weightDecay·parameter is added to the gradient. Default 0. */
  weightDecay?: number;
}

/**
 * Gradient descent with momentum, as PyTorch has it: v <- momentum·v + g + weightDecay·p, p <- p − lr·v.
 *
 * @throws RangeError for a value out of range; TypeError for another type, an unknown option or without `lr`
 * @example
 * ```ts
 * import { init, tensor } from "lowrank";
 * import { Sgd } from "lowrank/lora";
 * await init();
 * const w = tensor([1]);
 * const optimizer = new Sgd({ lr: 0.5, momentum: 0.5 });
 * optimizer.step({ w }, { w: [1] });
 * optimizer.step({ w }, { w: [1] });
 * console.log(w.toArray()); // [ -0.25 ]
 * ```
 */
export class Sgd extends StatefulOptimizer {
  readonly lr: number;
  readonly momentum: number;
  readonly weightDecay: number;

  constructor(options: SgdOptions) {
    const given = checkOptions(options, ["lr", "momentum", "weightDecay"]);
    super("sgd", given.momentum ? ["momentum"] : []);
    this.lr = checkNotNegative(given.lr, "lr");
    this.momentum = given.momentum === undefined ? 0 : checkNumberIn(given.momentum, "momentum", 0, 1);
    this.weightDecay = given.weightDecay === undefined ? 0 : checkNotNegative(given.weightDecay, "weightDecay");
  }

  /** @internal */
  override update(runtime: Runtime, { parameter, gradient, moments }: Update, factor: number): void {
    const { axpy, scal } = runtime[parameter.dtype];
    const { size, pointer } = parameter;
    const lr = this.lr * factor;
    const [velocity] = moments;
    if (velocity === undefined) {
      if (this.weightDecay > 0) scal(size, 1 - lr * this.weightDecay, pointer, 1);
      axpy(size, -lr, gradient.pointer, 1, pointer, 1);
      return;
    }
    scal(size, this.momentum, velocity.pointer, 1);
    axpy(size, 1, gradient.pointer, 1, velocity.pointer, 1);
    axpy(size, this.weightDecay, pointer, 1, velocity.pointer, 1);
    axpy(size, -lr, velocity.pointer, 1, pointer, 1);
  }
}
