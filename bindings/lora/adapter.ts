// One low-rank update: ΔW = scaling·B·A.

import { checkBoolean, checkFinite, checkOptions, expected, shapeText } from "../check.js";
import { commonDtype, copyIn, decode, type Source, type TensorLike } from "../interop.js";
import { kernel, type Runtime } from "../load.js";
import { run } from "../scope.js";
import { type DType, Tensor } from "../tensor.js";

export interface LoraAdapterOptions<D extends DType = DType> {
  /** (r, in): the factor next to the input. */
  a: Tensor<D> | TensorLike;
  /** (out, r): the factor next to the output. */
  b: Tensor<D> | TensorLike;
  /** (out,): bias of B, scaled as the rest (PEFT's lora_bias). */
  bias?: TensorLike;
  /** Numerator of the scale; default r, which makes the scale 1. */
  alpha?: number;
  /** Scale alpha/√r instead of alpha/r (rsLoRA, Kalajdzievski 2023). */
  useRslora?: boolean;
}

/**
 * A LoRA adapter in PEFT's orientation: A is (r, in), B is (out, r), ΔW = scaling·B·A with scaling = alpha/r, or
 * alpha/√r with `useRslora` (Hu et al. 2021). Contiguous tensors are held by reference and kept alive, anything else is
 * copied.
 *
 * @example
 * ```ts
 * import { init } from "lowrank";
 * import { LoraAdapter } from "lowrank/lora";
 * await init();
 * const adapter = new LoraAdapter({ a: [[1, 2, 3]], b: [[1], [0]], alpha: 2 });
 * console.log(adapter.scaling, adapter.delta().toArray()); // 2 [ [ 2, 4, 6 ], [ 0, 0, 0 ] ]
 * adapter.dispose();
 * ```
 */
export class LoraAdapter<D extends DType = DType> implements Disposable {
  /** (r, in) */
  readonly a: Tensor<D>;
  /** (out, r) */
  readonly b: Tensor<D>;
  /** (out,) or undefined */
  readonly bias: Tensor<D> | undefined;
  readonly alpha: number;
  readonly useRslora: boolean;

  /**
   * @throws TypeError if dtypes differ or an option is unknown; RangeError if the shapes do not fit each other
   */
  constructor(options: LoraAdapterOptions<D>) {
    const given = checkOptions(options, ["a", "b", "bias", "alpha", "useRslora"]);
    const runtime = kernel();
    const a = matrix(given.a, "a");
    const b = matrix(given.b, "b");
    const r = a.shape[0] as number;
    const [outFeatures, rb] = b.shape as [number, number];
    if (r < 1) throw new RangeError(expected("a", "shape (r, in) with r >= 1", shapeText(a.shape)));
    if (rb !== r) throw new RangeError(expected("b", `shape (out, ${r})`, shapeText(b.shape)));
    const bias = given.bias === undefined ? undefined : decode(given.bias, "bias");
    if (bias !== undefined && (bias.shape.length !== 1 || bias.shape[0] !== outFeatures)) {
      throw new RangeError(expected("bias", `shape (${outFeatures},)`, shapeText(bias.shape)));
    }
    const named: [string, Source][] = [
      ["a", a],
      ["b", b],
    ];
    if (bias !== undefined) named.push(["bias", bias]);
    const dtype = commonDtype(named) as D;
    this.alpha = given.alpha === undefined ? r : checkFinite(given.alpha, "alpha");
    this.useRslora = given.useRslora === undefined ? false : checkBoolean(given.useRslora, "useRslora");
    const held = run(() => hold(runtime, [a, b, bias], dtype));
    [this.a, this.b, this.bias] = held as [Tensor<D>, Tensor<D>, Tensor<D> | undefined];
  }

  get dtype(): D {
    return this.a.dtype;
  }

  /** The inner width. */
  get r(): number {
    return this.a.shape[0] as number;
  }

  get inFeatures(): number {
    return this.a.shape[1] as number;
  }

  get outFeatures(): number {
    return this.b.shape[0] as number;
  }

  /** alpha/r, or alpha/√r with useRslora. */
  get scaling(): number {
    return this.alpha / (this.useRslora ? Math.sqrt(this.r) : this.r);
  }

  /** ΔW = scaling·B·A, (out, in); the caller owns it. */
  delta(): Tensor<D> {
    return run((runtime) => {
      const delta = Tensor.allocate(runtime, [this.outFeatures, this.inFeatures], this.dtype);
      const { outFeatures: out, inFeatures, r } = this;
      runtime[this.dtype].gemmBatch(
        0,
        1,
        out,
        inFeatures,
        r,
        this.scaling,
        this.b.pointer,
        0,
        r,
        1,
        this.a.pointer,
        0,
        inFeatures,
        1,
        0,
        delta.pointer,
        0,
        inFeatures,
      );
      return delta;
    });
  }

  /** Gives the factors back; tensors that the caller handed in stay the caller's. */
  dispose(): void {
    this.a.dispose();
    this.b.dispose();
    this.bias?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function matrix(value: TensorLike, argument: string): Source {
  const source = decode(value, argument);
  if (source.shape.length !== 2)
    throw new RangeError(expected(argument, "two axes", `shape ${shapeText(source.shape)}`));
  return source;
}

/**
 * @internal Contiguous tensors that an object owns: the caller's own storage where it can be, else copies. All copies
 * are made before anything is held, so that nothing is when memory ends in between.
 */
export function hold<D extends DType>(
  runtime: Runtime,
  sources: readonly (Source | undefined)[],
  dtype: D,
): (Tensor<D> | undefined)[] {
  const tensors = sources.map((source) => {
    if (source === undefined) return undefined;
    return source.tensor?.contiguous ? (source.tensor as Tensor<D>) : copyIn(runtime, source, dtype);
  });
  return tensors.map((tensor) => tensor?.hold());
}
