import { expect, test } from "vitest";
import { capabilities, svd } from "../bindings/index.js";
import { BUILD } from "./support/build.js";

test("build", () => {
  expect(capabilities().build).toBe(BUILD === "relaxed" ? "relaxed" : "simd");
  expect(
    svd([
      [3, 0],
      [0, 4],
    ]).s.toArray(),
  ).toEqual([4, 3]);
});
