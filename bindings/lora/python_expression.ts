// Python's regular expressions, as PEFT's configs have them, in JavaScript's. They come out of files, so those that could
// take for ever are refused: a backtracking engine needs exponential time only where a repeated group repeats or chooses
// inside, or where it looks back.

import { describe, expected } from "../check.js";

const LONGEST = 2000;

/** Repetitions without end in one expression: each may multiply the time by the length of the name. */
const MOST_REPETITIONS = 5;

/**
 * re.fullmatch with a pattern of Python's as a RegExp.
 *
 * @throws RangeError for what JavaScript lacks (conditions, possessive quantifiers, scoped flags) or what could take
 *   for ever: more than 2,000 characters, backreferences, a repeated group that repeats or chooses inside
 */
export function pythonExpression(pattern: string, argument: string): RegExp {
  const refuse = (what: string) => new RangeError(expected(argument, what, describe(pattern)));
  if (pattern.length > LONGEST) throw refuse(`an expression of at most ${LONGEST} characters`);
  const { flags, rest } = leadingFlags(pattern, refuse);
  const source = translate(rest, refuse);
  try {
    return new RegExp(`^(?:${source})$`, flags);
  } catch {
    throw refuse("a regular expression");
  }
}

/** (?i) and the like at the start: Python allows them nowhere else. */
function leadingFlags(pattern: string, refuse: (what: string) => Error): { flags: string; rest: string } {
  const found = /^\(\?([a-zA-Z]+)\)/.exec(pattern);
  if (found === null) return { flags: "", rest: pattern };
  const letters = found[1] as string;
  // a and u choose the alphabet of \w, which names of modules do not leave
  if (/[^aimsu]/.test(letters)) throw refuse("flags among a, i, m, s, u");
  const flags = [...new Set(letters)].filter((letter) => "ims".includes(letter)).join("");
  return { flags, rest: pattern.slice(found[0].length) };
}

interface Group {
  /** A repetition without end, or a choice, inside. */
  wild: boolean;
}

function translate(pattern: string, refuse: (what: string) => Error): string {
  let out = "";
  let repetitions = 0;
  const open: Group[] = [{ wild: false }];
  /** The group that ended just before, if one did. */
  let closed: Group | undefined;
  for (let i = 0; i < pattern.length; ) {
    const rest = pattern.slice(i);
    const quantifier = /^(?:[*+?]|\{\d*(?:,\d*)?\})/.exec(rest)?.[0];
    let token = rest[0] as string;
    let ended: Group | undefined;
    if (quantifier !== undefined && quantifier !== "{}" && quantifier !== "{,}") {
      token = quantifier.replace("{,", "{0,");
      if (pattern[i + quantifier.length] === "+") throw refuse("no possessive quantifier");
      const many = /[*+]|\{\d*,\}|\{(\d*,)?\d{2,}\}/.test(quantifier);
      if (many) {
        if (closed?.wild) throw refuse("no repeated group that repeats or chooses inside");
        if (++repetitions > MOST_REPETITIONS) throw refuse(`at most ${MOST_REPETITIONS} repetitions without end`);
        for (const group of open) group.wild = true;
      }
      // an optional group passes on what it has inside
      ended = many ? undefined : closed;
    } else if (token === "\\") {
      const next = rest[1] ?? "";
      if (/[1-9]/.test(next)) throw refuse("no backreference");
      token = next === "A" ? "(?<![\\s\\S])" : next === "Z" ? "(?![\\s\\S])" : rest.slice(0, 2);
      i += 2 - token.length;
    } else if (token === "[") {
      token = /^\[\^?\]?(?:\\.|[^\]\\])*\]/.exec(rest)?.[0] ?? "";
      if (token === "") throw refuse("a regular expression");
      // in Python a bracket may come first and stand for itself
      const written = token.replace(/^(\[\^?)\]/, "$1\\]");
      i += token.length - written.length;
      token = written;
    } else if (token === "(") {
      const start = /^\(\?(?:P<(\w+)>|P=|#[^)]*\)|[:=!]|<[=!])/.exec(rest);
      if (rest.startsWith("(?") && (start === null || start[0] === "(?P=")) {
        throw refuse("groups that JavaScript has, and no backreference");
      }
      if (start?.[0].startsWith("(?#")) {
        i += start[0].length;
        continue;
      }
      token = start?.[1] === undefined ? (start?.[0] ?? "(") : `(?<${start[1]}>`;
      i += (start?.[0].length ?? 1) - token.length;
      open.push({ wild: false });
    } else if (token === ")") {
      ended = open.pop() as Group;
      if (open.length === 0) throw refuse("a regular expression");
      if (ended.wild) (open[open.length - 1] as Group).wild = true;
    } else if (token === "|") {
      (open[open.length - 1] as Group).wild = true;
    }
    out += token;
    i += token.length;
    closed = ended;
  }
  return out;
}
