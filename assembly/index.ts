// The kernel's exports: concrete one-liners over the generic routines, in pairs: s = f32, d = f64.
// Pointers are bytes; sizes, strides and leading dimensions are elements; matrices are row-major unless they have strides.

import { PACK_BYTES, setPackMemory } from "./blas/blocking";
import { potrf } from "./blas/cholesky";
import { gemm, gemmBatch, tileRow } from "./blas/gemm";
import { axpy, dot, nrm2, rot, scal, scalPower } from "./blas/level1";
import { gemv, ger } from "./blas/level2";
import { addProducts, fill, firstNonFinite, lacpy, mirrorLower, scaleColumns } from "./blas/matrix";
import { determinantSign, determinantSignBegin, determinantSignScratch, normalizePoints } from "./linalg/align";
import { lstsq, lstsqBegin, lstsqRank, lstsqScratch } from "./linalg/lstsq";
import { lange } from "./linalg/norm";
import { qr, qrBegin, qrScratch } from "./linalg/qr";
import { scaledProduct, scaledProductBegin, scaledProductScratch } from "./linalg/scaled_product";
import { syrk } from "./blas/syrk";
import { cospi, erf, exp, log, sinpi, tanh } from "./elementary";
import { trsv } from "./blas/triangular";
import { alsBegin, alsRows, alsScratch, alsStart, paddedFactors } from "./factors/als";
import {
  largestScores, ratingsCenter, ratingsError, ratingsErrorBegin, ratingsErrorScratch, ratingsPredict, ratingsResiduals,
  ratingsSum, rootScaled,
} from "./factors/ratings";
import { loraBackward, loraBackwardScratch, sumRows } from "./lora/backward";
import { electAndMerge, pruneMagnitude, pruneScratch } from "./lora/combine";
import {
  doraBackward, doraFactors, doraForward, doraMerge, doraNorms, doraNormsScratch, doraScratch,
} from "./lora/dora";
import { linear, packWeight, packedWeightSize } from "./lora/linear";
import { loraMerge } from "./lora/merge";
import { productSvd, productSvdBegin, productSvdScratch } from "./lora/product_svd";
import { addRows, gatherRows, scatterRows } from "./lora/rows";
import {
  loraAdd, loraAddScratch, loraBatch, loraBatchScratch, loraFreePages, loraLinkPages, loraPageBytes, loraPagesRecord,
  loraRecord, loraWritePages,
} from "./lora/serve";
import { flipSigns, weightedRows } from "./pca/components";
import { minkaRank } from "./pca/minka";
import {
  columnSquares, columnSquaresScratch, csrVariance, joinMeans, joinNorms, largestExponent, means, meansScratch, sumSquares,
} from "./pca/moments";
import { centre, project, projectScratch, reconstruct } from "./pca/project";
import { scatter, scatterScratch } from "./pca/scatter";
import { inverseFrequencies, weightRows } from "./pca/tfidf";
import { bernoulli, gaussian, permutation, uniform } from "./random/distributions";
import { luBasis, luBasisBegin, luBasisScratch } from "./randomized/lu_basis";
import { orthonormalize, orthonormalizeBegin, orthonormalizeScratch } from "./randomized/orthonormalize";
import {
  normalizeRows, residualSquares, residualSquaresWork, squares, subtractLowRank,
} from "./randomized/residual";
import { csrmm, csrmmTransposed } from "./sparse/products";
import { csrRowNorms, csrScaleColumns, csrSumDuplicates, csrToDense, csrTranspose } from "./sparse/structure";
import { fromBfloat16, toBfloat16 } from "./quantized/bfloat16";
import { fromFloat16, toFloat16 } from "./quantized/float16";
import { quantizedForward, quantizedForwardScratch } from "./quantized/forward";
import { expandWeight, markFinite, quantizeScratch, quantizeWeight, roundToOdd } from "./quantized/weight";
import { gesvdBatch, gesvdBatchBegin, gesvdBatchGroups, gesvdBatchScratch } from "./svd/batch";
import { setSweeps } from "./svd/batch_jacobi";
import { bdsqr, bdsqrWork } from "./svd/bidiagonal_qr";
import { lasq1, lasq1Work } from "./svd/dqds";
import { gesvd, gesvdBegin, gesvdScratch } from "./svd/gesvd";
import { flipByColumns } from "./svd/sign";
import { decode, encode } from "./safetensors/convert";
import { begin, openSlice, setSlice } from "./slice";
import { lanczos as lanczosOf, lanczosBegin as lanczosBeginOf, lanczosScratch as lanczosScratchOf, lanczosStride as lanczosStrideOf, lanczosResiduals as lanczosResidualsOf } from "./svds/lanczos";
import {
  isShared, joinTeam, setReluctance, teamFork, teamJoin, teamLeave, teamSettle, teamSleep, teamStep, teamTake,
} from "./team";
import { activate } from "./training/activation";
import { adamw } from "./training/adamw";
import { meanSquaredError, softmaxCrossEntropy } from "./training/loss";
import { warmUp, warmUpBytes } from "./warm_up";

export { begin, joinMeans, joinNorms, minkaRank, permutation, setPackMemory, setSlice, setSweeps, warmUp, warmUpBytes };
export { expandWeight, quantizedForward, quantizedForwardScratch, quantizeScratch, quantizeWeight };
export { fromBfloat16, fromFloat16, markFinite, roundToOdd, toBfloat16, toFloat16 };
export { lstsqRank };
export { isShared, joinTeam, setReluctance, teamFork, teamJoin, teamLeave, teamSettle, teamSleep, teamStep, teamTake };

export function packBytes(): usize {
  return PACK_BYTES;
}

export function isRelaxed(): bool {
  return ASC_FEATURE_RELAXED_SIMD;
}

/** Guard words on each side of a block, in bytes: only the debug build, which keeps its assertions, wants them. */
export function guardBytes(): i32 {
  return ASC_NO_ASSERT ? 0 : 64;
}

// Level 1

export function sdot(n: i32, x: usize, incx: i32, y: usize, incy: i32): f32 {
  return dot<f32>(n, x, incx, y, incy);
}

export function ddot(n: i32, x: usize, incx: i32, y: usize, incy: i32): f64 {
  return dot<f64>(n, x, incx, y, incy);
}

export function saxpy(n: i32, alpha: f32, x: usize, incx: i32, y: usize, incy: i32): void {
  axpy<f32>(n, alpha, x, incx, y, incy);
}

export function daxpy(n: i32, alpha: f64, x: usize, incx: i32, y: usize, incy: i32): void {
  axpy<f64>(n, alpha, x, incx, y, incy);
}

export function sscal(n: i32, alpha: f32, x: usize, incx: i32): void {
  scal<f32>(n, alpha, x, incx);
}

export function dscal(n: i32, alpha: f64, x: usize, incx: i32): void {
  scal<f64>(n, alpha, x, incx);
}

export function snrm2(n: i32, x: usize, incx: i32): f32 {
  return nrm2<f32>(n, x, incx);
}

export function dnrm2(n: i32, x: usize, incx: i32): f64 {
  return nrm2<f64>(n, x, incx);
}

export function srot(n: i32, x: usize, incx: i32, y: usize, incy: i32, c: f32, s: f32): void {
  rot<f32>(n, x, incx, y, incy, c, s);
}

export function drot(n: i32, x: usize, incx: i32, y: usize, incy: i32, c: f64, s: f64): void {
  rot<f64>(n, x, incx, y, incy, c, s);
}

// Level 2

export function sgemv(
  transposed: bool, m: i32, n: i32, alpha: f32, a: usize, lda: i32, x: usize, incx: i32, beta: f32, y: usize, incy: i32,
): void {
  gemv<f32>(transposed, m, n, alpha, a, lda, x, incx, beta, y, incy);
}

