// A model in several safetensors files, read as one.

import { describe, expected } from "../check.js";
import { FileFormatError } from "../errors.js";
import type { PlatformUrl } from "../platform.js";
import { readHeader, SafetensorsFile } from "./file.js";
import { quote } from "./header.js";
import { type FileSource, type OpenOptions, openSource, readText } from "./source.js";

/** The files of a model by name, or a list of them; with `model.safetensors.index.json` or without. */
export type ModelFiles = Readonly<Record<string, FileSource>> | readonly FileSource[];

/**
 * Opens a model whose tensors are spread over several safetensors files.
 *
 * @param files the shards by file name, `model.safetensors.index.json` among them if there is one: it is checked against the
 *   shards, and all that it names must be there; or a list of shards; or the URL of an index, whose shards lie beside it
 * @returns a file with the tensors of all; its metadata are those of the shards, of the index where both have a key
 * @throws FileFormatError if a shard is missing or wrong, or a tensor stands in two of them
 */
export async function openModel(files: ModelFiles | PlatformUrl, options?: OpenOptions): Promise<SafetensorsFile> {
  const { shards, index } = await gather(files, options);
  const located = new Map<string, Awaited<ReturnType<typeof readHeader>>["located"][number]>();
  const metadata: Record<string, string> = Object.create(null);
  const shardOf = new Map<string, string>();
  const namesOf = new Map<string, readonly string[]>();
  for (const [file, source] of shards) {
    const { metadata: found, located: entries } = await readHeader(await openSource(source, options));
    Object.assign(metadata, found);
    namesOf.set(
      file,
      entries.map(({ name }) => name),
    );
    for (const entry of entries) {
      const other = shardOf.get(entry.name);
      if (other !== undefined) {
        throw new FileFormatError(`tensor ${quote(entry.name)} stands in ${quote(other)} and ${quote(file)}`, 0);
      }
      shardOf.set(entry.name, file);
      located.set(entry.name, entry);
    }
  }
  if (index !== undefined) {
    for (const [name, file] of index.weights) {
      if (shardOf.get(name) !== file) {
        throw new FileFormatError(`the index places tensor ${quote(name)} in ${quote(file)}, where it is not`, 0);
      }
    }
    Object.assign(metadata, index.metadata);
  }
  return new SafetensorsFile(metadata, [...located.values()], namesOf);
}

interface Index {
  weights: Map<string, string>;
  metadata: Record<string, string>;
}

async function gather(
  files: ModelFiles | URL,
  options: OpenOptions | undefined,
): Promise<{ shards: [string, FileSource][]; index?: Index }> {
  if (files instanceof URL) {
    const index = parseIndex(await readText(files, { ...options, maximumBytes: options?.maximumBytes || 1e8 }));
    const names = [...new Set(index.weights.values())];
    return { shards: names.map((name) => [name, new URL(encodeURIComponent(name), files)]), index };
  }
  if (Array.isArray(files)) return { shards: files.map((source, i) => [`files[${i}]`, source]) };
  if (typeof files !== "object" || files === null) {
    throw new TypeError(expected("files", "files by name, a list of them or the URL of an index", describe(files)));
  }
  const named = Object.entries(files as Record<string, FileSource>);
  const found = named.find(([name]) => name.endsWith(".index.json"));
  const shards = named.filter(([name]) => name.endsWith(".safetensors"));
  if (found === undefined) return { shards };
  const index = parseIndex(await readText(found[1], options));
  for (const file of new Set(index.weights.values())) {
    if (!shards.some(([name]) => name === file))
      throw new FileFormatError(`the index names ${quote(file)}: not given`, 0);
  }
  return { shards, index };
}

function parseIndex(text: string): Index {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new FileFormatError("the index is not JSON", 0, error);
  }
  const { weight_map: weights, metadata } = (parsed ?? {}) as { weight_map?: unknown; metadata?: unknown };
  if (typeof weights !== "object" || weights === null) throw new FileFormatError("the index has no weight_map", 0);
  const map = new Map<string, string>();
  for (const [name, file] of Object.entries(weights)) {
    // a shard lies beside the index: nothing may lead out of its folder
    if (typeof file !== "string" || !/^[^/\\]+\.safetensors$/.test(file)) {
      throw new FileFormatError(`the index places tensor ${quote(name)} in ${quote(String(file))}`, 0);
    }
    map.set(name, file);
  }
  const texts = Object.entries(metadata ?? {}).filter(([, value]) => typeof value === "string");
  return { weights: map, metadata: Object.fromEntries(texts) as Record<string, string> };
}
