// Gradients of the LoRA layer. With X (tokens×in), G = ∂L/∂Y (tokens×out) and scale s, for Y = s·(X·Aᵀ)·Bᵀ:
// ∂B = s·Gᵀ·(X·Aᵀ), Z = s·G·B, ∂A = Zᵀ·X, ∂X = Z·A. Nothing of the size out×in is formed.

import { axpy } from "../blas/level1";
import { gemm } from "../blas/gemm";
import { fill } from "../blas/matrix";
import { at } from "../simd";

/** Bytes of working memory of loraBackward. */
export function loraBackwardScratch<T>(tokens: i32, r: i32): f64 {
  return 2 * <f64>tokens * <f64>r * <f64>sizeof<T>();
}

/**
 * The gradients of one adapter: da (r×in) and db (out×r) are written, also dbias (out), the gradient of the adapter's
 * bias, unless it is 0; dx (tokens×in) is added to unless it is 0. x is what A was multiplied with, after dropout.
 * work: 2·tokens×r elements.
 */
export function loraBackward<T>(
  tokens: i32, inFeatures: i32, outFeatures: i32, x: usize, g: usize, r: i32, a: usize, b: usize, scaling: T,
  da: usize, db: usize, dbias: usize, dx: usize, work: usize,
): void {
  const h = work, z = at<T>(work, tokens * r);
  gemm<T>(tokens, r, inFeatures, scaling, x, inFeatures, 1, a, 1, inFeatures, <T>0, h, r);
  gemm<T>(outFeatures, r, tokens, <T>1, g, 1, outFeatures, h, r, 1, <T>0, db, r);
  gemm<T>(tokens, r, outFeatures, scaling, g, outFeatures, 1, b, r, 1, <T>0, z, r);
  gemm<T>(r, inFeatures, tokens, <T>1, z, 1, r, x, inFeatures, 1, <T>0, da, inFeatures);
  if (dx != 0) gemm<T>(tokens, inFeatures, r, <T>1, z, r, 1, a, inFeatures, 1, <T>1, dx, inFeatures);
  if (dbias != 0) sumRows<T>(tokens, outFeatures, scaling, g, dbias);
}

/** y (n) <- alpha·Σ rows of a (m×n). */
export function sumRows<T>(m: i32, n: i32, alpha: T, a: usize, y: usize): void {
  fill<T>(n, <T>0, y);
  for (let i = 0; i < m; i++) axpy<T>(n, alpha, at<T>(a, i * n), 1, y, 1);
}
