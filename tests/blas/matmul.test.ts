// The public product: batches, broadcasting, 1-D operands, views, out.

import { describe, expect, test } from "vitest";
import { empty, matmul, scope, type Tensor, tensor, zeros } from "../../bindings/index.js";
import type { DType } from "../../bindings/tensor.js";
import { Random } from "../support/random.js";
import { DTYPES, rounded, roundoff } from "../support/raw.js";
import { absoluteDot, dot } from "../support/reference.js";

/** An array of any number of axes, row-major. */
interface Nd {
  shape: number[];
  data: Float64Array;
}

function draw(dtype: DType, shape: number[], random: Random): Nd {
  const size = shape.reduce((product, length) => product * length, 1);
  return { shape, data: rounded(dtype, random.array(size)) };
}

/** NumPy's matmul from its definition, each entry rounded once, with the sums of absolute values beside it. */
function reference(a: Nd, b: Nd): Nd & { absolute: Float64Array } {
  const left = a.shape.length === 1 ? [1, ...a.shape] : a.shape;
  const right = b.shape.length === 1 ? [...b.shape, 1] : b.shape;
  const [m, k] = left.slice(-2) as [number, number];
  const n = right[right.length - 1] as number;
  const axes = Math.max(left.length, right.length) - 2;
  const lead = (shape: number[]) => [...new Array<number>(axes - (shape.length - 2)).fill(1), ...shape.slice(0, -2)];
  const [leadA, leadB] = [lead(left), lead(right)];
  const batch = leadA.map((length, axis) => (length === 1 ? (leadB[axis] as number) : length));
  const count = batch.reduce((product, length) => product * length, 1);
  const offset = (shape: number[], index: number) => {
    let [at, step, rest] = [0, 1, index];
    for (let axis = axes - 1; axis >= 0; axis--) {
      const position = rest % (batch[axis] as number);
      rest = Math.floor(rest / (batch[axis] as number));
      if (shape[axis] !== 1) at += position * step;
      step *= shape[axis] as number;
    }
    return at;
  };
  const data = new Float64Array(count * m * n);
  const absolute = new Float64Array(count * m * n);
  for (let index = 0; index < count; index++) {
    const x = a.data.subarray(offset(leadA, index) * m * k);
    const y = b.data.subarray(offset(leadB, index) * k * n);
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        const at = (index * m + i) * n + j;
        data[at] = dot(k, x.subarray(i * k), y.subarray(j), 1, n);
        absolute[at] = absoluteDot(k, x.subarray(i * k), y.subarray(j), 1, n);
      }
    }
  }
  const shape = [...batch, ...(a.shape.length > 1 ? [m] : []), ...(b.shape.length > 1 ? [n] : [])];
  return { shape, data, absolute };
}

function expectProduct(dtype: DType, got: Tensor, a: Nd, b: Nd): void {
  const { shape, data, absolute } = reference(a, b);
  expect(got.shape).toEqual(shape);
  expect(got.dtype).toBe(dtype);
  const k = a.shape[a.shape.length - 1] as number;
  const values = got.toTyped();
  const wrong = data.findIndex(
    (value, i) =>
      !(Math.abs((values[i] as number) - value) <= 1.0000001 * k * roundoff(dtype) * (absolute[i] as number)),
  );
  expect(wrong).toBe(-1);
}

