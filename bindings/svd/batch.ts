// Decompositions of a batch in one call of the kernel, which takes small matrices together, one a SIMD lane.

import { sizeOf } from "../check.js";
import { ConvergenceError } from "../errors.js";
import type { Runtime } from "../load.js";
import { routineOf, shareSlices } from "../share.js";
import type { Steps } from "../slices.js";
import type { Tensor } from "../tensor.js";
import { svdOperations } from "./decompose.js";

/** Groups that the kernel takes together at most. */
const TOGETHER = 8;
/** Operations of a team's slice, over groups taken together, and of a group whose own steps the team shares. */
const SLICE = 1e7;
const LARGE = 1e8;

/**
 * Decomposes every matrix of `a` (…, m, n) into the contiguous u, s and vt; `job` is 0 (none), 1 (thin) or 2 (full).
 * A matrix's digits depend neither on its place nor on what else is in the batch.
 */
export function* decomposeBatch(
  runtime: Runtime,
  a: Tensor,
  job: number,
  u: Tensor | undefined,
  s: Tensor,
  vt: Tensor | undefined,
): Steps<void> {
  const { gesvdBatch, gesvdBatchBegin, gesvdBatchGroups, gesvdBatchScratch } = runtime[a.dtype];
  const axes = a.ndim - 2;
  const count = sizeOf(a.shape.slice(0, axes));
  const [m, n] = a.shape.slice(axes) as [number, number];
  const step = batchStride(a);
  // axes that do not follow each other at one distance: a copy has them in order
  const source = step === undefined ? a.copy() : a;
  const [rowStride, columnStride] = source.strides.slice(axes) as [number, number];
  const bytes = gesvdBatchScratch(m, n, job);
  const work = runtime.scratch.push(bytes * (runtime.team?.asked ?? 1));
  const values = [source.pointer, step ?? m * n, rowStride, columnStride, u?.pointer ?? 0, s.pointer, vt?.pointer ?? 0];
  const [a0, sa, rs, cs, pu, ps, pvt] = values as [number, number, number, number, number, number, number];
  const groups = gesvdBatchGroups(count);
  const range = {
    routine: routineOf(a.dtype, "gesvdBatch"),
    ready: routineOf(a.dtype, "gesvdBatchBegin"),
    values: [0, 0, count, m, n, job, ...values, work],
    begin: 0,
    end: 1,
    length: groups,
    work: 13,
    workBytes: bytes,
  };
  const [long, p] = [Math.max(m, n), Math.min(m, n)];
  const vectors = job === 0 ? 0 : 16 * p ** 3 + 4 * long * p * p;
  // as the kernel counts them: about five sweeps; or one matrix after the other
  const one = p > 32 ? svdOperations(m, n, job) : 24 * p ** 3 + 6 * long * p * p + 100 * p + vectors + 1;
  const operations = (count / groups) * one;
  const alone = (first: number) => gesvdBatch(first, groups, count, m, n, job, a0, sa, rs, cs, pu, ps, pvt, work);
  const together = operations < LARGE ? Math.ceil(SLICE / operations) * TOGETHER : 0;
  const failed = yield* shareSlices(
    runtime,
    range,
    operations,
    together,
    { unit: TOGETHER },
    {
      ready: () => gesvdBatchBegin(work),
      slice: alone,
    },
  );
  if (failed > 0) throw new ConvergenceError("svd", failed);
}

/** Elements from a matrix of a batch to the next; undefined where there is no one such number. */
function batchStride(a: Tensor): number | undefined {
  let step: number | undefined;
  let next = 0;
  for (let axis = a.ndim - 3; axis >= 0; axis--) {
    const length = a.shape[axis] as number;
    const stride = a.strides[axis] as number;
    if (length === 1) continue;
    if (step === undefined) step = stride;
    else if (stride !== next) return undefined;
    next = stride * length;
  }
  return step ?? 0;
}
