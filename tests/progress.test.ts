// What long calls share: progress, abort, and whose the tensors are that a callback makes.

import { describe, expect, test } from "vitest";
import { scope, type Tensor, zeros } from "../bindings/index.js";
import { checkProgress, type ProgressOptions } from "../bindings/progress.js";
import { checkSeed } from "../bindings/random.js";
import { callBack, run } from "../bindings/scope.js";
import { refuses } from "./support/bad_input.js";

describe("checkProgress()", () => {
  test("checkProgress() tells every step and throws the signal's reason between two", () => {
    const seen: [number, number][] = [];
    const controller = new AbortController();
    const step = checkProgress({
      signal: controller.signal,
      onProgress({ done, total }) {
        seen.push([done, total]);
        if (done === 2) controller.abort(new EvalError("enough"));
      },
    });
    step(1, 3);
    expect(() => step(2, 3)).toThrow(new EvalError("enough"));
    expect(seen).toEqual([
      [1, 3],
      [2, 3],
    ]);
    expect(() => checkProgress({ signal: controller.signal })).toThrow(new EvalError("enough"));
    expect(() => checkProgress({ signal: AbortSignal.abort() })).toThrow(/aborted/);
    checkProgress({})(1, 1);
    checkProgress({ signal: new AbortController().signal })(1, 1);
  });

  test("checkProgress() refuses what is neither, and passes on what the callback throws", () => {
    const check = (options: unknown) => () => checkProgress(options as ProgressOptions);
    refuses([
      ["text", check({ onProgress: "f" }), TypeError, '"onProgress" expected a function, got "f"'],
      ["null", check({ onProgress: null }), TypeError, '"onProgress" expected a function, got null'],
      ["a signal of text", check({ signal: "s" }), TypeError, '"signal" expected an AbortSignal, got "s"'],
      ["null", check({ signal: null }), TypeError, '"signal" expected an AbortSignal, got null'],
      ["a controller", check({ signal: new AbortController() }), TypeError, /expected an AbortSignal, got AbortC/],
    ]);
    const step = checkProgress({
      onProgress() {
        throw new EvalError("mine");
      },
    });
    expect(() => step(1, 1)).toThrow(new EvalError("mine"));
  });
});

describe("checkSeed()", () => {
  test("checkSeed() takes integers of 32 bits", () => {
    expect([undefined, 0, 7, 2 ** 32 - 1].map((seed) => checkSeed(seed))).toEqual([0, 0, 7, 2 ** 32 - 1]);
    const row = (value: unknown, kind: typeof TypeError | typeof RangeError, got: string) =>
      [got, () => checkSeed(value as number), kind, new RegExp(`^"seed" expected an integer.*, got ${got}$`)] as const;
    refuses([
      [...row(-1, RangeError, "-1")],
      [...row(1.5, RangeError, "1.5")],
      [...row(2 ** 32, RangeError, "4294967296")],
      [...row(Number.NaN, RangeError, "NaN")],
      [...row("1", TypeError, '"1"')],
      [...row(null, TypeError, "null")],
    ]);
  });
});

describe("callBack()", () => {
  test("callBack() gives what a callback makes to the scope of the caller, not to the call", () => {
    let kept: Tensor | undefined;
    let scoped: Tensor | undefined;
    run(() => {
      zeros([3]);
      run(() => {
        callBack(() => {
          kept = zeros([2]);
          run(() => zeros([5]));
          scope(() => zeros([4]).size);
        });
        zeros([6]);
      });
    });
    expect(kept?.toArray()).toEqual([0, 0]);
    kept?.dispose();
    scope(() => {
      run(() => {
        callBack(() => {
          scoped = zeros([2]);
        });
      });
      expect(scoped?.toArray()).toEqual([0, 0]);
    });
    expect(() => scoped?.toArray()).toThrow(/disposed/);
    // also after a callback that threw
    expect(() =>
      run(() =>
        callBack(() => {
          throw new EvalError("mine");
        }),
      ),
    ).toThrow(EvalError);
    scope(() => zeros([7]).size);
  });
});
