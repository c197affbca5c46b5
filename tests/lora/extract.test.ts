// Adapters from differences of weights, and adapters made smaller: against the full SVD, planted updates, kohya's rules.

import { describe, expect, test } from "vitest";
import {
  capabilities,
  lowRank,
  matmul,
  NonFiniteError,
  scope,
  svdvals,
  type Tensor,
  tensor,
} from "../../bindings/index.js";
import { extractAdapter, LoraAdapter, resizeAdapter } from "../../bindings/lora.js";
import { refuses } from "../support/bad_input.js";
import { Random } from "../support/random.js";
import { DTYPES } from "../support/raw.js";

const random = new Random(77);
type DType = (typeof DTYPES)[number];

const normal = (m: number, n: number, dtype: DType, scale = 1) =>
  tensor(
    random.array(m * n, "normal").map((x) => x * scale),
    { shape: [m, n], dtype },
  );

const norm = (x: ArrayLike<number>) => Math.sqrt(Array.from(x).reduce((sum, value) => sum + value * value, 0));

function difference(x: Tensor, y: Tensor): number {
  const [a, b] = [x.toTyped(), y.toTyped()];
  return norm(Array.from(a, (value, i) => value - (b[i] as number)));
}

describe.each(DTYPES)("extractAdapter, %s", (dtype) => {
  const eps = dtype === "f32" ? 1.2e-7 : 2.3e-16;

  test.each([
    [12, 9],
    [9, 12],
    [1, 5],
    [5, 1],
    [64, 64],
  ])("%i×%i: the error at every rank is the tail of the values", (m, n) => {
    scope(() => {
      const [base, tuned] = [normal(m, n, dtype), normal(m, n, dtype)];
      const delta = tensor(
        Array.from(tuned.data, (x, i) => x - (base.data[i] as number)),
        { dtype },
      ).reshape([m, n]);
      const values = Array.from(svdvals(delta).data);
      for (let rank = 1; rank <= Math.min(m, n); rank += 1 + Math.floor(rank / 8)) {
        const found = extractAdapter(base, tuned, { rank });
        expect(found.rank).toBe(rank);
        expect(found.adapter.scaling).toBe(1);
        const tail = norm(values.slice(rank)) / norm(values);
        const measured = difference(found.adapter.delta(), delta) / norm(values);
        expect(Math.abs(found.error - tail)).toBeLessThan(Math.sqrt(200 * eps));
        expect(Math.abs(measured - tail)).toBeLessThan(200 * eps);
        expect(found.energy).toBeCloseTo(1 - tail ** 2, dtype === "f32" ? 5 : 12);
        // one rank less is worse by the value that it lacks
        expect(measured).toBeLessThan(norm(values.slice(rank - 1)) / norm(values));
        found.adapter.dispose();
      }
    });
  });

  test("energy and tolerance choose as lowRank() does; equal weights give rank 0 and zero factors", () => {
    scope(() => {
      const [base, tuned] = [normal(20, 16, dtype), normal(20, 16, dtype)];
      const delta = tensor(
        Array.from(tuned.data, (x, i) => x - (base.data[i] as number)),
        { dtype },
      ).reshape([20, 16]);
      for (const rule of [{ energy: 0.5 }, { energy: 0.99 }, { tolerance: 0.3 }, { tolerance: 0 }]) {
        const { adapter, rank } = extractAdapter(base, tuned, rule);
        expect(rank).toBe(lowRank(delta, rule).rank);
        adapter.dispose();
      }
      const nothing = extractAdapter(base, base, { energy: 0.9 });
      expect([nothing.rank, nothing.error, nothing.energy, nothing.adapter.r]).toEqual([0, 0, 1, 1]);
      expect(norm(nothing.adapter.delta().data)).toBe(0);
      nothing.adapter.dispose();
    });
  });

  test("large layers: a planted update of rank 8 plus noise is found, its error certified and near the best", () => {
    scope(() => {
      const [m, n] = [700, 600];
      const base = normal(m, n, dtype);
      const planted = matmul(normal(m, 8, dtype), normal(8, n, dtype));
      const noise = normal(m, n, dtype, 0.05);
      const delta = tensor(
        Array.from(planted.data, (x, i) => x + (noise.data[i] as number)),
        { dtype },
      ).reshape([m, n]);
      const tuned = tensor(
        Array.from(base.data, (x, i) => x + (delta.data[i] as number)),
        { dtype },
      ).reshape([m, n]);
      const exact = tensor(
        Array.from(tuned.data, (x, i) => x - (base.data[i] as number)),
        { dtype },
      ).reshape([m, n]);
      const best = lowRank(exact, { rank: 8 }).error.frobenius / norm(exact.data);
      for (const rule of [{ rank: 8 }, { energy: 1 - (best * 1.05) ** 2 }, { tolerance: best * 1.05 }]) {
        const { adapter, error, rank } = extractAdapter(base, tuned, rule);
        expect(rank).toBe(8);
        const measured = difference(adapter.delta(), exact) / norm(exact.data);
        expect(measured).toBeLessThanOrEqual(error * (1 + 1e-6));
        expect(measured).toBeLessThan(best * 1.02);
        adapter.dispose();
      }
    });
  });

  test("a base that is a transposed view, and inputs that stay as they were", () => {
    scope(() => {
      const [stored, tuned] = [normal(7, 5, dtype), normal(5, 7, dtype)];
      const before = [stored.toArray(), tuned.toArray()];
      const view = extractAdapter(stored.transpose(), tuned, { rank: 2 });
      const copy = extractAdapter(tensor(stored.transpose()), tuned, { rank: 2 });
      expect(view.adapter.delta().toArray()).toEqual(copy.adapter.delta().toArray());
      expect([stored.toArray(), tuned.toArray()]).toEqual(before);
      view.adapter.dispose();
      copy.adapter.dispose();
    });
  });
});

