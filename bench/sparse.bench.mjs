// Sparse products with 1 and 16 columns, and the 10 largest singular triplets, of a 100,000×10,000 matrix with a million
// elements at random places. The plain JavaScript beside the products is the textbook loop.

import { runCases } from "./support/cases.mjs";
import { productError } from "./support/check.mjs";
import { csr, svds, tensor } from "./support/lowrank.mjs";
import { random } from "./support/random.mjs";

const [M, N, NNZ] = [100_000, 10_000, 1_000_000];
const COLUMNS = [1, 16];
const K = 10;

export async function bench(options) {
  const cases = ["f32", "f64"].flatMap((dtype) => makeCases(dtype));
  return { rows: runCases("sparse", cases, options), figures: [] };
}

function makeCases(dtype) {
  const places = random("f64", 2 * NNZ, 3).map((x) => (Math.abs(x) * 1e6) % 1);
  const rows = Int32Array.from({ length: NNZ }, (_, e) => Math.floor(places[2 * e] * M));
  const cols = Int32Array.from({ length: NNZ }, (_, e) => Math.floor(places[2 * e + 1] * N));
  const a = csr.fromCoo(rows, cols, random(dtype, NNZ, 1), [M, N]);
  const lists = { data: a.data.slice(), indices: a.indices, indptr: a.indptr };
  const cases = COLUMNS.flatMap((b) => [productCase(dtype, a, lists, b, false), productCase(dtype, a, lists, b, true)]);
  const run = () => svds(a, K);
  cases.push({
    name: `${dtype} svds, k ${K}`,
    dtype,
    run: () => dispose(run()),
    check() {
      const found = run();
      const bound = (dtype === "f32" ? 1e-5 : 1e-10) * found.s.data[0];
      const error = Math.max(...found.residuals.data) / bound;
      dispose(found);
      return error;
    },
  });
  return cases;
}

function dispose(tensors) {
  for (const one of Object.values(tensors)) one.dispose();
}

function productCase(dtype, a, lists, b, transposed) {
  const inner = transposed ? M : N;
  const outer = transposed ? N : M;
  const values = random(dtype, inner * b, 2);
  const x = tensor(values, { shape: [inner, b] });
  const run = () => (transposed ? a.multiplyTransposed(x) : a.multiply(x));
  const loop = transposed ? addTransposed : multiply;
  const plain = (to) => loop(lists, values, b, to);
  const out = dtype === "f32" ? new Float32Array(outer * b) : new Float64Array(outer * b);
  return {
    name: `${dtype} ${transposed ? "Aᵀ·Y" : "A·X"}, ${b} ${b === 1 ? "column" : "columns"}`,
    dtype,
    work: 2 * a.nnz * b,
    unit: "GFLOP/s",
    run: () => run().dispose(),
    reference: () => plain(out.fill(0)),
    check() {
      const found = run();
      const expected = plain(new Float64Array(outer * b));
      const absolute = { ...lists, data: lists.data.map(Math.abs) };
      const terms = loop(absolute, values.map(Math.abs), b, new Float64Array(outer * b));
      const error = productError({
        m: outer,
        n: b,
        k: 0,
        a: new Float64Array(0),
        b: new Float64Array(0),
        c: found.data,
        c0: terms.map((term) => term || 1),
        expected,
        dtype,
      });
      found.dispose();
      return error;
    },
  };
}

/** out (M×b) <- out + A·X. */
function multiply({ data, indices, indptr }, x, b, out) {
  for (let i = 0; i < M; i++) {
    for (let e = indptr[i]; e < indptr[i + 1]; e++) {
      const [value, from] = [data[e], indices[e] * b];
      for (let j = 0; j < b; j++) out[i * b + j] += value * x[from + j];
    }
  }
  return out;
}

/** out (N×b) <- out + Aᵀ·Y. */
function addTransposed({ data, indices, indptr }, y, b, out) {
  for (let i = 0; i < M; i++) {
    for (let e = indptr[i]; e < indptr[i + 1]; e++) {
      const [value, to] = [data[e], indices[e] * b];
      for (let j = 0; j < b; j++) out[to + j] += value * y[i * b + j];
    }
  }
  return out;
}