export function dgemv(
  transposed: bool, m: i32, n: i32, alpha: f64, a: usize, lda: i32, x: usize, incx: i32, beta: f64, y: usize, incy: i32,
): void {
  gemv<f64>(transposed, m, n, alpha, a, lda, x, incx, beta, y, incy);
}

export function sger(m: i32, n: i32, alpha: f32, x: usize, incx: i32, y: usize, a: usize, lda: i32): void {
  ger<f32>(m, n, alpha, x, incx, y, a, lda);
}

export function dger(m: i32, n: i32, alpha: f64, x: usize, incx: i32, y: usize, a: usize, lda: i32): void {
  ger<f64>(m, n, alpha, x, incx, y, a, lda);
}

// Level 3

export function sgemm(
  m: i32, n: i32, k: i32, alpha: f32, a: usize, rsa: i32, csa: i32, b: usize, rsb: i32, csb: i32, beta: f32, c: usize, ldc: i32,
): void {
  gemm<f32>(m, n, k, alpha, a, rsa, csa, b, rsb, csb, beta, c, ldc);
}

export function dgemm(
  m: i32, n: i32, k: i32, alpha: f64, a: usize, rsa: i32, csa: i32, b: usize, rsb: i32, csb: i32, beta: f64, c: usize, ldc: i32,
): void {
  gemm<f64>(m, n, k, alpha, a, rsa, csa, b, rsb, csb, beta, c, ldc);
}

export function sgemmBatch(
  begin: i32, end: i32, m: i32, n: i32, k: i32, alpha: f32, a: usize, sa: i32, rsa: i32, csa: i32, b: usize, sb: i32, rsb: i32, csb: i32, beta: f32, c: usize, sc: i32, ldc: i32,
): void {
  gemmBatch<f32>(begin, end, m, n, k, alpha, a, sa, rsa, csa, b, sb, rsb, csb, beta, c, sc, ldc);
}

export function dgemmBatch(
  begin: i32, end: i32, m: i32, n: i32, k: i32, alpha: f64, a: usize, sa: i32, rsa: i32, csa: i32, b: usize, sb: i32, rsb: i32, csb: i32, beta: f64, c: usize, sc: i32, ldc: i32,
): void {
  gemmBatch<f64>(begin, end, m, n, k, alpha, a, sa, rsa, csa, b, sb, rsb, csb, beta, c, sc, ldc);
}

export function ssyrk(n: i32, k: i32, alpha: f32, a: usize, rsa: i32, csa: i32, beta: f32, c: usize, ldc: i32): void {
  syrk<f32>(n, k, alpha, a, rsa, csa, beta, c, ldc);
}

export function dsyrk(n: i32, k: i32, alpha: f64, a: usize, rsa: i32, csa: i32, beta: f64, c: usize, ldc: i32): void {
  syrk<f64>(n, k, alpha, a, rsa, csa, beta, c, ldc);
}

// Whole matrices

export function slacpy(m: i32, n: i32, src: usize, rss: i32, css: i32, dst: usize, ldd: i32): void {
  lacpy<f32>(m, n, src, rss, css, dst, ldd);
}

export function dlacpy(m: i32, n: i32, src: usize, rss: i32, css: i32, dst: usize, ldd: i32): void {
  lacpy<f64>(m, n, src, rss, css, dst, ldd);
}

export function sfill(n: i32, value: f32, x: usize): void {
  fill<f32>(n, value, x);
}

export function dfill(n: i32, value: f64, x: usize): void {
  fill<f64>(n, value, x);
}

export function sfirstNonFinite(m: i32, n: i32, a: usize, rs: i32, cs: i32): f64 {
  return firstNonFinite<f32>(m, n, a, rs, cs);
}

export function dfirstNonFinite(m: i32, n: i32, a: usize, rs: i32, cs: i32): f64 {
  return firstNonFinite<f64>(m, n, a, rs, cs);
}

export function saddProducts(m: i32, n: i32, x: usize, ldx: i32, y: usize, ldy: i32, z: usize, ldz: i32): void {
  addProducts<f32>(m, n, x, ldx, y, ldy, z, ldz);
}

export function daddProducts(m: i32, n: i32, x: usize, ldx: i32, y: usize, ldy: i32, z: usize, ldz: i32): void {
  addProducts<f64>(m, n, x, ldx, y, ldy, z, ldz);
}

// Elementary functions

export function slog(x: f32): f32 {
  return log<f32>(x);
}

export function dlog(x: f64): f64 {
  return log<f64>(x);
}

export function sexp(x: f32): f32 {
  return exp<f32>(x);
}

export function dexp(x: f64): f64 {
  return exp<f64>(x);
}

export function ssinpi(x: f32): f32 {
  return sinpi<f32>(x);
}

export function dsinpi(x: f64): f64 {
  return sinpi<f64>(x);
}

export function scospi(x: f32): f32 {
  return cospi<f32>(x);
}

export function dcospi(x: f64): f64 {
  return cospi<f64>(x);
}

export function stanh(x: f32): f32 {
  return tanh<f32>(x);
}

export function dtanh(x: f64): f64 {
  return tanh<f64>(x);
}

export function serf(x: f32): f32 {
  return erf<f32>(x);
}

export function derf(x: f64): f64 {
  return erf<f64>(x);
}

// Random numbers

export function suniform(seed: u32, stream: u32, first: f64, n: i32, x: usize): void {
  uniform<f32>(seed, stream, first, n, x);
}

export function duniform(seed: u32, stream: u32, first: f64, n: i32, x: usize): void {
  uniform<f64>(seed, stream, first, n, x);
}

export function sgaussian(seed: u32, stream: u32, first: f64, n: i32, x: usize): void {
  gaussian<f32>(seed, stream, first, n, x);
}

export function dgaussian(seed: u32, stream: u32, first: f64, n: i32, x: usize): void {
  gaussian<f64>(seed, stream, first, n, x);
}

export function sbernoulli(
  seed: u32, stream: u32, first: f64, n: i32, probability: f64, value: f32, x: usize,
): void {
  bernoulli<f32>(seed, stream, first, n, probability, value, x);
}

export function dbernoulli(
  seed: u32, stream: u32, first: f64, n: i32, probability: f64, value: f64, x: usize,
): void {
  bernoulli<f64>(seed, stream, first, n, probability, value, x);
}

export function smirrorLower(n: i32, a: usize, lda: i32): void {
  mirrorLower<f32>(n, a, lda);
}

export function dmirrorLower(n: i32, a: usize, lda: i32): void {
  mirrorLower<f64>(n, a, lda);
}

// Singular value decomposition

export function sgesvdScratch(m: i32, n: i32, vectors: i32, driver: i32): f64 {
  return gesvdScratch<f32>(m, n, vectors, driver);
}

export function dgesvdScratch(m: i32, n: i32, vectors: i32, driver: i32): f64 {
  return gesvdScratch<f64>(m, n, vectors, driver);
}

export function sgesvdBegin(work: usize): void {
  gesvdBegin<f32>(work);
}

export function dgesvdBegin(work: usize): void {
  gesvdBegin<f64>(work);
}

export function sgesvd(
  m: i32, n: i32, vectors: i32, driver: i32, a: usize, rs: i32, cs: i32, u: usize, s: usize, vt: usize, work: usize,
): i32 {
  return gesvd<f32>(m, n, vectors, driver, a, rs, cs, u, s, vt, work);
}

