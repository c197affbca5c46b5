// The training loop: what it learns, its order, resuming to the bit, aborting, and what ends it.

import { describe, expect, test } from "vitest";
import { capabilities, type DType, type Tensor, tensor, zeros } from "../../bindings/index.js";
import {
  AdamW,
  type FitOptions,
  LoraLinear,
  loadCheckpoint,
  type Optimizer,
  Sequential,
  Sgd,
  SvdLinear,
  saveCheckpoint,
  schedule,
  fit as train,
} from "../../bindings/lora.js";
import { openSafetensors, writeSafetensors } from "../../bindings/safetensors.js";
import { Random } from "../support/random.js";
import { DTYPES, typed } from "../support/raw.js";

const [SAMPLES, IN, CLASSES] = [23, 6, 3];

function numbers(dtype: DType, seed: number, ...shape: number[]): Tensor {
  const size = shape.reduce((product, length) => product * length, 1);
  return tensor(typed(dtype, new Random(seed).array(size, "normal")), { shape }) as Tensor;
}

/** Points with the classes that a plane through them gives. */
function data(dtype: DType, seed = 1) {
  const x = numbers(dtype, seed, SAMPLES, IN);
  const rows = x.toArray() as number[][];
  return { x, y: rows.map(([a, b]) => ((a as number) > 0.4 ? 0 : (b as number) > 0 ? 1 : 2)) };
}

/** LoRA with dropout, a core, and a trained head. */
function makeModel(dtype: DType): Sequential {
  const first = new LoraLinear({ weight: numbers(dtype, 2, 8, IN), bias: numbers(dtype, 3, 8) });
  first.addAdapter("t", { r: 3, loraAlpha: 6, loraDropout: 0.2, bias: "lora_only" });
  const core = new SvdLinear({ weight: numbers(dtype, 4, 8, 8), rank: 5, core: { lowRank: 2 } });
  const head = new LoraLinear({
    weight: numbers(dtype, 5, CLASSES, 8),
    bias: zeros([CLASSES], dtype),
    trainable: true,
  });
  return new Sequential([first, "gelu", core, "relu", head]);
}

const bits = (tensors: { [name: string]: Tensor }) =>
  Object.fromEntries(
    Object.entries(tensors).map(([name, t]) => [name, Buffer.from(t.toTyped().buffer).toString("hex")]),
  );

/** The frozen tensors of makeModel. */
function frozenBits({ layers }: Sequential): unknown {
  const [first, , core] = layers as [LoraLinear, string, SvdLinear];
  const { u, s, vt, residual } = core;
  return bits({ weight: first.weight, u, s, vt, residual: residual as Tensor });
}

const OPTIMIZERS: [string, () => Optimizer & Disposable][] = [
  ["AdamW", () => new AdamW({ lr: 0.01, loraPlusRatio: 4 })],
  ["Sgd", () => new Sgd({ lr: 0.05, momentum: 0.9 })],
];

// first, as the garbage of other tests is collected at any time
describe("fit: memory", () => {
  test("fit: memory comes back, also when it fails", async () => {
    const { usedBytes } = capabilities();
    const layer = new LoraLinear({ weight: [[1, 2]], trainable: true });
    const model = new Sequential([layer, "relu"]);
    const loss = "meanSquaredError";
    const options = { loss, optimizer: new Sgd({ lr: 0.1 }), batchSize: 2 } as const;
    const y = { data: Float64Array.of(1, 2, 3), shape: [3, 1] };
    const x = { data: Float64Array.of(1, 2, 3, 4, 5, 6), shape: [3, 2] };
    await train(model, { ...options, x, y, epochs: 3, validation: { x, y } });
    x.data[5] = Number.NaN;
    await expect(train(model, { ...options, x, y, epochs: 3 })).rejects.toMatchObject({ code: "non_finite_loss" });
    model.dispose();
    expect(capabilities().usedBytes).toBe(usedBytes);
  });
});

