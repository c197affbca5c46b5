// A linear layer with a frozen weight and low-rank adapters.

import { checkBoolean, checkFinite, checkOptions, describe, expected, shapeText, sizeOf } from "../check.js";
import { failure } from "../errors.js";
import { commonDtype, decode, place, type Source, type TensorLike } from "../interop.js";
import { kernel, type Runtime } from "../load.js";
import { QuantizedTensor } from "../quantized/quantize.js";
import { checkSeed } from "../random.js";
import { afterTrap, run } from "../scope.js";
import { bytesOf, type DType, Tensor } from "../tensor.js";
import { createAdapter, hold, LoraAdapter, type LoraInit, vector } from "./adapter.js";
import { type AdapterGradients, type Base, backwardInto, forwardInto, type Segment } from "./compute.js";
import { configOf, type LoraConfig, type LoraConfigOptions } from "./config.js";
import { mergeWeight } from "./merge.js";
import { addAdapter, multiplyBase } from "./products.js";
import { changesBase, subtractFactors } from "./start_from_base.js";

export interface LoraLinearOptions<D extends DType = DType> {
  /** (out, in), or (in, out) with fanInFanOut. A quantised one makes an f32 layer; it is neither transposed nor trained. */
  weight: Tensor<D> | TensorLike | QuantizedTensor;
  /** (out,) */
  bias?: TensorLike;
  /** The weight is stored (in, out), as GPT-2's Conv1D stores it. Default false. */
  fanInFanOut?: boolean;
  /** backward() gives the gradients of weight and bias, too. Default false. */
  trainable?: boolean;
  /**
   * Keep a second copy of the weight in the order in which the product reads it: forward() of up to some hundred rows is
   * faster, with the same bits. The weight must not be written from outside then. Default false.
   */
  packed?: boolean;
}

export interface ForwardOptions {
  /** The adapter of each row of x (its leading axes flattened), null: the base alone. Default: the active ones for all. */
  adapters?: readonly (string | null)[];
  /** Dropout is on, and backward() may follow. Default false. */
  train?: boolean;
  /** An integer in [0, 2^32) that fixes what dropout drops. Default: another one each time. */
  seed?: number;
}

export interface BackwardOptions {
  /** Whether the gradient of x is wanted. Default true. */
  x?: boolean;
}

/** What backward() returns. */
export interface Gradients<D extends DType = DType> {
  /** As x. */
  x?: Tensor<D>;
  /** As the weight; with `trainable`. */
  weight?: Tensor<D>;
  /** (out,); with `trainable`, or of adapters whose config trains biases. */
  bias?: Tensor<D>;
  /** Of the adapters that took part. */
  adapters: { [name: string]: AdapterGradients<D> };
}

export interface MergeOptions {
  /** Refuse a merge whose result holds NaN or Infinity, and leave the weight as it was. Default true. */
  safe?: boolean;
  /** Keep the original weight beside the merged one, so that unmerge() gives it back bit for bit. Default true. */
  keepBase?: boolean;
}

/** What backward() needs of the last forward pass in training. */
interface Saved<D extends DType> {
  /** (…, in), held. */
  x: Tensor<D>;
  segments: Segment<D>[];
  seed: number;
}

/** What forward() adds: at most one adapter without magnitude, if `direct`. */
interface Alone<D extends DType> {
  readonly direct: boolean;
  readonly adapter: LoraAdapter<D> | undefined;
  readonly scaling: number;
}

/** What an adapter that started as a part of the weight took out of it. */
interface Taken<D extends DType> {
  a: Tensor<D>;
  b: Tensor<D>;
  scaling: number;
}

/** The merged weight, and the bias if it changed. */
interface Merged<D extends DType> {
  /** Names and weights, in the order in which the adapters were added. */
  weights: Map<string, number>;
  weight: Tensor<D>;
  bias: Tensor<D> | undefined;
}

/**
 * y = x·Wᵀ + bias + Σ weight·scaling·(x·Aᵀ)·Bᵀ over the active adapters, W frozen: the layer of Hu et al. 2021, in PEFT's
 * conventions. With a magnitude (DoRA) W + scaling·B·A gets rows of the magnitude's lengths. The weight and the factors
 * are held by reference where they are contiguous tensors, else copied in.
 *
 * @example
 * ```ts
 * import { init } from "lowrank";
 * import { LoraAdapter, LoraLinear } from "lowrank/lora";
 * await init();
 * const layer = new LoraLinear({ weight: [[1, 0], [0, 1]] });
 * layer.addAdapter("double", new LoraAdapter({ a: [[1, 0]], b: [[1], [0]] }));
 * layer.addAdapter("swap", new LoraAdapter({ a: [[-1, 1], [1, -1]], b: [[1, 0], [0, 1]] }));
 * console.log(layer.forward([[3, 4]]).toArray()); // [ [ 6, 4 ] ]
 * layer.setAdapters({ double: 1, swap: 0.5 });
 * console.log(layer.forward([[3, 4]]).toArray()); // [ [ 6.5, 3.5 ] ]
 * const rows = layer.forward([[3, 4], [3, 4]], { adapters: ["swap", null] });
 * console.log(rows.toArray()); // [ [ 4, 3 ], [ 3, 4 ] ]
 * layer.dispose();
 * ```
 */
