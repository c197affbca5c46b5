// How results are written.

import { table } from "../bench/support/report.mjs";

export { table };

/** Three significant digits. */
export function short(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(3))) : value.toExponential(1);
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(share > 0.999 && share < 1 ? 3 : 1)} %`;
}

/** 2,813,804. */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}

export function shapeText(shape: readonly number[]): string {
  return shape.length === 0 ? "()" : shape.join("×");
}

const LEVELS = "▁▂▃▄▅▆▇█";
/** Powers of ten between the lowest and the highest level. */
const DECADES = 4;

/** Singular values, largest first, as a small plot on a log axis that starts at the largest; at most `width` of them. */
export function spectrum(values: ArrayLike<number>, width = 24): string {
  const [first = 0] = Array.from(values).slice(0, 1);
  const shown = Math.min(width, values.length);
  let plot = "";
  for (let i = 0; i < shown; i++) {
    const value = values[Math.floor((i * values.length) / shown)] as number;
    const height = first === 0 || value === 0 ? 0 : 1 + Math.log10(value / first) / DECADES;
    plot += LEVELS[Math.max(0, Math.round(height * (LEVELS.length - 1)))];
  }
  return plot;
}
