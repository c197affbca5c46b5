// The second half of an adapter: y <- y + Σ_j h[j]·Bᵀ[j] for one or two rows of y, added in the order of the ranks whatever
// is computed beside it. Bᵀ stands by rows of `out` elements; `lines` as in shrink.ts.

import { at, lanes, madd } from "../simd";
import { LINE_BYTES } from "./shrink";

// @ts-ignore: decorator
@inline function lineOfB(lines: usize, j: i32): usize {
  return <usize>load<u32>(lines + <usize>j * LINE_BYTES, 4);
}

/** y (n elements) <- y + Σ h[j]·Bᵀ[j], j < r. */
export function expandRow<T>(n: i32, r: i32, lines: usize, h: usize, y: usize): void {
  let j = 0;
  for (; j + 4 <= r; j += 4) add4<T>(n, lines + <usize>j * LINE_BYTES, at<T>(h, j), y);
  for (; j < r; j++) add1<T>(n, lineOfB(lines, j), load<T>(at<T>(h, j)), y);
}

/** As expandRow for two rows at once, with coefficients h and g. */
export function expandTwoRows<T>(n: i32, r: i32, lines: usize, h: usize, g: usize, y: usize, z: usize): void {
  let j = 0;
  for (; j + 4 <= r; j += 4) add2x4<T>(n, lines + <usize>j * LINE_BYTES, at<T>(h, j), at<T>(g, j), y, z);
  for (; j < r; j++) {
    const b = lineOfB(lines, j);
    add1<T>(n, b, load<T>(at<T>(h, j)), y);
    add1<T>(n, b, load<T>(at<T>(g, j)), z);
  }
}

function add1<T>(n: i32, b: usize, f: T, y: usize): void {
  const v = v128.splat<T>(f);
  let i = 0;
  for (; i + lanes<T>() <= n; i += lanes<T>()) {
    v128.store(y, madd<T>(v, v128.load(b), v128.load(y)));
    b += 16;
    y += 16;
  }
  for (; i < n; i++) {
    store<T>(y, <T>(load<T>(y) + f * load<T>(b)));
    b += sizeof<T>();
    y += sizeof<T>();
  }
}

function add4<T>(n: i32, lines: usize, h: usize, y: usize): void {
  const f0 = load<T>(h), f1 = load<T>(at<T>(h, 1)), f2 = load<T>(at<T>(h, 2)), f3 = load<T>(at<T>(h, 3));
  const v0 = v128.splat<T>(f0), v1 = v128.splat<T>(f1), v2 = v128.splat<T>(f2), v3 = v128.splat<T>(f3);
  let a = lineOfB(lines, 0), b = lineOfB(lines, 1), c = lineOfB(lines, 2), d = lineOfB(lines, 3);
  let i = 0;
  for (; i + lanes<T>() <= n; i += lanes<T>()) {
    let s = madd<T>(v0, v128.load(a), v128.load(y));
    s = madd<T>(v1, v128.load(b), s);
    s = madd<T>(v2, v128.load(c), s);
    v128.store(y, madd<T>(v3, v128.load(d), s));
    a += 16;
    b += 16;
    c += 16;
    d += 16;
    y += 16;
  }
  for (; i < n; i++) {
    addScalars<T>(f0, f1, f2, f3, a, b, c, d, y);
    a += sizeof<T>();
    b += sizeof<T>();
    c += sizeof<T>();
    d += sizeof<T>();
    y += sizeof<T>();
  }
}

function add2x4<T>(n: i32, lines: usize, h: usize, g: usize, y: usize, z: usize): void {
  const f0 = load<T>(h), f1 = load<T>(at<T>(h, 1)), f2 = load<T>(at<T>(h, 2)), f3 = load<T>(at<T>(h, 3));
  const g0 = load<T>(g), g1 = load<T>(at<T>(g, 1)), g2 = load<T>(at<T>(g, 2)), g3 = load<T>(at<T>(g, 3));
  const v0 = v128.splat<T>(f0), v1 = v128.splat<T>(f1), v2 = v128.splat<T>(f2), v3 = v128.splat<T>(f3);
  const u0 = v128.splat<T>(g0), u1 = v128.splat<T>(g1), u2 = v128.splat<T>(g2), u3 = v128.splat<T>(g3);
  let a = lineOfB(lines, 0), b = lineOfB(lines, 1), c = lineOfB(lines, 2), d = lineOfB(lines, 3);
  let i = 0;
  for (; i + lanes<T>() <= n; i += lanes<T>()) {
    const va = v128.load(a), vb = v128.load(b), vc = v128.load(c), vd = v128.load(d);
    let s = madd<T>(v0, va, v128.load(y)), t = madd<T>(u0, va, v128.load(z));
    s = madd<T>(v1, vb, s);
    t = madd<T>(u1, vb, t);
    s = madd<T>(v2, vc, s);
    t = madd<T>(u2, vc, t);
    v128.store(y, madd<T>(v3, vd, s));
    v128.store(z, madd<T>(u3, vd, t));
    a += 16;
    b += 16;
    c += 16;
    d += 16;
    y += 16;
    z += 16;
  }
  for (; i < n; i++) {
    addScalars<T>(f0, f1, f2, f3, a, b, c, d, y);
    addScalars<T>(g0, g1, g2, g3, a, b, c, d, z);
    a += sizeof<T>();
    b += sizeof<T>();
    c += sizeof<T>();
    d += sizeof<T>();
    y += sizeof<T>();
    z += sizeof<T>();
  }
}

/** One element of y: four products added in order. */
// @ts-ignore: decorator
@inline function addScalars<T>(
  f0: T, f1: T, f2: T, f3: T, a: usize, b: usize, c: usize, d: usize, y: usize,
): void {
  let s = <T>(load<T>(y) + f0 * load<T>(a));
  s = <T>(s + f1 * load<T>(b));
  s = <T>(s + f2 * load<T>(c));
  store<T>(y, <T>(s + f3 * load<T>(d)));
}
