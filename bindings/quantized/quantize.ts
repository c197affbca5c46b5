// Weights in 16, 8 or 4 bits.

import { checkBoolean, checkOneOf, checkOptions, expected, sizeOf } from "../check.js";
import { NonFiniteError } from "../errors.js";
import { copyIn, decode, place, type TensorLike } from "../interop.js";
import type { Runtime } from "../load.js";
import { run } from "../scope.js";
import { share } from "../share.js";
import { unravel } from "../svd/decompose.js";
import { Tensor } from "../tensor.js";

const KINDS = ["f16", "bf16", "int8", "nf4"] as const;
/** How a weight is stored. */
export type QuantizedKind = (typeof KINDS)[number];

export interface QuantizeOptions {
  /** For "nf4": the blocks' magnitudes in 8 bits, too, 256 of them to a scale (QLoRA). Default false. */
  doubleQuant?: boolean;
}

/** Where the parts of a quantised weight stand in its block, in bytes. */
interface Layout {
  rows: number;
  columns: number;
  codes: number;
  scales: number;
  /** Where the scales begin. */
  offset: number;
}

/** Operations of the register tile in the time of a value. */
const COST = 40;

/** Values of a block of NF4, and blocks to a scale in double quantisation. */
const BLOCK = 64;
const GROUP = 256;

function layoutOf(kind: QuantizedKind, doubleQuant: boolean, shape: readonly number[]): Layout {
  const columns = shape[shape.length - 1] ?? 1;
  const rows = sizeOf(shape.slice(0, -1));
  const blocks = rows * Math.ceil(columns / BLOCK);
  const [codes, scales] = {
    f16: [2 * rows * columns, 0],
    bf16: [2 * rows * columns, 0],
    int8: [rows * columns, 4 * rows],
    nf4: [rows * Math.ceil(columns / 2), doubleQuant ? 4 + 4 * Math.ceil(blocks / GROUP) + blocks : 4 * blocks],
  }[kind] as [number, number];
  return { rows, columns, codes, scales, offset: Math.ceil(codes / 64) * 64 };
}

/**
 * A weight in 16, 8 or 4 bits, in kernel memory: what quantize() makes and LoraLinear takes as its base.
 *
 * @example
 * ```ts
 * import { init } from "lowrank";
 * import { quantize } from "lowrank/lora";
 * await init();
 * const weight = quantize([[1, -0.5, 0.25], [0, 2, 127]], "int8");
 * console.log(weight.kind, weight.shape, weight.byteLength); // int8 [ 2, 3 ] 14
 * console.log(weight.dequantize().subtensor(1, 2).toArray()); // [ [ 0, 2, 127 ] ]
 * weight.dispose();
 * ```
 */
export class QuantizedTensor implements Disposable {
  readonly kind: QuantizedKind;
  /** What it is computed with. */
  readonly dtype = "f32" as const;
  /** Axis lengths; the last axis is a row. */
  readonly shape: readonly number[];
  readonly doubleQuant: boolean;
  /** Bytes of codes and scales. */
  readonly byteLength: number;
  readonly #layout: Layout;
  /** Codes, then scales; an f32 tensor for its storage alone. */
  readonly #block: Tensor<"f32">;

  private constructor(kind: QuantizedKind, doubleQuant: boolean, shape: readonly number[], block: Tensor<"f32">) {
    this.kind = kind;
    this.doubleQuant = doubleQuant;
    this.shape = Object.freeze([...shape]);
    this.#layout = layoutOf(kind, doubleQuant, shape);
    this.byteLength = this.#layout.codes + this.#layout.scales;
    this.#block = block.hold();
  }

  /** @internal One whose codes and scales `write` writes; nothing is left if it throws. */
  static make(
    runtime: Runtime,
    kind: QuantizedKind,
    doubleQuant: boolean,
    shape: readonly number[],
    write: (codes: number, scales: number, layout: Layout) => void,
  ): QuantizedTensor {
    return run(() => {
      const layout = layoutOf(kind, doubleQuant, shape);
      // 16-bit floats have a word behind them that says whether all are finite
      const block = Tensor.allocate(runtime, [(layout.offset + Math.ceil(layout.scales / 4) * 4) / 4 + 1], "f32");
      write(block.pointer, block.pointer + layout.offset, layout);
      return new QuantizedTensor(kind, doubleQuant, shape, block);
    });
  }

  /** @internal From 16-bit floats as they stand in a file. */
  static fromHalves(
    runtime: Runtime,
    kind: "f16" | "bf16",
    shape: readonly number[],
    halves: Uint8Array,
  ): QuantizedTensor {
    const { codes } = layoutOf(kind, false, shape);
    if (halves.byteLength !== codes) throw new RangeError(expected("halves", `${codes} bytes`, `${halves.byteLength}`));
    return QuantizedTensor.make(runtime, kind, false, shape, (to, scales) => {
      new Uint8Array(runtime.memory.buffer, to, codes).set(halves);
      if (kind === "f16") runtime.common.markFinite(codes / 2, to, scales);
    });
  }

  /** @internal What the kernel calls this kind (assembly/quantized/weight.ts). */
  get code(): number {
    return KINDS.indexOf(this.kind) + (this.doubleQuant ? 1 : 0);
  }

  /** @internal Address of the codes; throws after dispose(). */
  get codes(): number {
    return this.#block.pointer;
  }

  /** @internal Address of the scales. */
  get scales(): number {
    return this.#block.pointer + this.#layout.offset;
  }

