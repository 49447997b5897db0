/**
 * What happens now, over WebSockets to `/ws`: events as text, pictures as binary messages.
 *
 * All pages share two connections: the server keeps one subscription a connection, and the feed wants the events of
 * all cameras while pictures are wanted only of those that are on the screen. Each opens when somebody wants something
 * and closes when nobody does. A lost one is opened again, with pauses that grow.
 */
import { address, ask } from "./api";
import { auth } from "./auth.svelte";

/** A CloudEvent; `kind` is its short type. */
export interface LiveEvent {
  id: string;
  kind: string;
  time: string;
  case: string;
  source: string;
  subject: string | null;
  data: Record<string, unknown>;
}

export interface Finding {
  name: string;
  value?: number | string | null;
  unit?: string;
  subject?: string;
  event?: string | null;
  data?: Record<string, unknown> | null;
}
export interface Box {
  xyxy: [number, number, number, number];
  confidence: number;
  class_id: number;
  class_name: string;
  tracker_id?: number;
}
export interface Prediction {
  type: string;
  model?: string;
  latency_ms?: number;
  items?: unknown[];
  name?: string;
  value?: number;
}
/** The wire form of a sample, as it stands before its picture. */
export interface Header {
  run: string;
  case: string;
  source: string;
  epoch: number;
  seq: number;
  time: string;
  pts_s: number | null;
  size: [number, number];
  mime: string;
  predictions: Record<string, Prediction>;
  rejected: { stage: string; by: string; reason: string } | null;
}
/** A picture and what was found in it: they came together, so they belong together. */
export interface Sight {
  header: Header;
  picture: Blob;
  /** When it came, on the clock of `performance.now()`. */
  at: number;
}

export interface EventWish {
  /** Short types, `line.*` for all that begin so. */
  types: readonly string[];
  on: (event: LiveEvent) => void;
  /** Events were lost; null: nobody knows how many. */
  gap?: (count: number | null) => void;
}
export interface PictureWish {
  run: string;
  case: string;
  source: string;
  on: (sight: Sight) => void;
}

export type LinkState = "idle" | "connecting" | "open" | "lost";

const PAUSES_S = [0.3, 0.7, 1.5, 3, 6, 10];
const PING_MS = 10_000;
const SILENT_MS = 25_000;
const decoder = new TextDecoder();

class Channel<W> {
  state: LinkState = $state("idle");
  /** When it is tried again, on the clock of `Date.now()`; 0 while it is not waiting. */
  retryAt = $state(0);

  #wishes = new Set<W>();
  #socket: WebSocket | null = null;
  #said = "";
  #tries = 0;
  #turn = 0; // of opening and closing: who is called back late finds another one
  #timer = 0;
  #beat = 0;
  #heardAt = 0;

  constructor(
    private readonly subscription: (wishes: readonly W[]) => object,
    private readonly heard: (message: string | ArrayBuffer, wishes: ReadonlySet<W>) => void,
  ) {
    addEventListener("online", () => this.retry());
    addEventListener("visibilitychange", () => document.hidden || this.retry());
  }

  add(wish: W): () => void {
    this.#wishes.add(wish);
    this.#settle();
    return () => {
      this.#wishes.delete(wish);
      this.#settle();
    };
  }

