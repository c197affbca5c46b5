// Multilayer perceptrons of LoRA and SVD layers with activations between them.

import { checkBoolean, checkOptions, describe, expected, shapeText } from "../check.js";
import { failure } from "../errors.js";
import { commonDtype, decode, place, type TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { type Gradients, LoraLinear } from "../lora/linear.js";
import { type SvdGradients, SvdLinear } from "../lora/svd_linear.js";
import { checkSeed } from "../random.js";
import { run } from "../scope.js";
import { type DType, Tensor } from "../tensor.js";

/** Their positions are the kernel's numbers. */
const ACTIVATIONS = ["relu", "gelu", "tanh"] as const;

/** max(x, 0); x·Φ(x), the form with erf; the hyperbolic tangent. */
export type Activation = (typeof ACTIVATIONS)[number];

export type Layer<D extends DType = DType> = LoraLinear<D> | SvdLinear<D> | Activation;

export interface SequentialForwardOptions {
  /** Dropout is on, and backward() may follow. Default false. */
  train?: boolean;
  /** An integer in [0, 2^32) that fixes what dropout drops. Default: another one each time. */
  seed?: number;
  /** As LoraLinear.forward(): the adapter of each row of x, in every layer that has one of this name. */
  adapters?: readonly (string | null)[];
}

/**
 * Layers one after the other. Linear layers whose sizes are known must fit each other.
 *
 * Trained tensors have PEFT's names behind the position of their layer: "0.weight" and "0.bias" of a trainable base,
 * "0.lora_A.task.weight", "0.lora_B.task.weight", "0.lora_B.task.bias" and "0.lora_magnitude_vector.task.weight" of the adapter
 * "task", "0.core.x" of an SvdLinear.
 *
 * @example
 * ```ts
 * import { init } from "lowrank";
 * import { LoraLinear, loss, Sequential, Sgd } from "lowrank/lora";
 * await init();
 * const weight = [[0.5, -1], [1, 0.5]];
 * const model = new Sequential([new LoraLinear({ weight }), "relu", new LoraLinear({ weight, trainable: true })]);
 * console.log(Object.keys(model.parameters())); // [ '2.weight' ]
 * const { value, grad } = loss("softmaxCrossEntropy", model.forward([[1, 2]], { train: true }), [0]);
 * console.log(value.toFixed(3)); // 3.049
 * new Sgd({ lr: 0.1 }).step(model.parameters(), model.backward(grad));
 * console.log(loss("softmaxCrossEntropy", model.forward([[1, 2]]), [0]).value.toFixed(3)); // 2.339
 * model.dispose();
 * ```
 */
export class Sequential<D extends DType = DType> implements Disposable {
  readonly layers: readonly Layer<D>[];
  /** What entered each activation of the last pass in training. */
  #inputs: (Tensor<D> | undefined)[] = [];
  #trained = false;

  /** @throws TypeError for what is no layer, and dtypes that differ; RangeError for an empty list or sizes that do not fit */
  constructor(layers: readonly Layer<D>[]) {
    if (!Array.isArray(layers)) throw new TypeError(expected("layers", "an array of layers", describe(layers)));
    let before: LoraLinear<D> | SvdLinear<D> | undefined;
    for (const [i, layer] of layers.entries()) {
      const known = ACTIVATIONS.map((name) => `"${name}"`).join(", ");
      if (typeof layer === "string") {
        if (!(ACTIVATIONS as readonly string[]).includes(layer)) {
          throw new RangeError(expected(`layers[${i}]`, `a layer, or one of ${known}`, describe(layer)));
        }
        continue;
      }
      if (!(layer instanceof LoraLinear) && !(layer instanceof SvdLinear)) {
        throw new TypeError(
          expected(`layers[${i}]`, `a LoraLinear, an SvdLinear, or one of ${known}`, describe(layer)),
        );
      }
      if (before !== undefined) {
        if (layer.inFeatures !== before.outFeatures) {
          throw new RangeError(expected(`layers[${i}]`, `inFeatures ${before.outFeatures}`, `${layer.inFeatures}`));
        }
        commonDtype([
          ["layers", before],
          [`layers[${i}]`, layer],
        ]);
      }
      before = layer;
    }
    if (before === undefined) throw new RangeError(expected("layers", "at least one linear layer", "none"));
    this.layers = Object.freeze([...layers]);
  }

  get #linear(): (LoraLinear<D> | SvdLinear<D>)[] {
    return this.layers.filter((layer) => typeof layer !== "string");
  }

  get dtype(): D {
    return (this.#linear[0] as LoraLinear<D>).dtype;
  }

  get inFeatures(): number {
    return (this.#linear[0] as LoraLinear<D>).inFeatures;
  }

  get outFeatures(): number {
    return (this.#linear.at(-1) as LoraLinear<D>).outFeatures;
  }

  /**
   * The layers in turn. NaN and Infinity pass through. With `train` each layer keeps what backward() needs, x by reference if it
   * is a contiguous tensor.
   *
   * @param x (…, in)
   * @returns (…, out); the caller owns it
   * @throws RangeError for another shape or an unknown adapter; TypeError if the dtypes differ; Error (code "merged") as
   *   LoraLinear.forward()
   */
  forward(x: TensorLike, options?: SequentialForwardOptions): Tensor<D> {
    return run((runtime) => {
      const given = checkOptions(options, ["train", "seed", "adapters"]);
      const train = given.train === undefined ? false : checkBoolean(given.train, "train");
      const seed = given.seed === undefined ? undefined : checkSeed(given.seed);
      const source = decode(x, "x");
      if (source.shape.length < 1 || source.shape[source.shape.length - 1] !== this.inFeatures) {
        throw new RangeError(expected("x", `shape (…, ${this.inFeatures})`, shapeText(source.shape)));
      }
      commonDtype([
        ["layers", this],
        ["x", source],
      ]);
      const placed = place(runtime, source, this.dtype) as Tensor<D>;
      let y = placed.contiguous ? placed : (placed.copy() as Tensor<D>);
      if (given.adapters !== undefined) this.#checkNames(given.adapters);
      const inputs: (Tensor<D> | undefined)[] = [];
      // should a layer throw, there is no pass to go back through
      if (train) this.forget();
      for (const [i, layer] of this.layers.entries()) {
        if (typeof layer === "string") {
          inputs[i] = y;
          y = activate(runtime, layer, y, undefined);
        } else if (layer instanceof SvdLinear) {
          y = layer.forward(y, { train });
        } else {
          const own = train && seed !== undefined ? { seed: mix(seed, i) } : {};
          const adapters = given.adapters && { adapters: known(given.adapters, layer) };
          y = layer.forward(y, { train, ...own, ...adapters });
        }
      }
      if (train) {
        this.#inputs = inputs.map((input) => input?.hold());
        this.#trained = true;
      }
      return y;
    });
  }

  /** Each name must be that of an adapter of some layer. */
  #checkNames(names: unknown): void {
    if (!Array.isArray(names)) throw new TypeError(expected("adapters", "an array of names", describe(names)));
    const all = new Set(this.#linear.flatMap((layer) => (layer instanceof LoraLinear ? layer.adapters : [])));
    for (const [i, name] of names.entries()) {
      if (name === null || all.has(name)) continue;
      const there = all.size === 0 ? "no adapters" : [...all].map((one) => `"${one}"`).join(", ");
      throw new RangeError(expected(`adapters[${i}]`, `null or one of ${there}`, describe(name)));
    }
  }

  /**
   * Gradients of all trained tensors in the last forward(x, { train: true }), by their names in parameters(). Nothing is computed
   * below the first layer that has any.
   *
   * @param gradOutput (…, out), ∂L/∂y, such as loss() gives
   * @returns tensors that the caller owns
   * @throws Error (code "no_forward") without such a pass; RangeError for another shape; TypeError if the dtypes differ
   */
  backward(gradOutput: TensorLike): { [name: string]: Tensor<D> } {
    return run((runtime) => {
      if (!this.#trained) throw failure("no_forward", "call forward(x, { train: true }) before backward()");
      const source = decode(gradOutput, "gradOutput");
      commonDtype([
        ["layers", this],
        ["gradOutput", source],
      ]);
      const placed = place(runtime, source, this.dtype) as Tensor<D>;
      let g = placed.contiguous ? placed : (placed.copy() as Tensor<D>);
      const top = this.layers.length - 1;
      const last = this.#inputs[top];
      if (last !== undefined && shapeText(last.shape) !== shapeText(g.shape)) {
        throw new RangeError(expected("gradOutput", `shape ${shapeText(last.shape)}`, shapeText(g.shape)));
      }
      const lowest = this.layers.findIndex((layer) => typeof layer !== "string" && isTrained(layer));
      const gradients: { [name: string]: Tensor<D> } = {};
      for (let i = top; i >= lowest && lowest >= 0; i--) {
        const layer = this.layers[i] as Layer<D>;
        if (typeof layer === "string") {
          g = activate(runtime, layer, this.#inputs[i] as Tensor<D>, g);
          continue;
        }
        const found: Gradients<D> | SvdGradients<D> = layer.backward(g, { x: i > lowest });
        for (const [name, tensor] of named(found)) gradients[`${i}.${name}`] = tensor;
        if (found.x !== undefined) g = found.x;
      }
      return gradients;
    });
  }

  /**
   * The tensors that are trained, by name: those of the active adapters, of trainable bases and biases, of cores. They are the
   * layers' own: an optimiser writes them in place; do not dispose of them.
   */
  parameters(): { [name: string]: Tensor<D> } {
    const found: { [name: string]: Tensor<D> } = {};
    for (const [i, layer] of this.layers.entries()) {
      if (typeof layer === "string") continue;
      for (const [name, tensor] of trainedOf(layer)) found[`${i}.${name}`] = tensor;
    }
    return found;
  }

  /** @internal Lets go of what the last pass in training kept. */
  forget(): void {
    for (const input of this.#inputs) input?.dispose();
    this.#inputs = [];
    this.#trained = false;
  }

  /** @internal As forget(), with the layers. */
  forgetAll(): void {
    this.forget();
    for (const layer of this.#linear) layer.forget();
  }

  /** Disposes of the layers. */
  dispose(): void {
    this.forget();
    for (const layer of this.#linear) layer.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Names of a batch's adapters as a layer knows them: rows whose adapter it has not go through its base alone. */
function known(names: readonly (string | null)[], { adapters }: LoraLinear): (string | null)[] {
  return names.map((name) => (name !== null && adapters.includes(name) ? name : null));
}

/** f(x), or g∘f′(x), in new memory. */
function activate<D extends DType>(
  runtime: Runtime,
  name: Activation,
  x: Tensor<D>,
  g: Tensor<D> | undefined,
): Tensor<D> {
  const y = Tensor.allocate(runtime, x.shape, x.dtype);
  runtime[x.dtype].activate(ACTIVATIONS.indexOf(name), x.size, x.pointer, g?.pointer ?? 0, y.pointer);
  return y;
}

/** @internal An integer of 32 bits from two (Murmur3's finaliser), for numbers that must differ by place or step. */
export function mix(seed: number, index: number): number {
  let h = (seed ^ Math.imul(index + 1, 0x9e3779b9)) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function isTrained(layer: LoraLinear | SvdLinear): boolean {
  for (const _ of trainedOf(layer)) return true;
  return false;
}

/** The trained tensors of a layer. */
function* trainedOf<D extends DType>(
  layer: LoraLinear<D> | SvdLinear<D>,
): Generator<[name: string, tensor: Tensor<D>]> {
  if (layer instanceof SvdLinear) {
    for (const [name, tensor] of Object.entries(layer.core)) yield [`core.${name}`, tensor];
    return;
  }
  if (layer.trainable) yield ["weight", layer.weight];
  if (layer.biasTrainable && layer.bias !== undefined) yield ["bias", layer.bias];
  if (!layer.enabled) return;
  for (const name of Object.keys(layer.active)) {
    for (const [part, tensor] of partsOf(layer.adapter(name))) yield [nameOf(part, name), tensor];
  }
}

/** What backward() of a layer gives, by the names of trainedOf. */
function* named<D extends DType>(found: Gradients<D> | SvdGradients<D>): Generator<[name: string, tensor: Tensor<D>]> {
  if ("core" in found) {
    for (const [name, tensor] of Object.entries(found.core)) yield [`core.${name}`, tensor];
    return;
  }
  if (found.weight !== undefined) yield ["weight", found.weight];
  if (found.bias !== undefined) yield ["bias", found.bias];
  for (const [name, parts] of Object.entries(found.adapters)) {
    for (const [part, tensor] of partsOf(parts)) yield [nameOf(part, name), tensor];
  }
}

type Part = "a" | "b" | "bias" | "magnitude";

function* partsOf<D extends DType>(
  parts: { readonly [part in Part]?: Tensor<D> | undefined },
): Generator<[Part, Tensor<D>]> {
  for (const part of ["a", "b", "bias", "magnitude"] as const) {
    const tensor = parts[part];
    if (tensor !== undefined) yield [part, tensor];
  }
}

/** PEFT's name of a part of an adapter. */
function nameOf(part: Part, adapter: string): string {
  if (part === "a") return `lora_A.${adapter}.weight`;
  if (part === "b") return `lora_B.${adapter}.weight`;
  return part === "bias" ? `lora_B.${adapter}.bias` : `lora_magnitude_vector.${adapter}.weight`;
}
