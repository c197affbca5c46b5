// The entry `lowrank/slim`: the names of `lowrank`, another init.
import type * as full from "lowrank";
import type * as slim from "lowrank/slim";
import { init, type KernelOption, zeros } from "lowrank/slim";
import type { Same } from "./assert.js";
import { sure } from "./assert.js";

sure<Same<keyof typeof slim, keyof typeof full>>();
sure<Same<typeof slim.Tensor, typeof full.Tensor>>();
sure<Same<typeof slim.svd, typeof full.svd>>();

const bytes = new Uint8Array(8);
const kernels: KernelOption[] = [
  bytes,
  bytes.buffer,
  Promise.resolve(bytes),
  { simd: bytes, relaxed: bytes.buffer, simdShared: Promise.resolve(bytes), relaxedShared: bytes },
];
for (const kernel of kernels) init({ kernel });
// @ts-expect-error: not the address of a kernel
init({ kernel: "kernel.simd.wasm" });

const shared: ReturnType<typeof full.zeros> = zeros([1]);

export { shared };