export function dgesvd(
  m: i32, n: i32, vectors: i32, driver: i32, a: usize, rs: i32, cs: i32, u: usize, s: usize, vt: usize, work: usize,
): i32 {
  return gesvd<f64>(m, n, vectors, driver, a, rs, cs, u, s, vt, work);
}

export function sbdsqrWork(n: i32): i32 {
  return bdsqrWork(n);
}

export function dbdsqrWork(n: i32): i32 {
  return bdsqrWork(n);
}

export function sbdsqr(
  n: i32, ncvt: i32, nru: i32, d: usize, e: usize, vt: usize, ldvt: i32, ut: usize, ldut: i32, work: usize,
): i32 {
  openSlice(work);
  return bdsqr<f32>(n, ncvt, nru, d, e, vt, ldvt, ut, ldut, work);
}

export function dbdsqr(
  n: i32, ncvt: i32, nru: i32, d: usize, e: usize, vt: usize, ldvt: i32, ut: usize, ldut: i32, work: usize,
): i32 {
  openSlice(work);
  return bdsqr<f64>(n, ncvt, nru, d, e, vt, ldvt, ut, ldut, work);
}

export function slasq1Work(n: i32): i32 {
  return lasq1Work<f32>(n);
}

export function dlasq1Work(n: i32): i32 {
  return lasq1Work<f64>(n);
}

export function slasq1(n: i32, d: usize, e: usize, work: usize): i32 {
  return lasq1<f32>(n, d, e, work);
}

export function dlasq1(n: i32, d: usize, e: usize, work: usize): i32 {
  return lasq1<f64>(n, d, e, work);
}

export function sgesvdBatchScratch(m: i32, n: i32, vectors: i32): f64 {
  return gesvdBatchScratch<f32>(m, n, vectors);
}

export function dgesvdBatchScratch(m: i32, n: i32, vectors: i32): f64 {
  return gesvdBatchScratch<f64>(m, n, vectors);
}

export function sgesvdBatchGroups(count: i32): i32 {
  return gesvdBatchGroups<f32>(count);
}

export function dgesvdBatchGroups(count: i32): i32 {
  return gesvdBatchGroups<f64>(count);
}

export function sgesvdBatchBegin(work: usize): void {
  gesvdBatchBegin<f32>(work);
}

export function dgesvdBatchBegin(work: usize): void {
  gesvdBatchBegin<f64>(work);
}

export function sgesvdBatch(
  begin: i32, end: i32, count: i32, m: i32, n: i32, vectors: i32, a: usize, sa: i32, rs: i32, cs: i32, u: usize, s: usize, vt: usize, work: usize,
): i32 {
  return gesvdBatch<f32>(begin, end, count, m, n, vectors, a, sa, rs, cs, u, s, vt, work);
}

export function dgesvdBatch(
  begin: i32, end: i32, count: i32, m: i32, n: i32, vectors: i32, a: usize, sa: i32, rs: i32, cs: i32, u: usize, s: usize, vt: usize, work: usize,
): i32 {
  return gesvdBatch<f64>(begin, end, count, m, n, vectors, a, sa, rs, cs, u, s, vt, work);
}

// Cholesky factorisation

export function spotrf(n: i32, w: i32, a: usize, lda: i32): i32 {
  return potrf<f32>(n, w, a, lda);
}

export function dpotrf(n: i32, w: i32, a: usize, lda: i32): i32 {
  return potrf<f64>(n, w, a, lda);
}

export function strsv(n: i32, u: usize, lda: i32, x: usize): void {
  trsv<f32>(n, u, lda, x);
}

export function dtrsv(n: i32, u: usize, lda: i32, x: usize): void {
  trsv<f64>(n, u, lda, x);
}

// Factor models of ratings

export function spaddedFactors(k: i32): i32 {
  return paddedFactors<f32>(k);
}

export function dpaddedFactors(k: i32): i32 {
  return paddedFactors<f64>(k);
}

export function salsStart(first: i32, last: i32, k: i32, kp: i32, seed: u32, stream: u32, q: usize): void {
  alsStart<f32>(first, last, k, kp, seed, stream, q);
}

export function dalsStart(first: i32, last: i32, k: i32, kp: i32, seed: u32, stream: u32, q: usize): void {
  alsStart<f64>(first, last, k, kp, seed, stream, q);
}

export function salsScratch(kp: i32): f64 {
  return alsScratch<f32>(kp);
}

export function dalsScratch(kp: i32): f64 {
  return alsScratch<f64>(kp);
}

export function salsBegin(work: usize): void {
  alsBegin(work);
}

export function dalsBegin(work: usize): void {
  alsBegin(work);
}

export function salsRows(
  first: i32, last: i32, kp: i32, indptr: usize, indices: usize, values: usize, other: usize, otherBias: usize, own: usize, ownBias: usize, lambda: f64, damping: f64, biased: bool, work: usize,
): i32 {
  return alsRows<f32>(first, last, kp, indptr, indices, values, other, otherBias, own, ownBias, lambda, damping, biased, work);
}

export function dalsRows(
  first: i32, last: i32, kp: i32, indptr: usize, indices: usize, values: usize, other: usize, otherBias: usize, own: usize, ownBias: usize, lambda: f64, damping: f64, biased: bool, work: usize,
): i32 {
  return alsRows<f64>(first, last, kp, indptr, indices, values, other, otherBias, own, ownBias, lambda, damping, biased, work);
}

export function sratingsSum(n: i32, x: usize, e: i32): f64 {
  return ratingsSum<f32>(n, x, e);
}

export function dratingsSum(n: i32, x: usize, e: i32): f64 {
  return ratingsSum<f64>(n, x, e);
}

export function sratingsCenter(n: i32, x: usize, e: i32, mean: f64, y: usize): f32 {
  return ratingsCenter<f32>(n, x, e, mean, y);
}

export function dratingsCenter(n: i32, x: usize, e: i32, mean: f64, y: usize): f64 {
  return ratingsCenter<f64>(n, x, e, mean, y);
}

export function sratingsResiduals(
  first: i32, last: i32, indptr: usize, indices: usize, values: usize, b: usize, c: usize, residuals: usize,
): void {
  ratingsResiduals<f32>(first, last, indptr, indices, values, b, c, residuals);
}

export function dratingsResiduals(
  first: i32, last: i32, indptr: usize, indices: usize, values: usize, b: usize, c: usize, residuals: usize,
): void {
  ratingsResiduals<f64>(first, last, indptr, indices, values, b, c, residuals);
}

export function srootScaled(m: i32, k: i32, x: usize, rs: i32, cs: i32, s: usize, y: usize): void {
  rootScaled<f32>(m, k, x, rs, cs, s, y);
}

export function drootScaled(m: i32, k: i32, x: usize, rs: i32, cs: i32, s: usize, y: usize): void {
  rootScaled<f64>(m, k, x, rs, cs, s, y);
}

export function sratingsErrorScratch(): f64 {
  return ratingsErrorScratch();
}

export function dratingsErrorScratch(): f64 {
  return ratingsErrorScratch();
}

export function sratingsErrorBegin(work: usize): void {
  ratingsErrorBegin(work);
}

export function dratingsErrorBegin(work: usize): void {
  ratingsErrorBegin(work);
}

export function sratingsError(
  first: i32, last: i32, k: i32, indptr: usize, indices: usize, values: usize, p: usize, q: usize, b: usize, c: usize, mean: f64, e: i32, work: usize,
): i32 {
  return ratingsError<f32>(first, last, k, indptr, indices, values, p, q, b, c, mean, e, work);
}

export function dratingsError(
  first: i32, last: i32, k: i32, indptr: usize, indices: usize, values: usize, p: usize, q: usize, b: usize, c: usize, mean: f64, e: i32, work: usize,
): i32 {
  return ratingsError<f64>(first, last, k, indptr, indices, values, p, q, b, c, mean, e, work);
}

