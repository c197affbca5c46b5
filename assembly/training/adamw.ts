// Adam with decoupled weight decay (Loshchilov and Hutter 2019), as PyTorch's AdamW has it: one pass over parameters, gradients and
// both moments.

import { at, lanes, muladd } from "../simd";

/** Elements that are passed by one call of the loop, so that it is entered often. */
const BLOCK: i32 = 4096;

/**
 * m <- m + w1·(g − m), v <- β₂·v + w2·g², p <- decay·p − step·m/(√v·root + eps), n elements each, with w1 = 1 − β₁, w2 = 1 − β₂,
 * decay = 1 − lr·λ, step = lr/(1 − β₁ᵗ), root = 1/√(1 − β₂ᵗ).
 */
export function adamw<T>(
  n: i32, g: usize, p: usize, m: usize, v: usize, w1: T, beta2: T, w2: T, decay: T, step: T, root: T, eps: T,
): void {
  for (let i = 0; i < n; i += BLOCK) {
    const from = at<T>(0, i);
    adamwBlock<T>(min<i32>(BLOCK, n - i), g + from, p + from, m + from, v + from, w1, beta2, w2, decay, step, root, eps);
  }
}

function adamwBlock<T>(
  n: i32, g: usize, p: usize, m: usize, v: usize, w1: T, beta2: T, w2: T, decay: T, step: T, root: T, eps: T,
): void {
  let i = 0;
  for (; i + lanes<T>() <= n; i += lanes<T>()) {
    const slope = v128.load(g), old = v128.load(m);
    const first = muladd<T>(v128.splat<T>(w1), v128.sub<T>(slope, old), old);
    const square = v128.mul<T>(v128.mul<T>(v128.splat<T>(w2), slope), slope);
    const second = muladd<T>(v128.splat<T>(beta2), v128.load(v), square);
    const size = muladd<T>(v128.sqrt<T>(second), v128.splat<T>(root), v128.splat<T>(eps));
    const moved = v128.div<T>(v128.mul<T>(v128.splat<T>(step), first), size);
    v128.store(m, first);
    v128.store(v, second);
    v128.store(p, v128.sub<T>(v128.mul<T>(v128.splat<T>(decay), v128.load(p)), moved));
    g += 16;
    p += 16;
    m += 16;
    v += 16;
  }
  for (; i < n; i++) {
    const slope = load<T>(g), old = load<T>(m);
    const first = <T>(old + w1 * (slope - old)), second = <T>(beta2 * load<T>(v) + w2 * slope * slope);
    store<T>(m, first);
    store<T>(v, second);
    store<T>(p, <T>(decay * load<T>(p) - step * first / (sqrt<T>(second) * root + eps)));
    g += sizeof<T>();
    p += sizeof<T>();
    m += sizeof<T>();
    v += sizeof<T>();
  }
}
