// Timing: Benchmark.js takes the samples, in rounds over all tasks, so that a slow moment of the machine meets them all.

import Benchmark from "benchmark";

/** A task whose single run takes longer than this is timed in the first round only. */
const SLOW_SECONDS = 0.75;

/**
 * Times every task of `tasks` in turn, `rounds` times over.
 *
 * @param tasks functions without arguments; a result must have been checked before
 * @param rounds passes over the tasks
 * @param seconds how long Benchmark.js samples a task in a round
 * @param onStep called after each task of each round
 * @returns for each task { best, median, samples } in milliseconds a run
 */
export function measure(tasks, { rounds, seconds, onStep = () => {} }) {
  const samples = tasks.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, task] of tasks.entries()) {
      const known = samples[index];
      if (round === 0 || Math.min(...known) < SLOW_SECONDS) known.push(...sample(task, seconds));
      onStep();
    }
  }
  return samples.map(summary);
}

/** Seconds a run, one value a cycle of Benchmark.js (a cycle is at least 50 ms of runs). */
function sample(fn, seconds) {
  const bench = new Benchmark({ fn, maxTime: seconds, minSamples: 1 });
  bench.run();
  if (bench.error !== undefined) throw bench.error;
  return bench.stats.sample;
}

export function summary(seconds) {
  const sorted = seconds.map((value) => value * 1e3).sort((x, y) => x - y);
  return { best: sorted[0], median: median(sorted), samples: sorted.length };
}

export function median(values) {
  const sorted = [...values].sort((x, y) => x - y);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