export function sratingsPredict(
  first: i32, last: i32, k: i32, p: usize, q: usize, base: f64, c: usize, scores: usize,
): void {
  ratingsPredict<f32>(first, last, k, p, q, base, c, scores);
}

export function dratingsPredict(
  first: i32, last: i32, k: i32, p: usize, q: usize, base: f64, c: usize, scores: usize,
): void {
  ratingsPredict<f64>(first, last, k, p, q, base, c, scores);
}

export function slargestScores(count: i32, scores: usize, n: i32, best: usize): i32 {
  return largestScores<f32>(count, scores, n, best);
}

export function dlargestScores(count: i32, scores: usize, n: i32, best: usize): i32 {
  return largestScores<f64>(count, scores, n, best);
}

// Sparse matrices

export function scsrmm(
  begin: i32, end: i32, b: i32, data: usize, indices: usize, indptr: usize, x: usize, ldx: i32, y: usize, ldy: i32,
): void {
  csrmm<f32>(begin, end, b, data, indices, indptr, x, ldx, y, ldy);
}

export function dcsrmm(
  begin: i32, end: i32, b: i32, data: usize, indices: usize, indptr: usize, x: usize, ldx: i32, y: usize, ldy: i32,
): void {
  csrmm<f64>(begin, end, b, data, indices, indptr, x, ldx, y, ldy);
}

export function scsrmmTransposed(
  first: i32, last: i32, m: i32, n: i32, data: usize, indices: usize, indptr: usize, y: usize, ldy: i32, x: usize, ldx: i32,
): void {
  csrmmTransposed<f32>(first, last, m, n, data, indices, indptr, y, ldy, x, ldx);
}

export function dcsrmmTransposed(
  first: i32, last: i32, m: i32, n: i32, data: usize, indices: usize, indptr: usize, y: usize, ldy: i32, x: usize, ldx: i32,
): void {
  csrmmTransposed<f64>(first, last, m, n, data, indices, indptr, y, ldy, x, ldx);
}

export function scsrTranspose(
  m: i32, n: i32, data: usize, indices: usize, indptr: usize, outData: usize, outIndices: usize, outIndptr: usize,
): void {
  csrTranspose<f32>(m, n, data, indices, indptr, outData, outIndices, outIndptr);
}

export function dcsrTranspose(
  m: i32, n: i32, data: usize, indices: usize, indptr: usize, outData: usize, outIndices: usize, outIndptr: usize,
): void {
  csrTranspose<f64>(m, n, data, indices, indptr, outData, outIndices, outIndptr);
}

export function scsrSumDuplicates(m: i32, data: usize, indices: usize, indptr: usize): i32 {
  return csrSumDuplicates<f32>(m, data, indices, indptr);
}

export function dcsrSumDuplicates(m: i32, data: usize, indices: usize, indptr: usize): i32 {
  return csrSumDuplicates<f64>(m, data, indices, indptr);
}

export function scsrScaleColumns(nnz: i32, data: usize, indices: usize, factors: usize): void {
  csrScaleColumns<f32>(nnz, data, indices, factors);
}

export function dcsrScaleColumns(nnz: i32, data: usize, indices: usize, factors: usize): void {
  csrScaleColumns<f64>(nnz, data, indices, factors);
}

export function scsrRowNorms(m: i32, data: usize, indptr: usize, norms: usize): void {
  csrRowNorms<f32>(m, data, indptr, norms);
}

export function dcsrRowNorms(m: i32, data: usize, indptr: usize, norms: usize): void {
  csrRowNorms<f64>(m, data, indptr, norms);
}

export function scsrToDense(m: i32, n: i32, data: usize, indices: usize, indptr: usize, dense: usize): void {
  csrToDense<f32>(m, n, data, indices, indptr, dense);
}

export function dcsrToDense(m: i32, n: i32, data: usize, indices: usize, indptr: usize, dense: usize): void {
  csrToDense<f64>(m, n, data, indices, indptr, dense);
}

// Principal components. Means, scatter matrices and variances are f64 in both precisions.

export function sscatterScratch(n: i32): f64 {
  return scatterScratch<f32>(n);
}

export function dscatterScratch(n: i32): f64 {
  return scatterScratch<f64>(n);
}

export function sscatter(
  m: i32, n: i32, x: usize, rs: i32, cs: i32, factor: f64, mean: usize, c: usize, work: usize,
): i32 {
  return scatter<f32>(m, n, x, rs, cs, factor, mean, c, work);
}

export function dscatter(
  m: i32, n: i32, x: usize, rs: i32, cs: i32, factor: f64, mean: usize, c: usize, work: usize,
): i32 {
  return scatter<f64>(m, n, x, rs, cs, factor, mean, c, work);
}

export function smeansScratch(n: i32): f64 {
  return meansScratch<f32>(n);
}

export function dmeansScratch(n: i32): f64 {
  return meansScratch<f64>(n);
}

export function smeans(
  m: i32, n: i32, x: usize, rs: i32, cs: i32, factor: f64, mean: usize, work: usize,
): i32 {
  return means<f32>(m, n, x, rs, cs, factor, mean, work);
}

export function dmeans(
  m: i32, n: i32, x: usize, rs: i32, cs: i32, factor: f64, mean: usize, work: usize,
): i32 {
  return means<f64>(m, n, x, rs, cs, factor, mean, work);
}

export function sprojectScratch(n: i32): f64 {
  return projectScratch<f32>(n);
}

export function dprojectScratch(n: i32): f64 {
  return projectScratch<f64>(n);
}

export function sproject(
  m: i32, n: i32, k: i32, x: usize, rs: i32, cs: i32, mean: usize, v: usize, scale: usize, z: usize, work: usize,
): i32 {
  return project<f32>(m, n, k, x, rs, cs, mean, v, scale, z, work);
}

export function dproject(
  m: i32, n: i32, k: i32, x: usize, rs: i32, cs: i32, mean: usize, v: usize, scale: usize, z: usize, work: usize,
): i32 {
  return project<f64>(m, n, k, x, rs, cs, mean, v, scale, z, work);
}

export function sreconstruct(
  m: i32, n: i32, k: i32, z: usize, rs: i32, cs: i32, mean: usize, v: usize, scale: usize, x: usize, work: usize,
): i32 {
  return reconstruct<f32>(m, n, k, z, rs, cs, mean, v, scale, x, work);
}

export function dreconstruct(
  m: i32, n: i32, k: i32, z: usize, rs: i32, cs: i32, mean: usize, v: usize, scale: usize, x: usize, work: usize,
): i32 {
  return reconstruct<f64>(m, n, k, z, rs, cs, mean, v, scale, x, work);
}

export function scentre(
  m: i32, n: i32, x: usize, rs: i32, cs: i32, factor: f64, c: usize, y: usize, work: usize,
): i32 {
  return centre<f32, f32>(m, n, x, rs, cs, factor, c, y, work);
}

export function dcentre(
  m: i32, n: i32, x: usize, rs: i32, cs: i32, factor: f64, c: usize, y: usize, work: usize,
): i32 {
  return centre<f64, f64>(m, n, x, rs, cs, factor, c, y, work);
}

export function scentreWide(
  m: i32, n: i32, x: usize, rs: i32, cs: i32, factor: f64, c: usize, y: usize, work: usize,
): i32 {
  return centre<f32, f64>(m, n, x, rs, cs, factor, c, y, work);
}

export function dcentreWide(
  m: i32, n: i32, x: usize, rs: i32, cs: i32, factor: f64, c: usize, y: usize, work: usize,
): i32 {
  return centre<f64, f64>(m, n, x, rs, cs, factor, c, y, work);
}

