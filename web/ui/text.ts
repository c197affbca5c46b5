// Numbers in words.

const grouping = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** 1234567 as "1,234,567". */
export function grouped(value: number): string {
  return grouping.format(value);
}

/** Three digits and a unit of bytes. */
export function bytes(count: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let [value, unit] = [count, 0];
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return unit === 0 ? `${count} bytes` : `${digits(value)} ${units[unit]}`;
}

/** Three significant digits, without an exponent where it is readable without. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  const places = size === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(size)));
  return value.toFixed(places);
}

/** A fraction in percent, with as many places as the distance from 0 or 100 asks for. */
export function percent(fraction: number): string {
  const distance = 100 * Math.min(Math.abs(fraction), Math.abs(1 - fraction));
  const places = distance === 0 ? 0 : Math.min(6, Math.max(1, 1 - Math.floor(Math.log10(distance))));
  const text = (100 * fraction).toFixed(places);
  // what is not all is not said to be all
  return fraction < 1 && Number(text) === 100 ? "> 99.999999 %" : `${text} %`;
}

/** A time with its unit. */
export function duration(milliseconds: number): string {
  return milliseconds < 1000 ? `${digits(milliseconds)} ms` : `${digits(milliseconds / 1000)} s`;
}
