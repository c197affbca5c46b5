import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { ALIGNMENT, Allocator } from "../../bindings/allocator.js";
import { OutOfMemoryError } from "../../bindings/errors.js";

const PAGE = 65536;

function make({ pages = 1, maximum = 16, guard = 0, shared = false } = {}) {
  const memory = new WebAssembly.Memory({ initial: pages, maximum: 64, shared });
  return { memory, allocator: new Allocator(memory, ALIGNMENT, maximum * PAGE, guard) };
}

/** What a block of `bytes` takes. */
function taken(bytes: number, guard = 0): number {
  return Math.max(1, Math.ceil(bytes / ALIGNMENT)) * ALIGNMENT + 2 * guard;
}

function outOfMemory(f: () => unknown): OutOfMemoryError {
  try {
    f();
  } catch (error) {
    if (error instanceof OutOfMemoryError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("Allocator", () => {
  test("Allocator: blocks are aligned, apart and counted to the byte", () => {
    const { allocator } = make();
    const sizes = [0, 1, 63, 64, 65, 4096, 100];
    const pointers = sizes.map((bytes) => allocator.allocate(bytes));
    expect(pointers.every((pointer) => pointer % ALIGNMENT === 0 && pointer >= ALIGNMENT)).toBe(true);
    const ranges = pointers.map((pointer, i) => [pointer, pointer + taken(sizes[i] as number)] as const);
    ranges.sort(([p], [q]) => p - q);
    for (let i = 1; i < ranges.length; i++) expect(ranges[i]?.[0]).toBeGreaterThanOrEqual(ranges[i - 1]?.[1] as number);
    expect(allocator.usedBytes).toBe(sizes.reduce((sum, bytes) => sum + taken(bytes), 0));
    for (const pointer of pointers) allocator.free(pointer);
    expect(allocator.usedBytes).toBe(0);
  });

  test.each([
    ["first to last", [0, 1, 2, 3, 4]],
    ["last to first", [4, 3, 2, 1, 0]],
    ["odd before even", [1, 3, 0, 2, 4]],
    ["even before odd", [0, 2, 4, 1, 3]],
  ])("Allocator: blocks freed %s are one block again", (_, order) => {
    const { memory, allocator } = make();
    const pointers = [100, 5000, 64, 20000, 1].map((bytes) => allocator.allocate(bytes));
    for (const i of order) allocator.free(pointers[i] as number);
    expect(allocator.allocate(PAGE - ALIGNMENT)).toBe(ALIGNMENT);
    expect(memory.buffer.byteLength).toBe(PAGE);
  });

  test("Allocator: grows, keeps what it has, and joins new pages to the free end", () => {
    const { memory, allocator } = make();
    const first = allocator.allocate(100);
    new Uint8Array(memory.buffer, first, 100).fill(7);
    const large = allocator.allocate(3 * PAGE);
    expect(large).toBe(first + taken(100));
    expect(new Uint8Array(memory.buffer, first, 100).every((byte) => byte === 7)).toBe(true);
    allocator.free(first);
    allocator.free(large);
    const whole = memory.buffer.byteLength - ALIGNMENT;
    expect(allocator.allocate(whole)).toBe(ALIGNMENT);
    expect(memory.buffer.byteLength - ALIGNMENT).toBe(whole);
  });

  test("Allocator: grows a logarithmic number of times", () => {
    const { memory, allocator } = make({ maximum: 64 });
    const grow = vi.spyOn(memory, "grow");
    for (let i = 0; i < 900; i++) allocator.allocate(4096);
    expect(grow.mock.calls.length).toBeLessThan(20);
  });

  test.each([0, 64])(
    "Allocator: out of memory names asked, free and maximum, and changes nothing (guard %i)",
    (guard) => {
      const { memory, allocator } = make({ maximum: 4, guard });
      const kept = allocator.allocate(1000);
      const hole = allocator.allocate(70000);
      allocator.allocate(1000);
      allocator.free(hole);
      const { usedBytes } = allocator;
      const error = outOfMemory(() => allocator.allocate(4 * PAGE));
      expect(error).toMatchObject({ asked: 4 * PAGE, maximum: 4 * PAGE, code: "out_of_memory" });
      expect(error.message).toBe(
        `kernel memory: asked for ${4 * PAGE} bytes, ${error.free} free of at most ${4 * PAGE}`,
      );
      expect(allocator.usedBytes).toBe(usedBytes);
      expect(outOfMemory(() => allocator.allocate(error.free + 1)).free).toBe(error.free);
      const largest = allocator.allocate(error.free);
      allocator.free(largest);
      allocator.free(kept);
      expect(memory.buffer.byteLength).toBeLessThanOrEqual(4 * PAGE);
    },
  );

  test.each([2 ** 32, 2 ** 33, 2 ** 38 + 64, 2 ** 60, Infinity])(
    "Allocator: %d bytes are refused, not wrapped",
    (bytes) => {
      const { allocator } = make({ maximum: 4 });
      expect(outOfMemory(() => allocator.allocate(bytes)).asked).toBe(bytes);
      expect(allocator.usedBytes).toBe(0);
    },
  );

  test("Allocator: where the platform refuses to grow, free is what is left without growth", () => {
    const { memory, allocator } = make({ pages: 2 });
    const grow = vi.spyOn(memory, "grow").mockImplementation(() => {
      throw new RangeError("WebAssembly.Memory.grow(): Unable to grow instance memory");
    });
    const error = outOfMemory(() => allocator.allocate(3 * PAGE));
    expect(error.free).toBe(2 * PAGE - ALIGNMENT);
    expect(allocator.allocate(error.free)).toBe(ALIGNMENT);
    expect(grow).toHaveBeenCalled();
  });

  test("Allocator: takes fewer pages where the platform refuses the generous number", () => {
    const { memory, allocator } = make({ pages: 40, maximum: 64 });
    const grow = memory.grow.bind(memory);
    vi.spyOn(memory, "grow").mockImplementation((pages) => {
      if (pages > 1) throw new RangeError("refused");
      return grow(pages);
    });
    expect(allocator.allocate(40 * PAGE)).toBe(ALIGNMENT);
    expect(memory.buffer.byteLength).toBe(41 * PAGE);
  });

  test("Allocator: freeing what is not a block is an error", () => {
    const { allocator } = make();
    const pointer = allocator.allocate(100);
    expect(() => allocator.free(pointer + 64)).toThrow(/not a block/);
    allocator.free(pointer);
    expect(() => allocator.free(pointer)).toThrow(/not a block/);
    expect(allocator.usedBytes).toBe(0);
  });
});

describe("Allocator with guard words", () => {
  const bytes = 3 * ALIGNMENT;

  test.each([
    ["a word before a block", bytes, -4],
    ["a word after it", bytes, bytes],
    ["the first word of the guard before it", bytes, -64],
    ["the last word of the guard after it", bytes, bytes + 60],
    ["a word after a block that ends between two units", 40, 40],
    ["a word after an odd block", 5, 8],
    ["a word of an empty block", 0, 0],
  ])("Allocator: a write to %s is found", (_, size, at) => {
    const { memory, allocator } = make({ guard: 64 });
    const pointer = allocator.allocate(size);
    allocator.checkGuards();
    new Float32Array(memory.buffer)[(pointer + at) / 4] = 1;
    const error = `a write outside the block ${pointer}…${pointer + 4 * Math.ceil(size / 4)}: at ${pointer + at}`;
    expect(() => allocator.checkGuards()).toThrow(error);
    expect(() => allocator.free(pointer)).toThrow(error);
  });

  test("Allocator: a write inside the block is none of its business", () => {
    const { memory, allocator } = make({ guard: 64 });
    const pointer = allocator.allocate(bytes);
    new Uint8Array(memory.buffer, pointer, bytes).fill(1);
    allocator.checkGuards();
    allocator.free(pointer);
  });

  test("Allocator: new and freed blocks are full of NaN in both dtypes", () => {
    const { memory, allocator } = make({ guard: 64 });
    const pointer = allocator.allocate(bytes);
    const words = () => [
      ...new Float32Array(memory.buffer, pointer, bytes / 4),
      ...new Float64Array(memory.buffer, pointer, bytes / 8),
    ];
    expect(words().every(Number.isNaN)).toBe(true);
    new Uint8Array(memory.buffer, pointer, bytes).fill(0);
    allocator.free(pointer);
    expect(words().every(Number.isNaN)).toBe(true);
  });
});

describe("Allocator under random calls", () => {
  const call = fc.oneof(
    { weight: 3, arbitrary: fc.record({ bytes: fc.integer({ min: 0, max: 3000 }) }) },
    { weight: 1, arbitrary: fc.record({ bytes: fc.integer({ min: 0, max: 3 * PAGE }) }) },
    { weight: 3, arbitrary: fc.record({ free: fc.nat() }) },
  );

  test.each([
    { guard: 0, shared: false },
    { guard: 64, shared: false },
    { guard: 0, shared: true },
  ])("Allocator: any sequence keeps blocks whole ($guard bytes of guard, shared $shared)", ({ guard, shared }) => {
    fc.assert(
      fc.property(fc.array(call, { maxLength: 120 }), (calls) => {
        const { memory, allocator } = make({ maximum: 8, guard, shared });
        const live: { pointer: number; bytes: number; mark: number }[] = [];
        let used = 0;
        const release = (i: number) => {
          const [block] = live.splice(i, 1) as [(typeof live)[number]];
          const content = new Uint8Array(memory.buffer, block.pointer, block.bytes);
          if (!content.every((byte) => byte === block.mark)) throw new Error(`block ${block.pointer} was overwritten`);
          allocator.free(block.pointer);
          used -= taken(block.bytes, guard);
        };
        calls.forEach((one, step) => {
          if ("bytes" in one) {
            const { bytes } = one;
            try {
              const pointer = allocator.allocate(bytes);
              expect(pointer % ALIGNMENT).toBe(0);
              expect(pointer + bytes).toBeLessThanOrEqual(memory.buffer.byteLength);
              new Uint8Array(memory.buffer, pointer, bytes).fill(step);
              live.push({ pointer, bytes, mark: step });
              used += taken(bytes, guard);
            } catch (error) {
              if (!(error instanceof OutOfMemoryError)) throw error;
              expect(error.asked).toBe(bytes);
              expect(error.free).toBeLessThan(bytes);
              if (error.free > 0) allocator.free(allocator.allocate(error.free));
            }
          } else if (live.length > 0) {
            release(one.free % live.length);
          }
          if (allocator.usedBytes !== used) throw new Error(`usedBytes ${allocator.usedBytes}, expected ${used}`);
          allocator.checkGuards();
        });
        while (live.length > 0) release(live.length >> 1);
        const { byteLength } = memory.buffer;
        expect(allocator.allocate(byteLength - ALIGNMENT - 2 * guard)).toBe(ALIGNMENT + guard);
        expect(memory.buffer.byteLength).toBe(byteLength);
      }),
      { numRuns: 300 },
    );
  });
});
