// Files that a visitor gives, and those that the page brings.

import { bytes } from "./text.js";

/** Files by a file input, or dropped anywhere on a panel. */
export function acceptFiles(panel: HTMLElement, input: HTMLInputElement, f: (files: File[]) => void): void {
  input.addEventListener("change", () => {
    const files = [...(input.files ?? [])];
    // the same file may be chosen again
    input.value = "";
    if (files.length > 0) f(files);
  });
  panel.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    panel.classList.add("dropping");
  });
  panel.addEventListener("dragleave", ({ relatedTarget }) => {
    if (!(relatedTarget instanceof Node && panel.contains(relatedTarget))) panel.classList.remove("dropping");
  });
  panel.addEventListener("drop", (event) => {
    event.preventDefault();
    panel.classList.remove("dropping");
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length > 0) f(files);
  });
}

/** A file that comes with the page. */
export async function fetchData(name: string, signal?: AbortSignal): Promise<File> {
  const response = await fetch(new URL(`data/${name}`, document.baseURI), signal === undefined ? {} : { signal });
  if (!response.ok) throw new Error(`${name} does not arrive (HTTP ${response.status}): reload the page`);
  return new File([await response.blob()], name);
}

/** Writes the sizes of such files where the page names them. */
export function showSizes(root: ParentNode): void {
  for (const place of root.querySelectorAll<HTMLElement>("[data-size]")) {
    const names = (place.dataset.size as string).split(" ");
    place.textContent = `(${bytes(names.reduce((sum, name) => sum + (DATA[name] ?? 0), 0))})`;
  }
}
