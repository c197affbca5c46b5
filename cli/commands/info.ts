// lowrank info: what a file holds.

import { type AdapterFile, adapterFormat, matchTargets, modelModules } from "../../bindings/lora.js";
import type { SafetensorsFile } from "../../bindings/safetensors.js";
import type { AddCommand, Run } from "../run.js";
import { bytesText } from "../terminal.js";
import { count, shapeText, short, spectrum, table } from "../text.js";

/** Rows that are shown without --all. */
const MOST = 40;

export const addInfo: AddCommand = (program, start) => {
  program
    .command("info")
    .description("what a model, an adapter or an array holds: names, shapes, ranks, scales, norms, spectra")
    .argument("<file>", "a .safetensors or .npy file, a folder of a model or an adapter, or the address of a file")
    .option("--all", `every row, also where there are more than ${MOST}`, false)
    .option("--json", "print one JSON object", false)
    .addHelpText(
      "after",
      "\nExample: modules, ranks, alphas, norms and spectra of a PEFT adapter\n  lowrank info adapter/",
    )
    .action(start(info));
};

async function info({ inputs, print }: Run, path: string, { all }: { all: boolean }): Promise<void> {
  if (path.endsWith(".npy")) {
    const { dtype, shape, size } = await inputs.array(path, undefined);
    print([`${path}: an array of ${dtype}, ${shapeText(shape)}`], { kind: "array", dtype, shape, size });
    return;
  }
  const file = await inputs.weights(path);
  const most = all ? Number.POSITIVE_INFINITY : MOST;
  if (adapterFormat(file) === undefined) showModel(print, path, file, most);
  else showAdapter(print, path, await inputs.adapter(path), most);
}

function showModel(print: Run["print"], path: string, file: SafetensorsFile, most: number): void {
  const tensors = file.names.map((name) => ({ name, ...file.info(name) }));
  const parameters = tensors.reduce((sum, { shape }) => sum + shape.reduce((x, y) => x * y, 1), 0);
  const bytes = tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const modules = modelModules(file);
  const linear = matchTargets(modules, "all-linear");
  const chosen = new Set(linear);
  const leftOut = modules
    .filter(({ name }) => !chosen.has(name))
    .map(({ name, kind }) => ({ name, kind: kind === "linear" || kind === "conv1d" ? "output head" : kind }));
  const shards = [...file.shards.keys()];
  const where = shards.length === 0 ? "" : ` in ${shards.length} files`;
  const rows = tensors.map(({ name, dtype, shape, byteLength }) => [
    name,
    dtype,
    shapeText(shape),
    bytesText(byteLength),
  ]);
  const words = [
    `${path}: ${tensors.length} tensors, ${count(parameters)} parameters, ${bytesText(bytes)}${where}`,
    ...shortened(["tensor", "type", "shape", "bytes"], rows, most),
    `all-linear takes ${linear.length} weights${leftOut.length === 0 ? "" : " and leaves out:"}`,
    ...leftOut.slice(0, most).map(({ name, kind }) => `  ${name} (${kind})`),
    ...(leftOut.length > most ? [`  … and ${leftOut.length - most} more: --all`] : []),
    ...metadataLines(file.metadata),
  ];
  print(words, {
    kind: "model",
    tensors,
    parameters,
    bytes,
    shards,
    allLinear: linear,
    leftOut,
    metadata: file.metadata,
  });
}

function showAdapter(print: Run["print"], path: string, file: AdapterFile, most: number): void {
  const { config, format, dtype, extras, metadata } = file;
  let parameters = 0;
  const modules = [...file.modules].map(([module, adapter]) => {
    const { a, b, bias, magnitude, r, alpha, scaling, outFeatures, inFeatures } = adapter;
    parameters += a.size + b.size + (bias?.size ?? 0) + (magnitude?.size ?? 0);
    const s = adapter.singularValues();
    const singularValues = Array.from(s.data);
    s.dispose();
    const shape = [outFeatures, inFeatures];
    return { module, shape, r, alpha, scaling, norm: Math.hypot(...singularValues), singularValues };
  });
  const rows = modules.map(({ module, shape, r, alpha, scaling, norm, singularValues }) => {
    return [module, shapeText(shape), r, short(alpha), short(scaling), short(norm), spectrum(singularValues)];
  });
  const forms = {
    rsLoRA: config.useRslora,
    DoRA: config.useDora,
    "LoRA bias": config.loraBias,
    fan_in_fan_out: config.fanInFanOut,
  };
  const formed = Object.entries(forms).flatMap(([name, has]) => (has ? [name] : []));
  const words = [
    [
      `${path}: ${format} adapter`,
      `${modules.length} modules`,
      `${count(parameters)} parameters`,
      dtype,
      ...formed,
    ].join(", "),
    ...shortened(["module", "out×in", "r", "alpha", "scale", "‖ΔW‖", "spectrum, 4 decades"], rows, most),
    ...[...extras].map(([name, extra]) => `saved as a whole: ${name}, ${extra.dtype}, ${shapeText(extra.shape)}`),
    ...metadataLines(metadata),
  ];
  const said = { kind: "adapter", format, dtype, parameters, config: config.toJSON(), modules };
  print(words, { ...said, extras: [...extras.keys()], metadata });
}

function shortened(head: string[], rows: (string | number)[][], most: number): string[] {
  const words = [table(head, rows.slice(0, most))];
  return rows.length > most ? [...words, `… and ${rows.length - most} more: --all`] : words;
}

function metadataLines(metadata: Readonly<Record<string, string>>): string[] {
  return Object.entries(metadata).map(
    ([key, value]) => `${key}: ${value.length > 100 ? `${value.slice(0, 100)}…` : value}`,
  );
}
