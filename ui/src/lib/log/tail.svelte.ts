/** The newest lines of the server's log, asked for once a second. */
import { ApiError, ask, wasLeft } from "../api";

export interface Line {
  id: number;
  time: string;
  level: Level;
  message: string;
  fields: Record<string, unknown>;
}
export const LEVELS = ["debug", "info", "warning", "error"] as const;
export type Level = (typeof LEVELS)[number];

const EVERY_MS = 1000;
const MOST = 2000;

export class Tail {
  /** The newest first. */
  lines: readonly Line[] = $state.raw([]);
  loaded = $state(false);
  error: unknown = $state.raw(null);
  /** False: this server has no such door. */
  isThere = $state(true);
  paused = $state(false);

  #isRefused = false;
  #after: string | number | null = null;

  /** Follow the log until the returned function is called. */
  follow(): () => void {
    let timer = 0;
    const leaving = new AbortController();
    const look = async () => {
      if (!document.hidden && !this.paused) await this.#look(leaving.signal);
      if (!leaving.signal.aborted && !this.#isRefused) timer = window.setTimeout(look, EVERY_MS);
    };
    void look();
    return () => {
      clearTimeout(timer);
      leaving.abort();
    };
  }

  async #look(signal: AbortSignal): Promise<void> {
    try {
      const answer = await ask("get", "/api/v1/log", { query: { after: this.#after, limit: 200 }, signal });
      const page = (await answer.json()) as { items: Record<string, unknown>[]; next: string | number | null };
      const fresh = page.items.map(lineOf);
      if (page.next !== null) this.#after = page.next;
      if (fresh.length) this.lines = [...fresh.reverse(), ...this.lines].slice(0, MOST);
      this.error = null;
      this.loaded = true;
    } catch (error) {
      if (wasLeft(error)) return;
      const status = error instanceof ApiError ? error.status : 0;
      this.isThere = status !== 404;
      this.#isRefused = status === 403 || status === 404; // asking again would change nothing
      this.error = error;
    }
  }
}

function lineOf(told: Record<string, unknown>): Line {
  const { id, position, time, timestamp, level, message, event, fields, ...rest } = told;
  return {
    id: Number(id ?? position),
    time: String(time ?? timestamp),
    level: levelOf(String(level)),
    message: String(message ?? event ?? ""),
    fields: { ...rest, ...((fields ?? {}) as Record<string, unknown>) },
  };
}

function levelOf(level: string): Level {
  if (level === "critical" || level === "exception") return "error";
  return level === "warn" ? "warning" : ((LEVELS as readonly string[]).includes(level) ? (level as Level) : "info");
}

/** A line's fields as people write them: `source=door reason="no answer"`. */
export function fieldsOf({ fields }: Line): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => {
      const text = typeof value === "string" ? value : JSON.stringify(value);
      return `${name}=${/[\s"]/.test(text) && typeof value === "string" ? JSON.stringify(text) : text}`;
    })
    .join(" ");
}
