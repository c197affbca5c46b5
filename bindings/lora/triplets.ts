// The largest singular triplets of a weight, or the smallest, for layers and adapters that start from them.

import type { Runtime } from "../load.js";
import { randomizedSvd } from "../randomized/randomized_svd.js";
import { finish } from "../slices.js";
import { checkAllFinite, decompose } from "../svd/decompose.js";
import type { DType, Tensor } from "../tensor.js";

/** @internal Layers whose shorter side is not longer are decomposed exactly. */
export const EXACT_UP_TO = 512;

/** @internal Random vectors pay as long as the rank is this many times smaller than the shorter side. */
export const PAYS_BELOW = 8;

/** @internal k singular triplets: u (m, …) and vt (…, n) hold them from column or row `first` on, s from entry `first`. */
export interface Triplets<D extends DType = DType> {
  u: Tensor<D>;
  s: Tensor<D>;
  vt: Tensor<D>;
  first: number;
}

/**
 * @internal The k largest triplets of a weight (m, n) with finite entries, or the k smallest. Large weights have their largest by
 * a randomized decomposition.
 */
export function triplets<D extends DType>(
  runtime: Runtime,
  weight: Tensor<D>,
  k: number,
  which: "largest" | "smallest",
  seed: number,
): Triplets<D> {
  checkAllFinite(runtime, weight, "weight");
  const least = Math.min(...weight.shape);
  const few = which === "largest" && least > EXACT_UP_TO && k <= least / PAYS_BELOW;
  if (few) return { ...randomizedSvd(weight, k, { seed }), first: 0 };
  const { u, s, vt } = finish(decompose(runtime, weight, "thin")) as { [part in "u" | "s" | "vt"]: Tensor<D> };
  return { u, s, vt, first: which === "largest" ? 0 : least - k };
}
