// Values on their way from one thread to the other. Tensors and objects of the library are named, everything else is copied as
// postMessage() does it; on shared memory the numbers of a tensor stay where they are.

import type { Progress } from "../progress.js";
import type { DType } from "../tensor.js";

/** A tensor on shared memory that stays its owner's: the other thread says when it does not need it any more. */
export interface LentTensor {
  readonly $: "lent";
  readonly id: number;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly pointer: number;
}

/** A tensor on shared memory that is the receiver's from now on. */
export interface GivenTensor {
  readonly $: "given";
  readonly record: number;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** Numbers of a tensor, row-major, transferred. */
export interface CopiedTensor {
  readonly $: "numbers";
  readonly data: Float32Array | Float64Array;
  readonly shape: readonly number[];
  /** An argument that a function may write into, by its number: it comes back so. */
  readonly id?: number;
  /** An object's own tensor, by the number that its worker gave it. */
  readonly own?: number | undefined;
}

/** A tensor that the receiver gave: it has the numbers, or without shared memory they are here. */
export interface ReturnedTensor {
  readonly $: "argument";
  readonly id: number;
  readonly data?: Float32Array | Float64Array;
}

/** An object that lives in the worker. */
export interface ObjectReference {
  readonly $: "object";
  readonly id: number;
  readonly class: string;
}

/** Containers whose items may be named; `plain` for objects that have a property $, `text` for a toString() of their own. */
export interface Container {
  readonly $: "map" | "set" | "plain" | "text";
  readonly items: unknown;
}

export type Named = LentTensor | GivenTensor | CopiedTensor | ReturnedTensor | ObjectReference | Container;

/** What one thread knows of values: how to name its own, and what the other's names mean. */
export interface Naming {
  /** The name of a value of a class of the library; undefined for others. */
  name(value: object, transfer: Transferable[]): Named | undefined;
  /** A typed array as it is to be sent. */
  view(value: ArrayBufferView, transfer: Transferable[]): unknown;
  /** The value that a name of the other thread means. */
  find(named: Exclude<Named, Container>): unknown;
}

/** A value as it can be posted; `transfer` gets what moves instead of being copied. */
export function encode(value: unknown, naming: Naming, transfer: Transferable[], path = "value"): unknown {
  if (typeof value === "function" || typeof value === "symbol") {
    throw new TypeError(`"${path}" expected a value that can be sent to a worker, got a ${typeof value}`);
  }
  if (typeof value !== "object" || value === null) return value;
  if (ArrayBuffer.isView(value)) return naming.view(value, transfer);
  const named = naming.name(value, transfer);
  if (named !== undefined) return named;
  if (Array.isArray(value)) {
    // numbers alone need no look at each
    if (value.length === 0 || isNumeric(value)) return value;
    return value.map((item, i) => encode(item, naming, transfer, `${path}[${i}]`));
  }
  if (value instanceof Map) {
    const items = Array.from(value, ([key, item]) => [
      key,
      encode(item, naming, transfer, `${path}.get(${String(key)})`),
    ]);
    return { $: "map", items } satisfies Container;
  }
  if (value instanceof Set) {
    return { $: "set", items: Array.from(value, (item) => encode(item, naming, transfer, path)) } satisfies Container;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  const items: { [key: string]: unknown } = {};
  for (const [key, item] of Object.entries(value)) {
    items[key] =
      key === "toString" && typeof item === "function"
        ? ({ $: "text", items: String(value) } satisfies Container)
        : encode(item, naming, transfer, `${path}.${key}`);
  }
  return "$" in items ? ({ $: "plain", items } satisfies Container) : items;
}

/** Whether nested arrays hold numbers, by their first item. */
function isNumeric(value: readonly unknown[]): boolean {
  const [first] = value;
  return typeof first === "number" || (Array.isArray(first) && (first.length === 0 || isNumeric(first)));
}

/** The value that encode() made this of. */
export function decodeValue(value: unknown, naming: Naming): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    return value.length === 0 || isNumeric(value) ? value : value.map((item) => decodeValue(item, naming));
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  const kind = (value as { $?: Named["$"] }).$;
  if (kind === undefined) return decodeItems(value, naming);
  if (kind === "map") {
    const items = (value as Container).items as [unknown, unknown][];
    return new Map(items.map(([key, item]) => [key, decodeValue(item, naming)]));
  }
  if (kind === "set")
    return new Set(((value as Container).items as unknown[]).map((item) => decodeValue(item, naming)));
  if (kind === "text") return () => (value as Container).items;
  if (kind === "plain") return decodeItems((value as Container).items as object, naming);
  return naming.find(value as Exclude<Named, Container>);
}

function decodeItems(value: object, naming: Naming): object {
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, decodeValue(item, naming)]));
}

/** What a call is for. */
export type Target =
  | { readonly function: string }
  | { readonly new: string }
  | { readonly static: string; readonly of: string }
  | { readonly method: string; readonly of: number }
  | { readonly get: string; readonly of: number }
  | { readonly set: string; readonly of: number };

/** What a page posts. */
export type Request =
  | { readonly type: "start"; readonly attachment: unknown }
  | {
      readonly type: "call";
      readonly id: number;
      readonly target: Target;
      readonly values: unknown;
      readonly tells: boolean;
    }
  | { readonly type: "abort"; readonly id: number }
  | { readonly type: "dispose"; readonly of: number; readonly forgotten: boolean }
  | { readonly type: "back"; readonly id: number }
  | { readonly type: "end" };

/** What a worker posts. */
export type Answer =
  | { readonly type: "ready"; readonly capabilities: unknown }
  | { readonly type: "broken"; readonly error: unknown }
  | { readonly type: "result"; readonly id: number; readonly value: unknown; readonly written: unknown }
  | { readonly type: "error"; readonly id: number; readonly error: unknown }
  | { readonly type: "progress"; readonly id: number; readonly progress: Progress }
  | { readonly type: "back"; readonly id: number }
  | { readonly type: "ended" };
