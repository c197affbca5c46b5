// Where the command writes to and what may interrupt it: the process, or a test in its place.

import process from "node:process";
import type { Writable } from "node:stream";
import { makeBar } from "../bench/support/progress.mjs";

export interface Terminal {
  /** Results; also the bytes of an output named "-". */
  readonly stdout: Writable;
  /** Progress, notes, errors. */
  readonly stderr: Writable & { isTTY?: boolean };
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

/** The reason of an abort by Ctrl-C. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  constructor() {
    super("interrupted");
  }
}

export function processTerminal(): Terminal {
  const control = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => control.abort(new Interrupted()));
  // a reader that went away (`| head`) is no failure of ours
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") control.abort(new Interrupted());
  });
  return { stdout: process.stdout, stderr: process.stderr, signal: control.signal };
}

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** Bytes in words: 1.5 MB. */
export function bytesText(bytes: number): string {
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

export interface ProgressReport {
  update(progress: { done: number; total: number }): void;
  stop(): void;
}

/** A bar with bytes and time left on a terminal; elsewhere a line for every tenth. */
export function reportProgress({ stderr }: Terminal, label: string): ProgressReport {
  if (!stderr.isTTY) {
    let tenths = -1;
    return {
      update({ done, total }) {
        const reached = Math.floor((10 * done) / Math.max(total, 1));
        if (reached <= tenths) return;
        tenths = reached;
        stderr.write(`${label}: ${10 * reached} % (${bytesText(done)} of ${bytesText(total)})\n`);
      },
      stop() {},
    };
  }
  const bar = makeBar(stderr, "{label}  {bar} {percentage} %  {read} of {all}  {eta_formatted} left");
  let started = false;
  return {
    update({ done, total }) {
      const words = { label, read: bytesText(done), all: bytesText(total) };
      if (started) bar.update(done, words);
      else bar.start(total, done, words);
      started = true;
    },
    stop: () => bar.stop(),
  };
}
