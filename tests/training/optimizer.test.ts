// Optimisers against steps worked out by hand and their papers' formulas, their state, clipping and schedules.

import { describe, expect, test } from "vitest";
import { capabilities, type DType, scope, type Tensor, tensor, zeros } from "../../bindings/index.js";
import { AdamW, clipGradients, type Optimizer, type OptimizerState, Sgd, schedule } from "../../bindings/lora.js";
import { refuses } from "../support/bad_input.js";
import { Random } from "../support/random.js";
import { DTYPES, rounded, typed } from "../support/raw.js";

const put = (dtype: DType, values: ArrayLike<number>, shape = [values.length]) =>
  tensor(typed(dtype, values), { shape }) as Tensor;

interface Adam {
  lr: number;
  betas: [number, number];
  eps: number;
  weightDecay: number;
}

/** Algorithm 2 of Loshchilov and Hutter, line by line, in f64; gradients one after the other. */
function adamw(p: Float64Array, gradients: Float64Array[], { lr, betas: [b1, b2], eps, weightDecay }: Adam): void {
  const [m, v] = [new Float64Array(p.length), new Float64Array(p.length)];
  gradients.forEach((g, i) => {
    const t = i + 1;
    for (let j = 0; j < p.length; j++) {
      const [x, s] = [p[j] as number, g[j] as number];
      m[j] = b1 * (m[j] as number) + (1 - b1) * s;
      v[j] = b2 * (v[j] as number) + (1 - b2) * s * s;
      const first = (m[j] as number) / (1 - b1 ** t);
      const second = (v[j] as number) / (1 - b2 ** t);
      p[j] = x - lr * (first / (Math.sqrt(second) + eps) + weightDecay * x);
    }
  });
}

function worst(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < wanted.length; i++) most = Math.max(most, Math.abs((got[i] as number) - (wanted[i] as number)));
  return got.length === wanted.length ? most : Infinity;
}

/** Steps with gradients that are the same for the same arguments. */
function train(optimizer: Optimizer, params: { [name: string]: Tensor }, first: number, count: number): void {
  for (let step = first; step < first + count; step++) {
    scope(() => {
      const random = new Random(step);
      const grads = Object.fromEntries(
        Object.entries(params).map(([name, p]) => [name, put(p.dtype, random.array(p.size, "normal"), [...p.shape])]),
      );
      optimizer.step(params, grads, 1 / (step + 1));
    });
  }
}

function makeParams(dtype: DType): { [name: string]: Tensor } {
  const random = new Random(1);
  return { w: put(dtype, random.array(35, "normal"), [5, 7]), b: put(dtype, random.array(3, "normal")) };
}

const bits = (x: Tensor) => Buffer.from(x.toTyped().buffer).toString("hex");

