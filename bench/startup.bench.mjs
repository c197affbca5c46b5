// What a user waits for in a fresh process: init(), and the first product against a warm one. The engine compiles the kernel
// while it runs, so neither can be timed twice in one process.

import { runScript } from "./support/machine.mjs";
import { median } from "./support/measure.mjs";
import { progress } from "./support/progress.mjs";

const script = new URL("./support/fresh_process.mjs", import.meta.url);

export async function bench({ build, processes }) {
  const runs = [];
  const bar = progress(processes);
  try {
    for (let i = 0; i < processes; i++) {
      bar.step("startup");
      runs.push(runScript(script, [build]));
    }
  } finally {
    bar.stop();
  }
  const row = (name, pick) => {
    const values = runs.map(pick);
    return {
      operation: "startup",
      name,
      bestMs: Math.min(...values),
      medianMs: median(values),
      samples: values.length,
    };
  };
  const rows = [
    row("import the package", ({ importMs }) => importMs),
    row("init()", ({ initMs }) => initMs),
    row("first gemm f32 512³", ({ firstMs }) => firstMs),
    row("warm gemm f32 512³", ({ warmMs }) => warmMs),
  ];
  const figures = [
    {
      what: "gemm f32 512³: first call against warm, median of processes",
      measured: median(runs.map(({ firstMs, warmMs }) => firstMs / warmMs)),
      atMost: 1.4,
    },
    {
      what: "init() in a fresh process, median",
      measured: row("", ({ initMs }) => initMs).medianMs,
      atMost: 40,
      unit: " ms",
    },
  ];
  return { rows, figures };
}
