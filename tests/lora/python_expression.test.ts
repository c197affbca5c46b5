// Python's regular expressions: translated, or refused where they cannot be or could take for ever.

import { describe, expect, test } from "vitest";
import { matchTargets } from "../../bindings/lora.js";

describe("matchTargets with an expression", () => {
  // what Python's re.fullmatch answers
  const matching: [pattern: string, name: string, answer: boolean][] = [
    [".*\\.(q|v)_proj", "h.0.q_proj", true],
    [".*\\.(q|v)_proj", "h.0.k_proj", false],
    ["(?P<layer>h\\.\\d+)\\.q", "h.12.q", true],
    ["\\Ah\\.q\\Z", "h.q", true],
    ["(?i)H\\.Q", "h.q", true],
    ["H\\.Q", "h.q", false],
    ["h\\.[^]]+", "h.q", true],
    ["h\\.[]x]", "h.]", true],
    ["h(?#a comment)\\.q", "h.q", true],
    ["(?:h\\.)?q", "q", true],
    ["h\\.\\d{1,2}\\.q", "h.12.q", true],
    ["h\\.\\d{1,2}\\.q", "h.123.q", false],
    ["h\\.\\d{,2}\\.q", "h..q", true],
    ["(a|b)?\\.q", "b.q", true],
    ["(?=h).*q", "h.q", true],
    ["h\\.(?!k).*", "h.q", true],
    ["h\\.(?!q).*", "h.q", false],
    ["a{}", "a{}", true],
  ];
  test.each(matching)("%s on %s: %s", (pattern, name, answer) => {
    expect(matchTargets([name], pattern)).toEqual(answer ? [name] : []);
  });

  const refused: [string, string, RegExp][] = [
    ["a repetition in a repeated group", "(a+)+", /repeats or chooses/],
    ["a choice in a repeated group", "(a|a)*", /repeats or chooses/],
    ["one that is deeper", "((a*)b)+", /repeats or chooses/],
    ["one behind an optional group", "((?:a+)?)+", /repeats or chooses/],
    ["one counted high", "(a+){30}", /repeats or chooses/],
    ["a numbered backreference", "(a)\\1", /backreference/],
    ["a named backreference", "(?P<x>a)(?P=x)", /backreference/],
    ["a condition", "(a)?(?(1)b|c)", /groups that JavaScript has/],
    ["an atomic group", "(?>a)", /groups that JavaScript has/],
    ["scoped flags", "(?i:a)", /groups that JavaScript has/],
    ["a possessive quantifier", "a++", /possessive/],
    ["a verbose expression", "(?x)a", /flags/],
    ["too many wildcards", ".*.*.*.*.*.*x", /at most 5/],
    ["2,001 characters", "a".repeat(2001), /2000 characters/],
    ["a bracket that stays open", "[a", /a regular expression/],
    ["a parenthesis that stays open", "(a", /a regular expression/],
    ["a parenthesis that was not open", "a)", /a regular expression/],
  ];
  test.each(refused)("%s is refused", (_, pattern, message) => {
    expect(() => matchTargets(["a"], pattern)).toThrow(RangeError);
    expect(() => matchTargets(["a"], pattern)).toThrow(message);
  });

  test("10,000 names", () => {
    const names = Array.from({ length: 10_000 }, (_, i) => `model.layers.${i}.self_attn.${"qkvo"[i % 4]}_proj`);
    expect(matchTargets(names, "model\\.layers\\.\\d+\\.(.*)\\.(q|v)_proj").length).toBe(5000);
    expect(matchTargets(names, ["q_proj", "v_proj"]).length).toBe(5000);
  });
});
