// What has to hold in every runtime of threads and workers, as suite.mjs for the rest: `expected.threads` is what two threads become
// where the suite runs, `expected.shared` whether memory is shared, and with it whether a worker has two threads.

import { equal, hash, put, rejects, reporter, strictBits, uniform } from "./suite.mjs";

/** A team of two, then the library in a worker; `options` say where the workers' files are, if not beside the modules. */
export async function parallelEntry({ lowrank, lora, connect, expected, options = {} }) {
  const { check, done } = reporter();
  const bits = {};
  const { worker, ...init } = options;

  await check("two threads compute where they may, or it is said why not", async () => {
    const { threads, sharedMemory, reasons } = await lowrank.init({ ...init, build: "simd", threads: 2 });
    equal(sharedMemory, expected.shared, "sharedMemory");
    equal(threads, expected.threads, `threads: ${reasons}`);
    equal(reasons.filter((reason) => reason.startsWith("threads: ")).length, 2 - threads, `reasons: ${reasons}`);
    bits["2 threads"] = await strictBits(lowrank, lora);
    const before = lowrank.capabilities().usedBytes;
    lowrank.scope(() => {
      lowrank.svd(put(lowrank.tensor, uniform(250 * 250, 1), [250, 250], "f64"));
    });
    equal(lowrank.capabilities().usedBytes, before, "usedBytes");
    await lowrank.terminate();
  });

  let remote;
  await check("connect() starts a worker", async () => {
    remote = await connect({ ...options, build: "simd", threads: 2 });
    const { threads, sharedMemory, build } = remote.capabilities();
    equal(build, "simd", "build");
    equal(sharedMemory, expected.shared, "sharedMemory");
    equal(threads, expected.shared && !expected.oneThread ? 2 : 1, "threads");
  });
  if (remote === undefined) return done({ bits });

  const numbers = uniform(90 * 70, 5);
  await check("a worker's results have the same bits", async () => {
    const a = put(lowrank.tensor, numbers, [90, 70], "f32");
    const here = lowrank.svd(a);
    const there = await remote.svd(a);
    const plain = await remote.svd({ data: Float32Array.from(numbers), shape: [90, 70] });
    for (const part of ["u", "s", "vt"]) {
      equal(there[part].shape.join(), here[part].shape.join(), `shape of ${part}`);
      equal(hash([there[part]]), hash([here[part]]), part);
      equal(hash([plain[part]]), hash([here[part]]), `${part} of an array`);
    }
    const product = await remote.matmul(there.vt, there.vt.transpose());
    equal(hash([product]), hash([lowrank.matmul(here.vt, here.vt.transpose())]), "product of results");
  });
  await check("its errors are the library's", async () => {
    const error = await rejects(remote.svd([[Number.NaN]]), /"a".*NaN at \[0, 0\]/);
    equal(error instanceof lowrank.NonFiniteError, true, "instanceof NonFiniteError");
    await rejects(
      remote.matmul(
        [[1]],
        [
          [1, 2],
          [3, 4],
        ],
      ),
      /"b" expected shape/,
    );
  });
  await check("it tells how far it is, and stops when it is told to", async () => {
    const large = { data: Float64Array.from(uniform(500 * 500, 6)), shape: [500, 500] };
    const controller = new AbortController();
    const seen = [];
    const onProgress = ({ done, total }) => {
      seen.push(done / total);
      if (seen.length === 2) controller.abort(new Error("enough"));
    };
    await rejects(remote.svd(large, { onProgress, signal: controller.signal }), /^enough$/);
    equal(seen.length >= 2 && seen.every((part) => part >= 0 && part <= 1), true, `progress ${seen}`);
    const { s } = await remote.svd([
      [3, 0],
      [0, 2],
    ]);
    equal(Array.from(s.data, (x) => Math.round(1e9 * x)).join(), "3000000000,2000000000", "the call after it");
  });
  await check("objects live there", async () => {
    const pca = await new remote.PCA({ components: 2 });
    const x = { data: Float64Array.from(numbers), shape: [630, 10] };
    const y = await pca.fitTransform(x);
    const own = new lowrank.PCA({ components: 2 });
    equal(hash([y]), hash([own.fitTransform(x)]), "fitTransform()");
    equal(hash([await pca.components]), hash([own.components]), "components");
    pca.dispose();
    await rejects(pca.transform(x), /disposed/);
  });
  await check("a model is trained there", async () => {
    const train = async (library) => {
      const layer = await new library.LoraLinear({
        weight: { data: Float64Array.from(numbers.slice(0, 30)), shape: [3, 10] },
      });
      await layer.addAdapter("task", { r: 2 });
      const model = await new library.Sequential([layer]);
      const optimizer = await new library.AdamW({ lr: 0.01 });
      const y = Array.from({ length: 630 }, (_, i) => i % 3);
      const x = { data: Float64Array.from(numbers), shape: [630, 10] };
      const options = { x, y, loss: "softmaxCrossEntropy", optimizer, epochs: 2, batchSize: 64 };
      const { loss } = await library.fit(model, options);
      return loss.join();
    };
    equal(await train(remote), await train(lora), "losses");
  });
  await check("what was asked for before the end is refused, and another worker can be had", async () => {
    const waits = remote.svd({ data: Float64Array.from(uniform(400 * 400, 7)), shape: [400, 400] });
    const refused = rejects(waits, /terminate|ended/);
    await remote.terminate();
    equal((await refused).code, "terminated", "code");
    equal((await rejects(remote.eye(2), /ended/)).code, "terminated", "code of a call after it");
    const next = await connect({ ...options, build: "simd" });
    equal((await next.eye(2)).data.join(), "1,0,0,1", "eye");
    await next.terminate();
    await lowrank.terminate();
  });
  return done({ bits });
}
