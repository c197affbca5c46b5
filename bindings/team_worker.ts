// A member of a team: an instance of the kernel on the shared memory that takes tiles of the caller's tasks. The loop stands here
// and not in the kernel: engines compile a function between two of its calls. The built file imports nothing, so that it
// can stand anywhere (init's workerUrl).

import type { KernelExports } from "./exports.js";
import { LIST_NUMBERS, LIST_OFFSET, RESULT_OFFSET, runTile } from "./range.js";
import { fromMessages } from "./threads.js";

/** What a member is told. */
export interface MemberStart {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  /** Addresses of its packing memory and of the team's control block. */
  pack: number;
  control: number;
  /** The size of the team, and the member's number in it. */
  size: number;
  index: number;
  /** Whether it may look for tiles for a while before it sleeps: not where there are more threads than cores. */
  spinning: boolean;
}

const port = fromMessages();

/** How often a step looks for a tile: about a microsecond. */
const LOOKS = 1000;
/** Milliseconds without a tile after which a member sleeps. */
const AWAKE = 0.1;

function work({ module, memory, pack, control, size, index, spinning }: MemberStart): void {
  const list = new Float64Array(memory.buffer, control + LIST_OFFSET, LIST_NUMBERS);
  const result = new Int32Array(memory.buffer, control + RESULT_OFFSET, 1);
  const join = () => {
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    const made = exports as unknown as KernelExports;
    made.setPackMemory(pack);
    made.joinTeam(control, size, index);
    return { kernel: made, routines: Object.values(exports) };
  };
  let { kernel, routines } = join();
  port.postMessage("ready", []);
  for (let idleSince = -1; ; ) {
    try {
      const step = kernel.teamStep(LOOKS);
      if (step > 1) {
        const found = runTile(routines, list, step - 2, index);
        for (let seen = 0; found > seen; ) {
          const before = Atomics.compareExchange(result, 0, seen, found);
          if (before === seen) break;
          seen = before;
        }
        kernel.teamLeave(0);
      }
      if (step > 0) {
        idleSince = -1;
        continue;
      }
    } catch {
      // the caller traps, too, and says so
      kernel.teamLeave(1);
      ({ kernel, routines } = join());
      continue;
    }
    const now = performance.now();
    if (idleSince < 0) idleSince = now;
    if (spinning && now - idleSince < AWAKE) continue;
    if (kernel.teamSleep() !== 0) return;
    idleSince = -1;
  }
}

function begin(data: MemberStart): void {
  try {
    work(data);
  } catch (error) {
    port.postMessage(String(error), []);
  }
}

port.listen((data) => begin(data as MemberStart));
