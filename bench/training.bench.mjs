// Training: a step of AdamW beside a copy of what it touches, gradients of an adapter beside the layer's forward pass, layers by
// their truncated SVD beside the whole layer, and an epoch of LoRA on a perceptron (its rivals: npm run bench:rivals -- training).

import { runCases } from "./support/cases.mjs";
import { norm } from "./support/check.mjs";
import { AdamW, LoraAdapter, LoraLinear, matmul, SvdLinear, tensor } from "./support/lowrank.mjs";
import { makePerceptron, trainEpoch } from "./support/perceptron.mjs";
import { random } from "./support/random.mjs";

const PARAMETERS = 10_000_000;
const [WIDTH, TOKENS, RANK, SVD_RANK] = [4096, 256, 16, 64];

export async function bench(options) {
  const given = { ...options, reference: false };
  const rows = [
    ...runCases("training", optimizerCases(), given),
    ...runCases("training", layerCases(), given),
    ...runCases("training", [epochCase()], given),
  ];
  return { rows, figures: figures(rows) };
}

/** One step on ten million parameters, and a copy of parameters, gradients and both moments. */
function optimizerCases() {
  const numbers = (seed) => tensor(random("f32", PARAMETERS, seed));
  const [p, g] = [numbers(1), numbers(2)];
  const optimizer = new AdamW();
  const from = [1, 2, 3, 4].map(numbers);
  const to = [5, 6, 7, 8].map(numbers);
  return [
    {
      name: "f32 AdamW step, 10,000,000 parameters",
      dtype: "f32",
      run: () => optimizer.step({ p }, { p: g }),
      check: () => adamwError(p, g),
    },
    {
      name: "f32 copy of four arrays of 10,000,000",
      dtype: "f32",
      run() {
        for (const [i, target] of to.entries()) target.data.set(from[i].data);
      },
    },
  ];
}

/** The error of a first step against its formula, in units of the last place of lr. */
function adamwError(p, g) {
  const before = p.toTyped();
  const [lr, decay, eps] = [1e-3, 0.01, 1e-8];
  const once = new AdamW();
  once.step({ p }, { p: g });
  once.dispose();
  const [after, slope] = [p.data, g.data];
  let worst = 0;
  for (let i = 0; i < before.length; i += 997) {
    // both moments are the gradient's own after their correction
    const wanted = before[i] * (1 - lr * decay) - (lr * slope[i]) / (Math.abs(slope[i]) + eps);
    worst = Math.max(worst, Math.abs(after[i] - wanted) / (4 * 2 ** -24));
  }
  return worst;
}

function layerCases() {
  const numbers = (seed, ...shape) => tensor(random("f32", shape[0] * shape[1], seed), { shape });
  const weight = numbers(1, WIDTH, WIDTH);
  const [x, g] = [numbers(2, TOKENS, WIDTH), numbers(3, TOKENS, WIDTH)];
  const layer = new LoraLinear({ weight });
  const svd = Object.fromEntries(
    ["drop", "keep"].map((residual) => [
      residual,
      new SvdLinear({ weight, rank: SVD_RANK, residual, core: { lowRank: 16 } }),
    ]),
  );
  const base = new LoraLinear({ weight });
  layer.addAdapter("t", new LoraAdapter({ a: numbers(4, RANK, WIDTH), b: numbers(5, WIDTH, RANK) }));
  layer.forward(x, { train: true }).dispose();
  const shape = `t ${TOKENS}, d ${WIDTH}`;
  return [
    { name: `f32 ${shape}, LoRA r ${RANK} forward`, run: () => layer.forward(x).dispose() },
    {
      name: `f32 ${shape}, LoRA r ${RANK} backward, A and B`,
      run() {
        const { a, b } = layer.backward(g, { x: false }).adapters.t;
        a.dispose();
        b.dispose();
      },
    },
    { name: `f32 ${shape}, whole layer forward`, run: () => base.forward(x).dispose() },
    ...Object.entries(svd).map(([residual, one]) => ({
      name: `f32 ${shape}, SvdLinear r ${SVD_RANK} ${residual} forward`,
      run: () => one.forward(x).dispose(),
      check: () => svdError(one, x),
    })),
  ].map((one) => ({ dtype: "f32", ...one }));
}

/** The relative error of a layer's output against its merged weight, over 1e-5. */
function svdError(layer, x) {
  const few = x.subtensor(0, 8);
  const weight = layer.merge();
  const [got, wanted] = [layer.forward(few), matmul(few, weight.transpose())];
  const [y, z] = [got.toTyped(), wanted.toTyped()];
  for (const one of [few, weight, got, wanted]) one.dispose();
  return norm(Float64Array.from(y, (value, i) => value - z[i])) / norm(z) / 1e-5;
}

function epochCase() {
  const made = makePerceptron();
  return {
    name: "f32 an epoch of LoRA r 8, 784-1000-2000-10, 6,000 digits",
    dtype: "f32",
    run: () => trainEpoch(made),
  };
}

function figures(rows) {
  const ms = (part) => rows.find(({ name }) => name.includes(part))?.bestMs;
  const ratio = (x, y) => (ms(x) === undefined || ms(y) === undefined ? undefined : ms(x) / ms(y));
  return [
    {
      what: "AdamW step against a copy of its four arrays",
      measured: ratio("AdamW step", "copy of four"),
      atMost: 1.2,
    },
    {
      what: "gradients of A and B against the forward pass, t 256, d 4096",
      measured: ratio("backward, A and B", `LoRA r ${RANK} forward`),
      atMost: 0.03,
    },
    {
      what: "SvdLinear r 64 without residual against the whole layer",
      measured: ratio("drop forward", "whole layer forward"),
      atMost: 0.05,
    },
    {
      what: "SvdLinear r 64 with residual against the whole layer",
      measured: ratio("keep forward", "whole layer forward"),
      atMost: 1.06,
    },
  ];
}
