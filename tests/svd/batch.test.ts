// Batches of small matrices: LAPACK's grid in batches that mix types and scales, digits that depend on nothing but the
// matrix, strides, scaling, and what a lane must not do to its neighbours.

import { describe, expect, test } from "vitest";
import { MORE } from "../../bindings/exports.js";
import { type DType, matmul, scope, svd, svdvals, type Tensor, type TensorLike, tensor } from "../../bindings/index.js";
import { BUILD } from "../support/build.js";
import { BIDIAGONAL_TYPES, DRIVER_TYPES, gridMatrices, SIZES } from "../support/lapack_grid.js";
import {
  diagonal,
  frank,
  hilbert,
  kahan,
  lauchli,
  type Matrix,
  matrix,
  randomMatrix,
  scaledMatrix,
  transposed,
} from "../support/matrices.js";
import { Random } from "../support/random.js";
import { type Factors, failures, type Jobs, ratios } from "../support/ratios.js";
import { bytesOf, DTYPES, rounded, SmallKernel, type Typed, typed, ulpOf } from "../support/raw.js";
import { scaled } from "../support/reference.js";

const LEAST = 32;

/** Exponents of two for the format's ends: 1e±300 in f64, 1e±35 in f32. */
const EXTREME = { f32: 116, f64: 996 } as const;

function place(batch: readonly Matrix[], dtype: DType): Tensor {
  const { m, n } = batch[0] as Matrix;
  const data = typed(dtype, batch.length * m * n);
  batch.forEach((a, i) => {
    data.set(a.data, i * m * n);
  });
  return tensor(data as Float64Array, { shape: [batch.length, m, n] }) as Tensor;
}

/** The three jobs of every matrix of a batch, each from one call. */
function decomposeBatch(batch: readonly Matrix[], dtype: DType): Jobs[] {
  const { m, n } = batch[0] as Matrix;
  const p = Math.min(m, n);
  return scope(() => {
    const a = place(batch, dtype);
    const full = svd(a, { vectors: "full" });
    const thin = svd(a);
    const none = svdvals(a);
    const part = (t: Tensor, size: number, i: number) => Float64Array.from(t.data.subarray(i * size, (i + 1) * size));
    const factors = ({ u, s, vt }: typeof thin, ku: number, kv: number, i: number): Factors => ({
      u: part(u, m * ku, i),
      s: part(s, p, i),
      vt: part(vt, kv * n, i),
    });
    return batch.map((_, i) => ({
      full: factors(full, m, n, i),
      thin: factors(thin, p, p, i),
      none: part(none, p, i),
    }));
  });
}

function failuresIn(batch: readonly Matrix[], dtype: DType): string[] {
  const held = batch.map((a) => ({ ...a, data: rounded(dtype, a.data) }));
  return decomposeBatch(held, dtype).flatMap((jobs, i) => {
    const a = held[i] as Matrix;
    return failures(ratios(a, jobs, ulpOf(dtype))).map((text) => `${i}, ${a.m}×${a.n}: ${text}`);
  });
}

/** Scaled by a power of two to max |a| near 2^k; a zero matrix stays. */
function scaledTo(a: Matrix, k: number): Matrix {
  const largest = a.data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return largest === 0 ? a : scaledMatrix(a, k - Math.floor(Math.log2(largest)));
}

/** Every type of the grid at one size, in turn as it is and at both ends of the format. */
function mixed(index: number, dtype: DType): Matrix[] {
  return [...DRIVER_TYPES, ...BIDIAGONAL_TYPES].map((type, i) => {
    const a = gridMatrix(type, dtype, index);
    return i % 3 === 0 ? a : scaledTo(a, i % 3 === 1 ? EXTREME[dtype] : -EXTREME[dtype]);
  });
}

const cache = new Map<string, Matrix[]>();

function gridMatrix(type: (typeof DRIVER_TYPES)[number], dtype: DType, index: number): Matrix {
  const list = BIDIAGONAL_TYPES.includes(type) ? "bidiagonal" : "driver";
  const key = `${list} ${type.name} ${dtype}`;
  const made = cache.get(key) ?? gridMatrices(type, dtype);
  cache.set(key, made);
  return made[index] as Matrix;
}

