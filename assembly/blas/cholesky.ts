// Cholesky factorisation A = Uᵀ·U. Right-looking, four rows at a time: their triangle in scalars, the rest of the four rows and
// the correction of the rows below in vectors along the rows (LAPACK's xPOTRF with 'U', for row-major matrices). Meant for
// orders up to a few hundred, whose matrix stays in the caches.

import { at, get, lanes, madd, muladd, set } from "../simd";

/** Rows of a panel. */
const PANEL = 4;

/**
 * A (n×w, row-major, rows lda apart, w >= n): its first n columns are a symmetric positive definite matrix, of which the
 * upper triangle is read and replaced by U, A = Uᵀ·U. Further columns B are right-hand sides and become U⁻ᵀ·B. Below
 * the diagonal anything may be written. Returns 0, or 1 + the index of the first pivot that is not positive.
 */
export function potrf<T>(n: i32, w: i32, a: usize, lda: i32): i32 {
  let j = 0;
  for (; j + PANEL <= n; j += PANEL) {
    const rows = at<T>(a, j * lda + j);
    const info = factorTriangle<T>(PANEL, rows, lda);
    if (info != 0) return j + info;
    solvePanel<T>(w - j, rows, at<T>(0, lda));
    // from a vector's first column on: rows of whole vectors have no remainder
    let i = j + PANEL;
    for (; i + 2 <= n; i += 2) {
      const from = i & -lanes<T>();
      correctRows2<T>(w - from, at<T>(a, j * lda + from), at<T>(a, i * lda + from), at<T>(0, lda), i - from);
    }
    if (i < n) {
      const from = i & -lanes<T>();
      correctRow<T>(w - from, at<T>(a, j * lda + from), at<T>(a, i * lda + from), at<T>(0, lda), i - from);
    }
  }
  const left = n - j, rows = at<T>(a, j * lda + j);
  const info = factorTriangle<T>(left, rows, lda);
  if (info != 0) return j + info;
  for (let q = 0; q < left; q++) {
    const row = at<T>(rows, q * lda), inverse = <T>(<T>1 / get<T>(row, q));
    for (let c = left; c < w - j; c++) {
      let x = get<T>(row, c);
      for (let p = 0; p < q; p++) x = <T>(x - get<T>(rows, p * lda + q) * get<T>(rows, p * lda + c));
      set<T>(row, c, <T>(x * inverse));
    }
  }
  return 0;
}

/** The Cholesky factor of a small triangle (n×n at a), in place; 0, or 1 + the index of a pivot that is not positive. */
function factorTriangle<T>(n: i32, a: usize, lda: i32): i32 {
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) {
      let x = get<T>(a, j * lda + i);
      for (let p = 0; p < j; p++) x = <T>(x - get<T>(a, p * lda + j) * get<T>(a, p * lda + i));
      if (i == j) {
        if (!(x > <T>0)) return j + 1;
        x = sqrt<T>(x);
      } else {
        x = <T>(x / get<T>(a, j * lda + j));
      }
      set<T>(a, j * lda + i, x);
    }
  }
  return 0;
}

/** Four rows (of w elements, row bytes apart) right of their factored triangle: U₁₁⁻ᵀ times them. */
function solvePanel<T>(w: i32, a: usize, row: usize): void {
  let r0 = a, r1 = r0 + row, r2 = r1 + row, r3 = r2 + row;
  const d0 = <T>(<T>1 / get<T>(r0, 0)), d1 = <T>(<T>1 / get<T>(r1, 1));
  const d2 = <T>(<T>1 / get<T>(r2, 2)), d3 = <T>(<T>1 / get<T>(r3, 3));
  const u01 = <T>-get<T>(r0, 1), u02 = <T>-get<T>(r0, 2), u03 = <T>-get<T>(r0, 3);
  const u12 = <T>-get<T>(r1, 2), u13 = <T>-get<T>(r1, 3), u23 = <T>-get<T>(r2, 3);
  const s0 = v128.splat<T>(d0), s1 = v128.splat<T>(d1), s2 = v128.splat<T>(d2), s3 = v128.splat<T>(d3);
  const v01 = v128.splat<T>(u01), v02 = v128.splat<T>(u02), v03 = v128.splat<T>(u03);
  const v12 = v128.splat<T>(u12), v13 = v128.splat<T>(u13), v23 = v128.splat<T>(u23);
  let c = PANEL;
  const step = at<T>(0, PANEL);
  r0 += step;
  r1 += step;
  r2 += step;
  r3 += step;
  for (; c + lanes<T>() <= w; c += lanes<T>()) {
    const x0 = v128.mul<T>(v128.load(r0), s0);
    const x1 = v128.mul<T>(muladd<T>(v01, x0, v128.load(r1)), s1);
    const x2 = v128.mul<T>(muladd<T>(v12, x1, muladd<T>(v02, x0, v128.load(r2))), s2);
    const x3 = v128.mul<T>(muladd<T>(v23, x2, muladd<T>(v13, x1, muladd<T>(v03, x0, v128.load(r3)))), s3);
    v128.store(r0, x0);
    v128.store(r1, x1);
    v128.store(r2, x2);
    v128.store(r3, x3);
    r0 += 16;
    r1 += 16;
    r2 += 16;
    r3 += 16;
  }
  for (; c < w; c++) {
    const x0 = <T>(load<T>(r0) * d0);
    const x1 = <T>((load<T>(r1) + u01 * x0) * d1);
    const x2 = <T>((load<T>(r2) + u02 * x0 + u12 * x1) * d2);
    const x3 = <T>((load<T>(r3) + u03 * x0 + u13 * x1 + u23 * x2) * d3);
    store<T>(r0, x0);
    store<T>(r1, x1);
    store<T>(r2, x2);
    store<T>(r3, x3);
    r0 += sizeof<T>();
    r1 += sizeof<T>();
    r2 += sizeof<T>();
    r3 += sizeof<T>();
  }
}

