// Matrices on which other programs hung, lost digits or returned vectors that are no basis, each by its name, and
// matrices whose singular values are known by a formula.

import { describe, expect, test } from "vitest";
import { scope, svd, tensor } from "../../bindings/index.js";
import type { DType } from "../../bindings/tensor.js";
import {
  bidiagonal,
  companion,
  diagonal,
  frank,
  fromRows,
  hilbert,
  kahan,
  lauchli,
  type Matrix,
  matrix,
  randomMatrix,
  scaledMatrix,
  transposed,
  vandermonde,
  wilkinsonPolynomial,
  withValues,
} from "../support/matrices.js";
import { Random } from "../support/random.js";
import { decompose, failures, failuresOf, ratios } from "../support/ratios.js";
import { DTYPES, rounded, ulpOf } from "../support/raw.js";
import { scaled } from "../support/reference.js";

const random = new Random(7);
const range = (n: number) => Array.from({ length: n }, (_, i) => i);

/** d = top…1, 1…top. */
const wShape = (top: number) => [...range(top).map((i) => top - i), ...range(top).map((i) => i + 1)];

/** Three-by-three blocks, or longer ones, with `glue` between them. */
function glued(block: readonly number[], count: number, inside: number, glue: number): Matrix {
  const d = range(count).flatMap(() => block);
  return bidiagonal(
    d,
    d.map((_, i) => (i % block.length === block.length - 1 ? glue : inside)),
  );
}

/** Oriented incidence matrix of the complete graph: one row an edge. */
function incidence(n: number): Matrix {
  const edges = range(n).flatMap((i) => range(i).map((j) => [i, j] as const));
  return matrix(edges.length, n, (edge, j) => (edges[edge]?.[0] === j ? 1 : edges[edge]?.[1] === j ? -1 : 0));
}

function hadamard(n: number): Matrix {
  const ones = (x: number): number => (x === 0 ? 0 : (x & 1) + ones(x >> 1));
  return matrix(n, n, (i, j) => 1 - 2 * (ones(i & j) & 1));
}

/** Singular values of the companion matrix of x^n + … + a0: n − 2 are 1, the other two depend on Σa² and a0. */
function companionValues(a: readonly number[]): number[] {
  const sum = 1 + a.reduce((total, x) => total + x * x, 0);
  const root = Math.sqrt(sum * sum - 4 * (a[0] as number) ** 2);
  const largest = Math.sqrt((sum + root) / 2);
  return [largest, ...new Array<number>(a.length - 2).fill(1), Math.abs(a[0] as number) / largest];
}

interface Case {
  name: string;
  a: Matrix;
  /** Its singular values where a formula or a publication gives them. */
  s?: number[];
  /** The dtypes whose range holds its entries; default both. */
  only?: DType;
}

const coefficients = [3, -1, 4, -1, 5, -9, 2, -6];

