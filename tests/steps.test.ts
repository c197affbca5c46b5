// Long calls in steps: what they tell, an abort made inside, a trap in the middle.

import { afterEach, describe, expect, test, vi } from "vitest";
import * as library from "../bindings/index.js";
import { kernel } from "../bindings/load.js";
import * as lora from "../bindings/lora.js";
import * as safetensors from "../bindings/safetensors.js";
import { type Anything, plain } from "./support/calls.js";
import { Random } from "./support/random.js";

const all = { ...library, ...lora, ...safetensors } as Anything;
const random = new Random(8);
const put = (...shape: number[]) => ({
  data: Float64Array.from(random.array(shape.reduce((product, length) => product * length, 1))),
  shape,
});
const [a, b, points] = [put(120, 90), put(120, 90), put(200, 3)];
const counts = { data: Float64Array.from({ length: 300 }, (_, i) => 1 + (i % 5)), indices: [] as number[] };
counts.indices = Array.from(counts.data, (_, i) => (7 * i) % 40);
const ratings = { ...counts, indptr: Array.from({ length: 31 }, (_, i) => 10 * i), shape: [30, 40] };
for (let row = 0; row < 30; row++) {
  const of = counts.indices.slice(10 * row, 10 * row + 10).sort((x, y) => x - y);
  counts.indices.splice(10 * row, 10, ...of);
}

type Call = (options: Anything) => unknown;

/** Every function that takes onProgress and signal, on inputs that take several steps. */
const CALLS: { readonly [name: string]: Call } = {
  svd: (options) => all.svd(a, options),
  "svd, qr": (options) => all.svd(a, { driver: "qr", ...options }),
  "svd, jacobi": (options) => all.svd(a, { driver: "jacobi", ...options }),
  "svd of a batch": (options) => all.svd({ data: a.data, shape: [12, 30, 30] }, options),
  svdvals: (options) => all.svdvals(a, options),
  svds: (options) => all.svds(a, 5, options),
  randomizedSvd: (options) => all.randomizedSvd(a, 5, options),
  lowRank: (options) => all.lowRank(a, { rank: 4, ...options }),
  qr: (options) => all.qr(a, options),
  lstsq: (options) => all.lstsq(a, { data: b.data, shape: [120, 90] }, options),
  pinv: (options) => all.pinv(a, options),
  matrixRank: (options) => all.matrixRank(a, options),
  norm: (options) => all.norm(a, "nuc", options),
  cond: (options) => all.cond(a, 2, options),
  orth: (options) => all.orth(a, options),
  nullSpace: (options) => all.nullSpace(a, options),
  polar: (options) => all.polar(a, options),
  procrustes: (options) => all.procrustes(a, b, options),
  kabsch: (options) => all.kabsch(points, { data: points.data.slice().reverse(), shape: points.shape }, options),
  factorize: (options) => {
    const model = all.factorize(all.csr(ratings), { factors: 4, iterations: 3, ...options });
    return [model.users, model.items];
  },
  PCA: (options) => new all.PCA({ components: 3 }).fit(a, options).components,
  TruncatedSVD: (options) => new all.TruncatedSVD({ components: 3 }).fit(a, options).components,
  IncrementalPCA: (options) => new all.IncrementalPCA({ components: 3, batchSize: 30 }).fit(a, options).components,
  extractAdapter: (options) => all.extractAdapter(a, b, { rank: 3 }, options).adapter.delta(),
  resizeAdapter: (options) => {
    const adapter = new all.LoraAdapter({ a: put(6, 200), b: put(150, 6) });
    return all.resizeAdapter(adapter, { rank: 2 }, options).rank;
  },
};

/** Slices of the least size, so that there are several. */
function inSmallSlices(): void {
  kernel().common.setSlice(1);
}

const used = () => library.capabilities().usedBytes;

afterEach(() => {
  vi.restoreAllMocks();
  kernel().common.setSlice(SLICE);
});

/** The kernel's own. */
const SLICE = 3e7;

describe.each(Object.keys(CALLS))("%s", (name) => {
  const call = CALLS[name] as Call;

  test("tells how far it is: forward, within the whole, with the same result", async () => {
    const wanted = await plain(library.Tensor, call({}));
    inSmallSlices();
    const seen: number[] = [];
    const onProgress = ({ done, total }: { done: number; total: number }) => seen.push(done / total);
    expect(await plain(library.Tensor, call({ onProgress }))).toEqual(wanted);
    expect(seen.length).toBeGreaterThan(0);
    for (const [i, part] of seen.entries()) {
      expect(part).toBeGreaterThanOrEqual(i === 0 ? 0 : (seen[i - 1] as number));
      expect(part).toBeLessThanOrEqual(1);
    }
  });

  test("an abort made inside ends it with the signal's reason, and nothing is lost", () => {
    inSmallSlices();
    const controller = new AbortController();
    const before = used();
    let told = 0;
    const onProgress = () => {
      told++;
      controller.abort(new EvalError("enough"));
    };
    expect(() => library.scope(() => void call({ onProgress, signal: controller.signal }))).toThrow(
      new EvalError("enough"),
    );
    expect(told).toBe(1);
    // objects that the call above made are the collector's
    if (["svd", "qr", "pinv", "norm", "lowRank"].includes(name)) expect(used()).toBe(before);
    // aborted before it begins
    expect(() => call({ signal: AbortSignal.abort(new EvalError("never")) })).toThrow(new EvalError("never"));
  });
});

describe("a trap in the middle of a long call", () => {
  test("svd: the instance is made again, tensors stay, the next call gives the same bits", () => {
    inSmallSlices();
    const resident = library.tensor(a);
    const wanted = library.svd(resident).s.toTyped();
    const before = used();
    const runtime = kernel();
    const real = runtime.f64.gesvd;
    let slices = 0;
    vi.spyOn(runtime.f64, "gesvd").mockImplementation((...values: Parameters<typeof real>) => {
      if (++slices === 3) throw new WebAssembly.RuntimeError("unreachable");
      return real(...values);
    });
    expect(() => library.svd(resident, { onProgress: () => {} })).toThrow(
      expect.objectContaining({ code: "kernel_trap" }),
    );
    expect(slices).toBe(3);
    vi.restoreAllMocks();
    expect(used()).toBe(before);
    expect(resident.toTyped()).toEqual(a.data);
    library.scope(() => expect(library.svd(resident).s.toTyped()).toEqual(wanted));
    resident.dispose();
  });

  test("extractModel(): as a rejection, and the next call works", async () => {
    const open = async (w: typeof a) => all.openSafetensors(all.writeSafetensors({ "layer.weight": w }));
    const [base, tuned] = [await open(a), await open(b)];
    const runtime = kernel();
    const trap = vi.spyOn(runtime.f64, "gesvd").mockImplementation(() => {
      throw new WebAssembly.RuntimeError("unreachable");
    });
    const trapped = vi.spyOn(runtime.f32, "gesvd").mockImplementation(trap.getMockImplementation() as never);
    await expect(all.extractModel(base, tuned, { rank: 2 })).rejects.toMatchObject({ code: "kernel_trap" });
    expect(trap.mock.calls.length + trapped.mock.calls.length).toBe(1);
    vi.restoreAllMocks();
    const { report } = await all.extractModel(base, tuned, { rank: 2 });
    expect(report.layers[0].rank).toBe(2);
  });
});
