// Errors on their way from one thread to the other: the class, the message and the fields stay.

import { ConvergenceError, FileFormatError, NonFiniteError, OutOfMemoryError } from "../errors.js";

/** An error as plain data. */
export interface PlainError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly fields: { readonly [key: string]: unknown };
  readonly cause?: PlainError;
}

const BUILTIN: { readonly [name: string]: new (message: string) => Error } = {
  Error,
  EvalError,
  RangeError,
  SyntaxError,
  TypeError,
};

const OWN: { readonly [name: string]: () => Error } = {
  NonFiniteError: () => new NonFiniteError("", [], 0),
  ConvergenceError: () => new ConvergenceError("", 0),
  OutOfMemoryError: () => new OutOfMemoryError(0, 0, 0),
  FileFormatError: () => new FileFormatError("", 0),
};

export function toPlain(error: unknown): PlainError {
  if (!(error instanceof Error)) return { name: "Error", message: String(error), stack: undefined, fields: {} };
  const fields: { [key: string]: unknown } = {};
  for (const key of Object.keys(error)) {
    const value = (error as unknown as Record<string, unknown>)[key];
    if (key !== "name" && isPlain(value)) fields[key] = value;
  }
  const plain = { name: error.name, message: error.message, stack: error.stack, fields };
  return error.cause === undefined ? plain : { ...plain, cause: toPlain(error.cause) };
}

function isPlain(value: unknown): boolean {
  if (Array.isArray(value)) return value.every(isPlain);
  return value === null || ["undefined", "string", "number", "boolean"].includes(typeof value);
}

export function fromPlain({ name, message, stack, fields, cause }: PlainError): Error {
  const error = OWN[name]?.() ?? new (BUILTIN[name] ?? Error)(message);
  Object.defineProperty(error, "message", { value: message, configurable: true, writable: true });
  if (stack !== undefined) Object.defineProperty(error, "stack", { value: stack, configurable: true, writable: true });
  if (cause !== undefined) {
    Object.defineProperty(error, "cause", { value: fromPlain(cause), configurable: true, writable: true });
  }
  return Object.assign(error, fields);
}
