// What the tests of principal components share: data by a formula, and attributes compared.

import type { IncrementalPCA, PCA } from "../../bindings/index.js";
import { matrix } from "./matrices.js";

/** The same numbers in Python: (((i+1)*(j+2)*7919 + i*i*31 + j*j*17) % 1009)/1009*(1+j). */
export const formula = (m: number, n: number) =>
  matrix(m, n, (i, j) => ((((i + 1) * (j + 2) * 7919 + i * i * 31 + j * j * 17) % 1009) / 1009) * (1 + j));

export const ATTRIBUTES = [
  "components",
  "explainedVariance",
  "explainedVarianceRatio",
  "singularValues",
  "mean",
] as const;
/** Attributes as nested plain arrays. */
export type Attributes = Record<(typeof ATTRIBUTES)[number], unknown> & { noiseVariance: number };

/** The largest |x − y| over all entries. */
export function distance(x: unknown, y: unknown): number {
  const [a, b] = [[x].flat(9) as number[], [y].flat(9) as number[]];
  if (a.length !== b.length) return Number.NaN;
  return a.reduce((most, value, i) => {
    const d = Math.abs(value - (b[i] as number));
    return Number.isNaN(d) ? d : Math.max(most, d);
  }, 0);
}

/** Attributes further from those expected than `tolerance` allows, absolutely. */
export function different(pca: PCA | IncrementalPCA, wanted: Attributes, tolerance: number): string[] {
  const wrong = ATTRIBUTES.map((key) => [key, distance(pca[key].toArray(), wanted[key])] as const);
  return [...wrong, ["noiseVariance", Math.abs(pca.noiseVariance - wanted.noiseVariance)] as const]
    .filter(([, d]) => !(d <= tolerance))
    .map(([key, d]) => `${key}: ${d}`);
}
