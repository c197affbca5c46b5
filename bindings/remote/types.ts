// How the types of the library look from a page: every function gives a promise, every object is a handle.

import type * as api from "../api.js";
import type { Factorization } from "../factors/factorization.js";
import type { TensorLike } from "../interop.js";
import type { Kabsch } from "../linalg/kabsch.js";
import type { LowRank } from "../linalg/low_rank.js";
import type { Lstsq, LstsqOptions } from "../linalg/lstsq.js";
import type { MatrixRankOptions } from "../linalg/matrix_rank.js";
import type { ConditionOrder, NormOrder } from "../linalg/norm.js";
import type { Procrustes } from "../linalg/procrustes.js";
import type { Rank } from "../linalg/rank_rule.js";
import type { Capabilities } from "../load.js";
import type { LoraAdapter } from "../lora/adapter.js";
import type { LoraConfig } from "../lora/config.js";
import type { LoraLinear } from "../lora/linear.js";
import type { AdapterPool } from "../lora/pool.js";
import type { SvdLinear } from "../lora/svd_linear.js";
import type * as lora from "../lora.js";
import type { IncrementalPCA } from "../pca/incremental_pca.js";
import type { PCA } from "../pca/pca.js";
import type { TruncatedSVD } from "../pca/truncated_svd.js";
import type { ProgressOptions } from "../progress.js";
import type { QuantizedTensor } from "../quantized/quantize.js";
import type { SafetensorsFile } from "../safetensors/file.js";
import type * as safetensors from "../safetensors.js";
import type { Csr } from "../sparse/csr.js";
import type { DType, Tensor } from "../tensor.js";
import type { AdamW } from "../training/adamw.js";
import type { Sequential } from "../training/sequential.js";
import type { Sgd } from "../training/sgd.js";
import type { CallOptions } from "./connection.js";

/** What lives in the worker. */
type Living =
  | AdamW
  | AdapterPool<DType>
  | Csr
  | Factorization
  | IncrementalPCA
  | LoraAdapter
  | LoraConfig
  | LoraLinear
  | PCA
  | QuantizedTensor
  | SafetensorsFile
  | Sequential
  | Sgd
  | SvdLinear
  | TruncatedSVD;

type Numbers = ArrayBufferView | Tensor;

/** A result as a page gets it. */
export type RemoteResult<T> =
  T extends PromiseLike<infer V>
    ? RemoteResult<V>
    : T extends Numbers
      ? T
      : T extends Living
        ? RemoteObject<T>
        : T extends ReadonlyMap<infer K, infer V>
          ? Map<K, RemoteResult<V>>
          : T extends readonly (infer V)[]
            ? RemoteResult<V>[]
            : T extends (...values: never[]) => unknown
              ? never
              : T extends object
                ? { [Key in keyof T]: RemoteResult<T[Key]> }
                : T;

/** An argument as a page gives it. */
export type RemoteArgument<T> = T extends Numbers
  ? T
  : T extends Living
    ? RemoteObject<T>
    : T extends ReadonlyMap<infer K, infer V>
      ? ReadonlyMap<K, RemoteArgument<V>>
      : T extends readonly (infer V)[]
        ? number extends V
          ? T
          : readonly RemoteArgument<V>[]
        : T extends (...values: never[]) => unknown
          ? T
          : T extends object
            ? { [Key in keyof T]: RemoteArgument<T[Key]> }
            : T;

/** Options take CallOptions, too: objects all of whose properties may be left out. */
type WithCallOptions<T> =
  NonNullable<T> extends readonly unknown[] | Numbers | string | number | boolean
    ? T
    : Record<string, never> extends NonNullable<T>
      ? T | (NonNullable<T> & CallOptions)
      : T;

type RemoteArguments<A extends readonly unknown[]> = { [I in keyof A]: WithCallOptions<RemoteArgument<A[I]>> };

/** A function that gives a promise. */
export type RemoteFunction<F> = F extends (...values: infer A) => infer R
  ? (...values: RemoteArguments<A>) => Promise<RemoteResult<R>>
  : never;

/** An object of the library in the worker. */
export type RemoteObject<T> = {
  readonly [Key in keyof T as Key extends "dispose" | symbol ? never : Key]: T[Key] extends (
    ...values: infer A
  ) => infer R
    ? (...values: RemoteArguments<A>) => Promise<RemoteResult<R>>
    : Promise<RemoteResult<T[Key]>>;
} & Disposable & {
    /** Sets a property that can be set. */
    set<Key extends keyof T>(name: Key, value: T[Key]): Promise<void>;
    /** Disposes of the object in the worker, after the calls before. */
    dispose(): void;
  };

type Statics<C> = {
  readonly [Key in keyof C as Key extends "prototype" ? never : Key]: RemoteFunction<C[Key]>;
};

/** A class: `await new remote.PCA()` gives a handle. */
export type RemoteClass<C> = Statics<C> &
  (C extends new (
    ...values: infer A
  ) => infer I
    ? new (
        ...values: RemoteArguments<A>
      ) => Promise<RemoteObject<I>>
    : unknown);

type Library = Omit<
  typeof api & typeof lora & typeof safetensors,
  | "ConvergenceError"
  | "FileFormatError"
  | "NonFiniteError"
  | "OutOfMemoryError"
  | "Tensor"
  | "capabilities"
  | "csr"
  | "schedule"
  | "scope"
  | "terminate"
>;

/** Functions whose type parameters say whether the result is of one matrix or of a batch. */
interface Chosen {
  cond<S extends number | Tensor = number>(
    a: TensorLike,
    p?: ConditionOrder,
    options?: ProgressOptions & CallOptions,
  ): Promise<S>;
  kabsch<S extends number | Tensor = number>(
    p: TensorLike,
    q: TensorLike,
    options?: ProgressOptions & CallOptions,
  ): Promise<Kabsch<S>>;
  lowRank<S extends number | Tensor = number>(
    a: TensorLike,
    rule: Rank & ProgressOptions & CallOptions,
  ): Promise<LowRank<DType, S>>;
  lstsq<R extends number | Int32Array = number>(
    a: TensorLike,
    b: TensorLike,
    options?: LstsqOptions & CallOptions,
  ): Promise<Lstsq<DType, R>>;
  matrixRank<R extends number | Int32Array = number>(
    a: TensorLike,
    options?: MatrixRankOptions & CallOptions,
  ): Promise<R>;
  norm<S extends number | Tensor = number>(
    a: TensorLike,
    ord?: NormOrder,
    options?: ProgressOptions & CallOptions,
  ): Promise<S>;
  procrustes<S extends number | Tensor = number>(
    a: TensorLike,
    b: TensorLike,
    options?: ProgressOptions & CallOptions,
  ): Promise<Procrustes<S>>;
}

/** The library in a worker. */
export type Remote = Chosen & {
  readonly [Key in Exclude<keyof Library, keyof Chosen>]: Library[Key] extends (...values: never[]) => unknown
    ? RemoteFunction<Library[Key]>
    : RemoteClass<Library[Key]>;
} & {
  readonly csr: RemoteFunction<typeof api.csr> & { readonly fromCoo: RemoteFunction<typeof api.csr.fromCoo> };
  /** What the worker found: its build, its threads, and why it is not more. */
  capabilities(): Capabilities;
  /** Ends what runs, the worker and its objects; tensors that it gave stay. Calls that wait reject with code "terminated". */
  terminate(): Promise<void>;
};
