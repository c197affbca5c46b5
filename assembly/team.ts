// A team on shared memory: the caller forks a task into tiles, members take them from a counter, the caller computes too and
// joins. A member is an instance of the kernel of its own, with packing memory of its own; its loop over teamStep stands in
// JavaScript (bindings/team_worker.ts): inside the kernel it would be entered once and its callees never be compiled.
//
// The control block, a cache line each:
//   i64 word: generation, tiles (20 bits), tiles taken (20 bits) | i32 members that compute
//   i32 members that sleep, i32 caller that waits, i32 trouble, i32 end
//   i32 naps that the caller waits for a member before it takes it for lost
//   i32 task (-1: one of the bindings', bindings/range.ts), u32 address of its arguments, i32 result of the bindings' | their list
// It is zeros at first.
//
// Nobody waits for a member that comes too late: it finds no tile. A tile is taken by compare and exchange of the whole word, so
// what a member takes belongs to the task that it then reads: the caller goes on only when no member computes.

import { runTile } from "./tasks";

const COMPUTING: usize = 64;
const SLEEPING: usize = 128;
const WAITING: usize = 132;
const TROUBLE: usize = 136;
const END: usize = 140;
const PATIENCE: usize = 144;
const TASK: usize = 192;
const ARGUMENTS: usize = 196;

const TILE_BITS: i64 = 20;
const TILES: i64 = (1 << 20) - 1;

/** Bytes of a task's arguments; tasks run within tiles of others have theirs behind them. */
const ARGUMENT_BYTES: usize = 128;

/** How deep tasks may run inside each other. */
const DEPTH: i32 = 4;

/** Bytes of an instance's memory for arguments. */
export const ARGUMENT_SPACE: usize = ARGUMENT_BYTES * <usize>DEPTH;

// One set an instance: the memory for arguments, the control block and the size of the team (1: no team), and how many tasks are running.
let space: usize = 0;
let control: usize = 0;
let size: i32 = 1;
let depth: i32 = 0;
/** 0 for the caller, 1… for the members. */
let self: i32 = 0;
/** What thresholds are multiplied by. */
let reluctance: f64 = 1;
/** Tasks that were not shared because members slept. */
let missed: i32 = 0;

/** Hands this instance its ARGUMENT_SPACE bytes. */
export function setArgumentSpace(base: usize): void {
  space = base;
}

/** Makes this instance one of a team: the caller (0) or a member (1 … members − 1). */
export function joinTeam(base: usize, members: i32, which: i32): void {
  control = base;
  size = members;
  self = which;
  // a member's tasks are tiles of the caller's
  depth = <i32>(which > 0);
}

/** How many share a task, and which of them this instance is: for working memory of its own. */
// @ts-ignore: decorator
@inline export function teamSize(): i32 {
  return ASC_FEATURE_THREADS ? size : 1;
}

// @ts-ignore: decorator
@inline export function memberNumber(): i32 {
  return ASC_FEATURE_THREADS ? self : 0;
}

/** Where the arguments of the next task are to be written. */
// @ts-ignore: decorator
@inline export function taskArguments(): usize {
  return space + ARGUMENT_BYTES * <usize>depth;
}

/**
 * Whether a task of so many operations is worth a fork, of which `least` takes some fifty microseconds. Where members sleep, it
 * must be worth the time that they take to wake up; of smaller tasks one in a few wakes them for those behind it.
 */
export function isShared(operations: f64, least: f64): bool {
  if (!ASC_FEATURE_THREADS) return false;
  least *= reluctance;
  if (size == 1 || depth > 0 || !(operations >= least)) return false;
  if (atomic.load<i32>(control, SLEEPING) == 0) return true;
  if (operations >= 8 * least) return true;
  if ((++missed & 15) == 0) wakeTeam();
  return false;
}

/** Sleeping members look for tiles again, for a while. */
function wakeTeam(): void {
  if (atomic.load<i32>(control, SLEEPING) > 0) atomic.notify(control, -1);
}

/** Another factor of all thresholds: with 0 everything is shared, with Infinity nothing is. */
export function setReluctance(factor: f64): void {
  reluctance = factor;
}

/** Runs all tiles of a task whose arguments stand at taskArguments(); with `shared` the team takes part. */
export function perform(task: i32, tiles: i32, shared: bool): void {
  const base = taskArguments();
  if (ASC_FEATURE_THREADS && shared && tiles > 1) {
    teamFork(tiles, task, base);
    for (let tile = teamTake(); tile >= 0; tile = teamTake()) runTile(task, base, tile);
    teamJoin();
  } else {
    depth++;
    for (let tile = 0; tile < tiles; tile++) runTile(task, base, tile);
    depth--;
  }
}

