// The LoRA layer: y = x·Wᵀ + bias + scaling·(x·Aᵀ)·Bᵀ (Hu et al. 2021), and the merge W' = W + scaling·B·A.
// Row-major: x (tokens×in), W (out×in with strides), A (r×in), B (out×r), y (tokens×out).

import { axpy, copy } from "../blas/level1";
import { gemm } from "../blas/gemm";
import { firstNonFinite, lacpy } from "../blas/matrix";
import { at } from "../simd";

/** The base layer: y <- x·Wᵀ + bias; bias (out) may be 0: none. */
export function loraBase<T>(
  tokens: i32, inFeatures: i32, outFeatures: i32, x: usize, w: usize, rsw: i32, csw: i32, bias: usize, y: usize,
): void {
  if (bias != 0) for (let t = 0; t < tokens; t++) copy<T>(outFeatures, bias, 1, at<T>(y, t * outFeatures), 1);
  gemm<T>(
    tokens, outFeatures, inFeatures, <T>1, x, inFeatures, 1, w, csw, rsw, bias != 0 ? <T>1 : <T>0, y, outFeatures,
  );
}

/** Bytes of working memory of loraUpdate. */
export function loraUpdateScratch<T>(tokens: i32, r: i32): f64 {
  return <f64>tokens * <f64>r * <f64>sizeof<T>();
}

/**
 * One adapter: y <- y + scaling·((x·Aᵀ)·Bᵀ + loraBias); loraBias (out) may be 0: none.
 * work: tokens×r elements, the activations between A and B with the scale folded in.
 */
export function loraUpdate<T>(
  tokens: i32, inFeatures: i32, outFeatures: i32, x: usize, r: i32, a: usize, b: usize, loraBias: usize, scaling: T,
  y: usize, work: usize,
): void {
  gemm<T>(tokens, r, inFeatures, scaling, x, inFeatures, 1, a, 1, inFeatures, <T>0, work, r);
  gemm<T>(tokens, outFeatures, r, <T>1, work, r, 1, b, 1, r, <T>1, y, outFeatures);
  if (loraBias != 0) {
    for (let t = 0; t < tokens; t++) axpy<T>(outFeatures, scaling, loraBias, 1, at<T>(y, t * outFeatures), 1);
  }
}

/**
 * merged (rows×columns, row-major) <- W + scaling·B·A, or with fanInFanOut W + scaling·(B·A)ᵀ, W with strides (rsw, csw).
 * B·A is rows×columns, or columns×rows with fanInFanOut. Returns the index of the first non-finite entry, or -1.
 */
export function loraMerge<T>(
  rows: i32, columns: i32, w: usize, rsw: i32, csw: i32, r: i32, a: usize, b: usize, scaling: T, fanInFanOut: bool,
  merged: usize,
): f64 {
  lacpy<T>(rows, columns, w, rsw, csw, merged, columns);
  if (fanInFanOut) gemm<T>(rows, columns, r, scaling, a, 1, rows, b, 1, r, <T>1, merged, columns);
  else gemm<T>(rows, columns, r, scaling, b, r, 1, a, columns, 1, <T>1, merged, columns);
  return firstNonFinite<T>(rows, columns, merged, columns, 1);
}
