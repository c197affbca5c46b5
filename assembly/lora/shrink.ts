// The first half of an adapter: h = s·(x·Aᵀ) for one or two rows of x against rank-rows of A that stand anywhere.
// Every dot product is one vector of partial sums in the order of the inputs, its lanes added pairwise, then the last few inputs:
// the same bits whatever is computed beside it.
//
// `lines` lists the rank-rows, two addresses each: the row of A (in elements), the column of B as a row (out elements).

import { at, lanes, madd, sum } from "../simd";

/** Bytes of an entry of `lines`. */
export const LINE_BYTES: usize = 8;

// @ts-ignore: decorator
@inline function lineOfA(lines: usize, j: i32): usize {
  return <usize>load<u32>(lines + <usize>j * LINE_BYTES);
}

/** h[j] <- s·(x·A[j]) for j < r, one row of x (n elements). */
export function shrinkRow<T>(n: i32, r: i32, lines: usize, x: usize, s: T, h: usize): void {
  let j = 0;
  for (; r - j > 4; j += 8) dots8<T>(n, min<i32>(8, r - j), lines + <usize>j * LINE_BYTES, x, s, at<T>(h, j));
  if (j < r) {
    const to = at<T>(h, j);
    dots2x4<T>(n, r - j, lines + <usize>j * LINE_BYTES, x, x, s, s, to, to);
  }
}

/** As shrinkRow for two rows of x at once. */
export function shrinkTwoRows<T>(
  n: i32, r: i32, lines: usize, x: usize, y: usize, s: T, t: T, h: usize, g: usize,
): void {
  for (let j = 0; j < r; j += 4) {
    dots2x4<T>(n, min<i32>(4, r - j), lines + <usize>j * LINE_BYTES, x, y, s, t, at<T>(h, j), at<T>(g, j));
  }
}

/** One row against `count` <= 8 lines; the lines that are not there repeat the last one. */
function dots8<T>(n: i32, count: i32, lines: usize, x: usize, s: T, h: usize): void {
  const last = count - 1;
  let a = lineOfA(lines, 0), b = lineOfA(lines, min<i32>(1, last)), c = lineOfA(lines, min<i32>(2, last));
  let d = lineOfA(lines, min<i32>(3, last)), e = lineOfA(lines, min<i32>(4, last));
  let f = lineOfA(lines, min<i32>(5, last)), g = lineOfA(lines, min<i32>(6, last)), i = lineOfA(lines, min<i32>(7, last));
  const zero = v128.splat<T>(<T>0);
  let s0 = zero, s1 = zero, s2 = zero, s3 = zero, s4 = zero, s5 = zero, s6 = zero, s7 = zero;
  let p = 0;
  for (; p + lanes<T>() <= n; p += lanes<T>()) {
    const v = v128.load(x);
    s0 = madd<T>(v128.load(a), v, s0);
    s1 = madd<T>(v128.load(b), v, s1);
    s2 = madd<T>(v128.load(c), v, s2);
    s3 = madd<T>(v128.load(d), v, s3);
    s4 = madd<T>(v128.load(e), v, s4);
    s5 = madd<T>(v128.load(f), v, s5);
    s6 = madd<T>(v128.load(g), v, s6);
    s7 = madd<T>(v128.load(i), v, s7);
    x += 16;
    a += 16;
    b += 16;
    c += 16;
    d += 16;
    e += 16;
    f += 16;
    g += 16;
    i += 16;
  }
  const rest = n - p;
  finish<T>(count, 0, s0, rest, x, a, s, h);
  finish<T>(count, 1, s1, rest, x, b, s, h);
  finish<T>(count, 2, s2, rest, x, c, s, h);
  finish<T>(count, 3, s3, rest, x, d, s, h);
  finish<T>(count, 4, s4, rest, x, e, s, h);
  finish<T>(count, 5, s5, rest, x, f, s, h);
  finish<T>(count, 6, s6, rest, x, g, s, h);
  finish<T>(count, 7, s7, rest, x, i, s, h);
}

/** Two rows against `count` <= 4 lines. */
function dots2x4<T>(n: i32, count: i32, lines: usize, x: usize, y: usize, s: T, t: T, h: usize, g: usize): void {
  const last = count - 1;
  let a = lineOfA(lines, 0), b = lineOfA(lines, min<i32>(1, last)), c = lineOfA(lines, min<i32>(2, last));
  let d = lineOfA(lines, min<i32>(3, last));
  const zero = v128.splat<T>(<T>0);
  let s0 = zero, s1 = zero, s2 = zero, s3 = zero, t0 = zero, t1 = zero, t2 = zero, t3 = zero;
  let p = 0;
  for (; p + lanes<T>() <= n; p += lanes<T>()) {
    const v = v128.load(x), u = v128.load(y);
    const va = v128.load(a), vb = v128.load(b), vc = v128.load(c), vd = v128.load(d);
    s0 = madd<T>(va, v, s0);
    t0 = madd<T>(va, u, t0);
    s1 = madd<T>(vb, v, s1);
    t1 = madd<T>(vb, u, t1);
    s2 = madd<T>(vc, v, s2);
    t2 = madd<T>(vc, u, t2);
    s3 = madd<T>(vd, v, s3);
    t3 = madd<T>(vd, u, t3);
    x += 16;
    y += 16;
    a += 16;
    b += 16;
    c += 16;
    d += 16;
  }
  const rest = n - p;
  finish<T>(count, 0, s0, rest, x, a, s, h);
  finish<T>(count, 0, t0, rest, y, a, t, g);
  finish<T>(count, 1, s1, rest, x, b, s, h);
  finish<T>(count, 1, t1, rest, y, b, t, g);
  finish<T>(count, 2, s2, rest, x, c, s, h);
  finish<T>(count, 2, t2, rest, y, c, t, g);
  finish<T>(count, 3, s3, rest, x, d, s, h);
  finish<T>(count, 3, t3, rest, y, d, t, g);
}

/** h[j] <- s·(the lanes of v and the last few products), if there is a line j. */
function finish<T>(count: i32, j: i32, v: v128, rest: i32, x: usize, a: usize, s: T, h: usize): void {
  if (j >= count) return;
  let dot = sum<T>(v);
  for (let p = 0; p < rest; p++) dot = <T>(dot + load<T>(at<T>(x, p)) * load<T>(at<T>(a, p)));
  store<T>(at<T>(h, j), <T>(s * dot));
}