const CASES: readonly Case[] = [
  // published
  {
    name: "a rank-2 matrix with rows in proportion",
    a: fromRows([
      [1, 2, 3],
      [2, 4, 6],
      [1, 3, 5],
    ]),
    s: [10.232961643649508, 0.5352532107311067, 0],
  },
  { name: "Hilbert, 3", a: hilbert(3), s: [1.408318927123654, 0.12232706585390585, 0.002687340355773529] },
  {
    name: "Hilbert, 8",
    a: hilbert(8),
    s: [
      1.6959389969219496, 0.2981252113169307, 0.02621284357811905, 0.0014676881177418672, 5.436943369749942e-5,
      1.2943320918728114e-6, 1.7988737458175767e-8, 1.1115389663724424e-10,
    ],
  },
  { name: "Hilbert, 20", a: hilbert(20) },
  { name: "Hilbert, 12×7", a: hilbert(12, 7) },
  {
    name: "Golub and Reinsch 1970, example 1",
    a: fromRows([
      [22, 10, 2, 3, 7],
      [14, 7, 10, 0, 8],
      [-1, 13, -1, -11, 3],
      [-3, -2, 13, -2, 4],
      [9, 8, 1, -2, 4],
      [9, 1, -7, 5, -1],
      [2, -6, 6, 5, 1],
      [4, 5, 0, -2, 2],
    ]),
    s: [Math.sqrt(1248), 20, Math.sqrt(384), 0, 0],
  },
  {
    name: "Golub and Reinsch 1970, example 2",
    a: matrix(20, 21, (i, j) => (i > j ? 0 : i === j ? 20 - i : -1)),
    s: range(20).map((i) => Math.sqrt((20 - i) * (21 - i))),
  },
  { name: "Golub and Reinsch 1970, example 3", a: matrix(30, 30, (i, j) => (i > j ? 0 : i === j ? 1 : -1)) },
  // formulas
  { name: "all ones", a: matrix(7, 5, () => 1), s: [Math.sqrt(35), 0, 0, 0, 0] },
  { name: "all equal, 40×40", a: matrix(40, 40, () => 1.7e10), s: [6.8e11, ...new Array<number>(39).fill(0)] },
  { name: "Läuchli, ε = 1e-8", a: lauchli(10, 1e-8), s: [Math.sqrt(10 + 1e-16), ...new Array<number>(9).fill(1e-8)] },
  { name: "Läuchli, ε = 1e-3", a: lauchli(6, 1e-3), s: [Math.sqrt(6 + 1e-6), ...new Array<number>(5).fill(1e-3)] },
  {
    name: "second differences",
    a: matrix(30, 30, (i, j) => (i === j ? 2 : Math.abs(i - j) === 1 ? -1 : 0)),
    s: range(30).map((k) => 2 + 2 * Math.cos(((k + 1) * Math.PI) / 31)),
  },
  {
    name: "ones on and below the diagonal",
    a: matrix(25, 25, (i, j) => (i >= j ? 1 : 0)),
    s: range(25).map((k) => 1 / (2 * Math.sin(((2 * k + 1) * Math.PI) / 102))),
  },
  {
    name: "bidiagonal ones",
    a: bidiagonal(new Array<number>(33).fill(1), 1),
    s: range(33).map((k) => 2 * Math.cos(((k + 1) * Math.PI) / 67)),
  },
  { name: "Hadamard: one value, many times", a: hadamard(16), s: new Array<number>(16).fill(4) },
  { name: "a permutation", a: matrix(11, 11, (i, j) => (j === (i * 4) % 11 ? 1 : 0)), s: new Array(11).fill(1) },
  { name: "incidence of the complete graph on 8", a: incidence(8), s: [...new Array(7).fill(Math.sqrt(8)), 0] },
  { name: "companion", a: companion(coefficients), s: companionValues(coefficients) },
  { name: "companion of (x − 1)…(x − 26), 6e26", a: companion(wilkinsonPolynomial(26)) },
  { name: "diagonal, unsorted, signs", a: diagonal(5, 4, [-2, 7, 0, -7]), s: [7, 7, 2, 0] },
  { name: "minus zero everywhere", a: matrix(4, 3, () => -0), s: [0, 0, 0] },
  { name: "one entry in a zero matrix", a: matrix(5, 6, (i, j) => (i === 3 && j === 2 ? -5 : 0)), s: [5, 0, 0, 0, 0] },
  {
    name: "a projection",
    a: matrix(9, 9, (i, j) => (i === j ? 1 : 0) - 1 / 9),
    s: [...new Array<number>(8).fill(1), 0],
  },
  // clusters and gaps
  {
    name: "repeated values in three clusters",
    a: withValues(
      24,
      18,
      range(18).map((i) => 3 - (i % 3)),
      random,
    ),
  },
  {
    name: "near-equal values, 1e-14 apart",
    a: withValues(
      20,
      20,
      range(20).map((i) => 1 + i * 1e-14),
      random,
    ),
  },
  {
    name: "one value 1, the rest 1e-18",
    a: withValues(
      15,
      15,
      range(15).map((i) => (i === 0 ? 1 : 1e-18)),
      random,
    ),
  },
  { name: "orthogonal", a: withValues(21, 21, new Array<number>(21).fill(1), random) },
  { name: "rank 1", a: matrix(13, 9, (i, j) => Math.sin(i + 1) * Math.cos(2 * j)) },
  {
    name: "rank 5 of 30",
    a: withValues(
      30,
      30,
      range(30).map((i) => (i < 5 ? 5 - i : 0)),
      random,
    ),
  },
  { name: "repeated rows", a: matrix(12, 8, (i, j) => Math.sin((i % 3) * 8 + j)) },
  { name: "repeated columns", a: matrix(12, 8, (i, j) => Math.sin(i * 3 + (j % 3))) },
  {
    name: "zero rows and columns",
    a: matrix(12, 10, (i, j) => (i % 3 === 0 || j % 4 === 1 ? 0 : Math.sin(i + 7 * j))),
  },
  { name: "a zero last column", a: matrix(9, 6, (i, j) => (j === 5 ? 0 : Math.cos(i * 5 + j))) },
  { name: "a zero first column", a: matrix(9, 6, (i, j) => (j === 0 ? 0 : Math.cos(i * 5 + j))) },
  // ill-conditioned and graded
  { name: "Kahan, θ 1.2", a: kahan(40, 1.2) },
  { name: "Kahan, θ 0.3", a: kahan(30, 0.3) },
  { name: "Frank, 14", a: frank(14) },
  {
    name: "Vandermonde",
    a: vandermonde(
      range(12).map((i) => (i - 5.5) / 3),
      12,
    ),
  },
  { name: "Demmel: D·random", a: matrix(16, 16, (i) => 10 ** -i * random.symmetric()) },
  { name: "Demmel: random·D", a: matrix(16, 16, (_, j) => 10 ** -j * random.symmetric()) },
  { name: "graded from both sides", a: matrix(14, 14, (i, j) => 10 ** -(i + j) * random.symmetric()) },
  { name: "graded upwards", a: matrix(14, 14, (i, j) => 10 ** (i + j - 26) * random.symmetric()) },
  // bidiagonal
  {
    name: "graded bidiagonal, 0.3 down to 1e-15",
    a: bidiagonal(
      range(16).map((i) => 0.3 / 10 ** i),
      0.2,
    ),
  },
  {
    name: "mixed bidiagonal, 1e-11 … 1e13",
    a: bidiagonal(
      range(16).map((i) => 10 ** (((i * 7) % 25) - 11)),
      1,
    ),
  },
  { name: "Barlow, 1 … 2e16", a: bidiagonal([1, 2, 1, 2e16], [1, 2, 1]) },
  { name: "W-shaped, 10 … 1, 1 … 10", a: bidiagonal(wShape(10), 1) },
  { name: "W-shaped, 20 … 1, 1 … 20", a: bidiagonal(wShape(20), 1) },
  { name: "zero inside the diagonal", a: bidiagonal([1, 2, 0, 4, 5], 1) },
  { name: "zero at the end of the diagonal", a: bidiagonal([1, 2, 3, 4, 0], 1) },
  { name: "zero at the start of the diagonal", a: bidiagonal([0, 2, 3, 4, 5], 1) },
  { name: "zeros all along the diagonal", a: bidiagonal([0, 0, 0, 0, 0, 0], 1) },
  { name: "zeros at alternate places", a: bidiagonal([0, 1, 0, 1, 0, 1, 0], 1) },
  {
    name: "splits",
    a: bidiagonal(
      range(12).map((i) => i + 1),
      range(12).map((i) => (i % 4 === 1 ? 0 : 1)),
    ),
  },
  { name: "1e15 beside a zero", a: bidiagonal([1e15, 0, 1, 1, 1], 1) },
  { name: "blocks of three glued by 1e10", a: glued([1, 2, 3], 3, 1, 1e10) },
  { name: "blocks of three glued by 1e-10", a: glued([1, 2, 3], 3, 1, 1e-10) },
  { name: "blocks glued by 1e-5", a: glued([1, 1, 1, 1, 1, 1], 5, 1, 1e-5) },
  {
    name: "Kimura: blocks 11 … 1 … 11 glued by 1e-4",
    a: glued([...wShape(11).slice(0, 11), ...wShape(11).slice(12)], 4, 1, 1e-4),
  },
  { name: "1e-155 and 1e-171", a: bidiagonal([1e-155, 1e-171, 1e-155, 1e-163], 1e-160), only: "f64" },
  { name: "lower bidiagonal", a: transposed(bidiagonal(wShape(8), 1)) },
  // from bug reports
  {
    name: "pvfmm 5, first (hung)",
    a: fromRows([
      [267.2, -267.2, -230.96],
      [-4383.17, 4383.17, -4383.17],
      [0, 0, 0],
    ]),
  },
  {
    name: "pvfmm 5, second (hung)",
    a: fromRows([
      [7044.77, 0, 0],
      [0, -1.28e-322, 57.26],
      [0, 0, 0],
    ]),
  },
  {
    name: "numeric 75 (NaN)",
    a: fromRows([
      [1.2314470096270005, -8.927990819795772],
      [0.0710192233504547, -0.5148893692907976],
    ]),
  },
  {
    name: "numeric 75, exactly singular",
    a: fromRows([
      [1, 2],
      [2, 4],
    ]),
    s: [5, 0],
  },
  {
    name: "Eigen 791 with 0 for NaN",
    a: fromRows([
      [0, 2 * 2 ** -52, 0.5],
      [0, -0.5, 0],
      [0, 0, 0],
    ]),
  },
  {
    name: "Eigen 286, subnormal",
    a: fromRows([
      [-7.90884e-313, -4.94e-324],
      [0, 5.60844e-313],
    ]),
    only: "f64",
  },
  {
    name: "sums of squares beyond the range, 9e307",
    a: fromRows([
      [4.4e307, -5.9e307, 6.5e307],
      [3.8e307, 2.4e306, -3.5e307],
      [-8.7e307, -7.3e307, -2.4e307],
    ]),
    s: [1.194068933392105e308, 9.794052670824475e307, 4.4050051659334143e307],
    only: "f64",
  },
];

