// PCA of tall data by the covariance matrix, in batches, and the projection of the same rows.

import { loadReference } from "./reference/index.mjs";
import { runCases } from "./support/cases.mjs";
import { IncrementalPCA, matmul, PCA, tensor } from "./support/lowrank.mjs";
import { random } from "./support/random.mjs";

const ROWS = 50000;
const COMPONENTS = 8;
const FEATURES = [64, 256];
/** Larger data would take batches and the plain JavaScript seconds. */
const LARGEST_COMPARED = 64;

/** Variances, relative to the largest, must agree with plain JavaScript's. */
const TOLERANCE = { f32: 1e-5, f64: 1e-12 };

export async function bench(options) {
  const checking = await loadReference("check");
  const cases = [];
  for (const dtype of ["f32", "f64"]) {
    const reference = await loadReference(dtype);
    for (const n of FEATURES) cases.push(...makeCases(dtype, n, reference, checking));
  }
  const rows = runCases("pca", cases, options);
  return { rows, figures: figures(rows) };
}

function figures(rows) {
  const time = (name) => rows.find((row) => row.name === name)?.bestMs;
  return FEATURES.map((n) => {
    const [fit, product] = [time(`f64 ${ROWS}×${n} fit`), time(`f64 ${ROWS}×${n} XᵀX alone`)];
    return {
      what: `f64 ${ROWS}×${n}: time of PCA.fit over that of the product XᵀX`,
      measured: fit === undefined || product === undefined ? undefined : fit / product,
      atMost: 1.2,
    };
  });
}

function makeCases(dtype, n, reference, checking) {
  const name = `${dtype} ${ROWS}×${n}`;
  const array = random(dtype, ROWS * n, 1);
  const x = tensor(array, { shape: [ROWS, n] });
  let known;
  const error = (pca) => {
    known ??= checking.pca(ROWS, n, array).variances;
    const { data } = pca.explainedVariance;
    let worst = data.length === COMPONENTS ? 0 : Number.POSITIVE_INFINITY;
    for (let i = 0; i < data.length; i++) worst = Math.max(worst, Math.abs(data[i] - known[i]) / known[0]);
    pca.dispose();
    return worst / TOLERANCE[dtype];
  };
  const compute = () => new PCA({ components: COMPONENTS }).fit(x);
  // nothing is left out: only so is it the PCA of all rows
  const batches = () => new IncrementalPCA().fit(x);
  const fitted = compute();
  return [
    {
      name: `${name} fit`,
      dtype,
      run: () => compute().dispose(),
      reference: n <= LARGEST_COMPARED ? () => reference.pca(ROWS, n, array) : undefined,
      check: () => error(compute()),
    },
    { name: `${name} XᵀX alone`, dtype, run: () => matmul(x.transpose(), x).dispose() },
    { name: `${name} transform`, dtype, run: () => fitted.transform(x).dispose() },
    ...(n <= LARGEST_COMPARED ? [{ name: `${name} in batches`, dtype, run: () => batches().dispose() }] : []),
  ];
}
