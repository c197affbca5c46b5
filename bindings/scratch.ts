// Working memory of one call: a stack of chunks that is rewound when the call ends, also when it throws.

import type { Allocator } from "./allocator.js";
import { ALIGNMENT } from "./allocator.js";

interface Chunk {
  pointer: number;
  bytes: number;
  top: number;
}

/** The first chunk stays for good, so that small calls allocate nothing. */
const FIRST_BYTES = 2 ** 18;

/** More units than a chunk of at most 4 GiB has. */
const MARK_UNITS = 2 ** 26;

export class Scratch {
  readonly #allocator: Allocator;
  readonly #guarded: boolean;
  readonly #chunks: Chunk[] = [];

  /** @param guarded every push is a block of its own, so that the allocator's guard words surround it */
  constructor(allocator: Allocator, guarded: boolean) {
    this.#allocator = allocator;
    this.#guarded = guarded;
    this.#add(FIRST_BYTES);
  }

  #add(bytes: number): Chunk {
    const chunk = { pointer: this.#allocator.allocate(bytes), bytes, top: 0 };
    this.#chunks.push(chunk);
    return chunk;
  }

  get #current(): Chunk {
    return this.#chunks[this.#chunks.length - 1] as Chunk;
  }

  /** Where the stack stands: for rewind(). A small integer, which engines hold without allocating. */
  mark(): number {
    return this.#chunks.length * MARK_UNITS + this.#current.top / ALIGNMENT;
  }

  /** `bytes` of memory, 64-byte aligned, with any content, until the stack is rewound below it. */
  push(bytes: number): number {
    const size = Math.max(1, Math.ceil(bytes / ALIGNMENT)) * ALIGNMENT;
    let chunk = this.#current;
    if (this.#guarded || chunk.bytes - chunk.top < size) {
      chunk = this.#add(this.#guarded ? bytes : Math.max(size, FIRST_BYTES));
    }
    const pointer = chunk.pointer + chunk.top;
    chunk.top += size;
    return pointer;
  }

  rewind(mark: number): void {
    const count = Math.floor(mark / MARK_UNITS);
    while (this.#chunks.length > count) {
      this.#allocator.free(this.#current.pointer);
      this.#chunks.pop();
    }
    this.#current.top = (mark % MARK_UNITS) * ALIGNMENT;
  }
}
