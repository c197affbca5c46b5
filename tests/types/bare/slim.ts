// Where the DOM is not known: its WebAssembly.Module is an empty interface, which any object satisfies.
import { init } from "lowrank/slim";

const bytes = new Uint8Array(8);
async function load(): Promise<void> {
  // @ts-expect-error: the strict kernel is the one that every engine can run
  await init({ kernel: { relaxed: bytes } });
  // @ts-expect-error: a list is no kernel
  await init({ kernel: [bytes] });
}

export { load };
