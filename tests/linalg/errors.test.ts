// Wrong arguments of everything that stands on the SVD: class and words of the error; inputs and memory as they were.

import { describe, expect, test } from "vitest";
import {
  cond,
  kabsch,
  lowRank,
  lstsq,
  matrixRank,
  NonFiniteError,
  norm,
  nullSpace,
  orth,
  pinv,
  polar,
  procrustes,
  qr,
  scope,
  tensor,
} from "../../bindings/index.js";
import { notOptions, notTensors, type Row, refuses } from "../support/bad_input.js";

const SQUARE = [
  [2, 1],
  [1, 3],
];
const NAN = [
  [1, 2],
  [3, Number.NaN],
];

/** Each function with its other arguments in place. */
const CALLS: readonly [name: string, call: (a: never, options?: never) => unknown, options: string][] = [
  ["qr", (a, options) => qr(a, options), '"mode", "onProgress", "signal"'],
  ["matrixRank", (a, options) => matrixRank(a, options), '"atol", "rtol", "hermitian", "onProgress", "signal"'],
  ["pinv", (a, options) => pinv(a, options), '"atol", "rtol", "onProgress", "signal"'],
  ["lstsq", (a, options) => lstsq(a, [1, 2], options), '"rcond", "onProgress", "signal"'],
  ["orth", (a, options) => orth(a, options), '"rcond", "onProgress", "signal"'],
  ["nullSpace", (a, options) => nullSpace(a, options), '"rcond", "onProgress", "signal"'],
  ["polar", (a, options) => polar(a, options), '"side", "onProgress", "signal"'],
  ["lowRank", (a) => lowRank(a, { rank: 1 }), ""],
  ["cond", (a) => cond(a), ""],
  ["norm", (a) => norm(a), ""],
  ["procrustes", (a) => procrustes(a, SQUARE), ""],
];

describe.each(CALLS)("%s()", (name, call, options) => {
  test("refuses what is no tensor", () => {
    refuses(notTensors("a", call));
  });

  test("refuses what has no two axes", () => {
    const shape = ["orth", "nullSpace"].includes(name) ? "(m, n)" : "(…, m, n)";
    refuses([
      ["one axis", () => call([1, 2] as never), RangeError, `"a" expected shape ${shape}, got (2,)`],
      ["no axis", () => call(tensor(1) as never), RangeError, `"a" expected shape ${shape}, got ()`],
    ]);
  });

  test("names NaN and Infinity by place, but for norms of entries", () => {
    if (name === "norm") return;
    const infinite = [
      [1, Infinity],
      [3, 4],
    ];
    const row = (value: unknown, text: string): Row => [
      text,
      () => call(value as never),
      NonFiniteError,
      `"a" expected finite numbers, got ${text}`,
    ];
    refuses(
      [row(NAN, "NaN at [1, 1]"), row(infinite, "Infinity at [0, 1]"), row([infinite], "Infinity at [0, 0, 1]")].slice(
        0,
        ["orth", "nullSpace", "procrustes"].includes(name) ? 2 : 3,
      ),
    );
  });

  test.skipIf(options === "")("refuses what is no options object", () => {
    refuses(notOptions(options, (value) => call(SQUARE as never, value)));
  });

  test("leaves its argument as it was", () => {
    scope(() => {
      const a = tensor(SQUARE);
      call(a as never);
      expect(a.toArray()).toEqual(SQUARE);
    });
  });
});

test("tolerances must be finite numbers that are not negative", () => {
  const rows: Row[] = [];
  const calls: [string, (value: never) => unknown][] = [
    ["rcond", (rcond) => lstsq(SQUARE, [1, 2], { rcond })],
    ["rcond", (rcond) => orth(SQUARE, { rcond })],
    ["rcond", (rcond) => nullSpace(SQUARE, { rcond })],
    ["atol", (atol) => pinv(SQUARE, { atol })],
    ["rtol", (rtol) => pinv(SQUARE, { rtol })],
    ["atol", (atol) => matrixRank(SQUARE, { atol })],
    ["rtol", (rtol) => matrixRank(SQUARE, { rtol })],
  ];
  for (const [name, call] of calls) {
    rows.push([
      `${name} NaN`,
      () => call(Number.NaN as never),
      RangeError,
      `"${name}" expected a finite number, got NaN`,
    ]);
    rows.push([`${name} -1`, () => call(-1 as never), RangeError, `"${name}" expected a number >= 0, got -1`]);
    rows.push([`${name} text`, () => call("1e-6" as never), TypeError, `"${name}" expected a number, got "1e-6"`]);
    rows.push([`${name} null`, () => call(null as never), TypeError, `"${name}" expected a number, got null`]);
  }
  refuses(rows);
});

