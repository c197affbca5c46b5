// Many adapters over one base weight, in kernel memory: pages of one rank-row each (a row of A and a column of B), chained by the
// kernel (assembly/lora/serve.ts). Any rank takes its own number of pages wherever they are, so that nothing is padded
// and nothing is fragmented. Which pages belong to whom is known here: a list in order of use, in both directions.

import { checkInteger, checkOneOf, checkOptions, describe, expected, MAX_SIZE, shapeText } from "../check.js";
import { failure, OutOfMemoryError } from "../errors.js";
import { kernel } from "../load.js";
import { run } from "../scope.js";
import { bytesOf, type DType, Tensor } from "../tensor.js";
import { LoraAdapter } from "./adapter.js";

export interface AdapterPoolOptions<D extends DType = DType> {
  inFeatures: number;
  outFeatures: number;
  /** Bytes of factors that the pool holds at most; taken from kernel memory at once, with up to 192 more a rank-row. */
  capacityBytes: number;
  /** Default "f32". */
  dtype?: D;
}

export interface PoolStats {
  /** Adapters in the pool. */
  count: number;
  /** Bytes of their factors; a bias counts as one more rank. */
  usedBytes: number;
  capacityBytes: number;
  /** Rows that batchedLora() has served. */
  hits: number;
  /** Adapters that made room for others. */
  evictions: number;
}

/** @internal An adapter in the pool. */
export interface Entry {
  readonly id: string;
  /** Its first page, and how many it has. */
  page: number;
  pages: number;
  /** Rank, and address of its record. */
  r: number;
  record: number;
  pins: number;
  /** Used before it and after it. */
  older: Entry | undefined;
  newer: Entry | undefined;
  /** The call of batchedLora() that last named it, and its place there. */
  call: number;
  place: number;
}

/**
 * LoRA adapters of any rank for one layer, for batchedLora(). When the capacity is used up, the adapter that was not used for
 * the longest time goes. Factors are copied in: the adapter that was handed in may be disposed of.
 *
 * @example
 * ```ts
 * import { init, zeros } from "lowrank";
 * import { AdapterPool, batchedLora, LoraAdapter } from "lowrank/lora";
 * await init();
 * const pool = new AdapterPool({ inFeatures: 2, outFeatures: 2, capacityBytes: 2 ** 20, dtype: "f64" });
 * pool.register("sum", new LoraAdapter({ a: [[1, 1]], b: [[1], [0]] }));
 * pool.register("swap", new LoraAdapter({ a: [[0, 1], [1, 0]], b: [[1, 0], [0, 1]] }));
 * const y = batchedLora(zeros([3, 2]), [[1, 2], [1, 2], [1, 2]], pool, ["sum", "swap", null]);
 * console.log(y.toArray()); // [ [ 3, 0 ], [ 2, 1 ], [ 0, 0 ] ]
 * pool.dispose();
 * ```
 */
export class AdapterPool<D extends DType = "f32"> implements Disposable {
  readonly dtype: D;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly capacityBytes: number;
  readonly #memory: Tensor<D>;
  readonly #entries = new Map<string, Entry>();
  /** Bytes that a page counts, bytes from page to page. */
  readonly #counted: number;
  readonly #step: number;
  /** Pages: all, never used, and in the chain of free ones, which begins at #chain. */
  readonly #pages: number;
  #fresh: number;
  #free = 0;
  #chain = 0;
  #oldest: Entry | undefined;
  #newest: Entry | undefined;
  #hits = 0;
  #evictions = 0;
  #calls = 0;

