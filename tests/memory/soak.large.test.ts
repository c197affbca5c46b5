// An hour's worth of calls in a few minutes: every operation in random order, results dropped as a user would, with a team and in a
// worker. What is used must end where it stood after the first rounds; what is reserved depends on when the collector comes.

import { afterEach, describe, expect, test } from "vitest";
import { BUILD } from "../support/build.js";
import { type Anything, CALLS, type Call } from "../support/calls.js";
import { collectGarbage, freshModules } from "../support/fresh.js";
import { Random } from "../support/random.js";

/** Rounds of all operations; the first ones let memory grow to what it needs. */
const [WARM, ROUNDS] = [10, 150];
/** Bytes by which the JavaScript heap may differ: engines keep what they may need again. */
const HEAP = 2 ** 23;
/** Bytes that may be reserved at most: the calls make several times as many. */
const RESERVED = 2 ** 26;
/** Bytes that a worker may hold beside, of some hundred thousand that each round makes. */
const SLACK = 2 ** 15;

type Modules = Awaited<ReturnType<typeof freshModules>>;
let modules: Modules;

async function start() {
  modules = await freshModules();
  const safetensors = await import("../../bindings/safetensors.js");
  return { ...modules.library, ...modules.lora, ...safetensors } as Anything;
}

afterEach(async () => {
  await modules.library.terminate();
});

/** Larger operations, beside the small ones of CALLS. */
const LARGE: Call[] = [
  (l) => l.svd(square(l, 160)),
  (l) => l.matmul(square(l, 200), square(l, 200)),
  (l) => l.randomizedSvd(square(l, 200), 10),
  (l) => l.svd({ data: new Float64Array(4000).fill(1), shape: [40, 10, 10] }),
  async (l) => {
    const layer = await new l.LoraLinear({ weight: square(l, 128) });
    await layer.addAdapter("x", { r: 8 });
    await layer.merge();
    await layer.unmerge();
    return layer.forward(square(l, 128));
  },
];

function square(_: Anything, n: number) {
  return { data: Float64Array.from({ length: n * n }, (_, i) => Math.sin(i * i)), shape: [n, n] };
}

/** Rounds of calls in random order, some of which fail or are aborted. */
async function rounds(l: Anything, count: number, random: Random) {
  for (let round = 0; round < count; round++) {
    const calls = [...Object.values(CALLS), ...LARGE]
      .map((call) => ({ call, key: random.uniform() }))
      .sort((x, y) => x.key - y.key);
    for (const { call, key } of calls) {
      const result = await call(l);
      // half of the results are disposed of, half are left to the collector
      if (key < 0.5) for (const one of Object.values(result ?? {})) (one as Partial<Disposable>)?.[Symbol.dispose]?.();
    }
    await expect((async () => l.svd([[Number.NaN]]))()).rejects.toThrow(/NaN/);
    const aborted = (async () => l.svd(square(l, 200), { signal: AbortSignal.abort(new EvalError("enough")) }))();
    await expect(aborted).rejects.toThrow("enough");
  }
}

/** What is used when the collector has been everywhere, and what is reserved. */
async function memory() {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 5; i++) {
    await collectGarbage(() => false, 5);
    least = Math.min(least, modules.library.capabilities().usedBytes);
  }
  const { reservedBytes } = modules.library.capabilities();
  return { used: least, reserved: reservedBytes, heap: process.memoryUsage().heapUsed };
}

const build = BUILD === "debug" ? "simd" : BUILD;

describe("soak", () => {
  test("with a team of two: memory stays flat", { timeout: 600_000 }, async () => {
    const l = await start();
    await modules.library.init({ build, threads: 2 });
    modules.load.kernel().common.setReluctance(0);
    const random = new Random(1);
    await rounds(l, WARM, random);
    const before = await memory();
    await rounds(l, ROUNDS, random);
    const after = await memory();
    expect(after.used).toBe(before.used);
    expect(after.reserved).toBeLessThanOrEqual(RESERVED);
    expect(after.heap - before.heap).toBeLessThan(HEAP);
  });

  test.each([true, false])("in a worker, shared memory %s: memory stays flat", { timeout: 600_000 }, async (shared) => {
    await start();
    const { connect } = await import("../../bindings/worker.js");
    const remote = await connect({ build, memory: { shared } });
    const random = new Random(2);
    await rounds(remote, WARM, random);
    const before = await memory();
    await rounds(remote, ROUNDS / 3, random);
    let after = await memory();
    // objects that were forgotten here are the worker's collector's there, which comes when it comes
    for (let i = 0; i < 100 && after.used > before.used + SLACK; i++) {
      await rounds(remote, 2, random);
      after = await memory();
    }
    expect(after.used).toBeLessThanOrEqual(before.used + SLACK);
    expect(after.reserved).toBeLessThanOrEqual(RESERVED);
    expect(after.heap - before.heap).toBeLessThan(HEAP);
    await remote.terminate();
  });
});
