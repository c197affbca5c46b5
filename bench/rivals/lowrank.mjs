// Ours. Every operation of a contender takes a task's input and gives { run, result, dispose }: run is timed and makes a new
// result each time, as the others must; result gives it as row-major typed arrays.

import { init, LoraAdapter, LoraLinear, matmul, svd, tensor } from "../support/lowrank.mjs";
import { packageVersion } from "../support/machine.mjs";
import { makePerceptron, trainEpoch } from "../support/perceptron.mjs";

export async function open({ build }) {
  const found = await init({ build });
  return { name: "lowrank", version: `${packageVersion()} ${found.build}`, gemm, svd: decomposition, lora, training };
}

function gemm({ n, a, b }) {
  const [x, y] = [tensor(a, { shape: [n, n] }), tensor(b, { shape: [n, n] })];
  return {
    run: () => matmul(x, y).dispose(),
    result: () => matmul(x, y).toTyped(),
    dispose() {
      x.dispose();
      y.dispose();
    },
  };
}

function decomposition({ n, a }) {
  const x = tensor(a, { shape: [n, n] });
  return {
    run() {
      const { u, s, vt } = svd(x);
      u.dispose();
      s.dispose();
      vt.dispose();
    },
    result() {
      const { u, s, vt } = svd(x);
      return { u: u.toTyped(), s: s.toTyped(), vt: vt.toTyped() };
    },
    dispose: () => x.dispose(),
  };
}

function lora({ tokens, width, r, scaling, x, weight, a, b }) {
  const layer = new LoraLinear({ weight: { data: weight, shape: [width, width] } });
  const adapter = new LoraAdapter({
    a: { data: a, shape: [r, width] },
    b: { data: b, shape: [width, r] },
    alpha: scaling * r,
  });
  layer.addAdapter("default", adapter);
  adapter.dispose();
  const input = tensor(x, { shape: [tokens, width] });
  return {
    run: () => layer.forward(input).dispose(),
    result: () => layer.forward(input).toTyped(),
    dispose() {
      layer.dispose();
      input.dispose();
    },
  };
}

function training(input) {
  const made = makePerceptron(input);
  return {
    run: () => trainEpoch(made),
    result() {
      const fresh = makePerceptron(input);
      const losses = trainEpoch(fresh);
      fresh.dispose();
      return Float64Array.from(losses);
    },
    dispose: made.dispose,
  };
}
