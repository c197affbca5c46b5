// Tables of wrong arguments: each row is a call, the class of its error and its message.

import { expect } from "vitest";
import { capabilities, scope, type Tensor } from "../../bindings/index.js";
import { kernel } from "../../bindings/load.js";

export type Row = [what: string, call: () => unknown, kind: new (...args: never[]) => Error, message: string | RegExp];

/** The words of every argument error: argument, expected, got. */
const WORDING = /^"[^ ]+" expected .+, got .+$/s;

/** Runs every row: the error must be the row's, the wording ours, `inputs` and memory as they were. */
export function refuses(rows: readonly Row[], inputs: readonly Tensor[] = []): void {
  const contents = inputs.map((input) => input.toArray());
  const { usedBytes } = capabilities();
  const mark = kernel().scratch.mark();
  for (const [what, call, kind, message] of rows) {
    let error: unknown;
    try {
      scope(call);
    } catch (thrown) {
      error = thrown;
    }
    expect(error, what).toBeInstanceOf(kind);
    const text = (error as Error).message;
    if (typeof message === "string") expect(text, what).toBe(message);
    else expect(text, what).toMatch(message);
    if (kind === TypeError || kind === RangeError) expect(text, what).toMatch(WORDING);
    expect(capabilities().usedBytes, what).toBe(usedBytes);
    expect(kernel().scratch.mark(), what).toBe(mark);
  }
  expect(inputs.map((input) => input.toArray())).toEqual(contents);
  kernel().allocator.checkGuards();
}

function detached(): Float64Array {
  const data = new Float64Array(12);
  structuredClone(data, { transfer: [data.buffer] });
  return data;
}

/** A fixed view on a buffer that was made shorter. */
function outOfBounds(): Float64Array {
  const Resizable = ArrayBuffer as unknown as new (
    length: number,
    options: object,
  ) => ArrayBuffer & { resize(n: number): void };
  const buffer = new Resizable(32, { maxByteLength: 64 });
  const data = new Float64Array(buffer, 0, 4);
  buffer.resize(8);
  return data;
}

