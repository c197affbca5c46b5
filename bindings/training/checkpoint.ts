// Checkpoints of a training: a safetensors file with what is trained and what the optimiser keeps.

import { checkInteger, checkOptions, describe, expected, shapeText } from "../check.js";
import { FileFormatError, OutOfMemoryError } from "../errors.js";
import type { Bytes } from "../platform.js";
import { checkSeed } from "../random.js";
import { openSafetensors, type SafetensorsFile } from "../safetensors/file.js";
import { quote } from "../safetensors/header.js";
import type { FileSource } from "../safetensors/source.js";
import { writeSafetensors } from "../safetensors/writer.js";
import { scope } from "../scope.js";
import type { Tensor } from "../tensor.js";
import type { Optimizer, OptimizerState } from "./optimizer.js";
import { Sequential } from "./sequential.js";

const FORMAT = "lowrank.checkpoint";
const VERSION = "1";

export interface CheckpointOptions {
  optimizer: Optimizer;
  /** Steps that have been made: fit()'s `startStep` when it goes on. Default 0. */
  step?: number;
  /** Of fit(). Default 0. */
  seed?: number;
}

/** Where a training stood. */
export interface TrainingPosition {
  /** Steps that had been made. */
  step: number;
  seed: number;
}

/**
 * The trained tensors of a model, the state of its optimiser and where the training stands, as a safetensors file: the bytes of one
 * moment, so that onProgress of fit() may call it after any step. Frozen weights and the optimiser's options are not in it.
 *
 * @returns the file; `__metadata__` has its format and version, step and seed
 * @throws RangeError for a model without trained tensors
 * @example
 * ```ts
 * import { init } from "lowrank";
 * import { AdamW, fit, loadCheckpoint, LoraLinear, saveCheckpoint, Sequential } from "lowrank/lora";
 * await init();
 * const loss = "softmaxCrossEntropy" as const;
 * const data = { x: [[1, 2], [3, 4], [5, 6]], y: [0, 1, 1], loss, epochs: 4, batchSize: 2 };
 * const make = () => {
 *   const layer = new LoraLinear({ weight: [[1, 0], [0, 1]] });
 *   layer.addAdapter("task", { r: 1 });
 *   return { model: new Sequential([layer]), optimizer: new AdamW() };
 * };
 * const [one, two] = [make(), make()];
 * let file = new Uint8Array();
 * const onProgress = ({ done }: { done: number }) => {
 *   if (done === 3) file = saveCheckpoint(one.model, { optimizer: one.optimizer, step: done });
 * };
 * await fit(one.model, { ...data, optimizer: one.optimizer, onProgress });
 * const { step } = await loadCheckpoint(file, two);
 * await fit(two.model, { ...data, optimizer: two.optimizer, startStep: step });
 * const learnt = [one, two].map(({ model }) => String(model.parameters()["0.lora_A.task.weight"]?.data));
 * console.log(step, learnt[0] === learnt[1]); // 3 true
 * ```
 */
export function saveCheckpoint(model: Sequential, options: CheckpointOptions): Bytes {
  const given = checkOptions(options, ["optimizer", "step", "seed"]);
  checkBoth(model, given.optimizer);
  const step = given.step === undefined ? 0 : checkInteger(given.step, "step", 0, Number.MAX_SAFE_INTEGER);
  const seed = checkSeed(given.seed);
  return scope(() => {
    const parameters = model.parameters();
    const { kind, parameters: kept } = given.optimizer.state();
    const tensors = new Map<string, Tensor>();
    const steps: { [name: string]: number } = {};
    for (const [name, tensor] of Object.entries(parameters)) tensors.set(`model.${name}`, tensor);
    if (tensors.size === 0) throw new RangeError(expected("model", "trained tensors", "none"));
    for (const [name, { step: own, moments }] of Object.entries(kept)) {
      steps[name] = own;
      for (const [moment, tensor] of Object.entries(moments)) tensors.set(`optimizer.${moment}.${name}`, tensor);
    }
    const metadata = { format: FORMAT, version: VERSION, step: `${step}`, seed: `${seed}`, optimizer: kind };
    return writeSafetensors(tensors, { metadata: { ...metadata, optimizer_steps: JSON.stringify(steps) } });
  });
}

/**
 * Writes what saveCheckpoint() kept into a model of the same layers and adapters and into an optimiser of the same kind. All is
 * read and checked before the first byte is written.
 *
 * @param source the file, as openSafetensors() takes it
 * @param into the model, whose trained tensors are written in place, and the optimiser
 * @returns the position, for fit()'s `startStep` and `seed`
 * @throws FileFormatError if it is no checkpoint, one of another version, or not one of this model or optimiser: a name or a shape
 *   is missing or another one
 */