  /** Try now instead of later. */
  retry(): void {
    if (this.state !== "lost") return;
    clearTimeout(this.#timer);
    this.#open();
  }

  /** Once the page has said all that it wants or no longer wants, ask for that. */
  #settle(): void {
    queueMicrotask(() => {
      if (!this.#wishes.size) this.#close();
      else if (this.state === "idle") this.#open();
      else this.#subscribe();
    });
  }

  #open(): void {
    if (!this.#wishes.size) return this.#close();
    this.state = "connecting";
    this.retryAt = 0;
    const turn = ++this.#turn;
    // A WebSocket that is refused does not say why: whether a key is needed is found out before.
    ask("get", "/api/v1/sources", { query: { limit: 1 }, timeoutS: 10 }).then(
      () => turn === this.#turn && this.#connect(),
      () => turn === this.#turn && this.#lost(),
    );
  }

  #connect(): void {
    const url = new URL(address("/ws", { query: { access_token: auth.token } }), location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#said = "";
    this.#heardAt = performance.now();
    socket.onopen = () => {
      this.state = "open";
      this.#subscribe();
    };
    socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      this.#heardAt = performance.now();
      this.#tries = 0;
      this.heard(data, this.#wishes);
    };
    socket.onclose = () => socket === this.#socket && this.#lost();
    clearInterval(this.#beat);
    this.#beat = window.setInterval(() => this.#check(), PING_MS);
  }

  #subscribe(): void {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    const said = JSON.stringify({ op: "subscribe", ...this.subscription([...this.#wishes]) });
    if (said !== this.#said) this.#socket.send(said);
    this.#said = said;
  }

  /** A connection can be dead for long before anybody is told: ask, and give up on silence. */
  #check(): void {
    if (performance.now() - this.#heardAt > SILENT_MS) {
      this.#socket?.close();
      this.#lost();
    } else if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send('{"op":"ping"}');
  }

  #lost(): void {
    clearInterval(this.#beat);
    this.#socket = null;
    this.state = "lost";
    const pause = PAUSES_S[Math.min(this.#tries++, PAUSES_S.length - 1)]! * (0.8 + 0.4 * Math.random()) * 1000;
    this.retryAt = Date.now() + pause;
    this.#timer = window.setTimeout(() => this.#open(), pause);
  }

  #close(): void {
    clearTimeout(this.#timer);
    clearInterval(this.#beat);
    const socket = this.#socket;
    this.#socket = null;
    this.#turn++;
    this.#tries = 0;
    this.state = "idle";
    socket?.close();
  }
}

const union = (lists: Iterable<string>) => [...new Set(lists)].sort();

const events = new Channel<EventWish>(
  (wishes) => ({ types: union(wishes.flatMap((wish) => wish.types)) }),
  (message, wishes) => {
    if (typeof message !== "string") return;
    const told = JSON.parse(message) as Record<string, unknown>;
    if (typeof told["type"] !== "string" || !told["specversion"]) return; // a pong, or a problem
    const event = eventOf(told);
    for (const wish of wishes) {
      if (event.kind === "gap") wish.gap?.((event.data["num_lost"] as number | null) ?? null);
      else if (wish.types.some((type) => covers(type, event.kind))) wish.on(event);
    }
  },
);

const pictures = new Channel<PictureWish>(
  (wishes) => ({
    case: union(wishes.map((wish) => wish.case)),
    source: union(wishes.map((wish) => wish.source)),
    types: ["source.unauthorised"], // hardly ever: the other connection has the events
    pictures: true,
  }),
  (message, wishes) => {
    if (typeof message === "string") return;
    const at = performance.now();
    const size = new DataView(message).getUint32(0);
    const header = JSON.parse(decoder.decode(new Uint8Array(message, 4, size))) as Header;
    const picture = new Blob([new Uint8Array(message, 4 + size)], { type: header.mime });
    for (const wish of wishes) {
      if (wish.run === header.run && wish.source === header.source) wish.on({ header, picture, at });
    }
  },
);

function covers(type: string, kind: string): boolean {
  return type.endsWith(".*") ? kind.startsWith(type.slice(0, -1)) : type === kind;
}

/** Return a CloudEvent as pages use it. */
export function eventOf(told: Record<string, unknown>): LiveEvent {
  const parts = String(told["source"] ?? "").split("/");
  const after = (word: string) => {
    const place = parts.indexOf(word);
    return place < 0 ? "" : decodeURIComponent(parts[place + 1] ?? "");
  };
  return {
    id: String(told["id"]),
    kind: String(told["type"]).replace(/^io\.sightline\./, "").replace(/\.v\d+$/, ""),
    time: String(told["time"]),
    case: after("cases"),
    source: after("sources"),
    subject: (told["subject"] as string | undefined) ?? null,
    data: (told["data"] as Record<string, unknown> | undefined) ?? {},
  };
}

export const live = {
  /** Hear events; returns what ends it. */
  listen: (wish: EventWish) => events.add(wish),
  /** See the pictures of one source of one run; returns what ends it. */
  watch: (wish: PictureWish) => pictures.add(wish),
  /** How the connection is, the worse of the two. */
  get state(): LinkState {
    const order: LinkState[] = ["lost", "connecting", "open", "idle"];
    return order.find((state) => events.state === state || pictures.state === state) ?? "idle";
  },
  get retryAt(): number {
    return Math.max(events.retryAt, pictures.retryAt);
  },
  retry(): void {
    events.retry();
    pictures.retry();
  },
};
