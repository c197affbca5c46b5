// The library in a worker, over shared memory and by transfer: the same results as here, the same errors, progress and abort,
// whose the memory is, and the end.

import { readFile } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { Tensor as AnyTensor } from "../../bindings/index.js";
import type { ConnectOptions, Remote } from "../../bindings/worker.js";
import { BUILD } from "../support/build.js";
import { collectGarbage, freshModules } from "../support/fresh.js";
import { Random } from "../support/random.js";

type Modules = Awaited<ReturnType<typeof freshModules>>;

const numbers = (n: number, seed = 1) => Float64Array.from(new Random(seed).array(n));
const code = (name: string) => expect.objectContaining({ code: name });

/** The debug build is for plain memory. */
const MODES = BUILD === "debug" ? ([false] as const) : ([true, false] as const);

describe.each(MODES)("connect(), shared memory: %s", (shared) => {
  let modules: Modules;
  let worker: typeof import("../../bindings/worker.js");
  let remote: Remote;

  const options = (): ConnectOptions => {
    const memory = { shared, maximumMiB: 256 };
    if (BUILD === "debug") return { kernel: readFile("build/kernel.debug.wasm"), memory };
    return { build: BUILD as "simd" | "relaxed", memory, threads: shared ? 2 : 1 };
  };

  const tensor = (n: number, m: number, seed = 1) => modules.library.tensor(numbers(n * m, seed), { shape: [n, m] });

  beforeAll(async () => {
    modules = await freshModules();
    worker = await import("../../bindings/worker.js");
    remote = await worker.connect(options());
  });

  afterAll(async () => {
    await remote.terminate();
    await modules.library.terminate();
  });

  afterEach(() => modules.load.kernel().allocator.checkGuards());

  test("capabilities() are the worker's", () => {
    expect(remote.capabilities()).toMatchObject({ sharedMemory: shared, threads: shared ? 2 : 1 });
  });

  test("functions give what they give here, to the bit", async () => {
    const { library } = modules;
    const a = tensor(60, 40);
    const mine = library.svd(a);
    const its = await remote.svd(a);
    for (const key of ["u", "s", "vt"] as const) {
      expect(its[key]).toBeInstanceOf(library.Tensor);
      expect(its[key].toTyped()).toEqual(mine[key].toTyped());
    }
    expect(await remote.matrixRank(a)).toBe(40);
    expect(await remote.cond(a)).toBe(library.cond(a));
    expect((await remote.matmul(its.u, its.u.transpose())).shape).toEqual([60, 60]);
    expect(
      (
        await remote.lowRank(
          [
            [4, 0],
            [0, 3],
          ],
          { energy: 0.6 },
        )
      ).error.spectral,
    ).toBe(3);
    const { x, residuals, rank } = await remote.lstsq(
      [
        [1, 0],
        [1, 1],
        [1, 2],
      ],
      [1, 3, 5],
    );
    expect([x.shape, residuals.shape, rank]).toEqual([[2], [1], 2]);
  });

  test("arguments of every kind", async () => {
    const { library } = modules;
    const expected = library
      .matmul(
        [
          [1, 2],
          [3, 4],
        ],
        [[5], [6]],
      )
      .toArray();
    const data = Float64Array.of(1, 2, 3, 4);
    for (const a of [
      [
        [1, 2],
        [3, 4],
      ],
      library.tensor([
        [1, 2],
        [3, 4],
      ]),
      library
        .tensor([
          [1, 3],
          [2, 4],
        ])
        .transpose(),
      { data, shape: [2, 2] },
      { data: Float64Array.of(0, 1, 3, 2, 4), shape: [2, 2], strides: [1, 2], offset: 1 },
      { data: { length: 0 }, dims: [2, 2] } as never,
      { dataSync: () => data, shape: [2, 2] },
      {
        rows: 2,
        columns: 2,
        to2DArray: () => [
          [1, 2],
          [3, 4],
        ],
      },
    ]) {
      if ("dims" in Object(a)) {
        await expect(remote.matmul(a, [[5], [6]])).rejects.toThrow(TypeError);
        continue;
      }
      expect((await remote.matmul(a, [[5], [6]])).toArray()).toEqual(expected);
    }
    expect((await remote.matmul(data, data)).toArray()).toBe(30);
    expect(data).toHaveLength(4);
    // larger arrays are copied in pieces
    const large = numbers(1500 * 1000);
    const sum = await remote.matmul({ data: large, shape: [1500, 1000] }, new Float64Array(1000).fill(1));
    expect(sum.data[7]).toBeCloseTo(
      large.subarray(7000, 8000).reduce((s, v) => s + v, 0),
      8,
    );
  });

  test("large tensors are copied in pieces, between which memory may grow", async () => {
    const { library, load } = modules;
    const [x, ones] = [tensor(1500, 1000), library.tensor(numbers(1000).fill(1))];
    const { memory } = load.kernel();
    const [first, last] = [x.data[0] as number, x.data.at(-1) as number];
    const products = remote.matmul(x, ones);
    const before = memory.buffer.byteLength;
    let turns = 0;
    const grow = () => {
      turns++;
      if (memory.buffer.byteLength === before) library.zeros([2 ** 21]);
      if (turns < 3) setTimeout(grow);
    };
    setTimeout(grow);
    const sums = (await products).toTyped();
    expect(sums).toEqual(library.matmul(x, ones).toTyped());
    expect([x.data[0], x.data.at(-1)]).toEqual([first, last]);
    // twice among the arguments, and in options
    const square = tensor(1100, 1100, 2);
    const out = library.zeros([1100, 1100]);
    await remote.matmul(square, square, { out });
    const expected = library.matmul(square, square);
    expect(out.data.every((value, i) => value === expected.data[i])).toBe(true);
    for (const one of [x, ones, square, out, expected]) one.dispose();
  });

  test("`transfer` moves arrays where memory is not shared", async () => {
    const given = { data: numbers(100), shape: [10, 10] };
    const before = given.data.slice();
    const s = await remote.svdvals(given, { transfer: true });
    expect(given.data.length).toBe(shared ? 100 : 0);
    expect(s.toTyped()).toEqual(modules.library.svdvals({ data: before, shape: [10, 10] }).toTyped());
    // and copies them without it
    const kept = { data: before.slice(), shape: [10, 10] };
    await remote.svdvals(kept);
    expect(kept.data).toEqual(before);
  });

  test("results and arguments are the same storage where memory is shared", async () => {
    const { library, load } = modules;
    const a = tensor(3, 3);
    const out = library.zeros([3, 3]);
    const got = await remote.matmul(a, a, { out });
    expect(got).toBe(out);
    expect(out.toTyped()).toEqual(library.matmul(a, a).toTyped());
    const { s } = await remote.svd(a);
    expect(s.data.buffer === load.kernel().memory.buffer).toBe(shared);
    expect(library.matmul(s, s).size).toBe(1);
    s.dispose();
  });

  test("errors have their class, code and fields", async () => {
    const { NonFiniteError, OutOfMemoryError } = modules.library;
    const found = await remote.svd([[1, Number.NaN]]).catch((error: unknown) => error);
    expect(found).toBeInstanceOf(NonFiniteError);
    expect(found).toMatchObject({ code: "non_finite", argument: "a", index: [0, 1], name: "NonFiniteError" });
    await expect(remote.svd([1, 2])).rejects.toThrow(new RangeError('"a" expected shape (…, m, n), got (2,)'));
    await expect(remote.svd([[1]], { vectors: 1 as never })).rejects.toThrow(TypeError);
    const full = await remote.zeros([2 ** 28]).catch((error: unknown) => error);
    expect(full).toBeInstanceOf(OutOfMemoryError);
    expect(full).toMatchObject({ code: "out_of_memory", asked: 2 ** 31 });
    const operator = { shape: [1, 1], dtype: "f64", apply: (x: AnyTensor) => x, applyTransposed: (x: AnyTensor) => x };
    await expect(remote.svds(operator as never, 1)).rejects.toThrow(/operator/);
    await expect(remote.svd((() => 1) as never)).rejects.toThrow(TypeError);
    await expect(remote.svd([[1]], { onProgress: 1 as never })).rejects.toThrow(
      '"onProgress" expected a function, got 1',
    );
    await expect(remote.svd([[1]], { signal: 1 as never })).rejects.toThrow('"signal" expected an AbortSignal, got 1');
  });

  test("objects live in the worker: handles with methods, properties, dispose()", async () => {
    const { library } = modules;
    const x = tensor(30, 5);
    const mine = new library.PCA({ components: 2 });
    mine.fit(x);
    const pca = await new remote.PCA({ components: 2 });
    expect(pca.constructor.name).toBe("PCA");
    expect(await pca.fit(x)).toBe(pca);
    expect((await pca.components).toTyped()).toEqual(mine.components.toTyped());
    expect((await pca.transform(x)).toTyped()).toEqual(mine.transform(x).toTyped());
    expect(await pca.noiseVariance).toBe(mine.noiseVariance);
    const again = await remote.PCA.fromJSON(await pca.toJSON());
    expect((await again.mean).toTyped()).toEqual(mine.mean.toTyped());
    pca.dispose();
    pca.dispose();
    await expect(pca.components).rejects.toThrow(code("disposed"));
    await expect(new remote.PCA({ components: 0 })).rejects.toThrow(RangeError);
    using sparse = await remote.csr.fromCoo([0, 1], [1, 0], [2, 3], [2, 2]);
    expect((await sparse.multiply([[1], [1]])).toArray()).toEqual([[2], [3]]);
    expect(await sparse.indices).toEqual(Int32Array.of(1, 0));
    expect((await remote.svds(sparse, 1)).s.data[0]).toBeCloseTo(3, 12);
  });

  test("layers and adapters: handles as arguments, attributes, setters, in nested arguments", async () => {
    const weight = tensor(4, 6);
    const layer = await new remote.LoraLinear({ weight });
    const adapter = await new remote.LoraAdapter({ a: tensor(2, 6, 2), b: tensor(4, 2, 3), alpha: 4 });
    await layer.addAdapter("task", adapter);
    expect(await layer.adapters).toEqual(["task"]);
    const x = tensor(3, 6, 4);
    const y = await layer.forward(x);
    const { lora } = modules;
    const twin = new lora.LoraLinear({ weight });
    twin.addAdapter("task", new lora.LoraAdapter({ a: tensor(2, 6, 2), b: tensor(4, 2, 3), alpha: 4 }));
    expect(y.toTyped()).toEqual(twin.forward(x).toTyped());
    expect(await layer.enabled).toBe(true);
    await layer.set("enabled", false);
    expect(await layer.enabled).toBe(false);
    await expect(layer.set("adapters", [] as never)).rejects.toThrow(/can be set/);
    const sum = await remote.combineAdapters([
      { adapter, weight: 2 },
      { adapter, weight: -1 },
    ]);
    expect((await sum.delta()).toTyped().map((v) => Math.fround(v))).toEqual(
      (await adapter.delta()).toTyped().map((v) => Math.fround(v)),
    );
    const { adapter: smaller, rank } = await remote.resizeAdapter(adapter, { rank: 1 });
    expect([rank, await smaller.r]).toEqual([1, 1]);
    const b = await adapter.b;
    expect(b.shape).toEqual([4, 2]);
    // where memory is shared, an attribute is the object's own storage
    b.data[0] = 5;
    expect((await adapter.b).data[0]).toBe(shared ? 5 : numbers(8, 3)[0]);
    b.dispose();
    expect(await remote.trainableParameters({ w: [2, 3] }, { r: 1 })).toMatchObject({ trainable: 5 });
    const pool = await new remote.AdapterPool({ inFeatures: 6, outFeatures: 4, capacityBytes: 4096, dtype: "f64" });
    await pool.register("one", adapter);
    const into = modules.library.zeros([3, 4]);
    await remote.batchedLora(into, x, pool, ["one", null, "one"]);
    expect(into.data[4]).toBe(0);
    expect(Math.abs(into.data[0] as number)).toBeGreaterThan(shared ? 0 : -1);
  });

  test("files: adapters are saved and loaded there", async () => {
    const bytes = await remote.writeSafetensors({ w: [[1, 2]] });
    const file = await remote.openSafetensors(bytes);
    expect(await file.names).toEqual(["w"]);
    expect((await file.tensor("w")).toArray()).toEqual([[1, 2]]);
    const address = new URL(`data:application/octet-stream;base64,${Buffer.from(bytes).toString("base64")}`);
    for (const source of [new Blob([bytes as Uint8Array<ArrayBuffer>]), address]) {
      expect(await (await remote.openSafetensors(source, { maximumBytes: 1000 })).names).toEqual(["w"]);
    }
    const response = new Response(bytes as Uint8Array<ArrayBuffer>);
    await expect(remote.openSafetensors(response)).rejects.toThrow(/"arguments\[0\]" expected .* got a Response/);
    const adapter = await new remote.LoraAdapter({ a: [[1, 2]], b: [[3]], alpha: 1 });
    const config = await new remote.LoraConfig({ r: 1 });
    const saved = await remote.saveAdapter({
      format: "peft",
      config,
      modules: new Map([["layer", adapter]]),
      kinds: new Map(),
      extras: new Map(),
      metadata: {},
      dtype: "F64",
    });
    const loaded = await remote.loadAdapter(saved);
    expect([...loaded.modules.keys()]).toEqual(["layer"]);
    expect((await loaded.modules.get("layer")?.delta())?.toArray()).toEqual([[3, 6]]);
    expect(await loaded.config.r).toBe(1);
  });

  test("calls run in their order, whatever their arguments need", async () => {
    const order: number[] = [];
    const large = { data: new Float64Array(1_200_000), shape: [1200, 1000] };
    const calls = [remote.norm(large), remote.norm([[1]]), remote.svdvals(tensor(150, 150)), remote.norm([[2]])];
    await Promise.all(calls.map((call, i) => call.then(() => order.push(i))));
    expect(order).toEqual([0, 1, 2, 3]);
  });

  test("onProgress tells of steps, and an abort made inside it ends the call", async () => {
    const seen: number[] = [];
    const a = tensor(260, 260);
    await remote.svd(a, { onProgress: ({ done, total }) => seen.push(done / total) });
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.every((share, i) => share > 0 && share <= 1 && (i === 0 || share >= (seen[i - 1] as number)))).toBe(
      true,
    );
    const controller = new AbortController();
    const aborted = remote.svd(a, {
      signal: controller.signal,
      onProgress: () => controller.abort(new EvalError("enough")),
    });
    await expect(aborted).rejects.toThrow(new EvalError("enough"));
    await expect(
      remote.svd(a, {
        onProgress: () => {
          throw new EvalError("mine");
        },
      }),
    ).rejects.toThrow(new EvalError("mine"));
    expect((await remote.svdvals([[2]])).toArray()).toEqual([2]);
  });

  test("an abort ends a call that runs, one that waits, and one that has not begun; nothing is lost", async () => {
    const a = tensor(400, 400);
    await remote.svdvals(a);
    const before = remote.capabilities();
    expect(before.threads).toBeGreaterThan(0);
    const used = modules.library.capabilities().usedBytes;
    for (let i = 0; i < 3; i++) {
      const [running, waiting] = [new AbortController(), new AbortController()];
      // as soon as it runs
      const onProgress = () => {
        waiting.abort(new EvalError("second"));
        running.abort(new EvalError("first"));
      };
      const calls = [remote.svd(a, { signal: running.signal, onProgress }), remote.svd(a, { signal: waiting.signal })];
      const results = await Promise.allSettled(calls);
      expect(results).toMatchObject([
        { status: "rejected", reason: new EvalError("first") },
        { status: "rejected", reason: new EvalError("second") },
      ]);
      await expect(remote.svd(a, { signal: AbortSignal.abort(new EvalError("never")) })).rejects.toThrow(/never/);
    }
    // the next call waits until the last one has ended
    expect((await remote.svdvals([[3]])).toArray()).toEqual([3]);
    expect(modules.library.capabilities().usedBytes - used).toBeLessThan(1024);
  });

  test("memory: what is disposed of here is free, whoever allocated it", async () => {
    const { library } = modules;
    const a = tensor(100, 100);
    const layer = await new remote.LoraLinear({ weight: a });
    const round = async () => {
      const { u, s, vt } = await remote.svd(a);
      const product = await remote.matmul(u, vt);
      for (const t of [u, s, vt, product]) t.dispose();
      const weight = await layer.weight;
      weight.dispose();
      (await layer.forward(a)).dispose();
    };
    await round();
    const used = library.capabilities().usedBytes;
    for (let i = 0; i < 20; i++) await round();
    await remote.norm([[1]]);
    expect(library.capabilities().usedBytes).toBeLessThanOrEqual(used);
    layer.dispose();
    await remote.norm([[1]]);
    a.dispose();
  });

  test.skipIf(!shared)("memory: what is forgotten here is collected", async () => {
    const { library } = modules;
    await remote.norm([[1]]);
    const used = library.capabilities().usedBytes;
    const forget = async () => {
      for (let i = 0; i < 5; i++) await remote.zeros([1000]);
    };
    await forget();
    await collectGarbage(() => library.capabilities().usedBytes <= used);
    expect(library.capabilities().usedBytes).toBeLessThanOrEqual(used);
  });
});

