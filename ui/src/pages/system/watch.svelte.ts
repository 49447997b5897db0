/** The numbers of the server: ten minutes that it kept, and what comes while the page is open. */
import { ask, wasLeft } from "../../lib/api";

export interface CameraRow {
  run: string;
  case: string;
  source: string;
  state: string;
  fps: number | null;
  source_fps: number | null;
  wanted_fps: number | null;
  age_s: number | null;
  dropped: Record<string, number>;
  rejected?: Record<string, number>;
  failed?: Record<string, number>;
  inference_ms: number | null;
  cpu_ms_per_s: number | null;
}
export interface LoadedModel {
  ref: string;
  name: string;
  is_open: boolean;
  memory_bytes: number;
  queue_rows: number;
  max_batch: number;
  workers: number;
  threads: number;
  loads: number;
  batch_rows: number | null;
  p50_ms: number | null;
  p95_ms: number | null;
}
export interface StoreRow {
  name: string;
  kind: string;
  place: string;
  bytes: number | null;
  files: number | null;
  is_whole: boolean;
  free_bytes: number | null;
}
interface CameraPoint {
  state: string;
  fps: number | null;
  age_s: number | null;
  dropped: number;
  cpu_ms_per_s: number | null;
}
export interface Point {
  time: string;
  cpu_share: number;
  rss_bytes: number;
  requests: number;
  cameras: Record<string, CameraPoint>;
  models: Record<string, { queue_rows: number; p50_ms: number | null; p95_ms: number | null }>;
  gpus: number[];
}
export interface Told {
  time: string;
  process: { uptime_s: number; cpu_share: number; rss_bytes: number; threads: number; requests: number; waiting_requests: number; websockets: number };
  machine: { name: string; system: string; cores: number; load_1_min: number; memory_bytes: number; memory_available_bytes: number };
  gpus: { name: string; busy_share: number; memory_bytes: number; memory_used_bytes: number; temperature_c: number }[];
  models: LoadedModel[];
  cameras: CameraRow[];
  stores: StoreRow[];
  versions: Record<string, string>;
  safe_mode: { case: string; problems: { message?: string; cure?: string }[] }[];
  warnings: string[];
  every_s: number;
  history: Point[];
}
/** Drops of all cameras by reason, as they were at a moment. */
export interface Drops {
  at: number;
  reasons: Record<string, number>;
}

const EVERY_MS = 2000;
export const WINDOW_MS = 600_000;

export class SystemWatch {
  told = $state.raw<Told | null>(null);
  history: readonly Point[] = $state.raw([]);
  drops: readonly Drops[] = $state.raw([]);
  problems: readonly string[] = $state.raw([]);
  error: unknown = $state.raw(null);
  /** The newest moment that is known, by the clock of the server. */
  now = $state(0);

  begin(): () => void {
    let timer = 0;
    const leaving = new AbortController();
    const look = async () => {
      if (!document.hidden) await this.look(leaving.signal);
      if (!leaving.signal.aborted) timer = window.setTimeout(look, EVERY_MS);
    };
    void look();
    return () => {
      clearTimeout(timer);
      leaving.abort();
    };
  }

  async look(signal?: AbortSignal): Promise<void> {
    const since = this.history.at(-1)?.time ?? null;
    try {
      const answer = await ask("get", "/api/v1/system", { query: { since }, signal });
      const told = (await answer.json()) as Told;
      this.told = told;
      this.now = Date.parse(told.time);
      const fresh = told.history.filter(({ time }) => since === null || time > since);
      this.history = [...this.history, ...fresh].filter(({ time }) => this.now - Date.parse(time) <= WINDOW_MS);
      this.drops = [...this.drops, { at: this.now, reasons: reasonsOf(told.cameras) }].filter(({ at }) => this.now - at <= WINDOW_MS);
      this.error = null;
      const ready = await fetch("/readyz?verbose", { signal });
      this.problems = ((await ready.json()) as { problems?: string[] }).problems ?? [];
    } catch (error) {
      if (!wasLeft(error)) this.error = error;
    }
  }
}

/** What cameras lost by reason: dropped, refused, and lost to an error. */
export function reasonsOf(cameras: readonly CameraRow[]): Record<string, number> {
  const all: Record<string, number> = {};
  for (const camera of cameras) {
    for (const [group, counts] of [["dropped", camera.dropped], ["rejected", camera.rejected], ["failed", camera.failed]] as const) {
      for (const [reason, count] of Object.entries(counts ?? {})) all[`${group}/${reason}`] = (all[`${group}/${reason}`] ?? 0) + count;
    }
  }
  return all;
}

/** Turn totals that only rise into a rate a minute; a total that fell belongs to a run that began anew. */
export function perMinute(times: readonly number[], totals: readonly (number | null)[]): (number | null)[] {
  return totals.map((total, at) => {
    const before = totals[at - 1];
    if (total === null || before == null || total < before) return null;
    return ((total - before) * 60_000) / Math.max(1, times[at]! - times[at - 1]!);
  });
}
