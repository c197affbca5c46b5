// The table of what a worker offers, against what the entries export: whoever adds an export is told to add its line.

import { describe, expect, test } from "vitest";
import * as api from "../../bindings/api.js";
import * as lora from "../../bindings/lora.js";
import { CLASSES, FUNCTIONS, namesIn, OPTIONS_AT } from "../../bindings/remote/table.js";
import * as safetensors from "../../bindings/safetensors.js";

const exported = { ...api, ...lora, ...safetensors } as Record<string, unknown>;

/** What a worker cannot have, or has in another way. */
const ELSEWHERE = [
  ...["ConvergenceError", "FileFormatError", "NonFiniteError", "OutOfMemoryError", "Tensor"],
  ...["capabilities", "terminate", "scope", "schedule"],
];

/** Members of classes that are not public: their declarations are stripped. */
const INTERNAL: Record<string, string> = {
  Csr: "lists",
  PCA: "fitSteps mapSteps fitted state keep options type",
  IncrementalPCA: "fitSteps mapSteps fitted state keep options type",
  LoraAdapter: "share",
  LoraLinear: "addConfigured checkNew forget trainBias",
  SvdLinear: "forget",
  Sequential: "forget forgetAll",
  AdamW: "update",
  Sgd: "update",
  AdapterPool: "beginCall lookUp touch",
  QuantizedTensor: "code codes scales alive share",
  SafetensorsFile: "dtypeOf elements pieces",
};

const isClass = (value: unknown) => typeof value === "function" && /^class/.test(String(value));

function membersOf(prototype: object): string[] {
  const names = new Set<string>();
  for (let p = prototype; p !== Object.prototype; p = Object.getPrototypeOf(p)) {
    for (const name of Object.getOwnPropertyNames(p)) names.add(name);
  }
  for (const name of ["constructor", "dispose"]) names.delete(name);
  return [...names].sort();
}

describe("the table of a worker", () => {
  test("has a line for every function and every class that is exported, and for nothing else", () => {
    const functions = Object.keys(exported).filter((name) => typeof exported[name] === "function");
    const known = [...FUNCTIONS.filter((name) => !name.includes(".")), ...Object.keys(CLASSES), ...ELSEWHERE];
    expect([...functions].sort()).toEqual([...known].sort());
    for (const name of functions) {
      if (!ELSEWHERE.includes(name)) expect([name, isClass(exported[name])]).toEqual([name, name in CLASSES]);
    }
    expect(new Set(known).size).toBe(known.length);
    for (const name of FUNCTIONS.filter((one) => one.includes("."))) {
      const [first, second] = name.split(".") as [string, string];
      expect(typeof (exported[first] as unknown as Record<string, unknown>)[second]).toBe("function");
    }
    for (const name of Object.keys(OPTIONS_AT)) expect(FUNCTIONS).toContain(name);
  });

  test.each(Object.keys(CLASSES))("has every public member of %s", (name) => {
    const { methods, properties, statics } = CLASSES[name] as (typeof CLASSES)[string];
    const known = [...namesIn(methods), ...namesIn(properties).map((one) => one.replace("=", ""))];
    const own = (exported[name] as { prototype: object }).prototype;
    const hidden = namesIn(INTERNAL[name]);
    const members = membersOf(own).filter((member) => !hidden.includes(member));
    // fields stand in no prototype
    expect(members.filter((member) => !known.includes(member))).toEqual([]);
    expect(new Set(known).size).toBe(known.length);
    const settable = namesIn(properties).filter((one) => one.startsWith("="));
    const setters = membersOf(own).filter((member) => {
      for (let p = own; p !== Object.prototype; p = Object.getPrototypeOf(p)) {
        const found = Object.getOwnPropertyDescriptor(p, member);
        if (found !== undefined) return found.set !== undefined;
      }
      return false;
    });
    expect(settable.map((one) => one.slice(1)).sort()).toEqual(setters);
    for (const method of namesIn(statics)) expect(typeof (exported[name] as never)[method]).toBe("function");
  });
});
