// lowrank svd: singular values and vectors of an array.

import { lowRank, type Rank, scope, svd, svdvals, type Tensor } from "../../bindings/index.js";
import { writeSafetensors } from "../../bindings/safetensors.js";
import { toNpy } from "../npy.js";
import { addRule, type RuleOptions, ruleOf, UsageError } from "../options.js";
import { type Content, checkFree, writeFiles } from "../output.js";
import type { AddCommand, Run } from "../run.js";
import { bytesText } from "../terminal.js";
import { shapeText, short, spectrum } from "../text.js";

interface Options extends RuleOptions {
  tensor?: string;
  output?: string;
  force: boolean;
  dryRun: boolean;
}

export const addSvd: AddCommand = (program, start) => {
  const command = program
    .command("svd")
    .description("A = U·diag(S)·Vᵀ of a matrix; without -o its singular values")
    .argument("<file>", "a .npy file or a .safetensors file")
    .option("--tensor <name>", "which tensor of a .safetensors file")
    .option("-o, --output <path>", "u, s and vt: a .safetensors file, or x.npy for x.u.npy, x.s.npy and x.vt.npy");
  addRule(command)
    .option("--force", "overwrite what is there", false)
    .option("--dry-run", "compute and report, write nothing", false)
    .option("--json", "print one JSON object", false)
    .addHelpText(
      "after",
      "\nExample: the best approximation of rank 16\n  lowrank svd weights.npy --rank 16 -o factors.safetensors",
    )
    .action(start(decompose));
};

async function decompose({ inputs, terminal, print }: Run, path: string, options: Options): Promise<void> {
  const { output, force, dryRun } = options;
  const rule = ruleOf(options);
  if (output !== undefined && !/^-$|\.(safetensors|npy)$/.test(output)) {
    throw new UsageError(`-o ${output}: the name says the format, .safetensors or .npy`);
  }
  const paths = output === undefined ? [] : pathsOf(output);
  await checkFree([...paths], { force, dryRun });
  const a = await inputs.array(path, options.tensor);
  if (a.ndim < 2) throw new UsageError(`${path} is not a matrix: it has shape ${shapeText(a.shape)}`);
  const { values, lost, files } = scope(() => compute(a, rule, output));
  a.dispose();
  const bytes = output === undefined ? 0 : await writeFiles(terminal, files, { force, dryRun });
  const words = [
    `${path}: ${shapeText(a.shape)}, ${a.dtype}, ${values.length} values ${spectrum(values)}`,
    values.slice(0, 10).map(short).join(" ") + (values.length > 10 ? " …" : ""),
    ...(lost === undefined
      ? []
      : [`rank ${lost.rank}, ‖A − A_k‖_F ${short(lost.frobenius)}, ‖A − A_k‖₂ ${short(lost.spectral)}`]),
    ...(output === undefined ? [] : [`${dryRun ? "would write" : "wrote"} ${bytesText(bytes)} to ${paths.join(", ")}`]),
  ];
  print(words, {
    shape: a.shape,
    dtype: a.dtype,
    singularValues: values,
    ...lost,
    ...(output !== undefined && { output, bytes }),
  });
}

function pathsOf(output: string): string[] {
  if (!output.endsWith(".npy")) return [output];
  return ["u", "s", "vt"].map((part) => output.replace(/npy$/, `${part}.npy`));
}

function compute(a: Tensor, rule: Rank | undefined, output: string | undefined) {
  if (rule === undefined && output === undefined) {
    return { values: Array.from(svdvals(a).toTyped()), lost: undefined, files: new Map<string, () => Content>() };
  }
  const found = rule === undefined ? undefined : lowRank<Tensor>(a, rule);
  const { u, s, vt } = found ?? svd(a);
  const largest = (error: number | Tensor) => (typeof error === "number" ? error : Math.max(...error.data));
  const lost = found && {
    rank: found.rank,
    frobenius: largest(found.error.frobenius),
    spectral: largest(found.error.spectral),
  };
  return { values: Array.from(s.toTyped()), lost, files: filesOf(output, { u, s, vt }) };
}

function filesOf(output: string | undefined, parts: { u: Tensor; s: Tensor; vt: Tensor }): Map<string, () => Content> {
  if (output === undefined) return new Map();
  const paths = pathsOf(output);
  const contents = output.endsWith(".npy") ? Object.values(parts).map(toNpy) : [writeSafetensors(parts)];
  return new Map(paths.map((path, i) => [path, () => contents[i] as Uint8Array]));
}
