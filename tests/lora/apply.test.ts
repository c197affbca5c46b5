// PEFT's config, its target rules and initialisations.

import { describe, expect, test } from "vitest";
import { capabilities, type DType, NonFiniteError, tensor, zeros } from "../../bindings/index.js";
import {
  applyLora,
  LoraAdapter,
  LoraConfig,
  type LoraConfigOptions,
  LoraLinear,
  matchTargets,
} from "../../bindings/lora.js";
import { Random } from "../support/random.js";
import { place } from "./reference.js";

const NAMES = [
  "model.layers.0.self_attn.q_proj",
  "model.layers.0.self_attn.k_proj",
  "model.layers.0.mlp.up_proj",
  "model.layers.1.self_attn.q_proj",
  "model.layers.1.self_attn.k_proj",
  "model.layers.11.mlp.experts.3.up_proj",
  "vision.blocks.1.q_proj",
  "q_proj",
  "my_q_proj",
  "score",
  "lm_head",
];

const modulesOf = (names: readonly string[] = NAMES) =>
  Object.fromEntries(
    names.map((name) => [name, new LoraLinear({ weight: zeros([4, 6], "f32"), bias: zeros([4], "f32") })]),
  );

/** Names that a config chooses. */
const chosen = (config: LoraConfigOptions) => applyLora(modulesOf(), { r: 2, ...config }).targeted;
const withEnd = (...ends: string[]) =>
  NAMES.filter((name) => ends.some((end) => name === end || name.endsWith(`.${end}`)));

