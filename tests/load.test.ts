// Loading: every test works on a library of its own, not on the one that setup.ts started.

import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { InitOptions, Source } from "../bindings/index.js";
import { BUILD } from "./support/build.js";
import { freshModules } from "./support/fresh.js";

type Modules = Awaited<ReturnType<typeof freshModules>>;

const bytesOf = (name: string) => new Uint8Array(readFileSync(`build/kernel.${name}.wasm`));
const simd = bytesOf("simd");
const simdShared = bytesOf("simd-shared");
const relaxed = bytesOf("relaxed");
const relaxedShared = bytesOf("relaxed-shared");
const hasRelaxed = WebAssembly.validate(relaxed);
/** Small memories: one is reserved for each test. */
const memory = { maximumMiB: 64 };

let library: Modules["library"];
let slim: Modules["slim"];
let lora: Modules["lora"];

beforeEach(async () => {
  ({ library, slim, lora } = await freshModules());
});

afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  await library.terminate();
});

/** The engine says that it has, or has not, SIMD and relaxed SIMD. */
function engine(has: { simd: boolean; relaxed: boolean }) {
  vi.spyOn(WebAssembly, "validate").mockImplementation((probe) => {
    const text = new Uint8Array(probe as ArrayBuffer).join();
    // f32x4.relaxed_madd
    return text.includes("253,133,2") ? has.relaxed : has.simd;
  });
}

const code = (name: string, message: RegExp) =>
  expect.objectContaining({ code: name, message: expect.stringMatching(message) });

describe("choice of the build", () => {
  test("init: takes the build with fused multiply-add where the engine has it", async () => {
    const { build, reasons } = await library.init({ memory });
    expect(build).toBe(hasRelaxed ? "relaxed" : "simd");
    expect(reasons).toEqual(hasRelaxed ? [] : ["build: this engine has no relaxed SIMD"]);
    if (BUILD === "relaxed") expect(build).toBe("relaxed");
  });

  test("init: asks the engine, not a list of versions", async () => {
    const wanted = new Error("the relaxed kernel was asked for");
    const given = { simd, relaxed: () => Promise.reject(wanted) };
    engine({ simd: true, relaxed: true });
    const memoryPlain = { ...memory, shared: false };
    await expect(
      slim.init({ kernel: { simd: given.simd, relaxed: given.relaxed() }, memory: memoryPlain }),
    ).rejects.toThrow(wanted);
    engine({ simd: true, relaxed: false });
    const { build, reasons } = await slim.init({ kernel: { simd, relaxed }, memory: memoryPlain });
    expect(build).toBe("simd");
    expect(reasons).toEqual(["build: this engine has no relaxed SIMD"]);
  });

  test("init: build simd is the strict one everywhere", async () => {
    const { build, reasons } = await library.init({ build: "simd", memory });
    expect(build).toBe("simd");
    expect(reasons).toEqual([]);
  });

  test("init: build relaxed does not fall back", async () => {
    engine({ simd: true, relaxed: false });
    await expect(library.init({ build: "relaxed", memory })).rejects.toThrow(
      code("unsupported", /no relaxed SIMD.*Chrome 114.*Firefox 146.*Node 21/),
    );
    await expect(library.init({ memory })).resolves.toMatchObject({ build: "simd" });
  });

  test("init: build relaxed gives fused multiply-add", async () => {
    if (!hasRelaxed) {
      await expect(library.init({ build: "relaxed", memory })).rejects.toThrow(code("unsupported", /no relaxed SIMD/));
      return;
    }
    await expect(library.init({ build: "relaxed", memory })).resolves.toMatchObject({ build: "relaxed", reasons: [] });
  });

  test("init: without SIMD says which versions have it", async () => {
    engine({ simd: false, relaxed: false });
    await expect(library.init()).rejects.toThrow(
      code("unsupported", /no WebAssembly SIMD.*Chrome 91.*Firefox 89.*Safari 16\.4.*Node 16\.4/),
    );
    expect(() => library.zeros([1])).toThrow("call await init() first");
  });

  test("init: without WebAssembly says so", async () => {
    vi.stubGlobal("WebAssembly", undefined);
    await expect(library.init()).rejects.toThrow(code("unsupported", /no WebAssembly/));
  });
});

