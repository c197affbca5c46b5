// The kernels under the layers: the base product and the adapters of a batch, row by row against f64, and bit by bit against
// the same row in other company.

import { describe, expect, test } from "vitest";
import type { DType } from "../../bindings/index.js";
import { kernel } from "../../bindings/load.js";
import { Random } from "../support/random.js";
import { type Block, bytesOf, DTYPES, raw, rounded, typed, withBlocks } from "../support/raw.js";
import { multiply, transpose } from "../support/reference.js";
import { largestRowError, sameBits, TOLERANCE } from "./reference.js";

type Place = (values: ArrayLike<number>, margin?: number) => Block;

const numbers = (random: Random, dtype: DType, n: number) => rounded(dtype, random.array(n, "normal"));

describe("linear", () => {
  /** W in its three forms: pointer and strides. */
  function forms(dtype: DType, place: Place, m: number, n: number, w: ArrayLike<number>) {
    const stored = place(w);
    const turned = place(transpose(m, n, w));
    const packed = place(new Float64Array(raw(dtype).packedWeightSize(n, m)));
    raw(dtype).packWeight(n, m, stored.pointer, n, 1, packed.pointer);
    return { stored: [stored.pointer, n, 1], turned: [turned.pointer, 1, m], packed: [packed.pointer, 0, 1] } as Record<
      string,
      [number, number, number]
    >;
  }

  const SHAPES = [
    [1, 1],
    [3, 5],
    [8, 4],
    [17, 33],
    [9, 255],
    [16, 257],
    [5, 770],
    [33, 2049],
    [1030, 12],
  ] as const;

  test.each(DTYPES)("linear: a row is right and has the same bits in any number of rows (%s)", (dtype) => {
    const random = new Random(1);
    for (const [m, n] of SHAPES) {
      for (const withBias of [false, true]) {
        withBlocks(dtype, (place) => {
          const rows = 13;
          const [x, w, bias] = [n * rows, m * n, m].map((size) => numbers(random, dtype, size)) as [
            Float64Array,
            Float64Array,
            Float64Array,
          ];
          const expected = multiply(rows, m, n, x, transpose(m, n, w)).map(
            (value, i) => value + (withBias ? (bias[i % m] as number) : 0),
          );
          const [px, pb] = [place(x), place(bias)];
          let first: Float32Array | Float64Array | undefined;
          for (const [form, [pointer, rsw, csw]] of Object.entries(forms(dtype, place, m, n, w))) {
            for (const count of [1, 2, 3, 5, rows]) {
              const y = place(new Float64Array(m * count).fill(Number.NaN));
              for (let t = 0; t + count <= rows; t += count) {
                const from = px.pointer + t * n * bytesOf(dtype);
                const b = withBias ? pb.pointer : 0;
                raw(dtype).linear(0, m, count, n, from, n, pointer, rsw, csw, b, y.pointer, m);
                const what = JSON.stringify({ m, n, withBias, form, count, t });
                const wanted = expected.subarray(t * m, (t + count) * m);
                expect(largestRowError(y.data, wanted, m), what).toBeLessThan(TOLERANCE[dtype]);
                first ??= typed(dtype, expected.length).fill(Number.NaN);
                const known = first.subarray(t * m, (t + count) * m);
                if (count === 1 && form === "stored") known.set(y.data);
                else expect(sameBits(y.data.slice(), known.slice()), what).toBe(true);
              }
            }
          }
        });
      }
    }
  });

  test.each(DTYPES)("linear: outputs in ranges and rows apart give the same bits (%s)", (dtype) => {
    const random = new Random(2);
    const [rows, m, n] = [6, 45, 300];
    withBlocks(dtype, (place) => {
      const [x, w] = [place(numbers(random, dtype, rows * (n + 3))), numbers(random, dtype, m * n)];
      for (const [form, [pointer, rsw, csw]] of Object.entries(forms(dtype, place, m, n, w))) {
        for (const count of [1, rows]) {
          const whole = place(new Float64Array(rows * (m + 2)).fill(7));
          const parts = place(new Float64Array(rows * (m + 2)).fill(7));
          const go = (begin: number, end: number, y: Block) =>
            raw(dtype).linear(begin, end, count, n, x.pointer, n + 3, pointer, rsw, csw, 0, y.pointer, m + 2);
          go(0, m, whole);
          go(0, 16, parts);
          go(16, 24, parts);
          go(24, m, parts);
          expect(sameBits(whole.data.slice(), parts.data.slice()), form).toBe(true);
          expect([...whole.data.slice(m, m + 2)], form).toEqual([7, 7]);
        }
      }
    });
  });

  test("linear: the plain product's order for one row would be seen", () => {
    // the twin: matmul adds one row in another order
    const random = new Random(3);
    const [m, n] = [64, 1000];
    withBlocks("f32", (place) => {
      const [x, w] = [place(numbers(random, "f32", n)), place(numbers(random, "f32", m * n))];
      const [y, z] = [place(new Float64Array(m)), place(new Float64Array(m))];
      raw("f32").linear(0, m, 1, n, x.pointer, n, w.pointer, n, 1, 0, y.pointer, m);
      raw("f32").gemm(1, m, n, 1, x.pointer, n, 1, w.pointer, 1, n, 0, z.pointer, m);
      expect(sameBits(y.data.slice(), z.data.slice())).toBe(false);
    });
  });

  test.each(DTYPES)("linear: inputs too wide for the packing memory (%s)", (dtype) => {
    const random = new Random(4);
    const [rows, m, n] = [5, 3, 70_001];
    withBlocks(dtype, (place) => {
      const [x, w] = [numbers(random, dtype, rows * n), numbers(random, dtype, m * n)];
      const [px, pw, one, all] = [place(x), place(w), place(new Float64Array(m)), place(new Float64Array(rows * m))];
      raw(dtype).linear(0, m, rows, n, px.pointer, n, pw.pointer, n, 1, 0, all.pointer, m);
      raw(dtype).linear(0, m, 1, n, px.pointer, n, pw.pointer, n, 1, 0, one.pointer, m);
      expect(sameBits(all.data.slice(0, m), one.data.slice())).toBe(true);
      expect(largestRowError(all.data, multiply(rows, m, n, x, transpose(m, n, w)), m)).toBeLessThan(TOLERANCE[dtype]);
    });
  });

  test.each(DTYPES)("linear: no inputs give the bias, or zeros; NaN and Infinity pass through (%s)", (dtype) => {
    withBlocks(dtype, (place) => {
      const [bias, y, some] = [place([1, 2, 3]), place(new Float64Array(6).fill(Number.NaN)), place([1])];
      raw(dtype).linear(0, 3, 2, 0, some.pointer, 0, some.pointer, 0, 1, bias.pointer, y.pointer, 3);
      expect([...y.data]).toEqual([1, 2, 3, 1, 2, 3]);
      raw(dtype).linear(0, 3, 2, 0, some.pointer, 0, some.pointer, 0, 1, 0, y.pointer, 3);
      expect([...y.data]).toEqual([0, 0, 0, 0, 0, 0]);
      const [x, w] = [
        place([0, 1, Number.POSITIVE_INFINITY, 1]),
        place([1, Number.NaN, 2, 3, Number.POSITIVE_INFINITY, 4]),
      ];
      for (const rows of [1, 2]) {
        const z = place(new Float64Array(3 * rows));
        raw(dtype).linear(0, 3, rows, 2, x.pointer, 2, w.pointer, 2, 1, 0, z.pointer, 3);
        expect([...z.data.slice(0, 3)]).toEqual([Number.NaN, 3, Number.NaN]);
        if (rows === 2) expect([...z.data.slice(3)]).toEqual([Number.NaN, Infinity, Infinity]);
      }
    });
  });
});

