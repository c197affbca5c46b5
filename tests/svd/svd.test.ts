// svd() and svdvals() as the API describes them: shapes, jobs, batches, views, empty shapes, errors.

import { describe, expect, test } from "vitest";
import { MORE } from "../../bindings/exports.js";
import {
  capabilities,
  empty,
  eye,
  NonFiniteError,
  scope,
  svd,
  svdvals,
  Tensor,
  tensor,
  zeros,
} from "../../bindings/index.js";
import type { DType } from "../../bindings/tensor.js";
import { type Matrix, matrix, randomMatrix, transposed } from "../support/matrices.js";
import { Random } from "../support/random.js";
import { decompose, failures, failuresOf, ratios } from "../support/ratios.js";
import { DTYPES, type RawRoutines, raw, rounded, ulpOf, withBlocks } from "../support/raw.js";

const random = new Random(3);

/** Sizes from a single entry past two vectors and one strip of rotations, and long ones. */
const SHAPES = [
  ...Array.from({ length: 18 }, (_, i) => [i + 1, i + 1] as const),
  ...[1, 2, 3, 5, 8, 13, 17, 33].flatMap((m) => [1, 2, 4, 7, 9, 16, 31].map((n) => [m, n] as const)),
  // around the panels of 32 columns, around the ratio of 11/6 from which A is factored first
  [32, 32],
  [63, 64],
  [64, 63],
  [65, 65],
  [97, 33],
  [54, 30],
  [55, 30],
  [56, 30],
  [30, 55],
  [66, 36],
  [100, 37],
  [37, 100],
  [130, 65],
  [65, 131],
  [200, 3],
  [3, 200],
  [200, 1],
  [1, 200],
] as const;

/** The kernel's numbers for none, thin, full and for auto, qr, dc, jacobi. */
const JOBS = [0, 1, 2].flatMap((vectors) => [0, 1, 2, 3].map((driver) => [vectors, driver] as const));

/** Slice after slice to the end; undefined where it does not come. */
function gesvd(dtype: DType, ...args: Parameters<RawRoutines["gesvd"]>): number | undefined {
  const routines = raw(dtype);
  routines.gesvdBegin(args[args.length - 1] as number);
  for (let slice = 0; slice < 1000; slice++) {
    const result = routines.gesvd(...args);
    if (result !== MORE) return result;
  }
  return undefined;
}

