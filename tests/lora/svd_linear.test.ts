// SvdLinear against its formula in f64: every core, gradients by central differences, what the start, merge() and toLora() give.

import { describe, expect, test, vi } from "vitest";
import {
  capabilities,
  type DType,
  matmul,
  NonFiniteError,
  svd,
  type Tensor,
  tensor,
  zeros,
} from "../../bindings/index.js";
import { kernel } from "../../bindings/load.js";
import {
  AdamW,
  LoraLinear,
  type SvdCore,
  SvdLinear,
  type SvdLinearOptions,
  trainableParameters,
} from "../../bindings/lora.js";
import { refuses } from "../support/bad_input.js";
import { Random } from "../support/random.js";
import { DTYPES } from "../support/raw.js";
import { multiply, transpose } from "../support/reference.js";
import { largestRowError, place, round, TOLERANCE } from "./reference.js";

const [OUT, IN, RANK, TOKENS] = [7, 6, 4, 5];
const at = (x: ArrayLike<number>, i: number) => x[i] as number;

const CORES: [string, SvdCore, number][] = [
  ["diagonal", "diagonal", RANK],
  ["dense", "dense", RANK * RANK],
  ["low rank", { lowRank: 2 }, RANK + 4 * RANK],
  ["low rank, Σ frozen", { lowRank: 3, trainSigma: false }, 6 * RANK],
  ["scale and shift", { scaleShift: 2, lowRank: 1 }, 4 + 4],
  ["no scale and shift", { scaleShift: 0, lowRank: 2 }, 4 * RANK],
  ["band of 0", { banded: 0 }, RANK],
  ["band of 1", { banded: 1 }, 10],
  ["band of all", { banded: RANK - 1 }, RANK * RANK],
];

interface Parts {
  kind: string;
  u: Float64Array;
  vt: Float64Array;
  s: Float64Array;
  residual: Float64Array;
  bias: Float64Array;
  scaling: number;
  core: { [name: string]: Float64Array };
  m: number;
  n: number;
  r: number;
}

const wide = (x: Tensor | undefined, size = 0) =>
  x === undefined ? new Float64Array(size) : Float64Array.from(x.toTyped());

function partsOf(kind: string, layer: SvdLinear): Parts {
  const { inFeatures: n, outFeatures: m, rank: r } = layer;
  return {
    ...{ kind, m, n, r, scaling: layer.scaling },
    ...{ u: wide(layer.u), vt: wide(layer.vt), s: wide(layer.s) },
    residual: wide(layer.residual, m * n),
    bias: wide(layer.bias, m),
    core: Object.fromEntries(Object.entries(layer.core).map(([name, value]) => [name, wide(value)])),
  };
}

/** C by the definition of its kind. */
function coreOf({ kind, r, s, core, scaling }: Parts): Float64Array {
  const c = new Float64Array(r * r);
  for (let i = 0; i < r; i++) c[i * (r + 1)] = at(s, i);
  const add = (i: number, j: number, value: number) => {
    c[i * r + j] = at(c, i * r + j) + value;
  };
  const from = core.scale?.length ?? 0;
  if (core.sigma !== undefined)
    for (let i = 0; i < r; i++) add(i, i, at(core.sigma, i) * (kind === "diagonal" ? scaling : 1));
  if (core.r !== undefined) for (let i = 0; i < r * r; i++) add(Math.floor(i / r), i % r, scaling * at(core.r, i));
  for (let i = 0; i < from; i++) {
    add(i, i, (at(core.scale as Float64Array, i) - 1) * at(s, i) + at(core.shift as Float64Array, i));
  }
  if (core.x !== undefined && core.y !== undefined) {
    const n = r - from;
    const product = multiply(n, n, core.x.length / n, core.x, core.y);
    for (let i = 0; i < n * n; i++) add(from + Math.floor(i / n), from + (i % n), scaling * at(product, i));
  }
  if (core.band !== undefined) {
    const width = widthOf(core.band.length, r);
    let next = 0;
    for (let d = -width; d <= width; d++) {
      for (let i = Math.max(0, -d); i < r && i + d < r; i++) add(i, i + d, scaling * at(core.band, next++));
    }
  }
  return c;
}

