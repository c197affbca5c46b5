// What holds for all panels: what arrives when, who can use them, and where they fit.

import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { describe, expect, inject, test } from "vitest";
import { finished, note, screenshot, textOf, useBrowser, withPage } from "./support/page.mjs";
import { makePicture } from "./support/pictures.mjs";

const used = useBrowser();
const limits = JSON.parse(readFileSync(new URL("../../scripts/limits.json", import.meta.url)));
const axe = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const picture = makePicture(300, 220);

/** Each panel with something in it. */
const PANELS = {
  "": async () => {},
  picture: async (page) => {
    await page.setInputFiles("#picture-file", picture.path);
    await finished(page, "picture");
    await page.click("#picture details summary");
  },
  adapter: async (page) => {
    await page.click("#adapter-example");
    await finished(page, "adapter");
    await page.click("#adapter-extract");
    await finished(page, "adapter");
  },
  train: async (page) => {
    await page.click("#train-base");
    await finished(page, "train");
    await page.click("#train-adapter");
    await finished(page, "train");
    await page.click("#train-pick");
    await page.waitForSelector("#train-answers tr");
  },
  bench: async (page) => {
    await page.click("#bench-run");
    await finished(page, "bench");
  },
};

test("the first load is small, and panels and data come when they are asked for", async () => {
  await withPage(used, "", { isolated: false }, async (page, { requests }) => {
    await page.waitForLoadState("networkidle");
    const sizes = {};
    for (const url of new Set(requests.map((one) => one.split("#")[0]))) {
      const body = Buffer.from(await (await fetch(url)).arrayBuffer());
      sizes[url.slice(inject("origin").length)] = gzipSync(body, { level: 9 }).length;
    }
    const total = Object.values(sizes).reduce((sum, size) => sum + size, 0);
    note("first load, gzip", `${(total / 1000).toFixed(1)} kB in ${Object.keys(sizes).length} files`);
    expect(Object.keys(sizes).length).toBeGreaterThan(1);
    expect(total).toBeLessThan(limits.pageFirstLoadGzip);
    const before = requests.length;
    await page.click("nav a[href='#picture']");
    await page.waitForSelector("#picture-title");
    await page.waitForLoadState("networkidle");
    const files = requests.slice(before);
    expect(files.some((url) => /\.(jpg|bin|safetensors)$/.test(url))).toBe(false);
    let more = 0;
    for (const url of new Set(files)) more += gzipSync(Buffer.from(await (await fetch(url)).arrayBuffer())).length;
    note("opening the panel Picture, gzip", `${(more / 1000).toFixed(1)} kB more`);
    await page.check("input[value=boats]");
    await finished(page, "picture");
    expect(requests.some((url) => url.endsWith("boats.jpg"))).toBe(true);
  });
});

test("the page keeps to a policy that allows nothing but its own files", async () => {
  await withPage(used, "", { expected: /Content Security Policy/ }, async (page) => {
    const policy = await page.getAttribute("meta[http-equiv=Content-Security-Policy]", "content");
    expect(policy).toMatch(
      /^default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self';/,
    );
    const inline = await page.evaluate(() => {
      const script = document.createElement("script");
      script.textContent = "globalThis.ran = true";
      document.body.append(script);
      return globalThis.ran ?? false;
    });
    expect(inline).toBe(false);
  });
});

test("each panel shows its code, as it stands in the repository", async () => {
  await withPage(used, "", {}, async (page) => {
    for (const panel of Object.keys(PANELS).filter((name) => name !== "")) {
      await page.click(`nav a[href='#${panel}']`);
      const buttons = page.locator(`#${panel}-code button`);
      await buttons.first().waitFor();
      for (const name of await buttons.allTextContents()) {
        await buttons.getByText(name, { exact: true }).click();
        await page.waitForFunction(() => document.querySelector("#code").open);
        expect(await textOf(page, "code-title")).toBe(`web/${name}`);
        const text = readFileSync(new URL(`../../web/${name}`, import.meta.url), "utf8");
        expect(await textOf(page, "code-text")).toBe(text);
        // an example, not a listing
        expect(text.split("\n").length, name).toBeLessThan(200);
        await page.keyboard.press("Escape");
      }
      expect(await buttons.count()).toBeGreaterThan(1);
    }
  });
});