  /**
   * @throws OutOfMemoryError if kernel memory does not hold the capacity; TypeError or RangeError for wrong options
   */
  constructor(options: AdapterPoolOptions<D>) {
    const given = checkOptions(options, ["inFeatures", "outFeatures", "capacityBytes", "dtype"]);
    this.inFeatures = checkInteger(given.inFeatures, "inFeatures", 0, MAX_SIZE);
    this.outFeatures = checkInteger(given.outFeatures, "outFeatures", 0, MAX_SIZE);
    this.capacityBytes = checkInteger(given.capacityBytes, "capacityBytes", 0, 2 ** 32);
    this.dtype = checkOneOf(given.dtype ?? "f32", "dtype", ["f32", "f64"] as const) as D;
    const size = bytesOf(this.dtype);
    this.#counted = Math.max(1, this.inFeatures + this.outFeatures) * size;
    this.#pages = Math.floor(this.capacityBytes / this.#counted);
    this.#fresh = this.#pages;
    const runtime = kernel();
    this.#step = runtime[this.dtype].loraPageBytes(this.inFeatures, this.outFeatures);
    const elements = (this.#pages * this.#step) / size;
    this.#memory = run(() => Tensor.allocate(runtime, [elements], this.dtype).hold());
  }

  /** Names of the adapters in the pool, the one that was not used for the longest time first. */
  get ids(): string[] {
    const ids: string[] = [];
    for (let entry = this.#oldest; entry !== undefined; entry = entry.newer) ids.push(entry.id);
    return ids;
  }

  /** Whether an adapter is in the pool; asking does not count as a use. */
  has(id: string): boolean {
    return this.#entries.has(id);
  }

  /** How full the pool is, and what it has served since it was made. */
  stats(): PoolStats {
    return {
      count: this.#entries.size,
      usedBytes: (this.#pages - this.#available) * this.#counted,
      capacityBytes: this.capacityBytes,
      hits: this.#hits,
      evictions: this.#evictions,
    };
  }

  get #available(): number {
    return this.#fresh + this.#free;
  }

  /**
   * Copies an adapter in. Over a taken id it takes the other one's place from the next call on, and that one's pins.
   *
   * @throws TypeError for a DoRA adapter, whose magnitude belongs to the base's rows, or another dtype; RangeError for
   *   another shape; OutOfMemoryError if it is larger than the capacity, or than what is not pinned: the pool is as before then
   */
  register(id: string, adapter: LoraAdapter): void {
    this.#memory.alive();
    checkId(id, "id");
    if (!(adapter instanceof LoraAdapter)) {
      throw new TypeError(expected("adapter", "a LoraAdapter", describe(adapter)));
    }
    const { a, b, bias, r, magnitude } = adapter;
    if (magnitude !== undefined) {
      throw new TypeError(expected("adapter", "an adapter without a magnitude (DoRA)", "one with a magnitude"));
    }
    if (adapter.dtype !== this.dtype) {
      throw new TypeError(expected("adapter", `${this.dtype} as the pool`, adapter.dtype));
    }
    if (adapter.inFeatures !== this.inFeatures || adapter.outFeatures !== this.outFeatures) {
      const fits = `a: (r, ${this.inFeatures}) and b: (${this.outFeatures}, r)`;
      throw new RangeError(expected("adapter", fits, `${shapeText(a.shape)} and ${shapeText(b.shape)}`));
    }
    const from = [a.pointer, b.pointer, bias?.pointer ?? 0] as const;
    const pages = r + (bias === undefined ? 0 : 1);
    const known = this.#entries.get(id);
    this.#makeRoom(pages, known);
    run((runtime) => {
      const routines = runtime[this.dtype];
      if (this.#free < pages) {
        const count = pages - this.#free;
        const first = this.#memory.pointer + (this.#pages - this.#fresh) * this.#step;
        routines.loraLinkPages(count, first, this.#step, this.#chain);
        this.#chain = first;
        this.#fresh -= count;
        this.#free = pages;
      }
      const page = this.#chain;
      // addresses come back signed
      this.#chain = routines.loraWritePages(this.inFeatures, this.outFeatures, r, ...from, adapter.scaling, page) >>> 0;
      this.#free -= pages;
      const entry = known ?? {
        ...{ id, page, pages, r, record: 0, pins: 0, call: 0, place: 0 },
        older: undefined,
        newer: undefined,
      };
      Object.assign(entry, { page, pages, r, record: routines.loraPagesRecord(page) >>> 0 });
      this.#entries.set(id, entry);
      if (known !== undefined) this.#unlink(entry);
      this.#append(entry);
    });
  }

  /** Frees `pages` pages: those of `own`, which is about to be written anew, then those used longest ago. */
  #makeRoom(pages: number, own: Entry | undefined): void {
    let most = this.#available + (own?.pages ?? 0);
    for (let entry = this.#oldest; entry !== undefined && most < pages; entry = entry.newer) {
      if (entry.pins === 0 && entry !== own) most += entry.pages;
    }
    if (most < pages) {
      const asked = pages * this.#counted;
      throw new OutOfMemoryError(asked, most * this.#counted, this.capacityBytes, "adapter pool");
    }
    if (own !== undefined) this.#freePages(own);
    let entry = this.#oldest;
    while (this.#available < pages && entry !== undefined) {
      const next: Entry | undefined = entry.newer;
      if (entry.pins === 0 && entry !== own) {
        this.#drop(entry);
        this.#evictions++;
      }
      entry = next;
    }
  }

  #freePages(entry: Entry): void {
    kernel()[this.dtype].loraFreePages(entry.pages, entry.page, this.#chain);
    this.#chain = entry.page;
    this.#free += entry.pages;
    entry.pages = 0;
  }

  #drop(entry: Entry): void {
    this.#freePages(entry);
    this.#unlink(entry);
    this.#entries.delete(entry.id);
  }

  #unlink(entry: Entry): void {
    const { older, newer } = entry;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    entry.older = undefined;
    entry.newer = undefined;
  }

  #append(entry: Entry): void {
    entry.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = entry;
    else this.#newest.newer = entry;
    this.#newest = entry;
  }

