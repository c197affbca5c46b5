import { init } from "lowrank";
import { beforeAll, expect, test } from "vitest";
import { makeCases } from "../../web/bench/cases.ts";
import {
  expectFluent,
  finished,
  longestTask,
  note,
  record,
  recorded,
  screenshot,
  stopAt,
  textOf,
  useBrowser,
  withPage,
} from "./support/page.mjs";

const used = useBrowser();

beforeAll(() => init());

const resultsOf = (page) =>
  page.locator("#bench-results table").evaluateAll((tables) =>
    tables.map((table) => ({
      caption: table.caption.textContent,
      rows: [...table.tBodies[0].rows].map((row) => [...row.cells].map(({ textContent }) => textContent)),
    })),
  );

test.each([true, false])("kernel and JavaScript agree, times and copy. Isolated: %s", async (isolated) => {
  await expectFluent(used, "bench", { isolated }, async (page) => {
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await record(used, page);
    await page.click("#bench-run");
    expect(await finished(page, "bench")).toMatchObject({ text: expect.stringMatching(/^Done/), error: "" });
    const longest = await longestTask(await recorded(used), page, `bench, ${isolated ? "isolated" : "not isolated"}`);
    const results = await resultsOf(page);
    const threads = isolated ? (await page.evaluate("navigator.hardwareConcurrency")) > 1 : false;
    expect(results.map(({ caption }) => caption.split(" results")[0])).toEqual(
      makeCases("f32").map(({ name }) => name),
    );
    for (const { caption, rows } of results) {
      expect(Number(/agree to (.*)$/.exec(caption)[1])).toBeLessThan(1e-4);
      expect(rows.map(([label]) => label.replace(/\d+ threads/, "threads"))).toEqual([
        "JavaScript",
        "lowrank, 1 thread",
        ...(threads ? ["lowrank, threads"] : []),
      ]);
      note(
        caption,
        rows.map(([label, , rate, time, times]) => `${label} ${rate} GFLOP/s, ${time} ${times}`).join("; "),
      );
      expect(Number.parseFloat(rows[1][4])).toBeGreaterThan(1);
    }
    const words = await textOf(page, "bench-capabilities");
    expect(words).toContain(isolated ? "Memory is shared" : "The page is not isolated");
    await page.click("#bench-copy");
    await page.waitForFunction(() => document.querySelector("#bench-copy").textContent === "Copied");
    const markdown = await page.evaluate(() => navigator.clipboard.readText());
    expect(markdown).toMatch(/^lowrank [\d.]+, f32, Mozilla/);
    expect(markdown.match(/^\| (Product|SVD|Layer)/gm).length).toBe(results.flatMap(({ rows }) => rows).length);
    if (isolated) await screenshot(page, "bench");
    return longest;
  });
});

test("a measurement can be stopped", async () => {
  await withPage(used, "bench", {}, async (page) => {
    await page.check("input[value=f64]");
    await page.click("#bench-run");
    expect((await stopAt(page, "bench", 0)).text).toMatch(/^Stopped after/);
  });
});

test("the cases compute the same in both, in Node too, and a wrong result would be seen", () => {
  for (const dtype of ["f32", "f64"]) {
    for (const { kernel, javascript, difference } of makeCases(dtype)) {
      javascript();
      expect(difference()).not.toBeLessThan(0.1);
      kernel();
      expect(difference()).toBeLessThan(dtype === "f32" ? 1e-4 : 1e-12);
    }
  }
});
