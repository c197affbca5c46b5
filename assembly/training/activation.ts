// Activations of a multilayer perceptron, element by element, and their derivatives.

import { erf, exp, tanh } from "../elementary";
import { at, lanes } from "../simd";

export const RELU: i32 = 0;
/** x·Φ(x) with the normal distribution's Φ (Hendrycks and Gimpel 2016), in the form with erf. */
export const GELU: i32 = 1;

const ROOT_HALF: f64 = 0.7071067811865476;
const ROOT_INVERSE_TWO_PI: f64 = 0.3989422804014327;

/** y (n) <- f(x), or, if g (n) is not 0, g∘f′(x). y may be x or g. */
export function activate<T>(kind: i32, n: i32, x: usize, g: usize, y: usize): void {
  const zero = v128.splat<T>(<T>0);
  let i = 0;
  if (kind == RELU) {
    for (; i + lanes<T>() <= n; i += lanes<T>()) {
      const v = v128.load(at<T>(x, i));
      v128.store(at<T>(y, i), g == 0 ? v128.max<T>(v, zero) : v128.and(v128.gt<T>(v, zero), v128.load(at<T>(g, i))));
    }
  }
  for (; i < n; i++) {
    const v = <f64>load<T>(at<T>(x, i));
    store<T>(at<T>(y, i), <T>(g == 0 ? valueAt(kind, v) : slopeAt(kind, v) * load<T>(at<T>(g, i))));
  }
}

function valueAt(kind: i32, x: f64): f64 {
  if (kind == RELU) return max<f64>(x, 0);
  return kind == GELU ? x * distribution(x) : tanh<f64>(x);
}

function slopeAt(kind: i32, x: f64): f64 {
  if (kind == RELU) return x > 0 ? 1 : 0;
  if (kind == GELU) return distribution(x) + x * ROOT_INVERSE_TWO_PI * exp<f64>(-0.5 * x * x);
  const y = tanh<f64>(x);
  return 1 - y * y;
}

/** Φ(x). */
function distribution(x: f64): f64 {
  return 0.5 + 0.5 * erf<f64>(x * ROOT_HALF);
}
