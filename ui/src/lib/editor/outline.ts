/** What a manifest is made of: its plug-ins in the order in which they work. */
import { isRecord, type Manifest, type Path, type Value } from "./manifest";

export type Kind = "sources" | "collectors" | "predictors" | "sinks" | "trainers";
export interface Entry {
  kind: Kind;
  path: Path;
  /** What the case calls it; of a sink, which has no name, the plug-in. */
  name: string;
  /** The plug-in; empty where none is named. */
  use: string;
  fields: Record<string, Value>;
}
export interface Section {
  id: string;
  kind: Kind;
  /** Of a stage, its name. */
  stage: string;
  entries: Entry[];
}

const MAIN = "main"; // id of the source of a case that names only one
const FIRST = ["validation", "analytics"]; // stages run in this order, then those with other names

export function outline(manifest: Manifest): Section[] {
  const { data } = manifest;
  const sources = data["source"]
    ? [entry("sources", ["source"], MAIN, data["source"])]
    : named("sources", ["sources"], data["sources"]);
  const stages = Object.keys(isRecord(data["stages"]) ? data["stages"] : {});
  const order = [...FIRST.filter((name) => stages.includes(name)), ...stages.filter((name) => !FIRST.includes(name))];
  const sinks = Array.isArray(data["sinks"]) ? data["sinks"] : [];
  const one = (kind: Kind, key: string): Section[] =>
    data[key] ? [{ id: key, kind, stage: "", entries: [entry(kind, [key], key, data[key])] }] : [];
  return [
    { id: "sources", kind: "sources", stage: "", entries: sources },
    ...one("collectors", "collector"),
    ...order.map((stage): Section => ({
      id: `stages.${stage}`, kind: "predictors", stage,
      entries: named("predictors", ["stages", stage], (data["stages"] as Record<string, Value>)[stage]),
    })),
    { id: "sinks", kind: "sinks", stage: "", entries: sinks.map((sink, place) => entry("sinks", ["sinks", place], "", sink)) },
    ...one("trainers", "trainer"),
  ];
}

function named(kind: Kind, path: Path, value: Value): Entry[] {
  return isRecord(value) ? Object.entries(value).map(([name, item]) => entry(kind, [...path, name], name, item)) : [];
}

function entry(kind: Kind, path: Path, name: string, value: Value): Entry {
  const fields = isRecord(value) ? { ...value } : {};
  const use = typeof value === "string" ? value : typeof fields["use"] === "string" ? fields["use"] : "";
  delete fields["use"];
  return { kind, path, name: name || use, use, fields };
}

/** True when a path is `within` another, or the same. */
export function isWithin(path: string, within: Path): boolean {
  const above = within.join(".");
  return path === above || path.startsWith(`${above}.`);
}

/** Return how a section's next thing is added: the path of it, with a name that nothing has. */
function nextPath(manifest: Manifest, section: Section, use: string): Path {
  if (section.kind === "sinks") return ["sinks", section.entries.length];
  const base = use.replaceAll("-", "_").replace(/[^A-Za-z0-9_]/g, "") || "new";
  const taken = new Set(outline(manifest).flatMap(({ kind, entries }) => (kind === section.kind ? entries.map(({ name }) => name) : [])));
  let name = base;
  for (let number = 2; taken.has(name); number++) name = `${base}_${number}`;
  return section.kind === "sources" ? ["sources", name] : ["stages", section.stage, name];
}

/** Return the text with one more plug-in. */
export function withPlugin(manifest: Manifest, section: Section, use: string, fields: Record<string, Value>): { text: string; path: Path } {
  const path = nextPath(manifest, section, use);
  return { text: manifest.set(path, { use, ...fields }), path };
}
