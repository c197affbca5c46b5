// Every number and claim of the five documents that the project was born from, as far as it can be checked: one test each.

import { beforeAll, describe, expect, test } from "vitest";
import {
  lowRank,
  lstsq,
  matmul,
  matrixRank,
  PCA,
  pinv,
  randomizedSvd,
  svd,
  svdvals,
  type Tensor,
  tensor,
  zeros,
} from "../bindings/index.js";
import { AdamW, LoraAdapter, LoraLinear, loss, Sequential, SvdLinear, trainableParameters } from "../bindings/lora.js";
import { BUILD } from "./support/build.js";
import { Random } from "./support/random.js";

const randn = (random: Random, m: number, n: number) => tensor(random.array(m * n, "normal"), { shape: [m, n] });
const rows = (a: Tensor) => a.toArray() as number[][];

/** The largest distance of two tensors' entries. */
function distance(a: Tensor, b: Tensor): number {
  const [x, y] = [a.toTyped(), b.toTyped()];
  let most = 0;
  for (let i = 0; i < y.length; i++) most = Math.max(most, Math.abs((x[i] as number) - (y[i] as number)));
  return x.length === y.length ? most : Infinity;
}

const diagonal = (values: ArrayLike<number>) =>
  tensor(Array.from(values, (value, i) => Array.from(values, (_, j) => (i === j ? value : 0))));

describe("seed 000: rank-deficient matrices and low-rank updates", () => {
  // the nine rows that the seed prints whole, with four decimals
  const PRINTED = [
    [-1.0797, 0.5545, 0.8058, -0.714, -0.1518, 1.0773, 2.369, 0.8486, -1.1825, -3.2632],
    [-0.3303, 0.2283, 0.4145, -0.1924, -0.0215, 0.3276, 0.7926, 0.2233, -0.3422, -0.9614],
    [-0.5256, 0.9864, 2.4447, -0.029, 0.2305, 0.5, 1.9831, -0.0311, -0.3369, -1.1376],
    [0.79, -1.1336, -2.6746, 0.1988, -0.1982, -0.7634, -2.5763, -0.1696, 0.6227, 1.9294],
    [0.1258, 0.1458, 0.509, 0.1768, 0.1071, -0.1327, -0.0323, -0.2294, 0.2079, 0.5128],
    [0.7697, 0.005, 0.5725, 0.687, 0.2783, -0.7818, -1.2253, -0.8533, 0.9765, 2.5786],
    [1.4157, -0.7814, -1.2121, 0.912, 0.176, -1.4108, -3.1692, -1.0791, 1.5325, 4.2447],
    [-0.0119, 0.605, 1.7245, 0.2584, 0.2528, -0.0086, 0.7198, -0.362, 0.1865, 0.341],
    [1.0485, -0.6394, -1.0715, 0.6485, 0.1046, -1.0427, -2.4174, -0.7615, 1.1147, 3.1054],
  ];

  test("000: the rank of randn(10, 2)·randn(2, 10) is 2", () => {
    for (let seed = 0; seed < 20; seed++) {
      const random = new Random(seed);
      expect(matrixRank(matmul(randn(random, 10, 2), randn(random, 2, 10)))).toBe(2);
      expect(matrixRank(randn(random, 10, 10))).toBe(10);
    }
  });

  test("000: its rows as printed have rank 2 with a tolerance of 1e-3, and full rank without one", () => {
    expect(matrixRank(PRINTED, { atol: 1e-3 })).toBe(2);
    expect(matrixRank(PRINTED)).toBe(9);
    expect(matrixRank(PRINTED, { atol: 1e-6 })).toBe(9);
    const [first, second, third] = svdvals(PRINTED).toTyped();
    expect([first, second].map((value) => (value as number) > 4)).toEqual([true, true]);
    // what is left is the rounding of 90 numbers to four decimals
    expect(third).toBeLessThan(5e-5 * Math.sqrt(90));
  });

  test("000: the SVD of W (10, 10) has U (10, 10), S (10), V (10, 10)", () => {
    const { u, s, vt } = svd(zeros([10, 10]));
    expect([u.shape, s.shape, vt.shape]).toEqual([[10, 10], [10], [10, 10]]);
  });

  test("000: B = U_r·Σ_r and A = V_rᵀ give y = W·x + b again", () => {
    const random = new Random(3);
    const w = matmul(randn(random, 10, 2), randn(random, 2, 10));
    const bias = random.array(10, "normal");
    const { u, s, vt } = lowRank(w, { rank: 2 });
    const b = matmul(u, diagonal(s.toTyped()));
    expect([b.shape, vt.shape]).toEqual([
      [10, 2],
      [2, 10],
    ]);
    const x = randn(random, 4, 10);
    const wanted = new LoraLinear({ weight: w, bias }).forward(x);
    const layer = new LoraLinear({ weight: zeros([10, 10]), bias });
    layer.addAdapter("factors", new LoraAdapter({ a: vt, b }));
    expect(distance(layer.forward(x), wanted)).toBeLessThan(1e-13);
    // 100 numbers by 40
    expect([w.size, b.size + vt.size]).toEqual([100, 40]);
    // the twin: one triplet is not enough
    const one = lowRank(w, { rank: 1 });
    const short = new LoraLinear({ weight: zeros([10, 10]), bias });
    short.addAdapter("factors", new LoraAdapter({ a: one.vt, b: matmul(one.u, diagonal(one.s.toTyped())) }));
    expect(distance(short.forward(x), wanted)).toBeGreaterThan(0.1);
  });

  test("000: an update of 10,000 × 10,000 at rank 4 is 80,000 parameters against 100 million", () => {
    const { trainable, total } = trainableParameters({ w: [10_000, 10_000] }, { r: 4 });
    expect([trainable, total - trainable]).toEqual([80_000, 100_000_000]);
  });
});

