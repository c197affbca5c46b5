// Products of a sparse matrix with a block of columns. A is m×n in compressed rows (CSR): row i holds data[e] in column
// indices[e] for e in [indptr[i], indptr[i + 1]); indices and indptr are i32. X (n×b) and Y (m×b) are row-major, their rows
// ldx and ldy elements apart. Nothing is skipped, so NaN and Infinity pass through. Multiply and add round separately.
//
// A strip of eight vectors of a row of Y stays in registers while the row of A passes. The functions with the loops treat a
// few rows a call, so that the engine compiles them early.

import { fill } from "../blas/matrix";
import { at, get, lanes, muladd, set } from "../simd";
import { index } from "./structure";

/** Rows of A that one call of a strip treats. */
const ROWS: i32 = 32;

/** Rows begin…end of Y <- A·X: any cut into ranges gives the same digits. */
export function csrmm<T>(
  begin: i32, end: i32, b: i32, data: usize, indices: usize, indptr: usize, x: usize, ldx: i32, y: usize, ldy: i32,
): void {
  const width = lanes<T>();
  for (let first = begin; first < end; first += ROWS) {
    const last = min<i32>(end, first + ROWS);
    let j = 0;
    for (; j + 8 * width <= b; j += 8 * width) {
      rowsTimes8<T>(first, last, data, indices, indptr, at<T>(x, j), ldx, at<T>(y, j), ldy);
    }
    for (; j + width <= b; j += width) {
      rowsTimes1<T>(first, last, data, indices, indptr, at<T>(x, j), ldx, at<T>(y, j), ldy);
    }
    for (; j < b; j++) rowsTimesColumn<T>(first, last, data, indices, indptr, at<T>(x, j), ldx, at<T>(y, j), ldy);
  }
}

function rowsTimes8<T>(
  first: i32, last: i32, data: usize, indices: usize, indptr: usize, x: usize, ldx: i32, y: usize, ldy: i32,
): void {
  const zero = v128.splat<T>(<T>0);
  for (let i = first; i < last; i++) {
    let s0 = zero, s1 = zero, s2 = zero, s3 = zero, s4 = zero, s5 = zero, s6 = zero, s7 = zero;
    const stop = index(indptr, i + 1);
    for (let e = index(indptr, i); e < stop; e++) {
      const v = v128.splat<T>(get<T>(data, e));
      const row = at<T>(x, index(indices, e) * ldx);
      s0 = muladd<T>(v, v128.load(row), s0);
      s1 = muladd<T>(v, v128.load(row, 16), s1);
      s2 = muladd<T>(v, v128.load(row, 32), s2);
      s3 = muladd<T>(v, v128.load(row, 48), s3);
      s4 = muladd<T>(v, v128.load(row, 64), s4);
      s5 = muladd<T>(v, v128.load(row, 80), s5);
      s6 = muladd<T>(v, v128.load(row, 96), s6);
      s7 = muladd<T>(v, v128.load(row, 112), s7);
    }
    const out = at<T>(y, i * ldy);
    v128.store(out, s0);
    v128.store(out, s1, 16);
    v128.store(out, s2, 32);
    v128.store(out, s3, 48);
    v128.store(out, s4, 64);
    v128.store(out, s5, 80);
    v128.store(out, s6, 96);
    v128.store(out, s7, 112);
  }
}

function rowsTimes1<T>(
  first: i32, last: i32, data: usize, indices: usize, indptr: usize, x: usize, ldx: i32, y: usize, ldy: i32,
): void {
  for (let i = first; i < last; i++) {
    let s = v128.splat<T>(<T>0);
    const stop = index(indptr, i + 1);
    for (let e = index(indptr, i); e < stop; e++) {
      const v = v128.splat<T>(get<T>(data, e));
      s = muladd<T>(v, v128.load(at<T>(x, index(indices, e) * ldx)), s);
    }
    v128.store(at<T>(y, i * ldy), s);
  }
}

/** Two partial sums, since an addition waits for the one before. */
function rowsTimesColumn<T>(
  first: i32, last: i32, data: usize, indices: usize, indptr: usize, x: usize, ldx: i32, y: usize, ldy: i32,
): void {
  for (let i = first; i < last; i++) {
    let s0 = <T>0, s1 = <T>0;
    const stop = index(indptr, i + 1);
    let e = index(indptr, i);
    for (; e + 2 <= stop; e += 2) {
      s0 = <T>(s0 + get<T>(data, e) * get<T>(x, index(indices, e) * ldx));
      s1 = <T>(s1 + get<T>(data, e + 1) * get<T>(x, index(indices, e + 1) * ldx));
    }
    if (e < stop) s0 = <T>(s0 + get<T>(data, e) * get<T>(x, index(indices, e) * ldx));
    set<T>(y, i * ldy, <T>(s0 + s1));
  }
}

