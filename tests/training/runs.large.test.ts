// The training runs of examples/training: what they claim holds in what they return; the command line.

import { existsSync, readFileSync, rmSync } from "node:fs";
import { afterEach, describe, expect, test, vi } from "vitest";
import { capabilities } from "../../bindings/index.js";
import { loadAdapter } from "../../bindings/lora.js";
import * as config from "../../examples/training/config.mjs";
import * as digits from "../../examples/training/digits.mjs";
import { main } from "../../examples/training/main.mjs";
import * as ranks from "../../examples/training/ranks.mjs";
import * as svd from "../../examples/training/svd.mjs";
import { BUILD } from "../support/build.js";

interface Row {
  trainable: number;
  adapterBytes: number;
  accuracy: number;
}

type Adapted = "base" | "digit" | "mixed";

const step = () => {};
const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);

/** What a call prints, by stream. */
async function printed(call: () => unknown): Promise<{ out: string[]; err: string[] }> {
  const [out, err]: [string[], string[]] = [[], []];
  const log = vi.spyOn(console, "log").mockImplementation((...words) => void out.push(words.join(" ")));
  const error = vi.spyOn(console, "error").mockImplementation((...words) => void err.push(words.join(" ")));
  const write = vi.spyOn(process.stderr, "write").mockImplementation((text) => err.push(String(text)) > 0);
  const stdout = vi.spyOn(process.stdout, "write").mockImplementation((text) => out.push(String(text)) > 0);
  try {
    await call();
  } finally {
    for (const spy of [log, error, write, stdout]) spy.mockRestore();
  }
  return { out, err };
}

