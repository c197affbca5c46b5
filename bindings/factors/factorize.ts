// Factor models of ratings: alternating least squares, and the SVD of the matrix filled with means and biases.

import { checkBoolean, checkFinite, checkInteger, checkOneOf, checkOptions, describe, expected } from "../check.js";
import { ConvergenceError } from "../errors.js";
import type { Runtime } from "../load.js";
import { decodeMultiplier } from "../operator.js";
import { PROGRESS, type ProgressOptions } from "../progress.js";
import { checkSeed, STREAM } from "../random.js";
import { randomizedSteps } from "../randomized/randomized_svd.js";
import { runSteps } from "../scope.js";
import { routineOf, shareSlices } from "../share.js";
import { mapped, type Steps, silently } from "../slices.js";
import { Csr } from "../sparse/csr.js";
import { decompose } from "../svd/decompose.js";
import type { Svd } from "../svd/svd.js";
import { bytesOf, type DType, Tensor } from "../tensor.js";
import { Factorization, type Sides } from "./factorization.js";
import { normalize, type Rows, rowsOf, scaleBy, transposed } from "./ratings.js";

const METHODS = ["als", "svd"] as const;

export interface FactorizeOptions extends ProgressOptions {
  /** Numbers that describe a user and an item. Default 50, or the shorter side of the matrix where "svd" allows no more. */
  factors?: number | undefined;
  /**
   * "als": alternating least squares over the ratings that are there; "svd": the nearest matrix of that rank to the one whose gaps
   * are filled with means and biases (by randomizedSvd where it is large). Default "als".
   */
  method?: (typeof METHODS)[number] | undefined;
  /**
   * Weight of ‖p_u‖² and ‖q_i‖², times the number of ratings of the user or item ("als" alone; default 0.1), and of b_u² and
   * c_i² (`biases`, default 5, as that many ratings of average). A number is that of the factors.
   */
  regularization?: number | { factors?: number | undefined; biases?: number | undefined } | undefined;
  /** Passes over users and items; with "svd" those that find the biases. Default 10. */
  iterations?: number | undefined;
  /** Whether the model has a mean and biases. Without, r ≈ p·q alone. Default true. */
  biased?: boolean | undefined;
  /** Of the start values. Default 0. */
  seed?: number | undefined;
}

/** Elements of a matrix whose SVD is computed in full. */
const LARGEST_DENSE = 2 ** 18;

/** The options, checked and complete. */
interface Settings {
  factors: number | undefined;
  method: (typeof METHODS)[number];
  lambda: number;
  damping: number;
  iterations: number;
  biased: boolean;
  seed: number;
}

/**
 * A model of ratings r ≈ mean + b_u + c_i + p_u·q_i with biases b, c and `factors` numbers p, q for each user and item. "als"
 * minimises Σ (r − prediction)² + λ·(Σ n_u·‖p_u‖² + Σ n_i·‖q_i‖²) + δ·(Σ b_u² + Σ c_i²) over the ratings that are there, n of
 * a user or an item (Zhou et al. 2008); each half pass finds the best factors and biases of one side, so that the sum never grows.
 *
 * Defaults are LensKit's: 50 factors, λ 0.1, biases damped by 5, 10 passes. A user or an item without ratings has zero
 * factors and no bias: its predictions are mean and the other's bias.
 *
 * @param ratings (users, items); entries that are stored are ratings, zeros among them, all others unknown
 * @returns the model; the caller owns it
 * @throws TypeError if `ratings` is no Csr; RangeError for an option out of its range; NonFiniteError for a rating that is NaN
 *   or Infinity; the signal's reason if it is aborted
 * @example
 * ```ts
 * import { csr, factorize, init } from "lowrank";
 * await init();
 * // four users, three films: two tastes
 * const ratings = csr.fromCoo([0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 0, 1, 1, 2, 0, 2], [5, 1, 5, 1, 5, 5, 1, 5], [4, 3]);
 * const model = factorize(ratings, { factors: 1, regularization: 0.01 });
 * console.log(model.predict(0, 0) > model.predict(0, 1)); // true
 * console.log(model.recommend(1, 1, { exclude: ratings })[0]?.item); // 2
 * model.dispose();
 * ```
 */