export class LoraLinear<D extends DType = DType> implements Disposable {
  readonly #base: Tensor<D> | QuantizedTensor;
  readonly #bias: Tensor<D> | undefined;
  readonly #fanInFanOut: boolean;
  /** Whether backward() gives the gradients of weight and bias. */
  readonly trainable: boolean;
  readonly #adapters = new Map<string, LoraAdapter<D>>();
  /** Adapters whose config trains the layer's bias. */
  readonly #biasTrainers = new Set<string>();
  /** The starts of adapters that began as a part of the weight, in the order in which they were added. */
  readonly #taken = new Map<string, Taken<D>>();
  /** What they leave of the weight, while there are any. */
  #residual: Tensor<D> | undefined;
  #active = new Map<string, number>();
  /** What forward() adds where that is at most one adapter without magnitude; undefined: to be looked up. */
  #alone: Alone<D> | undefined;
  /** The base weight in the panels of the product. */
  readonly #packed: Tensor<D> | undefined;
  #enabled = true;
  #merged: Merged<D> | undefined;
  #overwritten = false;
  #saved: Saved<D> | undefined;
  #passes = 0;

  /** @throws TypeError if dtypes differ; RangeError if the shapes do not fit each other */
  constructor(options: LoraLinearOptions<D>) {
    const given = checkOptions(options, ["weight", "bias", "fanInFanOut", "trainable", "packed"]);
    const runtime = kernel();
    const quantized = given.weight instanceof QuantizedTensor ? given.weight.alive() : undefined;
    const weight: Source = quantized ? { ...quantized, values: [] } : decode(given.weight as TensorLike, "weight");
    if (weight.shape.length !== 2) {
      throw new RangeError(expected("weight", "two axes", `shape ${shapeText(weight.shape)}`));
    }
    this.#fanInFanOut = given.fanInFanOut === undefined ? false : checkBoolean(given.fanInFanOut, "fanInFanOut");
    this.trainable = given.trainable === undefined ? false : checkBoolean(given.trainable, "trainable");
    const packed = given.packed === undefined ? false : checkBoolean(given.packed, "packed");
    if (packed && this.trainable) throw new TypeError(expected("packed", "false for a trainable weight", "true"));
    const bias = vector(given.bias, "bias", weight.shape[this.#fanInFanOut ? 1 : 0] as number);
    const named: [string, Source][] = [["weight", weight]];
    if (bias !== undefined) named.push(["bias", bias]);
    const dtype = commonDtype(named) as D;
    if (quantized !== undefined && (this.#fanInFanOut || this.trainable || packed)) {
      const option = this.#fanInFanOut ? "fanInFanOut" : this.trainable ? "trainable" : "packed";
      throw new RangeError(expected(option, "false with a quantised weight", "true"));
    }
    const held = run(() => hold(runtime, [quantized ? undefined : weight, bias], dtype));
    this.#base = quantized?.share() ?? (held[0] as Tensor<D>);
    this.#bias = held[1] as Tensor<D> | undefined;
    if (!packed) return;
    try {
      const size = runtime[dtype].packedWeightSize(this.inFeatures, this.outFeatures);
      this.#packed = run(() => Tensor.allocate(runtime, [size], dtype).hold());
      this.#pack(runtime);
    } catch (error) {
      this.#base.dispose();
      this.#bias?.dispose();
      throw error;
    }
  }

  /** Writes the packed copy of the base weight anew. */
  #pack(runtime: Runtime): void {
    const base = this.#residual ?? this.#base;
    if (this.#packed === undefined || !(base instanceof Tensor)) return;
    const { inFeatures, outFeatures } = this;
    const [row, column] = this.#fanInFanOut ? [1, outFeatures] : [inFeatures, 1];
    runtime[this.dtype].packWeight(inFeatures, outFeatures, base.pointer, row, column, this.#packed.pointer);
  }

  get dtype(): D {
    return this.#base.dtype as D;
  }

  get inFeatures(): number {
    return this.#base.shape[this.#fanInFanOut ? 0 : 1] as number;
  }

  get outFeatures(): number {
    return this.#base.shape[this.#fanInFanOut ? 1 : 0] as number;
  }

  /**
   * The weight that forward() multiplies with: the merged one while adapters are merged and the layer enabled; what is left
   * of it while there are adapters that began as a part of it ("pissa", "milora", "olora").
   *
   * @throws TypeError where that is a quantised one: see `quantized`
   */
  get weight(): Tensor<D> {
    const weight = this.#counting?.weight ?? this.#residual ?? this.#base;
    if (weight instanceof Tensor) return weight;
    throw new TypeError(expected("this", "a layer whose weight is not quantised", `one of ${weight.kind}`));
  }

  /** The weight, if it is a quantised one. */
  get quantized(): QuantizedTensor | undefined {
    return this.#base instanceof QuantizedTensor ? this.#base : undefined;
  }

  /** The base weight as a tensor; a quantised one is decoded into memory that the call gives back. */
  #dense(): Tensor<D> {
    if (this.#residual !== undefined) return this.#residual;
    return this.#base instanceof QuantizedTensor ? (this.#base.dequantize() as Tensor as Tensor<D>) : this.#base;
  }

  get bias(): Tensor<D> | undefined {
    return this.#counting?.bias ?? this.#bias;
  }

  /** Whether backward() gives the bias's gradient. */
  get biasTrainable(): boolean {
    return this.#bias !== undefined && (this.trainable || this.#biasTrainers.size > 0);
  }

  /** What is merged, where it counts. */
  get #counting(): Merged<D> | undefined {
    return this.#enabled ? this.#merged : undefined;
  }

  /** Names of the adapters, in the order they were added. */
  get adapters(): string[] {
    return [...this.#adapters.keys()];
  }

  /** The adapters that forward() adds, each with its weight. */
  get active(): { [name: string]: number } {
    return Object.fromEntries(this.#active);
  }

  /** Whether the active adapters count. Switching it off while some are merged first unmerges, as PEFT does. */
  get enabled(): boolean {
    return this.#enabled;
  }

  set enabled(value: boolean) {
    checkBoolean(value, "enabled");
    if (!value && this.#merged !== undefined) this.unmerge();
    this.#enabled = value;
  }

  /** Names of the merged adapters. */
  get merged(): string[] {
    return [...(this.#merged?.weights.keys() ?? [])];
  }

  /** The adapter of a name. */
  adapter(name: string): LoraAdapter<D> {
    return this.#find(name, "name");
  }

  #find(name: unknown, argument: string): LoraAdapter<D> {
    if (typeof name !== "string") throw new TypeError(expected(argument, "a string", describe(name)));
    const found = this.#adapters.get(name);
    if (found === undefined) throw new RangeError(expected(argument, `one of ${this.#names()}`, describe(name)));
    return found;
  }

  /**
   * Adds an adapter; the first one becomes active. The layer holds its factors: the adapter that was handed in may be
   * disposed of.
   *
   * @param adapter a LoraAdapter, or a config from which one is made (its targets and patterns do not count here). With
   *   "pissa", "milora" or "olora" the adapter begins as a part of the weight, and the weight without it, W − s·B·A, is the
   *   base of the layer as long as that adapter is there; removeAdapter() gives W back bit for bit
   * @param options.seed of the random numbers of an adapter that is made; default 0
   * @throws RangeError if the name is taken or the shapes do not fit the layer, or for an adapter that begins as a part of a
   *   quantised or trainable weight; TypeError if dtypes differ; Error (code "merged") for such an adapter while others are
   *   merged
   */
  addAdapter(name: string, adapter: LoraAdapter | LoraConfig | LoraConfigOptions, options?: { seed?: number }): void {
    this.#base.alive();
    const seed = checkSeed(checkOptions(options, ["seed"]).seed);
    this.#checkNew(name);
    if (adapter instanceof LoraAdapter) {
      if (adapter.dtype !== this.dtype)
        throw new TypeError(expected("adapter", `${this.dtype} as the weight`, adapter.dtype));
      if (adapter.inFeatures !== this.inFeatures || adapter.outFeatures !== this.outFeatures) {
        const fits = `a: (r, ${this.inFeatures}) and b: (${this.outFeatures}, r)`;
        throw new RangeError(
          expected("adapter", fits, `${shapeText(adapter.a.shape)} and ${shapeText(adapter.b.shape)}`),
        );
      }
      this.#insert(name, (adapter as LoraAdapter<D>).share());
      return;
    }
    if (typeof adapter !== "object" || adapter === null) {
      throw new TypeError(expected("adapter", "a LoraAdapter or a config", describe(adapter)));
    }
    this.addConfigured(name, configOf(adapter), seed, 0);
  }

  /** @internal addAdapter of a config; `module` tells apart those that share a seed. */
  addConfigured(name: string, config: LoraConfig, seed: number, module: number): void {
    this.#checkNew(name);
    const init = config.initLoraWeights === true ? "kaiming" : (config.initLoraWeights as LoraInit | false);
    const takes = changesBase(init);
    if (takes) this.#checkTaking(init);
    const adapter = run(() =>
      createAdapter<D>(
        {
          inFeatures: this.inFeatures,
          outFeatures: this.outFeatures,
          r: config.r,
          alpha: config.loraAlpha,
          useRslora: config.useRslora,
          dropout: config.loraDropout,
          loraBias: config.loraBias,
          useDora: config.useDora,
          init,
          seed,
          dtype: this.dtype,
          ...((config.useDora || takes) && { base: this.#fanInFanOut ? this.#dense().transpose() : this.#dense() }),
        },
        module,
      ),
    );
    if (takes) {
      try {
        this.#take(name, adapter);
      } catch (error) {
        adapter.dispose();
        throw error;
      }
    }
    this.#insert(name, adapter);
    if (config.bias !== "none") this.#biasTrainers.add(name);
  }

  #checkTaking(init: string): void {
    if (this.#merged !== undefined) throw this.#isMerged();
    if (this.quantized === undefined && !this.trainable) return;
    const what = this.trainable ? "a trainable" : "a quantised";
    throw new RangeError(expected("initLoraWeights", `one that leaves ${what} weight as it is`, describe(init)));
  }

  /** The base becomes what it is without the adapter's start. */
  #take(name: string, { a, b, scaling }: LoraAdapter<D>): void {
    const [residual, ...start] = run((runtime) => {
      const left = subtractFactors(runtime, this.#dense(), { a, b }, scaling, this.#fanInFanOut);
      const copies = [a.copy(), b.copy()];
      return [left, ...copies].map((tensor) => tensor.hold());
    }) as [Tensor<D>, Tensor<D>, Tensor<D>];
    this.#taken.set(name, { a: start[0], b: start[1], scaling });
    this.#setResidual(residual);
  }

  #setResidual(residual: Tensor<D> | undefined): void {
    this.forget();
    this.#residual?.dispose();
    this.#residual = residual;
    this.#pack(kernel());
  }

  /** The weight without the starts of all adapters of #taken but one. */
  #residualWithout(name: string): Tensor<D> | undefined {
    if (this.#taken.size < 2) return undefined;
    return run((runtime) => {
      let left = this.#base as Tensor<D>;
      for (const [other, start] of this.#taken) {
        if (other !== name) left = subtractFactors(runtime, left, start, start.scaling, this.#fanInFanOut);
      }
      return left.hold();
    });
  }

  #giveBack(name: string): void {
    const start = this.#taken.get(name);
    if (start === undefined) return;
    this.#setResidual(this.#residualWithout(name));
    this.#taken.delete(name);
    start.a.dispose();
    start.b.dispose();
  }

  /** @internal The bias is trained from now on, for an adapter of this name or without one. */
  trainBias(name: string): void {
    this.#biasTrainers.add(name);
  }

  #checkNew(name: unknown): void {
    if (typeof name !== "string") throw new TypeError(expected("name", "a string", describe(name)));
    if (this.#adapters.has(name)) throw new RangeError(expected("name", "a new name", describe(name)));
  }

  #insert(name: string, adapter: LoraAdapter<D>): void {
    this.#adapters.set(name, adapter);
    if (this.#adapters.size === 1) this.#active.set(name, 1);
    this.#alone = undefined;
  }

  /**
   * Removes an adapter and frees its factors; one that began as a part of the weight gives that back, to the bit.
   *
   * @throws Error (code "merged") while it is merged, or, for one that changed the weight, any; RangeError for an unknown name
   */
  removeAdapter(name: string): void {
    const adapter = this.adapter(name);
    if (this.#merged?.weights.has(name)) throw failure("merged", `adapter "${name}" is merged: unmerge() first`);
    if (this.#merged !== undefined && this.#taken.has(name)) throw this.#isMerged();
    this.#giveBack(name);
    this.#drop(name, adapter);
  }

  /**
   * An adapter as one for the original weight, for layers that keep it: of one that began as a part of the weight,
   * B·A − B₀·A₀, exactly, as [B, −B₀] and [A; A₀] of twice the rank with the same scale (PEFT's conversion of PiSSA and
   * OLoRA). Others are given as they are.
   *
   * @returns a new adapter that the caller owns
   * @throws RangeError for an unknown name
   */
  toLora(name: string): LoraAdapter<D> {
    const adapter = this.adapter(name);
    const start = this.#taken.get(name);
    return run((runtime) => {
      const { r, inFeatures, outFeatures, dtype, useRslora, dropout, bias, magnitude } = adapter;
      const copy = (tensor: Tensor<D> | undefined) => tensor?.copy() as Tensor<D> | undefined;
      const own = { bias: copy(bias), magnitude: copy(magnitude) };
      const rest = {
        useRslora,
        dropout,
        ...(own.bias && { bias: own.bias }),
        ...(own.magnitude && { magnitude: own.magnitude }),
      };
      if (start === undefined) {
        return new LoraAdapter<D>({ a: adapter.a.copy(), b: adapter.b.copy(), alpha: adapter.alpha, ...rest });
      }
      const { lacpy, scal } = runtime[dtype];
      const bytes = bytesOf(dtype);
      const a = Tensor.allocate(runtime, [2 * r, inFeatures], dtype);
      const b = Tensor.allocate(runtime, [outFeatures, 2 * r], dtype);
      for (const [i, part] of [adapter, start].entries()) {
        lacpy(r, inFeatures, part.a.pointer, inFeatures, 1, a.pointer + i * r * inFeatures * bytes, inFeatures);
        lacpy(outFeatures, r, part.b.pointer, r, 1, b.pointer + i * r * bytes, 2 * r);
      }
      for (let i = 0; i < outFeatures; i++) scal(r, -1, b.pointer + (2 * i + 1) * r * bytes, 1);
      // the scale stays: alpha/r, or alpha/√r
      return new LoraAdapter<D>({ a, b, alpha: adapter.alpha * (useRslora ? Math.SQRT2 : 2), ...rest });
    });
  }

  #drop(name: string, adapter: LoraAdapter<D>): void {
    if (this.#saved?.segments.some((segment) => segment.adapter === adapter)) this.forget();
    this.#adapters.delete(name);
    this.#active.delete(name);
    this.#alone = undefined;
    this.#biasTrainers.delete(name);
    adapter.dispose();
  }

  /** @internal Lets go of what forward() kept. */
  forget(): void {
    this.#saved?.x.dispose();
    this.#saved = undefined;
  }

  /**
   * Chooses the active adapters: one, several with a factor each, or none. While adapters are merged only the same choice
   * again is taken.
   *
   * @throws TypeError if a DoRA adapter is to be active with another one; RangeError for an unknown name or a factor that
   *   is not finite; Error (code "merged") if others are merged
   */
  setAdapters(wanted: string | { readonly [name: string]: number } | null): void {
    const active = new Map<string, number>();
    if (typeof wanted === "object" && wanted !== null && !Array.isArray(wanted)) {
      for (const [name, weight] of Object.entries(wanted)) {
        this.#find(name, "name");
        active.set(name, checkFinite(weight, `adapters.${name}`));
      }
    } else if (wanted !== null) {
      this.#find(wanted, "name");
      active.set(wanted as string, 1);
    }
    this.#checkTogether(active.keys(), "active");
    const merged = this.#merged?.weights;
    if (merged !== undefined) {
      const same = active.size === merged.size && [...active].every(([name, weight]) => merged.get(name) === weight);
      if (!same) throw this.#isMerged();
    }
    this.#active = active;
    this.#alone = undefined;
  }

  /** DoRA changes the lengths of the whole weight's rows: such an adapter stands alone. */
  #checkTogether(names: Iterable<string>, what: string): void {
    const all = [...names];
    const dora = all.find((name) => this.#adapters.get(name)?.magnitude !== undefined);
    if (all.length > 1 && dora !== undefined) {
      throw new TypeError(expected("name", `no others ${what} beside the DoRA adapter "${dora}"`, quoted(all)));
    }
  }

  #isMerged(): Error {
    const names = this.merged;
    const subject = names.length === 1 ? `adapter ${quoted(names)} is` : `adapters ${quoted(names)} are`;
    return failure("merged", `${subject} merged: unmerge() first`);
  }

  /**
   * y = x·Wᵀ + bias + Σ weight·scaling·((x·Aᵀ)·Bᵀ + loraBias) over the active adapters. NaN and Infinity pass through.
   *
   * With `train`, each adapter sees x after dropout of its own, and x is kept for backward(): by reference if it is a
   * contiguous tensor, which must not be written before.
   *
   * @param x (…, in), any number of leading axes
   * @returns (…, out); the caller owns it
   * @throws RangeError for another shape or an unknown adapter; TypeError if the dtypes differ or `adapters` names a DoRA
   *   adapter; Error (code "merged") for `adapters` or `train` while adapters are merged
   */
  forward(x: TensorLike, options?: ForwardOptions): Tensor<D> {
    if (options === undefined && x instanceof Tensor && x.dtype === this.dtype && x.contiguous) {
      const { inFeatures } = this;
      const alone = this.#alone ?? this.#lookUpAlone();
      if (alone.direct && x.shape.length > 0 && x.shape[x.shape.length - 1] === inFeatures) {
        return this.#forwardDirect(x as Tensor<D>, alone);
      }
    }
    return this.#forwardAny(x, options);
  }

  #lookUpAlone(): Alone<D> {
    const [only] = this.#active;
    const adapter = only && this.adapter(only[0]);
    const few = this.#active.size < 2 && adapter?.magnitude === undefined;
    const direct = few && this.#base instanceof Tensor;
    this.#alone = { direct, adapter, scaling: adapter === undefined ? 0 : (only?.[1] ?? 1) * adapter.scaling };
    return this.#alone;
  }

  /** forward() of a tensor with at most one adapter: in the JavaScript heap it allocates the result's object alone. */
  #forwardDirect(x: Tensor<D>, alone: Alone<D>): Tensor<D> {
    const runtime = kernel();
    const { inFeatures, outFeatures, dtype, weight, bias } = this;
    const input = x.pointer;
    const packed = this.#packed !== undefined && this.#counting === undefined ? this.#packed.pointer : 0;
    const from = weight.pointer;
    const shift = bias === undefined ? 0 : bias.pointer;
    const y = Tensor.allocate(runtime, x.shape, dtype, outFeatures);
    const mark = runtime.scratch.mark();
    let done = false;
    try {
      const tokens = outFeatures === 0 ? 0 : y.size / outFeatures;
      const to = y.pointer;
      const row = packed !== 0 ? 0 : this.#fanInFanOut ? 1 : inFeatures;
      const column = packed === 0 && this.#fanInFanOut ? outFeatures : 1;
      const matrix = packed === 0 ? from : packed;
      multiplyBase(runtime, dtype, tokens, inFeatures, outFeatures, input, matrix, row, column, shift, to);
      if (alone.adapter !== undefined && tokens > 0 && this.#enabled && this.#merged === undefined) {
        addAdapter(runtime, alone as Alone<D> & { adapter: LoraAdapter<D> }, tokens, 0, input, to);
      }
      done = true;
      return y;
    } catch (error) {
      throw afterTrap(runtime, error);
    } finally {
      if (!done) y.dispose();
      runtime.scratch.rewind(mark);
    }
  }

  #forwardAny(x: TensorLike, options: ForwardOptions | undefined): Tensor<D> {
    return run((runtime) => {
      const given = checkOptions(options, ["adapters", "train", "seed"]);
      const source = decode(x, "x");
      if (source.shape.length < 1 || source.shape[source.shape.length - 1] !== this.inFeatures) {
        throw new RangeError(expected("x", `shape (…, ${this.inFeatures})`, shapeText(source.shape)));
      }
      commonDtype([
        ["weight", this.#base],
        ["x", source],
      ]);
      const train = given.train === undefined ? false : checkBoolean(given.train, "train");
      const seed = given.seed === undefined ? this.#passes : checkSeed(given.seed);
      const lead = source.shape.slice(0, -1);
      const tokens = sizeOf(lead);
      if (this.#counting !== undefined && (train || given.adapters !== undefined)) throw this.#isMerged();
      const segments = given.adapters === undefined ? this.#segments(tokens) : this.#mixed(given.adapters, tokens);
      const placed = place(runtime, source, this.dtype);
      const input = (placed.contiguous ? placed : placed.copy()) as Tensor<D>;
      const y = Tensor.allocate(runtime, [...lead, this.outFeatures], this.dtype);
      if (y.size > 0) {
        // DoRA wants the lengths of the rows of W + s·B·A
        const base = this.#memory(segments[0]?.adapter.magnitude !== undefined);
        forwardInto(runtime, base, segments, tokens, input.pointer, y.pointer, train ? seed : undefined);
      }
      if (train) {
        this.forget();
        this.#saved = { x: input.hold(), segments, seed };
        this.#passes = (this.#passes + 1) % 2 ** 32;
      }
      return y;
    });
  }

  /** Where the weight stands that counts now; with `dense` a quantised one is decoded. */
  #memory(dense: boolean): Base {
    const { bias, dtype, inFeatures, outFeatures } = this;
    const [row, column] = this.#fanInFanOut ? [1, outFeatures] : [inFeatures, 1];
    const packed = this.#counting === undefined && this.#packed !== undefined ? this.#packed.pointer : 0;
    const rest = { dtype, inFeatures, outFeatures, row, column, packed, bias: bias?.pointer ?? 0 };
    const quantized = dense || this.#counting !== undefined ? undefined : this.quantized;
    const weight = quantized === undefined ? (this.#counting?.weight ?? this.#dense()).pointer : 0;
    return { ...rest, weight, quantized };
  }

  /** The active adapters, each for all rows. */
  #segments(tokens: number): Segment<D>[] {
    if (!this.#enabled || this.#merged !== undefined) return [];
    return [...this.#active].map(([name, weight]) => {
      const adapter = this.adapter(name);
      return { name, adapter, scaling: weight * adapter.scaling, rows: undefined, count: tokens };
    });
  }

  /** The rows of each adapter that a mixed batch names. */
  #mixed(names: unknown, tokens: number): Segment<D>[] {
    if (!Array.isArray(names)) throw new TypeError(expected("adapters", "an array of names", describe(names)));
    if (names.length !== tokens) {
      throw new RangeError(expected("adapters", `${tokens} names, one a row of "x"`, `${names.length}`));
    }
    const rows = new Map<string, number[]>();
    names.forEach((name: unknown, i) => {
      if (name === null) return;
      const adapter = this.#find(name, `adapters[${i}]`);
      if (adapter.magnitude !== undefined) {
        throw new TypeError(expected(`adapters[${i}]`, "an adapter without a magnitude (DoRA)", describe(name)));
      }
      const list = rows.get(name as string);
      if (list === undefined) rows.set(name as string, [i]);
      else list.push(i);
    });
    if (!this.#enabled) return [];
    return [...rows].map(([name, list]) => {
      const adapter = this.adapter(name);
      return { name, adapter, scaling: adapter.scaling, rows: Int32Array.from(list), count: list.length };
    });
  }

  /**
   * Gradients of the last forward(x, { train: true }), from ∂L/∂y: with Z = s·G·B, ∂A = Zᵀ·x, ∂B = s·Gᵀ·(x·Aᵀ) and
   * ∂x = G·W + Z·A, dropout as in that pass. Of a DoRA adapter also the magnitude's; the norm of W + s·B·A counts as a
   * constant (section 4.3 of the paper, and PEFT).
   *
   * @param gradOutput (…, out) as y
   * @returns tensors that the caller owns
   * @throws Error (code "no_forward") without such a pass, or if an adapter of it was removed since; RangeError for
   *   another shape; TypeError if the dtypes differ
   * @example
   * ```ts
   * import { init } from "lowrank";
   * import { LoraAdapter, LoraLinear } from "lowrank/lora";
   * await init();
   * const layer = new LoraLinear({ weight: [[1, 0], [0, 1]] });
   * layer.addAdapter("task", new LoraAdapter({ a: [[1, 1]], b: [[0], [0]] }));
   * layer.forward([[3, 4]], { train: true });
   * const { x, adapters } = layer.backward([[1, 2]]);
   * console.log(x?.toArray(), adapters.task?.b.toArray()); // [ [ 1, 2 ] ] [ [ 7 ], [ 14 ] ]
   * layer.dispose();
   * ```
   */
  backward(gradOutput: TensorLike, options?: BackwardOptions): Gradients<D> {
    return run((runtime) => {
      const given = checkOptions(options, ["x"]);
      const wantsX = given.x === undefined ? true : checkBoolean(given.x, "x");
      this.#base.alive();
      const saved = this.#saved;
      if (saved === undefined) throw failure("no_forward", "call forward(x, { train: true }) before backward()");
      if (this.#counting !== undefined) throw this.#isMerged();
      const { x, segments, seed } = saved;
      const lead = x.shape.slice(0, -1);
      const source = decode(gradOutput, "gradOutput");
      const shape = [...lead, this.outFeatures];
      if (source.shape.length !== shape.length || shape.some((length, axis) => length !== source.shape[axis])) {
        throw new RangeError(expected("gradOutput", `shape ${shapeText(shape)}`, shapeText(source.shape)));
      }
      commonDtype([
        ["weight", this.#base],
        ["gradOutput", source],
      ]);
      const placed = place(runtime, source, this.dtype);
      const g = placed.contiguous ? placed : placed.copy();
      const like = (wanted: boolean, tensor: Tensor<D> | undefined) =>
        wanted && tensor !== undefined ? Tensor.allocate(runtime, tensor.shape, this.dtype) : undefined;
      const dx = like(wantsX, x);
      const dense = wantsX || this.trainable || segments[0]?.adapter.magnitude !== undefined;
      const weight = like(this.trainable, this.trainable ? this.#dense() : undefined);
      const bias = like(this.biasTrainable, this.#bias);
      const adapters = backwardInto(runtime, this.#memory(dense), segments, sizeOf(lead), x.pointer, g.pointer, seed, {
        x: dx?.pointer ?? 0,
        weight: weight?.pointer ?? 0,
        bias: bias?.pointer ?? 0,
      });
      return { ...(dx && { x: dx }), ...(weight && { weight }), ...(bias && { bias }), adapters };
    });
  }

  /**
   * Adds weight·scaling·B·A of adapters to the weight (and their scaled biases to the bias), so that forward() costs no
   * more than the base layer. Whatever the order of the calls, the same adapters give the same bits. An adapter that is
   * merged already is left as it is.
   *
   * @param names one or several; default: the active ones, with their factors; others have 1
   * @throws Error (code "non_finite_merge") if `safe` and the result holds NaN or Infinity: nothing has changed then;
   *   Error (code "merged") for `keepBase: false` while others are merged, and after it; TypeError for a DoRA adapter
   *   with another one; RangeError for an unknown name or if there is none, if an adapter has a bias and the layer none, or
   *   for `keepBase: false` with a quantised weight (the merged one is f32, beside it) or beside an adapter that began as a
   *   part of the weight
   */
  merge(names?: string | readonly string[], options?: MergeOptions): void {
    this.#base.alive();
    const given = checkOptions(options, ["safe", "keepBase"]);
    const safe = given.safe === undefined ? true : checkBoolean(given.safe, "safe");
    const keepBase = given.keepBase === undefined ? true : checkBoolean(given.keepBase, "keepBase");
    const before = this.#merged?.weights;
    const wanted = this.#wanted(names).filter((name) => !before?.has(name));
    if (wanted.length === 0) return;
    if (this.#overwritten)
      throw failure("merged", "an adapter was merged with keepBase: false; the base weight is gone");
    if (before !== undefined && !keepBase) throw this.#isMerged();
    if (!keepBase && this.quantized !== undefined) {
      throw new RangeError(expected("keepBase", "true with a quantised weight", "false"));
    }
    if (!keepBase && this.#taken.size > 0) {
      throw new RangeError(
        expected("keepBase", `true beside ${quoted([...this.#taken.keys()])}, a part of the weight`, "false"),
      );
    }
    for (const name of wanted) {
      if (this.adapter(name).bias !== undefined && this.#bias === undefined) {
        throw new RangeError(expected("name", "an adapter without bias, as the layer has none", describe(name)));
      }
    }
    this.#mergeAll(this.#inOrder(new Set([...(before?.keys() ?? []), ...wanted])), safe, keepBase);
  }

  #wanted(names: unknown): string[] {
    if (names === undefined) {
      if (this.#active.size === 0) {
        throw new RangeError(expected("name", `one of ${this.#names()}`, "no active adapter"));
      }
      return [...this.#active.keys()];
    }
    const list: unknown[] = Array.isArray(names) ? names : [names];
    for (const name of list) this.#find(name, "name");
    return list as string[];
  }

  /** Adapters with what they are merged with, in the order in which they were added. */
  #inOrder(names: ReadonlySet<string>): Map<string, number> {
    const order = this.adapters.filter((name) => names.has(name));
    return new Map(order.map((name) => [name, this.#merged?.weights.get(name) ?? this.#active.get(name) ?? 1]));
  }

  #mergeAll(weights: Map<string, number>, safe: boolean, keepBase: boolean): void {
    this.#checkTogether(weights.keys(), "merged");
    run((runtime) => {
      const { weight, bias } = this.#sum(runtime, weights, safe);
      if (keepBase) {
        const merged = { weights, weight: weight.hold(), bias: bias?.hold() };
        this.#discardMerged();
        this.#merged = merged;
        return;
      }
      this.forget();
      const { lacpy } = runtime[this.dtype];
      lacpy(1, weight.size, weight.pointer, weight.size, 1, this.#dense().pointer, weight.size);
      if (bias !== undefined && this.#bias !== undefined) {
        lacpy(1, bias.size, bias.pointer, bias.size, 1, this.#bias.pointer, bias.size);
      }
      this.#overwritten = true;
      this.#pack(runtime);
      for (const name of weights.keys()) this.#drop(name, this.adapter(name));
      this.#active.clear();
    });
  }

  /** W + Σ weight·scaling·B·A and bias + Σ weight·scaling·b in new memory. */
  #sum(
    runtime: Runtime,
    weights: ReadonlyMap<string, number>,
    safe: boolean,
  ): { weight: Tensor<D>; bias: Tensor<D> | undefined } {
    const routines = runtime[this.dtype];
    const base = this.#dense();
    const weight = Tensor.allocate(runtime, base.shape, this.dtype);
    const parts = [...weights].map(([name, factor]) => {
      const adapter = this.adapter(name);
      return { name, adapter, scaling: factor * adapter.scaling };
    });
    const refuse = (what: string, name: string, at: number) => {
      throw failure("non_finite_merge", `merging "${name}" would give a ${what} that is not finite at entry ${at}`);
    };
    const broken = mergeWeight(runtime, base, parts, this.#fanInFanOut, weight, !safe);
    if (broken !== undefined) refuse("weight", broken.name, broken.at);
    let bias: Tensor<D> | undefined;
    for (const { name, adapter, scaling } of parts) {
      if (this.#bias === undefined || adapter.bias === undefined) continue;
      bias ??= this.#bias.copy();
      routines.axpy(bias.size, scaling, adapter.bias.pointer, 1, bias.pointer, 1);
      const at = routines.firstNonFinite(1, bias.size, bias.pointer, bias.size, 1);
      if (safe && at >= 0) refuse("bias", name, at);
    }
    return { weight, bias };
  }

  /**
   * Takes merged adapters out again: the weight is, bit for bit, the original one, or the one that the adapters that stay
   * merged would have given alone. Adapters that are not merged are left as they are.
   *
   * @param names default: all
   * @throws Error (code "merged") after a merge with `keepBase: false`; RangeError for an unknown name
   */
  unmerge(names?: string | readonly string[]): void {
    if (this.#overwritten)
      throw failure("merged", "an adapter was merged with keepBase: false; the base weight is gone");
    const gone = new Set(names === undefined ? this.merged : this.#wanted(names));
    const stay = this.merged.filter((name) => !gone.has(name));
    if (stay.length === this.merged.length) return;
    if (stay.length === 0) this.#discardMerged();
    else this.#mergeAll(this.#inOrder(new Set(stay)), false, true);
  }

  #discardMerged(): void {
    this.#merged?.weight.dispose();
    this.#merged?.bias?.dispose();
    this.#merged = undefined;
  }

  #names(): string {
    return this.#adapters.size === 0 ? "no adapters" : quoted(this.adapters);
  }

  /** Gives back the weight, the merged weight and all adapters; tensors that the caller handed in stay the caller's. */
  dispose(): void {
    this.forget();
    for (const adapter of this.#adapters.values()) adapter.dispose();
    this.#adapters.clear();
    this.#biasTrainers.clear();
    this.#active.clear();
    this.#alone = undefined;
    this.#discardMerged();
    for (const { a, b } of this.#taken.values()) for (const factor of [a, b]) factor.dispose();
    this.#taken.clear();
    this.#residual?.dispose();
    this.#residual = undefined;
    this.#packed?.dispose();
    this.#base.dispose();
    this.#bias?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(", ");
}
