import { describe, expect, test } from "vitest";
import { ALIGNMENT, Allocator } from "../../bindings/allocator.js";
import { OutOfMemoryError } from "../../bindings/errors.js";
import { matmul, svd, tensor } from "../../bindings/index.js";
import { kernel } from "../../bindings/load.js";
import { run } from "../../bindings/scope.js";
import { Scratch } from "../../bindings/scratch.js";

function make(guard = 0, pages = 64) {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: pages });
  const allocator = new Allocator(memory, ALIGNMENT, pages * 65536, guard);
  return { memory, allocator, scratch: new Scratch(allocator, guard > 0) };
}

describe.each([0, 64])("Scratch (guard %i)", (guard) => {
  test("Scratch: pieces are aligned and apart, whatever their size", () => {
    const { memory, scratch } = make(guard);
    const sizes = [0, 1, 64, 1000, 2 ** 18, 2 ** 19, 5];
    const pieces = sizes.map((bytes) => ({ bytes, pointer: scratch.push(bytes) }));
    pieces.forEach(({ bytes, pointer }, i) => {
      expect(pointer % ALIGNMENT).toBe(0);
      new Uint8Array(memory.buffer, pointer, bytes).fill(i + 1);
    });
    pieces.forEach(({ bytes, pointer }, i) => {
      expect(new Uint8Array(memory.buffer, pointer, bytes).every((byte) => byte === i + 1)).toBe(true);
    });
  });

  test("Scratch: rewinding gives back what came after the mark, and only that", () => {
    const { memory, allocator, scratch } = make(guard);
    const { usedBytes } = allocator;
    const bottom = scratch.mark();
    const kept = scratch.push(100);
    new Uint8Array(memory.buffer, kept, 100).fill(9);
    const { usedBytes: withKept } = allocator;
    const mark = scratch.mark();
    const next = scratch.push(200);
    scratch.push(2 ** 20);
    scratch.push(2 ** 20);
    scratch.rewind(mark);
    expect(allocator.usedBytes).toBe(withKept);
    expect(scratch.push(200)).toBe(next);
    expect(new Uint8Array(memory.buffer, kept, 100).every((byte) => byte === 9)).toBe(true);
    scratch.rewind(bottom);
    expect(allocator.usedBytes).toBe(usedBytes);
  });

  test("Scratch: a push that does not fit changes nothing", () => {
    const { allocator, scratch } = make(guard, 16);
    const mark = scratch.mark();
    scratch.push(100);
    const { usedBytes } = allocator;
    expect(() => scratch.push(2 ** 20)).toThrow(OutOfMemoryError);
    expect(allocator.usedBytes).toBe(usedBytes);
    scratch.rewind(mark);
    scratch.push(100);
    expect(allocator.usedBytes).toBe(usedBytes);
  });
});

describe("run", () => {
  test("run: rewinds scratch when a call returns and when it throws", () => {
    const { scratch, allocator } = kernel();
    const mark = scratch.mark();
    const { usedBytes } = allocator;
    const before = run((runtime) => runtime.scratch.push(10));
    expect(scratch.mark()).toBe(mark);
    expect(() =>
      run((runtime) => {
        runtime.scratch.push(2 ** 22);
        throw new RangeError("no");
      }),
    ).toThrow("no");
    expect(scratch.mark()).toBe(mark);
    expect(allocator.usedBytes).toBe(usedBytes);
    expect(run((runtime) => runtime.scratch.push(10))).toBe(before);
  });

  test("run: frees what a call made and did not return, also when it throws", () => {
    const { allocator } = kernel();
    const { usedBytes } = allocator;
    const a = run(() => {
      tensor([1, 2, 3]);
      return { nested: [tensor([4])] };
    });
    expect(a.nested[0]?.toArray()).toEqual([4]);
    a.nested[0]?.dispose();
    expect(() =>
      run(() => {
        tensor([1, 2, 3]);
        throw new Error("no");
      }),
    ).toThrow("no");
    expect(allocator.usedBytes).toBe(usedBytes);
  });

  test("run: a large decomposition gives its working memory back", () => {
    const { scratch, allocator } = kernel();
    const mark = scratch.mark();
    const { usedBytes } = allocator;
    const a = tensor(
      new Float32Array(200 * 200).map((_, i) => Math.sin(i)),
      { shape: [200, 200] },
    );
    const { u, s, vt } = svd(a);
    const product = matmul(u, vt);
    for (const t of [a, u, s, vt, product]) t.dispose();
    expect(scratch.mark()).toBe(mark);
    expect(allocator.usedBytes).toBe(usedBytes);
  });
});
