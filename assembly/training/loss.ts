// Losses as means in f64, and their gradients.

import { exp, log } from "../elementary";
import { get, set } from "../simd";

/**
 * The mean over rows of z (rows×classes) of −log softmax(z)[label], labels (rows) of i32 in [0, classes); grad (rows×classes) <-
 * its gradient, (softmax(z) − e_label)/rows. A row's largest number is taken off first.
 */
export function softmaxCrossEntropy<T>(rows: i32, classes: i32, z: usize, labels: usize, grad: usize): f64 {
  let total: f64 = 0;
  for (let i = 0; i < rows; i++) total += crossEntropyRow<T>(rows, classes, i, z, load<i32>(labels + (<usize>i << 2)), grad);
  return total / rows;
}

function crossEntropyRow<T>(rows: i32, classes: i32, row: i32, z: usize, label: i32, grad: usize): f64 {
  const first = row * classes;
  let top: f64 = -Infinity, sum: f64 = 0;
  for (let j = 0; j < classes; j++) top = max<f64>(top, get<T>(z, first + j));
  for (let j = 0; j < classes; j++) {
    const e = exp<f64>(get<T>(z, first + j) - top);
    set<T>(grad, first + j, <T>e);
    sum += e;
  }
  const factor = 1 / (sum * rows);
  for (let j = 0; j < classes; j++) {
    const p = get<T>(grad, first + j) * factor;
    set<T>(grad, first + j, <T>(j == label ? p - 1.0 / rows : p));
  }
  return log<f64>(sum) + (top - get<T>(z, first + label));
}

/** The mean of (x − target)² over n elements; grad <- its gradient, 2·(x − target)/n. */
export function meanSquaredError<T>(n: i32, x: usize, target: usize, grad: usize): f64 {
  const factor = 2.0 / n;
  let total: f64 = 0;
  for (let i = 0; i < n; i++) {
    const d = <f64>get<T>(x, i) - get<T>(target, i);
    total += d * d;
    set<T>(grad, i, <T>(factor * d));
  }
  return total / n;
}
