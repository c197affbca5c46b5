// LAPACK's test ratios for the SVD (TESTING/EIG/ddrvbd.f): every one below 50. Norms are 1-norms, the unit is LAPACK's
// 'Precision'. All of it is computed in f64.

import { type DType, type SvdOptions, scope, svd, tensor } from "../../bindings/index.js";
import type { Matrix } from "./matrices.js";
import { ulpOf } from "./raw.js";
import { multiply, scaled, transpose } from "./reference.js";

export const THRESHOLD = 50;

export interface Factors {
  /** m×ku and kv×n, row-major; k = min(m, n) or the whole order. */
  u: Float64Array;
  s: Float64Array;
  vt: Float64Array;
}

/** A decomposition with each of the three jobs. */
export interface Jobs {
  full: Factors;
  thin: Factors;
  none: Float64Array;
}

export interface Ratios {
  reconstruction: number;
  uOrthogonality: number;
  vOrthogonality: number;
  order: number;
  partialU: number;
  partialVt: number;
  partialS: number;
}

export type Driver = NonNullable<SvdOptions["driver"]>;

/** Calls svd() with each job. The matrix is rounded to the dtype on the way. */
export function decompose({ m, n, data }: Matrix, dtype: DType, driver: Driver = "auto"): Jobs {
  return scope(() => {
    const a = tensor(data, { shape: [m, n], dtype });
    const factors = (vectors: "full" | "thin"): Factors => {
      const { u, s, vt } = svd(a, { vectors, driver });
      return { u: Float64Array.from(u.data), s: Float64Array.from(s.data), vt: Float64Array.from(vt.data) };
    };
    return {
      full: factors("full"),
      thin: factors("thin"),
      none: Float64Array.from(svd(a, { vectors: "none", driver }).s.data),
    };
  });
}

/** As decompose(), for square matrices: thin and full are one, and values. */
export function decomposeSquare({ m, n, data }: Matrix, dtype: DType, driver: Driver = "auto"): Jobs {
  return scope(() => {
    const a = tensor(data, { shape: [m, n], dtype });
    const { u, s, vt } = svd(a, { driver });
    const thin = { u: Float64Array.from(u.data), s: Float64Array.from(s.data), vt: Float64Array.from(vt.data) };
    return { full: thin, thin, none: Float64Array.from(svd(a, { vectors: "none", driver }).s.data) };
  });
}

/** The larger of two errors; NaN is the largest of all. */
function worse(a: number, b: number): number {
  return Number.isNaN(a) || Number.isNaN(b) ? Number.NaN : Math.max(a, b);
}

/** Largest sum of |entries| of a column. */
function norm1(m: number, n: number, a: ArrayLike<number>): number {
  let largest = 0;
  for (let j = 0; j < n; j++) {
    let sum = 0;
    for (let i = 0; i < m; i++) sum += Math.abs(a[i * n + j] as number);
    largest = worse(largest, sum);
  }
  return largest;
}

function difference(a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  return Float64Array.from({ length: a.length }, (_, i) => (a[i] as number) - (b[i] as number));
}

/** |A − U·S·Vᵀ| / (|A|·max(m, n)·ulp), after xBDT01; u has ku columns, vt kv rows. */
function reconstruction({ m, n, data }: Matrix, { u, s, vt }: Factors, ku: number, ulp: number): number {
  const p = s.length;
  if (p === 0) return 0;
  // a power of two that brings the matrix near 1 changes no ratio and keeps the sums in range
  let largest = 0;
  for (const x of data) largest = Math.max(largest, Math.abs(x));
  const k = largest === 0 ? 0 : -Math.floor(Math.log2(largest));
  const a = data.map((x) => scaled(x, k));
  const us = new Float64Array(m * p);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < p; j++) us[i * p + j] = (u[i * ku + j] as number) * scaled(s[j] as number, k);
  }
  const residual = norm1(m, n, difference(a, multiply(m, n, p, us, vt)));
  const norm = norm1(m, n, a);
  if (norm === 0) return residual === 0 ? 0 : 1 / ulp;
  return residual / norm / (Math.max(m, n) * ulp);
}

/** |I − QᵀQ| / (rows·ulp) for the columns of Q, rows×columns. xORT01. */
function orthogonality(rows: number, columns: number, q: ArrayLike<number>, ulp: number): number {
  if (rows === 0 || columns === 0) return 0;
  const gram = multiply(columns, columns, rows, transpose(rows, columns, q), q);
  for (let i = 0; i < columns; i++) (gram[i * columns + i] as number) -= 1;
  return norm1(columns, columns, gram) / (rows * ulp);
}

