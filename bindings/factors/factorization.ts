// A factor model of ratings and what it predicts.

import { checkInteger, checkOptions, describe, expected, MAX_SIZE, shapeText } from "../check.js";
import type { Runtime } from "../load.js";
import { decodeMultiplier } from "../operator.js";
import { run, runSteps } from "../scope.js";
import { inSlices, type Steps } from "../slices.js";
import { Csr } from "../sparse/csr.js";
import { bytesOf, type DType, numbersAt, type Tensor } from "../tensor.js";
import { type Rows, rowsOf } from "./ratings.js";

/** An item and the rating predicted for it. */
export interface Recommendation {
  item: number;
  score: number;
}

/** @internal Factors and biases of users and items. */
export interface Sides<D extends DType = DType> {
  users: Tensor<D>;
  items: Tensor<D>;
  userBias: Tensor<D>;
  itemBias: Tensor<D>;
}

/** Bytes of a slice's head, behind which ratingsError leaves its sum. */
const HEAD_BYTES = 64;

/**
 * What factorize() found: a rating is mean + userBias[u] + itemBias[i] + users[u]·items[i]. The object owns its tensors.
 */
export class Factorization<D extends DType = DType> implements Disposable {
  /** (users, factors) */
  readonly users: Tensor<D>;
  /** (items, factors) */
  readonly items: Tensor<D>;
  /** (users,) */
  readonly userBias: Tensor<D>;
  /** (items,) */
  readonly itemBias: Tensor<D>;
  /** The mean of all ratings; 0 of a model without biases. */
  readonly mean: number;

  /** @internal */
  constructor({ users, items, userBias, itemBias }: Sides<D>, mean: number) {
    this.users = users.hold();
    this.items = items.hold();
    this.userBias = userBias.hold();
    this.itemBias = itemBias.hold();
    this.mean = mean;
  }

  get dtype(): D {
    return this.users.dtype;
  }

  /** (users, items) */
  get shape(): readonly [number, number] {
    return [this.users.shape[0] as number, this.items.shape[0] as number];
  }

  /**
   * The rating that a user is expected to give to an item.
   *
   * @throws RangeError if there is no such user or item
   */
  predict(user: number, item: number): number {
    return run((runtime) => {
      const [users, items] = this.shape;
      checkInteger(user, "user", 0, users - 1);
      checkInteger(item, "item", 0, items - 1);
      const scores = this.#scores(runtime, user, item, item + 1);
      return scores[0] as number;
    });
  }

  /**
   * The n items with the highest predicted ratings for a user, best first; of equal ones the earlier first.
   *
   * @param options.exclude items to leave out: their numbers, or ratings (users, items) of which the user's are left out
   * @returns fewer than n where there are no more
   * @throws RangeError if there is no such user or item
   */
  recommend(
    user: number,
    n: number,
    options?: { exclude?: Csr | readonly number[] | Int32Array | undefined },
  ): Recommendation[] {
    return run((runtime) => {
      const [users, items] = this.shape;
      checkInteger(user, "user", 0, users - 1);
      checkInteger(n, "n", 0, MAX_SIZE);
      const { exclude } = checkOptions(options, ["exclude"]);
      const out = exclude === undefined ? [] : this.#excluded(runtime, exclude, user);
      const count = Math.min(n, items);
      const best = runtime.scratch.push(4 * count);
      const scores = this.#scores(runtime, user, 0, items);
      for (const item of out) scores[item] = Number.NEGATIVE_INFINITY;
      const found = runtime[this.dtype].largestScores(items, scores.byteOffset, count, best);
      return Array.from(new Int32Array(runtime.memory.buffer, best, found), (item) => ({
        item,
        score: scores[item] as number,
      }));
    });
  }

