// Sparse matrices in compressed rows (CSR): data (nnz), indices (nnz) and indptr (m + 1), the latter two of i32; row i is
// [indptr[i], indptr[i + 1]). Sorting is by counting (Gustavson 1978), which keeps the order of equal keys.

import { nrm2 } from "../blas/level1";
import { fill } from "../blas/matrix";
import { at, get, set } from "../simd";

/** Integer i of a list. */
// @ts-ignore: decorator
@inline export function index(list: usize, i: i32): i32 {
  return load<i32>(list + ((<usize>i) << 2));
}

// @ts-ignore: decorator
@inline function setIndex(list: usize, i: i32, value: i32): void {
  store<i32>(list + ((<usize>i) << 2), value);
}

/** starts (n + 1) <- where each of n groups starts when nnz elements are sorted by their keys in [0, n). */
function countKeys(nnz: i32, n: i32, keys: usize, starts: usize): void {
  memory.fill(starts, 0, (<usize>n + 1) << 2);
  for (let e = 0; e < nnz; e++) {
    const next = index(keys, e) + 1;
    setIndex(starts, next, index(starts, next) + 1);
  }
  for (let i = 0; i < n; i++) setIndex(starts, i + 1, index(starts, i + 1) + index(starts, i));
}

/** Placing moved every start to its group's end: back by one. */
function restoreStarts(n: i32, starts: usize): void {
  memory.copy(starts + 4, starts, (<usize>n) << 2);
  store<i32>(starts, 0);
}

/** Takes the next place of group `key`. */
// @ts-ignore: decorator
@inline function nextPlace(starts: usize, key: i32): i32 {
  const place = index(starts, key);
  setIndex(starts, key, place + 1);
  return place;
}

/** A (m×n) to Aᵀ (n×m), both in compressed rows. The rows of Aᵀ come out sorted, whatever the order in those of A. */
export function csrTranspose<T>(
  m: i32, n: i32, data: usize, indices: usize, indptr: usize, outData: usize, outIndices: usize, outIndptr: usize,
): void {
  countKeys(index(indptr, m), n, indices, outIndptr);
  for (let i = 0; i < m; i++) {
    const stop = index(indptr, i + 1);
    for (let e = index(indptr, i); e < stop; e++) {
      const place = nextPlace(outIndptr, index(indices, e));
      setIndex(outIndices, place, i);
      set<T>(outData, place, get<T>(data, e));
    }
  }
  restoreStarts(n, outIndptr);
}

/** Adds neighbours of one column in sorted rows, in place; returns how many elements are left. */
export function csrSumDuplicates<T>(m: i32, data: usize, indices: usize, indptr: usize): i32 {
  let count = 0, e = 0;
  for (let i = 0; i < m; i++) {
    const stop = index(indptr, i + 1);
    while (e < stop) {
      const column = index(indices, e);
      let sum = get<T>(data, e++);
      while (e < stop && index(indices, e) == column) sum = <T>(sum + get<T>(data, e++));
      setIndex(indices, count, column);
      set<T>(data, count++, sum);
    }
    setIndex(indptr, i + 1, count);
  }
  return count;
}

/** Column j of A (nnz elements) <- factors[j] times it, a factor 0 included: 0·NaN is NaN. Of row numbers in place of indices: rows. */
export function csrScaleColumns<T>(nnz: i32, data: usize, indices: usize, factors: usize): void {
  for (let e = 0; e < nnz; e++) set<T>(data, e, <T>(get<T>(factors, index(indices, e)) * get<T>(data, e)));
}

/** norms (m) <- the Euclidean norm of every row, without overflow. */
export function csrRowNorms<T>(m: i32, data: usize, indptr: usize, norms: usize): void {
  for (let i = 0; i < m; i++) {
    const start = index(indptr, i);
    set<T>(norms, i, nrm2<T>(index(indptr, i + 1) - start, at<T>(data, start), 1));
  }
}

/** dense (m×n, row-major) <- A. */
export function csrToDense<T>(m: i32, n: i32, data: usize, indices: usize, indptr: usize, dense: usize): void {
  for (let i = 0; i < m; i++) {
    const row = at<T>(dense, i * n), stop = index(indptr, i + 1);
    fill<T>(n, <T>0, row);
    for (let e = index(indptr, i); e < stop; e++) set<T>(row, index(indices, e), get<T>(data, e));
  }
}
