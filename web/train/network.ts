// A network of 784-256-10 that learns handwritten digits, and adapters for it: all of it lives and learns in the worker.

import type { Tensor } from "lowrank";
import type { Remote } from "lowrank/worker";
import { worker } from "../kernel.js";
import type { Digits } from "./digits.js";

const [INPUTS, HIDDEN, CLASSES] = [784, 256, 10];
const BATCH = 64;
/** Singular triplets beside which SVD + LoRA trains. */
const TRIPLETS = 64;

type Layer = Awaited<InstanceType<Remote["LoraLinear"]>>;
type Model = Awaited<InstanceType<Remote["Sequential"]>>;

export interface Training {
  /** What is learnt from, in an order that follows from the seed. */
  digits: Digits;
  heldOut: Digits;
  seed: number;
  epochs: number;
  rate: number;
  signal: AbortSignal;
  /** The loss of each step's batch. */
  onStep(step: number, total: number, loss: number): void;
  /** The accuracy on the held-out digits, before the first epoch and after each. */
  onEpoch(step: number, accuracy: number): void;
}

export class Network {
  readonly #remote: Remote;
  readonly #hidden: Layer;
  readonly #output: Layer;
  readonly #model: Model;

  private constructor(remote: Remote, hidden: Layer, output: Layer, model: Model) {
    this.#remote = remote;
    this.#hidden = hidden;
    this.#output = output;
    this.#model = model;
  }

  /** Trains all weights from a random start; from then on they are frozen. */
  static async learn(training: Training): Promise<Network> {
    const remote = await worker("train");
    const { seed } = training;
    const hidden = await startLayer(remote, INPUTS, HIDDEN, seed);
    const output = await startLayer(remote, HIDDEN, CLASSES, seed + 1);
    const model = await new remote.Sequential([hidden, "relu", output]);
    try {
      await train(remote, model, training);
    } catch (error) {
      model.dispose();
      throw error;
    }
    const first = await new remote.LoraLinear(await weightsOf(hidden));
    const second = await new remote.LoraLinear(await weightsOf(output));
    model.dispose();
    return new Network(remote, first, second, await new remote.Sequential([first, "relu", second]));
  }

  /** LoRA on both layers. Returns PEFT's line. */
  async addLora(name: string, r: number, training: Training): Promise<string> {
    const modules = { hidden: this.#hidden, output: this.#output };
    const config = { r, loraAlpha: 2 * r, targetModules: ["hidden", "output"] };
    await this.#remote.applyLora(modules, config, { name, seed: training.seed });
    try {
      for (const layer of [this.#hidden, this.#output]) await layer.setAdapters(name);
      await train(this.#remote, this.#model, training);
    } catch (error) {
      await this.remove(name);
      throw error;
    }
    const shapes = {
      hidden: [HIDDEN, INPUTS],
      "hidden.bias": [HIDDEN],
      output: [CLASSES, HIDDEN],
      "output.bias": [CLASSES],
    };
    return `${await this.#remote.trainableParameters(shapes, config)}`;
  }

  /**
   * Truncated SVD with LoRA on the hidden layer: W = W_res + U·(Σ + diag(σ) + X·Y)·Vᵀ, of which σ, X and Y are trained. What they
   * have learnt becomes an adapter as the others are, so that it can be switched and served with them.
   */
  async addSvd(name: string, r: number, training: Training): Promise<string> {
    const remote = this.#remote;
    const [hidden, output] = [await weightsOf(this.#hidden), await weightsOf(this.#output)];
    const layer = await new remote.SvdLinear({ ...hidden, rank: TRIPLETS, core: { lowRank: r }, seed: training.seed });
    const last = await new remote.LoraLinear(output);
    const model = await new remote.Sequential([layer, "relu", last]);
    try {
      await train(remote, model, training);
      await this.#hidden.addAdapter(name, await layer.toLora());
      return `${await remote.trainableParameters([layer, last])}`;
    } finally {
      // and its layers
      model.dispose();
    }
  }

  async remove(name: string): Promise<void> {
    for (const layer of [this.#hidden, this.#output]) {
      if ((await layer.adapters).includes(name)) await layer.removeAdapter(name);
    }
  }

  /** Outputs (n, 10) for the images x (n, 784), each row with its own adapter, or with none: one pass over the weights for all. */
  async forward(x: Tensor, adapters: (string | null)[]): Promise<Tensor> {
    return this.#model.forward(x, { adapters });
  }

  /** PEFT's two files of an adapter. */
  async save(name: string): Promise<Record<string, Uint8Array<ArrayBuffer>>> {
    const modules = new Map();
    for (const [module, layer] of [["hidden", this.#hidden] as const, ["output", this.#output] as const]) {
      if ((await layer.adapters).includes(name)) modules.set(module, await layer.adapter(name));
    }
    return (await this.#remote.saveAdapter({ modules })) as Record<string, Uint8Array<ArrayBuffer>>;
  }

  dispose(): void {
    this.#model.dispose();
  }
}

/** A layer as PyTorch starts one: weights uniform in ±1/√in, as LoRA's A is, too. */
async function startLayer(remote: Remote, inFeatures: number, outFeatures: number, seed: number): Promise<Layer> {
  const start = await remote.LoraAdapter.create({ inFeatures, outFeatures: 1, r: outFeatures, seed, dtype: "f32" });
  const weight = (await start.a) as Tensor<"f32">;
  const layer = await new remote.LoraLinear({ weight, bias: new Float32Array(outFeatures), trainable: true });
  start.dispose();
  return layer;
}

async function weightsOf(layer: Layer): Promise<{ weight: Tensor; bias: Tensor }> {
  return { weight: await layer.weight, bias: (await layer.bias) as Tensor };
}

/** Epoch by epoch: each call goes on where the one before stopped. */
async function train(remote: Remote, model: Model, training: Training) {
  const { digits, heldOut, seed, epochs, rate, signal, onStep, onEpoch } = training;
  const optimizer = await new remote.AdamW({ lr: rate, weightDecay: 0 });
  const steps = Math.ceil(digits.y.length / BATCH);
  try {
    onEpoch(0, accuracy(await model.forward(heldOut.x), heldOut.y));
    for (let epoch = 0; epoch < epochs; epoch++) {
      const { validationAccuracy } = await remote.fit(model, {
        x: digits.x,
        y: digits.y,
        loss: "softmaxCrossEntropy",
        optimizer,
        epochs: epoch + 1,
        startStep: epoch * steps,
        batchSize: BATCH,
        seed,
        validation: heldOut,
        signal,
        onProgress: ({ done, loss }) => onStep(done, epochs * steps, loss),
      });
      onEpoch((epoch + 1) * steps, validationAccuracy[0] as number);
    }
  } finally {
    optimizer.dispose();
  }
}

/** The class of each row: where its largest output is. */
export function answers(output: Tensor): number[] {
  const values = output.data;
  return Array.from({ length: output.shape[0] as number }, (_, row) => {
    let best = 0;
    for (let j = 1; j < CLASSES; j++) {
      if ((values[row * CLASSES + j] as number) > (values[row * CLASSES + best] as number)) best = j;
    }
    return best;
  });
}

export function accuracy(output: Tensor, y: ArrayLike<number>): number {
  const right = answers(output).filter((answer, i) => answer === y[i]);
  return right.length / y.length;
}
