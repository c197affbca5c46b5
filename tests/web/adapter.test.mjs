import { readFileSync } from "node:fs";
import { init, norm, tensor } from "lowrank";
import { extractModel, loadAdapter, mergeModel, resizeAdapterFile } from "lowrank/lora";
import { openSafetensors, writeSafetensors } from "lowrank/safetensors";
import { beforeAll, describe, expect, test } from "vitest";
import { random } from "../../bench/support/random.mjs";
import { percent } from "../../web/ui/text.ts";
import { makeLargeModel, makeModels, unzip } from "./support/models.mjs";
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
import { fileOf } from "./support/temporary.mjs";

const used = useBrowser();
const example = (name) => readFileSync(new URL(`../../web/dist/data/${name}.safetensors`, import.meta.url));

beforeAll(() => init());

const layersOf = (page) =>
  page
    .locator("#adapter-layers tr")
    .evaluateAll((rows) => rows.map((row) => [...row.children].map(({ textContent }) => textContent)));

async function press(page, id) {
  await page.click(`#adapter-${id}`);
  return finished(page, "adapter");
}

async function fileFrom(page, id) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click(`#adapter-${id}`)]);
  return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
}

/** ‖x − y‖ / ‖y‖ */
function distance(x, y) {
  const [p, q] = [x.toTyped(), y.toTyped()];
  return (
    norm(
      tensor(
        p.map((value, i) => value - q[i]),
        { shape: [p.length, 1] },
      ),
    ) / norm(tensor(q, { shape: [q.length, 1] }))
  );
}

const withoutPicker = () => {
  delete globalThis.showSaveFilePicker;
};

/** What a file picker gives, with a file that is kept in the page. */
const withPicker = () => {
  globalThis.showSaveFilePicker = async ({ suggestedName }) => {
    const saved = { name: suggestedName, pieces: [], whole: false };
    globalThis.saved = saved;
    return {
      createWritable: async () =>
        new WritableStream({
          write: (piece) => void saved.pieces.push(piece),
          close: () => void Object.assign(saved, { whole: true }),
        }),
    };
  };
};

/** The merged model: as it was written into the picker's file, or as a download. */
async function mergedFrom(page, byPicker) {
  if (!byPicker) return fileFrom(page, "merge");
  expect((await press(page, "merge")).error).toBe("");
  const { name, whole, address } = await page.evaluate(async () => {
    const { pieces, ...saved } = globalThis.saved;
    const reader = new FileReader();
    await new Promise((resolve) => {
      reader.onload = resolve;
      reader.readAsDataURL(new Blob(pieces));
    });
    return { ...saved, address: reader.result };
  });
  expect(whole).toBe(true);
  return { name, bytes: Buffer.from(address.slice(address.indexOf(",") + 1), "base64") };
}

describe.each([true, false])("isolated: %s", (isolated) => {
  test("extracts, resizes, downloads and merges as Node does", async () => {
    // with a picker and without one, too
    const script = isolated ? withPicker : withoutPicker;
    await expectFluent(used, "adapter", { isolated, script }, async (page, { requests }) => {
      expect(requests.filter((url) => url.endsWith(".safetensors"))).toEqual([]);
      await record(used, page);
      expect((await press(page, "example")).text).toMatch(/^2 models opened/);
      expect((await layersOf(page)).map(([name]) => name)).toEqual(["first", "output", "second"]);
      await page.fill("#adapter-slider", "24");
      const { text } = await press(page, "extract");
      const [base, tuned] = [await openSafetensors(example("before")), await openSafetensors(example("after"))];
      const { file, report } = await extractModel(base, tuned, { rank: 24, maxRank: 64 });
      expect(text).toContain(`error against the models ${percent(report.error)}`);
      expect((await layersOf(page)).map((cells) => [cells[0], cells[2], cells[6]])).toEqual(
        report.layers.map(({ module, rank, error }) => [module, `${rank}`, percent(error)]),
      );

      await page.check("input[value=energy]");
      await page.fill("#adapter-slider", "6");
      expect(await textOf(page, "adapter-value")).toBe("90.0 %");
      const smaller = resizeAdapterFile(file, { energy: 0.9 });
      const rows = smaller.report.map(({ rank, error }) => [`${rank}`, percent(error)]);
      // predicted at once, and so it comes
      expect((await layersOf(page)).map((cells) => cells.slice(7))).toEqual(rows.map((row) => [...row, "–"]));
      await press(page, "resize");
      expect((await layersOf(page)).map((cells) => cells.slice(7))).toEqual(rows.map((row) => [...row, row[1]]));
      expect(await textOf(page, "adapter-actual")).toBe(await textOf(page, "adapter-predicted"));

      const { name, bytes } = await fileFrom(page, "download");
      expect(name).toBe("adapter.zip");
      const files = unzip(bytes);
      expect(Object.keys(files)).toEqual(["adapter/adapter_config.json", "adapter/adapter_model.safetensors"]);
      expect(JSON.parse(files["adapter/adapter_config.json"].toString())).toMatchObject({ peft_type: "LORA" });
      const loaded = await loadAdapter(files);
      for (const [module, adapter] of smaller.file.modules) {
        expect(loaded.modules.get(module).r).toBe(adapter.r);
        expect(distance(loaded.modules.get(module).delta(), adapter.delta())).toBeLessThan(1e-3);
      }

      const merged = await mergedFrom(page, isolated);
      expect(merged.name).toBe("before-merged.safetensors");
      await finished(page, "adapter");
      const longest = await longestTask(
        await recorded(used),
        page,
        `adapter, ${isolated ? "isolated" : "not isolated"}`,
      );
      const expected = await openSafetensors(new Response(mergeModel(base, smaller.file)));
      const got = await openSafetensors(merged.bytes);
      expect(got.names).toEqual(expected.names);
      for (const tensorName of got.names) {
        expect(got.info(tensorName)).toEqual(expected.info(tensorName));
        expect(distance(await got.tensor(tensorName), await expected.tensor(tensorName))).toBeLessThan(1e-4);
      }
      expect(distance(await got.tensor("first.weight"), await base.tensor("first.weight"))).toBeGreaterThan(1e-2);
      if (isolated) await screenshot(page, "adapter");

      // what was downloaded is understood
      await page.setInputFiles(
        "#adapter-file",
        Object.entries(files).map(([path, buffer]) => ({ name: path.slice(8), mimeType: "", buffer })),
      );
      expect(await finished(page, "adapter")).toMatchObject({
        text: expect.stringMatching(/^1 adapter opened/),
        error: "",
      });
      return longest;
    });
  });
});