describe.each(DTYPES)("svd(), %s", (dtype) => {
  const ulp = ulpOf(dtype);
  const place = ({ m, n, data }: Matrix) => tensor(data, { shape: [m, n], dtype });

  test("svd() keeps every ratio below 50 on random matrices of every shape", () => {
    const wrong = SHAPES.flatMap(([m, n]) =>
      failuresOf(randomMatrix(m, n, random, "normal"), dtype).map((text) => `${m}×${n}: ${text}`),
    );
    expect(wrong).toEqual([]);
  });

  test.each([
    [5, 3],
    [3, 5],
    [4, 4],
    [1, 6],
    [6, 1],
    [1, 1],
  ])("svd() of %i×%i returns the shapes of each job, in the dtype of the input", (m, n) => {
    scope(() => {
      const a = place(randomMatrix(m, n, random));
      const k = Math.min(m, n);
      const shapes = (x: { u: Tensor; s: Tensor; vt: Tensor }) => [x.u.shape, x.s.shape, x.vt.shape];
      expect(shapes(svd(a))).toEqual([[m, k], [k], [k, n]]);
      expect(shapes(svd(a, { vectors: "thin" }))).toEqual([[m, k], [k], [k, n]]);
      expect(shapes(svd(a, { vectors: "full" }))).toEqual([[m, m], [k], [n, n]]);
      const none = svd(a, { vectors: "none" });
      expect(Object.keys(none)).toEqual(["s"]);
      expect(none.s.shape).toEqual([k]);
      for (const { u, s, vt } of [svd(a), svd(a, { vectors: "full", driver: "qr" })]) {
        for (const x of [u, s, vt]) {
          expect(x).toBeInstanceOf(Tensor);
          expect(x.dtype).toBe(dtype);
          expect(x.contiguous).toBe(true);
        }
      }
    });
  });

  test("svdvals() returns the values of svd() without vectors, bit for bit", () => {
    scope(() => {
      for (const [m, n] of [
        [1, 1],
        [7, 4],
        [4, 7],
        [20, 20],
      ] as const) {
        const a = place(randomMatrix(m, n, random));
        expect(svdvals(a).data).toEqual(svd(a, { vectors: "none" }).s.data);
        expect(svdvals(a).dtype).toBe(dtype);
      }
      expect(svdvals(zeros([2, 3, 5, 4], dtype)).shape).toEqual([2, 3, 4]);
    });
  });

  test("svd() gives the same digits on every call and with drivers 'auto' and 'qr'", () => {
    scope(() => {
      const a = place(randomMatrix(23, 19, random));
      const first = svd(a);
      for (const again of [svd(a), svd(a, { driver: "qr" }), svd(a, { driver: "auto" }), svd(tensor(a))]) {
        expect(again.u.data).toEqual(first.u.data);
        expect(again.s.data).toEqual(first.s.data);
        expect(again.vt.data).toEqual(first.vt.data);
      }
    });
  });

  test.each([[[3]], [[2, 3]], [[1]], [[2, 1, 2]]])(
    "svd() of a batch %j equals batches of one, and with a driver the single calls, bit for bit",
    (batch) => {
      scope(() => {
        for (const [m, n] of [
          [4, 6],
          [6, 4],
          [5, 5],
          [1, 3],
        ] as const) {
          const count = batch.reduce((product, length) => product * length, 1);
          const a = tensor(random.array(count * m * n), { shape: [...batch, m, n], dtype });
          const jobs = (["thin", "full"] as const).flatMap((vectors) =>
            (["auto", "qr"] as const).map((driver) => ({ vectors, driver })),
          );
          for (const { vectors, driver } of jobs) {
            const whole = svd(a, { vectors, driver });
            const ones = a.reshape([count, m, n]);
            const k = Math.min(m, n);
            expect(whole.s.shape).toEqual([...batch, k]);
            expect(whole.u.shape).toEqual([...batch, m, vectors === "full" ? m : k]);
            expect(whole.vt.shape).toEqual([...batch, vectors === "full" ? n : k, n]);
            for (let i = 0; i < count; i++) {
              const alone = ones.subtensor(i, i + 1);
              const one = svd(driver === "auto" ? alone : alone.reshape([m, n]), { vectors, driver });
              for (const name of ["u", "s", "vt"] as const) {
                const size = one[name].size;
                expect(whole[name].data.slice(i * size, (i + 1) * size)).toEqual(one[name].data);
              }
            }
            expect(svd(a, { vectors: "none" }).s.data).toEqual(svdvals(a).data);
          }
        }
      });
    },
  );

  test("svd() takes transposed views, subtensors and strided data as if they were copied", () => {
    scope(() => {
      for (const [m, n] of [
        [7, 4],
        [4, 7],
        [6, 6],
        [40, 33],
      ] as const) {
        const a = randomMatrix(m, n, random);
        const view = place(a).transpose();
        const stack = tensor(random.array(3 * m * n), { shape: [3, m, n], dtype });
        const wide = randomMatrix(m, 2 * n + 1, random);
        const strided = {
          data: dtype === "f32" ? Float32Array.from(wide.data) : wide.data,
          shape: [m, n],
          strides: [2 * n + 1, 2],
          offset: 1,
        };
        const pairs = [
          [view, place(transposed(a))],
          [view.subtensor(1, n), tensor(view.subtensor(1, n))],
          [stack.transpose(), tensor(stack.transpose())],
          [stack.subtensor(1, 3), tensor(stack.subtensor(1, 3))],
          [stack.subtensor(1, 3).transpose(), tensor(stack.subtensor(1, 3).transpose())],
          [strided, place(matrix(m, n, (i, j) => wide.data[i * (2 * n + 1) + 2 * j + 1] as number))],
        ] as const;
        for (const [given, copy] of pairs) {
          for (const vectors of ["thin", "full"] as const) {
            const [x, y] = [svd(given, { vectors }), svd(copy, { vectors })];
            expect(x.u.data).toEqual(y.u.data);
            expect(x.s.data).toEqual(y.s.data);
            expect(x.vt.data).toEqual(y.vt.data);
          }
          expect(svdvals(given).data).toEqual(svdvals(copy).data);
        }
      }
    });
  });

  test("svd() leaves its input as it was", () => {
    scope(() => {
      for (const [m, n] of [
        [9, 6],
        [6, 9],
        [8, 8],
      ] as const) {
        const a = place(randomMatrix(m, n, random));
        const before = a.toTyped();
        for (const vectors of ["thin", "full"] as const) svd(a, { vectors });
        svdvals(a.transpose());
        expect(a.toTyped()).toEqual(before);
      }
    });
  });

  test("svd() of a matrix and of its transpose have exchanged factors", () => {
    for (const [m, n] of [
      [10, 2],
      [9, 7],
      [6, 6],
    ] as const) {
      const a = randomMatrix(m, n, random);
      const held = { ...a, data: rounded(dtype, a.data) };
      const [there, back] = [decompose(held, dtype), decompose(transposed(held), dtype)];
      // U of the transpose is V: put it in place of the factors that svd() gave
      const exchange = ({ u, s, vt }: typeof there.thin, rows: number, columns: number) => ({
        u: transposed({ m: columns, n: rows, data: vt }).data,
        s,
        vt: transposed({ m: u.length / columns, n: columns, data: u }).data,
      });
      const k = Math.min(m, n);
      const swapped = {
        full: exchange(back.full, m, m),
        thin: exchange(back.thin, m, k),
        none: back.none,
      };
      swapped.full.u = transposed({ m, n: m, data: back.full.vt }).data;
      swapped.full.vt = transposed({ m: n, n, data: back.full.u }).data;
      swapped.thin.u = transposed({ m: k, n: m, data: back.thin.vt }).data;
      swapped.thin.vt = transposed({ m: n, n: k, data: back.thin.u }).data;
      expect(failures(ratios(held, swapped, ulp))).toEqual([]);
      expect(failures(ratios(held, { ...swapped, none: there.none }, ulp))).toEqual([]);
    }
  });

  test.each([[[0, 0]], [[0, 3]], [[4, 0]], [[1, 0]], [[0, 1]], [[2, 0, 3]], [[2, 4, 0]], [[2, 3, 0, 0]]])(
    "svd() of shape %j has no values and identities for full factors",
    (shape) => {
      scope(() => {
        const [m, n] = shape.slice(-2) as [number, number];
        const batch = shape.slice(0, -2);
        const count = batch.reduce((product, length) => product * length, 1);
        const a = empty(shape, dtype);
        const thin = svd(a);
        expect([thin.u.shape, thin.s.shape, thin.vt.shape]).toEqual([
          [...batch, m, 0],
          [...batch, 0],
          [...batch, 0, n],
        ]);
        expect([thin.u.data.length, thin.s.data.length, thin.vt.data.length]).toEqual([0, 0, 0]);
        const full = svd(a, { vectors: "full" });
        expect([full.u.shape, full.s.shape, full.vt.shape]).toEqual([
          [...batch, m, m],
          [...batch, 0],
          [...batch, n, n],
        ]);
        const identities = (order: number) => new Array(count).fill([...eye(order, dtype).data]).flat();
        expect([...full.u.data]).toEqual(identities(m));
        expect([...full.vt.data]).toEqual(identities(n));
        expect(svdvals(a).shape).toEqual([...batch, 0]);
      });
    },
  );

  test.each([[[0, 3, 4]], [[0, 4, 3]], [[2, 0, 3, 3]], [[0, 0, 0]]])(
    "svd() of an empty batch %j returns empty factors",
    (shape) => {
      scope(() => {
        const [m, n] = shape.slice(-2) as [number, number];
        const batch = shape.slice(0, -2);
        const k = Math.min(m, n);
        const { u, s, vt } = svd(zeros(shape, dtype));
        expect([u.shape, s.shape, vt.shape]).toEqual([
          [...batch, m, k],
          [...batch, k],
          [...batch, k, n],
        ]);
        expect(svd(zeros(shape, dtype), { vectors: "full" }).u.shape).toEqual([...batch, m, m]);
        expect(svdvals(zeros(shape, dtype)).size).toBe(0);
      });
    },
  );

  test.each([[Number.NaN], [Number.POSITIVE_INFINITY], [Number.NEGATIVE_INFINITY]])(
    "svd() of a matrix with %d says where it stands",
    (value) => {
      scope(() => {
        const call = (a: Tensor | number[][], index: number[], vectors: "thin" | "full" | "none" = "thin") => {
          try {
            svd(a as Tensor, { vectors: vectors as "thin" });
          } catch (error) {
            expect(error).toBeInstanceOf(NonFiniteError);
            expect(error).toMatchObject({ code: "non_finite", argument: "a", index });
            expect((error as Error).message).toBe(`"a" expected finite numbers, got ${value} at [${index.join(", ")}]`);
            return;
          }
          expect.unreachable(`no error for ${index}`);
        };
        for (const [m, n] of [
          [1, 1],
          [2, 2],
          [3, 5],
          [9, 4],
          [17, 17],
        ] as const) {
          for (const [i, j] of [
            [0, 0],
            [m - 1, n - 1],
            [m >> 1, n - 1],
            [m - 1, 0],
          ] as const) {
            const a = place(randomMatrix(m, n, random));
            a.data[i * n + j] = value;
            for (const vectors of ["thin", "full", "none"] as const) call(a, [i, j], vectors);
            call(a.transpose(), [j, i]);
            expect(() => svdvals(a)).toThrow(NonFiniteError);
          }
        }
        // the first one in row-major order of what was given, in the batch that it is in
        const b = tensor(random.array(2 * 3 * 4 * 5), { shape: [2, 3, 4, 5], dtype });
        b.data[70] = value;
        b.data[77] = value;
        b.data[119] = value;
        call(b, [1, 0, 2, 0]);
        call(b.transpose(), [1, 0, 0, 2]);
        call(b.subtensor(1, 2), [0, 0, 2, 0]);
        call(
          [
            [0, 0],
            [value, value],
          ],
          [1, 0],
        );
      });
    },
  );

  test("svd() that throws leaves no memory behind, and its input as it was", () => {
    scope(() => {
      const a = place(randomMatrix(30, 20, random));
      a.data[599] = Number.NaN;
      const before = a.toTyped();
      expect(() => svd(a)).toThrow(NonFiniteError);
      const { usedBytes } = capabilities();
      for (let i = 0; i < 100; i++) {
        expect(() => svd(a)).toThrow(NonFiniteError);
        expect(() => svd([[1, Number.NaN]])).toThrow(NonFiniteError);
        expect(() => svd(a, { vectors: "some" as "thin" })).toThrow(RangeError);
      }
      expect(capabilities().usedBytes).toBe(usedBytes);
      expect(a.toTyped()).toEqual(before);
    });
  });

  test("gesvd() ends and reports failure on NaN and Infinity, which the bindings never hand to it", () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      for (const [m, n] of [
        [2, 2],
        [3, 3],
        [5, 4],
        [12, 20],
      ] as const) {
        for (const at of [0, 1, m * n - 1]) {
          for (const [vectors, driver] of JOBS) {
            withBlocks(dtype, (place) => {
              const bytes = dtype === "f32" ? 4 : 8;
              const a = place(randomMatrix(m, n, random).data);
              a.data[at] = value;
              const outputs = [m * m, Math.min(m, n), n * n].map((size) => place(new Float64Array(size)).pointer);
              const work = place(new Float64Array(raw(dtype).gesvdScratch(m, n, vectors, driver) / bytes)).pointer;
              const [u, s, vt] = outputs as [number, number, number];
              expect(gesvd(dtype, m, n, vectors, driver, a.pointer, n, 1, u, s, vt, work)).toBeGreaterThanOrEqual(0);
            });
          }
        }
      }
    }
  });

  test("gesvd() writes nothing outside its outputs and its working memory", () => {
    for (const [m, n] of [
      [1, 1],
      [1, 5],
      [5, 1],
      [7, 3],
      [3, 7],
      [16, 16],
      [33, 18],
      [18, 33],
    ] as const) {
      for (const [vectors, driver] of JOBS) {
        withBlocks(dtype, (place) => {
          const k = Math.min(m, n);
          const [ku, kv] = vectors === 2 ? [m, n] : [k, k];
          const a = place(randomMatrix(m, n, random).data);
          const before = Float64Array.from(a.data);
          // NaN everywhere: what is read before it is written shows
          const nan = (size: number) => place(new Float64Array(size).fill(Number.NaN));
          const [u, s, vt] = [nan(m * ku), nan(k), nan(kv * n)];
          const work = nan(raw(dtype).gesvdScratch(m, n, vectors, driver) / (dtype === "f32" ? 4 : 8));
          const at = (block: { pointer: number }) => (vectors === 0 ? 0 : block.pointer);
          expect(gesvd(dtype, m, n, vectors, driver, a.pointer, n, 1, at(u), s.pointer, at(vt), work.pointer)).toBe(0);
          expect(Float64Array.from(a.data)).toEqual(before);
          expect(s.data.every((x) => Number.isFinite(x))).toBe(true);
          const isWritten = (x: number) => Number.isNaN(x) === (vectors === 0);
          expect(u.data.every(isWritten)).toBe(true);
          expect(vt.data.every(isWritten)).toBe(true);
        });
      }
    }
  });
});

