// lowrank bench: what this machine does with the kernel.

import { capabilities, empty, matmul, svd, tensor } from "../../bindings/index.js";
import { LoraAdapter, LoraLinear } from "../../bindings/lora.js";
import type { AddCommand, Run } from "../run.js";
import { short, table } from "../text.js";

export const addBench: AddCommand = (program, start) => {
  program
    .command("bench")
    .description("times of a product, an SVD and a LoRA layer on this machine")
    .option("--json", "print one JSON object", false)
    .addHelpText("after", "\nExample:\n  lowrank bench")
    .action(start(bench));
};

interface Case {
  name: string;
  /** Operations of one run; undefined where they depend on the numbers. */
  operations: number | undefined;
  run: () => void;
}

async function bench({ print, terminal }: Run): Promise<void> {
  const { build, sharedMemory, threads, version } = capabilities();
  const results = [];
  for (const { name, operations, run } of cases()) {
    terminal.signal.throwIfAborted();
    const milliseconds = best(run);
    results.push({ name, milliseconds, gigaflops: operations && operations / milliseconds / 1e6 });
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const rows = results.map(({ name, milliseconds, gigaflops }) => [
    name,
    short(milliseconds),
    gigaflops ? short(gigaflops) : "",
  ]);
  const words = [
    `lowrank ${version}, ${build} build, ${sharedMemory ? "shared" : "plain"} memory, ${threads} thread${threads === 1 ? "" : "s"}`,
    table(["case", "ms", "GFLOP/s"], rows),
  ];
  print(words, { version, build, sharedMemory, threads, results });
}

function* cases(): Generator<Case> {
  for (const dtype of ["f32", "f64"] as const) {
    const n = 512;
    const [a, b, out] = [random([n, n], dtype), random([n, n], dtype), empty([n, n], dtype)];
    yield { name: `matmul ${dtype} ${n}×${n}`, operations: 2 * n ** 3, run: () => void matmul(a, b, { out }) };
    const m = a.subtensor(0, 256);
    const square = tensor(m.toTyped(), { shape: [512, 256], dtype });
    yield {
      name: `svd ${dtype} 512×256`,
      operations: undefined,
      run() {
        for (const part of Object.values(svd(square))) part.dispose();
      },
    };
    for (const one of [a, b, out, m, square]) one.dispose();
  }
  const [tokens, width, r] = [16, 1024, 16];
  const layer = new LoraLinear({ weight: random([width, width], "f32") });
  layer.addAdapter("one", new LoraAdapter({ a: random([r, width], "f32"), b: random([width, r], "f32") }));
  const x = random([tokens, width], "f32");
  const operations = 2 * tokens * width * (width + 2 * r);
  yield {
    name: `LoRA layer f32, ${tokens} rows, ${width}×${width}, r ${r}`,
    operations,
    run: () => layer.forward(x).dispose(),
  };
  layer.dispose();
}

function random(shape: readonly [number, number], dtype: "f32" | "f64") {
  const out = empty(shape, dtype);
  const { data } = out;
  for (let i = 0; i < data.length; i++) data[i] = Math.random() - 0.5;
  return out;
}

/** The best of the runs of half a second, in milliseconds. */
function best(run: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  const end = performance.now() + 500;
  do {
    const start = performance.now();
    run();
    least = Math.min(least, performance.now() - start);
  } while (performance.now() < end);
  return least;
}
