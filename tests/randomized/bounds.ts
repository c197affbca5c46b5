// True errors of a low-rank approximation, and a thousand seeded matrices to hold the bounds against.

import { randomizedSvd, scope, svdvals, type Tensor, tensor } from "../../bindings/index.js";
import type { DType } from "../../bindings/tensor.js";
import { type Matrix, randomMatrix, scaledMatrix, withValues } from "../support/matrices.js";
import { Random } from "../support/random.js";
import { typed } from "../support/raw.js";
import { addProduct } from "../support/reference.js";

/** Norms of A − U·diag(S)·Vᵀ; its entries are sums in twice the precision of f64, so rounding errors of f64 are seen, too. */
export function residualNorms(
  a: Tensor,
  { u, s, vt }: { u: Tensor; s: Tensor; vt: Tensor },
): { spectral: number; frobenius: number } {
  const [m, n] = a.shape as [number, number];
  const k = s.size;
  const [entries, left, values, right] = [a.toTyped(), u.toTyped(), s.toTyped(), vt.toTyped()];
  const rest = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      const sum = { high: entries[i * n + j] as number, low: 0 };
      for (let t = 0; t < k; t++) {
        // u·s is exact in two parts
        const product = { high: 0, low: 0 };
        addProduct(product, left[i * k + t] as number, values[t] as number);
        addProduct(sum, -product.high, right[t * n + j] as number);
        sum.low -= product.low * (right[t * n + j] as number);
      }
      rest[i * n + j] = sum.high + sum.low;
    }
  }
  return scope(() => {
    const norms = svdvals(tensor(rest, { shape: [m, n] })).toTyped();
    return { spectral: norms[0] ?? 0, frobenius: Math.hypot(...norms) };
  });
}

/** Singular values by index and by the rank k that is asked for. */
const DECAYS: Record<string, (i: number, k: number) => number> = {
  "rank k": (i, k) => (i < k ? 1 / (1 + i) : 0),
  "rank k, equal values": (i, k) => (i < k ? 1 : 0),
  flat: () => 1,
  "1/√i": (i) => 1 / Math.sqrt(1 + i),
  "1/i": (i) => 1 / (1 + i),
  "1/i²": (i) => 1 / (1 + i) ** 2,
  "2^-i": (i) => 2 ** -i,
  "a step to 1e-4": (i, k) => (i < k ? 1 : 1e-4),
  "a step to 1e-7": (i, k) => (i < k ? 1 : 1e-7),
  "a step to 1e-13": (i, k) => (i < k ? 1 : 1e-13),
  "one value behind": (i, k) => (i <= k ? 1 : 0),
};

function seeded(random: Random, name: string, largest: number): { a: Matrix; k: number } {
  const side = () => 1 + random.below(1 + random.below(largest));
  const [m, n] = [side(), side()];
  const k = 1 + random.below(1 + random.below(Math.min(m, n)));
  const decay = DECAYS[name];
  if (decay === undefined) return { a: randomMatrix(m, n, random, "normal"), k };
  const d = Float64Array.from({ length: Math.min(m, n) }, (_, i) => decay(i, k));
  return { a: scaledMatrix(withValues(m, n, d, random), random.below(9) - 4), k };
}

/**
 * Of `count` seeded matrices, those whose bounds (times `factor`) do not hold or whose spectral bound is more than ten times the
 * error. An error of nothing but the roundings of one entry is not measured closer than that.
 */
export function wrongBounds(dtype: DType, count: number, largest: number, factor = 1): string[] {
  const random = new Random(41);
  const names = [...Object.keys(DECAYS), "normal"];
  const wrong: string[] = [];
  for (let seed = 0; seed < count; seed++) {
    const name = names[seed % names.length] as string;
    const { a, k } = seeded(random, name, largest);
    scope(() => {
      const placed = tensor(typed(dtype, a.data), { shape: [a.m, a.n] });
      const found = randomizedSvd(placed, k, { seed });
      const error = residualNorms(placed, found);
      const spectral = factor * found.errorBound.spectral;
      const frobenius = factor * found.errorBound.frobenius;
      const least = (dtype === "f32" ? 2 ** -24 : 2 ** -53) * (found.s.data[0] as number);
      const holds = spectral >= error.spectral && frobenius >= error.frobenius;
      const close =
        spectral <= 10 * Math.max(error.spectral, least) && frobenius <= 10 * Math.max(error.frobenius, least);
      if (!holds || !close) {
        wrong.push(
          `${name} ${a.m}×${a.n}, k ${k}, seed ${seed}: ${spectral} of ${error.spectral}, ${frobenius} of ${error.frobenius}`,
        );
      }
    });
  }
  return wrong;
}