describe("loraBatch", () => {
  interface Factors {
    r: number;
    scaling: number;
    a: Float64Array;
    b: Float64Array;
    bias: Float64Array | undefined;
  }

  const factors = (random: Random, dtype: DType, m: number, n: number, r: number, bias = false): Factors => ({
    r,
    scaling: 2 / r,
    a: numbers(random, dtype, r * n),
    b: numbers(random, dtype, m * r),
    bias: bias ? numbers(random, dtype, m) : undefined,
  });

  /** A record over matrices, or over pages of its own. */
  function record(dtype: DType, place: Place, m: number, n: number, f: Factors, pages: boolean): number {
    const at = align(place(new Float64Array(48)).pointer);
    const [a, b, bias] = [place(f.a), place(f.b), f.bias && place(f.bias)];
    const routines = raw(dtype);
    if (!pages) {
      routines.loraRecord(f.r, a.pointer, b.pointer, bias?.pointer ?? 0, f.scaling, at);
      return at;
    }
    const count = f.r + (bias ? 1 : 0);
    const bytes = routines.loraPageBytes(n, m);
    const base = align(place(new Float64Array(((count + 2) * bytes) / bytesOf(dtype)), 0).pointer);
    routines.loraLinkPages(count + 1, base, bytes, 0);
    // handed out and back in two parts, so that the chain is not in the order of addresses
    routines.loraFreePages(1, base, 0);
    const rest = count > 0 ? base + bytes : 0;
    routines.loraFreePages(count, rest, base);
    const next = routines.loraWritePages(n, m, f.r, a.pointer, b.pointer, bias?.pointer ?? 0, f.scaling, rest);
    expect(next).toBe(base);
    return routines.loraPagesRecord(rest);
  }

  const align = (pointer: number) => Math.ceil(pointer / 64) * 64;

  /** Runs loraBatch on copies of x and y; returns y. */
  function batch(
    dtype: DType,
    { m, n }: { m: number; n: number },
    x: Float64Array,
    y: Float64Array,
    ids: readonly number[],
    records: readonly number[],
    { r, transpose: inMatrices, scales }: { r: number; transpose: boolean; scales?: readonly number[] },
  ) {
    return withBlocks(dtype, (place) => {
      const { memory } = kernel();
      const [px, py] = [place(x), place(y)];
      const lists = align(place(new Float64Array(ids.length + records.length + 64)).pointer);
      new Int32Array(memory.buffer, lists, ids.length).set(ids);
      const at = align(lists + 4 * ids.length);
      new Uint32Array(memory.buffer, at, records.length).set(records);
      const bytes = raw(dtype).loraBatchScratch(ids.length, records.length, r, m, inMatrices ? 1 : 0);
      const work = align(place(new Float64Array(Math.ceil(bytes / bytesOf(dtype)) + 64), 0).pointer);
      const factor = scales === undefined ? 0 : place(scales).pointer;
      raw(dtype).loraBatch(ids.length, n, m, px.pointer, n, py.pointer, m, lists, records.length, at, factor, work);
      return py.data.slice();
    });
  }

  function expectedRow(f: Factors | undefined, m: number, n: number, x: Float64Array, y: Float64Array, scale = 1) {
    if (f === undefined) return y;
    const h = multiply(1, f.r, n, x, transpose(f.r, n, f.a));
    const update = multiply(1, m, f.r, h, transpose(m, f.r, f.b));
    return y.map((value, o) => value + scale * f.scaling * ((update[o] as number) + (f.bias?.[o] ?? 0)));
  }

  const SHAPES = [
    { m: 1, n: 1, ranks: [1, 2] },
    { m: 5, n: 3, ranks: [1, 3, 8] },
    { m: 2049, n: 33, ranks: [5, 1] },
    { m: 66, n: 2049, ranks: [16, 7] },
    { m: 31, n: 64, ranks: [256, 1, 12] },
  ];

  test.each(DTYPES)("loraBatch: every row has its own adapter, of any rank, in pages or in matrices (%s)", (dtype) => {
    const random = new Random(5);
    for (const { m, n, ranks } of SHAPES) {
      withBlocks(dtype, (place) => {
        const adapters = ranks.map((r, i) => factors(random, dtype, m, n, r, i === 1));
        const forms = [false, true].map((pages) => adapters.map((f) => record(dtype, place, m, n, f, pages)));
        const rows = 9;
        const ids = Array.from({ length: rows }, () => random.below(ranks.length + 1) - 1);
        ids[3] = -1;
        const [x, y] = [numbers(random, dtype, rows * n), numbers(random, dtype, rows * m)];
        const scales = Array.from({ length: rows }, (_, t) => t - 2);
        const settings = { r: Math.max(...ranks), transpose: true };
        for (const factor of [undefined, scales]) {
          const options = factor === undefined ? settings : { ...settings, scales: factor };
          const got = forms.map((records) => batch(dtype, { m, n }, x, y, ids, records, options));
          expect(sameBits(got[0] as Float32Array, got[1] as Float32Array)).toBe(true);
          for (let t = 0; t < rows; t++) {
            const what = JSON.stringify({ m, n, ranks, t, id: ids[t], scaled: factor !== undefined });
            const row = (got[0] as Float32Array).slice(t * m, (t + 1) * m);
            const [xt, yt] = [x.slice(t * n, (t + 1) * n), y.slice(t * m, (t + 1) * m)];
            const wanted = expectedRow(adapters[ids[t] as number], m, n, xt, yt, factor?.[t] ?? 1);
            if (ids[t] === -1) expect(sameBits(row, typed(dtype, yt)), what).toBe(true);
            // sums that nearly cancel are held to the size of their terms
            expect(largestRowError(row, wanted, m), what).toBeLessThan(TOLERANCE[dtype] * (m < 9 ? 20 : 1));
            // alone, and in reverse order, and beside others: the same bits
            const single = batch(dtype, { m, n }, xt, yt, [ids[t] as number], forms[1] as number[], {
              ...settings,
              ...(factor && { scales: [factor[t] as number] }),
            });
            expect(sameBits(row, single), what).toBe(true);
          }
          const back = (v: Float64Array, width: number) =>
            Float64Array.from(
              { length: v.length },
              (_, i) => v[(rows - 1 - Math.floor(i / width)) * width + (i % width)] as number,
            );
          const reversed = batch(dtype, { m, n }, back(x, n), back(y, m), [...ids].reverse(), forms[1] as number[], {
            ...settings,
            ...(factor && { scales: [...factor].reverse() }),
          });
          expect(sameBits(typed(dtype, back(Float64Array.from(reversed), m)), got[0] as Float32Array)).toBe(true);
        }
      });
    }
  });

  test.each(DTYPES)(
    "loraBatch: a transposed factor, a missing scale or another row's adapter would be seen (%s)",
    (dtype) => {
      const random = new Random(6);
      const [m, n] = [8, 8];
      withBlocks(dtype, (place) => {
        const f = factors(random, dtype, m, n, 8, true);
        const other = factors(random, dtype, m, n, 8);
        const [x, y] = [numbers(random, dtype, n), numbers(random, dtype, m)];
        const far = (g: Factors) => {
          const got = batch(dtype, { m, n }, x, y, [0], [record(dtype, place, m, n, g, true)], {
            r: 9,
            transpose: false,
          });
          return largestRowError(got, expectedRow(f, m, n, x, y), m) > 100 * TOLERANCE[dtype];
        };
        expect(far(f)).toBe(false);
        expect(far({ ...f, a: transpose(8, 8, f.a) })).toBe(true);
        expect(far({ ...f, b: transpose(8, 8, f.b) })).toBe(true);
        expect(far({ ...f, scaling: 1 })).toBe(true);
        expect(far({ ...f, bias: undefined })).toBe(true);
        expect(far(other)).toBe(true);
      });
    },
  );

  test.each(DTYPES)("loraAdd: the bits of loraBatch (%s)", (dtype) => {
    const random = new Random(7);
    const [rows, m, n] = [5, 37, 70];
    withBlocks(dtype, (place) => {
      const f = factors(random, dtype, m, n, 6, true);
      const [x, y] = [numbers(random, dtype, rows * n), numbers(random, dtype, rows * m)];
      const records = [record(dtype, place, m, n, f, true)];
      const wanted = batch(dtype, { m, n }, x, y, [0, 0, 0, 0, 0], records, { r: 6, transpose: false });
      const [px, py, a, b, bias] = [x, y, f.a, f.b, f.bias as Float64Array].map((values) => place(values)) as Block[];
      const work = align(place(new Float64Array(raw(dtype).loraAddScratch(6, m) / 4 + 64), 0).pointer);
      const [pa, pb, pc] = [a, b, bias].map((block) => block?.pointer ?? 0) as [number, number, number];
      raw(dtype).loraAdd(rows, 0, n, m, px?.pointer ?? 0, n, py?.pointer ?? 0, m, 6, pa, pb, pc, f.scaling, work);
      expect(sameBits(py?.data.slice() as Float32Array, wanted)).toBe(true);
    });
  });
});
