// The command line, run in this process on files in a temporary folder: grammar, results, files, exit status.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { capabilities, scope, svdvals, tensor } from "../../bindings/index.js";
import { LoraAdapter, loadAdapter, saveAdapter } from "../../bindings/lora.js";
import { type Writable as Named, openSafetensors, writeSafetensors } from "../../bindings/safetensors.js";
import { main } from "../../cli/main.js";
import { Interrupted, type Terminal } from "../../cli/terminal.js";
import { Random } from "../support/random.js";

const folder = mkdtempSync(join(tmpdir(), "lowrank-cli-"));
const at = (name: string) => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

class Text extends Writable {
  readonly pieces: Buffer[] = [];
  isTTY?: boolean;
  override _write(piece: Buffer, _: string, done: () => void): void {
    this.pieces.push(Buffer.from(piece));
    done();
  }
  get bytes(): Buffer {
    return Buffer.concat(this.pieces);
  }
  override toString(): string {
    return this.bytes.toString("utf8");
  }
}

/** Runs the command in the folder. */
async function lowrank(line: string | string[], { signal = new AbortController().signal, isTTY = false } = {}) {
  const [stdout, stderr] = [new Text(), new Text()];
  stderr.isTTY = isTTY;
  const words = Array.isArray(line) ? line : line.split(" ");
  const argv = words.map((word) => word.replace(/^@/, `${folder}/`));
  const status = await main(argv, { stdout, stderr, signal } satisfies Terminal);
  return { status, out: String(stdout), err: String(stderr), bytes: stdout.bytes };
}

async function json(line: string) {
  const { status, out, err } = await lowrank(`${line} --json`);
  if (status !== 0) throw new Error(err);
  expect(out.trim().split("\n").length).toBe(1);
  return JSON.parse(out);
}

const random = new Random(5);
type Floats = { data: Float32Array; shape: number[] };
const normal = (m: number, n: number, scale = 1): Floats => ({
  data: Float32Array.from({ length: m * n }, () => scale * random.normal()),
  shape: [m, n],
});
function planted({ data, shape: [m, n] }: Floats, rank: number): Floats {
  const [b, a] = [normal(m as number, rank).data, normal(rank, n as number).data];
  const shape = [m as number, n as number];
  const sum = (i: number, j: number) => {
    let total = 0;
    for (let k = 0; k < rank; k++) total += (b[i * rank + k] as number) * (a[k * (n as number) + j] as number);
    return total;
  };
  return { data: data.map((x, p) => x + sum(Math.floor(p / (n as number)), p % (n as number))), shape };
}

const base: Record<string, Floats> = {
  "model.h.0.q.weight": normal(24, 16),
  "model.h.0.v.weight": normal(16, 24),
  "model.wte.weight": normal(40, 16),
  "lm_head.weight": normal(40, 16),
};
const tuned = { ...base };
for (const name of ["model.h.0.q.weight", "model.h.0.v.weight"]) tuned[name] = planted(base[name] as Floats, 3);
const write = (name: string, tensors: Record<string, Named>, dtype?: "F16") =>
  writeFileSync(at(name), writeSafetensors(tensors, { metadata: { format: "pt" }, ...(dtype && { dtype }) }));

beforeAll(() => {
  write("base.safetensors", base);
  write("tuned.safetensors", tuned);
});