/** The width of a band from how many entries it has. */
function widthOf(size: number, r: number): number {
  let width = 0;
  while (r * (2 * width + 1) - width * (width + 1) < size) width++;
  return width;
}

/** W_res + U·C·Vᵀ. */
function weightOf(parts: Parts): Float64Array {
  const { m, n, r, u, vt, residual } = parts;
  return multiply(m, n, r, multiply(m, r, r, u, coreOf(parts)), vt).map((value, i) => value + at(residual, i));
}

function forward(parts: Parts, x: ArrayLike<number>, tokens: number): Float64Array {
  const { m, n, bias } = parts;
  return multiply(tokens, m, n, x, transpose(m, n, weightOf(parts))).map((value, i) => value + at(bias, i % m));
}

interface Built {
  layer: SvdLinear;
  weight: Float64Array;
  x: Float64Array;
  g: Float64Array;
}

function build(core: SvdCore, dtype: DType = "f64", more: Partial<SvdLinearOptions> = {}, [m, n] = [OUT, IN]): Built {
  const random = new Random(3);
  const numbers = (size: number) => round(dtype, random.array(size, "normal"));
  const weight = numbers(m * n);
  const bias = numbers(m);
  const layer = new SvdLinear({
    weight: place(dtype, weight, [m, n]),
    bias: place(dtype, bias, [m]),
    rank: RANK,
    core,
    ...more,
  });
  return { layer, weight, x: numbers(TOKENS * n), g: numbers(TOKENS * m) };
}

function numbersOf(m: number, n: number): Tensor {
  return tensor(new Random(7).array(m * n, "normal"), { shape: [m, n] });
}

/** Random numbers in all trained tensors. */
function shake(layer: SvdLinear): void {
  const random = new Random(9);
  for (const tensor of Object.values(layer.core)) tensor.data.set(random.array(tensor.size, "normal"));
}

function slopes(values: Float64Array, f: () => number): Float64Array {
  const h = 1e-4;
  return values.map((kept, i) => {
    values[i] = kept + h;
    const above = f();
    values[i] = kept - h;
    const below = f();
    values[i] = kept;
    return (above - below) / (2 * h);
  });
}

function far(got: Tensor | undefined, wanted: Float64Array): number {
  if (got === undefined || got.size !== wanted.length) return Infinity;
  const most = wanted.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  const error = wide(got).reduce((largest, value, i) => Math.max(largest, Math.abs(value - at(wanted, i))), 0);
  return error === 0 ? 0 : error / most;
}

const kindOf = (core: SvdCore) => (typeof core === "string" ? core : Object.keys(core)[0]) as string;

