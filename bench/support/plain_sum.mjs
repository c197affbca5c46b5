// A sum over memory as fast as WebAssembly can: 128-bit loads into eight sums. It measures bandwidth and is no part of the
// library, so the compiler makes it here.

import { compileString } from "assemblyscript/asc";

/** Bytes a call: the engine replaces a function between its calls only, so one long call would stay in baseline code. */
const CALL_BYTES = 2 ** 16;

const source = ["f32", "f64"]
  .map((lane) => {
    const x = { f32: "f32x4", f64: "f64x2" }[lane];
    const each = (f) => Array.from({ length: 8 }, (_, i) => f(i)).join("\n");
    const width = { f32: 4, f64: 2 }[lane];
    return `
export function sum_${lane}(p: usize, end: usize): f64 {
  ${each((i) => `let s${i} = ${x}.splat(0);`)}
  for (; p < end; p += 128) {
    ${each((i) => `s${i} = ${x}.add(s${i}, v128.load(p, ${16 * i}));`)}
  }
  ${each((i) => (i === 0 ? "" : `s0 = ${x}.add(s0, s${i});`))}
  return ${Array.from({ length: width }, (_, i) => `<f64>${x}.extract_lane(s0, ${i})`).join(" + ")};
}`;
  })
  .join("\n");

/**
 * @param memory what the arrays to be summed stand on
 * @returns for each dtype a function that sums a typed array, whose bytes are a multiple of 64 KiB
 */
export async function plainSums(memory) {
  const shared = typeof SharedArrayBuffer === "function" && memory.buffer instanceof SharedArrayBuffer;
  const { error, stderr, binary } = await compileString(source, {
    optimizeLevel: 3,
    runtime: "stub",
    noAssert: true,
    importMemory: true,
    enable: shared ? ["simd", "threads"] : ["simd"],
    ...(shared && { sharedMemory: true, initialMemory: 1, maximumMemory: 65536 }),
  });
  if (error) throw new Error(`the plain sum does not compile\n${stderr}`, { cause: error });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(binary), { env: { memory } });
  const over = (sum) => (array) => {
    let total = 0;
    const end = array.byteOffset + array.byteLength;
    for (let at = array.byteOffset; at < end; at += CALL_BYTES) total += sum(at, at + CALL_BYTES);
    return total;
  };
  return { f32: over(exports.sum_f32), f64: over(exports.sum_f64) };
}
