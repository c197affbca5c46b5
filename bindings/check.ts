// Checks of arguments, and the one wording of their errors: argument, expected, got.
// A text is built only when a check fails.

/** `"b" expected shape (100, k), got (99, 3)`: the words of every argument error. */
export function expected(argument: string, what: string, got: string): string {
  return `"${argument}" expected ${what}, got ${got}`;
}

/** `(2, 3)`, `(4,)`, `()`. */
export function shapeText(shape: readonly number[]): string {
  return shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
}

/** What a value is, for the end of an error message. */
export function describe(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object") {
    const name = (value as { constructor?: { name?: unknown } }).constructor?.name;
    return typeof name === "string" && name !== "" ? name : "an object";
  }
  if (typeof value === "string") return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value === "function") return "a function";
  return typeof value === "bigint" ? `${value}n` : String(value);
}

/** An options object with known keys only; undefined becomes {}. */
export function checkOptions<O extends object>(
  value: O | undefined,
  known: readonly (keyof O & string)[],
  argument = "options",
): O {
  if (value === undefined) return {} as O;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError(expected(argument, "an object", describe(value)));
  }
  for (const key of Object.keys(value)) {
    if (!known.includes(key as keyof O & string)) {
      throw new TypeError(expected(argument, `only ${known.map((k) => `"${k}"`).join(", ")}`, `"${key}"`));
    }
  }
  return value;
}

/** An integer in [least, most]. */
export function checkInteger(value: unknown, argument: string, least: number, most: number): number {
  if (typeof value !== "number") throw new TypeError(expected(argument, "an integer", describe(value)));
  if (!Number.isInteger(value) || value < least || value > most) {
    const range = most === Number.MAX_SAFE_INTEGER ? `an integer >= ${least}` : `an integer in [${least}, ${most}]`;
    throw new RangeError(expected(argument, range, String(value)));
  }
  return value;
}

/** A finite number. */
export function checkFinite(value: unknown, argument: string): number {
  if (typeof value !== "number") throw new TypeError(expected(argument, "a number", describe(value)));
  if (!Number.isFinite(value)) throw new RangeError(expected(argument, "a finite number", String(value)));
  return value;
}

/** A finite number in [least, most]. */
export function checkNumberIn(value: unknown, argument: string, least: number, most: number): number {
  const number = checkFinite(value, argument);
  if (number < least || number > most) {
    throw new RangeError(expected(argument, `a number in [${least}, ${most}]`, String(number)));
  }
  return number;
}

/** A number of any kind, NaN and Infinity included: for factors of products. */
export function checkNumber(value: unknown, argument: string): number {
  if (typeof value !== "number") throw new TypeError(expected(argument, "a number", describe(value)));
  return value;
}

export function checkBoolean(value: unknown, argument: string): boolean {
  if (typeof value !== "boolean") throw new TypeError(expected(argument, "a boolean", describe(value)));
  return value;
}

/** One of a list of words. */
export function checkOneOf<W extends string>(value: unknown, argument: string, words: readonly W[]): W {
  if (typeof value === "string" && (words as readonly string[]).includes(value)) return value as W;
  const what = words.map((w) => `"${w}"`).join(" | ");
  throw new (typeof value === "string" ? RangeError : TypeError)(expected(argument, what, describe(value)));
}

/** The most elements that an axis or a tensor may have: more would not fit 4 GiB in any dtype. */
export const MAX_SIZE = 2 ** 30;

/** A list of axis lengths whose product is at most MAX_SIZE; a copy of it. */
export function checkShape(shape: unknown, argument: string): number[] {
  if (!Array.isArray(shape)) throw new TypeError(expected(argument, "an array of axis lengths", describe(shape)));
  const lengths = Array.from(shape, (length, axis) => checkInteger(length, `${argument}[${axis}]`, 0, MAX_SIZE));
  if (sizeOf(lengths) > MAX_SIZE) {
    throw new RangeError(expected(argument, `at most ${MAX_SIZE} elements`, shapeText(lengths)));
  }
  return lengths;
}

/** Rows and columns of a matrix that may have more elements than memory: a sparse one, an operator. */
export function checkMatrixShape(shape: unknown, argument: string): [m: number, n: number] {
  if (!Array.isArray(shape)) throw new TypeError(expected(argument, "an array of axis lengths", describe(shape)));
  if (shape.length !== 2) throw new RangeError(expected(argument, "two axis lengths", `${shape.length}`));
  const length = (axis: number) => checkInteger(shape[axis], `${argument}[${axis}]`, 0, MAX_SIZE);
  return [length(0), length(1)];
}

/** Product of axis lengths. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (let axis = 0; axis < shape.length; axis++) size *= shape[axis] as number;
  return size;
}