describe.each(DTYPES)("SvdLinear, %s", (dtype) => {
  const eps = dtype === "f32" ? 2 ** -24 : 2 ** -53;

  describe.each(["keep", "drop"] as const)("residual: %s", (residual) => {
    test.each(CORES)("SvdLinear with a core %s: the start changes nothing", (_, core, count) => {
      const { layer, weight, x } = build(core, dtype, { residual });
      const sizes = Object.values(layer.core).map((tensor) => tensor.size);
      expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(count);
      expect(trainableParameters([layer])).toMatchObject({ trainable: count, total: OUT * IN + OUT + count });
      const w = tensor(weight, { shape: [OUT, IN] });
      let expected = wide(matmul(place("f64", x, [TOKENS, IN]), w.transpose()));
      if (residual === "drop") {
        const { u, s, vt } = svd(w);
        const kept = u.toArray() as number[][];
        const scaled = tensor(kept.map((row) => row.slice(0, RANK).map((value, i) => value * (s.data[i] as number))));
        const cut = matmul(scaled, vt.subtensor(0, RANK));
        expected = wide(matmul(place("f64", x, [TOKENS, IN]), cut.transpose()));
      }
      const bias = wide(layer.bias);
      expected = expected.map((value, i) => value + at(bias, i % OUT));
      const input = place(dtype, x, [TOKENS, IN]);
      expect(largestRowError(layer.forward(input).toTyped(), expected, OUT)).toBeLessThan(100 * eps);
      // the twin: other parameters are another layer
      shake(layer);
      expect(largestRowError(layer.forward(input).toTyped(), expected, OUT)).toBeGreaterThan(0.01);
      layer.dispose();
    });

    test.each(CORES)("SvdLinear with a core %s: forward and merge are the formula", (_, core) => {
      const { layer, x } = build(core, dtype, { residual, scaling: 0.7 });
      shake(layer);
      const parts = partsOf(kindOf(core), layer);
      const expected = forward(parts, x, TOKENS);
      const input = place(dtype, x, [TOKENS, IN]);
      expect(largestRowError(layer.forward(input).toTyped(), expected, OUT)).toBeLessThan(4 * TOLERANCE[dtype]);
      const merged = layer.merge();
      expect(far(merged, weightOf(parts))).toBeLessThan(4 * TOLERANCE[dtype]);
      // leading axes, one row, none
      expect(layer.forward(input.reshape([TOKENS, 1, IN])).shape).toEqual([TOKENS, 1, OUT]);
      const one = layer.forward(input.subtensor(1, 2).reshape([IN]));
      expect(one.shape).toEqual([OUT]);
      expect(largestRowError(one.toTyped(), expected.subarray(OUT, 2 * OUT), OUT)).toBeLessThan(4 * TOLERANCE[dtype]);
      expect(layer.forward(zeros([0, IN], dtype)).shape).toEqual([0, OUT]);
      layer.dispose();
    });

    test.each(CORES)("SvdLinear with a core %s: toLora() is what was learnt", (_, core) => {
      const { layer, weight } = build(core, dtype, { residual, scaling: 0.7 });
      const before = partsOf(kindOf(core), layer);
      const base = residual === "keep" ? weight : weightOf(before);
      const atStart = layer.toLora();
      expect(far(atStart.delta(), new Float64Array(OUT * IN))).toBe(0);
      shake(layer);
      const parts = partsOf(kindOf(core), layer);
      const adapter = layer.toLora();
      const wanted = weightOf(parts).map((value, i) => value - at(base, i));
      expect(far(adapter.delta(), wanted)).toBeLessThan(20 * TOLERANCE[dtype]);
      expect(adapter.scaling).toBe(1);
      const ranks: { [name: string]: number } = {
        lowRank: layer.core.sigma ? RANK : 3,
        scaleShift: layer.core.scale?.size ? 3 : 2,
      };
      expect(adapter.r).toBe(ranks[kindOf(core)] ?? RANK);
      // it stands on a plain layer of the original weight
      if (residual === "keep") {
        const plain = new LoraLinear({ weight: place(dtype, weight, [OUT, IN]), bias: layer.bias as Tensor });
        plain.addAdapter("core", adapter);
        const x = place(dtype, new Random(5).array(2 * IN), [2, IN]);
        expect(largestRowError(plain.forward(x).toTyped(), wide(layer.forward(x)), OUT)).toBeLessThan(
          40 * TOLERANCE[dtype],
        );
        plain.dispose();
      }
      for (const one of [layer, adapter, atStart]) one.dispose();
    });

    test.each(CORES)("SvdLinear with a core %s: gradients by central differences", (_, core) => {
      for (const shape of [
        [OUT, IN],
        [4, 9],
        [11, 4],
      ] as [number, number][]) {
        const { layer, x, g } = build(core, dtype, { residual, scaling: 0.7 }, shape);
        const [m, n] = shape;
        shake(layer);
        const parts = partsOf(kindOf(core), layer);
        const objective = () => forward(parts, x, TOKENS).reduce((sum, value, i) => sum + value * at(g, i), 0);
        layer.forward(place(dtype, x, [TOKENS, n]), { train: true });
        const got = layer.backward(place(dtype, g, [TOKENS, m]));
        const bound = dtype === "f32" ? 1e-5 : 1e-6;
        expect(far(got.x, slopes(x, objective)), "x").toBeLessThan(bound);
        expect(Object.keys(got.core)).toEqual(Object.keys(parts.core));
        for (const [name, values] of Object.entries(parts.core)) {
          const wanted = slopes(values, objective);
          expect(far(got.core[name], wanted), name).toBeLessThan(bound);
          expect(got.core[name]?.shape).toEqual(layer.core[name]?.shape);
          // the twin: the gradient of another scale is seen
          if (values.length > 0)
            expect(
              far(
                got.core[name],
                wanted.map((value) => 1.01 * value),
              ),
              name,
            ).toBeGreaterThan(1e-3);
        }
        const without = layer.backward(place(dtype, g, [TOKENS, m]), { x: false });
        expect(Object.keys(without)).toEqual(["core"]);
        layer.dispose();
      }
    });
  });

  test("SvdLinear: frozen tensors stay as they are in training, and nothing else does", () => {
    const { layer, x, g } = build({ lowRank: 2 }, dtype);
    const frozen = () => [layer.u, layer.s, layer.vt, layer.residual, layer.bias].map((t) => t?.toArray());
    const before = frozen();
    const optimizer = new AdamW({ lr: 0.1 });
    const first = { ...partsOf("lowRank", layer).core };
    for (let step = 0; step < 3; step++) {
      layer.forward(place(dtype, x, [TOKENS, IN]), { train: true });
      const { core } = layer.backward(place(dtype, g, [TOKENS, OUT]), { x: false });
      // Y starts at zero, so that X gets its first gradient in the second step
      expect(wide(core.x).every((value) => value === 0)).toBe(step === 0);
      for (const name of ["sigma", "y"]) expect(wide(core[name]).every((value) => value !== 0)).toBe(true);
      optimizer.step(layer.core, core);
    }
    expect(frozen()).toEqual(before);
    for (const [name, values] of Object.entries(first)) expect(wide(layer.core[name])).not.toEqual(values);
    optimizer.dispose();
    layer.dispose();
  });

  test("SvdLinear: no pass takes memory of the size (out, in)", () => {
    const [m, n] = [700, 650];
    const weight = place(dtype, new Random(1).array(m * n), [m, n]);
    for (const [residual, core] of [
      ["drop", "dense"],
      ["keep", { lowRank: 2 }],
    ] as const) {
      const layer = new SvdLinear({ weight, rank: 3, residual, core });
      const x = place(dtype, new Random(2).array(2 * n), [2, n]);
      const allocate = vi.spyOn(kernel().allocator, "allocate");
      layer.forward(x, { train: true });
      layer.backward(zeros([2, m], dtype));
      layer.toLora().dispose();
      const largest = Math.max(...allocate.mock.calls.map(([bytes]) => bytes));
      expect(largest).toBeLessThan((m * n * (dtype === "f32" ? 4 : 8)) / 4);
      // the twin: what does take it is seen
      layer.merge().dispose();
      expect(Math.max(...allocate.mock.calls.map(([bytes]) => bytes))).toBeGreaterThanOrEqual(m * n * 4);
      allocate.mockRestore();
      layer.dispose();
    }
  });
});

