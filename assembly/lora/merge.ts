// The merge of the LoRA layer (Hu et al. 2021): W' = W + scaling·B·A. W (out×in with strides), A (r×in), B (out×r).

import { gemm } from "../blas/gemm";
import { firstNonFinite, lacpy } from "../blas/matrix";

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