describe("seed 001: rank, singular values, the parametrisation", () => {
  test("001: [[1, 0, 0], [0, 1, 0], [1, 1, 0]] has rank 2", () => {
    expect(
      matrixRank([
        [1, 0, 0],
        [0, 1, 0],
        [1, 1, 0],
      ]),
    ).toBe(2);
  });

  test("001: [[1, 2, 3], [2, 4, 6], [1, 3, 5]] has the values 10.2330, 0.5353, 0, not the 9.5 and 0.7 of the text", () => {
    const s = svdvals([
      [1, 2, 3],
      [2, 4, 6],
      [1, 3, 5],
    ]).toTyped();
    expect(Array.from(s, (value) => value.toFixed(4))).toEqual(["10.2330", "0.5353", "0.0000"]);
    expect(
      matrixRank([
        [1, 2, 3],
        [2, 4, 6],
        [1, 3, 5],
      ]),
    ).toBe(2);
  });

  test("001: values 7, 3, 0 are of a matrix of rank 2, as are 5, 2 of one of two columns", () => {
    expect(matrixRank(diagonal([7, 3, 0]))).toBe(2);
    expect(matrixRank(diagonal([5, 2]))).toBe(2);
    expect(svdvals(diagonal([7, 3, 0])).toArray()).toEqual([7, 3, 0]);
  });

  test("001: an N × N matrix becomes (N × r) and (r × N)", () => {
    const adapter = LoraAdapter.create({ inFeatures: 12, outFeatures: 12, r: 3 });
    expect([adapter.b.shape, adapter.a.shape]).toEqual([
      [12, 3],
      [3, 12],
    ]);
  });

  test("001: A is normal with mean 0 and deviation 1, B zero: ∆W = 0 at the beginning", () => {
    const { a, b } = LoraAdapter.create({ inFeatures: 1000, outFeatures: 50, r: 4, init: "unit", seed: 1 });
    const values = Float64Array.from(a.toTyped());
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    expect(Math.abs(mean)).toBeLessThan(0.05);
    expect(Math.abs(variance - 1)).toBeLessThan(0.1);
    expect(b.toTyped().every((value) => value === 0)).toBe(true);
  });

  test("001: enabled W + B·A·alpha/rank, else W", () => {
    const random = new Random(1);
    const [w, a, b] = [randn(random, 5, 4), randn(random, 2, 4), randn(random, 5, 2)];
    const layer = new LoraLinear({ weight: w });
    layer.addAdapter("lora", new LoraAdapter({ a, b, alpha: 3 }));
    const x = randn(random, 3, 4);
    const base = matmul(x, w.transpose());
    const update = matmul(matmul(x, a.transpose()), b.transpose());
    const wanted = tensor(
      rows(base).map((row, i) => row.map((value, j) => value + (3 / 2) * (rows(update)[i]?.[j] as number))),
    );
    expect(distance(layer.forward(x), wanted)).toBeLessThan(1e-14);
    layer.enabled = false;
    expect(distance(layer.forward(x), base)).toBeLessThan(1e-15);
    expect(distance(layer.forward(x), wanted)).toBeGreaterThan(0.1);
  });
});

