// The examples run, and the numbers that they print are right.

import { readFileSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";
import { capabilities } from "../bindings/index.js";
import { BUILD } from "./support/build.js";

/** What an example prints; it must free what it takes. */
async function outputOf(name: string): Promise<string> {
  const { usedBytes } = capabilities();
  const lines: string[] = [];
  const log = vi.spyOn(console, "log").mockImplementation((...words) => void lines.push(words.join(" ")));
  try {
    await import(`../examples/${name}.mjs`);
  } finally {
    log.mockRestore();
  }
  expect(capabilities().usedBytes).toBe(usedBytes);
  return lines.join("\n");
}

/** The numbers of a text, in order. */
function numbersOf(text: string): number[] {
  return Array.from(text.matchAll(/-?\d+(\.\d+)?/g), ([number]) => Number(number));
}

// once is enough: what the builds compute is tested elsewhere
describe.runIf(BUILD === "simd")("examples", () => {
  test("digits: what NumPy finds", async () => {
    const text = await outputOf("digits");
    // by eigenvalues of the covariance matrix in f64: 17.41521 %, 85 components, 9.98970 %, and 80.89 % right
    expect(text.split("\n")).toEqual([
      "10000 digits of 784 pixels",
      "the first two components explain 17.42 % of the variance, 85 explain 90 %",
      "images given back from 85 numbers each lack 9.99 % of the variance",
      "the nearest mean names 80.89 % of the digits",
      "plot: output/digits.svg",
    ]);
    const svg = readFileSync("output/digits.svg", "utf8");
    expect(svg).toMatch(/^<svg [^>]*xmlns="http:\/\/www.w3.org\/2000\/svg"/);
    expect(svg.match(/<circle /g)).toHaveLength(1000);
    expect(svg).not.toContain("NaN");
    for (let digit = 0; digit < 10; digit++) expect(svg).toContain(`>${digit}</text>`);
  });

  test("speeches: the nearest are those that NumPy's exact SVD finds", async () => {
    const text = await outputOf("speeches");
    const lines = text.split("\n");
    expect(lines[0]).toBe("233 speeches, 13157 terms, 331112 counts that are not zero");
    // exactly 61.50 %
    expect(Math.abs((numbersOf(lines[1] as string)[1] as number) - 61.5)).toBeLessThan(0.15);
    const wanted = [
      [0.41, "1862 Abraham Lincoln", 0.33, "1863 Abraham Lincoln", 0.3, "1857 James Buchanan"],
      [0.71, "1895 Grover Cleveland", 0.61, "1877 Rutherford B Hayes", 0.43, "1885 Grover Cleveland"],
      [0.61, "1980 Jimmy Carter", 0.44, "1951 Harry S Truman", 0.44, "1979 Jimmy Carter"],
      [0.65, "2008 George W Bush", 0.64, "2007 George W Bush", 0.55, "2005 George W Bush"],
    ] as const;
    for (const [question, answers] of wanted.entries()) {
      // neighbours that are about as near may change places
      const found = new Map(lines.slice(3 + 4 * question, 6 + 4 * question).map((line) => [line.slice(7), line]));
      for (let i = 0; i < answers.length; i += 2) {
        const near = Number(found.get(answers[i + 1] as string)?.slice(2, 6));
        expect(Math.abs(near - (answers[i] as number)), String(answers[i + 1])).toBeLessThan(0.05);
      }
    }
  });

  test("ratings: the model fits as well as the noise allows, and predicts what it has not seen", async () => {
    const text = await outputOf("ratings");
    const [learned, kept] = numbersOf(text) as [number, number];
    expect(learned + kept).toBeGreaterThan(199_000);
    expect(learned + kept).toBeLessThan(201_000);
    const errors = (name: string) => numbersOf(text.split("\n").find((line) => line.startsWith(name)) as string);
    const [fit, unseen] = errors('"als"') as [number, number];
    // least squares with f·(users + items) free numbers among n ratings: noise·√(1 − p/n), and unseen √(1 + p/n)
    const free = (2500 * 7) / learned;
    expect(Math.abs(fit / (0.25 * Math.sqrt(1 - free)) - 1)).toBeLessThan(0.02);
    expect(Math.abs(unseen / (0.25 * Math.sqrt(1 + free)) - 1)).toBeLessThan(0.02);
    // what biases leave: the variance of six products of normal numbers, each 0.3 of them, and the noise
    const [left] = errors("mean and biases") as [number];
    expect(left / Math.sqrt(6 * 0.3 ** 2 + 0.25 ** 2)).toBeCloseTo(1, 1);
    const [, svdUnseen] = errors('"svd"') as [number, number];
    expect(svdUnseen).toBeLessThan(left);
    expect(svdUnseen).toBeGreaterThan(unseen);
    const items = text.match(/item .*/g) as string[];
    expect(items).toHaveLength(3);
    for (const line of items) {
      const [, predicted, truth] = numbersOf(line) as [number, number, number];
      expect(Math.abs(predicted - truth)).toBeLessThan(0.5);
    }
  });
});