describe.each(DTYPES)("optimisers, %s", (dtype) => {
  test("AdamW: three steps worked out by hand", () => {
    // β 1/2 and 3/4, lr 1/10, λ 1/10, ε 0, g = 1, −1, 2:
    // m 1/2, −1/4, 7/8; m̂ 1, −1/3, 1; v 1/4, 7/16, 85/64; v̂ 1, 1, 85/37; each step p <- p·99/100 − m̂/(10·√v̂)
    const p = put(dtype, [1]);
    const optimizer = new AdamW({ lr: 0.1, betas: [0.5, 0.75], eps: 0, weightDecay: 0.1 });
    const expected = [0.89, 0.89 * 0.99 + 0.1 / 3, (0.89 * 0.99 + 0.1 / 3) * 0.99 - 0.1 / Math.sqrt(85 / 37)];
    for (const [i, g] of [1, -1, 2].entries()) {
      optimizer.step({ p }, { p: put(dtype, [g]) });
      expect(Math.abs((p.data[0] as number) - (expected[i] as number))).toBeLessThan(dtype === "f32" ? 1e-7 : 1e-15);
    }
    const { kind, parameters } = optimizer.state();
    expect(kind).toBe("adamw");
    expect(parameters.p?.step).toBe(3);
    expect(parameters.p?.moments.m?.toArray()).toEqual([7 / 8]);
    expect(parameters.p?.moments.v?.toArray()).toEqual([85 / 64]);
    optimizer.dispose();
  });

  test("AdamW: the first step of the defaults goes by lr, whatever the gradient", () => {
    const p = put(dtype, [0, 0, 0, 0, 0]);
    new AdamW().step({ p }, { p: put(dtype, [1e-4, -1e-4, 1, -1e4, 0]) });
    const lr = 1e-3;
    expect(
      worst(
        p.toTyped(),
        [lr, -lr, lr, -lr, 0].map((x) => -x),
      ),
    ).toBeLessThan(lr * 2e-4);
  });

  test.each([1, 2, 3, 4, 5, 7, 8, 64, 1001, 9001])("AdamW: the paper's algorithm on %i numbers", (n) => {
    const random = new Random(n);
    const start = rounded(dtype, random.array(n, "normal"));
    const gradients = Array.from({ length: 20 }, () => rounded(dtype, random.array(n, "normal")));
    const options: Adam = { lr: 0.02, betas: [0.8, 0.95], eps: 1e-6, weightDecay: 0.1 };
    const wanted = start.slice();
    adamw(wanted, gradients, options);
    const p = put(dtype, start);
    const optimizer = new AdamW(options);
    for (const g of gradients) scope(() => optimizer.step({ p }, { p: put(dtype, g) }));
    expect(worst(p.toTyped(), wanted)).toBeLessThan(dtype === "f32" ? 2e-5 : 1e-13);
    // the twins: another decay, no bias correction of ours would be seen
    const other = start.slice();
    adamw(other, gradients, { ...options, weightDecay: 0.11 });
    expect(worst(p.toTyped(), other)).toBeGreaterThan(1e-5);
    optimizer.dispose();
  });

  test("Sgd: steps worked out by hand, with and without momentum and decay", () => {
    // v <- v/2 + g + p/4, p <- p − v/2 from p = 2, g = 1: v 3/2, p 5/4; v 3/4 + 1 + 5/16 = 33/16, p 7/32
    const p = put(dtype, [2, 2]);
    const optimizer = new Sgd({ lr: 0.5, momentum: 0.5, weightDecay: 0.25 });
    const g = put(dtype, [1, 1]);
    optimizer.step({ p }, { p: g });
    expect(p.toArray()).toEqual([5 / 4, 5 / 4]);
    optimizer.step({ p }, { p: g });
    expect(p.toArray()).toEqual([7 / 32, 7 / 32]);
    expect(optimizer.state()).toMatchObject({ kind: "sgd", parameters: { p: { step: 2 } } });
    const q = put(dtype, [2]);
    new Sgd({ lr: 0.5 }).step({ q }, { q: put(dtype, [1]) });
    expect(q.toArray()).toEqual([1.5]);
    new Sgd({ lr: 0.5, weightDecay: 0.25 }).step({ q }, { q: put(dtype, [1]) }, 0.5);
    expect(q.toArray()).toEqual([1.5 * (1 - 1 / 16) - 0.25]);
    optimizer.dispose();
  });

  test.each([
    ["AdamW", () => new AdamW({ lr: 0.1 })],
    ["Sgd", () => new Sgd({ lr: 0.1, momentum: 0.9 })],
  ] as const)("%s: stopped and resumed is the same bits as straight through", (_, make) => {
    const [through, stopped] = [makeParams(dtype), makeParams(dtype)];
    const first = make();
    train(first, through, 0, 9);
    const before = make();
    train(before, stopped, 0, 4);
    const state = before.state();
    const kept = bits(state.parameters.w?.moments[Object.keys(state.parameters.w.moments)[0] as string] as Tensor);
    // what the state was copied from goes on and ends
    train(before, { ...makeParams(dtype) }, 4, 1);
    before.dispose();
    const after = make();
    after.load(state);
    train(after, stopped, 4, 5);
    for (const name of ["w", "b"]) expect(bits(stopped[name] as Tensor)).toBe(bits(through[name] as Tensor));
    // nor does the optimiser that took the state write it
    expect(bits(state.parameters.w?.moments[Object.keys(state.parameters.w.moments)[0] as string] as Tensor)).toBe(
      kept,
    );
    // the twin: without the state the steps are others
    const fresh = makeParams(dtype);
    train(make(), fresh, 0, 4);
    train(make(), fresh, 4, 5);
    expect(bits(fresh.w as Tensor)).not.toBe(bits(through.w as Tensor));
    for (const one of [first, after]) one.dispose();
  });

  test("AdamW: LoRA+ by PEFT's names, each parameter with its own steps", () => {
    const names = ["a", "0.lora_A.task.weight", "b", "0.lora_B.task.weight", "layer.b", "magnitude", "0.weight"];
    const shape = (name: string) => (name === "magnitude" ? [4] : [2, 2]);
    const params = Object.fromEntries(names.map((name) => [name, zeros(shape(name), dtype) as Tensor]));
    const grads = Object.fromEntries(names.map((name) => [name, put(dtype, [1, 1, 1, 1], shape(name))]));
    new AdamW({ lr: 0.25, eps: 0, weightDecay: 0, loraPlusRatio: 16 }).step(params, grads);
    const moved = names.map((name) => -(params[name]?.toTyped()[0] as number));
    const [own, fast] = [0.25, 4];
    for (const [i, wanted] of [own, own, fast, fast, fast, fast, own].entries()) {
      expect(Math.abs((moved[i] as number) - wanted)).toBeLessThan(1e-6);
    }
    // a parameter that has no gradient is left alone, and its steps count from its first one
    const optimizer = new AdamW({ lr: 0.25, weightDecay: 0.5 });
    const [p, q] = [put(dtype, [1]), put(dtype, [1])];
    optimizer.step({ p, q }, { p: put(dtype, [1]) });
    expect(q.toArray()).toEqual([1]);
    optimizer.step({ p, q }, { p: put(dtype, [1]), q: put(dtype, [1]) });
    const { parameters } = optimizer.state();
    expect([parameters.p?.step, parameters.q?.step]).toEqual([2, 1]);
    optimizer.dispose();
  });

  test("optimisers: parameters without elements", () => {
    for (const optimizer of [new AdamW(), new Sgd({ lr: 1, momentum: 0.5 })]) {
      const p = zeros([0, 3], dtype);
      optimizer.step({ p }, { p: zeros([0, 3], dtype) });
      expect(optimizer.state().parameters.p?.step).toBe(1);
      optimizer.dispose();
    }
  });

  test("clipGradients: the norm of all together, scaled only when it is larger", () => {
    const grads = { w: put(dtype, [3, 0, 0, 0], [2, 2]), b: put(dtype, [-4]), none: put(dtype, []) };
    expect(clipGradients(grads, 10)).toBe(5);
    expect(grads.w.toTyped()[0]).toBe(3);
    expect(clipGradients(grads, Infinity)).toBe(5);
    expect(clipGradients(grads, 2.5)).toBe(5);
    expect([...grads.w.toTyped(), ...grads.b.toTyped()]).toEqual([1.5, 0, 0, 0, -2]);
    const large = 2 ** (dtype === "f32" ? 100 : 1000);
    const huge = { w: put(dtype, [3 * large]), b: put(dtype, [4 * large]) };
    expect(clipGradients(huge, 1) / large).toBe(5);
    expect(huge.w.toTyped()[0]).toBeCloseTo(0.6, 6);
    const bad = { w: put(dtype, [1, Number.NaN]), b: put(dtype, [2]) };
    expect(clipGradients(bad, 1)).toBeNaN();
    expect(bad.b.toArray()).toEqual([2]);
    expect(clipGradients({}, 1)).toBe(0);
  });
});

