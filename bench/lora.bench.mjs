// y = x·Wᵀ + bias + scaling·(x·Aᵀ)·Bᵀ: the forward pass of a square layer with one adapter.

import { loadReference } from "./reference/index.mjs";
import { runCases } from "./support/cases.mjs";
import { norm, productError } from "./support/check.mjs";
import { LoraAdapter, LoraLinear, tensor } from "./support/lowrank.mjs";
import { arrayOf, random } from "./support/random.mjs";

const RANK = 16;
const ALPHA = 32;
const WIDTHS = [768, 1024, 4096];
const TOKENS = [1, 16, 256];

export async function bench(options) {
  const dtype = "f32";
  const [checking, reference] = [await loadReference("check"), await loadReference(dtype)];
  const cases = WIDTHS.flatMap((width) => {
    const layer = makeLayer(width, dtype);
    return TOKENS.map((tokens) => makeCase(tokens, width, layer, dtype, reference, checking));
  });
  return { rows: runCases("lora", cases, options), figures: [] };
}

function makeLayer(width, dtype) {
  const arrays = {
    weight: random(dtype, width * width, 1),
    bias: random(dtype, width, 2),
    a: random(dtype, RANK * width, 3),
    b: random(dtype, width * RANK, 4),
  };
  const layer = new LoraLinear({ weight: tensor(arrays.weight, { shape: [width, width] }), bias: arrays.bias });
  const a = tensor(arrays.a, { shape: [RANK, width] });
  const b = tensor(arrays.b, { shape: [width, RANK] });
  layer.addAdapter("default", new LoraAdapter({ a, b, alpha: ALPHA }));
  return { layer, arrays };
}

function makeCase(tokens, width, { layer, arrays }, dtype, reference, checking) {
  const input = random(dtype, tokens * width, 5);
  const x = tensor(input, { shape: [tokens, width] });
  const shapes = { inFeatures: width, outFeatures: width, ...arrays, r: RANK, scaling: ALPHA / RANK };
  const y = arrayOf(dtype, tokens * width);
  return {
    name: `${dtype} t ${tokens}, d ${width}, r ${RANK}`,
    dtype,
    work: 2 * tokens * width * (width + 2 * RANK),
    unit: "GFLOP/s",
    run: () => layer.forward(x).dispose(),
    reference: () => reference.loraForward({ tokens, x: input, ...shapes }, y),
    check() {
      const out = layer.forward(x);
      const got = out.toTyped();
      out.dispose();
      let worst = 0;
      for (const token of new Set([0, tokens >> 1, tokens - 1])) {
        const range = [token * width, (token + 1) * width];
        worst = Math.max(worst, rowError(got.subarray(...range), input.subarray(...range), shapes, dtype, checking));
      }
      return worst;
    },
  };
}

/** The error of one token's output as a fraction of its bound. */
function rowError(got, x, shapes, dtype, checking) {
  const { inFeatures, outFeatures, weight, r, a, b, scaling, bias } = shapes;
  const expected = new Float64Array(outFeatures);
  checking.loraForward({ tokens: 1, ...shapes, x: Float64Array.from(x) }, expected);
  // bias and update join the bound with their absolute values: |x·Aᵀ| is at most the product of the norms
  const absolute = Float64Array.from(bias, Math.abs);
  for (let p = 0; p < r; p++) {
    const inner = scaling * norm(x) * norm(a.subarray(p * inFeatures, (p + 1) * inFeatures));
    for (let o = 0; o < outFeatures; o++) absolute[o] += inner * Math.abs(b[o * r + p]);
  }
  return productError({
    m: 1,
    n: outFeatures,
    k: inFeatures,
    a: x,
    b: checking.transpose(outFeatures, inFeatures, weight),
    c: got,
    c0: absolute,
    expected,
    dtype,
  });
}
