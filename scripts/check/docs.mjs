// The pages of npm run docs: everything that is referred to is there, no link leads nowhere.
import { readdirSync } from "node:fs";
import { join } from "node:path";

/** Writes the pages beside the installed package, which goes when the check ends. */
export async function reference({ folder }) {
  // TypeDoc takes a second to load
  const { writeDocs } = await import("../docs/build.mjs");
  const out = join(folder, "docs");
  const complaints = await writeDocs(out);
  if (complaints.length > 0) throw new Error(complaints.join("\n"));
  return `${readdirSync(out, { recursive: true }).filter((path) => path.endsWith(".html")).length} pages`;
}
