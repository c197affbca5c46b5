// The best approximation of a given rank.

import type { TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import type { ProgressOptions } from "../progress.js";
import { runSteps } from "../scope.js";
import type { Steps } from "../slices.js";
import { placeMatrix } from "../svd/decompose.js";
import type { Svd } from "../svd/svd.js";
import { bytesOf, type DType, Tensor } from "../tensor.js";
import { checkRank, chooseRank, type Rank, truncation } from "./rank_rule.js";
import { decomposeScaled, scalars, timesPowerOfTwo, valuesOf } from "./values.js";

export interface LowRank<D extends DType = DType, S extends number | Tensor = number> extends Svd<D> {
  /** How many values were kept, k; in a batch the most that a matrix needs. */
  rank: number;
  /** ‖A − A_k‖ in both norms, from the values left out. */
  error: { frobenius: S; spectral: S };
  /** Share of Σσ² that was kept; 1 for a zero matrix. */
  energy: S;
}

/**
 * The best approximation A_k = U·diag(S)·Vᵀ of rank k (Eckart and Young 1936), by the thin SVD. k is `rank`; or the least with
 * Σ_{i≤k} σ² >= energy·Σσ²; or the least with ‖A − A_k‖_F <= tolerance·‖A‖_F, which may be 0. The errors come from the
 * values left out, summed from the smallest.
 *
 * @param a (…, m, n); a batch gets one rank, with which the rule holds for all of its matrices
 * @param rule one of `rank` (1…min(m, n)), `energy` (above 0, at most 1), `tolerance` (0…1)
 * @returns u (…, m, k), s (…, k), vt (…, k, n), which the caller owns, rank, error, energy: numbers, or for a batch
 *   tensors of its shape (`lowRank<Tensor>(…)` says so to the compiler)
 * @throws TypeError unless one rule is given; otherwise as svd()
 * @example
 * ```ts
 * import { init, lowRank } from "lowrank";
 * await init();
 * const { rank, error, energy } = lowRank([[4, 0], [0, 3]], { energy: 0.6 });
 * console.log(rank, error.spectral, energy.toFixed(2)); // 1 3 0.64
 * ```
 */
export function lowRank<D extends DType>(a: Tensor<D>, rule: Rank & ProgressOptions): LowRank<D>;
export function lowRank<S extends number | Tensor = number>(
  a: TensorLike,
  rule: Rank & ProgressOptions,
): LowRank<DType, S>;
export function lowRank(a: TensorLike, options: Rank & ProgressOptions): LowRank<DType, number | Tensor> {
  const { onProgress, signal, ...rule } = Object(options) as Rank & ProgressOptions;
  const chosen = Object(options) === options ? (rule as Rank) : options;
  return runSteps((runtime) => lowRankSteps(runtime, a, chosen), { onProgress, signal });
}

function* lowRankSteps(runtime: Runtime, a: TensorLike, rule: Rank): Steps<LowRank<DType, number | Tensor>> {
  const placed = placeMatrix(runtime, a, "a");
  const [m, n] = placed.shape.slice(-2) as [number, number];
  const chosen = checkRank(rule, "options", Math.min(m, n));
  const { u, s, vt, exponents } = yield* decomposeScaled(runtime, placed, "thin");
  const values = Array.from(exponents, (_, i) => valuesOf(s, i));
  const rank = values.reduce((most, one) => Math.max(most, chooseRank(one, chosen)), 0);
  const kept = values.map((one) => truncation(one, rank));
  const scaled = (key: "frobenius" | "spectral") =>
    scalars(
      runtime,
      placed,
      kept.map((one, i) => timesPowerOfTwo(one[key], exponents[i] as number)),
    );
  return {
    ...truncated(runtime, { u, s, vt }, rank, exponents),
    rank,
    error: { frobenius: scaled("frobenius"), spectral: scaled("spectral") },
    energy: scalars(
      runtime,
      placed,
      kept.map(({ energy }) => energy),
    ),
  };
}

/** The first k values of every matrix of a batch, unscaled, and their vectors. */
function truncated(runtime: Runtime, { u, s, vt }: Svd, k: number, exponents: Int32Array): Svd {
  const { dtype } = s;
  const { lacpy } = runtime[dtype];
  const batch = s.shape.slice(0, -1);
  const [p, n] = vt.shape.slice(-2) as [number, number];
  const m = u.shape[u.ndim - 2] as number;
  const count = exponents.length;
  const data = s.data;
  exponents.forEach((e, i) => {
    if (e !== 0) for (let j = i * p; j < (i + 1) * p; j++) data[j] = timesPowerOfTwo(data[j] as number, e);
  });
  if (k === p) return { u, s, vt };
  const first = {
    u: Tensor.allocate(runtime, [...batch, m, k], dtype),
    s: Tensor.allocate(runtime, [...batch, k], dtype),
    vt: Tensor.allocate(runtime, [...batch, k, n], dtype),
  };
  // the vectors of u stand one after the other, rows of all matrices alike; those of vt in blocks
  lacpy(count * m, k, u.pointer, p, 1, first.u.pointer, k);
  lacpy(count, k, s.pointer, p, 1, first.s.pointer, k);
  for (let i = 0; i < count; i++) {
    const step = n * bytesOf(dtype);
    lacpy(1, k * n, vt.pointer + i * p * step, k * n, 1, first.vt.pointer + i * k * step, k * n);
  }
  return first;
}
