// The plain JavaScript that the kernel is timed against.

/**
 * The reference for one dtype. The query makes each dtype an instance of the modules of its own: V8 compiles a function
 * for the array types that it has met, and code that has met two is slower than code that knows one.
 */
export async function loadReference(dtype) {
  const [gemm, gemv, svd, lora, pca] = await Promise.all(
    ["gemm", "gemv", "svd", "lora", "pca"].map((name) => import(`./${name}.mjs?${dtype}`)),
  );
  return { ...gemm, ...gemv, ...svd, ...lora, ...pca };
}
