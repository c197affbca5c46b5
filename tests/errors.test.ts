// Wrong arguments: one table for each public function. Those of init() stand in load.test.ts, of scope() in
// memory/scope.test.ts.

import { describe, expect, test } from "vitest";
import {
  ConvergenceError,
  empty,
  eye,
  matmul,
  NonFiniteError,
  OutOfMemoryError,
  scope,
  svd,
  svdvals,
  tensor,
  zeros,
} from "../bindings/index.js";
import { LoraAdapter, LoraLinear, trainableParameters } from "../bindings/lora.js";
import { notOptions, notTensors, type Row, refuses } from "./support/bad_input.js";

const bad = <T>(value: T) => value as never;
const most = 2 ** 30;

/** Wrong axis lengths as the argument "shape". */
const shapes = (call: (shape: never) => unknown): Row[] => [
  ["no shape", () => call(bad(undefined)), TypeError, '"shape" expected an array of axis lengths, got undefined'],
  ["a number", () => call(bad(3)), TypeError, '"shape" expected an array of axis lengths, got 3'],
  ["text", () => call(bad("3")), TypeError, '"shape" expected an array of axis lengths, got "3"'],
  [
    "a typed array",
    () => call(bad(Int32Array.of(3))),
    TypeError,
    '"shape" expected an array of axis lengths, got Int32Array',
  ],
  ["text in it", () => call(bad([2, "3"])), TypeError, '"shape[1]" expected an integer, got "3"'],
  ["a bigint in it", () => call(bad([2n])), TypeError, '"shape[0]" expected an integer, got 2n'],
  ["a hole in it", () => call(bad(new Array(1))), TypeError, '"shape[0]" expected an integer, got undefined'],
  ["NaN", () => call(bad([Number.NaN])), RangeError, `"shape[0]" expected an integer in [0, ${most}], got NaN`],
  ["Infinity", () => call(bad([Infinity])), RangeError, `"shape[0]" expected an integer in [0, ${most}], got Infinity`],
  ["negative", () => call(bad([2, -1])), RangeError, `"shape[1]" expected an integer in [0, ${most}], got -1`],
  ["a fraction", () => call(bad([1.5])), RangeError, `"shape[0]" expected an integer in [0, ${most}], got 1.5`],
  ["2^31", () => call(bad([2 ** 31])), RangeError, `"shape[0]" expected an integer in [0, ${most}], got 2147483648`],
  [
    "2^53",
    () => call(bad([2 ** 53])),
    RangeError,
    `"shape[0]" expected an integer in [0, ${most}], got 9007199254740992`,
  ],
  [
    "a product beyond 2^32",
    () => call(bad([65536, 65537])),
    RangeError,
    `"shape" expected at most ${most} elements, got (65536, 65537)`,
  ],
  ["a product beyond 2^64", () => call(bad([2 ** 30, 2 ** 30, 16])), RangeError, /^"shape" expected at most/],
];

const dtypes = (call: (dtype: never) => unknown): Row[] => [
  ["an unknown dtype", () => call(bad("float32")), RangeError, '"dtype" expected "f32" | "f64", got "float32"'],
  ["dtype null", () => call(bad(null)), TypeError, '"dtype" expected "f32" | "f64", got null'],
  ["a dtype that is an array", () => call(bad(["f32"])), TypeError, '"dtype" expected "f32" | "f64", got an array'],
  ["a dtype as number", () => call(bad(32)), TypeError, '"dtype" expected "f32" | "f64", got 32'],
];

