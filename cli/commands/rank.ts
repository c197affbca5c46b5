// lowrank rank: how many ranks hold 90, 95 and 99 % of the energy.

import { matmul, scope, svdvals, type Tensor, truncationRank } from "../../bindings/index.js";
import { adapterFormat, matchTargets, modelModules } from "../../bindings/lora.js";
import type { SafetensorsFile } from "../../bindings/safetensors.js";
import { addTargets, type TargetOptions, targetsOf, UsageError } from "../options.js";
import type { AddCommand, Run } from "../run.js";
import { reportProgress } from "../terminal.js";
import { shapeText, short, spectrum, table } from "../text.js";

const SHARES = [0.9, 0.95, 0.99];

export const addRank: AddCommand = (program, start) => {
  const command = program
    .command("rank")
    .description("how many ranks hold 90, 95 and 99 % of the energy of each layer")
    .argument("<file>", "an adapter, a model or a .npy file")
    .argument("[tuned]", "the model after training: then of the change of each layer");
  addTargets(command, "default: all linear layers")
    .option("--json", "print one JSON object", false)
    .addHelpText(
      "after",
      "\nExample: which rank a LoRA of this fine-tuning needs\n  lowrank rank base.safetensors tuned.safetensors",
    )
    .action(start(ranks));
};

interface Row {
  module: string;
  shape: readonly number[];
  norm: number;
  ranks: number[];
  values: Float32Array | Float64Array;
}

async function ranks(run: Run, path: string, tuned: string | undefined, options: TargetOptions): Promise<void> {
  const rows: Row[] = [];
  for await (const row of spectra(run, path, tuned, options)) rows.push(row);
  if (rows.length === 0) throw new UsageError("--target and --exclude leave no layer");
  const most = SHARES.map((_, i) => Math.max(...rows.map((row) => row.ranks[i] as number)));
  const percents = SHARES.map((share) => `${100 * share} %`);
  const cells = rows.map(({ module, shape, norm, ranks: found, values }) => {
    return [module, shapeText(shape), short(norm), ...found, spectrum(values)];
  });
  const words = [
    table(["layer", "shape", "norm", ...percents, "spectrum, 4 decades"], cells),
    `for every layer: ${most.map((r, i) => `r ${r} for ${percents[i]}`).join(", ")}`,
  ];
  const named = (found: readonly number[]) => Object.fromEntries(SHARES.map((share, i) => [share, found[i]]));
  const layers = rows.map(({ module, shape, norm, ranks: found }) => ({ module, shape, norm, ranks: named(found) }));
  run.print(words, { layers, largest: named(most) });
}

async function* spectra(
  { inputs, terminal }: Run,
  path: string,
  tuned: string | undefined,
  options: TargetOptions,
): AsyncGenerator<Row> {
  if (path.endsWith(".npy")) {
    const a = await inputs.array(path, undefined);
    return yield row(path, a.shape, svdvals(a));
  }
  const file = await inputs.weights(path);
  const progress = reportProgress(terminal, "rank");
  try {
    if (adapterFormat(file) !== undefined) {
      for (const [module, adapter] of (await inputs.adapter(path)).modules) {
        yield row(module, [adapter.outFeatures, adapter.inFeatures], adapter.singularValues());
      }
      return;
    }
    const other = tuned === undefined ? undefined : await inputs.weights(tuned);
    const names = chosen(file, options);
    const bytesOf = (name: string) => file.info(`${name}.weight`).byteLength;
    const total = names.reduce((sum, name) => sum + bytesOf(name), 0);
    let done = 0;
    for (const module of names) {
      terminal.signal.throwIfAborted();
      const weight = await change(file, other, `${module}.weight`);
      yield row(
        module,
        weight.shape,
        scope(() => svdvals(weight.reshape(matrixShape(weight)))),
      );
      weight.dispose();
      done += bytesOf(module);
      progress.update({ done, total });
    }
  } finally {
    progress.stop();
  }
}

/** A convolution's weight as the matrix (out, in·kh·kw). */
function matrixShape({ shape, size }: Tensor): [number, number] {
  const rows = shape[0] as number;
  return [rows, rows === 0 ? 0 : size / rows];
}

function chosen(file: SafetensorsFile, { target, exclude }: TargetOptions): string[] {
  return matchTargets(modelModules(file), target === undefined ? "all-linear" : targetsOf(target), {
    ...(exclude !== undefined && { exclude: targetsOf(exclude) }),
  });
}

/** The weight, or tuned − base. */
async function change(file: SafetensorsFile, tuned: SafetensorsFile | undefined, name: string): Promise<Tensor> {
  const weight = await file.tensor(name);
  if (tuned === undefined) return weight;
  const after = await tuned.tensor(name, { dtype: weight.dtype });
  if (shapeText(after.shape) !== shapeText(weight.shape))
    throw new Error(`${name} has another shape in the tuned model`);
  scope(() => {
    matmul(weight.reshape([weight.size, 1]), [[-1]], { out: after.reshape([after.size, 1]), beta: 1 });
  });
  weight.dispose();
  return after;
}

function row(module: string, shape: readonly number[], s: Tensor): Row {
  const values = s.toTyped();
  const found = SHARES.map((energy) => truncationRank(s, { energy }).rank);
  s.dispose();
  return { module, shape, norm: Math.hypot(...values), ranks: found, values };
}
