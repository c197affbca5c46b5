// How far a rival's result is from ours, relative to ours, and how far it may be.

import { norm } from "../support/check.mjs";

/** Both are right to about √k·eps for inner length k; these leave room for the order of the sums. */
const TOLERANCE = { f32: 1e-4, f64: 1e-12 };

/** ‖theirs - ours‖/‖ours‖ of products; of decompositions the singular values, and what U·S·Vᵀ gives back of A. */
export function difference({ operation }, input, ours, theirs) {
  if (operation !== "svd") return relative(theirs, ours);
  return Math.max(relative(theirs.s, ours.s), relative(product(input.n, theirs), input.a));
}

export function agrees({ dtype, tolerance = TOLERANCE[dtype] }, value) {
  return value <= tolerance;
}

function relative(x, expected) {
  if (x.length !== expected.length) return Number.POSITIVE_INFINITY;
  return norm(Float64Array.from(x, (value, at) => value - expected[at])) / norm(expected);
}

/** U·S·Vᵀ of n×n factors. */
function product(n, { u, s, vt }) {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let p = 0; p < n; p++) {
      const factor = u[i * n + p] * s[p];
      for (let j = 0; j < n; j++) out[i * n + j] += factor * vt[p * n + j];
    }
  }
  return out;
}
