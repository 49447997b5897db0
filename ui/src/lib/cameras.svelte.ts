/**
 * The cameras of all runs of this server: numbers looked at once a second, states as the socket tells them at once.
 *
 * A camera whose run is over stays on the list as stopped until the page is left: what vanishes cannot be missed.
 */
import { untrack } from "svelte";
import { announce } from "./announce.svelte";
import { ApiError, ask, api, type Schemas } from "./api";
import { heardTime } from "./clock";
import { t } from "./i18n.svelte";
import { eventOf, live, type LiveEvent } from "./live.svelte";
import { cameraLook } from "./state";

/** What the server tells of a source. */
export interface Row {
  run: string;
  case: string;
  source: string;
  state: string;
  reason: string;
  /** When it came into its state; each attempt to connect again begins anew. */
  since?: string | null;
  epoch: number;
  reconnects: number;
  read: number;
  processed: number;
  fps: number | null;
  source_fps: number | null;
  age_s: number | null;
  dropped: Record<string, number>;
  rejected: Record<string, number>;
  failed: Record<string, number>;
  /** What somebody should mend. */
  warnings?: string[];
  /** When its last frame came before it was lost. */
  lost_since?: string | null;
  /** While it waits: when it connects again, and how often it has tried in vain. */
  retry_at?: string | null;
  tries?: number;
  size?: [number, number] | null;
}
/** The part of a source's entry that is shown; its address without password. */
export interface Entry {
  use?: string;
  url?: string;
  fps?: number | null;
  realtime?: boolean;
  [field: string]: unknown;
}
export interface Camera {
  id: string;
  run: string;
  case: string;
  source: string;
  state: string;
  reason: string;
  row: Row;
  entry: Entry | null;
  /** Since when it is lost, or stopped, by `Date.now()`; null while it is well, and where nobody knows. */
  since: number | null;
  /** In a minute, by the last one or what was seen of it; null until that is enough to tell. */
  drops: number | null;
  /** Its run is over. */
  ended: boolean;
}

const EVERY_MS = 1000;
const ENOUGH_MS = 5000; // by a shorter look a rate would be a guess
const STATES = ["connecting", "live", "stalled", "frozen", "backoff", "unauthorised", "stopped"];
const LOST = new Set(["stalled", "frozen", "backoff", "unauthorised"]);

let list: Camera[] = $state.raw([]);
let error: ApiError | null = $state.raw(null);
let seen = $state(0);
let loaded = $state(false);

const entries = new Map<string, Promise<Record<string, Entry>>>(); // by run and number of its sources
const known = new Map<string, Entry>();
const since = new Map<string, { lost: boolean; at: number }>();
const drops = new Map<string, { at: number; total: number }[]>();
let users = 0;
let timer = 0;
let end = () => {};

export const cameras = {
  get list(): readonly Camera[] {
    return list;
  },
  /** Why the server could not be asked; null when it answers. */
  get error(): ApiError | null {
    return error;
  },
  /** When it last answered, by `Date.now()`. */
  get seen(): number {
    return seen;
  },
  get loaded(): boolean {
    return loaded;
  },
  /** Look now instead of within a second. */
  look(): void {
    clearTimeout(timer);
    void look();
  },
  /** Forget what was known of a source's entry: it was changed. */
  changed(camera: Camera): void {
    known.delete(camera.id);
    entries.clear();
    this.look();
  },
};

/** Keep the list fresh while a component lives. */
export function useCameras(): void {
  $effect(() => {
    if (users++ === 0) untrack(begin);
    return () => {
      if (--users === 0) end();
    };
  });
}

function begin(): void {
  const silence = live.listen({ types: ["source.*"], on: hear });
  const wake = () => document.hidden || cameras.look();
  document.addEventListener("visibilitychange", wake);
  end = () => {
    silence();
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", wake);
  };
  void past();
  void look();
}

/** Learn from the record since when cameras are lost. */
async function past(): Promise<void> {
  try {
    const page = await api.get("/api/v1/events", {
      query: { type: STATES.map((state) => `source.${state}`), limit: 200 },
    });
    for (const told of page.items.reverse()) note(eventOf(told as unknown as Record<string, unknown>));
  } catch {
    // Then "since" stays blank until something changes; the look at the sources tells of the error.
  }
}

function note(event: LiveEvent): void {
  const key = `${String(event.data["run"])}/${event.source}`;
  const state = event.kind.slice("source.".length);
  const at = Date.parse(String(event.data["start"] ?? event.time));
  if (state === "live") since.delete(key);
  else if (state === "stopped") since.set(key, { lost: false, at: Date.parse(event.time) });
  else if (LOST.has(state)) {
    const before = since.get(key);
    since.set(key, { lost: true, at: before?.lost ? Math.min(before.at, at) : at }); // the outage, not the last attempt
  }
}

