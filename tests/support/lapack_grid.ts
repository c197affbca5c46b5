// The grid of LAPACK's SVD tests: sizes of TESTING/svd.in, matrix types of TESTING/EIG/ddrvbd.f (driver) and dchkbd.f
// (bidiagonal). Generated from here, so that no test depends on a file.

import type { DType } from "../../bindings/tensor.js";
import { diagonal, type Matrix, matrix, randomMatrix, spectrum, withValues } from "./matrices.js";
import { Random } from "./random.js";
import { ulpOf } from "./raw.js";

export const SIZES: readonly (readonly [m: number, n: number])[] = [
  [0, 0],
  [0, 1],
  [0, 3],
  [1, 0],
  [1, 1],
  [1, 2],
  [2, 0],
  [2, 1],
  [3, 0],
  [3, 1],
  [3, 3],
  [10, 10],
  [10, 16],
  [16, 10],
  [16, 16],
  [30, 30],
  [30, 40],
  [40, 30],
  [40, 40],
];

/** Smallest normal number, and the number that LAPACK takes for the largest: its reciprocal. */
function limits(dtype: DType): { underflow: number; overflow: number } {
  const underflow = dtype === "f32" ? 2 ** -126 : 2 ** -1022;
  return { underflow, overflow: 1 / underflow };
}

interface Case {
  m: number;
  n: number;
  p: number;
  dtype: DType;
  ulp: number;
  underflow: number;
  overflow: number;
  random: Random;
}

export interface MatrixType {
  name: string;
  make(size: Case): Matrix;
}

/** `d` with random signs. */
function signed(d: Float64Array, random: Random): Float64Array {
  return d.map((x) => x * random.sign());
}

function times(a: Matrix, factor: number): Matrix {
  return { ...a, data: a.data.map((x) => x * factor) };
}

const evenly = ({ p, ulp, random }: Case) => signed(spectrum(4, p, 1 / ulp), random);
const geometric = ({ p, ulp, random }: Case) => signed(spectrum(3, p, 1 / ulp), random);
const clustered = ({ p, ulp, random }: Case) => signed(spectrum(1, p, 1 / ulp), random);
/** "times sqrt(overflow)" and "times sqrt(underflow)" as the code has them. */
const large = ({ m, n, ulp, overflow }: Case) => (Math.sqrt(overflow) * ulp) / Math.max(m, n, 1);
const small = ({ m, n, ulp, underflow }: Case) => (Math.sqrt(underflow) * Math.max(m, n, 1)) / ulp;
const dense = (c: Case, d: Float64Array) => withValues(c.m, c.n, d, c.random);
const onDiagonal = (c: Case, d: Float64Array) => diagonal(c.m, c.n, d);

export const DRIVER_TYPES: readonly MatrixType[] = [
  { name: "zero", make: ({ m, n }) => matrix(m, n, () => 0) },
  { name: "identity", make: ({ m, n }) => matrix(m, n, (i, j) => (i === j ? 1 : 0)) },
  { name: "UDV, D evenly spaced", make: (c) => dense(c, evenly(c)) },
  { name: "the same × underflow/ulp", make: (c) => times(dense(c, evenly(c)), c.underflow / c.ulp) },
  { name: "the same × overflow·ulp", make: (c) => times(dense(c, evenly(c)), c.overflow * c.ulp) },
  // ddrvbd's code, unlike its comments, spreads D from 1 to 1/min(m, n) only
  { name: "UDV, D from 1 to 1/min(m, n)", make: (c) => dense(c, signed(spectrum(4, c.p, c.p), c.random)) },
];

export const BIDIAGONAL_TYPES: readonly MatrixType[] = [
  { name: "zero", make: ({ m, n }) => matrix(m, n, () => 0) },
  { name: "identity", make: ({ m, n }) => matrix(m, n, (i, j) => (i === j ? 1 : 0)) },
  { name: "diagonal, evenly spaced", make: (c) => onDiagonal(c, evenly(c)) },
  { name: "diagonal, geometric", make: (c) => onDiagonal(c, geometric(c)) },
  { name: "diagonal, clustered", make: (c) => onDiagonal(c, clustered(c)) },
  { name: "diagonal, evenly × sqrt(overflow)", make: (c) => times(onDiagonal(c, evenly(c)), large(c)) },
  { name: "diagonal, evenly × sqrt(underflow)", make: (c) => times(onDiagonal(c, evenly(c)), small(c)) },
  { name: "UDV, evenly spaced", make: (c) => dense(c, evenly(c)) },
  { name: "UDV, geometric", make: (c) => dense(c, geometric(c)) },
  { name: "UDV, clustered", make: (c) => dense(c, clustered(c)) },
  { name: "UDV, evenly × sqrt(overflow)", make: (c) => times(dense(c, evenly(c)), large(c)) },
  { name: "UDV, evenly × sqrt(underflow)", make: (c) => times(dense(c, evenly(c)), small(c)) },
  { name: "random", make: ({ m, n, random }) => randomMatrix(m, n, random) },
  { name: "random × sqrt(overflow)", make: (c) => times(randomMatrix(c.m, c.n, c.random), large(c)) },
  { name: "random × sqrt(underflow)", make: (c) => times(randomMatrix(c.m, c.n, c.random), small(c)) },
  { name: "bidiagonal, entries exp(x)", make: (c) => randomBidiagonal(c) },
];

/** Upper bidiagonal for m >= n, else lower; entries e^x, x uniform between ±2·log(ulp). */
function randomBidiagonal({ m, n, ulp, random }: Case): Matrix {
  const range = -2 * Math.log(ulp);
  const beside = m >= n ? 1 : -1;
  return matrix(m, n, (i, j) => (j === i || j === i + beside ? Math.exp(range * random.symmetric()) : 0));
}

/** The matrices of one type over all sizes, rounded to the dtype. */
export function gridMatrices(type: MatrixType, dtype: DType, sizes = SIZES): Matrix[] {
  const random = new Random(BIDIAGONAL_TYPES.indexOf(type) * 32 + DRIVER_TYPES.indexOf(type) + 40);
  return sizes.map(([m, n]) => {
    const made = type.make({ m, n, p: Math.min(m, n), dtype, ulp: ulpOf(dtype), ...limits(dtype), random });
    return dtype === "f64" ? made : { ...made, data: Float64Array.from(Float32Array.from(made.data)) };
  });
}
