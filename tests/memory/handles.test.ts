// Any sequence of making, viewing, computing, scoping, failing and disposing: every live handle keeps its numbers.

import fc from "fast-check";
import { expect, test } from "vitest";
import { capabilities, matmul, type Nested, scope, type Tensor, tensor } from "../../bindings/index.js";
import { kernel } from "../../bindings/load.js";
import { LoraLinear } from "../../bindings/lora.js";

interface Live {
  t: Tensor;
  numbers: Nested;
}

const step = fc.record({
  kind: fc.constantFrom("make", "transpose", "subtensor", "copy", "product", "layer", "scope", "fail", "dispose"),
  pick: fc.nat(),
  rows: fc.integer({ min: 0, max: 12 }),
  columns: fc.integer({ min: 0, max: 12 }),
});

test("Tensor: handles keep their numbers through any sequence of calls", () => {
  let serial = 0;
  const fresh = (rows: number, columns: number): Nested =>
    Array.from({ length: rows }, () => Array.from({ length: columns }, () => ++serial % 1000));
  const { usedBytes } = capabilities();
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const live: Live[] = [];
      const add = (t: Tensor) => live.push({ t, numbers: t.toArray() });
      for (const { kind, pick, rows, columns } of steps) {
        const one = live[pick % live.length];
        if (kind === "make" || one === undefined) {
          const numbers = fresh(rows, columns);
          const t = tensor(numbers as Nested[], { shape: [rows, columns] });
          live.push({ t, numbers });
        } else if (kind === "transpose") {
          add(one.t.transpose());
        } else if (kind === "subtensor") {
          const length = one.t.shape[0] as number;
          add(one.t.subtensor(Math.min(rows, length), length));
        } else if (kind === "copy") {
          add(tensor(one.t));
        } else if (kind === "product") {
          add(scope(() => matmul(one.t, one.t.transpose())));
        } else if (kind === "layer") {
          const layer = new LoraLinear({ weight: one.t });
          add(layer.forward(one.t));
          layer.dispose();
        } else if (kind === "scope") {
          add(
            scope(() => {
              tensor([pick]);
              return tensor(one.t.transpose()).transpose();
            }),
          );
        } else if (kind === "fail") {
          const longer = new Array((one.t.shape[1] as number) + 1).fill(1);
          expect(() => matmul(one.t, longer)).toThrow(RangeError);
        } else {
          one.t.dispose();
          live.splice(live.indexOf(one), 1);
        }
        for (const { t, numbers } of live) expect(t.toArray()).toEqual(numbers);
      }
      kernel().allocator.checkGuards();
      for (const { t } of live) t.dispose();
      expect(capabilities().usedBytes).toBe(usedBytes);
    }),
    { numRuns: 60 },
  );
});
