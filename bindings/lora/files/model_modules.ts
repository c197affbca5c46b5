// The modules of a model, told from the names and shapes of its tensors.

import { describe, expected } from "../../check.js";
import { SafetensorsFile } from "../../safetensors/file.js";
import { quote } from "../../safetensors/header.js";

/** A module of a model file that an adapter can be for. */
export interface ModelModule {
  /** Its path, without ".weight". */
  readonly name: string;
  /**
   * "linear": a weight of (out, in); "conv1d": of (in, out), as GPT-2 has them; "embedding": a table with a row a token; "convolution":
   * a weight of (out, in, …) and a kernel.
   */
  readonly kind: "linear" | "conv1d" | "embedding" | "convolution";
  /** Of the weight as it is stored. */
  readonly shape: readonly number[];
}

const WEIGHT = ".weight";

/** Last parts of the names of tables in the models of transformers, diffusers and their relatives. */
const EMBEDDING =
  /(?:^|[._])(?:embed|embeds|embeddings?|embed_tokens|embed_positions|wte|wpe|shared|relative_attention_bias|tok_embeddings)$/;

/**
 * The modules of a model file: every weight with two axes or more. A file says shapes and no more, so kinds are told by
 * names (embeddings) and by biases: where they have as many elements as the weight has columns, weights are (in, out).
 *
 * @param model what openSafetensors() or openModel() gave
 * @returns in the order of the file; matchTargets() takes it as it is
 * @example
 * ```ts
 * import { init, zeros } from "lowrank";
 * import { matchTargets, modelModules } from "lowrank/lora";
 * import { openSafetensors, writeSafetensors } from "lowrank/safetensors";
 * await init();
 * const tensors = { "h.0.q.weight": zeros([4, 4]), "wte.weight": zeros([9, 4]), "h.0.ln.weight": zeros([4]) };
 * const modules = modelModules(await openSafetensors(writeSafetensors(tensors)));
 * console.log(modules.map(({ kind }) => kind)); // [ 'linear', 'embedding' ]
 * console.log(matchTargets(modules, "all-linear")); // [ 'h.0.q' ]
 * ```
 */
export function modelModules(model: SafetensorsFile): ModelModule[] {
  checkModel(model, "model");
  const weights = model.names.filter((name) => name.endsWith(WEIGHT) && model.info(name).shape.length >= 2);
  const modules = weights.map((weight) => {
    const { shape } = model.info(weight);
    const name = weight.slice(0, -WEIGHT.length);
    return { name, kind: shape.length > 2 ? "convolution" : EMBEDDING.test(name) ? "embedding" : "linear", shape };
  }) as ModelModule[];
  const biasOf = ({ name }: ModelModule) =>
    model.has(`${name}.bias`) ? model.info(`${name}.bias`).shape[0] : undefined;
  // a square weight does not say which way it stands: the others speak for it
  const turned = modules.some((module) => {
    const [rows, columns] = module.shape;
    return module.kind === "linear" && rows !== columns && biasOf(module) === columns;
  });
  if (!turned) return modules;
  return modules.map((module) =>
    module.kind === "linear" && biasOf(module) === module.shape[1] ? { ...module, kind: "conv1d" } : module,
  );
}

/** @internal */
export function checkModel(value: unknown, argument: string): SafetensorsFile {
  if (value instanceof SafetensorsFile) return value;
  throw new TypeError(expected(argument, "a SafetensorsFile of openSafetensors() or openModel()", describe(value)));
}

/** @internal A list of names for a message, not longer than one can read. */
export function listed(names: readonly string[]): string {
  const most = 8;
  const some = names.slice(0, most).map(quote).join(", ");
  return names.length > most ? `${some} and ${names.length - most} more` : some;
}

/** Last parts of the names of what turns hidden states into answers: PEFT asks the model for it, a file has names alone. */
const HEAD = /(?:^|\.)(?:lm_head|embed_out|output_projection|vocab_projector|score|classifier|cls)(?:\.|$)/;

/** @internal What "all-linear" leaves out on a file. */
export function outputHeads(modules: readonly ModelModule[]): string[] {
  return modules.map(({ name }) => name).filter((name) => HEAD.test(name));
}
