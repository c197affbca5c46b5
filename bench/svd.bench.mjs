// A = U·S·Vᵀ, thin and values only, of a resident tensor.

import { loadReference } from "./reference/index.mjs";
import { runCases } from "./support/cases.mjs";
import { svdError } from "./support/check.mjs";
import { svd, svdvals, tensor } from "./support/lowrank.mjs";
import { random } from "./support/random.mjs";

const SIZES = [64, 128, 256, 512].map((n) => ({ name: `${n}×${n}`, m: n, n }));

export async function bench(options) {
  const checking = await loadReference("check");
  const cases = [];
  for (const dtype of ["f32", "f64"]) {
    const reference = await loadReference(dtype);
    for (const size of SIZES) cases.push(...makeCases(size, dtype, reference, checking));
  }
  return { rows: runCases("svd", cases, options), figures: [] };
}

function makeCases({ name, m, n }, dtype, reference, checking) {
  const array = random(dtype, m * n, 1);
  const a = tensor(array, { shape: [m, n] });
  const { gemm } = checking;
  let known;
  const expected = () => {
    known ??= checking.svd(m, n, Float64Array.from(array), false).s;
    return known;
  };
  const dispose = (tensors) => {
    for (const one of Object.values(tensors)) one.dispose();
  };
  return [
    {
      name: `${dtype} ${name} thin`,
      dtype,
      run: () => dispose(svd(a)),
      reference: () => reference.svd(m, n, array),
      check() {
        const found = svd(a);
        const { u, s, vt } = found;
        const error = svdError({
          m,
          n,
          a: array,
          u: u.data,
          s: s.data,
          vt: vt.data,
          expected: expected(),
          dtype,
          gemm,
        });
        dispose(found);
        return error;
      },
    },
    {
      name: `${dtype} ${name} values`,
      dtype,
      run: () => svdvals(a).dispose(),
      reference: () => reference.svd(m, n, array, false),
      check() {
        const s = svdvals(a);
        const error = svdError({ m, n, a: array, s: s.data, expected: expected(), dtype, gemm });
        s.dispose();
        return error;
      },
    },
  ];
}
