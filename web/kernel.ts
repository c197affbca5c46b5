// The kernel as this page has it: in two workers, so that what takes seconds does not hold up what a visitor waits for.

import { connect, type Remote } from "lowrank/worker";

/** What takes long gets half of the cores: the others answer meanwhile. */
const HALF = Math.max(1, (navigator.hardwareConcurrency || 2) >> 1);

const started = new Map<string, Promise<Remote>>();

/** Answers at once: a picture while the slider moves, a digit that was drawn. */
export function kernel(): Promise<Remote> {
  return start("front", HALF);
}

/** Works on what takes seconds: an exact decomposition, an extraction, a training. */
export function background(): Promise<Remote> {
  return start("background", HALF);
}

function start(name: string, threads: number | "auto"): Promise<Remote> {
  const known = started.get(name);
  if (known !== undefined) return known;
  const remote = connect({ threads });
  started.set(name, remote);
  // what failed may be tried again
  remote.catch(() => started.delete(name));
  return remote;
}