export function scolumnSquaresScratch(n: i32): f64 {
  return columnSquaresScratch<f32>(n);
}

export function dcolumnSquaresScratch(n: i32): f64 {
  return columnSquaresScratch<f64>(n);
}

export function scolumnSquares(
  m: i32, n: i32, x: usize, rs: i32, cs: i32, factor: f64, mean: usize, squares: usize, work: usize,
): i32 {
  return columnSquares<f32>(m, n, x, rs, cs, factor, mean, squares, work);
}

export function dcolumnSquares(
  m: i32, n: i32, x: usize, rs: i32, cs: i32, factor: f64, mean: usize, squares: usize, work: usize,
): i32 {
  return columnSquares<f64>(m, n, x, rs, cs, factor, mean, squares, work);
}

export function scsrVariance(
  m: i32, nnz: i32, n: i32, data: usize, indices: usize, factor: f64, work: usize,
): f64 {
  return csrVariance<f32>(m, nnz, n, data, indices, factor, work);
}

export function dcsrVariance(
  m: i32, nnz: i32, n: i32, data: usize, indices: usize, factor: f64, work: usize,
): f64 {
  return csrVariance<f64>(m, nnz, n, data, indices, factor, work);
}

export function sinverseFrequencies(
  m: i32, nnz: i32, n: i32, data: usize, indices: usize, weights: usize,
): void {
  inverseFrequencies<f32>(m, nnz, n, data, indices, weights);
}

export function dinverseFrequencies(
  m: i32, nnz: i32, n: i32, data: usize, indices: usize, weights: usize,
): void {
  inverseFrequencies<f64>(m, nnz, n, data, indices, weights);
}

export function sweightRows(
  begin: i32, end: i32, data: usize, indices: usize, indptr: usize, weights: usize,
): void {
  weightRows<f32>(begin, end, data, indices, indptr, weights);
}

export function dweightRows(
  begin: i32, end: i32, data: usize, indices: usize, indptr: usize, weights: usize,
): void {
  weightRows<f64>(begin, end, data, indices, indptr, weights);
}

export function slargestExponent(m: i32, n: i32, x: usize, rs: i32, cs: i32): i32 {
  return largestExponent<f32>(m, n, x, rs, cs);
}

export function dlargestExponent(m: i32, n: i32, x: usize, rs: i32, cs: i32): i32 {
  return largestExponent<f64>(m, n, x, rs, cs);
}

export function ssumSquares(m: i32, n: i32, y: usize): f64 {
  return sumSquares<f32>(m, n, y);
}

export function dsumSquares(m: i32, n: i32, y: usize): f64 {
  return sumSquares<f64>(m, n, y);
}

export function sflipSigns(k: i32, n: i32, v: usize): void {
  flipSigns<f32>(k, n, v);
}

export function dflipSigns(k: i32, n: i32, v: usize): void {
  flipSigns<f64>(k, n, v);
}

export function sweightedRows(k: i32, n: i32, s: usize, v: usize, out: usize): void {
  weightedRows<f32>(k, n, s, v, out);
}

export function dweightedRows(k: i32, n: i32, s: usize, v: usize, out: usize): void {
  weightedRows<f64>(k, n, s, v, out);
}

// Randomized decomposition, and what others need of it

export function sscalPower(n: i32, k: i32, x: usize): void {
  scalPower<f32>(n, k, x);
}

export function dscalPower(n: i32, k: i32, x: usize): void {
  scalPower<f64>(n, k, x);
}

export function sluBasisScratch(l: i32): f64 {
  return luBasisScratch<f32>(l);
}

export function dluBasisScratch(l: i32): f64 {
  return luBasisScratch<f64>(l);
}

export function sluBasisBegin(work: usize): void {
  luBasisBegin(work);
}

export function dluBasisBegin(work: usize): void {
  luBasisBegin(work);
}

export function sluBasis(l: i32, n: i32, x: usize, ldx: i32, work: usize): i32 {
  return luBasis<f32>(l, n, x, ldx, work);
}

export function dluBasis(l: i32, n: i32, x: usize, ldx: i32, work: usize): i32 {
  return luBasis<f64>(l, n, x, ldx, work);
}

export function sorthonormalizeScratch(l: i32, n: i32): f64 {
  return orthonormalizeScratch<f32>(l, n);
}

export function dorthonormalizeScratch(l: i32, n: i32): f64 {
  return orthonormalizeScratch<f64>(l, n);
}

export function sorthonormalizeBegin(work: usize): void {
  orthonormalizeBegin(work);
}

export function dorthonormalizeBegin(work: usize): void {
  orthonormalizeBegin(work);
}

export function sorthonormalize(l: i32, n: i32, x: usize, r: usize, work: usize): i32 {
  return orthonormalize<f32>(l, n, x, r, work);
}

export function dorthonormalize(l: i32, n: i32, x: usize, r: usize, work: usize): i32 {
  return orthonormalize<f64>(l, n, x, r, work);
}

export function ssquares(m: i32, n: i32, a: usize, rs: i32, cs: i32, e: i32, work: usize): f64 {
  return squares<f32>(m, n, a, rs, cs, e, work);
}

export function dsquares(m: i32, n: i32, a: usize, rs: i32, cs: i32, e: i32, work: usize): f64 {
  return squares<f64>(m, n, a, rs, cs, e, work);
}

export function sresidualSquaresWork(rows: i32, n: i32, k: i32): f64 {
  return residualSquaresWork(rows, n, k);
}

export function dresidualSquaresWork(rows: i32, n: i32, k: i32): f64 {
  return residualSquaresWork(rows, n, k);
}

export function sresidualSquares(
  rows: i32, n: i32, k: i32, a: usize, rs: i32, cs: i32, e: i32, u: usize, s: usize, vt: usize, work: usize,
): f64 {
  return residualSquares<f32>(rows, n, k, a, rs, cs, e, u, s, vt, work);
}

export function dresidualSquares(
  rows: i32, n: i32, k: i32, a: usize, rs: i32, cs: i32, e: i32, u: usize, s: usize, vt: usize, work: usize,
): f64 {
  return residualSquares<f64>(rows, n, k, a, rs, cs, e, u, s, vt, work);
}

export function ssubtractLowRank(
  q: i32, m: i32, n: i32, k: i32, x: usize, v: usize, rsv: i32, csv: i32, s: usize, ut: usize, rsu: i32, csu: i32, y: usize, work: usize,
): void {
  subtractLowRank<f32>(q, m, n, k, x, v, rsv, csv, s, ut, rsu, csu, y, work);
}

export function dsubtractLowRank(
  q: i32, m: i32, n: i32, k: i32, x: usize, v: usize, rsv: i32, csv: i32, s: usize, ut: usize, rsu: i32, csu: i32, y: usize, work: usize,
): void {
  subtractLowRank<f64>(q, m, n, k, x, v, rsv, csv, s, ut, rsu, csu, y, work);
}

export function snormalizeRows(rows: i32, n: i32, x: usize): void {
  normalizeRows<f32>(rows, n, x);
}

export function dnormalizeRows(rows: i32, n: i32, x: usize): void {
  normalizeRows<f64>(rows, n, x);
}

export function sflipByColumns(m: i32, n: i32, k: i32, u: usize, vt: usize, signs: usize): void {
  flipByColumns<f32>(m, n, k, u, vt, signs);
}

export function dflipByColumns(m: i32, n: i32, k: i32, u: usize, vt: usize, signs: usize): void {
  flipByColumns<f64>(m, n, k, u, vt, signs);
}

// Linear algebra

