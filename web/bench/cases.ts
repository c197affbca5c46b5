// What is measured: the kernel, and the same algorithm in plain JavaScript on the same numbers.

import { empty, matmul, svd, tensor } from "lowrank";
import { AdapterPool, batchedLora, LoraAdapter, LoraLinear } from "lowrank/lora";
import { gemm, gemmTransposed } from "../../bench/reference/gemm.mjs";
import { svd as plainSvd } from "../../bench/reference/svd.mjs";
import { arrayOf, random } from "../../bench/support/random.mjs";

export type DType = "f32" | "f64";
type Numbers = Float32Array | Float64Array;

export interface Case {
  name: string;
  /** Floating-point operations of one run. */
  work: number;
  kernel(): void;
  javascript(): void;
  /** The largest difference between the two results, relative to the largest number in them. */
  difference(): number;
}

export function makeCases(dtype: DType): Case[] {
  return [product(dtype, 512), decomposition(dtype, 256), serving(dtype, 1024, 16, 16)];
}

/** C = A·B */
function product(dtype: DType, n: number): Case {
  const [x, y, plain]: Numbers[] = [random(dtype, n * n, 1), random(dtype, n * n, 2), arrayOf(dtype, n * n)];
  const [a, b] = [tensor(x as Numbers, { shape: [n, n] }), tensor(y as Numbers, { shape: [n, n] })];
  const out = empty([n, n], dtype);
  return {
    name: `Product, ${n} × ${n}`,
    work: 2 * n ** 3,
    kernel: () => void matmul(a, b, { out }),
    javascript: () => gemm(n, n, n, 1, x, y, 0, plain),
    difference: () => difference(out.data, plain as Numbers),
  };
}

/**
 * A = U·diag(S)·Vᵀ. Its operations are counted as divide and conquer needs them, the same for both: 8/3·n³ to become bidiagonal,
 * at most as many for the bidiagonal's vectors, 4·n³ to turn them back.
 */
function decomposition(dtype: DType, n: number): Case {
  const x: Numbers = random(dtype, n * n, 1);
  const a = tensor(x, { shape: [n, n] });
  let [values, plain] = [x, x];
  return {
    name: `SVD, ${n} × ${n}`,
    work: (28 / 3) * n ** 3,
    kernel() {
      const { u, s, vt } = svd(a);
      values = s.toTyped();
      for (const part of [u, s, vt]) part.dispose();
    },
    javascript() {
      plain = plainSvd(n, n, x).s;
    },
    difference: () => difference(values, plain),
  };
}

/** Rows of a batch through one layer, each with an adapter of its own. */
function serving(dtype: DType, width: number, rows: number, r: number): Case {
  const [x, weight]: Numbers[] = [random(dtype, rows * width, 1), random(dtype, width * width, 2)];
  const layer = new LoraLinear({ weight: tensor(weight as Numbers, { shape: [width, width] }) });
  const capacityBytes = rows * r * 2 * width * (dtype === "f32" ? 4 : 8);
  const pool = new AdapterPool({ inFeatures: width, outFeatures: width, capacityBytes, dtype });
  const factors: { a: Numbers; b: Numbers }[] = [];
  for (let i = 0; i < rows; i++) {
    const [a, b]: [Numbers, Numbers] = [random(dtype, r * width, 3 + i), random(dtype, width * r, 4 + i)];
    factors.push({ a, b });
    pool.register(`${i}`, new LoraAdapter({ a: { data: a, shape: [r, width] }, b: { data: b, shape: [width, r] } }));
  }
  const ids = factors.map((_, i) => `${i}`);
  const input = tensor(x as Numbers, { shape: [rows, width] });
  let served: Numbers = arrayOf(dtype, 0);
  const plain: Numbers = arrayOf(dtype, rows * width);
  const inner: Numbers = arrayOf(dtype, r);
  return {
    name: `Layer of ${width}, ${rows} rows, each with its own LoRA of rank ${r}`,
    work: 2 * rows * width * (width + 2 * r),
    kernel() {
      const y = layer.forward(input);
      batchedLora(y, input, pool, ids);
      served = y.toTyped();
      y.dispose();
    },
    javascript() {
      gemmTransposed(rows, width, width, 1, x, weight, 0, plain);
      for (const [i, { a, b }] of factors.entries()) {
        const row = [i * width, (i + 1) * width] as const;
        gemmTransposed(1, r, width, 1, (x as Numbers).subarray(...row), a, 0, inner);
        gemmTransposed(1, width, r, 1, inner, b, 1, plain.subarray(...row));
      }
    },
    difference: () => difference(served, plain),
  };
}

function difference(x: Numbers, y: Numbers): number {
  let [largest, apart] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    largest = Math.max(largest, Math.abs(y[i] as number));
    apart = Math.max(apart, Math.abs((x[i] as number) - (y[i] as number)));
  }
  return apart / largest;
}
