// TruncatedSVD and PCA's randomized solver against scikit-learn 1.9.1's exact numbers.

import { describe, expect, test } from "vitest";
import { capabilities, csr, NonFiniteError, PCA, scope, TruncatedSVD, tensor } from "../../bindings/index.js";
import { notOptions, notTensors, refuses } from "../support/bad_input.js";
import { distance, formula } from "../support/components.js";
import { DTYPES } from "../support/raw.js";

/** TruncatedSVD(n_components=2, algorithm="arpack").fit(formula(60, 5)) */
const DENSE = {
  components: [
    [0.1261821204984621, 0.2346396406062241, 0.3993450829931979, 0.516123972873338, 0.7093390309557844],
    [0.026781301135793356, 0.02470766696853743, 0.2065262911850023, 0.7246275717060641, -0.6564556850810163],
  ],
  explainedVariance: [1.1108408266246015, 1.8174815935106678],
  explainedVarianceRatio: [0.26864837758284205, 0.43954405499026866],
  singularValues: [31.361946526564424, 10.464733891023364],
};
const SCORES = [
  [2.992000975263625, 0.2915673346789371],
  [4.258245425324043, 0.9192358164642515],
];
/** n_components=3 of formula(40, 12) where an entry's fraction is below 0.3, else 0: 151 entries. */
const SPARSE = {
  explainedVariance: [14.02807135325396, 8.760178432326173, 6.174957807204977],
  explainedVarianceRatio: [0.31464096196845, 0.19648538274101518, 0.1385004834697315],
  singularValues: [33.010614642478046, 20.116568866189166, 15.724514892456655],
  last: [
    -0.003717885027564316, -0.023282321019510673, -0.06946244186026768, -0.07325004767431702, -0.05630159730057858,
    0.16001427867004653, 0.010578517649778027, 0.6933942280448796, 0.3416279111598785, -0.4195959118495755,
    -0.39542224785607977, -0.1744777858725262,
  ],
};
const KEYS = ["explainedVariance", "explainedVarianceRatio", "singularValues"] as const;

describe.each(DTYPES)("TruncatedSVD, %s", (dtype) => {
  const unit = dtype === "f32" ? 1e-5 : 1e-12;

  test("TruncatedSVD of dense data has scikit-learn's attributes, signs and coordinates", () => {
    const { data } = formula(60, 5);
    scope(() => {
      const x = tensor(data, { shape: [60, 5], dtype });
      const lsa = new TruncatedSVD();
      const z = lsa.fitTransform(x);
      expect(distance(lsa.components.toArray(), DENSE.components)).toBeLessThan(unit);
      for (const key of KEYS) expect(distance(lsa[key].toArray(), DENSE[key]), key).toBeLessThan(4 * unit);
      expect(distance(z.subtensor(0, 2).toArray(), SCORES)).toBeLessThan(unit);
      expect(lsa.transform(x).toArray()).toEqual(z.toArray());
      expect(
        distance(lsa.components.toArray(), new TruncatedSVD({ seed: 3 }).fit(x).components.toArray()),
      ).toBeLessThan(unit);
      // all components give the data back
      const all = new TruncatedSVD({ components: 5 });
      expect(distance([...all.inverseTransform(all.fitTransform(x)).data], [...x.data])).toBeLessThan(20 * unit);
      expect(lsa.components.dtype).toBe(dtype);
      lsa.dispose();
      all.dispose();
    });
  });

  test("TruncatedSVD of sparse data is that of the same data with its zeros", () => {
    const x = formula(40, 12).data.map((v) => (v % 1 < 0.3 ? v : 0));
    const places = [...x.keys()].filter((i) => x[i] !== 0);
    scope(() => {
      const values = tensor(
        places.map((i) => x[i] as number),
        { dtype },
      );
      const sparse = csr.fromCoo(
        places.map((i) => Math.floor(i / 12)),
        places.map((i) => i % 12),
        values,
        [40, 12],
      );
      expect(sparse.nnz).toBe(151);
      const lsa = new TruncatedSVD({ components: 3, oversamples: 9 });
      const z = lsa.fitTransform(sparse);
      for (const key of KEYS) expect(distance(lsa[key].toArray(), SPARSE[key]), key).toBeLessThan(10 * unit);
      expect(distance([...lsa.components.subtensor(2, 3).data], SPARSE.last)).toBeLessThan(unit);
      expect(distance(lsa.transform(sparse.toDense()).toArray(), z.toArray())).toBeLessThan(10 * unit);
      expect(distance(lsa.transform(sparse).toArray(), z.toArray())).toBe(0);
      const dense = new TruncatedSVD({ components: 3, oversamples: 9 }).fit(sparse.toDense());
      for (const key of KEYS) expect(distance(dense[key].toArray(), SPARSE[key]), key).toBeLessThan(10 * unit);
      for (const one of [lsa, dense, sparse]) one.dispose();
    });
  });

  test("PCA, solver randomized, finds what the exact solvers find", () => {
    const decaying = formula(120, 20).data.map((v, i) => v * 0.4 ** (i % 20));
    scope(() => {
      const x = tensor(decaying, { shape: [120, 20], dtype });
      const [found, exact] = (["randomized", "full"] as const).map((solver) =>
        new PCA({ components: 3, solver, seed: 1 }).fit(x),
      ) as [PCA, PCA];
      for (const key of ["components", "mean", ...KEYS] as const) {
        expect(distance(found[key].toArray(), exact[key].toArray()), key).toBeLessThan(10 * unit);
      }
      expect(Math.abs(found.noiseVariance / exact.noiseVariance - 1)).toBeLessThan(dtype === "f32" ? 1e-2 : 1e-9);
      for (const one of [found, exact]) one.dispose();
    });
  });

  test("data of any scale have the same ratios", () => {
    const { data } = formula(60, 5);
    for (const power of dtype === "f32" ? [-60, 60] : [-600, 600]) {
      scope(() => {
        const x = tensor(
          data.map((v) => v * 2 ** power),
          { shape: [60, 5], dtype },
        );
        const lsa = new TruncatedSVD().fit(x);
        expect(distance(lsa.explainedVarianceRatio.toArray(), DENSE.explainedVarianceRatio)).toBeLessThan(unit);
        lsa.dispose();
      });
    }
  });
});

