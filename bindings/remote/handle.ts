// Handles: objects of the library that live in a worker, as the page has them. Their methods and properties are those of the
// class, by the table, and all of them give promises.

import { failure } from "../errors.js";
import type { Connection } from "./connection.js";
import { CLASSES, namesIn } from "./table.js";

/** An object that lives in a worker. */
export class Handle {
  readonly #connection: Connection;
  readonly #id: number;
  #disposed = false;

  constructor(connection: Connection, id: number) {
    this.#connection = connection;
    this.#id = id;
  }

  /** The object's number; an Error after dispose(). */
  static numberOf(handle: Handle): { connection: Connection; id: number } {
    if (handle.#disposed) throw failure("disposed", "this object was disposed of");
    return { connection: handle.#connection, id: handle.#id };
  }

  /** Sets a property that can be set. */
  set(name: string, value: unknown): Promise<void> {
    const settable = namesIn(CLASSES[this.constructor.name]?.properties).includes(`=${name}`);
    if (!settable) return Promise.reject(new TypeError(`"${name}" expected a property that can be set`));
    return ask(this, (id) => ({ set: name, of: id }), [value]) as Promise<void>;
  }

  /** Disposes of the object in the worker, after the calls before; a second call does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#connection.dispose(this.#id);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

type TargetOf = (id: number) => Parameters<Connection["call"]>[0];

/** A call on a handle; an Error rejects. */
async function ask(handle: Handle, target: TargetOf, values: readonly unknown[]): Promise<unknown> {
  const { connection, id } = Handle.numberOf(handle);
  return connection.call(target(id), values);
}

/** A class of handles for every class of the table, made when it is first needed. */
const made = new Map<string, new (connection: Connection, id: number) => Handle>();

function classOf(name: string): new (connection: Connection, id: number) => Handle {
  const known = made.get(name);
  if (known !== undefined) return known;
  // the name as the library has it
  const found = { [name]: class extends Handle {} }[name] as new (connection: Connection, id: number) => Handle;
  const { methods, properties } = CLASSES[name] ?? { methods: "", properties: "" };
  for (const method of namesIn(methods)) {
    Object.defineProperty(found.prototype, method, {
      value(this: Handle, ...values: unknown[]) {
        return ask(this, (id) => ({ method, of: id }), values);
      },
    });
  }
  for (const property of namesIn(properties)) {
    const name = property.replace("=", "");
    Object.defineProperty(found.prototype, name, {
      get(this: Handle) {
        return ask(this, (id) => ({ get: name, of: id }), []);
      },
    });
  }
  made.set(name, found);
  return found;
}

export function makeHandle(connection: Connection, id: number, name: string): Handle {
  return new (classOf(name))(connection, id);
}

/** The number of a handle of this connection; undefined for other values. */
export function handleNumber(value: object, connection: Connection): number | undefined {
  if (!(value instanceof Handle)) return undefined;
  const { connection: its, id } = Handle.numberOf(value);
  if (its !== connection) throw new TypeError("an object of another worker cannot be sent to this one");
  return id;
}
