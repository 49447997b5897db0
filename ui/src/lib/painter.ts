/**
 * Shows the pictures of one source on a canvas, each with what was found in it, the newest only.
 *
 * A picture that comes while another one is being decoded takes the place of any that waits; picture and overlays are
 * drawn in one go, in the next animation frame.
 */
import { drawFound, Tails, type Shown } from "./draw";
import type { Header, Sight } from "./live.svelte";

export class Painter {
  #pen: CanvasRenderingContext2D;
  #tails = new Tails();
  #waiting: Sight | null = null;
  #decoding = false;
  #bitmap: ImageBitmap | null = null;
  #header: Header | null = null;
  #frame = 0;
  #sizes: ResizeObserver;
  #over = false;

  /**
   * @param canvas lies exactly over the picture's place.
   * @param options how to draw, asked for each time; `bare`: the picture alone, which is no longer of now.
   * @param onShown called when a picture goes onto the canvas, with when it came.
   */
  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly options: () => { shown: Shown; words: { in: string; out: string }; bare: boolean },
    private readonly onShown: (header: Header, at: number) => void,
  ) {
    this.#pen = canvas.getContext("2d", { alpha: false })!;
    this.#sizes = new ResizeObserver(() => this.repaint());
    this.#sizes.observe(canvas);
  }

  show(sight: Sight): void {
    this.#tails.add(sight.header);
    this.#waiting = sight;
    if (!this.#decoding) void this.#decode();
  }

  /** Draw again: something about how to draw has changed. */
  repaint(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#paint());
  }

  end(): void {
    this.#over = true;
    this.#waiting = null;
    cancelAnimationFrame(this.#frame);
    this.#sizes.disconnect();
    this.#bitmap?.close();
    this.#bitmap = null;
  }

  async #decode(): Promise<void> {
    this.#decoding = true;
    while (this.#waiting && !this.#over) {
      const { header, picture, at } = this.#waiting;
      this.#waiting = null;
      try {
        const bitmap = await createImageBitmap(picture);
        if (this.#over) return bitmap.close();
        this.#bitmap?.close();
        this.#bitmap = bitmap;
        this.#header = header;
        cancelAnimationFrame(this.#frame);
        this.#frame = requestAnimationFrame(() => {
          this.onShown(header, at);
          this.#paint();
        });
      } catch {
        // A picture that cannot be decoded is not shown: the age of the one before tells.
      }
    }
    this.#decoding = false;
  }

  #paint(): void {
    const header = this.#header;
    if (!header || !this.#bitmap) return;
    const { canvas } = this;
    if (!canvas.clientWidth) return; // not laid out: it is drawn when it has a size
    const ratio = devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    this.#pen.drawImage(this.#bitmap, 0, 0, width, height);
    const { shown, words, bare } = this.options();
    if (!bare) drawFound(this.#pen, header, this.#tails, shown, words, width / header.size[0], ratio);
  }
}
