// The entry `lowrank/lora`.
import { type DType, type Tensor, tensor } from "lowrank";
import type * as lora from "lowrank/lora";
import {
  LoraAdapter,
  type LoraAdapterOptions,
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
sure<Same<typeof layer.merged, string | null>>();

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

export { held, options, report };
