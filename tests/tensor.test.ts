import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DType, empty, eye, type Nested, scope, type Tensor, tensor, zeros } from "../bindings/index.js";
import { kernel } from "../bindings/load.js";

const DTYPES = ["f32", "f64"] as const;
const arrayOf = (dtype: DType) => (dtype === "f32" ? Float32Array : Float64Array);

/** 0, 1, 2, … in a shape. */
function count(shape: number[], dtype: DType = "f64") {
  const size = shape.reduce((product, length) => product * length, 1);
  const data = new (arrayOf(dtype))(size);
  for (let i = 0; i < size; i++) data[i] = i;
  return tensor(data as Float64Array, { shape }) as Tensor;
}

describe("tensor", () => {
  test("tensor: shape, strides, size and dtype of nested arrays", () => {
    const a = tensor([
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
    ]);
    expect(a).toMatchObject({ dtype: "f64", shape: [1, 2, 3], strides: [6, 3, 1], size: 6, ndim: 3 });
    expect([...a.data]).toEqual([1, 2, 3, 4, 5, 6]);
    expect(a.toArray()).toEqual([
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
    ]);
  });

  test("tensor: a number has no axes", () => {
    const a = tensor(7);
    expect(a).toMatchObject({ dtype: "f64", shape: [], strides: [], size: 1, ndim: 0 });
    expect(a.toArray()).toBe(7);
    expect([...a.toTyped()]).toEqual([7]);
    expect(tensor(7, { dtype: "f32", shape: [1, 1] }).toArray()).toEqual([[7]]);
    expect(tensor([7], { shape: [] }).toArray()).toBe(7);
  });

  test.each<[Nested[], number[]]>([
    [[], [0]],
    [
      [[], [], []],
      [3, 0],
    ],
    [[[[], []]], [1, 2, 0]],
  ])("tensor: %j is empty", (data, shape) => {
    const a = tensor(data);
    expect(a).toMatchObject({ shape, size: 0 });
    expect(a.data.length).toBe(0);
    expect(a.toArray()).toEqual(data);
    expect(tensor(a).shape).toEqual(shape);
  });

  test.each(DTYPES)("tensor: a typed array keeps its dtype (%s) and is copied", (dtype) => {
    const data = arrayOf(dtype).of(1, 2.5, -0);
    const a = tensor(data as Float64Array);
    expect(a.dtype).toBe(dtype);
    expect(a.toTyped()).toEqual(data);
    expect(Object.is(a.data[2], -0)).toBe(true);
    data[0] = 9;
    expect(a.data[0]).toBe(1);
    a.data[1] = 8;
    expect(data[1]).toBe(2.5);
  });

  test("tensor: dtype converts, rounding to nearest", () => {
    const third = 1 / 3;
    const a = tensor([third, 1e300, -1e300, 1e-50, Number.NaN], { dtype: "f32" });
    expect([...a.data]).toEqual([Math.fround(third), Infinity, -Infinity, 0, Number.NaN]);
    const b = tensor(a, { dtype: "f64" as never });
    expect(b.dtype).toBe("f64");
    expect(b.data[0]).toBe(Math.fround(third));
    const c = tensor(tensor([[third, 2]]).transpose(), { dtype: "f32" as never });
    expect(c).toMatchObject({ dtype: "f32", shape: [2, 1] });
    expect(c.data[0]).toBe(Math.fround(third));
  });

  test("tensor: shape replaces that of the data, for any source", () => {
    const sources = [
      [1, 2, 3, 4, 5, 6],
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      Float32Array.of(1, 2, 3, 4, 5, 6),
      tensor([
        [1, 3, 5],
        [2, 4, 6],
      ]).transpose(),
      { data: Float64Array.of(6, 5, 4, 3, 2, 1), shape: [6], strides: [-1], offset: 5 },
    ];
    for (const source of sources) {
      expect(tensor(source, { shape: [2, 3] }).toArray()).toEqual([
        [1, 2, 3],
        [4, 5, 6],
      ]);
    }
  });

  test("tensor: parts of buffers, shared buffers and subclasses are read as they are", () => {
    expect(tensor(Float64Array.of(0, 1, 2, 3).subarray(1, 3)).toArray()).toEqual([1, 2]);
    const shared = new Float32Array(new SharedArrayBuffer(8));
    shared.set([5, 6]);
    expect(tensor(shared).toArray()).toEqual([5, 6]);
    class Forged extends Float64Array {
      override get length() {
        return 1e9;
      }
    }
    expect(tensor(Forged.of(1, 2)).toArray()).toEqual([1, 2]);
  });

  test("tensor: the numbers of its own memory may be copied", () => {
    const a = count([4]);
    expect(tensor(a.data).toArray()).toEqual([0, 1, 2, 3]);
    expect(tensor(a.data.subarray(2)).toArray()).toEqual([2, 3]);
    expect(tensor({ data: a.data, shape: [2, 2], strides: [1, 2] }).toArray()).toEqual([
      [0, 2],
      [1, 3],
    ]);
  });

  test("tensor: strides and offset of any kind", () => {
    const data = Float64Array.from({ length: 12 }, (_, i) => i);
    const cases: [object, Nested][] = [
      [
        { shape: [2, 2], strides: [4, 1], offset: 5 },
        [
          [5, 6],
          [9, 10],
        ],
      ],
      [{ shape: [3], strides: [-4], offset: 11 }, [11, 7, 3]],
      [
        { shape: [2, 3], strides: [0, 1] },
        [
          [0, 1, 2],
          [0, 1, 2],
        ],
      ],
      [{ shape: [2], offset: 10 }, [10, 11]],
      [{ shape: [], offset: 3 }, 3],
      [{ shape: [], strides: [], offset: 3 }, 3],
      [{ shape: [0, 5], strides: [100, 100], offset: 50 }, []],
      [
        { shape: [2, 3, 2] },
        [
          [
            [0, 1],
            [2, 3],
            [4, 5],
          ],
          [
            [6, 7],
            [8, 9],
            [10, 11],
          ],
        ],
      ],
      [
        { shape: [2, 3, 2], strides: [1, 4, 2] },
        [
          [
            [0, 2],
            [4, 6],
            [8, 10],
          ],
          [
            [1, 3],
            [5, 7],
            [9, 11],
          ],
        ],
      ],
    ];
    for (const [layout, expected] of cases) {
      expect(tensor({ data, ...layout } as never).toArray(), JSON.stringify(layout)).toEqual(expected);
    }
  });
});

