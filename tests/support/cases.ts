// Published test material that stands beside the repository, where it does.

import { readFileSync } from "node:fs";

/** The parsed file of `../shared/cases`, or undefined, with one line on the console, where the folder is absent. */
export function publishedCases<T>(name: string): T | undefined {
  try {
    return JSON.parse(readFileSync(`../shared/cases/${name}`, "utf8")) as T;
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOENT") throw error;
    console.log(`skipped: ../shared/cases/${name} is not there`);
    return undefined;
  }
}