describe("applyLora", () => {
  test.each<[string, LoraConfigOptions, string[]]>([
    ["a list matches last parts", { targetModules: ["q_proj"] }, withEnd("q_proj")],
    ["several parts", { targetModules: ["self_attn.q_proj", "up_proj"] }, withEnd("self_attn.q_proj", "up_proj")],
    ["a full name", { targetModules: ["model.layers.0.mlp.up_proj"] }, ["model.layers.0.mlp.up_proj"]],
    ["a text is the whole name", { targetModules: "q_proj" }, ["q_proj"]],
    [
      "a regular expression",
      { targetModules: ".*\\.layers\\.\\d\\..*(q|k)_proj" },
      withEnd("self_attn.q_proj", "self_attn.k_proj"),
    ],
    ["Python's named groups", { targetModules: "(?P<what>my)_q_proj" }, ["my_q_proj"]],
    ["all-linear leaves out the head", { targetModules: "all-linear" }, NAMES.filter((name) => name !== "lm_head")],
    [
      "in any case",
      { targetModules: "ALL-Linear", taskType: "SEQ_CLS" },
      NAMES.filter((name) => !["lm_head", "score"].includes(name)),
    ],
    ["a list may have the head", { targetModules: ["lm_head"] }, ["lm_head"]],
    [
      "exclude wins",
      { targetModules: ["q_proj"], excludeModules: ["self_attn.q_proj"] },
      ["vision.blocks.1.q_proj", "q_proj"],
    ],
    [
      "exclude by expression",
      { targetModules: "all-linear", excludeModules: "(model|vision)\\..*" },
      ["q_proj", "my_q_proj", "score"],
    ],
    [
      "modulesToSave are no targets",
      { targetModules: ["score", "q_proj"], modulesToSave: ["score", "vision"] },
      withEnd("self_attn.q_proj").concat("q_proj"),
    ],
    [
      "one layer",
      { targetModules: ["q_proj"], layersToTransform: 1 },
      ["model.layers.1.self_attn.q_proj", "vision.blocks.1.q_proj", "q_proj"],
    ],
    [
      "layers of a pattern",
      { targetModules: ["q_proj"], layersToTransform: [0, 1], layersPattern: "blocks" },
      ["vision.blocks.1.q_proj", "q_proj"],
    ],
    [
      "patterns",
      { targetModules: ["up_proj"], layersToTransform: [11], layersPattern: ["blocks", "layers"] },
      ["model.layers.11.mlp.experts.3.up_proj"],
    ],
    [
      "the first number counts",
      { targetModules: ["up_proj"], layersToTransform: [3, 0] },
      ["model.layers.0.mlp.up_proj"],
    ],
    ["no layers, all layers", { targetModules: ["k_proj"], layersToTransform: [] }, withEnd("k_proj")],
  ])("applyLora: %s", (_, config, expected) => {
    expect(chosen(config)).toEqual(expected);
  });

  test("applyLora: gives each target an adapter of its own, the others nothing", () => {
    const modules = modulesOf();
    const { targeted, skipped } = applyLora(
      modules,
      {
        r: 4,
        loraAlpha: 16,
        loraDropout: 0.1,
        useRslora: true,
        loraBias: true,
        bias: "lora_only",
        targetModules: ["q_proj", "up_proj"],
        rankPattern: { "self_attn.q_proj": 2, "layers\\.\\d+\\..*up_proj": 3, q_proj: 1 },
        alphaPattern: { "^vision.*": 5 },
      },
      { name: "task", seed: 3 },
    );
    expect([...targeted, ...skipped].sort()).toEqual([...NAMES].sort());
    const made = (name: string) => modules[name]?.adapter("task") as LoraAdapter;
    expect(targeted.map((name) => [name, made(name).r, made(name).alpha])).toEqual([
      ["model.layers.0.self_attn.q_proj", 2, 16],
      ["model.layers.0.mlp.up_proj", 3, 16],
      ["model.layers.1.self_attn.q_proj", 2, 16],
      ["model.layers.11.mlp.experts.3.up_proj", 3, 16],
      ["vision.blocks.1.q_proj", 1, 5],
      ["q_proj", 1, 16],
    ]);
    for (const name of targeted) {
      expect(made(name)).toMatchObject({ useRslora: true, dropout: 0.1, dtype: "f32", inFeatures: 6, outFeatures: 4 });
      expect(
        made(name)
          .b.toTyped()
          .every((value) => value === 0),
      ).toBe(true);
      expect(made(name).bias?.toArray()).toEqual([0, 0, 0, 0]);
      expect(modules[name]).toMatchObject({ active: { task: 1 }, biasTrainable: true });
    }
    for (const name of skipped) expect(modules[name]).toMatchObject({ adapters: [], biasTrainable: false });
    // two layers of one shape start apart, and the seed decides how
    const [one, two] = ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"] as const;
    expect(made(one).a.toTyped()).not.toEqual(made(two).a.toTyped());
    const again = modulesOf();
    applyLora(again, { r: 2, targetModules: ["q_proj", "up_proj"] }, { seed: 3 });
    expect(again[one]?.adapter("default").a.toTyped()).toEqual(made(one).a.toTyped());
    applyLora(again, { r: 2, targetModules: ["q_proj", "up_proj"] }, { name: "other", seed: 4 });
    expect(again[one]?.adapter("other").a.toTyped()).not.toEqual(made(one).a.toTyped());
  });

  test("applyLora: what fails leaves every layer as it was", () => {
    const modules = modulesOf(["a.q", "b.q", "c.k"]);
    modules["b.q"]?.addAdapter("taken", new LoraAdapter({ a: zeros([1, 6], "f32"), b: zeros([4, 1], "f32") }));
    const { usedBytes } = capabilities();
    const rows: [() => unknown, new (...a: never[]) => Error, string | RegExp][] = [
      [
        () => applyLora(modules, { targetModules: ["v"] }),
        RangeError,
        '"targetModules" expected a choice among "a.q", "b.q", "c.k", got ["v"]',
      ],
      [
        () => applyLora(modules, { targetModules: "q" }),
        RangeError,
        '"targetModules" expected a choice among "a.q", "b.q", "c.k", got "q"',
      ],
      [
        () => applyLora({}, { targetModules: ["q"] }),
        RangeError,
        '"targetModules" expected a choice among no modules, got ["q"]',
      ],
      [
        () => applyLora(modules, {}),
        TypeError,
        '"targetModules" expected a string or an array of names, got undefined',
      ],
      [
        () => applyLora(modules, { targetModules: "(" }),
        RangeError,
        '"targetModules" expected a regular expression, got "("',
      ],
      [
        () => applyLora(modules, { targetModules: ["q"] }, { name: "taken" }),
        RangeError,
        '"name" expected a new name, got "taken"',
      ],
      [
        () => applyLora(modules, { targetModules: ["q"], initLoraWeights: "pissa", r: 64 }),
        RangeError,
        /^"r" expected an integer in \[1, \d+\] with init "pissa", got 64$/,
      ],
      [() => applyLora(modules, { targetModules: ["q"] }, { seed: 0.5 }), RangeError, /^"seed" expected/],
      [
        () => applyLora(modules, { targetModules: ["q"] }, { adapterName: "x" } as never),
        TypeError,
        /^"options" expected only "name", "seed"/,
      ],
      [
        () => applyLora({ x: {} as never }, { targetModules: ["x"] }),
        TypeError,
        '"modules["x"]" expected a LoraLinear, got Object',
      ],
      [() => applyLora([] as never, { targetModules: ["x"] }), TypeError, /^"modules" expected layers by their names/],
      [
        () => applyLora(modules, { targetModules: ["q"], rankPattern: { "(": 1 } }),
        RangeError,
        /^"rankPattern" expected a regular/,
      ],
    ];
    for (const [use, kind, message] of rows) {
      expect(use).toThrow(kind);
      expect(use).toThrow(message);
      expect(Object.values(modules).map(({ adapters }) => adapters)).toEqual([[], ["taken"], []]);
      expect(capabilities().usedBytes).toBe(usedBytes);
    }
  });

  test("applyLora: whose biases are trained", () => {
    for (const [bias, wanted] of [
      ["none", [false, false]],
      ["lora_only", [true, false]],
      ["all", [true, true]],
    ] as const) {
      const make = () => new LoraLinear({ weight: zeros([2, 2]), bias: zeros([2]) });
      const modules = { q: make(), k: make() };
      applyLora(modules, { targetModules: ["q"], r: 1, bias });
      expect([modules.q.biasTrainable, modules.k.biasTrainable]).toEqual(wanted);
      for (const layer of Object.values(modules)) layer.dispose();
    }
  });

  test("matchTargets: names, kinds and heads", () => {
    const modules = [
      { name: "a.fc", kind: "Linear" },
      { name: "a.conv", kind: "conv1d" },
      { name: "a.norm", kind: "norm" },
      "head",
    ];
    expect(matchTargets(modules, "all-linear")).toEqual(["a.fc", "a.conv", "head"]);
    expect(matchTargets(modules, "all-linear", { outputHead: "head", exclude: ["conv"] })).toEqual(["a.fc"]);
    expect(matchTargets(modules, ["norm"])).toEqual(["a.norm"]);
    expect(matchTargets(modules, [])).toEqual([]);
    expect(() => matchTargets("a" as never, ["a"])).toThrow(TypeError);
    expect(() => matchTargets([3 as never], ["a"])).toThrow(
      '"modules[0]" expected a name, or an object with a name, got 3',
    );
    expect(() => matchTargets(modules, 3 as never)).toThrow(TypeError);
    expect(() => matchTargets(modules, [3] as never)).toThrow(TypeError);
  });
});

