// The allocator of kernel memory: two-level segregated fit (Masmano et al. 2004) over 64-byte units, O(1) for both
// calls, neighbours coalesced. Its records live beside that memory, out of the kernel's reach.
//
// A page and a worker that compute on the same shared memory have an allocator each over the same records, behind a lock that is
// held for a microsecond. Every block belongs to one of them, its owner, who alone frees it; it can be given to the other.

import { failure, OutOfMemoryError } from "./errors.js";

export const ALIGNMENT = 64;
const PAGE = 65536;
/** Each power of two of units is cut into 2^SPLIT classes. */
const SPLIT = 3;

// Words of the state: a lock, numbers, a bit map of the classes of each row, the lists of free blocks of each class.
const LOCK = 0;
const LAST = 1;
const USED = 2;
const SPARE = 3;
const RECORDS = 4;
const CLASSES = 5;
const END = 6;
const ROWS = 8;
const LISTS = ROWS + 32;
const FIRST = LISTS + (32 << SPLIT);

// Words of a record; records have numbers from 1 on, and 0 means none. Pointers and lengths are units.
const LENGTH = 8;
const POINTER = 0;
const UNITS = 1;
/** What was asked for, in bytes; guard words fill the rest. */
const BYTES = 2;
/** 0: the block is free. */
const OWNER = 3;
const BEFORE = 4;
const AFTER = 5;
/** Neighbours in the list of free blocks of one class. */
const PREVIOUS = 6;
const NEXT = 7;

/** Records at first, and at most where they are shared. */
const FEW = 1024;
const MANY = 2 ** 20;

/** @internal Where an allocator keeps its records. */
export type AllocatorState = Int32Array<ArrayBuffer> | Int32Array<SharedArrayBuffer>;

function makeState(shared: boolean): AllocatorState {
  const bytes = (records: number) => 4 * (FIRST + records * LENGTH);
  if (!shared) return new Int32Array(bytes(FEW) / 4);
  type Growable = new (bytes: number, options: { maxByteLength: number }) => SharedArrayBuffer;
  // memory that is never touched is never there; engines that know no second argument reserve it all
  return wordsOf(
    "growable" in SharedArrayBuffer.prototype
      ? new (SharedArrayBuffer as unknown as Growable)(bytes(FEW), { maxByteLength: bytes(MANY) })
      : new SharedArrayBuffer(bytes(MANY)),
  );
}

/** All words as the buffer is now: engines are slow with views that follow its growth. */
function wordsOf(buffer: SharedArrayBuffer): Int32Array<SharedArrayBuffer> {
  return new Int32Array(buffer, 0, buffer.byteLength / 4);
}

/** Looks at a lock that is held before the thread sleeps, if it may. */
const LOOKS = 1000;

export class Allocator {
  readonly #memory: WebAssembly.Memory;
  readonly #maximumBytes: number;
  /** Least bytes of guard words on each side of a block: 0, or a multiple of ALIGNMENT in the debug build. */
  readonly #guard: number;
  readonly #owner: number;
  readonly #shared: boolean;
  #state: AllocatorState;
  /** Records of this owner's blocks by pointer. */
  readonly #taken = new Map<number, number>();

  /**
   * Owns `memory` from byte `base` (a multiple of ALIGNMENT) to its end, and grows it up to maximumBytes. With `state` it joins
   * the allocator that has it, under a number of its own.
   */
  constructor(
    memory: WebAssembly.Memory,
    base: number,
    maximumBytes: number,
    guard: number,
    state?: AllocatorState,
    owner = 1,
  ) {
    this.#memory = memory;
    this.#maximumBytes = maximumBytes;
    this.#guard = guard;
    this.#owner = owner;
    this.#shared = typeof SharedArrayBuffer === "function" && memory.buffer instanceof SharedArrayBuffer;
    this.#state = state ?? makeState(this.#shared);
    if (state !== undefined) return;
    const end = memory.buffer.byteLength / ALIGNMENT;
    this.#state[END] = end;
    const block = this.#append(base / ALIGNMENT, end - base / ALIGNMENT);
    if (end > base / ALIGNMENT) this.#insert(block);
  }

  /** The records, for an allocator in another thread. */
  get state(): AllocatorState {
    return this.#state;
  }

  get maximumBytes(): number {
    return this.#maximumBytes;
  }