describe("one kernel a realm", () => {
  test("init: idempotent; concurrent and later calls share one promise", async () => {
    const first = library.init({ memory });
    expect(library.init({ memory })).toBe(first);
    expect(library.init()).toBe(first);
    const capabilities = await first;
    expect(library.init()).toBe(first);
    expect(library.init({ memory: { shared: "auto", ...memory }, build: "auto", threads: 1 })).toBe(first);
    expect(capabilities).toEqual(library.capabilities());
  });

  test.each<InitOptions>([{ build: "simd" }, { memory: { maximumMiB: 128 } }, { memory: { shared: false } }, {}])(
    "init: other options later are an Error (%j)",
    async (other) => {
      await library.init({ memory });
      await expect(library.init(other)).rejects.toThrow(code("already_initialized", /other options/));
      await expect(slim.init({ kernel: simd, ...other })).rejects.toThrow(code("already_initialized", /other options/));
      expect(library.zeros([1]).size).toBe(1);
    },
  );

  test("init: a failed call can be retried, also with other options", async () => {
    vi.spyOn(WebAssembly, "compile").mockRejectedValueOnce(new WebAssembly.CompileError("no luck"));
    await expect(library.init({ memory })).rejects.toThrow(
      expect.objectContaining({ code: "unsupported", cause: expect.objectContaining({ message: "no luck" }) }),
    );
    expect(() => library.capabilities()).toThrow("call await init() first");
    await library.init({ build: "simd", memory });
    expect(library.tensor([1, 2]).toArray()).toEqual([1, 2]);
  });

  test("init: both entries and lowrank/lora share one kernel", async () => {
    const promise = slim.init({ kernel: simd, memory });
    expect(library.init()).toBe(promise);
    await promise;
    const a = library.tensor([[1, 2]]);
    expect(slim.capabilities()).toEqual(library.capabilities());
    expect(slim.Tensor).toBe(library.Tensor);
    expect(slim.matmul(a, a.transpose()).toArray()).toEqual([[5]]);
    expect(new lora.LoraAdapter({ a, b: [[1]] }).delta().toArray()).toEqual([[1, 2]]);
    await slim.terminate();
    expect(() => library.zeros([1])).toThrow("call await init() first");
  });

  test("terminate: ends everything, and init() may follow", async () => {
    await library.terminate();
    await library.init({ build: "simd", memory });
    const old = library.zeros([1]);
    await library.terminate();
    expect(() => library.capabilities()).toThrow(code("not_initialized", /^call await init\(\) first$/));
    await library.init({ memory: { ...memory, shared: false } });
    expect(library.capabilities().sharedMemory).toBe(false);
    expect(() => old.data).toThrow(code("terminated", /terminate\(\)/));
  });

  test("terminate: a call of init() that was under way fails, the next one works", async () => {
    const first = library.init({ memory });
    await library.terminate();
    const second = library.init({ build: "simd", memory });
    await expect(first).rejects.toThrow(code("terminated", /terminate\(\) was called/));
    await expect(second).resolves.toMatchObject({ build: "simd" });
    expect(library.capabilities().build).toBe("simd");
  });

  test.each<[string, (modules: Modules) => unknown]>([
    ["tensor", ({ library }) => library.tensor([1])],
    ["zeros", ({ library }) => library.zeros([1])],
    ["empty", ({ library }) => library.empty([1])],
    ["eye", ({ library }) => library.eye(1)],
    ["matmul", ({ library }) => library.matmul([[1]], [[1]])],
    ["matmul of typed arrays", ({ library }) => library.matmul(Float32Array.of(1), Float32Array.of(1))],
    ["svd", ({ library }) => library.svd([[1]])],
    ["svdvals", ({ library }) => library.svdvals([[1]])],
    ["scope", ({ library }) => library.scope(() => 1)],
    ["capabilities", ({ library }) => library.capabilities()],
    ["LoraAdapter", ({ lora }) => new lora.LoraAdapter({ a: [[1]], b: [[1]] })],
    ["LoraLinear", ({ lora }) => new lora.LoraLinear({ weight: Float64Array.of(1) as never })],
  ])("%s: before init() an Error says what to call", async (_, call) => {
    const modules = await freshModules();
    expect(() => call(modules)).toThrow(code("not_initialized", /^call await init\(\) first$/));
  });

  test("trainableParameters: shapes alone need no kernel", () => {
    expect(lora.trainableParameters({ w: [2, 3] }, { r: 1 }).trainable).toBe(5);
  });
});

