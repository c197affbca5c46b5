// What has to hold in every runtime. No framework and nothing of a runtime's own: the same file runs in Node, Deno, Bun
// and in pages. Each part returns a report: what passed, what failed, and the bits of the strict build's results.

/** The default entry: `expected` says what this runtime has. */
export async function defaultEntry({ lowrank, lora, expected }) {
  const { init, capabilities, terminate, zeros, tensor, svd, matmul, scope, NonFiniteError } = lowrank;
  const { check, done } = reporter();

  await check("a call before init() says what to do", async () => {
    throws(() => zeros([1]), /call await init\(\) first/);
  });
  let found;
  await check("init() takes what the platform has", async () => {
    found = await init();
    equal(found.build, expected.relaxed ? "relaxed" : "simd", "build");
    equal(found.sharedMemory, expected.shared, "sharedMemory");
    equal(found.reasons.length, Number(!expected.relaxed) + Number(!expected.shared), `reasons: ${found.reasons}`);
    equal(JSON.stringify(capabilities()), JSON.stringify(found), "capabilities()");
    equal(JSON.stringify(await init()), JSON.stringify(found), "a second init()");
  });
  await correctness(check, lowrank, lora, "");
  await check("an infinite entry is named", async () => {
    const error = throws(
      () =>
        svd([
          [1, 2],
          [3, Number.POSITIVE_INFINITY],
        ]),
      /"a".*Infinity at \[1, 1\]/,
    );
    equal(error instanceof NonFiniteError, true, "instanceof NonFiniteError");
    equal(error.code, "non_finite", "code");
  });
  await check("views follow a growing memory", async () => {
    const small = tensor([1, 2, 3]);
    const before = capabilities().reservedBytes;
    const large = zeros([before / 8]);
    equal(capabilities().reservedBytes > before, true, "reservedBytes grows");
    equal(small.data.join(), "1,2,3", "data");
    equal(large.data[large.size - 1], 0, "the last zero");
    large.dispose();
    small.dispose();
  });
  await check("a scope frees what it does not return", async () => {
    const before = capabilities().usedBytes;
    const kept = scope(
      () =>
        svd(
          matmul(
            [
              [1, 2],
              [3, 4],
            ],
            [
              [1, 0],
              [0, 1],
            ],
          ),
        ).s,
    );
    kept.dispose();
    equal(capabilities().usedBytes, before, "usedBytes");
  });
  await check("terminate() ends the tensors, init() may follow", async () => {
    const old = zeros([2]);
    await terminate();
    throws(() => old.data, /terminate\(\)|init\(\)/);
  });
  await check("the relaxed build runs where the engine has it, or says why not", async () => {
    if (!expected.relaxed) {
      await rejects(init({ build: "relaxed" }), /no relaxed SIMD/);
      return;
    }
    equal((await init({ build: "relaxed" })).build, "relaxed", "build");
    await correctness(check, lowrank, lora, "relaxed: ");
    await terminate();
  });

  const bits = {};
  for (const shared of expected.shared ? [true, false] : [false]) {
    const where = shared ? "shared" : "plain";
    await check(`the strict build on ${where} memory`, async () => {
      const { build, sharedMemory } = await init({ build: "simd", memory: { shared } });
      equal(build, "simd", "build");
      equal(sharedMemory, shared, "sharedMemory");
      await correctness(check, lowrank, lora, `strict, ${where} memory: `);
      bits[where] = await strictBits(lowrank, lora);
      await terminate();
    });
  }
  return done({ build: found?.build, sharedMemory: found?.sharedMemory, bits });
}

