// Every function of the table, called here and in a worker with the same arguments: the same results, to the bit.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FUNCTIONS } from "../../bindings/remote/table.js";
import type { Remote } from "../../bindings/worker.js";
import { BUILD } from "../support/build.js";
import { type Anything, CALLS, type Call, plain, square, training } from "../support/calls.js";
import { freshModules } from "../support/fresh.js";

type Modules = Awaited<ReturnType<typeof freshModules>>;
const MODES = BUILD === "debug" ? [false] : [true, false];

describe.each(MODES)("functions in a worker, shared memory: %s", (shared) => {
  let modules: Modules;
  let remote: Remote;

  beforeAll(async () => {
    modules = await freshModules();
    const worker = await import("../../bindings/worker.js");
    const build = BUILD === "debug" ? "simd" : (BUILD as "simd" | "relaxed");
    remote = await worker.connect({ build, memory: { shared, maximumMiB: 128 } });
  });

  afterAll(async () => {
    await remote.terminate();
    await modules.library.terminate();
  });

  test("every function of the table has a call here", () => {
    expect(Object.keys(CALLS).sort()).toEqual([...FUNCTIONS].sort());
  });

  test("a training by hand: what a model's own tensors are told here arrives there", async () => {
    const train = async (l: Anything) => {
      const { model, optimizer } = await training(l);
      const before = await model.forward(square);
      for (let step = 0; step < 3; step++) {
        const { grad } = await l.loss(
          "softmaxCrossEntropy",
          await model.forward(square, { train: true }),
          [0, 1, 2, 1, 0],
        );
        const grads = await model.backward(grad);
        await optimizer.step(await model.parameters(), grads);
      }
      const parameters = await model.parameters();
      parameters["2.core.sigma"].data[0] += 1;
      // without shared memory what is written here is seen there once the tensor is sent
      await l.clipGradients(parameters, 1e9);
      return [before, parameters, await model.forward(square)];
    };
    const here = (await plain(modules.library.Tensor, train({ ...modules.library, ...modules.lora }))) as unknown[];
    expect(await plain(modules.library.Tensor, train(remote))).toEqual(here);
    expect(here[0]).not.toEqual(here[2]);
  });

  test.each(Object.keys(CALLS))("%s", async (name) => {
    const { library, lora } = modules;
    const safetensors = await import("../../bindings/safetensors.js");
    const call = CALLS[name] as Call;
    const here = await plain(modules.library.Tensor, call({ ...library, ...lora, ...safetensors } as never));
    expect(await plain(modules.library.Tensor, call(remote as never))).toEqual(here);
    if (name !== "adapterFormat") expect(here).toBeDefined();
  });
});
