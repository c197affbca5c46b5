// Singular value decomposition in plain JavaScript by the same algorithm as the kernel: Householder reduction to upper
// bidiagonal form, then implicit QR steps on it (Golub and Van Loan, "Matrix Computations", §5.4 and §8.6).
// Row-major typed arrays. Every inner loop runs along rows: U and V are kept transposed while they are rotated.

import { transpose } from "./gemm.mjs";

/** A = U·diag(S)·Vᵀ for an m×n array: u (m, k), s (k), vt (k, n), k = min(m, n); with `vectors` false, s alone. */
export function svd(m, n, a, vectors = true) {
  if (m < n) {
    const { u, s, vt } = svd(n, m, transpose(m, n, a), vectors);
    return vectors ? { u: transpose(m, m, vt), s, vt: transpose(n, m, u) } : { s };
  }
  const b = a.slice();
  const { d, e, tauLeft, tauRight } = bidiagonalize(m, n, b);
  const ut = vectors ? transpose(m, n, leftVectors(m, n, b, tauLeft)) : undefined;
  const vt = vectors ? transpose(n, n, rightVectors(m, n, b, tauRight)) : undefined;
  iterate(n, d, e, ut, m, vt, n);
  sortDescending(n, d, ut, m, vt, n);
  return vectors ? { u: transpose(n, m, ut), s: d, vt } : { s: d };
}

/**
 * Householder vector of the x[at + i·step], i < count: H = I - tau·v·vᵀ with v[0] = 1 sends x to (beta, 0, …).
 * v[1…] overwrites x[1…].
 */
function reflector(count, x, at, step) {
  const alpha = x[at];
  let scale = 0;
  for (let i = 1; i < count; i++) scale = Math.max(scale, Math.abs(x[at + i * step]));
  if (scale === 0) return { beta: alpha, tau: 0 };
  scale = Math.max(scale, Math.abs(alpha));
  let sum = (alpha / scale) ** 2;
  for (let i = 1; i < count; i++) sum += (x[at + i * step] / scale) ** 2;
  const beta = -Math.sign(alpha || 1) * scale * Math.sqrt(sum);
  for (let i = 1; i < count; i++) x[at + i * step] /= alpha - beta;
  return { beta, tau: (beta - alpha) / beta };
}

/** A (m×n, m >= n) becomes its reflectors: those of columns below the diagonal, those of rows right of the superdiagonal. */
function bidiagonalize(m, n, a) {
  const d = new a.constructor(n);
  const e = new a.constructor(Math.max(0, n - 1));
  const tauLeft = new Float64Array(n);
  const tauRight = new Float64Array(n);
  const work = new Float64Array(n);
  for (let k = 0; k < n; k++) {
    const left = reflector(m - k, a, k * n + k, n);
    d[k] = left.beta;
    tauLeft[k] = left.tau;
    applyLeft(m, n, k, k + 1, left.tau, a, a, work);
    if (k + 1 >= n) break;
    const right = reflector(n - k - 1, a, k * n + k + 1, 1);
    e[k] = right.beta;
    tauRight[k] = right.tau;
    for (let i = k + 1; i < m; i++) applyRight(n, k, right.tau, a, a, i);
  }
  return { d, e, tauLeft, tauRight };
}

/** C <- (I - tau·v·vᵀ)·C for columns from `first` on; v is column k of `a` from the diagonal down, C has n columns. */
function applyLeft(m, n, k, first, tau, a, c, work) {
  if (tau === 0) return;
  for (let j = first; j < n; j++) work[j] = c[k * n + j];
  for (let i = k + 1; i < m; i++) {
    const v = a[i * n + k];
    for (let j = first; j < n; j++) work[j] += v * c[i * n + j];
  }
  for (let j = first; j < n; j++) {
    work[j] *= tau;
    c[k * n + j] -= work[j];
  }
  for (let i = k + 1; i < m; i++) {
    const v = a[i * n + k];
    for (let j = first; j < n; j++) c[i * n + j] -= v * work[j];
  }
}

/** Row i of C <- row·(I - tau·v·vᵀ); v is row k of `a` from the superdiagonal on, both have n columns. */
function applyRight(n, k, tau, a, c, i) {
  let sum = c[i * n + k + 1];
  for (let j = k + 2; j < n; j++) sum += a[k * n + j] * c[i * n + j];
  sum *= tau;
  c[i * n + k + 1] -= sum;
  for (let j = k + 2; j < n; j++) c[i * n + j] -= sum * a[k * n + j];
}

/** The first n columns of the product of the left reflectors, m×n. */
function leftVectors(m, n, a, tau) {
  const u = new a.constructor(m * n);
  const work = new Float64Array(n);
  for (let k = n - 1; k >= 0; k--) {
    u[k * n + k] = 1;
    applyLeft(m, n, k, k, tau[k], a, u, work);
  }
  return u;
}

/** The product of the right reflectors, n×n; reflector k acts on the entries from k + 1 on. */
function rightVectors(_m, n, a, tau) {
  const v = new a.constructor(n * n);
  const work = new Float64Array(n);
  for (let k = n - 1; k >= 0; k--) {
    v[k * n + k] = 1;
    if (k + 2 > n || tau[k] === 0) continue;
    // V <- H·V for rows and columns from k + 1 on, with v in row k of a
    for (let j = k + 1; j < n; j++) work[j] = v[(k + 1) * n + j];
    for (let i = k + 2; i < n; i++) {
      const factor = a[k * n + i];
      for (let j = k + 1; j < n; j++) work[j] += factor * v[i * n + j];
    }
    for (let j = k + 1; j < n; j++) {
      work[j] *= tau[k];
      v[(k + 1) * n + j] -= work[j];
    }
    for (let i = k + 2; i < n; i++) {
      const factor = a[k * n + i];
      for (let j = k + 1; j < n; j++) v[i * n + j] -= factor * work[j];
    }
  }
  return v;
}

