// The rank table: a 100 × 100 matrix by the best matrices of rank 1 to 32, and by LoRA adapters that learn it, for eight seeds.

import { lowRank, tensor, zeros } from "lowrank";
import { AdamW, fit, LoraAdapter, LoraLinear, loss, Sequential } from "lowrank/lora";
import { random } from "../../bench/support/random.mjs";
import { table } from "../../bench/support/report.mjs";
import { main } from "./main.mjs";

const D = 100;
const SEEDS = 8;
const STEPS = 1000;
/** Ranks, and the percentages that the table that this follows has for them. */
const RANKS = new Map([
  [1, 98.5],
  [4, 98.9],
  [8, 99.0],
  [16, 99.3],
  [32, 99.6],
]);

/** Normal numbers, by Box and Muller. */
function normal(length, seed, scale) {
  const [x, y] = [random("f64", length, 2 * seed), random("f64", length, 2 * seed + 1)];
  return x.map((u, i) => scale * Math.sqrt(-2 * Math.log(1 - (u + 1) / 2)) * Math.cos(Math.PI * y[i]));
}

/** Half the identity, two squares on its diagonal, and noise. */
function target(seed) {
  const values = normal(D * D, 1000 + seed, 0.1);
  for (let i = 0; i < D; i++) {
    values[i * D + i] += 0.5;
    for (let j = 0; j < 25; j++) {
      if (i < 25) values[i * D + j] += 0.3;
      else if (i < 50) values[i * D + 25 + j] += 0.2;
    }
  }
  return values;
}

/** The mean squared error that an adapter of rank r on a weight of zeros ends with: its outputs for the identity are to be `y`. */
async function learn(y, r, seed) {
  const shape = (rows, columns, stream) =>
    tensor(normal(rows * columns, 2000 + 100 * seed + stream, 0.1), { shape: [rows, columns] });
  const [weight, a, b] = [zeros([D, D]), shape(r, D, 1), shape(D, r, 2)];
  const layer = new LoraLinear({ weight });
  const adapter = new LoraAdapter({ a, b });
  layer.addAdapter("learner", adapter);
  const model = new Sequential([layer]);
  const x = tensor(
    Float64Array.from({ length: D * D }, (_, i) => Number(i % (D + 1) === 0)),
    { shape: [D, D] },
  );
  const optimizer = new AdamW({ lr: 0.01, weightDecay: 0 });
  const options = { x, y, loss: "meanSquaredError", optimizer, epochs: STEPS, batchSize: D, shuffle: false };
  await fit(model, options);
  const output = model.forward(x);
  const { value, grad } = loss("meanSquaredError", output, y);
  for (const one of [model, weight, a, b, adapter, x, optimizer, output, grad]) one.dispose();
  return value;
}

export async function trainRanks({ step, seeds = SEEDS }) {
  const rows = [];
  for (let seed = 0; seed < seeds; seed++) {
    const values = target(seed);
    const matrix = tensor(values, { shape: [D, D] });
    const y = tensor(matrix.transpose());
    const total = values.reduce((sum, value) => sum + value ** 2, 0);
    for (const r of RANKS.keys()) {
      step(`seed ${seed}`);
      const { u, s, vt, error, energy } = lowRank(matrix, { rank: r });
      const bound = error.frobenius ** 2 / D ** 2;
      const trained = await learn(y, r, seed);
      rows.push({
        ...{ seed, rank: r, compression: D ** 2 / (2 * D * r), mse: { bound, trained }, ratio: trained / bound },
        quality: { bound: 100 * (1 - bound), trained: 100 * (1 - trained) },
        relativeError: error.frobenius / Math.sqrt(total),
        energy,
      });
      for (const one of [u, s, vt]) one.dispose();
    }
    matrix.dispose();
    y.dispose();
  }
  return { d: D, steps: STEPS, seeds, published: Object.fromEntries(RANKS), rows };
}

export function print({ rows, seeds, steps }) {
  console.log(
    `${D} × ${D}: half the identity, 0.3 on the first 25 × 25, 0.2 on the next, noise of 0.1; seeds 0 to ${seeds - 1}.`,
  );
  console.log(`"Accuracy" is (1 − MSE)·100. LoRA: A and B 0.1·N(0, 1), Adam 0.01, ${steps} steps.\n`);
  const range = (values, digits) => {
    const [least, most] = [Math.min(...values).toFixed(digits), Math.max(...values).toFixed(digits)];
    return least === most ? least : `${least} – ${most}`;
  };
  const lines = [...RANKS].map(([rank, published]) => {
    const own = rows.filter((row) => row.rank === rank);
    const all = (value, digits) => range(own.map(value), digits);
    return [
      rank,
      `${own[0].compression.toFixed(rank < 8 ? 1 : 2)} ×`,
      published.toFixed(1),
      all(({ quality }) => quality.bound, 2),
      all(({ quality }) => quality.trained, 2),
      all(({ ratio }) => ratio, 5),
      all(({ relativeError }) => relativeError, 3),
      all(({ energy }) => 100 * energy, 1),
    ];
  });
  const head = [
    "rank",
    "compression",
    "published %",
    "best (SVD) %",
    "LoRA %",
    "its MSE / best",
    "relative error",
    "energy kept %",
  ];
  console.log(table(head, lines));
}

await main(import.meta, trainRanks, SEEDS * RANKS.size, print);
