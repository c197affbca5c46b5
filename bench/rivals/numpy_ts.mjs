// numpy-ts: NumPy's interface over WebAssembly kernels. It takes relaxed SIMD where the engine has it. Its package asks for
// Node 22; the parts used here run in Node 20.

import { packageVersion } from "../support/machine.mjs";

const DTYPES = { f32: "float32", f64: "float64" };

export async function open() {
  const np = await import("numpy-ts");
  const version = packageVersion(new URL("./node_modules/numpy-ts/package.json", import.meta.url));
  return { name: "numpy-ts", version, gemm: (input) => gemm(np, input), svd: (input) => svd(np, input) };
}

function matrix(np, data, n, dtype) {
  return np.array(data, DTYPES[dtype]).reshape(n, n);
}

function gemm(np, { dtype, n, a, b }) {
  const [x, y] = [matrix(np, a, n, dtype), matrix(np, b, n, dtype)];
  return {
    run: () => np.matmul(x, y).dispose(),
    result: () => np.matmul(x, y).data.slice(),
    dispose() {
      x.dispose();
      y.dispose();
    },
  };
}

function svd(np, { dtype, n, a }) {
  const x = matrix(np, a, n, dtype);
  return {
    run() {
      for (const one of Object.values(np.linalg.svd(x, false))) one.dispose();
    },
    result() {
      const { u, s, vt } = np.linalg.svd(x, false);
      const rows = (array) => Float64Array.from(array.tolist().flat());
      return { u: rows(u), s: rows(s), vt: rows(vt) };
    },
    dispose: () => x.dispose(),
  };
}
