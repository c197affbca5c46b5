// The kernel's exports as TypeScript sees them. Pointers are bytes, sizes and strides elements.

/** Routines that exist once for each dtype: `sgemm` and `dgemm` in the module are `gemm` here. */
export interface Routines {
  /** C <- alpha·A·B + beta·C for products begin…end of a batch; see assembly/blas/gemm.ts. */
  gemmBatch(
    begin: number,
    end: number,
    m: number,
    n: number,
    k: number,
    alpha: number,
    a: number,
    sa: number,
    rsa: number,
    csa: number,
    b: number,
    sb: number,
    rsb: number,
    csb: number,
    beta: number,
    c: number,
    sc: number,
    ldc: number,
  ): void;
  /** C <- alpha·A·B + beta·C; see assembly/blas/gemm.ts. */
  gemm(
    m: number,
    n: number,
    k: number,
    alpha: number,
    a: number,
    rsa: number,
    csa: number,
    b: number,
    rsb: number,
    csb: number,
    beta: number,
    c: number,
    ldc: number,
  ): void;
  /** x <- alpha·x; alpha = 0 writes zeros. */
  scal(n: number, alpha: number, x: number, incx: number): void;
  /** y <- alpha·x + y. */
  axpy(n: number, alpha: number, x: number, incx: number, y: number, incy: number): void;
  /** ‖x‖₂ without overflow. */
  nrm2(n: number, x: number, incx: number): number;
  /** dst (m×n, row-major, rows ldd apart) <- src (m×n, strides rss, css). */
  lacpy(m: number, n: number, src: number, rss: number, css: number, dst: number, ldd: number): void;
  /** Every element of x <- value. */
  fill(n: number, value: number, x: number): void;
  /** Index (row·n + column) of the first NaN or Infinity in A (m×n, strides rs, cs), or -1. */
  firstNonFinite(m: number, n: number, a: number, rs: number, cs: number): number;
  /** n numbers of [0, 1): elements first, first + 1, … of (seed, stream), both integers of 32 bits. */
  uniform(seed: number, stream: number, first: number, n: number, x: number): void;
  /** As uniform, of mean 0 and variance 1. */
  gaussian(seed: number, stream: number, first: number, n: number, x: number): void;
  /** As uniform, `value` with the given probability, else 0. */
  bernoulli(
    seed: number,
    stream: number,
    first: number,
    n: number,
    probability: number,
    value: number,
    x: number,
  ): void;
  /** x <- x·2^k, n contiguous elements. */
  scalPower(n: number, k: number, x: number): void;
  /** Bytes of working memory of luBasis. */
  luBasisScratch(l: number): number;
  /** Readies the working memory of luBasis. */
  luBasisBegin(work: number): void;
  /** A slice of x (l rows of n, ldx apart) <- the columns of P·L of the LU factorisation of xᵀ: MORE until it is done. */
  luBasis(l: number, n: number, x: number, ldx: number, work: number): number;
  /** Bytes of working memory of orthonormalize. */
  orthonormalizeScratch(l: number, n: number): number;
  /** Readies the working memory of orthonormalize. */
  orthonormalizeBegin(work: number): void;
  /** A slice of x (l rows of n, l <= n) <- orthonormal rows of the same span; r (l×l) <- R by columns, if not 0: MORE until it is done. */
  orthonormalize(l: number, n: number, x: number, r: number, work: number): number;
  /** Σ (a·2^-e)² in f64; work: 512 elements. */
  squares(m: number, n: number, a: number, rs: number, cs: number, e: number, work: number): number;
  /** Elements of working memory of residualSquares. */
  residualSquaresWork(rows: number, n: number, k: number): number;
  /** ‖2^-e·A − U·diag(s)·Vᵀ‖_F² over some rows of A and u; see assembly/randomized/residual.ts. */
  residualSquares(
    rows: number,
    n: number,
    k: number,
    a: number,
    rs: number,
    cs: number,
    e: number,
    u: number,
    s: number,
    vt: number,
    work: number,
  ): number;
  /** y (q×m) <- y − x·V·diag(s)·Uᵀ for x (q×n); work: q·k elements. */
  subtractLowRank(
    q: number,
    m: number,
    n: number,
    k: number,
    x: number,
    v: number,
    rsv: number,
    csv: number,
    s: number,
    ut: number,
    rsu: number,
    csu: number,
    y: number,
    work: number,
  ): void;
  /** Each row of x (rows×n) by a power of two of its own, so that its largest magnitude is in [1, 2). */
  normalizeRows(rows: number, n: number, x: number): void;
  /** The largest entry of each column of u (m×k) made positive, rows of vt (k×n) with it; signs: k elements. */
  flipByColumns(m: number, n: number, k: number, u: number, vt: number, signs: number): void;
  /** A (n×n) <- its lower triangle mirrored into the upper one. */
  mirrorLower(n: number, a: number, lda: number): void;
  /** Bytes of working memory of gesvd; `vectors` is 0 (none), 1 (thin) or 2 (full). */
  gesvdScratch(m: number, n: number, vectors: number, driver: number): number;
  /** Readies the working memory of gesvd. */
  gesvdBegin(work: number): void;
  /** A slice of A (m×n, strides rs, cs) = U·diag(S)·Vᵀ: MORE until it is done, then how many values did not converge. */
  gesvd(
    m: number,
    n: number,
    vectors: number,
    driver: number,
    a: number,
    rs: number,
    cs: number,
    u: number,
    s: number,
    vt: number,
    work: number,
  ): number;
  /** Bytes of working memory of gesvdBatch. */
  gesvdBatchScratch(m: number, n: number, vectors: number): number;
  /** Groups of a batch: of as many matrices as a vector has lanes. */
  gesvdBatchGroups(count: number): number;
  /** Readies the working memory of gesvdBatch. */
  gesvdBatchBegin(work: number): void;
  /** As gesvd for groups begin…end of a batch of `count` matrices, `sa` elements apart; u, s and vt are contiguous. */
  gesvdBatch(
    begin: number,
    end: number,
    count: number,
    m: number,
    n: number,
    vectors: number,
    a: number,
    sa: number,
    rs: number,
    cs: number,
    u: number,
    s: number,
    vt: number,
    work: number,
  ): number;
  /** Length of a row of k factors in alsRows. */
  paddedFactors(k: number): number;
  /** Start values of rows first…last (rows×kp). */
  alsStart(first: number, last: number, k: number, kp: number, seed: number, stream: number, q: number): void;
  /** Bytes of working memory of alsRows. */
  alsScratch(kp: number): number;
  /** Readies the working memory of alsRows. */
  alsBegin(work: number): void;
  /** A slice of half a step of alternating least squares: MORE until it is done, then 0; see assembly/factors/als.ts. */
  alsRows(
    first: number,
    last: number,
    kp: number,
    indptr: number,
    indices: number,
    values: number,
    other: number,
    otherBias: number,
    own: number,
    ownBias: number,
    lambda: number,
    damping: number,
    biased: number,
    work: number,
  ): number;
  /** The sum of x·2^-e, in f64. */
  ratingsSum(n: number, x: number, e: number): number;
  /** y <- x·2^-e − mean; returns max |y|. */
  ratingsCenter(n: number, x: number, e: number, mean: number, y: number): number;
  /** residuals <- r − b_u − c_i for the ratings of rows first…last. */
  ratingsResiduals(
    first: number,
    last: number,
    indptr: number,
    indices: number,
    values: number,
    b: number,
    c: number,
    residuals: number,
  ): void;
  /** y (m×k) <- x·diag(√s). */
  rootScaled(m: number, k: number, x: number, rs: number, cs: number, s: number, y: number): void;
  /** Bytes of working memory of ratingsError: a head of HEAD_BYTES and the sum in f64. */
  ratingsErrorScratch(): number;
  /** Readies the working memory of ratingsError. */
  ratingsErrorBegin(work: number): void;
  /** A slice of the sum of ((r − prediction)·2^-e)² of a model: MORE until it is done, then 0. */
  ratingsError(
    first: number,
    last: number,
    k: number,
    indptr: number,
    indices: number,
    values: number,
    p: number,
    q: number,
    b: number,
    c: number,
    mean: number,
    e: number,
    work: number,
  ): number;
  /** scores[i − first] <- base + c_i + p·q_i for items first…last. */
  ratingsPredict(
    first: number,
    last: number,
    k: number,
    p: number,
    q: number,
    base: number,
    c: number,
    scores: number,
  ): void;
  /** Positions (i32) of the n largest scores but -Infinity, best first; returns how many there are. */
  largestScores(count: number, scores: number, n: number, best: number): number;
  /** Rows begin…end of Y (m×b) <- A·X; A in compressed rows, X (n×b); see assembly/sparse/products.ts. */
  csrmm(
    begin: number,
    end: number,
    b: number,
    data: number,
    indices: number,
    indptr: number,
    x: number,
    ldx: number,
    y: number,
    ldy: number,
  ): void;
  /** Columns first…last of X (n×b) <- Aᵀ·Y; A (m×n) in compressed rows, Y (m×b). */
  csrmmTransposed(
    first: number,
    last: number,
    m: number,
    n: number,
    data: number,
    indices: number,
    indptr: number,
    y: number,
    ldy: number,
    x: number,
    ldx: number,
  ): void;
  /** Aᵀ in compressed rows, sorted, of A (m×n) in compressed rows. */
  csrTranspose(
    m: number,
    n: number,
    data: number,
    indices: number,
    indptr: number,
    outData: number,
    outIndices: number,
    outIndptr: number,
  ): void;
  /** Adds neighbours of one column, in place; returns how many elements are left. */
  csrSumDuplicates(m: number, data: number, indices: number, indptr: number): number;
  /** Columns of A times factors (n). */
  csrScaleColumns(nnz: number, data: number, indices: number, factors: number): void;
  /** norms (m) <- Euclidean norms of the rows of A. */
  csrRowNorms(m: number, data: number, indptr: number, norms: number): void;
  /** dense (m×n) <- A. */
  csrToDense(m: number, n: number, data: number, indices: number, indptr: number, dense: number): void;
  /** Bytes of working memory of scatter. */
  scatterScratch(n: number): number;
  /** A slice of mean (n) <- means, c (n×n) <- scatter matrix of factor·X, both f64; see assembly/pca/scatter.ts. */
  scatter(
    m: number,
    n: number,
    x: number,
    rs: number,
    cs: number,
    factor: number,
    mean: number,
    c: number,
    work: number,
  ): number;
  /** Bytes of working memory of means. */
  meansScratch(n: number): number;
  /** A slice of mean (n, f64) <- means of the columns of factor·X. */
  means(m: number, n: number, x: number, rs: number, cs: number, factor: number, mean: number, work: number): number;
  /** Bytes of working memory of project, reconstruct, centre and centreWide; n: length of the rows that are read. */
  projectScratch(n: number): number;
  /** A slice of Z (m×k) <- (X − mean)·Vᵀ / scale; mean (n) and scale (k, or 0: none) are f64. */
  project(
    m: number,
    n: number,
    k: number,
    x: number,
    rs: number,
    cs: number,
    mean: number,
    v: number,
    scale: number,
    z: number,
    work: number,
  ): number;
  /** A slice of X (m×n) <- (Z·scale)·V + mean. */
  reconstruct(
    m: number,
    n: number,
    k: number,
    z: number,
    rs: number,
    cs: number,
    mean: number,
    v: number,
    scale: number,
    x: number,
    work: number,
  ): number;
  /** A slice of y (m×n) <- factor·X − c, c of f64. */
  centre(
    m: number,
    n: number,
    x: number,
    rs: number,
    cs: number,
    factor: number,
    c: number,
    y: number,
    work: number,
  ): number;
  /** As centre, into y of f64. */
  centreWide(
    m: number,
    n: number,
    x: number,
    rs: number,
    cs: number,
    factor: number,
    c: number,
    y: number,
    work: number,
  ): number;
  /** Bytes of working memory of columnSquares. */
  columnSquaresScratch(n: number): number;
  /** A slice of squares (n, f64) <- Σ (factor·x − mean)² of every column. */
  columnSquares(
    m: number,
    n: number,
    x: number,
    rs: number,
    cs: number,
    factor: number,
    mean: number,
    squares: number,
    work: number,
  ): number;
  /** Sum of the variances of the columns of factor·A, sparse; work: 2n elements of f64. */
  csrVariance(m: number, nnz: number, n: number, data: number, indices: number, factor: number, work: number): number;
  /** weights (n, f64) <- smooth inverse document frequencies of a sparse matrix. */
  inverseFrequencies(m: number, nnz: number, n: number, data: number, indices: number, weights: number): void;
  /** Rows of sparse data times weights (n, f64), then of length 1. */
  weightRows(begin: number, end: number, data: number, indices: number, indptr: number, weights: number): void;
  /** floor(log2 max |x|) of X; 0 if all are 0. */
  largestExponent(m: number, n: number, x: number, rs: number, cs: number): number;
  /** Σ y² of y (m×n), in f64. */
  sumSquares(m: number, n: number, y: number): number;
  /** Rows of V (k×n) <- ± rows, so that the entry of largest magnitude is positive. */
  flipSigns(k: number, n: number, v: number): void;
  /** out (k×n) <- diag(s)·V. */
  weightedRows(k: number, n: number, s: number, v: number, out: number): void;
  /** Bytes of working memory of qr; `mode` is 0 (R alone), 1 (thin) or 2 (full). */
  qrScratch(m: number, n: number, mode: number): number;
  /** Readies the working memory of qr. */
  qrBegin(work: number): void;
  /** A slice of A (m×n, strides rs, cs) = Q·R: MORE until it is done, then 0. */
  qr(m: number, n: number, mode: number, a: number, rs: number, cs: number, q: number, r: number, work: number): number;
  /** Bytes of working memory of lstsq. */
  lstsqScratch(m: number, n: number, k: number): number;
  /** Readies the working memory of lstsq. */
  lstsqBegin(work: number): void;
  /** A slice of the least-squares solution x (n×k): MORE until it is done, then how many values did not converge. */
  lstsq(
    m: number,
    n: number,
    k: number,
    a: number,
    rs: number,
    cs: number,
    b: number,
    rsb: number,
    csb: number,
    rcond: number,
    x: number,
    s: number,
    residuals: number,
    work: number,
  ): number;
  /** Bytes of working memory of scaledProduct. */
  scaledProductScratch(n: number, k: number): number;
  /** Readies the working memory of scaledProduct. */
  scaledProductBegin(work: number): void;
  /** A slice of C (m×n) <- X·diag(d)·Y, inner length k: MORE until it is done. */
  scaledProduct(
    m: number,
    n: number,
    k: number,
    x: number,
    rsx: number,
    csx: number,
    d: number,
    y: number,
    rsy: number,
    csy: number,
    c: number,
    work: number,
  ): number;
  /** A norm of A (m×n, strides rs, cs): 0 Frobenius, 1 largest, 2 smallest sum of a row. work: max(m, n) elements. */
  lange(kind: number, m: number, n: number, a: number, rs: number, cs: number, work: number): number;
  /** y (m×n) <- X·2^-k with max |x| in [1, 2), less the mean of the rows where `mean` is not 0; returns k. */
  normalizePoints(m: number, n: number, x: number, rs: number, cs: number, y: number, mean: number): number;
  /** Bytes of working memory of determinantSign. */
  determinantSignScratch(n: number): number;
  /** Readies the working memory of determinantSign for W (n×n). */
  determinantSignBegin(n: number, w: number, work: number): void;
  /** A slice of the sign of det W: MORE until it is known, then 1 if it is negative. */
  determinantSign(n: number, work: number): number;
  /** y <- x·Wᵀ + bias for outputs begin…end; rsw = 0: W is packed; see assembly/lora/linear.ts. */
  linear(
    begin: number,
    end: number,
    tokens: number,
    inFeatures: number,
    x: number,
    ldx: number,
    w: number,
    rsw: number,
    csw: number,
    bias: number,
    y: number,
    ldy: number,
  ): void;
  /** Elements that packWeight writes. */
  packedWeightSize(inFeatures: number, outFeatures: number): number;
  packWeight(inFeatures: number, outFeatures: number, w: number, rsw: number, csw: number, packed: number): void;
  /** Bytes of working memory of loraAdd. */
  loraAddScratch(r: number, outFeatures: number): number;
  /** y <- y + scaling·((x·Aᵀ)·Bᵀ + loraBias) for `count` rows: those that a list of i32 names, or with 0 all. */
  loraAdd(
    count: number,
    rows: number,
    inFeatures: number,
    outFeatures: number,
    x: number,
    ldx: number,
    y: number,
    ldy: number,
    r: number,
    a: number,
    b: number,
    loraBias: number,
    scaling: number,
    work: number,
  ): void;
  /** Bytes of working memory of loraBatch; transpose is 1 if some adapters stand in matrices. */
  loraBatchScratch(tokens: number, count: number, r: number, outFeatures: number, transpose: number): number;
  /** y <- y + every row's own adapter: ids (i32 a row, -1: none) into records (u32 addresses); see assembly/lora/serve.ts. */
  loraBatch(
    tokens: number,
    inFeatures: number,
    outFeatures: number,
    x: number,
    ldx: number,
    y: number,
    ldy: number,
    ids: number,
    count: number,
    records: number,
    scales: number,
    work: number,
  ): void;
  /** Writes the 32-byte record of an adapter that stands in matrices. */
  loraRecord(r: number, a: number, b: number, bias: number, scaling: number, record: number): void;
  /** The record of an adapter that stands in a chain of pages. */
  loraPagesRecord(page: number): number;
  /** Bytes from one page to the next. */
  loraPageBytes(inFeatures: number, outFeatures: number): number;
  /** Chains `count` new pages in front of the chain `next`. */
  loraLinkPages(count: number, first: number, pageBytes: number, next: number): void;
  /** Writes an adapter into the first pages of a chain; returns the page after them. */
  loraWritePages(
    inFeatures: number,
    outFeatures: number,
    r: number,
    a: number,
    b: number,
    bias: number,
    scaling: number,
    page: number,
  ): number;
  /** Puts the first `count` pages of a chain in front of the chain `next`. */
  loraFreePages(count: number, page: number, next: number): void;
  /** dst (count×n) <- the rows of src that a list of i32 names. */
  gatherRows(count: number, n: number, rows: number, src: number, dst: number): void;
  /** The rows of dst that a list of i32 names <- src (count×n). */
  scatterRows(count: number, n: number, rows: number, src: number, dst: number): void;
  /** The rows of dst that a list of i32 names <- themselves + src (count×n). */
  addRows(count: number, n: number, rows: number, src: number, dst: number): void;
  /** Bytes of working memory of loraBackward. */
  loraBackwardScratch(tokens: number, r: number): number;
  /** Gradients of one adapter; see assembly/lora/backward.ts. */
  loraBackward(
    tokens: number,
    inFeatures: number,
    outFeatures: number,
    x: number,
    g: number,
    r: number,
    a: number,
    b: number,
    scaling: number,
    da: number,
    db: number,
    dbias: number,
    dx: number,
    work: number,
  ): void;
  /** y (n) <- alpha·Σ rows of a (m×n). */
  sumRows(m: number, n: number, alpha: number, a: number, y: number): void;
  /** Bytes of working memory of doraNorms. */
  doraNormsScratch(inFeatures: number): number;
  /** norms <- row lengths of W + scaling·B·A; see assembly/lora/dora.ts. */
  doraNorms(
    inFeatures: number,
    outFeatures: number,
    w: number,
    rsw: number,
    csw: number,
    r: number,
    a: number,
    b: number,
    scaling: number,
    norms: number,
    work: number,
  ): void;
  /** Every row of y (m×n) times x (n), element by element. */
  scaleColumns(m: number, n: number, x: number, y: number): void;
  /** Z <- Z + X∘Y, m×n; with a leading dimension of 0 one row stands for all. */
  addProducts(m: number, n: number, x: number, ldx: number, y: number, ldy: number, z: number, ldz: number): void;
  /** factors <- magnitude/norms. */
  doraFactors(n: number, magnitude: number, norms: number, factors: number): void;
  /** Bytes of working memory of doraForward and doraBackward. */
  doraScratch(tokens: number, outFeatures: number, r: number): number;
  /** y <- (x − xd)·Wᵀ + xd·W'ᵀ + bias. */
  doraForward(
    tokens: number,
    inFeatures: number,
    outFeatures: number,
    x: number,
    xd: number,
    w: number,
    rsw: number,
    csw: number,
    bias: number,
    r: number,
    a: number,
    b: number,
    scaling: number,
    factors: number,
    y: number,
    work: number,
  ): void;
  /** dm <- gradient of the magnitude, scaled <- G·diag(factors). */
  doraBackward(
    tokens: number,
    inFeatures: number,
    outFeatures: number,
    xd: number,
    g: number,
    w: number,
    rsw: number,
    csw: number,
    r: number,
    a: number,
    b: number,
    scaling: number,
    norms: number,
    factors: number,
    dm: number,
    scaled: number,
    work: number,
  ): void;
  /** The rows of the layer in weight (transposed with fanInFanOut) times factors. */
  doraMerge(rows: number, columns: number, fanInFanOut: number, factors: number, weight: number): void;
  /** merged <- W + scaling·B·A; returns the index of the first non-finite entry, or -1. */
  loraMerge(
    rows: number,
    columns: number,
    w: number,
    rsw: number,
    csw: number,
    r: number,
    a: number,
    b: number,
    scaling: number,
    fanInFanOut: number,
    merged: number,
  ): number;
  /** Bytes of working memory of pruneMagnitude. */
  pruneScratch(): number;
  /** y <- the k largest entries of x, zeros elsewhere; see assembly/lora/combine.ts. */
  pruneMagnitude(n: number, k: number, x: number, y: number, work: number): void;
  /** y <- mean of w_i·x_i over the tasks of the elected sign. */
  electAndMerge(n: number, tasks: number, x: number, w: number, frequency: number, y: number): void;
  /** Bytes of working memory of productSvd. */
  productSvdScratch(m: number, n: number, r: number): number;
  /** Readies the working memory of productSvd. */
  productSvdBegin(work: number): void;
  /** A slice of the SVD of C·D, C by columns; as gesvd, with the left vectors by rows. See assembly/lora/product_svd.ts. */
  productSvd(
    m: number,
    n: number,
    r: number,
    c: number,
    d: number,
    ut: number,
    s: number,
    vt: number,
    work: number,
  ): number;
  /** dst <- src (n stored numbers of a type, numbered in bindings/safetensors/convert.ts). */
  decode(type: number, n: number, src: number, dst: number): void;
  /** dst (stored numbers) <- src (n elements); work: n f32, for f64 to F16 and BF16. */
  encode(type: number, n: number, src: number, dst: number, work: number): void;
  /** y <- f(x), or g∘f′(x) if g is not 0; kinds: assembly/training/activation.ts. */
  activate(kind: number, n: number, x: number, g: number, y: number): void;
  /** The mean loss of z (rows×classes) for labels (i32), grad <- its gradient. */
  softmaxCrossEntropy(rows: number, classes: number, z: number, labels: number, grad: number): number;
  /** The mean of (x − target)², grad <- its gradient. */
  meanSquaredError(n: number, x: number, target: number, grad: number): number;
  /** A step of AdamW in place; see assembly/training/adamw.ts. */
  adamw(
    n: number,
    g: number,
    p: number,
    m: number,
    v: number,
    w1: number,
    beta2: number,
    w2: number,
    decay: number,
    step: number,
    root: number,
    eps: number,
  ): void;
  /** cos(π·x), the same bits on every engine. */
  cospi(x: number): number;
}

