// Where the DOM is known: modules, responses and their promises are kernels too.
import { init } from "lowrank/slim";

async function load(): Promise<void> {
  await init({ kernel: fetch("kernel.simd.wasm") });
  await init({ kernel: await fetch("kernel.simd.wasm") });
  await init({ kernel: new WebAssembly.Module(new ArrayBuffer(8)) });
  await init({ kernel: { simd: fetch("kernel.simd.wasm"), relaxed: WebAssembly.compile(new ArrayBuffer(8)) } });
  // @ts-expect-error: not the address of a kernel
  await init({ kernel: "kernel.simd.wasm" });
}

export { load };