describe("what compilation may answer", () => {
  test.each([
    [
      "Chrome",
      "WebAssembly.compile(): Refused to compile or instantiate WebAssembly module because neither 'wasm-unsafe-eval' " +
        "nor 'unsafe-eval' is an allowed source of script in the following Content Security Policy directive",
    ],
    ["Firefox", "call to WebAssembly.compile() blocked by CSP"],
    [
      "Safari",
      "Refused to create a WebAssembly object because 'unsafe-eval' or 'wasm-unsafe-eval' is not an allowed source",
    ],
  ])("init: a Content-Security-Policy in %s is named, with the word that is missing", async (_, message) => {
    const cause = new WebAssembly.CompileError(message);
    vi.spyOn(WebAssembly, "compile").mockRejectedValue(cause);
    const blocked = expect.objectContaining({
      code: "blocked_by_csp",
      message: expect.stringMatching(/Content-Security-Policy.*'wasm-unsafe-eval'.*script-src/),
      cause,
    });
    await expect(library.init({ memory })).rejects.toThrow(blocked);
    await expect(slim.init({ kernel: simd, memory })).rejects.toThrow(blocked);
  });
});

describe("lowrank/slim", () => {
  const plain = { ...memory, shared: false };
  const sources: [string, () => Source][] = [
    ["a Uint8Array", () => simd],
    ["a Buffer", () => readFileSync("build/kernel.simd.wasm")],
    ["an ArrayBuffer", () => simd.slice().buffer],
    ["a DataView", () => new DataView(simd.slice().buffer)],
    ["a part of a larger buffer", () => Uint8Array.from([9, ...simd, 9]).subarray(1, simd.length + 1)],
    ["a WebAssembly.Module", () => new WebAssembly.Module(simd)],
    ["a Response", () => new Response(simd)],
    ["a promise of bytes", () => Promise.resolve(simd)],
    ["a promise of a module", () => WebAssembly.compile(simd)],
    [
      "a promise of a Response",
      () => Promise.resolve(new Response(simd, { headers: { "content-type": "text/plain" } })),
    ],
  ];

  test.each(sources)("init of lowrank/slim: takes %s", async (_, source) => {
    await expect(slim.init({ kernel: source(), memory: plain })).resolves.toMatchObject({ sharedMemory: false });
    expect(slim.matmul([[2]], [[3]]).toArray()).toEqual([[6]]);
  });

  test("init of lowrank/slim: the kernel's import decides on the memory", async () => {
    const { sharedMemory, reasons } = await slim.init({ kernel: simd, build: "simd", memory });
    expect(sharedMemory).toBe(false);
    expect(reasons).toEqual(["shared memory: the given kernel is for plain memory"]);
    await slim.terminate();
    await expect(slim.init({ kernel: simdShared, build: "simd", memory })).resolves.toMatchObject({
      sharedMemory: true,
      reasons: [],
    });
    await slim.terminate();
    await expect(slim.init({ kernel: simdShared, memory: plain })).rejects.toThrow(
      new TypeError('"kernel" expected a module for plain memory, got one for the other kind'),
    );
    await expect(slim.init({ kernel: simd, memory: { ...memory, shared: true } })).rejects.toThrow(
      new TypeError('"kernel" expected a module for shared memory, got one for the other kind'),
    );
  });

  test("init of lowrank/slim: of several kernels it takes the best", async () => {
    const all = { simd, relaxed, simdShared, relaxedShared };
    const best = hasRelaxed ? "relaxed" : "simd";
    await expect(slim.init({ kernel: all, memory })).resolves.toMatchObject({ build: best, sharedMemory: true });
    await slim.terminate();
    await expect(slim.init({ kernel: all, memory: plain })).resolves.toMatchObject({
      build: best,
      sharedMemory: false,
    });
    await slim.terminate();
    await expect(slim.init({ kernel: all, build: "simd", memory })).resolves.toMatchObject({
      build: "simd",
      sharedMemory: true,
    });
    await slim.terminate();
    await expect(slim.init({ kernel: { simd, relaxed }, memory })).resolves.toMatchObject({
      build: best,
      sharedMemory: false,
      reasons: expect.arrayContaining(["shared memory: the given kernel is for plain memory"]),
    });
  });

  test("init of lowrank/slim: a kernel without relaxed SIMD is a reason, or an Error if that was asked for", async () => {
    if (hasRelaxed) {
      const { reasons } = await slim.init({ kernel: simd, memory: plain });
      expect(reasons).toEqual(["build: the given kernel has no relaxed SIMD"]);
      await slim.terminate();
      await expect(slim.init({ kernel: relaxed, build: "simd", memory: plain })).rejects.toThrow(
        new TypeError('"kernel" expected a simd build, got a relaxed build'),
      );
    }
    engine({ simd: true, relaxed: true });
    await expect(slim.init({ kernel: simd, build: "relaxed", memory: plain })).rejects.toThrow(
      new TypeError('"kernel" expected a relaxed build, got a simd build'),
    );
    await expect(slim.init({ kernel: { simd }, build: "relaxed", memory: plain })).rejects.toThrow(
      new TypeError('"kernel" expected a kernel for relaxed, got only simd'),
    );
    await expect(slim.init({ kernel: { simd }, memory: { ...memory, shared: true } })).rejects.toThrow(
      new TypeError('"kernel" expected a kernel for relaxed, shared memory, got only simd'),
    );
  });

  // (module) and a module with one import
  const empty = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0);
  const importing = Uint8Array.of(...[0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 2, 7, 1, 1, 97, 1, 98, 0, 0]);
  test.each<[string, unknown, unknown]>([
    ["nothing", undefined, /^"kernel" expected the kernel's bytes.*got undefined$/],
    ["null", null, /^"kernel" expected bytes.*got null$/],
    ["a string", "kernel.simd.wasm", /^"kernel" expected bytes.*got "kernel\.simd\.wasm"$/],
    ["a URL", new URL("https://example.org/kernel.wasm"), /^"kernel" expected bytes.*got URL$/],
    ["a promise of null", Promise.resolve(null), /^"kernel" expected bytes.*got null$/],
    ["an unknown variant", { simd, simdshared: simd }, /^"kernel" expected only "simd", .*got "simdshared"$/],
    ["an empty module", empty, /^"kernel" expected a kernel of lowrank, got another WebAssembly module$/],
    ["a module with other imports", importing, /^"kernel" expected a kernel of lowrank, got another/],
  ])("init of lowrank/slim: %s is a TypeError", async (_, kernel, message) => {
    const failed = slim.init({ kernel: kernel as Source, memory });
    await expect(failed).rejects.toThrow(TypeError);
    await expect(failed).rejects.toThrow(message as RegExp);
    await slim.init({ kernel: simd, memory });
  });

  test.each<[string, Uint8Array<ArrayBuffer>]>([
    ["a text", new TextEncoder().encode("<!doctype html>")],
    ["no bytes", new Uint8Array(0)],
    ["half of a kernel", simd.slice(0, simd.length >> 1)],
  ])("init of lowrank/slim: %s does not compile, with the engine's error as cause", async (_, bytes) => {
    await expect(slim.init({ kernel: bytes, memory })).rejects.toThrow(
      expect.objectContaining({
        code: "unsupported",
        message: "the kernel does not compile",
        cause: expect.any(WebAssembly.CompileError),
      }),
    );
  });

  test("init of lowrank/slim: a failed fetch names the status, a rejected promise passes", async () => {
    const response = new Response("not here", { status: 404 });
    await expect(slim.init({ kernel: response, memory })).rejects.toThrow(code("unsupported", /not found: 404/));
    const error = new TypeError("fetch failed");
    await expect(slim.init({ kernel: Promise.reject(error), memory })).rejects.toThrow(error);
  });
});

