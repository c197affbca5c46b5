// Finding, instantiating and owning the kernel. The only file that touches the loader.
// One kernel a realm: module, instance, memory, allocator and scratch live in `current`.

import { instantiate, instantiateSync } from "@assemblyscript/loader";
import { ALIGNMENT, Allocator, type AllocatorState } from "./allocator.js";
import { checkInteger, checkOneOf, checkOptions, describe, expected } from "./check.js";
import { failure } from "./errors.js";
import type { KernelExports, Routines } from "./exports.js";
import { VERSION } from "./generated/version.js";
import type { PlatformUrl } from "./platform.js";
import { Scratch } from "./scratch.js";
import { autoThreads, obstacle, Team } from "./team.js";

/** @internal A variant of the kernel: `relaxed` has fused multiply-add, `-shared` imports shared memory. */
export type Variant = "simd" | "relaxed" | "simd-shared" | "relaxed-shared";

type WasmModule = typeof globalThis extends { WebAssembly: { Module: new (...a: never[]) => infer M } } ? M : never;
type FetchResponse = typeof globalThis extends { Response: new (...a: never[]) => infer R } ? R : never;

/** Where a kernel comes from: its bytes, the compiled module, a fetch response, or a promise of one of these. */
export type Source = KernelSource | Promise<KernelSource>;
// an intersection, as the DOM's Module is an empty interface, which a text would satisfy
type KernelSource = ArrayBuffer | ArrayBufferView | (WasmModule & object) | FetchResponse;

/** One kernel for everything, or one for each variant that the page may load. */
export type KernelOption = Source | KernelVariants;

export interface KernelVariants {
  simd: Source;
  relaxed?: Source;
  simdShared?: Source;
  relaxedShared?: Source;
}

export interface InitOptions {
  /** `relaxed` is the build with fused multiply-add; "auto" takes it where the engine has it. Default "auto". */
  build?: "auto" | "simd" | "relaxed";
  /**
   * How many threads compute, the caller included; "auto": as many as the machine runs at once, 8 at most. They need shared
   * memory, and a caller that may wait: not the main thread of a page. Results are the same to the bit. Default 1.
   */
  threads?: number | "auto";
  /** Kernel memory in MiB. The maximum is halved where the platform refuses it. */
  memory?: { initialMiB?: number; maximumMiB?: number; shared?: "auto" | boolean };
  /** Where the file `dist/team_worker.js` of this package is, if a bundler or a policy moved it. */
  workerUrl?: string | PlatformUrl;
  /** The kernel, for `lowrank/slim`, which embeds none. */
  kernel?: KernelOption;
}

export interface Capabilities {
  version: string;
  build: "simd" | "relaxed";
  threads: number;
  sharedMemory: boolean;
  /** Whether the page is cross-origin isolated; true outside browsers. */
  isolated: boolean;
  /** Why it is not more: one sentence for each thing that is missing. */
  reasons: string[];
  usedBytes: number;
  reservedBytes: number;
  maximumBytes: number;
}

/** @internal Everything that belongs to one initialised kernel. */
export interface Runtime {
  readonly memory: WebAssembly.Memory;
  readonly shared: boolean;
  readonly allocator: Allocator;
  readonly scratch: Scratch;
  readonly f32: Routines;
  readonly f64: Routines;
  /** What exists once for both precisions. */
  readonly common: KernelExports;
  /** The threads that compute with this one. */
  team: Team | undefined;
  /** Drops the instance after a trap and makes it again on the same memory. */
  restart(): void;
}

interface State {
  module: WebAssembly.Module;
  runtime: Runtime;
  build: "simd" | "relaxed";
  reasons: string[];
}

let current: State | undefined;
let pending: Promise<Capabilities> | undefined;
let settled = "";

/** @internal The running kernel; an Error before init(). */
export function kernel(): Runtime {
  if (current === undefined) throw failure("not_initialized", "call await init() first");
  return current.runtime;
}

/** @internal The running kernel's module, for other threads. */
export function kernelModule(): WebAssembly.Module {
  kernel();
  return (current as State).module;
}

/** @internal Whether this is the kernel that runs: not after terminate(). */
export function isRunning(runtime: Runtime): boolean {
  return current?.runtime === runtime;
}