describe("optimisers", () => {
  test("schedule: the numbers of Hugging Face transformers", () => {
    // get_linear_schedule_with_warmup(2, 10) and get_cosine_schedule_with_warmup(2, 10), tests/optimization, learning rate 10, digits cut off
    const linear = schedule("linear", { warmup: 2, total: 10 });
    expect(Array.from({ length: 10 }, (_, i) => linear(i))).toEqual([
      0, 0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125,
    ]);
    const cosine = schedule("cosine", { warmup: 2, total: 10 });
    const wanted = [0, 5, 10, 9.61, 8.53, 6.91, 5, 3.08, 1.46, 0.38];
    for (const [i, factor] of wanted.entries()) expect(Math.floor(1000 * cosine(i) + 1e-9) / 100).toBe(factor);
    expect([linear(10), linear(11), cosine(10), cosine(1000)]).toEqual([0, 0, 0, 0]);
    const constant = schedule("constant", { warmup: 4 });
    expect([0, 1, 2, 3, 4, 5, 1e9].map(constant)).toEqual([0, 0.25, 0.5, 0.75, 1, 1, 1]);
    expect(schedule("constant")(0)).toBe(1);
  });

  test("optimisers: bad input before the first step", () => {
    const p = tensor([1, 2]);
    const before = p.toArray();
    const bad = <T>(value: T) => value as never;
    const adam = new AdamW();
    const state = (change: object) => bad({ kind: "adamw", parameters: {}, ...change });
    refuses(
      [
        ["lr NaN", () => new AdamW({ lr: Number.NaN }), RangeError, '"lr" expected a finite number, got NaN'],
        ["lr negative", () => new AdamW({ lr: -1 }), RangeError, /^"lr" expected a number in \[0, .*, got -1$/],
        ["lr text", () => new AdamW({ lr: bad("1") }), TypeError, '"lr" expected a number, got "1"'],
        ["β₁ 1", () => new AdamW({ betas: [1, 0.9] }), RangeError, '"betas[0]" expected a number in [0, 1), got 1'],
        [
          "β₂ 1.5",
          () => new AdamW({ betas: [0.9, 1.5] }),
          RangeError,
          '"betas[1]" expected a number in [0, 1], got 1.5',
        ],
        ["β₂ negative", () => new AdamW({ betas: [0.9, -0.1] }), RangeError, /^"betas\[1\]" expected/],
        ["β NaN", () => new AdamW({ betas: [Number.NaN, 0] }), RangeError, /^"betas\[0\]" expected a finite number/],
        ["one β", () => new AdamW({ betas: bad([0.9]) }), RangeError, '"betas" expected two numbers, got 1'],
        ["β a number", () => new AdamW({ betas: bad(0.9) }), TypeError, '"betas" expected two numbers, got 0.9'],
        ["ε negative", () => new AdamW({ eps: -1e-8 }), RangeError, /^"eps" expected/],
        ["decay NaN", () => new AdamW({ weightDecay: Number.NaN }), RangeError, /^"weightDecay" expected/],
        [
          "PyTorch's name",
          () => new AdamW(bad({ weight_decay: 0 })),
          TypeError,
          /^"options" expected only .* got "weight_decay"$/,
        ],
        ["Sgd without lr", () => new Sgd(bad({})), TypeError, '"lr" expected a number, got undefined'],
        ["Sgd without options", () => new Sgd(bad(undefined)), TypeError, '"lr" expected a number, got undefined'],
        [
          "momentum 2",
          () => new Sgd({ lr: 1, momentum: 2 }),
          RangeError,
          '"momentum" expected a number in [0, 1], got 2',
        ],
        [
          "no parameter",
          () => adam.step({ p }, { q: [1] }),
          RangeError,
          '"grads" expected the names of parameters, got "q"',
        ],
        [
          "another shape",
          () => adam.step({ p }, { p: [1, 2, 3] }),
          RangeError,
          '"grads["p"]" expected shape (2,), got (3,)',
        ],
        [
          "another dtype",
          () => adam.step({ p }, { p: Float32Array.of(1, 2) }),
          TypeError,
          /^"grads\["p"\]" expected f64/,
        ],
        [
          "a plain parameter",
          () => adam.step(bad({ p: [1] }), { p: [1] }),
          TypeError,
          '"params["p"]" expected a Tensor, got an array',
        ],
        ["a list of parameters", () => adam.step(bad([p]), {}), TypeError, '"params" expected an object, got an array'],
        [
          "no gradients",
          () => adam.step({ p }, bad(undefined)),
          TypeError,
          '"grads" expected an object, got undefined',
        ],
        [
          "a factor NaN",
          () => adam.step({ p }, { p: [1, 1] }, Number.NaN),
          RangeError,
          /^"factor" expected a finite number/,
        ],
        [
          "one bad of two",
          () => adam.step({ p, q: zeros([1]) }, { p: [1, 1], q: [1, 2] }),
          RangeError,
          '"grads["q"]" expected shape (1,), got (2,)',
        ],
        [
          "a transposed parameter",
          () => adam.step({ p: zeros([2, 3]).transpose() }, { p: zeros([3, 2]) }),
          RangeError,
          '"params["p"]" expected a contiguous tensor, got strides (1, 3)',
        ],
        ["no state", () => adam.load(bad(undefined)), TypeError, '"state" expected an object, got undefined'],
        [
          "another's state",
          () => adam.load(state({ kind: "sgd" })),
          RangeError,
          '"state.kind" expected "adamw", got "sgd"',
        ],
        [
          "half a state",
          () => adam.load(state({ parameters: { p: { step: 1, moments: { m: p } } } })),
          TypeError,
          '"state.parameters["p"].moments.v" expected a Tensor, got undefined',
        ],
        [
          "a state without steps",
          () => adam.load(state({ parameters: { p: { moments: {} } } })),
          TypeError,
          /step" expected an integer/,
        ],
        ["clip at 0", () => clipGradients({ p }, 0), RangeError, '"most" expected a number > 0, got 0'],
        ["clip at NaN", () => clipGradients({ p }, Number.NaN), RangeError, '"most" expected a number > 0, got NaN'],
        ["clip at text", () => clipGradients({ p }, bad("1")), TypeError, '"most" expected a number, got "1"'],
        ["another schedule", () => schedule(bad("step")), RangeError, /^"kind" expected "constant" \|/],
        ["no total", () => schedule("linear"), TypeError, '"total" expected an integer, got undefined'],
        [
          "a short total",
          () => schedule("cosine", { warmup: 5, total: 4 }),
          RangeError,
          /^"total" expected an integer/,
        ],
        ["a negative warm-up", () => schedule("constant", { warmup: -1 }), RangeError, /^"warmup" expected/],
        ["half a step", () => schedule("constant")(0.5), RangeError, /^"step" expected/],
      ],
      [p],
    );
    expect(p.toArray()).toEqual(before);
    // what was refused left no state behind
    expect(Object.keys(adam.state().parameters)).toEqual([]);
    adam.step({ p }, { p: [1, 1] });
    expect(() => adam.step({ p: zeros([3]) }, { p: [1, 2, 3] })).toThrow('"params["p"]" expected shape (2,), got (3,)');
    adam.dispose();
    p.dispose();
  });

  test("optimisers: a load that fails leaves the state; memory comes back", () => {
    const { usedBytes } = capabilities();
    const optimizer = new AdamW();
    const p = tensor([1, 2, 3]);
    optimizer.step({ p }, { p: [1, 2, 3] });
    const state = optimizer.state();
    const broken: OptimizerState = { kind: "adamw", parameters: { p: { step: 2, moments: {} } } };
    expect(() => optimizer.load(broken)).toThrow(TypeError);
    const after = optimizer.state();
    expect(after.parameters.p?.step).toBe(1);
    expect(after.parameters.p?.moments.m?.toArray()).toEqual(state.parameters.p?.moments.m?.toArray());
    for (const { parameters } of [state, after])
      for (const m of Object.values(parameters.p?.moments ?? {})) m.dispose();
    optimizer.dispose();
    p.dispose();
    expect(capabilities().usedBytes).toBe(usedBytes);
  });
});
