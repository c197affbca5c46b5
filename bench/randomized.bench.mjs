// The k largest singular values by random projection: of a Gaussian matrix, whose flat tail is the hard case, with the normaliser
// as the default has it and with QR.

import { loadReference } from "./reference/index.mjs";
import { runCases } from "./support/cases.mjs";
import { norm } from "./support/check.mjs";
import { randomizedSvd, tensor } from "./support/lowrank.mjs";
import { random } from "./support/random.mjs";

const K = 16;
const ROUNDS = 4;
const SIZES = [512, 2048];

export async function bench(options) {
  const { gemm } = await loadReference("check");
  const cases = ["f32", "f64"].flatMap((dtype) =>
    SIZES.flatMap((n) => {
      const array = random(dtype, n * n, 1);
      const a = tensor(array, { shape: [n, n] });
      return ["lu", "qr"].map((normalizer) => makeCase(dtype, n, array, a, normalizer, gemm));
    }),
  );
  return { rows: runCases("randomized", cases, options), figures: [] };
}

function makeCase(dtype, n, array, a, normalizer, gemm) {
  const compute = () => randomizedSvd(a, K, { powerIterations: ROUNDS, normalizer });
  return {
    name: `${dtype} ${n}×${n}, k ${K}, ${normalizer}`,
    dtype,
    // the products with A alone
    work: 2 * n * n * (K + 10) * (2 * ROUNDS + 2),
    unit: "GFLOP/s",
    run() {
      for (const one of Object.values(compute())) one.dispose?.();
    },
    check() {
      const { u, s, vt, errorBound } = compute();
      const scaled = Float64Array.from(u.data, (value, at) => value * s.data[at % K]);
      const residual = Float64Array.from(array);
      gemm(n, n, K, -1, scaled, Float64Array.from(vt.data), 1, residual);
      for (const one of [u, s, vt]) one.dispose();
      return norm(residual) / errorBound.frobenius;
    },
  };
}