/** What no function takes as a tensor: `call` passes a value as the argument `name`. */
export function notTensors(name: string, call: (value: never) => unknown): Row[] {
  const six = new Float64Array(6);
  const circle: unknown[] = [];
  circle.push(circle);
  const anything = "a Tensor, Float32Array, Float64Array, array or matrix";
  const typed = "Float32Array or Float64Array";
  const row = (
    what: string,
    value: unknown,
    kind: typeof TypeError | typeof RangeError,
    wanted: string,
    got: string,
    part = "",
  ): Row => [what, () => call(value as never), kind, `"${name}${part}" expected ${wanted}, got ${got}`];
  const size = (length: number) => `an integer in [0, ${2 ** 30}], got ${length}`;
  const shape = (value: unknown, kind: typeof TypeError | typeof RangeError, text: string, part = ".shape[0]"): Row => [
    `shape ${String(value)}`,
    () => call({ data: six, shape: [value, 3] } as never),
    kind,
    `"${name}${part}" expected ${text}`,
  ];
  return [
    row("null", null, TypeError, anything, "null"),
    row("undefined", undefined, TypeError, anything, "undefined"),
    row("text", "1, 2", TypeError, anything, '"1, 2"'),
    row("a boolean", true, TypeError, anything, "true"),
    row("a bigint", 3n, TypeError, anything, "3n"),
    row("a symbol", Symbol("s"), TypeError, anything, "Symbol(s)"),
    row("a function", () => [1], TypeError, anything, "a function"),
    row("an object", {}, TypeError, anything, "Object"),
    row("an object without a class", Object.create(null), TypeError, anything, "an object"),
    row("a forged length", { length: 2, 0: 1, 1: 2 }, TypeError, anything, "Object"),
    row("a Map", new Map(), TypeError, anything, "Map"),
    row("an ArrayBuffer", new ArrayBuffer(8), TypeError, anything, "ArrayBuffer"),
    row("a proxy", new Proxy(six, {}), TypeError, anything, "Float64Array"),
    row("a DataView", new DataView(new ArrayBuffer(8)), TypeError, typed, "DataView"),
    row("an Int32Array", Int32Array.of(1), TypeError, typed, "Int32Array"),
    row("a Uint8Array", Uint8Array.of(1), TypeError, typed, "Uint8Array"),
    row("a BigInt64Array", BigInt64Array.of(1n), TypeError, typed, "BigInt64Array"),
    row("a detached array", detached(), TypeError, "a Float64Array", "one whose buffer is detached or too short"),
    row(
      "an array out of bounds",
      outOfBounds(),
      TypeError,
      "a Float64Array",
      "one whose buffer is detached or too short",
    ),
    row("text in an array", [1, "2"], TypeError, "a number", '"2"', "[1]"),
    row("null in an array", [[1], [null]], TypeError, "a number", "null", "[1][0]"),
    row("a bigint in an array", [[1n]], TypeError, "a number", "1n", "[0][0]"),
    row("a hole in an array", new Array(2), TypeError, "a number", "undefined", "[0]"),
    row("typed arrays in an array", [six, six], TypeError, "a number", "Float64Array", "[0]"),
    row("ragged rows", [[1, 2], [3]], RangeError, "an array of length 2, as its neighbours", "length 1", "[1]"),
    row(
      "ragged rows of a batch",
      [[[1]], [[1, 2]]],
      RangeError,
      "an array of length 1, as its neighbours",
      "length 2",
      "[1][0]",
    ),
    row("a number among rows", [[1], 2], RangeError, "an array of length 1, as its neighbours", "2", "[1]"),
    row("a row among numbers", [1, [2]], RangeError, "a number", "an array", "[1]"),
    row("text among rows", [[1], "2"], TypeError, "an array of length 1, as its neighbours", '"2"', "[1]"),
    row("a circle", circle, RangeError, "at most 64 axes", "more"),
    row(
      "too many elements",
      new Array(2 ** 20).fill(new Array(2 ** 11)),
      RangeError,
      `at most ${2 ** 30} elements`,
      "(1048576, 2048)",
    ),
    row("data of integers", { data: Int32Array.of(1), shape: [1] }, TypeError, typed, "Int32Array"),
    row("data of plain numbers", { data: [1], shape: [1] }, TypeError, typed, "an array"),
    row("no data", { data: undefined, shape: [1] }, TypeError, typed, "undefined"),
    row(
      "detached data",
      { data: detached(), shape: [3, 4] },
      TypeError,
      "a Float64Array",
      "one whose buffer is detached or too short",
    ),
    row("too little data", { data: six, shape: [2, 4] }, RangeError, "8 values for shape (2, 4)", "6"),
    row("too much data", { data: six, shape: [5] }, RangeError, "5 values for shape (5,)", "6"),
    row("a shape as text", { data: six, shape: "6" }, TypeError, "an array of axis lengths", '"6"', ".shape"),
    shape(Number.NaN, RangeError, size(Number.NaN)),
    shape(Infinity, RangeError, size(Infinity)),
    shape(-1, RangeError, size(-1)),
    shape(1.5, RangeError, size(1.5)),
    shape(2 ** 31, RangeError, size(2 ** 31)),
    shape(2 ** 53, RangeError, size(2 ** 53)),
    shape(2 ** 30, RangeError, `at most ${2 ** 30} elements, got (${2 ** 30}, 3)`, ".shape"),
    shape("2", TypeError, 'an integer, got "2"'),
    shape(2n, TypeError, "an integer, got 2n"),
    row(
      "strides as text",
      { data: six, shape: [6], strides: "1" },
      TypeError,
      "an array of integers",
      '"1"',
      ".strides",
    ),
    row(
      "too few strides",
      { data: six, shape: [2, 3], strides: [3] },
      RangeError,
      "2 integers, one an axis",
      "(3,)",
      ".strides",
    ),
    row(
      "half a stride",
      { data: six, shape: [2], strides: [0.5] },
      RangeError,
      `an integer in [${-(2 ** 30)}, ${2 ** 30}]`,
      "0.5",
      ".strides[0]",
    ),
    row("a stride as text", { data: six, shape: [2], strides: ["1"] }, TypeError, "an integer", '"1"', ".strides[0]"),
    row(
      "strides past the end",
      { data: six, shape: [2, 3], strides: [4, 1] },
      RangeError,
      "strides and offset inside 6 values",
      "elements 0 to 6",
    ),
    row(
      "strides before the start",
      { data: six, shape: [3], strides: [-2], offset: 3 },
      RangeError,
      "strides and offset inside 6 values",
      "elements -1 to 3",
    ),
    row(
      "an offset past the end",
      { data: six, shape: [3], offset: 4 },
      RangeError,
      "strides and offset inside 6 values",
      "elements 4 to 6",
    ),
    row("a negative offset", { data: six, shape: [3], offset: -1 }, RangeError, "an integer >= 0", "-1", ".offset"),
    row("half an offset", { data: six, shape: [3], offset: 0.5 }, RangeError, "an integer >= 0", "0.5", ".offset"),
    row("an offset as text", { data: six, shape: [3], offset: "1" }, TypeError, "an integer", '"1"', ".offset"),
    row(
      "dims that do not fit",
      { data: six, dims: [2, 2], type: "float64" },
      RangeError,
      "4 values for shape (2, 2)",
      "6",
    ),
    row("negative dims", { data: six, dims: [-6] }, RangeError, `an integer in [0, ${2 ** 30}]`, "-6", ".dims[0]"),
    row(
      "an ONNX type",
      { data: six, dims: [6], type: "int64" },
      TypeError,
      "a tensor of float32, float64 or float16",
      'type "int64"',
    ),
    row(
      "an ONNX tensor on the GPU",
      { dims: [6], type: "float32", location: "gpu-buffer" },
      TypeError,
      "a tensor on the CPU",
      'location "gpu-buffer"',
    ),
    row(
      "float16 in floats",
      { data: six, dims: [6], type: "float16" },
      TypeError,
      "float16 data in a Uint16Array or Float16Array",
      "Float64Array",
    ),
    row("a tfjs tensor of nothing", { dataSync: () => null, shape: [1] }, TypeError, typed, "null"),
    row(
      "a matrix that says 2×2 and gives 3×2",
      {
        rows: 2,
        columns: 2,
        to2DArray: () => [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
      },
      RangeError,
      "4 values for shape (2, 2)",
      "6",
    ),
    row(
      "a matrix with rows as text",
      { rows: "1", columns: 1, to2DArray: () => [[1]] },
      TypeError,
      "an integer",
      '"1"',
      ".shape[0]",
    ),
  ];
}

/** What no function takes as options; `known` are the option names as the message lists them. */
export function notOptions(known: string, call: (options: never) => unknown, argument = "options"): Row[] {
  const broken = {
    get [known.split('"')[1] as string]() {
      throw new EvalError("getter");
    },
  };
  const row = (value: unknown, got: string): Row => [
    `options ${got}`,
    () => call(value as never),
    TypeError,
    `"${argument}" expected an object, got ${got}`,
  ];
  return [
    row(null, "null"),
    row([], "an array"),
    row("thin", '"thin"'),
    row(1, "1"),
    row(() => 1, "a function"),
    ["an unknown key", () => call({ typo: 1 } as never), TypeError, `"${argument}" expected only ${known}, got "typo"`],
    ["a getter that throws", () => call(broken as never), EvalError, "getter"],
  ];
}
