// Slow and plain references. Sums are accumulated in twice the precision of f64 by error-free transformations (Ogita,
// Rump and Oishi, "Accurate sum and dot product", 2005), so that the reference's own error does not count.

/** An unevaluated sum high + low. */
export interface Pair {
  high: number;
  low: number;
}

const SPLITTER = 2 ** 27 + 1;

/** The rounding error of a·b, exactly: a·b = p + error. For |a|, |b| and |a·b| well inside the range. */
export function productError(a: number, b: number, p: number): number {
  let t = SPLITTER * a;
  const ah = t - (t - a);
  const al = a - ah;
  t = SPLITTER * b;
  const bh = t - (t - b);
  const bl = b - bh;
  return al * bl - (p - ah * bh - al * bh - ah * bl);
}

/** sum <- sum + a·b. */
export function addProduct(sum: Pair, a: number, b: number): void {
  const p = a * b;
  const s = sum.high + p;
  const z = s - sum.high;
  sum.low += sum.high - (s - z) + (p - z) + productError(a, b, p);
  sum.high = s;
}

/** Σ x_i·y_i in twice the precision, rounded once. */
export function dot(n: number, x: ArrayLike<number>, y: ArrayLike<number>, incx = 1, incy = 1): number {
  const sum = { high: 0, low: 0 };
  for (let i = 0; i < n; i++) addProduct(sum, x[i * incx] as number, y[i * incy] as number);
  return sum.high + sum.low;
}

/** Σ |x_i|·|y_i|. */
export function absoluteDot(n: number, x: ArrayLike<number>, y: ArrayLike<number>, incx = 1, incy = 1): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += Math.abs(x[i * incx] as number) * Math.abs(y[i * incy] as number);
  return sum;
}

/** A matrix somewhere in an array: element (i, j) at offset + i·rowStride + j·columnStride. */
export interface Strided {
  data: ArrayLike<number>;
  offset?: number;
  rowStride: number;
  columnStride: number;
}

export interface Product {
  m: number;
  n: number;
  k: number;
  alpha: number;
  a: Strided;
  b: Strided;
  beta: number;
  /** C before the product; not read with beta = 0. */
  c: Strided;
}

/**
 * The first entry of a computed product that is further from alpha·A·B + beta·C than rounding explains, as a text, or
 * undefined. The bound is componentwise: k roundings on |alpha|·|A|·|B|, and with beta ≠ 0 one more on it and k + 1 on
 * |beta|·|C|. `u` is the unit roundoff.
 */
export function wrongEntry(product: Product, got: Strided, u: number): string | undefined {
  const { m, n, k, alpha, a, b, beta, c } = product;
  const at = ({ data, offset = 0, rowStride, columnStride }: Strided, i: number, j: number) =>
    data[offset + i * rowStride + j * columnStride] as number;
  const sum = { high: 0, low: 0 };
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      sum.high = 0;
      sum.low = 0;
      let absolute = 0;
      if (alpha !== 0) {
        for (let p = 0; p < k; p++) {
          const x = at(a, i, p);
          const y = at(b, p, j);
          addProduct(sum, x, y);
          absolute += Math.abs(x * y);
        }
        sum.high *= alpha;
        sum.low *= alpha;
        absolute *= Math.abs(alpha);
      }
      let bound = k * u * absolute;
      if (beta !== 0) {
        const before = at(c, i, j);
        addProduct(sum, beta, before);
        bound = (k + 1) * u * (absolute + Math.abs(beta * before));
      }
      const value = at(got, i, j);
      const error = Math.abs(value - sum.high - sum.low);
      // alpha other than ±1 or a power of two costs a rounding itself
      if (!(error <= bound * 1.0000001 + (Number.isInteger(Math.log2(Math.abs(alpha))) ? 0 : u * absolute))) {
        return `entry (${i}, ${j}) of ${m}×${n}×${k}: ${value}, expected ${sum.high + sum.low} ± ${bound}`;
      }
    }
  }
  return undefined;
}

/** A·B for row-major matrices, summed as it comes; 0·NaN counts as 0, since sparse factors are skipped through. */
export function multiply(m: number, n: number, k: number, a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let p = 0; p < k; p++) {
      const x = a[i * k + p] as number;
      if (x !== 0) for (let j = 0; j < n; j++) (c[i * n + j] as number) += x * (b[p * n + j] as number);
    }
  }
  return c;
}

/** Aᵀ of a row-major m×n matrix. */
export function transpose(m: number, n: number, a: ArrayLike<number>): Float64Array {
  const t = new Float64Array(m * n);
  for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) t[j * m + i] = a[i * n + j] as number;
  return t;
}

/** ‖x‖₂ without overflow, to nearly full precision: by a power of two that brings max |x| near 1. */
export function norm2(x: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < x.length; i++) {
    const value = Math.abs(x[i] as number);
    if (Number.isNaN(value)) return Number.NaN;
    if (value > largest) largest = value;
  }
  if (largest === 0 || largest === Number.POSITIVE_INFINITY) return largest;
  const exponent = Math.floor(Math.log2(largest));
  const sum = { high: 0, low: 0 };
  for (let i = 0; i < x.length; i++) {
    const value = scaled(x[i] as number, -exponent);
    addProduct(sum, value, value);
  }
  return scaled(Math.sqrt(sum.high + sum.low), exponent);
}

/** x·2^k, also where 2^k is out of range. */
export function scaled(x: number, k: number): number {
  const half = Math.trunc(k / 2);
  return x * 2 ** half * 2 ** (k - half);
}
