// The error bounds on larger matrices of every decay.

import { expect, test } from "vitest";
import { DTYPES } from "../support/raw.js";
import { wrongBounds } from "./bounds.js";

test.each(DTYPES)("errorBound holds and is at most ten times the error on a thousand larger matrices, %s", (dtype) => {
  expect(wrongBounds(dtype, 1000, 250)).toEqual([]);
});
