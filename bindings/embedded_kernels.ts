// The kernels in the package: one module each, imported when its kernel was chosen.

import type { Variant } from "./load.js";

const kernels: Record<Variant, () => Promise<{ bytes(): Uint8Array<ArrayBuffer> }>> = {
  simd: () => import("./generated/kernel.simd.js"),
  relaxed: () => import("./generated/kernel.relaxed.js"),
  "simd-shared": () => import("./generated/kernel.simd-shared.js"),
  "relaxed-shared": () => import("./generated/kernel.relaxed-shared.js"),
};

/** @internal The bytes of a kernel. */
export async function embedded(variant: Variant): Promise<Uint8Array<ArrayBuffer>> {
  return (await kernels[variant]()).bytes();
}
