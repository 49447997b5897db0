/** What the server knows of manifests: their text, what is wrong with one, and which plug-ins there are. */
import { api, ask, type Schemas } from "../api";
import type { Kind } from "./outline";
import type { Schema } from "./schema";

export interface Kept {
  text: string;
  /** To be sent back with a change. */
  etag: string | null;
  /** `yes`; `copy`: a change is kept as a copy in the user's own cases; `no`. */
  writable: string;
}
export interface Found {
  line: number;
  column: number;
  /** Keys that lead there, with dots between them. */
  loc: string;
  message: string;
  cure: string;
  code: string;
  severity: "error" | "warning";
}
/** What a saved manifest has changed of a run. */
export interface Followed {
  run: string;
  sources: string[];
  /** Why only a restart brings the rest; empty where nothing is left. */
  needs_restart: string;
  error: string;
}
export interface Saved {
  etag: string;
  origin: string;
  runs: Followed[];
}
export interface PluginInfo {
  kind: Kind;
  name: string;
  /** One line. */
  summary: string;
  schema: Schema | null;
  /** What keeps it from being loaded; empty where nothing does. */
  missing: string;
}

const MANIFEST = "/api/v1/cases/{case}/manifest";

export async function readManifest(name: string, signal?: AbortSignal): Promise<Kept> {
  return kept(await ask("get", MANIFEST, { path: { case: name }, signal }));
}

/** Write a manifest; another one on the server than that of `etag` answers with a conflict. */
export async function writeManifest(name: string, text: string, etag: string | null): Promise<Saved> {
  const answer = await ask("put", MANIFEST, {
    path: { case: name },
    body: new Blob([text], { type: "text/yaml" }),
    ifMatch: etag,
  });
  const saved = (await answer.json()) as Partial<Saved>;
  return { origin: "", runs: [], ...saved, etag: answer.headers.get("ETag") ?? saved.etag ?? "" };
}

/** Make a case with this manifest. */
export async function createCase(name: string, manifest: string): Promise<void> {
  await ask("post", "/api/v1/cases", { body: { name, manifest } });
}

async function kept(answer: Response): Promise<Kept> {
  const text = await answer.text();
  return { text, etag: answer.headers.get("ETag"), writable: answer.headers.get("X-Manifest-Writable") ?? "yes" };
}

/** Return what is wrong with a text, without saving it. */
export async function checkManifest(name: string, text: string, signal: AbortSignal): Promise<Found[]> {
  const answer = await ask("post", "/api/v1/cases/check", { body: { case: name, manifest: text }, signal });
  const { problems } = (await answer.json()) as { problems: Partial<Found>[] };
  return problems.map((problem) => briefly({
    line: 1, column: 1, loc: "", message: "", cure: "", code: "", severity: "error", ...problem,
  }));
}

/** Leave out the list of all words where the right one is named. */
function briefly(problem: Found): Found {
  if (!problem.cure.startsWith("Did you mean")) return problem;
  const message = problem.message.replace(/ Known: .*$/, "");
  return { ...problem, message, cure: problem.cure.replace(/ It has: .*$/, "") };
}

const plugins = new Map<string, Promise<PluginInfo[]>>();

/** The plug-ins that a case may name: those that are installed, and those of its own; asked for once. */
export function pluginsOf(name: string): Promise<PluginInfo[]> {
  const asked = plugins.get(name) ?? api.all("/api/v1/plugins", { query: { case: name } }).then((found) => found.map(infoOf));
  plugins.set(name, asked);
  asked.catch(() => plugins.delete(name));
  return asked;
}

function infoOf({ kind, name, title, missing, problem, schema }: Schemas["PluginShape"]): PluginInfo {
  return { kind: kind as Kind, name, summary: title, missing: missing || problem, schema: schema as Schema | null };
}
