// Term frequency times inverse document frequency, over the lists of a sparse matrix of counts: a row a document.

import { nrm2 } from "../blas/level1";
import { fill } from "../blas/matrix";
import { log } from "../elementary";
import { at, get, set } from "../simd";
import { index } from "../sparse/structure";

/** weights (n, f64) <- log((1 + m)/(1 + rows that have the column)) + 1: smooth, as if one more row had every column. */
export function inverseFrequencies<T>(m: i32, nnz: i32, n: i32, data: usize, indices: usize, weights: usize): void {
  fill<f64>(n, 1, weights);
  for (let e = 0; e < nnz; e++) {
    if (get<T>(data, e) == <T>0) continue;
    const j = index(indices, e);
    set<f64>(weights, j, get<f64>(weights, j) + 1);
  }
  for (let j = 0; j < n; j++) set<f64>(weights, j, log<f64>((1 + <f64>m) / get<f64>(weights, j)) + 1);
}

/** Rows begin…end of the data <- themselves times the columns' weights (f64), divided by the row's length if it has one. */
export function weightRows<T>(begin: i32, end: i32, data: usize, indices: usize, indptr: usize, weights: usize): void {
  for (let i = begin; i < end; i++) weightRow<T>(index(indptr, i), index(indptr, i + 1), data, indices, weights);
}

function weightRow<T>(first: i32, stop: i32, data: usize, indices: usize, weights: usize): void {
  for (let e = first; e < stop; e++) {
    set<T>(data, e, <T>(<f64>get<T>(data, e) * get<f64>(weights, index(indices, e))));
  }
  const norm = nrm2<T>(stop - first, at<T>(data, first), 1);
  if (norm == <T>0) return;
  for (let e = first; e < stop; e++) set<T>(data, e, <T>(get<T>(data, e) / norm));
}
