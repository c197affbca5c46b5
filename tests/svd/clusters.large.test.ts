// Families of the kind that broke divide and conquer elsewhere (LAPACK issues 672 and 1138): many values that nearly agree, at the
// sizes where that was seen. Run by npm run test:large.

import { describe, expect, test } from "vitest";
import { bidiagonal, type Matrix } from "../support/matrices.js";
import { Random } from "../support/random.js";
import { decomposeSquare, failures, ratios } from "../support/ratios.js";
import { DTYPES, ulpOf } from "../support/raw.js";

/** Blocks d, e repeated to order n, neighbours glued by `glue`. */
function glued(n: number, d: readonly number[], e: number, glue: number): Matrix {
  const length = d.length;
  const diagonal = Array.from({ length: n }, (_, i) => d[i % length] as number);
  const above = Array.from({ length: n }, (_, i) => (i % length === length - 1 ? glue : e));
  return bidiagonal(diagonal, above);
}

/** k … 1 … k. */
const wilkinson = (k: number) => Array.from({ length: 2 * k - 1 }, (_, i) => Math.abs(k - 1 - i) + 1);

const FAMILIES: { name: string; make: (n: number) => Matrix }[] = [
  {
    name: "values around 0.9566",
    make(n) {
      const random = new Random(n);
      const d = Array.from({ length: n }, () => 0.9566 * (1 + 1e-13 * random.symmetric()));
      const e = Array.from({ length: n }, () => 10 ** (-8 - 7 * random.uniform()));
      return bidiagonal(d, e);
    },
  },
  { name: "Kimura: 11 … 1 … 11 glued by 1e-4", make: (n) => glued(n, wilkinson(11), 1, 1e-4) },
  { name: "Wilkinson: 20 … 1 … 20 glued by 1e-11", make: (n) => glued(n, wilkinson(20), 1, 1e-11) },
  { name: "blocks of three glued by 1e10", make: (n) => glued(n, [1, 2, 3], 1, 1e10) },
];

describe.each(DTYPES)("clusters, %s", (dtype) => {
  test.each(FAMILIES)("svd() keeps every ratio below 50 at 330, 429 and 1,062: $name", ({ make }) => {
    for (const n of [330, 429, 1062]) {
      const made = make(n);
      const a = dtype === "f64" ? made : { ...made, data: Float64Array.from(Float32Array.from(made.data)) };
      expect(failures(ratios(a, decomposeSquare(a, dtype, "dc"), ulpOf(dtype)))).toEqual([]);
    }
  });
});