export function sqrScratch(m: i32, n: i32, mode: i32): f64 {
  return qrScratch<f32>(m, n, mode);
}

export function dqrScratch(m: i32, n: i32, mode: i32): f64 {
  return qrScratch<f64>(m, n, mode);
}

export function sqrBegin(work: usize): void {
  qrBegin<f32>(work);
}

export function dqrBegin(work: usize): void {
  qrBegin<f64>(work);
}

export function sqr(m: i32, n: i32, mode: i32, a: usize, rs: i32, cs: i32, q: usize, r: usize, work: usize): i32 {
  return qr<f32>(m, n, mode, a, rs, cs, q, r, work);
}

export function dqr(m: i32, n: i32, mode: i32, a: usize, rs: i32, cs: i32, q: usize, r: usize, work: usize): i32 {
  return qr<f64>(m, n, mode, a, rs, cs, q, r, work);
}

export function slstsqScratch(m: i32, n: i32, k: i32): f64 {
  return lstsqScratch<f32>(m, n, k);
}

export function dlstsqScratch(m: i32, n: i32, k: i32): f64 {
  return lstsqScratch<f64>(m, n, k);
}

export function slstsqBegin(work: usize): void {
  lstsqBegin<f32>(work);
}

export function dlstsqBegin(work: usize): void {
  lstsqBegin<f64>(work);
}

export function slstsq(
  m: i32, n: i32, k: i32, a: usize, rs: i32, cs: i32, b: usize, rsb: i32, csb: i32, rcond: f64, x: usize, s: usize, residuals: usize, work: usize,
): i32 {
  return lstsq<f32>(m, n, k, a, rs, cs, b, rsb, csb, rcond, x, s, residuals, work);
}

export function dlstsq(
  m: i32, n: i32, k: i32, a: usize, rs: i32, cs: i32, b: usize, rsb: i32, csb: i32, rcond: f64, x: usize, s: usize, residuals: usize, work: usize,
): i32 {
  return lstsq<f64>(m, n, k, a, rs, cs, b, rsb, csb, rcond, x, s, residuals, work);
}

export function sscaledProductScratch(n: i32, k: i32): f64 {
  return scaledProductScratch<f32>(n, k);
}

export function dscaledProductScratch(n: i32, k: i32): f64 {
  return scaledProductScratch<f64>(n, k);
}

export function sscaledProductBegin(work: usize): void {
  scaledProductBegin<f32>(work);
}

export function dscaledProductBegin(work: usize): void {
  scaledProductBegin<f64>(work);
}

export function sscaledProduct(
  m: i32, n: i32, k: i32, x: usize, rsx: i32, csx: i32, d: usize, y: usize, rsy: i32, csy: i32, c: usize, work: usize,
): i32 {
  return scaledProduct<f32>(m, n, k, x, rsx, csx, d, y, rsy, csy, c, work);
}

export function dscaledProduct(
  m: i32, n: i32, k: i32, x: usize, rsx: i32, csx: i32, d: usize, y: usize, rsy: i32, csy: i32, c: usize, work: usize,
): i32 {
  return scaledProduct<f64>(m, n, k, x, rsx, csx, d, y, rsy, csy, c, work);
}

export function slange(kind: i32, m: i32, n: i32, a: usize, rs: i32, cs: i32, work: usize): f32 {
  return lange<f32>(kind, m, n, a, rs, cs, work);
}

export function dlange(kind: i32, m: i32, n: i32, a: usize, rs: i32, cs: i32, work: usize): f64 {
  return lange<f64>(kind, m, n, a, rs, cs, work);
}

export function snormalizePoints(m: i32, n: i32, x: usize, rs: i32, cs: i32, y: usize, mean: usize): i32 {
  return normalizePoints<f32>(m, n, x, rs, cs, y, mean);
}

export function dnormalizePoints(m: i32, n: i32, x: usize, rs: i32, cs: i32, y: usize, mean: usize): i32 {
  return normalizePoints<f64>(m, n, x, rs, cs, y, mean);
}

export function sdeterminantSignScratch(n: i32): f64 {
  return determinantSignScratch<f32>(n);
}

export function ddeterminantSignScratch(n: i32): f64 {
  return determinantSignScratch<f64>(n);
}

export function sdeterminantSignBegin(n: i32, w: usize, work: usize): void {
  determinantSignBegin<f32>(n, w, work);
}

export function ddeterminantSignBegin(n: i32, w: usize, work: usize): void {
  determinantSignBegin<f64>(n, w, work);
}

export function sdeterminantSign(n: i32, work: usize): i32 {
  return determinantSign<f32>(n, work);
}

export function ddeterminantSign(n: i32, work: usize): i32 {
  return determinantSign<f64>(n, work);
}

// Largest singular triplets of an operator; the iteration is in f64 for both precisions

export function lanczosStride(n: i32): i32 {
  return lanczosStrideOf<f64>(n);
}

export function lanczosScratch(rows: i32): f64 {
  return lanczosScratchOf<f64>(rows);
}

export function lanczosBegin(work: usize): void {
  lanczosBeginOf<f64>(work);
}

export function lanczos(
  m: i32, n: i32, k: i32, rows: i32, tolerance: f64, seed: u32, stream: u32, v: usize, ldv: i32, u: usize, ldu: i32, s: usize, work: usize,
): i32 {
  return lanczosOf<f64>(m, n, k, rows, tolerance, seed, stream, v, ldv, u, ldu, s, work);
}

export function lanczosResiduals(rows: i32, k: i32, y: usize, x: usize, s: usize, residuals: usize): void {
  lanczosResidualsOf<f64>(rows, k, y, x, s, residuals);
}

// LoRA

export function slinear(
  begin: i32, end: i32, tokens: i32, inFeatures: i32, x: usize, ldx: i32, w: usize, rsw: i32, csw: i32, bias: usize, y: usize, ldy: i32,
): void {
  linear<f32>(begin, end, tokens, inFeatures, x, ldx, w, rsw, csw, bias, y, ldy);
}

export function dlinear(
  begin: i32, end: i32, tokens: i32, inFeatures: i32, x: usize, ldx: i32, w: usize, rsw: i32, csw: i32, bias: usize, y: usize, ldy: i32,
): void {
  linear<f64>(begin, end, tokens, inFeatures, x, ldx, w, rsw, csw, bias, y, ldy);
}

export function spackedWeightSize(inFeatures: i32, outFeatures: i32): f64 {
  return packedWeightSize<f32>(inFeatures, outFeatures);
}

export function dpackedWeightSize(inFeatures: i32, outFeatures: i32): f64 {
  return packedWeightSize<f64>(inFeatures, outFeatures);
}

export function spackWeight(inFeatures: i32, outFeatures: i32, w: usize, rsw: i32, csw: i32, packed: usize): void {
  packWeight<f32>(inFeatures, outFeatures, w, rsw, csw, packed);
}

export function dpackWeight(inFeatures: i32, outFeatures: i32, w: usize, rsw: i32, csw: i32, packed: usize): void {
  packWeight<f64>(inFeatures, outFeatures, w, rsw, csw, packed);
}

export function sloraAddScratch(r: i32, outFeatures: i32): f64 {
  return loraAddScratch<f32>(r, outFeatures);
}

export function dloraAddScratch(r: i32, outFeatures: i32): f64 {
  return loraAddScratch<f64>(r, outFeatures);
}

export function sloraAdd(
  count: i32, rows: usize, inFeatures: i32, outFeatures: i32, x: usize, ldx: i32, y: usize, ldy: i32, r: i32, a: usize, b: usize, loraBias: usize, scaling: f64, work: usize,
): void {
  loraAdd<f32>(count, rows, inFeatures, outFeatures, x, ldx, y, ldy, r, a, b, loraBias, scaling, work);
}

