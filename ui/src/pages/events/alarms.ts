/** Events as a person thinks of them: what belongs together is one alarm, with a start, an end, a picture and a clip. */
import { has, t } from "../../lib/i18n.svelte";
import { number, seconds } from "../../lib/format";
import { eventOf, type LiveEvent } from "../../lib/live.svelte";

/** Where picture and clip of an event lie, as `capture.stored` tells it. */
export interface Media {
  thumbnail: boolean;
  clip: boolean;
  /** First and last moment of the clip, on the clock of `Date.now()`; null where nobody told. */
  start: number | null;
  end: number | null;
  bytes: number | null;
  /** Why there is no clip. */
  lost: string;
  /** Why it is there no longer. */
  removed: string;
}

/** An event of a list, which says where its media are. */
export type Happening = LiveEvent & { media?: Media | null };

export interface Alarm {
  /** Id of the event that began it. */
  id: string;
  kind: string;
  case: string;
  source: string;
  subject: string | null;
  /** When it was told. */
  time: number;
  start: number;
  /** null: it goes on. */
  end: number | null;
  data: Record<string, unknown>;
  media: Media | null;
  /** Id under which they are kept: the beginning's, or of an outage that of the state that had some. */
  mediaId: string;
}

/** Kinds that the filter offers; `camera` stands for every way to lose one. */
export const KINDS = [
  "line.crossed", "zone.entered", "zone.left", "zone.dwell", "count.over", "count.under",
  "object.left", "object.removed", "threshold.alert", "camera",
] as const;
const OUTAGES = ["source.stalled", "source.frozen", "source.backoff", "source.unauthorised"];
/** A camera that was stopped while it was away is not away any more: nobody looks for it. */
const CAMERA = [...OUTAGES, "source.live", "source.stopped"];
const MEDIA = ["capture.stored", "capture.removed"];
/** What happens to the server rather than before a camera: other pages show it. */
const ELSEWHERE = /^(run|model|webhook|capture|job|training)\.|^source\.connecting$|^(prediction|sample\.rejected)$/;

/** The short types to ask the server for, those of cameras always; none: all, of a user's own predictors too. */
export function typesOf(kind: string): string[] {
  if (!kind) return [];
  return [...(kind === "camera" ? [] : [kind]), ...CAMERA];
}

/** True for what the page shows, or needs for what it shows. */
export function isNeeded(event: LiveEvent, kind: string): boolean {
  if (MEDIA.includes(event.kind) || CAMERA.includes(event.kind)) return true;
  return !ELSEWHERE.test(event.kind) && (!kind || kind === event.kind);
}

/** True where an alarm is of a kind that the filter offers. */
export function isOfKind(alarm: Alarm, kind: string): boolean {
  return !kind || (kind === "camera" ? isOutage(alarm) : alarm.kind === kind);
}

export const isOutage = ({ kind }: { kind: string }): boolean => OUTAGES.includes(kind);

/** True for an event that tells that a camera is back after it was away, not that it began. */
function isBack({ kind, data }: LiveEvent): boolean {
  return kind === "source.live" && typeof data["start"] === "string" && data["start"] !== data["end"];
}

function moment(value: unknown): number | null {
  const at = typeof value === "string" ? Date.parse(value) : NaN;
  return Number.isNaN(at) ? null : at;
}

/** What tells which events are of one alarm. */
function keyOf(event: LiveEvent): string {
  const { data } = event;
  if (CAMERA.includes(event.kind)) return `outage/${event.case}/${event.source}/${String(data["start"])}`;
  return typeof data["alarm"] === "string" ? `${data["alarm"]}/${event.kind}` : event.id;
}

/** What a list, or `capture.stored`, says of the media of an event. */
function mediaOf(data: Record<string, unknown>): Media {
  return {
    thumbnail: typeof data["thumbnail"] === "string",
    clip: typeof data["clip"] === "string",
    start: moment(data["start"]),
    end: moment(data["end"]),
    bytes: typeof data["bytes"] === "number" ? data["bytes"] : null,
    lost: typeof data["lost"] === "string" ? data["lost"] : "",
    removed: typeof data["removed"] === "string" ? data["removed"] || "?" : "",
  };
}

/** Return an event of a list. */
export function happeningOf(told: Record<string, unknown>): Happening {
  const media = told["media"] as Record<string, unknown> | null | undefined;
  return { ...eventOf(told), media: media ? mediaOf(media) : null };
}

