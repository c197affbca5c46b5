// How the tour writes.

export function title(text) {
  console.log(`\n${text}\n${"─".repeat(text.length)}`);
}

export function milliseconds(value) {
  return value < 10 ? `${value.toFixed(2)} ms` : `${Math.round(value)} ms`;
}

export function percent(fraction, digits) {
  return `${(100 * fraction).toFixed(digits)} %`;
}

export function grouped(count) {
  return count.toLocaleString("en-US");
}

/** What `f` returns, and how long it took. */
export function timed(f) {
  const start = performance.now();
  const result = f();
  return { result, ms: performance.now() - start };
}
