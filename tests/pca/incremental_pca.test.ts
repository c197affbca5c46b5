// IncrementalPCA: batches and merges against PCA of all rows, and scikit-learn 1.9.1's numbers where components are left out.

import { describe, expect, test } from "vitest";
import { capabilities, IncrementalPCA, NonFiniteError, PCA, scope, tensor } from "../../bindings/index.js";
import { notOptions, notTensors, refuses } from "../support/bad_input.js";
import { publishedCases } from "../support/cases.js";
import { ATTRIBUTES, type Attributes, different, distance, formula } from "../support/components.js";
import { type Matrix, matrix, randomMatrix, withValues } from "../support/matrices.js";
import { Random } from "../support/random.js";
import { DTYPES } from "../support/raw.js";

/** scikit-learn 1.9.1: IncrementalPCA(n_components=3, batch_size=13).fit(formula(60, 5)). */
const TRUNCATED: Attributes & { variances: number[]; score: number[] } = {
  components: [
    [-0.007916681924214403, 0.007883043054956495, -0.06748604048760472, -0.41263761407428945, 0.9083231900429973],
    [-0.023609982440539835, -0.13504260848835536, 0.14261318399410797, 0.8880584522872103, 0.4149936477756326],
    [-0.0677268393751457, 0.14101280975708252, 0.9776054637451261, -0.1405978158695459, 0.006947959488694694],
  ],
  explainedVariance: [2.0018625292701895, 1.1746675452868969, 0.6077955590174116],
  explainedVarianceRatio: [0.47606625775122285, 0.27934964275015445, 0.14454087282642683],
  singularValues: [10.867837375804866, 8.324985595899065, 5.988316790386701],
  mean: [0.5351833498513379, 0.9876445325404691, 1.6084737363726462, 2.048761149653122, 2.6929302940204822],
  noiseVariance: 0.015430319688300515,
  variances: [0.09850964707130376, 0.3069318147464582, 0.6336723183125901, 1.2716729088026069, 1.824138065198698],
  score: [-0.6011360560210773, -0.8472467848500944, -0.15202559311358543],
};

const place = ({ m, n, data }: Matrix, dtype: "f32" | "f64" = "f64") => tensor(data, { shape: [m, n], dtype });

/** What PCA finds in all rows. */
function whole(x: Matrix): Attributes {
  return scope(() => {
    const pca = new PCA({ solver: "full" }).fit(place(x));
    const found = Object.fromEntries(ATTRIBUTES.map((key) => [key, pca[key].toArray()]));
    const all = { ...found, noiseVariance: pca.noiseVariance } as Attributes;
    pca.dispose();
    return all;
  });
}