describe("seed 002: the SVD and what stands on it", () => {
  const random = new Random(2);
  let a: Tensor;
  beforeAll(() => {
    a = randn(random, 5, 3);
  });

  test("002: the thin SVD of 5 × 3 has U (5, 3), Σ (3), Vᵀ (3, 3), and A = U·Σ·Vᵀ", () => {
    const { u, s, vt } = svd(a);
    expect([u.shape, s.shape, vt.shape]).toEqual([[5, 3], [3], [3, 3]]);
    expect(distance(matmul(matmul(u, diagonal(s.toTyped())), vt), a)).toBeLessThan(1e-14);
    // orthogonal columns; all five with the full one
    expect(distance(matmul(u.transpose(), u), diagonal([1, 1, 1]))).toBeLessThan(1e-14);
    expect(svd(a, { vectors: "full" }).u.shape).toEqual([5, 5]);
  });

  test("002: the thin SVD has min(m, n) triplets, whatever the rank: the text says rank(A)", () => {
    const low = matmul(randn(random, 5, 1), randn(random, 1, 3));
    expect(matrixRank(low)).toBe(1);
    expect(svd(low).s.shape).toEqual([3]);
  });

  test("002: σ_i² are the eigenvalues of AᵀA, the columns of V its eigenvectors, those of U of AAᵀ", () => {
    const { u, s, vt } = svd(a);
    const squares = diagonal(s.toTyped().map((value) => value ** 2));
    expect(distance(matmul(matmul(a.transpose(), a), vt.transpose()), matmul(vt.transpose(), squares))).toBeLessThan(
      1e-13,
    );
    expect(distance(matmul(matmul(a, a.transpose()), u), matmul(u, squares))).toBeLessThan(1e-13);
  });

  test("002: values 10, 5, 1 leave a Frobenius error of 1 at rank 2", () => {
    expect(lowRank(diagonal([10, 5, 1]), { rank: 2 }).error.frobenius).toBe(1);
  });

  test("002: Eckart and Young: the error of the best A_k is √(σ²_{k+1} + … + σ²_r), and no other is nearer", () => {
    const s = svdvals(a).toTyped();
    for (const k of [1, 2]) {
      const { u, s: kept, vt, error } = lowRank(a, { rank: k });
      const tail = Math.hypot(...s.slice(k));
      expect(Math.abs(error.frobenius - tail)).toBeLessThan(1e-14);
      const best = matmul(matmul(u, diagonal(kept.toTyped())), vt);
      expect(
        Math.abs(Math.hypot(...a.toTyped().map((value, i) => value - (best.toTyped()[i] as number))) - tail),
      ).toBeLessThan(1e-14);
      for (let i = 0; i < 20; i++) {
        const other = matmul(randn(random, 5, k), randn(random, k, 3)).toTyped();
        expect(Math.hypot(...a.toTyped().map((value, j) => value - (other[j] as number)))).toBeGreaterThan(tail);
      }
    }
  });

  test("002: an update W + A·B saves: 2dr parameters against d²", () => {
    for (const r of [4, 64]) {
      const { trainable } = trainableParameters({ w: [4096, 4096] }, { r });
      expect(trainable).toBe(2 * 4096 * r);
      expect(trainable / 4096 ** 2).toBe((2 * r) / 4096);
    }
  });

  test("002: A⁺ = V·Σ⁺·Uᵀ is (AᵀA)⁻¹·Aᵀ at full column rank, and A⁺·b the shortest least-squares solution", () => {
    const inverse = pinv(matmul(a.transpose(), a));
    expect(distance(pinv(a), matmul(inverse, a.transpose()))).toBeLessThan(1e-13);
    const { u, s, vt } = svd(a);
    const turned = matmul(matmul(vt.transpose(), diagonal(s.toTyped().map((value) => 1 / value))), u.transpose());
    expect(distance(pinv(a), turned)).toBeLessThan(1e-14);
    const b = randn(random, 5, 1);
    expect(distance(matmul(pinv(a), b), lstsq(a, b).x)).toBeLessThan(1e-14);
    // of a wide matrix the left inverse does not exist
    const wide = a.transpose();
    expect(matrixRank(matmul(wide.transpose(), wide))).toBe(3);
    const shortest = matmul(pinv(wide), randn(random, 3, 1));
    expect(shortest.shape).toEqual([5, 1]);
  });

  test("002: principal components: projections X·V_k = U_k·Σ_k, and ratios σ_i²/Σσ²", () => {
    const x = randn(random, 40, 6);
    const means = rows(x).reduce(
      (sum, row) => sum.map((value, j) => value + (row[j] as number) / 40),
      new Array(6).fill(0),
    );
    const centred = tensor(rows(x).map((row) => row.map((value, j) => value - (means[j] as number))));
    const { u, s, vt } = svd(centred);
    const k = 2;
    const scores = matmul(centred, vt.subtensor(0, k).transpose());
    const scaled = matmul(u, diagonal(s.toTyped()));
    for (let i = 0; i < 40; i++)
      for (let j = 0; j < k; j++) expect(rows(scores)[i]?.[j]).toBeCloseTo(rows(scaled)[i]?.[j] as number, 12);
    const pca = new PCA({ components: k });
    const z = pca.fitTransform(x);
    for (let i = 0; i < 40; i++)
      for (let j = 0; j < k; j++)
        expect(Math.abs(rows(z)[i]?.[j] as number)).toBeCloseTo(Math.abs(rows(scores)[i]?.[j] as number), 12);
    const all = s.toTyped().reduce((sum, value) => sum + value ** 2, 0);
    for (let i = 0; i < k; i++)
      expect(pca.explainedVarianceRatio.data[i]).toBeCloseTo((s.data[i] as number) ** 2 / all, 14);
    pca.dispose();
  });

  test("002: by the covariance matrix of a Läuchli matrix digits are lost that the SVD keeps", () => {
    // rows (1, 1, 1), ε·I and their negatives: mean zero, σ² = 2(3 + ε²), 2ε², 2ε²
    const variances = (epsilon: number, solver: "full" | "covariance") => {
      const upper = [
        [1, 1, 1],
        [epsilon, 0, 0],
        [0, epsilon, 0],
        [0, 0, epsilon],
      ];
      const pca = new PCA({ solver }).fit([...upper, ...upper.map((row) => row.map((value) => -value))]);
      const found = pca.explainedVariance.toTyped();
      pca.dispose();
      return Math.abs((found[1] as number) / ((2 * epsilon ** 2) / 7) - 1);
    };
    // a variance that is 1e-8 of the largest keeps eight digits fewer, which is half of what it had
    expect(variances(1e-4, "full")).toBeLessThan(1e-11);
    expect(variances(1e-4, "covariance")).toBeLessThan(1e-6);
    expect(variances(1e-4, "covariance")).toBeGreaterThan(1e-11);
    // at 1e-18 of the largest none is left, of the SVD seven
    expect(variances(1e-9, "full")).toBeLessThan(1e-5);
    expect(variances(1e-9, "covariance")).toBeGreaterThan(0.5);
  });

  test("002: random projections find the first values of a matrix as the whole SVD does", () => {
    const matrix = matmul(randn(random, 80, 5), randn(random, 5, 60));
    expect(distance(randomizedSvd(matrix, 5).s, svdvals(matrix).subtensor(0, 5))).toBeLessThan(1e-11);
  });
});

