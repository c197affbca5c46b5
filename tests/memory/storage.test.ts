// Lifetime of storage, for plain and for shared memory: who keeps it alive, who gives it back, what growth does to views.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Tensor } from "../../bindings/index.js";
import { BUILD } from "../support/build.js";
import { collectGarbage, fresh } from "../support/fresh.js";

type Modules = Awaited<ReturnType<typeof fresh>>;

describe.each([{ shared: false }, { shared: true }])("memory with shared: $shared", ({ shared }) => {
  let library: Modules["library"];
  let lora: Modules["lora"];
  let load: Modules["load"];
  let before = 0;

  const used = () => library.capabilities().usedBytes;
  /** Makes memory grow. */
  const grow = () => {
    const { reservedBytes } = library.capabilities();
    library.empty([reservedBytes / 8 + 1000]).dispose();
    expect(library.capabilities().reservedBytes).toBeGreaterThan(reservedBytes);
  };

  beforeEach(async () => {
    ({ library, lora, load } = await fresh({ shared }));
    before = used();
  });

  afterEach(async () => {
    vi.restoreAllMocks();
    load.kernel().allocator.checkGuards();
    await library.terminate();
  });

  test("init: the memory is of the kind asked for", () => {
    expect(library.capabilities().sharedMemory).toBe(shared);
    expect(library.zeros([1]).data.buffer instanceof SharedArrayBuffer).toBe(shared);
  });

  test("data: the same object until memory grows, then right again", () => {
    const a = library.tensor([
      [1, 2],
      [3, 4],
    ]);
    const view = a.data;
    expect(a.data).toBe(view);
    library.zeros([100]).dispose();
    expect(a.data).toBe(view);
    grow();
    expect([...a.data]).toEqual([1, 2, 3, 4]);
    expect(a.data).toBe(a.data);
    if (shared) {
      expect(a.data === view).toBe(true);
      expect([...view]).toEqual([1, 2, 3, 4]);
      view[0] = 7;
      expect(a.toArray()).toEqual([
        [7, 2],
        [3, 4],
      ]);
    } else {
      expect(view.length).toBe(0);
      expect(a.data === view).toBe(false);
    }
  });

  test("tensor: numbers that lie in kernel memory may be copied while memory grows", () => {
    const a = library.tensor(new Float64Array(2 ** 18).map((_, i) => i));
    const { data } = a;
    const parts = [data, data.subarray(5), { data: data.subarray(3), shape: [2], strides: [4], offset: 1 }] as const;
    const { reservedBytes } = library.capabilities();
    const copies: Tensor[] = [];
    for (let i = 0; library.capabilities().reservedBytes === reservedBytes; i++) {
      const source = data.length > 0 ? (parts[i % 3] as (typeof parts)[number]) : data;
      copies.push(library.tensor(source));
    }
    copies.forEach((copy, i) => {
      const typed = copy.toTyped();
      if (i % 3 === 2) expect([...typed]).toEqual([4, 8]);
      else expect([typed[0], typed[typed.length - 1]]).toEqual([i % 3 === 1 ? 5 : 0, 2 ** 18 - 1]);
    });
    expect(copies.length).toBeGreaterThan(2);
  });

  test("matmul: operands that lie in kernel memory may be read while the result makes memory grow", () => {
    const a = library.tensor(new Float64Array(2000).fill(2));
    const b = library.tensor(new Float64Array(2000).fill(3));
    const { reservedBytes } = library.capabilities();
    const left = { data: a.data, shape: [2000, 1] };
    const right = { data: b.data, shape: [1, 2000] };
    const c = library.matmul(left, right);
    expect(library.capabilities().reservedBytes).toBeGreaterThan(reservedBytes);
    expect(c.data.every((value) => value === 6)).toBe(true);
  });

  test("dispose: gives the block back at once; twice is a no-op", () => {
    const a = library.zeros([1000]);
    expect(used()).toBeGreaterThanOrEqual(before + 8000);
    a.dispose();
    expect(used()).toBe(before);
    const b = library.zeros([1000]);
    a.dispose();
    a[Symbol.dispose]();
    b.data.fill(1);
    const c = library.zeros([1000]);
    expect(b.data.every((value) => value === 1)).toBe(true);
    b.dispose();
    c.dispose();
    expect(used()).toBe(before);
  });

  test("dispose: every use after it is an Error of its own", () => {
    const a = library.zeros([2, 2]);
    const b = library.zeros([2, 2]);
    a.dispose();
    const uses: Record<string, () => unknown> = {
      data: () => a.data,
      transpose: () => a.transpose(),
      subtensor: () => a.subtensor(0, 1),
      reshape: () => a.reshape([4]),
      toTyped: () => a.toTyped(),
      toArray: () => a.toArray(),
      tensor: () => library.tensor(a),
      left: () => library.matmul(a, b),
      right: () => library.matmul(b, a),
      out: () => library.matmul(b, b, { out: a }),
      svd: () => library.svd(a),
      adapter: () => new lora.LoraAdapter({ a: b, b: a }),
      weight: () => new lora.LoraLinear({ weight: a }),
      forward: () => new lora.LoraLinear({ weight: [[1, 2]] }).forward(a),
    };
    for (const [name, use] of Object.entries(uses)) {
      expect(use, name).toThrow(expect.objectContaining({ code: "disposed", message: "this tensor was disposed of" }));
    }
    expect([a.dtype, a.shape, a.size, a.ndim]).toEqual(["f64", [2, 2], 4, 2]);
  });

  test("dispose: an empty tensor that was disposed of is refused as well", () => {
    const a = library.zeros([0, 3]);
    a.dispose();
    expect(() => library.matmul(a, library.zeros([3, 0]))).toThrow("disposed");
    expect(() => library.svdvals(a)).toThrow("disposed");
  });

  test("using: disposes at the end of the block", () => {
    const inside = (() => {
      using a = library.zeros([1000]);
      using view = a.subtensor(1, 2);
      expect(view.size).toBe(1);
      return used();
    })();
    expect(inside).toBeGreaterThan(before);
    expect(used()).toBe(before);
  });

  test.each(["transpose", "subtensor", "reshape"] as const)("%s: the view keeps the storage alive", (kind) => {
    const a = library.tensor([
      [1, 2],
      [3, 4],
    ]);
    const view = { transpose: () => a.transpose(), subtensor: () => a.subtensor(1, 2), reshape: () => a.reshape([4]) };
    const b = view[kind]();
    const expected = b.toArray();
    a.dispose();
    const others = Array.from({ length: 50 }, () => library.zeros([2, 2]));
    expect(b.toArray()).toEqual(expected);
    b.dispose();
    for (const other of others) other.dispose();
    expect(used()).toBe(before);
  });

  /** A view, and what knows whether its tensor was collected. */
  const lastView = () => {
    const a = library.tensor(new Float64Array(1000).map((_, i) => i));
    return { view: a.data, tensor: new WeakRef(a) };
  };

  test("data: keeps the storage of a tensor that was dropped", async () => {
    const { view, tensor } = lastView();
    await collectGarbage(() => tensor.deref() === undefined);
    expect(tensor.deref()).toBe(undefined);
    let rounds = 0;
    await collectGarbage(() => ++rounds > 5);
    expect(used()).toBeGreaterThanOrEqual(before + 8000);
    const others = Array.from({ length: 100 }, () => library.zeros([1000]));
    expect(view.every((value, i) => value === i)).toBe(true);
    for (const other of others) other.dispose();
  });

  test("data: the storage goes when tensor and view are dropped", async () => {
    (() => expect(lastView().view.length).toBe(1000))();
    expect(used()).toBeGreaterThan(before);
    await collectGarbage(() => used() === before);
    expect(used()).toBe(before);
  });

  test("transpose: tensor and view, both dropped, give the block back once", async () => {
    (() => library.zeros([100, 100]).transpose())();
    await collectGarbage(() => used() === before);
    expect(used()).toBe(before);
    (() => library.zeros([100, 100]).transpose().dispose())();
    await collectGarbage(() => used() === before);
    expect(used()).toBe(before);
  });

  test("LoraLinear: dropped, gives everything back", async () => {
    (() => {
      const layer = new lora.LoraLinear({ weight: library.zeros([64, 64]), bias: new Float64Array(64) });
      layer.addAdapter("a", new lora.LoraAdapter({ a: library.zeros([4, 64]), b: library.zeros([64, 4]) }));
      layer.merge();
    })();
    expect(used()).toBeGreaterThan(before);
    await collectGarbage(() => used() === before);
    expect(used()).toBe(before);
  });

  test("terminate: tensors made before throw, also after another init", async () => {
    const a = library.zeros([2, 2]);
    const view = a.transpose();
    await library.terminate();
    const ended = expect.objectContaining({ code: "terminated" });
    expect(() => a.data).toThrow(ended);
    expect(() => library.zeros([1])).toThrow(expect.objectContaining({ code: "not_initialized" }));
    await library.init({ build: "simd", memory: { shared, maximumMiB: 64 } });
    expect(() => a.data).toThrow(ended);
    expect(() => library.tensor(a)).toThrow(ended);
    expect(() => library.svd(view)).toThrow(ended);
    const { usedBytes } = library.capabilities();
    a.dispose();
    view.dispose();
    expect(used()).toBe(usedBytes);
    expect(library.tensor([1]).toArray()).toEqual([1]);
  });

  test("OutOfMemoryError: the next call works and earlier tensors are intact", async () => {
    await library.terminate();
    ({ library, lora, load } = await fresh({ shared, maximumMiB: 32 }));
    before = used();
    const a = library.tensor(new Float32Array(10000).map((_, i) => i));
    const layer = new lora.LoraLinear({ weight: a.reshape([100, 100]) });
    const { usedBytes } = library.capabilities();
    const calls: Record<string, () => unknown> = {
      zeros: () => library.zeros([2 ** 23]),
      huge: () => library.empty([2 ** 30]),
      wrapped: () => library.svd(library.zeros([2 ** 18 + 4, 0]), { vectors: "full" }),
      matmul: () => library.matmul(library.zeros([5000, 1]), library.zeros([1, 5000])),
      "matmul of plain arrays": () =>
        library.matmul(new Array(5000).fill([1]) as number[][], [new Array(5000).fill(1) as number[]]),
      svd: () => library.svd(library.zeros([2000, 1]), { vectors: "full" }),
      forward: () => layer.forward(library.zeros([90000, 100], "f32")),
      adapter: () => new lora.LoraAdapter({ a: [[1]], b: { data: new Float64Array(2 ** 22), shape: [2 ** 22, 1] } }),
      layer: () => new lora.LoraLinear({ weight: { data: new Float64Array(2 ** 22), shape: [2 ** 22, 1] } }),
    };
    for (const [name, call] of Object.entries(calls)) {
      let error: unknown;
      try {
        library.scope(call);
      } catch (thrown) {
        error = thrown;
      }
      expect(error, name).toBeInstanceOf(library.OutOfMemoryError);
      const { asked, free, maximum } = error as InstanceType<typeof library.OutOfMemoryError>;
      expect(asked, name).toBeGreaterThan(free);
      expect(maximum, name).toBe(2 ** 25);
      expect(used(), name).toBe(usedBytes);
    }
    expect(a.data.every((value, i) => value === i)).toBe(true);
    expect(library.matmul([[2]], [[3]]).toArray()).toEqual([[6]]);
  });

  test("LoraAdapter, LoraLinear: where memory ends in the constructor, nothing is held", async () => {
    await library.terminate();
    ({ library, lora, load } = await fresh({ shared, maximumMiB: 32 }));
    before = used();
    const small = library.zeros([4, 1]);
    const weight = library.zeros([2 ** 22, 1], "f32");
    const b = { data: new Float64Array(2 ** 22), shape: [2 ** 20, 4] };
    expect(() => new lora.LoraAdapter({ a: small, b })).toThrow(library.OutOfMemoryError);
    expect(() => new lora.LoraLinear({ weight, bias: new Float32Array(2 ** 22) })).toThrow(library.OutOfMemoryError);
    small.dispose();
    weight.dispose();
    expect(used()).toBe(before);
  });

  test("checkGuards: the debug build finds a write one element beside a tensor", () => {
    const { allocator, f32, f64, memory } = load.kernel();
    for (const { fill, bytes, dtype } of [
      { ...f32, bytes: 4, dtype: "f32" },
      { ...f64, bytes: 8, dtype: "f64" },
    ] as const) {
      for (const size of [0, 1, 5, 16]) {
        for (const at of [-1, size]) {
          const a = library.zeros([size], dtype);
          const address = a.pointer + at * bytes;
          const before = new Uint8Array(memory.buffer, address, bytes).slice();
          allocator.checkGuards();
          fill(1, 1, address);
          // the shared twins of the kernel are release builds: they have no guard words
          if (BUILD === "debug" && !shared) {
            expect(() => allocator.checkGuards()).toThrow(expect.objectContaining({ code: "guard" }));
            expect(() => a.dispose()).toThrow(/a write outside the block/);
          }
          new Uint8Array(memory.buffer, address, bytes).set(before);
          a.dispose();
        }
      }
    }
  });

  test("run: after a trap the instance is made again, tensors stay, the next call gives the same bits", () => {
    const a = library.tensor(
      new Float64Array(30).map((_, i) => Math.sin(i)),
      { shape: [6, 5] },
    );
    const first = library.svd(a).s.toTyped();
    const { usedBytes } = library.capabilities();
    const instance = load.kernel().f64;
    const trap = new WebAssembly.RuntimeError("unreachable");
    vi.spyOn(instance, "gesvd").mockImplementation(() => {
      throw trap;
    });
    expect(() => library.svd(a)).toThrow(expect.objectContaining({ code: "kernel_trap", cause: trap }));
    expect(load.kernel().f64).not.toBe(instance);
    expect(used()).toBe(usedBytes);
    expect(library.svd(a).s.toTyped()).toEqual(first);
    expect(a.toTyped()[29]).toBe(Math.sin(29));
  });

  test("run: a trap of the machine's own: an address outside memory", () => {
    const a = library.tensor([1, 2, 3]);
    const { f64 } = load.kernel();
    const { lacpy } = f64;
    // one copy runs past the end of memory
    vi.spyOn(f64, "lacpy").mockImplementation((m, n, from, rs, cs, to, ld) => {
      lacpy(m, n, from, rs, cs, to, ld);
      lacpy(1, 100, 0xffffff00, 100, 1, 0xffffff00, 100);
    });
    expect(() => library.tensor(a)).toThrow(
      expect.objectContaining({ code: "kernel_trap", cause: expect.any(WebAssembly.RuntimeError) }),
    );
    expect(library.tensor(a).toArray()).toEqual([1, 2, 3]);
    expect(a.toArray()).toEqual([1, 2, 3]);
  });

  test("Tensor: 10,000 rounds of making and disposing leave memory as it was", () => {
    const { usedBytes, reservedBytes } = library.capabilities();
    for (let i = 0; i < 10_000; i++) {
      const a = library.tensor([[1, 2]], { dtype: "f32" });
      const b = a.transpose();
      const c = library.matmul(b, a);
      for (const t of [a, b, c, library.scope(() => c.reshape([4]).subtensor(0, 1))]) t.dispose();
      const layer = new lora.LoraLinear({ weight: [[1, 2]] });
      layer.addAdapter("a", new lora.LoraAdapter({ a: [[1, 2]], b: [[1]] }));
      layer.merge();
      layer.dispose();
    }
    expect(library.capabilities()).toMatchObject({ reservedBytes });
    // the adapters that were handed to addAdapter() and forgotten are the collector's part
    const adapter = library.scope(() => {
      const start = used();
      new lora.LoraAdapter({ a: [[1, 2]], b: [[1]] });
      return used() - start;
    });
    expect(used() - usedBytes).toBe(10_001 * adapter);
  });
});