test("lowRank() takes one rule, and one within its limits", () => {
  const call = (rule: unknown) => () => lowRank(SQUARE, rule as { rank: number });
  const one = "{ rank }, { energy } or { tolerance }";
  refuses([
    ["nothing", call(undefined), TypeError, `"options" expected ${one}, got undefined`],
    ["null", call(null), TypeError, `"options" expected ${one}, got null`],
    ["a number", call(2), TypeError, `"options" expected ${one}, got 2`],
    ["an empty object", call({}), TypeError, `"options" expected ${one}, got none`],
    ["two rules", call({ rank: 1, energy: 0.5 }), TypeError, `"options" expected ${one}, got rank, energy`],
    [
      "an unknown rule",
      call({ ranks: 1 }),
      TypeError,
      '"options" expected only "rank", "energy", "tolerance", got "ranks"',
    ],
    ["rank 0", call({ rank: 0 }), RangeError, '"rank" expected an integer in [1, 2], got 0'],
    ["rank 3", call({ rank: 3 }), RangeError, '"rank" expected an integer in [1, 2], got 3'],
    ["rank 1.5", call({ rank: 1.5 }), RangeError, '"rank" expected an integer in [1, 2], got 1.5'],
    ["rank as text", call({ rank: "1" }), TypeError, '"rank" expected an integer, got "1"'],
    ["energy 0", call({ energy: 0 }), RangeError, '"energy" expected a number in (0, 1], got 0'],
    ["energy 1.1", call({ energy: 1.1 }), RangeError, '"energy" expected a number in (0, 1], got 1.1'],
    ["energy NaN", call({ energy: Number.NaN }), RangeError, '"energy" expected a finite number, got NaN'],
    ["tolerance -1", call({ tolerance: -1 }), RangeError, '"tolerance" expected a number in [0, 1], got -1'],
    ["tolerance 2", call({ tolerance: 2 }), RangeError, '"tolerance" expected a number in [0, 1], got 2'],
  ]);
});

test("lstsq() wants b to have a's rows, dtype and batch", () => {
  const a = tensor([
    [1, 2],
    [3, 4],
    [5, 6],
  ]);
  const batch = { data: new Float64Array(24), shape: [4, 3, 2] };
  refuses(
    [
      ["too few", () => lstsq(a, [1, 2]), RangeError, '"b" expected shape (3,) or (…, 3, k), got (2,)'],
      ["wrong rows", () => lstsq(a, SQUARE), RangeError, '"b" expected shape (3,) or (…, 3, k), got (2, 2)'],
      ["no axis", () => lstsq(a, tensor(1)), RangeError, '"b" expected shape (3,) or (…, 3, k), got ()'],
      [
        "another batch",
        () => lstsq(batch, { data: new Float64Array(6), shape: [2, 3, 1] }),
        RangeError,
        '"b" expected leading axes (4,) or none, got (2, 3, 1)',
      ],
      ["another dtype", () => lstsq(a, Float32Array.of(1, 2, 3)), TypeError, '"b" expected f64 as "a", got f32'],
      [
        "NaN in a vector",
        () => lstsq(a, [1, Number.NaN, 3]),
        NonFiniteError,
        '"b" expected finite numbers, got NaN at [1]',
      ],
      [
        "NaN in a matrix",
        () => lstsq(a, [[1], [2], [-Infinity]]),
        NonFiniteError,
        '"b" expected finite numbers, got -Infinity at [2, 0]',
      ],
      ...notTensors("b", (b) => lstsq(a, b)),
    ],
    [a],
  );
});

test("modes, sides, orders and shapes", () => {
  const wide = [[1, 2, 3]];
  refuses([
    [
      "mode",
      () => qr(SQUARE, { mode: "complete" as "full" }),
      RangeError,
      '"mode" expected "r" | "thin" | "full", got "complete"',
    ],
    [
      "mode as number",
      () => qr(SQUARE, { mode: 1 as never }),
      TypeError,
      '"mode" expected "r" | "thin" | "full", got 1',
    ],
    ["side", () => polar(SQUARE, { side: "up" as "left" }), RangeError, '"side" expected "right" | "left", got "up"'],
    [
      "hermitian",
      () => matrixRank(SQUARE, { hermitian: 1 as never }),
      TypeError,
      '"hermitian" expected a boolean, got 1',
    ],
    [
      "hermitian of a wide matrix",
      () => matrixRank(wide, { hermitian: true }),
      RangeError,
      '"a" expected shape (…, n, n), got (1, 3)',
    ],
    [
      "ord",
      () => norm(SQUARE, 3 as never),
      RangeError,
      '"ord" expected "fro" | "nuc" | 2 | -2 | 1 | -1 | Infinity | -Infinity, got 3',
    ],
    ["ord as object", () => norm(SQUARE, {} as never), TypeError, /^"ord" expected "fro" .*, got Object$/],
    ["ord 'max'", () => norm(SQUARE, "max" as never), RangeError, /^"ord" expected "fro" .*, got "max"$/],
    ["p", () => cond(SQUARE, -1 as never), RangeError, '"p" expected 2 | -2 | "fro" | 1 | Infinity, got -1'],
    ["cond of a wide matrix", () => cond(wide, 1), RangeError, '"a" expected shape (…, n, n) for p = 1, got (1, 3)'],
    ["orth of a batch", () => orth([SQUARE]), RangeError, '"a" expected shape (m, n), got (1, 2, 2)'],
    ["nullSpace of a batch", () => nullSpace([SQUARE]), RangeError, '"a" expected shape (m, n), got (1, 2, 2)'],
    ["procrustes", () => procrustes(SQUARE, wide), RangeError, '"b" expected shape (2, 2), got (1, 3)'],
    ["kabsch", () => kabsch(SQUARE, [SQUARE]), RangeError, '"q" expected shape (2, 2), got (1, 2, 2)'],
    ["kabsch with NaN", () => kabsch(SQUARE, NAN), NonFiniteError, '"q" expected finite numbers, got NaN at [1, 1]'],
    [
      "kabsch of two dtypes",
      () => kabsch(tensor(SQUARE, { dtype: "f32" }), tensor(SQUARE)),
      TypeError,
      '"q" expected f32 as "p", got f64',
    ],
    ...notTensors("p", (p) => kabsch(p, SQUARE)),
  ]);
});
