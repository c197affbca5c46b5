// What the training runs share: multilayer perceptrons that start at random, errors of each digit, seeded orders.

import { tensor } from "lowrank";
import { AdamW, fit, LoraLinear, Sequential } from "lowrank/lora";
import { random } from "../../bench/support/random.mjs";

/** 0 … n − 1 in an order that the seed fixes (Fisher and Yates). */
export function permutation(n, seed) {
  const order = Array.from({ length: n }, (_, i) => i);
  const chance = random("f64", n, seed + 1);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(((chance[i] + 1) / 2) * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** Layers of these widths, weights and biases uniform in ±1/√in as PyTorch's start; all of it is trained. */
export function makeLayers(widths, seed) {
  return widths.slice(1).map((out, i) => {
    const bound = 1 / Math.sqrt(widths[i]);
    const numbers = (length, stream) => random("f32", length, 97 * seed + 2 * i + stream).map((value) => value * bound);
    const weight = tensor(numbers(out * widths[i], 5), { shape: [out, widths[i]] });
    const layer = new LoraLinear({ weight, bias: numbers(out, 6), trainable: true });
    weight.dispose();
    return layer;
  });
}

/** Trains what a model has to train on { x, y } by Adam; `look` may look at the optimiser before it is disposed of. */
export async function learn(model, samples, { lr = 1e-3, epochs, batchSize = 64, seed }, look = () => {}) {
  const optimizer = new AdamW({ lr, weightDecay: 0 });
  const options = { ...samples, loss: "softmaxCrossEntropy", optimizer, epochs, batchSize, seed };
  const history = await fit(model, options);
  look(optimizer);
  optimizer.dispose();
  return history;
}

/** Layers on the same weights, which stay as they are. */
export function freeze(layers) {
  return layers.map(({ weight, bias }) => new LoraLinear({ weight, bias }));
}

/** Layers with a ReLU between each two. */
export function perceptron(layers) {
  return new Sequential(layers.flatMap((layer, i) => (i === 0 ? [layer] : ["relu", layer])));
}

/** How many samples of each digit the model takes for another one. */
export function errorsByDigit(model, { x, y }, options) {
  const output = model.forward(x, options);
  const values = output.data;
  const errors = new Array(10).fill(0);
  for (let i = 0; i < y.length; i++) {
    let best = 0;
    for (let j = 1; j < 10; j++) if (values[10 * i + j] > values[10 * i + best]) best = j;
    if (best !== y[i]) errors[y[i]]++;
  }
  output.dispose();
  return errors;
}

export const sum = (values) => values.reduce((total, value) => total + value, 0);

export const accuracy = (errors, { y }) => 1 - sum(errors) / y.length;

/** Whether two lists of tensors hold the same bits. */
export function sameBits(one, other) {
  const bytes = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  return one.length === other.length && one.every((array, i) => bytes(array).equals(bytes(other[i])));
}