describe.each(Object.keys(PANELS))("panel %s", (panel) => {
  const name = panel || "start";

  test("has no serious finding of axe, light and dark", async () => {
    await withPage(used, panel, { reducedMotion: "reduce" }, async (page) => {
      await PANELS[panel](page);
      const ids = await page.locator("[id]").evaluateAll((all) => all.map(({ id }) => id));
      expect(ids.filter((id, i) => ids.indexOf(id) !== i)).toEqual([]);
      await page.evaluate(axe);
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        const { violations, passes } = await page.evaluate(() => globalThis.axe.run());
        const told = violations.map(
          ({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map(({ html }) => html).join(" ")}`,
        );
        expect(passes.length).toBeGreaterThan(10);
        expect(told.filter((line) => /^(serious|critical)/.test(line))).toEqual([]);
        if (told.length > 0) note(`axe, ${name}, ${colorScheme}`, told.join("\n      "));
      }
      await screenshot(page, `${name}-dark`);
    });
  });

  test("fits a phone of 360 pixels", async () => {
    await withPage(used, panel, { isolated: false, width: 360, height: 740 }, async (page) => {
      await PANELS[panel](page);
      const { wide, beyond } = await page.evaluate(() => ({
        wide: document.scrollingElement.scrollWidth,
        // what scrolls by itself may be wider inside
        beyond: [...document.querySelectorAll("main *")]
          .filter(
            (one) => one.getClientRects().length > 0 && one.closest(".scroll, .example, .plot, .frame, .file") === null,
          )
          .filter((one) => one.getBoundingClientRect().right > 361)
          .map((one) => `${one.tagName} ${one.id} ${one.className}`),
      }));
      expect(beyond).toEqual([]);
      expect(wide).toBeLessThanOrEqual(360);
      await screenshot(page, `${name}-360`);
    });
  });
});

test("by the keyboard: links, focus, slider, code", async () => {
  await withPage(used, "", {}, async (page) => {
    await page.keyboard.press("Tab");
    expect(await page.evaluate(() => document.activeElement.textContent)).toBe("Skip to the content");
    for (let i = 0; i < 2; i++) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement.id === "picture-title");
    expect(await page.title()).toBe("A photograph by its singular values – lowrank");
    expect(await page.getAttribute("nav a[href='#picture']", "aria-current")).toBe("page");
    await page.setInputFiles("#picture-file", picture.path);
    await finished(page, "picture");
    await page.focus("#picture-slider");
    await page.keyboard.press("Home");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    expect(await page.inputValue("#picture-rank")).toBe("3");
    expect(await page.getAttribute("#picture-slider", "aria-valuetext")).toMatch(/^rank 3, [\d.]+ % of the energy$/);
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    expect(outline).not.toBe("none");

    const code = page.locator("#picture-code button").first();
    await code.focus();
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector("#code").open);
    expect(await textOf(page, "code-text")).toBe(
      readFileSync(new URL("../../web/picture/decomposition.ts", import.meta.url), "utf8"),
    );
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => !document.querySelector("#code").open);
    expect(await page.evaluate(() => document.activeElement.textContent)).toBe("picture/decomposition.ts");

    // what was opened is still there
    await page.goto(`${page.url().split("#")[0]}#bench`);
    await page.waitForSelector("#bench-title");
    await page.goBack();
    expect(await page.inputValue("#picture-rank")).toBe("3");
  });
});

test("a panel that does not arrive is told of", async () => {
  await withPage(used, "", { expected: /ERR_FAILED/ }, async (page) => {
    await page.route("**/assets/panel-*.js", (route) => route.abort());
    await page.click("nav a[href='#train']");
    await page.waitForFunction(() => /could not be loaded/.test(document.querySelector("#opening").textContent));
  });
});
