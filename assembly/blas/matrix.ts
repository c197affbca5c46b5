// Whole matrices: copy and transpose, fill, scan. Strides in elements.

import { at, lanes, muladd, sum } from "../simd";
import { copy } from "./level1";

/** dst (m×n, row-major, rows ldd apart) <- src (m×n, strides rss and css); css or rss = 1 takes a fast path. */
export function lacpy<T>(m: i32, n: i32, src: usize, rss: i32, css: i32, dst: usize, ldd: i32): void {
  if (css == 1 || n == 1) {
    for (let i = 0; i < m; i++) copy<T>(n, at<T>(src, i * rss), 1, at<T>(dst, i * ldd), 1);
  } else if (rss == 1) {
    const square = 4;
    let i = 0;
    for (; i + square <= m; i += square) {
      transposeRows4<T>(n, at<T>(src, i), at<T>(0, css), at<T>(dst, i * ldd), at<T>(0, ldd));
    }
    for (; i < m; i++) copy<T>(n, at<T>(src, i), css, at<T>(dst, i * ldd), 1);
  } else {
    for (let i = 0; i < m; i++) copy<T>(n, at<T>(src, i * rss), css, at<T>(dst, i * ldd), 1);
  }
}

/** Four rows of dst from four neighbours of n columns of src: dst[q][j] = src[j][q]; strides in bytes. */
function transposeRows4<T>(n: i32, src: usize, step: usize, dst: usize, row: usize): void {
  let d0 = dst, d1 = d0 + row, d2 = d1 + row, d3 = d2 + row;
  let j = 0;
  if (sizeof<T>() == 4) {
    for (; j + 4 <= n; j += 4) {
      const a = v128.load(src), b = v128.load(src + step), c = v128.load(src + 2 * step), d = v128.load(src + 3 * step);
      const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5), cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
      const AB = v128.shuffle<f32>(a, b, 2, 6, 3, 7), CD = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
      v128.store(d0, v128.shuffle<f64>(ab, cd, 0, 2));
      v128.store(d1, v128.shuffle<f64>(ab, cd, 1, 3));
      v128.store(d2, v128.shuffle<f64>(AB, CD, 0, 2));
      v128.store(d3, v128.shuffle<f64>(AB, CD, 1, 3));
      src += 4 * step;
      d0 += 16;
      d1 += 16;
      d2 += 16;
      d3 += 16;
    }
  } else {
    for (; j + 2 <= n; j += 2) {
      const a = v128.load(src), b = v128.load(src + step), c = v128.load(src, 16), d = v128.load(src + step, 16);
      v128.store(d0, v128.shuffle<f64>(a, b, 0, 2));
      v128.store(d1, v128.shuffle<f64>(a, b, 1, 3));
      v128.store(d2, v128.shuffle<f64>(c, d, 0, 2));
      v128.store(d3, v128.shuffle<f64>(c, d, 1, 3));
      src += 2 * step;
      d0 += 16;
      d1 += 16;
      d2 += 16;
      d3 += 16;
    }
  }
  for (; j < n; j++) {
    store<T>(d0, load<T>(src));
    store<T>(d1, load<T>(at<T>(src, 1)));
    store<T>(d2, load<T>(at<T>(src, 2)));
    store<T>(d3, load<T>(at<T>(src, 3)));
    src += step;
    d0 += sizeof<T>();
    d1 += sizeof<T>();
    d2 += sizeof<T>();
    d3 += sizeof<T>();
  }
}

/** Every element of x <- value. */
export function fill<T>(n: i32, value: T, x: usize): void {
  const v = v128.splat<T>(value);
  let i = 0;
  for (; i + lanes<T>() <= n; i += lanes<T>()) {
    v128.store(x, v);
    x += 16;
  }
  for (; i < n; i++) {
    store<T>(x, value);
    x += sizeof<T>();
  }
}

