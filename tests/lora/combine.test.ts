import { describe, expect, test } from "vitest";
import { capabilities, type DType, type Tensor, zeros } from "../../bindings/index.js";
import { type CombineMethod, type CombineOptions, combineAdapters, LoraAdapter } from "../../bindings/lora.js";
import { Random } from "../support/random.js";
import { multiply } from "../support/reference.js";
import { largestRowError, place, round } from "./reference.js";

const DTYPES = ["f32", "f64"] as const;
const METHODS: CombineMethod[] = [
  "cat",
  "svd",
  "linear",
  "ties",
  "ties_svd",
  "dare_linear",
  "dare_linear_svd",
  "dare_ties",
  "dare_ties_svd",
  "magnitude_prune",
  "magnitude_prune_svd",
];
const TOLERANCE = { f32: 1e-5, f64: 1e-13 } as const;

interface One {
  a: Float64Array;
  b: Float64Array;
  r: number;
  alpha: number;
  useRslora?: boolean;
  bias?: Float64Array;
  weight: number;
}

const M = 14;
const N = 11;

function draw(
  dtype: DType,
  ranks: readonly number[],
  options: { useRslora?: boolean; bias?: boolean; m?: number; n?: number } = {},
): One[] {
  const { m = M, n = N, useRslora = false } = options;
  const random = new Random(3);
  const numbers = (length: number) => round(dtype, random.array(length, "normal"));
  return ranks.map((r, i) => ({
    a: numbers(r * n),
    b: numbers(m * r),
    r,
    alpha: r + 1 + i,
    useRslora,
    ...(options.bias && { bias: numbers(m) }),
    weight: [0.75, -2, 1.5, 0][i % 4] as number,
  }));
}

function adapterOf(dtype: DType, { a, b, r, alpha, useRslora = false, bias }: One): LoraAdapter {
  const [n, m] = [a.length / r, b.length / r];
  return new LoraAdapter({
    a: place(dtype, a, [r, n]),
    b: place(dtype, b, [m, r]),
    alpha,
    useRslora,
    ...(bias && { bias: place(dtype, bias, [m]) }),
  });
}

const scaleOf = ({ alpha, r, useRslora }: One) => (useRslora ? alpha / Math.sqrt(r) : alpha / r);

/** Σ weight·scaling·B·A. */
function sumOf(ones: readonly One[]): Float64Array {
  const [first] = ones as [One];
  const [n, m] = [first.a.length / first.r, first.b.length / first.r];
  const sum = new Float64Array(m * n);
  for (const one of ones) {
    const delta = multiply(m, n, one.r, one.b, one.a);
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + one.weight * scaleOf(one) * (delta[i] as number);
  }
  return sum;
}

function combine(dtype: DType, ones: readonly One[], options?: CombineOptions): LoraAdapter {
  return combineAdapters(
    ones.map((one) => ({ adapter: adapterOf(dtype, one), weight: one.weight })),
    options,
  );
}

/** The largest difference, relative to the largest entry. */
function far(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  return largestRowError(got, expected, expected.length);
}

const numbers = (tensor: Tensor | undefined) => (tensor as Tensor).toTyped();

