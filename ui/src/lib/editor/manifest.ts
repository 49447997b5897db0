/**
 * The text of a manifest as a tree: read by path, changed by small splices, so that comments and layout stay.
 *
 * Each splice is proved: the new text must say what a change of the tree says. Where it does not, the tree is written
 * anew, which keeps comments and loses only alignment.
 */
import { isAlias, isCollection, isMap, isPair, isScalar, isSeq, LineCounter, parseDocument, stringify } from "yaml";
import type { Document, Node, Pair, ParsedNode, YAMLMap, YAMLSeq } from "yaml";

export type Path = readonly (string | number)[];
export type Value = unknown;
export interface Place {
  line: number;
  column: number;
}
export interface Mark extends Place {
  message: string;
}

const FLOW = { collectionStyle: "flow", flowCollectionPadding: false, lineWidth: 0, compat: "yaml-1.1" } as const;

export class Manifest {
  readonly #doc: Document.Parsed<ParsedNode>;
  readonly #lines = new LineCounter();
  #data: Value;

  constructor(readonly text: string) {
    this.#doc = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false });
  }

  /** What is wrong with it as YAML; then the tree holds what could be read. */
  get errors(): Mark[] {
    return this.#doc.errors.map(({ message, pos }) => ({ ...this.#place(pos[0]), message }));
  }

  /** The whole of it as plain values; an empty mapping where it cannot be read. */
  get data(): Record<string, Value> {
    try {
      this.#data ??= this.#doc.toJS({ maxAliasCount: 50 }) as Value;
    } catch {
      this.#data = {}; // an alias without its anchor
    }
    return isRecord(this.#data) ? this.#data : {};
  }

  at(path: Path): Value {
    let value: Value = this.data;
    for (const key of path) value = isRecord(value) || Array.isArray(value) ? (value as never)[key] : undefined;
    return value;
  }

  /** Lines, counted from 1, in which a thing stands: those of its key and all below it. */
  linesOf(path: Path): [number, number] | null {
    const parent = path.length ? this.#node(path.slice(0, -1)) : null;
    const key = path.at(-1);
    const pair = isMap(parent) ? pairOf(parent, String(key)) : null;
    const node = pair ? (pair.value as Node | null) : this.#node(path);
    const from = (pair ? (pair.key as Node).range?.[0] : node?.range?.[0]) ?? null;
    if (from === null) return null;
    const to = node?.range ? endOf(node) : from;
    return [this.#place(from).line, this.#place(Math.max(from, to - 1)).line];
  }

  /** The deepest path that begins at or before a line and still goes on there. */
  pathAt(line: number): Path {
    const found: (string | number)[] = [];
    let node = this.#doc.contents as Node | null;
    for (;;) {
      const keys: (string | number)[] = isMap(node)
        ? node.items.map(({ key }) => String(isScalar(key) ? key.value : key))
        : isSeq(node) ? node.items.map((_, place) => place) : [];
      const next = keys.findLast((key) => {
        const lines = this.linesOf([...found, key]);
        return lines && lines[0] <= line && line <= lines[1];
      });
      if (next === undefined) return found;
      found.push(next);
      node = this.#node(found);
    }
  }

  /** Return the text with another value at a path; what is missing on the way is made. */
  set(path: Path, value: Value): string {
    const parent = path.slice(0, -1);
    const above = this.at(parent);
    // `people: tracker` is short for `{use: tracker}`: a field makes it long.
    if (path.length && typeof above === "string" && typeof path.at(-1) === "string" && path.at(-1) !== "use") {
      return this.set(parent, { use: above, [path.at(-1)!]: value });
    }
    if (parent.length && (above === undefined || above === null)) {
      return this.set(parent, typeof path.at(-1) === "number" ? [value] : { [path.at(-1)!]: value });
    }
    return this.#proved(this.#spliced(path, value), (doc) => doc.setIn(path, value));
  }

  /** Return the text without what is at a path, and without what is empty then. */
  remove(path: Path): string {
    const parent = this.#node(path.slice(0, -1));
    if (path.length > 1 && isCollection(parent) && parent.items.length === 1) return this.remove(path.slice(0, -1));
    return this.#proved(this.#without(path), (doc) => doc.deleteIn(path));
  }

  /** Return the text with another name for a key of a mapping. */
  rename(path: Path, name: string): string {
    const parent = this.#node(path.slice(0, -1));
    const pair = isMap(parent) ? pairOf(parent, String(path.at(-1))) : null;
    const range = (pair?.key as Node | undefined)?.range;
    if (!range) return this.text;
    return splice(this.text, range[0], range[1], inline(name));
  }

  #place(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }

  #node(path: Path): Node | null {
    const node = path.length ? this.#doc.getIn(path, true) : this.#doc.contents;
    return (node as Node | null | undefined) ?? null;
  }

  #spliced(path: Path, value: Value): string | null {
    const { text } = this;
    const key = path.at(-1);
    const parent = this.#node(path.slice(0, -1));
    if (parent === null && path.length === 1) return `${text.trimEnd()}${text.trim() ? "\n" : ""}${String(key)}: ${inline(value)}\n`;
    if (isMap(parent)) {
      const pair = pairOf(parent, String(key));
      if (pair) return replaced(text, pair, value);
      return added(text, parent, `${inline(String(key))}: ${inline(value)}`);
    }
    if (isSeq(parent)) {
      const item = parent.items[Number(key)] as Node | undefined;
      if (!item) return added(text, parent, inline(value));
      if (!item.range || isAlias(item)) return null;
      return splice(text, item.range[0], endOf(item), inline(value));
    }
    return null;
  }