/** Smallest normal and largest exponent. */
const LIMITS = { f32: [-126, 127], f64: [-1022, 1023] } as const;

describe.each(DTYPES)("hard cases, %s", (dtype) => {
  const ulp = ulpOf(dtype);
  const cases = CASES.filter(({ only }) => only === undefined || only === dtype).map((given) => ({
    ...given,
    a: { ...given.a, data: rounded(dtype, given.a.data) },
  }));
  const isSubnormal = ({ data }: Matrix) => data.every((x) => Math.abs(x) < scaled(1, LIMITS[dtype][0]));

  test.each(cases.filter(({ a }) => !isSubnormal(a)))("svd() of $name", ({ a, s }) => {
    const jobs = decompose(a, dtype);
    expect(failures(ratios(a, jobs, ulp))).toEqual([]);
    // "auto" is one of the two, by size
    for (const driver of ["qr", "dc", "jacobi"] as const) expect(failuresOf(a, dtype, driver)).toEqual([]);
    expect(jobs.full.s.every((x) => !Object.is(x, -0))).toBe(true);
    const turned = transposed(a);
    const other = decompose(turned, dtype);
    expect(failures(ratios(turned, other, ulp))).toEqual([]);
    // the same values, whichever way the matrix lies, and the known ones where there are any
    const bound = Math.max(a.m, a.n) * ulp * (jobs.none[0] as number);
    jobs.none.forEach((value, i) => {
      expect(Math.abs(value - (other.none[i] as number))).toBeLessThanOrEqual(2 * bound);
      if (s !== undefined) expect(Math.abs(value - (s[i] as number))).toBeLessThanOrEqual(bound);
    });
  });

  test.each(cases)("svd() of 2^k times the matrix gives exactly 2^k times the values: $name", ({ a }) => {
    const [least, most] = LIMITS[dtype];
    const entries = a.data.filter((x) => x !== 0).map(Math.abs);
    if (entries.length === 0 || isSubnormal(a)) return;
    const low = Math.floor(Math.log2(entries.reduce((x, y) => Math.min(x, y))));
    const high = Math.floor(Math.log2(entries.reduce((x, y) => Math.max(x, y))));
    const { full, none } = decompose(a, dtype);
    // as far down as the smallest entry stays normal, as far up as the values stay in range
    for (const k of [least - low, -1, 1, 5, most - high - 7]) {
      if (low + k < least || high + k + 7 > most) continue;
      const moved = decompose(scaledMatrix(a, k), dtype);
      const expected = rounded(
        dtype,
        none.map((x) => scaled(x, k)),
      );
      expect(moved.none).toEqual(expected);
      expect(moved.full.u).toEqual(full.u);
      expect(moved.full.vt).toEqual(full.vt);
    }
  });

  test("svd() of every 2×2 matrix of 0, 1 and −1 is right, and of such with tiny entries", () => {
    // Eigen's set: the smallest number, subnormal ones, and one whose square underflows
    const tiny = dtype === "f32" ? [1.4e-45, 5.6e-42, 4.9e-30] : [4.94e-324, 5.60844e-313, 4.94e-223];
    const values = [0, 1, -1, ...tiny, ...tiny.map((x) => -x)];
    const count = values.length ** 4;
    const entry = (at: number, place: number) =>
      values[Math.floor(at / values.length ** place) % values.length] as number;
    const data = rounded(
      dtype,
      Float64Array.from({ length: 4 * count }, (_, i) => entry(Math.floor(i / 4), i % 4)),
    );
    const [u, s, vt] = scope(() => {
      const factors = svd(tensor(data, { shape: [count, 2, 2], dtype }), { vectors: "full" });
      return [factors.u, factors.s, factors.vt].map((x) => Float64Array.from(x.data));
    }) as [Float64Array, Float64Array, Float64Array];
    const least = dtype === "f32" ? 2 ** -149 : 2 ** -1074;
    const wrong: string[] = [];
    for (let at = 0; at < count; at++) {
      const a: Matrix = { m: 2, n: 2, data: data.slice(4 * at, 4 * at + 4) };
      const factors = {
        u: u.slice(4 * at, 4 * at + 4),
        s: s.slice(2 * at, 2 * at + 2),
        vt: vt.slice(4 * at, 4 * at + 4),
      };
      const found = ratios(a, { full: factors, thin: factors, none: factors.s }, ulp);
      // subnormal values are rounded to multiples of the smallest number: reconstruction is judged below
      const largest = Math.max(...a.data.map(Math.abs));
      if (largest < scaled(1, LIMITS[dtype][0])) {
        const [f, g, h] = [factors.u, factors.s, factors.vt] as [Float64Array, Float64Array, Float64Array];
        const error = a.data.map((x, i) => {
          const [row, column] = [i >> 1, i & 1];
          const first = (f[2 * row] as number) * ((g[0] as number) / least) * (h[column] as number);
          const second = (f[2 * row + 1] as number) * ((g[1] as number) / least) * (h[2 + column] as number);
          return Math.abs(x / least - first - second);
        });
        if (!error.every((x) => x < 2 + (4 * largest * ulp) / least)) wrong.push(`${a.data}: reconstruction ${error}`);
        found.reconstruction = 0;
      }
      const failed = failures(found);
      if (failed.length > 0) wrong.push(`${a.data}: ${failed}`);
    }
    expect(wrong).toEqual([]);
  });

  test("svd() of a bidiagonal matrix has every value, however small, to full relative accuracy", () => {
    const reversed = <T>(values: ArrayLike<T>) => Array.from(values).reverse();
    const draws = new Random(11);
    const step = dtype === "f32" ? 2 : 8;
    const graded: [string, number[], number[]][] = [
      ["downwards", range(12).map((i) => scaled(1.1, -step * i)), range(11).map((i) => scaled(0.7, -step * i))],
      [
        "upwards",
        range(12).map((i) => scaled(1.1, step * (i - 11))),
        range(11).map((i) => scaled(0.7, step * (i - 11))),
      ],
      ["W", [...range(6), ...reversed(range(6))].map((i) => scaled(1.3, -2 * step * i)), new Array<number>(11).fill(1)],
      ["ones", new Array<number>(12).fill(1), new Array<number>(11).fill(1)],
    ];
    for (let i = 0; i < 20; i++) {
      const draw = () => Math.exp((dtype === "f32" ? 8 : 60) * draws.symmetric());
      graded.push([`random ${i}`, range(12).map(draw), range(11).map(draw)]);
    }
    const wrong: string[] = [];
    for (const [name, d, e] of graded) {
      const values = (a: Matrix) => decompose(a, dtype).none;
      const s = values(bidiagonal(rounded(dtype, d), rounded(dtype, e)));
      // turned about its other diagonal the matrix is bidiagonal again, with the same values by another way
      const t = values(bidiagonal(rounded(dtype, reversed(d)), rounded(dtype, reversed(e))));
      const bound = 50 * 12 * ulp;
      s.forEach((value, i) => {
        if (!(Math.abs(value - (t[i] as number)) <= bound * value)) wrong.push(`${name}: ${i}: ${value} ${t[i]}`);
      });
      // and their product is that of the diagonal
      const ratio = s.reduce((sum, x) => sum + Math.log2(x), 0) - d.reduce((sum, x) => sum + Math.log2(x), 0);
      if (!(Math.abs(ratio) <= bound)) wrong.push(`${name}: product off by 2^${ratio}`);
    }
    expect(wrong).toEqual([]);
  });

  test("svd() of subnormal matrices has right vectors and values to the last place of the format", () => {
    const least = dtype === "f32" ? -149 : -1074;
    for (const [m, n] of [
      [2, 2],
      [5, 3],
      [3, 6],
      [8, 8],
    ] as const) {
      const integers = matrix(m, n, () => 1 + random.below(1000));
      const { full, none } = decompose(integers, dtype);
      const moved = decompose(scaledMatrix(integers, least), dtype);
      expect(moved.full.u).toEqual(full.u);
      expect(moved.full.vt).toEqual(full.vt);
      moved.none.forEach((x, i) => {
        expect(Math.abs(scaled(x, -least) - (none[i] as number))).toBeLessThanOrEqual(0.5 * (1 + 2 ** -20));
      });
      const smallest = decompose(
        matrix(m, n, (i, j) => (i === 1 && j === 1 ? scaled(1, least) : 0)),
        dtype,
      );
      expect([...smallest.none]).toEqual([scaled(1, least), ...new Array(Math.min(m, n) - 1).fill(0)]);
    }
  });

  test("svd() returns values beyond the range as Infinity, the others and the vectors right", () => {
    const top = dtype === "f32" ? 126 : 1022;
    for (const [a, infinite] of [
      [matrix(2, 2, (i, j) => (i * j === 1 ? -1.9 : 1.9)), 2],
      [matrix(3, 3, () => 1.9), 1],
      [matrix(4, 6, (i, j) => 1.5 + (((i * 5 + j * 3) % 7) - 3) / 8), 1],
      [matrix(6, 4, (i, j) => 1.5 + (((i * 5 + j * 3) % 7) - 3) / 8), 1],
    ] as const) {
      const held: Matrix = { ...a, data: rounded(dtype, a.data) };
      const { full, thin, none } = decompose(held, dtype);
      const moved = decompose(scaledMatrix(held, top + 1), dtype);
      const expected = (s: Float64Array) =>
        rounded(
          dtype,
          s.map((x) => scaled(x, top + 1)),
        );
      expect([...expected(none)].filter((x) => x === Number.POSITIVE_INFINITY).length).toBe(infinite);
      expect(moved.none).toEqual(expected(none));
      expect(moved.full.s).toEqual(expected(full.s));
      expect(moved.thin.s).toEqual(expected(thin.s));
      expect(moved.full.u).toEqual(full.u);
      expect(moved.thin.vt).toEqual(thin.vt);
    }
  });

  const exponents = dtype === "f32" ? [-35, -20, 20, 35] : [-300, -160, 160, 300];

  test.each(exponents)("svd() of matrices of the size of 1e%i keeps every ratio below 50", (exponent) => {
    const sizes = [
      [1, 1],
      [4, 4],
      [9, 6],
      [6, 9],
      [30, 30],
    ] as const;
    for (const [m, n] of sizes) {
      const a = randomMatrix(m, n, random, "normal");
      expect(failuresOf({ m, n, data: a.data.map((x) => x * 10 ** exponent) }, dtype)).toEqual([]);
    }
  });

  test("svd() of entries spread over the whole range keeps every ratio below 50", () => {
    const [least, most] = LIMITS[dtype];
    for (const [m, n] of [
      [3, 3],
      [10, 10],
      [12, 7],
      [7, 12],
      [25, 25],
    ] as const) {
      // the 1-norm of the largest must stay in range: LAPACK's ratio divides by it
      const draw = () => random.sign() * scaled(1 + random.uniform(), least + random.below(most - least - 6));
      for (let i = 0; i < 10; i++) expect(failuresOf(matrix(m, n, draw), dtype)).toEqual([]);
    }
  });

  test("svd() of small integer matrices keeps every ratio below 50", () => {
    // exact zeros, repeated values and rank deficiency come by themselves
    for (let i = 0; i < 150; i++) {
      const [m, n] = [1 + random.below(7), 1 + random.below(7)];
      const a = matrix(m, n, () => random.below(3) - 1);
      expect([a.m, a.n, [...a.data], failuresOf(a, dtype)]).toEqual([m, n, [...a.data], []]);
    }
  });
});

test.each(["qr", "dc", "jacobi"] as const)(
  "svd() of Kimura's 429×429 matrix keeps every ratio below 50, driver %s",
  (driver) => {
    const d = range(429).map((i) => 1 + Math.abs(10 - (i % 21)));
    const a = bidiagonal(
      d,
      range(429).map((i) => (i % 21 === 20 ? 1e-4 : 1)),
    );
    expect(failuresOf(a, "f64", driver)).toEqual([]);
  },
);

// divide and conquer of these ends in its first slice
test.each(DTYPES.flatMap((dtype) => [256, 300, 520].map((n) => [dtype, n] as const)))(
  "svd() of matrices that deflate at once keeps every ratio below 50, %s, order %i",
  (dtype, n) => {
    const identity = diagonal(n, n, range(n).fill(1));
    const clustered = bidiagonal(
      range(n).map((i) => (i % 3) + 1),
      range(n).map(() => (dtype === "f32" ? 1e-9 : 1e-18)),
    );
    for (const a of [identity, clustered]) expect(failuresOf(a, dtype, "dc")).toEqual([]);
  },
);