/** The entry without a kernel: `kernel(variant)` gives a Source of the .wasm subpath of that name. */
export async function slimEntry({ lowrank, lora, slim, kernel, expected }) {
  const { check, done } = reporter();
  const bits = {};
  await check("slim: init() asks for a kernel", async () => {
    await rejects(slim.init(), /"kernel" expected/);
  });
  await check("slim: one kernel, for all entries", async () => {
    const { build, sharedMemory } = await slim.init({ kernel: kernel("simd") });
    equal(build, "simd", "build");
    equal(sharedMemory, false, "sharedMemory");
    equal(lowrank.capabilities().build, "simd", "capabilities() of the default entry");
    await correctness(check, lowrank, lora, "slim: ");
    bits.slim = await strictBits(slim, lora);
    await slim.terminate();
  });
  await check("slim: the best of four kernels", async () => {
    const variants = {
      simd: kernel("simd"),
      relaxed: kernel("relaxed"),
      simdShared: kernel("simd-shared"),
      relaxedShared: kernel("relaxed-shared"),
    };
    const { build, sharedMemory } = await slim.init({ kernel: variants });
    equal(build, expected.relaxed ? "relaxed" : "simd", "build");
    equal(sharedMemory, expected.shared, "sharedMemory");
    await correctness(check, slim, lora, "slim, best kernel: ");
    await slim.terminate();
  });
  return done({ bits });
}

/** A page whose Content-Security-Policy has no 'wasm-unsafe-eval'. */
export async function blockedEntry({ lowrank }) {
  const { check, done } = reporter();
  await check("a policy that blocks WebAssembly is named", async () => {
    const error = await rejects(lowrank.init(), /script-src.*'wasm-unsafe-eval'|'wasm-unsafe-eval'.*script-src/);
    equal(error.code, "blocked_by_csp", "code");
  });
  await check("and may be tried again", async () => {
    await rejects(lowrank.init(), /'wasm-unsafe-eval'/);
  });
  return done({ bits: {} });
}

/** Results against references that are exact or computed here. */
async function correctness(check, { matmul, svd, tensor }, { LoraAdapter, LoraLinear, trainableParameters }, prefix) {
  for (const dtype of ["f32", "f64"]) {
    const eps = dtype === "f32" ? 2 ** -24 : 2 ** -53;
    await check(`${prefix}${dtype} product of integers is exact`, async () => {
      const [m, n, k] = [37, 29, 41];
      const [a, b] = [integers(m * k, 1), integers(k * n, 2)];
      const got = matmul(put(tensor, a, [m, k], dtype), put(tensor, b, [k, n], dtype));
      const wanted = Array.from({ length: m * n }, (_, at) => {
        let sum = 0;
        for (let p = 0; p < k; p++) sum += a[Math.floor(at / n) * k + p] * b[p * n + (at % n)];
        return sum;
      });
      equal(got.dtype, dtype, "dtype");
      equal(got.data.join(), wanted.join(), "product");
    });
    await check(`${prefix}${dtype} svd gives the matrix back`, async () => {
      for (const [m, n] of [
        [60, 40],
        [40, 60],
        [1, 9],
        [0, 3],
      ]) {
        const a = put(tensor, uniform(m * n, 3), [m, n], dtype);
        const { u, s, vt } = svd(a);
        const scaled = tensor(u);
        for (let i = 0; i < scaled.size; i++) scaled.data[i] *= s.data[i % s.size];
        const back = matmul(scaled, vt);
        const most = 30 * Math.max(m, n) * eps;
        for (let i = 0; i < a.size; i++) near(back.data[i], a.data[i], most, `entry ${i} of ${m}×${n}`);
        const gram = matmul(vt, vt.transpose());
        for (let i = 0; i < gram.size; i++) near(gram.data[i], i % (s.size + 1) === 0 ? 1 : 0, most, "vt·vtᵀ");
        for (let i = 1; i < s.size; i++) equal(s.data[i] <= s.data[i - 1], true, "values do not increase");
      }
    });
    await check(`${prefix}${dtype} LoRA layer of integers is exact, unmerge gives W back`, async () => {
      const [tokens, inFeatures, out, r] = [5, 24, 18, 3];
      const parts = { x: tokens * inFeatures, w: out * inFeatures, a: r * inFeatures, b: out * r };
      const { x, w, a, b } = Object.fromEntries(
        Object.entries(parts).map(([name, size], i) => [name, integers(size, i)]),
      );
      const weight = put(tensor, w, [out, inFeatures], dtype);
      const layer = new LoraLinear({ weight });
      const factors = { a: put(tensor, a, [r, inFeatures], dtype), b: put(tensor, b, [out, r], dtype) };
      layer.addAdapter("task", new LoraAdapter({ ...factors, alpha: 2 * r }));
      const wanted = [];
      for (let t = 0; t < tokens; t++) {
        for (let o = 0; o < out; o++) {
          let sum = 0;
          for (let i = 0; i < inFeatures; i++) {
            let delta = 0;
            for (let q = 0; q < r; q++) delta += b[o * r + q] * a[q * inFeatures + i];
            sum += x[t * inFeatures + i] * (w[o * inFeatures + i] + 2 * delta);
          }
          wanted.push(sum);
        }
      }
      const input = put(tensor, x, [tokens, inFeatures], dtype);
      equal(layer.forward(input).data.join(), wanted.join(), "forward");
      layer.merge();
      equal(layer.forward(input).data.join(), wanted.join(), "forward, merged");
      layer.unmerge();
      equal(layer.weight.data.join(), w.join(), "weight");
      layer.dispose();
    });
  }
  await check(`${prefix}PEFT's line`, async () => {
    const line = "trainable params: 6,144 || all params: 595,968 || trainable%: 1.0309";
    equal(`${trainableParameters({ weight: [768, 768] }, { r: 4 })}`, line, "line");
  });
}

