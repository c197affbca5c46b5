// Two threads against one: the operations that a team shares, and that those too small for it lose nothing; what a fork costs,
// and what an idle team.

import { runScript } from "./support/machine.mjs";

const script = new URL("./support/thread_process.mjs", import.meta.url);

const FIGURES = [
  { case: "gemm f32 1024³", atLeast: 1.85 },
  { case: "gemm f64 1024³", atLeast: 1.85 },
  { case: "LoRA t 256, d 4096", atLeast: 1.8 },
  { case: "LoRA t 16, d 4096", atLeast: 1.5 },
  { case: "svd f64 512²", atLeast: 1.5 },
  { case: "svd f64 1024²", atLeast: 1.5 },
  { case: "10,000 svds f64 8²", atLeast: 1.8 },
  { case: "10,000 svds f32 8²", atLeast: 1.8 },
];

export async function bench({ build, rounds, only }) {
  // a round is a pair of samples each: twice as many as elsewhere
  const { results, forks, idle } = runScript(script, [build, String(2 * rounds), only ?? ""]);
  const ratio = ({ one, two }) => one.best / two.best;
  const rows = results.flatMap(({ name, one, two, free, rounds: made }) =>
    [one, two].map(({ best, median, samples }, i) => ({
      operation: "threads",
      name: `${name}, ${i + 1} thread${i === 0 ? "" : `s; ${free} of ${made} rounds had two free cores`}`,
      bestMs: best,
      medianMs: median,
      samples,
    })),
  );
  const figures = [];
  for (const result of results) {
    const bar = FIGURES.find((figure) => figure.case === result.name) ?? {
      atLeast: result.name.startsWith("small: ") ? 0.97 : 1,
    };
    figures.push({
      what: `${result.name}: 2 threads against 1`,
      measured: ratio(result),
      atLeast: bar.atLeast,
      unit: " ×",
    });
  }
  figures.push(
    { what: "fork and join of nothing, members awake, median", measured: forks?.awake, atMost: 1, unit: " µs" },
    { what: "the same after 20 ms idle", measured: forks?.asleep, atMost: 150, unit: " µs" },
    { what: "CPU time of an idle team", measured: idle === undefined ? undefined : 100 * idle, atMost: 1, unit: " %" },
  );
  return { rows, figures };
}
