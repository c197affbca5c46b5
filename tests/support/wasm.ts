// Just enough of the binary and the text format to say what a module holds without compiling it.

/** What a WebAssembly binary declares. */
export interface ModuleFacts {
  /** Section names in order. */
  sections: string[];
  imports: { module: string; name: string; kind: "function" | "table" | "memory" | "global"; shared: boolean }[];
  exports: { name: string; kind: "function" | "table" | "memory" | "global" }[];
}

const SECTIONS = [
  "custom",
  "type",
  "import",
  "function",
  "table",
  "memory",
  "global",
  "export",
  "start",
  "element",
  "code",
  "data",
  "data count",
];
const KINDS = ["function", "table", "memory", "global"] as const;

export function readModule(bytes: Uint8Array): ModuleFacts {
  let at = 8;
  const leb = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++] as number;
      value |= (byte & 127) << shift;
      if (byte < 128) return value >>> 0;
    }
  };
  const text = (): string => {
    const length = leb();
    at += length;
    return new TextDecoder().decode(bytes.slice(at - length, at));
  };
  const facts: ModuleFacts = { sections: [], imports: [], exports: [] };
  while (at < bytes.length) {
    const section = SECTIONS[bytes[at++] as number] ?? "unknown";
    const length = leb();
    const end = at + length;
    facts.sections.push(section);
    if (section === "import") {
      for (let count = leb(); count > 0; count--) {
        const [module, name] = [text(), text()];
        const kind = KINDS[bytes[at++] as number] as (typeof KINDS)[number];
        if (kind !== "memory") throw new Error(`cannot read an import of a ${kind}: ${module}.${name}`);
        const flags = bytes[at++] as number;
        leb();
        if ((flags & 1) !== 0) leb();
        facts.imports.push({ module, name, kind, shared: (flags & 2) !== 0 });
      }
    } else if (section === "export") {
      for (let count = leb(); count > 0; count--) {
        const name = text();
        const kind = KINDS[bytes[at++] as number] as (typeof KINDS)[number];
        leb();
        facts.exports.push({ name, kind });
      }
    }
    at = end;
  }
  return facts;
}

/** Function name -> names of the functions that it calls, from a module's text; names without their path. */
export function readCalls(wat: string): Map<string, Set<string>> {
  const calls = new Map<string, Set<string>>();
  let current = new Set<string>();
  for (const line of wat.split("\n")) {
    const definition = /^ \(func \$(\S+?)(?: |$)/.exec(line);
    if (definition !== null) {
      current = new Set();
      calls.set(shortName(definition[1] as string), current);
      continue;
    }
    const call = /\(?call \$(\S+?)\)*$/.exec(line);
    if (call !== null) current.add(shortName(call[1] as string));
  }
  return calls;
}

function shortName(name: string): string {
  return name.slice(name.lastIndexOf("/", name.includes("<") ? name.indexOf("<") : undefined) + 1);
}