  /**
   * Takes an adapter out.
   *
   * @throws RangeError (code "adapter_not_found") for an unknown id; Error (code "adapter_in_use") if it is pinned
   */
  remove(id: string): void {
    const entry = this.#find(id, "id");
    if (entry.pins > 0) {
      const holders = entry.pins === 1 ? "once" : `${entry.pins} times`;
      throw failure("adapter_in_use", `adapter ${describe(id)} is pinned ${holders}: unpin() it first`);
    }
    this.#drop(entry);
  }

  /** Keeps an adapter from being evicted or removed until unpin() was called as often. Throws as remove(). */
  pin(id: string): void {
    this.#find(id, "id").pins++;
  }

  /** @throws RangeError (code "adapter_not_found") for an unknown id; RangeError if it is not pinned */
  unpin(id: string): void {
    const entry = this.#find(id, "id");
    if (entry.pins === 0) throw new RangeError(expected("id", "a pinned adapter", describe(id)));
    entry.pins--;
  }

  #find(id: unknown, argument: string): Entry {
    this.#memory.alive();
    checkId(id, argument);
    const entry = this.#entries.get(id as string);
    if (entry !== undefined) return entry;
    throw Object.assign(new RangeError(expected(argument, "an adapter in the pool", describe(id))), {
      code: "adapter_not_found" as const,
    });
  }

  /** @internal A number for a call of batchedLora(), which tells its adapters from those of others. */
  beginCall(): number {
    this.#memory.alive();
    return ++this.#calls;
  }

  /** @internal The adapter of row i. */
  lookUp(id: unknown, i: number): Entry {
    const entry = typeof id === "string" ? this.#entries.get(id) : undefined;
    return entry ?? this.#find(id, `ids[${i}]`);
  }

  /** @internal Counts a row and makes its adapter the newest. */
  touch(entry: Entry): void {
    this.#hits++;
    if (entry === this.#newest) return;
    this.#unlink(entry);
    this.#append(entry);
  }

  /** Gives the memory back, also of pinned adapters. */
  dispose(): void {
    this.#entries.clear();
    this.#oldest = undefined;
    this.#newest = undefined;
    this.#memory.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function checkId(id: unknown, argument: string): void {
  if (typeof id !== "string") throw new TypeError(expected(argument, "a string", describe(id)));
}
