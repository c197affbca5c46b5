import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { capabilities, type DType, OutOfMemoryError, scope, type Tensor, tensor, zeros } from "../../bindings/index.js";
import { AdapterPool, batchedLora, LoraAdapter, LoraLinear } from "../../bindings/lora.js";
import { BUILD, THREADS } from "../support/build.js";
import { bytesPerCall } from "../support/heap.js";
import { Random } from "../support/random.js";
import { buildAdapter, forward, type Layer, place, randomLayer, round, sameBits, TOLERANCE } from "./reference.js";

const DTYPES = ["f32", "f64"] as const;

/** A layer without a base: W and bias are zero. */
function update(random: Random, dtype: DType, m: number, n: number, r: number, loraBias = false): Layer {
  const layer = randomLayer(random, { dtype, inFeatures: n, outFeatures: m, r, alpha: 2 * r + 1, loraBias });
  return { ...layer, w: layer.w.map(() => 0), bias: undefined };
}

const bytesOfRank = (dtype: DType, m: number, n: number) => (m + n) * (dtype === "f32" ? 4 : 8);

const adapterOf = (r: number, { inFeatures = 4, outFeatures = 3, value = 1, bias = false } = {}) =>
  new LoraAdapter({
    a: tensor(new Float32Array(r * inFeatures).fill(value), { shape: [r, inFeatures] }),
    b: tensor(new Float32Array(outFeatures * r).fill(1), { shape: [outFeatures, r] }),
    ...(bias && { bias: tensor(new Float32Array(outFeatures).fill(value)) }),
  });

/** A pool for 4 → 3 in f32 with room for so many ranks. */
const poolOf = (ranks: number) => new AdapterPool({ inFeatures: 4, outFeatures: 3, capacityBytes: ranks * 28 });

const notFound = expect.objectContaining({ name: "RangeError", code: "adapter_not_found" });
const inUse = expect.objectContaining({ name: "Error", code: "adapter_in_use" });

