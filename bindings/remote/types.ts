// How the types of the library look from a page: every function gives a promise, every object is a handle.

import type * as api from "../api.js";
import type { Factorization } from "../factors/factorization.js";
import type { Capabilities } from "../load.js";
import type { LoraAdapter } from "../lora/adapter.js";
import type { LoraConfig } from "../lora/config.js";
import type { LoraLinear } from "../lora/linear.js";
import type { AdapterPool } from "../lora/pool.js";
import type * as lora from "../lora.js";
import type { IncrementalPCA } from "../pca/incremental_pca.js";
import type { PCA } from "../pca/pca.js";
import type { TruncatedSVD } from "../pca/truncated_svd.js";
import type { QuantizedTensor } from "../quantized/quantize.js";
import type { SafetensorsFile } from "../safetensors/file.js";
import type * as safetensors from "../safetensors.js";
import type { Csr } from "../sparse/csr.js";
import type { Tensor } from "../tensor.js";
import type { CallOptions } from "./connection.js";

/** What lives in the worker. */
type Living =
  | AdapterPool
  | Csr
  | Factorization
  | IncrementalPCA
  | LoraAdapter
  | LoraConfig
  | LoraLinear
  | PCA
  | QuantizedTensor
  | SafetensorsFile
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
  | "scope"
  | "terminate"
>;

/** The library in a worker. */
export type Remote = {
  readonly [Key in keyof Library]: Library[Key] extends { prototype: Living }
    ? RemoteClass<Library[Key]>
    : RemoteFunction<Library[Key]>;
} & {
  readonly csr: RemoteFunction<typeof api.csr> & { readonly fromCoo: RemoteFunction<typeof api.csr.fromCoo> };
  /** What the worker found: its build, its threads, and why it is not more. */
  capabilities(): Capabilities;
  /** Ends what runs, the worker and its objects; tensors that it gave stay. Calls that wait reject with code "terminated". */
  terminate(): Promise<void>;
};