describe("LoraConfig", () => {
  test("LoraConfig: PEFT's defaults, and its file", () => {
    const config = new LoraConfig();
    expect(config).toMatchObject({
      r: 8,
      loraAlpha: 8,
      loraDropout: 0,
      bias: "none",
      useRslora: false,
      useDora: false,
      loraBias: false,
      fanInFanOut: false,
      initLoraWeights: true,
      rankPattern: {},
      alphaPattern: {},
    });
    expect(JSON.parse(JSON.stringify(config))).toEqual({
      peft_type: "LORA",
      r: 8,
      lora_alpha: 8,
      lora_dropout: 0,
      bias: "none",
      target_modules: null,
      exclude_modules: null,
      task_type: null,
      use_rslora: false,
      use_dora: false,
      lora_bias: false,
      fan_in_fan_out: false,
      init_lora_weights: true,
      rank_pattern: {},
      alpha_pattern: {},
      layers_to_transform: null,
      layers_pattern: null,
      modules_to_save: null,
    });
  });

  test("LoraConfig: a file comes back, unknown keys and the task with it", () => {
    const file = {
      peft_type: "LORA",
      auto_mapping: null,
      base_model_name_or_path: "gpt2",
      task_type: "CAUSAL_LM",
      r: 4,
      lora_alpha: 2.5,
      lora_dropout: 0.05,
      bias: "lora_only",
      target_modules: ["c_attn"],
      exclude_modules: null,
      use_rslora: true,
      use_dora: false,
      lora_bias: false,
      fan_in_fan_out: true,
      init_lora_weights: "gaussian",
      rank_pattern: { c_proj: 2 },
      alpha_pattern: {},
      layers_to_transform: [1, 2],
      layers_pattern: "h",
      modules_to_save: ["score"],
      loftq_config: { bits: 4 },
      peft_version: "0.20.1",
    };
    const config = LoraConfig.fromJSON(file);
    expect(config).toMatchObject({
      r: 4,
      loraAlpha: 2.5,
      taskType: "CAUSAL_LM",
      targetModules: ["c_attn"],
      layersPattern: "h",
    });
    expect(config.toJSON()).toEqual(file);
    expect(LoraConfig.fromJSON({}).toJSON()).toEqual(new LoraConfig().toJSON());
    expect(LoraConfig.fromJSON({ layers_pattern: [], target_modules: ["a"] }).layersPattern).toBe(undefined);
    expect(() => LoraConfig.fromJSON({ peft_type: "IA3" })).toThrow('"peft_type" expected "LORA", got "IA3"');
    expect(() => LoraConfig.fromJSON(null as never)).toThrow(TypeError);
    expect(() => LoraConfig.fromJSON({ r: "4" })).toThrow(TypeError);
  });

  test.each<[object, new (...a: never[]) => Error, string | RegExp]>([
    [{ rank: 4 }, TypeError, /^"config" expected only "r", .* got "rank"$/],
    [{ r: 0 }, RangeError, /^"r" expected an integer in \[1, /],
    [{ r: 1.5 }, RangeError, /^"r"/],
    [{ loraAlpha: Number.NaN }, RangeError, '"loraAlpha" expected a finite number, got NaN'],
    [{ loraDropout: -1 }, RangeError, '"loraDropout" expected a number in [0, 1], got -1'],
    [{ bias: "some" }, RangeError, '"bias" expected "none" | "all" | "lora_only", got "some"'],
    [{ targetModules: 3 }, TypeError, '"targetModules" expected a string or an array of names, got 3'],
    [{ targetModules: [3] }, TypeError, /^"targetModules" expected an array of names/],
    [{ taskType: 3 }, TypeError, '"taskType" expected a string, got 3'],
    [{ useDora: 1 }, TypeError, '"useDora" expected a boolean, got 1'],
    [{ useDora: true, loraBias: true }, TypeError, '"loraBias" expected false with useDora, got true'],
    [{ initLoraWeights: "random" }, RangeError, /^"initLoraWeights" expected "gaussian"/],
    [{ rankPattern: { a: 0 } }, RangeError, /^"rankPattern\["a"\]" expected an integer/],
    [{ rankPattern: [] }, TypeError, '"rankPattern" expected an object of numbers, got an array'],
    [{ alphaPattern: { a: "1" } }, TypeError, '"alphaPattern["a"]" expected a number, got "1"'],
    [{ layersToTransform: -1 }, RangeError, /^"layersToTransform"/],
    [{ layersToTransform: [0, "1"] }, TypeError, '"layersToTransform[1]" expected an integer, got "1"'],
    [{ layersToTransform: 1, targetModules: "all-linear" }, RangeError, /^"targetModules" expected names in an array/],
    [{ layersPattern: "h" }, RangeError, /^"layersPattern" expected layersToTransform beside it/],
    [{ modulesToSave: "score" }, TypeError, /^"modulesToSave" expected an array of names/],
    [[], TypeError, /^"config" expected an object/],
    [{ r: null }, TypeError, '"r" expected an integer, got null'],
    [{ bias: null }, TypeError, /^"bias" expected .* got null$/],
    [{ targetModules: null }, TypeError, /^"targetModules" expected .* got null$/],
    [{ rankPattern: null }, TypeError, '"rankPattern" expected an object of numbers, got null'],
  ])("LoraConfig: refuses %j", (options, kind, message) => {
    const make = () => new LoraConfig(options as never);
    expect(make).toThrow(kind);
    expect(make).toThrow(message);
    const layer = new LoraLinear({ weight: [[1]] });
    expect(() => layer.addAdapter("a", options as never)).toThrow(message);
    expect(layer.adapters).toEqual([]);
    layer.dispose();
  });
});

describe("create", () => {
  const SMALL = { inFeatures: 7, outFeatures: 5, r: 3 };

  /** Largest distance of an empirical distribution from F (Kolmogorov and Smirnov), times √n: above 2 in 7 of 10,000 cases. */
  function distance(values: ArrayLike<number>, F: (x: number) => number): number {
    const sorted = Float64Array.from(values).sort();
    const n = sorted.length;
    let most = 0;
    sorted.forEach((x, i) => {
      most = Math.max(most, Math.abs(F(x) - i / n), Math.abs(F(x) - (i + 1) / n));
    });
    return most * Math.sqrt(n);
  }

  /** Φ by its series. */
  function normal(x: number): number {
    if (Math.abs(x) > 7) return x > 0 ? 1 : 0;
    let term = x;
    let sum = x;
    for (let k = 1; Math.abs(term) > 1e-17 * Math.abs(sum); k++) {
      term *= (x * x) / (2 * k + 1);
      sum += term;
    }
    return 0.5 + (sum * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);
  }

  const uniform = (bound: number) => (x: number) => Math.min(1, Math.max(0, (x + bound) / (2 * bound)));

  test.each<DType>(["f32", "f64"])("create: A by PEFT's distributions, B zero (%s)", (dtype) => {
    const shape = { inFeatures: 400, outFeatures: 30, r: 16, dtype, seed: 9 };
    const a = (init: "kaiming" | "gaussian" | "unit" | false) => LoraAdapter.create({ ...shape, init });
    const families = { kaiming: uniform(1 / 20), gaussian: (x: number) => normal(16 * x), unit: normal };
    for (const init of ["kaiming", "gaussian", "unit"] as const) {
      const made = a(init);
      expect(made).toMatchObject({ dtype, r: 16, alpha: 16, scaling: 1, dropout: 0 });
      expect(made.b.toTyped().every((value) => Object.is(value, 0))).toBe(true);
      for (const [family, F] of Object.entries(families)) {
        const far = distance(made.a.toTyped(), F);
        if (family === init) expect(far, `${init} as ${family}`).toBeLessThan(2);
        else expect(far, `${init} as ${family}`).toBeGreaterThan(5);
      }
      made.dispose();
    }
    const both = a(false);
    expect(distance(both.a.toTyped(), uniform(1 / 20))).toBeLessThan(2);
    expect(distance(both.b.toTyped(), uniform(1 / 4))).toBeLessThan(2);
    both.dispose();
  });

  test("create: the seed decides, f32 is f64 rounded, and what is asked for is there", () => {
    const make = (seed: number, dtype: DType = "f64") =>
      LoraAdapter.create({ ...SMALL, init: "gaussian", seed, dtype }).a.toTyped();
    expect(make(1)).toEqual(make(1));
    expect(make(1)).not.toEqual(make(2));
    expect(make(1, "f32")).toEqual(
      Float32Array.from(LoraAdapter.create({ ...SMALL, init: "unit", seed: 1 }).a.toTyped(), Math.fround).map((value) =>
        Math.fround(value * Math.fround(1 / 3)),
      ),
    );
    const weight = new Random(4).array(35, "normal");
    const made = LoraAdapter.create({
      inFeatures: 7,
      outFeatures: 5,
      r: 3,
      alpha: 6,
      useRslora: true,
      dropout: 0.5,
      useDora: true,
      base: place("f64", weight, [5, 7]),
    });
    expect(made).toMatchObject({ dtype: "f64", alpha: 6, dropout: 0.5, scaling: 6 / Math.sqrt(3) });
    for (let o = 0; o < 5; o++) {
      expect(made.magnitude?.toTyped()[o]).toBeCloseTo(Math.hypot(...weight.subarray(7 * o, 7 * o + 7)), 14);
    }
    // a transposed view is a base, too
    const turned = LoraAdapter.create({
      inFeatures: 5,
      outFeatures: 7,
      r: 1,
      useDora: true,
      base: place("f64", weight, [5, 7]).transpose(),
    });
    expect(turned.magnitude?.toTyped()[0]).toBeCloseTo(
      Math.hypot(...[0, 7, 14, 21, 28].map((i) => weight[i] as number)),
      14,
    );
    expect(LoraAdapter.create({ inFeatures: 4, outFeatures: 4, loraBias: true }).bias?.toArray()).toEqual([0, 0, 0, 0]);
    expect(
      LoraAdapter.create({ inFeatures: 4, outFeatures: 4, base: tensor(new Float32Array(16), { shape: [4, 4] }) })
        .dtype,
    ).toBe("f32");
    expect(LoraAdapter.create({ inFeatures: 0, outFeatures: 4 }).delta().shape).toEqual([4, 0]);
  });

  test("create: refuses", () => {
    const good = { inFeatures: 3, outFeatures: 2, r: 2 };
    const two = [
      [1, 2, 3],
      [4, 5, 6],
    ];
    const { usedBytes } = capabilities();
    for (const [change, kind, message] of [
      [{ inFeatures: -1 }, RangeError, /^"inFeatures"/],
      [{ outFeatures: "2" }, TypeError, /^"outFeatures" expected an integer, got "2"$/],
      [{ r: 0 }, RangeError, /^"r"/],
      [{ r: 2 ** 29 }, RangeError, /^"r" expected at most/],
      [{ init: "random" }, RangeError, /^"init" expected "kaiming" \| /],
      [{ init: "pissa" }, TypeError, /^"base" expected the weight, with init "pissa", got undefined$/],
      [
        { init: "olora", base: two, r: 3 },
        RangeError,
        /^"r" expected an integer in \[1, 2\] with init "olora", got 3$/,
      ],
      [
        { init: "milora", base: two, alpha: -1 },
        RangeError,
        /^"alpha" expected a number > 0 with init "milora", got -1$/,
      ],
      [{ seed: 2 ** 32 }, RangeError, /^"seed"/],
      [{ dtype: "f16" }, RangeError, /^"dtype"/],
      [{ base: [[1, 2, 3]] }, RangeError, /^"base" expected shape \(2, 3\), got \(1, 3\)$/],
      [{ base: zeros([2, 3]), dtype: "f32" }, TypeError, /^"base" expected f32 as "dtype", got f64$/],
      [{ useDora: true }, TypeError, /^"base" expected the weight, with useDora, got undefined$/],
      [
        {
          useDora: true,
          loraBias: true,
          base: [
            [1, 2, 3],
            [4, 5, 6],
          ],
        },
        TypeError,
        /^"bias" expected none/,
      ],
      [{ alpha: Infinity }, RangeError, /^"alpha"/],
      [{ dropout: 2 }, RangeError, /^"dropout"/],
      [{ rank: 2 }, TypeError, /^"options" expected only "inFeatures"/],
      [{ r: null }, TypeError, /^"r" expected an integer, got null$/],
      [{ init: null }, TypeError, /^"init" expected .* got null$/],
      [{ init: true }, TypeError, /^"init" expected .* got true$/],
      [{ alpha: null }, TypeError, /^"alpha" expected a number, got null$/],
    ] as const) {
      const make = () => LoraAdapter.create({ ...good, ...(change as object) });
      expect(make).toThrow(kind as never);
      expect(make).toThrow(message);
    }
    const base = [
      [1, Number.NaN, 3],
      [4, 5, 6],
    ];
    for (const init of ["pissa", "milora", "olora"] as const) {
      expect(() => LoraAdapter.create({ ...good, init, base })).toThrow(NonFiniteError);
    }
    expect(capabilities().usedBytes).toBeLessThanOrEqual(usedBytes + 512);
  });
});