function hear(event: LiveEvent): void {
  note(event);
  const id = `${String(event.data["run"])}/${event.source}`;
  const state = event.kind.slice("source.".length);
  const before = list.find((camera) => camera.id === id);
  if (!before) return cameras.look();
  // A camera that is lost tries to connect again and again: it stays lost until it is back.
  if (state === "connecting" && LOST.has(before.state)) return;
  const reason = String(event.data["reason"] ?? "");
  list = list.map((camera) =>
    camera.id === id ? { ...camera, state, reason, since: since.get(id)?.at ?? null } : camera,
  );
  tell(before, state);
}

function tell(before: Camera, state: string): void {
  if (before.state === state) return;
  announce(`${before.source}: ${t(cameraLook(state).word)}`, state === "unauthorised" ? "assertive" : "polite");
}

async function look(): Promise<void> {
  if (!document.hidden) {
    const asked = Date.now();
    try {
      const answer = await ask("get", "/api/v1/sources", { query: { limit: 200 }, timeoutS: 10 });
      const page = (await answer.json()) as { items: Row[] };
      heardTime(answer.headers.get("Date"), asked, Date.now());
      take(page.items);
      error = null;
      seen = Date.now();
      loaded = true;
    } catch (problem) {
      error = problem instanceof ApiError ? problem : new ApiError(0, "unreachable", String(problem));
    }
  }
  clearTimeout(timer);
  if (users) timer = window.setTimeout(look, EVERY_MS);
}

function take(rows: readonly Row[]): void {
  const before = new Map(list.map((camera) => [camera.id, camera]));
  const now = Date.now();
  const fresh = rows.map((row): Camera => {
    const id = `${row.run}/${row.source}`;
    const old = before.get(id);
    before.delete(id);
    const state = row.state === "connecting" && old && LOST.has(old.state) ? old.state : row.state;
    if (old) tell(old, state);
    const lostSince = row.lost_since ?? (since.get(id)?.lost ? null : row.since);
    if (LOST.has(state) && lostSince) since.set(id, { lost: true, at: Date.parse(lostSince) });
    else if (state === "live") since.delete(id);
    learn(row, rows);
    const reason = row.reason || (state === old?.state ? old.reason : "");
    return {
      id, run: row.run, case: row.case, source: row.source, state, reason, row,
      entry: known.get(id) ?? null,
      since: since.get(id)?.at ?? null,
      drops: dropped(id, row, now),
      ended: false,
    };
  });
  const replaced = new Set(fresh.map((camera) => `${camera.case}/${camera.source}`));
  for (const old of before.values()) {
    // Its run goes on without it: somebody took it out. Or the same camera runs again.
    const removed = rows.some((row) => row.run === old.run) || replaced.has(`${old.case}/${old.source}`);
    if (!removed) fresh.push({ ...old, state: "stopped", ended: true, since: old.ended ? old.since : now });
  }
  list = fresh.sort((a, b) => a.case.localeCompare(b.case) || a.source.localeCompare(b.source) || a.run.localeCompare(b.run));
}

function dropped(id: string, row: Row, now: number): number | null {
  const total = Object.values(row.dropped).reduce((sum, count) => sum + count, 0);
  const looks = (drops.get(id) ?? []).filter(({ at, total: then }) => now - at <= 60_000 && then <= total);
  looks.push({ at: now, total });
  drops.set(id, looks);
  const { at, total: then } = looks[0]!;
  return now - at < ENOUGH_MS ? null : Math.round(((total - then) * 60_000) / (now - at));
}

/** Read the entries of a run's sources once, and again when another source is there. */
function learn(row: Row, rows: readonly Row[]): void {
  if (known.has(`${row.run}/${row.source}`)) return;
  const key = `${row.run}/${rows.filter(({ run }) => run === row.run).length}`;
  const asked = entries.get(key) ?? read(row.run);
  entries.set(key, asked);
  void asked.then((found) => known.set(`${row.run}/${row.source}`, found[row.source] ?? {}));
}

async function read(run: string): Promise<Record<string, Entry>> {
  try {
    const found: Schemas["RunShape"] = await api.get("/api/v1/runs/{run}", { path: { run } });
    return (found.spec["sources"] ?? {}) as Record<string, Entry>;
  } catch {
    return {}; // the rate that is wanted stays blank
  }
}

/** Pictures a second that are wanted of a camera; null: unknown. */
export function wantedFps(camera: Camera): number | null {
  return camera.entry?.fps ?? camera.row.source_fps;
}

/** False for a file that is read as fast as it goes: its pictures have no age. */
export function isOfNow({ entry }: Camera): boolean {
  if (!entry?.use) return true;
  const isAddress = /^[a-z][a-z0-9+.-]*:\/\//i.test(entry.url ?? "") && !entry.url?.startsWith("file:");
  return !["video", "synthetic", "images"].includes(entry.use) || isAddress || entry.realtime === true || /^\d+$/.test(entry.url ?? "");
}
