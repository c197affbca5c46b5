// One operation of a benchmark: checks all its cases, times them in turn, and makes rows of them.

import { measure } from "./measure.mjs";
import { progress } from "./progress.mjs";

/**
 * @param operation its name, for the progress bar
 * @param cases { name, dtype, run, reference?, check?, work?, unit? } each: `run` is timed, `reference` is the plain
 *   JavaScript beside it, `check` runs once and gives the error as a fraction of its bound, `work` is what one run does, in the
 *   billions that `unit` counts a second
 * @returns rows { operation, name, dtype, bestMs, medianMs, samples, rate, unit, error, referenceMs, speedup }
 * @throws Error if a result is wrong; nothing is timed then
 */
export function runCases(operation, cases, { rounds, seconds, reference, only }) {
  const chosen = cases.filter(({ name }) => only === undefined || name.includes(only));
  const compared = chosen.filter((one) => reference && one.reference !== undefined);
  const bar = progress(chosen.length + rounds * (chosen.length + compared.length));
  try {
    const errors = chosen.map((one) => {
      bar.step(operation);
      return checked(operation, one);
    });
    // ours and JavaScript are timed apart: the garbage of one would be collected in the time of the other
    const onStep = () => bar.step(operation);
    const ours = measure(
      chosen.map(({ run }) => run),
      { rounds, seconds, onStep },
    );
    const theirs = measure(
      compared.map((one) => one.reference),
      { rounds, seconds: seconds / 2, onStep },
    );
    return chosen.map((one, index) => {
      const { best, median, samples } = ours[index];
      const referenceMs = theirs[compared.indexOf(one)]?.best;
      return {
        operation,
        name: one.name,
        dtype: one.dtype,
        bestMs: best,
        medianMs: median,
        samples,
        rate: one.work === undefined ? undefined : one.work / best / 1e6,
        unit: one.unit,
        error: errors[index],
        referenceMs,
        speedup: referenceMs === undefined ? undefined : referenceMs / best,
      };
    });
  } finally {
    bar.stop();
  }
}

function checked(operation, { name, check }) {
  const error = check?.();
  if (error !== undefined && !(error <= 1)) {
    throw new Error(`${operation} ${name}: wrong result, the error is ${error} of its bound`);
  }
  return error;
}

/** rate(name)/rate(base) of two rows; undefined where one was not measured. */
export function rateRatio(rows, name, base) {
  const rate = (wanted) => rows.find((row) => row.name === wanted)?.rate;
  const [x, y] = [rate(name), rate(base)];
  return x === undefined || y === undefined ? undefined : x / y;
}