export function factorize<D extends DType>(ratings: Csr<D>, options?: FactorizeOptions): Factorization<D> {
  return runSteps((runtime) => factorizeSteps(runtime, ratings, options), options);
}

function* factorizeSteps<D extends DType>(
  runtime: Runtime,
  ratings: Csr<D>,
  options: FactorizeOptions | undefined,
): Steps<Factorization<D>> {
  const settings = check(options);
  const rows = rowsOf(ratings, "ratings");
  const { dtype } = ratings;
  const least = Math.min(rows.rows, rows.columns);
  if (settings.method === "svd" && (settings.factors ?? 0) > least) {
    throw new RangeError(expected("factors", `at most min(users, items) = ${least}`, `${settings.factors}`));
  }
  decodeMultiplier(runtime, ratings, "ratings"); // finds NaN and Infinity
  const { rows: byUser, mean, exponent } = normalize(runtime, dtype, rows, settings.biased);
  const found =
    settings.method === "als"
      ? yield* alternate(runtime, dtype, byUser, settings.factors ?? 50, exponent, settings)
      : yield* decomposeFilled(runtime, ratings, byUser, Math.min(settings.factors ?? 50, least), exponent, settings);
  scaleBy(runtime, dtype, found.users.size, found.users.pointer, exponent / 2);
  scaleBy(runtime, dtype, found.items.size, found.items.pointer, exponent / 2);
  scaleBy(runtime, dtype, rows.rows, found.userBias.pointer, exponent);
  scaleBy(runtime, dtype, rows.columns, found.itemBias.pointer, exponent);
  return new Factorization(found, mean) as Factorization<D>;
}

function check(options: FactorizeOptions | undefined): Settings {
  const given = checkOptions(options, [
    ...(["factors", "method", "regularization", "iterations", "biased", "seed"] as const),
    ...PROGRESS,
  ]);
  const { factors, method, iterations, biased } = given;
  return {
    factors: factors === undefined ? undefined : checkInteger(factors, "factors", 1, 2 ** 15),
    method: method === undefined ? "als" : checkOneOf(method, "method", METHODS),
    ...checkRegularization(given.regularization),
    iterations: iterations === undefined ? 10 : checkInteger(iterations, "iterations", 1, 2 ** 31 - 1),
    biased: biased === undefined ? true : checkBoolean(biased, "biased"),
    seed: checkSeed(given.seed),
  };
}

function checkRegularization(given: FactorizeOptions["regularization"]): { lambda: number; damping: number } {
  if (given !== undefined && typeof given !== "number" && (typeof given !== "object" || given === null)) {
    throw new TypeError(expected("regularization", "a number or an object", describe(given)));
  }
  const parts =
    typeof given === "number" ? { factors: given } : checkOptions(given, ["factors", "biases"], "regularization");
  const weight = (value: number | undefined, name: string, byDefault: number) => {
    if (value === undefined) return byDefault;
    const number = checkFinite(value, name);
    if (number < 0) throw new RangeError(expected(name, "a number >= 0", String(number)));
    return number;
  };
  return {
    lambda: weight(parts.factors, typeof given === "number" ? "regularization" : "regularization.factors", 0.1),
    damping: weight((parts as { biases?: number }).biases, "regularization.biases", 5),
  };
}

/** Operations of a team's slice. */
const SLICE = 1e8;

