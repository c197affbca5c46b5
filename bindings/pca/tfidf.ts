// Weights of terms in documents.

import { describe, expected } from "../check.js";
import { run } from "../scope.js";
import { Csr } from "../sparse/csr.js";
import { type DType, Tensor } from "../tensor.js";

/**
 * Counts of terms (columns) in documents (rows) as weights: each times log((1 + m)/(1 + documents with the term)) + 1, and
 * each row then divided by its Euclidean length, as scikit-learn's TfidfTransformer does by default. Rows without terms stay empty.
 * NaN and Infinity pass through.
 *
 * @param counts (m, n); stored zeros count as absent
 * @returns (m, n), sparse, of the dtype of `counts`; the caller owns it
 * @throws TypeError if `counts` is no Csr
 * @example
 * ```ts
 * import { csr, init, tfidf } from "lowrank";
 * await init();
 * const counts = csr({ data: [3, 1], indices: [0, 1], indptr: [0, 1, 2], shape: [2, 2] });
 * console.log(tfidf(counts).toDense().toArray()); // [ [ 1, 0 ], [ 0, 1 ] ]
 * ```
 */
export function tfidf<D extends DType>(counts: Csr<D>): Csr<D> {
  return run((runtime) => {
    if (!(counts instanceof Csr)) throw new TypeError(expected("counts", "a Csr", describe(counts)));
    const { data, indices, indptr } = counts.lists;
    const [m, n] = counts.shape;
    const { inverseFrequencies, weightRows } = runtime[counts.dtype];
    const out = { data: data.copy(), indices: indices.copy(), indptr: indptr.copy() };
    const weights = Tensor.allocate(runtime, [n], "f64");
    inverseFrequencies(m, data.size, n, data.pointer, indices.pointer, weights.pointer);
    weightRows(0, m, out.data.pointer, indices.pointer, indptr.pointer, weights.pointer);
    return Csr.make(counts.shape, out);
  });
}
