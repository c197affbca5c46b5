// procrustes() and kabsch(): numbers of SciPy, known motions, mirrors, degenerate sets, ends of the format, batches.

import { describe, expect, test } from "vitest";
import { kabsch, procrustes, scope, type Tensor, tensor, zeros } from "../../bindings/index.js";
import { distance, flip, formula, notOrthonormal, place, read, times } from "../support/dense.js";
import { diagonal, type Matrix, matrix, randomMatrix, scaledMatrix } from "../support/matrices.js";
import { Random } from "../support/random.js";
import { DTYPES, rounded, ulpOf } from "../support/raw.js";
import { norm2 } from "../support/reference.js";

function determinant({ n, data }: Matrix): number {
  if (n === 0) return 1;
  const rows = Array.from({ length: n }, (_, i) => Array.from(data.slice(i * n, (i + 1) * n)));
  let product = 1;
  for (let c = 0; c < n; c++) {
    let top = c;
    for (let i = c; i < n; i++) if (Math.abs(rows[i]?.[c] as number) > Math.abs(rows[top]?.[c] as number)) top = i;
    if (top !== c) {
      [rows[c], rows[top]] = [rows[top] as number[], rows[c] as number[]];
      product = -product;
    }
    const pivot = rows[c]?.[c] as number;
    product *= pivot;
    for (let i = c + 1; i < n; i++) {
      const factor = (rows[i]?.[c] as number) / pivot;
      for (let j = c; j < n; j++)
        (rows[i] as number[])[j] = (rows[i]?.[j] as number) - factor * (rows[c]?.[j] as number);
    }
  }
  return product;
}

/** A rotation, or with `sign` −1 a reflection, of n dimensions. */
function rotation(n: number, random: Random, sign = 1): Matrix {
  const columns: number[][] = [];
  for (let j = 0; j < n; j++) {
    const v = [...random.array(n, "normal")];
    for (let pass = 0; pass < 2; pass++) {
      for (const q of columns) {
        const along = q.reduce((sum, x, i) => sum + x * (v[i] as number), 0);
        q.forEach((x, i) => {
          v[i] = (v[i] as number) - along * x;
        });
      }
    }
    const size = norm2(v);
    columns.push(v.map((x) => x / size));
  }
  const q = matrix(n, n, (i, j) => columns[j]?.[i] as number);
  if (determinant(q) * sign < 0) for (let i = 0; i < n; i++) q.data[i * n] = -(q.data[i * n] as number);
  return q;
}

/** p·rᵀ + t. */
function moved(p: Matrix, r: Matrix, t: ArrayLike<number>): Matrix {
  const q = times(p, flip(r));
  return matrix(q.m, q.n, (i, j) => (q.data[i * q.n + j] as number) + (t[j] as number));
}

function rmsd(p: Matrix, q: Matrix, r: Matrix, t: ArrayLike<number>): number {
  const there = moved(p, r, t);
  return norm2(there.data.map((x, i) => x - (q.data[i] as number))) / Math.sqrt(p.m);
}

describe("procrustes(), kabsch() and SciPy", () => {
  test("procrustes() agrees with scipy.linalg.orthogonal_procrustes", () => {
    scope(() => {
      const a = [
        [2, 0, 1],
        [-2, 0, 0],
      ];
      const { r, scale } = procrustes(
        a,
        a.map((row) => [...row].reverse()),
      );
      expect(distance(times(read(tensor(a)), read(r)), read(tensor(a.map((row) => [...row].reverse()))))).toBeLessThan(
        1e-15,
      );
      expect(scale).toBeCloseTo(9, 13);
      const other = procrustes(formula(4, 3), formula(4, 3, 2));
      expect(other.scale).toBeCloseTo(87.38966510383793, 12);
      expect(
        distance(other.r, {
          data: [
            0.3325911702377341, -0.231776384701698, 0.9141459516808597, 0.9417940266469894, 0.031200974710876354,
            -0.3347394666739205, 0.04906245868221133, 0.9722685877223959, 0.22866278332154205,
          ],
        }),
      ).toBeLessThan(1e-14);
    });
  });

  test("kabsch() agrees with scipy.spatial.transform.Rotation.align_vectors, where the best map is a reflection, too", () => {
    scope(() => {
      const p = formula(6, 3);
      const reversed = [...p].reverse().map((row) => row.map((x, j) => x + j));
      const found = kabsch(p, reversed);
      expect(
        distance(found.r, {
          data: [
            -0.7385300247151498, 0.5033014932096809, -0.4486212316945618, 0.5033014932096807, -0.031198925264244226,
            -0.8635474706090348, -0.44862123169456203, -0.8635474706090346, -0.230271050020606,
          ],
        }),
      ).toBeLessThan(1e-13);
      expect(distance(found.t, { data: [-0.6779446076018718, 3.894957847109716, 4.85268363826918] })).toBeLessThan(
        1e-13,
      );
      expect(found.rmsd).toBeCloseTo(4.412494444512312, 13);
      const mirrored = kabsch(
        p,
        p.map(([x = 0, y = 0, z = 0]) => [x, y, -z]),
      );
      expect(
        distance(mirrored.r, {
          data: [
            0.7543754157774747, -0.3931055243982653, -0.5257240519113873, -0.39310552439826507, 0.37086121162678176,
            -0.8413857666958007, 0.5257240519113875, 0.8413857666958007, 0.12523662740425645,
          ],
        }),
      ).toBeLessThan(1e-13);
      expect(
        distance(mirrored.t, { data: [1.2361797685477605, 1.9784220610639058, -2.6458647812836102] }),
      ).toBeLessThan(1e-13);
      expect(mirrored.rmsd).toBeCloseTo(3.9764145879394968, 13);
      expect(determinant(read(mirrored.r))).toBeCloseTo(1, 14);
    });
  });
});

