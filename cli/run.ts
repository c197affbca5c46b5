// What a command of the command line is.

import type { Command } from "commander";
import type { Inputs } from "./input.js";
import type { Terminal } from "./terminal.js";

/** What a command works with. */
export interface Run {
  readonly terminal: Terminal;
  readonly inputs: Inputs;
  /** The result: as words, or with --json as one object. */
  print(words: readonly string[], json: unknown): void;
}

/** Makes a commander action of a function: kernel and inputs are there, and given back. */
export type Start = <A extends unknown[]>(
  action: (run: Run, ...given: A) => Promise<void>,
) => (...given: A) => Promise<void>;

/** Adds one command to the program. */
export type AddCommand = (program: Command, start: Start) => void;