describe.each(DTYPES)("fit, %s", (dtype) => {
  const common = { loss: "softmaxCrossEntropy", batchSize: 5, epochs: 4, seed: 11, clipNorm: 2 } as const;
  const rates = schedule("cosine", { warmup: 3, total: 20 });

  test("fit: learns what can be learnt, and frozen tensors do not change", async () => {
    const model = makeModel(dtype);
    const before = frozenBits(model);
    const trained = bits(model.parameters());
    const validation = data(dtype, 9);
    const seen: number[][] = [];
    const history = await train(model, {
      ...common,
      ...data(dtype),
      epochs: 60,
      optimizer: new AdamW({ lr: 0.02 }),
      validation,
      onProgress: ({ done, total, epoch, loss, gradientNorm }) => seen.push([done, total, epoch, loss, gradientNorm]),
    });
    expect(history.steps).toBe(300);
    expect(history.loss).toHaveLength(60);
    expect(history.validationLoss).toHaveLength(60);
    expect(history.loss[59]).toBeLessThan(0.2 * (history.loss[0] as number));
    expect(history.validationLoss[59]).toBeLessThan(history.validationLoss[0] as number);
    expect(history.validationAccuracy[59]).toBeGreaterThan(0.6);
    expect(frozenBits(model)).toEqual(before);
    for (const [name, value] of Object.entries(bits(model.parameters()))) expect(value, name).not.toBe(trained[name]);
    expect(seen.map(([done]) => done)).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
    for (const [done, total, epoch, loss, norm] of seen as [number, number, number, number, number][]) {
      expect([total, epoch]).toEqual([300, Math.floor((done - 1) / 5)]);
      expect(loss > 0 && norm > 0).toBe(true);
    }
    // an epoch's loss is the mean over its samples: four batches of five and one of three
    const firsts = seen.slice(0, 5).map(([, , , loss], i) => (loss as number) * (i === 4 ? 3 : 5));
    expect(Math.abs((history.loss[0] as number) - firsts.reduce((sum, l) => sum + l, 0) / SAMPLES)).toBeLessThan(1e-12);
    model.dispose();
  });

  test("fit: the same arguments give the same bits, another seed or order others", async () => {
    const run = async (more: Partial<FitOptions> = {}) => {
      const model = makeModel(dtype);
      const history = await train(model, {
        ...common,
        ...data(dtype),
        optimizer: new AdamW({ lr: 0.01 }),
        schedule: rates,
        ...more,
      });
      return { history, bits: bits(model.parameters()) };
    };
    const [one, two] = [await run(), await run()];
    expect(two).toEqual(one);
    // a list of a schedule's factors
    expect(await run({ schedule: Array.from({ length: 20 }, (_, step) => rates(step)) })).toEqual(one);
    for (const more of [{ seed: 12 }, { shuffle: false }, { clipNorm: 0.1 }, { batchSize: 6 }, { schedule: () => 1 }]) {
      expect((await run(more as Partial<FitOptions>)).bits).not.toEqual(one.bits);
    }
    // a batch that holds all is a batch of all
    expect((await run({ batchSize: 100 })).history.steps).toBe(4);
  });

  test.each(OPTIMIZERS)(
    "fit with %s: stopped after any step and gone on from a checkpoint is the same bits",
    async (_, make) => {
      const whole = makeModel(dtype);
      const straight = make();
      const files: Uint8Array[] = [];
      const kept = async (model: Sequential, optimizer: Optimizer, step: number) =>
        files.push(saveCheckpoint(model, { optimizer, step, seed: common.seed }));
      const options = { ...common, ...data(dtype), schedule: rates };
      await train(whole, {
        ...options,
        optimizer: straight,
        onProgress: ({ done }) => void kept(whole, straight, done),
      });
      expect(files).toHaveLength(20);
      const wanted = {
        bits: bits(whole.parameters()),
        state: saveCheckpoint(whole, { optimizer: straight, step: 20 }),
      };
      for (const stop of [1, 4, 5, 13, 19, 20]) {
        const [model, optimizer] = [makeModel(dtype), make()];
        const position = await loadCheckpoint(files[stop - 1] as Uint8Array, { model, optimizer });
        expect(position).toEqual({ step: stop, seed: common.seed });
        const history = await train(model, { ...options, seed: position.seed, startStep: position.step, optimizer });
        expect(history.steps).toBe(20);
        expect(history.loss).toHaveLength(stop === 20 ? 0 : 4 - Math.floor(stop / 5));
        expect(bits(model.parameters())).toEqual(wanted.bits);
        expect(saveCheckpoint(model, { optimizer, step: 20 })).toEqual(wanted.state);
        model.dispose();
        optimizer[Symbol.dispose]();
      }
      // the twin: without the optimiser's state, or from another step, it is another training
      for (const [startStep, load] of [
        [5, false],
        [4, true],
      ] as const) {
        const [model, optimizer] = [makeModel(dtype), make()];
        await loadCheckpoint(files[4] as Uint8Array, { model, optimizer: load ? optimizer : make() });
        await train(model, { ...options, startStep, optimizer });
        expect(bits(model.parameters())).not.toEqual(wanted.bits);
      }
      whole.dispose();
    },
  );

  test("fit: an abort at any step leaves a whole step", async () => {
    const options = { ...common, ...data(dtype) };
    const states: { parameters: unknown; file: Uint8Array }[] = [];
    const note = (model: Sequential, optimizer: Optimizer) => {
      states.push({ parameters: bits(model.parameters()), file: saveCheckpoint(model, { optimizer }) });
    };
    {
      const [model, optimizer] = [makeModel(dtype), new AdamW()];
      await train(model, { ...options, optimizer, onProgress: () => note(model, optimizer) });
    }
    const straight = states.splice(0);
    const reason = new Error("enough");
    for (const stop of [1, 2, 5, 17, 20]) {
      const [model, optimizer] = [makeModel(dtype), new AdamW()];
      const controller = new AbortController();
      const onProgress = ({ done }: { done: number }) => {
        if (done === stop) controller.abort(reason);
      };
      await expect(train(model, { ...options, optimizer, signal: controller.signal, onProgress })).rejects.toBe(reason);
      note(model, optimizer);
      expect(states.pop()).toEqual(straight[stop - 1]);
    }
    // what onProgress throws ends it as well
    const [model, optimizer] = [makeModel(dtype), new AdamW()];
    const throwing = () => {
      throw reason;
    };
    await expect(train(model, { ...options, optimizer, onProgress: throwing })).rejects.toBe(reason);
    note(model, optimizer);
    expect(states.pop()).toEqual(straight[0]);
    // aborted before: nothing has begun
    const untouched = bits(model.parameters());
    await expect(train(model, { ...options, optimizer, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(bits(model.parameters())).toEqual(untouched);
  });

  test("fit: NaN in the loss or a gradient ends it; weights and optimiser are those of the step before", async () => {
    const { x, y } = data(dtype);
    const poisoned = tensor(x) as Tensor;
    poisoned.data[13 * IN] = Number.NaN;
    const options = { ...common, x, y, shuffle: false } as const;
    const [model, optimizer] = [makeModel(dtype), new AdamW()];
    let before: unknown;
    const note = () => {
      before = { parameters: bits(model.parameters()), file: saveCheckpoint(model, { optimizer }) };
      return before;
    };
    // rows 0–4, 5–9, then 10–14 with the NaN
    const failed = await train(model, { ...options, x: poisoned, optimizer, onProgress: note }).catch((error) => error);
    expect(failed).toMatchObject({ code: "non_finite_loss" });
    expect(failed.message).toBe("step 2: the loss is NaN; the weights are those of the step before");
    const at = before;
    expect(note()).toEqual(at);
    // a finite loss with an infinite gradient
    const layer = new LoraLinear({ weight: zeros([1, 1], dtype) });
    layer.addAdapter("t", { r: 1, initLoraWeights: false });
    const huge = dtype === "f32" ? 3e38 : 1.7e308;
    const { b } = layer.adapter("t");
    b.data[0] = huge ** 0.4;
    const line = new Sequential([layer]);
    const kept = bits(line.parameters());
    const steep = tensor(typed(dtype, [-(huge ** 0.9)]), { shape: [1, 1] }) as Tensor;
    const loss = "meanSquaredError";
    const infinite = await train(line, {
      x: steep,
      y: tensor(typed(dtype, [0]), { shape: [1, 1] }) as Tensor,
      loss,
      optimizer,
      epochs: 1,
      batchSize: 1,
    }).catch((error) => error);
    expect(infinite).toMatchObject({ code: "non_finite_loss" });
    expect(infinite.message).toMatch(/^step 0: the (loss|norm of its gradient) is (Infinity|NaN)/);
    expect(bits(line.parameters())).toEqual(kept);
  });
});

describe("fit", () => {
  test("fit: mean squared error with targets of its shape, leading axes, one sample", async () => {
    const layer = new LoraLinear({ weight: zeros([2, 3]) });
    layer.addAdapter("t", { r: 2 });
    const model = new Sequential([layer]);
    const [x, w] = [numbers("f64", 1, 20, 3), numbers("f64", 2, 3, 2)];
    const y = (x.toArray() as number[][]).map((row) =>
      [0, 1].map((j) =>
        row.reduce((sum, value, i) => sum + value * ((w.toArray() as number[][])[i]?.[j] as number), 0),
      ),
    );
    const options = { loss: "meanSquaredError", optimizer: new AdamW({ lr: 0.05, weightDecay: 0 }) } as const;
    const { loss, validationLoss, validationAccuracy } = await train(model, {
      ...{ ...options, x, y, epochs: 150, batchSize: 7 },
      validation: { x, y },
      schedule: schedule("linear", { total: 450 }),
    });
    expect(loss[149]).toBeLessThan(1e-5 * (loss[0] as number));
    expect(validationLoss[149]).toBeLessThan(1e-5);
    expect(validationAccuracy).toEqual([]);
    const deep = await train(model, {
      ...options,
      x: x.reshape([5, 4, 3]),
      y: tensor(y).reshape([5, 4, 2]),
      epochs: 2,
      batchSize: 2,
    });
    expect(deep.steps).toBe(6);
    const labels = { x: x.reshape([5, 4, 3]), y: Array.from({ length: 5 }, () => [0, 1, 1, 0]) };
    await train(model, {
      ...labels,
      optimizer: new AdamW(),
      loss: "softmaxCrossEntropy",
      epochs: 1,
      batchSize: 3,
      validation: labels,
    });
    await train(model, { ...options, x: [[1, 2, 3]], y: [[1, 2]], epochs: 1, batchSize: 10 });
    model.dispose();
  });

  test("fit: an optimiser of the caller's own may keep tensors from step to step", async () => {
    const layer = new LoraLinear({ weight: [[1, 2]], trainable: true });
    let kept: Tensor | undefined;
    const optimizer: Optimizer = {
      step(params, grads) {
        kept ??= zeros([1, 2]);
        kept.data[0] = (kept.data[0] as number) + 1;
        (params["0.weight"] as Tensor).data[0] = Number((grads["0.weight"] as Tensor).data[0] !== undefined);
      },
      state: () => ({ kind: "sgd", parameters: {} }),
      load: () => {},
    };
    const options = { x: [[1, 2]], y: [[3]], loss: "meanSquaredError" as const, epochs: 3, batchSize: 1 };
    await train(new Sequential([layer]), { ...options, optimizer });
    expect(kept?.toArray()).toEqual([[3, 0]]);
    expect(layer.weight.toArray()).toEqual([[1, 2]]);
  });

  test("fit: the event loop turns between two batches, and an abort from there is seen", async () => {
    const layer = new LoraLinear({ weight: zeros([2, 2]), trainable: true });
    const model = new Sequential([layer]);
    const controller = new AbortController();
    let [turns, steps] = [0, 0];
    const immediate = () => {
      turns++;
      if (turns === 10) controller.abort();
      if (turns < 1e6 && !controller.signal.aborted) setImmediate(immediate);
    };
    setImmediate(immediate);
    const options = {
      x: tensor([[1, 2]]),
      y: Int32Array.of(0),
      loss: "softmaxCrossEntropy",
      batchSize: 1,
      epochs: 1e5,
    } as const;
    const optimizer = new Sgd({ lr: 0 });
    const onProgress = () => void steps++;
    await expect(train(model, { ...options, optimizer, signal: controller.signal, onProgress })).rejects.toThrow(
      /abort/i,
    );
    expect(steps).toBeGreaterThan(5);
    expect(steps).toBeLessThan(30);
    // a timer, too
    const timed = new AbortController();
    setTimeout(() => timed.abort(new Error("late")), 20);
    await expect(train(model, { ...options, optimizer, signal: timed.signal })).rejects.toThrow("late");
    model.dispose();
  });

  test("fit: bad input before the first step", async () => {
    const model = makeModel("f64");
    const frozen = new Sequential([new LoraLinear({ weight: zeros([3, IN]) })]);
    const { x, y } = data("f64");
    const optimizer = new AdamW();
    const good: FitOptions = { x, y, loss: "softmaxCrossEntropy", optimizer, epochs: 1, batchSize: 4 };
    const before = bits(model.parameters());
    const bad = <T>(value: T) => value as never;
    const { usedBytes } = capabilities();
    for (const [change, kind, message] of [
      [{ loss: "hinge" }, RangeError, /^"loss" expected/],
      [{ loss: undefined }, TypeError, /^"loss" expected/],
      [{ optimizer: undefined }, TypeError, /^"optimizer" expected AdamW, Sgd or another/],
      [{ optimizer: {} }, TypeError, /^"optimizer" expected/],
      [{ epochs: 0 }, RangeError, /^"epochs" expected an integer in/],
      [{ epochs: undefined }, TypeError, /^"epochs" expected an integer, got undefined$/],
      [{ batchSize: 0 }, RangeError, /^"batchSize" expected/],
      [{ batchSize: 2.5 }, RangeError, /^"batchSize" expected/],
      [{ seed: -1 }, RangeError, /^"seed" expected/],
      [{ clipNorm: 0 }, RangeError, /^"clipNorm" expected a number > 0, got 0$/],
      [{ clipNorm: Number.NaN }, RangeError, /^"clipNorm" expected/],
      [{ clipNorm: "1" }, TypeError, /^"clipNorm" expected a number, got "1"$/],
      [{ shuffle: 1 }, TypeError, /^"shuffle" expected/],
      [{ schedule: "cosine" }, TypeError, /^"schedule" expected a function, or a list of factors, got "cosine"$/],
      [{ schedule: [1] }, RangeError, /^"schedule" expected \d+ factors, got 1$/],
      [{ onProgress: 3 }, TypeError, /^"onProgress" expected a function/],
      [{ signal: {} }, TypeError, /^"signal" expected an AbortSignal/],
      [{ startStep: 7 }, RangeError, /^"startStep" expected an integer in \[0, 6\], got 7$/],
      [{ x: zeros([0, IN]), y: [] }, RangeError, /^"x" expected at least one sample, got shape \(0, 6\)$/],
      [{ x: zeros([2, 3]) }, RangeError, /^"x" expected shape \(samples, …, 6\), got \(2, 3\)$/],
      [{ x: zeros([IN]) }, RangeError, /^"x" expected shape/],
      [{ x: zeros([SAMPLES, IN], "f32") }, TypeError, /^"x" expected f64 as "model", got f32$/],
      [{ y: y.slice(1) }, RangeError, /^"y" expected shape \(23,\), got \(22,\)$/],
      [{ y: y.map(() => 3) }, RangeError, /^"y\[0\]" expected an integer in \[0, 2\], got 3$/],
      [{ y: undefined }, TypeError, /^"y" expected/],
      [{ loss: "meanSquaredError" }, RangeError, /^"y" expected shape \(23, 3\), got \(23,\)$/],
      [{ validation: { x, y: y.map(() => -1) } }, RangeError, /^"validation.y\[0\]" expected/],
      [{ validation: { x: zeros([0, IN]), y: [] } }, RangeError, /^"validation.x" expected at least one sample/],
      [{ validation: { x, y, z: 1 } }, TypeError, /^"validation" expected only/],
      [{ learningRate: 1 }, TypeError, /^"options" expected only/],
    ] as const) {
      const failed = await train(model, bad({ ...good, ...change })).catch((error) => error);
      expect(failed, JSON.stringify(change)).toBeInstanceOf(kind);
      expect(failed.message).toMatch(message);
    }
    await expect(train(bad({}), good)).rejects.toThrow('"model" expected a Sequential, got Object');
    await expect(train(model, bad(undefined))).rejects.toThrow('"options" expected an object, got undefined');
    await expect(train(frozen, good)).rejects.toThrow(
      new RangeError('"model" expected something to train, got neither an adapter nor a trainable weight or core'),
    );
    expect(bits(model.parameters())).toEqual(before);
    expect(capabilities().usedBytes - usedBytes).toBeLessThan(4096);
  });

  test("checkpoints: what they hold, and what is no checkpoint of this model", async () => {
    const [model, optimizer] = [makeModel("f32"), new AdamW()];
    await train(model, { ...data("f32"), loss: "softmaxCrossEntropy", optimizer, epochs: 1, batchSize: 8 });
    const file = saveCheckpoint(model, { optimizer, step: 3, seed: 7 });
    const opened = await openSafetensors(file);
    expect(opened.metadata).toMatchObject({
      format: "lowrank.checkpoint",
      version: "1",
      step: "3",
      seed: "7",
      optimizer: "adamw",
    });
    const names = Object.keys(model.parameters());
    const expected = names.flatMap((name) => [`model.${name}`, `optimizer.m.${name}`, `optimizer.v.${name}`]);
    expect([...opened.names].sort()).toEqual(expected.sort());
    // frozen weights are not in it
    expect(names).not.toContain("0.weight");
    const tensors = new Map<string, Tensor>();
    for (const name of opened.names) tensors.set(name, await opened.tensor(name));
    const rewrite = (metadata: object, change?: (all: Map<string, Tensor>) => void) => {
      const all = new Map(tensors);
      change?.(all);
      return writeSafetensors(all, { metadata: { ...opened.metadata, ...metadata } as { [key: string]: string } });
    };
    const [target, other] = [makeModel("f32"), new AdamW()];
    const before = { parameters: bits(target.parameters()), state: other.state() };
    const first = names[0] as string;
    for (const [broken, message] of [
      [rewrite({ version: "2" }), /version "2"; this one reads 1/],
      [rewrite({ format: "pt" }), /^not a checkpoint of lowrank/],
      [rewrite({ step: "-1" }), /the checkpoint's step is "-1"/],
      [rewrite({ step: "" }), /the checkpoint's step is ""/],
      [rewrite({ seed: "x" }), /the checkpoint's seed is "x"/],
      [rewrite({ optimizer: "sgd" }), /not one of this optimiser: "state.kind" expected "adamw", got "sgd"/],
      [rewrite({ optimizer_steps: "{" }), /optimizer_steps are not JSON/],
      [rewrite({ optimizer_steps: "{}" }), /moments of "[^"]+", but no steps/],
      [rewrite({}, (all) => all.delete(`model.${first}`)), /has no "0.bias", which the model trains/],
      [
        rewrite({}, (all) => all.set("model.9.weight", zeros([1], "f32"))),
        /has "9.weight", which the model does not train/,
      ],
      [
        rewrite({}, (all) => all.set(`model.${first}`, zeros([3], "f32"))),
        /"model.0.bias" is F32 \(3,\), the model has f32 \(8,\)/,
      ],
      [rewrite({}, (all) => all.set(`model.${first}`, zeros([8]))), /is F64 \(8,\)/],
      [
        rewrite({}, (all) => all.delete(`optimizer.v.${first}`)),
        /not one of this optimiser: .*moments.v" expected a Tensor/,
      ],
      [rewrite({}, (all) => all.set(`optimizer.v.${first}`, zeros([3], "f32"))), /"optimizer.v.0.bias" is F32 \(3,\)/],
      [file.subarray(0, 40), /./],
    ] as const) {
      await expect(loadCheckpoint(broken, { model: target, optimizer: other })).rejects.toMatchObject({
        code: "file_format",
        message: expect.stringMatching(message),
      });
      expect({ parameters: bits(target.parameters()), state: other.state() }).toEqual(before);
    }
    await loadCheckpoint(file, { model: target, optimizer: other });
    expect(bits(target.parameters())).toEqual(bits(model.parameters()));
    const frozen = new Sequential([new LoraLinear({ weight: zeros([3, IN]) })]);
    expect(() => saveCheckpoint(frozen, { optimizer })).toThrow(
      new RangeError('"model" expected trained tensors, got none'),
    );
    expect(() => saveCheckpoint({} as never, { optimizer })).toThrow(TypeError);
    expect(() => saveCheckpoint(model, {} as never)).toThrow(TypeError);
    expect(() => saveCheckpoint(model, { optimizer, step: -1 })).toThrow(RangeError);
    await expect(loadCheckpoint(file, { model, optimizer: {} as never })).rejects.toThrow(TypeError);
  });
});
