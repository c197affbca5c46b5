// The panel "Train". What learns is in network.ts.

import { downloadZip } from "client-zip";
import { empty, type Tensor } from "lowrank";
import { worker } from "../kernel.js";
import { offerCode } from "../ui/code.js";
import { download, element, make } from "../ui/dom.js";
import { showSizes } from "../ui/files.js";
import { Plot } from "../ui/plot.js";
import { Task, type TaskOptions } from "../ui/task.js";
import { duration, grouped, percent, digits as threeDigits } from "../ui/text.js";
import { choose, type Digits, loadDigits, PIXELS, quarterTurn, SIDE } from "./digits.js";
import { Drawing } from "./drawing.js";
import { accuracy, answers, Network, type Training } from "./network.js";
import html from "./panel.html?raw";

const SEED = 1;
const BASE = { epochs: 2, rate: 1e-3 };
const ADAPTER = { epochs: 4, rate: 2e-3 };

/** The base, or an adapter. */
interface Entry {
  name: string;
  isOn: boolean;
  parameters: string;
  upright: number;
  turned: number;
  /** Errors on the digit that the base does worst on. */
  worst: number;
}

export function open(section: HTMLElement): void {
  section.innerHTML = html;
  showSizes(section);
  offerCode(element("train-code", HTMLElement), ["train/network.ts", "train/digits.ts", "kernel.ts"]);
  new TrainPanel();
}

