// The entry `lowrank/lora`.
import { type DType, type Tensor, tensor } from "lowrank";
import type * as lora from "lowrank/lora";
import {
  type AdapterGradients,
  applyLora,
  type CombineOptions,
  combineAdapters,
  type Gradients,
  LoraAdapter,
  type LoraAdapterOptions,
  LoraConfig,
  LoraLinear,
  type LoraLinearOptions,
  type MergeOptions,
  type ParameterReport,
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

export { applied, held, ofTask, options, report };