describe("seed 003: parameters, ranks and scales", () => {
  /** Shapes of GPT-2 small. */
  function gpt2(): { [name: string]: number[] } {
    const shapes: { [name: string]: number[] } = { "wte.weight": [50257, 768], "wpe.weight": [1024, 768] };
    const norm = (name: string) => Object.assign(shapes, { [`${name}.weight`]: [768], [`${name}.bias`]: [768] });
    const linear = (name: string, inFeatures: number, out: number) =>
      Object.assign(shapes, { [`${name}.weight`]: [out, inFeatures], [`${name}.bias`]: [out] });
    for (let i = 0; i < 12; i++) {
      norm(`h.${i}.ln_1`);
      linear(`h.${i}.attn.c_attn`, 768, 2304);
      linear(`h.${i}.attn.c_proj`, 768, 768);
      norm(`h.${i}.ln_2`);
      linear(`h.${i}.mlp.c_fc`, 768, 3072);
      linear(`h.${i}.mlp.c_proj`, 3072, 768);
    }
    norm("ln_f");
    return shapes;
  }

  test("003: its three examples have rank 1, 2 and 3", () => {
    expect(
      matrixRank([
        [1, 2, 3],
        [2, 4, 6],
        [3, 6, 9],
      ]),
    ).toBe(1);
    expect(
      matrixRank([
        [1, 2, 3],
        [0, 1, 2],
        [1, 3, 5],
      ]),
    ).toBe(2);
    expect(
      matrixRank([
        [1, 2, 3],
        [0, 1, 2],
        [0, 0, 1],
      ]),
    ).toBe(3);
  });

  test("003: 1000 × 1000 at rank 4 is 8,000 of 1,000,000: 0.8 %", () => {
    const { trainable, ofBase } = trainableParameters({ w: [1000, 1000] }, { r: 4 });
    expect([trainable, ofBase]).toEqual([8_000, 0.008]);
  });

  test("003: 768 × 768 is 589,824, an adapter of rank 4 on it 6,144: 96 times fewer, 99 % less", () => {
    const { trainable, total } = trainableParameters({ w: [768, 768] }, { r: 4 });
    expect([trainable, total - trainable, (total - trainable) / trainable]).toEqual([6_144, 589_824, 96]);
    expect(Math.round(100 * (1 - 6_144 / 589_824))).toBe(99);
  });

  test("003: lora_alpha 8 at r 4 scales by 2, at r 6 by 1.33; alpha r, 2r and r/2 by 1, 2 and 0.5", () => {
    const scaling = (r: number, alpha: number) =>
      LoraAdapter.create({ inFeatures: 8, outFeatures: 8, r, alpha }).scaling;
    expect(scaling(4, 8)).toBe(2);
    expect(scaling(6, 8).toFixed(2)).toBe("1.33");
    expect([scaling(5, 5), scaling(5, 10), scaling(5, 2.5)]).toEqual([1, 2, 0.5]);
  });

  test("003: c_attn and c_proj of GPT-2 small at r 4: 405,504 of 124,845,312, 0.3248 %", () => {
    const report = trainableParameters(gpt2(), { r: 4, targetModules: ["c_attn", "c_proj"] });
    expect(`${report}`).toBe("trainable params: 405,504 || all params: 124,845,312 || trainable%: 0.3248");
  });

  test("003: the printed 117,184,768 + 38,400 = 117,223,168, 0.03 %, is no output of that config", () => {
    // an adapter of 38,400 numbers beside that many frozen ones
    const report = trainableParameters({ rest: [117_184_768 - 4800 ** 2], w: [4800, 4800] }, { r: 4 });
    expect([report.trainable, report.total]).toEqual([38_400, 117_223_168]);
    expect(report.percent.toFixed(2)).toBe("0.03");
    expect(trainableParameters(gpt2(), { r: 4, targetModules: ["c_attn", "c_proj"] }).trainable).not.toBe(38_400);
    // gradients and optimiser states: 99.97 % less
    expect((100 * (1 - 38_400 / 117_184_768)).toFixed(2)).toBe("99.97");
  });

  test("003: all linear layers of GPT-2 small at r 6: 884,736", () => {
    const shapes = Object.fromEntries(Object.entries(gpt2()).filter(([name]) => name.startsWith("h.")));
    const { trainable } = trainableParameters(shapes, { r: 6, targetModules: "all-linear" });
    expect(trainable).toBe(884_736);
  });

  test("003: 38,400 numbers are 150 KiB, 117,184,768 are 447 MiB", () => {
    expect((38_400 * 4) / 1024).toBe(150);
    expect(Math.round((117_184_768 * 4) / 2 ** 20)).toBe(447);
  });

  test("003: the output is base + (alpha/r)·x·A·B, and nothing changes at the start", () => {
    const random = new Random(4);
    const layer = new LoraLinear({ weight: randn(random, 6, 6) });
    const x = randn(random, 3, 6);
    const base = layer.forward(x).toArray();
    layer.addAdapter("lora", { r: 4, loraAlpha: 8 });
    expect(layer.forward(x).toArray()).toEqual(base);
    const { b } = layer.adapter("lora");
    b.data.fill(0.5);
    expect(layer.forward(x).toArray()).not.toEqual(base);
  });

  test("003: the gradients of A and B are smaller than that of W, and train them", () => {
    const random = new Random(5);
    const layer = new LoraLinear({ weight: randn(random, 6, 6) });
    layer.addAdapter("lora", { r: 1, loraAlpha: 2 });
    const model = new Sequential([layer]);
    const optimizer = new AdamW({ lr: 0.05 });
    const [x, y] = [randn(random, 12, 6), randn(random, 12, 6)];
    const step = () => {
      const { value, grad } = loss("meanSquaredError", model.forward(x, { train: true }), y);
      optimizer.step(model.parameters(), model.backward(grad));
      return value;
    };
    const first = step();
    expect(Object.values(model.parameters()).map(({ size }) => size)).toEqual([6, 6]);
    for (let i = 0; i < 100; i++) step();
    expect(step()).toBeLessThan(0.9 * first);
    optimizer.dispose();
  });

  test("003: a dropout of 0.1 sets one in ten inputs of A to zero, in training alone", () => {
    const n = 20_000;
    const layer = new LoraLinear({ weight: zeros([1, 1]) });
    layer.addAdapter("lora", new LoraAdapter({ a: [[1]], b: [[1]], dropout: 0.1 }));
    const x = tensor(new Float64Array(n).fill(1), { shape: [n, 1] });
    const kept = layer.forward(x, { train: true, seed: 1 }).toTyped();
    const dropped = kept.filter((value) => value === 0).length;
    expect(Math.abs(dropped / n - 0.1)).toBeLessThan(0.01);
    expect(kept.every((value) => value === 0 || Math.abs(value - 1 / 0.9) < 1e-15)).toBe(true);
    expect(
      layer
        .forward(x)
        .toTyped()
        .every((value) => value === 1),
    ).toBe(true);
  });

  test("003: biases are trained with none, all or lora_only", () => {
    const trained = (bias: "none" | "all" | "lora_only") => {
      const layer = new LoraLinear({ weight: zeros([3, 3]), bias: zeros([3]) });
      layer.addAdapter("lora", { r: 1, bias });
      return layer.biasTrainable;
    };
    expect([trained("none"), trained("all"), trained("lora_only")]).toEqual([false, true, true]);
  });

  // once is enough, it takes some time
  test.runIf(BUILD === "simd")(
    "003: the rank table 50 × … 1.6 ×, 98.5 … 99.6 %, for seeds 0 to 7, by the best matrices and by LoRA",
    { timeout: 300_000 },
    async () => {
      const { trainRanks } = await import("../examples/training/ranks.mjs");
      const { rows: found, published } = await trainRanks({ step: () => {} });
      expect(found).toHaveLength(40);
      const compression = new Map([
        [1, 50],
        [4, 12.5],
        [8, 6.25],
        [16, 3.125],
        [32, 1.5625],
      ]);
      for (const { rank, seed, quality, ratio, mse, energy, relativeError, compression: times } of found) {
        const what = `rank ${rank}, seed ${seed}`;
        expect(times, what).toBe(compression.get(rank));
        for (const value of [quality.bound, quality.trained])
          expect(Math.abs(value - (published[rank] as number)), what).toBeLessThan(0.1);
        expect(ratio, what).toBeGreaterThan(1 - 1e-9);
        expect(ratio, what).toBeLessThan(1.01);
        expect(Math.abs(1 - energy - relativeError ** 2), what).toBeLessThan(1e-12);
        expect(mse.trained as number, what).toBeGreaterThan(0);
      }
    },
  );
});

