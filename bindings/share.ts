// Routines over ranges that the bindings call: by the team where it is worth a fork, else the caller goes its usual way.

import type { Runtime } from "./load.js";
import type { Range } from "./range.js";
import { inSlices, operationsDone, type Steps } from "./slices.js";

/** Operations of the register tile's speed that take some fifty microseconds: from so many on awake members are worth a fork. */
const LEAST = 1.5e6;

/** Operations of a tile at least, and tiles of a thread at most: enough for those that are late or slow. */
const TILE = 1e6;
const TILES = 8;

/** @internal How a range may be cut. */
export interface Cut {
  /** Every tile but the last has a multiple of so many items. */
  readonly unit?: number;
  /** Items that a tile should have. */
  readonly least?: number;
}

/**
 * @internal Computes a range of about so many operations if there is a team and it is worth it: the largest result of its tiles;
 * undefined if nothing was done.
 */
export function share(
  { team, common }: Runtime,
  operations: number,
  range: Omit<Range, "part">,
  { unit = 1, least = 1 }: Cut = {},
): number | undefined {
  if (team === undefined || common.isShared(operations, LEAST) === 0) return undefined;
  const items = range.length - (range.first ?? 0);
  // one for everybody even where tiles are half as long as they should be
  const all = Math.min(team.asked, Math.ceil((2 * items) / least));
  const tiles = Math.max(all, Math.min(TILES * team.asked, operations / TILE, items / least));
  const part = Math.ceil(items / tiles / unit) * unit;
  if (part >= items) return undefined;
  return team.share(common, { ...range, part });
}

/**
 * @internal Computes a range of a sliced routine: `together` items a step as long as the team takes part, the rest by this thread.
 * The result is the routine's. Working memory stands where range.work says.
 *
 * @param each operations of an item
 * @param alone readies working memory for this thread, and makes a slice of items first…length
 */
export function* shareSlices(
  runtime: Runtime,
  range: Omit<Range, "part" | "first">,
  each: number,
  together: number,
  cut: Cut,
  alone: { ready(): void; slice(first: number): number },
): Steps<number> {
  const { length, values, work } = range;
  const total = each * length;
  let first = 0;
  while (first < length) {
    const last = Math.min(length, first + together);
    const result = share(runtime, each * (last - first), { ...range, first, length: last }, cut);
    if (result === undefined) break;
    if (result > 0) return result;
    first = last;
    yield () => ({ done: each * first, total });
  }
  if (first === length) return 0;
  alone.ready();
  const head = values[work as number] as number;
  const progress = () => ({ done: Math.min(total, each * first + operationsDone(runtime, head)), total });
  return yield* inSlices(() => alone.slice(first), progress);
}

/** @internal The kernel's name of a routine in a precision. */
export function routineOf(dtype: "f32" | "f64", routine: string): string {
  return (dtype === "f32" ? "s" : "d") + routine;
}
