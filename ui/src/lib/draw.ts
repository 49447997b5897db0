/**
 * What was found, drawn over a picture on a canvas: zones, lines, track tails, boxes, labels.
 *
 * Everything is given in pixels of the source picture and scaled to those of the canvas, so that strokes and letters
 * stay sharp on any display.
 */
import { number } from "./format";
import type { Box, Finding, Header, Prediction } from "./live.svelte";

export type Point = readonly [number, number];
export interface Shown {
  boxes: boolean;
  tracks: boolean;
  zones: boolean;
  labels: boolean;
  /** Boxes below this confidence are left out. */
  threshold: number;
  /** Room for class and confidence on each label. */
  wordy: boolean;
}
interface Rect {
  x: number;
  y: number;
  width: number;
}
export interface Zone {
  kind: "zone" | "line";
  name: string;
  points: Point[];
  text: string;
}

const COLOURS = 6;
const FONT = `"Segoe UI", -apple-system, "Helvetica Neue", Roboto, "Noto Sans", "DejaVu Sans Condensed", sans-serif`;

/** The colours over pictures are tokens, read once: they are the same in both themes. */
let inks: { of: string[]; halo: string; plate: string; text: string; dark: string } | null = null;

function palette(): NonNullable<typeof inks> {
  if (inks) return inks;
  const style = getComputedStyle(document.documentElement);
  const token = (name: string) => style.getPropertyValue(name).trim();
  return (inks = {
    of: Array.from({ length: COLOURS }, (_, at) => token(`--ov-${at + 1}`)),
    halo: token("--ov-halo"),
    plate: token("--ov-plate"),
    text: token("--ov-text"),
    dark: token("--ink"),
  });
}

const colour = (place: number) => palette().of[((place % COLOURS) + COLOURS) % COLOURS]!;

/** Zones and lines never in coral: it looks like a fault. */
const ZONES = [2, 4, 0] as const;
const LINES = [1, 5] as const;

function zoneColours(zones: readonly Zone[]): string[] {
  const seen = { zone: 0, line: 0 };
  return zones.map(({ kind }) => {
    const of = kind === "zone" ? ZONES : LINES;
    return colour(of[seen[kind]++ % of.length]!);
  });
}

const colourOf = (box: Box) => colour((box.tracker_id ?? box.class_id + 1) - 1);

/** The boxes to draw: of predictions of one model the last, which a tracker has followed. */
function boxesOf(header: Header): Box[] {
  const last = new Map<string, Box[]>();
  for (const [name, prediction] of Object.entries(header.predictions)) {
    if (prediction.type === "boxes") last.set(prediction.model ?? name, (prediction.items ?? []) as Box[]);
  }
  return [...last.values()].flat();
}

/** Zones and lines with their counts, as the findings of the same sample tell them. */
export function zonesOf(header: Header, words: { in: string; out: string }): Zone[] {
  const zones: Zone[] = [];
  for (const prediction of Object.values(header.predictions)) {
    if (prediction.type !== "findings") continue;
    const items = (prediction.items ?? []) as Finding[];
    const count = (name: string, subject: string) =>
      items.find((item) => item.name === name && item.subject === subject)?.value;
    for (const { name, data } of items) {
      if (name === "zone" && Array.isArray(data?.["polygon"])) {
        const zone = String(data["zone"]);
        const points = data["polygon"] as Point[];
        zones.push({ kind: "zone", name: zone, points, text: String(count("inside", `zone/${zone}`) ?? "") });
      } else if (name === "line" && data?.["start"]) {
        const line = String(data["line"]);
        const text = `${words.in} ${count("in", `line/${line}`) ?? ""} · ${words.out} ${count("out", `line/${line}`) ?? ""}`;
        zones.push({ kind: "line", name: line, points: [data["start"] as Point, data["end"] as Point], text });
      }
    }
  }
  return zones;
}

/** The strongest labels of classifiers, for a plate in the corner. */
function labelsOf(header: Header): string[] {
  const all = Object.values(header.predictions).filter((prediction: Prediction) => prediction.type === "labels");
  return all.flatMap((prediction) => {
    const [best] = (prediction.items ?? []) as { class_name: string; confidence: number }[];
    return best ? [`${best.class_name} ${number(best.confidence, 2)}`] : [];
  });
}

