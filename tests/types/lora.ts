// The entry `lowrank/lora`.
import { type DType, type Tensor, tensor } from "lowrank";
import type * as lora from "lowrank/lora";
import {
  AdamW,
  type AdapterGradients,
  applyLora,
  type CombineOptions,
  combineAdapters,
  type FitOptions,
  type FitProgress,
  fit,
  type Gradients,
  type History,
  LoraAdapter,
  type LoraAdapterOptions,
  LoraConfig,
  LoraLinear,
  type LoraLinearOptions,
  type Loss,
  loadCheckpoint,
  loss,
  type MergeOptions,
  type Optimizer,
  type OptimizerState,
  type ParameterReport,
  Sequential,
  Sgd,
  SvdLinear,
  saveCheckpoint,
  schedule,
  type TrainableOptions,
  trainableParameters,
} from "lowrank/lora";
import type { IsAny, Same } from "./assert.js";
import { sure } from "./assert.js";

const weight = tensor(new Float32Array(6), { shape: [2, 3] });
const a = tensor(new Float32Array(3), { shape: [1, 3] });
const b = tensor(new Float32Array(2), { shape: [2, 1] });

// f32 tensors make f32 layers
const adapter = new LoraAdapter({ a, b, alpha: 16, useRslora: true });
sure<Same<typeof adapter, LoraAdapter<"f32">>>();
sure<Same<typeof adapter.a, Tensor<"f32">>>();
sure<Same<ReturnType<typeof adapter.delta>, Tensor<"f32">>>();
const layer = new LoraLinear({ weight });
sure<Same<typeof layer, LoraLinear<"f32">>>();
layer.addAdapter("task", adapter);
const y = layer.forward([[1, 2, 3]]);
sure<Same<typeof y, Tensor<"f32">>>();
sure<Same<typeof y.data, Float32Array>>();
const merge: MergeOptions = { safe: true, keepBase: false };
layer.merge("task", merge);
sure<Same<typeof layer.merged, string[]>>();

sure<Same<typeof layer.active, { [name: string]: number }>>();
layer.setAdapters({ task: 0.5 });
const gradients = layer.backward(layer.forward([[1, 2, 3]], { train: true, seed: 1 }), { x: false });
sure<Same<typeof gradients, Gradients<"f32">>>();
const ofTask: AdapterGradients<"f32"> | undefined = gradients.adapters.task;
layer.forward([[1, 2, 3]], { adapters: ["task"] });
// @ts-expect-error: null is the base, undefined nothing
layer.forward([[1, 2, 3]], { adapters: [undefined] });
layer.addAdapter("made", { r: 4, initLoraWeights: "gaussian" }, { seed: 3 });
layer.addAdapter("made from a file", LoraConfig.fromJSON({ r: 4 }));
// @ts-expect-error: PEFT's name is r
layer.addAdapter("rank", { rank: 4 });
const combination: CombineOptions = { method: "ties_svd", density: 0.5, rank: 4 };
const combined = combineAdapters([{ adapter, weight: 0.5 }], combination);
sure<Same<typeof combined, LoraAdapter<"f32">>>();
// @ts-expect-error: no such method
combineAdapters([{ adapter, weight: 1 }], { method: "average" });
const applied: { targeted: string[]; skipped: string[] } = applyLora({ layer }, { targetModules: "all-linear" });
const created = LoraAdapter.create({ inFeatures: 3, outFeatures: 2, dtype: "f32", init: "unit" });
sure<Same<typeof created, LoraAdapter<"f32">>>();

const { adapter: part, residual } = LoraAdapter.create({ inFeatures: 3, outFeatures: 2, init: "pissa", base: weight });
sure<Same<typeof part, LoraAdapter<"f32">>>();
sure<Same<typeof residual, Tensor<"f32">>>();
sure<Same<ReturnType<typeof layer.toLora>, LoraAdapter<"f32">>>();

// training
const core = new SvdLinear({ weight, rank: 2, residual: "drop", core: { lowRank: 1, trainSigma: false } });
sure<Same<typeof core, SvdLinear<"f32">>>();
new SvdLinear({ weight, rank: 2, core: { scaleShift: 1, lowRank: 1 } });
// @ts-expect-error: no such core
new SvdLinear({ weight, rank: 2, core: "sparse" });
const row = tensor(new Float32Array(2), { shape: [1, 2] });
const head = new LoraLinear({ weight: row });
const model = new Sequential([layer, "gelu", head]);
sure<Same<typeof model, Sequential<"f32">>>();
// @ts-expect-error: no such activation
new Sequential([layer, "elu"]);
const output = model.forward([[1, 2, 3]], { train: true });
const found: Loss<"f32"> = loss("softmaxCrossEntropy", output, Uint8Array.of(0));
const optimizer: Optimizer = new AdamW({ lr: 1e-3, loraPlusRatio: 16 });
optimizer.step(model.parameters(), model.backward(found.grad), 0.5);
const kept: OptimizerState = new Sgd({ lr: 0.1, momentum: 0.9 }).state();
const training: FitOptions = {
  ...{ x: weight, y: [0, 0], loss: "softmaxCrossEntropy", optimizer, epochs: 1, batchSize: 2 },
  schedule: schedule("cosine", { warmup: 1, total: 10 }),
  onProgress: ({ done, total, epoch, loss: value }: FitProgress) => void [done, total, epoch, value],
};
async function trained(): Promise<History> {
  const file: Uint8Array = saveCheckpoint(model, { optimizer, step: 3 });
  const { step, seed } = await loadCheckpoint(file, { model, optimizer });
  return fit(model, { ...training, startStep: step, seed });
}
// @ts-expect-error: a loss is missing
fit(model, { x: weight, y: [0, 0], optimizer, epochs: 1, batchSize: 2 });

// of anything else the dtype is known at run time, as it is of adapters from files
const plain = new LoraLinear({ weight: [[1, 2]], bias: [0], fanInFanOut: false });
sure<Same<typeof plain, LoraLinear<DType>>>();
plain.addAdapter("task", new LoraAdapter({ a: [[1, 2]], b: [[1]] }));
layer.addAdapter("from a file", adapter as LoraAdapter);

// @ts-expect-error: the weight is missing
new LoraLinear({});
// @ts-expect-error: as is b
new LoraAdapter({ a });
// @ts-expect-error: no such option
new LoraAdapter({ a, b, lora_alpha: 16 });
// @ts-expect-error: factors do not change
adapter.a = a;
const report: ParameterReport = trainableParameters([layer, plain]);
trainableParameters({ "0.weight": [768, 768], other: plain } as const, { r: 4, targetModules: ["0"] });
// @ts-expect-error: r is a number
trainableParameters([layer], { r: "4" });
const options: [LoraAdapterOptions, LoraLinearOptions, TrainableOptions] = [{ a, b }, { weight }, { r: 1 }];

function held(): number {
  using own = new LoraLinear({ weight });
  return own.inFeatures;
}

type Anys<M> = {
  [K in keyof M]: IsAny<M[K]> extends true
    ? K
    : M[K] extends (...a: never[]) => infer R
      ? IsAny<R> extends true
        ? K
        : never
      : never;
}[keyof M];
sure<Same<Anys<typeof lora>, never>>();
sure<Same<Anys<LoraAdapter>, never>>();
sure<Same<Anys<LoraLinear>, never>>();

sure<Same<Anys<SvdLinear>, never>>();
sure<Same<Anys<Sequential>, never>>();
sure<Same<Anys<AdamW>, never>>();

export { applied, held, kept, ofTask, options, report, trained };
