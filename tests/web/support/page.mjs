// A browser, pages in it, and what is watched on all of them: requests, errors, long tasks, jumps of the layout.

import { existsSync, mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { afterAll, beforeAll, expect, inject } from "vitest";

const SCREENSHOTS = fileURLToPath(new URL("../../../output/web/", import.meta.url));
/** What a task of the page's thread may take, in milliseconds. */
const LONG = 50;
/** How often something is measured until it keeps its promise: who shares the machine takes from it what they take. */
const ATTEMPTS = { page: 3, moment: 6 };

export function useBrowser() {
  const found = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const executablePath = found.find((path) => path !== undefined && existsSync(path));
  if (executablePath === undefined) throw new Error("no Chromium: install it, or name one in CHROMIUM");
  const quiet = ["quic", "gpu", "background-networking", "component-update", "sync"].map((what) => `--disable-${what}`);
  const used = {};
  beforeAll(async () => {
    mkdirSync(SCREENSHOTS, { recursive: true });
    used.browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--no-first-run", ...quiet] });
  });
  afterAll(() => used.browser?.close());
  return used;
}

/**
 * Opens a panel in a page of its own, gives it to `use`, and looks at what went on behind.
 *
 * @param options.isolated whether the server sends the headers; options.script runs in the page before its own; options.expected are
 *   errors that are no failures
 */
export async function withPage({ browser }, panel, options, use) {
  const { isolated = true, width = 1280, height = 1000, colorScheme = "light", script } = options;
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme,
    acceptDownloads: true,
    reducedMotion: options.reducedMotion ?? "no-preference",
  });
  try {
    const origin = inject("origin");
    const [requests, errors] = [[], []];
    context.on("request", (request) => requests.push(request.url()));
    const page = await context.newPage();
    page.on("pageerror", (error) => errors.push(error.stack));
    page.on("console", (message) => {
      if (message.type() === "error") errors.push(`${message.text()} ${message.location().url}`);
    });
    await page.addInitScript(watch);
    if (script !== undefined) await page.addInitScript(script);
    await page.goto(`${origin}/${isolated ? "isolated" : "plain"}/a/page/#${panel}`);
    if (panel !== "") await page.waitForSelector(`#${panel}-title`);
    expect(await page.evaluate("crossOriginIsolated")).toBe(isolated);
    const result = await use(page, { requests });
    const outside = requests.filter((url) => !url.startsWith(`${origin}/`) && !/^(blob|data):/.test(url));
    expect(outside, "requests to other places").toEqual([]);
    expect(
      errors.filter((error) => !options.expected?.test(error)),
      "errors of the page",
    ).toEqual([]);
    return result;
  } finally {
    // a test that failed left it
    await browser.stopTracing().catch(() => {});
    await context.close();
  }
}

/** In the page, before everything else. */
function watch() {
  globalThis.shifted = 0;
  new PerformanceObserver((list) => {
    for (const { value, hadRecentInput } of list.getEntries()) if (!hadRecentInput) globalThis.shifted += value;
  }).observe({ type: "layout-shift" });
}

/** The least of some measurements: of as many as it takes to keep a promise, or of all that are allowed. */
export async function least(promised, measure, attempts = ATTEMPTS.moment) {
  const measured = [];
  while (measured.length < attempts && !(Math.min(...measured) <= promised)) measured.push(await measure());
  return Math.min(...measured);
}

/**
 * Does something in a page, and again in another one if a task of the page's thread took too long.
 *
 * @param use as of withPage(); it calls record() and returns what longestTask() gives
 */
export async function expectFluent(used, panel, options, use) {
  const longest = await least(LONG, () => withPage(used, panel, options, use), ATTEMPTS.page);
  expect(longest, "longest task in ms").toBeLessThanOrEqual(LONG);
}

/** From here on what the page's threads do is recorded, until recorded(). */
export function record({ browser }, page) {
  const timeline = ["devtools.timeline", "disabled-by-default-devtools.timeline", "blink.user_timing"];
  return browser.startTracing(page, { categories: [...timeline, "disabled-by-default-v8.gc", "v8"] });
}

/** The events since record(): those of the page's thread, of its workers, and all. */
export async function recorded({ browser }) {
  const { traceEvents } = JSON.parse(await browser.stopTracing());
  const threads = traceEvents.filter(({ name }) => name === "thread_name");
  const of = (thread) => {
    const ids = threads.filter(({ args }) => args.name === thread).map(({ pid, tid }) => `${pid} ${tid}`);
    return traceEvents.filter(
      ({ ph, tdur, pid, tid }) => ph === "X" && tdur !== undefined && ids.includes(`${pid} ${tid}`),
    );
  };
  return { page: of("CrRendererMain"), workers: of("DedicatedWorker thread"), all: traceEvents };
}

/**
 * Milliseconds that the longest task of the page's thread computed: on a machine that is shared it may have waited for a core any
 * time longer. And nothing has jumped.
 *
 * @param trace of recorded()
 */
export async function longestTask(trace, page, what) {
  const tasks = trace.page.filter(({ name }) => name === "RunTask").sort((x, y) => y.tdur - x.tdur);
  expect(tasks.length).toBeGreaterThan(10);
  const [first] = tasks;
  const inside = trace.page.filter(
    ({ ts, dur, tdur }) => ts > first.ts && ts + dur <= first.ts + first.dur && tdur > 5000,
  );
  const parts = inside.map(({ name, args }) => `${name} ${args.data?.functionName ?? ""}`.trim());
  const longest = first.tdur / 1000;
  const waited = Math.max(...tasks.map(({ dur }) => dur / 1000));
  note(
    what,
    `longest task of the page's thread ${longest.toFixed(0)} ms of computing (${[...new Set(parts)].join(", ")}), ${waited.toFixed(0)} ms with waiting`,
  );
  const shift = await page.evaluate(() => globalThis.shifted);
  expect(shift, `layout shift: ${what}`).toBeLessThan(0.05);
  return longest;
}

/** Waits until the panel's task has ended, and gives what it says. */
export async function finished(page, panel, timeout = 60_000) {
  const isIdle = (id) => document.getElementById(`${id}-stop`).disabled;
  // the task may be about to begin
  await page.waitForTimeout(50);
  await page.waitForFunction(isIdle, panel, { timeout });
  return { text: await textOf(page, `${panel}-text`), error: await textOf(page, `${panel}-error`) };
}

/** Stops the panel's task when it has come so far, before it can end; what it says then. */
export async function stopAt(page, panel, progress) {
  const stop = ([name, least]) => {
    const [bar, button] = ["bar", "stop"].map((part) => document.getElementById(`${name}-${part}`));
    const isDue = button.checkVisibility({ visibilityProperty: true }) && bar.value > least;
    if (isDue) button.click();
    return isDue;
  };
  await page.waitForFunction(stop, [panel, progress]);
  return finished(page, panel, 5000);
}

export function textOf(page, id) {
  return page.locator(`#${id}`).textContent();
}

export function screenshot(page, name) {
  return page.screenshot({ path: `${SCREENSHOTS}${name}.png`, fullPage: true });
}

/** A measured number, for who reads the log. */
export function note(what, value) {
  process.stdout.write(`    ${what}: ${value}\n`);
}
