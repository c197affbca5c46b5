// Pictures of rank k at some size: the sum of k columns of U times as many rows of S·Vᵀ. Sums are kept at some ranks, so that
// every other one is a few terms away, and a frame costs as much at rank 1000 as at rank 10.

import { empty, type Tensor } from "lowrank";
import type { Remote } from "lowrank/worker";
import { turn } from "../ui/dom.js";
import type { Factors } from "./decomposition.js";

/** Numbers that are copied or drawn without a break. */
const LARGE = 2 ** 19;

/** Rows of a picture. */
export interface Strip {
  row: number;
  /** (rows, width) */
  channels: Tensor[];
}

export class Sums {
  readonly #remote: Remote;
  readonly #left: Tensor[];
  readonly #right: Tensor[];
  /** By rank; at 0 it is black, and needs no memory. */
  readonly #kept = new Map<number, Tensor[]>();
  readonly height: number;
  readonly width: number;

  /** @param left (height, k) and `right` (k, width) of each channel: their product is the channel */
  private constructor(remote: Remote, left: Tensor[], right: Tensor[]) {
    this.#remote = remote;
    this.#left = left;
    this.#right = right;
    [this.height] = (left[0] as Tensor).shape as [number];
    [, this.width] = (right[0] as Tensor).shape as [number, number];
  }

  /** At the size of the picture itself. Takes the factors over. */
  static async whole(remote: Remote, factors: Factors[]): Promise<Sums> {
    const right: Tensor[] = [];
    for (const { s, vt } of factors) {
      right.push(await scaled(remote, s, vt));
      vt.dispose();
    }
    return new Sums(
      remote,
      factors.map(({ u }) => u),
      right,
    );
  }

  /** Smaller: averaging rows of U and columns of S·Vᵀ gives exactly the averaged picture, at the cost of the small one. */
  async smaller(height: number, width: number): Promise<Sums> {
    const [left, right]: [Tensor[], Tensor[]] = [[], []];
    for (const u of this.#left) left.push(await averageRows(this.#remote, u, height));
    for (const v of this.#right) right.push(await averageColumns(this.#remote, v, width));
    return new Sums(this.#remote, left, right);
  }

  get #rank(): number {
    return (this.#right[0] as Tensor).shape[0] as number;
  }

  /** Keeps sums so that no rank is more than `flops` operations away from one. `all`: the channels, which are the sums of all terms. */
  async keep(flops: number, all: Tensor[], signal: AbortSignal): Promise<void> {
    const reach = Math.max(1, Math.floor(flops / (2 * this.height * this.width * this.#left.length)));
    for (let k = 2 * reach; k + reach < this.#rank; k += 2 * reach) {
      const sums = this.#left.map(() => empty([this.height, this.width], "f32"));
      for await (const { row, channels } of this.picture(k, signal)) {
        for (const [c, channel] of channels.entries()) sums[c]?.data.set(channel.data, row * this.width);
      }
      this.#kept.set(k, sums);
    }
    this.#kept.set(
      this.#rank,
      all.map((one) => one.reshape(one.shape)),
    );
  }

  /** The picture of rank k, from the top: while one strip is drawn, the next is computed. A strip is valid until the next one. */
  async *picture(k: number, signal: AbortSignal): AsyncGenerator<Strip, void> {
    const rows = Math.max(1, Math.floor(LARGE / this.width));
    let next = this.#strip(k, 0, rows, signal);
    for (let row = 0; row < this.height; row += rows) {
      const channels = await next;
      if (row + rows < this.height) {
        next = this.#strip(k, row + rows, rows, signal);
        // whoever stops in between does not wait for it
        next.catch(() => {});
      }
      try {
        yield { row, channels };
      } finally {
        for (const channel of channels) channel.dispose();
      }
    }
  }

  async #strip(k: number, row: number, rows: number, signal: AbortSignal): Promise<Tensor[]> {
    await turn();
    signal.throwIfAborted();
    const from = [0, ...this.#kept.keys()].reduce((best, one) => (Math.abs(one - k) < Math.abs(best - k) ? one : best));
    const [first, end] = [Math.min(from, k), Math.max(from, k)];
    const sums = this.#kept.get(from);
    const below = Math.min(this.height, row + rows);
    const parts: Tensor[] = [];
    const products = this.#left.map((factor, c) => {
      const left = factor.subtensor(row, below).transpose().subtensor(first, end).transpose();
      const right = (this.#right[c] as Tensor).subtensor(first, end);
      parts.push(left, right);
      // terms are added to a sum of less, or taken away from a sum of more
      return this.#remote.matmul(left, right, { alpha: from < k ? 1 : -1, signal });
    });
    try {
      const terms = await Promise.all(products);
      if (sums !== undefined) for (const [c, one] of terms.entries()) add(one, sums[c] as Tensor, row * this.width);
      return terms;
    } finally {
      for (const part of parts) part.dispose();
    }
  }

  dispose(): void {
    for (const one of [this.#left, this.#right, ...this.#kept.values()].flat()) one.dispose();
  }
}

/** Adds the numbers of a sum from a place on: as much work as to copy them to where the terms are computed. */
function add(terms: Tensor, sum: Tensor, first: number): void {
  const [to, from] = [terms.data, sum.data.subarray(first, first + terms.size)];
  for (let i = 0; i < to.length; i++) to[i] = (to[i] as number) + (from[i] as number);
}

/** A channel at a smaller size, each pixel the average of those that it covers. */
export async function average(remote: Remote, channel: Tensor, height: number, width: number): Promise<Tensor> {
  const rows = await averageRows(remote, channel, height);
  const both = await averageColumns(remote, rows, width);
  rows.dispose();
  return both;
}

/** Averages of neighbouring rows: a product with a sparse matrix, whose rows are weights that add up to one. */
async function averageRows(remote: Remote, a: Tensor, rows: number): Promise<Tensor> {
  const [from] = a.shape as [number];
  const [data, indices, indptr] = [[] as number[], [] as number[], [0]];
  const width = from / rows;
  for (let row = 0; row < rows; row++) {
    const [begin, end] = [row * width, (row + 1) * width];
    for (let i = Math.floor(begin); i < Math.min(from, Math.ceil(end)); i++) {
      data.push((Math.min(i + 1, end) - Math.max(i, begin)) / width);
      indices.push(i);
    }
    indptr.push(data.length);
  }
  const weights = await remote.csr({ data: Float32Array.from(data), indices, indptr, shape: [rows, from] });
  const averages = await weights.multiply(a);
  weights.dispose();
  return averages;
}

/** Averages of neighbouring columns, a block of rows at a time: without shared memory the page copies what it hands over. */
async function averageColumns(remote: Remote, a: Tensor, columns: number): Promise<Tensor> {
  const [rows, from] = a.shape as [number, number];
  const out = empty([rows, columns], "f32");
  const step = Math.max(1, Math.floor(LARGE / from));
  for (let row = 0; row < rows; row += step) {
    const end = Math.min(rows, row + step);
    const block = await averageRows(remote, a.subtensor(row, end).transpose(), columns);
    out.data.set(block.transpose().toTyped(), row * columns);
    block.dispose();
  }
  return out;
}

/** diag(s)·vt */
async function scaled(remote: Remote, s: Tensor, vt: Tensor): Promise<Tensor> {
  const k = s.size;
  const indices = Int32Array.from({ length: k }, (_, i) => i);
  const indptr = Int32Array.from({ length: k + 1 }, (_, i) => i);
  const diagonal = await remote.csr({ data: s, indices, indptr, shape: [k, k] });
  const product = await diagonal.multiply(vt);
  diagonal.dispose();
  return product;
}