/** Thin factors of every matrix of a batch as one row of bytes each. */
function bits(batch: readonly Matrix[], dtype: DType, vectors: "thin" | "full" | "none" = "thin"): string[] {
  return scope(() => {
    const a = place(batch, dtype);
    const results = vectors === "none" ? [svdvals(a)] : Object.values(svd(a, { vectors }) as object as Tensor[]);
    return batch.map((_, i) =>
      results
        .map(({ data, shape }) => {
          const size = shape.slice(1).reduce((product, length) => product * length, 1);
          const part = data.slice(i * size, (i + 1) * size);
          return Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString("base64");
        })
        .join(),
    );
  });
}

const small = SIZES.map(([m, n], index) => ({ m, n, index })).filter(({ m, n }) => Math.min(m, n) <= LEAST);

describe.each(DTYPES)("LAPACK's grid in batches, %s", (dtype) => {
  test.each(small)("svd() keeps every ratio below 50 in a batch of mixed types and scales, $m×$n", ({ index }) => {
    expect(failuresIn(mixed(index, dtype), dtype)).toEqual([]);
  });

  test.each(small)(
    "svd() gives a matrix the same bits in batches of 1, 2, 3, 5 and 1,000, $m×$n",
    ({ m, n, index }) => {
      const all = mixed(index, dtype);
      for (const vectors of ["thin", "full", "none"] as const) {
        const alone = all.map((a) => bits([a], dtype, vectors)[0]);
        for (const length of [2, 3, 5]) {
          for (let first = 0; first < all.length; first += length) {
            const batch = all.slice(first, first + length).reverse();
            expect(bits(batch, dtype, vectors).reverse()).toEqual(alone.slice(first, first + length));
          }
        }
        // the debug build takes its time
        const count = BUILD === "debug" && m * n > 100 ? 100 : 1000;
        const order = Array.from({ length: count }, (_, i) => (i * 7 + Math.floor(i / 22)) % all.length);
        const many = bits(
          order.map((i) => all[i] as Matrix),
          dtype,
          vectors,
        );
        expect(many).toEqual(order.map((i) => alone[i]));
      }
    },
  );
});