test("a model that is wrong, and what to do about it", async () => {
  const before = example("before");
  const lora = {
    "base_model.model.q.lora_A.weight": tensor([[1, 2]]),
    "base_model.model.q.lora_B.weight": tensor([[1], [2]]),
  };
  const wrong = {
    "empty.safetensors": "",
    "cut.safetensors": before.subarray(0, 200_000),
    "words.safetensors": "these are words and no tensors",
    "model.bin": Buffer.from([0x80, 2, 0x7d, 0x71, 0, 0x2e]),
    "page.safetensors": "<!doctype html><html></html>",
    "adapter_model.safetensors": writeSafetensors(lora),
  };
  const files = Object.entries(wrong).map(([name, bytes]) => fileOf(name, bytes));
  await withPage(used, "adapter", {}, async (page) => {
    await page.setInputFiles("#adapter-file", files);
    const { error } = await finished(page, "adapter");
    const lines = error.split("\n");
    expect(lines.length).toBe(6);
    expect(lines[0]).toMatch(
      /^empty.safetensors: a safetensors file has at least 8 bytes, this one 0 .* Download or export it again\.$/,
    );
    expect(lines[1]).toMatch(/^cut.safetensors: .*the file is cut short.* Download or export it again\.$/);
    expect(lines[2]).toMatch(/^words.safetensors: the header's length/);
    expect(lines[3]).toMatch(/^model.bin: a pickled checkpoint .*convert it with safetensors/);
    expect(lines[4]).toMatch(/^page.safetensors: an HTML page instead of the file/);
    expect(lines[5]).toMatch(/^adapter_model.safetensors: .*choose adapter_config.json together with it/);
    for (const id of ["extract", "resize", "download", "merge"])
      expect(await page.isDisabled(`#adapter-${id}`)).toBe(true);
    // a right one works after that
    expect(await press(page, "example")).toMatchObject({ error: "" });
    expect(await page.isDisabled("#adapter-extract")).toBe(false);
    // models that do not belong together
    const [other] = makeModels(1, 32);
    await page.setInputFiles("#adapter-file", other);
    await finished(page, "adapter");
    expect((await press(page, "extract")).error).toMatch(/tuned model lacks/);
  });
});

test("an extraction can be stopped", async () => {
  const files = makeModels(12, 1024);
  await withPage(used, "adapter", {}, async (page) => {
    await page.setInputFiles("#adapter-file", files);
    await finished(page, "adapter");
    await page.click("#adapter-extract");
    expect((await stopAt(page, "adapter", 0)).text).toMatch(/^Stopped after/);
    expect(await page.isDisabled("#adapter-download")).toBe(true);
  });
});

test("models of any size are read in parts, merged into a file as it is made, or by the command", async () => {
  const width = 64;
  const numbers = (seed) => random("f32", width * width, seed);
  const [weight, change] = [numbers(1), numbers(2)];
  // who read all of it would not be done before the test's time is over
  const size = 2 ** 39;
  const before = makeLargeModel("large-before.safetensors", size, width, weight);
  const after = makeLargeModel(
    "large-after.safetensors",
    size,
    width,
    weight.map((value, i) => value + 0.01 * change[i]),
  );
  // what a file picker gives: a file on a disk that is slow after 200 MB
  const script = () => {
    globalThis.written = 0;
    globalThis.showSaveFilePicker = async () => ({
      createWritable: async () =>
        new WritableStream({
          write(piece) {
            globalThis.written += piece.length;
            return new Promise((resolve) => setTimeout(resolve, globalThis.written > 2e8 ? 100 : 0));
          },
          abort() {
            globalThis.aborted = true;
          },
        }),
    });
  };
  await withPage(used, "adapter", { script }, async (page) => {
    const start = performance.now();
    await page.setInputFiles("#adapter-file", [before, after]);
    expect((await finished(page, "adapter")).text).toMatch(/^2 models opened/);
    await press(page, "extract");
    note(
      "two models of 512 GiB: opened and the changed layer extracted in",
      `${(performance.now() - start).toFixed(0)} ms`,
    );
    const [row] = await layersOf(page);
    expect(row.slice(0, 3)).toEqual(["q_proj", "64 × 64", "16"]);
    await page.click("#adapter-merge");
    await page.waitForFunction(() => globalThis.written > 2e8);
    await page.click("#adapter-stop");
    expect((await finished(page, "adapter", 5000)).text).toMatch(/^Stopped after/);
    expect(await page.evaluate(() => globalThis.aborted)).toBe(true);
    await page.evaluate(withoutPicker);
    expect((await press(page, "merge")).text).toMatch(/Too large to be put together in memory/);
    expect(await textOf(page, "adapter-command-text")).toBe(
      "npx lowrank merge large-before.safetensors adapter/ -o large-before-merged.safetensors",
    );
  });
});
