// tfidf() against scikit-learn 1.9.1's TfidfTransformer.

import { describe, expect, test } from "vitest";
import { type Csr, capabilities, csr, scope, tensor, tfidf } from "../../bindings/index.js";
import { type Row, refuses } from "../support/bad_input.js";
import { distance } from "../support/components.js";
import { DTYPES } from "../support/raw.js";

const COUNTS = [
  [0, 0, 0, 3, 0, 1],
  [0, 1, 0, 0, 3, 0],
  [2, 0, 0, 0, 0, 1],
  [0, 0, 0, 0, 0, 0],
  [0, 0, 2, 0, 0, 0],
];
const WEIGHTS = [
  [0, 0, 0, 0.9656883343858689, 0, 0.2597037559047736],
  [0, 0.3162277660168379, 0, 0, 0.9486832980505138, 0],
  [0.9273864454638184, 0, 0, 0, 0, 0.3741047724501572],
  [0, 0, 0, 0, 0, 0],
  [0, 0, 1, 0, 0, 0],
];

/** A sparse matrix of rows; zeros are stored where `zeros` says so. */
function sparse(rows: number[][], dtype: "f32" | "f64", zeros = false): Csr {
  const places = rows.flatMap((row, i) => row.map((value, j) => [i, j, value] as const));
  const kept = places.filter(([, , value]) => zeros || value !== 0);
  const values = tensor(
    kept.map(([, , value]) => value),
    { dtype, shape: [kept.length] },
  );
  const made = csr.fromCoo(
    kept.map(([i]) => i),
    kept.map(([, j]) => j),
    values,
    [rows.length, rows[0]?.length ?? 0],
  );
  values.dispose();
  return made;
}

describe.each(DTYPES)("tfidf(), %s", (dtype) => {
  const unit = dtype === "f32" ? 1e-7 : 4e-16;

  test("tfidf() gives scikit-learn's weights, in the same dtype, and leaves the counts alone", () => {
    scope(() => {
      const counts = sparse(COUNTS, dtype);
      const weights = tfidf(counts);
      expect(weights.dtype).toBe(dtype);
      expect(distance(weights.toDense().toArray(), WEIGHTS)).toBeLessThan(unit);
      expect(weights.nnz).toBe(counts.nnz);
      expect(counts.toDense().toArray()).toEqual(COUNTS);
      // a count more is another weight
      const more = tfidf(sparse([[0, 0, 0, 4, 0, 1], ...COUNTS.slice(1)], dtype));
      expect(distance(more.toDense().toArray(), WEIGHTS)).toBeGreaterThan(0.01);
      for (const one of [counts, weights, more]) one.dispose();
    });
  });

  test("stored zeros count as absent, empty shapes stay empty, NaN passes through", () => {
    const stored = sparse(COUNTS, dtype, true);
    const weights = tfidf(stored);
    expect(distance(weights.toDense().toArray(), WEIGHTS)).toBeLessThan(unit);
    for (const shape of [
      [0, 3],
      [3, 0],
      [0, 0],
    ]) {
      const indptr = new Array<number>((shape[0] as number) + 1).fill(0);
      const none = csr({ data: [], indices: [], indptr, shape });
      const empty = tfidf(none);
      expect([empty.shape, empty.nnz]).toEqual([shape, 0]);
      none.dispose();
      empty.dispose();
    }
    const broken = sparse(
      [
        [1, Number.NaN],
        [1, 1],
      ],
      dtype,
    );
    const found = tfidf(broken);
    expect([...found.data].map(Number.isNaN)).toEqual([true, true, false, false]);
    for (const one of [stored, weights, broken, found]) one.dispose();
  });
});

describe("tfidf()", () => {
  test("tfidf() refuses what is no sparse matrix, frees what it makes", () => {
    const bad = (value: unknown, got: string): Row => [
      got,
      () => tfidf(value as Csr),
      TypeError,
      `"counts" expected a Csr, got ${got}`,
    ];
    refuses([bad(undefined, "undefined"), bad([[1]], "an array"), bad({}, "Object")]);
    const counts = sparse(COUNTS, "f64");
    const { usedBytes } = capabilities();
    tfidf(counts).dispose();
    expect(capabilities().usedBytes).toBe(usedBytes);
    counts.dispose();
  });
});