/** Hashes of the bits of results of the strict build, which are the same on every engine. */
export async function strictBits(lowrank, lora) {
  const { matmul, scope, svd, svdvals, tensor } = lowrank;
  const { LoraAdapter, LoraLinear } = lora;
  const bits = {};
  const random = (shape, dtype, seed) => put(tensor, uniform(product(shape), seed), shape, dtype);
  const note = (name, f) =>
    scope(() => {
      bits[name] = hash(f());
    });
  for (const dtype of ["f32", "f64"]) {
    for (const shape of [
      [1, 1],
      [7, 5],
      [5, 7],
      [33, 33],
      [120, 40],
      [40, 120],
      [150, 150],
      [300, 260],
      [700, 40],
      [3, 9, 6],
    ]) {
      note(`svd ${dtype} ${shape.join("×")}`, () => Object.values(svd(random(shape, dtype, 11))));
    }
    note(`svd ${dtype} 20×12 full`, () => Object.values(svd(random([20, 12], dtype, 12), { vectors: "full" })));
    note(`svdvals ${dtype} 90×70`, () => [svdvals(random([90, 70], dtype, 13))]);
    note(`svd ${dtype} 40×40 of rank 5`, () => {
      const low = matmul(random([40, 5], dtype, 14), random([5, 40], dtype, 15));
      return Object.values(svd(low));
    });
    note(`svd ${dtype} 30×30 graded`, () => {
      const graded = random([30, 30], dtype, 16);
      for (let i = 0; i < graded.size; i++) graded.data[i] *= 2 ** -Math.floor(i / 9);
      return Object.values(svd(graded));
    });
    for (const [m, n, k] of [
      [1, 1, 1],
      [3, 5, 2],
      [17, 19, 23],
      [64, 64, 64],
      [130, 70, 300],
      [300, 300, 300],
    ]) {
      note(`gemm ${dtype} ${m}×${n}×${k}`, () => [matmul(random([m, k], dtype, 17), random([k, n], dtype, 18))]);
    }
    note(`gemm ${dtype} both transposed, alpha, beta`, () => {
      const [a, b] = [random([50, 30], dtype, 19).transpose(), random([40, 50], dtype, 20).transpose()];
      return [matmul(a, b, { alpha: 0.7, beta: -1.3, out: random([30, 40], dtype, 21) })];
    });
    note(`gemv ${dtype}`, () => {
      const [a, x] = [random([60, 90], dtype, 22), random([90], dtype, 23)];
      return [matmul(a, x), matmul(x, a.transpose())];
    });
    note(`least squares, QR, pseudo-inverse, polar ${dtype}`, () => {
      const [a, b] = [random([60, 20], dtype, 30), random([60, 3], dtype, 31)];
      const { x, residuals, s } = lowrank.lstsq(a, b);
      const { q, r } = lowrank.qr(a);
      const { u, p } = lowrank.polar(a);
      return [x, residuals, s, q, r, lowrank.pinv(a), u, p];
    });
    note(`randomized and Lanczos SVD, random numbers ${dtype}`, () => {
      const a = random([120, 90], dtype, 32);
      const sparse = lowrank.csr.fromCoo(
        [0, 3, 70, 99],
        [5, 1, 60, 2],
        put(tensor, [1, 2, 3, 4], [4], dtype),
        [100, 80],
      );
      const found = [lowrank.randomizedSvd(a, 6, { seed: 5 }), lowrank.randomizedSvd(sparse, 3, { normalizer: "qr" })];
      found.push(lowrank.svds(a, 4), lowrank.svds(sparse, 2));
      sparse.dispose();
      return found.flatMap(({ u, s, vt }) => [u, s, vt]);
    });
    note(`principal components ${dtype}`, () =>
      ["full", "covariance", "randomized"].flatMap((solver) => {
        const pca = new lowrank.PCA({ components: 3, solver }).fit(random([80, 12], dtype, 33));
        const kept = [tensor(pca.components), tensor(pca.explainedVariance)];
        pca.dispose();
        return kept;
      }),
    );
    note(`ratings ${dtype}`, () => {
      const at = Array.from({ length: 200 }, (_, i) => i);
      const rows = at.map((i) => (i * 7) % 30);
      const columns = at.map((i) => (i * 11) % 23);
      const ratings = lowrank.csr.fromCoo(rows, columns, random([200], dtype, 34), [30, 23]);
      const model = lowrank.factorize(ratings, { factors: 3, iterations: 4, seed: 2 });
      const kept = [tensor(model.users), tensor(model.items)];
      model.dispose();
      ratings.dispose();
      return kept;
    });
    note(`adapters: a mixed batch, gradients, combination, resizing ${dtype}`, () => {
      const layer = new LoraLinear({ weight: random([24, 20], dtype, 35) });
      const create = (seed) => LoraAdapter.create({ inFeatures: 20, outFeatures: 24, r: 3, init: false, dtype, seed });
      const [one, two] = [create(1), create(2)];
      layer.addAdapter("one", one);
      layer.addAdapter("two", two);
      const x = random([4, 20], dtype, 36);
      const mixed = layer.forward(x, { adapters: ["two", null, "one", "two"] });
      layer.setAdapters("one");
      layer.forward(x, { train: true, seed: 3 });
      const { a, b } = layer.backward(random([4, 24], dtype, 37)).adapters.one;
      const sum = lora.combineAdapters(
        [one, two].map((adapter) => ({ adapter, weight: 0.5 })),
        { method: "svd" },
      );
      const { adapter } = lora.resizeAdapter(one, { rank: 2 });
      const kept = [mixed, a, b, tensor(sum.a), tensor(adapter.b)];
      for (const owner of [layer, one, two, sum, adapter]) owner.dispose();
      return kept;
    });
    for (const tokens of [1, 9, 70]) {
      note(`LoRA forward ${dtype}, ${tokens} tokens`, () => {
        const layer = new LoraLinear({ weight: random([96, 80], dtype, 24), bias: random([96], dtype, 25) });
        const factors = { a: random([4, 80], dtype, 26), b: random([96, 4], dtype, 27), bias: random([96], dtype, 28) };
        layer.addAdapter("task", new LoraAdapter({ ...factors, alpha: 3, useRslora: true }));
        const x = random([tokens, 80], dtype, 29);
        const apart = layer.forward(x);
        layer.merge();
        const together = layer.forward(x);
        const merged = tensor(layer.weight);
        layer.dispose();
        return [apart, together, merged];
      });
    }
  }
  for (const kind of ["f16", "bf16", "int8", "nf4"]) {
    note(`product with ${kind}`, () => {
      const weight = lora.quantize(random([40, 72], "f32", 38), kind);
      const layer = new LoraLinear({ weight });
      const kept = [layer.forward(random([1, 72], "f32", 39)), layer.forward(random([9, 72], "f32", 40))];
      layer.dispose();
      weight.dispose();
      return kept;
    });
  }
  for (const dtype of ["f32", "f64"]) {
    bits[`training ${dtype}`] = await trainingBits(lowrank, lora, random, dtype);
  }
  return bits;
}

