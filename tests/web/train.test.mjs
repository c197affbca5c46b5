import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { tensor } from "lowrank";
import { loadAdapter } from "lowrank/lora";
import { beforeAll, expect, test, vi } from "vitest";
import { normalize, PIXELS, quarterTurn, SIDE } from "../../web/train/digits.ts";
import { accuracy, answers, Network } from "../../web/train/network.ts";
import { unzip } from "./support/models.mjs";
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

// the page's own code, with a worker of Node's
vi.mock("../../web/kernel.ts", async () => {
  const { connect } = await import("lowrank/worker");
  const remote = connect();
  return { worker: () => remote };
});

const used = useBrowser();
const [TRAINED, COUNT] = [8000, 10_000];
let trained;
let heldOut;

beforeAll(async () => {
  const { worker } = await import("../../web/kernel.ts");
  await worker("train");
  const bytes = gunzipSync(readFileSync(new URL("../../web/dist/data/digits.bin", import.meta.url)));
  const part = (first, end) => {
    const images = bytes.subarray(COUNT + first * PIXELS, COUNT + end * PIXELS);
    const x = tensor(
      Float32Array.from(images, (byte) => byte / 255),
      { shape: [end - first, PIXELS] },
    );
    return { x, y: new Uint8Array(bytes.subarray(first, end)) };
  };
  [trained, heldOut] = [part(0, TRAINED), part(TRAINED, COUNT)];
});

const tableOf = (page) =>
  page
    .locator("#train-table tr")
    .evaluateAll((rows) => rows.map((row) => [...row.children].map(({ textContent }) => textContent)));

async function train(page, what, choices = {}) {
  for (const [id, value] of Object.entries(choices)) {
    if (id === "rank") await page.fill("#train-rank", value);
    else await page.selectOption(`#train-${id}`, value);
  }
  await page.click(`#train-${what}`);
  return finished(page, "train");
}

/** Trains in Node, upright digits, as the page does. */
const lesson = (seed, epochs, rate) => {
  return {
    digits: trained,
    heldOut,
    seed,
    epochs,
    rate,
    signal: new AbortController().signal,
    onStep() {},
    onEpoch() {},
  };
};

test.each([true, false])("learns as in Node; adapters, switches, one batch for all. Isolated: %s", async (isolated) => {
  const own = await Network.learn(lesson(1, 2, 1e-3));
  const right = accuracy(await own.forward(heldOut.x, new Array(heldOut.y.length).fill(null)), heldOut.y);
  const line = await own.addLora("lora", 4, lesson(2, 1, 2e-3));
  await expectFluent(used, "train", { isolated }, async (page, { requests }) => {
    expect(requests.some((url) => url.endsWith("digits.bin"))).toBe(false);
    await record(used, page);
    const { text, error } = await train(page, "base");
    expect(error).toBe("");
    note(`784-256-10 on 8,000 digits, two epochs, ${isolated ? "isolated" : "not isolated"}`, text);
    const [base] = await tableOf(page);
    expect(Math.abs(Number.parseFloat(base[3]) / 100 - right)).toBeLessThan(0.01);

    expect((await train(page, "adapter", { method: "lora", rank: "4", lesson: "turned" })).error).toBe("");
    expect(await textOf(page, "train-line")).toBe(line);
    expect((await train(page, "adapter", { method: "svd", rank: "4", lesson: "turned" })).error).toBe("");
    // sigma (64), X (64, 4) and Y (4, 64)
    expect(await textOf(page, "train-line")).toMatch(/^trainable params: 576 \|\| all params: 204,106 /);
    expect((await train(page, "adapter", { method: "lora", rank: "2", lesson: "worst" })).error).toBe("");
    const [, lora, svd, worst] = await tableOf(page);
    const percent = (cell) => Number.parseFloat(cell);
    // each does what it was trained for, and the base cannot
    expect(percent(base[4])).toBeLessThan(30);
    expect(percent(lora[4])).toBeGreaterThan(65);
    expect(percent(svd[4])).toBeGreaterThan(40);
    expect(Number(worst[5])).toBeLessThan(0.7 * Number(base[5]));

    // a seven: upright, and on its side
    const box = await page.locator("#train-canvas").boundingBox();
    const at = (x, y) => [box.x + (x / 280) * box.width, box.y + (y / 280) * box.height];
    await page.mouse.move(...at(80, 60));
    await page.mouse.down();
    for (const point of [at(200, 60), at(130, 230)]) await page.mouse.move(...point, { steps: 5 });
    await page.mouse.up();
    const said = async (pattern) => {
      await page.waitForFunction(
        (text) => new RegExp(text).test(document.querySelector("#train-said").textContent),
        pattern,
      );
    };
    await said("^ base: 7; LoRA 4, on their side: 7");
    await page.check("#train-turned");
    await said("^ base: [^7]; LoRA 4, on their side: 7");
    const rows = await page.locator("#train-answers tr").allTextContents();
    expect(rows.length).toBe(4);
    expect(rows[0]).not.toMatch(/^base7/);
    // switched off, an adapter is not asked
    await page.getByLabel("LoRA 4, on their side is on", { exact: true }).uncheck();
    await page.waitForFunction(() => document.querySelectorAll("#train-answers tr").length === 3);
    await page.getByLabel("LoRA 4, on their side is on", { exact: true }).check();

    await page.click("#train-mixed");
    await finished(page, "train");
    const served = await textOf(page, "train-served");
    expect(served).toMatch(
      /^2,000 digits for 4 networks in one batch: .* 20,000 of 20,000 outputs are the same bits\.$/,
    );
    note("served", served);
    const longest = await longestTask(
      await recorded(used),
      page,
      `training, ${isolated ? "isolated" : "not isolated"}`,
    );
    if (isolated) await screenshot(page, "train");

    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByLabel("save LoRA 4, on their side", { exact: true }).click(),
    ]);
    const files = unzip(readFileSync(await download.path()));
    const { modules } = await loadAdapter(
      Object.fromEntries(Object.entries(files).map(([path, bytes]) => [path.split("/").at(-1), bytes])),
    );
    expect([...modules].map(([name, { r, alpha }]) => [name, r, alpha])).toEqual([
      ["hidden", 4, 8],
      ["output", 4, 8],
    ]);
    return longest;
  });
});

