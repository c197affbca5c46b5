// ml-matrix: plain JavaScript, f64.

import { packageVersion } from "../support/machine.mjs";

export async function open() {
  const { Matrix, SVD } = await import("ml-matrix");
  const version = packageVersion(new URL("./node_modules/ml-matrix/package.json", import.meta.url));
  const matrix = (data, n) => Matrix.from1DArray(n, n, data);
  const dispose = () => {};
  return {
    name: "ml-matrix",
    version,
    gemm({ dtype, n, a, b }) {
      if (dtype !== "f64") return undefined;
      const [x, y] = [matrix(a, n), matrix(b, n)];
      return { run: () => x.mmul(y), result: () => Float64Array.from(x.mmul(y).to1DArray()), dispose };
    },
    svd({ dtype, n, a }) {
      if (dtype !== "f64") return undefined;
      const x = matrix(a, n);
      const compute = () => new SVD(x, { autoTranspose: true });
      return {
        run: compute,
        result() {
          const found = compute();
          return {
            u: Float64Array.from(found.leftSingularVectors.to1DArray()),
            s: Float64Array.from(found.diagonal),
            vt: Float64Array.from(found.rightSingularVectors.transpose().to1DArray()),
          };
        },
        dispose,
      };
    },
  };
}