describe("exact combinations", () => {
  test.each(DTYPES)("cat, svd of full rank: the weighted sum, the scale once, no cross terms (%s)", (dtype) => {
    for (const useRslora of [false, true]) {
      for (const ranks of [[1], [3], [2, 3], [3, 3, 3], [4, 1, 2, 3]]) {
        const ones = draw(dtype, ranks, { useRslora, bias: true });
        const expected = sumOf(ones);
        const total = ranks.reduce((sum, r) => sum + r, 0);
        const bias = Float64Array.from({ length: M }, (_, o) =>
          ones.reduce((sum, one) => sum + one.weight * scaleOf(one) * ((one.bias as Float64Array)[o] as number), 0),
        );
        for (const options of [{}, { method: "cat" }, { method: "svd", rank: total }] as CombineOptions[]) {
          const what = JSON.stringify({ ranks, useRslora, options });
          const made = combine(dtype, ones, options);
          expect(made, what).toMatchObject({ dtype, scaling: 1, useRslora: false, r: Math.min(total, N) });
          expect(made.alpha, what).toBe(made.r);
          expect(far(made.delta().toTyped(), expected), what).toBeLessThan(TOLERANCE[dtype]);
          expect(far(numbers(made.bias), bias), what).toBeLessThan(TOLERANCE[dtype]);
        }
        // the twin that must fail: the scale a second time
        const twice = ones.map((one) => ({ ...one, weight: one.weight * scaleOf(one) }));
        expect(far(combine(dtype, twice).delta().toTyped(), expected)).toBeGreaterThan(0.01);
        const turned = ones.map((one) => ({ ...one, a: one.a.slice().reverse() }));
        expect(far(combine(dtype, turned).delta().toTyped(), expected)).toBeGreaterThan(0.01);
      }
    }
  });

  test("svd: the best approximation of a lower rank, from the factors", () => {
    const ones = draw("f64", [4, 3, 2]);
    const sum = combine("f64", ones).delta();
    for (let rank = 1; rank <= 9; rank++) {
      const made = combine("f64", ones, { method: "svd", rank });
      expect(made.r).toBe(rank);
      const rest = made
        .delta()
        .toTyped()
        .map((value, i) => value - (sum.toTyped()[i] as number));
      const error = Math.hypot(...rest);
      // Eckart and Young: what is left are the other singular values; those of ΔW from a rank of all
      const full = combine("f64", ones, { method: "svd", rank: 9 });
      const sigma = Array.from({ length: 9 }, (_, j) =>
        Math.hypot(...Array.from({ length: M }, (_, o) => full.b.toTyped()[o * 9 + j] as number)),
      );
      for (let j = 1; j < 9; j++) expect(sigma[j]).toBeLessThanOrEqual(sigma[j - 1] as number);
      expect(error).toBeCloseTo(Math.hypot(...sigma.slice(rank)), 10);
    }
    // A has orthonormal rows; B carries the values
    const { a } = combine("f64", ones, { method: "svd" });
    expect(a.shape).toEqual([4, N]);
    const rows = a.toTyped();
    for (let i = 0; i < 4; i++) {
      for (let j = 0; j < 4; j++) {
        let product = 0;
        for (let q = 0; q < N; q++) product += (rows[i * N + q] as number) * (rows[j * N + q] as number);
        expect(product).toBeCloseTo(i === j ? 1 : 0, 12);
      }
    }
  });

  test.each(DTYPES)("svd: more columns than rows in the factors, tall, wide, one, empty (%s)", (dtype) => {
    for (const [m, n, ranks] of [
      [3, 40, [2, 5]],
      [40, 3, [2, 5]],
      [4, 5, [8, 8]],
      [1, 1, [1, 1]],
      [1, 9, [2, 2]],
      [70, 90, [16, 20]],
      [0, 4, [2, 1]],
      [4, 0, [2, 1]],
    ] as const) {
      const ones = draw(dtype, ranks, { m, n });
      const parts = ones.map(({ a, b, r, alpha, weight }) => ({
        adapter: new LoraAdapter({ a: place(dtype, a, [r, n]), b: place(dtype, b, [m, r]), alpha }),
        weight,
      }));
      const rank = ranks[0] + ranks[1];
      const made = combineAdapters(parts, { method: "svd", rank });
      expect(made.r).toBe(Math.max(1, Math.min(m, n, rank)));
      const expected = combineAdapters(parts).delta().toTyped();
      if (expected.length > 0) expect(far(made.delta().toTyped(), expected)).toBeLessThan(TOLERANCE[dtype]);
      else
        expect([made.a.shape, made.b.shape]).toEqual([
          [1, n],
          [m, 1],
        ]);
    }
  });

  test("svd: extreme scales and no rank", () => {
    const ones = draw("f64", [2, 2]);
    const scaled = ones.map((one, i) => ({
      ...one,
      a: one.a.map((value) => value * (i === 0 ? 2 ** 900 : 2 ** -40)),
      b: one.b.map((value) => value * (i === 0 ? 2 ** -900 : 2 ** 40)),
    }));
    expect(far(combine("f64", scaled, { method: "svd", rank: 4 }).delta().toTyped(), sumOf(ones))).toBeLessThan(1e-12);
    const tiny = ones.map((one) => ({
      ...one,
      a: one.a.map((value) => value * 2 ** -500),
      b: one.b.map((value) => value * 2 ** -400),
    }));
    const expected = sumOf(ones).map((value) => value * 2 ** -900);
    expect(far(combine("f64", tiny, { method: "svd", rank: 4 }).delta().toTyped(), expected)).toBeLessThan(1e-12);
    const nothing = ones.map((one) => ({ ...one, weight: 0 }));
    const made = combine("f64", nothing, { method: "svd" });
    expect(made.b.toTyped().every((value) => value === 0)).toBe(true);
  });

  test("linear: differs from the sum by the cross terms alone", () => {
    const ones = draw("f64", [3, 3, 3]);
    const made = combine("f64", ones, { method: "linear" });
    expect(made.r).toBe(3);
    const sum = sumOf(ones);
    const expected = sum.slice();
    const root = (one: One) => Math.sqrt(Math.abs(one.weight * scaleOf(one)));
    for (const one of ones) {
      for (const other of ones) {
        if (one === other) continue;
        const cross = multiply(M, N, 3, one.b, other.a);
        const factor = root(one) * root(other) * Math.sign(other.weight);
        for (let i = 0; i < cross.length; i++) expected[i] = (expected[i] as number) + factor * (cross[i] as number);
      }
    }
    expect(far(made.delta().toTyped(), expected)).toBeLessThan(1e-13);
    expect(far(made.delta().toTyped(), sum)).toBeGreaterThan(0.01);
  });
});

