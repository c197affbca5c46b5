// The entry `lowrank`.
import * as lowrank from "lowrank";
import {
  type Capabilities,
  ConvergenceError,
  type capabilities,
  csr,
  type DType,
  empty,
  eye,
  type Factorization,
  factorize,
  type InitOptions,
  init,
  type Kabsch,
  kabsch,
  type LowRank,
  type Lstsq,
  lowRank,
  lstsq,
  matmul,
  matrixRank,
  type Nested,
  NonFiniteError,
  norm,
  OutOfMemoryError,
  pinv,
  type Qr,
  qr,
  type Rank,
  type Recommendation,
  randomizedSvd,
  type Svd,
  scope,
  svd,
  svdvals,
  Tensor,
  type TensorLike,
  tensor,
  terminate,
  zeros,
} from "lowrank";
import type { IsAny, Same } from "./assert.js";
import { sure } from "./assert.js";

const single = tensor(new Float32Array(6), { shape: [2, 3] });
const double = tensor([
  [1, 2],
  [3, 4],
]);

// the dtype of a randomized decomposition
sure<Same<ReturnType<typeof projectSingle>, Tensor<"f32">>>();
function projectSingle() {
  return randomizedSvd(single, 1).u;
}
const bound: number = randomizedSvd([[1]], 1, { signal: { aborted: false } }).errorBound.spectral;
void bound;
// @ts-expect-error: an unknown normaliser
randomizedSvd(single, 1, { normalizer: "cholesky" });

// the dtype of a tensor
sure<Same<typeof single, Tensor<"f32">>>();
sure<Same<typeof double, Tensor<"f64">>>();
sure<Same<ReturnType<typeof fromDouble>, Tensor<"f64">>>();
function fromDouble() {
  return tensor(new Float64Array(4));
}
const chosen = tensor([1, 2], { dtype: "f32" });
sure<Same<typeof chosen, Tensor<"f32">>>();
const copied = tensor(single);
sure<Same<typeof copied, Tensor<"f32">>>();
const [zero, one, some] = [zeros([2]), eye(2, "f32"), empty([2, 2], "f64")];
sure<Same<typeof zero, Tensor<"f64">>>();
sure<Same<typeof one, Tensor<"f32">>>();
sure<Same<typeof some, Tensor<"f64">>>();

// the views on it
sure<Same<typeof single.data, Float32Array>>();
sure<Same<typeof double.data, Float64Array>>();
sure<Same<ReturnType<typeof single.toTyped>, Float32Array>>();
sure<Same<ReturnType<typeof single.transpose>, Tensor<"f32">>>();
sure<Same<ReturnType<typeof single.subtensor>, Tensor<"f32">>>();
sure<Same<ReturnType<typeof single.reshape>, Tensor<"f32">>>();
sure<Same<ReturnType<typeof single.toArray>, Nested>>();
sure<Same<typeof single.dtype, "f32">>();
sure<Same<typeof single.shape, readonly number[]>>();
sure<Same<Tensor["dtype"], DType>>();
sure<Same<Tensor["data"], Float32Array | Float64Array>>();
// @ts-expect-error: a tensor keeps its shape
single.shape.push(2);
// @ts-expect-error: and its dtype
single.dtype = "f64";
// @ts-expect-error: tensors are made by functions
new Tensor();
// @ts-expect-error: an f64 tensor is not an f32 one
const wrong: Tensor<"f32"> = double;
// @ts-expect-error: two dtypes exist
zeros([2], "f16");
// @ts-expect-error: numbers only
tensor([["1"]]);

// singular values
const factors = svd(single);
sure<Same<typeof factors, Svd<"f32">>>();
sure<Same<typeof factors.u, Tensor<"f32">>>();
sure<Same<typeof factors.s.data, Float32Array>>();
const full = svd(double, { vectors: "full", driver: "qr" });
sure<Same<typeof full.vt, Tensor<"f64">>>();
const values = svd(single, { vectors: "none" });
sure<Same<typeof values, { s: Tensor<"f32"> }>>();
// @ts-expect-error: no vectors were asked for
values.u;
const alone = svdvals(single);
sure<Same<typeof alone, Tensor<"f32">>>();
// @ts-expect-error: no such word
svd(single, { vectors: "some" });
// @ts-expect-error: no such option
svd(single, { full: true });
// @ts-expect-error: a text is no matrix
svd("1 2");

