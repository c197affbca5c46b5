// Upper bidiagonal matrices that are hard for one method or another, by name and for every size.

import type { DType } from "../../bindings/tensor.js";
import { Random } from "./random.js";
import { ulpOf } from "./raw.js";

export interface Bidiagonal {
  /** Diagonal. */
  d: Float64Array;
  /** Superdiagonal, one shorter. */
  e: Float64Array;
}

/** One entry: f(i) for the diagonal and g(i) for the superdiagonal of an n×n matrix. */
type Family = (context: { n: number; ulp: number; range: number; random: Random }) => [Entry, Entry];
type Entry = (i: number) => number;

const some = (random: Random, share: number): Entry => {
  return () => (random.uniform() < share ? 0 : random.normal());
};

/** 10^(−range) to 1: graded matrices span that much. */
const graded = (range: number, n: number, place: Entry): Entry => {
  return (i) => 10 ** ((-range * place(i)) / n);
};

const FAMILIES: Record<string, Family> = {
  normal: ({ random }) => [() => random.normal(), () => random.normal()],
  "as a Gaussian matrix reduces": ({ n, random }) => [
    (i) => Math.sqrt(n - i) * (1 + random.symmetric() / 10),
    (i) => Math.sqrt(n - 1 - i) * (1 + random.symmetric() / 10),
  ],
  // LAPACK's type 16
  "entries e^x, x within 2·log(ulp)": ({ ulp, random }) => {
    const entry = () => Math.exp(2 * Math.log(ulp) * random.symmetric());
    return [entry, entry];
  },
  "all ones": () => [() => 1, () => 1],
  "2 on the diagonal, 1 beside it": () => [() => 2, () => 1],
  "1 on the diagonal, 2 beside it": () => [() => 1, () => 2],
  "graded downward": ({ n, range }) => [graded(range, n, (i) => i), graded(range, n, (i) => i)],
  "graded upward": ({ n, range }) => [graded(range, n, (i) => n - 1 - i), graded(range, n, (i) => n - 1 - i)],
  "graded to both ends": ({ n, range }) => [
    graded(range, n, (i) => Math.abs(i - n / 2)),
    graded(range, n, (i) => Math.abs(i - n / 2)),
  ],
  "graded to the middle (W)": ({ n, range }) => [
    graded(range, n, (i) => n / 2 - Math.abs(i - n / 2)),
    graded(range, n, (i) => n / 2 - Math.abs(i - n / 2)),
  ],
  Wilkinson: ({ n }) => [(i) => Math.abs(i - (n - 1) / 2), () => 1],
  "n, …, 1 beside 1": ({ n }) => [(i) => n - i, () => 1],
  "1, …, n beside 1": () => [(i) => i + 1, () => 1],
  "1, …, n, nearly diagonal": () => [(i) => i + 1, () => 1e-5],
  "Kimura: blocks of ones, glued by 1e-4": () => [() => 1, (i) => (i % 11 === 10 ? 1e-4 : 1)],
  "Wilkinson blocks, glued by 1e-6": () => [(i) => Math.abs((i % 21) - 10), (i) => (i % 21 === 20 ? 1e-6 : 1)],
  "3×3 blocks, glued by 1e10": () => [(i) => 1 + (i % 3 === 1 ? 1 : 0), (i) => (i % 3 === 2 ? 1e10 : 1)],
  "one large value, the rest near ulp": ({ ulp, random }) => [
    (i) => (i === 0 ? 1 : ulp * random.sign()),
    () => ulp * random.normal(),
  ],
  "values 10 ulp apart": ({ ulp, random }) => [() => 1 + 10 * ulp * random.normal(), () => 10 * ulp * random.normal()],
  "values 1e4 ulp apart": ({ ulp, random }) => [
    () => 1 + 1e4 * ulp * random.normal(),
    () => 1e4 * ulp * random.normal(),
  ],
  splits: ({ random }) => [some(random, 0), some(random, 0.1)],
  "zeros on the diagonal": ({ random }) => [some(random, 0.1), some(random, 0)],
  "zeros on both": ({ random }) => [some(random, 0.3), some(random, 0.3)],
  "zero diagonal": ({ random }) => [() => 0, some(random, 0)],
  "first d zero": ({ random }) => [(i) => (i === 0 ? 0 : random.normal()), some(random, 0)],
  "last d zero": ({ n, random }) => [(i) => (i === n - 1 ? 0 : random.normal()), some(random, 0)],
  diagonal: ({ random }) => [() => random.normal(), () => 0],
  identity: () => [() => 1, () => 0],
  zero: () => [() => 0, () => 0],
};

export const BIDIAGONALS: readonly string[] = Object.keys(FAMILIES);

/** Order n of a family, for a dtype's precision and range; not rounded to it. */
export function makeBidiagonal(name: string, n: number, dtype: DType): Bidiagonal {
  const random = new Random(100 * n + BIDIAGONALS.indexOf(name));
  const family = FAMILIES[name] as Family;
  const [d, e] = family({ n, ulp: ulpOf(dtype), range: dtype === "f32" ? 20 : 250, random });
  return {
    d: Float64Array.from({ length: n }, (_, i) => d(i)),
    e: Float64Array.from({ length: Math.max(n - 1, 0) }, (_, i) => e(i)),
  };
}