describe.each(DTYPES)("svd() of batches, %s", (dtype) => {
  const ulp = ulpOf(dtype);
  const random = new Random(11);
  const least = dtype === "f32" ? 2 ** -126 : 2 ** -1022;
  const square = (n: number, f: (i: number, j: number) => number) => matrix(n, n, f);
  const gaussian = (n: number) => square(n, (i, j) => Math.exp(-((i - j) ** 2) / 8));
  const graded = (m: number, n: number, byRows: boolean) =>
    matrix(m, n, (i, j) => random.symmetric() * 10 ** (-(byRows ? i : j) * (dtype === "f32" ? 1 : 8)));

  test("svd() keeps every ratio below 50 at every min(m, n) up to 32, wide and long", () => {
    const wrong = Array.from({ length: 32 }, (_, i) => i + 1).flatMap((p) =>
      [p, p + 1, 2 * p + 1].flatMap((long) => {
        const tall = [1, 2, 3, 4, 5].map(() => randomMatrix(long, p, random, "normal"));
        return [...failuresIn(tall, dtype), ...failuresIn(tall.map(transposed), dtype)];
      }),
    );
    expect(wrong).toEqual([]);
  });

  test("svd() keeps every ratio below 50 where matrices go one by one, 40×36", () => {
    const batch = [randomMatrix(40, 36, random), matrix(40, 36, () => 1), randomMatrix(40, 36, random)];
    expect(failuresIn(batch, dtype)).toEqual([]);
    expect(bits(batch, dtype)).toEqual(batch.map((a) => bits([a], dtype)[0]));
  });

  test.each([
    ["as long as a group may be", 512, 32],
    ["too long for a group", 515, 32],
    ["long and narrow", 3000, 2],
  ])("svd() decomposes matrices %s", (_, m, n) => {
    const batch = [randomMatrix(m, n, random), matrix(m, n, () => 1), randomMatrix(m, n, random, "normal")];
    expect(bits(batch, dtype)).toEqual(batch.map((a) => bits([a], dtype)[0]));
    scope(() => {
      const a = place(batch, dtype);
      for (const x of [a, a.transpose()]) {
        const { u, s, vt } = svd(x);
        const close = (found: Tensor, expected: (i: number, row: number, column: number) => number, scale: number) => {
          const [rows, columns] = found.shape.slice(-2) as [number, number];
          let worst = 0;
          found.data.forEach((value, index) => {
            const i = Math.floor(index / (rows * columns));
            const inside = index % (rows * columns);
            worst = Math.max(worst, Math.abs(value - expected(i, Math.floor(inside / columns), inside % columns)));
          });
          expect(worst).toBeLessThan(50 * ulp * scale);
        };
        const unit = (_: number, i: number, j: number) => (i === j ? 1 : 0);
        close(matmul(u.transpose(), u), unit, Math.sqrt(m));
        close(matmul(vt, vt.transpose()), unit, Math.sqrt(m));
        const values = s.toTyped();
        const scaledVt = tensor(vt);
        const columns = vt.shape[2] as number;
        scaledVt.data.forEach((value, index) => {
          scaledVt.data[index] = value * (values[Math.floor(index / columns)] as number);
        });
        const copy = x.toTyped();
        const size = m * n;
        const largest = Math.max(...values);
        close(matmul(u, scaledVt), (i, row, column) => copy[i * size + row * columns + column] as number, 4 * largest);
        const other = svdvals(x).data;
        for (let i = 0; i < values.length; i++) {
          expect(Math.abs((values[i] as number) - (other[i] as number))).toBeLessThan(50 * ulp * largest);
        }
      }
    });
  });

  test.each([1, 2, 3, 4, 7, 16, 32])("svd() completes the vectors of matrices without full rank, order %i", (n) => {
    const x = random.array(n);
    const y = random.array(n);
    const doubled = randomMatrix(n, n, random);
    for (let i = 0; i < n; i++)
      for (let j = 1; j < n; j += 2) doubled.data[i * n + j] = doubled.data[i * n + j - 1] as number;
    const batch = [
      square(n, () => 1),
      square(n, (i, j) => (i + 1) * (j + 1)),
      square(n, (i, j) => (x[i] as number) * (y[j] as number)),
      doubled,
      square(n, () => 0),
      square(n, (i, j) => (i === n - 1 && j === 0 ? -3 : 0)),
      square(n, (i, j) => (i + j === n - 1 ? -1 - i : 0)),
      square(n, (_, j) => (j === 0 ? 0 : random.symmetric())),
      square(n, (i) => (i === 0 ? 0 : random.symmetric())),
    ];
    expect(failuresIn(batch, dtype)).toEqual([]);
  });

  test("svd() keeps every ratio below 50 on graded, nearly singular and tiny matrices", () => {
    for (const n of [3, 8, 16, 32]) {
      const tiny = dtype === "f32" ? 1e-20 : 1e-100;
      const batch = [
        kahan(n, 1.2),
        frank(n),
        hilbert(n),
        gaussian(n),
        graded(n, n, true),
        graded(n, n, false),
        square(n, (i, j) => (i === j ? 1 : 0) + ulp * random.symmetric()),
        square(n, (_, j) => random.symmetric() * (j % 2 === 1 ? 1 : tiny)),
        square(n, () => random.sign() * Math.exp((dtype === "f32" ? 40 : 300) * random.symmetric())),
        square(n, () => least * random.symmetric()),
      ];
      expect(failuresIn(batch, dtype)).toEqual([]);
      expect(failuresIn([lauchli(n, ulp), lauchli(n, ulp ** 2)], dtype)).toEqual([]);
      expect(failuresIn([graded(n + 5, n, true), graded(n + 5, n, false)], dtype)).toEqual([]);
    }
  });

  test("svd() returns the entries of a diagonal matrix as they are, down to the smallest", () => {
    for (const n of [1, 2, 3, 5, 16]) {
      const d = Float64Array.from({ length: n }, (_, i) => (dtype === "f32" ? 1e-9 : 1e-70) ** (i / 4));
      const [jobs] = decomposeBatch([diagonal(n, n, d.map((x, i) => (i % 2 ? -x : x)).reverse())], dtype);
      expect(jobs?.none).toEqual(rounded(dtype, d));
      expect(jobs?.thin.s).toEqual(rounded(dtype, d));
      const { u, vt } = (jobs as Jobs).thin;
      for (let i = 0; i < n; i++) {
        const column = n - 1 - i;
        const product = (u[column * n + i] as number) * (vt[i * n + column] as number);
        expect(product).toBe(i % 2 ? -1 : 1);
      }
    }
  });

  test("svd() of 2^k·A has exactly 2^k times the values, and the same vectors", () => {
    for (const [m, n] of [
      [3, 3],
      [9, 5],
      [16, 16],
    ] as const) {
      const a = { m, n, data: rounded(dtype, random.array(m * n, "normal")) };
      const powers = dtype === "f32" ? [0, 1, -60, 110, -110] : [0, 1, -600, 1000, -990];
      const [first, ...others] = decomposeBatch(
        powers.map((k) => scaledMatrix(a, k)),
        dtype,
      );
      others.forEach((jobs, i) => {
        const k = powers[i + 1] as number;
        expect(jobs.none).toEqual(first?.none.map((x) => scaled(x, k)));
        expect(jobs.thin.s).toEqual(first?.thin.s.map((x) => scaled(x, k)));
        expect(jobs.thin.u).toEqual(first?.thin.u);
        expect(jobs.full.vt).toEqual(first?.full.vt);
      });
    }
  });

  test("svdvals() of transposed matrices are the same to LAPACK's ratio", () => {
    for (const n of [2, 3, 8, 16, 31]) {
      const batch = [randomMatrix(n, n, random), gaussian(n), graded(n, n, true), square(n, () => 1)];
      const values = decomposeBatch(batch, dtype);
      decomposeBatch(batch.map(transposed), dtype).forEach(({ none, thin }, i) => {
        const { none: expected } = values[i] as Jobs;
        for (const found of [none, thin.s]) {
          found.forEach((x, j) => {
            expect(Math.abs(x - (expected[j] as number))).toBeLessThan(50 * n * ulp * (expected[0] as number));
          });
        }
      });
    }
  });

  test("svd() gives Infinity for a value beyond the format, with the right vectors beside a small neighbour", () => {
    const top = dtype === "f32" ? 2 ** 127 : 2 ** 1023;
    for (const n of [3, 4, 16]) {
      const batch = [square(n, () => top), square(n, (i, j) => (i === j ? least : 0)), square(n, () => top / 64)];
      const [large, small, next] = decomposeBatch(batch, dtype) as [Jobs, Jobs, Jobs];
      expect(large.thin.s[0]).toBe(Number.POSITIVE_INFINITY);
      expect(large.none[0]).toBe(Number.POSITIVE_INFINITY);
      expect(large.thin.u).toEqual(next.thin.u);
      expect(large.thin.vt).toEqual(next.thin.vt);
      expect(Array.from(small.thin.s)).toEqual(new Array<number>(n).fill(least));
    }
  });

  test("svd() writes no −0", () => {
    const batch = [square(4, (i, j) => (i === j ? -1 : -0)), square(4, () => -0), square(3, (i, j) => -(i + j))];
    for (const a of batch) {
      const { full } = decomposeBatch([a], dtype)[0] as Jobs;
      for (const x of [full.u, full.s, full.vt])
        expect(Array.from(x).some((value) => Object.is(value, -0))).toBe(false);
    }
  });

  test("svd() takes views with any strides and several batch axes as if they were copied", () => {
    scope(() => {
      for (const [m, n] of [
        [3, 3],
        [5, 4],
        [4, 9],
        [16, 16],
      ] as const) {
        const stack = tensor(random.array(4 * 3 * m * n), { shape: [4, 3, m, n], dtype });
        const values = tensor(random.array(2 * 3 * 5 * m * n), { dtype }).toTyped();
        const views: TensorLike[] = [
          stack,
          stack.transpose(),
          stack.subtensor(1, 3),
          stack.subtensor(1, 3).transpose(),
          stack.reshape([2, 2, 3, m, n]).transpose(),
          stack.reshape([12, 1, m, n]),
          // batch axes in another order, every second row, columns backwards
          { data: values, shape: [3, 2, m, n], strides: [m * n, 3 * m * n, n, 1] },
          { data: values, shape: [2, 5, m, n], strides: [5 * m * n, m * n, n, -1], offset: n - 1 },
          { data: values, shape: [5, m, n], strides: [2 * m * n, 2, 2 * m] },
        ];
        for (const view of views) {
          const copy = tensor(view);
          const [found, same] = [svd(view), svd(copy)];
          for (const name of ["u", "s", "vt"] as const) {
            expect(found[name].shape).toEqual(same[name].shape);
            expect(found[name].data).toEqual(same[name].data);
          }
          expect(svdvals(view).data).toEqual(svdvals(copy).data);
          // and as one batch axis
          const flat = svd(copy.reshape([copy.size / (m * n), ...copy.shape.slice(-2)]));
          expect(flat.u.data).toEqual(found.u.data);
        }
      }
    });
  });

  test("svd() accepts empty batches and empty matrices", () => {
    scope(() => {
      for (const shape of [
        [0, 3, 3],
        [2, 0, 16, 16],
        [3, 0, 4],
        [3, 4, 0],
      ]) {
        const { u, s, vt } = svd(tensor([], { shape, dtype }), { vectors: "full" });
        const [m, n] = shape.slice(-2) as [number, number];
        expect([u.shape, s.shape, vt.shape].map((x) => x.slice(-2))).toEqual([
          [m, m],
          [...shape.slice(0, -2), Math.min(m, n)].slice(-2),
          [n, n],
        ]);
        if (m * n === 0)
          expect(u.toTyped()).toEqual(
            typed(
              dtype,
              [0, 1, 2].flatMap(() => identity(m)),
            ),
          );
      }
    });
  });

  test.each([3, 16])("svd() names the first entry of a batch that is not finite, order %i", (n) => {
    const a = random.array(7 * n * n);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const data = a.slice();
      data[5 * n * n + n + 2] = bad;
      scope(() => {
        const stack = tensor(data, { shape: [7, n, n], dtype });
        for (const [view, index] of [
          [stack, [5, 1, 2]],
          [stack.transpose(), [5, 2, 1]],
          [stack.subtensor(3, 7), [2, 1, 2]],
        ] as const) {
          expect(() => svd(view)).toThrow(expect.objectContaining({ code: "non_finite", index }));
          expect(() => svdvals(view)).toThrow(expect.objectContaining({ code: "non_finite", index }));
        }
      });
    }
  });
});