describe.each(DTYPES)("resizeAdapter, %s", (dtype) => {
  const tolerance = dtype === "f32" ? 1e-5 : 1e-12;
  const make = (out: number, inside: number, r: number, more = {}) =>
    new LoraAdapter({ a: decaying(normal(r, inside, dtype)), b: normal(out, r, dtype), ...more });
  /** Values apart from one another: of close ones, either vector may be kept. */
  const decaying = (a: Tensor) => {
    a.data.forEach((x, i) => {
      a.data[i] = x * 0.6 ** Math.floor(i / (a.shape[1] as number));
    });
    return a;
  };

  test.each([
    [40, 30, 8, {}],
    [30, 40, 8, { alpha: 16 }],
    [6, 50, 9, { alpha: 4, useRslora: true }],
    [50, 6, 9, {}],
    [5, 4, 12, {}],
    [1, 1, 1, {}],
  ] as const)("%i×%i, r %i %o: equals the full SVD of the product; the scale stays", (out, inside, r, more) => {
    scope(() => {
      const adapter = make(out, inside, r, more);
      const delta = adapter.delta();
      const size = norm(delta.data);
      for (let rank = 1; rank <= Math.min(out, inside); rank += 2) {
        const found = resizeAdapter(adapter, { rank });
        const { u, s, vt, error } = lowRank(delta, { rank });
        const scaled = tensor(
          Array.from(u.data, (x, i) => x * (s.data[i % rank] as number)),
          { dtype },
        );
        const best = matmul(scaled.reshape([out, rank]), vt);
        // beyond the rank of the product there is nothing left to keep
        expect(found.rank).toBe(Math.min(rank, r));
        expect(difference(found.adapter.delta(), best)).toBeLessThan(tolerance * size);
        expect(Math.abs(found.error - error.frobenius / size)).toBeLessThan(Math.sqrt(tolerance) / 3);
        expect(found.adapter.scaling).toBeCloseTo(adapter.scaling, 12);
        expect(found.adapter.useRslora).toBe(adapter.useRslora);
        found.adapter.dispose();
      }
      adapter.dispose();
    });
  });

  /** An adapter with given singular values. */
  function withValues(values: number[], out: number, inside: number): LoraAdapter {
    const r = values.length;
    const a = Array.from({ length: r }, (_, i) => Array.from({ length: inside }, (_, j) => (i === j ? 1 : 0)));
    const b = Array.from({ length: out }, (_, i) =>
      Array.from({ length: r }, (_, j) => (i === j ? (values[j] as number) : 0)),
    );
    return new LoraAdapter({ a: tensor(a, { dtype }), b: tensor(b, { dtype }) });
  }

  // new_rank of kohya's resize_lora.py on [10, 5, 1, 0.5, 0.1, 0.05, 0, 0]: one more than the rule needs, also beyond the adapter's
  test.each([
    ["kohya-sv_fro", 0.9, 3],
    ["kohya-sv_fro", 0.99, 3],
    ["kohya-sv_fro", 0.9999, 5],
    ["kohya-sv_cumulative", 0.5, 2],
    ["kohya-sv_cumulative", 0.9, 3],
    ["kohya-sv_cumulative", 0.95, 4],
    ["kohya-sv_ratio", 2, 2],
    ["kohya-sv_ratio", 2.1, 3],
    ["kohya-sv_ratio", 15, 4],
    ["kohya-sv_ratio", 1e6, 7],
    ["kohya-sv_cumulative", 1, 7],
  ] as const)("%s %d: rank %i", (rule, value, rank) => {
    scope(() => {
      const adapter = withValues([10, 5, 1, 0.5, 0.1, 0.05], 9, 8);
      const found = resizeAdapter(adapter, { rule, value });
      expect(found.rank).toBe(rank);
      expect(found.adapter.r).toBe(rank);
      expect(found.adapter.scaling).toBeCloseTo(adapter.scaling, 12);
      const best = lowRank(adapter.delta(), { rank });
      expect(Math.abs(found.error - best.error.frobenius / norm(adapter.delta().data))).toBeLessThan(2e-3);
      found.adapter.dispose();
      const limited = resizeAdapter(adapter, { rule, value, maxRank: 2 });
      expect(limited.rank).toBe(2);
      limited.adapter.dispose();
      adapter.dispose();
      const tiny = withValues([1e-6, 1e-7], 9, 8);
      expect(resizeAdapter(tiny, { rule, value }).rank).toBe(1);
    });
  });

  test("LoRA bias goes along; what cannot be resized is refused", () => {
    const { usedBytes } = capabilities();
    scope(() => {
      const biased = make(4, 3, 2, { bias: [1, 2, 3, 4], alpha: 6 });
      const found = resizeAdapter(biased, { rank: 1 });
      expect(found.adapter.bias?.toArray()).toEqual([1, 2, 3, 4]);
      expect(found.adapter.scaling).toBe(3);
      found.adapter.dispose();
      const dora = make(4, 3, 2, { magnitude: [1, 1, 1, 1] });
      const broken = new LoraAdapter({ a: tensor([[1, Number.NaN]], { dtype }), b: tensor([[1]], { dtype }) });
      refuses([
        ["a DoRA adapter", () => resizeAdapter(dora, { rank: 1 }), TypeError, /DoRA/],
        ["no adapter", () => resizeAdapter({} as never, { rank: 1 }), TypeError, /"adapter" expected a LoraAdapter/],
        ["rank 0", () => resizeAdapter(biased, { rank: 0 }), RangeError, /"rank"/],
        ["a rank above the shape", () => resizeAdapter(biased, { rank: 4 }), RangeError, /"rank"/],
        ["two rules", () => resizeAdapter(biased, { rank: 1, energy: 0.5 } as never), TypeError, /rule/],
        ["an unknown rule", () => resizeAdapter(biased, { rule: "sv" as never, value: 1 }), RangeError, /"rule"/],
        ["no value", () => resizeAdapter(biased, { rule: "kohya-sv_fro" } as never), TypeError, /"value"/],
        ["energy above 1", () => resizeAdapter(biased, { energy: 1.5 }), RangeError, /"energy"/],
        ["NaN", () => resizeAdapter(broken, { rank: 1 }), NonFiniteError, /adapter\.a/],
        ["shapes", () => extractAdapter([[1, 2]], [[1], [2]], { rank: 1 }), RangeError, /"tuned" expected shape/],
        ["one axis", () => extractAdapter([1, 2], [1, 2], { rank: 1 }), RangeError, /"base"/],
        ["NaN in the base", () => extractAdapter([[Number.NaN]], [[1]], { rank: 1 }), NonFiniteError, /"base"/],
        [
          "Infinity in the tuned",
          () => extractAdapter([[1]], [[Number.POSITIVE_INFINITY]], { rank: 1 }),
          NonFiniteError,
          /"tuned"/,
        ],
        ["an unknown option", () => extractAdapter([[1]], [[2]], { rank: 1 }, { sed: 1 } as never), TypeError, /seed/],
      ]);
      for (const one of [biased, dora, broken]) one.dispose();
    });
    expect(capabilities().usedBytes).toBe(usedBytes);
  });
});
