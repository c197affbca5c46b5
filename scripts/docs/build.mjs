// npm run docs: the API reference of all entries, from the docstrings, and the guide beside it, as pages in docs/.
// This folder has a package of its own: TypeDoc calls the compiler's JavaScript API, which TypeScript 7 no longer has.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { Application, Converter, Logger, LogLevel, makeRecursiveVisitor, ReflectionKind } from "typedoc";

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** What the aliases of bindings/platform.ts stand for where the environment has it. */
const PLATFORM = {
  PlatformBlob: "Blob",
  PlatformUrl: "URL",
  PlatformResponse: "Response",
  Bytes: "Uint8Array",
};

/** What the types of a library in a worker are put together from: bindings/remote/types.ts. */
const PARTS = ["Chosen", "Library", "Living", "Numbers", "RemoteArguments", "Statics"];

/** The modules behind the entries of package.json that have types, and their names. */
function entries() {
  const { exports } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  return Object.entries(exports)
    .filter(([, { types }]) => types !== undefined)
    .map(([entry, { types }]) => ({
      name: posix.join("lowrank", entry),
      source: join(ROOT, types.replace("./dist/", "bindings/").replace(/\.d\.ts$/, ".ts")),
    }));
}

/**
 * Writes the pages into a folder.
 *
 * @returns what TypeDoc has to complain about: references to what is not documented, broken links, functions and classes
 *   without a text
 */
export async function writeDocs(out) {
  const modules = entries();
  const app = await Application.bootstrap({
    name: "lowrank",
    includeVersion: true,
    entryPoints: modules.map(({ source }) => source),
    tsconfig: join(ROOT, "tsconfig.build.json"),
    readme: join(ROOT, "README.md"),
    projectDocuments: [join(ROOT, "guide/README.md"), ...chapters()],
    highlightLanguages: ["ts", "js", "json", "html", "sh", "python"],
    // links to sources would depend on the remote of the checkout
    disableSources: true,
    excludeInternal: true,
    excludePrivate: true,
    excludeProtected: true,
    intentionallyNotExported: [...Object.keys(PLATFORM), ...PARTS],
    validation: { notExported: true, invalidLink: true, rewrittenLink: true, notDocumented: true },
    requiredToBeDocumented: ["Class", "Function", "Variable"],
    groupOrder: ["Functions", "Variables", "Classes", "*"],
    out,
  });
  const complaints = new Complaints();
  app.logger = complaints;
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const [i, module] of project.getChildrenByKind(ReflectionKind.Module).entries()) module.name = modules[i].name;
    for (const chapter of project.documents ?? []) chapter.name = titleOf(chapter.name);
    // `implements Disposable` says it
    for (const method of project.getReflectionsByKind(ReflectionKind.Method)) {
      if (method.name === "[dispose]") project.removeReflection(method);
    }
    const rename = makeRecursiveVisitor({
      reference(type) {
        type.name = PLATFORM[type.name] ?? type.name;
      },
    });
    for (const reflection of Object.values(project.reflections)) reflection.type?.visit(rename);
  });
  const project = await app.convert();
  if (project !== undefined) {
    app.validate(project);
    await app.generateOutputs(project);
  }
  return complaints.found;
}

/** The chapters of the guide, in the order of its index; an Error if one is not in it. */
function chapters() {
  const index = readFileSync(join(ROOT, "guide/README.md"), "utf8");
  const linked = [...index.matchAll(/\]\((\w[\w-]*\.md)\)/g)].map(([, name]) => name);
  const all = readdirSync(join(ROOT, "guide")).filter((name) => name !== "README.md");
  const lost = all.filter((name) => !linked.includes(name));
  if (lost.length > 0) throw new Error(`guide/README.md has no link to ${lost.join(", ")}`);
  return linked.map((name) => join(ROOT, "guide", name));
}

/** The first heading of a chapter. */
function titleOf(chapter) {
  return /^# (.*)$/m.exec(readFileSync(join(ROOT, "guide", `${chapter}.md`), "utf8"))[1];
}

class Complaints extends Logger {
  found = [];
  log(message, level) {
    if (level >= LogLevel.Warn) this.found.push(message);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const found = await writeDocs(join(ROOT, "docs"));
  for (const one of found) console.error(one);
  console.log(found.length === 0 ? "docs/index.html" : `${found.length} to be put right`);
  process.exitCode = found.length === 0 ? 0 : 1;
}
