// The panel "Picture": what moves when the slider does. The numbers come from decomposition.ts and sums.ts.

import type { Tensor } from "lowrank";
import { worker } from "../kernel.js";
import { offerCode } from "../ui/code.js";
import { chosen, element, make, onChoice } from "../ui/dom.js";
import { acceptFiles, fetchData, showSizes } from "../ui/files.js";
import { Plot } from "../ui/plot.js";
import { Task, type TaskOptions } from "../ui/task.js";
import { bytes, digits, duration, grouped, percent } from "../ui/text.js";
import { type Decomposition, decompose, firstLook, quality, rankOf } from "./decomposition.js";
import html from "./panel.html?raw";
import { decodePicture, draw, GAIN, type Picture, type View } from "./pixels.js";
import { average, Sums } from "./sums.js";

/** Pixels that are drawn while the slider moves. */
const MOVING = 400_000;
/** Operations between two kept sums: some milliseconds for moving pictures, less than half a second for whole ones. */
const FLOPS = { moving: 2e8, whole: 5e9 };
const FIRST_RANK = 20;
/** Values below this part of the largest are what rounding left. */
const ROUNDING = 1e-8;
const LISTED = [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000];

const CHANNELS = [
  { label: "red", color: "--red" },
  { label: "green", color: "--green", dash: [8, 3] },
  { label: "blue", color: "--blue", dash: [2, 2] },
];

/** What is on the screen; replaced as a whole by another picture, or by the exact decomposition of the same. */
interface Shown {
  name: string;
  picture: Picture;
  decomposition: Decomposition;
  whole: Sums;
  moving: Sums;
  /** The channels at the size of moving pictures. */
  original: Tensor[];
}

export function open(section: HTMLElement): void {
  section.innerHTML = html;
  showSizes(section);
  offerCode(element("picture-code", HTMLElement), ["picture/decomposition.ts", "picture/sums.ts", "kernel.ts"]);
  new PicturePanel(section);
}

