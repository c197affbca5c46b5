// What a user waits for in a fresh process: init(), and the first product and decomposition against warm ones. The engine
// compiles the kernel while it runs, so none of them can be timed twice in one process.

import { runScript } from "./support/machine.mjs";
import { median } from "./support/measure.mjs";
import { progress } from "./support/progress.mjs";

const script = new URL("./support/fresh_process.mjs", import.meta.url);

const FIRSTS = [
  { operation: "gemm", dtype: "f32", n: 512, atMost: 1.4 },
  { operation: "svd", dtype: "f64", n: 256, atMost: 2 },
];

export async function bench({ build, processes }) {
  const runs = FIRSTS.map(() => []);
  const bar = progress(processes * FIRSTS.length);
  try {
    for (let i = 0; i < processes; i++) {
      for (const [index, { operation, dtype, n }] of FIRSTS.entries()) {
        bar.step("startup");
        runs[index].push(runScript(script, [build, operation, dtype, String(n)]));
      }
    }
  } finally {
    bar.stop();
  }
  const row = (name, values) => ({
    operation: "startup",
    name,
    bestMs: Math.min(...values),
    medianMs: median(values),
    samples: values.length,
  });
  const init = row(
    "init()",
    runs.flat().map(({ initMs }) => initMs),
  );
  const rows = [
    row(
      "import the package",
      runs.flat().map(({ importMs }) => importMs),
    ),
    init,
  ];
  const figures = [{ what: "init() in a fresh process, median", measured: init.medianMs, atMost: 40, unit: " ms" }];
  for (const [index, { operation, dtype, n, atMost }] of FIRSTS.entries()) {
    const name = `${operation} ${dtype} ${n}${operation === "gemm" ? "³" : "²"}`;
    const pairs = runs[index].map(({ firstMs, warmMs }) => [firstMs, warmMs]);
    for (const [which, word] of ["first", "warm"].entries()) {
      rows.push(
        row(
          `${word} ${name}`,
          pairs.map((pair) => pair[which]),
        ),
      );
    }
    figures.push({
      what: `${name}: first call against warm, median of processes`,
      measured: median(pairs.map(([first, warm]) => first / warm)),
      atMost,
    });
  }
  return { rows, figures };
}
