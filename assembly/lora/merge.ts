// The merge of the LoRA layer (Hu et al. 2021): W' = W + scaling·B·A. W (out×in with strides), A (r×in), B (out×r).

import { MR } from "../blas/blocking";
import { gemm } from "../blas/gemm";
import { firstNonFinite, lacpy } from "../blas/matrix";
import { at } from "../simd";

/**
 * merged (rows×columns, row-major) <- W + scaling·B·A, or with fanInFanOut W + scaling·(B·A)ᵀ, W with strides (rsw, csw).
 * B·A is rows×columns, or columns×rows with fanInFanOut. Returns the index of the first non-finite entry, or -1.
 */
export function loraMerge<T>(
  rows: i32, columns: i32, w: usize, rsw: i32, csw: i32, r: i32, a: usize, b: usize, scaling: T, fanInFanOut: bool,
  merged: usize,
): f64 {
  const some = max<i32>(<i32>(BLOCK_BYTES / max<usize>(at<T>(0, columns), 1)) & -MR, MR);
  let bad: f64 = -1;
  for (let i = 0; i < rows; i += some) {
    const part = min<i32>(some, rows - i), to = at<T>(merged, i * columns);
    lacpy<T>(part, columns, at<T>(w, i * rsw), rsw, csw, to, columns);
    if (fanInFanOut) gemm<T>(part, columns, r, scaling, at<T>(a, i), 1, rows, b, 1, r, <T>1, to, columns);
    else gemm<T>(part, columns, r, scaling, at<T>(b, i * r), r, 1, a, columns, 1, <T>1, to, columns);
    if (bad >= 0) continue;
    const found = firstNonFinite<T>(part, columns, to, columns, 1);
    if (found >= 0) bad = found + <f64>i * <f64>columns;
  }
  return bad;
}

/** Rows that are copied, added to and looked at while they are in the second-level cache. */
const BLOCK_BYTES: usize = 512 * 1024;
