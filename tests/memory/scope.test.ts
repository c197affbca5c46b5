import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { capabilities, eye, matmul, scope, svd, type Tensor, tensor, zeros } from "../../bindings/index.js";
import { kernel } from "../../bindings/load.js";
import { LoraAdapter, LoraLinear } from "../../bindings/lora.js";
import { collectGarbage } from "../support/fresh.js";

const used = () => capabilities().usedBytes;
let before = 0;

beforeEach(() => {
  before = used();
});

afterEach(() => {
  expect(used()).toBe(before);
  kernel().allocator.checkGuards();
});

const isDisposed = (t: Tensor) => {
  try {
    t.toTyped();
    return false;
  } catch (error) {
    return (error as { code?: string }).code === "disposed";
  }
};

describe("scope", () => {
  test("scope: frees what f made and gives what it returns", () => {
    const made: Tensor[] = [];
    const kept = scope(() => {
      const a = tensor([
        [3, 0],
        [0, 4],
      ]);
      const { u, s, vt } = svd(a);
      made.push(a, a.transpose(), u, vt);
      return s;
    });
    expect(made.every(isDisposed)).toBe(true);
    expect(kept.toArray()).toEqual([4, 3]);
    kept.dispose();
    expect(scope(() => zeros([1000]).size)).toBe(1000);
    expect(scope(() => undefined)).toBe(undefined);
    expect(scope(() => null)).toBe(null);
  });

  test("scope: keeps tensors inside arrays, plain objects, maps and sets, also in circles", () => {
    interface Result {
      list: unknown[];
      self?: Result;
      map: Map<string | Tensor, Tensor>;
      set: Set<Tensor>;
      deep: { deeper: { t: Tensor } };
      none: null;
      text: string;
      bytes: Uint8Array;
    }
    const result = scope(() => {
      zeros([100]);
      const made: Result = {
        list: [tensor([1]), [tensor([2])]],
        map: new Map<string | Tensor, Tensor>([
          ["three", tensor([3])],
          [tensor([4]), tensor([5])],
        ]),
        set: new Set([tensor([6])]),
        deep: { deeper: { t: tensor([7]) } },
        none: null,
        text: "text",
        bytes: new Uint8Array(3),
      };
      made.self = made;
      return made;
    });
    const all = [
      result.list[0],
      (result.list[1] as Tensor[])[0],
      ...result.map.values(),
      ...[...result.map.keys()].filter((key) => typeof key !== "string"),
      ...result.set,
      result.deep.deeper.t,
    ] as Tensor[];
    expect(all.map((t) => t.data[0])).toEqual([1, 2, 3, 5, 4, 6, 7]);
    for (const t of all) t.dispose();
  });

  test("scope: a tensor from outside stays whether or not it is returned", () => {
    const outside = tensor([1, 2]);
    scope(() => outside.reshape([2, 1]));
    expect(scope(() => outside)).toBe(outside);
    expect(outside.toArray()).toEqual([1, 2]);
    outside.dispose();
    return collectGarbage(() => used() === before);
  });

  test("scope: a returned view keeps its storage, a returned tensor outlives its views", () => {
    const view = scope(() =>
      tensor([
        [1, 2],
        [3, 4],
      ]).transpose(),
    );
    expect(view.toArray()).toEqual([
      [1, 3],
      [2, 4],
    ]);
    view.dispose();
    const whole = scope(() => {
      const a = eye(2);
      a.subtensor(0, 1);
      a.transpose();
      return a;
    });
    expect(whole.toArray()).toEqual([
      [1, 0],
      [0, 1],
    ]);
    whole.dispose();
  });

  test("scope: what an inner scope returns belongs to the outer one", () => {
    const seen: Tensor[] = [];
    const result = scope(() => {
      const inner = scope(() => {
        seen.push(zeros([5]));
        return { kept: tensor([1]), dropped: tensor([2]) };
      });
      expect(seen.every(isDisposed)).toBe(true);
      expect(isDisposed(inner.dropped)).toBe(false);
      seen.push(inner.dropped);
      return inner.kept;
    });
    expect(seen.every(isDisposed)).toBe(true);
    expect(result.toArray()).toEqual([1]);
    result.dispose();
  });

  test("scope: an inner scope leaves the tensors of the outer one alone", () => {
    scope(() => {
      const a = tensor([1]);
      expect(() =>
        scope(() => {
          a.reshape([1, 1]);
          throw new Error("inner");
        }),
      ).toThrow("inner");
      expect(a.toArray()).toEqual([1]);
      scope(() => a.dispose());
      expect(isDisposed(a)).toBe(true);
    });
  });

  test("scope: when f throws, everything is freed and the error passes", () => {
    const error = new Error("mine");
    const made: Tensor[] = [];
    expect(() =>
      scope(() => {
        made.push(zeros([10]), eye(3).transpose());
        throw error;
      }),
    ).toThrow(error);
    expect(made.every(isDisposed)).toBe(true);
  });

  test("scope: a failed call inside does not end the scope", () => {
    const result = scope(() => {
      const a = tensor([1, 2]);
      expect(() => matmul(a, [1])).toThrow(RangeError);
      return matmul(a, a);
    });
    expect(result.toArray()).toBe(5);
    result.dispose();
  });

  test("scope: disposing inside, twice or of a returned tensor, does no harm", () => {
    const t = scope(() => {
      const a = zeros([2]);
      a.dispose();
      a.dispose();
      return a;
    });
    expect(isDisposed(t)).toBe(true);
  });

  test("scope: a promise is a TypeError, what was made is freed", () => {
    const made: Tensor[] = [];
    // biome-ignore lint/suspicious/noThenProperty: a thenable is what is tested
    const thenable = { then() {} };
    for (const result of [Promise.resolve(1), thenable]) {
      expect(() =>
        scope(() => {
          made.push(zeros([4]));
          return result;
        }),
      ).toThrow(new TypeError('"f" expected a synchronous function, got one that returns a promise'));
    }
    expect(() => scope(async () => zeros([4]))).toThrow(TypeError);
    expect(made.every(isDisposed)).toBe(true);
  });

  test.each([
    [undefined, "undefined"],
    [null, "null"],
    [5, "5"],
    [{}, "Object"],
  ])("scope: %s is no function", (f, got) => {
    expect(() => scope(f as never)).toThrow(new TypeError(`"f" expected a function, got ${got}`));
  });

  test("scope: a getter that throws while the result is looked at frees everything", () => {
    const made: Tensor[] = [];
    expect(() =>
      scope(() => {
        made.push(zeros([4]));
        return {
          t: made[0],
          get broken() {
            throw new Error("getter");
          },
        };
      }),
    ).toThrow("getter");
    expect(made.every(isDisposed)).toBe(true);
  });

  test("scope: objects of the library keep what they own", () => {
    const layer = scope(() => {
      const weight = tensor([
        [1, 0],
        [0, 1],
      ]);
      const made = new LoraLinear({ weight, bias: tensor([0, 0]) });
      made.addAdapter("a", new LoraAdapter({ a: tensor([[1, 1]]), b: tensor([[1], [0]]) }));
      made.merge();
      return { made, weight };
    });
    const kept = scope(() => layer.made);
    expect(kept).toBe(layer.made);
    expect(scope(() => kept.forward([1, 2]).toArray())).toEqual([4, 2]);
    kept.unmerge();
    kept.enabled = false;
    expect(scope(() => kept.forward([1, 2]).toArray())).toEqual([1, 2]);
    kept.dispose();
    expect(layer.weight.toArray()).toEqual([
      [1, 0],
      [0, 1],
    ]);
    layer.weight.dispose();
    // the adapter that was handed to addAdapter() was never disposed of
    return collectGarbage(() => used() === before);
  });

  test("scope: an object of the library that is stored outside keeps working", () => {
    const shelf: LoraAdapter[] = [];
    scope(() => {
      shelf.push(new LoraAdapter({ a: tensor([[1, 2]]), b: tensor([[3]]) }));
    });
    const adapter = shelf[0] as LoraAdapter;
    expect(scope(() => adapter.delta().toArray())).toEqual([[3, 6]]);
    expect(scope(() => adapter.a).toArray()).toEqual([[1, 2]]);
    adapter.dispose();
  });

  test("scope: 10,000 failing calls leave memory as it was", () => {
    const a = tensor([[1, 2]], { dtype: "f32" });
    const layer = new LoraLinear({ weight: a });
    const { usedBytes, reservedBytes } = capabilities();
    const fails: (() => unknown)[] = [
      () => tensor([[1, 2], [3]]),
      () => tensor([1, Number.NaN] as never, { dtype: "f16" as never }),
      () => zeros([2, -1]),
      () => matmul(a, a),
      () => matmul(a, [[1], [2], [3]]),
      () => matmul([[1, 2]], [[1], [2]], { out: zeros([3]) }),
      () => svd([[1, Number.NaN]]),
      () => svd([1]),
      () => new LoraAdapter({ a, b: [[1, 2]] }),
      () => new LoraLinear({ weight: a, bias: [1, 2] }),
      () => layer.forward([[1, 2, 3]]),
      () => layer.addAdapter("x", new LoraAdapter({ a: [[1]], b: [[1]] })),
    ];
    let failures = 0;
    for (let i = 0; i < 10_000; i++) {
      try {
        scope(fails[i % fails.length] as () => unknown);
      } catch {
        failures++;
      }
    }
    expect(failures).toBe(10_000);
    expect(capabilities().reservedBytes).toBe(reservedBytes);
    layer.dispose();
    return collectGarbage(() => used() === usedBytes).then(() => {
      expect(used()).toBe(usedBytes);
      a.dispose();
    });
  });
});
