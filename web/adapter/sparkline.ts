// A spectrum as small as a word.

const SPACE = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [120, 24];

/** The values from the largest down to zero, an area each as wide as the others; in words for who cannot see it. */
export function sparkline(values: ArrayLike<number>): SVGElement {
  const [first, last] = [values[0] ?? 0, values[values.length - 1] ?? 0];
  const svg = shape("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    width: WIDTH,
    height: HEIGHT,
    role: "img",
    "aria-label": `${values.length} values from ${first.toPrecision(2)} to ${last.toPrecision(2)}`,
    class: "sparkline",
  });
  const step = WIDTH / values.length;
  const path = Array.from({ length: values.length }, (_, i) => {
    const share = first > 0 ? (values[i] as number) / first : 0;
    return `V${(HEIGHT - share * (HEIGHT - 1)).toFixed(1)}H${((i + 1) * step).toFixed(1)}`;
  });
  svg.append(shape("path", { d: `M0,${HEIGHT}${path.join("")}V${HEIGHT}Z` }));
  return svg;
}

function shape(name: string, attributes: Readonly<Record<string, string | number>>): SVGElement {
  const made = document.createElementNS(SPACE, name) as SVGElement;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, `${value}`);
  return made;
}
