// A team of threads on the kernel's memory (assembly/team.ts): workers that hold an instance each and wait for tiles. Whoever
// made it is its caller; a page's main thread may not wait and so has none.

import type { Allocator } from "./allocator.js";
import type { KernelExports } from "./exports.js";
import type { PlatformUrl } from "./platform.js";
import { CONTROL_BYTES, LIST_NUMBERS, LIST_OFFSET, type Range, RESULT_OFFSET, runTile, writeRange } from "./range.js";
import type { MemberStart } from "./team_worker.js";
import { builtin, type Channel, startWorker } from "./threads.js";

/** @internal How many threads the machine runs at once. */
export function availableThreads(): number {
  const os = builtin<{ availableParallelism?: () => number }>("node:os");
  return os?.availableParallelism?.() ?? (globalThis as { navigator?: Navigator }).navigator?.hardwareConcurrency ?? 1;
}

/** More would wait for memory. */
const AUTO_AT_MOST = 8;

/** Milliseconds that a worker may take to start. */
const START_LIMIT = 20_000;
/** Milliseconds that members may compute on after their caller trapped. */
const SETTLE_LIMIT = 2_000;
/** Milliseconds that a caller waits for a tile, which takes a few, before it takes the member for lost. */
const PATIENCE = 20_000;
const PATIENCE_OFFSET = 144;

/** @internal The size of a team that "auto" means. */
export function autoThreads(): number {
  return Math.max(1, Math.min(AUTO_AT_MOST, availableThreads()));
}

/** @internal Why this thread cannot have a team; undefined if it can. */
export function obstacle(): string | undefined {
  try {
    // throws where a thread must not block
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0);
    return undefined;
  } catch {
    return "a page's main thread must not wait for others: connect() of lowrank/worker computes beside it";
  }
}

/** @internal */
export interface TeamOptions {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  allocator: Allocator;
  /** Members and caller. */
  size: number;
  workerUrl: string | PlatformUrl | undefined;
  /** Called when the team has lost a member, with the reason. */
  onLoss: (reason: string) => void;
}

/** @internal */
export class Team {
  /** The caller included. */
  size = 1;
  /** The size that was asked for: members have numbers below it. */
  readonly asked: number;
  /** Address of the control block. */
  readonly control: number;
  readonly #allocator: Allocator;
  readonly #list: Float64Array;
  readonly #result: Int32Array;
  /** The instance whose exports are listed. */
  #kernel: KernelExports | undefined;
  #names: string[] = [];
  #routines: unknown[] = [];
  readonly #members = new Set<Channel>();
  readonly #blocks: number[] = [];
  #ended = false;

  private constructor(options: TeamOptions) {
    this.#allocator = options.allocator;
    this.asked = options.size;
    this.control = this.#allocate(CONTROL_BYTES);
    const { buffer } = options.memory;
    new Uint8Array(buffer, this.control, CONTROL_BYTES).fill(0);
    // shared buffers stay valid when memory grows
    this.#list = new Float64Array(buffer, this.control + LIST_OFFSET, LIST_NUMBERS);
    this.#result = new Int32Array(buffer, this.control + RESULT_OFFSET, 1);
    new Int32Array(buffer, this.control + PATIENCE_OFFSET, 1)[0] = PATIENCE;
  }

  #allocate(bytes: number): number {
    const pointer = this.#allocator.allocate(bytes);
    this.#blocks.push(pointer);
    return pointer;
  }

  /**
   * Starts workers and waits until all of them are ready. As many as start make the team; why there are not more is told to
   * options.onLoss.
   */
  static async start(options: TeamOptions, kernel: KernelExports): Promise<Team> {
    const team = new Team(options);
    const spinning = options.size <= availableThreads();
    const starting: Promise<void>[] = [];
    try {
      for (let index = 1; index < options.size; index++) {
        starting.push(team.#add(options, team.#allocate(kernel.packBytes()), index, spinning));
      }
    } catch (error) {
      options.onLoss((error as Error).message);
    }
    await Promise.all(starting);
    return team;
  }

  /** Starts a member; resolved when it is ready or has failed, which options.onLoss is told. */
  #add({ module, memory, size, workerUrl, onLoss }: TeamOptions, pack: number, index: number, spinning: boolean) {
    return new Promise<void>((resolve) => {
      let member: Channel | undefined;
      let ready = false;
      const lose = (reason: unknown) => {
        clearTimeout(timer);
        if (member !== undefined && !this.#members.delete(member)) return;
        if (ready) this.size--;
        if (!this.#ended) onLoss(String((reason as Error | undefined)?.message ?? reason));
        member?.terminate();
        resolve();
      };
      const timer = setTimeout(() => lose("a worker does not start"), START_LIMIT);
      try {
        member = launch(workerUrl);
        this.#members.add(member);
        member.onEnd(lose);
        member.listen((got) => {
          if (got !== "ready") return lose(got);
          clearTimeout(timer);
          ready = true;
          this.size++;
          // an idle team does not keep a process from ending
          member?.hold(false);
          resolve();
        });
        const start: MemberStart = { module, memory, pack, control: this.control, size, index, spinning };
        member.postMessage(start, []);
      } catch (error) {
        lose(error);
      }
    });
  }

  /** Computes all tiles of a range with the team; the largest of their results. */
  share(kernel: KernelExports, range: Range): number {
    if (this.#kernel !== kernel) {
      this.#kernel = kernel;
      this.#names = Object.keys(kernel);
      this.#routines = Object.values(kernel);
    }
    writeRange(range, this.#names, this.#list);
    Atomics.store(this.#result, 0, 0);
    kernel.teamFork(Math.ceil((range.length - (range.first ?? 0)) / range.part), -1, 0);
    let most = 0;
    for (let tile = kernel.teamTake(); tile >= 0; tile = kernel.teamTake()) {
      most = Math.max(most, runTile(this.#routines, this.#list, tile, 0));
    }
    kernel.teamJoin();
    return Math.max(most, Atomics.load(this.#result, 0));
  }

  /**
   * After the caller trapped: waits for members that still compute. False if one does not end: the team can then only be ended.
   */
  settle(kernel: KernelExports): boolean {
    for (const start = performance.now(); performance.now() - start < SETTLE_LIMIT; ) {
      if (kernel.teamSettle(0) !== 0) return true;
    }
    return false;
  }

  /** @internal The workers. */
  members(): Channel[] {
    return [...this.#members];
  }

  /** Ends the workers where one of them does not answer; their memory is not used again. */
  abandon(): void {
    this.#ended = true;
    for (const member of this.#members) member.terminate();
    this.#members.clear();
  }

  /** Ends the workers and frees their memory. */
  async end(kernel: KernelExports): Promise<void> {
    this.#ended = true;
    this.size = 1;
    kernel.teamSettle(1);
    await Promise.all([...this.#members].map((member) => member.terminate()));
    this.#members.clear();
    for (const pointer of this.#blocks.splice(0)) this.#allocator.free(pointer);
  }
}

function launch(workerUrl: string | PlatformUrl | undefined): Channel {
  return startWorker(
    workerUrl,
    "./team_worker.js",
    () => new Worker(new URL("./team_worker.js", import.meta.url), { type: "module" }),
  );
}
