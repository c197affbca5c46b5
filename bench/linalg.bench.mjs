// What stands on the SVD: least squares, pseudo-inverse, QR of resident tensors, beside ml-matrix's routines for the same.

import { Matrix, pseudoInverse, QrDecomposition, solve } from "ml-matrix";
import { loadReference } from "./reference/index.mjs";
import { runCases } from "./support/cases.mjs";
import { norm } from "./support/check.mjs";
import { lstsq, pinv, qr, tensor } from "./support/lowrank.mjs";
import { random } from "./support/random.mjs";

const EPS = { f32: 2 ** -23, f64: 2 ** -52 };

/** Ratios of LAPACK's tests must stay below this. */
const LIMIT = 50;

export async function bench(options) {
  const { gemm } = await loadReference("check");
  const cases = [];
  for (const dtype of ["f32", "f64"]) {
    cases.push(lstsqCase(dtype, 1000, 100, gemm), lstsqCase(dtype, 100, 1000, gemm));
    cases.push(pinvCase(dtype, 500, 500, gemm), pinvCase(dtype, 1000, 100, gemm));
    cases.push(qrCase(dtype, 500, 500, gemm), qrCase(dtype, 1000, 100, gemm));
  }
  const rows = runCases("linalg", cases, options);
  const pseudo = rows.find(({ name }) => name === "f64 pinv 500×500");
  return { rows, figures: [{ what: "f64 pinv 500²: times ml-matrix's rate", measured: pseudo?.speedup, atLeast: 16 }] };
}

/** op(X)·Y in f64; X is stored m×k, or k×m with `transposed`. */
function product(gemm, m, n, k, x, y, transposed = false) {
  const left = Float64Array.from({ length: m * k }, (_, at) =>
    transposed ? x[(at % k) * m + Math.floor(at / k)] : x[at],
  );
  const out = new Float64Array(m * n);
  gemm(m, n, k, 1, left, Float64Array.from(y), 0, out);
  return out;
}

function difference(x, y) {
  return norm(Float64Array.from(x, (value, at) => value - y[at])) / norm(y);
}

/** ml-matrix computes in f64: it stands beside those cases only. */
function beside(dtype, run) {
  return dtype === "f64" ? run : undefined;
}

function dispose(found) {
  for (const one of Object.values(found)) one.dispose?.();
}

function lstsqCase(dtype, m, n, gemm) {
  const [array, side] = [random(dtype, m * n, 1), random(dtype, m, 2)];
  const [a, b] = [tensor(array, { shape: [m, n] }), tensor(side)];
  const [x, y] = [Matrix.from1DArray(m, n, array), Matrix.columnVector(side)];
  return {
    name: `${dtype} lstsq ${m}×${n}`,
    dtype,
    run: () => dispose(lstsq(a, b)),
    // it does not solve wide systems
    reference: m < n ? undefined : beside(dtype, () => solve(x, y)),
    check() {
      const found = lstsq(a, b);
      const residual = product(gemm, m, 1, n, array, found.x.data).map((value, at) => value - side[at]);
      const along = norm(product(gemm, n, 1, m, array, residual, true));
      dispose(found);
      return along / (norm(array) * norm(side) * Math.max(m, n) * EPS[dtype]) / LIMIT;
    },
  };
}

function pinvCase(dtype, m, n, gemm) {
  const array = random(dtype, m * n, 1);
  const a = tensor(array, { shape: [m, n] });
  const x = Matrix.from1DArray(m, n, array);
  return {
    name: `${dtype} pinv ${m}×${n}`,
    dtype,
    run: () => pinv(a).dispose(),
    reference: beside(dtype, () => pseudoInverse(x)),
    check() {
      const inverse = pinv(a);
      const back = product(gemm, m, n, n, array, product(gemm, n, n, m, inverse.data, array));
      inverse.dispose();
      // Gaussian matrices of these shapes have a condition of a few thousand at most
      return difference(back, array) / (Math.max(m, n) * EPS[dtype] * 1e3) / LIMIT;
    },
  };
}

function qrCase(dtype, m, n, gemm) {
  const array = random(dtype, m * n, 1);
  const a = tensor(array, { shape: [m, n] });
  const x = Matrix.from1DArray(m, n, array);
  return {
    name: `${dtype} qr ${m}×${n}`,
    dtype,
    run: () => dispose(qr(a)),
    reference: beside(dtype, () => {
      const found = new QrDecomposition(x);
      return [found.orthogonalMatrix, found.upperTriangularMatrix];
    }),
    check() {
      const { q, r } = qr(a);
      const back = difference(product(gemm, m, n, n, q.data, r.data), array) / (m * EPS[dtype]);
      const gram = product(gemm, n, n, m, q.data, q.data, true).map(
        (value, at) => value - (at % (n + 1) === 0 ? 1 : 0),
      );
      dispose({ q, r });
      return Math.max(back, norm(gram) / (m * EPS[dtype])) / LIMIT;
    },
  };
}