/** Make alarms of events, given and returned the newest first. */
export function alarmsOf(events: readonly Happening[]): Alarm[] {
  const media = new Map<string, Media>();
  const removed = new Map<string, string>();
  const alarms = new Map<string, Alarm>();
  const away = new Map<string, Alarm>();
  const parts = new Map<Alarm, string[]>();
  for (let at = events.length - 1; at >= 0; at--) {
    const event = events[at]!;
    const { data, kind } = event;
    if (kind === "capture.stored" && typeof data["event"] === "string") {
      media.set(data["event"], { ...mediaOf(data), removed: media.get(data["event"])?.removed ?? "" });
    }
    if (kind === "capture.removed") removed.set(String(data["event"]), String(data["reason"] || "?"));
    if (MEDIA.includes(kind)) continue;
    // A list that was read before the clip was there is older than what told of it.
    if (event.media && (!media.has(event.id) || event.media.clip)) media.set(event.id, event.media);
    const camera = `${event.case}/${event.source}`;
    const end = moment(data["end"]);
    if (kind === "object.removed") endOf(alarms.get(`${String(data["alarm"])}/object.left`), end);
    if (kind === "source.live" || kind === "source.stopped") {
      endOf(away.get(camera), Date.parse(event.time));
      away.delete(camera);
      if (!isBack(event)) continue;
    }
    const known = alarms.get(keyOf(event));
    if (known) {
      known.end = end ?? known.end;
      if (data["reason"]) known.data = { ...known.data, reason: data["reason"] }; // why it ended, where nobody saw it end
      parts.get(known)?.push(event.id);
      // Of an outage the last state counts: first no frames come, then the connection is gone.
      if (OUTAGES.includes(kind)) Object.assign(known, { kind, data });
    } else {
      const alarm: Alarm = {
        // Where its beginning was told before what is shown here, the end stands for it.
        ...{ id: event.id, kind: kind === "source.live" ? "source.backoff" : kind, data },
        ...{ media: null, mediaId: event.id, case: event.case, source: event.source, subject: event.subject },
        ...{ time: Date.parse(event.time), start: moment(data["start"]) ?? Date.parse(event.time), end },
      };
      alarms.set(keyOf(event), alarm);
      parts.set(alarm, [event.id]);
      if (OUTAGES.includes(kind)) {
        endOf(away.get(camera), alarm.start); // its run was gone before the camera was back
        away.set(camera, alarm);
      }
    }
  }
  const made = [...alarms.values()];
  for (const alarm of made) {
    const ids = parts.get(alarm)!;
    alarm.mediaId = ids.find((id) => media.get(id)?.clip) ?? ids.find((id) => media.get(id)?.thumbnail) ?? ids.find((id) => media.has(id)) ?? alarm.id;
    alarm.media = media.get(alarm.mediaId) ?? null;
    const reason = removed.get(alarm.mediaId) ?? alarm.media?.removed;
    if (reason) alarm.media = { ...(alarm.media ?? mediaOf({})), thumbnail: false, clip: false, removed: reason };
  }
  return made.sort((one, other) => other.time - one.time);
}

function endOf(alarm: Alarm | undefined, end: number | null): void {
  if (alarm && alarm.end === null) alarm.end = end;
}

const text = (value: unknown) => (typeof value === "string" ? value : "");

/** What happened, in a few words. */
export function titleOf(alarm: Alarm): string {
  const { kind, data } = alarm;
  if (isOutage(alarm)) return t(`events.kind.${kind}`);
  if (kind === "line.crossed" && has(`events.line.${text(data["direction"])}`)) {
    return t(`events.line.${text(data["direction"])}`);
  }
  if (kind === "zone.dwell" && typeof data["duration_s"] === "number") {
    return t("events.dwell", { time: stay(data["duration_s"]) });
  }
  if (kind.startsWith("count.") && typeof data["limit"] === "number") {
    return t(`events.limit.${kind}`, { limit: number(data["limit"]) });
  }
  if (kind === "threshold.alert" && typeof data["limit"] === "number" && has(`events.value.${text(data["direction"])}`)) {
    return t(`events.value.${text(data["direction"])}`, { limit: plain(data["limit"]) });
  }
  return has(`events.kind.${kind}`) ? t(`events.kind.${kind}`) : kind;
}

/** How long something took: 2.6 s, 14 s, 1 min 22 s. */
export function stay(length: number): string {
  return length < 9.95 ? `${number(length, 1)}\u00a0${t("unit.s")}` : seconds(length);
}

/** A number with as many decimals as it has, at most three. */
export function plain(value: number): string {
  return number(value, Math.min(3, (String(value).split(".")[1] ?? "").length));
}

/** Line or zone, as its author called it. */
export const placeOf = ({ data }: Alarm): string => text(data["line"]) || text(data["zone"]);

export function trackOf({ subject }: Alarm): string {
  return subject?.startsWith("track/") ? subject.slice("track/".length) : "";
}

/** How long it took, in seconds; null for an instant, and while it goes on. */
export function lengthOf(alarm: Alarm): number | null {
  if (typeof alarm.data["duration_s"] === "number") return alarm.data["duration_s"];
  return alarm.end === null || alarm.end <= alarm.start ? null : (alarm.end - alarm.start) / 1000;
}

/** True for what has a duration and is not over; a person who enters a zone is no alarm that goes on. */
export function goesOn(alarm: Alarm): boolean {
  return alarm.end === null && (isOutage(alarm) || "alarm" in alarm.data);
}
