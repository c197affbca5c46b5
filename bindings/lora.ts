// The entry `lowrank/lora`: adapters and layers. It uses the kernel that `init` of `lowrank` or `lowrank/slim` loaded.

export type { Rank } from "./linalg/rank_rule.js";
export { LoraAdapter, type LoraAdapterOptions, type LoraCreateOptions, type LoraInit } from "./lora/adapter.js";
export { type Applied, type ApplyOptions, applyLora } from "./lora/apply.js";
export { type BatchedLoraOptions, batchedLora } from "./lora/batched.js";
export { type CombineMethod, type CombineOptions, combineAdapters, type WeightedAdapter } from "./lora/combine.js";
export type { AdapterGradients } from "./lora/compute.js";
export { type InitLoraWeights, LoraConfig, type LoraConfigOptions } from "./lora/config.js";
export { type ExtractOptions, extractAdapter } from "./lora/extract.js";
export type { AdapterFile, AdapterFormat, ModuleKind } from "./lora/files/adapter_file.js";
export { combineAdapterFiles } from "./lora/files/combine_files.js";
export {
  type ExtractionReport,
  type ExtractModelOptions,
  type ExtractModelSettings,
  extractModel,
  type LayerReport,
} from "./lora/files/extract_model.js";
export { type AdapterSource, adapterFormat, type LoadAdapterOptions, loadAdapter } from "./lora/files/load.js";
export { type MergeModelOptions, mergeModel, type WeightedAdapterFile } from "./lora/files/merge_model.js";
export { type ModelModule, modelModules } from "./lora/files/model_modules.js";
export { type ResizeReport, resizeAdapterFile } from "./lora/files/resize_file.js";
export { type SaveAdapterOptions, saveAdapter } from "./lora/files/save.js";
export {
  type BackwardOptions,
  type ForwardOptions,
  type Gradients,
  LoraLinear,
  type LoraLinearOptions,
  type MergeOptions,
} from "./lora/linear.js";
export { type ParameterReport, type TrainableOptions, trainableParameters } from "./lora/parameters.js";
export { AdapterPool, type AdapterPoolOptions, type PoolStats } from "./lora/pool.js";
export { type KohyaRule, resizeAdapter, type TruncatedAdapter } from "./lora/resize.js";
export type { BaseInit } from "./lora/start_from_base.js";
export type { SvdCore } from "./lora/svd_core.js";
export { type SvdGradients, SvdLinear, type SvdLinearOptions } from "./lora/svd_linear.js";
export { type MatchOptions, matchTargets, type TargetModule } from "./lora/targets.js";
export { type QuantizedKind, QuantizedTensor, type QuantizeOptions, quantize } from "./quantized/quantize.js";
export { AdamW, type AdamWOptions } from "./training/adamw.js";
export {
  type CheckpointOptions,
  loadCheckpoint,
  saveCheckpoint,
  type TrainingPosition,
} from "./training/checkpoint.js";
export { type FitOptions, type FitProgress, fit, type History } from "./training/fit.js";
export { type Labels, type Loss, type LossName, loss } from "./training/loss.js";
export {
  clipGradients,
  type NamedTensors,
  type Optimizer,
  type OptimizerState,
  type ParameterState,
  type StatefulOptimizer,
} from "./training/optimizer.js";
export { type ScheduleOptions, schedule } from "./training/schedule.js";
export { type Activation, type Layer, Sequential, type SequentialForwardOptions } from "./training/sequential.js";
export { Sgd, type SgdOptions } from "./training/sgd.js";