/** A training with all that takes part in one: random starts, order and dropout, exp, log, tanh, erf, both optimisers. */
async function trainingBits({ scope, tensor, zeros }, lora, random, dtype) {
  const { AdamW, fit, LoraLinear, saveCheckpoint, schedule, Sequential, Sgd, SvdLinear } = lora;
  const x = random([30, 12], dtype, 40);
  const y = Array.from({ length: 30 }, (_, i) => (i * i) % 4);
  const validation = { x: random([9, 12], dtype, 41), y: y.slice(0, 9) };
  const linear = (out, inFeatures, seed, config) => {
    const layer = new LoraLinear({ weight: random([out, inFeatures], dtype, seed), bias: zeros([out], dtype) });
    layer.addAdapter("t", config, { seed });
    return layer;
  };
  const hashes = [];
  for (const optimizer of [new AdamW({ lr: 0.01, loraPlusRatio: 4 }), new Sgd({ lr: 0.05, momentum: 0.9 })]) {
    const model = new Sequential([
      linear(16, 12, 42, { r: 3, loraDropout: 0.2, bias: "lora_only" }),
      "gelu",
      new SvdLinear({ weight: random([14, 16], dtype, 43), rank: 8, core: { lowRank: 2 }, seed: 44 }),
      "tanh",
      linear(10, 14, 45, { r: 2, useDora: true, initLoraWeights: "gaussian" }),
      "relu",
      linear(4, 10, 46, { r: 2, initLoraWeights: "pissa" }),
    ]);
    const history = await fit(model, {
      ...{ x, y, validation, optimizer, loss: "softmaxCrossEntropy", epochs: 3, batchSize: 8, seed: 5, clipNorm: 1 },
      schedule: schedule("cosine", { warmup: 2, total: 12 }),
    });
    const file = saveCheckpoint(model, { optimizer, step: history.steps });
    hashes.push(
      scope(() => {
        const numbers = tensor([...history.loss, ...history.validationLoss, ...history.validationAccuracy]);
        return hash([numbers, { toTyped: () => file }]);
      }),
    );
    model.dispose();
    optimizer.dispose();
  }
  return hashes.join(" ");
}

