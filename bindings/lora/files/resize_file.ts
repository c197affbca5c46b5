// All adapters of a file made smaller.

import { describe, expected } from "../../check.js";
import { FileFormatError } from "../../errors.js";
import type { Rank } from "../../linalg/rank_rule.js";
import type { Runtime } from "../../load.js";
import type { ProgressOptions } from "../../progress.js";
import { quote } from "../../safetensors/header.js";
import { runSteps } from "../../scope.js";
import { type Steps, silently } from "../../slices.js";
import type { LoraAdapter } from "../adapter.js";
import { type KohyaRule, resizeSteps } from "../resize.js";
import type { AdapterFile } from "./adapter_file.js";
import { describeAdapters } from "./load.js";
import { makeModules } from "./make_modules.js";

/** What resizing did with one module. */
export interface ResizeReport {
  readonly module: string;
  /** (out, in) of ΔW. */
  readonly shape: readonly [number, number];
  /** The rank before. */
  readonly before: number;
  readonly rank: number;
  /** ‖Δ − Δ_k‖_F / ‖Δ‖_F. */
  readonly error: number;
  /** Share of Σσ² that is kept. */
  readonly energy: number;
}

/**
 * resizeAdapter() of every module of an adapter file: each gets the rank that the rule asks for, with `{ rank }` none more
 * than it had. What else the file holds stays as it is.
 *
 * @param file what loadAdapter() gave; it stays as it is
 * @returns a file of new adapters that the caller owns, and what was done with each module
 * @throws FileFormatError that names the module for DoRA adapters; otherwise as resizeAdapter(); the signal's reason
 * @example
 * ```ts
 * import { init } from "lowrank";
 * import { LoraAdapter, loadAdapter, resizeAdapterFile, saveAdapter } from "lowrank/lora";
 * await init();
 * const modules = new Map([["q", new LoraAdapter({ a: [[1, 0], [0, 1]], b: [[3, 0], [0, 4]] })]]);
 * const { file, report } = resizeAdapterFile(await loadAdapter(saveAdapter({ modules })), { rank: 1 });
 * console.log(report[0]?.before, report[0]?.rank, report[0]?.energy.toFixed(2)); // 2 1 0.64
 * console.log(file.config.r); // 1
 * ```
 */
export function resizeAdapterFile(
  file: AdapterFile,
  rule: Rank | KohyaRule,
  options: ProgressOptions = {},
): { file: AdapterFile; report: ResizeReport[] } {
  return runSteps((runtime) => resizeModules(runtime, file, rule), options);
}

function* resizeModules(
  runtime: Runtime,
  file: AdapterFile,
  rule: Rank | KohyaRule,
): Steps<{ file: AdapterFile; report: ResizeReport[] }> {
  if (!(file?.modules instanceof Map)) throw new TypeError(expected("file", "what loadAdapter() gave", describe(file)));
  const report: ResizeReport[] = [];
  const modules = yield* makeModules(file.modules.keys(), file.modules.size, function* (module) {
    const adapter = file.modules.get(module) as LoraAdapter;
    if (adapter.magnitude !== undefined) {
      throw new FileFormatError(
        `module ${quote(module)} has a magnitude (DoRA): only its merged weight could be resized`,
        0,
      );
    }
    const { r: before, outFeatures, inFeatures } = adapter;
    const fitting =
      "rank" in rule && rule.rank !== undefined ? { rank: Math.min(rule.rank, before, outFeatures, inFeatures) } : rule;
    const { adapter: resized, rank, error, energy } = yield* silently(resizeSteps(runtime, adapter, fitting));
    report.push({ module, shape: [outFeatures, inFeatures], before, rank, error, energy });
    return resized;
  });
  return { file: { ...file, modules, ...redescribed(file, modules) }, report };
}

/** Config and metadata that say the new ranks and alphas. */
function redescribed(file: AdapterFile, modules: ReadonlyMap<string, LoraAdapter>) {
  const { r, loraAlpha, rankPattern, alphaPattern } = describeAdapters(modules);
  const config = Object.assign(Object.create(Object.getPrototypeOf(file.config)), file.config, {
    r,
    loraAlpha,
    rankPattern,
    alphaPattern,
  }) as AdapterFile["config"];
  if (file.metadata.ss_network_dim === undefined) return { config, metadata: file.metadata };
  // kohya's tools read these two before the tensors, and know "Dynamic"
  const common = (pattern: object, value: number) => (Object.keys(pattern).length > 0 ? "Dynamic" : String(value));
  const metadata = {
    ...file.metadata,
    ss_network_dim: common(rankPattern, r),
    ss_network_alpha: common(alphaPattern, loraAlpha),
  };
  return { config, metadata };
}
