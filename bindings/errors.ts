// The library's own error classes. Wrong types are TypeError, wrong shapes, lengths and values RangeError;
// everything else is one of these, each with a `code` that does not change between versions.

/** An input of a decomposition holds NaN or Infinity. */
export class NonFiniteError extends Error {
  override readonly name = "NonFiniteError";
  readonly code = "non_finite";
  /**
   * @param argument name of the argument
   * @param index position of its first non-finite entry, one number an axis
   */
  constructor(
    readonly argument: string,
    readonly index: readonly number[],
    value: number,
  ) {
    super(`"${argument}" expected finite numbers, got ${value} at [${index.join(", ")}]`);
  }
}

/** An iteration reached its limit. */
export class ConvergenceError extends Error {
  override readonly name = "ConvergenceError";
  readonly code = "no_convergence";
  /** @param failed how many values did not converge */
  constructor(
    routine: string,
    readonly failed: number,
  ) {
    super(`${routine}: ${failed} ${failed === 1 ? "value" : "values"} did not converge`);
  }
}

/** Kernel memory is exhausted; everything allocated before is intact. Sizes in bytes. */
export class OutOfMemoryError extends Error {
  override readonly name = "OutOfMemoryError";
  readonly code = "out_of_memory";
  constructor(
    readonly asked: number,
    readonly free: number,
    readonly maximum: number,
    where = "kernel memory",
  ) {
    super(`${where}: asked for ${asked} bytes, ${free} free of at most ${maximum}`);
  }
}

/** A file is not what it should be, or cannot be read as it must be. */
export class FileFormatError extends Error {
  override readonly name = "FileFormatError";
  readonly code = "file_format";
  /**
   * @param reason what is wrong, and what to do if something can be done
   * @param offset byte of the file where it was found
   */
  constructor(
    readonly reason: string,
    readonly offset: number,
    cause?: unknown,
  ) {
    super(`${reason} (byte ${offset})`, cause === undefined ? undefined : { cause });
  }
}

/** Other failures carry one of these codes on a plain Error. */
export type ErrorCode =
  | "not_initialized"
  | "already_initialized"
  | "terminated"
  | "unsupported"
  | "blocked_by_csp"
  | "disposed"
  | "kernel_trap"
  | "guard"
  | "merged"
  | "adapter_not_found"
  | "adapter_in_use"
  | "no_forward"
  | "non_finite_merge"
  | "non_finite_loss"
  | "not_fitted";

/** @internal A plain Error with a stable code. */
export function failure(code: ErrorCode, message: string, cause?: unknown): Error & { code: ErrorCode } {
  return Object.assign(new Error(message, cause === undefined ? undefined : { cause }), { code });
}
