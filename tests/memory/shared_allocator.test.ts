// Allocators of several threads over one memory: blocks of each, given from one to the other, and left behind.

import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { ALIGNMENT, Allocator } from "../../bindings/allocator.js";
import { OutOfMemoryError } from "../../bindings/errors.js";

const PAGE = 65536;
const MAXIMUM = 16;

function make(count = 2) {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: MAXIMUM, shared: true });
  const first = new Allocator(memory, ALIGNMENT, MAXIMUM * PAGE, 0);
  const others = Array.from(
    { length: count - 1 },
    (_, i) => new Allocator(memory, ALIGNMENT, MAXIMUM * PAGE, 0, first.state, i + 2),
  );
  return { memory, allocators: [first, ...others] as [Allocator, Allocator, ...Allocator[]] };
}

describe("allocators over one memory", () => {
  test("Allocator: what one takes the other does not get; both see what is used, and growth", () => {
    const { memory, allocators } = make();
    const [one, two] = allocators;
    const p = one.allocate(1000);
    const q = two.allocate(1000);
    expect(q).toBe(p + 1024);
    expect([one.usedBytes, two.usedBytes]).toEqual([2048, 2048]);
    const large = two.allocate(5 * PAGE);
    expect(memory.buffer.byteLength).toBeGreaterThan(5 * PAGE);
    one.free(p);
    expect(one.allocate(100)).toBe(p);
    two.free(large);
    expect(one.allocate(5 * PAGE)).toBe(large);
    expect(() => one.allocate(MAXIMUM * PAGE)).toThrow(OutOfMemoryError);
  });

  test("Allocator: only its owner frees a block, until it is given away", () => {
    const [one, two] = make().allocators;
    const pointer = one.allocate(100);
    expect(() => two.free(pointer)).toThrow(/not a block/);
    const record = one.release(pointer);
    expect(() => one.free(pointer)).toThrow(/not a block/);
    expect(() => one.release(pointer)).toThrow(/not a block/);
    expect(two.adopt(record)).toBe(pointer);
    expect(one.usedBytes).toBe(128);
    two.free(pointer);
    expect(one.usedBytes).toBe(0);
  });

  test("Allocator: what an ended thread had is free again, also a lock that it held; the rest stays", () => {
    const { allocators } = make(3);
    const [one, two, three] = allocators as [Allocator, Allocator, Allocator];
    const kept = [one.allocate(500), three.allocate(700)];
    for (let i = 0; i < 20; i++) two.allocate(100 * i);
    const given = two.allocate(64);
    one.adopt(two.release(given));
    // two ends while it holds the lock
    (two.state as Int32Array)[0] = 2;
    one.reclaim(2);
    expect((one.state as Int32Array)[0]).toBe(0);
    expect(one.usedBytes).toBe(512 + 704 + 64);
    one.free(kept[0] as number);
    one.free(given);
    three.free(kept[1] as number);
    expect(one.usedBytes).toBe(0);
    expect(one.allocate(PAGE - ALIGNMENT)).toBe(ALIGNMENT);
  });

  test("Allocator: waits for a lock that another thread holds, also where a thread may not sleep", () => {
    const { allocators } = make();
    const [one] = allocators;
    const state = one.state as Int32Array;
    for (const throws of [false, true]) {
      state[0] = 7;
      const wait = vi.spyOn(Atomics, "wait").mockImplementation(() => {
        state[0] = 0;
        if (throws) throw new TypeError("Atomics.wait cannot be called in this context");
        return "ok";
      });
      one.free(one.allocate(10));
      expect(wait).toHaveBeenCalledTimes(1);
      vi.restoreAllMocks();
    }
  });

  test("Allocator: more blocks than there were records at first", () => {
    const { allocators } = make();
    const [one, two] = allocators;
    const pointers = Array.from({ length: 3000 }, (_, i) => (i % 2 === 0 ? one : two).allocate(64));
    expect(new Set(pointers).size).toBe(3000);
    for (const [i, pointer] of pointers.entries()) (i % 2 === 0 ? one : two).free(pointer);
    expect(two.usedBytes).toBe(0);
  });

  test("Allocator: any sequence of calls by three threads keeps blocks whole", () => {
    const call = fc.record({
      who: fc.nat({ max: 2 }),
      what: fc.constantFrom("allocate", "allocate", "free", "give", "end"),
      bytes: fc.oneof(fc.nat({ max: 3000 }), fc.nat({ max: 3 * PAGE })),
      pick: fc.nat(),
    });
    fc.assert(
      fc.property(fc.array(call, { maxLength: 100 }), (calls) => {
        const { memory, allocators } = make(3);
        const live: { who: number; pointer: number; bytes: number; mark: number }[] = [];
        const check = ({ pointer, bytes, mark }: (typeof live)[number]) => {
          const content = new Uint8Array(memory.buffer, pointer, bytes);
          if (!content.every((byte) => byte === mark)) throw new Error(`block ${pointer} was overwritten`);
        };
        for (const [step, { who, what, bytes, pick }] of calls.entries()) {
          const allocator = allocators[who] as Allocator;
          const at = live.length === 0 ? -1 : pick % live.length;
          const block = live[at];
          if (what === "allocate") {
            try {
              const pointer = allocator.allocate(bytes);
              new Uint8Array(memory.buffer, pointer, bytes).fill(step);
              live.push({ who, pointer, bytes, mark: step });
            } catch (error) {
              if (!(error instanceof OutOfMemoryError)) throw error;
            }
          } else if (what === "free" && block !== undefined) {
            check(block);
            (allocators[block.who] as Allocator).free(block.pointer);
            live.splice(at, 1);
          } else if (what === "give" && block !== undefined) {
            allocator.adopt((allocators[block.who] as Allocator).release(block.pointer));
            block.who = who;
          } else if (what === "end" && who > 0) {
            // a thread ends, and another one has its number: an allocator without blocks
            allocators[0].reclaim(who + 1);
            allocators[who] = new Allocator(memory, ALIGNMENT, MAXIMUM * PAGE, 0, allocators[0].state, who + 1);
            for (let i = live.length - 1; i >= 0; i--) if (live[i]?.who === who) live.splice(i, 1);
          }
          const used = live.reduce((sum, one) => sum + Math.max(1, Math.ceil(one.bytes / ALIGNMENT)) * ALIGNMENT, 0);
          if (allocators[0].usedBytes !== used) throw new Error(`usedBytes ${allocators[0].usedBytes}, not ${used}`);
        }
        for (const block of live) {
          check(block);
          (allocators[block.who] as Allocator).free(block.pointer);
        }
        const { byteLength } = memory.buffer;
        expect(allocators[0].allocate(byteLength - ALIGNMENT)).toBe(ALIGNMENT);
        expect(memory.buffer.byteLength).toBe(byteLength);
      }),
      { numRuns: 200 },
    );
  });
});
