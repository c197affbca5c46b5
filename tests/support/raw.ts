// The kernel without its bindings: every routine of assembly/index.ts by its common name, blocks of kernel memory with
// canaries around them, and instances of their own on small memories.

import { readFileSync } from "node:fs";
import type { KernelExports, Routines } from "../../bindings/exports.js";
import { kernel } from "../../bindings/load.js";
import type { DType } from "../../bindings/tensor.js";
import { BUILD } from "./build.js";

/** Routines that the bindings do not call, and those that they do. */
export interface RawRoutines extends Routines {
  dot(n: number, x: number, incx: number, y: number, incy: number): number;
  axpy(n: number, alpha: number, x: number, incx: number, y: number, incy: number): void;
  nrm2(n: number, x: number, incx: number): number;
  rot(n: number, x: number, incx: number, y: number, incy: number, c: number, s: number): void;
  gemv(
    transposed: number,
    m: number,
    n: number,
    alpha: number,
    a: number,
    lda: number,
    x: number,
    incx: number,
    beta: number,
    y: number,
    incy: number,
  ): void;
  potrf(n: number, w: number, a: number, lda: number): number;
  trsv(n: number, u: number, lda: number, x: number): void;
  ger(m: number, n: number, alpha: number, x: number, incx: number, y: number, a: number, lda: number): void;
  gemm(
    m: number,
    n: number,
    k: number,
    alpha: number,
    a: number,
    rsa: number,
    csa: number,
    b: number,
    rsb: number,
    csb: number,
    beta: number,
    c: number,
    ldc: number,
  ): void;
  log(x: number): number;
  exp(x: number): number;
  sinpi(x: number): number;
  tanh(x: number): number;
  erf(x: number): number;
  syrk(
    n: number,
    k: number,
    alpha: number,
    a: number,
    rsa: number,
    csa: number,
    beta: number,
    c: number,
    ldc: number,
  ): void;
  /** Elements of working memory of bdsqr and of lasq1. */
  bdsqrWork(n: number): number;
  lasq1Work(n: number): number;
  bdsqr(
    n: number,
    ncvt: number,
    nru: number,
    d: number,
    e: number,
    vt: number,
    ldvt: number,
    ut: number,
    ldut: number,
    work: number,
  ): number;
  lasq1(n: number, d: number, e: number, work: number): number;
}

export type Typed = Float32Array | Float64Array;

export const DTYPES: readonly DType[] = ["f32", "f64"];

export function bytesOf(dtype: DType): number {
  return dtype === "f32" ? 4 : 8;
}

/** Unit roundoff: the largest relative error of one rounding. */
export function roundoff(dtype: DType): number {
  return dtype === "f32" ? 2 ** -24 : 2 ** -53;
}

/** LAPACK's 'Precision', the unit of its test ratios: twice the unit roundoff. */
export function ulpOf(dtype: DType): number {
  return 2 * roundoff(dtype);
}

export function typed(dtype: DType, values: ArrayLike<number> | number): Typed {
  const Values = dtype === "f32" ? Float32Array : Float64Array;
  return typeof values === "number" ? new Values(values) : new Values(values);
}

/** Numbers as the dtype holds them, in f64. */
export function rounded(dtype: DType, values: ArrayLike<number>): Float64Array {
  return Float64Array.from(dtype === "f32" ? Float32Array.from(values) : values);
}

export function raw(dtype: DType): RawRoutines {
  return kernel()[dtype] as RawRoutines;
}

/** What stands around every operand: exact in f32. */
export const CANARY = -1234567;

/** A block of kernel memory: `values` between canaries, at an address that is aligned to elements only. */
export class Block {
  readonly pointer: number;
  /** The values; valid until memory grows. */
  readonly data: Typed;
  readonly #all: Typed;
  readonly #margin: number;

  constructor(base: number, dtype: DType, values: ArrayLike<number>, margin: number) {
    const { buffer } = kernel().memory;
    const length = values.length + 2 * margin;
    const bytes = bytesOf(dtype);
    this.#all =
      dtype === "f32" ? new Float32Array(buffer, base + bytes, length) : new Float64Array(buffer, base + bytes, length);
    this.#all.fill(CANARY);
    this.#margin = margin;
    this.pointer = base + bytes * (1 + margin);
    this.data = this.#all.subarray(margin, margin + values.length) as Typed;
    this.data.set(values);
  }

  /** How many canaries around the values were overwritten. */
  get damage(): number {
    const end = this.#all.length - this.#margin;
    let count = 0;
    for (let i = 0; i < this.#all.length; i++) {
      if ((i < this.#margin || i >= end) && this.#all[i] !== CANARY) count++;
    }
    return count;
  }
}

/**
 * Runs f with a function that places operands in kernel memory, and frees them afterwards. Afterwards, too, the
 * canaries of all of them are looked at: an Error says where one is gone.
 */
export function withBlocks<R>(dtype: DType, f: (place: (values: ArrayLike<number>, margin?: number) => Block) => R): R {
  const { allocator } = kernel();
  const taken: number[] = [];
  const blocks: Block[] = [];
  try {
    const result = f((values, margin = 20) => {
      const base = allocator.allocate((values.length + 2 * margin + 1) * bytesOf(dtype));
      taken.push(base);
      const block = new Block(base, dtype, values, margin);
      blocks.push(block);
      return block;
    });
    const broken = blocks.findIndex((block) => block.damage > 0);
    if (broken >= 0) throw new Error(`a write outside operand ${broken}: ${blocks[broken]?.damage} canaries`);
    return result;
  } finally {
    for (const pointer of taken) allocator.free(pointer);
  }
}

/** An instance of its own on a plain memory of a fixed number of pages; the packing memory stands at its start. */
export class SmallKernel {
  readonly memory: WebAssembly.Memory;
  readonly #exports: Record<string, unknown>;
  /** The first byte behind the packing memory. */
  readonly base: number;

  constructor(pages: number) {
    const name = BUILD === "debug" ? "debug" : BUILD;
    const module = new WebAssembly.Module(readFileSync(`build/kernel.${name}.wasm`));
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: 65536 });
    const { exports } = new WebAssembly.Instance(module, { env: { memory: this.memory } });
    this.#exports = exports;
    const { packBytes, setPackMemory } = exports as unknown as KernelExports;
    setPackMemory(64);
    this.base = 64 + packBytes();
    if (this.base > this.memory.buffer.byteLength) throw new Error("the memory is smaller than the packing memory");
  }

  /** Routines that exist once for both precisions. */
  get common(): KernelExports {
    return this.#exports as unknown as KernelExports;
  }

  routines(dtype: DType): RawRoutines {
    const prefix = dtype === "f32" ? "s" : "d";
    return new Proxy({} as RawRoutines, { get: (_, name) => this.#exports[prefix + String(name)] });
  }

  view(dtype: DType, pointer: number, length: number): Typed {
    const { buffer } = this.memory;
    return dtype === "f32" ? new Float32Array(buffer, pointer, length) : new Float64Array(buffer, pointer, length);
  }

  /** Places values so that the last of them ends `fromEnd` bytes before the end of memory. */
  placeLast(dtype: DType, values: ArrayLike<number>, fromEnd = 0): number {
    const pointer = this.memory.buffer.byteLength - fromEnd - values.length * bytesOf(dtype);
    this.view(dtype, pointer, values.length).set(values);
    return pointer;
  }
}
