// The declarations as the oldest and the newest supported compiler see them.
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execute, ROOT } from "../packed.mjs";

const COMPILERS = ["oldest-typescript", "typescript"];
/** A user with Node and no types of it or of the DOM; a user with a bundler and the DOM. */
const USERS = {
  bare: { lib: ["ES2022"], module: "NodeNext" },
  dom: { lib: ["ES2022", "DOM"], module: "ESNext", moduleResolution: "Bundler" },
};

/** The project's own sources. */
export function ownTypes() {
  execute(process.execPath, [join(ROOT, "node_modules/typescript/bin/tsc"), "-p", ROOT, "--pretty", "false"]);
  return "bindings, tests, bench, examples";
}

/** tests/types/ against the installed package: each compiler for each kind of user, declarations checked too. */
export function packageTypes({ folder }) {
  const place = join(folder, "types");
  cpSync(join(ROOT, "tests/types"), place, { recursive: true });
  const strictness = { strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true };
  const versions = COMPILERS.map((compiler) => {
    const modules = join(ROOT, "node_modules", compiler);
    for (const [user, options] of Object.entries(USERS)) {
      const config = {
        compilerOptions: { target: "ES2022", types: [], ...options, ...strictness, skipLibCheck: false, noEmit: true },
        include: ["*.ts", `${user}/*.ts`],
      };
      writeFileSync(join(place, "tsconfig.json"), JSON.stringify(config));
      execute(process.execPath, [join(modules, "bin/tsc"), "-p", place, "--pretty", "false"]);
    }
    return JSON.parse(readFileSync(join(modules, "package.json"), "utf8")).version;
  });
  return `TypeScript ${versions.join(" and ")}, with and without DOM`;
}

/** The declarations say nothing of type any, need no lib of the browser and no types of Node, and show nothing internal. */
export function declarations({ installed }) {
  const problems = [];
  const files = readdirSync(join(installed, "dist"), { recursive: true }).filter((file) => file.endsWith(".d.ts"));
  for (const file of files) {
    const text = readFileSync(join(installed, "dist", file), "utf8");
    const code = text.replace(/\/\*[\s\S]*?\*\//g, "");
    if (/\bany\b/.test(code)) problems.push(`${file}: any`);
    if (/<reference (types|path)|<reference lib="dom/.test(code)) problems.push(`${file}: a reference to other types`);
    if (/from "(?!\.)|import\("(?!\.)/.test(code)) problems.push(`${file}: an import from outside`);
    if (/@internal/.test(text)) problems.push(`${file}: @internal`);
  }
  if (problems.length > 0) throw new Error(problems.join("\n"));
  return `${files.length} files`;
}
