// Truncated SVD with LoRA, W = U_r(Σ_r + X·Y)V_rᵀ, at several r and r′ in the hidden layer of a network of 784-256-10.

import { mkdirSync, writeFileSync } from "node:fs";
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { SvdLinear, trainableParameters } from "lowrank/lora";
import { table } from "../../bench/support/report.mjs";
import { loadDigits } from "./digits_data.mjs";
import { main } from "./main.mjs";
import { accuracy, errorsByDigit, freeze, learn, makeLayers, perceptron } from "./network.mjs";

const WIDTHS = [784, 256, 10];
const [IN, OUT] = WIDTHS;
/** Ranks of the truncated SVD, and inner widths of X·Y; 0: the singular values alone. */
const RANKS = [10, 30, 70, 150];
const WIDTHS_OF_LORA = [0, 2, 5, 10, 30];
const EPOCHS = 3;
const RATE = 3e-3;
const PLOT = "output/svd-lora.svg";

export async function trainSvd({ seed, step, ranks = RANKS, widths = WIDTHS_OF_LORA }) {
  step("digits");
  const { train, heldOut } = loadDigits(seed);
  const right = (model) => accuracy(errorsByDigit(model, heldOut), heldOut);
  const tune = (model) => learn(model, train, { lr: RATE, epochs: EPOCHS, seed });

  step("the base network");
  const layers = makeLayers(WIDTHS, seed);
  await learn(perceptron(layers), train, { epochs: 1, seed });
  const [hidden, head] = freeze(layers);
  const base = right(perceptron([hidden, head]));

  const rows = [];
  for (const r of ranks) {
    for (const width of widths.filter((one) => one <= r)) {
      step(`r ${r}, r′ ${width}`);
      const core = width === 0 ? "diagonal" : { lowRank: width };
      const layer = new SvdLinear({ weight: hidden.weight, bias: hidden.bias, rank: r, residual: "drop", core, seed });
      const model = perceptron([layer, head]);
      const before = right(model);
      await tune(model);
      const { trainable } = trainableParameters([layer]);
      rows.push({ kind: "svd", r, width, trainable, before, after: right(model) });
      layer.dispose();
    }
  }
  for (const width of widths.filter((one) => one > 0)) {
    step(`LoRA of rank ${width}`);
    hidden.addAdapter("lora", { r: width, loraAlpha: width }, { seed });
    const model = perceptron([hidden, head]);
    const { trainable } = trainableParameters([hidden]);
    await tune(model);
    rows.push({ kind: "lora", r: width, width, trainable, before: base, after: right(model) });
    hidden.removeAdapter("lora");
  }
  step("the whole layer");
  const [first, second] = layers;
  const whole = perceptron([first, head]);
  await tune(whole);
  const { trainable } = trainableParameters([first]);
  rows.push({ kind: "full", r: Math.min(IN, OUT), width: 0, trainable, before: base, after: right(whole) });

  mkdirSync("output", { recursive: true });
  writeFileSync(PLOT, plot(rows, base));
  for (const one of [first, second, hidden, head, train.x, heldOut.x]) one.dispose();
  return { seed, widths: WIDTHS, epochs: EPOCHS, base, rows, plot: PLOT };
}

/** Accuracy against trained parameters, one line for each r, as SVG. */
function plot(rows, base) {
  const { document } = parseHTML("<html></html>");
  const points = rows.map(({ kind, r, width, trainable, after }) => {
    const line = kind === "svd" ? `SVD r ${r}` : kind === "lora" ? "LoRA" : "whole layer";
    return { line, width, trainable, after: 100 * after };
  });
  const svg = Plot.plot({
    document,
    width: 760,
    height: 480,
    marginRight: 60,
    grid: true,
    x: { type: "log", label: "trained parameters of the hidden layer" },
    y: { label: "accuracy on held-out digits, %" },
    color: {
      legend: false,
      type: "categorical",
      scheme: "tableau10",
      domain: [...new Set(points.map(({ line }) => line))],
    },
    marks: [
      Plot.ruleY([100 * base], { stroke: "gray", strokeDasharray: "4,3" }),
      Plot.text([{ y: 100 * base }], { y: "y", text: () => "base", frameAnchor: "left", dy: -6, fill: "gray" }),
      Plot.line(points, { x: "trainable", y: "after", stroke: "line", z: "line" }),
      Plot.dot(points, { x: "trainable", y: "after", fill: "line", r: 3 }),
      Plot.text(
        points,
        Plot.selectLast({
          x: "trainable",
          y: "after",
          z: "line",
          text: "line",
          fill: "line",
          dx: 6,
          textAnchor: "start",
        }),
      ),
    ],
  });
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return svg.outerHTML;
}

export function print({ rows, base, epochs, plot: file }) {
  const percent = (value) => `${(100 * value).toFixed(2)} %`;
  console.log(
    `Hidden layer of ${IN} × ${OUT} in ${WIDTHS.join("-")}; the base is right on ${percent(base)} of the held-out digits.`,
  );
  console.log(`The layer's residual is dropped; Σ, X and Y are trained for ${epochs} epochs.\n`);
  const name = { svd: "truncated SVD", lora: "LoRA", full: "the whole layer" };
  console.log(
    table(
      ["hidden layer", "r", "r′", "trained parameters", "of the layer", "cut, not trained", "trained"],
      rows.map(({ kind, r, width, trainable, before, after }) => [
        name[kind],
        kind === "full" ? "" : kind === "svd" ? r : "",
        kind === "full" ? "" : width,
        trainable.toLocaleString("en-US"),
        percent(trainable / (IN * OUT + OUT)),
        percent(before),
        percent(after),
      ]),
    ),
  );
  console.log(`\nplot: ${file}`);
}

const RUNS = RANKS.reduce((count, r) => count + WIDTHS_OF_LORA.filter((width) => width <= r).length, 0);
await main(import.meta, trainSvd, 2 + RUNS + WIDTHS_OF_LORA.length, print, 1);
