// The training loop.

import { checkInteger, checkOneOf, checkOptions, describe, expected, MAX_SIZE, shapeText } from "../check.js";
import { failure } from "../errors.js";
import { commonDtype, copyIn, decode, type Source, type TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { type Abortable, checkProgress, type Progress } from "../progress.js";
import { checkSeed, STREAM } from "../random.js";
import { callBack, run, turn } from "../scope.js";
import { type DType, Tensor } from "../tensor.js";
import {
  checkLabels,
  checkTarget,
  crossEntropy,
  type Labels,
  LOSSES,
  type Loss,
  type LossName,
  squaredError,
} from "./loss.js";
import { clipGradients, type Optimizer } from "./optimizer.js";
import { mix, Sequential } from "./sequential.js";

/** What onProgress of fit() gets after each step: `done` of `total` steps, those before `startStep` included. */
export interface FitProgress extends Progress {
  /** Of the step that was made; from 0. */
  readonly epoch: number;
  /** The loss of its batch, before the step. */
  readonly loss: number;
  /** Norm of all gradients together, before clipping. */
  readonly gradientNorm: number;
}

export interface FitOptions {
  /** (samples, …, in). */
  x: TensorLike;
  /** Labels, one a sample, or numbers in the shape of the model's output. */
  y: Labels;
  loss: LossName;
  optimizer: Optimizer;
  /** Factor of the learning rate by step: see schedule(), or a list with one for each step. Default: 1. */
  schedule?: ((step: number) => number) | ArrayLike<number> | undefined;
  epochs: number;
  /** Samples of a step; the last one of an epoch may have fewer. */
  batchSize: number;
  /** Of the order of the samples and of what dropout drops. Default 0. */
  seed?: number | undefined;
  /** Whether each epoch has the samples in another order. Default true. */
  shuffle?: boolean | undefined;
  /** Gradients of a larger norm, all together, are scaled to this one. Default: no limit. */
  clipNorm?: number | undefined;
  /** What is looked at after each epoch. */
  validation?: { x: TensorLike; y: Labels } | undefined;
  /** Goes on where that many steps have been made, with the model and the optimiser as they were then. Default 0. */
  startStep?: number | undefined;
  /** Called after each step, when model and optimiser are those of a whole step; may abort `signal`. What it throws ends the call. */
  onProgress?: ((progress: FitProgress) => void) | undefined;
  /** An AbortSignal: once it is aborted, the promise is rejected with its reason between two steps. */
  signal?: Abortable | undefined;
}

/** What fit() saw. */
export interface History {
  /** Of each epoch that this call took part in: the mean loss of its samples, each as it was when its batch came. */
  loss: number[];
  /** After each epoch, of the validation samples. */
  validationLoss: number[];
  /** After each epoch, the fraction of validation samples whose largest output is that of their label ("softmaxCrossEntropy"). */
  validationAccuracy: number[];
  /** Steps made by now, those before `startStep` included. */
  steps: number;
}

const OPTIONS = [
  "x",
  "y",
  "loss",
  "optimizer",
  "schedule",
  "epochs",
  "batchSize",
  "seed",
  "shuffle",
  "clipNorm",
  "validation",
  "startStep",
  "onProgress",
  "signal",
] as const;

/**
 * Trains a model: batches in an order that (seed, epoch) fix, forward and backward pass, clipping, a step of the optimiser. The same
 * arguments give the same bits, on every engine with the strict build; so does a training that was stopped and goes on with
 * `startStep` from a checkpoint (see saveCheckpoint). Between two batches the event loop turns.
 *
 * @returns losses; the model and the optimiser have changed in place
 * @throws (as rejection) the signal's reason, or what onProgress threw, after a whole step; Error (code "non_finite_loss") that
 *   names the step, counted from 0, if the loss or a gradient is NaN or Infinity: weights and optimiser are those of the step before. Before the
 *   first step: RangeError for an empty batch, labels out of range, a model with nothing to train, shapes and values; TypeError
 *   for wrong types
 * @example
 * ```ts
 * import { init, tensor } from "lowrank";
 * import { AdamW, fit, LoraLinear, Sequential } from "lowrank/lora";
 * await init();
 * const layer = new LoraLinear({ weight: [[1, 0], [0, 1]] });
 * layer.addAdapter("swap", { r: 2, loraAlpha: 4 });
 * const x = tensor([[1, 0], [0, 1], [2, 1], [1, 3]]);
 * const y = [[0, 1], [1, 0], [1, 2], [3, 1]];
 * const optimizer = new AdamW({ lr: 0.05 });
 * const options = { x, y, loss: "meanSquaredError", optimizer, epochs: 100, batchSize: 3 } as const;
 * const { loss, steps } = await fit(new Sequential([layer]), options);
 * console.log(steps, (loss[0] ?? 0) > 1, (loss[99] ?? 1) < 1e-3); // 200 true true
 * ```
 */
export async function fit(model: Sequential, options: FitOptions): Promise<History> {
  const plan = run((runtime) => prepare(runtime, model, options));
  const history: History = { loss: [], validationLoss: [], validationAccuracy: [], steps: plan.startStep };
  try {
    for (let first = plan.startStep; first < plan.total; ) {
      const epoch = Math.floor(first / plan.perEpoch);
      const end = (epoch + 1) * plan.perEpoch;
      const order = orderOf(plan, epoch);
      let [sum, count] = [0, 0];
      for (let step = first; step < end; step++) {
        const made = oneStep(plan, step, order);
        history.steps = step + 1;
        sum += made.loss * made.count;
        count += made.count;
        plan.report({ done: step + 1, total: plan.total, epoch, loss: made.loss, gradientNorm: made.gradientNorm });
        await turn();
        plan.stopIfAborted();
      }
      history.loss.push(sum / count);
      if (plan.validation !== undefined) {
        const seen = await evaluate(plan, plan.validation);
        history.validationLoss.push(seen.loss);
        if (seen.accuracy !== undefined) history.validationAccuracy.push(seen.accuracy);
      }
      first = end;
    }
    return history;
  } finally {
    dispose(plan);
  }
}

/** Samples in kernel memory. */
interface Samples {
  count: number;
  x: Tensor;
  /** The shape of one. */
  shape: readonly number[];
  labels: Int32Array | undefined;
  target: Tensor | undefined;
}

interface Plan {
  model: Sequential;
  loss: LossName;
  optimizer: Optimizer;
  schedule: (step: number) => number;
  clipNorm: number;
  seed: number;
  shuffle: boolean;
  batchSize: number;
  perEpoch: number;
  startStep: number;
  total: number;
  train: Samples;
  validation: Samples | undefined;
  /** A batch of x, and of the target. */
  batch: { x: Tensor; target: Tensor | undefined };
  report: (progress: FitProgress) => void;
  stopIfAborted: () => void;
}

function prepare(runtime: Runtime, model: Sequential, options: FitOptions): Plan {
  if (!(model instanceof Sequential)) throw new TypeError(expected("model", "a Sequential", describe(model)));
  if (typeof options !== "object" || options === null) {
    throw new TypeError(expected("options", "an object", describe(options)));
  }
  const given = checkOptions(options, OPTIONS);
  const name = checkOneOf(given.loss, "loss", LOSSES);
  const { optimizer, shuffle = true, onProgress } = given;
  for (const method of ["step", "state", "load"] as const) {
    if (typeof optimizer?.[method] !== "function") {
      throw new TypeError(expected("optimizer", "AdamW, Sgd or another one with their methods", describe(optimizer)));
    }
  }
  if (typeof shuffle !== "boolean") throw new TypeError(expected("shuffle", "a boolean", describe(shuffle)));
  const most = Number.MAX_SAFE_INTEGER;
  const epochs = checkInteger(given.epochs, "epochs", 1, 2 ** 24);
  const wanted = checkInteger(given.batchSize, "batchSize", 1, MAX_SIZE);
  const seed = checkSeed(given.seed);
  const clipNorm = given.clipNorm === undefined ? Infinity : given.clipNorm;
  if (typeof clipNorm !== "number") throw new TypeError(expected("clipNorm", "a number", describe(clipNorm)));
  if (!(clipNorm > 0)) throw new RangeError(expected("clipNorm", "a number > 0", String(clipNorm)));
  // looks at both options, and throws where the signal is aborted already
  checkProgress({ onProgress: onProgress as never, signal: given.signal });
  if (Object.keys(model.parameters()).length === 0) {
    throw new RangeError(expected("model", "something to train", "neither an adapter nor a trainable weight or core"));
  }
  const sources = decodeSamples(model, name, given, "");
  const batchSize = Math.min(wanted, sources.count);
  const perEpoch = Math.ceil(sources.count / batchSize);
  const total = epochs * perEpoch;
  const startStep =
    given.startStep === undefined ? 0 : checkInteger(given.startStep, "startStep", 0, Math.min(total, most));
  const schedule = checkSchedule(given.schedule, total);
  if (given.validation !== undefined) checkOptions(given.validation, ["x", "y"], "validation");
  const others = given.validation && decodeSamples(model, name, given.validation, "validation.");
  // all is checked: now memory
  const train = placeSamples(runtime, model.dtype, sources);
  const validation = others && placeSamples(runtime, model.dtype, others);
  const x = Tensor.allocate(runtime, [batchSize, ...train.shape], model.dtype);
  const target = train.target && Tensor.allocate(runtime, [batchSize, ...train.target.shape.slice(1)], model.dtype);
  const { signal } = given;
  return {
    ...{ model, loss: name, optimizer, schedule, clipNorm, seed, shuffle, batchSize, perEpoch, startStep, total },
    train: hold(train),
    validation: validation && hold(validation),
    batch: { x: x.hold(), target: target?.hold() },
    report: (progress) => onProgress?.(progress),
    stopIfAborted: () => {
      if (signal?.aborted) throw signal.reason;
    },
  };
}

function checkSchedule(schedule: unknown, total: number): (step: number) => number {
  if (schedule === undefined) return () => 1;
  if (typeof schedule === "function") return schedule as (step: number) => number;
  if (!Array.isArray(schedule) && !ArrayBuffer.isView(schedule)) {
    throw new TypeError(expected("schedule", "a function, or a list of factors", describe(schedule)));
  }
  const factors = schedule as ArrayLike<number>;
  if (!(factors.length >= total)) throw new RangeError(expected("schedule", `${total} factors`, `${factors.length}`));
  return (step) => factors[step] as number;
}

interface Sources {
  count: number;
  x: Source;
  labels: Int32Array | undefined;
  target: Source | undefined;
}

/** Samples and what is wanted of them, checked; nothing is placed yet. */
function decodeSamples(model: Sequential, name: LossName, given: { x: TensorLike; y: Labels }, where: string): Sources {
  const x = decode(given.x, `${where}x`);
  const shape = `shape (samples, …, ${model.inFeatures})`;
  if (x.shape.length < 2 || x.shape[x.shape.length - 1] !== model.inFeatures) {
    throw new RangeError(expected(`${where}x`, shape, shapeText(x.shape)));
  }
  const [count] = x.shape as [number];
  if (x.shape.includes(0))
    throw new RangeError(expected(`${where}x`, "at least one sample", `shape ${shapeText(x.shape)}`));
  commonDtype([
    ["model", model],
    [`${where}x`, x],
  ]);
  const lead = x.shape.slice(0, -1);
  if (name === "softmaxCrossEntropy") {
    const labels = checkLabels(given.y, `${where}y`, lead, model.outFeatures);
    return { count, x, labels, target: undefined };
  }
  const target = decode(given.y, `${where}y`);
  checkTarget(target, `${where}y`, [...lead, model.outFeatures]);
  commonDtype([
    ["model", model],
    [`${where}y`, target],
  ]);
  return { count, x, labels: undefined, target };
}

function placeSamples(runtime: Runtime, dtype: DType, { count, x, labels, target }: Sources): Samples {
  const placeOne = (source: Source) => (source.tensor?.contiguous ? source.tensor : copyIn(runtime, source, dtype));
  return { count, x: placeOne(x), shape: x.shape.slice(1), labels, target: target && placeOne(target) };
}

function hold(samples: Samples): Samples {
  return { ...samples, x: samples.x.hold(), target: samples.target?.hold() };
}

function dispose({ model, train, validation, batch }: Plan): void {
  for (const { x, target } of validation === undefined ? [train, batch] : [train, validation, batch]) {
    x.dispose();
    target?.dispose();
  }
  model.forgetAll();
}

/** The order of the samples in an epoch. */
function orderOf({ seed, shuffle, train: { count } }: Plan, epoch: number): Int32Array {
  if (!shuffle) return Int32Array.from({ length: count }, (_, i) => i);
  return run((runtime) => {
    const list = runtime.scratch.push(4 * count);
    runtime.common.permutation(seed, STREAM.order + EPOCHS_APART * epoch, count, list);
    return new Int32Array(runtime.memory.buffer, list, count).slice();
  });
}

/** More than there are purposes in STREAM. */
const EPOCHS_APART = 256;

interface Step {
  loss: number;
  gradientNorm: number;
  count: number;
}

/** One step, whole or not at all: everything that may fail comes before the optimiser writes. */
function oneStep(plan: Plan, step: number, order: Int32Array): Step {
  return run((runtime) => {
    const { model, optimizer, perEpoch, batchSize, train, batch, seed } = plan;
    const first = (step % perEpoch) * batchSize;
    const count = Math.min(batchSize, train.count - first);
    const rows = order.subarray(first, first + count);
    const x = gather(runtime, train.x, rows, batch.x);
    const output = model.forward(x, { train: true, seed: mix(seed, step) });
    const { value, grad } = lossOf(runtime, plan, train, rows, output);
    if (!Number.isFinite(value)) throw diverged(step, `the loss is ${value}`);
    const gradients = model.backward(grad);
    const gradientNorm = clipGradients(gradients, plan.clipNorm);
    if (!Number.isFinite(gradientNorm)) throw diverged(step, `the norm of its gradient is ${gradientNorm}`);
    // as if called from outside: what a caller's own optimiser keeps is not freed with the step
    callBack(() => optimizer.step(model.parameters(), gradients, plan.schedule(step)));
    return { loss: value, gradientNorm, count };
  });
}

function diverged(step: number, what: string): Error {
  return failure("non_finite_loss", `step ${step}: ${what}; the weights are those of the step before`);
}

/** The listed samples in the first rows of a batch. */
function gather(runtime: Runtime, samples: Tensor, rows: Int32Array, batch: Tensor): Tensor {
  const list = runtime.scratch.push(rows.byteLength);
  new Int32Array(runtime.memory.buffer, list, rows.length).set(rows);
  const width = samples.size / (samples.shape[0] as number);
  runtime[samples.dtype].gatherRows(rows.length, width, list, samples.pointer, batch.pointer);
  return batch.subtensor(0, rows.length);
}

function lossOf(runtime: Runtime, plan: Plan, samples: Samples, rows: Int32Array, output: Tensor): Loss {
  const { labels, target } = samples;
  if (labels === undefined) {
    return squaredError(runtime, output, gather(runtime, target as Tensor, rows, plan.batch.target as Tensor));
  }
  const each = labels.length / samples.count;
  const wanted = Int32Array.from({ length: rows.length * each }, (_, i) => {
    return labels[(rows[Math.floor(i / each)] as number) * each + (i % each)] as number;
  });
  return crossEntropy(runtime, output, wanted);
}

/** Loss and accuracy of samples, a batch at a time. */
async function evaluate(plan: Plan, samples: Samples) {
  const { model, batchSize } = plan;
  let [sum, right] = [0, 0];
  for (let first = 0; first < samples.count; first += batchSize) {
    const count = Math.min(batchSize, samples.count - first);
    run((runtime) => {
      const output = model.forward(samples.x.subtensor(first, first + count));
      const { target, labels } = samples;
      if (labels === undefined) {
        sum += count * squaredError(runtime, output, (target as Tensor).subtensor(first, first + count)).value;
        return;
      }
      const each = labels.length / samples.count;
      const wanted = labels.subarray(first * each, (first + count) * each);
      sum += count * crossEntropy(runtime, output, wanted).value;
      right += countRight(output, wanted) / each;
    });
    await turn();
    plan.stopIfAborted();
  }
  return { loss: sum / samples.count, accuracy: samples.labels && right / samples.count };
}

/** Rows whose largest output, the first of equals, is that of their label. */
function countRight(output: Tensor, labels: Int32Array): number {
  const classes = output.shape[output.ndim - 1] as number;
  const values = output.data;
  let right = 0;
  for (let i = 0; i < labels.length; i++) {
    let best = 0;
    for (let j = 1; j < classes; j++) {
      if ((values[i * classes + j] as number) > (values[i * classes + best] as number)) best = j;
    }
    if (best === labels[i]) right++;
  }
  return right;
}
