// Tensors whose numbers came from a worker by transfer: in the JavaScript heap, until the kernel wants them.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { capabilities, matmul, scope, Tensor, tensor } from "../../bindings/index.js";
import { collectGarbage } from "../support/fresh.js";

const used = () => capabilities().usedBytes;
const arrived = (...values: number[]) => Tensor.fromArray(Float64Array.from(values), [values.length / 2, 2]);
let before = 0;

beforeEach(() => {
  before = used();
});

afterEach(() => expect(used()).toBe(before));

describe("Tensor.fromArray()", () => {
  test("fromArray: takes no kernel memory as long as it is only read", () => {
    const values = Float64Array.of(1, 2, 3, 4, 5, 6);
    const t = Tensor.fromArray(values, [3, 2]);
    expect([t.dtype, t.shape, t.strides, t.size]).toEqual(["f64", [3, 2], [2, 1], 6]);
    expect(t.data.buffer).toBe(values.buffer);
    expect(t.transpose().toArray()).toEqual([
      [1, 3, 5],
      [2, 4, 6],
    ]);
    expect(t.subtensor(1, 2).toTyped()).toEqual(Float64Array.of(3, 4));
    expect(t.subtensor(1, 3).data).toEqual(Float64Array.of(3, 4, 5, 6));
    expect(Tensor.fromArray(Float32Array.of(1), [1]).dtype).toBe("f32");
    expect(used()).toBe(before);
    t.dispose();
    expect(() => t.data).toThrow(expect.objectContaining({ code: "disposed" }));
  });

  test("fromArray: moves into the kernel when it computes, with all its handles, and once", () => {
    const t = arrived(1, 2, 3, 4);
    const turned = t.transpose();
    t.data[0] = 10;
    const product = matmul(t, turned);
    expect(product.toArray()).toEqual([
      [104, 38],
      [38, 25],
    ]);
    expect(used()).toBeGreaterThan(before);
    // one storage: what is written through one handle is seen through the other
    t.data[1] = 20;
    expect(turned.toArray()).toEqual([
      [10, 3],
      [20, 4],
    ]);
    const now = used();
    matmul(t, turned).dispose();
    expect(used()).toBe(now);
    for (const one of [t, turned, product]) one.dispose();
  });

  test("fromArray: scopes, copies and finalisers take it as any other", async () => {
    scope(() => {
      matmul(arrived(1, 2, 3, 4), arrived(1, 0, 0, 1));
    });
    expect(used()).toBe(before);
    const copy = scope(() => tensor(arrived(5, 6)));
    expect(copy.toArray()).toEqual([[5, 6]]);
    copy.dispose();
    (() => matmul(arrived(1, 2, 3, 4), [1, 1]))();
    await collectGarbage(() => used() === before);
  });
});