class PicturePanel {
  readonly #task = new Task("picture");
  readonly #frame = element("picture-frame", HTMLElement);
  readonly #canvas = {
    whole: element("picture-whole", HTMLCanvasElement),
    moving: element("picture-moving", HTMLCanvasElement),
  };
  readonly #slider = element("picture-slider", HTMLInputElement);
  readonly #number = element("picture-rank", HTMLInputElement);
  readonly #exact = element("picture-exact", HTMLButtonElement);
  #plot: Plot | undefined;
  #shown: Shown | undefined;
  /** Ranks that the slider stops at: each one at first, then in steps of a few percent. */
  #stops = [1];
  #rank = FIRST_RANK;
  /** What is wanted on the screen and not there yet; a whole picture follows a moving one. */
  #wanted: { moving: boolean; whole: boolean; since: number } | undefined;
  #drawing: Promise<void> | undefined;
  /** The picture that is being drawn. */
  #drawn: Promise<void> | undefined;
  #wholeDrawing: AbortController | undefined;

  constructor(section: HTMLElement) {
    const atSlider = () => this.#stops[this.#slider.valueAsNumber] ?? 1;
    this.#slider.addEventListener("input", () => this.#choose(atSlider(), false));
    this.#slider.addEventListener("change", () => this.#choose(atSlider()));
    this.#number.addEventListener("change", () => this.#choose(this.#number.valueAsNumber || 1));
    onChoice("picture-view", () => this.#choose(this.#rank));
    onChoice("picture-photo", (name) => void this.#take(name, () => fetchData(`${name}.jpg`)));
    this.#exact.addEventListener("click", () => void this.#complete());
    const actual = element("picture-actual", HTMLInputElement);
    actual.addEventListener("change", () => {
      this.#frame.classList.toggle("actual", actual.checked);
      // what scrolls can be reached by the keyboard
      this.#frame.tabIndex = actual.checked ? 0 : -1;
    });
    acceptFiles(section, element("picture-file", HTMLInputElement), ([file]) => {
      const photographs = section.querySelectorAll<HTMLInputElement>("input[name=picture-photo]");
      for (const one of photographs) one.checked = false;
      if (file !== undefined) void this.#take(file.name, async () => file);
    });
  }

  /** Another picture: a first look at once, then the exact values in the background. */
  async #take(name: string, load: () => Promise<Blob>): Promise<void> {
    const start = performance.now();
    const picture = await this.#task.run(
      "Looking at the largest singular values …",
      async (options) => {
        const [file] = await Promise.all([load(), worker("picture")]);
        const decoded = await decodePicture(file);
        options.signal.throwIfAborted();
        await this.#show(name, decoded, await firstLook(decoded.channels, options), options);
        performance.measure("first picture", { start });
        return decoded;
      },
      () => `First picture after ${duration(performance.now() - start)}.`,
    );
    if (picture !== undefined) await this.#complete();
  }

  async #complete(): Promise<void> {
    const { picture, decomposition: first, name } = this.#shown as Shown;
    if (first.isExact) return;
    this.#offerExact(false);
    await this.#task.run(
      "All singular values, exact, in the background …",
      async (options) => this.#show(name, picture, await decompose(picture.channels, first.norms, options), options),
      (_, time) => `All ${grouped(this.#rankOf())} singular values of each channel after ${duration(time)}.`,
    );
    // where it was stopped
    this.#offerExact(this.#shown?.decomposition.isExact === false && !this.#task.running);
  }

  #offerExact(offered: boolean): void {
    this.#exact.disabled = !offered;
    this.#exact.classList.toggle("unseen", !offered);
  }

  #rankOf(): number {
    return this.#shown?.decomposition.rank ?? 0;
  }

  /** Puts a decomposition on the screen. */
  async #show(name: string, picture: Picture, decomposition: Decomposition, { signal }: TaskOptions): Promise<void> {
    const remote = await worker("picture");
    const { width, height, channels } = picture;
    const shown = Math.min(
      1,
      Math.sqrt(MOVING / (width * height)),
      (this.#frame.clientWidth * devicePixelRatio) / width,
    );
    const [small, narrow] = [height, width].map((side) => Math.max(1, Math.round(side * shown))) as [number, number];
    const whole = await Sums.whole(remote, decomposition.factors);
    const moving = await whole.smaller(small, narrow);
    const original: Tensor[] = [];
    for (const channel of channels) original.push(await average(remote, channel, small, narrow));
    if (decomposition.isExact) {
      await moving.keep(FLOPS.moving, original, signal);
      await whole.keep(FLOPS.whole, channels, signal);
    }
    signal.throwIfAborted();
    const before = this.#shown;
    this.#shown = { name, picture, decomposition, whole, moving, original };
    for (const [canvas, sums] of [[this.#canvas.whole, whole] as const, [this.#canvas.moving, moving] as const]) {
      if (canvas.width !== sums.width) canvas.width = sums.width;
      if (canvas.height !== sums.height) canvas.height = sums.height;
    }
    this.#describe();
    this.#choose(this.#rank);
    await this.#drawn;
    if (before !== undefined) release(before, picture);
    await this.#drawing;
  }

  /** What does not depend on the rank that is chosen. */
  #describe(): void {
    const { picture, decomposition } = this.#shown as Shown;
    const { width, height, original } = picture;
    this.#frame.style.setProperty("--width", `${width}`);
    this.#frame.style.aspectRatio = `${width} / ${height}`;
    const [most, whole] = [decomposition.rank, Math.min(width, height)];
    this.#stops = [1];
    for (let k = 2; k < whole; k = Math.max(k + 1, Math.round(k * 1.03))) this.#stops.push(k);
    if (whole > 1) this.#stops.push(whole);
    this.#slider.max = `${this.#stops.length - 1}`;
    this.#number.max = `${most}`;
    for (const input of [this.#slider, this.#number]) input.disabled = false;
    const fitted = original.width === width ? "" : `, made to fit from ${original.width} × ${original.height}`;
    element("picture-bytes", HTMLElement).textContent =
      `${bytes(3 * width * height)} (${width} × ${height}, one byte a number${fitted})`;
    element("picture-empty", HTMLElement).hidden = true;
    element("picture-known", HTMLElement).textContent = decomposition.isExact
      ? `All ${grouped(most)} of each channel, exact.`
      : `The ${most} largest of each channel, by random vectors: to some digits.`;
    const values = decomposition.factors.map(({ s }) => [...s.data]);
    const index = Array.from({ length: most }, (_, i) => i + 1);
    this.#plot ??= new Plot(element("picture-plot", HTMLElement), {
      x: "i",
      y: "σ, the i-th singular value",
      lines: CHANNELS,
      logarithmic: true,
      value: digits,
      onPick: (i) => this.#choose(i),
    });
    this.#plot.set(
      index,
      ...values.map((list) => list.map((value) => (value > ROUNDING * (list[0] as number) ? value : null))),
    );
    const shares = [0.9, 0.99, 0.999].map((energy) => {
      const k = rankOf(decomposition, energy);
      return `${100 * energy} % of the energy: rank ${k === undefined ? `above ${most}` : k}`;
    });
    element("picture-spectrum", HTMLElement).textContent = shares.join(" · ");
    element("picture-values", HTMLElement).replaceChildren(
      ...LISTED.filter((i) => i <= most).map((i) => {
        const cells = values.map((list) => make("td", {}, digits(list[i - 1] as number)));
        return make("tr", {}, make("th", { scope: "row" }, `${i}`), ...cells);
      }),
    );
  }

  /** Shows another rank: small while the slider moves, then whole. */
  #choose(rank: number, andWhole = true): void {
    if (this.#shown === undefined) return;
    const { name, picture, decomposition } = this.#shown;
    const k = Math.min(Math.max(1, Math.round(rank)), decomposition.rank);
    this.#rank = k;
    const stop = this.#stops.findLastIndex((one) => one <= k);
    this.#slider.value = `${stop}`;
    this.#number.value = `${k}`;
    this.#plot?.mark(k);
    const { error, energy } = quality(decomposition, k);
    const numbers = 3 * k * (picture.width + picture.height + 1);
    element("picture-energy", HTMLElement).textContent = percent(energy);
    element("picture-loss", HTMLElement).textContent = percent(error);
    element("picture-factors", HTMLElement).textContent = `${bytes(4 * numbers)} as f32, ${bytes(2 * numbers)} as f16`;
    this.#slider.setAttribute("aria-valuetext", `rank ${k}, ${percent(energy)} of the energy`);
    const view = chosen("picture-view");
    const what = { picture: `rank ${k}`, difference: `what rank ${k} leaves out, ${GAIN} times`, original: "original" };
    this.#frame.setAttribute("aria-label", `${name}: ${what[view as View]}`);
    this.#wholeDrawing?.abort();
    this.#wanted = { moving: true, whole: andWhole, since: performance.now() };
    this.#drawing ??= this.#drawWanted().finally(() => {
      this.#drawing = undefined;
    });
  }

  async #drawWanted(): Promise<void> {
    while (this.#wanted !== undefined) {
      const { moving, whole, since } = this.#wanted;
      if (moving) {
        this.#wanted.moving = false;
        this.#drawn = this.#draw("moving", since);
        await this.#drawn;
      } else if (whole) {
        this.#wanted.whole = false;
        this.#drawn = this.#draw("whole", since);
        await this.#drawn;
      } else {
        this.#wanted = undefined;
      }
    }
  }

  async #draw(size: "moving" | "whole", since: number): Promise<void> {
    const shown = this.#shown as Shown;
    const controller = new AbortController();
    if (size === "whole") this.#wholeDrawing = controller;
    const view = chosen("picture-view") as View;
    const start = performance.now();
    try {
      const original = size === "whole" ? shown.picture.channels : shown.original;
      for await (const strip of shown[size].picture(this.#rank, controller.signal)) {
        draw(this.#canvas[size], strip, original, view);
      }
    } catch (error) {
      if (!controller.signal.aborted) this.#task.fail(error);
      return;
    }
    this.#canvas.moving.classList.toggle("unseen", size === "whole");
    performance.measure(`${size} picture`, { start: size === "whole" ? since : start });
    element("picture-time", HTMLElement).textContent =
      size === "whole"
        ? `${duration(performance.now() - since)} at full size`
        : `${duration(performance.now() - start)} while it moves`;
  }
}

/** Gives back what was on the screen, but for a picture that stays. */
function release({ picture, decomposition, whole, moving, original }: Shown, next: Picture): void {
  const values = decomposition.factors.map(({ s }) => s);
  for (const one of [whole, moving, ...original, ...values]) one.dispose();
  if (picture !== next) for (const channel of picture.channels) channel.dispose();
}
