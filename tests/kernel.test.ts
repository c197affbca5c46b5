// What the compiled kernels hold, whatever they compute: no data, no start function, no imports but memory, hot
// functions that were not inlined, size.

import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { BUILD } from "./support/build.js";
import { readCalls, readModule } from "./support/wasm.js";

const VARIANTS = ["simd", "relaxed", "simd-shared", "relaxed-shared"] as const;

const binary = (variant: string) => readFileSync(`build/kernel.${variant}.wasm`);
const text = (variant: string) => readFileSync(`build/kernel.${variant}.wat`, "utf8");

/**
 * Engines compile a function between its calls, never inside one: these are the functions whose loops must be entered
 * often, and who calls them. The optimiser inlines small functions silently.
 */
const HOT = [
  ["multiplyTile", "tileRow"],
  ["tileRow", "tile"],
  ["packRange", "packPanel"],
  ["syrk", "tileRow"],
  ["gemvN", "gemvRows8"],
  ["gemvT", "gemvColumns8"],
  ["ger", "axpy"],
  ["labrdColumn", "readTrailing"],
  ["readColumns", "gemvRows8"],
  ["readColumns", "gemvColumns8"],
  ["larfb", "gemm"],
  ["eliminate", "axpy"],
  ["gaussian", "storePair"],
  ["trsmSlice", "gemm"],
  ["gemmSlice", "gemm"],
  ["buildVectors", "leftVector"],
  ["buildVectors", "rightVector"],
  ["multiplyUp", "ratios"],
  ["findRoot", "sumSide"],
  ["applySweeps", "strip"],
  ["csrmm", "rowsTimes8"],
  ["csrmm", "rowsTimesColumn"],
  ["csrmmTransposed", "addRows8"],
  ["csrmmTransposed", "addRowsColumn"],
  ["orthogonalize", "front"],
  ["factorLanes", "reduceColumn"],
  ["storeLong", "applyReflector"],
  ["linear", "weightPanel"],
  ["weightPanel", "tile"],
  ["linear", "dotsOfBlock"],
  ["linear", "dotsOfPanel"],
  ["oneRowOfColumns", "addRows4"],
  ["segment", "dots8"],
  ["segment", "dots2x4"],
  ["segment", "add4"],
  ["segment", "add2x4"],
  ["sumShifted", "sumShifted4"],
  ["potrf", "solvePanel"],
  ["potrf", "correctRows2"],
  ["alsRows", "gatherPanel"],
  ["alsRows", "tileRow"],
  ["alsRows", "solve"],
  ["solve", "potrf"],
] as const;

/** The same of what the kernel has in f64 alone. */
const HOT_IN_F64 = [
  ["rotateTiles", "rotatePairs"],
  ["rotatePairs", "dot"],
  ["rotatePairs", "rotate"],
  ["geqp3Slice", "dot"],
  ["geqp3Slice", "axpy"],
] as const;

