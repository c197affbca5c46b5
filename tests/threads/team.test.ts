// A team as a whole: how many it has and why not more, traps, members that are lost, calls beside each other, its end.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { InitOptions, Tensor } from "../../bindings/index.js";
import { BUILD } from "../support/build.js";
import { freshModules } from "../support/fresh.js";
import { Random } from "../support/random.js";

type Modules = Awaited<ReturnType<typeof freshModules>>;

let modules: Modules;
const memory = { maximumMiB: 256 };
const build = BUILD as "simd" | "relaxed";

async function start(options: InitOptions) {
  const capabilities = await modules.library.init({ build, memory, ...options });
  modules.load.kernel().common.setReluctance(0);
  return capabilities;
}

function square(n: number, seed = 1) {
  return modules.library.tensor(Float64Array.from(new Random(seed).array(n * n)), { shape: [n, n] });
}

beforeEach(async () => {
  modules = await freshModules();
});

afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  await modules.library.terminate();
});

// the debug build is for plain memory
describe.skipIf(BUILD === "debug")("init({ threads })", () => {
  test.each([1, 2, 5])("init: starts as many threads as were asked for (%i)", async (threads) => {
    await expect(start({ threads })).resolves.toMatchObject({ threads, reasons: [] });
    const a = square(90);
    expect(modules.library.matmul(a, modules.library.eye(90)).toTyped()).toEqual(a.toTyped());
  });

  test("init: auto is what the machine has, at most eight", async () => {
    const { threads } = await start({ threads: "auto" });
    const { availableParallelism } = await import("node:os");
    expect(threads).toBe(Math.min(8, availableParallelism()));
  });

  test("init: without shared memory one thread computes, and a reason says so", async () => {
    const { threads, reasons } = await start({ threads: 3, memory: { ...memory, shared: false } });
    expect([threads, reasons]).toEqual([1, ["threads: they need shared memory"]]);
  });

  test("init: a thread that must not wait has no team, and the reason names connect()", async () => {
    vi.spyOn(Atomics, "wait").mockImplementation(() => {
      throw new TypeError("Atomics.wait cannot be called in this context");
    });
    const { threads, reasons } = await start({ threads: 2 });
    expect(threads).toBe(1);
    expect(reasons).toEqual([expect.stringMatching(/^threads: .*main thread.*connect\(\)/)]);
  });

  test("init: a file that is not there leaves one thread, and the reason names it", async () => {
    const { threads, reasons } = await start({ threads: 2, workerUrl: new URL("missing.js", import.meta.url) });
    expect(threads).toBe(1);
    expect(reasons).toEqual([expect.stringMatching(/^threads: .*missing\.js/)]);
    expect(modules.library.matmul(square(50), square(50)).size).toBe(2500);
  });

  test("init: workerUrl as a text or a URL", async () => {
    const workerUrl = new URL("../../bindings/team_worker.js", import.meta.url);
    await expect(start({ threads: 2, workerUrl })).resolves.toMatchObject({ threads: 2 });
    await modules.library.terminate();
    await expect(start({ threads: 2, workerUrl: workerUrl.href })).resolves.toMatchObject({ threads: 2 });
  });

  test("init: where memory does not do for all, there are fewer", async () => {
    const { threads, reasons } = await start({ threads: 8, memory: { initialMiB: 4, maximumMiB: 8 } });
    expect(threads).toBeGreaterThan(1);
    expect(threads).toBeLessThan(8);
    expect(reasons).toEqual([expect.stringMatching(/^threads: .*asked for/)]);
    const a = square(60);
    expect(modules.library.matmul(a, modules.library.eye(60)).toTyped()).toEqual(a.toTyped());
  });
});

