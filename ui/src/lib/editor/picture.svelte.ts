/** The newest picture of a source, to draw on. */
import { ApiError, ask, wasLeft } from "../api";
import type { Size } from "./shapes";

export class Background {
  /** Address of the picture in this browser; empty where there is none. */
  url = $state("");
  size: Size | null = $state(null);
  at = $state(0);
  error: unknown = $state.raw(null);
  loading = $state(false);
  #asking: AbortController | null = null;

  async load(run: string, source: string): Promise<void> {
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    this.loading = true;
    try {
      const path = { run, source };
      const answer = await ask("get", "/api/v1/runs/{run}/sources/{source}/picture", { path, signal: asking.signal });
      await this.show(await answer.blob());
      this.at = Date.parse(answer.headers.get("X-Frame-Time") ?? "") || Date.now();
      this.error = null;
    } catch (error) {
      if (!wasLeft(error) && !(error instanceof ApiError && error.status === 404 && this.url)) this.error = error;
    } finally {
      this.loading = false;
    }
  }

  async show(blob: Blob): Promise<void> {
    const picture = await createImageBitmap(blob);
    if (this.url) URL.revokeObjectURL(this.url);
    this.size = [picture.width, picture.height];
    this.url = URL.createObjectURL(blob);
    this.at = Date.now();
    picture.close();
  }

  close(): void {
    this.#asking?.abort();
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = "";
  }
}
