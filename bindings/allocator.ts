// The allocator of kernel memory: two-level segregated fit (Masmano et al. 2004) over 64-byte units, O(1) for both
// calls, neighbours coalesced. Its records live in the JavaScript heap, out of the kernel's reach.

import { failure, OutOfMemoryError } from "./errors.js";

export const ALIGNMENT = 64;
const PAGE = 65536;
/** Each power of two of units is cut into 2^SPLIT classes. */
const SPLIT = 3;

interface Block {
  pointer: number;
  units: number;
  /** What was asked for; guard words fill the rest. */
  bytes: number;
  free: boolean;
  before: Block | undefined;
  after: Block | undefined;
  /** Neighbours in the list of free blocks of one class. */
  previous: Block | undefined;
  next: Block | undefined;
}

export class Allocator {
  readonly #memory: WebAssembly.Memory;
  readonly #maximumBytes: number;
  /** Least bytes of guard words on each side of a block: 0, or a multiple of ALIGNMENT in the debug build. */
  readonly #guard: number;
  readonly #lists: (Block | undefined)[] = new Array<Block | undefined>(32 << SPLIT).fill(undefined);
  readonly #rows = new Uint32Array(32);
  #classes = 0;
  #last: Block | undefined;
  #used = 0;
  readonly #taken = new Map<number, Block>();

  /** Owns `memory` from byte `base` (a multiple of ALIGNMENT) to its end, and grows it up to maximumBytes. */
  constructor(memory: WebAssembly.Memory, base: number, maximumBytes: number, guard: number) {
    this.#memory = memory;
    this.#maximumBytes = maximumBytes;
    this.#guard = guard;
    const units = (memory.buffer.byteLength - base) / ALIGNMENT;
    if (units > 0) this.#insert(this.#append(base, units));
    else this.#append(base, 0).free = false;
  }

  /** Bytes in blocks that are taken, their rounding up to whole units included. */
  get usedBytes(): number {
    return this.#used;
  }

