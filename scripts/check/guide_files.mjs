// What chapters of the guide find in their folder: for the one on ONNX Runtime a small model as an exporter writes it, the
// weights in a file of their own.

/** Widths of the model: hidden = relu(x·W), logits = hidden·H, weights as MatMul has them, (in, out). */
const [IN, HIDDEN, CLASSES] = [4, 3, 2];
const WEIGHTS = {
  "encoder.weight": { shape: [IN, HIDDEN], values: [1, 0, 1, 0, 1, 0, 1, 1, 0, 0, 0, 1] },
  "head.weight": { shape: [HIDDEN, CLASSES], values: [1, 0, 0, 1, 1, 1] },
};

/** Files by chapter and name. */
export const files = { "onnx-and-transformers": exported() };

function exported() {
  const layout = {};
  let offset = 0;
  for (const [name, { shape, values }] of Object.entries(WEIGHTS)) {
    layout[name] = { shape, offset, length: 4 * values.length };
    offset += 4 * values.length;
  }
  const all = Float32Array.from(Object.values(WEIGHTS).flatMap(({ values }) => values));
  return {
    "model.onnx": Uint8Array.from(onnx(layout)),
    "model.bin": new Uint8Array(all.buffer),
    "model.json": JSON.stringify(layout),
  };
}

/** An ONNX ModelProto; field numbers as in onnx.proto. */
function onnx(layout) {
  const node = (type, inputs, output) => [
    ...inputs.flatMap((input) => message(1, input)),
    ...message(2, output),
    ...message(4, type),
  ];
  const initializer = (name, { shape, offset, length }) => [
    ...shape.flatMap((d) => integer(1, d)),
    ...integer(2, 1), // FLOAT
    ...message(8, name),
    ...Object.entries({ location: "model.bin", offset, length }).flatMap(([key, value]) =>
      message(13, [...message(1, key), ...message(2, `${value}`)]),
    ),
    ...integer(14, 1), // EXTERNAL
  ];
  const value = (name, width) => {
    const shape = [...message(1, message(2, "rows")), ...message(1, integer(1, width))];
    return [...message(1, name), ...message(2, message(1, [...integer(1, 1), ...message(2, shape)]))];
  };
  const graph = [
    ...message(1, node("MatMul", ["x", "encoder.weight"], "sum")),
    ...message(1, node("Relu", ["sum"], "hidden")),
    ...message(1, node("MatMul", ["hidden", "head.weight"], "logits")),
    ...message(2, "model"),
    ...Object.entries(layout).flatMap(([name, where]) => message(5, initializer(name, where))),
    ...message(11, value("x", IN)),
    ...message(12, value("hidden", HIDDEN)),
    ...message(12, value("logits", CLASSES)),
  ];
  return [...integer(1, 8), ...message(7, graph), ...message(8, integer(2, 17))];
}

/** A field of a protocol buffer: a number, or bytes with their length. */
function integer(field, value) {
  return [...varint(field << 3), ...varint(value)];
}

function message(field, value) {
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
  return [...varint((field << 3) | 2), ...varint(bytes.length), ...bytes];
}

function varint(value) {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >> 7)];
}
