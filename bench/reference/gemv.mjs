// Matrix times vector in plain JavaScript, both ways; A is m×n, row-major.

/** y <- A·x: one dot product a row. */
export function gemv(m, n, a, x, y) {
  for (let i = 0; i < m; i++) {
    const row = i * n;
    let sum = 0;
    for (let j = 0; j < n; j++) sum += a[row + j] * x[j];
    y[i] = sum;
  }
}

/** y <- Aᵀ·x: the rows of A are added up, so that A is read in order. */
export function gemvTransposed(m, n, a, x, y) {
  y.fill(0);
  for (let i = 0; i < m; i++) {
    const row = i * n;
    const factor = x[i];
    for (let j = 0; j < n; j++) y[j] += factor * a[row + j];
  }
}