export function dloraAdd(
  count: i32, rows: usize, inFeatures: i32, outFeatures: i32, x: usize, ldx: i32, y: usize, ldy: i32, r: i32, a: usize, b: usize, loraBias: usize, scaling: f64, work: usize,
): void {
  loraAdd<f64>(count, rows, inFeatures, outFeatures, x, ldx, y, ldy, r, a, b, loraBias, scaling, work);
}

export function sloraBatchScratch(tokens: i32, count: i32, r: i32, outFeatures: i32, transpose: i32): f64 {
  return loraBatchScratch<f32>(tokens, count, r, outFeatures, transpose);
}

export function dloraBatchScratch(tokens: i32, count: i32, r: i32, outFeatures: i32, transpose: i32): f64 {
  return loraBatchScratch<f64>(tokens, count, r, outFeatures, transpose);
}

export function sloraBatch(
  tokens: i32, inFeatures: i32, outFeatures: i32, x: usize, ldx: i32, y: usize, ldy: i32, ids: usize, count: i32, records: usize, scales: usize, work: usize,
): void {
  loraBatch<f32>(tokens, inFeatures, outFeatures, x, ldx, y, ldy, ids, count, records, scales, work);
}

export function dloraBatch(
  tokens: i32, inFeatures: i32, outFeatures: i32, x: usize, ldx: i32, y: usize, ldy: i32, ids: usize, count: i32, records: usize, scales: usize, work: usize,
): void {
  loraBatch<f64>(tokens, inFeatures, outFeatures, x, ldx, y, ldy, ids, count, records, scales, work);
}

export function sloraRecord(r: i32, a: usize, b: usize, bias: usize, scaling: f64, record: usize): void {
  loraRecord(r, a, b, bias, scaling, record);
}

export function dloraRecord(r: i32, a: usize, b: usize, bias: usize, scaling: f64, record: usize): void {
  loraRecord(r, a, b, bias, scaling, record);
}

export function sloraPageBytes(inFeatures: i32, outFeatures: i32): f64 {
  return loraPageBytes<f32>(inFeatures, outFeatures);
}

export function dloraPageBytes(inFeatures: i32, outFeatures: i32): f64 {
  return loraPageBytes<f64>(inFeatures, outFeatures);
}

export function sloraLinkPages(count: i32, first: usize, pageBytes: usize, next: usize): void {
  loraLinkPages(count, first, pageBytes, next);
}

export function dloraLinkPages(count: i32, first: usize, pageBytes: usize, next: usize): void {
  loraLinkPages(count, first, pageBytes, next);
}

export function sloraFreePages(count: i32, page: usize, next: usize): void {
  loraFreePages(count, page, next);
}

export function dloraFreePages(count: i32, page: usize, next: usize): void {
  loraFreePages(count, page, next);
}

export function sloraPagesRecord(page: usize): usize {
  return loraPagesRecord(page);
}

export function dloraPagesRecord(page: usize): usize {
  return loraPagesRecord(page);
}

export function sloraWritePages(
  inFeatures: i32, outFeatures: i32, r: i32, a: usize, b: usize, bias: usize, scaling: f64, page: usize,
): usize {
  return loraWritePages<f32>(inFeatures, outFeatures, r, a, b, bias, scaling, page);
}

export function dloraWritePages(
  inFeatures: i32, outFeatures: i32, r: i32, a: usize, b: usize, bias: usize, scaling: f64, page: usize,
): usize {
  return loraWritePages<f64>(inFeatures, outFeatures, r, a, b, bias, scaling, page);
}

export function sgatherRows(count: i32, n: i32, rows: usize, src: usize, dst: usize): void {
  gatherRows<f32>(count, n, rows, src, dst);
}

export function dgatherRows(count: i32, n: i32, rows: usize, src: usize, dst: usize): void {
  gatherRows<f64>(count, n, rows, src, dst);
}

export function sscatterRows(count: i32, n: i32, rows: usize, src: usize, dst: usize): void {
  scatterRows<f32>(count, n, rows, src, dst);
}

export function dscatterRows(count: i32, n: i32, rows: usize, src: usize, dst: usize): void {
  scatterRows<f64>(count, n, rows, src, dst);
}

export function saddRows(count: i32, n: i32, rows: usize, src: usize, dst: usize): void {
  addRows<f32>(count, n, rows, src, dst);
}

export function daddRows(count: i32, n: i32, rows: usize, src: usize, dst: usize): void {
  addRows<f64>(count, n, rows, src, dst);
}

export function sloraBackwardScratch(tokens: i32, r: i32): f64 {
  return loraBackwardScratch<f32>(tokens, r);
}

export function dloraBackwardScratch(tokens: i32, r: i32): f64 {
  return loraBackwardScratch<f64>(tokens, r);
}

export function sloraBackward(
  tokens: i32, inFeatures: i32, outFeatures: i32, x: usize, g: usize, r: i32, a: usize, b: usize, scaling: f32, da: usize, db: usize, dbias: usize, dx: usize, work: usize,
): void {
  loraBackward<f32>(tokens, inFeatures, outFeatures, x, g, r, a, b, scaling, da, db, dbias, dx, work);
}

export function dloraBackward(
  tokens: i32, inFeatures: i32, outFeatures: i32, x: usize, g: usize, r: i32, a: usize, b: usize, scaling: f64, da: usize, db: usize, dbias: usize, dx: usize, work: usize,
): void {
  loraBackward<f64>(tokens, inFeatures, outFeatures, x, g, r, a, b, scaling, da, db, dbias, dx, work);
}

export function ssumRows(m: i32, n: i32, alpha: f32, a: usize, y: usize): void {
  sumRows<f32>(m, n, alpha, a, y);
}

export function dsumRows(m: i32, n: i32, alpha: f64, a: usize, y: usize): void {
  sumRows<f64>(m, n, alpha, a, y);
}

export function sdoraNormsScratch(inFeatures: i32): f64 {
  return doraNormsScratch<f32>(inFeatures);
}

export function ddoraNormsScratch(inFeatures: i32): f64 {
  return doraNormsScratch<f64>(inFeatures);
}

export function sdoraNorms(
  inFeatures: i32, outFeatures: i32, w: usize, rsw: i32, csw: i32, r: i32, a: usize, b: usize, scaling: f32, norms: usize, work: usize,
): void {
  doraNorms<f32>(inFeatures, outFeatures, w, rsw, csw, r, a, b, scaling, norms, work);
}

export function ddoraNorms(
  inFeatures: i32, outFeatures: i32, w: usize, rsw: i32, csw: i32, r: i32, a: usize, b: usize, scaling: f64, norms: usize, work: usize,
): void {
  doraNorms<f64>(inFeatures, outFeatures, w, rsw, csw, r, a, b, scaling, norms, work);
}

export function sscaleColumns(m: i32, n: i32, x: usize, y: usize): void {
  scaleColumns<f32>(m, n, x, y);
}

export function dscaleColumns(m: i32, n: i32, x: usize, y: usize): void {
  scaleColumns<f64>(m, n, x, y);
}

export function sdoraFactors(n: i32, magnitude: usize, norms: usize, factors: usize): void {
  doraFactors<f32>(n, magnitude, norms, factors);
}

export function ddoraFactors(n: i32, magnitude: usize, norms: usize, factors: usize): void {
  doraFactors<f64>(n, magnitude, norms, factors);
}

export function sdoraScratch(tokens: i32, outFeatures: i32, r: i32): f64 {
  return doraScratch<f32>(tokens, outFeatures, r);
}