/** Diagonalises the bidiagonal (d, e); every rotation also turns two rows of ut (length m) or vt (length n). */
function iterate(count, d, e, ut, m, vt, n) {
  const eps = d instanceof Float32Array ? 2 ** -23 : 2 ** -52;
  let norm = 0;
  for (let i = 0; i < count; i++) norm = Math.max(norm, Math.abs(d[i]), Math.abs(e[i] ?? 0));
  let end = count - 1;
  for (let steps = 30 * count * count; end > 0; steps--) {
    if (steps === 0) throw new Error("the QR iteration did not converge");
    for (let i = 0; i < end; i++) {
      if (Math.abs(e[i]) <= eps * (Math.abs(d[i]) + Math.abs(d[i + 1]))) e[i] = 0;
    }
    if (e[end - 1] === 0) {
      end--;
      continue;
    }
    let begin = end - 1;
    while (begin > 0 && e[begin - 1] !== 0) begin--;
    const zero = findZero(d, begin, end, eps * norm);
    if (zero >= 0) clearRow(d, e, zero, end, ut, m);
    else step(d, e, begin, end, ut, m, vt, n);
  }
}

/** Index of a negligible diagonal entry in [begin, end), set to zero, or -1. */
function findZero(d, begin, end, tolerance) {
  for (let i = begin; i < end; i++) {
    if (Math.abs(d[i]) > tolerance) continue;
    d[i] = 0;
    return i;
  }
  return -1;
}

/** d[row] = 0: rotates e[row] out to the right, which splits the matrix. */
function clearRow(d, e, row, end, ut, m) {
  let f = e[row];
  e[row] = 0;
  for (let i = row + 1; i <= end; i++) {
    const { c, s, r } = givens(d[i], f);
    d[i] = r;
    if (ut !== undefined) rotateRows(ut, i, row, m, c, s);
    if (i === end) break;
    f = -s * e[i];
    e[i] *= c;
  }
}

/** One implicit QR step on the block begin…end with Wilkinson's shift. */
function step(d, e, begin, end, ut, m, vt, n) {
  const shift = wilkinson(d, e, begin, end);
  let f = d[begin] - shift / d[begin];
  let g = e[begin];
  for (let k = begin; k < end; k++) {
    const right = givens(f, g);
    if (k > begin) e[k - 1] = right.r;
    f = right.c * d[k] + right.s * e[k];
    e[k] = right.c * e[k] - right.s * d[k];
    g = right.s * d[k + 1];
    d[k + 1] *= right.c;
    if (vt !== undefined) rotateRows(vt, k, k + 1, n, right.c, right.s);
    const left = givens(f, g);
    d[k] = left.r;
    f = left.c * e[k] + left.s * d[k + 1];
    d[k + 1] = left.c * d[k + 1] - left.s * e[k];
    if (k + 1 < end) {
      g = left.s * e[k + 1];
      e[k + 1] *= left.c;
    }
    if (ut !== undefined) rotateRows(ut, k, k + 1, m, left.c, left.s);
  }
  e[end - 1] = f;
}

/** The eigenvalue of the trailing 2×2 block of BᵀB that is nearer to its last entry. */
function wilkinson(d, e, begin, end) {
  const above = end - 1 > begin ? e[end - 2] : 0;
  const p = d[end - 1] ** 2 + above ** 2;
  const q = d[end] ** 2 + e[end - 1] ** 2;
  const off = d[end - 1] * e[end - 1];
  if (off === 0) return q;
  const delta = (p - q) / 2;
  return q - off ** 2 / (delta + (delta < 0 ? -1 : 1) * Math.hypot(delta, off));
}

/** c, s with c·f + s·g = r and c·g - s·f = 0. */
function givens(f, g) {
  if (g === 0) return { c: 1, s: 0, r: f };
  const r = Math.sqrt(f * f + g * g);
  return { c: f / r, s: g / r, r };
}

/** Rows p and q of x (row length `length`): (p, q) <- (c·p + s·q, c·q - s·p). */
function rotateRows(x, p, q, length, c, s) {
  const i = p * length;
  const j = q * length;
  for (let t = 0; t < length; t++) {
    const y = x[i + t];
    const z = x[j + t];
    x[i + t] = c * y + s * z;
    x[j + t] = c * z - s * y;
  }
}

/** Makes the values non-negative and puts them in non-increasing order, rows of ut and vt with them. */
function sortDescending(count, d, ut, m, vt, n) {
  for (let i = 0; i < count; i++) {
    if (d[i] >= 0) continue;
    d[i] = -d[i];
    if (vt !== undefined) for (let j = 0; j < n; j++) vt[i * n + j] = -vt[i * n + j];
  }
  for (let i = 0; i < count - 1; i++) {
    let best = i;
    for (let j = i + 1; j < count; j++) if (d[j] > d[best]) best = j;
    if (best === i) continue;
    [d[i], d[best]] = [d[best], d[i]];
    if (ut !== undefined) swapRows(ut, i, best, m);
    if (vt !== undefined) swapRows(vt, i, best, n);
  }
}

function swapRows(x, p, q, length) {
  const row = x.slice(p * length, (p + 1) * length);
  x.copyWithin(p * length, q * length, (q + 1) * length);
  x.set(row, q * length);
}