/** Values negative, NaN or increasing: 1/ulp, else 0. */
function order(s: Float64Array, ulp: number): number {
  return s.every((x, i) => x >= 0 && !(i > 0 && !((s[i - 1] as number) >= x))) ? 0 : 1 / ulp;
}

/** |X − Y| / (rows·ulp) where each column of Y may have the other sign; the first `columns` columns. xORT03. */
function sameColumns(
  rows: number,
  columns: number,
  x: ArrayLike<number>,
  ldx: number,
  y: ArrayLike<number>,
  ldy: number,
  ulp: number,
): number {
  let largest = 0;
  for (let j = 0; j < columns; j++) {
    let top = 0;
    for (let i = 1; i < rows; i++) {
      if (Math.abs(x[i * ldx + j] as number) > Math.abs(x[top * ldx + j] as number)) top = i;
    }
    const sign = Math.sign(x[top * ldx + j] as number) * Math.sign(y[top * ldy + j] as number) || 1;
    let sum = 0;
    for (let i = 0; i < rows; i++) sum += Math.abs((x[i * ldx + j] as number) - sign * (y[i * ldy + j] as number));
    largest = worse(largest, sum);
  }
  return rows === 0 ? 0 : largest / (rows * ulp);
}

/** |S − S'| / (min(m, n)·ulp·|S|); a NaN gives 1/ulp. */
function sameValues(s: ArrayLike<number>, t: ArrayLike<number>, ulp: number): number {
  let largest = 0;
  for (let i = 0; i < s.length; i++) {
    const d = s[i] === t[i] ? 0 : Math.abs((s[i] as number) - (t[i] as number)) / (s[0] as number);
    largest = worse(largest, d);
  }
  if (Number.isNaN(largest)) return 1 / ulp;
  return s.length === 0 ? 0 : largest / (s.length * ulp);
}

/** Whether all digits agree; NaN never does. */
function identical(a: Float64Array, b: Float64Array): boolean {
  return a.length === b.length && a.every((x, i) => x === b[i]);
}

/** All seven ratios of a decomposition of A, the worse of the full and the thin one where both have it. */
export function ratios(a: Matrix, { full, thin, none }: Jobs, ulp: number): Ratios {
  const { m, n } = a;
  const p = Math.min(m, n);
  const found: Ratios = {
    reconstruction: reconstruction(a, full, m, ulp),
    uOrthogonality: orthogonality(m, m, full.u, ulp),
    vOrthogonality: orthogonality(n, n, transpose(n, n, full.vt), ulp),
    order: worse(worse(order(full.s, ulp), order(thin.s, ulp)), order(none, ulp)),
    partialU: sameColumns(m, p, full.u, m, thin.u, p, ulp),
    partialVt: sameColumns(n, p, transpose(n, n, full.vt), n, transpose(p, n, thin.vt), p, ulp),
    partialS: worse(sameValues(full.s, thin.s, ulp), sameValues(full.s, none, ulp)),
  };
  // for a square matrix both are the same; their ratios then need no second look
  const [sameU, sameV] = [identical(full.u, thin.u), identical(full.vt, thin.vt)];
  if (!sameU) found.uOrthogonality = worse(found.uOrthogonality, orthogonality(m, p, thin.u, ulp));
  if (!sameV) {
    found.vOrthogonality = worse(found.vOrthogonality, orthogonality(n, p, transpose(p, n, thin.vt), ulp));
  }
  if (!sameU || !sameV || !identical(full.s, thin.s)) {
    found.reconstruction = worse(found.reconstruction, reconstruction(a, thin, p, ulp));
  }
  return found;
}

/** The ratios that reach the threshold, as texts; NaN counts. */
export function failures(found: Ratios): string[] {
  return Object.entries(found)
    .filter(([, ratio]) => !(ratio < THRESHOLD))
    .map(([name, ratio]) => `${name} ${ratio}`);
}

/** Decomposes A with every job in the dtype and returns the ratios that fail. */
export function failuresOf(a: Matrix, dtype: DType, driver?: Driver): string[] {
  const held = dtype === "f64" ? a : { ...a, data: Float64Array.from(Float32Array.from(a.data)) };
  return failures(ratios(held, decompose(held, dtype, driver), ulpOf(dtype)));
}
