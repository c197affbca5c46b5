// y = x·Wᵀ with a quantised W, against the same layer with W in f32: for one row, where reading W is what costs, and for many.

import { loadReference } from "./reference/index.mjs";
import { rateRatio, runCases } from "./support/cases.mjs";
import { LoraLinear, quantize, tensor } from "./support/lowrank.mjs";
import { random } from "./support/random.mjs";

const WIDTH = 4096;
const TOKENS = [1, 4, 64];
/** The most that one row may take of the time with f32, and what an output may be off, relative to the row's largest. */
const KINDS = [
  { name: "f32" },
  { name: "int8", atMost: 0.6 },
  { name: "bf16", atMost: 0.7 },
  { name: "nf4", atMost: 0.8 },
  { name: "nf4 double" },
  { name: "f16", atMost: 0.9 },
];
const BOUND = 1e-5;

const caseName = (tokens, kind) => `t ${tokens}, d ${WIDTH}, ${kind}`;

export async function bench(options) {
  const checking = await loadReference("check");
  const weight = tensor(random("f32", WIDTH * WIDTH, 1), { shape: [WIDTH, WIDTH] });
  const layers = KINDS.map(({ name }) => {
    const [kind, double] = name.split(" ");
    const stored = kind === "f32" ? weight : quantize(weight, kind, { doubleQuant: double !== undefined });
    return { name, stored, layer: new LoraLinear({ weight: stored }) };
  });
  const cases = TOKENS.flatMap((tokens) => layers.map((one) => makeCase(tokens, one, checking)));
  const rows = runCases("quantized", cases, options);
  const time = (tokens, kind) => rateRatio(rows, caseName(tokens, "f32"), caseName(tokens, kind));
  const figures = KINDS.filter(({ atMost }) => atMost !== undefined).flatMap(({ name, atMost }) => [
    { what: `${caseName(1, name)}: time against f32`, measured: time(1, name), atMost },
    { what: `${caseName(64, name)}: time against f32`, measured: time(64, name), atMost: 1.15 },
  ]);
  return { rows, figures };
}

function makeCase(tokens, { name, stored, layer }, checking) {
  const input = random("f32", tokens * WIDTH, 2);
  const x = tensor(input, { shape: [tokens, WIDTH] });
  return {
    name: caseName(tokens, name),
    dtype: "f32",
    work: 2 * tokens * WIDTH * WIDTH,
    unit: "GFLOP/s",
    run: () => layer.forward(x).dispose(),
    check() {
      const y = layer.forward(x);
      const dense = name === "f32" ? stored : stored.dequantize();
      const w = dense.toTyped();
      const got = y.toTyped().subarray(0, WIDTH);
      if (dense !== stored) dense.dispose();
      y.dispose();
      const expected = new Float64Array(WIDTH);
      checking.gemm(1, WIDTH, WIDTH, 1, input.subarray(0, WIDTH), checking.transpose(WIDTH, WIDTH, w), 0, expected);
      const most = expected.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
      return got.reduce((worst, value, i) => Math.max(worst, Math.abs(value - expected[i])), 0) / most / BOUND;
    },
  };
}
