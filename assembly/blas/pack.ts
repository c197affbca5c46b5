// Packing for the product: a panel of `width` rows of A (or columns of B) is stored depth by depth, so that the tile
// reads both operands as one stream. One routine packs A and B: "across" is the direction of the panel's width,
// "along" the direction of the sum.
//   dst[p·width + q] = src[q·across + p·along],  q < valid, p < depth;  0 for valid <= q < width

import { at, lanes } from "../simd";

/** Packs one panel; strides in elements. Entered once a panel, so that it is compiled while it runs. */
export function packPanel<T>(
  width: i32, valid: i32, depth: i32, src: usize, across: i32, along: i32, dst: usize,
): void {
  if (valid < width) {
    packEdge<T>(width, valid, depth, src, across, along, dst);
  } else if (across == 1) {
    const step = at<T>(0, along);
    if (width == lanes<T>()) copyVector(depth, src, step, dst);
    else copyVectorPair(depth, src, step, dst);
  } else {
    for (let q = 0; q < width; q += lanes<T>()) {
      const from = at<T>(src, q * across), to = at<T>(dst, q);
      if (along == 1) transposeVectors<T>(depth, from, at<T>(0, across), to, at<T>(0, width));
      else gatherVectors<T>(depth, from, at<T>(0, across), at<T>(0, along), to, at<T>(0, width));
    }
  }
}

function copyVector(depth: i32, src: usize, step: usize, dst: usize): void {
  for (let p = 0; p < depth; p++) {
    v128.store(dst, v128.load(src));
    src += step;
    dst += 16;
  }
}

// @ts-ignore: decorator
@inline function copyVectorPair(depth: i32, src: usize, step: usize, dst: usize): void {
  for (let p = 0; p < depth; p++) {
    v128.store(dst, v128.load(src));
    v128.store(dst, v128.load(src, 16), 16);
    src += step;
    dst += 32;
  }
}

/** One vector's width of lines that are contiguous along the sum: lanes×lanes blocks turned in registers. */
function transposeVectors<T>(depth: i32, src: usize, across: usize, dst: usize, width: usize): void {
  let p = 0;
  if (sizeof<T>() == 4) {
    let s0 = src, s1 = s0 + across, s2 = s1 + across, s3 = s2 + across;
    for (; p + 4 <= depth; p += 4) {
      const a = v128.load(s0), b = v128.load(s1), c = v128.load(s2), d = v128.load(s3);
      const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5), cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
      const AB = v128.shuffle<f32>(a, b, 2, 6, 3, 7), CD = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
      v128.store(dst, v128.shuffle<f64>(ab, cd, 0, 2));
      v128.store(dst + width, v128.shuffle<f64>(ab, cd, 1, 3));
      v128.store(dst + 2 * width, v128.shuffle<f64>(AB, CD, 0, 2));
      v128.store(dst + 3 * width, v128.shuffle<f64>(AB, CD, 1, 3));
      s0 += 16;
      s1 += 16;
      s2 += 16;
      s3 += 16;
      dst += 4 * width;
    }
  } else {
    let s0 = src, s1 = s0 + across;
    for (; p + 2 <= depth; p += 2) {
      const a = v128.load(s0), b = v128.load(s1);
      v128.store(dst, v128.shuffle<f64>(a, b, 0, 2));
      v128.store(dst + width, v128.shuffle<f64>(a, b, 1, 3));
      s0 += 16;
      s1 += 16;
      dst += 2 * width;
    }
  }
  if (p < depth) gatherVectors<T>(depth - p, at<T>(src, p), across, sizeof<T>(), dst, width);
}

/** One vector's width of lines with any strides (bytes), element by element. */
function gatherVectors<T>(depth: i32, src: usize, across: usize, along: usize, dst: usize, width: usize): void {
  for (let p = 0; p < depth; p++) {
    let s = src;
    for (let q = 0; q < lanes<T>(); q++) {
      store<T>(at<T>(dst, q), load<T>(s));
      s += across;
    }
    src += along;
    dst += width;
  }
}

/** A panel with fewer than `width` lines: reads only the valid ones, fills the rest with zeros. */
function packEdge<T>(width: i32, valid: i32, depth: i32, src: usize, across: i32, along: i32, dst: usize): void {
  const dx = at<T>(0, across), dp = at<T>(0, along);
  for (let p = 0; p < depth; p++) {
    let s = src;
    let q = 0;
    for (; q < valid; q++) {
      store<T>(at<T>(dst, q), load<T>(s));
      s += dx;
    }
    for (; q < width; q++) store<T>(at<T>(dst, q), <T>0);
    src += dp;
    dst += at<T>(0, width);
  }
}
