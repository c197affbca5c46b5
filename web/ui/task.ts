// One long piece of work at a time in a panel: how far it is, a way to stop it, and what went wrong in words.

import { element, make } from "./dom.js";
import { duration } from "./text.js";

/** What the functions of the kernel take. */
export interface TaskOptions {
  signal: AbortSignal;
  onProgress(progress: { done: number; total: number }): void;
}

export class Task {
  readonly #text: HTMLElement;
  readonly #error: HTMLElement;
  readonly #bar: HTMLProgressElement;
  readonly #stop: HTMLButtonElement;
  #controller: AbortController | undefined;

  /** @param id of the panel: what is told stands in its element `${id}-task` and below */
  constructor(id: string) {
    this.#text = make("p", { id: `${id}-text`, role: "status" });
    this.#bar = make("progress", { id: `${id}-bar`, class: "unseen", "aria-label": "Progress", max: "1", value: "0" });
    this.#stop = make("button", { type: "button", id: `${id}-stop`, class: "unseen", disabled: "" }, "Stop");
    this.#stop.addEventListener("click", () => this.stop());
    this.#error = make("p", { id: `${id}-error`, class: "error", role: "alert" });
    const host = element(`${id}-task`, HTMLDivElement);
    host.append(this.#text, this.#bar, this.#stop);
    host.after(this.#error);
  }

  get running(): boolean {
    return this.#controller !== undefined;
  }

  /** Says something without doing anything. */
  say(text: string): void {
    this.#text.textContent = text;
  }

  /** Says what went wrong. */
  fail(error: unknown): void {
    this.complain(inWords(error));
  }

  complain(text: string): void {
    this.#error.textContent = text;
  }

  /** Stops what runs. */
  stop(): void {
    this.#controller?.abort(new DOMException("stopped by the visitor", "AbortError"));
  }

  /**
   * Runs f and shows how far it is; what ran before is stopped. Undefined if f was stopped or failed: the page has said so.
   *
   * @param doing what is shown meanwhile, and `done` what is shown afterwards; default: nothing but the time
   */
  async run<R>(
    doing: string,
    f: (options: TaskOptions) => Promise<R>,
    done = (_: R, milliseconds: number) => `Done in ${duration(milliseconds)}.`,
  ): Promise<R | undefined> {
    this.stop();
    const controller = new AbortController();
    this.#controller = controller;
    const isCurrent = () => this.#controller === controller;
    this.#error.textContent = "";
    this.say(doing);
    this.#show(true);
    const start = performance.now();
    try {
      const result = await f({
        signal: controller.signal,
        onProgress: ({ done, total }) => {
          if (isCurrent()) this.#bar.value = total > 0 ? done / total : 0;
        },
      });
      controller.signal.throwIfAborted();
      if (isCurrent()) this.say(done(result, performance.now() - start));
      return result;
    } catch (error) {
      if (!isCurrent()) return undefined;
      if (controller.signal.aborted) this.say(`Stopped after ${duration(performance.now() - start)}.`);
      else {
        this.say("");
        this.fail(error);
      }
      return undefined;
    } finally {
      if (isCurrent()) {
        this.#controller = undefined;
        this.#show(false);
      }
    }
  }

  /** The place of bar and button stays when they are not to be seen. */
  #show(running: boolean): void {
    this.#bar.value = 0;
    for (const one of [this.#bar, this.#stop]) one.classList.toggle("unseen", !running);
    this.#stop.disabled = !running;
  }
}

/** The library's messages say what is wrong; a few need what a visitor can do about it. */
export function inWords(error: unknown): string {
  const { message, code } = error as { message?: string; code?: string };
  const text = message ?? String(error);
  const sentence = `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
  if (code === "out_of_memory") return `${sentence} Close other panels or tabs, or take something smaller.`;
  if (code === "unsupported") return `${sentence} A newer browser will do: Chrome 91, Firefox 89, Safari 16.4.`;
  return sentence;
}
