// Outputs: written under a temporary name beside the final one and renamed when they are complete, so that an interrupted run leaves
// nothing behind and never half a file.

import { once } from "node:events";
import { statSync } from "node:fs";
import { access, mkdir, open, rename, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import type { AdapterFormat } from "../bindings/lora.js";
import { UsageError } from "./options.js";
import type { Terminal } from "./terminal.js";

/** What a file is made of. */
export type Content = Uint8Array | ReadableStream<Uint8Array>;

export interface OutputOptions {
  readonly force: boolean;
  /** Count the bytes, write nothing. */
  readonly dryRun: boolean;
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

/** Refuses an output that is there already, before any work is done. */
export async function checkFree(paths: readonly string[], { force, dryRun }: OutputOptions): Promise<void> {
  if (force || dryRun) return;
  for (const path of paths) {
    if (path !== "-" && (await exists(path))) throw new Error(`${path} exists: --force overwrites it`);
  }
}

/**
 * Writes files of one output: all of them or none.
 *
 * @param files by path; "-" is standard output
 * @returns the bytes of all
 */
export async function writeFiles(
  terminal: Terminal,
  files: ReadonlyMap<string, () => Content>,
  options: OutputOptions,
): Promise<number> {
  await checkFree([...files.keys()], options);
  const made: string[] = [];
  const temporary = new Map<string, string>();
  let total = 0;
  try {
    for (const [path, content] of files) {
      if (options.dryRun || path === "-") {
        for await (const piece of pieces(content())) {
          total += piece.length;
          if (!options.dryRun) await writeOut(terminal, piece);
        }
        continue;
      }
      made.push(...(await makeFolder(dirname(path))));
      const name = `${path}.partial-${process.pid}`;
      temporary.set(path, name);
      total += await writeOne(name, content(), terminal.signal);
    }
    for (const [path, name] of temporary) await rename(name, path);
    return total;
  } catch (error) {
    for (const name of temporary.values()) await rm(name, { force: true });
    for (const folder of made.reverse()) await rmdir(folder).catch(() => {});
    throw error;
  }
}

/** Makes a folder and those above it; the ones that were not there. */
async function makeFolder(path: string): Promise<string[]> {
  const first = await mkdir(path, { recursive: true });
  if (first === undefined) return [];
  const made = [path];
  while (made[0] !== first && (made[0] as string).startsWith(first)) made.unshift(dirname(made[0] as string));
  return made;
}

async function writeOne(name: string, content: Content, signal: AbortSignal): Promise<number> {
  const handle = await open(name, "wx");
  let total = 0;
  try {
    for await (const piece of pieces(content)) {
      signal.throwIfAborted();
      await handle.writeFile(piece);
      total += piece.length;
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  return total;
}

async function* pieces(content: Content): AsyncGenerator<Uint8Array> {
  if (content instanceof Uint8Array) yield content;
  else yield* content as unknown as AsyncIterable<Uint8Array>;
}

async function writeOut({ stdout, signal }: Terminal, piece: Uint8Array): Promise<void> {
  signal.throwIfAborted();
  if (!stdout.write(piece)) await once(stdout, "drain", { signal });
}

/** Where a single file goes: under its usual name into a folder that is there or whose name ends with a slash, else to the path itself. */
export function pathIn(output: string, name: string): string {
  const isFolder = /[/\\]$/.test(output) || statSync(output, { throwIfNoEntry: false })?.isDirectory() === true;
  return isFolder ? join(output, name) : output;
}

/** Paths of an adapter's files: PEFT's in a folder, those of other formats are one file. */
function adapterPath(output: string, format: AdapterFormat, name: string): string {
  return format === "peft" ? join(output, name) : pathIn(output, name);
}

/** The names that saveAdapter() gives to the files of each format. */
const ADAPTER_FILES: Record<AdapterFormat, readonly string[]> = {
  peft: ["adapter_config.json", "adapter_model.safetensors"],
  kohya: ["lora.safetensors"],
  diffusers: ["pytorch_lora_weights.safetensors"],
};

/** Refuses what cannot be written under this name, before any work is done. */
export async function checkAdapterFree(output: string, format: AdapterFormat, options: OutputOptions): Promise<void> {
  const isFile = output === "-" || output.endsWith(".safetensors");
  if (format === "peft" && isFile) {
    throw new UsageError(`-o ${output}: PEFT's adapters are folders; name one, or choose --format kohya or diffusers`);
  }
  await checkFree(
    ADAPTER_FILES[format].map((name) => adapterPath(output, format, name)),
    options,
  );
}

/** What saveAdapter() gave, by path. */
export function adapterFiles(output: string, saved: Readonly<Record<string, Uint8Array>>): Map<string, () => Content> {
  const names = Object.keys(saved);
  const format = names.length === 1 ? "kohya" : "peft";
  return new Map(names.map((name) => [adapterPath(output, format, name), () => saved[name] as Uint8Array]));
}