describe.each(DTYPES)("procrustes(), kabsch(), %s", (dtype) => {
  const ulp = ulpOf(dtype);
  const held = (a: Matrix) => ({ ...a, data: rounded(dtype, a.data) });

  test.each([
    [10, 1],
    [10, 2],
    [50, 3],
    [3, 3],
    [4, 3],
    [60, 40],
  ])("kabsch() finds the motion of %i points in %i dimensions", (m, n) => {
    scope(() => {
      const random = new Random(61);
      const [p, r, t] = [held(randomMatrix(m, n, random)), rotation(n, random), random.array(n)];
      const q = held(moved(p, r, t));
      const found = kabsch(place(p, dtype), place(q, dtype));
      expect([found.r.shape, found.t.shape, found.r.dtype]).toEqual([[n, n], [n], dtype]);
      expect(notOrthonormal(read(found.r))).toBeLessThan(20 * n * ulp);
      expect(determinant(read(found.r))).toBeCloseTo(1, dtype === "f32" ? 4 : 12);
      expect(found.rmsd).toBeLessThan(20 * n * ulp);
      if (m > n) expect(distance(found.r, r)).toBeLessThan(200 * n * ulp);
      // what it says of itself is what is left
      const noisy = held(matrix(m, n, (i, j) => (q.data[i * n + j] as number) + 0.1 * random.symmetric()));
      const rough = kabsch(place(p, dtype), place(noisy, dtype));
      const left = rmsd(p, noisy, read(rough.r), rough.t.data);
      expect(Math.abs(rough.rmsd - left)).toBeLessThan(20 * n * ulp);
      // and no other motion leaves less
      for (let trial = 0; trial < 20; trial++) {
        const turn = times(read(rough.r), rotationNear(n, random, 0.01));
        const shift = rough.t.data.map((x) => x + 0.01 * random.symmetric());
        expect(rmsd(p, noisy, turn, shift)).toBeGreaterThan(left - 20 * n * ulp);
      }
    });
  });

  test.each([2, 3, 4, 5])("kabsch() of a mirror image in %i dimensions is a rotation, procrustes() the mirror", (n) => {
    scope(() => {
      const random = new Random(62);
      const p = held(randomMatrix(20, n, random));
      const mirror = rotation(n, random, -1);
      const q = held(times(p, flip(mirror)));
      const found = kabsch(place(p, dtype), place(q, dtype));
      expect(determinant(read(found.r))).toBeCloseTo(1, dtype === "f32" ? 4 : 12);
      expect(found.rmsd).toBeGreaterThan(0.01);
      const { r, scale } = procrustes(place(p, dtype), place(q, dtype));
      expect(determinant(read(r))).toBeCloseTo(-1, dtype === "f32" ? 4 : 12);
      expect(distance(r, flip(mirror))).toBeLessThan(100 * n * ulp);
      expect(Math.abs(scale / norm2(p.data) ** 2 - 1)).toBeLessThan(100 * ulp);
    });
  });

  test.each<[string, Matrix]>([
    ["points of a plane", matrix(6, 3, (i, j) => (j === 2 ? 0 : ((i + 1) * (j + 2)) % 5))],
    ["points of a line", matrix(5, 3, (i, j) => i * (j + 1))],
    ["points of a line in a plane", matrix(5, 2, (i, j) => i * (j + 1))],
    ["one place many times", matrix(4, 3, (_, j) => j + 1)],
    ["one point", matrix(1, 3, (_, j) => j - 1)],
    ["two points", matrix(2, 3, (i, j) => i + j * j)],
    ["fewer points than dimensions", matrix(3, 6, (i, j) => ((i + 2) * (j + 3)) % 7)],
    ["only zeros", matrix(3, 3, () => 0)],
  ])("kabsch() of %s is a rotation that fits", (_, p) => {
    scope(() => {
      for (const sign of [1, -1]) {
        const random = new Random(63);
        const t = random.array(p.n);
        // a flat set's mirror image is a rotated one, too
        const q = held(moved(p, rotation(p.n, random, sign), t));
        const found = kabsch(place(p, dtype), place(q, dtype));
        expect(determinant(read(found.r))).toBeCloseTo(1, dtype === "f32" ? 4 : 12);
        expect(notOrthonormal(read(found.r))).toBeLessThan(40 * ulp);
        expect(found.rmsd).toBeLessThan(200 * ulp);
        expect(rmsd(p, q, read(found.r), found.t.data)).toBeLessThan(200 * ulp);
      }
    });
  });

  const far = dtype === "f32" ? 116 : 996;
  test.each([
    [far, far],
    [-far, -far],
    [far, -far],
  ])("procrustes() and kabsch() of points times 2^%i and 2^%i: the same rotation", (i, j) => {
    scope(() => {
      const random = new Random(64);
      const [a, b] = [held(randomMatrix(9, 3, random)), held(randomMatrix(9, 3, random))];
      const [p, q] = [place(scaledMatrix(a, i), dtype), place(scaledMatrix(b, j), dtype)];
      const base = procrustes(place(a, dtype), place(b, dtype));
      const lifted = procrustes(p, q);
      expect(read(lifted.r)).toEqual(read(base.r));
      expect(lifted.scale).toBe(i + j === 0 ? base.scale : i > 0 ? Infinity : 0);
      const rigid = kabsch(place(a, dtype), place(b, dtype));
      const far = kabsch(p, q);
      expect(read(far.r)).toEqual(read(rigid.r));
      if (i === j) {
        expect(far.rmsd).toBe(rigid.rmsd * 2 ** i);
        expect([...far.t.data]).toEqual([...rigid.t.data].map((x) => x * 2 ** i));
      }
    });
  });

  test("procrustes() of a wide pair and of rank-deficient ones is orthogonal", () => {
    scope(() => {
      for (const [m, n] of [
        [2, 5],
        [5, 2],
        [1, 1],
      ] as const) {
        const { r } = procrustes(
          place(
            matrix(m, n, () => 1),
            dtype,
          ),
          place(
            matrix(m, n, (i, j) => i - j),
            dtype,
          ),
        );
        expect(r.shape).toEqual([n, n]);
        expect(notOrthonormal(read(r))).toBeLessThan(20 * ulp);
      }
    });
  });
});

