// Memory that is exhausted in the middle of a call: an OutOfMemoryError, nothing lost, and the next call works.

import { describe, expect, test, vi } from "vitest";
import * as library from "../../bindings/index.js";
import { kernel } from "../../bindings/load.js";
import * as lora from "../../bindings/lora.js";
import * as safetensors from "../../bindings/safetensors.js";
import { type Anything, CALLS, type Call, plain } from "../support/calls.js";
import { collectGarbage, fresh } from "../support/fresh.js";
import { Random } from "../support/random.js";

/** More memory than any of the calls asks for piecemeal. */
const MANY = 2000;

/** Calls that need no memory. */
const PURE = ["matchTargets", "trainableParameters"];

const { OutOfMemoryError } = library;
const all = { ...library, ...lora, ...safetensors } as Anything;

/** Makes the call number `fails` for memory, counted from 0, the last one that is answered with an error. */
function failing(fails: number) {
  const { allocator, scratch } = kernel();
  let asked = 0;
  const spies = [
    { owner: allocator, name: "allocate" },
    { owner: scratch, name: "push" },
  ].map(({ owner, name }) => {
    const object = owner as unknown as Record<string, (bytes: number) => number>;
    const real = (object[name] as (bytes: number) => number).bind(owner);
    return vi.spyOn(object, name).mockImplementation((bytes: number) => {
      if (asked++ === fails) throw new OutOfMemoryError(bytes, 0, 0);
      return real(bytes);
    });
  });
  return () => {
    for (const spy of spies) spy.mockRestore();
    return asked > fails;
  };
}

/** What a call throws or rejects with, if it does. */
async function errorOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
    return undefined;
  } catch (error) {
    // an error holds the objects of its stack until that is a text
    void (error as Error).stack;
    return error;
  }
}

describe("memory that is exhausted at every place where a call asks for some", () => {
  test.each(Object.keys(CALLS))("%s", async (name) => {
    const call = CALLS[name] as Call;
    const resident = library.tensor([1, 2, 3]);
    const wanted = await plain(library.Tensor, call(all));
    const used = () => library.capabilities().usedBytes;
    await collectGarbage(() => false, 3);
    const before = used();
    let reached = 0;
    for (; reached < MANY; reached++) {
      const restore = failing(reached);
      const error = await errorOf(() => call(all));
      if (!restore()) break;
      expect(error, `request ${reached}`).toBeInstanceOf(OutOfMemoryError);
    }
    expect(reached).toBeLessThan(MANY);
    expect(reached > 0).toBe(!PURE.includes(name));
    // what objects of other calls of the same sequence hold is the collector's
    await collectGarbage(() => used() <= before);
    expect(used()).toBeLessThanOrEqual(before);
    expect([...resident.data]).toEqual([1, 2, 3]);
    expect(await plain(library.Tensor, call(all))).toEqual(wanted);
    resident.dispose();
  });
});

describe("a small memory that is nearly full", () => {
  const numbers = Float64Array.from(new Random(1).array(300 * 300));
  const a = { data: numbers, shape: [300, 300] };
  const counts = { data: [1, 2, 3, 4], indices: [0, 200, 100, 2], indptr: [0, 2, 3, ...new Array(299).fill(4)] };
  const adapter = (l: Anything) => new l.LoraAdapter({ a, b: a });
  const OPERATIONS: { readonly [name: string]: (l: Anything) => unknown } = {
    matmul: (l) => l.matmul(a, a),
    svd: (l) => l.svd(a),
    "svd, full, by rotations": (l) => l.svd(a, { vectors: "full", driver: "jacobi" }),
    "svd of a batch": (l) => l.svd({ data: numbers, shape: [1000, 9, 10] }),
    svdvals: (l) => l.svdvals(a),
    svds: (l) => l.svds(a, 20),
    randomizedSvd: (l) => l.randomizedSvd(a, 20),
    qr: (l) => l.qr(a),
    lstsq: (l) => l.lstsq(a, a),
    pinv: (l) => l.pinv(a),
    polar: (l) => l.polar(a),
    lowRank: (l) => l.lowRank(a, { energy: 0.9 }),
    PCA: (l) => new l.PCA({ components: 20 }).fitTransform(a),
    factorize: (l) => l.factorize(l.csr({ ...counts, shape: [301, 300] }), { factors: 30 }),
    quantize: (l) => l.quantize({ data: Float32Array.from(numbers), shape: [300, 300] }, "nf4"),
    extractAdapter: (l) => l.extractAdapter(a, { data: numbers.slice().reverse(), shape: [300, 300] }, { rank: 60 }),
    "LoraLinear.forward": (l) => {
      const layer = new l.LoraLinear({ weight: a });
      layer.addAdapter("x", adapter(l));
      return layer.forward(a);
    },
    fit: async (l) => {
      const layer = new l.LoraLinear({ weight: a });
      layer.addAdapter("x", { r: 8 });
      const y = Array.from({ length: 300 }, (_, i) => i);
      const [optimizer, loss] = [new l.AdamW(), "softmaxCrossEntropy"];
      return l.fit(new l.Sequential([layer]), { x: a, y, loss, optimizer, epochs: 1, batchSize: 100 });
    },
    writeSafetensors: (l) => l.writeSafetensors({ a: l.matmul(a, a) }),
  };

  test.each(Object.keys(OPERATIONS))("%s", async (name) => {
    const call = OPERATIONS[name] as (l: Anything) => unknown;
    const modules = await fresh({ shared: false, initialMiB: 4, maximumMiB: 24 });
    const l = { ...modules.library, ...modules.lora, ...(await import("../../bindings/safetensors.js")) } as Anything;
    const { capabilities, empty, OutOfMemoryError: Exhausted } = modules.library;
    const resident = modules.library.tensor([1, 2, 3]);
    const before = capabilities().usedBytes;
    let refused = 0;
    // less and less ballast, until it works
    for (let free = 0; ; free += 2 ** 18) {
      const ballast = empty([Math.max(0, capabilities().maximumBytes - before - free - 2 ** 16) / 8]);
      const error = await errorOf(() => call(l));
      ballast.dispose();
      if (error === undefined) break;
      refused++;
      expect(error).toBeInstanceOf(Exhausted);
      await collectGarbage(() => capabilities().usedBytes <= before);
      expect(capabilities().usedBytes).toBeLessThanOrEqual(before);
      expect([...resident.data]).toEqual([1, 2, 3]);
      modules.load.kernel().allocator.checkGuards();
    }
    expect(refused).toBeGreaterThan(0);
    await call(l);
    await modules.library.terminate();
  });
});