describe.skipIf(BUILD === "debug")("a team at work", () => {
  test("a trap of a tile, whoever computes it, becomes an Error; tensors and the team stay", async () => {
    await start({ threads: 3 });
    const { library, load } = modules;
    const { run } = await import("../../bindings/scope.js");
    const a = square(200);
    const expected = library.matmul(a, a).toTyped();
    const used = library.capabilities().usedBytes;
    for (let i = 0; i < 10; i++) {
      const end = load.kernel().memory.buffer.byteLength;
      // the last rows of C lie behind the end of memory
      const c = end - 150 * 200 * 8;
      expect(() =>
        run(({ f64 }) => f64.gemm(200, 200, 200, 1, a.pointer, 200, 1, a.pointer, 200, 1, 0, c, 200)),
      ).toThrow(expect.objectContaining({ code: "kernel_trap" }));
      load.kernel().common.setReluctance(0);
      expect(library.matmul(a, a).toTyped()).toEqual(expected);
    }
    expect(library.capabilities()).toMatchObject({ threads: 3, reasons: [], usedBytes: used + 10 * 320_000 });
  });

  test("a member that is lost in a tile: an Error after a while, then one thread computes", async () => {
    await start({ threads: 2 });
    const { library, load } = modules;
    const { team, memory: shared } = load.kernel();
    const control = team?.control as number;
    const words = new Int32Array(shared.buffer);
    // it waits 50 ms instead of many seconds, and one that does not exist computes for ever
    words[(control + 144) / 4] = 50;
    Atomics.add(words, (control + 64) / 4, 1);
    const a = square(100);
    expect(() => library.matmul(a, a)).toThrow(expect.objectContaining({ code: "kernel_trap" }));
    expect(library.capabilities()).toMatchObject({ threads: 1, reasons: ["threads: a worker was lost"] });
    expect(library.matmul(a, library.eye(100)).toTyped()).toEqual(a.toTyped());
  });

  test("a member that ends while it sleeps leaves the others", async () => {
    await start({ threads: 3 });
    const { library, load } = modules;
    const a = square(150);
    const expected = library.matmul(a, a).toTyped();
    // the last worker that was made
    const members = (load.kernel().team as unknown as { members(): { terminate(): Promise<unknown> }[] }).members();
    await members[0]?.terminate();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const { threads, reasons } = library.capabilities();
    expect([threads, reasons]).toEqual([2, ["threads: the worker ended"]]);
    expect(library.matmul(a, a).toTyped()).toEqual(expected);
    await members[1]?.terminate();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(library.capabilities().threads).toBe(1);
    expect(library.matmul(a, a).toTyped()).toEqual(expected);
  });

  test("calls inside calls: an operator of the caller's multiplies with the team, too", async () => {
    await start({ threads: 2 });
    const { library } = modules;
    const a = square(120);
    const operator = {
      shape: [120, 120],
      dtype: "f64" as const,
      apply: (x: Tensor) => library.matmul(a, x),
      applyTransposed: (y: Tensor) => library.matmul(a.transpose(), y),
    };
    const [mine, its] = [library.svds(operator, 5), library.svds(a, 5)];
    for (let i = 0; i < 5; i++) expect(mine.s.data[i]).toBeCloseTo(its.s.data[i] as number, 8);
  });

  test("two teams on two memories in one process compute at the same time", async () => {
    await start({ threads: 2 });
    const first = modules;
    const expected = first.library.svdvals(square(160)).toTyped();
    modules = await freshModules();
    await start({ threads: 3 });
    for (let i = 0; i < 5; i++) {
      expect(modules.library.svdvals(square(160)).toTyped()).toEqual(expected);
      const again = first.library.tensor(Float64Array.from(new Random(1).array(160 * 160)), { shape: [160, 160] });
      expect(first.library.svdvals(again).toTyped()).toEqual(expected);
    }
    await first.library.terminate();
  });
});

describe.skipIf(BUILD === "debug")("the end of a team", () => {
  test("terminate() ends the workers, and init() may follow with another size", async () => {
    for (const threads of [2, 4, 1, 3]) {
      await expect(start({ threads })).resolves.toMatchObject({ threads });
      expect(modules.library.matmul(square(64), square(64)).size).toBe(4096);
      await modules.library.terminate();
    }
  });

  test("terminate() while the team starts: init() rejects and no worker stays", async () => {
    const started = start({ threads: 4 });
    await modules.library.terminate();
    await expect(started).rejects.toThrow(expect.objectContaining({ code: "terminated" }));
    await expect(start({ threads: 2 })).resolves.toMatchObject({ threads: 2 });
  });
});
