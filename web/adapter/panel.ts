// The panel "Adapter". What is done with the files is in files.ts.

import { downloadZip } from "client-zip";
import { copyText, offerCode } from "../ui/code.js";
import { chosen, download, element, make, onChoice } from "../ui/dom.js";
import { acceptFiles, fetchData, showSizes } from "../ui/files.js";
import { Task } from "../ui/task.js";
import { bytes, digits, duration, grouped, percent } from "../ui/text.js";
import {
  type Adapter,
  extract,
  type Layer,
  type Model,
  merged,
  openFiles,
  predict,
  type Rule,
  release,
  resize,
  saved,
  together,
} from "./files.js";
import html from "./panel.html?raw";
import { sparkline } from "./sparkline.js";

/** A merged model that is put together in memory, where there is no way to write it as it is made. */
const LARGEST = 2 ** 30;
const ENERGIES = [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 0.9999, 1];

export function open(section: HTMLElement): void {
  section.innerHTML = html;
  showSizes(section);
  offerCode(element("adapter-code", HTMLElement), ["adapter/files.ts", "kernel.ts"]);
  new AdapterPanel(section);
}

type Picker = (options: {
  suggestedName: string;
}) => Promise<{ createWritable(): Promise<WritableStream<Uint8Array>> }>;

class AdapterPanel {
  readonly #task = new Task("adapter");
  readonly #slider = element("adapter-slider", HTMLInputElement);
  readonly #buttons = {
    extract: element("adapter-extract", HTMLButtonElement),
    resize: element("adapter-resize", HTMLButtonElement),
    download: element("adapter-download", HTMLButtonElement),
    merge: element("adapter-merge", HTMLButtonElement),
  };
  /** At most two: before and after. */
  #models: Model[] = [];
  /** The one that is shown, and that the slider is about. */
  #adapter: Adapter | undefined;
  /** What it was resized to, and the errors of that, layer by layer. */
  #resized: { adapter: Adapter; errors: number[] } | undefined;
  /** Where the slider was for each rule. */
  #position: Record<string, number> = { rank: 16, energy: 6 };

  constructor(section: HTMLElement) {
    acceptFiles(section, element("adapter-file", HTMLInputElement), (files) => void this.#open(async () => files));
    element("adapter-example", HTMLButtonElement).addEventListener(
      "click",
      () => void this.#open(() => Promise.all(["before", "after"].map((name) => fetchData(`${name}.safetensors`)))),
    );
    this.#slider.addEventListener("input", () => this.#describe());
    onChoice("adapter-rule", () => this.#changeRule());
    this.#buttons.extract.addEventListener("click", () => void this.#extract());
    this.#buttons.resize.addEventListener("click", () => void this.#resize());
    this.#buttons.download.addEventListener("click", () => void this.#download());
    this.#buttons.merge.addEventListener("click", () => void this.#merge());
    const copy = element("adapter-command-copy", HTMLButtonElement);
    copy.addEventListener("click", () => {
      void copyText(element("adapter-command-text", HTMLElement).textContent ?? "", copy);
    });
    this.#describe();
  }

  async #open(load: () => Promise<File[]>): Promise<void> {
    const found = await this.#task.run(
      "Reading headers …",
      async (options) => openFiles(await load(), options),
      ({ models, adapters }, time) => {
        const parts = [count(models.length, "model"), count(adapters.length, "adapter")].filter((text) => text !== "");
        return parts.length === 0 ? "" : `${parts.join(" and ")} opened in ${duration(time)}.`;
      },
    );
    if (found === undefined) return;
    this.#task.complain(found.problems.join("\n"));
    for (const model of found.models) this.#models.push(model);
    // the last two
    for (const { file } of this.#models.splice(0, Math.max(0, this.#models.length - 2))) file.close();
    const adapter = found.adapters.pop();
    for (const other of found.adapters) release(other);
    if (adapter !== undefined) this.#take(adapter);
    else this.#showLayers();
  }

  /** Another adapter takes the place of the one before. */
  #take(adapter: Adapter): void {
    for (const one of [this.#adapter, this.#resized?.adapter]) if (one !== undefined) release(one);
    this.#adapter = adapter;
    this.#resized = undefined;
    this.#showLayers();
  }

  get #rule(): Rule {
    const at = this.#slider.valueAsNumber;
    return chosen("adapter-rule") === "rank" ? { rank: at } : { energy: ENERGIES[at] as number };
  }

  #changeRule(): void {
    const rule = chosen("adapter-rule");
    this.#position[rule === "rank" ? "energy" : "rank"] = this.#slider.valueAsNumber;
    element("adapter-label", HTMLElement).textContent = rule === "rank" ? "Rank" : "Energy";
    this.#slider.min = rule === "rank" ? "1" : "0";
    this.#limitSlider();
    this.#slider.value = `${this.#position[rule]}`;
    this.#describe();
  }

  /** The slider ends where the ranks do. */
  #limitSlider(): void {
    const ranks = this.#adapter?.layers.map(({ rank }) => rank);
    const most = ranks === undefined || this.#canExtract ? 64 : Math.max(1, ...ranks);
    this.#slider.max = `${chosen("adapter-rule") === "rank" ? most : ENERGIES.length - 1}`;
  }

  get #canExtract(): boolean {
    return this.#models.length === 2;
  }

  async #extract(): Promise<void> {
    const [base, tuned] = this.#models as [Model, Model];
    const most = element("adapter-most", HTMLInputElement).valueAsNumber || 64;
    const made = await this.#task.run(
      "Extracting, layer by layer …",
      (options) => extract(base, tuned, this.#rule, most, options),
      ({ report }, time) => {
        const reasons = new Map<string, string[]>();
        for (const { name, reason } of report.skipped) reasons.set(reason, [...(reasons.get(reason) ?? []), name]);
        reasons.delete("unchanged");
        const rest = [...reasons].map(([reason, names]) => ` Not in it: ${names.join(", ")} (${reason}).`).join("");
        return `${count(report.layers.length, "layer")} in ${duration(time)}; error against the models ${percent(report.error)}.${rest}`;
      },
    );
    if (made !== undefined) this.#take(made.adapter);
  }

  async #resize(): Promise<void> {
    const before = this.#adapter as Adapter;
    const made = await this.#task.run("Resizing …", (options) => resize(before, this.#rule, options));
    if (made === undefined) return;
    if (this.#resized !== undefined) release(this.#resized.adapter);
    this.#resized = { adapter: made.adapter, errors: made.report.map(({ error }) => error) };
    this.#describe();
  }

  /** What is downloaded and merged. */
  get #result(): Adapter {
    return this.#resized?.adapter ?? (this.#adapter as Adapter);
  }

  /** PEFT's two files belong together in a folder, and browsers ask before they save a second file: so it is a zip. */
  async #download(): Promise<void> {
    await this.#task.run("Writing …", async () => {
      const files = Object.entries(await saved(this.#result));
      const zip = downloadZip(
        files.map(([name, input]) => ({ name: `adapter/${name}`, input, lastModified: new Date() })),
      );
      download("adapter.zip", await zip.blob());
    });
  }

  async #merge(): Promise<void> {
    const model = this.#models[0] as Model;
    const adapter = this.#result;
    const name = model.name.replace(/(\.safetensors)?$/, "-merged.safetensors");
    const picker = (globalThis as { showSaveFilePicker?: Picker }).showSaveFilePicker;
    const command = element("adapter-command", HTMLElement);
    command.hidden = picker !== undefined || model.bytes <= LARGEST;
    if (!command.hidden) {
      element("adapter-command-text", HTMLElement).textContent =
        `npx lowrank merge ${quoted(model.name)} adapter/ -o ${quoted(name)}`;
      this.#task.say("Too large to be put together in memory: see the command.");
      return;
    }
    let file: WritableStream<Uint8Array> | undefined;
    try {
      file = await (await picker?.({ suggestedName: name }))?.createWritable();
    } catch (error) {
      // no file was chosen
      if ((error as Error).name === "AbortError") return;
      this.#task.fail(error);
      return;
    }
    await this.#task.run(
      "Merging, a few rows at a time …",
      async ({ signal, onProgress }) => {
        let done = 0;
        const counted = new TransformStream<Uint8Array, Uint8Array>({
          transform(piece, controller) {
            done += piece.length;
            onProgress({ done, total: model.bytes });
            controller.enqueue(piece);
          },
        });
        const stream = await merged(model, adapter);
        const end = file ?? new TransformStream<Uint8Array, Uint8Array>();
        const pieces = "readable" in end ? new Response(end.readable).blob() : undefined;
        pieces?.catch(() => {});
        await stream.pipeThrough(counted, { signal }).pipeTo("readable" in end ? end.writable : end, { signal });
        if (pieces !== undefined) download(name, await pieces);
        return done;
      },
      (written, time) => `${name}: ${bytes(written)} in ${duration(time)}.`,
    );
  }

  /** The files, the table and what can be done with them. */
  #showLayers(): void {
    const list = element("adapter-files", HTMLElement);
    list.replaceChildren(
      ...this.#models.map((model, i) => {
        const role = this.#models.length === 1 ? "Model" : i === 0 ? "Before" : "After";
        const parts = `${bytes(model.bytes)}, ${count(model.modules.length, "module")}`;
        const swap = make("button", { type: "button", class: "link" }, "swap");
        swap.addEventListener("click", () => {
          this.#models.reverse();
          this.#showLayers();
        });
        const close = make("button", { type: "button", class: "link" }, "close");
        close.setAttribute("aria-label", `close ${model.name}`);
        close.addEventListener("click", () => {
          this.#models.splice(i, 1);
          model.file.close();
          this.#showLayers();
        });
        return make(
          "li",
          {},
          `${role}: `,
          make("strong", {}, model.name),
          ` (${parts}) `,
          ...(i === 1 ? [swap, " "] : []),
          close,
        );
      }),
      ...(this.#adapter === undefined ? [] : [make("li", {}, "Adapter: ", make("strong", {}, this.#adapter.name))]),
    );
    const rows = this.#adapter?.layers.map(layerRow) ?? this.#models[0]?.modules.map(moduleRow) ?? [];
    element("adapter-layers", HTMLElement).replaceChildren(...rows);
    this.#buttons.extract.disabled = !this.#canExtract;
    for (const name of ["resize", "download"] as const) this.#buttons[name].disabled = this.#adapter === undefined;
    this.#buttons.merge.disabled = this.#adapter === undefined || this.#models.length === 0;
    const target = this.#models[0];
    element("adapter-merge-hint", HTMLElement).textContent =
      target === undefined ? "choose a model, too" : `into ${target.name}, saved as a new file`;
    this.#limitSlider();
    this.#describe();
  }

  /** What follows the slider. */
  #describe(): void {
    const rule = this.#rule;
    const text = "rank" in rule ? `${rule.rank}` : percent(rule.energy);
    element("adapter-value", HTMLOutputElement).textContent = text;
    this.#slider.setAttribute("aria-valuetext", text);
    const set = (id: string, value: string) => {
      element(id, HTMLElement).textContent = value;
    };
    const resized = this.#resized;
    const summary = element("adapter-summary", HTMLElement);
    set("adapter-download-hint", `PEFT's two files, in a .zip${resized === undefined ? "" : ": the resized adapter"}`);
    if (this.#adapter === undefined) {
      const modules = this.#models[0]?.modules ?? [];
      const sides = modules.filter(({ kind }) => kind === "linear" || kind === "conv1d").map(({ shape }) => shape);
      const numbers = "rank" in rule ? sides.reduce((sum, shape) => sum + factorSize(shape, rule.rank), 0) : 0;
      set("adapter-size", numbers === 0 ? "–" : `${grouped(numbers)} when extracted`);
      set("adapter-predicted", "–");
      set("adapter-actual", "–");
      const next = this.#canExtract ? "Extract, to see what changed." : "Choose a second model, or an adapter.";
      summary.textContent = modules.length === 0 ? "No file yet." : `Modules of ${this.#models[0]?.name}. ${next}`;
      return;
    }
    const { layers, name } = this.#adapter;
    const predicted = layers.map((layer) => predict(layer, rule));
    const size = layers.reduce((sum, { shape }, i) => sum + factorSize(shape, predicted[i]?.rank ?? 0), 0);
    const now = layers.reduce((sum, { shape, rank }) => sum + factorSize(shape, rank), 0);
    set("adapter-size", `${grouped(size)} of ${grouped(now)}`);
    set(
      "adapter-predicted",
      percent(
        together(
          layers,
          predicted.map(({ error }) => error),
        ),
      ),
    );
    set("adapter-actual", resized === undefined ? "–" : percent(together(layers, resized.errors)));
    summary.textContent = `${count(layers.length, "layer")} of ${name}.`;
    for (const [i, row] of [...element("adapter-layers", HTMLElement).children].entries()) {
      const { rank, error } = predicted[i] as { rank: number; error: number };
      const computed = resized === undefined ? "–" : percent(resized.errors[i] ?? 0);
      const cells = [...row.querySelectorAll("td")].slice(-3);
      for (const [j, text] of [`${rank}`, percent(error), computed].entries())
        (cells[j] as HTMLElement).textContent = text;
    }
  }
}

/** Numbers in the two factors of a layer. */
function factorSize([m, n]: readonly number[], rank: number): number {
  return Math.min(rank, m as number, n as number) * ((m as number) + (n as number));
}

function layerRow({ module, shape, rank, norm, values, extraction }: Layer): HTMLElement {
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, module),
    make("td", {}, shape.join(" × ")),
    make("td", {}, `${rank}`),
    make("td", {}, digits(norm)),
    make("td", {}, digits(values[0] ?? 0)),
    make("td", {}, sparkline(values)),
    make("td", {}, extraction === undefined ? "–" : percent(extraction)),
    ...["–", "–", "–"].map((text) => make("td", {}, text)),
  );
}

function moduleRow({ name, kind, shape }: Model["modules"][number]): HTMLElement {
  const empty = Array.from({ length: 8 }, () => make("td", {}, "–"));
  return make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, `${shape.join(" × ")} ${kind}`), ...empty);
}

function count(n: number, what: string): string {
  return n === 0 ? "" : `${grouped(n)} ${what}${n === 1 ? "" : "s"}`;
}

/** A file name for a shell. */
function quoted(name: string): string {
  return /^[\w./-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`;
}