/**
 * Columns first…last of X (n×b) <- the same columns of Aᵀ·Y: a range of columns, because every row of A adds to rows all
 * over X. Any cut into ranges gives the same digits: the rows of A are added in their order.
 */
export function csrmmTransposed<T>(
  first: i32, last: i32, m: i32, n: i32, data: usize, indices: usize, indptr: usize, y: usize, ldy: i32, x: usize, ldx: i32,
): void {
  const width = lanes<T>(), b = last - first;
  y = at<T>(y, first);
  x = at<T>(x, first);
  if (b == ldx) fill<T>(n * ldx, <T>0, x);
  else for (let i = 0; i < n; i++) fill<T>(b, <T>0, at<T>(x, i * ldx));
  for (let i = 0; i < m; i += ROWS) {
    const end = min<i32>(m, i + ROWS);
    let j = 0;
    for (; j + 8 * width <= b; j += 8 * width) {
      addRows8<T>(i, end, data, indices, indptr, at<T>(y, j), ldy, at<T>(x, j), ldx);
    }
    for (; j + width <= b; j += width) {
      addRows1<T>(i, end, data, indices, indptr, at<T>(y, j), ldy, at<T>(x, j), ldx);
    }
    for (; j < b; j++) addRowsColumn<T>(i, end, data, indices, indptr, at<T>(y, j), ldy, at<T>(x, j), ldx);
  }
}

function addRows8<T>(
  first: i32, last: i32, data: usize, indices: usize, indptr: usize, y: usize, ldy: i32, x: usize, ldx: i32,
): void {
  for (let i = first; i < last; i++) {
    const from = at<T>(y, i * ldy);
    const y0 = v128.load(from), y1 = v128.load(from, 16), y2 = v128.load(from, 32), y3 = v128.load(from, 48);
    const y4 = v128.load(from, 64), y5 = v128.load(from, 80), y6 = v128.load(from, 96), y7 = v128.load(from, 112);
    const stop = index(indptr, i + 1);
    for (let e = index(indptr, i); e < stop; e++) {
      const v = v128.splat<T>(get<T>(data, e));
      const row = at<T>(x, index(indices, e) * ldx);
      v128.store(row, muladd<T>(v, y0, v128.load(row)));
      v128.store(row, muladd<T>(v, y1, v128.load(row, 16)), 16);
      v128.store(row, muladd<T>(v, y2, v128.load(row, 32)), 32);
      v128.store(row, muladd<T>(v, y3, v128.load(row, 48)), 48);
      v128.store(row, muladd<T>(v, y4, v128.load(row, 64)), 64);
      v128.store(row, muladd<T>(v, y5, v128.load(row, 80)), 80);
      v128.store(row, muladd<T>(v, y6, v128.load(row, 96)), 96);
      v128.store(row, muladd<T>(v, y7, v128.load(row, 112)), 112);
    }
  }
}

function addRows1<T>(
  first: i32, last: i32, data: usize, indices: usize, indptr: usize, y: usize, ldy: i32, x: usize, ldx: i32,
): void {
  for (let i = first; i < last; i++) {
    const y0 = v128.load(at<T>(y, i * ldy));
    const stop = index(indptr, i + 1);
    for (let e = index(indptr, i); e < stop; e++) {
      const row = at<T>(x, index(indices, e) * ldx);
      v128.store(row, muladd<T>(v128.splat<T>(get<T>(data, e)), y0, v128.load(row)));
    }
  }
}

/** Elements two at a time: the function must be too large for the optimiser to take it into its caller. */
function addRowsColumn<T>(
  first: i32, last: i32, data: usize, indices: usize, indptr: usize, y: usize, ldy: i32, x: usize, ldx: i32,
): void {
  for (let i = first; i < last; i++) {
    const y0 = get<T>(y, i * ldy);
    const stop = index(indptr, i + 1);
    let e = index(indptr, i);
    for (; e + 2 <= stop; e += 2) {
      const one = at<T>(x, index(indices, e) * ldx), other = at<T>(x, index(indices, e + 1) * ldx);
      store<T>(one, <T>(load<T>(one) + get<T>(data, e) * y0));
      store<T>(other, <T>(load<T>(other) + get<T>(data, e + 1) * y0));
    }
    if (e < stop) {
      const one = at<T>(x, index(indices, e) * ldx);
      store<T>(one, <T>(load<T>(one) + get<T>(data, e) * y0));
    }
  }
}
