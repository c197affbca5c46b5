// TensorFlow.js with its WebAssembly backend (XNNPACK): f32 products and LoRA. It computes inside the call, and dataSync()
// then copies the result to where JavaScript can read it. Two contenders: with that copy, as one who wants the numbers uses it
// (ours are a view and need none), and without it, as inside a longer computation.

import { createRequire } from "node:module";
import { dirname } from "node:path";
import { packageVersion } from "../support/machine.mjs";

export async function open() {
  // its node build is CommonJS
  const require = createRequire(import.meta.url);
  const tf = require("@tensorflow/tfjs-core");
  const wasm = require("@tensorflow/tfjs-backend-wasm");
  const file = require.resolve("@tensorflow/tfjs-backend-wasm");
  wasm.setWasmPaths(`${dirname(file)}/`);
  await tf.setBackend("wasm");
  await tf.ready();
  if (!(await tf.env().getAsync("WASM_HAS_SIMD_SUPPORT"))) throw new Error("tfjs found no SIMD");
  const version = packageVersion(new URL("./node_modules/@tensorflow/tfjs-backend-wasm/package.json", import.meta.url));
  const read = (work) => work && { ...work, run: work.result };
  return [
    { name: "tfjs-wasm", version, gemm: (input) => read(gemm(tf, input)), lora: (input) => read(lora(tf, input)) },
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