/** @internal Where embedded kernels come from: the default entry imports one when it was chosen. */
export type Embedded = (variant: Variant) => Promise<Uint8Array<ArrayBuffer>>;

/** The type of `init`. */
export type Init = (options?: InitOptions) => Promise<Capabilities>;

/** @internal Makes the `init` of an entry; without `embedded`, options.kernel is required. */
export function makeInit(embedded?: Embedded): Init {
  return function init(options) {
    try {
      checkInit(options, embedded !== undefined);
    } catch (error) {
      return Promise.reject(error);
    }
    const { threads = 1, workerUrl } = options ?? {};
    const wanted = JSON.stringify([settingsOf(options), threads, workerUrl]);
    if (pending !== undefined) {
      return options !== undefined && wanted !== settled ? Promise.reject(calledBefore()) : pending;
    }
    settled = wanted;
    return begin(start(options ?? {}, embedded, true));
  };
}

function begin(starting: Promise<State>): Promise<Capabilities> {
  const started: Promise<Capabilities> = starting.then(async (state) => {
    if (pending !== started) {
      await endTeam(state);
      throw failure("terminated", "terminate() was called while init() ran");
    }
    current = state;
    return capabilities();
  });
  pending = started;
  started.catch(() => {
    if (pending === started) pending = undefined;
  });
  return started;
}

/** The options that a second caller must agree on. */
function settingsOf({ build = "auto", memory }: InitOptions = {}): string {
  const { initialMiB, maximumMiB, shared = "auto" } = memory ?? {};
  return JSON.stringify([build, initialMiB, maximumMiB, shared]);
}

function calledBefore(): Error {
  return failure("already_initialized", "init() was called before with other options");
}

/**
 * @internal Loads the kernel for a thread that computes little: without warming it up, and on one thread. A kernel that runs already
 * will do.
 */
export function prepare(options: InitOptions, embedded: Embedded): Promise<Capabilities> {
  checkInit(options, true);
  const { threads: _, workerUrl: __, ...own } = options;
  if (pending === undefined) {
    settled = JSON.stringify([settingsOf(own), 1, undefined]);
    return begin(start(own, embedded, false));
  }
  const asked = own.build !== undefined || own.memory !== undefined;
  return asked && settingsOf(own) !== JSON.parse(settled)[0] ? Promise.reject(calledBefore()) : pending;
}

/** @internal What a worker is given: the module, and a memory that another thread has, or none. */
export interface Attachment {
  readonly module: WebAssembly.Module;
  readonly memory?: WebAssembly.Memory;
  readonly state?: AllocatorState;
  readonly maximumBytes?: number;
  /** The worker's number among the owners of blocks. */
  readonly owner?: number;
  readonly options: InitOptions;
}

/** @internal Makes the kernel that another thread loaded the one of this thread. */
export function attach(attachment: Attachment): Promise<Capabilities> {
  const { module, memory, options } = attachment;
  const attached = async () => {
    const reasons: string[] = [];
    const shared = memory !== undefined;
    const state = await instantiateOn(module, shared, options, reasons, shared ? attachment : undefined);
    if (state === undefined) throw new TypeError(expected("kernel", "a module for this memory", "another"));
    warm(state.runtime);
    await startTeam(state, options);
    return state;
  };
  return begin(attached());
}

function checkInit(options: InitOptions | undefined, hasEmbedded: boolean): void {
  const given = checkOptions(options, ["build", "threads", "memory", "workerUrl", "kernel"]);
  if (given.build !== undefined) checkOneOf(given.build, "build", ["auto", "simd", "relaxed"]);
  if (given.threads !== undefined && given.threads !== "auto") checkInteger(given.threads, "threads", 1, 1024);
  const memory = checkOptions(given.memory, ["initialMiB", "maximumMiB", "shared"], "memory");
  const maximum = memory.maximumMiB ?? 4096;
  checkInteger(maximum, "memory.maximumMiB", 4, 4096);
  if (memory.initialMiB !== undefined) checkInteger(memory.initialMiB, "memory.initialMiB", 4, maximum);
  if (memory.shared !== undefined && memory.shared !== "auto" && typeof memory.shared !== "boolean") {
    throw new TypeError(expected("memory.shared", '"auto" or a boolean', describe(memory.shared)));
  }
  const { workerUrl } = given;
  if (workerUrl !== undefined && typeof workerUrl !== "string" && typeof workerUrl?.href !== "string") {
    throw new TypeError(expected("workerUrl", "a string or a URL", describe(workerUrl)));
  }
  if (given.kernel === undefined && !hasEmbedded) {
    throw new TypeError(
      expected("kernel", "the kernel's bytes, module or response (lowrank/slim embeds none)", "undefined"),
    );
  }
}

