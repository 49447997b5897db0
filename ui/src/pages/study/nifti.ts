/** Files of volumes: how large one is before it is read, and its bytes while it is told how far they are. */
import { ask } from "../../lib/api";
import { t } from "../../lib/i18n.svelte";

export interface Grid {
  /** Voxels along i, j, k. */
  dimensions: [number, number, number];
  /** Of all voxels, as they are stored, without compression. */
  num_bytes: number;
}

const HEADER = 348; // bytes of NIfTI-1; NIfTI-2 has its dimensions within the first 80 of its 540
const GZIP = [0x1f, 0x8b];

/** Return the bytes of a file, inflated where they are compressed; `on` is told how many came of how many. */
export async function readVolume(
  path: string,
  { signal, on }: { signal: AbortSignal; on?: (came: number, of: number | null) => void },
): Promise<ArrayBuffer> {
  return new Response(await inflated(path, signal, on)).arrayBuffer();
}

/** Read only the head of a file of a volume. */
export async function readGrid(path: string, signal: AbortSignal): Promise<Grid> {
  const leaving = new AbortController(); // the rest of the file is not wanted
  const reader = (await inflated(path, AbortSignal.any([signal, leaving.signal]))).getReader();
  const head = new Uint8Array(HEADER);
  let filled = 0;
  while (filled < HEADER) {
    const { value, done } = await reader.read();
    if (done) throw new Error(t("study.error.short"));
    head.set(value.subarray(0, HEADER - filled), filled);
    filled += Math.min(value.length, HEADER - filled);
  }
  void reader.cancel().catch(() => {});
  leaving.abort();
  return gridOf(head);
}

function gridOf(head: Uint8Array): Grid {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const isOne = (little: boolean) => view.getInt32(0, little) === HEADER;
  const isTwo = (little: boolean) => view.getInt32(0, little) === 540;
  const little = isOne(true) || isTwo(true);
  if (!little && !isOne(false) && !isTwo(false)) throw new Error(t("study.error.nifti"));
  const two = isTwo(little);
  const dim = (at: number) => (two ? Number(view.getBigInt64(16 + 8 * at, little)) : view.getInt16(40 + 2 * at, little));
  const bits = view.getInt16(two ? 14 : 72, little);
  const dimensions: Grid["dimensions"] = [dim(1), dim(2), dim(3)].map((size) => Math.max(1, size)) as Grid["dimensions"];
  const frames = dim(0) > 3 ? Math.max(1, dim(4)) : 1;
  return { dimensions, num_bytes: (dimensions.reduce((all, size) => all * size, frames) * bits) / 8 };
}

async function inflated(
  path: string,
  signal: AbortSignal,
  on: (came: number, of: number | null) => void = () => {},
): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  const answer = await ask("get", path, { signal, timeoutS: 3600 });
  const of = Number(answer.headers.get("Content-Length")) || null;
  let came = 0;
  const counted = answer.body!.pipeThrough(
    new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, out) {
        on((came += chunk.length), of);
        out.enqueue(chunk);
      },
    }),
  );
  const reader = counted.getReader();
  const first = await reader.read();
  const whole = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start: (out) => void (first.value ? out.enqueue(first.value) : out.close()),
    async pull(out) {
      const { value, done } = await reader.read();
      if (done) out.close();
      else out.enqueue(value);
    },
    cancel: (why) => reader.cancel(why),
  });
  const isPacked = GZIP.every((byte, at) => first.value?.[at] === byte);
  return isPacked ? whole.pipeThrough(new DecompressionStream("gzip")) : whole;
}