describe("rules of PEFT", () => {
  // by NumPy, after PEFT's merge_utils
  const A = [
    [4, -1, 2, 0.5, 3, -2],
    [-3, 2, 1, 1.5, -2.5, -4],
  ];
  const B = [
    [1, -2, 3, 0.25, -1.5, 4],
    [2, 1, -0.5, -3, 1.25, 2],
  ];
  const ones: One[] = [
    { a: Float64Array.from(A[0] as number[]), b: Float64Array.from(B[0] as number[]), r: 2, alpha: 4, weight: 0.75 },
    { a: Float64Array.from(A[1] as number[]), b: Float64Array.from(B[1] as number[]), r: 2, alpha: 1, weight: -2 },
  ];
  const cases: [CombineOptions, number[], number[], number[] | undefined][] = [
    [
      { method: "linear" },
      [7.898979485566, -3.224744871392, 1.449489742783, -0.887627564304, 6.174234614175, 1.550510257217],
      [3.224744871392, -1.449489742783, 3.174234614175, -2.693813782152, -0.587117307087, 6.898979485566],
      undefined,
    ],
    [
      { method: "ties", density: 0.5 },
      [4.898979485566, 0, 2.449489742783, 0, 3.674234614175, 4],
      [2, -2.449489742783, 3.674234614175, -3, 0, 3.449489742783],
      [
        4.244960049133, -10.590238882377, -0.356346855616, 18.246112072783, -6.479261727726, -11.418106054497,
        -0.114856229863, 20.209361277393, -5.035479392426,
      ],
    ],
    [
      { method: "ties", density: 0.7, majoritySignMethod: "frequency" },
      [4.898979485566, -2, 2.449489742783, 0, 3.674234614175, 0.775255128608],
      [2, -2.449489742783, 3.674234614175, -3, 1.25, 3.449489742783],
      [
        3.676030961304, -12.378298443342, 4.330303211421, 18.339898023612, -6.152597419229, -0.761311526254,
        -0.483705990622, 19.147356373173, -7.616316973026,
      ],
    ],
    [
      { method: "magnitude_prune", density: 0.5 },
      [7.898979485566, 0, 2.449489742783, 0, 6.174234614175, 4],
      [2, -2.449489742783, 3.674234614175, -3, 0, 6.898979485566],
      [
        4.999285032748, -10.218909237948, 0.613492293145, 18.046858796448, -6.579179107102, -11.672811698366,
        0.205094490843, 20.365465441467, -9.497991865876,
      ],
    ],
  ];

  test.each(cases)("combineAdapters: %j, on the factors and on ΔW", (options, a, b, delta) => {
    for (const dtype of DTYPES) {
      const tolerance = dtype === "f64" ? 1e-12 : 1e-6;
      const made = combine(dtype, ones, options);
      expect(far(made.a.toTyped(), a)).toBeLessThan(tolerance);
      expect(far(made.b.toTyped(), b)).toBeLessThan(tolerance);
      if (delta === undefined) continue;
      const method = `${options.method}_svd` as CombineMethod;
      const bySvd = combine(dtype, ones, { ...options, method, rank: 2 });
      expect(far(bySvd.delta().toTyped(), delta)).toBeLessThan(tolerance * 10);
      expect(far(bySvd.delta().toTyped(), made.delta().toTyped())).toBeGreaterThan(0.01);
      // other densities and signs are others
      const other = combine(dtype, ones, { ...options, density: 0.2 });
      expect(far(other.a.toTyped(), a)).toBeGreaterThan(0.01);
    }
  });

  test("combineAdapters: with density 1 and one sign, pruning rules are sums or means", () => {
    const drawn = draw("f64", [3, 3]).map((one) => ({
      ...one,
      a: one.a.map(Math.abs),
      b: one.b.map(Math.abs),
      weight: 2,
    }));
    const linear = combine("f64", drawn, { method: "linear" });
    for (const method of ["magnitude_prune", "dare_linear"] as const) {
      const made = combine("f64", drawn, { method, density: 1 });
      expect(far(made.a.toTyped(), linear.a.toTyped())).toBeLessThan(1e-15);
      expect(far(made.b.toTyped(), linear.b.toTyped())).toBeLessThan(1e-15);
    }
    for (const method of ["ties", "dare_ties"] as const) {
      const made = combine("f64", drawn, { method, density: 1 });
      expect(
        far(
          made.a.toTyped(),
          linear.a.toTyped().map((value) => value / 2),
        ),
      ).toBeLessThan(1e-15);
    }
    for (const method of ["magnitude_prune_svd", "dare_linear_svd"] as const) {
      const made = combine("f64", drawn, { method, density: 1, rank: 6 });
      expect(far(made.delta().toTyped(), sumOf(drawn))).toBeLessThan(1e-13);
    }
    for (const method of METHODS.filter((name) => /dare|ties|prune/.test(name))) {
      const made = combine("f64", drawn, { method, density: 0 });
      expect(
        made
          .delta()
          .toTyped()
          .every((value) => value === 0),
        method,
      ).toBe(true);
    }
  });

  test("combineAdapters: DARE keeps the mean, drops as many as it should, and repeats itself", () => {
    const random = new Random(8);
    const [n, m] = [200, 150];
    const drawn = [1, 2].map((weight) => ({
      a: random.array(4 * n, "normal"),
      b: random.array(4 * m, "normal"),
      r: 4,
      alpha: 4,
      weight,
    }));
    const options = { method: "dare_linear", density: 0.25, seed: 5 } as const;
    const made = combine("f64", drawn.slice(0, 2), options).a.toTyped();
    const [one, two] = drawn as [One, One];
    // each entry is one of the four sums
    let kept = 0;
    made.forEach((value, i) => {
      const parts = [4 * (one.a[i] as number), 4 * Math.SQRT2 * (two.a[i] as number)] as const;
      const sums = [0, parts[0], parts[1], parts[0] + parts[1]];
      const which = sums.findIndex((sum) => Math.abs(sum - value) < 1e-12);
      expect(which).toBeGreaterThanOrEqual(0);
      kept += [0, 1, 1, 2][which] as number;
    });
    expect(Math.abs(kept / 1600 - 0.25)).toBeLessThan(4 * Math.sqrt((0.25 * 0.75) / 1600));
    expect(combine("f64", drawn, options).a.toTyped()).toEqual(made);
    expect(combine("f64", drawn, { ...options, seed: 6 }).a.toTyped()).not.toEqual(made);
    const ties = combine("f64", drawn, { ...options, method: "dare_ties" });
    expect(ties.a.toTyped().some((value, i) => value !== made[i])).toBe(true);
  });

  test.each(METHODS)("combineAdapters: of one adapter, that adapter times its weight: %s", (method) => {
    for (const useRslora of [false, true]) {
      for (const weight of [1, -1, 0.3]) {
        const ones = draw("f64", [3], { useRslora, bias: true }).map((one) => ({ ...one, weight }));
        const made = combine("f64", ones, { method, density: 0.4 });
        expect(made.r).toBe(3);
        expect(far(made.delta().toTyped(), sumOf(ones))).toBeLessThan(1e-13);
        const [one] = ones as [One];
        const bias = one.bias?.map((value) => value * weight * scaleOf(one)) as Float64Array;
        expect(far(numbers(made.bias), bias)).toBeLessThan(1e-15);
      }
    }
  });

  test.each(METHODS)("combineAdapters: two of the same with weights 1 and -1 cancel: %s", (method) => {
    const [one] = draw("f64", [3]) as [One];
    const made = combine(
      "f64",
      [
        { ...one, weight: 1 },
        { ...one, weight: -1 },
      ],
      { method, density: 1 },
    );
    const largest = Math.max(...Array.from(made.delta().toTyped(), Math.abs));
    // in a linear rule on the factors only the A cancel, which is enough
    expect(largest).toBeLessThan(1e-13);
  });

  test("combineAdapters: pruning takes the largest, the first of equal ones", () => {
    const ones: One[] = [
      { a: Float64Array.of(1, -2, 2, 2, 0, -1), b: Float64Array.of(1), r: 1, alpha: 1, weight: 1 },
      { a: new Float64Array(6), b: Float64Array.of(0), r: 1, alpha: 1, weight: 1 },
    ];
    const pruned = (density: number) =>
      Array.from(combine("f64", ones, { method: "magnitude_prune", density }).a.toTyped(), (value) => value + 0);
    expect(pruned(1 / 6)).toEqual([0, -2, 0, 0, 0, 0]);
    expect(pruned(0.4)).toEqual([0, -2, 2, 0, 0, 0]);
    expect(pruned(0.5)).toEqual([0, -2, 2, 2, 0, 0]);
    expect(pruned(0.7)).toEqual([1, -2, 2, 2, 0, 0]);
    expect(pruned(0.99)).toEqual([1, -2, 2, 2, 0, -1]);
  });

  test("combineAdapters: a sum of 0 elects the positive sign, a zero agrees with none", () => {
    const column = (values: number[], weight: number): One => ({
      a: Float64Array.from(values),
      b: Float64Array.of(1),
      r: 1,
      alpha: 1,
      weight,
    });
    const ones = [column([3, 0, 0, -1], 1), column([-3, -2, 0, 2], 4), column([0, 0, 0, -4], 1)];
    const elected = (majoritySignMethod: "total" | "frequency") =>
      Array.from(
        combine("f64", ones, { method: "ties", density: 1, majoritySignMethod }).a.toTyped(),
        (value) => value + 0,
      );
    // roots of the weights: 1, 2, 1
    expect(elected("total")).toEqual([3, -4, 0, -2.5]);
    expect(elected("frequency")).toEqual([3, -4, 0, -2.5]);
    (ones[1] as One).a[3] = 9;
    expect(elected("total")).toEqual([3, -4, 0, 18]);
    expect(elected("frequency")).toEqual([3, -4, 0, -2.5]);
  });

  test.each(DTYPES)("combineAdapters: pruning agrees with sorting (%s)", (dtype) => {
    const random = new Random(21);
    for (const n of [1, 7, 1000]) {
      const a = round(
        dtype,
        random.array(n, "normal").map((value, i) => value * 10 ** ((i % 60) - 30)),
      );
      const zero = { a: new Float64Array(n), b: Float64Array.of(0), r: 1, alpha: 1, weight: 1 };
      for (const density of [0.1, 0.33, 0.5, 0.9]) {
        const k = Math.floor(density * n);
        const order = Array.from(a.keys()).sort((i, j) => Math.abs(a[j] as number) - Math.abs(a[i] as number));
        const expected = new Float64Array(n);
        for (const i of order.slice(0, k)) expected[i] = a[i] as number;
        const made = combine(dtype, [{ ...zero, a, b: Float64Array.of(1) }, zero], {
          method: "magnitude_prune",
          density,
        });
        expect(Array.from(made.a.toTyped())).toEqual(Array.from(expected));
      }
    }
  });
});