class TrainPanel {
  readonly #task = new Task("train");
  readonly #drawing: Drawing;
  readonly #buttons = {
    base: element("train-base", HTMLButtonElement),
    adapter: element("train-adapter", HTMLButtonElement),
    pick: element("train-pick", HTMLButtonElement),
    mixed: element("train-mixed", HTMLButtonElement),
  };
  readonly #turned = element("train-turned", HTMLInputElement);
  #plot: Plot | undefined;
  #data: { trained: Digits; heldOut: Digits; turned: Digits } | undefined;
  #network: Network | undefined;
  #worst = 0;
  /** The base first. */
  #entries: Entry[] = [];
  /** What is asked about: an upright digit, or undefined. */
  #image: ArrayLike<number> | undefined;
  /** What the digit is, where that is known. */
  #label: number | undefined;
  #asking = 0;

  constructor() {
    this.#drawing = new Drawing(element("train-canvas", HTMLCanvasElement), (image) => this.#take(image));
    element("train-clear", HTMLButtonElement).addEventListener("click", () => {
      this.#drawing.clear();
      this.#take(undefined);
    });
    this.#turned.addEventListener("change", () => void this.#ask());
    this.#buttons.pick.addEventListener("click", () => this.#pick());
    this.#buttons.base.addEventListener("click", () => void this.#trainBase());
    this.#buttons.adapter.addEventListener("click", () => void this.#trainAdapter());
    this.#buttons.mixed.addEventListener("click", () => void this.#serve());
    this.#show();
  }

  /** Digits once, then the network from its random start. */
  async #trainBase(): Promise<void> {
    await this.#run("Training the network …", async (options, training) => {
      await worker("train");
      if (this.#data === undefined) {
        this.#task.say("Loading digits …");
        const { trained, heldOut } = await loadDigits();
        const all = Array.from(heldOut.y, (_, row) => ({ row, turned: true }));
        this.#data = { trained, heldOut, turned: await choose(heldOut, all) };
        this.#task.say("Training the network …");
      }
      options.signal.throwIfAborted();
      const { trained, heldOut } = this.#data;
      const network = await Network.learn({ ...training, ...BASE, digits: trained, heldOut, seed: SEED });
      this.#network?.dispose();
      this.#network = network;
      this.#entries = [];
      const output = await this.#outputs(heldOut, null);
      const wrong = answers(output).flatMap((answer, i) => (answer === heldOut.y[i] ? [] : [heldOut.y[i] as number]));
      const errors = Array.from({ length: 10 }, (_, digit) => wrong.filter((one) => one === digit).length);
      this.#worst = errors.indexOf(Math.max(...errors));
      element("train-worst", HTMLElement).textContent = `Errors on the ${this.#worst}`;
      await this.#add("base", "203,530, frozen", null);
    });
  }

  async #trainAdapter(): Promise<void> {
    const network = this.#network as Network;
    const { trained, heldOut, turned } = this.#data as { trained: Digits; heldOut: Digits; turned: Digits };
    const method = element("train-method", HTMLSelectElement).value;
    const rank = Math.max(1, element("train-rank", HTMLInputElement).valueAsNumber || 1);
    const task = element("train-lesson", HTMLSelectElement).value;
    const what = task === "worst" ? `the ${this.#worst}` : "on their side";
    const kind = `${method === "svd" ? "SVD + LoRA" : "LoRA"} ${rank}, ${what}`;
    const again = this.#entries.filter((entry) => entry.name.startsWith(kind)).length;
    const name = again === 0 ? kind : `${kind} (${again + 1})`;
    await this.#run(`Training ${name} …`, async (_, training) => {
      const digits = await choose(
        trained,
        task === "worst" ? this.#mostly(trained, this.#worst) : everySecondTurned(trained),
      );
      const lesson = { digits, heldOut: task === "worst" ? heldOut : turned, seed: SEED + this.#entries.length };
      const add = method === "svd" ? "addSvd" : "addLora";
      const line = await network[add](name, rank, { ...training, ...ADAPTER, ...lesson });
      digits.x.dispose();
      element("train-line", HTMLElement).replaceChildren(make("code", {}, line));
      await this.#add(name, line.replace(/^trainable params: ([\d,]+).*%: (.*)$/, "$1 ($2 %)"), name);
    });
  }

  /** One digit, and as many of all others together. */
  #mostly({ y }: Digits, digit: number): { row: number; turned: boolean }[] {
    const own = y.filter((label) => label === digit).length;
    const share = Math.round(y.length / own / 1);
    return [...y.entries()].flatMap(([row, label]) =>
      label === digit || row % share === 0 ? [{ row, turned: false }] : [],
    );
  }

  /** A training: its plot, and the table afterwards. */
  async #run(
    doing: string,
    f: (options: TaskOptions, training: Pick<Training, "signal" | "onStep" | "onEpoch">) => Promise<void>,
  ): Promise<void> {
    this.#plot ??= new Plot(element("train-plot", HTMLElement), {
      x: "step",
      y: "loss of a batch",
      right: "accuracy, held out",
      lines: [
        { label: "loss", color: "--blue" },
        { label: "accuracy", color: "--amber", dash: [6, 3], right: true },
      ],
      rightRange: [0, 1],
      value: threeDigits,
    });
    const steps = new Map<number, { loss?: number; accuracy?: number }>();
    const draw = () => {
      const points = [...steps].sort(([x], [y]) => x - y);
      this.#plot?.set(
        points.map(([step]) => step),
        points.map(([, { loss }]) => loss ?? null),
        points.map(([, point]) => point.accuracy ?? null),
      );
      element("train-seen", HTMLElement).textContent = inWords(points.map(([, point]) => point));
    };
    for (const button of Object.values(this.#buttons)) button.disabled = true;
    await this.#task.run(doing, (options) =>
      f(options, {
        signal: options.signal,
        onStep: (step, total, loss) => {
          steps.set(step, { ...steps.get(step), loss });
          options.onProgress({ done: step, total });
          draw();
        },
        onEpoch: (step, right) => {
          steps.set(step, { ...steps.get(step), accuracy: right });
          draw();
        },
      }),
    );
    this.#show();
    void this.#ask();
  }

  async #outputs({ x, y }: Digits, adapter: string | null): Promise<Tensor> {
    return (this.#network as Network).forward(x, new Array(y.length).fill(adapter));
  }

  /** Measures an adapter and puts it into the table. */
  async #add(name: string, parameters: string, adapter: string | null): Promise<void> {
    const { heldOut, turned } = this.#data as { heldOut: Digits; turned: Digits };
    const output = await this.#outputs(heldOut, adapter);
    const said = answers(output);
    const worst = said.filter((answer, i) => heldOut.y[i] === this.#worst && answer !== this.#worst).length;
    const upright = accuracy(output, heldOut.y);
    output.dispose();
    const other = await this.#outputs(turned, adapter);
    this.#entries.push({ name, isOn: true, parameters, upright, turned: accuracy(other, turned.y), worst });
    other.dispose();
  }

  #show(): void {
    const hasNetwork = this.#network !== undefined;
    this.#buttons.base.disabled = false;
    for (const name of ["adapter", "pick"] as const) this.#buttons[name].disabled = !hasNetwork;
    this.#buttons.mixed.disabled = this.#entries.length < 2;
    const rows = this.#entries.map((entry, i) => {
      const on = make("input", { type: "checkbox", "aria-label": `${entry.name} is on` });
      on.checked = entry.isOn;
      on.addEventListener("change", () => {
        entry.isOn = on.checked;
        void this.#ask();
      });
      const save = make("button", { type: "button", class: "link", "aria-label": `save ${entry.name}` }, "save");
      save.addEventListener("click", () => void this.#save(entry.name));
      return make(
        "tr",
        {},
        make("td", {}, on),
        make("th", { scope: "row" }, entry.name),
        make("td", {}, entry.parameters),
        make("td", {}, percent(entry.upright)),
        make("td", {}, percent(entry.turned)),
        make("td", {}, `${entry.worst}`),
        make("td", {}, i === 0 ? "" : save),
      );
    });
    const none = make("tr", {}, make("td", {}), make("td", { colspan: "6" }, "Nothing is trained yet."));
    element("train-table", HTMLElement).replaceChildren(...(rows.length === 0 ? [none] : rows));
  }

  /** Those that are on; null is the base. */
  get #on(): (string | null)[] {
    return this.#entries.flatMap(({ name, isOn }, i) => (isOn ? [i === 0 ? null : name] : []));
  }

  #pick(): void {
    const { heldOut } = this.#data as { heldOut: Digits };
    const row = Math.floor(Math.random() * heldOut.y.length);
    const image = heldOut.x.data.slice(row * PIXELS, (row + 1) * PIXELS);
    this.#drawing.show(image);
    this.#take(image, heldOut.y[row]);
  }

  /** Another digit, or none, to ask about. */
  #take(image: ArrayLike<number> | undefined, label?: number): void {
    this.#image = image;
    this.#label = label;
    void this.#ask();
  }

  /** What the base and the adapters that are on say to the digit: rows of one batch. */
  async #ask(): Promise<void> {
    const turned = this.#turned.checked;
    const image = this.#image === undefined ? undefined : turned ? quarterTurn(this.#image) : this.#image;
    showSmall(element("train-small", HTMLCanvasElement), image);
    const table = element("train-answers", HTMLElement);
    const known = element("train-known", HTMLElement);
    const said = element("train-said", HTMLElement);
    const network = this.#network;
    const on = this.#on;
    const asked = ++this.#asking;
    if (image === undefined || network === undefined || on.length === 0 || this.#task.running) {
      table.replaceChildren();
      said.textContent = "";
      known.textContent = network === undefined ? "Train the network first." : "\u00a0";
      return;
    }
    const x = empty([on.length, PIXELS], "f32");
    for (const [i] of on.entries()) x.data.set(image, i * PIXELS);
    const output = await network.forward(x, on);
    const outputs = output.toTyped();
    const given = answers(output);
    for (const one of [x, output]) one.dispose();
    // another question has come
    if (asked !== this.#asking) return;
    const rows = given.map((answer, i) => {
      const sure = confidence(outputs.subarray(10 * i, 10 * i + 10), answer);
      const bar = make("meter", { min: "0", max: "1", value: `${sure}`, "aria-hidden": "true" });
      return make(
        "tr",
        {},
        make("th", { scope: "row" }, on[i] ?? "base"),
        make("td", { class: "answer" }, `${answer}`),
        make("td", {}, bar, ` ${percent(sure)}`),
      );
    });
    table.replaceChildren(...rows);
    const label = this.#label === undefined ? "" : `It is a ${this.#label}.`;
    known.textContent = label || "\u00a0";
    said.textContent = `${label} ${given.map((answer, i) => `${on[i] ?? "base"}: ${answer}`).join("; ")}`;
  }

  /** Every held-out digit with another adapter, in one batch and in a batch for each. */
  async #serve(): Promise<void> {
    const { heldOut } = this.#data as { heldOut: Digits };
    const on = this.#on;
    const served = element("train-served", HTMLElement);
    if (on.length === 0) {
      served.textContent = "Switch something on.";
      return;
    }
    const network = this.#network as Network;
    const count = heldOut.y.length;
    const adapters = Array.from({ length: count }, (_, i) => on[i % on.length] as string | null);
    await this.#task.run("Serving …", async () => {
      const batches: { adapter: string | null; rows: number[]; digits: Digits }[] = [];
      for (const [first, adapter] of on.entries()) {
        const rows = Array.from(heldOut.y.keys()).filter((row) => row % on.length === first);
        batches.push({
          adapter,
          rows,
          digits: await choose(
            heldOut,
            rows.map((row) => ({ row, turned: false })),
          ),
        });
      }
      const timed = async (x: Tensor, names: (string | null)[]) => {
        const start = performance.now();
        const output = await network.forward(x, names);
        return { output, time: performance.now() - start };
      };
      (await timed(heldOut.x, adapters)).output.dispose();
      const { output: mixed, time: together } = await timed(heldOut.x, adapters);
      let [apart, same] = [0, 0];
      for (const { adapter, rows, digits } of batches) {
        const { output: alone, time } = await timed(digits.x, new Array(rows.length).fill(adapter));
        apart += time;
        for (const [i, row] of rows.entries()) {
          for (let j = 0; j < 10; j++) if (mixed.data[10 * row + j] === alone.data[10 * i + j]) same++;
        }
        for (const one of [alone, digits.x]) one.dispose();
      }
      served.textContent =
        `${grouped(count)} digits for ${on.length} networks in one batch: ${duration(together)}; in a batch for each: ${duration(apart)}. ` +
        `${grouped(same)} of ${grouped(mixed.size)} outputs are the same bits.`;
      mixed.dispose();
    });
  }

  async #save(name: string): Promise<void> {
    const files = Object.entries(await (this.#network as Network).save(name));
    const zip = downloadZip(
      files.map(([file, input]) => ({ name: `${name}/${file}`, input, lastModified: new Date() })),
    );
    download(`${name}.zip`, await zip.blob());
  }
}

