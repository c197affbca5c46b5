// Matrices from the bug reports and test suites of other systems. They lie beside the project, not in it: their licences
// differ. Where they are absent this file says so in one line.

import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { NonFiniteError, svd, svdvals } from "../../bindings/index.js";
import { fromRows, type Matrix, transposed } from "../support/matrices.js";
import { type Driver, decompose, failures, ratios } from "../support/ratios.js";
import { DTYPES, rounded, ulpOf } from "../support/raw.js";

const FILE = "../shared/cases/svd-dense-regressions.json";

interface Case {
  name: string;
  A?: number[][];
  A_text?: string[][];
  value_set?: number[];
  expected?: {
    singular_values?: number[];
    rank?: number;
    U_up_to_sign?: number[][];
    V_up_to_sign?: number[][];
  };
  computed?: { singular_values: number[] };
}

const isThere = existsSync(FILE);
if (!isThere) console.log(`${FILE} is absent: its cases are skipped`);
const cases: Case[] = isThere ? JSON.parse(readFileSync(FILE, "utf8")).cases : [];
const finite = cases.filter((given): given is Case & { A: number[][] } => given.A !== undefined);

describe.skipIf(!isThere)("published regressions", () => {
  test("the file has the cases that these tests know how to judge", () => {
    expect(finite.length).toBeGreaterThan(15);
    for (const { A, A_text, value_set } of cases) {
      expect([A, A_text, value_set].filter((given) => given !== undefined).length).toBe(1);
    }
  });

  describe.each(DTYPES)("%s", (dtype) => {
    const ulp = ulpOf(dtype);

    const check = (a: Matrix, values: readonly number[] | undefined, driver: Driver) => {
      const found = decompose(a, dtype, driver);
      expect(failures(ratios(a, found, ulp))).toEqual([]);
      const largest = found.none[0] as number;
      values?.forEach((value, i) => {
        expect(Math.abs((found.none[i] as number) - value)).toBeLessThanOrEqual(Math.max(a.m, a.n) * ulp * largest);
      });
      return found;
    };

    // f32 cannot hold some of them
    const held = finite
      .map((given) => ({ ...given, a: fromRows(given.A) }))
      .map((given) => ({ ...given, a: { ...given.a, data: rounded(dtype, given.a.data) } }))
      .filter(({ a }) => a.data.every((x) => Number.isFinite(x)));

    test.each(held)("svd() of $name and of its transpose", ({ a, expected, computed }) => {
      for (const driver of ["qr", "dc", "jacobi"] as const) {
        check(a, computed?.singular_values, driver);
        check(transposed(a), computed?.singular_values, driver);
        const { none, thin } = check(a, undefined, driver);
        if (expected?.singular_values !== undefined) {
          expected.singular_values.forEach((value, i) => {
            expect(none[i]).toBeCloseTo(value, dtype === "f32" ? 4 : 6);
          });
        }
        if (expected?.rank !== undefined) {
          const floor = Math.max(a.m, a.n) * ulp * (none[0] as number);
          expect([...none].filter((x) => x > floor).length).toBe(expected.rank);
        }
        const upToSign = (rows: number[][], got: (i: number, j: number) => number) => {
          const columns = rows[0]?.length ?? 0;
          for (let j = 0; j < columns; j++) {
            const dot = rows.reduce((sum, row, i) => sum + (row[j] as number) * got(i, j), 0);
            expect(Math.abs(Math.abs(dot) - 1)).toBeLessThan(100 * ulp);
          }
        };
        const p = Math.min(a.m, a.n);
        if (expected?.U_up_to_sign) upToSign(expected.U_up_to_sign, (i, j) => thin.u[i * p + j] as number);
        if (expected?.V_up_to_sign) upToSign(expected.V_up_to_sign, (i, j) => thin.vt[j * a.n + i] as number);
      }
    });

    test("svd() of every matrix of a value set", () => {
      for (const { value_set: values, name } of cases) {
        if (values === undefined) continue;
        const count = values.length ** 4;
        for (let at = 0; at < count; at++) {
          const entry = (i: number) => values[Math.floor(at / values.length ** i) % values.length] as number;
          const a = fromRows([
            [entry(0), entry(1)],
            [entry(2), entry(3)],
          ]);
          expect([name, ...a.data, ...failures(ratios(a, decompose(a, dtype), ulp))]).toEqual([name, ...a.data]);
        }
      }
    });
  });

  test("svd() of matrices with NaN is an error that names the first", () => {
    const withNaN = cases.filter((given) => given.A_text !== undefined);
    expect(withNaN.length).toBeGreaterThan(0);
    for (const { A_text: rows = [] } of withNaN) {
      const a = rows.map((row) => row.map(Number));
      const row = a.findIndex((values) => values.some((x) => !Number.isFinite(x)));
      const index = [row, (a[row] as number[]).findIndex((x) => !Number.isFinite(x))];
      for (const call of [() => svd(a), () => svd(a, { vectors: "full" }), () => svdvals(a)]) {
        expect(call).toThrow(NonFiniteError);
        expect(call).toThrow(expect.objectContaining({ index }));
      }
    }
  });
});
