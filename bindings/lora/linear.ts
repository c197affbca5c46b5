// A linear layer with a frozen weight and low-rank adapters.

import { checkBoolean, checkOptions, describe, expected, shapeText, sizeOf } from "../check.js";
import { failure } from "../errors.js";
import { commonDtype, decode, place, type Source, type TensorLike } from "../interop.js";
import { kernel, type Runtime } from "../load.js";
import { run } from "../scope.js";
import { type DType, Tensor } from "../tensor.js";
import { hold, LoraAdapter } from "./adapter.js";

export interface LoraLinearOptions<D extends DType = DType> {
  /** (out, in), or (in, out) with fanInFanOut. */
  weight: Tensor<D> | TensorLike;
  /** (out,) */
  bias?: TensorLike;
  /** The weight is stored (in, out), as GPT-2's Conv1D stores it. Default false. */
  fanInFanOut?: boolean;
}

export interface MergeOptions {
  /** Refuse a merge whose result holds NaN or Infinity, and leave the weight as it was. Default true. */
  safe?: boolean;
  /** Keep the original weight beside the merged one, so that unmerge() gives it back bit for bit. Default true. */
  keepBase?: boolean;
}

/**
 * y = x·Wᵀ + bias + scaling·(x·Aᵀ)·Bᵀ with W frozen: the layer of Hu et al. 2021, in PEFT's conventions.
 * The weight and the factors are held by reference where they are contiguous tensors, else copied in.
 *
 * @example
 * ```ts
 * import { init } from "lowrank";
 * import { LoraAdapter, LoraLinear } from "lowrank/lora";
 * await init();
 * const layer = new LoraLinear({ weight: [[1, 0], [0, 1]] });
 * layer.addAdapter("double", new LoraAdapter({ a: [[1, 0]], b: [[1], [0]] }));
 * console.log(layer.forward([[3, 4]]).toArray()); // [ [ 6, 4 ] ]
 * layer.enabled = false;
 * console.log(layer.forward([[3, 4]]).toArray()); // [ [ 3, 4 ] ]
 * layer.dispose();
 * ```
 */
export class LoraLinear<D extends DType = DType> implements Disposable {
  readonly #base: Tensor<D>;
  readonly #bias: Tensor<D> | undefined;
  readonly #fanInFanOut: boolean;
  readonly #adapters = new Map<string, LoraAdapter<D>>();
  #active: string | null = null;
  #enabled = true;
  /** The merged weight, and the bias if it changed, while an adapter is merged. */
  #merged: { name: string; weight: Tensor<D>; bias: Tensor<D> | undefined } | undefined;
  #overwritten = false;

