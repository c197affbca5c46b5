// How many components the data speak for: the evidence of each number of them (Minka, "Automatic choice of dimensionality
// for PCA", 2000), as scikit-learn's components "mle".

import { log } from "../elementary";
import { get, set } from "../simd";

const LOG_PI: f64 = 1.1447298858494002;
const LOG_2: f64 = 0.6931471805599453;
const LOG_2PI: f64 = 1.8378770664093453;

/** Variances below this speak for nothing; scikit-learn's constant. */
const LEAST: f64 = 1e-15;

/** Two variances are held at least this far apart, relative to the larger: for equal ones the evidence is infinite. */
const APART: f64 = 1.1102230246251565e-16;

/**
 * The number of components, 1…n−1, of largest evidence (0 if n < 2) for the variances (n, f64, descending) of `samples`
 * rows. Sums over pairs of variances are carried on from one number to the next: O(n²). work: n elements of f64.
 */
export function minkaRank(n: i32, variances: usize, samples: f64, work: usize): i32 {
  const behind = work; // Σ of the variances from i on
  let total: f64 = 0;
  for (let i = n - 1; i >= 0; i--) {
    total += get<f64>(variances, i);
    set<f64>(behind, i, total);
  }
  const logSamples = log<f64>(samples);
  let best = 0;
  let most: f64 = -Infinity;
  let gammas: f64 = 0; // Σ of log Γ((n − i)/2) − log π·(n − i)/2
  let logs: f64 = 0; // Σ of the kept variances' logarithms
  let kept: f64 = 0; // Σ over pairs of kept variances
  let crossed: f64 = 0; // Σ over pairs of a kept and a discarded one, of log(difference)
  let half = logGammaOfHalf(n);
  let below = logGammaOfHalf(n - 1);
  for (let rank = 1; rank < n; rank++) {
    const last = rank - 1;
    const variance = get<f64>(variances, last);
    if (variance < LEAST) break;
    const order = <f64>(n - last);
    gammas += half - (LOG_PI * order) / 2;
    // Γ(x − 1) = Γ(x)/(x − 1)
    const next = half - (order > 2 ? log<f64>(order / 2 - 1) : 0);
    half = below;
    below = next;
    logs += log<f64>(variance);
    for (let i = 0; i < last; i++) {
      // the pair (i, last) is no longer one of a kept and a discarded variance
      const other = get<f64>(variances, i), distance = logDistance(other, variance);
      crossed -= distance;
      kept += 2 * distance - log<f64>(other) - log<f64>(variance);
    }
    for (let j = rank; j < n; j++) crossed += logDistance(variance, get<f64>(variances, j));
    const discarded = <f64>(n - rank), r = <f64>rank;
    const noise = max<f64>(LEAST, get<f64>(behind, rank) / discarded);
    let mixed: f64 = 0;
    for (let i = 0; i < rank; i++) {
      const x = get<f64>(variances, i);
      mixed += logDistance(x, noise) - log<f64>(x);
    }
    mixed = crossed + discarded * (mixed - r * log<f64>(noise));
    const parameters = <f64>n * r - (r * (r + 1)) / 2;
    const evidence = gammas - r * LOG_2 - (logs * samples) / 2 - (log<f64>(noise) * samples * discarded) / 2
      + (LOG_2PI * (parameters + r)) / 2 - (kept + mixed + parameters * logSamples) / 2 - (r * logSamples) / 2;
    if (evidence > most) {
      most = evidence;
      best = rank;
    }
  }
  return best;
}

/** log(a − b) for a >= b. */
function logDistance(a: f64, b: f64): f64 {
  return log<f64>(max<f64>(a - b, a * APART));
}

/** log Γ(n/2) for n >= 1. */
function logGammaOfHalf(n: i32): f64 {
  let s: f64 = (n & 1) == 1 ? LOG_PI / 2 : 0;
  for (let i = n - 2; i >= 1; i -= 2) s += log<f64>(<f64>i / 2);
  return s;
}