/** Where the tracks of one source have been: the way of each one's feet. */
export class Tails {
  #tails = new Map<number, { points: Point[]; at: number }>();
  #of = "";
  static readonly LONGEST = 40;
  static readonly FORGET_S = 2;

  add(header: Header): void {
    const of = `${header.run}/${header.source}/${header.epoch}`;
    if (of !== this.#of) this.#tails.clear(); // with a new epoch tracks begin anew
    this.#of = of;
    const now = header.pts_s ?? Date.parse(header.time) / 1000;
    for (const { tracker_id: id, xyxy } of boxesOf(header)) {
      if (id === undefined) continue;
      const tail = this.#tails.get(id) ?? { points: [], at: now };
      tail.points.push([(xyxy[0] + xyxy[2]) / 2, xyxy[3]]);
      if (tail.points.length > Tails.LONGEST) tail.points.shift();
      tail.at = now;
      this.#tails.set(id, tail);
    }
    for (const [id, tail] of this.#tails) if (now - tail.at > Tails.FORGET_S) this.#tails.delete(id);
  }

  of(id: number): readonly Point[] {
    return this.#tails.get(id)?.points ?? [];
  }
}

/**
 * Draw what was found in a sample onto a canvas that shows its picture.
 *
 * @param scale pixels of the canvas for one of the source.
 * @param ratio pixels of the canvas for one of CSS, by which strokes and letters grow.
 */
export function drawFound(
  pen: CanvasRenderingContext2D, header: Header, tails: Tails, shown: Shown, words: { in: string; out: string },
  scale: number, ratio: number,
): void {
  const at = ([x, y]: Point): Point => [x * scale, y * scale];
  const boxes = boxesOf(header).filter((box) => box.confidence >= shown.threshold);
  const zones = shown.zones ? zonesOf(header, words) : [];
  pen.lineCap = pen.lineJoin = "round";
  const colours = zoneColours(zones);
  zones.forEach((zone, place) => drawZone(pen, zone, colours[place]!, at, ratio));
  if (shown.tracks) {
    for (const box of boxes) {
      const points = box.tracker_id === undefined ? [] : tails.of(box.tracker_id).map(at);
      if (points.length > 1) stroke(pen, points, colourOf(box), 1.5 * ratio);
    }
  }
  if (shown.boxes) for (const box of boxes) drawBox(pen, box, scale, ratio);
  if (shown.labels) {
    if (shown.boxes) for (const box of boxes) drawLabel(pen, box, shown.wordy, scale, ratio);
    const taken: Rect[] = [];
    zones.forEach((zone, place) => drawPlate(pen, zone.name, zone.text, colours[place]!, at(lowest(zone)), ratio, taken));
    labelsOf(header).forEach((text, place) => drawPlate(pen, text, "", colour(place), [8 * ratio, 4 * ratio], ratio, taken));
  }
}

function stroke(pen: CanvasRenderingContext2D, points: readonly Point[], ink: string, width: number, close = false): void {
  pen.beginPath();
  points.forEach(([x, y], place) => (place ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  if (close) pen.closePath();
  pen.lineWidth = width * 2.2;
  pen.strokeStyle = palette().halo;
  pen.stroke();
  pen.lineWidth = width;
  pen.strokeStyle = ink;
  pen.stroke();
}

function drawBox(pen: CanvasRenderingContext2D, box: Box, scale: number, ratio: number): void {
  const [x1, y1, x2, y2] = box.xyxy.map((value) => value * scale) as [number, number, number, number];
  pen.lineJoin = "miter";
  stroke(pen, [[x1, y1], [x2, y1], [x2, y2], [x1, y2]], colourOf(box), 1.75 * ratio, true);
}

function drawZone(
  pen: CanvasRenderingContext2D, zone: Zone, ink: string, at: (point: Point) => Point, ratio: number,
): void {
  const points = zone.points.map(at);
  if (zone.kind === "zone") {
    stroke(pen, points, ink, 1.75 * ratio, true);
    pen.globalAlpha = 0.14;
    pen.fillStyle = ink;
    pen.fill();
    pen.globalAlpha = 1;
    return;
  }
  const [[x1, y1], [x2, y2]] = points as [Point, Point];
  stroke(pen, points, ink, 1.75 * ratio);
  // The arrow shows which way is `in`: to the right, looking from the start to the end.
  const length = Math.hypot(x2 - x1, y2 - y1) || 1;
  const [rx, ry] = [(y1 - y2) / length, (x2 - x1) / length];
  const [mx, my] = [(x1 + x2) / 2, (y1 + y2) / 2];
  const reach = 26 * ratio;
  const tip: Point = [mx + rx * reach, my + ry * reach];
  const wing = (side: number): Point => [
    tip[0] - rx * 8 * ratio - side * ry * 6 * ratio,
    tip[1] - ry * 8 * ratio + side * rx * 6 * ratio,
  ];
  stroke(pen, [[mx, my], tip], ink, 1.75 * ratio);
  stroke(pen, [wing(1), tip, wing(-1)], ink, 1.75 * ratio);
}

const lowest = ({ points }: Zone): Point => points.reduce((low, point) => (point[1] > low[1] ? point : low));

function drawLabel(pen: CanvasRenderingContext2D, box: Box, wordy: boolean, scale: number, ratio: number): void {
  const id = box.tracker_id === undefined ? "" : String(box.tracker_id);
  const text = wordy ? `${box.class_name} ${id}`.trim() : id || box.class_name;
  const more = wordy || !id ? number(box.confidence, 2) : "";
  pen.font = `600 ${11 * ratio}px ${FONT}`;
  const wide = pen.measureText(text).width;
  pen.font = `400 ${10 * ratio}px ${FONT}`;
  const width = wide + (more ? pen.measureText(more).width + 4 * ratio : 0) + 8 * ratio;
  const height = 15 * ratio;
  const edge = 0.875 * ratio; // half the box's stroke: the label stands on its outer side
  const x = Math.max(0, Math.min(box.xyxy[0] * scale - edge, pen.canvas.width - width));
  const y = Math.max(0, box.xyxy[1] * scale - edge - height);
  pen.fillStyle = colourOf(box);
  pen.beginPath();
  pen.roundRect(x, y, width, height, [2 * ratio, 2 * ratio, 0, 0]);
  pen.fill();
  pen.fillStyle = palette().dark;
  pen.textBaseline = "middle";
  pen.font = `600 ${11 * ratio}px ${FONT}`;
  pen.fillText(text, x + 4 * ratio, y + height / 2 + 0.5 * ratio);
  pen.font = `400 ${10 * ratio}px ${FONT}`;
  if (more) pen.fillText(more, x + 8 * ratio + wide, y + height / 2 + 0.5 * ratio);
}

/** Draw words on a plate below a point, moved from what is `taken` by others already. */
function drawPlate(
  pen: CanvasRenderingContext2D, strong: string, text: string, ink: string, [atX, atY]: Point, ratio: number, taken: Rect[],
): void {
  const bold = `600 ${11 * ratio}px ${FONT}`;
  const plain = `400 ${11 * ratio}px ${FONT}`;
  pen.font = bold;
  const wide = pen.measureText(strong).width;
  pen.font = plain;
  const width = wide + (text ? pen.measureText(text).width + 6 * ratio : 0) + 14 * ratio;
  const height = 19 * ratio;
  const gap = 4 * ratio;
  const x = Math.max(0, Math.min(atX, pen.canvas.width - width - gap));
  const bottom = pen.canvas.height - height - gap;
  let y = Math.max(0, Math.min(atY + gap, bottom));
  const hits = () => taken.find((each) => x < each.x + each.width && each.x < x + width && Math.abs(each.y - y) < height + gap / 2);
  const down = y + height + gap < bottom ? 1 : -1;
  for (let other = hits(), tries = 0; other && tries < 8; other = hits(), tries++) y = other.y + down * (height + gap);
  taken.push({ x, y, width });
  pen.fillStyle = palette().plate;
  pen.beginPath();
  pen.roundRect(x, y, width, height, 2 * ratio);
  pen.fill();
  pen.fillStyle = ink;
  pen.fillRect(x, y, 2 * ratio, height);
  pen.fillStyle = palette().text;
  pen.textBaseline = "middle";
  pen.font = bold;
  pen.fillText(strong, x + 8 * ratio, y + height / 2 + 0.5 * ratio);
  pen.font = plain;
  if (text) pen.fillText(text, x + 14 * ratio + wide, y + height / 2 + 0.5 * ratio);
}
