// forward() of tensors: the short way through the bindings, and the packed weight.

import { describe, expect, test } from "vitest";
import { scope, Tensor } from "../../bindings/index.js";
import { kernel } from "../../bindings/load.js";
import { LoraLinear } from "../../bindings/lora.js";
import { BUILD, THREADS } from "../support/build.js";
import { bytesPerCall } from "../support/heap.js";
import { Random } from "../support/random.js";
import { buildAdapter, place, randomLayer, sameBits } from "./reference.js";

const DTYPES = ["f32", "f64"] as const;

describe("forward", () => {
  test.each(DTYPES)("forward: a tensor alone gives the bits of the long way and of a packed weight (%s)", (dtype) => {
    const random = new Random(1);
    const [m, n] = [37, 300];
    const layer = randomLayer(random, { dtype, inFeatures: n, outFeatures: m, r: 5, bias: true, loraBias: true });
    for (const fanInFanOut of [false, true]) {
      scope(() => {
        const stored = place(dtype, layer.w, [m, n]);
        const turned = place(dtype, (stored.transpose().toArray() as number[][]).flat(), [n, m]);
        const options = {
          weight: fanInFanOut ? turned : stored,
          fanInFanOut,
          bias: place(dtype, layer.bias ?? [], [m]),
        };
        const plain = new LoraLinear(options);
        const packed = new LoraLinear({ ...options, packed: true });
        for (const one of [plain, packed]) one.addAdapter("a", buildAdapter(layer));
        const all = place(dtype, random.array(9 * n, "normal"), [9, n]);
        const compare = () => {
          for (const rows of [9, 1]) {
            const x = all.subtensor(0, rows);
            const wanted = plain.forward(x, {});
            for (const y of [plain.forward(x), packed.forward(x), packed.forward(x, {})]) {
              expect(y).toMatchObject({ shape: [rows, m], dtype });
              expect(sameBits(y.data.slice(), wanted.data.slice())).toBe(true);
            }
          }
          return plain.forward(all).data.slice();
        };
        const first = compare();
        const states: (() => void)[] = [
          () => [plain, packed].map((one) => one.setAdapters({ a: 0.5 })),
          () => [plain, packed].map((one) => one.setAdapters(null)),
          () => [plain, packed].map((one) => one.setAdapters("a")),
          () => [plain, packed].map((one) => one.merge()),
          () => [plain, packed].map((one) => one.unmerge()),
          () => [plain, packed].map((one) => (one.enabled = false)),
        ];
        const seen = states.map((change) => {
          change();
          return compare();
        });
        // the twins: another state gives another result, the same one the same
        expect(seen.map((y) => sameBits(y, first))).toEqual([false, false, true, false, true, false]);
        plain.dispose();
        packed.dispose();
        expect(() => packed.forward(all)).toThrow(expect.objectContaining({ code: "disposed" }));
      });
    }
  });

  test("forward: a packed weight follows a merge in place, and is no weight to train", () => {
    scope(() => {
      const layer = randomLayer(new Random(2), { dtype: "f32", inFeatures: 20, outFeatures: 12, r: 3 });
      const make = (packed: boolean) => {
        const made = new LoraLinear({ weight: place("f32", layer.w, [12, 20]), packed });
        made.addAdapter("a", buildAdapter(layer));
        made.merge(undefined, { keepBase: false });
        return made;
      };
      const x = place("f32", new Random(3).array(60), [3, 20]);
      const [packed, plain] = [make(true), make(false)];
      expect(sameBits(packed.forward(x).data.slice(), plain.forward(x).data.slice())).toBe(true);
      expect(() => new LoraLinear({ weight: [[1]], packed: true, trainable: true })).toThrow(TypeError);
      expect(() => new LoraLinear({ weight: [[1]], packed: 1 as unknown as boolean })).toThrow(TypeError);
      for (const one of [packed, plain]) one.dispose();
    });
  });

  // the debug build's scratch memory makes blocks of its own, and what a team shares it is told by a list
  test.skipIf(BUILD === "debug" || THREADS > 1)(
    "forward: a call on a tensor allocates the result's object alone",
    () => {
      const layer = randomLayer(new Random(4), { dtype: "f32", inFeatures: 8, outFeatures: 6, r: 2, loraBias: true });
      const made = new LoraLinear({ weight: place("f32", layer.w, [6, 8]) });
      made.addAdapter("a", buildAdapter(layer));
      const x = place("f32", new Random(5).array(32), [4, 8]);
      // kept, lest the compiler leave the object out
      const kept: Tensor[] = [];
      const bytesOf = (make: () => Tensor) =>
        bytesPerCall(() => {
          kept[0] = make();
          kept[0].dispose();
        });
      const alone = bytesOf(() => Tensor.allocate(kernel(), x.shape, "f32", 6));
      const direct = bytesOf(() => made.forward(x));
      // engines box some numbers on their way into the kernel, 16 bytes each, or not, as they compile
      expect(direct).toBeLessThan(alone + 64);
      // the twin: the long way makes more
      expect(bytesOf(() => made.forward(x, {}))).toBeGreaterThan(alone + 100);
      made.dispose();
      x.dispose();
    },
  );
});
