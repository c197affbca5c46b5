// The order of a module's functions decides how well it compresses: gzip looks back 32 KiB, and the twin of a function, for the other
// precision, should stand there. Like stands next to like: after each function comes the one that shares most with the last few. The
// function that begins decides over a percent: some are tried.
import { gzipSync } from "node:zlib";
import binaryen from "binaryen";

/** Bytes that two functions have in common are counted in pieces of this length. */
const PIECE = 4;
/** Pieces that more functions have say nothing. */
const COMMON = 200;
/** How many functions back are compared, the nearest counting most. */
const BACK = 10;
/** How many beginnings are tried. */
const BEGINNINGS = 24;

/** First byte of atomic instructions, and the second bytes of their loads and stores: these must name their alignment. */
const ATOMIC = 0xfe;
const [FIRST_LOAD, LAST_STORE] = [0x10, 0x1d];

/** The module with its functions in that order, and without alignment hints, which engines pass over. */
export function orderFunctions(bytes) {
  const module = binaryen.readBinary(bytes);
  try {
    // what the module needs is in it already; nothing is added
    module.setFeatures(binaryen.Features.All & ~binaryen.Features.GC);
    const bodies = functionBodies(bytes);
    const functions = bodies.map((_, i) => binaryen.getFunctionInfo(module.getFunctionByIndex(i)));
    for (const { name } of functions) module.removeFunction(name);
    for (const i of smallest(bodies)) {
      const { name, params, results, vars, body } = functions[i];
      const added = module.addFunction(name, params, results, vars, body);
      if (!mayBeAtomic(bodies[i])) module.runPassesOnFunction(added, ["dealign"]);
    }
    module.runPasses(["strip-target-features"]);
    // engines differ in what they forgive
    if (module.validate() === 0) throw new Error("the ordered kernel is not valid");
    return module.emitBinary();
  } finally {
    module.dispose();
  }
}

/** The entries of the code section. */
function functionBodies(bytes) {
  let at = 8;
  const number = () => {
    let [value, shift] = [0, 0];
    for (let more = true; more; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 127) * 2 ** shift;
      more = byte > 127;
    }
    return value;
  };
  const CODE = 10;
  while (at < bytes.length) {
    const section = bytes[at++];
    const length = number();
    if (section !== CODE) {
      at += length;
      continue;
    }
    return Array.from({ length: number() }, () => {
      const size = number();
      at += size;
      return bytes.subarray(at - size, at);
    });
  }
  return [];
}

function mayBeAtomic(body) {
  return body.some((byte, i) => byte === ATOMIC && body[i + 1] >= FIRST_LOAD && body[i + 1] <= LAST_STORE);
}

/** The order whose bodies compress best. */
function smallest(bodies) {
  const likeness = sharedPieces(bodies);
  const step = Math.max(1, Math.floor(bodies.length / BEGINNINGS));
  let [best, bytes] = [[], Number.POSITIVE_INFINITY];
  for (let first = 0; first < bodies.length; first += step) {
    const order = likeNextToLike(bodies, likeness, first);
    const { length } = gzipSync(Buffer.concat(order.map((i) => bodies[i])), { level: 9 });
    if (length < bytes) [best, bytes] = [order, length];
  }
  return best;
}

function likeNextToLike(bodies, likeness, first) {
  const left = new Set(bodies.keys());
  const order = [];
  for (let next = first; next !== undefined; ) {
    order.push(next);
    left.delete(next);
    const before = order.slice(-BACK).reverse();
    let most = -1;
    next = undefined;
    for (const i of left) {
      let shared = 0;
      for (const [distance, other] of before.entries()) shared += likeness[other][i] / (distance + 1);
      shared /= Math.sqrt(bodies[i].length + 20);
      if (shared > most) [most, next] = [shared, i];
    }
  }
  return order;
}

/** For each two bodies how many pieces they share, rare ones counting more. */
function sharedPieces(bodies) {
  const owners = new Map();
  for (const [i, body] of bodies.entries()) {
    const view = new DataView(body.buffer, body.byteOffset, body.length);
    const pieces = new Set();
    for (let at = 0; at + PIECE <= body.length; at++) pieces.add(view.getUint32(at));
    for (const piece of pieces) {
      if (owners.has(piece)) owners.get(piece).push(i);
      else owners.set(piece, [i]);
    }
  }
  const shared = bodies.map(() => new Float64Array(bodies.length));
  for (const list of owners.values()) {
    if (list.length > COMMON) continue;
    for (const i of list) for (const j of list) if (i !== j) shared[i][j] += 1 / Math.sqrt(list.length);
  }
  return shared;
}