/** c (w elements) <- c − Σ_p u_p[column]·u_p over the four rows u of a panel. */
function correctRow<T>(w: i32, u: usize, c: usize, row: usize, column: i32): void {
  let u0 = u, u1 = u0 + row, u2 = u1 + row, u3 = u2 + row;
  const f0 = <T>-get<T>(u0, column), f1 = <T>-get<T>(u1, column);
  const f2 = <T>-get<T>(u2, column), f3 = <T>-get<T>(u3, column);
  const a0 = v128.splat<T>(f0), a1 = v128.splat<T>(f1), a2 = v128.splat<T>(f2), a3 = v128.splat<T>(f3);
  let j = 0;
  for (; j + lanes<T>() <= w; j += lanes<T>()) {
    let x = madd<T>(a0, v128.load(u0), v128.load(c));
    x = madd<T>(a1, v128.load(u1), x);
    x = madd<T>(a2, v128.load(u2), x);
    v128.store(c, madd<T>(a3, v128.load(u3), x));
    u0 += 16;
    u1 += 16;
    u2 += 16;
    u3 += 16;
    c += 16;
  }
  for (; j < w; j++) {
    store<T>(c, <T>(load<T>(c) + f0 * load<T>(u0) + f1 * load<T>(u1) + f2 * load<T>(u2) + f3 * load<T>(u3)));
    u0 += sizeof<T>();
    u1 += sizeof<T>();
    u2 += sizeof<T>();
    u3 += sizeof<T>();
    c += sizeof<T>();
  }
}

/** correctRow for two neighbouring rows, which share what is read of the panel; their columns are column and column + 1. */
function correctRows2<T>(w: i32, u: usize, c: usize, row: usize, column: i32): void {
  let u0 = u, u1 = u0 + row, u2 = u1 + row, u3 = u2 + row, d = c + row;
  const f0 = <T>-get<T>(u0, column), f1 = <T>-get<T>(u1, column);
  const f2 = <T>-get<T>(u2, column), f3 = <T>-get<T>(u3, column);
  const g0 = <T>-get<T>(u0, column + 1), g1 = <T>-get<T>(u1, column + 1);
  const g2 = <T>-get<T>(u2, column + 1), g3 = <T>-get<T>(u3, column + 1);
  const a0 = v128.splat<T>(f0), a1 = v128.splat<T>(f1), a2 = v128.splat<T>(f2), a3 = v128.splat<T>(f3);
  const b0 = v128.splat<T>(g0), b1 = v128.splat<T>(g1), b2 = v128.splat<T>(g2), b3 = v128.splat<T>(g3);
  let j = 0;
  for (; j + lanes<T>() <= w; j += lanes<T>()) {
    let v = v128.load(u0);
    let x = madd<T>(a0, v, v128.load(c)), y = madd<T>(b0, v, v128.load(d));
    v = v128.load(u1);
    x = madd<T>(a1, v, x);
    y = madd<T>(b1, v, y);
    v = v128.load(u2);
    x = madd<T>(a2, v, x);
    y = madd<T>(b2, v, y);
    v = v128.load(u3);
    v128.store(c, madd<T>(a3, v, x));
    v128.store(d, madd<T>(b3, v, y));
    u0 += 16;
    u1 += 16;
    u2 += 16;
    u3 += 16;
    c += 16;
    d += 16;
  }
  for (; j < w; j++) {
    const v0 = load<T>(u0), v1 = load<T>(u1), v2 = load<T>(u2), v3 = load<T>(u3);
    store<T>(c, <T>(load<T>(c) + f0 * v0 + f1 * v1 + f2 * v2 + f3 * v3));
    store<T>(d, <T>(load<T>(d) + g0 * v0 + g1 * v1 + g2 * v2 + g3 * v3));
    u0 += sizeof<T>();
    u1 += sizeof<T>();
    u2 += sizeof<T>();
    u3 += sizeof<T>();
    c += sizeof<T>();
    d += sizeof<T>();
  }
}