describe.skipIf(BUILD === "debug")("connect()", () => {
  const memory = { maximumMiB: 128 };
  let modules: Modules;
  let worker: typeof import("../../bindings/worker.js");
  const build = BUILD as "simd" | "relaxed";

  const fresh = async () => {
    modules = await freshModules();
    worker = await import("../../bindings/worker.js");
  };

  afterEach(async () => {
    vi.unstubAllGlobals();
    await modules.library.terminate();
  });

  test.each([true, false])(
    "terminate() in the middle: calls reject, memory is free, tensors stay (shared %s)",
    async (shared) => {
      await fresh();
      const remote = await worker.connect({ build, threads: shared ? 2 : 1, memory: { ...memory, shared } });
      const { library } = modules;
      const a = library.tensor(numbers(400 * 400), { shape: [400, 400] });
      const used = library.capabilities().usedBytes;
      const given = await remote.eye(3);
      const layer = await new remote.LoraLinear({ weight: [[2]] });
      const weight = await layer.weight;
      const calls = [remote.svd(a), remote.svd(a)];
      const settled = Promise.allSettled(calls);
      await new Promise((resolve) => setTimeout(resolve, 20));
      await remote.terminate();
      await remote.terminate();
      for (const result of await settled)
        expect(result).toMatchObject({ status: "rejected", reason: code("terminated") });
      await expect(remote.svd(a)).rejects.toThrow(code("terminated"));
      await expect(layer.forward([[1]])).rejects.toThrow(code("terminated"));
      // what was given is ours; what was lent has gone with its owner
      expect(given.toArray()).toEqual([
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
      ]);
      if (shared) expect(() => weight.data).toThrow(code("terminated"));
      else expect(weight.toArray()).toEqual([[2]]);
      given.dispose();
      weight.dispose();
      expect(library.svdvals(a).size).toBe(400);
      // the worker's packing memory and scratch have come back, too
      expect(library.capabilities().usedBytes).toBeLessThan(used + (shared ? 0 : 8192));
    },
  );

  test("a worker that dies: calls reject, and another one can be connected", async () => {
    await fresh();
    const made = new Worker(new URL("../../bindings/remote_worker.js", import.meta.url), { execArgv: [] });
    const remote = await worker.connect({ build, memory, worker: made as never });
    const a = modules.library.tensor(numbers(500 * 500), { shape: [500, 500] });
    const call = remote.svd(a);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await Promise.all([made.terminate(), expect(call).rejects.toThrow(code("terminated"))]);
    const again = await worker.connect();
    expect((await again.svdvals([[2]])).toArray()).toEqual([2]);
    await again.terminate();
  });

  test("uses the kernel that init() loaded, and refuses other options for it", async () => {
    await fresh();
    await modules.library.init({ build, memory });
    const a = modules.library.tensor([[2]]);
    const remote = await worker.connect({ threads: 2 });
    expect((await remote.matmul(a, a)).data.buffer).toBe(modules.load.kernel().memory.buffer);
    expect(modules.library.capabilities().threads).toBe(1);
    expect(remote.capabilities().threads).toBe(2);
    await remote.terminate();
    await expect(worker.connect({ memory: { maximumMiB: 64 } })).rejects.toThrow(code("already_initialized"));
    const same = await worker.connect({ build, memory });
    await same.terminate();
  });

  test("two workers and this thread compute on one memory at the same time, with the same bits", async () => {
    await fresh();
    const { library } = modules;
    const remotes = await Promise.all([
      worker.connect({ build, threads: 2, memory }),
      worker.connect({ build, threads: 2, memory }),
    ]);
    const a = library.tensor(numbers(200 * 200), { shape: [200, 200] });
    const expected = library.svd(a).u.toTyped();
    for (let round = 0; round < 3; round++) {
      const calls = remotes.flatMap((remote) => [remote.svd(a), remote.svd(a)]);
      expect(library.svd(a).u.toTyped()).toEqual(expected);
      for (const { u } of await Promise.all(calls)) expect(u.toTyped()).toEqual(expected);
    }
    const [one, other] = remotes as [Remote, Remote];
    const layer = await new one.LoraLinear({ weight: [[1]] });
    await expect(other.applyLora({ layer } as never, {})).rejects.toThrow(/another worker/);
    await Promise.all(remotes.map((remote) => remote.terminate()));
  });

  test("refuses what is no worker, and says where the file is missing", async () => {
    await fresh();
    await expect(worker.connect({ workers: 1 } as never)).rejects.toThrow(TypeError);
    await expect(worker.connect({ build, memory, worker: 1 as never })).rejects.toThrow(/"worker" expected a Worker/);
    const missing = new URL("missing.js", import.meta.url);
    await expect(worker.connect({ build, memory, worker: missing })).rejects.toThrow(/missing\.js/);
    const made = () => new Worker(new URL("../../bindings/remote_worker.js", import.meta.url), { execArgv: [] });
    const remote = await worker.connect({ build, memory, worker: made as never });
    expect((await remote.svdvals([[4]])).toArray()).toEqual([4]);
    await remote.terminate();
  });
});
