// PCA against scikit-learn 1.9.1's own numbers, published values, and what must hold whatever the data.

import { describe, expect, test } from "vitest";
import { capabilities, NonFiniteError, PCA, type PcaOptions, scope, tensor } from "../../bindings/index.js";
import { kernel } from "../../bindings/load.js";
import { notOptions, notTensors, type Row, refuses } from "../support/bad_input.js";
import { publishedCases } from "../support/cases.js";
import { ATTRIBUTES, type Attributes, different, distance, formula } from "../support/components.js";
import { type Matrix, matrix, randomMatrix, withValues } from "../support/matrices.js";
import { Random } from "../support/random.js";
import { DTYPES } from "../support/raw.js";
import { multiply, transpose } from "../support/reference.js";

/** Low rank and noise; the same in Python. */
const noisy = (m: number, n: number, rank: number, noise: number) => {
  const b = formula(m, rank).data.map((x) => x - 0.5);
  const c = formula(n, rank).data.map((x) => x - 0.7);
  const product = multiply(m, n, rank, b, transpose(n, rank, c));
  return matrix(
    m,
    n,
    (i, j) => (product[i * n + j] as number) + noise * (((i * 7817 + j * 104729 + i * j * 13) % 997) / 997 - 0.5),
  );
};

/** scikit-learn 1.9.1: PCA(n_components=2).fit(formula(60, 5)) and PCA(n_components=3).fit(formula(6, 9)). */
const TALL = {
  components: [
    [-0.007191584456050105, 0.003280500079376081, -0.06610899869892745, -0.4134206776316627, 0.9081026720750485],
    [-0.022091406044394687, -0.1278728012930631, 0.13429108252470026, 0.8902780036253346, 0.4153691104110649],
  ],
  explainedVariance: [2.0024216231766885, 1.1763937824821609],
  explainedVarianceRatio: [0.47619921680305916, 0.2797601620887825],
  singularValues: [10.869354891962292, 8.331100357482647],
  mean: [0.5351833498513378, 0.9876445325404694, 1.6084737363726467, 2.0487611496531217, 2.6929302940204822],
  noiseVariance: 0.34206427296060626,
};
const SCORES = [
  [-0.6013880025153128, -0.8455343749365087],
  [-0.5880426032100643, 0.6615468598200853],
];
const RESTORED = [0.5581873256634977, 1.0937925282631926, 1.5346831685264126, 1.5446267298574843, 1.7955993808430972];
const WHITENED = [
  [-0.4249883221455601, -0.7795696234636115],
  [-0.4155574076022397, 0.6099359785960259],
];
/** Of the whitened (1, 2). */
const COLOURED = [0.4770853342786402, 0.714900669800283, 1.8062336608301552, 3.3949632740613365, 4.87899136625675];
const WIDE = {
  components: [
    [
      0.06917954153653566, 0.014011181287175701, -0.20311019479559347, -0.017315085705769295, -0.14352111994109315,
      0.20802241710322106, -0.09703177138253162, 0.2869686303707551, 0.8932113507158986,
    ],
    [
      -0.1286596057613337, 0.19770471539926618, 0.002946221985606861, -0.42789940970759427, 0.400943784413062,
      -0.1666090172369309, -0.11122180211187283, 0.7342949399950195, -0.1455305303045106,
    ],
    [
      0.008241972931146898, 0.2365955798167827, -0.09448028274863582, -0.13800205665901052, -0.4672222929074062,
      -0.5787092709801317, 0.5923924542784792, 0.08477748185612126, 0.06831088785127004,
    ],
  ],
  explainedVariance: [10.689990885151873, 5.2179647071604425, 1.6540091993998711],
  explainedVarianceRatio: [0.5705616427865408, 0.2785007533967936, 0.08828016937829541],
  singularValues: [7.310947573725267, 5.107819841752664, 2.8757687662604856],
  mean: [
    0.5535183349851338, 0.7459530888668647, 1.6783944499504464, 1.7852659398744632, 2.6676577469441694,
    2.9266600594648167, 0.9966963990749917, 3.9788569540799474, 4.974231912784935,
  ],
  noiseVariance: 0.3913146584021651,
};

const SOLVERS = ["full", "covariance"] as const;

