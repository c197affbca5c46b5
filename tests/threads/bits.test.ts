// The same bits for every size of the team: each operation that a team shares, as a library of its own computes it, with everything
// shared however small, and once more with the thresholds that users have.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BUILD } from "../support/build.js";
import { freshModules } from "../support/fresh.js";
import { Random } from "../support/random.js";

type Modules = Awaited<ReturnType<typeof freshModules>>;
type Dtype = "f32" | "f64";

const DTYPES: readonly Dtype[] = ["f32", "f64"];
const SIZES = [1, 2, 3, 4];

function operations({ library, lora }: Modules, dtype: Dtype): Record<string, () => unknown> {
  const random = new Random(7);
  const Typed = dtype === "f32" ? Float32Array : Float64Array;
  const t = (...shape: number[]) =>
    library.tensor(Typed.from(random.array(shape.reduce((product, n) => product * n, 1))) as Float64Array, { shape });
  const single = (...shape: number[]) =>
    library.tensor(Float32Array.from(random.array(shape.reduce((product, n) => product * n, 1))), { shape });
  const shapes = [
    [130, 70, 300],
    [1, 257, 129],
    [257, 1, 129],
    [3, 900, 40],
    [900, 3, 40],
    [33, 31, 1000],
  ] as const;
  const products = shapes.map(([m, n, k]) => [t(m, k), t(k, n), t(n, k), t(m, n)] as const);
  const matrix = t(300, 280);
  const tall = t(700, 90);
  const batch = t(150, 12, 9);
  const larger = t(5, 40, 40);
  const d = 200;
  const layer = new lora.LoraLinear({ weight: t(d, d), bias: t(d) });
  const packed = new lora.LoraLinear({ weight: t(d, d), packed: true });
  const adapter = new lora.LoraAdapter({ a: t(5, d), b: t(d, 5), bias: t(d) });
  layer.addAdapter("a", adapter);
  const rows = [1, 2, 40].map((n) => t(n, d));
  const grad = t(40, d);
  const pool = new lora.AdapterPool({ inFeatures: d, outFeatures: d, capacityBytes: 2 ** 20, dtype });
  for (let i = 0; i < 4; i++) pool.register(`${i}`, new lora.LoraAdapter({ a: t(2 + i, d), b: t(d, 2 + i) }));
  const ids = Array.from({ length: 40 }, (_, i) => (i % 5 === 4 ? null : `${i % 5}`));
  const scattered = () => Array.from({ length: 3000 }, () => [random.below(200), random.below(150)] as const);
  const places = scattered();
  const sparse = library.csr.fromCoo(
    places.map(([i]) => i),
    places.map(([, j]) => j),
    Typed.from(random.array(3000)) as Float64Array,
    [200, 150],
  );
  const block = t(150, 40);
  const blockT = t(200, 40);
  const weight = single(96, 200);
  const few = single(2, 200);
  const many = single(30, 200);
  return {
    "gemm and gemv": () =>
      products.flatMap(([a, b, c, o]) => [
        library.matmul(a, b),
        library.matmul(a, c.transpose(), { alpha: -2, beta: 0.5, out: library.tensor(o) }),
      ]),
    "batched products": () => library.matmul(batch, t(9, 20)),
    svd: () => library.svd(matrix),
    "svd of a tall matrix": () => library.svd(tall),
    "svd, all vectors": () => library.svd(t(60, 90), { vectors: "full" }),
    "svd by QR iteration": () => library.svd(t(100, 80), { driver: "qr" }),
    "svd by Jacobi": () => library.svd(t(60, 40), { driver: "jacobi" }),
    "singular values": () => library.svdvals(matrix),
    "batches of SVDs": () => [library.svd(batch), library.svd(larger), library.svd(batch, { vectors: "full" })],
    qr: () => library.qr(matrix, { mode: "full" }),
    lstsq: () => library.lstsq(tall, t(700, 3)),
    pinv: () => library.pinv(t(70, 60)),
    randomizedSvd: () => library.randomizedSvd(matrix, 12),
    svds: () => library.svds(sparse, 6),
    "PCA by covariance": () => {
      const pca = new library.PCA({ solver: "covariance" });
      return pca.fitTransform(tall);
    },
    "a layer, forward": () => rows.flatMap((x) => [layer.forward(x), packed.forward(x)]),
    "a layer, backward": () => {
      layer.forward(rows[2] as never, { train: true, seed: 1 });
      return layer.backward(grad);
    },
    "many adapters": () => {
      const y = library.zeros([40, d], dtype);
      lora.batchedLora(y, rows[2] as never, pool as never, ids);
      return y;
    },
    "sparse products": () => [
      sparse.multiply(block),
      sparse.multiplyTransposed(blockT),
      sparse.multiply(t(150)),
      sparse.multiplyTransposed(t(200)),
    ],
    factorize: () => {
      const model = library.factorize(sparse, { factors: 7, iterations: 2 });
      return [library.tensor(model.users), library.tensor(model.items), library.tensor(model.userBias)];
    },
    "quantised weights": () =>
      (["f16", "bf16", "int8", "nf4"] as const).flatMap((kind) => {
        const quantized = lora.quantize(weight, kind);
        const base = new lora.LoraLinear({ weight: quantized });
        return [quantized.dequantize(), base.forward(few), base.forward(many)];
      }),
  };
}

/** The bits of all tensors and arrays in a result. */
function bitsOf(modules: Modules, value: unknown): string[] {
  if (value instanceof modules.library.Tensor) {
    const numbers = value.toTyped();
    return [Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength).toString("base64")];
  }
  if (typeof value !== "object" || value === null) return [String(value)];
  return Object.values(value).flatMap((item) => bitsOf(modules, item));
}

describe.skipIf(BUILD === "debug").each([
  ["everything shared", 0],
  ["the usual thresholds", 1],
])("a team, %s", (_, reluctance) => {
  const found = new Map<string, string[][]>();
  const names = new Set<string>();

  beforeAll(async () => {
    for (const threads of SIZES) {
      const modules = await freshModules();
      const { threads: got } = await modules.library.init({ build: BUILD as "simd" | "relaxed", threads });
      expect(got).toBe(threads);
      modules.load.kernel().common.setReluctance(reluctance);
      for (const dtype of DTYPES) {
        for (const [name, run] of Object.entries(operations(modules, dtype))) {
          const key = `${name}, ${dtype}`;
          names.add(key);
          found.set(key, [...(found.get(key) ?? []), bitsOf(modules, run())]);
        }
      }
      await modules.library.terminate();
    }
  });

  afterAll(() => found.clear());

  test("has the same bits with one to four threads", () => {
    const differ = [...names].filter((name) => {
      const all = found.get(name) as string[][];
      return all.length !== SIZES.length || all.some((bits) => JSON.stringify(bits) !== JSON.stringify(all[0]));
    });
    expect(differ).toEqual([]);
    expect(names.size).toBeGreaterThan(40);
    // the twin: other numbers have other bits
    const some = [...names].map((name) => JSON.stringify((found.get(name) as string[][])[0]));
    // but for quantised weights, which are f32 in both
    expect(new Set(some).size).toBe(names.size - 1);
  });
});