// all variants are looked at, whichever runs
describe.runIf(BUILD === "simd").each(VARIANTS)("kernel.%s", (variant) => {
  test("kernel has no data, no start function, no table and no memory of its own", () => {
    const { sections } = readModule(binary(variant));
    expect(
      sections.filter((name) => ["data", "data count", "start", "table", "element", "memory"].includes(name)),
    ).toEqual([]);
    expect(text(variant)).not.toMatch(/^ \((data|start|table|elem) /m);
  });

  test("kernel imports env.memory and nothing else, shared in the shared variants", () => {
    const { imports } = readModule(binary(variant));
    const shared = variant.endsWith("-shared");
    expect(imports).toEqual([{ module: "env", name: "memory", kind: "memory", shared }]);
  });

  test("kernel exports functions in pairs of both precisions", () => {
    const { exports } = readModule(binary(variant));
    const names = exports.filter(({ kind }) => kind === "function").map(({ name }) => name);
    expect(exports.filter(({ kind }) => kind !== "function" && kind !== "memory")).toEqual([]);
    expect(names).toEqual(expect.arrayContaining(["sgemm", "dgemm", "sgesvd", "dgesvd", "setPackMemory", "packBytes"]));
    const precisions = names.filter((name) => /^[sd](?!et[A-Z])/.test(name));
    expect(precisions.length).toBeGreaterThan(30);
    for (const name of precisions) expect(names).toContain((name.startsWith("s") ? "d" : "s") + name.slice(1));
    expect(names).toEqual(
      readModule(binary("simd"))
        .exports.map(({ name }) => name)
        .filter((name) => name !== "memory"),
    );
  });

  test("kernel never grows memory", () => {
    expect(text(variant)).not.toContain("memory.grow");
  });

  test("kernel has relaxed instructions only in the relaxed variants", () => {
    const relaxed = text(variant).includes("relaxed_");
    expect(relaxed).toBe(variant.startsWith("relaxed"));
  });

  test("kernel's batches of small matrices have the same digits in every variant: nothing in them is fused", () => {
    const functions = text(variant).split(/^ \(func \$/m);
    const batch = functions.filter((one) => one.startsWith("assembly/svd/batch"));
    expect(batch.length).toBeGreaterThan(10);
    for (const one of batch) expect(one).not.toContain("relaxed_");
  });

  test.each(HOT)("kernel's %s calls %s as a function of its own, in both precisions", (caller, callee) => {
    const calls = readCalls(text(variant));
    for (const type of ["f32", "f64"]) {
      expect([...(calls.get(`${caller}<${type}>`) ?? [])]).toContain(`${callee}<${type}>`);
    }
  });

  test.each(HOT_IN_F64)(
    "kernel's %s calls %s as a function of its own, in f64, and is not there in f32",
    (caller, callee) => {
      const calls = readCalls(text(variant));
      expect([...(calls.get(`${caller}<f64>`) ?? [])]).toContain(`${callee}<f64>`);
      expect(calls.has(`${caller}<f32>`)).toBe(false);
    },
  );

  test("kernel's passes of dqds, the same for both precisions, are a function of their own", () => {
    expect([...(readCalls(text(variant)).get("pass") ?? [])]).toContain("steps");
  });

  test.each([
    ["perform", "runTile"],
    ["runTile", "multiplyTile<f32>"],
    ["runTile", "mergeTile<f64>"],
    ["runTile", "readColumns<f32>"],
    ["runTile", "readColumns<f64>"],
    ["fewRows", "float16Rows4"],
    ["fewRows", "bfloat16Rows4"],
    ["fewRows", "addRows4"],
    ["fewRows", "nf4Row"],
    ["packedForward", "multiplyPanel"],
    ["multiplyPanel", "decodeRange"],
    ["multiplyPanel", "tile<f32>"],
    ["sadamw", "adamwBlock<f32>"],
    ["dadamw", "adamwBlock<f64>"],
  ])("kernel's %s calls %s as a function of its own", (caller, callee) => {
    expect([...(readCalls(text(variant)).get(caller) ?? [])]).toContain(callee);
  });

  test("kernel is within its limit, gzipped", () => {
    const { kernelGzip } = JSON.parse(readFileSync("scripts/limits.json", "utf8"));
    expect(gzipSync(binary(variant), { level: 9 }).length).toBeLessThan(kernelGzip);
  });
});

describe("kernel", () => {
  // engines without relaxed SIMD refuse a module for a single such instruction
  const strict = ["simd", "simd-shared", "debug"];
  const compilable = BUILD === "relaxed" ? [...strict, "relaxed", "relaxed-shared"] : strict;

  test("kernel without relaxed instructions is valid everywhere; with them where the engine has relaxed SIMD", () => {
    for (const variant of strict) expect(WebAssembly.validate(binary(variant))).toBe(true);
    const hasRelaxed = BUILD === "relaxed" || Number(process.versions.node.split(".")[0]) >= 21;
    for (const variant of ["relaxed", "relaxed-shared"]) expect(WebAssembly.validate(binary(variant))).toBe(hasRelaxed);
  });

  test.each(compilable)("kernel.%s: a further instance on the same memory changes no byte", (variant) => {
    const shared = variant.endsWith("-shared");
    const memory = new WebAssembly.Memory({ initial: 80, maximum: 65536, shared });
    const bytes = new Uint8Array(memory.buffer);
    for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 167 + (i >> 8) * 59 + 1) & 255;
    const before = bytes.slice();
    const module = new WebAssembly.Module(binary(variant));
    const make = () =>
      new WebAssembly.Instance(module, { env: { memory } }).exports as Record<string, CallableFunction>;
    const first = make();
    expect(Buffer.compare(bytes, before)).toBe(0);
    // also while the first one has a product in memory
    const base = 64 + first.packBytes?.();
    first.setPackMemory?.(64);
    const doubles = new Float64Array(memory.buffer, base, 3 * 400).fill(2);
    const product = () => first.dgemm?.(20, 20, 20, 1, base, 20, 1, base + 3200, 20, 1, 0, base + 6400, 20);
    product();
    expect(doubles[800]).toBe(80);
    const after = bytes.slice();
    const second = make();
    expect(second.packBytes?.()).toBe(first.packBytes?.());
    expect(Buffer.compare(bytes, after)).toBe(0);
    product();
    expect(Buffer.compare(bytes, after)).toBe(0);
  });
});

describe("readModule()", () => {
  // (module (import "env" "memory" (memory 1)) (func) (start 0) (data (i32.const 0) "x"))
  const withData = new Uint8Array([
    ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0],
    ...[2, 15, 1, 3, 101, 110, 118, 6, 109, 101, 109, 111, 114, 121, 2, 0, 1],
    ...[3, 2, 1, 0, 8, 1, 0, 10, 4, 1, 2, 0, 11, 11, 7, 1, 0, 65, 0, 11, 1, 120],
  ]);

  test("readModule() finds a start function and data where they are, and such a module changes memory", () => {
    const { sections, imports } = readModule(withData);
    expect(sections).toEqual(["type", "import", "function", "start", "code", "data"]);
    expect(imports).toEqual([{ module: "env", name: "memory", kind: "memory", shared: false }]);
    const memory = new WebAssembly.Memory({ initial: 1 });
    new WebAssembly.Instance(new WebAssembly.Module(withData), { env: { memory } });
    expect(new Uint8Array(memory.buffer)[0]).toBe(120);
  });

  test("readCalls() finds who calls whom", () => {
    const wat =
      "(module\n (func $a/b/outer<f32> (param $0 i32)\n  call $a/c/inner<f32>\n )\n (func $a/c/inner<f32>\n )\n)";
    const calls = readCalls(wat);
    expect([...(calls.get("outer<f32>") ?? [])]).toEqual(["inner<f32>"]);
    expect([...(calls.get("inner<f32>") ?? [])]).toEqual([]);
  });
});
