// One pass of alternating least squares over generated ratings, beside the product of the same arithmetic, and the memory it takes.

import { runCases } from "./support/cases.mjs";
import { capabilities, csr, factorize, matmul, tensor } from "./support/lowrank.mjs";
import { arrayOf, random } from "./support/random.mjs";

const [USERS, ITEMS, COUNT] = [20_000, 5_000, 1e6];
const CASES = [
  ["f32", 32],
  ["f32", 64],
  ["f64", 32],
];

export async function bench(options) {
  const cases = CASES.map(([dtype, k]) => makeCase(dtype, k));
  for (const dtype of ["f32", "f64"]) cases.push(product(dtype));
  const rows = runCases("factors", cases, options);
  return { rows, figures: figures(rows) };
}

function figures(rows) {
  const row = (name) => rows.find((one) => one.name === name);
  const [pass, base] = [row(title("f32", 32)), row("f32 gemm 512³")];
  const both = pass !== undefined && base !== undefined;
  return [
    {
      what: `${title("f32", 32)}: time over gemm's of the same arithmetic`,
      measured: both ? base.rate / pass.rate : undefined,
      atMost: 4,
    },
    {
      what: `${title("f32", 32)}: memory beside the ratings over theirs`,
      measured: pass === undefined ? undefined : memory("f32", 32),
      atMost: 3,
    },
  ];
}

function title(dtype, k) {
  return `${dtype} ALS ${USERS}×${ITEMS}, ${COUNT / 1e6}e6 ratings, k ${k}`;
}

function makeRatings(dtype) {
  const place = (seed, n) => Int32Array.from(random("f64", COUNT, seed), (x) => Math.floor(((x + 1) / 2) * n));
  const values = random(dtype, COUNT, 3).map((x) => 3 + 2 * x);
  return csr.fromCoo(place(1, USERS), place(2, ITEMS), values, [USERS, ITEMS]);
}

const made = new Map();
function ratingsOf(dtype) {
  if (!made.has(dtype)) made.set(dtype, makeRatings(dtype));
  return made.get(dtype);
}

function makeCase(dtype, k) {
  const ratings = ratingsOf(dtype);
  const run = (iterations) => factorize(ratings, { factors: k, iterations, regularization: 0.01 });
  return {
    name: title(dtype, k),
    dtype,
    // products of both sides, symmetric halves, and systems
    work: 2 * ratings.nnz * (k * k + k) + ((USERS + ITEMS) * k ** 3) / 3,
    unit: "GFLOP/s",
    run: () => run(1).dispose(),
    check() {
      // a pass more never fits worse by more than the ridge; a wrong step would
      const errors = [1, 2].map((iterations) => {
        const model = run(iterations);
        const error = model.rmse(ratings);
        model.dispose();
        return error;
      });
      return errors[1] / errors[0];
    },
  };
}

/** Bytes that a call takes at most, beside the ratings, over the bytes of the ratings. */
function memory(dtype, k) {
  const ratings = ratingsOf(dtype);
  const before = capabilities().usedBytes;
  let most = 0;
  const onProgress = () => {
    most = Math.max(most, capabilities().usedBytes - before);
  };
  factorize(ratings, { factors: k, iterations: 1, onProgress }).dispose();
  return most / (ratings.nnz * ((dtype === "f32" ? 4 : 8) + 4) + 4 * (USERS + 1));
}

function product(dtype) {
  const n = 512;
  const [a, b] = [1, 2].map((seed) => tensor(random(dtype, n * n, seed), { shape: [n, n] }));
  const out = tensor(arrayOf(dtype, n * n), { shape: [n, n] });
  return { name: `${dtype} gemm 512³`, dtype, work: 2 * n ** 3, unit: "GFLOP/s", run: () => matmul(a, b, { out }) };
}