/** Alternating least squares on normalised ratings. */
function* alternate(
  runtime: Runtime,
  dtype: DType,
  byUser: Rows,
  k: number,
  exponent: number,
  { method, lambda, damping, iterations, biased, seed }: Settings,
): Steps<Sides> {
  const routines = runtime[dtype];
  const bytes = bytesOf(dtype);
  const kp = routines.paddedFactors(k);
  const byItem = transposed(runtime, dtype, byUser);
  const { rows: m, columns: n } = byUser;
  const [p, q] = [runtime.scratch.push(m * kp * bytes), runtime.scratch.push(n * kp * bytes)];
  const [userBias, itemBias] = [Tensor.allocate(runtime, [m], dtype), Tensor.allocate(runtime, [n], dtype)];
  routines.fill(n, 0, itemBias.pointer);
  if (k > 0) routines.alsStart(0, n, k, kp, seed, STREAM.init, q);
  const workBytes = routines.alsScratch(kp);
  const work = runtime.scratch.push(workBytes * (runtime.team?.asked ?? 1));
  // in the scale of the ratings, products of factors are 2^exponent times smaller
  const weight = lambda === 0 ? 0 : lambda * 2 ** -exponent;
  // with "svd" the biases are the first half
  const total = (method === "svd" ? 4 : 2) * iterations;
  let done = 0;
  const progress = () => ({ done, total });
  function* half(rows: Rows, other: number, otherBias: Tensor, own: number, ownBias: Tensor): Steps<void> {
    const { indptr, indices, values: ratings, rows: length, count } = rows;
    const [otherBiases, ownBiases] = [otherBias.pointer, ownBias.pointer];
    const args = [
      kp,
      indptr,
      indices,
      ratings,
      other,
      otherBiases,
      own,
      ownBiases,
      weight,
      damping,
      biased ? 1 : 0,
      work,
    ] as const;
    const ready = routineOf(dtype, "alsBegin");
    const range = {
      routine: routineOf(dtype, "alsRows"),
      ready,
      values: [0, 0, ...args],
      begin: 0,
      end: 1,
      work: 13,
      workBytes,
    };
    // of a row: its ratings, and a system
    const operations = (count / Math.max(length, 1)) * (kp + 4) ** 2 + (kp + 1) ** 3 / 3;
    const alone = {
      ready: () => routines.alsBegin(work),
      slice: (first: number) => routines.alsRows(first, length, ...args),
    };
    const together = Math.ceil(SLICE / operations);
    yield progress;
    const failed = yield* silently(shareSlices(runtime, { ...range, length }, operations, together, {}, alone));
    if (failed > 0) throw new ConvergenceError("factorize", 1);
    done++;
  }
  for (let i = 0; i < iterations; i++) {
    yield* half(byUser, q, itemBias, p, userBias);
    yield* half(byItem, p, userBias, q, itemBias);
  }
  const [users, items] = [Tensor.allocate(runtime, [m, k], dtype), Tensor.allocate(runtime, [n, k], dtype)];
  routines.lacpy(m, k, p, kp, 1, users.pointer, k);
  routines.lacpy(n, k, q, kp, 1, items.pointer, k);
  yield progress;
  return { users, items, userBias, itemBias };
}

/** Biases by as many passes, then p = U·√S and q = V·√S of the k largest values of what they leave, gaps being 0. */
function* decomposeFilled(
  runtime: Runtime,
  ratings: Csr,
  byUser: Rows,
  k: number,
  exponent: number,
  settings: Settings,
): Steps<Sides> {
  const { dtype, shape, lists } = ratings;
  const { rows: m, columns: n, count, indptr, indices, values } = byUser;
  const { userBias, itemBias } = yield* alternate(runtime, dtype, byUser, 0, exponent, settings);
  const data = Tensor.allocate(runtime, [count], dtype);
  runtime[dtype].ratingsResiduals(0, m, indptr, indices, values, userBias.pointer, itemBias.pointer, data.pointer);
  const residuals = Csr.make(shape, { ...lists, data });
  const { u, s, vt } = yield* truncated(runtime, residuals, k, settings);
  yield () => ({ done: 4 * settings.iterations, total: 4 * settings.iterations });
  const side = (from: Tensor, length: number) => {
    const [rowStride, columnStride] = from.strides as [number, number];
    const out = Tensor.allocate(runtime, [length, k], dtype);
    runtime[dtype].rootScaled(length, k, from.pointer, rowStride, columnStride, s.pointer, out.pointer);
    return out;
  };
  return { users: side(u, m), items: side(vt.transpose(), n), userBias, itemBias };
}

/** The k largest values and their vectors of a sparse matrix, which is disposed of: exact ones of a small matrix. */
function* truncated(runtime: Runtime, a: Csr, k: number, { iterations, seed }: Settings): Steps<Svd> {
  const [m, n] = a.shape;
  try {
    if (m * n <= LARGEST_DENSE) return yield* silently(decompose(runtime, a.toDense(), "thin"));
    // the second half of the whole
    return yield* mapped(randomizedSteps(runtime, a, k, { seed }), ({ done, total }) => ({
      done: 2 * iterations * (1 + done / total),
      total: 4 * iterations,
    }));
  } finally {
    a.dispose();
  }
}
