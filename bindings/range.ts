// A routine of the kernel over a range, cut into tiles of equal length: how a list of numbers says it, so that members of a team
// read it from shared memory, and how one of its tiles is computed. The same file serves the caller and the members.

import { MORE } from "./exports.js";

/** A call of a routine whose items begin…end can be computed apart, in any order. Positions count the routine's arguments. */
export interface Range {
  /** An export of the kernel. */
  readonly routine: string;
  /** One that readies the working memory of each call, for routines that return MORE. */
  readonly ready?: string;
  /** Items first…length are computed, `part` of them a tile. */
  readonly first?: number;
  readonly length: number;
  readonly part: number;
  /** Arguments of the call for the first tile. */
  readonly values: readonly number[];
  /** What is added to an argument for each item before the tile's: bytes from one item to the next, say. */
  readonly steps?: readonly (readonly [position: number, step: number])[];
  /** Where the tile's first item, its last but one, or their number stand. */
  readonly begin?: number;
  readonly end?: number;
  readonly count?: number;
  /** Where working memory stands, and how many bytes of it each member has. */
  readonly work?: number;
  readonly workBytes?: number;
}

/** A list's numbers: routine, ready, first, length, part, begin, end, count, work, workBytes, how many arguments; they; their steps. */
const HEAD = 11;
/** Where a list stands in a team's control block, its numbers, and the result of its tiles. */
export const LIST_OFFSET = 256;
export const LIST_NUMBERS = 64;
/** Bytes of a control block; zeros at first. */
export const CONTROL_BYTES = LIST_OFFSET + 8 * LIST_NUMBERS;
export const RESULT_OFFSET = 200;

/** Writes a range; `names` are the kernel's exports in the module's order. */
export function writeRange(range: Range, names: readonly string[], list: Float64Array): void {
  const { routine, ready, first = 0, length, part, values, steps = [], begin, end, count, work, workBytes = 0 } = range;
  const place = (position: number | undefined) => position ?? -1;
  list.set([names.indexOf(routine), ready === undefined ? -1 : names.indexOf(ready), first, length, part]);
  list.set([place(begin), place(end), place(count), place(work), workBytes, values.length], 5);
  list.set(values, HEAD);
  list.fill(0, HEAD + values.length, HEAD + 2 * values.length);
  for (const [position, step] of steps) list[HEAD + values.length + position] = step;
}

type Routine = (...values: number[]) => number | undefined;

/** Computes a tile of the range in `list`; returns what the routine does. */
export function runTile(routines: readonly unknown[], list: ArrayLike<number>, tile: number, member: number): number {
  const at = (i: number) => list[i] as number;
  const count = at(10);
  const first = at(2) + tile * at(4);
  const last = Math.min(at(3), first + at(4));
  const values = Array.from({ length: count }, (_, i) => at(HEAD + i) + first * at(HEAD + count + i));
  if (at(5) >= 0) values[at(5)] = first;
  if (at(6) >= 0) values[at(6)] = last;
  if (at(7) >= 0) values[at(7)] = last - first;
  if (at(8) >= 0) values[at(8)] = (values[at(8)] as number) + member * at(9);
  if (at(1) >= 0) (routines[at(1)] as Routine)(values[at(8)] as number);
  let result: number | undefined;
  do result = (routines[at(0)] as Routine)(...values);
  while (result === MORE);
  return result ?? 0;
}