describe("zeros, empty, eye", () => {
  test.each(DTYPES)("zeros: of any shape (%s), also where memory was used before", (dtype) => {
    scope(() => count([1000], dtype).data.fill(3));
    for (const shape of [[], [0], [3], [2, 3], [1000], [2, 0, 4]]) {
      const a = zeros(shape, dtype);
      expect(a).toMatchObject({ shape, dtype });
      expect(a.toTyped()).toEqual(new (arrayOf(dtype))(a.size));
    }
    expect(zeros([1]).dtype).toBe("f64");
  });

  test.each(DTYPES)("empty: shape and dtype (%s)", (dtype) => {
    expect(empty([2, 3], dtype)).toMatchObject({ shape: [2, 3], strides: [3, 1], dtype, size: 6 });
    expect(empty([2]).dtype).toBe("f64");
  });

  test.each(DTYPES)("eye: ones on the diagonal (%s)", (dtype) => {
    expect(eye(3, dtype).toArray()).toEqual([
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
    ]);
    expect(eye(0, dtype)).toMatchObject({ shape: [0, 0], dtype, size: 0 });
    expect(eye(2).dtype).toBe("f64");
  });
});

describe("views", () => {
  test("transpose: swaps the last two axes without a copy", () => {
    const a = count([2, 3, 4]);
    const t = a.transpose();
    expect(t).toMatchObject({ shape: [2, 4, 3], strides: [12, 1, 4], size: 24, contiguous: false });
    expect(t.toArray()).toEqual([0, 1].map((b) => [0, 1, 2, 3].map((j) => [0, 1, 2].map((i) => b * 12 + i * 4 + j))));
    a.data[1] = -1;
    expect((t.toArray() as number[][][])[0]?.[1]?.[0]).toBe(-1);
    expect(t.transpose()).toMatchObject({ shape: [2, 3, 4], strides: [12, 4, 1], contiguous: true });
    expect(t.transpose().data).toEqual(a.data);
  });

  test("transpose: rows and columns of one entry stay contiguous", () => {
    const t = count([1, 5]).transpose();
    expect(t).toMatchObject({ shape: [5, 1], contiguous: true });
    expect([...t.data]).toEqual([0, 1, 2, 3, 4]);
    expect(zeros([0, 3]).transpose()).toMatchObject({ shape: [3, 0], contiguous: true });
  });

  test("subtensor: a range of the first axis without a copy", () => {
    const a = count([4, 3]);
    const s = a.subtensor(1, 3);
    expect(s).toMatchObject({ shape: [2, 3], strides: [3, 1] });
    expect([...s.data]).toEqual([3, 4, 5, 6, 7, 8]);
    s.data[0] = -3;
    expect(a.data[3]).toBe(-3);
    expect(s.subtensor(1, 2).toArray()).toEqual([[6, 7, 8]]);
    expect(a.subtensor(4, 4)).toMatchObject({ shape: [0, 3], size: 0 });
    expect(a.subtensor(0, 4).toArray()).toEqual(a.toArray());
    expect(count([5]).subtensor(2, 4).toArray()).toEqual([2, 3]);
    const empty = zeros([0, 2 ** 30])
      .transpose()
      .subtensor(2 ** 29, 2 ** 30);
    expect([empty.shape, empty.data.length, tensor(empty).size]).toEqual([[2 ** 29, 0], 0, 0]);
  });

  test("subtensor: of a transposed view, and transposed again", () => {
    const t = count([3, 4]).transpose().subtensor(1, 3);
    expect(t).toMatchObject({ shape: [2, 3], strides: [1, 4], contiguous: false });
    expect(t.toArray()).toEqual([
      [1, 5, 9],
      [2, 6, 10],
    ]);
    expect(t.transpose().toArray()).toEqual([
      [1, 2],
      [5, 6],
      [9, 10],
    ]);
    expect(tensor(t).data).toEqual(Float64Array.of(1, 5, 9, 2, 6, 10));
  });

  test("reshape: the same elements without a copy", () => {
    const a = count([2, 6]);
    const r = a.reshape([3, 2, 2]);
    expect(r).toMatchObject({ shape: [3, 2, 2], strides: [4, 2, 1] });
    r.data[11] = -1;
    expect(a.data[11]).toBe(-1);
    expect(a.subtensor(1, 2).reshape([6]).toArray()).toEqual([6, 7, 8, 9, 10, -1]);
    expect(count([1]).reshape([]).toArray()).toBe(0);
    expect(zeros([0, 3]).reshape([5, 0])).toMatchObject({ shape: [5, 0] });
    expect(count([1, 4]).transpose().reshape([2, 2]).toArray()).toEqual([
      [0, 1],
      [2, 3],
    ]);
  });

  test("data, reshape: refused where the elements are not in order", () => {
    const t = count([2, 3]).transpose();
    expect(() => t.data).toThrow(
      new RangeError("data needs a contiguous tensor, got strides (1, 3) for shape (3, 2): use toTyped()"),
    );
    expect(() => t.reshape([6])).toThrow(
      new RangeError("reshape needs a contiguous tensor: copy it with tensor(t) first"),
    );
    expect(tensor(t).reshape([6]).toArray()).toEqual([0, 3, 1, 4, 2, 5]);
  });
});