describe("errors", () => {
  test("combineAdapters: refuses what it cannot combine, and leaves nothing behind", () => {
    const one = new LoraAdapter({ a: [[1, 2]], b: [[1], [2], [3]] });
    const two = new LoraAdapter({ a: zeros([2, 2]), b: zeros([3, 2]) });
    const wide = new LoraAdapter({ a: zeros([1, 3]), b: zeros([3, 1]) });
    const single = new LoraAdapter({ a: zeros([1, 2], "f32"), b: zeros([3, 1], "f32") });
    const dora = new LoraAdapter({ a: [[1, 2]], b: [[1], [2], [3]], magnitude: [1, 1, 1] });
    const broken = new LoraAdapter({ a: [[1, Number.NaN]], b: [[1], [2], [3]] });
    const huge = new LoraAdapter({ a: [[1, 2]], b: [[1e300], [2], [3]] });
    const { usedBytes } = capabilities();
    const rows: [() => unknown, new (...a: never[]) => Error, RegExp][] = [
      [() => combineAdapters([]), RangeError, /^"adapters" expected at least one adapter, got an empty array$/],
      [() => combineAdapters(undefined as never), TypeError, /^"adapters" expected an array, got undefined$/],
      [() => combineAdapters([undefined as never]), TypeError, /^"adapters\[0\]" expected an object, got undefined$/],
      [() => combineAdapters([null as never]), TypeError, /^"adapters\[0\]" expected an object, got null$/],
      [() => combineAdapters([one as never]), TypeError, /^"adapters\[0\]" expected only "adapter", "weight"/],
      [
        () => combineAdapters([{ adapter: {} as never, weight: 1 }]),
        TypeError,
        /^"adapters\[0\].adapter" expected a LoraAdapter/,
      ],
      [
        () => combineAdapters([{ adapter: one } as never]),
        TypeError,
        /^"adapters\[0\].weight" expected a number, got undefined$/,
      ],
      [
        () => combineAdapters([{ adapter: one, weight: Number.NaN }]),
        RangeError,
        /^"adapters\[0\].weight" expected a finite number, got NaN$/,
      ],
      [() => combineAdapters([{ adapter: one, weight: Infinity }]), RangeError, /finite number, got Infinity$/],
      [
        () =>
          combineAdapters([
            { adapter: one, weight: 1 },
            { adapter: dora, weight: 1 },
          ]),
        TypeError,
        /^"adapters\[1\].adapter" expected an adapter without a magnitude/,
      ],
      [
        () =>
          combineAdapters([
            { adapter: one, weight: 1 },
            { adapter: wide, weight: 1 },
          ]),
        RangeError,
        /^"adapters\[1\].adapter" expected a: \(r, 2\) and b: \(3, r\), got \(1, 3\) and \(3, 1\)$/,
      ],
      [
        () =>
          combineAdapters([
            { adapter: one, weight: 1 },
            { adapter: single as never, weight: 1 },
          ]),
        TypeError,
        /^"adapters\[1\].adapter" expected f64/,
      ],
      ...["linear", "ties", "dare_linear", "dare_ties", "magnitude_prune"].map(
        (method): [() => unknown, typeof RangeError, RegExp] => [
          () =>
            combineAdapters(
              [
                { adapter: one, weight: 1 },
                { adapter: two, weight: 1 },
              ],
              { method: method as CombineMethod, density: 0.5 },
            ),
          RangeError,
          /^"adapters" expected equal ranks for ".*", got ranks 1, 2$/,
        ],
      ),
      [
        () => combineAdapters([{ adapter: one, weight: 1 }], { method: "average" as never }),
        RangeError,
        /^"method" expected "cat" \| "svd"/,
      ],
      [
        () => combineAdapters([{ adapter: one, weight: 1 }], { rank: 0, method: "svd" }),
        RangeError,
        /^"rank" expected/,
      ],
      [
        () => combineAdapters([{ adapter: one, weight: 1 }], { rank: 1.5, method: "svd" }),
        RangeError,
        /^"rank" expected/,
      ],
      [
        () => combineAdapters([{ adapter: one, weight: 1 }], { method: "ties" }),
        TypeError,
        /^"density" expected a number, got undefined$/,
      ],
      [
        () => combineAdapters([{ adapter: one, weight: 1 }], { method: "ties", density: 1.1 }),
        RangeError,
        /^"density" expected a number in \[0, 1\], got 1.1$/,
      ],
      [
        () => combineAdapters([{ adapter: one, weight: 1 }], { method: "ties", density: -0.1 }),
        RangeError,
        /^"density"/,
      ],
      [
        () => combineAdapters([{ adapter: one, weight: 1 }], { majoritySignMethod: "most" as never }),
        RangeError,
        /^"majoritySignMethod"/,
      ],
      [() => combineAdapters([{ adapter: one, weight: 1 }], { seed: -1 }), RangeError, /^"seed"/],
      [
        () => combineAdapters([{ adapter: one, weight: 1 }], { scale: 1 } as never),
        TypeError,
        /^"options" expected only "method", .* got "scale"$/,
      ],
      ...["svd", "ties", "ties_svd", "dare_linear"].map((method): [() => unknown, typeof Error, RegExp] => [
        () =>
          combineAdapters(
            [
              { adapter: one, weight: 1 },
              { adapter: broken, weight: 1 },
            ],
            { method: method as CombineMethod, density: 0.5 },
          ),
        Error,
        /^"adapters\[1\].a" expected finite numbers, got NaN at \[0, 1\]$/,
      ]),
      [
        () => combineAdapters([{ adapter: huge, weight: 1e200 }], { method: "svd" }),
        Error,
        /^"adapters" expected finite numbers/,
      ],
    ];
    for (const [use, kind, message] of rows) {
      expect(use).toThrow(kind);
      expect(use).toThrow(message);
      expect(capabilities().usedBytes).toBe(usedBytes);
    }
    // cat and linear are products: NaN passes through
    for (const method of ["cat", "linear"] as const) {
      const made = combineAdapters(
        [
          { adapter: one, weight: 1 },
          { adapter: broken, weight: 1 },
        ],
        { method },
      );
      expect(made.delta().toTyped().some(Number.isNaN)).toBe(true);
      made.dispose();
    }
    one.dispose();
    expect(() => combineAdapters([{ adapter: one, weight: 1 }])).toThrow(expect.objectContaining({ code: "disposed" }));
  });
});