describe("memory", () => {
  /** The platform reserves at most `most` pages. */
  const limit = (most: number) => {
    class Limited extends WebAssembly.Memory {
      constructor(descriptor: WebAssembly.MemoryDescriptor) {
        if ((descriptor.maximum as number) > most) throw new RangeError("could not allocate memory");
        super(descriptor);
      }
    }
    WebAssembly.Memory = Limited;
  };
  const { Memory } = WebAssembly;
  afterEach(() => {
    WebAssembly.Memory = Memory;
  });

  test("init: the maximum is halved until the platform gives it", async () => {
    limit(1600);
    const { maximumBytes, reasons } = await library.init({ build: "simd", memory: { shared: false } });
    expect(maximumBytes).toBe(64 * 2 ** 20);
    expect(reasons).toEqual(["memory: this platform gives at most 64 MiB"]);
    expect(() => library.zeros([2 ** 23])).toThrow(expect.objectContaining({ maximum: maximumBytes }));
  });

  test("init: where not even the initial memory is given, an Error says how much was wanted", async () => {
    limit(10);
    await expect(library.init({ memory: { initialMiB: 32 } })).rejects.toThrow(
      expect.objectContaining({
        code: "unsupported",
        message: expect.stringContaining("32 MiB"),
        cause: expect.any(RangeError),
      }),
    );
    WebAssembly.Memory = Memory;
    await library.init({ memory });
  });

  test("init: initial and maximum memory are as asked", async () => {
    const { reservedBytes, maximumBytes } = await library.init({ memory: { initialMiB: 8, maximumMiB: 24 } });
    expect(reservedBytes).toBe(8 * 2 ** 20);
    expect(maximumBytes).toBe(24 * 2 ** 20);
  });

  test("init: a small maximum makes the initial memory small", async () => {
    const { reservedBytes } = await library.init({ memory: { maximumMiB: 4 } });
    expect(reservedBytes).toBe(4 * 2 ** 20);
    expect(library.matmul(library.eye(100), library.eye(100)).data[101]).toBe(1);
  });

  test("init: a page that is not isolated gets plain memory, and the reason", async () => {
    vi.stubGlobal("crossOriginIsolated", false);
    const { sharedMemory, isolated, reasons } = await library.init({ build: "simd", memory });
    expect([sharedMemory, isolated]).toEqual([false, false]);
    expect(reasons).toEqual(["shared memory: the page is not cross-origin isolated"]);
    await library.terminate();
    await expect(library.init({ memory: { shared: true } })).rejects.toThrow(
      code("unsupported", /cross-origin isolated.*COOP.*COEP/),
    );
  });

  test("init: shared memory that was declined is no reason", async () => {
    await expect(library.init({ build: "simd", memory: { ...memory, shared: false } })).resolves.toMatchObject({
      sharedMemory: false,
      reasons: [],
    });
  });
});

