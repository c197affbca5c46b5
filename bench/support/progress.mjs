// A progress bar on a terminal; elsewhere one line for each new label.

import process from "node:process";
import { SingleBar } from "cli-progress";

/** @returns { step(label), stop() }: step begins one of `total` steps, label says what it is */
export function progress(total, stream = process.stderr) {
  let shown;
  if (!stream.isTTY) {
    return {
      step(label) {
        if (label !== shown) stream.write(`  ${label} …\n`);
        shown = label;
      },
      stop() {},
    };
  }
  const bar = makeBar(stream, "  {bar} {percentage} %  {label}");
  let started = false;
  return {
    step(label) {
      if (started) bar.increment(1, { label });
      else bar.start(total, 0, { label });
      started = true;
    },
    stop: () => bar.stop(),
  };
}

/** A bar of cli-progress that is gone when it is complete. */
export function makeBar(stream, format) {
  return new SingleBar({
    stream,
    format,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 30,
    hideCursor: true,
    clearOnComplete: true,
    // the work blocks, so the bar is drawn by its steps and not by a timer
    fps: 100,
  });
}
