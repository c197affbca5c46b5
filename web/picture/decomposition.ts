// A picture is three matrices, one a channel. Their singular value decompositions: the first 64 values within a second or two,
// all of them in the background.

import { type Tensor, truncationRank } from "lowrank";
import { worker } from "../kernel.js";
import type { TaskOptions } from "../ui/task.js";

/** What the first look has of each channel. */
const FIRST = 64;

/** A channel A (m, n) as U·diag(S)·Vᵀ: u (m, k), s (k,), vt (k, n). */
export interface Factors {
  u: Tensor;
  s: Tensor;
  vt: Tensor;
}

export interface Decomposition {
  factors: Factors[];
  /** ‖A‖_F of each channel. */
  norms: number[];
  /** The highest rank, k. */
  rank: number;
  /** Whether these are all values. */
  isExact: boolean;
}

/** The largest values by random vectors (Halko, Martinsson and Tropp): a few products, whatever the size. */
export async function firstLook(channels: Tensor[], { signal }: TaskOptions): Promise<Decomposition> {
  const remote = await worker("picture");
  const rank = Math.min(FIRST, ...(channels[0] as Tensor).shape);
  const factors: Factors[] = [];
  const norms: number[] = [];
  for (const channel of channels) {
    factors.push(await remote.randomizedSvd(channel, rank, { powerIterations: 2, seed: 1, signal }));
    norms.push((await remote.norm(channel, "fro", { signal })) as number);
  }
  return { factors, norms, rank, isExact: rank === Math.min(...(channels[0] as Tensor).shape) };
}

/** All values and vectors, to the last digit; it takes seconds, can be stopped, and tells how far it is. */
export async function decompose(
  channels: Tensor[],
  norms: number[],
  { signal, onProgress }: TaskOptions,
): Promise<Decomposition> {
  const remote = await worker("background");
  const factors: Factors[] = [];
  for (const [i, channel] of channels.entries()) {
    const options = {
      signal,
      onProgress: ({ done, total }: { done: number; total: number }) =>
        onProgress({ done: i + done / total, total: channels.length }),
    };
    factors.push(await remote.svd(channel, options));
  }
  return { factors, norms, rank: Math.min(...(channels[0] as Tensor).shape), isExact: true };
}

/**
 * What rank k leaves out: ‖A − A_k‖/‖A‖ over all channels, and the share of the energy Σσ² that it keeps. Where the values end
 * at 64, ‖A‖² − Σσ² is the rest: also exact, for the factors of randomizedSvd() are a projection of A.
 */
export function quality({ factors, norms, isExact }: Decomposition, k: number): { error: number; energy: number } {
  let [lost, total] = [0, 0];
  for (const [i, { s }] of factors.entries()) {
    const { error } = truncationRank(s, { rank: Math.min(k, s.size) });
    const all = (norms[i] as number) ** 2;
    const known = isExact ? all : Array.from(s.data, (value) => value ** 2).reduce((sum, square) => sum + square, 0);
    lost += error.frobenius ** 2 + (all - known);
    total += all;
  }
  return { error: Math.sqrt(lost / total), energy: 1 - lost / total };
}

/** The least rank that keeps a share of the energy; undefined if the values that are known do not. */
export function rankOf(decomposition: Decomposition, energy: number): number | undefined {
  let [low, high] = [1, decomposition.rank];
  if (quality(decomposition, high).energy < energy) return undefined;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (quality(decomposition, middle).energy < energy) low = middle + 1;
    else high = middle;
  }
  return low;
}
