// How each format names the parts of an adapter.

import type { AdapterFormat } from "./adapter_file.js";

/** Parts of an adapter. */
export type Part = "a" | "b" | "bias" | "magnitude" | "alpha" | "embeddingA" | "embeddingB";

export interface Key {
  readonly module: string;
  readonly part: Part;
}

const PEFT_ROOT = "base_model.model.";

// X.lora_A.weight, in older files X.lora_A.<adapter name>.weight; embeddings have no ".weight"
const PEFT =
  /^(.+)\.(lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)(?:\.([^.]+))??(?:\.(weight|bias))?$/;

/** A key of a PEFT file; undefined for modules saved as a whole and other things. */
export function peftKey(name: string): Key | undefined {
  const found = PEFT.exec(name.startsWith(PEFT_ROOT) ? name.slice(PEFT_ROOT.length) : name);
  if (found === null) return undefined;
  const [, module, matrix, , kind] = found as unknown as [
    string,
    string,
    string,
    string | undefined,
    string | undefined,
  ];
  if (matrix === "lora_B" && kind === "bias") return { module, part: "bias" };
  if (kind === "bias") return undefined;
  const parts: Record<string, Part> = {
    lora_A: "a",
    lora_B: "b",
    lora_embedding_A: "embeddingA",
    lora_embedding_B: "embeddingB",
    lora_magnitude_vector: "magnitude",
  };
  return { module, part: parts[matrix] as Part };
}

const KOHYA = /^(lora_[^.]+)\.(lora_down\.weight|lora_up\.weight|alpha|dora_scale)$/;

/** A key of a kohya file: the module is its name there, "lora_unet_down_blocks_0_…". */
export function kohyaKey(name: string): Key | undefined {
  const found = KOHYA.exec(name);
  if (found === null) return undefined;
  const parts: Record<string, Part> = {
    "lora_down.weight": "a",
    "lora_up.weight": "b",
    alpha: "alpha",
    dora_scale: "magnitude",
  };
  return { module: found[1] as string, part: parts[found[2] as string] as Part };
}

const COMPONENTS = [
  "unet",
  "transformer",
  "transformer_2",
  "text_encoder",
  "text_encoder_2",
  "text_encoder_3",
  "prior",
];
const DIFFUSERS = /^(.+)\.(lora_A|lora_B|lora\.down|lora\.up|alpha|lora_magnitude_vector)(?:\.weight)?$/;
const PROCESSOR = /^(.+)\.processor\.(to_(?:q|k|v|out))_lora\.(down|up)\.weight$/;

/** A key of a diffusers file; old attention processors are taken for the layers they stand for. */
export function diffusersKey(name: string): Key | undefined {
  const old = PROCESSOR.exec(name);
  if (old !== null) {
    const layer = old[2] === "to_out" ? "to_out.0" : (old[2] as string);
    return { module: `${old[1]}.${layer}`, part: old[3] === "down" ? "a" : "b" };
  }
  const found = DIFFUSERS.exec(name);
  if (found === null) return undefined;
  const parts: Record<string, Part> = {
    lora_A: "a",
    lora_B: "b",
    "lora.down": "a",
    "lora.up": "b",
    alpha: "alpha",
    lora_magnitude_vector: "magnitude",
  };
  return { module: found[1] as string, part: parts[found[2] as string] as Part };
}

/** The component that a diffusers name starts with. */
export function componentOf(module: string): string | undefined {
  return COMPONENTS.find((component) => module.startsWith(`${component}.`));
}

/** The format that names speak for; undefined if none of them belongs to an adapter. */
export function detectFormat(names: readonly string[]): AdapterFormat | undefined {
  if (names.some((name) => kohyaKey(name) !== undefined)) return "kohya";
  if (names.some((name) => name.startsWith(PEFT_ROOT))) return "peft";
  if (names.some((name) => diffusersKey(name) !== undefined && componentOf(name) !== undefined)) return "diffusers";
  return names.some((name) => peftKey(name) !== undefined) ? "peft" : undefined;
}

/** What a part is called in a file. */
export function keyName(format: AdapterFormat, module: string, part: Part): string {
  if (format === "kohya") {
    const parts: Partial<Record<Part, string>> = {
      a: "lora_down.weight",
      b: "lora_up.weight",
      alpha: "alpha",
      magnitude: "dora_scale",
    };
    return `${module}.${parts[part]}`;
  }
  const parts: Partial<Record<Part, string>> = {
    a: "lora_A.weight",
    b: "lora_B.weight",
    bias: "lora_B.bias",
    magnitude: "lora_magnitude_vector",
    embeddingA: "lora_embedding_A",
    embeddingB: "lora_embedding_B",
  };
  return `${format === "peft" ? PEFT_ROOT : ""}${module}.${parts[part]}`;
}

/** Kohya's prefixes of components. */
const KOHYA_PREFIXES: [component: string, prefix: string][] = [
  ["unet.", "lora_unet_"],
  ["transformer.", "lora_unet_"],
  ["text_encoder.", "lora_te1_"],
  ["text_encoder_2.", "lora_te2_"],
  ["text_encoder_3.", "lora_te3_"],
];

/** Every name that kohya's tools may give a module: prefix, and the path with underscores for dots. */
export function kohyaNames(module: string): string[] {
  const found = KOHYA_PREFIXES.find(([component]) => module.startsWith(component));
  const path = (from: number) => module.slice(from).replaceAll(".", "_");
  if (found === undefined)
    return ["lora_unet_", "lora_te_", "lora_te1_", "lora_te2_"].map((prefix) => prefix + path(0));
  const names = [found[1] + path(found[0].length)];
  if (found[0] === "text_encoder.") names.push(`lora_te_${path(found[0].length)}`);
  return names;
}