/** A (m×n, row-major) <- identity, or its first rows and columns. */
export function setIdentity<T>(m: i32, n: i32, a: usize, lda: i32): void {
  for (let i = 0; i < m; i++) {
    fill<T>(n, <T>0, at<T>(a, i * lda));
    if (i < n) store<T>(at<T>(a, i * lda + i), <T>1);
  }
}

/** Every row of y (m×n) times x (n), element by element. */
export function scaleColumns<T>(m: i32, n: i32, x: usize, y: usize): void {
  for (let i = 0; i < m; i++) multiplyRow<T>(n, x, at<T>(y, i * n));
}

/** y <- x∘y. */
function multiplyRow<T>(n: i32, x: usize, y: usize): void {
  let i = 0;
  for (; i + lanes<T>() <= n; i += lanes<T>()) {
    v128.store(y, v128.mul<T>(v128.load(x), v128.load(y)));
    x += 16;
    y += 16;
  }
  for (; i < n; i++) {
    store<T>(y, <T>(load<T>(x) * load<T>(y)));
    x += sizeof<T>();
    y += sizeof<T>();
  }
}

/** Z <- Z + X∘Y, m×n; rows are ldx, ldy and ldz elements apart, with 0 the same row stands for all. */
export function addProducts<T>(m: i32, n: i32, x: usize, ldx: i32, y: usize, ldy: i32, z: usize, ldz: i32): void {
  for (let i = 0; i < m; i++) addProductsRow<T>(n, at<T>(x, i * ldx), at<T>(y, i * ldy), at<T>(z, i * ldz));
}

/** z <- z + x∘y. */
function addProductsRow<T>(n: i32, x: usize, y: usize, z: usize): void {
  let i = 0;
  for (; i + lanes<T>() <= n; i += lanes<T>()) {
    v128.store(z, muladd<T>(v128.load(x), v128.load(y), v128.load(z)));
    x += 16;
    y += 16;
    z += 16;
  }
  for (; i < n; i++) {
    store<T>(z, <T>(load<T>(z) + load<T>(x) * load<T>(y)));
    x += sizeof<T>();
    y += sizeof<T>();
    z += sizeof<T>();
  }
}

/** A (n×n, row-major) <- its lower triangle mirrored into the upper one. */
export function mirrorLower<T>(n: i32, a: usize, lda: i32): void {
  for (let i = 1; i < n; i++) copy<T>(i, at<T>(a, i * lda), 1, at<T>(a, i), lda);
}

/** Whether n contiguous elements are all finite: 0·x is 0 for finite x and NaN otherwise. */
function isFiniteRow<T>(n: i32, x: usize): bool {
  const zero = v128.splat<T>(<T>0);
  let s = zero;
  let i = 0;
  for (; i + lanes<T>() <= n; i += lanes<T>()) {
    s = v128.add<T>(s, v128.mul<T>(zero, v128.load(x)));
    x += 16;
  }
  let r = sum<T>(s);
  for (; i < n; i++) {
    r = <T>(r + <T>0 * load<T>(x));
    x += sizeof<T>();
  }
  return r == <T>0;
}

/** Index i·n + j of the first NaN or Infinity of A (m×n, strides rs and cs), or -1; f64 holds every index exactly. */
export function firstNonFinite<T>(m: i32, n: i32, a: usize, rs: i32, cs: i32): f64 {
  if (rs == 1 && cs != 1 && isFiniteEverywhere<T>(n, m, a, cs)) return -1;
  for (let i = 0; i < m; i++) {
    if (cs == 1 && isFiniteRow<T>(n, at<T>(a, i * rs))) continue;
    for (let j = 0; j < n; j++) {
      const x = load<T>(at<T>(a, i * rs + j * cs));
      if (x - x != <T>0) return <f64>i * <f64>n + <f64>j;
    }
  }
  return -1;
}

function isFiniteEverywhere<T>(m: i32, n: i32, a: usize, lda: i32): bool {
  for (let i = 0; i < m; i++) if (!isFiniteRow<T>(n, at<T>(a, i * lda))) return false;
  return true;
}
