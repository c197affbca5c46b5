// The entry `lowrank/safetensors`: files of tensors. It uses the kernel that `init` of `lowrank` or `lowrank/slim` loaded.

export { FileFormatError } from "./errors.js";
export type { WritableDType } from "./safetensors/convert.js";
export { openSafetensors, type ReadOptions, SafetensorsFile, type TensorInfo } from "./safetensors/file.js";
export type { SafetensorsDType } from "./safetensors/header.js";
export { type ModelFiles, openModel } from "./safetensors/model.js";
export type { FileSource, OpenOptions, RangeReader } from "./safetensors/source.js";
export {
  type NamedTensors,
  type StoredTensor,
  streamSafetensors,
  type Writable,
  type WriteOptions,
  writeSafetensors,
} from "./safetensors/writer.js";