/** Members take tiles of a task from now on; until teamJoin whatever this instance calls is a tile's part and not shared. */
export function teamFork(tiles: i32, task: i32, base: usize): void {
  depth++;
  if (!ASC_FEATURE_THREADS) return;
  store<i32>(control, task, TASK);
  store<u32>(control, <u32>base, ARGUMENTS);
  const generation = (atomic.load<i64>(control) >> (2 * TILE_BITS)) + 1;
  atomic.store<i64>(control, (generation << (2 * TILE_BITS)) | (<i64>tiles << TILE_BITS));
  wakeTeam();
}

/** The number of a tile that nobody else has, or -1. */
export function teamTake(): i32 {
  if (!ASC_FEATURE_THREADS) return -1;
  let word = atomic.load<i64>(control);
  while (hasTiles(word)) {
    const seen = atomic.cmpxchg<i64>(control, word, word + 1);
    if (seen == word) return <i32>(word & TILES);
    word = seen;
  }
  return -1;
}

// @ts-ignore: decorator
@inline function hasTiles(word: i64): bool {
  return (word & TILES) < ((word >> TILE_BITS) & TILES);
}

/** Looks for a member that computes as often as this before the caller sleeps: some fifty microseconds. */
const SPINS: i32 = 100000;

/** Nanoseconds of a sleep. */
const NAP: i64 = 1000000;

/** Waits until no member computes; traps if one has trapped or is lost. */
export function teamJoin(): void {
  depth--;
  if (!ASC_FEATURE_THREADS) return;
  for (let i = 0; ; i++) {
    const computing = atomic.load<i32>(control, COMPUTING);
    if (computing == 0) break;
    if (i < SPINS) continue;
    if (i - SPINS >= load<i32>(control, PATIENCE)) unreachable();
    atomic.store<i32>(control, 1, WAITING);
    atomic.wait<i32>(control + COMPUTING, computing, NAP);
    atomic.store<i32>(control, 0, WAITING);
  }
  if (atomic.load<i32>(control, TROUBLE) != 0) unreachable();
}

/**
 * A member's step: computes a tile, or looks for one `spins` times. 0: there was none; 1: it was computed; others: 2 + the number of
 * a tile of the bindings', which teamLeave must follow.
 */
export function teamStep(spins: i32): i32 {
  if (!ASC_FEATURE_THREADS) return 0;
  for (let i = spins; i > 0; i--) {
    if (!hasTiles(atomic.load<i64>(control))) continue;
    atomic.add<i32>(control, 1, COMPUTING);
    const tile = teamTake(), task = load<i32>(control, TASK);
    if (tile >= 0) {
      if (task < 0) return 2 + tile;
      runTile(task, <usize>load<u32>(control, ARGUMENTS), tile);
    }
    teamLeave(false);
    return 1;
  }
  return 0;
}

/** A member sleeps until there may be a tile. True: the team ends. */
export function teamSleep(): bool {
  if (!ASC_FEATURE_THREADS) return true;
  atomic.add<i32>(control, 1, SLEEPING);
  const word = atomic.load<i64>(control);
  if (!hasTiles(word) && atomic.load<i32>(control, END) == 0) atomic.wait<i64>(control, word, -1);
  atomic.sub<i32>(control, 1, SLEEPING);
  return atomic.load<i32>(control, END) != 0;
}

/** A member has computed its tile. With `trouble` it trapped there: the caller is to trap, too. */
export function teamLeave(trouble: bool): void {
  if (!ASC_FEATURE_THREADS) return;
  if (trouble) atomic.store<i32>(control, 1, TROUBLE);
  atomic.sub<i32>(control, 1, COMPUTING);
  if (atomic.load<i32>(control, WAITING) != 0) atomic.notify(control + COMPUTING, 1);
}

/**
 * For a caller that trapped: no member takes further tiles of its task. True as soon as none computes; then the team is as new.
 * With `end` members leave their loop.
 */
export function teamSettle(end: bool): bool {
  if (!ASC_FEATURE_THREADS || size == 1) return true;
  while (teamTake() >= 0) {}
  if (end) {
    atomic.store<i32>(control, 1, END);
    // sleepers wait for the word to change
    atomic.add<i64>(control, 1 << (2 * TILE_BITS));
    atomic.notify(control, -1);
  }
  if (atomic.load<i32>(control, COMPUTING) != 0) return false;
  atomic.store<i32>(control, 0, TROUBLE);
  return true;
}
