// An orthonormal basis of the columns of a tall matrix M (n×l, n >= l), held by columns, in place: Householder QR, then the first l
// columns of Q written out; xGEQRF and xORGQR. Columns that depend on others are replaced by orthonormal ones.

import { fill, lacpy } from "../blas/matrix";
import { applyReflectorsSlice, applyReflectorsWork, paddedLength } from "../svd/householder";
import { copyR, geqrfSlice, geqrfWork } from "../svd/qr_factor";
import { at } from "../simd";
import { begin, cursor, HEAD_BYTES, interrupted, openSlice, setCursor, spend } from "../slice";

// cursors of the head
const PHASE = 0, I = 1, J = 2;

// phases
const COPY = 0, FACTOR = 1, IDENTITY = 2, APPLY = 3, DONE = 4;

/** Bytes of working memory of orthonormalize. */
export function orthonormalizeScratch<T>(l: i32, n: i32): f64 {
  const steps = <f64>max<i32>(geqrfWork(n, l), applyReflectorsWork(l, n));
  return <f64>HEAD_BYTES + (<f64>l * <f64>paddedLength<T>(n) + <f64>paddedLength<T>(l) + steps) * <f64>sizeof<T>();
}

export function orthonormalizeBegin(work: usize): void {
  begin(work);
}

/**
 * A slice of x (l rows of n, contiguous) <- Q by columns: MORE until it is done, then 0. r (l×l), if not 0, <- R, held by columns.
 */
export function orthonormalize<T>(l: i32, n: i32, x: usize, r: usize, work: usize): i32 {
  const ldt = paddedLength<T>(n);
  const t = work + HEAD_BYTES, tau = at<T>(t, l * ldt), rest = at<T>(tau, paddedLength<T>(l));
  openSlice(work);
  while (cursor(work, PHASE) < DONE) {
    let done = true;
    switch (cursor(work, PHASE)) {
      case COPY:
        done = copyRows<T>(work, l, n, x, t, ldt);
        break;
      case FACTOR:
        done = geqrfSlice<T>(work, I, J, n, l, l, t, ldt, tau, rest);
        if (done && r != 0) copyR<T>(l, t, ldt, r, l);
        break;
      case IDENTITY:
        done = identityRows<T>(work, l, n, x);
        break;
      default:
        done = applyReflectorsSlice<T>(work, I, J, l, n, l, 0, t, ldt, tau, x, n, rest, true);
        break;
    }
    if (!done) return interrupted();
    setCursor(work, PHASE, cursor(work, PHASE) + 1);
  }
  return 0;
}

function copyRows<T>(head: usize, l: i32, n: i32, x: usize, t: usize, ldt: i32): bool {
  for (let i = cursor(head, I); i < l; i++) {
    lacpy<T>(1, n, at<T>(x, i * n), n, 1, at<T>(t, i * ldt), ldt);
    setCursor(head, I, i + 1);
    if (spend(2 * <f64>n)) return false;
  }
  setCursor(head, I, 0);
  return true;
}

function identityRows<T>(head: usize, l: i32, n: i32, x: usize): bool {
  for (let i = cursor(head, I); i < l; i++) {
    const row = at<T>(x, i * n);
    fill<T>(n, <T>0, row);
    store<T>(at<T>(row, i), <T>1);
    setCursor(head, I, i + 1);
    if (spend(<f64>n)) return false;
  }
  setCursor(head, I, 0);
  return true;
}