describe("SvdLinear", () => {
  test("SvdLinear: start values of X and Y, and the same ones from the same seed", () => {
    const random = new Random(4);
    const [x, y] = [tensor(random.array(8), { shape: [4, 2] }), tensor(random.array(8), { shape: [2, 4] })];
    const { layer } = build({ lowRank: 2, x, y });
    expect(layer.core.x?.toArray()).toEqual(x.toArray());
    expect(layer.core.y?.toArray()).toEqual(y.toArray());
    x.data[0] = 99;
    expect(layer.core.x?.toTyped()[0]).not.toBe(99);
    const made = [1, 1, 2].map((seed) => build({ lowRank: 2 }, "f64", { seed }).layer.core.x?.toArray());
    expect(made[1]).toEqual(made[0]);
    expect(made[2]).not.toEqual(made[0]);
    expect((made[0] as number[][]).flat().every((value) => Math.abs(value) <= 1 / Math.sqrt(2))).toBe(true);
    layer.dispose();
  });

  test("SvdLinear: a large weight is decomposed at random, its residual is exact all the same", () => {
    const [m, n, r] = [600, 520, 8];
    const random = new Random(8);
    const low = matmul(tensor(random.array(m * r), { shape: [m, r] }), tensor(random.array(r * n), { shape: [r, n] }));
    for (let i = 0; i < low.size; i++) low.data[i] = (low.data[i] as number) + 0.01 * random.symmetric();
    const layer = new SvdLinear({ weight: low, rank: r, core: "dense" });
    expect(far(layer.merge(), wide(low))).toBeLessThan(1e-13);
    expect(far(layer.s, wide(svd(low).s).subarray(0, r))).toBeLessThan(1e-6);
    layer.dispose();
  });

  test("SvdLinear: the whole rank leaves no residual; all memory comes back", () => {
    const { usedBytes } = capabilities();
    const weight = tensor(new Random(6).array(OUT * IN), { shape: [OUT, IN] });
    const layer = new SvdLinear({ weight, rank: IN, core: { banded: 2 }, residual: "drop" });
    const x = zeros([2, IN]);
    const y = layer.forward(x, { train: true });
    const { x: dx, core } = layer.backward(y);
    const [merged, adapter] = [layer.merge(), layer.toLora()];
    expect(far(merged, wide(weight))).toBeLessThan(1e-14);
    for (const one of [layer, weight, x, y, dx as Tensor, ...Object.values(core), merged, adapter]) one.dispose();
    expect(capabilities().usedBytes).toBe(usedBytes);
    layer.dispose();
    expect(() => layer.forward([1])).toThrow();
  });

  test("SvdLinear: matrices of one row or column, batches of one row and none", () => {
    const cores: SvdCore[] = ["diagonal", "dense", { lowRank: 1 }, { scaleShift: 0, lowRank: 1 }, { banded: 0 }];
    for (const core of cores) {
      for (const [m, n] of [
        [1, 1],
        [1, 5],
        [5, 1],
      ] as const) {
        for (const residual of ["keep", "drop"] as const) {
          const layer = new SvdLinear({ weight: numbersOf(m, n), rank: 1, residual, core });
          shake(layer);
          const merged = layer.merge();
          for (const tokens of [0, 1, 2]) {
            const x = numbersOf(tokens, n);
            const wanted = wide(matmul(x, merged.transpose()));
            expect(far(layer.forward(x, { train: true }), wanted)).toBeLessThan(1e-13);
            const { x: dx, core: gradients } = layer.backward(numbersOf(tokens, m));
            expect(dx?.shape).toEqual([tokens, n]);
            for (const [name, tensor] of Object.entries(layer.core)) {
              expect(gradients[name]?.shape).toEqual(tensor.shape);
              if (tokens === 0) expect(wide(gradients[name]).every((value) => value === 0)).toBe(true);
            }
          }
          layer.dispose();
        }
      }
    }
  });

  test("SvdLinear: bad input", () => {
    const weight = tensor(new Random(1).array(12 * 9), { shape: [12, 9] });
    const bad = <T>(value: T) => value as never;
    const make = (options: object) => new SvdLinear({ weight, rank: 4, core: "dense", ...options } as never);
    const layer = make({});
    refuses(
      [
        ["no options", () => new SvdLinear(bad(undefined)), TypeError, /^"weight" expected a Tensor/],
        [
          "a weight of one axis",
          () => make({ weight: [1, 2] }),
          RangeError,
          '"weight" expected two axes, got shape (2,)',
        ],
        ["no core", () => make({ core: undefined }), TypeError, /^"core" expected "diagonal", .*, got undefined$/],
        ["another core", () => make({ core: "sparse" }), RangeError, /^"core" expected "diagonal", .*, got "sparse"$/],
        ["an empty core", () => make({ core: {} }), TypeError, /^"core" expected "diagonal", .*, got Object$/],
        ["no rank", () => make({ rank: undefined }), TypeError, '"rank" expected an integer, got undefined'],
        ["rank 0", () => make({ rank: 0 }), RangeError, '"rank" expected an integer in [1, 9], got 0'],
        ["rank 10", () => make({ rank: 10 }), RangeError, '"rank" expected an integer in [1, 9], got 10'],
        [
          "r2 of 5",
          () => make({ core: { lowRank: 5 } }),
          RangeError,
          '"core.lowRank" expected an integer in [1, 4], got 5',
        ],
        [
          "a wide band",
          () => make({ core: { banded: 4 } }),
          RangeError,
          '"core.banded" expected an integer in [0, 3], got 4',
        ],
        ["all scaled", () => make({ core: { scaleShift: 4, lowRank: 1 } }), RangeError, /^"core.scaleShift" expected/],
        [
          "r2 beyond the block",
          () => make({ core: { scaleShift: 2, lowRank: 3 } }),
          RangeError,
          /^"core.lowRank" expected/,
        ],
        [
          "trainSigma 1",
          () => make({ core: { lowRank: 1, trainSigma: 1 } }),
          TypeError,
          '"core.trainSigma" expected a boolean, got 1',
        ],
        [
          "X of the weight's size, as the seed writes it",
          () => make({ core: { lowRank: 2, x: zeros([12, 2]) } }),
          RangeError,
          '"core.x" expected shape (4, 2), got (12, 2)',
        ],
        [
          "Y of the weight's size",
          () => make({ core: { lowRank: 2, y: zeros([2, 9]) } }),
          RangeError,
          '"core.y" expected shape (2, 4), got (2, 9)',
        ],
        [
          "X in f32",
          () => make({ core: { lowRank: 1, x: zeros([4, 1], "f32") } }),
          TypeError,
          '"core.x" expected f64 as "weight", got f32',
        ],
        [
          "a scaling NaN",
          () => make({ scaling: Number.NaN }),
          RangeError,
          '"scaling" expected a finite number, got NaN',
        ],
        [
          "another residual",
          () => make({ residual: "half" }),
          RangeError,
          '"residual" expected "keep" | "drop", got "half"',
        ],
        ["a short bias", () => make({ bias: [1] }), RangeError, '"bias" expected shape (12,), got (1,)'],
        ["LoRA's word", () => make({ r: 4 }), TypeError, /^"options" expected only .* got "r"$/],
        [
          "NaN",
          () => make({ weight: [[1, Number.NaN]], rank: 1 }),
          NonFiniteError,
          /^"weight" expected finite numbers/,
        ],
        ["another width", () => layer.forward(zeros([2, 12])), RangeError, '"x" expected shape (…, 9), got (2, 12)'],
        [
          "another dtype",
          () => layer.forward(zeros([2, 9], "f32")),
          TypeError,
          '"x" expected f64 as "weight", got f32',
        ],
      ],
      [weight],
    );
    expect(() => layer.backward(zeros([2, 12]))).toThrow(expect.objectContaining({ code: "no_forward" }));
    layer.forward(zeros([2, 9]), { train: true });
    expect(() => layer.backward(zeros([3, 12]))).toThrow(
      new RangeError('"gradOutput" expected shape (2, 12), got (3, 12)'),
    );
    expect(() => layer.backward(zeros([2, 12], "f32"))).toThrow(TypeError);
    layer.dispose();
  });
});
