// The kernel as this page has it: in workers by name. Calls of a worker run one after the other, so what takes seconds has one of
// its own, and does not hold up a picture that moves or another panel.

import { connect, type Remote } from "lowrank/worker";

export type Name = "picture" | "background" | "adapter" | "train";

/** Threads of each: half of the cores, as two workers may be busy at once. */
const THREADS = Math.max(1, (navigator.hardwareConcurrency || 2) >> 1);

const started = new Map<Name, Promise<Remote>>();

/** The library in a worker, which is started when it is first asked for. From then on tensors can be made on the page, too. */
export function worker(name: Name): Promise<Remote> {
  const known = started.get(name);
  if (known !== undefined) return known;
  const remote = connect({ threads: THREADS });
  started.set(name, remote);
  // what failed may be tried again
  remote.catch(() => started.delete(name));
  return remote;
}