describe.each(DTYPES)("matmul(), %s", (dtype) => {
  const random = new Random(20);

  test.each([
    [
      [3, 4],
      [4, 5],
    ],
    [[4], [4]],
    [[4], [4, 5]],
    [[3, 4], [4]],
    [[6, 3, 4], [4]],
    [[4], [6, 4, 5]],
    [
      [6, 3, 4],
      [4, 5],
    ],
    [
      [3, 4],
      [6, 4, 5],
    ],
    [
      [6, 3, 4],
      [6, 4, 5],
    ],
    [
      [6, 3, 4],
      [1, 4, 5],
    ],
    [
      [1, 3, 4],
      [6, 4, 5],
    ],
    [
      [2, 1, 3, 4],
      [7, 4, 5],
    ],
    [
      [2, 7, 3, 4],
      [2, 1, 4, 5],
    ],
    [
      [2, 1, 3, 3, 4],
      [5, 1, 4, 2],
    ],
    [
      [1, 1, 3, 4],
      [4, 1],
    ],
    [
      [2, 3, 1, 20],
      [2, 1, 20, 30],
    ],
    [[1], [1]],
    [
      [1, 1],
      [1, 1],
    ],
    [[300], [300, 2]],
    [
      [40, 50],
      [50, 60],
    ],
  ])("matmul() of %j and %j has NumPy's shape and values", (shapeA, shapeB) => {
    scope(() => {
      const [a, b] = [draw(dtype, shapeA, random), draw(dtype, shapeB, random)];
      const [x, y] = [tensor(a.data, { shape: shapeA, dtype }), tensor(b.data, { shape: shapeB, dtype })];
      const product = matmul(x, y);
      expectProduct(dtype, product, a, b);
      // the inputs are what they were
      expect([...x.data]).toEqual([...a.data]);
      expect([...y.data]).toEqual([...b.data]);
      // the twin: the check knows a wrong entry
      product.data[product.size - 1] = 9;
      expect(() => expectProduct(dtype, product, a, b)).toThrow();
    });
  });

  test.each([
    [
      [0, 4],
      [4, 5],
      [0, 5],
    ],
    [
      [3, 4],
      [4, 0],
      [3, 0],
    ],
    [
      [0, 3, 4],
      [4, 5],
      [0, 3, 5],
    ],
    [
      [0, 3, 4],
      [1, 4, 5],
      [0, 3, 5],
    ],
    [
      [2, 0, 3, 4],
      [4, 5],
      [2, 0, 3, 5],
    ],
  ])("matmul() of %j and %j is empty, with shape %j", (shapeA, shapeB, shape) => {
    scope(() => {
      const product = matmul(zeros(shapeA, dtype), zeros(shapeB, dtype));
      expect(product.shape).toEqual(shape);
      expect(product.size).toBe(0);
    });
  });

  test.each([
    [
      [3, 0],
      [0, 5],
      [3, 5],
    ],
    [
      [2, 3, 0],
      [0, 5],
      [2, 3, 5],
    ],
    [[0], [0], []],
    [[0], [0, 5], [5]],
  ])("matmul() over no terms, %j by %j, is zero", (shapeA, shapeB, shape) => {
    scope(() => {
      const product = matmul(zeros(shapeA, dtype), zeros(shapeB, dtype));
      expect(product.shape).toEqual(shape);
      expect([...product.data].every((x) => x === 0)).toBe(true);
    });
  });

  test("matmul() takes transposed, sliced and batched views as they are", () => {
    scope(() => {
      for (const size of [3, 9, 20]) {
        const [a, b] = [draw(dtype, [size + 1, size], random), draw(dtype, [size + 2, size + 1], random)];
        const [x, y] = [a, b].map(({ data, shape }) => tensor(data, { shape, dtype })) as [Tensor, Tensor];
        const turn = ({ shape, data }: Nd): Nd => {
          const [m, n] = shape as [number, number];
          return { shape: [n, m], data: data.map((_, at) => data[(at % m) * n + Math.floor(at / m)] as number) };
        };
        expectProduct(dtype, matmul(x.transpose(), y.transpose()), turn(a), turn(b));
        expectProduct(dtype, matmul(y, x), b, a);
        const rows: Nd = { shape: [2, size + 1], data: b.data.slice(size + 1, 3 * (size + 1)) };
        expectProduct(dtype, matmul(y.subtensor(1, 3), x), rows, a);
        expectProduct(dtype, matmul(x.transpose(), y.subtensor(1, 3).transpose()), turn(a), turn(rows));
        const stack = draw(dtype, [4, size, size + 1], random);
        const z = tensor(stack.data, { shape: stack.shape, dtype });
        const part: Nd = { shape: [2, size, size + 1], data: stack.data.slice(size * (size + 1), -size * (size + 1)) };
        expectProduct(dtype, matmul(z.subtensor(1, 3), x), part, a);
        const each = new Float64Array(part.data.length);
        for (let i = 0; i < 2; i++) {
          const one = { shape: [size, size + 1], data: part.data.subarray(i * size * (size + 1)) };
          each.set(turn({ ...one, data: one.data.slice(0, size * (size + 1)) }).data, i * size * (size + 1));
        }
        expectProduct(
          dtype,
          matmul(z.subtensor(1, 3).transpose(), tensor(turn(a).data, { shape: [size, size + 1], dtype })),
          { shape: [2, size + 1, size], data: each },
          turn(a),
        );
      }
    });
  });

  test("matmul() of a vector with itself, and of a matrix with its transpose, may share storage", () => {
    scope(() => {
      const a = draw(dtype, [6, 7], random);
      const x = tensor(a.data, { shape: [6, 7], dtype });
      const gram = matmul(x, x.transpose());
      for (let i = 0; i < 6; i++)
        for (let j = 0; j < 6; j++) {
          expect(gram.data[i * 6 + j]).toBe(gram.data[j * 6 + i]);
        }
      const v = x.reshape([42]);
      expect(matmul(v, v).shape).toEqual([]);
    });
  });

  test("matmul() with out computes alpha·a·b + beta·out in place and returns out", () => {
    scope(() => {
      const a = tensor(
        [
          [1, 2],
          [3, 4],
        ],
        { dtype },
      );
      const b = tensor(
        [
          [5, 6],
          [7, 8],
        ],
        { dtype },
      );
      const out = tensor(
        [
          [1, 1],
          [1, 1],
        ],
        { dtype },
      );
      expect(matmul(a, b, { alpha: 2, beta: -1, out })).toBe(out);
      expect(out.toArray()).toEqual([
        [37, 43],
        [85, 99],
      ]);
      expect(matmul(a, b, { alpha: 0.5 }).toArray()).toEqual([
        [9.5, 11],
        [21.5, 25],
      ]);
      matmul(a, b, { beta: 1, out: out.reshape([2, 2]) });
      expect(out.toArray()).toEqual([
        [56, 65],
        [128, 149],
      ]);
    });
  });

  test("matmul() writes transposed, sliced and batched outs, and nothing beside them", () => {
    scope(() => {
      for (const [m, n, k] of [
        [1, 1, 1],
        [3, 4, 5],
        [1, 6, 4],
        [6, 1, 4],
        [20, 21, 22],
      ] as const) {
        const [a, b] = [draw(dtype, [m, k], random), draw(dtype, [k, n], random)];
        const [x, y] = [tensor(a.data, { shape: [m, k], dtype }), tensor(b.data, { shape: [k, n], dtype })];
        const plain = matmul(x, y);
        const base = zeros([n, m], dtype);
        expect(matmul(x, y, { out: base.transpose() }).shape).toEqual([m, n]);
        expect(base.transpose().toArray()).toEqual(plain.toArray());
        const stack = zeros([4, m, n], dtype);
        const [slice] = [stack.subtensor(2, 3)];
        matmul(x.reshape([1, m, k]), y, { out: slice });
        expect(slice.toArray()).toEqual([plain.toArray()]);
        expect([...stack.data].filter((value, i) => value !== 0 && Math.floor(i / (m * n)) !== 2)).toEqual([]);
        const turned = zeros([2, n, m], dtype);
        matmul(x.reshape([1, m, k]), tensor([...b.data, ...b.data], { shape: [2, k, n], dtype }), {
          out: turned.transpose(),
        });
        expect(turned.transpose().toArray()).toEqual([plain.toArray(), plain.toArray()]);
      }
    });
  });

  test("matmul() with beta = 0 does not read out, with alpha = 0 neither a nor b", () => {
    scope(() => {
      const nan = (shape: number[]) => {
        const made = empty(shape, dtype);
        made.data.fill(Number.NaN);
        return made;
      };
      const ones = (shape: number[]) => {
        const made = empty(shape, dtype);
        made.data.fill(1);
        return made;
      };
      for (const size of [2, 16]) {
        const shape = [size, size];
        const written = matmul(ones(shape), ones(shape), { out: nan(shape), beta: 0 });
        expect(written.data.every((x: number) => x === size)).toBe(true);
        const kept = matmul(nan(shape), nan(shape), { alpha: 0, beta: 2, out: ones(shape) });
        expect(kept.data.every((x: number) => x === 2)).toBe(true);
        expect(matmul(nan(shape), nan(shape), { alpha: 0 }).data.every((x: number) => x === 0)).toBe(true);
        // NaN passes where it is read
        expect(matmul(nan(shape), ones(shape)).data.every((x: number) => Number.isNaN(x))).toBe(true);
        const read = matmul(ones(shape), ones(shape), { beta: 1, out: nan(shape) });
        expect(read.data.every((x: number) => Number.isNaN(x))).toBe(true);
      }
    });
  });

  test("matmul() refuses an out that overlaps an operand, and takes one beside it", () => {
    scope(() => {
      const whole = zeros([6, 4], dtype);
      const square = zeros([4, 4], dtype);
      expect(() => matmul(square, square, { out: square })).toThrow(RangeError);
      expect(() => matmul(square, zeros([4, 4], dtype), { out: square })).toThrow('"out" overlaps "a"');
      expect(() => matmul(zeros([4, 4], dtype), square, { out: square })).toThrow('"out" overlaps "b"');
      expect(() => matmul(square, zeros([4, 4], dtype), { out: square.transpose() })).toThrow(RangeError);
      const [upper, middle, lower] = [whole.subtensor(0, 2), whole.subtensor(1, 3), whole.subtensor(2, 4)];
      expect(() => matmul(upper, square, { out: middle })).toThrow(RangeError);
      expect(matmul(upper, square, { out: lower })).toBe(lower);
    });
  });

  test.each([
    ["inner lengths", [2, 3], [4, 5], '"b" expected shape (…, 3, n), got (4, 5) for "a" of shape (2, 3)'],
    ["a vector of another length", [2, 3], [4], '"b" expected shape (3,), got (4,) for "a" of shape (2, 3)'],
    ["batch axes", [2, 2, 3], [3, 3, 2], "they cannot be broadcast"],
  ])("matmul() refuses %s that do not match", (_, shapeA, shapeB, message) => {
    scope(() => {
      const call = () => matmul(zeros(shapeA, dtype), zeros(shapeB, dtype));
      expect(call).toThrow(RangeError);
      expect(call).toThrow(message);
    });
  });

  test("matmul() refuses an out of another shape or dtype", () => {
    scope(() => {
      const a = zeros([2, 3], dtype);
      const b = zeros([3, 4], dtype);
      for (const shape of [[4, 2], [2, 3], [1, 2, 4], [8]]) {
        expect(() => matmul(a, b, { out: zeros(shape, dtype) })).toThrow(RangeError);
      }
      const other = dtype === "f32" ? "f64" : "f32";
      expect(() => matmul(a, b, { out: zeros([2, 4], other) as never })).toThrow(/f32.*f64|f64.*f32/);
      expect(() => matmul(a, zeros([3, 4], other) as never)).toThrow(TypeError);
      expect(() => matmul(a, 3 as never)).toThrow(TypeError);
      expect(() => matmul(a, b, { gamma: 1 } as never)).toThrow(TypeError);
      expect(() => matmul(a, b, { alpha: "1" } as never)).toThrow(TypeError);
    });
  });
});

test("matmul() gives plain arrays the dtype of the tensor beside them, and f64 alone", () => {
  scope(() => {
    expect(matmul([[1, 2]], [[3], [4]]).dtype).toBe("f64");
    expect(matmul([[1, 2]], tensor(new Float32Array([3, 4]), { shape: [2, 1] })).dtype).toBe("f32");
    expect(matmul([[1, 2]], [[3], [4]]).toArray()).toEqual([[11]]);
  });
});
