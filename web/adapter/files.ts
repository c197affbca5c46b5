// Model and adapter files of the visitor, read by ranges in the worker: what is open takes the memory of its header.

import { truncationRank } from "lowrank";
import type { Remote } from "lowrank/worker";
import { worker } from "../kernel.js";
import type { TaskOptions } from "../ui/task.js";

export type ModelFile = Awaited<ReturnType<Remote["openSafetensors"]>>;
export type AdapterFile = Awaited<ReturnType<Remote["loadAdapter"]>>;
export type Rule = { rank: number } | { energy: number };

export interface Model {
  name: string;
  file: ModelFile;
  bytes: number;
  modules: { name: string; kind: string; shape: readonly number[] }[];
}

export interface Layer {
  module: string;
  /** (out, in) of ΔW. */
  shape: readonly [number, number];
  rank: number;
  /** Of ΔW = scaling·B·A, largest first. */
  values: Float64Array;
  /** ‖ΔW‖_F. */
  norm: number;
  /** Of an adapter from two models: ‖Δ − ΔW‖/‖Δ‖ for the difference Δ of their weights. */
  extraction?: number;
}

export interface Adapter {
  name: string;
  file: AdapterFile;
  layers: Layer[];
}

export interface Opened {
  models: Model[];
  adapters: Adapter[];
  problems: string[];
}

const SHARD = /^(.*)-\d{5}-of-\d{5}\.safetensors$/;

/** Opens files and tells what they are: models, also in several files, and adapters of PEFT, kohya and diffusers. */
export async function openFiles(files: readonly File[], { signal, onProgress }: TaskOptions): Promise<Opened> {
  const opened: Opened = { models: [], adapters: [], problems: [] };
  const configs = files.filter(({ name }) => /adapter_config.*\.json$/.test(name));
  const indices = files.filter(({ name }) => name.endsWith(".index.json"));
  const weights = files.filter(({ name }) => !name.endsWith(".json"));
  const sharded = weights.filter(({ name }) => SHARD.test(name));
  const remote = await worker("adapter");
  const attempt = async (name: string, open: () => Promise<void>) => {
    try {
      await open();
    } catch (error) {
      signal.throwIfAborted();
      const { message } = error as Error;
      const isBroken = /at least 8 bytes|cut short|header/.test(message);
      opened.problems.push(`${name}: ${message}.${isBroken ? " Download or export it again." : ""}`);
    }
  };
  if (sharded.length > 0) {
    const parts = [...sharded, ...indices];
    const name = SHARD.exec((sharded[0] as File).name)?.[1] ?? "model";
    await attempt(name, async () => {
      const model = await remote.openModel(Object.fromEntries(parts.map((file) => [file.name, file])));
      opened.models.push(await describeModel(remote, name, model, sharded));
    });
  }
  for (const file of weights.filter((one) => !sharded.includes(one))) {
    await attempt(file.name, async () => {
      const model = await remote.openSafetensors(file);
      const format = await remote.adapterFormat(model);
      if (format === undefined) {
        opened.models.push(await describeModel(remote, file.name, model, [file]));
        return;
      }
      model.close();
      if (format === "peft" && configs.length !== 1) {
        throw new Error(
          configs.length === 0
            ? "an adapter of PEFT is two files: choose adapter_config.json together with it"
            : "one adapter of PEFT at a time: all of them have files of the same names",
        );
      }
      const source = format === "peft" ? { "adapter_config.json": configs[0] as File, [file.name]: file } : file;
      opened.adapters.push(await describeAdapter(file.name, await remote.loadAdapter(source), { signal, onProgress }));
    });
  }
  if (weights.length === 0)
    opened.problems.push("There is no file with weights among these: choose a .safetensors file.");
  return opened;
}

async function describeModel(remote: Remote, name: string, file: ModelFile, files: readonly File[]): Promise<Model> {
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  return { name, file, bytes, modules: await remote.modelModules(file) };
}

/** The spectrum of each module, from its factors alone. */
async function describeAdapter(name: string, file: AdapterFile, { signal, onProgress }: TaskOptions): Promise<Adapter> {
  const layers: Layer[] = [];
  for (const [module, adapter] of file.modules) {
    signal.throwIfAborted();
    const s = await adapter.singularValues();
    const values = Float64Array.from(s.data);
    s.dispose();
    const shape = [await adapter.outFeatures, await adapter.inFeatures] as const;
    layers.push({ module, shape, rank: await adapter.r, values, norm: Math.hypot(...values) });
    onProgress({ done: layers.length, total: file.modules.size });
  }
  return { name, file, layers };
}

/** The adapter that turns one model into another. */
export async function extract(base: Model, tuned: Model, rule: Rule, maxRank: number, options: TaskOptions) {
  const remote = await worker("adapter");
  const { file, report } = await remote.extractModel(base.file, tuned.file, { ...rule, maxRank, ...options });
  const adapter = await describeAdapter(`${tuned.name} − ${base.name}`, file, options);
  for (const [i, layer] of adapter.layers.entries()) layer.extraction = report.layers[i]?.error ?? 0;
  return { adapter, report };
}

/** A smaller adapter. */
export async function resize(adapter: Adapter, rule: Rule, options: TaskOptions) {
  const remote = await worker("adapter");
  const { file, report } = await remote.resizeAdapterFile(adapter.file, rule, options);
  return { adapter: await describeAdapter(`${adapter.name}, resized`, file, options), report };
}

/** What resizing will do to a layer: the values tell without computing anything. */
export function predict({ values, norm }: Layer, rule: Rule): { rank: number; error: number } {
  const fitting = "rank" in rule ? { rank: Math.min(rule.rank, values.length) } : rule;
  const { rank, error } = truncationRank(values, fitting);
  return { rank, error: norm === 0 ? 0 : error.frobenius / norm };
}

/** Errors of all layers together, each as large as its layer. */
export function together(layers: readonly { norm: number }[], errors: readonly number[]): number {
  const lost = layers.reduce((sum, { norm }, i) => sum + (norm * (errors[i] ?? 0)) ** 2, 0);
  const total = layers.reduce((sum, { norm }) => sum + norm ** 2, 0);
  return total === 0 ? 0 : Math.sqrt(lost / total);
}

/** PEFT's two files by their names. */
export async function saved(adapter: Adapter): Promise<Record<string, Uint8Array<ArrayBuffer>>> {
  const remote = await worker("adapter");
  return (await remote.saveAdapter(adapter.file, { format: "peft" })) as Record<string, Uint8Array<ArrayBuffer>>;
}

/** The model's file with the adapter in its weights, as a stream: no more than a few rows of a weight are in memory. */
export async function merged(model: Model, adapter: Adapter): Promise<ReadableStream<Uint8Array>> {
  const remote = await worker("adapter");
  return remote.mergeModel(model.file, adapter.file) as unknown as Promise<ReadableStream<Uint8Array>>;
}

/** Gives back the memory of an adapter. */
export function release({ file }: Adapter): void {
  for (const adapter of file.modules.values()) adapter.dispose();
}
