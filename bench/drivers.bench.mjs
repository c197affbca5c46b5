// The bidiagonal stages beside each other: where divide and conquer overtakes QR iteration, and what Jacobi costs.
// ARCHITECTURE.md keeps the table that the "auto" driver was chosen from.

import { loadReference } from "./reference/index.mjs";
import { runCases } from "./support/cases.mjs";
import { svdError } from "./support/check.mjs";
import { svd, tensor } from "./support/lowrank.mjs";
import { random } from "./support/random.mjs";

const DRIVERS = ["qr", "dc", "jacobi"];
const SIZES = [8, 16, 24, 32, 48, 64, 128, 256, 512];

export async function bench(options) {
  const { gemm, svd: referenceSvd } = await loadReference("check");
  const cases = [];
  for (const dtype of ["f32", "f64"]) {
    for (const n of SIZES) {
      const array = random(dtype, n * n, 1);
      const a = tensor(array, { shape: [n, n] });
      const expected = referenceSvd(n, n, Float64Array.from(array), false).s;
      for (const driver of DRIVERS) {
        const dispose = (found) => {
          for (const one of Object.values(found)) one.dispose();
        };
        cases.push({
          name: `${dtype} ${n}×${n} ${driver}`,
          dtype,
          run: () => dispose(svd(a, { driver })),
          check() {
            const found = svd(a, { driver });
            const { u, s, vt } = found;
            const error = svdError({ m: n, n, a: array, u: u.data, s: s.data, vt: vt.data, expected, dtype, gemm });
            dispose(found);
            return error;
          },
        });
      }
    }
  }
  return { rows: runCases("drivers", cases, options), figures: [] };
}