export function ddoraScratch(tokens: i32, outFeatures: i32, r: i32): f64 {
  return doraScratch<f64>(tokens, outFeatures, r);
}

export function sdoraForward(
  tokens: i32, inFeatures: i32, outFeatures: i32, x: usize, xd: usize, w: usize, rsw: i32, csw: i32, bias: usize, r: i32, a: usize, b: usize, scaling: f32, factors: usize, y: usize, work: usize,
): void {
  doraForward<f32>(tokens, inFeatures, outFeatures, x, xd, w, rsw, csw, bias, r, a, b, scaling, factors, y, work);
}

export function ddoraForward(
  tokens: i32, inFeatures: i32, outFeatures: i32, x: usize, xd: usize, w: usize, rsw: i32, csw: i32, bias: usize, r: i32, a: usize, b: usize, scaling: f64, factors: usize, y: usize, work: usize,
): void {
  doraForward<f64>(tokens, inFeatures, outFeatures, x, xd, w, rsw, csw, bias, r, a, b, scaling, factors, y, work);
}

export function sdoraBackward(
  tokens: i32, inFeatures: i32, outFeatures: i32, xd: usize, g: usize, w: usize, rsw: i32, csw: i32, r: i32, a: usize, b: usize, scaling: f32, norms: usize, factors: usize, dm: usize, scaled: usize, work: usize,
): void {
  doraBackward<f32>(tokens, inFeatures, outFeatures, xd, g, w, rsw, csw, r, a, b, scaling, norms, factors, dm, scaled, work);
}

export function ddoraBackward(
  tokens: i32, inFeatures: i32, outFeatures: i32, xd: usize, g: usize, w: usize, rsw: i32, csw: i32, r: i32, a: usize, b: usize, scaling: f64, norms: usize, factors: usize, dm: usize, scaled: usize, work: usize,
): void {
  doraBackward<f64>(tokens, inFeatures, outFeatures, xd, g, w, rsw, csw, r, a, b, scaling, norms, factors, dm, scaled, work);
}

export function sdoraMerge(rows: i32, columns: i32, fanInFanOut: bool, factors: usize, weight: usize): void {
  doraMerge<f32>(rows, columns, fanInFanOut, factors, weight);
}

export function ddoraMerge(rows: i32, columns: i32, fanInFanOut: bool, factors: usize, weight: usize): void {
  doraMerge<f64>(rows, columns, fanInFanOut, factors, weight);
}

export function sloraMerge(
  rows: i32, columns: i32, w: usize, rsw: i32, csw: i32, r: i32, a: usize, b: usize, scaling: f32, fanInFanOut: bool, merged: usize,
): f64 {
  return loraMerge<f32>(rows, columns, w, rsw, csw, r, a, b, scaling, fanInFanOut, merged);
}

export function dloraMerge(
  rows: i32, columns: i32, w: usize, rsw: i32, csw: i32, r: i32, a: usize, b: usize, scaling: f64, fanInFanOut: bool, merged: usize,
): f64 {
  return loraMerge<f64>(rows, columns, w, rsw, csw, r, a, b, scaling, fanInFanOut, merged);
}

export function spruneScratch(): f64 {
  return pruneScratch();
}

export function dpruneScratch(): f64 {
  return pruneScratch();
}

export function spruneMagnitude(n: i32, k: i32, x: usize, y: usize, work: usize): void {
  pruneMagnitude<f32>(n, k, x, y, work);
}

export function dpruneMagnitude(n: i32, k: i32, x: usize, y: usize, work: usize): void {
  pruneMagnitude<f64>(n, k, x, y, work);
}

export function selectAndMerge(n: i32, tasks: i32, x: usize, w: usize, frequency: bool, y: usize): void {
  electAndMerge<f32>(n, tasks, x, w, frequency, y);
}

export function delectAndMerge(n: i32, tasks: i32, x: usize, w: usize, frequency: bool, y: usize): void {
  electAndMerge<f64>(n, tasks, x, w, frequency, y);
}

export function sproductSvdScratch(m: i32, n: i32, r: i32): f64 {
  return productSvdScratch<f32>(m, n, r);
}

export function dproductSvdScratch(m: i32, n: i32, r: i32): f64 {
  return productSvdScratch<f64>(m, n, r);
}

export function sproductSvdBegin(work: usize): void {
  productSvdBegin<f32>(work);
}

export function dproductSvdBegin(work: usize): void {
  productSvdBegin<f64>(work);
}

export function sproductSvd(
  m: i32, n: i32, r: i32, c: usize, d: usize, ut: usize, s: usize, vt: usize, work: usize,
): i32 {
  return productSvd<f32>(m, n, r, c, d, ut, s, vt, work);
}

export function dproductSvd(
  m: i32, n: i32, r: i32, c: usize, d: usize, ut: usize, s: usize, vt: usize, work: usize,
): i32 {
  return productSvd<f64>(m, n, r, c, d, ut, s, vt, work);
}

// Files

export function sdecode(type: i32, n: i32, src: usize, dst: usize): void {
  decode<f32>(type, n, src, dst);
}

export function ddecode(type: i32, n: i32, src: usize, dst: usize): void {
  decode<f64>(type, n, src, dst);
}

export function sencode(type: i32, n: i32, src: usize, dst: usize, work: usize): void {
  encode<f32>(type, n, src, dst, work);
}

export function dencode(type: i32, n: i32, src: usize, dst: usize, work: usize): void {
  encode<f64>(type, n, src, dst, work);
}

// Training

export function sactivate(kind: i32, n: i32, x: usize, g: usize, y: usize): void {
  activate<f32>(kind, n, x, g, y);
}

export function dactivate(kind: i32, n: i32, x: usize, g: usize, y: usize): void {
  activate<f64>(kind, n, x, g, y);
}

export function ssoftmaxCrossEntropy(rows: i32, classes: i32, z: usize, labels: usize, grad: usize): f64 {
  return softmaxCrossEntropy<f32>(rows, classes, z, labels, grad);
}

export function dsoftmaxCrossEntropy(rows: i32, classes: i32, z: usize, labels: usize, grad: usize): f64 {
  return softmaxCrossEntropy<f64>(rows, classes, z, labels, grad);
}

export function smeanSquaredError(n: i32, x: usize, target: usize, grad: usize): f64 {
  return meanSquaredError<f32>(n, x, target, grad);
}

export function dmeanSquaredError(n: i32, x: usize, target: usize, grad: usize): f64 {
  return meanSquaredError<f64>(n, x, target, grad);
}

export function sadamw(
  n: i32, g: usize, p: usize, m: usize, v: usize, w1: f32, beta2: f32, w2: f32, decay: f32, step: f32, root: f32, eps: f32,
): void {
  adamw<f32>(n, g, p, m, v, w1, beta2, w2, decay, step, root, eps);
}

export function dadamw(
  n: i32, g: usize, p: usize, m: usize, v: usize, w1: f64, beta2: f64, w2: f64, decay: f64, step: f64, root: f64, eps: f64,
): void {
  adamw<f64>(n, g, p, m, v, w1, beta2, w2, decay, step, root, eps);
}

// An inner function, exported so that the optimiser keeps it apart from its only caller (ARCHITECTURE.md, "Hot loops").

export function stileRow(m: i32, n: i32, k: i32, alpha: f32, a: usize, b: usize, beta: f32, c: usize, ldc: i32): void {
  tileRow<f32>(m, n, k, alpha, a, b, beta, c, ldc);
}

export function dtileRow(m: i32, n: i32, k: i32, alpha: f64, a: usize, b: usize, beta: f64, c: usize, ldc: i32): void {
  tileRow<f64>(m, n, k, alpha, a, b, beta, c, ldc);
}