// once is enough: the runs take plain SIMD
describe.runIf(BUILD === "simd")("training runs", () => {
  test("train:digits: errors on the worst digit fall, and nothing of the base changes", {
    timeout: 300_000,
  }, async () => {
    const { usedBytes } = capabilities();
    rmSync("output/digits", { recursive: true, force: true });
    const result = await digits.trainDigits({ seed: 1, step });
    expect(capabilities().usedBytes).toBe(usedBytes);
    const { errors, worst, accuracy } = result;
    expect(result).toMatchObject({
      trained: 8000,
      heldOut: 2000,
      trainableParameters: 6_794,
      baseParameters: 2_807_010,
    });
    expect(result.percentOfBase.toFixed(3)).toBe("0.242");
    expect(result.line).toBe("trainable params: 6,794 || all params: 2,813,804 || trainable%: 0.2415");
    expect(sum(result.heldOutByDigit)).toBe(2000);
    expect(errors.base[worst]).toBe(Math.max(...errors.base));
    expect(errors.base[worst]).toBeGreaterThan(10);
    expect(errors.digit[worst]).toBeLessThanOrEqual(errors.base[worst] / 3);
    expect(errors.mixed[worst]).toBeLessThan(errors.base[worst]);
    expect(accuracy.mixed).toBeGreaterThanOrEqual(accuracy.base);
    expect(accuracy.base).toBeGreaterThan(0.9);
    for (const key of ["base", "digit", "mixed"] as Adapted[])
      expect(accuracy[key]).toBeCloseTo(1 - sum(errors[key]) / 2000, 12);
    expect(result).toMatchObject({ baseUnchanged: true, disabledIsBase: true, reloaded: true });
    // the files are PEFT's
    const read = (name: string) => readFileSync(`output/digits/mixed/${name}`);
    const file = await loadAdapter({
      "adapter_config.json": new Uint8Array(read("adapter_config.json")),
      "adapter_model.safetensors": new Uint8Array(read("adapter_model.safetensors")),
    });
    expect([...file.modules.keys()].sort()).toEqual(["linear1", "linear2", "linear3"]);
    expect(file.config).toMatchObject({ r: 1, loraAlpha: 1 });
    for (const adapter of file.modules.values()) adapter.dispose();
    const { out } = await printed(() => digits.print(result));
    expect(out.join("\n")).toContain(`worst on the ${worst}`);
    expect(out.join("\n")).not.toMatch(/NaN|undefined|NO/);
  });

  test("train:svd: accuracy grows with r and r′; the trade-off is plotted", { timeout: 300_000 }, async () => {
    const { usedBytes } = capabilities();
    rmSync("output/svd-lora.svg", { force: true });
    const result = await svd.trainSvd({ seed: 1, step, ranks: [10, 70], widths: [0, 10] });
    expect(capabilities().usedBytes).toBe(usedBytes);
    expect(result.rows.map(({ kind, trainable }) => [kind, trainable])).toEqual([
      ["svd", 10],
      ["svd", 210],
      ["svd", 70],
      ["svd", 1_470],
      ["lora", 10_400],
      ["full", 200_960],
    ]);
    const after = result.rows.map((row) => row.after) as [number, number, number, number, number, number];
    expect(after[1]).toBeGreaterThan(after[0]);
    expect(after[3]).toBeGreaterThan(after[1]);
    expect(after[3]).toBeGreaterThan(result.base);
    expect(after[5]).toBeGreaterThan(after[3]);
    // what is cut away costs accuracy before training gives it back
    expect(result.rows[0]?.before).toBeLessThan(result.base);
    const text = readFileSync("output/svd-lora.svg", "utf8");
    expect(text).toMatch(/^<svg [^>]*xmlns="http:\/\/www.w3.org\/2000\/svg"/);
    expect(text.match(/<circle /g)).toHaveLength(6);
    expect(text).not.toContain("NaN");
    for (const line of ["SVD r 10", "SVD r 70", "LoRA", "whole layer"]) expect(text).toContain(`>${line}</text>`);
    const { out } = await printed(() => svd.print(result));
    expect(out.join("\n")).not.toMatch(/NaN|undefined/);
  });

  test("train:config: rows of the comparison, counted", { timeout: 300_000 }, async () => {
    const { usedBytes } = capabilities();
    const names = config.CONFIGS.map(([name]) => name);
    expect(names.slice(0, 3)).toEqual(["Conservative", "Balanced", "Aggressive"]);
    const result = await config.trainConfig({ seed: 1, step, configs: config.CONFIGS.slice(0, 2) });
    expect(capabilities().usedBytes).toBe(usedBytes);
    const [first, second] = result.rows as [Row, Row];
    expect([first.trainable, second.trainable]).toEqual([2 * 4 * 1024, 8 * (1296 + 4 * 1024)]);
    for (const row of [...result.rows, result.full]) {
      expect([row.gradientBytes, row.optimizerBytes]).toEqual([4 * row.trainable, 8 * row.trainable]);
    }
    expect(result.full.trainable).toBe(784 * 512 + 4 * 512 * 512 + 512 * 10 + 5 * 512 + 10);
    expect(first.adapterBytes - 4 * first.trainable).toBeGreaterThan(0);
    expect(first.adapterBytes - 4 * first.trainable).toBeLessThan(2000);
    expect(result.modelBytes - 4 * result.full.trainable).toBeLessThan(2000);
    expect(first.accuracy).toBeGreaterThan(result.base);
    expect(second.accuracy).toBeGreaterThan(first.accuracy);
    const { out } = await printed(() => config.print(result));
    expect(out.join("\n")).not.toMatch(/NaN|undefined/);
  });

  describe("command line", () => {
    const argv = [...process.argv];
    afterEach(() => {
      process.argv.splice(0, process.argv.length, ...argv);
      process.exitCode = undefined;
    });
    const file = new URL("../../examples/training/ranks.mjs", import.meta.url);
    const start = (...options: string[]) => {
      process.argv.splice(0, process.argv.length, argv[0] as string, file.pathname, ...options);
      const run = (given: { step: unknown }) => ranks.trainRanks({ ...given, seeds: 1 });
      return printed(() => main({ url: file.href }, run, 5, ranks.print));
    };

    test("a training run with --json prints one JSON object and nothing else, its progress goes to standard error", async () => {
      const { out, err } = await start("--json");
      expect(out).toHaveLength(1);
      const result = JSON.parse(out[0] as string);
      expect(result.rows).toHaveLength(5);
      expect(result.seconds).toBeGreaterThan(0);
      expect(err.join("")).toContain("seed 0");
    });

    test("a training run prints a table; --help and wrong options say what there is", async () => {
      const { out } = await start();
      expect(out.join("\n")).toMatch(/rank.*compression.*published/);
      expect(out.join("\n")).not.toMatch(/NaN|undefined/);
      expect((await start("--help")).out.join("\n")).toMatch(/^The rank table.*--json/s);
      const wrong = await start("--fast");
      expect(wrong.out).toEqual([]);
      expect(wrong.err.join("\n")).toMatch(/--fast.*--json/s);
      expect(process.exitCode).toBe(2);
      // a module that was not started itself does nothing
      process.argv[1] = "/another/file.mjs";
      expect((await printed(() => main({ url: file.href }, step, 1, step))).out).toEqual([]);
      expect(existsSync(file)).toBe(true);
    });
  });
});
