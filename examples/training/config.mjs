// LoRA configurations side by side: conservative, balanced, aggressive, and what rank, alpha, modules and dropout do to each other.

import { tensor } from "lowrank";
import { applyLora, saveAdapter, trainableParameters } from "lowrank/lora";
import { writeSafetensors } from "lowrank/safetensors";
import { table } from "../../bench/support/report.mjs";
import { loadDigits } from "./digits_data.mjs";
import { main } from "./main.mjs";
import { accuracy, errorsByDigit, freeze, learn, makeLayers, perceptron } from "./network.mjs";

/** Five layers of the same shape stand for the projections of a deeper model. */
const WIDTHS = [784, 512, 512, 512, 512, 512, 10];
const NAMES = ["fc1", "fc2", "fc3", "fc4", "fc5", "head"];
const EPOCHS = 1;
const TWO = ["fc2", "fc4"];
const FIVE = ["fc1", "fc2", "fc3", "fc4", "fc5"];
const ALL = "all-linear";

export const CONFIGS = [
  ["Conservative", { r: 4, loraAlpha: 4, loraDropout: 0.05, targetModules: TWO }],
  ["Balanced", { r: 8, loraAlpha: 16, loraDropout: 0.1, targetModules: FIVE }],
  ["Aggressive", { r: 40, loraAlpha: 80, loraDropout: 0.1, targetModules: ALL }],
  ["High rank, low alpha", { r: 64, loraAlpha: 8, loraDropout: 0.05, targetModules: TWO }],
  ["Low rank, high alpha", { r: 2, loraAlpha: 32, loraDropout: 0.05, targetModules: TWO }],
  ["Many modules, no dropout", { r: 8, loraAlpha: 16, loraDropout: 0, targetModules: ALL }],
  ["Many modules, high dropout", { r: 8, loraAlpha: 16, loraDropout: 0.5, targetModules: ALL }],
];

/** Rows and columns of an image exchanged: digits as the base has not seen them. */
const turned = (image) => image.map((_, i) => image[(i % 28) * 28 + Math.floor(i / 28)]);

export async function trainConfig({ seed, step, configs = CONFIGS }) {
  step("digits");
  const upright = loadDigits(seed);
  const { train, heldOut } = loadDigits(seed, turned);
  const right = (model) => accuracy(errorsByDigit(model, heldOut), heldOut);

  step("the base network, on upright digits");
  const layers = makeLayers(WIDTHS, seed);
  await learn(perceptron(layers), upright.train, { epochs: 2, seed });
  const uprightAccuracy = accuracy(errorsByDigit(perceptron(layers), upright.heldOut), upright.heldOut);
  const frozen = freeze(layers);
  const modules = Object.fromEntries(frozen.map((layer, i) => [NAMES[i], layer]));
  const model = perceptron(frozen);
  const base = right(model);
  const modelBytes = writeSafetensors(
    Object.fromEntries(
      frozen.flatMap(({ weight, bias }, i) => [
        [`${NAMES[i]}.weight`, weight],
        [`${NAMES[i]}.bias`, bias],
      ]),
    ),
  ).length;

  /** Trains what the model has to train; what that took. */
  const tune = async (trained) => {
    const bytes = (tensors) => tensors.reduce((sum, { size }) => sum + 4 * size, 0);
    const gradientBytes = bytes(Object.values(trained.parameters()));
    let optimizerBytes = 0;
    const start = performance.now();
    await learn(trained, train, { lr: 2e-3, epochs: EPOCHS, seed }, (optimizer) => {
      const moments = Object.values(optimizer.state().parameters).flatMap((one) => Object.values(one.moments));
      optimizerBytes = bytes(moments);
      for (const moment of moments) moment.dispose();
    });
    const seconds = (performance.now() - start) / 1e3;
    return { gradientBytes, optimizerBytes, seconds, accuracy: right(trained) };
  };

  const rows = [];
  for (const [name, config] of configs) {
    step(name);
    const { targeted } = applyLora(modules, { ...config, taskType: "SEQ_CLS" }, { name: "task", seed });
    const { trainable } = trainableParameters(modules);
    const found = await tune(model);
    const adapters = new Map(targeted.map((module) => [module, modules[module].adapter("task")]));
    const files = Object.values(saveAdapter({ modules: adapters }));
    const adapterBytes = files.reduce((sum, { length }) => sum + length, 0);
    rows.push({ name, ...config, modules: targeted.length, trainable, ...found, adapterBytes });
    for (const module of targeted) modules[module].removeAdapter("task");
  }
  step("all parameters");
  const whole = layers.map(({ weight, bias }) => [tensor(weight), tensor(bias)]);
  const { trainable } = trainableParameters(layers);
  const full = { name: "All parameters", trainable, ...(await tune(perceptron(layers))), adapterBytes: modelBytes };
  // the base as it was
  for (const [i, [weight, bias]] of whole.entries()) {
    layers[i].weight.data.set(weight.data);
    layers[i].bias.data.set(bias.data);
    weight.dispose();
    bias.dispose();
  }
  for (const one of [model, ...layers, train.x, heldOut.x, upright.train.x, upright.heldOut.x]) one.dispose();
  return { seed, widths: WIDTHS, epochs: EPOCHS, uprightAccuracy, base, modelBytes, rows, full };
}

export function print({ rows, full, base, uprightAccuracy, widths, epochs, modelBytes }) {
  const percent = (value, places = 2) => `${(100 * value).toFixed(places)} %`;
  const grouped = (value) => value.toLocaleString("en-US");
  console.log(
    `Network ${widths.join("-")}, trained on digits: ${percent(uprightAccuracy)} of the held-out ones are right,`,
  );
  console.log(
    `but ${percent(base)} of those with rows and columns exchanged. The adapters learn them in ${epochs === 1 ? "one epoch" : `${epochs} epochs`}.\n`,
  );
  const fullBytes = full.gradientBytes + full.optimizerBytes;
  const line = ({ name, r, loraAlpha, loraDropout, modules, trainable, gradientBytes, optimizerBytes, ...rest }) => [
    name,
    r,
    loraAlpha,
    loraDropout,
    modules,
    grouped(trainable),
    `${grouped(gradientBytes + optimizerBytes)} (${percent((gradientBytes + optimizerBytes) / fullBytes, 1)})`,
    `${grouped(rest.adapterBytes)} (${percent(rest.adapterBytes / modelBytes, 1)})`,
    rest.seconds.toFixed(2),
    percent(rest.accuracy),
  ];
  const head = [
    "",
    "r",
    "alpha",
    "dropout",
    "modules",
    "trained",
    "bytes of gradients and Adam",
    "file bytes",
    "seconds",
    "accuracy",
  ];
  console.log(table(head, [...rows.map(line), line(full)]));
}

await main(import.meta, trainConfig, 3 + CONFIGS.length, print, 1);
