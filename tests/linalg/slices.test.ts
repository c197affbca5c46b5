// However the work is cut, the results have the same bits; a step a call is many calls.

import { afterEach, expect, test } from "vitest";
import { kabsch, lstsq, pinv, polar, qr, scope, type Tensor, tensor } from "../../bindings/index.js";
import { kernel } from "../../bindings/load.js";
import { Random } from "../support/random.js";
import { DTYPES } from "../support/raw.js";

const USUAL = 3e7;

afterEach(() => kernel().common.setSlice(USUAL));

test.each(DTYPES)("qr(), lstsq(), pinv(), polar(), kabsch() in single steps, %s", (dtype) => {
  const random = new Random(71);
  const make = (m: number, n: number) => tensor(random.array(m * n), { shape: [m, n], dtype }) as Tensor;
  scope(() => {
    const [tall, wide, side, p, q] = [make(80, 37), make(37, 80), make(80, 3), make(50, 40), make(50, 40)] as const;
    const all = (slice: number) => {
      kernel().common.setSlice(slice);
      const modes = (["r", "thin", "full"] as const).flatMap((mode) =>
        [tall, wide].flatMap((a) =>
          Object.values(qr(a, { mode: mode as "thin" }) as unknown as Record<string, Tensor>),
        ),
      );
      const solved = [lstsq(tall, side), lstsq(tall, side, { rcond: 0.5 }), lstsq(wide, wide, { rcond: 0.5 })].map(
        ({ x }) => x,
      );
      const moved = kabsch(p, q);
      const { u, p: square } = polar(tall);
      return [...modes, ...solved, pinv(tall), pinv(wide), u, square, moved.r, moved.t].map((t) => t.toTyped());
    };
    expect(all(0)).toEqual(all(USUAL));
  });
});