test("a training can be stopped, and begun again", async () => {
  await withPage(used, "train", {}, async (page) => {
    await page.click("#train-base");
    expect((await stopAt(page, "train", 0.1)).text).toMatch(/^Stopped after/);
    expect(await page.isDisabled("#train-adapter")).toBe(true);
    expect((await train(page, "base")).error).toBe("");
    await page.fill("#train-rank", "64");
    await page.click("#train-adapter");
    expect((await stopAt(page, "train", 0.1)).text).toMatch(/^Stopped after/);
    // nothing of it is left
    expect((await tableOf(page)).length).toBe(1);
    expect((await train(page, "adapter", { rank: "2" })).error).toBe("");
    expect((await tableOf(page)).length).toBe(2);
  });
});

test("without a pointer: a held-out digit by a button", async () => {
  await withPage(used, "train", {}, async (page) => {
    await train(page, "base");
    await page.focus("#train-pick");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => /^It is a \d\. base: \d$/.test(document.querySelector("#train-said").textContent));
  });
});

test("drawings are centred and scaled as MNIST's digits are", async () => {
  const count = 400;
  const images = Array.from({ length: count }, (_, row) => heldOut.x.data.subarray(row * PIXELS, (row + 1) * PIXELS));
  const scale = 10;
  const side = SIDE * scale;
  // each digit ten times as large, somewhere else
  const drawn = images.map((image, row) => {
    const shift = (row % 7) * 6 - 18;
    const ink = new Uint8Array(side * side);
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const from = Math.floor((y - shift) / scale) * SIDE + Math.floor((x + shift) / scale);
        const inside = y >= shift && y < side + shift && x + shift >= 0 && x + shift < side;
        if (inside) ink[y * side + x] = Math.round(255 * image[from]);
      }
    }
    return normalize(ink, side);
  });
  const apart = (some) =>
    images.reduce(
      (sum, image, row) => sum + image.reduce((one, value, i) => one + Math.abs(value - some[row][i]), 0),
      0,
    ) / images.reduce((sum, image) => sum + image.reduce((one, value) => one + value, 0), 0);
  expect(apart(drawn)).toBeLessThan(0.2);
  expect(apart(images.map(quarterTurn))).toBeGreaterThan(0.8);
  const own = await Network.learn(lesson(1, 1, 1e-3));
  const rightOf = async (some) => {
    const x = tensor(Float32Array.from(some.flatMap((image) => [...image])), { shape: [count, PIXELS] });
    const said = answers(await own.forward(x, new Array(count).fill(null)));
    return said.filter((answer, i) => answer === heldOut.y[i]).length / count;
  };
  expect(await rightOf(drawn)).toBeGreaterThan((await rightOf(images)) - 0.03);
  expect(normalize(new Uint8Array(side * side), side)).toBeUndefined();
});
