// The two bases of the kernel's randomized decompositions: P·L of an LU factorisation, and Q of a QR factorisation.

import { describe, expect, test } from "vitest";
import { Random } from "../support/random.js";
import { DTYPES, roundoff, SmallKernel, type Typed } from "../support/raw.js";

const MORE = -1;
const random = new Random(5);

type Basis = "luBasis" | "orthonormalize";

/** Columns of a matrix as rows of l×n; the basis as rows, R (columns as rows) for orthonormalize, and how many slices it took. */
function basis(dtype: "f32" | "f64", what: Basis, l: number, n: number, rows: ArrayLike<number>, slice = Infinity) {
  const kernel = new SmallKernel(120);
  const routines = kernel.routines(dtype);
  kernel.common.setSlice(slice);
  const bytes = dtype === "f32" ? 4 : 8;
  const x = kernel.base;
  const r = x + Math.ceil((l * n * bytes) / 64) * 64;
  const work = r + Math.ceil((l * l * bytes) / 64) * 64;
  kernel.view(dtype, x, l * n).set(rows);
  const size = what === "luBasis" ? routines.luBasisScratch(l) : routines.orthonormalizeScratch(l, n);
  const behind = new Uint8Array(kernel.memory.buffer, work + size, 64).fill(170);
  if (what === "luBasis") routines.luBasisBegin(work);
  else routines.orthonormalizeBegin(work);
  let slices = 1;
  const call = () =>
    what === "luBasis" ? routines.luBasis(l, n, x, n, work) : routines.orthonormalize(l, n, x, r, work);
  while (call() === MORE) slices++;
  expect(behind.every((byte) => byte === 170)).toBe(true);
  return { x: kernel.view(dtype, x, l * n).slice() as Typed, r: kernel.view(dtype, r, l * l).slice() as Typed, slices };
}

const SHAPES = [
  [1, 1],
  [1, 7],
  [2, 2],
  [3, 5],
  [5, 5],
  [16, 40],
  [17, 40],
  [33, 33],
  [40, 131],
  [74, 200],
] as const;

describe.each(DTYPES)("bases, %s", (dtype) => {
  const u = roundoff(dtype);

  test("luBasis() gives SciPy's P·L", () => {
    const columns = [1, 4, 3, -8, 2, 2, -2, 1, 5, 2, -1, 6, 0, 2, 7];
    // scipy.linalg.lu(a, permute_l=True)[0], by columns
    const expected = [
      ...[-0.125, -0.5, -0.375, 1, -0.25],
      ...[0.8076923076923077, 0.15384615384615385, 0.8846153846153847, 0, 1],
      ...[1, -0.8587570621468926, 0.8644067796610171, 0, 0],
    ];
    const { x } = basis(dtype, "luBasis", 3, 5, columns);
    for (const [i, value] of expected.entries()) expect(Math.abs((x[i] as number) - value)).toBeLessThan(10 * u);
  });

  test.each(SHAPES)("luBasis() spans what it was given with entries of at most 1: %i vectors of length %i", (l, n) => {
    const given = random.array(l * n, "normal");
    const { x } = basis(dtype, "luBasis", l, n, given);
    expect(x.every((value) => Math.abs(value) <= 1)).toBe(true);
    // each has a 1 where all later ones are 0: so M = (P·L)·U is solved from the front
    const rest = Float64Array.from(given);
    let growth = 0;
    const pivots = Array.from({ length: l }, (_, j) =>
      Array.from(x.subarray(j * n, (j + 1) * n)).findIndex(
        (value, i) =>
          value === 1 && Array.from({ length: l - j - 1 }, (_, c) => x[(j + 1 + c) * n + i]).every((z) => z === 0),
      ),
    );
    expect(pivots).not.toContain(-1);
    expect(new Set(pivots).size).toBe(l);
    for (let c = 0; c < l; c++) {
      for (let j = 0; j < l; j++) {
        const factor = rest[c * n + (pivots[j] as number)] as number;
        growth = Math.max(growth, Math.abs(factor));
        for (let i = 0; i < n; i++) (rest[c * n + i] as number) -= factor * (x[j * n + i] as number);
      }
    }
    const left = rest.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    expect(left).toBeLessThanOrEqual(10 * l * u * growth);
    // the twin: a basis that lacks one vector does not
    if (l > 1) expect(growth * 1e-3).toBeGreaterThan(10 * l * u * growth);
  });

  test.each(SHAPES)("orthonormalize() gives Q and R: %i vectors of length %i", (l, n) => {
    const given = random.array(l * n, "normal");
    const { x, r } = basis(dtype, "orthonormalize", l, n, given);
    let [loss, left] = [0, 0];
    for (let i = 0; i < l; i++) {
      for (let j = 0; j < l; j++) {
        let dot = i === j ? -1 : 0;
        for (let t = 0; t < n; t++) dot += (x[i * n + t] as number) * (x[j * n + t] as number);
        loss = Math.max(loss, Math.abs(dot));
        if (j > i) expect(r[i * l + j]).toBe(0);
      }
      for (let t = 0; t < n; t++) {
        let sum = -Math.fround(given[i * n + t] as number);
        if (dtype === "f64") sum = -(given[i * n + t] as number);
        for (let j = 0; j < l; j++) sum += (r[i * l + j] as number) * (x[j * n + t] as number);
        left = Math.max(left, Math.abs(sum));
      }
    }
    expect(loss).toBeLessThan(20 * u * Math.sqrt(l));
    expect(left).toBeLessThan(50 * u * Math.sqrt(n) * Math.sqrt(l));
  });

  test("bases of dependent and zero vectors are finite; Q is orthonormal all the same", () => {
    const [l, n] = [20, 60];
    const few = random.array(3 * n, "normal");
    const given = Float64Array.from(
      { length: l * n },
      (_, at) => (few[((Math.floor(at / n) % 4) % 3) * n + (at % n)] as number) * (Math.floor(at / n) === 7 ? 0 : 1),
    );
    const lu = basis(dtype, "luBasis", l, n, given).x;
    expect(lu.every((value) => Math.abs(value) <= 1)).toBe(true);
    const { x } = basis(dtype, "orthonormalize", l, n, given);
    for (let i = 0; i < l; i++) {
      for (let j = 0; j <= i; j++) {
        let dot = i === j ? -1 : 0;
        for (let t = 0; t < n; t++) dot += (x[i * n + t] as number) * (x[j * n + t] as number);
        expect(Math.abs(dot)).toBeLessThan(50 * u);
      }
    }
  });

  test.each(["luBasis", "orthonormalize"] as const)(
    "%s() in the smallest slices gives the bits of one call",
    (what) => {
      const given = random.array(40 * 131, "normal");
      const whole = basis(dtype, what, 40, 131, given);
      const cut = basis(dtype, what, 40, 131, given, 0);
      expect(whole.slices).toBe(1);
      expect(cut.slices).toBeGreaterThan(20);
      expect(cut.x).toEqual(whole.x);
      if (what === "orthonormalize") expect(cut.r).toEqual(whole.r);
    },
  );
});
