// Errors of results as fractions of what rounding allows: a value above 1 is a wrong result.

const EPS = { f32: 2 ** -23, f64: 2 ** -52 };

/** Ratios of LAPACK's tests must stay below this. */
const LAPACK_LIMIT = 50;

/**
 * Largest error of C = A·B + C0 as a fraction of 4·√(k+1)·eps·(|A|·|B| + |C0|): rounding errors add up like random ones
 * (Higham and Mary, "A new approach to probabilistic rounding error analysis", 2019), and the bound that never fails, with k in
 * place of 4·√k, would let mistakes through. Entries of |A|·|B| are bounded by the norms of a row of A and a column of B.
 *
 * @param c0 what was added to the product, or the absolute values of everything that was
 * @param expected the result in f64
 */
export function productError({ m, n, k, a, b, c, c0, expected, dtype }) {
  const rows = Float64Array.from({ length: m }, (_, i) => norm(a.subarray(i * k, (i + 1) * k)));
  const columns = columnNorms(k, n, b);
  const factor = 4 * Math.sqrt(k + 1) * EPS[dtype];
  let worst = c.length === m * n ? 0 : Number.POSITIVE_INFINITY;
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      const at = i * n + j;
      const bound = factor * (rows[i] * columns[j] + Math.abs(c0?.[at] ?? 0));
      worst = larger(worst, Math.abs(c[at] - expected[at]) / bound);
    }
  }
  return worst;
}

/** Euclidean norms of the columns of B (k×n). */
function columnNorms(k, n, b) {
  const squares = new Float64Array(n);
  for (let p = 0; p < k; p++) {
    for (let j = 0; j < n; j++) squares[j] += b[p * n + j] ** 2;
  }
  return squares.map(Math.sqrt);
}

/** Error of a sum of x as a fraction of what its terms allow. */
export function sumError(x, found) {
  let sum = 0;
  let absolute = 0;
  for (let i = 0; i < x.length; i++) {
    sum += x[i];
    absolute += Math.abs(x[i]);
  }
  return Math.abs(found - sum) / (EPS[x instanceof Float32Array ? "f32" : "f64"] * Math.sqrt(x.length) * absolute);
}

/** Math.max, in which a NaN wins. */
function larger(x, y) {
  return y > x || Number.isNaN(y) ? y : x;
}

/**
 * The worst of LAPACK's test ratios of an SVD as a fraction of their limit: ‖A - U·S·Vᵀ‖/(‖A‖·max(m, n)·eps),
 * ‖I - UᵀU‖/(m·eps), ‖I - VVᵀ‖/(n·eps), |s - expected|/(s₁·max(m, n)·eps), and the order of the values. Norms are Frobenius's.
 *
 * @param gemm the reference product, for f64
 * @param u,vt absent if only values were computed
 * @param expected values computed in f64
 */
export function svdError({ m, n, a, u, s, vt, expected, dtype, gemm }) {
  const k = Math.min(m, n);
  const eps = EPS[dtype];
  let worst = s.length === k ? 0 : Number.POSITIVE_INFINITY;
  for (let i = 0; i < k; i++) {
    if (s[i] < 0 || (i > 0 && s[i] > s[i - 1])) return Number.POSITIVE_INFINITY;
    worst = larger(worst, Math.abs(s[i] - expected[i]) / (expected[0] * Math.max(m, n) * eps));
  }
  if (u === undefined) return worst / LAPACK_LIMIT;
  const scaled = Float64Array.from(u, (value, at) => value * s[at % k]);
  const residual = Float64Array.from(a);
  gemm(m, n, k, -1, scaled, vt, 1, residual);
  worst = larger(worst, norm(residual) / (norm(a) * Math.max(m, n) * eps));
  worst = larger(worst, notOrthogonal(k, m, (i, p) => u[p * k + i], gemm) / (m * eps));
  worst = larger(worst, notOrthogonal(k, n, (i, p) => vt[i * n + p], gemm) / (n * eps));
  return worst / LAPACK_LIMIT;
}

/** ‖I - Q·Qᵀ‖ for Q of `count` rows of `length`. */
function notOrthogonal(count, length, entry, gemm) {
  const q = new Float64Array(count * length);
  const qt = new Float64Array(length * count);
  for (let i = 0; i < count; i++) {
    for (let p = 0; p < length; p++) {
      q[i * length + p] = entry(i, p);
      qt[p * count + i] = entry(i, p);
    }
  }
  const product = new Float64Array(count * count);
  for (let i = 0; i < count; i++) product[i * (count + 1)] = -1;
  gemm(count, count, length, 1, q, qt, 1, product);
  return norm(product);
}

/** Euclidean norm of all entries. */
export function norm(x) {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] ** 2;
  return Math.sqrt(sum);
}
