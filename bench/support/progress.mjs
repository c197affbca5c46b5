// A progress bar on a terminal; elsewhere one line for each new label.

import process from "node:process";
import { SingleBar } from "cli-progress";

/** @returns { step(label), stop() }: step counts one of `total` steps, label says what comes next */
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
  const bar = new SingleBar({
    stream,
    format: "  {bar} {percentage} %  {label}",
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 30,
    hideCursor: true,
    clearOnComplete: true,
  });
  bar.start(total, -1, { label: "" });
  return {
    step: (label) => bar.increment(1, { label }),
    stop: () => bar.stop(),
  };
}