/** What init() found: the build that runs, memory in use, and why it is not more. An Error before init(). */
export function capabilities(): Capabilities {
  kernel();
  const { runtime, build, reasons } = current as State;
  return {
    version: VERSION,
    build,
    threads: runtime.team?.size ?? 1,
    sharedMemory: runtime.shared,
    isolated: isolated(),
    reasons: [...reasons],
    usedBytes: runtime.allocator.usedBytes,
    reservedBytes: runtime.memory.buffer.byteLength,
    maximumBytes: runtime.allocator.maximumBytes,
  };
}

/** Lets go of the kernel and its memory. Tensors made before throw from then on; init() may follow. */
export async function terminate(): Promise<void> {
  const ended = current;
  current = undefined;
  pending = undefined;
  if (ended !== undefined) await endTeam(ended);
}

async function endTeam({ runtime }: State): Promise<void> {
  const { team } = runtime;
  runtime.team = undefined;
  await team?.end(runtime.common);
}

// (module (memory 1) (func (result v128) (i8x16.splat (i32.const 0)))) and the same with f32x4.relaxed_madd
const PROBE_SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11,
];
const PROBE_RELAXED = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0, 65, 0, 253, 15, 65, 0, 253, 15, 65,
  0, 253, 15, 253, 133, 2, 11,
];

function validates(probe: readonly number[]): boolean {
  return WebAssembly.validate(new Uint8Array(probe));
}