/** A rotation by about `angle`: the Cayley transform of a skew matrix, by a few terms of its series. */
function rotationNear(n: number, random: Random, angle: number): Matrix {
  const k = matrix(n, n, () => 0);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      const x = (angle * random.symmetric()) / n;
      k.data[i * n + j] = x;
      k.data[j * n + i] = -x;
    }
  }
  let sum = diagonal(n, n, new Array(n).fill(1));
  let power = sum;
  for (let term = 1; term < 12; term++) {
    power = times(power, k);
    power.data.forEach((x, i) => {
      power.data[i] = x / term;
    });
    sum = { ...sum, data: sum.data.map((x, i) => x + (power.data[i] as number)) };
  }
  return sum;
}

describe("procrustes(), kabsch()", () => {
  test("procrustes(), kabsch() of batches and views are those of their sets", () => {
    scope(() => {
      const random = new Random(65);
      const [p, q] = [0, 1].map(() => tensor(random.array(2 * 3 * 7 * 3), { shape: [2, 3, 7, 3] })) as [Tensor, Tensor];
      const all = kabsch<Tensor>(p, q);
      const turned = procrustes<Tensor>(p, q);
      expect([all.r.shape, all.t.shape, all.rmsd.shape, turned.r.shape, turned.scale.shape]).toEqual([
        [2, 3, 3, 3],
        [2, 3, 3],
        [2, 3],
        [2, 3, 3, 3],
        [2, 3],
      ]);
      for (let i = 0; i < 6; i++) {
        const [a, b] = [read(p, i), read(q, i)];
        const one = kabsch(place(a), place(b));
        expect(distance(read(all.r, i), read(one.r))).toBeLessThan(1e-13);
        expect(all.rmsd.data[i] as number).toBeCloseTo(one.rmsd, 13);
        const view = kabsch(place(flip(a)).transpose(), place(flip(b)).transpose());
        expect(view.r.toArray()).toEqual(one.r.toArray());
        expect(turned.scale.data[i] as number).toBeCloseTo(procrustes(place(a), place(b)).scale, 12);
      }
    });
  });

  test("procrustes(), kabsch() without points or dimensions", () => {
    scope(() => {
      const { r, t, rmsd: left } = kabsch(zeros([0, 3]), zeros([0, 3]));
      expect([r.toArray(), t.toArray(), left]).toEqual([
        [
          [1, 0, 0],
          [0, 1, 0],
          [0, 0, 1],
        ],
        [0, 0, 0],
        0,
      ]);
      const none = kabsch(zeros([4, 0]), zeros([4, 0]));
      expect([none.r.shape, none.t.shape, none.rmsd]).toEqual([[0, 0], [0], 0]);
      expect(procrustes(zeros([0, 2]), zeros([0, 2])).scale).toBe(0);
      expect(kabsch<Tensor>(zeros([0, 4, 3]), zeros([0, 4, 3])).rmsd.shape).toEqual([0]);
    });
  });
});
