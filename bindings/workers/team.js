// A member of a team: an instance of the kernel on the shared memory that takes tiles of the caller's tasks. Plain JavaScript
// that imports nothing, so that the file can stand anywhere (init's workerUrl). The loop stands here and not in the kernel:
// engines compile a function between two of its calls.

const port = globalThis.process?.getBuiltinModule?.("node:worker_threads")?.parentPort ?? globalThis;

/** How often a step looks for a tile: about a microsecond. */
const LOOKS = 1000;
/** Milliseconds without a tile after which a member sleeps. */
const AWAKE = 0.1;

function work({ module, memory, pack, control, size, index, spinning }) {
  const join = () => {
    const made = new WebAssembly.Instance(module, { env: { memory } }).exports;
    made.setPackMemory(pack);
    made.joinTeam(control, size, index);
    return made;
  };
  let kernel = join();
  port.postMessage("ready");
  for (let idleSince = -1; ; ) {
    try {
      if (kernel.teamStep(LOOKS) === 0) {
        idleSince = -1;
        continue;
      }
    } catch {
      // the caller traps, too, and says so
      kernel.teamTrouble();
      kernel = join();
      continue;
    }
    const now = performance.now();
    if (idleSince < 0) idleSince = now;
    if (spinning && now - idleSince < AWAKE) continue;
    if (kernel.teamSleep() !== 0) return;
    idleSince = -1;
  }
}

const begin = (data) => {
  try {
    work(data);
  } catch (error) {
    port.postMessage(String(error));
  }
};
if (typeof port.once === "function") port.once("message", begin);
else port.onmessage = ({ data }) => begin(data);
