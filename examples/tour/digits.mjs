// Adapters that are trained here: a small network learns handwritten digits, two adapters learn the two that it takes for others most
// often, and one batch serves both of them and the base.

import { applyLora, loadAdapter, saveAdapter } from "lowrank/lora";
import { table } from "../../bench/support/report.mjs";
import { choose, loadDigits } from "../training/digits_data.mjs";
import { errorsByDigit, freeze, learn, makeLayers, perceptron, sum } from "../training/network.mjs";
import { milliseconds, percent, timed, title } from "./text.mjs";

const WIDTHS = [784, 256, 10];
const NAMES = ["hidden", "output"];
const SEED = 1;
const RANK = 4;

export async function showDigits() {
  title("3. Adapters trained on handwritten digits, served in one batch");
  const { train, heldOut } = loadDigits(SEED);
  const layers = makeLayers(WIDTHS, SEED);
  const start = performance.now();
  await learn(perceptron(layers), train, { epochs: 1, seed: SEED });
  const took = performance.now() - start;
  const frozen = freeze(layers);
  const modules = Object.fromEntries(frozen.map((layer, i) => [NAMES[i], layer]));
  const model = perceptron(frozen);
  const base = errorsByDigit(model, heldOut);
  console.log(
    `${WIDTHS.join("-")} trained on ${train.y.length} digits in ${milliseconds(took)}: of ${heldOut.y.length} held-out ones`,
  );
  console.log(
    `${percent(1 - sum(base) / heldOut.y.length, 1)} are right. Adapters of rank ${RANK}, saved in PEFT's format and loaded again:\n`,
  );

  const worst = [...base.keys()].sort((x, y) => base[y] - base[x]).slice(0, 2);
  const rows = [["base", ...base, sum(base)]];
  for (const digit of worst) {
    const name = `digit ${digit}`;
    applyLora(modules, { r: RANK, loraAlpha: 2 * RANK, targetModules: NAMES }, { name, seed: digit });
    for (const layer of frozen) layer.setAdapters(name);
    const share = train.y.filter((label) => label === digit).length / 2;
    const mixture = choose(train, (label, i) => label === digit || i < share);
    await learn(model, mixture, { lr: 2e-3, epochs: 3, seed: SEED });
    mixture.x.dispose();
    await reload(modules, name);
    rows.push([name, ...errorsByDigit(model, heldOut), sum(errorsByDigit(model, heldOut))]);
  }
  console.log(table(["errors on", ...Array.from({ length: 10 }, (_, digit) => `${digit}`), "all"], rows));

  // every third row with the first adapter, with the second, and without one
  const all = [...worst.map((digit) => `digit ${digit}`), null];
  const adapters = Array.from(heldOut.y, (_, i) => all[i % 3]);
  const { result: mixed, ms } = timed(() => model.forward(heldOut.x, { adapters }));
  const apart = all.map((name) => {
    for (const layer of frozen) layer.setAdapters(name);
    return timed(() => model.forward(heldOut.x));
  });
  let same = 0;
  const [got, wanted] = [mixed.data, apart.map(({ result }) => result.data)];
  for (let i = 0; i < got.length; i++) if (got[i] === wanted[Math.floor(i / 10) % 3][i]) same++;
  const each = apart.reduce((total, one) => total + one.ms, 0);
  console.log(
    `\n${heldOut.y.length} rows, each with its own adapter or none, in one batch: ${milliseconds(ms)}; in three passes: ${milliseconds(each)}.`,
  );
  console.log(`${same} of ${got.length} outputs are the same bits.`);
  for (const one of [model, ...layers, train.x, heldOut.x, mixed, ...apart.map(({ result }) => result)]) one.dispose();
}

/** The adapter as its files hold it takes the place of the one that was trained. */
async function reload(modules, name) {
  const files = saveAdapter({
    modules: new Map(Object.entries(modules).map(([key, layer]) => [key, layer.adapter(name)])),
  });
  const { modules: loaded } = await loadAdapter(files);
  for (const [key, adapter] of loaded) {
    modules[key].removeAdapter(name);
    modules[key].addAdapter(name, adapter);
    modules[key].setAdapters(name);
    adapter.dispose();
  }
}