function identity(n: number): number[] {
  return Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0));
}

interface Run {
  count: number;
  m: number;
  n: number;
  vectors: number;
  /** Groups of lanes; default all. */
  ranges?: readonly (readonly [begin: number, end: number])[];
  slice?: number;
  sweeps?: number;
  stop?: boolean;
}

/** gesvdBatch on an instance of its own, with NaN in its memory: u, s and vt, and the number of slices. */
function runBatch(dtype: DType, values: ArrayLike<number>, { count, m, n, vectors, ranges, slice, sweeps, stop }: Run) {
  const kernel = new SmallKernel(200);
  const { gesvdBatch, gesvdBatchBegin, gesvdBatchGroups, gesvdBatchScratch } = kernel.routines(dtype);
  const bytes = bytesOf(dtype);
  let top = kernel.base;
  const take = (length: number) => {
    const pointer = Math.ceil(top / 64) * 64;
    top = pointer + length * bytes + 64;
    kernel.view(dtype, pointer, length + 64 / bytes).fill(Number.NaN);
    return { pointer, length };
  };
  const k = Math.min(m, n);
  const [ku, kv] = vectors === 2 ? [m, n] : [k, k];
  const a = take(count * m * n);
  kernel.view(dtype, a.pointer, a.length).set(values);
  const results = [take(vectors === 0 ? 0 : count * m * ku), take(count * k), take(vectors === 0 ? 0 : count * kv * n)];
  const work = take(gesvdBatchScratch(m, n, vectors) / bytes);
  if (slice !== undefined) kernel.common.setSlice(slice);
  if (sweeps !== undefined) kernel.common.setSweeps(sweeps);
  let slices = 0;
  const [u, s, vt] = results.map(({ pointer }) => pointer) as [number, number, number];
  for (const [begin, end] of ranges ?? [[0, gesvdBatchGroups(count)]]) {
    gesvdBatchBegin(work.pointer);
    const word = new Int32Array(kernel.memory.buffer, work.pointer + 8, 1);
    let result: number;
    do {
      word[0] = stop === true && slices % 2 === 0 ? 1 : 0;
      result = gesvdBatch(begin, end, count, m, n, vectors, a.pointer, m * n, n, 1, u, s, vt, work.pointer);
      if (result < 0) expect(result).toBe(word[0] === 1 ? STOPPED : MORE);
      slices++;
    } while (result < 0);
    expect(result).toBe(0);
  }
  // nothing is written behind an operand
  for (const { pointer, length } of [a, ...results, work]) {
    expect(kernel.view(dtype, pointer + length * bytes, 64 / bytes).every((x) => Number.isNaN(x))).toBe(true);
  }
  return { slices, factors: results.map(({ pointer, length }) => kernel.view(dtype, pointer, length).slice()) };
}

