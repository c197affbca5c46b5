// C <- A·B + beta·C in resident tensors, all costs of the bindings included.

import { loadReference } from "./reference/index.mjs";
import { rateRatio, runCases } from "./support/cases.mjs";
import { productError } from "./support/check.mjs";
import { matmul, tensor } from "./support/lowrank.mjs";
import { arrayOf, random } from "./support/random.mjs";

const BASE = "512³";
const square = (n, rest) => ({ m: n, n, k: n, ...rest });

const SIZES = [
  { name: BASE, ...square(512) },
  { name: "1024³", ...square(1024) },
  { name: "511³", ...square(511) },
  { name: "513³", ...square(513) },
  { name: "512³ Aᵀ·B", ...square(512, { transposedA: true }) },
  { name: "512³ A·Bᵀ", ...square(512, { transposedB: true }) },
  { name: "512³ Aᵀ·Bᵀ", ...square(512, { transposedA: true, transposedB: true }) },
  { name: "1024×1024×32, beta 1", m: 1024, n: 1024, k: 32, beta: 1 },
  { name: "64³", ...square(64) },
];

/** What the rate of a case must be, as a part of the rate at 512³. */
const AT_LEAST = {
  "511³": 0.9,
  "513³": 0.9,
  "512³ Aᵀ·B": 0.9,
  "512³ A·Bᵀ": 0.9,
  "512³ Aᵀ·Bᵀ": 0.9,
  "1024×1024×32, beta 1": 0.7,
  "64³": 0.5,
};

export async function bench(options) {
  const checking = await loadReference("check");
  const cases = [];
  for (const dtype of ["f32", "f64"]) {
    const reference = await loadReference(dtype);
    for (const size of SIZES) cases.push(makeCase(size, dtype, reference, checking));
  }
  const rows = runCases("gemm", cases, options);
  const figures = ["f32", "f64"].flatMap((dtype) =>
    Object.entries(AT_LEAST).map(([name, atLeast]) => ({
      what: `gemm ${dtype} ${name}: rate against 512³`,
      measured: rateRatio(rows, `${dtype} ${name}`, `${dtype} ${BASE}`),
      atLeast,
    })),
  );
  return { rows, figures };
}

function makeCase({ name, m, n, k, beta = 0, transposedA = false, transposedB = false }, dtype, reference, checking) {
  const a = random(dtype, m * k, 1);
  const b = random(dtype, k * n, 2);
  const c0 = random(dtype, m * n, 3);
  // a transposed operand is stored the other way round, and its view is multiplied
  const storedA = transposedA ? reference.transpose(m, k, a) : a;
  const storedB = transposedB ? reference.transpose(k, n, b) : b;
  const left = transposedA ? tensor(storedA, { shape: [k, m] }).transpose() : tensor(storedA, { shape: [m, k] });
  const right = transposedB ? tensor(storedB, { shape: [n, k] }).transpose() : tensor(storedB, { shape: [k, n] });
  const out = tensor(c0, { shape: [m, n] });
  const scratch = arrayOf(dtype, m * n);
  return {
    name: `${dtype} ${name}`,
    dtype,
    work: 2 * m * n * k,
    unit: "GFLOP/s",
    run: () => matmul(left, right, { beta, out }),
    reference() {
      const x = transposedA ? reference.transpose(k, m, storedA) : storedA;
      const y = transposedB ? reference.transpose(n, k, storedB) : storedB;
      reference.gemm(m, n, k, 1, x, y, beta, scratch);
    },
    check() {
      const expected = Float64Array.from(c0);
      checking.gemm(m, n, k, 1, a, b, beta, expected);
      matmul(left, right, { beta, out });
      return productError({ m, n, k, a, b, c: out.data, c0: beta === 0 ? undefined : c0, expected, dtype });
    },
  };
}
