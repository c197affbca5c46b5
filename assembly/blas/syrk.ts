// C <- alpha·A·Aᵀ + beta·C on and above the diagonal: the product's loops, its panels and its tile, less the tiles below.

import { at } from "../simd";
import { KC, MC, MR, NC, NR, balanced, packedA, packedB } from "./blocking";
import { packRange, tileRow } from "./gemm";
import { scaleOrClear } from "./level2";

/**
 * A is n×k with strides (rsa, csa), C n×n, row-major, rows ldc apart; beta = 0 does not read C. Of what lies below the
 * diagonal only the tiles that meet it are written, with the entries of A·Aᵀ.
 */
export function syrk<T>(n: i32, k: i32, alpha: T, a: usize, rsa: i32, csa: i32, beta: T, c: usize, ldc: i32): void {
  if (k <= 0) for (let i = 0; i < n; i++) scaleOrClear<T>(n - i, beta, at<T>(c, i * ldc + i), 1);
  const kc = balanced(k, KC, 4), mc = balanced(n, MC, NR<T>()), nc = balanced(n, NC, NR<T>());
  for (let jc = 0; jc < n; jc += nc) {
    const nb = min<i32>(nc, n - jc);
    for (let pc = 0; pc < k; pc += kc) {
      const kb = min<i32>(kc, k - pc);
      const factor = pc == 0 ? beta : <T>1;
      const from = at<T>(a, pc * csa);
      packRange<T>(NR<T>(), 0, nb, kb, at<T>(from, jc * rsa), rsa, csa, packedB());
      for (let ic = 0; ic < jc + nb; ic += mc) {
        const mb = min<i32>(mc, jc + nb - ic);
        packRange<T>(MR, 0, mb, kb, at<T>(from, ic * rsa), rsa, csa, packedA());
        for (let i = 0; i < mb; i += MR) {
          // columns from the panel of B on that holds the diagonal
          const first = max<i32>(0, ((ic + i - jc) / NR<T>()) * NR<T>());
          tileRow<T>(
            min<i32>(MR, mb - i), nb - first, kb, alpha, at<T>(packedA(), i * kb), at<T>(packedB(), first * kb), factor,
            at<T>(c, (ic + i) * ldc + jc + first), ldc,
          );
        }
      }
    }
  }
}
