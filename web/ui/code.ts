// The code of a panel, to be read as the example of its API.

import { element, make } from "./dom.js";

const FILES: Readonly<Record<string, () => Promise<{ default: string }>>> = {
  "kernel.ts": () => import("../kernel.ts?raw"),
  "picture/decomposition.ts": () => import("../picture/decomposition.ts?raw"),
  "picture/sums.ts": () => import("../picture/sums.ts?raw"),
  "adapter/files.ts": () => import("../adapter/files.ts?raw"),
  "train/network.ts": () => import("../train/network.ts?raw"),
  "train/digits.ts": () => import("../train/digits.ts?raw"),
  "bench/cases.ts": () => import("../bench/cases.ts?raw"),
  "bench/worker.ts": () => import("../bench/worker.ts?raw"),
};

/** Buttons that show files. */
export function offerCode(host: HTMLElement, names: readonly string[]): void {
  host.append("The code of this panel: ");
  for (const [i, name] of names.entries()) {
    const button = make("button", { type: "button", class: "link" }, name);
    button.addEventListener("click", () => void show(name));
    const isLast = i === names.length - 1;
    host.append(make("span", { class: "whole" }, button, isLast ? "" : ","), isLast ? "" : " ");
  }
}

async function show(name: string): Promise<void> {
  const text = (await FILES[name]?.())?.default ?? "";
  element("code-title", HTMLElement).textContent = `web/${name}`;
  element("code-text", HTMLElement).textContent = text;
  const copy = element("code-copy", HTMLButtonElement);
  copy.onclick = () => void copyText(text, copy);
  element("code", HTMLDialogElement).showModal();
}

/** Puts text into the clipboard, and says so on the button. */
export async function copyText(text: string, button: HTMLButtonElement): Promise<void> {
  const label = button.dataset.label ?? button.textContent ?? "";
  button.dataset.label = label;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed here";
  }
  setTimeout(() => {
    button.textContent = label;
  }, 2000);
}
