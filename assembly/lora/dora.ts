// Weight-decomposed adaptation (Liu et al. 2024, "DoRA"): W' = diag(m/n)·(W + s·B·A), n the row norms of W + s·B·A, which
// counts as a constant in the gradient (section 4.3 there). With dropout PEFT's rule: xd is x after dropout, and
// y = (x − xd)·Wᵀ + xd·W'ᵀ + bias, which is x·W'ᵀ + bias without dropout.
// Shapes as in linear.ts and serve.ts; m, n (out). Where n is 0 the row of W' is 0, too: its factor m/n counts as 1.

import { axpy, nrm2, scal } from "../blas/level1";
import { gemm } from "../blas/gemm";
import { addProducts, fill, lacpy, scaleColumns } from "../blas/matrix";
import { at } from "../simd";
import { linear } from "./linear";
import { loraAdd, loraAddScratch } from "./serve";

/** Rows of W + s·B·A that are formed at a time. */
const ROWS: i32 = 32;

/** Bytes of working memory of doraNorms. */
export function doraNormsScratch<T>(inFeatures: i32): f64 {
  return <f64>ROWS * <f64>inFeatures * <f64>sizeof<T>();
}

/** norms (out) <- lengths of the rows of W + s·B·A, a few rows at a time. */
export function doraNorms<T>(
  inFeatures: i32, outFeatures: i32, w: usize, rsw: i32, csw: i32, r: i32, a: usize, b: usize, scaling: T,
  norms: usize, work: usize,
): void {
  for (let i = 0; i < outFeatures; i += ROWS) {
    const some = min<i32>(ROWS, outFeatures - i);
    lacpy<T>(some, inFeatures, at<T>(w, i * rsw), rsw, csw, work, inFeatures);
    gemm<T>(some, inFeatures, r, scaling, at<T>(b, i * r), r, 1, a, inFeatures, 1, <T>1, work, inFeatures);
    for (let j = 0; j < some; j++) {
      store<T>(at<T>(norms, i + j), nrm2<T>(inFeatures, at<T>(work, j * inFeatures), 1));
    }
  }
}

/** factors (n) <- m/n, element by element; where n is 0, 1. */
export function doraFactors<T>(n: i32, magnitude: usize, norms: usize, factors: usize): void {
  for (let i = 0; i < n; i++) {
    const norm = load<T>(at<T>(norms, i));
    store<T>(at<T>(factors, i), norm == <T>0 ? <T>1 : <T>(load<T>(at<T>(magnitude, i)) / norm));
  }
}

/** Bytes of working memory of doraForward and doraBackward. */
export function doraScratch<T>(tokens: i32, outFeatures: i32, r: i32): f64 {
  return <f64>tokens * <f64>outFeatures * <f64>sizeof<T>() + loraAddScratch<T>(r, outFeatures);
}

/** y (tokens×out) as at the head of this file; xd = x: no dropout. work: doraScratch bytes. */
export function doraForward<T>(
  tokens: i32, inFeatures: i32, outFeatures: i32, x: usize, xd: usize, w: usize, rsw: i32, csw: i32, bias: usize,
  r: i32, a: usize, b: usize, scaling: T, factors: usize, y: usize, work: usize,
): void {
  const u = work, rest = at<T>(work, tokens * outFeatures);
  linear<T>(0, outFeatures, tokens, inFeatures, xd, inFeatures, w, rsw, csw, 0, u, outFeatures);
  if (x == xd) {
    fill<T>(tokens * outFeatures, <T>0, y);
  } else {
    linear<T>(0, outFeatures, tokens, inFeatures, x, inFeatures, w, rsw, csw, 0, y, outFeatures);
    for (let t = 0; t < tokens; t++) axpy<T>(outFeatures, <T>-1, at<T>(u, t * outFeatures), 1, at<T>(y, t * outFeatures), 1);
  }
  loraAdd<T>(tokens, 0, inFeatures, outFeatures, xd, inFeatures, u, outFeatures, r, a, b, 0, scaling, rest);
  addProducts<T>(tokens, outFeatures, factors, 0, u, outFeatures, y, outFeatures);
  for (let t = 0; t < tokens && bias != 0; t++) axpy<T>(outFeatures, <T>1, bias, 1, at<T>(y, t * outFeatures), 1);
}

/**
 * What the magnitude adds to the backward pass: dm (out) <- Σ over tokens of G∘(xd·(W + s·B·A)ᵀ)/n, and
 * scaled (tokens×out) <- G·diag(m/n), the gradient that reaches xd·(W + s·B·A)ᵀ. work: doraScratch bytes.
 */
export function doraBackward<T>(
  tokens: i32, inFeatures: i32, outFeatures: i32, xd: usize, g: usize, w: usize, rsw: i32, csw: i32, r: i32, a: usize,
  b: usize, scaling: T, norms: usize, factors: usize, dm: usize, scaled: usize, work: usize,
): void {
  const u = work, rest = at<T>(work, tokens * outFeatures);
  linear<T>(0, outFeatures, tokens, inFeatures, xd, inFeatures, w, rsw, csw, 0, u, outFeatures);
  loraAdd<T>(tokens, 0, inFeatures, outFeatures, xd, inFeatures, u, outFeatures, r, a, b, 0, scaling, rest);
  fill<T>(outFeatures, <T>0, dm);
  addProducts<T>(tokens, outFeatures, g, outFeatures, u, outFeatures, dm, 0);
  memory.copy(scaled, g, at<T>(0, tokens * outFeatures));
  scaleColumns<T>(tokens, outFeatures, factors, scaled);
  for (let i = 0; i < outFeatures; i++) {
    const norm = load<T>(at<T>(norms, i)), sum = at<T>(dm, i);
    store<T>(sum, norm == <T>0 ? <T>0 : <T>(load<T>(sum) / norm));
  }
}

/** W' in place of W + s·B·A (rows×columns, row-major, or transposed with fanInFanOut): each of its rows times a factor. */
export function doraMerge<T>(rows: i32, columns: i32, fanInFanOut: bool, factors: usize, weight: usize): void {
  if (fanInFanOut) {
    scaleColumns<T>(rows, columns, factors, weight);
    return;
  }
  for (let i = 0; i < rows; i++) scal<T>(columns, load<T>(at<T>(factors, i)), at<T>(weight, i * columns), 1);
}
