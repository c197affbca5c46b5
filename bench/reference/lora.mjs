// The LoRA layer in plain JavaScript, in PEFT's shapes: x (t, in), W (out, in), A (r, in), B (out, r), y (t, out).

// the product of the same instance as this module: see index.mjs
const { gemmTransposed } = await import(`./gemm.mjs${new URL(import.meta.url).search}`);

/** y <- x·Wᵀ + bias + scaling·(x·Aᵀ)·Bᵀ; without an adapter (r = 0) y <- x·Wᵀ + bias. */
export function loraForward({ tokens, inFeatures, outFeatures, x, weight, bias, r, a, b, scaling }, y) {
  for (let t = 0; t < tokens; t++) y.set(bias, t * outFeatures);
  gemmTransposed(tokens, outFeatures, inFeatures, 1, x, weight, 1, y);
  if (r === 0) return;
  const inner = new x.constructor(tokens * r);
  gemmTransposed(tokens, r, inFeatures, 1, x, a, 0, inner);
  gemmTransposed(tokens, outFeatures, r, scaling, inner, b, 1, y);
}
