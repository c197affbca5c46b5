// Opens a panel when its address is asked for: its code arrives then, and not before.

import { element } from "./ui/dom.js";
import { inWords } from "./ui/task.js";

const PANELS: Readonly<Record<string, () => Promise<{ open(section: HTMLElement): void }>>> = {
  picture: () => import("./picture/panel.js"),
  adapter: () => import("./adapter/panel.js"),
  train: () => import("./train/panel.js"),
  bench: () => import("./bench/panel.js"),
};

const opened = new Set<string>();
const opening = element("opening", HTMLElement);

async function show(name: string, byVisitor: boolean): Promise<void> {
  const isPanel = name in PANELS;
  for (const section of document.querySelectorAll<HTMLElement>("main > section")) {
    section.hidden = section.id !== (isPanel ? name : "start");
  }
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  opening.textContent = "";
  if (isPanel && !opened.has(name)) {
    opening.textContent = "Loading …";
    try {
      const { open } = await (PANELS[name] as () => Promise<{ open(section: HTMLElement): void }>)();
      // asked for twice before it arrived
      if (!opened.has(name)) open(element(name, HTMLElement));
      opened.add(name);
      opening.textContent = "";
    } catch (error) {
      opening.textContent = `This panel could not be loaded. ${inWords(error)} Reload the page to try again.`;
      return;
    }
  }
  if (location.hash.slice(1) !== name) return;
  const title = document.getElementById(`${isPanel ? name : "start"}-title`);
  document.title = isPanel ? `${title?.textContent} – lowrank` : "lowrank";
  if (byVisitor) {
    scrollTo(0, 0);
    title?.focus({ preventScroll: true });
  }
}

const wanted = () => location.hash.slice(1);
addEventListener("hashchange", () => {
  if (wanted() !== "main") void show(wanted(), true);
});
void show(wanted(), false);
