// In a page: what it does while a worker computes. Logs a line of JSON for page.bench.mjs.

const ORDER = 1024;
/** Times that a computation is aborted, and milliseconds after which. */
const ABORTS = 10;
const RUNNING = 120;

let longest = 0;

/** Notes how long a callback takes, with the microtasks that it leaves. */
function timed(f) {
  return function (...values) {
    const start = performance.now();
    try {
      return f.apply(this, values);
    } finally {
      let after = Promise.resolve();
      for (let i = 0; i < 50; i++) after = after.then(() => {});
      after.then(() => {
        longest = Math.max(longest, performance.now() - start);
      });
    }
  };
}

// everything by which the library is called back
for (const { prototype } of [Worker, MessagePort]) {
  const { addEventListener } = prototype;
  prototype.addEventListener = function (type, f, options) {
    return addEventListener.call(this, type, timed(f), options);
  };
}
const onmessage = Object.getOwnPropertyDescriptor(MessagePort.prototype, "onmessage");
Object.defineProperty(MessagePort.prototype, "onmessage", {
  ...onmessage,
  set(f) {
    onmessage.set.call(this, timed(f));
  },
});
const { setTimeout: timer } = globalThis;
globalThis.setTimeout = (f, ...rest) => timer(timed(f), ...rest);

const { connect } = await import("/dist/worker.js");
const { tensor } = await import("/dist/index.js");

const numbers = (length) => Float64Array.from({ length }, (_, i) => Math.sin(i * i));
const square = (n) => ({ data: numbers(n * n), shape: [n, n] });

const remote = await connect({ build: "simd" });
const call = timed((f) => f());

/** Frames a second, and the longest of our own tasks, while a decomposition runs. */
async function frames() {
  const a = square(ORDER);
  await remote.svd(square(64));
  longest = 0;
  let [count, last, gap, running] = [0, undefined, 0, true];
  const frame = (now) => {
    count++;
    gap = Math.max(gap, now - (last ?? now));
    last = now;
    if (running) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  const start = performance.now();
  await call(() => remote.svd(a, { onProgress: () => {} }));
  const seconds = (performance.now() - start) / 1e3;
  running = false;
  return { fps: count / seconds, gap, seconds, task: longest };
}

/** Milliseconds from an abort until the worker answers the next call. */
async function aborts(start) {
  const delays = [];
  for (let i = 0; i < ABORTS; i++) {
    const controller = new AbortController();
    const result = start({ signal: controller.signal }).then(
      () => "ended",
      (error) => error.name,
    );
    await new Promise((resolve) => timer(resolve, RUNNING));
    const before = performance.now();
    controller.abort();
    if ((await result) !== "AbortError") throw new Error(`not aborted: ${await result}`);
    await remote.eye(1);
    delays.push(performance.now() - before);
  }
  return Math.max(...delays);
}

const resident = tensor([1, 2, 3]);
const found = { ...(await frames()), shared: remote.capabilities().sharedMemory, aborts: {} };
const a = square(ORDER);
found.aborts.svd = await aborts((options) => remote.svd(a, options));
found.aborts.extraction = await aborts((options) => {
  return remote.extractAdapter(
    square(ORDER),
    { data: numbers(ORDER * ORDER).reverse(), shape: [ORDER, ORDER] },
    { rank: 512 },
    options,
  );
});
const layer = await new remote.LoraLinear({
  weight: { data: Float32Array.from(numbers(ORDER * ORDER)), shape: [ORDER, ORDER] },
});
await layer.addAdapter("task", { r: 8 });
const model = await new remote.Sequential([layer]);
const optimizer = await new remote.AdamW();
const x = { data: Float32Array.from(numbers(256 * ORDER)), shape: [256, ORDER] };
const training = {
  x,
  y: Array.from({ length: 256 }, (_, i) => i),
  loss: "softmaxCrossEntropy",
  optimizer,
  epochs: 1000,
  batchSize: 32,
};
found.aborts.training = await aborts((options) => remote.fit(model, { ...training, ...options }));
if (resident.data.join() !== "1,2,3") throw new Error("a tensor was lost");
found.longest = longest;
console.log(`found ${JSON.stringify(found)}`);
