// A set of adapters as files hold it, whatever the format: adapters by module name, the config, and everything else that
// came with them.

import type { SafetensorsDType } from "../../safetensors/header.js";
import type { StoredTensor } from "../../safetensors/writer.js";
import type { LoraAdapter } from "../adapter.js";
import type { LoraConfig } from "../config.js";

export type AdapterFormat = "peft" | "kohya" | "diffusers";

/** What kind of layer an adapter is for: its factors are matrices in any case. */
export type ModuleKind =
  | { readonly kind: "linear" }
  /** A is (r, rows of the table), B (width, r); ΔW is (B·A)ᵀ. */
  | { readonly kind: "embedding" }
  /** A (r, in·kh·kw) was stored as (r, in, kh, kw), B (out, r) as (out, r, 1, 1). */
  | { readonly kind: "convolution"; readonly kernel: readonly number[] };

export interface AdapterFile {
  /** The format it was read from. */
  readonly format: AdapterFormat;
  readonly config: LoraConfig;
  /** By the names of their modules: paths with dots; underscores in kohya's files unless module names were given. */
  readonly modules: Map<string, LoraAdapter>;
  /** Of modules that are not linear. */
  readonly kinds: Map<string, ModuleKind>;
  /** Modules saved as a whole, trained biases: as they were stored, by their full names. */
  readonly extras: Map<string, StoredTensor>;
  /** `__metadata__` of the safetensors file. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Stored type of most factors. */
  readonly dtype: SafetensorsDType;
}
