// The packed product: the whole grid of small sizes against a reference in twice the precision, block edges, strides,
// what may not be read, the end of memory.

import { describe, expect, test } from "vitest";
import { kernel } from "../../bindings/load.js";
import type { DType } from "../../bindings/tensor.js";
import { BUILD } from "../support/build.js";
import { Random } from "../support/random.js";
import {
  type Block,
  CANARY,
  DTYPES,
  raw,
  rounded,
  roundoff,
  SmallKernel,
  type Typed,
  typed,
  withBlocks,
} from "../support/raw.js";
import { absoluteDot, addProduct, type Product, type Strided, wrongEntry } from "../support/reference.js";

const FACTORS = [0, 1, -1, 2];
const TRANSPOSITIONS = [
  [false, false],
  [true, false],
  [false, true],
  [true, true],
] as const;

/** The side of the grid. */
const SIDE = 33;
const ALL = Array.from({ length: SIDE }, (_, i) => i + 1);
/** The unoptimised build takes every size up to two tiles and the largest. */
const GRID = BUILD === "debug" ? ALL.filter((n) => n <= 17 || n >= 31) : ALL;

/** alpha·A·B + beta·C for every prefix of one depth: the values in twice the precision, and their error bounds. */
class Expected {
  readonly high = new Float64Array(SIDE * SIDE);
  readonly low = new Float64Array(SIDE * SIDE);
  readonly bound = new Float64Array(SIDE * SIDE);
}

/** Reference products of the leading k columns of A and rows of B, extended by one with every step. */
class Prefixes {
  readonly #high = new Float64Array(SIDE * SIDE);
  readonly #low = new Float64Array(SIDE * SIDE);
  readonly #absolute = new Float64Array(SIDE * SIDE);
  #k = 0;

  constructor(
    readonly a: Float64Array,
    readonly b: Float64Array,
    readonly c: Float64Array,
  ) {}

