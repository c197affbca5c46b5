// What drivers do first and last, in slices (slice.ts): copies into padded rows, scaling by powers of two, copies out. A
// head's cursor `slot` counts the rows; it starts at 0 and is 0 again when a function returns true: all is done.

import { at } from "../simd";
import { cursor, setCursor, spend } from "../slice";
import { amax, scalPower } from "./level1";
import { lacpy } from "./matrix";

/** t (rows×n, ldt) <- A (rows×n, strides rs, cs); *largest <- max |a|. */
export function copyInSlice<T>(
  head: usize, slot: i32, rows: i32, n: i32, a: usize, rs: i32, cs: i32, t: usize, ldt: i32, largest: usize,
): bool {
  if (rows == 0) store<T>(largest, <T>0);
  for (let i = cursor(head, slot); i < rows; i += 4) {
    const some = min<i32>(4, rows - i), to = at<T>(t, i * ldt);
    lacpy<T>(some, n, at<T>(a, i * rs), rs, cs, to, ldt);
    let most = i == 0 ? <T>0 : load<T>(largest);
    for (let j = 0; j < some; j++) most = max<T>(most, amax<T>(n, at<T>(to, j * ldt), 1));
    store<T>(largest, most);
    setCursor(head, slot, i + 4);
    if (spend(8 * <f64>some * <f64>n)) return false;
  }
  setCursor(head, slot, 0);
  return true;
}

/** X (rows×n, ldx) <- X·2^k. */
export function scalePowerSlice<T>(head: usize, slot: i32, rows: i32, n: i32, k: i32, x: usize, ldx: i32): bool {
  for (let i = cursor(head, slot); i < rows && k != 0; i++) {
    scalPower<T>(n, k, at<T>(x, i * ldx));
    setCursor(head, slot, i + 1);
    if (spend(2 * <f64>n)) return false;
  }
  setCursor(head, slot, 0);
  return true;
}

/** out (rows×columns, row-major) <- xᵀ. */
export function transposeOutSlice<T>(
  head: usize, slot: i32, rows: i32, columns: i32, x: usize, ldx: i32, out: usize,
): bool {
  for (let i = cursor(head, slot); i < rows; i += 16) {
    const some = min<i32>(16, rows - i);
    lacpy<T>(some, columns, at<T>(x, i), 1, ldx, at<T>(out, i * columns), columns);
    setCursor(head, slot, i + 16);
    if (spend(8 * <f64>some * <f64>columns)) return false;
  }
  setCursor(head, slot, 0);
  return true;
}