  #without(path: Path): string | null {
    const { text } = this;
    const parent = this.#node(path.slice(0, -1));
    if (!isCollection(parent)) return null;
    const place = isMap(parent)
      ? parent.items.findIndex((pair) => isPair(pair) && isScalar(pair.key) && String(pair.key.value) === String(path.at(-1)))
      : Number(path.at(-1));
    const [from, to] = rangeOf(parent.items[place]);
    if (from < 0) return null;
    if (parent.flow) {
      const after = rangeOf(parent.items[place + 1]);
      if (after[0] >= 0) return splice(text, from, after[0], "");
      return splice(text, place ? rangeOf(parent.items[place - 1])[1] : from, to, "");
    }
    const start = text.lastIndexOf("\n", from - 1) + 1;
    const lead = text.slice(start, from);
    if (isMap(parent) ? lead.trim() : !/^\s*-\s*$/.test(lead)) return null; // shares its line with another thing
    return splice(text, start, Math.min(text.length, lineEnd(text, to) + 1), "");
  }

  #proved(spliced: string | null, change: (doc: Document) => void): string {
    const wanted = this.#doc.clone() as Document;
    if (isAlias(this.#doc.contents) || this.#doc.errors.length) return spliced ?? this.text;
    change(wanted);
    if (spliced !== null && same(parseDocument(spliced).toJS(), wanted.toJS())) return spliced;
    return wanted.toString({ lineWidth: 0, flowCollectionPadding: false });
  }
}

export function isRecord(value: Value): value is Record<string, Value> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value as it is written on one line, fit to stand in a list or mapping. */
export function inline(value: Value): string {
  if (value === null || value === undefined) return "null";
  return stringify([value], FLOW).trim().slice(1, -1);
}

/** What somebody wrote as the value of a field, as YAML; null where it is none. */
export function parsed(text: string): { value: Value } | null {
  const doc = parseDocument(text, { prettyErrors: false });
  return doc.errors.length ? null : { value: doc.toJS() as Value };
}

function pairOf(map: YAMLMap, key: string): Pair<unknown, unknown> | null {
  return map.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === key) ?? null;
}

/** Offsets of a pair, or of an item of a list; -1 where there is none. */
function rangeOf(item: unknown): [number, number] {
  if (isPair(item)) {
    const key = (item.key as Node | null)?.range;
    if (!key) return [-1, -1];
    const value = item.value as Node | null;
    return [key[0], value?.range ? Math.max(endOf(value), key[1]) : key[1] + 1];
  }
  const node = item as Node | undefined;
  return node?.range ? [node.range[0], endOf(node)] : [-1, -1];
}

/** Where the last thing in a node ends; the range of a block reaches into the lines behind it. */
function endOf(node: Node): number {
  if (isCollection(node) && !node.flow && node.items.length) return rangeOf(node.items.at(-1))[1];
  return node.range?.[1] ?? 0;
}

function replaced(text: string, pair: Pair<unknown, unknown>, value: Value): string | null {
  const key = (pair.key as Node).range;
  const old = pair.value as Node | null;
  if (!key || isAlias(old)) return null;
  const colon = text.indexOf(":", key[1]);
  const isBlock = isCollection(old) && !old.flow;
  const from = isBlock || !old?.range || old.range[0] === old.range[1] ? colon + 1 : old.range[0];
  const to = old?.range && old.range[0] !== old.range[1] ? endOf(old) : colon + 1;
  return splice(text, from, to, (from === colon + 1 ? " " : "") + inline(value));
}

function added(text: string, parent: YAMLMap | YAMLSeq, entry: string): string | null {
  const [first] = rangeOf(parent.items[0]);
  const [, last] = rangeOf(parent.items.at(-1));
  if (parent.flow) {
    const close = (parent.range?.[1] ?? 0) - 1;
    if (last < 0) return splice(text, close, close, entry);
    return splice(text, last, last, `, ${entry}`);
  }
  if (first < 0) return null;
  let column = first - (text.lastIndexOf("\n", first - 1) + 1);
  let lead = "";
  if (isSeq(parent)) {
    const start = first - column;
    column = text.slice(start, first).lastIndexOf("-");
    if (column < 0) return null;
    lead = "- ";
  }
  const end = lineEnd(text, last);
  return splice(text, end, end, `\n${" ".repeat(column)}${lead}${entry}`);
}

/** Offset of the end of the line on which something ends. */
function lineEnd(text: string, offset: number): number {
  const from = text[offset - 1] === "\n" ? offset - 1 : offset;
  const end = text.indexOf("\n", from);
  return end < 0 ? text.length : end;
}

const splice = (text: string, from: number, to: number, put: string) => text.slice(0, from) + put + text.slice(to);
const same = (one: Value, other: Value) => JSON.stringify(one) === JSON.stringify(other);