  /** A 64-byte aligned block of at least `bytes`; throws OutOfMemoryError and changes nothing if there is none. */
  allocate(bytes: number): number {
    // also keeps what follows inside 32 bits
    if (!(bytes <= this.#maximumBytes)) throw this.#outOfMemory(bytes, this.#room);
    const units = Math.max(1, Math.ceil(bytes / ALIGNMENT)) + (2 * this.#guard) / ALIGNMENT;
    let block = this.#find(units);
    if (block === undefined) {
      this.#grow(units, bytes);
      block = this.#find(units) as Block;
    }
    this.#remove(block);
    if (block.units > units) this.#split(block, units);
    block.free = false;
    block.bytes = bytes;
    this.#used += block.units * ALIGNMENT;
    const pointer = block.pointer + this.#guard;
    this.#taken.set(pointer, block);
    if (this.#guard > 0) this.#fillGuards(block);
    return pointer;
  }

  /** Gives a block back. */
  free(pointer: number): void {
    const block = this.#taken.get(pointer);
    if (block === undefined) throw failure("guard", `free of ${pointer}, which is not a block`);
    if (this.#guard > 0) {
      this.#checkGuards(block);
      this.#fill(block.pointer, block.units * ALIGNMENT, POISON);
    }
    this.#taken.delete(pointer);
    this.#used -= block.units * ALIGNMENT;
    let merged = block;
    const { before, after } = block;
    if (after?.free) {
      this.#remove(after);
      this.#join(merged, after);
    }
    if (before?.free) {
      this.#remove(before);
      this.#join(before, merged);
      merged = before;
    }
    this.#insert(merged);
  }

  /** Throws if a guard word of any taken block was overwritten; does nothing in builds without guards. */
  checkGuards(): void {
    if (this.#guard > 0) for (const block of this.#taken.values()) this.#checkGuards(block);
  }

  /** Bytes by which memory may still grow. */
  get #room(): number {
    return this.#maximumBytes - this.#memory.buffer.byteLength;
  }

  /** The error names the bytes that a single allocation could get if memory grew by `growth`. */
  #outOfMemory(asked: number, growth: number): OutOfMemoryError {
    const tail = this.#last?.free ? this.#last.units * ALIGNMENT : 0;
    let best = growth + tail;
    for (const list of this.#lists) {
      for (let b = list; b !== undefined; b = b.next) best = Math.max(best, b.units * ALIGNMENT);
    }
    return new OutOfMemoryError(asked, Math.max(0, best - 2 * this.#guard), this.#maximumBytes);
  }

  #grow(units: number, bytes: number): void {
    const tail = this.#last?.free ? this.#last.units : 0;
    const reserved = this.#memory.buffer.byteLength;
    const least = Math.ceil(((units - tail) * ALIGNMENT) / PAGE);
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
    if (this.#last?.free) {
      this.#remove(this.#last);
      this.#last.units += added;
      this.#insert(this.#last);
    } else {
      this.#insert(this.#append(reserved, added));
    }
  }

  #append(pointer: number, units: number): Block {
    const block: Block = {
      pointer,
      units,
      bytes: 0,
      free: false,
      before: this.#last,
      after: undefined,
      previous: undefined,
      next: undefined,
    };
    if (this.#last !== undefined) this.#last.after = block;
    this.#last = block;
    return block;
  }

  /** Row (power of two) and column (its subdivision) of the class of `units`, as one index. */
  #classOf(units: number): number {
    const row = 31 - Math.clz32(units);
    const column = row >= SPLIT ? (units >>> (row - SPLIT)) & ((1 << SPLIT) - 1) : (units << (SPLIT - row)) & 7;
    return (row << SPLIT) | column;
  }

  #find(units: number): Block | undefined {
    // the first class whose every member is large enough
    const row = 31 - Math.clz32(units);
    const rounded = row > SPLIT ? units + (1 << (row - SPLIT)) - 1 : units;
    const index = this.#classOf(rounded);
    const first = index >>> SPLIT;
    const inRow = (this.#rows[first] as number) & (~0 << (index & 7));
    if (inRow !== 0) return this.#lists[(first << SPLIT) | (31 - Math.clz32(inRow & -inRow))];
    const above = first < 31 ? this.#classes & (~0 << (first + 1)) : 0;
    if (above !== 0) {
      const next = 31 - Math.clz32(above & -above);
      const columns = this.#rows[next] as number;
      return this.#lists[(next << SPLIT) | (31 - Math.clz32(columns & -columns))];
    }
    // a block of the request's own class may still do
    for (let b = this.#lists[this.#classOf(units)]; b !== undefined; b = b.next) if (b.units >= units) return b;
    return undefined;
  }

  #insert(block: Block): void {
    const index = this.#classOf(block.units);
    block.free = true;
    block.previous = undefined;
    block.next = this.#lists[index];
    if (block.next !== undefined) block.next.previous = block;
    this.#lists[index] = block;
    (this.#rows[index >>> SPLIT] as number) |= 1 << (index & 7);
    this.#classes |= 1 << (index >>> SPLIT);
  }

  #remove(block: Block): void {
    const index = this.#classOf(block.units);
    if (block.next !== undefined) block.next.previous = block.previous;
    if (block.previous !== undefined) block.previous.next = block.next;
    else {
      this.#lists[index] = block.next;
      if (block.next === undefined) {
        const row = index >>> SPLIT;
        (this.#rows[row] as number) &= ~(1 << (index & 7));
        if (this.#rows[row] === 0) this.#classes &= ~(1 << row);
      }
    }
    block.previous = undefined;
    block.next = undefined;
  }

  /** Cuts a block that is in no list down to `units`; the rest becomes free. */
  #split(block: Block, units: number): void {
    const rest: Block = {
      pointer: block.pointer + units * ALIGNMENT,
      units: block.units - units,
      bytes: 0,
      free: true,
      before: block,
      after: block.after,
      previous: undefined,
      next: undefined,
    };
    if (block.after !== undefined) block.after.before = rest;
    else this.#last = rest;
    block.after = rest;
    block.units = units;
    this.#insert(rest);
  }

  /** Joins `right` to its neighbour `left`; both are in no list. */
  #join(left: Block, right: Block): void {
    left.units += right.units;
    left.after = right.after;
    if (right.after !== undefined) right.after.before = left;
    else this.#last = left;
  }

  #fill(pointer: number, bytes: number, word: number): void {
    new Uint32Array(this.#memory.buffer, pointer, bytes / 4).fill(word);
  }

  /** Guard words around what was asked for, NaN inside it: what is read before it is written shows. */
  #fillGuards(block: Block): void {
    const { before, start, after, end } = this.#bounds(block);
    this.#fill(before, start - before, GUARD);
    this.#fill(start, after - start, POISON);
    this.#fill(after, end - after, GUARD);
  }

  #checkGuards(block: Block): void {
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
  #bounds({ pointer, units, bytes }: Block): { before: number; start: number; after: number; end: number } {
    const start = pointer + this.#guard;
    return { before: pointer, start, after: start + 4 * Math.ceil(bytes / 4), end: pointer + units * ALIGNMENT };
  }
}

const GUARD = 0x5afe5afe;
/** A quiet NaN in f32 and, twice, in f64. */
const POISON = 0x7ff8dead;
