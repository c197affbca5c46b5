// A page's end of a worker that computes: what is asked for and not answered yet, what is lent to it and what of it is here.

import { describe, expected } from "../check.js";
import { failure } from "../errors.js";
import { decode } from "../interop.js";
import { type Attachment, type Capabilities, isRunning, kernel, kernelModule, type Runtime } from "../load.js";
import { type Abortable, checkProgressTypes, type Progress } from "../progress.js";
import { callBack, turn } from "../scope.js";
import { arrayOf, bytesOf, type DType, Tensor } from "../tensor.js";
import type { Channel } from "../threads.js";
import { fromPlain, type PlainError } from "./errors.js";
import { Handle, handleNumber, makeHandle } from "./handle.js";
import {
  type Answer,
  type CopiedTensor,
  decodeValue,
  encode,
  type GivenTensor,
  type LentTensor,
  type Naming,
  type ObjectReference,
  type Request,
  type ReturnedTensor,
  type Target,
} from "./wire.js";

/** What every call takes beside its own options. */
export interface CallOptions {
  /** Called between steps of long calls. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** An AbortSignal: the call rejects with its reason, whether it waits or runs. */
  readonly signal?: Abortable | undefined;
  /** Without shared memory: typed arrays among the arguments are moved to the worker instead of copied. */
  readonly transfer?: boolean | undefined;
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: unknown): void;
  onProgress: CallOptions["onProgress"];
  /** Tensors among the arguments that a function may write into, by number: where memory is not shared. */
  written: Map<number, Tensor>;
  done(): void;
}

/** Milliseconds that a worker gets to end what it does. */
const END_LIMIT = 2000;
/** Bytes that are copied without a break: a millisecond. */
const PIECE = 2 ** 21;

/** Numbers of workers as owners of blocks: 1 is the thread that made the memory. */
let owners = 1;

