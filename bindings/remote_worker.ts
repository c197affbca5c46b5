// The worker of lowrank/worker: computes what a page asks for, one call after the other. Long calls go in steps, between which
// messages are read. Objects live here; the page has their numbers.

import * as api from "./api.js";
import { type Attachment, attach, kernel } from "./load.js";
import * as lora from "./lora.js";
import type { Progress } from "./progress.js";
import { toPlain } from "./remote/errors.js";
import { CLASSES, OPTIONS_AT, WRITERS } from "./remote/table.js";
import {
  type Answer,
  type CopiedTensor,
  decodeValue,
  encode,
  type LentTensor,
  type Naming,
  type ObjectReference,
  type Request,
  type Target,
} from "./remote/wire.js";
import * as safetensors from "./safetensors.js";
import { inTurns, takeSteps } from "./scope.js";
import { Tensor } from "./tensor.js";
import { fromMessages, type Port } from "./threads.js";

type Callable = (...values: unknown[]) => unknown;
type Constructor = new (...values: unknown[]) => object;

const library = { ...api, ...lora, ...safetensors } as unknown as Record<string, Callable & Constructor>;
const port: Port = fromMessages();

const objects = new Map<number, object>();
const numbers = new WeakMap<object, number>();
/** Tensors of objects whose numbers the page looks at. */
const kept = new Map<number, Tensor>();
/** Tensors of objects of which the page has copies. */
const copied = new Map<number, WeakRef<Tensor>>();
let next = 1;

/** Arguments of the call that runs: what they are called, and handles that end with it. */
let lent = new Map<Tensor, number>();

function post(answer: Answer, transfer: Transferable[] = []): void {
  port.postMessage(answer, transfer);
}

const naming: Naming = {
  name(value, transfer) {
    if (value instanceof Tensor) return nameTensor(value, transfer);
    const name = classOf(value);
    if (name !== undefined) return refer(value, name);
    if (typeof ReadableStream === "function" && value instanceof ReadableStream) {
      transfer.push(value as unknown as Transferable);
    }
    return undefined;
  },
  view(value, transfer) {
    // views on kernel memory are copied; shared buffers cannot be kept alive from here
    const { memory } = kernel();
    if (value.buffer === memory.buffer || !(value.buffer instanceof ArrayBuffer)) {
      return (value as Float64Array).slice();
    }
    if (value.byteLength === value.buffer.byteLength) transfer.push(value.buffer);
    return value;
  },
  find(named) {
    switch (named.$) {
      case "lent": {
        const { id } = named as LentTensor;
        const tensor = Tensor.borrow(kernel(), named as LentTensor, { free: () => post({ type: "back", id }) });
        lent.set(tensor, id);
        return tensor;
      }
      case "numbers": {
        const { data, shape, id, own } = named as CopiedTensor;
        const original = own === undefined ? undefined : copied.get(own)?.deref();
        const tensor = original?.isAlive ? original.hold() : Tensor.fromArray(data, shape);
        if (original?.isAlive) tensor.data.set(data);
        lent.set(tensor, id as number);
        return tensor;
      }
      default: {
        const found = objects.get((named as ObjectReference).id);
        if (found === undefined) throw new Error("this object was disposed of");
        return found;
      }
    }
  },
};

function nameTensor(value: Tensor, transfer: Transferable[]) {
  const { shared } = kernel();
  const id = lent.get(value);
  const copy = () => {
    const data = value.toTyped();
    transfer.push(data.buffer as ArrayBuffer);
    return data;
  };
  if (id !== undefined) return { $: "argument" as const, id, ...(!shared && { data: copy() }) };
  const { dtype, shape, strides } = value;
  if (!shared) {
    const data = copy();
    if (!value.isHeld) value.dispose();
    else if (value.contiguous) {
      copied.set(next, new WeakRef(value));
      return { $: "numbers" as const, data, shape, own: next++ };
    }
    return { $: "numbers" as const, data, shape };
  }
  const record = value.isHeld ? undefined : value.giveAway();
  if (record !== undefined) return { $: "given" as const, record, dtype, shape };
  const own = value.hold();
  kept.set(next, own);
  const name = { $: "lent" as const, id: next++, dtype, shape, strides, pointer: own.pointer };
  if (!value.isHeld) value.dispose();
  return name;
}

/** Its name in the table. */
function classOf(value: object): string | undefined {
  return Object.keys(CLASSES).find((name) => value instanceof (library[name] as Constructor));
}

function refer(value: object, name: string): ObjectReference {
  let id = numbers.get(value);
  if (id === undefined || !objects.has(id)) {
    id = next++;
    numbers.set(value, id);
    objects.set(id, value);
  }
  return { $: "object", id, class: name };
}