// what stands on them
const [triangular, orthogonal] = [qr(single, { mode: "r" }), qr(double)];
sure<Same<typeof triangular, { r: Tensor<"f32"> }>>();
sure<Same<typeof orthogonal, Qr<"f64">>>();
const inverse = pinv(single, { rtol: 1e-3 });
sure<Same<typeof inverse, Tensor<"f32">>>();
const solved = lstsq(double, [1, 2]);
sure<Same<typeof solved, Lstsq<"f64">>>();
const rule: Rank = { energy: 0.9 };
const approximation = lowRank(single, rule);
sure<Same<typeof approximation, LowRank<"f32">>>();
// one matrix gives numbers; of a batch the caller says that it is one
const [size, rank, motion] = [norm(single, "nuc"), matrixRank(single), kabsch(double, double)];
sure<Same<typeof size, number>>();
sure<Same<typeof rank, number>>();
sure<Same<typeof motion, Kabsch>>();
const [sizes, ranks, batch] = [norm<Tensor>(single), matrixRank<Int32Array>(single), lowRank<Tensor>(single, rule)];
sure<Same<typeof sizes, Tensor>>();
sure<Same<typeof ranks, Int32Array>>();
sure<Same<typeof batch.error.frobenius, Tensor>>();
// @ts-expect-error: one rule only
lowRank(single, { rank: 1, energy: 0.5 });
// @ts-expect-error: no such tolerance
pinv(single, { rcond: 1e-3 });

// products
const product = matmul(single, [[1], [2], [3]]);
sure<Same<typeof product, Tensor<"f32">>>();
const gram = matmul(double.transpose(), double, { alpha: 2, beta: 1, out: double });
sure<Same<typeof gram, Tensor<"f64">>>();
// @ts-expect-error: alpha is a number
matmul(single, single, { alpha: "2" });

// factor models
const ratings = csr({ data: single.reshape([6]), indices: [0, 1, 2, 0, 1, 2], indptr: [0, 3, 6], shape: [2, 3] });
const model = factorize(ratings, { factors: 1, regularization: { factors: 0.1, biases: 2 } });
sure<Same<typeof model, Factorization<"f32">>>();
sure<Same<typeof model.userBias, Tensor<"f32">>>();
const best: Recommendation[] = model.recommend(0, 2, { exclude: ratings });
best.map(({ item, score }) => item + score);
// @ts-expect-error: no such method
factorize(ratings, { method: "sgd" });
// @ts-expect-error: ratings are sparse
factorize([[1]]);

// everything that a function takes as a tensor
const likes: TensorLike[] = [
  single,
  [1, 2],
  [[[1]]],
  new Float32Array(1),
  new Float64Array(1),
  { data: new Float64Array(4), shape: [2, 2], strides: [1, 2], offset: 0 },
  { data: new Float32Array(4), dims: [2, 2], type: "float32", location: "cpu" },
  { dataSync: () => new Float32Array(4), shape: [2, 2] },
  { rows: 1, columns: 1, to2DArray: () => [[1]] },
];
for (const like of likes) svd(like);
const frozen: readonly (readonly number[])[] = [[1, 2]];
svd(frozen as TensorLike);

// memory
const kept = scope(() => matmul(single, single.transpose()));
sure<Same<typeof kept, Tensor<"f32">>>();
function disposable(): number {
  using held = zeros([2, 2], "f32");
  return held.data.length;
}
disposable();
const disposables: Disposable[] = [single, double];
for (const held of disposables) held[Symbol.dispose]();

// loading
async function load(options?: InitOptions): Promise<void> {
  const found = await init(options);
  sure<Same<typeof found, Capabilities>>();
  sure<Same<typeof found.build, "simd" | "relaxed">>();
  sure<Same<typeof found.reasons, string[]>>();
  sure<Same<ReturnType<typeof capabilities>, Capabilities>>();
  await init({ build: "simd", threads: "auto", memory: { initialMiB: 16, maximumMiB: 64, shared: "auto" } });
  // @ts-expect-error: a misspelt option
  await init({ bulid: "simd" });
  // @ts-expect-error: no such build
  await init({ build: "scalar" });
  await terminate();
}
load();

// errors
try {
  svd(double);
} catch (error) {
  if (error instanceof NonFiniteError) {
    sure<Same<typeof error.code, "non_finite">>();
    sure<Same<typeof error.index, readonly number[]>>();
  } else if (error instanceof ConvergenceError) {
    sure<Same<typeof error.failed, number>>();
  } else if (error instanceof OutOfMemoryError) {
    sure<Same<typeof error.asked, number>>();
  }
}

// nothing is of type any, and nothing internal is visible
type Anys<M> = {
  [K in keyof M]: IsAny<M[K]> extends true
    ? K
    : M[K] extends (...a: never[]) => infer R
      ? IsAny<R> extends true
        ? K
        : never
      : never;
}[keyof M];
sure<Same<Anys<typeof lowrank>, never>>();
sure<Same<Anys<Tensor>, never>>();
// @ts-expect-error: the address is internal
single.pointer;
// @ts-expect-error: so are handles of the library's own objects
single.hold();
// @ts-expect-error: and the allocation
Tensor.allocate;

export {
  alone,
  approximation,
  batch,
  best,
  chosen,
  copied,
  factors,
  full,
  gram,
  inverse,
  kept,
  load,
  lowrank,
  motion,
  one,
  orthogonal,
  product,
  rank,
  ranks,
  size,
  sizes,
  solved,
  some,
  triangular,
  values,
  wrong,
  zero,
};
