import { describe, expect, test } from "vitest";
import { Csr, capabilities, csr, scope, tensor } from "../../bindings/index.js";
import { refuses } from "../support/bad_input.js";
import { Random } from "../support/random.js";
import { DTYPES, raw, typed, withBlocks } from "../support/raw.js";
import { product, randomCoordinates, toDense, toParts } from "./reference.js";

const SHAPES = [
  [0, 0, 0],
  [0, 5, 0],
  [5, 0, 0],
  [1, 1, 1],
  [1, 9, 4],
  [9, 1, 4],
  [3, 3, 0],
  [7, 5, 60],
  [40, 23, 200],
  [100, 331, 900],
  [331, 67, 2000],
] as const;

describe.each(DTYPES)("csr %s", (dtype) => {
  test.each(SHAPES)(
    "csr() and csr.fromCoo() of %i×%i with %i elements: sorted, what shares a place added",
    (m, n, count) => {
      const coordinates = randomCoordinates(m, n, count, 1 + m);
      const dense = [...toDense(coordinates)];
      const { rows, cols, values } = coordinates;
      using a = csr(toParts(dtype, coordinates));
      using b = csr.fromCoo(rows, Uint16Array.from(cols), typed(dtype, values), [m, n]);
      for (const one of [a, b]) {
        expect(one.shape).toEqual([m, n]);
        expect(one.dtype).toBe(dtype);
        expect([...one.toDense().data]).toEqual(dense);
        const places = new Set(rows.map((row, e) => row * n + (cols[e] as number)));
        expect(one.nnz).toBe(places.size);
        const { indices, indptr } = one;
        expect(indptr.length).toBe(m + 1);
        for (let i = 0; i < m; i++) {
          const row = [...indices.slice(indptr[i], indptr[i + 1])];
          expect(row).toEqual([...new Set(row)].sort((x, y) => x - y));
        }
      }
      expect(b.indices).toEqual(a.indices);
      expect(b.indptr).toEqual(a.indptr);
      using t = a.transpose();
      expect(t.shape).toEqual([n, m]);
      expect([...t.toDense().data]).toEqual(
        Array.from({ length: m * n }, (_, at) => dense[(at % m) * n + Math.floor(at / m)]),
      );
    },
  );

  test.each([1, 2, 3, 7, 8, 16, 17, 33, 51])("products with %i columns are the dense ones", (b) => {
    for (const [m, n, count] of SHAPES) {
      const coordinates = randomCoordinates(m, n, count, 7 + m);
      const dense = toDense(coordinates);
      using a = csr(toParts(dtype, coordinates));
      const random = new Random(b);
      const draw = (length: number) => Float64Array.from({ length }, () => random.below(65) / 8 - 4);
      const [x, y] = [draw(n * b), draw(m * b)];
      // every sum of products of eighths is exact
      const ax = a.multiply(tensor(typed(dtype, x), { shape: [n, b] }));
      expect(ax.shape).toEqual([m, b]);
      expect(Float64Array.from(ax.data)).toEqual(product(dense, m, n, x, b, false));
      const aty = a.multiplyTransposed(tensor(typed(dtype, y), { shape: [m, b] }));
      expect(aty.shape).toEqual([n, b]);
      expect(Float64Array.from(aty.data)).toEqual(product(dense, m, n, y, b, true));
    }
  });

  test("a product with a vector is a vector; transposed views are taken", () => {
    const coordinates = randomCoordinates(6, 4, 15, 3);
    using a = csr(toParts(dtype, coordinates));
    const dense = toDense(coordinates);
    const x = a.multiply(typed(dtype, [1, 2, 3, 4]));
    expect(x.shape).toEqual([6]);
    expect(Float64Array.from(x.data)).toEqual(product(dense, 6, 4, [1, 2, 3, 4], 1, false));
    const view = tensor(typed(dtype, [1, 2, 3, 4, 5, 6, 7, 8]), { shape: [2, 4] }).transpose();
    expect(Float64Array.from(a.multiply(view).data)).toEqual(product(dense, 6, 4, [1, 5, 2, 6, 3, 7, 4, 8], 2, false));
  });

  test("NaN and Infinity pass through products, and zeros do not hide them", () => {
    using a = csr({
      data: typed(dtype, [0, Infinity, 1]),
      indices: [0, 1, 1],
      indptr: [0, 1, 3 - 1, 3],
      shape: [3, 2],
    });
    const x = [...a.multiply(typed(dtype, [NaN, 2])).data];
    expect(x).toEqual([NaN, Infinity, 2]);
    expect([...a.multiplyTransposed(typed(dtype, [Infinity, 0, 1])).data]).toEqual([NaN, NaN]);
    // twin: what is not stored is not multiplied
    expect([...a.multiply(typed(dtype, [1, NaN])).data]).toEqual([0, NaN, NaN]);
    const wide = a.multiply(tensor(typed(dtype, new Array(2 * 20).fill(NaN)), { shape: [2, 20] }));
    expect([...wide.data].every(Number.isNaN)).toBe(true);
  });

  test("products in ranges of rows and of columns have the same bits and write nothing else", () => {
    const [m, n, b, ld] = [90, 70, 21, 24];
    const coordinates = randomCoordinates(m, n, 700, 5);
    const random = new Random(9);
    using a = csr.fromCoo(coordinates.rows, coordinates.cols, typed(dtype, random.array(700)), [m, n]);
    const { csrmm, csrmmTransposed } = raw(dtype);
    const { data, indices, indptr } = a.lists;
    withBlocks(dtype, (place) => {
      const x = place(random.array(Math.max(m, n) * ld));
      const whole = place(new Float64Array(Math.max(m, n) * ld).fill(3));
      const parts = place(new Float64Array(Math.max(m, n) * ld).fill(3));
      csrmm(0, m, b, data.pointer, indices.pointer, indptr.pointer, x.pointer, ld, whole.pointer, ld);
      for (const [begin, end] of [
        [50, 90],
        [0, 1],
        [1, 50],
      ] as const) {
        csrmm(begin, end, b, data.pointer, indices.pointer, indptr.pointer, x.pointer, ld, parts.pointer, ld);
      }
      expect(parts.data).toEqual(whole.data);
      expect(whole.data.filter((_, at) => at % ld >= b || at >= m * ld).every((value) => value === 3)).toBe(true);
      const run = (first: number, last: number, to: number) =>
        csrmmTransposed(first, last, m, n, data.pointer, indices.pointer, indptr.pointer, x.pointer, ld, to, ld);
      whole.data.fill(3);
      parts.data.fill(3);
      run(0, b, whole.pointer);
      run(16, b, parts.pointer);
      run(0, 16, parts.pointer);
      expect(parts.data).toEqual(whole.data);
      expect(whole.data.filter((_, at) => at % ld >= b || at >= n * ld).every((value) => value === 3)).toBe(true);
    });
  });

  test("scaleRows(), scaleColumns(), columnSums(), rowNorms()", () => {
    using a = csr({ data: typed(dtype, [3, 4, 5]), indices: [0, 2, 2], indptr: [0, 2, 2, 3], shape: [3, 4] });
    using rows = a.scaleRows(typed(dtype, [2, NaN, -1]));
    expect(rows.toDense().toArray()).toEqual([
      [6, 0, 8, 0],
      [0, 0, 0, 0],
      [0, 0, -5, 0],
    ]);
    using columns = a.scaleColumns(typed(dtype, [1, NaN, 0.5, 7]));
    expect(columns.toDense().toArray()).toEqual([
      [3, 0, 2, 0],
      [0, 0, 0, 0],
      [0, 0, 2.5, 0],
    ]);
    expect(a.columnSums().toArray()).toEqual([3, 0, 9, 0]);
    expect(a.rowNorms().toArray()).toEqual([5, 0, 5]);
    expect([...a.data]).toEqual([3, 4, 5]);
    const large = dtype === "f32" ? 2 ** 100 : 2 ** 700;
    using extreme = a.scaleRows(typed(dtype, [large, 1, 1 / large]));
    expect(extreme.rowNorms().toArray()).toEqual([5 * large, 0, 5 / large]);
  });
});