describe("toTyped and toArray", () => {
  test.each(DTYPES)("toTyped: a copy in the JavaScript heap (%s)", (dtype) => {
    for (const a of [count([2, 3], dtype), count([2, 3], dtype).transpose()]) {
      const typed = a.toTyped();
      expect(typed).toBeInstanceOf(arrayOf(dtype));
      expect(typed.buffer).toBeInstanceOf(ArrayBuffer);
      expect(typed.buffer.byteLength).toBe(6 * (dtype === "f32" ? 4 : 8));
      typed.fill(9);
      expect(a.toTyped()).not.toContain(9);
    }
    const { usedBytes } = kernel().allocator;
    count([30, 20], dtype).transpose().dispose();
    scope(() => count([30, 20], dtype).transpose().toTyped());
    expect(kernel().allocator.usedBytes - usedBytes).toBeLessThan(5000);
  });

  test("Tensor: shape and strides are frozen", () => {
    const a = zeros([2, 3]);
    expect(() => (a.shape as number[]).push(1)).toThrow(TypeError);
    expect(() => {
      (a.strides as number[])[0] = 5;
    }).toThrow(TypeError);
    const shape = [2, 2];
    const b = zeros(shape);
    shape[0] = 100;
    expect(b.shape).toEqual([2, 2]);
  });

  test("Tensor: any chain of views reads what indices say", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("transpose" as const) }),
      fc.record({ kind: fc.constant("subtensor" as const), from: fc.nat(), to: fc.nat() }),
      fc.record({ kind: fc.constant("copy" as const), dtype: fc.constantFrom(...DTYPES) }),
    );
    fc.assert(
      fc.property(
        fc.array(fc.nat(4), { minLength: 2, maxLength: 4 }),
        fc.array(step, { maxLength: 5 }),
        (shape, steps) => {
          scope(() => {
            let t: Tensor = count(shape);
            let expected = t.toArray() as Nested[];
            let lengths = shape;
            for (const one of steps) {
              if (one.kind === "transpose") {
                t = t.transpose();
                expected = swapLastTwo(expected, lengths) as Nested[];
                lengths = [...lengths.slice(0, -2), lengths.at(-1) as number, lengths.at(-2) as number];
              } else if (one.kind === "subtensor") {
                const from = one.from % ((lengths[0] as number) + 1);
                const to = from + (one.to % ((lengths[0] as number) - from + 1));
                t = t.subtensor(from, to);
                expected = expected.slice(from, to);
                lengths = [to - from, ...lengths.slice(1)];
              } else {
                t = tensor(t, { dtype: one.dtype as never });
              }
            }
            expect(t.shape).toEqual(lengths);
            expect(t.toArray()).toEqual(expected);
            expect([...t.toTyped()]).toEqual((expected as never[]).flat(Infinity));
            expect(tensor(t).toArray()).toEqual(expected);
          });
        },
      ),
      { numRuns: 200 },
    );
  });
});

function swapLastTwo(value: Nested, shape: readonly number[]): Nested {
  if (shape.length > 2) return (value as Nested[]).map((part) => swapLastTwo(part, shape.slice(1)));
  const rows = value as number[][];
  return Array.from({ length: shape[1] as number }, (_, j) => rows.map((row) => row[j] as number));
}
