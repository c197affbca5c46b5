// What a worker offers by name: one line for a function, one for a class. A new export of `lowrank`, `lowrank/lora` or
// `lowrank/safetensors` joins by its line here; a test names those that are missing.

/** Functions; a name with a dot is a function's property. */
export const FUNCTIONS: readonly string[] = [
  "tensor",
  "zeros",
  "empty",
  "eye",
  "matmul",
  "svd",
  "svdvals",
  "svds",
  "randomizedSvd",
  "lowRank",
  "truncationRank",
  "qr",
  "lstsq",
  "pinv",
  "matrixRank",
  "norm",
  "cond",
  "orth",
  "nullSpace",
  "polar",
  "procrustes",
  "kabsch",
  "factorize",
  "tfidf",
  "csr",
  "csr.fromCoo",
  "applyLora",
  "batchedLora",
  "combineAdapters",
  "extractAdapter",
  "matchTargets",
  "quantize",
  "resizeAdapter",
  "trainableParameters",
  "clipGradients",
  "fit",
  "loadCheckpoint",
  "loss",
  "saveCheckpoint",
  "adapterFormat",
  "combineAdapterFiles",
  "extractModel",
  "loadAdapter",
  "mergeModel",
  "modelModules",
  "resizeAdapterFile",
  "saveAdapter",
  "openModel",
  "openSafetensors",
  "streamSafetensors",
  "writeSafetensors",
];

/** A class: its methods, the properties that can be read (with `=` before the name also set), its static methods. */
interface ClassLine {
  readonly methods: string;
  readonly properties: string;
  readonly statics?: string;
}

export const CLASSES: { readonly [name: string]: ClassLine } = {
  Csr: {
    methods: "multiply multiplyTransposed transpose scaleRows scaleColumns columnSums rowNorms toDense",
    properties: "dtype shape nnz data indices indptr",
  },
  Factorization: {
    methods: "predict recommend rmse",
    properties: "users items userBias itemBias mean dtype shape",
  },
  PCA: {
    methods: "fit fitTransform transform inverseTransform toJSON",
    properties: "components explainedVariance explainedVarianceRatio singularValues mean noiseVariance whiten",
    statics: "fromJSON",
  },
  IncrementalPCA: {
    methods: "fit fitTransform transform inverseTransform partialFit merge variances toJSON",
    properties:
      "components explainedVariance explainedVarianceRatio singularValues mean noiseVariance samplesSeen whiten",
    statics: "fromJSON",
  },
  TruncatedSVD: {
    methods: "fit fitTransform transform inverseTransform",
    properties: "components explainedVariance explainedVarianceRatio singularValues",
  },
  LoraAdapter: {
    methods: "delta singularValues",
    properties: "a b bias magnitude r alpha useRslora dropout scaling dtype inFeatures outFeatures",
    statics: "create",
  },
  LoraConfig: {
    methods: "toJSON",
    properties:
      "r loraAlpha loraDropout bias targetModules excludeModules taskType useRslora useDora loraBias fanInFanOut " +
      "initLoraWeights rankPattern alphaPattern layersToTransform layersPattern modulesToSave extra",
    statics: "fromJSON",
  },
  LoraLinear: {
    methods: "forward backward addAdapter removeAdapter setAdapters adapter merge unmerge toLora",
    properties:
      "weight bias quantized dtype inFeatures outFeatures adapters active =enabled merged trainable biasTrainable",
  },
  SvdLinear: {
    methods: "forward backward merge toLora",
    properties: "u s vt residual bias core scaling dtype inFeatures outFeatures rank",
  },
  Sequential: {
    methods: "forward backward parameters",
    properties: "layers dtype inFeatures outFeatures",
  },
  AdamW: {
    methods: "step state load",
    properties: "lr betas eps weightDecay loraPlusRatio",
  },
  Sgd: {
    methods: "step state load",
    properties: "lr momentum weightDecay",
  },
  AdapterPool: {
    methods: "register remove pin unpin has stats",
    properties: "ids dtype inFeatures outFeatures capacityBytes",
  },
  QuantizedTensor: {
    methods: "dequantize",
    properties: "kind dtype shape doubleQuant byteLength",
  },
  SafetensorsFile: {
    methods: "has info tensor quantized bytes close",
    properties: "metadata names shards",
  },
};

/** Asynchronous functions that take onProgress and signal themselves, and at which place of their arguments. */
export const OPTIONS_AT: { readonly [name: string]: number } = {
  extractModel: 2,
  fit: 1,
  openModel: 1,
  openSafetensors: 1,
};

/** Functions and methods that write into tensors among their arguments which they do not return. */
export const WRITERS: readonly string[] = ["batchedLora", "clipGradients", "AdamW.step", "Sgd.step"];

/** Names of a line. */
export function namesIn(line: string | undefined): string[] {
  return line === undefined || line === "" ? [] : line.split(" ");
}
