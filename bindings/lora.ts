// The entry `lowrank/lora`: adapters and layers. It uses the kernel that `init` of `lowrank` or `lowrank/slim` loaded.

export { LoraAdapter, type LoraAdapterOptions } from "./lora/adapter.js";
export { LoraLinear, type LoraLinearOptions, type MergeOptions } from "./lora/linear.js";
export { type ParameterReport, type TrainableOptions, trainableParameters } from "./lora/parameters.js";
