// Vector routines: every length around the vector widths, strides, the ends of the range, what stands around.

import { describe, expect, test } from "vitest";
import { Random } from "../support/random.js";
import { DTYPES, raw, rounded, roundoff, SmallKernel, withBlocks } from "../support/raw.js";
import { absoluteDot, dot, norm2, scaled } from "../support/reference.js";

const LENGTHS = [...Array.from({ length: 71 }, (_, n) => n), 127, 128, 129, 1000];
const STRIDES = [
  [1, 1],
  [2, 1],
  [1, 3],
  [2, 2],
  [5, 4],
] as const;
/** Factors: those that mean something to the routines, and one that rounds. */
const ALPHAS = [0, 1, -1, 2, 0.3];

/** n numbers, `step` apart, with NaN between them. */
function spread(values: ArrayLike<number>, step: number): Float64Array {
  const out = new Float64Array(values.length === 0 ? 0 : (values.length - 1) * step + 1).fill(Number.NaN);
  for (let i = 0; i < values.length; i++) out[i * step] = values[i] as number;
  return out;
}

describe.each(DTYPES)("level 1, %s", (dtype) => {
  const u = roundoff(dtype);
  const random = new Random(1);
  const draw = (n: number) => rounded(dtype, random.array(n, "normal"));

  test("dot() is right to n roundings for every length and stride", () => {
    const wrong: string[] = [];
    for (const n of LENGTHS) {
      for (const [incx, incy] of STRIDES) {
        const [x, y] = [draw(n), draw(n)];
        withBlocks(dtype, (place) => {
          const px = place(spread(x, incx)).pointer;
          const got = raw(dtype).dot(n, px, incx, place(spread(y, incy)).pointer, incy);
          const bound = 1.0000001 * n * u * absoluteDot(n, x, y);
          if (!(Math.abs(got - dot(n, x, y)) <= bound)) wrong.push(`${n} ${incx} ${incy}`);
          // the twin: the bound knows a wrong sum
          if (n > 0 && Math.abs(got + 4 * bound - dot(n, x, y)) <= bound) wrong.push(`twin ${n}`);
        });
      }
    }
    expect(wrong).toEqual([]);
  });

  test("dot() of integers is exact", () => {
    for (const n of LENGTHS) {
      const x = Float64Array.from({ length: n }, (_, i) => (i % 7) - 3);
      const y = Float64Array.from({ length: n }, (_, i) => (i % 5) - 1);
      withBlocks(dtype, (place) => {
        expect(raw(dtype).dot(n, place(x).pointer, 1, place(y).pointer, 1)).toBe(dot(n, x, y));
      });
    }
  });

  test.each([[Number.NaN], [Number.POSITIVE_INFINITY], [Number.NEGATIVE_INFINITY]])(
    "dot() shows %d wherever it stands",
    (value) => {
      for (const n of [1, 3, 8, 17, 33, 70]) {
        for (let at = 0; at < n; at++) {
          withBlocks(dtype, (place) => {
            const x = new Float64Array(n).fill(1);
            x[at] = value;
            const ones = place(new Float64Array(n).fill(1)).pointer;
            expect(raw(dtype).dot(n, place(x).pointer, 1, ones, 1)).toEqual(value);
            expect(raw(dtype).dot(n, ones, 1, place(new Float64Array(n)).pointer, 1)).toBe(0);
            expect(raw(dtype).dot(n, place(x).pointer, 1, place(new Float64Array(n)).pointer, 1)).toBeNaN();
          });
        }
      }
    },
  );

  test("axpy() is right to two roundings for every length, stride and factor", () => {
    const wrong: string[] = [];
    for (const n of LENGTHS) {
      for (const [incx, incy] of STRIDES) {
        for (const factor of ALPHAS) {
          const [alpha] = rounded(dtype, [factor]) as unknown as [number];
          const [x, y] = [draw(n), draw(n)];
          withBlocks(dtype, (place) => {
            const before = spread(y, incy);
            const target = place(before);
            raw(dtype).axpy(n, alpha, place(spread(x, incx)).pointer, incx, target.pointer, incy);
            for (let i = 0; i < before.length; i++) {
              const got = target.data[i] as number;
              if (i % incy !== 0) {
                if (!Number.isNaN(got)) wrong.push(`${n} ${incy}: wrote between elements`);
                continue;
              }
              const at = i / incy;
              const [xi, yi] = [x[at] as number, y[at] as number];
              const bound = 2 * u * (Math.abs(alpha * xi) + Math.abs(yi));
              if (!(Math.abs(got - (alpha * xi + yi)) <= bound)) wrong.push(`${n} ${incx} ${incy} ${alpha}: ${at}`);
              if (alpha === 0 && got !== yi) wrong.push(`${n}: alpha 0 changed y`);
            }
          });
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  test("scal() is exact to the last digit for every length and stride", () => {
    const wrong: string[] = [];
    for (const n of LENGTHS) {
      for (const incx of [1, 2, 5]) {
        for (const factor of ALPHAS) {
          const alpha = rounded(dtype, [factor])[0] as number;
          const x = draw(n);
          withBlocks(dtype, (place) => {
            const target = place(spread(x, incx));
            raw(dtype).scal(n, alpha, target.pointer, incx);
            const expected = spread(
              rounded(
                dtype,
                x.map((value) => alpha * value),
              ),
              incx,
            );
            // 0·x is 0 here whatever the sign of x
            const same = expected.every((value, i) => Object.is(value + 0, (target.data[i] as number) + 0));
            if (!same) wrong.push(`${n} ${incx} ${alpha}`);
          });
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  test("scal() with alpha = 0 writes zeros over NaN, with another alpha keeps it", () => {
    for (const n of [1, 5, 16, 35]) {
      for (const incx of [1, 2]) {
        withBlocks(dtype, (place) => {
          const x = place(spread(new Float64Array(n).fill(Number.NaN), incx));
          raw(dtype).scal(n, 2, x.pointer, incx);
          expect(x.data.every((value) => Number.isNaN(value))).toBe(true);
          raw(dtype).scal(n, 0, x.pointer, incx);
          for (let i = 0; i < n; i++) expect(x.data[i * incx]).toBe(0);
        });
      }
    }
  });

  test("nrm2() is right for every length and stride", () => {
    const wrong: string[] = [];
    for (const n of LENGTHS) {
      for (const incx of [1, 2, 5]) {
        const x = draw(n);
        withBlocks(dtype, (place) => {
          const got = raw(dtype).nrm2(n, place(spread(x, incx)).pointer, incx);
          const expected = norm2(x);
          if (!(Math.abs(got - expected) <= (n / 2 + 2) * u * expected)) wrong.push(`${n} ${incx}: ${got}`);
          if (n > 0 && Math.abs(got * (1 + (n + 8) * u) - expected) <= (n / 2 + 2) * u * expected) wrong.push("twin");
        });
      }
    }
    expect(wrong).toEqual([]);
  });

  // exponents of 2 over the whole range, 2^-149 and 2^-1074 being the smallest numbers
  const exponents =
    dtype === "f32"
      ? [-149, -148, -140, -127, -126, -110, -100, -80, -64, -60, 0, 60, 63, 64, 100, 125, 126, 127]
      : [-1074, -1073, -1060, -1023, -1022, -1000, -997, -540, -512, -480, 0, 480, 511, 512, 997, 1021, 1022, 1023];

  test("nrm2() neither overflows nor loses digits to underflow, from the smallest to the largest number", () => {
    const tiny = dtype === "f32" ? 2 ** -149 : 2 ** -1074;
    const wrong: string[] = [];
    for (const e of exponents) {
      for (const n of [1, 2, 3, 4, 7, 9, 16, 33, 70]) {
        for (const incx of [1, 3]) {
          // |x| <= 2^e so that, at the top, the norm of up to three elements is in range
          const x = rounded(
            dtype,
            Float64Array.from({ length: n }, () => scaled(random.uniform() + 2 ** -30, e)),
          );
          withBlocks(dtype, (place) => {
            const got = raw(dtype).nrm2(n, place(spread(x, incx)).pointer, incx);
            const expected = rounded(dtype, [norm2(x)])[0] as number;
            const bound = (n / 2 + 3) * u * expected + tiny;
            if (got !== expected && !(Math.abs(got - expected) <= bound))
              wrong.push(`2^${e}, ${n}: ${got} ${expected}`);
          });
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  test("nrm2() of one large among small numbers, and of one small number among zeros, is that number", () => {
    const pairs = dtype === "f32" ? [1e38, 1e-38, 1e-45, 3e38] : [1e300, 1e-300, 5e-324, 1.7e308];
    for (const value of rounded(dtype, pairs)) {
      for (const n of [1, 5, 40]) {
        for (let at = 0; at < n; at += 3) {
          withBlocks(dtype, (place) => {
            const x = new Float64Array(n);
            x[at] = -value;
            expect(raw(dtype).nrm2(n, place(x).pointer, 1)).toBe(value);
            if (value < 1) return;
            x.fill(1e-30);
            x[at] = -value;
            expect(raw(dtype).nrm2(n, place(x).pointer, 1)).toBe(value);
          });
        }
      }
    }
  });

  test("nrm2() of 3 and 4 at any scale is 5", () => {
    for (const e of exponents) {
      const factor = scaled(1, e - 3);
      const [a, b, c] = [3, 4, 5].map((x) => x * factor) as [number, number, number];
      if (e - 3 < (dtype === "f32" ? -149 : -1074)) continue;
      withBlocks(dtype, (place) => expect(raw(dtype).nrm2(2, place([a, b]).pointer, 1)).toBe(c));
    }
  });

  test("nrm2() is Infinity where the norm is beyond the range, and only there", () => {
    const largest = dtype === "f32" ? 3.4028234663852886e38 : Number.MAX_VALUE;
    withBlocks(dtype, (place) => {
      expect(raw(dtype).nrm2(2, place([largest, largest]).pointer, 1)).toBe(Number.POSITIVE_INFINITY);
      expect(raw(dtype).nrm2(2, place([largest, 0]).pointer, 1)).toBe(largest);
      expect(raw(dtype).nrm2(2, place([largest / 2, largest / 2]).pointer, 1)).toBeLessThan(largest);
    });
  });

  test("nrm2() shows NaN and Infinity wherever they stand", () => {
    for (const n of [1, 2, 3, 5, 9, 20, 40]) {
      for (let at = 0; at < n; at++) {
        for (const rest of [0, 1, dtype === "f32" ? 1e38 : 1e300, dtype === "f32" ? 1e-38 : 1e-300]) {
          withBlocks(dtype, (place) => {
            const x = place(new Float64Array(n).fill(rest));
            x.data[at] = Number.NaN;
            expect(raw(dtype).nrm2(n, x.pointer, 1)).toBeNaN();
            x.data[at] = Number.NEGATIVE_INFINITY;
            expect(raw(dtype).nrm2(n, x.pointer, 1)).toBe(Number.POSITIVE_INFINITY);
          });
        }
      }
    }
  });

  test("rot() turns two vectors, right to two roundings, for every length and stride", () => {
    const wrong: string[] = [];
    for (const n of LENGTHS) {
      for (const [incx, incy] of STRIDES) {
        const angle = 2 * Math.PI * random.uniform();
        const [c, s] = rounded(dtype, [Math.cos(angle), Math.sin(angle)]) as unknown as [number, number];
        const [x, y] = [draw(n), draw(n)];
        withBlocks(dtype, (place) => {
          const [px, py] = [place(spread(x, incx)), place(spread(y, incy))];
          raw(dtype).rot(n, px.pointer, incx, py.pointer, incy, c, s);
          for (let i = 0; i < n; i++) {
            const [a, b] = [x[i] as number, y[i] as number];
            const bound = 2.0000001 * u * (Math.abs(c * a) + Math.abs(s * b));
            const twin = 2.0000001 * u * (Math.abs(c * b) + Math.abs(s * a));
            const [gx, gy] = [px.data[i * incx] as number, py.data[i * incy] as number];
            if (!(Math.abs(gx - (c * a + s * b)) <= bound)) wrong.push(`x ${n} ${incx} ${incy} ${i}`);
            if (!(Math.abs(gy - (c * b - s * a)) <= twin)) wrong.push(`y ${n} ${incx} ${incy} ${i}`);
          }
          const between = [...px.data].filter((_, i) => i % incx > 0);
          if (!between.every(Number.isNaN)) wrong.push(`${n} ${incx}: wrote between elements`);
        });
      }
    }
    expect(wrong).toEqual([]);
  });

  test("rot() by c = 0, s = 1 exchanges exactly, up to a sign; by c = 1, s = 0 changes nothing", () => {
    for (const n of LENGTHS) {
      const [x, y] = [draw(n), draw(n)];
      withBlocks(dtype, (place) => {
        const [px, py] = [place(x), place(y)];
        raw(dtype).rot(n, px.pointer, 1, py.pointer, 1, 1, 0);
        expect([...px.data]).toEqual([...x]);
        expect([...py.data]).toEqual([...y]);
        raw(dtype).rot(n, px.pointer, 1, py.pointer, 1, 0, 1);
        expect([...px.data]).toEqual([...y]);
        expect([...py.data]).toEqual([...x.map((value) => -value)]);
      });
    }
  });

  test("no vector routine reads or writes behind the end of memory", () => {
    const small = new SmallKernel(64);
    const routines = small.routines(dtype);
    const bytes = dtype === "f32" ? 4 : 8;
    for (const n of LENGTHS) {
      for (const inc of [1, 3]) {
        const length = n === 0 ? 0 : (n - 1) * inc + 1;
        const x = small.placeLast(dtype, new Float64Array(length).fill(1));
        small.view(dtype, small.base, length).fill(1);
        expect(routines.dot(n, x, inc, small.base, inc)).toBe(n);
        expect(routines.dot(n, small.base, inc, x, inc)).toBe(n);
        expect(routines.nrm2(n, x, inc)).toBeCloseTo(Math.sqrt(n), 5);
        routines.axpy(n, 1, small.base, inc, x, inc);
        routines.axpy(n, 1, x, inc, small.base, inc);
        routines.scal(n, 0.5, x, inc);
        routines.rot(n, x, inc, small.base, inc, 0, 1);
        routines.rot(n, small.base, inc, x, inc, 0, 1);
        // (1, 1) -> (2, 3) -> (1, 3), and back to where it was after a turn there and one from the other side
        if (n > 0) expect(small.view(dtype, x, length)[length - 1]).toBe(1);
        if (n > 0) expect(small.view(dtype, small.base, length)[length - 1]).toBe(3);
      }
    }
    // the twins: one element further is a trap
    const last = small.memory.buffer.byteLength - bytes;
    for (const call of [
      () => routines.dot(2, last, 1, small.base, 1),
      () => routines.axpy(2, 1, small.base, 1, last, 1),
      () => routines.scal(2, 2, last, 1),
      () => routines.nrm2(2, last, 1),
      () => routines.rot(2, small.base, 1, last, 1, 0, 1),
    ]) {
      expect(call).toThrow(WebAssembly.RuntimeError);
    }
  });
});
