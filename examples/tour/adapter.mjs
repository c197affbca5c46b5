// LoRA on a layer as large as the attention projections of a 7B model: the weight stays frozen, two thin matrices are added.

import { tensor } from "lowrank";
import { LoraAdapter, LoraLinear, trainableParameters } from "lowrank/lora";
import { random } from "../../bench/support/random.mjs";
import { table } from "../../bench/support/report.mjs";
import { grouped, milliseconds, timed, title } from "./text.mjs";

const WIDTH = 4096;
const RANK = 16;
const TOKENS = 64;
const ALPHA = 32;

export function showAdapter() {
  title(`2. A LoRA adapter of rank ${RANK} on a layer of ${WIDTH} × ${WIDTH}`);
  const weight = scaled(WIDTH * WIDTH, 1, 1 / Math.sqrt(WIDTH));
  const layer = new LoraLinear({ weight: tensor(weight, { shape: [WIDTH, WIDTH] }) });
  layer.addAdapter(
    "tour",
    new LoraAdapter({
      a: tensor(scaled(RANK * WIDTH, 2, 1 / Math.sqrt(WIDTH)), { shape: [RANK, WIDTH] }),
      b: tensor(scaled(WIDTH * RANK, 3, 0.1), { shape: [WIDTH, RANK] }),
      alpha: ALPHA,
    }),
  );
  const x = tensor(scaled(TOKENS * WIDTH, 4, 1), { shape: [TOKENS, WIDTH] });
  console.log(`${trainableParameters([layer])}\n`);

  layer.forward(x).dispose();
  const beside = timed(() => layer.forward(x));
  layer.enabled = false;
  const base = timed(() => layer.forward(x));
  layer.enabled = true;
  const merging = timed(() => layer.merge());
  const merged = timed(() => layer.forward(x));
  layer.unmerge();
  const restored = countEqualBits(layer.weight.data, weight);
  const after = layer.forward(x);

  console.log(
    table(
      [`${TOKENS} tokens`, "time"],
      [
        ["base layer alone", milliseconds(base.ms)],
        ["adapter beside the weight", milliseconds(beside.ms)],
        ["adapter merged into the weight", milliseconds(merged.ms)],
        ["merge() itself", milliseconds(merging.ms)],
      ],
    ),
  );
  const largest = largestOf(beside.result.data);
  const change = largestDifference(beside.result.data, base.result.data) / largest;
  const difference = largestDifference(beside.result.data, merged.result.data) / largest;
  const bits = countEqualBits(after.data, beside.result.data) === after.size ? "the same bits" : "other bits";
  console.log(`\nRelative to the largest output, the adapter changes outputs by up to ${change.toPrecision(2)};`);
  console.log(`merged and unmerged outputs differ by at most ${difference.toExponential(1)}.`);
  console.log(`unmerge() gave back ${grouped(restored)} of ${grouped(weight.length)} weights bit for bit,`);
  console.log(`and the outputs after it are ${bits} as before.`);
  for (const one of [layer, x, beside.result, base.result, merged.result, after]) one.dispose();
}

/** Seeded numbers in [-scale·√3, scale·√3): standard deviation `scale`. */
function scaled(length, seed, scale) {
  return random("f32", length, seed).map((value) => value * scale * Math.sqrt(3));
}

function countEqualBits(x, y) {
  const bits = (array) => new Uint32Array(array.buffer, array.byteOffset, array.length);
  const [p, q] = [bits(x), bits(y)];
  let count = 0;
  for (let i = 0; i < p.length; i++) if (p[i] === q[i]) count++;
  return count;
}

function largestOf(x) {
  return x.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
}

function largestDifference(x, y) {
  return x.reduce((largest, value, i) => Math.max(largest, Math.abs(value - y[i])), 0);
}