describe("IncrementalPCA", () => {
  test("IncrementalPCA has scikit-learn's numbers where components are left out", () => {
    const x = formula(60, 5);
    scope(() => {
      const pca = new IncrementalPCA({ components: 3, batchSize: 13 }).fit(place(x));
      expect(different(pca, TRUNCATED, 5e-14)).toEqual([]);
      expect(distance(pca.variances().toArray(), TRUNCATED.variances)).toBeLessThan(1e-14);
      expect(pca.samplesSeen).toBe(60);
      expect(distance(pca.transform([[...x.data.slice(0, 5)]]).toArray(), TRUNCATED.score)).toBeLessThan(2e-14);
      // other batches leave other things out
      expect(different(pca.fit(place(formula(60, 5)).subtensor(0, 59)), TRUNCATED, 5e-14)).not.toEqual([]);
      const other = new IncrementalPCA({ components: 3, batchSize: 14 }).fit(place(x));
      expect(different(other, TRUNCATED, 5e-14)).not.toEqual([]);
      pca.dispose();
      other.dispose();
    });
  });

  test.each([1, 2, 7, 24, 30, 59, 60, 61, 1000])(
    "batches of %i rows have no influence while nothing is left out",
    (size) => {
      for (const x of [formula(60, 5), formula(10, 9), formula(61, 1)]) {
        const pca = new IncrementalPCA({ batchSize: size }).fit(place(x));
        expect(different(pca, whole(x), 2e-13)).toEqual([]);
        const parts = new IncrementalPCA();
        for (let i = 0; i < x.m; i += size) parts.partialFit(place(x).subtensor(i, Math.min(i + size, x.m)));
        expect(different(parts, whole(x), 2e-13)).toEqual([]);
        expect(parts.samplesSeen).toBe(x.m);
        pca.dispose();
        parts.dispose();
      }
    },
  );

  test("shards fitted apart and merged give the PCA of all data, in any order, through JSON", () => {
    const x = formula(60, 5);
    const bounds = [0, 3, 4, 31, 60];
    const shards = bounds.slice(1).map((end, i) => {
      const shard = new IncrementalPCA().partialFit(place(x).subtensor(bounds[i] as number, end));
      return JSON.parse(JSON.stringify(shard));
    });
    for (const order of [
      [0, 1, 2, 3],
      [3, 1, 0, 2],
      [1, 0, 3, 2],
    ]) {
      const all = new IncrementalPCA();
      for (const i of order) {
        const shard = IncrementalPCA.fromJSON(shards[i]);
        expect(all.merge(shard)).toBe(all);
        // the other one stays as it is
        expect(shard.toJSON()).toEqual(shards[i]);
        shard.dispose();
      }
      expect(different(all, whole(x), 2e-13)).toEqual([]);
      expect(all.samplesSeen).toBe(60);
      const before = all.toJSON();
      expect(all.merge(new IncrementalPCA()).toJSON()).toEqual(before);
      all.dispose();
    }
    // without one shard it is not
    const part = new IncrementalPCA()
      .merge(IncrementalPCA.fromJSON(shards[0]))
      .merge(IncrementalPCA.fromJSON(shards[3]));
    expect(different(part, whole(x), 1e-3)).not.toEqual([]);
  });

  test("merging data of low rank with few components loses nothing", () => {
    const x = withValues(90, 8, [9, 5, 2, 0, 0, 0, 0, 0], new Random(3));
    const all = new IncrementalPCA({ components: 4 });
    for (const [from, to] of [
      [0, 20],
      [20, 70],
      [70, 90],
    ] as const) {
      all.merge(new IncrementalPCA({ components: 4 }).partialFit(place(x).subtensor(from, to)));
    }
    const wanted = whole(x);
    const first = (values: unknown) => (values as number[]).slice(0, 3);
    expect(distance(first(all.singularValues.toArray()), first(wanted.singularValues))).toBeLessThan(1e-13);
    expect(distance(first(all.components.toArray()), first(wanted.components))).toBeLessThan(1e-13);
    expect(all.components.shape).toEqual([4, 8]);
    all.dispose();
  });

  test("a mean of 1e7 that comes in batches changes variances by less than 1e-8", () => {
    const x = randomMatrix(2000, 6, new Random(4), "normal");
    const far = { ...x, data: x.data.map((v) => v + 1e7) };
    const [near, shifted] = [x, far].map((data) => {
      const pca = new IncrementalPCA({ batchSize: 50 }).fit(place(data));
      return [...pca.explainedVariance.data];
    }) as [number[], number[]];
    for (const [i, v] of near.entries()) expect(Math.abs((shifted[i] as number) / v - 1)).toBeLessThan(1e-8);
  });

  test("batches of f32 give f32, computed in f64", () => {
    const x = formula(60, 5);
    const pca = new IncrementalPCA({ batchSize: 7 }).fit(place(x, "f32"));
    expect(different(pca, whole(x), 3e-6)).toEqual([]);
    for (const key of ATTRIBUTES) expect(pca[key].dtype).toBe("f32");
    expect(pca.transform([[1, 2, 3, 4, 5]]).dtype).toBe("f32");
    expect(() => pca.partialFit(place(x))).toThrow('"x" expected f32 as "the fitted data", got f64');
    pca.dispose();
  });

  test("rows in columns' order, single rows, constant data", () => {
    const x = formula(60, 5);
    const columns = tensor(matrix(5, 60, (i, j) => x.data[j * 5 + i] as number).data, { shape: [5, 60] }).transpose();
    const pca = new IncrementalPCA({ batchSize: 9 }).fit(columns);
    expect(different(pca, whole(x), 2e-13)).toEqual([]);
    const one = new IncrementalPCA({ whiten: true }).partialFit([[2, 3]]);
    expect([...one.explainedVariance.data, ...one.explainedVarianceRatio.data]).toEqual([0, 0]);
    expect([...one.transform([[2, 3]]).data]).toEqual([0]);
    one.partialFit([[2, 3]]).partialFit([[2, 3]]);
    expect([...one.singularValues.data]).toEqual([0, 0]);
    expect([...one.mean.data]).toEqual([2, 3]);
    pca.dispose();
    one.dispose();
  });

  test("IncrementalPCA of iris is scikit-learn's as its tests state", () => {
    const file = publishedCases<{ cases: { X: number[][] }[] }>("pca.json");
    if (file === undefined) return;
    const x = (file.cases[0] as { X: number[][] }).X;
    scope(() => {
      const sum = (p: PCA | IncrementalPCA) => [...p.explainedVarianceRatio.data].reduce((a, b) => a + b);
      const pca = new PCA({ components: 2 }).fit(x);
      const two = new IncrementalPCA({ components: 2, batchSize: 50 }).fit(x);
      expect(Math.abs(sum(two) / sum(pca) - 1)).toBeLessThan(1e-3);
      const scores = [...new IncrementalPCA({ components: 2, batchSize: 25 }).fitTransform(x).data].map(Math.abs);
      expect(distance(scores, [...pca.transform(x).data].map(Math.abs))).toBeLessThan(0.05);
    });
  });

  test("toJSON() and fromJSON() keep every bit; what is read goes on as what was written", () => {
    for (const dtype of DTYPES) {
      const x = formula(60, 5);
      const pca = new IncrementalPCA({ components: 3, whiten: true, batchSize: 13 }).fit(place(x, dtype));
      const copy = IncrementalPCA.fromJSON(JSON.parse(JSON.stringify(pca)));
      expect(copy.toJSON()).toEqual(pca.toJSON());
      const more = place(formula(20, 5), dtype);
      for (const one of [pca, copy]) one.partialFit(more);
      expect(copy.toJSON()).toEqual(pca.toJSON());
      expect(copy.transform(more).toTyped()).toEqual(pca.transform(more).toTyped());
      pca.dispose();
      copy.dispose();
    }
    const { norms: _, ...state } = new IncrementalPCA().partialFit([[1, 2]]).toJSON().state as { norms: unknown };
    refuses([
      [
        "no norms",
        () => IncrementalPCA.fromJSON({ type: "IncrementalPCA", version: 1, options: {}, state }),
        TypeError,
        '"json.state.norms" expected an array of numbers, got undefined',
      ],
      [
        "a PCA",
        () => IncrementalPCA.fromJSON(new PCA().toJSON()),
        RangeError,
        '"json.type" expected "IncrementalPCA", got "PCA"',
      ],
    ]);
  });

  test("IncrementalPCA refuses wrong options and data and stays as it was", () => {
    const pca = new IncrementalPCA({ components: 2 }).partialFit([
      [1, 2, 3],
      [3, 5, 1],
      [2, 2, 7],
    ]);
    const before = pca.toJSON();
    const other = new IncrementalPCA().partialFit([
      [1, 2],
      [2, 1],
    ]);
    const single = new IncrementalPCA().partialFit(tensor([[1, 2, 3]], { dtype: "f32" }));
    refuses([
      ...notOptions('"components", "whiten", "batchSize"', (options) => new IncrementalPCA(options)),
      ...notTensors("x", (value) => new IncrementalPCA().fit(value)),
      ...notTensors("x", (value) => new IncrementalPCA().partialFit(value)),
      ["components 0", () => new IncrementalPCA({ components: 0 }), RangeError, /^"components" expected an integer in/],
      ["a fraction", () => new IncrementalPCA({ components: 0.5 }), RangeError, /^"components" expected an integer in/],
      [
        "mle",
        () => new IncrementalPCA({ components: "mle" as never }),
        TypeError,
        '"components" expected an integer, got "mle"',
      ],
      ["batchSize 0", () => new IncrementalPCA({ batchSize: 0 }), RangeError, /^"batchSize" expected an integer in/],
      ["other features", () => pca.partialFit([[1, 2]]), RangeError, '"x" expected shape (m, 3), got (1, 2)'],
      [
        "no rows",
        () => pca.partialFit(tensor([], { shape: [0, 3] })),
        RangeError,
        '"x" expected shape (m >= 1, n >= 1), got (0, 3)',
      ],
      ["NaN", () => pca.partialFit([[1, 2, Number.NaN]]), NonFiniteError, /\[0, 2\]/],
      [
        "few rows at first",
        () => new IncrementalPCA({ components: 2 }).partialFit([[1, 2, 3]]),
        RangeError,
        '"x" expected at least 2 rows at first, one a component, got 1',
      ],
      [
        "few features",
        () =>
          new IncrementalPCA({ components: 4 }).fit([
            [1, 2, 3],
            [1, 2, 3],
            [1, 2, 3],
            [1, 2, 3],
          ]),
        RangeError,
        '"components" expected at most 3 features, got 4',
      ],
      ["no other", () => pca.merge(undefined as never), TypeError, '"other" expected an IncrementalPCA, got undefined'],
      ["a PCA", () => pca.merge(new PCA() as never), TypeError, '"other" expected an IncrementalPCA, got PCA'],
      ["other features", () => pca.merge(other), RangeError, '"other" expected 3 features, got 2'],
      ["other dtype", () => pca.merge(single), TypeError, '"other" expected f64, got f32'],
    ]);
    expect(pca.toJSON()).toEqual(before);
    for (const one of [pca, other, single]) one.dispose();
  });

  test("many batches leave nothing behind", () => {
    const { usedBytes } = capabilities();
    const pca = new IncrementalPCA({ components: 2 });
    const x = tensor(formula(40, 5).data, { shape: [40, 5] });
    for (let i = 0; i < 50; i++) pca.partialFit(x);
    const other = new IncrementalPCA({ batchSize: 3 }).fit(x);
    pca.merge(other).variances().dispose();
    expect(pca.samplesSeen).toBe(2040);
    for (const one of [pca, other, x]) one.dispose();
    expect(capabilities().usedBytes).toBe(usedBytes);
    expect(() => pca.samplesSeen).toThrow("this IncrementalPCA was disposed of");
  });
});
