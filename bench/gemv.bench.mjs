// y <- A·x and y <- Aᵀ·x at a size that no cache holds, against a plain sum over the same bytes: each reads every byte of the
// matrix once, so the sum says what the memory gives.

import { loadReference } from "./reference/index.mjs";
import { rateRatio, runCases } from "./support/cases.mjs";
import { productError, sumError } from "./support/check.mjs";
import { empty, matmul, tensor } from "./support/lowrank.mjs";
import { plainSums } from "./support/plain_sum.mjs";
import { arrayOf, random } from "./support/random.mjs";

const SIDE = 4096;

export async function bench(options) {
  const checking = await loadReference("check");
  const sums = await plainSums(options.memory);
  const cases = [];
  for (const dtype of ["f32", "f64"])
    cases.push(...makeCases(dtype, await loadReference(dtype), checking, sums[dtype]));
  const rows = runCases("gemv", cases, options);
  const figures = ["A·x", "Aᵀ·x"].map((way) => ({
    what: `gemv f32 ${SIDE}² ${way}: bandwidth against a plain sum`,
    measured: rateRatio(rows, `f32 ${SIDE}² ${way}`, `f32 ${SIDE}² plain sum`),
    atLeast: 0.75,
  }));
  return { rows, figures };
}

function makeCases(dtype, reference, checking, sum) {
  const a = random(dtype, SIDE * SIDE, 1);
  const x = random(dtype, SIDE, 2);
  const y = arrayOf(dtype, SIDE);
  const matrix = tensor(a, { shape: [SIDE, SIDE] });
  const vector = tensor(x);
  const out = empty([SIDE], dtype);
  const one = (name, rest) => ({ name: `${dtype} ${SIDE}² ${name}`, dtype, work: a.byteLength, unit: "GB/s", ...rest });
  const product = (name, left, routine, columns) =>
    one(name, {
      run: () => matmul(left, vector, { out }),
      reference: () => routine(SIDE, SIDE, a, x, y),
      check() {
        const expected = new Float64Array(SIDE);
        checking.gemm(1, SIDE, SIDE, 1, x, columns(), 0, expected);
        matmul(left, vector, { out });
        return productError({ m: 1, n: SIDE, k: SIDE, a: x, b: columns(), c: out.data, expected, dtype });
      },
    });
  return [
    product("A·x", matrix, reference.gemv, () => checking.transpose(SIDE, SIDE, a)),
    product("Aᵀ·x", matrix.transpose(), reference.gemvTransposed, () => a),
    one("plain sum", { run: () => sum(matrix.data), check: () => sumError(a, sum(matrix.data)) }),
  ];
}
