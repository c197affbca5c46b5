// LAPACK's own grid: every size, every driver and bidiagonal type, every job, both bidiagonal
// algorithms, all seven ratios, both precisions.

import { describe, expect, test } from "vitest";
import { BIDIAGONAL_TYPES, DRIVER_TYPES, gridMatrices, type MatrixType, SIZES } from "../support/lapack_grid.js";
import { randomMatrix } from "../support/matrices.js";
import { Random } from "../support/random.js";
import { decompose, failures, failuresOf, type Jobs, ratios } from "../support/ratios.js";
import { DTYPES, ulpOf } from "../support/raw.js";

// "auto" is one of the two, by size
const RUNS = DTYPES.flatMap((dtype) => (["qr", "dc"] as const).map((driver) => [dtype, driver] as const));

describe.each(RUNS)("LAPACK's grid, %s, driver %s", (dtype, driver) => {
  const run = (type: MatrixType) =>
    gridMatrices(type, dtype).flatMap((a) => failuresOf(a, dtype, driver).map((text) => `${a.m}×${a.n}: ${text}`));

  test.each(DRIVER_TYPES)("svd() keeps every ratio below 50 on driver type $name", (type) => {
    expect(run(type)).toEqual([]);
  });

  test.each(BIDIAGONAL_TYPES)("svd() keeps every ratio below 50 on bidiagonal type $name", (type) => {
    expect(run(type)).toEqual([]);
  });
});

describe("the grid", () => {
  test("the grid has LAPACK's 19 sizes, its 5 driver types and one more, and its 16 bidiagonal types", () => {
    expect(SIZES.length).toBe(19);
    expect(DRIVER_TYPES.length).toBe(6);
    expect(BIDIAGONAL_TYPES.length).toBe(16);
    for (const type of [...DRIVER_TYPES, ...BIDIAGONAL_TYPES]) {
      for (const dtype of DTYPES) {
        for (const { m, n, data } of gridMatrices(type, dtype)) {
          expect(data.length).toBe(m * n);
          expect(data.every((x) => Number.isFinite(x))).toBe(true);
          if (type.name !== "zero" && m * n > 0) expect(data.some((x) => x !== 0)).toBe(true);
        }
      }
    }
  });

  test.each(DTYPES)("ratios() stays below 50 on a decomposition and reports each way to spoil it, %s", (dtype) => {
    const ulp = ulpOf(dtype);
    for (const [m, n] of [
      [7, 5],
      [5, 7],
      [6, 6],
    ] as const) {
      const a = randomMatrix(m, n, new Random(m));
      if (dtype === "f32") a.data = Float64Array.from(Float32Array.from(a.data));
      const p = Math.min(m, n);
      const good = decompose(a, dtype);
      expect(failures(ratios(a, good, ulp))).toEqual([]);
      const spoiled = (change: (jobs: Jobs) => void) => {
        const jobs = structuredClone(good);
        change(jobs);
        return failures(ratios(a, jobs, ulp)).map((text) => text.split(" ")[0]);
      };
      const add = (x: Float64Array, at: number, value: number) => {
        x[at] = (x[at] as number) + value;
      };
      const step = 5000 * ulp;
      expect(spoiled(({ full }) => add(full.u, 0, step))).toContain("uOrthogonality");
      expect(spoiled(({ full }) => add(full.u, 0, step))).toContain("partialU");
      expect(spoiled(({ thin }) => add(thin.u, p * m - 1, step))).toContain("uOrthogonality");
      expect(spoiled(({ full }) => add(full.vt, n * n - 1, step))).toContain("vOrthogonality");
      expect(spoiled(({ thin }) => add(thin.vt, 0, step))).toContain("vOrthogonality");
      expect(spoiled(({ thin }) => add(thin.vt, 0, step))).toContain("partialVt");
      expect(spoiled(({ full }) => add(full.s, 0, step))).toContain("reconstruction");
      expect(spoiled(({ none }) => add(none, p - 1, step))).toEqual(["partialS"]);
      expect(spoiled(({ none }) => none.reverse())).toContain("order");
      expect(spoiled(({ thin }) => add(thin.s, p - 1, -10))).toContain("order");
      expect(spoiled(({ full }) => full.s.fill(Number.NaN))).toEqual(
        expect.arrayContaining(["reconstruction", "order", "partialS"]),
      );
      expect(spoiled(({ thin }) => thin.u.fill(Number.NaN, 0, 1))).toEqual(
        expect.arrayContaining(["reconstruction", "uOrthogonality", "partialU"]),
      );
      // a pair of vectors of the other sign is as good, a single vector is not
      expect(
        spoiled(({ thin }) => {
          for (let i = 0; i < m; i++) thin.u[i * p] = -(thin.u[i * p] as number);
          for (let j = 0; j < n; j++) thin.vt[j] = -(thin.vt[j] as number);
        }),
      ).toEqual([]);
      expect(
        spoiled(({ thin }) => {
          for (let j = 0; j < n; j++) thin.vt[j] = -(thin.vt[j] as number);
        }),
      ).toEqual(["reconstruction"]);
    }
  });
});
