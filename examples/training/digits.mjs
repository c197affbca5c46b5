// LoRA of rank 1 on a network of 784-1000-2000-10: an adapter for the digit it does worst on, and one that spares the others.

import { mkdirSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { applyLora, loadAdapter, saveAdapter, trainableParameters } from "lowrank/lora";
import { table } from "../../bench/support/report.mjs";
import { choose, loadDigits } from "./digits_data.mjs";
import { main } from "./main.mjs";
import { accuracy, errorsByDigit, freeze, learn, makeLayers, perceptron, sameBits, sum } from "./network.mjs";

const WIDTHS = [784, 1000, 2000, 10];
const NAMES = ["linear1", "linear2", "linear3"];
const OUTPUT = "output/digits";

/** Steps of the adapter for one digit, as in the notebook that this follows (hkproj/pytorch-lora). */
const DIGIT_STEPS = 100;
/** Of all other digits, samples for each one of the worst digit in the mixture. */
const OTHERS = 4;

export async function trainDigits({ seed, step }) {
  step("digits");
  const { train, heldOut } = loadDigits(seed);
  const errorsOf = (model) => errorsByDigit(model, heldOut);

  step("the base network");
  const layers = makeLayers(WIDTHS, seed);
  const start = performance.now();
  await learn(perceptron(layers), train, { epochs: 2, seed });
  const baseSeconds = (performance.now() - start) / 1e3;

  // from here on its weights are frozen
  const frozen = freeze(layers);
  const modules = Object.fromEntries(frozen.map((layer, i) => [NAMES[i], layer]));
  const model = perceptron(frozen);
  const weights = () => frozen.flatMap(({ weight, bias }) => [weight.toTyped(), bias.toTyped()]);
  const outputs = () => {
    const y = model.forward(heldOut.x);
    const values = y.toTyped();
    y.dispose();
    return [values];
  };
  const [before, baseOutputs] = [weights(), outputs()];
  const base = errorsOf(model);
  const worst = base.indexOf(Math.max(...base));
  const config = { r: 1, loraAlpha: 1, targetModules: NAMES };

  step(`an adapter for the ${worst} alone`);
  applyLora(modules, config, { name: "digit", seed });
  const report = trainableParameters(modules);
  const only = choose(train, (label) => label === worst);
  const steps = Math.ceil(only.y.length / 16);
  await learn(model, only, { epochs: Math.ceil(DIGIT_STEPS / steps), batchSize: 16, seed });
  const digit = errorsOf(model);

  step(`an adapter for the ${worst} among all`);
  applyLora(modules, config, { name: "mixed", seed: seed + 1 });
  for (const layer of frozen) layer.setAdapters("mixed");
  const share = (OTHERS * only.y.length) / 9;
  const mixture = choose(train, (label, i) => label === worst || i < share);
  await learn(model, mixture, { epochs: 4, seed });
  const mixed = errorsOf(model);

  step("saved and loaded");
  const files = [];
  let reloaded = true;
  for (const name of ["digit", "mixed"]) {
    for (const layer of frozen) layer.setAdapters(name);
    const trained = outputs();
    const adapters = new Map(frozen.map((layer, i) => [NAMES[i], layer.adapter(name)]));
    const written = saveAdapter({ modules: adapters });
    mkdirSync(`${OUTPUT}/${name}`, { recursive: true });
    for (const [file, bytes] of Object.entries(written)) {
      writeFileSync(`${OUTPUT}/${name}/${file}`, bytes);
      files.push({ file: `${OUTPUT}/${name}/${file}`, bytes: bytes.length });
    }
    const read = {};
    for (const file of Object.keys(written)) read[file] = await readFile(`${OUTPUT}/${name}/${file}`);
    const { modules: loaded } = await loadAdapter(read);
    for (const [i, layer] of frozen.entries()) {
      layer.addAdapter("loaded", loaded.get(NAMES[i]));
      layer.setAdapters("loaded");
      loaded.get(NAMES[i]).dispose();
    }
    reloaded &&= sameBits(outputs(), trained);
    for (const layer of frozen) layer.removeAdapter("loaded");
  }
  for (const layer of frozen) layer.enabled = false;
  const disabledIsBase = sameBits(outputs(), baseOutputs);

  const result = {
    seed,
    trained: train.y.length,
    heldOut: heldOut.y.length,
    heldOutByDigit: Array.from({ length: 10 }, (_, label) => heldOut.y.filter((y) => y === label).length),
    baseParameters: report.total - report.trainable,
    trainableParameters: report.trainable,
    percentOfBase: 100 * report.ofBase,
    line: `${report}`,
    baseSeconds,
    worst,
    errors: { base, digit, mixed },
    accuracy: { base: accuracy(base, heldOut), digit: accuracy(digit, heldOut), mixed: accuracy(mixed, heldOut) },
    mixture: mixture.y.length,
    baseUnchanged: sameBits(weights(), before),
    disabledIsBase,
    reloaded,
    files,
  };
  for (const one of [model, ...layers, train.x, heldOut.x, only.x, mixture.x]) one.dispose();
  return result;
}

export function print(result) {
  const { worst, errors, accuracy: right, heldOut } = result;
  console.log(
    `Network ${WIDTHS.join("-")}, ${result.trained} digits to train with, ${heldOut} held out (seed ${result.seed}).`,
  );
  console.log(`${result.line}\n${result.percentOfBase.toFixed(3)} % of the base\n`);
  console.log(`Errors on the held-out digits; the base does worst on the ${worst}:\n`);
  const percent = (value) => `${(100 * value).toFixed(2)} %`;
  const row = (what, key) => [what, ...errors[key], sum(errors[key]), percent(right[key])];
  console.log(
    table(
      ["", ...Array.from({ length: 10 }, (_, digit) => `${digit}`), "all", "accuracy"],
      [
        ["held out", ...result.heldOutByDigit, heldOut, ""],
        row("base", "base"),
        row(`adapter, ${worst} alone`, "digit"),
        row(`adapter, ${worst} and others`, "mixed"),
      ],
    ),
  );
  const fall = (key) => percent(1 - errors[key][worst] / errors.base[worst]);
  console.log(
    `\nErrors on the ${worst} fall by ${fall("digit")} with the first adapter, by ${fall("mixed")} with the second.`,
  );
  const yes = (value) => (value ? "yes" : "NO");
  console.log(
    `Base weights unchanged bit for bit: ${yes(result.baseUnchanged)}; disabled, the outputs of the base: ${yes(result.disabledIsBase)};`,
  );
  console.log(`saved in PEFT's format and loaded again, the same outputs: ${yes(result.reloaded)}.`);
  for (const { file, bytes } of result.files) console.log(`  ${file}, ${bytes} bytes`);
}

await main(import.meta, trainDigits, 5, print, 1);
