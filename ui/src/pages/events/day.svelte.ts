/** The events of one day under the filters of the address: loaded from now backwards, and added to as they happen. */
import { api, ApiError, wasLeft } from "../../lib/api";
import { live, type LiveEvent } from "../../lib/live.svelte";
import { alarmsOf, happeningOf, isNeeded, isOfKind, isOutage, typesOf, type Alarm, type Happening } from "./alarms";

export interface Wish {
  /** 2026-11-27, in the zone of the browser. */
  day: string;
  kind: string;
  case: string;
  /** `case/source`. */
  camera: string;
}

const PAGE = 200;
/** Events that are loaded without being asked for: enough for the lanes of most days. */
const FREELY = 2000;
const DAY_MS = 86_400_000;

/** First moment of a day, and of the one after; a day has 23 or 25 hours twice a year. */
export function boundsOf(day: string): [number, number] {
  const [year = 0, month = 1, date = 1] = day.split("-").map(Number);
  return [new Date(year, month - 1, date).getTime(), new Date(year, month - 1, date + 1).getTime()];
}

export function dayOf(when: number | Date): string {
  const date = new Date(when);
  const two = (part: number) => String(part).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

export function dayBeside(day: string, by: number): string {
  const [begin] = boundsOf(day);
  return dayOf(begin + by * DAY_MS + DAY_MS / 2);
}

export class Day {
  loading = $state(true);
  error: unknown = $state.raw(null);
  /** The cursor of the next page back in time; null: all of the day is here. */
  next: string | null = $state(null);
  /** Events were lost on the way here, so the list may have holes. */
  hasGap = $state(false);

  #known: Happening[] = $state.raw([]);
  #waiting: Happening[] = $state.raw([]);
  #before: Happening[] = $state.raw([]);
  #wish: Wish = $state.raw({ day: "", kind: "", case: "", camera: "" });
  #ids = new Set<string>();
  #turn = 0;
  #leaving = new AbortController();

  readonly #whole: Alarm[] = $derived(alarmsOf([...this.#waiting, ...this.#known]));
  readonly #shownIds: ReadonlySet<string> = $derived(new Set(alarmsOf(this.#known).map(({ id }) => id)));
  /** What happened, the newest that the list does not show yet too: for the lanes. */
  readonly all: Alarm[] = $derived(this.#whole.filter((alarm) => isOfKind(alarm, this.#wish.kind)));
  /** What the list shows; the end of what is shown, or its clip, is shown at once: nothing moves by it. */
  readonly alarms: Alarm[] = $derived(this.all.filter(({ id }) => this.#shownIds.has(id)));
  /** When cameras were away, whatever the list shows. */
  readonly outages: Alarm[] = $derived(this.#whole.filter(isOutage));
  /** Alarms that came since the list was made. */
  readonly numNew: number = $derived(this.all.length - this.alarms.length);
  /** Cameras that were away when the day began, as `case/source`. */
  readonly awayBefore: ReadonlySet<string> = $derived(awayOf(this.#before));
  /** How far back the list goes. */
  readonly oldest: number = $derived(
    this.next === null || !this.#known.length ? 0 : Date.parse(this.#known.at(-1)!.time),
  );

  /** Load a day, and hear what happens on it until the returned function is called. */
  begin(wish: Wish): () => void {
    this.#wish = wish;
    this.#leaving = new AbortController();
    this.#turn++;
    this.#known = [];
    this.#waiting = [];
    this.#before = [];
    this.#ids.clear();
    this.next = null;
    this.error = null;
    this.hasGap = false;
    const isToday = wish.day === dayOf(Date.now());
    const end = isToday
      ? live.listen({
          types: ["line.*", "zone.*", "count.*", "object.*", "threshold.*", "source.*", "capture.*"],
          on: (event) => this.#hear(event),
          gap: () => (this.hasGap = true),
        })
      : () => {};
    void this.#load(FREELY);
    void this.#loadBefore();
    return () => {
      end();
      this.#leaving.abort();
    };
  }

  /** Load more of the past. */
  more(): void {
    if (!this.loading) void this.#load(this.#known.length + FREELY);
  }

  /** Begin again, after an error or a gap. */
  again(): void {
    this.error = null;
    void this.#load(Math.max(FREELY, this.#known.length));
  }

  /** Let the list show what came. */
  showNew(): void {
    this.#known = [...this.#waiting, ...this.#known];
    this.#waiting = [];
  }

  /** Ask again for the newest: a picture is stored at once, but told of only with the clip. */
  async refresh(): Promise<void> {
    const turn = this.#turn;
    const page = await api
      .get("/api/v1/events", { query: { ...this.#query(), limit: 50 }, signal: this.#leaving.signal })
      .catch(() => null); // the next look will tell
    if (!page || turn !== this.#turn) return;
    const found = page.items.map((item) => happeningOf(item as unknown as Record<string, unknown>));
    const media = new Map(found.filter((event) => event.media).map((event) => [event.id, event.media]));
    const told = (event: Happening) => (media.has(event.id) ? { ...event, media: media.get(event.id) } : event);
    this.#known = this.#known.map(told);
    // What the socket did not bring, because it was away for a moment.
    this.#waiting = [...found.filter((event) => this.#isNew(event)), ...this.#waiting.map(told)];
  }

  async #load(upTo: number): Promise<void> {
    const turn = this.#turn;
    this.loading = true;
    try {
      do {
        const page = await api.get("/api/v1/events", {
          query: { ...this.#query(), limit: PAGE, after: this.next },
          signal: this.#leaving.signal,
        });
        if (turn !== this.#turn) return;
        const found = page.items.map((item) => happeningOf(item as unknown as Record<string, unknown>));
        this.#known = [...this.#known, ...found.filter((event) => this.#isNew(event))];
        this.next = page.next;
        this.error = null;
      } while (this.next !== null && this.#known.length < upTo);
    } catch (error) {
      if (turn === this.#turn && !wasLeft(error)) this.error = error;
    } finally {
      if (turn === this.#turn) this.loading = false;
    }
  }

  /** Ask what the cameras were like when the day began: an outage may be older than the day. */
  async #loadBefore(): Promise<void> {
    const turn = this.#turn;
    const [begin] = boundsOf(this.#wish.day);
    const { case: of, source } = this.#query();
    const query = { case: of, source, type: typesOf("camera"), until: new Date(begin).toISOString(), limit: PAGE };
    try {
      const page = await api.get("/api/v1/events", { query, signal: this.#leaving.signal });
      if (turn !== this.#turn) return;
      this.#before = page.items.map((item) => happeningOf(item as unknown as Record<string, unknown>));
    } catch (error) {
      if (!(error instanceof ApiError) && !wasLeft(error)) throw error; // the list tells of what is wrong
    }
  }

  #query() {
    const { day, kind, case: of, camera } = this.#wish;
    const [begin, end] = boundsOf(day);
    const [cameraCase, ...source] = camera.split("/");
    return {
      type: typesOf(kind),
      case: camera ? cameraCase : of,
      source: source.join("/"),
      since: new Date(begin).toISOString(),
      until: new Date(end).toISOString(),
    };
  }

  #isNew(event: LiveEvent): boolean {
    if (this.#ids.has(event.id) || !isNeeded(event, this.#wish.kind)) return false;
    this.#ids.add(event.id);
    return true;
  }

  #hear(event: LiveEvent): void {
    const { case: of, camera, day } = this.#wish;
    const isHere = camera ? camera === `${event.case}/${event.source}` : !of || of === event.case;
    if (!isHere && event.kind !== "capture.removed") return;
    if (dayOf(Date.parse(event.time)) !== day || !this.#isNew(event)) return;
    if (this.#shownIds.size || this.loading) this.#waiting = [event, ...this.#waiting];
    else this.#known = [event, ...this.#known];
  }
}

function awayOf(before: readonly Happening[]): Set<string> {
  const last = new Map<string, boolean>();
  for (const event of before) {
    const camera = `${event.case}/${event.source}`;
    if (!last.has(camera)) last.set(camera, isOutage(event));
  }
  return new Set([...last].filter(([, away]) => away).map(([camera]) => camera));
}
