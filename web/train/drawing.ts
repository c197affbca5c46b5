// A place to draw a digit, with a pointer.

import { normalize, PIXELS, SIDE } from "./digits.js";

const STROKE = 22;

export class Drawing {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  #last: { x: number; y: number } | undefined;

  /** @param onChange called with the digit as MNIST has them, or undefined where nothing is drawn */
  constructor(canvas: HTMLCanvasElement, onChange: (image: Float32Array<ArrayBuffer> | undefined) => void) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { willReadFrequently: true }) as CanvasRenderingContext2D;
    this.clear();
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#last = this.#place(event);
      this.#line(this.#last);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.#last === undefined) return;
      for (const one of event.getCoalescedEvents?.() ?? [event]) this.#line(this.#place(one));
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => {
        if (this.#last === undefined) return;
        this.#last = undefined;
        onChange(this.#read());
      });
    }
  }

  clear(): void {
    this.#context.fillStyle = "black";
    this.#context.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
  }

  /** Shows a digit that was not drawn here. */
  show(image: ArrayLike<number>): void {
    const data = new ImageData(SIDE, SIDE);
    for (let i = 0; i < PIXELS; i++) data.data.set([0, 0, 0].fill(255 * (image[i] as number)), 4 * i);
    for (let i = 3; i < data.data.length; i += 4) data.data[i] = 255;
    const small = new OffscreenCanvas(SIDE, SIDE);
    (small.getContext("2d") as OffscreenCanvasRenderingContext2D).putImageData(data, 0, 0);
    this.#context.imageSmoothingEnabled = false;
    this.#context.drawImage(small, 0, 0, this.#canvas.width, this.#canvas.height);
  }

  #place(event: PointerEvent): { x: number; y: number } {
    const box = this.#canvas.getBoundingClientRect();
    const scale = this.#canvas.width / box.width;
    return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale };
  }

  #line(to: { x: number; y: number }): void {
    const from = this.#last ?? to;
    const context = this.#context;
    context.strokeStyle = "white";
    context.lineWidth = STROKE;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x, to.y);
    context.stroke();
    this.#last = to;
  }

  #read(): Float32Array<ArrayBuffer> | undefined {
    const { width, height } = this.#canvas;
    const { data } = this.#context.getImageData(0, 0, width, height);
    return normalize(
      Uint8Array.from({ length: width * height }, (_, i) => data[4 * i] as number),
      width,
    );
  }
}
