// Rows of a batch that share an adapter: rows (count i32) lists their indices; matrices are row-major and contiguous.

import { axpy, copy } from "../blas/level1";
import { at } from "../simd";

/** Index i of a list. */
// @ts-ignore: decorator
@inline function index(rows: usize, i: i32): i32 {
  return load<i32>(rows + ((<usize>i) << 2));
}

/** dst (count×n) <- the listed rows of src (…×n). */
export function gatherRows<T>(count: i32, n: i32, rows: usize, src: usize, dst: usize): void {
  for (let i = 0; i < count; i++) copy<T>(n, at<T>(src, index(rows, i) * n), 1, at<T>(dst, i * n), 1);
}

/** The listed rows of dst (…×n) <- src (count×n). */
export function scatterRows<T>(count: i32, n: i32, rows: usize, src: usize, dst: usize): void {
  for (let i = 0; i < count; i++) copy<T>(n, at<T>(src, i * n), 1, at<T>(dst, index(rows, i) * n), 1);
}

/** The listed rows of dst (…×n) <- themselves + src (count×n). */
export function addRows<T>(count: i32, n: i32, rows: usize, src: usize, dst: usize): void {
  for (let i = 0; i < count; i++) axpy<T>(n, <T>1, at<T>(src, i * n), 1, at<T>(dst, index(rows, i) * n), 1);
}