  /** Bytes in blocks that are taken, their rounding up to whole units included. */
  get usedBytes(): number {
    return (this.#state[USED] as number) * ALIGNMENT;
  }

  /** A 64-byte aligned block of at least `bytes`; throws OutOfMemoryError and changes nothing if there is none. */
  allocate(bytes: number): number {
    // also keeps what follows inside 32 bits
    const asked = bytes <= this.#maximumBytes ? Math.max(1, Math.ceil(bytes / ALIGNMENT)) : 0;
    this.#lock();
    let block: number;
    try {
      if (asked === 0) throw this.#outOfMemory(bytes, this.#room);
      block = this.#take(asked + (2 * this.#guard) / ALIGNMENT, bytes);
    } finally {
      this.#unlock();
    }
    const pointer = this.#pointerOf(block);
    this.#taken.set(pointer, block);
    if (this.#guard > 0) this.#fillGuards(block);
    return pointer;
  }

  #take(units: number, bytes: number): number {
    this.#reserveRecords(bytes);
    let block = this.#find(units);
    if (block === 0) {
      this.#grow(units, bytes);
      block = this.#find(units);
    }
    this.#remove(block);
    if (this.#get(block, UNITS) > units) this.#split(block, units);
    this.#set(block, OWNER, this.#owner);
    this.#set(block, BYTES, bytes);
    (this.#state[USED] as number) += this.#get(block, UNITS);
    return block;
  }

  /** Gives a block back. */
  free(pointer: number): void {
    const block = this.#taken.get(pointer);
    if (block === undefined) throw failure("guard", `free of ${pointer}, which is not a block`);
    if (this.#guard > 0) {
      this.#checkGuards(block);
      this.#fill(this.#get(block, POINTER) * ALIGNMENT, this.#get(block, UNITS) * ALIGNMENT, POISON);
    }
    this.#taken.delete(pointer);
    this.#lock();
    this.#giveBack(block);
    this.#unlock();
  }

  #giveBack(block: number): void {
    (this.#state[USED] as number) -= this.#get(block, UNITS);
    let merged = block;
    const before = this.#get(block, BEFORE);
    const after = this.#get(block, AFTER);
    if (after !== 0 && this.#get(after, OWNER) === 0) {
      this.#remove(after);
      this.#join(merged, after);
    }
    if (before !== 0 && this.#get(before, OWNER) === 0) {
      this.#remove(before);
      this.#join(before, merged);
      merged = before;
    }
    this.#insert(merged);
  }

  /** Gives a block to another thread's allocator: what that one's adopt() wants. */
  release(pointer: number): number {
    const block = this.#taken.get(pointer);
    if (block === undefined) throw failure("guard", `release of ${pointer}, which is not a block`);
    this.#taken.delete(pointer);
    return block;
  }

  /** Takes over a block that another thread's allocator released; its pointer. */
  adopt(block: number): number {
    this.#follow(block);
    this.#set(block, OWNER, this.#owner);
    const pointer = this.#pointerOf(block);
    this.#taken.set(pointer, block);
    return pointer;
  }

  /** Frees all blocks of an owner that has ended. */
  reclaim(owner: number): void {
    // it may have ended while it held the lock
    if (this.#shared) Atomics.compareExchange(this.#state as Int32Array<SharedArrayBuffer>, LOCK, owner, 0);
    this.#lock();
    for (let block = this.#state[LAST] as number; block !== 0; ) {
      const before = this.#get(block, BEFORE);
      if (this.#get(block, OWNER) === owner) this.#giveBack(block);
      block = before;
    }
    this.#unlock();
  }

  /** Throws if a guard word of any taken block was overwritten; does nothing in builds without guards. */
  checkGuards(): void {
    if (this.#guard > 0) for (const block of this.#taken.values()) this.#checkGuards(block);
  }

  /** Waits until no other thread changes the records. */
  #lock(): void {
    if (!this.#shared) return;
    const state = this.#state as Int32Array<SharedArrayBuffer>;
    for (let looks = 0; Atomics.compareExchange(state, LOCK, 0, this.#owner) !== 0; looks++) {
      if (looks < LOOKS) continue;
      looks = 0;
      try {
        Atomics.wait(state, LOCK, Atomics.load(state, LOCK), 1);
      } catch {
        // a page's main thread may not wait: it looks on
      }
    }
    this.#follow((this.#state[RECORDS] as number) + 2);
  }

  /** Another thread may have made room for more records than this one has seen. */
  #follow(records: number): void {
    if (FIRST + records * LENGTH > this.#state.length) {
      this.#state = wordsOf(this.#state.buffer as SharedArrayBuffer);
    }
  }

  #unlock(): void {
    if (this.#shared) Atomics.store(this.#state as Int32Array<SharedArrayBuffer>, LOCK, 0);
  }

  #get(block: number, field: number): number {
    return this.#state[FIRST + (block - 1) * LENGTH + field] as number;
  }

  #set(block: number, field: number, value: number): void {
    this.#state[FIRST + (block - 1) * LENGTH + field] = value;
  }

  #pointerOf(block: number): number {
    return this.#get(block, POINTER) * ALIGNMENT + this.#guard;
  }

  /** Makes sure that two records can be made. */
  #reserveRecords(bytes: number): void {
    if (FIRST + ((this.#state[RECORDS] as number) + 2) * LENGTH <= this.#state.length) return;
    const { buffer } = this.#state;
    if (!this.#shared) {
      const larger = new Int32Array(2 * this.#state.length);
      larger.set(this.#state);
      this.#state = larger;
      return;
    }
    const growing = buffer as SharedArrayBuffer & { grow?(bytes: number): void };
    try {
      if (growing.grow === undefined) throw new RangeError("no more records");
      growing.grow(2 * buffer.byteLength);
      this.#state = wordsOf(growing);
    } catch {
      throw this.#outOfMemory(bytes, 0);
    }
  }

  /** Bytes by which memory may still grow. */
  get #room(): number {
    return this.#maximumBytes - (this.#state[END] as number) * ALIGNMENT;
  }

  /** The last block's units, if it is free. */
  get #tail(): number {
    const last = this.#state[LAST] as number;
    return last !== 0 && this.#get(last, OWNER) === 0 ? this.#get(last, UNITS) : 0;
  }

  /** The error names the bytes that a single allocation could get if memory grew by `growth`. */
  #outOfMemory(asked: number, growth: number): OutOfMemoryError {
    let best = growth + this.#tail * ALIGNMENT;
    for (let list = 0; list < 32 << SPLIT; list++) {
      for (let b = this.#state[LISTS + list] as number; b !== 0; b = this.#get(b, NEXT)) {
        best = Math.max(best, this.#get(b, UNITS) * ALIGNMENT);
      }
    }
    return new OutOfMemoryError(asked, Math.max(0, best - 2 * this.#guard), this.#maximumBytes);
  }

  #grow(units: number, bytes: number): void {
    const reserved = (this.#state[END] as number) * ALIGNMENT;
    const least = Math.ceil(((units - this.#tail) * ALIGNMENT) / PAGE);
    const room = Math.floor(this.#room / PAGE);
    if (least > room) throw this.#outOfMemory(bytes, this.#room);
    // a quarter more than now, so that a sequence of allocations grows the memory a logarithmic number of times
    let pages = Math.min(room, Math.max(least, Math.ceil(reserved / 4 / PAGE)));
    for (;;) {
      try {
        this.#memory.grow(pages);
        break;
      } catch {
        if (pages === least) throw this.#outOfMemory(bytes, 0);
        pages = least;
      }
    }
    const added = (pages * PAGE) / ALIGNMENT;
    (this.#state[END] as number) += added;
    if (this.#tail > 0) {
      const last = this.#state[LAST] as number;
      this.#remove(last);
      this.#set(last, UNITS, this.#get(last, UNITS) + added);
      this.#insert(last);
    } else {
      this.#insert(this.#append(reserved / ALIGNMENT, added));
    }
  }

  /** A record for a block, which is in no list. */
  #record(pointer: number, units: number, before: number, after: number): number {
    const spare = this.#state[SPARE] as number;
    let block = spare;
    if (spare !== 0) this.#state[SPARE] = this.#get(spare, NEXT);
    else block = this.#state[RECORDS] = (this.#state[RECORDS] as number) + 1;
    this.#set(block, POINTER, pointer);
    this.#set(block, UNITS, units);
    this.#set(block, BYTES, 0);
    this.#set(block, OWNER, this.#owner);
    this.#set(block, BEFORE, before);
    this.#set(block, AFTER, after);
    return block;
  }

  #append(pointer: number, units: number): number {
    const last = this.#state[LAST] as number;
    const block = this.#record(pointer, units, last, 0);
    if (last !== 0) this.#set(last, AFTER, block);
    this.#state[LAST] = block;
    return block;
  }

  /** Row (power of two) and column (its subdivision) of the class of `units`, as one index. */
  #classOf(units: number): number {
    const row = 31 - Math.clz32(units);
    const column = row >= SPLIT ? (units >>> (row - SPLIT)) & ((1 << SPLIT) - 1) : (units << (SPLIT - row)) & 7;
    return (row << SPLIT) | column;
  }

  /** A free block of at least so many units, or 0. */
  #find(units: number): number {
    const state = this.#state;
    // the first class whose every member is large enough
    const row = 31 - Math.clz32(units);
    const rounded = row > SPLIT ? units + (1 << (row - SPLIT)) - 1 : units;
    const index = this.#classOf(rounded);
    const first = index >>> SPLIT;
    const inRow = (state[ROWS + first] as number) & (~0 << (index & 7));
    if (inRow !== 0) return state[LISTS + ((first << SPLIT) | (31 - Math.clz32(inRow & -inRow)))] as number;
    const above = first < 31 ? (state[CLASSES] as number) & (~0 << (first + 1)) : 0;
    if (above !== 0) {
      const next = 31 - Math.clz32(above & -above);
      const columns = state[ROWS + next] as number;
      return state[LISTS + ((next << SPLIT) | (31 - Math.clz32(columns & -columns)))] as number;
    }
    // a block of the request's own class may still do
    for (let b = state[LISTS + this.#classOf(units)] as number; b !== 0; b = this.#get(b, NEXT)) {
      if (this.#get(b, UNITS) >= units) return b;
    }
    return 0;
  }

  #insert(block: number): void {
    const state = this.#state;
    const index = this.#classOf(this.#get(block, UNITS));
    const next = state[LISTS + index] as number;
    this.#set(block, OWNER, 0);
    this.#set(block, PREVIOUS, 0);
    this.#set(block, NEXT, next);
    if (next !== 0) this.#set(next, PREVIOUS, block);
    state[LISTS + index] = block;
    (state[ROWS + (index >>> SPLIT)] as number) |= 1 << (index & 7);
    (state[CLASSES] as number) |= 1 << (index >>> SPLIT);
  }

  #remove(block: number): void {
    const state = this.#state;
    const index = this.#classOf(this.#get(block, UNITS));
    const previous = this.#get(block, PREVIOUS);
    const next = this.#get(block, NEXT);
    if (next !== 0) this.#set(next, PREVIOUS, previous);
    if (previous !== 0) this.#set(previous, NEXT, next);
    else {
      state[LISTS + index] = next;
      if (next === 0) {
        const row = ROWS + (index >>> SPLIT);
        (state[row] as number) &= ~(1 << (index & 7));
        if (state[row] === 0) (state[CLASSES] as number) &= ~(1 << (index >>> SPLIT));
      }
    }
  }

  /** Cuts a block that is in no list down to `units`; the rest becomes free. */
  #split(block: number, units: number): void {
    const after = this.#get(block, AFTER);
    const rest = this.#record(this.#get(block, POINTER) + units, this.#get(block, UNITS) - units, block, after);
    if (after !== 0) this.#set(after, BEFORE, rest);
    else this.#state[LAST] = rest;
    this.#set(block, AFTER, rest);
    this.#set(block, UNITS, units);
    this.#insert(rest);
  }

  /** Joins `right` to its neighbour `left`; both are in no list. */
  #join(left: number, right: number): void {
    const after = this.#get(right, AFTER);
    this.#set(left, UNITS, this.#get(left, UNITS) + this.#get(right, UNITS));
    this.#set(left, AFTER, after);
    if (after !== 0) this.#set(after, BEFORE, left);
    else this.#state[LAST] = left;
    // the record can be used again
    this.#set(right, OWNER, 0);
    this.#set(right, NEXT, this.#state[SPARE] as number);
    this.#state[SPARE] = right;
  }

  #fill(pointer: number, bytes: number, word: number): void {
    new Uint32Array(this.#memory.buffer, pointer, bytes / 4).fill(word);
  }

  /** Guard words around what was asked for, NaN inside it: what is read before it is written shows. */
  #fillGuards(block: number): void {
    const { before, start, after, end } = this.#bounds(block);
    this.#fill(before, start - before, GUARD);
    this.#fill(start, after - start, POISON);
    this.#fill(after, end - after, GUARD);
  }

  #checkGuards(block: number): void {
    const { before, start, after, end } = this.#bounds(block);
    for (const [from, to] of [
      [before, start],
      [after, end],
    ] as const) {
      const words = new Uint32Array(this.#memory.buffer, from, (to - from) / 4);
      const at = words.findIndex((word) => word !== GUARD);
      if (at >= 0) throw failure("guard", `a write outside the block ${start}…${after}: at ${from + 4 * at}`);
    }
  }

  /** Guard words stand from `before` to `start`, and from `after` to `end`. */
  #bounds(block: number): { before: number; start: number; after: number; end: number } {
    const before = this.#get(block, POINTER) * ALIGNMENT;
    const start = before + this.#guard;
    const bytes = this.#get(block, BYTES) >>> 0;
    return {
      before,
      start,
      after: start + 4 * Math.ceil(bytes / 4),
      end: before + this.#get(block, UNITS) * ALIGNMENT,
    };
  }
}

const GUARD = 0x5afe5afe;
/** A quiet NaN in f32 and, twice, in f64. */
const POISON = 0x7ff8dead;
