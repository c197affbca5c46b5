// TensorFlow.js with its WebAssembly backend (XNNPACK): f32 products and LoRA. It computes inside the call, and dataSync()
// then copies the result to where JavaScript can read it. Two contenders: with that copy, as one who wants the numbers uses it
// (ours are a view and need none), and without it, as inside a longer computation. Training goes by its own gradients and its own
// Adam; the frozen weights are constants, and the loss of each batch is read, as ours is.

import { createRequire } from "node:module";
import { dirname } from "node:path";
import { packageVersion } from "../support/machine.mjs";
import { BATCH, RANK, RATE, WIDTHS } from "../support/perceptron.mjs";

export async function open() {
  // its node build is CommonJS
  const require = createRequire(import.meta.url);
  // the package of all its parts registers the gradients, of which the core alone has none
  const tf = require("@tensorflow/tfjs");
  const wasm = require("@tensorflow/tfjs-backend-wasm");
  const file = require.resolve("@tensorflow/tfjs-backend-wasm");
  wasm.setWasmPaths(`${dirname(file)}/`);
  await tf.setBackend("wasm");
  await tf.ready();
  if (!(await tf.env().getAsync("WASM_HAS_SIMD_SUPPORT"))) throw new Error("tfjs found no SIMD");
  const version = packageVersion(new URL("./node_modules/@tensorflow/tfjs-backend-wasm/package.json", import.meta.url));
  const read = (work) => work && { ...work, run: work.result };
  return [
    {
      name: "tfjs-wasm",
      version,
      gemm: (input) => read(gemm(tf, input)),
      lora: (input) => read(lora(tf, input)),
      training: (input) => training(tf, input),
    },
    { name: "tfjs unread", version, gemm: (input) => gemm(tf, input), lora: (input) => lora(tf, input) },
  ];
}

function timed(compute, inputs) {
  return {
    run: () => compute().dispose(),
    result() {
      const y = compute();
      const values = y.dataSync();
      y.dispose();
      return values;
    },
    dispose() {
      for (const one of inputs) one.dispose();
    },
  };
}

function gemm(tf, { dtype, n, a, b }) {
  if (dtype !== "f32") return undefined;
  const [x, y] = [tf.tensor2d(a, [n, n]), tf.tensor2d(b, [n, n])];
  return timed(() => tf.matMul(x, y), [x, y]);
}

function lora(tf, { tokens, width, r, scaling, x, weight, a, b }) {
  // weights are stored (in, out): its product with a transposed operand takes a slow path
  const flipped = (data, shape) => tf.tidy(() => tf.transpose(tf.tensor2d(data, shape)));
  const [w, down, up] = [flipped(weight, [width, width]), flipped(a, [r, width]), flipped(b, [width, r])];
  const input = tf.tensor2d(x, [tokens, width]);
  // the scale is put on the narrow product, where it costs least
  const update = () => tf.matMul(tf.mul(scaling, tf.matMul(input, down)), up);
  return timed(() => tf.tidy(() => tf.add(tf.matMul(input, w), update())), [w, down, up, input]);
}

function training(tf, { x, y, samples, layers }) {
  const digits = tf.tensor2d(x, [samples, WIDTHS[0]]);
  const classes = WIDTHS[WIDTHS.length - 1];
  const wanted = tf.tidy(() => tf.cast(tf.oneHot(tf.tensor1d(y, "int32"), classes), "float32"));
  const frozen = layers.map(({ shape, weight, bias }) => ({
    // stored (in, out), which its product takes faster
    weight: tf.tidy(() => tf.transpose(tf.tensor2d(weight, shape))),
    bias: tf.tensor1d(bias),
  }));
  const start = () => {
    const factors = layers.map(({ shape: [out, inFeatures], a, b }) => ({
      down: tf.tidy(() => tf.variable(tf.transpose(tf.tensor2d(a, [RANK, inFeatures])))),
      up: tf.tidy(() => tf.variable(tf.transpose(tf.tensor2d(b, [out, RANK])))),
    }));
    return { factors, optimizer: tf.train.adam(RATE, 0.9, 0.999, 1e-8) };
  };
  const forward = (factors, batch) =>
    frozen.reduce((input, { weight, bias }, i) => {
      const { down, up } = factors[i];
      const base = tf.add(tf.matMul(input, weight), bias);
      const output = tf.add(base, tf.matMul(tf.matMul(input, down), up));
      return i + 1 < frozen.length ? tf.relu(output) : output;
    }, batch);
  const epoch = ({ factors, optimizer }) => {
    const variables = factors.flatMap(({ down, up }) => [down, up]);
    const losses = [];
    for (let first = 0; first < samples; first += BATCH) {
      const count = Math.min(BATCH, samples - first);
      const value = tf.tidy(() => {
        const batch = tf.slice(digits, [first, 0], [count, WIDTHS[0]]);
        const labels = tf.slice(wanted, [first, 0], [count, classes]);
        const f = () => tf.losses.softmaxCrossEntropy(labels, forward(factors, batch));
        return optimizer.minimize(f, true, variables);
      });
      losses.push(value.dataSync()[0]);
      value.dispose();
    }
    return losses;
  };
  const end = ({ factors, optimizer }) => {
    for (const { down, up } of factors) for (const one of [down, up]) one.dispose();
    optimizer.dispose();
  };
  const made = start();
  return {
    run: () => epoch(made),
    result() {
      const fresh = start();
      const losses = epoch(fresh);
      end(fresh);
      return Float64Array.from(losses);
    },
    dispose() {
      end(made);
      for (const one of [digits, wanted, ...frozen.flatMap(({ weight, bias }) => [weight, bias])]) one.dispose();
    },
  };
}
