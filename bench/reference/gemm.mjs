// The matrix product in plain JavaScript: what the kernel is timed against, and what checks it.
// Typed arrays, row-major; scalars are f64 as JavaScript has them, every store rounds to the array's type.

/** C <- alpha·A·B + beta·C; A is m×k, B is k×n, C is m×n. The order i, p, j reads B and C along their rows. */
export function gemm(m, n, k, alpha, a, b, beta, c) {
  for (let i = 0; i < m; i++) {
    const row = i * n;
    if (beta === 0) c.fill(0, row, row + n);
    else for (let j = 0; j < n; j++) c[row + j] *= beta;
    for (let p = 0; p < k; p++) {
      const x = alpha * a[i * k + p];
      const from = p * n;
      for (let j = 0; j < n; j++) c[row + j] += x * b[from + j];
    }
  }
}

/**
 * C <- alpha·A·Bᵀ + beta·C; A is m×k, B is n×k. Both are read along their rows; four sums at a time, because one
 * alone would wait for each addition to end.
 */
export function gemmTransposed(m, n, k, alpha, a, b, beta, c) {
  for (let i = 0; i < m; i++) {
    const row = i * n;
    if (beta === 0) c.fill(0, row, row + n);
    else for (let j = 0; j < n; j++) c[row + j] *= beta;
    const x = i * k;
    let j = 0;
    for (; j + 4 <= n; j += 4) {
      const y = j * k;
      let s0 = 0;
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      for (let p = 0; p < k; p++) {
        const value = a[x + p];
        s0 += value * b[y + p];
        s1 += value * b[y + k + p];
        s2 += value * b[y + 2 * k + p];
        s3 += value * b[y + 3 * k + p];
      }
      c[row + j] += alpha * s0;
      c[row + j + 1] += alpha * s1;
      c[row + j + 2] += alpha * s2;
      c[row + j + 3] += alpha * s3;
    }
    for (; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += a[x + p] * b[j * k + p];
      c[row + j] += alpha * sum;
    }
  }
}

/** Aᵀ in a new array; A is m×n. */
export function transpose(m, n, a) {
  const out = new a.constructor(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) out[j * m + i] = a[i * n + j];
  }
  return out;
}
