/** What an event says, as a sentence, and how it looks. */
import { causeText } from "./causes";
import { seconds } from "./format";
import { has, t } from "./i18n.svelte";
import type { IconName } from "./icons";
import type { LiveEvent } from "./live.svelte";
import { cameraLook, runLook, type Role } from "./state";

const ICONS: Record<string, IconName> = {
  "line.crossed": "line",
  "zone.entered": "poly",
  "zone.left": "poly",
  "zone.dwell": "clock",
  "count.over": "up",
  "count.under": "down",
  "object.left": "cube",
  "object.removed": "cube",
  "threshold.alert": "warn",
  "capture.stored": "tag",
};

/** Short types that a feed of what happens shows. */
export const FEED = [
  "line.*", "zone.*", "count.*", "object.*", "threshold.*", "source.*",
  "run.started", "run.completed", "run.failed", "run.cancelled",
] as const;

const text = (value: unknown) => (typeof value === "string" || typeof value === "number" ? String(value) : "");

export function eventLook(event: LiveEvent): { icon: IconName; role: Role | "" } {
  const [family, rest = ""] = event.kind.split(".");
  if (family === "source") return cameraLook(rest);
  if (family === "run") return runLook(rest === "started" ? "running" : rest);
  return { icon: ICONS[event.kind] ?? "events", role: event.kind === "threshold.alert" ? "stalled" : "" };
}

/** What happened, in a few words. */
export function eventTitle({ kind, source, data }: LiveEvent): string {
  if (kind.startsWith("source.")) return t("event.source", { source, state: t(cameraLook(kind.slice(7)).word) });
  const key = kind === "line.crossed" ? `event.line.crossed.${text(data["direction"])}` : `event.${kind}`;
  if (!has(key)) return kind;
  return t(key, {
    line: text(data["line"]),
    zone: text(data["zone"]),
    limit: text(data["limit"]),
    class: text(data["class_name"]),
    value: text(data["value"]),
    for: seconds(data["duration_s"] as number | undefined),
  });
}

/** Where and who, for the second line; `withSource` where several cameras are on one list. */
export function eventDetail(event: LiveEvent, withSource: boolean): string {
  const { data, subject } = event;
  const [kind, id] = subject?.split("/") ?? [];
  const who = kind === "track" ? `${text(data["class_name"])} ${id}`.trim() : text(data["class_name"]);
  const stay = event.kind === "zone.left" && typeof data["duration_s"] === "number"
    ? t("event.inside", { for: seconds(data["duration_s"]) }) : "";
  const isState = event.kind.startsWith("source.");
  const where = withSource && !isState ? event.source || event.case : "";
  return [where, who, stay, causeText(text(data["reason"])).replace(/\.$/, "")].filter(Boolean).join(" · ");
}