describe("AdapterPool", () => {
  test("AdapterPool: holds adapters of any rank up to its capacity, then the longest unused goes", () => {
    const pool = poolOf(10);
    pool.register("a", adapterOf(4));
    pool.register("b", adapterOf(1));
    pool.register("c", adapterOf(5));
    expect(pool.ids).toEqual(["a", "b", "c"]);
    expect(pool.stats()).toEqual({ count: 3, usedBytes: 280, capacityBytes: 280, hits: 0, evictions: 0 });
    const y = zeros([3, 3], "f32");
    batchedLora(y, zeros([3, 4], "f32"), pool, ["a", null, "a"]);
    expect(pool.ids).toEqual(["b", "c", "a"]);
    expect(pool.stats()).toMatchObject({ hits: 2, evictions: 0 });
    pool.register("d", adapterOf(3));
    expect(pool.ids).toEqual(["a", "d"]);
    expect(pool.stats()).toEqual({ count: 2, usedBytes: 7 * 28, capacityBytes: 280, hits: 2, evictions: 2 });
    expect([pool.has("b"), pool.has("d")]).toEqual([false, true]);
    pool.remove("a");
    expect(pool.stats()).toMatchObject({ count: 1, usedBytes: 3 * 28, evictions: 2 });
    pool.dispose();
  });

  test("AdapterPool: pinned adapters stay, as often as they were pinned", () => {
    const pool = poolOf(4);
    pool.register("a", adapterOf(2));
    pool.register("b", adapterOf(2));
    pool.pin("a");
    pool.pin("a");
    pool.register("c", adapterOf(2));
    expect(pool.ids).toEqual(["a", "c"]);
    expect(() => pool.remove("a")).toThrow(inUse);
    pool.unpin("a");
    expect(() => pool.remove("a")).toThrow(/"a" is pinned once/);
    pool.unpin("a");
    expect(() => pool.unpin("a")).toThrow(RangeError);
    pool.remove("a");
    expect(pool.ids).toEqual(["c"]);
    pool.dispose();
  });

  test("AdapterPool: over a taken id the new one counts from the next call on, pins stay", () => {
    const pool = poolOf(5);
    const run = () => [
      ...batchedLora(zeros([1, 3], "f32"), tensor(Float32Array.of(1, 1, 1, 1), { shape: [1, 4] }), pool, ["a"]).data,
    ];
    pool.register("a", adapterOf(2));
    pool.register("b", adapterOf(1));
    expect(run()).toEqual([8, 8, 8]);
    pool.pin("a");
    pool.register("a", adapterOf(4, { value: 2 }));
    expect(run()).toEqual([32, 32, 32]);
    expect(pool.ids).toEqual(["b", "a"]);
    expect(() => pool.remove("a")).toThrow(inUse);
    // its own pages count as free, those of others only if they are not pinned
    pool.pin("b");
    expect(() => pool.register("a", adapterOf(5))).toThrow(OutOfMemoryError);
    expect(run()).toEqual([32, 32, 32]);
    expect(pool.stats()).toMatchObject({ count: 2, usedBytes: 140, evictions: 0 });
    pool.dispose();
  });

  test("AdapterPool: errors leave it as it was", () => {
    const pool = poolOf(4);
    pool.register("a", adapterOf(2));
    pool.register("b", adapterOf(2));
    pool.pin("b");
    const before = [pool.ids, pool.stats()];
    const refuse = (f: () => unknown, what: unknown) => {
      expect(f).toThrow(what as Error);
      expect([pool.ids, pool.stats()]).toEqual(before);
    };
    refuse(
      () => pool.register("c", adapterOf(5)),
      expect.objectContaining({ asked: 140, maximum: 112, code: "out_of_memory" }),
    );
    refuse(() => pool.register("c", adapterOf(3)), expect.objectContaining({ asked: 84, free: 56 }));
    refuse(() => pool.register("c", adapterOf(2, { bias: true })), OutOfMemoryError);
    refuse(() => pool.register("c", adapterOf(1, { inFeatures: 5 })), RangeError);
    refuse(
      () => pool.register("c", adapterOf(1, { outFeatures: 4 })),
      '"adapter" expected a: (r, 4) and b: (3, r), got (1, 4) and (4, 1)',
    );
    refuse(
      () => pool.register("c", new LoraAdapter({ a: [[1, 2, 3, 4]], b: [[1], [2], [3]] })),
      '"adapter" expected f32 as the pool, got f64',
    );
    const dora = { a: new Float32Array(4), b: new Float32Array(3), magnitude: new Float32Array(3) };
    const shaped = {
      a: tensor(dora.a, { shape: [1, 4] }),
      b: tensor(dora.b, { shape: [3, 1] }),
      magnitude: dora.magnitude,
    };
    refuse(() => pool.register("c", new LoraAdapter(shaped)), TypeError);
    refuse(() => pool.register(1 as unknown as string, adapterOf(1)), TypeError);
    refuse(() => pool.register("c", {} as LoraAdapter), '"adapter" expected a LoraAdapter, got Object');
    const gone = adapterOf(1);
    gone.dispose();
    refuse(() => pool.register("a", gone), expect.objectContaining({ code: "disposed" }));
    for (const f of ["remove", "pin", "unpin"] as const) {
      refuse(() => pool[f]("x"), notFound);
      refuse(() => pool[f](7 as unknown as string), TypeError);
    }
    pool.dispose();
    expect(() => pool.register("a", adapterOf(1))).toThrow(expect.objectContaining({ code: "disposed" }));
    pool.dispose();
  });

  test("AdapterPool: wrong options", () => {
    const good = { inFeatures: 4, outFeatures: 3, capacityBytes: 100 };
    const make = (change: object) => () => new AdapterPool({ ...good, ...change } as typeof good);
    expect(make({ inFeatures: -1 })).toThrow(RangeError);
    expect(make({ outFeatures: "3" })).toThrow(TypeError);
    expect(make({ capacityBytes: 1.5 })).toThrow(RangeError);
    expect(make({ capacityBytes: undefined })).toThrow(TypeError);
    expect(make({ dtype: "f16" })).toThrow(RangeError);
    expect(make({ capacity: 1 })).toThrow(TypeError);
    const { usedBytes } = capabilities();
    expect(make({ capacityBytes: 2 ** 32 })).toThrow(OutOfMemoryError);
    expect(capabilities().usedBytes).toBe(usedBytes);
    const none = new AdapterPool({ ...good, capacityBytes: 0 });
    expect(() => none.register("a", adapterOf(1))).toThrow(OutOfMemoryError);
    none.dispose();
  });

  test("AdapterPool: a thousand adapters in turn, no growth of memory once it is full; all of it is given back", () => {
    const { usedBytes: before } = capabilities();
    const [m, n, r] = [64, 48, 4];
    const pool = new AdapterPool({ inFeatures: n, outFeatures: m, capacityBytes: 100 * r * bytesOfRank("f32", m, n) });
    const x = place("f32", new Random(1).array(n), [1, n]);
    const [y, alone] = [zeros([1, m], "f32"), zeros([1, m], "f32")];
    let full = 0;
    for (let i = 0; i < 1000; i++) {
      scope(() => {
        const value = place("f32", new Float64Array(r * n).fill(i), [r, n]);
        const one = new LoraAdapter({ a: value, b: place("f32", new Float64Array(m * r).fill(1), [m, r]) });
        pool.register(`adapter ${i}`, one);
        one.dispose();
        batchedLora(y, x, pool, [`adapter ${i}`]);
      });
      if (i === 150) full = capabilities().reservedBytes + capabilities().usedBytes;
    }
    expect(capabilities().reservedBytes + capabilities().usedBytes).toBe(full);
    expect(pool.stats()).toMatchObject({ count: 100, hits: 1000, evictions: 900 });
    expect(pool.ids[0]).toBe("adapter 900");
    expect(y.data[0]).not.toBe(alone.data[0]);
    for (const one of [pool, x, y, alone]) one.dispose();
    expect(capabilities().usedBytes).toBe(before);
  });

  test("AdapterPool: any sequence of calls does what a slow model does", () => {
    const id = fc.constantFrom("a", "b", "c", "d", "e");
    const step = fc.oneof(
      fc.record({ kind: fc.constant("register" as const), id, r: fc.integer({ min: 1, max: 6 }), bias: fc.boolean() }),
      fc.record({ kind: fc.constantFrom("remove" as const, "pin" as const, "unpin" as const), id }),
      fc.record({ kind: fc.constant("serve" as const), ids: fc.array(fc.option(id), { minLength: 1, maxLength: 5 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        scope(() => {
          const capacity = 9;
          const pool = poolOf(capacity);
          // in order of use
          let model: { id: string; r: number; bias: boolean; value: number; pins: number }[] = [];
          let [hits, evictions, made] = [0, 0, 0];
          const sizeOf = (one: { r: number; bias: boolean }) => one.r + (one.bias ? 1 : 0);
          const used = () => model.reduce((sum, one) => sum + sizeOf(one), 0);
          for (const step of steps) {
            const known = "id" in step ? model.find((one) => one.id === step.id) : undefined;
            if (step.kind === "register") {
              const value = ++made;
              const pinned = model
                .filter((one) => one.pins > 0 && one !== known)
                .reduce((sum, one) => sum + sizeOf(one), 0);
              const go = () => pool.register(step.id, adapterOf(step.r, { value, bias: step.bias }));
              if (sizeOf(step) > capacity - pinned) {
                expect(go).toThrow(OutOfMemoryError);
              } else {
                go();
                model = model.filter((one) => one !== known);
                while (used() + sizeOf(step) > capacity) {
                  model.splice(
                    model.findIndex((one) => one.pins === 0),
                    1,
                  );
                  evictions++;
                }
                model.push({ id: step.id, r: step.r, bias: step.bias, value, pins: known?.pins ?? 0 });
              }
            } else if (step.kind === "serve") {
              const y = zeros([step.ids.length, 3], "f32");
              const x = tensor(new Float32Array(4 * step.ids.length).fill(1), { shape: [step.ids.length, 4] });
              const missing = step.ids.some((name) => name !== null && !model.some((one) => one.id === name));
              if (missing) {
                expect(() => batchedLora(y, x, pool, step.ids)).toThrow(notFound);
                expect([...y.data].every((value) => value === 0)).toBe(true);
                continue;
              }
              batchedLora(y, x, pool, step.ids);
              step.ids.forEach((name, t) => {
                const one = model.find((entry) => entry.id === name);
                const wanted = one === undefined ? 0 : one.value * (4 * one.r + (one.bias ? 1 : 0));
                expect([...y.data.slice(3 * t, 3 * t + 3)]).toEqual([wanted, wanted, wanted]);
                if (one === undefined) return;
                hits++;
                model = [...model.filter((entry) => entry !== one), one];
              });
            } else if (known === undefined) {
              expect(() => pool[step.kind](step.id)).toThrow(notFound);
            } else if (step.kind === "remove" && known.pins > 0) {
              expect(() => pool.remove(step.id)).toThrow(inUse);
            } else if (step.kind === "unpin" && known.pins === 0) {
              expect(() => pool.unpin(step.id)).toThrow(RangeError);
            } else {
              pool[step.kind](step.id);
              if (step.kind === "remove") model = model.filter((one) => one !== known);
              else known.pins += step.kind === "pin" ? 1 : -1;
            }
            expect(pool.ids).toEqual(model.map((one) => one.id));
            expect(pool.stats()).toEqual({
              ...{ count: model.length, usedBytes: 28 * used(), capacityBytes: 28 * capacity, hits, evictions },
            });
          }
          pool.dispose();
        });
      }),
      { numRuns: 150 },
    );
  });
});

describe("batchedLora", () => {
  test.each(DTYPES)(
    "batchedLora: agrees with each adapter's formula, and bit for bit with the row alone (%s)",
    (dtype) => {
      const random = new Random(2);
      for (const [m, n, ranks] of [
        [1, 1, [1, 3]],
        [7, 5, [2, 4, 1]],
        [2049, 33, [3, 16]],
        [40, 2049, [1, 256, 8]],
      ] as [number, number, number[]][]) {
        const total = ranks.reduce((sum, r) => sum + r + 1, 0);
        const pool = new AdapterPool({
          inFeatures: n,
          outFeatures: m,
          capacityBytes: total * bytesOfRank(dtype, m, n),
          dtype,
        });
        const layers = ranks.map((r, i) => update(random, dtype, m, n, r, i === 1));
        scope(() => {
          for (const [i, layer] of layers.entries()) pool.register(`${i}`, buildAdapter(layer));
        });
        const ids = [null, "1", "0", "1", null, "0", "0", `${ranks.length - 1}`, "1", "0"];
        const rows = ids.length;
        const numbers = round(dtype, random.array(rows * n, "normal"));
        const base = round(dtype, random.array(rows * m, "normal"));
        const scales = ids.map((_, t) => (t % 3) - 1.5);
        scope(() => {
          const x = place(dtype, numbers, [2, 5, n]);
          const y = place(dtype, base, [2, 5, m]);
          expect(batchedLora(y, x, pool, ids, { scales })).toBe(y);
          for (const [t, id] of ids.entries()) {
            const [from, to] = [t * m, (t + 1) * m];
            const xt = numbers.slice(t * n, (t + 1) * n);
            const row = y.data.slice(from, to);
            const layer = id === null ? undefined : (layers[Number(id)] as Layer);
            const low = layer === undefined ? undefined : forward(layer, xt, 1);
            const wanted = base.slice(from, to).map((value, o) => value + (scales[t] as number) * (low?.[o] ?? 0));
            const sizes = base.slice(from, to).map((value, o) => Math.abs(value) + Math.abs((low?.[o] ?? 0) * 1.5));
            const error = Float64Array.from(row).reduce(
              (worst, value, o) => Math.max(worst, Math.abs(value - (wanted[o] as number))),
              0,
            );
            expect(error / Math.max(...sizes)).toBeLessThan(TOLERANCE[dtype] * (n === 1 ? 10 : 1));
            if (id === null) expect(sameBits(row, place(dtype, base.slice(from, to), [m]).data.slice())).toBe(true);
            const single = place(dtype, base.slice(from, to), [1, m]);
            batchedLora(single, place(dtype, xt, [1, n]), pool, [id], { scales: [scales[t] as number] });
            expect(sameBits(single.data.slice(), row)).toBe(true);
          }
        });
        pool.dispose();
      }
    },
  );

  test.each(DTYPES)(
    "batchedLora: over a base layer the bits of its mixed batch, and of its row alone (%s)",
    (dtype) => {
      const random = new Random(3);
      const [m, n, rows] = [70, 300, 256];
      scope(() => {
        const layer = randomLayer(random, { dtype, inFeatures: n, outFeatures: m, r: 8, bias: true });
        const others = [update(random, dtype, m, n, 3, true), update(random, dtype, m, n, 20)];
        const weight = place(dtype, layer.w, [m, n]);
        const made = new LoraLinear({ weight, bias: place(dtype, layer.bias as Float64Array, [m]) });
        const pool = new AdapterPool({ inFeatures: n, outFeatures: m, capacityBytes: 2 ** 20, dtype });
        others.forEach((other, i) => {
          made.addAdapter(`${i}`, buildAdapter(other));
          pool.register(`${i}`, buildAdapter(other));
        });
        const ids = Array.from({ length: rows }, () => [null, "0", "1"][random.below(3)] as string | null);
        const x = place(dtype, random.array(rows * n, "normal"), [rows, n]);
        const mixed = made.forward(x, { adapters: ids });
        made.setAdapters(null);
        const served = batchedLora(made.forward(x), x, pool, ids);
        expect(sameBits(served.data.slice(), mixed.data.slice())).toBe(true);
        for (const t of [0, 100, 255]) {
          const one = made.forward(x.subtensor(t, t + 1), { adapters: [ids[t] as string | null] });
          expect(sameBits(one.data.slice(), mixed.data.slice(t * m, (t + 1) * m))).toBe(true);
          // the twin: another row's adapter, or none
          const other = made.forward(x.subtensor(t, t + 1), { adapters: [ids[t] === "0" ? "1" : "0"] });
          expect(sameBits(other.data.slice(), mixed.data.slice(t * m, (t + 1) * m))).toBe(false);
        }
        pool.dispose();
        made.dispose();
      });
    },
  );

  test("batchedLora: any form of x; empty batches; NaN passes through", () => {
    const pool = new AdapterPool({ inFeatures: 2, outFeatures: 2, capacityBytes: 1000, dtype: "f64" });
    pool.register("a", new LoraAdapter({ a: [[1, 2]], b: [[1], [-1]] }));
    const run = (x: Parameters<typeof batchedLora>[1]) => batchedLora(zeros([2, 2]), x, pool, ["a", "a"]).toArray();
    const wanted = [
      [5, -5],
      [11, -11],
    ];
    expect(
      run([
        [1, 2],
        [3, 4],
      ]),
    ).toEqual(wanted);
    expect(
      run(
        tensor([
          [1, 3],
          [2, 4],
        ]).transpose(),
      ),
    ).toEqual(wanted);
    expect(
      run([
        [Number.NaN, 2],
        [3, 4],
      ]),
    ).toEqual([
      [Number.NaN, Number.NaN],
      [11, -11],
    ]);
    expect(batchedLora(zeros([0, 2]), zeros([0, 2]), pool, []).shape).toEqual([0, 2]);
    expect(batchedLora(zeros([2]), tensor([1, 2]), pool, ["a"]).toArray()).toEqual([5, -5]);
    pool.dispose();
  });

  test("batchedLora: errors leave y, the pool and memory as they were", () => {
    scope(() => {
      const pool = poolOf(8);
      pool.register("a", adapterOf(2));
      pool.register("b", adapterOf(2));
      const y = tensor(new Float32Array(6).fill(5), { shape: [2, 3] });
      const x = tensor(new Float32Array(8).fill(1), { shape: [2, 4] });
      const wide = zeros([2, 6], "f32");
      const before = [pool.ids, pool.stats()];
      const refuse = (change: Record<string, unknown>, what: unknown) => {
        const all = { y, x, pool, ids: ["a", "b"], options: undefined, ...change } as unknown as {
          y: Tensor<"f32">;
          x: Tensor;
          pool: AdapterPool;
          ids: string[];
          options: { scales: number[] };
        };
        const { usedBytes } = capabilities();
        expect(() => batchedLora(all.y, all.x, all.pool, all.ids, all.options)).toThrow(what as Error);
        expect(capabilities().usedBytes).toBe(usedBytes);
        expect([...y.data]).toEqual([5, 5, 5, 5, 5, 5]);
        expect([pool.ids, pool.stats()]).toEqual(before);
      };
      refuse({ ids: ["b", "x"] }, notFound);
      refuse({ ids: ["b", "x"] }, '"ids[1]" expected an adapter in the pool, got "x"');
      refuse({ ids: ["b", undefined] }, '"ids[1]" expected a string, got undefined');
      refuse({ ids: ["b", 3] }, TypeError);
      refuse({ ids: ["b"] }, '"ids" expected 2 names, one a row of "x", got 1');
      refuse({ ids: "ab" }, TypeError);
      refuse({ pool: {} }, '"pool" expected an AdapterPool, got Object');
      refuse(
        {
          y: [
            [1, 2, 3],
            [1, 2, 3],
          ],
        },
        '"y" expected a Tensor, got an array',
      );
      refuse({ y: zeros([2, 3]) }, '"y" expected f32 as the pool, got f64');
      refuse({ y: zeros([2, 4], "f32") }, '"y" expected shape (…, 3), got (2, 4)');
      refuse({ y: zeros([3, 2], "f32").transpose() }, RangeError);
      refuse({ x: zeros([2, 3], "f32") }, '"x" expected shape (2, 4), got (2, 3)');
      refuse({ x: zeros([3, 4], "f32") }, '"x" expected shape (2, 4), got (3, 4)');
      refuse({ x: zeros([8], "f32") }, RangeError);
      refuse({ x: zeros([2, 4]) }, TypeError);
      refuse({ options: { scales: [1] } }, RangeError);
      refuse({ options: { scales: [1, "2"] } }, '"scales[1]" expected a number, got "2"');
      refuse({ options: { scales: 2 } }, TypeError);
      refuse({ options: { scale: [1, 2] } }, TypeError);
      const square = new AdapterPool({ inFeatures: 3, outFeatures: 3, capacityBytes: 240 });
      square.register("a", adapterOf(1, { inFeatures: 3 }));
      refuse(
        { pool: square, x: y, ids: ["a", "a"] },
        '"y" expected a tensor that does not overlap x, got one that does',
      );
      square.dispose();
      refuse({ pool: square, x: zeros([2, 3], "f32") }, expect.objectContaining({ code: "disposed" }));
      wide.dispose();
      refuse({ x: wide }, Error);
      pool.dispose();
    });
  });

  // the debug build's scratch memory makes blocks of its own, and what a team shares it is told by a list
  test.skipIf(BUILD === "debug" || THREADS > 1)(
    "batchedLora: a call on tensors allocates nothing in the JavaScript heap",
    () => {
      const pool = poolOf(64);
      const ids = Array.from({ length: 16 }, (_, i) => `adapter ${i}`);
      for (const id of ids) pool.register(id, adapterOf(3));
      const [y, x] = [zeros([16, 3], "f32"), zeros([16, 4], "f32")];
      const options = { scales: new Float32Array(16).fill(1) };
      expect(bytesPerCall(() => void batchedLora(y, x, pool, ids, options))).toBeLessThan(8);
      // the twin: one small object a call would be seen
      const keep: object[] = [];
      const twin = bytesPerCall(() => {
        batchedLora(y, x, pool, ids, options);
        keep[0] = { x };
      });
      expect(twin).toBeGreaterThan(12);
      for (const one of [pool, x, y]) one.dispose();
    },
  );
});
