// Interactive plots by uPlot in the colours of the page. What a plot shows is told in words or a table beside it, too.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

export interface Line {
  readonly label: string;
  /** A custom property of the page's style. */
  readonly color: string;
  /** Lengths of strokes and gaps: lines differ by more than their colour. */
  readonly dash?: number[];
  /** The line's values are on an axis of their own, to the right. */
  readonly right?: boolean;
}

export interface PlotOptions {
  readonly x: string;
  readonly y: string;
  readonly right?: string;
  readonly lines: readonly Line[];
  readonly logarithmic?: boolean;
  /** Lower and upper end of the right axis. */
  readonly rightRange?: [number, number];
  /** Called with the x of a point that was clicked. */
  readonly onPick?: (x: number) => void;
  readonly value?: (value: number) => string;
}

export class Plot {
  readonly #plot: uPlot;
  readonly #marker = document.createElement("div");
  #marked: number | undefined;

  constructor(host: HTMLElement, options: PlotOptions) {
    const { x, y, right, lines, logarithmic = false, rightRange, onPick, value = String } = options;
    const show = (_: uPlot, one: number | null) => (one === null ? "–" : value(one));
    const axis = (label: string, more: Partial<uPlot.Axis> = {}): uPlot.Axis => ({
      label,
      stroke: () => color("--muted"),
      font: "12px system-ui, sans-serif",
      labelFont: "12px system-ui, sans-serif",
      labelSize: 18,
      grid: { stroke: () => color("--line"), width: 1 },
      ticks: { stroke: () => color("--line"), width: 1, size: 4 },
      ...more,
    });
    // on a log axis, lines and numbers at powers of ten
    const tens = (_: uPlot, splits: number[]) => splits.map((one) => (Number.isInteger(Math.log10(one)) ? one : null));
    const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 });
    const axes = [
      axis(x, { size: 34 }),
      axis(y, {
        size: 50,
        values: (_, splits) => splits.map((one) => (one === null ? null : compact.format(one))),
        ...(logarithmic && { filter: tens, grid: { stroke: () => color("--line"), width: 1, filter: tens } }),
      }),
    ];
    if (right !== undefined) axes.push(axis(right, { scale: "right", side: 1, size: 44, grid: { show: false } }));
    this.#plot = new uPlot(
      {
        ...sizeOf(host),
        scales: {
          x: { time: false },
          y: { distr: logarithmic ? 3 : 1 },
          ...(right !== undefined && { right: { range: rightRange ?? [0, 1] } }),
        },
        axes,
        series: [
          { label: x, value: (_, one) => (one === null ? "–" : String(one)) },
          ...lines.map((line) => ({
            label: line.label,
            stroke: () => color(line.color),
            width: 1.5,
            // of few points the line goes on between them
            ...(line.right ? { spanGaps: true, points: { show: true, size: 5 } } : { points: { show: false } }),
            value: show,
            ...(line.right && { scale: "right" }),
            ...(line.dash && { dash: line.dash }),
          })),
        ],
        cursor: { drag: { x: false, y: false }, points: { size: 6 } },
        hooks: { draw: [() => this.#placeMarker()] },
      },
      [[], ...lines.map(() => [])],
      host,
    );
    this.#marker.className = "marker";
    this.#plot.over.append(this.#marker);
    if (onPick !== undefined) {
      this.#plot.over.addEventListener("click", ({ offsetX }) => onPick(this.#plot.posToVal(offsetX, "x")));
    }
    new ResizeObserver(() => this.#plot.setSize(sizeOf(host))).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#plot.redraw();
      const names = this.#plot.root.querySelectorAll<HTMLElement>(".u-legend .u-marker");
      for (const [i, name] of [...names].slice(-lines.length).entries())
        name.style.borderColor = color(lines[i]?.color ?? "");
    });
  }

  /** The points of all lines: x, and the y of each; no number is a gap. */
  set(x: readonly number[], ...y: readonly (readonly (number | null)[])[]): void {
    this.#plot.setData([x, ...y] as uPlot.AlignedData);
  }

  /** A vertical line at x. */
  mark(x: number): void {
    this.#marked = x;
    this.#placeMarker();
  }

  #placeMarker(): void {
    const at = this.#marked === undefined ? Number.NaN : this.#plot.valToPos(this.#marked, "x");
    const inside = at >= 0 && at <= this.#plot.bbox.width / devicePixelRatio;
    this.#marker.classList.toggle("unseen", !inside);
    if (inside) this.#marker.style.transform = `translateX(${at}px)`;
  }
}

function sizeOf(host: HTMLElement): { width: number; height: number } {
  // below is what names the colours and shows the values under the pointer: a line, on a phone two
  const below = host.clientWidth < 400 ? 46 : 28;
  return { width: Math.max(host.clientWidth, 100), height: Math.max(host.clientHeight - below, 100) };
}

function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name);
}
