// LAPACK's matrix types at sizes where blocks, merges and slices take part. Run by npm run test:large.

import { describe, expect, test } from "vitest";
import { BIDIAGONAL_TYPES, DRIVER_TYPES, gridMatrices } from "../support/lapack_grid.js";
import { decomposeSquare, failures, failuresOf, ratios } from "../support/ratios.js";
import { DTYPES, ulpOf } from "../support/raw.js";

const RUNS = DTYPES.flatMap((dtype) => (["qr", "dc", "jacobi"] as const).map((driver) => [dtype, driver] as const));

const MEDIUM = [
  [100, 100],
  [257, 257],
  [257, 100],
  [100, 257],
] as const;

describe.each(RUNS)("LAPACK's types at larger sizes, %s, driver %s", (dtype, driver) => {
  test.each([...DRIVER_TYPES, ...BIDIAGONAL_TYPES])("svd() keeps every ratio below 50 up to 257: $name", (type) => {
    const found = gridMatrices(type, dtype, MEDIUM).flatMap((a) =>
      failuresOf(a, dtype, driver).map((text) => `${a.m}×${a.n}: ${text}`),
    );
    expect(found).toEqual([]);
  });

  test.each([...DRIVER_TYPES, ...BIDIAGONAL_TYPES])("svd() keeps every ratio below 50 at 500: $name", (type) => {
    for (const a of gridMatrices(type, dtype, [[500, 500]])) {
      expect(failures(ratios(a, decomposeSquare(a, dtype, driver), ulpOf(dtype)))).toEqual([]);
    }
  });
});