const STOPPED = -2;

describe.each(DTYPES)("gesvdBatch(), %s", (dtype) => {
  const random = new Random(5);
  const shapes = [
    [3, 3, 50],
    [8, 5, 37],
    [5, 8, 37],
    [16, 16, 13],
    [33, 34, 3],
  ] as const;

  test.each(shapes)("gesvdBatch() gives the same bits in ranges, in slices and after stops: %i×%i", (m, n, count) => {
    const values = random.array(count * m * n);
    for (const vectors of [0, 1, 2]) {
      const run = { count, m, n, vectors };
      const whole = runBatch(dtype, values, { ...run, slice: Number.POSITIVE_INFINITY });
      expect(whole.slices).toBe(1);
      const cut = runBatch(dtype, values, { ...run, slice: 0 });
      expect(cut.slices).toBeGreaterThan(1);
      expect(cut.factors).toEqual(whole.factors);
      expect(runBatch(dtype, values, { ...run, stop: true }).factors).toEqual(whole.factors);
      const groups = Math.ceil(count / (dtype === "f32" ? 4 : 2));
      const middle = Math.floor(groups / 3);
      const ranges = [
        [middle, groups],
        [0, 0],
        [0, middle],
      ] as const;
      expect(runBatch(dtype, values, { ...run, ranges }).factors).toEqual(whole.factors);
    }
  });

  test.each(shapes)("gesvdBatch() leaves to gesvd what does not converge: %i×%i", (m, n, count) => {
    const values = random.array(count * m * n);
    // the first is diagonal: it converges within a sweep
    for (let i = 0; i < m * n; i++) values[i] = i % (n + 1) === 0 ? 1 + i : 0;
    for (const vectors of [0, 1, 2]) {
      const run = { count, m, n, vectors };
      const [u, s, vt] = runBatch(dtype, values, run).factors as [Typed, Typed, Typed];
      for (const sweeps of [0, 1, 3]) {
        const [u1, s1, vt1] = runBatch(dtype, values, { ...run, sweeps }).factors as [Typed, Typed, Typed];
        const largest = Math.max(...s);
        const p = Math.min(m, n);
        for (let i = 0; i < s.length; i++) {
          expect(Math.abs((s[i] as number) - (s1[i] as number))).toBeLessThan(50 * p * ulpOf(dtype) * largest);
        }
        if (sweeps > 0) {
          expect(s1.slice(0, p)).toEqual(s.slice(0, p));
          if (vectors > 0) expect(u1.slice(0, m)).toEqual(u.slice(0, m));
          if (vectors > 0) expect(vt1.slice(0, n)).toEqual(vt.slice(0, n));
        }
        expect([...u1, ...vt1].every((x) => Number.isFinite(x))).toBe(true);
      }
    }
  });
});
