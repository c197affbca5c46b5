// A·Aᵀ on and above the diagonal, against sums in twice the precision, around the sizes of tiles and blocks.

import { describe, expect, test } from "vitest";
import { Random } from "../support/random.js";
import { DTYPES, raw, rounded, roundoff, withBlocks } from "../support/raw.js";
import { absoluteDot, dot } from "../support/reference.js";

const SIZES = [
  ...Array.from({ length: 19 }, (_, i) => [i, 5] as const),
  ...[0, 1, 255, 256, 257].map((k) => [13, k] as const),
  [127, 9],
  [128, 9],
  [133, 270],
  [1030, 3],
] as const;

describe.each(DTYPES)("syrk, %s", (dtype) => {
  const random = new Random(17);
  const u = roundoff(dtype);

  test.each(SIZES)(
    "syrk() of order %i, depth %i is right above the diagonal and leaves the rest of C alone",
    (n, k) => {
      for (const [transposed, beta] of [
        [false, 0],
        [true, 1],
      ] as const) {
        const a = rounded(dtype, random.array(n * k));
        const before = rounded(dtype, random.array(n * (n + 3)));
        const ldc = n + 3;
        const alpha = -1;
        const found = withBlocks(dtype, (place) => {
          const c = place(beta === 0 ? before.map(() => Number.NaN) : before);
          const strides = transposed ? [1, n] : [k, 1];
          raw(dtype).syrk(
            n,
            k,
            alpha,
            place(a).pointer,
            strides[0] as number,
            strides[1] as number,
            beta,
            c.pointer,
            ldc,
          );
          return Float64Array.from(c.data);
        });
        const column = (i: number) =>
          Float64Array.from({ length: k }, (_, p) => a[transposed ? p * n + i : i * k + p] as number);
        const columns = Array.from({ length: n }, (_, i) => column(i));
        const wrong: string[] = [];
        for (let i = 0; i < n; i++) {
          for (let j = i; j < n; j++) {
            // large orders by samples, with the tiles' borders
            if (n > 200 && j - i > 9 && (i + j) % 97 !== 0) continue;
            const [x, y] = [columns[i] as Float64Array, columns[j] as Float64Array];
            const c = beta * (before[i * ldc + j] as number);
            const wanted = alpha * dot(k, x, y) + c;
            const bound = (k + 1) * u * (absoluteDot(k, x, y) + Math.abs(c)) * 1.01;
            const got = found[i * ldc + j] as number;
            if (!(Math.abs(got - wanted) <= bound)) wrong.push(`(${i}, ${j}): ${got}, expected ${wanted}`);
          }
          for (let j = n; j < ldc; j++) {
            const got = found[i * ldc + j] as number;
            if (beta === 0 ? !Number.isNaN(got) : got !== before[i * ldc + j]) wrong.push(`(${i}, ${j}) was written`);
          }
        }
        expect(wrong).toEqual([]);
      }
    },
  );
});
