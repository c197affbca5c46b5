// The panel "Bench". What is measured is in cases.ts.

import type { Capabilities } from "lowrank";
import { copyText, offerCode } from "../ui/code.js";
import { chosen, element, make } from "../ui/dom.js";
import { Task, type TaskOptions } from "../ui/task.js";
import { digits, duration } from "../ui/text.js";
import html from "./panel.html?raw";
import type { Order } from "./worker.js";

interface Result {
  name: string;
  work: number;
  bars: { label: string; milliseconds: number; isOurs: boolean }[];
  /** Between the kernel's result and JavaScript's. */
  apart: number;
}

type Message =
  | { type: "ready"; capabilities: Capabilities }
  | { type: "measured"; i: number; name: string; work: number; ours: number; theirs?: number; apart?: number }
  | { type: "done" }
  | { type: "failed"; message: string };

const CASES = 3;

export function open(section: HTMLElement): void {
  section.innerHTML = html;
  offerCode(element("bench-code", HTMLElement), ["bench/cases.ts", "bench/worker.ts"]);
  new BenchPanel();
}

class BenchPanel {
  readonly #task = new Task("bench");
  readonly #copy = element("bench-copy", HTMLButtonElement);
  #results: Result[] = [];
  #capabilities: Capabilities | undefined;
  #dtype = "f32";

  constructor() {
    element("bench-run", HTMLButtonElement).addEventListener("click", () => void this.#run());
    this.#copy.addEventListener("click", () => void copyText(this.#markdown(), this.#copy));
    this.#show();
  }

  async #run(): Promise<void> {
    const dtype = chosen("bench-dtype") as Order["dtype"];
    await this.#task.run("Measuring …", async (options) => {
      this.#results = [];
      this.#dtype = dtype;
      this.#capabilities = await this.#measure({ dtype, threads: 1, plain: true }, 0, options);
      // where memory is shared, the same by all cores
      if (this.#capabilities.sharedMemory && navigator.hardwareConcurrency > 1) {
        this.#capabilities = await this.#measure({ dtype, threads: "auto", plain: false }, CASES, options);
      }
    });
    this.#show();
  }

  /** In a worker that is new, so that the engine knows one type of numbers. */
  #measure(order: Order, before: number, { signal, onProgress }: TaskOptions): Promise<Capabilities> {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    return new Promise<Capabilities>((resolve, reject) => {
      let capabilities: Capabilities | undefined;
      signal.addEventListener("abort", () => reject(signal.reason));
      worker.addEventListener("error", ({ message }) => reject(new Error(message || "the worker does not load")));
      worker.addEventListener("message", ({ data }: MessageEvent<Message>) => {
        if (data.type === "ready") capabilities = data.capabilities;
        else if (data.type === "failed") reject(new Error(data.message));
        else if (data.type === "done") resolve(capabilities as Capabilities);
        else {
          this.#take(data, capabilities as Capabilities);
          onProgress({ done: before + data.i + 1, total: 2 * CASES });
        }
      });
      worker.postMessage(order);
    }).finally(() => worker.terminate());
  }

  #take({ i, name, work, ours, theirs, apart }: Message & { type: "measured" }, { threads }: Capabilities): void {
    const label = `lowrank, ${threads === 1 ? "1 thread" : `${threads} threads`}`;
    const result = this.#results[i] ?? { name, work, bars: [], apart: apart ?? 0 };
    if (theirs !== undefined) result.bars.push({ label: "JavaScript", milliseconds: theirs, isOurs: false });
    result.bars.push({ label, milliseconds: ours, isOurs: true });
    this.#results[i] = result;
    this.#show();
  }

  #show(): void {
    this.#copy.disabled = this.#results.length === 0;
    element("bench-results", HTMLElement).replaceChildren(...this.#results.map(resultTable));
    if (this.#capabilities !== undefined) {
      const items = inWords(this.#capabilities).map((text) => make("li", {}, text));
      element("bench-capabilities", HTMLElement).replaceChildren(...items);
    }
  }

  #markdown(): string {
    const lines = this.#results.flatMap(({ name, work, bars }) =>
      bars.map(({ label, milliseconds }) => {
        const times = (bars[0]?.milliseconds ?? 0) / milliseconds;
        return `| ${name} | ${label} | ${digits(milliseconds)} | ${digits(work / milliseconds / 1e6)} | ${digits(times)} |`;
      }),
    );
    const about = this.#capabilities === undefined ? [] : inWords(this.#capabilities).map((text) => `- ${text}`);
    return [
      `lowrank ${this.#capabilities?.version ?? ""}, ${this.#dtype}, ${navigator.userAgent}`,
      "",
      "| | | ms | GFLOP/s | times JavaScript |",
      "|---|---|--:|--:|--:|",
      ...lines,
      "",
      ...about,
      "",
    ].join("\n");
  }
}

function resultTable({ name, work, bars, apart }: Result): HTMLElement {
  const best = Math.min(...bars.map(({ milliseconds }) => milliseconds));
  const rows = bars.map(({ label, milliseconds, isOurs }) => {
    const bar = make("div", { class: isOurs ? "bar ours" : "bar" });
    bar.style.width = `${(100 * best) / milliseconds}%`;
    const times = (bars[0]?.milliseconds ?? 0) / milliseconds;
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, label),
      make("td", { class: "wide" }, bar),
      make("td", {}, digits(work / milliseconds / 1e6)),
      make("td", {}, duration(milliseconds)),
      make("td", {}, isOurs ? `${digits(times)} ×` : ""),
    );
  });
  const head = ["By", "Rate", "GFLOP/s", "One run", "Faster"].map((text) => make("th", { scope: "col" }, text));
  return make(
    "table",
    {},
    make("caption", {}, name, make("small", {}, ` results agree to ${apart.toExponential(0)}`)),
    make("thead", {}, make("tr", {}, ...head)),
    make("tbody", {}, ...rows),
  );
}

function inWords({ version, build, threads, sharedMemory, isolated, reasons }: Capabilities): string[] {
  return [
    `Version ${version}, the ${build === "relaxed" ? "relaxed build: products with fused multiply-add" : "strict build: plain SIMD, the same bits in every browser"}.`,
    sharedMemory
      ? `Memory is shared, so ${threads === 1 ? "one thread computes" : `${threads} threads compute`} on it, and nothing is copied between them.`
      : "Memory is not shared: one thread computes, and numbers are copied between page and worker.",
    isolated
      ? "The page is isolated: its server sends Cross-Origin-Opener-Policy and Cross-Origin-Embedder-Policy."
      : "The page is not isolated. A server that sends Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp lets the kernel use several threads.",
    ...reasons.map((reason) => `Why not more: ${reason}.`),
  ];
}