function everySecondTurned({ y }: Digits): { row: number; turned: boolean }[] {
  return Array.from(y, (_, row) => ({ row, turned: row % 2 === 0 }));
}

/** What the plot shows: where loss and accuracy began, and where they are. */
function inWords(points: readonly { loss?: number; accuracy?: number }[]): string {
  const range = (name: string, values: (number | undefined)[], show: (value: number) => string) => {
    const known = values.filter((value) => value !== undefined);
    return known.length === 0 ? [] : [`${name} from ${show(known[0] as number)} to ${show(known.at(-1) as number)}`];
  };
  const losses = points.map(({ loss }) => loss);
  const accuracies = points.map(({ accuracy: right }) => right);
  return [...range("loss", losses, threeDigits), ...range("accuracy", accuracies, percent)].join(", ");
}

/** The share of an answer in the softmax. */
function confidence(outputs: ArrayLike<number>, answer: number): number {
  const largest = outputs[answer] as number;
  return 1 / Array.from(outputs, (output) => Math.exp(output - largest)).reduce((sum, value) => sum + value, 0);
}

function showSmall(canvas: HTMLCanvasElement, image: ArrayLike<number> | undefined): void {
  const data = new ImageData(SIDE, SIDE);
  for (let i = 0; i < PIXELS; i++) {
    const gray = 255 * (image?.[i] ?? 0);
    data.data.set([gray, gray, gray, 255], 4 * i);
  }
  (canvas.getContext("2d") as CanvasRenderingContext2D).putImageData(data, 0, 0);
}