  /** @throws TypeError if dtypes differ; RangeError if the shapes do not fit each other */
  constructor(options: LoraLinearOptions<D>) {
    const given = checkOptions(options, ["weight", "bias", "fanInFanOut"]);
    const runtime = kernel();
    const weight = decode(given.weight, "weight");
    if (weight.shape.length !== 2) {
      throw new RangeError(expected("weight", "two axes", `shape ${shapeText(weight.shape)}`));
    }
    this.#fanInFanOut = given.fanInFanOut === undefined ? false : checkBoolean(given.fanInFanOut, "fanInFanOut");
    const out = weight.shape[this.#fanInFanOut ? 1 : 0] as number;
    const bias = given.bias === undefined ? undefined : decode(given.bias, "bias");
    if (bias !== undefined && (bias.shape.length !== 1 || bias.shape[0] !== out)) {
      throw new RangeError(expected("bias", `shape (${out},)`, shapeText(bias.shape)));
    }
    const named: [string, Source][] = [["weight", weight]];
    if (bias !== undefined) named.push(["bias", bias]);
    const dtype = commonDtype(named) as D;
    const held = run(() => hold(runtime, [weight, bias], dtype));
    [this.#base, this.#bias] = held as [Tensor<D>, Tensor<D> | undefined];
  }

  get dtype(): D {
    return this.#base.dtype;
  }

  get inFeatures(): number {
    return this.#base.shape[this.#fanInFanOut ? 0 : 1] as number;
  }

  get outFeatures(): number {
    return this.#base.shape[this.#fanInFanOut ? 1 : 0] as number;
  }

  /** The weight that forward() multiplies with: the merged one while an adapter is merged and the layer enabled. */
  get weight(): Tensor<D> {
    return this.#counting?.weight ?? this.#base;
  }

  get bias(): Tensor<D> | undefined {
    return this.#counting?.bias ?? this.#bias;
  }

  /** The merged weight and the bias, if it changed, where they count. */
  get #counting(): { weight: Tensor<D>; bias: Tensor<D> | undefined } | undefined {
    return this.#enabled ? this.#merged : undefined;
  }

  /** Names of the adapters, in the order they were added. */
  get adapters(): string[] {
    return [...this.#adapters.keys()];
  }

  /** The adapter that forward() adds; null: none. */
  get active(): string | null {
    return this.#active;
  }

  /** Whether the active adapter counts. Switching it off while merged first unmerges, as PEFT does. */
  get enabled(): boolean {
    return this.#enabled;
  }

  set enabled(value: boolean) {
    checkBoolean(value, "enabled");
    if (!value && this.#merged !== undefined) this.unmerge();
    this.#enabled = value;
  }

  /** The merged adapter's name, or null. */
  get merged(): string | null {
    return this.#merged?.name ?? null;
  }

  /** The adapter of a name. */
  adapter(name: string): LoraAdapter<D> {
    if (typeof name !== "string") throw new TypeError(expected("name", "a string", describe(name)));
    const found = this.#adapters.get(name);
    if (found === undefined) throw new RangeError(expected("name", `one of ${this.#names()}`, describe(name)));
    return found;
  }

  /**
   * Adds an adapter; the first one becomes active. The layer holds its factors: the adapter that was handed in may be
   * disposed of.
   *
   * @throws RangeError if the name is taken or the shapes do not fit the layer; TypeError if dtypes differ
   */
  addAdapter(name: string, adapter: LoraAdapter): void {
    this.#base.alive();
    if (typeof name !== "string") throw new TypeError(expected("name", "a string", describe(name)));
    if (this.#adapters.has(name)) throw new RangeError(expected("name", "a new name", describe(name)));
    if (!(adapter instanceof LoraAdapter)) {
      throw new TypeError(expected("adapter", "a LoraAdapter", describe(adapter)));
    }
    if (adapter.dtype !== this.dtype)
      throw new TypeError(expected("adapter", `${this.dtype} as the weight`, adapter.dtype));
    if (adapter.inFeatures !== this.inFeatures || adapter.outFeatures !== this.outFeatures) {
      const fits = `a: (r, ${this.inFeatures}) and b: (${this.outFeatures}, r)`;
      throw new RangeError(
        expected("adapter", fits, `${shapeText(adapter.a.shape)} and ${shapeText(adapter.b.shape)}`),
      );
    }
    const { a, b, bias, alpha, useRslora } = adapter;
    this.#adapters.set(name, new LoraAdapter<D>({ a, b, alpha, useRslora, ...(bias && { bias }) }));
    if (this.#adapters.size === 1) this.#active = name;
  }

  /** Removes an adapter and frees its factors; refused while it is merged. */
  removeAdapter(name: string): void {
    const adapter = this.adapter(name);
    if (this.#merged?.name === name) throw failure("merged", `adapter "${name}" is merged: unmerge() first`);
    this.#adapters.delete(name);
    if (this.#active === name) this.#active = null;
    adapter.dispose();
  }

  /** Chooses the active adapter, or none. Refused while another one is merged. */
  setAdapters(name: string | null): void {
    if (name !== null) this.adapter(name);
    if (this.#merged !== undefined && this.#merged.name !== name) {
      throw failure("merged", `adapter "${this.#merged.name}" is merged: unmerge() first`);
    }
    this.#active = name;
  }

  /**
   * y = x·Wᵀ + bias + scaling·(x·Aᵀ)·Bᵀ. NaN and Infinity pass through.
   *
   * @param x (…, in), any number of leading axes
   * @returns (…, out); the caller owns it
   */
  forward(x: TensorLike): Tensor<D> {
    return run((runtime) => {
      const source = decode(x, "x");
      if (source.shape.length < 1 || source.shape[source.shape.length - 1] !== this.inFeatures) {
        throw new RangeError(expected("x", `shape (…, ${this.inFeatures})`, shapeText(source.shape)));
      }
      commonDtype([
        ["weight", this.#base],
        ["x", source],
      ]);
      const placed = place(runtime, source, this.dtype);
      const input = placed.contiguous ? placed : placed.copy();
      const y = Tensor.allocate(runtime, [...source.shape.slice(0, -1), this.outFeatures], this.dtype);
      if (y.size > 0) this.#compute(runtime, input, y as Tensor<D>);
      return y as Tensor<D>;
    });
  }

  #compute(runtime: Runtime, x: Tensor, y: Tensor<D>): void {
    const { weight, bias, inFeatures, outFeatures } = this;
    const adapter =
      this.#enabled && this.#active !== null && this.#merged === undefined ? this.adapter(this.#active) : undefined;
    const tokens = sizeOf(x.shape.slice(0, -1));
    const routines = runtime[this.dtype];
    const work = adapter === undefined ? 0 : runtime.scratch.push(routines.loraForwardScratch(tokens, adapter.r));
    const [row, column] = this.#fanInFanOut ? [1, outFeatures] : [inFeatures, 1];
    routines.loraForward(
      tokens,
      inFeatures,
      outFeatures,
      x.pointer,
      weight.pointer,
      row,
      column,
      bias?.pointer ?? 0,
      y.pointer,
      adapter?.r ?? 0,
      adapter?.a.pointer ?? 0,
      adapter?.b.pointer ?? 0,
      adapter?.bias?.pointer ?? 0,
      adapter?.scaling ?? 0,
      work,
    );
  }

  /**
   * Adds scaling·B·A of an adapter to the weight (and its scaled bias to the bias), so that forward() costs no more
   * than the base layer. A second merge of the same adapter does nothing.
   *
   * @param name default: the active adapter
   * @throws Error (code "non_finite_merge") if `safe` and the result holds NaN or Infinity: nothing has changed then;
   *   Error (code "merged") if another adapter is merged; RangeError for an unknown name or if there is none, or if the
   *   adapter has a bias and the layer has none
   */
  merge(name?: string, options?: MergeOptions): void {
    this.#base.alive();
    const given = checkOptions(options, ["safe", "keepBase"]);
    const safe = given.safe === undefined ? true : checkBoolean(given.safe, "safe");
    const keepBase = given.keepBase === undefined ? true : checkBoolean(given.keepBase, "keepBase");
    const wanted = name ?? this.#active;
    if (wanted === null) throw new RangeError(expected("name", `one of ${this.#names()}`, "no active adapter"));
    const adapter = this.adapter(wanted);
    if (this.#merged?.name === wanted) return;
    if (this.#merged !== undefined)
      throw failure("merged", `adapter "${this.#merged.name}" is merged: unmerge() first`);
    if (this.#overwritten)
      throw failure("merged", "an adapter was merged with keepBase: false; the base weight is gone");
    if (adapter.bias !== undefined && this.#bias === undefined) {
      throw new RangeError(expected("name", "an adapter without bias, as the layer has none", describe(wanted)));
    }
    run((runtime) => {
      const { weight, bias } = this.#sum(runtime, adapter, safe, wanted);
      if (keepBase) {
        this.#merged = { name: wanted, weight: weight.hold(), bias: bias?.hold() };
      } else {
        runtime[this.dtype].lacpy(1, weight.size, weight.pointer, weight.size, 1, this.#base.pointer, weight.size);
        if (bias !== undefined && this.#bias !== undefined) {
          runtime[this.dtype].lacpy(1, bias.size, bias.pointer, bias.size, 1, this.#bias.pointer, bias.size);
        }
        this.#overwritten = true;
        this.#adapters.delete(wanted);
        this.#active = null;
        adapter.dispose();
      }
    });
  }

  /** W + scaling·B·A and bias + scaling·b in new memory. */
  #sum(
    runtime: Runtime,
    adapter: LoraAdapter<D>,
    safe: boolean,
    name: string,
  ): { weight: Tensor<D>; bias?: Tensor<D> } {
    const routines = runtime[this.dtype];
    const base = this.#base;
    const [rows, columns] = base.shape as [number, number];
    const weight = Tensor.allocate(runtime, base.shape, this.dtype);
    const refuse = (what: string, at: number) => {
      if (safe && at >= 0) {
        throw failure("non_finite_merge", `merging "${name}" would give a ${what} that is not finite at entry ${at}`);
      }
    };
    refuse(
      "weight",
      routines.loraMerge(
        rows,
        columns,
        base.pointer,
        columns,
        1,
        adapter.r,
        adapter.a.pointer,
        adapter.b.pointer,
        adapter.scaling,
        this.#fanInFanOut ? 1 : 0,
        weight.pointer,
      ),
    );
    if (this.#bias === undefined || adapter.bias === undefined) return { weight };
    const bias = this.#bias.copy();
    routines.axpy(bias.size, adapter.scaling, adapter.bias.pointer, 1, bias.pointer, 1);
    refuse("bias", routines.firstNonFinite(1, bias.size, bias.pointer, bias.size, 1));
    return { weight, bias };
  }

  /**
   * Gives the original weight back, bit for bit; does nothing if no adapter is merged.
   *
   * @throws Error (code "merged") after a merge with `keepBase: false`
   */
  unmerge(): void {
    if (this.#overwritten)
      throw failure("merged", "an adapter was merged with keepBase: false; the base weight is gone");
    this.#merged?.weight.dispose();
    this.#merged?.bias?.dispose();
    this.#merged = undefined;
  }

  #names(): string {
    return this.#adapters.size === 0 ? "no adapters" : this.adapters.map((name) => `"${name}"`).join(", ");
  }

  /** Gives back the weight, the merged weight and all adapters; tensors that the caller handed in stay the caller's. */
  dispose(): void {
    for (const adapter of this.#adapters.values()) adapter.dispose();
    this.#adapters.clear();
    this.#active = null;
    this.#merged?.weight.dispose();
    this.#merged?.bias?.dispose();
    this.#base.dispose();
    this.#bias?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
