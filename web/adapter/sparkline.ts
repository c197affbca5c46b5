// A spectrum as small as a word.

const SPACE = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [120, 24];
const DECADES = 2;

/** The values on a log axis over two decades below the largest, the same for all layers; in words for who cannot see it. */
export function sparkline(values: ArrayLike<number>): SVGElement {
  const svg = document.createElementNS(SPACE, "svg");
  const [first, last] = [values[0] ?? 0, values[values.length - 1] ?? 0];
  for (const [name, value] of Object.entries({
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    width: `${WIDTH}`,
    height: `${HEIGHT}`,
    role: "img",
    "aria-label": `${values.length} values from ${first.toPrecision(2)} to ${last.toPrecision(2)}`,
    class: "sparkline",
  })) {
    svg.setAttribute(name, value);
  }
  const points = Array.from({ length: values.length }, (_, i) => {
    const decades = first > 0 && (values[i] as number) > 0 ? Math.log10((values[i] as number) / first) : -DECADES;
    const x = values.length === 1 ? 0 : (i / (values.length - 1)) * WIDTH;
    return `${x.toFixed(1)},${(1 + (Math.min(DECADES, -decades) / DECADES) * (HEIGHT - 2)).toFixed(1)}`;
  });
  if (points.length === 1) points.push(`${WIDTH},1`);
  const line = document.createElementNS(SPACE, "polyline");
  line.setAttribute("points", points.join(" "));
  svg.append(line);
  return svg;
}