export function reporter() {
  const results = [];
  return {
    async check(name, f) {
      try {
        await f();
        results.push({ name });
      } catch (error) {
        results.push({
          name,
          error: `${error?.stack ?? error}`.includes(error?.message) ? error.stack : String(error),
        });
      }
    },
    done: (rest) => ({ results, ...rest }),
  };
}

export function equal(got, wanted, what) {
  if (!Object.is(got, wanted)) throw new Error(`${what}: expected ${wanted}, got ${got}`);
}

function near(got, wanted, most, what) {
  if (!(Math.abs(got - wanted) <= most)) throw new Error(`${what}: expected ${wanted} within ${most}, got ${got}`);
}

function throws(f, pattern) {
  let thrown;
  try {
    f();
  } catch (error) {
    thrown = error;
  }
  return matching(thrown, pattern);
}

export async function rejects(promise, pattern) {
  return matching(
    await promise.then(
      () => undefined,
      (error) => error,
    ),
    pattern,
  );
}

function matching(error, pattern) {
  if (!(error instanceof Error)) throw new Error(`expected an Error, got ${error}`);
  if (!pattern.test(error.message)) throw new Error(`expected an Error like ${pattern}, got ${error.stack}`);
  return error;
}

/** Numbers in [-1, 1), the same everywhere: a 32-bit xorshift. */
export function uniform(count, seed) {
  let x = 0x9e3779b9 ^ Math.imul(seed, 0x85ebca6b) || 1;
  return Array.from({ length: count }, () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x / 2 ** 31;
  });
}

/** Integers in [-8, 8): sums of their products are exact in f32. */
function integers(count, seed) {
  return uniform(count, seed + 1).map((value) => Math.floor(8 * value));
}

export function put(tensor, values, shape, dtype) {
  return tensor(dtype === "f32" ? Float32Array.from(values) : Float64Array.from(values), { shape });
}

function product(shape) {
  return shape.reduce((size, length) => size * length, 1);
}

/** 64 bits of the bytes of some tensors: two multiplicative hashes over their words. */
export function hash(tensors) {
  let [a, b] = [0x811c9dc5, 0x1b873593];
  for (const t of tensors) {
    const values = t.toTyped();
    for (const word of new Uint32Array(values.buffer, values.byteOffset, values.byteLength / 4)) {
      a = Math.imul(a ^ word, 0x01000193);
      b = Math.imul(b ^ (word >>> 11) ^ (word << 7), 0x85ebca6b);
      b ^= b >>> 13;
    }
  }
  return [a, b].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");
}
