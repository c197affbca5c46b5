// The rank that a rule asks for, of values that are known already.

import { expected, shapeText } from "../check.js";
import { decode, place, type TensorLike } from "../interop.js";
import { run } from "../scope.js";
import { checkRank, chooseRank, type Rank, truncation } from "./rank_rule.js";

/**
 * What lowRank() would keep and lose, of singular values alone: one spectrum answers for every rule.
 *
 * @param s (k,), finite, not negative, largest first: what svd(), svdvals() and LoraAdapter.singularValues() give
 * @param rule one of `rank`, `energy`, `tolerance`, as in lowRank()
 * @returns the rank, the error ‖A − A_k‖ in both norms, the share of Σσ² that is kept
 * @throws RangeError for values that are no spectrum or a rule out of range; TypeError unless one rule is given
 * @example
 * ```ts
 * import { init, svdvals, truncationRank } from "lowrank";
 * await init();
 * const s = svdvals([[4, 0], [0, 3]]);
 * console.log(truncationRank(s, { energy: 0.6 })); // { rank: 1, error: { frobenius: 3, spectral: 3 }, energy: 0.64 }
 * ```
 */
export function truncationRank(
  s: TensorLike,
  rule: Rank,
): { rank: number; error: { frobenius: number; spectral: number }; energy: number } {
  return run((runtime) => {
    const source = decode(s, "s");
    if (source.shape.length !== 1) throw new RangeError(expected("s", "one axis", `shape ${shapeText(source.shape)}`));
    const values = place(runtime, source, source.dtype ?? "f64").toTyped();
    values.forEach((value, i) => {
      if (value >= 0 && value < Number.POSITIVE_INFINITY && (i === 0 || value <= (values[i - 1] as number))) return;
      throw new RangeError(
        expected(`s[${i}]`, "a finite value, not negative and not above the one before", String(value)),
      );
    });
    const rank = chooseRank(values, checkRank(rule, "rule", values.length));
    const { energy, ...error } = truncation(values, rank);
    return { rank, error, energy };
  });
}
