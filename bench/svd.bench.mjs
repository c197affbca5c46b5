// A = U·S·Vᵀ, thin and values only, of a resident tensor: Gaussian matrices, sizes next to a power of two, matrices that
// are subnormal or have subnormal corners.

import { loadReference } from "./reference/index.mjs";
import { runCases } from "./support/cases.mjs";
import { svdError } from "./support/check.mjs";
import { svd, svdvals, tensor } from "./support/lowrank.mjs";
import { random } from "./support/random.mjs";

const SIZES = [64, 128, 256, 500, 512, 1000, 1024];
/** Larger ones would take the plain JavaScript minutes. */
const LARGEST_COMPARED = 512;

const SIDE = 256;
/** f64 matrices whose time is compared with a Gaussian one's; results are checked after a lift by a power of two. */
const SCALED = [
  ["A·1e-300", (x) => x * 1e-300, 2 ** 996],
  ["A·1e-310", (x) => x * 1e-310, 2 ** 1023],
  ["exp(−(i−j)²/8)", (_, at) => Math.exp(-((Math.floor(at / SIDE) - (at % SIDE)) ** 2) / 8), 1],
];

export async function bench(options) {
  const checking = await loadReference("check");
  const cases = [];
  for (const dtype of ["f32", "f64"]) {
    const reference = await loadReference(dtype);
    for (const n of SIZES) {
      const size = { name: `${dtype} ${n}×${n}`, n, array: random(dtype, n * n, 1) };
      cases.push(...makeCases(size, dtype, n <= LARGEST_COMPARED ? reference : undefined, checking));
    }
  }
  for (const [name, change, lift] of SCALED) {
    const array = random("f64", SIDE * SIDE, 1).map(change);
    cases.push(...makeCases({ name: `f64 ${SIDE}×${SIDE} ${name}`, n: SIDE, array, lift }, "f64", undefined, checking));
  }
  const rows = runCases("svd", cases, options);
  return { rows, figures: figures(rows) };
}

function figures(rows) {
  const time = (name) => rows.find((row) => row.name === name)?.bestMs;
  const ratio = (name, base) => {
    const [x, y] = [time(name), time(base)];
    return x === undefined || y === undefined ? undefined : x / y;
  };
  const found = [];
  for (const dtype of ["f32", "f64"]) {
    for (const n of SIZES) {
      const name = `${dtype} ${n}×${n}`;
      found.push({
        what: `${name}: time of thin over time of values`,
        measured: ratio(`${name} thin`, `${name} values`),
        atLeast: 2,
      });
    }
    for (const [n, other] of [
      [512, 500],
      [1024, 1000],
    ]) {
      found.push({
        what: `${dtype} thin: time of ${n}² over time of ${other}²`,
        measured: ratio(`${dtype} ${n}×${n} thin`, `${dtype} ${other}×${other} thin`),
        atMost: 1.25,
      });
    }
  }
  const base = `f64 ${SIDE}×${SIDE}`;
  for (const [name] of SCALED) {
    for (const job of ["thin", "values"]) {
      found.push({
        what: `${base} ${name} ${job}: time over a Gaussian matrix's`,
        measured: ratio(`${base} ${name} ${job}`, `${base} ${job}`),
        atMost: 1.5,
      });
    }
  }
  return found;
}

function makeCases({ name, n, array, lift = 1 }, dtype, reference, checking) {
  const m = n;
  const a = tensor(array, { shape: [m, n] });
  const lifted = array.map((x) => x * lift);
  const { gemm } = checking;
  let known;
  const expected = () => {
    known ??= checking.svd(m, n, Float64Array.from(lifted), false).s;
    return known;
  };
  const dispose = (tensors) => {
    for (const one of Object.values(tensors)) one.dispose();
  };
  return [
    {
      name: `${name} thin`,
      dtype,
      run: () => dispose(svd(a)),
      reference: reference && (() => reference.svd(m, n, array)),
      check() {
        const found = svd(a);
        const { u, s, vt } = found;
        const error = svdError({
          m,
          n,
          a: lifted,
          u: u.data,
          s: s.data.map((x) => x * lift),
          vt: vt.data,
          expected: expected(),
          dtype,
          gemm,
        });
        dispose(found);
        return error;
      },
    },
    {
      name: `${name} values`,
      dtype,
      run: () => svdvals(a).dispose(),
      reference: reference && (() => reference.svd(m, n, array, false)),
      check() {
        const s = svdvals(a);
        const error = svdError({ m, n, a: lifted, s: s.data.map((x) => x * lift), expected: expected(), dtype, gemm });
        s.dispose();
        return error;
      },
    },
  ];
}