test("capabilities: every field", async () => {
  await library.init({ build: "simd", threads: 2, memory: { ...memory, shared: false } });
  const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
  const found = library.capabilities();
  expect(found).toEqual({
    version,
    build: "simd",
    threads: 1,
    sharedMemory: false,
    isolated: true,
    reasons: ["threads: they need shared memory"],
    usedBytes: found.usedBytes,
    reservedBytes: 16 * 2 ** 20,
    maximumBytes: 64 * 2 ** 20,
  });
  // packing memory and the first piece of scratch; what the warm-up used is free again
  const imports = { env: { memory: new WebAssembly.Memory({ initial: 1, maximum: 65536 }) } };
  const { packBytes } = new WebAssembly.Instance(new WebAssembly.Module(simd), imports).exports;
  expect(found.usedBytes).toBe((packBytes as () => number)() + 2 ** 18);
  using a = library.zeros([1000]);
  expect(library.capabilities().usedBytes).toBe(found.usedBytes + 8000);
  found.reasons.push("mine");
  expect(library.capabilities().reasons).toHaveLength(1);
  expect(a.size).toBe(1000);
});

test.each<[string, unknown, ErrorConstructor, string]>([
  ["null", null, TypeError, '"options" expected an object, got null'],
  ["an array", [], TypeError, '"options" expected an object, got an array'],
  ["a string", "simd", TypeError, '"options" expected an object, got "simd"'],
  [
    "an unknown key",
    { builds: "simd" },
    TypeError,
    '"options" expected only "build", "threads", "memory", "workerUrl", "kernel", got "builds"',
  ],
  ["an unknown build", { build: "fast" }, RangeError, '"build" expected "auto" | "simd" | "relaxed", got "fast"'],
  ["a build that is no text", { build: 1 }, TypeError, '"build" expected "auto" | "simd" | "relaxed", got 1'],
  ["no threads", { threads: 0 }, RangeError, '"threads" expected an integer in [1, 1024], got 0'],
  ["half a thread", { threads: 1.5 }, RangeError, '"threads" expected an integer in [1, 1024], got 1.5'],
  ["threads as text", { threads: "2" }, TypeError, '"threads" expected an integer, got "2"'],
  ["threads as bigint", { threads: 2n }, TypeError, '"threads" expected an integer, got 2n'],
  ["memory as number", { memory: 64 }, TypeError, '"memory" expected an object, got 64'],
  ["memory null", { memory: null }, TypeError, '"memory" expected an object, got null'],
  [
    "an unknown memory key",
    { memory: { max: 1 } },
    TypeError,
    '"memory" expected only "initialMiB", "maximumMiB", "shared", got "max"',
  ],
  [
    "too little memory",
    { memory: { maximumMiB: 3 } },
    RangeError,
    '"memory.maximumMiB" expected an integer in [4, 4096], got 3',
  ],
  [
    "too much memory",
    { memory: { maximumMiB: 4097 } },
    RangeError,
    '"memory.maximumMiB" expected an integer in [4, 4096], got 4097',
  ],
  [
    "NaN memory",
    { memory: { initialMiB: Number.NaN } },
    RangeError,
    '"memory.initialMiB" expected an integer in [4, 4096], got NaN',
  ],
  [
    "more initial than maximum",
    { memory: { initialMiB: 65, maximumMiB: 64 } },
    RangeError,
    '"memory.initialMiB" expected an integer in [4, 64], got 65',
  ],
  [
    "shared as text",
    { memory: { shared: "yes" } },
    TypeError,
    '"memory.shared" expected "auto" or a boolean, got "yes"',
  ],
])("init: %s is refused", async (_, options, kind, message) => {
  const failed = library.init(options as InitOptions);
  await expect(failed).rejects.toThrow(kind);
  await expect(failed).rejects.toThrow(new (kind as typeof Error)(message));
  expect(() => library.capabilities()).toThrow("call await init() first");
});