export async function loadCheckpoint(
  source: FileSource,
  into: { model: Sequential; optimizer: Optimizer },
): Promise<TrainingPosition> {
  const { model, optimizer } = checkOptions(into, ["model", "optimizer"], "into");
  checkBoth(model, optimizer);
  const file = await openSafetensors(source);
  const read: Tensor[] = [];
  try {
    const { metadata } = file;
    if (metadata.format !== FORMAT) throw new FileFormatError("not a checkpoint of lowrank", 0);
    if (metadata.version !== VERSION) {
      throw new FileFormatError(
        `a checkpoint of version ${quote(String(metadata.version))}; this one reads ${VERSION}`,
        0,
      );
    }
    const position = { step: readInteger(metadata.step, "step"), seed: readInteger(metadata.seed, "seed") };
    const parameters = model.parameters();
    const names = namesOf(file, "model.");
    for (const name of Object.keys(parameters)) {
      if (!names.includes(name))
        throw new FileFormatError(`the checkpoint has no ${quote(name)}, which the model trains`, 0);
    }
    const values = new Map<string, Tensor>();
    for (const name of names) {
      const own = parameters[name];
      if (own === undefined)
        throw new FileFormatError(`the checkpoint has ${quote(name)}, which the model does not train`, 0);
      checkStored(file, `model.${name}`, own);
      const tensor = await file.tensor(`model.${name}`);
      read.push(tensor);
      values.set(name, tensor);
    }
    const state = await readState(file, parameters, read);
    try {
      optimizer.load(state);
    } catch (error) {
      if (error instanceof OutOfMemoryError) throw error;
      throw new FileFormatError(`the checkpoint is not one of this optimiser: ${(error as Error).message}`, 0, error);
    }
    for (const [name, tensor] of values) (parameters[name] as Tensor).data.set(tensor.data);
    return position;
  } finally {
    for (const tensor of read) tensor.dispose();
    file.close();
  }
}

function checkBoth(model: unknown, optimizer: unknown): void {
  if (!(model instanceof Sequential)) throw new TypeError(expected("model", "a Sequential", describe(model)));
  const found = optimizer as Partial<Optimizer> | null | undefined;
  if (typeof found?.state !== "function" || typeof found.load !== "function") {
    throw new TypeError(expected("optimizer", "AdamW, Sgd or another one with their methods", describe(optimizer)));
  }
}

function namesOf(file: SafetensorsFile, prefix: string): string[] {
  return file.names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
}

function checkStored(file: SafetensorsFile, name: string, { shape, dtype }: Tensor): void {
  const stored = file.info(name);
  if (stored.dtype !== (dtype === "f32" ? "F32" : "F64") || shapeText(stored.shape) !== shapeText(shape)) {
    const there = `${stored.dtype} ${shapeText(stored.shape)}`;
    throw new FileFormatError(`tensor ${quote(name)} is ${there}, the model has ${dtype} ${shapeText(shape)}`, 0);
  }
}

async function readState(
  file: SafetensorsFile,
  parameters: { readonly [name: string]: Tensor },
  read: Tensor[],
): Promise<OptimizerState> {
  const kind = file.metadata.optimizer as OptimizerState["kind"];
  const state: OptimizerState = { kind, parameters: {} };
  let steps: { [name: string]: unknown };
  try {
    steps = JSON.parse(file.metadata.optimizer_steps ?? "");
  } catch (error) {
    throw new FileFormatError("the checkpoint's optimizer_steps are not JSON", 0, error);
  }
  for (const [name, step] of Object.entries(steps)) {
    state.parameters[name] = { step: readInteger(step, `step of ${quote(name)}`), moments: {} };
  }
  for (const key of namesOf(file, "optimizer.")) {
    const dot = key.indexOf(".");
    const [moment, name] = [key.slice(0, dot), key.slice(dot + 1)];
    const own = state.parameters[name];
    if (own === undefined) throw new FileFormatError(`the checkpoint has moments of ${quote(name)}, but no steps`, 0);
    const parameter = parameters[name];
    if (parameter !== undefined) checkStored(file, `optimizer.${key}`, parameter);
    const tensor = await file.tensor(`optimizer.${key}`);
    read.push(tensor);
    own.moments[moment] = tensor;
  }
  return state;
}

function readInteger(value: unknown, what: string): number {
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  if (!Number.isSafeInteger(number) || (number as number) < 0) {
    throw new FileFormatError(`the checkpoint's ${what} is ${describe(value)}`, 0);
  }
  return number as number;
}
