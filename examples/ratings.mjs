// A factor model of 200,000 generated ratings, whose best possible error is known: the noise that was added.

import { csr, factorize, init } from "lowrank";
import { random } from "../bench/support/random.mjs";

const [USERS, ITEMS, FACTORS, NOISE] = [2000, 500, 6, 0.25];
/** A rating is there with this probability; every tenth of them is kept for the test. */
const SHARE = 0.2;

// what users like and what items are: stars = 3.5 + generosity + popularity + taste·character + noise
const normal = (length, seed) => {
  const [x, y] = [random("f64", length, seed), random("f64", length, seed + 1)];
  return x.map((u, i) => Math.sqrt(-2 * Math.log(1 - (u + 1) / 2)) * Math.cos(Math.PI * y[i]));
};
const [generosity, popularity] = [normal(USERS, 1).map((x) => x / 4), normal(ITEMS, 3).map((x) => x / 3)];
const [taste, character] = [normal(USERS * FACTORS, 5), normal(ITEMS * FACTORS, 7)];
const stars = (user, item) => {
  let sum = 3.5 + generosity[user] + popularity[item];
  for (let f = 0; f < FACTORS; f++) sum += 0.3 * taste[user * FACTORS + f] * character[item * FACTORS + f];
  return sum;
};

const known = { users: [], items: [], values: [] };
const kept = { users: [], items: [], values: [] };
const [chance, noise] = [random("f64", USERS * ITEMS, 9), normal(USERS * ITEMS, 11)];
for (let user = 0, count = 0; user < USERS; user++) {
  for (let item = 0; item < ITEMS; item++) {
    const at = user * ITEMS + item;
    if (chance[at] >= 2 * SHARE - 1) continue;
    const set = ++count % 10 === 0 ? kept : known;
    set.users.push(user);
    set.items.push(item);
    set.values.push(stars(user, item) + NOISE * noise[at]);
  }
}

await init();
const matrix = ({ users, items, values }) => csr.fromCoo(users, items, values, [USERS, ITEMS]);
const [ratings, test] = [matrix(known), matrix(kept)];
console.log(`${ratings.nnz} ratings to learn from, ${test.nnz} to test with`);

const options = { factors: FACTORS, regularization: 0.01, iterations: 15 };
for (const [name, more] of [
  ["mean and biases alone", { factors: 1, regularization: 1e6 }],
  ['"svd"', { method: "svd" }],
  ['"als"', {}],
]) {
  const model = factorize(ratings, { ...options, ...more });
  console.log(
    `${name.padEnd(22)} error ${model.rmse(ratings).toFixed(3)}, of unseen ratings ${model.rmse(test).toFixed(3)}`,
  );
  model.dispose();
}
console.log(`best possible          error ${NOISE.toFixed(3)}`);

// what the first user has not seen and would like most, beside the truth
const model = factorize(ratings, options);
for (const { item, score } of model.recommend(0, 3, { exclude: ratings })) {
  console.log(`item ${item}: ${score.toFixed(2)} stars predicted, ${stars(0, item).toFixed(2)} true`);
}
for (const one of [model, ratings, test]) one.dispose();