describe("bad input", () => {
  test("tensor: bad input", () => {
    refuses([
      ...notTensors("data", (value) => tensor(value)),
      ...notOptions('"shape", "dtype"', (options) => tensor([1], options)),
      ...shapes((shape) => tensor([1, 2, 3], { shape })).slice(1),
      ...dtypes((dtype) => tensor([1], { dtype })),
      [
        "too few numbers",
        () => tensor([1, 2, 3], { shape: [2, 2] }),
        RangeError,
        '"data" expected 4 elements for shape (2, 2), got shape (3,)',
      ],
      [
        "too many numbers",
        () => tensor(Float32Array.of(1, 2), { shape: [] }),
        RangeError,
        '"data" expected 1 elements for shape (), got shape (2,)',
      ],
    ]);
  });

  test("zeros: bad input", () => {
    refuses([
      ...shapes((shape) => zeros(shape)),
      ...dtypes((dtype) => zeros([1], dtype)),
      [
        "more bytes than there are",
        () => zeros([most]),
        OutOfMemoryError,
        /^kernel memory: asked for 8589934592 bytes, \d+ free of at most/,
      ],
    ]);
  });

  test("empty: bad input", () => {
    refuses([
      ...shapes((shape) => empty(shape)),
      ...dtypes((dtype) => empty([1], dtype)),
      ["more bytes than there are", () => empty([most]), OutOfMemoryError, /asked for 8589934592 bytes/],
    ]);
  });

  test("eye: bad input", () => {
    const size = "an integer in [0, 32768]";
    refuses([
      ["nothing", () => eye(bad(undefined)), TypeError, '"n" expected an integer, got undefined'],
      ["text", () => eye(bad("3")), TypeError, '"n" expected an integer, got "3"'],
      ["a bigint", () => eye(bad(3n)), TypeError, '"n" expected an integer, got 3n'],
      ["a list", () => eye(bad([3])), TypeError, '"n" expected an integer, got an array'],
      ["NaN", () => eye(Number.NaN), RangeError, `"n" expected ${size}, got NaN`],
      ["negative", () => eye(-1), RangeError, `"n" expected ${size}, got -1`],
      ["a fraction", () => eye(1.5), RangeError, `"n" expected ${size}, got 1.5`],
      ["too large", () => eye(32769), RangeError, `"n" expected ${size}, got 32769`],
      ...dtypes((dtype) => eye(1, dtype)),
      ...dtypes((dtype) => eye(0, dtype)),
    ]);
  });

  test("Tensor: bad input to its methods", () => {
    const a = tensor([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    const flat = a.reshape([6]);
    const none = tensor(1);
    refuses(
      [
        [
          "transpose of one axis",
          () => flat.transpose(),
          RangeError,
          '"this" expected at least two axes, got shape (6,)',
        ],
        ["transpose of no axis", () => none.transpose(), RangeError, '"this" expected at least two axes, got shape ()'],
        [
          "subtensor of no axis",
          () => none.subtensor(0, 0),
          RangeError,
          '"this" expected at least one axis, got shape ()',
        ],
        ["subtensor past the end", () => a.subtensor(0, 4), RangeError, '"end" expected an integer in [0, 3], got 4'],
        [
          "subtensor before the start",
          () => a.subtensor(-1, 2),
          RangeError,
          '"start" expected an integer in [0, 2], got -1',
        ],
        ["subtensor backwards", () => a.subtensor(2, 1), RangeError, '"start" expected an integer in [0, 1], got 2'],
        [
          "subtensor from NaN",
          () => a.subtensor(Number.NaN, 1),
          RangeError,
          '"start" expected an integer in [0, 1], got NaN',
        ],
        ["subtensor to a half", () => a.subtensor(0, 1.5), RangeError, '"end" expected an integer in [0, 3], got 1.5'],
        [
          "subtensor without end",
          () => a.subtensor(0, bad(undefined)),
          TypeError,
          '"end" expected an integer, got undefined',
        ],
        ["subtensor of text", () => a.subtensor(bad("0"), 1), TypeError, '"start" expected an integer, got "0"'],
        ...shapes((shape) => a.reshape(shape)),
        ["reshape to another size", () => a.reshape([4]), RangeError, '"shape" expected 6 elements, got (4,)'],
        [
          "reshape with a guess",
          () => a.reshape([-1, 2]),
          RangeError,
          `"shape[0]" expected an integer in [0, ${most}], got -1`,
        ],
      ],
      [a],
    );
  });

  test("matmul: bad input", () => {
    const a = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const f32 = tensor(Float32Array.of(1, 2, 3), { shape: [3, 1] });
    const square = tensor([
      [1, 2],
      [3, 4],
    ]);
    const list = '"alpha", "beta", "out"';
    refuses(
      [
        ...notTensors("a", (value) => matmul(value, [[1]])),
        ...notTensors("b", (value) => matmul([[1]], value)),
        ...notOptions(list, (options) => matmul([[1]], [[1]], options)),
        ["a number on the left", () => matmul(bad(2), a), TypeError, /^"a" expected a Tensor, .* got 2$/],
        ["a number on the right", () => matmul(a, bad(2)), TypeError, /^"b" expected a Tensor, .* got 2$/],
        ["no axis on the left", () => matmul(tensor(2), a), RangeError, '"a" expected at least one axis, got shape ()'],
        [
          "no axis on the right",
          () => matmul(a, tensor(2)),
          RangeError,
          '"b" expected at least one axis, got shape ()',
        ],
        [
          "inner lengths",
          () => matmul(a, a),
          RangeError,
          '"b" expected shape (…, 3, n), got (2, 3) for "a" of shape (2, 3)',
        ],
        [
          "inner length of a column",
          () => matmul(a, [1, 2]),
          RangeError,
          '"b" expected shape (3,), got (2,) for "a" of shape (2, 3)',
        ],
        [
          "inner length of a row",
          () => matmul([1, 2, 3, 4], a),
          RangeError,
          '"b" expected shape (…, 4, n), got (2, 3) for "a" of shape (4,)',
        ],
        [
          "batch axes",
          () => matmul(zeros([2, 1, 3]), zeros([3, 3, 1])),
          RangeError,
          '"b" expected leading axes that match (2,), got (3,): they cannot be broadcast',
        ],
        ["f64 with f32", () => matmul(a, f32), TypeError, '"b" expected f64 as "a", got f32'],
        [
          "f32 with f64",
          () => matmul(f32.transpose(), [[1], [1], [1]], { out: zeros([1, 1]) }),
          TypeError,
          '"out" expected f32 as "a", got f64',
        ],
        ["alpha as text", () => matmul(a, f32, bad({ alpha: "1" })), TypeError, '"alpha" expected a number, got "1"'],
        ["beta as null", () => matmul(a, f32, bad({ beta: null })), TypeError, '"beta" expected a number, got null'],
        [
          "beta without out",
          () => matmul(square, square, { beta: 1 }),
          TypeError,
          '"out" expected a Tensor to scale by beta, got undefined',
        ],
        [
          "beta NaN without out",
          () => matmul(square, square, { beta: Number.NaN }),
          TypeError,
          /^"out" expected a Tensor/,
        ],
        [
          "out as an array",
          () => matmul(square, square, bad({ out: [[0]] })),
          TypeError,
          '"out" expected a Tensor, got an array',
        ],
        ["out null", () => matmul(square, square, bad({ out: null })), TypeError, '"out" expected a Tensor, got null'],
        [
          "out as a typed array",
          () => matmul(square, square, bad({ out: new Float64Array(4) })),
          TypeError,
          '"out" expected a Tensor, got Float64Array',
        ],
        [
          "out of another shape",
          () => matmul(square, square, { out: zeros([4]) }),
          RangeError,
          '"out" expected shape (2, 2), got (4,)',
        ],
        [
          "a result beyond all memory",
          () => matmul(zeros([2 ** 20, 1]), zeros([1, 2 ** 20])),
          OutOfMemoryError,
          /asked for 8796093022208 bytes/,
        ],
      ],
      [a, f32, square],
    );
  });

  test("matmul: out over an operand", () => {
    const both = zeros([2, 2, 2]);
    const [first, second] = [both.subtensor(0, 1).reshape([2, 2]), both.subtensor(1, 2).reshape([2, 2])];
    expect(() => matmul(first, second, { out: first })).toThrow(new RangeError('"out" overlaps "a"'));
    expect(() => matmul(second, first, { out: first.transpose() })).toThrow(new RangeError('"out" overlaps "b"'));
    expect(() => matmul(both, both, { out: both })).toThrow(RangeError);
    const one = eye(1);
    expect(() => matmul(one, [[1]], { out: one })).toThrow(new RangeError('"out" overlaps "a"'));
    const three = zeros([3, 1]);
    const last = three.subtensor(2, 3);
    expect(() => matmul(three.transpose(), [[1], [1], [1]], { out: last })).toThrow(RangeError);
    expect(matmul(three.subtensor(0, 2).transpose(), [[1], [1]], { out: last })).toBe(last);
    expect(matmul(second, second, { out: first })).toBe(first);
    // a view in the JavaScript heap is an operand of its own: it is copied first
    first.data.set([1, 2, 3, 4]);
    const view = { data: first.data, shape: [2, 2] };
    expect(matmul(view, view, { out: first }).toArray()).toEqual([
      [7, 10],
      [15, 22],
    ]);
  });

  /** Rows that svd and svdvals share. */
  const decompositions = (call: (a: never) => unknown): Row[] => [
    ...notTensors("a", call),
    ["a number", () => call(bad(2)), TypeError, /^"a" expected a Tensor, .* got 2$/],
    ["one axis", () => call(bad([1, 2])), RangeError, '"a" expected shape (…, m, n), got (2,)'],
    ["no axis", () => call(bad(tensor(1))), RangeError, '"a" expected shape (…, m, n), got ()'],
    ["NaN", () => call(bad([[1, Number.NaN]])), NonFiniteError, '"a" expected finite numbers, got NaN at [0, 1]'],
    [
      "Infinity",
      () => call(bad([[1], [-Infinity]])),
      NonFiniteError,
      '"a" expected finite numbers, got -Infinity at [1, 0]',
    ],
  ];

  test("svd: bad input", () => {
    const a = tensor([[1, 2]]);
    const known = '"vectors", "driver", "onProgress", "signal"';
    refuses(
      [
        ...decompositions((value) => svd(value)),
        ...notOptions(known, (options) => svd(a, options)),
        [
          "an unknown word",
          () => svd(a, bad({ vectors: "fat" })),
          RangeError,
          '"vectors" expected "none" | "thin" | "full", got "fat"',
        ],
        [
          "vectors as a boolean",
          () => svd(a, bad({ vectors: true })),
          TypeError,
          '"vectors" expected "none" | "thin" | "full", got true',
        ],
        [
          "NumPy's name",
          () => svd(a, bad({ full_matrices: true })),
          TypeError,
          `"options" expected only ${known}, got "full_matrices"`,
        ],
        [
          "an unknown driver",
          () => svd(a, bad({ driver: "gesdd" })),
          RangeError,
          /^"driver" expected "auto" \| .*, got "gesdd"$/,
        ],
        ["a driver as number", () => svd(a, bad({ driver: 1 })), TypeError, /^"driver" expected "auto" \| .*, got 1$/],
        [
          "a result beyond all memory",
          () => svd(zeros([2 ** 20, 0]), { vectors: "full" }),
          OutOfMemoryError,
          /asked for 8796093022208 bytes/,
        ],
      ],
      [a],
    );
  });

  test("svdvals: bad input", () => {
    refuses(decompositions((value) => svdvals(value)));
  });

  test("LoraAdapter: bad input", () => {
    const a = tensor([[1, 2, 3]]);
    const b = tensor([[1], [2]]);
    const make = (options: object) => new LoraAdapter(options as never);
    refuses(
      [
        ...notTensors("a", (value) => make({ a: value, b })),
        ...notTensors("b", (value) => make({ a, b: value })),
        ...notTensors("bias", (value) => make({ a, b, bias: value })).filter(([what]) => what !== "undefined"),
        ...notOptions(
          '"a", "b", "bias", "alpha", "useRslora", "dropout", "magnitude"',
          (options) => new LoraAdapter(options),
        ),
        ["nothing", () => make(bad(undefined)), TypeError, /^"a" expected a Tensor, .* got undefined$/],
        [
          "PEFT's name",
          () => make({ a, b, lora_alpha: 4 }),
          TypeError,
          /^"options" expected only .*, got "lora_alpha"$/,
        ],
        ["a of one axis", () => make({ a: [1, 2], b }), RangeError, '"a" expected two axes, got shape (2,)'],
        ["a of three axes", () => make({ a: [[[1]]], b }), RangeError, '"a" expected two axes, got shape (1, 1, 1)'],
        ["b of one axis", () => make({ a, b: [1, 2] }), RangeError, '"b" expected two axes, got shape (2,)'],
        [
          "rank 0",
          () => make({ a: zeros([0, 3]), b: zeros([2, 0]) }),
          RangeError,
          '"a" expected shape (r, in) with r >= 1, got (0, 3)',
        ],
        ["ranks that differ", () => make({ a, b: [[1, 2]] }), RangeError, '"b" expected shape (out, 1), got (1, 2)'],
        ["b transposed", () => make({ a, b: b.transpose() }), RangeError, '"b" expected shape (out, 1), got (1, 2)'],
        [
          "a bias of another length",
          () => make({ a, b, bias: [1, 2, 3] }),
          RangeError,
          '"bias" expected shape (2,), got (3,)',
        ],
        [
          "a bias of two axes",
          () => make({ a, b, bias: [[1, 2]] }),
          RangeError,
          '"bias" expected shape (2,), got (1, 2)',
        ],
        ["f64 with f32", () => make({ a, b: zeros([2, 1], "f32") }), TypeError, '"b" expected f64 as "a", got f32'],
        [
          "a bias in f32",
          () => make({ a, b, bias: Float32Array.of(1, 2) }),
          TypeError,
          '"bias" expected f64 as "a", got f32',
        ],
        ["alpha as text", () => make({ a, b, alpha: "16" }), TypeError, '"alpha" expected a number, got "16"'],
        ["alpha null", () => make({ a, b, alpha: null }), TypeError, '"alpha" expected a number, got null'],
        ["alpha NaN", () => make({ a, b, alpha: Number.NaN }), RangeError, '"alpha" expected a finite number, got NaN'],
        [
          "alpha Infinity",
          () => make({ a, b, alpha: Infinity }),
          RangeError,
          '"alpha" expected a finite number, got Infinity',
        ],
        ["useRslora as number", () => make({ a, b, useRslora: 1 }), TypeError, '"useRslora" expected a boolean, got 1'],
        ["dropout as text", () => make({ a, b, dropout: "0" }), TypeError, '"dropout" expected a number, got "0"'],
        ["dropout NaN", () => make({ a, b, dropout: Number.NaN }), RangeError, /^"dropout" expected a finite number/],
        [
          "dropout of 150 %",
          () => make({ a, b, dropout: 1.5 }),
          RangeError,
          '"dropout" expected a number in [0, 1], got 1.5',
        ],
        [
          "a magnitude of another length",
          () => make({ a, b, magnitude: [1] }),
          RangeError,
          '"magnitude" expected shape (2,), got (1,)',
        ],
        [
          "a magnitude and a bias",
          () => make({ a, b, magnitude: [1, 2], bias: [1, 2] }),
          TypeError,
          '"bias" expected none beside a magnitude (DoRA), got shape (2,)',
        ],
      ],
      [a, b],
    );
  });

  test("LoraLinear: bad input to the constructor", () => {
    const weight = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const make = (options: object) => new LoraLinear(options as never);
    refuses(
      [
        ...notTensors("weight", (value) => make({ weight: value })),
        ...notTensors("bias", (value) => make({ weight, bias: value })).filter(([what]) => what !== "undefined"),
        ...notOptions('"weight", "bias", "fanInFanOut", "trainable", "packed"', (options) => new LoraLinear(options)),
        [
          "a weight of one axis",
          () => make({ weight: [1, 2] }),
          RangeError,
          '"weight" expected two axes, got shape (2,)',
        ],
        [
          "a weight of three axes",
          () => make({ weight: zeros([1, 2, 3]) }),
          RangeError,
          '"weight" expected two axes, got shape (1, 2, 3)',
        ],
        [
          "a bias of the other length",
          () => make({ weight, bias: [1, 2, 3] }),
          RangeError,
          '"bias" expected shape (2,), got (3,)',
        ],
        [
          "a bias of (in, out)",
          () => make({ weight, fanInFanOut: true, bias: [1, 2] }),
          RangeError,
          '"bias" expected shape (3,), got (2,)',
        ],
        [
          "a bias in f32",
          () => make({ weight, bias: Float32Array.of(1, 2) }),
          TypeError,
          '"bias" expected f64 as "weight", got f32',
        ],
        [
          "fanInFanOut as number",
          () => make({ weight, fanInFanOut: 1 }),
          TypeError,
          '"fanInFanOut" expected a boolean, got 1',
        ],
      ],
      [weight],
    );
  });

  test("LoraLinear: bad input to its methods", () => {
    const weight = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const layer = new LoraLinear({ weight });
    const good = new LoraAdapter({ a: [[1, 2, 3]], b: [[1], [2]] });
    const other = new LoraAdapter({ a: [[1, 2, 3]], b: [[1], [2]], bias: [1, 2] });
    const wide = new LoraAdapter({ a: [[1, 2, 3, 4]], b: [[1], [2]] });
    const tall = new LoraAdapter({ a: [[1, 2, 3]], b: [[1], [2], [3]] });
    const single = new LoraAdapter({ a: zeros([1, 3], "f32"), b: zeros([2, 1], "f32") });
    layer.addAdapter("good", good);
    layer.addAdapter("other", other);
    const before = scope(() => layer.forward([1, 2, 3]).toArray());
    const names = '"good", "other"';
    const broken = new LoraAdapter({ a: [[Number.NaN, 0, 0]], b: [[1], [2]] });
    refuses(
      [
        ...notTensors("x", (value) => layer.forward(value)),
        ["x as number", () => layer.forward(bad(1)), TypeError, /^"x" expected a Tensor, .* got 1$/],
        ["x without axes", () => layer.forward(tensor(1)), RangeError, '"x" expected shape (…, 3), got ()'],
        ["x of another width", () => layer.forward([[1, 2]]), RangeError, '"x" expected shape (…, 3), got (1, 2)'],
        ["x transposed", () => layer.forward(weight.transpose()), RangeError, '"x" expected shape (…, 3), got (3, 2)'],
        ["x in f32", () => layer.forward(zeros([1, 3], "f32")), TypeError, '"x" expected f64 as "weight", got f32'],
        ["a name that is none", () => layer.addAdapter(bad(1), good), TypeError, '"name" expected a string, got 1'],
        [
          "a name that is taken",
          () => layer.addAdapter("good", good),
          RangeError,
          '"name" expected a new name, got "good"',
        ],
        [
          "no adapter",
          () => layer.addAdapter("new", bad(undefined)),
          TypeError,
          '"adapter" expected a LoraAdapter or a config, got undefined',
        ],
        [
          "a config with an unknown field",
          () => layer.addAdapter("new", bad({ rank: 4 })),
          TypeError,
          /^"config" expected only "r", .* got "rank"$/,
        ],
        [
          "a config without rank",
          () => layer.addAdapter("new", { r: 0 }),
          RangeError,
          /^"r" expected an integer >= 1|in/,
        ],
        ...notOptions('"seed"', (options) => layer.addAdapter("new", good, options)),
        ...notOptions('"adapters", "train", "seed"', (options) => layer.forward([1, 2, 3], options)),
        [
          "adapters as text",
          () => layer.forward([1, 2, 3], { adapters: bad("good") }),
          TypeError,
          '"adapters" expected an array of names, got "good"',
        ],
        [
          "more adapters than rows",
          () => layer.forward([1, 2, 3], { adapters: ["good", null] }),
          RangeError,
          '"adapters" expected 1 names, one a row of "x", got 2',
        ],
        [
          "an unknown adapter",
          () => layer.forward([1, 2, 3], { adapters: ["best"] }),
          RangeError,
          '"adapters[0]" expected one of "good", "other", got "best"',
        ],
        [
          "an undefined adapter",
          () => layer.forward([1, 2, 3], { adapters: [bad(undefined)] }),
          TypeError,
          '"adapters[0]" expected a string, got undefined',
        ],
        ["a seed below 0", () => layer.forward([1, 2, 3], { train: true, seed: -1 }), RangeError, /^"seed" expected/],
        [
          "a factor NaN",
          () => layer.setAdapters({ good: Number.NaN }),
          RangeError,
          /^"adapters.good" expected a finite/,
        ],
        [
          "a list of names",
          () => layer.setAdapters(bad(["good"])),
          TypeError,
          '"name" expected a string, got an array',
        ],
        [
          "an adapter of another width",
          () => layer.addAdapter("new", wide),
          RangeError,
          '"adapter" expected a: (r, 3) and b: (2, r), got (1, 4) and (2, 1)',
        ],
        [
          "an adapter of another height",
          () => layer.addAdapter("new", tall),
          RangeError,
          '"adapter" expected a: (r, 3) and b: (2, r), got (1, 3) and (3, 1)',
        ],
        [
          "an adapter in f32",
          () => layer.addAdapter("new", bad(single)),
          TypeError,
          '"adapter" expected f64 as the weight, got f32',
        ],
        ...["nobody", "toString", "__proto__", "constructor", ""].flatMap((name): Row[] => {
          const message = `"name" expected one of ${names}, got ${JSON.stringify(name)}`;
          return [
            [`removeAdapter ${name}`, () => layer.removeAdapter(name), RangeError, message],
            [`setAdapters ${name}`, () => layer.setAdapters(name), RangeError, message],
            [`adapter ${name}`, () => layer.adapter(name), RangeError, message],
            [`merge ${name}`, () => layer.merge(name), RangeError, message],
          ];
        }),
        ["setAdapters of a number", () => layer.setAdapters(bad(1)), TypeError, '"name" expected a string, got 1'],
        [
          "removeAdapter of nothing",
          () => layer.removeAdapter(bad(undefined)),
          TypeError,
          '"name" expected a string, got undefined',
        ],
        [
          "merge of options",
          () => layer.merge(bad({ safe: false })),
          TypeError,
          '"name" expected a string, got Object',
        ],
        ...notOptions('"safe", "keepBase"', (options) => layer.merge("good", options)),
        ["safe as number", () => layer.merge("good", bad({ safe: 0 })), TypeError, '"safe" expected a boolean, got 0'],
        [
          "keepBase as text",
          () => layer.merge("good", bad({ keepBase: "no" })),
          TypeError,
          '"keepBase" expected a boolean, got "no"',
        ],
        [
          "a bias without a place",
          () => layer.merge("other"),
          RangeError,
          /^"name" expected an adapter without bias.*, got "other"$/,
        ],
        [
          "enabled as number",
          () => {
            layer.enabled = bad(1);
          },
          TypeError,
          '"enabled" expected a boolean, got 1',
        ],
      ],
      [weight],
    );
    expect([layer.adapters, layer.active, layer.enabled, layer.merged]).toEqual([
      ["good", "other"],
      { good: 1 },
      true,
      [],
    ]);
    expect(scope(() => layer.forward([1, 2, 3]).toArray())).toEqual(before);
    layer.addAdapter("broken", broken);
    const merged = (code: string) => expect.objectContaining({ code });
    expect(() => layer.merge("broken")).toThrow(merged("non_finite_merge"));
    expect(() => layer.backward([1, 2])).toThrow(merged("no_forward"));
    layer.merge("good");
    expect(() => layer.merge("broken")).toThrow(merged("non_finite_merge"));
    expect(() => layer.merge("broken", { keepBase: false })).toThrow(merged("merged"));
    expect(() => layer.forward([1, 2, 3], { train: true })).toThrow(merged("merged"));
    expect(() => layer.forward([1, 2, 3], { adapters: ["good"] })).toThrow(merged("merged"));
    expect(layer.merged).toEqual(["good"]);
    expect(() => layer.setAdapters("other")).toThrow(merged("merged"));
    expect(() => layer.removeAdapter("good")).toThrow(merged("merged"));
    const bare = new LoraLinear({ weight });
    expect(() => bare.merge()).toThrow(new RangeError('"name" expected one of no adapters, got no active adapter'));
    expect(() => bare.merge("x")).toThrow(new RangeError('"name" expected one of no adapters, got "x"'));
    for (const owner of [layer, bare, good, other, wide, tall, single, broken]) owner.dispose();
    for (const use of [
      () => layer.forward([1, 2, 3]),
      () => layer.addAdapter("a", tall),
      () => layer.merge(),
      () => good.delta(),
    ]) {
      expect(use).toThrow(merged("disposed"));
    }
  });

  test("trainableParameters: bad input", () => {
    const shapes = { w: [2, 3] };
    const known = [
      "r",
      "loraAlpha",
      "loraDropout",
      "bias",
      "targetModules",
      "excludeModules",
      "taskType",
      "useRslora",
      "useDora",
      "loraBias",
      "fanInFanOut",
      "initLoraWeights",
      "rankPattern",
      "alphaPattern",
      "layersToTransform",
      "layersPattern",
      "modulesToSave",
    ]
      .map((field) => `"${field}"`)
      .join(", ");
    refuses([
      [
        "nothing",
        () => trainableParameters(bad(undefined)),
        TypeError,
        '"layers" expected layers or shapes, got undefined',
      ],
      ["null", () => trainableParameters(bad(null)), TypeError, '"layers" expected layers or shapes, got null'],
      ["text", () => trainableParameters(bad("q_proj")), TypeError, '"layers" expected layers or shapes, got "q_proj"'],
      [
        "a number as shape",
        () => trainableParameters(bad({ w: 5 })),
        TypeError,
        '"layers["w"]" expected an array of axis lengths, got 5',
      ],
      [
        "an adapter as layer",
        () => trainableParameters(bad([{}])),
        TypeError,
        '"layers["0"]" expected an array of axis lengths, got Object',
      ],
      [
        "a negative length",
        () => trainableParameters({ w: [2, -3] }),
        RangeError,
        `"layers["w"][1]" expected an integer in [0, ${most}], got -3`,
      ],
      ...notOptions(known, (config) => trainableParameters(shapes, config), "config"),
      [
        "rank 0",
        () => trainableParameters(shapes, { r: 0 }),
        RangeError,
        `"r" expected an integer in [1, ${most}], got 0`,
      ],
      [
        "a negative rank",
        () => trainableParameters(shapes, { r: -4 }),
        RangeError,
        `"r" expected an integer in [1, ${most}], got -4`,
      ],
      [
        "half a rank",
        () => trainableParameters(shapes, { r: 0.5 }),
        RangeError,
        `"r" expected an integer in [1, ${most}], got 0.5`,
      ],
      [
        "a rank as text",
        () => trainableParameters(shapes, bad({ r: "4" })),
        TypeError,
        '"r" expected an integer, got "4"',
      ],
      [
        "targets as number",
        () => trainableParameters(shapes, bad({ targetModules: 5 })),
        TypeError,
        '"targetModules" expected a string or an array of names, got 5',
      ],
      [
        "targets of numbers",
        () => trainableParameters(shapes, bad({ targetModules: [1] })),
        TypeError,
        '"targetModules" expected an array of names, got an array',
      ],
    ]);
  });
});

describe("error classes", () => {
  test("NonFiniteError: names the argument and the first index, also of views and batches", () => {
    const caught = (f: () => unknown) => {
      try {
        f();
      } catch (error) {
        return error as NonFiniteError;
      }
      throw new Error("nothing was thrown");
    };
    const a = zeros([2, 3, 4]);
    a.data.set([Infinity, Number.NaN], 17);
    const fields = { name: "NonFiniteError", code: "non_finite", argument: "a" };
    expect(caught(() => svd(a))).toMatchObject({
      ...fields,
      index: [1, 1, 1],
      message: '"a" expected finite numbers, got Infinity at [1, 1, 1]',
    });
    expect(caught(() => svdvals(a.transpose()))).toMatchObject({ ...fields, index: [1, 1, 1] });
    a.data[17] = 0;
    expect(caught(() => svd(a))).toMatchObject({ ...fields, index: [1, 1, 2] });
    expect(caught(() => svd(a.transpose()))).toMatchObject({ ...fields, index: [1, 2, 1] });
    expect(caught(() => svd(a.subtensor(1, 2)))).toMatchObject({ ...fields, index: [0, 1, 2] });
    expect(caught(() => svd({ data: Float32Array.of(1, Number.NaN), shape: [2, 1] }))).toMatchObject({
      ...fields,
      index: [1, 0],
    });
    expect(Object.is(a.data[18], Number.NaN)).toBe(true);
    expect(caught(() => svd(a))).toBeInstanceOf(Error);
  });

  test("NonFiniteError: products let NaN and Infinity pass", () => {
    const a = tensor([
      [Number.NaN, 1],
      [Infinity, 1],
    ]);
    expect(matmul(a, [1, 1]).toArray()).toEqual([Number.NaN, Infinity]);
    expect(new LoraLinear({ weight: a }).forward([[1, 1]]).toArray()).toEqual([[Number.NaN, Infinity]]);
    expect(new LoraAdapter({ a: [[Infinity]], b: [[0]] }).delta().toArray()).toEqual([[Number.NaN]]);
  });

  test("svd: extreme but finite entries are accepted", () => {
    for (const value of [1e308, -1.7e308, 5e-324, 0, -0]) {
      const { s } = svd([
        [value, 0],
        [0, value],
      ]);
      expect([...s.data].every((sigma) => sigma === Math.abs(value))).toBe(true);
    }
  });

  test("ConvergenceError, OutOfMemoryError: names, codes, fields", () => {
    expect(new ConvergenceError("svd", 2)).toMatchObject({
      name: "ConvergenceError",
      code: "no_convergence",
      failed: 2,
      message: "svd: 2 values did not converge",
    });
    expect(new ConvergenceError("svd", 1).message).toBe("svd: 1 value did not converge");
    expect(new OutOfMemoryError(3, 2, 1)).toMatchObject({
      name: "OutOfMemoryError",
      code: "out_of_memory",
      asked: 3,
      free: 2,
      maximum: 1,
    });
  });
});
