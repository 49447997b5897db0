/** What the record of a run says, in the words of the pages. */
import type { Schemas } from "../../lib/api";
import { n, t } from "../../lib/i18n.svelte";
import { CAMERA_STATES } from "../../lib/state";

export type Run = Schemas["RunShape"];
export interface SourceCounts {
  state: string;
  reason: string;
  trouble: string;
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
  errors: Record<string, string>;
  warnings: string[];
  size: [number, number] | null;
  late: number;
  stuck: number;
}
export type Entry = Record<string, unknown>;

export const STATES = ["submitted", "running", "completed", "failed", "cancelled"] as const;
export const isOver = ({ state }: Run): boolean => state === "completed" || state === "failed" || state === "cancelled";

export const sum = (counts: Record<string, number> | undefined) => Object.values(counts ?? {}).reduce((all, one) => all + one, 0);

export function sourcesOf(run: Run): [string, SourceCounts | null, Entry][] {
  const seen = (run.status["sources"] ?? {}) as Record<string, SourceCounts>;
  const wanted = (run.spec["sources"] ?? {}) as Record<string, Entry>;
  return [...new Set([...Object.keys(wanted), ...Object.keys(seen)])].map((name) => [name, seen[name] ?? null, wanted[name] ?? {}]);
}

/** Samples that went through all stages, those of sources that were removed too; null before anything was seen. */
export function numProcessed(run: Run): number | null {
  if (!run.status["sources"]) return null;
  const removed = Array.isArray(run.status["removed"]) ? Number(run.status["removed"][1]) : 0;
  return sourcesOf(run).reduce((all, [, seen]) => all + (seen?.processed ?? 0), removed);
}

/** How long it has taken, in seconds. */
export function took(run: Run, now: number): number | null {
  if (!run.started) return null;
  const end = run.finished ? Date.parse(run.finished) : isOver(run) ? NaN : now;
  return Number.isNaN(end) ? null : Math.max(0, (end - Date.parse(run.started)) / 1000);
}

/** How its sources are, in a few words: `2 live, 1 reconnecting`. */
export function sourcesNow(run: Run): string {
  const counts = new Map<string, number>();
  for (const [, seen] of sourcesOf(run)) if (seen) counts.set(seen.state, (counts.get(seen.state) ?? 0) + 1);
  return CAMERA_STATES.filter((state) => counts.has(state)).map((state) => t(`runs.now.${state}`, { count: counts.get(state)! })).join(", ");
}

/** What came of it. */
export function outcome(run: Run): string {
  const parts = sourcesOf(run).map(([, seen]) => seen);
  const rejected = parts.reduce((all, seen) => all + sum(seen?.rejected), 0);
  const failed = parts.reduce((all, seen) => all + sum(seen?.failed), 0);
  return [rejected ? n("runs.rejected", rejected) : "", failed ? n("runs.lost", failed) : ""].filter(Boolean).join(", ");
}

/** What to do about its error, as far as the server knows. */
export function cureOf(run: Run): string {
  return String((run as Record<string, unknown>)["cure"] ?? run.status["cure"] ?? "");
}

/** Where a source reads from; the server has hidden its password. */
export function addressOf(entry: Entry): string {
  for (const field of ["url", "path", "folder", "file", "topic"]) if (typeof entry[field] === "string") return entry[field];
  return typeof entry["use"] === "string" ? entry["use"] : "";
}

export const hasSecrets = (run: Run): boolean => JSON.stringify(run.spec["sources"] ?? {}).includes("***");
