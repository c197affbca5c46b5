// Files that are met where a safetensors file was expected, told by their first bytes.

const latin = (bytes: Uint8Array, from: number, to: number) => String.fromCharCode(...bytes.subarray(from, to));

/** @internal What the file is instead, and what to do; undefined if it may be a safetensors file. */
export function foreignFormat(start: Uint8Array): string | undefined {
  const head = latin(start, 0, 512);
  if (head.startsWith("PK\x03\x04")) {
    return "a zip archive: a checkpoint of PyTorch (.bin, .pt, .ckpt)? Convert it with safetensors.torch.save_file in Python";
  }
  // pickle protocols 2 to 5
  if (start[0] === 0x80 && (start[1] as number) >= 2 && (start[1] as number) <= 5 && latin(start, 2, 3) !== "\0") {
    return "a pickled checkpoint (.bin, .pt, .ckpt), which can run code: convert it with safetensors.torch.save_file in Python";
  }
  if (head.startsWith("GGUF")) return "a GGUF file of llama.cpp: use the safetensors file that it was made from";
  if (latin(start, 4, 8) === "TORT") {
    return "an .onnx_adapter of ONNX Runtime: use the safetensors file that it was made from";
  }
  if (head.startsWith("version https://git-lfs")) {
    return "a Git LFS pointer instead of the file itself: fetch it with git lfs pull, or from the download link";
  }
  if (/^\s*<(!doctype|html|\?xml)/i.test(head)) {
    return "an HTML page instead of the file: on a model hub, take the download link (/resolve/, not /blob/)";
  }
  return undefined;
}