describe("TruncatedSVD", () => {
  test('solver "auto" takes the randomized one for a few components of large data, close to scikit-learn\'s exact ones', () => {
    const { data } = formula(600, 80);
    scope(() => {
      const x = tensor(data, { shape: [600, 80] });
      const bits = (pca: PCA) => [...pca.fit(x).components.data];
      expect(bits(new PCA({ components: 4 }))).toEqual(bits(new PCA({ components: 4, solver: "randomized" })));
      expect(bits(new PCA({ components: 4 }))).not.toEqual(bits(new PCA({ components: 4, seed: 1 })));
      expect(bits(new PCA({ components: 70 }))).toEqual(bits(new PCA({ components: 70, solver: "full" })));
      const found = new PCA({ components: 4 }).fit(x).explainedVariance.data;
      // a flat spectrum: a seed decides how close
      for (const [i, v] of [601.5570955340269, 556.1993644251659, 546.3954915911646, 524.3013880996642].entries()) {
        expect(Math.abs((found[i] as number) / v - 1)).toBeLessThan(3e-2);
      }
    });
  });

  test("TruncatedSVD refuses wrong options and data, frees what it holds", () => {
    const { usedBytes } = capabilities();
    const lsa = new TruncatedSVD({ components: 1 }).fit([
      [1, 2],
      [3, 4],
    ]);
    const sparse = csr({ data: [1], indices: [2], indptr: [0, 1], shape: [1, 3] });
    const broken = csr({ data: [Number.NaN], indices: [1], indptr: [0, 1], shape: [1, 2] });
    const single = csr({ data: new Float32Array([1]), indices: [1], indptr: [0, 1], shape: [1, 2] });
    refuses([
      ...notOptions('"components", "powerIterations", "oversamples", "seed"', (options) => new TruncatedSVD(options)),
      ...notTensors("x", (value) => new TruncatedSVD().fit(value)),
      ["components 0", () => new TruncatedSVD({ components: 0 }), RangeError, /^"components" expected an integer in/],
      ["half", () => new TruncatedSVD({ components: 1.5 }), RangeError, /^"components" expected an integer in/],
      ["oversamples -1", () => new TruncatedSVD({ oversamples: -1 }), RangeError, /^"oversamples" expected/],
      ["rounds", () => new TruncatedSVD({ powerIterations: -1 }), RangeError, /^"powerIterations" expected/],
      [
        "too many",
        () => new TruncatedSVD().fit([[1, 2]]),
        RangeError,
        '"components" expected at most min(m, n) = 1, got 2',
      ],
      ["features", () => lsa.transform([[1, 2, 3]]), RangeError, '"x" expected shape (m, 2), got (1, 3)'],
      ["sparse features", () => lsa.transform(sparse), RangeError, '"x" expected shape (m, 2), got (1, 3)'],
      ["sparse f32", () => lsa.transform(single), TypeError, '"x" expected f64 as "the fitted data", got f32'],
      [
        "NaN",
        () =>
          lsa.fit([
            [1, Number.NaN],
            [1, 2],
          ]),
        NonFiniteError,
        /^"x" expected finite numbers, got NaN at \[0, 1\]/,
      ],
      ["sparse NaN", () => lsa.fit(broken), NonFiniteError, /^"x" expected finite numbers, got NaN at \[0, 1\]/],
      ["scores", () => lsa.inverseTransform([[1, 2]]), RangeError, '"z" expected shape (m, 1), got (1, 2)'],
    ]);
    expect(lsa.components.shape).toEqual([1, 2]);
    for (const one of [lsa, sparse, broken, single]) one.dispose();
    expect(capabilities().usedBytes).toBe(usedBytes);
    expect(() => lsa.components).toThrow("this TruncatedSVD was disposed of");
    expect(() => new TruncatedSVD().components).toThrow("call fit() of this TruncatedSVD first");
  });
});