export interface KernelExports {
  /** Bytes of packing memory that setPackMemory wants. */
  packBytes(): number;
  setPackMemory(pointer: number): void;
  /** Makes this instance the caller (which = 0) or a member of a team of `size`; see assembly/team.ts. */
  joinTeam(control: number, size: number, which: number): void;
  /** Whether a task of so many operations is worth a fork; `least` of them take some fifty microseconds. */
  isShared(operations: number, least: number): number;
  /** Members take tiles of a task (-1: the bindings' list) until teamJoin. */
  teamFork(tiles: number, task: number, base: number): void;
  /** The number of a tile that nobody else has, or -1. */
  teamTake(): number;
  /** Waits until no member computes; traps if one has trapped or is lost. */
  teamJoin(): void;
  /** A member's step: 0: there was no tile; 1: one was computed; else 2 + the number of a tile of the bindings' list. */
  teamStep(spins: number): number;
  /** A member has computed its tile of the bindings' list, or with `trouble` it has trapped in it. */
  teamLeave(trouble: number): void;
  /** A member sleeps until there may be a tile; 1: the team ends. */
  teamSleep(): number;
  /** After a trap of the caller: 1 when no member computes; with `end` members leave their loops. */
  teamSettle(end: number): number;
  /** Another factor of the sizes from which on a team shares: 0: everything, Infinity: nothing. */
  setReluctance(factor: number): void;
  /** 1 where level 3 uses fused multiply-add. */
  isRelaxed(): number;
  /** Bytes of guard words around a block: 0 but in the debug build. */
  guardBytes(): number;
  /** Operations of one slice of a long routine; with 0 every call makes one step. */
  setSlice(operations: number): void;
  /** Another limit for the sweeps of gesvdBatch: with 0 every matrix is left to gesvd. */
  setSweeps(limit: number): void;
  /** Elements from a row of lanczos's bases to the next, for vectors of n. */
  lanczosStride(n: number): number;
  /** Bytes of working memory of lanczos. */
  lanczosScratch(rows: number): number;
  /** Readies the working memory of lanczos. */
  lanczosBegin(work: number): void;
  /** Goes on to the next request: kind + 4·row, or MORE; see assembly/svds/lanczos.ts. */
  lanczos(
    m: number,
    n: number,
    k: number,
    rows: number,
    tolerance: number,
    seed: number,
    stream: number,
    v: number,
    ldv: number,
    u: number,
    ldu: number,
    s: number,
    work: number,
  ): number;
  /** residuals (k) <- the larger of itself and the norm of column i of y − x·diag(s); y and x are rows×k, y is overwritten. */
  lanczosResiduals(rows: number, k: number, y: number, x: number, s: number, residuals: number): void;
  /** p (n 32-bit integers) <- a permutation of 0 … n − 1. */
  permutation(seed: number, stream: number, n: number, p: number): void;
  /** Readies the head of the working memory of a sliced routine. */
  begin(work: number): void;
  /** Correction row and joint mean of two sets of a and b rows; see assembly/pca/moments.ts. */
  joinMeans(n: number, a: number, b: number, meanA: number, meanB: number, correction: number): void;
  /** norms (n) <- √(norms² + ‖column of Y‖²), Y (m×n). */
  joinNorms(m: number, n: number, y: number, norms: number): void;
  /** Number of components of largest evidence for n variances; work: n elements of f64. */
  minkaRank(n: number, variances: number, samples: number, work: number): number;
  /** dst (n f32) <- src (n 16-bit floats), exactly; see assembly/quantized/. */
  fromFloat16(n: number, src: number, dst: number): void;
  fromBfloat16(n: number, src: number, dst: number): void;
  /** dst (n 16-bit floats) <- src (n f32), to nearest, ties to even. */
  toFloat16(n: number, src: number, dst: number): void;
  toBfloat16(n: number, src: number, dst: number): void;
  /** dst (n f32) <- src (n f64), cut off with the last bit set where that lost something. */
  roundToOdd(n: number, src: number, dst: number): void;
  /** Bytes of working memory of quantizeWeight; with one row of expandWeight. Kinds: assembly/quantized/weight.ts. */
  quantizeScratch(kind: number, rows: number, columns: number): number;
  /** codes and scales <- w (rows×columns f32). */
  quantizeWeight(
    kind: number,
    rows: number,
    columns: number,
    w: number,
    codes: number,
    scales: number,
    work: number,
  ): void;
  /** Rows begin…end of w (rows×columns f32) <- codes and scales. */
  expandWeight(
    begin: number,
    end: number,
    kind: number,
    rows: number,
    columns: number,
    codes: number,
    scales: number,
    w: number,
    work: number,
  ): void;
  /** The scale of n halves: whether all are finite. */
  markFinite(n: number, codes: number, scales: number): void;
  /** Bytes of working memory of quantizedForward. */
  quantizedForwardScratch(kind: number, tokens: number, inFeatures: number): number;
  /** y <- x·Wᵀ + bias, f32; see assembly/quantized/forward.ts. */
  quantizedForward(
    begin: number,
    end: number,
    kind: number,
    tokens: number,
    inFeatures: number,
    outFeatures: number,
    x: number,
    codes: number,
    scales: number,
    bias: number,
    y: number,
    work: number,
  ): void;
  /** The rank that lstsq found. */
  lstsqRank(work: number): number;
  /** Runs the hot functions on `work` (warmUpBytes() of it), so that the engine compiles them. */
  warmUp(work: number): void;
  warmUpBytes(): number;
}

/** What a sliced routine returns when there is more to do: call it again. */
export const MORE = -1;