function isolated(): boolean {
  return (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated ?? true;
}

async function start(options: InitOptions, embedded: Embedded | undefined, warmly: boolean): Promise<State> {
  if (typeof WebAssembly !== "object") throw failure("unsupported", "this platform has no WebAssembly");
  if (!validates(PROBE_SIMD)) {
    throw failure(
      "unsupported",
      "this engine has no WebAssembly SIMD: Chrome 91, Firefox 89, Safari 16.4 and Node 16.4 have it",
    );
  }
  const reasons: string[] = [];
  const wish = options.memory?.shared ?? "auto";
  const canShare = typeof SharedArrayBuffer === "function" && isolated();
  if (wish === true && !canShare) {
    throw failure(
      "unsupported",
      "shared memory needs a cross-origin isolated page (COOP same-origin, COEP require-corp)",
    );
  }
  if (wish === "auto" && !canShare) reasons.push("shared memory: the page is not cross-origin isolated");
  const relaxed = chooseRelaxed(options.build ?? "auto", reasons);
  const shared = wish !== false && canShare;

  const given = options.kernel;
  let module: WebAssembly.Module;
  if (given === undefined) {
    const build = relaxed ? "relaxed" : "simd";
    module = await compile((embedded as Embedded)(shared ? `${build}-shared` : build));
  } else {
    module = await compile(isVariants(given) ? pick(given, relaxed, shared, options) : given);
  }
  if (!WebAssembly.Module.exports(module).some(({ name }) => name === "setPackMemory")) {
    throw new TypeError(expected("kernel", "a kernel of lowrank", "another WebAssembly module"));
  }
  // a kernel that the caller gave may be for the other kind of memory: its import decides
  for (const kind of shared && wish === "auto" ? [true, false] : [shared]) {
    const state = await instantiateOn(module, kind, options, reasons);
    if (state === undefined) continue;
    if (options.build !== undefined && options.build !== "auto" && state.build !== options.build) {
      throw new TypeError(expected("kernel", `a ${options.build} build`, `a ${state.build} build`));
    }
    if (relaxed && state.build === "simd") reasons.push("build: the given kernel has no relaxed SIMD");
    if (shared && !kind) reasons.push("shared memory: the given kernel is for plain memory");
    if (warmly) warm(state.runtime);
    await startTeam(state, options);
    return state;
  }
  throw new TypeError(
    expected("kernel", `a module for ${shared ? "shared" : "plain"} memory`, "one for the other kind"),
  );
}

/** Starts the threads that were asked for; state.reasons tells why there are not more. */
async function startTeam({ module, runtime, reasons }: State, options: InitOptions): Promise<void> {
  const { threads = 1, workerUrl } = options;
  if (threads === 1) return;
  const size = threads === "auto" ? autoThreads() : threads;
  const missing = runtime.shared ? obstacle() : "they need shared memory";
  if (missing !== undefined) reasons.push(`threads: ${missing}`);
  else if (size === 1) reasons.push("threads: the machine has one");
  if (missing !== undefined || size === 1) return;
  const { memory, allocator } = runtime;
  const onLoss = (reason: string) => {
    reasons.push(`threads: ${reason}`);
    if (runtime.team?.size === 1) runtime.common.joinTeam(0, 1, 0);
  };
  const team = await Team.start({ module, memory, allocator, size, workerUrl, onLoss }, runtime.common);
  if (team.size === 1) return team.end(runtime.common);
  runtime.team = team;
  runtime.common.joinTeam(team.control, size, 0);
}

/** Whether to take the build with fused multiply-add; throws where it was asked for and is not there. */
function chooseRelaxed(build: "auto" | "simd" | "relaxed", reasons: string[]): boolean {
  if (build === "simd" || validates(PROBE_RELAXED)) return build !== "simd";
  if (build === "relaxed") {
    throw failure("unsupported", "this engine has no relaxed SIMD: Chrome 114, Firefox 146 and Node 21 have it");
  }
  reasons.push("build: this engine has no relaxed SIMD");
  return false;
}

function isVariants(kernel: KernelOption): kernel is KernelVariants {
  if (typeof kernel !== "object" || kernel === null || Object.getPrototypeOf(kernel) !== Object.prototype) return false;
  checkOptions(kernel as KernelVariants, ["simd", "relaxed", "simdShared", "relaxedShared"], "kernel");
  return true;
}

/** The best of the kernels that the caller brought; "auto" wishes give way to what is there. */
function pick(given: KernelVariants, relaxed: boolean, shared: boolean, options: InitOptions): Source {
  const candidates: (Source | undefined)[] = [];
  const add = (share: boolean) => {
    if (relaxed) candidates.push(share ? given.relaxedShared : given.relaxed);
    if (!relaxed || options.build !== "relaxed") candidates.push(share ? given.simdShared : given.simd);
  };
  if (shared) add(true);
  if (!shared || (options.memory?.shared ?? "auto") === "auto") add(false);
  const found = candidates.find((source) => source !== undefined);
  if (found === undefined) {
    const what = `a kernel for ${relaxed ? "relaxed" : "simd"}${shared ? ", shared memory" : ""}`;
    throw new TypeError(expected("kernel", what, `only ${Object.keys(given).join(", ")}`));
  }
  return found;
}

async function compile(source: Source): Promise<WebAssembly.Module> {
  const got = await source;
  if (got instanceof WebAssembly.Module) return got;
  let bytes: BufferSource;
  if (ArrayBuffer.isView(got)) {
    // engines refuse a DataView here
    bytes = new Uint8Array(got.buffer as ArrayBuffer, got.byteOffset, got.byteLength);
  } else if (got instanceof ArrayBuffer) {
    bytes = got;
  } else if (isResponse(got)) {
    if (!got.ok) throw failure("unsupported", `the kernel was not found: ${got.status} for ${got.url}`);
    bytes = await got.arrayBuffer();
  } else {
    throw new TypeError(expected("kernel", "bytes, a WebAssembly.Module or a Response", describe(got)));
  }
  try {
    return await WebAssembly.compile(bytes);
  } catch (error) {
    // Chrome and Safari name the missing source, Firefox says "blocked by CSP"
    if (/unsafe-eval|content security policy|\bCSP\b/i.test(String((error as Error).message))) {
      throw failure(
        "blocked_by_csp",
        "the page's Content-Security-Policy blocks WebAssembly: add 'wasm-unsafe-eval' to script-src",
        error,
      );
    }
    throw failure("unsupported", "the kernel does not compile", error);
  }
}

/** Recognised by its form: naming the global would make Node load its whole fetch implementation. */
function isResponse(value: unknown): value is Response {
  return typeof (value as { arrayBuffer?: unknown } | null)?.arrayBuffer === "function";
}

const PAGE = 65536;

/** Memory of the size asked for; the maximum is halved where the platform refuses to reserve it. */
function makeMemory(options: InitOptions, shared: boolean): { memory: WebAssembly.Memory; maximum: number } {
  const maximumMiB = options.memory?.maximumMiB ?? 4096;
  const initialMiB = Math.min(options.memory?.initialMiB ?? 16, maximumMiB);
  for (let maximum = maximumMiB * 16; ; maximum = Math.floor(maximum / 2)) {
    try {
      return { memory: new WebAssembly.Memory({ initial: initialMiB * 16, maximum, shared }), maximum };
    } catch (error) {
      if (maximum / 2 < initialMiB * 16) {
        throw failure("unsupported", `this platform gives no ${initialMiB} MiB of WebAssembly memory`, error);
      }
    }
  }
}

/** The loader wraps every export; hot calls go to the instance itself, which is all that is kept. */
async function makeInstance(module: WebAssembly.Module, imports: WebAssembly.Imports): Promise<WebAssembly.Instance> {
  try {
    return instantiateSync(module, imports).instance;
  } catch (error) {
    // older Chromes refuse to instantiate a module of this size synchronously on a page's main thread
    if (!(error instanceof RangeError)) throw error;
    return (await instantiate(module, imports)).instance;
  }
}

/** An instance on new memory, or on another thread's; undefined where the module imports the other kind of memory. */
async function instantiateOn(
  module: WebAssembly.Module,
  shared: boolean,
  options: InitOptions,
  reasons: string[],
  given?: Attachment,
): Promise<State | undefined> {
  const { memory, maximum } =
    given?.memory === undefined
      ? makeMemory(options, shared)
      : { memory: given.memory, maximum: (given.maximumBytes as number) / PAGE };
  const imports = { env: { memory } };
  let instance: WebAssembly.Instance;
  try {
    instance = await makeInstance(module, imports);
  } catch (error) {
    if (error instanceof WebAssembly.LinkError && /memory/.test(error.message)) return undefined;
    throw error;
  }
  const maximumBytes = maximum * PAGE;
  if (given === undefined && maximum < (options.memory?.maximumMiB ?? 4096) * 16) {
    reasons.push(`memory: this platform gives at most ${maximumBytes / 2 ** 20} MiB`);
  }
  const first = instance.exports as unknown as KernelExports;
  const guard = first.guardBytes();
  // the pointer 0 stays unused, so that it can mean "none"
  const allocator = new Allocator(memory, ALIGNMENT, maximumBytes, guard, given?.state, given?.owner);
  const pack = allocator.allocate(first.packBytes());
  const runtime = {
    memory,
    shared,
    allocator,
    scratch: new Scratch(allocator, guard > 0),
    f32: undefined as unknown as Routines,
    f64: undefined as unknown as Routines,
    common: first,
    team: undefined as Team | undefined,
    restart() {
      const { team, common } = runtime;
      if (team !== undefined && !team.settle(common)) {
        // a lost member may yet write into what it was given: its memory is never used again
        runtime.team = undefined;
        reasons.push("threads: a worker was lost");
        team.abandon();
      }
      bind(instantiateSync(module, imports).instance);
    },
  };
  function bind(made: WebAssembly.Instance): void {
    const exports = made.exports as unknown as KernelExports;
    exports.setPackMemory(pack);
    if (runtime.team !== undefined) exports.joinTeam(runtime.team.control, runtime.team.asked, 0);
    runtime.common = exports;
    runtime.f32 = routines(made.exports, "s");
    runtime.f64 = routines(made.exports, "d");
  }
  bind(instance);
  return { module, runtime, build: first.isRelaxed() ? "relaxed" : "simd", reasons };
}

/** Runs the hot functions, so that the engine compiles them. */
function warm({ common, allocator }: Runtime): void {
  const work = allocator.allocate(common.warmUpBytes());
  common.warmUp(work);
  allocator.free(work);
}

/** The exports of one dtype under their common names: `sgemm` as `gemm`. */
function routines(exports: WebAssembly.Exports, prefix: "s" | "d"): Routines {
  const other = prefix === "s" ? "d" : "s";
  const found: Record<string, unknown> = {};
  for (const name of Object.keys(exports)) {
    if (name.startsWith(prefix) && other + name.slice(1) in exports) found[name.slice(1)] = exports[name];
  }
  return found as unknown as Routines;
}