  extend(): void {
    const sum = { high: 0, low: 0 };
    for (let i = 0; i < SIDE; i++) {
      for (let j = 0; j < SIDE; j++) {
        const at = i * SIDE + j;
        const x = this.a[i * SIDE + this.#k] as number;
        const y = this.b[this.#k * SIDE + j] as number;
        sum.high = this.#high[at] as number;
        sum.low = this.#low[at] as number;
        addProduct(sum, x, y);
        this.#high[at] = sum.high;
        this.#low[at] = sum.low;
        (this.#absolute[at] as number) += Math.abs(x * y);
      }
    }
    this.#k++;
  }

  /** The bound: k roundings on |alpha|·|A|·|B|; with beta, one more on everything. */
  expected(alpha: number, beta: number, u: number): Expected {
    const out = new Expected();
    const sum = { high: 0, low: 0 };
    for (let at = 0; at < SIDE * SIDE; at++) {
      sum.high = alpha * (this.#high[at] as number);
      sum.low = alpha * (this.#low[at] as number);
      let absolute = Math.abs(alpha) * (this.#absolute[at] as number);
      let roundings = alpha === 0 ? 0 : this.#k;
      if (beta !== 0) {
        addProduct(sum, beta, this.c[at] as number);
        absolute += Math.abs(beta * (this.c[at] as number));
        roundings++;
      }
      out.high[at] = sum.high;
      out.low[at] = sum.low;
      out.bound[at] = roundings * u * absolute * 1.0000001;
    }
    return out;
  }
}

const LDC = SIDE + 8;
/** C begins behind this many canaries, at an odd element. */
const MARGIN = 4 * LDC + 1;

/** C in kernel memory among canaries, and what must stand in all of that memory before a product is written. */
class Target {
  readonly pointer: number;
  readonly #c: Typed;
  readonly #before: Typed;
  readonly #bytes: Buffer;
  readonly #bytesBefore: Buffer;

  constructor(whole: Block, dtype: DType) {
    this.#c = whole.data;
    this.#before = typed(dtype, whole.data);
    this.#bytes = Buffer.from(this.#c.buffer, this.#c.byteOffset, this.#c.byteLength);
    this.#bytesBefore = Buffer.from(this.#before.buffer);
    this.pointer = whole.pointer + MARGIN * this.#c.BYTES_PER_ELEMENT;
  }

  clear(): void {
    this.#c.fill(CANARY);
    this.#before.fill(CANARY);
  }

  /** Column n − 1 of C, m entries. With beta = 0 they are NaN: not to be read. */
  addColumn(m: number, n: number, beta: number, c0: Float64Array): void {
    for (let i = 0; i < m; i++) {
      const value = beta === 0 ? Number.NaN : (c0[i * SIDE + n - 1] as number);
      this.#c[MARGIN + i * LDC + n - 1] = value;
      this.#before[MARGIN + i * LDC + n - 1] = value;
    }
  }

  /** Index of the first of m×n entries that is outside its bound, or -1; puts what was before in their place. */
  firstWrong(m: number, n: number, expected: Expected): number {
    const c = this.#c;
    const before = this.#before;
    const { high, low, bound } = expected;
    let found = -1;
    for (let i = 0; i < m; i++) {
      const from = i * SIDE;
      const to = MARGIN + i * LDC;
      for (let j = 0; j < n; j++) {
        const error = (c[to + j] as number) - (high[from + j] as number) - (low[from + j] as number);
        // a NaN is an error, too
        if (!(Math.abs(error) <= (bound[from + j] as number)) && found < 0) found = from + j;
        c[to + j] = before[to + j] as number;
      }
    }
    return found;
  }

  /** Whether something but the product was written. */
  get damaged(): boolean {
    return this.#bytes.compare(this.#bytesBefore) !== 0;
  }
}

/** Every product of the grid; the first failure as a text. `spoil` damages a result on purpose. */
function runGrid(dtype: DType, spoil?: (m: number, n: number, k: number, c: Typed) => void): string | undefined {
  const random = new Random(33);
  const [a, b, c0] = [0, 1, 2].map(() => rounded(dtype, random.array(SIDE * SIDE))) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const turned = (x: Float64Array) => x.map((_, at) => x[(at % SIDE) * SIDE + Math.floor(at / SIDE)] as number);
  return withBlocks(dtype, (place) => {
    const left = [place(a), place(turned(a))] as const;
    const right = [place(b), place(turned(b))] as const;
    const unreadable = place(new Float64Array(SIDE * SIDE).fill(Number.NaN));
    const whole = place(new Float64Array(2 * MARGIN + SIDE * LDC).fill(CANARY), 0);
    const target = new Target(whole, dtype);
    const { gemm } = raw(dtype);

    /** All m and n for the rest of the arguments. */
    const plane = (
      k: number,
      alpha: number,
      beta: number,
      ta: boolean,
      tb: boolean,
      expected: Expected,
    ): string | undefined => {
      const pa = alpha === 0 ? unreadable.pointer : left[ta ? 1 : 0].pointer;
      const pb = alpha === 0 ? unreadable.pointer : right[tb ? 1 : 0].pointer;
      const rsa = ta ? 1 : SIDE;
      const csa = ta ? SIDE : 1;
      const rsb = tb ? 1 : SIDE;
      const csb = tb ? SIDE : 1;
      for (const m of GRID) {
        target.clear();
        let columns = 0;
        for (const n of GRID) {
          while (columns < n) target.addColumn(m, ++columns, beta, c0);
          gemm(m, n, k, alpha, pa, rsa, csa, pb, rsb, csb, beta, target.pointer, LDC);
          spoil?.(m, n, k, whole.data);
          const wrong = target.firstWrong(m, n, expected);
          if (wrong < 0 && !target.damaged) continue;
          const what = wrong < 0 ? "a write outside C" : `entry ${Math.floor(wrong / SIDE)}, ${wrong % SIDE}`;
          return `m ${m} n ${n} k ${k} alpha ${alpha} beta ${beta} transposed ${ta} ${tb}: ${what}`;
        }
      }
      return undefined;
    };

    const prefixes = new Prefixes(a, b, c0);
    let depth = 0;
    for (const k of GRID) {
      for (; depth < k; depth++) prefixes.extend();
      for (const alpha of FACTORS) {
        for (const beta of FACTORS) {
          const expected = prefixes.expected(alpha, beta, roundoff(dtype));
          for (const [ta, tb] of TRANSPOSITIONS) {
            const failure = plane(k, alpha, beta, ta, tb, expected);
            if (failure !== undefined) return failure;
          }
        }
      }
    }
    for (const [block, values] of [
      [left[0], a],
      [left[1], turned(a)],
      [right[0], b],
      [right[1], turned(b)],
    ] as const) {
      if (values.some((x, i) => x !== block.data[i])) return "an operand was written";
    }
    return undefined;
  });
}

describe.each(DTYPES)("gemm, %s", (dtype) => {
  test("gemm() is right to k roundings for every m, n, k up to 33, transposition, alpha and beta", () => {
    expect(runGrid(dtype)).toBeUndefined();
  });

  test("gemm()'s grid refuses one wrong entry, a NaN and a write outside C", () => {
    const near = (x: number) => x * (1 + 2 ** (dtype === "f32" ? -16 : -44));
    expect(
      runGrid(dtype, (m, n, k, c) => {
        const last = MARGIN + (m - 1) * LDC + n - 1;
        if (m === 17 && n === 8 && k === 1) c[last] = near(c[last] as number) + 1e-30;
      }),
    ).toBe("m 17 n 8 k 1 alpha 0 beta 0 transposed false false: entry 16, 7");
    expect(
      runGrid(dtype, (m, n, k, c) => {
        if (m === 1 && n === 1 && k === 2) c[MARGIN] = Number.NaN;
      }),
    ).toMatch(/^m 1 n 1 k 2 .*: entry 0, 0$/);
    for (const [row, column] of [
      [0, 9],
      [9, 0],
      [-1, 0],
      [0, -1],
    ] as const) {
      expect(
        runGrid(dtype, (m, n, _k, c) => {
          if (m === 9 && n === 9) c[MARGIN + row * LDC + column] = 0;
        }),
      ).toMatch(/^m 9 n 9 .*: a write outside C$/);
    }
  });

  // around MC = 128, KC = 256, NC = 1024, and where two of them meet
  const EDGES: readonly (readonly [m: number, n: number, k: number])[] = [
    ...[127, 128, 129, 255, 256, 257].map((m) => [m, 9, 5] as const),
    ...[255, 256, 257, 511, 512, 513].map((k) => [6, 11, k] as const),
    ...[1023, 1024, 1025, 2049].map((n) => [5, n, 3] as const),
    [129, 17, 257],
    [9, 1025, 257],
    [130, 1030, 12],
    [1, 300, 300],
    [300, 1, 300],
    [2, 2, 1025],
  ];

  test("gemm() is right around its block sizes", () => {
    const random = new Random(5);
    for (const [index, [m, n, k]] of EDGES.entries()) {
      const [ta, tb] = TRANSPOSITIONS[index % 4] as readonly [boolean, boolean];
      const beta = FACTORS[Math.floor(index / 4) % 4] as number;
      const a = laidOut(dtype, random, m, k, ta ? 1 : k + 3, ta ? m + 3 : 1);
      const b = laidOut(dtype, random, k, n, tb ? 1 : n + 1, tb ? k + 1 : 1);
      expect(checkOne(dtype, { m, n, k, alpha: 1, a, b, beta, c: random.array(m * n) })).toBeUndefined();
    }
  });

  test("gemm() takes operands with any strides", () => {
    const random = new Random(6);
    for (const [m, n, k] of [
      [1, 1, 1],
      [1, 7, 9],
      [7, 1, 9],
      [5, 6, 7],
      [13, 14, 15],
      [33, 34, 35],
      [130, 20, 260],
    ] as const) {
      for (const [ca, cb] of [
        [2, 3],
        [3, 2],
        [1, 5],
        [5, 1],
      ] as const) {
        for (const turn of [false, true]) {
          const a = laidOut(dtype, random, m, k, turn ? ca : ca * k + 1, turn ? ca * m + 1 : ca);
          const b = laidOut(dtype, random, k, n, turn ? cb : cb * n + 2, turn ? cb * k + 2 : cb);
          expect(checkOne(dtype, { m, n, k, alpha: -1, a, b, beta: 2, c: random.array(m * n) })).toBeUndefined();
        }
      }
    }
  });

  test("gemm() takes factors that are no powers of two", () => {
    const random = new Random(7);
    const [alpha, beta] = rounded(dtype, [0.3, -1.7]) as unknown as [number, number];
    for (const size of [1, 5, 9, 20, 40]) {
      const [m, n, k] = [size, size + 1, size + 2];
      const a = laidOut(dtype, random, m, k, k, 1);
      const b = laidOut(dtype, random, k, n, n, 1);
      expect(checkOne(dtype, { m, n, k, alpha, a, b, beta, c: random.array(m * n) })).toBeUndefined();
    }
  });

  test("gemm() of repeated operands (stride 0) is a sum of equal terms", () => {
    withBlocks(dtype, (place) => {
      const a = place([2]);
      const b = place([3]);
      const c = place(new Float64Array(30));
      raw(dtype).gemm(5, 6, 40, 1, a.pointer, 0, 0, b.pointer, 0, 0, 0, c.pointer, 6);
      expect([...c.data]).toEqual(new Array(30).fill(240));
    });
  });

  test.each([
    [0, 5, 5],
    [5, 0, 5],
    [5, 5, 0],
    [0, 0, 0],
    [1, 1, 0],
    [40, 40, 0],
  ])("gemm() of %i×%i×%i is beta·C", (m, n, k) => {
    for (const beta of FACTORS) {
      withBlocks(dtype, (place) => {
        const c = place(new Float64Array(m * n).fill(beta === 0 ? Number.NaN : 3));
        // pointers outside memory: nothing may be read
        raw(dtype).gemm(m, n, k, 1, -64, k, 1, -64, n, 1, beta, c.pointer, n);
        expect([...c.data]).toEqual(new Array(m * n).fill(3 * beta));
      });
    }
  });

  test("gemm() with alpha = 0 reads neither A nor B, with beta = 0 not C, also in large products", () => {
    for (const [m, n, k] of [
      [3, 4, 5],
      [1, 20, 30],
      [20, 1, 30],
      [20, 30, 40],
      [5, 1030, 2],
    ] as const) {
      withBlocks(dtype, (place) => {
        const nan = (length: number) => place(new Float64Array(length).fill(Number.NaN));
        const ones = (length: number) => place(new Float64Array(length).fill(1));
        const call = raw(dtype).gemm;
        const c = ones(m * n);
        call(m, n, k, 0, nan(m * k).pointer, k, 1, nan(k * n).pointer, n, 1, 2, c.pointer, n);
        expect(c.data.every((x) => x === 2)).toBe(true);
        const d = nan(m * n);
        call(m, n, k, 1, ones(m * k).pointer, k, 1, ones(k * n).pointer, n, 1, 0, d.pointer, n);
        expect(d.data.every((x) => x === k)).toBe(true);
        // the twins: what may be read does show
        const e = ones(m * n);
        call(m, n, k, 1, nan(m * k).pointer, k, 1, ones(k * n).pointer, n, 1, 2, e.pointer, n);
        expect(e.data.every((x) => Number.isNaN(x))).toBe(true);
        const f = nan(m * n);
        call(m, n, k, 0, nan(m * k).pointer, k, 1, ones(k * n).pointer, n, 1, 1, f.pointer, n);
        expect(f.data.every((x) => Number.isNaN(x))).toBe(true);
      });
    }
  });

  test("gemm() lets NaN and Infinity pass to exactly the entries that they belong to", () => {
    for (const [m, n, k] of [
      [2, 3, 2],
      [1, 9, 4],
      [9, 1, 4],
      [17, 18, 19],
      [40, 41, 42],
    ] as const) {
      for (const [value, other, expected] of [
        [Number.NaN, 1, Number.NaN],
        [Number.POSITIVE_INFINITY, 1, Number.POSITIVE_INFINITY],
        [Number.POSITIVE_INFINITY, -1, Number.NEGATIVE_INFINITY],
        [Number.NEGATIVE_INFINITY, 1, Number.NEGATIVE_INFINITY],
        [Number.POSITIVE_INFINITY, 0, Number.NaN],
        [Number.NaN, 0, Number.NaN],
      ] as const) {
        withBlocks(dtype, (place) => {
          const [row, inner, column] = [m - 1, k - 1, n - 1];
          const a = place(new Float64Array(m * k).fill(1));
          const b = place(new Float64Array(k * n).fill(other));
          const c = place(new Float64Array(m * n));
          const { gemm } = raw(dtype);
          a.data[row * k + inner] = value;
          gemm(m, n, k, 1, a.pointer, k, 1, b.pointer, n, 1, 0, c.pointer, n);
          for (let at = 0; at < m * n; at++) {
            expect(c.data[at]).toEqual(Math.floor(at / n) === row ? expected : other * k);
          }
          a.data.fill(other);
          b.data.fill(1);
          b.data[inner * n + column] = value;
          gemm(m, n, k, 1, a.pointer, k, 1, b.pointer, n, 1, 0, c.pointer, n);
          for (let at = 0; at < m * n; at++) {
            expect(c.data[at]).toEqual(at % n === column ? expected : other * k);
          }
        });
      }
    }
  });

  test("gemm() keeps subnormal numbers", () => {
    const tiny = dtype === "f32" ? 2 ** -149 : 2 ** -1074;
    for (const size of [3, 20]) {
      withBlocks(dtype, (place) => {
        const a = place(new Float64Array(size * size).fill(tiny));
        const b = place(new Float64Array(size * size).fill(1));
        const c = place(new Float64Array(size * size));
        raw(dtype).gemm(size, size, size, 1, a.pointer, size, 1, b.pointer, size, 1, 0, c.pointer, size);
        expect(c.data.every((x) => x === size * tiny)).toBe(true);
      });
    }
  });

  test("gemm() reads and writes nothing behind the end of memory", () => {
    const small = new SmallKernel(64);
    const { gemm } = small.routines(dtype);
    const bytes = dtype === "f32" ? 4 : 8;
    const sizes = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33];
    for (const m of sizes) {
      for (const n of sizes) {
        for (const k of sizes) {
          const [lda, ldb, ldc] = [k + 2, n + 3, n + 1];
          const lengths = [(m - 1) * lda + k, (k - 1) * ldb + n, (m - 1) * ldc + n] as const;
          for (const last of [0, 1, 2]) {
            const pointers = lengths.map((length, operand) =>
              operand === last
                ? small.memory.buffer.byteLength - length * bytes
                : small.base + operand * 40 * 40 * bytes,
            ) as [number, number, number];
            const [a, b, c] = pointers.map((p, operand) => small.view(dtype, p, lengths[operand] as number).fill(1));
            gemm(m, n, k, 1, pointers[0], lda, 1, pointers[1], ldb, 1, 1, pointers[2], ldc);
            // row-major operands, then the same memory with its strides exchanged
            const first = c?.[0];
            if (first !== k + 1 || c?.[(lengths[2] as number) - 1] !== k + 1)
              throw new Error(`${m} ${n} ${k}: ${first}`);
            if (a === undefined || b === undefined) throw new Error("no operands");
          }
          const turned = [(k - 1) * (m + 1) + m, (n - 1) * (k + 1) + k] as const;
          for (const last of [0, 1]) {
            const pointers = turned.map((length, operand) =>
              operand === last
                ? small.memory.buffer.byteLength - length * bytes
                : small.base + operand * 40 * 40 * bytes,
            ) as [number, number];
            for (const operand of [0, 1] as const) small.view(dtype, pointers[operand], turned[operand]).fill(1);
            const c = small.base + 2 * 40 * 40 * bytes;
            gemm(m, n, k, 1, pointers[0], 1, m + 1, pointers[1], 1, k + 1, 0, c, n);
            if (small.view(dtype, c, m * n).some((x) => x !== k)) throw new Error(`${m} ${n} ${k} transposed`);
          }
        }
      }
    }
    // the twin: one element further is a trap
    const end = small.memory.buffer.byteLength;
    for (const size of [3, 16]) {
      const a = end - (size * size - 1) * bytes;
      expect(() => gemm(size, size, size, 1, a, size, 1, small.base, size, 1, 0, small.base, size)).toThrow(
        WebAssembly.RuntimeError,
      );
    }
  });

  test("gemmBatch() multiplies products begin…end and leaves the others", () => {
    const random = new Random(8);
    for (const [m, n, k] of [
      [2, 3, 4],
      [11, 12, 13],
      [1, 5, 6],
      [6, 1, 5],
    ] as const) {
      const count = 7;
      const [sa, sb, sc] = [m * k + 3, k * n + 1, m * n + 2];
      const a = rounded(dtype, random.array(count * sa));
      const b = rounded(dtype, random.array(count * sb));
      withBlocks(dtype, (place) => {
        const pa = place(a).pointer;
        const pb = place(b).pointer;
        const c = place(new Float64Array(count * sc).fill(CANARY));
        const { gemmBatch } = raw(dtype);
        const check = (begin: number, end: number, stepA: number, stepB: number) => {
          c.data.fill(CANARY);
          gemmBatch(begin, end, m, n, k, 1, pa, stepA, k, 1, pb, stepB, n, 1, 0, c.pointer, sc, n);
          for (let i = 0; i < count; i++) {
            const inside = i >= begin && i < end;
            const product: Product = {
              ...{ m, n, k, alpha: 1, beta: 0 },
              a: { data: a, offset: i * stepA, rowStride: k, columnStride: 1 },
              b: { data: b, offset: i * stepB, rowStride: n, columnStride: 1 },
              c: { data: [], rowStride: 0, columnStride: 0 },
            };
            const got = { data: c.data, offset: i * sc, rowStride: n, columnStride: 1 };
            if (inside) expect(wrongEntry(product, got, roundoff(dtype))).toBeUndefined();
            const rest = c.data.subarray(i * sc + (inside ? m * n : 0), (i + 1) * sc);
            expect(rest.every((x) => x === CANARY)).toBe(true);
          }
        };
        check(0, count, sa, sb);
        check(2, 5, sa, sb);
        check(6, 7, sa, 0);
        check(0, count, 0, sb);
        check(3, 3, sa, sb);
      });
    }
  });

  test("gemm() gives the same digits for the same product wherever it stands", () => {
    const random = new Random(9);
    const [m, n, k] = [19, 21, 23];
    withBlocks(dtype, (place) => {
      const a = random.array(m * k);
      const b = random.array(k * n);
      const results = [1, 2, 3, 4].map((margin) => {
        const [pa, pb] = [place(a, margin), place(b, 5 - margin)];
        const c = place(new Float64Array(m * n), margin);
        raw(dtype).gemm(m, n, k, 1, pa.pointer, k, 1, pb.pointer, n, 1, 0, c.pointer, n);
        return c.data;
      });
      for (const result of results) expect(result).toEqual(results[0]);
    });
  });
});

/** A random m×n matrix with the given strides; NaN between its elements. */
function laidOut(
  dtype: DType,
  random: Random,
  m: number,
  n: number,
  rowStride: number,
  columnStride: number,
): Strided & { data: Float64Array } {
  const data = new Float64Array((m - 1) * rowStride + (n - 1) * columnStride + 1).fill(Number.NaN);
  for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) data[i * rowStride + j * columnStride] = random.symmetric();
  return { data: rounded(dtype, data), rowStride, columnStride };
}

/** One call of gemm with C's rows longer than n: the first wrong entry, or undefined. */
function checkOne(dtype: DType, given: Omit<Product, "c"> & { c: Float64Array }): string | undefined {
  const { m, n, k, alpha, a, b, beta } = given;
  const ldc = n + 5;
  return withBlocks(dtype, (place) => {
    const before = rounded(dtype, given.c);
    const spread = new Float64Array(m * ldc).fill(CANARY);
    for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) spread[i * ldc + j] = before[i * n + j] as number;
    const c = place(spread);
    raw(dtype).gemm(
      ...([m, n, k, alpha, place(a.data).pointer, a.rowStride, a.columnStride] as const),
      ...([place(b.data).pointer, b.rowStride, b.columnStride, beta, c.pointer, ldc] as const),
    );
    for (let at = 0; at < m * ldc; at++) if (at % ldc >= n && c.data[at] !== CANARY) return `a write at ${at}`;
    const product: Product = { ...given, c: { data: before, rowStride: n, columnStride: 1 } };
    return wrongEntry(product, { data: c.data, rowStride: ldc, columnStride: 1 }, roundoff(dtype));
  });
}

describe("wrongEntry()", () => {
  test("wrongEntry() accepts a product of the definition and refuses one with a wrong entry", () => {
    const random = new Random(10);
    const [m, n, k] = [4, 5, 6];
    const a = random.array(m * k);
    const b = random.array(k * n);
    const rows = (data: ArrayLike<number>, rowStride: number): Strided => ({ data, rowStride, columnStride: 1 });
    const c = Float64Array.from({ length: m * n }, (_, at) => {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += (a[Math.floor(at / n) * k + p] as number) * (b[p * n + (at % n)] as number);
      return sum;
    });
    const product: Product = { m, n, k, alpha: 1, a: rows(a, k), b: rows(b, n), beta: 0, c: rows([], 0) };
    expect(wrongEntry(product, rows(c, n), 2 ** -53)).toBeUndefined();
    for (const at of [0, 7, m * n - 1]) {
      const bad = c.slice();
      const row = a.subarray(Math.floor(at / n) * k);
      (bad[at] as number) += 2 * k * 2 ** -53 * absoluteDot(k, row, b.subarray(at % n), 1, n);
      expect(wrongEntry(product, rows(bad, n), 2 ** -53)).toContain(`entry (${Math.floor(at / n)}, ${at % n})`);
    }
    expect(
      wrongEntry(
        product,
        rows(
          c.map((x, at) => (at === 3 ? Number.NaN : x)),
          n,
        ),
        2 ** -53,
      ),
    ).toContain("entry (0, 3)");
    // a single precision product is not a double precision one
    expect(wrongEntry(product, rows(Float32Array.from(c), n), 2 ** -53)).toContain("entry");
  });

  test("withBlocks() reports a write beside an operand", () => {
    for (const beside of [-1, 4]) {
      expect(() =>
        withBlocks("f64", (place) => {
          const block = place(new Float64Array(4));
          new Float64Array(kernel().memory.buffer, block.pointer + 8 * beside, 1)[0] = 0;
        }),
      ).toThrow("a write outside operand 0: 1 canaries");
    }
  });
});
