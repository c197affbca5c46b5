// npm run check: everything about the project that the tests of its numbers do not say. Needs a fresh build in dist/.
//   node scripts/check.mjs [name…]    only these
import { reference } from "./check/docs.mjs";
import { errorCodes } from "./check/error_codes.mjs";
import { examples } from "./check/examples.mjs";
import { reproducible } from "./check/kernels.mjs";
import { contents, importEffects, imports, publintRules, syntax, typesResolve } from "./check/package.mjs";
import { sizes } from "./check/sizes.mjs";
import { declarations, ownTypes, packageTypes } from "./check/types.mjs";
import { execute, installPacked, ROOT } from "./packed.mjs";

const CHECKS = {
  lint: () =>
    execute(process.execPath, ["node_modules/@biomejs/biome/bin/biome", "check", "--error-on-warnings", "."], {
      cwd: ROOT,
    }).trim(),
  types: ownTypes,
  "package contents": contents,
  "package imports": imports,
  "import effects": importEffects,
  syntax,
  publint: publintRules,
  attw: typesResolve,
  declarations,
  "package types": packageTypes,
  sizes,
  examples,
  "error codes": errorCodes,
  docs: reference,
  "same kernels": reproducible,
};

const asked = process.argv.slice(2);
for (const name of asked) {
  if (!(name in CHECKS)) {
    console.error(`no check "${name}"; there are: ${Object.keys(CHECKS).join(", ")}`);
    process.exit(2);
  }
}
const names = asked.length > 0 ? asked : Object.keys(CHECKS);
const installed = installPacked();
let failed = 0;
for (const name of names) {
  const start = performance.now();
  let [mark, text] = ["✓", ""];
  try {
    text = await CHECKS[name](installed);
  } catch (error) {
    failed++;
    [mark, text] = ["✗", error.stack?.includes(error.message) && error.name !== "Error" ? error.stack : error.message];
  }
  const seconds = ((performance.now() - start) / 1000).toFixed(1).padStart(5);
  const lines = text.trim().split("\n");
  console.log(
    `${mark} ${name.padEnd(17)} ${seconds} s   ${lines.length === 1 ? lines[0] : `\n    ${lines.join("\n    ")}`}`,
  );
}
console.log(`${names.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