describe("grammar", () => {
  test("help of the program and of each command has an example; the version", async () => {
    const { status, out } = await lowrank("--help");
    expect(status).toBe(0);
    for (const name of ["info", "svd", "rank", "extract", "resize", "combine", "merge", "bench"]) {
      expect(out).toContain(name);
      const help = await lowrank(`${name} --help`);
      expect(help.status).toBe(0);
      expect(help.out).toMatch(new RegExp(`Example.*\\n\\s*lowrank ${name}`, "s"));
    }
    expect((await lowrank("--version")).out.trim()).toBe(capabilities().version);
  });

  test.each([
    ["", /Usage: lowrank/],
    ["inspect x", /unknown command 'inspect'/],
    ["inof x", /Did you mean info\?/],
    ["info", /missing required argument 'file'/],
    ["info @base.safetensors --al", /unknown option '--al'.*Did you mean --all\?/s],
    ["extract @base.safetensors @tuned.safetensors --rank 3", /required option '-o, --output/],
    ["extract @base.safetensors @tuned.safetensors -o @x", /how much is kept\? Give --rank, --energy or --tolerance/],
    ["extract @base.safetensors @tuned.safetensors -o @x --rank 2 --energy 0.5", /--rank and --energy exclude/],
    ["extract @base.safetensors @tuned.safetensors -o @x --rank 1.5", /'--rank <n>'.*Expected an integer above 0/],
    ["extract @base.safetensors @tuned.safetensors -o @x --energy 1.5", /Expected a number above 0, at most 1/],
    ["extract @base.safetensors @tuned.safetensors -o @x --tolerance -1", /Expected a number from 0 to 1/],
    ["extract @base.safetensors @tuned.safetensors -o @x --rank 1 --dtype int8", /Expected f16, bf16, f32 or f64/],
    ["extract @base.safetensors @tuned.safetensors -o @x --rank 1 --format gguf", /choices.*peft, kohya, diffusers/],
    ["extract @base.safetensors @tuned.safetensors -o @x.safetensors --rank 1", /PEFT's adapters are folders/],
    ["extract @base.safetensors @tuned.safetensors -o - --format kohya --rank 1 --json", /both want standard output/],
    ["resize @a -o @x --rule sv_max=1", /Expected one of sv_ratio=<value>/],
    ["resize @a -o @x --rule sv_fro", /Expected one of sv_ratio=<value>/],
    ["resize @a -o @x --rank 1 --rule sv_fro=0.9", /--rule excludes/],
    ["resize @a -o @x --rank 1 --max-rank 2", /--max-rank goes with --rule/],
    ["combine @a @b -o @x --weights 1", /--weights has 1 numbers for 2 adapters/],
    ["combine @a @b -o @x --weights 1,a", /Expected numbers with commas/],
    ["svd @base.safetensors --tensor lm_head.weight -o @x.txt", /the name says the format/],
    ["rank @base.safetensors --exclude .*", /leave no layer/],
  ])("%s: exit status 2", async (line, message) => {
    const before = readdirSync(folder);
    const { status, out, err } = await lowrank(line === "" ? [] : line);
    expect(err).toMatch(message);
    expect(status).toBe(2);
    expect(out).toBe("");
    expect(readdirSync(folder)).toEqual(before);
  });

  test.each([
    ["info @absent.safetensors", /ENOENT/],
    ["info @broken.safetensors", /header's length/],
    ["info @pickled.safetensors", /pickled/],
    ["info @empty", /holds no \.safetensors file/],
    ["svd @base.safetensors", /holds 4 tensors: choose one with --tensor/],
    ["svd @base.safetensors --tensor x", /"name" expected the name of a tensor/],
    ["extract @base.safetensors @tuned.safetensors --rank 2 --target nothing -o @x", /"targetModules" expected one of/],
    ["merge @base.safetensors @base.safetensors -o @x.safetensors", /not an adapter/],
  ])("%s: exit status 1", async (line, message) => {
    writeFileSync(at("broken.safetensors"), new Uint8Array(9).fill(1));
    writeFileSync(at("pickled.safetensors"), Uint8Array.of(0x80, 2, 0x63, 0, 0, 0, 0, 0, 0, 0));
    mkdirSync(at("empty"), { recursive: true });
    const before = readdirSync(folder);
    const { status, err } = await lowrank(line);
    expect(err).toMatch(message);
    expect(err.startsWith("error: ")).toBe(true);
    expect(status).toBe(1);
    expect(readdirSync(folder)).toEqual(before);
  });
});

describe("extract, info, rank, resize, combine, merge: from files to files", () => {
  test("a planted update goes round: extracted, inspected, merged, the tuned model again", async () => {
    const report = await json("extract @base.safetensors @tuned.safetensors --rank 3 -o @adapter");
    expect(report.layers.map(({ module, rank }: { module: string; rank: number }) => [module, rank]).sort()).toEqual([
      ["model.h.0.q", 3],
      ["model.h.0.v", 3],
    ]);
    expect(report.error).toBeLessThan(1e-5);
    expect(report.skipped).toHaveLength(2);
    expect(readdirSync(at("adapter")).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    expect(report.bytes).toBe(
      ["adapter_config.json", "adapter_model.safetensors"].reduce(
        (sum, name) => sum + readFileSync(at(`adapter/${name}`)).length,
        0,
      ),
    );

    const said = await json("info @adapter");
    expect(said).toMatchObject({ kind: "adapter", format: "peft", dtype: "F32" });
    for (const { module, norm, r, scaling, singularValues } of said.modules) {
      expect([r, scaling]).toEqual([3, 1]);
      const layer = report.layers.find((one: { module: string }) => one.module === module);
      expect(norm).toBeCloseTo(layer.norm, 3);
      expect(singularValues).toHaveLength(3);
    }
    const words = (await lowrank("info @adapter")).out;
    expect(words).toMatch(/peft adapter, 2 modules, 240 parameters, F32/);
    expect(words).toMatch(/model\.h\.0\.q.*24×16.*3.*█/);

    const merged = await json("merge @base.safetensors @adapter -o @merged.safetensors");
    expect(merged.adapters).toEqual([{ path: at("adapter"), weight: 1, modules: 2 }]);
    const file = await openSafetensors(readFileSync(at("merged.safetensors")));
    for (const [name, wanted] of Object.entries(tuned)) {
      const got = (await file.tensor(name)).toTyped();
      got.forEach((x, i) => {
        expect(Math.abs(x - (wanted.data[i] as number))).toBeLessThan(1e-4);
      });
    }
    // the same bytes on standard output, everything else beside it
    await json("merge @base.safetensors @adapter -o @merged/");
    await json("merge @base.safetensors @adapter -o @merged --force"); // the folder is there now
    expect(readdirSync(at("merged"))).toEqual(["model.safetensors"]);
    expect(Buffer.compare(readFileSync(at("merged/model.safetensors")), readFileSync(at("merged.safetensors")))).toBe(
      0,
    );
    const piped = await lowrank("merge @base.safetensors @adapter -o -");
    expect(Buffer.compare(piped.bytes, readFileSync(at("merged.safetensors")))).toBe(0);
    expect(piped.err).toMatch(/wrote .* to -/);
    // another weight is another model
    await json("merge @base.safetensors @adapter --weights -1 -o @other.safetensors");
    expect(Buffer.compare(readFileSync(at("other.safetensors")), piped.bytes)).not.toBe(0);
  });

  test("rank tells what extraction will need, of models, adapters and arrays", async () => {
    const change = await json("rank @base.safetensors @tuned.safetensors");
    expect(change.layers).toHaveLength(2);
    for (const layer of change.layers) {
      const values = await scopedValues(layer.module);
      const energy = (k: number) =>
        values.slice(0, k).reduce((sum, x) => sum + x * x, 0) / values.reduce((sum, x) => sum + x * x, 0);
      for (const share of [0.9, 0.95, 0.99]) {
        const r = layer.ranks[share];
        expect(energy(r)).toBeGreaterThanOrEqual(share - 1e-6);
        expect(energy(r - 1)).toBeLessThan(share);
      }
    }
    expect(change.largest["0.99"]).toBeLessThanOrEqual(3);
    const own = await json("rank @base.safetensors");
    expect(own.largest["0.99"]).toBeGreaterThan(10);
    const adapter = await json("rank @adapter");
    expect(adapter.layers.map(({ ranks }: { ranks: object }) => ranks)).toEqual(
      change.layers.map(({ ranks }: { ranks: object }) => ranks),
    );
    expect((await lowrank("rank @base.safetensors @tuned.safetensors")).out).toMatch(/for every layer: r \d for 90 %/);
  });

  async function scopedValues(module: string): Promise<number[]> {
    const [x, y] = [base[`${module}.weight`] as Floats, tuned[`${module}.weight`] as Floats];
    return scope(() =>
      Array.from(
        svdvals(
          tensor(
            y.data.map((value, i) => value - (x.data[i] as number)),
            { shape: x.shape },
          ),
        ).data,
      ),
    );
  }

  test("resize by rank, energy and kohya's rules; combine with weights", async () => {
    const two = await json("resize @adapter --rank 2 -o @two");
    expect(two.modules.map(({ before, rank }: { before: number; rank: number }) => [before, rank])).toEqual([
      [3, 2],
      [3, 2],
    ]);
    expect((await json("info @two")).config).toMatchObject({ r: 2, lora_alpha: 2 });
    const kohya = await json("resize @adapter --rule sv_fro=0.5 --max-rank 2 -o @kohya-rule");
    for (const { rank } of kohya.modules) expect(rank).toBe(2);
    const half = await json("combine @adapter @two --weights 0.5,0.5 -o @half");
    expect(half.modules.map(({ rank }: { rank: number }) => rank)).toEqual([5, 5]);
    const svd = await json("combine @adapter @two --method svd --rank 3 -o @svd --dtype bf16");
    expect(svd.modules.map(({ rank }: { rank: number }) => rank)).toEqual([3, 3]);
    expect((await json("info @svd")).dtype).toBe("BF16");
  });

  test("targets, exclusions and formats", async () => {
    const q = await json("extract @base.safetensors @tuned.safetensors --rank 1 --target q -o @q");
    expect(q.layers.map(({ module }: { module: string }) => module)).toEqual(["model.h.0.q"]);
    const v = await json("extract @base.safetensors @tuned.safetensors --rank 1 --exclude .*\\.q -o @v");
    expect(v.layers.map(({ module }: { module: string }) => module)).toEqual(["model.h.0.v"]);
    await json(
      "extract @base.safetensors @tuned.safetensors --rank 3 --format kohya --dtype f16 -o @kohya.safetensors",
    );
    const kohya = await json("info @kohya.safetensors");
    expect(kohya).toMatchObject({ format: "kohya", dtype: "F16" });
    expect(kohya.modules.map(({ module }: { module: string }) => module).sort()).toEqual([
      "lora_unet_model_h_0_q",
      "lora_unet_model_h_0_v",
    ]);
    await json("resize @kohya.safetensors --rank 2 -o @one-file/");
    expect(readdirSync(at("one-file"))).toEqual(["lora.safetensors"]);
    expect((await lowrank("resize @kohya.safetensors --rank 2 -o @one-file")).err).toMatch(/lora\.safetensors exists/);
    // names with underscores need the model to become paths again
    expect((await lowrank("resize @kohya.safetensors --rank 2 --format peft -o @peft")).err).toMatch(/moduleNames/);
    await json("resize @kohya.safetensors --rank 2 --format peft --model @base.safetensors -o @peft");
    expect((await json("info @peft")).modules[0].module).toMatch(/^model\.h\.0\./);
    const merged = await json("merge @base.safetensors @kohya.safetensors -o @from-kohya.safetensors --target .*_q");
    expect(merged.adapters[0].modules).toBe(1);
    expect(
      (await lowrank("merge @base.safetensors @kohya.safetensors -o @none.safetensors --target none")).status,
    ).toBe(2);
  });

  test("a model in several files stays in several, or becomes one", async () => {
    mkdirSync(at("sharded"), { recursive: true });
    const map: Record<string, string> = {};
    Object.keys(base).forEach((name, i) => {
      map[name] = `model-0000${(i % 2) + 1}-of-00002.safetensors`;
    });
    for (const shard of new Set(Object.values(map))) {
      write(`sharded/${shard}`, Object.fromEntries(Object.entries(base).filter(([name]) => map[name] === shard)));
    }
    writeFileSync(
      at("sharded/model.safetensors.index.json"),
      JSON.stringify({ metadata: { total_size: 1 }, weight_map: map }),
    );
    await json("merge @sharded @adapter -o @sharded-merged");
    expect(readdirSync(at("sharded-merged")).sort()).toEqual(readdirSync(at("sharded")).sort());
    await json("merge @sharded/model.safetensors.index.json @adapter -o @one.safetensors");
    const whole = await openSafetensors(readFileSync(at("one.safetensors")));
    for (const shard of new Set(Object.values(map))) {
      const part = await openSafetensors(readFileSync(at(`sharded-merged/${shard}`)));
      for (const name of part.names) expect(Buffer.compare(await part.bytes(name), await whole.bytes(name))).toBe(0);
    }
    const again = await json("info @sharded-merged");
    expect(again.shards).toHaveLength(2);
    expect(again.tensors).toHaveLength(4);
  });

  test("info of a model: counts, what all-linear leaves out, long tables cut", async () => {
    const said = await json("info @base.safetensors");
    expect(said).toMatchObject({ kind: "model", parameters: 24 * 16 * 2 + 40 * 16 * 2, metadata: { format: "pt" } });
    expect(said.allLinear.sort()).toEqual(["model.h.0.q", "model.h.0.v"]);
    expect(said.leftOut).toEqual([
      { name: "lm_head", kind: "output head" },
      { name: "model.wte", kind: "embedding" },
    ]);
    const many = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`h.${i}.weight`, normal(2, 2)]));
    write("many.safetensors", many);
    const short = (await lowrank("info @many.safetensors")).out;
    expect(short).toContain("… and 20 more: --all");
    expect((await lowrank("info @many.safetensors --all")).out).not.toContain("more: --all");
    write("empty.safetensors", {});
    expect((await json("info @empty.safetensors")).tensors).toEqual([]);
  });
});

describe("svd and .npy", () => {
  test("factors as .npy and .safetensors multiply to the best approximation; arrays of NumPy's other types", async () => {
    const whole = await json("svd @base.safetensors --tensor lm_head.weight");
    const wanted = scope(() => Array.from(svdvals(base["lm_head.weight"] as Floats).data));
    expect(whole.singularValues).toEqual(wanted);
    const report = await json("svd @base.safetensors --tensor lm_head.weight --rank 4 -o @x.npy");
    expect(report.rank).toBe(4);
    expect(report.frobenius).toBeCloseTo(Math.hypot(...wanted.slice(4)), 3);
    const info = await json("info @x.u.npy");
    expect(info).toEqual({ kind: "array", dtype: "f32", shape: [40, 4], size: 160 });
    const again = await json("svd @x.vt.npy");
    for (const value of again.singularValues) expect(value).toBeCloseTo(1, 5);
    await json("svd @x.u.npy -o @usv.safetensors");
    const file = await openSafetensors(readFileSync(at("usv.safetensors")));
    expect([...file.names].sort()).toEqual(["s", "u", "vt"]);
    writeFileSync(at("integers.npy"), npy("<i8", [2, 2], new BigInt64Array([3n, 0n, 4n, 5n])));
    expect((await json("svd @integers.npy")).singularValues[0]).toBeCloseTo(Math.sqrt(45), 12);
    writeFileSync(at("fortran.npy"), npy("<f8", [2, 2], new Float64Array([3, 4, 0, 5]), true));
    const fortran = await json("svd @fortran.npy");
    expect(fortran.dtype).toBe("f64");
    expect(fortran.singularValues[0]).toBeCloseTo(Math.sqrt(45), 12);
    writeFileSync(at("complex.npy"), npy("<c16", [1, 1], new Float64Array([1, 2])));
    expect((await lowrank("svd @complex.npy")).err).toMatch(/complex128 are not numbers of one kind/);
    expect((await lowrank("svd @x.s.npy")).status).toBe(2);
    writeFileSync(at("no.npy"), "not an array");
    expect((await lowrank("info @no.npy")).status).toBe(1);
  });

  /** A .npy file by its specification, version 1.0. */
  function npy(descr: string, shape: number[], data: ArrayBufferView, fortran = false): Buffer {
    const text = `{'descr': '${descr}', 'fortran_order': ${fortran ? "True" : "False"}, 'shape': (${shape.join(", ")},), }`;
    const header = `${text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11)}\n`;
    const start = Buffer.alloc(10);
    start.write("\x93NUMPY\x01\x00", "latin1");
    start.writeUInt16LE(header.length, 8);
    return Buffer.concat([start, Buffer.from(header, "latin1"), Buffer.from(data.buffer as ArrayBuffer)]);
  }
});

describe("what is written, and what is not", () => {
  const commands = [
    "extract @base.safetensors @tuned.safetensors --rank 2 -o @dry",
    "resize @adapter --rank 1 -o @dry",
    "combine @adapter @adapter -o @dry",
    "merge @base.safetensors @adapter -o @dry.safetensors",
    "svd @base.safetensors --tensor lm_head.weight -o @dry.npy",
  ];
  test.each(commands)("%s --dry-run reports the same and writes nothing", async (line) => {
    const before = readdirSync(folder);
    const dry = await json(`${line} --dry-run`);
    expect(readdirSync(folder)).toEqual(before);
    expect(dry.bytes).toBeGreaterThan(100);
    expect(await json(line)).toEqual(dry);
    const made = readdirSync(folder).filter((name) => !before.includes(name));
    expect(made.length).toBeGreaterThan(0);
    const again = await lowrank(line);
    expect(again.status).toBe(1);
    expect(again.err).toMatch(/exists: --force overwrites it/);
    expect(await json(`${line} --force`)).toEqual(dry);
    for (const name of made) rmSync(at(name), { recursive: true });
  });

  test("a run that fails or is interrupted in the middle leaves nothing behind", async () => {
    const broken = {
      modules: new Map([
        [
          "model.h.0.v",
          new LoraAdapter({ a: normal(1, 24), b: { data: new Float32Array(16).fill(Number.NaN), shape: [16, 1] } }),
        ],
      ]),
    };
    mkdirSync(at("broken"), { recursive: true });
    for (const [name, bytes] of Object.entries(saveAdapter(broken))) writeFileSync(at(`broken/${name}`), bytes);
    const before = readdirSync(folder);
    const { usedBytes } = capabilities();
    const failed = await lowrank("merge @base.safetensors @broken -o @deep/er/out.safetensors");
    expect(failed.status).toBe(1);
    expect(failed.err).toMatch(/would give "model\.h\.0\.v\.weight" a value that is not finite/);
    expect(readdirSync(folder)).toEqual(before);
    const control = new AbortController();
    const running = lowrank("merge @base.safetensors @adapter -o @deep/er/out.safetensors", { signal: control.signal });
    control.abort(new Interrupted());
    const { status, err, out } = await running;
    expect(status).toBe(130);
    expect(err).toContain("interrupted");
    expect(out).toBe("");
    expect(readdirSync(folder)).toEqual(before);
    expect(capabilities().usedBytes).toBeLessThan(usedBytes + 1e6);
    expect((await lowrank("merge @base.safetensors @broken -o @unsafe.safetensors --unsafe")).status).toBe(0);
  });

  test("on a terminal a bar with bytes and time left, elsewhere plain lines", async () => {
    const line = "extract @base.safetensors @tuned.safetensors --rank 2 -o @bar --dry-run";
    const plain = (await lowrank(line)).err;
    expect(plain).toMatch(/^extract: 50 % \(.* of .*\)\nextract: 100 % \(.*\)\n$/m);
    expect(plain).not.toContain("\u001b");
    const bar = (await lowrank(line, { isTTY: true })).err;
    expect(bar).toMatch(/extract {2}[█░]+ 50 % .*kB of .*kB .*left/);
  });
});

test("an address is read by ranges", async () => {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    const path = at((request.url as string).slice(1));
    requests.push(request.headers.range ?? "whole");
    if (!existsSync(path)) return void response.writeHead(404).end();
    const bytes = readFileSync(path);
    const found = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    if (found === null) return void response.writeHead(200).end(bytes);
    const [from, to] = [Number(found[1]), Math.min(Number(found[2]), bytes.length - 1)];
    response
      .writeHead(206, { "content-range": `bytes ${from}-${to}/${bytes.length}` })
      .end(bytes.subarray(from, to + 1));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const root = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    expect((await json(`info ${root}/base.safetensors`)).tensors).toHaveLength(4);
    expect((await json(`info ${root}/adapter/adapter_model.safetensors`)).modules).toHaveLength(2);
    expect((await json(`info ${root}/sharded/model.safetensors.index.json`)).shards).toHaveLength(2);
    expect(requests).toContain("bytes=0-65535");
    expect((await lowrank(`info ${root}/absent.safetensors`)).err).toMatch(/404/);
  } finally {
    server.close();
  }
});

test("bench prints a row a case", async () => {
  const { results } = await json("bench");
  expect(results.length).toBeGreaterThan(3);
  for (const { milliseconds } of results) expect(milliseconds).toBeGreaterThan(0);
}, 60_000);

test("the saved adapter loads as any other", async () => {
  const files = Object.fromEntries(
    readdirSync(at("adapter")).map((name) => [name, new Uint8Array(readFileSync(at(`adapter/${name}`)))]),
  );
  const file = await loadAdapter(files);
  expect(file.config.targetModules).toEqual(["model.h.0.q", "model.h.0.v"]);
  for (const adapter of file.modules.values()) adapter.dispose();
});