/** @internal */
export class Connection {
  readonly #channel: Channel;
  readonly #runtime: Runtime;
  readonly #shared: boolean;
  readonly #owner: number;
  readonly #waiting = new Map<number, Waiting>();
  /** Handles on tensors that the worker looks at. */
  readonly #lent = new Map<number, Tensor>();
  readonly #borrowed = new Set<{ ended: boolean }>();
  readonly #handles = new Map<number, WeakRef<Handle>>();
  readonly #forgotten = new FinalizationRegistry<number>((id) => {
    // another handle on the same object may have been made since
    if (this.#handles.get(id)?.deref() === undefined) this.#release(id, true);
  });
  /** Where memory is not shared: what are copies of an object's own tensors, by their numbers in the worker. */
  readonly #owned = new WeakMap<Tensor, number>();
  readonly #unseen = new FinalizationRegistry<number>((id) => {
    if (this.#ended === undefined) this.#post({ type: "back", id });
  });
  #next = 1;
  /** Requests are posted in the order of their calls, whatever their arguments need. */
  #sending: Promise<unknown> = Promise.resolve();
  #ended: Error | undefined;
  #ending: Promise<void> | undefined;
  #whenEnded = () => {};
  capabilities: Capabilities | undefined;

  /** Starts computing on a worker; resolved when it is ready. */
  static async open(channel: Channel, options: Attachment["options"]): Promise<Connection> {
    const connection = new Connection(channel);
    await connection.#start(options);
    return connection;
  }

  private constructor(channel: Channel) {
    this.#channel = channel;
    this.#runtime = kernel();
    this.#shared = this.#runtime.shared;
    this.#owner = ++owners;
  }

  #start(options: Attachment["options"]): Promise<void> {
    const { memory, allocator } = this.#runtime;
    const shared = this.#shared && {
      memory,
      state: allocator.state,
      maximumBytes: allocator.maximumBytes,
      owner: this.#owner,
    };
    const attachment: Attachment = { module: kernelModule(), ...shared, options };
    return new Promise((resolve, reject) => {
      this.#channel.onEnd((error) => {
        this.#lose(error);
        reject(error);
      });
      this.#channel.listen((data) => {
        const answer = data as Answer;
        if (answer.type === "ready") {
          this.capabilities = answer.capabilities as Capabilities;
          this.#channel.hold(false);
          resolve();
        } else if (answer.type === "broken") {
          this.#channel.terminate();
          reject(fromPlain(answer.error as PlainError));
        } else {
          this.#take(answer);
        }
      });
      this.#channel.postMessage({ type: "start", attachment } satisfies Request, []);
    });
  }

  #post(request: Request, transfer: Transferable[] = []): void {
    this.#channel.postMessage(request, transfer);
  }

  #take(answer: Answer): void {
    if (answer.type === "back") {
      this.#lent.get(answer.id)?.dispose();
      this.#lent.delete(answer.id);
    } else if (answer.type === "ended") {
      this.#whenEnded();
    } else if (answer.type === "progress") {
      const waiting = this.#waiting.get(answer.id);
      try {
        waiting?.onProgress?.(answer.progress);
      } catch (error) {
        waiting?.reject(error);
        this.#post({ type: "abort", id: answer.id });
      }
    } else if (answer.type === "result" || answer.type === "error") {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if (this.#waiting.size === 0) this.#channel.hold(false);
      if (waiting === undefined) return;
      waiting.done();
      if (answer.type === "error") {
        // what runs is aborted by the end
        const error = fromPlain(answer.error as PlainError);
        waiting.reject(this.#ending === undefined ? error : failure("terminated", "terminate() was called", error));
        return;
      }
      const naming = this.#naming(waiting.written);
      decodeValue(answer.written, naming);
      waiting.resolve(decodeValue(answer.value, naming));
    }
  }

  /** Asks for something; the answer. */
  call(target: Target, values: readonly unknown[]): Promise<unknown> {
    const { onProgress, signal, transfer, own } = splitOptions(values);
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    if (signal?.aborted) return Promise.reject(signal.reason);
    const id = this.#next++;
    const written = new Map<number, Tensor>();
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        reject(signal?.reason);
        this.#post({ type: "abort", id });
      };
      const events = signal as Partial<EventTarget> | undefined;
      events?.addEventListener?.("abort", onAbort);
      const done = () => events?.removeEventListener?.("abort", onAbort);
      this.#waiting.set(id, { resolve, reject, onProgress, written, done });
      this.#channel.hold(true);
      const send = async () => {
        if (this.#ended !== undefined) return;
        const moved: Transferable[] = [];
        // arguments as they are now, but for large arrays, which are copied in pieces
        const placed = await this.#place(own, transfer === true, moved);
        const copies: Copies = new Map();
        if (!this.#shared) await copyTensors(placed, copies);
        if (signal?.aborted) return void this.#waiting.delete(id);
        const encoded = encode(placed, this.#naming(written, copies), moved, "arguments");
        this.#post({ type: "call", id, target, values: encoded, tells: onProgress !== undefined }, moved);
      };
      this.#sending = this.#sending.then(send).catch((error: unknown) => {
        this.#waiting.delete(id);
        if (this.#waiting.size === 0) this.#channel.hold(false);
        done();
        reject(error);
      });
    });
  }

  /** Ends an object in the worker, or with `forgotten` the interest in it. */
  dispose(id: number): void {
    this.#handles.delete(id);
    this.#release(id, false);
  }

  #release(id: number, forgotten: boolean): void {
    if (this.#ended !== undefined) return;
    this.#sending = this.#sending.then(() => this.#post({ type: "dispose", of: id, forgotten }));
  }

  /** Large arrays of numbers where the worker finds them; other arguments as they are. */
  async #place(values: readonly unknown[], moving: boolean, moved: Transferable[]): Promise<unknown[]> {
    const placed: unknown[] = [];
    for (const value of values) placed.push(await this.#placeOne(value, moving, moved));
    return placed;
  }

  async #placeOne(value: unknown, moving: boolean, moved: Transferable[]): Promise<unknown> {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    if (value instanceof Tensor || value instanceof Handle) return value;
    const foreign = "dataSync" in value || "to2DArray" in value || "dims" in value;
    // a sparse matrix has data and a shape, too
    const array = "data" in value && "shape" in value && ArrayBuffer.isView(value.data) && !("indices" in value);
    const strided = foreign || array ? decode(value, "argument") : undefined;
    const numbers = strided?.values ?? value;
    if (!(numbers instanceof Float32Array || numbers instanceof Float64Array)) {
      return strided === undefined ? value : { data: Float64Array.from(strided.values), shape: strided.shape };
    }
    const shape = strided?.shape ?? [numbers.length];
    const plain = strided?.strides === undefined;
    if (moving && !this.#shared && numbers.buffer instanceof ArrayBuffer) {
      moved.push(numbers.buffer);
      return strided === undefined ? value : { data: numbers, shape, ...stridesOf(strided) };
    }
    if (numbers.byteLength <= PIECE || !plain) {
      return strided === undefined ? value : { data: numbers, shape, ...stridesOf(strided) };
    }
    const dtype: DType = numbers instanceof Float32Array ? "f32" : "f64";
    if (!this.#shared) {
      const data = arrayOf(dtype, numbers.length);
      await copyInPieces(() => numbers, data);
      moved.push(data.buffer);
      return strided === undefined ? data : { data, shape };
    }
    const tensor = callBack(() => Tensor.allocate(this.#runtime, shape, dtype));
    await copyInPieces(() => numbers, tensor.data);
    const own = tensor.hold();
    tensor.dispose();
    return own;
  }

  #naming(written: Map<number, Tensor>, copies: Copies = new Map()): Naming {
    return {
      name: (value, transfer) => {
        if (value instanceof Tensor) return this.#nameTensor(value, written, copies, transfer);
        const id = handleNumber(value, this);
        if (id !== undefined) return { $: "object", id, class: "" };
        const operator = "apply" in value || "applyTransposed" in value;
        if (operator)
          throw new TypeError(
            expected("a", "a matrix: an operator's functions cannot run in a worker", describe(value)),
          );
        return undefined;
      },
      view: (value) => value,
      find: (named) => {
        switch (named.$) {
          case "given": {
            const { record, shape, dtype } = named as GivenTensor;
            return Tensor.adopt(this.#runtime, record, shape, dtype);
          }
          case "lent":
            return this.#borrow(named as LentTensor);
          case "numbers": {
            const { data, shape, own } = named as CopiedTensor;
            const tensor = Tensor.fromArray(data, shape);
            if (own !== undefined) {
              this.#owned.set(tensor, own);
              this.#unseen.register(tensor, own);
            }
            return tensor;
          }
          case "argument": {
            const { id, data } = named as ReturnedTensor;
            const tensor = (written.get(id) ?? this.#lent.get(id)) as Tensor;
            if (data !== undefined) tensor.data.set(data);
            return tensor;
          }
          default: {
            const { id, class: name } = named as ObjectReference;
            const known = this.#handles.get(id)?.deref();
            if (known !== undefined) return known;
            const made = makeHandle(this, id, name);
            this.#handles.set(id, new WeakRef(made));
            this.#forgotten.register(made, id);
            return made;
          }
        }
      },
    };
  }

  #nameTensor(
    value: Tensor,
    written: Map<number, Tensor>,
    copies: Copies,
    transfer: Transferable[],
  ): LentTensor | CopiedTensor {
    const id = this.#next++;
    written.set(id, value);
    const { dtype, shape, strides } = value;
    if (!this.#shared) {
      const data = copies.get(value) ?? value.toTyped();
      // a tensor may be among the arguments twice, a buffer moves once
      copies.delete(value);
      transfer.push(data.buffer as ArrayBuffer);
      return { $: "numbers", data, shape, id, own: this.#owned.get(value) };
    }
    if (!isRunning(this.#runtime)) throw failure("terminated", "terminate() ended the kernel of this tensor");
    const own = value.hold();
    this.#lent.set(id, own);
    return { $: "lent", id, dtype, shape, strides, pointer: own.pointer };
  }

  #borrow(named: LentTensor): Tensor {
    const owner = {
      ended: this.#ended !== undefined,
      free: () => {
        this.#borrowed.delete(owner);
        if (!owner.ended) this.#post({ type: "back", id: named.id });
      },
    };
    this.#borrowed.add(owner);
    return Tensor.borrow(this.#runtime, named, owner);
  }

  /** The worker is gone: nothing that waits will be answered, and what it had is free. */
  #lose(cause: unknown): void {
    if (this.#ended !== undefined) return;
    this.#ended = failure("terminated", "the worker has ended", cause);
    this.#whenEnded();
    for (const { reject, done } of this.#waiting.values()) {
      done();
      reject(this.#ended);
    }
    this.#waiting.clear();
    for (const owner of this.#borrowed) owner.ended = true;
    this.#borrowed.clear();
    for (const tensor of this.#lent.values()) tensor.dispose();
    this.#lent.clear();
    if (this.#shared && isRunning(this.#runtime)) this.#runtime.allocator.reclaim(this.#owner);
    this.#channel.hold(false);
  }

  /** Ends what runs and the worker. */
  terminate(): Promise<void> {
    this.#ending ??= this.#terminate();
    return this.#ending;
  }

  async #terminate(): Promise<void> {
    if (this.#ended === undefined) {
      this.#channel.hold(true);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, END_LIMIT);
        this.#whenEnded = () => {
          clearTimeout(timer);
          resolve();
        };
        this.#post({ type: "end" });
      });
    }
    this.#lose(new Error("terminate() was called"));
    await this.#channel.terminate();
  }
}

/** Splits what is meant for the call itself from the last argument. */
function splitOptions(values: readonly unknown[]): CallOptions & { own: unknown[] } {
  const last = values[values.length - 1];
  if (!isPlainObject(last)) return { own: [...values] };
  const { onProgress, signal, transfer, ...rest } = last as CallOptions & Record<string, unknown>;
  if (onProgress === undefined && signal === undefined && transfer === undefined) return { own: [...values] };
  checkProgressTypes({ onProgress, signal });
  const own = values.slice(0, -1);
  if (Object.keys(rest).length > 0) own.push(rest);
  return { onProgress, signal, transfer, own };
}

function stridesOf({ strides, offset }: { strides?: readonly number[]; offset?: number }) {
  return strides === undefined ? {} : { strides, offset: offset ?? 0 };
}

/** Copies of tensors for the worker, where memory is not shared. */
type Copies = Map<Tensor, Float32Array | Float64Array>;

/** Copies those tensors among arguments and their options whose copy takes long. */
async function copyTensors(value: unknown, copies: Copies): Promise<void> {
  if (value instanceof Tensor) {
    const { dtype, size } = value;
    if (!value.contiguous || size * bytesOf(dtype) <= PIECE || copies.has(value)) return;
    const copy = arrayOf(dtype, size);
    const own = value.hold();
    try {
      await copyInPieces(() => own.data, copy);
    } finally {
      own.dispose();
    }
    copies.set(value, copy);
  } else if (Array.isArray(value) || isPlainObject(value)) {
    if (typeof (value as unknown[])[0] === "number") return;
    for (const item of Object.values(value)) await copyTensors(item, copies);
  }
}

function isPlainObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/** Between pieces events get their turn. Memory may grow meanwhile: `from` is asked for its view each time. */
async function copyInPieces(from: () => Float32Array | Float64Array, to: Float32Array | Float64Array): Promise<void> {
  const step = PIECE / to.BYTES_PER_ELEMENT;
  for (let i = 0; i < to.length; i += step) {
    to.set(from().subarray(i, i + step), i);
    await turn();
  }
}