  /** @internal The tensor itself; throws if it was disposed of or its kernel has ended. */
  alive(): this {
    this.#block.alive();
    return this;
  }

  /** @internal Another handle on the same memory, kept by an object of this library. */
  share(): QuantizedTensor {
    return new QuantizedTensor(this.kind, this.doubleQuant, this.shape, this.#block);
  }

  /** The weight as f32, in the same shape; the caller owns it. */
  dequantize(): Tensor<"f32"> {
    return run((runtime) => {
      this.alive();
      const { rows, columns } = this.#layout;
      const out = Tensor.allocate(runtime, this.shape, "f32");
      if (out.size === 0) return out;
      const { quantizeScratch, expandWeight } = runtime.common;
      const workBytes = quantizeScratch(this.code, 1, columns);
      const work = runtime.scratch.push(workBytes * (runtime.team?.asked ?? 1));
      const { code, codes, scales } = this;
      const values = [0, rows, code, rows, columns, codes, scales, out.pointer, work] as const;
      const range = { routine: "expandWeight", length: rows, values, begin: 0, end: 1, work: 8, workBytes };
      if (share(runtime, COST * out.size, range) === undefined) expandWeight(...values);
      return out;
    });
  }

  /** Gives the memory back; a second call does nothing. */
  dispose(): void {
    this.#block.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * Stores a weight in fewer bits.
 *
 * - "f16", "bf16": IEEE half precision and bfloat16, rounded once to nearest, ties to even; what is too large becomes
 *   Infinity, NaN and Infinity are carried.
 * - "int8": integers in ±127 times one scale a row (the last axis), largest magnitude/127 in f32; ties to even. A row of zeros
 *   has scale 0.
 * - "nf4": QLoRA's 4-bit NormalFloat: blocks of 64 inside a row (the last may be short), each value the nearest of bitsandbytes'
 *   sixteen times the block's largest magnitude in f32.
 *
 * @param weight (…, n); of f64 the values are rounded to f32 first for "int8" and "nf4"
 * @param options.doubleQuant "nf4": magnitudes less their mean in 8 bits (bitsandbytes' dynamic map), 256 to a scale
 * @returns the caller owns it
 * @throws NonFiniteError for "int8" and "nf4", which cannot hold NaN or Infinity, also where an f64 is beyond f32; RangeError for
 *   an unknown kind, or `doubleQuant` with another kind than "nf4"
 * @example
 * ```ts
 * import { init } from "lowrank";
 * import { quantize } from "lowrank/lora";
 * await init();
 * const weight = quantize([[1, 0.33, 0, -0.7]], "nf4", { doubleQuant: true });
 * console.log(weight.dequantize().toArray()); // [ [ 1, 0.33…, 0, -0.69… ] ]
 * weight.dispose();
 * ```
 */
export function quantize(weight: TensorLike, kind: QuantizedKind, options?: QuantizeOptions): QuantizedTensor {
  return run((runtime) => {
    checkOneOf(kind, "kind", KINDS);
    const given = checkOptions(options, ["doubleQuant"]);
    const doubleQuant = given.doubleQuant === undefined ? false : checkBoolean(given.doubleQuant, "doubleQuant");
    if (doubleQuant && kind !== "nf4") throw new RangeError(expected("doubleQuant", `false with "${kind}"`, "true"));
    const source = decode(weight, "weight");
    const { shape } = source;
    const values = toSingle(runtime, place(runtime, source, source.dtype ?? "f64"), kind);
    const code = KINDS.indexOf(kind) + (doubleQuant ? 1 : 0);
    return QuantizedTensor.make(runtime, kind, doubleQuant, shape, (codes, scales, layout) => {
      const { rows, columns } = layout;
      const { quantizeScratch, quantizeWeight } = runtime.common;
      const work = runtime.scratch.push(quantizeScratch(code, rows, columns));
      const list = [code, rows, columns, values.pointer, codes, scales, work] as const;
      // the others look at all rows in the end
      const apart = !doubleQuant && kind !== "f16" && rows > 0;
      const steps = [
        [3, 4 * columns],
        [4, layout.codes / rows],
        [5, layout.scales / rows],
      ] as const;
      const range = { routine: "quantizeWeight", length: rows, values: list, steps, count: 1 };
      if (!apart || share(runtime, COST * rows * columns, range) === undefined) quantizeWeight(...list);
    });
  });
}

/** The weight as contiguous f32. A second rounding would not give the nearest 16 bits: f64 are rounded to odd for those. */
function toSingle(runtime: Runtime, weight: Tensor, kind: QuantizedKind): Tensor {
  const whole = kind === "int8" || kind === "nf4";
  const contiguous = weight.contiguous ? weight : weight.copy();
  let single = contiguous;
  if (weight.dtype === "f64") {
    if (whole) {
      single = copyIn(runtime, { tensor: contiguous, dtype: "f64", shape: weight.shape, values: [] }, "f32");
    } else {
      single = Tensor.allocate(runtime, weight.shape, "f32");
      runtime.common.roundToOdd(weight.size, contiguous.pointer, single.pointer);
    }
  }
  if (whole) {
    const { rows, columns } = layoutOf(kind, false, weight.shape);
    const at = runtime.f32.firstNonFinite(rows, columns, single.pointer, columns, 1);
    if (at >= 0)
      throw new NonFiniteError("weight", unravel(at, weight.shape), (single as Tensor<"f32">).data[at] as number);
  }
  return single;
}