describe("seed 004: truncated SVD with LoRA", () => {
  const [D, K, R, R2] = [256, 784, 70, 10];
  const random = new Random(6);
  let weight: Tensor;
  beforeAll(() => {
    weight = tensor(Float32Array.from(random.array(D * K)), { shape: [D, K] });
  });

  test("004: r 70, r′ 10 on 256 × 784: 1,470 trainable, LoRA 10,400, all 200,704", () => {
    const layer = new SvdLinear({ weight, rank: R, residual: "drop", core: { lowRank: R2 } });
    expect([layer.u.shape, layer.s.shape, layer.vt.shape]).toEqual([[D, R], [R], [R, K]]);
    expect([layer.core.x?.shape, layer.core.y?.shape]).toEqual([
      [R, R2],
      [R2, R],
    ]);
    expect(trainableParameters([layer]).trainable).toBe(1_470);
    expect(trainableParameters({ w: [D, K] }, { r: R2 }).trainable).toBe(10_400);
    expect(trainableParameters([layer]).total - 1_470).toBe(200_704);
    // Σ frozen: 2·r·r′
    const frozen = new SvdLinear({ weight, rank: R, residual: "drop", core: { lowRank: R2, trainSigma: false } });
    expect(trainableParameters([frozen]).trainable).toBe(1_400);
    for (const one of [layer, frozen]) one.dispose();
  });

  test("004: W = U_r·(Σ_r + X·Y)·V_rᵀ, without forming W", () => {
    const factor = (m: number, n: number) =>
      tensor(Float32Array.from(random.array(m * n, "normal")), { shape: [m, n] });
    const [x, y] = [factor(R, R2), factor(R2, R)];
    const layer = new SvdLinear({ weight, rank: R, residual: "drop", core: { lowRank: R2, x, y } });
    const core = matmul(x, y);
    for (let i = 0; i < R; i++)
      core.data[i * (R + 1)] = (core.data[i * (R + 1)] as number) + (layer.s.data[i] as number);
    const whole = matmul(matmul(layer.u, core), layer.vt);
    const input = tensor(Float32Array.from(random.array(3 * K)), { shape: [3, K] });
    const wanted = matmul(input, whole.transpose());
    const most = Math.max(...wanted.toTyped().map(Math.abs));
    expect(distance(layer.forward(input), wanted) / most).toBeLessThan(1e-5);
    layer.dispose();
  });

  test("004: gradients reach Σ, X and Y, and U and V stay as they are", () => {
    const layer = new SvdLinear({ weight, rank: R, residual: "drop", core: { lowRank: R2 } });
    const frozen = () => [layer.u, layer.s, layer.vt].map((one) => one.toArray());
    const before = frozen();
    const input = tensor(Float32Array.from(random.array(8 * K)), { shape: [8, K] });
    const target = zeros([8, D], "f32");
    const optimizer = new AdamW({ lr: 5e-4, weightDecay: 0 });
    const values: number[] = [];
    const largest: { [name: string]: number } = {};
    for (let step = 0; step < 20; step++) {
      const { value, grad } = loss("meanSquaredError", layer.forward(input, { train: true }), target);
      const { core } = layer.backward(grad, { x: false });
      for (const [name, one] of Object.entries(core))
        largest[name] = Math.max(largest[name] ?? 0, ...one.toTyped().map(Math.abs));
      optimizer.step(layer.core, core);
      values.push(value);
    }
    expect(Object.keys(largest).sort()).toEqual(["sigma", "x", "y"]);
    for (const value of Object.values(largest)) expect(value).toBeGreaterThan(0);
    expect(values[19]).toBeLessThan(values[0] as number);
    expect(frozen()).toEqual(before);
    for (const one of [layer, optimizer]) one.dispose();
  });

  test("004: X of D × r′ and Y of r′ × K, as the text has them, do not fit Σ_r: the right shapes are named", () => {
    const make = (factor: object) => new SvdLinear({ weight, rank: R, core: { lowRank: R2, ...factor } });
    expect(() => make({ x: zeros([D, R2], "f32") })).toThrow(
      new RangeError('"core.x" expected shape (70, 10), got (256, 10)'),
    );
    expect(() => make({ y: zeros([R2, K], "f32") })).toThrow(
      new RangeError('"core.y" expected shape (10, 70), got (10, 784)'),
    );
  });

  test("004: a higher rank keeps more of W, a higher r′ has more parameters", () => {
    const errors = [10, 70, 200].map((rank) => lowRank(weight, { rank }).error.frobenius);
    expect(errors[0] as number).toBeGreaterThan(errors[1] as number);
    expect(errors[1] as number).toBeGreaterThan(errors[2] as number);
    const counts = [2, 10, 30].map((lowRankWidth) => {
      const layer = new SvdLinear({ weight, rank: R, core: { lowRank: lowRankWidth } });
      const { trainable } = trainableParameters([layer]);
      layer.dispose();
      return trainable;
    });
    expect(counts).toEqual([70 + 280, 1_470, 70 + 4200]);
  });
});
