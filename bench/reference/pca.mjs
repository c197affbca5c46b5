// Principal components in plain JavaScript: means, the covariance matrix of centred rows, its singular vectors.

// the decomposition of the same instance as this module: see index.mjs
const { svd } = await import(`./svd.mjs${new URL(import.meta.url).search}`);

/** Of the rows of x (m×n): { mean (n), variances (n), components (n×n, by rows) }. */
export function pca(m, n, x) {
  const mean = new Float64Array(n);
  for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) mean[j] += x[i * n + j];
  for (let j = 0; j < n; j++) mean[j] /= m;
  const covariance = new Float64Array(n * n);
  const row = new Float64Array(n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) row[j] = x[i * n + j] - mean[j];
    for (let p = 0; p < n; p++) {
      const factor = row[p];
      for (let j = p; j < n; j++) covariance[p * n + j] += factor * row[j];
    }
  }
  for (let p = 0; p < n; p++) {
    for (let j = p; j < n; j++) {
      covariance[p * n + j] /= m - 1;
      covariance[j * n + p] = covariance[p * n + j];
    }
  }
  const { s, vt } = svd(n, n, covariance);
  return { mean, variances: s, components: vt };
}
