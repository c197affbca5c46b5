// What every contender is given: named inputs as row-major typed arrays. The names are also those of external programs.

import { perceptronInput } from "../support/perceptron.mjs";
import { random } from "../support/random.mjs";

const RANK = 16;
const SCALING = 2;

export const GEMM = [
  { dtype: "f32", n: 512 },
  { dtype: "f32", n: 1024 },
  { dtype: "f64", n: 512 },
  { dtype: "f64", n: 1024 },
];

export const SVD = [
  { dtype: "f32", n: 256 },
  { dtype: "f32", n: 512 },
  { dtype: "f64", n: 64 },
  { dtype: "f64", n: 128 },
  { dtype: "f64", n: 256 },
  { dtype: "f64", n: 512 },
];

export const LORA = [
  { tokens: 1, width: 4096 },
  { tokens: 16, width: 4096 },
  { tokens: 256, width: 1024 },
  { tokens: 256, width: 4096 },
];

/** C = A·B, n×n. */
function gemmTask({ dtype, n }) {
  const input = () => ({ n, dtype, a: random(dtype, n * n, 1), b: random(dtype, n * n, 2) });
  return { operation: "gemm", name: `gemm ${dtype} ${n}`, dtype, input };
}

/** A = U·S·Vᵀ, n×n, thin. */
function svdTask({ dtype, n }) {
  const input = () => ({ n, dtype, a: random(dtype, n * n, 1) });
  return { operation: "svd", name: `svd ${dtype} ${n}x${n} thin`, dtype, input };
}

/** y = x·Wᵀ + scaling·(x·Aᵀ)·Bᵀ: x (tokens, width), W (width, width) as (out, in), A (r, width), B (width, r). */
function loraTask({ tokens, width }) {
  const input = () => ({
    tokens,
    width,
    r: RANK,
    scaling: SCALING,
    x: random("f32", tokens * width, 1),
    weight: random("f32", width * width, 2),
    a: random("f32", RANK * width, 3),
    b: random("f32", width * RANK, 4),
  });
  return { operation: "lora", name: `lora f32 t${tokens} d${width} r${RANK} full`, dtype: "f32", input };
}

/** An epoch of LoRA on a perceptron with frozen weights: batches in order, Adam; the result is the loss of each batch. */
const TRAINING = {
  operation: "training",
  name: "training f32 784-1000-2000-10 r8 epoch",
  dtype: "f32",
  input: perceptronInput,
  // a hundred steps, each on what the one before left
  tolerance: 1e-3,
};

export const TASKS = [...GEMM.map(gemmTask), ...SVD.map(svdTask), ...LORA.map(loraTask), TRAINING];