describe("csr", () => {
  test("plain numbers make f64; what it was made from is not changed and not shared", () => {
    const data = tensor([1, 2]);
    using a = csr({ data, indices: [1, 0], indptr: [0, 2], shape: [1, 2] });
    expect(a.dtype).toBe("f64");
    expect([...a.data]).toEqual([2, 1]);
    expect(data.toArray()).toEqual([1, 2]);
    a.data[0] = 9;
    expect(a.toDense().toArray()).toEqual([[9, 1]]);
    // the kernel's own indices cannot be written
    a.indices[0] = 1000;
    expect(a.multiply([1, 1]).toArray()).toEqual([10]);
  });

  test("a sum of what shares a place may be zero, and stays stored", () => {
    using a = csr.fromCoo([0, 0], [1, 1], [1, -1], [1, 2]);
    expect([a.nnz, [...a.data]]).toEqual([1, [0]]);
  });

  test("memory comes back with dispose() and not with a scope", () => {
    const { usedBytes } = capabilities();
    const a = scope(() => ({ a: csr.fromCoo([1, 0, 1], [0, 1, 0], [1, 2, 3], [2, 2]) })).a;
    expect(a.multiply([1, 1]).toArray()).toEqual([2, 4]);
    const t = a.transpose();
    t.dispose();
    a.dispose();
    a.dispose();
    for (const use of [
      () => a.data,
      () => a.indices,
      () => a.multiply([1, 1]),
      () => a.transpose(),
      () => a.toDense(),
    ]) {
      expect(use).toThrow("disposed");
    }
    const product = capabilities().usedBytes - usedBytes;
    expect(product).toBeLessThan(1000);
  });

  test("wrong arguments are refused before anything is made", () => {
    const good = { data: [1, 2, 3], indices: [0, 1, 1], indptr: [0, 1, 3], shape: [2, 2] };
    const make = (change: object) => () => csr({ ...good, ...change } as never);
    const coo = (rows: unknown, cols: unknown, values: unknown, shape: unknown) => () =>
      csr.fromCoo(rows as never, cols as never, values as never, shape as never);
    using a = csr(good);
    expect(a).toBeInstanceOf(Csr);
    refuses([
      ["no parts", () => csr(undefined as never), TypeError, /"parts"/],
      ["unknown part", make({ column: 1 }), TypeError, /"column"/],
      [
        "column too large",
        make({ indices: [0, 2, 1] }),
        RangeError,
        '"indices[1]" expected an integer in [0, 1], got 2',
      ],
      ["column negative", make({ indices: [0, -1, 1] }), RangeError, /"indices\[1\]"/],
      ["column negative", make({ indices: Int32Array.of(0, -1, 1) }), RangeError, /"indices\[1\]".*-1/],
      ["column huge", make({ indices: Uint32Array.of(0, 2 ** 32 - 1, 1) }), RangeError, /4294967295/],
      ["column fractional", make({ indices: [0, 0.5, 1] }), RangeError, /"indices\[1\]"/],
      ["column NaN", make({ indices: [0, NaN, 1] }), RangeError, /"indices\[1\]"/],
      ["column a string", make({ indices: [0, "1", 1] }), TypeError, /"indices\[1\]"/],
      ["a hole", make({ indices: new Array(3) }), TypeError, /"indices\[0\]"/],
      ["floats", make({ indices: Float64Array.of(0, 1, 1) }), TypeError, /"indices".*Float64Array/],
      ["big integers", make({ indices: BigInt64Array.of(0n) }), TypeError, /"indices".*BigInt64Array/],
      ["no columns", make({ indices: undefined }), TypeError, /"indices"/],
      ["indptr decreases", make({ indptr: [0, 3, 1] }), RangeError, '"indptr[2]" expected an integer >= 3, got 1'],
      ["indptr from 1", make({ indptr: [1, 1, 3] }), RangeError, '"indptr[0]" expected 0, got 1'],
      ["indptr beyond", make({ indptr: [0, 1, 4] }), RangeError, /"indptr\[2\]"/],
      ["indptr ends early", make({ indptr: [0, 1, 2] }), RangeError, /"indptr\[2\]" expected 3/],
      ["indptr too short", make({ indptr: [0, 3] }), RangeError, '"indptr" expected 3 integers for 2 rows, got 2'],
      ["too many values", make({ data: [1, 2, 3, 4] }), RangeError, /"data"/],
      ["values of two axes", make({ data: [[1, 2, 3]] }), RangeError, /"data"/],
      ["values integers", make({ data: Int32Array.of(1, 2, 3) }), TypeError, /"data"/],
      ["three axes", make({ shape: [2, 2, 1] }), RangeError, /"shape"/],
      ["no shape", make({ shape: undefined }), TypeError, /"shape"/],
      ["negative shape", make({ shape: [2, -2] }), RangeError, /"shape\[1\]"/],
      ["row too large", coo([2], [0], [1], [2, 2]), RangeError, /"rows\[0\]"/],
      ["column too large", coo([1], [2], [1], [2, 2]), RangeError, /"cols\[0\]"/],
      ["lengths", coo([1, 0], [1], [1, 2], [2, 2]), RangeError, /"cols"/],
      ["lengths", coo([1], [1], [1, 2], [2, 2]), RangeError, /"values"/],
      ["factor too long", () => a.multiply([1, 2, 3]), RangeError, '"x" expected shape (2,) or (2, b), got (3,)'],
      ["dtype", () => a.multiply(Float32Array.of(1, 2)), TypeError, /"x"/],
      ["dtype", () => a.scaleRows(Float32Array.of(1, 2)), TypeError, /"factors"/],
      ["factors", () => a.scaleColumns([1, 2, 3]), RangeError, /"factors"/],
      ["y too long", () => a.multiplyTransposed([[1], [2], [3]]), RangeError, /"y"/],
    ]);
  });
});
