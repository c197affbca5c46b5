// What `lowrank` and `lowrank/slim` have in common: everything but `init`.

export { type MatmulOptions, matmul } from "./blas/matmul.js";
export { ConvergenceError, type ErrorCode, NonFiniteError, OutOfMemoryError } from "./errors.js";
export { Factorization, type Recommendation } from "./factors/factorization.js";
export { type FactorizeOptions, factorize } from "./factors/factorize.js";
export type { MlMatrix, OnnxTensor, StridedArray, TensorLike, TfjsTensor } from "./interop.js";
export { type Kabsch, kabsch } from "./linalg/kabsch.js";
export { type LowRank, lowRank } from "./linalg/low_rank.js";
export { type Lstsq, type LstsqOptions, lstsq } from "./linalg/lstsq.js";
export { type MatrixRankOptions, matrixRank } from "./linalg/matrix_rank.js";
export { type ConditionOrder, cond, type NormOrder, norm } from "./linalg/norm.js";
export { pinv } from "./linalg/pinv.js";
export { type PolarOptions, polar } from "./linalg/polar.js";
export { type Procrustes, procrustes } from "./linalg/procrustes.js";
export { type Qr, type QrOptions, qr } from "./linalg/qr.js";
export type { Rank } from "./linalg/rank_rule.js";
export { nullSpace, orth, type SubspaceOptions } from "./linalg/subspaces.js";
export { truncationRank } from "./linalg/truncation_rank.js";
export type { Tolerances } from "./linalg/values.js";
export {
  type Capabilities,
  capabilities,
  type InitOptions,
  type KernelOption,
  type KernelVariants,
  type Source,
  terminate,
} from "./load.js";
export type { LinearOperator } from "./operator.js";
export { IncrementalPCA, type IncrementalPcaOptions } from "./pca/incremental_pca.js";
export { PCA, type PcaOptions } from "./pca/pca.js";
export type { PcaJson } from "./pca/projection.js";
export { tfidf } from "./pca/tfidf.js";
export { TruncatedSVD, type TruncatedSvdOptions } from "./pca/truncated_svd.js";
export type { Abortable, Progress, ProgressOptions } from "./progress.js";
export type { ErrorBound } from "./randomized/error_bound.js";
export { type RandomizedSvd, type RandomizedSvdOptions, randomizedSvd } from "./randomized/randomized_svd.js";
export { scope } from "./scope.js";
export { Csr, type CsrParts, csr, type IndexList } from "./sparse/csr.js";
export { type Svd, type SvdOptions, svd, svdvals } from "./svd/svd.js";
export { type Svds, type SvdsOptions, svds } from "./svds/svds.js";
export { type DType, empty, eye, type Nested, Tensor, tensor, zeros } from "./tensor.js";