describe("svd()", () => {
  test.each([
    ["a number", 3],
    ["a string", "3"],
    ["undefined", undefined],
    ["null", null],
    ["a function", () => 0],
    ["an object of another kind", { values: [1] }],
  ])("svd() of %s is a TypeError or RangeError that names the argument", (_, value) => {
    for (const call of [() => svd(value as never), () => svdvals(value as never)]) {
      expect(call).toThrow(/"a" expected/);
      try {
        call();
      } catch (error) {
        expect(error instanceof TypeError || error instanceof RangeError).toBe(true);
      }
    }
  });

  test("svd() of fewer than two axes is a RangeError", () => {
    scope(() => {
      expect(() => svd([1, 2, 3])).toThrow(RangeError);
      expect(() => svd(new Float32Array(3))).toThrow('"a" expected shape (…, m, n), got (3,)');
      expect(() => svdvals(zeros([]))).toThrow('"a" expected shape (…, m, n), got ()');
    });
  });

  test("svd() refuses unknown options and values", () => {
    const a = [[1]];
    expect(() => svd(a, { vectors: "half" as "thin" })).toThrow(RangeError);
    expect(() => svd(a, { vectors: true as never })).toThrow(TypeError);
    expect(() => svd(a, { driver: "fast" as "qr" })).toThrow(RangeError);
    expect(() => svd(a, { vector: "thin" } as never)).toThrow(TypeError);
    expect(() => svd(a, "thin" as never)).toThrow(TypeError);
    expect(() => svd(a, null as never)).toThrow(TypeError);
  });

  test.each<[DType, unknown]>([
    [
      "f64",
      [
        [3, 0],
        [4, 5],
      ],
    ],
    ["f32", { data: new Float32Array([3, 0, 4, 5]), shape: [2, 2] }],
    ["f64", { data: new Float64Array([3, 0, 4, 5]), dims: [2, 2] }],
    [
      "f64",
      {
        rows: 2,
        columns: 2,
        to2DArray: () => [
          [3, 0],
          [4, 5],
        ],
      },
    ],
  ])("svd() computes in %s for what holds such numbers", (dtype, value) => {
    scope(() => {
      const { s } = svd(value as number[][]);
      expect(s.dtype).toBe(dtype);
      expect(s.data[0]).toBeCloseTo(Math.sqrt(45), 5);
      expect(s.data[1]).toBeCloseTo(Math.sqrt(5), 5);
    });
  });
});