const place = ({ m, n, data }: Matrix, dtype: "f32" | "f64" = "f64") => tensor(data, { shape: [m, n], dtype });

const attributes = (pca: PCA): Attributes =>
  Object.assign(Object.fromEntries(ATTRIBUTES.map((key) => [key, pca[key].toArray()])) as Attributes, {
    noiseVariance: pca.noiseVariance,
  });

/** f with a PCA that is fitted to x and disposed of afterwards. */
function fitted<R>(x: Matrix, options: PcaOptions, f: (pca: PCA) => R, dtype: "f32" | "f64" = "f64"): R {
  return scope(() => {
    const pca = new PCA(options).fit(place(x, dtype));
    try {
      return f(pca);
    } finally {
      pca.dispose();
    }
  });
}

describe.each(SOLVERS)("PCA, solver %s", (solver) => {
  test("PCA has scikit-learn's attributes and signs on tall and wide data", () => {
    expect(fitted(formula(60, 5), { components: 2, solver }, (p) => different(p, TALL, 5e-14))).toEqual([]);
    expect(fitted(formula(6, 9), { components: 3, solver }, (p) => different(p, WIDE, 5e-14))).toEqual([]);
    // the comparison sees a sign and a thirteenth digit
    expect(
      fitted(formula(60, 5), { components: 2, solver }, (p) =>
        different(p, { ...TALL, noiseVariance: 0.3420643 }, 5e-14),
      ),
    ).toHaveLength(1);
    const flipped = { ...TALL, components: TALL.components.map((row) => row.map((x) => -x)) };
    expect(fitted(formula(60, 5), { components: 2, solver }, (p) => different(p, flipped, 5e-14))).toHaveLength(1);
  });

  test("transform(), inverseTransform() and whitening give scikit-learn's numbers", () => {
    const x = formula(60, 5);
    const first = x.data.slice(0, 10);
    fitted(x, { components: 2, solver }, (pca) => {
      const z = pca.transform(tensor(first, { shape: [2, 5] }));
      expect(z.shape).toEqual([2, 2]);
      expect(distance(z.toArray(), SCORES)).toBeLessThan(2e-14);
      expect(distance(pca.inverseTransform(z.subtensor(0, 1)).toArray(), RESTORED)).toBeLessThan(2e-14);
    });
    fitted(x, { components: 2, solver, whiten: true }, (pca) => {
      expect(distance(pca.transform(tensor(first, { shape: [2, 5] })).toArray(), WHITENED)).toBeLessThan(2e-14);
      expect(distance(pca.inverseTransform([[1, 2]]).toArray(), COLOURED)).toBeLessThan(2e-14);
    });
  });

  test("PCA of the whole spectrum loses nothing: ratios sum to 1, the data come back", () => {
    for (const [m, n] of [
      [60, 5],
      [6, 9],
      [9, 9],
      [2, 1],
      [2, 7],
      [300, 17],
    ] as const) {
      const x = formula(m, n);
      fitted(x, { solver }, (pca) => {
        const k = Math.min(m, n);
        expect(pca.components.shape).toEqual([k, n]);
        expect(pca.noiseVariance).toBe(0);
        const sum = [...pca.explainedVarianceRatio.data].reduce((a, b) => a + b, 0);
        expect(Math.abs(sum - 1)).toBeLessThan(1e-14);
        const back = pca.inverseTransform(pca.transform(place(x)));
        expect(distance([...back.data], [...x.data])).toBeLessThan(n * 2e-14);
        const gram = multiply(k, k, n, pca.components.data, transpose(k, n, pca.components.data));
        // centred data of m <= n rows have one direction without variance
        expect(distance([...gram], [...matrix(k, k, (i, j) => Number(i === j)).data])).toBeLessThan(1e-13);
      });
    }
  });

  test("whitened scores have variance 1 and no correlation", () => {
    const x = randomMatrix(400, 6, new Random(5), "normal");
    fitted(x, { solver, whiten: true }, (pca) => {
      const z = pca.transform(place(x)).data;
      const gram = multiply(6, 6, 400, transpose(400, 6, z), z).map((v) => v / 399);
      expect(distance([...gram], [...matrix(6, 6, (i, j) => Number(i === j)).data])).toBeLessThan(1e-12);
    });
  });

  test("a mean of 1e7 in every feature changes variances by less than 1e-8", () => {
    const x = randomMatrix(5000, 8, new Random(6), "normal");
    const far = { ...x, data: x.data.map((v) => v + 1e7) };
    const variances = (data: Matrix) => fitted(data, { solver }, (p) => [...p.explainedVariance.data]);
    const [near, shifted] = [variances(x), variances(far)];
    for (const [i, v] of near.entries()) expect(Math.abs((shifted[i] as number) / v - 1)).toBeLessThan(1e-8);
    // scores keep their digits, too: those of 1e7 itself are 2e-9
    const z = (data: Matrix) => fitted(data, { solver, components: 1 }, (p) => [...p.transform(place(data)).data]);
    expect(distance(z(far), z(x))).toBeLessThan(1e-7);
  });

  test("a mean that drifts through the rows costs no digits", () => {
    const random = new Random(7);
    const x = matrix(3000, 4, (i, j) => 1e6 * i * (j + 1) + random.normal());
    const variances = (y: Matrix, s: "full" | "covariance") =>
      fitted(y, { solver: s }, (p) => [...p.explainedVariance.data]);
    const [full, found] = [variances(x, "full"), variances(x, solver)];
    expect(Math.abs((found[0] as number) / (full[0] as number) - 1)).toBeLessThan(1e-14);
    // beside 1e19 the others are rounding
    expect((found[1] as number) / (found[0] as number)).toBeLessThan(1e-15);
  });

  test("PCA of f32 data is f32, with means summed in f64", () => {
    const x = formula(60, 5);
    fitted(
      x,
      { components: 2, solver },
      (pca) => {
        expect(different(pca, TALL, 3e-6)).toEqual([]);
        for (const key of ATTRIBUTES) expect(pca[key].dtype).toBe("f32");
        const z = pca.transform(tensor(x.data.slice(0, 10), { shape: [2, 5], dtype: "f32" }));
        expect(z.dtype).toBe("f32");
        expect(distance(z.toArray(), SCORES)).toBeLessThan(2e-6);
        expect(pca.transform([[1, 2, 3, 4, 5]]).dtype).toBe("f32");
      },
      "f32",
    );
    // 2^20 rows of 0.1 (as f32 has it): a sum in f32 would be off in the third digit
    const many = tensor(new Float32Array(2 ** 18).fill(0.1), { shape: [2 ** 17, 2] });
    const pca = new PCA({ solver }).fit(many);
    expect([...pca.mean.data]).toEqual([Math.fround(0.1), Math.fround(0.1)]);
    expect([...pca.explainedVariance.data]).toEqual([0, 0]);
    pca.dispose();
    many.dispose();
  });

  test("PCA takes transposed and strided rows as they are", () => {
    const x = formula(60, 5);
    const columns = tensor(transpose(60, 5, x.data), { shape: [5, 60] }).transpose();
    const pca = new PCA({ components: 2, solver }).fit(columns);
    expect(different(pca, TALL, 5e-14)).toEqual([]);
    expect(distance(pca.transform(columns).subtensor(0, 2).toArray(), SCORES)).toBeLessThan(2e-14);
    const wide = tensor(
      matrix(60, 12, (i, j) => (j % 2 === 0 && j < 10 ? (x.data[i * 5 + j / 2] as number) : Number.NaN)).data,
    );
    const every = { data: wide.data, shape: [60, 5], strides: [12, 2] };
    expect(different(pca.fit(every), TALL, 5e-14)).toEqual([]);
    expect(distance(pca.inverseTransform(tensor(SCORES.flat(), { shape: [2, 2] }).transpose()).shape, [2, 5])).toBe(0);
    pca.dispose();
  });

  test("constant features explain nothing; constant data have no variance at all", () => {
    const x = matrix(30, 3, (i, j) => (j === 1 ? 7.25 : Math.sin(i * (j + 1))));
    fitted(x, { solver }, (pca) => {
      expect(pca.explainedVariance.data[2]).toBeLessThan(1e-30);
      expect(Math.abs(pca.components.data[7] as number)).toBeCloseTo(1, 12);
      expect(pca.mean.data[1]).toBe(7.25);
    });
    fitted(
      matrix(30, 3, () => -2.5),
      { solver },
      (pca) => {
        expect([...pca.explainedVariance.data]).toEqual([0, 0, 0]);
        expect([...pca.explainedVarianceRatio.data]).toEqual([0, 0, 0]);
        expect([...pca.mean.data]).toEqual([-2.5, -2.5, -2.5]);
      },
    );
    fitted(
      matrix(30, 3, () => 0.1),
      { solver, components: 0.5, whiten: true },
      (pca) => {
        expect(pca.components.shape).toEqual([1, 3]);
        expect([...pca.transform([[0.1, 0.1, 0.1]]).data]).toEqual([0]);
      },
    );
  });

  test("PCA finds the rank of deficient data; whitening what has no variance stays finite", () => {
    const x = withValues(80, 6, [5, 3, 1, 0, 0, 0], new Random(8));
    fitted(x, { solver, whiten: true }, (pca) => {
      const { data } = pca.explainedVarianceRatio;
      expect([...data].filter((ratio) => ratio > 1e-12)).toHaveLength(3);
      expect([...pca.transform(place(x)).data].every(Number.isFinite)).toBe(true);
    });
  });

  test("fractions keep the fewest components that explain more", () => {
    // cumulative ratios 0.476…, 0.755…, 0.906…, 0.977…, 1; numbers by scikit-learn
    const count = (components: number) => fitted(formula(60, 5), { components, solver }, (p) => p.components.shape[0]);
    expect([0.3, 0.5, 0.8, 0.99, 1e-300, 1 - 2 ** -53].map(count)).toEqual([1, 2, 3, 5, 1, 5]);
    // a share that is reached exactly is not exceeded: 0.5 and 0.5
    const cross = matrix(4, 2, (i, j) => (i >> 1 === j ? (i % 2 === 0 ? 1 : -1) : 0));
    expect(fitted(cross, { components: 0.5, solver }, (p) => p.components.shape[0])).toBe(2);
    expect(fitted(cross, { components: 0.499, solver }, (p) => p.components.shape[0])).toBe(1);
  });

  test('components "mle" are as many as scikit-learn finds', () => {
    const count = (x: Matrix) => fitted(x, { components: "mle", solver }, (p) => p.components.shape[0]);
    expect(count(formula(60, 5))).toBe(4);
    expect(count(noisy(200, 8, 3, 0.5))).toBe(3);
    expect(count(noisy(200, 8, 2, 0.1))).toBe(2);
    expect(count(noisy(40, 10, 4, 2))).toBe(3);
    expect(count(noisy(500, 20, 5, 0.5))).toBe(5);
    expect(count(matrix(9, 1, (i) => i * i))).toBe(1);
    expect(count(matrix(9, 4, () => 3))).toBe(1);
    // equal variances have no evidence of their own
    expect(count(matrix(8, 4, (i, j) => (i >> 1 === j ? (i % 2 === 0 ? 1 : -1) : 0)))).toBeGreaterThan(0);
  });

  test("data of any scale: powers of two scale values exactly, ratios not at all", () => {
    const x = formula(60, 5);
    const of = (power: number, dtype: "f32" | "f64") =>
      fitted({ ...x, data: x.data.map((v) => v * 2 ** power) }, { solver }, attributes, dtype);
    for (const [dtype, powers] of [
      ["f64", [-1000, -600, -300, 300, 600, 1000]],
      ["f32", [-100, -60, 60, 100]],
    ] as const) {
      const base = of(0, dtype);
      for (const power of powers) {
        const found = of(power, dtype);
        const scale = (values: unknown) => ([values].flat(9) as number[]).map((v) => v * 2 ** power);
        const unit = dtype === "f64" ? 1e-13 : 1e-5;
        expect(distance(found.components, base.components), `${dtype} ${power}`).toBeLessThan(unit);
        expect(distance(found.explainedVarianceRatio, base.explainedVarianceRatio)).toBeLessThan(unit);
        const [values, wanted] = [found.singularValues as number[], scale(base.singularValues)];
        for (const [i, s] of values.entries()) expect(Math.abs(s / (wanted[i] as number) - 1)).toBeLessThan(unit);
      }
    }
    // squares of 2^1000 are out of range, their roots are not
    expect(of(1000, "f64").explainedVariance).toEqual([Infinity, Infinity, Infinity, Infinity, Infinity]);
  });

  test("fit() refuses NaN and Infinity and keeps what was fitted", () => {
    const x = formula(60, 5);
    const pca = new PCA({ components: 2, solver }).fit(place(x));
    for (const bad of [Number.NaN, Infinity, -Infinity]) {
      const broken = { ...x, data: x.data.slice() };
      broken.data[57 * 5 + 3] = bad;
      let error: unknown;
      try {
        scope(() => pca.fit(place(broken)));
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(NonFiniteError);
      expect((error as NonFiniteError).index).toEqual([57, 3]);
      expect(() => scope(() => pca.transform(place(broken)))).toThrow(NonFiniteError);
      expect(different(pca, TALL, 5e-14)).toEqual([]);
    }
    pca.dispose();
  });

  test("the digits do not depend on how the work is cut", () => {
    const x = randomMatrix(700, 9, new Random(9), "normal");
    const found = () =>
      fitted(x, { solver, whiten: true }, (p) => [...p.components.data, ...p.transform(place(x)).data]);
    const whole = found();
    kernel().common.setSlice(0);
    try {
      expect(found()).toEqual(whole);
    } finally {
      kernel().common.setSlice(3e7);
    }
  });
});

describe("PCA", () => {
  test('solver "auto" is scikit-learn\'s choice; both solvers agree', () => {
    const x = randomMatrix(500, 50, new Random(10), "normal");
    const bits = (options: PcaOptions, y = x) => fitted(y, options, (p) => [...p.components.data]);
    expect(bits({})).toEqual(bits({ solver: "covariance" }));
    expect(bits({})).not.toEqual(bits({ solver: "full" }));
    const short = randomMatrix(499, 50, new Random(10), "normal");
    expect(bits({}, short)).toEqual(bits({ solver: "full" }, short));
    expect(distance(bits({ components: 3 }), bits({ components: 3, solver: "full" }))).toBeLessThan(1e-12);
  });

  test("PCA has the published numbers", () => {
    const file = publishedCases<{ cases: { name: string; X?: number[][]; expected: Record<string, never> }[] }>(
      "pca.json",
    );
    if (file === undefined) return;
    const find = (name: string) => file.cases.find((one) => one.name === name) as (typeof file.cases)[number];
    const iris = find("iris_covariance_pca") as unknown as { X: number[][]; computed: Record<string, number[]> };
    for (const solver of SOLVERS) {
      scope(() => {
        const pca = new PCA({ solver }).fit(iris.X);
        const { computed } = iris;
        expect(distance(pca.explainedVarianceRatio.toArray(), computed.explained_variance_ratio)).toBeLessThan(1e-12);
        expect(distance(pca.explainedVariance.toArray(), computed.explained_variance)).toBeLessThan(1e-13);
        expect(distance(pca.singularValues.toArray(), computed.singular_values)).toBeLessThan(1e-12);
        expect(distance(pca.mean.toArray(), computed.mean)).toBeLessThan(1e-14);
        const size = (v: unknown) => ([v].flat(9) as number[]).map(Math.abs);
        expect(distance(size(pca.components.toArray()), size(computed.components))).toBeLessThan(1e-13);
        const { scores_first3_rows_abs: scores } = find("iris_covariance_pca").expected as Record<string, number[][]>;
        const z = pca.transform(iris.X.slice(0, 3)).toArray() as number[][];
        expect(distance(size(z.map((row) => row.slice(0, 3))), scores)).toBeLessThan(1e-8);
        pca.dispose();

        const six = find("sklearn_pca_docstring_6x2");
        const small = new PCA({ solver }).fit(six.X as number[][]);
        const wanted = six.expected as Record<string, number[]>;
        expect(distance(small.explainedVarianceRatio.toArray(), wanted.explained_variance_ratio)).toBeLessThan(1e-14);
        expect(distance(small.singularValues.toArray(), wanted.singular_values)).toBeLessThan(1e-13);
        for (const components of [-1, 3])
          expect(() =>
            new PCA({ components, solver }).fit([
              [0, 1],
              [1, 0],
            ]),
          ).toThrow(RangeError);
        small.dispose();

        for (const [name, key, ddof] of [
          ["iris_standardscaler_ddof0_pca", "explained_variance_ratio", 0],
          ["mljs_pca_50x2_scaled", "explained_variance_ratio", 1],
        ] as const) {
          const one = find(name);
          const scaled = new PCA({ solver }).fit(standardized(one.X ?? iris.X, ddof));
          const ratios = one.expected[key] as unknown as number[];
          const tolerance = ddof === 0 ? 1e-8 : 1e-4;
          const found = (scaled.explainedVarianceRatio.toArray() as number[]).slice(0, ratios.length);
          expect(distance(found, ratios)).toBeLessThan(tolerance);
          scaled.dispose();
        }
      });
    }
  });

  test("toJSON() and fromJSON() keep every bit, through text", () => {
    for (const dtype of DTYPES) {
      const x = formula(60, 5);
      const pca = new PCA({ components: 3, whiten: true, solver: "full", seed: 7 }).fit(place(x, dtype));
      const copy = PCA.fromJSON(JSON.parse(JSON.stringify(pca)));
      for (const key of ATTRIBUTES) {
        expect(copy[key].dtype).toBe(dtype);
        expect(copy[key].toTyped()).toEqual(pca[key].toTyped());
      }
      expect(copy.noiseVariance).toBe(pca.noiseVariance);
      expect(copy.transform(place(x, dtype)).toTyped()).toEqual(pca.transform(place(x, dtype)).toTyped());
      expect(copy.toJSON()).toEqual(pca.toJSON());
      expect(copy.toJSON().options).toEqual({ components: 3, whiten: true, solver: "full", seed: 7 });
      pca.dispose();
      copy.dispose();
    }
    const empty = PCA.fromJSON(JSON.parse(JSON.stringify(new PCA())));
    expect(empty.toJSON().state).toBeNull();
    expect(() => empty.mean).toThrow(/call fit/);
    // what JSON has no number for
    const huge = new PCA().fit([
      [1e300, 0],
      [-1e300, -0],
    ]);
    const text = JSON.stringify(huge);
    expect(text).toContain('"Infinity"');
    const back = PCA.fromJSON(JSON.parse(text));
    expect(back.explainedVariance.data[0]).toBe(Infinity);
    expect(JSON.stringify(back)).toBe(text);
    const zero = huge.toJSON();
    (zero.state as { mean: unknown[] }).mean[1] = "-0";
    expect(Object.is(PCA.fromJSON(zero).mean.data[1], -0)).toBe(true);
  });

  test("fromJSON() refuses what toJSON() does not write", () => {
    const pca = new PCA({ components: 1 }).fit([
      [1, 2],
      [3, 5],
      [6, 6],
    ]);
    const good = JSON.stringify(pca);
    pca.dispose();
    const changed = (change: (json: { [key: string]: never } & { state: { [key: string]: never } }) => void) => () => {
      const json = JSON.parse(good);
      change(json);
      return PCA.fromJSON(json);
    };
    const row = (path: string, value: unknown, kind: typeof TypeError, what: string, got: string, name = path): Row => [
      `${path} = ${JSON.stringify(value)}`,
      changed((json) => {
        const keys = path.split(".").slice(1);
        const last = keys.pop() as string;
        let holder = json as Record<string, unknown>;
        for (const key of keys) holder = holder[key] as Record<string, unknown>;
        holder[last] = value;
      }),
      kind,
      `"${name}" expected ${what}, got ${got}`,
    ];
    refuses([
      ["null", () => PCA.fromJSON(null as never), TypeError, '"json" expected what toJSON() of a PCA gives, got null'],
      ["text", () => PCA.fromJSON(good as never), TypeError, /^"json" expected what toJSON\(\) of a PCA gives, got "/],
      ["an array", () => PCA.fromJSON([] as never), TypeError, '"json" expected an object, got an array'],
      row("json.type", "IncrementalPCA", RangeError as never, '"PCA"', '"IncrementalPCA"'),
      row("json.version", 2, RangeError as never, "1", "2"),
      row("json.extra", 2, TypeError, 'only "type", "version", "options", "state"', '"extra"', "json"),
      row("json.state", 3, TypeError, "an object or null", "3"),
      row("json.state.dtype", "f16", RangeError as never, '"f32" | "f64"', '"f16"'),
      row("json.state.samples", 0, RangeError as never, "an integer >= 1", "0"),
      row("json.state.mean", [], RangeError as never, "at least one number", "none"),
      row("json.state.mean", [1, null], TypeError, "a number", "null", "json.state.mean[1]"),
      row("json.state.mean", [1, "Infinity"], TypeError, "a number", '"Infinity"', "json.state.mean[1]"),
      row("json.state.mean", [1], RangeError as never, "1 numbers", "2", "json.state.components[0]"),
      row("json.state.components", "x", TypeError, "an array", '"x"'),
      row(
        "json.state.components",
        [],
        RangeError as never,
        "an integer in [1, 2]",
        "0",
        "json.state.components.length",
      ),
      row("json.state.components", [[1, "x"]], TypeError, "a number", '"x"', "json.state.components[0][1]"),
      row("json.state.singularValues", [1, 2], RangeError as never, "1 numbers", "2"),
      row(
        "json.state.explainedVariance",
        [-1],
        RangeError as never,
        "a number >= 0",
        "-1",
        "json.state.explainedVariance[0]",
      ),
      row("json.state.noiseVariance", "1", TypeError, "a number", '"1"'),
      row(
        "json.state.norms",
        [1, 1],
        TypeError,
        'only "dtype", "samples", "noiseVariance", "mean", "components", "explainedVariance", "explainedVarianceRatio", "singularValues"',
        '"norms"',
        "json.state",
      ),
      row(
        "json.options.components",
        0,
        RangeError as never,
        'an integer >= 1, a fraction in (0, 1) or "mle"',
        "0",
        "components",
      ),
    ]);
  });

  test("PCA refuses wrong options and data", () => {
    const known = '"components", "whiten", "solver", "seed"';
    const what = 'an integer >= 1, a fraction in (0, 1) or "mle"';
    const bad = (components: unknown, kind: typeof TypeError, got: string): Row => [
      `components ${got}`,
      () => new PCA({ components: components as number }),
      kind,
      `"components" expected ${what}, got ${got}`,
    ];
    const x = tensor(formula(6, 3).data, { shape: [6, 3] });
    const pca = new PCA({ components: 2 }).fit(x);
    const single = tensor([[1, 2, 3]], { dtype: "f32" });
    refuses(
      [
        ...notOptions(known, (options) => new PCA(options)),
        ...notTensors("x", (value) => new PCA().fit(value)),
        ...notTensors("x", (value) => pca.transform(value)),
        ...notTensors("z", (value) => pca.inverseTransform(value)),
        bad(0, RangeError as never, "0"),
        bad(-1, RangeError as never, "-1"),
        bad(1.5, RangeError as never, "1.5"),
        bad(Number.NaN, RangeError as never, "NaN"),
        bad(Infinity, RangeError as never, "Infinity"),
        bad("all", RangeError as never, '"all"'),
        bad(2n, TypeError, "2n"),
        bad(null, TypeError, "null"),
        ["whiten 1", () => new PCA({ whiten: 1 as never }), TypeError, '"whiten" expected a boolean, got 1'],
        [
          "solver arpack",
          () => new PCA({ solver: "arpack" as never }),
          RangeError,
          /^"solver" expected "auto" \| "full"/,
        ],
        ["seed -1", () => new PCA({ seed: -1 }), RangeError, /^"seed" expected an integer in/],
        [
          "a fraction at random",
          () => new PCA({ solver: "randomized", components: 0.5 }),
          RangeError,
          '"components" expected a number of them with solver "randomized", got 0.5',
        ],
        ["a vector", () => new PCA().fit([1, 2, 3]), RangeError, '"x" expected shape (m, n), got (3,)'],
        ["three axes", () => new PCA().fit([[[1], [2]]]), RangeError, '"x" expected shape (m, n), got (1, 2, 1)'],
        ["one row", () => new PCA().fit([[1, 2]]), RangeError, '"x" expected shape (m >= 2, n >= 1), got (1, 2)'],
        ["no row", () => new PCA().fit([]), RangeError, '"x" expected shape (m, n), got (0,)'],
        ["no feature", () => new PCA().fit([[], []]), RangeError, '"x" expected shape (m >= 2, n >= 1), got (2, 0)'],
        [
          "too many components",
          () => new PCA({ components: 4 }).fit(x),
          RangeError,
          '"components" expected at most min(m, n) = 3, got 4',
        ],
        [
          "mle of few rows",
          () =>
            new PCA({ components: "mle" }).fit([
              [1, 2, 3],
              [3, 4, 6],
            ]),
          RangeError,
          '"x" expected at least as many rows as columns with components "mle", got shape (2, 3)',
        ],
        ["other features", () => pca.transform([[1, 2]]), RangeError, '"x" expected shape (m, 3), got (1, 2)'],
        ["a row alone", () => pca.transform([1, 2, 3]), RangeError, '"x" expected shape (m, 3), got (3,)'],
        ["other dtype", () => pca.transform(single), TypeError, '"x" expected f64 as "the fitted data", got f32'],
        ["other scores", () => pca.inverseTransform([[1, 2, 3]]), RangeError, '"z" expected shape (m, 2), got (1, 3)'],
        ["NaN scores", () => pca.inverseTransform([[1, Number.NaN]]), NonFiniteError, /"z" expected finite/],
      ],
      [x],
    );
    expect(pca.transform(tensor(new Float64Array(0), { shape: [0, 3] })).shape).toEqual([0, 2]);
    expect(pca.inverseTransform(tensor(new Float64Array(0), { shape: [0, 2] })).shape).toEqual([0, 3]);
    expect(pca.transform([[1, 2, 3]]).shape).toEqual([1, 2]);
    pca.dispose();
  });

  test("PCA owns its attributes, in a scope and after a new fit; dispose() frees all", () => {
    const before = capabilities().usedBytes;
    const pca = scope(() =>
      new PCA({ whiten: true }).fit([
        [1, 2],
        [3, 5],
        [6, 6],
      ]),
    );
    expect(pca.components.shape).toEqual([2, 2]);
    const old = pca.components;
    pca.fit([
      [1, 2, 3],
      [3, 5, 1],
      [6, 6, 6],
    ]);
    expect(() => old.data).toThrow(/disposed/);
    expect(pca.mean.shape).toEqual([3]);
    const z = pca.fitTransform([
      [1, 2],
      [3, 5],
      [6, 6],
    ]);
    expect(z.shape).toEqual([3, 2]);
    z.dispose();
    pca.dispose();
    pca.dispose();
    expect(capabilities().usedBytes).toBe(before);
    for (const use of [() => pca.mean, () => pca.fit([[1], [2]]), () => pca.transform([[1]]), () => pca.toJSON()]) {
      expect(use).toThrow("this PCA was disposed of");
    }
    const fresh = new PCA();
    for (const use of [() => fresh.components, () => fresh.noiseVariance, () => fresh.transform([[1]])]) {
      expect(use).toThrow("call fit() of this PCA first");
    }
  });

  test("the covariance solver needs memory for no copy of the rows", () => {
    const x = tensor(randomMatrix(40000, 4, new Random(11)).data, { shape: [40000, 4] });
    const { usedBytes } = capabilities();
    const { allocator } = kernel();
    let most = 0;
    const allocate = allocator.allocate.bind(allocator);
    allocator.allocate = (bytes: number) => {
      const pointer = allocate(bytes);
      most = Math.max(most, capabilities().usedBytes - usedBytes);
      return pointer;
    };
    try {
      new PCA({ components: 2 }).fit(x).dispose();
      expect(most).toBeLessThan(x.size * 2);
      most = 0;
      new PCA({ components: 2, solver: "full" }).fit(x).dispose();
      expect(most).toBeGreaterThan(x.size * 8);
    } finally {
      Reflect.deleteProperty(allocator, "allocate");
      x.dispose();
    }
  });
});

/** Columns less their means, over their standard deviations. */
function standardized(x: number[][], ddof: number): number[][] {
  const n = x.length;
  const columns = (x[0] as number[]).map((_, j) => {
    const mean = x.reduce((sum, row) => sum + (row[j] as number), 0) / n;
    const squares = x.reduce((sum, row) => sum + ((row[j] as number) - mean) ** 2, 0);
    return { mean, deviation: Math.sqrt(squares / (n - ddof)) };
  });
  return x.map((row) =>
    row.map((value, j) => {
      const { mean, deviation } = columns[j] as (typeof columns)[number];
      return (value - mean) / deviation;
    }),
  );
}