  /** Predictions of a user for items first…last, in working memory. */
  #scores(runtime: Runtime, user: number, first: number, last: number): Float32Array | Float64Array {
    const { dtype, mean } = this;
    const k = this.users.shape[1] as number;
    const base = mean + (this.userBias.data[user] as number);
    const p = this.users.pointer + user * k * bytesOf(dtype);
    const scores = runtime.scratch.push((last - first) * bytesOf(dtype));
    runtime[dtype].ratingsPredict(first, last, k, p, this.items.pointer, base, this.itemBias.pointer, scores);
    return numbersAt(runtime.memory, dtype, scores, last - first);
  }

  #excluded(runtime: Runtime, exclude: unknown, user: number): ArrayLike<number> & Iterable<number> {
    if (exclude instanceof Csr) {
      const { indptr, indices } = this.#rowsOf(exclude, "exclude");
      const [start, end] = new Int32Array(runtime.memory.buffer, indptr + 4 * user, 2);
      return new Int32Array(
        runtime.memory.buffer,
        indices + 4 * (start as number),
        (end as number) - (start as number),
      );
    }
    if (!Array.isArray(exclude) && !(exclude instanceof Int32Array)) {
      throw new TypeError(expected("exclude", "a Csr or an array of items", describe(exclude)));
    }
    for (let i = 0; i < exclude.length; i++) checkInteger(exclude[i], `exclude[${i}]`, 0, this.shape[1] - 1);
    return exclude;
  }

  #rowsOf(ratings: Csr, argument: string): Rows {
    const rows = rowsOf(ratings, argument);
    const [users, items] = this.shape;
    if (rows.rows !== users || rows.columns !== items) {
      throw new RangeError(expected(argument, `shape ${shapeText(this.shape)}`, shapeText([rows.rows, rows.columns])));
    }
    return rows;
  }

  /**
   * Root mean square of the differences between ratings and predictions; NaN for no ratings.
   *
   * @param ratings (users, items), of the dtype of the model
   * @throws RangeError for another shape; TypeError for another dtype; NonFiniteError
   */
  rmse(ratings: Csr<D>): number {
    return runSteps((runtime) => this.#rmse(runtime, ratings));
  }

  *#rmse(runtime: Runtime, ratings: Csr<D>): Steps<number> {
    const { dtype } = this;
    const rows = this.#rowsOf(ratings, "ratings");
    if (ratings.dtype !== dtype) throw new TypeError(expected("ratings", `${dtype} as the model`, ratings.dtype));
    decodeMultiplier(runtime, ratings, "ratings"); // finds NaN and Infinity
    if (rows.count === 0) return Number.NaN;
    // squares of numbers beyond 1e154 overflow, those below 1e-154 vanish
    for (const e of [0, 600, -500]) {
      const sum = yield* this.#squares(runtime, rows, e);
      if (sum < Infinity && (sum > 1e-280 || e < 0)) return Math.sqrt(sum / rows.count) * 2 ** e;
    }
    return Infinity;
  }

  /** The sum of the squares of errors·2^-e. */
  *#squares(runtime: Runtime, { rows, indptr, indices, values }: Rows, e: number): Steps<number> {
    const { dtype, users, items, userBias, itemBias, mean } = this;
    const { ratingsError, ratingsErrorBegin, ratingsErrorScratch } = runtime[dtype];
    const work = runtime.scratch.push(ratingsErrorScratch());
    ratingsErrorBegin(work);
    yield* inSlices(() =>
      ratingsError(
        0,
        rows,
        users.shape[1] as number,
        indptr,
        indices,
        values,
        users.pointer,
        items.pointer,
        userBias.pointer,
        itemBias.pointer,
        mean,
        e,
        work,
      ),
    );
    return new Float64Array(runtime.memory.buffer, work + HEAD_BYTES, 1)[0] as number;
  }

  /** Gives the factors back; a second call does nothing. */
  dispose(): void {
    this.users.dispose();
    this.items.dispose();
    this.userBias.dispose();
    this.itemBias.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
