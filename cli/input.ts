// Inputs: files, folders and addresses, read by ranges; nothing is read before it is asked for.

import { type FileHandle, open, readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Tensor } from "../bindings/index.js";
import { type AdapterFile, adapterFormat, loadAdapter } from "../bindings/lora.js";
import {
  FileFormatError,
  type FileSource,
  openModel,
  openSafetensors,
  type RangeReader,
  type SafetensorsFile,
} from "../bindings/safetensors.js";
import { fromNpy } from "./npy.js";
import type { Terminal } from "./terminal.js";

const CONFIG = "adapter_config.json";
const isAddress = (path: string) => /^https?:\/\//.test(path);

/** Everything that one run of the command reads. */
export class Inputs {
  readonly #signal: AbortSignal;
  readonly #handles: FileHandle[] = [];

  constructor({ signal }: Terminal) {
    this.#signal = signal;
  }

  async close(): Promise<void> {
    for (const handle of this.#handles.splice(0)) await handle.close();
  }

  async #reader(path: string): Promise<RangeReader> {
    const handle = await open(path);
    this.#handles.push(handle);
    const { size } = await handle.stat();
    return {
      size,
      async read(offset, length) {
        const bytes = new Uint8Array(length);
        let at = 0;
        while (at < length) {
          const { bytesRead } = await handle.read(bytes, at, length - at, offset + at);
          if (bytesRead === 0) throw new FileFormatError("the file became shorter while it was read", offset + at);
          at += bytesRead;
        }
        return bytes;
      },
    };
  }

  /** A safetensors file, or a model in several: a file, the folder or the index of a model, an address of a file or an index. */
  async weights(path: string): Promise<SafetensorsFile> {
    const options = { signal: this.#signal };
    if (isAddress(path)) {
      const url = new URL(path);
      return url.pathname.endsWith(".index.json") ? openModel(url, options) : openSafetensors(url, options);
    }
    const files = await this.#files(path);
    const index = files.find((name) => name.endsWith(".index.json"));
    const shards = files.filter((name) => name.endsWith(".safetensors"));
    if (index === undefined && shards.length <= 1) {
      return openSafetensors(await this.#reader(shards[0] ?? files[0] ?? path), options);
    }
    const sources: Record<string, FileSource> = {};
    for (const name of shards) sources[basename(name)] = await this.#reader(name);
    if (index !== undefined) sources[basename(index)] = new Uint8Array(await readFile(index));
    return openModel(sources, options);
  }

  /** The files that belong together: those of a folder, of an index the shards beside it, else the file alone. */
  async #files(path: string): Promise<string[]> {
    const isFolder = (await stat(path)).isDirectory();
    if (!isFolder && !path.endsWith(".index.json")) return [path];
    const folder = isFolder ? path : dirname(path);
    const found = (await readdir(folder)).sort().map((name) => join(folder, name));
    if (isFolder) {
      const wanted = found.filter((name) => /\.(safetensors|index\.json)$/.test(name));
      if (wanted.length === 0) throw new Error(`${path} holds no .safetensors file`);
      return wanted;
    }
    const { weight_map: shards = {} } = JSON.parse(await readFile(path, "utf8")) as {
      weight_map?: Record<string, string>;
    };
    const names = new Set(Object.values(shards));
    return [path, ...found.filter((name) => names.has(basename(name)))];
  }

  /** An adapter: PEFT's folder or its .safetensors file with the config beside it, kohya's or diffusers' file. */
  async adapter(path: string, model?: SafetensorsFile): Promise<AdapterFile> {
    const options = model === undefined ? {} : { moduleNames: model };
    if (isAddress(path)) {
      const url = new URL(path);
      if (!(await this.#isPeft(path))) return loadAdapter(url, options);
      return loadAdapter({ [CONFIG]: new URL(CONFIG, url), "adapter_model.safetensors": url }, options);
    }
    const isFolder = (await stat(path)).isDirectory();
    const folder = isFolder ? path : dirname(path);
    const weights = isFolder ? await this.#files(path) : [path];
    if (weights.length !== 1) throw new Error(`${path} holds ${weights.length} .safetensors files: name one`);
    const sources: Record<string, FileSource> = {
      [basename(weights[0] as string)]: await this.#reader(weights[0] as string),
    };
    if (isFolder || (await this.#isPeft(path))) {
      const config = await readFile(join(folder, CONFIG)).catch(() => undefined);
      if (config !== undefined) sources[CONFIG] = new Uint8Array(config);
    }
    const single = Object.values(sources);
    return loadAdapter(single.length === 1 ? (single[0] as FileSource) : sources, options);
  }

  async #isPeft(path: string): Promise<boolean> {
    const file = await this.weights(path);
    return adapterFormat(file) === "peft";
  }

  /** A matrix or a batch: a .npy file, or a tensor of a safetensors file. */
  async array(path: string, name: string | undefined): Promise<Tensor> {
    if (path.endsWith(".npy")) return fromNpy(await readFile(path), path);
    const file = await this.weights(path);
    const chosen = name ?? (file.names.length === 1 ? file.names[0] : undefined);
    if (chosen === undefined) throw new Error(`${path} holds ${file.names.length} tensors: choose one with --tensor`);
    return file.tensor(chosen);
  }
}