function objectOf(id: number): Record<string, Callable> {
  const found = objects.get(id);
  if (found === undefined) throw Object.assign(new Error("this object was disposed of"), { code: "disposed" });
  return found as Record<string, Callable>;
}

/** Calls what a target names. */
function invoke(target: Target, values: unknown[], options: object): unknown {
  if ("function" in target) {
    const names = target.function.split(".");
    const f = names.reduce<unknown>((from, name) => (from as Record<string, unknown>)[name], library) as Callable;
    const place = OPTIONS_AT[target.function];
    if (place !== undefined) values[place] = { ...(values[place] as object | undefined), ...options };
    return f(...values);
  }
  if ("new" in target) return new (library[target.new] as Constructor)(...values);
  if ("static" in target) {
    const owner = library[target.of] as unknown as Record<string, Callable>;
    return (owner[target.static] as Callable)(...values);
  }
  const object = objectOf(target.of);
  if ("method" in target) return (object[target.method] as Callable)(...values);
  if ("get" in target) return object[target.get];
  object[target.set] = values[0] as Callable;
  return undefined;
}

/** What a target is called in the table. */
function nameOf(target: Target): string {
  if ("function" in target) return target.function;
  return "method" in target ? `${classOf(objectOf(target.of))}.${target.method}` : "";
}

/** Milliseconds between two reports of progress. */
const REPORT = 16;

async function call({ id, target, values, tells }: Request & { type: "call" }, signal: AbortSignal): Promise<void> {
  lent = new Map();
  const transfer: Transferable[] = [];
  let reported = Number.NEGATIVE_INFINITY;
  // those that report by themselves do so where a part is done
  const always = "function" in target && OPTIONS_AT[target.function] !== undefined;
  let last: Progress | undefined;
  const onProgress = (progress: Progress) => {
    last = progress;
    if (!always && performance.now() - reported < REPORT) return;
    reported = performance.now();
    last = undefined;
    post({ type: "progress", id, progress });
  };
  const options = { signal, ...(tells && { onProgress }) };
  let answer: Answer;
  try {
    signal.throwIfAborted();
    const given = decodeValue(values, naming) as unknown[];
    const begun = takeSteps(() => invoke(target, given, options));
    const value = "steps" in begun ? await inTurns(begun.steps, options) : await begun.value;
    if (last !== undefined) post({ type: "progress", id, progress: last });
    const written = !kernel().shared && WRITERS.includes(nameOf(target)) ? [...lent.keys()] : [];
    answer = {
      ...{ type: "result", id, value: encode(value, naming, transfer) },
      written: encode(written, naming, transfer),
    };
  } catch (error) {
    answer = { type: "error", id, error: toPlain(error) };
  }
  for (const tensor of lent.keys()) tensor.dispose();
  post(answer, transfer);
}

/** Requests that wait, and the one that runs. */
const queue: (Request & { type: "call" | "dispose" })[] = [];
let running: { id: number; controller: AbortController } | undefined;
let ending = false;

async function work(): Promise<void> {
  if (running !== undefined) return;
  for (let request = queue.shift(); request !== undefined && !ending; request = queue.shift()) {
    if (request.type === "dispose") {
      const object = objects.get(request.of) as { dispose?: () => void } | undefined;
      objects.delete(request.of);
      if (!request.forgotten) object?.dispose?.();
      continue;
    }
    const controller = new AbortController();
    running = { id: request.id, controller };
    await call(request, controller.signal);
    running = undefined;
  }
  if (ending) await end();
}

async function end(): Promise<void> {
  await api.terminate();
  post({ type: "ended" });
  port.close();
}

port.listen((data) => {
  const request = data as Request;
  switch (request.type) {
    case "start":
      attach(request.attachment as Attachment).then(
        (capabilities) => post({ type: "ready", capabilities }),
        (error: unknown) => post({ type: "broken", error: toPlain(error) }),
      );
      break;
    case "abort": {
      const waits = queue.findIndex((one) => one.type === "call" && one.id === request.id);
      if (running?.id === request.id) running.controller.abort();
      else if (waits >= 0) {
        queue.splice(waits, 1);
        post({ type: "error", id: request.id, error: toPlain(new Error("aborted")) });
      }
      break;
    }
    case "back":
      kept.get(request.id)?.dispose();
      kept.delete(request.id);
      copied.delete(request.id);
      break;
    case "end":
      ending = true;
      if (running === undefined) void end();
      else running.controller.abort();
      break;
    default:
      queue.push(request);
      void work();
  }
});
