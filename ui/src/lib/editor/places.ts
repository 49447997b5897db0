/** Zones and lines of a manifest: found in its counters, and written back where they stand. */
import { isRecord, Manifest, type Path, type Value } from "./manifest";
import { outline, type Entry } from "./outline";
import type { Size, Spot } from "./shapes";

export type PlaceKind = "zone" | "line";
export interface Place {
  kind: PlaceKind;
  name: string;
  /** Path in the manifest; its last two keys are `zones` or `lines` and the name. */
  path: Path;
  /** In pixels of the picture. */
  points: Spot[];
  counter: Counter;
}
/** A plug-in that counts by places. */
export interface Counter {
  kind: PlaceKind;
  use: string;
  path: Path;
  name: string;
  key: "zones" | "lines";
  unit: "px" | "relative";
  /** The picture on which its pixels were drawn; null: the one that is read. */
  size: Size | null;
}

const KEYS = { zones: "zone", lines: "line" } as const;
const COUNTERS: Record<string, "zones" | "lines"> = { "zone-counter": "zones", "line-counter": "lines", "abandoned-object": "zones" };

/** Counters that have a field for the size of the picture that was drawn on. */
const SIZED = new Set(["zone-counter", "line-counter"]);

export function countersOf(manifest: Manifest): Counter[] {
  return entriesOf(manifest).flatMap((entry): Counter[] => {
    const key = "zones" in entry.fields ? "zones" : "lines" in entry.fields ? "lines" : COUNTERS[entry.use];
    if (!key || (entry.use === "abandoned-object" && !(key in entry.fields))) return [];
    const unit = entry.fields["unit"] === "relative" ? "relative" : "px";
    const size = spotOf(entry.fields["size"]);
    return [{ kind: KEYS[key], use: entry.use, path: entry.path, name: entry.name, key, unit, size }];
  });
}

export function placesOf(manifest: Manifest, picture: Size): Place[] {
  return countersOf(manifest).flatMap((counter) => {
    const places = manifest.at([...counter.path, counter.key]);
    if (!isRecord(places)) return [];
    return Object.entries(places).map(([name, value]): Place => {
      const [sx, sy] = scaleOf(counter, picture);
      const points = (Array.isArray(value) ? value : []).map(spotOf).filter((spot) => spot !== null);
      return {
        kind: counter.kind, name, path: [...counter.path, counter.key, name], counter,
        points: points.map(([x, y]): Spot => [x * sx, y * sy]),
      };
    });
  });
}

/** Return the text with other points of a place; `drawnOn`: the picture that was seen, null where none was. */
export function withPoints(manifest: Manifest, counter: Counter, name: string, points: readonly Spot[], picture: Size, drawnOn: Size | null): string {
  const [sx, sy] = scaleOf(counter, picture);
  const digits = counter.unit === "relative" ? 4 : 0;
  const round = (value: number) => Number(value.toFixed(digits)) + 0;
  const written = points.map(([x, y]) => [round(x / sx), round(y / sy)]);
  const text = manifest.set([...counter.path, counter.key, name], written);
  return withSize(new Manifest(text), counter, drawnOn);
}

/** Return the text with the size of the picture beside pixels drawn on it: on a picture of another size they are scaled. */
function withSize(manifest: Manifest, counter: Counter, drawnOn: Size | null): string {
  const isTold = counter.unit === "relative" || counter.size || !drawnOn || !SIZED.has(counter.use);
  return isTold ? manifest.text : manifest.set([...counter.path, "size"], [drawnOn[0], drawnOn[1]]);
}

/** Return the text with a counter for places, behind the last tracker; null where nothing is followed. */
export function withCounter(manifest: Manifest, kind: PlaceKind, name: string, points: readonly Spot[], drawnOn: Size | null): { text: string; path: Path } | null {
  const entries = entriesOf(manifest);
  const tracker = entries.findLast(({ use }) => use === "tracker");
  if (!tracker) return null;
  const taken = new Set(entries.map((entry) => entry.name));
  const base = kind === "zone" ? "zones" : "lines";
  let key = base;
  for (let number = 2; taken.has(key); number++) key = `${base}_${number}`;
  const path = [...tracker.path.slice(0, -1), key];
  const written = points.map(([x, y]) => [Math.round(x), Math.round(y)]);
  const value: Value = { use: `${kind}-counter`, of: tracker.name, ...(drawnOn && { size: [...drawnOn] }), [base]: { [name]: written } };
  return { text: manifest.set(path, value), path };
}

export function freeName(manifest: Manifest, kind: PlaceKind): string {
  const taken = new Set(placesOf(manifest, [1, 1]).map(({ name }) => name));
  for (let number = 1; ; number++) {
    if (!taken.has(`${kind}_${number}`)) return `${kind}_${number}`;
  }
}

/** Pixels of the picture for one unit of what is written. */
function scaleOf({ unit, size }: Counter, picture: Size): Size {
  if (unit === "relative") return picture;
  return size ? [picture[0] / size[0], picture[1] / size[1]] : [1, 1];
}

const entriesOf = (manifest: Manifest): Entry[] =>
  outline(manifest).flatMap(({ kind, entries }) => (kind === "predictors" ? entries : []));

function spotOf(value: Value): Spot | null {
  if (!Array.isArray(value) || value.length < 2) return null;
  const [x, y] = [Number(value[0]), Number(value[1])];
  return Number.isFinite(x) && Number.isFinite(y) ? [x, y] : null;
}

/** Size to draw on where no picture is known: what holds all places, at least that of a common camera. */
export function guessedSize(manifest: Manifest): Size {
  const places = placesOf(manifest, [1280, 720]).flatMap(({ points }) => points);
  const counter = countersOf(manifest).find(({ size }) => size);
  if (counter?.size) return counter.size;
  const room = (at: 0 | 1) => Math.round(Math.max(0, ...places.map((spot) => spot[at])) * 1.1);
  return [Math.max(640, room(0)), Math.max(480, room(1))];
}
